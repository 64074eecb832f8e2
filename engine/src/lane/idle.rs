//! A lane that does nothing but let go of what it is given: it stands where the real one will.

use crate::lane::command::{LaneCommand, LaneReport};
use crate::lane::setup::LaneSetup;
use rustix::event::{PollFd, PollFlags, poll};

/// Nothing of io_uring is needed.
///
/// # Errors
/// None.
pub fn probe() -> std::io::Result<()> {
    Ok(())
}

/// Accepts deployments and drops clients, until it is told to stop.
///
/// # Errors
/// As poll(2).
pub fn run(setup: LaneSetup) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut executors = Vec::new();
    let report = |report| {
        let _ = setup.reports.push(report);
        setup.report_notify.notify_one();
    };
    loop {
        poll(&mut [PollFd::new(&setup.command_bell, PollFlags::IN)], None)?;
        let mut rings = [0; 8];
        let _ = nix::unistd::read(&setup.command_bell, &mut rings);
        while let Some(command) = setup.commands.pop() {
            match command {
                LaneCommand::Deploy {
                    executors: started, ..
                } => executors.extend(started),
                LaneCommand::Executor(executor) => executors.push(executor),
                LaneCommand::Retire(id) => {
                    for executor in executors.extract_if(.., |executor| executor.deployment == id) {
                        let (pid, cause) = (executor.pid, "its deployment retired".to_owned());
                        report(LaneReport::ExecutorEnded {
                            deployment: id,
                            pid,
                            cause,
                        });
                    }
                    report(LaneReport::Removed(id));
                }
                LaneCommand::Stop => return Ok(()),
                _ => {}
            }
        }
    }
}
