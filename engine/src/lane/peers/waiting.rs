//! Payloads from peers that wait for memory: who asks for them again, and when they give up.
//!
//! **Why all of them end.** A payload is granted as a whole, and only with a range for all of it: so one that is granted comes to its
//! end whatever becomes of others, and gives its memory back when its readers have ended. One that is not granted has sent no more
//! than its beginning, which lies in private memory and is in nobody's way. Of those that wait, the first of each workflow
//! gets the next memory that suffices. Those that wait have the core [carry out](crate::core::Core::make_room) what has landed of their workflow and is
//! read later, if it has a tier: so memory comes back though nothing is read. If none does, because whatever holds it waits itself (for a payload that
//! waits here, or for a peer that is short as well and waits for this lane), the first that has waited for
//! [`MEMORY_WAIT`](crate::lane::link::MEMORY_WAIT) is refused: its invocation fails by name, lets go of what it held
//! here and elsewhere, and its bytes are granted and thrown away, so that its sender lets go of them too. So each wait is bounded, whatever
//! waits for what.

use super::connection::Connection;
use super::{ConnectionId, Parts, Peers};
use crate::lane::executors::adopt_own_segments;
use crate::lane::link::Room;
use faasstore::arena::Compartment;

impl Peers {
    /// Memory of the lane's arena has come back.
    #[inline]
    pub(crate) fn memory_freed(&mut self) {
        self.freed |= self.shortage.is_any();
    }

    /// Whether payloads wait that may find memory now.
    #[inline]
    pub(crate) const fn wants_relief(&self) -> bool {
        self.freed
    }

    /// Finds memory for payloads that wait for it, in their order.
    #[cold]
    pub(crate) fn relieve(&mut self, parts: &mut Parts<'_>) {
        self.freed = false;
        let short = |(id, connection): (&ConnectionId, &Connection)| {
            (connection.link.is_short() && !connection.closing).then_some(*id)
        };
        let mut ids: Vec<ConnectionId> = self.connections.iter().filter_map(short).collect();
        // With one of them relieved it may be the turn of one of another link.
        while !ids.is_empty() {
            ids.retain(|id| {
                let Some(connection) = self.connections.get_mut(id) else {
                    return false;
                };
                let mut room = Room {
                    arena: parts.arena,
                    shortage: &mut self.shortage,
                };
                let relieved = connection.link.relieve(&mut room, &mut self.inbound);
                adopt_own_segments(parts.segments, parts.arena);
                self.hand_on(*id, parts);
                if relieved {
                    self.dirty.push(*id);
                }
                relieved
            });
        }
        // What lies here of the workflows of those that still wait, and is not to be read soon, makes room for them.
        let segments = &*parts.segments;
        for (compartment, bytes) in self.shortage.wanted() {
            if let Some(account) = parts.compartments.account_in(compartment) {
                parts
                    .core
                    .make_room(parts.now_ns, account, bytes, &|range| {
                        segments.is_own(range.segment)
                    });
            }
        }
    }

    /// Memory of these compartments is for what was carried out of it, and is to come back, before it is for what peers send.
    pub(crate) fn stand_behind(&mut self, compartments: impl Iterator<Item = Compartment>) {
        self.shortage.stand_behind(compartments);
        self.memory_freed();
    }

    /// What stood ahead of what peers send has got memory of this compartment.
    pub(crate) fn others_relieved(&mut self, compartment: Compartment) {
        self.shortage.others_relieved(compartment);
    }

    /// Payloads give up that have waited for too long for memory, or for that of a compartment that is closed.
    pub(crate) fn give_up_waiting(
        &mut self,
        passed_ns: u64,
        closed: Option<Compartment>,
        parts: &mut Parts<'_>,
    ) {
        if !self.shortage.is_any() {
            return;
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            if !connection.link.is_short() || connection.closing {
                continue;
            }
            let mut room = Room {
                arena: parts.arena,
                shortage: &mut self.shortage,
            };
            let link = &mut connection.link;
            link.give_up(passed_ns, closed, &mut room, &mut self.inbound);
            self.hand_on(id, parts);
            self.dirty.push(id);
        }
        // With those gone it may be the turn of others.
        self.freed = self.shortage.is_any();
    }
}
