//! Slices of segments that own what they lie in.
//!
//! A [`Slice`] is bytes to read, a [`TargetSlice`] bytes to fill, for whoever hands memory to the kernel, to another
//! thread or to a client library. It owns the mapping, and any *guards* that were hung on it: both last until the last
//! part of it is gone, wherever it is then. So when a future is dropped while the kernel still reads or writes, the memory
//! stays mapped, and whoever waits for the guard to be dropped (to use the range, or the place on a disk, again) waits
//! long enough. The discipline of bytes (see [`crate::segment`]) is kept by whoever makes a slice.

use super::{SegmentReader, SegmentWriter};
use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// Guards, the newest first.
#[derive(Clone, Default)]
struct Guards(Option<Arc<Guarded>>);

struct Guarded {
    _before: Guards,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Guards {
    fn add(&mut self, guard: impl Any + Send + Sync) {
        let before = std::mem::take(self);
        self.0 = Some(Arc::new(Guarded {
            _before: before,
            _guard: Box::new(guard),
        }));
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "guarded" } else { "free" })
    }
}

#[derive(Clone, Debug)]
enum Memory {
    Read(Arc<SegmentReader>),
    Written(Arc<SegmentWriter>),
}

/// Bytes of a segment, complete, to be read.
#[derive(Clone, Debug)]
pub struct Slice {
    memory: Memory,
    offset: u64,
    length: u64,
    guards: Guards,
}

impl Slice {
    /// `length` bytes from `offset` of another process's segment; `None` if they do not all lie in it.
    #[must_use]
    pub fn of_reader(segment: Arc<SegmentReader>, offset: u64, length: u64) -> Option<Self> {
        segment.pointer(offset, length)?;
        Some(Self::new(Memory::Read(segment), offset, length))
    }

    /// `length` bytes from `offset` of a segment of this process, which are not written any more; `None` if they do not
    /// all lie in it.
    #[must_use]
    pub fn of_writer(segment: Arc<SegmentWriter>, offset: u64, length: u64) -> Option<Self> {
        segment.pointer(offset, length)?;
        Some(Self::new(Memory::Written(segment), offset, length))
    }

    fn new(memory: Memory, offset: u64, length: u64) -> Self {
        Self {
            memory,
            offset,
            length,
            guards: Guards::default(),
        }
    }

    /// Hangs on a guard: it is dropped when nobody reads this slice, or a part or clone of it, any more.
    #[must_use]
    pub fn guarded(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guards.add(guard);
        self
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let bytes = match &self.memory {
            Memory::Read(segment) => segment.read(self.offset, self.length),
            Memory::Written(segment) => segment.read(self.offset, self.length),
        };
        bytes.unwrap_or_else(|| unreachable!("a slice lies in its segment"))
    }

    /// The bytes from `from` up to `to` of this slice, with its guards.
    ///
    /// # Panics
    /// If they do not lie in it.
    #[must_use]
    pub fn part(&self, from: u64, to: u64) -> Self {
        assert!(
            from <= to && to <= self.length,
            "a part lies in its slice: {from}..{to} of {}",
            self.length
        );
        Self {
            memory: self.memory.clone(),
            offset: self.offset + from,
            length: to - from,
            guards: self.guards.clone(),
        }
    }

    /// Whether its first byte lies on a multiple of `align` bytes of the address space.
    #[must_use]
    pub fn is_aligned(&self, align: u64) -> bool {
        (self.bytes().as_ptr() as u64).is_multiple_of(align)
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// Bytes of a segment of this process, to be filled. It cannot be cloned, only divided, so no two fill the same bytes.
#[derive(Debug)]
pub struct TargetSlice {
    segment: Arc<SegmentWriter>,
    offset: u64,
    length: u64,
    guards: Guards,
}

impl TargetSlice {
    /// `length` bytes from `offset`, which must be the caller's to write (a reservation of an arena); `None` if they do
    /// not all lie in the segment.
    #[must_use]
    pub fn new(segment: Arc<SegmentWriter>, offset: u64, length: u64) -> Option<Self> {
        segment.pointer(offset, length)?;
        Some(Self {
            segment,
            offset,
            length,
            guards: Guards::default(),
        })
    }

    /// Hangs on a guard: it is dropped when nobody writes to this slice, or a part of it, any more.
    #[must_use]
    pub fn guarded(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guards.add(guard);
        self
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    fn pointer(&self) -> NonNull<u8> {
        let start = self.segment.pointer(self.offset, self.length);
        start.unwrap_or_else(|| unreachable!("a slice lies in its segment"))
    }

    /// The bytes, as far as they were filled; the others are as whoever had the range before has left them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let bytes = self.segment.read(self.offset, self.length);
        bytes.unwrap_or_else(|| unreachable!("a slice lies in its segment"))
    }

    /// The bytes, to fill.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.pointer();
        // SAFETY: `pointer` has checked that the range lies in a mapping which is writable in this process, fully
        // allocated, and lives as long as `self`. Nobody else has the range: it was the maker's to write, and a target is
        // never cloned, and divided into parts that do not overlap.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.length as usize) }
    }

    /// What is before `at`, and what is from there on; both with the guards.
    ///
    /// # Panics
    /// If it has fewer than `at` bytes.
    #[must_use]
    pub fn split(self, at: u64) -> (Self, Self) {
        assert!(
            at <= self.length,
            "a cut at {at} in a slice of {} bytes",
            self.length
        );
        let behind = Self {
            segment: Arc::clone(&self.segment),
            offset: self.offset + at,
            length: self.length - at,
            guards: self.guards.clone(),
        };
        let before = Self { length: at, ..self };
        (before, behind)
    }

    /// Undoes [`TargetSlice::split`].
    ///
    /// # Panics
    /// If `behind` does not begin where this ends.
    #[must_use]
    pub fn join(self, behind: Self) -> Self {
        assert!(
            Arc::ptr_eq(&self.segment, &behind.segment)
                && self.offset + self.length == behind.offset,
            "what is joined lay side by side"
        );
        Self {
            length: self.length + behind.length,
            ..self
        }
    }

    /// What was filled, to read: the end of writing.
    #[must_use]
    pub fn into_slice(self) -> Slice {
        Slice {
            memory: Memory::Written(self.segment),
            offset: self.offset,
            length: self.length,
            guards: self.guards,
        }
    }

    /// Whether its first byte lies on a multiple of `align` bytes of the address space.
    #[must_use]
    pub fn is_aligned(&self, align: u64) -> bool {
        (self.bytes().as_ptr() as u64).is_multiple_of(align)
    }
}

/// What tokio-uring must know of a buffer.
#[cfg(feature = "spill")]
mod kernel {
    use super::{Slice, TargetSlice};
    use tokio_uring::buf::{IoBuf, IoBufMut};

    // SAFETY: the bytes lie in a mapping that the slice owns; moving the slice does not move them.
    unsafe impl IoBuf for Slice {
        fn stable_ptr(&self) -> *const u8 {
            self.bytes().as_ptr()
        }

        fn bytes_init(&self) -> usize {
            self.length as usize
        }

        fn bytes_total(&self) -> usize {
            self.length as usize
        }
    }

    // SAFETY: as above.
    unsafe impl IoBuf for TargetSlice {
        fn stable_ptr(&self) -> *const u8 {
            self.pointer().as_ptr()
        }

        fn bytes_init(&self) -> usize {
            // The pages of a segment are never without content.
            self.length as usize
        }

        fn bytes_total(&self) -> usize {
            self.length as usize
        }
    }

    // SAFETY: as above, and nobody else has these bytes (see `bytes_mut`).
    unsafe impl IoBufMut for TargetSlice {
        fn stable_mut_ptr(&mut self) -> *mut u8 {
            self.pointer().as_ptr()
        }

        unsafe fn set_init(&mut self, _bytes: usize) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Counted(Arc<AtomicU32>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn segment() -> Arc<SegmentWriter> {
        let segment = SegmentWriter::create("slice-test", 4096).unwrap();
        let content: Vec<u8> = (0..=255).collect();
        assert!(segment.write(0, &content));
        Arc::new(segment)
    }

    #[test]
    fn a_slice_lies_in_its_segment() {
        let segment = segment();
        let slice = Slice::of_writer(Arc::clone(&segment), 64, 8).unwrap();
        assert_eq!(slice.bytes(), [64, 65, 66, 67, 68, 69, 70, 71]);
        assert_eq!(slice.part(2, 4).bytes(), [66, 67]);
        assert_eq!(slice.part(8, 8).bytes(), [0; 0]);
        assert!(slice.is_aligned(64) && !slice.is_aligned(128));
        for (offset, length) in [(0, 4097), (4096, 1), (u64::MAX, 2), (1, u64::MAX)] {
            assert!(Slice::of_writer(Arc::clone(&segment), offset, length).is_none());
            assert!(TargetSlice::new(Arc::clone(&segment), offset, length).is_none());
        }
    }

    #[test]
    fn parts_of_a_target_do_not_overlap() {
        let target = TargetSlice::new(segment(), 16, 16).unwrap();
        let (mut before, mut behind) = target.split(10);
        before.bytes_mut().fill(1);
        behind.bytes_mut().fill(2);
        assert_eq!((before.length(), behind.length()), (10, 6));
        assert_eq!(before.bytes(), [1; 10]);
        assert_eq!(before.into_slice().bytes(), [1; 10]);
        assert_eq!(behind.segment.read(15, 1), Some(&[15][..]));
        assert_eq!(behind.segment.read(32, 1), Some(&[32][..]));
    }

    #[test]
    #[should_panic(expected = "lay side by side")]
    fn only_neighbours_are_joined() {
        let (before, behind) = TargetSlice::new(segment(), 16, 16).unwrap().split(10);
        let (behind, end) = behind.split(3);
        let joined = before.join(behind);
        assert_eq!((joined.offset, joined.length), (16, 13));
        let (_, hole) = end.split(1);
        let _ = joined.join(hole);
    }

    #[test]
    fn a_guard_lasts_as_long_as_the_last_part() {
        let dropped = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        let count = || dropped.each_ref().map(|count| count.load(Ordering::SeqCst));
        let slice = Slice::of_writer(segment(), 0, 100)
            .unwrap()
            .guarded(Counted(Arc::clone(&dropped[0])));
        let part = slice.part(1, 2).guarded(Counted(Arc::clone(&dropped[1])));
        drop(slice);
        assert_eq!(count(), [0, 0]);
        drop(part);
        assert_eq!(count(), [1, 1]);

        let target = TargetSlice::new(segment(), 0, 100)
            .unwrap()
            .guarded(Counted(Arc::clone(&dropped[0])));
        let (before, behind) = target.split(50);
        drop(before);
        assert_eq!(count(), [1, 1]);
        let read = behind.into_slice();
        assert_eq!(count(), [1, 1]);
        drop(read);
        assert_eq!(count(), [2, 1]);
    }

    #[test]
    fn a_slice_keeps_its_memory() {
        let segment = segment();
        let kept = Arc::downgrade(&segment);
        let slice = Slice::of_writer(segment, 5, 1).unwrap();
        assert!(kept.upgrade().is_some());
        assert_eq!(slice.bytes(), [5]);
        drop(slice);
        assert!(kept.upgrade().is_none());
    }
}
