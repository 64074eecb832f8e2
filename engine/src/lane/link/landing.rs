//! Payloads on their way into the arena, and the messages that wait for them.
//!
//! It owns every range that is set aside for a payload until the message that carries it is handed on. It promises
//! that such a range goes to the lane or back to the arena, exactly once, whatever the other side sends or leaves out;
//! that no range is given back while the driver may still write to it; and that what it keeps for a peer stays within
//! the link's limits. Cutting the stream into frames is left to [`super::inbound`], and
//! what a message may say of its payloads to [`super::arrival`].

use super::arrival::{Arrival, Opened};
use super::inbound::Intake;
use super::message::{Inbound, Landed, LandingError, release_all};
use super::{LinkCounters, LinkError, LinkLimits};
use crate::wire::{ChunkHead, FrameKind};
use faasstore::arena::{Arena, Reservation};
use faasstore::descriptor::PayloadRef;
use faasstore::segment::SegmentWriter;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Where the next raw bytes of a transfer go.
pub(super) struct Place {
    pub(super) segment: Arc<SegmentWriter>,
    pub(super) offset: u64,
}

/// A payload of which not all has come.
struct Transfer {
    bytes: u64,
    received: u64,
    // None: what comes is thrown away.
    target: Option<Target>,
}

struct Target {
    reservation: Reservation,
    segment: Arc<SegmentWriter>,
    message: u64,
    payload: usize,
}

/// A message that waits for its payloads.
struct Waiting {
    message: Inbound,
    // Of its own, those that have a place and are not complete, and how many of them.
    transfers: Vec<u64>,
    missing: usize,
    bytes: usize,
    // If it is a Begin: what came of its invocation meanwhile, to be handed on after it, and the bytes of that.
    followers: Vec<Inbound>,
    followers_bytes: usize,
}

/// What waits of one invocation.
#[derive(Default)]
struct Under {
    begin: Option<u64>,
    messages: BTreeSet<u64>,
}

pub(super) struct Landings {
    limits: LinkLimits,
    // Ordered maps, since the other side chooses transfers and invocations, and could choose them to collide.
    transfers: BTreeMap<u64, Transfer>,
    waiting: BTreeMap<u64, Waiting>,
    invocations: BTreeMap<u128, Under>,
    // Of those that wait, the clients' wishes: the client's number and the message's.
    wishes: BTreeSet<(u64, u64)>,
    waiting_bytes: usize,
    next_message: u64,
    // The transfer that the driver receives into, and the range if it was discarded since.
    lent: Option<u64>,
    doomed: Option<Reservation>,
    // What peers have lent of messages that were discarded.
    unread: Vec<PayloadRef>,
}

impl fmt::Debug for Landings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Landings({} messages, {} transfers)",
            self.waiting.len(),
            self.transfers.len()
        )
    }
}

impl Landings {
    pub(super) const fn new(limits: LinkLimits) -> Self {
        Self {
            limits,
            transfers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            invocations: BTreeMap::new(),
            wishes: BTreeSet::new(),
            waiting_bytes: 0,
            next_message: 0,
            lent: None,
            doomed: None,
            unread: Vec::new(),
        }
    }

    /// Payloads under way.
    pub(super) fn transfers(&self) -> usize {
        self.transfers.len()
    }

    /// Whether a payload of that number is.
    pub(super) fn is_under_way(&self, transfer: u64) -> bool {
        self.transfers.contains_key(&transfer)
    }

    /// Takes the body of a verified frame.
    pub(super) fn message(
        &mut self,
        kind: FrameKind,
        body: &[u8],
        intake: &mut Intake<'_>,
        counters: &mut LinkCounters,
    ) -> Result<(), LinkError> {
        let mut arrival = Arrival::new(kind, self.limits);
        let mut message = arrival.message(body, self, intake)?;
        match message {
            Inbound::Forget { invocation, .. } => self.abort(invocation, intake.arena, counters),
            Inbound::Cancel { request } if self.take_back(request, intake.arena, counters) => {
                message = Inbound::InvokeCancelled { request };
            }
            _ => {}
        }
        counters.messages_received += 1;
        counters.landings_refused += arrival.refused;
        self.admit(message, arrival.open, body.len(), intake.out)
    }

    /// Hands a message on, or keeps it until its open transfers are complete.
    fn admit(
        &mut self,
        message: Inbound,
        open: Vec<Opened>,
        bytes: usize,
        out: &mut Vec<Inbound>,
    ) -> Result<(), LinkError> {
        let number = self.next_message;
        self.next_message += 1;
        let transfers = self.register(open, number);
        let missing = transfers.len();
        let follows = self.begin_of(&message).is_some();
        if missing == 0 && !follows {
            out.push(message);
            return Ok(());
        }
        self.waiting_bytes += bytes;
        if missing == 0 {
            self.hand_on(message, bytes, out);
        } else {
            if let Inbound::Invoke { request, .. } = message {
                self.wishes.insert((request, number));
            }
            if let Some(invocation) = message.invocation() {
                let under = self.invocations.entry(invocation).or_default();
                under.messages.insert(number);
                if !follows && let Inbound::Begin { deployment, .. } = message {
                    under.begin = Some(number);
                    out.push(Inbound::BeginComing {
                        invocation,
                        deployment,
                    });
                }
            }
            let waiting = Waiting {
                message,
                transfers,
                missing,
                bytes,
                followers: Vec::new(),
                followers_bytes: 0,
            };
            self.waiting.insert(number, waiting);
        }
        let limit = self.limits.waiting_bytes_max;
        if self.waiting_bytes > limit {
            Err(LinkError::Waiting { limit })
        } else {
            Ok(())
        }
    }

    /// Expects the transfers that message `number` opens. Returns those that have a place.
    fn register(&mut self, open: Vec<Opened>, number: u64) -> Vec<u64> {
        let mut transfers = Vec::new();
        for Opened {
            transfer,
            bytes,
            place,
        } in open
        {
            let target = place.map(|(payload, reservation, segment)| {
                transfers.push(transfer);
                Target {
                    reservation,
                    segment,
                    message: number,
                    payload,
                }
            });
            self.transfers.insert(
                transfer,
                Transfer {
                    bytes,
                    received: 0,
                    target,
                },
            );
        }
        transfers
    }

    /// The [`Inbound::Begin`] that a message has to wait for.
    fn begin_of(&self, message: &Inbound) -> Option<u64> {
        self.invocations.get(&message.invocation()?)?.begin
    }

    /// Hands on a message of `bytes` bytes that waited: behind its [`Inbound::Begin`], if that still waits.
    fn hand_on(&mut self, message: Inbound, bytes: usize, out: &mut Vec<Inbound>) {
        let begin = self.begin_of(&message);
        match begin.and_then(|begin| self.waiting.get_mut(&begin)) {
            Some(begin) => {
                begin.followers.push(message);
                begin.followers_bytes += bytes;
            }
            None => {
                self.waiting_bytes -= bytes;
                out.push(message);
            }
        }
    }

    /// Checks that a chunk of `length` raw bytes may come now.
    pub(super) fn begin_chunk(&self, head: ChunkHead, length: u64) -> Result<(), LinkError> {
        let ChunkHead { transfer, offset } = head;
        let Some(Transfer {
            bytes, received, ..
        }) = self.transfers.get(&transfer)
        else {
            return Err(LinkError::TransferUnknown { transfer });
        };
        if offset != *received || length > bytes - received {
            return Err(LinkError::ChunkPlace {
                transfer,
                offset,
                length,
                received: *received,
                bytes: *bytes,
            });
        }
        Ok(())
    }

    /// Sets memory aside for a chunk of `length` raw bytes that has begun to come: of a large payload piece by piece, so that no
    /// size holds the lane up. A payload for which there is none any more finds no place, as if that had been known before.
    pub(super) fn make_place(
        &mut self,
        head: ChunkHead,
        length: u64,
        counters: &mut LinkCounters,
        intake: &mut Intake<'_>,
    ) {
        let Some(transfer) = self.transfers.get_mut(&head.transfer) else {
            return;
        };
        let Some(target) = &transfer.target else {
            return;
        };
        let upto = head.offset + length;
        let Err(error) = intake.arena.add_pages(&target.reservation, upto) else {
            return;
        };
        let Some(target) = transfer.target.take() else {
            return;
        };
        let (bytes, received) = (transfer.bytes, transfer.received);
        debug_assert!(self.lent.is_none(), "nothing is received before a chunk");
        intake.arena.abandon(target.reservation);
        counters.bytes_drained += received;
        counters.landings_refused += 1;
        let Some(waiting) = self.waiting.get_mut(&target.message) else {
            return debug_assert!(false, "a message stays until its transfers have come");
        };
        if let Some(landing) = waiting.message.landing_mut(target.payload) {
            let reason = error.to_string();
            *landing = Err(LandingError::Memory { bytes, reason });
        }
        waiting.transfers.retain(|id| *id != head.transfer);
        waiting.missing -= 1;
        if waiting.missing == 0 {
            self.complete(target.message, intake.out);
        }
    }

    /// Where the next bytes of a transfer are to be received; nothing if they are to be thrown away. The range is not
    /// given back before [`Landings::direct`] tells that the driver is done with it.
    pub(super) fn lend(&mut self, transfer: u64) -> Option<Place> {
        let Transfer {
            received, target, ..
        } = self.transfers.get(&transfer)?;
        let target = target.as_ref()?;
        debug_assert!(self.lent.is_none(), "one receive at a time on a link");
        self.lent = Some(transfer);
        Some(Place {
            segment: target.segment.clone(),
            offset: target.reservation.offset() + received,
        })
    }

    /// `bytes` bytes were received where [`Landings::lend`] said.
    pub(super) fn direct(
        &mut self,
        transfer: u64,
        bytes: u64,
        arena: &mut Arena,
        counters: &mut LinkCounters,
    ) {
        debug_assert_eq!(self.lent, Some(transfer));
        self.lent = None;
        if let Some(reservation) = self.doomed.take() {
            arena.abandon(reservation);
            counters.bytes_drained += bytes;
        }
        if let Some(transfer) = self.transfers.get_mut(&transfer) {
            transfer.received += bytes;
        }
    }

    /// Takes raw bytes of a chunk that were received elsewhere.
    pub(super) fn copy(&mut self, transfer: u64, raw: &[u8], counters: &mut LinkCounters) {
        let Some(transfer) = self.transfers.get_mut(&transfer) else {
            return debug_assert!(false, "a transfer stays until its last chunk has ended");
        };
        match &transfer.target {
            Some(target) => {
                let written = target
                    .segment
                    .write(target.reservation.offset() + transfer.received, raw);
                debug_assert!(
                    written,
                    "chunks stay within their transfer, and that within its reservation"
                );
            }
            None => counters.bytes_drained += raw.len() as u64,
        }
        transfer.received += raw.len() as u64;
    }

    /// A chunk is complete and verified.
    pub(super) fn end_chunk(
        &mut self,
        transfer: u64,
        arena: &mut Arena,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) {
        let complete = self
            .transfers
            .get(&transfer)
            .is_some_and(|open| open.received == open.bytes);
        if !complete {
            return;
        }
        let Some(Transfer {
            bytes,
            target: Some(target),
            ..
        }) = self.transfers.remove(&transfer)
        else {
            return;
        };
        let range = arena.commit(target.reservation, bytes);
        counters.transfers_received += 1;
        let Some(waiting) = self.waiting.get_mut(&target.message) else {
            debug_assert!(
                false,
                "a message that goes takes its transfers' targets with it"
            );
            counters.bytes_drained += bytes;
            let landed = Landed::new(range, None, None);
            return release_all(vec![((), Ok(landed))], arena);
        };
        if let Some(Ok(landed)) = waiting.message.landing_mut(target.payload) {
            landed.range = range;
        }
        waiting.missing -= 1;
        if waiting.missing == 0 {
            self.complete(target.message, out);
        }
    }

    /// All payloads of a message have come.
    fn complete(&mut self, number: u64, out: &mut Vec<Inbound>) {
        let Some(waiting) = self.waiting.remove(&number) else {
            return;
        };
        self.forget_number(&waiting.message, number);
        self.forget_wish(&waiting.message, number);
        let followers_bytes = waiting.followers_bytes;
        self.hand_on(waiting.message, waiting.bytes, out);
        self.waiting_bytes -= followers_bytes;
        out.extend(waiting.followers);
    }

    /// Removes a message from what waits of its invocation.
    fn forget_number(&mut self, message: &Inbound, number: u64) {
        let Some(invocation) = message.invocation() else {
            return;
        };
        let Some(under) = self.invocations.get_mut(&invocation) else {
            return;
        };
        under.messages.remove(&number);
        if under.begin == Some(number) {
            under.begin = None;
        }
        if under.messages.is_empty() {
            self.invocations.remove(&invocation);
        }
    }

    fn forget_wish(&mut self, message: &Inbound, number: u64) {
        if let Inbound::Invoke { request, .. } = message {
            self.wishes.remove(&(*request, number));
        }
    }

    /// Discards a client's wish whose inputs are still under way; false if none of that number is. Of several with the
    /// same number it is the last.
    fn take_back(&mut self, request: u64, arena: &mut Arena, counters: &mut LinkCounters) -> bool {
        let mut wishes = self.wishes.range((request, 0)..=(request, u64::MAX));
        let Some((_, number)) = wishes.next_back().copied() else {
            return false;
        };
        self.discard(number, arena, counters);
        true
    }

    /// Discards what waits of an invocation.
    pub(super) fn abort(
        &mut self,
        invocation: u128,
        arena: &mut Arena,
        counters: &mut LinkCounters,
    ) {
        let Some(under) = self.invocations.remove(&invocation) else {
            return;
        };
        for number in under.messages {
            self.discard(number, arena, counters);
        }
    }

    fn discard(&mut self, number: u64, arena: &mut Arena, counters: &mut LinkCounters) {
        let Some(waiting) = self.waiting.remove(&number) else {
            return;
        };
        self.forget_wish(&waiting.message, number);
        counters.messages_discarded += 1 + waiting.followers.len() as u64;
        self.waiting_bytes -= waiting.bytes + waiting.followers_bytes;
        for id in waiting.transfers {
            let Some(transfer) = self.transfers.get_mut(&id) else {
                continue;
            };
            // The number may be another message's by now, if this one's transfer was complete.
            let Some(target) = transfer.target.take_if(|target| target.message == number) else {
                continue;
            };
            counters.bytes_drained += transfer.received;
            if self.lent == Some(id) {
                self.doomed = Some(target.reservation);
            } else {
                arena.abandon(target.reservation);
            }
        }
        for mut message in std::iter::once(waiting.message).chain(waiting.followers) {
            message.take_lent(&mut self.unread);
            message.release(arena);
        }
    }

    /// What peers have lent of messages that were discarded since the last call.
    pub(super) fn take_unread(&mut self, unread: &mut Vec<PayloadRef>) {
        unread.append(&mut self.unread);
    }

    /// Gives everything back. The driver must be done with what was lent.
    pub(super) fn close(&mut self, arena: &mut Arena, counters: &mut LinkCounters) {
        self.lent = None;
        if let Some(reservation) = self.doomed.take() {
            arena.abandon(reservation);
        }
        let numbers: Vec<u64> = self.waiting.keys().copied().collect();
        for number in numbers {
            self.discard(number, arena, counters);
        }
        self.transfers.clear();
        self.invocations.clear();
    }
}
