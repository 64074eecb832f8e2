//! How many activations the trigger core alone can handle in a second: no rings, no executors, no sockets.
//!
//! It prints figures and judges none, so it runs only when asked for:
//! `cargo test --release -p faasflow-tests --test core_rate -- --ignored --nocapture --test-threads 1`.

use engine::core::{
    Action, ClientId, Core, CoreConfig, ExecutorId, Incoming, Input, Output, Piece, Start,
};
use engine::plan::{DeploymentId, Limits, NodeId, Retry, Source};
use faasflow_tests::plans::{DeploymentName, Placement, input_name, plans};
use faasflow_tests::workflow::{Node, Workflow};
use faasstore::binding::Kind;
use faasstore::descriptor::PayloadRef;
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

const DEPLOYMENT: DeploymentId = DeploymentId(1);
const CHAIN_NODES: usize = 10;
const CHAIN_INVOCATIONS: u64 = 300_000;
const ITEMS: usize = 100_000;
const FOREACH_INVOCATIONS: u64 = 30;
const PAYLOAD_BYTES: u64 = 64;
const ROUNDS: u32 = 5;

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
        let placement = Placement {
            lanes: vec![1],
            workers: vec![0; workflow.nodes.len()],
        };
        let name = DeploymentName {
            id: DEPLOYMENT,
            workflow: "flow".into(),
            version: 1,
        };
        let mut core = Core::new(CoreConfig {
            worker_hash: 1,
            epoch: 0,
            lane: 0,
            in_flight_max: 100_000,
            grace_ns: 1_000_000,
            keep_alive_ns: u64::MAX / 2,
        });
        core.deploy(plans(workflow, &placement, &name, Limits::default()).swap_remove(0));
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
            .invoke(0, ClientId(0), request, "flow", inputs, false);
        self.act();
    }

    fn act(&mut self) {
        loop {
            let mut actions = std::mem::take(&mut self.actions);
            self.core.take_actions(&mut actions);
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

fn node(foreach: Option<Source>, input: Source) -> Node {
    Node {
        foreach,
        inputs: vec![input],
        outputs: vec![Kind::Bytes],
        after: Vec::new(),
        retry: Retry::default(),
        timeout_ms: None,
        executable: 0,
    }
}

fn workflow(input: Kind, nodes: Vec<Node>, scale: u16) -> Workflow {
    let last = nodes.len() as NodeId - 1;
    let outputs = vec![Source::Output {
        node: last,
        output: 0,
    }];
    Workflow {
        salt: 0,
        inputs: vec![input],
        nodes,
        outputs,
        scales: vec![scale],
    }
}

fn chain(in_flight: u64, executors: u32) {
    let source = |node: usize| match node {
        0 => Source::Input(0),
        _ => Source::Output {
            node: node as NodeId - 1,
            output: 0,
        },
    };
    let nodes = (0..CHAIN_NODES)
        .map(|number| node(None, source(number)))
        .collect();
    let mut played = Played::new(&workflow(Kind::Bytes, nodes, executors as u16), executors);
    for _ in 0..ROUNDS {
        let before = (played.core.counters().activations, played.answers);
        let begun = Instant::now();
        let mut asked = 0;
        while played.answers - before.1 < CHAIN_INVOCATIONS {
            while asked < CHAIN_INVOCATIONS && asked - (played.answers - before.1) < in_flight {
                asked += 1;
                played.invoke(asked, Incoming::One(range(7)));
            }
            played.step();
        }
        let elapsed = begun.elapsed();
        let activations = played.core.counters().activations - before.0;
        assert_eq!(activations, CHAIN_INVOCATIONS * CHAIN_NODES as u64);
        let rate = activations as f64 / elapsed.as_secs_f64();
        println!(
            "chain of {CHAIN_NODES}, {in_flight} in flight, {executors} executors: {rate:.0} activations/s"
        );
    }
    assert_eq!(played.core.leases().count(), 0);
}

#[test]
#[ignore = "prints figures, for a release build on a quiet machine"]
fn rate_of_a_chain() {
    chain(1, 1);
    chain(64, 2);
}

#[test]
#[ignore = "prints figures, for a release build on a quiet machine"]
fn rate_of_a_wide_foreach() {
    let nodes = vec![node(Some(Source::Input(0)), Source::Item)];
    let mut played = Played::new(&workflow(Kind::List, nodes, 2), 2);
    let items: Vec<(u64, u64)> = (0..ITEMS as u64)
        .map(|item| (item * PAYLOAD_BYTES, PAYLOAD_BYTES))
        .collect();
    for _ in 0..ROUNDS {
        let before = played.core.counters().activations;
        let begun = Instant::now();
        for request in 0..FOREACH_INVOCATIONS {
            let whole = PayloadRef {
                length: ITEMS as u64 * PAYLOAD_BYTES,
                ..range(9)
            };
            played.invoke(
                request,
                Incoming::List {
                    range: whole,
                    items: items.clone(),
                },
            );
            while played.step() {}
        }
        let elapsed = begun.elapsed();
        let activations = played.core.counters().activations - before;
        assert_eq!(activations, FOREACH_INVOCATIONS * ITEMS as u64);
        println!(
            "foreach of {ITEMS}: {:.0} activations/s",
            activations as f64 / elapsed.as_secs_f64()
        );
    }
    assert_eq!(played.core.leases().count(), 0);
}
