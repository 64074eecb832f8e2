//! A worker that does what a test tells it: it greets as a worker does, and then speaks frame by frame.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use engine::greeting::{self, ClusterKey};
use engine::wire::{
    self, Answer, Body, CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, Challenge, ChunkHead, Data, FrameKind,
    HEADER_BYTES, Header, Hello, Invoke, Refused, Role, padding,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

/// A worker that serves connections one after the other, each with `serve`, until it is dropped.
pub(crate) struct FakeWorker {
    pub address: String,
    thread: Option<JoinHandle<()>>,
}

impl FakeWorker {
    /// Takes `connections` connections.
    pub(crate) fn start(
        name: &str,
        key: ClusterKey,
        connections: usize,
        mut serve: impl FnMut(Peer) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            for _ in 0..connections {
                let (socket, _) = listener.accept().unwrap();
                let mut peer = Peer {
                    socket,
                    role: Role::Client,
                };
                if peer.greet(&name, &key) {
                    serve(peer);
                }
            }
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    /// Waits for the end of the last connection, and passes on what failed there.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The other end of a connection.
pub(crate) struct Peer {
    pub socket: TcpStream,
    pub role: Role,
}

impl Peer {
    fn greet(&mut self, name: &str, key: &ClusterKey) -> bool {
        let challenge: Challenge = greeting::challenge(name).unwrap();
        self.send(&challenge);
        let Some((FrameKind::Hello, body)) = self.frame() else {
            return false;
        };
        let hello: Hello = wire::decode(&body).unwrap();
        match greeting::admit(key, &challenge, &hello, 3, None) {
            Ok(welcome) => {
                self.role = hello.role;
                self.send(&welcome);
                true
            }
            Err(error) => {
                self.send(&Refused {
                    reason: error.to_string(),
                });
                false
            }
        }
    }

    /// The next frame, or `None` once the other side has closed.
    pub(crate) fn frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        let mut bytes = [0; HEADER_BYTES];
        match self.socket.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            Err(error) => panic!("{error}"),
        }
        let header = Header::parse(&bytes, wire::BODY_BYTES_MAX).unwrap();
        let mut body = vec![0; header.padded_length()];
        self.socket.read_exact(&mut body).unwrap();
        assert!(
            body[header.length..].iter().all(|byte| *byte == 0),
            "padding is zero"
        );
        body.truncate(header.length);
        header.verify_body(&body).unwrap();
        Some((header.kind, body))
    }

    pub(crate) fn invoke(&mut self) -> Invoke {
        let (kind, body) = self.frame().unwrap();
        assert_eq!(kind, FrameKind::Invoke);
        let mut invoke: Invoke = wire::decode(&body).unwrap();
        for (_, input) in &mut invoke.inputs {
            if let Data::Streamed { transfer, bytes } = input.data {
                input.data = Data::Inline(self.transfer(transfer, bytes));
            }
        }
        invoke
    }

    fn transfer(&mut self, transfer: u64, bytes: u64) -> Vec<u8> {
        let mut arrived = Vec::new();
        while (arrived.len() as u64) < bytes {
            let (kind, body) = self.frame().unwrap();
            assert_eq!(kind, FrameKind::Chunk);
            let (head, raw) = body.split_first_chunk::<CHUNK_HEAD_BYTES>().unwrap();
            let head = ChunkHead::from_bytes(head);
            assert_eq!(
                (head.transfer, head.offset),
                (transfer, arrived.len() as u64)
            );
            arrived.extend_from_slice(raw);
        }
        arrived
    }

    pub(crate) fn send<T>(&mut self, body: &T)
    where
        T: wire::Frame
            + for<'a> rkyv::Serialize<
                rkyv::api::high::HighSerializer<
                    rkyv::util::AlignedVec,
                    rkyv::ser::allocator::ArenaHandle<'a>,
                    rkyv::rancor::Error,
                >,
            >,
    {
        let mut frame = Vec::new();
        wire::encode(body, &mut frame);
        self.raw(&frame);
    }

    /// A peer that has gone away is no failure of the test.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    pub(crate) fn chunk(&mut self, transfer: u64, offset: u64, raw: &[u8]) {
        self.raw(&ChunkHead { transfer, offset }.frame_start(raw));
        self.raw(raw);
        self.raw(&[0; 16][..padding(CHUNK_HEAD_BYTES + raw.len())]);
    }

    pub(crate) fn stream(&mut self, transfer: u64, bytes: &[u8]) {
        for (index, raw) in bytes.chunks(CHUNK_BYTES_MAX).enumerate() {
            self.chunk(transfer, (index * CHUNK_BYTES_MAX) as u64, raw);
        }
    }

    /// Waits until the other side closes.
    pub(crate) fn until_closed(&mut self) {
        while self.frame().is_some() {}
    }
}

/// An answer with these outputs.
pub(crate) fn answer(request: u64, outputs: Vec<(String, Body)>) -> Answer {
    Answer {
        request,
        invocation: 42,
        latency_ns: 1234,
        result: Ok(outputs),
        report: Vec::new(),
        trace: Vec::new(),
    }
}

pub(crate) fn inline(name: &str, bytes: &[u8]) -> (String, Body) {
    (
        name.to_owned(),
        Body {
            items: None,
            section: None,
            schema: 0,
            data: Data::Inline(bytes.to_vec()),
        },
    )
}

pub(crate) fn streamed(name: &str, transfer: u64, bytes: u64) -> (String, Body) {
    (
        name.to_owned(),
        Body {
            items: None,
            section: None,
            schema: 0,
            data: Data::Streamed { transfer, bytes },
        },
    )
}
