//! What must hold when nothing can happen any more.

use super::Cluster;
use super::clients::Outcome;
use engine::core::CoreCounters;

/// What a run has seen: that a test of rare things did see them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Invocations that ended with their outputs.
    pub well: u64,
    /// Invocations that failed for a cause.
    pub failed: u64,
    /// Invocations that were refused at the door.
    pub refused: u64,
    /// Invocations whose client went with the worker.
    pub cut: u64,
    /// Activations that ended well.
    pub activations: u64,
    /// Activations that were tried again.
    pub retries: u64,
    /// What came too late.
    pub late: u64,
    /// Events of the simulation.
    pub steps: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.well += other.well;
        self.failed += other.failed;
        self.refused += other.refused;
        self.cut += other.cut;
        self.activations += other.activations;
        self.retries += other.retries;
        self.late += other.late;
        self.steps += other.steps;
    }
}

impl Cluster {
    /// Every client has its answer.
    pub(super) fn judge_answers(&self) {
        for (number, asked) in self.asked.iter().enumerate() {
            let missing: Vec<_> = asked
                .expected
                .activations
                .iter()
                .filter(|a| !asked.done.contains_key(a))
                .collect();
            assert_ne!(
                asked.outcome,
                Outcome::Open,
                "request {number} was never answered: {:?} at lane {}, never done: {missing:?}, started: {:?}",
                asked.id,
                asked.lane,
                asked.started,
            );
            for (activation, count) in &asked.done {
                assert_eq!(
                    *count, 1,
                    "{activation:?} of {:?} took effect more than once",
                    asked.id
                );
            }
        }
    }

    /// Nothing is left of invocations that are over.
    pub(super) fn judge_what_is_held(&self) {
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.alive) {
            let core = &lane.core;
            assert_eq!(
                core.held(),
                (0, 0),
                "lane {index} holds invocations and lists"
            );
            assert_eq!(
                (core.leases().count(), core.leases().bytes()),
                (0, 0),
                "lane {index} holds leases"
            );
            assert_eq!(
                lane.memory.held(),
                0,
                "ranges of lane {index} never came back"
            );
            assert_eq!(core.in_flight(), 0);
            let counters = core.counters();
            let ended = counters.invocations_ended + counters.invocations_failed;
            assert_eq!(counters.invocations_taken, ended);
            assert_eq!(counters.invocations_refused, lane.refused);
            assert_eq!(counters.activations, lane.accepted);
        }
    }

    /// Every deployment is gone from wherever it was, and its executors with it.
    pub(super) fn judge_removals(&self) {
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.alive) {
            assert!(
                lane.deployed.is_empty(),
                "{:?} were never removed from lane {index}",
                lane.deployed
            );
            let left = lane.executors.iter().flatten().count();
            assert_eq!(left, 0, "executors of lane {index} were never ended");
            assert!(
                !lane.core.needs_time(),
                "lane {index} still wants exact times"
            );
        }
    }

    /// What was seen, and whether it adds up.
    pub(super) fn tally(&self) -> Tally {
        let count = |outcome| {
            self.asked
                .iter()
                .filter(|asked| asked.outcome == outcome)
                .count() as u64
        };
        let counters: Vec<CoreCounters> =
            self.lanes.iter().map(|lane| lane.core.counters()).collect();
        let sum = |of: fn(&CoreCounters) -> u64| counters.iter().map(of).sum::<u64>();
        let tally = Tally {
            well: count(Outcome::Well),
            failed: count(Outcome::Failed),
            refused: count(Outcome::Refused),
            cut: count(Outcome::Cut),
            activations: sum(|counters| counters.activations),
            retries: sum(|counters| counters.retries),
            late: sum(|counters| counters.late_dropped),
            steps: self.steps,
        };
        if tally.failed == 0 && self.lost_workers.is_empty() {
            let nodes = |asked: &super::Asked| {
                self.scenario.deployments[asked.deployment]
                    .workflow
                    .nodes
                    .len() as u64
            };
            let well = || {
                self.asked
                    .iter()
                    .filter(|asked| asked.outcome == Outcome::Well)
            };
            assert_eq!(
                sum(|counters| counters.triggers),
                well().map(nodes).sum::<u64>()
            );
            let activations = well()
                .map(|asked| asked.expected.activations.len() as u64)
                .sum::<u64>();
            assert_eq!(tally.activations, activations);
            let lost = well()
                .map(|asked| u64::from(asked.attempts_lost))
                .sum::<u64>();
            assert_eq!(tally.retries, lost);
            assert_eq!(tally.late, 0, "nothing is late where nothing fails");
        }
        tally
    }
}
