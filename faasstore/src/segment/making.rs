//! How segments are made: whole, chunk by chunk as they are filled, or growing until their size is known.
//!
//! ```text
//! whole       all pages ─ map ─ seals                      a size that is known, and small enough to wait for
//! gradually   length ─ map ─ seals ─ pages ─ pages ...      a size that is known; whoever fills it cannot wait
//! draft       pages ─ map ─ pages, map anew ... ─ cut ─ seals   a size that is not known yet
//! ```
//!
//! Pages can be added to a sealed segment (they change neither its size nor what is in it), so one that is made gradually is as
//! safe as any. It lacks pages until its maker has set all of them aside, and no reader takes it before.

use super::huge::{self, HUGE_PAGE_BYTES, Pages, Transparent};
use super::memory::{Access, Advice, Memory};
use super::room;
use super::{Mapping, SegmentError, SegmentWriter, aside, page_bytes};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

/// Bytes by which a draft is mapped further than it has pages, at least: mapping costs nothing, mapping anew does.
const DRAFT_MAPPED_MIN: u64 = 64 << 20;

/// What is being made, for errors.
#[derive(Clone, Copy)]
struct Making<'a> {
    name: &'a str,
    bytes: u64,
}

impl Making<'_> {
    fn refused(self, step: &'static str) -> impl Fn(Errno) -> SegmentError {
        let Self { name, bytes } = self;
        let name = name.to_owned();
        move |source| match source {
            Errno::ENOMEM | Errno::ENOSPC | Errno::EFBIG | Errno::EDQUOT => SegmentError::Memory {
                name: name.clone(),
                bytes,
                source,
            },
            Errno::EMFILE | Errno::ENFILE => SegmentError::Descriptors {
                name: name.clone(),
                bytes,
                source,
            },
            source => SegmentError::Refused {
                step,
                name: name.clone(),
                bytes,
                source: source.into(),
            },
        }
    }

    /// As [`Making::refused`], of calls whose errors come from the standard library.
    fn refused_io(self, step: &'static str) -> impl Fn(std::io::Error) -> SegmentError {
        let refused = self.refused(step);
        move |error| {
            let errno = error.raw_os_error();
            refused(errno.map_or(Errno::UnknownErrno, Errno::from_raw))
        }
    }

    fn check_bytes(self) -> Result<(), SegmentError> {
        if self.bytes == 0 || self.bytes > 1 << 62 {
            return Err(SegmentError::Bytes { bytes: self.bytes });
        }
        Ok(())
    }

    /// Whether the machine has `further` bytes more.
    fn check_room(self, further: u64) -> Result<(), SegmentError> {
        if further > room::bytes_available() {
            return Err(self.refused("looking for memory")(Errno::ENOMEM));
        }
        Ok(())
    }

    fn memfd(self, more: MFdFlags) -> Result<OwnedFd, Errno> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | more;
        memfd_create(self.name, flags)
    }

    fn seal(self, descriptor: &OwnedFd, seals: SealFlag) -> Result<(), SegmentError> {
        fcntl(descriptor, FcntlArg::F_ADD_SEALS(seals))
            .map(drop)
            .map_err(self.refused("sealing"))
    }

    /// Allocates pages, so that a lack of memory is an error now instead of a SIGBUS later.
    fn allocate(self, descriptor: &OwnedFd, from: u64, to: u64) -> Result<(), SegmentError> {
        loop {
            let (offset, length) = (from as i64, (to - from) as i64);
            match fallocate(descriptor, FallocateFlags::empty(), offset, length) {
                Err(Errno::EINTR) => {} // any signal interrupts a large one, which then starts over
                result => return result.map_err(self.refused("fallocate")),
            }
        }
    }

    /// Adds pages to what is mapped already, and maps them, so that writing them costs no fault each.
    fn add_pages(
        self,
        descriptor: &OwnedFd,
        memory: &Memory,
        (from, to): (u64, u64),
        huge: Option<Transparent>,
    ) -> Result<(), SegmentError> {
        let start = from - from % page_bytes();
        let populate = || {
            // A kernel that does not know how leaves it to the faults.
            let _ = memory.advise(Advice::Populate, start, to);
        };
        match huge {
            // The kernel makes a huge page where one is touched that has been asked for, and not in `fallocate`; what that leaves
            // out, for want of huge pages or of memory, is set aside, or an error, then.
            Some(Transparent::Touched) => {
                populate();
                return self.allocate(descriptor, from, to);
            }
            Some(Transparent::Collapsed) => self.add_huge_pages(descriptor, memory, from, to)?,
            None => {}
        }
        self.allocate(descriptor, from, to)?;
        populate();
        Ok(())
    }

    /// Makes a huge page of each that lies within these bytes: one ordinary page of it is set aside, which the kernel then collapses
    /// into a huge one. Where it does not, for whatever reason, that page is all there is.
    fn add_huge_pages(
        self,
        descriptor: &OwnedFd,
        memory: &Memory,
        from: u64,
        to: u64,
    ) -> Result<(), SegmentError> {
        let begin = from.next_multiple_of(HUGE_PAGE_BYTES);
        let count = to.saturating_sub(begin) / HUGE_PAGE_BYTES;
        if count == 0 || !huge::RESTRAINT.allows() {
            return Ok(());
        }
        let pages = (0..count).map(|index| begin + index * HUGE_PAGE_BYTES);
        for page in pages {
            self.allocate(descriptor, page, page + page_bytes())?;
        }
        // At once: the kernel waits for all CPUs each time.
        let end = begin + count * HUGE_PAGE_BYTES;
        huge::RESTRAINT.watch(count, || memory.advise(Advice::Collapse, begin, end));
        Ok(())
    }

    fn map(
        self,
        descriptor: &OwnedFd,
        length: u64,
        populate: bool,
    ) -> Result<Memory, SegmentError> {
        let mapped = Memory::map(descriptor, length, Access::ReadWrite, populate);
        mapped.map_err(self.refused_io("mmap"))
    }

    /// The last seals: from now on nobody can get a second writable view, or undo a seal.
    fn close(self, descriptor: &OwnedFd) -> Result<(), SegmentError> {
        self.seal(descriptor, SealFlag::F_SEAL_FUTURE_WRITE)?;
        self.seal(descriptor, SealFlag::F_SEAL_SEAL)
    }

    /// All of `length` bytes, mapped, of the pages that are wanted, with the first seals.
    fn whole(self, length: u64, pages: Pages) -> Result<(OwnedFd, Memory), SegmentError> {
        let fixed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        let flags = match pages {
            Pages::Reserved => MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB,
            Pages::Transparent | Pages::Ordinary => MFdFlags::empty(),
        };
        let descriptor = self.memfd(flags).map_err(self.refused("memfd_create"))?;
        if pages == Pages::Transparent {
            ftruncate(&descriptor, length as i64).map_err(self.refused("ftruncate"))?;
            let memory = self.map(&descriptor, length, false)?;
            let _ = memory.advise(Advice::Huge, 0, length);
            self.add_pages(&descriptor, &memory, (0, length), huge::transparent())?;
            self.seal(&descriptor, fixed)?;
            return Ok((descriptor, memory));
        }
        self.allocate(&descriptor, 0, length)?;
        self.seal(&descriptor, fixed)?;
        let memory = self.map(&descriptor, length, true)?;
        Ok((descriptor, memory))
    }
}

impl SegmentWriter {
    /// Makes a segment of `bytes` zero bytes, rounded up to whole pages, all of them allocated, and of huge pages where
    /// [`huge_pages`](super::huge_pages) allows. `name` is what `/proc/PID/maps` shows; the kernel takes up to 249 bytes, none of
    /// them zero.
    ///
    /// # Errors
    /// If there is no memory, no descriptor, or no kernel that knows the seals; nothing remains then.
    pub fn create(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        Self::create_at_most(name, bytes, u64::MAX)
    }

    /// As [`SegmentWriter::create`]; it is not rounded up to huge pages where it would have more than `bytes_max` bytes then.
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn create_at_most(name: &str, bytes: u64, bytes_max: u64) -> Result<Self, SegmentError> {
        aside::attempt(|| Self::attempt_to_create(name, bytes, bytes_max))
    }

    fn attempt_to_create(name: &str, bytes: u64, bytes_max: u64) -> Result<Self, SegmentError> {
        let making = Making { name, bytes };
        making.check_bytes()?;
        for pages in huge::choices(bytes) {
            let page = match pages {
                Pages::Reserved => HUGE_PAGE_BYTES,
                Pages::Transparent | Pages::Ordinary => page_bytes(),
            };
            let length = bytes.next_multiple_of(page);
            if pages == Pages::Reserved && length > bytes_max {
                continue;
            }
            // Reserved pages are not among what is available: the kernel says by itself whether it has them.
            if pages != Pages::Reserved {
                making.check_room(length)?;
            }
            let made = making.whole(length, pages);
            let made = made.and_then(|(descriptor, memory)| {
                making.close(&descriptor)?;
                Ok((descriptor, memory))
            });
            match made {
                Ok((descriptor, memory)) => {
                    return Ok(Self {
                        mapping: Mapping::new(memory, length, descriptor),
                    });
                }
                Err(_) if pages != Pages::Ordinary => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last choice is ordinary pages")
    }

    /// Makes a segment of `bytes` zero bytes, rounded up to whole pages, none of which is there yet: each must be set aside with
    /// [`SegmentWriter::add_pages`] before it is written, and all of them before the segment is passed on, since
    /// receivers refuse one that lacks pages.
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn create_gradually(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        aside::attempt(|| Self::attempt_to_create_gradually(name, bytes))
    }

    fn attempt_to_create_gradually(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        let making = Making { name, bytes };
        making.check_bytes()?;
        let length = bytes.next_multiple_of(page_bytes());
        making.check_room(length)?;
        let descriptor = making
            .memfd(MFdFlags::empty())
            .map_err(making.refused("memfd_create"))?;
        ftruncate(&descriptor, length as i64).map_err(making.refused("ftruncate"))?;
        making.seal(&descriptor, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
        let memory = making.map(&descriptor, length, false)?;
        if huge::transparent().is_some() {
            let _ = memory.advise(Advice::Huge, 0, length);
        }
        making.close(&descriptor)?;
        Ok(Self {
            mapping: Mapping::new(memory, length, descriptor),
        })
    }

    /// Makes huge pages of its ordinary ones from byte `from` up to `to`, both on the boundary of one or behind the end, where this
    /// process may have them and the kernel finds some, in milliseconds: for a thread that has time. What lies in it stays, and may
    /// be read and written meanwhile. True if there is more of it behind, and it may be worthwhile to go on.
    pub(super) fn collapse(&self, from: u64, to: u64) -> bool {
        let Mapping { memory, length, .. } = &self.mapping;
        let end = length - length % HUGE_PAGE_BYTES;
        let to = to.min(end);
        if from >= to || huge::transparent() != Some(Transparent::Collapsed) {
            return false;
        }
        // Some page may be in use just now; others are none the worse for it.
        let _ = memory.advise(Advice::Collapse, from, to);
        to < end
    }

    /// Sets the pages aside that hold the bytes from `from` up to `to` (what lies behind the end counts for nothing); those that
    /// are there already stay as they are.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub fn add_pages(&self, from: u64, to: u64) -> Result<(), SegmentError> {
        let Mapping {
            memory,
            length,
            descriptor,
        } = &self.mapping;
        let (from, to) = (from.min(*length), to.min(*length));
        if from >= to {
            return Ok(());
        }
        let making = Making {
            name: "in the making",
            bytes: *length,
        };
        // To collapse pages takes milliseconds at times, and who adds some by and by cannot wait.
        let huge = huge::transparent().filter(|way| *way == Transparent::Touched);
        aside::attempt(|| {
            making.check_room(to - from)?;
            making.add_pages(descriptor, memory, (from, to), huge)
        })
    }
}

/// A segment in the making, whose size is not known yet. It grows in place: no byte is copied, though it may come to lie at
/// another address. Nobody else can see it before it is [sealed](SegmentDraft::seal).
#[derive(Debug)]
pub struct SegmentDraft {
    name: String,
    memory: Memory,
    descriptor: OwnedFd,
    /// Bytes that have pages: what may be written.
    length: u64,
    /// Bytes that are mapped.
    mapped: u64,
}

impl SegmentDraft {
    /// A draft that has `bytes` bytes, rounded up to whole pages. Their content is zeroes.
    ///
    /// # Errors
    /// As [`SegmentWriter::create`].
    pub fn create(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        aside::attempt(|| Self::attempt_to_create(name, bytes))
    }

    fn attempt_to_create(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        let making = Making { name, bytes };
        making.check_bytes()?;
        let length = bytes.next_multiple_of(page_bytes());
        making.check_room(length)?;
        let descriptor = making
            .memfd(MFdFlags::empty())
            .map_err(making.refused("memfd_create"))?;
        let mapped = length.max(DRAFT_MAPPED_MIN);
        ftruncate(&descriptor, mapped as i64).map_err(making.refused("ftruncate"))?;
        let memory = making.map(&descriptor, mapped, false)?;
        if huge::transparent().is_some() {
            let _ = memory.advise(Advice::Huge, 0, mapped);
        }
        let mut draft = Self {
            name: name.to_owned(),
            memory,
            descriptor,
            length: 0,
            mapped,
        };
        draft.add_pages(length)?;
        Ok(draft)
    }

    fn making(&self, bytes: u64) -> Making<'_> {
        Making {
            name: &self.name,
            bytes,
        }
    }

    fn add_pages(&mut self, length: u64) -> Result<(), SegmentError> {
        let (from, making) = (self.length, self.making(length));
        let huge = huge::transparent();
        making.add_pages(&self.descriptor, &self.memory, (from, length), huge)?;
        self.length = length;
        Ok(())
    }

    /// Makes it hold at least `bytes` bytes, rounded up to whole pages; what has been written stays.
    ///
    /// # Errors
    /// If there is no memory, or no address space; it is as it was then.
    pub fn grow(&mut self, bytes: u64) -> Result<(), SegmentError> {
        let length = bytes.next_multiple_of(page_bytes());
        if length <= self.length {
            return Ok(());
        }
        aside::attempt(|| self.attempt_to_grow(bytes, length))
    }

    fn attempt_to_grow(&mut self, bytes: u64, length: u64) -> Result<(), SegmentError> {
        self.making(bytes).check_room(length - self.length)?;
        if length > self.mapped {
            // Doubled, so that moving the mapping costs each page a constant in all.
            let mapped = length.max(2 * self.mapped);
            let making = self.making(bytes);
            ftruncate(&self.descriptor, mapped as i64).map_err(making.refused("ftruncate"))?;
            self.map_anew(mapped)?;
        }
        self.add_pages(length)
    }

    fn map_anew(&mut self, mapped: u64) -> Result<(), SegmentError> {
        // SAFETY: nothing borrows the old place (`self` is borrowed as mutable, and hands out borrows of itself alone), and the
        // file is at least as long as what is mapped: it was made so before a larger mapping, and is cut after a smaller one.
        let moved = unsafe { self.memory.remap(mapped) };
        moved.map_err(self.making(mapped).refused_io("mremap"))?;
        self.mapped = mapped;
        Ok(())
    }

    /// Bytes that may be written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where `length` bytes from `offset` lie, or `None` if they do not all lie in the draft. Valid until it grows, is sealed or
    /// dropped.
    #[must_use]
    pub fn pointer(&self, offset: u64, length: u64) -> Option<NonNull<u8>> {
        if offset.checked_add(length)? > self.length {
            return None;
        }
        // As in `Mapping::pointer`.
        NonNull::new(self.memory.start().as_ptr().wrapping_add(offset as usize))
    }

    /// Cuts it behind the page in which byte `bytes` would lie last, gives the rest back to the kernel, and makes a segment of it.
    ///
    /// # Errors
    /// If the kernel refuses a seal, or `bytes` is 0 or more than it has; all of it is given back then.
    pub fn seal(mut self, bytes: u64) -> Result<SegmentWriter, SegmentError> {
        let length = bytes.next_multiple_of(page_bytes());
        if bytes == 0 || length > self.length {
            return Err(SegmentError::Bytes { bytes });
        }
        if length < self.mapped {
            self.map_anew(length)?;
            let making = self.making(bytes);
            ftruncate(&self.descriptor, length as i64).map_err(making.refused("ftruncate"))?;
        }
        let making = self.making(bytes);
        let fixed = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        making.seal(&self.descriptor, fixed)?;
        making.close(&self.descriptor)?;
        Ok(SegmentWriter {
            mapping: Mapping::new(self.memory, length, self.descriptor),
        })
    }
}
