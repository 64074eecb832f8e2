//! Views of memory that the SDK knows nothing of.

use nix::libc;
use std::io::Error;
use std::sync::atomic::{AtomicU8, Ordering};

/// A range of a mapping that stays for as long as this process.
pub(crate) struct Mapped {
    start: usize,
    length: usize,
}

impl Mapped {
    /// Writes this byte all over it.
    pub(crate) fn fill(&self, byte: u8) {
        for index in 0..self.length {
            // SAFETY: it lies in a mapping that is never unmapped; who reads it elsewhere is none of a rogue's concern.
            let place = unsafe { &*((self.start + index) as *const AtomicU8) };
            place.store(byte, Ordering::Relaxed);
        }
    }
}

fn page() -> usize {
    // SAFETY: it has no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// A second view of bytes in a shared mapping, writable if that is: none can be made by `mmap` any more, but a mapping that
/// is there can be doubled.
pub(crate) fn second_view(bytes: &[u8]) -> Result<Mapped, Error> {
    let start = bytes.as_ptr() as usize;
    let begins = start - start % page();
    let length = (start + bytes.len()).next_multiple_of(page()) - begins;
    // SAFETY: an old size of 0 doubles a shared mapping at an address of the kernel's choice and changes nothing else.
    let view = unsafe { libc::mremap(begins as *mut _, 0, length, libc::MREMAP_MAYMOVE) };
    if view == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    Ok(Mapped {
        start: view as usize + (start - begins),
        length: bytes.len(),
    })
}

/// Maps a descriptor for reading, for ever.
pub(crate) fn view_of(descriptor: libc::c_int, length: usize) -> Result<(), Error> {
    let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE);
    // SAFETY: a new mapping at an address of the kernel's choice, to which nothing refers.
    let view = unsafe { libc::mmap(std::ptr::null_mut(), length, read, shared, descriptor, 0) };
    if view == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    Ok(())
}

/// The sum of bytes that may change while they are read, each read once.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let bytes = bytes.as_ptr_range();
    let (start, end) = (bytes.start as usize, bytes.end as usize);
    let read = |place: usize| {
        // SAFETY: it lies in the slice, which is mapped; others may store to it, so it is loaded atomically.
        let byte = unsafe { &*(place as *const AtomicU8) };
        u64::from(byte.load(Ordering::Relaxed))
    };
    (start..end).map(read).sum()
}
