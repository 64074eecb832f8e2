//! Copying out of a segment whose writer is not believed to have ended writing.

use super::{SegmentReader, SegmentWriter};
use crate::sync::{AtomicU8, AtomicU64, Ordering};

impl SegmentWriter {
    /// Copies `length` bytes from `offset` of another process's segment to `at` of this one, each of them read once; false,
    /// and nothing is written, if they do not all lie in both. The target must be the caller's to write: see the discipline
    /// of bytes at the head of [`crate::segment`]. The source need not be complete: of what is written there meanwhile the
    /// copy has some words and others not.
    #[must_use = "nothing is written if the bytes do not lie in both"]
    pub fn copy_from(&self, at: u64, from: &SegmentReader, offset: u64, length: u64) -> bool {
        let places = from.pointer(offset, length).zip(self.pointer(at, length));
        let Some((source, target)) = places else {
            return false;
        };
        let aligned = offset.is_multiple_of(size_of::<u64>() as u64)
            && at.is_multiple_of(size_of::<u64>() as u64);
        let length = length as usize;
        let words = if aligned {
            length / size_of::<u64>()
        } else {
            0
        };
        for index in 0..words {
            // SAFETY: `pointer` has checked that both ranges lie in mappings that outlive this call; they begin on pages and
            // both offsets are multiples of a word. Another process may store to the source, so it is loaded atomically. The
            // target is the caller's alone, and lies in another segment: one that this process writes is not read by a reader
            // of its own.
            unsafe {
                let word = source.cast::<AtomicU64>().add(index).as_ref();
                let loaded = word.load(Ordering::Relaxed);
                target.cast::<u64>().add(index).write(loaded);
            }
        }
        for index in words * size_of::<u64>()..length {
            // SAFETY: as above, and bytes are always aligned.
            unsafe {
                let byte = source.cast::<AtomicU8>().add(index).as_ref();
                let loaded = byte.load(Ordering::Relaxed);
                target.add(index).write(loaded);
            }
        }
        true
    }
}
