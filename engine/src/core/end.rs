//! How invocations end, well or not: who is told, and how everything that they held comes back.

use super::invocation::{Entry, Phase, Place, Value};
use super::lease::Payload;
use super::pool::ExecutorId;
use super::program::Program;
use super::report::parts_added_up;
use super::{Action, Answered, Core, DeploymentState, Outbound, Outgoing, Send};
use crate::plan::DeploymentId;
use crate::trace::PartTrace;
use crate::wire::{Failure, NodeReport};
use faasstore::Cancelled;
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

impl Core {
    /// All local nodes have ended.
    pub(super) fn part_ended(&mut self, place: Place) {
        self.profile_part_ends(place);
        let program = Rc::clone(self.program_of(place));
        let invocation = &self.invocations[place as usize];
        if let Some(entry) = invocation.entry.as_ref() {
            if entry.parts_left == 0 {
                self.answer(place, &program);
            }
            return;
        }
        let id = invocation.id;
        // All has ended well, so that the time is of no account.
        let (report, trace) = self.told(0, place, &program);
        let outputs = self.outputs_here(place, &program);
        let done = Outbound::PartDone {
            outputs,
            report,
            trace,
        };
        self.send_to_entry(id, program.plan.deployment, done);
        self.free(place);
    }

    /// Tells the lane that took an invocation.
    pub(super) fn send_to_entry(
        &mut self,
        id: InvocationId,
        deployment: DeploymentId,
        body: Outbound,
    ) {
        self.actions.push(Action::Send(Box::new(Send {
            worker_hash: (id.0 >> 96) as u32,
            to_lane: id.lane(),
            invocation: id,
            deployment,
            body,
        })));
    }

    /// What is here of the workflow's outputs, by the number of its source among all.
    fn outputs_here(&mut self, place: Place, program: &Program) -> Vec<(u16, Outgoing)> {
        let mut here = Vec::with_capacity(program.outputs_here.len());
        for from in &program.outputs_here {
            let slot = self.invocations[place as usize].slot(from.slot);
            let value = slot.map_or(Value::Unset, |slot| slot.value);
            if !matches!(value, Value::Unset) {
                here.push((from.candidate, self.hold_value(place, value)));
            }
        }
        here
    }

    /// The first source of each output that is there; the others are let go of. The first output that must be there and
    /// is not makes it an error.
    fn chosen_outputs(
        &mut self,
        deployment: u32,
        program: &Program,
        mut outputs: Vec<(u16, Outgoing)>,
    ) -> Result<Vec<(String, Outgoing)>, Failure> {
        outputs.sort_by_key(|(candidate, _)| *candidate);
        let outputs = self.parts_joined(program, outputs);
        let output_of = |candidate: u16| program.candidates[usize::from(candidate)].output;
        let mut chosen: Vec<(u16, Outgoing)> = Vec::with_capacity(program.plan.outputs.len());
        for (candidate, outgoing) in outputs {
            let output = output_of(candidate);
            if chosen
                .last()
                .is_some_and(|(last, _)| output_of(*last) == output)
            {
                self.let_go_all(outgoing.payloads());
            } else {
                chosen.push((candidate, outgoing));
            }
        }
        let there = |output: u16| {
            chosen
                .binary_search_by_key(&output, |(candidate, _)| output_of(*candidate))
                .is_ok()
        };
        let mut declared = (0..).zip(&program.plan.outputs);
        let absent = declared.find(|(output, declared)| !declared.optional && !there(*output));
        if let Some((_, absent)) = absent {
            for (_, outgoing) in chosen {
                self.let_go_all(outgoing.payloads());
            }
            return Err(Failure::Absent {
                output: absent.name.clone(),
            });
        }
        self.count_outputs(deployment, &chosen);
        let name = |candidate| {
            let output = usize::from(output_of(candidate));
            program.plan.outputs[output].name.clone()
        };
        Ok(chosen
            .into_iter()
            .map(|(candidate, outgoing)| (name(candidate), outgoing))
            .collect())
    }

    /// Joins the parts of lists that divided nodes give, by the number of the first one. A list is there if all parts of it
    /// are; what says what failed, if it says anything.
    fn parts_joined(
        &mut self,
        program: &Program,
        outputs: Vec<(u16, Outgoing)>,
    ) -> Vec<(u16, Outgoing)> {
        let part_of = |number: u16| program.candidates[usize::from(number)].part;
        if outputs.iter().all(|(number, _)| part_of(*number).is_none()) {
            return outputs;
        }
        let mut joined = Vec::with_capacity(outputs.len());
        let mut left = outputs.into_iter().peekable();
        while let Some((number, outgoing)) = left.next() {
            let Some(part) = part_of(number) else {
                joined.push((number, outgoing));
                continue;
            };
            let first = number - part.number;
            let behind = first + part.of;
            let mut items = outgoing.payloads().to_vec();
            let mut parts = 1;
            while let Some((_, next)) = left.next_if(|(number, _)| *number < behind) {
                items.extend(next.payloads());
                parts += 1;
            }
            let says = |items: &[Payload]| items.iter().any(|item| !item.is_absent());
            let error = program.candidates[usize::from(number)].error;
            if parts == part.of && (!error || says(&items)) {
                joined.push((first, Outgoing::List(items)));
            } else {
                self.let_go_all(&items);
            }
        }
        joined
    }

    pub(super) fn answer(&mut self, place: Place, program: &Program) {
        let mut outputs = self.outputs_here(place, program);
        let entry = self.invocations[place as usize].entry.as_mut();
        let Some(entry) = entry else {
            return;
        };
        outputs.append(&mut entry.outputs);
        let started_ns = entry.started_ns;
        let deployment = self.invocations[place as usize].deployment;
        let named = match self.chosen_outputs(deployment, program, outputs) {
            Ok(named) => named,
            // Nothing runs any more, so that the time is of no account.
            Err(absent) => return self.fail(started_ns, place, absent),
        };
        let Some(mut entry) = self.invocations[place as usize].entry.take() else {
            return;
        };
        let (report, trace) = self.told_of_all(started_ns, place, program, &mut entry);
        self.counters.invocations_ended += 1;
        self.asked.remove(entry.client, entry.request, place);
        self.actions.push(Action::Answer(Box::new(Answered {
            client: entry.client,
            request: entry.request,
            invocation: self.invocations[place as usize].id,
            deployment: Some(program.plan.deployment),
            started_ns: entry.started_ns,
            result: Ok(named),
            report,
            trace,
        })));
        self.left_the_door(place);
        self.free(place);
    }

    /// What the client is told beside its outputs, of all participants.
    fn told_of_all(
        &mut self,
        now_ns: u64,
        place: Place,
        program: &Program,
        entry: &mut Entry,
    ) -> (Vec<NodeReport>, Vec<PartTrace>) {
        let (own_report, own_trace) = self.told(now_ns, place, program);
        let mut report = std::mem::take(&mut entry.reports);
        report.extend(own_report);
        report.sort_by_key(|node| node.id);
        let report = parts_added_up(report);
        let mut trace: Vec<PartTrace> = own_trace.into_iter().map(|trace| *trace).collect();
        trace.append(&mut entry.traces);
        (report, trace)
    }

    fn left_the_door(&mut self, place: Place) {
        self.in_flight -= 1;
        let index = self.invocations[place as usize].deployment;
        self.deployment_mut(index).taken -= 1;
    }

    /// An invocation cannot go on: tell whom it concerns, and end it.
    pub(super) fn fail(&mut self, now_ns: u64, place: Place, failure: Failure) {
        let place = self.invocations[place as usize].root;
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
        let why = match failure {
            Failure::Cancelled => Cancelled::ByClient,
            Failure::Timeout { .. } => Cancelled::TimedOut,
            _ => Cancelled::FailedElsewhere,
        };
        let Some(mut entry) = invocation.entry.take() else {
            let (report, trace) = self.told(now_ns, place, &program);
            let failed = Outbound::PartFailed {
                failure,
                report,
                trace,
            };
            self.send_to_entry(id, program.plan.deployment, failed);
            self.end(now_ns, place, why);
            return;
        };
        let (report, trace) = self.told_of_all(now_ns, place, &program, &mut entry);
        self.counters.invocations_failed += 1;
        self.asked.remove(entry.client, entry.request, place);
        self.actions.push(Action::Answer(Box::new(Answered {
            client: entry.client,
            request: entry.request,
            invocation: id,
            deployment: Some(program.plan.deployment),
            started_ns: entry.started_ns,
            result: Err(failure),
            report,
            trace,
        })));
        for (_, outgoing) in entry.outputs {
            self.let_go_all(outgoing.payloads());
        }
        for worker in &program.others {
            self.send(place, &program, *worker, Outbound::Forget { why });
        }
        self.left_the_door(place);
        let index = self.invocations[place as usize].deployment;
        self.deployment_mut(index).ending += 1;
        self.invocations[place as usize].ending = true;
        self.end(now_ns, place, why);
    }

    /// What another lane is to hear of an invocation cannot be sent, whatever is tried: it would wait for ever, so the
    /// invocation fails.
    pub fn untold(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        id: InvocationId,
        cause: String,
    ) {
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            return;
        };
        let program = Rc::clone(self.program(index));
        let failure = self.payload_failure("a message", &program, cause);
        let place = self.place_by_id.get(&id).copied();
        match place.filter(|place| !self.invocations[*place as usize].phase.is_over()) {
            Some(place) => self.fail(now_ns, place, failure),
            None if self.is_mine(id) => {}
            None => {
                let failed = Outbound::PartFailed {
                    failure,
                    report: Vec::new(),
                    trace: None,
                };
                self.send_to_entry(id, deployment, failed);
            }
        }
    }

    /// Nothing of the invocation starts any more; what runs is told to stop, and has a grace period.
    pub(super) fn end(&mut self, now_ns: u64, place: Place, why: Cancelled) {
        if self.invocations[place as usize].phase.is_over() {
            return;
        }
        // What it reads is let go of before long.
        self.count_reads();
        self.invocations[place as usize].phase = Phase::Over;
        for item in self.items_within(place) {
            self.invocations[item as usize].phase = Phase::Over;
        }
        let invocation = &self.invocations[place as usize];
        if invocation.running > 0 {
            let due_ns = now_ns + self.config.grace_ns;
            for index in 0..self.executors.len() as u32 {
                let executor = ExecutorId(index);
                if self.runs_for(executor, place) {
                    self.tell(executor, why, due_ns);
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

    /// Lets go of what lives in a place.
    pub(super) fn clear_place(&mut self, place: Place) {
        // What has ended here must not be taken for an end in what lives here next.
        self.ended.retain(|ended| ended.place != place);
        self.take_timers(place);
        self.borne.end_all(place);
        self.retried.end_all(place);
        for slot in self.invocations[place as usize].slots() {
            self.clear_slot(place, slot);
        }
        if !self.program_of(place).keeps_notes {
            return;
        }
        for node in self.invocations[place as usize].nodes() {
            let state = self.invocations[place as usize].node_mut(node);
            let extra = self.extras.take(state);
            if let Some(run) = extra.and_then(|extra| extra.run) {
                run.gathered
                    .into_iter()
                    .flatten()
                    .for_each(|list| self.close_list(list));
            }
        }
    }

    /// Lets go of everything that the invocation holds.
    pub(super) fn free(&mut self, place: Place) {
        for item in self.items_within(place) {
            self.free_item(item);
        }
        self.clear_place(place);
        self.unwatch(place);
        let invocation = &mut self.invocations[place as usize];
        invocation.phase = Phase::Free;
        invocation.generation = invocation.generation.wrapping_add(1);
        let (id, index) = (invocation.id, invocation.deployment);
        let ending = std::mem::take(&mut invocation.ending);
        self.place_by_id.remove(&id);
        self.pending_failures.remove(&place);
        self.free.push(place);
        let leaving = self.sending.count() > 0 && {
            let of = self.program(index).plan.deployment;
            self.sending.is_over(id, of)
        };
        let deployment = self.deployment_mut(index);
        deployment.ending -= u32::from(ending);
        deployment.leaving += u32::from(leaving);
        deployment.instances -= 1;
        if deployment.state == DeploymentState::Retiring {
            self.settle(index);
        }
    }
}
