//! What a lane does when it has nothing else to do: what could wait, once, and what has to be tried again later.

use super::{LANE_SEGMENT_BYTES, Lane, LaneReport, PATIENCE, executors, monotonic_ns};
use crate::core::ExecutorId;

/// How long no segment of a lane's own arena has been used before they go back, as those of executors do.
const UNUSED_BEFORE_TRIM_NS: u64 = 1_000_000_000;
/// Pauses before executors whose rings were full are told of memory again.
const SETTLE_PAUSE_MIN_NS: u64 = 50_000;
const SETTLE_PAUSE_MAX_NS: u64 = 1_000_000_000;

impl Lane {
    /// What can wait until there is nothing else to do.
    pub(super) fn settle(&mut self) {
        self.trim_what_is_unused();
        if let Some(segment) = self.arena.scattered() {
            self.report(LaneReport::Scattered(segment));
        }
        self.settle_carriage();
        self.tell_segments();
        let (mut unsent_before, mut unsent) = (0, 0);
        self.pins_due_ns = None;
        for index in 0..self.polled.len() {
            let Some(place) = self.polled.get(index).copied() else {
                break;
            };
            let Some(executor) = self.executors[place as usize].as_mut() else {
                continue;
            };
            unsent_before += executor.unsent();
            if let Err(error) = executor.settle() {
                self.end_executor(place, &error.to_string());
                self.act();
                continue;
            }
            unsent += executor.unsent();
            self.replace_if_it_pins(place);
        }
        let (peers, mut parts) = self.peers();
        unsent += peers.settle_shares(&mut parts);
        self.unmap_gone();
        self.settle_again_if(unsent, unsent < unsent_before);
        if !self.reports.is_empty() {
            self.flush_reports();
        }
        self.publish();
    }

    /// Settles if it is time to try something again, or to give memory back.
    #[cold]
    pub(super) fn settle_if_due(&mut self) {
        self.now_ns = monotonic_ns();
        let due = |time: Option<u64>| time.is_some_and(|due_ns| due_ns <= self.now_ns);
        let due_any = [
            self.settle_ns,
            self.trim_ns,
            self.pins_due_ns,
            self.carriage.due_ns(),
        ];
        if due_any.into_iter().any(due) {
            self.settle();
        }
    }

    /// Messages about memory that an executor's ring had no room for are tried again soon, if it reads, and ever later, if it
    /// does not: one that runs a function will be heard of when that ends.
    #[inline]
    fn settle_again_if(&mut self, unsent: usize, progress: bool) {
        if unsent == 0 {
            (self.settle_ns, self.settle_pause_ns) = (None, 0);
            return;
        }
        self.setup.counters.memory_backlogs.add(1);
        let now_ns = monotonic_ns();
        if progress {
            self.settle_pause_ns = 0;
        } else if self.settle_ns.is_some_and(|due_ns| now_ns < due_ns) {
            return;
        }
        let longer_ns = self.settle_pause_ns * 2;
        self.settle_pause_ns = longer_ns.clamp(SETTLE_PAUSE_MIN_NS, SETTLE_PAUSE_MAX_NS);
        self.settle_ns = Some(now_ns + self.settle_pause_ns);
    }

    /// Has an executor replaced that may keep too much memory of segments that have gone.
    pub(super) fn replace_if_it_pins(&mut self, place: u32) {
        const PATIENCE_NS: u64 = PATIENCE.as_nanos() as u64;
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        if executor.ended.is_some() || !executor.may_pin_too_much() {
            return;
        }
        let id = ExecutorId(place);
        let (now_ns, runs) = (monotonic_ns(), self.core.runs(id));
        match executor.pins_too_much(now_ns, runs, PATIENCE_NS) {
            Ok(false) => {
                let due_ns = executor.pinned_due_ns(PATIENCE_NS);
                self.pins_due_ns = [self.pins_due_ns, due_ns].into_iter().flatten().min();
                return;
            }
            Ok(true) => self.core.replace_executor(now_ns, id),
            Err(error) => self.end_executor(place, &error.to_string()),
        }
        self.act();
    }

    /// When the lane is to be awake next though nothing happens.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        [
            self.core.next_timer_ns(),
            self.settle_ns,
            self.trim_ns,
            self.carriage.due_ns(),
            self.pins_due_ns,
            Some(self.peers.beat_due_ns()).filter(|due_ns| *due_ns < u64::MAX),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Gives memory of the lane's own arena back to the machine when it has not been used for a while, whatever else happens.
    fn trim_what_is_unused(&mut self) {
        let emptied = self.arena.emptied();
        let was_used = std::mem::replace(&mut self.emptied_before, emptied) != emptied;
        if self.arena.bytes_held() <= LANE_SEGMENT_BYTES {
            self.trim_ns = None;
        } else if was_used {
            self.trim_ns = Some(monotonic_ns() + UNUSED_BEFORE_TRIM_NS);
        } else if self
            .trim_ns
            .take_if(|due_ns| *due_ns <= monotonic_ns())
            .is_some()
        {
            // One ordinary segment is kept, if there is one; a larger one is not.
            for keep_bytes in [LANE_SEGMENT_BYTES, 0] {
                if self.arena.bytes_held() > LANE_SEGMENT_BYTES {
                    let retired = self.arena.trim(keep_bytes);
                    executors::retire_own_segments(&mut self.segments, retired, &mut self.gone);
                }
            }
            self.unmap_gone();
        }
    }
}
