//! Clients that take back what they have asked for. An invocation that was taken ends as one that fails: what has not
//! started never starts, here and elsewhere, and what runs is told to stop and has a grace period.

use super::invocation::Place;
use super::{ClientId, Core};
use crate::wire::Failure;
use faasstore::descriptor::InvocationId;
use std::collections::BTreeMap;

/// Invocations that were taken here and not answered, as their clients number them. In order, since numbers that a client
/// chooses could be chosen to collide in a hash table.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<(u64, u64), Place>);

impl Asked {
    /// An invocation was taken. Should its client have given the same number to another one, then that one cannot be named
    /// any more.
    pub(super) fn insert(&mut self, client: ClientId, request: u64, place: Place) {
        self.0.insert((client.0, request), place);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The invocation in that place is answered.
    pub(super) fn remove(&mut self, client: ClientId, request: u64, place: Place) {
        let key = (client.0, request);
        if self.0.get(&key) == Some(&place) {
            self.0.remove(&key);
        }
    }
}

impl Core {
    /// A client takes an invocation back, which is answered with [`Failure::Cancelled`] then; its id. One that was answered
    /// already, or that this client has not asked for, is none, and the word counts as dropped.
    pub fn cancel(&mut self, now_ns: u64, client: ClientId, request: u64) -> Option<InvocationId> {
        let Some(place) = self.asked.0.get(&(client.0, request)).copied() else {
            self.counters.cancels_dropped += 1;
            return None;
        };
        let id = self.invocations[place as usize].id;
        self.counters.invocations_cancelled += 1;
        self.fail(now_ns, place, Failure::Cancelled);
        Some(id)
    }

    /// A client takes back what it has asked for before all of its inputs were here. The answer comes as an action.
    pub fn cancel_at_door(&mut self, now_ns: u64, client: ClientId, request: u64) {
        self.counters.invocations_cancelled += 1;
        self.turn_away(now_ns, client, request, Failure::Cancelled);
    }
}
