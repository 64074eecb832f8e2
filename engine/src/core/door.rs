//! Where invocations come from and go to: clients at this lane's door, and the lanes of peers.
//!
//! The worker that takes an invocation tells every other participant of it once ([`Outbound::Begin`]), before anything
//! else of it and in the order of its sequence numbers. So a participant knows of an event that comes first that the
//! beginning will follow, and of one that comes after the end that it is late.

use super::doors::entry_lane;
use super::invocation::{Entry, Invocation, NO_MAKER, Phase, Place, Value};
use super::lease::Payload;
use super::program::{Program, is_list};
use super::report::Timing;
use super::{
    Action, Answered, ClientId, Core, DeploymentState, ExecutorId, Incoming, Outbound, Outgoing,
    Send, Timer, worker_hash,
};
use crate::plan::{DeploymentId, NodeId, Source, WorkerIndex};
use crate::wire::{Failure, NodeReport};
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

impl Core {
    /// A client wants a workflow run. The answer, or the refusal, comes as an action.
    pub fn invoke(
        &mut self,
        now_ns: u64,
        client: ClientId,
        request: u64,
        workflow: &str,
        inputs: Vec<(String, Incoming)>,
        report: bool,
    ) {
        let id = InvocationId::new(
            self.config.worker_hash,
            self.config.epoch,
            self.config.lane,
            self.next_sequence,
        );
        let index = match self.admit(id, workflow, &inputs) {
            Ok(index) => index,
            Err(reason) => {
                self.refuse(now_ns, client, request, reason, inputs);
                return;
            }
        };
        let program = Rc::clone(self.program(index));
        self.next_sequence += 1;
        let place = self.open(id, index, &program, Phase::Running);
        self.counters.invocations_taken += 1;
        self.in_flight += 1;
        self.deployment_mut(index).taken += 1;
        let invocation = &mut self.invocations[place as usize];
        invocation.entry = Some(Box::new(Entry {
            client,
            request,
            started_ns: now_ns,
            parts_left: program.others.len() as u32,
            outputs: Vec::new(),
            reports: Vec::new(),
        }));
        if report {
            invocation.timing = Some(Box::new(Timing::new(&program)));
            self.timed += 1;
        }
        self.begin_parts(place, &program, inputs, report);
        if program.has_part() {
            for root in &program.roots {
                self.ready(now_ns, place, *root, NO_MAKER);
            }
            self.drain_ended(now_ns);
        } else {
            self.part_ended(place);
        }
    }

    /// Whether the workflow's door is open for these inputs; if not, why.
    fn admit(
        &self,
        id: InvocationId,
        workflow: &str,
        inputs: &[(String, Incoming)],
    ) -> Result<u32, String> {
        let Some(index) = self.deployment_by_name.get(workflow).copied() else {
            return Err(format!(
                "no workflow named `{workflow}` is deployed here; deploy it first"
            ));
        };
        let plan = &self.program(index).plan;
        for (position, (name, incoming)) in inputs.iter().enumerate() {
            let Some(declared) = plan.inputs.iter().find(|input| input.name == *name) else {
                let known: Vec<&str> = plan
                    .inputs
                    .iter()
                    .map(|input| input.name.as_str())
                    .collect();
                return Err(format!(
                    "workflow `{workflow}` has no input `{name}`; it has: {}",
                    known.join(", ")
                ));
            };
            if inputs[..position]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                return Err(format!("input `{name}` is given twice"));
            }
            match incoming {
                Incoming::Refused(reason) => return Err(format!("input `{name}`: {reason}")),
                Incoming::One(_) if is_list(declared.kind) => {
                    return Err(format!(
                        "input `{name}` is to be a list of items, but bytes were given"
                    ));
                }
                Incoming::List { .. } if !is_list(declared.kind) => {
                    return Err(format!(
                        "input `{name}` is to be bytes, but a list of items was given"
                    ));
                }
                Incoming::One(_) | Incoming::List { .. } => {}
            }
        }
        if let Some(missing) = plan
            .inputs
            .iter()
            .find(|input| !inputs.iter().any(|(name, _)| *name == input.name))
        {
            return Err(format!(
                "input `{}` of workflow `{workflow}` is missing",
                missing.name
            ));
        }
        let limit = self.config.in_flight_max.min(plan.limits.in_flight_max);
        if self.in_flight >= limit {
            return Err(format!(
                "{limit} invocations are in flight already, which is the limit; try again later"
            ));
        }
        if let Some(worker) = self.unconnected(self.program(index), id) {
            return Err(format!(
                "worker {worker} takes part and is not connected at the moment; try again later"
            ));
        }
        Ok(index)
    }

    fn refuse(
        &mut self,
        now_ns: u64,
        client: ClientId,
        request: u64,
        reason: String,
        inputs: Vec<(String, Incoming)>,
    ) {
        self.counters.invocations_refused += 1;
        for (_, incoming) in inputs {
            self.drop_incoming(&incoming);
        }
        let failure = Failure::Refused {
            worker: String::new(),
            reason,
        };
        self.actions.push(Action::Answer(Box::new(Answered {
            client,
            request,
            invocation: InvocationId(0),
            started_ns: now_ns,
            result: Err(failure),
            report: Vec::new(),
        })));
    }

    /// Gives every participant its inputs, and keeps those of this worker.
    fn begin_parts(
        &mut self,
        place: Place,
        program: &Program,
        inputs: Vec<(String, Incoming)>,
        report: bool,
    ) {
        let mut values: Vec<Option<Value>> = vec![None; program.plan.inputs.len()];
        for (name, incoming) in inputs {
            if let Some(number) = program
                .plan
                .inputs
                .iter()
                .position(|input| input.name == name)
            {
                values[number] = Some(self.take_incoming(incoming));
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
                    Some((*number, self.hold_value(values[usize::from(*number)]?)))
                })
                .collect();
            self.send(
                place,
                program,
                participant.worker,
                Outbound::Begin { report, inputs },
            );
        }
        for (number, output) in program.plan.outputs.iter().enumerate() {
            let Source::Input(input) = output.source else {
                continue;
            };
            let Some(value) = values[usize::from(input)] else {
                continue;
            };
            let outgoing = self.hold_value(value);
            if let Some(entry) = self.invocations[place as usize].entry.as_mut() {
                entry.outputs.push((number as u16, outgoing));
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

    /// The entry worker tells of an invocation.
    pub fn begin(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        id: InvocationId,
        report: bool,
        inputs: Vec<(u16, Incoming)>,
    ) {
        self.doors.begun(id);
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            // Not refused in silence: the entry worker learns of it, and its client.
            self.refuse_part(id, deployment, inputs);
            return;
        };
        let program = Rc::clone(self.program(index));
        let place = match self.place_by_id.get(&id) {
            Some(place) => *place,
            None => self.open(id, index, &program, Phase::Pending),
        };
        if self.invocations[place as usize].phase != Phase::Pending {
            // A second beginning: peers of one version never send it.
            self.counters.late_dropped += 1;
            inputs
                .iter()
                .for_each(|(_, incoming)| self.drop_incoming(incoming));
            return;
        }
        self.owes_its_word(index, id);
        self.invocations[place as usize].phase = Phase::Running;
        if report {
            self.invocations[place as usize].timing = Some(Box::new(Timing::new(&program)));
            self.timed += 1;
        }
        let mut failure = self
            .pending_failures
            .remove(&place)
            .or_else(|| self.loss(&program, id));
        for (number, incoming) in inputs {
            let slot = program
                .input_slots
                .get(usize::from(number))
                .copied()
                .flatten();
            let name = program
                .plan
                .inputs
                .get(usize::from(number))
                .map_or("?", |input| input.name.as_str());
            failure = self
                .receive(place, slot, incoming, &format!("input {name}"), &program)
                .or(failure);
        }
        if let Some(failure) = failure {
            self.fail(now_ns, place, failure);
            return;
        }
        for node in 0..program.nodes.len() as u32 {
            // Those whose predecessors' events came before this word are ready as well as the roots.
            if self.invocations[place as usize].nodes[node as usize].waiting == 0 {
                self.ready(now_ns, place, node, NO_MAKER);
            }
        }
        self.drain_ended(now_ns);
    }

    /// The entry worker's word of an invocation is under way, with payloads that take a while. Words of later ones may
    /// come first; this keeps events of this one from being taken for late.
    pub fn begin_coming(&mut self, deployment: DeploymentId, id: InvocationId) {
        self.doors.begun(id);
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            return;
        };
        if !self.place_by_id.contains_key(&id) {
            self.open_pending(id, index);
        }
    }

    fn refuse_part(
        &mut self,
        id: InvocationId,
        deployment: DeploymentId,
        inputs: Vec<(u16, Incoming)>,
    ) {
        inputs
            .iter()
            .for_each(|(_, incoming)| self.drop_incoming(incoming));
        let reason = format!("deployment {deployment} is not served here any more; try again");
        self.actions.push(Action::Send(Box::new(Send {
            worker_hash: (id.0 >> 96) as u32,
            to_lane: id.lane(),
            invocation: id,
            deployment,
            body: Outbound::PartFailed(Failure::Refused {
                worker: String::new(),
                reason,
            }),
        })));
    }

    /// A remote node has ended well.
    pub fn state_event(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        id: InvocationId,
        node: NodeId,
        outputs: Vec<(u16, Incoming)>,
    ) {
        self.counters.events_received += 1;
        let known = self.deployment_by_id.get(&deployment).copied();
        let place = match (self.place_by_id.get(&id).copied(), known) {
            (Some(place), _) => Some(place),
            (None, Some(index)) if self.doors.expects(id) && !self.is_mine(id) => {
                let place = self.open_pending(id, index);
                self.await_beginning(now_ns, place);
                Some(place)
            }
            _ => None,
        };
        let place = place.filter(|place| self.invocations[*place as usize].phase != Phase::Over);
        let Some(place) = place else {
            self.counters.late_dropped += 1;
            outputs
                .iter()
                .for_each(|(_, incoming)| self.drop_incoming(incoming));
            return;
        };
        let program = Rc::clone(self.program_of(place));
        let producer = program.remote_producer(node).filter(|(remote, _)| {
            let ended = &mut self.invocations[place as usize].remote_ended[*remote as usize];
            // The same event twice has no effect; peers of one version never send it.
            !std::mem::replace(ended, true)
        });
        let Some((_, producer)) = producer else {
            self.counters.late_dropped += 1;
            outputs
                .iter()
                .for_each(|(_, incoming)| self.drop_incoming(incoming));
            return;
        };
        let mut failure = None;
        for (output, incoming) in outputs {
            let slot = producer.slots.get(&output).copied();
            failure = self
                .receive(place, slot, incoming, &producer.name, &program)
                .or(failure);
        }
        if let Some(failure) = failure {
            self.fail(now_ns, place, failure);
            return;
        }
        for successor in &producer.successors {
            let state = &mut self.invocations[place as usize].nodes[*successor as usize];
            state.waiting -= 1;
            if state.waiting == 0 {
                self.ready(now_ns, place, *successor, NO_MAKER);
            }
        }
        self.drain_ended(now_ns);
    }

    /// Whether it was taken at this lane's door, in whichever life of its worker.
    fn is_mine(&self, id: InvocationId) -> bool {
        entry_lane(id) == (self.config.worker_hash, self.config.lane)
    }

    /// A participant has ended its part of an invocation taken here.
    pub fn part_done(
        &mut self,
        now_ns: u64,
        id: InvocationId,
        outputs: Vec<(u16, Incoming)>,
        report: Vec<NodeReport>,
    ) {
        let place = self.place_by_id.get(&id).copied();
        let place = place.filter(|place| self.invocations[*place as usize].phase == Phase::Running);
        let Some(place) = place.filter(|place| self.invocations[*place as usize].entry.is_some())
        else {
            self.counters.late_dropped += 1;
            outputs
                .iter()
                .for_each(|(_, incoming)| self.drop_incoming(incoming));
            return;
        };
        let program = Rc::clone(self.program_of(place));
        let mut failure = None;
        for (number, incoming) in outputs {
            let Some(output) = program.plan.outputs.get(usize::from(number)) else {
                self.counters.late_dropped += 1;
                self.drop_incoming(&incoming);
                continue;
            };
            if let Incoming::Refused(cause) = incoming {
                let of = format!("output {}", output.name);
                failure = Some(self.payload_failure(&of, &program, cause));
                continue;
            }
            let value = self.take_incoming(incoming);
            let outgoing = self.hold_value(value);
            self.drop_value(value);
            if let Some(entry) = self.invocations[place as usize].entry.as_mut() {
                entry.outputs.push((number, outgoing));
            }
        }
        if let Some(failure) = failure {
            self.fail(now_ns, place, failure);
            return;
        }
        let invocation = &mut self.invocations[place as usize];
        let Some(entry) = invocation.entry.as_mut() else {
            return;
        };
        entry.reports.extend(report);
        entry.parts_left = entry.parts_left.saturating_sub(1);
        if entry.parts_left == 0 && invocation.nodes_left == 0 {
            self.answer(place, &program);
        }
    }

    /// A participant has failed an invocation taken here.
    pub fn part_failed(&mut self, now_ns: u64, id: InvocationId, failure: Failure) {
        let place = self.place_by_id.get(&id).copied();
        match place.filter(|place| self.invocations[*place as usize].phase == Phase::Running) {
            Some(place) => self.fail(now_ns, place, failure),
            None => self.counters.late_dropped += 1,
        }
    }

    /// The entry worker says that an invocation is over.
    pub fn forget(&mut self, now_ns: u64, id: InvocationId) {
        let place = self.place_by_id.get(&id).copied();
        // An invocation that was taken here is over when its client has its answer, whatever a peer says.
        if let Some(place) = place.filter(|place| self.invocations[*place as usize].entry.is_none())
        {
            self.end(now_ns, place);
        }
    }

    /// Others tell of an invocation before its entry worker has.
    fn open_pending(&mut self, id: InvocationId, index: u32) -> Place {
        let program = Rc::clone(self.program(index));
        let place = self.open(id, index, &program, Phase::Pending);
        if let Some(failure) = self.loss(&program, id) {
            self.pending_failures.insert(place, failure);
        }
        place
    }

    fn loss(&self, program: &Program, id: InvocationId) -> Option<Failure> {
        self.unconnected(program, id).map(|worker| Failure::Worker {
            worker: worker.to_owned(),
            cause: "there is no connection from it at the moment".to_owned(),
        })
    }

    fn open(&mut self, id: InvocationId, index: u32, program: &Program, phase: Phase) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.invocations.push(Invocation::new());
            (self.invocations.len() - 1) as Place
        });
        self.invocations[place as usize].start(id, index, program, phase);
        self.deployment_mut(index).instances += 1;
        if !program.others.is_empty() || !self.is_mine(id) {
            self.place_by_id.insert(id, place);
        }
        place
    }

    /// All local nodes have ended.
    pub(super) fn part_ended(&mut self, place: Place) {
        let program = Rc::clone(self.program_of(place));
        let invocation = &self.invocations[place as usize];
        if let Some(entry) = invocation.entry.as_ref() {
            if entry.parts_left == 0 {
                self.answer(place, &program);
            }
            return;
        }
        let id = invocation.id;
        let report = invocation
            .timing
            .as_ref()
            .map(|timing| timing.reports(&program))
            .unwrap_or_default();
        let outputs = self.outputs_here(place, &program);
        self.actions.push(Action::Send(Box::new(Send {
            worker_hash: (id.0 >> 96) as u32,
            to_lane: id.lane(),
            invocation: id,
            deployment: program.plan.deployment,
            body: Outbound::PartDone { outputs, report },
        })));
        self.free(place);
    }

    fn outputs_here(&mut self, place: Place, program: &Program) -> Vec<(u16, Outgoing)> {
        program
            .outputs_here
            .iter()
            .map(|from| (from.output, self.outgoing(place, from.slot)))
            .collect()
    }

    fn answer(&mut self, place: Place, program: &Program) {
        let mut outputs = self.outputs_here(place, program);
        let invocation = &mut self.invocations[place as usize];
        let Some(entry) = invocation.entry.take() else {
            return;
        };
        let mut report = entry.reports;
        if let Some(timing) = invocation.timing.as_ref() {
            report.extend(timing.reports(program));
            report.sort_by_key(|node| node.id);
        }
        outputs.extend(entry.outputs);
        outputs.sort_by_key(|(number, _)| *number);
        let named = outputs
            .into_iter()
            .map(|(number, outgoing)| {
                (
                    program.plan.outputs[usize::from(number)].name.clone(),
                    outgoing,
                )
            })
            .collect();
        self.counters.invocations_ended += 1;
        self.actions.push(Action::Answer(Box::new(Answered {
            client: entry.client,
            request: entry.request,
            invocation: self.invocations[place as usize].id,
            started_ns: entry.started_ns,
            result: Ok(named),
            report,
        })));
        self.left_the_door(place);
        self.free(place);
    }

    fn left_the_door(&mut self, place: Place) {
        self.in_flight -= 1;
        let index = self.invocations[place as usize].deployment;
        self.deployment_mut(index).taken -= 1;
    }

    /// An invocation cannot go on: tell whom it concerns, and end it.
    pub(super) fn fail(&mut self, now_ns: u64, place: Place, failure: Failure) {
        let program = Rc::clone(self.program_of(place));
        let invocation = &mut self.invocations[place as usize];
        if invocation.phase == Phase::Pending {
            self.pending_failures.entry(place).or_insert(failure);
            return;
        }
        if invocation.phase != Phase::Running {
            return;
        }
        let id = invocation.id;
        let Some(entry) = invocation.entry.take() else {
            self.actions.push(Action::Send(Box::new(Send {
                worker_hash: (id.0 >> 96) as u32,
                to_lane: id.lane(),
                invocation: id,
                deployment: program.plan.deployment,
                body: Outbound::PartFailed(failure),
            })));
            self.end(now_ns, place);
            return;
        };
        let mut report = entry.reports;
        if let Some(timing) = self.invocations[place as usize].timing.as_ref() {
            report.extend(timing.reports(&program));
            report.sort_by_key(|node| node.id);
        }
        self.counters.invocations_failed += 1;
        self.actions.push(Action::Answer(Box::new(Answered {
            client: entry.client,
            request: entry.request,
            invocation: id,
            started_ns: entry.started_ns,
            result: Err(failure),
            report,
        })));
        for (_, outgoing) in entry.outputs {
            self.let_go_all(outgoing.payloads());
        }
        for worker in &program.others {
            self.send(place, &program, *worker, Outbound::Forget);
        }
        self.left_the_door(place);
        self.end(now_ns, place);
    }

    /// Nothing of the invocation starts any more; what runs has a grace period.
    pub(super) fn end(&mut self, now_ns: u64, place: Place) {
        let invocation = &mut self.invocations[place as usize];
        if matches!(invocation.phase, Phase::Free | Phase::Over) {
            return;
        }
        invocation.phase = Phase::Over;
        if invocation.running > 0 {
            let (due_ns, generation) = (now_ns + self.config.grace_ns, invocation.generation);
            for index in 0..self.executors.len() as u32 {
                let executor = ExecutorId(index);
                if self.runs_for(executor, place, generation) {
                    self.set_timer(
                        due_ns,
                        Timer::Grace {
                            executor,
                            place,
                            generation,
                        },
                    );
                }
            }
        }
        self.free_if_over(now_ns, place);
    }

    pub(super) fn free_if_over(&mut self, _now_ns: u64, place: Place) {
        let invocation = &self.invocations[place as usize];
        if invocation.phase == Phase::Over && invocation.running == 0 {
            self.free(place);
        }
    }

    /// Lets go of everything that the invocation holds.
    pub(super) fn free(&mut self, place: Place) {
        for slot in 0..self.invocations[place as usize].slots.len() as u32 {
            self.clear_slot(place, slot);
        }
        for node in 0..self.invocations[place as usize].nodes.len() {
            if let Some(fan) = self.invocations[place as usize].nodes[node].fan.take() {
                fan.gathered
                    .into_iter()
                    .flatten()
                    .for_each(|list| self.close_list(list));
            }
        }
        let invocation = &mut self.invocations[place as usize];
        if invocation.timing.take().is_some() {
            self.timed -= 1;
        }
        invocation.phase = Phase::Free;
        invocation.generation = invocation.generation.wrapping_add(1);
        let (id, index) = (invocation.id, invocation.deployment);
        self.place_by_id.remove(&id);
        self.pending_failures.remove(&place);
        self.free.push(place);
        let deployment = self.deployment_mut(index);
        deployment.instances -= 1;
        if deployment.state == DeploymentState::Retiring {
            self.settle(index);
        }
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

    /// Puts an incoming payload into its slot; returns why the invocation must fail, if it must.
    fn receive(
        &mut self,
        place: Place,
        slot: Option<u32>,
        incoming: Incoming,
        of: &str,
        program: &Program,
    ) -> Option<Failure> {
        if let Incoming::Refused(cause) = incoming {
            return Some(self.payload_failure(of, program, cause));
        }
        let Some(slot) = slot else {
            self.drop_incoming(&incoming);
            return None;
        };
        let value = self.take_incoming(incoming);
        let bytes = self.value_bytes(value);
        self.clear_slot(place, slot);
        self.set_slot(place, slot, value, bytes, NO_MAKER);
        None
    }

    fn payload_failure(&self, of: &str, program: &Program, cause: String) -> Failure {
        Failure::Payload {
            node: of.to_owned(),
            worker: program.my_name().to_owned(),
            cause,
        }
    }

    fn take_incoming(&mut self, incoming: Incoming) -> Value {
        match incoming {
            Incoming::One(range) => Value::One(self.leases.take(range)),
            Incoming::List { range, items } => {
                let whole = self.leases.take(range);
                let list = self.lists.open();
                for (offset, length) in items {
                    let part = whole.part(offset, length).unwrap_or(Payload::EMPTY);
                    self.leases.hold(part);
                    self.lists.get_mut(list).push(part);
                }
                self.let_go(whole);
                Value::List(list)
            }
            Incoming::Refused(_) => Value::One(Payload::EMPTY),
        }
    }

    /// One more hold of a value, for sending.
    fn hold_value(&mut self, value: Value) -> Outgoing {
        match value {
            Value::Unset => Outgoing::One(Payload::EMPTY),
            Value::One(payload) => {
                self.leases.hold(payload);
                Outgoing::One(payload)
            }
            Value::List(list) => {
                let items = self.lists.get(list).to_vec();
                items.iter().for_each(|item| self.leases.hold(*item));
                Outgoing::List(items)
            }
        }
    }

    fn drop_value(&mut self, value: Value) {
        match value {
            Value::Unset => {}
            Value::One(payload) => self.let_go(payload),
            Value::List(list) => self.close_list(list),
        }
    }

    fn value_bytes(&self, value: Value) -> u64 {
        match value {
            Value::Unset => 0,
            Value::One(payload) => payload.length(),
            Value::List(list) => self.lists.get(list).iter().map(Payload::length).sum(),
        }
    }

    fn drop_incoming(&mut self, incoming: &Incoming) {
        match incoming {
            Incoming::One(range) | Incoming::List { range, .. } => self.release(*range),
            Incoming::Refused(_) => {}
        }
    }
}
