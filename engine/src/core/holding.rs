//! How long what runs may hold what it reads: an activation that goes on beyond its worker's limit is told to stop, and has
//! failed.
//!
//! A node's `timeout_ms` is its workflow's word, and kills at once; this is the worker's, for all activations, and has the
//! usual grace period. It is what bounds how long a consumer keeps payloads from coming back: those that it reads, and those
//! that wait in its invocation for its end.

use super::pool::{ExecutorId, Running};
use super::timers::Timer;
use super::{CompletionError, Core};
use crate::plan::ErrorClass;
use faasstore::Cancelled;

impl Core {
    /// Something has been started, whose time runs from now. An executor has one timer, not each activation, and it goes with
    /// the executor: it may be due in a month.
    #[inline]
    pub(super) fn watch_holding(&mut self, now_ns: u64, id: ExecutorId) {
        let Some(most_ns) = self.config.lease_ns_max else {
            return;
        };
        let Some(executor) = self.executor_mut(id) else {
            return;
        };
        if executor.holding_timer.is_none() {
            self.look_at_holding(now_ns.saturating_add(most_ns), id);
        }
    }

    fn look_at_holding(&mut self, due_ns: u64, id: ExecutorId) {
        let timer = self.set_timer(due_ns, Timer::Holding { executor: id });
        if let Some(executor) = self.executor_mut(id) {
            executor.holding_timer = Some(timer);
        }
    }

    /// An executor's timer is due: what it runs may have gone on for too long, or has begun since the timer was set.
    pub(super) fn holding_over(&mut self, now_ns: u64, id: ExecutorId) {
        let (most_ns, grace_ns) = (self.config.lease_ns_max, self.config.grace_ns);
        let (Some(executor), Some(most_ns)) = (self.executor_mut(id), most_ns) else {
            return;
        };
        executor.holding_timer = None;
        let Some(running) = executor.running else {
            return;
        };
        let over_ns = running.started_ns.saturating_add(most_ns);
        if over_ns > now_ns {
            return self.look_at_holding(over_ns, id);
        }
        // What was told, or is being killed, ends as it is.
        if executor.timed_out || executor.grace_due_ns.is_some() {
            return;
        }
        self.tell(id, Cancelled::TimedOut, now_ns.saturating_add(grace_ns));
        if let Some(executor) = self.executor_mut(id) {
            executor.overdue = true;
        }
        self.counters.leases_expired += 1;
    }

    /// What was told to stop for having held too much for too long has come back, with whatever: that attempt has failed.
    #[cold]
    pub(super) fn came_back_overdue(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        running: Running,
    ) -> Result<(), CompletionError> {
        let cause = self.overdue_cause(&running);
        if let Some(executor) = self.executor_mut(id) {
            executor.overdue = false;
        }
        self.returned(id);
        self.executor_idle(now_ns, id);
        self.attempt_failed(now_ns, running, ErrorClass::Timeout, cause);
        self.drain_ended(now_ns);
        Ok(())
    }

    /// Why an attempt has failed that went on for too long.
    pub(super) fn overdue_cause(&self, running: &Running) -> String {
        let most_ms = self.config.lease_ns_max.unwrap_or_default() / 1_000_000;
        let worker = self.program_of(running.place).my_name();
        format!(
            "it has held what it reads for {most_ms} ms, the most that worker {worker} allows, and was told to stop; let it \
             do less at once, or raise --lease-max-ms there"
        )
    }
}
