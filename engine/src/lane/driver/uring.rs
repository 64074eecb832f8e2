//! The driver on io_uring.
//!
//! It owns the ring of one thread and whatever the kernel reads or writes for it. It promises that a buffer stays
//! where it is, untouched, from the moment its entry is queued until the entry's completion: the table of connections
//! keeps it, and neither closing nor dropping frees it sooner. Task work is deferred to this thread's own calls, and
//! the kernel raises a flag when some waits, so a turn that finds nothing to do costs three loads and no system call.
//! Sends are handed over ahead of all else that was begun, and at once; the rest waits for the next call that enters the
//! kernel anyway, for a turn at most: someone waits for what is sent, and no one for the next receive.
//!
//! All unsafe code is here and in `connection`: handing addresses to the kernel, and writing its structures. It rests on
//! one invariant, the **hold**: an operation that is in `Connection::receive` or `Connection::send` is removed in
//! [`Uring::finish`] alone, on the completion of the one entry that names its memory, and a connection with an operation
//! is not removed.
#![allow(
    unsafe_code,
    reason = "the kernel is handed addresses; DESIGN names this file"
)]

mod connection;

use super::buffer::{ReceiveBuffer, SendBuffer};
use super::slab::{Key, Slab};
use super::{Completion, ConnectionId, Watch, no_such_range, not_connected};
use connection::{Connection, Sending};
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
use std::time::Duration;

/// Entries that are handed to the kernel at once; more wait in the backlog.
const ENTRIES: u32 = 256;
/// Times in a row that a watch which ended with an error is begun anew. A lack of memory passes; what goes on is no lack.
const WATCH_FAILURES_MAX: u32 = 8;
/// Completions that fit before the kernel keeps them itself (`IORING_FEAT_NODROP`), at a higher price.
const COMPLETIONS: u32 = 4096;
// What an entry was, in the low bits of its user data.
const RECEIVE: u8 = 0;
const SEND: u8 = 1;
const WATCH: u8 = 2;
const CANCEL: u8 = 3;
const CONSUME: u8 = 4;

pub(super) struct Uring {
    // Dropped by hand, after the kernel let go of all memory: see `Drop`.
    ring: IoUring,
    connections: Slab<Connection>,
    watches: Slab<Watched>,
    tokens: FxHashMap<u64, Key>,
    /// Sends to be handed to the kernel.
    sends: VecDeque<Entry>,
    /// All else that is to be handed to it, behind them.
    backlog: VecDeque<Entry>,
    /// Whether a poll has left some of that to a later call.
    backlog_left: bool,
    /// Whether the kernel can keep completions to itself that say no more than that all went well.
    skips_successes: bool,
    ready: Vec<Completion>,
    enters: u64,
    turn: u64,
    // With SINGLE_ISSUER only the thread that made the ring may enter it.
    stays_on_its_thread: PhantomData<*const ()>,
}

struct Watched {
    descriptor: OwnedFd,
    token: u64,
    watch: Watch,
    reported_turn: u64,
    abandoned: bool,
    /// Errors since the kernel has last reported anything else.
    failures: u32,
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
        let skips_successes = parameters.is_feature_skip_cqe_on_success();
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
            sends: VecDeque::new(),
            backlog: VecDeque::new(),
            backlog_left: false,
            skips_successes,
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
        let connection = Connection::new(socket, self.skips_successes);
        Ok(self.connections.insert(connection))
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

    pub(super) fn receive(&mut self, key: Key, buffer: ReceiveBuffer) {
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
        if let Err(buffer) = connection.begin_receive(key, buffer, &mut self.backlog) {
            self.ready.push(Completion::Received {
                id,
                result: Err(no_such_range()),
                buffer,
            });
        }
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
        self.sends.extend(entry);
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
            failures: 0,
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
        if waits || !self.sends.is_empty() || self.backlog_left {
            accepted(self.enter(None));
        } else {
            self.backlog_left = !self.backlog.is_empty();
        }
        self.reap();
        out.append(&mut self.ready);
    }

    pub(super) fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) {
        self.reap();
        if self.ready.is_empty() {
            accepted(self.enter(Some(timeout)));
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
    fn enter(&mut self, sleep: Option<Option<Duration>>) -> io::Result<()> {
        self.backlog_left = false;
        loop {
            self.fill_queue();
            let last = self.sends.is_empty() && self.backlog.is_empty();
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
            match result {
                Ok(_) if last => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    return if is_passing(&error) {
                        Ok(())
                    } else {
                        Err(error)
                    };
                }
            }
        }
    }

    fn fill_queue(&mut self) {
        let mut queue = self.ring.submission();
        while !queue.is_full() {
            let next = self.sends.pop_front().or_else(|| self.backlog.pop_front());
            let Some(entry) = next else {
                return;
            };
            // SAFETY: the entry's memory is held (see the head of this file) until its completion: entries are made
            // by `Connection::begin_receive` and `Connection::send_entry` from what is in the table, or name none.
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
            // Of a cancellation only what it cancelled counts, and what hinders consuming hinders the next receive.
            _ => debug_assert!(matches!(kind, CANCEL | CONSUME)),
        }
    }

    fn finish_receive(&mut self, key: Key, result: i32) {
        let result = bytes_or_error(result);
        let Some(buffer) = self
            .connections
            .get_mut(key)
            .and_then(|connection| connection.end_receive(&result))
        else {
            return debug_assert!(false, "a completion of no receive");
        };
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
            self.sends.extend(entry);
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
        if watched.abandoned {
            if !more {
                self.watches.remove(key);
            }
            return;
        }
        let (token, failed) = (watched.token, result < 0);
        watched.failures = if failed { watched.failures + 1 } else { 0 };
        if watched.failures > WATCH_FAILURES_MAX {
            let error = io::Error::from_raw_os_error(-result);
            self.ready.push(Completion::Unwatched { token, error });
            self.tokens.remove(&token);
            self.watches.remove(key);
            return;
        }
        // An error says nothing of a process; what rang before it may have gone with it, so a doorbell is reported.
        let exit = watched.watch == Watch::Exit;
        if !(failed && exit) && watched.reported_turn != self.turn {
            watched.reported_turn = self.turn;
            self.ready.push(Completion::Watched { token });
        }
        if exit && !failed {
            self.tokens.remove(&token);
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
            connection.consume_now();
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
            if self.enter(Some(Some(Duration::from_millis(100)))).is_err() {
                // The kernel will not say when it lets go, so what it holds is never freed.
                std::mem::forget(std::mem::replace(&mut self.connections, Slab::new()));
            }
            self.reap();
            self.ready.clear();
        }
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

/// Whether a later turn may do what this one could not: the queue of completions is full until this turn has taken some
/// out, the kernel is short of memory, the time is up, or a signal came.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBUSY | libc::EAGAIN | libc::ETIME | libc::EINTR)
    )
}

fn accepted(entered: io::Result<()>) {
    if let Err(error) = entered {
        panic!("io_uring_enter refused a ring that it had accepted: {error}");
    }
}

fn bytes_or_error(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

#[cfg(test)]
mod tests;
