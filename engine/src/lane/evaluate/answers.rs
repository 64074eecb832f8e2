//! What was computed, until the core is answered: it is written into the lane's arena, all of one answer or none of it, and waits
//! for room otherwise, among [what else does](crate::lane::short).

use crate::core::{Evaluated, Incoming, Ticket};
use crate::lane::copies::of_all;
use crate::lane::{Lane, executors};
use crate::plan::DeploymentId;
use faasstore::arena::{ArenaError, Compartment};
use faasstore::descriptor::PayloadRef;

/// A value, or the items of a list, in JSON, one behind the other.
#[derive(Debug)]
pub(super) struct Computed {
    pub(super) bytes: Vec<u8>,
    /// Offset and length of each item, if it is a list.
    pub(super) items: Option<Vec<(u64, u64)>>,
}

/// What the core is answered once all of it is written.
#[derive(Debug)]
pub(in crate::lane) struct Unanswered {
    pub(in crate::lane) ticket: Ticket,
    pub(in crate::lane) deployment: DeploymentId,
    pub(super) of: Of,
    pub(super) computed: Vec<Computed>,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// What a node computes.
    Values,
    /// What failed of one.
    Failure,
}

impl Unanswered {
    /// What it takes of the lane's own memory.
    pub(in crate::lane) fn kept_bytes(&self) -> usize {
        let bytes = self.computed.iter().map(Computed::kept_bytes);
        size_of::<Self>() + bytes.sum::<usize>()
    }
}

impl Computed {
    fn kept_bytes(&self) -> usize {
        let items = self.items.as_ref().map_or(0, Vec::capacity);
        size_of::<Self>() + self.bytes.capacity() + items * size_of::<(u64, u64)>()
    }

    /// Written there.
    pub(super) fn at(self, range: PayloadRef) -> Incoming {
        match self.items {
            None => Incoming::One(range),
            Some(items) => Incoming::List {
                range,
                items,
                section: None,
            },
        }
    }
}

impl Lane {
    /// Answers the core with what was computed, at once or when there is room.
    pub(super) fn answer_soon(&mut self, unanswered: Unanswered) {
        if let Err((unanswered, error)) = self.answer(unanswered) {
            self.values_short(unanswered, &error);
        }
    }

    /// Answers the core with what was computed, once all of it is written; gives it back for want of room.
    pub(in crate::lane) fn answer(
        &mut self,
        unanswered: Unanswered,
    ) -> Result<(), (Unanswered, ArenaError)> {
        match self.write(unanswered.deployment, &unanswered.computed) {
            Ok(ranges) => {
                let computed = unanswered.computed.into_iter().zip(ranges);
                let written = computed.map(|(computed, range)| computed.at(range));
                self.answer_as(unanswered.ticket, unanswered.of, written.collect());
                Ok(())
            }
            Err(error) => Err((unanswered, error)),
        }
    }

    /// Answers the core that there is no room.
    pub(in crate::lane) fn answer_without_room(
        &mut self,
        unanswered: &Unanswered,
        error: &ArenaError,
    ) {
        self.answer_as(unanswered.ticket, unanswered.of, vec![refused(error)]);
    }

    fn answer_as(&mut self, ticket: Ticket, of: Of, mut written: Vec<Incoming>) {
        let now_ns = self.event_ns();
        match of {
            Of::Values => {
                let values = Evaluated::Values(written);
                self.core.evaluated(now_ns, ticket, values);
            }
            Of::Failure => {
                if let Some(text) = written.pop() {
                    self.core.described(now_ns, ticket, text);
                }
            }
        }
    }

    /// Writes all of it into the lane's arena, each in a range of its own, or nothing.
    pub(super) fn write(
        &mut self,
        deployment: DeploymentId,
        computed: &[Computed],
    ) -> Result<Vec<PayloadRef>, ArenaError> {
        // It is here as long as something of it is to be evaluated.
        let compartment = self.compartments.of_deployment(deployment);
        let compartment = compartment.unwrap_or(Compartment::FIRST);
        let arena = &mut self.arena;
        let mut rooms = Vec::with_capacity(computed.len());
        let room = |one: &Computed| {
            rooms.push(match one.bytes.len() as u64 {
                0 => None,
                bytes => Some(arena.reserve_in(compartment, bytes)?),
            });
            Ok(())
        };
        let reserved = computed.iter().try_for_each(room);
        executors::adopt_own_segments(&mut self.segments, &mut self.arena);
        if let Err(error) = reserved {
            let reserved = rooms.into_iter().flatten();
            reserved.for_each(|room| self.arena.abandon(room));
            let bytes = computed.iter().map(|one| one.bytes.len() as u64);
            return Err(of_all(error, bytes.sum()));
        }
        let ranges = rooms.into_iter().zip(computed).map(|(room, one)| {
            let Some(room) = room else {
                return PayloadRef::EMPTY;
            };
            let bytes = one.bytes.len();
            self.arena.bytes_mut(&room)[..bytes].copy_from_slice(&one.bytes);
            let range = self.arena.commit(room, bytes as u64);
            executors::lease_own(range, &mut self.segments)
        });
        Ok(ranges.collect())
    }
}

pub(super) fn refused(error: &ArenaError) -> Incoming {
    Incoming::Refused(format!("no memory for a value: {error}"))
}
