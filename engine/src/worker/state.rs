//! What a worker keeps between its runs: its restart epoch, in a folder that one worker at a time may use.
//!
//! ```text
//! STATE_DIR/lock    held (flock) while the worker runs; the kernel lets go of it however the worker ends
//! STATE_DIR/epoch   how often the worker was started, as decimal text; replaced whole
//! ```
//!
//! The epoch makes invocation ids unique across restarts, and tells peers that a worker is not the one they knew. It
//! is on disk before anyone hears of it.

use crate::status::Driver;
use crate::worker::control_io::write_atomically;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Restarts that an invocation id has room for.
const EPOCH_LIMIT: u32 = 1 << 24;

/// Why a state folder cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It cannot be made or written.
    #[error("--state-dir: cannot {what} {path}: {source}; name a folder that this user may write")]
    Access {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another worker has it.
    #[error(
        "--state-dir {path}: another worker uses it; give each worker of a host its own --name or --state-dir"
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The epoch is unreadable, and guessing it could repeat invocation ids.
    #[error(
        "{path} should hold the number of this worker's starts, but holds {content:?}: restore it, or remove it and \
         give the worker a new --name"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Its beginning.
        content: String,
    },
    /// Too many restarts.
    #[error(
        "{path} says that this worker was started {EPOCH_LIMIT} times, and ids have no room for more: give it a new --name"
    )]
    Exhausted {
        /// Which file.
        path: PathBuf,
    },
}

/// The folder while this worker holds it.
#[derive(Debug)]
pub struct WorkerState {
    epoch: u32,
    _lock: Flock<File>,
}

impl WorkerState {
    /// Takes the folder, making it if need be, and begins a new epoch; within [`crate::worker::control_io::run`] with
    /// the same driver.
    ///
    /// # Errors
    /// A [`StateError`] that says what to do.
    pub async fn open(driver: Driver, folder: &Path) -> Result<Self, StateError> {
        let access = |what, path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Access { what, path, source }
        };
        std::fs::create_dir_all(folder).map_err(access("make", folder))?;
        let lock_path = folder.join("lock");
        let lock_file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path);
        let lock_file = lock_file.map_err(access("open", &lock_path))?;
        let lock =
            Flock::lock(lock_file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
                match error {
                    nix::errno::Errno::EWOULDBLOCK => StateError::Locked {
                        path: folder.to_owned(),
                    },
                    error => StateError::Access {
                        what: "lock",
                        path: lock_path,
                        source: error.into(),
                    },
                }
            })?;

        let path = folder.join("epoch");
        let last = match std::fs::read_to_string(&path) {
            Ok(text) => parse_epoch(&text).ok_or_else(|| StateError::Damaged {
                path: path.clone(),
                content: text.chars().take(40).collect(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(access("read", &path)(error)),
        };
        let epoch = last + 1;
        if epoch >= EPOCH_LIMIT {
            return Err(StateError::Exhausted { path });
        }
        let text = format!("{epoch}\n").into_bytes();
        write_atomically(driver, &path, text)
            .await
            .map_err(access("write", &path))?;
        Ok(Self { epoch, _lock: lock })
    }

    /// Which start of the worker this is, from 1; below 2^24.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }
}

/// Whether a worker can be in its so many-th life: what an invocation's id has room for.
#[must_use]
pub const fn is_epoch(epoch: u32) -> bool {
    0 < epoch && epoch < EPOCH_LIMIT
}

fn parse_epoch(text: &str) -> Option<u32> {
    let epoch = text.strip_suffix('\n')?.parse().ok()?;
    (epoch < EPOCH_LIMIT).then_some(epoch)
}

/// A worker's part of invocation ids. Names are unique in a cluster; that two of a few hundred names share a hash is
/// a matter of one in 100,000, and then their epochs, lanes and sequences would have to coincide too.
#[must_use]
pub fn worker_hash(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::control_io::{probe, run};

    fn open(folder: &Path) -> Result<WorkerState, StateError> {
        run(Driver::Epoll, WorkerState::open(Driver::Epoll, folder)).unwrap()
    }

    #[test]
    fn every_start_has_an_epoch_of_its_own_on_either_driver() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/when/needed");
        for expected in 1..=3 {
            assert_eq!(open(&path).unwrap().epoch(), expected);
        }
        if probe().is_ok() {
            let state = run(Driver::IoUring, WorkerState::open(Driver::IoUring, &path)).unwrap();
            assert_eq!(state.unwrap().epoch(), 4);
        }
    }

    #[test]
    fn two_workers_never_share_a_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        assert!(matches!(
            open(folder.path()),
            Err(StateError::Locked { .. })
        ));
        drop(first);
        assert_eq!(
            open(folder.path()).unwrap().epoch(),
            2,
            "a refused start costs no epoch"
        );
    }

    #[test]
    fn a_damaged_epoch_is_never_guessed() {
        for content in ["", "7", "seven\n", "-1\n", "16777216\n"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("epoch"), content).unwrap();
            assert!(
                matches!(open(folder.path()), Err(StateError::Damaged { .. })),
                "{content:?}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("epoch"), "16777215\n").unwrap();
        assert!(matches!(
            open(folder.path()),
            Err(StateError::Exhausted { .. })
        ));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused() {
        let error = open(Path::new("/dev/null/state")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--state-dir: cannot make /dev/null/state"),
            "{error}"
        );
    }
}
