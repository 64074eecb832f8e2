//! Where lanes and executors run: which CPU each gets, and what follows when there are more of them than CPUs.
//!
//! Lanes take the first CPUs of the worker's list, one each. The first executor of a pool goes where `--executors`
//! or the calibration says, further ones to the CPUs that the fewest others use.

use crate::status::{Calibration, ExecutorPlacement, PlacementStatus};
use faasstore::binding::WaitStrategy;
use std::collections::BTreeMap;

/// How long an adaptive wait polls where nothing could be measured, in nanoseconds.
const SPIN_BUDGET_DEFAULT_NS: u64 = 20_000;
/// Bounds of a measured budget, in nanoseconds: below, the clock costs more than the poll; above, an idle worker
/// would no longer look idle.
const SPIN_BUDGET_NS: std::ops::RangeInclusive<u64> = 2_000..=200_000;

/// Which CPU each lane and executor gets. The control thread owns it.
#[derive(Debug)]
pub struct Placement {
    cpus: Vec<u32>,
    lanes: usize,
    wait: WaitStrategy,
    status: PlacementStatus,
    executors: BTreeMap<u32, u32>,
}

/// Where an executor runs, and how it waits there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The CPU.
    pub cpu: u32,
    /// How it waits. Only an executor with a CPU of its own may poll: elsewhere it would keep from its CPU what it waits
    /// for.
    pub wait: WaitStrategy,
}

impl Placement {
    /// Decides where first executors go. `cpus` holds at least `lanes` CPUs, and one.
    #[must_use]
    pub fn new(
        cpus: Vec<u32>,
        lanes: u8,
        wait: WaitStrategy,
        configured: ExecutorPlacement,
        calibration: &Calibration,
    ) -> Self {
        assert!(
            !cpus.is_empty() && usize::from(lanes) <= cpus.len(),
            "{lanes} lanes on {} CPUs",
            cpus.len()
        );
        let (first, reason) = decide(cpus.len(), wait, configured, calibration);
        let status = PlacementStatus {
            configured,
            first,
            reason,
        };
        Self {
            cpus,
            lanes: lanes.into(),
            wait,
            status,
            executors: BTreeMap::new(),
        }
    }

    /// The CPU of a lane.
    #[must_use]
    pub fn lane_cpu(&self, lane: u8) -> u32 {
        self.cpus[usize::from(lane) % self.cpus.len()]
    }

    /// How lanes wait. An adaptive one parks at once where the first executors share its CPU: they run only when it
    /// sleeps, so that polling would put off what it polls for.
    #[must_use]
    pub fn lane_wait(&self) -> WaitStrategy {
        match (self.wait, self.status.first) {
            (WaitStrategy::Adaptive, ExecutorPlacement::Same) => WaitStrategy::Park,
            (wait, _) => wait,
        }
    }

    /// As configured and as decided.
    #[must_use]
    pub const fn status(&self) -> &PlacementStatus {
        &self.status
    }

    /// Whether lanes that poll must yield: no CPU is left for executors.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.wait == WaitStrategy::Spin
            && (self.lanes >= self.cpus.len() || self.status.first == ExecutorPlacement::Same)
    }

    /// A seat for an executor of `lane`, the `ordinal`-th of its pool there, from 0. Give it back with
    /// [`Placement::leave`].
    pub fn seat(&mut self, lane: u8, ordinal: usize) -> Seat {
        let own = self.lane_cpu(lane);
        let cpu = match (self.status.first, self.status.configured) {
            (ExecutorPlacement::Same, ExecutorPlacement::Same) => own,
            (ExecutorPlacement::Same, _) if ordinal == 0 => own,
            _ => self.least_used(own),
        };
        let shared = self
            .executors
            .get(&cpu)
            .is_some_and(|executors| *executors > 0)
            || (0..self.lanes).any(|lane| self.cpus[lane] == cpu);
        *self.executors.entry(cpu).or_default() += 1;
        let wait = if shared {
            WaitStrategy::Park
        } else {
            self.wait
        };
        Seat { cpu, wait }
    }

    /// Gives a seat back.
    pub fn leave(&mut self, cpu: u32) {
        if let Some(executors) = self.executors.get_mut(&cpu) {
            *executors = executors.saturating_sub(1);
        }
    }

    /// The CPU with the fewest executors, those without a lane before those with one, and the lane's own last.
    fn least_used(&self, own: u32) -> u32 {
        let used = |cpu: &u32| self.executors.get(cpu).copied().unwrap_or(0);
        let (lanes, free) = self.cpus.split_at(self.lanes);
        let candidates = if free.is_empty() { lanes } else { free };
        let chosen = candidates
            .iter()
            .min_by_key(|cpu| (used(cpu), **cpu == own));
        chosen.copied().unwrap_or(own)
    }
}

fn decide(
    cpus: usize,
    wait: WaitStrategy,
    configured: ExecutorPlacement,
    calibration: &Calibration,
) -> (ExecutorPlacement, String) {
    use ExecutorPlacement::{Auto, Same, Spread};
    match (
        configured,
        calibration.wake_same_cpu_ns,
        calibration.wake_across_cpus_ns,
    ) {
        (Same | Spread, ..) => (configured, "as --executors says".to_owned()),
        (Auto, ..) if cpus == 1 => (Same, "there is one CPU".to_owned()),
        (Auto, ..) if wait == WaitStrategy::Spin => (
            Spread,
            "each polling thread needs a CPU of its own".to_owned(),
        ),
        (Auto, Some(same), Some(across)) => {
            let first = if same <= across { Same } else { Spread };
            (
                first,
                format!("a wake costs {same} ns on the same CPU and {across} ns across CPUs"),
            )
        }
        (Auto, ..) => (
            Same,
            "wakes could not be measured, and are mostly cheaper on the same CPU".to_owned(),
        ),
    }
}

/// How long an adaptive wait polls before it parks, in nanoseconds: as long as being woken from another CPU costs (on a
/// shared CPU nobody polls). Then it never costs more than twice what the best choice in hindsight would have.
#[must_use]
pub fn spin_budget_ns(configured: Option<u64>, calibration: &Calibration) -> u64 {
    let measured = calibration.wake_across_cpus_ns;
    let clamp = |ns: u64| ns.clamp(*SPIN_BUDGET_NS.start(), *SPIN_BUDGET_NS.end());
    configured.unwrap_or_else(|| measured.map_or(SPIN_BUDGET_DEFAULT_NS, clamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExecutorPlacement::{Auto, Same, Spread};
    use WaitStrategy::{Adaptive, Park, Spin};

    const CHEAP_SAME: Calibration = Calibration {
        ring_transfer_ns: Some(75),
        wake_same_cpu_ns: Some(2_500),
        wake_across_cpus_ns: Some(21_000),
        tcp_one_way_ns: None,
        took_ns: 1,
    };

    fn placement(cpus: &[u32], wait: WaitStrategy, configured: ExecutorPlacement) -> Placement {
        Placement::new(cpus.to_vec(), 1, wait, configured, &CHEAP_SAME)
    }

    #[test]
    fn auto_takes_the_cheaper_wake_first_and_spreads_the_rest() {
        let mut placement = placement(&[4, 5, 6], Park, Auto);
        let cpus: Vec<_> = (0..4)
            .map(|ordinal| placement.seat(0, ordinal).cpu)
            .collect();
        assert_eq!(cpus, [4, 5, 6, 5]);
        let dear = Calibration {
            wake_same_cpu_ns: Some(30_000),
            ..CHEAP_SAME
        };
        assert_eq!(
            Placement::new(vec![0, 1], 1, Park, Auto, &dear)
                .seat(0, 0)
                .cpu,
            1
        );
    }

    #[test]
    fn a_spinning_executor_has_a_cpu_of_its_own_or_parks() {
        let mut placement = placement(&[0, 1], Spin, Auto);
        assert!(!placement.is_crowded());
        assert_eq!(placement.seat(0, 0), Seat { cpu: 1, wait: Spin });
        assert_eq!(placement.seat(0, 1), Seat { cpu: 1, wait: Park });
        placement.leave(1);
        placement.leave(1);
        assert_eq!(placement.seat(0, 0), Seat { cpu: 1, wait: Spin });

        let mut one = Placement::new(vec![0], 1, Spin, Spread, &CHEAP_SAME);
        assert!(one.is_crowded());
        assert_eq!(one.seat(0, 0), Seat { cpu: 0, wait: Park });
    }

    #[test]
    fn same_means_the_lane_s_own_cpu() {
        let mut placement = Placement::new(vec![0, 1, 2], 2, Adaptive, Same, &CHEAP_SAME);
        assert_eq!(placement.lane_cpu(1), 1);
        assert_eq!([placement.seat(1, 0).cpu, placement.seat(1, 1).cpu], [1, 1]);
    }

    #[test]
    fn polling_lasts_as_long_as_a_wake_costs() {
        assert_eq!(spin_budget_ns(None, &CHEAP_SAME), 21_000);
        assert_eq!(spin_budget_ns(Some(7), &CHEAP_SAME), 7);
        assert_eq!(
            spin_budget_ns(None, &Calibration::default()),
            SPIN_BUDGET_DEFAULT_NS
        );
    }

    #[test]
    fn nobody_polls_on_a_cpu_that_what_it_waits_for_needs() {
        let mut same = placement(&[0, 1], Adaptive, Auto);
        assert_eq!(same.lane_wait(), Park);
        assert_eq!(same.seat(0, 0), Seat { cpu: 0, wait: Park });
        assert_eq!(
            same.seat(0, 1),
            Seat {
                cpu: 1,
                wait: Adaptive
            }
        );
        assert_eq!(placement(&[0, 1], Adaptive, Spread).lane_wait(), Adaptive);
    }
}
