//! Memory that watches its users: of one lane, as its segments would be.
//!
//! No place is ever used again, so that a read of a released range, a read beyond a range's end and a second release are all
//! seen. What an executor makes lies in segments of its arena, a few ranges in each; anything else in segments of its own.

use engine::reads::Way;
use faasstore::descriptor::PayloadRef;
use std::collections::{BTreeMap, HashMap};

/// Ranges begin here, so that an offset that is left out shows.
const BASE: u64 = 4096;
/// From the beginning of a range to that of the next in its segment: none is as long.
const STEP: u64 = 1 << 24;
/// Ranges live in this generation of their segment.
const GENERATION: u32 = 7;
/// Ranges that an executor puts into one segment.
const RANGES_MAX: u64 = 3;
/// What is said to be the size of each segment: a few of them are what an executor reserves.
const SEGMENT_BYTES: u64 = 200_000;

/// What has become of a segment, as a lane tells its core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentNews {
    /// It has come: in the arena of the executor in that place, if in one's.
    Known(u32, u64, Option<usize>),
    /// Its executor has gone.
    Disowned(u32),
    /// It has gone.
    Gone(u32),
}

#[derive(Debug)]
struct Segment {
    owner: Option<usize>,
    /// Ranges that were ever put there, and those that are there.
    put: u64,
    live: u64,
}

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
    ranges: HashMap<(u32, u64), Vec<u8>>,
    segments: BTreeMap<u32, Segment>,
    news: Vec<SegmentNews>,
    came: HashMap<(u32, u64), Came>,
}

/// The segment, and where in it the range begins, of a range or of a part of one; of what is none, a place where none is.
fn key(range: PayloadRef) -> (u32, u64) {
    let first = range.offset.saturating_sub(BASE);
    (range.segment, range.offset - first % STEP)
}

impl Memory {
    /// Commits bytes in a segment of their own.
    pub fn commit(&mut self, bytes: Vec<u8>) -> PayloadRef {
        self.put(bytes, None)
    }

    /// Commits bytes in the arena of the executor in that place.
    pub fn commit_in(&mut self, place: usize, bytes: Vec<u8>) -> PayloadRef {
        self.put(bytes, Some(place))
    }

    fn put(&mut self, bytes: Vec<u8>, owner: Option<usize>) -> PayloadRef {
        if bytes.is_empty() {
            return PayloadRef::EMPTY;
        }
        let open = self.segments.iter().filter(|(_, segment)| {
            owner.is_some() && segment.owner == owner && segment.put < RANGES_MAX
        });
        let number = open.map(|(number, _)| *number).next();
        let number = number.unwrap_or_else(|| self.add(owner));
        let Some(segment) = self.segments.get_mut(&number) else {
            panic!("a segment that has gone");
        };
        let range = PayloadRef {
            segment: number,
            generation: GENERATION,
            offset: BASE + segment.put * STEP,
            length: bytes.len() as u64,
        };
        segment.put += 1;
        segment.live += 1;
        self.ranges.insert((number, range.offset), bytes);
        self.came
            .insert((number, range.offset), Came::by(Way::Shared));
        range
    }

    fn add(&mut self, owner: Option<usize>) -> u32 {
        let number = self.next;
        self.next += 1;
        let segment = Segment {
            owner,
            put: 0,
            live: 0,
        };
        self.segments.insert(number, segment);
        self.news
            .push(SegmentNews::Known(number, SEGMENT_BYTES, owner));
        number
    }

    /// In the arena of which executor a range lies, if in one's.
    #[must_use]
    pub fn owner_of(&self, range: PayloadRef) -> Option<usize> {
        self.segments.get(&range.segment)?.owner
    }

    /// The executor in that place has gone: what it made stays where it is.
    pub fn disown(&mut self, place: usize) {
        for (number, segment) in &mut self.segments {
            if segment.owner == Some(place) {
                segment.owner = None;
                self.news.push(SegmentNews::Disowned(*number));
            }
        }
    }

    /// What has become of segments since this was last asked.
    pub fn news(&mut self) -> Vec<SegmentNews> {
        std::mem::take(&mut self.news)
    }

    /// Notes how the bytes of a range have come; else they were made here.
    pub(super) fn note(&mut self, range: PayloadRef, came: Came) {
        if let Some(known) = self.came.get_mut(&key(range)) {
            *known = came;
        }
    }

    /// How the bytes have come of which this is all, or a part; none if there are none.
    pub(super) fn came(&self, range: PayloadRef) -> Option<Came> {
        self.came.get(&key(range)).copied()
    }

    /// Somebody has read a range, or a part of one.
    pub(super) fn was_read(&mut self, range: PayloadRef) {
        if let Some(came) = self.came.get_mut(&key(range)) {
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
        let (segment, begins) = key(range);
        let bytes = self.ranges.get(&(segment, begins));
        let bytes = bytes.unwrap_or_else(|| panic!("a read of a released range: {range:?}"));
        let first = (range.offset - begins) as usize;
        let part = bytes.get(first..first + range.length as usize);
        part.unwrap_or_else(|| panic!("a read beyond a range: {range:?}"))
            .to_vec()
    }

    /// Writes into a range that is committed, from so many bytes behind its beginning on.
    ///
    /// # Panics
    /// If it was released, or ends before.
    pub fn write(&mut self, range: PayloadRef, from: usize, bytes: &[u8]) {
        let there = self.ranges.get_mut(&(range.segment, range.offset));
        let there = there.unwrap_or_else(|| panic!("a write into a released range: {range:?}"));
        there[from..from + bytes.len()].copy_from_slice(bytes);
    }

    /// Takes a range back.
    ///
    /// # Panics
    /// If it is not exactly one that is committed.
    pub fn release(&mut self, range: PayloadRef) {
        self.came.remove(&(range.segment, range.offset));
        let bytes = self.ranges.remove(&(range.segment, range.offset));
        let bytes =
            bytes.unwrap_or_else(|| panic!("released twice, or never committed: {range:?}"));
        let whole = (GENERATION, bytes.len() as u64);
        assert_eq!(
            (range.generation, range.length),
            whole,
            "a part was released"
        );
        let Some(segment) = self.segments.get_mut(&range.segment) else {
            panic!("a range of a segment that has gone: {range:?}");
        };
        segment.live -= 1;
        if segment.live == 0 {
            self.segments.remove(&range.segment);
            self.news.push(SegmentNews::Gone(range.segment));
        }
    }

    /// Bytes that those take which have not come back, as an arena has them.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let bytes = self.ranges.values().map(|bytes| bytes.len() as u64);
        bytes.map(|bytes| bytes.div_ceil(64) * 64).sum()
    }

    /// Bytes of the segments in which they lie.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segments.len() as u64 * SEGMENT_BYTES
    }

    /// Ranges that have not come back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ranges.len()
    }
}
