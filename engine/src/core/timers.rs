//! What is due at a time: attempts to be repeated, timeouts, grace periods, idle executors, and invocations that nobody
//! begins. Timers are never taken back: each knows what it was set for, and does nothing if that has gone.

use super::invocation::{NO_MAKER, Place};
use super::pool::ExecutorId;
use super::program::LocalNode;
use super::{Action, Core};
use crate::plan::DeploymentId;
use crate::wire::Failure;
use std::cmp::Reverse;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    Retry {
        place: Place,
        generation: u32,
        node: LocalNode,
        item: u32,
        attempt: u32,
    },
    Timeout {
        executor: ExecutorId,
    },
    Delay {
        place: Place,
        generation: u32,
        node: LocalNode,
    },
    /// An invocation's time is up.
    Limit {
        place: Place,
        generation: u32,
    },
    Grace {
        executor: ExecutorId,
        place: Place,
        generation: u32,
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
        generation: u32,
    },
}

impl Core {
    /// Lets due timers act.
    pub fn tick(&mut self, now_ns: u64) {
        while let Some(Reverse((due_ns, _, timer))) = self.timers.peek().copied() {
            if due_ns > now_ns {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Retry {
                    place,
                    generation,
                    node,
                    item,
                    attempt,
                } => {
                    if self.is_current(place, generation) && !self.fan_has_failed(place, node) {
                        self.dispatch(now_ns, place, node, item, attempt, NO_MAKER);
                    }
                }
                Timer::Delay {
                    place,
                    generation,
                    node,
                } => {
                    if self.is_current(place, generation) {
                        self.delay_over(now_ns, place, node);
                    }
                }
                Timer::Limit { place, generation } => {
                    if self.is_current(place, generation) {
                        let milliseconds =
                            self.program_of(place).plan.timeout_ms.unwrap_or_default();
                        self.fail(now_ns, place, Failure::Timeout { milliseconds });
                    }
                }
                Timer::Timeout { executor } => self.time_out(now_ns, due_ns, executor),
                Timer::Grace {
                    executor,
                    place,
                    generation,
                } => {
                    if self.runs_for(executor, place, generation) {
                        let cause =
                            "its invocation is over and the grace period has passed".to_owned();
                        self.actions.push(Action::Kill { executor, cause });
                    }
                }
                Timer::KeepAlive { deployment, pool } => {
                    self.end_idle_executors(now_ns, deployment, pool)
                }
                Timer::End { executor } => self.end_overdue(due_ns, executor),
                Timer::Orphan { place, generation } => self.end_orphan(place, generation),
            }
        }
        self.drain_ended(now_ns);
    }

    /// Whether the executor in that place, which may be another one by now, runs something of that invocation.
    pub(super) fn runs_for(&self, id: ExecutorId, place: Place, generation: u32) -> bool {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        let running = executor.and_then(|executor| executor.running);
        running.is_some_and(|running| running.place == place)
            && self.invocations[place as usize].generation == generation
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
        let timeout_ms = self.program_of(running.place).nodes[running.node as usize].timeout_ms;
        let cause = format!("it exceeded its timeout of {timeout_ms} ms and was ended");
        self.counters.timeouts += 1;
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

    pub(super) fn set_timer(&mut self, due_ns: u64, timer: Timer) {
        self.timers_set += 1;
        self.timers.push(Reverse((due_ns, self.timers_set, timer)));
    }
}
