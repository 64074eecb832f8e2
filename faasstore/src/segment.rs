//! Segments: sealed memory that one process writes and others only read.
//!
//! This file owns the life of a memfd from creation to mapping. It promises that a [`SegmentWriter`] is the only
//! writable view of its memory that can ever exist, in any process, and that an access inside a mapped segment never
//! faults: every page is allocated and the size is sealed before anyone else sees the descriptor. A [`SegmentReader`]
//! believes none of that and checks it. What the bytes mean, and who may write which of them when, is left to
//! [`crate::ring`] and [`crate::arena`].
//!
//! ```text
//! memfd_create ─ fallocate ─ seal SHRINK|GROW ─ map read-write ─ seal FUTURE_WRITE ─ seal SEAL ─ pass on
//! ```
//!
//! Variants of that, for what is large, are in `making.rs`; which pages are taken, in `huge.rs`.
//!
//! **The discipline of bytes.** A range is written by one holder, is told to readers when it is complete, and is not
//! written again before all of them have let go. Borrowed slices of a segment rest on that. The type system cannot
//! see into other processes; the arena keeps it on the writer's side, the engine's leases on the readers' (see
//! docs/layout.md, "Segments", for what a process that breaks it can do). Where a writer is not to be trusted at all,
//! in the rings, memory is read as atomic words alone.
#![allow(
    unsafe_code,
    reason = "views of mapped memory are made here, and nowhere else but in ring and arena"
)]

mod aside;
mod copy;
mod huge;
mod making;
mod memory;
mod room;
mod slice;

use crate::sync::{AtomicU32, AtomicU64};
use memory::{Access, Advice, Memory};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::unistd::{SysconfVar, sysconf};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use thiserror::Error;

pub use aside::{collapse_aside, work_aside};
pub use huge::{HUGE_PAGE_BYTES, HugePages, Pages, huge_pages, set_huge_pages};
pub use making::SegmentDraft;
pub use slice::{Slice, TargetSlice};

/// Larger segments are mapped page by page as a consumer reads them: more than any that holds many payloads has. To map
/// 256 MiB at once costs as much as to read them for the first time.
const POPULATED_BYTES_MAX: i64 = 8 << 20;

/// What a receiver insists on before it maps: nobody can resize, write or unseal.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

/// Why a segment could not be made or taken.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The machine, or the memory group of this process, has no room.
    #[error(
        "no memory for segment {name} of {bytes} bytes ({source}): lower the memory that workers and arenas may take, \
         or raise the limit of the machine or control group"
    )]
    Memory {
        /// Its name.
        name: String,
        /// Bytes that were asked for.
        bytes: u64,
        /// From the kernel.
        source: Errno,
    },
    /// No descriptor is left.
    #[error(
        "no file descriptor left for segment {name} of {bytes} bytes ({source}): raise `ulimit -n`"
    )]
    Descriptors {
        /// Its name.
        name: String,
        /// Bytes that were asked for.
        bytes: u64,
        /// From the kernel.
        source: Errno,
    },
    /// A segment has at least one byte and at most what an offset can say.
    #[error("a segment of {bytes} bytes cannot be: from 1 to 2^62 are possible")]
    Bytes {
        /// As asked for.
        bytes: u64,
    },
    /// The kernel refuses a step that every supported kernel grants.
    #[error(
        "{step} failed for segment {name} of {bytes} bytes ({source}): Linux 5.1 or later is needed, with memfd allowed"
    )]
    Refused {
        /// The system call.
        step: &'static str,
        /// Its name.
        name: String,
        /// Bytes that were asked for.
        bytes: u64,
        /// From the kernel.
        source: std::io::Error,
    },
    /// A received descriptor is not sealed as a segment must be.
    #[error(
        "a received segment lacks the seals {missing}: its sender does not follow the shared-memory ABI"
    )]
    Unsealed {
        /// Names of the seals.
        missing: String,
    },
    /// A received descriptor is no file that can be sealed.
    #[error(
        "a received descriptor is no memfd ({source}): its sender does not follow the shared-memory ABI"
    )]
    NoSegment {
        /// From the kernel.
        source: Errno,
    },
    /// A received segment has an impossible size.
    #[error(
        "a received segment has {bytes} bytes, which is no positive multiple of the page of {page} bytes"
    )]
    Size {
        /// As the kernel says.
        bytes: i64,
        /// The machine's page.
        page: u64,
    },
    /// A received segment lacks pages: reading there would set memory aside, or fault for want of it.
    #[error(
        "a received segment of {bytes} bytes has memory for {allocated}: its sender does not follow the shared-memory ABI"
    )]
    Sparse {
        /// Its size.
        bytes: u64,
        /// Of the pages that are there.
        allocated: u64,
    },
    /// A received segment is larger than what it is for may be.
    #[error("a received segment of {bytes} bytes, above the limit of {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A received segment cannot be mapped.
    #[error(
        "a received segment of {bytes} bytes could not be mapped ({source}): raise the limit on address space or mappings"
    )]
    Map {
        /// Its size.
        bytes: u64,
        /// From the kernel.
        source: std::io::Error,
    },
}

/// The machine's page, in bytes.
fn page_bytes() -> u64 {
    // The call has no way to fail on Linux; 4096 is then as good as any answer, since sizes are checked by the kernel.
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(4096)
}

/// A mapping and the descriptor that it was made from.
#[derive(Debug)]
struct Mapping {
    memory: ManuallyDrop<Memory>,
    length: u64,
    descriptor: ManuallyDrop<OwnedFd>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is not used again, since this is the end of what it belongs to.
        let memory = unsafe { ManuallyDrop::take(&mut self.memory) };
        // SAFETY: as above.
        let descriptor = unsafe { ManuallyDrop::take(&mut self.descriptor) };
        if self.length >= aside::BYTES_MIN {
            aside::unmap(memory, descriptor, self.length);
        }
    }
}

impl Mapping {
    const fn new(memory: Memory, length: u64, descriptor: OwnedFd) -> Self {
        Self {
            memory: ManuallyDrop::new(memory),
            length,
            descriptor: ManuallyDrop::new(descriptor),
        }
    }

    #[inline]
    fn pointer(&self, offset: u64, length: u64) -> Option<NonNull<u8>> {
        let end = offset.checked_add(length)?;
        if end > self.length {
            return None;
        }
        // `wrapping_add` needs no promise; the check above keeps the pointer inside the mapping, or one past it.
        NonNull::new(self.memory.start().as_ptr().wrapping_add(offset as usize))
    }

    #[inline]
    fn read(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let start = self.pointer(offset, length)?;
        // SAFETY: `pointer` has checked that the range lies in the mapping, which is readable, fully allocated, sealed
        // against shrinking, and lives as long as `self`. That nobody writes the range meanwhile is the discipline of
        // bytes (head of this file).
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), length as usize) })
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        let count = self.length as usize / size_of::<AtomicU64>();
        // SAFETY: the mapping begins on a page, hence aligned, and holds `count` whole words for as long as `self`
        // lives; any bit pattern is a word, and atomics may be shared with writers in other processes.
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr().cast(), count) }
    }

    fn futex(&self, offset: u64) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) {
            return None;
        }
        let word = self.pointer(offset, 4)?;
        // SAFETY: in bounds and aligned as checked, in a mapping that outlives the borrow. This process never accesses
        // the memory through this reference, which is only an address for the futex system calls.
        Some(unsafe { word.cast::<AtomicU32>().as_ref() })
    }
}

/// A segment in the one process that writes it.
#[derive(Debug)]
pub struct SegmentWriter {
    mapping: Mapping,
}

impl SegmentWriter {
    /// The descriptor, to pass on; whoever has it can map the segment for reading and nothing more.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.descriptor.as_fd()
    }

    /// Bytes in all.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.mapping.length
    }

    /// The whole segment as atomic words, which is how rings use it.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.mapping.words()
    }

    /// `length` bytes from `offset`, or `None` if they do not all lie in the segment. The range must be complete: see
    /// the discipline of bytes at the head of this file.
    #[inline]
    #[must_use]
    pub fn read(&self, offset: u64, length: u64) -> Option<&[u8]> {
        self.mapping.read(offset, length)
    }

    /// Where `length` bytes from `offset` lie, for drivers that receive into or send from them, or `None` if they do
    /// not all lie in the segment. Valid as long as the writer lives.
    #[inline]
    #[must_use]
    pub fn pointer(&self, offset: u64, length: u64) -> Option<NonNull<u8>> {
        self.mapping.pointer(offset, length)
    }

    /// Copies `bytes` to `offset`; false, and nothing is written, if they do not all fit. The range must be the
    /// caller's to write: see the discipline of bytes at the head of this file.
    #[must_use = "nothing is written if the bytes do not fit"]
    pub fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(start) = self.pointer(offset, bytes.len() as u64) else {
            return false;
        };
        // SAFETY: `pointer` has checked that the range lies in the mapping, which is writable in this process; `copy`
        // allows that `bytes` are themselves of this segment. Nobody reads the range meanwhile, as the discipline says.
        unsafe { start.as_ptr().copy_from(bytes.as_ptr(), bytes.len()) };
        true
    }

    /// The half word at `offset` as an address for futex calls; `None` if out of bounds or unaligned.
    pub(crate) fn futex(&self, offset: u64) -> Option<&AtomicU32> {
        self.mapping.futex(offset)
    }
}

/// A segment of another process, checked and mapped for reading.
#[derive(Debug)]
pub struct SegmentReader {
    mapping: Mapping,
}

impl SegmentReader {
    /// Checks the seals, the size and the pages of a received descriptor, then maps it, and all of its pages at once, so
    /// that none costs a fault when it is first read.
    ///
    /// # Errors
    /// If it could still be resized, written to by anyone but its one writer, or unsealed; if its size is impossible, or
    /// it lacks pages; or if this process cannot map it. The descriptor is closed then.
    pub fn open(descriptor: OwnedFd) -> Result<Self, SegmentError> {
        Self::open_mapping(descriptor, u64::MAX, true)
    }

    /// As [`SegmentReader::open`], and at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`SegmentError::TooLarge`] besides.
    pub fn open_at_most(descriptor: OwnedFd, bytes_max: u64) -> Result<Self, SegmentError> {
        Self::open_mapping(descriptor, bytes_max, true)
    }

    /// As [`SegmentReader::open_at_most`], but its pages are mapped when they are first read: for who must not be held up
    /// by the size of what another process passes on.
    ///
    /// # Errors
    /// As [`SegmentReader::open_at_most`].
    pub fn open_lazily(descriptor: OwnedFd, bytes_max: u64) -> Result<Self, SegmentError> {
        Self::open_mapping(descriptor, bytes_max, false)
    }

    /// As [`SegmentReader::open`], but the pages of a large segment are mapped when they are first read: for who reads one
    /// payload of it, perhaps in part, and should begin as soon with a large one as with a small one.
    ///
    /// # Errors
    /// As [`SegmentReader::open`].
    pub fn open_for_consumer(descriptor: OwnedFd) -> Result<Self, SegmentError> {
        let length = nix::sys::stat::fstat(&descriptor).map_or(0, |stat| stat.st_size);
        Self::open_mapping(descriptor, u64::MAX, length <= POPULATED_BYTES_MAX)
    }

    fn open_mapping(
        descriptor: OwnedFd,
        bytes_max: u64,
        populate: bool,
    ) -> Result<Self, SegmentError> {
        let bits = fcntl(&descriptor, FcntlArg::F_GET_SEALS)
            .map_err(|source| SegmentError::NoSegment { source })?;
        let missing = SEALS.difference(SealFlag::from_bits_truncate(bits));
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter_names().map(|(name, _)| name).collect();
            return Err(SegmentError::Unsealed {
                missing: names.join(", "),
            });
        }
        // Only now: before the seals are known, size and pages could change after they were read.
        let stat = nix::sys::stat::fstat(&descriptor)
            .map_err(|source| SegmentError::NoSegment { source })?;
        let bytes = stat.st_size;
        let page = page_bytes();
        let length = u64::try_from(bytes)
            .ok()
            .filter(|&length| length > 0 && length.is_multiple_of(page));
        let length = length.ok_or(SegmentError::Size { bytes, page })?;
        if length > bytes_max {
            return Err(SegmentError::TooLarge {
                bytes: length,
                max: bytes_max,
            });
        }
        // The kernel counts in units of 512 bytes, whatever the page.
        let allocated = u64::try_from(stat.st_blocks)
            .unwrap_or(0)
            .saturating_mul(512);
        if allocated < length {
            return Err(SegmentError::Sparse {
                bytes: length,
                allocated,
            });
        }
        let memory = aside::attempt(|| {
            let memory = Memory::map(&descriptor, length, Access::Read, populate);
            memory.map_err(|source| SegmentError::Map {
                bytes: length,
                source,
            })
        })?;
        if length >= HUGE_PAGE_BYTES {
            // A kernel without transparent huge pages refuses; small pages are as correct.
            let _ = memory.advise(Advice::Huge, 0, length);
        }
        Ok(Self {
            mapping: Mapping::new(memory, length, descriptor),
        })
    }

    /// The descriptor, to pass on.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.descriptor.as_fd()
    }

    /// Bytes in all.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.mapping.length
    }

    /// The whole segment as atomic words; only loads succeed, and only relaxed ones are portable on read-only memory.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.mapping.words()
    }

    /// `length` bytes from `offset`, or `None` if they do not all lie in the segment. The range must be complete: see
    /// the discipline of bytes at the head of this file.
    #[inline]
    #[must_use]
    pub fn read(&self, offset: u64, length: u64) -> Option<&[u8]> {
        self.mapping.read(offset, length)
    }

    /// Where `length` bytes from `offset` lie, for drivers that send from them, or `None` if they do not all lie in
    /// the segment. Valid for reading as long as the reader lives.
    #[inline]
    #[must_use]
    pub fn pointer(&self, offset: u64, length: u64) -> Option<NonNull<u8>> {
        self.mapping.pointer(offset, length)
    }

    /// The half word at `offset` as an address for futex calls; `None` if out of bounds or unaligned.
    pub(crate) fn futex(&self, offset: u64) -> Option<&AtomicU32> {
        self.mapping.futex(offset)
    }
}

#[cfg(test)]
mod tests;
