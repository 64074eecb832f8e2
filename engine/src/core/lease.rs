//! Leases: who still needs which range of shared memory, counted in the engine's private memory.
//!
//! A *lease* stands for one committed range of somebody's arena. Payloads are views of leases: an output is a view of
//! the whole range, an alias or an item of a list a view of a part. The range goes back to its arena when the last
//! view has been let go of. Nothing here touches the memory itself.

use faasstore::descriptor::PayloadRef;

/// Index of a lease. Indices are used again, but only when no view of the lease is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseId(u32);

impl LeaseId {
    const NONE: Self = Self(u32::MAX);
}

/// A view of a lease; a payload of no bytes is a view of none.
///
/// It is `Copy`, and counting is its keeper's duty: each copy kept is one [`Leases::hold`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    lease: LeaseId,
    presence: Presence,
    offset: u64,
    length: u64,
}

/// Whether a payload is there at all. What it takes in memory is what else a slot says in the same place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    There,
    Absent,
}

impl Payload {
    /// A payload of no bytes.
    pub const EMPTY: Self = Self {
        lease: LeaseId::NONE,
        presence: Presence::There,
        offset: 0,
        length: 0,
    };
    /// The place in a list of an item that is not there.
    pub const ABSENT: Self = Self {
        presence: Presence::Absent,
        ..Self::EMPTY
    };

    /// Whether it is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.presence == Presence::Absent
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// A part of this payload, or none if it reaches beyond. The part is one more view: hold it.
    #[must_use]
    pub fn part(&self, offset: u64, length: u64) -> Option<Self> {
        if self.is_absent() || offset.checked_add(length)? > self.length {
            return None;
        }
        if length == 0 {
            return Some(Self::EMPTY);
        }
        Some(Self {
            offset: self.offset + offset,
            length,
            ..*self
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    range: PayloadRef,
    holders: u32,
    account: Account,
}

/// Whose leases are counted together: those of all deployments of a workflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account(u32);

/// What an account has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holdings {
    /// Leases.
    pub leases: u64,
    /// Bytes of their ranges.
    pub bytes: u64,
    /// The most bytes that there ever were.
    pub bytes_peak: u64,
}

#[derive(Debug, Default)]
struct Ledger {
    workflow: String,
    deployments: u32,
    holdings: Holdings,
}

/// All leases of a lane.
#[derive(Debug, Default)]
pub struct Leases {
    slots: Vec<Lease>,
    free: Vec<u32>,
    bytes: u64,
    /// By account. One without deployments and leases is anybody's.
    ledgers: Vec<Ledger>,
}

impl Leases {
    /// The account of a workflow, for one more deployment of it.
    pub fn open(&mut self, workflow: &str) -> Account {
        let known = |ledger: &Ledger| ledger.deployments > 0 && ledger.workflow == workflow;
        let unused = |ledger: &Ledger| ledger.deployments == 0 && ledger.holdings.leases == 0;
        let ledgers = &mut self.ledgers;
        let index = ledgers.iter().position(known).unwrap_or_else(|| {
            let new = Ledger {
                workflow: workflow.to_owned(),
                ..Ledger::default()
            };
            match ledgers.iter().position(unused) {
                Some(index) => {
                    ledgers[index] = new;
                    index
                }
                None => {
                    ledgers.push(new);
                    ledgers.len() - 1
                }
            }
        });
        ledgers[index].deployments += 1;
        Account(index as u32)
    }

    /// A deployment of the account's workflow has gone. What is still held counts there until it is let go of.
    pub fn close(&mut self, account: Account) {
        self.ledgers[account.0 as usize].deployments -= 1;
    }

    /// What an account has.
    #[must_use]
    pub fn holdings(&self, account: Account) -> Holdings {
        self.ledgers[account.0 as usize].holdings
    }

    /// Takes charge of a committed range; the payload returned is its first view.
    #[inline]
    pub fn take(&mut self, account: Account, range: PayloadRef) -> Payload {
        if !range.is_range() {
            return Payload::EMPTY;
        }
        let lease = Lease {
            range,
            holders: 1,
            account,
        };
        self.bytes += range.length;
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        holdings.leases += 1;
        holdings.bytes += range.length;
        holdings.bytes_peak = holdings.bytes_peak.max(holdings.bytes);
        let index = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = lease;
            index
        } else {
            self.slots.push(lease);
            (self.slots.len() - 1) as u32
        };
        Payload {
            lease: LeaseId(index),
            presence: Presence::There,
            offset: range.offset,
            length: range.length,
        }
    }

    /// Counts one more view.
    #[inline]
    pub fn hold(&mut self, payload: Payload) {
        if payload.lease != LeaseId::NONE {
            self.slots[payload.lease.0 as usize].holders += 1;
        }
    }

    /// Lets go of one view; the range is returned if it was the last.
    #[inline]
    #[must_use = "the range belongs back to its arena"]
    pub fn let_go(&mut self, payload: Payload) -> Option<PayloadRef> {
        if payload.lease == LeaseId::NONE {
            return None;
        }
        let lease = &mut self.slots[payload.lease.0 as usize];
        debug_assert!(lease.holders > 0, "a view is let go of once");
        lease.holders -= 1;
        if lease.holders > 0 {
            return None;
        }
        let Lease { range, account, .. } = *lease;
        self.bytes -= range.length;
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        holdings.leases -= 1;
        holdings.bytes -= range.length;
        self.free.push(payload.lease.0);
        Some(range)
    }

    /// Where the payload lies.
    #[inline]
    #[must_use]
    pub fn locate(&self, payload: Payload) -> PayloadRef {
        if payload.lease == LeaseId::NONE {
            return if payload.is_absent() {
                PayloadRef::ABSENT
            } else {
                PayloadRef::EMPTY
            };
        }
        let range = self.slots[payload.lease.0 as usize].range;
        PayloadRef {
            offset: payload.offset,
            length: payload.length,
            ..range
        }
    }

    /// The range that is held as long as the payload is.
    #[must_use]
    pub fn kept_with(&self, payload: Payload) -> PayloadRef {
        if payload.lease == LeaseId::NONE {
            return self.locate(payload);
        }
        self.slots[payload.lease.0 as usize].range
    }

    /// Leases that are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Bytes of the ranges that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PayloadRef = PayloadRef {
        segment: 3,
        generation: 1,
        offset: 64,
        length: 100,
    };

    #[test]
    fn a_range_comes_back_with_its_last_view_and_not_before() {
        let mut leases = Leases::default();
        let account = leases.open("w");
        let whole = leases.take(account, RANGE);
        let part = whole.part(10, 20).unwrap();
        leases.hold(part);
        assert_eq!(leases.let_go(whole), None);
        assert_eq!(
            leases.locate(part),
            PayloadRef {
                offset: 74,
                length: 20,
                ..RANGE
            }
        );
        assert_eq!((leases.count(), leases.bytes()), (1, 100));
        assert_eq!(leases.let_go(part), Some(RANGE));
        assert_eq!((leases.count(), leases.bytes()), (0, 0));
    }

    #[test]
    fn a_part_never_reaches_beyond_its_payload() {
        let mut leases = Leases::default();
        let account = leases.open("w");
        let whole = leases.take(account, RANGE);
        assert_eq!(whole.part(90, 11), None);
        assert_eq!(whole.part(u64::MAX, 2), None);
        assert_eq!(whole.part(100, 0), Some(Payload::EMPTY));
    }

    #[test]
    fn an_empty_payload_holds_nothing() {
        let mut leases = Leases::default();
        let account = leases.open("w");
        let empty = leases.take(account, PayloadRef::EMPTY);
        leases.hold(empty);
        assert_eq!(leases.let_go(empty), None);
        assert_eq!(leases.count(), 0);
        assert_eq!(leases.holdings(account), Holdings::default());
    }

    #[test]
    fn each_workflow_has_its_own_account_however_many_deployments_it_has() {
        let mut leases = Leases::default();
        let (old, other) = (leases.open("a"), leases.open("b"));
        let new = leases.open("a");
        assert_eq!(old, new);
        assert_ne!(old, other);
        let [first, second] = [(); 2].map(|()| leases.take(old, RANGE));
        let theirs = leases.take(other, RANGE);
        assert_eq!(leases.let_go(first), Some(RANGE));
        let holdings = |leases: u64, bytes: u64, bytes_peak: u64| Holdings {
            leases,
            bytes,
            bytes_peak,
        };
        assert_eq!(leases.holdings(new), holdings(1, 100, 200));
        assert_eq!(leases.holdings(other), holdings(1, 100, 100));
        leases.close(old);
        leases.close(new);
        // Nobody else gets an account of which something is held.
        let next = leases.open("c");
        assert_ne!(next, old);
        assert_eq!(leases.holdings(next), Holdings::default());
        assert_eq!(leases.let_go(second), Some(RANGE));
        assert_eq!(leases.open("d"), old);
        assert_eq!(leases.holdings(old), Holdings::default());
        assert_eq!(leases.let_go(theirs), Some(RANGE));
        assert_eq!((leases.count(), leases.bytes()), (0, 0));
    }
}
