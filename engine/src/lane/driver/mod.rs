//! A lane's sockets and doorbells: input and output by completion, for one thread.
//!
//! It owns the one interface that a lane drives its connections by, and its two implementations: io_uring, and epoll
//! where io_uring is not to be had. Both behave alike (`conformance` runs the same tests on both); the second costs
//! more system calls. It promises:
//!
//! - Each receive and each send gets exactly one completion, which hands its buffer back. Until then the driver owns
//!   the buffer, so safe code cannot touch memory that the kernel uses. A driver that is dropped waits for the kernel
//!   to let go first.
//! - [`Completion::Closed`] is the last that is heard of a connection; its descriptor is closed by then.
//! - A doorbell rung at any time after [`Driver::watch`] is reported, at least once for all rings since the last report.
//! - [`Driver::poll`] makes no system call when there is nothing to do (epoll: but every [`EPOLL_POLLS_PER_LOOK`]th; see
//!   [`Driver::rings_were_busy`]).
//!
//! It leaves frames to [`super::link`], and what a connection is for to the lane.

mod buffer;
#[cfg(test)]
mod conformance;
mod epoll;
mod slab;
mod uring;

pub use buffer::{AlignedBuffer, Piece, PieceSegment, ReceiveBuffer, SendBuffer};

use epoll::Epoll;
use slab::Key;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use uring::Uring;

/// On epoll, a poll that has nothing else to do looks for events once in this many calls: often enough to add a few
/// microseconds at most to an event's latency, rarely enough for the look (some 0.3 µs) not to dominate a turn.
pub const EPOLL_POLLS_PER_LOOK: u32 = 16;
/// So many polls pass before the first look while executors are waited for: more than a lane makes in the time in which a
/// function that does little answers, some ten microseconds. Otherwise a lane that only moves activations would enter the
/// kernel for each.
const EPOLL_POLLS_BESIDE_RINGS: u32 = 128;
/// Each look in vain doubles that, up to this (less than a millisecond): what comes over a socket waits for no longer than
/// the executors have been silent, and an executor that is held up for a while costs a few looks and not hundreds.
const EPOLL_POLLS_BESIDE_RINGS_MAX: u32 = 8192;
/// So many turns in which rings were busy pass before a look all the same: a system call for several hundred hops.
const EPOLL_BUSY_TURNS_MAX: u32 = 512;

/// What a lane expects of its rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rings {
    /// Nothing: no executor runs anything.
    Silent,
    /// The end of what executors run.
    Awaited,
}

/// By which of the kernel's interfaces a driver works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum DriverKind {
    /// io_uring: batches all operations of a turn into one system call.
    #[serde(rename = "io_uring")]
    IoUring,
    /// epoll: for kernels and containers that refuse io_uring.
    #[serde(rename = "epoll")]
    Epoll,
}

impl std::fmt::Display for DriverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Names a connection of a driver; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(Key);

/// What is watched, beside connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// An eventfd, reported whenever it was written to. It is never read, so no one who shares it can make the lane
    /// block: its counter only grows, and a report stands for all writes since the last.
    Doorbell,
    /// A pidfd, reported once, when its process has ended; the driver then closes it and forgets the token.
    Exit,
}

/// What has happened.
#[derive(Debug)]
pub enum Completion {
    /// A receive has ended.
    Received {
        /// On which connection.
        id: ConnectionId,
        /// Bytes received, never more than asked for; 0 if the peer has closed its side.
        result: io::Result<usize>,
        /// As it was handed in.
        buffer: ReceiveBuffer,
    },
    /// A send has ended.
    Sent {
        /// On which connection.
        id: ConnectionId,
        /// All bytes were handed to the kernel, or an error: then an unknown part of them.
        result: io::Result<()>,
        /// As it was handed in.
        buffer: SendBuffer,
    },
    /// A doorbell was rung, or a watched process has ended.
    Watched {
        /// As given to [`Driver::watch`].
        token: u64,
    },
    /// The kernel does not watch it any more, and refuses to go on: what it would report is lost, and the token forgotten.
    Unwatched {
        /// As given to [`Driver::watch`].
        token: u64,
        /// Why.
        error: io::Error,
    },
    /// The connection is gone; nothing more will be heard of it.
    Closed {
        /// Which.
        id: ConnectionId,
    },
}

/// The sockets and doorbells of one lane. It stays on the thread that made it.
pub struct Driver(Kind);

#[expect(clippy::large_enum_variant, reason = "there is one for each lane")]
enum Kind {
    IoUring(Uring),
    Epoll(Epoll),
}

macro_rules! dispatch {
    ($self:ident, $driver:ident => $call:expr) => {
        match &mut $self.0 {
            Kind::IoUring($driver) => $call,
            Kind::Epoll($driver) => $call,
        }
    };
}

impl Driver {
    /// A driver for the calling thread.
    ///
    /// # Errors
    /// The kernel refuses what it is built on, or has no memory or descriptors left.
    pub fn new(kind: DriverKind) -> io::Result<Self> {
        Ok(Self(match kind {
            DriverKind::IoUring => Kind::IoUring(Uring::new()?),
            DriverKind::Epoll => Kind::Epoll(Epoll::new()?),
        }))
    }

    /// Whether this process may use io_uring, and this kernel's has all that the driver needs.
    ///
    /// # Errors
    /// Why not: it was refused (a seccomp filter, a sysctl), or is too old.
    pub fn probe() -> io::Result<()> {
        Uring::new().map(drop)
    }

    /// Which kind this is.
    #[must_use]
    pub const fn kind(&self) -> DriverKind {
        match &self.0 {
            Kind::IoUring(_) => DriverKind::IoUring,
            Kind::Epoll(_) => DriverKind::Epoll,
        }
    }

    /// Takes a connected stream socket over.
    ///
    /// # Errors
    /// The kernel cannot register it; it is closed then.
    pub fn add(&mut self, socket: OwnedFd) -> io::Result<ConnectionId> {
        dispatch!(self, driver => driver.add(socket)).map(ConnectionId)
    }

    /// Shuts a connection down, both ways. Outstanding operations complete, with whatever result, and then
    /// [`Completion::Closed`] comes. Closing twice does nothing.
    pub fn close(&mut self, id: ConnectionId) {
        dispatch!(self, driver => driver.close(id.0));
    }

    /// Begins to receive. On a connection that is closed the completion is an error.
    ///
    /// # Panics
    /// If a receive is outstanding on this connection.
    pub fn receive(&mut self, id: ConnectionId, buffer: ReceiveBuffer) {
        dispatch!(self, driver => driver.receive(id.0, buffer));
    }

    /// Begins to send. On a connection that is closed the completion is an error.
    ///
    /// # Panics
    /// If a send is outstanding on this connection.
    pub fn send(&mut self, id: ConnectionId, buffer: SendBuffer) {
        dispatch!(self, driver => driver.send(id.0, buffer));
    }

    /// Watches `descriptor`, reporting it as `token`.
    ///
    /// # Errors
    /// The kernel cannot register it; it is closed then.
    ///
    /// # Panics
    /// If `token` is in use.
    pub fn watch(&mut self, descriptor: OwnedFd, token: u64, watch: Watch) -> io::Result<()> {
        dispatch!(self, driver => driver.watch(descriptor, token, watch))
    }

    /// Ends a watch. No report of it comes after this; an unknown token does nothing.
    pub fn unwatch(&mut self, token: u64) {
        dispatch!(self, driver => driver.unwatch(token));
    }

    /// Appends what has happened to `out`, and hands what was begun to the kernel: sends at once, all else by the next
    /// call at the latest, so that a caller who is about to [`Driver::wait`] saves a system call. Makes one only if
    /// something was begun or the kernel says that work waits; epoll, which cannot say so, looks on every
    /// [`EPOLL_POLLS_PER_LOOK`]th call.
    #[inline]
    pub fn poll(&mut self, out: &mut Vec<Completion>) {
        dispatch!(self, driver => driver.poll(out));
    }

    /// Says what is expected of rings, after a turn that had to do with them: whoever must enter the kernel to look for
    /// events (epoll) puts that off while executors are awaited, within bounds.
    #[inline]
    pub fn rings_were_busy(&mut self, rings: impl FnOnce() -> Rings) {
        if let Kind::Epoll(driver) = &mut self.0 {
            driver.rings_were_busy(rings());
        }
    }

    /// Like [`Driver::poll`], but if nothing has happened sleeps until something does or `timeout` has passed (with
    /// epoll rounded up to a millisecond). May return early, with nothing.
    pub fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) {
        dispatch!(self, driver => driver.wait(timeout, out));
    }

    /// System calls that [`Driver::poll`] and [`Driver::wait`] have made so far.
    #[must_use]
    pub const fn enters(&self) -> u64 {
        match &self.0 {
            Kind::IoUring(driver) => driver.enters(),
            Kind::Epoll(driver) => driver.enters(),
        }
    }
}

/// The result of an operation on a connection that is closed or closing.
fn not_connected() -> io::Error {
    io::Error::from(io::ErrorKind::NotConnected)
}

/// The result of a receive into a range that is empty or does not exist.
fn no_such_range() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the range to receive into is empty or leaves its buffer",
    )
}
