//! No program outlives its executor, whatever ends that.
//!
//! The guard is a process of its own, and leads a process group that every program is started in. It holds the read
//! end of a pipe whose write end the executor alone has: when that closes, it kills the group. So neither a program
//! that was about to start nor one that it has started in turn is forgotten, except one that leaves the group.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{Read as _, Result};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

/// What tells this executable to be a guard.
pub(crate) const ARGUMENT: &str = "--guard-a-process-group";

/// The guard's own `main`: waits for the executor's end.
pub(crate) fn watch() -> ExitCode {
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
        let process = Command::new("/proc/self/exe")
            .arg0("faasflow-command")
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { process })
    }

    /// The group, if its guard still lives.
    pub(crate) fn group(&mut self) -> Option<i32> {
        let ended = self.process.try_wait().ok().flatten().is_some();
        let group = i32::try_from(self.process.id()).ok();
        group.filter(|_| !ended)
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
