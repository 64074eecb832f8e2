//! An end by SIGINT or SIGTERM that leaves no folders behind.

use nix::sys::signal::{SigSet, Signal};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Added to a signal's number in the exit code of what it ended, as shells have it.
const SIGNALLED: i32 = 128;

/// How long it tries to remove all folders, and what lies between two attempts.
const REMOVAL_MAX: Duration = Duration::from_secs(5);
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);

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

    /// Workers that are just starting may write into one that is being emptied, until there is none to write into.
    fn remove(&self) {
        let deadline = Instant::now() + REMOVAL_MAX;
        for folder in self.lock().drain(..) {
            while let Err(error) = fs::remove_dir_all(&folder)
                && error.kind() != ErrorKind::NotFound
                && Instant::now() < deadline
            {
                thread::sleep(REMOVAL_PAUSE);
            }
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
    fn a_folder_goes_though_somebody_writes_into_it_until_it_is_gone() {
        let outer = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let (folders, folder) = (Folders::default(), outer.path().join(round.to_string()));
            fs::create_dir(&folder).unwrap();
            folders.add(&folder);
            thread::scope(|scope| {
                let writes = scope.spawn(|| {
                    // More slowly than a folder is emptied, as workers do that start; and not for ever.
                    let write = |number: &u32| {
                        thread::sleep(Duration::from_micros(50));
                        fs::write(folder.join(number.to_string()), "state").is_ok()
                    };
                    (0..20_000).take_while(write).count()
                });
                while !folder.join("100").exists() && !writes.is_finished() {
                    thread::yield_now();
                }
                folders.remove();
                assert!(!folder.exists());
                assert!(writes.join().unwrap() > 100);
            });
        }
    }

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
