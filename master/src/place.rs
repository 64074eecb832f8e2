//! Placement: which node runs on which worker. [`place`] is the one way in, whatever partitioner is behind it.
//!
//! A [`Partitioner`] proposes; what it proposes is scored by one cost model and one [estimator](estimate()), and every
//! result is checked against the [limits](WorkerCapacity) by code that no partitioner shares: a placement names a worker
//! for every node, keeps what was fixed and what must be apart, and overloads no one. docs/placement.md explains the methods.

mod bound;
mod capacity;
mod cluster;
mod cost;
mod described;
mod estimate;
mod explain;
mod hot;
mod improve;
mod list;
mod measured;
mod network;
mod pack;
mod published;
mod replicas;
mod room;
mod search;
mod sketch;

pub use bound::{lower_bound_ns, optimum_ns};
pub use capacity::{
    DESCRIBED_CPUS_MAX, DESCRIBED_MEMORY_MIB_MAX, Demand, Overload, Resource, WorkerCapacity,
};
pub use cluster::{ClusterError, ClusterFile};
pub use cost::DISPATCH_NS;
pub use described::{DescribeError, DescribedLinks, describe_links};
pub use explain::{
    Crossing, Crossings, Estimate, Leg, Obstacle, Transfer, Unheld, Wait, WorkerUse, estimate,
    explain,
};
pub(crate) use hot::{Hot, hot};
pub(crate) use improve::{Start, improve};
pub use measured::{MeasuredLink, latency_us_text, median_link, mib_per_s_text};
pub use network::{Link, Network};
pub use published::{Merge, Merges, Refusal, Refused, merges, published_quota_bytes};

pub use replicas::beside;

use crate::graph::Graph;
use capacity::Loads;
use cost::Model;
use engine::plan::NodeId;
use room::Wants;
use rustc_hash::FxHashMap;
use search::Search;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
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

/// How a placement is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Partitioner {
    /// The published baseline: each node on worker `hash(name) mod W`, as far as there is room.
    Hash,
    /// The published greedy grouping.
    Published,
    /// List scheduling by earliest finish.
    Heft,
    /// A local search that begins with [`Heft`](Self::Heft), [`Published`](Self::Published) and [`Hash`](Self::Hash), in this
    /// order, and is not worse than those for which it has steps and time. Of workflows above 10,000 nodes or 1,000,000 edges it
    /// leaves [`Published`](Self::Published) out.
    #[default]
    Default,
}

impl Partitioner {
    /// All, by their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("hash", Self::Hash),
        ("published", Self::Published),
        ("heft", Self::Heft),
        ("default", Self::Default),
    ];

    /// As `--partitioner` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == self)
            .map_or("default", |(name, _)| name)
    }
}

/// How long the default partitioner may search.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Placements that it may score; two dozen rough guesses, or looks at a placement in the making, count as one. The first answer
    /// comes in any case. With the same seed, the same number gives the same result in the same build.
    pub steps: Option<u64>,
    /// Time that it may take; the first answer comes in any case. With neither this nor steps, as many as [`Effort::steps_for`] has.
    pub budget: Option<Duration>,
    /// Where the search's random numbers begin.
    pub seed: u64,
}

impl Effort {
    /// Steps if nothing is said: as many as a second or so on one CPU has time for, by the nodes, edges, items and ways through
    /// switches that a simulation goes through. How fast this machine is does not count.
    #[must_use]
    pub fn steps_for(graph: &Graph, workers: &[WorkerCapacity]) -> u64 {
        search::steps_for(&Model::of(graph, workers, &Network::default(), u64::MAX))
    }

    /// The same with a share of the time, one of so many.
    #[must_use]
    pub fn share(self, of: u32) -> Self {
        Self {
            budget: self.budget.map(|budget| budget / of.max(1)),
            ..self
        }
    }
}

/// What is wanted of a placement, beside the graph.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Options {
    /// Workers, by name, on which nodes, by name, must run.
    pub fixed: BTreeMap<String, String>,
    /// Bytes that payloads between nodes of one worker may have together in an invocation; without it,
    /// [`published_quota_bytes`]. What does not fit is taken to go through a store, at the price of a link.
    pub quota_bytes: Option<u64>,
    /// The method.
    pub partitioner: Partitioner,
    /// How long to search.
    pub effort: Effort,
    /// What lies between workers.
    pub network: Network,
}

impl Options {
    /// What payloads between nodes of one worker may have together.
    fn quota_of(&self, graph: &Graph) -> u64 {
        let published = || published_quota_bytes(graph);
        self.quota_bytes.unwrap_or_else(published)
    }
}

/// How a placement was found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Found {
    /// The expected makespan, in nanoseconds.
    pub makespan_ns: f64,
    /// Until the first good answer was there.
    pub first: Duration,
    /// Until the search ended.
    pub took: Duration,
    /// Placements that were scored, as [`Effort::steps`] counts.
    pub steps: u64,
    /// Whether all placements were tried, or ruled out by a bound, so that none is better.
    pub optimal: bool,
}

/// A worker for every node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    workers: Vec<usize>,
}

impl Placement {
    /// One that is known: the worker of each node, by the nodes' numbers. Whether it keeps any limit is not asked.
    #[must_use]
    pub const fn new(workers: Vec<usize>) -> Self {
        Self { workers }
    }

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
    /// Nodes that are to be apart run together.
    #[error("nodes {node} and {other} are to be apart, but they run together for each item")]
    #[diagnostic(help(
        "take one of them out of the other's `apart`, or let them run over lists of their own"
    ))]
    ApartTogether {
        /// One.
        node: String,
        /// The other.
        other: String,
    },
    /// Nodes that are to be apart were fixed to one worker.
    #[error("nodes {node} and {other} are to be apart, but both are pinned to worker {worker}")]
    #[diagnostic(help("pin one of them elsewhere, or take it out of the other's `apart`"))]
    ApartFixed {
        /// One.
        node: String,
        /// The other.
        other: String,
        /// The worker of both.
        worker: String,
    },
    /// Too few workers for what is to be apart.
    #[error(
        "node {node} is to be apart from {others}, and no worker is left for it: each of the {workers} has one of them, or \
         has no room"
    )]
    #[diagnostic(help("add a worker, or name fewer nodes under `apart`"))]
    Apart {
        /// Which.
        node: String,
        /// From which others.
        others: String,
        /// Workers in all.
        workers: usize,
    },
    /// The nodes together are more than all workers take.
    #[error("the workflow does not fit these workers: {} at least are wanted in all, and they take {}, {} too many", .resource.of(*.wanted), .limit, .wanted - .limit)]
    #[diagnostic(help("{}", total_help(.parts)))]
    Total {
        /// Of what.
        resource: Resource,
        /// What is asked for.
        wanted: u64,
        /// What all workers together can take.
        limit: u64,
        /// Nodes that are divided into so many parts that these alone make it too much; else empty.
        parts: String,
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

/// What to do if all workers together take too little.
fn total_help(parts: &str) -> String {
    if parts.is_empty() {
        return "add a worker, or lower the nodes' `resources`".to_owned();
    }
    format!(
        "each part of a divided node has an executor at least: divide {parts} into fewer parts (`divide`), or add a worker"
    )
}

/// Finds a worker for every node.
///
/// # Errors
/// If there is no worker, if what is fixed or kept apart contradicts itself or names no node or worker, or if a worker would
/// have to start more executors, or more memory, than it can take: then which, and how much is missing.
pub fn place(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<Placement, PlaceError> {
    find(graph, workers, options).map(|(placement, _)| placement)
}

/// The same, and how it was found.
///
/// # Errors
/// As [`place`].
pub fn find(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<(Placement, Found), PlaceError> {
    let began = Instant::now();
    if workers.is_empty() {
        return Err(PlaceError::NoWorkers);
    }
    let fixed = fixed_workers(graph, workers, options)?;
    capacity::check_nodes(graph, workers)?;
    capacity::check_fixed(graph, workers, &fixed)?;
    check_apart(graph, workers, &fixed)?;
    let quota_bytes = options.quota_of(graph);
    let model = Model::of(graph, workers, &options.network, quota_bytes);
    let wants = Wants::of(graph, &model, workers, &fixed);
    let mut search = Search::new(&model, &wants, options.effort, began);
    let settle = |wished: &[u32]| {
        let packed = pack::pack(&wants, workers.len(), wished);
        packed.map_err(|stuck| capacity::why_stuck(graph, &model, workers, &stuck))
    };
    let by_hash = || -> Vec<u32> {
        let units = model.units.iter();
        let hashed =
            units.map(|unit| published::hashed(&graph.node(unit.nodes.start).name, workers.len()));
        hashed.map(|worker| worker as u32).collect()
    };
    let grouped = |deadline: Option<Instant>| {
        let groups = published::group(graph, workers, &fixed, quota_bytes, deadline)?;
        Some(published::settle(&groups, &model, &wants, workers.len()))
    };
    let wished = match options.partitioner {
        Partitioner::Hash => by_hash(),
        Partitioner::Published => grouped(None).unwrap_or_default(),
        Partitioner::Heft | Partitioner::Default => list::heft(&model, &wants).placed,
    };
    search.offer_answer(&settle(&wished)?.placed);
    let first = began.elapsed();
    if search.has_no_choice() {
        search.settle();
    } else if options.partitioner == Partitioner::Default {
        let small = graph.node_count() <= search::PUBLISHED_NODES_MAX
            && graph.edges().len() <= search::PUBLISHED_EDGES_MAX;
        if search.may_go_on()
            && small
            && let Some(wished) = grouped(search.deadline())
        {
            search.offer_answer_wished(&wished);
        }
        if search.may_go_on() {
            search.offer_answer_wished(&by_hash());
        }
        if !search.try_all(search::ALL_MAX) {
            search.try_clusters();
            search.anneal();
        }
    }
    let found = finish(graph, workers, &fixed, &model, search)?;
    let (first, took) = (first, began.elapsed());
    Ok((
        found.0,
        Found {
            first,
            took,
            ..found.1
        },
    ))
}

/// The best that a search has found, and what it came to; its times are not known here.
fn finish(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &[Option<usize>],
    model: &Model,
    search: Search<'_, '_>,
) -> Result<(Placement, Found), PlaceError> {
    let Some(best) = search.into_best() else {
        unreachable!("the first answer was offered");
    };
    let of_unit = |unit: &u32| best.placed[*unit as usize] as usize;
    let placement = Placement {
        workers: model.unit_of.iter().map(of_unit).collect(),
    };
    check(graph, workers, fixed, &placement)?;
    let found = Found {
        makespan_ns: best.score.makespan_ns,
        first: Duration::ZERO,
        took: Duration::ZERO,
        steps: best.steps,
        optimal: best.exhausted,
    };
    Ok((placement, found))
}

/// That a placement keeps all limits: by what workers really start, counted anew.
fn check(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &[Option<usize>],
    placement: &Placement,
) -> Result<(), PlaceError> {
    debug_assert_eq!(placement.workers.len(), graph.node_count());
    capacity::check_all(graph, workers, &placement.workers)?;
    for (node, fixed) in fixed.iter().enumerate() {
        assert!(
            fixed.is_none_or(|fixed| placement.workers[node] == fixed),
            "what is fixed stays"
        );
    }
    for (a, b) in graph.apart() {
        assert_ne!(
            placement.worker(*a),
            placement.worker(*b),
            "what is to be apart is"
        );
    }
    Ok(())
}

/// That what is to be apart can be, as far as it is fixed or bound together.
fn check_apart(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &[Option<usize>],
) -> Result<(), PlaceError> {
    for (a, b) in graph.apart() {
        let (first, second) = (graph.node(*a), graph.node(*b));
        if first.together.is_some() && first.together == second.together {
            return Err(PlaceError::ApartTogether {
                node: first.name.clone(),
                other: second.name.clone(),
            });
        }
        if let (Some(worker), Some(other)) = (fixed[*a as usize], fixed[*b as usize])
            && worker == other
        {
            return Err(PlaceError::ApartFixed {
                node: first.name.clone(),
                other: second.name.clone(),
                worker: workers[worker].name.clone(),
            });
        }
    }
    Ok(())
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
    let mut ids: FxHashMap<&str, usize> = FxHashMap::default();
    if !options.fixed.is_empty() {
        // Of parts of a node, which have its name, the first.
        for (id, known) in graph.nodes().enumerate() {
            ids.entry(&known.name).or_insert(id);
        }
    }
    for (node, worker) in &options.fixed {
        let id = *ids
            .get(node.as_str())
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
