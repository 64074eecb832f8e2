//! What the published partitioner does, step by step: which groups it merges, and why it ends.

use super::{Demand, GROUP_NODES_MAX, Grouping, Refusal};
use crate::graph::Graph;
use crate::place::{Options, PlaceError, WorkerCapacity, fixed_workers};
use engine::plan::NodeId;
use engine::worker::quantities::size_text;
use std::fmt;

/// The merges of a run, in their order, and why there are no more.
#[derive(Clone, PartialEq, Debug)]
pub struct Merges {
    /// One for each time that the longest path was looked at, but the last.
    pub merges: Vec<Merge>,
    /// The edges of the last longest path in the order in which they were tried, each with what stood against it. None if
    /// one group was left, or the longest path has no edge.
    pub refused: Vec<Refused>,
    /// Groups that were left.
    pub groups: usize,
    /// Bytes of payloads that are held in memory for a consumer in their producer's group.
    pub held_bytes: u64,
    /// What these may come to.
    pub quota_bytes: u64,
}

/// Two groups that became one.
#[derive(Clone, PartialEq, Debug)]
pub struct Merge {
    /// The producer of the edge that was the heaviest which could be merged.
    pub from: NodeId,
    /// Its consumer.
    pub to: NodeId,
    /// What the edge weighed, in seconds.
    pub weight_s: f64,
    /// How long the longest path was, in seconds.
    pub path_s: f64,
    /// The nodes of the group that came of it.
    pub nodes: Vec<NodeId>,
    /// The group's worker, by its place.
    pub worker: usize,
    /// What the group asks for, node by node.
    pub demand: Demand,
}

/// An edge whose groups could not be merged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Refused {
    /// The producer.
    pub from: NodeId,
    /// The consumer.
    pub to: NodeId,
    /// What the edge weighed, in seconds.
    pub weight_s: f64,
    /// What stood against it.
    pub why: Refusal,
    /// Nodes that both groups have together.
    pub nodes: usize,
    /// What both groups ask for together, node by node.
    pub demand: Demand,
    /// By how much payloads in memory would exceed the quota, in bytes.
    pub over_bytes: u64,
}

impl Refusal {
    /// It in a word that stays the same.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Same => "same_group",
            Self::Nodes => "nodes",
            Self::Apart => "apart",
            Self::Capacity => "capacity",
            Self::Fixed => "pinned",
            Self::Quota => "quota",
        }
    }
}

impl fmt::Display for Refused {
    /// What stood against it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Refusal::Same => write!(f, "both are in one group already"),
            Refusal::Nodes => write!(
                f,
                "together they have {} nodes, more than the {GROUP_NODES_MAX} of a group",
                self.nodes
            ),
            Refusal::Apart => write!(f, "nodes of them are to be apart, or from others there"),
            Refusal::Capacity => write!(
                f,
                "no worker has room for both, {} executors and {} MiB",
                self.demand.executors, self.demand.memory_mib
            ),
            Refusal::Fixed => write!(f, "they are pinned to different workers"),
            Refusal::Quota => write!(
                f,
                "payloads in memory would be {} above the quota",
                size_text(self.over_bytes)
            ),
        }
    }
}

/// What the published partitioner does with a graph.
///
/// # Errors
/// As [`place`](crate::place::place) does for what contradicts itself, or if there is no worker.
pub fn merges(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<Merges, PlaceError> {
    if workers.is_empty() {
        return Err(PlaceError::NoWorkers);
    }
    let fixed = fixed_workers(graph, workers, options)?;
    let quota_bytes = options.quota_of(graph);
    let mut grouping = Grouping::new(graph, workers, &fixed, quota_bytes);
    let mut merges = Vec::new();
    loop {
        let path = grouping.edges_to_try();
        let weights = path.iter().map(|edge| &grouping.edges[*edge]);
        let weights: Vec<f64> = weights.map(|edge| grouping.weight_s(edge)).collect();
        let path_s = grouping.ends.iter().map(|end| end.length_s);
        let path_s = path_s.fold(0.0, f64::max);
        if !grouping.merge_on_longest_path() {
            let refused = grouping.refused().iter().zip(&weights);
            let refused = refused.map(|(refused, weight_s)| grouping.told(*refused, *weight_s));
            return Ok(Merges {
                merges,
                refused: refused.collect(),
                groups: grouping.groups().count(),
                held_bytes: grouping.charged_bytes,
                quota_bytes,
            });
        }
        // Behind those that were refused came the one that was merged.
        let tried = grouping.refused.len();
        let edge = grouping.edges[path[tried]];
        let Some(group) = &grouping.groups[grouping.group_of[edge.from]] else {
            unreachable!("a node's group is one that is left");
        };
        let mut nodes: Vec<NodeId> = group.nodes.iter().map(|node| *node as NodeId).collect();
        nodes.sort_unstable();
        merges.push(Merge {
            from: edge.from as NodeId,
            to: edge.to as NodeId,
            weight_s: weights[tried],
            path_s,
            nodes,
            worker: group.worker,
            demand: group.demand,
        });
    }
}

impl Grouping<'_> {
    /// An edge that was refused, with what its groups come to.
    fn told(&self, (from, to, why): (NodeId, NodeId, Refusal), weight_s: f64) -> Refused {
        let (a, b) = (self.group_of[from as usize], self.group_of[to as usize]);
        let (Some(first), Some(second)) = (&self.groups[a], &self.groups[b]) else {
            unreachable!("a node's group is one that is left");
        };
        let charge = self.newly_charged(a, b);
        let charge = charge.iter().map(|node| self.output_bytes[*node]);
        let held_bytes = charge.fold(self.charged_bytes, u64::saturating_add);
        Refused {
            from,
            to,
            weight_s,
            why,
            nodes: first.nodes.len() + second.nodes.len(),
            demand: first.demand.plus(second.demand),
            over_bytes: held_bytes.saturating_sub(self.quota_bytes),
        }
    }
}
