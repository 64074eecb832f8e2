//! A ring over two mappings, each writable on one side alone.
#![allow(
    unsafe_code,
    reason = "the hot path reaches slots without a bounds check"
)]

use super::{CAPACITY_MIN, RingMemory};
use crate::descriptor::SLOT_WORDS;
use crate::segment::{SegmentReader, SegmentWriter};
use crate::sync::AtomicU64;
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes of a slot.
const SLOT_BYTES: u64 = 8 * SLOT_WORDS as u64;

/// Where a ring lies in its two segments, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingLayout {
    /// Of the first slot, in the producer's segment; a multiple of 64.
    pub slots_offset: u64,
    /// Slots; a power of two.
    pub capacity: u64,
    /// Of the tail, in the producer's segment; a multiple of 8.
    pub tail_offset: u64,
    /// Of the head, in the consumer's segment; a multiple of 8.
    pub head_offset: u64,
    /// Of the parked flag, in the consumer's segment; a multiple of 8.
    pub parked_offset: u64,
}

/// The words of a ring in shared memory.
#[derive(Debug)]
pub struct SharedRing {
    slots: NonNull<[AtomicU64; SLOT_WORDS]>,
    capacity: u64,
    tail: NonNull<AtomicU64>,
    head: NonNull<AtomicU64>,
    parked: NonNull<AtomicU64>,
    // What the pointers point into.
    _own: Arc<SegmentWriter>,
    _peer: Arc<SegmentReader>,
}

// SAFETY: the pointers are to atomics in mappings that the ring keeps alive by its `Arc`s, whichever thread has it.
unsafe impl Send for SharedRing {}

impl SharedRing {
    /// As the producer sees it: slots and tail in `own`, head and flag in `peer`. `None` if the layout does not fit.
    #[must_use]
    pub fn produced(
        own: &Arc<SegmentWriter>,
        peer: &Arc<SegmentReader>,
        layout: &RingLayout,
    ) -> Option<Self> {
        Self::new(own, peer, own.words(), peer.words(), layout)
    }

    /// As the consumer sees it: slots and tail in `peer`, head and flag in `own`. `None` if the layout does not fit.
    #[must_use]
    pub fn consumed(
        own: &Arc<SegmentWriter>,
        peer: &Arc<SegmentReader>,
        layout: &RingLayout,
    ) -> Option<Self> {
        Self::new(own, peer, peer.words(), own.words(), layout)
    }

    fn new(
        own: &Arc<SegmentWriter>,
        peer: &Arc<SegmentReader>,
        produced: &[AtomicU64],
        consumed: &[AtomicU64],
        layout: &RingLayout,
    ) -> Option<Self> {
        let aligned = layout.slots_offset.is_multiple_of(SLOT_BYTES)
            && layout.tail_offset.is_multiple_of(8)
            && layout.head_offset.is_multiple_of(8)
            && layout.parked_offset.is_multiple_of(8);
        if !aligned || !layout.capacity.is_power_of_two() || layout.capacity < CAPACITY_MIN {
            return None;
        }
        let first = usize::try_from(layout.slots_offset / 8).ok()?;
        let count = usize::try_from(layout.capacity)
            .ok()?
            .checked_mul(SLOT_WORDS)?;
        let slots = produced.get(first..first.checked_add(count)?)?;
        let word = |words: &[AtomicU64], offset: u64| {
            let word = words.get(usize::try_from(offset / 8).ok()?)?;
            Some(NonNull::from(word))
        };
        Some(Self {
            slots: NonNull::from(slots).cast(),
            capacity: layout.capacity,
            tail: word(produced, layout.tail_offset)?,
            head: word(consumed, layout.head_offset)?,
            parked: word(consumed, layout.parked_offset)?,
            _own: Arc::clone(own),
            _peer: Arc::clone(peer),
        })
    }
}

impl RingMemory for SharedRing {
    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity
    }

    #[inline]
    fn slot(&self, position: u64) -> &[AtomicU64; SLOT_WORDS] {
        // The capacity is a power of two and in private memory: `new` checked it, and nothing changes it.
        let index = (position & (self.capacity - 1)) as usize;
        // SAFETY: `new` has checked that `capacity` slots lie in the mapping, and `index` is below it.
        let slot = unsafe { self.slots.add(index) };
        // SAFETY: in the mapping, which `_own` or `_peer` keeps; aligned, since slots begin on a multiple of 64.
        unsafe { slot.as_ref() }
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        // SAFETY: made from a reference into a mapping that `_own` or `_peer` keeps.
        unsafe { self.tail.as_ref() }
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        // SAFETY: made from a reference into a mapping that `_own` or `_peer` keeps.
        unsafe { self.head.as_ref() }
    }

    #[inline]
    fn parked(&self) -> &AtomicU64 {
        // SAFETY: made from a reference into a mapping that `_own` or `_peer` keeps.
        unsafe { self.parked.as_ref() }
    }
}
