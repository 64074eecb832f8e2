//! What is still being sent of invocations that were taken here, where their memory is proven: each counts at the door until that
//! has gone.
//!
//! A payload that is being sent stays in memory, however slow whoever reads it is: a client that has its answer in part only,
//! or a worker that does not need it any more. So an invocation that is over keeps its place until nothing of it is to be sent. That
//! ends: a client or peer that takes nothing is given up.
//!
//! It is counted by lease. A lease whose last view to be sent has gone is sent for all invocations.

use super::lease::LeaseId;
use crate::plan::DeploymentId;
use faasstore::descriptor::InvocationId;
use std::collections::{BTreeMap, BTreeSet};

/// Of one invocation.
#[derive(Debug, Default)]
struct Left {
    /// Leases of which a view is to be sent.
    leases: u32,
    /// If it is over: of which deployment it was.
    over: Option<DeploymentId>,
}

/// Of all invocations whose memory is proven.
#[derive(Debug, Default)]
pub(super) struct Sending {
    by_lease: BTreeSet<(LeaseId, InvocationId)>,
    left: BTreeMap<InvocationId, Left>,
}

impl Sending {
    /// How many invocations have something to be sent.
    pub(super) fn count(&self) -> usize {
        self.left.len()
    }

    /// A view of a lease is to be sent, for an invocation.
    pub(super) fn begin(&mut self, lease: LeaseId, invocation: InvocationId) {
        if self.by_lease.insert((lease, invocation)) {
            self.left.entry(invocation).or_default().leases += 1;
        }
    }

    /// An invocation is over; true if something of it is still to be sent.
    pub(super) fn is_over(&mut self, invocation: InvocationId, deployment: DeploymentId) -> bool {
        let left = self.left.get_mut(&invocation);
        left.map(|left| left.over = Some(deployment)).is_some()
    }

    /// No view of a lease is to be sent any more. Gives, one by one, the deployments of invocations that are over and of which nothing is
    /// to be sent with that.
    pub(super) fn next_sent(&mut self, lease: LeaseId) -> Option<DeploymentId> {
        loop {
            let of_it = (lease, InvocationId(0))..=(lease, InvocationId(u128::MAX));
            let (_, invocation) = *self.by_lease.range(of_it).next()?;
            self.by_lease.remove(&(lease, invocation));
            let left = self.left.get_mut(&invocation)?;
            left.leases -= 1;
            if left.leases > 0 {
                continue;
            }
            let over = left.over;
            self.left.remove(&invocation);
            if over.is_some() {
                return over;
            }
        }
    }
}
