//! Activations for which the lane's own arena has no room at the moment: for the tables of their lists as they begin, or for copies of
//! what they have returned.
//!
//! It owns their order. Each is tried again once in a while, after what is to come back and ahead of what peers send, of each workflow
//! the first one first; what the same workflow reads later makes room meanwhile, if a tier takes it. One that has waited for
//! [`ROOM_PATIENCE`] fails, and one at a time does: what it held is for the next.
//!
//! For the core such an activation runs: it holds its inputs, and can be told to stop, or exceed its timeout.

use super::executors::StartError;
use super::store::ROOM_PATIENCE;
use super::{Lane, executors, monotonic_ns};
use crate::core::lease::Account;
use crate::core::{ExecutorId, Start};
use crate::plan::ErrorClass;
use faasstore::arena::ArenaError;
use std::collections::VecDeque;

/// What waits.
#[derive(Debug)]
pub(super) struct Short {
    executor: ExecutorId,
    activation: u32,
    account: Account,
    /// What was asked for.
    bytes: u64,
    since_ns: u64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// It has not begun.
    Start(Start),
    /// It has returned, and a copy of what it has returned is to be set aside.
    Copy,
}

/// All of a lane.
pub(super) type Shorts = VecDeque<Short>;

/// Whether there may be room soon, though there is none now; for how many bytes.
pub(super) fn may_come(error: &ArenaError) -> Option<u64> {
    match error {
        ArenaError::Full { bytes, max, .. } => (bytes <= max).then_some(*bytes),
        ArenaError::Segment(_) => Some(0),
        ArenaError::Bytes { .. } | ArenaError::NotLeased(_) => None,
    }
}

impl Lane {
    /// An activation cannot begin for want of room.
    #[cold]
    pub(super) fn start_short(&mut self, order: &Start, error: &ArenaError) {
        if !self.waits_for_room(order.executor, order.activation, error, What::Start(*order)) {
            self.start_fails(order, error);
        }
    }

    /// What an activation has returned cannot be copied for want of room; as it was said, if there never will be any.
    pub(super) fn copy_short(
        &mut self,
        id: ExecutorId,
        activation: u32,
        error: ArenaError,
    ) -> Result<(), ArenaError> {
        match self.waits_for_room(id, activation, &error, What::Copy) {
            true => Ok(()),
            false => Err(error),
        }
    }

    fn waits_for_room(
        &mut self,
        executor: ExecutorId,
        activation: u32,
        error: &ArenaError,
        what: What,
    ) -> bool {
        let deployment = self.executors[executor.0 as usize]
            .as_ref()
            .map(executors::Executor::deployment);
        let account = deployment.and_then(|deployment| self.core.account_of(deployment));
        let (Some(account), Some(bytes)) = (account, may_come(error)) else {
            return false;
        };
        self.short.push_back(Short {
            executor,
            activation,
            account,
            bytes,
            since_ns: monotonic_ns(),
            what,
        });
        self.setup.counters.room_waits.add(1);
        self.make_room_for_coming();
        self.carriage.try_soon();
        true
    }

    /// What each workflow wants of those that wait.
    pub(super) fn wanted_by_short(&self) -> impl Iterator<Item = (Account, u64)> + '_ {
        self.short.iter().map(|short| (short.account, short.bytes))
    }

    /// Tries again those that wait.
    pub(super) fn relieve_short(&mut self) {
        let mut behind: Vec<Account> = Vec::new();
        let mut failed = false;
        for mut short in std::mem::take(&mut self.short) {
            let (id, activation) = (short.executor, short.activation);
            if self.core.running(id) != Some(activation) {
                // It is over, by its executor's end.
                continue;
            }
            let told = self.executors[id.0 as usize]
                .as_ref()
                .is_some_and(executors::Executor::is_told);
            if !told && behind.contains(&short.account) {
                self.short.push_back(short);
                continue;
            }
            let tried = match short.what {
                What::Start(order) if told => {
                    self.start_dropped(&order);
                    continue;
                }
                What::Start(order) => self.start_again(&order),
                What::Copy => self.copy_again(id.0),
            };
            let Err(error) = tried else {
                continue;
            };
            let waited_ns = monotonic_ns().saturating_sub(short.since_ns);
            let bytes = may_come(&error);
            short.bytes = bytes.unwrap_or(0);
            if bytes.is_some() && (failed || waited_ns < ROOM_PATIENCE.as_nanos() as u64) {
                behind.push(short.account);
                self.short.push_back(short);
                continue;
            }
            failed = true;
            match short.what {
                What::Start(order) => self.start_fails(&order, &error),
                What::Copy => self.copy_fails(id.0, error.into()),
            }
        }
    }

    /// None if it has begun, or its executor is ended.
    fn start_again(&mut self, order: &Start) -> Result<(), ArenaError> {
        match self.start_now(order) {
            Err(StartError::Arena(error)) => Err(error),
            Err(StartError::Executor(error)) => {
                self.end_executor(order.executor.0, &error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn start_fails(&mut self, order: &Start, error: &ArenaError) {
        let cause = format!("no memory for the table of its inputs: {error}");
        self.not_started(order, cause);
    }

    /// It was told to stop before it began.
    fn start_dropped(&mut self, order: &Start) {
        if let Some(executor) = self.executors[order.executor.0 as usize].as_mut() {
            executor.activation_ended(&mut self.arena);
        }
        self.not_started(order, "it was told to stop before it began".to_owned());
    }

    fn not_started(&mut self, order: &Start, cause: String) {
        let (id, activation) = (order.executor, order.activation);
        let class = ErrorClass::Memory;
        let failed = self
            .core
            .failed(monotonic_ns(), id, activation, class, cause);
        debug_assert!(failed.is_ok(), "it was ordered to start");
    }
}

#[cfg(test)]
mod tests;
