//! Payloads that wait for memory, of all links of a lane.
//!
//! It owns the order in which they have asked. It promises that of one compartment, so of one workflow, the first that has
//! asked gets memory first, by whichever link it comes, and that no one waits for another workflow's payloads. The payloads
//! themselves stay with their [links](super::Link), which ask again when memory has come back, and give up in time.

use faasstore::arena::{Arena, Compartment};
use std::collections::BTreeSet;
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

/// Who waits, in a lane.
#[derive(Debug, Default)]
pub struct Shortage {
    waiting: BTreeSet<Ticket>,
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

    /// Whether anyone waits for memory of this compartment.
    pub(super) fn is_in(&self, compartment: Compartment) -> bool {
        let of = |number| Ticket {
            compartment: compartment.index(),
            number,
        };
        self.waiting.range(of(0)..=of(u64::MAX)).next().is_some()
    }

    pub(super) fn wait(&mut self, compartment: Compartment) -> Ticket {
        self.given += 1;
        let ticket = Ticket {
            compartment: compartment.index(),
            number: self.given,
        };
        self.waiting.insert(ticket);
        ticket
    }

    /// Whether it is this one's turn.
    pub(super) fn is_first(&self, ticket: Ticket) -> bool {
        let earlier = Ticket {
            number: 0,
            ..ticket
        };
        self.waiting.range(earlier..ticket).next().is_none()
    }

    /// It waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        let waited = self.waiting.remove(&ticket);
        debug_assert!(waited, "a ticket is given back once");
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
        let first = shortage.wait(one);
        let of_other = shortage.wait(other);
        let second = shortage.wait(one);
        assert!(shortage.is_first(first) && shortage.is_first(of_other));
        assert!(!shortage.is_first(second));
        shortage.leave(of_other);
        assert!(shortage.is_in(one) && !shortage.is_in(other));
        shortage.give_up(first);
        assert!(shortage.is_first(second));
        shortage.leave(second);
        assert!(!shortage.is_any());
        assert_eq!((shortage.waited(), shortage.expired()), (3, 1));
    }
}
