//! Ctrl-C and its like, and deadlines: what is under way is cancelled and its answer waited for, and local workers are
//! ended and their folders removed, before this process ends.

use master::client::Canceller;
use master::diagnostics::to_stderr;
use master::local::{Killer, LocalWorkers};
use nix::sys::signal::{SigSet, Signal};
use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a shell takes an end by SIGINT for: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// The workers of a run, if they have been started and are not yet ended.
pub(crate) type Shared = Arc<Mutex<Option<LocalWorkers>>>;

/// What a signal ends.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    /// Local workers of this run.
    pub(crate) workers: Shared,
    /// By what they are killed, once they are there.
    killer: Arc<Mutex<Option<Killer>>>,
    work: Arc<Mutex<Work>>,
}

/// Why this program cancels what is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// A signal to end.
    Signal,
    /// `--deadline-ms`
    Deadline {
        /// So many milliseconds.
        milliseconds: u64,
    },
}

impl Why {
    /// In a word, for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Deadline { .. } => "deadline",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal => f.write_str("interrupted"),
            Self::Deadline { milliseconds } => write!(
                f,
                "the deadline of {milliseconds} ms (--deadline-ms) has passed"
            ),
        }
    }
}

/// Invocations under way.
#[derive(Default)]
struct Work {
    /// One for each connection that invokes; none before and after.
    cancellers: Vec<Canceller>,
    cancelled: Option<Why>,
}

impl Interrupt {
    /// From now on the first signal to end cancels what is under way, and this process ends when it has its answers. Where
    /// nothing is under way, or a deadline has cancelled it already, it ends the local workers and then this process. A
    /// second signal kills the local workers and ends this process at once. Signals that whoever started this process has it ignore stay ignored.
    ///
    /// To be called before any other thread is started: threads inherit that the signals are blocked, and only the one
    /// that waits for them takes them. Workers that are started inherit it, too, and undo it for themselves.
    pub(crate) fn on_signal() -> Self {
        let interrupt = Self::default();
        let mut signals = SigSet::empty();
        let ignored = ignored_signals();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            if ignored >> (signal as u32 - 1) & 1 == 0 {
                signals.add(signal);
            }
        }
        if signals.thread_block().is_err() {
            // Then a signal ends this process as it always does, and the workers with it; a folder may remain.
            return interrupt;
        }
        let (first, second) = (interrupt.clone(), interrupt.clone());
        std::thread::spawn(move || {
            if signals.wait().is_err() {
                return;
            }
            // Not here: the second signal must be heard whatever the first one waits for.
            std::thread::spawn(move || first.end());
            let _ = signals.wait();
            if let Some(killer) = &*second.killer() {
                killer.kill();
            }
            std::process::exit(INTERRUPTED);
        });
        interrupt
    }

    fn killer(&self) -> MutexGuard<'_, Option<Killer>> {
        self.killer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Local workers have been started, and are killed by this if there is a second signal.
    pub(crate) fn started(&self, killer: Killer) {
        *self.killer() = Some(killer);
    }

    fn end(&self) {
        if self.cancel(Why::Signal) {
            return;
        }
        let workers = || self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // Held while they start, so that all of them are there now, or none.
        if let Some(started) = workers().take() {
            to_stderr("faasflow: interrupted; ending the workers\n");
            drop(started);
        } else {
            to_stderr("faasflow: interrupted\n");
        }
        std::process::exit(INTERRUPTED);
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is about to invoke. All of them are forgotten when the last [`UnderWay`] is dropped.
    pub(crate) fn watch(&self, canceller: Canceller) {
        let mut work = self.work();
        if work.cancelled.is_some() {
            // Nothing is under way on it: this keeps it so.
            let _ = canceller.cancel_all();
        }
        work.cancellers.push(canceller);
    }

    /// Cancels what is under way and says so; false if nothing is, or it was cancelled before.
    fn cancel(&self, why: Why) -> bool {
        let mut work = self.work();
        if work.cancellers.is_empty() || work.cancelled.is_some() {
            return false;
        }
        work.cancelled = Some(why);
        to_stderr(&format!(
            "faasflow: {why}; cancelling what is under way, and waiting for its end\n"
        ));
        for canceller in &work.cancellers {
            // A connection that is lost says so to who waits for its answers.
            let _ = canceller.cancel_all();
        }
        true
    }

    /// Why what was under way has been cancelled, if it has.
    pub(crate) fn why(&self) -> Option<Why> {
        self.work().cancelled
    }

    /// The work begins. It is cancelled after this time, if there is one, unless it is over then.
    pub(crate) fn under_way(&self, deadline_ms: Option<u64>) -> UnderWay<'_> {
        let deadline = deadline_ms.map(|milliseconds| {
            let (over, ended) = mpsc::channel::<()>();
            let interrupt = self.clone();
            std::thread::spawn(move || {
                let time = Duration::from_millis(milliseconds);
                if ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                    interrupt.cancel(Why::Deadline { milliseconds });
                }
            });
            over
        });
        UnderWay {
            interrupt: self,
            _deadline: deadline,
        }
    }
}

/// Those that this process was told to ignore, as by `nohup`, or a shell that has put it into the background: one bit for
/// each, the lowest for signal 1. A signal that is blocked would be heard all the same.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default()
}

/// Work that a signal or a deadline cancels until this is dropped.
pub(crate) struct UnderWay<'a> {
    interrupt: &'a Interrupt,
    /// Dropped when the work is over, which ends the thread.
    _deadline: Option<Sender<()>>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.interrupt.work().cancellers.clear();
    }
}
