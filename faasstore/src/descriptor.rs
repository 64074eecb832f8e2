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
//! Failed    word 1 activation | code << 32      words 2..5 the message's range
//! Release   word 1.. up to two ranges at 1..4, 4..7
//! Unmap     word 1 segment | generation << 32
//! Retire    word 1 segment | generation << 32
//! ```

use thiserror::Error;

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
const ALIAS_BIT: u32 = 0x8000_0000;

const KIND_ACTIVATE: u8 = 1;
const KIND_RELEASE: u8 = 2;
const KIND_UNMAP: u8 = 3;
const KIND_STOP: u8 = 4;
const KIND_DONE: u8 = 16;
const KIND_FAILED: u8 = 17;
const KIND_RETIRE: u8 = 18;

const FLAG_TABLE: u8 = 1;
const FLAG_DEADLINE: u8 = 2;

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
/// Two values stand for no range: [`PayloadRef::ABSENT`] and [`PayloadRef::EMPTY`].
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

    /// Whether this is [`PayloadRef::ABSENT`].
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.segment == SEGMENT_ABSENT
    }

    /// Whether this names bytes in a segment.
    #[must_use]
    pub const fn is_range(&self) -> bool {
        self.length > 0 && self.segment < SEGMENT_EMPTY
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
            SEGMENT_ABSENT => Err(DescriptorError::Alias { segment }),
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

impl Message {
    fn new(kind: u8, used: usize, count: usize, flags: u8) -> Self {
        debug_assert!((1..=MESSAGE_SLOTS_MAX).contains(&used));
        let mut slots = [[0; SLOT_WORDS]; MESSAGE_SLOTS_MAX];
        slots[0][0] = u64::from(u32::from_le_bytes([kind, used as u8, count as u8, flags])) << 32;
        Self {
            slots,
            used: used as u8,
        }
    }

    /// The slots, first one first: what [`crate::ring::Producer::push`] takes.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..usize::from(self.used)]
    }

    fn put(&mut self, slot: usize, word: usize, words: [u64; 3]) {
        self.slots[slot][word..word + 3].copy_from_slice(&words);
    }

    fn get(&self, slot: usize, word: usize) -> [u64; 3] {
        let slot = &self.slots[slot];
        [slot[word], slot[word + 1], slot[word + 2]]
    }
}

/// How many further slots follow the first one of a message, as its sender says. At most `MESSAGE_SLOTS_MAX - 1` is
/// believed: a message that claims more is refused when it is decoded.
#[must_use]
pub fn further_slots(first: &Slot) -> usize {
    let [_, slots, _, _] = ((first[0] >> 32) as u32).to_le_bytes();
    usize::from(slots).clamp(1, MESSAGE_SLOTS_MAX) - 1
}

/// Collects a message from the slots that the ring yields: the first, and [`further_slots`] more.
#[must_use]
pub fn assemble(slots: &[Slot]) -> Message {
    let used = slots.len().clamp(1, MESSAGE_SLOTS_MAX);
    let mut message = Message {
        slots: [[0; SLOT_WORDS]; MESSAGE_SLOTS_MAX],
        used: used as u8,
    };
    message.slots[..used].copy_from_slice(&slots[..used]);
    message
}

/// What an activation's request says, apart from its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activate {
    /// The node, by its number in the deployment.
    pub node: u32,
    /// From 1.
    pub attempt: u32,
    /// The invocation.
    pub invocation: InvocationId,
    /// What the completion must repeat.
    pub activation: u32,
    /// The item of a foreach, or [`NO_ITEM`].
    pub item: u32,
    /// CLOCK_MONOTONIC, when the engine gives the activation up.
    pub deadline_ns: Option<u64>,
}

/// A message from the engine to an executor.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Request {
    /// Run a node.
    Activate {
        /// Which, and for what.
        activate: Activate,
        /// Inputs, in the order of the node's declaration; with `table`, one entry that locates a table of them.
        inputs: [PayloadRef; INPUTS_IN_PLACE_MAX],
        /// How many of `inputs` count.
        input_count: usize,
        /// Whether `inputs[0]` locates a table of [`TABLE_ENTRY_BYTES`] entries.
        table: bool,
    },
    /// Ranges of the executor's own arena that nobody holds any longer.
    Release {
        /// One or two.
        ranges: [ArenaRange; 2],
        /// How many of `ranges` count.
        count: usize,
    },
    /// A segment of someone else's that will not be named again.
    Unmap {
        /// Slot in the engine's table.
        segment: u32,
        /// Which of those that lived there.
        generation: u32,
    },
    /// End the process.
    Stop,
}

/// Encodes an activation. `inputs` holds at most [`INPUTS_IN_PLACE_MAX`] entries, and with `table` exactly one.
#[inline]
#[must_use]
pub fn encode_activate(activate: &Activate, inputs: &[PayloadRef], table: bool) -> Message {
    debug_assert!(inputs.len() <= INPUTS_IN_PLACE_MAX && (!table || inputs.len() == 1));
    let deadline = activate.deadline_ns.is_some();
    let used = activate_slots(inputs.len(), deadline);
    let flags = (u8::from(table) * FLAG_TABLE) | (u8::from(deadline) * FLAG_DEADLINE);
    let mut message = Message::new(KIND_ACTIVATE, used, inputs.len(), flags);
    let first = &mut message.slots[0];
    first[1] = u64::from(activate.node) | u64::from(activate.attempt) << 32;
    first[2] = activate.invocation.0 as u64;
    first[3] = (activate.invocation.0 >> 64) as u64;
    first[4] = u64::from(activate.activation) | u64::from(activate.item) << 32;
    for (index, input) in inputs.iter().enumerate() {
        let (slot, word) = input_place(index);
        message.put(slot, word, input.to_words());
    }
    if let Some(deadline_ns) = activate.deadline_ns {
        message.slots[1][7] = deadline_ns;
    }
    message
}

const fn activate_slots(inputs: usize, deadline: bool) -> usize {
    let further = inputs.saturating_sub(1).div_ceil(2);
    if deadline && further == 0 {
        2
    } else {
        1 + further
    }
}

const fn input_place(index: usize) -> (usize, usize) {
    if index == 0 {
        (0, 5)
    } else {
        (index.div_ceil(2), 1 + 3 * ((index + 1) % 2))
    }
}

/// Encodes the return of one or two ranges to the arena that they belong to.
#[must_use]
pub fn encode_release(ranges: &[ArenaRange]) -> Message {
    debug_assert!((1..=2).contains(&ranges.len()));
    let mut message = Message::new(KIND_RELEASE, 1, ranges.len(), 0);
    for (index, range) in ranges.iter().enumerate() {
        message.put(0, 1 + 3 * index, range.to_words());
    }
    message
}

/// Encodes that a segment will not be named again.
#[must_use]
pub fn encode_unmap(segment: u32, generation: u32) -> Message {
    let mut message = Message::new(KIND_UNMAP, 1, 0, 0);
    message.slots[0][1] = u64::from(segment) | u64::from(generation) << 32;
    message
}

/// Encodes the order to end.
#[must_use]
pub fn encode_stop() -> Message {
    Message::new(KIND_STOP, 1, 0, 0)
}

/// Decodes what an engine sent.
#[inline]
pub fn decode_request(message: &Message) -> Result<Request, DescriptorError> {
    let first = &message.slots[0];
    let [kind, slots, count, flags] = ((first[0] >> 32) as u32).to_le_bytes();
    match kind {
        KIND_ACTIVATE => {
            let input_count = usize::from(count);
            let deadline = flags & FLAG_DEADLINE != 0;
            let table = flags & FLAG_TABLE != 0;
            let fits = input_count <= INPUTS_IN_PLACE_MAX
                && usize::from(slots) == activate_slots(input_count, deadline)
                && slots == message.used
                && (!table || input_count == 1);
            if !fits {
                return Err(DescriptorError::Slots { slots, count });
            }
            let mut inputs = [PayloadRef::ABSENT; INPUTS_IN_PLACE_MAX];
            for (index, input) in inputs[..input_count].iter_mut().enumerate() {
                let (slot, word) = input_place(index);
                *input = PayloadRef::from_words(message.get(slot, word));
            }
            let activate = Activate {
                node: first[1] as u32,
                attempt: (first[1] >> 32) as u32,
                invocation: InvocationId(u128::from(first[2]) | u128::from(first[3]) << 64),
                activation: first[4] as u32,
                item: (first[4] >> 32) as u32,
                deadline_ns: deadline.then(|| message.slots[1][7]),
            };
            Ok(Request::Activate {
                activate,
                inputs,
                input_count,
                table,
            })
        }
        KIND_RELEASE => {
            let count = usize::from(count);
            if !(1..=2).contains(&count) {
                return Err(DescriptorError::Slots {
                    slots,
                    count: count as u8,
                });
            }
            let mut ranges = [ArenaRange::default(); 2];
            for (index, range) in ranges[..count].iter_mut().enumerate() {
                let PayloadRef {
                    segment,
                    generation,
                    offset,
                    length,
                } = PayloadRef::from_words(message.get(0, 1 + 3 * index));
                *range = ArenaRange {
                    segment,
                    generation,
                    offset,
                    length,
                };
            }
            Ok(Request::Release { ranges, count })
        }
        KIND_UNMAP => Ok(Request::Unmap {
            segment: first[1] as u32,
            generation: (first[1] >> 32) as u32,
        }),
        KIND_STOP => Ok(Request::Stop),
        _ => Err(DescriptorError::Kind { kind }),
    }
}

/// Why an activation failed, as its executor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum FailureCode {
    /// The function returned an error.
    Error = 1,
    /// An input was not what the function takes.
    Input = 2,
    /// A declared output was not written, or one was written that is not declared.
    Output = 3,
    /// The function panicked.
    Panic = 4,
    /// The executor's arena has no room for an output.
    Memory = 5,
}

/// A message from an executor to the engine.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for a moment; a box would allocate on the hot path"
)]
pub enum Completion {
    /// An activation ended well.
    Done {
        /// As in the request.
        activation: u32,
        /// Outputs in the order of the node's declaration; with `table`, one own range that holds a table of them.
        outputs: [OutputRef; OUTPUTS_IN_PLACE_MAX],
        /// How many of `outputs` count.
        output_count: usize,
        /// Whether `outputs[0]` locates a table of [`TABLE_ENTRY_BYTES`] entries.
        table: bool,
    },
    /// An activation failed.
    Failed {
        /// As in the request.
        activation: u32,
        /// Why.
        code: FailureCode,
        /// UTF-8 text in the executor's arena.
        message: OutputRef,
    },
    /// The executor has unmapped a segment of its arena in which nothing was left.
    Retire {
        /// Index in the executor's arena.
        segment: u32,
        /// Which of those that had it.
        generation: u32,
    },
}

/// Encodes a completion. `outputs` holds at most [`OUTPUTS_IN_PLACE_MAX`] entries, and with `table` exactly one.
#[inline]
#[must_use]
pub fn encode_done(activation: u32, outputs: &[OutputRef], table: bool) -> Message {
    debug_assert!(outputs.len() <= OUTPUTS_IN_PLACE_MAX && (!table || outputs.len() == 1));
    let used = done_slots(outputs.len());
    let mut message = Message::new(KIND_DONE, used, outputs.len(), u8::from(table) * FLAG_TABLE);
    message.slots[0][1] = u64::from(activation);
    for (index, output) in outputs.iter().enumerate() {
        let (slot, word) = output_place(index);
        message.put(slot, word, output.to_words());
    }
    message
}

const fn done_slots(outputs: usize) -> usize {
    1 + outputs.saturating_sub(2).div_ceil(2)
}

const fn output_place(index: usize) -> (usize, usize) {
    if index < 2 {
        (0, 2 + 3 * index)
    } else {
        (index / 2, 1 + 3 * (index % 2))
    }
}

/// Encodes a failure whose text lies at `message`.
#[must_use]
pub fn encode_failed(activation: u32, code: FailureCode, text: OutputRef) -> Message {
    let mut message = Message::new(KIND_FAILED, 1, 1, 0);
    message.slots[0][1] = u64::from(activation) | u64::from(code as u32) << 32;
    message.put(0, 2, text.to_words());
    message
}

/// Encodes that a segment of the arena is gone.
#[must_use]
pub fn encode_retire(segment: u32, generation: u32) -> Message {
    let mut message = Message::new(KIND_RETIRE, 1, 0, 0);
    message.slots[0][1] = u64::from(segment) | u64::from(generation) << 32;
    message
}

/// Decodes what an executor sent.
#[inline]
pub fn decode_completion(message: &Message) -> Result<Completion, DescriptorError> {
    let first = &message.slots[0];
    let [kind, slots, count, flags] = ((first[0] >> 32) as u32).to_le_bytes();
    match kind {
        KIND_DONE => {
            let output_count = usize::from(count);
            let table = flags & FLAG_TABLE != 0;
            let fits = output_count <= OUTPUTS_IN_PLACE_MAX
                && usize::from(slots) == done_slots(output_count)
                && slots == message.used
                && (!table || output_count == 1);
            if !fits {
                return Err(DescriptorError::Slots { slots, count });
            }
            let mut outputs = [OutputRef::Empty; OUTPUTS_IN_PLACE_MAX];
            for (index, output) in outputs[..output_count].iter_mut().enumerate() {
                let (slot, word) = output_place(index);
                *output = OutputRef::from_words(message.get(slot, word))?;
            }
            Ok(Completion::Done {
                activation: first[1] as u32,
                outputs,
                output_count,
                table,
            })
        }
        KIND_FAILED => {
            let code = match (first[1] >> 32) as u32 {
                1 => FailureCode::Error,
                2 => FailureCode::Input,
                3 => FailureCode::Output,
                4 => FailureCode::Panic,
                5 => FailureCode::Memory,
                code => return Err(DescriptorError::Code { code }),
            };
            let text = OutputRef::from_words(message.get(0, 2))?;
            Ok(Completion::Failed {
                activation: first[1] as u32,
                code,
                message: text,
            })
        }
        KIND_RETIRE => Ok(Completion::Retire {
            segment: first[1] as u32,
            generation: (first[1] >> 32) as u32,
        }),
        _ => Err(DescriptorError::Kind { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload() -> impl Strategy<Value = PayloadRef> {
        (0..100u32, any::<u32>(), any::<u64>(), 1..u64::MAX).prop_map(
            |(segment, generation, offset, length)| PayloadRef {
                segment,
                generation,
                offset,
                length,
            },
        )
    }

    fn output() -> impl Strategy<Value = OutputRef> {
        prop_oneof![
            Just(OutputRef::Empty),
            payload().prop_map(|p| OutputRef::Own(ArenaRange {
                segment: p.segment,
                generation: p.generation,
                offset: p.offset,
                length: p.length
            })),
            (
                any::<u16>(),
                proptest::option::of(0..u32::MAX),
                any::<u64>(),
                any::<u64>()
            )
                .prop_map(|(input, item, offset, length)| OutputRef::Alias {
                    input,
                    item,
                    offset,
                    length
                }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written(
            inputs in proptest::collection::vec(payload(), 0..=INPUTS_IN_PLACE_MAX),
            node: u32, attempt: u32, invocation: u128, activation: u32, item: u32,
            deadline_ns: Option<u64>,
        ) {
            let activate = Activate { node, attempt, invocation: InvocationId(invocation), activation, item, deadline_ns };
            let message = encode_activate(&activate, &inputs, false);
            prop_assert_eq!(message.slots().len(), 1 + further_slots(&message.slots()[0]));
            let Request::Activate { activate: read, inputs: read_inputs, input_count, table } =
                decode_request(&assemble(message.slots())).unwrap() else { panic!("another kind") };
            prop_assert_eq!(read, activate);
            prop_assert_eq!(&read_inputs[..input_count], &inputs[..]);
            prop_assert!(!table);
        }

        #[test]
        fn a_completion_is_read_as_it_was_written(
            activation: u32,
            outputs in proptest::collection::vec(output(), 0..=OUTPUTS_IN_PLACE_MAX),
        ) {
            let message = encode_done(activation, &outputs, false);
            let Completion::Done { activation: read, outputs: read_outputs, output_count, .. } =
                decode_completion(&assemble(message.slots())).unwrap() else { panic!("another kind") };
            prop_assert_eq!(read, activation);
            prop_assert_eq!(&read_outputs[..output_count], &outputs[..]);
        }

        #[test]
        fn garbage_is_an_error_or_a_value_but_never_a_panic(words: [[u64; 8]; 4], used in 1..=4usize) {
            let message = assemble(&words[..used]);
            let _ = decode_request(&message);
            let _ = decode_completion(&message);
            prop_assert!(further_slots(&words[0]) < MESSAGE_SLOTS_MAX);
        }
    }
}
