//! Leases that are carried out of memory and back.

use super::{Account, Freed, Home, Lease, LeaseId, Leases, Payload};
use crate::core::store::Ticket;
use crate::reads::Way;
use faasstore::descriptor::PayloadRef;
use faasstore::tier::TierKind;
use std::rc::Rc;

/// What is kept of a lease that is not just here.
#[derive(Clone, Debug)]
pub(super) struct Abroad {
    ticket: Ticket,
    /// Where it is.
    kind: TierKind,
    /// Whether it stays there: it is copied.
    is_copy: bool,
    /// Why it could not be got back.
    cause: Option<Rc<str>>,
}

/// Whether a view can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It can.
    Here,
    /// Not yet: it is on its way.
    Coming,
    /// It has to be fetched.
    Away,
    /// It could not be got back, and why.
    Lost(Rc<str>),
    /// It is a copy, for which there was no room.
    Unplaced,
}

/// What has become of a lease that was to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::core) struct Left {
    /// Whose it is.
    pub(in crate::core) account: Account,
    /// Its bytes.
    pub(in crate::core) bytes: u64,
    /// Where it lay, if it does not any more.
    pub(in crate::core) freed: Option<PayloadRef>,
    /// Whether what has been carried out is wanted.
    pub(in crate::core) wanted: bool,
}

/// What has come back, or should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::core) struct Came {
    /// Whose it is.
    pub(in crate::core) account: Account,
    /// Its bytes.
    pub(in crate::core) bytes: u64,
    /// Where it was.
    pub(in crate::core) kind: TierKind,
    /// Whether it is still there, since a copy has come.
    pub(in crate::core) is_copy: bool,
}

/// How what is brought back from a tier comes.
const fn way_from(kind: TierKind) -> Way {
    match kind {
        TierKind::Remote => Way::Remote,
        TierKind::Inline | TierKind::Shared | TierKind::Peer | TierKind::Spill => Way::Spill,
    }
}

impl Leases {
    /// The last view of a lease has gone that is not just here. One that is on its way is seen to when it has arrived.
    #[cold]
    pub(super) fn let_go_abroad(&mut self, id: LeaseId) -> Option<Freed> {
        let Lease {
            home,
            account,
            range,
            ..
        } = self.slots[id.0 as usize];
        self.alarmed = true;
        if home == Home::Torn {
            self.arrivals.forget(id);
            return Some(Freed::Range(self.vacate(id)));
        }
        if !matches!(home, Home::Away | Home::Lost) {
            return None;
        }
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        holdings.away -= 1;
        holdings.away_bytes -= range.length;
        let abroad = self.came_home(id);
        self.free.push(id.0);
        // What is lost has been thrown away already.
        (home == Home::Away).then_some(Freed::Stored(abroad?.ticket))
    }

    fn came_home(&mut self, id: LeaseId) -> Option<Abroad> {
        let abroad = self.abroad.remove(&id.0)?;
        self.by_ticket.remove(&abroad.ticket);
        Some(abroad)
    }

    /// Whether a view can be read.
    #[must_use]
    pub fn reach(&self, payload: Payload) -> Reach {
        if payload.lease == LeaseId::NONE {
            return Reach::Here;
        }
        match self.slots[payload.lease.0 as usize].home {
            Home::Here | Home::Leaving | Home::Staying => Reach::Here,
            Home::Coming => Reach::Coming,
            Home::Arriving | Home::Torn => self.reach_arriving(payload),
            Home::Away => Reach::Away,
            Home::Lost => {
                let cause = self.abroad.get(&payload.lease.0);
                let cause = cause.and_then(|abroad| abroad.cause.clone());
                cause.map_or(Reach::Unplaced, Reach::Lost)
            }
        }
    }

    fn reach_arriving(&self, payload: Payload) -> Reach {
        let Some(come) = self.arrivals.of(payload.lease) else {
            return Reach::Coming;
        };
        match &come.cause {
            _ if payload.offset + payload.length <= come.bytes => Reach::Here,
            None => Reach::Coming,
            Some(cause) => Reach::Lost(Rc::clone(cause)),
        }
    }

    /// Where a view lies that is away, or on its way from there: in what was carried out, and from which byte on. For those
    /// who judge what a core does.
    #[must_use]
    pub fn carried(&self, payload: Payload) -> Option<(Ticket, u64)> {
        let lease = self.slots.get(payload.lease.0 as usize)?;
        let there = matches!(lease.home, Home::Away | Home::Coming);
        let abroad = self.abroad.get(&payload.lease.0).filter(|_| there)?;
        Some((abroad.ticket, payload.offset))
    }

    /// Somebody begins to read: what was leaving stays.
    pub(in crate::core) fn stay(&mut self, payload: Payload) {
        if payload.lease == LeaseId::NONE {
            return;
        }
        let lease = &mut self.slots[payload.lease.0 as usize];
        if lease.home == Home::Leaving {
            lease.home = Home::Staying;
            let holdings = &mut self.ledgers[lease.account.0 as usize].holdings;
            holdings.leaving_bytes -= lease.range.length;
            let segment = lease.range.segment;
            self.note_left(segment);
        }
    }

    /// Whether a lease could leave: it is here, and neither kept nor to be sent. Whether anybody reads it is not known here.
    pub(in crate::core) fn could_leave(&self, id: LeaseId, account: Account) -> bool {
        let lease = &self.slots[id.0 as usize];
        lease.home == Home::Here && lease.sent == 0 && !lease.kept && lease.account == account
    }

    /// A lease that could leave and that nobody reads is to be carried out to a tier: what, and where it lies until it is.
    pub(in crate::core) fn leave(&mut self, id: LeaseId, kind: TierKind) -> (Ticket, PayloadRef) {
        let lease = &mut self.slots[id.0 as usize];
        lease.home = Home::Leaving;
        let holdings = &mut self.ledgers[lease.account.0 as usize].holdings;
        holdings.moving += 1;
        holdings.leaving_bytes += lease.range.length;
        let range = lease.range;
        self.note_leaving(range.segment);
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let abroad = Abroad {
            ticket,
            kind,
            is_copy: false,
            cause: None,
        };
        self.abroad.insert(id.0, abroad);
        self.by_ticket.insert(ticket, id.0);
        (ticket, range)
    }

    /// What was to leave has been carried out, or could not be. Returns whose it is, what is free now, and whether what has
    /// been carried out is wanted.
    pub(in crate::core) fn left(&mut self, ticket: Ticket, well: bool) -> Option<Left> {
        let index = *self.by_ticket.get(&ticket)?;
        let lease = &mut self.slots[index as usize];
        let Lease {
            range,
            account,
            holders,
            home,
            ..
        } = *lease;
        let wanted = well && holders > 0 && home == Home::Leaving;
        lease.home = if wanted { Home::Away } else { Home::Here };
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        holdings.moving -= 1;
        if home == Home::Leaving {
            holdings.leaving_bytes -= range.length;
        }
        let freed = wanted || holders == 0;
        if freed {
            self.bytes -= range.length;
            holdings.count_out(range.length, self.moved_bytes_min);
        }
        if wanted {
            holdings.away += 1;
            holdings.away_bytes += range.length;
        } else {
            self.came_home(LeaseId(index));
        }
        if home == Home::Leaving {
            self.note_left(range.segment);
        }
        if freed {
            self.leave_segment(range.segment);
        }
        if holders == 0 {
            self.free.push(index);
        }
        self.alarmed = true;
        Some(Left {
            account,
            bytes: range.length,
            freed: freed.then_some(range),
            wanted,
        })
    }

    /// A lease is away and is to come back: what is to be fetched, and its bytes. From now on they count as here.
    pub(in crate::core) fn come(&mut self, payload: Payload) -> Option<(Ticket, Account, u64)> {
        let lease = self.slots.get_mut(payload.lease.0 as usize)?;
        if lease.home != Home::Away {
            return None;
        }
        let ticket = self.abroad.get(&payload.lease.0)?.ticket;
        lease.home = Home::Coming;
        let (account, bytes) = (lease.account, lease.range.length);
        self.bytes += bytes;
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        holdings.away -= 1;
        holdings.away_bytes -= bytes;
        holdings.count_in(bytes, self.moved_bytes_min);
        holdings.moving += 1;
        Some((ticket, account, bytes))
    }

    /// What was to come back lies there now, or is lost. Returns what it was, and the range if nobody wants it any more.
    pub(in crate::core) fn came(
        &mut self,
        ticket: Ticket,
        came: Result<PayloadRef, Rc<str>>,
    ) -> Option<(Came, Option<PayloadRef>)> {
        let index = *self.by_ticket.get(&ticket)?;
        let Abroad { kind, is_copy, .. } = *self.abroad.get(&index)?;
        let lease = &mut self.slots[index as usize];
        let (account, bytes, holders) = (lease.account, lease.range.length, lease.holders);
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        holdings.moving -= 1;
        self.alarmed = true;
        let lost = came.as_ref().err().cloned();
        match &came {
            Ok(range) => {
                lease.home = Home::Here;
                lease.range = *range;
                lease.brought_back = Some(way_from(kind));
            }
            Err(_) => lease.home = Home::Lost,
        }
        let what = Came {
            account,
            bytes,
            kind,
            is_copy,
        };
        if lost.is_some() || holders == 0 {
            self.bytes -= bytes;
            holdings.count_out(bytes, self.moved_bytes_min);
        }
        if holders == 0 {
            self.came_home(LeaseId(index));
            self.free.push(index);
            return Some((what, came.ok()));
        }
        if let Ok(range) = &came {
            let segment = range.segment;
            self.occupy(segment, account);
        }
        let holdings = &mut self.ledgers[account.0 as usize].holdings;
        if lost.is_some() {
            holdings.away += 1;
            holdings.away_bytes += bytes;
            if let Some(abroad) = self.abroad.get_mut(&index) {
                abroad.cause = lost;
            }
        } else {
            self.came_home(LeaseId(index));
        }
        Some((what, None))
    }
}

/// A copy that is to be made of what is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::core) struct Copied {
    /// What to call it while it is on its way.
    pub(in crate::core) ticket: Ticket,
    /// Of what.
    pub(in crate::core) of: Ticket,
    /// From which byte of that on.
    pub(in crate::core) offset: u64,
    /// Whose it is.
    pub(in crate::core) account: Account,
    /// The first view of it.
    pub(in crate::core) payload: Payload,
}

impl Leases {
    /// A copy of a view of a lease that is away is to be made, which stays there: a lease of its own, on its way. From now on
    /// its bytes count as here.
    pub(in crate::core) fn copy(&mut self, payload: Payload) -> Option<Copied> {
        let lease = self.slots.get(payload.lease.0 as usize)?;
        if lease.home != Home::Away {
            return None;
        }
        let (account, way) = (lease.account, lease.way);
        let Abroad {
            ticket: of, kind, ..
        } = *self.abroad.get(&payload.lease.0)?;
        // It lies nowhere yet; what counts of it is how long it is.
        let range = PayloadRef {
            segment: 0,
            generation: 0,
            offset: 0,
            length: payload.length,
        };
        let copy = self.take_come(account, range, way);
        self.uncount(range.segment);
        self.slots[copy.lease.0 as usize].home = Home::Coming;
        self.ledgers[account.0 as usize].holdings.moving += 1;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let abroad = Abroad {
            ticket,
            kind,
            is_copy: true,
            cause: None,
        };
        self.abroad.insert(copy.lease.0, abroad);
        self.by_ticket.insert(ticket, copy.lease.0);
        Some(Copied {
            ticket,
            of,
            offset: payload.offset,
            account,
            payload: copy,
        })
    }

    /// Whose a view is, and in which tier it lies, if it does and is not on its way.
    pub(in crate::core) fn lies_in(&self, payload: Payload) -> Option<(Account, TierKind)> {
        let lease = self.slots.get(payload.lease.0 as usize)?;
        if lease.home != Home::Away {
            return None;
        }
        let Abroad { kind, .. } = self.abroad.get(&payload.lease.0)?;
        Some((lease.account, *kind))
    }

    /// There is no room for what was to come, which is as good as lost; why is not said of it.
    pub(in crate::core) fn unplaced(&mut self, ticket: Ticket) {
        let Some(index) = self.by_ticket.get(&ticket).copied() else {
            return;
        };
        self.came(ticket, Err(Rc::from("")));
        if let Some(abroad) = self.abroad.get_mut(&index) {
            abroad.cause = None;
        }
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
    fn what_has_come_back_counts_as_had_at_once_with_the_rest() {
        let mut leases = Leases::default();
        let account = leases.open("a");
        let payload = leases.take(account, RANGE);
        let (ticket, _) = leases.leave(payload.lease, TierKind::Spill);
        assert!(leases.left(ticket, true).is_some_and(|left| left.wanted));
        let _other = leases.take(account, RANGE);
        assert_eq!(leases.holdings(account).bytes_peak, 100);
        assert!(leases.come(payload).is_some());
        assert_eq!(leases.holdings(account).bytes_peak, 200);
    }

    #[test]
    fn nothing_leaves_for_another_workflow_s_sake() {
        let mut leases = Leases::default();
        let (own, other) = (leases.open("a"), leases.open("b"));
        let payload = leases.take(own, RANGE);
        assert!(leases.could_leave(payload.lease, own));
        assert!(!leases.could_leave(payload.lease, other));
    }

    #[test]
    fn an_account_that_is_looked_after_is_nobody_else_s_yet() {
        let mut leases = Leases::default();
        let account = leases.open("a");
        leases.tally_mut(account).pressed = true;
        leases.close(account);
        assert_ne!(leases.open("b"), account);
        leases.tally_mut(account).pressed = false;
        assert_eq!(leases.open("c"), account);
    }
}
