//! Memory that watches its users: of one lane, as its segments would be.
//!
//! Each range is a segment of its own whose number is never used again, so that a read of a released range, a read
//! beyond a range's end and a second release are all seen.

use engine::reads::Way;
use faasstore::descriptor::PayloadRef;
use std::collections::HashMap;

/// Ranges begin here, so that an offset that is left out shows.
const BASE: u64 = 4096;
/// Ranges live in this generation of their segment.
const GENERATION: u32 = 7;

/// How the bytes of a range have come to its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Came {
    /// At first.
    pub(super) way: Way,
    /// From where they were brought back, if nobody has read them since.
    pub(super) brought_back: Option<Way>,
    /// Whether they are a copy that nobody has read, of what is still there.
    pub(super) is_copy: bool,
}

impl Came {
    /// This way, and nothing more.
    pub(super) const fn by(way: Way) -> Self {
        Self {
            way,
            brought_back: None,
            is_copy: false,
        }
    }
}

/// The ranges that are committed and not released.
#[derive(Debug, Default)]
pub struct Memory {
    next: u32,
    ranges: HashMap<u32, Vec<u8>>,
    came: HashMap<u32, Came>,
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
        self.came.insert(range.segment, Came::by(Way::Shared));
        range
    }

    /// Notes how the bytes of a range have come; else they were made here.
    pub(super) fn note(&mut self, range: PayloadRef, came: Came) {
        if let Some(known) = self.came.get_mut(&range.segment) {
            *known = came;
        }
    }

    /// How the bytes have come of which this is all, or a part; none if there are none.
    pub(super) fn came(&self, range: PayloadRef) -> Option<Came> {
        self.came.get(&range.segment).copied()
    }

    /// Somebody has read a range, or a part of one.
    pub(super) fn was_read(&mut self, range: PayloadRef) {
        if let Some(came) = self.came.get_mut(&range.segment) {
            *came = Came::by(came.way);
        }
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

    /// Writes into a range that is committed, from so many bytes behind its beginning on.
    ///
    /// # Panics
    /// If it was released, or ends before.
    pub fn write(&mut self, range: PayloadRef, from: usize, bytes: &[u8]) {
        let there = self.ranges.get_mut(&range.segment);
        let there = there.unwrap_or_else(|| panic!("a write into a released range: {range:?}"));
        there[from..from + bytes.len()].copy_from_slice(bytes);
    }

    /// Takes a range back.
    ///
    /// # Panics
    /// If it is not exactly one that is committed.
    pub fn release(&mut self, range: PayloadRef) {
        self.came.remove(&range.segment);
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
