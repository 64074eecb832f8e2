//! Wishes that are taken back while their inputs are under way.

use super::*;
use crate::wire::Cancel;

/// A wish whose inputs are streamed by these transfers, of so many bytes each.
fn wish(request: u64, transfers: &[u64], bytes: u64) -> Vec<u8> {
    let input = |transfer: &u64| (format!("in{transfer}"), streamed(*transfer, bytes));
    frame(&Invoke {
        request,
        workflow: "w".into(),
        inputs: transfers.iter().map(input).collect(),
        report: false,
        trace: false,
    })
}

fn cancel(request: u64) -> Vec<u8> {
    frame(&Cancel { request })
}

fn client() -> Receiver {
    Receiver::new(LinkRole::Client, LinkLimits::default())
}

/// What was handed on: what it was, and of which request.
fn handed_on(receiver: &Receiver) -> Vec<(&'static str, u64)> {
    let name = |message: &Inbound| match message {
        Inbound::Invoke { request, .. } => ("invoke", *request),
        Inbound::InvokeRefused { request, .. } => ("refused", *request),
        Inbound::InvokeCancelled { request } => ("taken back", *request),
        Inbound::Cancel { request } => ("cancel", *request),
        other => panic!("{other:?}"),
    };
    receiver.out.iter().map(name).collect()
}

#[test]
fn a_wish_whose_inputs_are_under_way_is_taken_back_and_its_memory_with_it() {
    let bytes = 40_000;
    for cuts in [&[usize::MAX][..], &[1000, 17, 20_000], &[33]] {
        let mut client = client();
        // One input is whole, one is in the middle, one is still to begin.
        client.feed(&wish(7, &[1, 2, 3], bytes), cuts).unwrap();
        let whole = chunk(1, 0, &pattern(bytes as usize, 1));
        client.feed(&whole, cuts).unwrap();
        client.feed(&chunk(2, 0, &[2; 20_000]), cuts).unwrap();
        assert!(client.out.is_empty());
        assert!(client.arena.bytes_leased() > 0);
        client.feed(&cancel(7), cuts).unwrap();
        assert_eq!(handed_on(&client), [("taken back", 7)]);
        assert_eq!(client.arena.bytes_leased(), 0, "its inputs are held");
        // What still comes of them is thrown away, and the connection goes on.
        assert!(client.link.is_unfinished());
        client.feed(&chunk(2, 20_000, &[2; 20_000]), cuts).unwrap();
        client.feed(&chunk(3, 0, &[3; 40_000]), cuts).unwrap();
        assert!(!client.link.is_unfinished());
        // Its number is free, as those of its transfers are.
        client.feed(&wish(7, &[2], 5), cuts).unwrap();
        client.feed(&chunk(2, 0, b"again"), cuts).unwrap();
        assert_eq!(handed_on(&client), [("taken back", 7), ("invoke", 7)]);
        client.feed(&cancel(7), cuts).unwrap();
        assert_eq!(handed_on(&client)[2..], [("cancel", 7)]);
        let counters = client.settle();
        assert_eq!(counters.messages_discarded, 1);
        // What had come whole is released with its wish.
        assert_eq!(counters.bytes_drained, 2 * bytes);
    }
}

#[test]
fn a_cancel_takes_back_what_it_names_and_nothing_else() {
    let mut client = client();
    for (request, transfer) in [(1, 1), (2, 2), (3, 3), (2, 4)] {
        let wish = wish(request, &[transfer], 8);
        client.feed(&wish, &[usize::MAX]).unwrap();
    }
    // Of two with one number it is the last.
    client.feed(&cancel(2), &[usize::MAX]).unwrap();
    client.feed(&cancel(9), &[usize::MAX]).unwrap();
    for transfer in [4, 3, 2, 1] {
        let input = chunk(transfer, 0, &[transfer as u8; 8]);
        client.feed(&input, &[usize::MAX]).unwrap();
    }
    client.feed(&cancel(1), &[usize::MAX]).unwrap();
    let expected = [
        ("taken back", 2),
        ("cancel", 9),
        ("invoke", 3),
        ("invoke", 2),
        ("invoke", 1),
        ("cancel", 1),
    ];
    assert_eq!(handed_on(&client), expected);
    match &client.out[3] {
        Inbound::Invoke { inputs, .. } => assert_eq!(client.content(&inputs[0].1), [vec![2; 8]]),
        other => panic!("{other:?}"),
    }
    client.settle();
}

#[test]
fn what_was_refused_is_not_there_to_be_cancelled_but_may_be() {
    let mut client = client();
    client.door = Box::new(Door(None));
    client.feed(&wish(5, &[1], 100), &[usize::MAX]).unwrap();
    client.feed(&cancel(5), &[usize::MAX]).unwrap();
    client.feed(&chunk(1, 0, &[1; 100]), &[usize::MAX]).unwrap();
    assert_eq!(handed_on(&client), [("refused", 5), ("cancel", 5)]);
    assert!(!client.link.is_unfinished());
    client.settle();
}

#[test]
fn no_peer_and_no_body_that_is_none_cancels_anything() {
    for role in [LinkRole::PeerIn, LinkRole::PeerOut] {
        let mut receiver = Receiver::new(role, LinkLimits::default());
        let error = receiver.feed(&cancel(1), &[usize::MAX]).unwrap_err();
        assert!(matches!(error, LinkError::Unexpected { .. }), "{error}");
    }
    // A header says what the body is, and the body is something else.
    let mut client = client();
    let mut other = frame(&wire::Refused {
        reason: "no".into(),
    });
    let body = other.split_off(wire::HEADER_BYTES);
    let header: [u8; wire::HEADER_BYTES] = frame(&Cancel { request: 1 })[..wire::HEADER_BYTES]
        .try_into()
        .unwrap();
    let error = client
        .feed(&[&header[..], &body[..]].concat(), &[usize::MAX])
        .unwrap_err();
    assert!(matches!(error, LinkError::Wire(_)), "{error}");
    client.settle();
}

#[test]
fn a_wish_that_was_taken_back_leaves_nothing_when_its_connection_ends() {
    let mut client = client();
    client.feed(&wish(1, &[1], 40_000), &[usize::MAX]).unwrap();
    client.feed(&chunk(1, 0, &[1; 10]), &[usize::MAX]).unwrap();
    client.feed(&cancel(1), &[usize::MAX]).unwrap();
    assert!(matches!(client.end(), LinkError::Truncated { .. }));
    client.settle();
}
