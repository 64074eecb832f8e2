//! Clients at this lane's door: an invocation is taken or refused, and its other participants are told of it once, before
//! anything else of it and in the order of the sequence numbers.

use super::invocation::{Entry, Invocation, NO_MAKER, Phase, Place, Value};
use super::payloads::way_of;
use super::program::{Program, is_list};
use super::replicas::Choice;
use super::report::Wanted;
use super::timers::Timer;
use super::{
    Action, Answered, ClientId, Core, Incoming, InputForm, Outbound, Refusal, Send, worker_hash,
};
use crate::nearest::instead_of_few;
use crate::plan::{DeploymentId, Limits, Plan, PortRef, Source, WorkerIndex};
use crate::wire::Failure;
use crate::wire::ITEM_ABSENT;
use faasstore::binding::{Kind, VALUE_BYTES_MAX};
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

impl Core {
    /// A client wants a workflow run. The answer, or the refusal, comes as an action. Says which placement has taken it, if one
    /// has.
    pub fn invoke(
        &mut self,
        now_ns: u64,
        client: ClientId,
        request: u64,
        workflow: &str,
        inputs: Vec<(String, Incoming)>,
        wanted: Wanted,
    ) -> Option<DeploymentId> {
        let id = InvocationId::new(
            self.config.worker_hash,
            self.config.epoch,
            self.config.lane,
            self.next_sequence,
        );
        let forms = inputs
            .iter()
            .map(|(name, incoming)| (name.as_str(), form(incoming)));
        let choice = match self.admit(id, workflow, forms) {
            Ok(choice) => choice,
            Err(refusal) => {
                self.refuse(now_ns, client, request, refusal, inputs);
                return None;
            }
        };
        let index = choice.index;
        let program = Rc::clone(self.program(index));
        self.given(workflow, choice, self.next_sequence);
        self.next_sequence += 1;
        let place = self.open(now_ns, id, index, &program, Phase::Running);
        self.counters.invocations_taken += 1;
        self.in_flight += 1;
        self.deployment_mut(index).taken += 1;
        self.asked.insert(client, request, place);
        let invocation = &mut self.invocations[place as usize];
        invocation.entry = Some(Box::new(Entry {
            client,
            request,
            started_ns: now_ns,
            parts_left: program.others.len() as u32,
            outputs: Vec::new(),
            reports: Vec::new(),
            traces: Vec::new(),
        }));
        self.watch(now_ns, place, &program, wanted);
        self.begin_parts(place, &program, inputs, wanted);
        if let Some(timeout_ms) = program.plan.timeout_ms {
            let due_ns = now_ns.saturating_add(u64::from(timeout_ms) * 1_000_000);
            self.set_timer(due_ns, Timer::Limit { place });
        }
        if program.has_part() {
            for root in &program.roots {
                self.decide(now_ns, place, *root, NO_MAKER, &program);
            }
            self.drain_ended(now_ns);
        } else {
            self.part_ended(place);
        }
        Some(program.plan.deployment)
    }

    /// Whether a client that came now with such inputs would be let in, and the limits that hold for it then. It may
    /// still be refused when all of its inputs are here.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn would_take(
        &self,
        workflow: &str,
        inputs: &[(&str, InputForm)],
    ) -> Result<Limits, Refusal> {
        let Self { config, .. } = self;
        let id = InvocationId::new(config.worker_hash, config.epoch, config.lane, 0);
        let forms = inputs.iter().map(|(name, form)| (*name, Ok(*form)));
        let choice = self.admit(id, workflow, forms)?;
        Ok(self.program(choice.index).plan.limits)
    }

    /// The limits of a deployment, if it is here.
    #[must_use]
    pub fn limits_of(&self, deployment: DeploymentId) -> Option<Limits> {
        let index = self.deployment_by_id.get(&deployment)?;
        Some(self.program(*index).plan.limits)
    }

    /// The limits of the deployment of an invocation that was taken here, if it is still under way.
    #[must_use]
    pub fn limits_of_taken(&self, id: InvocationId) -> Option<Limits> {
        let invocation = &self.invocations[*self.place_by_id.get(&id)? as usize];
        invocation.entry.as_ref()?;
        Some(self.program(invocation.deployment).plan.limits)
    }

    /// Whether the workflow's door is open for these inputs, and to which placement; if not, why.
    fn admit<'a>(
        &self,
        id: InvocationId,
        workflow: &str,
        inputs: impl Iterator<Item = (&'a str, Result<InputForm, &'a str>)> + Clone,
    ) -> Result<Choice, Refusal> {
        let Some(version) = self.versions.get(workflow) else {
            let known = self.versions.keys().map(String::as_str);
            let mut known: Vec<&str> = known.collect();
            known.sort_unstable();
            let reason = format!(
                "no workflow named `{workflow}` is deployed here; {}",
                instead_of_few(
                    workflow,
                    &known,
                    "deploy it first; there are",
                    "deploy it first"
                )
            );
            return Err(reason.into());
        };
        // All placements of a version take the same inputs.
        let plan = &self.program(version.placements[0]).plan;
        check_inputs(plan, workflow, inputs)?;
        let limit = self.config.in_flight_max;
        if self.in_flight >= limit {
            let reason = format!(
                "{limit} invocations are in flight already, which is the limit; try again later"
            );
            return Err(reason.into());
        }
        self.choose(version, id, workflow)
    }

    /// Refuses a client. The answer comes as an action.
    pub fn refuse(
        &mut self,
        now_ns: u64,
        client: ClientId,
        request: u64,
        refusal: Refusal,
        inputs: Vec<(String, Incoming)>,
    ) {
        self.counters.invocations_refused += 1;
        for (_, incoming) in inputs {
            self.drop_incoming(&incoming);
        }
        let Refusal { reason, memory } = refusal;
        let failure = Failure::Refused {
            worker: String::new(),
            reason,
            memory,
        };
        self.turn_away(now_ns, client, request, failure);
    }

    /// Answers a client whose invocation was not taken.
    pub(super) fn turn_away(
        &mut self,
        now_ns: u64,
        client: ClientId,
        request: u64,
        failure: Failure,
    ) {
        self.actions.push(Action::Answer(Box::new(Answered {
            client,
            request,
            invocation: InvocationId(0),
            deployment: None,
            started_ns: now_ns,
            result: Err(failure),
            report: Vec::new(),
            trace: Vec::new(),
        })));
    }

    /// Gives every participant its inputs, and keeps those of this worker.
    fn begin_parts(
        &mut self,
        place: Place,
        program: &Program,
        inputs: Vec<(String, Incoming)>,
        wanted: Wanted,
    ) {
        let mut values: Vec<Option<Value>> = vec![None; program.plan.inputs.len()];
        for (name, incoming) in inputs {
            if let Some(number) = program
                .plan
                .inputs
                .iter()
                .position(|input| input.name == name)
            {
                let way = way_of(&incoming, &program.plan.limits);
                values[number] = Some(self.take_incoming(program.account, incoming, way));
            }
        }
        for (value, input) in values.iter_mut().zip(&program.plan.inputs) {
            if let (None, Some(default)) = (&value, input.default) {
                let deployment = self.invocations[place as usize].deployment;
                *value = Some(self.copy_value(self.constant(deployment, default)));
            }
        }
        for participant in &program.plan.participants {
            if participant.worker == program.plan.me {
                continue;
            }
            let inputs = participant
                .inputs
                .iter()
                .filter_map(|number| {
                    let mut sections = participant.sections.iter();
                    let needed = sections.find(|one| one.list == *number);
                    let value = values[usize::from(*number)]?;
                    Some((*number, self.hold_for(place, value, needed)))
                })
                .collect();
            self.send(
                place,
                program,
                participant.worker,
                Outbound::Begin { wanted, inputs },
            );
        }
        for (number, candidate) in (0..).zip(&program.candidates) {
            let value = match candidate.source {
                Source::Input(input) => values[usize::from(input)],
                Source::Constant(constant) => {
                    let deployment = self.invocations[place as usize].deployment;
                    Some(self.constant(deployment, constant))
                }
                Source::Output { .. } | Source::First { .. } | Source::Item { .. } => None,
            };
            let Some(value) = value else {
                continue;
            };
            let outgoing = self.hold_value(place, value);
            if let Some(entry) = self.invocations[place as usize].entry.as_mut() {
                entry.outputs.push((number, outgoing));
            }
        }
        for (number, value) in values.into_iter().enumerate() {
            match (value, program.input_slots[number]) {
                (Some(value), Some(slot)) => {
                    let bytes = self.value_bytes(value);
                    self.set_slot(place, slot, value, bytes, NO_MAKER);
                }
                (Some(value), None) => self.drop_value(value),
                (None, _) => {}
            }
        }
    }

    pub(super) fn open(
        &mut self,
        now_ns: u64,
        id: InvocationId,
        index: u32,
        program: &Program,
        phase: Phase,
    ) -> Place {
        let place = self.take_place();
        let invocation = &mut self.invocations[place as usize];
        invocation.start(place, id, index, program, phase);
        invocation.since_ns = now_ns;
        self.deployment_mut(index).instances += 1;
        if !program.others.is_empty() || !self.is_mine(id) {
            self.place_by_id.insert(id, place);
        }
        place
    }

    /// A place that is free.
    pub(super) fn take_place(&mut self) -> Place {
        self.free.pop().unwrap_or_else(|| {
            self.invocations.push(Invocation::new());
            (self.invocations.len() - 1) as Place
        })
    }

    pub(super) fn send(
        &mut self,
        place: Place,
        program: &Program,
        worker: WorkerIndex,
        body: Outbound,
    ) {
        let id = self.invocations[place as usize].id;
        let peer = &program.plan.workers[usize::from(worker)];
        self.actions.push(Action::Send(Box::new(Send {
            worker_hash: worker_hash(&peer.name),
            to_lane: id.lane() % peer.lanes,
            invocation: id,
            deployment: program.plan.deployment,
            body,
        })));
    }
}

/// What an input looks like, or why it is not here.
fn form(incoming: &Incoming) -> Result<InputForm, &str> {
    match incoming {
        Incoming::One(range) | Incoming::Lent(range) => Ok(InputForm::Bytes(range.length)),
        Incoming::List { items, .. } | Incoming::Arriving { items, .. } => {
            Ok(InputForm::list(items.iter().map(|(_, bytes)| *bytes)))
        }
        Incoming::LentList { items, .. } => Ok(InputForm::list(items.iter().map(|item| {
            if item.is_absent() {
                ITEM_ABSENT
            } else if item.is_range() {
                item.length
            } else {
                0
            }
        }))),
        Incoming::Refused(reason) => Err(reason),
    }
}

/// Whether these inputs are what a plan takes.
fn check_inputs<'a>(
    plan: &Plan,
    workflow: &str,
    inputs: impl Iterator<Item = (&'a str, Result<InputForm, &'a str>)> + Clone,
) -> Result<(), String> {
    for (position, (name, form)) in inputs.clone().enumerate() {
        let found = (0..)
            .zip(&plan.inputs)
            .find(|(_, input)| input.name == name);
        let Some((number, declared)) = found else {
            let known: Vec<&str> = plan
                .inputs
                .iter()
                .map(|input| input.name.as_str())
                .collect();
            return Err(format!(
                "workflow `{workflow}` has no input `{name}`; {}",
                instead_of_few(name, &known, "its inputs are", "it has none")
            ));
        };
        let mut before = inputs.clone().take(position);
        if before.any(|(earlier, _)| earlier == name) {
            return Err(format!("input `{name}` is given twice"));
        }
        match form {
            Err(reason) => return Err(format!("input `{name}`: {reason}")),
            Ok(InputForm::Bytes(_)) if is_list(declared.kind) => {
                return Err(format!(
                    "input `{name}` is to be a list of items, but bytes were given"
                ));
            }
            Ok(InputForm::List { .. }) if !is_list(declared.kind) => {
                return Err(format!(
                    "input `{name}` is to be bytes, but a list of items was given"
                ));
            }
            Ok(InputForm::Bytes(bytes))
                if declared.kind == Kind::Value && bytes > VALUE_BYTES_MAX as u64 =>
            {
                return Err(format!(
                    "input `{name}` is a value of {bytes} bytes, above the limit of {VALUE_BYTES_MAX}; declare it \
                     as bytes"
                ));
            }
            Ok(form) => {
                if let Some(exceeded) = form.exceeded(plan.maximum(PortRef::Input(number))) {
                    return Err(format!(
                        "input `{name}` {exceeded}; give less, or declare more"
                    ));
                }
            }
        }
    }
    if let Some(missing) = plan
        .inputs
        .iter()
        .filter(|input| input.default.is_none() && !input.optional)
        .find(|input| !inputs.clone().any(|(name, _)| name == input.name))
    {
        return Err(format!(
            "input `{}` of workflow `{workflow}` is missing",
            missing.name
        ));
    }
    Ok(())
}
