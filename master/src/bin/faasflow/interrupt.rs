//! Ctrl-C and its like, while local workers run: they are ended and their folders removed before this process ends.

use master::diagnostics::to_stderr;
use master::local::LocalWorkers;
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Arc, Mutex, PoisonError};

/// What a shell takes an end by SIGINT for: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// The workers of a run, if they have been started and are not yet ended.
pub(crate) type Shared = Arc<Mutex<Option<LocalWorkers>>>;

/// From now on a signal to end ends the workers first; a second one ends this process at once.
///
/// To be called before any other thread is started: threads inherit that the signals are blocked, and only the one
/// that waits for them takes them. Programs that are started do not inherit it, since std resets their masks.
pub(crate) fn end_workers_on_signal() -> Shared {
    let workers: Shared = Arc::default();
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    if signals.thread_block().is_err() {
        // Then a signal ends this process as it always does, and the workers with it; a folder may remain.
        return workers;
    }
    let shared = Arc::clone(&workers);
    std::thread::spawn(move || {
        if signals.wait().is_err() {
            return;
        }
        to_stderr("faasflow: interrupted; ending the workers\n");
        std::thread::spawn(move || {
            drop(shared.lock().unwrap_or_else(PoisonError::into_inner).take());
            std::process::exit(INTERRUPTED);
        });
        let _ = signals.wait();
        std::process::exit(INTERRUPTED);
    });
    workers
}
