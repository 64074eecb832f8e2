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

/// The two connections of a link between its ends, in one driver.
struct Carrier {
    driver: Driver,
    /// By stream: the sender's end and the receiver's.
    ids: [[ConnectionId; 2]; 2],
    receiving: [[bool; 2]; 2],
    sending: [[bool; 2]; 2],
    open: Vec<ConnectionId>,
}

const STREAMS: [Stream; 2] = [Stream::Messages, Stream::Bulk];

impl Carrier {
    fn new(kind: DriverKind) -> Self {
        let mut driver = Driver::new(kind).unwrap();
        let ids = STREAMS.map(|_| {
            let (out, input) = pair();
            [
                driver.add(out.into()).unwrap(),
                driver.add(input.into()).unwrap(),
            ]
        });
        Self {
            driver,
            ids,
            receiving: [[false; 2]; 2],
            sending: [[false; 2]; 2],
            open: ids.concat(),
        }
    }

    /// Begins whatever may begin at one end. False if there is nothing to send, nor being sent.
    fn begin(&mut self, end: usize, link: &mut Link) -> bool {
        let mut sends = false;
        for (place, stream) in STREAMS.into_iter().enumerate() {
            let id = self.ids[place][end];
            if !self.receiving[place][end] && link.may_receive(stream) {
                self.receiving[place][end] = true;
                self.driver.receive(id, link.next_receive(stream));
            }
            if !self.sending[place][end]
                && let Some(buffer) = link.next_send(stream)
            {
                self.sending[place][end] = true;
                self.driver.send(id, buffer);
            }
            sends |= self.sending[place][end];
        }
        sends
    }

    fn place(&self, id: ConnectionId) -> (usize, usize) {
        let mut places = (0..4).map(|place| (place / 2, place % 2));
        places
            .find(|(stream, end)| self.ids[*stream][*end] == id)
            .unwrap()
    }
}

/// Carries all that `sender` has until `receiver` has handed on so many messages, and closes.
fn carry(kind: DriverKind, sender: &mut Sender, receiver: &mut Receiver, messages: usize) {
    let mut carrier = Carrier::new(kind);
    let mut back = Receiver::peer();
    let mut completions = Vec::new();
    let start = Instant::now();
    let mut closing = false;
    while !carrier.open.is_empty() {
        assert!(start.elapsed() < DEADLINE, "it hangs");
        if !closing {
            let sends = carrier.begin(0, &mut sender.link) | carrier.begin(1, &mut receiver.link);
            if !sends && receiver.out.len() == messages {
                closing = true;
                let ids = carrier.ids.concat();
                ids.into_iter().for_each(|id| carrier.driver.close(id));
            }
        }
        let wait = Some(Duration::from_millis(100));
        carrier.driver.wait(wait, &mut completions);
        for completion in completions.drain(..) {
            match completion {
                Completion::Received { id, result, buffer } => {
                    let (place, end) = carrier.place(id);
                    carrier.receiving[place][end] = false;
                    if closing {
                        continue;
                    }
                    let bytes = result.unwrap();
                    let stream = STREAMS[place];
                    if end == 1 {
                        receiver.received_on(stream, bytes, buffer).unwrap();
                        continue;
                    }
                    std::mem::swap(&mut back.link, &mut sender.link);
                    back.received_on(stream, bytes, buffer).unwrap();
                    std::mem::swap(&mut back.link, &mut sender.link);
                }
                Completion::Sent { id, result, buffer } => {
                    result.unwrap();
                    let (place, end) = carrier.place(id);
                    carrier.sending[place][end] = false;
                    let link = if end == 0 {
                        &mut sender.link
                    } else {
                        &mut receiver.link
                    };
                    link.sent(STREAMS[place], buffer, &mut sender.flushed);
                }
                Completion::Closed { id } => carrier.open.retain(|other| *other != id),
                Completion::Watched { .. } | Completion::Unwatched { .. } => {
                    panic!("nothing is watched")
                }
            }
        }
    }
}

fn payloads_cross_a_connection(kind: DriverKind) {
    let mut sender = Sender::to(LinkRole::PeerOut, LinkLimits::default());
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
    carry(kind, &mut sender, &mut receiver, sent.len());
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
