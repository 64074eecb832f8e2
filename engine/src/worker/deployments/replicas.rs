//! The placements of one deployment on this worker: prepared one by one, and activated and dropped together.

use super::{Deployment, DeploymentError, Deployments};
use crate::plan::{DeploymentId, Plan, Replica};
use crate::status::DeploymentState;
use std::sync::Arc;

/// Whether two plans can be of placements beside each other.
pub(super) fn are_alike(one: &Plan, other: &Plan) -> bool {
    let (a, b) = (one.replica, other.replica);
    let set = |of: Replica| (of.of, of.count, of.balance);
    one.version == other.version && set(a) == set(b) && a.number != b.number
}

impl Deployments {
    /// The placements of a deployment here, all of which are prepared.
    fn prepared(&mut self, id: DeploymentId) -> Result<Vec<&mut Deployment>, DeploymentError> {
        let all = self.known.values_mut();
        let placements: Vec<_> = all.filter(|known| known.plan.replica.of == id).collect();
        if placements.is_empty() {
            return Err(DeploymentError::Unknown(id));
        }
        let is_prepared = |one: &&mut Deployment| one.state == DeploymentState::Prepared;
        if !placements.iter().all(is_prepared) {
            return Err(DeploymentError::NotPrepared(id));
        }
        Ok(placements)
    }

    /// Opens the door of a deployment all of whose placements are prepared. An earlier one of that workflow retires, as the
    /// lanes know by themselves.
    ///
    /// # Errors
    /// It is not known, or one of its placements is not here or not prepared.
    pub fn activate(&mut self, id: DeploymentId) -> Result<(), DeploymentError> {
        let mut placements = self.prepared(id)?;
        let plan = Arc::clone(&placements[0].plan);
        let (prepared, count) = (placements.len(), plan.replica.count);
        if prepared != usize::from(count) {
            return Err(DeploymentError::Incomplete {
                id,
                prepared,
                count,
            });
        }
        for placement in &mut placements {
            placement.state = DeploymentState::Active;
        }
        for other in self.known.values_mut() {
            if other.plan.replica.of != id
                && other.plan.workflow == plan.workflow
                && other.state == DeploymentState::Active
            {
                other.state = DeploymentState::Retiring;
            }
        }
        Ok(())
    }

    /// Begins to drop a deployment that is still prepared.
    ///
    /// # Errors
    /// It is not known or not prepared.
    pub fn abort(&mut self, id: DeploymentId) -> Result<(), DeploymentError> {
        for placement in self.prepared(id)? {
            placement.state = DeploymentState::Retiring;
        }
        Ok(())
    }

    /// The deployment of a placement, if that is the last of those that were prepared here: then nobody has prepared
    /// anything of it since.
    #[must_use]
    pub fn last_prepared(&self, id: DeploymentId) -> Option<DeploymentId> {
        let replica = self.known.get(&id)?.plan.replica;
        let mut others = self.known.values().map(|other| other.plan.replica);
        let later = others.any(|other| other.of == replica.of && other.number > replica.number);
        (!later).then_some(replica.of)
    }
}
