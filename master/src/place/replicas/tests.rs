//! Placements beside each other: rotated where they fit, anew where not, and never more than there is room for.

use super::*;
use crate::definition::parse;
use crate::place::{Demand, Effort};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn worker(name: &str, executors: u32) -> WorkerCapacity {
    WorkerCapacity {
        executors,
        memory_mib: 1 << 20,
        ..WorkerCapacity::new(name, executors.div_ceil(2), 0)
    }
}

/// So many placements, the first of which is found too.
fn replicate(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    count: u16,
) -> Result<Vec<Placement>, PlaceError> {
    let first = place(graph, workers, options)?;
    beside(graph, workers, options, first, count)
}

/// Nodes of these scales, none of which waits for another, and each of an executable of its own.
fn graph(scales: &[u32]) -> Graph {
    let nodes = scales.iter().enumerate().map(|(node, scale)| {
        format!("  n{node}: {{ function: e{node}:f, resources: {{ scale: {scale}, memory_mib: 64 }} }}\n")
    });
    let text = format!("workflow: w\nnodes:\n{}", nodes.collect::<String>());
    Graph::of(&parse("w.yaml", text.as_bytes()).unwrap())
}

fn pinned(pins: &[(&str, &str)]) -> Options {
    let owned = |(node, worker): &(&str, &str)| ((*node).to_owned(), (*worker).to_owned());
    Options {
        fixed: pins.iter().map(owned).collect::<BTreeMap<_, _>>(),
        ..Options::default()
    }
}

#[test]
fn further_placements_are_the_first_with_its_workers_rotated() {
    let graph = graph(&[1, 1, 1]);
    let workers = ["a", "b", "c"].map(|name| worker(name, 8));
    let placements = replicate(&graph, &workers, &Options::default(), 4).unwrap();
    assert_eq!(
        placements[0],
        place(&graph, &workers, &Options::default()).unwrap()
    );
    for (steps, placement) in placements.iter().enumerate() {
        let first = placements[0].workers.iter();
        let rotated: Vec<usize> = first.map(|worker| (worker + steps) % 3).collect();
        assert_eq!(placement.workers, rotated);
    }
}

#[test]
fn what_is_pinned_stays_in_every_placement() {
    let graph = graph(&[1, 1]);
    let workers = ["a", "b", "c"].map(|name| worker(name, 8));
    let options = pinned(&[("n0", "b"), ("n1", "a")]);
    for placement in replicate(&graph, &workers, &options, 5).unwrap() {
        let of = |name: &str| {
            let node = graph.nodes().position(|node| node.name == name).unwrap();
            placement.workers[node]
        };
        assert_eq!((of("n0"), of("n1")), (1, 0));
    }
}

#[test]
fn a_rotated_placement_that_does_not_fit_is_placed_anew_on_what_is_left() {
    let graph = graph(&[2]);
    // Of the first on `b` the next in turn is `c`, which is too small.
    let workers = [worker("a", 2), worker("b", 4), worker("c", 1)];
    let placements = replicate(&graph, &workers, &pinned(&[]), 3).unwrap();
    let mut taken = [0; 3];
    for placement in &placements {
        taken[placement.workers[0]] += 1;
    }
    assert_eq!(taken, [1, 2, 0]);
}

#[test]
fn a_further_placement_is_where_it_is_fast_not_where_it_comes_first() {
    let text = "{ workflow: w, nodes: { n: { function: e:f, profile: { runtime_ms: 1000 }, resources: { scale: 2 } } } }";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let with = |name: &str, speed: f64| WorkerCapacity {
        speed,
        ..worker(name, 2)
    };
    let workers = [with("fast", 4.0), with("slow", 0.1), with("fast2", 4.0)];
    let placements = replicate(&graph, &workers, &pinned(&[]), 3).unwrap();
    let on: Vec<usize> = placements.iter().map(|one| one.workers[0]).collect();
    assert_eq!(on, [0, 2, 1], "the slow one comes last");
    // Where the fast one has room for two, and no rotation is as fast, it is found anew.
    let workers = [
        WorkerCapacity {
            executors: 4,
            ..with("fast", 4.0)
        },
        with("slow", 0.1),
    ];
    let placements = replicate(&graph, &workers, &pinned(&[]), 3).unwrap();
    let on: Vec<usize> = placements.iter().map(|one| one.workers[0]).collect();
    assert_eq!(on, [0, 0, 1]);
}

#[test]
fn all_placements_together_have_the_time_that_is_given() {
    let effort = Effort {
        budget: Some(Duration::from_millis(900)),
        steps: Some(7),
        seed: 1,
    };
    let third = effort.share(3);
    assert_eq!(third.budget, Some(Duration::from_millis(300)));
    assert_eq!((third.steps, third.seed), (Some(7), 1));
    assert_eq!(Effort::default().share(3), Effort::default());
}

#[test]
fn too_many_are_refused_with_how_many_fit_and_what_one_more_lacks() {
    let graph = graph(&[2, 1]);
    let workers = [worker("a", 4), worker("b", 4)];
    assert_eq!(
        replicate(&graph, &workers, &Options::default(), 2)
            .unwrap()
            .len(),
        2
    );
    let error = replicate(&graph, &workers, &Options::default(), 3).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("3 placements are wanted, and 2 fit these workers: of the next, "),
        "{said}"
    );
    assert!(said.contains("too many"), "{said}");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("--replicas 2"), "{help}");
    // One that does not fit at all is refused as ever.
    let alone = replicate(&graph, &[worker("a", 2)], &Options::default(), 3).unwrap_err();
    assert_eq!(
        alone,
        place(&graph, &[worker("a", 2)], &Options::default()).unwrap_err()
    );
}

proptest! {
    #[test]
    fn placements_together_never_overload_a_worker(
        scales in prop::collection::vec(1_u32..5, 1..6),
        capacities in prop::collection::vec(1_u32..20, 1..5),
        pins in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        count in 1_u16..8,
    ) {
        let graph = graph(&scales);
        let workers: Vec<WorkerCapacity> = (0..)
            .zip(&capacities)
            .map(|(index, executors)| worker(&format!("w{index}"), *executors))
            .collect();
        let mut options = Options::default();
        for (node, pin) in pins.iter().enumerate().take(scales.len()) {
            options.fixed.insert(format!("n{node}"), pin.get(&workers).name.clone());
        }
        let alone = place(&graph, &workers, &options);
        match replicate(&graph, &workers, &options, count) {
            Ok(placements) => {
                prop_assert_eq!(placements.len(), usize::from(count));
                for (index, worker) in workers.iter().enumerate() {
                    let demands = placements.iter().map(|one| one.demand(&graph, index));
                    let all = demands.fold(Demand::default(), Demand::plus);
                    prop_assert!(all.executors <= worker.executors, "{:?}", placements);
                }
                for placement in &placements {
                    prop_assert_eq!(placement.workers.len(), graph.node_count());
                    for (node, worker) in &options.fixed {
                        let place = graph.nodes().position(|known| known.name == *node).unwrap();
                        prop_assert_eq!(&workers[placement.workers[place]].name, worker);
                    }
                }
            }
            Err(PlaceError::Replicas { wanted, fit, .. }) => {
                prop_assert_eq!(wanted, count);
                prop_assert!((1..count).contains(&fit));
                prop_assert_eq!(replicate(&graph, &workers, &options, fit).unwrap().len(), usize::from(fit));
            }
            Err(other) => prop_assert_eq!(Err(other), alone),
        }
    }
}
