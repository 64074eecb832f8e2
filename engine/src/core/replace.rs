//! Executors that are replaced, since their lane has a reason to have the memory back that they may keep: each ends with
//! what it runs, and whoever waits for one gets another.

use super::pool::ExecutorId;
use super::timers::Timer;
use super::{Action, Core};

impl Core {
    /// An executor is to run nothing any more once it has ended what it runs, and to end then.
    pub fn replace_executor(&mut self, now_ns: u64, id: ExecutorId) {
        let Some(executor) = self.executor_mut(id) else {
            return;
        };
        if executor.replaced || executor.end_due_ns.is_some() {
            return;
        }
        executor.replaced = true;
        let idles = executor.running.is_none();
        let (deployment, pool) = (executor.deployment, executor.pool);
        // May come while actions are carried out, not as an event of its own.
        self.revision += 1;
        self.counters.executors_replaced += 1;
        if !idles {
            return;
        }
        let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
        let known = pool.idle.len();
        pool.idle.retain(|idle| *idle != id);
        // One that is condemned idles no more, and its end is under way.
        if pool.idle.len() < known {
            self.end_replaced(now_ns, id);
        }
    }

    /// Whether an executor that has nothing to do is to end instead of taking what waits.
    #[inline]
    pub(super) fn is_replaced(&self, id: ExecutorId) -> bool {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        executor.is_some_and(|executor| executor.replaced)
    }

    /// Tells an executor to end that has nothing to do. Its place and its memory are its own until its process has gone.
    #[cold]
    pub(super) fn end_replaced(&mut self, now_ns: u64, id: ExecutorId) {
        let due_ns = now_ns + self.config.patience_ns;
        let Some(executor) = self.executor_mut(id) else {
            return;
        };
        executor.end_due_ns = Some(due_ns);
        let (deployment, pool) = (executor.deployment, executor.pool);
        self.deployment_mut(deployment).pools[usize::from(pool)].ending += 1;
        self.actions.push(Action::Stop(id));
        self.set_timer(due_ns, Timer::End { executor: id });
    }
}
