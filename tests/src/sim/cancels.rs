//! Clients that take back what they have asked for, at any moment: while it runs, when it is over and its answer is not
//! read, and what was never theirs.

use super::Cluster;
use super::clients::Outcome;
use super::lane::{GRACE_NS, State};
use engine::core::{ClientId, CoreCounters};
use faasstore::descriptor::InvocationId;

/// In a thousand cancels: those that name a request of another client.
const STRANGERS: u32 = 100;

impl Cluster {
    /// A client cancels: what is under way is answered at once, and of anything else nothing changes.
    pub(super) fn a_client_cancels(&mut self) {
        let there = |asked: &super::Asked| asked.outcome != Outcome::Cut;
        let open = |asked: &super::Asked| asked.outcome == Outcome::Open;
        let numbers = |of: &dyn Fn(&super::Asked) -> bool| -> Vec<usize> {
            let asked = self.asked.iter().enumerate();
            asked.filter(|(_, one)| of(one)).map(|(n, _)| n).collect()
        };
        // Most of what could be cancelled is over, and of little interest.
        let (open, all) = (numbers(&open), numbers(&there));
        let numbers = match open.is_empty() || self.random.chance(100) {
            true => all,
            false => open,
        };
        if numbers.is_empty() {
            return;
        }
        let number = self.random.pick(&numbers);
        let stranger = self.random.chance(STRANGERS);
        let asked = &self.asked[number];
        let (lane, under_way) = (asked.lane, asked.id.filter(|_| !asked.is_over()));
        let due = under_way.filter(|_| !stranger);
        if !self.hears_cancel() {
            self.asked[number].cancelled = due.map(|_| self.now());
            return;
        }
        let client = ClientId(number as u64 + 7 + u64::from(stranger));
        let runs = self.runs_of(lane, asked.id);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let core = &mut self.lanes[lane].core;
        let before = core.counters();
        let told = core.cancel(now_ns, client, number as u64);
        let expected = match due {
            Some(_) => CoreCounters {
                invocations_cancelled: before.invocations_cancelled + 1,
                invocations_failed: before.invocations_failed + 1,
                activations_told: before.activations_told + runs,
                ..before
            },
            None => CoreCounters {
                cancels_dropped: before.cancels_dropped + 1,
                ..before
            },
        };
        assert_eq!(told, due, "request {number}, stranger: {stranger}");
        assert_eq!(core.counters(), expected, "request {number}");
        assert_eq!(core.has_actions(), due.is_some(), "request {number}");
        if let Some(id) = due {
            self.asked[number].cancelled = Some(self.now());
            self.abort(lane, id);
        }
        self.act(lane);
    }

    /// How many activations of an invocation run on a lane.
    fn runs_of(&self, lane: usize, invocation: Option<InvocationId>) -> u64 {
        let executors = self.lanes[lane].executors.iter().flatten();
        let runs = executors.filter(|executor| match &executor.state {
            State::Running(run) => Some(run.invocation) == invocation,
            _ => false,
        });
        runs.count() as u64
    }

    /// What runs of an invocation that is over, as its lane knows, has its grace and no more.
    pub(super) fn judge_grace(&self, lane: usize) {
        let now_ns = self.lanes[lane].told_ns;
        for executor in self.lanes[lane].executors.iter().flatten() {
            if let State::Running(run) = &executor.state {
                let asked = &self.asked[self.by_id[&run.invocation]];
                let over_ns = asked.forgotten.get(&lane);
                let late = over_ns.is_some_and(|over_ns| over_ns + GRACE_NS <= now_ns);
                assert!(!late, "it runs beyond its grace: {run:?}");
            }
        }
    }
}
