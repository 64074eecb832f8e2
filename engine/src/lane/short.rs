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

/// How long one is not tried again while nothing says that there is more room.
const TRY_AGAIN_NS: u64 = 100_000_000;

/// What waits.
#[derive(Debug)]
pub(super) struct Short {
    executor: ExecutorId,
    /// Which life in that place: activations are numbered anew in each.
    serial: u32,
    activation: u32,
    account: Account,
    /// What was asked for.
    bytes: u64,
    since_ns: u64,
    /// How much of the lane's arena was in use when there was no room: with no less in use it is tried again once in a while only.
    seen: Option<Use>,
    what: What,
}

/// Bytes of the lane's arena in ranges, and in segments, and when.
#[derive(Clone, Copy, Debug)]
struct Use {
    leased: u64,
    held: u64,
    at_ns: u64,
}

impl Use {
    /// Whether there is no sign that there is more room than a while ago. The bounds of workflows show in none of these figures.
    const fn is_as_before(self, before: Self) -> bool {
        self.leased >= before.leased
            && self.held >= before.held
            && self.at_ns.saturating_sub(before.at_ns) < TRY_AGAIN_NS
    }
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

    /// Has an activation wait that is to begin, if others of its workflow wait and it needs room for tables.
    #[cold]
    pub(super) fn start_behind(&mut self, order: &Start) -> bool {
        if !self.is_short_for(order.executor) {
            return false;
        }
        let bytes = executors::table_bytes(order, &self.core);
        bytes > 0
            && self.wait_for_room(order.executor, order.activation, bytes, What::Start(*order))
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
        id: ExecutorId,
        activation: u32,
        error: &ArenaError,
        what: What,
    ) -> bool {
        may_come(error).is_some_and(|bytes| self.wait_for_room(id, activation, bytes, what))
    }

    fn wait_for_room(
        &mut self,
        executor: ExecutorId,
        activation: u32,
        bytes: u64,
        what: What,
    ) -> bool {
        let known = self.executors[executor.0 as usize].as_ref();
        let serial = known.map(|known| known.serial);
        let (Some(serial), Some(account)) = (serial, self.account_at(executor)) else {
            return false;
        };
        self.short.push_back(Short {
            executor,
            serial,
            activation,
            account,
            bytes,
            since_ns: monotonic_ns(),
            seen: None,
            what,
        });
        self.setup.counters.room_waits.add(1);
        self.make_room_for_coming();
        self.carriage.try_soon();
        true
    }

    /// A copy is to be made behind others of its workflow that wait.
    pub(super) fn copy_behind(&mut self, id: ExecutorId, activation: u32, bytes: u64) {
        self.wait_for_room(id, activation, bytes, What::Copy);
    }

    /// Whether others of an executor's workflow wait for room, so that what it needs some for waits behind them.
    pub(super) fn is_short_for(&self, id: ExecutorId) -> bool {
        !self.short.is_empty() && {
            let account = self.account_at(id);
            self.short
                .iter()
                .any(|short| Some(short.account) == account)
        }
    }

    fn account_at(&self, id: ExecutorId) -> Option<Account> {
        let executor = self.executors[id.0 as usize].as_ref()?;
        self.core.account_of(executor.deployment())
    }

    /// What each workflow wants of those that wait.
    pub(super) fn wanted_by_short(&self) -> impl Iterator<Item = (Account, u64)> + '_ {
        self.short.iter().map(|short| (short.account, short.bytes))
    }

    fn arena_use(&self) -> Use {
        Use {
            leased: self.arena.bytes_leased(),
            held: self.arena.bytes_held(),
            at_ns: monotonic_ns(),
        }
    }

    /// Tries again those that wait, but for workflows of which something is to come back first.
    pub(super) fn relieve_short(&mut self, coming: &[Account]) {
        let mut behind: Vec<Account> = Vec::new();
        let mut failed = false;
        for mut short in std::mem::take(&mut self.short) {
            let id = short.executor;
            let executor = self.executors[id.0 as usize].as_ref();
            let executor = executor.filter(|executor| executor.serial == short.serial);
            let Some(executor) =
                executor.filter(|_| self.core.running(id) == Some(short.activation))
            else {
                // It is over, by its executor's end.
                continue;
            };
            let told = executor.is_told();
            let in_use = self.arena_use();
            let waited_ns = in_use.at_ns.saturating_sub(short.since_ns);
            let late = waited_ns >= ROOM_PATIENCE.as_nanos() as u64;
            let is_behind = behind.contains(&short.account);
            let waits = coming.contains(&short.account)
                || short.seen.is_some_and(|seen| in_use.is_as_before(seen));
            if !told && (is_behind || (waits && !late)) {
                behind.push(short.account);
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
                if let Some(compartment) = self.compartments.of_account(short.account) {
                    self.peers.others_relieved(compartment);
                }
                continue;
            };
            if let Some(bytes) = may_come(&error).filter(|_| failed || !late) {
                behind.push(short.account);
                short.bytes = bytes;
                short.seen = (bytes > 0).then_some(in_use);
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
