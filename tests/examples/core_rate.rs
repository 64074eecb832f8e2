//! How many activations the trigger core alone can handle in a second: no rings, no executors, no sockets.
//!
//! It prints the median and the best of several rounds, and judges neither:
//! `cargo run --release -p faasflow-tests --example core_rate`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its figures are what it is for")]

use engine::core::{
    Action, ClientId, Core, CoreConfig, ExecutorId, Incoming, Input, Output, Piece, Start, Wanted,
};
use engine::plan::{
    DeploymentId, Limits, NodeId, NodePlan, RegionPlan, Replica, Source, WorkflowInput,
    WorkflowOutput,
};
use engine::trace::ClockId;
use faasflow_tests::plans::{DeploymentName, Placement, input_name, plans};
use faasflow_tests::workflow::{Workflow, function_node, needed, returned};
use faasstore::binding::Kind;
use faasstore::descriptor::PayloadRef;
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

const DEPLOYMENT: DeploymentId = DeploymentId(1);
const CHAIN_NODES: usize = 10;
const BRANCHES: usize = 8;
const INVOCATIONS: u64 = 300_000;
const ITEMS: usize = 100_000;
const FOREACH_INVOCATIONS: u64 = 30;
const PAYLOAD_BYTES: u64 = 64;
const ROUNDS: usize = 5;

/// A core and executors that return at once, in the order in which they were started.
struct Played {
    core: Core,
    actions: Vec<Action>,
    started: VecDeque<Start>,
    output: [Output; 1],
    answers: u64,
    released: u64,
}

impl Played {
    fn new(workflow: &Workflow, executors: u32) -> Self {
        let workers = vec![0; workflow.nodes.len()];
        let placement = Placement::whole(workflow, vec![1], workers);
        let name = DeploymentName {
            id: DEPLOYMENT,
            replica: Replica::only(DEPLOYMENT),
            workflow: "flow".into(),
            version: 1,
        };
        let mut core = Core::new(CoreConfig {
            worker_hash: 1,
            epoch: 0,
            lane: 0,
            in_flight_max: 100_000,
            grace_ns: 1_000_000,
            lease_ns_max: None,
            patience_ns: 1_000_000,
            keep_alive_ns: u64::MAX / 2,
            clock: ClockId::UNKNOWN,
            store: engine::core::store::StoreRules::default(),
        });
        let plan = plans(workflow, &placement, &name, Limits::default()).swap_remove(0);
        core.deploy(plan, Vec::new());
        core.activate(0, DEPLOYMENT);
        for place in 0..executors {
            core.executor_joined(0, ExecutorId(place), DEPLOYMENT, 0);
        }
        Self {
            core,
            actions: Vec::new(),
            started: VecDeque::new(),
            output: [Output::One(Piece::Own(range(0)))],
            answers: 0,
            released: 0,
        }
    }

    fn invoke(&mut self, request: u64, input: Incoming) {
        let inputs = vec![(input_name(0), input)];
        self.core
            .invoke(0, ClientId(0), request, "flow", inputs, Wanted::NOTHING);
        self.act();
    }

    fn act(&mut self) {
        loop {
            let mut actions = std::mem::take(&mut self.actions);
            self.core.take_actions(&mut actions);
            if actions.is_empty() {
                self.core.tidy(0, &mut actions);
            }
            if actions.is_empty() {
                self.actions = actions;
                return;
            }
            for action in actions.drain(..) {
                match action {
                    Action::Start(start) => {
                        self.core.inputs(&start, |input| {
                            black_box(matches!(input, Input::One(_)));
                        });
                        self.started.push_back(start);
                    }
                    Action::Release(range) => self.released += range.length,
                    Action::Answer(answered) => {
                        self.answers += 1;
                        for (_, outgoing) in answered.result.expect("nothing fails here") {
                            self.core.let_go_all(outgoing.payloads());
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            self.actions = actions;
        }
    }

    /// The executor that was started first returns.
    fn step(&mut self) -> bool {
        let Some(start) = self.started.pop_front() else {
            return false;
        };
        self.output[0] = Output::One(Piece::Own(range(start.activation)));
        self.core
            .completed(0, start.executor, start.activation, &self.output)
            .expect("it was started");
        self.act();
        true
    }
}

fn range(segment: u32) -> PayloadRef {
    PayloadRef {
        segment: segment & 0xffff,
        generation: 0,
        offset: 0,
        length: PAYLOAD_BYTES,
    }
}

fn node(region: Option<u16>, input: Source) -> NodePlan {
    NodePlan {
        region,
        inputs: needed(&[(Kind::Bytes, input)]),
        outputs: returned(&[Kind::Bytes]),
        ..function_node()
    }
}

fn output_of(node: NodeId) -> Source {
    Source::Output { node, output: 0 }
}

fn workflow(input: Kind, nodes: Vec<NodePlan>) -> Workflow {
    let last = nodes.len() as NodeId - 1;
    let kind = match nodes[last as usize].region {
        Some(_) => Kind::List,
        None => Kind::Bytes,
    };
    Workflow {
        inputs: vec![WorkflowInput::new(input_name(0), input)],
        outputs: vec![WorkflowOutput::new("o0", kind, output_of(last), 0)],
        nodes,
        ..Workflow::empty()
    }
}

/// Nodes in a row.
fn chain() -> Workflow {
    let source = |node: usize| match node {
        0 => Source::Input(0),
        _ => output_of(node as NodeId - 1),
    };
    let nodes = (0..CHAIN_NODES).map(|number| node(None, source(number)));
    workflow(Kind::Bytes, nodes.collect())
}

/// A node, several that read its output, and one that reads theirs.
fn bush() -> Workflow {
    let mut nodes = vec![node(None, Source::Input(0))];
    nodes.extend((0..BRANCHES).map(|_| node(None, output_of(0))));
    let mut join = node(None, Source::Input(0));
    let branches: Vec<(Kind, Source)> = (1..=BRANCHES as NodeId)
        .map(|branch| (Kind::Bytes, output_of(branch)))
        .collect();
    join.inputs = needed(&branches);
    nodes.push(join);
    workflow(Kind::Bytes, nodes)
}

fn narrow(name: &str, workflow: &Workflow, in_flight: u64, executors: u32) {
    let mut played = Played::new(workflow, executors);
    let name = format!("{name}, {in_flight} in flight, {executors} executors");
    measure(&name, || {
        let (before, answers) = (played.core.counters().activations, played.answers);
        let mut asked = 0;
        while played.answers - answers < INVOCATIONS {
            while asked < INVOCATIONS && asked - (played.answers - answers) < in_flight {
                asked += 1;
                played.invoke(asked, Incoming::One(range(7)));
            }
            played.step();
        }
        played.core.counters().activations - before
    });
    assert_eq!(played.core.leases().count(), 0);
}

fn wide_foreach() {
    let nodes = vec![node(Some(0), Source::Item { up: 0 })];
    let mut foreach = workflow(Kind::List, nodes);
    foreach.regions = vec![RegionPlan {
        parent: None,
        list: Source::Input(0),
        batch: None,
        parallelism: None,
        part: None,
    }];
    let mut played = Played::new(&foreach, 2);
    let items: Vec<(u64, u64)> = (0..ITEMS as u64)
        .map(|item| (item * PAYLOAD_BYTES, PAYLOAD_BYTES))
        .collect();
    let whole = PayloadRef {
        length: ITEMS as u64 * PAYLOAD_BYTES,
        ..range(9)
    };
    measure(&format!("foreach of {ITEMS}, 2 executors"), || {
        let before = played.core.counters().activations;
        for request in 0..FOREACH_INVOCATIONS {
            let input = Incoming::List {
                range: whole,
                items: items.clone(),
                section: None,
            };
            played.invoke(request, input);
            while played.step() {}
        }
        played.core.counters().activations - before
    });
    assert_eq!(played.core.leases().count(), 0);
}

fn measure(name: &str, mut activations: impl FnMut() -> u64) {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            activations() as f64 / begun.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let (median, best) = (rates[ROUNDS / 2], rates[ROUNDS - 1]);
    println!("{name}: median {median:.0}, best {best:.0} activations/s");
}

fn main() {
    let (chain, bush) = (chain(), bush());
    let of = format!("chain of {CHAIN_NODES}");
    narrow(&of, &chain, 1, 1);
    narrow(&of, &chain, 64, 2);
    narrow(&format!("1 to {BRANCHES} to 1"), &bush, 64, 4);
    wide_foreach();
}
