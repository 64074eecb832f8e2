//! Payloads that wait for memory, of all links of a lane.
//!
//! It owns the order in which they have asked. It promises that of one compartment, so of one workflow, the first that has
//! asked gets memory first, by whichever link it comes, and that no one waits for another workflow's payloads. The payloads
//! themselves stay with their [links](super::Link), which ask again when memory has come back, and give up in time.

use faasstore::arena::{Arena, Compartment};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a payload waits for memory before it is refused, and its invocation fails by name. As long as a tier's
/// operations may take: who is short for longer is not short but full.
pub const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// A place in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Ticket {
    compartment: usize,
    number: u64,
}

impl Ticket {
    /// Before all of the compartment behind this one's.
    pub(super) const fn next_compartment(self) -> Self {
        Self {
            compartment: self.compartment + 1,
            number: 0,
        }
    }
}

/// For what a payload waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    compartment: Compartment,
    bytes: u64,
}

/// Who waits, in a lane.
#[derive(Debug, Default)]
pub struct Shortage {
    waiting: BTreeMap<Ticket, Waiter>,
    /// Compartments whose memory is for others first.
    behind: BTreeSet<usize>,
    /// By compartment for which somebody waits: how many have got some since nobody did.
    relieved: BTreeMap<usize, u64>,
    given: u64,
    expired: u64,
}

impl Shortage {
    /// Whether anyone waits.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// How many have waited so far, those that still do included.
    #[must_use]
    pub const fn waited(&self) -> u64 {
        self.given
    }

    /// How many have waited in vain.
    #[must_use]
    pub const fn expired(&self) -> u64 {
        self.expired
    }

    /// By compartment for which somebody waits: bytes of all of them.
    pub(crate) fn wanted(&self) -> Vec<(Compartment, u64)> {
        let mut wanted: Vec<(Compartment, u64)> = Vec::new();
        for waiter in self.waiting.values() {
            match wanted.last_mut() {
                Some((last, bytes)) if *last == waiter.compartment => *bytes += waiter.bytes,
                _ => wanted.push((waiter.compartment, waiter.bytes)),
            }
        }
        wanted
    }

    /// Memory of these compartments is for others first, until this is called again: what comes waits behind them.
    pub(crate) fn stand_behind(&mut self, compartments: impl Iterator<Item = Compartment>) {
        self.behind = compartments.map(Compartment::index).collect();
    }

    /// Whether what comes has to wait for memory of this compartment, since others do.
    pub(super) fn is_in(&self, compartment: Compartment) -> bool {
        let index = compartment.index();
        self.behind.contains(&index) || self.waits_in(index)
    }

    fn waits_in(&self, compartment: usize) -> bool {
        let of = |number| Ticket {
            compartment,
            number,
        };
        self.waiting.range(of(0)..=of(u64::MAX)).next().is_some()
    }

    pub(super) fn wait(&mut self, compartment: Compartment, bytes: u64) -> Ticket {
        self.given += 1;
        let ticket = Ticket {
            compartment: compartment.index(),
            number: self.given,
        };
        self.waiting.insert(ticket, Waiter { compartment, bytes });
        ticket
    }

    /// Whether it is this one's turn.
    pub(super) fn is_first(&self, ticket: Ticket) -> bool {
        let earlier = Ticket {
            number: 0,
            ..ticket
        };
        !self.behind.contains(&ticket.compartment)
            && self.waiting.range(earlier..ticket).next().is_none()
    }

    /// How many of its compartment have got memory since nobody waited for any.
    pub(super) fn relieved(&self, ticket: Ticket) -> u64 {
        let relieved = self.relieved.get(&ticket.compartment);
        relieved.copied().unwrap_or(0)
    }

    /// It has got memory.
    pub(super) fn relieve(&mut self, ticket: Ticket) {
        *self.relieved.entry(ticket.compartment).or_default() += 1;
        self.leave(ticket);
    }

    /// What stands ahead of those of this compartment has got memory.
    pub(crate) fn others_relieved(&mut self, compartment: Compartment) {
        if self.waits_in(compartment.index()) {
            *self.relieved.entry(compartment.index()).or_default() += 1;
        }
    }

    /// It waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        let waited = self.waiting.remove(&ticket);
        debug_assert!(waited.is_some(), "a ticket is given back once");
        if !self.waits_in(ticket.compartment) {
            self.relieved.remove(&ticket.compartment);
        }
    }

    /// It has waited in vain.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.leave(ticket);
        self.expired += 1;
    }
}

/// Where payloads find memory, or wait for it.
#[derive(Debug)]
pub struct Room<'a> {
    /// The lane's.
    pub arena: &'a mut Arena,
    /// The lane's too: the same in every call.
    pub shortage: &'a mut Shortage,
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasstore::arena::ArenaConfig;

    #[test]
    fn the_first_of_a_workflow_is_first_and_no_one_waits_for_another_s() {
        let mut arena = Arena::new(ArenaConfig {
            name: "shortage-test".into(),
            segment_bytes: 4096,
            bytes_max: 4096,
        });
        let (one, other) = (
            arena.open_compartment(u64::MAX),
            arena.open_compartment(u64::MAX),
        );
        let mut shortage = Shortage::default();
        assert!(!shortage.is_in(one));
        let first = shortage.wait(one, 1);
        let of_other = shortage.wait(other, 5);
        let second = shortage.wait(one, 2);
        assert_eq!(shortage.wanted(), [(one, 3), (other, 5)]);
        assert!(shortage.is_first(first) && shortage.is_first(of_other));
        assert!(!shortage.is_first(second));
        shortage.leave(of_other);
        assert!(shortage.is_in(one) && !shortage.is_in(other));
        shortage.give_up(first);
        assert!(shortage.is_first(second));
        shortage.stand_behind([one].into_iter());
        assert!(!shortage.is_first(second) && shortage.is_in(one));
        shortage.stand_behind(std::iter::empty());
        assert!(shortage.is_first(second));
        shortage.leave(second);
        assert!(!shortage.is_any() && !shortage.is_in(one));
        assert_eq!((shortage.waited(), shortage.expired()), (3, 1));
    }
}
