//! The tier `spill`: payloads in files of a local disk, through io_uring.
//!
//! ```text
//! payload  │ chunk 0 │ chunk 1 │ ... │ rest │                  a checksum for every 64 KiB, in memory
//!              │ several under way at once │
//! file     ────[ run of 4 KiB blocks ───────────────────── ]────[ run of another payload ]───
//! ```
//!
//! Two files take all payloads: small ones go through the page cache, large ones to the disk directly (`O_DIRECT`), where
//! the file system can do that: it neither fills memory with what was to leave it, nor copies. What does not lie on the
//! alignment that the device wants goes through a small pool of aligned buffers. Disk space is set aside before anything is
//! written, so that a full disk is an error of that payload and not of a later one; what is released is kept for the next
//! payload up to a limit, and goes back to the file system beyond it (`spill/extents.rs` has the bound). The files have no
//! names: a spill never outlives its worker.

mod bounce;
mod config;
mod extents;
mod file;
mod folder;
mod space;
#[cfg(test)]
mod tests;

use super::admission::Admission;
use super::book::{Book, Entry, lock, store_number};
use super::checksum::{self, BLOCK_BYTES};
use super::error::{Again, Speaker};
use super::{Body, Place, Tier, TierError, TierKind, Used};
use crate::segment::{SegmentError, Slice, TargetSlice};
use bounce::Bounces;
use extents::Run;
use file::SpillFile;
use folder::Folder;
use futures_util::{StreamExt, TryStreamExt, stream};
use nix::errno::Errno;
use space::{Class, Lease, Space, Stretch};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

pub use config::{SpillConfig, SpillError};
pub use file::SpillIo;

/// Payloads take whole multiples of this on the disk: a block of most file systems, and enough for any device's alignment.
pub const GRANULE_BYTES: u64 = 4 << 10;

/// Bytes of one read or write, at most: what goes to a device in one piece or a few, and is soon copied or checked.
const CHUNK_BYTES: u64 = 2 << 20;
/// A payload of less than several such chunks is parted into so many, of so many bytes at least.
const CHUNKS_MIN: u64 = 16;
const CHUNK_BYTES_MIN: u64 = 1 << 20;
/// What is no larger than the smallest chunk is read in two, of so many bytes at least.
const HALF_BYTES_MIN: u64 = 256 << 10;

/// Reads or writes under way for one payload: the device has work while the end of one of them is heard of. What has come is checked
/// while the rest comes; a device that shares its bandwidth among more of them would give all at the end.
const DEPTH: usize = 2;
/// Chunks of one payload that are checked at once, beside those that are read.
const CHECKS: usize = 4;

/// Aligned buffers, of a chunk each.
const BOUNCES: u32 = 8;

const FULL_REMEDY: &str = "let other payloads go, or raise what the worker may spill";
const DISK_REMEDY: &str = "free space on that disk, or spill to another one";
const IO_REMEDY: &str = "see the kernel's log for errors of that disk, and spill to another one";
const DAMAGE_REMEDY: &str = "the disk, or whoever writes to it, is at fault: see the kernel's log, and run the invocation again";

/// A payload on the disk.
#[derive(Debug)]
struct Stored {
    lease: Arc<Lease>,
    /// Checksums, block by block.
    sums: Vec<u32>,
}

/// Payloads on a local disk.
#[derive(Debug)]
pub struct Spill {
    book: Book<Stored>,
    admission: Admission,
    disk: Rc<Disk>,
    bounces: Bounces,
    direct_bytes_min: u64,
    /// What direct reads and writes want of memory; none if there are no such.
    alignment: Option<u64>,
    _folder: Folder,
}

/// Whole blocks that were read.
struct Unchecked {
    /// Of the payload.
    from: u64,
    bytes: u64,
    read: TargetSlice,
    /// Where they are to be copied, without the first `skip` bytes, unless they were read there.
    skip: u64,
    copied: Option<TargetSlice>,
}

/// What tasks of their own need.
#[derive(Debug)]
struct Disk {
    space: Arc<Mutex<Space>>,
    files: [SpillFile; 2],
}

impl Spill {
    /// Takes the folder, and removes what is left there of an earlier one; within the runtime that [`SpillConfig::io`]
    /// names.
    ///
    /// # Errors
    /// A [`SpillError`] that says what to do.
    pub fn open(config: &SpillConfig) -> Result<Self, SpillError> {
        let folder = Folder::take(&config.folder)?;
        let access = |source| SpillError::Access {
            what: "open a file in",
            path: config.folder.clone(),
            source,
        };
        let small = folder.buffered()?;
        let (large, alignment) = match folder.direct()? {
            Some((file, alignment)) => (file, Some(alignment)),
            // Never written to.
            None => (small.try_clone().map_err(access)?, None),
        };
        let speaker = Speaker {
            kind: TierKind::Spill,
            at: config.folder.display().to_string(),
        };
        let space = Space::new(config.bytes_max, config.keep_bytes);
        let file = |file| SpillFile::new(file, config.io).map_err(access);
        Ok(Self {
            book: Book::new(speaker, store_number(), Body::Kept, space.max_bytes()),
            admission: Admission::new(config.limits),
            disk: Rc::new(Disk {
                space: Arc::new(Mutex::new(space)),
                files: [file(small)?, file(large)?],
            }),
            bounces: Bounces::new(BOUNCES),
            direct_bytes_min: config.direct_bytes_min,
            alignment,
            _folder: folder,
        })
    }

    /// Whether large payloads go to the disk directly.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.alignment.is_some()
    }

    fn speaker(&self) -> &Speaker {
        self.book.speaker()
    }

    fn error(&self, what: &'static str, bytes: u64, error: io::Error) -> TierError {
        let errno = error.raw_os_error().map(Errno::from_raw);
        match errno {
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
                self.speaker().full(bytes, error, DISK_REMEDY)
            }
            _ => self.speaker().broken(what, error, Again::Not, IO_REMEDY),
        }
    }

    fn no_memory(&self, bytes: u64, error: SegmentError) -> TierError {
        self.speaker()
            .full(bytes, error, "give the worker more memory")
    }

    /// Disk space for a payload.
    async fn room(&self, bytes: u64) -> Result<Arc<Lease>, TierError> {
        let class = if self.alignment.is_some() && bytes >= self.direct_bytes_min {
            Class::Direct
        } else {
            Class::Buffered
        };
        self.trim(Some((class, bytes.div_ceil(GRANULE_BYTES))))
            .await;
        let (lease, fresh) = space::take(&self.disk.space, class, bytes).ok_or_else(|| {
            let space = lock(&self.disk.space);
            let why = format!(
                "{} of at most {} are in use",
                space.used_bytes(),
                space.max_bytes()
            );
            self.speaker().full(bytes, why, FULL_REMEDY)
        })?;
        if fresh.is_empty() {
            return Ok(Arc::new(lease));
        }
        // A task of its own: what is set aside after its lease has gone would be nobody's.
        let (disk, errand) = (Rc::clone(&self.disk), self.admission.errand());
        let task = tokio::task::spawn_local(async move {
            let _errand = errand;
            disk.allocate(lease, fresh).await
        });
        let allocated = task
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        let lease = allocated.map_err(|error| self.error("set space aside", bytes, error))?;
        Ok(Arc::new(lease))
    }

    /// Gives disk space back that is kept beyond the limit, or stands in the way of a payload.
    async fn trim(&self, wanted: Option<(Class, u64)>) {
        while let Some((class, run)) = { lock(&self.disk.space).leave(wanted) } {
            let (disk, errand) = (Rc::clone(&self.disk), self.admission.errand());
            let task = tokio::task::spawn_local(async move {
                let _errand = errand;
                disk.give_back(class, run).await
            });
            // Whatever stayed is tried again with the next payload that goes.
            if !matches!(task.await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Writes what lies between two bytes of a payload; its checksums.
    async fn write(
        &self,
        number: u64,
        payload: &Slice,
        lease: &Arc<Lease>,
        from: u64,
        to: u64,
    ) -> Result<Vec<u32>, TierError> {
        let pass = self.admission.pass(to - from).await;
        // The blocks first: who waits for the pass finds them free.
        let chunk = payload.part(from, to).guarded((Arc::clone(lease), pass));
        let summed = {
            let (first, chunk) = (from / BLOCK_BYTES, chunk.clone());
            checksum::aside(payload.length(), move || {
                checksum::table(number, first, chunk.bytes())
            })
        };
        for Stretch {
            from,
            bytes,
            offset,
        } in lease.stretches(from, to)
        {
            let mut piece = chunk.part(from, from + bytes);
            if !self.goes_as_it_is(
                lease.class,
                piece.is_aligned(self.alignment.unwrap_or(1)),
                bytes,
            ) {
                let whole = bytes.next_multiple_of(GRANULE_BYTES);
                let lent = self.bounces.lend(whole).await;
                let mut bounce = lent.map_err(|error| self.no_memory(whole, error))?;
                let (content, padding) = bounce.bytes_mut().split_at_mut(bytes as usize);
                content.copy_from_slice(piece.bytes());
                padding.fill(0);
                piece = bounce.into_slice().guarded(piece);
            }
            let written = self.disk.files[lease.class as usize].write(piece, offset);
            let written = written.await;
            written.map_err(|error| self.error("write", bytes, error))?;
        }
        summed
            .await
            .map_err(|error| self.error("sum up", to - from, error))
    }

    fn goes_as_it_is(&self, class: Class, aligned: bool, bytes: u64) -> bool {
        class == Class::Buffered || (aligned && bytes.is_multiple_of(GRANULE_BYTES))
    }

    /// Reads whole blocks, from `from` up to `to`, which are still to be checked; `into` gets those of them that it is for: all from byte
    /// `skip` on, or as many as it takes.
    async fn read(
        &self,
        entry: &Entry<Stored>,
        (from, to): (u64, u64),
        skip: u64,
        into: TargetSlice,
    ) -> Result<Unchecked, TierError> {
        let lease = &entry.content.lease;
        let bytes = to - from;
        let pass = self.admission.pass(bytes).await;
        let whole = skip == 0 && into.length() == bytes;
        let aligned = into.is_aligned(self.alignment.unwrap_or(1));
        let (target, copied) = if whole && self.goes_as_it_is(lease.class, aligned, bytes) {
            (into, None)
        } else {
            let room = bytes.next_multiple_of(GRANULE_BYTES);
            let lent = self.bounces.lend(room).await;
            let bounce = lent.map_err(|error| self.no_memory(room, error))?;
            (bounce, Some(into))
        };
        let target = target.guarded((Arc::clone(lease), pass));
        let read = self.fill(lease, target, &lease.stretches(from, to)).await?;
        Ok(Unchecked {
            from,
            bytes,
            read,
            skip,
            copied,
        })
    }

    /// Checks what was read, of `all` bytes in all, and copies it to where it belongs if it is not there yet.
    async fn check(
        &self,
        place: &Place,
        entry: &Entry<Stored>,
        all: u64,
        unchecked: Unchecked,
    ) -> Result<(), TierError> {
        let Unchecked {
            from,
            bytes,
            read,
            skip,
            copied,
        } = unchecked;
        let (number, first) = (place.number, from / BLOCK_BYTES);
        let sums = entry.content.sums.iter().skip(first as usize);
        let sums: Vec<u32> = sums
            .take(checksum::blocks(bytes) as usize)
            .copied()
            .collect();
        let checked = checksum::aside(all, move || {
            let content = &read.bytes()[..bytes as usize];
            let damaged = checksum::damaged(number, first, content, &sums);
            if let (None, Some(mut into)) = (damaged, copied) {
                let length = into.length() as usize;
                into.bytes_mut()
                    .copy_from_slice(&content[skip as usize..skip as usize + length]);
            }
            damaged
        });
        let checked = checked.await;
        match checked.map_err(|error| self.error("check", bytes, error))? {
            None => Ok(()),
            Some(block) => {
                let from = block * BLOCK_BYTES;
                let to = place.bytes.min(from + BLOCK_BYTES);
                Err(self.speaker().damaged(place, from, to, DAMAGE_REMEDY))
            }
        }
    }

    /// Reads stretches into a target, the last one up to the target's end.
    async fn fill(
        &self,
        lease: &Lease,
        target: TargetSlice,
        stretches: &[Stretch],
    ) -> Result<TargetSlice, TierError> {
        let file = &self.disk.files[lease.class as usize];
        let mut done: Option<TargetSlice> = None;
        let mut rest = target;
        for (index, Stretch { bytes, offset, .. }) in stretches.iter().enumerate() {
            let last = index + 1 == stretches.len();
            let here = if last { rest.length() } else { *bytes };
            let (now, later) = rest.split(here);
            let read = file.read(now, *offset).await;
            let read = read.map_err(|error| self.error("read", *bytes, error))?;
            done = Some(match done {
                None => read,
                Some(before) => before.join(read),
            });
            rest = later;
        }
        Ok(done.unwrap_or(rest))
    }
}

/// Bytes of a chunk of what is moved at once: whole blocks, and whole granules.
fn chunk_bytes(bytes: u64) -> u64 {
    let share = (bytes / CHUNKS_MIN).next_multiple_of(BLOCK_BYTES);
    share.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES)
}

/// As [`chunk_bytes`], of what is read.
fn read_chunk_bytes(bytes: u64) -> u64 {
    if bytes > CHUNK_BYTES_MIN {
        return chunk_bytes(bytes);
    }
    let half = bytes.div_ceil(2).next_multiple_of(BLOCK_BYTES);
    half.max(HALF_BYTES_MIN)
}

impl Disk {
    /// Sets space aside for a lease, which takes its end if that fails.
    async fn allocate(&self, lease: Lease, fresh: Vec<Run>) -> io::Result<Lease> {
        let class = lease.class;
        let file = &self.files[class as usize];
        for run in &fresh {
            let (offset, bytes) = (run.start * GRANULE_BYTES, run.blocks * GRANULE_BYTES);
            if let Err(error) = file.allocate(offset, bytes).await {
                lease.fail(&fresh);
                for run in fresh {
                    // What is there of it goes; should it stay, it counts as kept.
                    let _ = self.give_back(class, run).await;
                }
                return Err(error);
            }
        }
        Ok(lease)
    }

    /// Gives the disk space of a run back that is leaving.
    async fn give_back(&self, class: Class, run: Run) -> io::Result<()> {
        let file = &self.files[class as usize];
        let punched = file
            .punch(run.start * GRANULE_BYTES, run.blocks * GRANULE_BYTES)
            .await;
        let mut space = lock(&self.space);
        match punched {
            Ok(()) => match space.left(class, run) {
                // Under the lock: nobody may take what is behind before it is cut off.
                Some(end) => file.cut(end),
                None => Ok(()),
            },
            Err(error) => {
                space.stayed(class, run);
                Err(error)
            }
        }
    }
}

impl Tier for Spill {
    fn kind(&self) -> TierKind {
        TierKind::Spill
    }

    fn used(&self) -> Used {
        let (bytes, count) = self.book.counts();
        Used {
            bytes,
            count,
            held: lock(&self.disk.space).held_bytes(),
        }
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        let bytes = payload.length();
        let put = async {
            let claim = self.book.claim(bytes, FULL_REMEDY)?;
            let lease = self.room(bytes).await?;
            let (payload, lease) = (&payload, &lease);
            let chunk = chunk_bytes(bytes);
            let chunks = (0..bytes.div_ceil(chunk)).map(|index| {
                let from = index * chunk;
                self.write(claim.number, payload, lease, from, bytes.min(from + chunk))
            });
            let sums: Vec<Vec<u32>> = stream::iter(chunks).buffered(DEPTH).try_collect().await?;
            let stored = Stored {
                lease: Arc::clone(lease),
                sums: sums.concat(),
            };
            Ok(self.book.enter(claim, stored))
        };
        self.admission
            .within(self.speaker(), "put a payload", bytes, put)
            .await
    }

    async fn get(&self, place: &Place, from: u64, into: TargetSlice) -> Result<(), TierError> {
        let entry = self.book.find(place)?;
        let bytes = into.length();
        self.book.check_window(place, from, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        let get = async {
            let end = (from + bytes)
                .next_multiple_of(BLOCK_BYTES)
                .min(place.bytes);
            let mut begin = from - from % BLOCK_BYTES;
            let mut skip = from - begin;
            let mut rest = Some(into);
            let (entry, chunk) = (&entry, read_chunk_bytes(bytes));
            let chunks = std::iter::from_fn(|| {
                let target = rest.take().filter(|target| target.length() > 0)?;
                let to = end.min(begin + chunk);
                let here = target.length().min(to - begin - skip);
                let (now, later) = target.split(here);
                let read = self.read(entry, (begin, to), skip, now);
                (begin, skip, rest) = (to, 0, Some(later));
                Some(read)
            });
            let read = stream::iter(chunks).buffer_unordered(DEPTH);
            let checked = read.map_ok(|read| self.check(place, entry, bytes, read));
            checked
                .try_buffer_unordered(CHECKS)
                .try_collect::<()>()
                .await
        };
        self.admission
            .within(self.speaker(), "get a payload", bytes, get)
            .await
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        drop(self.book.remove(&place)?);
        let trim = async {
            self.trim(None).await;
            Ok(())
        };
        self.admission
            .within_as_small(self.speaker(), "give space back", place.bytes, trim)
            .await
    }

    async fn settled(&self) {
        self.admission.settled().await;
        self.trim(None).await;
        self.admission.settled().await;
    }
}
