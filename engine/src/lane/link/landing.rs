//! Payloads on their way into the arena, and the messages that wait for them.
//!
//! It owns every range that is set aside for a payload until the message that carries it is handed on. It promises
//! that such a range goes to the lane or back to the arena, exactly once, whatever the other side sends or leaves out;
//! that no range is given back while the driver may still write to it; and that what it keeps for a peer stays within
//! the link's limits. Cutting the stream into frames is left to [`super::inbound`],
//! what a message may say of its payloads to [`super::arrival`], what a peer may send of them to [`super::allowance`], and how those
//! that wait for memory find some to [`super::late`].
//!
//! A payload has one of three places ([`Place`]): a range, private memory for its first bytes as long as there is no range for it, or
//! none.

use super::allowance::Allowance;
use super::arrival::{Arrival, Opened, OpenedPlace, Terms};
use super::inbound::Intake;
use super::message::{Inbound, LandingError, release};
use super::shortage::{Room, Ticket};
use super::{LinkCounters, LinkError, LinkLimits, LinkRole, Stream};
use crate::wire::{self, ChunkHead, FrameKind};
use faasstore::arena::{Arena, Compartment, Reservation};
use faasstore::descriptor::{ArenaRange, PayloadRef};
use faasstore::segment::SegmentWriter;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Where the next raw bytes of a transfer go, if they go straight there.
pub(super) struct Lent {
    pub(super) segment: Arc<SegmentWriter>,
    pub(super) offset: u64,
}

/// A payload of which not all has come.
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) received: u64,
    // Of these, what came in chunks that were verified.
    pub(super) verified: u64,
    pub(super) place: Place,
}

/// Where it goes.
pub(super) enum Place {
    Memory(Target),
    Early(Early),
    Waiting(Wait),
    /// What comes is thrown away.
    Nowhere,
}

pub(super) struct Target {
    pub(super) reservation: Reservation,
    pub(super) segment: Arc<SegmentWriter>,
    pub(super) message: u64,
    pub(super) payload: usize,
    // Whether its message may be handed on before it has come.
    pub(super) early: bool,
}

/// Its message has been handed on already; all of its memory is there.
pub(super) struct Early {
    reservation: Reservation,
    segment: Arc<SegmentWriter>,
}

/// There is no memory at the moment.
pub(super) struct Wait {
    pub(super) compartment: Compartment,
    pub(super) ticket: Ticket,
    pub(super) message: u64,
    pub(super) payload: usize,
    // What came of it unasked.
    pub(super) held: Vec<u8>,
    // How much of it will be there at the end of the chunk that comes.
    pub(super) upto: u64,
    pub(super) waited_ns: u64,
    // How many had got memory when it was last looked at.
    pub(super) relieved: u64,
}

impl Place {
    /// For which message it is.
    const fn message(&self) -> Option<u64> {
        match self {
            Self::Memory(target) => Some(target.message),
            Self::Waiting(wait) => Some(wait.message),
            Self::Early(_) | Self::Nowhere => None,
        }
    }
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
    role: LinkRole,
    limits: LinkLimits,
    pub(super) allowance: Allowance,
    // Ordered maps, since the other side chooses transfers and invocations, and could choose them to collide.
    pub(super) transfers: BTreeMap<u64, Transfer>,
    // Of them, those that wait for memory, in their order.
    pub(super) short: BTreeMap<Ticket, u64>,
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
    pub(super) fn new(role: LinkRole, limits: LinkLimits) -> Self {
        Self {
            role,
            limits,
            allowance: Allowance::new(role == LinkRole::PeerIn),
            transfers: BTreeMap::new(),
            short: BTreeMap::new(),
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

    /// Payloads of which the other side has something to send.
    pub(super) fn is_due(&self) -> bool {
        self.transfers.len() > self.short.len()
    }

    /// Whether any wait for memory.
    pub(super) fn is_short(&self) -> bool {
        !self.short.is_empty()
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
        intake: &mut Intake<'_, '_>,
        counters: &mut LinkCounters,
    ) -> Result<(), LinkError> {
        if kind == FrameKind::Grant {
            counters.messages_received += 1;
            return intake.outbound.grant(&wire::decode(body)?);
        }
        let mut arrival = Arrival::new(kind, self.role, self.limits);
        let mut message = arrival.message(body, self, intake)?;
        match message {
            Inbound::Forget { invocation, .. } => self.abort(invocation, intake.room, counters),
            Inbound::Cancel { request } if self.take_back(request, intake.room, counters) => {
                message = Inbound::InvokeCancelled { request };
            }
            _ => {}
        }
        counters.messages_received += 1;
        counters.landings_refused += arrival.refused;
        let early = arrival.open.iter().filter(|one| one.early);
        let early: Vec<u64> = early.map(|one| one.transfer).collect();
        self.admit(message, arrival.open, body.len(), intake.out)?;
        for transfer in early {
            self.read_early(transfer, counters, intake);
        }
        Ok(())
    }

    /// Hands a message on of which nothing is missing but a list, if the items of that may be read one by one, and its memory is
    /// there: nobody maps a segment that has not all of its pages. Of a large one some are set aside each time.
    fn read_early(&mut self, id: u64, counters: &mut LinkCounters, intake: &mut Intake<'_, '_>) {
        let Some(Transfer {
            bytes,
            place: Place::Memory(target),
            ..
        }) = self.transfers.get(&id)
        else {
            return;
        };
        let Some(waiting) = self.waiting.get(&target.message) else {
            return;
        };
        let follows = self.begin_of(&waiting.message).is_some();
        if !target.early || waiting.missing > 1 || follows {
            return;
        }
        // What the machine has no memory for is seen to when it comes.
        if !matches!(
            intake.room.arena.add_some_pages(&target.reservation),
            Ok(true)
        ) {
            return;
        }
        let (number, payload) = (target.message, target.payload);
        let range = ArenaRange {
            segment: target.reservation.segment(),
            generation: target.reservation.generation(),
            offset: target.reservation.offset(),
            length: *bytes,
        };
        let waiting = self.waiting.get_mut(&number);
        if let Some(Ok(landed)) = waiting.and_then(|waiting| waiting.message.landing_mut(payload)) {
            (landed.range, landed.arrives_by) = (range, Some(id));
        }
        counters.messages_early += 1;
        self.arrived(number, intake.out);
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        if let Place::Memory(Target {
            reservation,
            segment,
            ..
        }) = std::mem::replace(&mut transfer.place, Place::Nowhere)
        {
            transfer.place = Place::Early(Early {
                reservation,
                segment,
            });
        }
        if transfer.verified > 0 {
            let (transfer, bytes) = (id, transfer.verified);
            intake.out.push(Inbound::Arrived { transfer, bytes });
        }
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
            terms,
            early,
            place,
        } in open
        {
            let place = match place {
                None => Place::Nowhere,
                Some((payload, OpenedPlace::Memory(reservation, segment))) => {
                    Place::Memory(Target {
                        reservation,
                        segment,
                        message: number,
                        payload,
                        early,
                    })
                }
                Some((payload, OpenedPlace::Later(compartment, ticket))) => Place::Waiting(Wait {
                    compartment,
                    ticket,
                    message: number,
                    payload,
                    held: Vec::new(),
                    upto: 0,
                    waited_ns: 0,
                    relieved: 0,
                }),
            };
            if place.message().is_some() {
                transfers.push(transfer);
            }
            self.expect(transfer, bytes, terms, place);
        }
        transfers
    }

    /// Expects a transfer.
    fn expect(&mut self, transfer: u64, bytes: u64, terms: Terms, place: Place) {
        match terms {
            Terms::Announced => self.allowance.announced(transfer, bytes),
            Terms::Asked => self.allowance.asked(transfer),
        }
        if let Place::Waiting(wait) = &place {
            self.short.insert(wait.ticket, transfer);
            self.allowance.waits();
        } else {
            self.allowance.grant(transfer, bytes);
        }
        self.transfers.insert(
            transfer,
            Transfer {
                bytes,
                received: 0,
                verified: 0,
                place,
            },
        );
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

    /// Checks that a chunk of `length` raw bytes may come now; false if the message that announces it may still be on its way, on
    /// the link's other connection.
    pub(super) fn begin_chunk(
        &mut self,
        head: ChunkHead,
        length: u64,
        stream: Stream,
    ) -> Result<bool, LinkError> {
        let ChunkHead { transfer, offset } = head;
        let Some(Transfer {
            bytes, received, ..
        }) = self.transfers.get(&transfer)
        else {
            if stream == Stream::Bulk && self.allowance.may_be_announced(transfer) {
                return Ok(false);
            }
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
        self.allowance.take(transfer, offset + length)?;
        Ok(true)
    }

    /// Sets memory aside for a chunk of `length` raw bytes that has begun to come: of a large payload piece by piece, so that no
    /// size holds the lane up. A payload for which there is none any more finds no place, as if that had been known before.
    pub(super) fn make_place(
        &mut self,
        head: ChunkHead,
        length: u64,
        counters: &mut LinkCounters,
        intake: &mut Intake<'_, '_>,
    ) {
        let Some(transfer) = self.transfers.get_mut(&head.transfer) else {
            return;
        };
        let upto = head.offset + length;
        let reservation = match &mut transfer.place {
            Place::Memory(target) => &target.reservation,
            Place::Waiting(wait) => return wait.upto = upto,
            Place::Early(_) | Place::Nowhere => return,
        };
        let Err(error) = intake.room.arena.add_pages(reservation, upto) else {
            return self.read_early(head.transfer, counters, intake);
        };
        let place = std::mem::replace(&mut transfer.place, Place::Nowhere);
        let Place::Memory(target) = place else {
            return;
        };
        let (bytes, received) = (transfer.bytes, transfer.received);
        debug_assert!(self.lent.is_none(), "nothing is received before a chunk");
        intake.room.arena.abandon(target.reservation);
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

    /// Where the next bytes of a transfer are to be received; nothing if they do not go straight there. The range is not
    /// given back before [`Landings::direct`] tells that the driver is done with it.
    pub(super) fn lend(&mut self, transfer: u64) -> Option<Lent> {
        let Transfer {
            received, place, ..
        } = self.transfers.get(&transfer)?;
        let (segment, offset) = match place {
            Place::Memory(target) => (&target.segment, target.reservation.offset()),
            Place::Early(early) => (&early.segment, early.reservation.offset()),
            Place::Waiting(_) | Place::Nowhere => return None,
        };
        debug_assert!(self.lent.is_none(), "one receive at a time on a connection");
        self.lent = Some(transfer);
        Some(Lent {
            segment: segment.clone(),
            offset: offset + received,
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
        match &mut transfer.place {
            Place::Memory(Target {
                reservation,
                segment,
                ..
            })
            | Place::Early(Early {
                reservation,
                segment,
            }) => {
                let written = segment.write(reservation.offset() + transfer.received, raw);
                debug_assert!(
                    written,
                    "chunks stay within their transfer, and that within its reservation"
                );
            }
            Place::Waiting(wait) => wait.held.extend_from_slice(raw),
            Place::Nowhere => counters.bytes_drained += raw.len() as u64,
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
        if let Some(open) = self.transfers.get_mut(&transfer) {
            open.verified = open.received;
            if open.verified == open.bytes && !matches!(open.place, Place::Waiting(_)) {
                self.end(transfer, arena, counters, out);
            } else if let Place::Early(_) = open.place {
                let bytes = open.verified;
                out.push(Inbound::Arrived { transfer, bytes });
            }
        }
    }

    /// All of a payload is here, and has a range unless it was thrown away.
    pub(super) fn end(
        &mut self,
        transfer: u64,
        arena: &mut Arena,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) {
        let Some(Transfer { bytes, place, .. }) = self.transfers.remove(&transfer) else {
            return;
        };
        let target = match place {
            Place::Memory(target) => target,
            Place::Early(Early { reservation, .. }) => {
                counters.transfers_received += 1;
                // Where it lies was said when its message was handed on.
                let _ = arena.commit(reservation, bytes);
                let ended = Ok(());
                return out.push(Inbound::ArrivalEnded { transfer, ended });
            }
            Place::Waiting(_) | Place::Nowhere => return,
        };
        let range = arena.commit(target.reservation, bytes);
        counters.transfers_received += 1;
        let Some(waiting) = self.waiting.get_mut(&target.message) else {
            debug_assert!(
                false,
                "a message that goes takes its transfers' targets with it"
            );
            counters.bytes_drained += bytes;
            return release(range, arena);
        };
        if let Some(Ok(landed)) = waiting.message.landing_mut(target.payload) {
            landed.range = range;
        }
        self.arrived(target.message, out);
    }

    /// A payload of a message that waits has found no place after all.
    pub(super) fn refuse(&mut self, message: u64, payload: usize, error: LandingError) {
        let waiting = self.waiting.get_mut(&message);
        if let Some(landing) = waiting.and_then(|waiting| waiting.message.landing_mut(payload)) {
            *landing = Err(error);
        }
    }

    /// One payload less is missing of a message.
    pub(super) fn arrived(&mut self, message: u64, out: &mut Vec<Inbound>) {
        if let Some(waiting) = self.waiting.get_mut(&message) {
            waiting.missing -= 1;
            if waiting.missing == 0 {
                self.complete(message, out);
            }
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
    fn take_back(
        &mut self,
        request: u64,
        room: &mut Room<'_>,
        counters: &mut LinkCounters,
    ) -> bool {
        let mut wishes = self.wishes.range((request, 0)..=(request, u64::MAX));
        let Some((_, number)) = wishes.next_back().copied() else {
            return false;
        };
        self.discard(number, room, counters);
        true
    }

    /// Discards what waits of an invocation.
    pub(super) fn abort(
        &mut self,
        invocation: u128,
        room: &mut Room<'_>,
        counters: &mut LinkCounters,
    ) {
        let Some(under) = self.invocations.remove(&invocation) else {
            return;
        };
        for number in under.messages {
            self.discard(number, room, counters);
        }
    }

    fn discard(&mut self, number: u64, room: &mut Room<'_>, counters: &mut LinkCounters) {
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
            if transfer.place.message() != Some(number) {
                continue;
            }
            match std::mem::replace(&mut transfer.place, Place::Nowhere) {
                Place::Memory(target) => {
                    counters.bytes_drained += transfer.received;
                    if self.lent == Some(id) {
                        self.doomed = Some(target.reservation);
                    } else {
                        room.arena.abandon(target.reservation);
                    }
                }
                Place::Waiting(wait) => {
                    room.shortage.leave(wait.ticket);
                    self.short.remove(&wait.ticket);
                    self.throw_away(id, counters);
                }
                Place::Early(_) | Place::Nowhere => {}
            }
        }
        for mut message in std::iter::once(waiting.message).chain(waiting.followers) {
            message.take_lent(&mut self.unread);
            message.release(room.arena);
        }
    }

    /// What peers have lent of messages that were discarded since the last call.
    pub(super) fn take_unread(&mut self, unread: &mut Vec<PayloadRef>) {
        unread.append(&mut self.unread);
    }

    /// Gives everything back, but for ranges of messages that were handed on. The driver must be done with what was lent.
    pub(super) fn close(
        &mut self,
        room: &mut Room<'_>,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) {
        self.lent = None;
        if let Some(reservation) = self.doomed.take() {
            room.arena.abandon(reservation);
        }
        let numbers: Vec<u64> = self.waiting.keys().copied().collect();
        for number in numbers {
            self.discard(number, room, counters);
        }
        for (transfer, Transfer { bytes, place, .. }) in std::mem::take(&mut self.transfers) {
            if let Place::Early(Early { reservation, .. }) = place {
                let _ = room.arena.commit(reservation, bytes);
                let ended = Err("the link ended before all of it had come".to_owned());
                out.push(Inbound::ArrivalEnded { transfer, ended });
            }
        }
        self.invocations.clear();
    }
}
