//! Placement: which node runs on which worker. [`place`] is the one way in, whatever partitioner is behind it.
//!
//! This file owns what a worker can take and checks every result against it, so that a partitioner may be greedy but
//! not wrong: a placement names a worker for every node, keeps what was fixed, and overloads no one. The tier that a
//! payload takes follows from the placement, and is left to the engines.

mod capacity;
mod published;
mod replicas;

pub use capacity::{Demand, Overload, Resource, WorkerCapacity};

pub use replicas::replicate;

use crate::graph::Graph;
use capacity::Loads;
use engine::plan::NodeId;
use std::collections::BTreeMap;
use thiserror::Error;

/// Executors that a worker takes for each of its CPUs.
///
/// The published system fills 0.8 of 120 containers on 8 cores, 12 a core; its functions spend their time waiting for a
/// database. Ours compute on memory that is already there: one that runs and one that is ready keep a CPU busy.
pub const EXECUTORS_PER_CPU: u32 = 2;

/// What of a worker's memory is for executors, in bytes. The other half it keeps for what arrives from clients and
/// peers; see its `--memory`.
#[must_use]
pub const fn executor_memory_bytes(memory_bytes: u64) -> u64 {
    memory_bytes / 2
}

/// What is wanted of a placement, beside the graph.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Options {
    /// Workers, by name, on which nodes, by name, must run.
    pub fixed: BTreeMap<String, String>,
    /// Bytes that payloads between nodes of one worker may have together; without it, 0.8 of the memory that the
    /// nodes ask for, as published.
    pub quota_bytes: Option<u64>,
}

/// A worker for every node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    workers: Vec<usize>,
}

impl Placement {
    /// The worker of a node, as its place among those given to [`place`].
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn worker(&self, node: NodeId) -> usize {
        self.workers[node as usize]
    }

    /// The worker of each node, by the nodes' numbers.
    #[must_use]
    pub fn workers(&self) -> &[usize] {
        &self.workers
    }

    /// What one worker must start for its part.
    #[must_use]
    pub fn demand(&self, graph: &Graph, worker: usize) -> Demand {
        Loads::of(graph, &self.workers, worker + 1).demand(worker)
    }
}

/// Why there is no placement.
#[derive(Clone, PartialEq, Eq, Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum PlaceError {
    /// Nowhere to go.
    #[error("there is no worker to place nodes on")]
    #[diagnostic(help("name one at least: --workers HOST:PORT"))]
    NoWorkers,
    /// A node was fixed that is not there.
    #[error("node {node} is to be pinned, but the workflow has no such node")]
    #[diagnostic(help("{instead}"))]
    FixedNode {
        /// Which.
        node: String,
        /// Those that are there, or what was probably meant.
        instead: String,
    },
    /// A node was fixed to a worker that is not there.
    #[error("node {node} is to be pinned to worker {worker}, which is none of --workers")]
    #[diagnostic(help("{instead}"))]
    FixedWorker {
        /// Which node.
        node: String,
        /// Which worker.
        worker: String,
        /// Those that are there, or what was probably meant.
        instead: String,
    },
    /// A node that is too large for every worker.
    #[error("node {node} fits no worker: {overload}")]
    #[diagnostic(help("lower its `resources`, or give a worker more CPUs or memory"))]
    Node {
        /// Which.
        node: String,
        /// What the roomiest worker lacks.
        overload: Overload,
    },
    /// The nodes of a region, which run on one worker, are too large for every one.
    #[error("nodes {nodes} run together for each item, and fit no worker: {overload}")]
    #[diagnostic(help(
        "lower their `resources`, give a worker more CPUs or memory, or give a `foreach` among them a `batch`, so \
         that it can run elsewhere"
    ))]
    Region {
        /// Which.
        nodes: String,
        /// What the roomiest worker lacks.
        overload: Overload,
    },
    /// Nodes of a region were fixed to different workers.
    #[error(
        "node {node} is pinned to worker {worker} and node {other} to worker {other_worker}, but they run together for each item"
    )]
    #[diagnostic(help(
        "pin one of them, or both to one worker: it counts for all that run together with it"
    ))]
    FixedApart {
        /// One.
        node: String,
        /// Its worker.
        worker: String,
        /// Another one.
        other: String,
        /// The other's worker.
        other_worker: String,
    },
    /// The nodes together are too large.
    #[error("the workflow does not fit these workers: {overload}")]
    #[diagnostic(help("add a worker, or lower the nodes' `resources`"))]
    Workflow {
        /// What a worker lacks, with the best that was found.
        overload: Overload,
    },
    /// There is no room for as many placements beside each other.
    #[error("{wanted} placements are wanted, and {fit} fit these workers: of the next, {why}")]
    #[diagnostic(help(
        "ask for {fit} with --replicas {fit}, add a worker, or lower the nodes' `resources`: each placement has executors \
         and memory of its own, and those of a version that still serves count too"
    ))]
    Replicas {
        /// How many.
        wanted: u16,
        /// How many find room, one after the other.
        fit: u16,
        /// Why one more does not.
        why: Box<PlaceError>,
    },
    /// What was fixed to a worker is too large for it.
    #[error("what is pinned does not fit: {overload}")]
    #[diagnostic(help("pin fewer nodes to that worker"))]
    Fixed {
        /// What the worker lacks.
        overload: Overload,
    },
}

/// Finds a worker for every node.
///
/// The partitioner is the published greedy one. Where it leaves a worker with more than it can take, its groups are
/// moved; if there is no room either, the placement is refused.
///
/// # Errors
/// If there is no worker, if what is fixed names no node or worker, or if a worker would have to start more executors,
/// or more memory, than it can take: then which, and how much is missing.
pub fn place(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<Placement, PlaceError> {
    if workers.is_empty() {
        return Err(PlaceError::NoWorkers);
    }
    let fixed = fixed_workers(graph, workers, options)?;
    capacity::check_nodes(graph, workers)?;
    capacity::check_fixed(graph, workers, &fixed)?;
    let groups = published::group(graph, workers, &fixed, options.quota_bytes);
    let placed = capacity::settle(graph, workers, groups)?;
    debug_assert_eq!(placed.len(), graph.node_count());
    Ok(Placement { workers: placed })
}

/// The worker to which each node is fixed.
fn fixed_workers(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<Vec<Option<usize>>, PlaceError> {
    let mut fixed = vec![None; graph.node_count()];
    let nodes = || graph.nodes().map(|known| known.name.as_str()).collect();
    let all = || workers.iter().map(|known| known.name.as_str()).collect();
    let instead = |name: &str, known: Vec<&str>, are: &str| {
        engine::nearest::instead(name, &known, are, "there are none")
    };
    for (node, worker) in &options.fixed {
        let id = graph
            .nodes()
            .position(|known| known.name == *node)
            .ok_or_else(|| PlaceError::FixedNode {
                node: node.clone(),
                instead: instead(node, nodes(), "its nodes are"),
            })?;
        let place = workers.iter().position(|known| known.name == *worker);
        fixed[id] = Some(place.ok_or_else(|| PlaceError::FixedWorker {
            node: node.clone(),
            worker: worker.clone(),
            instead: instead(worker, all(), "the workers are"),
        })?);
    }
    fix_together(graph, workers, &mut fixed)?;
    Ok(fixed)
}

/// Fixes all nodes of a region where one of them is.
fn fix_together(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &mut [Option<usize>],
) -> Result<(), PlaceError> {
    let name = |node: usize| graph.node(node as NodeId).name.clone();
    for unit in graph.units() {
        let Some((first, worker)) = unit.clone().find_map(|node| Some((node, fixed[node]?))) else {
            continue;
        };
        for node in unit {
            match fixed[node] {
                Some(other) if other != worker => {
                    return Err(PlaceError::FixedApart {
                        node: name(first),
                        worker: workers[worker].name.clone(),
                        other: name(node),
                        other_worker: workers[other].name.clone(),
                    });
                }
                _ => fixed[node] = Some(worker),
            }
        }
    }
    Ok(())
}

/// Names that a message lists; with more, the others are counted.
const LISTED_MAX: usize = 12;

pub(crate) fn names<'a>(all: impl ExactSizeIterator<Item = &'a str>) -> String {
    let further = all.len().saturating_sub(LISTED_MAX);
    let listed: Vec<&str> = all.take(LISTED_MAX).collect();
    if further > 0 {
        format!("{} and {further} more", listed.join(", "))
    } else {
        listed.join(", ")
    }
}

#[cfg(test)]
mod tests;
