//! A count for each distinct word, with no allocation per word.
//!
//! Owns one table of the words' bytes, one of entries, and an open-addressing index over them. Both counting and merging
//! stand on it.

use rustc_hash::FxHasher;
use std::hash::Hasher;
use std::ops::Range;

const FREE: u32 = u32::MAX;

/// A distinct word.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    start: usize,
    end: usize,
    count: u64,
}

/// Counts by word.
#[derive(Debug)]
pub(crate) struct Tally {
    words: Vec<u8>,
    entries: Vec<Entry>,
    /// Places in `entries`, or [`FREE`]; its length is a power of two and at least twice that of `entries`.
    index: Vec<u32>,
}

impl Tally {
    /// An empty one with room for about `distinct` words.
    pub(crate) fn with_capacity(distinct: usize) -> Self {
        Self {
            words: Vec::with_capacity(distinct * 8),
            entries: Vec::with_capacity(distinct),
            index: vec![FREE; (distinct * 2).next_power_of_two().max(16)],
        }
    }

    /// Adds `count` to the word that `write` appends to the buffer which it is given.
    #[inline]
    pub(crate) fn add(&mut self, count: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.words.len();
        write(&mut self.words);
        let word = &self.words[start..];
        let mut hasher = FxHasher::default();
        hasher.write(word);
        let hash = hasher.finish();
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let place = self.index[slot];
            if place == FREE {
                break;
            }
            let entry = &mut self.entries[place as usize];
            if entry.hash == hash && self.words[entry.start..entry.end] == *word {
                entry.count += count;
                self.words.truncate(start);
                return;
            }
            slot = (slot + 1) & mask;
        }
        self.index[slot] = self.entries.len() as u32;
        self.entries.push(Entry {
            hash,
            start,
            end: self.words.len(),
            count,
        });
        if self.entries.len() * 2 > self.index.len() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        assert!(
            self.entries.len() < FREE as usize / 2,
            "fewer than 2^31 distinct words"
        );
        let mask = self.index.len() * 2 - 1;
        self.index.clear();
        self.index.resize(mask + 1, FREE);
        for (place, entry) in self.entries.iter().enumerate() {
            let mut slot = entry.hash as usize & mask;
            while self.index[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            self.index[slot] = place as u32;
        }
    }

    /// The words' bytes, and for each distinct word where it stands among them and how often it was seen.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<(Range<usize>, u64)>) {
        let entries = self
            .entries
            .iter()
            .map(|entry| (entry.start..entry.end, entry.count))
            .collect();
        (self.words, entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_keeps_every_word_while_it_grows() {
        let mut tally = Tally::with_capacity(0);
        for round in 0..3 {
            for number in 0..10_000_u32 {
                tally.add(u64::from(number) + round, |word| {
                    word.extend_from_slice(&number.to_le_bytes())
                });
            }
        }
        let (words, entries) = tally.into_parts();
        assert_eq!(entries.len(), 10_000);
        assert_eq!(
            words.len(),
            40_000,
            "a word that is there already takes no bytes"
        );
        for (range, count) in entries {
            let number = u32::from_le_bytes(words[range].try_into().unwrap());
            assert_eq!(count, 3 * u64::from(number) + 3);
        }
    }
}
