//! The files that deployments were planned from: kept with them, within bounds, for whoever plans them anew.

use super::{Deployment, DeploymentError, Deployments};
use crate::plan::DeploymentId;
use crate::status::DeploymentState;
use crate::wire::{SOURCES_BYTES_ALL_MAX, SOURCES_BYTES_MAX, Sources};

impl Deployments {
    /// The deployment that clients invoke by this name; of several placements the first.
    ///
    /// # Errors
    /// [`DeploymentError::NoWorkflow`] if there is none.
    pub fn active(&self, workflow: &str) -> Result<&Deployment, DeploymentError> {
        let mut known = self.known.values();
        let first = |one: &&Deployment| {
            one.plan.workflow == workflow
                && one.state == DeploymentState::Active
                && one.plan.replica.number == 1
        };
        known.find(first).ok_or_else(|| self.no_workflow(workflow))
    }

    /// All placements that clients invoke by this name.
    pub fn all_active(&self, workflow: &str) -> impl Iterator<Item = DeploymentId> {
        let active = self.known.values().filter(move |one| {
            one.plan.workflow == workflow && one.state == DeploymentState::Active
        });
        active.map(|one| one.plan.deployment)
    }

    /// Keeps the files of a deployment that is still prepared.
    ///
    /// # Errors
    /// It is not known or not prepared, or its files are too large.
    pub fn keep(&mut self, id: DeploymentId, sources: Sources) -> Result<(), DeploymentError> {
        let kept = self.known.values().filter_map(|one| one.sources.as_ref());
        let left = SOURCES_BYTES_ALL_MAX.saturating_sub(kept.map(Sources::bytes).sum());
        let deployment = self
            .known
            .get_mut(&id)
            .ok_or(DeploymentError::Unknown(id))?;
        if deployment.state != DeploymentState::Prepared {
            return Err(DeploymentError::NotPrepared(id));
        }
        let (bytes, limit) = (sources.bytes(), SOURCES_BYTES_MAX);
        if bytes > limit.min(left) {
            return Err(DeploymentError::Sources { bytes, limit, left });
        }
        deployment.sources = Some(sources);
        Ok(())
    }
}
