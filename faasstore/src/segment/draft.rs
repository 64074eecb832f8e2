//! Segments that are made piece by piece, by a thread that must not be held up by their size.

use super::{
    Mapping, SegmentError, SegmentWriter, advise_huge, allocate, page_bytes, refused, room,
};
use memmap2::MmapOptions;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::os::fd::OwnedFd;

/// A segment of which not all pages are there yet. Nobody else has its descriptor.
#[derive(Debug)]
pub struct SegmentDraft {
    name: String,
    bytes: u64,
    length: u64,
    allocated: u64,
    descriptor: OwnedFd,
}

/// Whether a segment's pages are mapped when it is made, or when they are first touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    Now,
    WhenTouched,
}

impl SegmentDraft {
    /// Begins a segment of `bytes` bytes, rounded up to whole pages. `name` is as for [`SegmentWriter::create`].
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn begin(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        if bytes == 0 || bytes > 1 << 62 {
            return Err(SegmentError::Bytes { bytes });
        }
        let length = bytes.next_multiple_of(page_bytes());
        if length > room::bytes_available() {
            return Err(refused("looking for memory", name, bytes)(Errno::ENOMEM));
        }
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let descriptor = memfd_create(name, flags).map_err(refused("memfd_create", name, bytes))?;
        Ok(Self {
            name: name.to_owned(),
            bytes,
            length,
            allocated: 0,
            descriptor,
        })
    }

    /// Bytes that the segment will have.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Has the kernel set up to `bytes` bytes more aside, whole pages; true once all are there.
    ///
    /// # Errors
    /// If there is no memory; the draft is of no use then.
    pub fn allocate(&mut self, bytes: u64) -> Result<bool, SegmentError> {
        let step = bytes.max(1).next_multiple_of(page_bytes());
        let step = step.min(self.length - self.allocated);
        if step > 0 {
            allocate(&self.descriptor, self.allocated, step).map_err(refused(
                "fallocate",
                &self.name,
                self.bytes,
            ))?;
            self.allocated += step;
        }
        Ok(self.allocated == self.length)
    }

    /// The segment, sealed and mapped; its pages are mapped when they are first touched.
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    ///
    /// # Panics
    /// If not all of its pages are there.
    pub fn finish(self) -> Result<SegmentWriter, SegmentError> {
        self.seal(Pages::WhenTouched)
    }

    pub(super) fn seal(self, pages: Pages) -> Result<SegmentWriter, SegmentError> {
        assert_eq!(
            self.allocated, self.length,
            "a segment is passed on with all of its pages"
        );
        let Self {
            name,
            bytes,
            length,
            descriptor,
            ..
        } = self;
        let seal = |seals| {
            fcntl(&descriptor, FcntlArg::F_ADD_SEALS(seals))
                .map_err(refused("sealing", &name, bytes))
        };
        seal(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
        let mut options = MmapOptions::new();
        options.len(length as usize);
        if pages == Pages::Now {
            options.populate();
        }
        let memory = options.map_raw(&descriptor).map_err(|error| {
            let errno = error
                .raw_os_error()
                .map_or(Errno::UnknownErrno, Errno::from_raw);
            refused("mmap", &name, bytes)(errno)
        })?;
        advise_huge(&memory, length);
        seal(SealFlag::F_SEAL_FUTURE_WRITE)?;
        seal(SealFlag::F_SEAL_SEAL)?;
        Ok(SegmentWriter {
            mapping: Mapping {
                memory,
                length,
                descriptor,
            },
        })
    }
}
