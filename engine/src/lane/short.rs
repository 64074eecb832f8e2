//! For what the lane's own arena has no room at the moment: activations, for the tables of their lists as they begin, or for copies of
//! what they have returned; and values that the lane has computed.
//!
//! It owns their order. Each is tried again once in a while, after what is to come back and ahead of what peers send, of each workflow's
//! activations the first one first; what the same workflow reads later makes room meanwhile, if a tier takes it. One that has
//! waited for [`ROOM_PATIENCE`] fails, and one at a time does: what it held is for the next.
//!
//! What waits may wait for what comes of values. So they are behind nobody, and nobody is behind them, nor behind them what peers send.
//! They hold nothing of the arena, and all that have waited for too long fail together; what they take of the lane's own memory
//! is [`VALUES_BYTES_MAX`] at most, beyond which they fail at once.
//!
//! For the core such an activation runs: it holds its inputs, and can be told to stop, or exceed its timeout; and the lane still
//! computes such values.

use super::evaluate::Unanswered;
use super::executors::StartError;
use super::store::ROOM_PATIENCE;
use super::{Lane, executors, monotonic_ns};
use crate::core::lease::Account;
use crate::core::{ExecutorId, Start};
use crate::plan::ErrorClass;
use faasstore::arena::ArenaError;
use std::collections::VecDeque;

/// What values that wait take of the lane's own memory, at most.
const VALUES_BYTES_MAX: usize = 16 << 20;
/// What each counts for there, at least.
const VALUES_BYTES_MIN: usize = 4 << 10;
/// How long one is not tried again while nothing says that there is more room.
const TRY_AGAIN_NS: u64 = 100_000_000;

/// What waits.
#[derive(Debug)]
pub(super) struct Short {
    who: Who,
    account: Account,
    /// What was asked for.
    bytes: u64,
    since_ns: u64,
    /// How much of the lane's arena was in use when there was no room: with no less in use it is tried again once in a while only.
    seen: Option<Use>,
}

#[derive(Debug)]
enum Who {
    Activation {
        executor: ExecutorId,
        /// Which life in that place: activations are numbered anew in each.
        serial: u32,
        number: u32,
        what: What,
    },
    Values(Unanswered),
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

impl Who {
    /// Whether it waits behind others of its workflow, and others behind it.
    const fn has_an_order(&self) -> bool {
        matches!(self, Self::Activation { .. })
    }
}

/// For what an activation needs room.
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
        let who = Who::Activation {
            executor,
            serial,
            number: activation,
            what,
        };
        self.wait_as(who, account, bytes);
        true
    }

    /// What was computed finds no room.
    #[cold]
    pub(super) fn values_short(&mut self, unanswered: Unanswered, error: &ArenaError) {
        let counted = |values: &Unanswered| values.kept_bytes().max(VALUES_BYTES_MIN);
        let kept = self.short.iter().map(|short| match &short.who {
            Who::Values(values) => counted(values),
            Who::Activation { .. } => 0,
        });
        let fits = kept.sum::<usize>() + counted(&unanswered) <= VALUES_BYTES_MAX;
        let account = self.core.account_of(unanswered.deployment);
        match may_come(error).zip(account).filter(|_| fits) {
            Some((bytes, account)) => self.wait_as(Who::Values(unanswered), account, bytes),
            None => self.answer_without_room(&unanswered, error),
        }
    }

    fn wait_as(&mut self, who: Who, account: Account, bytes: u64) {
        // Room for what is computed is made when all is tried again, if others wait already: that may be many.
        let makes_room = who.has_an_order() || self.short.is_empty();
        self.short.push_back(Short {
            who,
            account,
            bytes,
            since_ns: monotonic_ns(),
            seen: None,
        });
        self.setup.counters.room_waits.add(1);
        if makes_room {
            self.make_room_for_coming();
        }
        self.carriage.try_soon();
    }

    /// A copy is to be made behind others of its workflow that wait.
    pub(super) fn copy_behind(&mut self, id: ExecutorId, activation: u32, bytes: u64) {
        self.wait_for_room(id, activation, bytes, What::Copy);
    }

    /// Whether others of an executor's workflow wait for room, so that what it needs some for waits behind them.
    pub(super) fn is_short_for(&self, id: ExecutorId) -> bool {
        !self.short.is_empty() && {
            let account = self.account_at(id);
            let mut short = self.short.iter();
            short.any(|short| short.who.has_an_order() && Some(short.account) == account)
        }
    }

    /// Whether who waits is told to stop; none if it is over.
    fn is_told(&self, who: &Who) -> Option<bool> {
        match who {
            Who::Activation {
                executor: id,
                serial,
                number,
                ..
            } => {
                let executor = self.executors[id.0 as usize].as_ref()?;
                let runs = self.core.running(*id) == Some(*number);
                (executor.serial == *serial && runs).then(|| executor.is_told())
            }
            Who::Values(unanswered) => {
                let goes_on = self.core.invocation_of(unanswered.ticket).is_some();
                goes_on.then_some(false)
            }
        }
    }

    fn account_at(&self, id: ExecutorId) -> Option<Account> {
        let executor = self.executors[id.0 as usize].as_ref()?;
        self.core.account_of(executor.deployment())
    }

    /// What each workflow wants of those that wait, and whether what peers send stands back for that.
    pub(super) fn wanted_by_short(&self) -> impl Iterator<Item = (Account, u64, bool)> + '_ {
        let short = self.short.iter();
        short.map(|short| (short.account, short.bytes, short.who.has_an_order()))
    }

    fn arena_use(&self, at_ns: u64) -> Use {
        Use {
            leased: self.arena.bytes_leased(),
            held: self.arena.bytes_held(),
            at_ns,
        }
    }

    /// Tries again those that wait, but for workflows of which something is to come back first.
    pub(super) fn relieve_short(&mut self, coming: &[Account]) {
        let now_ns = monotonic_ns();
        let mut behind: Vec<Account> = Vec::new();
        // Whose values have found no room in this round, and how much that was.
        let mut full: Vec<(Account, u64)> = Vec::new();
        let mut failed = false;
        for short in std::mem::take(&mut self.short) {
            let Some(told) = self.is_told(&short.who) else {
                // It is over.
                continue;
            };
            if told
                && let Who::Activation {
                    what: What::Start(order),
                    ..
                } = &short.who
            {
                self.start_dropped(order);
                continue;
            }
            let in_use = self.arena_use(now_ns);
            let late = now_ns.saturating_sub(short.since_ns) >= ROOM_PATIENCE.as_nanos() as u64;
            let (account, ordered) = (short.account, short.who.has_an_order());
            let is_behind = ordered && behind.contains(&account);
            let too_long = |(of, bytes): &(Account, u64)| *of == account && *bytes <= short.bytes;
            let others_first = match ordered {
                true => coming.contains(&account),
                false => full.iter().any(too_long),
            };
            let waits = others_first || short.seen.is_some_and(|seen| in_use.is_as_before(seen));
            if !told && (is_behind || (waits && !late)) {
                behind.extend((ordered && !is_behind).then_some(account));
                self.short.push_back(short);
                continue;
            }
            let Err((who, error)) = self.try_now(short.who) else {
                if ordered && let Some(compartment) = self.compartments.of_account(account) {
                    self.peers.others_relieved(compartment);
                }
                continue;
            };
            if let Some(bytes) = may_come(&error).filter(|_| (ordered && failed) || !late) {
                match ordered {
                    true => behind.push(account),
                    false => full.push((account, bytes)),
                }
                self.short.push_back(Short {
                    who,
                    bytes,
                    seen: (bytes > 0).then_some(in_use),
                    ..short
                });
                continue;
            }
            failed |= ordered;
            self.finds_no_room(who, error);
        }
    }

    /// Begins, copies, or writes, if there is room; otherwise gives it back.
    fn try_now(&mut self, who: Who) -> Result<(), (Who, ArenaError)> {
        match who {
            Who::Activation { executor, what, .. } => {
                let tried = match what {
                    What::Start(order) => self.start_again(&order),
                    What::Copy => self.copy_again(executor.0),
                };
                tried.map_err(|error| (who, error))
            }
            Who::Values(unanswered) => {
                let answered = self.answer(unanswered);
                answered.map_err(|(unanswered, error)| (Who::Values(unanswered), error))
            }
        }
    }

    /// It has waited in vain.
    fn finds_no_room(&mut self, who: Who, error: ArenaError) {
        match who {
            Who::Activation { executor, what, .. } => match what {
                What::Start(order) => self.start_fails(&order, &error),
                What::Copy => self.copy_fails(executor.0, error.into()),
            },
            Who::Values(unanswered) => self.answer_without_room(&unanswered, &error),
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
