//! The chain of segments: which granules are reserved, leased or free, and where the next payload goes.
//!
//! There are two kinds of segments. Those that are *packed* hold many ranges: a range goes to the oldest one with room, and there
//! to the smallest free block that holds it. One that stands *alone* holds one large range, and is free as a whole when that comes
//! back. Blocks that the quick lists hold are neither here nor leased: they have been taken and not been put back.

mod alone;
mod packed;

use super::ages::{Ages, Standing};
use super::{Compartment, GRANULE_BYTES, Reservation, granules};
use crate::binding::PAYLOAD_BYTES_MAX;
use crate::descriptor::ArenaRange;
use crate::segment::{SegmentDraft, SegmentWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::Arc;

/// Marks a block as leased; without it, a block that is in use is reserved.
const LEASED: u32 = 1 << 31;
/// Pages that are set aside at once where that is done gradually: a millisecond of work.
const STEP_BYTES: u64 = 4 << 20;
/// Tables of ranges in use that are kept for the next packed segments, at most: as many as an executor's arena has segments.
const SPARE_MAX: usize = 8;
/// Uses after which a segment is worth the time that it takes to make huge pages of its ordinary ones: it will be used again.
const USES_BEFORE_COLLAPSE: u32 = 4;

const _: () = assert!(PAYLOAD_BYTES_MAX / GRANULE_BYTES < LEASED as u64);

/// A run of granules of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block {
    pub(super) granules: u32,
    pub(super) segment: u32,
    pub(super) start: u32,
}

impl Block {
    /// Cuts the block after `granules`, and returns what is behind the cut.
    pub(super) fn split(&mut self, granules: u32) -> Self {
        let rest = Self {
            segment: self.segment,
            start: self.start + granules,
            granules: self.granules - granules,
        };
        self.granules = granules;
        rest
    }
}

#[derive(Debug)]
enum Memory {
    Sealed(Arc<SegmentWriter>),
    /// One that stands alone, and may still grow. Nobody has been told of it.
    Draft(SegmentDraft),
}

impl Memory {
    fn pointer(&self, offset: u64, length: u64) -> Option<NonNull<u8>> {
        match self {
            Self::Sealed(writer) => writer.pointer(offset, length),
            Self::Draft(draft) => draft.pointer(offset, length),
        }
    }
}

/// What a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Many ranges; where it stands among those of its compartment.
    Packed(Standing),
    /// One.
    Alone,
}

#[derive(Debug)]
struct Segment {
    /// Granules that are reserved or leased.
    used: u32,
    compartment: Compartment,
    kind: Kind,
    /// By granule: the size of the block in use that begins there, with [`LEASED`]; else 0. Untouched parts cost no
    /// memory, since the allocator hands out zero pages. Of a segment that stands alone: of its first granule.
    in_use: Vec<u32>,
    /// When it was last emptied, by [`Chain::clock`].
    idle_since: u64,
    bytes: u64,
    /// Bytes whose pages have been set aside: all, once what it holds is committed.
    present: u64,
    /// Of one whose pages were set aside gradually, so that they are ordinary ones: how often it has been used.
    scattered: Option<u32>,
    memory: Memory,
    /// Of a packed one, its free blocks: start to size, and by size.
    free: BTreeMap<u32, u32>,
    by_size: BTreeSet<(u32, u32)>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    segment: Option<Segment>,
}

/// What a compartment has.
#[derive(Debug, Default)]
struct Stock {
    packed: Ages,
    /// Segments that stand alone and hold nothing.
    vacant: Vec<u32>,
    bytes_held: u64,
}

/// What came of a block that is not in use any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cleared {
    pub(super) compartment: Compartment,
    pub(super) alone: bool,
    /// Bytes of its segment, if nothing else in that is in use; else 0.
    pub(super) emptied_bytes: u64,
}

/// A segment in which nothing is in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) segment: u32,
    pub(super) compartment: Compartment,
    pub(super) bytes: u64,
    pub(super) since: u64,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    /// By compartment.
    stocks: Vec<Stock>,
    bytes_held: u64,
    /// Of segments in which nothing is in use.
    bytes_idle: u64,
    /// Counts how often a segment was emptied.
    clock: u64,
    /// Segments that hold nothing, and would gain by huge pages.
    scattered: Vec<u32>,
    /// Tables of packed segments that are gone, all zeroes. An allocator would clear, and so touch, the whole of one that it
    /// hands out again, where a table has a few entries.
    spare: Vec<Vec<u32>>,
}

impl Chain {
    /// Makes room for the bookkeeping of a compartment.
    pub(super) fn open(&mut self, compartment: Compartment) {
        if self.stocks.len() <= compartment.index() {
            self.stocks
                .resize_with(compartment.index() + 1, Stock::default);
        }
    }

    pub(super) fn emptied(&self) -> u64 {
        self.clock
    }

    pub(super) fn bytes_held(&self) -> u64 {
        self.bytes_held
    }

    pub(super) fn bytes_held_in(&self, compartment: Compartment) -> u64 {
        self.stocks[compartment.index()].bytes_held
    }

    #[inline]
    pub(super) fn bytes_idle(&self) -> u64 {
        self.bytes_idle
    }

    fn all(&self) -> impl Iterator<Item = (u32, &Segment)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(index, slot)| Some((index, slot.segment.as_ref()?)))
    }

    /// Bytes reserved or leased, of one compartment or of all.
    pub(super) fn bytes_used(&self, compartment: Option<Compartment>) -> u64 {
        let all = self.all().map(|(_, segment)| segment);
        let of = all.filter(|segment| compartment.is_none_or(|own| own == segment.compartment));
        of.map(|segment| u64::from(segment.used) * GRANULE_BYTES)
            .sum()
    }

    /// Segments in which nothing is in use.
    pub(super) fn idle(&self) -> impl Iterator<Item = Idle> {
        let idle = self.all().filter(|(_, segment)| segment.used == 0);
        idle.map(|(index, segment)| Idle {
            segment: index,
            compartment: segment.compartment,
            bytes: segment.bytes,
            since: segment.idle_since,
        })
    }

    pub(super) fn segments(&self) -> usize {
        self.all().count()
    }

    pub(super) fn segment(&self, index: u32, generation: u32) -> Option<&Arc<SegmentWriter>> {
        let slot = self
            .slots
            .get(index as usize)
            .filter(|slot| slot.generation == generation)?;
        match &slot.segment.as_ref()?.memory {
            Memory::Sealed(writer) => Some(writer),
            Memory::Draft(_) => None,
        }
    }

    #[inline]
    fn at(&mut self, index: u32) -> &mut Segment {
        let segment = self
            .slots
            .get_mut(index as usize)
            .and_then(|slot| slot.segment.as_mut());
        // A segment stays as long as a block of it is in use.
        segment.unwrap_or_else(|| unreachable!("a block of a segment that is gone"))
    }

    /// The index of the next segment, and its generation.
    fn next_index(&self) -> (u32, u32) {
        let index = self.vacant.last().copied();
        let index = index.unwrap_or(self.slots.len() as u32);
        let slot = self.slots.get(index as usize);
        (index, slot.map_or(0, |slot| slot.generation))
    }

    /// The name of the next segment.
    pub(super) fn next_name(&self, arena: &str) -> String {
        let (index, generation) = self.next_index();
        format!("{arena}-{index}.{generation}")
    }

    /// Takes a segment in, nothing of which is in use. Its index is what [`Chain::next_name`] has named.
    fn insert_segment(&mut self, mut segment: Segment) -> (u32, u32) {
        let (index, generation) = self.next_index();
        if self.vacant.pop().is_none() {
            self.slots.push(Slot::default());
        }
        self.stocks[segment.compartment.index()].bytes_held += segment.bytes;
        self.bytes_held += segment.bytes;
        self.bytes_idle += segment.bytes;
        self.clock += 1;
        segment.idle_since = self.clock;
        self.slots[index as usize].segment = Some(segment);
        (index, generation)
    }

    /// An index can be used again, with the next generation. One whose generations are used up is never used again.
    fn free_index(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.vacant.push(index);
        }
    }

    /// Removes a segment in which nothing is in use and of which the quick lists hold nothing; its generation.
    pub(super) fn remove(&mut self, index: u32) -> u32 {
        let slot = &mut self.slots[index as usize];
        let generation = slot.generation;
        let Some(segment) = slot.segment.take() else {
            unreachable!("a segment that is gone");
        };
        debug_assert_eq!(segment.used, 0, "a segment in use");
        let stock = &mut self.stocks[segment.compartment.index()];
        match segment.kind {
            Kind::Packed(place) => {
                debug_assert_eq!(segment.free.len(), 1, "blocks that are held back");
                stock.packed.remove(place);
                if self.spare.len() < SPARE_MAX {
                    self.spare.push(segment.in_use);
                }
            }
            Kind::Alone => stock.vacant.retain(|vacant| *vacant != index),
        }
        stock.bytes_held -= segment.bytes;
        self.bytes_held -= segment.bytes;
        self.bytes_idle -= segment.bytes;
        self.free_index(index);
        generation
    }

    /// Notes that a block is being written; its segment's generation.
    #[inline]
    pub(super) fn mark_reserved(&mut self, block: Block) -> u32 {
        let Some(Slot {
            generation,
            segment: Some(segment),
        }) = self.slots.get_mut(block.segment as usize)
        else {
            unreachable!("a block of a segment that is gone");
        };
        segment.in_use[block.start as usize] = block.granules;
        if segment.used == 0 {
            self.bytes_idle -= segment.bytes;
        }
        segment.used += block.granules;
        *generation
    }

    /// Notes that what was reserved is leased.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    #[inline]
    pub(super) fn mark_leased(&mut self, reservation: &Reservation) {
        let Block {
            granules, start, ..
        } = reservation.block;
        let segment = reserved_mut(&mut self.slots, reservation);
        segment.in_use[start as usize] = granules | LEASED;
    }

    /// Notes that a block which was reserved is smaller by so much, and returns what is behind it: nothing if it stands alone.
    pub(super) fn shorten(&mut self, block: &mut Block, granules: u32) -> Option<Block> {
        let segment = self.at(block.segment);
        segment.used -= block.granules - granules;
        segment.in_use[block.start as usize] = granules;
        let is_packed = segment.kind != Kind::Alone;
        let rest = block.split(granules);
        is_packed.then_some(rest)
    }

    /// Notes that what was reserved is no longer in use.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    pub(super) fn clear(&mut self, reservation: &Reservation) -> Cleared {
        let segment = reserved_mut(&mut self.slots, reservation);
        let cleared = segment.clear(reservation.block, self.clock + 1);
        self.note(cleared)
    }

    /// Takes a range back, and returns its block, if it is leased exactly so.
    #[inline]
    pub(super) fn take_back(&mut self, range: &ArenaRange) -> Option<(Block, Cleared)> {
        let slot = self.slots.get_mut(range.segment as usize)?;
        let segment = slot.segment.as_mut()?;
        if slot.generation != range.generation
            || !range.offset.is_multiple_of(GRANULE_BYTES)
            || range.length > PAYLOAD_BYTES_MAX
        {
            return None;
        }
        let start = u32::try_from(range.offset / GRANULE_BYTES).ok()?;
        let granules = granules(range.length) as u32;
        if *segment.in_use.get(start as usize)? != granules | LEASED {
            return None;
        }
        let block = Block {
            granules,
            segment: range.segment,
            start,
        };
        let cleared = segment.clear(block, self.clock + 1);
        Some((block, self.note(cleared)))
    }

    #[inline]
    fn note(&mut self, cleared: Cleared) -> Cleared {
        if cleared.emptied_bytes > 0 {
            self.clock += 1;
            self.bytes_idle += cleared.emptied_bytes;
        }
        cleared
    }

    /// The segment of a reservation.
    ///
    /// # Panics
    /// If the chain has not set exactly this block aside: then the reservation is another arena's.
    #[inline]
    fn reserved(&self, reservation: &Reservation) -> &Segment {
        let Block {
            granules,
            segment,
            start,
        } = reservation.block;
        let found = self
            .slots
            .get(segment as usize)
            .filter(|slot| slot.generation == reservation.generation);
        let found = found.and_then(|slot| slot.segment.as_ref());
        match found.filter(|segment| segment.in_use.get(start as usize) == Some(&granules)) {
            Some(segment) => segment,
            None => panic!("a reservation of another arena"),
        }
    }

    /// That a reservation is this arena's.
    ///
    /// # Panics
    /// If it is not.
    #[inline]
    pub(super) fn check(&self, reservation: &Reservation) {
        let _ = self.reserved(reservation);
    }

    /// Where the bytes of a reservation lie.
    ///
    /// # Panics
    /// If the reservation is another arena's.
    #[inline]
    pub(super) fn pointer(&self, reservation: &Reservation) -> NonNull<u8> {
        let (offset, capacity) = (reservation.offset(), reservation.capacity());
        let start = self.reserved(reservation).memory.pointer(offset, capacity);
        start.unwrap_or_else(|| unreachable!("reserved blocks lie in their segment"))
    }
}

impl Segment {
    /// Notes that a block is no longer in use.
    #[inline]
    fn clear(&mut self, block: Block, now: u64) -> Cleared {
        self.in_use[block.start as usize] = 0;
        self.used -= block.granules;
        let is_idle = self.used == 0;
        if is_idle {
            self.idle_since = now;
        }
        Cleared {
            compartment: self.compartment,
            alone: self.kind == Kind::Alone,
            emptied_bytes: if is_idle { self.bytes } else { 0 },
        }
    }
}

/// The segment of a reservation.
///
/// # Panics
/// If the chain has not set exactly this block aside: then the reservation is another arena's.
#[inline]
fn reserved_mut<'s>(slots: &'s mut [Slot], reservation: &Reservation) -> &'s mut Segment {
    let Block {
        granules,
        segment,
        start,
    } = reservation.block;
    match slots.get_mut(segment as usize) {
        Some(Slot {
            generation,
            segment: Some(segment),
        }) if *generation == reservation.generation
            && segment.in_use.get(start as usize) == Some(&granules) =>
        {
            segment
        }
        _ => panic!("a reservation of another arena"),
    }
}
