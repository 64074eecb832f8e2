//! What is lent is named and not moved, goes back if nobody wants it, and is streamed where it cannot be had.

use super::*;

fn range(segment: u32, bytes: u64) -> LentRange {
    LentRange {
        segment,
        generation: 1,
        offset: 64,
        bytes,
    }
}

fn one(transfer: u64, ranges: Vec<LentRange>) -> Body {
    Body {
        items: None,
        section: None,
        schema: 0,
        data: Data::Lent { transfer, ranges },
    }
}

fn list(transfer: u64, items: &[u64], ranges: Vec<LentRange>) -> Body {
    Body {
        items: Some(items.to_vec()),
        ..one(transfer, ranges)
    }
}

fn event(outputs: Vec<Body>) -> StateEvent {
    let outputs = outputs.into_iter().enumerate();
    StateEvent {
        invocation: 5,
        deployment: DeploymentId(1),
        node: 3,
        outcome: Outcome::Well,
        outputs: outputs
            .map(|(number, body)| (number as u16, body))
            .collect(),
        load: None,
    }
}

fn framed<T: Message>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes);
    bytes
}

/// The outputs of the only message that was handed on.
fn outputs(receiver: &Receiver) -> &[(u16, Landing)] {
    let [Inbound::StateEvent { outputs, .. }] = &receiver.out[..] else {
        panic!("one event and not {:?}", receiver.out);
    };
    outputs
}

#[test]
fn what_is_lent_is_handed_on_at_once_and_takes_no_memory() {
    let mut receiver = Receiver::peer();
    let items = [100, wire::ITEM_ABSENT, 0, 50];
    let message = event(vec![
        one(0, vec![range(1, 1 << 30)]),
        list(1, &items, vec![range(1, 100), range(2, 50)]),
    ]);
    receiver.feed(&framed(&message), &[usize::MAX]).unwrap();
    let [(0, Ok(bytes)), (1, Ok(items))] = outputs(&receiver) else {
        panic!("both land");
    };
    assert_eq!(bytes.lent.len(), 1);
    assert_eq!(bytes.lent[0].length, 1 << 30);
    let lengths: Vec<u64> = items.lent.iter().map(|lent| lent.length).collect();
    assert_eq!(lengths, [100, 50]);
    assert_eq!(receiver.arena.bytes_held(), 0);
    receiver.settle();
}

#[test]
fn what_cannot_be_mapped_is_asked_for_and_its_message_waits_for_it() {
    let mut receiver = Receiver::peer();
    let message = event(vec![
        one(0, vec![range(1, 500)]),
        list(1, &[20, 30], vec![range(7, 20), range(2, 30)]),
    ]);
    receiver.feed(&framed(&message), &[usize::MAX]).unwrap();
    assert!(receiver.out.is_empty(), "it is not whole");
    let asked = [(1, Layout::Items, vec![range(7, 20), range(2, 30)])];
    assert_eq!(receiver.lent.to_stream, asked);
    // Each item is padded to 16 bytes, as in a list that is streamed from the beginning.
    let raw: Vec<u8> = (0..64).collect();
    let head = ChunkHead {
        transfer: 1,
        offset: 0,
    };
    let mut chunk = head.frame_start(&raw).to_vec();
    chunk.extend(&raw);
    chunk.resize(chunk.len().next_multiple_of(wire::FRAME_ALIGN), 0);
    receiver.feed(&chunk, &[usize::MAX]).unwrap();
    let [(0, Ok(lent)), (1, landing)] = outputs(&receiver) else {
        panic!("both land");
    };
    assert_eq!(lent.lent.len(), 1);
    let items = receiver.content(landing);
    assert_eq!(items, [raw[..20].to_vec(), raw[32..62].to_vec()]);
    receiver.settle();
}

#[test]
fn what_nobody_wants_goes_back_and_is_not_asked_for() {
    let (mut bytes, mut items) = (Limits::default(), Limits::default());
    (bytes.payload_bytes_max, items.items_max) = (499, 1);
    for (door, body) in [
        (None, one(0, vec![range(1, 500)])),
        (None, one(0, vec![range(7, 500)])),
        (Some(bytes), one(0, vec![range(1, 500)])),
        (
            Some(items),
            list(0, &[400, 100], vec![range(1, 400), range(1, 100)]),
        ),
    ] {
        let mut receiver = Receiver::peer();
        receiver.door = Box::new(Door(door));
        let message = event(vec![body.clone()]);
        receiver.feed(&framed(&message), &[usize::MAX]).unwrap();
        assert!(matches!(outputs(&receiver), [(0, Err(_))]), "{body:?}");
        let Data::Lent { ranges, .. } = body.data else {
            unreachable!("all are lent");
        };
        assert_eq!(receiver.lent.given_back, ranges);
        assert!(receiver.lent.to_stream.is_empty());
        receiver.settle();
    }
}

#[test]
fn what_finds_no_room_when_it_is_to_be_streamed_goes_back_and_fails_by_name() {
    let mut receiver = Receiver::peer();
    let message = event(vec![one(0, vec![range(7, ARENA_BYTES + 1)])]);
    receiver.feed(&framed(&message), &[usize::MAX]).unwrap();
    let [(0, Err(LandingError::Memory { .. }))] = outputs(&receiver) else {
        panic!("there is no room: {:?}", receiver.out);
    };
    assert_eq!(receiver.lent.given_back.len(), 1);
    receiver.settle();
}

#[test]
fn what_is_lent_of_a_message_that_is_aborted_goes_back() {
    let mut receiver = Receiver::peer();
    let message = event(vec![
        one(0, vec![range(1, 500)]),
        one(1, vec![range(7, 500)]),
    ]);
    receiver.feed(&framed(&message), &[usize::MAX]).unwrap();
    receiver.abort(5);
    let mut unread = Vec::new();
    receiver.link.take_unread(&mut unread);
    assert_eq!(unread.len(), 1);
    receiver.lent.borrowed -= 1;
    receiver.settle();
}

#[test]
fn what_is_said_to_be_lent_and_is_not_ends_the_link() {
    for body in [
        one(0, vec![range(9, 500)]),
        one(0, Vec::new()),
        one(0, vec![range(1, 0)]),
        one(0, vec![range(1, 5), range(1, 5)]),
        list(0, &[5, 0], vec![range(1, 5), range(1, 5)]),
        list(0, &[5, 6], vec![range(1, 5)]),
        list(0, &[5], vec![range(1, 6)]),
        Body {
            section: Some(Section { first: 0, whole: 1 }),
            ..list(0, &[5, 6], vec![range(1, 5), range(1, 6)])
        },
    ] {
        let mut receiver = Receiver::peer();
        // What is good beside it is not lost.
        let message = event(vec![one(1, vec![range(1, 500)]), body.clone()]);
        let ended = receiver.feed(&framed(&message), &[usize::MAX]).unwrap_err();
        let fits = matches!(
            ended,
            LinkError::Lent { .. } | LinkError::Section { .. } | LinkError::Items { .. }
        );
        assert!(fits, "{body:?}: {ended}");
        receiver.settle();
    }
}

#[test]
fn a_client_has_nothing_to_lend_and_no_number_is_used_twice() {
    let mut receiver = Receiver::new(LinkRole::Client, LinkLimits::default());
    let invoke = Invoke {
        request: 1,
        workflow: "w".into(),
        inputs: vec![("x".into(), one(0, vec![range(1, 500)]))],
        report: false,
        trace: false,
    };
    let ended = receiver.feed(&framed(&invoke), &[usize::MAX]).unwrap_err();
    assert!(matches!(ended, LinkError::Lent { .. }), "{ended}");
    receiver.settle();

    let mut receiver = Receiver::peer();
    let twice = vec![one(4, vec![range(1, 500)]), one(4, vec![range(1, 500)])];
    let ended = receiver.feed(&framed(&event(twice)), &[usize::MAX]);
    let ended = ended.unwrap_err();
    assert!(matches!(ended, LinkError::TransferTaken { .. }), "{ended}");
    receiver.settle();
}

#[test]
fn what_was_asked_for_needs_no_grant_and_comes_after_its_message() {
    let bytes = wire::UNASKED_BYTES_MAX * 4;
    let (mut sender, mut receiver) = (
        Sender::to(LinkRole::PeerOut, LinkLimits::default()),
        Receiver::peer(),
    );
    let transfer = sender.link.reserve_transfer();
    let message = event(vec![one(transfer, vec![range(7, bytes)])]);
    sender.link.queue(&message).unwrap();
    let frames = sender.send_on(Stream::Messages).unwrap();
    assert!(
        sender.send_on(Stream::Bulk).is_none(),
        "it was not asked for"
    );
    receiver
        .feed_on(Stream::Messages, &frames, &[usize::MAX])
        .unwrap();
    assert_eq!(receiver.lent.to_stream.len(), 1);
    let payload = Payload::bytes(bytes as usize, 3);
    let pieces = vec![sender.piece(&payload.parts[0])];
    sender
        .link
        .stream_lent(transfer, pieces, Layout::Bytes, 1, 0);
    while let Some(chunk) = sender.send_on(Stream::Bulk) {
        receiver
            .feed_on(Stream::Bulk, &chunk, &[usize::MAX])
            .unwrap();
    }
    let [(0, landing)] = outputs(&receiver) else {
        panic!("it landed");
    };
    assert!(receiver.content(landing) == payload.parts);
    assert!(
        receiver.link.next_send(Stream::Messages).is_none(),
        "nothing is granted"
    );
    receiver.settle();
}
