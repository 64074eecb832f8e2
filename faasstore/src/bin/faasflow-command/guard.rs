//! No program outlives its executor, whatever ends that.
//!
//! The guard is a process of its own, and leads a process group that every program is started in. It holds the read
//! end of a pipe whose write end the executor alone has: when that closes, it kills the group. So neither a program
//! that was about to start nor one that it has started in turn is forgotten, except one that leaves the group. Before that
//! the group may be asked to end (SIGTERM), which its guard alone does not hear.

use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{Read as _, Result, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

/// What tells this executable to be a guard.
pub(crate) const ARGUMENT: &str = "--guard-a-process-group";

/// What a guard says once its group may be asked to end.
const READY: &[u8] = b"+";

/// The guard's own `main`: waits for the executor's end.
pub(crate) fn watch() -> ExitCode {
    let mut deaf = SigSet::empty();
    deaf.add(Signal::SIGTERM);
    // Whoever waits for the word sees it fail: the guard has ended.
    let ready = deaf.thread_block().is_ok() && std::io::stdout().write_all(READY).is_ok();
    if !ready || std::io::stdout().flush().is_err() {
        return ExitCode::FAILURE;
    }
    let mut stdin = std::io::stdin().lock();
    let mut byte = [0];
    // Nothing is ever written: whatever comes, or fails, is the end.
    let _ = stdin.read(&mut byte);
    // The whole group, this process too.
    let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
    ExitCode::FAILURE
}

/// A process group, and who guards it.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
}

impl Guard {
    /// Starts a guard. The descriptors of this process are all closed in it, but for the standard ones.
    pub(crate) fn start() -> Result<Self> {
        let mut process = Command::new("/proc/self/exe")
            .arg0("faasflow-command")
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let stdout = process.stdout.take();
        let guard = Self { process };
        // It ends or says so: there is nothing else that it waits for.
        let mut ready = [0; READY.len()];
        if let Some(mut stdout) = stdout {
            stdout.read_exact(&mut ready)?;
        }
        Ok(guard)
    }

    /// The group, if its guard still lives.
    pub(crate) fn group(&mut self) -> Option<i32> {
        let ended = self.process.try_wait().ok().flatten().is_some();
        let group = i32::try_from(self.process.id()).ok();
        group.filter(|_| !ended)
    }
}

impl Guard {
    /// Asks all of the group to end.
    pub(crate) fn ask_to_end(&mut self) {
        if let Some(group) = self.group() {
            // It fails if nobody is left who could be asked.
            let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
        }
    }
}

impl Drop for Guard {
    /// Kills what is left of the group.
    fn drop(&mut self) {
        if let Some(group) = self.group() {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.process.wait();
    }
}
