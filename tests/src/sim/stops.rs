//! Executors that are told to stop: at once, when nothing else can have its result, and never for another one's sake. Some
//! obey, sooner or later, some do not.

use super::Cluster;
use super::lane::{Executor, GRACE_NS, Run, State, Word};
use engine::core::ExecutorId;
use engine::wire::Failure;
use faasstore::Cancelled;

/// In a thousand that are told: those that come back for it. The others do not even if they would have otherwise.
const OBEDIENT: u32 = 700;

/// What is to be told of an invocation that has ended so.
pub(super) fn why_over(failure: &Failure) -> Cancelled {
    match failure {
        Failure::Cancelled => Cancelled::ByClient,
        Failure::Timeout { .. } => Cancelled::TimedOut,
        _ => Cancelled::FailedElsewhere,
    }
}

impl Cluster {
    /// A core has an executor told that what it runs is to stop.
    pub(super) fn tell_to_stop(
        &mut self,
        lane: usize,
        id: ExecutorId,
        activation: u32,
        why: Cancelled,
    ) {
        let place = id.0 as usize;
        let (told_ns, obeys) = (self.lanes[lane].told_ns, self.random.chance(OBEDIENT));
        if let Some(run) = self.running(lane, place)
            && run.activation == activation
        {
            self.judge_reason(lane, &run, why);
        }
        let Some(executor) = self.lanes[lane].executors[place].as_mut() else {
            panic!("the core has an executor told that is not there");
        };
        executor.word = Some(Word {
            activation,
            told_ns,
            obeys,
        });
    }

    /// What is told is why the client was answered as it was, unless this lane has seen the end come before.
    fn judge_reason(&self, lane: usize, run: &Run, why: Cancelled) {
        let asked = &self.asked[self.by_id[&run.invocation]];
        let here = asked.has_failures()
            || asked.payload_refused
            || asked.payload_lost
            || !self.lost_workers.is_empty()
            || !self.refused_executables.is_empty();
        let alone = lane != asked.lane && here && why == Cancelled::FailedElsewhere;
        assert!(
            asked.why_over == Some(why) || alone,
            "told {why:?}, and its client {:?}: {run:?}",
            asked.why_over
        );
    }

    /// The word that concerns what an executor runs.
    pub(super) fn word_of<'a>(&self, executor: &'a Executor, run: &Run) -> Option<&'a Word> {
        let word = executor.word.as_ref()?;
        (word.activation == run.activation || self.tells_whoever_runs()).then_some(word)
    }

    /// Whether what runs may come back: it obeys, or was not told and does not hang.
    pub(super) fn may_return(&self, executor: &Executor, run: &Run) -> bool {
        self.word_of(executor, run)
            .map_or(!run.hangs, |word| word.obeys)
    }

    /// Once lanes have done what their cores want, all that runs there of what is over has been told, and nothing else.
    pub(super) fn judge_told(&mut self) {
        for lane in 0..self.lanes.len() {
            if std::mem::take(&mut self.lanes[lane].acted) {
                self.judge_told_at(lane);
            }
        }
    }

    fn judge_told_at(&self, lane: usize) {
        for executor in self.lanes[lane].executors.iter().flatten() {
            let State::Running(run) = &executor.state else {
                continue;
            };
            let told = self.word_of(executor, run).is_some();
            let asked = &self.asked[self.by_id[&run.invocation]];
            let over = asked.forgotten.contains_key(&lane);
            assert!(
                !told || !(run.waits() || run.waits_for_room()),
                "it is to stop, and waits: {run:?}"
            );
            // A lane that has lost sight of the entry worker knows by itself.
            let lost = told && lane != asked.lane && !self.lost_workers.is_empty();
            assert!(
                told == over || lost,
                "told: {told}, over: {over}, lane {lane}: {run:?}"
            );
        }
    }

    /// Nothing is ended for having been told before its grace is over.
    pub(super) fn judge_patience(&self, executor: &Executor, run: &Run) {
        let word = self.word_of(executor, run);
        let granted = word.is_some_and(|word| word.told_ns + GRACE_NS <= self.now_ns);
        assert!(granted, "ended before its grace was over: {run:?}");
    }
}
