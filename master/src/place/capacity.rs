//! What a worker can take, and what nodes ask of it.
//!
//! A worker really starts one pool for each executable, as wide as its widest node: that is what it must have room
//! for. Partitioners may count more carefully, node by node, as the published one does.

use super::cost::Model;
use super::pack::Stuck;
use super::{EXECUTORS_PER_CPU, PlaceError};
use crate::graph::{Graph, GraphNode};
use rustc_hash::FxHashMap;
use std::fmt;

/// Most CPUs of a worker that is described, and not asked.
pub const DESCRIBED_CPUS_MAX: u32 = 4096;
/// Most memory of one, in MiB: 64 TiB.
pub const DESCRIBED_MEMORY_MIB_MAX: u64 = 1 << 26;

/// What a worker can take.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerCapacity {
    /// Its name.
    pub name: String,
    /// CPUs that its executors share.
    pub cpus: u32,
    /// Lanes; an invocation lives on one of them, which has its part of the executors.
    pub lanes: u8,
    /// How fast it runs what a worker of speed 1 runs in the time that profiles say.
    pub speed: f64,
    /// Executors; one whose activations keep several CPUs busy counts as so many.
    pub executors: u32,
    /// Memory for them, in MiB.
    pub memory_mib: u64,
}

impl WorkerCapacity {
    /// The capacity of a worker with so many CPUs and so much memory not yet reserved.
    #[must_use]
    pub fn new(name: impl Into<String>, cpus: u32, memory_bytes: u64) -> Self {
        Self {
            name: name.into(),
            cpus,
            lanes: 1,
            speed: 1.0,
            executors: cpus.saturating_mul(EXECUTORS_PER_CPU),
            memory_mib: memory_bytes >> 20,
        }
    }

    /// The most that it can start.
    #[must_use]
    pub const fn limits(&self) -> Demand {
        Demand {
            executors: self.executors,
            memory_mib: self.memory_mib,
        }
    }
}

/// What is to be started on a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// Executors.
    pub executors: u32,
    /// Memory for them, in MiB.
    pub memory_mib: u64,
}

impl Demand {
    /// What a node asks for by itself.
    #[must_use]
    pub fn of_node(node: &GraphNode) -> Self {
        Self {
            executors: node.slots,
            memory_mib: u64::from(node.scale) * u64::from(node.memory_mib),
        }
    }

    /// What is left without the other, which is part of it.
    #[must_use]
    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            executors: self.executors.saturating_sub(other.executors),
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            executors: self.executors.saturating_add(other.executors),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
        }
    }
}

/// Of what a worker has not enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Executors, counted against CPUs.
    Executors,
    /// Memory, in MiB.
    MemoryMib,
}

impl Resource {
    /// It in a word that stays the same.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executors => "executors",
            Self::MemoryMib => "memory_mib",
        }
    }

    /// So much of it, in words.
    #[must_use]
    pub fn of(self, amount: u64) -> String {
        match self {
            Self::Executors => format!("{amount} executors"),
            Self::MemoryMib => format!("{amount} MiB"),
        }
    }
}

/// A worker that would have to start more than it can.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overload {
    /// Which worker.
    pub worker: String,
    /// Of what.
    pub resource: Resource,
    /// What is asked for.
    pub wanted: u64,
    /// What it can take.
    pub limit: u64,
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            worker,
            resource,
            wanted,
            limit,
        } = self;
        let over = wanted - limit;
        match resource {
            Resource::Executors => write!(
                f,
                "{wanted} executors are wanted where worker {worker} takes {limit} ({EXECUTORS_PER_CPU} for each of \
                 its CPUs), {over} too many"
            ),
            Resource::MemoryMib => {
                write!(
                    f,
                    "{wanted} MiB are wanted where worker {worker} has {limit} MiB left, {over} MiB too many"
                )
            }
        }
    }
}

pub(super) fn overload(demand: Demand, worker: &WorkerCapacity) -> Option<Overload> {
    let (resource, wanted, limit) = if demand.executors > worker.executors {
        (
            Resource::Executors,
            u64::from(demand.executors),
            u64::from(worker.executors),
        )
    } else if demand.memory_mib > worker.memory_mib {
        (Resource::MemoryMib, demand.memory_mib, worker.memory_mib)
    } else {
        return None;
    };
    Some(Overload {
        worker: worker.name.clone(),
        resource,
        wanted,
        limit,
    })
}

/// The executors of one executable on a worker: as many, and as large, as any of its nodes wants; of a divided node, all parts
/// that are there together.
#[derive(Clone, Default)]
struct Pool {
    scale: u32,
    slots: u32,
    memory_mib: u32,
    /// By divided node: executors that its parts want, and as how many those count.
    parts: FxHashMap<usize, (u32, u32)>,
}

/// The pools of each worker.
pub(super) struct Loads<'g> {
    pools: Vec<FxHashMap<&'g str, Pool>>,
}

impl<'g> Loads<'g> {
    fn none(workers: usize) -> Self {
        Self {
            pools: vec![FxHashMap::default(); workers],
        }
    }

    /// The pools of nodes on these workers; a node elsewhere counts nowhere.
    pub(super) fn of(graph: &'g Graph, placed: &[usize], workers: usize) -> Self {
        let mut loads = Self::none(workers);
        for (node, worker) in graph.nodes().zip(placed) {
            if *worker < workers {
                loads.add(node, *worker);
            }
        }
        loads
    }

    fn add(&mut self, node: &'g GraphNode, worker: usize) {
        let Some(executable) = &node.executable else {
            return;
        };
        let pool = self.pools[worker].entry(executable).or_default();
        let (mut scale, mut slots) = (node.scale, node.slots);
        if node.part.is_some() {
            let parts = pool.parts.entry(node.defined).or_default();
            *parts = (parts.0 + scale, parts.1 + slots);
            (scale, slots) = *parts;
        }
        pool.scale = pool.scale.max(scale);
        pool.slots = pool.slots.max(slots);
        pool.memory_mib = pool.memory_mib.max(node.memory_mib);
    }

    pub(super) fn demand(&self, worker: usize) -> Demand {
        self.pools[worker]
            .values()
            .fold(Demand::default(), |sum, pool| {
                sum.plus(Demand {
                    executors: pool.slots,
                    memory_mib: u64::from(pool.scale) * u64::from(pool.memory_mib),
                })
            })
    }

    /// What a worker would have to start with these nodes too, none of which is in parts.
    pub(super) fn demand_with(&self, nodes: &[GraphNode], worker: usize) -> Demand {
        let known = &self.pools[worker];
        let mut pools: FxHashMap<&str, Pool> = FxHashMap::default();
        for node in nodes {
            if let Some(executable) = node.executable.as_deref() {
                let pool = known.get(executable).cloned();
                pools.insert(executable, pool.unwrap_or_default());
            }
        }
        let mut changed = Loads { pools: vec![pools] };
        let before = changed.demand(0);
        nodes.iter().for_each(|node| changed.add(node, 0));
        self.demand(worker).minus(before).plus(changed.demand(0))
    }

    /// What one worker would have to start for these nodes alone.
    fn demand_of(nodes: &[&'g GraphNode]) -> Demand {
        let mut one = Self::none(1);
        for node in nodes {
            one.add(node, 0);
        }
        one.demand(0)
    }
}

/// That each node, and all nodes of each region, fit some worker by themselves.
pub(super) fn check_nodes(graph: &Graph, workers: &[WorkerCapacity]) -> Result<(), PlaceError> {
    let nodes: Vec<&GraphNode> = graph.nodes().collect();
    let single = nodes.chunks(1);
    let units = graph.units();
    let several = units.iter().filter(|unit| unit.len() > 1);
    let several = several.map(|unit| &nodes[unit.clone()]);
    for unit in single.chain(several) {
        let demand = Loads::demand_of(unit);
        let lacks = workers.iter().map(|worker| overload(demand, worker));
        // The message names the worker that comes closest, by the share of what is wanted that it has.
        let least = lacks.collect::<Option<Vec<Overload>>>().and_then(|lacks| {
            lacks.into_iter().max_by_key(|lack| {
                let limit = u128::from(lack.limit) << 20;
                limit.checked_div(lack.wanted.into()).unwrap_or(0)
            })
        });
        if let Some(overload) = least {
            let named = || super::names(unit.iter().map(|node| node.name.as_str()));
            return Err(match unit {
                [node] => PlaceError::Node {
                    node: node.name.clone(),
                    overload,
                },
                _ => PlaceError::Region {
                    nodes: named(),
                    overload,
                },
            });
        }
    }
    Ok(())
}

/// That what is fixed to a worker fits it.
pub(super) fn check_fixed(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &[Option<usize>],
) -> Result<(), PlaceError> {
    let placed: Vec<usize> = fixed
        .iter()
        .map(|worker| worker.unwrap_or(usize::MAX))
        .collect();
    let loads = Loads::of(graph, &placed, workers.len());
    for (index, worker) in workers.iter().enumerate() {
        if let Some(overload) = overload(loads.demand(index), worker) {
            return Err(PlaceError::Fixed { overload });
        }
    }
    Ok(())
}

/// That what all nodes want fits their workers.
pub(super) fn check_all(
    graph: &Graph,
    workers: &[WorkerCapacity],
    placed: &[usize],
) -> Result<(), PlaceError> {
    let loads = Loads::of(graph, placed, workers.len());
    for (index, worker) in workers.iter().enumerate() {
        if let Some(overload) = overload(loads.demand(index), worker) {
            return Err(PlaceError::Workflow { overload });
        }
    }
    Ok(())
}

/// Why there was no room for a unit.
pub(super) fn why_stuck(
    graph: &Graph,
    model: &Model,
    workers: &[WorkerCapacity],
    stuck: &Stuck<'_>,
) -> PlaceError {
    if let Some(error) = total(graph, workers) {
        return error;
    }
    let nodes = model.units[stuck.unit as usize].nodes.clone();
    let lacks: Vec<Option<Demand>> = (0..workers.len() as u32)
        .map(|worker| stuck.room.lack(stuck.unit, worker))
        .collect();
    if lacks.iter().any(Option::is_none) {
        let mut others: Vec<&str> = graph
            .apart()
            .iter()
            .filter_map(|(a, b)| match (nodes.contains(a), nodes.contains(b)) {
                (true, false) => Some(graph.node(*b).name.as_str()),
                (false, true) => Some(graph.node(*a).name.as_str()),
                _ => None,
            })
            .collect();
        others.sort_unstable();
        // A divided node is there once for each of its parts.
        others.dedup();
        return PlaceError::Apart {
            node: graph.node(nodes.start).name.clone(),
            others: super::names(others.into_iter()),
            workers: workers.len(),
        };
    }
    let lacks = workers.iter().zip(lacks);
    let lacks = lacks.filter_map(|(worker, demand)| overload(demand?, worker));
    match lacks.min_by_key(|lack| lack.wanted - lack.limit) {
        Some(overload) => PlaceError::Workflow { overload },
        None => unreachable!("each worker lacks something"),
    }
}

/// What all nodes together want at least, wherever they are, if that is more than all workers take.
fn total(graph: &Graph, workers: &[WorkerCapacity]) -> Option<PlaceError> {
    let nodes: Vec<&GraphNode> = graph.nodes().collect();
    let wanted = least_in_all(graph);
    let all = workers.iter().map(WorkerCapacity::limits);
    let limits = all.fold(Demand::default(), Demand::plus);
    let (resource, wanted, limit) = if wanted.executors > limits.executors {
        let (wanted, limit) = (wanted.executors, limits.executors);
        (Resource::Executors, u64::from(wanted), u64::from(limit))
    } else if wanted.memory_mib > limits.memory_mib {
        (Resource::MemoryMib, wanted.memory_mib, limits.memory_mib)
    } else {
        return None;
    };
    Some(PlaceError::Total {
        resource,
        wanted,
        limit,
        parts: parts_to_blame(&nodes, limits),
    })
}

/// The divided nodes of which all parts have one executor, which is the least, if all would fit these limits but for their number.
fn parts_to_blame(nodes: &[&GraphNode], limits: Demand) -> String {
    let mut widest: FxHashMap<usize, u32> = FxHashMap::default();
    for node in nodes.iter().filter(|node| node.part.is_some()) {
        let widest = widest.entry(node.defined).or_default();
        *widest = node.scale.max(*widest);
    }
    let is_split = |node: &GraphNode| widest.get(&node.defined) == Some(&1);
    let is_first = |node: &GraphNode| node.part.is_none_or(|part| part.number == 0);
    let whole = nodes.iter().copied();
    let whole: Vec<&GraphNode> = whole
        .filter(|node| !is_split(node) || is_first(node))
        .collect();
    let wanted = Loads::demand_of(&whole);
    if wanted.executors > limits.executors || wanted.memory_mib > limits.memory_mib {
        return String::new();
    }
    let split = whole.into_iter().filter(|node| is_split(node));
    let names: Vec<&str> = split.map(|node| node.name.as_str()).collect();
    super::names(names.into_iter())
}

/// What no placement wants less than, on all workers together. The executors of an executable are the fewest on one worker, since
/// its nodes share them there. Its memory is not: apart, each pool is as wide and as large as its own nodes want. But somewhere the
/// node is that wants the most; and of parts of a node, each adds to what is wanted.
fn least_in_all(graph: &Graph) -> Demand {
    let everything = vec![0; graph.node_count()];
    let together = Loads::of(graph, &everything, 1);
    let mut memory_mib: FxHashMap<(&str, Option<usize>), u64> = FxHashMap::default();
    for node in graph.nodes() {
        let Some(executable) = &node.executable else {
            continue;
        };
        let wanted = Demand::of_node(node).memory_mib;
        let part = node.part.map(|_| node.defined);
        let known = memory_mib.entry((executable, part)).or_default();
        *known = match part {
            Some(_) => known.saturating_add(wanted),
            None => wanted.max(*known),
        };
    }
    let mut largest: FxHashMap<&str, u64> = FxHashMap::default();
    for ((executable, _), wanted) in memory_mib {
        let known = largest.entry(executable).or_default();
        *known = wanted.max(*known);
    }
    Demand {
        executors: together.demand(0).executors,
        memory_mib: largest.into_values().fold(0, u64::saturating_add),
    }
}
