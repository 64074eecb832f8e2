//! Workers for a graph: so many that it needs several of them.
//!
//! Together they take half as much again as the graph wants, so that none takes all of it; more, if its nodes are so large
//! that there is no way to part them among so little room. They have the published shape, twelve executors for each CPU.
//! Unlike ones differ in speed, in size, and in the links between them.

use master::graph::{Graph, GraphNode};
use master::place::{Demand, Link, Network, Options, Partitioner, WorkerCapacity, place};
use master::random::Random;
use std::collections::BTreeMap;

/// What all workers together take, of what the graph wants.
const ROOM: f64 = 1.5;
/// By how much that grows until there is a way, and where it ends.
const ROOM_STEP: f64 = 0.25;
const ROOM_MAX: f64 = 3.0;
/// The most that one of several workers takes of it.
const ONE_MAX: f64 = 0.9;
/// Executors for each CPU: the published 0.8 of 120 containers on 8 cores.
const EXECUTORS_PER_CPU: u32 = 12;
/// What unlike workers are drawn from: how large, how fast.
const SIZES: [f64; 5] = [0.5, 0.75, 1.0, 1.5, 2.0];
const SPEEDS: [f64; 4] = [0.5, 1.0, 1.0, 2.0];
/// And their links: bytes a second over [`Link::DEFAULT`]'s, and latency in microseconds.
const BANDWIDTHS: [f64; 4] = [0.2, 0.5, 1.0, 4.0];
const LATENCIES_US: [f64; 3] = [50.0, 100.0, 500.0];

/// Whether the workers of a cluster are alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// All alike, and so are the links between them.
    Alike,
    /// Each has a size and speed of its own, each pair a link of its own.
    Unlike,
}

impl Kind {
    /// What the workers of a generated graph are: a third of all clusters has some that differ. It depends on the graph's name
    /// and on their number alone, so that a row is made again by what it says, whatever else is measured with it.
    #[must_use]
    pub fn of(graph: &str, workers: usize) -> Self {
        let text = format!("{graph} on {workers}");
        let drawn = text.bytes().fold(0, |seed, byte| {
            let seed: u64 = seed ^ u64::from(byte);
            Random::new(seed).next()
        });
        if drawn % 3 == 2 {
            Self::Unlike
        } else {
            Self::Alike
        }
    }
}

/// Workers and what lies between them.
#[derive(Clone, PartialEq, Debug)]
pub struct Cluster {
    /// In order.
    pub workers: Vec<WorkerCapacity>,
    /// By their places.
    pub network: Network,
    /// Whether they are alike.
    pub kind: Kind,
}

impl Cluster {
    /// So many workers, at least 1, for a graph. The seed draws what is unlike.
    #[must_use]
    pub fn for_graph(graph: &Graph, count: usize, kind: Kind, seed: u64) -> Self {
        let mut room = ROOM;
        loop {
            let cluster = Self::with_room(graph, count, kind, seed, room);
            let options = Options {
                partitioner: Partitioner::Hash,
                ..Options::default()
            };
            if room >= ROOM_MAX || place(graph, &cluster.workers, &options).is_ok() {
                return cluster;
            }
            room += ROOM_STEP;
        }
    }

    fn with_room(graph: &Graph, count: usize, kind: Kind, seed: u64, room: f64) -> Self {
        let mut random = Random::new(seed ^ 0x636c_7573_7465_7273);
        let wanted = wanted(graph.nodes());
        let nodes: Vec<&GraphNode> = graph.nodes().collect();
        let units = graph.units().into_iter();
        let units = units.map(|unit| self::wanted(nodes[unit].iter().copied()));
        let largest = units.fold(Demand::default(), |largest, unit| Demand {
            executors: largest.executors.max(unit.executors),
            memory_mib: largest.memory_mib.max(unit.memory_mib),
        });
        let widest_cpus = nodes.iter().map(|node| node.cpus).max().unwrap_or(1);
        let mut sizes = vec![1.0; count];
        if kind == Kind::Unlike {
            sizes.fill_with(|| SIZES[random.below(SIZES.len())]);
        }
        let sum: f64 = sizes.iter().sum();
        let workers = sizes.iter().enumerate().map(|(index, size)| {
            let share = room * size / sum;
            let share = if count > 1 { share.min(ONE_MAX) } else { share };
            let executors = (f64::from(wanted.executors) * share).ceil() as u32;
            let executors = executors.max(largest.executors);
            let memory_mib = (wanted.memory_mib as f64 * share).ceil() as u64;
            WorkerCapacity {
                name: format!("worker-{index}"),
                cpus: executors
                    .div_ceil(EXECUTORS_PER_CPU)
                    .max(widest_cpus)
                    .max(1),
                lanes: 1,
                speed: match kind {
                    Kind::Alike => 1.0,
                    Kind::Unlike => SPEEDS[random.below(SPEEDS.len())],
                },
                executors,
                memory_mib: memory_mib.max(largest.memory_mib),
            }
        });
        let workers: Vec<WorkerCapacity> = workers.collect();
        Self {
            network: network(count, kind, &mut random),
            workers,
            kind,
        }
    }

    /// Whether one of the workers takes the whole graph.
    #[must_use]
    pub fn fits_one_worker(&self, graph: &Graph) -> bool {
        let wanted = wanted(graph.nodes());
        self.workers.iter().any(|worker| {
            worker.executors >= wanted.executors && worker.memory_mib >= wanted.memory_mib
        })
    }
}

fn network(count: usize, kind: Kind, random: &mut Random) -> Network {
    let mut network = Network::default();
    if kind == Kind::Alike {
        return network;
    }
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            let bandwidth = BANDWIDTHS[random.below(BANDWIDTHS.len())];
            let link = Link {
                bytes_per_s: Link::DEFAULT.bytes_per_s * bandwidth,
                latency_ns: LATENCIES_US[random.below(LATENCIES_US.len())] * 1e3,
            };
            network.set(from, to, link);
        }
    }
    network
}

/// What nodes want of one worker: for each executable a pool that is as wide, and as large, as any of its nodes wants.
pub(super) fn wanted<'g>(nodes: impl Iterator<Item = &'g GraphNode>) -> Demand {
    let mut pools: BTreeMap<&str, (u32, u32, u32)> = BTreeMap::new();
    for node in nodes {
        let Some(executable) = &node.executable else {
            continue;
        };
        let pool = pools.entry(executable).or_default();
        pool.0 = pool.0.max(node.slots);
        pool.1 = pool.1.max(node.scale);
        pool.2 = pool.2.max(node.memory_mib);
    }
    let pools = pools.into_values();
    pools.fold(Demand::default(), |sum, (slots, scale, memory_mib)| {
        sum.plus(Demand {
            executors: slots,
            memory_mib: u64::from(scale) * u64::from(memory_mib),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::graphs::{Family, Wanted, generate};
    use super::*;

    #[test]
    fn no_workflow_of_several_units_fits_one_of_several_workers_and_all_fit_together() {
        let mut unlike = 0;
        for (seed, nodes) in [10, 30, 100].into_iter().enumerate() {
            for (_, family) in Family::ALL {
                let seed = seed as u64;
                let graph = generate(&Wanted {
                    family,
                    nodes,
                    ccr: 1.0,
                    seed,
                });
                for count in [2, 4, 8, 16, 32] {
                    for kind in [Kind::Alike, Kind::Unlike] {
                        let cluster = Cluster::for_graph(&graph, count, kind, seed);
                        assert_eq!(cluster.workers.len(), count);
                        assert!(
                            !cluster.fits_one_worker(&graph),
                            "{family:?} {nodes} {count}"
                        );
                        let options = Options {
                            partitioner: Partitioner::Hash,
                            network: cluster.network.clone(),
                            ..Options::default()
                        };
                        let placed = place(&graph, &cluster.workers, &options);
                        assert!(placed.is_ok(), "{family:?} {nodes} {count}: {placed:?}");
                        let differ = cluster.workers.windows(2).any(|pair| {
                            (pair[0].executors, pair[0].speed) != (pair[1].executors, pair[1].speed)
                        });
                        unlike += usize::from(differ);
                        assert!(!differ || kind == Kind::Unlike);
                    }
                }
            }
        }
        assert!(unlike > 40, "{unlike} of 60 clusters have unlike workers");
    }

    #[test]
    fn a_third_of_all_graphs_gets_unlike_workers_on_any_number_of_them() {
        for workers in [2, 3, 4, 8, 16, 32] {
            let names = (0..900).map(|seed| format!("layered-30-ccr1-seed{seed}"));
            let unlike = names.filter(|name| Kind::of(name, workers) == Kind::Unlike);
            let unlike = unlike.count();
            assert!((250..350).contains(&unlike), "{unlike} on {workers}");
        }
    }

    #[test]
    fn one_worker_takes_all() {
        let graph = generate(&Wanted {
            family: Family::OutTree,
            nodes: 20,
            ccr: 1.0,
            seed: 1,
        });
        assert!(Cluster::for_graph(&graph, 1, Kind::Alike, 0).fits_one_worker(&graph));
    }
}
