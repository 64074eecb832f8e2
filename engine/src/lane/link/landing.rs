//! Payloads on their way into the arena, and the messages that wait for them.
//!
//! It owns every range that is set aside for a payload until the message that carries it is handed on. It promises
//! that such a range goes to the lane or back to the arena, exactly once, whatever the other side sends or leaves out;
//! that no range is given back while the driver may still write to it; and that what it keeps for a peer stays within
//! the link's limits. Cutting the stream into frames is left to [`super::inbound`].

use super::{LinkCounters, LinkError, LinkLimits};
use crate::plan::{DeploymentId, NodeId};
use crate::wire::{self, Body, ChunkHead, Data, FrameKind, ITEM_ALIGN, NodeReport, PartFailed, WireError};
use faasstore::arena::{Arena, Reservation};
use faasstore::descriptor::ArenaRange;
use faasstore::segment::SegmentWriter;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A payload that lies in the lane's arena, complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Landed {
    /// All of its bytes; leased, so to be released. Of no bytes, it names none and need not be.
    pub range: ArenaRange,
    /// For a list: offset within the range, and bytes, of each item. Offsets are multiples of [`ITEM_ALIGN`].
    pub items: Option<Vec<(u64, u64)>>,
}

/// Why a payload found no place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LandingError {
    /// The arena could not hold it.
    #[error("no memory for a payload of {bytes} bytes: {reason}")]
    Memory {
        /// What it needs.
        bytes: u64,
        /// From the arena.
        reason: String,
    },
    /// Longer than this worker takes.
    #[error("a payload of {bytes} bytes, above the limit of {limit}: raise payload_bytes_max, or part it into a list")]
    Bytes {
        /// What it has.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// More items than this worker takes.
    #[error("a list of {items} items, above the limit of {limit}: raise items_max, or batch the items")]
    Items {
        /// What it has.
        items: usize,
        /// What is allowed.
        limit: u32,
    },
}

/// What became of one payload of a message.
pub type Landing = Result<Landed, LandingError>;

/// A message, complete, as in [`wire`] but with its payloads in the arena. Whoever takes it owns their ranges.
#[derive(PartialEq, Eq, Debug)]
pub enum Inbound {
    /// See [`wire::Invoke`].
    Invoke {
        /// Chosen by the client.
        request: u64,
        /// The workflow's name.
        workflow: String,
        /// Inputs by name.
        inputs: Vec<(String, Landing)>,
        /// Whether node reports are wanted.
        report: bool,
    },
    /// A [`wire::Begin`] is here, but payloads of it are still under way.
    BeginComing {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
    },
    /// See [`wire::Begin`].
    Begin {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
        /// Whether node reports are wanted.
        report: bool,
        /// Workflow inputs, by number.
        inputs: Vec<(u16, Landing)>,
    },
    /// See [`wire::StateEvent`].
    StateEvent {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
        /// Which node has ended.
        node: NodeId,
        /// Its outputs, by number.
        outputs: Vec<(u16, Landing)>,
    },
    /// See [`wire::PartDone`].
    PartDone {
        /// Which invocation.
        invocation: u128,
        /// Workflow outputs, by number.
        outputs: Vec<(u16, Landing)>,
        /// If wanted.
        report: Vec<NodeReport>,
    },
    /// See [`wire::PartFailed`].
    PartFailed(PartFailed),
    /// See [`wire::Forget`].
    Forget {
        /// Which invocation.
        invocation: u128,
    },
    /// See [`wire::Drained`].
    Drained {
        /// Which deployment.
        deployment: DeploymentId,
    },
}

impl Inbound {
    /// Which invocation it belongs to, unless it is to make one, or belongs to none.
    #[must_use]
    pub const fn invocation(&self) -> Option<u128> {
        match self {
            Self::Begin { invocation, .. }
            | Self::StateEvent { invocation, .. }
            | Self::PartDone { invocation, .. }
            | Self::Forget { invocation } => Some(*invocation),
            Self::PartFailed(failed) => Some(failed.invocation),
            Self::Invoke { .. } | Self::BeginComing { .. } | Self::Drained { .. } => None,
        }
    }

    /// Gives the ranges of all its payloads back: for a message that is refused or comes too late.
    pub fn release(self, arena: &mut Arena) {
        match self {
            Self::Invoke { inputs, .. } => release_all(inputs, arena),
            Self::Begin { inputs: payloads, .. }
            | Self::StateEvent { outputs: payloads, .. }
            | Self::PartDone { outputs: payloads, .. } => release_all(payloads, arena),
            Self::BeginComing { .. }
            | Self::PartFailed(_)
            | Self::Forget { .. }
            | Self::Drained { .. } => {}
        }
    }

    /// Its `index`-th payload.
    fn landing_mut(&mut self, index: usize) -> Option<&mut Landing> {
        match self {
            Self::Invoke { inputs, .. } => inputs.get_mut(index).map(|(_, landing)| landing),
            Self::Begin { inputs: payloads, .. }
            | Self::StateEvent { outputs: payloads, .. }
            | Self::PartDone { outputs: payloads, .. } => payloads.get_mut(index).map(|(_, landing)| landing),
            Self::BeginComing { .. } | Self::PartFailed(_) | Self::Forget { .. } | Self::Drained { .. } => None,
        }
    }
}

fn release_all<K>(payloads: Vec<(K, Landing)>, arena: &mut Arena) {
    for (_, landing) in payloads {
        if let Ok(landed) = landing {
            let released = arena.release(landed.range);
            debug_assert!(released.is_ok(), "a range that landed is leased until it is released: {released:?}");
        }
    }
}

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
    waiting_bytes: usize,
    next_message: u64,
    // The transfer that the driver receives into, and the range if it was discarded since.
    lent: Option<u64>,
    doomed: Option<Reservation>,
}

impl fmt::Debug for Landings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Landings({} messages, {} transfers)", self.waiting.len(), self.transfers.len())
    }
}

impl Landings {
    pub(super) const fn new(limits: LinkLimits) -> Self {
        Self {
            limits,
            transfers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            invocations: BTreeMap::new(),
            waiting_bytes: 0,
            next_message: 0,
            lent: None,
            doomed: None,
        }
    }

    /// Payloads under way.
    pub(super) fn transfers(&self) -> usize {
        self.transfers.len()
    }

    /// Takes the body of a verified frame.
    pub(super) fn message(
        &mut self,
        kind: FrameKind,
        body: &[u8],
        arena: &mut Arena,
        counters: &mut LinkCounters,
        out: &mut Vec<Inbound>,
    ) -> Result<(), LinkError> {
        let bytes = body.len();
        let mut arrival = Arrival { kind, limits: self.limits, open: Vec::new(), refused: 0 };
        let message = match kind {
            FrameKind::Invoke => {
                let wire::Invoke { request, workflow, inputs, report } = wire::decode(body)?;
                let inputs = arrival.land(inputs, self, arena)?;
                Inbound::Invoke { request, workflow, inputs, report }
            }
            FrameKind::Begin => {
                let wire::Begin { invocation, deployment, report, inputs } = wire::decode(body)?;
                let inputs = arrival.land(inputs, self, arena)?;
                Inbound::Begin { invocation, deployment, report, inputs }
            }
            FrameKind::StateEvent => {
                let wire::StateEvent { invocation, deployment, node, outputs } = wire::decode(body)?;
                let outputs = arrival.land(outputs, self, arena)?;
                Inbound::StateEvent { invocation, deployment, node, outputs }
            }
            FrameKind::PartDone => {
                let wire::PartDone { invocation, outputs, report } = wire::decode(body)?;
                let outputs = arrival.land(outputs, self, arena)?;
                Inbound::PartDone { invocation, outputs, report }
            }
            FrameKind::PartFailed => Inbound::PartFailed(wire::decode(body)?),
            FrameKind::Forget => {
                let wire::Forget { invocation } = wire::decode(body)?;
                self.abort(invocation, arena, counters);
                Inbound::Forget { invocation }
            }
            FrameKind::Drained => {
                let wire::Drained { deployment } = wire::decode(body)?;
                Inbound::Drained { deployment }
            }
            kind => return Err(WireError::Unexpected(kind).into()),
        };
        counters.messages_received += 1;
        counters.landings_refused += arrival.refused;
        self.admit(message, arrival.open, bytes, out)
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
        let mut transfers = Vec::new();
        for Opened { transfer, bytes, place } in open {
            let target = place.map(|(payload, reservation, segment)| {
                transfers.push(transfer);
                Target { reservation, segment, message: number, payload }
            });
            self.transfers.insert(transfer, Transfer { bytes, received: 0, target });
        }
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
            if let Some(invocation) = message.invocation() {
                let under = self.invocations.entry(invocation).or_default();
                under.messages.insert(number);
                if !follows && matches!(message, Inbound::Begin { .. }) {
                    under.begin = Some(number);
                }
            }
            let waiting = Waiting { message, transfers, missing, bytes, followers: Vec::new(), followers_bytes: 0 };
            self.waiting.insert(number, waiting);
        }
        let limit = self.limits.waiting_bytes_max;
        if self.waiting_bytes > limit { Err(LinkError::Waiting { limit }) } else { Ok(()) }
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
        let Some(Transfer { bytes, received, .. }) = self.transfers.get(&transfer) else {
            return Err(LinkError::TransferUnknown { transfer });
        };
        if offset != *received || length > bytes - received {
            return Err(LinkError::ChunkPlace { transfer, offset, length, received: *received, bytes: *bytes });
        }
        Ok(())
    }

    /// Where the next bytes of a transfer are to be received; nothing if they are to be thrown away. The range is not
    /// given back before [`Landings::direct`] tells that the driver is done with it.
    pub(super) fn lend(&mut self, transfer: u64) -> Option<Place> {
        let Transfer { received, target, .. } = self.transfers.get(&transfer)?;
        let target = target.as_ref()?;
        debug_assert!(self.lent.is_none(), "one receive at a time on a link");
        self.lent = Some(transfer);
        Some(Place { segment: target.segment.clone(), offset: target.reservation.offset() + received })
    }

    /// `bytes` bytes were received where [`Landings::lend`] said.
    pub(super) fn direct(&mut self, transfer: u64, bytes: u64, arena: &mut Arena, counters: &mut LinkCounters) {
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
                let written = target.segment.write(target.reservation.offset() + transfer.received, raw);
                debug_assert!(written, "chunks stay within their transfer, and that within its reservation");
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
        let complete = self.transfers.get(&transfer).is_some_and(|open| open.received == open.bytes);
        if !complete {
            return;
        }
        let Some(Transfer { bytes, target: Some(target), .. }) = self.transfers.remove(&transfer) else { return };
        let range = arena.commit(target.reservation, bytes);
        let Some(waiting) = self.waiting.get_mut(&target.message) else {
            debug_assert!(false, "a message that goes takes its transfers' targets with it");
            counters.bytes_drained += bytes;
            return release_all(vec![((), Ok(Landed { range, items: None }))], arena);
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
        let Some(waiting) = self.waiting.remove(&number) else { return };
        self.forget_number(&waiting.message, number);
        let followers_bytes = waiting.followers_bytes;
        self.hand_on(waiting.message, waiting.bytes, out);
        self.waiting_bytes -= followers_bytes;
        out.extend(waiting.followers);
    }

    /// Removes a message from what waits of its invocation.
    fn forget_number(&mut self, message: &Inbound, number: u64) {
        let Some(invocation) = message.invocation() else { return };
        let Some(under) = self.invocations.get_mut(&invocation) else { return };
        under.messages.remove(&number);
        if under.begin == Some(number) {
            under.begin = None;
        }
        if under.messages.is_empty() {
            self.invocations.remove(&invocation);
        }
    }

    /// Discards what waits of an invocation.
    pub(super) fn abort(&mut self, invocation: u128, arena: &mut Arena, counters: &mut LinkCounters) {
        let Some(under) = self.invocations.remove(&invocation) else { return };
        for number in under.messages {
            self.discard(number, arena, counters);
        }
    }

    fn discard(&mut self, number: u64, arena: &mut Arena, counters: &mut LinkCounters) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        counters.messages_discarded += 1 + waiting.followers.len() as u64;
        self.waiting_bytes -= waiting.bytes + waiting.followers_bytes;
        for id in waiting.transfers {
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            // The number may be another message's by now, if this one's transfer was complete.
            let Some(target) = transfer.target.take_if(|target| target.message == number) else { continue };
            counters.bytes_drained += transfer.received;
            if self.lent == Some(id) {
                self.doomed = Some(target.reservation);
            } else {
                arena.abandon(target.reservation);
            }
        }
        waiting.message.release(arena);
        for follower in waiting.followers {
            follower.release(arena);
        }
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

/// A transfer that a message has announced.
struct Opened {
    transfer: u64,
    bytes: u64,
    place: Option<(usize, Reservation, Arc<SegmentWriter>)>,
}

/// A message that is being taken in.
struct Arrival {
    kind: FrameKind,
    limits: LinkLimits,
    open: Vec<Opened>,
    refused: u64,
}

impl Arrival {
    /// Finds places for a message's payloads. Checks all of it first, so that an error leaves nothing set aside.
    fn land<K>(
        &mut self,
        bodies: Vec<(K, Body)>,
        landings: &Landings,
        arena: &mut Arena,
    ) -> Result<Vec<(K, Landing)>, LinkError> {
        let mut announced = BTreeSet::new();
        for (_, body) in &bodies {
            let bytes = match &body.data {
                Data::Inline(data) => data.len() as u64,
                Data::Streamed { transfer, bytes } => {
                    if *bytes > 0 && (landings.transfers.contains_key(transfer) || !announced.insert(*transfer)) {
                        return Err(LinkError::TransferTaken { kind: self.kind, transfer: *transfer });
                    }
                    *bytes
                }
            };
            self.check_items(body.items.as_deref(), bytes)?;
        }
        let limit = self.limits.transfers_max;
        if landings.transfers.len() + announced.len() > limit {
            return Err(LinkError::Transfers { limit });
        }
        let landed = bodies.into_iter().enumerate().map(|(payload, (key, body))| {
            let landing = self.land_one(payload, body, arena);
            self.refused += u64::from(landing.is_err());
            (key, landing)
        });
        Ok(landed.collect())
    }

    fn check_items(&self, items: Option<&[u64]>, bytes: u64) -> Result<(), LinkError> {
        let Some(items) = items else { return Ok(()) };
        let sum = items.iter().try_fold(0_u64, |sum, item| sum.checked_add(item.checked_next_multiple_of(ITEM_ALIGN)?));
        if sum == Some(bytes) {
            return Ok(());
        }
        Err(LinkError::Items { kind: self.kind, count: items.len(), items_bytes: sum.unwrap_or(u64::MAX), bytes })
    }

    fn land_one(&mut self, payload: usize, body: Body, arena: &mut Arena) -> Landing {
        let allowed = self.check_limits(&body);
        match body.data {
            Data::Inline(data) => {
                allowed?;
                let range = if data.is_empty() { ArenaRange::default() } else { copy_in(&data, arena)? };
                Ok(Landed { range, items: body.items.map(places) })
            }
            Data::Streamed { bytes: 0, .. } => {
                allowed?;
                Ok(Landed { range: ArenaRange::default(), items: body.items.map(places) })
            }
            Data::Streamed { transfer, bytes } => {
                let place = allowed.and_then(|()| set_aside(bytes, arena));
                let (place, landing) = match place {
                    Ok((reservation, segment)) => {
                        let landed = Landed { range: ArenaRange::default(), items: body.items.map(places) };
                        (Some((payload, reservation, segment)), Ok(landed))
                    }
                    Err(error) => (None, Err(error)),
                };
                self.open.push(Opened { transfer, bytes, place });
                landing
            }
        }
    }

    fn check_limits(&self, body: &Body) -> Result<(), LandingError> {
        let bytes = match &body.data {
            Data::Inline(data) => data.len() as u64,
            Data::Streamed { bytes, .. } => *bytes,
        };
        let LinkLimits { payload_bytes_max, items_max, .. } = self.limits;
        if bytes > payload_bytes_max {
            return Err(LandingError::Bytes { bytes, limit: payload_bytes_max });
        }
        let items = body.items.as_ref().map_or(0, Vec::len);
        if items > items_max as usize {
            return Err(LandingError::Items { items, limit: items_max });
        }
        Ok(())
    }
}

/// Offset and bytes of each item.
fn places(items: Vec<u64>) -> Vec<(u64, u64)> {
    let mut offset = 0;
    let place = |length: u64| {
        let place = (offset, length);
        offset += length.next_multiple_of(ITEM_ALIGN);
        place
    };
    items.into_iter().map(place).collect()
}

fn set_aside(bytes: u64, arena: &mut Arena) -> Result<(Reservation, Arc<SegmentWriter>), LandingError> {
    let memory = |reason: String| LandingError::Memory { bytes, reason };
    let reservation = arena.reserve(bytes).map_err(|error| memory(error.to_string()))?;
    match arena.segment(reservation.segment(), reservation.generation()).cloned() {
        Some(segment) => Ok((reservation, segment)),
        None => {
            arena.abandon(reservation);
            Err(memory("its segment is gone".to_owned()))
        }
    }
}

fn copy_in(data: &[u8], arena: &mut Arena) -> Result<ArenaRange, LandingError> {
    let bytes = data.len() as u64;
    let reservation =
        arena.reserve(bytes).map_err(|error| LandingError::Memory { bytes, reason: error.to_string() })?;
    arena.bytes_mut(&reservation)[..data.len()].copy_from_slice(data);
    Ok(arena.commit(reservation, bytes))
}
