//! The page that the two processes of a floor share. Unsafe code, as otherwise only in `peak`: reading a mapping as atomics.
//!
//! ```text
//! byte 0    128   256   384   512   640   768
//!      ping  pong  bell  back  stamp asleep port     each alone on its pair of cache lines
//! ```
#![expect(
    unsafe_code,
    reason = "a floor of shared memory needs shared memory, and may not use the product's"
)]

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A slot of 64 bytes as a queue would pass it: seven words, and the sequence number that says they are there.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct SlotLine {
    pub(super) words: [AtomicU64; 7],
    pub(super) sequence: AtomicU64,
}

/// A futex, or any other word of 32 bits.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct WordLine(pub(super) AtomicU32);

/// A time in nanoseconds, or any other word of 64 bits.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct TimeLine(pub(super) AtomicU64);

/// What the two processes see. Aligned to 128 bytes each, since many CPUs fetch cache lines in pairs.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Lines {
    /// Slots to the partner.
    pub(super) ping: SlotLine,
    /// Slots from it.
    pub(super) pong: SlotLine,
    /// Wakes the partner.
    pub(super) bell: WordLine,
    /// Wakes the parent.
    pub(super) back: WordLine,
    /// The time before a wake, then how long it took; [`u64::MAX`] if the sleeper had not slept.
    pub(super) stamp: TimeLine,
    /// The round for which the partner is about to sleep.
    pub(super) asleep: WordLine,
    /// Where the partner listens.
    pub(super) port: WordLine,
}

const BOARD_BYTES: usize = 4096;
const _: () = assert!(size_of::<Lines>() <= BOARD_BYTES);

/// A mapping of the page.
#[derive(Debug)]
pub(super) struct Board {
    map: MmapRaw,
    file: File,
}

impl Board {
    /// A new page, all zero.
    pub(super) fn create() -> io::Result<Self> {
        let file = File::from(memfd_create("faasflow-floor", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(BOARD_BYTES as u64)?;
        Self::map(file)
    }

    /// The page that a parent passed on.
    pub(super) fn open(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        if file.metadata()?.len() != BOARD_BYTES as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "standard input is no page of a floor",
            ));
        }
        Self::map(file)
    }

    fn map(file: File) -> io::Result<Self> {
        let map = MmapOptions::new()
            .len(BOARD_BYTES)
            .populate()
            .map_raw(&file)?;
        Ok(Self { map, file })
    }

    /// Another descriptor of it, to be passed on.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// The lines.
    pub(super) fn lines(&self) -> &Lines {
        // SAFETY: the mapping is readable and writable, page-aligned, BOARD_BYTES long (asserted above to hold Lines)
        // and lives as long as `self`, whose file nobody but this program has, and which it never shortens. Lines is
        // made of atomics alone, for which every bit pattern is valid and which other processes may change at any time.
        unsafe { &*self.map.as_ptr().cast::<Lines>() }
    }
}
