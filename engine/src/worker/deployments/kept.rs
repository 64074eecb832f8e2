//! The files that deployments were planned from: kept with them, within bounds, for whoever plans them anew.

use super::{Deployment, DeploymentError, Deployments};
use crate::plan::DeploymentId;
use crate::status::DeploymentState;
use crate::wire::{SOURCES_BYTES_ALL_MAX, SOURCES_BYTES_MAX, Sources};

impl Deployments {
    /// A placement, counted from 1, of what clients invoke by this name.
    ///
    /// # Errors
    /// [`DeploymentError::NoWorkflow`] if there is nothing of that name, [`DeploymentError::NoPlacement`] if it has not so many.
    pub fn active(&self, workflow: &str, number: u16) -> Result<&Deployment, DeploymentError> {
        let mut count = None;
        for placement in self.all_active(workflow) {
            let replica = placement.plan.replica;
            if replica.number == number {
                return Ok(placement);
            }
            count = Some(replica.count);
        }
        Err(match count {
            None => self.no_workflow(workflow),
            Some(count) => DeploymentError::NoPlacement {
                workflow: workflow.to_owned(),
                number,
                count,
            },
        })
    }

    /// All placements that clients invoke by this name.
    pub fn all_active(&self, workflow: &str) -> impl Iterator<Item = &Deployment> {
        self.known.values().filter(move |one| {
            one.plan.workflow == workflow && one.state == DeploymentState::Active
        })
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
