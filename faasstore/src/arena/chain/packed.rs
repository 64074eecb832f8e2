//! Segments of many ranges. A range goes to the oldest one with room, and there to the smallest free block that holds it.

use super::{Block, Chain, Kind, Memory, Segment, USES_BEFORE_COLLAPSE};
use crate::arena::{Compartment, GRANULE_BYTES, NewSegment};
use crate::segment::SegmentWriter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Chain {
    /// Whether a segment that is there holds many ranges.
    #[cfg(test)]
    pub(in crate::arena) fn is_packed(&self, index: u32) -> bool {
        let segment = self.slots[index as usize].segment.as_ref();
        segment.is_some_and(|segment| segment.kind != Kind::Alone)
    }

    /// Takes in a segment of many ranges, all of it free.
    pub(in crate::arena) fn add_packed(
        &mut self,
        compartment: Compartment,
        writer: SegmentWriter,
    ) -> NewSegment {
        let writer = Arc::new(writer);
        let granules = (writer.length() / GRANULE_BYTES) as u32;
        let spare = self.spare.iter();
        let in_use = match spare
            .map(Vec::len)
            .position(|length| length == granules as usize)
        {
            Some(place) => self.spare.swap_remove(place),
            None => vec![0; granules as usize],
        };
        debug_assert!(
            in_use.iter().all(|entry| *entry == 0),
            "a segment in use was removed"
        );
        let (index, generation) = self.insert_segment(Segment {
            used: 0,
            compartment,
            kind: Kind::Packed(0),
            in_use,
            idle_since: 0,
            bytes: writer.length(),
            present: writer.length(),
            scattered: None,
            memory: Memory::Sealed(Arc::clone(&writer)),
            free: BTreeMap::from([(0, granules)]),
            by_size: BTreeSet::from([(granules, 0)]),
        });
        let packed = &mut self.stocks[compartment.index()].packed;
        let (place, moved) = packed.push(index, granules);
        for (segment, place) in moved.into_iter().chain([(index, place)]) {
            self.at(segment).kind = Kind::Packed(place);
        }
        NewSegment {
            index,
            generation,
            compartment,
            segment: writer,
        }
    }

    /// Takes so many granules of a packed segment: of the oldest with room, its smallest free block that holds them.
    pub(in crate::arena) fn take(
        &mut self,
        compartment: Compartment,
        granules: u32,
    ) -> Option<Block> {
        let segment = self.stocks[compartment.index()]
            .packed
            .oldest_with(granules)?;
        let by_size = &self.at(segment).by_size;
        let (size, start) = by_size.range((granules, 0)..).next().copied()?;
        let mut block = Block {
            granules: size,
            segment,
            start,
        };
        self.remove_free(block);
        if size > granules {
            let rest = block.split(granules);
            self.insert_free(rest);
        }
        self.note_largest(segment);
        Some(block)
    }

    /// Puts a block back and joins it with its free neighbours.
    pub(in crate::arena) fn put(&mut self, mut block: Block) {
        let segment = self.at(block.segment);
        if segment.kind == Kind::Alone {
            let compartment = segment.compartment;
            if let Some(uses) = &mut segment.scattered {
                *uses += 1;
                if *uses >= USES_BEFORE_COLLAPSE {
                    self.scattered.push(block.segment);
                }
            }
            return self.stocks[compartment.index()].vacant.push(block.segment);
        }
        let free = &segment.free;
        let before = free.range(..block.start).next_back();
        let before = before.map(|(&start, &granules)| (start, granules));
        let after = free.get(&(block.start + block.granules)).copied();
        if let Some(granules) = after {
            self.remove_free(Block {
                granules,
                segment: block.segment,
                start: block.start + block.granules,
            });
            block.granules += granules;
        }
        if let Some((start, granules)) =
            before.filter(|(start, granules)| start + granules == block.start)
        {
            self.remove_free(Block {
                granules,
                segment: block.segment,
                start,
            });
            block.start = start;
            block.granules += granules;
        }
        self.insert_free(block);
        self.note_largest(block.segment);
    }

    /// Makes a block larger by what follows it, if that is free.
    pub(in crate::arena) fn extend(&mut self, block: &mut Block, further: u32) -> bool {
        let start = block.start + block.granules;
        let segment = self.at(block.segment);
        let free = segment.free.get(&start).copied();
        let Some(granules) = free.filter(|&free| free >= further) else {
            return false;
        };
        segment.used += further;
        let mut next = Block {
            granules,
            segment: block.segment,
            start,
        };
        self.remove_free(next);
        let rest = next.split(further);
        if rest.granules > 0 {
            self.insert_free(rest);
        }
        self.note_largest(block.segment);
        block.granules += further;
        self.at(block.segment).in_use[block.start as usize] = block.granules;
        true
    }

    fn insert_free(&mut self, block: Block) {
        let segment = self.at(block.segment);
        segment.free.insert(block.start, block.granules);
        segment.by_size.insert((block.granules, block.start));
    }

    fn remove_free(&mut self, block: Block) {
        let segment = self.at(block.segment);
        segment.free.remove(&block.start);
        segment.by_size.remove(&(block.granules, block.start));
    }

    fn note_largest(&mut self, index: u32) {
        let segment = self.at(index);
        let largest = segment.by_size.last().map_or(0, |(size, _)| *size);
        if let Kind::Packed(place) = segment.kind {
            let compartment = segment.compartment;
            self.stocks[compartment.index()].packed.set(place, largest);
        }
    }
}
