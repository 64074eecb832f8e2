//! Memory that watches its users: of one lane, as its segments would be.
//!
//! Each range is a segment of its own whose number is never used again, so that a read of a released range, a read
//! beyond a range's end and a second release are all seen.

use faasstore::descriptor::PayloadRef;
use std::collections::HashMap;

/// Ranges begin here, so that an offset that is left out shows.
const BASE: u64 = 4096;
/// Ranges live in this generation of their segment.
const GENERATION: u32 = 7;

/// The ranges that are committed and not released.
#[derive(Debug, Default)]
pub struct Memory {
    next: u32,
    ranges: HashMap<u32, Vec<u8>>,
}

impl Memory {
    /// Commits bytes.
    pub fn commit(&mut self, bytes: Vec<u8>) -> PayloadRef {
        if bytes.is_empty() {
            return PayloadRef::EMPTY;
        }
        let range = PayloadRef {
            segment: self.next,
            generation: GENERATION,
            offset: BASE,
            length: bytes.len() as u64,
        };
        self.next += 1;
        self.ranges.insert(range.segment, bytes);
        range
    }

    /// Reads a range, or a part of one.
    ///
    /// # Panics
    /// If it was released, or was never committed.
    #[must_use]
    pub fn read(&self, range: PayloadRef) -> Vec<u8> {
        assert!(!range.is_absent(), "a read of an input that nobody wrote");
        if !range.is_range() {
            return Vec::new();
        }
        assert_eq!(range.generation, GENERATION, "{range:?}");
        let bytes = self.ranges.get(&range.segment);
        let bytes = bytes.unwrap_or_else(|| panic!("a read of a released range: {range:?}"));
        let first = range.offset.checked_sub(BASE);
        let first = first.unwrap_or_else(|| panic!("a read before a range: {range:?}")) as usize;
        let part = bytes.get(first..first + range.length as usize);
        part.unwrap_or_else(|| panic!("a read beyond a range: {range:?}"))
            .to_vec()
    }

    /// Takes a range back.
    ///
    /// # Panics
    /// If it is not exactly one that is committed.
    pub fn release(&mut self, range: PayloadRef) {
        let bytes = self.ranges.remove(&range.segment);
        let bytes =
            bytes.unwrap_or_else(|| panic!("released twice, or never committed: {range:?}"));
        let whole = (GENERATION, BASE, bytes.len() as u64);
        assert_eq!(
            (range.generation, range.offset, range.length),
            whole,
            "a part was released"
        );
    }

    /// Bytes that those take which have not come back, as an arena has them.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let bytes = self.ranges.values().map(|bytes| bytes.len() as u64);
        bytes.map(|bytes| bytes.div_ceil(64) * 64).sum()
    }

    /// Ranges that have not come back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ranges.len()
    }
}
