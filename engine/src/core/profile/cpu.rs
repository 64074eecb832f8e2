//! Which attempts their executors are to measure, and what becomes of what they say.
//!
//! An executor that is asked to measures CPU time and waits for a CPU, before a function and after it: 3.3 µs together, of
//! which all but 50 ns are four system calls. So it is asked only in measured invocations, and only for nodes that take so
//! long that this is less than a hundredth: what short functions take is as before, and so is what the lane does for them.

use super::Profile;
use crate::core::pool::Running;
use crate::core::program::LocalNode;
use crate::core::{Core, Start};
use faasstore::descriptor::CpuUse;

/// A node's attempts are measured if they have taken so long of late: 120 times what it costs.
const LONG_NS: u64 = 400_000;
/// An attempt counts for an eighth of what is known of those before.
const WEIGHT: u64 = 8;

/// How long a node's attempts take of late, in nanoseconds. 0: none that was measured has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent(u64);

impl Recent {
    fn add(&mut self, run_ns: u64) {
        self.0 = match self.0 {
            0 => run_ns.max(1),
            before => before - before / WEIGHT + run_ns / WEIGHT,
        };
    }

    /// Whether the next one is worth measuring: nothing is known yet, or they are long.
    fn is_worth_it(self) -> bool {
        self.0 == 0 || self.0 >= LONG_NS
    }
}

impl Profile {
    fn ran(&mut self, node: LocalNode, run_ns: u64) {
        self.recent[node as usize].add(run_ns);
    }
}

impl Core {
    /// Whether the executor is to measure what it is started for. It depends on what has ended before, and changes nothing: to
    /// be asked when the request is written.
    #[inline]
    #[must_use]
    pub fn measures(&self, start: &Start) -> bool {
        self.timed > 0 && self.measures_now(start)
    }

    fn measures_now(&self, start: &Start) -> bool {
        let root = self.invocations[start.place as usize].root;
        let invocation = &self.invocations[root as usize];
        let deployment = self.deployments[invocation.deployment as usize].as_ref();
        let worth_it = deployment
            .is_some_and(|deployment| deployment.profile.recent[start.node as usize].is_worth_it());
        invocation.sample.is_some() && worth_it
    }

    /// An attempt of a measured invocation has ended well after so long, and its executor may have measured it.
    pub(super) fn profile_cpu(&mut self, running: &Running, run_ns: u64, cpu: Option<CpuUse>) {
        let root = self.invocations[running.place as usize].root;
        let invocation = &self.invocations[root as usize];
        let era = invocation.sample.as_ref().map(|sample| sample.era);
        let Some(deployment) = self.deployments[invocation.deployment as usize].as_mut() else {
            return;
        };
        let profile = &mut deployment.profile;
        if era != Some(profile.era) {
            return;
        }
        profile.ran(running.node, run_ns);
        if let Some(cpu) = cpu {
            let measures = profile.measures(running.node, &mut self.histograms_left);
            measures.cpu.record(run_ns, cpu);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_long_once_is_measured_until_it_is_known_to_be_short() {
        let mut recent = Recent::default();
        assert!(recent.is_worth_it(), "nothing is known");
        recent.add(0);
        assert!(!recent.is_worth_it());
        recent.add(WEIGHT * LONG_NS);
        assert!(recent.is_worth_it());
        (0..WEIGHT).for_each(|_| recent.add(1_000));
        assert!(!recent.is_worth_it());
        recent.add(u64::MAX);
        recent.add(u64::MAX);
        assert!(recent.is_worth_it(), "no time is too long");
    }
}
