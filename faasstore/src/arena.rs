//! The arena: where one producer puts its payloads, in a chain of segments that it alone writes.
//!
//! This file owns which range of which segment is in use. It promises that live ranges never overlap, that everything
//! released is found again (neighbours are joined, and a segment in which nothing is left can go back to the kernel),
//! that the arena never holds more than `bytes_max`, and that a range which is not leased is refused, not believed,
//! when it is released. All of its bookkeeping is private memory: nothing that another process writes is read here.
//! Announcing segments to readers, and knowing when the last of them has let go, is left to the callers.
//!
//! **Compartments.** A producer that writes for several parties, who must not see each other's payloads, gives each a
//! [`Compartment`]: its segments hold ranges of that party alone. An arena has one from the beginning.
//!
//! **Cost.** Ranges are whole 64-byte granules. A released range first goes to a short list of its exact size, so
//! that a producer which makes the same outputs again and again gets the same, cached memory back for a few
//! nanoseconds and without allocation; behind the lists stand maps of joined free blocks.
//!
//! **Fragmentation.** A payload larger than half an ordinary segment gets a segment of its own, at most half of which lies idle,
//! and which is free when the payload is let go. All others are packed: each goes to the oldest segment with room. Segments in
//! which nothing is left go back to the kernel at once, but for a small reserve. What follows for how much an arena can hold is
//! worked out in docs/layout.md, "How much an arena holds"; `tests/fragmentation.rs` keeps it. Either way `bytes_max` holds:
//! beyond it [`Arena::reserve`] fails.
#![allow(
    unsafe_code,
    reason = "a reservation's bytes are lent out as a mutable slice"
)]

mod ages;
mod aside;
mod chain;
mod grow;
mod making;
mod quick;

use crate::binding::PAYLOAD_BYTES_MAX;
use crate::descriptor::ArenaRange;
use crate::segment::{SegmentError, SegmentWriter};
use chain::{Block, Chain, Cleared};
use quick::Quick;
use std::sync::Arc;
use thiserror::Error;

pub use grow::Growing;
pub use making::RESERVE_BYTES_MAX;
pub use quick::{QUICK_LARGE_MAX, QUICK_SMALL_MAX};

/// Ranges begin on multiples of this and take whole multiples of it: a cache line, and enough alignment for archives.
pub const GRANULE_BYTES: u64 = 64;

const fn granules(bytes: u64) -> u64 {
    bytes.div_ceil(GRANULE_BYTES)
}

/// Whole granules of so many bytes, one at least, as many as there can be at most.
const fn granules_of(bytes: u64) -> u32 {
    let granules = bytes / GRANULE_BYTES;
    if granules == 0 {
        1
    } else if granules > PAYLOAD_BYTES_MAX / GRANULE_BYTES {
        (PAYLOAD_BYTES_MAX / GRANULE_BYTES) as u32
    } else {
        granules as u32
    }
}

/// How an arena grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArenaConfig {
    /// What `/proc/PID/maps` shows; segments append their index and generation.
    pub name: String,
    /// Bytes of an ordinary segment; rounded up to whole pages.
    pub segment_bytes: u64,
    /// Bytes that all segments together may have.
    pub bytes_max: u64,
}

/// Why an arena refused.
#[derive(Debug, Error)]
pub enum ArenaError {
    /// It may not grow any further.
    #[error(
        "no room for {bytes} bytes: the arena holds {held} of at most {max} bytes, {leased} of them in use; raise its \
         limit (`memory_mib` of an executable, `--memory` of a worker), or let fewer payloads live at once"
    )]
    Full {
        /// Asked for.
        bytes: u64,
        /// In segments.
        held: u64,
        /// In ranges reserved or leased.
        leased: u64,
        /// As configured.
        max: u64,
    },
    /// More than a payload can be.
    #[error(
        "a payload of {bytes} bytes: the largest possible has {PAYLOAD_BYTES_MAX}; part it into a list"
    )]
    Bytes {
        /// Asked for.
        bytes: u64,
    },
    /// It may grow, but the machine has nothing left.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// What was to be released is not leased: it was released before, or never committed.
    #[error("segment {}.{} holds no leased range at {} of {} bytes", .0.segment, .0.generation, .0.offset, .0.length)]
    NotLeased(ArenaRange),
}

/// Segments of an arena that hold what is of one party, and of no other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Compartment(u32);

impl Compartment {
    /// What every arena has, and what [`Arena::reserve`] takes from.
    pub const FIRST: Self = Self(0);

    /// Its number in its arena, below the most that were open at once.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an arena keeps of a compartment.
#[derive(Debug, Default)]
struct Ledger {
    quick: Quick,
    bytes_max: u64,
    /// What is held beside the arena for it, and counts in it.
    aside_bytes: u64,
    /// Nothing more is taken from it, and what is given back goes back to the kernel.
    closed: bool,
}

/// A range that is being written. It ends by [`Arena::commit`] or [`Arena::abandon`]; one that is dropped instead
/// stays in use until the arena goes.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a reservation that is neither committed nor abandoned stays in use"]
pub struct Reservation {
    block: Block,
    generation: u32,
}

impl Reservation {
    /// Index of the segment in its arena.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.block.segment
    }

    /// Which of the segments that had this index.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// First byte, a multiple of [`GRANULE_BYTES`].
    #[must_use]
    pub fn offset(&self) -> u64 {
        u64::from(self.block.start) * GRANULE_BYTES
    }

    /// Bytes that may be written: what was asked for, rounded up to granules.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        u64::from(self.block.granules) * GRANULE_BYTES
    }
}

/// A segment that readers are to be told of.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// Index in the arena.
    pub index: u32,
    /// Which of the segments that had this index, from 0.
    pub generation: u32,
    /// Whose ranges it holds.
    pub compartment: Compartment,
    /// The segment.
    pub segment: Arc<SegmentWriter>,
}

/// One producer's memory for payloads.
#[derive(Debug)]
pub struct Arena {
    config: ArenaConfig,
    /// Granules of the largest range that is packed.
    packed_max: u32,
    /// Bytes of empty segments that are kept.
    reserve_bytes: u64,
    chain: Chain,
    /// By compartment; of those that are gone for use again.
    ledgers: Vec<Ledger>,
    vacant: Vec<Compartment>,
    fresh: Vec<NewSegment>,
    retired: Vec<(u32, u32)>,
    /// What is held beside it and counts in it.
    aside_bytes: u64,
    /// What each compartment but the first finds room for, whatever others hold.
    kept_for_each: u64,
}

impl Arena {
    /// An arena without segments; the first reservation makes the first.
    #[must_use]
    pub fn new(config: ArenaConfig) -> Self {
        let mut arena = Self {
            packed_max: granules_of(config.segment_bytes / 2),
            reserve_bytes: making::reserve_bytes(&config),
            config,
            chain: Chain::default(),
            ledgers: Vec::new(),
            vacant: Vec::new(),
            fresh: Vec::new(),
            retired: Vec::new(),
            aside_bytes: 0,
            kept_for_each: 0,
        };
        arena.open_compartment(u64::MAX);
        arena
    }

    /// From now on nobody takes what one of the compartments (the first, and closed ones, apart) lacks to `bytes` bytes: so much each
    /// finds room for, whatever others want. What somebody holds already beyond that stays until it comes back.
    pub fn keep_for_each(&mut self, bytes: u64) {
        self.kept_for_each = bytes;
    }

    /// One more compartment, whose segments may have so many bytes together, and all of the arena's no more than they may.
    pub fn open_compartment(&mut self, bytes_max: u64) -> Compartment {
        let compartment = self.vacant.pop().unwrap_or_else(|| {
            self.ledgers.push(Ledger::default());
            Compartment((self.ledgers.len() - 1) as u32)
        });
        self.chain.open(compartment);
        self.ledgers[compartment.index()] = Ledger {
            bytes_max,
            ..Ledger::default()
        };
        compartment
    }

    /// Closes a compartment: nothing is reserved in it any more, and its segments go as soon as nothing in them is in use.
    ///
    /// # Panics
    /// If it is [`Compartment::FIRST`], or closed already.
    pub fn close_compartment(&mut self, compartment: Compartment) {
        let ledger = &mut self.ledgers[compartment.index()];
        assert!(
            compartment != Compartment::FIRST && !ledger.closed,
            "compartment {} cannot be closed",
            compartment.0
        );
        ledger.closed = true;
        self.flush(compartment);
        self.vacate(compartment);
    }

    /// Sets at least `bytes` bytes aside for writing. Their content is whatever was there before.
    ///
    /// # Errors
    /// [`ArenaError::Full`] if the configured limit, [`ArenaError::Segment`] if the machine's memory does not allow it.
    #[inline]
    pub fn reserve(&mut self, bytes: u64) -> Result<Reservation, ArenaError> {
        self.reserve_in(Compartment::FIRST, bytes)
    }

    /// As [`Arena::reserve`], in a segment of this compartment.
    ///
    /// # Errors
    /// As [`Arena::reserve`]; also [`ArenaError::Full`] if the compartment may have no more, or is closed.
    ///
    /// # Panics
    /// If the compartment is another arena's.
    #[inline]
    pub fn reserve_in(
        &mut self,
        compartment: Compartment,
        bytes: u64,
    ) -> Result<Reservation, ArenaError> {
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(ArenaError::Bytes { bytes });
        }
        let count = granules(bytes).max(1) as u32;
        let index = compartment.index();
        let block = match self.ledgers[index].quick.take(count) {
            Some(block) => block,
            None => self.reserve_cold(compartment, count)?,
        };
        let generation = self.chain.mark_reserved(block);
        Ok(Reservation { block, generation })
    }

    #[cold]
    fn reserve_cold(&mut self, compartment: Compartment, count: u32) -> Result<Block, ArenaError> {
        if self.ledgers[compartment.index()].closed {
            return Err(self.full(compartment, u64::from(count) * GRANULE_BYTES));
        }
        if count > self.packed_max {
            let vacant = self.chain.take_alone(compartment, count);
            let alone = vacant.map_or_else(|| self.add_alone(compartment, count, true), Ok);
            return alone.or_else(|full| self.take_among_others(compartment, count, full));
        }
        if let Some(block) = self.chain.take(compartment, count) {
            return Ok(block);
        }
        self.flush(compartment);
        if let Some(block) = self.chain.take(compartment, count) {
            return Ok(block);
        }
        self.add_packed(compartment, count)?;
        // A segment that was made for `count` granules has room for them.
        self.chain
            .take(compartment, count)
            .ok_or_else(|| self.full(compartment, u64::from(count) * GRANULE_BYTES))
    }

    /// Where there is no room for one more segment a large payload lies among small ones, if they leave a gap for it.
    fn take_among_others(
        &mut self,
        compartment: Compartment,
        count: u32,
        refused: ArenaError,
    ) -> Result<Block, ArenaError> {
        match refused {
            ArenaError::Full { .. } => self.chain.take(compartment, count).ok_or(refused),
            other => Err(other),
        }
    }

    /// As [`Arena::reserve_in`], for who cannot wait until the pages of a large payload have been set aside: before bytes are
    /// written, [`Arena::add_pages`] is to be called for them, and for all before the commit.
    ///
    /// # Errors
    /// As [`Arena::reserve_in`].
    ///
    /// # Panics
    /// As [`Arena::reserve_in`].
    pub fn reserve_gradually_in(
        &mut self,
        compartment: Compartment,
        bytes: u64,
    ) -> Result<Reservation, ArenaError> {
        let count = granules(bytes.min(PAYLOAD_BYTES_MAX)) as u32;
        if count <= self.packed_max
            || bytes > PAYLOAD_BYTES_MAX
            || self.ledgers[compartment.index()].closed
        {
            return self.reserve_in(compartment, bytes);
        }
        let vacant = self.chain.take_alone(compartment, count);
        let block = vacant.map_or_else(|| self.add_alone(compartment, count, false), Ok)?;
        let generation = self.chain.mark_reserved(block);
        Ok(Reservation { block, generation })
    }

    /// Makes sure that the first `bytes` bytes of a reservation have pages, a few megabytes at a time. Does nothing where they are
    /// all there already, as they are unless the reservation was made [gradually](Arena::reserve_gradually_in).
    ///
    /// # Errors
    /// If the machine has no memory for them any more; the reservation stays, to be abandoned.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    pub fn add_pages(&mut self, reservation: &Reservation, bytes: u64) -> Result<(), ArenaError> {
        self.chain.check(reservation);
        Ok(self.chain.add_pages(reservation, bytes)?)
    }

    /// As [`Arena::add_pages`], of some more than are there, so that it does not take long; whether all are there now.
    ///
    /// # Errors
    /// As [`Arena::add_pages`].
    ///
    /// # Panics
    /// If the reservation is another arena's.
    pub fn add_some_pages(&mut self, reservation: &Reservation) -> Result<bool, ArenaError> {
        self.chain.check(reservation);
        Ok(self.chain.add_some_pages(reservation)?)
    }

    /// Makes the first segment, unless there is one: what the first reservation would do, before it matters.
    ///
    /// # Errors
    /// As [`Arena::reserve`].
    pub fn grow_to_one(&mut self) -> Result<(), ArenaError> {
        if self.segments() > 0 {
            Ok(())
        } else {
            self.add_packed(Compartment::FIRST, 1)
        }
    }

    /// Joins what the quick lists of a compartment hold back with its neighbours.
    fn flush(&mut self, compartment: Compartment) {
        let ledger = &mut self.ledgers[compartment.index()];
        while let Some(block) = ledger.quick.take_any() {
            self.chain.put(block);
        }
    }

    fn compartments(&self) -> impl Iterator<Item = Compartment> + use<> {
        (0..self.ledgers.len() as u32).map(Compartment)
    }

    /// The bytes of a reservation, to write.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    #[inline]
    pub fn bytes_mut(&mut self, reservation: &Reservation) -> &mut [u8] {
        let start = self.chain.pointer(reservation);
        // SAFETY: `pointer` has checked that the chain has set exactly this range aside, and that it lies in a mapping which is
        // writable in this process and stays where it is as long as the chain has it and it does not grow, which it does while
        // `self` is borrowed. Such ranges never overlap, and no reader is told of one before `commit`.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), reservation.capacity() as usize) }
    }

    /// Ends writing: the first `length` bytes become a leased range, the rest is free again. A range of no bytes
    /// takes no room, and releasing it does nothing.
    ///
    /// # Panics
    /// If the reservation is another arena's, or has fewer than `length` bytes.
    #[inline]
    pub fn commit(&mut self, reservation: Reservation, length: u64) -> ArenaRange {
        assert!(
            length <= reservation.capacity(),
            "more bytes committed than reserved"
        );
        let mut reservation = reservation;
        let range = ArenaRange {
            segment: reservation.segment(),
            generation: reservation.generation,
            offset: reservation.offset(),
            length,
        };
        let used = granules(length) as u32;
        if used < reservation.block.granules {
            self.shorten(&mut reservation, used);
        }
        if used > 0 {
            self.chain.mark_leased(&reservation);
        }
        range
    }

    /// Gives back what is behind the first granules of a reservation; all of it if there are none.
    fn shorten(&mut self, reservation: &mut Reservation, granules: u32) {
        self.chain.check(reservation);
        if granules == 0 {
            let cleared = self.chain.clear(reservation);
            return self.recycle(reservation.block, cleared);
        }
        if let Some(rest) = self.chain.shorten(&mut reservation.block, granules) {
            self.chain.put(rest);
        }
    }

    /// Ends writing without a result.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    pub fn abandon(&mut self, reservation: Reservation) {
        let cleared = self.chain.clear(&reservation);
        self.recycle(reservation.block, cleared);
    }

    /// Takes a leased range back.
    ///
    /// # Errors
    /// [`ArenaError::NotLeased`] if it is not leased as it was committed, to the granule; nothing changes then.
    #[inline]
    pub fn release(&mut self, range: ArenaRange) -> Result<(), ArenaError> {
        if range.length == 0 {
            return Ok(());
        }
        let back = self.chain.take_back(&range);
        let (block, cleared) = back.ok_or(ArenaError::NotLeased(range))?;
        self.recycle(block, cleared);
        Ok(())
    }

    #[inline]
    fn recycle(&mut self, block: Block, cleared: Cleared) {
        let ledger = &mut self.ledgers[cleared.compartment.index()];
        if cleared.alone || ledger.closed {
            self.chain.put(block);
            if ledger.closed || self.chain.is_unfinished(block.segment) {
                return self.clear_out(cleared, block.segment);
            }
        } else if let Some(block) = ledger.quick.put(block) {
            self.chain.put(block);
        }
        if cleared.emptied_bytes > 0 && self.chain.bytes_idle() > self.reserve_bytes {
            self.shed(block.segment);
        }
    }

    /// Segments made since this was last asked: to be announced before any range of theirs is named.
    #[inline]
    pub fn new_segments(&mut self) -> Vec<NewSegment> {
        std::mem::take(&mut self.fresh)
    }

    /// Segments retired since this, or [`Arena::trim`], was last asked, as index and generation. The arena retires by
    /// itself when its limit stands in the way of a large payload.
    #[inline]
    pub fn retired_segments(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.retired)
    }

    /// Whether [`Arena::new_segments`] or [`Arena::retired_segments`] has something to tell.
    #[inline]
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.fresh.is_empty() || !self.retired.is_empty()
    }

    /// The segment of that index and generation, if it is still there and can be passed on.
    #[inline]
    #[must_use]
    pub fn segment(&self, index: u32, generation: u32) -> Option<&Arc<SegmentWriter>> {
        self.chain.segment(index, generation)
    }

    /// A large segment that holds nothing just now, has been [made gradually](Arena::reserve_gradually_in), so of ordinary pages, and
    /// is used again and again: to be [collapsed](crate::segment::collapse_aside) by a thread that has time. Each is named once.
    #[inline]
    pub fn scattered(&mut self) -> Option<Arc<SegmentWriter>> {
        self.chain.take_scattered()
    }

    /// Bytes that all of it may have, as configured.
    #[must_use]
    pub const fn bytes_max(&self) -> u64 {
        self.config.bytes_max
    }

    /// Bytes that a compartment may have when others have no more than is [kept](Arena::keep_for_each) for them.
    ///
    /// # Panics
    /// If the compartment is another arena's.
    #[must_use]
    pub fn bytes_max_in(&self, compartment: Compartment) -> u64 {
        let kept = self.kept_for_others(compartment, |_| 0);
        let own_max = self.ledgers[compartment.index()].bytes_max;
        own_max.min(self.config.bytes_max.saturating_sub(kept))
    }

    /// Bytes of all segments, and of what was [set aside](Arena::set_aside).
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        self.chain.bytes_held() + self.aside_bytes
    }

    /// Bytes reserved or leased, in whole granules.
    #[must_use]
    pub fn bytes_leased(&self) -> u64 {
        self.chain.bytes_used(None)
    }

    /// Bytes of all segments of a compartment.
    ///
    /// # Panics
    /// If the compartment is another arena's.
    #[must_use]
    pub fn bytes_held_in(&self, compartment: Compartment) -> u64 {
        self.chain.bytes_held_in(compartment)
    }

    /// Bytes of a compartment that are reserved or leased, in whole granules.
    ///
    /// # Panics
    /// If the compartment is another arena's.
    #[must_use]
    pub fn bytes_leased_in(&self, compartment: Compartment) -> u64 {
        self.chain.bytes_used(Some(compartment))
    }

    /// Bytes of the largest payload that shares a segment with others; one that is larger gets a segment of its own.
    #[must_use]
    pub fn packed_bytes_max(&self) -> u64 {
        u64::from(self.packed_max) * GRANULE_BYTES
    }

    /// Tells of use: grows whenever a segment becomes empty. While it stays the same, those that are empty have been it all the time.
    #[must_use]
    pub fn emptied(&self) -> u64 {
        self.chain.emptied()
    }

    /// Segments.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.chain.segments()
    }
}

#[cfg(test)]
mod tests;
