//! What must hold when nothing can happen any more.

use super::Cluster;
use super::clients::{Asked, Outcome};
use engine::core::CoreCounters;
use engine::plan::NodeId;

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
    /// Activations that took too long.
    pub timeouts: u64,
    /// What came too late, or twice.
    pub late: u64,
    /// Starts that were foreseen, and then ordered just so.
    pub foreseen: u64,
    /// In what ended well: nodes that several others wait for.
    pub fan_outs: u64,
    /// Nodes that wait for several others.
    pub fan_ins: u64,
    /// Foreach nodes without an item, with one, and with many.
    pub foreach_of: [u64; 3],
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
        self.timeouts += other.timeouts;
        self.late += other.late;
        self.foreseen += other.foreseen;
        self.fan_outs += other.fan_outs;
        self.fan_ins += other.fan_ins;
        for (sum, more) in self.foreach_of.iter_mut().zip(other.foreach_of) {
            *sum += more;
        }
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
        let mut tally = Tally {
            well: count(Outcome::Well),
            failed: count(Outcome::Failed),
            refused: count(Outcome::Refused),
            cut: count(Outcome::Cut),
            activations: sum(|counters| counters.activations),
            retries: sum(|counters| counters.retries),
            timeouts: sum(|counters| counters.timeouts),
            late: sum(|counters| counters.late_dropped),
            foreseen: self.foreseen,
            steps: self.steps,
            ..Tally::default()
        };
        for asked in self.asked.iter().filter(|a| a.outcome == Outcome::Well) {
            self.count_shapes(asked, &mut tally);
        }
        if self.scenario.faults.are_harmless() {
            assert_eq!((tally.failed, tally.cut), (0, 0));
        }
        if tally.failed == 0 && self.lost_workers.is_empty() {
            let nodes = |asked: &Asked| {
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
            assert_eq!(
                tally.late, self.doubled,
                "nothing else is late where nothing fails"
            );
        }
        tally
    }

    fn count_shapes(&self, asked: &Asked, tally: &mut Tally) {
        let nodes = &self.scenario.deployments[asked.deployment].workflow.nodes;
        let mut successors = vec![0; nodes.len()];
        for (id, node) in nodes.iter().enumerate() {
            let predecessors = node.predecessors();
            tally.fan_ins += u64::from(predecessors.len() > 1);
            for predecessor in predecessors {
                successors[predecessor as usize] += 1;
            }
            if node.foreach.is_some() {
                let first = (id as NodeId, 0);
                let items = asked
                    .expected
                    .activations
                    .range(first..=(first.0, u32::MAX));
                tally.foreach_of[items.count().min(2)] += 1;
            }
        }
        tally.fan_outs += successors.into_iter().filter(|count| *count > 1).count() as u64;
    }
}
