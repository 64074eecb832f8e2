//! The cost model: what nodes, payloads and links cost, as all partitioners and the [estimator](super::estimate) see it.
//!
//! A [`Model`] is a graph and its workers in dense numbers. Its nodes are *units*: what must run on one worker, that is a node
//! by itself or all nodes of an outermost region. Times are nanoseconds.
//!
//! What it says, and what it leaves out:
//! - An activation takes its run time, divided by its worker's speed, and [`DISPATCH_NS`] for a way through the engine. For
//!   the share `busy` of it it needs CPUs; if the activations of a worker need more CPUs together than it has, that share takes
//!   each of them so much longer that no more are used than there are.
//! - An executable's executors run one activation each. An invocation lives on one lane of a worker, which has its part of them.
//! - A payload takes no time on its worker. Each other worker that reads it gets it once; it takes a link's latency, and its
//!   bytes over the link's bandwidth, which payloads that are on the way at the same time share.
//! - Clients' inputs, workflow outputs and retries cost nothing.

mod edges;
mod regions;

pub(super) use edges::{Reads, UnitEdge};
pub(super) use regions::{RegionModel, Step};

use super::{Link, Network, WorkerCapacity};
use crate::graph::Graph;
use edges::{Outputs, unit_edges};
use engine::plan::NodeId;
use regions::Detail;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// What an activation costs beside its run time: a way through the engine and to an executor that sleeps.
pub const DISPATCH_NS: f64 = 10_000.0;
/// Up to this size a payload travels in its state event, and does not wait for larger ones.
pub(super) const INLINE_BYTES: f64 = 65_536.0;
/// Shares of time that are told apart.
const BUSY_STEPS: f64 = 16.0;

/// Lists of many, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists<T> {
    starts: Vec<u32>,
    all: Vec<T>,
}

impl<T> Lists<T> {
    /// From pairs of list and member, in the members' order.
    fn of(lists: usize, pairs: Vec<(u32, T)>) -> Self
    where
        T: Copy + Default,
    {
        let mut starts = vec![0_u32; lists + 1];
        for (list, _) in &pairs {
            starts[*list as usize + 1] += 1;
        }
        for list in 0..lists {
            starts[list + 1] += starts[list];
        }
        let mut next = starts.clone();
        let mut all = vec![T::default(); pairs.len()];
        for (list, member) in pairs {
            let at = &mut next[list as usize];
            all[*at as usize] = member;
            *at += 1;
        }
        Self { starts, all }
    }

    #[inline]
    pub(super) fn get(&self, list: u32) -> &[T] {
        let range = self.starts[list as usize] as usize..self.starts[list as usize + 1] as usize;
        &self.all[range]
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

/// What one activation of a node costs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Task {
    /// Its executable; `None` if the worker does it itself.
    pub(super) executable: Option<u32>,
    /// Of one activation, or of all items that are taken as one; a way through the engine included.
    pub(super) runtime_ns: f64,
    /// Of one activation, or of all items that are taken as one.
    pub(super) delay_ns: f64,
    /// The share of its run time in which it needs CPUs, in sixteenths.
    pub(super) busy: u8,
    /// CPUs that it then needs.
    pub(super) cpus: f64,
    /// Executors that its node wants.
    pub(super) scale: u32,
    /// What it stands for.
    pub(super) share: Share,
}

/// Activations that are taken as one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Share {
    /// Of them that run one after the other, and side by side.
    pub(super) in_turn: f64,
    pub(super) beside: f64,
    /// Of their delays, how many pass one after the other.
    pub(super) waits: f64,
}

impl Share {
    const ONE: Self = Self {
        in_turn: 1.0,
        beside: 1.0,
        waits: 1.0,
    };
}

/// What a unit runs.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Node(Task),
    /// By its place in [`Model::regions`].
    Region(u32),
}

/// What must run on one worker.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Its nodes.
    pub(super) nodes: Range<NodeId>,
    pub(super) work: Work,
    /// CPU time of all its activations, in nanoseconds on a worker of speed 1.
    pub(super) busy_ns: f64,
    /// The least time that it takes, with all executors that it may have.
    pub(super) least_ns: f64,
    /// Whether all of its nodes run in each scenario; else it is looked up.
    pub(super) conditional: bool,
    /// Of a join of some: at the how manieth live edge it starts; else 0.
    pub(super) at_least: u32,
}

/// A worker, as the model sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct WorkerModel {
    pub(super) cpus: f64,
    pub(super) speed: f64,
    pub(super) lanes: u32,
}

/// A graph and its workers in dense numbers.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) units: Vec<Unit>,
    /// By node.
    pub(super) unit_of: Vec<u32>,
    pub(super) regions: Vec<RegionModel>,
    /// By unit, in the order of the consumers.
    pub(super) successors: Lists<UnitEdge>,
    pub(super) predecessors: Lists<UnitEdge>,
    /// What units give that others read.
    outputs: Outputs,
    /// How many nodes each executable has, and the widest scale of them.
    pub(super) executables: Vec<Executable>,
    /// Of each divided node: its executable, and by part its unit and scale; those on one worker share a pool as wide as all.
    pub(super) divided: Vec<(u32, Vec<(u32, u32)>)>,
    pub(super) workers: Vec<WorkerModel>,
    /// By executable: its number among those that several units use.
    shared_numbers: Vec<Option<usize>>,
    /// By producer's worker, then consumer's.
    links: Vec<Link>,
    /// Whether all links are alike.
    pub(super) uniform: bool,
    /// How likely each scenario is, and by unit whether it runs then; a scenario in which all run has none.
    pub(super) scenarios: Vec<(f64, Option<Vec<bool>>)>,
    /// By scenario that has conditions, by node: whether it runs.
    pub(super) node_runs: Vec<Option<Vec<bool>>>,
    /// By scenario in which not all nodes run, by unit: the outputs that are there.
    outputs_there: Vec<Option<Vec<u64>>>,
    /// What payloads between units of one worker may have together.
    quota_bytes: f64,
    /// All outputs of all units.
    all_bytes: f64,
    /// Units in the order in which their payloads are held, if the quota may not suffice for all.
    hold_order: Vec<u32>,
}

/// An executable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Executable {
    /// Units that use it.
    pub(super) units: u32,
    /// The widest scale of its nodes, all parts of a divided one together.
    pub(super) scale: u32,
}

impl Model {
    /// `quota_bytes` is what payloads between units of one worker may have together in an invocation.
    pub(super) fn of(
        graph: &Graph,
        workers: &[WorkerCapacity],
        network: &Network,
        quota_bytes: u64,
    ) -> Self {
        let ranges = graph.units();
        let mut unit_of = vec![0_u32; graph.node_count()];
        for (unit, range) in ranges.iter().enumerate() {
            unit_of[range.clone()].fill(unit as u32);
        }
        let mut names: FxHashMap<&str, u32> = FxHashMap::default();
        let mut executables: Vec<Executable> = Vec::new();
        let mut regions = Vec::new();
        let mut units = Vec::with_capacity(ranges.len());
        let within = edges_within(graph, &unit_of);
        let several = ranges.iter().filter(|range| {
            let first = graph.node(range.start as NodeId);
            first.together.is_some()
        });
        let detail = Detail::of(several.count());
        let mut parts: FxHashMap<usize, (u32, Vec<(u32, u32)>)> = FxHashMap::default();
        for (number, range) in ranges.iter().enumerate() {
            let mut used: Vec<u32> = Vec::with_capacity(range.len());
            for id in range.clone() {
                let node = graph.node(id as NodeId);
                let Some(name) = &node.executable else {
                    continue;
                };
                let place = *names.entry(name).or_insert_with(|| {
                    executables.push(Executable::default());
                    executables.len() as u32 - 1
                });
                let executable = &mut executables[place as usize];
                executable.scale = executable.scale.max(node.scale).max(1);
                used.push(place);
                if node.part.is_some() {
                    let (_, scales) = parts.entry(node.defined).or_insert((place, Vec::new()));
                    scales.push((number as u32, node.scale));
                }
            }
            used.sort_unstable();
            used.dedup();
            for executable in used {
                executables[executable as usize].units += 1;
            }
            units.push(unit(graph, range, &names, &within, (&mut regions, detail)));
        }
        let mut divided: Vec<(u32, Vec<(u32, u32)>)> = parts.into_values().collect();
        divided.sort_unstable();
        for (executable, scales) in &divided {
            let all: u32 = scales.iter().map(|(_, scale)| scale).sum();
            let scale = &mut executables[*executable as usize].scale;
            *scale = all.max(*scale);
        }
        let best_speed = workers.iter().map(|w| w.speed).fold(0.0, f64::max);
        for unit in &mut units {
            (unit.least_ns, _) = least(unit, &regions, &executables, best_speed, &|_| true);
        }
        let outputs = Outputs::of(graph, &unit_of, units.len());
        let (successors, predecessors) = unit_edges(graph, &unit_of, &outputs, units.len());
        let mut model = Self {
            units,
            unit_of,
            regions,
            successors,
            predecessors,
            outputs,
            shared_numbers: shared_numbers(&executables),
            executables,
            divided,
            workers: workers.iter().map(WorkerModel::of).collect(),
            links: links(workers.len(), network),
            uniform: network.is_uniform(),
            scenarios: Vec::new(),
            node_runs: Vec::new(),
            outputs_there: Vec::new(),
            quota_bytes: quota_bytes as f64,
            all_bytes: 0.0,
            hold_order: Vec::new(),
        };
        model.all_bytes = model.outputs.bytes.all.iter().sum();
        if model.all_bytes > model.quota_bytes {
            model.hold_order = model.by_length_of_way();
        }
        model.take_scenarios(graph);
        model
    }

    fn take_scenarios(&mut self, graph: &Graph) {
        for scenario in graph.scenarios() {
            let all = scenario.runs.iter().all(|runs| *runs);
            let units = (!all).then(|| {
                let runs =
                    |unit: &Unit| unit.nodes.clone().any(|node| scenario.runs[node as usize]);
                self.units.iter().map(runs).collect::<Vec<bool>>()
            });
            if !all {
                for unit in &mut self.units {
                    let mut nodes = unit.nodes.clone();
                    unit.conditional |= nodes.any(|node| !scenario.runs[node as usize]);
                }
            }
            let there = |unit: u32| {
                let makers = self.outputs.makers.get(unit).iter().enumerate();
                let there = makers.filter(|(_, node)| scenario.runs[**node as usize]);
                there.fold(0, |there, (place, _)| there | 1 << place)
            };
            let there = (!all).then(|| (0..self.units.len() as u32).map(there).collect());
            self.outputs_there.push(there);
            self.node_runs.push((!all).then(|| scenario.runs.clone()));
            self.scenarios.push((scenario.weight, units));
        }
    }

    /// The number of an executable among those that several units use.
    #[inline]
    pub(super) fn shared_number(&self, executable: u32) -> Option<usize> {
        self.shared_numbers[executable as usize]
    }

    /// The speed of the fastest worker.
    pub(super) fn best_speed(&self) -> f64 {
        let speeds = self.workers.iter().map(|worker| worker.speed);
        speeds.fold(0.0, f64::max)
    }

    /// The least time that a unit takes in a scenario in which it runs, and its CPU time.
    pub(super) fn least(&self, unit: u32, scenario: usize) -> (f64, f64) {
        let of = &self.units[unit as usize];
        match &self.node_runs[scenario] {
            None => (of.least_ns, of.busy_ns),
            Some(runs) => least(
                of,
                &self.regions,
                &self.executables,
                self.best_speed(),
                &|node| runs[node as usize],
            ),
        }
    }

    /// What a unit runs: one task, or one for each node of a region.
    pub(super) fn tasks<'a>(&'a self, unit: &'a Unit) -> impl Iterator<Item = &'a Task> {
        let (one, steps) = match &unit.work {
            Work::Node(task) => (Some(task), &[][..]),
            Work::Region(region) => (None, self.regions[*region as usize].steps.as_slice()),
        };
        one.into_iter().chain(steps.iter().map(|step| &step.task))
    }

    /// The nodes of a region, item by item; none of what is none.
    pub(super) fn steps(&self, unit: u32) -> &[Step] {
        match &self.units[unit as usize].work {
            Work::Node(_) => &[],
            Work::Region(region) => &self.regions[*region as usize].steps,
        }
    }

    #[inline]
    pub(super) fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from * self.workers.len() + to]
    }

    /// How likely it is that a unit runs.
    pub(super) fn chance(&self, unit: u32) -> f64 {
        if !self.units[unit as usize].conditional {
            return 1.0;
        }
        self.scenarios
            .iter()
            .filter(|(_, runs)| runs.as_ref().is_none_or(|runs| runs[unit as usize]))
            .map(|(weight, _)| weight)
            .sum()
    }

    /// Units by the longest way through the graph that leads through them, with all transfers at the price of a link: the longest
    /// first.
    fn by_length_of_way(&self) -> Vec<u32> {
        let behind = super::list::upward_ranks(self);
        let before = super::list::downward_ranks(self);
        let way = |unit: u32| before[unit as usize] + behind[unit as usize];
        let mut order: Vec<u32> = (0..self.units.len() as u32).collect();
        order.sort_by(|a, b| way(*b).total_cmp(&way(*a)).then(a.cmp(b)));
        order
    }

    /// By unit: whether what others of its worker read of it is held in memory. What is on the longest
    /// ways is held first, while the quota lasts. `None` if all is held.
    pub(super) fn held(&self, placed: &[u32]) -> Option<Vec<bool>> {
        if self.all_bytes <= self.quota_bytes {
            return None;
        }
        let mut left = self.quota_bytes;
        let mut held = vec![false; self.units.len()];
        for unit in &self.hold_order {
            let bytes = self.local_bytes(*unit, placed);
            if bytes <= left {
                held[*unit as usize] = true;
                left -= bytes;
            }
        }
        Some(held)
    }

    /// Bytes of a unit that others of its worker read.
    pub(super) fn local_bytes(&self, unit: u32, placed: &[u32]) -> f64 {
        let own = placed[unit as usize];
        let mut reads = Reads::default();
        for edge in self.successors.get(unit) {
            if placed[edge.unit as usize] == own {
                reads.add(edge);
            }
        }
        reads.bytes(self.outputs_of(unit), u64::MAX)
    }

    /// Bytes that cross from one worker to another in an invocation, as expected: a producer's outputs count once for each
    /// worker that reads them.
    pub(super) fn crossing_bytes(&self, placed: &[u32]) -> f64 {
        let mut read: Vec<Reads> = vec![Reads::default(); self.workers.len()];
        let mut sum = 0.0;
        for unit in 0..self.units.len() as u32 {
            let own = placed[unit as usize];
            let edges = self.successors.get(unit);
            for edge in edges {
                read[placed[edge.unit as usize] as usize].add(edge);
            }
            for edge in edges {
                let worker = placed[edge.unit as usize];
                let reads = std::mem::take(&mut read[worker as usize]);
                if worker != own && !reads.is_none() {
                    sum += self.expected_bytes(unit, &reads);
                }
            }
        }
        sum
    }
}

impl WorkerModel {
    fn of(worker: &WorkerCapacity) -> Self {
        Self {
            cpus: f64::from(worker.cpus.max(1)),
            speed: worker.speed,
            lanes: u32::from(worker.lanes.max(1)),
        }
    }

    /// Executors that one invocation has of a pool so wide.
    #[inline]
    pub(super) const fn executors(&self, scale: u32) -> u32 {
        let executors = scale.div_ceil(self.lanes);
        if executors == 0 { 1 } else { executors }
    }
}

/// A share of time, of sixteenths.
#[inline]
pub(super) fn share(busy: u8) -> f64 {
    f64::from(busy) / BUSY_STEPS
}

impl Task {
    /// The share of its run time in which it needs CPUs.
    #[inline]
    pub(super) fn busy_share(&self) -> f64 {
        share(self.busy)
    }

    /// CPUs that it needs on average while it runs.
    #[inline]
    pub(super) fn demand(&self) -> f64 {
        self.busy_share() * self.cpus
    }

    pub(super) fn busy_ns(&self) -> f64 {
        self.runtime_ns * self.demand()
    }
}

fn shared_numbers(executables: &[Executable]) -> Vec<Option<usize>> {
    let mut next = 0;
    let number = |executable: &Executable| {
        (executable.units > 1).then(|| {
            next += 1;
            next - 1
        })
    };
    executables.iter().map(number).collect()
}

fn links(workers: usize, network: &Network) -> Vec<Link> {
    let all = (0..workers).flat_map(|from| (0..workers).map(move |to| (from, to)));
    all.map(|(from, to)| network.link(from, to)).collect()
}

/// So many activations of a node.
fn task(graph: &Graph, id: NodeId, names: &FxHashMap<&str, u32>, share: Share) -> Task {
    let node = graph.node(id);
    let executable = node.executable.as_deref().map(|name| names[name]);
    let dispatch_ns = if executable.is_some() {
        DISPATCH_NS
    } else {
        0.0
    };
    // What is run more often than its regions have items does so one after the other.
    let items = node.nested.iter().map(|region| region.items);
    let items = items.fold(node.items, u64::saturating_mul).max(1);
    let in_turn = share.in_turn * node.activations as f64 / items as f64;
    Task {
        executable,
        runtime_ns: (node.runtime_ms * 1e6 + dispatch_ns) * in_turn,
        delay_ns: node.delay_ms * 1e6 * share.waits,
        busy: (node.busy * BUSY_STEPS).round() as u8,
        cpus: f64::from(node.cpus.max(1)) * share.beside,
        scale: node.scale,
        share: Share { in_turn, ..share },
    }
}

/// The edges between nodes of one unit.
fn edges_within(graph: &Graph, unit_of: &[u32]) -> Vec<(NodeId, NodeId)> {
    let edges = graph.edges().map(|(from, to, _)| (from, to));
    let within = edges.filter(|(from, to)| unit_of[*from as usize] == unit_of[*to as usize]);
    let mut within: Vec<(NodeId, NodeId)> = within.collect();
    within.sort_unstable();
    within
}

fn unit(
    graph: &Graph,
    range: &Range<usize>,
    names: &FxHashMap<&str, u32>,
    within: &[(NodeId, NodeId)],
    (regions, detail): (&mut Vec<RegionModel>, Detail),
) -> Unit {
    let first = graph.node(range.start as NodeId);
    let nodes = range.start as NodeId..range.end as NodeId;
    if first.together.is_none() {
        let task = task(graph, nodes.start, names, Share::ONE);
        return Unit {
            nodes,
            busy_ns: task.busy_ns(),
            work: Work::Node(task),
            least_ns: 0.0,
            conditional: false,
            at_least: first.at_least,
        };
    }
    let region = regions::region(graph, nodes.clone(), names, within, detail);
    let busy_ns = region.steps.iter().map(|step| step.task.busy_ns());
    let busy_ns = busy_ns.sum::<f64>() * f64::from(region.items);
    regions.push(region);
    Unit {
        nodes,
        work: Work::Region(regions.len() as u32 - 1),
        busy_ns,
        least_ns: 0.0,
        conditional: false,
        at_least: 0,
    }
}

/// The least time that a unit takes by itself on a worker so fast, and its CPU time, if these of its nodes run.
fn least(
    unit: &Unit,
    regions: &[RegionModel],
    executables: &[Executable],
    speed: f64,
    runs: &dyn Fn(NodeId) -> bool,
) -> (f64, f64) {
    match &unit.work {
        Work::Node(task) => (task.delay_ns + task.runtime_ns / speed, unit.busy_ns),
        Work::Region(region) => regions[*region as usize].least(executables, speed, runs),
    }
}
