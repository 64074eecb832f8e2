//! The published partitioner on graphs small enough to follow by hand, and what must hold for all graphs.

use super::*;
use crate::definition::parse;
use crate::place::published::fnv1a;
use proptest::prelude::*;

mod estimates;
mod limits;
mod merges;
mod regions;
mod searches;

fn worker(name: &str, executors: u32) -> WorkerCapacity {
    WorkerCapacity {
        executors,
        memory_mib: 1 << 20,
        ..WorkerCapacity::new(name, executors.div_ceil(2), 0)
    }
}

/// The published partitioner with a quota of its own.
fn published(quota_bytes: Option<u64>) -> Options {
    Options {
        quota_bytes,
        partitioner: Partitioner::Published,
        ..Options::default()
    }
}

/// Nodes as name, scale, milliseconds and bytes; edges by name.
fn graph(nodes: &[(&str, u32, u32, u64)], edges: &[(&str, &str)]) -> Graph {
    let mut text = "workflow: w\nnodes:\n".to_owned();
    for (name, scale, runtime_ms, output_bytes) in nodes {
        let after: Vec<&str> = edges
            .iter()
            .filter(|(_, to)| to == name)
            .map(|(from, _)| *from)
            .collect();
        text += &format!(
            "  {name}: {{ function: {name}:f, after: [{}], resources: {{ scale: {scale}, memory_mib: 64 }}, \
             profile: {{ runtime_ms: {runtime_ms}, output_bytes: {output_bytes} }} }}\n",
            after.join(", ")
        );
    }
    Graph::of(&parse("w.yaml", text.as_bytes()).unwrap())
}

fn names(graph: &Graph, placement: &Placement, workers: &[WorkerCapacity]) -> Vec<String> {
    let nodes = graph.nodes().zip(placement.workers());
    nodes
        .map(|(node, worker)| format!("{}@{}", node.name, workers[*worker].name))
        .collect()
}

const MIB: u64 = 1 << 20;

#[test]
fn the_first_placement_is_by_a_fixed_hash() {
    // Published test vectors of 64-bit FNV-1a.
    assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn the_heaviest_edge_of_the_critical_path_is_merged_first() {
    // One MiB takes 0.16 s at 6.25 MiB/s. The path a b d: 0.1 + 1.6 + 0.1 + 0.16 + 0.1 s; a c d is shorter.
    //
    //     a ──10 MiB──▶ b ──1 MiB──▶ d
    //     └──10 MiB──▶ c ──0──────▶ ┘
    //
    // Workers take three executors each.
    // 1. Longest path a b d (2.06 s). Edge a b weighs most: merged, 2 executors.
    // 2. a b now weighs 1.6 / 15 = 0.107 s; the path a c d takes 0.1 + 1.6 + 0.1 + 0 + 0.1 = 1.9 s and is the longest.
    //    Edge a c: merged into {a, b, c}, 3 executors.
    // 3. Longest path a b d: 0.1 + 0.107 + 0.1 + 0.16 + 0.1. Edge b d (0.16 s) comes first, but four executors fit no
    //    worker; a b is merged already. Nothing can be merged: the end.
    let graph = graph(
        &[
            ("a", 1, 100, 10 * MIB),
            ("b", 1, 100, MIB),
            ("c", 1, 100, 0),
            ("d", 1, 100, 0),
        ],
        &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")],
    );
    let workers = [worker("x", 3), worker("y", 3)];
    let placement = place(&graph, &workers, &published(Some(100 * MIB))).unwrap();
    assert_eq!(placement.worker(0), placement.worker(1));
    assert_eq!(placement.worker(0), placement.worker(2));
    assert_ne!(
        placement.worker(0),
        placement.worker(3),
        "{:?}",
        names(&graph, &placement, &workers)
    );
}

#[test]
fn merged_groups_go_where_they_fit_best() {
    // Both together need three executors; of the three workers with room, `b` has the least to spare.
    let graph = graph(&[("p", 1, 1, MIB), ("q", 2, 1, 0)], &[("p", "q")]);
    let workers = [worker("a", 9), worker("b", 3), worker("c", 5)];
    let placement = place(&graph, &workers, &published(None)).unwrap();
    assert_eq!(names(&graph, &placement, &workers), ["p@b", "q@b"]);
}

#[test]
fn word_count_spans_two_workers_of_two_cpus() {
    let text = "
workflow: wordcount
input: { text: bytes }
nodes:
  split: { function: wordcount:split, input: { text: input.text }, output: { chunks: list } }
  count:
    function: wordcount:count
    foreach: split.chunks
    input: { chunk: item }
    output: { counts: bytes }
    profile: { runtime_ms: 120, output_bytes: 736992 }
    resources: { memory_mib: 128, scale: 4 }
  merge: { function: wordcount:merge, input: { counts: count.counts }, output: { totals: bytes } }
output: { totals: merge.totals }
";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let workers = [
        WorkerCapacity::new("a", 2, 1 << 30),
        WorkerCapacity::new("b", 2, 1 << 30),
    ];
    let placement = place(&graph, &workers, &published(None)).unwrap();
    assert_eq!(
        names(&graph, &placement, &workers),
        ["split@b", "count@a", "merge@b"]
    );
}

#[test]
fn what_is_fixed_stays_and_draws_its_group_along() {
    let graph = graph(
        &[("a", 1, 1, MIB), ("b", 1, 1, MIB), ("c", 1, 1, 0)],
        &[("a", "b"), ("b", "c")],
    );
    let workers = [worker("x", 9), worker("y", 9), worker("z", 9)];
    let fix = |pins: &[(&str, &str)]| {
        let fixed = pins
            .iter()
            .map(|(node, worker)| ((*node).to_owned(), (*worker).to_owned()))
            .collect();
        place(
            &graph,
            &workers,
            &Options {
                fixed,
                ..published(None)
            },
        )
    };
    let one = fix(&[("b", "y")]).unwrap();
    assert_eq!(names(&graph, &one, &workers), ["a@y", "b@y", "c@y"]);
    let two = fix(&[("a", "x"), ("c", "z")]).unwrap();
    assert_eq!((two.worker(0), two.worker(2)), (0, 2));
    let error = fix(&[("d", "x")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node d is to be pinned, but the workflow has no such node"
    );
    let error = fix(&[("a", "w")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node a is to be pinned to worker w, which is none of --workers"
    );
}

#[test]
fn a_refusal_names_the_limit_and_by_how_much() {
    let big = graph(&[("big", 7, 1, 0)], &[]);
    let error = place(&big, &[worker("a", 4), worker("b", 5)], &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node big fits no worker: 7 executors are wanted where worker b takes 5 (2 for each of its CPUs), 2 too many"
    );
    let two = graph(&[("p", 3, 1, 0), ("q", 3, 1, 0)], &[]);
    let error = place(&two, &[worker("a", 4)], &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the workflow does not fit these workers: 6 executors at least are wanted in all, and they take 4, 2 too many"
    );
    let small = WorkerCapacity {
        executors: 9,
        memory_mib: 100,
        ..WorkerCapacity::new("a", 5, 0)
    };
    let error = place(&two, &[small], &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node p fits no worker: 192 MiB are wanted where worker a has 100 MiB left, 92 MiB too many"
    );
    assert_eq!(
        place(&two, &[], &Options::default()).unwrap_err(),
        PlaceError::NoWorkers
    );
}

#[test]
fn nodes_of_one_executable_share_a_pool() {
    // Node by node 64 executors; but it is one pool of one.
    let mut text = "workflow: w\nnodes:\n".to_owned();
    for index in 0..64 {
        text += &format!("  n{index}: {{ function: e:f }}\n");
    }
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let workers = [worker("a", 2)];
    let placement = place(&graph, &workers, &Options::default()).unwrap();
    assert_eq!(
        placement.demand(&graph, 0),
        Demand {
            executors: 1,
            memory_mib: 128
        }
    );
}

prop_compose! {
    fn any_graph()(count in 1_usize..24)(
        nodes in prop::collection::vec((1_u32..6, 0_u32..500, 0_u64..(8 * MIB)), count),
        pairs in prop::collection::vec((0..count, 0..count), 0..40),
    ) -> Graph {
        let names: Vec<String> = (0..nodes.len()).map(|index| format!("node{index}")).collect();
        let nodes: Vec<_> = names.iter().zip(nodes).map(|(name, (a, b, c))| (name.as_str(), a, b, c)).collect();
        let edges: Vec<_> = pairs
            .into_iter()
            .filter(|(from, to)| from < to)
            .map(|(from, to)| (names[from].as_str(), names[to].as_str()))
            .collect();
        graph(&nodes, &edges)
    }
}

proptest! {
    #[test]
    fn every_node_has_a_worker_that_can_take_it(
        graph in any_graph(),
        sizes in prop::collection::vec((1_u32..30, 64_u64..4096), 1..6),
        quota in prop::option::of(0_u64..(64 * MIB)),
        pin in prop::option::of((0_usize..24, 0_usize..6)),
        method in 0..Partitioner::ALL.len(),
    ) {
        let workers: Vec<WorkerCapacity> = sizes
            .into_iter()
            .enumerate()
            .map(|(index, (executors, memory_mib))| WorkerCapacity { memory_mib, ..worker(&format!("w{index}"), executors) })
            .collect();
        let pin = pin.filter(|(node, worker)| *node < graph.node_count() && *worker < workers.len());
        let fixed = pin.iter().map(|(node, worker)| (graph.node(*node as u32).name.clone(), format!("w{worker}")));
        let options = Options {
            fixed: fixed.collect(),
            quota_bytes: quota,
            partitioner: Partitioner::ALL[method].1,
            effort: Effort { steps: Some(60), ..Effort::default() },
            ..Options::default()
        };
        match place(&graph, &workers, &options) {
            Ok(placement) => {
                prop_assert_eq!(placement.workers().len(), graph.node_count());
                for (index, worker) in workers.iter().enumerate() {
                    let demand = placement.demand(&graph, index);
                    prop_assert!(demand.executors <= worker.executors && demand.memory_mib <= worker.memory_mib);
                }
                if let Some((node, worker)) = pin {
                    prop_assert_eq!(placement.worker(node as u32), worker);
                }
                let again = place(&graph, &workers, &options).unwrap();
                prop_assert_eq!(placement, again);
            }
            Err(PlaceError::Total { wanted, limit, .. }) => prop_assert!(wanted > limit),
            Err(PlaceError::Node { overload, .. } | PlaceError::Workflow { overload } | PlaceError::Fixed { overload }) => {
                prop_assert!(overload.wanted > overload.limit);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_worker_with_room_for_all_is_never_refused(graph in any_graph()) {
        let workers = [worker("a", 1000), worker("b", 1)];
        let options = Options {
            effort: Effort { steps: Some(10), ..Effort::default() },
            ..Options::default()
        };
        prop_assert!(place(&graph, &workers, &options).is_ok());
    }
}

#[test]
fn an_executor_that_keeps_two_cpus_busy_counts_as_two() {
    let text = "{ workflow: w, nodes: { a: { function: \"e:f\", resources: { scale: 3, cpus: 2, memory_mib: 10 } } } }";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let demand = Demand::of_node(graph.node(0));
    assert_eq!((demand.executors, demand.memory_mib), (6, 30));
    assert!(place(&graph, &[worker("a", 5)], &Options::default()).is_err());
    let placement = place(&graph, &[worker("a", 6)], &Options::default()).unwrap();
    assert_eq!(placement.demand(&graph, 0), demand);
}

/// A chain of foreach between two nodes, and what runs within its items.
const CHAIN: &str = "
workflow: w
input: { l: list }
nodes:
  before: { function: x:f, output: { l: list } }
  first: { function: a:f, foreach: before.l, input: { i: item }, output: { o: bytes, l: list }, resources: { scale: 2 } }
  second: { function: b:f, foreach: first.o, input: { i: item }, output: { o: bytes } }
  within: { function: c:f, foreach: 'first.l[item]', input: { i: item } }
  behind: { function: y:f, input: { all: second.o } }
";

#[test]
fn what_runs_item_by_item_goes_to_one_worker_wherever_that_is() {
    let graph = Graph::of(&parse("w.yaml", CHAIN.as_bytes()).unwrap());
    // First all spread as widely as can be, then all packed as closely as can be.
    for (count, executors) in [(5, 4), (3, 5), (2, 4), (2, 5)] {
        let workers: Vec<WorkerCapacity> = (0..count)
            .map(|index| worker(&format!("w{index}"), executors))
            .collect();
        let placement = place(&graph, &workers, &Options::default()).unwrap();
        let of = |name: &str| {
            let node = graph.nodes().position(|node| node.name == name).unwrap();
            placement.worker(node as NodeId)
        };
        assert_eq!((of("second"), of("within")), (of("first"), of("first")));
    }
    let error = place(
        &graph,
        &[worker("a", 3), worker("b", 3)],
        &Options::default(),
    )
    .unwrap_err();
    let PlaceError::Region { nodes, overload } = error else {
        panic!("{error:?}")
    };
    assert_eq!(nodes, "first, second, within");
    assert_eq!((overload.wanted, overload.limit), (4, 3));
}

#[test]
fn a_pin_counts_for_all_that_runs_item_by_item_with_it() {
    let graph = Graph::of(&parse("w.yaml", CHAIN.as_bytes()).unwrap());
    let workers = [worker("a", 16), worker("b", 16)];
    let pinned = |pins: &[(&str, &str)]| {
        let pins = pins
            .iter()
            .map(|(node, worker)| ((*node).to_owned(), (*worker).to_owned()));
        let options = Options {
            fixed: pins.collect(),
            ..Options::default()
        };
        place(&graph, &workers, &options)
    };
    for worker in ["a", "b"] {
        let placement = pinned(&[("within", worker), ("before", "a"), ("behind", "b")]).unwrap();
        let names = names(&graph, &placement, &workers);
        let expected = ["first", "second", "within"].map(|node| format!("{node}@{worker}"));
        assert!(
            expected.iter().all(|place| names.contains(place)),
            "{names:?}"
        );
    }
    let error = pinned(&[("second", "a"), ("within", "b")]).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("node second is pinned to worker a and node within to worker b"),
        "{told}"
    );
}
