//! What lanes have counted of payloads that were read, by edge: asked for page by page, and added up.

use crate::lane::command::LaneCommand;
use crate::plan::DeploymentId;
use crate::reads::{EdgePage, Reads, merge};
use crate::status::{DeploymentStatus, EdgeStatus, WorkflowStatus};
use crate::worker::control::Control;
use crate::worker::lanes::LaneHandle;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Nodes of a page: a lane goes through them between two activations, in some tens of microseconds.
const PAGE_NODES: usize = 1024;
/// Edges of a deployment that are listed: a status must fit into a message.
const EDGES_MAX: usize = 2048;

/// What was read on a worker.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By deployment, and what was read by whom.
    edges: BTreeMap<DeploymentId, BTreeMap<(String, String), Reads>>,
    /// By workflow.
    sums: BTreeMap<String, Reads>,
}

impl Control {
    /// What was read in each deployment.
    pub(super) async fn reads(&self) -> Told {
        let mut told = Told::default();
        // No borrow may be held across a wait.
        let all = self.deployments.borrow().all();
        for lane in &self.lanes {
            let mut past: BTreeMap<&str, Reads> = BTreeMap::new();
            for (deployment, workflow) in &all {
                let edges = told.edges.entry(*deployment).or_default();
                let mut from = Some(0);
                while let Some(first) = from.take() {
                    // It may not have come to that lane yet, or has gone.
                    let Some((page, gone)) = page(lane, *deployment, first).await else {
                        break;
                    };
                    past.insert(workflow, gone);
                    from = page.next;
                    merge(edges, page.edges);
                }
            }
            for (workflow, reads) in past {
                let sum = told.sums.entry(workflow.to_owned()).or_default();
                sum.add(&reads);
            }
        }
        for (deployment, workflow) in all {
            let edges = told.edges.get(&deployment).into_iter().flatten();
            let sum = told.sums.entry(workflow).or_default();
            edges.for_each(|(_, reads)| sum.add(reads));
        }
        told
    }
}

async fn page(lane: &LaneHandle, deployment: DeploymentId, from: u32) -> Option<(EdgePage, Reads)> {
    let (reply, answer) = oneshot::channel();
    let most = PAGE_NODES;
    let command = LaneCommand::Edges {
        deployment,
        from,
        most,
        reply,
    };
    lane.send(command).await;
    // A lane that has ended tells nothing.
    answer.await.ok().flatten()
}

impl Told {
    /// Puts into a deployment's status what was read over its edges.
    pub(super) fn tell_edges(&mut self, status: &mut DeploymentStatus) {
        let edges = self.edges.remove(&status.deployment).unwrap_or_default();
        (status.edges, status.edges_unlisted) = listed(edges, EDGES_MAX);
    }

    /// Puts into a workflow's status what was read of it.
    pub(super) fn tell_sums(&self, status: &mut WorkflowStatus) {
        let sums = self.sums.get(&status.workflow).copied();
        status.reads = sums.unwrap_or_default().into();
    }
}

/// The edges over which most bytes came, by name, and how many others there are.
fn listed(edges: BTreeMap<(String, String), Reads>, most: usize) -> (Vec<EdgeStatus>, u64) {
    let mut edges: Vec<((String, String), Reads)> = edges.into_iter().collect();
    let unlisted = edges.len().saturating_sub(most);
    if unlisted > 0 {
        edges.sort_by_key(|(_, reads)| Reverse(reads.all().bytes));
        edges.truncate(most);
        edges.sort_by(|one, other| one.0.cmp(&other.0));
    }
    let status = |((from, to), reads): ((String, String), Reads)| EdgeStatus {
        from,
        to,
        reads: reads.into(),
    };
    (edges.into_iter().map(status).collect(), unlisted as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reads::Way;

    #[test]
    fn of_very_many_edges_those_are_listed_over_which_most_came() {
        let mut edges = BTreeMap::new();
        for (name, bytes) in [("a", 5), ("b", 70), ("c", 0), ("d", 6)] {
            let mut reads = Reads::default();
            reads.count(Way::Peer, bytes);
            edges.insert((format!("{name}.out"), "x".to_owned()), reads);
        }
        let (all, unlisted) = listed(edges.clone(), 4);
        assert_eq!((all.len(), unlisted), (4, 0));
        let (most, unlisted) = listed(edges, 2);
        let names: Vec<&str> = most.iter().map(|edge| edge.from.as_str()).collect();
        assert_eq!((names, unlisted), (vec!["b.out", "d.out"], 2));
        assert_eq!(most[0].reads.by_tier.peer.bytes, 70);
    }
}
