//! Leases: who still needs which range of shared memory, counted in the engine's private memory.
//!
//! A *lease* stands for one committed range of somebody's arena. Payloads are views of leases: an output is a view of
//! the whole range, an alias or an item of a list a view of a part. The range goes back to its arena when the last
//! view has been let go of. Nothing here touches the memory itself.
//!
//! What a lease stands for may be carried out of memory and back ([`super::store`]); its views do not change with that.
//!
//! ```text
//!            leave                left              come                came
//!   Here ───────────► Leaving ───────────► Away ───────────► Coming ───────────► Here
//!    ▲                   │ stay: a reader begins
//!    └──── left ───── Staying       (what has been carried out is thrown away)
//! ```
//!
//! A list that a peer sends may be leased before all of it is here: it is `Arriving` then, its views can be read up to where
//! it has come, and it is `Torn` there if the rest never comes.

mod abroad;
mod arrivals;
mod segments;

pub use abroad::Reach;

use super::store::{Tally, Ticket};
use crate::reads::Way;
use abroad::Abroad;
use arrivals::Arrivals;
use faasstore::descriptor::PayloadRef;
use rustc_hash::FxHashMap;
use segments::Segments;

/// Index of a lease. Indices are used again, but only when no view of the lease is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
    /// Within the lease.
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
    /// Where it lies; while it is away, how long it is.
    range: PayloadRef,
    holders: u32,
    account: Account,
    home: Home,
    /// Whether it never leaves memory.
    kept: bool,
    /// Of its views, those that are to be sent.
    sent: u32,
    /// How its bytes first came here.
    way: Way,
    /// From where they were brought back, if nobody has read them since.
    brought_back: Option<Way>,
}

const _: () = assert!(size_of::<Lease>() == 40);

/// Where the bytes of a lease are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Home {
    Here,
    /// Here, and being carried out: nobody reads it any more.
    Leaving,
    /// As [`Home::Leaving`], but somebody has begun to read it: it stays.
    Staying,
    Away,
    Coming,
    /// It was away, and could not be got back.
    Lost,
    /// Its first bytes are here, and more are on their way.
    Arriving,
    /// Its first bytes are here, and no more will come.
    Torn,
}

/// What the end of a lease sets free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// A range: it belongs back to its arena.
    Range(PayloadRef),
    /// What was carried out: it is to be thrown away.
    Stored(Ticket),
}

/// Whose leases are counted together: those of all deployments of a workflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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
    /// Leases of which the bytes are elsewhere, on top of the others.
    pub away: u64,
    /// Bytes of them.
    pub away_bytes: u64,
    /// Of the leases, those that are on their way out or back, or are still arriving.
    pub moving: u64,
    /// Bytes of those on their way out.
    pub leaving_bytes: u64,
    /// Of the leases, those that are not too small to be carried out.
    pub(super) movable: u64,
    /// Views that are to be sent.
    pub(super) sending: u64,
    /// Bytes of the segments in which the leases lie, as far as these are counted.
    pub segment_bytes: u64,
}

impl Holdings {
    /// A lease of so many bytes is here. From `moved_bytes_min` on it is worth carrying out.
    #[inline]
    fn count_in(&mut self, bytes: u64, moved_bytes_min: u64) {
        self.leases += 1;
        self.movable += u64::from(bytes >= moved_bytes_min);
        self.bytes += bytes;
        self.bytes_peak = self.bytes_peak.max(self.bytes);
    }

    #[inline]
    fn count_out(&mut self, bytes: u64, moved_bytes_min: u64) {
        self.leases -= 1;
        self.movable -= u64::from(bytes >= moved_bytes_min);
        self.bytes -= bytes;
    }
}

#[derive(Debug, Default)]
struct Ledger {
    workflow: String,
    deployments: u32,
    holdings: Holdings,
    tally: Tally,
}

/// All leases of a lane.
#[derive(Debug, Default)]
pub struct Leases {
    slots: Vec<Lease>,
    free: Vec<u32>,
    bytes: u64,
    /// By account. One without deployments and leases is anybody's.
    ledgers: Vec<Ledger>,
    abroad: FxHashMap<u32, Abroad>,
    by_ticket: FxHashMap<Ticket, u32>,
    tickets: u64,
    arrivals: Arrivals,
    /// Leases of fewer bytes are too small to be carried out.
    moved_bytes_min: u64,
    segments: Segments,
    /// Whether an account has come to have more than it is watched for, or has less again and is looked after.
    alarmed: bool,
}

impl Leases {
    /// None yet. Of fewer bytes than these none is worth carrying out.
    #[must_use]
    pub fn new(moved_bytes_min: u64) -> Self {
        Self {
            moved_bytes_min,
            ..Self::default()
        }
    }

    /// The account of a workflow, for one more deployment of it.
    pub fn open(&mut self, workflow: &str) -> Account {
        let known = |ledger: &Ledger| ledger.deployments > 0 && ledger.workflow == workflow;
        let unused = |ledger: &Ledger| {
            let Holdings {
                leases,
                away,
                moving,
                ..
            } = ledger.holdings;
            ledger.deployments == 0 && leases + away + moving == 0 && !ledger.tally.pressed
        };
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

    /// What is watched of an account.
    #[must_use]
    pub fn tally(&self, account: Account) -> &Tally {
        &self.ledgers[account.0 as usize].tally
    }

    pub(super) fn tally_mut(&mut self, account: Account) -> &mut Tally {
        &mut self.ledgers[account.0 as usize].tally
    }

    /// All accounts that there have been.
    pub(super) fn accounts(&self) -> impl Iterator<Item = Account> + use<> {
        (0..self.ledgers.len() as u32).map(Account)
    }

    /// Whether an account is to be looked after; not any more from then on.
    #[inline]
    pub(super) fn take_alarm(&mut self) -> bool {
        std::mem::take(&mut self.alarmed)
    }

    #[inline]
    pub(super) const fn is_alarmed(&self) -> bool {
        self.alarmed
    }

    pub(super) fn alarm(&mut self) {
        self.alarmed = true;
    }

    /// Takes charge of a range that was committed here; the payload returned is its first view.
    #[inline]
    pub fn take(&mut self, account: Account, range: PayloadRef) -> Payload {
        self.take_come(account, range, Way::Shared)
    }

    /// As [`Leases::take`], of a range whose bytes came this way.
    #[inline]
    pub(super) fn take_come(&mut self, account: Account, range: PayloadRef, way: Way) -> Payload {
        if !range.is_range() {
            return Payload::EMPTY;
        }
        let lease = Lease {
            range,
            holders: 1,
            account,
            home: Home::Here,
            kept: false,
            sent: 0,
            way,
            brought_back: None,
        };
        self.bytes += range.length;
        let ledger = &mut self.ledgers[account.0 as usize];
        let holdings = &mut ledger.holdings;
        holdings.count_in(range.length, self.moved_bytes_min);
        self.alarmed |= holdings.bytes > ledger.tally.watch_bytes;
        if self.segments.counted {
            self.occupy(range.segment, account);
        }
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
            offset: 0,
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

    /// Lets go of one view; what its lease stood for is returned if it was the last.
    #[inline]
    #[must_use = "a range belongs back to its arena, and what is stored is to be thrown away"]
    pub fn let_go(&mut self, payload: Payload) -> Option<Freed> {
        if payload.lease == LeaseId::NONE {
            return None;
        }
        let lease = &mut self.slots[payload.lease.0 as usize];
        debug_assert!(lease.holders > 0, "a view is let go of once");
        lease.holders -= 1;
        if lease.holders > 0 {
            return None;
        }
        if lease.home != Home::Here {
            return self.let_go_abroad(payload.lease);
        }
        Some(Freed::Range(self.vacate(payload.lease)))
    }

    /// The end of a lease whose range is in memory, and which nobody views.
    #[inline]
    fn vacate(&mut self, id: LeaseId) -> PayloadRef {
        let Lease { range, account, .. } = self.slots[id.0 as usize];
        self.bytes -= range.length;
        let ledger = &mut self.ledgers[account.0 as usize];
        let holdings = &mut ledger.holdings;
        holdings.count_out(range.length, self.moved_bytes_min);
        self.alarmed |= ledger.tally.pressed;
        if self.segments.counted {
            self.leave_segment(range.segment);
        }
        self.free.push(id.0);
        range
    }

    /// What a view is of never leaves memory.
    pub(super) fn keep(&mut self, payload: Payload) {
        if payload.lease != LeaseId::NONE {
            self.slots[payload.lease.0 as usize].kept = true;
        }
    }

    /// How the bytes of a view first came here, and from where they were brought back if nobody has read them since; none of
    /// a view of no bytes.
    #[inline]
    pub(super) fn way_of(&self, payload: Payload) -> Option<(Way, Option<Way>)> {
        let lease = self.slots.get(payload.lease.0 as usize)?;
        Some((lease.way, lease.brought_back))
    }

    /// What a view shows has been read.
    pub(super) fn was_read(&mut self, payload: Payload) {
        if let Some(lease) = self.slots.get_mut(payload.lease.0 as usize) {
            lease.brought_back = None;
        }
    }

    /// Counts a view that is to be sent as such: its bytes stay here. Its lease, if that comes and goes.
    pub(super) fn send(&mut self, payload: Payload) -> Option<LeaseId> {
        if payload.lease == LeaseId::NONE {
            return None;
        }
        let lease = &mut self.slots[payload.lease.0 as usize];
        lease.sent += 1;
        self.ledgers[lease.account.0 as usize].holdings.sending += 1;
        (!lease.kept).then_some(payload.lease)
    }

    /// A view has been sent; its lease, if that was the last one to be.
    pub(super) fn sent(&mut self, payload: Payload) -> Option<LeaseId> {
        if payload.lease == LeaseId::NONE {
            return None;
        }
        let lease = &mut self.slots[payload.lease.0 as usize];
        debug_assert!(lease.sent > 0, "what has been sent was to be sent");
        lease.sent = lease.sent.saturating_sub(1);
        let ledger = &mut self.ledgers[lease.account.0 as usize];
        ledger.holdings.sending = ledger.holdings.sending.saturating_sub(1);
        self.alarmed |= ledger.tally.pressed;
        (lease.sent == 0).then_some(payload.lease)
    }

    /// Bytes that are free once so many views of a lease have gone: all of them, or none.
    #[must_use]
    pub(super) fn freed_by(&self, id: LeaseId, views: usize) -> u64 {
        let lease = &self.slots[id.0 as usize];
        if lease.holders as usize <= views {
            lease.range.length
        } else {
            0
        }
    }

    /// Bytes of the lease of a view, and which it is: views of one lease have the same.
    #[must_use]
    pub fn lease_of(&self, payload: Payload) -> Option<(LeaseId, u64)> {
        let lease = self.slots.get(payload.lease.0 as usize)?;
        Some((payload.lease, lease.range.length))
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
            offset: range.offset + payload.offset,
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
        assert_eq!(leases.let_go(part), Some(Freed::Range(RANGE)));
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
        assert_eq!(leases.let_go(first), Some(Freed::Range(RANGE)));
        let holdings = |leases: u64, bytes: u64, bytes_peak: u64| Holdings {
            leases,
            bytes,
            bytes_peak,
            movable: leases,
            ..Holdings::default()
        };
        assert_eq!(leases.holdings(new), holdings(1, 100, 200));
        assert_eq!(leases.holdings(other), holdings(1, 100, 100));
        leases.close(old);
        leases.close(new);
        // Nobody else gets an account of which something is held.
        let next = leases.open("c");
        assert_ne!(next, old);
        assert_eq!(leases.holdings(next), Holdings::default());
        assert_eq!(leases.let_go(second), Some(Freed::Range(RANGE)));
        assert_eq!(leases.open("d"), old);
        assert_eq!(leases.holdings(old), Holdings::default());
        assert_eq!(leases.let_go(theirs), Some(Freed::Range(RANGE)));
        assert_eq!((leases.count(), leases.bytes()), (0, 0));
    }
}
