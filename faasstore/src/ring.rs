//! The ring: a single-producer single-consumer queue of 64-byte slots between two processes that need not trust each
//! other.
//!
//! This file owns how slots are published and taken. It promises that a message is seen whole or not at all, in order,
//! once; that pushing and popping never block, allocate or enter the kernel; and that a hostile peer can at most make
//! them return [`RingError`]. Who sleeps and who wakes is left to [`crate::doorbell`], what the slots say to
//! [`crate::descriptor`].
//!
//! ```text
//! written by the producer                       written by the consumer
//! | slot 0 | slot 1 | ... | slot capacity-1 |   | head: messages up to here were taken |
//! | tail: slots up to here were published   |   | parked: whether it sleeps            |
//!
//! slot at position p: low half of word 0 = (p + 1) mod 2^32, stored last; see descriptor.rs for the rest
//! ```
//!
//! The consumer polls the slot itself, so that a message costs the transfer of one cache line: `tail` is stored for
//! sleepers alone, and `head` is published every quarter of the ring and before sleeping, which keeps the line that
//! holds it out of the producer's way. A zeroed ring is empty, and a slot that still holds the message of a lap ago
//! carries a number that is lower by the capacity.
//!
//! Pushing is by message or by [`Batch`], popping by message alone: whoever pops copies each into one vessel and acts on
//! it before it looks at the next, so that none waits for those behind it. What a batch would save, the store of `head`,
//! is saved by publishing it every quarter.
//!
//! What the peer writes is read once, as relaxed atomic words, so that a writer that does not keep to the protocol
//! produces wrong values and never undefined behaviour; an acquire fence follows. (An acquire load would do on
//! today's hardware, but only relaxed ones are promised to work on memory that is mapped read-only.)

use crate::descriptor::{MESSAGE_SLOTS_MAX, Message, SLOT_WORDS, Slot};
use crate::doorbell;
use crate::sync::{AtomicU64, Ordering, fence};
use thiserror::Error;

#[cfg(any(test, loom))]
mod heap;
#[cfg(not(loom))]
mod shared;

#[cfg(any(test, loom))]
pub(crate) use heap::HeapRing;
#[cfg(not(loom))]
pub use shared::{RingLayout, SharedRing};

/// Fewest slots of a ring: below, an unpublished quarter could keep a message of several slots out for ever.
pub const CAPACITY_MIN: u64 = 4 * MESSAGE_SLOTS_MAX as u64;

/// The other side broke the protocol. The ring is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RingError {
    /// The consumer claims to have taken what it cannot have.
    #[error(
        "the consumer's head is {head}, but {tail} slots were pushed into a ring of {capacity}, and {before} was its head before"
    )]
    Head {
        /// As read.
        head: u64,
        /// As read the last time.
        before: u64,
        /// Slots pushed so far.
        tail: u64,
        /// Slots of the ring.
        capacity: u64,
    },
    /// A message of several slots was published before all of them were written.
    #[error("slot {position} of a message carries the number {found}")]
    Torn {
        /// Position of the slot since the ring was made.
        position: u64,
        /// The number read.
        found: u32,
    },
}

/// Why a message was not pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PushError {
    /// The consumer has not taken enough yet; nothing was pushed, and it may be tried again.
    #[error("the ring is full")]
    Full,
    /// The other side broke the protocol.
    #[error(transparent)]
    Corrupt(#[from] RingError),
}

/// The words of a ring, wherever they lie: in two mappings, or on the heap where loom can see them.
pub trait RingMemory {
    /// Slots; a power of two, at least [`CAPACITY_MIN`], the same for ever.
    fn capacity(&self) -> u64;
    /// The slot for a position, which is taken modulo the capacity.
    fn slot(&self, position: u64) -> &[AtomicU64; SLOT_WORDS];
    /// Written by the producer.
    fn tail(&self) -> &AtomicU64;
    /// Written by the consumer.
    fn head(&self) -> &AtomicU64;
    /// Written by the consumer: whether it sleeps, or is about to. See [`crate::doorbell`].
    fn parked(&self) -> &AtomicU64;
}

const fn number(position: u64) -> u32 {
    (position as u32).wrapping_add(1)
}

/// The side that pushes.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    capacity: u64,
    tail: u64,
    head: u64,
}

impl<M: RingMemory> Producer<M> {
    /// The producer of a fresh ring.
    ///
    /// # Panics
    /// If the capacity is not a power of two of at least [`CAPACITY_MIN`].
    pub fn new(memory: M) -> Self {
        let capacity = checked_capacity(&memory);
        Self {
            memory,
            capacity,
            tail: 0,
            head: 0,
        }
    }

    /// Pushes one message, all of its slots or none. The consumer sees it at once if it polls; one that may sleep
    /// needs the doorbell.
    ///
    /// # Errors
    /// [`PushError::Full`] until the consumer has taken more; [`PushError::Corrupt`] for ever.
    ///
    /// # Panics
    /// In debug builds, if `slots` is empty or longer than [`MESSAGE_SLOTS_MAX`].
    #[inline]
    pub fn push(&mut self, slots: &[Slot]) -> Result<(), PushError> {
        debug_assert!((1..=MESSAGE_SLOTS_MAX).contains(&slots.len()));
        let Some((first, further)) = slots.split_first() else {
            return Ok(());
        };
        let end = self.tail + slots.len() as u64;
        if !self.has_room(slots.len() as u64)? {
            return Err(PushError::Full);
        }
        for (position, slot) in (self.tail + 1..).zip(further) {
            self.put(position, slot);
        }
        self.put(self.tail, first);
        self.tail = end;
        Ok(())
    }

    /// Whether so many slots are free, as far as the consumer has said.
    ///
    /// # Errors
    /// If the consumer broke the protocol.
    #[inline]
    pub fn has_room(&mut self, slots: u64) -> Result<bool, RingError> {
        let end = self.tail + slots;
        if end - self.head > self.capacity {
            self.refresh()?;
        }
        Ok(end - self.head <= self.capacity)
    }

    /// How many of the slots that were pushed the consumer has said that it has taken. It says so when it is about to sleep.
    ///
    /// # Errors
    /// If the consumer broke the protocol.
    pub fn taken(&mut self) -> Result<u64, RingError> {
        self.refresh()?;
        Ok(self.head)
    }

    /// Begins a batch of messages, which leaves so many slots of the ring free.
    pub fn batch(&mut self, kept_free: u64) -> Batch<'_, M> {
        Batch {
            producer: self,
            kept_free,
            first: None,
        }
    }

    #[inline]
    fn put(&self, position: u64, slot: &Slot) {
        let words = self.memory.slot(position);
        for (word, value) in words[1..].iter().zip(&slot[1..]) {
            word.store(*value, Ordering::Relaxed);
        }
        let first = slot[0] & !u64::from(u32::MAX) | u64::from(number(position));
        // Release: whoever sees the number sees the words above and, of a message's first slot, the slots after it.
        words[0].store(first, Ordering::Release);
    }

    /// Reads how far the consumer is. Cold: once in three quarters of the ring.
    #[cold]
    fn refresh(&mut self) -> Result<(), RingError> {
        let head = self.memory.head().load(Ordering::Relaxed);
        // Pairs with `publish_head`: slots that the consumer says it took may be written after it has read them.
        fence(Ordering::Acquire);
        if head < self.head || head > self.tail {
            return Err(RingError::Head {
                head,
                before: self.head,
                tail: self.tail,
                capacity: self.capacity,
            });
        }
        self.head = head;
        Ok(())
    }

    /// Stores how far this side is where a sleeping consumer waits for it to change.
    #[inline]
    pub fn publish_tail(&self) {
        self.memory.tail().store(self.tail, Ordering::Release);
    }

    /// Slots pushed since the ring was made.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.tail
    }

    /// Whether the consumer sleeps, or is about to, after something was pushed and the tail published.
    #[inline]
    pub(crate) fn is_parked(&self) -> bool {
        doorbell::is_raised(self.memory.parked())
    }
}

/// Messages that the consumer sees together, when this is dropped. A consumer that polls reads the slot that is written
/// next again and again, so each message that is pushed by itself has its cache line passed to and fro; of a batch only the
/// first has.
#[derive(Debug)]
pub struct Batch<'a, M: RingMemory> {
    producer: &'a mut Producer<M>,
    kept_free: u64,
    /// The first slot of the first message, which makes all the others seen, and its position.
    first: Option<(u64, Slot)>,
}

impl<M: RingMemory> Batch<'_, M> {
    /// Adds one message, all of its slots or none.
    ///
    /// # Errors
    /// As [`Producer::push`]; what was added before is pushed all the same.
    ///
    /// # Panics
    /// As [`Producer::push`].
    pub fn push(&mut self, slots: &[Slot]) -> Result<(), PushError> {
        if !self
            .producer
            .has_room(slots.len() as u64 + self.kept_free)?
        {
            return Err(PushError::Full);
        }
        if self.first.is_some() {
            return self.producer.push(slots);
        }
        let start = self.producer.tail;
        let Some((first, further)) = slots.split_first() else {
            return Ok(());
        };
        debug_assert!(slots.len() <= MESSAGE_SLOTS_MAX);
        for (position, slot) in (start + 1..).zip(further) {
            self.producer.put(position, slot);
        }
        self.producer.tail = start + slots.len() as u64;
        self.first = Some((start, *first));
        Ok(())
    }
}

impl<M: RingMemory> Drop for Batch<'_, M> {
    fn drop(&mut self) {
        if let Some((position, slot)) = &self.first {
            self.producer.put(*position, slot);
        }
    }
}

/// The side that pops.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    quarter: u64,
    head: u64,
    published: u64,
}

impl<M: RingMemory> Consumer<M> {
    /// The consumer of a fresh ring.
    ///
    /// # Panics
    /// If the capacity is not a power of two of at least [`CAPACITY_MIN`].
    pub fn new(memory: M) -> Self {
        let quarter = checked_capacity(&memory) / 4;
        Self {
            memory,
            quarter,
            head: 0,
            published: 0,
        }
    }

    /// Whether a message waits.
    #[inline]
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.memory.slot(self.head)[0].load(Ordering::Relaxed) as u32 == number(self.head)
    }

    /// Takes the next message, if there is one, into `message`, which is the caller's to use again: the hottest copy
    /// there is. False if there is none; `message` then says nothing.
    ///
    /// # Errors
    /// If the producer broke the protocol; the ring stays where it is, and so does the error.
    #[inline]
    pub fn pop(&mut self, message: &mut Message) -> Result<bool, RingError> {
        let words = self.memory.slot(self.head);
        let first = words[0].load(Ordering::Relaxed);
        if first as u32 != number(self.head) {
            return Ok(false);
        }
        // Pairs with the release store of `Producer::put`.
        fence(Ordering::Acquire);
        load(words, first, message.first());
        for (position, slot) in (self.head + 1..).zip(message.further()) {
            let words = self.memory.slot(position);
            let first = words[0].load(Ordering::Relaxed);
            if first as u32 != number(position) {
                let found = first as u32;
                return Err(RingError::Torn { position, found });
            }
            load(words, first, slot);
        }
        self.head += message.slots().len() as u64;
        if self.head - self.published >= self.quarter {
            self.publish_head();
        }
        Ok(true)
    }

    /// Tells the producer how far this side is. Done every quarter of the ring; to be done before sleeping.
    #[inline]
    pub fn publish_head(&mut self) {
        // Release: the slots were read before the producer may write them again.
        self.memory.head().store(self.head, Ordering::Release);
        self.published = self.head;
    }

    /// Slots taken since the ring was made.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.head
    }

    /// What the producer published as its tail, or something else if it breaks the protocol: to be compared, not used.
    #[inline]
    pub(crate) fn published_tail(&self) -> u64 {
        self.memory.tail().load(Ordering::Relaxed)
    }

    /// Says that this side is about to sleep, and how far it is: what it has taken but not given back yet must not be
    /// kept from the producer meanwhile.
    #[inline]
    pub(crate) fn raise_parked(&mut self) {
        if self.published != self.head {
            self.publish_head();
        }
        doorbell::raise(self.memory.parked());
    }

    /// Says that this side is awake.
    #[inline]
    pub(crate) fn lower_parked(&self) {
        doorbell::lower(self.memory.parked());
    }
}

#[inline]
fn load(words: &[AtomicU64; SLOT_WORDS], first: u64, slot: &mut Slot) {
    slot[0] = first;
    for (value, word) in slot[1..].iter_mut().zip(&words[1..]) {
        *value = word.load(Ordering::Relaxed);
    }
}

fn checked_capacity(memory: &impl RingMemory) -> u64 {
    let capacity = memory.capacity();
    assert!(
        capacity.is_power_of_two() && capacity >= CAPACITY_MIN,
        "a ring of {capacity} slots"
    );
    capacity
}

#[cfg(test)]
mod tests;
