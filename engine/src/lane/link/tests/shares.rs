//! Whose chunk is next on a link to a peer, and what is ahead of all chunks.

use super::pair::{ONE, OTHER, Pair};
use super::*;
use crate::lane::link::outbound::{BULK_CHUNK_BYTES, BULK_CHUNK_BYTES_MAX, QUIET_BYTES};

/// The transfers of the chunks that a link sends once everything is granted.
fn order(pair: &mut Pair) -> Vec<u64> {
    pair.send_messages();
    let mut chunks = pair.send_chunks();
    while pair.receive_messages().unwrap() {}
    pair.send_messages();
    while pair.receive_grants().unwrap() {}
    chunks.extend(pair.send_chunks());
    chunks.into_iter().map(|(transfer, _)| transfer).collect()
}

/// Between two chunks of a transfer, the most of others.
fn gap(order: &[u64], transfer: u64) -> usize {
    let places: Vec<usize> = (0..order.len())
        .filter(|place| order[*place] == transfer)
        .collect();
    let gaps = places.windows(2).map(|pair| pair[1] - pair[0] - 1);
    gaps.max().unwrap_or(0)
}

#[test]
fn a_workflow_with_a_thousand_payloads_does_not_starve_one_that_has_one() {
    let mut pair = Pair::new(ARENA_BYTES);
    let many = Payload::bytes(20_000, 1);
    for number in 0..1000 {
        pair.say(number, ONE, &many);
    }
    pair.say(1000, OTHER, &Payload::bytes(8 * BULK_CHUNK_BYTES, 2));
    let order = order(&mut pair);
    // One of the many was cut where what may come unasked was used up.
    assert_eq!(order.len(), 1000 + 1 + 8);
    // It was announced last, when what may come unasked was used up; once it is granted it has every other turn.
    let first = order.iter().position(|transfer| *transfer == 1000).unwrap();
    let before = usize::try_from(wire::LINK_UNASKED_BYTES_MAX / 20_000).unwrap() + 2;
    assert!(first <= before, "it waited for {first} chunks of others");
    assert!(gap(&order, 1000) <= 1, "{order:?}");
    pair.settle();
    assert_eq!(pair.receiver.out.len(), 1001);
    pair.end();
}

#[test]
fn payloads_of_a_workflow_take_turns_so_that_a_small_one_passes_a_large_one() {
    let mut pair = Pair::new(ARENA_BYTES);
    // Both together are too little for larger chunks.
    pair.say(0, ONE, &Payload::bytes(6 * BULK_CHUNK_BYTES, 1));
    pair.say(1, ONE, &Payload::bytes(2 * BULK_CHUNK_BYTES, 2));
    let order = order(&mut pair);
    assert_eq!(order.len(), 8);
    assert_eq!(order[..4], [0, 1, 0, 1]);
    let ended = order.iter().rposition(|transfer| *transfer == 1).unwrap();
    assert!(ended <= 4, "{order:?}");
    pair.settle();
    let come: Vec<u128> = pair.come().iter().map(|(number, _)| *number).collect();
    assert_eq!(come, [1, 0]);
    pair.end();
}

/// Sends, receives and grants until a chunk of more than the usual size was sent. Returns what was sent until then, by transfer.
fn until_large(pair: &mut Pair) -> [u64; 2] {
    let mut sent = [0; 2];
    for _ in 0..1000 {
        pair.send_messages();
        if let Some((transfer, bytes)) = pair.send_chunk() {
            if bytes > BULK_CHUNK_BYTES as u64 {
                assert!(bytes <= BULK_CHUNK_BYTES_MAX as u64);
                return sent;
            }
            sent[usize::try_from(transfer).unwrap()] += bytes;
        }
        while pair.receive_messages().unwrap() || pair.receive_chunk().unwrap() {}
        while pair.receive_grants().unwrap() {}
    }
    panic!("all chunks were small");
}

#[test]
fn chunks_grow_while_nobody_waits_for_them_and_are_small_again_after_a_message() {
    let mut pair = Pair::new(64 << 20);
    pair.say(0, ONE, &Payload::bytes(16 << 20, 1));
    assert_eq!(until_large(&mut pair), [QUIET_BYTES, 0]);
    // A message without payloads is enough, and so is a payload, which takes turns for as long as it is under way.
    let forget = Forget {
        invocation: 77,
        why: Cancelled::ByClient,
    };
    pair.sender.link.queue(&forget).unwrap();
    assert_eq!(until_large(&mut pair), [QUIET_BYTES, 0]);
    let other = 3 * QUIET_BYTES;
    pair.say(1, OTHER, &Payload::bytes(other as usize, 2));
    let [of_first, of_other] = until_large(&mut pair);
    assert_eq!(of_other, other);
    assert!(of_first >= other - BULK_CHUNK_BYTES as u64, "{of_first}");
    pair.settle();
    pair.end();
}

#[test]
fn a_message_goes_while_a_chunk_is_being_sent_and_comes_before_its_payloads_do() {
    let mut pair = Pair::new(ARENA_BYTES);
    pair.say(0, ONE, &Payload::bytes(4 << 20, 1));
    pair.settle_but(2);
    // A chunk is with the kernel, which does not take it.
    let stuck = pair.sender.link.next_send(Stream::Bulk).unwrap();
    let forget = Forget {
        invocation: 77,
        why: Cancelled::ByClient,
    };
    pair.sender.link.queue(&forget).unwrap();
    let sent = pair.sender.send_on(Stream::Messages).unwrap();
    assert_eq!(sent, frame(&forget), "it goes alone, and at once");
    pair.receiver.feed(&sent, &[usize::MAX]).unwrap();
    assert_eq!(invocations(&pair.receiver.out), [77]);
    let mut flushed = Vec::new();
    pair.sender.link.sent(Stream::Bulk, stuck, &mut flushed);
    assert!(flushed.is_empty(), "the rest of it is still to be sent");
    pair.end();
}

impl Pair {
    /// The first message has come and is answered, and so many chunks have.
    fn settle_but(&mut self, chunks: usize) {
        self.send_messages();
        assert!(self.receive_messages().unwrap());
        self.send_messages();
        assert!(self.receive_grants().unwrap());
        for _ in 0..chunks {
            self.send_chunk().unwrap();
            assert!(self.receive_chunk().unwrap());
        }
    }
}
