//! Clients of a simulated cluster: what they ask for, what they must get, and what they got.

use super::Cluster;
use super::lane::Lane;
use super::reads::way_of;
use super::stops::why_over;
use crate::functions::Datum;
use crate::plans::input_name;
use crate::trace::{Ending, Moment, Trace};
use engine::core::{Answered, ClientId, Incoming, Outgoing, Wanted};
use engine::plan::{NodeId, WorkflowInput};
use engine::wire::Failure;
use faasstore::Cancelled;
use faasstore::binding::{Kind, VALUE_BYTES_MAX};
use faasstore::descriptor::InvocationId;
use std::collections::BTreeMap;

/// How an invocation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its client waits.
    Open,
    /// With the outputs that the reference computes.
    Well,
    /// With a failure that had a cause.
    Failed,
    /// Since the client took it back.
    Cancelled,
    /// At the door.
    Refused,
    /// Its client's connection went with the worker.
    Cut,
}

/// One invocation that a client has asked for.
#[derive(Debug)]
pub struct Asked {
    /// The lane that was asked.
    pub lane: usize,
    /// Place of its deployment in the scenario.
    pub deployment: usize,
    /// Its id, if it was taken.
    pub id: Option<InvocationId>,
    /// What the client gave.
    pub inputs: Vec<Option<Datum>>,
    /// What the client wants to be told.
    pub wanted: Wanted,
    /// Whether the workflow has a timeout.
    pub timed: bool,
    /// What has been seen of it.
    pub trace: Trace,
    /// Lanes where it is over, as these lanes know, and since when, in nanoseconds.
    pub forgotten: BTreeMap<usize, u64>,
    /// What runs of it is to be told, once its client is answered with a failure.
    pub why_over: Option<Cancelled>,
    /// When its client took it back, if it was under way then.
    pub cancelled: Option<Moment>,
    /// Whether one of its payloads was refused where it arrived.
    pub payload_refused: bool,
    /// A payload that may have been its own was lost.
    pub payload_lost: bool,
    /// Whether its door is to refuse it.
    pub refusal_due: bool,
    /// Answers that its core has given.
    pub answers: u32,
    /// When that was.
    pub answered: Moment,
    /// What the client has read.
    pub result: Option<Result<Vec<(String, Datum)>, Failure>>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Asked {
    pub(super) fn is_over(&self) -> bool {
        self.answers > 0
    }

    /// The nodes of attempts that have failed so far, those that came to nothing in their delay included.
    pub(super) fn failures(&self) -> impl Iterator<Item = NodeId> {
        let attempts = self.trace.activations.iter();
        let attempts = attempts
            .flat_map(|((node, _), attempts)| attempts.iter().map(|attempt| (*node, attempt)));
        let failed =
            attempts.filter(|(_, attempt)| matches!(attempt.ended, Some((_, Ending::Failed(..)))));
        failed
            .map(|(node, _)| node)
            .chain(self.trace.failed_delays().map(|(node, _)| *node))
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures().next().is_some()
    }
}

impl Cluster {
    /// The next client asks for what it wishes.
    pub(super) fn invoke_next(&mut self) {
        let (lane, workflow) = self.scenario.wishes[self.next_wish].clone();
        self.next_wish += 1;
        if !self.lanes[lane].alive {
            return;
        }
        // A door that is closed is asked for what its first version would take.
        let open = self.lanes[lane].doors.get(&workflow).copied();
        let first = self
            .scenario
            .deployments
            .iter()
            .position(|deployed| deployed.name.workflow == workflow);
        let deployment = open
            .or(first)
            .expect("a wish names a workflow of the scenario");
        let inputs = self.scenario.deployments[deployment]
            .workflow
            .random_inputs(&mut self.random);
        let mut named: Vec<(String, Incoming)> = inputs
            .iter()
            .enumerate()
            .filter_map(|(number, given)| {
                let datum = given.as_ref()?;
                let incoming = self.lanes[lane].arrived(datum);
                self.lanes[lane].has_come(&incoming, way_of(&incoming));
                Some((input_name(number), incoming))
            })
            .collect();
        let wrong = self.random.chance(self.scenario.faults.wrong_inputs);
        if wrong {
            self.spoil(lane, deployment, &mut named);
        }
        let full = self.lanes[lane].in_flight >= self.scenario.in_flight_max;
        let number = self.asked.len();
        let wanted = Wanted {
            report: self.random.chance(300),
            trace: self.random.chance(300),
        };
        let due = open.and_then(|first| self.due_placement(lane, first));
        let closed = due.is_none() || wrong || full;
        let refusal_due = closed || self.is_short_at_door(lane, &workflow, &inputs);
        let deployment = due.unwrap_or(deployment);
        let id = self.lanes[lane].id(self.lanes[lane].core.next_sequence());
        self.asked.push(Asked {
            lane,
            deployment,
            id: (!refusal_due).then_some(id),
            inputs,
            wanted,
            timed: self.scenario.deployments[deployment]
                .workflow
                .timeout_ms
                .is_some(),
            trace: Trace {
                asked: self.now(),
                ..Trace::default()
            },
            forgotten: BTreeMap::new(),
            why_over: None,
            cancelled: None,
            payload_refused: false,
            payload_lost: false,
            refusal_due,
            answers: 0,
            answered: Moment::default(),
            result: None,
            outcome: Outcome::Open,
        });
        if refusal_due {
            self.lanes[lane].refused += 1;
        } else {
            self.lanes[lane].in_flight += 1;
            self.by_id.insert(id, number);
        }
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let client = ClientId(number as u64 + 7);
        let chosen =
            self.lanes[lane]
                .core
                .invoke(now_ns, client, number as u64, &workflow, named, wanted);
        match due.filter(|_| !refusal_due) {
            Some(due) => self.judge_placement(lane, due, chosen),
            None => assert_eq!(chosen, None, "it was to be refused"),
        }
        self.act(lane);
    }

    /// Makes inputs wrong.
    fn spoil(&mut self, lane: usize, deployment: usize, named: &mut Vec<(String, Incoming)>) {
        let inputs = &self.scenario.deployments[deployment].workflow.inputs;
        let place = |wanted: &dyn Fn(&WorkflowInput) -> bool| {
            let is = |name: &str| {
                inputs
                    .iter()
                    .any(|input| input.name == name && wanted(input))
            };
            named.iter().position(|(name, _)| is(name))
        };
        let needed = place(&|input| input.default.is_none() && !input.optional);
        let value = place(&|input| input.kind == Kind::Value);
        let lane = &mut self.lanes[lane];
        match (self.random.below(7), needed, value) {
            (0, ..) => named.push(("nobody".into(), Incoming::Refused("it is nobody's".into()))),
            (1, ..) if !named.is_empty() => {
                let name = named[0].0.clone();
                named.push((name, Incoming::Refused("it is given twice".into())));
            }
            (2, ..) if !named.is_empty() => {
                let (name, _) = named[0].clone();
                // What has arrived of it is not lost with it.
                let given =
                    std::mem::replace(&mut named[0].1, Incoming::Refused("it is too long".into()));
                named.push((name + "?", given));
            }
            (3, ..) if !named.is_empty() => {
                let other = match named[0].1 {
                    Incoming::One(_) | Incoming::Lent(_) => {
                        Datum::List(vec![Some(vec![1]), Some(Vec::new())])
                    }
                    Incoming::List { .. }
                    | Incoming::Arriving { .. }
                    | Incoming::LentList { .. }
                    | Incoming::Refused(_) => Datum::One(vec![1]),
                };
                lane.drop_arrived(&named[0].1);
                named[0].1 = lane.arrived(&other);
            }
            (4, Some(needed), _) => {
                let (_, given) = named.remove(needed);
                lane.drop_arrived(&given);
            }
            (5, _, Some(value)) => {
                lane.drop_arrived(&named[value].1);
                named[value].1 = lane.arrived(&Datum::One(vec![7; VALUE_BYTES_MAX + 1]));
            }
            _ => named.push((String::new(), Incoming::Refused("it has no name".into()))),
        }
    }

    /// A core has answered a client.
    pub(super) fn answered(&mut self, lane: usize, answered: Answered) {
        let now = self.now();
        self.sees_outputs(lane, &answered);
        let asked = &mut self.asked[answered.request as usize];
        assert_eq!(answered.client, ClientId(answered.request + 7));
        assert_eq!(asked.lane, lane, "another lane answers");
        asked.answers += 1;
        assert_eq!(asked.answers, 1, "an invocation is answered once");
        asked.answered = now;
        asked.why_over = answered.result.as_ref().err().map(why_over);
        asked.forgotten.entry(lane).or_insert(now.ns);
        if let Some(id) = asked.id {
            assert_eq!(answered.invocation, id);
            self.lanes[lane].in_flight -= 1;
            self.lanes[lane].known.answered(asked.deployment);
        } else {
            assert_eq!(answered.invocation, InvocationId(0));
        }
        self.lanes[lane].answers.push(answered);
    }

    /// A client reads its answer: only then may its payloads go.
    pub(super) fn read_answer(&mut self, lane: usize, index: usize) {
        let answered = self.lanes[lane].answers.swap_remove(index);
        let number = answered.request as usize;
        let ended_well = answered.result.is_ok();
        self.judge_trace(number, &answered.trace, ended_well);
        self.judge_report(number, &answered.report, ended_well);
        let result = match answered.result {
            Ok(outputs) => {
                let mut read = Vec::new();
                for (name, outgoing) in outputs {
                    read.push((name, datum(&outgoing, &self.lanes[lane])));
                    self.lanes[lane].core.let_go_all(outgoing.payloads());
                }
                if self.loses_output() {
                    read.pop();
                }
                Ok(read)
            }
            Err(failure) => Err(failure),
        };
        let asked = &mut self.asked[number];
        asked.outcome = match &result {
            Ok(_) => Outcome::Well,
            Err(_) if asked.refusal_due => Outcome::Refused,
            Err(Failure::Cancelled) => Outcome::Cancelled,
            Err(_) => Outcome::Failed,
        };
        asked.result = Some(result);
        self.act(lane);
    }
}

fn datum(outgoing: &Outgoing, lane: &Lane) -> Datum {
    let read = |payload| lane.memory.read(lane.core.locate(payload));

    match outgoing {
        Outgoing::One(payload) => Datum::One(read(*payload)),
        Outgoing::List(items) | Outgoing::Section(items, _) => {
            let there = items
                .iter()
                .map(|item| (!item.is_absent()).then_some(*item));
            Datum::List(there.map(|item| item.map(read)).collect())
        }
    }
}
