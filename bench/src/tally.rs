//! What the functions of the benchmark `foreach` count and bring home.
//!
//! Owns two formats. An *item* says which one it is and of how many (two numbers of 32 bits, little-endian). A *tally* is
//! what one executor has seen since it was last asked: six numbers of 64 bits. Both are written and read here alone.

use nix::sched::sched_getcpu;
use std::cell::Cell;
use thiserror::Error;

/// Bytes of an item.
pub const ITEM_BYTES: usize = 8;
/// Numbers of a tally.
const FACTS: usize = 6;

/// One item of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its place in the list.
    pub number: u32,
    /// Items of the list.
    pub of: u32,
}

impl Item {
    /// As it travels.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; ITEM_BYTES] {
        (u64::from(self.number) | u64::from(self.of) << 32).to_le_bytes()
    }

    /// Reads an item, unless the bytes are something else.
    #[inline]
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = u64::from_le_bytes(bytes.try_into().ok()?);
        let (number, of) = (word as u32, (word >> 32) as u32);
        (number < of).then_some(Self { number, of })
    }
}

/// What an executor has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Its process.
    pub pid: u32,
    /// The CPU that it was asked on, if the kernel said so.
    pub cpu: Option<usize>,
    /// Items.
    pub items: u64,
    /// The sum of their numbers.
    pub sum: u64,
    /// When it was entered for the first of the list, by CLOCK_MONOTONIC in nanoseconds.
    pub first_ns: u64,
    /// When it was entered for the last one.
    pub last_ns: u64,
}

thread_local! {
    /// An executor has one thread that runs functions, and so one tally.
    static TALLY: Cell<Tally> = Cell::new(Tally::default());
}

/// Bytes that are no tally.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "a tally of {bytes} bytes is none of bench-functions; is an executable of another version in the folder?"
)]
pub struct MalformedTally {
    /// How many there are.
    pub bytes: usize,
}

impl Tally {
    /// Counts an item. Time is taken for the first and the last one of the list alone: `now_ns` is not called otherwise.
    #[inline]
    pub fn count(item: Item, now_ns: impl FnOnce() -> u64) {
        let mut tally = TALLY.get();
        tally.items += 1;
        tally.sum += u64::from(item.number);
        if item.number == 0 || item.number + 1 == item.of {
            let now_ns = now_ns();
            if item.number == 0 {
                tally.first_ns = now_ns;
            }
            tally.last_ns = now_ns;
        }
        TALLY.set(tally);
    }

    /// Takes what was counted on this thread, as the bytes of a tally.
    #[must_use]
    pub fn take() -> Vec<u8> {
        let tally = TALLY.take();
        let cpu = sched_getcpu().map_or(u64::MAX, |cpu| cpu as u64);
        let facts: [u64; FACTS] = [
            u64::from(std::process::id()),
            cpu,
            tally.items,
            tally.sum,
            tally.first_ns,
            tally.last_ns,
        ];
        facts.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Reads what [`Tally::take`] wrote.
    ///
    /// # Errors
    /// If these bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedTally> {
        let malformed = MalformedTally { bytes: bytes.len() };
        let (words, rest) = bytes.as_chunks::<8>();
        let words: &[[u8; 8]; FACTS] = words.try_into().map_err(|_| malformed)?;
        if !rest.is_empty() {
            return Err(malformed);
        }
        let [pid, cpu, items, sum, first_ns, last_ns] = words.map(u64::from_le_bytes);
        Ok(Self {
            pid: u32::try_from(pid).map_err(|_| malformed)?,
            cpu: (cpu != u64::MAX).then_some(cpu as usize),
            items,
            sum,
            first_ns,
            last_ns,
        })
    }

    /// Whether it is that of a list of so many items, each of which was seen once.
    #[must_use]
    pub fn is_of(&self, items: u32) -> bool {
        let items = u64::from(items);
        let sum = items * items.saturating_sub(1) / 2;
        (self.items, self.sum) == (items, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_every_item_once_and_times_the_first_and_the_last() {
        for number in 0..4 {
            let bytes = Item { number, of: 4 }.to_bytes();
            let item = Item::from_bytes(&bytes).unwrap();
            Tally::count(item, || 10 + u64::from(number));
        }
        let tally = Tally::from_bytes(&Tally::take()).unwrap();
        assert!(tally.is_of(4) && !tally.is_of(3) && !tally.is_of(5));
        assert_eq!((tally.first_ns, tally.last_ns), (10, 13));
        assert_eq!(tally.pid, std::process::id());
        let again = Tally::from_bytes(&Tally::take()).unwrap();
        assert!(again.is_of(0), "what was taken is forgotten");
    }

    #[test]
    fn a_list_of_one_item_begins_and_ends_with_it() {
        Tally::count(Item { number: 0, of: 1 }, || 7);
        let tally = Tally::from_bytes(&Tally::take()).unwrap();
        assert_eq!((tally.first_ns, tally.last_ns), (7, 7));
        assert!(tally.is_of(1));
    }

    #[test]
    fn bytes_that_are_no_tally_or_item_are_refused() {
        let good = Tally::take();
        for length in 0..good.len() {
            assert!(Tally::from_bytes(&good[..length]).is_err(), "{length}");
        }
        assert!(Tally::from_bytes(&[&good[..], &[0; 8]].concat()).is_err());
        assert!(Tally::from_bytes(&[&good[..], &[0]].concat()).is_err());
        assert_eq!(Item::from_bytes(&[0; 7]), None);
        assert_eq!(Item::from_bytes(&[0; 8]), None, "no item of none");
        let beyond = Item { number: 3, of: 3 }.to_bytes();
        assert_eq!(Item::from_bytes(&beyond), None);
    }
}
