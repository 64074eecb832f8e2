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
//! nanoseconds and without allocation; behind the lists stands a best-fit map of joined free blocks.
//!
//! **Fragmentation.** Inside a range at most 63 bytes are lost. Between ranges, the lists hold back at most
//! [`QUICK_LARGE_MAX`] large blocks and [`QUICK_SMALL_MAX`] of each small size, and all of it is given up before the
//! arena grows, so that they never cost a segment. What remains is best fit's own loss: good for the sizes and
//! lifetimes of real workflows, and for adversarial ones no better than Robson's bound (live bytes times the ratio of
//! the largest to the smallest range; Computer Journal 20, 1977). Either way `bytes_max` holds: beyond it
//! [`Arena::reserve`] fails.
#![allow(
    unsafe_code,
    reason = "a reservation's bytes are lent out as a mutable slice"
)]

mod aside;
mod chain;
mod quick;

use crate::descriptor::ArenaRange;
use crate::segment::{SegmentError, SegmentWriter};
use chain::{Block, Chain};
use quick::Quick;
use std::sync::Arc;
use thiserror::Error;

pub use chain::SEGMENT_BYTES_MAX;
pub use quick::{QUICK_LARGE_MAX, QUICK_SMALL_MAX};

/// Ranges begin on multiples of this and take whole multiples of it: a cache line, and enough alignment for archives.
pub const GRANULE_BYTES: u64 = 64;

const fn granules(bytes: u64) -> u64 {
    bytes.div_ceil(GRANULE_BYTES)
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
        "no room for {bytes} bytes: the arena holds {held} of at most {max} bytes, {leased} of them in use; give the \
         executable more memory, or let fewer payloads live at once"
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
    /// More than a segment can be.
    #[error("a payload of {bytes} bytes: the largest possible has {SEGMENT_BYTES_MAX}")]
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
    granules_leased: u64,
    bytes_max: u64,
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
    chain: Chain,
    /// By compartment; of those that are gone for use again.
    ledgers: Vec<Ledger>,
    vacant: Vec<Compartment>,
    fresh: Vec<NewSegment>,
    retired: Vec<(u32, u32)>,
    /// What is held beside it and counts in it.
    aside_bytes: u64,
}

impl Arena {
    /// An arena without segments; the first reservation makes the first.
    #[must_use]
    pub fn new(config: ArenaConfig) -> Self {
        let mut arena = Self {
            config,
            chain: Chain::default(),
            ledgers: Vec::new(),
            vacant: Vec::new(),
            fresh: Vec::new(),
            retired: Vec::new(),
            aside_bytes: 0,
        };
        arena.open_compartment(u64::MAX);
        arena
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
        self.clear_out(compartment);
    }

    /// Retires the segments of a closed compartment in which nothing is left; with the last one it can be opened anew.
    fn clear_out(&mut self, compartment: Compartment) {
        while self.retire_one(compartment) {}
        if self.chain.bytes_held_in(compartment) == 0 {
            self.vacant.push(compartment);
        }
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
        if bytes > SEGMENT_BYTES_MAX {
            return Err(ArenaError::Bytes { bytes });
        }
        let count = granules(bytes).max(1) as u32;
        let index = compartment.index();
        let block = match self.ledgers[index].quick.take(count) {
            Some(block) => block,
            None => self.reserve_cold(compartment, count)?,
        };
        self.ledgers[index].granules_leased += u64::from(count);
        let generation = self.chain.mark_reserved(block);
        Ok(Reservation { block, generation })
    }

    #[cold]
    fn reserve_cold(&mut self, compartment: Compartment, count: u32) -> Result<Block, ArenaError> {
        if self.ledgers[compartment.index()].closed {
            return Err(self.full(compartment, u64::from(count) * GRANULE_BYTES));
        }
        if let Some(block) = self.chain.take(compartment, count) {
            return Ok(block);
        }
        self.flush(compartment);
        if let Some(block) = self.chain.take(compartment, count) {
            return Ok(block);
        }
        self.add_segment(compartment, count)?;
        // A segment that was made for `count` granules has room for them.
        self.chain
            .take(compartment, count)
            .ok_or_else(|| self.full(compartment, u64::from(count) * GRANULE_BYTES))
    }

    /// Makes the first segment, unless there is one: what the first reservation would do, before it matters.
    ///
    /// # Errors
    /// As [`Arena::reserve`].
    pub fn grow_to_one(&mut self) -> Result<(), ArenaError> {
        if self.segments() > 0 {
            Ok(())
        } else {
            self.add_segment(Compartment::FIRST, 1)
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

    /// Why there is no room, in the compartment or in all.
    fn full(&self, compartment: Compartment, bytes: u64) -> ArenaError {
        let max = self.ledgers[compartment.index()].bytes_max;
        if max < self.config.bytes_max {
            let held = self.chain.bytes_held_in(compartment);
            if bytes > max.saturating_sub(held) {
                let leased = self.bytes_leased_in(compartment);
                return ArenaError::Full {
                    bytes,
                    held,
                    leased,
                    max,
                };
            }
        }
        ArenaError::Full {
            bytes,
            held: self.bytes_held(),
            leased: self.bytes_leased(),
            max: self.config.bytes_max,
        }
    }

    /// Bytes by which the segments of a compartment may grow.
    fn room(&self, compartment: Compartment) -> u64 {
        let most = self.ledgers[compartment.index()].bytes_max;
        let here = most.saturating_sub(self.chain.bytes_held_in(compartment));
        here.min(self.config.bytes_max.saturating_sub(self.bytes_held()))
    }

    fn add_segment(&mut self, compartment: Compartment, count: u32) -> Result<(), ArenaError> {
        let bytes = u64::from(count) * GRANULE_BYTES;
        let wanted = Chain::segment_bytes(bytes.max(self.config.segment_bytes));
        let least = Chain::segment_bytes(bytes);
        // Free segments that are too small for this payload, or another compartment's, must not stand in its way.
        while self.room(compartment) < wanted && self.retire_one(compartment) {}
        if self.room(compartment) < least {
            for other in self.compartments().filter(|other| *other != compartment) {
                self.flush(other);
                while self.room(compartment) < wanted && self.retire_one(other) {}
            }
        }
        let room = self.room(compartment);
        if least > room {
            return Err(self.full(compartment, bytes));
        }
        let size = if wanted <= room { wanted } else { least };
        let made = self.chain.add(compartment, &self.config.name, size)?;
        self.fresh.push(made);
        Ok(())
    }

    /// Retires a segment of a compartment in which nothing is left, if there is one. Its quick lists must be empty.
    fn retire_one(&mut self, compartment: Compartment) -> bool {
        let Some((index, generation)) = self.chain.remove_free(compartment, 0) else {
            return false;
        };
        self.note_retired(index, generation);
        true
    }

    fn note_retired(&mut self, index: u32, generation: u32) {
        let announced = self.fresh.len();
        self.fresh
            .retain(|fresh| (fresh.index, fresh.generation) != (index, generation));
        // Nobody needs to hear of the end of what they never heard of.
        if self.fresh.len() == announced {
            self.retired.push((index, generation));
        }
    }

    /// The bytes of a reservation, to write.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    #[inline]
    pub fn bytes_mut(&mut self, reservation: &Reservation) -> &mut [u8] {
        let (offset, capacity) = (reservation.offset(), reservation.capacity());
        let start = self.chain.reserved(reservation).pointer(offset, capacity);
        let Some(start) = start else {
            unreachable!("reserved blocks lie in their segment")
        };
        // SAFETY: `pointer` has checked that the range lies in a mapping which is writable in this process and stays
        // as long as the chain has it, which it does while `self` is borrowed. `reserved` has checked that the chain
        // has set exactly this range aside; such ranges never overlap, and no reader is told of one before `commit`.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), capacity as usize) }
    }

    /// Makes a reservation hold at least `bytes` bytes: in place if what follows it is free, else by moving it, in
    /// which case its first `keep` bytes are copied.
    ///
    /// # Errors
    /// As [`Arena::reserve`]; the reservation is unchanged then.
    ///
    /// # Panics
    /// If the reservation is another arena's, or `keep` is more than it holds.
    pub fn grow(
        &mut self,
        reservation: &mut Reservation,
        keep: u64,
        bytes: u64,
    ) -> Result<(), ArenaError> {
        if bytes <= reservation.capacity() {
            return Ok(());
        }
        if bytes > SEGMENT_BYTES_MAX {
            return Err(ArenaError::Bytes { bytes });
        }
        assert!(
            keep <= reservation.capacity(),
            "more bytes to keep than there are"
        );
        self.chain.reserved(reservation);
        let further = granules(bytes) as u32 - reservation.block.granules;
        let compartment = self.chain.compartment_of(reservation.block.segment);
        if self.chain.extend(&mut reservation.block, further) {
            self.ledgers[compartment.index()].granules_leased += u64::from(further);
            self.chain.mark_reserved(reservation.block);
            return Ok(());
        }
        let larger = self.reserve_in(compartment, bytes)?;
        let kept = self
            .chain
            .reserved(reservation)
            .read(reservation.offset(), keep);
        let Some(kept) = kept else {
            unreachable!("reserved blocks lie in their segment")
        };
        let copied = self.chain.reserved(&larger).write(larger.offset(), kept);
        assert!(copied, "reserved blocks lie in their segment");
        self.abandon(std::mem::replace(reservation, larger));
        Ok(())
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
        self.chain.reserved(&reservation);
        let used = granules(length) as u32;
        let Reservation {
            mut block,
            generation,
        } = reservation;
        let offset = u64::from(block.start) * GRANULE_BYTES;
        if used < block.granules {
            let rest = block.split(used);
            let compartment = self.chain.clear(block.place());
            self.give_up(compartment, rest);
        }
        if used > 0 {
            self.chain.mark_leased(block);
        }
        ArenaRange {
            segment: block.segment,
            generation,
            offset,
            length,
        }
    }

    /// Ends writing without a result.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    pub fn abandon(&mut self, reservation: Reservation) {
        self.chain.reserved(&reservation);
        self.recycle(reservation.block);
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
        let block = self
            .chain
            .leased(&range)
            .ok_or(ArenaError::NotLeased(range))?;
        self.recycle(block);
        Ok(())
    }

    #[inline]
    fn recycle(&mut self, block: Block) {
        let compartment = self.chain.clear(block.place());
        let ledger = &mut self.ledgers[compartment.index()];
        if ledger.closed {
            return self.give_up(compartment, block);
        }
        ledger.granules_leased -= u64::from(block.granules);
        if let Some(block) = ledger.quick.put(block) {
            self.chain.put(block);
        }
    }

    /// Joins a block that is not in use any more with its neighbours at once.
    fn give_up(&mut self, compartment: Compartment, block: Block) {
        let ledger = &mut self.ledgers[compartment.index()];
        ledger.granules_leased -= u64::from(block.granules);
        self.chain.put(block);
        if ledger.closed {
            self.clear_out(compartment);
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

    /// Gives segments in which nothing is left back to the kernel, as long as `keep_bytes` bytes in segments remain.
    /// Returns what readers are to be told: index and generation of all segments retired since last asked.
    pub fn trim(&mut self, keep_bytes: u64) -> Vec<(u32, u32)> {
        for compartment in self.compartments() {
            self.flush(compartment);
            while let Some((index, generation)) = self.chain.remove_free(compartment, keep_bytes) {
                self.note_retired(index, generation);
            }
        }
        self.retired_segments()
    }

    /// The segment of that index and generation, if it is still there.
    #[inline]
    #[must_use]
    pub fn segment(&self, index: u32, generation: u32) -> Option<&Arc<SegmentWriter>> {
        self.chain.segment(index, generation)
    }

    /// Bytes of all segments, and of what was [set aside](Arena::set_aside).
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        self.chain.bytes_held() + self.aside_bytes
    }

    /// Bytes reserved or leased, in whole granules.
    #[must_use]
    pub fn bytes_leased(&self) -> u64 {
        let ledgers = self.ledgers.iter();
        let granules: u64 = ledgers.map(|ledger| ledger.granules_leased).sum();
        granules * GRANULE_BYTES
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
        self.ledgers[compartment.index()].granules_leased * GRANULE_BYTES
    }

    /// Segments.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.chain.segments()
    }
}

#[cfg(test)]
mod tests;
