//! What a link takes in: its bounds, what has no place, and what is discarded.

use super::*;

#[test]
fn a_length_over_the_limit_takes_no_memory() {
    let mut bytes = frame(&Forget {
        invocation: 1,
        why: Cancelled::ByClient,
    });
    bytes[8..12].copy_from_slice(&(65_u32 << 20).to_le_bytes());
    let mut receiver = Receiver::peer();
    let error = receiver.feed(&bytes[..16], &[usize::MAX]).unwrap_err();
    assert!(
        matches!(error, LinkError::Wire(WireError::Length { .. })),
        "{error}"
    );
}

#[test]
fn a_long_message_takes_no_more_memory_than_twice_what_came_of_it() {
    let data = Data::Inline(pattern(8 << 20, 5));
    let bytes = frame(&event(
        1,
        vec![(
            0,
            Body {
                items: None,
                section: None,
                schema: 0,
                data,
            },
        )],
    ));
    let mut receiver = Receiver::peer();
    let mut fed = 0;
    while fed < bytes.len() {
        let buffer = receiver.link.next_receive(Stream::Messages);
        let ReceiveBuffer::Owned(memory, _) = &buffer else {
            panic!("a message is assembled")
        };
        assert!(
            memory.len() <= (2 * fed).max(130 << 10),
            "{} bytes of memory for {fed}",
            memory.len()
        );
        let count = room(&buffer).min(10_000).min(bytes.len() - fed);
        let buffer = fill(buffer, &bytes[fed..][..count]);
        fed += count;
        receiver
            .received_on(Stream::Messages, count, buffer)
            .unwrap();
    }
    assert_eq!(receiver.out.len(), 1);
    // And it is given back.
    assert!(room(&receiver.link.next_receive(Stream::Messages)) <= 130 << 10);
}

#[test]
fn a_payload_without_a_place_fails_its_message_alone() {
    let limits = LinkLimits {
        payload_bytes_max: 100_000,
        items_max: 3,
        ..LinkLimits::default()
    };
    let mut sender = Sender::new(LinkLimits::default());
    let long = sender.stream(&Payload::bytes(200_000, 1), 1);
    let fits = sender.stream(&Payload::bytes(90_000, 2), 2);
    sender
        .link
        .queue(&event(1, vec![(0, long), (1, fits)]))
        .unwrap();
    let many = Payload {
        list: true,
        streamed: true,
        parts: vec![vec![7; 20]; 4],
    };
    let many = sender.stream(&many, 3);
    sender.link.queue(&event(2, vec![(0, many)])).unwrap();
    sender
        .link
        .queue(&Forget {
            invocation: 99,
            why: Cancelled::ByClient,
        })
        .unwrap();
    let bytes = sender.send_all();
    for cut in [50_000, 7] {
        let mut receiver = Receiver::new(LinkRole::PeerIn, limits);
        receiver.feed(&bytes, &[cut]).unwrap();
        assert!(matches!(receiver.end(), LinkError::Ended));
        // The one that waits for nothing comes at once.
        assert_eq!(invocations(&receiver.out), [2, 99, 1]);
        let Inbound::StateEvent { outputs, .. } = &receiver.out[0] else {
            panic!("an event")
        };
        assert!(matches!(
            outputs[0].1,
            Err(LandingError::Items { items: 4, limit: 3 })
        ));
        let Inbound::StateEvent { outputs, .. } = &receiver.out[2] else {
            panic!("an event")
        };
        assert!(matches!(
            outputs[0].1,
            Err(LandingError::Bytes {
                bytes: 200_000,
                limit: 100_000
            })
        ));
        assert!(receiver.content(&outputs[1].1) == [pattern(90_000, 2)]);
        let counters = receiver.settle();
        assert_eq!(
            (counters.landings_refused, counters.bytes_drained),
            (2, 200_000 + 4 * 32)
        );
    }
}

#[test]
fn a_full_arena_fails_a_client_s_message_and_nothing_else() {
    let mut receiver = Receiver::new(LinkRole::Client, LinkLimits::default());
    receiver.arena = arena_of(2 << 20);
    let mut sender = Sender::new(LinkLimits::default());
    for number in 0..4 {
        let body = sender.stream(&Payload::bytes(900_000, number), u64::from(number));
        let wish = Invoke {
            request: number.into(),
            workflow: "w".into(),
            inputs: vec![("text".to_owned(), body)],
            report: false,
            trace: false,
        };
        sender.link.queue(&wish).unwrap();
    }
    receiver.feed(&sender.send_all(), &[usize::MAX]).unwrap();
    assert!(matches!(receiver.end(), LinkError::Ended));
    assert_eq!(receiver.out.len(), 4);
    let failed = |message: &&Inbound| matches!(message, Inbound::Invoke { inputs, .. } if matches!(inputs[0].1, Err(LandingError::Memory { .. })));
    assert_eq!(receiver.out.iter().filter(failed).count(), 2);
    receiver.settle();
}

fn begin(invocation: u128, inputs: Vec<(u16, Body)>) -> Begin {
    Begin {
        invocation,
        deployment: DeploymentId(1),
        report: false,
        trace: false,
        inputs,
    }
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
    assert!(matches!(
        receiver.out[0],
        Inbound::BeginComing {
            invocation: 1,
            deployment: DeploymentId(1)
        }
    ));
    assert_eq!(invocations(&receiver.out), [2]);
    receiver
        .feed(&chunk(0, 0, b"0123456789"), &[usize::MAX])
        .unwrap();
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
        frame(&Forget {
            invocation: 1,
            why: Cancelled::ByClient,
        }),
        chunk(0, 10, b"01234567890123456789"),
        chunk(1, 0, b"12345"),
        frame(&Drained {
            deployment: DeploymentId(3),
        }),
    ];
    receiver.feed(&bytes.concat(), &[usize::MAX]).unwrap();
    assert_eq!(invocations(&receiver.out), [1, 2]);
    assert!(matches!(
        receiver.out[1],
        Inbound::Forget { invocation: 1, .. }
    ));
    assert!(matches!(
        receiver.out[3],
        Inbound::Drained {
            deployment: DeploymentId(3)
        }
    ));
    assert!(matches!(receiver.end(), LinkError::Ended));
    let counters = receiver.settle();
    assert_eq!(
        (counters.messages_discarded, counters.bytes_drained),
        (2, 30)
    );
}

#[test]
fn a_range_that_the_driver_writes_to_is_not_given_back() {
    let mut receiver = Receiver::peer();
    let raw = pattern(200_000, 1);
    let bytes = [
        frame(&event(1, vec![(0, streamed(0, 200_000))])),
        chunk(0, 0, &raw),
    ]
    .concat();
    let before = bytes.len() - 150_000;
    receiver.feed(&bytes[..before], &[usize::MAX]).unwrap();
    let buffer = receiver.link.next_receive(Stream::Bulk);
    assert!(
        matches!(buffer, ReceiveBuffer::Segment { .. }),
        "the rest of the chunk goes straight in"
    );
    receiver.abort(1);
    assert!(
        receiver.arena.bytes_leased() > 0,
        "the driver may still write there"
    );
    let buffer = fill(buffer, &bytes[before..][..1000]);
    receiver.received_on(Stream::Bulk, 1000, buffer).unwrap();
    assert_eq!(receiver.arena.bytes_leased(), 0);
    receiver
        .feed_on(Stream::Bulk, &bytes[before + 1000..], &[usize::MAX])
        .unwrap();
    receiver
        .feed(
            &frame(&Forget {
                invocation: 5,
                why: Cancelled::ByClient,
            }),
            &[usize::MAX],
        )
        .unwrap();
    assert_eq!(invocations(&receiver.out), [5]);
    assert_eq!(receiver.settle().bytes_drained, 200_000);
}

#[test]
fn what_a_peer_can_leave_unfinished_is_bounded() {
    let limits = LinkLimits {
        transfers_max: 3,
        waiting_bytes_max: 10_000,
        ..LinkLimits::default()
    };
    let mut receiver = Receiver::new(LinkRole::PeerIn, limits);
    let announce =
        |number: u64, bytes| frame(&event(number.into(), vec![(0, streamed(number, bytes))]));
    receiver
        .feed(
            &(0..3)
                .flat_map(|number| announce(number, 1))
                .collect::<Vec<_>>(),
            &[usize::MAX],
        )
        .unwrap();
    let error = receiver.feed(&announce(3, 1), &[usize::MAX]).unwrap_err();
    assert!(
        matches!(error, LinkError::Transfers { limit: 3 }),
        "{error}"
    );
    receiver.settle();

    let mut receiver = Receiver::new(LinkRole::PeerIn, limits);
    let items = Body {
        items: Some(vec![0; 2000]),
        section: None,
        schema: 0,
        data: Data::Inline(vec![]),
    };
    let bytes = frame(&event(1, vec![(0, streamed(0, 1)), (1, items)]));
    let error = receiver.feed(&bytes, &[usize::MAX]).unwrap_err();
    assert!(
        matches!(error, LinkError::Waiting { limit: 10_000 }),
        "{error}"
    );
    receiver.settle();
}
