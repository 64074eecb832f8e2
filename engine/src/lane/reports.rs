//! What a lane tells: reports to the control thread, counters to whoever asks for the worker's status.

use super::Lane;
use super::command::LaneReport;
use crate::status::Counter;

impl Lane {
    pub(super) fn report(&mut self, report: LaneReport) {
        self.reports.push_back(report);
        self.flush_reports();
    }

    pub(super) fn flush_reports(&mut self) {
        while let Some(report) = self.reports.pop_front() {
            if let Err(report) = self.setup.reports.push(report) {
                self.setup.counters.reports_delayed.add(1);
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
        counters.placements_passed.set(core.placements_passed);
        counters
            .invocations_cancelled
            .set(core.invocations_cancelled);
        counters.cancels_dropped.set(core.cancels_dropped);
        counters.triggers.set(core.triggers);
        counters.skipped.set(core.skipped);
        counters.caught.set(core.caught);
        counters.activations.set(core.activations);
        counters.retries.set(core.retries);
        counters.timeouts.set(core.timeouts);
        counters.activations_told.set(core.activations_told);
        counters.told_returned.set(core.told_returned);
        counters.told_killed.set(core.told_killed);
        counters.leases_expired.set(core.leases_expired);
        counters.executors_replaced.set(core.executors_replaced);
        counters.late_dropped.set(core.late_dropped);
        counters.events_received.set(core.events_received);
        counters.events_sent.set(self.events_sent);
        counters.in_flight.set(u64::from(self.core.in_flight()));
        counters
            .invocations_held
            .set(self.core.held().invocations as u64);
        counters.leases.set(self.core.leases().count() as u64);
        counters.lease_bytes.set(self.core.leases().bytes());
        counters.segments.set(self.segments.count() as u64);
        counters.segment_bytes.set(self.segments.bytes());
        raise(&counters.lease_bytes_peak, self.core.leases().bytes());
        raise(&counters.segment_bytes_peak, self.segments.bytes());
        counters.executors.set(self.polled.len() as u64);
        counters.doorbells.set(self.doorbells);
        counters.starts_ahead.set(self.starts_ahead);
        counters.system_calls.set(self.driver.enters());
        self.peers.publish(counters, &self.segments);
        let executors = self.executors.iter().flatten();
        let pinned = executors.map(|executor| (executor.compartment(), executor.pinned_bytes()));
        let pinned: Vec<_> = pinned.filter(|(_, bytes)| *bytes > 0).collect();
        let bytes = pinned.iter().map(|(_, bytes)| bytes).sum();
        counters.pinned_bytes.set(bytes);
        self.compartments
            .publish(&self.core, &self.segments, &pinned);
    }
}

/// A high-water mark.
fn raise(peak: &Counter, value: u64) {
    peak.set(peak.get().max(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::command::LaneCommand;
    use crate::lane::setup::{LaneSetup, Patience, Yields};
    use crate::plan::DeploymentId;
    use crate::status::Driver;
    use crossbeam::queue::ArrayQueue;
    use faasstore::binding::WaitStrategy;
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn a_high_water_mark_rises_and_never_falls() {
        let peak = Counter::default();
        let marks = [5, 9, 3].map(|value| {
            raise(&peak, value);
            peak.get()
        });
        assert_eq!(marks, [5, 9, 9]);
    }

    #[test]
    fn a_report_that_found_the_queue_full_is_told_though_the_lane_sleeps() {
        let (commands, reports) = (Arc::new(ArrayQueue::new(4)), Arc::new(ArrayQueue::new(1)));
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let counters: Arc<crate::status::LaneCounters> = Arc::default();
        let setup = LaneSetup {
            index: 0,
            lanes: 1,
            cpu: 0,
            worker_name: "a".into(),
            worker_hash: 1,
            epoch: 1,
            clock: crate::trace::ClockId::UNKNOWN,
            wait: WaitStrategy::Park,
            spin_budget_ns: 0,
            yields: Yields::Never,
            driver: Driver::Epoll,
            commands: Arc::clone(&commands),
            command_bell: bell.as_fd().try_clone_to_owned().unwrap(),
            reports: Arc::clone(&reports),
            report_notify: Arc::default(),
            counters: Arc::clone(&counters),
            in_flight_max: 1,
            payload_bytes_max: 1 << 20,
            checksum_payloads: false,
            arena_bytes_max: 1 << 20,
            keep_alive: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            lease_max: None,
            patience: Patience {
                heartbeat: Duration::from_secs(60),
                peer_silence: Duration::from_secs(600),
                transfer_idle: Duration::from_secs(600),
            },
            store: None,
        };
        let lane = std::thread::spawn(move || {
            let mut lane = Lane::new(setup).unwrap();
            for number in 1..=3 {
                lane.report(LaneReport::Removed(DeploymentId(number)));
            }
            lane.serve();
        });
        // Nothing wakes the lane meanwhile.
        let start = Instant::now();
        for number in 1..=3 {
            let report = loop {
                if let Some(report) = reports.pop() {
                    break report;
                }
                assert!(
                    start.elapsed() < Duration::from_secs(30),
                    "report {number} is lost"
                );
                std::thread::sleep(Duration::from_millis(1));
            };
            assert!(
                matches!(report, LaneReport::Removed(DeploymentId(told)) if told == number),
                "{report:?}"
            );
        }
        assert!(counters.reports_delayed.get() > 0);
        commands.push(LaneCommand::Stop).unwrap();
        bell.write(1).unwrap();
        lane.join().unwrap();
    }
}
