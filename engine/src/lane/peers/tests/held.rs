//! Messages that have to wait for room, or cannot be sent; and what these hold and lend.

use super::*;
use crate::wire::{FrameKind, Grant, Header};

/// How many of these limits refuse what an invocation has to send to its peer.
fn refused_within(limits: impl Iterator<Item = LinkLimits>) -> usize {
    limits
        .filter(|limits| {
            let mut lane = Lane::new(*limits);
            let (ours, _theirs, _bulk) = sockets();
            lane.link_out(1, ours, None);
            lane.invoke();
            assert_eq!(lane.peers.out.len(), 1, "its link stands: {limits:?}");
            let refused = lane.core.counters().invocations_failed > 0;
            if refused {
                assert_eq!(lane.core.leases().count(), 0, "{limits:?}");
                assert!(lane.peers.streaming.is_empty(), "{limits:?}");
            }
            refused
        })
        .count()
}

#[test]
fn a_message_that_cannot_be_sent_fails_its_invocation_alone_and_holds_none_of_its_payloads() {
    let transfers = (0..3).map(|transfers_max| LinkLimits {
        transfers_max,
        ..LinkLimits::default()
    });
    assert_eq!(refused_within(transfers), 2, "the first, and the second");
    let long = (0..60).map(|step| LinkLimits {
        body_bytes_max: step * 10,
        ..LinkLimits::default()
    });
    let refused = refused_within(long);
    assert!((5..60).contains(&refused), "too long: {refused}");
}

/// A lane with a link to `b`, which is read without waiting.
fn linked(limits: LinkLimits) -> (Lane, UnixStream, UnixStream) {
    let mut lane = Lane::new(limits);
    let (ours, theirs, bulk) = sockets();
    bulk.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    lane.link_out(1, ours, None);
    (lane, theirs, bulk)
}

/// A lane with a link to `b` on which one invocation has what it may have, and two more wait.
fn with_two_held() -> (Lane, UnixStream, UnixStream) {
    let limits = LinkLimits {
        transfers_max: 2,
        ..LinkLimits::default()
    };
    let (mut lane, theirs, bulk) = linked(limits);
    for _ in 0..3 {
        lane.invoke();
    }
    assert_eq!(lane.peers.messages_held, 2);
    assert_eq!(lane.core.leases().count(), 6, "all of it is here");
    (lane, theirs, bulk)
}

/// What `b` has been sent since it last looked, heartbeats left out. Its payloads are thrown away.
fn sent(lane: &mut Lane, theirs: &mut UnixStream, bulk: &UnixStream) -> Vec<(FrameKind, u128)> {
    let mut bytes = Vec::new();
    for _ in 0..20 {
        lane.with(|peers, parts| peers.pump(parts.driver));
        lane.act();
        let _ = theirs.read_to_end(&mut bytes);
        let _ = std::io::copy(&mut &*bulk, &mut std::io::sink());
    }
    let (mut sent, mut rest) = (Vec::new(), &bytes[..]);
    while let Some(header) = rest.first_chunk() {
        let header = Header::parse(header, wire::BODY_BYTES_MAX).unwrap();
        let body = &rest[wire::HEADER_BYTES..][..header.length];
        let of = match header.kind {
            FrameKind::Begin => wire::decode::<wire::Begin>(body).unwrap().invocation,
            FrameKind::Forget => wire::decode::<wire::Forget>(body).unwrap().invocation,
            FrameKind::StateEvent => wire::decode::<wire::StateEvent>(body).unwrap().invocation,
            _ => 0,
        };
        if header.kind != FrameKind::Heartbeat {
            sent.push((header.kind, of));
        }
        rest = &rest[wire::HEADER_BYTES + header.padded_length()..];
    }
    sent
}

fn forget(deployment: u64, sequence: u64) -> Send {
    Send {
        worker_hash: worker_hash("b"),
        to_lane: 0,
        invocation: InvocationId::new(worker_hash("a"), 1, 0, sequence),
        deployment: DeploymentId(deployment),
        body: Outbound::Forget {
            why: Cancelled::ByClient,
        },
    }
}

/// A node without outputs has ended.
fn ended(deployment: u64, sequence: u64) -> Send {
    Send {
        body: Outbound::StateEvent {
            node: 0,
            outcome: wire::Outcome::Well,
            outputs: Vec::new(),
        },
        ..forget(deployment, sequence)
    }
}

/// `b` has room again for the two payloads from this number on.
fn grant(theirs: &mut UnixStream, first: u64) {
    let payloads = [first, first + 1].map(|transfer| (transfer, STREAMED));
    let mut frame = Vec::new();
    wire::encode(
        &Grant {
            payloads: payloads.into(),
        },
        &mut frame,
    );
    theirs.write_all(&frame).unwrap();
}

#[test]
fn what_finds_no_room_is_sent_in_its_order_when_there_is_some_and_its_link_stands() {
    let (mut lane, mut theirs, bulk) = with_two_held();
    let news = |lane: &mut Lane, theirs: &mut UnixStream| sent(lane, theirs, &bulk);
    let id = |sequence| InvocationId::new(worker_hash("a"), 1, 0, sequence).0;
    let begun = |sequence| (FrameKind::Begin, id(sequence));
    assert_eq!(news(&mut lane, &mut theirs), [begun(0)]);
    // Behind what it follows, and nothing of another deployment behind that.
    lane.with(|peers, parts| peers.send(ended(1, 2), parts));
    lane.with(|peers, parts| peers.send(ended(2, 9), parts));
    let other = (FrameKind::StateEvent, id(9));
    assert_eq!(news(&mut lane, &mut theirs), [other]);
    assert_eq!(lane.peers.messages_held, 3);
    grant(&mut theirs, 0);
    assert_eq!(news(&mut lane, &mut theirs), [begun(1)]);
    assert_eq!(news(&mut lane, &mut theirs), [], "no more has room");
    grant(&mut theirs, 2);
    let behind = (FrameKind::StateEvent, id(2));
    assert_eq!(news(&mut lane, &mut theirs), [begun(2), behind]);
    // Nothing waits any more, and so nothing is held up.
    lane.with(|peers, parts| peers.send(forget(1, 1), parts));
    assert_eq!(news(&mut lane, &mut theirs), [(FrameKind::Forget, id(1))]);
    assert_eq!(lane.peers.messages_held, 3);
    assert_eq!(lane.core.leases().count(), 0, "the kernel has all of it");
    assert_eq!(lane.peers.out.len(), 1);
}

#[test]
fn what_has_payloads_waits_behind_others_that_do_though_there_is_room_for_it() {
    let limits = LinkLimits {
        transfers_max: 2,
        ..LinkLimits::default()
    };
    let (mut lane, mut theirs, bulk) = linked(limits);
    // One payload each, but for the second.
    for second in [1, STREAMED, 1] {
        lane.invoke_with([STREAMED, second]);
    }
    let id = |sequence| InvocationId::new(worker_hash("a"), 1, 0, sequence).0;
    assert_eq!(
        sent(&mut lane, &mut theirs, &bulk),
        [(FrameKind::Begin, id(0))]
    );
    assert_eq!(lane.peers.messages_held, 2);
}

#[test]
fn where_frames_have_no_room_each_waits_until_those_before_it_are_sent() {
    let limits = LinkLimits {
        queued_bytes_max: 1,
        transfers_max: 2,
        ..LinkLimits::default()
    };
    let (mut lane, mut theirs, bulk) = linked(limits);
    let id = |sequence| InvocationId::new(worker_hash("a"), 1, 0, sequence).0;
    let event = |sequence| (FrameKind::StateEvent, id(sequence));
    let _greeted = sent(&mut lane, &mut theirs, &bulk);
    for sequence in 5..8 {
        lane.with(|peers, parts| peers.send(ended(2, sequence), parts));
    }
    assert_eq!(lane.peers.messages_held, 2);
    let all = [event(5), event(6), event(7)];
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), all);
    // Nothing of theirs waits any more, while others do.
    for _ in 0..2 {
        lane.invoke();
        let _begun = sent(&mut lane, &mut theirs, &bulk);
    }
    assert_eq!(lane.peers.messages_held, 3);
    lane.with(|peers, parts| peers.send(ended(2, 7), parts));
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), [event(7)]);
    assert_eq!(lane.peers.messages_held, 3);
}

#[test]
fn beginnings_come_in_the_order_of_their_numbers_whatever_they_are_of() {
    let (mut lane, mut theirs, bulk) = with_two_held();
    let id = |sequence| InvocationId::new(worker_hash("a"), 1, 0, sequence).0;
    let begun = |sequence| (FrameKind::Begin, id(sequence));
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), [begun(0)]);
    let begin = Send {
        body: Outbound::Begin {
            wanted: Wanted::NOTHING,
            inputs: Vec::new(),
        },
        ..forget(2, 3)
    };
    lane.with(|peers, parts| peers.send(begin, parts));
    lane.with(|peers, parts| peers.send(forget(3, 9), parts));
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), []);
    grant(&mut theirs, 0);
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), [begun(1)]);
    grant(&mut theirs, 2);
    let rest = [begun(2), begun(3), (FrameKind::Forget, id(9))];
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), rest);
}

#[test]
fn the_last_word_on_a_deployment_waits_for_all_that_is_said_of_it() {
    let (mut lane, mut theirs, bulk) = with_two_held();
    assert_eq!(sent(&mut lane, &mut theirs, &bulk).len(), 1);
    let drained = |deployment| Send {
        body: Outbound::Drained,
        ..forget(deployment, 0)
    };
    for deployment in [1, 2] {
        lane.with(|peers, parts| peers.send(drained(deployment), parts));
    }
    let drained = (FrameKind::Drained, 0);
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), [drained], "the other");
    grant(&mut theirs, 0);
    assert_eq!(sent(&mut lane, &mut theirs, &bulk).len(), 1);
    grant(&mut theirs, 2);
    let rest = sent(&mut lane, &mut theirs, &bulk);
    assert_eq!((rest[0].0, rest[1]), (FrameKind::Begin, drained));
}

#[test]
fn a_beginning_that_finds_no_room_in_time_fails_its_invocation_alone() {
    let (mut lane, mut theirs, bulk) = with_two_held();
    assert_eq!(sent(&mut lane, &mut theirs, &bulk).len(), 1);
    let at = |lane: &mut Lane, now_ns| {
        lane.with(|peers, parts| {
            parts.now_ns = now_ns;
            peers.beat(parts);
        });
        lane.act();
        lane.core.counters().invocations_failed
    };
    let patience_ns = crate::lane::PATIENCE.as_nanos() as u64;
    // They wait since 1.
    assert_eq!(at(&mut lane, patience_ns), 0);
    assert_eq!(at(&mut lane, patience_ns + 1), 2);
    assert_eq!(
        lane.core.leases().count(),
        0,
        "the first is with the kernel"
    );
    assert_eq!(lane.peers.out.len(), 1);
    let rest = sent(&mut lane, &mut theirs, &bulk);
    let is_forgotten = |(kind, _): &(FrameKind, u128)| *kind == FrameKind::Forget;
    assert!(rest.len() == 2 && rest.iter().all(is_forgotten), "{rest:?}");
}

#[test]
fn of_what_is_over_only_the_word_that_it_is_waits_for_room() {
    let (mut lane, mut theirs, bulk) = with_two_held();
    let id = |sequence| InvocationId::new(worker_hash("a"), 1, 0, sequence).0;
    assert_eq!(sent(&mut lane, &mut theirs, &bulk).len(), 1);
    assert_eq!(
        lane.core.leases().count(),
        4,
        "the first is with the kernel"
    );
    lane.core.cancel(2, ClientId(1), 2);
    lane.act();
    assert_eq!(lane.core.leases().count(), 2);
    grant(&mut theirs, 0);
    let rest = [(FrameKind::Begin, id(2)), (FrameKind::Forget, id(1))];
    assert_eq!(sent(&mut lane, &mut theirs, &bulk), rest);
}

#[test]
fn a_peer_that_grants_nothing_is_given_up_though_it_has_all_that_was_sent() {
    let (mut lane, mut theirs, bulk) = with_two_held();
    assert_eq!(sent(&mut lane, &mut theirs, &bulk).len(), 1);
    silence::beats(&mut lane, MEMORY_WAIT * 3);
    assert_eq!(lane.peers.grants_missed, 0);
    silence::beats(&mut lane, PATIENCE.heartbeat);
    assert_eq!(lane.peers.grants_missed, 1);
    lane.act();
    assert_eq!(lane.core.leases().count(), 0);
}

#[test]
fn few_grants_are_told_at_the_next_beat() {
    let mut lane = Lane::new(LinkLimits::default());
    let (mut peer, _) = lane.link_in(1);
    let data = wire::Data::Streamed {
        transfer: 0,
        bytes: STREAMED,
    };
    let body = wire::Body {
        items: None,
        section: None,
        schema: 0,
        data,
    };
    let begin = wire::Begin {
        invocation: InvocationId::new(worker_hash("b"), 1, 0, 1).0,
        deployment: DeploymentId(1),
        report: false,
        trace: false,
        inputs: vec![(0, body)],
    };
    let mut frame = Vec::new();
    wire::encode(&begin, &mut frame);
    peer.write_all(&frame).unwrap();
    let pump = |lane: &mut Lane| {
        lane.act();
        lane.with(|peers, parts| peers.pump(parts.driver));
        lane.act();
    };
    pump(&mut lane);
    assert_eq!(silence::kinds(&mut peer), [], "they wait for company");
    silence::beats(&mut lane, PATIENCE.heartbeat);
    pump(&mut lane);
    assert_eq!(silence::kinds(&mut peer), [FrameKind::Grant]);
}

#[test]
fn what_waits_for_room_goes_with_its_link() {
    let (mut lane, _theirs, _bulk) = with_two_held();
    let id = *lane.peers.out.values().next().unwrap();
    lane.with(|peers, parts| peers.lose(id, "the test says so", parts));
    lane.act();
    lane.act();
    assert_eq!(lane.core.leases().count(), 0);
    assert_eq!(lane.core.counters().invocations_failed, 3);
}

/// A lane with a link to `b`, which is on the same host; and the borrower's end of what they share.
fn sharing(limits: LinkLimits) -> (Lane, [UnixStream; 2], Socket) {
    let mut lane = Lane::new(limits);
    let (ours, theirs, bulk) = sockets();
    let (socket, borrower) = Socket::pair().unwrap();
    let end = LendingEnd {
        socket,
        borrower: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
    };
    lane.link_out(1, ours, Some(end));
    (lane, [theirs, bulk], borrower)
}

fn lent(lane: &Lane) -> u64 {
    let lenders = lane.peers.shares.lenders.values();
    lenders.map(|lender| lender.lent().0).sum()
}

#[test]
fn what_a_message_lends_is_held_until_it_comes_home_though_the_link_is_lost() {
    let (mut lane, theirs, borrower) = sharing(LinkLimits::default());
    lane.invoke();
    assert_eq!((lent(&lane), lane.peers.streams_begun), (2, 0));
    let id = *lane.peers.out.values().next().unwrap();
    lane.with(|peers, parts| peers.lose(id, "the test says so", parts));
    lane.act();
    drop(theirs);
    assert_eq!(lane.core.leases().count(), 2, "`b` may be reading");
    // So it is when the borrower goes without a word, as long as its process is there.
    let share = *lane.peers.shares.lenders.keys().next().unwrap();
    drop(borrower);
    for now_ns in [1, 10_000_000_000] {
        lane.with(|peers, parts| {
            parts.now_ns = now_ns;
            assert!(peers.beat_shares(parts), "it is looked after");
        });
    }
    assert_eq!(lane.core.leases().count(), 2);
    assert!(lane.peers.shares.lenders.contains_key(&share));
}

#[test]
fn a_message_that_cannot_be_sent_lends_none_of_its_payloads() {
    let mut refused = 0;
    for step in 0..64 {
        let body_bytes_max = step * 16;
        let limits = LinkLimits {
            body_bytes_max,
            ..LinkLimits::default()
        };
        let (mut lane, _theirs, _borrower) = sharing(limits);
        lane.invoke();
        assert_eq!(lane.peers.out.len(), 1);
        if lane.core.counters().invocations_failed > 0 {
            refused += 1;
            assert_eq!(lane.core.leases().count(), 0, "{body_bytes_max}");
            assert_eq!(lent(&lane), 0, "{body_bytes_max}");
        } else {
            assert_eq!(lent(&lane), 2, "{body_bytes_max}");
        }
    }
    assert!((1..64).contains(&refused), "{refused}");
}
