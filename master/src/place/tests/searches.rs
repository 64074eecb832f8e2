//! How good placements are.

use super::*;
use crate::graph::{Dependency, GraphNode};
use crate::random::Random;

/// A layered graph of so many nodes, in which transfers take `ccr` times as long as all run times together.
fn layered(nodes: usize, ccr: f64, seed: u64) -> Graph {
    let mut random = Random::new(seed);
    let mut edges: Vec<(usize, usize)> = Vec::new();
    let width = 4;
    for node in width..nodes {
        let layer = node / width;
        for _ in 0..1 + random.below(2) {
            edges.push(((layer - 1) * width + random.below(width), node));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    let runtimes: Vec<f64> = (0..nodes).map(|_| 5.0 + 40.0 * random.share()).collect();
    let total_s = runtimes.iter().sum::<f64>() / 1e3;
    let bytes = ccr * total_s * Link::DEFAULT.bytes_per_s / edges.len() as f64;
    let made = runtimes
        .iter()
        .enumerate()
        .map(|(index, runtime_ms)| GraphNode {
            name: format!("n{index}"),
            executable: Some(format!("e{index}")),
            runtime_ms: *runtime_ms,
            output_bytes: (bytes * (0.2 + 1.6 * random.share())) as u64,
            scale: 1,
            slots: 1,
            memory_mib: 1,
            ..GraphNode::default()
        });
    let made: Vec<GraphNode> = made.collect();
    let read = Dependency::on([0]);
    let edges = edges
        .iter()
        .map(|(from, to)| (*from as NodeId, *to as NodeId, read.clone()));
    Graph::new(made, edges.collect::<Vec<_>>(), [])
}

/// Workers of which each takes its part of so many nodes, and half as much again.
fn workers_for(nodes: usize, count: usize) -> Vec<WorkerCapacity> {
    let executors = (nodes as u32 * 3).div_ceil(2 * count as u32);
    (0..count)
        .map(|index| WorkerCapacity {
            executors,
            ..WorkerCapacity::new(format!("w{index}"), 4, 1 << 40)
        })
        .collect()
}

fn makespan_ns(graph: &Graph, workers: &[WorkerCapacity], partitioner: Partitioner) -> f64 {
    let options = Options {
        partitioner,
        quota_bytes: Some(u64::MAX),
        effort: Effort {
            steps: Some(2_000),
            ..Effort::default()
        },
        ..Options::default()
    };
    find(graph, workers, &options).unwrap().1.makespan_ns
}

#[test]
fn a_finished_search_is_never_worse_than_any_other_partitioner() {
    for (nodes, count) in [(12, 2), (40, 4), (60, 8)] {
        for (seed, ccr) in [(1, 0.1), (2, 1.0), (3, 5.0), (4, 10.0)] {
            let graph = layered(nodes, ccr, seed);
            let workers = workers_for(nodes, count);
            let ours = makespan_ns(&graph, &workers, Partitioner::Default);
            for other in [Partitioner::Hash, Partitioner::Published, Partitioner::Heft] {
                let theirs = makespan_ns(&graph, &workers, other);
                assert!(
                    ours <= theirs * (1.0 + 1e-9),
                    "{nodes} nodes, {count} workers, ccr {ccr}: {ours} {} {theirs}",
                    other.name()
                );
            }
        }
    }
}

#[test]
fn where_transfers_matter_it_is_clearly_shorter_than_published() {
    let mut ratios: Vec<f64> = (0..12)
        .map(|seed| {
            let graph = layered(48, [2.0, 5.0, 10.0][seed % 3], seed as u64);
            let workers = workers_for(48, [2, 4, 8, 4][seed % 4]);
            makespan_ns(&graph, &workers, Partitioner::Default)
                / makespan_ns(&graph, &workers, Partitioner::Published)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    // Of few steps; docs/benchmarks.md has the figures of whole searches.
    assert!(ratios[6] <= 0.92, "{ratios:?}");
}

#[test]
fn on_small_graphs_it_comes_to_the_optimum() {
    for seed in 0..6 {
        let graph = layered(8, [1.0, 4.0][seed % 2], 100 + seed as u64);
        let workers = workers_for(8, 3);
        let options = Options {
            quota_bytes: Some(u64::MAX),
            ..Options::default()
        };
        let best_ns = optimum_ns(&graph, &workers, &options, 10_000)
            .unwrap()
            .unwrap();
        let (_, found) = find(&graph, &workers, &options).unwrap();
        assert!(found.optimal);
        // Of those that are half a percent longer at most it takes the one with the fewest bytes.
        assert!((best_ns..=best_ns * 1.005).contains(&found.makespan_ns));
        // Without trying all it comes as near as that too: by annealing alone, from any seed.
        let annealed = annealed_ns(&graph, &workers, seed as u64);
        assert!(annealed <= best_ns * 1.05, "{annealed} {best_ns}");
    }
}

/// What annealing alone comes to.
fn annealed_ns(graph: &Graph, workers: &[WorkerCapacity], seed: u64) -> f64 {
    let model = Model::of(graph, workers, &Network::default(), u64::MAX);
    let wants = Wants::of(graph, &model, workers, &vec![None; graph.node_count()]);
    let effort = Effort {
        steps: Some(2_000),
        budget: None,
        seed,
    };
    let mut search = Search::new(&model, &wants, effort, Instant::now());
    let room = pack::pack(&wants, workers.len(), &vec![u32::MAX; model.units.len()]).unwrap();
    search.offer(&room.placed);
    search.anneal();
    search.shortest_ns().unwrap()
}

#[test]
fn small_workflows_on_unlike_workers_come_to_the_optimum() {
    for seed in 0..4 {
        let graph = layered(9, [1.0, 5.0][seed % 2], 300 + seed as u64);
        let mut workers = workers_for(9, 3);
        workers[0].speed = 0.5;
        workers[2].speed = 2.0;
        workers[2].executors = 4;
        let options = Options::default();
        let best_ns = optimum_ns(&graph, &workers, &options, search::ALL_MAX).unwrap();
        let (_, found) = find(&graph, &workers, &options).unwrap();
        assert!(found.optimal);
        assert!(found.makespan_ns <= best_ns.unwrap() * 1.005 * (1.0 + 1e-9));
        // It costs a part of what scoring all 19,683 would.
        assert!(found.steps < 10_000, "{}", found.steps);
    }
}

#[test]
fn all_placements_take_half_of_the_steps_at_most_and_leave_the_rest_to_the_others() {
    let graph = layered(9, 0.1, 3);
    let mut workers = workers_for(9, 3);
    workers[0].speed = 0.9;
    workers[1].speed = 1.1;
    let effort = Effort {
        steps: Some(8),
        ..Effort::default()
    };
    let options = Options {
        effort,
        ..Options::default()
    };
    let (_, found) = find(&graph, &workers, &options).unwrap();
    assert!(!found.optimal);
    assert_eq!(found.steps, 8);
}

#[test]
fn published_and_hash_come_before_all_else_that_costs_steps() {
    let mut published_was_best = 0;
    for seed in 0..40 {
        let graph = layered(40, 5.0, seed);
        let workers = workers_for(40, 4);
        let with = |partitioner, steps| {
            let options = Options {
                partitioner,
                effort: Effort {
                    steps,
                    ..Effort::default()
                },
                ..Options::default()
            };
            find(&graph, &workers, &options).unwrap().1.makespan_ns
        };
        let theirs = |partitioner| with(partitioner, None);
        let (heft, published) = (theirs(Partitioner::Heft), theirs(Partitioner::Published));
        let of_two = with(Partitioner::Default, Some(2));
        assert_eq!(of_two, heft.min(published), "seed {seed}");
        published_was_best += u32::from(published < heft);
        let of_three = with(Partitioner::Default, Some(3));
        assert!(of_three <= theirs(Partitioner::Hash), "seed {seed}");
    }
    assert!(published_was_best > 0);
}

#[test]
fn steps_fall_with_what_a_simulation_goes_through() {
    let workers = workers_for(40, 4);
    let steps = |graph: &Graph| Effort::steps_for(graph, &workers);
    assert_eq!(steps(&layered(8, 1.0, 1)), 30_000);
    let few = steps(&layered(4000, 1.0, 1));
    assert!((300..1000).contains(&few), "{few}");
    // A few nodes of which each runs for many items are no small workflow.
    let text = "
workflow: w
nodes:
  a: { function: a:f, foreach: { from: 0, to: 500 }, output: { o: bytes }, profile: { items: 500 } }
  b: { function: b:f, foreach: a.o, input: { i: item }, output: { o: bytes } }
  c: { function: c:f, foreach: b.o, input: { i: item }, output: { o: bytes } }
";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    assert!(steps(&graph) <= 4_000, "{}", steps(&graph));
}

#[test]
fn with_steps_time_decides_nothing_but_the_end() {
    let graph = layered(40, 5.0, 9);
    let workers = workers_for(40, 4);
    let with = |budget: Option<Duration>| {
        let options = Options {
            effort: Effort {
                steps: Some(700),
                budget,
                ..Effort::default()
            },
            ..Options::default()
        };
        place(&graph, &workers, &options).unwrap()
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(with(None), with(Some(hour)));
    assert_eq!(with(Some(hour * 24)), with(Some(hour)));
}

#[test]
fn a_published_placement_that_would_take_longer_than_there_is_time_is_left_out() {
    let names: Vec<String> = (0..60).map(|index| format!("n{index}")).collect();
    let nodes: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), 1, 1, MIB))
        .collect();
    let edges: Vec<_> = names
        .windows(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let graph = graph(&nodes, &edges);
    let workers = [worker("x", 90), worker("y", 90)];
    let none = vec![None; graph.node_count()];
    let group = |deadline| published::group(&graph, &workers, &none, 1 << 40, deadline);
    assert!(group(Some(Instant::now())).is_none());
    assert!(group(None).is_some());
    assert!(group(Some(Instant::now() + Duration::from_secs(3600))).is_some());
}

#[test]
fn more_steps_find_better_ones_and_steps_are_kept() {
    let graph = layered(40, 5.0, 9);
    let workers = workers_for(40, 4);
    let with = |steps: u64| {
        let options = Options {
            effort: Effort {
                steps: Some(steps),
                ..Effort::default()
            },
            ..Options::default()
        };
        let (_, found) = find(&graph, &workers, &options).unwrap();
        assert_eq!(found.steps, steps.max(1));
        found.makespan_ns
    };
    let all = [1, 7, 50, 500, 3000].map(with);
    assert!(
        all.iter().all(|makespan_ns| *makespan_ns <= all[0]),
        "{all:?}"
    );
    assert!(all[4] < all[1] && all[4] < all[2], "{all:?}");
}

#[test]
fn time_ends_a_search_that_has_a_budget() {
    let graph = layered(400, 5.0, 9);
    let workers = workers_for(400, 4);
    let options = Options {
        effort: Effort {
            budget: Some(Duration::ZERO),
            ..Effort::default()
        },
        ..Options::default()
    };
    let (_, found) = find(&graph, &workers, &options).unwrap();
    assert_eq!(found.steps, 1, "the first answer comes in any case");
}

#[test]
fn of_equal_makespans_the_one_with_fewer_bytes_crossing_is_kept() {
    // b may run anywhere, but what a gives must cross if it is not where a is.
    let node = |name: &str, runtime_ms, output_bytes| GraphNode {
        name: name.to_owned(),
        executable: Some(name.to_owned()),
        runtime_ms,
        output_bytes,
        scale: 1,
        slots: 1,
        memory_mib: 1,
        ..GraphNode::default()
    };
    // The long node hides whatever the short ones do.
    let nodes = vec![
        node("long", 1000.0, 0),
        node("a", 1.0, 100_000),
        node("b", 1.0, 0),
    ];
    let read = Dependency::on([0]);
    let graph = Graph::new(nodes, [(1, 2, read)], []);
    let workers = workers_for(30, 3);
    let model = Model::of(&graph, &workers, &Network::default(), u64::MAX);
    let wants = Wants::of(&graph, &model, &workers, &[None; 3]);
    // What crosses is offered first, and last.
    for offers in [[[0, 1, 2], [0, 1, 1]], [[0, 1, 1], [0, 1, 2]]] {
        let mut search = Search::new(&model, &wants, Effort::default(), Instant::now());
        for placed in offers {
            search.offer(&placed);
        }
        let best = search.into_best().unwrap();
        assert_eq!(
            (best.placed, best.score.crossing_bytes),
            (vec![0, 1, 1], 0.0)
        );
    }
}
