//! The driver on epoll, for where io_uring is refused: the same behaviour, for more system calls.
//!
//! It owns an edge-triggered epoll set and what it knows of each socket's readiness. Operations are tried in
//! [`Epoll::poll`] and [`Epoll::wait`] alone, never when they are begun, so that completions come when they would with
//! io_uring. The kernel holds no memory between calls, so nothing here is unsafe; what is received into shared memory
//! goes through a private buffer, since only the arena's owner may have a mutable slice of it.

use super::buffer::{ReceiveBuffer, SendBuffer};
use super::slab::{Key, Slab};
use super::{
    Completion, ConnectionId, EPOLL_BUSY_TURNS_MAX, EPOLL_POLLS_BESIDE_RINGS,
    EPOLL_POLLS_BESIDE_RINGS_MAX, EPOLL_POLLS_PER_LOOK, Rings, Watch, no_such_range, not_connected,
};
use nix::errno::Errno;
use nix::sys::epoll::{EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, Shutdown, recv, sendmsg, shutdown};
use rustc_hash::FxHashMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Events taken by one look; more come with the next.
const EVENTS: usize = 256;
/// Ranges that one sendmsg names; what is left is sent by the next.
const RANGES_MAX: usize = 64;
/// Bytes of the private buffer between a socket and shared memory: what a socket gives at once, mostly.
const SCRATCH_BYTES: usize = 256 << 10;

const CONNECTION: u8 = 0;
const WATCH: u8 = 1;

pub(super) struct Epoll {
    epoll: nix::sys::epoll::Epoll,
    connections: Slab<Connection>,
    watches: Slab<Watched>,
    tokens: FxHashMap<u64, Key>,
    attempts: Vec<Key>,
    ready: Vec<Completion>,
    events: Box<[EpollEvent; EVENTS]>,
    scratch: Box<[u8]>,
    /// Polls until the next look.
    polls_left: u32,
    /// Polls from a look in vain to the next.
    polls_per_look: u32,
    /// Turns with busy rings since the last look.
    busy_turns: u32,
    enters: u64,
}

struct Connection {
    socket: OwnedFd,
    // False from the moment a call would have blocked until epoll reports the edge.
    readable: bool,
    writable: bool,
    receive: Option<Receiving>,
    send: Option<Sending>,
}

struct Receiving {
    buffer: ReceiveBuffer,
    received: u64,
}

struct Sending {
    buffer: SendBuffer,
    sent: u64,
}

struct Watched {
    descriptor: OwnedFd,
    token: u64,
    watch: Watch,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: nix::sys::epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            connections: Slab::new(),
            watches: Slab::new(),
            tokens: FxHashMap::default(),
            attempts: Vec::new(),
            ready: Vec::new(),
            events: Box::new([EpollEvent::empty(); EVENTS]),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            polls_left: EPOLL_POLLS_PER_LOOK,
            polls_per_look: EPOLL_POLLS_PER_LOOK,
            busy_turns: 0,
            enters: 0,
        })
    }

    pub(super) fn add(&mut self, socket: OwnedFd) -> io::Result<Key> {
        let connection = Connection {
            socket,
            readable: true,
            writable: true,
            receive: None,
            send: None,
        };
        let key = self.connections.insert(connection);
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        let event = EpollEvent::new(flags, key.pack(CONNECTION));
        let added = self
            .connections
            .get_mut(key)
            .map(|connection| self.epoll.add(&connection.socket, event));
        if let Some(Err(error)) = added {
            self.connections.remove(key);
            return Err(error.into());
        }
        Ok(key)
    }

    pub(super) fn close(&mut self, key: Key) {
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        let id = ConnectionId(key);
        // Fails only if the peer has already gone.
        let _ = shutdown(connection.socket.as_raw_fd(), Shutdown::Both);
        // Closing alone would leave it in the set if another process has the same socket open.
        let _ = self.epoll.delete(&connection.socket);
        if let Some(Receiving { buffer, .. }) = connection.receive {
            self.ready.push(Completion::Received {
                id,
                result: Err(not_connected()),
                buffer,
            });
        }
        if let Some(Sending { buffer, .. }) = connection.send {
            self.ready.push(Completion::Sent {
                id,
                result: Err(not_connected()),
                buffer,
            });
        }
        self.ready.push(Completion::Closed { id });
    }

    pub(super) fn receive(&mut self, key: Key, buffer: ReceiveBuffer) {
        let id = ConnectionId(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return self.ready.push(Completion::Received {
                id,
                result: Err(not_connected()),
                buffer,
            });
        };
        assert!(
            connection.receive.is_none(),
            "one receive at a time on a connection"
        );
        if !has_range(&buffer) {
            return self.ready.push(Completion::Received {
                id,
                result: Err(no_such_range()),
                buffer,
            });
        }
        connection.receive = Some(Receiving {
            buffer,
            received: 0,
        });
        if connection.readable {
            self.attempts.push(key);
        }
    }

    pub(super) fn send(&mut self, key: Key, buffer: SendBuffer) {
        let id = ConnectionId(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return self.ready.push(Completion::Sent {
                id,
                result: Err(not_connected()),
                buffer,
            });
        };
        assert!(
            connection.send.is_none(),
            "one send at a time on a connection"
        );
        if buffer.is_empty() {
            return self.ready.push(Completion::Sent {
                id,
                result: Ok(()),
                buffer,
            });
        }
        connection.send = Some(Sending { buffer, sent: 0 });
        if connection.writable {
            self.attempts.push(key);
        }
    }

    pub(super) fn watch(
        &mut self,
        descriptor: OwnedFd,
        token: u64,
        watch: Watch,
    ) -> io::Result<()> {
        assert!(
            !self.tokens.contains_key(&token),
            "a token stands for one watch"
        );
        let key = self.watches.insert(Watched {
            descriptor,
            token,
            watch,
        });
        // An edge comes with every write to an eventfd, whether or not anyone has read it since the last.
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, key.pack(WATCH));
        let added = self
            .watches
            .get_mut(key)
            .map(|watched| self.epoll.add(&watched.descriptor, event));
        if let Some(Err(error)) = added {
            self.watches.remove(key);
            return Err(error.into());
        }
        self.tokens.insert(token, key);
        Ok(())
    }

    pub(super) fn unwatch(&mut self, token: u64) {
        let Some(key) = self.tokens.remove(&token) else {
            return;
        };
        if let Some(watched) = self.watches.remove(key) {
            // Closing alone would leave it in the set: an executor has the same eventfd open.
            let _ = self.epoll.delete(&watched.descriptor);
        }
        self.ready.retain(
            |completion| !matches!(completion, Completion::Watched { token: t } if *t == token),
        );
    }

    #[inline]
    pub(super) fn poll(&mut self, out: &mut Vec<Completion>) {
        self.polls_left = self.polls_left.saturating_sub(1);
        if self.polls_left == 0 {
            self.look(EpollTimeout::ZERO);
        }
        if !self.attempts.is_empty() {
            self.attempt_all();
        }
        out.append(&mut self.ready);
    }

    #[inline]
    pub(super) fn rings_were_busy(&mut self, rings: Rings) {
        self.busy_turns += 1;
        self.polls_per_look = match rings {
            Rings::Silent => EPOLL_POLLS_PER_LOOK,
            Rings::Awaited => EPOLL_POLLS_BESIDE_RINGS,
        };
        self.polls_left = if self.busy_turns < EPOLL_BUSY_TURNS_MAX {
            self.polls_per_look
        } else {
            1
        };
    }

    /// How long until the next look, after one that has found so many events.
    fn after_a_look(&mut self, count: usize) {
        if self.polls_per_look > EPOLL_POLLS_PER_LOOK {
            self.polls_per_look = if count > 0 {
                EPOLL_POLLS_BESIDE_RINGS
            } else {
                (self.polls_per_look * 2).min(EPOLL_POLLS_BESIDE_RINGS_MAX)
            };
        }
        self.polls_left = self.polls_per_look;
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) {
        self.attempt_all();
        let timeout = match timeout {
            _ if !self.ready.is_empty() => EpollTimeout::ZERO,
            None => EpollTimeout::NONE,
            Some(timeout) => {
                // Rounded up, so that no one who waits for a moment wakes before it and finds nothing to do.
                let millis = timeout.as_nanos().div_ceil(1_000_000);
                EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX))
                    .unwrap_or(EpollTimeout::MAX)
            }
        };
        self.look(timeout);
        self.attempt_all();
        out.append(&mut self.ready);
    }

    pub(super) const fn enters(&self) -> u64 {
        self.enters
    }

    /// Takes events from the kernel, sleeping for the first of them up to `timeout`.
    fn look(&mut self, timeout: EpollTimeout) {
        self.busy_turns = 0;
        self.enters += 1;
        let count = match self.epoll.wait(&mut self.events[..], timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => panic!("epoll_wait refused a set that it had accepted: {error}"),
        };
        self.after_a_look(count);
        for place in 0..count {
            let event = self.events[place];
            let (key, kind) = Key::unpack(event.data());
            if kind == CONNECTION {
                self.note_readiness(key, event.events());
            } else {
                self.report_watch(key);
            }
        }
    }

    fn note_readiness(&mut self, key: Key, flags: EpollFlags) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let both = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        connection.readable |=
            flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | both);
        connection.writable |= flags.intersects(EpollFlags::EPOLLOUT | both);
        self.attempts.push(key);
    }

    fn report_watch(&mut self, key: Key) {
        let Some(watched) = self.watches.get_mut(key) else {
            return;
        };
        let token = watched.token;
        self.ready.push(Completion::Watched { token });
        if watched.watch == Watch::Exit
            && let Some(watched) = self.watches.remove(key)
        {
            self.tokens.remove(&token);
            let _ = self.epoll.delete(&watched.descriptor);
        }
    }

    fn attempt_all(&mut self) {
        let mut attempts = std::mem::take(&mut self.attempts);
        for key in attempts.drain(..) {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            let id = ConnectionId(key);
            if connection.readable
                && let Some(mut receiving) = connection.receive.take()
            {
                match receiving.attempt(&connection.socket, &mut self.scratch, &mut self.enters) {
                    Some(result) => {
                        self.ready.push(Completion::Received {
                            id,
                            result,
                            buffer: receiving.buffer,
                        });
                    }
                    None => {
                        connection.readable = false;
                        connection.receive = Some(receiving);
                    }
                }
            }
            if connection.writable
                && let Some(mut sending) = connection.send.take()
            {
                match sending.attempt(&connection.socket, &mut self.enters) {
                    Some(result) => self.ready.push(Completion::Sent {
                        id,
                        result,
                        buffer: sending.buffer,
                    }),
                    None => {
                        connection.writable = false;
                        connection.send = Some(sending);
                    }
                }
            }
        }
        self.attempts = attempts;
    }
}

impl Receiving {
    /// Receives what there is. Nothing: it would block.
    fn attempt(
        &mut self,
        socket: &OwnedFd,
        scratch: &mut [u8],
        calls: &mut u64,
    ) -> Option<io::Result<usize>> {
        loop {
            *calls += 1;
            let result = match &mut self.buffer {
                ReceiveBuffer::Owned(buffer, range) => recv(
                    socket.as_raw_fd(),
                    &mut buffer.as_mut_slice()[range.clone()],
                    MsgFlags::MSG_DONTWAIT,
                ),
                ReceiveBuffer::Segment {
                    segment,
                    offset,
                    length,
                } => {
                    let left = usize::try_from(*length - self.received)
                        .unwrap_or(usize::MAX)
                        .min(scratch.len());
                    recv(
                        socket.as_raw_fd(),
                        &mut scratch[..left],
                        MsgFlags::MSG_DONTWAIT,
                    )
                    .inspect(|&bytes| {
                        let written = segment.write(*offset + self.received, &scratch[..bytes]);
                        debug_assert!(written, "the range was checked when the receive began");
                    })
                }
            };
            match (result, &self.buffer) {
                (Err(Errno::EINTR), _) => {}
                (Err(Errno::EAGAIN), _) => return None,
                // What came before the end is reported first; the next receive meets the end again.
                (Ok(0) | Err(_), ReceiveBuffer::Segment { .. }) if self.received > 0 => {
                    return Some(Ok(self.received as usize));
                }
                (Err(error), _) => return Some(Err(error.into())),
                (Ok(bytes), ReceiveBuffer::Segment { length, .. }) if bytes > 0 => {
                    self.received += bytes as u64;
                    if self.received == *length {
                        return Some(Ok(self.received as usize));
                    }
                }
                (Ok(bytes), _) => return Some(Ok(bytes)),
            }
        }
    }
}

impl Sending {
    /// Sends what the socket takes. Nothing: it would block.
    fn attempt(&mut self, socket: &OwnedFd, calls: &mut u64) -> Option<io::Result<()>> {
        while self.sent < self.buffer.length() {
            let mut ranges = [IoSlice::new(&[]); RANGES_MAX];
            let mut count = 0;
            for (range, span) in ranges.iter_mut().zip(self.buffer.spans(self.sent)) {
                *range = IoSlice::new(span);
                count += 1;
            }
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            *calls += 1;
            match sendmsg::<()>(socket.as_raw_fd(), &ranges[..count], &[], flags, None) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return None,
                Err(error) => return Some(Err(error.into())),
                Ok(0) => return Some(Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => self.sent += bytes as u64,
            }
        }
        Some(Ok(()))
    }
}

fn has_range(buffer: &ReceiveBuffer) -> bool {
    match buffer {
        ReceiveBuffer::Owned(buffer, range) => buffer
            .get(range.clone())
            .is_some_and(|part| !part.is_empty()),
        ReceiveBuffer::Segment {
            segment,
            offset,
            length,
        } => {
            *length > 0
                && offset
                    .checked_add(*length)
                    .is_some_and(|end| end <= segment.length())
        }
    }
}
