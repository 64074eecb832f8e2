//! A lane's end. What its executors run is told to stop and has its grace; all else goes at once, so that clients and
//! peers learn of the end by their connections.

use super::Lane;
use super::executors::Executor;
use crate::core::ExecutorId;
use faasstore::Cancelled;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

impl Lane {
    /// Tells what runs to stop, and executors that run something to end then. Returns when those have ended; the ones that
    /// have not when the grace is over are killed. An executor that runs nothing ends with its socket, which closes here.
    pub(super) fn end(mut self) {
        let deadline = Instant::now() + self.setup.grace;
        let mut told = Vec::new();
        for place in 0..self.executors.len() as u32 {
            let Some(activation) = self.core.running(ExecutorId(place)) else {
                continue;
            };
            let executor = self.executors[place as usize].as_mut();
            let Some(executor) = executor.filter(|executor| executor.ended.is_none()) else {
                continue;
            };
            // One that was told keeps the reason, and of no activation is told twice.
            if !executor.is_told() {
                executor.tell_to_stop(activation, Cancelled::FailedElsewhere);
            }
            self.stop_executor(place);
            told.extend(self.executors[place as usize].take());
        }
        drop(self);
        for executor in &told {
            if !ends_by(executor, deadline) {
                tracing::info!(
                    "executor {} was told to stop and is killed: its grace is over",
                    executor.started.pid
                );
                // It fails only if it has just ended.
                let _ = pidfd_send_signal(&executor.started.pidfd, Signal::KILL);
            }
        }
    }
}

/// Whether an executor's process has ended by then; waits for that.
fn ends_by(executor: &Executor, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(
            executor.started.pidfd.as_fd(),
            PollFlags::POLLIN,
        )];
        // The kernel counts whole milliseconds: what is left of one is waited for, and not polled for.
        let whole = if left.is_zero() {
            left
        } else {
            left + Duration::from_millis(1)
        };
        let timeout = PollTimeout::try_from(whole).unwrap_or(PollTimeout::MAX);
        // A wait that was interrupted or failed has found nothing, and is begun again while there is time.
        if poll(&mut fds, timeout).is_ok_and(|ready| ready > 0) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}
