//! The lives of a lane's executors: how they join, are told to end, are ended, and what is left of them.

use super::ahead::Ahead;
use super::command::{LaneReport, StartedExecutor};
use super::driver::Watch;
use super::executors::{self, Executor, Terms};
use super::{Lane, SERIAL_MAX, TOKEN_COMMANDS, TOKEN_EXIT, monotonic_ns, peers};
use crate::core::ExecutorId;
use faasstore::descriptor::{self, Message};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::os::fd::AsFd;

impl Lane {
    pub(super) fn executor_started(&mut self, started: StartedExecutor) {
        let free = self.executors.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.executors.push(None);
            self.executors.len() - 1
        });
        self.serial = self.serial.wrapping_add(1) & SERIAL_MAX;
        let token = place as u64 | u64::from(self.serial) << 32;
        let (deployment, executable, pid) = (started.deployment, started.executable, started.pid);
        let watched = executors::second_descriptor(&started.pidfd)
            .and_then(|pidfd| self.driver.watch(pidfd, token | TOKEN_EXIT, Watch::Exit))
            .and_then(|()| executors::second_descriptor(&started.doorbell))
            .and_then(|bell| self.driver.watch(bell, token, Watch::Doorbell));
        if let Err(error) = watched {
            self.driver.unwatch(token | TOKEN_EXIT);
            let reason = format!(
                "executor {pid} cannot be watched: {error}; raise `ulimit -n` if it is about descriptors"
            );
            self.core
                .executor_refused(self.now_ns, deployment, executable, &reason);
            let _ = pidfd_send_signal(&started.pidfd, Signal::KILL);
            self.report(LaneReport::ExecutorEnded {
                deployment,
                pid,
                cause: reason,
            });
            return;
        }
        let terms = self.terms.get(&deployment).copied().unwrap_or(Terms::NONE);
        self.executors[place] = Some(Executor::new(started, self.serial, terms));
        self.ahead.resize_with(self.executors.len(), Ahead::default);
        self.polled.push(place as u32);
        self.core.executor_joined(
            self.now_ns,
            ExecutorId(place as u32),
            deployment,
            executable,
        );
    }

    /// Tells executors of segments that have gone, those of the lane's own arena among them.
    #[inline]
    pub(super) fn unmap_gone(&mut self) {
        if self.arena.has_news() {
            executors::adopt_own_segments(&mut self.segments, &mut self.arena);
            let retired = self.arena.retired_segments();
            executors::retire_own_segments(&mut self.segments, retired, &mut self.gone);
        }
        self.peers.take_gone(&mut self.gone);
        while let Some(gone) = self.gone.pop() {
            if let Some(compartment) = gone.set_aside {
                self.arena.bring_back(compartment, gone.bytes);
            }
            self.peers.segment_gone(&gone);
            for place in gone.told() {
                let executor = self
                    .executors
                    .get_mut(place as usize)
                    .and_then(Option::as_mut);
                let Some(executor) = executor.filter(|e| e.ended.is_none()) else {
                    continue;
                };
                executor.unmap(gone.slot, gone.generation, gone.bytes);
                if let Err(error) = executor.flush_unmaps() {
                    self.end_executor(place, &error.to_string());
                }
                self.replace_if_it_pins(place);
            }
        }
        if self.core.has_actions() {
            self.act();
        }
    }

    pub(super) fn stop_executor(&mut self, place: u32) {
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        executor.stopping = true;
        if executor
            .push(&Message::written(descriptor::encode_stop))
            .is_err()
        {
            let _ = pidfd_send_signal(&executor.started.pidfd, Signal::KILL);
        }
        executor.started.channel.ring_bell();
    }

    /// Ends an executor at once. It is fenced: nothing that it still writes is read.
    pub(super) fn end_executor(&mut self, place: u32, cause: &str) {
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        if executor.ended.is_some() {
            return;
        }
        let cause = format!("executor {}: {cause}", executor.started.pid);
        executor.ended = Some(cause.clone());
        let _ = pidfd_send_signal(&executor.started.pidfd, Signal::KILL);
        self.polled.retain(|polled| *polled != place);
        self.drop_copy(place);
        self.core
            .executor_condemned(self.now_ns, ExecutorId(place), &cause);
    }

    /// The kernel refuses to watch an executor on: without its bell or its end the lane would wait for ever, so it is
    /// ended here and now.
    pub(super) fn unwatched(&mut self, token: u64, error: &std::io::Error) {
        assert!(
            token != TOKEN_COMMANDS,
            "the kernel refuses to watch the lane's own eventfd: {error}"
        );
        if token & TOKEN_EXIT == 0 && peers::share_of(token).is_some() {
            return tracing::warn!(%error, "the kernel does not watch what is shared with a worker on this host: it is looked at now and then");
        }
        let (place, serial) = (token as u32, ((token & !TOKEN_EXIT) >> 32) as u32);
        let current = self.executors.get(place as usize).and_then(Option::as_ref);
        if current.is_none_or(|executor| executor.serial != serial) {
            return;
        }
        self.setup.counters.watches_lost.add(1);
        let what = if token & TOKEN_EXIT == 0 {
            "doorbell"
        } else {
            "end"
        };
        self.end_executor(
            place,
            &format!("the kernel does not watch its {what}: {error}"),
        );
        if token & TOKEN_EXIT != 0 {
            // Nobody will tell of its end. It was sent SIGKILL, and is fenced.
            self.executor_exited(token & !TOKEN_EXIT);
        }
        self.act();
    }

    /// A process has ended: what it committed counts, what it ran has failed, and its segments go with their leases.
    pub(super) fn executor_exited(&mut self, token: u64) {
        let (place, serial) = (token as u32, (token >> 32) as u32);
        self.now_ns = monotonic_ns();
        let current = self.executors.get(place as usize).and_then(Option::as_ref);
        if current.is_none_or(|executor| executor.serial != serial) {
            return;
        }
        self.read_completions(place);
        if self.exits_after_copy(place, token) {
            return;
        }
        self.polled.retain(|polled| *polled != place);
        self.driver.unwatch(token);
        let Some(mut executor) = self.executors[place as usize].take() else {
            return;
        };
        let pid = executor.started.pid;
        let cause = match (executor.ended.take(), executor.stopping) {
            (Some(cause), _) => cause,
            (None, true) => format!("executor {pid} was told to end"),
            (None, false) => {
                self.setup.counters.executor_deaths.add(1);
                format!("executor {pid} died: {}", exit_text(&executor))
            }
        };
        self.core
            .executor_left(self.now_ns, ExecutorId(place), &cause);
        self.gone
            .extend(executor.gone(place, &mut self.segments, &mut self.arena));
        self.report(LaneReport::ExecutorEnded {
            deployment: executor.deployment(),
            pid,
            cause,
        });
        self.act();
        self.unmap_gone();
    }
}

/// How a process ended, for people. It stays a zombie until the warden reaps it.
fn exit_text(executor: &Executor) -> String {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(executor.started.pidfd.as_fd()), options) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("it exited with status {code}"),
            (None, Some(signal)) => format!("it was killed by signal {signal}"),
            (None, None) => "how is unknown".to_owned(),
        },
        _ => "how is unknown".to_owned(),
    }
}
