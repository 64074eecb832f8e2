//! What a link promises, with a link of the sending side for the bytes, cut wherever a test says.

mod cancels;
mod credits;
mod early;
mod incoming;
mod lent;
mod outgoing;
mod pair;
mod refusals;
mod shares;
mod sockets;

use super::*;
use crate::lane::driver::PieceSegment;
use crate::wire::{
    Begin, Body, CHUNK_BYTES_MAX, ChunkHead, Data, Drained, Forget, Invoke, LentRange, Outcome,
    Section, StateEvent,
};
use faasstore::Cancelled;
use faasstore::arena::{Arena, ArenaConfig};
use faasstore::segment::SegmentWriter;
use proptest::prelude::*;
use std::sync::Arc;

const ARENA_BYTES: u64 = 64 << 20;

fn arena_of(bytes_max: u64) -> Arena {
    Arena::new(ArenaConfig {
        name: "link-test".into(),
        segment_bytes: 1 << 20,
        bytes_max,
    })
}

const fn admitted(limits: Limits) -> Admitted {
    Admitted {
        limits,
        compartment: Compartment::FIRST,
    }
}

/// Takes everything.
struct Anyone;

impl Admission for Anyone {
    fn invoke(&self, _workflow: &str, _inputs: &[(&str, InputForm)]) -> Result<Admitted, Refusal> {
        Ok(admitted(Limits::default()))
    }

    fn deployed(&self, _deployment: DeploymentId) -> Option<Admitted> {
        Some(admitted(Limits::default()))
    }

    fn taken(&self, _invocation: u128, deployment: DeploymentId) -> Option<Admitted> {
        self.deployed(deployment)
    }

    fn schema(&self, _origin: Origin<'_>, _schema: u64) -> Result<(), String> {
        Ok(())
    }
}

/// Takes everything that is not of this schema.
struct Not(u64);

impl Admission for Not {
    fn invoke(&self, workflow: &str, inputs: &[(&str, InputForm)]) -> Result<Admitted, Refusal> {
        Anyone.invoke(workflow, inputs)
    }

    fn deployed(&self, deployment: DeploymentId) -> Option<Admitted> {
        Anyone.deployed(deployment)
    }

    fn taken(&self, invocation: u128, deployment: DeploymentId) -> Option<Admitted> {
        Anyone.taken(invocation, deployment)
    }

    fn schema(&self, origin: Origin<'_>, schema: u64) -> Result<(), String> {
        match schema == self.0 {
            true => Err(format!("{origin:?} is {schema}")),
            false => Ok(()),
        }
    }
}

/// Takes nothing, or small payloads.
struct Door(Option<Limits>);

impl Admission for Door {
    fn invoke(&self, workflow: &str, _inputs: &[(&str, InputForm)]) -> Result<Admitted, Refusal> {
        let limits = self.0.ok_or_else(|| format!("no {workflow} here"))?;
        Ok(admitted(limits))
    }

    fn deployed(&self, _deployment: DeploymentId) -> Option<Admitted> {
        self.0.map(admitted)
    }

    fn taken(&self, _invocation: u128, deployment: DeploymentId) -> Option<Admitted> {
        self.deployed(deployment)
    }

    fn schema(&self, _origin: Origin<'_>, _schema: u64) -> Result<(), String> {
        Ok(())
    }
}

/// What a peer is said to lend: every segment but number 9, of which number 7 cannot be mapped.
#[derive(Debug, Default)]
struct Lent {
    given_back: Vec<LentRange>,
    to_stream: Vec<(u64, Layout, Vec<LentRange>)>,
    borrowed: usize,
}

impl Loans for Lent {
    fn check(&mut self, _deployment: DeploymentId, ranges: &[LentRange]) -> Result<(), String> {
        match ranges.iter().any(|range| range.segment == 9) {
            true => Err("segment 9 was not announced".into()),
            false => Ok(()),
        }
    }

    fn borrow(&mut self, ranges: &[LentRange]) -> Option<Vec<PayloadRef>> {
        if ranges.iter().any(|range| range.segment == 7) {
            return None;
        }
        self.borrowed += ranges.len();
        let here = |range: &LentRange| PayloadRef {
            segment: range.segment,
            generation: range.generation,
            offset: range.offset,
            length: range.bytes,
        };
        Some(ranges.iter().map(here).collect())
    }

    fn give_back(&mut self, ranges: &[LentRange]) {
        self.given_back.extend(ranges);
    }

    fn ask_to_stream(&mut self, transfer: u64, layout: Layout, ranges: &[LentRange]) {
        self.to_stream.push((transfer, layout, ranges.to_vec()));
    }
}

/// A receiving link, its arena, and what it has handed on.
struct Receiver {
    role: LinkRole,
    link: Link,
    arena: Arena,
    shortage: Shortage,
    out: Vec<Inbound>,
    door: Box<dyn Admission>,
    lent: Lent,
}

impl Receiver {
    fn new(role: LinkRole, limits: LinkLimits) -> Self {
        Self {
            role,
            link: Link::new(role, limits),
            arena: arena_of(ARENA_BYTES),
            shortage: Shortage::default(),
            out: Vec::new(),
            door: Box::new(Anyone),
            lent: Lent::default(),
        }
    }

    fn peer() -> Self {
        Self::new(LinkRole::PeerIn, LinkLimits::default())
    }

    /// Receives `stream`, at most as many bytes at a time as `cuts` says, over and over: of a peer chunks on the connection for
    /// them, and what is no frame on the other. What is granted is told in between.
    fn feed(&mut self, mut stream: &[u8], cuts: &[usize]) -> Result<(), LinkError> {
        while !stream.is_empty() {
            let on = self.stream_of(stream);
            let mut length = 0;
            while length < stream.len() && self.stream_of(&stream[length..]) == on {
                length += frame_bytes(&stream[length..]);
            }
            let length = length.min(stream.len());
            self.feed_on(on, &stream[..length], cuts)?;
            self.tell();
            stream = &stream[length..];
        }
        Ok(())
    }

    fn stream_of(&self, bytes: &[u8]) -> Stream {
        match header_of(bytes) {
            Some(header) if header.kind.is_chunk() && self.role == LinkRole::PeerIn => Stream::Bulk,
            _ => Stream::Messages,
        }
    }

    /// Receives on one connection, as far as the link wants anything there.
    fn feed_on(&mut self, on: Stream, mut stream: &[u8], cuts: &[usize]) -> Result<(), LinkError> {
        let mut cuts = cuts.iter().copied().cycle();
        while !stream.is_empty() && self.link.may_receive(on) {
            let buffer = self.link.next_receive(on);
            let bytes = cuts
                .next()
                .unwrap_or(usize::MAX)
                .min(room(&buffer))
                .min(stream.len());
            let buffer = fill(buffer, &stream[..bytes]);
            stream = &stream[bytes..];
            self.received_on(on, bytes, buffer)?;
        }
        Ok(())
    }

    /// The other side hears what is granted.
    fn tell(&mut self) {
        if self.role == LinkRole::PeerIn
            && let Some(buffer) = self.link.next_send(Stream::Messages)
        {
            let link = &mut self.link;
            link.sent(Stream::Messages, buffer, &mut Vec::new());
        }
    }

    /// The other side closes, first its connection for chunks.
    fn end(&mut self) -> LinkError {
        let streams = [Stream::Bulk, Stream::Messages];
        let mut errors = streams.map(|on| {
            let buffer = self.link.next_receive(on);
            self.received_on(on, 0, buffer).unwrap_err()
        });
        errors.sort_by_key(|error| matches!(error, LinkError::Ended));
        let [worst, _] = errors;
        worst
    }

    fn received_on(
        &mut self,
        on: Stream,
        bytes: usize,
        buffer: ReceiveBuffer,
    ) -> Result<(), LinkError> {
        let mut room = Room {
            arena: &mut self.arena,
            shortage: &mut self.shortage,
        };
        let door = self.door.as_ref();
        self.link.received(
            (on, bytes),
            buffer,
            &mut room,
            door,
            &mut self.lent,
            &mut self.out,
        )
    }

    fn abort(&mut self, invocation: u128) {
        let mut room = Room {
            arena: &mut self.arena,
            shortage: &mut self.shortage,
        };
        self.link.abort(invocation, &mut room);
    }

    /// The bytes that landed; of a list, those of its items.
    fn content(&self, landing: &Landing) -> Vec<Vec<u8>> {
        let landed = landing.as_ref().unwrap();
        let range = landed.range;
        if range.length == 0 {
            return vec![Vec::new(); landed.items.as_ref().map_or(1, Vec::len)];
        }
        let segment = self.arena.segment(range.segment, range.generation).unwrap();
        let bytes = segment.read(range.offset, range.length).unwrap();
        let whole = [(0, range.length)];
        let items = landed.items.as_deref().unwrap_or(&whole);
        items
            .iter()
            .map(|&(offset, length)| bytes[offset as usize..][..length as usize].to_vec())
            .collect()
    }

    /// Releases everything; nothing may be left then.
    fn settle(mut self) -> LinkCounters {
        let mut unread = Vec::new();
        for mut message in self.out {
            message.take_lent(&mut unread);
            message.release(&mut self.arena);
        }
        let mut room = Room {
            arena: &mut self.arena,
            shortage: &mut self.shortage,
        };
        let flushed = &mut Vec::new();
        let counters = self
            .link
            .close(&mut room, flushed, &mut unread, &mut Vec::new());
        assert!(!self.shortage.is_any(), "one still waits");
        assert_eq!(self.arena.bytes_leased(), 0, "ranges were lost");
        assert_eq!(unread.len(), self.lent.borrowed, "what is lent was lost");
        counters
    }
}

fn header_of(bytes: &[u8]) -> Option<wire::Header> {
    wire::Header::parse(bytes.first_chunk()?, BODY_BYTES_MAX).ok()
}

/// Bytes of the frame that comes first, or of all if it is none.
fn frame_bytes(bytes: &[u8]) -> usize {
    header_of(bytes).map_or(bytes.len(), |header| {
        wire::HEADER_BYTES + header.padded_length()
    })
}

fn room(buffer: &ReceiveBuffer) -> usize {
    match buffer {
        ReceiveBuffer::Owned(_, range) => range.len(),
        ReceiveBuffer::Segment { length, .. } => *length as usize,
    }
}

fn fill(mut buffer: ReceiveBuffer, bytes: &[u8]) -> ReceiveBuffer {
    match &mut buffer {
        ReceiveBuffer::Owned(buffer, range) => {
            buffer[range.start..][..bytes.len()].copy_from_slice(bytes)
        }
        ReceiveBuffer::Segment {
            segment, offset, ..
        } => assert!(segment.write(*offset, bytes)),
    }
    buffer
}

/// A sending link, and what it has sent.
struct Sender {
    link: Link,
    segment: Arc<SegmentWriter>,
    used: u64,
    flushed: Vec<u64>,
}

impl Sender {
    /// Everything goes by one connection, as to a client.
    fn new(limits: LinkLimits) -> Self {
        Self::to(LinkRole::Client, limits)
    }

    fn to(role: LinkRole, limits: LinkLimits) -> Self {
        let segment = Arc::new(SegmentWriter::create("link-test", 32 << 20).unwrap());
        Self {
            link: Link::new(role, limits),
            segment,
            used: 0,
            flushed: Vec::new(),
        }
    }

    fn piece(&mut self, bytes: &[u8]) -> Piece {
        assert!(
            self.segment.write(self.used, bytes),
            "the segment is large enough for a test"
        );
        let piece = Piece::new(
            PieceSegment::Own(self.segment.clone()),
            self.used,
            bytes.len() as u64,
        )
        .unwrap();
        self.used += bytes.len() as u64;
        piece
    }

    fn stream(&mut self, payload: &Payload, token: u64) -> Body {
        self.stream_of(0, payload, token)
    }

    fn stream_of(&mut self, owner: u64, payload: &Payload, token: u64) -> Body {
        let pieces = payload.parts.iter().map(|part| self.piece(part)).collect();
        let layout = if payload.list {
            Layout::Items
        } else {
            Layout::Bytes
        };
        let data = self.link.stream(pieces, layout, token, owner).unwrap();
        Body {
            items: payload.items(),
            section: None,
            schema: 0,
            data,
        }
    }

    /// What one send carries.
    fn send(&mut self) -> Option<Vec<u8>> {
        self.send_on(Stream::Messages)
    }

    fn send_on(&mut self, on: Stream) -> Option<Vec<u8>> {
        let buffer = self.link.next_send(on)?;
        assert!(self.link.next_send(on).is_none(), "one send at a time");
        let bytes = buffer.spans(0).collect::<Vec<_>>().concat();
        assert_eq!(bytes.len() as u64, buffer.length());
        self.link.sent(on, buffer, &mut self.flushed);
        Some(bytes)
    }

    fn send_all(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.send())
            .collect::<Vec<_>>()
            .concat()
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Payload {
    list: bool,
    streamed: bool,
    parts: Vec<Vec<u8>>,
}

impl Payload {
    fn bytes(length: usize, seed: u8) -> Self {
        Self {
            list: false,
            streamed: true,
            parts: vec![pattern(length, seed)],
        }
    }

    fn items(&self) -> Option<Vec<u64>> {
        self.list
            .then(|| self.parts.iter().map(|part| part.len() as u64).collect())
    }

    fn inline(&self) -> Body {
        let mut data = Vec::new();
        for part in &self.parts {
            data.extend_from_slice(part);
            if self.list {
                data.resize(data.len().next_multiple_of(16), 0);
            }
        }
        Body {
            items: self.items(),
            section: None,
            schema: 0,
            data: Data::Inline(data),
        }
    }
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|place| (place as u8).wrapping_mul(31) ^ (place >> 8) as u8 ^ seed)
        .collect()
}

fn event(invocation: u128, outputs: Vec<(u16, Body)>) -> StateEvent {
    StateEvent {
        invocation,
        deployment: DeploymentId(1),
        node: 2,
        outcome: Outcome::Well,
        outputs,
        load: None,
    }
}

fn frame<T: Message>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes);
    bytes
}

fn chunk(transfer: u64, offset: u64, raw: &[u8]) -> Vec<u8> {
    let mut bytes = ChunkHead { transfer, offset }.frame_start(raw).to_vec();
    bytes.extend_from_slice(raw);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

fn streamed(transfer: u64, bytes: u64) -> Body {
    Body {
        items: None,
        section: None,
        schema: 0,
        data: Data::Streamed { transfer, bytes },
    }
}

fn invocations(out: &[Inbound]) -> Vec<u128> {
    out.iter().filter_map(Inbound::invocation).collect()
}

fn payloads() -> impl Strategy<Value = Payload> {
    let part = (
        prop_oneof![4 => 0..100_usize, 2 => 4000..5000_usize, 1 => 0..150_000_usize],
        any::<u8>(),
    )
        .prop_map(|(length, seed)| pattern(length, seed));
    let list = proptest::collection::vec(part.clone(), 0..6);
    prop_oneof![
        (any::<bool>(), part).prop_map(|(streamed, part)| Payload {
            list: false,
            streamed,
            parts: vec![part]
        }),
        (any::<bool>(), list).prop_map(|(streamed, parts)| Payload {
            list: true,
            streamed,
            parts
        }),
    ]
}

/// State events, one for each list of payloads, all queued before the first byte is sent.
fn encode_events(events: &[Vec<Payload>]) -> (Vec<u8>, u64) {
    let mut sender = Sender::new(LinkLimits::default());
    let mut token = 0;
    for (number, payloads) in events.iter().enumerate() {
        let mut outputs = Vec::new();
        for (output, payload) in payloads.iter().enumerate() {
            let body = if payload.streamed {
                token += 1;
                sender.stream(payload, token)
            } else {
                payload.inline()
            };
            outputs.push((output as u16, body));
        }
        sender.link.queue(&event(number as u128, outputs)).unwrap();
    }
    let bytes = sender.send_all();
    let mut tokens = std::mem::take(&mut sender.flushed);
    tokens.sort_unstable();
    assert_eq!(
        tokens,
        (1..=token).collect::<Vec<_>>(),
        "each token comes back once"
    );
    assert_eq!(sender.link.queued_bytes(), 0);
    (bytes, token)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_messages_cut_anywhere_arrive_as_they_were_sent(
        events in proptest::collection::vec(proptest::collection::vec(payloads(), 0..4), 1..8),
        cuts in proptest::collection::vec(prop_oneof![1..40_usize, 1..5000_usize, 1..200_000_usize], 1..20),
    ) {
        let (bytes, _) = encode_events(&events);
        let mut receiver = Receiver::peer();
        receiver.feed(&bytes, &cuts).unwrap();
        prop_assert!(matches!(receiver.end(), LinkError::Ended));
        prop_assert_eq!(receiver.out.len(), events.len());
        for message in &receiver.out {
            let Inbound::StateEvent { invocation, outputs, .. } = message else { panic!("{message:?}") };
            let sent = &events[*invocation as usize];
            prop_assert_eq!(outputs.len(), sent.len());
            for ((_, landing), payload) in outputs.iter().zip(sent) {
                prop_assert!(receiver.content(landing) == payload.parts, "a payload changed on its way");
            }
        }
        // What waits for nothing stays in order.
        let small = |number: &u128| events[*number as usize].iter().all(|payload| !payload.streamed);
        let order: Vec<u128> = invocations(&receiver.out).into_iter().filter(small).collect();
        prop_assert!(order.is_sorted());
        receiver.settle();
    }

    #[test]
    fn a_stream_that_is_cut_off_loses_nothing_but_its_rest(
        events in proptest::collection::vec(proptest::collection::vec(payloads(), 0..3), 1..5),
        part in 0.0..1.0_f64,
    ) {
        let (bytes, _) = encode_events(&events);
        let mut receiver = Receiver::peer();
        let length = (bytes.len() as f64 * part) as usize;
        receiver.feed(&bytes[..length], &[usize::MAX]).unwrap();
        let end = receiver.end();
        prop_assert!(matches!(end, LinkError::Ended | LinkError::Truncated { .. }), "{}", end);
        if receiver.out.len() == events.len() && matches!(end, LinkError::Ended) {
            prop_assert_eq!(length.next_multiple_of(16), bytes.len());
        }
        receiver.settle();
    }

    #[test]
    fn a_changed_byte_never_changes_a_message(
        events in proptest::collection::vec(proptest::collection::vec(payloads(), 0..3), 1..4),
        place: prop::sample::Index, flip in 1..=255_u8,
    ) {
        let (mut bytes, _) = encode_events(&events);
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        let mut receiver = Receiver::peer();
        let _ = receiver.feed(&bytes, &[30_000]);
        for message in &receiver.out {
            let Inbound::StateEvent { invocation, outputs, .. } = message else { panic!("{message:?}") };
            for ((_, landing), payload) in outputs.iter().zip(&events[*invocation as usize]) {
                prop_assert!(receiver.content(landing) == payload.parts, "a changed payload was handed on");
            }
        }
        receiver.settle();
    }

    #[test]
    fn garbage_is_refused(garbage in proptest::collection::vec(any::<u8>(), 16..2000), magic: bool) {
        let mut garbage = garbage;
        if magic {
            garbage[..8].copy_from_slice(&frame(&Forget { invocation: 1, why: Cancelled::ByClient })[..8]);
        }
        let mut receiver = Receiver::peer();
        let refused = receiver.feed(&garbage, &[100]).is_err() || matches!(receiver.end(), LinkError::Truncated { .. });
        prop_assert!(refused);
        prop_assert!(receiver.out.is_empty());
        receiver.settle();
    }
}
