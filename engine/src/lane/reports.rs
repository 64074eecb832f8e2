//! What a lane tells: reports to the control thread, counters to whoever asks for the worker's status.

use super::Lane;
use super::command::LaneReport;

impl Lane {
    pub(super) fn report(&mut self, report: LaneReport) {
        self.reports.push_back(report);
        self.flush_reports();
    }

    pub(super) fn flush_reports(&mut self) {
        while let Some(report) = self.reports.pop_front() {
            if let Err(report) = self.setup.reports.push(report) {
                self.reports.push_front(report);
                break;
            }
        }
        self.setup.report_notify.notify_one();
    }

    /// Shows the counters to whoever asks for the worker's status.
    pub(super) fn publish(&mut self) {
        let counters = &self.setup.counters;
        let core = self.core.counters();
        counters.invocations_taken.set(core.invocations_taken);
        counters.invocations_ended.set(core.invocations_ended);
        counters.invocations_failed.set(core.invocations_failed);
        counters.invocations_refused.set(core.invocations_refused);
        counters.triggers.set(core.triggers);
        counters.activations.set(core.activations);
        counters.retries.set(core.retries);
        counters.timeouts.set(core.timeouts);
        counters.late_dropped.set(core.late_dropped);
        counters.events_received.set(core.events_received);
        counters.events_sent.set(self.events_sent);
        counters.in_flight.set(u64::from(self.core.in_flight()));
        counters.invocations_held.set(self.core.held().0 as u64);
        counters.leases.set(self.core.leases().count() as u64);
        counters.lease_bytes.set(self.core.leases().bytes());
        counters.segments.set(self.segments.count() as u64);
        counters.segment_bytes.set(self.segments.bytes());
        counters.executors.set(self.polled.len() as u64);
        counters.doorbells.set(self.doorbells);
        counters.system_calls.set(self.driver.enters());
        self.peers.publish(counters);
    }
}
