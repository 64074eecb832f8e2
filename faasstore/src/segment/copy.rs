//! Copying out of a segment whose writer is not believed to have ended writing.

use super::{SegmentReader, SegmentWriter};
use crate::sync::Ordering;

const WORD_BYTES: usize = size_of::<u64>();
/// What is read before it is written: it stays in the nearest cache.
const CHUNK_BYTES: usize = 4096;

impl SegmentWriter {
    /// Copies `length` bytes from `offset` of another process's segment to `at` of this one, each of them read once; false,
    /// and nothing is written, if they do not all lie in both. The target must be the caller's to write: see the discipline
    /// of bytes at the head of [`crate::segment`]. The source need not be complete: of what is written there meanwhile the
    /// copy has some words and others not.
    #[must_use = "nothing is written if the bytes do not lie in both"]
    pub fn copy_from(&self, at: u64, from: &SegmentReader, offset: u64, length: u64) -> bool {
        if self.pointer(at, length).is_none() || from.pointer(offset, length).is_none() {
            return false;
        }
        // Others may store to them, so they are loaded atomically. A segment has whole pages, and so whole words.
        let words = from.words();
        let mut buffer = [0; CHUNK_BYTES + WORD_BYTES];
        let mut done = 0;
        while done < length {
            let begin = (offset + done) as usize;
            let before = begin % WORD_BYTES;
            let taken = (length - done).min(CHUNK_BYTES as u64) as usize;
            let around = words[begin / WORD_BYTES..].iter();
            for (word, place) in around
                .take((before + taken).div_ceil(WORD_BYTES))
                .zip(buffer.chunks_exact_mut(WORD_BYTES))
            {
                place.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
            if !self.write(at + done, &buffer[before..before + taken]) {
                return false;
            }
            done += taken as u64;
        }
        true
    }
}
