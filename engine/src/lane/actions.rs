//! What the core wants done, done: activations handed to executors, ranges given back, messages sent.
//!
//! All of it is carried out before the lane looks at anything else. An executor that cannot be told something is ended; what that means
//! for invocations is the core's to say, in further actions.

use super::command::LaneReport;
use super::executors::{self, Executor, ExecutorError, StartError};
use super::segments::{Released, SegmentNews};
use super::{Lane, monotonic_ns};
use crate::core::{Action, CarryOut, ExecutorId, ItemGiven, RoomGiven, Start};
use faasstore::descriptor::{Full, PayloadRef};
use std::sync::Arc;

/// Of a range that is told to its executor at once when it is free again; a smaller one waits for company.
const LARGE_BYTES: u64 = 64 << 10;

/// What an action leaves behind where it lay: nothing to do. Actions are carried out where they lie, since copying them is
/// a good part of what a lane does for a hop.
const DONE: Action = Action::Release(PayloadRef::EMPTY);

impl Lane {
    /// Carries out what the core wants done, until it wants no more.
    #[inline]
    pub(super) fn act(&mut self) {
        loop {
            self.core.take_actions(&mut self.actions);
            self.carry_out();
            if self.peers.wants_relief() {
                // What is to come back goes first: whoever reads it is what gives memory back.
                if self.carriage.is_short() || !self.short.is_empty() {
                    self.place_coming();
                }
                let (peers, mut parts) = self.peers();
                peers.relieve(&mut parts);
            }
            if !self.core.has_actions() {
                self.peers.pump(&mut self.driver);
                return;
            }
        }
    }

    /// Carries out the actions that were taken from the core.
    #[inline]
    pub(super) fn carry_out(&mut self) {
        for index in 0..self.actions.len() {
            match &mut self.actions[index] {
                Action::Start(order) => {
                    let order = *order;
                    self.start(&order);
                }
                Action::Release(range) => {
                    let range = *range;
                    self.release(range);
                }
                Action::Evaluate(evaluate) => {
                    let evaluate = *evaluate;
                    self.evaluate(&evaluate);
                }
                rare => {
                    let action = std::mem::replace(rare, DONE);
                    self.on_rare_action(action);
                }
            }
        }
        self.actions.clear();
    }

    #[inline]
    fn start(&mut self, order: &Start) {
        if self.started_ahead.as_ref() == Some(order) {
            self.started_ahead = None;
            self.started = true;
            return;
        }
        if !self.short.is_empty() && self.start_behind(order) {
            return;
        }
        match self.start_now(order) {
            Ok(()) => {}
            Err(StartError::Arena(error)) => self.start_short(order, &error),
            Err(StartError::Executor(error)) => {
                self.end_executor(order.executor.0, &error.to_string());
            }
        }
    }

    /// Hands an activation to its executor, if that is there.
    #[inline]
    pub(super) fn start_now(&mut self, order: &Start) -> Result<(), StartError> {
        let Some(executor) = self.executors[order.executor.0 as usize].as_mut() else {
            return Ok(());
        };
        executors::start(
            executor,
            order,
            &self.core,
            &mut self.segments,
            &mut self.arena,
        )?;
        self.started = true;
        if executor.is_deferred() {
            // At once, whatever other executors are waited for.
            (self.settle_ns, self.settle_pause_ns) = (Some(self.now_ns), 0);
        }
        Ok(())
    }

    fn on_rare_action(&mut self, action: Action) {
        match action {
            Action::Start(order) => self.start(&order),
            Action::Release(range) => self.release(range),
            Action::Send(send) => {
                self.events_sent += 1;
                let (peers, mut parts) = self.peers();
                peers.send(*send, &mut parts);
            }
            Action::Answer(answered) => {
                self.now_ns = monotonic_ns();
                let worker = Arc::clone(&self.setup.worker_name);
                let (peers, mut parts) = self.peers();
                peers.answer(*answered, &worker, &mut parts);
            }
            Action::Evaluate(evaluate) => self.evaluate(&evaluate),
            Action::Describe(describe) => self.describe(*describe),
            Action::Tell {
                executor,
                activation,
                why,
            } => {
                if let Some(executor) = self.executors[executor.0 as usize].as_mut() {
                    executor.tell_to_stop(activation, why);
                }
            }
            Action::Kill { executor, cause } => self.end_executor(executor.0, &cause),
            Action::Stop(id) => self.stop_executor(id.0),
            Action::ExecutorWanted {
                deployment,
                executable,
            } => {
                self.report(LaneReport::ExecutorWanted {
                    deployment,
                    executable,
                });
            }
            Action::Removed(deployment) => {
                self.terms.remove(&deployment);
                self.forget_values(deployment);
                let closed = self.compartments.leave(deployment, &mut self.arena);
                self.core.set_memory(self.compartments.largest(&self.arena));
                if closed.is_some() {
                    let (peers, mut parts) = self.peers();
                    peers.give_up_waiting(0, closed, &mut parts);
                }
                self.peers.forget_deployment(deployment);
                self.report(LaneReport::Removed(deployment));
            }
            Action::CarryOut(order) => {
                let CarryOut {
                    ticket,
                    range,
                    kind,
                } = *order;
                self.carry_payload_out(ticket, range, kind);
            }
            Action::BringBack {
                ticket,
                account,
                bytes,
            } => self.bring_payload_back(ticket, account, bytes),
            Action::Discard(ticket) => self.discard(ticket),
            Action::CopyIn(order) => self.copy_payload_in(*order),
            Action::Item(given) => self.give_item(&given),
            Action::Room(given) => self.give_room(&given),
            Action::Measure(account) => self.measure_executors(account),
        }
    }

    fn give_item(&mut self, given: &ItemGiven) {
        let place = given.executor.0;
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        let told = executors::give_item(executor, given, &mut self.segments);
        if let Err(error) = told {
            self.end_executor(place, &error.to_string());
        }
    }

    /// What an executor runs has found its arena full.
    pub(super) fn arena_full(&mut self, id: ExecutorId, full: &Full) -> Result<(), ExecutorError> {
        self.now_ns = monotonic_ns();
        self.tell_segments();
        self.core.arena_full(self.now_ns, id, full)?;
        // What waits here for company may be enough.
        let executor = self.executors[id.0 as usize].as_ref();
        if executor.is_some_and(Executor::has_unsent_ranges) {
            self.core.range_returned(id);
        }
        Ok(())
    }

    fn give_room(&mut self, given: &RoomGiven) {
        let place = given.executor.0;
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        let told = executors::give_room(executor, given);
        if executor.is_deferred() {
            (self.settle_ns, self.settle_pause_ns) = (Some(self.now_ns), 0);
        }
        if let Err(error) = told {
            self.end_executor(place, &error.to_string());
        }
    }

    /// Tells the core of segments that have come and gone.
    pub(super) fn tell_segments(&mut self) {
        for news in self.segments.news() {
            match news {
                SegmentNews::Known {
                    slot,
                    bytes,
                    executor,
                } => self
                    .core
                    .segment_known(slot, bytes, executor.map(ExecutorId)),
                SegmentNews::Disowned(slot) => self.core.segment_disowned(slot),
                SegmentNews::Gone(slot) => self.core.segment_gone(slot),
            }
        }
    }

    #[inline]
    pub(super) fn release(&mut self, range: PayloadRef) {
        match self.segments.release(range) {
            Released::ToExecutor(place, range) => {
                let Some(executor) = self.executors[place as usize].as_mut() else {
                    return;
                };
                executor.give_back(range);
                if executor.waits_for_room {
                    self.core.range_returned(ExecutorId(place));
                }
                if let Err(error) = executor.flush_released(range.length >= LARGE_BYTES) {
                    self.end_executor(place, &error.to_string());
                }
            }
            Released::ToLane(range) => {
                let returned = self.arena.release(range);
                debug_assert!(
                    returned.is_ok(),
                    "a range of the lane's own is committed once and released once"
                );
                self.peers.memory_freed();
            }
            Released::ToPeer(share, range) => self.peers.return_to_peer(share, range),
            Released::SegmentGone(gone) => self.gone.push(gone),
            Released::Kept => {}
        }
    }
}
