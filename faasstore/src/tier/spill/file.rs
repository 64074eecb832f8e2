//! One spill file's reads and writes: one seam, with tokio-uring on one side of it and blocking threads on the other.
//!
//! Buffers own their memory and whatever hangs on it, and are owned by the operation: a future that is dropped leaves the
//! kernel, or the thread, with all that it needs, until it has ended. What changes the file itself (space, size) runs as a
//! task of its own, to its end.

use crate::segment::{Slice, TargetSlice};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// What carries out reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpillIo {
    /// io_uring; within a runtime of tokio-uring.
    IoUring,
    /// Threads that block, where io_uring is refused.
    Threads,
}

/// A file without a name.
pub(super) struct SpillFile {
    file: Arc<File>,
    uring: Option<tokio_uring::fs::File>,
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
}

impl std::fmt::Debug for SpillFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpillFile({:?})", self.file)
    }
}

impl SpillFile {
    pub(super) fn new(file: File, io: SpillIo) -> io::Result<Self> {
        let uring = match io {
            SpillIo::IoUring => Some(tokio_uring::fs::File::from_std(file.try_clone()?)),
            SpillIo::Threads => None,
        };
        Ok(Self {
            file: Arc::new(file),
            uring,
            #[cfg(test)]
            faults: super::tests::Faults::default(),
        })
    }

    /// Writes all of `slice` at `offset`.
    pub(super) async fn write(&self, slice: Slice, offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write().await?;
        if let Some(uring) = &self.uring {
            return uring.write_all_at(slice, offset).await.0;
        }
        let file = Arc::clone(&self.file);
        blocking(move || file.write_all_at(slice.bytes(), offset)).await
    }

    /// Fills `target` from `offset`, and gives it back.
    pub(super) async fn read(
        &self,
        mut target: TargetSlice,
        offset: u64,
    ) -> io::Result<TargetSlice> {
        #[cfg(test)]
        self.faults.before_read().await?;
        if let Some(uring) = &self.uring {
            let (result, target) = uring.read_exact_at(target, offset).await;
            return result.map(|()| target);
        }
        let file = Arc::clone(&self.file);
        blocking(move || {
            file.read_exact_at(target.bytes_mut(), offset)?;
            Ok(target)
        })
        .await
    }

    /// Sets disk space aside; the file grows if need be. To be awaited to its end.
    pub(super) async fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.fallocate(FallocateFlags::empty(), offset, bytes)
            .await?;
        #[cfg(test)]
        self.faults.after_allocate()?;
        Ok(())
    }

    /// Gives disk space back. To be awaited to its end.
    pub(super) async fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.fallocate(PUNCH, offset, bytes).await
    }

    async fn fallocate(&self, flags: FallocateFlags, offset: u64, bytes: u64) -> io::Result<()> {
        if let Some(uring) = &self.uring {
            return uring.fallocate(offset, bytes, flags.bits()).await;
        }
        let file = Arc::clone(&self.file);
        blocking(move || {
            loop {
                match fallocate(&*file, flags, offset as i64, bytes as i64) {
                    Err(Errno::EINTR) => {} // any signal interrupts a large one, which then starts over
                    result => return Ok(result?),
                }
            }
        })
        .await
    }

    /// Cuts the file; nobody may use what is behind. It frees nothing, so it takes no time.
    pub(super) fn cut(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    #[cfg(test)]
    pub(super) fn inner(&self) -> &File {
        &self.file
    }
}

/// A hole, within the file's size.
pub(super) const PUNCH: FallocateFlags =
    FallocateFlags::FALLOC_FL_PUNCH_HOLE.union(FallocateFlags::FALLOC_FL_KEEP_SIZE);

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}
