//! A bare file on a disk: what it takes to write a payload there from private memory, and to read it back.
//!
//! Several ways are tried, side by side: directly and through the page cache, with requests of several sizes, of which one
//! or several are under way. The best of writing and the best of reading are the floor. Payloads too small to be worth a
//! trip to the disk go through the page cache alone, and stay there. Memory is in huge pages, where the kernel gives them: in
//! front of a virtual disk scattered pages cost several times what the disk does.

use super::{FloorError, HugeMemory, histogram, sum_bytes};
use crate::clock::now_ns;
use hdrhistogram::Histogram;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use thiserror::Error;

/// Payloads from here on must reach the disk.
const DISK_BYTES_MIN: usize = 256 << 10;
/// Bytes of a request that are tried, and how many are under way at once where they go to the disk directly.
const REQUEST_BYTES: [usize; 4] = [256 << 10, 1 << 20, 4 << 20, 16 << 20];
const DEPTHS: [usize; 2] = [1, 4];
/// A payload is not parted into more requests than these: where it is large, small ones are never the best.
const REQUESTS_MAX: usize = 64;
/// Rounds in which every way is tried; after them only the best go on.
const TRIAL_ROUNDS: u64 = 3;
/// What direct requests are a multiple of.
const BLOCK_BYTES: usize = 4 << 10;
/// Blocks that must be free beside the files, so that nobody else meets a full disk.
const SPARE_BYTES: u64 = 1 << 30;

/// Why a disk cannot be measured.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The folder cannot be used.
    #[error("cannot {what} {folder}: {error}; name a folder that may be written, with --dir")]
    Access {
        /// What was tried.
        what: &'static str,
        /// Which folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// It lies in memory.
    #[error("{0} lies in memory (tmpfs), not on a disk; name a folder on one, with --dir")]
    InMemory(PathBuf),
    /// Too little is free.
    #[error(
        "the disk of {folder} has {free_bytes} bytes free, and {needed_bytes} are needed; free some, or name a folder on another \
         disk, with --dir"
    )]
    Full {
        /// Which folder.
        folder: PathBuf,
        /// Free.
        free_bytes: u64,
        /// Needed, of which a part is only to be left to others.
        needed_bytes: u64,
    },
    /// A read or a write failed, or gave something else than was written.
    #[error("a bare file in {folder}: {error}; see the kernel's log for errors of that disk")]
    Broken {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// There is not as much memory.
    #[error(transparent)]
    Memory(#[from] FloorError),
}

/// One way of writing and reading a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Through the page cache, and left there.
    Cached,
    /// Through the page cache; written down before it counts as written, and read from the disk.
    Synced {
        /// Bytes of a request.
        request_bytes: usize,
    },
    /// Without the page cache.
    Direct {
        /// Bytes of a request.
        request_bytes: usize,
        /// Requests under way.
        depth: usize,
    },
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cached => f.write_str("page cache"),
            Self::Synced { request_bytes } => write!(f, "synced, {request_bytes} bytes"),
            Self::Direct {
                request_bytes,
                depth,
            } => write!(f, "direct, {depth} of {request_bytes} bytes"),
        }
    }
}

/// What one way has taken so far.
#[derive(Debug)]
struct Tried {
    way: Way,
    written: Histogram<u64>,
    read: Histogram<u64>,
}

/// Two files without names, and every way of using them.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    buffered: File,
    direct: Option<File>,
    content: HugeMemory,
    back: HugeMemory,
    tried: Vec<Tried>,
    summed: Histogram<u64>,
    rounds: u64,
}

impl Disk {
    /// Files in `folder` for a payload of `bytes` bytes, which leave nothing behind.
    ///
    /// # Errors
    /// If it cannot be used, lies in memory, or has too little room.
    pub fn open(folder: &Path, bytes: usize) -> Result<Self, DiskError> {
        let access = |what| {
            let folder = folder.to_owned();
            move |error| DiskError::Access {
                what,
                folder,
                error,
            }
        };
        let buffered = unnamed(folder, OFlag::empty()).map_err(access("make a file in"))?;
        check_file_system(folder, &buffered, bytes)?;
        let set_aside = |file: &File| {
            let length = bytes.next_multiple_of(BLOCK_BYTES) as i64;
            fallocate(file, FallocateFlags::empty(), 0, length).map_err(io::Error::from)
        };
        set_aside(&buffered).map_err(access("set space aside in"))?;
        // A file system without direct access refuses to open.
        let direct = (bytes >= DISK_BYTES_MIN)
            .then(|| unnamed(folder, OFlag::O_DIRECT).ok())
            .flatten();
        if let Some(file) = &direct {
            set_aside(file).map_err(access("set space aside in"))?;
        }
        let tried = ways(bytes, direct.is_some()).into_iter().map(|way| Tried {
            way,
            written: histogram(),
            read: histogram(),
        });
        Ok(Self {
            folder: folder.to_owned(),
            buffered,
            direct,
            content: HugeMemory::new(bytes)?,
            back: HugeMemory::new(bytes)?,
            tried: tried.collect(),
            summed: histogram(),
            rounds: 0,
        })
    }

    /// Writes, reads and sums once by every way, or, after some rounds, by the best of them. The first time is not counted:
    /// blocks are written for the first time then.
    ///
    /// # Errors
    /// If the disk fails, or gives something else than was written.
    pub fn round(&mut self) -> Result<(), DiskError> {
        let counts = self.rounds > 0;
        self.rounds += 1;
        for index in 0..self.tried.len() {
            let fill = (self.rounds as u8).wrapping_add(index as u8);
            self.content.fill(fill);
            self.back.fill(!fill);
            let way = self.tried[index].way;
            let moved = self
                .write(way)
                .and_then(|written_ns| Ok((written_ns, self.read(way)?)));
            let broken = |error| DiskError::Broken {
                folder: self.folder.clone(),
                error,
            };
            let (written_ns, read_ns) = moved.map_err(broken)?;
            let before_ns = now_ns();
            let sum = sum_bytes(&self.back);
            let summed_ns = now_ns() - before_ns;
            if sum != u64::from(fill) * self.content.len() as u64 {
                return Err(DiskError::Broken {
                    folder: self.folder.clone(),
                    error: io::Error::other("it gave other bytes than were written"),
                });
            }
            if counts {
                let tried = &mut self.tried[index];
                tried.written.saturating_record(written_ns.max(1));
                tried.read.saturating_record(read_ns.max(1));
                self.summed.saturating_record(summed_ns.max(1));
            }
        }
        if self.rounds == 1 + TRIAL_ROUNDS {
            let best = [self.best_write().0, self.best_read().0];
            self.tried.retain(|tried| best.contains(&tried.way));
        }
        Ok(())
    }

    /// The best way to write, by its median, and what it took.
    #[must_use]
    pub fn best_write(&self) -> (Way, &Histogram<u64>) {
        self.best(|tried| &tried.written)
    }

    /// The best way to read, likewise.
    #[must_use]
    pub fn best_read(&self) -> (Way, &Histogram<u64>) {
        self.best(|tried| &tried.read)
    }

    /// What summing took once it was read.
    #[must_use]
    pub const fn summed(&self) -> &Histogram<u64> {
        &self.summed
    }

    fn best(&self, of: impl Fn(&Tried) -> &Histogram<u64>) -> (Way, &Histogram<u64>) {
        let best = self
            .tried
            .iter()
            .min_by_key(|tried| of(tried).value_at_quantile(0.5));
        let best = best.unwrap_or_else(|| unreachable!("there is a way for every size"));
        (best.way, of(best))
    }

    fn file(&self, way: Way) -> &File {
        match way {
            Way::Direct { .. } => self.direct.as_ref().unwrap_or(&self.buffered),
            Way::Cached | Way::Synced { .. } => &self.buffered,
        }
    }

    fn write(&self, way: Way) -> io::Result<u64> {
        let file = self.file(way);
        let before_ns = now_ns();
        match way {
            Way::Cached => file.write_all_at(&self.content, 0)?,
            Way::Synced { request_bytes } => {
                let parts = self.content.chunks(request_bytes);
                for (at, part) in (0..).step_by(request_bytes).zip(parts) {
                    file.write_all_at(part, at)?;
                }
                file.sync_data()?;
            }
            Way::Direct {
                request_bytes,
                depth,
            } => {
                let parts = self.content.chunks(request_bytes);
                at_once(depth, request_bytes, parts, |at, part| {
                    file.write_all_at(part, at)
                })?;
            }
        }
        Ok(now_ns() - before_ns)
    }

    fn read(&mut self, way: Way) -> io::Result<u64> {
        if matches!(way, Way::Synced { .. }) {
            posix_fadvise(
                &self.buffered,
                0,
                0,
                PosixFadviseAdvice::POSIX_FADV_DONTNEED,
            )?;
        }
        let file = match way {
            Way::Direct { .. } => self.direct.as_ref().unwrap_or(&self.buffered),
            Way::Cached | Way::Synced { .. } => &self.buffered,
        };
        let before_ns = now_ns();
        match way {
            Way::Cached => file.read_exact_at(&mut self.back, 0)?,
            Way::Synced { request_bytes } => {
                let parts = self.back.chunks_mut(request_bytes);
                for (at, part) in (0..).step_by(request_bytes).zip(parts) {
                    file.read_exact_at(part, at)?;
                }
            }
            Way::Direct {
                request_bytes,
                depth,
            } => {
                let parts = self.back.chunks_mut(request_bytes);
                at_once(depth, request_bytes, parts, |at, part| {
                    file.read_exact_at(part, at)
                })?;
            }
        }
        Ok(now_ns() - before_ns)
    }
}

/// Works on all parts, `depth` of them at a time, each with its place in the file.
fn at_once<P: Send>(
    depth: usize,
    request_bytes: usize,
    parts: impl Iterator<Item = P> + Send,
    work: impl Fn(u64, P) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let parts = Mutex::new((0..).step_by(request_bytes).zip(parts));
    let take = || {
        // Nobody panics with it in hand.
        let mut parts = parts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        parts.next()
    };
    let work_on = || {
        while let Some((at, part)) = take() {
            work(at, part)?;
        }
        Ok(())
    };
    if depth == 1 {
        return work_on();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..depth).map(|_| scope.spawn(work_on)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn ways(bytes: usize, direct: bool) -> Vec<Way> {
    if bytes < DISK_BYTES_MIN {
        return vec![Way::Cached];
    }
    let mut ways = Vec::new();
    let few = |request: usize| bytes.div_ceil(request) <= REQUESTS_MAX;
    let largest = REQUEST_BYTES[REQUEST_BYTES.len() - 1];
    let fits = |request: &usize| *request <= bytes && (few(*request) || *request == largest);
    for request_bytes in REQUEST_BYTES.into_iter().filter(fits) {
        ways.push(Way::Synced { request_bytes });
        // Requests of a payload that is no whole number of blocks cannot go directly.
        if direct && bytes.is_multiple_of(BLOCK_BYTES) {
            let depths = DEPTHS.into_iter();
            let useful = depths.filter(|depth| *depth <= bytes.div_ceil(request_bytes));
            ways.extend(useful.map(|depth| Way::Direct {
                request_bytes,
                depth,
            }));
        }
    }
    ways
}

/// A file that is gone when it is closed.
fn unnamed(folder: &Path, flags: OFlag) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .custom_flags((OFlag::O_TMPFILE | flags).bits())
        .open(folder)
}

fn check_file_system(folder: &Path, file: &File, bytes: usize) -> Result<(), DiskError> {
    let kind = fstatfs(file).map(|found| found.filesystem_type());
    if kind.is_ok_and(|kind| kind == TMPFS_MAGIC) {
        return Err(DiskError::InMemory(folder.to_owned()));
    }
    let needed_bytes = 2 * bytes as u64 + SPARE_BYTES;
    let room = fstatvfs(file);
    let free_bytes = room.map_or(u64::MAX, |room| {
        room.blocks_available().saturating_mul(room.fragment_size())
    });
    if free_bytes < needed_bytes {
        return Err(DiskError::Full {
            folder: folder.to_owned(),
            free_bytes,
            needed_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_payloads_stay_in_the_page_cache_and_large_ones_reach_the_disk_in_every_way() {
        assert_eq!(ways(4096, true), [Way::Cached]);
        let mib = ways(1 << 20, true);
        assert!(!mib.contains(&Way::Cached));
        let direct = |request_bytes, depth| Way::Direct {
            request_bytes,
            depth,
        };
        assert!(mib.contains(&direct(256 << 10, 4)) && mib.contains(&direct(1 << 20, 1)));
        assert!(!mib.contains(&direct(1 << 20, 4)), "there is one request");
        assert!(
            ways(1 << 20, false)
                .iter()
                .all(|way| matches!(way, Way::Synced { .. }))
        );
        let huge = ways(1 << 34, true);
        assert!(huge.contains(&direct(16 << 20, 4)) && !huge.contains(&direct(4 << 20, 4)));
        assert!(
            ways((1 << 20) + 1, true)
                .iter()
                .all(|way| matches!(way, Way::Synced { .. }))
        );
    }

    #[test]
    fn every_part_is_worked_on_once_however_many_are_under_way() {
        for depth in DEPTHS {
            let mut bytes = [1_u8; 1000];
            let parts = bytes.chunks_mut(7);
            at_once(depth, 7, parts, |at, part| {
                let add = |byte: &mut u8| *byte = byte.wrapping_add(at as u8);
                part.iter_mut().for_each(add);
                Ok(())
            })
            .unwrap();
            let expected = |index: usize| (index / 7 * 7) as u8;
            assert!((0..1000).all(|index| bytes[index] == 1_u8.wrapping_add(expected(index))));
        }
    }

    #[test]
    fn a_folder_in_memory_is_no_disk() {
        let folder = Path::new("/dev/shm");
        if !folder.is_dir() {
            println!("SKIPPED: a folder in memory: there is no /dev/shm");
            return;
        }
        let error = Disk::open(folder, 4096).unwrap_err();
        assert!(error.to_string().contains("--dir"), "{error}");
    }
}
