//! What a link sends, and in which order.

use super::*;
use crate::wire::{CHUNK_HEAD_BYTES, HEADER_BYTES};

#[test]
fn frames_wait_for_one_chunk_at_most_and_payloads_take_turns() {
    let mut sender = Sender::new(LinkLimits::default());
    let large = [
        Payload::bytes(3 * CHUNK_BYTES_MAX, 1),
        Payload::bytes(2 * CHUNK_BYTES_MAX + 1, 2),
    ];
    let outputs = large
        .iter()
        .enumerate()
        .map(|(place, payload)| (place as u16, sender.stream(payload, place as u64)));
    let outputs = outputs.collect();
    assert!(
        sender.send().is_none(),
        "no chunk before the message that announces it"
    );
    sender.link.queue(&event(1, outputs)).unwrap();
    let mut receiver = Receiver::peer();
    let mut sends = 0;
    let mut chunks = Vec::new();
    while let Some(bytes) = sender.send() {
        assert!(bytes.len() <= CHUNK_BYTES_MAX + 4096, "one chunk at most");
        let small = u128::from(sends == 2) * 77;
        if sends == 2 {
            assert_eq!(
                bytes[..16],
                frame(&Forget {
                    invocation: small,
                    why: Cancelled::ByClient
                })[..16],
                "frames go first"
            );
        }
        receiver.feed(&bytes, &[usize::MAX]).unwrap();
        chunks.push(receiver.link.counters().chunks_received);
        sends += 1;
        if sends == 2 {
            sender
                .link
                .queue(&Forget {
                    invocation: 77,
                    why: Cancelled::ByClient,
                })
                .unwrap();
        }
    }
    assert_eq!(chunks, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        sender.flushed,
        [1, 0].iter().rev().copied().collect::<Vec<u64>>()
    );
    assert_eq!(invocations(&receiver.out), [77, 1]);
    let Inbound::StateEvent { outputs, .. } = &receiver.out[1] else {
        panic!("an event")
    };
    for ((_, landing), payload) in outputs.iter().zip(&large) {
        assert!(receiver.content(landing) == payload.parts);
    }
    let counters = receiver.settle();
    assert!(
        counters.bytes_received_direct > 4 << 20,
        "the bulk goes straight in: {counters:?}"
    );
}

fn has_room(sender: &Sender, payloads: usize) -> bool {
    let begins = false;
    sender.link.has_room(Streamed { payloads, begins })
}

#[test]
fn a_full_queue_refuses_a_message_and_what_it_announces() {
    let limits = LinkLimits {
        queued_bytes_max: 4000,
        transfers_max: 2,
        body_bytes_max: 3000,
        ..LinkLimits::default()
    };
    let mut sender = Sender::new(limits);
    assert!(has_room(&sender, 2));
    assert!(has_room(&sender, 3), "it never will have more");
    let one = sender.stream(&Payload::bytes(10, 1), 11);
    assert!(has_room(&sender, 1) && !has_room(&sender, 2));
    let two = sender.stream(&Payload::bytes(10, 1), 12);
    assert!(has_room(&sender, 0) && !has_room(&sender, 1));
    let piece = sender.piece(b"x");
    let error = sender
        .link
        .stream(vec![piece.clone()], Layout::Bytes, 13, 0)
        .unwrap_err();
    assert_eq!(
        (error.refusal, error.tokens),
        (QueueRefusal::Transfers { limit: 2 }, vec![13])
    );
    let inline = |bytes| {
        (
            2,
            Body {
                items: None,
                section: None,
                schema: 0,
                data: Data::Inline(vec![0; bytes]),
            },
        )
    };
    let error = sender
        .link
        .queue(&event(1, vec![(0, one), (1, two), inline(3000)]))
        .unwrap_err();
    assert!(
        matches!(error.refusal, QueueRefusal::Long { limit: 3000, .. }),
        "{error}"
    );
    assert_eq!(error.tokens, [11, 12]);
    assert_eq!(sender.link.queued_bytes(), 0);
    for invocation in [1, 2] {
        assert!(has_room(&sender, 0));
        let inline = vec![inline(2500)];
        sender.link.queue(&event(invocation, inline)).unwrap();
    }
    assert!(!has_room(&sender, 0));
    let error = sender.link.queue(&event(3, vec![])).unwrap_err();
    assert!(
        matches!(error.refusal, QueueRefusal::Full { limit: 4000, queued } if queued > 4000),
        "{error}"
    );
    let mut receiver = Receiver::peer();
    receiver.feed(&sender.send_all(), &[usize::MAX]).unwrap();
    assert_eq!(invocations(&receiver.out), [1, 2]);
    // What is kept of payloads under way is no message's affair that has none.
    let large = sender.link.stream(vec![piece; 200], Layout::Items, 14, 0);
    let large = Body {
        data: large.unwrap(),
        ..inline(0).1
    };
    sender.link.queue(&event(4, vec![(0, large)])).unwrap();
    assert!(has_room(&sender, 0) && !has_room(&sender, 1));
    let beginning = Streamed {
        payloads: 1,
        begins: true,
    };
    assert!(sender.link.has_room(beginning), "there is more for these");
    sender.link.queue(&event(5, vec![])).unwrap();
    receiver.feed(&sender.send_all(), &[usize::MAX]).unwrap();
    assert_eq!(sender.flushed, [14]);
    assert_eq!(sender.link.queued_bytes(), 0);
    receiver.settle();
}

#[test]
fn a_link_that_ends_gives_all_tokens_back() {
    let mut sender = Sender::new(LinkLimits::default());
    let bodies = [1, 2].map(|token| sender.stream(&Payload::bytes(2 << 20, 1), token));
    sender
        .link
        .queue(&event(
            1,
            bodies.into_iter().map(|body| (0, body)).collect(),
        ))
        .unwrap();
    sender.stream(&Payload::bytes(1, 1), 3);
    let sending = sender.link.next_send(Stream::Messages);
    assert!(sending.is_some());
    let mut flushed = Vec::new();
    let mut room = Room {
        arena: &mut arena_of(ARENA_BYTES),
        shortage: &mut Shortage::default(),
    };
    sender
        .link
        .close(&mut room, &mut flushed, &mut Vec::new(), &mut Vec::new());
    flushed.sort_unstable();
    assert_eq!(flushed, [1, 2, 3]);
}

#[test]
#[ignore = "needs 600 MiB of memory: scripts/large runs it"]
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
    let Inbound::StateEvent { outputs, .. } = &receiver.out[0] else {
        panic!("an event")
    };
    let sent = sender.segment.read(0, bytes).unwrap();
    assert!(receiver.content(&outputs[0].1)[0] == sent);
    receiver.settle();
}

#[test]
fn chunks_to_a_peer_have_checksums_over_their_bytes_only_if_that_is_wanted() {
    for payload_checksums in [false, true] {
        let limits = LinkLimits {
            payload_checksums,
            ..LinkLimits::default()
        };
        let mut sender = Sender::to(LinkRole::PeerOut, limits);
        let body = sender.stream(&Payload::bytes(1000, 1), 1);
        sender.link.queue(&event(1, vec![(0, body)])).unwrap();
        sender.send_on(Stream::Messages).unwrap();
        let mut chunk = sender.send_on(Stream::Bulk).unwrap();
        let kind = header_of(&chunk).unwrap().kind;
        let expected = match payload_checksums {
            true => FrameKind::Chunk,
            false => FrameKind::BareChunk,
        };
        assert_eq!(kind, expected);
        let raw = HEADER_BYTES + CHUNK_HEAD_BYTES;
        assert!(refuses(&chunk).is_none());
        chunk[raw + 500] ^= 1;
        assert_eq!(refuses(&chunk).is_some(), payload_checksums);
        chunk[raw + 500] ^= 1;
        if !payload_checksums {
            // What says where the bytes belong is looked at before they are taken.
            chunk[HEADER_BYTES] ^= 1;
            assert!(refuses(&chunk).is_some());
        }
    }
}

/// Why the receiver of 1000 bytes does not take this chunk of them.
fn refuses(chunk: &[u8]) -> Option<LinkError> {
    let mut receiver = Receiver::new(LinkRole::PeerIn, LinkLimits::default());
    let message = frame(&event(1, vec![(0, streamed(0, 1000))]));
    receiver.feed(&message, &[usize::MAX]).unwrap();
    let error = receiver.feed(chunk, &[usize::MAX]).err();
    if error.is_none() {
        assert_eq!(invocations(&receiver.out), [1]);
        receiver.settle();
    }
    error
}
