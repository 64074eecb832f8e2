//! What reaches a lane: messages of its executors, and what its driver has found.
//!
//! Whatever an executor says that cannot be believed ends that executor and nothing else. What completions mean is the core's to know;
//! what comes over connections goes to [`peers`](super::peers).

use super::driver::Completion;
use super::executors::{self, Event, ExecutorError, Scratch};
use super::segments::ShareId;
use super::{Lane, TOKEN_COMMANDS, TOKEN_EXIT, copies, monotonic_ns, peers};
use crate::core::ExecutorId;
use crate::plan::UNTIDIED_BYTES;
use faasstore::descriptor::CpuUse;

/// Bytes under lease from which tidying is not put off at all.
const HEAVY_BYTES: u64 = UNTIDIED_BYTES;

impl Lane {
    /// Whether the executor has sent a message, which is then in `scratch`.
    #[inline]
    fn pop(&mut self, place: u32) -> Result<bool, ExecutorError> {
        let executor = self.executors[place as usize].as_mut();
        let Some(executor) = executor.filter(|executor| executor.is_read()) else {
            return Ok(false);
        };
        Ok(executor.started.channel.pop(&mut self.scratch.message)?)
    }

    /// Handles the message in `scratch`.
    #[inline]
    fn on_message(&mut self, place: u32) -> Result<(), ExecutorError> {
        let id = ExecutorId(place);
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return Ok(());
        };
        let plain = self.ahead[place as usize].read(
            self.core.revision(),
            &self.scratch.message,
            executor,
            &self.segments,
            &mut self.scratch.ranges,
        );
        if let Some((activation, count)) = plain {
            self.start_ahead(place, count)?;
            let Scratch {
                ranges, outputs, ..
            } = &mut self.scratch;
            if let Some(executor) = self.executors[place as usize].as_mut() {
                executors::read_plain(
                    executor,
                    &ranges[..count],
                    &mut self.segments,
                    &mut self.arena,
                    outputs,
                );
            }
            return self.completed(id, activation, None);
        }
        let told = executor.is_told();
        let event = executors::read_event(
            executor,
            id,
            &self.core,
            &mut self.segments,
            &mut self.arena,
            &mut self.scratch,
            &mut self.gone,
        );
        match event? {
            None => {}
            Some(Event::Done { activation, cpu }) => self.done(id, activation, cpu, told)?,
            Some(Event::Failed {
                activation,
                class,
                cause,
            }) => {
                self.now_ns = monotonic_ns();
                self.core
                    .failed(self.now_ns, id, activation, class, cause)?;
            }
            Some(Event::Want(want)) => {
                self.now_ns = monotonic_ns();
                self.core.want(self.now_ns, id, &want)?;
            }
            Some(Event::Full(full)) => self.arena_full(id, &full)?,
        }
        Ok(())
    }

    #[inline]
    pub(super) fn completed(
        &mut self,
        id: ExecutorId,
        activation: u32,
        cpu: Option<CpuUse>,
    ) -> Result<(), ExecutorError> {
        let now_ns = self.event_ns();
        let outputs = &self.scratch.outputs;
        let completed = self
            .core
            .completed_measured(now_ns, id, activation, outputs, cpu);
        match completed {
            Ok(()) => Ok(()),
            Err(error) => {
                self.return_outputs();
                Err(error.into())
            }
        }
    }

    /// Nobody takes charge of what was read of a completion that is not believed, nor of copies of that.
    #[cold]
    pub(super) fn return_outputs(&mut self) {
        let outputs = std::mem::take(&mut self.scratch.outputs);
        copies::own(&outputs).for_each(|range| self.release(range));
    }

    #[inline]
    pub(super) fn read_completions(&mut self, place: u32) -> bool {
        let mut busy = false;
        loop {
            let result = match self.pop(place) {
                Ok(false) => return busy,
                Ok(true) => self.on_message(place),
                Err(error) => Err(error),
            };
            busy = true;
            if let Err(error) = result {
                self.setup.counters.corrupt_messages.add(1);
                self.end_executor(place, &error.to_string());
            }
            self.act();
            self.chosen = None;
            if let Some(start) = self.started_ahead.take() {
                debug_assert!(
                    self.executors[place as usize]
                        .as_ref()
                        .is_none_or(|executor| executor.ended.is_some()),
                    "the core orders what it foresaw"
                );
                self.end_executor(start.executor.0, "it was given what was not ordered");
                self.act();
            }
            self.started = false;
            self.unmap_gone();
            // What has been read is somebody's memory, who may need it for what runs already.
            if self.core.leases().bytes() >= HEAVY_BYTES && self.core.untidied() > 0 {
                self.tidy_now();
            }
        }
    }

    pub(super) fn on_completion(&mut self, completion: Completion) {
        match completion {
            Completion::Watched {
                token: TOKEN_COMMANDS,
            } => {}
            Completion::Watched { token } if token & TOKEN_EXIT != 0 => {
                self.executor_exited(token & !TOKEN_EXIT)
            }
            Completion::Watched { token } => match peers::share_of(token) {
                Some(share) => self.hear_share(share),
                // A doorbell only wakes the lane; its ring is read in every turn.
                None => self.doorbells += 1,
            },
            Completion::Unwatched { token, error } => self.unwatched(token, &error),
            other => {
                self.now_ns = monotonic_ns();
                let (peers, mut parts) = self.peers();
                let lost = peers.on_completion(other, &mut parts);
                if let Some(report) = lost {
                    self.report(report);
                }
                self.act();
                self.unmap_gone();
            }
        }
    }

    /// A peer on this host has something to say of what is lent.
    fn hear_share(&mut self, share: ShareId) {
        self.now_ns = monotonic_ns();
        let (peers, mut parts) = self.peers();
        if let Some(report) = peers.hear_share(share, &mut parts) {
            self.report(report);
        }
        self.act();
        self.unmap_gone();
    }
}
