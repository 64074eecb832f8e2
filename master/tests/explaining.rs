//! What is said of placements is what they come to, and why they are as they are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use engine::plan::NodeId;
use master::definition::parse;
use master::graph::{Dependency, Graph, GraphNode};
use master::place::{
    Crossing, Link, Network, Obstacle, Options, Partitioner, Placement, Refusal, Resource, Wait,
    WorkerCapacity, estimate, explain, lower_bound_ns, merges, place,
};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn graph_of(text: &str) -> Graph {
    Graph::of(&parse("w.yaml", text.as_bytes()).unwrap())
}

fn workers(names: &[&str], cpus: u32) -> Vec<WorkerCapacity> {
    let one = |name: &&str| WorkerCapacity::new(*name, cpus, 1 << 40);
    names.iter().map(one).collect()
}

/// A MiB takes 10 ms, and what is sent 1 ms at least.
fn slow() -> Network {
    Network::uniform(Link {
        bytes_per_s: 100.0 * MIB as f64,
        latency_ns: 1e6,
    })
}

fn pinned(pins: &[(&str, &str)]) -> Options {
    let owned = |(node, worker): &(&str, &str)| ((*node).to_owned(), (*worker).to_owned());
    Options {
        fixed: pins.iter().map(owned).collect(),
        network: slow(),
        ..Options::default()
    }
}

const CHAIN: &str = "workflow: chain
nodes:
  a: { function: e:f, output: { x: bytes, y: bytes }, profile: { runtime_ms: 2, output_bytes: { x: 1048576, y: 2097152 } } }
  b: { function: e:f, input: { x: a.x }, output: { z: bytes }, profile: { runtime_ms: 3, output_bytes: 524288 } }
  c: { function: e:f, input: { x: a.x, y: a.y, z: b.z }, delay_ms: 4, profile: { runtime_ms: 5 } }
";

#[test]
fn a_payload_crosses_once_to_each_worker_and_the_path_says_what_it_waits_for() {
    let graph = graph_of(CHAIN);
    let workers = workers(&["l", "r"], 4);
    let options = pinned(&[("a", "l"), ("b", "r"), ("c", "r")]);
    let placement = place(&graph, &workers, &options).unwrap();
    let estimate = estimate(&graph, &workers, &options, &placement);
    // Of a both outputs, x once though two read it; b's output stays.
    let [transfer] = &estimate.transfers[..] else {
        panic!("{:?}", estimate.transfers);
    };
    assert_eq!(
        (transfer.from, transfer.to, transfer.bytes),
        (0, 1, 3 * MIB)
    );
    assert_eq!((&transfer.readers[..], transfer.chance), (&[1, 2][..], 1.0));
    assert_eq!(estimate.crossing_bytes, (3 * MIB) as f64);
    assert_eq!(estimate.held_bytes, 524_288.0);
    let waits: Vec<Wait> = estimate.critical.iter().map(|leg| leg.waited_for).collect();
    assert_eq!(waits, [Wait::Nothing, Wait::Transfer(0), Wait::Node(1)]);
    let close = |a: f64, b: f64| (a - b).abs() < 0.2e6;
    let waited: Vec<f64> = estimate.critical.iter().map(|leg| leg.waited_ns).collect();
    assert!(
        close(waited[1], 31e6) && close(waited[2], 4e6),
        "{waited:?}"
    );
    assert_eq!((estimate.ways, estimate.critical_chance), (1, 1.0));
    let last = estimate.critical.last().unwrap();
    assert_eq!(last.began_ns + last.ran_ns, estimate.makespan_ns);
    assert_eq!(estimate.workers[1].nodes, 2);
    assert!(lower_bound_ns(&graph, &workers) <= estimate.makespan_ns);
}

/// What stands against moving the ends of the only crossing edge.
fn obstacles(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    placement: &Placement,
) -> Crossing {
    let found = explain(graph, workers, options, placement, 10).unwrap();
    assert_eq!((found.explained.len(), found.further), (1, 0), "{found:?}");
    found.explained[0].clone()
}

#[test]
fn what_stands_against_joining_the_ends_of_an_edge_is_told() {
    let graph = graph_of(
        "workflow: w
nodes:
  a: { function: e:f, output: { x: bytes }, resources: { scale: 3, memory_mib: 1 }, profile: { output_bytes: 1048576 } }
  b: { function: g:f, input: { x: a.x }, resources: { scale: 2, memory_mib: 1 } }
",
    );
    let two = workers(&["l", "r"], 2);
    // Pinned, both.
    let options = pinned(&[("a", "l"), ("b", "r")]);
    let placement = place(&graph, &two, &options).unwrap();
    let told = obstacles(&graph, &two, &options, &placement);
    assert_eq!((told.from, told.to, told.bytes), (0, 1, MIB as f64));
    assert_eq!(told.obstacles, [Obstacle::Pinned, Obstacle::Pinned]);
    // Five executors are wanted where four are taken.
    let free = pinned(&[]);
    let told = obstacles(&graph, &two, &free, &placement);
    for (obstacle, worker) in told.obstacles.iter().zip(["r", "l"]) {
        let Obstacle::Full(overload) = obstacle else {
            panic!("{told:?}");
        };
        let (resource, wanted) = (overload.resource, overload.wanted);
        assert_eq!(
            (resource, wanted, overload.limit),
            (Resource::Executors, 5, 4)
        );
        assert_eq!(overload.worker, worker);
    }
    // With room nothing stands against it, and it would be shorter by the transfer.
    let roomy = workers(&["l", "r"], 8);
    let told = obstacles(&graph, &roomy, &free, &placement);
    for obstacle in &told.obstacles {
        assert!(
            matches!(obstacle, Obstacle::Shorter(ns) if (10e6..12e6).contains(ns)),
            "{told:?}"
        );
    }
    // To a worker at a tenth of the speed nothing should go.
    let mut slow = roomy.clone();
    slow[1].speed = 0.05;
    let told = obstacles(&graph, &slow, &free, &placement);
    assert!(matches!(told.obstacles[0], Obstacle::Longer(_)), "{told:?}");
    assert!(
        matches!(told.obstacles[1], Obstacle::Shorter(_)),
        "{told:?}"
    );
}

#[test]
fn nodes_that_are_to_be_apart_are_named() {
    let graph = graph_of(
        "workflow: w
nodes:
  a: { function: e:f, output: { x: bytes }, apart: b }
  b: { function: e:f, input: { x: a.x } }
",
    );
    let two = workers(&["l", "r"], 8);
    let options = pinned(&[]);
    let placement = place(&graph, &two, &options).unwrap();
    let told = obstacles(&graph, &two, &options, &placement);
    assert_eq!(told.obstacles, [Obstacle::Apart(1), Obstacle::Apart(0)]);
}

#[test]
fn of_a_switch_the_likeliest_way_is_shown_with_how_likely_it_is() {
    let graph = graph_of(
        "workflow: w
input: { n: value }
nodes:
  s: { switch: [ { when: input.n > 1, then: a } ], default: [b] }
  a: { function: e:f, output: { x: bytes }, profile: { runtime_ms: 100, runs: 0.2, output_bytes: 1000 } }
  b: { function: e:f, output: { x: bytes }, profile: { runtime_ms: 10, output_bytes: 3000 } }
  c: { function: e:f, input: { x: first_of(a.x, b.x) } }
",
    );
    let two = workers(&["l", "r"], 8);
    let options = pinned(&[("a", "l"), ("b", "l"), ("c", "r")]);
    let placement = place(&graph, &two, &options).unwrap();
    let estimate = estimate(&graph, &two, &options, &placement);
    assert_eq!(estimate.ways, 2);
    assert!((estimate.critical_chance - 0.8).abs() < 1e-9);
    let name = |id: NodeId| graph.node(id).name.as_str();
    let path: Vec<&str> = estimate.critical.iter().map(|leg| name(leg.node)).collect();
    assert_eq!(path, ["s", "b", "c"]);
    // 0.2 of 1000 bytes and 0.8 of 3000, the most first.
    let from: Vec<&str> = estimate.transfers.iter().map(|of| name(of.from)).collect();
    assert_eq!(from, ["b", "a"]);
    let expected = estimate.transfers.iter();
    let expected = expected.map(|of| of.bytes as f64 * of.chance);
    assert!(
        (expected.sum::<f64>() - 2600.0).abs() < 1e-6,
        "{estimate:?}"
    );
    assert!(
        (estimate.crossing_bytes - 2600.0).abs() < 1e-6,
        "{estimate:?}"
    );
}

#[test]
fn beyond_the_quota_payloads_are_told_by_their_producers() {
    let graph = graph_of(CHAIN);
    let one = workers(&["l"], 4);
    let options = Options {
        quota_bytes: Some(MIB),
        ..pinned(&[])
    };
    let placement = place(&graph, &one, &options).unwrap();
    let estimate = estimate(&graph, &one, &options, &placement);
    // a's three MiB do not fit, b's half of one does.
    assert_eq!(
        (estimate.quota_bytes, estimate.held_bytes),
        (MIB, 524_288.0)
    );
    let unheld: Vec<_> = estimate
        .unheld
        .iter()
        .map(|of| (of.node, of.bytes))
        .collect();
    assert_eq!(unheld, [(0, (3 * MIB) as f64)]);
}

/// Nodes as name, scale, milliseconds and bytes; edges by name.
fn published(nodes: &[(&str, u32, u32, u64)], edges: &[(&str, &str)]) -> Graph {
    let mut text = "workflow: w\nnodes:\n".to_owned();
    for (name, scale, runtime_ms, output_bytes) in nodes {
        let after = edges.iter().filter(|(_, to)| to == name);
        let after: Vec<&str> = after.map(|(from, _)| *from).collect();
        text += &format!(
            "  {name}: {{ function: {name}:f, after: [{}], resources: {{ scale: {scale}, memory_mib: 64 }}, \
             profile: {{ runtime_ms: {runtime_ms}, output_bytes: {output_bytes} }} }}\n",
            after.join(", ")
        );
    }
    graph_of(&text)
}

fn with_quota(quota_bytes: u64) -> Options {
    Options {
        partitioner: Partitioner::Published,
        quota_bytes: Some(quota_bytes),
        ..Options::default()
    }
}

#[test]
fn the_steps_of_the_published_partitioner_are_told_in_their_order_with_what_ended_them() {
    // The diamond a → b, c → d: a gives 10 MiB, b 1 MiB, and a worker takes three executors.
    let nodes = [
        ("a", 1, 100, 10 * MIB),
        ("b", 1, 100, MIB),
        ("c", 1, 100, 0),
        ("d", 1, 100, 0),
    ];
    let edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")];
    let graph = published(&nodes, &edges);
    let mut two = workers(&["x", "y"], 2);
    two.iter_mut().for_each(|worker| worker.executors = 3);
    let told = merges(&graph, &two, &with_quota(100 * MIB)).unwrap();
    let steps: Vec<_> = told
        .merges
        .iter()
        .map(|merge| (merge.from, merge.to, merge.nodes.clone()))
        .collect();
    // a b (1.6 s of a path of 2.06 s), then a c (1.6 s of 1.9 s); then a b d is the longest, of which b d comes first (0.16 s),
    // and does not fit.
    assert_eq!(steps, [(0, 1, vec![0, 1]), (0, 2, vec![0, 1, 2])]);
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(told.merges[0].path_s, 0.3 + 1.6 + 0.16), "{told:?}");
    assert!(close(told.merges[0].weight_s, 1.6), "{told:?}");
    assert!(close(told.merges[1].path_s, 0.3 + 1.6), "{told:?}");
    assert_eq!(told.merges[1].demand.executors, 3);
    let refused: Vec<_> = told
        .refused
        .iter()
        .map(|edge| (edge.from, edge.to, edge.why.code()))
        .collect();
    assert_eq!(refused, [(1, 3, "capacity"), (0, 1, "same_group")]);
    assert_eq!((told.groups, told.held_bytes), (2, 10 * MIB));
    // What is told is what the partitioner does.
    let placement = place(&graph, &two, &with_quota(100 * MIB)).unwrap();
    assert_eq!(placement.worker(0), told.merges[1].worker);
    assert_eq!(placement.worker(2), told.merges[1].worker);
    // Where the heaviest edge is refused the next one is merged, and told.
    let tight = merges(&graph, &two, &with_quota(10 * MIB - 1)).unwrap();
    let first = &tight.merges[0];
    assert_eq!(
        (first.from, first.to, &first.nodes[..]),
        (1, 3, &[1, 3][..])
    );
    assert!(close(first.weight_s, 0.16), "{tight:?}");
    let quota = merges(&graph, &two, &with_quota(MIB / 2)).unwrap();
    assert_eq!((quota.merges.len(), quota.groups), (0, 4));
    let refused: Vec<_> = quota
        .refused
        .iter()
        .map(|edge| (edge.from, edge.to, edge.why, edge.over_bytes, edge.nodes))
        .collect();
    let (heavy, light) = (10 * MIB - MIB / 2, MIB / 2);
    assert_eq!(
        refused,
        [
            (0, 1, Refusal::Quota, heavy, 2),
            (1, 3, Refusal::Quota, light, 2)
        ]
    );
}

#[test]
fn where_one_group_is_left_nothing_was_refused() {
    let graph = published(&[("p", 1, 1, MIB), ("q", 1, 1, 0)], &[("p", "q")]);
    let told = merges(&graph, &workers(&["a"], 4), &with_quota(MIB)).unwrap();
    assert_eq!(
        (told.groups, told.refused.len(), told.merges.len()),
        (1, 0, 1)
    );
}

/// Random graphs of units alone, with outputs told apart or not.
fn graphs() -> impl Strategy<Value = Graph> {
    let node = (1_u32..50, prop::collection::vec(0_u64..5_000_000, 0..4));
    let edge = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0_u16..4,
        any::<bool>(),
    );
    let nodes = prop::collection::vec(node, 2..24);
    (nodes, prop::collection::vec(edge, 0..60)).prop_map(|(nodes, edges)| {
        let count = nodes.len();
        let outputs: Vec<u16> = nodes.iter().map(|(_, bytes)| bytes.len() as u16).collect();
        let nodes = nodes
            .into_iter()
            .enumerate()
            .map(|(place, (ms, by_output))| GraphNode {
                name: format!("n{place}"),
                executable: Some(format!("e{}", place % 3)),
                runtime_ms: f64::from(ms),
                scale: 1,
                slots: 1,
                memory_mib: 1,
                output_bytes: by_output.iter().sum(),
                // Of every other node only the sum is known.
                by_output: if place % 2 == 0 {
                    by_output
                } else {
                    Vec::new()
                },
                ..GraphNode::default()
            });
        let edges = edges.into_iter().filter_map(|(a, b, output, reads)| {
            let (a, b) = (a.index(count), b.index(count));
            let (from, to) = (a.min(b), a.max(b));
            let reads = reads && output < outputs[from];
            let outputs = if reads { vec![output] } else { Vec::new() };
            (from != to).then_some(((from as NodeId, to as NodeId), outputs))
        });
        // One edge for each pair.
        let edges: std::collections::BTreeMap<_, _> = edges.collect();
        let edges = edges.into_iter();
        Graph::new(
            nodes.collect(),
            edges.map(|((from, to), outputs)| (from, to, Dependency::on(outputs))),
            [],
        )
    })
}

proptest! {
    #[test]
    fn transfers_come_to_what_crosses_and_the_legs_to_the_makespan(
        graph in graphs(),
        seed in 0_u64..1000,
        which in 0_usize..4,
    ) {
        let three = workers(&["a", "b", "c"], 2);
        let mut options = Options {
            partitioner: Partitioner::ALL[which].1,
            network: slow(),
            ..Options::default()
        };
        options.effort.steps = Some(20);
        options.effort.seed = seed;
        let placement = place(&graph, &three, &options).unwrap();
        let of = estimate(&graph, &three, &options, &placement);
        let sum: f64 = of.transfers.iter().map(|transfer| transfer.bytes as f64 * transfer.chance).sum();
        prop_assert!((sum - of.crossing_bytes).abs() <= 1e-6 * sum.max(1.0), "{sum} {}", of.crossing_bytes);
        prop_assert!(of.transfers.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes));
        prop_assert_eq!(of.workers.iter().map(|used| used.nodes).sum::<usize>(), graph.node_count());
        // Each leg begins when the one before has ended, and what it waited for besides is over.
        let close = |a: f64, b: f64| (a - b).abs() < 1.0;
        let mut ended_ns = 0.0;
        let mut before = None;
        for leg in &of.critical {
            match leg.waited_for {
                Wait::Nothing => prop_assert!(before.is_none() && leg.began_ns == 0.0),
                Wait::Executor(by) => {
                    prop_assert_eq!(Some(by), before);
                    prop_assert!(close(leg.began_ns, ended_ns), "{:?}", of.critical);
                    prop_assert_eq!(placement.worker(by), leg.worker);
                }
                Wait::Node(by) => {
                    prop_assert_eq!(Some(by), before);
                    prop_assert!(close(leg.began_ns, ended_ns + leg.waited_ns));
                    prop_assert_eq!(placement.worker(by), leg.worker);
                }
                Wait::Transfer(by) => {
                    prop_assert_eq!(Some(by), before);
                    prop_assert!(close(leg.began_ns, ended_ns + leg.waited_ns));
                }
            }
            ended_ns = leg.began_ns + leg.ran_ns;
            before = Some(leg.node);
        }
        prop_assert!(close(ended_ns, of.makespan_ns), "{ended_ns} {}", of.makespan_ns);
        // Whatever is said to be shorter or longer: where the default was told to try all, nothing is shorter.
        let crossings = explain(&graph, &three, &options, &placement, 3).unwrap();
        prop_assert!(crossings.explained.len() <= 3);
        for crossing in &crossings.explained {
            prop_assert!(placement.worker(crossing.from) != placement.worker(crossing.to));
        }
    }
}
