//! The client against a worker that is told what to do: the good, the slow and the hostile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod fake;

use engine::greeting::ClusterKey;
use engine::wire::{
    Body, Control, ControlReply, Data, Failure, FrameKind, HEADER_BYTES, MAGIC, PROTOCOL_VERSION,
    Role,
};
use fake::{FakeWorker, Peer, answer, inline, streamed};
use master::client::{Client, ClientError, ControlClient, Invocation, Options, Payload};
use std::time::Duration;

fn key() -> ClusterKey {
    ClusterKey::from_bytes(b"a key of the test")
}

fn options() -> Options {
    Options {
        key: key(),
        ..Options::default()
    }
}

fn connect(worker: &FakeWorker) -> Client {
    Client::connect(&worker.address, &options()).unwrap()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

#[test]
fn inputs_of_every_size_arrive_whole_and_outputs_come_back_whole() {
    let sizes = [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20, (3 << 20) + 5];
    let worker = FakeWorker::start("a", key(), 1, move |mut peer| {
        while let Some(invoke) = peer_invoke(&mut peer) {
            assert_eq!(invoke.workflow, "w");
            // What came goes back: short outputs inline, long ones in chunks of two transfers in turn.
            let outputs = invoke
                .inputs
                .into_iter()
                .enumerate()
                .map(|(index, (name, body))| match &body.data {
                    Data::Inline(bytes) if bytes.len() > 64 => {
                        let streamed = Data::Streamed {
                            transfer: index as u64,
                            bytes: bytes.len() as u64,
                        };
                        (
                            (
                                name,
                                Body {
                                    items: body.items,
                                    section: None,
                                    schema: 0,
                                    data: streamed,
                                },
                            ),
                            Some(bytes.clone()),
                        )
                    }
                    _ => ((name, body), None),
                });
            let (outputs, streams): (Vec<_>, Vec<_>) = outputs.unzip();
            peer.send(&answer(invoke.request, outputs));
            let mut left: Vec<(u64, Vec<u8>, usize)> = (0..)
                .zip(streams)
                .filter_map(|(index, bytes)| Some((index, bytes?, 0)))
                .collect();
            while !left.is_empty() {
                for (transfer, bytes, sent) in &mut left {
                    let end = (*sent + 300_000).min(bytes.len());
                    peer.chunk(*transfer, *sent as u64, &bytes[*sent..end]);
                    *sent = end;
                }
                left.retain(|(_, bytes, sent)| *sent < bytes.len());
            }
        }
    });
    let mut client = connect(&worker);
    assert_eq!(client.worker(), "a");
    for size in sizes {
        let items = vec![pattern(size), Vec::new(), pattern(17)];
        let inputs = vec![
            ("one".to_owned(), Payload::Bytes(pattern(size))),
            ("many".to_owned(), Payload::list(items)),
            ("none".to_owned(), Payload::List(Vec::new())),
        ];
        let invocation = Invocation {
            workflow: "w",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        let answered = client.invoke(&invocation).unwrap();
        assert_eq!((answered.latency_ns, answered.invocation.0), (1234, 42));
        assert!(answered.result.unwrap() == inputs, "{size}");
    }
    drop(client);
    worker.join();
}

/// The next invocation, or `None` at the end.
fn peer_invoke(peer: &mut Peer) -> Option<engine::wire::Invoke> {
    let mut byte = [0];
    match peer.socket.peek(&mut byte) {
        Ok(1..) => Some(peer.invoke()),
        Ok(0) | Err(_) => None,
    }
}

const NOTHING: Invocation<'static> = Invocation {
    workflow: "w",
    inputs: &[],
    report: false,
    trace: false,
};

#[test]
fn several_requests_may_be_under_way_and_answers_come_in_any_order() {
    let worker = FakeWorker::start("a", key(), 1, |mut peer| {
        let requests: Vec<u64> = (0..3).map(|_| peer.invoke().request).collect();
        // The first has a long output; the others are complete before it.
        peer.send(&answer(requests[0], vec![streamed("o", 9, 5)]));
        peer.send(&answer(requests[2], vec![inline("o", b"third")]));
        peer.send(&answer(requests[1], vec![inline("o", b"second")]));
        peer.chunk(9, 0, b"fi");
        peer.chunk(9, 2, b"rst");
        peer.until_closed();
    });
    let mut client = connect(&worker);
    let requests: Vec<u64> = (0..3).map(|_| client.start(&NOTHING).unwrap()).collect();
    assert_eq!(client.in_flight(), 3);
    for (request, text) in [
        (requests[2], "third"),
        (requests[1], "second"),
        (requests[0], "first"),
    ] {
        let answered = client.next_answer().unwrap();
        assert_eq!(answered.request, request);
        let expected = vec![("o".to_owned(), Payload::Bytes(text.as_bytes().to_vec()))];
        assert_eq!(answered.result.unwrap(), expected);
    }
    assert_eq!(client.in_flight(), 0);
    assert!(matches!(
        client.next_answer(),
        Err(ClientError::Idle { .. })
    ));
    drop(client);
    worker.join();
}

#[test]
fn a_worker_that_sends_before_it_reads_is_not_deadlocked() {
    const LONG: usize = 32 << 20;
    let worker = FakeWorker::start("a", key(), 1, |mut peer| {
        let first = peer.invoke().request;
        // More than any socket buffers, while the client is sending as much.
        peer.send(&answer(first, vec![streamed("o", 1, LONG as u64)]));
        peer.stream(1, &pattern(LONG));
        let second = peer.invoke();
        assert_eq!(second.inputs[0].1.data, Data::Inline(pattern(LONG)));
        peer.send(&answer(second.request, vec![]));
        peer.until_closed();
    });
    let mut client = connect(&worker);
    let inputs = vec![("i".to_owned(), Payload::Bytes(pattern(LONG)))];
    client.start(&NOTHING).unwrap();
    client
        .start(&Invocation {
            inputs: &inputs,
            ..NOTHING
        })
        .unwrap();
    let first = client.next_answer().unwrap().result.unwrap();
    assert!(first[0].1 == Payload::Bytes(pattern(LONG)));
    assert!(client.next_answer().unwrap().result.is_ok());
    drop(client);
    worker.join();
}

#[test]
fn failures_and_reports_are_handed_on_as_they_are() {
    let failure = Failure::Node {
        node: "n".into(),
        worker: "b".into(),
        attempt: 2,
        cause: "no".into(),
    };
    let sent = failure.clone();
    let worker = FakeWorker::start("a", key(), 1, move |mut peer| {
        let invoke = peer.invoke();
        assert!(invoke.report);
        let mut answer = answer(invoke.request, vec![]);
        answer.result = Err(sent.clone());
        peer.send(&answer);
        peer.until_closed();
    });
    let mut client = connect(&worker);
    let answered = client
        .invoke(&Invocation {
            report: true,
            trace: false,
            ..NOTHING
        })
        .unwrap();
    assert_eq!(answered.result, Err(failure));
    drop(client);
    worker.join();
}

/// The header of an empty answer, its checksum wrong.
fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&(FrameKind::Answer as u16).to_le_bytes());
    header
}

/// What the client says of a worker that does this with its first request.
fn error_of(misbehave: impl Fn(&mut Peer, u64) + Send + 'static) -> String {
    let worker = FakeWorker::start("rogue", key(), 1, move |mut peer| {
        let request = peer.invoke().request;
        misbehave(&mut peer, request);
    });
    let limits = Options {
        payload_bytes_max: 1000,
        silence_max: Some(Duration::from_secs(5)),
        ..options()
    };
    let mut client = Client::connect(&worker.address, &limits).unwrap();
    let error = client.invoke(&NOTHING).unwrap_err().to_string();
    drop(client);
    worker.join();
    assert!(
        error.contains("rogue (127.0.0.1:"),
        "the worker is named: {error}"
    );
    error
}

#[test]
fn what_makes_no_sense_is_refused_and_the_worker_named() {
    let says = |words: &str, misbehave: fn(&mut Peer, u64)| {
        let error = error_of(misbehave);
        assert!(error.contains(words), "{error}");
    };
    says("not a FaaSFlow frame", |peer, _| {
        peer.raw(b"garbage, and enough of it")
    });
    says("was lost", |_, _| {});
    says("was lost", |peer, _| peer.raw(&header()[..6]));
    says("an answer to request 77", |peer, _| {
        peer.send(&answer(77, vec![]))
    });
    says("an answer to request 1,", |peer, request| {
        peer.send(&answer(request, vec![streamed("o", 1, 10)]));
        peer.send(&answer(request, vec![]));
    });
    says(
        "output `o` of 1001 bytes, above the limit of 1000",
        |peer, request| {
            peer.send(&answer(request, vec![streamed("o", 1, 1001)]));
        },
    );
    says("announced twice", |peer, request| {
        peer.send(&answer(
            request,
            vec![streamed("o", 1, 10), streamed("p", 1, 10)],
        ));
    });
    says("transfer 5, which was not announced", |peer, _| {
        peer.chunk(5, 0, b"x")
    });
    says("at 1 of transfer 1, of which 0 of 10", |peer, request| {
        peer.send(&answer(request, vec![streamed("o", 1, 10)]));
        peer.chunk(1, 1, b"x");
    });
    says("a chunk of 11 bytes at 0", |peer, request| {
        peer.send(&answer(request, vec![streamed("o", 1, 10)]));
        peer.chunk(1, 0, b"01234567890");
    });
    says("do not fill its 3 bytes", |peer, request| {
        let body = Body {
            items: Some(vec![u64::MAX, 9]),
            section: None,
            schema: 0,
            data: Data::Inline(b"abc".to_vec()),
        };
        peer.send(&answer(request, vec![("o".to_owned(), body)]));
    });
    says("where none may come", |peer, _| {
        peer.send(&ControlReply::Done)
    });
    says("above the limit", |peer, _| {
        let mut header = header();
        header[8..12].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        peer.raw(&header);
    });
    says("refused the connection: too much", |peer, _| {
        peer.send(&engine::wire::Refused {
            reason: "too much".to_owned(),
        });
    });
}

#[test]
fn a_silent_worker_is_given_up_after_the_time_that_was_said() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let worker = FakeWorker::start("mute", key(), 1, move |mut peer| {
        peer.invoke();
        // Until the client has given up.
        let _ = held.recv();
    });
    let patience = Options {
        silence_max: Some(Duration::from_millis(50)),
        ..options()
    };
    let mut client = Client::connect(&worker.address, &patience).unwrap();
    let error = client.invoke(&NOTHING).unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error}");
    drop(release);
    worker.join();

    // One that accepts and never greets.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let patience = Options {
        connect_max: Duration::from_millis(50),
        ..options()
    };
    let error = Client::connect(&address, &patience).unwrap_err();
    assert!(
        matches!(&error, ClientError::Stranger { cause, .. } if matches!(**cause, ClientError::Silent { .. }))
    );
}

#[test]
fn a_key_must_be_the_same_on_both_sides() {
    let worker = FakeWorker::start("a", key(), 1, |_| panic!("nobody may get in"));
    let other = Options {
        key: ClusterKey::none(),
        ..options()
    };
    let error = Client::connect(&worker.address, &other).unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("--cluster-key-file"), "{error}");
    worker.join();
}

#[test]
fn a_payload_over_the_limit_is_never_sent() {
    let worker = FakeWorker::start("a", key(), 1, |mut peer| {
        let request = peer.invoke().request;
        peer.send(&answer(request, vec![]));
        peer.until_closed();
    });
    let limits = Options {
        payload_bytes_max: 10,
        ..options()
    };
    let mut client = Client::connect(&worker.address, &limits).unwrap();
    let inputs = vec![("big".to_owned(), Payload::Bytes(vec![0; 11]))];
    let error = client
        .start(&Invocation {
            inputs: &inputs,
            ..NOTHING
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`big` has 11 bytes, above the limit of 10 for one payload"
    );
    assert!(
        client.invoke(&NOTHING).unwrap().result.is_ok(),
        "the connection lives"
    );
    drop(client);
    worker.join();
}

#[test]
fn control_requests_get_their_replies() {
    let worker = FakeWorker::start("a", key(), 1, |mut peer| {
        assert_eq!(peer.role, Role::Control);
        let mut replies = [
            ControlReply::Refused("no".to_owned()),
            ControlReply::Status("{\"a\":1}".to_owned()),
        ]
        .into_iter();
        while let Some((_, body)) = peer.frame() {
            let _: Control = engine::wire::decode(&body).unwrap();
            peer.send(&replies.next().unwrap());
        }
    });
    let mut control = ControlClient::connect(&worker.address, &options()).unwrap();
    assert_eq!((control.worker(), control.epoch()), ("a", 3));
    let reply = control.request(&Control::Undeploy("w".to_owned())).unwrap();
    assert_eq!(reply, ControlReply::Refused("no".to_owned()));
    assert_eq!(control.status().unwrap()["a"], 1);
    drop(control);
    worker.join();
}
