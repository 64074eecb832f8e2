//! The driver on io_uring.
//!
//! It owns the ring of one thread and whatever the kernel reads or writes for it. It promises that a buffer stays
//! where it is, untouched, from the moment its entry is queued until the entry's completion: the table of connections
//! keeps it, and neither closing nor dropping frees it sooner. Task work is deferred to this thread's own calls, and
//! the kernel raises a flag when some waits, so a turn that finds nothing to do costs three loads and no system call.
//!
//! All unsafe code is here: handing addresses to the kernel, and writing its structures. It rests on one invariant,
//! the **hold**: an operation that is in `Connection::receive` or `Connection::send` is removed in [`Uring::finish`]
//! alone, on the completion of the one entry that names its memory, and a connection with an operation is not removed.
#![allow(
    unsafe_code,
    reason = "the kernel is handed addresses; DESIGN names this file"
)]

use super::buffer::{ReceiveBuffer, SendBuffer};
use super::slab::{Key, Slab};
use super::{Completion, ConnectionId, Watch, no_such_range, not_connected};
use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{Shutdown, shutdown};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

/// Entries that are handed to the kernel at once; more wait in the backlog.
const ENTRIES: u32 = 256;
/// Completions that fit before the kernel keeps them itself (`IORING_FEAT_NODROP`), at a higher price.
const COMPLETIONS: u32 = 4096;
/// Ranges that one sendmsg names; what is left is sent by the next.
const RANGES_MAX: usize = 64;
/// Bytes that one entry moves: below 2^31, where results would turn negative.
const OPERATION_BYTES_MAX: u64 = 1 << 30;

// What an entry was, in the low bits of its user data.
const RECEIVE: u8 = 0;
const SEND: u8 = 1;
const WATCH: u8 = 2;
const CANCEL: u8 = 3;

pub(super) struct Uring {
    // Dropped by hand, after the kernel let go of all memory: see `Drop`.
    ring: IoUring,
    connections: Slab<Connection>,
    watches: Slab<Watched>,
    tokens: FxHashMap<u64, Key>,
    backlog: VecDeque<Entry>,
    ready: Vec<Completion>,
    enters: u64,
    turn: u64,
    // With SINGLE_ISSUER only the thread that made the ring may enter it.
    stays_on_its_thread: PhantomData<*const ()>,
}

struct Connection {
    socket: OwnedFd,
    receive: Option<ReceiveBuffer>,
    send: Option<Sending>,
    message: Option<Box<Message>>,
    closing: bool,
}

struct Sending {
    buffer: SendBuffer,
    sent: u64,
}

/// What a sendmsg entry points to. It is boxed, so it stays where it is when the table of connections grows.
struct Message {
    header: libc::msghdr,
    ranges: [libc::iovec; RANGES_MAX],
}

struct Watched {
    descriptor: OwnedFd,
    token: u64,
    watch: Watch,
    reported_turn: u64,
    abandoned: bool,
}

impl Uring {
    pub(super) fn new() -> io::Result<Self> {
        let ring = build_ring()?;
        let parameters = ring.params();
        if !(parameters.is_feature_ext_arg()
            && parameters.is_feature_nodrop()
            && parameters.is_feature_submit_stable())
        {
            let reason = "this kernel's io_uring is too old (5.13 or later is needed)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let mut probe = io_uring::register::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [
            opcode::Recv::CODE,
            opcode::Send::CODE,
            opcode::SendMsg::CODE,
            opcode::PollAdd::CODE,
            opcode::AsyncCancel::CODE,
        ];
        if !needed.iter().all(|&code| probe.is_supported(code)) {
            let reason = "this kernel's io_uring lacks an operation that lanes need";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        Ok(Self {
            ring,
            connections: Slab::new(),
            watches: Slab::new(),
            tokens: FxHashMap::default(),
            backlog: VecDeque::new(),
            ready: Vec::new(),
            enters: 0,
            turn: 1,
            stays_on_its_thread: PhantomData,
        })
    }

    pub(super) fn add(&mut self, socket: OwnedFd) -> io::Result<Key> {
        // io_uring answers EAGAIN at once on a descriptor that is set not to block, instead of waiting for it.
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL)?);
        if flags.contains(OFlag::O_NONBLOCK) {
            fcntl(&socket, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
        }
        Ok(self.connections.insert(Connection {
            socket,
            receive: None,
            send: None,
            message: None,
            closing: false,
        }))
    }

    pub(super) fn close(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.closing {
            return;
        }
        connection.closing = true;
        // Wakes what is outstanding; fails only if the peer has already gone, and then nothing is left to wake.
        let _ = shutdown(connection.socket.as_raw_fd(), Shutdown::Both);
        self.remove_if_idle(key);
    }

    pub(super) fn receive(&mut self, key: Key, mut buffer: ReceiveBuffer) {
        let id = ConnectionId(key);
        let Some(connection) = self
            .connections
            .get_mut(key)
            .filter(|connection| !connection.closing)
        else {
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
        let Some((start, length, flags)) = receive_target(&mut buffer) else {
            return self.ready.push(Completion::Received {
                id,
                result: Err(no_such_range()),
                buffer,
            });
        };
        connection.receive = Some(buffer);
        let entry = opcode::Recv::new(Fd(connection.socket.as_raw_fd()), start.as_ptr(), length)
            .flags(flags)
            .build()
            .user_data(key.pack(RECEIVE));
        self.backlog.push_back(entry);
    }

    pub(super) fn send(&mut self, key: Key, buffer: SendBuffer) {
        let id = ConnectionId(key);
        let Some(connection) = self
            .connections
            .get_mut(key)
            .filter(|connection| !connection.closing)
        else {
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
        let entry = connection.send_entry(key);
        self.backlog.extend(entry);
    }

    pub(super) fn watch(
        &mut self,
        descriptor: OwnedFd,
        token: u64,
        watch: Watch,
    ) -> io::Result<()> {
        let raw = descriptor.as_raw_fd();
        let key = self.watches.insert(Watched {
            descriptor,
            token,
            watch,
            reported_turn: 0,
            abandoned: false,
        });
        let earlier = self.tokens.insert(token, key);
        assert!(earlier.is_none(), "a token stands for one watch");
        self.backlog.push_back(watch_entry(raw, watch, key));
        Ok(())
    }

    pub(super) fn unwatch(&mut self, token: u64) {
        let Some(key) = self.tokens.remove(&token) else {
            return;
        };
        if let Some(watched) = self.watches.get_mut(key) {
            watched.abandoned = true;
            self.backlog.push_back(
                opcode::AsyncCancel::new(key.pack(WATCH))
                    .build()
                    .user_data(key.pack(CANCEL)),
            );
        }
        self.ready.retain(
            |completion| !matches!(completion, Completion::Watched { token: t } if *t == token),
        );
    }

    #[inline]
    pub(super) fn poll(&mut self, out: &mut Vec<Completion>) {
        let waits = {
            let queue = self.ring.submission();
            !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
        };
        if waits || !self.backlog.is_empty() {
            self.enter(None);
        }
        self.reap();
        out.append(&mut self.ready);
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) {
        self.reap();
        if self.ready.is_empty() {
            self.enter(Some(timeout));
            self.reap();
            out.append(&mut self.ready);
        } else {
            self.poll(out);
        }
    }

    pub(super) const fn enters(&self) -> u64 {
        self.enters
    }

    /// Hands the backlog to the kernel, and lets it do deferred work; sleeps for a completion if `sleep` says so,
    /// within its timeout if it has one.
    fn enter(&mut self, sleep: Option<Option<Duration>>) {
        loop {
            self.fill_queue();
            let last = self.backlog.is_empty();
            let result = match sleep {
                Some(Some(timeout)) if last => {
                    let timeout = Timespec::from(timeout);
                    self.ring
                        .submitter()
                        .submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
                }
                Some(None) if last => self.ring.submitter().submit_and_wait(1),
                _ => self.ring.submitter().submit(),
            };
            self.enters += 1;
            match result.map_err(|error| error.raw_os_error()) {
                Ok(_) if last => return,
                Ok(_) => {}
                // The queue of completions is full: what waits is submitted once this turn has taken some out.
                // The kernel is short of memory, the time is up, or a signal came: the next turn tries again.
                Err(Some(libc::EBUSY | libc::EAGAIN | libc::ETIME | libc::EINTR)) => return,
                Err(error) => {
                    panic!("io_uring_enter refused a ring that it had accepted: errno {error:?}")
                }
            }
        }
    }

    fn fill_queue(&mut self) {
        let mut queue = self.ring.submission();
        while !queue.is_full() {
            let Some(entry) = self.backlog.pop_front() else {
                return;
            };
            // SAFETY: the entry's memory is held (see the head of this file) until its completion: entries are made
            // by `receive` and `Connection::send_entry` from what they have just put into the table, or name none.
            let pushed = unsafe { queue.push(&entry) };
            debug_assert!(pushed.is_ok(), "the queue was not full");
        }
    }

    /// Takes the kernel's completions over into `ready`.
    fn reap(&mut self) {
        self.turn += 1;
        loop {
            // One at a time: finishing needs the rest of the driver.
            let Some(entry) = self.ring.completion().next() else {
                return;
            };
            self.finish(&entry);
        }
    }

    fn finish(&mut self, entry: &cqueue::Entry) {
        let (key, kind) = Key::unpack(entry.user_data());
        match kind {
            RECEIVE => self.finish_receive(key, entry.result()),
            SEND => self.finish_send(key, entry.result()),
            WATCH => self.finish_watch(key, entry.result(), cqueue::more(entry.flags())),
            // Of a cancellation only what it cancelled counts.
            _ => debug_assert_eq!(kind, CANCEL),
        }
    }

    fn finish_receive(&mut self, key: Key, result: i32) {
        let Some(buffer) = self
            .connections
            .get_mut(key)
            .and_then(|connection| connection.receive.take())
        else {
            return debug_assert!(false, "a completion of no receive");
        };
        let result = bytes_or_error(result);
        self.ready.push(Completion::Received {
            id: ConnectionId(key),
            result,
            buffer,
        });
        self.remove_if_idle(key);
    }

    fn finish_send(&mut self, key: Key, result: i32) {
        let Some(connection) = self.connections.get_mut(key) else {
            return debug_assert!(false, "a completion of a send of no connection");
        };
        let Some(mut sending) = connection.send.take() else {
            return debug_assert!(false, "a completion of no send");
        };
        let result = bytes_or_error(result).and_then(|bytes| {
            sending.sent += bytes as u64;
            if bytes == 0 {
                Err(io::ErrorKind::WriteZero.into())
            } else {
                Ok(())
            }
        });
        if result.is_ok() && sending.sent < sending.buffer.length() && !connection.closing {
            connection.send = Some(sending);
            let entry = connection.send_entry(key);
            self.backlog.extend(entry);
            return;
        }
        let result = match result {
            Ok(()) if sending.sent < sending.buffer.length() => Err(not_connected()),
            result => result,
        };
        self.ready.push(Completion::Sent {
            id: ConnectionId(key),
            result,
            buffer: sending.buffer,
        });
        self.remove_if_idle(key);
    }

    fn finish_watch(&mut self, key: Key, result: i32, more: bool) {
        let Some(watched) = self.watches.get_mut(key) else {
            return debug_assert!(false, "a completion of no watch");
        };
        let token = watched.token;
        let ended = !more && (watched.abandoned || watched.watch == Watch::Exit || result < 0);
        if !watched.abandoned && watched.reported_turn != self.turn {
            watched.reported_turn = self.turn;
            self.ready.push(Completion::Watched { token });
        }
        if ended {
            if !watched.abandoned {
                self.tokens.remove(&token);
            }
            self.watches.remove(key);
        } else if !more {
            // The kernel ends a multishot poll when it runs out of room. Polling anew reports what rang meanwhile.
            self.backlog.push_back(watch_entry(
                watched.descriptor.as_raw_fd(),
                watched.watch,
                key,
            ));
        }
    }

    /// Ends a closing connection that the kernel holds nothing of.
    fn remove_if_idle(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.closing && connection.receive.is_none() && connection.send.is_none() {
            self.connections.remove(key);
            self.ready.push(Completion::Closed {
                id: ConnectionId(key),
            });
        }
    }
}

impl Drop for Uring {
    /// Waits until the kernel has let go of all memory. Every operation ends, since its socket is shut down.
    fn drop(&mut self) {
        for key in self.connections.keys() {
            self.close(key);
        }
        while self.connections.len() > 0 {
            // A bound that only makes up for a wake-up that the kernel would owe us.
            self.enter(Some(Some(Duration::from_millis(100))));
            self.reap();
            self.ready.clear();
        }
    }
}

impl Connection {
    /// An entry that sends what is left to send: the next ranges of it.
    fn send_entry(&mut self, key: Key) -> Option<Entry> {
        let sending = self.send.as_ref()?;
        let socket = Fd(self.socket.as_raw_fd());
        // The kernel goes on by itself after a short write, as long as it can.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        if sending.buffer.is_plain() {
            let bytes = sending.buffer.spans(sending.sent).next()?;
            let length = (bytes.len() as u64).min(OPERATION_BYTES_MAX) as u32;
            let entry = opcode::Send::new(socket, bytes.as_ptr(), length).flags(flags);
            return Some(entry.build().user_data(key.pack(SEND)));
        }
        let message = self.message.get_or_insert_with(Message::new);
        let mut count = 0;
        let mut room = OPERATION_BYTES_MAX;
        for (range, span) in message
            .ranges
            .iter_mut()
            .zip(sending.buffer.spans(sending.sent))
        {
            let length = (span.len() as u64).min(room);
            if length == 0 {
                break;
            }
            room -= length;
            // The kernel only reads what a sendmsg names.
            *range = libc::iovec {
                iov_base: span.as_ptr().cast_mut().cast(),
                iov_len: length as usize,
            };
            count += 1;
        }
        message.header.msg_iov = message.ranges.as_mut_ptr();
        message.header.msg_iovlen = count as _;
        let entry = opcode::SendMsg::new(socket, &raw const message.header).flags(flags as u32);
        Some(entry.build().user_data(key.pack(SEND)))
    }
}

impl Message {
    fn new() -> Box<Self> {
        // SAFETY: msghdr is a structure of C for which all zeroes is a value: no name, no ranges, no control data.
        let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Box::new(Self {
            header,
            ranges: [empty; RANGES_MAX],
        })
    }
}

/// A ring whose task work runs in this thread's own calls: on kernels before 6.1 whenever it enters the kernel, before
/// 5.19 also by interrupting it.
fn build_ring() -> io::Result<IoUring> {
    let mut deferred = IoUring::builder();
    deferred
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    let mut cooperative = IoUring::builder();
    cooperative.setup_coop_taskrun().setup_taskrun_flag();
    let mut plain = IoUring::builder();
    let refused = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    let mut result = deferred.setup_cqsize(COMPLETIONS).build(ENTRIES);
    for builder in [&mut cooperative, &mut plain] {
        result = match result {
            Err(error) if refused(&error) => builder.setup_cqsize(COMPLETIONS).build(ENTRIES),
            result => return result,
        };
    }
    result
}

fn watch_entry(raw: std::os::fd::RawFd, watch: Watch, key: Key) -> Entry {
    opcode::PollAdd::new(Fd(raw), libc::POLLIN as u32)
        .multi(watch == Watch::Doorbell)
        .build()
        .user_data(key.pack(WATCH))
}

/// Where a receive begins, its bytes and its flags; nothing if its range is empty or leaves its buffer.
fn receive_target(buffer: &mut ReceiveBuffer) -> Option<(NonNull<u8>, u32, i32)> {
    match buffer {
        ReceiveBuffer::Owned(buffer, range) => {
            let part = buffer
                .as_mut_slice()
                .get_mut(range.clone())
                .filter(|part| !part.is_empty())?;
            let length = (part.len() as u64).min(OPERATION_BYTES_MAX) as u32;
            Some((NonNull::from(part).cast(), length, 0))
        }
        ReceiveBuffer::Segment {
            segment,
            offset,
            length,
        } if *length > 0 => {
            let start = segment.pointer(*offset, *length)?;
            Some((
                start,
                (*length).min(OPERATION_BYTES_MAX) as u32,
                libc::MSG_WAITALL,
            ))
        }
        ReceiveBuffer::Segment { .. } => None,
    }
}

fn bytes_or_error(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
