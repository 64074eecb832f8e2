//! Leases of what is still arriving from a peer: of a list whose first items may be read before the last ones are here.

use super::{Account, Home, LeaseId, Leases, Payload};
use crate::core::store::Arrival;
use crate::reads::Way;
use faasstore::descriptor::PayloadRef;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// What is arriving, or has never arrived whole.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    under_way: FxHashMap<Arrival, Expected>,
    /// By lease.
    come: FxHashMap<u32, Come>,
}

/// Who gets a range once it is filled.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Lease(LeaseId),
    /// It was refused, and belongs back to its arena.
    Nobody(PayloadRef),
}

/// How much of a lease can be read, from its beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Come {
    pub(super) bytes: u64,
    /// Where its items end, and how many of them are here whole.
    ends: Vec<u64>,
    whole: usize,
    /// Why no more will come.
    pub(super) cause: Option<Rc<str>>,
}

impl Arrivals {
    pub(super) fn of(&self, lease: LeaseId) -> Option<&Come> {
        self.come.get(&lease.0)
    }

    pub(super) fn forget(&mut self, lease: LeaseId) {
        self.come.remove(&lease.0);
    }
}

impl Leases {
    /// As [`Leases::take`], of a range that nothing has arrived of yet, and in which items end there, in order.
    pub(in crate::core) fn take_arriving(
        &mut self,
        account: Account,
        range: PayloadRef,
        arrival: Arrival,
        ends: Vec<u64>,
    ) -> Payload {
        let payload = self.take_come(account, range, Way::Peer);
        let lease = payload.lease;
        self.slots[lease.0 as usize].home = Home::Arriving;
        self.ledgers[account.0 as usize].holdings.moving += 1;
        let come = Come {
            ends,
            ..Come::default()
        };
        self.arrivals.come.insert(lease.0, come);
        let expected = Expected::Lease(lease);
        self.arrivals.under_way.insert(arrival, expected);
        self.alarmed = true;
        payload
    }

    /// Nobody wants what is arriving in this range.
    pub(in crate::core) fn refuse_arriving(&mut self, range: PayloadRef, arrival: Arrival) {
        let nobody = Expected::Nobody(range);
        self.arrivals.under_way.insert(arrival, nobody);
    }

    /// So many bytes are here by now. Somebody may read more only if an item more is.
    pub(in crate::core) fn arrived(&mut self, arrival: Arrival, bytes: u64) {
        if let Some(Expected::Lease(lease)) = self.arrivals.under_way.get(&arrival)
            && let Some(come) = self.arrivals.come.get_mut(&lease.0)
        {
            come.bytes = bytes;
            let left = &come.ends[come.whole..];
            let more = left.iter().take_while(|end| **end <= bytes).count();
            come.whole += more;
            self.alarmed |= more > 0;
        }
    }

    /// All is here; or no more will come, and why. Returns the range if nobody wants it.
    pub(in crate::core) fn arrival_ended(
        &mut self,
        arrival: Arrival,
        ended: Result<(), Rc<str>>,
    ) -> Option<PayloadRef> {
        let lease = match self.arrivals.under_way.remove(&arrival)? {
            Expected::Lease(lease) => lease,
            Expected::Nobody(range) => return Some(range),
        };
        let slot = &mut self.slots[lease.0 as usize];
        self.ledgers[slot.account.0 as usize].holdings.moving -= 1;
        self.alarmed = true;
        match ended {
            Ok(()) => {
                slot.home = Home::Here;
                self.arrivals.forget(lease);
            }
            Err(cause) => {
                slot.home = Home::Torn;
                if let Some(come) = self.arrivals.come.get_mut(&lease.0) {
                    come.cause = Some(cause);
                }
            }
        }
        (slot.holders == 0).then(|| self.vacate(lease))
    }
}
