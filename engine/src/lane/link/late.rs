//! Payloads that have come, or are to come, before there was memory for them.
//!
//! It owns how they find a range later, or give up. It promises that each keeps its place in the [order](super::shortage)
//! until then, and that what had come of it is neither lost nor asked for twice.

use super::LinkCounters;
use super::arrival::set_aside;
use super::landing::{Landings, Place, Target, Transfer};
use super::message::{Inbound, LandingError};
use super::shortage::{MEMORY_WAIT, Room, Ticket};
use faasstore::arena::{Arena, Compartment};

impl Landings {
    /// Looks for memory for those that wait and whose turn it is. True if there was some for any.
    pub(super) fn relieve(
        &mut self,
        room: &mut Room<'_>,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) -> bool {
        let mut relieved = false;
        let mut next = self.short.first_key_value().map(|(ticket, _)| *ticket);
        while let Some(ticket) = next {
            let found = room.shortage.is_first(ticket) && self.find_memory(ticket, room);
            let from = if found {
                ticket
            } else {
                ticket.next_compartment()
            };
            if found && let Some(id) = self.short.remove(&ticket) {
                room.shortage.relieve(ticket);
                relieved = true;
                self.relieved(id, room.arena, counters, out);
            }
            next = self.short.range(from..).next().map(|(ticket, _)| *ticket);
        }
        relieved
    }

    /// Gives a payload that waits a range, if there is memory for it.
    fn find_memory(&mut self, ticket: Ticket, room: &mut Room<'_>) -> bool {
        let transfer = self.short.get(&ticket).copied();
        let transfer = transfer.and_then(|id| self.transfers.get_mut(&id));
        let Some(Transfer { bytes, place, .. }) = transfer else {
            return false;
        };
        let Place::Waiting(wait) = place else {
            return false;
        };
        let Ok((reservation, segment)) = set_aside(*bytes, room.arena, wait.compartment) else {
            return false;
        };
        if room.arena.add_pages(&reservation, wait.upto).is_err() {
            room.arena.abandon(reservation);
            return false;
        }
        let written = segment.write(reservation.offset(), &wait.held);
        debug_assert!(written, "no more came than was announced");
        *place = Place::Memory(Target {
            reservation,
            segment,
            message: wait.message,
            payload: wait.payload,
            early: false,
        });
        true
    }

    /// A payload that has waited has a range.
    fn relieved(
        &mut self,
        id: u64,
        arena: &mut Arena,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) {
        let Some(transfer) = self.transfers.get(&id) else {
            return;
        };
        let (bytes, whole) = (transfer.bytes, transfer.verified == transfer.bytes);
        self.allowance.grant_late(id, bytes);
        if whole {
            self.end(id, arena, counters, out);
        }
    }

    /// Some time has passed: what has waited for memory for too long finds none, nor does what cannot have as much any more. With a
    /// compartment, what waits for memory of that
    /// one is not waited for any more.
    pub(super) fn give_up(
        &mut self,
        passed_ns: u64,
        closed: Option<Compartment>,
        room: &mut Room<'_>,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) {
        let short: Vec<u64> = self.short.values().copied().collect();
        for id in short {
            let Some(transfer) = self.transfers.get_mut(&id) else {
                continue;
            };
            let Place::Waiting(wait) = &mut transfer.place else {
                continue;
            };
            // While others of its workflow get memory it does not wait in vain: its turn comes.
            let relieved = room.shortage.relieved(wait.ticket);
            if relieved == wait.relieved {
                wait.waited_ns += passed_ns;
            } else {
                (wait.waited_ns, wait.relieved) = (0, relieved);
            }
            let most = room.arena.bytes_max_in(wait.compartment);
            let reason = if closed == Some(wait.compartment) {
                "its workflow has gone".to_owned()
            } else if transfer.bytes > most {
                format!(
                    "{most} bytes are all that its workflow may have here since another was deployed; give the worker more memory"
                )
            } else if u128::from(wait.waited_ns) >= MEMORY_WAIT.as_nanos() {
                format!(
                    "none came back for {MEMORY_WAIT:?}; give the worker more memory, or let fewer payloads live at once"
                )
            } else {
                continue;
            };
            room.shortage.give_up(wait.ticket);
            self.short.remove(&wait.ticket);
            let (message, payload, bytes) = (wait.message, wait.payload, transfer.bytes);
            self.throw_away(id, counters);
            counters.landings_refused += 1;
            let error = LandingError::Memory { bytes, reason };
            self.refuse(message, payload, error);
            self.arrived(message, out);
        }
    }

    /// A payload that has waited has no place any more: what came of it is dropped, and so is what still comes.
    pub(super) fn throw_away(&mut self, id: u64, counters: &mut LinkCounters) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        counters.bytes_drained += transfer.received;
        transfer.place = Place::Nowhere;
        let (bytes, whole) = (transfer.bytes, transfer.verified == transfer.bytes);
        self.allowance.grant_late(id, bytes);
        if whole {
            self.transfers.remove(&id);
        }
    }
}
