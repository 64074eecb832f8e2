//! Two links over a real connection, by both drivers.

use super::*;
use crate::lane::driver::{Completion, ConnectionId, Driver, DriverKind};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Far beyond what a slow machine takes: for a driver or a link that has lost something.
const DEADLINE: Duration = Duration::from_secs(60);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Sends all that `sender` has and closes; returns when `receiver` has met the end.
fn carry(kind: DriverKind, sender: &mut Sender, receiver: &mut Receiver) {
    let mut driver = Driver::new(kind).unwrap();
    let (out, input) = pair();
    let (out, input) = (
        driver.add(out.into()).unwrap(),
        driver.add(input.into()).unwrap(),
    );
    let mut completions = Vec::new();
    let mut open: Vec<ConnectionId> = vec![out, input];
    driver.receive(input, receiver.link.next_receive());
    driver.send(out, sender.link.next_send().unwrap());
    let start = Instant::now();
    while !open.is_empty() {
        assert!(start.elapsed() < DEADLINE, "it hangs");
        driver.wait(Some(Duration::from_millis(100)), &mut completions);
        for completion in completions.drain(..) {
            match completion {
                Completion::Received { id, result, buffer } => {
                    let bytes = result.unwrap();
                    let taken = receiver.received(bytes, buffer);
                    match taken {
                        Ok(()) => driver.receive(id, receiver.link.next_receive()),
                        Err(LinkError::Ended) => driver.close(id),
                        Err(error) => panic!("{error}"),
                    }
                }
                Completion::Sent { id, result, buffer } => {
                    result.unwrap();
                    sender.link.sent(buffer, &mut sender.flushed);
                    match sender.link.next_send() {
                        Some(next) => driver.send(id, next),
                        None => driver.close(id),
                    }
                }
                Completion::Closed { id } => open.retain(|other| *other != id),
                Completion::Watched { .. } | Completion::Unwatched { .. } => {
                    panic!("nothing is watched")
                }
            }
        }
    }
}

fn payloads_cross_a_connection(kind: DriverKind) {
    let mut sender = Sender::new(LinkLimits::default());
    let list = Payload {
        list: true,
        streamed: true,
        parts: (0..300_usize)
            .map(|place| pattern(place * 97 % 20_000, place as u8))
            .collect(),
    };
    let sent = [
        Payload::bytes(3 * CHUNK_BYTES_MAX + 12_345, 1),
        list,
        Payload::bytes(70_001, 2),
    ];
    for (number, payload) in sent.iter().enumerate() {
        let body = sender.stream(payload, number as u64);
        sender
            .link
            .queue(&event(
                number as u128,
                vec![(0, body), (1, payload.parts_inline())],
            ))
            .unwrap();
    }
    let mut receiver = Receiver::peer();
    carry(kind, &mut sender, &mut receiver);
    sender.flushed.sort_unstable();
    assert_eq!(sender.flushed, [0, 1, 2]);
    assert_eq!(receiver.out.len(), sent.len());
    for message in &receiver.out {
        let Inbound::StateEvent {
            invocation,
            outputs,
            ..
        } = message
        else {
            panic!("{message:?}")
        };
        let payload = &sent[*invocation as usize];
        assert!(
            receiver.content(&outputs[0].1) == payload.parts,
            "a payload changed on its way"
        );
        assert!(
            receiver.content(&outputs[1].1)[0] == payload.parts[0],
            "an inline payload changed on its way"
        );
    }
    receiver.settle();
}

impl Payload {
    /// The first part alone, inline.
    fn parts_inline(&self) -> Body {
        Body {
            items: None,
            section: None,
            schema: 0,
            data: Data::Inline(self.parts[0].clone()),
        }
    }
}

#[test]
fn payloads_cross_a_connection_by_io_uring() {
    match Driver::probe() {
        Ok(()) => payloads_cross_a_connection(DriverKind::IoUring),
        Err(error) => println!("skipped: io_uring is not to be had here: {error}"),
    }
}

#[test]
fn payloads_cross_a_connection_by_epoll() {
    payloads_cross_a_connection(DriverKind::Epoll);
}
