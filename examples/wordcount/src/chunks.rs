//! Where to cut a text so that no word is cut. Owns the chunk size; leaves the bytes where they are.

use std::ops::Range;

/// Chunks that a text is cut into, about, unless they would be shorter than [`CHUNK_BYTES_MIN`] or longer than
/// [`CHUNK_BYTES_MAX`]: enough to keep the executors of a small cluster busy to the end, few enough that a chunk's own
/// cost stays invisible.
pub const CHUNKS_WANTED: usize = 16;
/// Bytes below which a text is not cut further: counting fewer takes less time than starting an activation is worth.
pub const CHUNK_BYTES_MIN: usize = 64 << 10;
/// Bytes of a chunk of a large text: what fits a core's L2 cache beside its tally.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// What each byte is in a word: itself, a letter in lower case, or 0 for a byte that is in no word.
pub(crate) static IN_WORD: [u8; 256] = in_word();

const fn in_word() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 1;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_alphanumeric() || value == b'\'' || value >= 0x80 {
            table[byte] = value.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
}

/// Cuts `text` into ranges that follow one another and cover it, each ending at its end or between two words.
///
/// An empty text has no chunk. A chunk is longer than [`CHUNK_BYTES_MAX`] only by the rest of its last word.
#[must_use]
pub fn split(text: &[u8]) -> Vec<Range<usize>> {
    let target = (text.len() / CHUNKS_WANTED).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    let mut ranges = Vec::with_capacity(text.len().div_ceil(target));
    let mut start = 0;
    while start < text.len() {
        let from = text.len().min(start + target);
        let rest = text[from..]
            .iter()
            .position(|&byte| IN_WORD[usize::from(byte)] == 0);
        let end = rest.map_or(text.len(), |rest| from + rest);
        ranges.push(start..end);
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_text_has_no_chunk() {
        assert!(split(b"").is_empty());
    }

    #[test]
    fn a_word_longer_than_a_chunk_stays_whole() {
        let text = vec![b'a'; 3 * CHUNK_BYTES_MIN];
        assert!(matches!(&split(&text)[..], [whole] if *whole == (0..text.len())));
    }

    #[test]
    fn a_large_text_is_cut_into_chunks_of_the_wanted_size() {
        let text = b"word ".repeat(10 << 20);
        let ranges = split(&text);
        assert!(ranges.len() >= CHUNKS_WANTED);
        assert!(ranges.iter().all(|range| range.len() < CHUNK_BYTES_MAX + 5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunks_cover_the_text_in_order_and_cut_no_word(seed in prop::collection::vec(any::<u8>(), 1..64), times in 1usize..8192) {
            let text = seed.repeat(times);
            let mut at = 0;
            for range in split(&text) {
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > range.start);
                at = range.end;
                if at < text.len() {
                    prop_assert_eq!(IN_WORD[usize::from(text[at])], 0);
                }
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
