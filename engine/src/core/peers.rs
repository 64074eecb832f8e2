//! What lanes of peers tell: that an invocation begins, how its nodes elsewhere and its other parts end, and that it is
//! over.
//!
//! The lane that takes an invocation tells every other participant of it once ([`Outbound::Begin`]), before anything else
//! of it and in the order of its sequence numbers. So a participant knows of an event that comes first that the beginning
//! will follow, and of one that comes after the end that it is late.

use super::doors::entry_lane;
use super::invocation::{NO_MAKER, Phase, Place};
use super::outcome::{Outcome, Shown};
use super::payloads::way_of;
use super::program::Program;
use super::report::Wanted;
use super::{Core, Incoming, Outbound, worker_hash};
use crate::plan::{DeploymentId, NodeId};
use crate::trace::PartTrace;
use crate::wire::{self, Failure, NodeReport};
use faasstore::Cancelled;
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

impl Core {
    /// The entry worker tells of an invocation.
    pub fn begin(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        id: InvocationId,
        wanted: Wanted,
        inputs: Vec<(u16, Incoming)>,
    ) {
        self.doors.begun(id);
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            // Not refused in silence: the entry worker learns of it, and its client.
            let reason = format!("deployment {deployment} is not served here any more; try again");
            let refused = Failure::Refused {
                worker: String::new(),
                reason,
                memory: None,
            };
            self.refuse_part(id, deployment, refused, inputs);
            return;
        };
        if let Some(reason) = self.refusal_of(index) {
            let refused = Failure::Refused {
                worker: String::new(),
                reason: reason.to_owned(),
                memory: None,
            };
            self.refuse_part(id, deployment, refused, inputs);
            return;
        }
        let program = Rc::clone(self.program(index));
        if self.doors.was_given_up(id) {
            let workers = &program.plan.workers;
            let entry = workers
                .iter()
                .find(|worker| worker_hash(&worker.name) == (id.0 >> 96) as u32);
            let lost = Failure::Worker {
                worker: entry.map_or_else(String::new, |worker| worker.name.clone()),
                cause: "there was no connection from it for so long that what others told of the invocation was dropped"
                    .to_owned(),
            };
            self.refuse_part(id, deployment, lost, inputs);
            return;
        }
        let place = match self.place_by_id.get(&id) {
            Some(place) => *place,
            None => self.open(now_ns, id, index, &program, Phase::Pending),
        };
        let invocation = &mut self.invocations[place as usize];
        invocation.since_ns = now_ns.min(invocation.since_ns);
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
        self.watch(now_ns, place, &program, wanted);
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
        for node in program.scopes[0].nodes.clone() {
            // Those whose predecessors' events came before this word can be decided as well as the roots.
            if program.nodes[node as usize].at_least > 0 {
                self.try_join(now_ns, place, node, &program);
            } else if self.invocations[place as usize].node(node).waiting == 0 {
                self.decide(now_ns, place, node, NO_MAKER, &program);
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
        if !self.place_by_id.contains_key(&id) && !self.doors.was_given_up(id) {
            // Since when it is here is said by its beginning.
            self.open_pending(u64::MAX, id, index);
        }
    }

    fn refuse_part(
        &mut self,
        id: InvocationId,
        deployment: DeploymentId,
        failure: Failure,
        inputs: Vec<(u16, Incoming)>,
    ) {
        inputs
            .iter()
            .for_each(|(_, incoming)| self.drop_incoming(incoming));
        let failed = Outbound::PartFailed {
            failure,
            report: Vec::new(),
            trace: None,
        };
        self.send_to_entry(id, deployment, failed);
    }

    /// Lets go of what a message brought that comes too late, and counts it.
    fn drop_late(&mut self, outputs: &[(u16, Incoming)]) {
        self.counters.late_dropped += 1;
        for (_, incoming) in outputs {
            self.drop_incoming(incoming);
        }
    }

    /// A remote node has ended.
    pub fn state_event(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        id: InvocationId,
        node: NodeId,
        outcome: wire::Outcome,
        outputs: Vec<(u16, Incoming)>,
    ) {
        self.counters.events_received += 1;
        let known = self.deployment_by_id.get(&deployment).copied();
        let place = match (self.place_by_id.get(&id).copied(), known) {
            (Some(place), _) => Some(place),
            (None, Some(index)) if self.doors.expects(id) && !self.is_mine(id) => {
                let place = self.open_pending(now_ns, id, index);
                self.await_beginning(now_ns, place);
                Some(place)
            }
            _ => None,
        };
        let place = place.filter(|place| self.invocations[*place as usize].phase != Phase::Over);
        let Some(place) = place else {
            self.drop_late(&outputs);
            return;
        };
        let program = Rc::clone(self.program_of(place));
        let producer = program.remote_producer(node).filter(|(remote, _)| {
            let ended = &mut self.invocations[place as usize].remote_ended[*remote as usize];
            // The same event twice has no effect; peers of one version never send it.
            !std::mem::replace(ended, true)
        });
        let Some((_, producer)) = producer else {
            self.drop_late(&outputs);
            return;
        };
        let mut failure = None;
        for (output, incoming) in outputs {
            let slot = producer.slots.get(&output).copied();
            if matches!(incoming, Incoming::Arriving { .. }) {
                // Whoever reads an item waits until that is here.
                self.press(now_ns, program.account);
            }
            failure = self
                .receive(place, slot, incoming, &producer.name, &program)
                .or(failure);
        }
        if let Some(failure) = failure {
            self.fail(now_ns, place, failure);
            return;
        }
        let mut shown = Shown::default();
        let mut failed =
            |cause| Outcome::Failed(self.borne.add(place, producer.name.clone(), cause));
        let whole = match outcome {
            wire::Outcome::Well => Outcome::Well,
            wire::Outcome::Chose(case) => Outcome::Chose(case),
            wire::Outcome::Skipped => Outcome::Skipped,
            wire::Outcome::Caught(catch) => Outcome::Caught(catch),
            wire::Outcome::Failed(cause) => failed(cause),
            wire::Outcome::Items {
                failed: cause,
                cases,
                catches,
            } => {
                shown.cases.extend(cases);
                shown.catches.extend(catches);
                cause.map_or(Outcome::Well, failed)
            }
        };
        for edge in &producer.successors {
            let outcome = shown.through(edge.when, whole);
            self.edge_decided(now_ns, place, *edge, outcome, NO_MAKER, &program);
        }
        if let Some(node) = producer.part_of {
            self.part_left(now_ns, place, node, whole, Some(&shown), &program);
        }
        self.drain_ended(now_ns);
    }

    /// Whether it was taken at this lane's door, in whichever life of its worker.
    pub(super) fn is_mine(&self, id: InvocationId) -> bool {
        entry_lane(id) == (self.config.worker_hash, self.config.lane)
    }

    /// A participant has ended its part of an invocation taken here.
    pub fn part_done(
        &mut self,
        now_ns: u64,
        id: InvocationId,
        outputs: Vec<(u16, Incoming)>,
        report: Vec<NodeReport>,
        trace: Option<Box<PartTrace>>,
    ) {
        let place = self.place_by_id.get(&id).copied();
        let place = place.filter(|place| self.invocations[*place as usize].phase == Phase::Running);
        let Some(place) = place.filter(|place| self.invocations[*place as usize].entry.is_some())
        else {
            self.drop_late(&outputs);
            return;
        };
        let program = Rc::clone(self.program_of(place));
        let mut failure = None;
        for (number, incoming) in outputs {
            let Some(candidate) = program.candidates.get(usize::from(number)) else {
                self.counters.late_dropped += 1;
                self.drop_incoming(&incoming);
                continue;
            };
            let output = &program.plan.outputs[usize::from(candidate.output)];
            if let Incoming::Refused(cause) = incoming {
                let tally = self.leases.tally_mut(program.account);
                tally.carried.arrivals_refused += 1;
                let of = format!("output {}", output.name);
                failure = Some(self.payload_failure(&of, &program, cause));
                continue;
            }
            let way = way_of(&incoming, &program.plan.limits);
            let value = self.take_incoming(program.account, incoming, way);
            let outgoing = self.hold_value(place, value);
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
        entry.take_trace(trace);
        entry.parts_left = entry.parts_left.saturating_sub(1);
        if entry.parts_left == 0 && invocation.nodes_left == 0 {
            self.answer(place, &program);
        }
    }

    /// A participant has failed an invocation taken here.
    pub fn part_failed(
        &mut self,
        now_ns: u64,
        id: InvocationId,
        failure: Failure,
        report: Vec<NodeReport>,
        trace: Option<Box<PartTrace>>,
    ) {
        let place = self.place_by_id.get(&id).copied();
        let place = place.filter(|place| self.invocations[*place as usize].phase == Phase::Running);
        let Some(place) = place else {
            self.counters.late_dropped += 1;
            return;
        };
        if let Some(entry) = self.invocations[place as usize].entry.as_mut() {
            entry.reports.extend(report);
            entry.take_trace(trace);
        }
        self.fail(now_ns, place, failure);
    }

    /// The entry worker says that an invocation is over, and why.
    pub fn forget(&mut self, now_ns: u64, id: InvocationId, why: Cancelled) {
        // Its beginning does not come any more, should it not have come.
        self.doors.begun(id);
        let place = self.place_by_id.get(&id).copied();
        // An invocation that was taken here is over when its client has its answer, whatever a peer says.
        if let Some(place) = place.filter(|place| self.invocations[*place as usize].entry.is_none())
        {
            self.end(now_ns, place, why);
        }
    }

    /// Others tell of an invocation before its entry worker has.
    fn open_pending(&mut self, now_ns: u64, id: InvocationId, index: u32) -> Place {
        let program = Rc::clone(self.program(index));
        let place = self.open(now_ns, id, index, &program, Phase::Pending);
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
}
