//! The estimator on invocations that can be followed by hand. Times are milliseconds; a way through the engine is taken off.

use super::*;
use crate::graph::{Dependency, GraphNode};

/// A link of 1000 bytes a millisecond, and one millisecond.
const LINK: Link = Link {
    bytes_per_s: 1e6,
    latency_ns: 1e6,
};

/// A node of an executable of its own, with this many milliseconds and bytes.
fn node(name: &str, runtime_ms: f64, output_bytes: u64) -> GraphNode {
    GraphNode {
        name: name.to_owned(),
        executable: Some(name.to_owned()),
        runtime_ms: runtime_ms - DISPATCH_NS / 1e6,
        output_bytes,
        scale: 1,
        slots: 1,
        memory_mib: 1,
        ..GraphNode::default()
    }
}

fn edges(of: &[(NodeId, NodeId)]) -> Vec<(NodeId, NodeId, Dependency)> {
    let read = Dependency::on([0]);
    of.iter()
        .map(|(from, to)| (*from, *to, read.clone()))
        .collect()
}

fn worker(name: &str, cpus: u32) -> WorkerCapacity {
    WorkerCapacity {
        executors: 1000,
        ..WorkerCapacity::new(name, cpus, 1 << 40)
    }
}

fn estimated(graph: &Graph, workers: &[WorkerCapacity], placed: &[usize]) -> Estimate {
    estimated_within(graph, workers, placed, u64::MAX)
}

fn estimated_within(
    graph: &Graph,
    workers: &[WorkerCapacity],
    placed: &[usize],
    quota_bytes: u64,
) -> Estimate {
    let options = Options {
        network: Network::uniform(LINK),
        quota_bytes: Some(quota_bytes),
        ..Options::default()
    };
    let placement = Placement {
        workers: placed.to_vec(),
    };
    estimate(graph, workers, &options, &placement)
}

fn makespan_ms(graph: &Graph, workers: &[WorkerCapacity], placed: &[usize]) -> f64 {
    rounded(estimated(graph, workers, placed).makespan_ns)
}

/// Milliseconds, to the microsecond.
fn rounded(ns: f64) -> f64 {
    (ns / 1e3).round() / 1e3
}

#[test]
fn what_crosses_takes_the_links_time_and_what_stays_takes_none() {
    let nodes = vec![node("a", 10.0, 200_000), node("b", 5.0, 0)];
    let graph = Graph::new(nodes, edges(&[(0, 1)]), []);
    let workers = [worker("x", 1), worker("y", 1)];
    assert_eq!(makespan_ms(&graph, &workers, &[0, 0]), 15.0);
    // 200 ms for the bytes, one for the way.
    let crossing = estimated(&graph, &workers, &[0, 1]);
    assert_eq!(rounded(crossing.makespan_ns), 216.0);
    assert_eq!(crossing.crossing_bytes, 200_000.0);
    let path: Vec<Wait> = crossing.critical.iter().map(|leg| leg.waited_for).collect();
    assert_eq!(path, [Wait::Nothing, Wait::Transfer(0)]);
    assert_eq!(rounded(crossing.critical[1].waited_ns), 201.0);
}

#[test]
fn a_payload_goes_once_to_each_worker_that_reads_it() {
    let mut a = node("a", 1.0, 300_000);
    a.by_output = vec![100_000, 200_000];
    let nodes = vec![a, node("b", 1.0, 0), node("c", 1.0, 0), node("d", 1.0, 0)];
    let read = |outputs: &[u16]| Dependency::on(outputs.iter().copied());
    let all = [(0, 1, read(&[0])), (0, 2, read(&[0])), (0, 3, read(&[]))];
    let graph = Graph::new(nodes.clone(), all, []);
    let workers = [worker("x", 4), worker("y", 4), worker("z", 4)];
    // b and c share the one output that they read; d only waits.
    let together = estimated(&graph, &workers, &[0, 1, 1, 2]);
    assert_eq!(together.crossing_bytes, 100_000.0);
    assert_eq!(rounded(together.makespan_ns), 1.0 + 101.0 + 1.0);
    let each = [
        (0, 1, read(&[0])),
        (0, 2, read(&[1])),
        (0, 3, read(&[0, 1])),
    ];
    let graph = Graph::new(nodes, each, []);
    assert_eq!(
        estimated(&graph, &workers, &[0, 1, 1, 1]).crossing_bytes,
        300_000.0
    );
    assert_eq!(
        estimated(&graph, &workers, &[0, 1, 2, 0]).crossing_bytes,
        300_000.0
    );
}

#[test]
fn payloads_on_one_link_share_it_and_small_ones_pass_by() {
    let nodes = vec![
        node("a", 10.0, 100_000),
        node("b", 10.0, 200_000),
        node("c", 10.0, 1_000),
        node("d", 1.0, 0),
        node("e", 1.0, 0),
        node("f", 1.0, 0),
    ];
    let graph = Graph::new(nodes, edges(&[(0, 3), (1, 4), (2, 5)]), []);
    let workers = [worker("x", 3), worker("y", 3)];
    let options = Options {
        network: Network::uniform(LINK),
        ..Options::default()
    };
    let model = Model::of(&graph, &workers, &options.network, u64::MAX);
    let placed = [0, 0, 0, 1, 1, 1];
    let mut simulator = estimate::Simulator::new(&model);
    let spans = simulator.spans_in(&placed, 0);
    let ready = |unit: usize| rounded(spans[unit].ready_ns);
    // Both at half the speed until the smaller one is there: at 10 + 200; 100,000 bytes of the other are left then.
    assert_eq!(ready(3), 10.0 + 200.0 + 1.0);
    assert_eq!(ready(4), 10.0 + 200.0 + 100.0 + 1.0);
    assert_eq!(ready(5), 10.0 + 1.0 + 1.0);
}

#[test]
fn cpus_are_shared_by_what_keeps_them_busy() {
    let three = |busy: f64| {
        let node = |name| GraphNode {
            busy,
            ..node(name, 10.0, 0)
        };
        Graph::new(vec![node("a"), node("b"), node("c")], [], [])
    };
    let workers = [worker("x", 2)];
    // Three on two CPUs: each gets two thirds of one.
    assert_eq!(makespan_ms(&three(1.0), &workers, &[0; 3]), 15.0);
    assert_eq!(makespan_ms(&three(0.0), &workers, &[0; 3]), 10.0);
    // One and a half CPUs are wanted, and there.
    assert_eq!(makespan_ms(&three(0.5), &workers, &[0; 3]), 10.0);
    // One CPU takes fifteen milliseconds for fifteen of CPU time.
    assert_eq!(makespan_ms(&three(0.5), &[worker("x", 1)], &[0; 3]), 15.0);
    // One that ends earlier leaves its part to the other.
    let two = vec![node("a", 10.0, 0), node("b", 30.0, 0)];
    let graph = Graph::new(two, [], []);
    assert_eq!(makespan_ms(&graph, &[worker("x", 1)], &[0; 2]), 40.0);
    let wide = GraphNode {
        cpus: 2,
        ..node("a", 10.0, 0)
    };
    let graph = Graph::new(vec![wide], [], []);
    assert_eq!(makespan_ms(&graph, &[worker("x", 1)], &[0]), 20.0);
    assert_eq!(makespan_ms(&graph, &[worker("x", 2)], &[0]), 10.0);
}

#[test]
fn no_more_cpus_are_used_than_there_are() {
    let half = |name: &str, runtime_ms: f64| GraphNode {
        busy: 0.5,
        ..node(name, runtime_ms, 0)
    };
    let names = ["a", "b", "c", "d", "e", "f"];
    let ms = |nodes: Vec<GraphNode>| {
        let placed = vec![0; nodes.len()];
        let graph = Graph::new(nodes, [], []);
        let workers = [worker("x", 1)];
        let ms = makespan_ms(&graph, &workers, &placed);
        let bound_ms = rounded(lower_bound_ns(&graph, &workers));
        assert!(bound_ms <= ms, "{bound_ms} bounds {ms}");
        ms
    };
    let halves = |count: usize| {
        names[..count]
            .iter()
            .map(|name| half(name, 100.0))
            .collect()
    };
    assert_eq!(ms(halves(2)), 100.0);
    // 150 and 200 milliseconds of one CPU.
    assert_eq!(ms(halves(3)), 150.0);
    assert_eq!(ms(halves(4)), 200.0);
    // One that never waits has the CPU for two thirds of the time beside two that wait for half of theirs: 1.5 times as long.
    let mut mixed: Vec<GraphNode> = halves(2);
    mixed.push(node("g", 100.0, 0));
    let ms = ms(mixed);
    assert!((200.0..=201.0).contains(&ms), "{ms}");
}

#[test]
fn a_fast_worker_takes_less() {
    let graph = Graph::new(vec![node("a", 10.0, 0)], [], []);
    let fast = WorkerCapacity {
        speed: 2.0,
        ..worker("x", 1)
    };
    let estimate = estimated(&graph, &[fast], &[0]);
    assert_eq!(rounded(estimate.makespan_ns), 5.0);
    assert_eq!(rounded(estimate.workers[0].busy_ns), 5.0);
    assert_eq!(estimate.workers[0].utilisation, 1.0);
}

#[test]
fn executors_are_taken_in_the_order_in_which_nodes_are_ready() {
    // One executor for a, b and c; a and b are ready at once, c as soon as the short d has ended.
    let shared = |name: &str, runtime_ms| GraphNode {
        executable: Some("e".to_owned()),
        ..node(name, runtime_ms, 0)
    };
    let nodes = vec![
        shared("a", 10.0),
        shared("b", 10.0),
        node("d", 1.0, 0),
        shared("c", 1.0),
    ];
    let graph = Graph::new(nodes, edges(&[(2, 3)]), []);
    let estimate = estimated(&graph, &[worker("x", 8)], &[0; 4]);
    assert_eq!(rounded(estimate.makespan_ns), 21.0);
    let path: Vec<(NodeId, Wait)> = estimate
        .critical
        .iter()
        .map(|leg| (leg.node, leg.waited_for))
        .collect();
    assert_eq!(
        path,
        [
            (0, Wait::Nothing),
            (1, Wait::Executor(0)),
            (3, Wait::Executor(1))
        ]
    );
    // Lanes part a pool among them.
    let wide = |lanes| WorkerCapacity {
        lanes,
        ..worker("x", 8)
    };
    let pair = |scale| {
        let node = |name| GraphNode {
            scale,
            ..shared(name, 10.0)
        };
        Graph::new(vec![node("a"), node("b"), node("c"), node("d")], [], [])
    };
    assert_eq!(makespan_ms(&pair(4), &[wide(1)], &[0; 4]), 10.0);
    assert_eq!(makespan_ms(&pair(4), &[wide(2)], &[0; 4]), 20.0);
}

#[test]
fn delays_hold_no_executor() {
    let late = GraphNode {
        delay_ms: 7.0,
        ..node("a", 10.0, 0)
    };
    let graph = Graph::new(vec![late], [], []);
    assert_eq!(makespan_ms(&graph, &[worker("x", 1)], &[0]), 17.0);
}

/// A workflow, by its text; what all nodes cost beside their run times is left in.
fn workflow(text: &str) -> Graph {
    Graph::of(&parse("w.yaml", text.as_bytes()).unwrap())
}

const FOREACH: &str = "
workflow: w
nodes:
  first:
    function: a:f
    foreach: { from: 0, to: 10 }
    output: { o: bytes }
    resources: { scale: 2 }
    profile: { runtime_ms: 10, items: ITEMS, busy: 0 }
  second: { function: b:f, foreach: first.o, input: { i: item }, profile: { runtime_ms: 5, busy: 0 } }
";

#[test]
fn items_run_as_their_executors_let_them() {
    let of = |items: u64| {
        let graph = workflow(&FOREACH.replace("ITEMS", &items.to_string()));
        let placed = vec![0; graph.node_count()];
        estimated(&graph, &[worker("x", 8)], &placed).makespan_ns / 1e6
    };
    let near = |is: f64, wanted: f64| assert!((is - wanted).abs() < wanted * 0.02, "{is} {wanted}");
    // Two at once take 10 ms, and both are then taken on one after the other: the second of a pair ends 20 ms after its start,
    // and so it stays.
    near(of(1), 15.0);
    near(of(2), 20.0);
    near(of(10), 60.0);
    // More items than are looked at one by one.
    near(of(1000), 5010.0);
    assert_eq!(of(0), 0.0);
}

#[test]
fn a_limit_of_items_at_once_is_kept() {
    let text = FOREACH
        .replace("ITEMS", "8")
        .replace("to: 10", "to: 10, parallelism: 1");
    let graph = workflow(&text);
    let placed = vec![0; graph.node_count()];
    let makespan_ms = estimated(&graph, &[worker("x", 8)], &placed).makespan_ns / 1e6;
    assert!((makespan_ms - 8.0 * 15.0).abs() < 1.0, "{makespan_ms}");
}

#[test]
fn of_a_switch_each_way_counts_by_its_chance() {
    let graph = workflow(
        "workflow: w\ninput: { v: value }\nnodes:\n  \
         s: { switch: [ { when: v > 1, then: a } ], default: b, input: { v: input.v } }\n  \
         a: { function: a:f, profile: { runtime_ms: 100, runs: 0.25 } }\n  \
         b: { function: b:f, profile: { runtime_ms: 20 } }\n",
    );
    let estimate = estimated(&graph, &[worker("x", 4)], &[0; 3]);
    assert_eq!(
        rounded(estimate.makespan_ns),
        0.25 * 100.0 + 0.75 * 20.0 + 0.01
    );
    // The path is that of the likelier way.
    let names = estimate
        .critical
        .iter()
        .map(|leg| graph.node(leg.node).name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["s", "b"]);
}

#[test]
fn what_the_quota_does_not_hold_goes_through_a_store() {
    let nodes = vec![
        node("a", 1.0, 100_000),
        node("b", 1.0, 200_000),
        node("c", 1.0, 0),
    ];
    let graph = Graph::new(nodes, edges(&[(0, 1), (1, 2)]), []);
    let workers = [worker("x", 1)];
    let within = |quota_bytes| {
        let estimate = estimated_within(&graph, &workers, &[0; 3], quota_bytes);
        (
            rounded(estimate.makespan_ns),
            estimate.held_bytes,
            estimate.unheld_bytes,
        )
    };
    assert_eq!(within(300_000), (3.0, 300_000.0, 0.0));
    // The first is held, and nothing is left for the second.
    assert_eq!(within(299_999), (204.0, 100_000.0, 200_000.0));
    assert_eq!(within(100_000), (204.0, 100_000.0, 200_000.0));
    assert_eq!(within(99_999), (305.0, 0.0, 300_000.0));
}

#[test]
fn links_may_differ_by_pair_and_by_direction() {
    let graph = Graph::new(
        vec![node("a", 1.0, 100_000), node("b", 1.0, 0)],
        edges(&[(0, 1)]),
        [],
    );
    let workers = [worker("x", 1), worker("y", 1)];
    let mut network = Network::uniform(LINK);
    let slow = Link {
        bytes_per_s: 0.5e6,
        latency_ns: 2e6,
    };
    network.set(1, 0, slow);
    let options = Options {
        network,
        ..Options::default()
    };
    let of = |placed: &[usize]| {
        let placement = Placement {
            workers: placed.to_vec(),
        };
        rounded(estimate(&graph, &workers, &options, &placement).makespan_ns)
    };
    assert_eq!(of(&[0, 1]), 103.0);
    assert_eq!(of(&[1, 0]), 204.0);
}

#[test]
fn the_lower_bound_is_the_longest_path_or_all_work_over_all_cpus() {
    let nodes = || {
        vec![
            node("a", 10.0, 9_000_000),
            node("b", 30.0, 0),
            node("c", 20.0, 0),
        ]
    };
    let graph = Graph::new(nodes(), edges(&[(0, 1)]), []);
    let bound = |workers: &[WorkerCapacity]| rounded(lower_bound_ns(&graph, workers));
    assert_eq!(bound(&[worker("x", 1), worker("y", 1)]), 40.0);
    assert_eq!(bound(&[worker("x", 1)]), 60.0);
    let fast = WorkerCapacity {
        speed: 2.0,
        ..worker("x", 2)
    };
    assert_eq!(bound(&[fast]), 20.0);
}
