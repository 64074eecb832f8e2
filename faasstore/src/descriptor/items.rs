//! Items of a list that are asked for while an activation runs, and what is answered.
//!
//! ```text
//! Want      word 1 activation | input << 32     flags: 8 it stays until the end, 16 others after it come next
//!           word 2 item                         NO_ITEM: only says what it is done with
//!           word 3..7 items it is done with, item | input << 32 each; as many as there are entries
//! Item      word 1 activation | input << 32     entries: 0 it is in words 3..6, 1 no room, 2 the activation is to stop
//!           word 2 item
//!           word 3..6 where it lies
//! ```

use super::{DescriptorError, Message, PayloadRef};

pub(super) const KIND_WANT: u8 = 19;
pub(super) const KIND_ITEM: u8 = 5;

const FLAG_KEEP: u8 = 8;
const FLAG_WALKS: u8 = 16;

/// Items that one message may say to be done with.
pub const DONE_ITEMS_MAX: usize = 5;

/// An item of a list input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ItemName {
    /// Which input, in the node's order.
    pub input: u16,
    /// Which item of it.
    pub item: u32,
}

/// What a running activation wants of a list that it reads item by item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// As in the request.
    pub activation: u32,
    /// The item that it waits for; none of what only says what it is done with.
    pub wanted: Option<ItemName>,
    /// Whether that has to stay until the activation ends, whatever it says to be done with later.
    pub keep: bool,
    /// Whether the items after it are expected to be wanted next.
    pub walks: bool,
    /// Items that it is done with.
    done: [ItemName; DONE_ITEMS_MAX],
    done_count: u8,
}

impl Want {
    /// Of an activation that waits for an item, or for none.
    #[must_use]
    pub fn new(activation: u32, wanted: Option<ItemName>) -> Self {
        Self {
            activation,
            wanted,
            keep: false,
            walks: false,
            done: [ItemName::default(); DONE_ITEMS_MAX],
            done_count: 0,
        }
    }

    /// Says that it is done with an item; false if there is no room for that in this message.
    #[must_use]
    pub fn add_done(&mut self, name: ItemName) -> bool {
        let Some(place) = self.done.get_mut(usize::from(self.done_count)) else {
            return false;
        };
        *place = name;
        self.done_count += 1;
        true
    }

    /// What it is done with.
    #[must_use]
    pub fn done(&self) -> &[ItemName] {
        &self.done[..usize::from(self.done_count)]
    }
}

/// What is answered to who waits for an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemAnswer {
    /// It lies there, and stays until it is done with or the activation has ended.
    Here(PayloadRef),
    /// There is no memory for it.
    NoRoom,
    /// The activation is to stop: nothing is brought for it any more.
    Stopped,
}

/// Writes what an activation wants.
pub fn encode_want(message: &mut Message, want: &Want) {
    let flags = (u8::from(want.keep) * FLAG_KEEP) | (u8::from(want.walks) * FLAG_WALKS);
    message.open(KIND_WANT, 1, want.done().len(), flags);
    let first = &mut message.slots[0];
    let ItemName { input, item } = want.wanted.unwrap_or(ItemName {
        input: 0,
        item: super::NO_ITEM,
    });
    first[1] = u64::from(want.activation) | u64::from(input) << 32;
    first[2] = u64::from(item);
    for (word, done) in first[3..].iter_mut().zip(want.done()) {
        *word = u64::from(done.item) | u64::from(done.input) << 32;
    }
}

/// Reads what an executor wants, whatever it has written.
pub(super) fn decode_want(message: &Message) -> Result<Want, DescriptorError> {
    let first = &message.slots[0];
    let [_, slots, count, flags] = ((first[0] >> 32) as u32).to_le_bytes();
    if slots != 1 || usize::from(count) > DONE_ITEMS_MAX {
        return Err(DescriptorError::Slots { slots, count });
    }
    let name = |item: u64, input: u64| {
        let input = u16::try_from(input).map_err(|_| DescriptorError::Input {
            input: input as u32,
        })?;
        let item = item as u32;
        Ok(ItemName { input, item })
    };
    let wanted = name(first[2], first[1] >> 32)?;
    let mut want = Want::new(first[1] as u32, Some(wanted));
    if wanted.item == super::NO_ITEM {
        want.wanted = None;
    }
    want.keep = flags & FLAG_KEEP != 0;
    want.walks = flags & FLAG_WALKS != 0;
    want.done_count = count;
    for (done, word) in want.done.iter_mut().zip(&first[3..3 + usize::from(count)]) {
        *done = name(*word, word >> 32)?;
    }
    Ok(want)
}

/// Writes the answer to who waits for an item.
pub fn encode_item(message: &mut Message, activation: u32, name: ItemName, answer: ItemAnswer) {
    let (count, place) = match answer {
        ItemAnswer::Here(place) => (0, place),
        ItemAnswer::NoRoom => (1, PayloadRef::ABSENT),
        ItemAnswer::Stopped => (2, PayloadRef::ABSENT),
    };
    message.open(KIND_ITEM, 1, count, 0);
    message.slots[0][1] = u64::from(activation) | u64::from(name.input) << 32;
    message.slots[0][2] = u64::from(name.item);
    message.put(0, 3, place.to_words());
}

/// Reads the answer to who waits for an item: for which activation, which item, and the answer.
pub(super) fn decode_item(
    message: &Message,
) -> Result<(u32, ItemName, ItemAnswer), DescriptorError> {
    let first = &message.slots[0];
    let [_, slots, count, _] = ((first[0] >> 32) as u32).to_le_bytes();
    let answer = match (slots, count) {
        (1, 0) => ItemAnswer::Here(PayloadRef::from_words(message.get(0, 3))),
        (1, 1) => ItemAnswer::NoRoom,
        (1, 2) => ItemAnswer::Stopped,
        _ => return Err(DescriptorError::Slots { slots, count }),
    };
    let input = (first[1] >> 32) as u32;
    let input = u16::try_from(input).map_err(|_| DescriptorError::Input { input })?;
    let item = first[2] as u32;
    Ok((first[1] as u32, ItemName { input, item }, answer))
}
