//! What a link promises, with a link of the sending side for the bytes, cut wherever a test says.

use super::*;
use crate::lane::driver::PieceSegment;
use crate::plan::DeploymentId;
use crate::wire::{Begin, Body, CHUNK_BYTES_MAX, ChunkHead, Data, Drained, Forget, Invoke, StateEvent};
use faasstore::arena::ArenaConfig;
use faasstore::segment::SegmentWriter;
use proptest::prelude::*;
use std::sync::Arc;

const ARENA_BYTES: u64 = 64 << 20;

fn arena_of(bytes_max: u64) -> Arena {
    Arena::new(ArenaConfig { name: "link-test".into(), segment_bytes: 1 << 20, bytes_max })
}

/// A receiving link, its arena, and what it has handed on.
struct Receiver {
    link: Link,
    arena: Arena,
    out: Vec<Inbound>,
}

impl Receiver {
    fn new(role: LinkRole, limits: LinkLimits) -> Self {
        Self { link: Link::new(role, limits), arena: arena_of(ARENA_BYTES), out: Vec::new() }
    }

    fn peer() -> Self {
        Self::new(LinkRole::PeerIn, LinkLimits::default())
    }

    /// Receives `stream`, at most as many bytes at a time as `cuts` says, over and over.
    fn feed(&mut self, mut stream: &[u8], cuts: &[usize]) -> Result<(), LinkError> {
        let mut cuts = cuts.iter().copied().cycle();
        while !stream.is_empty() {
            let buffer = self.link.next_receive();
            let bytes = cuts.next().unwrap_or(usize::MAX).min(room(&buffer)).min(stream.len());
            let buffer = fill(buffer, &stream[..bytes]);
            stream = &stream[bytes..];
            self.link.received(bytes, buffer, &mut self.arena, &mut self.out)?;
        }
        Ok(())
    }

    fn end(&mut self) -> LinkError {
        let buffer = self.link.next_receive();
        self.link.received(0, buffer, &mut self.arena, &mut self.out).unwrap_err()
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
        items.iter().map(|&(offset, length)| bytes[offset as usize..][..length as usize].to_vec()).collect()
    }

    /// Releases everything; nothing may be left then.
    fn settle(mut self) -> LinkCounters {
        for message in self.out {
            message.release(&mut self.arena);
        }
        let counters = self.link.close(&mut self.arena, &mut Vec::new());
        assert_eq!(self.arena.bytes_leased(), 0, "ranges were lost");
        counters
    }
}

fn room(buffer: &ReceiveBuffer) -> usize {
    match buffer {
        ReceiveBuffer::Owned(_, range) => range.len(),
        ReceiveBuffer::Segment { length, .. } => *length as usize,
    }
}

fn fill(mut buffer: ReceiveBuffer, bytes: &[u8]) -> ReceiveBuffer {
    match &mut buffer {
        ReceiveBuffer::Owned(buffer, range) => buffer[range.start..][..bytes.len()].copy_from_slice(bytes),
        ReceiveBuffer::Segment { segment, offset, .. } => assert!(segment.write(*offset, bytes)),
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
    fn new(limits: LinkLimits) -> Self {
        let segment = Arc::new(SegmentWriter::create("link-test", 32 << 20).unwrap());
        Self { link: Link::new(LinkRole::PeerOut, limits), segment, used: 0, flushed: Vec::new() }
    }

    fn piece(&mut self, bytes: &[u8]) -> Piece {
        assert!(self.segment.write(self.used, bytes), "the segment is large enough for a test");
        let piece = Piece::new(PieceSegment::Own(self.segment.clone()), self.used, bytes.len() as u64).unwrap();
        self.used += bytes.len() as u64;
        piece
    }

    fn stream(&mut self, payload: &Payload, token: u64) -> Body {
        let pieces = payload.parts.iter().map(|part| self.piece(part)).collect();
        let layout = if payload.list { Layout::Items } else { Layout::Bytes };
        let data = self.link.stream(pieces, layout, token).unwrap();
        Body { items: payload.items(), data }
    }

    /// What one send carries.
    fn send(&mut self) -> Option<Vec<u8>> {
        let buffer = self.link.next_send()?;
        assert!(self.link.next_send().is_none(), "one send at a time");
        let bytes = buffer.spans(0).collect::<Vec<_>>().concat();
        assert_eq!(bytes.len() as u64, buffer.length());
        self.link.sent(buffer, &mut self.flushed);
        Some(bytes)
    }

    fn send_all(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.send()).collect::<Vec<_>>().concat()
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
        Self { list: false, streamed: true, parts: vec![pattern(length, seed)] }
    }

    fn items(&self) -> Option<Vec<u64>> {
        self.list.then(|| self.parts.iter().map(|part| part.len() as u64).collect())
    }

    fn inline(&self) -> Body {
        let mut data = Vec::new();
        for part in &self.parts {
            data.extend_from_slice(part);
            if self.list {
                data.resize(data.len().next_multiple_of(16), 0);
            }
        }
        Body { items: self.items(), data: Data::Inline(data) }
    }
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|place| (place as u8).wrapping_mul(31) ^ (place >> 8) as u8 ^ seed).collect()
}

fn event(invocation: u128, outputs: Vec<(u16, Body)>) -> StateEvent {
    StateEvent { invocation, deployment: DeploymentId(1), node: 2, outputs }
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
    Body { items: None, data: Data::Streamed { transfer, bytes } }
}

fn invocations(out: &[Inbound]) -> Vec<u128> {
    out.iter().filter_map(Inbound::invocation).collect()
}

fn payloads() -> impl Strategy<Value = Payload> {
    let part = (prop_oneof![4 => 0..100_usize, 2 => 4000..5000_usize, 1 => 0..150_000_usize], any::<u8>())
        .prop_map(|(length, seed)| pattern(length, seed));
    let list = proptest::collection::vec(part.clone(), 0..6);
    prop_oneof![
        (any::<bool>(), part).prop_map(|(streamed, part)| Payload { list: false, streamed, parts: vec![part] }),
        (any::<bool>(), list).prop_map(|(streamed, parts)| Payload { list: true, streamed, parts }),
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
    assert_eq!(tokens, (1..=token).collect::<Vec<_>>(), "each token comes back once");
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
            garbage[..8].copy_from_slice(&frame(&Forget { invocation: 1 })[..8]);
        }
        let mut receiver = Receiver::peer();
        let refused = receiver.feed(&garbage, &[100]).is_err() || matches!(receiver.end(), LinkError::Truncated { .. });
        prop_assert!(refused);
        prop_assert!(receiver.out.is_empty());
        receiver.settle();
    }
}

#[test]
fn a_kind_that_a_role_may_not_send_is_refused() {
    let invoke = Invoke { request: 1, workflow: "w".into(), inputs: vec![], report: false };
    for (role, bytes) in [
        (LinkRole::Client, frame(&Forget { invocation: 1 })),
        (LinkRole::PeerIn, frame(&invoke)),
        (LinkRole::PeerOut, frame(&Forget { invocation: 1 })),
        (LinkRole::PeerOut, chunk(0, 0, b"raw")),
    ] {
        let mut receiver = Receiver::new(role, LinkLimits::default());
        let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
        assert!(matches!(error, LinkError::Unexpected { .. }), "{role:?}: {error}");
    }
    let mut client = Receiver::new(LinkRole::Client, LinkLimits::default());
    client.feed(&frame(&invoke), &[usize::MAX]).unwrap();
    assert!(matches!(&client.out[..], [Inbound::Invoke { request: 1, .. }]));
}

#[test]
fn a_list_whose_items_do_not_add_up_is_refused() {
    let long = vec![u64::MAX - 15, 16];
    for items in [vec![1, 2], vec![33], vec![16, 17], vec![], long, vec![u64::MAX]] {
        for data in [Data::Inline(vec![0; 16]), Data::Streamed { transfer: 1, bytes: 16 }] {
            let mut receiver = Receiver::peer();
            let bytes = frame(&event(1, vec![(0, Body { items: Some(items.clone()), data })]));
            let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
            assert!(matches!(error, LinkError::Items { .. }), "{items:?}: {error}");
            receiver.settle();
        }
    }
}

#[test]
fn chunks_that_are_out_of_place_are_refused() {
    let announce = frame(&event(1, vec![(0, streamed(7, 100))]));
    let place = |error: &LinkError| matches!(error, LinkError::ChunkPlace { transfer: 7, .. });
    let cases: [(&str, Vec<u8>, fn(&LinkError) -> bool); 6] = [
        ("a gap", chunk(7, 1, b"x"), place),
        ("again", [chunk(7, 0, b"x"), chunk(7, 0, b"x")].concat(), place),
        ("too much", chunk(7, 0, &[0; 101]), place),
        ("another", chunk(8, 0, b"x"), |error| matches!(error, LinkError::TransferUnknown { transfer: 8 })),
        ("after the end", [chunk(7, 0, &[0; 100]), chunk(7, 100, b"x")].concat(), |error| {
            matches!(error, LinkError::TransferUnknown { transfer: 7 })
        }),
        ("empty", chunk(7, 0, b""), |error| matches!(error, LinkError::ChunkShort { length: 16 })),
    ];
    for (name, bytes, expected) in cases {
        let mut receiver = Receiver::peer();
        receiver.feed(&announce, &[usize::MAX]).unwrap();
        let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
        receiver.settle();
    }
}

#[test]
fn a_transfer_is_announced_once() {
    let twice = event(1, vec![(0, streamed(7, 100)), (1, streamed(7, 100))]);
    let again = [frame(&event(1, vec![(0, streamed(7, 100))])), frame(&event(2, vec![(0, streamed(7, 5))]))].concat();
    for bytes in [frame(&twice), again] {
        let mut receiver = Receiver::peer();
        let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
        assert!(matches!(error, LinkError::TransferTaken { transfer: 7, .. }), "{error}");
        receiver.settle();
    }
}

#[test]
fn a_length_over_the_limit_takes_no_memory() {
    let mut bytes = frame(&Forget { invocation: 1 });
    bytes[8..12].copy_from_slice(&(65_u32 << 20).to_le_bytes());
    let mut receiver = Receiver::peer();
    let error = receiver.feed(&bytes[..16], &[usize::MAX]).unwrap_err();
    assert!(matches!(error, LinkError::Wire(WireError::Length { .. })), "{error}");
}

#[test]
fn a_long_message_takes_no_more_memory_than_twice_what_came_of_it() {
    let data = Data::Inline(pattern(8 << 20, 5));
    let bytes = frame(&event(1, vec![(0, Body { items: None, data })]));
    let mut receiver = Receiver::peer();
    let mut fed = 0;
    while fed < bytes.len() {
        let buffer = receiver.link.next_receive();
        let ReceiveBuffer::Owned(memory, _) = &buffer else { panic!("a message is assembled") };
        assert!(memory.len() <= (2 * fed).max(130 << 10), "{} bytes of memory for {fed}", memory.len());
        let count = room(&buffer).min(10_000).min(bytes.len() - fed);
        let buffer = fill(buffer, &bytes[fed..][..count]);
        fed += count;
        receiver.link.received(count, buffer, &mut receiver.arena, &mut receiver.out).unwrap();
    }
    assert_eq!(receiver.out.len(), 1);
    // And it is given back.
    assert!(room(&receiver.link.next_receive()) <= 130 << 10);
}

#[test]
fn a_payload_without_a_place_fails_its_message_alone() {
    let limits = LinkLimits { payload_bytes_max: 100_000, items_max: 3, ..LinkLimits::default() };
    let mut sender = Sender::new(LinkLimits::default());
    let long = sender.stream(&Payload::bytes(200_000, 1), 1);
    let fits = sender.stream(&Payload::bytes(90_000, 2), 2);
    sender.link.queue(&event(1, vec![(0, long), (1, fits)])).unwrap();
    let many = Payload { list: true, streamed: true, parts: vec![vec![7; 20]; 4] };
    let many = sender.stream(&many, 3);
    sender.link.queue(&event(2, vec![(0, many)])).unwrap();
    sender.link.queue(&Forget { invocation: 99 }).unwrap();
    let bytes = sender.send_all();
    for cut in [50_000, 7] {
        let mut receiver = Receiver::new(LinkRole::PeerIn, limits);
        receiver.feed(&bytes, &[cut]).unwrap();
        assert!(matches!(receiver.end(), LinkError::Ended));
        // The one that waits for nothing comes at once.
        assert_eq!(invocations(&receiver.out), [2, 99, 1]);
        let Inbound::StateEvent { outputs, .. } = &receiver.out[0] else { panic!("an event") };
        assert!(matches!(outputs[0].1, Err(LandingError::Items { items: 4, limit: 3 })));
        let Inbound::StateEvent { outputs, .. } = &receiver.out[2] else { panic!("an event") };
        assert!(matches!(outputs[0].1, Err(LandingError::Bytes { bytes: 200_000, limit: 100_000 })));
        assert!(receiver.content(&outputs[1].1) == [pattern(90_000, 2)]);
        let counters = receiver.settle();
        assert_eq!((counters.landings_refused, counters.bytes_drained), (2, 200_000 + 4 * 32));
    }
}

#[test]
fn a_full_arena_fails_a_message_and_nothing_else() {
    let mut receiver = Receiver::peer();
    receiver.arena = arena_of(2 << 20);
    let mut sender = Sender::new(LinkLimits::default());
    for number in 0..4 {
        let body = sender.stream(&Payload::bytes(900_000, number), u64::from(number));
        sender.link.queue(&event(u128::from(number), vec![(0, body)])).unwrap();
    }
    receiver.feed(&sender.send_all(), &[usize::MAX]).unwrap();
    assert!(matches!(receiver.end(), LinkError::Ended));
    assert_eq!(receiver.out.len(), 4);
    let failed = |message: &&Inbound| {
        matches!(message, Inbound::StateEvent { outputs, .. } if matches!(outputs[0].1, Err(LandingError::Memory { .. })))
    };
    assert_eq!(receiver.out.iter().filter(failed).count(), 2);
    receiver.settle();
}

fn begin(invocation: u128, inputs: Vec<(u16, Body)>) -> Begin {
    Begin { invocation, deployment: DeploymentId(1), report: false, inputs }
}

#[test]
fn nothing_of_an_invocation_comes_before_its_begin() {
    let mut receiver = Receiver::peer();
    let bytes = [
        frame(&begin(1, vec![(0, streamed(0, 10))])),
        frame(&event(1, vec![(0, streamed(1, 5))])),
        frame(&event(1, vec![])),
        frame(&event(2, vec![])),
        chunk(1, 0, b"12345"),
    ];
    receiver.feed(&bytes.concat(), &[usize::MAX]).unwrap();
    assert!(matches!(receiver.out[0], Inbound::BeginComing { invocation: 1, deployment: DeploymentId(1) }));
    assert_eq!(invocations(&receiver.out), [2]);
    receiver.feed(&chunk(0, 0, b"0123456789"), &[usize::MAX]).unwrap();
    assert_eq!(invocations(&receiver.out), [2, 1, 1, 1]);
    assert!(matches!(receiver.out[2], Inbound::Begin { .. }));
    assert!(matches!(receiver.end(), LinkError::Ended));
    receiver.settle();
}

#[test]
fn a_forget_discards_what_is_under_way_of_its_invocation() {
    let mut receiver = Receiver::peer();
    let inline = Payload::bytes(100, 3).inline();
    let bytes = [
        frame(&begin(1, vec![(0, streamed(0, 30)), (1, inline.clone())])),
        frame(&event(1, vec![(0, inline)])),
        frame(&event(2, vec![(0, streamed(1, 5))])),
        chunk(0, 0, b"0123456789"),
        frame(&Forget { invocation: 1 }),
        chunk(0, 10, b"01234567890123456789"),
        chunk(1, 0, b"12345"),
        frame(&Drained { deployment: DeploymentId(3) }),
    ];
    receiver.feed(&bytes.concat(), &[usize::MAX]).unwrap();
    assert_eq!(invocations(&receiver.out), [1, 2]);
    assert!(matches!(receiver.out[1], Inbound::Forget { invocation: 1 }));
    assert!(matches!(receiver.out[3], Inbound::Drained { deployment: DeploymentId(3) }));
    assert!(matches!(receiver.end(), LinkError::Ended));
    let counters = receiver.settle();
    assert_eq!((counters.messages_discarded, counters.bytes_drained), (2, 30));
}

#[test]
fn a_range_that_the_driver_writes_to_is_not_given_back() {
    let mut receiver = Receiver::peer();
    let raw = pattern(200_000, 1);
    let bytes = [frame(&event(1, vec![(0, streamed(0, 200_000))])), chunk(0, 0, &raw)].concat();
    let before = bytes.len() - 150_000;
    receiver.feed(&bytes[..before], &[usize::MAX]).unwrap();
    let buffer = receiver.link.next_receive();
    assert!(matches!(buffer, ReceiveBuffer::Segment { .. }), "the rest of the chunk goes straight in");
    receiver.link.abort(1, &mut receiver.arena);
    assert!(receiver.arena.bytes_leased() > 0, "the driver may still write there");
    let buffer = fill(buffer, &bytes[before..][..1000]);
    receiver.link.received(1000, buffer, &mut receiver.arena, &mut receiver.out).unwrap();
    assert_eq!(receiver.arena.bytes_leased(), 0);
    receiver.feed(&bytes[before + 1000..], &[usize::MAX]).unwrap();
    receiver.feed(&frame(&Forget { invocation: 5 }), &[usize::MAX]).unwrap();
    assert_eq!(invocations(&receiver.out), [5]);
    assert_eq!(receiver.settle().bytes_drained, 200_000);
}

#[test]
fn what_a_peer_can_leave_unfinished_is_bounded() {
    let limits = LinkLimits { transfers_max: 3, waiting_bytes_max: 10_000, ..LinkLimits::default() };
    let mut receiver = Receiver::new(LinkRole::PeerIn, limits);
    let announce = |number: u64, bytes| frame(&event(number.into(), vec![(0, streamed(number, bytes))]));
    receiver.feed(&(0..3).flat_map(|number| announce(number, 1)).collect::<Vec<_>>(), &[usize::MAX]).unwrap();
    let error = receiver.feed(&announce(3, 1), &[usize::MAX]).unwrap_err();
    assert!(matches!(error, LinkError::Transfers { limit: 3 }), "{error}");
    receiver.settle();

    let mut receiver = Receiver::new(LinkRole::PeerIn, limits);
    let items = Body { items: Some(vec![0; 2000]), data: Data::Inline(vec![]) };
    let bytes = frame(&event(1, vec![(0, streamed(0, 1)), (1, items)]));
    let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
    assert!(matches!(error, LinkError::Waiting { limit: 10_000 }), "{error}");
    receiver.settle();
}

#[test]
fn frames_wait_for_one_chunk_at_most_and_payloads_take_turns() {
    let mut sender = Sender::new(LinkLimits::default());
    let large = [Payload::bytes(3 * CHUNK_BYTES_MAX, 1), Payload::bytes(2 * CHUNK_BYTES_MAX + 1, 2)];
    let outputs = large.iter().enumerate().map(|(place, payload)| (place as u16, sender.stream(payload, place as u64)));
    let outputs = outputs.collect();
    assert!(sender.send().is_none(), "no chunk before the message that announces it");
    sender.link.queue(&event(1, outputs)).unwrap();
    let mut receiver = Receiver::peer();
    let mut sends = 0;
    let mut chunks = Vec::new();
    while let Some(bytes) = sender.send() {
        assert!(bytes.len() <= CHUNK_BYTES_MAX + 4096, "one chunk at most");
        let small = u128::from(sends == 2) * 77;
        if sends == 2 {
            assert_eq!(bytes[..16], frame(&Forget { invocation: small })[..16], "frames go first");
        }
        receiver.feed(&bytes, &[usize::MAX]).unwrap();
        chunks.push(receiver.link.counters().chunks_received);
        sends += 1;
        if sends == 2 {
            sender.link.queue(&Forget { invocation: 77 }).unwrap();
        }
    }
    assert_eq!(chunks, [1, 2, 3, 4, 5, 6]);
    assert_eq!(sender.flushed, [1, 0].iter().rev().copied().collect::<Vec<u64>>());
    assert_eq!(invocations(&receiver.out), [77, 1]);
    let Inbound::StateEvent { outputs, .. } = &receiver.out[1] else { panic!("an event") };
    for ((_, landing), payload) in outputs.iter().zip(&large) {
        assert!(receiver.content(landing) == payload.parts);
    }
    let counters = receiver.settle();
    assert!(counters.bytes_received_direct > 4 << 20, "the bulk goes straight in: {counters:?}");
}

#[test]
fn a_full_queue_refuses_a_message_and_what_it_announces() {
    let limits = LinkLimits { queued_bytes_max: 4000, transfers_max: 2, body_bytes_max: 3000, ..LinkLimits::default() };
    let mut sender = Sender::new(limits);
    let one = sender.stream(&Payload::bytes(10, 1), 11);
    let two = sender.stream(&Payload::bytes(10, 1), 12);
    let piece = sender.piece(b"x");
    let error = sender.link.stream(vec![piece.clone()], Layout::Bytes, 13).unwrap_err();
    assert_eq!((error.refusal, error.tokens), (QueueRefusal::Transfers { limit: 2 }, vec![13]));
    let inline = |bytes| (2, Body { items: None, data: Data::Inline(vec![0; bytes]) });
    let error = sender.link.queue(&event(1, vec![(0, one), (1, two), inline(3000)])).unwrap_err();
    assert!(matches!(error.refusal, QueueRefusal::Long { limit: 3000, .. }), "{error}");
    assert_eq!(error.tokens, [11, 12]);
    assert_eq!(sender.link.queued_bytes(), 0);
    sender.link.queue(&event(1, vec![inline(2500)])).unwrap();
    let error = sender.link.queue(&event(1, vec![inline(2500)])).unwrap_err();
    assert!(matches!(error.refusal, QueueRefusal::Full { limit: 4000, .. }), "{error}");
    let error = sender.link.stream(vec![piece; 200], Layout::Items, 14).unwrap_err();
    assert!(matches!(error.refusal, QueueRefusal::Full { .. }), "{error}");
    let mut receiver = Receiver::peer();
    receiver.feed(&sender.send_all(), &[usize::MAX]).unwrap();
    assert_eq!(invocations(&receiver.out), [1]);
    assert!(sender.flushed.is_empty());
    assert_eq!(sender.link.queued_bytes(), 0);
    receiver.settle();
}

#[test]
fn a_link_that_ends_gives_all_tokens_back() {
    let mut sender = Sender::new(LinkLimits::default());
    let bodies = [1, 2].map(|token| sender.stream(&Payload::bytes(2 << 20, 1), token));
    sender.link.queue(&event(1, bodies.into_iter().map(|body| (0, body)).collect())).unwrap();
    sender.stream(&Payload::bytes(1, 1), 3);
    let sending = sender.link.next_send();
    assert!(sending.is_some());
    let mut flushed = Vec::new();
    sender.link.close(&mut arena_of(ARENA_BYTES), &mut flushed);
    flushed.sort_unstable();
    assert_eq!(flushed, [1, 2, 3]);
}

#[test]
#[ignore = "needs 600 MiB of memory"]
fn a_payload_of_300_mib_arrives_whole() {
    let bytes = 300 << 20;
    let mut sender = Sender::new(LinkLimits::default());
    sender.segment = Arc::new(SegmentWriter::create("link-test", bytes).unwrap());
    let body = sender.stream(&Payload::bytes(bytes as usize, 9), 1);
    sender.link.queue(&event(1, vec![(0, body)])).unwrap();
    let mut receiver = Receiver::peer();
    receiver.arena = arena_of(301 << 20);
    while let Some(part) = sender.send() {
        receiver.feed(&part, &[usize::MAX]).unwrap();
    }
    let Inbound::StateEvent { outputs, .. } = &receiver.out[0] else { panic!("an event") };
    let sent = sender.segment.read(0, bytes).unwrap();
    assert!(receiver.content(&outputs[0].1)[0] == sent);
    receiver.settle();
}
