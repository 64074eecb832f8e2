//! The most memory that a stretch of the program holds: an allocator that counts while it is told to, and costs one look at
//! a flag otherwise.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one hands each call on as it is"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

static COUNTS: AtomicBool = AtomicBool::new(false);
static HELD: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// Another allocator, counted.
#[derive(Debug)]
pub struct Counted<A>(pub A);

/// Runs something, and says how many bytes it held at most beyond what it found, as they were asked for. Counts what all threads do
/// meanwhile; 0 unless the program's allocator is [`Counted`].
pub fn peak_bytes<T>(run: impl FnOnce() -> T) -> (T, u64) {
    HELD.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let result = run();
    COUNTS.store(false, Relaxed);
    let peak = PEAK.load(Relaxed);
    (result, u64::try_from(peak).unwrap_or(0))
}

#[inline]
fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    if bytes > 0 {
        PEAK.fetch_max(held, Relaxed);
    }
}

// SAFETY: each method hands its arguments to the allocator behind it and gives back what that gives; counting touches
// atomics alone, allocates nothing and does not panic.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            count(layout.size() as isize);
        }
        // SAFETY: the caller keeps this method's contract, which is that of the allocator behind it.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            count(layout.size() as isize);
        }
        // SAFETY: as in `alloc`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTS.load(Relaxed) {
            count(-(layout.size() as isize));
        }
        // SAFETY: what is given back came from the allocator behind this one, with this layout.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if COUNTS.load(Relaxed) {
            count(new_size as isize - layout.size() as isize);
        }
        // SAFETY: as in `dealloc`.
        unsafe { self.0.realloc(pointer, layout, new_size) }
    }
}
