//! The channel between an engine's lane and one executor: two rings in two segments, with a doorbell each way.
//!
//! This file owns the layout of the two segments (drawn in docs/layout.md, "The channel") and joins ring and doorbell.
//! It promises that whatever the other process writes into its half, this one gets an error on this channel and
//! nothing else. Starting processes and passing descriptors is left to the engine and to [`crate::serve`].
//!
//! ```text
//!            segment E, written by the engine        segment X, written by the executor
//!      0     magic, ABI version, capacities          magic, ABI version, capacities
//!    128     request ring: tail (futex: low half)    completion ring: tail
//!    256     completion ring: head                   request ring: head
//!    384     lane-parked flag                        executor-parked flag
//!    512     word to stop (futex: low half)          zero
//!   4096     256 request slots                       256 completion slots
//! ```
//!
//! Lines stand 128 bytes apart, since processors fetch cache lines in pairs.

use crate::binding::{ABI_VERSION, WaitStrategy};
use crate::descriptor::{MESSAGE_SLOTS_MAX, Message};
use crate::doorbell::{self, Futex, Spinner};
use crate::ring::{Batch, Consumer, Producer, PushError, RingError, RingLayout, SharedRing};
use crate::segment::{SegmentError, SegmentReader, SegmentWriter};
use crate::sync::{AtomicU64, Ordering};
use crate::told::{self, Cancelled};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Slots of each of the two rings.
pub const CHANNEL_SLOTS: u64 = 256;
/// Request slots that messages about memory leave free: for the longest request, and for the order to end. An executor
/// takes one request at a time and has taken all that came before it, so with these a request always finds room.
const SLOTS_KEPT_FREE: u64 = MESSAGE_SLOTS_MAX as u64 + 1;

const MAGIC_ENGINE: u64 = u64::from_le_bytes(*b"FaaS-eng");
const MAGIC_EXECUTOR: u64 = u64::from_le_bytes(*b"FaaS-exe");
const MAGIC_WORD: usize = 0;
const VERSION_WORD: usize = 1;
const CAPACITY_WORD: usize = 2;
const TAIL_OFFSET: u64 = 128;
const HEAD_OFFSET: u64 = 256;
const PARKED_OFFSET: u64 = 384;
const TOLD_OFFSET: u64 = 512;
const TOLD_WORD: usize = TOLD_OFFSET as usize / 8;
const SLOTS_OFFSET: u64 = 4096;
const SEGMENT_BYTES: u64 = SLOTS_OFFSET + CHANNEL_SLOTS * 64;
/// Bytes of a half of a channel, on a machine with the largest pages that there are.
pub const HALF_BYTES_MAX: u64 = SEGMENT_BYTES.next_multiple_of(64 << 10);

/// Both halves are laid out alike, so one layout serves both rings.
const LAYOUT: RingLayout = RingLayout {
    slots_offset: SLOTS_OFFSET,
    capacity: CHANNEL_SLOTS,
    tail_offset: TAIL_OFFSET,
    head_offset: HEAD_OFFSET,
    parked_offset: PARKED_OFFSET,
};

/// Why a channel could not be made.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// No segment.
    #[error("no segment for the channel to an executor: {0}")]
    Segment(#[from] SegmentError),
    /// The other side's segment is no half of a channel.
    #[error(
        "the other side's half of the channel begins with {found:#018x}: it is no half of a channel"
    )]
    Magic {
        /// First word.
        found: u64,
    },
    /// The other side speaks another version.
    #[error(
        "the other side's half of the channel has ABI version {theirs}, this program {ABI_VERSION}: build both with one release"
    )]
    Version {
        /// As read.
        theirs: u64,
    },
    /// The other side's rings have another size.
    #[error(
        "the other side's half of the channel has {slots} slots in {bytes} bytes, where {CHANNEL_SLOTS} slots are expected"
    )]
    Shape {
        /// As read.
        slots: u64,
        /// Of its segment.
        bytes: u64,
    },
}

fn create_half(name: &str, magic: u64) -> Result<SegmentWriter, ChannelError> {
    let segment = SegmentWriter::create(name, SEGMENT_BYTES)?;
    let words = segment.words();
    words[VERSION_WORD].store(u64::from(ABI_VERSION), Ordering::Relaxed);
    words[CAPACITY_WORD].store(CHANNEL_SLOTS, Ordering::Relaxed);
    words[MAGIC_WORD].store(magic, Ordering::Relaxed);
    Ok(segment)
}

/// The two rings as one side sees them, after the other side's half was checked.
struct Halves {
    own: Arc<SegmentWriter>,
    peer: Arc<SegmentReader>,
    producer: Producer<SharedRing>,
    consumer: Consumer<SharedRing>,
}

impl Halves {
    fn join(
        own: Arc<SegmentWriter>,
        peer: SegmentReader,
        peer_magic: u64,
    ) -> Result<Self, ChannelError> {
        let word = |index: usize| {
            peer.words()
                .get(index)
                .map_or(0, |word| word.load(Ordering::Relaxed))
        };
        let (found, theirs, slots) = (word(MAGIC_WORD), word(VERSION_WORD), word(CAPACITY_WORD));
        if found != peer_magic {
            return Err(ChannelError::Magic { found });
        }
        if theirs != u64::from(ABI_VERSION) {
            return Err(ChannelError::Version { theirs });
        }
        let shape = ChannelError::Shape {
            slots,
            bytes: peer.length(),
        };
        if slots != CHANNEL_SLOTS {
            return Err(shape);
        }
        let peer = Arc::new(peer);
        let rings = SharedRing::produced(&own, &peer, &LAYOUT)
            .zip(SharedRing::consumed(&own, &peer, &LAYOUT));
        let Some((produced, consumed)) = rings else {
            return Err(shape);
        };
        Ok(Self {
            producer: Producer::new(produced),
            consumer: Consumer::new(consumed),
            own,
            peer,
        })
    }
}

/// The engine's end.
#[derive(Debug)]
pub struct EngineChannel {
    own: Arc<SegmentWriter>,
    requests: Producer<SharedRing>,
    completions: Consumer<SharedRing>,
    wait: WaitStrategy,
}

impl EngineChannel {
    /// Makes the engine's half; its descriptor travels with [`crate::binding::Welcome`].
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn create_segment() -> Result<SegmentWriter, ChannelError> {
        create_half("faasflow-engine-half", MAGIC_ENGINE)
    }

    /// Joins the engine's half, made by [`EngineChannel::create_segment`] for this executor alone, with the half that
    /// came with [`crate::binding::Hello`]. `wait` is what the executor was told in its welcome.
    ///
    /// With [`WaitStrategy::Spin`] neither side ever sleeps: no bell is rung in either direction, and the lane must not
    /// sleep while it has such a channel.
    ///
    /// # Errors
    /// If the executor's half is not one, or of another version.
    pub fn connect(
        own: Arc<SegmentWriter>,
        executor: SegmentReader,
        wait: WaitStrategy,
    ) -> Result<Self, ChannelError> {
        let Halves {
            own,
            peer: _,
            producer,
            consumer,
        } = Halves::join(own, executor, MAGIC_EXECUTOR)?;
        Ok(Self {
            own,
            requests: producer,
            completions: consumer,
            wait,
        })
    }

    /// Pushes a request. Several may be pushed for one [`EngineChannel::ring_bell`].
    ///
    /// # Errors
    /// As [`Producer::push`].
    #[inline]
    pub fn push(&mut self, message: &Message) -> Result<(), PushError> {
        self.requests.push(message.slots())
    }

    /// Pushes a message that can wait; false if it has to, since the room that is left is kept for requests. The executor
    /// makes more by reading, for which it may need [`EngineChannel::ring_bell`].
    ///
    /// # Errors
    /// If the executor broke the protocol.
    #[inline]
    pub fn push_if_room(&mut self, message: &Message) -> Result<bool, PushError> {
        let slots = message.slots();
        let room = self
            .requests
            .has_room(slots.len() as u64 + SLOTS_KEPT_FREE)?;
        if room {
            self.requests.push(slots)?;
        }
        Ok(room)
    }

    /// How far the executor has said that it has read, and how far it could, in slots: it says so before it sleeps. One that
    /// polls for ever may have read more and not said so.
    ///
    /// # Errors
    /// If the executor broke the protocol.
    pub fn read_of_pushed(&mut self) -> Result<(u64, u64), RingError> {
        Ok((self.requests.taken()?, self.requests.position()))
    }

    /// Begins a batch of messages that can wait, which the executor sees together; see [`Batch`]. The room that is left is
    /// kept for requests.
    pub fn batch(&mut self) -> Batch<'_, SharedRing> {
        self.requests.batch(SLOTS_KEPT_FREE)
    }

    /// Makes sure that the executor sees what was pushed: wakes it if it sleeps. Costs no system call otherwise, and
    /// nothing with [`WaitStrategy::Spin`].
    #[inline]
    pub fn ring_bell(&mut self) {
        if self.wait == WaitStrategy::Spin {
            return;
        }
        doorbell::ring(&self.requests, || self.wake());
    }

    #[cold]
    fn wake(&self) {
        if let Some(word) = self.own.futex(TAIL_OFFSET) {
            Futex::new(word).wake();
        }
    }

    /// Tells the executor that the activation which it runs is to stop, and wakes what waits there for that: one system
    /// call, which never blocks. The word stands until [`EngineChannel::take_back`], which is to come before the next one.
    #[cold]
    pub fn tell(&mut self, activation: u32, why: Cancelled) {
        told::tell(&self.own.words()[TOLD_WORD], activation, why, || {
            if let Some(word) = self.own.futex(TOLD_OFFSET) {
                Futex::new(word).wake_all();
            }
        });
    }

    /// The activation that was told to stop has ended.
    #[cold]
    pub fn take_back(&mut self) {
        told::take_back(&self.own.words()[TOLD_WORD]);
    }

    /// Takes the next completion, as [`Consumer::pop`].
    ///
    /// # Errors
    /// If the executor broke the protocol: it is to be ended.
    #[inline]
    pub fn pop(&mut self, message: &mut Message) -> Result<bool, RingError> {
        self.completions.pop(message)
    }

    /// Whether a completion waits.
    #[inline]
    #[must_use]
    pub fn has_completion(&self) -> bool {
        self.completions.is_ready()
    }

    /// Whether the lane is about to sleep (true) or awake. After true the lane must look at
    /// [`EngineChannel::has_completion`] once more before it sleeps; from then on a completion writes the eventfd.
    #[inline]
    pub fn set_parked(&mut self, parked: bool) {
        if parked {
            self.completions.raise_parked();
        } else {
            self.completions.lower_parked();
        }
    }
}

/// The executor's end.
#[derive(Debug)]
pub struct ExecutorChannel {
    peer: Arc<SegmentReader>,
    completions: Producer<SharedRing>,
    requests: Consumer<SharedRing>,
    lane_bell: OwnedFd,
    wait: WaitStrategy,
    spin_budget_ns: u64,
}

impl ExecutorChannel {
    /// Makes the executor's half; its descriptor travels with [`crate::binding::Hello`].
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn create_segment() -> Result<SegmentWriter, ChannelError> {
        create_half("faasflow-executor-half", MAGIC_EXECUTOR)
    }

    /// Joins the executor's half, made by [`ExecutorChannel::create_segment`], with what came with
    /// [`crate::binding::Welcome`]: the engine's half and the eventfd `lane_bell`, with the strategy and budget (in
    /// nanoseconds) that it names.
    ///
    /// # Errors
    /// If the engine's half is not one, or of another version.
    pub fn connect(
        own: Arc<SegmentWriter>,
        engine: SegmentReader,
        lane_bell: OwnedFd,
        wait: WaitStrategy,
        spin_budget_ns: u64,
    ) -> Result<Self, ChannelError> {
        let Halves {
            own: _,
            peer,
            producer,
            consumer,
        } = Halves::join(own, engine, MAGIC_ENGINE)?;
        Ok(Self {
            peer,
            completions: producer,
            requests: consumer,
            lane_bell,
            wait,
            spin_budget_ns,
        })
    }

    /// Takes the next request, as [`Consumer::pop`].
    ///
    /// # Errors
    /// If the engine broke the protocol.
    #[inline]
    pub fn pop(&mut self, message: &mut Message) -> Result<bool, RingError> {
        self.requests.pop(message)
    }

    /// Whether a request waits.
    #[inline]
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.requests.is_ready()
    }

    /// Where the engine tells what is to stop.
    #[must_use]
    pub fn told(&self) -> ToldWord {
        ToldWord {
            engine: Arc::clone(&self.peer),
        }
    }

    /// Pushes a completion. Several may be pushed for one [`ExecutorChannel::ring_lane`].
    ///
    /// # Errors
    /// As [`Producer::push`].
    #[inline]
    pub fn push(&mut self, message: &Message) -> Result<(), PushError> {
        self.completions.push(message.slots())
    }

    /// Makes sure that the lane sees what was pushed: writes its eventfd if it sleeps. Costs no system call otherwise,
    /// and nothing with [`WaitStrategy::Spin`].
    #[inline]
    pub fn ring_lane(&self) {
        if self.wait == WaitStrategy::Spin {
            return;
        }
        doorbell::ring(&self.completions, || self.wake_lane());
    }

    #[cold]
    fn wake_lane(&self) {
        // Fails only if the count is at its maximum, and then the lane has been woken often enough.
        let _ = rustix::io::write(&self.lane_bell, &1u64.to_ne_bytes());
    }

    /// Waits as the strategy says until a request is there: true; or until `timeout` has passed: false. Polling for
    /// ever, as [`WaitStrategy::Spin`] does, knows no timeout.
    pub fn wait(&mut self, timeout: Option<Duration>) -> bool {
        let mut spinner = match self.wait {
            WaitStrategy::Spin => {
                while !self.requests.is_ready() {
                    std::hint::spin_loop();
                }
                return true;
            }
            WaitStrategy::Adaptive => Spinner::new(self.spin_budget_ns),
            WaitStrategy::Park => Spinner::new(0),
        };
        while !self.requests.is_ready() {
            if !spinner.spin() {
                return self.park(timeout);
            }
        }
        true
    }

    #[cold]
    fn park(&mut self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let futex = self.peer.futex(TAIL_OFFSET).map(Futex::new);
        doorbell::park(&mut self.requests, deadline, |expected, left| {
            if let Some(futex) = futex {
                futex.wait(expected, left);
            }
        })
    }
}

/// The word by which the engine tells what is to stop, as its executor sees it from any thread.
#[derive(Clone, Debug)]
pub struct ToldWord {
    engine: Arc<SegmentReader>,
}

impl ToldWord {
    #[inline]
    fn word(&self) -> &AtomicU64 {
        // A half of another length is refused when the channel is made.
        &self.engine.words()[TOLD_WORD]
    }

    /// Whether this activation is to stop, and why: one load.
    #[inline]
    #[must_use]
    pub fn look(&self, activation: u32) -> Option<Cancelled> {
        told::look(self.word(), activation)
    }

    /// Sleeps until this activation is to stop, or until `deadline`.
    pub fn wait(&self, activation: u32, deadline: Option<Instant>) -> Option<Cancelled> {
        told::wait(self.word(), activation, deadline, |seen, left| {
            self.sleep(seen, left);
        })
    }

    /// Sleeps until some activation is to stop that is not `last`; which.
    pub(crate) fn next(&self, last: u32) -> u32 {
        loop {
            let seen = self.word().load(Ordering::Relaxed) as u32;
            if seen != 0 && seen != last {
                return seen;
            }
            self.sleep(seen, None);
        }
    }

    fn sleep(&self, seen: u32, left: Option<Duration>) {
        if let Some(word) = self.engine.futex(TOLD_OFFSET) {
            Futex::new(word).wait(seen, left);
        }
    }
}
