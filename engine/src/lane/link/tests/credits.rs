//! What is granted, by whom, and what becomes of payloads for which there is no memory.

use super::pair::{ONE, OTHER, Pair};
use super::*;
use crate::wire::{Grant, LINK_UNASKED_BYTES_MAX, UNASKED_BYTES_MAX, UNASKED_BYTES_MIN};
use std::time::Duration;

/// What is granted, and which error that is.
type Case = (Vec<(u64, u64)>, fn(&LinkError) -> bool);

fn bytes_of(chunks: &[(u64, u64)]) -> u64 {
    chunks.iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn no_more_than_its_beginning_is_sent_of_a_payload_before_it_is_granted() {
    let mut pair = Pair::new(ARENA_BYTES);
    let payload = Payload::bytes(3 << 20, 5);
    pair.say(0, ONE, &payload);
    pair.send_messages();
    assert_eq!(bytes_of(&pair.send_chunks()), UNASKED_BYTES_MAX);
    assert_eq!(pair.sender.link.waits_for_grants(false), Some(0));
    assert!(pair.receive_messages().unwrap());
    pair.send_messages();
    assert!(pair.receive_grants().unwrap());
    assert_eq!(pair.sender.link.waits_for_grants(false), None);
    assert_eq!(bytes_of(&pair.send_chunks()), (3 << 20) - UNASKED_BYTES_MAX);
    pair.settle();
    let Inbound::StateEvent { outputs, .. } = &pair.receiver.out[0] else {
        panic!("an event")
    };
    assert!(pair.receiver.content(&outputs[0].1) == payload.parts);
    assert_eq!(pair.sender.flushed, [0]);
    pair.end();
}

#[test]
fn what_may_come_unasked_of_all_payloads_is_bounded() {
    for bytes in [100, 20_000, 1 << 20] {
        let mut pair = Pair::new(ARENA_BYTES);
        for number in 0..600 {
            let payload = Payload::bytes(bytes, 1);
            pair.sender.used = 0; // the same bytes again
            pair.say(number, ONE, &payload);
        }
        pair.send_messages();
        let chunks = pair.send_chunks();
        assert!(bytes_of(&chunks) <= LINK_UNASKED_BYTES_MAX, "{bytes}");
        let most = LINK_UNASKED_BYTES_MAX / UNASKED_BYTES_MIN;
        assert!(chunks.len() as u64 <= most, "{bytes}: {}", chunks.len());
        assert!(!chunks.is_empty());
        pair.end();
    }
}

#[test]
fn small_payloads_are_granted_together_and_all_of_them_come() {
    let mut pair = Pair::new(ARENA_BYTES);
    for number in 0..400 {
        pair.say(number, ONE, &Payload::bytes(50_000, number as u8));
        if number % 3 == 0 {
            pair.settle();
        }
    }
    pair.settle();
    assert_eq!(pair.receiver.out.len(), 400);
    assert!(pair.granted < 100, "{} grants", pair.granted);
    assert_eq!(pair.sender.flushed.len(), 400);
    assert_eq!(pair.sender.link.waits_for_grants(false), None);
    pair.end();
}

#[test]
fn a_chunk_that_overtakes_its_message_waits_for_it() {
    let mut pair = Pair::new(ARENA_BYTES);
    pair.say(0, ONE, &Payload::bytes(30_000, 5));
    pair.send_messages();
    pair.send_chunks();
    assert!(!pair.receive_chunk().unwrap());
    assert!(!pair.receiver.link.may_receive(Stream::Bulk));
    assert!(pair.receiver.link.is_unfinished());
    pair.receive_messages().unwrap();
    assert!(pair.receiver.link.may_receive(Stream::Bulk));
    pair.settle();
    assert_eq!(pair.come(), [(0, true)]);
    pair.end();
}

/// An event of a payload of half a MiB more than there is, and what comes of it.
fn short() -> Pair {
    let mut pair = Pair::new(4 << 20);
    pair.say(0, ONE, &Payload::bytes(1_500_000, 1));
    pair.say(1, ONE, &Payload::bytes(900_000, 2));
    pair.settle();
    assert_eq!(pair.come(), [(0, true)]);
    assert!(pair.receiver.link.is_short());
    pair
}

#[test]
fn a_payload_without_memory_waits_and_holds_up_nothing_else() {
    let mut pair = short();
    assert_eq!(
        pair.sender
            .link
            .waits_for_grants(false)
            .map(|grants| grants > 0),
        Some(true)
    );
    assert!(
        !pair.receiver.link.is_unfinished(),
        "nothing is due of the other side"
    );
    pair.say(2, OTHER, &Payload::bytes(1_000_000, 3));
    let small = event(3, vec![]);
    pair.sender.link.queue(&small).unwrap();
    pair.settle();
    let come: Vec<u128> = pair.come().iter().map(|(number, _)| *number).collect();
    assert_eq!(come, [0, 3, 2]);
    // Memory comes back: it goes on where it stopped.
    assert!(!pair.relieve(), "there is none yet");
    assert!(pair.release_first());
    assert!(pair.relieve());
    pair.settle();
    let Some(Inbound::StateEvent { outputs, .. }) = pair.receiver.out.last() else {
        panic!("an event")
    };
    assert!(pair.receiver.content(&outputs[0].1)[0] == pattern(900_000, 2));
    let mut flushed = pair.sender.flushed.clone();
    flushed.sort_unstable();
    assert_eq!(flushed, [0, 1, 2]);
    pair.end();
}

#[test]
fn of_one_workflow_the_first_that_has_asked_gets_memory_first() {
    let mut pair = short();
    // Each would fit, and comes later.
    pair.say(2, ONE, &Payload::bytes(30_000, 3));
    pair.say(3, ONE, &Payload::bytes(200_000, 3));
    pair.settle();
    assert_eq!(pair.come(), [(0, true)]);
    assert!(pair.release_first());
    assert!(pair.relieve());
    pair.settle();
    let mut come = pair.come();
    come.sort_unstable();
    assert_eq!(come, [(1, true), (2, true), (3, true)]);
    pair.end();
}

#[test]
fn a_payload_that_waits_in_vain_fails_its_message_alone_and_is_sent_to_its_end() {
    let mut pair = short();
    pair.give_up(MEMORY_WAIT / 2, None);
    assert_eq!(pair.come().len(), 1, "its time is not up");
    pair.give_up(MEMORY_WAIT / 2, None);
    assert_eq!(pair.come(), [(0, true), (1, false)]);
    let Inbound::StateEvent { outputs, .. } = &pair.receiver.out[1] else {
        panic!("an event")
    };
    let said = outputs[0].1.as_ref().unwrap_err().to_string();
    for word in ["no memory", "900000 bytes", "10s", "more memory"] {
        assert!(said.contains(word), "{said}");
    }
    pair.settle();
    assert_eq!(
        pair.sender.flushed,
        [0, 1],
        "what it held at the sender is free"
    );
    pair.say(2, ONE, &Payload::bytes(30_000, 3));
    pair.settle();
    assert_eq!(pair.come().last(), Some(&(2, true)));
    assert_eq!(pair.receiver.shortage.expired(), 1);
    let counters = pair.end();
    assert_eq!(counters.bytes_drained, 900_000);
}

#[test]
fn while_others_of_its_workflow_get_memory_a_payload_does_not_wait_in_vain() {
    let mut pair = short();
    pair.say(2, ONE, &Payload::bytes(900_000, 3));
    pair.settle();
    pair.give_up(MEMORY_WAIT * 3 / 4, None);
    assert!(pair.release_first());
    assert!(pair.relieve());
    pair.settle();
    assert_eq!(pair.come(), [(1, true)]);
    for _ in 0..2 {
        pair.give_up(MEMORY_WAIT * 3 / 4, None);
        assert_eq!(
            pair.come(),
            [(1, true)],
            "it waits for less than that since"
        );
    }
    pair.give_up(MEMORY_WAIT / 4, None);
    assert_eq!(pair.come(), [(1, true), (2, false)]);
    pair.settle();
    pair.end();
}

#[test]
fn what_comes_waits_behind_those_that_memory_is_for() {
    let mut pair = Pair::new(4 << 20);
    let [one, _] = pair.compartments;
    pair.receiver.shortage.stand_behind([one].into_iter());
    pair.say(0, ONE, &Payload::bytes(30_000, 1));
    pair.say(1, OTHER, &Payload::bytes(30_000, 1));
    pair.settle();
    assert_eq!(pair.come(), [(1, true)]);
    assert!(!pair.relieve());
    pair.receiver.shortage.stand_behind(std::iter::empty());
    assert!(pair.relieve());
    pair.settle();
    assert_eq!(pair.come(), [(1, true), (0, true)]);
    pair.end();
}

#[test]
fn who_is_over_waits_for_nothing_and_is_in_nobody_s_way() {
    let mut pair = short();
    pair.say(2, ONE, &Payload::bytes(30_000, 3));
    pair.settle();
    pair.receiver.abort(1);
    assert!(pair.relieve(), "it is the next one's turn");
    pair.settle();
    assert_eq!(pair.come(), [(0, true), (2, true)]);
    let mut flushed = pair.sender.flushed.clone();
    flushed.sort_unstable();
    assert_eq!(flushed, [0, 1, 2]);
    pair.end();
}

#[test]
fn nobody_waits_for_memory_of_a_workflow_that_has_gone() {
    let mut pair = short();
    let [one, other] = pair.compartments;
    pair.give_up(Duration::ZERO, Some(other));
    assert_eq!(pair.come().len(), 1);
    pair.give_up(Duration::ZERO, Some(one));
    assert_eq!(pair.come(), [(0, true), (1, false)]);
    pair.settle();
    assert_eq!(pair.sender.flushed, [0, 1]);
    pair.end();
}

#[test]
fn what_waits_and_can_have_no_such_memory_any_more_is_refused_at_once() {
    let mut pair = short();
    let arena = &mut pair.receiver.arena;
    arena.keep_for_each(arena.bytes_max() - 800_000);
    pair.give_up(Duration::ZERO, None);
    assert_eq!(pair.come(), [(0, true), (1, false)]);
    let Inbound::StateEvent { outputs, .. } = &pair.receiver.out[1] else {
        panic!("an event")
    };
    let said = outputs[0].1.as_ref().unwrap_err().to_string();
    for word in ["900000 bytes", "800000 bytes are all", "more memory"] {
        assert!(said.contains(word), "{said}");
    }
    pair.settle();
    pair.end();
}

#[test]
fn a_payload_that_can_never_fit_is_refused_at_once() {
    let mut pair = Pair::new(4 << 20);
    pair.say(0, ONE, &Payload::bytes((2 << 20) + 1, 1));
    pair.settle();
    assert_eq!(pair.come(), [(0, false)]);
    assert_eq!(pair.sender.flushed, [0]);
    pair.end();
}

#[test]
fn a_peer_that_sends_more_than_was_granted_is_refused_by_name() {
    let raw = vec![7; UNASKED_BYTES_MAX as usize];
    let overrun = |error: LinkError| {
        assert!(matches!(error, LinkError::Credit { .. }), "{error}");
        assert!(error.to_string().contains("until more is granted"));
    };
    let announce =
        |number: u64, bytes| frame(&event(number.into(), vec![(0, streamed(number, bytes))]));
    // Of one payload.
    let mut receiver = Receiver::peer();
    receiver.arena = arena_of(1 << 20);
    let waits = [announce(0, 1 << 20), announce(1, 1 << 20)].concat();
    receiver.feed(&waits, &[usize::MAX]).unwrap();
    let on = Stream::Bulk;
    receiver
        .feed_on(on, &chunk(1, 0, &raw), &[usize::MAX])
        .unwrap();
    let more = chunk(1, UNASKED_BYTES_MAX, b"x");
    overrun(receiver.feed_on(on, &more, &[usize::MAX]).unwrap_err());
    receiver.settle();
    // Of several together.
    let mut receiver = Receiver::peer();
    receiver.arena = arena_of(1 << 20);
    let waits: Vec<u8> = (0..6)
        .flat_map(|number| announce(number, 1 << 20))
        .collect();
    receiver.feed(&waits, &[usize::MAX]).unwrap();
    for transfer in 1..=4 {
        let bytes = chunk(transfer, 0, &raw);
        receiver.feed_on(on, &bytes, &[usize::MAX]).unwrap();
    }
    let bytes = chunk(5, 0, b"x");
    overrun(receiver.feed_on(on, &bytes, &[usize::MAX]).unwrap_err());
    receiver.settle();
}

#[test]
fn a_grant_of_nothing_or_of_what_is_not_there_is_refused_by_name() {
    let half = 1 << 20;
    let cases: [Case; 7] = [
        (vec![], |error| matches!(error, LinkError::GrantEmpty)),
        (vec![(9, 1)], |error| {
            matches!(error, LinkError::GrantUnknown { transfer: 9 })
        }),
        (vec![(0, 2 * half + 1)], |error| {
            matches!(error, LinkError::GrantPlace { .. })
        }),
        (vec![(0, 0)], |error| {
            matches!(error, LinkError::GrantPlace { .. })
        }),
        (vec![(0, UNASKED_BYTES_MAX + 1)], |error| {
            matches!(error, LinkError::GrantPlace { .. })
        }),
        (vec![(0, half), (0, half)], |error| {
            matches!(error, LinkError::GrantPlace { .. })
        }),
        (vec![(0, 2 * half), (0, 2 * half)], |error| {
            matches!(error, LinkError::GrantUnknown { transfer: 0 })
        }),
    ];
    for (payloads, expected) in cases {
        let mut peer = Receiver::new(LinkRole::PeerOut, LinkLimits::default());
        let mut sender = Sender::to(LinkRole::PeerOut, LinkLimits::default());
        let body = sender.stream(&Payload::bytes(2 << 20, 1), 1);
        sender.link.queue(&event(1, vec![(0, body)])).unwrap();
        std::mem::swap(&mut peer.link, &mut sender.link);
        let grant = frame(&Grant {
            payloads: payloads.clone(),
        });
        let error = peer.feed(&grant, &[usize::MAX]).unwrap_err();
        assert!(expected(&error), "{payloads:?}: {error}");
    }
    // A part of it is as good as all of it.
    let mut pair = Pair::new(ARENA_BYTES);
    pair.say(0, ONE, &Payload::bytes(2 << 20, 1));
    pair.send_messages();
    pair.granting(vec![(0, 1 << 20)]);
    assert_eq!(bytes_of(&pair.send_chunks()), 1 << 20);
    pair.granting(vec![(0, 2 << 20)]);
    assert_eq!(bytes_of(&pair.send_chunks()), 1 << 20);
    assert_eq!(pair.sender.flushed, [0]);
}

#[test]
fn what_was_granted_in_part_may_come_so_far_and_no_further() {
    let mut allowance = allowance::Allowance::new(true);
    allowance.announced(0, 8 << 20);
    allowance.waits();
    allowance.grant_late(0, 4 << 20);
    assert!(
        allowance.take(0, 4 << 20).is_err(),
        "its sender was not told"
    );
    assert!(allowance.tell().is_some());
    allowance.take(0, 4 << 20).unwrap();
    assert!(allowance.take(0, (4 << 20) + 1).is_err());
    allowance.grant(0, 8 << 20);
    allowance.tell();
    allowance.take(0, 8 << 20).unwrap();
}

impl Pair {
    /// The sender gets this grant.
    fn granting(&mut self, payloads: Vec<(u64, u64)>) {
        let mut peer = Receiver::new(LinkRole::PeerOut, LinkLimits::default());
        std::mem::swap(&mut peer.link, &mut self.sender.link);
        peer.feed(&frame(&Grant { payloads }), &[usize::MAX])
            .unwrap();
        std::mem::swap(&mut peer.link, &mut self.sender.link);
    }
}

/// Two lanes that send to each other, each from the arena that it also receives into.
struct Both {
    there: Pair,
    back: Pair,
}

impl Both {
    fn settle(&mut self) {
        while self.there.settle() | self.back.settle() {}
    }
}

#[test]
fn both_sides_short_of_memory_end_by_failing_one_payload_by_name() {
    let mut both = Both {
        there: Pair::new(4 << 20),
        back: Pair::new(4 << 20),
    };
    // What each sends fills its own arena, into which it would have to receive: `there` sends what lies in the arena of
    // `back`'s receiver, and the other way round.
    let payload = Payload::bytes(1_500_000, 1);
    let mut held = Vec::new();
    for pair in [&mut both.there, &mut both.back] {
        let compartment = pair.compartments[0];
        let taken = pair
            .receiver
            .arena
            .reserve_in(compartment, 1_500_000)
            .unwrap();
        held.push(Some(taken));
        pair.say(0, ONE, &payload);
    }
    both.settle();
    assert!(both.there.come().is_empty() && both.back.come().is_empty());
    let mut failed = 0;
    for _ in 0..3 {
        // Time passes at one end a little earlier than at the other, as it does.
        both.there.give_up(MEMORY_WAIT / 2, None);
        both.settle();
        both.back.give_up(MEMORY_WAIT / 4, None);
        both.settle();
        // Whoever has sent all of its own gives its memory back.
        for (sends, place) in [(0, 1), (1, 0)] {
            let (sender, receiver) = match sends {
                0 => (&both.there, &mut both.back.receiver),
                _ => (&both.back, &mut both.there.receiver),
            };
            if sender.sender.flushed == [0]
                && let Some(taken) = held[place].take()
            {
                receiver.arena.abandon(taken);
            }
        }
        both.there.relieve();
        both.back.relieve();
        both.settle();
    }
    for pair in [&both.there, &both.back] {
        let come = pair.come();
        assert_eq!(come.len(), 1, "each event came");
        failed += usize::from(!come[0].1);
    }
    assert_eq!(failed, 1, "and one payload of the two is here");
    both.there.end();
    both.back.end();
}

/// What may happen next on a link.
#[derive(Clone, Copy, Debug)]
enum Step {
    SendMessages,
    SendChunk,
    ReceiveMessages,
    ReceiveChunk,
    ReceiveGrants,
    Release,
    Relieve,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::SendMessages),
        6 => Just(Step::SendChunk),
        3 => Just(Step::ReceiveMessages),
        6 => Just(Step::ReceiveChunk),
        3 => Just(Step::ReceiveGrants),
        1 => Just(Step::Release),
        2 => Just(Step::Relieve),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes first: no rule is broken, and as long as memory comes back every payload does.
    #[test]
    fn in_whichever_order_things_happen_all_payloads_come(
        payloads in proptest::collection::vec(
            (any::<bool>(), prop_oneof![1..70_000_usize, 200_000..300_000_usize, 1..1_000_000_usize]),
            1..24,
        ),
        steps in steps(),
    ) {
        let mut pair = Pair::new(4 << 20);
        for (number, (other, bytes)) in payloads.iter().enumerate() {
            pair.sender.used = 0;
            let of = if *other { OTHER } else { ONE };
            pair.say(number as u64, of, &Payload { list: false, streamed: true, parts: vec![vec![9; *bytes]] });
        }
        let mut come = Vec::new();
        for step in steps {
            match step {
                Step::SendMessages => pair.send_messages(),
                Step::SendChunk => { pair.send_chunk(); }
                Step::ReceiveMessages => { pair.receive_messages().unwrap(); }
                Step::ReceiveChunk => { pair.receive_chunk().unwrap(); }
                Step::ReceiveGrants => { pair.receive_grants().unwrap(); }
                Step::Release => {
                    come.extend(pair.come().first().copied());
                    pair.release_first();
                }
                Step::Relieve => { pair.relieve(); }
            }
            pair.receiver.out.retain(|message| message.invocation().is_some());
        }
        loop {
            pair.settle();
            if pair.receiver.out.is_empty() && !pair.relieve() {
                break;
            }
            come.extend(pair.come().first().copied());
            pair.release_first();
            pair.relieve();
        }
        prop_assert_eq!(come.len(), payloads.len());
        prop_assert!(come.iter().all(|(_, landed)| *landed));
        let mut flushed = pair.sender.flushed.clone();
        flushed.sort_unstable();
        prop_assert_eq!(flushed, (0..payloads.len() as u64).collect::<Vec<_>>());
        pair.end();
    }
}
