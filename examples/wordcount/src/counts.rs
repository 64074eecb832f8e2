//! The counts of one chunk: how they are made, and the archive in which they travel.
//!
//! An archive that passed rkyv's validation is well-formed memory; that its numbers make sense is checked here, by
//! [`CountedWords::words`].

use crate::chunks::IN_WORD;
use crate::tally::Tally;
use thiserror::Error;

pub use archive::{ArchivedCounts, Counts, CountsResolver};

mod archive {
    #![allow(
        missing_docs,
        reason = "rkyv's derive makes items without documentation"
    )]

    use faasstore::Described;
    use rkyv::{Archive, Deserialize, Serialize};

    /// How often each distinct word stands in a chunk.
    #[derive(Archive, Serialize, Deserialize, Described, Clone, PartialEq, Eq, Debug, Default)]
    pub struct Counts {
        /// The distinct words, in lower case, one behind the other.
        pub words: Vec<u8>,
        /// Where each word ends in `words`; it begins where the one before it ends.
        pub ends: Vec<u32>,
        /// How often each word was seen.
        pub counts: Vec<u64>,
    }
}

/// Counts that do not fit together: their maker is no `wordcount`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MalformedCounts {
    /// Not one count for each word.
    #[error("{words} words but {counts} counts; was this list made by `count`?")]
    Lengths {
        /// Words.
        words: usize,
        /// Counts.
        counts: usize,
    },
    /// A word's end lies before its start, or behind the last byte.
    #[error(
        "word {word} ends at byte {end}, outside of the words' bytes; was this list made by `count`?"
    )]
    End {
        /// Which word.
        word: usize,
        /// Where it is said to end.
        end: u32,
    },
}

/// Counts by word, in memory or in an archive.
pub trait CountedWords {
    /// Each word with its count, in no particular order; an error in place of a word that is none.
    ///
    /// # Errors
    /// If there is not one count for each word.
    fn words(&self) -> Result<impl Iterator<Item = CountedWord<'_>>, MalformedCounts>;
}

/// A word with its count, or why it is none.
pub type CountedWord<'a> = Result<(&'a [u8], u64), MalformedCounts>;

impl CountedWords for Counts {
    fn words(&self) -> Result<impl Iterator<Item = CountedWord<'_>>, MalformedCounts> {
        pair(
            &self.words,
            self.ends.iter().copied(),
            self.counts.iter().copied(),
        )
    }
}

impl CountedWords for ArchivedCounts {
    fn words(&self) -> Result<impl Iterator<Item = CountedWord<'_>>, MalformedCounts> {
        let ends = self.ends.iter().map(|end| end.to_native());
        pair(
            &self.words,
            ends,
            self.counts.iter().map(|count| count.to_native()),
        )
    }
}

fn pair<'a>(
    words: &'a [u8],
    ends: impl ExactSizeIterator<Item = u32>,
    counts: impl ExactSizeIterator<Item = u64>,
) -> Result<impl Iterator<Item = CountedWord<'a>>, MalformedCounts> {
    if ends.len() != counts.len() {
        return Err(MalformedCounts::Lengths {
            words: ends.len(),
            counts: counts.len(),
        });
    }
    let mut start = 0;
    Ok(ends
        .zip(counts)
        .enumerate()
        .map(move |(word, (end, count))| {
            let bytes = words
                .get(start..end as usize)
                .ok_or(MalformedCounts::End { word, end })?;
            start = end as usize;
            Ok((bytes, count))
        }))
}

/// Counts the words of `chunk`.
///
/// # Panics
/// If the distinct words of the chunk have 4 GiB or more, which no archive can hold.
#[must_use]
pub fn count(chunk: &[u8]) -> Counts {
    // A word of prose in sixteen bytes is a new one at most, in a chunk of a megabyte.
    let mut tally = Tally::with_capacity((chunk.len() / 16).min(1 << 15));
    let mut at = 0;
    while at < chunk.len() {
        let byte = IN_WORD[usize::from(chunk[at])];
        at += 1;
        if byte == 0 {
            continue;
        }
        tally.add(1, |word| {
            word.push(byte);
            while let Some(&next) = chunk.get(at) {
                let byte = IN_WORD[usize::from(next)];
                if byte == 0 {
                    break;
                }
                word.push(byte);
                at += 1;
            }
        });
    }
    let (words, entries) = tally.into_parts();
    assert!(
        u32::try_from(words.len()).is_ok(),
        "the distinct words of a chunk have less than 4 GiB"
    );
    let (ends, counts) = entries
        .into_iter()
        .map(|(range, count)| (range.end as u32, count))
        .unzip();
    Counts {
        words,
        ends,
        counts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archived(counts: &Counts) -> rkyv::util::AlignedVec {
        rkyv::to_bytes::<rkyv::rancor::Error>(counts).unwrap()
    }

    #[test]
    fn counts_read_back_from_their_archive() {
        let bytes = archived(&count(b"It's a test, a TEST."));
        let archived = rkyv::access::<ArchivedCounts, rkyv::rancor::Error>(&bytes).unwrap();
        let words: Vec<_> = archived.words().unwrap().map(Result::unwrap).collect();
        assert_eq!(words, [(&b"it's"[..], 1), (b"a", 2), (b"test", 2)]);
    }

    #[test]
    fn ends_that_go_back_or_beyond_are_errors_not_panics() {
        for (ends, word) in [(vec![2, 1], 1), (vec![9, 9], 0)] {
            let bytes = archived(&Counts {
                words: b"abc".to_vec(),
                ends,
                counts: vec![1, 1],
            });
            let archived = rkyv::access::<ArchivedCounts, rkyv::rancor::Error>(&bytes).unwrap();
            let error = archived.words().unwrap().find_map(Result::err).unwrap();
            assert!(
                matches!(error, MalformedCounts::End { word: at, .. } if at == word),
                "{error}"
            );
        }
    }

    #[test]
    fn a_count_too_few_is_an_error() {
        let bytes = archived(&Counts {
            words: b"abc".to_vec(),
            ends: vec![3],
            counts: vec![],
        });
        let archived = rkyv::access::<ArchivedCounts, rkyv::rancor::Error>(&bytes).unwrap();
        assert_eq!(
            archived.words().err(),
            Some(MalformedCounts::Lengths {
                words: 1,
                counts: 0
            })
        );
    }
}
