//! What a link refuses, and that it names it.

use super::*;

/// A name, what is sent, and which error that is.
type Case = (&'static str, Vec<u8>, fn(&LinkError) -> bool);

#[test]
fn a_kind_that_a_role_may_not_send_is_refused() {
    let invoke = Invoke {
        request: 1,
        workflow: "w".into(),
        inputs: vec![],
        report: false,
        trace: false,
    };
    for (role, bytes) in [
        (
            LinkRole::Client,
            frame(&Forget {
                invocation: 1,
                why: Cancelled::ByClient,
            }),
        ),
        (LinkRole::PeerIn, frame(&invoke)),
        (
            LinkRole::PeerOut,
            frame(&Forget {
                invocation: 1,
                why: Cancelled::ByClient,
            }),
        ),
        (LinkRole::PeerOut, chunk(0, 0, b"raw")),
    ] {
        let mut receiver = Receiver::new(role, LinkLimits::default());
        let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
        assert!(
            matches!(error, LinkError::Unexpected { .. }),
            "{role:?}: {error}"
        );
    }
    let mut client = Receiver::new(LinkRole::Client, LinkLimits::default());
    client.feed(&frame(&invoke), &[usize::MAX]).unwrap();
    assert!(matches!(
        &client.out[..],
        [Inbound::Invoke { request: 1, .. }]
    ));
}

#[test]
fn a_list_whose_items_do_not_add_up_is_refused() {
    let long = vec![u64::MAX - 15, 16];
    for items in [
        vec![1, 2],
        vec![33],
        vec![16, 17],
        vec![],
        long,
        vec![u64::MAX],
    ] {
        for data in [
            Data::Inline(vec![0; 16]),
            Data::Streamed {
                transfer: 1,
                bytes: 16,
            },
        ] {
            let mut receiver = Receiver::peer();
            let bytes = frame(&event(
                1,
                vec![(
                    0,
                    Body {
                        items: Some(items.clone()),
                        section: None,
                        schema: 0,
                        data,
                    },
                )],
            ));
            let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
            assert!(
                matches!(error, LinkError::Items { .. }),
                "{items:?}: {error}"
            );
            receiver.settle();
        }
    }
}

#[test]
fn a_section_beyond_its_list_is_refused_and_one_of_a_longer_list_than_is_taken_finds_no_place() {
    let body = |items: Option<Vec<u64>>, first, whole| Body {
        items,
        section: Some(Section { first, whole }),
        schema: 0,
        data: Data::Inline(vec![0; 16]),
    };
    for (items, first, whole) in [
        (Some(vec![16]), 5, 5),
        (Some(vec![16]), u32::MAX, u32::MAX),
        (None, 0, 5),
    ] {
        let mut receiver = Receiver::peer();
        let bytes = frame(&event(1, vec![(0, body(items, first, whole))]));
        let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
        assert!(matches!(error, LinkError::Section { .. }), "{error}");
        receiver.settle();
    }
    // Items that are elsewhere count for the limit: whoever puts parts together has room for all.
    let mut receiver = Receiver::peer();
    let whole = LinkLimits::default().items_max + 1;
    let bytes = frame(&event(1, vec![(0, body(Some(vec![16]), 0, whole))]));
    receiver.feed(&bytes, &[usize::MAX]).unwrap();
    let refused = receiver.out.iter_mut().any(|message| {
        let landing = message.landing_mut(0);
        matches!(landing, Some(Err(LandingError::Items { .. })))
    });
    assert!(refused, "{:?}", receiver.out);
    receiver.settle();
}

#[test]
fn chunks_that_are_out_of_place_are_refused() {
    let announce = frame(&event(1, vec![(0, streamed(7, 100))]));
    let place = |error: &LinkError| matches!(error, LinkError::ChunkPlace { transfer: 7, .. });
    let cases: [Case; 6] = [
        ("a gap", chunk(7, 1, b"x"), place),
        (
            "again",
            [chunk(7, 0, b"x"), chunk(7, 0, b"x")].concat(),
            place,
        ),
        ("too much", chunk(7, 0, &[0; 101]), place),
        ("another", chunk(8, 0, b"x"), |error| {
            matches!(error, LinkError::TransferUnknown { transfer: 8 })
        }),
        (
            "after the end",
            [chunk(7, 0, &[0; 100]), chunk(7, 100, b"x")].concat(),
            |error| matches!(error, LinkError::TransferUnknown { transfer: 7 }),
        ),
        ("empty", chunk(7, 0, b""), |error| {
            matches!(error, LinkError::ChunkShort { length: 16 })
        }),
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
    let again = [
        frame(&event(1, vec![(0, streamed(7, 100))])),
        frame(&event(2, vec![(0, streamed(7, 5))])),
    ]
    .concat();
    for bytes in [frame(&twice), again] {
        let mut receiver = Receiver::peer();
        let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
        assert!(
            matches!(error, LinkError::TransferTaken { transfer: 7, .. }),
            "{error}"
        );
        receiver.settle();
    }
}

#[test]
fn what_the_door_refuses_takes_no_memory_however_much_is_announced() {
    let wish = |bytes| {
        let inputs = vec![("text".to_owned(), streamed(7, bytes))];
        frame(&Invoke {
            request: 5,
            workflow: "w".into(),
            inputs,
            report: false,
            trace: false,
        })
    };
    let limits = Limits {
        payload_bytes_max: 1000,
        ..Limits::default()
    };
    for (door, reason) in [(None, "no w here"), (Some(limits), "the limit of 1000")] {
        let mut client = Receiver::new(LinkRole::Client, LinkLimits::default());
        client.door = Box::new(Door(door));
        client.feed(&wish(2000), &[usize::MAX]).unwrap();
        assert!(client.arena.new_segments().is_empty());
        match &client.out[..] {
            [
                Inbound::InvokeRefused {
                    request: 5,
                    reason: said,
                },
            ] => {
                assert!(said.contains(reason), "{said}");
            }
            other => panic!("{other:?}"),
        }
        // What it announced is thrown away, and it may go on.
        client
            .feed(&chunk(7, 0, &[1; 2000]), &[usize::MAX])
            .unwrap();
        assert!(!client.link.is_unfinished());
        client.feed(&wish(2000), &[usize::MAX]).unwrap();
        assert_eq!(client.out.len(), 2);
        assert_eq!(client.settle().bytes_drained, 2000);
    }
}

#[test]
fn what_a_peer_tells_of_nothing_that_is_here_takes_no_memory() {
    let mut peer = Receiver::peer();
    peer.door = Box::new(Door(None));
    let events = frame(&event(1, vec![(0, streamed(3, 2000))]));
    peer.feed(&events, &[usize::MAX]).unwrap();
    assert!(peer.arena.new_segments().is_empty());
    match &peer.out[..] {
        [Inbound::StateEvent { outputs, .. }] => {
            assert!(matches!(outputs[0].1, Err(LandingError::Unwanted { .. })))
        }
        other => panic!("{other:?}"),
    }
    peer.settle();
}
