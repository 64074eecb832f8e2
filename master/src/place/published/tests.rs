//! The steps that are told are those that are taken.

use super::*;
use crate::definition::parse;
use crate::place::{Options, Partitioner, place};

const MIB: u64 = 1 << 20;

/// Nodes as name, scale, milliseconds and bytes; edges by name.
fn graph(nodes: &[(&str, u32, u32, u64)], edges: &[(&str, &str)]) -> Graph {
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
    Graph::of(&parse("w.yaml", text.as_bytes()).unwrap())
}

fn options(quota_bytes: u64) -> Options {
    Options {
        partitioner: Partitioner::Published,
        quota_bytes: Some(quota_bytes),
        ..Options::default()
    }
}

#[test]
fn the_steps_are_told_in_their_order_with_what_ended_them() {
    // The diamond a → b, c → d: a gives 10 MiB, b 1 MiB, and a worker takes three executors.
    let nodes = [
        ("a", 1, 100, 10 * MIB),
        ("b", 1, 100, MIB),
        ("c", 1, 100, 0),
        ("d", 1, 100, 0),
    ];
    let edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")];
    let graph = graph(&nodes, &edges);
    // Two executors for a CPU.
    let workers = [
        WorkerCapacity {
            executors: 3,
            ..WorkerCapacity::new("x", 2, 1 << 40)
        },
        WorkerCapacity {
            executors: 3,
            ..WorkerCapacity::new("y", 2, 1 << 40)
        },
    ];
    let told = merges(&graph, &workers, &options(100 * MIB)).unwrap();
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
    assert!(close(told.merges[1].path_s, 0.3 + 1.6), "{told:?}");
    assert_eq!(told.merges[1].demand.executors, 3);
    let refused: Vec<_> = told
        .refused
        .iter()
        .map(|edge| (edge.from, edge.to, edge.why.code()))
        .collect();
    assert_eq!(refused, [(1, 3, "no_room"), (0, 1, "one_group")]);
    assert_eq!((told.groups, told.held_bytes), (2, 10 * MIB));
    // What is told is what the partitioner does.
    let placement = place(&graph, &workers, &options(100 * MIB)).unwrap();
    assert_eq!(placement.worker(0), told.merges[1].worker);
    let quota = merges(&graph, &workers, &options(10 * MIB - 1)).unwrap();
    assert_eq!(quota.merges, []);
    let over = Refusal::Quota { over_bytes: 1 };
    assert_eq!((quota.refused[0].why, quota.groups), (over, 4));
}

#[test]
fn where_one_group_is_left_nothing_was_refused() {
    let graph = graph(&[("p", 1, 1, MIB), ("q", 1, 1, 0)], &[("p", "q")]);
    let workers = [WorkerCapacity::new("a", 4, 1 << 40)];
    let told = merges(&graph, &workers, &options(MIB)).unwrap();
    assert_eq!(
        (told.groups, told.refused.len(), told.merges.len()),
        (1, 0, 1)
    );
}
