//! Segments of one range: as large as it needs, set aside gradually, or growing while it is written.

use super::{Block, Chain, Kind, Memory, STEP_BYTES, Segment, Slot};
use crate::arena::{Compartment, GRANULE_BYTES, NewSegment, Reservation, granules};
use crate::segment::{SegmentDraft, SegmentError, SegmentWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Chain {
    pub(in crate::arena) fn is_draft(&self, index: u32) -> bool {
        let segment = self.slots[index as usize].segment.as_ref();
        segment.is_some_and(|segment| matches!(segment.memory, Memory::Draft(_)))
    }

    /// Bytes of a segment that stands alone; none if it is packed.
    pub(in crate::arena) fn bytes_alone(&mut self, index: u32) -> Option<u64> {
        let segment = self.at(index);
        (segment.kind == Kind::Alone).then_some(segment.bytes)
    }

    fn add_alone(
        &mut self,
        compartment: Compartment,
        memory: Memory,
        bytes: u64,
        present: u64,
    ) -> (u32, u32) {
        self.insert_segment(Segment {
            used: 0,
            compartment,
            kind: Kind::Alone,
            in_use: vec![0],
            idle_since: 0,
            bytes,
            present,
            scattered: (present < bytes).then_some(0),
            memory,
            free: BTreeMap::new(),
            by_size: BTreeSet::new(),
        })
    }

    /// Takes in a segment for one range, which is reserved. Its pages are there, or are to be [set aside](Chain::add_pages).
    pub(in crate::arena) fn add_sealed(
        &mut self,
        compartment: Compartment,
        writer: SegmentWriter,
        granules: u32,
        is_present: bool,
    ) -> (Block, NewSegment) {
        let bytes = writer.length();
        let writer = Arc::new(writer);
        let present = if is_present { bytes } else { 0 };
        let memory = Memory::Sealed(Arc::clone(&writer));
        let (index, generation) = self.add_alone(compartment, memory, bytes, present);
        let block = Block {
            granules,
            segment: index,
            start: 0,
        };
        let made = NewSegment {
            index,
            generation,
            compartment,
            segment: writer,
        };
        (block, made)
    }

    /// Takes in a segment that may yet grow, for one range, which has all of it.
    pub(in crate::arena) fn add_draft(
        &mut self,
        compartment: Compartment,
        draft: SegmentDraft,
    ) -> Block {
        let bytes = draft.length();
        let (segment, _) = self.add_alone(compartment, Memory::Draft(draft), bytes, bytes);
        Block {
            granules: granules(bytes) as u32,
            segment,
            start: 0,
        }
    }

    /// The smallest segment that stands alone, holds nothing, and has room for so many granules without more than half of it
    /// lying idle.
    pub(in crate::arena) fn take_alone(
        &mut self,
        compartment: Compartment,
        count: u32,
    ) -> Option<Block> {
        let bytes = u64::from(count) * GRANULE_BYTES;
        let vacant = self.stocks[compartment.index()].vacant.iter();
        let sizes = vacant.enumerate().map(|(place, segment)| {
            let segment = self.slots[*segment as usize].segment.as_ref();
            (segment.map_or(0, |segment| segment.bytes), place)
        });
        let fitting = sizes.filter(|(size, _)| bytes <= *size && *size <= 2 * bytes);
        let (_, place) = fitting.min()?;
        let segment = self.stocks[compartment.index()].vacant.remove(place);
        Some(Block {
            granules: count,
            segment,
            start: 0,
        })
    }

    /// Sets pages of a reservation aside, so that its first `bytes` bytes can be written.
    pub(in crate::arena) fn add_pages(
        &mut self,
        reservation: &Reservation,
        bytes: u64,
    ) -> Result<(), SegmentError> {
        let is_all = bytes >= reservation.capacity();
        let segment = self.at(reservation.block.segment);
        let wanted = if is_all {
            segment.bytes
        } else {
            bytes.next_multiple_of(STEP_BYTES).min(segment.bytes)
        };
        if segment.present < wanted
            && let Memory::Sealed(writer) = &segment.memory
        {
            writer.add_pages(segment.present, wanted)?;
            segment.present = wanted;
        }
        Ok(())
    }

    /// As [`Chain::add_pages`], of one step more than there are; whether all are there now.
    pub(in crate::arena) fn add_some_pages(
        &mut self,
        reservation: &Reservation,
    ) -> Result<bool, SegmentError> {
        let capacity = reservation.capacity();
        let present = self.at(reservation.block.segment).present;
        self.add_pages(
            reservation,
            present.saturating_add(STEP_BYTES).min(capacity),
        )?;
        Ok(self.at(reservation.block.segment).present >= self.at(reservation.block.segment).bytes)
    }

    /// Makes a draft hold `bytes` bytes at least, all for the one range in it.
    pub(in crate::arena) fn grow_draft(
        &mut self,
        block: &mut Block,
        bytes: u64,
    ) -> Result<(), SegmentError> {
        let segment = self.at(block.segment);
        let Memory::Draft(draft) = &mut segment.memory else {
            unreachable!("whoever grows a draft has asked whether it is one");
        };
        draft.grow(bytes)?;
        let further = draft.length() - segment.bytes;
        (segment.bytes, segment.present) = (draft.length(), draft.length());
        block.granules = granules(segment.bytes) as u32;
        segment.used = block.granules;
        segment.in_use[0] = block.granules;
        let compartment = segment.compartment;
        self.stocks[compartment.index()].bytes_held += further;
        self.bytes_held += further;
        Ok(())
    }

    /// Makes a segment of a draft, cut behind its first `bytes` bytes, which stay reserved. If that fails the draft is gone.
    pub(in crate::arena) fn seal_draft(
        &mut self,
        block: &mut Block,
        bytes: u64,
    ) -> Result<NewSegment, SegmentError> {
        let Slot {
            generation,
            segment,
        } = &mut self.slots[block.segment as usize];
        let generation = *generation;
        let Some(mut segment) = segment.take() else {
            unreachable!("a draft stays until it is sealed");
        };
        let Memory::Draft(draft) = segment.memory else {
            unreachable!("whoever seals a draft has asked whether it is one");
        };
        self.stocks[segment.compartment.index()].bytes_held -= segment.bytes;
        self.bytes_held -= segment.bytes;
        let sealed = draft
            .seal(bytes)
            .inspect_err(|_| self.free_index(block.segment));
        let writer = Arc::new(sealed?);
        block.granules = granules(bytes) as u32;
        (segment.used, segment.in_use[0]) = (block.granules, block.granules);
        (segment.bytes, segment.present) = (writer.length(), writer.length());
        self.stocks[segment.compartment.index()].bytes_held += segment.bytes;
        self.bytes_held += segment.bytes;
        segment.memory = Memory::Sealed(Arc::clone(&writer));
        let compartment = segment.compartment;
        self.slots[block.segment as usize].segment = Some(segment);
        Ok(NewSegment {
            index: block.segment,
            generation,
            compartment,
            segment: writer,
        })
    }

    /// A segment that holds nothing, and is worth making huge pages of its ordinary ones; each is named once.
    pub(in crate::arena) fn take_scattered(&mut self) -> Option<Arc<SegmentWriter>> {
        while let Some(index) = self.scattered.pop() {
            // It may have been retired since, or hold something again, and comes back here when that goes.
            if let Some(Segment {
                used: 0,
                scattered: scattered @ Some(_),
                memory: Memory::Sealed(writer),
                ..
            }) = &mut self.slots[index as usize].segment
            {
                *scattered = None;
                return Some(Arc::clone(writer));
            }
        }
        None
    }

    /// Whether a segment lacks pages, or may yet grow, so that it is no use to anybody else.
    pub(in crate::arena) fn is_unfinished(&mut self, index: u32) -> bool {
        let segment = self.at(index);
        segment.present < segment.bytes || matches!(segment.memory, Memory::Draft(_))
    }
}
