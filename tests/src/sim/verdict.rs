//! What must hold when nothing can happen any more.

use super::Cluster;
use super::clients::{Asked, Outcome};
use super::constructs::Constructs;
use super::lane::Lane;
use super::scenario::Faults;
use crate::reference::{Counts, Verdict};
use engine::core::{CoreCounters, Held};

/// What a run has seen: that a test of rare things did see them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Invocations that ended with their outputs.
    pub well: u64,
    /// Invocations that failed for a cause.
    pub failed: u64,
    /// Invocations that their clients have cancelled.
    pub cancelled: u64,
    /// Cancels of what was not under way.
    pub cancels_dropped: u64,
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
    /// Activations that were told to stop.
    pub told: u64,
    /// Of those, how many came back in their grace.
    pub told_returned: u64,
    /// Of those, how many did not.
    pub told_killed: u64,
    /// What came too late, or twice.
    pub late: u64,
    /// Starts that were foreseen, and then ordered just so.
    pub foreseen: u64,
    /// Those of them that a switch has chosen.
    pub foreseen_choices: u64,
    /// Completions for which a lane had prepared, and nothing had happened since that voids it.
    pub prepared: u64,
    /// Payloads that were carried out of memory.
    pub carried: u64,
    /// Payloads that were brought back.
    pub brought_back: u64,
    /// Payloads that could not be brought back.
    pub lost: u64,
    /// Activations that began when the first items of a list had come, and not yet the last.
    pub started_early: u64,
    /// Items that activations have asked for and were given.
    pub given: u64,
    /// Payloads that were read, and counted just so.
    pub reads_judged: u64,
    /// Looks at a worker that held anything of an invocation of which everything was declared.
    pub looks: u64,
    /// Of these, those at which it held all that was proven.
    pub full: u64,
    /// Answers to activations that have waited for room in their arenas.
    pub rooms: u64,
    /// Invocations that a door had no memory for, and of these those for which it had none since answers were not read.
    pub closed: (u64, u64),
    /// Runs that held each construct.
    pub constructs: Constructs,
    /// Events of the simulation.
    pub steps: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.well += other.well;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.cancels_dropped += other.cancels_dropped;
        self.refused += other.refused;
        self.cut += other.cut;
        self.activations += other.activations;
        self.retries += other.retries;
        self.timeouts += other.timeouts;
        self.told += other.told;
        self.told_returned += other.told_returned;
        self.told_killed += other.told_killed;
        self.late += other.late;
        self.foreseen += other.foreseen;
        self.foreseen_choices += other.foreseen_choices;
        self.prepared += other.prepared;
        self.carried += other.carried;
        self.brought_back += other.brought_back;
        self.lost += other.lost;
        self.started_early += other.started_early;
        self.given += other.given;
        self.reads_judged += other.reads_judged;
        self.looks += other.looks;
        self.full += other.full;
        self.rooms += other.rooms;
        self.closed.0 += other.closed.0;
        self.closed.1 += other.closed.1;
        self.constructs += other.constructs;
        self.steps += other.steps;
    }
}

impl Cluster {
    /// Nothing is left of invocations that are over.
    pub(super) fn judge_what_is_held(&self) {
        for (index, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.alive) {
            let core = &lane.core;
            // Constants stay with their deployment.
            let constants = lane.constants.values();
            let (ranges, lists) = constants.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let only_constants = Held {
                lists,
                ..Held::default()
            };
            assert_eq!(core.held(), only_constants, "what lane {index} holds");
            assert_eq!(core.leases().count(), ranges, "lane {index} holds leases");
            assert_eq!(
                lane.memory.held(),
                ranges,
                "ranges of lane {index} never came back"
            );
            lane.stores.judge_empty(index);
            lane.arrivals.judge_empty(index);
            assert_eq!(core.in_flight(), 0);
            let counters = core.counters();
            let ended = counters.invocations_ended + counters.invocations_failed;
            assert_eq!(counters.invocations_taken, ended);
            assert_eq!(counters.invocations_refused, lane.refused);
            assert_eq!(counters.activations, lane.accepted);
            judge_profiles(index, lane);
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
            runs: 1,
            well: count(Outcome::Well),
            failed: count(Outcome::Failed),
            cancelled: count(Outcome::Cancelled),
            cancels_dropped: sum(|counters| counters.cancels_dropped),
            refused: count(Outcome::Refused),
            cut: count(Outcome::Cut),
            activations: sum(|counters| counters.activations),
            retries: sum(|counters| counters.retries),
            timeouts: sum(|counters| counters.timeouts),
            told: sum(|counters| counters.activations_told),
            told_returned: sum(|counters| counters.told_returned),
            told_killed: sum(|counters| counters.told_killed),
            late: sum(|counters| counters.late_dropped),
            foreseen: self.foreseen,
            foreseen_choices: self.foreseen_choices,
            prepared: self.prepared,
            carried: self.carried,
            brought_back: self.brought_back,
            lost: self.lost,
            started_early: self.started_early,
            given: self.given,
            reads_judged: self.reads_judged,
            looks: self.proven.looks,
            full: self.proven.full,
            rooms: self.rooms,
            closed: (self.proven.closed, self.proven.closed_for_answers),
            steps: self.steps,
            ..Tally::default()
        };
        self.judge_told_apart(&tally);
        self.count_constructs(&mut tally.constructs);
        if tally.failed + tally.cancelled == 0 && self.lost_workers.is_empty() {
            self.judge_counters(&tally);
        }
        tally
    }

    /// What was told has come back, was killed, or went with its executor.
    fn judge_told_apart(&self, tally: &Tally) {
        let Faults {
            lies,
            deaths,
            start_errors,
            crashes,
            ..
        } = self.scenario.faults;
        let apart = tally.told_returned + tally.told_killed;
        let all = lies + deaths + start_errors + crashes == 0;
        assert!(
            apart == tally.told || !all && apart < tally.told,
            "{} were told, {} came back, {} were killed",
            tally.told,
            tally.told_returned,
            tally.told_killed
        );
    }

    /// How many parts regions have beyond one each, of those that began or of those that were skipped: each part counts.
    fn further_parts(&self, began: bool) -> u64 {
        let judged = self.asked.iter().zip(&self.verdicts);
        let of = |(asked, verdict): (&Asked, &Option<Verdict>)| {
            let deployed = &self.scenario.deployments[asked.deployment];
            let regions = verdict.iter().flat_map(|verdict| &verdict.regions);
            let regions = regions.filter(|(_, has_begun)| *has_begun == began);
            regions
                .map(|(region, _)| deployed.parts(*region) - 1)
                .sum::<u64>()
        };
        judged.map(of).sum()
    }

    /// Where nothing has failed, everything is counted once.
    fn judge_counters(&self, tally: &Tally) {
        let sum = |of: fn(&CoreCounters) -> u64| {
            let counters = self.lanes.iter().map(|lane| lane.core.counters());
            counters.map(|counters| of(&counters)).sum::<u64>()
        };
        let verdicts = || self.verdicts.iter().flatten();
        let counted = |of: fn(&Counts) -> u64| verdicts().map(|one| of(&one.counts)).sum::<u64>();
        let skipped = counted(|counts| counts.skipped) + self.further_parts(false);
        assert_eq!(sum(|counters| counters.skipped), skipped);
        let ran = counted(|counts| counts.ran) + self.further_parts(true);
        assert_eq!(sum(|counters| counters.triggers), ran);
        let caught = counted(|counts| counts.caught);
        assert_eq!(sum(|counters| counters.caught), caught);
        let least = self.doubled + verdicts().map(|verdict| verdict.late.0).sum::<u64>();
        let most = self.doubled + verdicts().map(|verdict| verdict.late.1).sum::<u64>();
        assert!(
            (least..=most).contains(&tally.late),
            "{} dropped as late, not {least} to {most}",
            tally.late
        );
    }
}

/// Profiles count every activation and every failed attempt that executors had, and nothing else.
fn judge_profiles(index: usize, lane: &Lane) {
    for ((id, node), attempts) in &lane.attempts {
        let Some(profile) = lane.core.profile(*id, 0, usize::MAX) else {
            continue;
        };
        let counted = profile.nodes.iter().find(|counted| counted.id == *node);
        let counted = counted.map(|counted| (counted.activations, counted.failures));
        let seen = (attempts.first, attempts.all - attempts.well);
        assert_eq!(counted, Some(seen), "node {node} on lane {index}");
    }
}
