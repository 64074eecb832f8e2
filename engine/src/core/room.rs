//! Room where there is none: what a workflow has in some memory of the lane's is carried out, so that what waits for that memory
//! gets in.
//!
//! The quota bounds what a workflow has in all; this is for the case that memory itself has run out, of which only the lane knows.
//! What leaves is chosen as for the quota ([`victims`](super::victims)), and the workflow is pressed from then on, so that
//! what is elsewhere comes back before it is read. What could be read next stays: of each pool the first that waits, and whatever
//! waits for more of its inputs to come back. So two that wait for room never carry out each other's inputs in turn.

use super::Core;
use super::invocation::Place;
use super::lease::{Account, Leases, Payload, Reach};
use super::program::LocalNode;
use super::quota::MOVING_MAX;
use faasstore::descriptor::PayloadRef;

impl Core {
    /// Has payloads of a workflow carried out that lie where `lies_there` says, so that so many bytes of that memory come back,
    /// as far as there are such payloads and a tier takes them. It is to be asked again when some has come back, and
    /// once in a while: it counts on what is leaving already.
    pub fn make_room(
        &mut self,
        now_ns: u64,
        account: Account,
        bytes: u64,
        lies_there: &dyn Fn(PayloadRef) -> bool,
    ) {
        let holdings = self.leases.holdings(account);
        let lacks = bytes.saturating_sub(holdings.leaving_bytes);
        let most = MOVING_MAX.saturating_sub(holdings.moving) as usize;
        if lacks == 0 || most == 0 {
            return;
        }
        let deployments = self.deployments_of(account);
        let spared = self.next_to_read(&deployments);
        let fits = |leases: &Leases, payload| lies_there(leases.kept_with(payload));
        let found = self.leave_last(now_ns, (account, &deployments), &spared, &fits);
        let victims = found.up_to(lacks, most);
        if victims.is_empty() {
            return;
        }
        self.press(now_ns, account);
        for (lease, kind) in victims {
            self.carry_out(lease, kind);
        }
    }

    /// What may be read as soon as an executor is free, or more of it has come back.
    fn next_to_read(&self, deployments: &[u32]) -> Vec<(Place, LocalNode)> {
        let mut next = Vec::new();
        for deployment in deployments {
            let Some(state) = &self.deployments[*deployment as usize] else {
                continue;
            };
            for pool in &state.pools {
                let current = pool
                    .waiting
                    .iter()
                    .filter(|waiting| self.is_current(waiting.place, waiting.generation));
                for (number, waiting) in current.enumerate() {
                    let (place, node) = (waiting.place, waiting.node);
                    if number == 0 || self.comes_back_for(place, node) {
                        next.push((place, node));
                    }
                }
            }
        }
        next
    }

    fn comes_back_for(&self, place: Place, node: LocalNode) -> bool {
        let mut comes = false;
        self.each_payload_read(place, node, |payload: Payload| {
            comes |= self.leases.reach(payload) == Reach::Coming;
        });
        comes
    }
}
