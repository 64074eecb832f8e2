//! Where a segment lies in this process.
//!
//! What can have huge pages begins on the boundary of one: the kernel maps none as a whole elsewhere, and sees to that by itself only
//! where an administrator has allowed them for shared memory.

use super::huge::HUGE_PAGE_BYTES;
use memmap2::{MmapOptions, MmapRaw, RemapOptions};
use nix::libc::{self, c_int, c_void};
use nix::sys::mman::{MRemapFlags, MapFlags, ProtFlags, mmap, mmap_anonymous, mremap, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

const HUGE: usize = HUGE_PAGE_BYTES as usize;

/// Bytes that are unmapped in one go. While the kernel is at it, in half a millisecond if pages are ordinary, no other thread can map
/// anything.
const UNMAPPED_BYTES: usize = 4 * HUGE;

/// Since Linux 6.1; the C library may not know it yet.
const MADV_COLLAPSE: c_int = 25;

/// What a process may do with a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

/// What the kernel can be told of mapped memory; none of it changes what is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Advice {
    /// Huge pages are welcome when it is touched.
    Huge,
    /// All pages are to be there, and mapped, now.
    Populate,
    /// What ordinary pages there are, and gaps between them, are to become huge ones now.
    Collapse,
}

/// Mapped memory of a file.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<u8>,
    length: usize,
    owner: Owner,
}

#[derive(Debug)]
enum Owner {
    /// Where the kernel has put it; held for its drop.
    Anywhere(MmapRaw),
    /// On the boundary of a huge page, unmapped by [`Memory`].
    Aligned,
}

// SAFETY: it is an address and a length, as `MmapRaw` is, which can be sent; whoever reads or writes there has promises of his own.
unsafe impl Send for Memory {}
// SAFETY: as above; nothing here changes behind a shared borrow.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        if matches!(self.owner, Owner::Aligned) {
            for from in (0..self.length).step_by(UNMAPPED_BYTES) {
                let bytes = UNMAPPED_BYTES.min(self.length - from);
                let start = self.start.map_addr(|address| address.saturating_add(from));
                // SAFETY: the range is this mapping's own, and nothing borrows from a mapping that is dropped.
                let unmapped = unsafe { munmap(start.cast(), bytes) };
                debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
            }
        }
    }
}

/// Address space that nobody else gets, for `length` bytes from the boundary of a huge page.
struct Reserved {
    whole: NonNull<c_void>,
    bytes: usize,
    start: NonNull<c_void>,
}

impl Reserved {
    fn new(length: usize) -> io::Result<Self> {
        let bytes = length
            .checked_add(HUGE)
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a mapping at an address of the kernel's choice replaces nothing.
        let whole = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, flags) }?;
        let aligned = |address: NonZeroUsize| {
            let before = address.get().next_multiple_of(HUGE) - address.get();
            address.saturating_add(before)
        };
        Ok(Self {
            whole,
            bytes: bytes.get(),
            // Within it, since it is longer than `length` by a huge page.
            start: whole.map_addr(aligned),
        })
    }

    /// Gives back what lies around the first `length` bytes, which something else lies in now.
    fn keep(self, length: usize) {
        let before = self.start.as_ptr().addr() - self.whole.as_ptr().addr();
        let behind = self.bytes - before - length;
        let end = self
            .whole
            .map_addr(|address| address.saturating_add(before + length));
        for (start, bytes) in [(self.whole, before), (end, behind)] {
            if bytes > 0 {
                // SAFETY: the range is a part of what was reserved, in which nothing was put.
                let _ = unsafe { munmap(start, bytes) };
            }
        }
    }

    fn give_up(self) {
        // SAFETY: nothing was put in it.
        let _ = unsafe { munmap(self.whole, self.bytes) };
    }
}

impl Memory {
    /// Maps the first `length` bytes of a file, which has as many; with `populate` all of its pages at once.
    pub(super) fn map(
        file: impl AsFd,
        length: u64,
        access: Access,
        populate: bool,
    ) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if length >= HUGE
            && let Ok(reserved) = Reserved::new(length)
        {
            return Self::map_aligned(file, length, access, populate, reserved);
        }
        let mut options = MmapOptions::new();
        options.len(length);
        if populate {
            options.populate();
        }
        let descriptor = file.as_fd().as_raw_fd();
        let mapped = match access {
            Access::Read => options.map_raw_read_only(descriptor),
            Access::ReadWrite => options.map_raw(descriptor),
        }?;
        let start = NonNull::new(mapped.as_mut_ptr()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            length,
            owner: Owner::Anywhere(mapped),
        })
    }

    fn map_aligned(
        file: impl AsFd,
        length: usize,
        access: Access,
        populate: bool,
        reserved: Reserved,
    ) -> io::Result<Self> {
        let protection = match access {
            Access::Read => ProtFlags::PROT_READ,
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        let mut flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        if populate {
            flags |= MapFlags::MAP_POPULATE;
        }
        let (at, bytes) = (
            NonZeroUsize::new(reserved.start.as_ptr().addr()),
            NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?,
        );
        // SAFETY: what it replaces was reserved for it, and nothing lies there.
        match unsafe { mmap(at, bytes, protection, flags, file, 0) } {
            Ok(start) => {
                reserved.keep(length);
                Ok(Self {
                    start: start.cast(),
                    length,
                    owner: Owner::Aligned,
                })
            }
            Err(error) => {
                reserved.give_up();
                Err(error.into())
            }
        }
    }

    /// Where it begins.
    #[inline]
    pub(super) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Maps the first `length` bytes instead, perhaps at another address.
    ///
    /// # Safety
    /// Nobody may use an earlier address of it any more, and the file must have as many bytes.
    pub(super) unsafe fn remap(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        match &mut self.owner {
            Owner::Anywhere(mapped) => {
                // SAFETY: as the caller has promised.
                unsafe { mapped.remap(length, RemapOptions::new().may_move(true)) }?;
                self.start = NonNull::new(mapped.as_mut_ptr()).ok_or(io::ErrorKind::OutOfMemory)?;
            }
            Owner::Aligned => {
                let start = self.start.cast();
                // SAFETY: the mapping is this one's own, and as the caller has promised. It stays where it is.
                let stayed =
                    unsafe { mremap(start, self.length, length, MRemapFlags::empty(), None) };
                if stayed.is_err() {
                    self.start = self.moved(length)?;
                }
            }
        }
        self.length = length;
        Ok(())
    }

    /// Where it lies once it was moved to where there is room for `length` bytes.
    fn moved(&self, length: usize) -> io::Result<NonNull<u8>> {
        let reserved = Reserved::new(length)?;
        let (from, to) = (self.start.cast(), Some(reserved.start));
        let flags = MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED;
        // SAFETY: the mapping is this one's own, by the promise of `remap` nobody uses its old address, and what it replaces was
        // reserved for it.
        match unsafe { mremap(from, self.length, length, flags, to) } {
            Ok(start) => {
                reserved.keep(length);
                Ok(start.cast())
            }
            Err(error) => {
                reserved.give_up();
                Err(error.into())
            }
        }
    }

    /// Tells the kernel something of the bytes from `from` up to `to`, which lie in it; `from` is the beginning of a page.
    pub(super) fn advise(&self, advice: Advice, from: u64, to: u64) -> io::Result<()> {
        debug_assert!(from <= to && to <= self.length as u64, "within the mapping");
        let advice = match advice {
            Advice::Huge => libc::MADV_HUGEPAGE,
            Advice::Populate => libc::MADV_POPULATE_WRITE,
            Advice::Collapse => MADV_COLLAPSE,
        };
        let start = self.start.as_ptr().wrapping_add(from as usize);
        // SAFETY: the range lies in this mapping, and none of these changes what is there.
        let told = unsafe { libc::madvise(start.cast(), (to - from) as usize, advice) };
        if told == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
