//! What is due at a time: attempts to be repeated, timeouts, grace periods, idle executors, and invocations that nobody
//! begins. The timers of an invocation, which may be due in a day, go with it; an executor has a few at most, each of which
//! knows what it was set for and does nothing if that has gone.

use super::invocation::{NO_MAKER, Place};
use super::lease::Account;
use super::pool::ExecutorId;
use super::program::LocalNode;
use super::{Action, Core};
use crate::plan::DeploymentId;
use crate::wire::Failure;
use faasstore::Cancelled;

/// When a timer is due, and which of all timers it is.
pub(super) type TimerKey = (u64, u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    Retry {
        place: Place,
        node: LocalNode,
        attempt: u32,
    },
    Timeout {
        executor: ExecutorId,
    },
    Delay {
        place: Place,
        node: LocalNode,
    },
    /// An invocation's time is up.
    Limit {
        place: Place,
    },
    Grace {
        executor: ExecutorId,
    },
    Holding {
        executor: ExecutorId,
    },
    KeepAlive {
        deployment: DeploymentId,
        pool: u16,
    },
    End {
        executor: ExecutorId,
    },
    Orphan {
        place: Place,
    },
    /// A workflow that is pressed for memory is to be looked after.
    Quota {
        account: Account,
    },
}

impl Timer {
    /// Where that lives with which it goes.
    fn place(self) -> Option<Place> {
        match self {
            Self::Retry { place, .. }
            | Self::Delay { place, .. }
            | Self::Limit { place }
            | Self::Orphan { place } => Some(place),
            Self::Timeout { .. }
            | Self::Grace { .. }
            | Self::Holding { .. }
            | Self::KeepAlive { .. }
            | Self::End { .. }
            | Self::Quota { .. } => None,
        }
    }
}

impl Core {
    /// Lets due timers act.
    pub fn tick(&mut self, now_ns: u64) {
        while let Some(entry) = self.timers.first_entry() {
            let key = *entry.key();
            let (due_ns, _) = key;
            if due_ns > now_ns {
                break;
            }
            let timer = entry.remove();
            if let Some(place) = timer.place() {
                self.timers_of.remove(place, key);
            }
            match timer {
                Timer::Retry {
                    place,
                    node,
                    attempt,
                } => {
                    if self.is_running(place) {
                        self.dispatch(now_ns, place, node, attempt, NO_MAKER);
                    }
                }
                Timer::Delay { place, node } => {
                    if self.is_running(place) {
                        self.delay_over(now_ns, place, node);
                    }
                }
                Timer::Limit { place } => {
                    if self.is_running(place) {
                        let milliseconds =
                            self.program_of(place).plan.timeout_ms.unwrap_or_default();
                        self.fail(now_ns, place, Failure::Timeout { milliseconds });
                    }
                }
                Timer::Timeout { executor } => self.time_out(now_ns, due_ns, executor),
                Timer::Grace { executor } => self.grace_over(now_ns, due_ns, executor),
                Timer::Holding { executor } => self.holding_over(now_ns, executor),
                Timer::KeepAlive { deployment, pool } => {
                    self.end_idle_executors(now_ns, deployment, pool)
                }
                Timer::End { executor } => self.end_overdue(due_ns, executor),
                Timer::Orphan { place } => self.end_orphan(place),
                Timer::Quota { account } => self.quota_timer(now_ns, account),
            }
        }
        self.drain_ended(now_ns);
    }

    /// Whether the executor in that place runs something of the invocation in this one.
    pub(super) fn runs_for(&self, id: ExecutorId, place: Place) -> bool {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        let running = executor.and_then(|executor| executor.running);
        running.is_some_and(|running| self.invocations[running.place as usize].root == place)
    }

    /// What an executor runs is to stop, since its invocation is over, and to come back by then.
    pub(super) fn tell(&mut self, id: ExecutorId, why: Cancelled, due_ns: u64) {
        // One that has exceeded its timeout just now is being killed, and one that is overdue was told.
        let executor = self.executor_mut(id);
        let executor = executor.filter(|executor| !executor.timed_out && !executor.overdue);
        let Some(activation) = executor.map(|executor| executor.activation) else {
            return;
        };
        self.counters.activations_told += 1;
        self.actions.push(Action::Tell {
            executor: id,
            activation,
            why,
        });
        self.stop_waiting(id);
        self.grant_grace(id, due_ns);
    }

    /// What was told to stop has come back, if this was told. To be called whenever that may be so.
    #[inline]
    pub(super) fn returned(&mut self, id: ExecutorId) {
        let told = self.executor_mut(id).and_then(|e| e.grace_due_ns.take());
        self.counters.told_returned += u64::from(told.is_some());
    }

    /// What an executor runs is to come back by then. Of its timers one is enough.
    fn grant_grace(&mut self, id: ExecutorId, due_ns: u64) {
        let Some(executor) = self.executor_mut(id) else {
            return;
        };
        executor.grace_due_ns = Some(due_ns);
        if executor.grace_timer_ns.is_none_or(|armed| due_ns < armed) {
            executor.grace_timer_ns = Some(due_ns);
            self.set_timer(due_ns, Timer::Grace { executor: id });
        }
    }

    fn grace_over(&mut self, now_ns: u64, due_ns: u64, id: ExecutorId) {
        let Some(executor) = self.executor_mut(id) else {
            return;
        };
        // Its place may be another one's by now.
        if executor.grace_timer_ns != Some(due_ns) {
            return;
        }
        executor.grace_timer_ns = None;
        let (Some(_), Some(grace_due_ns)) = (executor.running, executor.grace_due_ns) else {
            return;
        };
        if grace_due_ns > now_ns {
            self.grant_grace(id, grace_due_ns);
            return;
        }
        // Should it come back all the same, then not in time.
        executor.grace_due_ns = None;
        let cause = match executor.overdue {
            true => "it has not come back within the grace period",
            false => "its invocation is over and the grace period has passed",
        };
        let cause = cause.to_owned();
        self.counters.told_killed += 1;
        self.actions.push(Action::Kill {
            executor: id,
            cause,
        });
    }

    fn time_out(&mut self, now_ns: u64, due_ns: u64, id: ExecutorId) {
        let Some(executor) = self
            .executors
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        if executor.timer_due_ns != Some(due_ns) {
            return;
        }
        executor.timer_due_ns = None;
        let (Some(running), Some(deadline_ns)) = (executor.running, executor.deadline_ns) else {
            return;
        };
        if deadline_ns > now_ns {
            self.arm_timeout(id, deadline_ns);
            return;
        }
        executor.timed_out = true;
        let told = executor.grace_due_ns.take();
        let timeout_ms = self.program_of(running.place).nodes[running.node as usize].timeout_ms;
        let cause = format!("it exceeded its timeout of {timeout_ms} ms and was ended");
        self.counters.timeouts += 1;
        self.counters.told_killed += u64::from(told.is_some());
        self.actions.push(Action::Kill {
            executor: id,
            cause,
        });
    }

    /// Sets an executor's timer, unless one that comes no later is set: an executor has one, not each activation, so
    /// that the timers of short activations with long timeouts do not pile up.
    pub(super) fn arm_timeout(&mut self, id: ExecutorId, due_ns: u64) {
        let Some(executor) = self.executors[id.0 as usize].as_mut() else {
            return;
        };
        if executor.timer_due_ns.is_none_or(|armed| due_ns < armed) {
            executor.timer_due_ns = Some(due_ns);
            self.set_timer(due_ns, Timer::Timeout { executor: id });
        }
    }

    pub(super) fn set_timer(&mut self, due_ns: u64, timer: Timer) -> TimerKey {
        self.timers_set += 1;
        let key = (due_ns, self.timers_set);
        self.timers.insert(key, timer);
        if let Some(place) = timer.place() {
            self.timers_of.insert(place, key, ());
        }
        key
    }

    /// Takes back all timers of what lives in a place.
    pub(super) fn take_timers(&mut self, place: Place) {
        while let Some((key, ())) = self.timers_of.pop(place) {
            self.timers.remove(&key);
        }
    }
}
