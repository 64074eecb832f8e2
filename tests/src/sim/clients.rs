//! Clients of a simulated cluster: what they ask for, what they must get, and what they got.

use super::Cluster;
use super::lane::Lane;
use crate::functions::Datum;
use crate::plans::{input_name, node_name};
use crate::reference::{Expected, interpret};
use engine::core::{Answered, ClientId, Incoming, Outgoing};
use engine::plan::NodeId;
use engine::wire::{Failure, NodeReport};
use faasstore::descriptor::InvocationId;
use std::collections::{BTreeMap, BTreeSet};

/// How an invocation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its client waits.
    Open,
    /// With the outputs that the reference computes.
    Well,
    /// With a failure that had a cause.
    Failed,
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
    /// What it must come to.
    pub expected: Expected,
    /// Whether the client wants a report.
    pub report: bool,
    /// Activations that were started.
    pub started: BTreeSet<(NodeId, u32)>,
    /// Activations that ended well, and how often.
    pub done: BTreeMap<(NodeId, u32), u32>,
    /// Attempts that came to nothing.
    pub attempts_lost: u32,
    /// Nodes of which an activation has come to nothing for the last time.
    pub fatal_nodes: BTreeSet<String>,
    /// Whether one of its payloads was refused where it arrived.
    pub payload_refused: bool,
    /// Whether its door is to refuse it.
    pub refusal_due: bool,
    /// Answers that its core has given.
    pub answers: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl Asked {
    pub(super) fn returned(&mut self, node: NodeId, item: u32) {
        *self.done.entry((node, item)).or_default() += 1;
    }

    pub(super) fn is_over(&self) -> bool {
        self.answers > 0
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
            .map(|(number, datum)| (input_name(number), arrived(datum, &mut self.lanes[lane])))
            .collect();
        let wrong = self.random.chance(self.scenario.faults.wrong_inputs) && self.spoil(&mut named);
        let full = self.lanes[lane].in_flight >= self.scenario.in_flight_max;
        let number = self.asked.len();
        let report = self.random.chance(300);
        let refusal_due = open.is_none() || wrong || full || self.is_cut_off(lane, deployment);
        let id = self.lanes[lane].id(self.lanes[lane].core.next_sequence());
        self.asked.push(Asked {
            lane,
            deployment,
            id: (!refusal_due).then_some(id),
            expected: interpret(&self.scenario.deployments[deployment].workflow, &inputs),
            report,
            started: BTreeSet::new(),
            done: BTreeMap::new(),
            attempts_lost: 0,
            fatal_nodes: BTreeSet::new(),
            payload_refused: false,
            refusal_due,
            answers: 0,
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
        self.lanes[lane]
            .core
            .invoke(now_ns, client, number as u64, &workflow, named, report);
        self.act(lane);
    }

    /// Makes inputs wrong; false if these cannot be.
    fn spoil(&mut self, named: &mut Vec<(String, Incoming)>) -> bool {
        match self.random.below(4) {
            0 => named.push(("nobody".into(), Incoming::Refused("it is nobody's".into()))),
            1 if !named.is_empty() => {
                let name = named[0].0.clone();
                named.push((name, Incoming::Refused("it is given twice".into())));
            }
            2 if !named.is_empty() => {
                let (name, _) = named[0].clone();
                // What has arrived of it is not lost with it.
                let given =
                    std::mem::replace(&mut named[0].1, Incoming::Refused("it is too long".into()));
                named.push((name + "?", given));
            }
            _ => named.push((String::new(), Incoming::Refused("it has no name".into()))),
        }
        true
    }

    /// A core has answered a client.
    pub(super) fn answered(&mut self, lane: usize, answered: Answered) {
        let asked = &mut self.asked[answered.request as usize];
        assert_eq!(answered.client, ClientId(answered.request + 7));
        assert_eq!(asked.lane, lane, "another lane answers");
        asked.answers += 1;
        assert_eq!(asked.answers, 1, "an invocation is answered once");
        if let Some(id) = asked.id {
            assert_eq!(answered.invocation, id);
            self.lanes[lane].in_flight -= 1;
        } else {
            assert_eq!(answered.invocation, InvocationId(0));
        }
        self.lanes[lane].answers.push(answered);
    }

    /// A client reads its answer: only then may its payloads go.
    pub(super) fn read_answer(&mut self, lane: usize, index: usize) {
        let answered = self.lanes[lane].answers.swap_remove(index);
        let outcome = match &answered.result {
            Ok(outputs) => {
                self.judge_outputs(lane, answered.request as usize, outputs, &answered.report);
                for (_, outgoing) in outputs {
                    self.lanes[lane].core.let_go_all(outgoing.payloads());
                }
                Outcome::Well
            }
            Err(failure) => self.judge_failure(answered.request as usize, failure),
        };
        self.asked[answered.request as usize].outcome = outcome;
        self.act(lane);
    }

    fn judge_outputs(
        &self,
        lane: usize,
        number: usize,
        outputs: &[(String, Outgoing)],
        report: &[NodeReport],
    ) {
        let asked = &self.asked[number];
        assert!(!asked.refusal_due, "taken, though it was to be refused");
        assert!(
            asked.fatal_nodes.is_empty(),
            "ended well, though {:?} had failed for good",
            asked.fatal_nodes
        );
        assert!(!asked.payload_refused, "ended well without a payload");
        let names: Vec<String> = outputs.iter().map(|(name, _)| name.clone()).collect();
        let wanted: Vec<String> = (0..asked.expected.outputs.len())
            .map(|number| format!("o{number}"))
            .collect();
        assert_eq!(names, wanted);
        for ((name, outgoing), expected) in outputs.iter().zip(&asked.expected.outputs) {
            assert_eq!(
                &datum(outgoing, &self.lanes[lane]),
                expected,
                "output {name} of {:?}",
                asked.id
            );
        }
        let once: BTreeMap<(NodeId, u32), u32> =
            asked.expected.activations.iter().map(|a| (*a, 1)).collect();
        assert_eq!(asked.done, once, "each activation takes effect once");
        self.judge_report(asked, report);
    }

    fn judge_report(&self, asked: &Asked, report: &[NodeReport]) {
        if !asked.report {
            assert!(report.is_empty());
            return;
        }
        let nodes = self.scenario.deployments[asked.deployment]
            .workflow
            .nodes
            .len() as NodeId;
        assert_eq!(
            report.iter().map(|node| node.id).collect::<Vec<_>>(),
            (0..nodes).collect::<Vec<_>>()
        );
        for node in report {
            let activations = asked
                .expected
                .activations
                .iter()
                .filter(|(id, _)| *id == node.id)
                .count();
            assert_eq!(node.activations as usize, activations, "{node:?}");
            assert_eq!(node.node, node_name(node.id));
        }
        let failures: u32 = report.iter().map(|node| node.failures).sum();
        assert_eq!(failures, asked.attempts_lost);
    }

    /// Whether a failure had a cause.
    fn judge_failure(&self, number: usize, failure: &Failure) -> Outcome {
        let asked = &self.asked[number];
        if asked.refusal_due {
            assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
            return Outcome::Refused;
        }
        match failure {
            Failure::Refused { .. } => {
                assert!(!self.lost_workers.is_empty(), "for no reason: {failure}")
            }
            Failure::Worker { worker, .. } => {
                assert!(self.lost_workers.contains(worker), "{failure}")
            }
            Failure::Payload { .. } => assert!(asked.payload_refused, "{failure}"),
            Failure::Node {
                node,
                worker,
                cause,
                ..
            } => {
                let deployed = &self.scenario.deployments[asked.deployment];
                let id = (0..).find(|id| node_name(*id) == *node).unwrap_or_default();
                let plan = deployed
                    .plans
                    .iter()
                    .find(|plan| plan.nodes.iter().any(|node| node.id == id));
                let plan = plan.unwrap_or_else(|| panic!("there is no such node: {failure}"));
                assert_eq!(&plan.workers[usize::from(plan.me)].name, worker);
                let executable = format!("e{}", deployed.workflow.nodes[id as usize].executable);
                let refused = cause.starts_with("no executor could be started")
                    && self
                        .refused_executables
                        .contains(&(worker.clone(), executable));
                assert!(
                    refused || asked.fatal_nodes.contains(node),
                    "{failure}, but only {:?}",
                    asked.fatal_nodes
                );
            }
        }
        Outcome::Failed
    }
}

fn arrived(datum: &Datum, lane: &mut Lane) -> Incoming {
    match datum {
        Datum::One(bytes) => Incoming::One(lane.memory.commit(bytes.clone())),
        Datum::List(items) => {
            let bytes: Vec<u8> = items.concat();
            let mut offset = 0;
            let places = items
                .iter()
                .map(|item| {
                    let place = (offset, item.len() as u64);
                    offset += item.len() as u64;
                    place
                })
                .collect();
            Incoming::List {
                range: lane.memory.commit(bytes),
                items: places,
            }
        }
    }
}

fn datum(outgoing: &Outgoing, lane: &Lane) -> Datum {
    let read = |payload| lane.memory.read(lane.core.locate(payload));
    match outgoing {
        Outgoing::One(payload) => Datum::One(read(*payload)),
        Outgoing::List(items) => Datum::List(items.iter().map(|item| read(*item)).collect()),
    }
}
