//! What the published partitioner does, step by step: which groups it merges, and why it ends.

use super::{Demand, GROUP_NODES_MAX, Grouping};
use crate::graph::Graph;
use crate::place::{Options, PlaceError, WorkerCapacity, fixed_workers};
use engine::plan::NodeId;
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
}

/// What stands against merging two groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// They are one already.
    OneGroup,
    /// They would have so many nodes, more than a group may.
    Nodes(usize),
    /// Two nodes of them are to be apart.
    Apart,
    /// No worker has room for both, which ask for this together; or none that they may be on, for what is pinned or to be
    /// apart.
    NoRoom(Demand),
    /// What is held in memory would be so many bytes above the quota.
    Quota {
        /// By how much.
        over_bytes: u64,
    },
}

impl Refusal {
    /// It in a word that stays the same.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OneGroup => "one_group",
            Self::Nodes(_) => "nodes",
            Self::Apart => "apart",
            Self::NoRoom(_) => "no_room",
            Self::Quota { .. } => "quota",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneGroup => write!(f, "both are in one group already"),
            Self::Nodes(nodes) => write!(
                f,
                "together they have {nodes} nodes, more than the {GROUP_NODES_MAX} of a group"
            ),
            Self::Apart => write!(f, "two nodes of them are to be apart"),
            Self::NoRoom(demand) => write!(
                f,
                "no worker that both may be on has room for {} executors and {} MiB",
                demand.executors, demand.memory_mib
            ),
            Self::Quota { over_bytes } => write!(
                f,
                "payloads in memory would be {} above the quota",
                engine::worker::quantities::size_text(*over_bytes)
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
    let mut refused = Vec::new();
    while grouping.groups_left > 1 {
        let path = grouping.edges_to_try();
        let path_s = grouping.ends.iter().map(|end| end.length_s);
        let path_s = path_s.fold(0.0, f64::max);
        refused.clear();
        let merged = path.into_iter().find_map(|edge| {
            let tried = grouping.edges[edge];
            let (from, to) = (tried.from as NodeId, tried.to as NodeId);
            let weight_s = grouping.weight_s(&tried);
            match grouping.merge(edge) {
                Ok(()) => Some((from, to, weight_s)),
                Err(why) => {
                    refused.push(Refused {
                        from,
                        to,
                        weight_s,
                        why,
                    });
                    None
                }
            }
        });
        let Some((from, to, weight_s)) = merged else {
            break;
        };
        let Some(group) = &grouping.groups[grouping.group_of[from as usize]] else {
            unreachable!("a node's group is one that is left");
        };
        let mut nodes: Vec<NodeId> = group.nodes.iter().map(|node| *node as NodeId).collect();
        nodes.sort_unstable();
        merges.push(Merge {
            from,
            to,
            weight_s,
            path_s,
            nodes,
            worker: group.worker,
            demand: group.demand,
        });
    }
    if grouping.groups_left == 1 {
        refused.clear();
    }
    Ok(Merges {
        merges,
        refused,
        groups: grouping.groups_left,
        held_bytes: grouping.charged_bytes,
        quota_bytes,
    })
}
