//! The chain of segments: which granules are reserved, leased or free, and for each compartment a best-fit map of what is free.
//!
//! Blocks that the quick lists hold are neither here nor leased: they have been taken and not been put back.

use super::{Compartment, GRANULE_BYTES, NewSegment, Reservation, granules};
use crate::descriptor::ArenaRange;
use crate::segment::{HUGE_PAGE_BYTES, SegmentError, SegmentWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of the largest segment, and so of the largest payload: 127 GiB, what 31 bits of granules can count.
pub const SEGMENT_BYTES_MAX: u64 = 127 << 30;

/// Marks a block as leased; without it, a block that is in use is reserved.
const LEASED: u32 = 1 << 31;
/// Segments are whole numbers of these.
const PAGE_BYTES: u64 = 4096;

/// A run of granules of one segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Block {
    /// First in the order, so that a set of blocks finds the best fit.
    pub(super) granules: u32,
    pub(super) segment: u32,
    pub(super) start: u32,
}

impl Block {
    /// Where it lies: what names it while it is in use.
    pub(super) fn place(&self) -> Place {
        Place {
            segment: self.segment,
            start: self.start,
        }
    }

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

/// The first granule of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    segment: u32,
    start: u32,
}

#[derive(Debug)]
struct Segment {
    writer: Arc<SegmentWriter>,
    compartment: Compartment,
    granules: u32,
    /// By granule: the size of the block in use that begins there, with [`LEASED`]; else 0. Untouched parts cost no
    /// memory, since the allocator hands out zero pages.
    in_use: Vec<u32>,
    /// Free blocks: start to size.
    free: BTreeMap<u32, u32>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    segment: Option<Segment>,
}

/// What a compartment has.
#[derive(Debug, Default)]
struct Stock {
    by_size: BTreeSet<Block>,
    bytes_held: u64,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    /// By compartment.
    stocks: Vec<Stock>,
    bytes_held: u64,
}

impl Chain {
    /// Bytes of a segment for `bytes` bytes: whole huge pages from one huge page on.
    pub(super) const fn segment_bytes(bytes: u64) -> u64 {
        bytes.next_multiple_of(if bytes < HUGE_PAGE_BYTES {
            PAGE_BYTES
        } else {
            HUGE_PAGE_BYTES
        })
    }

    /// Makes room for the bookkeeping of a compartment.
    pub(super) fn open(&mut self, compartment: Compartment) {
        if self.stocks.len() <= compartment.index() {
            self.stocks
                .resize_with(compartment.index() + 1, Stock::default);
        }
    }

    pub(super) fn bytes_held(&self) -> u64 {
        self.bytes_held
    }

    pub(super) fn bytes_held_in(&self, compartment: Compartment) -> u64 {
        self.stocks[compartment.index()].bytes_held
    }

    /// Whose segment it is.
    #[inline]
    pub(super) fn compartment_of(&mut self, segment: u32) -> Compartment {
        self.at(segment).compartment
    }

    pub(super) fn segments(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.segment.is_some())
            .count()
    }

    pub(super) fn segment(&self, index: u32, generation: u32) -> Option<&Arc<SegmentWriter>> {
        let slot = self
            .slots
            .get(index as usize)
            .filter(|slot| slot.generation == generation)?;
        slot.segment.as_ref().map(|segment| &segment.writer)
    }

    fn at(&mut self, index: u32) -> &mut Segment {
        let segment = self
            .slots
            .get_mut(index as usize)
            .and_then(|slot| slot.segment.as_mut());
        // A segment stays as long as a block of it is in use.
        segment.unwrap_or_else(|| unreachable!("a block of a segment that is gone"))
    }

    /// Makes a segment of `bytes` bytes for a compartment, all of it free.
    pub(super) fn add(
        &mut self,
        compartment: Compartment,
        name: &str,
        bytes: u64,
    ) -> Result<NewSegment, SegmentError> {
        let index = self
            .vacant
            .last()
            .copied()
            .unwrap_or(self.slots.len() as u32);
        let generation = self
            .slots
            .get(index as usize)
            .map_or(0, |slot| slot.generation);
        let writer = Arc::new(SegmentWriter::create(
            &format!("{name}-{index}.{generation}"),
            bytes,
        )?);
        let granules = (writer.length() / GRANULE_BYTES) as u32;
        let segment = Segment {
            writer: Arc::clone(&writer),
            compartment,
            granules,
            in_use: vec![0; granules as usize],
            free: BTreeMap::from([(0, granules)]),
        };
        if self.vacant.pop().is_none() {
            self.slots.push(Slot::default());
        }
        self.slots[index as usize].segment = Some(segment);
        let stock = &mut self.stocks[compartment.index()];
        stock.by_size.insert(Block {
            granules,
            segment: index,
            start: 0,
        });
        stock.bytes_held += writer.length();
        self.bytes_held += writer.length();
        Ok(NewSegment {
            index,
            generation,
            compartment,
            segment: writer,
        })
    }

    /// Removes one segment of a compartment that is wholly free, if at least `keep_bytes` bytes of the whole chain remain: the
    /// largest that can go. Its index is used again with the next generation.
    pub(super) fn remove_free(
        &mut self,
        compartment: Compartment,
        keep_bytes: u64,
    ) -> Option<(u32, u32)> {
        let removable = self.bytes_held.checked_sub(keep_bytes)? / GRANULE_BYTES;
        let stock = &mut self.stocks[compartment.index()];
        let most = Block {
            granules: u32::try_from(removable).unwrap_or(u32::MAX),
            segment: u32::MAX,
            start: u32::MAX,
        };
        let whole = |block: &&Block| {
            let segment = self.slots[block.segment as usize].segment.as_ref();
            segment.is_some_and(|segment| segment.granules == block.granules)
        };
        let block = *stock.by_size.range(..=most).rev().find(whole)?;
        stock.by_size.remove(&block);
        let slot = &mut self.slots[block.segment as usize];
        let generation = slot.generation;
        let bytes = slot.segment.take()?.writer.length();
        stock.bytes_held -= bytes;
        self.bytes_held -= bytes;
        // An index whose generations are used up is never used again.
        if let Some(next) = generation.checked_add(1) {
            slot.generation = next;
            self.vacant.push(block.segment);
        }
        Some((block.segment, generation))
    }

    /// Takes the smallest free block of a compartment of at least `granules`, cut to size.
    pub(super) fn take(&mut self, compartment: Compartment, granules: u32) -> Option<Block> {
        let mut block = *self.stocks[compartment.index()]
            .by_size
            .range(
                Block {
                    granules,
                    segment: 0,
                    start: 0,
                }..,
            )
            .next()?;
        self.remove(block);
        if block.granules > granules {
            let rest = block.split(granules);
            self.insert(rest);
        }
        Some(block)
    }

    /// Puts a block back and joins it with its free neighbours.
    pub(super) fn put(&mut self, mut block: Block) {
        let free = &self.at(block.segment).free;
        let before = free
            .range(..block.start)
            .next_back()
            .map(|(&start, &granules)| (start, granules));
        let after = free.get(&(block.start + block.granules)).copied();
        if let Some(granules) = after {
            self.remove(Block {
                granules,
                segment: block.segment,
                start: block.start + block.granules,
            });
            block.granules += granules;
        }
        if let Some((start, granules)) =
            before.filter(|(start, granules)| start + granules == block.start)
        {
            self.remove(Block {
                granules,
                segment: block.segment,
                start,
            });
            block.start = start;
            block.granules += granules;
        }
        self.insert(block);
    }

    /// Makes a block larger by what follows it, if that is free.
    pub(super) fn extend(&mut self, block: &mut Block, further: u32) -> bool {
        let start = block.start + block.granules;
        let Some(granules) = self
            .at(block.segment)
            .free
            .get(&start)
            .copied()
            .filter(|&free| free >= further)
        else {
            return false;
        };
        let mut next = Block {
            granules,
            segment: block.segment,
            start,
        };
        self.remove(next);
        let rest = next.split(further);
        if rest.granules > 0 {
            self.insert(rest);
        }
        block.granules += further;
        true
    }

    fn insert(&mut self, block: Block) {
        let segment = self.at(block.segment);
        segment.free.insert(block.start, block.granules);
        let compartment = segment.compartment;
        self.stocks[compartment.index()].by_size.insert(block);
    }

    fn remove(&mut self, block: Block) {
        let segment = self.at(block.segment);
        segment.free.remove(&block.start);
        let compartment = segment.compartment;
        self.stocks[compartment.index()].by_size.remove(&block);
    }

    /// Notes that a block is being written; its segment's generation.
    #[inline]
    pub(super) fn mark_reserved(&mut self, block: Block) -> u32 {
        self.at(block.segment).in_use[block.start as usize] = block.granules;
        self.slots[block.segment as usize].generation
    }

    /// Notes that a block is leased.
    #[inline]
    pub(super) fn mark_leased(&mut self, block: Block) {
        self.at(block.segment).in_use[block.start as usize] = block.granules | LEASED;
    }

    /// Notes that the block which begins there is no longer in use; whose it was.
    #[inline]
    pub(super) fn clear(&mut self, place: Place) -> Compartment {
        let segment = self.at(place.segment);
        segment.in_use[place.start as usize] = 0;
        segment.compartment
    }

    /// The segment of a reservation.
    ///
    /// # Panics
    /// If the chain has not set exactly this block aside: then the reservation is another arena's.
    #[inline]
    pub(super) fn reserved(&self, reservation: &Reservation) -> &SegmentWriter {
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
            Some(segment) => &segment.writer,
            None => panic!("a reservation of another arena"),
        }
    }

    /// The block of a range, if it is leased exactly so.
    #[inline]
    pub(super) fn leased(&self, range: &ArenaRange) -> Option<Block> {
        let slot = self
            .slots
            .get(range.segment as usize)
            .filter(|slot| slot.generation == range.generation)?;
        let segment = slot.segment.as_ref()?;
        if !range.offset.is_multiple_of(GRANULE_BYTES) || range.length > SEGMENT_BYTES_MAX {
            return None;
        }
        let start = u32::try_from(range.offset / GRANULE_BYTES).ok()?;
        let granules = granules(range.length) as u32;
        let leased = *segment.in_use.get(start as usize)? == granules | LEASED;
        leased.then_some(Block {
            granules,
            segment: range.segment,
            start,
        })
    }
}
