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
    // Each has its connection.
    let announce = frame(&event(1, vec![(0, streamed(0, 100))]));
    for (on, bytes) in [
        (Stream::Messages, chunk(0, 0, b"raw")),
        (Stream::Bulk, frame(&event(2, vec![]))),
    ] {
        let mut receiver = Receiver::peer();
        receiver.feed(&announce, &[usize::MAX]).unwrap();
        let error = receiver.feed_on(on, &bytes, &[usize::MAX]).unwrap_err();
        assert!(
            matches!(error, LinkError::Unexpected { .. }),
            "{on:?}: {error}"
        );
        receiver.settle();
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
        ("another", chunk(6, 0, b"x"), |error| {
            matches!(error, LinkError::TransferUnknown { transfer: 6 })
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
                    refusal,
                },
            ] => {
                assert!(refusal.reason.contains(reason), "{refusal:?}");
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

/// A payload of one byte, of this schema, inline or streamed.
fn of_schema(schema: u64, transfer: Option<u64>) -> Body {
    let data = match transfer {
        None => Data::Inline(vec![7]),
        Some(transfer) => Data::Streamed { transfer, bytes: 1 },
    };
    Body {
        items: None,
        section: None,
        schema,
        data,
    }
}

#[test]
fn a_payload_of_another_type_than_is_read_finds_no_place_and_others_do() {
    let deployment = DeploymentId(1);
    let outputs = vec![
        (0, of_schema(5, None)),
        (1, of_schema(6, None)),
        (2, of_schema(6, Some(1))),
        (3, of_schema(5, Some(2))),
        (4, of_schema(0, None)),
    ];
    let begin = Begin {
        invocation: 1,
        deployment,
        report: false,
        trace: false,
        inputs: outputs.clone(),
    };
    let done = wire::PartDone {
        invocation: 1,
        deployment,
        outputs: outputs.clone(),
        report: Vec::new(),
        trace: None,
        load: None,
    };
    let node = |output| Origin::Node {
        deployment,
        node: 2,
        output,
    };
    let input = |input| Origin::Input { deployment, input };
    let output = |output| Origin::Output { deployment, output };
    type From<'a> = &'a dyn Fn(u16) -> Origin<'static>;
    let cases: [(Vec<u8>, From<'_>); 3] = [
        (frame(&event(1, outputs)), &node),
        (frame(&begin), &input),
        (frame(&done), &output),
    ];
    for (bytes, origin) in cases {
        let mut peer = Receiver::peer();
        peer.door = Box::new(Not(6));
        let streams = [bytes, chunk(1, 0, b"x"), chunk(2, 0, b"x")].concat();
        peer.feed(&streams, &[usize::MAX]).unwrap();
        let message = peer
            .out
            .iter_mut()
            .find(|one| !matches!(one, Inbound::BeginComing { .. }));
        let message = message.unwrap();
        for place in 0..5 {
            let landing = message.landing_mut(usize::from(place)).unwrap();
            let refused = (place == 1 || place == 2).then(|| LandingError::Schema {
                reason: format!("{:?} is 6", origin(place)),
            });
            assert_eq!(landing.as_ref().err(), refused.as_ref(), "{place}");
        }
        // What was announced is thrown away.
        assert_eq!(peer.settle().bytes_drained, 1);
    }
}

#[test]
fn a_client_that_gives_another_type_than_is_read_is_refused_at_the_door() {
    for transfer in [None, Some(1)] {
        for (schema, taken) in [(0, true), (5, true), (6, false)] {
            let wish = frame(&Invoke {
                request: 5,
                workflow: "w".into(),
                inputs: vec![("text".to_owned(), of_schema(schema, transfer))],
                report: false,
                trace: false,
            });
            let mut client = Receiver::new(LinkRole::Client, LinkLimits::default());
            client.door = Box::new(Not(6));
            client.feed(&wish, &[usize::MAX]).unwrap();
            if transfer.is_some() {
                client.feed(&chunk(1, 0, b"x"), &[usize::MAX]).unwrap();
            }
            match &client.out[..] {
                [Inbound::Invoke { .. }] if taken => {}
                [
                    Inbound::InvokeRefused {
                        request: 5,
                        refusal,
                    },
                ] if !taken => {
                    let wanted = r#"input `text`: Client { workflow: "w", input: "text" } is 6"#;
                    assert_eq!(refusal.reason, wanted);
                }
                other => panic!("{schema}: {other:?}"),
            }
            client.settle();
        }
    }
}
