//! Deployments with several placements: which of them a door has to choose, worked out from what its lane was told.

use super::Cluster;
use super::lane::Lane;
use crate::plans::worker_name;
use engine::core::worker_hash;
use engine::plan::{Balance, DeploymentId};
use engine::wire::Load;
use std::collections::BTreeMap;
use std::ops::Range;

/// In a thousand steps: a lane says on a silent link what it has to do.
const HEARTBEATS: u32 = 30;

/// What one lane knows of placements, as this simulation keeps it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By deployment, which is the place of its first placement: the placement whose turn it is.
    turns: BTreeMap<usize, usize>,
    /// By placement and lane: what that has told.
    told: BTreeMap<(usize, usize), Load>,
    /// By placement: the numbers of invocations that were given to it.
    given: BTreeMap<usize, Vec<u64>>,
    /// By placement: of those, how many are not answered.
    in_flight: BTreeMap<usize, u32>,
    /// By worker: the latest life of which it was told.
    epochs: BTreeMap<usize, u32>,
}

impl Known {
    /// A door is open to a deployment.
    pub(super) fn opened(&mut self, first: usize, turn: usize) {
        self.turns.insert(first, turn);
    }

    /// A worker has connected in this life of its.
    pub(super) fn connected(&mut self, worker: usize, epoch: u32) {
        let known = self.epochs.entry(worker).or_default();
        *known = epoch.max(*known);
    }

    /// An invocation is answered.
    pub(super) fn answered(&mut self, placement: usize) {
        if let Some(in_flight) = self.in_flight.get_mut(&placement) {
            *in_flight -= 1;
        }
    }

    /// A lane was lost, with all that was given to placements in which it takes part.
    fn lost(&mut self, placement: usize, lane: usize) {
        self.told.remove(&(placement, lane));
        self.given.remove(&placement);
    }

    fn hear(&mut self, placement: usize, from: usize, load: Load) {
        let known = self.told.entry((placement, from)).or_insert(load);
        if load.begun_next >= known.begun_next {
            *known = load;
        }
    }
}

/// A number of activations for each so many executors.
type Fullness = (u64, u64);

/// Whether one more has more before it for each executor, itself counted.
fn fuller(a: Fullness, b: Fullness) -> bool {
    (a.0 + 1) * b.1 > (b.0 + 1) * a.1
}

impl Cluster {
    /// All placements of the deployment whose first one this is.
    pub(super) fn placements(&self, first: usize) -> Range<usize> {
        let count = self.scenario.deployments[first].name.replica.count;
        first..first + usize::from(count)
    }

    /// The first placement that a door tries once it is open.
    pub(super) fn first_turn(&self, lane: usize, first: usize) -> usize {
        let Lane { worker, number, .. } = self.lanes[lane];
        (worker + usize::from(number)) % self.placements(first).len()
    }

    /// The lanes of other workers in which an invocation of this lane runs, if it is of that placement.
    fn lanes_of(&self, lane: usize, placement: usize) -> Vec<usize> {
        let taker = &self.lanes[lane];
        let plan = &self.scenario.deployments[placement].plans[taker.worker];
        let parts = plan
            .participants
            .iter()
            .map(|part| usize::from(part.worker));
        let others = parts.filter(|worker| *worker != taker.worker);
        let lane_of = |worker: usize| {
            let number = taker.number % self.scenario.lanes[worker];
            let mut all = self.lanes.iter();
            all.position(|lane| (lane.worker, lane.number) == (worker, number))
        };
        others.filter_map(lane_of).collect()
    }

    /// Whether a door can give an invocation to a placement.
    fn can_take(&self, lane: usize, placement: usize) -> bool {
        let known = &self.lanes[lane].known;
        let limits = self.scenario.deployments[placement].plans[0].limits;
        let in_flight = known.in_flight.get(&placement).copied().unwrap_or(0);
        let outlived = |other: &usize| {
            let epoch = known.epochs.get(&self.lanes[*other].worker);
            epoch.is_some_and(|epoch| *epoch > 1)
        };
        let others = self.lanes_of(lane, placement);
        in_flight < limits.in_flight_max
            && !others.iter().any(outlived)
            && !self.is_cut_off(lane, placement)
    }

    /// How full a placement is, as far as that lane can know.
    fn fullness(&self, lane: usize, placement: usize) -> Fullness {
        let Lane { known, core, .. } = &self.lanes[lane];
        let id = self.scenario.deployments[placement].name.id;
        // What it has to do itself, it knows; others that have told nothing are taken for one executor that idles.
        let here = core.load_for(id, 0, 0);
        let here = here.map_or((0, u16::MAX.into()), |load| {
            (load.active.into(), load.executors.into())
        });
        let given = known.given.get(&placement).map_or(&[][..], Vec::as_slice);
        let there = self.lanes_of(lane, placement).into_iter().map(|other| {
            let told = known.told.get(&(placement, other));
            let (active, executors, counted) = told.map_or((0, 1, 0), |load| {
                (load.active.into(), load.executors.into(), load.begun_next)
            });
            let since = given.iter().filter(|number| **number >= counted).count();
            (active + since as u64, executors)
        });
        there.fold(here, |a, b| if fuller(b, a) { b } else { a })
    }

    /// The placement that a door has to choose; none if no placement can take an invocation.
    pub(super) fn due_placement(&self, lane: usize, first: usize) -> Option<usize> {
        let all = self.placements(first);
        let turn = self.lanes[lane].known.turns.get(&first).copied()?;
        let in_turn = (0..all.len()).map(|step| first + (turn + step) % all.len());
        let mut able = in_turn.filter(|placement| self.can_take(lane, *placement));
        let next = able.next()?;
        match self.scenario.deployments[first].name.replica.balance {
            Balance::Load if all.len() > 1 => {
                let fullness = |placement: usize| self.fullness(lane, placement);
                let less = |least: usize, other: usize| {
                    if fuller(fullness(least), fullness(other)) {
                        other
                    } else {
                        least
                    }
                };
                Some(able.fold(next, less))
            }
            _ => Some(next),
        }
    }

    /// A door has given an invocation to a placement: the one that it had to choose.
    pub(super) fn judge_placement(
        &mut self,
        lane: usize,
        due: usize,
        chosen: Option<DeploymentId>,
    ) {
        let chosen = chosen.map(|id| self.deployment(id));
        assert_eq!(chosen, Some(due), "the placement that lane {lane} chose");
        let first = due + 1 - usize::from(self.scenario.deployments[due].name.replica.number);
        let all = self.placements(first);
        let id = self.lanes[lane].core.next_sequence() - 1;
        let known = &mut self.lanes[lane].known;
        let turn = known.turns.insert(first, (due + 1 - first) % all.len());
        known.given.entry(due).or_default().push(id);
        *known.in_flight.entry(due).or_default() += 1;
        self.chosen.replica |= due > first;
        let in_turn = turn.map(|turn| first + turn);
        let by_load = self.scenario.deployments[due].name.replica.is_by_load();
        if in_turn != Some(due) {
            let passed = in_turn.is_some_and(|placement| !self.can_take(lane, placement));
            self.chosen.passed |= passed;
            self.chosen.by_load |= by_load && !passed;
        }
    }

    /// A lane learns that another one is lost.
    pub(super) fn loses(&mut self, lane: usize, other: usize, now_ns: u64, cause: &str) {
        let all = 0..self.scenario.deployments.len();
        for placement in all {
            if self.lanes_of(lane, placement).contains(&other) {
                self.lanes[lane].known.lost(placement, other);
            }
        }
        let (name, number) = (self.worker_name(other), self.lanes[other].number);
        let core = &mut self.lanes[lane].core;
        core.peer_lost(now_ns, &name, number, cause);
    }

    /// What is told with a message.
    pub(super) fn load_told(&self, from: usize, to: usize, id: DeploymentId) -> Option<Load> {
        let Lane { worker, number, .. } = self.lanes[to];
        let hash = worker_hash(&worker_name(worker));
        self.lanes[from].core.load_for(id, hash, number)
    }

    /// A lane is told what another has to do for a placement.
    pub(super) fn hear_load(&mut self, from: usize, to: usize, id: DeploymentId, load: Load) {
        let Lane { worker, number, .. } = self.lanes[from];
        let placement = self.deployment(id);
        if self.lanes[to].deployed.contains(&id) {
            self.lanes[to].known.hear(placement, from, load);
        }
        if self.hears_loads() {
            let hash = worker_hash(&worker_name(worker));
            self.lanes[to].core.hear_load(id, hash, number, load);
        }
    }

    /// Now and then a lane says on a silent link what it has to do.
    pub(super) fn a_lane_tells_its_load(&mut self) {
        if self.links.is_empty() || !self.random.chance(HEARTBEATS) {
            return;
        }
        let link = self.random.below(self.links.len());
        let Some((from, to)) = self.links[link].is_silent() else {
            return;
        };
        let Lane { worker, number, .. } = self.lanes[to];
        let hash = worker_hash(&worker_name(worker));
        for (id, load) in self.lanes[from].core.loads_for(hash, number) {
            self.hear_load(from, to, id, load);
        }
    }
}

/// What this run's doors have chosen.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Chosen {
    /// A placement that is not the first.
    pub(super) replica: bool,
    /// By load, another than the one whose turn it was.
    pub(super) by_load: bool,
    /// Another, since the one whose turn it was could not take it.
    pub(super) passed: bool,
}
