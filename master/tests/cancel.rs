//! Cancelling by another thread than the one that invokes, against a worker that is told what to do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod fake;

use engine::greeting::ClusterKey;
use engine::wire::{self, Answer, CHUNK_HEAD_BYTES, Cancel, Failure, FrameKind, Invoke};
use fake::{FakeWorker, Peer, answer, inline};
use master::client::{Client, ClientError, Invocation, Options, Payload};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

fn connect(worker: &FakeWorker) -> Client {
    Client::connect(&worker.address, &Options::default()).unwrap()
}

fn worker(serve: impl FnMut(Peer) + Send + 'static) -> FakeWorker {
    FakeWorker::start("a", ClusterKey::none(), 1, serve)
}

const NOTHING: Invocation<'static> = Invocation {
    workflow: "w",
    inputs: &[],
    report: false,
    trace: false,
};

fn cancelled(request: u64) -> Answer {
    Answer {
        result: Err(Failure::Cancelled),
        ..answer(request, Vec::new())
    }
}

/// Waits until nothing more fits into a connection: the other side is then in the middle of a frame.
fn until_full(socket: &TcpStream) {
    let (mut last, mut same) = (0, 0);
    let mut bytes = vec![0; 64 << 20];
    while same < 20 {
        std::thread::sleep(Duration::from_millis(2));
        let now = socket.peek(&mut bytes).unwrap();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
}

/// The next frame, which must be a cancel: of which request.
fn cancel(peer: &mut Peer) -> u64 {
    let (kind, body) = peer.frame().unwrap();
    assert_eq!(kind, FrameKind::Cancel);
    wire::decode::<Cancel>(&body).unwrap().request
}

#[test]
fn a_cancel_does_not_wait_for_inputs_that_are_being_sent_and_stands_between_two_frames() {
    /// More than any socket holds.
    const BYTES: usize = 96 << 20;
    let (begun, is_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let worker = worker(move |mut peer| {
        let (kind, body) = peer.frame().unwrap();
        assert_eq!(kind, FrameKind::Invoke);
        let request = wire::decode::<Invoke>(&body).unwrap().request;
        until_full(&peer.socket);
        begun.send(request).unwrap();
        // Nothing is read until the cancel has been given.
        may_go_on.recv().unwrap();
        let (mut raw, mut before) = (0, None);
        while raw < BYTES {
            match peer.frame().unwrap() {
                (FrameKind::Chunk, body) => raw += body.len() - CHUNK_HEAD_BYTES,
                (FrameKind::Cancel, body) => {
                    assert_eq!(wire::decode::<Cancel>(&body).unwrap().request, request);
                    assert!(before.replace(raw).is_none(), "a second cancel");
                    peer.send(&cancelled(request));
                }
                (kind, _) => panic!("{kind:?}"),
            }
        }
        assert!(before.unwrap() < BYTES / 2, "it came behind its inputs");
        peer.until_closed();
    });
    let mut client = connect(&worker);
    let canceller = client.canceller();
    let cancelling = std::thread::spawn(move || {
        canceller.cancel(is_begun.recv().unwrap()).unwrap();
        go_on.send(()).unwrap();
    });
    let inputs = [("in".to_owned(), Payload::Bytes(vec![7; BYTES]))];
    let invocation = Invocation {
        inputs: &inputs,
        ..NOTHING
    };
    let answered = client.invoke(&invocation).unwrap();
    assert_eq!(answered.result, Err(Failure::Cancelled));
    cancelling.join().unwrap();
    drop(client);
    worker.join();
}

#[test]
fn what_is_answered_or_was_never_asked_for_is_not_cancelled() {
    let worker = worker(|mut peer| {
        let first = peer.invoke().request;
        peer.send(&answer(first, vec![inline("out", b"x")]));
        // Nothing stands between the two.
        let second = peer.invoke().request;
        assert_eq!(cancel(&mut peer), second);
        peer.send(&cancelled(second));
        peer.until_closed();
    });
    let mut client = connect(&worker);
    let canceller = client.canceller();
    canceller.cancel(1).unwrap();
    let answered = client.invoke(&NOTHING).unwrap();
    canceller.cancel(answered.request).unwrap();
    canceller.cancel(u64::MAX).unwrap();
    let request = client.start(&NOTHING).unwrap();
    canceller.cancel(request).unwrap();
    let answered = client.next_answer().unwrap();
    assert_eq!(answered.result, Err(Failure::Cancelled));
    drop(client);
    worker.join();
}

#[test]
fn once_all_is_cancelled_nothing_more_is_sent_and_what_was_is_still_answered() {
    let worker = worker(|mut peer| {
        let requests = [(); 3].map(|()| peer.invoke().request);
        let mut told = [(); 3].map(|()| cancel(&mut peer));
        told.sort_unstable();
        assert_eq!(told, requests);
        // One of them was over before its cancel came.
        peer.send(&answer(requests[1], vec![inline("out", b"x")]));
        peer.send(&cancelled(requests[2]));
        peer.send(&cancelled(requests[0]));
        assert!(peer.frame().is_none(), "something was started");
    });
    let mut client = connect(&worker);
    let canceller = client.canceller();
    let requests = [(); 3].map(|()| client.start(&NOTHING).unwrap());
    std::thread::spawn(move || canceller.cancel_all())
        .join()
        .unwrap()
        .unwrap();
    let started = client.start(&NOTHING);
    assert!(
        matches!(started, Err(ClientError::Cancelled)),
        "{started:?}"
    );
    assert_eq!(client.in_flight(), 3);
    let answers = [(); 3].map(|()| client.next_answer().unwrap());
    let order = answers.each_ref().map(|answered| answered.request);
    assert_eq!(order, [requests[1], requests[2], requests[0]]);
    assert!(answers[0].result.is_ok());
    assert_eq!(answers[1].result, Err(Failure::Cancelled));
    assert_eq!(client.in_flight(), 0);
    drop(client);
    worker.join();
}

#[test]
fn a_canceller_keeps_no_connection_and_says_when_it_is_lost() {
    let (closed, is_closed) = mpsc::channel();
    let mut served = 0;
    let worker = FakeWorker::start("a", ClusterKey::none(), 2, move |mut peer| {
        let _ = peer.invoke();
        served += 1;
        if served == 1 {
            peer.until_closed();
            closed.send(()).unwrap();
        }
        // The second one goes away without an answer.
    });
    let mut client = connect(&worker);
    let canceller = client.canceller();
    let request = client.start(&NOTHING).unwrap();
    drop(client);
    is_closed.recv().unwrap();
    canceller.cancel(request).unwrap();
    canceller.cancel_all().unwrap();

    let mut client = connect(&worker);
    let canceller = client.canceller();
    let request = client.start(&NOTHING).unwrap();
    let lost = client.next_answer();
    assert!(matches!(lost, Err(ClientError::Lost { .. })), "{lost:?}");
    for told in [canceller.cancel(request), canceller.cancel_all()] {
        let worker = match &told {
            Err(ClientError::Lost { worker, .. }) => worker,
            other => panic!("{other:?}"),
        };
        assert!(worker.contains("a ("), "{worker}");
    }
    worker.join();
}
