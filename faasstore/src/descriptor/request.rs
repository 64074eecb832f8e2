//! What an engine asks of an executor.

use super::items::{ItemAnswer, ItemName, KIND_ITEM, decode_item};
use super::room::{KIND_ROOM, RoomAnswer, decode_room};
use super::{
    ArenaRange, DescriptorError, FLAG_TABLE, INPUTS_IN_PLACE_MAX, InvocationId, Message, PayloadRef,
};

const KIND_ACTIVATE: u8 = 1;
const KIND_RELEASE: u8 = 2;
const KIND_UNMAP: u8 = 3;
const KIND_STOP: u8 = 4;

const FLAG_DEADLINE: u8 = 2;
const FLAG_MEASURE: u8 = 4;

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
    /// The item of a foreach, or [`NO_ITEM`](super::NO_ITEM).
    pub item: u32,
    /// CLOCK_MONOTONIC, when the engine gives the activation up.
    pub deadline_ns: Option<u64>,
    /// Whether the completion is to say what it has taken of its CPUs.
    pub measure: bool,
}

/// A message from the engine to an executor.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Request {
    /// Run a node.
    Activate {
        /// Which, and for what.
        activate: Activate,
        /// Whether the only input decoded locates a table of [`TABLE_ENTRY_BYTES`](super::TABLE_ENTRY_BYTES) entries,
        /// which are the inputs.
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
    /// What is answered to an activation that waits for an item of a list.
    Item {
        /// Which activation.
        activation: u32,
        /// Which item.
        name: ItemName,
        /// Where it lies, or why not.
        answer: ItemAnswer,
    },
    /// What is answered to an activation that waits for room in its executor's arena.
    Room {
        /// Which activation.
        activation: u32,
        /// Whether it is to try again, or why not.
        answer: RoomAnswer,
    },
    /// End the process.
    Stop,
}

/// Writes an activation. `inputs` holds at most [`INPUTS_IN_PLACE_MAX`] entries, and with `table` exactly one.
#[inline]
pub fn encode_activate(
    message: &mut Message,
    activate: &Activate,
    inputs: &[PayloadRef],
    table: bool,
) {
    debug_assert!(inputs.len() <= INPUTS_IN_PLACE_MAX && (!table || inputs.len() == 1));
    let deadline = activate.deadline_ns.is_some();
    let used = activate_slots(inputs.len(), deadline);
    let flags = (u8::from(table) * FLAG_TABLE)
        | (u8::from(deadline) * FLAG_DEADLINE)
        | (u8::from(activate.measure) * FLAG_MEASURE);
    message.open(KIND_ACTIVATE, used, inputs.len(), flags);
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
}

/// Names another payload as input `index` of an activation that [`encode_activate`] has encoded with more inputs.
///
/// # Panics
/// If `index` is not below [`INPUTS_IN_PLACE_MAX`].
#[inline]
pub fn set_input(message: &mut Message, index: usize, input: PayloadRef) {
    let (slot, word) = input_place(index);
    message.put(slot, word, input.to_words());
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

/// Writes the return of one or two ranges to the arena that they belong to.
pub fn encode_release(message: &mut Message, ranges: &[ArenaRange]) {
    debug_assert!((1..=2).contains(&ranges.len()));
    message.open(KIND_RELEASE, 1, ranges.len(), 0);
    for (index, range) in ranges.iter().enumerate() {
        message.put(0, 1 + 3 * index, range.to_words());
    }
}

/// Writes that a segment will not be named again.
pub fn encode_unmap(message: &mut Message, segment: u32, generation: u32) {
    message.open(KIND_UNMAP, 1, 0, 0);
    message.slots[0][1] = u64::from(segment) | u64::from(generation) << 32;
}

/// Writes the order to end.
pub fn encode_stop(message: &mut Message) {
    message.open(KIND_STOP, 1, 0, 0);
}

/// Decodes what an engine sent. Of [`Request::Activate`] the inputs, in the order of the node's declaration, take the
/// place of what `inputs` held: a vector that is used again and again, since these are the hottest bytes there are.
///
/// # Errors
/// If the message is none that an engine writes.
#[inline]
pub fn decode_request(
    message: &Message,
    inputs: &mut Vec<PayloadRef>,
) -> Result<Request, DescriptorError> {
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
            inputs.clear();
            inputs.extend((0..input_count).map(|index| {
                let (slot, word) = input_place(index);
                PayloadRef::from_words(message.get(slot, word))
            }));
            let activate = Activate {
                node: first[1] as u32,
                attempt: (first[1] >> 32) as u32,
                invocation: InvocationId(u128::from(first[2]) | u128::from(first[3]) << 64),
                activation: first[4] as u32,
                item: (first[4] >> 32) as u32,
                deadline_ns: deadline.then(|| message.slots[1][7]),
                measure: flags & FLAG_MEASURE != 0,
            };
            Ok(Request::Activate { activate, table })
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
        KIND_ITEM => decode_item(message).map(|(activation, name, answer)| Request::Item {
            activation,
            name,
            answer,
        }),
        KIND_ROOM => {
            decode_room(message).map(|(activation, answer)| Request::Room { activation, answer })
        }
        KIND_STOP => Ok(Request::Stop),
        _ => Err(DescriptorError::Kind { kind }),
    }
}
