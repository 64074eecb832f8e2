//! What a worker tells of what it runs: what was measured of a workflow, and from what it was deployed.

use crate::lane::command::LaneCommand;
use crate::plan::{NodeId, NodePlan, Plan, Source, Work};
use crate::profile::{LaneProfile, NodeProfile};
use crate::wire::{Deployed, DeployedNode, MeasuredNode, ProfilePage};
use crate::worker::control::Control;
use crate::worker::deployments::DeploymentError;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Nodes of a page: a lane copies their figures between two activations, in some tens of microseconds.
const PAGE_NODES: usize = 32;

impl Control {
    /// What is deployed under a name in a placement.
    ///
    /// # Errors
    /// Nothing is, or not in so many placements.
    pub(super) fn deployed(
        &self,
        workflow: &str,
        placement: u16,
    ) -> Result<Deployed, DeploymentError> {
        let deployments = self.deployments.borrow();
        let deployment = deployments.active(workflow, placement)?;
        let plan = &deployment.plan;
        let nodes = plan.nodes.iter().map(|node| DeployedNode {
            id: node.id,
            name: node.name.clone(),
            part: plan.part_of(node),
        });
        let wholes = plan.wholes.iter();
        Ok(Deployed {
            replica: plan.replica,
            version: plan.version,
            workers: plan.workers.clone(),
            nodes: nodes.collect(),
            wholes: wholes
                .map(|whole| (whole.id, whole.parts.clone()))
                .collect(),
            sources: deployment.sources.clone(),
        })
    }

    /// What the lanes have measured of some nodes of a workflow in a placement.
    ///
    /// # Errors
    /// Nothing of that name is deployed, or not in so many placements, or not any more.
    pub(super) async fn profile(
        &self,
        workflow: &str,
        placement: u16,
        from: u32,
    ) -> Result<ProfilePage, DeploymentError> {
        // No borrow may be held across a wait, not even by a temporary.
        let plan = Arc::clone(&self.deployments.borrow().active(workflow, placement)?.plan);
        let mut all: Option<LaneProfile> = None;
        for lane in &self.lanes {
            let (reply, answer) = oneshot::channel();
            let command = LaneCommand::Profile {
                deployment: plan.deployment,
                from,
                most: PAGE_NODES,
                reply,
            };
            lane.send(command).await;
            // It went while it was asked for, or the lane has ended.
            let one = answer.await.ok().flatten();
            let one = one.ok_or(DeploymentError::Unknown(plan.deployment))?;
            match all.as_mut() {
                Some(all) => all.merge(&one),
                None => all = Some(one),
            }
        }
        let all = all.unwrap_or_default();
        let by_id: BTreeMap<NodeId, &NodePlan> =
            plan.nodes.iter().map(|node| (node.id, node)).collect();
        let nodes = all.nodes.iter();
        let nodes = nodes.filter_map(|node| Some(measured(node, by_id.get(&node.id)?, &plan)));
        Ok(ProfilePage {
            deployment: plan.replica.of,
            version: plan.version,
            invocations: all.invocations,
            measured: all.measured,
            nodes: nodes.collect(),
            next: all.next,
        })
    }

    /// Has the lanes forget what they have measured of a workflow.
    ///
    /// # Errors
    /// Nothing of that name is deployed.
    pub(super) async fn forget_profile(&self, workflow: &str) -> Result<(), DeploymentError> {
        self.deployments.borrow().active(workflow, 1)?;
        let placements: Vec<_> = {
            let deployments = self.deployments.borrow();
            let placements = deployments.all_active(workflow);
            placements.map(|one| one.plan.deployment).collect()
        };
        for deployment in placements {
            for lane in &self.lanes {
                lane.send(LaneCommand::ForgetProfile(deployment)).await;
            }
        }
        Ok(())
    }
}

/// What a node gives, if that is read.
const fn output_of(source: Source) -> Option<(NodeId, u16)> {
    match source {
        Source::Output { node, output } | Source::First { node, output } => Some((node, output)),
        Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
    }
}

fn measured(profile: &NodeProfile, node: &NodePlan, plan: &Plan) -> MeasuredNode {
    let region = node.region.filter(|_| node.over_list);
    let region = region.map(|region| &plan.regions[usize::from(region)]);
    let mut reads: BTreeMap<NodeId, BTreeSet<u16>> = BTreeMap::new();
    for (node, output) in node.reads().filter_map(output_of) {
        reads.entry(node).or_default().insert(output);
    }
    let list = region.and_then(|region| output_of(region.list));
    let is_new = list.is_some_and(|(node, output)| reads.entry(node).or_default().insert(output));
    let over = list.filter(|_| is_new && region.is_some_and(|region| region.part.is_some()));
    let reads = reads.into_iter();
    let names = node.outputs.iter().map(|output| output.name.clone());
    let outputs = profile.outputs.iter().map(|output| output.to_wire());
    MeasuredNode {
        id: node.id,
        name: node.name.clone(),
        has_executor: matches!(node.work, Work::Function { .. }),
        reads: reads
            .map(|(producer, outputs)| (producer, outputs.into_iter().collect()))
            .collect(),
        over,
        activations: profile.activations,
        failures: profile.failures,
        ran: profile.ran,
        run_ns: profile.run_ns.to_wire(),
        queued_ns: profile.queued_ns.to_wire(),
        cpu: profile.cpu,
        outputs: names.zip(outputs).collect(),
        items: profile.items.as_ref().map(|items| items.to_wire()),
    }
}
