//! Executors as the core sees them: who is idle, who runs what, and what waits for one; how they join, rest and leave.

use super::failure::NodeFailure;
use super::invocation::Place;
use super::program::LocalNode;
use super::timers::{Timer, TimerKey};
use super::{Action, Core};
use crate::plan::{DeploymentId, ErrorClass};
use std::collections::VecDeque;

/// An executor, by its place in the lane's table. A place is used again only after the core was told that its executor
/// has left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecutorId(pub u32);

/// An activation that waits for an idle executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) generation: u32,
    pub(crate) node: LocalNode,
    pub(crate) attempt: u32,
    /// Since when.
    pub(crate) ready_ns: u64,
    /// Whether it has waited for memory while an executor was idle.
    pub(crate) held: bool,
}

/// The executors of one executable of one deployment.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// The one that became idle last is at the end: its caches are the warmest.
    pub(crate) idle: Vec<ExecutorId>,
    pub(crate) waiting: VecDeque<Waiting>,
    /// Executors whose processes are there, those that were told to end among them.
    pub(crate) members: u32,
    /// Members that were told to end.
    pub(crate) ending: u32,
    /// Executors asked for and not here yet.
    pub(crate) wanted: u32,
    pub(crate) scale: u32,
}

impl Pool {
    /// An idle executor, the one named if it is among them.
    #[inline]
    pub(crate) fn take_idle(&mut self, preferred: u32) -> Option<ExecutorId> {
        if self.idle.len() > 1
            && let Some(index) = self.idle.iter().position(|e| e.0 == preferred)
        {
            return Some(self.idle.remove(index));
        }
        self.idle.pop()
    }

    pub(crate) fn wants_one_more(&self) -> bool {
        !self.waiting.is_empty() && self.members + self.wanted < self.scale
    }
}

/// What an executor runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) place: Place,
    pub(crate) node: LocalNode,
    pub(crate) attempt: u32,
    pub(crate) started_ns: u64,
}

#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) deployment: u32,
    pub(crate) pool: u16,
    /// Numbers its activations, so that an answer to an earlier one is told apart; 0 before the first, and never again.
    pub(crate) activation: u32,
    pub(crate) running: Option<Running>,
    /// When what it runs will be given up.
    pub(crate) deadline_ns: Option<u64>,
    /// When its timer is due, if one is set.
    pub(crate) timer_due_ns: Option<u64>,
    pub(crate) idle_since_ns: u64,
    /// When what it runs is to have come back, since its invocation is over and it was told to stop.
    pub(crate) grace_due_ns: Option<u64>,
    /// When a timer is due that looks after that, if one is set.
    pub(crate) grace_timer_ns: Option<u64>,
    /// Its timer that looks after how long it holds what it reads, if one is set.
    pub(crate) holding_timer: Option<TimerKey>,
    /// Whether what it runs was told to stop for having held that for too long.
    pub(crate) overdue: bool,
    /// Whether it is to end as soon as it has nothing to do.
    pub(crate) replaced: bool,
    /// Told to end: when that is to have happened.
    pub(crate) end_due_ns: Option<u64>,
    /// Whether it is ended because what it ran took too long.
    pub(crate) timed_out: bool,
}

/// An executor that is neither idle nor given anything yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHand {
    pub(crate) executor: ExecutorId,
    pub(crate) deployment: u32,
    pub(crate) pool: u16,
}

impl Executor {
    /// Gives it something to run; the number of that activation.
    #[inline]
    pub(crate) fn start(&mut self, running: Running, deadline_ns: Option<u64>) -> u32 {
        debug_assert!(self.grace_due_ns.is_none(), "it ends with what was told");
        self.activation = self.next_activation();
        self.running = Some(running);
        self.deadline_ns = deadline_ns;
        self.activation
    }

    /// The number that its next activation will have. None has 0, by which an executor that is told to stop is told of none.
    #[inline]
    pub(crate) fn next_activation(&self) -> u32 {
        self.activation.wrapping_add(1).max(1)
    }
}

impl Core {
    #[inline]
    pub(super) fn executor_mut(&mut self, id: ExecutorId) -> Option<&mut Executor> {
        self.executors.get_mut(id.0 as usize)?.as_mut()
    }

    /// An executor has greeted and is idle. The lane chooses the place; it must be free.
    pub fn executor_joined(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        deployment: DeploymentId,
        executable: u16,
    ) {
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            // The deployment went while the executor started.
            self.actions.push(Action::Stop(id));
            return;
        };
        self.forget_full(id);
        let place = id.0 as usize;
        if self.executors.len() <= place {
            self.executors.resize_with(place + 1, || None);
        }
        self.executors[place] = Some(Executor {
            deployment: index,
            pool: executable,
            activation: 0,
            running: None,
            deadline_ns: None,
            timer_due_ns: None,
            grace_due_ns: None,
            grace_timer_ns: None,
            holding_timer: None,
            overdue: false,
            replaced: false,
            idle_since_ns: now_ns,
            end_due_ns: None,
            timed_out: false,
        });
        let pool = &mut self.deployment_mut(index).pools[usize::from(executable)];
        pool.members += 1;
        pool.wanted = pool.wanted.saturating_sub(1);
        self.executor_idle(now_ns, id);
        // The pool grows by one more until it has its scale.
        self.want_executor(index, executable);
        self.drain_ended(now_ns);
    }

    /// Whether an executor runs anything.
    #[inline]
    #[must_use]
    pub fn runs(&self, id: ExecutorId) -> bool {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        executor.is_some_and(|executor| executor.running.is_some())
    }

    /// The activation that an executor runs, if it runs one.
    #[must_use]
    pub fn running(&self, id: ExecutorId) -> Option<u32> {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        let executor = executor.filter(|executor| executor.running.is_some());
        executor.map(|executor| executor.activation)
    }

    /// No executor could be started. If none is left or under way, what waits for one fails.
    pub fn executor_refused(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        executable: u16,
        reason: &str,
    ) {
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            return;
        };
        let pool = &mut self.deployment_mut(index).pools[usize::from(executable)];
        pool.wanted = pool.wanted.saturating_sub(1);
        if pool.members + pool.wanted > 0 {
            return;
        }
        for waiting in std::mem::take(&mut pool.waiting) {
            let Waiting {
                place,
                generation,
                node,
                attempt,
                ..
            } = waiting;
            if self.is_current(place, generation) {
                let root = self.invocations[place as usize].root;
                if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
                    timing.never_started(node, attempt);
                }
                let failure = NodeFailure {
                    attempt,
                    class: ErrorClass::Crash,
                    cause: format!("no executor could be started: {reason}"),
                };
                self.node_failed(now_ns, place, node, failure);
            }
        }
        self.drain_ended(now_ns);
    }

    /// An executor gets no more work, and why: what it ran has failed. Its process is still to end, and
    /// [`Core::executor_left`] to follow; until then there is no room for another in its place.
    pub fn executor_condemned(&mut self, now_ns: u64, id: ExecutorId, cause: &str) {
        let Some(executor) = self
            .executors
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        // May come while actions are carried out, not as an event of its own.
        self.revision += 1;
        let (deployment, pool) = (executor.deployment, executor.pool);
        let running = executor.running.take();
        let (timed_out, overdue) = (executor.timed_out, executor.overdue);
        let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
        pool.idle.retain(|idle| *idle != id);
        self.close_window(id);
        self.lost(now_ns, running, (timed_out, overdue), cause);
    }

    /// An executor's process has ended, and why. What it ran has failed.
    pub fn executor_left(&mut self, now_ns: u64, id: ExecutorId, cause: &str) {
        let Some(executor) = self.executors.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        if let Some(timer) = executor.holding_timer {
            self.timers.remove(&timer);
        }
        let (deployment, pool_index) = (executor.deployment, executor.pool);
        let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
        pool.idle.retain(|idle| *idle != id);
        pool.members -= 1;
        pool.ending -= u32::from(executor.end_due_ns.is_some());
        self.want_executor(deployment, pool_index);
        self.close_window(id);
        let why = (executor.timed_out, executor.overdue);
        self.lost(now_ns, executor.running, why, cause);
    }

    /// What an executor ran has come to nothing with it, which had timed out, or was overdue, or neither.
    fn lost(
        &mut self,
        now_ns: u64,
        running: Option<Running>,
        (timed_out, overdue): (bool, bool),
        cause: &str,
    ) {
        if self.pressed > 0 {
            self.leases.alarm();
        }
        if let Some(running) = running {
            let (class, cause) = match (timed_out, overdue) {
                (false, false) => (ErrorClass::Crash, cause.to_owned()),
                (true, _) => (ErrorClass::Timeout, cause.to_owned()),
                (false, true) => {
                    let overdue = self.overdue_cause(&running);
                    (ErrorClass::Timeout, format!("{overdue}; {cause}"))
                }
            };
            self.attempt_failed(now_ns, running, class, cause);
        }
        self.drain_ended(now_ns);
    }

    /// An executor has nothing to do: give it what waits, or keep it in hand for what will be triggered now, until
    /// [`Core::lay_down`].
    #[inline]
    pub(super) fn take_in_hand(&mut self, now_ns: u64, id: ExecutorId) {
        let Some(executor) = self.executors[id.0 as usize].as_ref() else {
            return;
        };
        let (deployment, pool) = (executor.deployment, executor.pool);
        let replaced = executor.replaced;
        let waits = &self.deployment_mut(deployment).pools[usize::from(pool)].waiting;
        if waits.is_empty() && !replaced {
            self.in_hand = Some(InHand {
                executor: id,
                deployment,
                pool,
            });
        } else {
            self.executor_idle(now_ns, id);
        }
    }

    /// What has been triggered has been handled: an executor that is still in hand idles.
    #[inline]
    pub(super) fn lay_down(&mut self, now_ns: u64) {
        if let Some(in_hand) = self.in_hand.take() {
            self.executor_idle(now_ns, in_hand.executor);
        }
    }

    /// The executor in hand, if it is of that pool.
    #[inline]
    pub(super) fn take_hand(&mut self, deployment: u32, pool: u16) -> Option<ExecutorId> {
        let fits = |hand: &mut InHand| hand.pool == pool && hand.deployment == deployment;
        self.in_hand.take_if(fits).map(|hand| hand.executor)
    }

    /// An executor has nothing to do: give it what waits, or let it idle.
    pub(super) fn executor_idle(&mut self, now_ns: u64, id: ExecutorId) {
        if self.is_replaced(id) {
            return self.end_replaced(now_ns, id);
        }
        let Some(executor) = self.executors[id.0 as usize].as_mut() else {
            return;
        };
        executor.idle_since_ns = now_ns;
        let (deployment, pool_index) = (executor.deployment, executor.pool);
        let pressed = self.is_pressed(deployment);
        if pressed {
            self.leases.alarm();
        }
        loop {
            let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
            let next = if pressed {
                None
            } else {
                pool.waiting.pop_front()
            };
            let Some(waiting) = next else {
                pool.idle.push(id);
                if !pool.waiting.is_empty() {
                    return;
                }
                if pool.members - pool.ending > 1 {
                    self.arm_keep_alive(now_ns, deployment, pool_index);
                }
                return;
            };
            let Waiting {
                place,
                generation,
                node,
                attempt,
                ready_ns,
                ..
            } = waiting;
            if self.is_current(place, generation) {
                self.start(now_ns, id, place, node, attempt, ready_ns);
                return;
            }
        }
    }

    pub(super) fn want_executor(&mut self, deployment: u32, pool_index: u16) {
        // An executor may leave after the last invocation of a retired deployment went, and the deployment with it.
        let Some(state) = self.deployments[deployment as usize].as_mut() else {
            return;
        };
        let pool = &mut state.pools[usize::from(pool_index)];
        if pool.wants_one_more() {
            pool.wanted += 1;
            let deployment = state.program.plan.deployment;
            self.actions.push(Action::ExecutorWanted {
                deployment,
                executable: pool_index,
            });
        }
    }

    pub(super) fn end_idle_executors(&mut self, now_ns: u64, id: DeploymentId, pool_index: u16) {
        let (keep_alive_ns, patience_ns) = (self.config.keep_alive_ns, self.config.patience_ns);
        let Some(deployment) = self.deployment_by_id.get(&id).copied() else {
            return;
        };
        let Some(state) = self.deployments[deployment as usize].as_mut() else {
            return;
        };
        state.keep_alive_armed[usize::from(pool_index)] = false;
        let pool = &mut state.pools[usize::from(pool_index)];
        let mut ended = Vec::new();
        while pool.members - pool.ending > 1 {
            let Some(longest) = pool.idle.first().copied() else {
                break;
            };
            let Some(executor) = self.executors[longest.0 as usize].as_mut() else {
                break;
            };
            if executor.idle_since_ns + keep_alive_ns > now_ns {
                break;
            }
            // Its place and its memory are its own until its process has gone.
            executor.end_due_ns = Some(now_ns + patience_ns);
            pool.idle.remove(0);
            pool.ending += 1;
            self.actions.push(Action::Stop(longest));
            ended.push(longest);
        }
        for executor in ended {
            self.set_timer(now_ns + patience_ns, Timer::End { executor });
        }
        self.arm_keep_alive(now_ns, deployment, pool_index);
    }

    /// An executor that was told to end has not: it does not read what it is sent.
    pub(super) fn end_overdue(&mut self, due_ns: u64, id: ExecutorId) {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        // Its place may be another one's by now.
        if executor.is_some_and(|executor| executor.end_due_ns == Some(due_ns)) {
            self.actions.push(Action::Kill {
                executor: id,
                cause: "it was told to end and has not".to_owned(),
            });
        }
    }

    fn arm_keep_alive(&mut self, now_ns: u64, deployment: u32, pool_index: u16) {
        let due_ns = now_ns + self.config.keep_alive_ns;
        let state = self.deployment_mut(deployment);
        let pool = &state.pools[usize::from(pool_index)];
        let armed = &mut state.keep_alive_armed[usize::from(pool_index)];
        if pool.members - pool.ending > 1 && !pool.idle.is_empty() && !*armed {
            *armed = true;
            let deployment = state.program.plan.deployment;
            self.set_timer(
                due_ns,
                Timer::KeepAlive {
                    deployment,
                    pool: pool_index,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_activation_has_the_number_that_stands_for_none() {
        let mut executor = Executor {
            deployment: 0,
            pool: 0,
            activation: 0,
            running: None,
            deadline_ns: None,
            timer_due_ns: None,
            idle_since_ns: 0,
            grace_due_ns: None,
            grace_timer_ns: None,
            holding_timer: None,
            overdue: false,
            replaced: false,
            end_due_ns: None,
            timed_out: false,
        };
        assert_eq!(executor.next_activation(), 1);
        executor.activation = u32::MAX - 1;
        assert_eq!(executor.next_activation(), u32::MAX);
        executor.activation = u32::MAX;
        assert_eq!(executor.next_activation(), 1);
    }
}
