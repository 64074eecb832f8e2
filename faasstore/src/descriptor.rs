//! The messages that cross the rings between an engine and an executor, as 64-byte slots.
//!
//! This file owns the byte layout of requests, completions and table entries (drawn in docs/layout.md). It promises
//! that whatever bytes arrive, decoding yields a value or a named error: what comes out of shared memory is copied
//! first, checked here, and used after. It leaves transport to [`crate::ring`] and meaning to its callers.
//!
//! ```text
//! slot      word 0                              words 1..8
//!           low 32: the ring's sequence         the message's own 56 bytes
//!           high 32: kind, slots, count, flags
//! Activate  word 1 node | attempt << 32         word 5..8 input 0 (see PayloadRef)
//!           word 2, 3 invocation                slot k: words 1..4, 4..7 inputs 2k-1, 2k
//!           word 4 activation | item << 32      slot 1: word 7 deadline in ns, if flagged
//! Done      word 1 activation                   words 2..5, 5..8 outputs 0, 1
//!                                               slot k: words 1..4, 4..7 outputs 2k, 2k+1
//!                                               slots 1, 2: word 7 its CPU time, if flagged
//! Failed    word 1 activation | code << 32      words 2..5 the message's range
//! Release   word 1.. up to two ranges at 1..4, 4..7
//! Unmap     word 1 segment | generation << 32
//! Retire    word 1 segment | generation << 32
//! ```
//!
//! Want and Item, by which items of a list come while an activation runs, are drawn in `items`; Full and Room, by which one
//! waits for room in its arena, in `room`.

mod completion;
mod items;
mod request;
mod room;

use thiserror::Error;

pub use completion::{
    Completion, CpuUse, FailureCode, add_cpu_use, decode_completion, done_output, encode_done,
    encode_failed, encode_retire, is_plain_done,
};
pub use items::{DONE_ITEMS_MAX, ItemAnswer, ItemName, Want, encode_item, encode_want};
pub use request::{
    Activate, Request, decode_request, encode_activate, encode_release, encode_stop, encode_unmap,
    set_input,
};
pub use room::{Full, RoomAnswer, encode_full, encode_room};

/// 64-bit words in a slot.
pub const SLOT_WORDS: usize = 8;
/// Slots that the longest message takes.
pub const MESSAGE_SLOTS_MAX: usize = 4;
/// Inputs that fit in place into a request; more travel in a table.
pub const INPUTS_IN_PLACE_MAX: usize = 7;
/// Outputs that fit in place into a completion; more travel in a table.
pub const OUTPUTS_IN_PLACE_MAX: usize = 8;
/// Bytes of an entry of an input, item or output table: three words, as in a slot.
pub const TABLE_ENTRY_BYTES: u64 = 24;
/// The `item` of an activation that is no item of a foreach.
pub const NO_ITEM: u32 = u32::MAX;

/// One slot: what the ring moves. The low half of word 0 belongs to the ring.
pub type Slot = [u64; SLOT_WORDS];

const SEGMENT_ABSENT: u32 = 0x7fff_ffff;
const SEGMENT_EMPTY: u32 = 0x7fff_fffe;
const SEGMENT_AWAY: u32 = 0x7fff_fffd;
const ALIAS_BIT: u32 = 0x8000_0000;

const FLAG_TABLE: u8 = 1;

/// An invocation's id, unique for all time on a cluster: worker, restart epoch, lane and sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationId(pub u128);

impl InvocationId {
    /// The id of the `sequence`-th invocation that `lane` of the worker with this hash and restart epoch took.
    /// `epoch` counts restarts and must stay below 2^24.
    #[must_use]
    pub const fn new(worker: u32, epoch: u32, lane: u8, sequence: u64) -> Self {
        assert!(epoch < 1 << 24, "a worker restarts fewer than 2^24 times");
        Self(
            (worker as u128) << 96
                | (epoch as u128) << 72
                | (lane as u128) << 64
                | sequence as u128,
        )
    }

    /// Worker, epoch and lane as one number: the *door* at which the invocation was taken.
    #[must_use]
    pub const fn door(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The lane of the entry worker that took it.
    #[must_use]
    pub const fn lane(self) -> u8 {
        (self.0 >> 64) as u8
    }

    /// Its place among the invocations of its door, from 0.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 as u64
    }
}

impl std::fmt::Display for InvocationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (worker, epoch) = ((self.0 >> 96) as u32, (self.0 >> 72) as u32 & 0xff_ffff);
        write!(
            f,
            "{worker:08x}-{epoch}-{}-{}",
            self.lane(),
            self.sequence()
        )
    }
}

impl std::fmt::Debug for InvocationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Where a payload lies, as the engine names it: a segment of the engine's table, its generation, and a range.
///
/// Two values stand for no range: [`PayloadRef::ABSENT`] and [`PayloadRef::EMPTY`]. In the table of a list an item may
/// be [away](PayloadRef::away).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadRef {
    /// Slot of the segment in the engine's table.
    pub segment: u32,
    /// Which of the segments that lived in that slot.
    pub generation: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl PayloadRef {
    /// An input that no one wrote (a skipped source).
    pub const ABSENT: Self = Self {
        segment: SEGMENT_ABSENT,
        generation: 0,
        offset: 0,
        length: 0,
    };
    /// A payload of no bytes; it lies nowhere.
    pub const EMPTY: Self = Self {
        segment: SEGMENT_EMPTY,
        generation: 0,
        offset: 0,
        length: 0,
    };

    /// An item of a list that is to be asked for before it is read: so many bytes. Its reader should have no more than
    /// `window_bytes` of such items at once, unless one alone has more.
    #[must_use]
    pub const fn away(length: u64, window_bytes: u64) -> Self {
        Self {
            segment: SEGMENT_AWAY,
            generation: 0,
            offset: window_bytes,
            length,
        }
    }

    /// Whether this is an item that is to be asked for: then what its reader should keep of such, in bytes.
    #[must_use]
    pub const fn window_bytes(&self) -> Option<u64> {
        if self.is_away() {
            Some(self.offset)
        } else {
            None
        }
    }

    /// Whether this is an item that is to be asked for; see [`PayloadRef::away`].
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.segment == SEGMENT_AWAY
    }

    /// Whether this is [`PayloadRef::ABSENT`].
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.segment == SEGMENT_ABSENT
    }

    /// Whether this names bytes in a segment.
    #[must_use]
    pub const fn is_range(&self) -> bool {
        self.length > 0 && self.segment < SEGMENT_AWAY
    }

    /// The three words of a slot or table entry.
    #[must_use]
    pub const fn to_words(self) -> [u64; 3] {
        [
            self.segment as u64 | (self.generation as u64) << 32,
            self.offset,
            self.length,
        ]
    }

    /// From the three words of a slot or table entry; any value is possible, and to be checked by who follows it.
    #[must_use]
    pub const fn from_words(words: [u64; 3]) -> Self {
        Self {
            segment: words[0] as u32,
            generation: (words[0] >> 32) as u32,
            offset: words[1],
            length: words[2],
        }
    }
}

/// Where an output lies, as the executor that made it names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputRef {
    /// No bytes.
    Empty,
    /// A committed range of the executor's own arena.
    Own(ArenaRange),
    /// Bytes of one of this activation's inputs, passed on without a copy.
    Alias {
        /// Which input.
        input: u16,
        /// Which item of it, if it is a list.
        item: Option<u32>,
        /// First byte within that input or item.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// A range of a producer's own arena: the segment's index and generation there, and where in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ArenaRange {
    /// Index of the segment in its arena.
    pub segment: u32,
    /// Which of the segments that had this index.
    pub generation: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl ArenaRange {
    const fn to_words(self) -> [u64; 3] {
        [
            self.segment as u64 | (self.generation as u64) << 32,
            self.offset,
            self.length,
        ]
    }
}

impl OutputRef {
    /// The three words of a slot or table entry.
    #[must_use]
    pub fn to_words(self) -> [u64; 3] {
        match self {
            Self::Empty => PayloadRef::EMPTY.to_words(),
            Self::Own(range) => range.to_words(),
            Self::Alias {
                input,
                item,
                offset,
                length,
            } => {
                let item = item.map_or(NO_ITEM, |item| item);
                [
                    u64::from(ALIAS_BIT | u32::from(input)) | u64::from(item) << 32,
                    offset,
                    length,
                ]
            }
        }
    }

    /// From three words that an executor wrote. Ranges are not checked here: the engine knows the segments.
    pub fn from_words(words: [u64; 3]) -> Result<Self, DescriptorError> {
        let (segment, second) = (words[0] as u32, (words[0] >> 32) as u32);
        let (offset, length) = (words[1], words[2]);
        if segment & ALIAS_BIT != 0 {
            let input = u16::try_from(segment & !ALIAS_BIT)
                .map_err(|_| DescriptorError::Alias { segment })?;
            return Ok(Self::Alias {
                input,
                item: (second != NO_ITEM).then_some(second),
                offset,
                length,
            });
        }
        match segment {
            SEGMENT_EMPTY => Ok(Self::Empty),
            SEGMENT_ABSENT | SEGMENT_AWAY => Err(DescriptorError::Alias { segment }),
            _ => Ok(Self::Own(ArenaRange {
                segment,
                generation: second,
                offset,
                length,
            })),
        }
    }
}

/// What is wrong with a message from the other side of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DescriptorError {
    /// The kind is none that this side receives.
    #[error("a message of unknown kind {kind}")]
    Kind {
        /// As read.
        kind: u8,
    },
    /// The slot count does not fit the kind and count of entries.
    #[error("a message of {slots} slots with {count} entries")]
    Slots {
        /// As read.
        slots: u8,
        /// As read.
        count: u8,
    },
    /// An output names neither a range nor an input.
    #[error("an output in segment {segment:#x}")]
    Alias {
        /// As read.
        segment: u32,
    },
    /// An item of an input with a number that none has.
    #[error("an item of input {input}")]
    Input {
        /// As read.
        input: u32,
    },
    /// A failure with an unknown code.
    #[error("a failure of unknown code {code}")]
    Code {
        /// As read.
        code: u32,
    },
}

/// Up to [`MESSAGE_SLOTS_MAX`] slots that make one message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    slots: [Slot; MESSAGE_SLOTS_MAX],
    used: u8,
}

impl Default for Message {
    /// Room for a message that is still to be read from a ring.
    fn default() -> Self {
        Self {
            slots: [[0; SLOT_WORDS]; MESSAGE_SLOTS_MAX],
            used: 1,
        }
    }
}

impl Message {
    /// A new message, as one of the `encode_` functions writes it.
    #[must_use]
    pub fn written(by: impl FnOnce(&mut Self)) -> Self {
        let mut message = Self::default();
        by(&mut message);
        message
    }

    /// Begins to write a message over what was there: zeroes only what will be sent, since a message is written and read
    /// where it lies, again and again.
    #[inline]
    fn open(&mut self, kind: u8, used: usize, count: usize, flags: u8) {
        debug_assert!((1..=MESSAGE_SLOTS_MAX).contains(&used));
        for slot in &mut self.slots[..used] {
            *slot = [0; SLOT_WORDS];
        }
        self.slots[0][0] =
            u64::from(u32::from_le_bytes([kind, used as u8, count as u8, flags])) << 32;
        self.used = used as u8;
    }

    /// The slots, first one first: what [`crate::ring::Producer::push`] takes.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..usize::from(self.used)]
    }

    /// The slots after the first, which has been read: as many as that one says, to be filled in.
    #[inline]
    pub(crate) fn further(&mut self) -> &mut [Slot] {
        let used = 1 + further_slots(&self.slots[0]);
        self.used = used as u8;
        &mut self.slots[1..used]
    }

    /// Where the first slot is read to.
    #[inline]
    pub(crate) fn first(&mut self) -> &mut Slot {
        &mut self.slots[0]
    }

    #[inline]
    fn put(&mut self, slot: usize, word: usize, words: [u64; 3]) {
        self.slots[slot][word..word + 3].copy_from_slice(&words);
    }

    #[inline]
    fn get(&self, slot: usize, word: usize) -> [u64; 3] {
        let slot = &self.slots[slot];
        [slot[word], slot[word + 1], slot[word + 2]]
    }
}

/// How many further slots follow the first one of a message, as its sender says. At most `MESSAGE_SLOTS_MAX - 1` is
/// believed: a message that claims more is refused when it is decoded.
#[inline]
#[must_use]
pub fn further_slots(first: &Slot) -> usize {
    let [_, slots, _, _] = ((first[0] >> 32) as u32).to_le_bytes();
    usize::from(slots).clamp(1, MESSAGE_SLOTS_MAX) - 1
}

/// Collects a message from the slots that the ring yields: the first, and [`further_slots`] more.
#[cfg(test)]
fn assemble(slots: &[Slot]) -> Message {
    let used = slots.len().clamp(1, MESSAGE_SLOTS_MAX);
    let mut message = Message {
        slots: [[0; SLOT_WORDS]; MESSAGE_SLOTS_MAX],
        used: used as u8,
    };
    message.slots[..used].copy_from_slice(&slots[..used]);
    message
}

#[cfg(test)]
mod tests;
