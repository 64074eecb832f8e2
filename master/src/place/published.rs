//! The published greedy partitioner ("grouping"): FaaSFlow, ASPLOS 2022, artifact v1.1.
//!
//! 1. Each node is a group of its own, put on worker `hash(name) mod W`. The artifact's hash is Python's; here it is
//!    FNV-1a (64 bits), so that a definition always begins from the same place.
//! 2. An out-edge weighs the bytes of *all* outputs of its producer over the network's bandwidth; inside a group, that
//!    divided by 15.
//! 3. Of the longest path by run times and weights (ties: the larger heaviest edge) the edges are tried in falling
//!    weight; the first whose two groups can be merged merges them, and the search starts over. It ends when no edge of
//!    the current longest path can be merged, or one group is left.
//! 4. Two groups can be merged if together they have at most 100 nodes, if some worker has room for both once both are
//!    released (best fit), if what is held in memory stays within the quota, a producer's outputs being charged
//!    once, and if no two nodes of them are to be kept apart: from each other, or from one on that worker.
//!
//! Where this system differs, and the rule is ours: free capacity begins at all executors that a worker says it has, which it
//! keeps to by itself, and not at 0.8 of the containers that it may have (`scale_limit`); nodes of one region begin as one group, put where its first node's name
//! says, since items run through them on one worker; memory counts as a capacity beside executors; a group that is fixed
//! to a worker stays there; what a region holds within its group is charged from the beginning; and what the first step leaves
//! overloaded or together that is to be apart is moved ([`settle`]): whole groups, then single nodes, and where that does not do,
//! all are packed anew, and then go to their groups' workers as far as that fits.
//!
//! [`merges`] tells the steps.

mod log;

pub use log::{Merge, Merges, Refused, merges};

use super::WorkerCapacity;
use super::capacity::Demand;
use super::cost::Model;
use super::room::{NOWHERE, Room, Wants};
use crate::graph::{Graph, GraphNode};
use engine::plan::NodeId;
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use std::time::Instant;

/// The artifact's bandwidth: 25 MiB/s shared by four, in bytes a second.
const NETWORK_BYTES_PER_S: f64 = 25.0 * 1024.0 * 1024.0 / 4.0;
/// How much less an edge weighs inside a group.
const LOCAL_SPEEDUP: f64 = 15.0;
/// Nodes of one group.
const GROUP_NODES_MAX: usize = 100;
/// What of the executors' memory may hold payloads: the artifact keeps 0.2 back.
const QUOTA_SHARE: f64 = 0.8;

/// Nodes that go together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) nodes: Vec<usize>,
    pub(super) worker: usize,
    pub(super) demand: Demand,
    /// Whether a node of it is fixed to that worker.
    pub(super) fixed: bool,
}

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(name: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    name.bytes().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// The worker on which a node is put first, of so many.
pub(super) fn hashed(name: &str, workers: usize) -> usize {
    (fnv1a(name) % workers as u64) as usize
}

/// What the payloads of one invocation may have in memory, in bytes, by the published formula: of the memory that each function
/// asks for, what is left of 0.8 of it above its own peak, for as many activations as its foreach is wide. A function whose peak
/// is above that takes from what others leave; less than nothing in all is nothing.
#[must_use]
pub fn published_quota_bytes(graph: &Graph) -> u64 {
    let of_node = |node: &GraphNode| {
        let left_mib = QUOTA_SHARE * f64::from(node.memory_mib) - f64::from(node.peak_mib);
        left_mib * node.activations as f64
    };
    let nodes = graph.nodes().filter(|node| node.executable.is_some());
    let sum_mib: f64 = nodes.map(of_node).sum();
    (sum_mib.max(0.0) * (1 << 20) as f64) as u64
}

/// Where a grouping puts each unit. A group that its worker has no room for goes as a whole to the worker that it fills best; one
/// that fits nowhere as a whole is left where it is, for its units to be moved.
pub(super) fn settle(groups: &[Group], model: &Model, wants: &Wants, workers: usize) -> Vec<u32> {
    let mut order: Vec<&Group> = groups.iter().collect();
    order.sort_by_key(|group| (!group.fixed, Reverse(group.demand.executors)));
    let mut room = Room::empty(wants);
    let mut wished = vec![NOWHERE; model.units.len()];
    for group in order {
        let mut units: Vec<u32> = group
            .nodes
            .iter()
            .map(|node| model.unit_of[*node])
            .collect();
        units.sort_unstable();
        units.dedup();
        let own = group.worker as u32;
        let mut worker = put_all(&mut room, &units, own).then_some(own);
        if worker.is_none() {
            // The fullest one that has room for it.
            let mut others: Vec<u32> = (0..workers as u32).filter(|one| *one != own).collect();
            others.sort_by(|a, b| room.left(*a).total_cmp(&room.left(*b)));
            worker = others
                .into_iter()
                .find(|worker| put_all(&mut room, &units, *worker));
        }
        for unit in units {
            wished[unit as usize] = worker.unwrap_or(own);
        }
    }
    wished
}

/// Puts units on a worker if all of them fit; whether they did.
fn put_all(room: &mut Room<'_>, units: &[u32], worker: u32) -> bool {
    for (put, unit) in units.iter().enumerate() {
        if !room.fits(*unit, worker) {
            units[..put].iter().for_each(|unit| room.take(*unit));
            return false;
        }
        room.put(*unit, worker);
    }
    true
}

/// Groups the nodes of a graph and gives each group a worker. A worker may be left with more than it takes, if the
/// first step put it there. Nothing, if the time comes before the end.
pub(super) fn group(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &[Option<usize>],
    quota_bytes: u64,
    deadline: Option<Instant>,
) -> Option<Vec<Group>> {
    let mut grouping = Grouping::new(graph, workers, fixed, quota_bytes);
    loop {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        if !grouping.merge_on_longest_path() {
            return Some(grouping.groups.into_iter().flatten().collect());
        }
    }
}

/// An edge with its weight between groups, in seconds.
#[derive(Clone, Copy, Debug)]
struct Edge {
    from: usize,
    to: usize,
    remote_s: f64,
}

/// Why the groups at the ends of an edge were not merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// They are one group already.
    Same,
    /// Together they would have more than 100 nodes.
    Nodes,
    /// Nodes of them are to be apart, from each other or from one on each worker that has room.
    Apart,
    /// No worker has room for both.
    Capacity,
    /// They are fixed to different workers.
    Fixed,
    /// Payloads in memory would exceed the quota.
    Quota,
}

/// Groups in the making.
pub(super) struct Grouping<'a> {
    workers: &'a [WorkerCapacity],
    /// By node.
    runtime_s: Vec<f64>,
    output_bytes: Vec<u64>,
    group_of: Vec<usize>,
    /// By consumer: places in `edges`.
    incoming: Vec<Vec<usize>>,
    /// By producer: places in `edges`.
    outgoing: Vec<Vec<usize>>,
    edges: Vec<Edge>,
    /// By node: those that must not share its group or worker.
    apart: Vec<Vec<usize>>,
    /// By node: the longest path that ends there. Those that are not stale hold, as far as what comes before them does.
    ends: Vec<PathEnd>,
    is_stale: Vec<bool>,
    /// None before this one is stale.
    stale: usize,
    /// `None` once merged into another.
    groups: Vec<Option<Group>>,
    groups_left: usize,
    used: Vec<Demand>,
    quota_bytes: u64,
    /// Producers whose outputs are held in memory for a consumer of their own group, and what they come to.
    charged: FxHashSet<usize>,
    charged_bytes: u64,
    /// Edges of the last longest path that could not be merged, as producer, consumer and reason.
    refused: Vec<(NodeId, NodeId, Refusal)>,
}

impl<'a> Grouping<'a> {
    pub(super) fn new(
        graph: &Graph,
        workers: &'a [WorkerCapacity],
        fixed: &[Option<usize>],
        quota_bytes: u64,
    ) -> Self {
        let mut used = vec![Demand::default(); workers.len()];
        let nodes: Vec<&GraphNode> = graph.nodes().collect();
        let mut groups = Vec::with_capacity(graph.node_count());
        let mut group_of = vec![0; graph.node_count()];
        for unit in graph.units() {
            let first = unit.start;
            let worker = fixed[first].unwrap_or(hashed(&nodes[first].name, workers.len()));
            let demands = nodes[unit.clone()].iter().map(|node| Demand::of_node(node));
            let demand = demands.fold(Demand::default(), Demand::plus);
            used[worker] = used[worker].plus(demand);
            group_of[unit.clone()].fill(groups.len());
            groups.push(Some(Group {
                nodes: unit.collect(),
                worker,
                demand,
                fixed: fixed[first].is_some(),
            }));
        }
        let output_bytes: Vec<u64> = graph.nodes().map(|node| node.output_bytes).collect();
        let mut incoming = vec![Vec::new(); graph.node_count()];
        let mut outgoing = vec![Vec::new(); graph.node_count()];
        let mut edges = Vec::with_capacity(graph.edges().len());
        for (from, to, _) in graph.edges() {
            let (from, to) = (from as usize, to as usize);
            incoming[to].push(edges.len());
            outgoing[from].push(edges.len());
            edges.push(Edge {
                from,
                to,
                remote_s: output_bytes[from] as f64 / NETWORK_BYTES_PER_S,
            });
        }
        // What regions keep within their groups is held from the beginning.
        let within = edges
            .iter()
            .filter(|edge| group_of[edge.from] == group_of[edge.to]);
        let charged: FxHashSet<usize> = within.map(|edge| edge.from).collect();
        let charged_bytes = charged
            .iter()
            .fold(0, |sum: u64, node| sum.saturating_add(output_bytes[*node]));
        Self {
            workers,
            runtime_s: graph.nodes().map(|node| node.runtime_ms / 1000.0).collect(),
            output_bytes,
            group_of,
            incoming,
            outgoing,
            edges,
            apart: apart(graph),
            ends: vec![PathEnd::default(); graph.node_count()],
            is_stale: vec![true; graph.node_count()],
            stale: 0,
            groups_left: groups.len(),
            groups,
            used,
            quota_bytes,
            charged,
            charged_bytes,
            refused: Vec::new(),
        }
    }

    fn weight_s(&self, edge: &Edge) -> f64 {
        if self.group_of[edge.from] == self.group_of[edge.to] {
            edge.remote_s / LOCAL_SPEEDUP
        } else {
            edge.remote_s
        }
    }

    /// Those that are left.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    /// Edges of the last longest path that were tried and not merged, and why.
    pub(super) fn refused(&self) -> &[(NodeId, NodeId, Refusal)] {
        &self.refused
    }

    /// Steps 3 and 4, once. Whether groups were merged.
    pub(super) fn merge_on_longest_path(&mut self) -> bool {
        self.refused.clear();
        if self.groups_left <= 1 {
            return false;
        }
        let mut path = self.edges_to_try().into_iter();
        path.any(|edge| match self.merge(edge) {
            Ok(()) => true,
            Err(refusal) => {
                let Edge { from, to, .. } = self.edges[edge];
                self.refused.push((from as NodeId, to as NodeId, refusal));
                false
            }
        })
    }

    /// The edges of the longest path, in falling weight.
    fn edges_to_try(&mut self) -> Vec<usize> {
        let mut path = self.longest_path();
        // The sort is stable: of equal edges the one nearer to the path's beginning comes first.
        path.sort_by(|a, b| {
            self.weight_s(&self.edges[*b])
                .total_cmp(&self.weight_s(&self.edges[*a]))
        });
        path
    }

    /// The edges of the longest path, first to last.
    fn longest_path(&mut self) -> Vec<usize> {
        // Nodes are numbered in topological order, so that one pass sees producers first. A path is looked at anew only where an
        // edge to its last node has another weight now, or a path to its last but one another length.
        let nodes = self.runtime_s.len();
        for node in self.stale..nodes {
            if !std::mem::take(&mut self.is_stale[node]) {
                continue;
            }
            let mut end = PathEnd {
                length_s: self.runtime_s[node],
                heaviest_s: 0.0,
                by: None,
            };
            for index in &self.incoming[node] {
                let edge = &self.edges[*index];
                let weight_s = self.weight_s(edge);
                let before = &self.ends[edge.from];
                let candidate = PathEnd {
                    length_s: before.length_s + weight_s + self.runtime_s[node],
                    heaviest_s: before.heaviest_s.max(weight_s),
                    by: Some(*index),
                };
                if end.by.is_none() || candidate.beats(&end) {
                    end = candidate;
                }
            }
            if end != self.ends[node] {
                self.ends[node] = end;
                for edge in &self.outgoing[node] {
                    self.is_stale[self.edges[*edge].to] = true;
                }
            }
        }
        self.stale = nodes;
        let best = &self.ends;
        let mut last = 0;
        for node in 1..nodes {
            if best[node].beats(&best[last]) {
                last = node;
            }
        }
        let mut path = Vec::new();
        while let Some(index) = best.get(last).and_then(|end| end.by) {
            path.push(index);
            last = self.edges[index].from;
        }
        path.reverse();
        path
    }

    /// Merges the groups of an edge if step 4 allows it.
    fn merge(&mut self, edge: usize) -> Result<(), Refusal> {
        let Edge { from, to, .. } = self.edges[edge];
        let (into, gone) = (self.group_of[from], self.group_of[to]);
        if into == gone {
            return Err(Refusal::Same);
        }
        let (Some(a), Some(b)) = (&self.groups[into], &self.groups[gone]) else {
            unreachable!("a node's group is one that is left");
        };
        if a.nodes.len() + b.nodes.len() > GROUP_NODES_MAX {
            return Err(Refusal::Nodes);
        }
        if self.are_apart(a, gone) {
            return Err(Refusal::Apart);
        }
        let worker = self.room_for(a, b)?;
        let newly_charged = self.newly_charged(into, gone);
        let charge: u64 = newly_charged
            .iter()
            .fold(0, |sum, node| sum.saturating_add(self.output_bytes[*node]));
        let charged_bytes = self.charged_bytes.saturating_add(charge);
        // Regions by themselves may be above the quota; what charges nothing more is none the worse.
        if charge > 0 && charged_bytes > self.quota_bytes {
            return Err(Refusal::Quota);
        }
        self.charged.extend(newly_charged);
        self.charged_bytes = charged_bytes;
        let (Some(a), Some(b)) = (self.groups[into].take(), self.groups[gone].take()) else {
            unreachable!("both were there a moment ago");
        };
        for group in [&a, &b] {
            let used = &mut self.used[group.worker];
            used.executors -= group.demand.executors;
            used.memory_mib -= group.demand.memory_mib;
        }
        let demand = a.demand.plus(b.demand);
        self.used[worker] = self.used[worker].plus(demand);
        let mut nodes = a.nodes;
        for node in &b.nodes {
            // Edges between the two weigh less now.
            let edges = self.incoming[*node].iter().chain(&self.outgoing[*node]);
            for edge in edges.map(|edge| self.edges[*edge]) {
                let between = self.group_of[edge.from] == into || self.group_of[edge.to] == into;
                if between {
                    self.is_stale[edge.to] = true;
                    self.stale = self.stale.min(edge.to);
                }
            }
        }
        for node in &b.nodes {
            self.group_of[*node] = into;
        }
        nodes.extend(b.nodes);
        self.groups[into] = Some(Group {
            nodes,
            worker,
            demand,
            fixed: a.fixed || b.fixed,
        });
        self.groups_left -= 1;
        Ok(())
    }

    /// Whether a node of a group must be kept apart from one of another.
    fn are_apart(&self, a: &Group, other: usize) -> bool {
        let mut kept = a.nodes.iter().flat_map(|node| &self.apart[*node]);
        kept.any(|node| self.group_of[*node] == other)
    }

    /// Whether a worker has, in a third group, something that these must be kept apart from.
    fn is_barred(&self, a: &Group, b: &Group, worker: usize) -> bool {
        let nodes = a.nodes.iter().chain(&b.nodes);
        let own = [&a.nodes, &b.nodes].map(|nodes| self.group_of[nodes[0]]);
        let mut kept = nodes.flat_map(|node| &self.apart[*node]);
        kept.any(|node| {
            let group = self.group_of[*node];
            let there = self.groups[group].as_ref().map(|group| group.worker);
            !own.contains(&group) && there == Some(worker)
        })
    }

    /// Best fit: of the workers with room for both groups once both are released, the one with the least free
    /// executors; of equals the first. A fixed group leaves one worker to choose.
    fn room_for(&self, a: &Group, b: &Group) -> Result<usize, Refusal> {
        let only = match (a.fixed, b.fixed) {
            (true, true) if a.worker != b.worker => return Err(Refusal::Fixed),
            (true, _) => Some(a.worker),
            (_, true) => Some(b.worker),
            (false, false) => None,
        };
        let wanted = a.demand.plus(b.demand);
        let mut best: Option<(u32, usize)> = None;
        let mut barred = false;
        for (index, worker) in self.workers.iter().enumerate() {
            if only.is_some_and(|only| only != index) {
                continue;
            }
            let mut used = self.used[index];
            for group in [a, b].into_iter().filter(|group| group.worker == index) {
                used.executors -= group.demand.executors;
                used.memory_mib -= group.demand.memory_mib;
            }
            let free = worker.executors.saturating_sub(used.executors);
            let free_mib = worker.memory_mib.saturating_sub(used.memory_mib);
            let fits = wanted.executors <= free && wanted.memory_mib <= free_mib;
            if fits && self.is_barred(a, b, index) {
                barred = true;
                continue;
            }
            if fits && best.is_none_or(|(least, _)| free < least) {
                best = Some((free, index));
            }
        }
        let refusal = if barred {
            Refusal::Apart
        } else {
            Refusal::Capacity
        };
        best.map(|(_, index)| index).ok_or(refusal)
    }

    /// Producers with an edge between the two groups whose outputs memory does not hold yet.
    fn newly_charged(&self, a: usize, b: usize) -> Vec<usize> {
        let small = match (&self.groups[a], &self.groups[b]) {
            (Some(first), Some(second)) if first.nodes.len() <= second.nodes.len() => first,
            (_, Some(second)) => second,
            _ => unreachable!("both groups are there"),
        };
        let edges = small
            .nodes
            .iter()
            .flat_map(|node| self.incoming[*node].iter().chain(&self.outgoing[*node]));
        let mut producers: Vec<usize> = edges
            .map(|edge| &self.edges[*edge])
            .filter(|edge| {
                let ends = (self.group_of[edge.from], self.group_of[edge.to]);
                (ends == (a, b) || ends == (b, a)) && !self.charged.contains(&edge.from)
            })
            .map(|edge| edge.from)
            .collect();
        producers.sort_unstable();
        producers.dedup();
        producers
    }
}

/// By node: those that must not share its worker.
fn apart(graph: &Graph) -> Vec<Vec<usize>> {
    let mut apart = vec![Vec::new(); graph.node_count()];
    for (a, b) in graph.apart() {
        apart[*a as usize].push(*b as usize);
        apart[*b as usize].push(*a as usize);
    }
    apart
}

/// The longest path that ends at a node.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct PathEnd {
    length_s: f64,
    heaviest_s: f64,
    /// The path's last edge.
    by: Option<usize>,
}

impl PathEnd {
    fn beats(&self, other: &Self) -> bool {
        (self.length_s, self.heaviest_s) > (other.length_s, other.heaviest_s)
    }
}
