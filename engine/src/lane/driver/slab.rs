//! A table whose keys are never reused: what the drivers keep connections and watches in.
//!
//! It owns the slots and their generations. It promises that a key finds the value that it was given for, or nothing,
//! for ever: a slot whose generations are used up is retired, so nothing wraps.

/// Names one value of one [`Slab`], for all time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

/// Low bits of a packed key that say what kind of operation it stands for.
const KIND_BITS: u32 = 3;
/// Slots that a slab can have, so that an index and a kind fit 32 bits.
const SLOTS_MAX: usize = 1 << (32 - KIND_BITS);

impl Key {
    /// Key and kind in 64 bits, as io_uring and epoll hand them back. `kind` is below 8.
    pub(super) const fn pack(self, kind: u8) -> u64 {
        debug_assert!((kind as u32) < 1 << KIND_BITS);
        ((self.generation as u64) << 32) | ((self.index as u64) << KIND_BITS) | kind as u64
    }

    /// What [`Key::pack`] packed.
    pub(super) const fn unpack(packed: u64) -> (Self, u8) {
        let low = packed as u32;
        let key = Self {
            index: low >> KIND_BITS,
            generation: (packed >> 32) as u32,
        };
        (key, (low & ((1 << KIND_BITS) - 1)) as u8)
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values under keys that are never reused.
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    live: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
        }
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        self.live += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return Key {
                index,
                generation: slot.generation,
            };
        }
        let index = self.slots.len();
        assert!(
            index < SLOTS_MAX,
            "a process has fewer descriptors than a slab has slots"
        );
        self.slots.push(Slot {
            generation: 0,
            value: Some(value),
        });
        Key {
            index: index as u32,
            generation: 0,
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation {
            slot.value.as_mut()
        } else {
            None
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        self.live -= 1;
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(key.index);
        }
        Some(value)
    }

    /// The keys of all values.
    pub(super) fn keys(&self) -> Vec<Key> {
        let occupied = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some());
        occupied
            .map(|(index, slot)| Key {
                index: index as u32,
                generation: slot.generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_finds_a_later_value() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.slots[0].generation = u32::MAX;
        slab.remove(Key {
            generation: u32::MAX,
            ..key
        });
        let next = slab.insert(2);
        assert_ne!(next.index, key.index);
    }

    #[test]
    fn a_packed_key_is_unpacked_as_it_was() {
        let key = Key {
            index: (SLOTS_MAX - 1) as u32,
            generation: u32::MAX,
        };
        assert_eq!(Key::unpack(key.pack(7)), (key, 7));
    }
}
