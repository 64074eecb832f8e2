//! The folder of a worker's spill files: its lock, its cleaning, and what its file system can do.
//!
//! ```text
//! STATE_DIR/spill/lock     held (flock) while a worker spills there; the kernel lets go of it however the worker ends
//! STATE_DIR/spill/*.spill  made and unlinked at once: a file has no name while it is used
//! ```
//!
//! So the disk space comes back with the worker's end, however that comes about. What a worker leaves that ends between
//! making and unlinking a file is removed at the next start.

use super::file::PUNCH;
use super::{GRANULE_BYTES, SpillError};
use crate::segment::{SegmentWriter, Slice, TargetSlice};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, OFlag, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Alignments of memory that are tried for direct reads, the weakest first: payloads begin on multiples of 64, devices
/// want up to a page.
const ALIGNMENTS: [u64; 4] = [64, 512, 1024, 4096];

/// A folder that this process alone spills to.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Folder {
    /// Takes the folder, making it if need be, and removes what is left in it.
    pub(super) fn take(path: &Path) -> Result<Self, SpillError> {
        let access = |what| {
            let path = path.to_owned();
            move |source| SpillError::Access { what, path, source }
        };
        // Not what is around it: a folder that somebody has just taken away is not to come back.
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(access("make"))?,
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(access("make a lock in"))?;
        let lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(SpillError::Locked {
                    path: path.to_owned(),
                });
            }
            Err((_, error)) => return Err(access("lock")(error.into())),
        };
        for entry in std::fs::read_dir(path).map_err(access("list"))? {
            let left = entry.map_err(access("list"))?.path();
            if left
                .extension()
                .is_some_and(|extension| extension == "spill")
            {
                std::fs::remove_file(&left).map_err(access("clean"))?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// A new file without a name, opened with `flags` besides.
    fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let path = self.path.join(format!("{name}.spill"));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags.bits())
            .open(&path);
        // A file system that refuses direct access may do so when the file is made already.
        let removed = std::fs::remove_file(&path);
        let file = file?;
        removed?;
        Ok(file)
    }

    /// The file for what goes through the page cache, tried out: space can be set aside and given back.
    pub(super) fn buffered(&self) -> Result<File, SpillError> {
        let access = |what| {
            let path = self.path.clone();
            move |source| SpillError::Access { what, path, source }
        };
        let file = self
            .file("small", OFlag::empty())
            .map_err(access("make a file in"))?;
        let bytes = GRANULE_BYTES as i64;
        let tried = fallocate(&file, FallocateFlags::empty(), 0, bytes)
            .and_then(|()| fallocate(&file, PUNCH, 0, bytes));
        match tried {
            Ok(()) => {}
            Err(Errno::EOPNOTSUPP) => {
                return Err(SpillError::FileSystem {
                    path: self.path.clone(),
                });
            }
            Err(error) => return Err(access("set space aside in")(error.into())),
        }
        file.set_len(0).map_err(access("cut a file in"))?;
        Ok(file)
    }

    /// The file for what goes to the disk directly, with the alignment that it wants of memory; `None` if this file
    /// system has no such thing.
    pub(super) fn direct(&self) -> Result<Option<(File, u64)>, SpillError> {
        let Ok(file) = self.file("large", OFlag::O_DIRECT) else {
            return Ok(None);
        };
        let memory = SegmentWriter::create("spill-probe", 4 * GRANULE_BYTES);
        let memory = Arc::new(memory.map_err(|source| SpillError::Memory { source })?);
        let alignment = probe(&file, &memory);
        let access = |source| SpillError::Access {
            what: "cut a file in",
            path: self.path.clone(),
            source,
        };
        file.set_len(0).map_err(access)?;
        Ok(alignment.map(|alignment| (file, alignment)))
    }
}

/// The weakest alignment of memory with which a block can be written and read.
fn probe(file: &File, memory: &Arc<SegmentWriter>) -> Option<u64> {
    let content = Slice::of_writer(Arc::clone(memory), 0, GRANULE_BYTES)?;
    file.write_all_at(content.bytes(), 0).ok()?;
    ALIGNMENTS.into_iter().find(|alignment| {
        let read = TargetSlice::new(Arc::clone(memory), GRANULE_BYTES + alignment, GRANULE_BYTES);
        let written =
            Slice::of_writer(Arc::clone(memory), GRANULE_BYTES + alignment, GRANULE_BYTES);
        read.is_some_and(|mut read| file.read_exact_at(read.bytes_mut(), 0).is_ok())
            && written.is_some_and(|written| file.write_all_at(written.bytes(), 0).is_ok())
    })
}
