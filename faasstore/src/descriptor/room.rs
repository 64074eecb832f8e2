//! An arena that is full while an activation runs, and what is answered to who waits for room there.
//!
//! ```text
//! Full      word 1 activation          flags: 8 it goes on waiting: what has come back was not enough
//!           word 2 bytes
//! Room      word 1 activation          entries: 0 something has come back, 1 nothing can, 2 nothing has for too long,
//!                                               3 the activation is to stop
//! ```

use super::{DescriptorError, Message};

pub(super) const KIND_FULL: u8 = 20;
pub(super) const KIND_ROOM: u8 = 6;

const FLAG_AGAIN: u8 = 8;

/// An activation finds no room in its executor's arena for an output, and waits until some has come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full {
    /// As in the request.
    pub activation: u32,
    /// Bytes that it wants room for.
    pub bytes: u64,
    /// Whether it has waited for the same before, and what has come back was not enough.
    pub again: bool,
}

/// What is answered to who waits for room in its arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomAnswer {
    /// Something has come back, which was told before this: it is to be tried again.
    Back,
    /// Nothing can come back: no payload of the workflow can leave, and nothing that runs will let go of any.
    Never,
    /// Nothing, or not enough, has come back for as long as anybody waits.
    Late,
    /// The activation is to stop.
    Stopped,
}

/// Writes that an activation waits for room.
pub fn encode_full(message: &mut Message, full: &Full) {
    message.open(KIND_FULL, 1, 0, u8::from(full.again) * FLAG_AGAIN);
    message.slots[0][1] = u64::from(full.activation);
    message.slots[0][2] = full.bytes;
}

/// Reads that an activation waits for room, whatever its executor has written.
pub(super) fn decode_full(message: &Message) -> Result<Full, DescriptorError> {
    let first = &message.slots[0];
    let [_, slots, count, flags] = ((first[0] >> 32) as u32).to_le_bytes();
    if (slots, count) != (1, 0) {
        return Err(DescriptorError::Slots { slots, count });
    }
    Ok(Full {
        activation: first[1] as u32,
        bytes: first[2],
        again: flags & FLAG_AGAIN != 0,
    })
}

/// Writes the answer to who waits for room.
pub fn encode_room(message: &mut Message, activation: u32, answer: RoomAnswer) {
    let count = match answer {
        RoomAnswer::Back => 0,
        RoomAnswer::Never => 1,
        RoomAnswer::Late => 2,
        RoomAnswer::Stopped => 3,
    };
    message.open(KIND_ROOM, 1, count, 0);
    message.slots[0][1] = u64::from(activation);
}

/// Reads the answer to who waits for room: for which activation, and the answer.
pub(super) fn decode_room(message: &Message) -> Result<(u32, RoomAnswer), DescriptorError> {
    let first = &message.slots[0];
    let [_, slots, count, _] = ((first[0] >> 32) as u32).to_le_bytes();
    let answer = match (slots, count) {
        (1, 0) => RoomAnswer::Back,
        (1, 1) => RoomAnswer::Never,
        (1, 2) => RoomAnswer::Late,
        (1, 3) => RoomAnswer::Stopped,
        _ => return Err(DescriptorError::Slots { slots, count }),
    };
    Ok((first[1] as u32, answer))
}
