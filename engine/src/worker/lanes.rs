//! The control thread's end of a lane: its queue of commands, the bell that goes with it, its reports and counters.

use crate::lane::command::{LaneCommand, LaneReport};
use crate::status::LaneCounters;
use crossbeam::queue::ArrayQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Commands that may wait for a lane.
const COMMANDS_MAX: usize = 1024;
/// Reports that may wait for the control thread.
const REPORTS_MAX: usize = 1024;
/// Pause before a full queue is tried again. A lane empties it in microseconds; one that does not is about to end
/// the worker.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A way to a lane.
#[derive(Clone, Debug)]
pub struct LaneSender {
    commands: Arc<ArrayQueue<LaneCommand>>,
    bell: Arc<EventFd>,
}

/// The control thread's end of a lane.
#[derive(Debug)]
pub struct LaneHandle {
    sender: LaneSender,
    reports: Arc<ArrayQueue<LaneReport>>,
    counters: Arc<LaneCounters>,
    cpu: u32,
}

/// The lane's end, for its [`crate::lane::setup::LaneSetup`].
#[derive(Debug)]
pub struct LaneEnd {
    /// Where commands come from.
    pub commands: Arc<ArrayQueue<LaneCommand>>,
    /// Readable while they wait.
    pub command_bell: OwnedFd,
    /// Where reports go.
    pub reports: Arc<ArrayQueue<LaneReport>>,
    /// What it counts.
    pub counters: Arc<LaneCounters>,
}

impl LaneHandle {
    /// Both ends of a lane that runs on `cpu`.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new(cpu: u32) -> std::io::Result<(Self, LaneEnd)> {
        let bell =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let command_bell = bell.as_fd().try_clone_to_owned()?;
        let handle = Self {
            sender: LaneSender {
                commands: Arc::new(ArrayQueue::new(COMMANDS_MAX)),
                bell: Arc::new(bell),
            },
            reports: Arc::new(ArrayQueue::new(REPORTS_MAX)),
            counters: Arc::default(),
            cpu,
        };
        let end = LaneEnd {
            commands: Arc::clone(&handle.sender.commands),
            command_bell,
            reports: Arc::clone(&handle.reports),
            counters: Arc::clone(&handle.counters),
        };
        Ok((handle, end))
    }

    /// The CPU that the lane runs on.
    #[must_use]
    pub const fn cpu(&self) -> u32 {
        self.cpu
    }

    /// What the lane counts.
    #[must_use]
    pub fn counters(&self) -> &LaneCounters {
        &self.counters
    }

    /// Another way to it.
    #[must_use]
    pub fn sender(&self) -> LaneSender {
        self.sender.clone()
    }

    /// The lane's next report, if there is one.
    #[must_use]
    pub fn next_report(&self) -> Option<LaneReport> {
        self.reports.pop()
    }

    /// As [`LaneSender::try_send`].
    ///
    /// # Errors
    /// The command, if there is no room.
    #[expect(
        clippy::result_large_err,
        reason = "the command itself comes back, a few times in a worker's life"
    )]
    pub fn try_send(&self, command: LaneCommand) -> Result<(), LaneCommand> {
        self.sender.try_send(command)
    }

    /// Sends a command, waiting for room.
    pub async fn send(&self, command: LaneCommand) {
        self.sender.send(command).await;
    }
}

impl LaneSender {
    /// Sends a command unless the queue is full; then it comes back.
    ///
    /// # Errors
    /// The command, if there is no room.
    #[expect(
        clippy::result_large_err,
        reason = "the command itself comes back, a few times in a worker's life"
    )]
    pub fn try_send(&self, command: LaneCommand) -> Result<(), LaneCommand> {
        self.commands.push(command)?;
        // Fails only if the count is at its maximum, and then the lane has been woken often enough.
        let _ = self.bell.write(1);
        Ok(())
    }

    /// Sends a command, waiting for room.
    pub async fn send(&self, mut command: LaneCommand) {
        while let Err(returned) = self.try_send(command) {
            command = returned;
            tokio::time::sleep(FULL_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DeploymentId;

    #[test]
    fn a_full_queue_gives_the_command_back() {
        let (handle, end) = LaneHandle::new(0).unwrap();
        for _ in 0..COMMANDS_MAX {
            handle.try_send(LaneCommand::Stop).unwrap();
        }
        let returned = handle
            .try_send(LaneCommand::Activate(DeploymentId(7)))
            .unwrap_err();
        assert!(matches!(returned, LaneCommand::Activate(DeploymentId(7))));
        assert!(end.commands.pop().is_some());
        handle.try_send(returned).unwrap();
        let mut rings = [0; 8];
        nix::unistd::read(&end.command_bell, &mut rings).unwrap();
        assert_eq!(u64::from_ne_bytes(rings), COMMANDS_MAX as u64 + 1);
    }
}
