//! Lists that are handed on before they have come.

use super::pair::{EARLY, ONE, Pair};
use super::*;

/// Of a list for which memory is set aside at once.
const ITEM_BYTES: usize = 300_000;
const ITEMS: usize = 8;

fn list(item_bytes: usize) -> Payload {
    Payload {
        list: true,
        streamed: true,
        parts: (0..ITEMS)
            .map(|item| pattern(item_bytes, item as u8))
            .collect(),
    }
}

/// What has come of the list by now, as it was told.
fn told(pair: &Pair) -> Vec<u64> {
    let told = pair.receiver.out.iter().map(|message| match message {
        Inbound::StateEvent { .. } => 0,
        Inbound::Arrived { transfer: 0, bytes } => *bytes,
        Inbound::ArrivalEnded {
            transfer: 0,
            ended: Ok(()),
        } => u64::MAX,
        other => panic!("{other:?}"),
    });
    told.collect()
}

fn outputs(message: &Inbound) -> &[(u16, Landing)] {
    match message {
        Inbound::StateEvent { outputs, .. } => outputs,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_come_of_a_list_can_be_read_while_the_rest_is_on_its_way() {
    come_by_and_by(ITEM_BYTES, true);
}

#[test]
fn of_a_large_list_memory_is_set_aside_while_its_first_items_come() {
    come_by_and_by(2_000_000, false);
}

fn come_by_and_by(item_bytes: usize, at_once: bool) {
    let mut pair = Pair::new(ARENA_BYTES);
    let list = list(item_bytes);
    pair.say(0, EARLY, &list);
    pair.send_messages();
    while pair.receive_messages().unwrap() {}
    assert_eq!(told(&pair).len(), usize::from(at_once));
    let mut seen = 0;
    while told(&pair).last() != Some(&u64::MAX) {
        pair.send_messages();
        while pair.receive_grants().unwrap() {}
        let _ = pair.send_chunks();
        while pair.receive_chunk().unwrap() {
            let told = told(&pair);
            assert!(told.is_sorted(), "{told:?}");
            if told.is_empty() {
                continue;
            }
            // What is said to be here is.
            let here = *told.last().unwrap();
            let content = pair.receiver.content(&outputs(&pair.receiver.out[0])[0].1);
            let padded = item_bytes.next_multiple_of(16) as u64;
            let whole = ((here / padded) as usize).min(ITEMS);
            assert_eq!(content[..whole], list.parts[..whole]);
            if here < u64::MAX && whole > 0 && whole < ITEMS {
                assert_ne!(content[whole..], list.parts[whole..]);
                seen = seen.max(whole);
            }
        }
    }
    assert!(
        seen > ITEMS / 2,
        "some were here long before the last: {seen}"
    );
    assert_eq!(pair.sender.flushed, [0]);
    pair.receiver.out.truncate(1);
    assert_eq!(pair.end().messages_early, 1);
}

#[test]
fn what_nobody_reads_by_items_is_handed_on_whole() {
    let mut pair = Pair::new(ARENA_BYTES);
    pair.say(0, ONE, &list(ITEM_BYTES));
    pair.say(1, EARLY, &Payload::bytes(ITEM_BYTES, 1));
    pair.send_messages();
    while pair.receive_messages().unwrap() {}
    assert!(pair.receiver.out.is_empty());
    pair.settle();
    assert_eq!(pair.come().len(), 2);
    assert_eq!(pair.end().messages_early, 0);
}

#[test]
fn a_list_of_which_the_rest_never_comes_ends_with_its_link() {
    let mut pair = Pair::new(ARENA_BYTES);
    pair.say(0, EARLY, &list(ITEM_BYTES));
    pair.send_messages();
    while pair.receive_messages().unwrap() {}
    let _ = pair.send_chunks();
    while pair.receive_chunk().unwrap() {}
    let Receiver {
        link,
        mut arena,
        mut shortage,
        out,
        ..
    } = pair.receiver;
    assert!(matches!(out.last(), Some(Inbound::Arrived { .. })));
    let mut room = Room {
        arena: &mut arena,
        shortage: &mut shortage,
    };
    let mut ended = Vec::new();
    let _ = link.close(&mut room, &mut Vec::new(), &mut Vec::new(), &mut ended);
    let [
        Inbound::ArrivalEnded {
            transfer: 0,
            ended: Err(cause),
        },
    ] = &ended[..]
    else {
        panic!("{ended:?}")
    };
    assert!(cause.contains("link"), "{cause}");
    // Whoever has the event gives all of it back.
    assert!(arena.bytes_leased() > 0);
    out.into_iter()
        .for_each(|message| message.release(&mut arena));
    assert_eq!(arena.bytes_leased(), 0);
}
