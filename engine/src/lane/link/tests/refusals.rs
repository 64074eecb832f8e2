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
    };
    for (role, bytes) in [
        (LinkRole::Client, frame(&Forget { invocation: 1 })),
        (LinkRole::PeerIn, frame(&invoke)),
        (LinkRole::PeerOut, frame(&Forget { invocation: 1 })),
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
