//! What a worker can take, and what nodes ask of it.
//!
//! A worker really starts one pool for each executable, as wide as its widest node: that is what it must have room
//! for. Partitioners may count more carefully, node by node, as the published one does.

use super::published::Group;
use super::{EXECUTORS_PER_CPU, PlaceError};
use crate::graph::{Graph, GraphNode};
use rustc_hash::FxHashMap;
use std::fmt;

/// What a worker can take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerCapacity {
    /// Its name.
    pub name: String,
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
            executors: cpus.saturating_mul(EXECUTORS_PER_CPU),
            memory_mib: memory_bytes >> 20,
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

fn overload(demand: Demand, worker: &WorkerCapacity) -> Option<Overload> {
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

    fn demand_with(&self, worker: usize, nodes: impl Iterator<Item = &'g GraphNode>) -> Demand {
        let mut one = Self {
            pools: vec![self.pools[worker].clone()],
        };
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
        let demand = Loads::none(1).demand_with(0, unit.iter().copied());
        let lacks = workers.iter().map(|worker| overload(demand, worker));
        // The message names the worker that comes closest, by the share of what is wanted that it has.
        let least = lacks.collect::<Option<Vec<Overload>>>().and_then(|lacks| {
            lacks
                .into_iter()
                .max_by_key(|lack| (lack.limit << 20).checked_div(lack.wanted).unwrap_or(0))
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

/// The workers of a grouping, with groups moved away from workers that are overloaded. Three ways are tried, each more
/// willing to pack than the one before: as the groups are if node by node nothing is overloaded; moved so that this
/// holds; moved so that the pools, which are what is really started, fit.
pub(super) fn settle(
    graph: &Graph,
    workers: &[WorkerCapacity],
    groups: Vec<Group>,
) -> Result<Vec<usize>, PlaceError> {
    if let Some(groups) = move_apart(workers, &groups) {
        return Ok(workers_of(graph, &groups));
    }
    let placed = workers_of(graph, &groups);
    let loads = Loads::of(graph, &placed, workers.len());
    if workers
        .iter()
        .enumerate()
        .all(|(index, worker)| overload(loads.demand(index), worker).is_none())
    {
        return Ok(placed);
    }
    pack(graph, workers, &groups)
}

fn workers_of(graph: &Graph, groups: &[Group]) -> Vec<usize> {
    let mut placed = vec![usize::MAX; graph.node_count()];
    for group in groups {
        for node in &group.nodes {
            placed[*node] = group.worker;
        }
    }
    placed
}

/// Moves groups from workers that their demands, added up, overload: the largest that is free to go first, to the
/// worker that it fills best. `None` if that does not help.
fn move_apart(workers: &[WorkerCapacity], groups: &[Group]) -> Option<Vec<Group>> {
    let mut groups = groups.to_vec();
    let mut sums = vec![Demand::default(); workers.len()];
    for group in &groups {
        sums[group.worker] = sums[group.worker].plus(group.demand);
    }
    for from in 0..workers.len() {
        let mut movable: Vec<usize> = (0..groups.len())
            .filter(|index| groups[*index].worker == from && !groups[*index].fixed)
            .collect();
        movable.sort_by_key(|index| {
            std::cmp::Reverse((
                groups[*index].demand.executors,
                groups[*index].demand.memory_mib,
            ))
        });
        let mut movable = movable.into_iter();
        while overload(sums[from], &workers[from]).is_some() {
            let index = movable.next()?;
            let demand = groups[index].demand;
            let fits = (0..workers.len())
                .filter(|to| {
                    *to != from && overload(sums[*to].plus(demand), &workers[*to]).is_none()
                })
                .min_by_key(|to| workers[*to].executors - sums[*to].executors);
            if let Some(to) = fits {
                sums[from].executors -= demand.executors;
                sums[from].memory_mib -= demand.memory_mib;
                sums[to] = sums[to].plus(demand);
                groups[index].worker = to;
            }
        }
    }
    Some(groups)
}

/// Places groups anew by what workers really start: fixed ones, then the others, the largest first, each where the
/// least room remains; a group that fits nowhere is placed node by node, but those of one region together.
fn pack(
    graph: &Graph,
    workers: &[WorkerCapacity],
    groups: &[Group],
) -> Result<Vec<usize>, PlaceError> {
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by_key(|group| (!group.fixed, std::cmp::Reverse(group.demand.executors)));
    let mut loads = Loads::none(workers.len());
    let mut placed = vec![usize::MAX; graph.node_count()];
    let all: Vec<&GraphNode> = graph.nodes().collect();
    for group in order {
        let whole: Vec<&[usize]> = vec![&group.nodes];
        let apart = |a: &usize, b: &usize| all[*a].runs_with(all[*b]);
        let single: Vec<&[usize]> = group.nodes.chunk_by(apart).collect();
        let fixed = group.fixed.then_some(group.worker);
        let parts = if fixed.is_some() || best_fit(&loads, workers, &all, &group.nodes).is_ok() {
            whole
        } else {
            single
        };
        for part in parts {
            let worker = match fixed {
                Some(worker) => worker,
                None => best_fit(&loads, workers, &all, part)
                    .map_err(|overload| PlaceError::Workflow { overload })?,
            };
            for node in part {
                loads.add(all[*node], worker);
                placed[*node] = worker;
            }
        }
    }
    for (index, worker) in workers.iter().enumerate() {
        if let Some(overload) = overload(loads.demand(index), worker) {
            return Err(PlaceError::Workflow { overload });
        }
    }
    Ok(placed)
}

/// The worker with room for these nodes that has the least executors left with them; else what the closest one lacks.
fn best_fit<'g>(
    loads: &Loads<'g>,
    workers: &[WorkerCapacity],
    all: &[&'g GraphNode],
    nodes: &[usize],
) -> Result<usize, Overload> {
    let mut best: Option<(u32, usize)> = None;
    let mut closest: Option<Overload> = None;
    for (index, worker) in workers.iter().enumerate() {
        let demand = loads.demand_with(index, nodes.iter().map(|node| all[*node]));
        match overload(demand, worker) {
            None => {
                let left = worker.executors - demand.executors;
                if best.is_none_or(|(least, _)| left < least) {
                    best = Some((left, index));
                }
            }
            Some(lack)
                if closest
                    .as_ref()
                    .is_none_or(|known| lack.wanted - lack.limit < known.wanted - known.limit) =>
            {
                closest = Some(lack);
            }
            Some(_) => {}
        }
    }
    match (best, closest) {
        (Some((_, index)), _) => Ok(index),
        (None, Some(lack)) => Err(lack),
        (None, None) => unreachable!("there is a worker at least"),
    }
}
