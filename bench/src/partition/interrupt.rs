//! An end by SIGINT or SIGTERM that leaves no folders behind.

use nix::sys::signal::{SigSet, Signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Added to a signal's number in the exit code of what it ended, as shells have it.
const SIGNALLED: i32 = 128;

/// Folders that go when this process is told to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folders(Arc<Mutex<Vec<PathBuf>>>);

impl Folders {
    /// Takes SIGINT and SIGTERM from this thread, and from those that it starts from now on; one thread waits for them. What is
    /// started as a process has them as ever.
    ///
    /// # Errors
    /// If the kernel refuses it; then they end this process at once.
    pub(crate) fn watch() -> nix::Result<Self> {
        let folders = Self::default();
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let watched = folders.clone();
        thread::spawn(move || {
            if let Ok(signal) = signals.wait() {
                watched.remove();
                // Workers end with their standard input, whose other end goes now.
                std::process::exit(SIGNALLED + signal as i32);
            }
        });
        Ok(folders)
    }

    /// One more.
    pub(crate) fn add(&self, folder: &Path) {
        self.lock().push(folder.to_owned());
    }

    fn remove(&self) {
        for folder in self.lock().drain(..) {
            // One that is gone already need not be removed.
            let _ = fs::remove_dir_all(folder);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_all_that_is_in_them_and_one_that_is_gone_is_no_trouble() {
        let outer = tempfile::tempdir().unwrap();
        let folders = Folders::default();
        for name in ["gone", "full"] {
            folders.add(&outer.path().join(name));
        }
        fs::create_dir(outer.path().join("full")).unwrap();
        fs::write(outer.path().join("full/key"), "secret").unwrap();
        folders.remove();
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
    }
}
