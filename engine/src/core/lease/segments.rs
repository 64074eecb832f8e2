//! The segments in which leases lie, as far as a core is told of them: what memory a workflow really holds.
//!
//! A range keeps the whole of its segment in memory. As long as all segments together are small beside what workflows may have,
//! nothing is counted here; from then on each lease is, in its segment.

use super::{Account, Home, LeaseId, Leases, Ledger};
use crate::core::pool::ExecutorId;
use std::collections::BTreeMap;

/// A segment, by the number by which ranges name it.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    bytes: u64,
    /// In whose arena it lies, if that is an executor's.
    owner: Option<ExecutorId>,
    /// Whose leases lie in it, if any do.
    account: Option<Account>,
    ranges: u32,
    /// Of these, those that are being carried out.
    leaving: u32,
}

/// All segments that have been told of.
#[derive(Debug, Default)]
pub(super) struct Segments {
    known: Vec<Segment>,
    bytes: u64,
    /// Whether leases are counted.
    pub(super) counted: bool,
    /// Executors that wait for room in their arenas, and whether any of that is on its way back.
    awaited: BTreeMap<ExecutorId, bool>,
}

impl Segments {
    fn at(&mut self, number: u32) -> &mut Segment {
        let place = number as usize;
        if self.known.len() <= place {
            self.known.resize(place + 1, Segment::default());
        }
        &mut self.known[place]
    }

    fn get(&self, number: u32) -> Segment {
        self.known.get(number as usize).copied().unwrap_or_default()
    }
}

impl Ledger {
    /// Whether more is held than this is watched for.
    pub(super) fn is_beyond(&self) -> bool {
        self.holdings.bytes > self.tally.watch_bytes
            || self.holdings.segment_bytes > self.tally.room_bytes / 2
    }
}

impl Leases {
    /// Whether an account has more than it is watched for.
    pub(in crate::core) fn is_beyond(&self, account: Account) -> bool {
        self.ledgers[account.0 as usize].is_beyond()
    }

    /// There is a segment of that number, in the arena of an executor, if an owner is said.
    pub fn know_segment(&mut self, number: u32, bytes: u64, owner: Option<ExecutorId>) {
        let segment = self.segments.at(number);
        debug_assert_eq!(
            segment.bytes, 0,
            "a number is used again when its segment has gone"
        );
        (segment.bytes, segment.owner) = (bytes, owner);
        // Something may lie in it already that a completion has named.
        let occupied = segment.account.filter(|_| segment.ranges > 0);
        self.segments.bytes += bytes;
        if let Some(account) = occupied {
            self.hold_segment(account, bytes);
        }
        let watched = self.ledgers.iter().filter(|one| one.deployments > 0);
        let least = watched.map(|one| one.tally.room_bytes / 2).min();
        if least.is_some_and(|least| self.segments.bytes > least) {
            self.count_segments();
        }
    }

    /// The segment of that number has gone, and nothing lies in it.
    pub fn forget_segment(&mut self, number: u32) {
        let segment = self.segments.at(number);
        let bytes = std::mem::take(&mut segment.bytes);
        segment.owner = None;
        // What lies there lies in the next one of that number, which is still to be told of.
        let occupied = segment.account.filter(|_| segment.ranges > 0);
        self.segments.bytes -= bytes;
        if let Some(account) = occupied {
            self.ledgers[account.0 as usize].holdings.segment_bytes -= bytes;
        }
    }

    /// The executor has gone in whose arena that segment lies: nobody takes ranges of it back any more.
    pub fn disown_segment(&mut self, number: u32) {
        self.segments.at(number).owner = None;
    }

    /// Counts leases by segment from now on.
    pub(in crate::core) fn count_segments(&mut self) {
        if std::mem::replace(&mut self.segments.counted, true) {
            return;
        }
        for index in 0..self.slots.len() {
            let lease = self.slots[index];
            let lies = match lease.home {
                Home::Here | Home::Torn => lease.holders > 0,
                Home::Leaving | Home::Staying | Home::Arriving => true,
                Home::Away | Home::Coming | Home::Lost => false,
            };
            if lies {
                self.occupy(lease.range.segment, lease.account);
                if lease.home == Home::Leaving {
                    self.note_leaving(lease.range.segment);
                }
            }
        }
    }

    fn hold_segment(&mut self, account: Account, bytes: u64) {
        let ledger = &mut self.ledgers[account.0 as usize];
        ledger.holdings.segment_bytes += bytes;
        self.alarmed |= ledger.is_beyond();
    }

    /// A lease lies there now.
    pub(super) fn occupy(&mut self, number: u32, account: Account) {
        if !self.segments.counted {
            return;
        }
        let segment = self.segments.at(number);
        segment.ranges += 1;
        if segment.ranges == 1 {
            segment.account = Some(account);
            let bytes = segment.bytes;
            self.hold_segment(account, bytes);
        }
    }

    /// A lease does not lie there any more: its range goes back.
    pub(super) fn leave_segment(&mut self, number: u32) {
        let owner = self.uncount(number);
        let awaited = owner.and_then(|owner| self.segments.awaited.get_mut(&owner));
        if let Some(comes_back) = awaited {
            *comes_back = true;
        }
    }

    /// A lease does not lie there, though it was counted: nothing goes back for it. In whose arena the segment lies.
    pub(super) fn uncount(&mut self, number: u32) -> Option<ExecutorId> {
        if !self.segments.counted {
            return None;
        }
        let segment = self.segments.at(number);
        debug_assert!(segment.ranges > 0, "what lies in a segment was counted");
        segment.ranges = segment.ranges.saturating_sub(1);
        let (owner, bytes) = (segment.owner, segment.bytes);
        if segment.ranges == 0
            && let Some(account) = segment.account.take()
        {
            self.ledgers[account.0 as usize].holdings.segment_bytes -= bytes;
        }
        owner
    }

    /// An executor waits for room in its arena, as long as `waits`.
    pub(in crate::core) fn await_room(&mut self, owner: ExecutorId, waits: bool) {
        if waits {
            self.count_segments();
            self.segments.awaited.insert(owner, false);
        } else {
            self.segments.awaited.remove(&owner);
        }
    }

    /// Whether anything is on its way back to an executor that waits for room.
    pub(in crate::core) fn comes_back_to(&self, owner: ExecutorId) -> bool {
        self.segments.awaited.get(&owner) == Some(&true)
    }

    /// A lease that lies there is being carried out.
    pub(super) fn note_leaving(&mut self, number: u32) {
        if self.segments.counted {
            self.segments.at(number).leaving += 1;
        }
    }

    /// It is not any more.
    pub(super) fn note_left(&mut self, number: u32) {
        if self.segments.counted {
            let segment = self.segments.at(number);
            segment.leaving = segment.leaving.saturating_sub(1);
        }
    }

    /// Whether something in an executor's arena is being carried out.
    pub(in crate::core) fn leaves_from(&self, owner: ExecutorId) -> bool {
        let of_it = |one: &&Segment| one.owner == Some(owner);
        let mut of_it = self.segments.known.iter().filter(of_it);
        of_it.any(|segment| segment.leaving > 0)
    }

    /// The segment in which a lease lies, its bytes, and how many leases do, those left out that are being carried out.
    pub(in crate::core) fn segment_of(&self, id: LeaseId) -> (u32, u64, u32) {
        let number = self.slots[id.0 as usize].range.segment;
        let segment = self.segments.get(number);
        (
            number,
            segment.bytes,
            segment.ranges.saturating_sub(segment.leaving),
        )
    }

    /// In which executor's arena a segment lies, if it lies in one.
    pub(in crate::core) fn owner_of(&self, number: u32) -> Option<ExecutorId> {
        self.segments.get(number).owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasstore::descriptor::PayloadRef;
    use faasstore::tier::TierKind;

    const EXECUTOR: ExecutorId = ExecutorId(4);

    fn range(segment: u32, offset: u64) -> PayloadRef {
        PayloadRef {
            segment,
            generation: 0,
            offset,
            length: 100,
        }
    }

    /// Of a workflow whose segments may have 4,000 bytes: counted from 2,001 on.
    fn leases() -> (Leases, Account) {
        let mut leases = Leases::default();
        let account = leases.open("w");
        leases.tally_mut(account).room_bytes = 4000;
        (leases, account)
    }

    fn held(leases: &Leases, account: Account) -> u64 {
        leases.holdings(account).segment_bytes
    }

    #[test]
    fn a_segment_is_held_from_its_first_lease_to_its_last_whenever_counting_begins() {
        let (mut leases, account) = leases();
        leases.know_segment(0, 1500, Some(EXECUTOR));
        let [first, second] = [0, 128].map(|offset| leases.take(account, range(0, offset)));
        assert_eq!(held(&leases, account), 0, "nothing is counted yet");
        leases.know_segment(1, 1500, None);
        assert_eq!(held(&leases, account), 1500);
        let third = leases.take(account, range(1, 0));
        assert_eq!(held(&leases, account), 3000);
        assert!(leases.take_alarm(), "it is more than half");
        assert!(leases.let_go(first).is_some());
        assert_eq!(held(&leases, account), 3000);
        assert!(leases.let_go(second).is_some());
        assert_eq!(held(&leases, account), 1500);
        assert!(leases.let_go(third).is_some());
        assert_eq!(held(&leases, account), 0);
    }

    #[test]
    fn a_lease_may_come_before_its_segment_is_told_of_and_in_a_number_that_is_used_again() {
        let (mut leases, account) = leases();
        leases.know_segment(0, 2500, None);
        let early = leases.take(account, range(1, 0));
        assert_eq!(held(&leases, account), 0);
        leases.know_segment(1, 700, Some(EXECUTOR));
        assert_eq!(held(&leases, account), 700);
        assert!(leases.let_go(early).is_some());
        let next = leases.take(account, range(1, 0));
        leases.forget_segment(1);
        assert_eq!((held(&leases, account), leases.owner_of(1)), (0, None));
        leases.know_segment(1, 900, Some(EXECUTOR));
        assert_eq!(held(&leases, account), 900);
        leases.disown_segment(1);
        assert_eq!((held(&leases, account), leases.owner_of(1)), (900, None));
        assert!(leases.let_go(next).is_some());
        assert_eq!(held(&leases, account), 0);
    }

    #[test]
    fn what_is_carried_out_holds_its_segment_until_it_has_left_and_what_comes_back_holds_another() {
        let (mut leases, account) = leases();
        for number in [0, 1] {
            leases.know_segment(number, 2500, (number == 0).then_some(EXECUTOR));
        }
        let payload = leases.take(account, range(0, 0));
        let (id, _) = leases.lease_of(payload).unwrap();
        assert_eq!(leases.segment_of(id), (0, 2500, 1));
        let (ticket, _) = leases.leave(id, TierKind::Spill);
        assert!(leases.leaves_from(EXECUTOR));
        assert_eq!((held(&leases, account), leases.segment_of(id).2), (2500, 0));
        assert!(leases.left(ticket, true).is_some());
        assert!(!leases.leaves_from(EXECUTOR));
        assert_eq!(held(&leases, account), 0);
        assert!(leases.come(payload).is_some());
        assert_eq!(held(&leases, account), 0, "it lies nowhere yet");
        assert!(leases.came(ticket, Ok(range(1, 0))).is_some());
        assert_eq!(held(&leases, account), 2500);
        let (ticket, _) = leases.leave(id, TierKind::Spill);
        leases.stay(payload);
        assert!(leases.left(ticket, true).is_some());
        assert_eq!(held(&leases, account), 2500, "somebody reads it");
        assert!(leases.let_go(payload).is_some());
        assert_eq!(held(&leases, account), 0);
    }
}
