//! The published grouping, merge by merge. One MiB takes 0.16 s at 6.25 MiB/s, and a fifteenth of that within a group.

use super::*;
use crate::graph::{Dependency, GraphNode};
use crate::place::published::{Grouping, Refusal};

/// The groups, each by the names of its nodes in their order, and its worker.
fn groups(graph: &Graph, grouping: &Grouping<'_>) -> Vec<String> {
    let mut told: Vec<String> = grouping
        .groups()
        .map(|group| {
            let mut nodes = group.nodes.clone();
            nodes.sort_unstable();
            let names = nodes
                .iter()
                .map(|node| graph.node(*node as NodeId).name.as_str());
            format!("{}@{}", names.collect::<Vec<_>>().join("+"), group.worker)
        })
        .collect();
    told.sort();
    told
}

fn grouping<'a>(graph: &Graph, workers: &'a [WorkerCapacity], quota_bytes: u64) -> Grouping<'a> {
    Grouping::new(graph, workers, &vec![None; graph.node_count()], quota_bytes)
}

/// Runs it to its end; after each merge the groups must be these. What stopped it, as producer, consumer and reason.
fn merges(
    graph: &Graph,
    workers: &[WorkerCapacity],
    quota_bytes: u64,
    steps: &[&[&str]],
) -> Vec<(String, String, Refusal)> {
    let mut grouping = grouping(graph, workers, quota_bytes);
    for (number, expected) in steps.iter().enumerate() {
        assert!(grouping.merge_on_longest_path(), "merge {number}");
        assert_eq!(groups(graph, &grouping), *expected, "after merge {number}");
    }
    assert!(
        !grouping.merge_on_longest_path(),
        "{:?}",
        groups(graph, &grouping)
    );
    let name = |node: NodeId| graph.node(node).name.clone();
    let refused = grouping.refused().iter();
    refused
        .map(|(from, to, refusal)| (name(*from), name(*to), *refusal))
        .collect()
}

/// The number of a worker by hash.
fn by_hash(name: &str, workers: usize) -> usize {
    published::hashed(name, workers)
}

#[test]
fn a_chain_is_merged_from_its_heaviest_edge_on() {
    // a ─3 MiB─▶ b ─5 MiB─▶ c ─1 MiB─▶ d, 100 ms each; workers of four.
    //
    // 0. a b c d are alone. The only path: 0.4 s of running; edges 0.48, 0.8, 0.16 s.
    // 1. b c (0.8 s) first. Its weight falls to 0.053 s.
    // 2. Now a b (0.48 s) weighs most: {a b c}. It falls to 0.032 s.
    // 3. c d (0.16 s): all four in one group, the end.
    let graph = graph(
        &[
            ("a", 1, 100, 3 * MIB),
            ("b", 1, 100, 5 * MIB),
            ("c", 1, 100, MIB),
            ("d", 1, 100, 0),
        ],
        &[("a", "b"), ("b", "c"), ("c", "d")],
    );
    let workers = [worker("x", 4), worker("y", 4)];
    let at = |name: &str| by_hash(name, 2);
    // FNV-1a: a and c begin on worker 0, b and d on worker 1.
    assert_eq!(["a", "b", "c", "d"].map(at), [0, 1, 0, 1]);
    // Merged groups go where the least room is that suffices, their own given back: b c to worker 0, where a leaves three
    // (worker 1: d leaves three too, and the first of equals is taken).
    let refused = merges(
        &graph,
        &workers,
        100 * MIB,
        &[
            &["a@0", "b+c@0", "d@1"],
            // Both taken away worker 0 has four free, worker 1 three: those suffice, and are fewer.
            &["a+b+c@1", "d@1"],
            // Everything given back, both have four: the first.
            &["a+b+c+d@0"],
        ],
    );
    assert_eq!(refused, []);
}

#[test]
fn of_equal_paths_the_one_with_the_heavier_edge_is_the_longest() {
    // a ─2 MiB─▶ c: 100 + 320 + 780 ms;  b ─4 MiB─▶ d: 460 + 640 + 100 ms. Both are 1.2 s; b d has the heavier edge.
    let graph = graph(
        &[
            ("a", 1, 100, 2 * MIB),
            ("c", 1, 780, 0),
            ("b", 1, 460, 4 * MIB),
            ("d", 1, 100, 0),
        ],
        &[("a", "c"), ("b", "d")],
    );
    let workers = [worker("x", 2), worker("y", 2)];
    // After b d has been merged it is 0.6 s long, and a c comes next. a and c fill worker 0, so that b d stays on worker 1.
    merges(
        &graph,
        &workers,
        100 * MIB,
        &[&["a@0", "b+d@1", "c@0"], &["a+c@0", "b+d@1"]],
    );
}

#[test]
fn it_ends_with_the_first_longest_path_that_has_nothing_to_merge() {
    // a ─10 MiB─▶ b, two executors each, do not fit together; c ─▶ d would, but is on no longest path.
    let graph = graph(
        &[
            ("a", 2, 1000, 10 * MIB),
            ("b", 2, 1000, 0),
            ("c", 1, 1, 1),
            ("d", 1, 1, 0),
        ],
        &[("a", "b"), ("c", "d")],
    );
    let workers = [worker("x", 3), worker("y", 3)];
    let refused = merges(&graph, &workers, 100 * MIB, &[]);
    assert_eq!(
        refused,
        [("a".to_owned(), "b".to_owned(), Refusal::Capacity)]
    );
}

#[test]
fn the_quota_is_charged_once_for_a_producer_and_stops_a_merge() {
    // a (4 MiB) feeds b and c; d (3 MiB) feeds c.
    //
    //   a ─4─▶ b        paths: a c 0.1 + 0.64 + 0.5 = 1.24 s; a b 0.84 s; d c 0.1 + 0.48 + 0.5 = 1.08 s
    //   └─4─▶ c ◀─3─ d
    let graph = graph(
        &[
            ("a", 1, 100, 4 * MIB),
            ("d", 1, 100, 3 * MIB),
            ("b", 1, 100, 0),
            ("c", 1, 500, 0),
        ],
        &[("a", "b"), ("a", "c"), ("d", "c")],
    );
    let workers = [worker("x", 9), worker("y", 9)];
    // With 4 MiB: a c is merged (4 charged), and weighs 0.043 s. Then d c (1.08 s) is the longest: 3 more do not fit.
    let refused = merges(&graph, &workers, 4 * MIB, &[&["a+c@1", "b@1", "d@1"]]);
    assert_eq!(refused, [("d".to_owned(), "c".to_owned(), Refusal::Quota)]);
    // With 7 MiB: d c too (7 charged), then a b for nothing, since a is charged already.
    merges(
        &graph,
        &workers,
        7 * MIB,
        &[
            &["a+c@1", "b@1", "d@1"],
            &["a+d+c@1", "b@1"],
            &["a+d+b+c@0"],
        ],
    );
}

#[test]
fn the_quota_grows_with_the_width_of_a_foreach_and_falls_by_the_peak() {
    let text = "
workflow: w
nodes:
  wide:
    function: e:f
    foreach: { from: 0, to: 10 }
    resources: { memory_mib: 256 }
    profile: { items: 10, peak_mib: 100 }
  plain: { function: e:f, resources: { memory_mib: 256 }, profile: { peak_mib: 300 } }
  virtual: { after: plain, join: any }
";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    // (0.8 × 256 − 100) MiB for each of ten; the other one takes the 95.2 MiB of these that it is above its own.
    let expected = ((0.8 * 256.0 - 100.0) * 10.0 + (0.8 * 256.0 - 300.0)) * MIB as f64;
    assert_eq!(published_quota_bytes(&graph), expected as u64);
    // Peaks of nothing and of all: 1.6 × 256 − 256 MiB.
    let quota = |first: u32, second: u32| {
        let node = |name: &str, peak_mib| GraphNode {
            executable: Some(name.to_owned()),
            memory_mib: 256,
            peak_mib,
            ..GraphNode::default()
        };
        published_quota_bytes(&Graph::new(
            vec![node("a", first), node("b", second)],
            [],
            [],
        ))
    };
    assert_eq!(quota(0, 256), 161_061_273);
    assert_eq!(quota(256, 256), 0, "less than nothing is nothing");
}

#[test]
fn nodes_that_contend_are_never_in_one_group_or_on_one_worker() {
    let text = "
workflow: w
nodes:
  a: { function: a:f, output: { o: bytes }, resources: { memory_mib: 64 }, profile: { runtime_ms: 100, output_bytes: 4000000 }, apart: c }
  b: { function: b:f, input: { i: a.o }, output: { o: bytes }, resources: { memory_mib: 64 }, profile: { runtime_ms: 100, output_bytes: 3000000 } }
  c: { function: c:f, input: { i: b.o }, resources: { memory_mib: 64 }, profile: { runtime_ms: 100 } }
";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let workers = [worker("x", 9), worker("y", 9)];
    // a b weighs 0.61 s, b c 0.46 s. a and c begin on worker 0, which must not hold both: a b goes to worker 1.
    let refused = merges(&graph, &workers, 100 * MIB, &[&["a+b@1", "c@0"]]);
    assert_eq!(refused[0], ("b".to_owned(), "c".to_owned(), Refusal::Apart));
    let placement = place(&graph, &workers, &published(None)).unwrap();
    assert_ne!(placement.worker(0), placement.worker(2));
}

#[test]
fn a_hundred_nodes_and_no_more_are_a_group() {
    let names: Vec<String> = (0..102).map(|index| format!("n{index}")).collect();
    let nodes: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1, 1)).collect();
    let edges: Vec<_> = names
        .windows(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let graph = graph(&nodes, &edges);
    let workers = [worker("x", 1000)];
    let mut grouping = grouping(&graph, &workers, 100 * MIB);
    while grouping.merge_on_longest_path() {}
    let mut sizes: Vec<usize> = grouping.groups().map(|group| group.nodes.len()).collect();
    sizes.sort_unstable();
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
    let refused = grouping.refused();
    assert!(
        refused
            .iter()
            .all(|(.., refusal)| matches!(refusal, Refusal::Nodes | Refusal::Same)),
        "{refused:?}"
    );
    assert!(
        refused
            .iter()
            .any(|(.., refusal)| *refusal == Refusal::Nodes)
    );
}

#[test]
fn an_edge_within_a_group_weighs_a_fifteenth() {
    // a ─15 MiB─▶ b ─0.5 MiB─▶ c, and d ─3 MiB─▶ e beside them: all run 10 ms.
    //
    // 1. The longest path is a b c: 0.03 + 2.4 + 0.08 s. a b is merged, and weighs 0.16 s.
    // 2. Now it takes 0.03 + 0.16 + 0.08 = 0.27 s; d e takes 0.02 + 0.48 s, and is merged: 0.032 s.
    // 3. a b c is the longest again. Of its edges a b (0.16 s) comes first, and is one group already; b c is merged then. Were it a
    //    third, d e would weigh 0.16 s, and a b 0.8 s: with it a b c would be the longest in step 2.
    let graph = graph(
        &[
            ("a", 1, 10, 15 * MIB),
            ("b", 1, 10, MIB / 2),
            ("c", 1, 10, 0),
            ("d", 1, 10, 3 * MIB),
            ("e", 1, 10, 0),
        ],
        &[("a", "b"), ("b", "c"), ("d", "e")],
    );
    let workers = [worker("x", 9), worker("y", 9)];
    let mut grouping = grouping(&graph, &workers, 100 * MIB);
    let mut merged = Vec::new();
    while grouping.merge_on_longest_path() {
        let told = groups(&graph, &grouping).into_iter();
        let told = told.map(|group| group.split('@').next().unwrap_or_default().to_owned());
        merged.push(told.collect::<Vec<String>>().join(" "));
    }
    assert_eq!(merged, ["a+b c d e", "a+b c d+e", "a+b+c d+e"]);
}

#[test]
fn what_a_region_holds_within_its_group_is_charged_from_the_beginning() {
    let node = |name: &str, output_bytes, together| GraphNode {
        name: name.to_owned(),
        executable: Some(name.to_owned()),
        output_bytes,
        scale: 1,
        slots: 1,
        memory_mib: 1,
        together,
        ..GraphNode::default()
    };
    let nodes = vec![
        node("a", 3 * MIB, Some(0)),
        node("b", 2 * MIB, Some(0)),
        node("c", 0, None),
    ];
    let read = Dependency::on([0]);
    let graph = Graph::new(nodes, [(0, 1, read.clone()), (1, 2, read)], []);
    let workers = [worker("x", 9)];
    // a b hold 3 MiB by themselves; with c 2 more.
    let merged = |quota| grouping(&graph, &workers, quota).merge_on_longest_path();
    assert!(merged(5 * MIB));
    assert!(!merged(5 * MIB - 1));
}
