//! What an executor answers an engine.

use super::items::{KIND_WANT, Want, decode_want};
use super::room::{Full, KIND_FULL, decode_full};
use super::{DescriptorError, FLAG_TABLE, Message, OUTPUTS_IN_PLACE_MAX, OutputRef, SLOT_WORDS};

const KIND_DONE: u8 = 16;
const KIND_FAILED: u8 = 17;
const KIND_RETIRE: u8 = 18;

const FLAG_CPU: u8 = 4;
/// Slots of a completion that says what was taken of CPUs, at least: the last words of the second and of the third say it.
const CPU_SLOTS: usize = 3;
const _: () = assert!(done_slots(OUTPUTS_IN_PLACE_MAX) >= CPU_SLOTS);

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

/// What an activation has taken of its CPUs, in nanoseconds, as its executor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuUse {
    /// CPU time of the executor's process, all of its threads together, and of processes that it has started and waited for.
    pub cpu_ns: u64,
    /// From its beginning to its end, but for the time in which its thread could have run and waited for a CPU: how long it
    /// would have taken alone.
    pub alone_ns: u64,
}

/// A message from an executor to the engine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Completion {
    /// An activation ended well.
    Done {
        /// As in the request.
        activation: u32,
        /// Whether the only output decoded locates a table of [`TABLE_ENTRY_BYTES`](super::TABLE_ENTRY_BYTES) entries,
        /// which are the outputs.
        table: bool,
        /// What it has taken of its CPUs, if that was measured.
        cpu: Option<CpuUse>,
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
    /// An activation waits for an item of a list, or is done with some.
    Want(Want),
    /// An activation waits for room in its executor's arena.
    Full(Full),
    /// The executor has unmapped a segment of its arena in which nothing was left.
    Retire {
        /// Index in the executor's arena.
        segment: u32,
        /// Which of those that had it.
        generation: u32,
    },
}

/// Writes a completion. `outputs` holds at most [`OUTPUTS_IN_PLACE_MAX`] entries, and with `table` exactly one.
#[inline]
pub fn encode_done(message: &mut Message, activation: u32, outputs: &[OutputRef], table: bool) {
    debug_assert!(outputs.len() <= OUTPUTS_IN_PLACE_MAX && (!table || outputs.len() == 1));
    let used = done_slots(outputs.len());
    message.open(KIND_DONE, used, outputs.len(), u8::from(table) * FLAG_TABLE);
    message.slots[0][1] = u64::from(activation);
    for (index, output) in outputs.iter().enumerate() {
        let (slot, word) = output_place(index);
        message.put(slot, word, output.to_words());
    }
}

/// Says what was taken of CPUs in a completion that [`encode_done`] has written.
pub fn add_cpu_use(message: &mut Message, cpu: CpuUse) {
    let used = usize::from(message.used).max(CPU_SLOTS);
    for slot in &mut message.slots[usize::from(message.used)..used] {
        *slot = [0; SLOT_WORDS];
    }
    let head = (message.slots[0][0] >> 32) as u32;
    let [kind, _, count, flags] = head.to_le_bytes();
    debug_assert_eq!(kind, KIND_DONE, "what has failed is not measured");
    let head = u32::from_le_bytes([kind, used as u8, count, flags | FLAG_CPU]);
    message.slots[0][0] = u64::from(head) << 32;
    message.slots[1][7] = cpu.cpu_ns;
    message.slots[2][7] = cpu.alone_ns;
    message.used = used as u8;
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

/// Writes a failure whose text lies at `text`.
pub fn encode_failed(message: &mut Message, activation: u32, code: FailureCode, text: OutputRef) {
    message.open(KIND_FAILED, 1, 1, 0);
    message.slots[0][1] = u64::from(activation) | u64::from(code as u32) << 32;
    message.put(0, 2, text.to_words());
}

/// Writes that a segment of the arena is gone.
pub fn encode_retire(message: &mut Message, segment: u32, generation: u32) {
    message.open(KIND_RETIRE, 1, 0, 0);
    message.slots[0][1] = u64::from(segment) | u64::from(generation) << 32;
}

/// Whether this says that `activation` has ended well, with that many outputs in place, no table, and nothing of its CPU
/// time. The outputs are to be read by [`done_output`].
#[inline]
#[must_use]
pub fn is_plain_done(message: &Message, activation: u32, outputs: usize) -> bool {
    let first = &message.slots[0];
    let head = u32::from_le_bytes([KIND_DONE, done_slots(outputs) as u8, outputs as u8, 0]);
    outputs <= OUTPUTS_IN_PLACE_MAX
        && (first[0] >> 32) as u32 == head
        && usize::from(message.used) == done_slots(outputs)
        && first[1] as u32 == activation
}

/// An output in place of what [`is_plain_done`] says is a completion with more outputs than `index`.
///
/// # Errors
/// If it names neither a range nor an input.
///
/// # Panics
/// If `index` is not below [`OUTPUTS_IN_PLACE_MAX`].
#[inline]
pub fn done_output(message: &Message, index: usize) -> Result<OutputRef, DescriptorError> {
    let (slot, word) = output_place(index);
    OutputRef::from_words(message.get(slot, word))
}

/// Decodes what an executor sent. Of [`Completion::Done`] the outputs, in the order of the node's declaration, take the
/// place of what `outputs` held.
///
/// # Errors
/// If the message is none that an executor writes.
#[inline]
pub fn decode_completion(
    message: &Message,
    outputs: &mut Vec<OutputRef>,
) -> Result<Completion, DescriptorError> {
    let first = &message.slots[0];
    let [kind, slots, count, flags] = ((first[0] >> 32) as u32).to_le_bytes();
    match kind {
        KIND_DONE => {
            let output_count = usize::from(count);
            let table = flags & FLAG_TABLE != 0;
            let is_measured = flags & FLAG_CPU != 0;
            let least = if is_measured { CPU_SLOTS } else { 1 };
            let fits = output_count <= OUTPUTS_IN_PLACE_MAX
                && usize::from(slots) == done_slots(output_count).max(least)
                && slots == message.used
                && (!table || output_count == 1);
            if !fits {
                return Err(DescriptorError::Slots { slots, count });
            }
            outputs.clear();
            for index in 0..output_count {
                outputs.push(done_output(message, index)?);
            }
            Ok(Completion::Done {
                activation: first[1] as u32,
                table,
                cpu: is_measured.then(|| CpuUse {
                    cpu_ns: message.slots[1][7],
                    alone_ns: message.slots[2][7],
                }),
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
        KIND_WANT => decode_want(message).map(Completion::Want),
        KIND_FULL => decode_full(message).map(Completion::Full),
        _ => Err(DescriptorError::Kind { kind }),
    }
}
