//! Which compartment of the lane's arena holds what of a workflow: inputs of invocations, what came from other workers, what was
//! computed, and the tables that requests name.
//!
//! No executor is told of a segment that holds payloads of another workflow. All deployments of a workflow share its compartment,
//! since an invocation's inputs are taken in before it is known which of them takes it.

use crate::plan::DeploymentId;
use faasstore::arena::{Arena, Compartment};
use rustc_hash::FxHashMap;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Compartments {
    /// With how many deployments have it.
    of_workflow: FxHashMap<String, (Compartment, usize)>,
    of_deployment: FxHashMap<DeploymentId, (Compartment, String)>,
}

impl Compartments {
    /// The lane gets a deployment of a workflow.
    pub(crate) fn join(
        &mut self,
        deployment: DeploymentId,
        workflow: &str,
        arena: &mut Arena,
    ) -> Compartment {
        let (compartment, deployments) = self
            .of_workflow
            .entry(workflow.to_owned())
            .or_insert_with(|| (arena.open_compartment(u64::MAX), 0));
        *deployments += 1;
        self.of_deployment
            .insert(deployment, (*compartment, workflow.to_owned()));
        *compartment
    }

    /// The deployment has gone. With the last one of its workflow the compartment closes: its segments go as what is in them
    /// comes back.
    pub(crate) fn leave(&mut self, deployment: DeploymentId, arena: &mut Arena) {
        let Some((compartment, workflow)) = self.of_deployment.remove(&deployment) else {
            return;
        };
        if let Some((_, deployments)) = self.of_workflow.get_mut(&workflow) {
            *deployments -= 1;
            if *deployments == 0 {
                self.of_workflow.remove(&workflow);
                arena.close_compartment(compartment);
            }
        }
    }

    /// Where payloads of the deployment go; none if the lane does not have it.
    pub(crate) fn of_deployment(&self, deployment: DeploymentId) -> Option<Compartment> {
        self.of_deployment.get(&deployment).map(|(own, _)| *own)
    }

    /// Where payloads of the workflow go; none if the lane has nothing of it.
    pub(crate) fn of_workflow(&self, workflow: &str) -> Option<Compartment> {
        self.of_workflow.get(workflow).map(|(own, _)| *own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasstore::arena::ArenaConfig;

    #[test]
    fn versions_of_a_workflow_share_a_compartment_that_goes_with_the_last() {
        let mut arena = Arena::new(ArenaConfig {
            name: "test".to_owned(),
            segment_bytes: 4096,
            bytes_max: 1 << 20,
        });
        let mut compartments = Compartments::default();
        let [old, new, other] = [1, 2, 3].map(DeploymentId);
        let own = compartments.join(old, "a", &mut arena);
        assert_eq!(compartments.join(new, "a", &mut arena), own);
        assert_ne!(compartments.join(other, "b", &mut arena), own);
        let held = arena.reserve_in(own, 64).unwrap();

        compartments.leave(old, &mut arena);
        assert_eq!(compartments.of_deployment(old), None);
        assert_eq!(compartments.of_workflow("a"), Some(own));
        compartments.leave(old, &mut arena);
        assert_eq!(compartments.of_deployment(new), Some(own), "left once");
        compartments.leave(new, &mut arena);
        assert_eq!(compartments.of_workflow("a"), None);
        assert!(arena.reserve_in(own, 64).is_err());
        assert_eq!(arena.bytes_held_in(own), 4096, "a range of it is in use");
        arena.abandon(held);
        assert_eq!(arena.bytes_held(), 0);
    }
}
