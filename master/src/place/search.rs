//! The default partitioner: a first answer by list scheduling, then better ones by local search, each scored by the
//! [estimator](super::estimate).
//!
//! 1. HEFT's placement is the first answer.
//! 2. The published placement, up to [`PUBLISHED_NODES_MAX`] nodes and [`PUBLISHED_EDGES_MAX`] edges, and that by hash.
//! 3. If there are few placements, all are [looked at](exact).
//! 4. Clusters: edges are taken in falling weight, and the clusters at their ends merged while together they have no more work
//!    than a worker's share (edge zeroing: Sarkar, 1989). Each cluster then goes as a whole, by earliest finish. Several shares
//!    are tried.
//! 5. From the best of these, simulated [annealing](anneal) (Kirkpatrick, Gelatt and Vecchi, Science 1983): a change that makes
//!    it worse is kept by a chance that falls with how much worse it is, and with the steps that are used up. Most changes are to
//!    what the makespan hangs on: the critical chain. The first rounds go by [sketches](super::sketch), the last one by
//!    simulations.
//!
//! Each simulation is a step, and so are [`SKETCHES_OF_STEP`] sketches, or as many looks at a placement in the making. The same
//! seed and the same number of steps give the same placement. What it returns is the one with the fewest bytes that cross, of
//! those that are hardly longer than the [shortest](front).

mod anneal;
mod exact;
mod front;
mod moves;

use super::cost::{Model, Work};
use super::estimate::{Cause, Simulator, Span};
use super::list;
use super::room::Wants;
use super::{Effort, pack};
use crate::random::Random;
#[cfg(test)]
pub(super) use exact::Bound;
use front::{Front, Score};
use std::time::{Duration, Instant};

/// Nodes and edges up to which the published placement is among those tried.
pub(super) const PUBLISHED_NODES_MAX: usize = 10_000;
pub(super) const PUBLISHED_EDGES_MAX: usize = 1_000_000;
/// Placements up to which all are looked at.
pub(super) const ALL_MAX: u64 = 200_000;
/// Sketches, and placements in the making, that count as a step.
const SKETCHES_OF_STEP: u32 = 24;
/// Steps if nothing is said: what is simulated in a second or so on one CPU, and how many there are at least and at most.
const EVENTS_IN_ALL: u64 = 6_000_000;
const STEPS: std::ops::RangeInclusive<u64> = 20..=30_000;

/// What a search has found.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) placed: Vec<u32>,
    pub(super) score: Score,
    pub(super) steps: u64,
    /// Whether all placements were looked at.
    pub(super) exhausted: bool,
}

/// A search that goes on while it may.
pub(super) struct Search<'m, 'w> {
    model: &'m Model,
    wants: &'w Wants,
    simulator: Simulator<'m>,
    effort: Effort,
    began: Instant,
    front: Front,
    steps: u64,
    /// Where it ends, by steps and by time.
    steps_max: u64,
    budget: Option<Duration>,
    exhausted: bool,
    /// Whether workers, or the links between them, differ.
    unlike: bool,
    random: Random,
}

impl<'m, 'w> Search<'m, 'w> {
    pub(super) fn new(model: &'m Model, wants: &'w Wants, effort: Effort, began: Instant) -> Self {
        let Effort {
            steps,
            budget,
            seed,
        } = effort;
        let steps_max = match (steps, budget) {
            (Some(steps), _) => steps,
            (None, Some(_)) => u64::MAX,
            (None, None) => steps_for(model),
        };
        let mut pairs = model.workers.windows(2);
        let unlike = !model.uniform || pairs.any(|pair| pair[0] != pair[1]);
        Self {
            model,
            wants,
            unlike,
            simulator: Simulator::new(model),
            random: Random::new(seed),
            effort,
            began,
            front: Front::default(),
            steps: 0,
            steps_max,
            budget,
            exhausted: false,
        }
    }

    /// The placement that is chosen; none if nothing was offered.
    pub(super) fn into_best(self) -> Option<Best> {
        let (score, placed) = self.front.chosen()?;
        Some(Best {
            placed: placed.clone(),
            score: *score,
            steps: self.steps,
            exhausted: self.exhausted,
        })
    }

    /// The shortest makespan that was seen.
    pub(super) fn shortest_ns(&self) -> Option<f64> {
        Some(self.front.shortest()?.0.makespan_ns)
    }

    /// Scores a placement, and keeps it if it is among the best.
    pub(super) fn offer(&mut self, placed: &[u32]) -> Score {
        let score = Score {
            makespan_ns: self.simulator.makespan_ns(placed),
            crossing_bytes: self.model.crossing_bytes(placed),
        };
        self.steps += 1;
        self.front.offer(score, placed);
        score
    }

    /// Offers what another partitioner has found: nothing longer is chosen.
    pub(super) fn offer_answer(&mut self, placed: &[u32]) {
        let score = self.offer(placed);
        self.front.not_longer_than(score.makespan_ns);
    }

    /// That there is no choice is all that is to be known of the answer.
    pub(super) fn settle(&mut self) {
        self.exhausted = true;
    }

    /// Placements of clusters.
    pub(super) fn try_clusters(&mut self) {
        let workers = self.model.workers.len();
        let work: f64 = self
            .model
            .units
            .iter()
            .map(|unit| unit.busy_ns.max(unit.least_ns))
            .sum();
        let order = self.edges_by_weight();
        for parts in [1.0, 2.0, 4.0, 16.0] {
            if !self.may_go_on() {
                return;
            }
            let limit_ns = work / (workers as f64 * parts);
            let clusters = clusters(self.model, &order, limit_ns);
            let room = list::heft_of_clusters(self.model, self.wants, &clusters);
            self.offer_wished(&room.placed);
        }
    }

    /// Offers what comes nearest to a placement that may break limits, or leave units nowhere; nothing, if none is found.
    fn offer_wished(&mut self, wished: &[u32]) {
        if let Ok(room) = pack::pack(self.wants, self.model.workers.len(), wished) {
            self.offer(&room.placed);
        }
    }

    /// The same of what another partitioner wishes.
    pub(super) fn offer_answer_wished(&mut self, wished: &[u32]) {
        if let Ok(room) = pack::pack(self.wants, self.model.workers.len(), wished) {
            self.offer_answer(&room.placed);
        }
    }

    /// The heaviest first, as producer and consumer.
    fn edges_by_weight(&self) -> Vec<(u32, u32)> {
        let mut edges: Vec<(f64, u32, u32)> = Vec::with_capacity(self.model.successors.len());
        for unit in 0..self.model.units.len() as u32 {
            for edge in self.model.successors.get(unit) {
                edges.push((edge.bytes, unit, edge.unit));
            }
        }
        edges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        edges.into_iter().map(|(_, from, to)| (from, to)).collect()
    }

    /// Whether steps and time are left.
    pub(super) fn may_go_on(&self) -> bool {
        let in_time = |budget| self.began.elapsed() < budget;
        self.steps < self.steps_max && self.budget.is_none_or(in_time)
    }

    /// When the time is used up, if it is limited.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.began + self.budget?)
    }

    /// How much of what it may use is used up, 0 to 1. With a number of steps time plays no part, so that what is found depends on
    /// it only by when it ends.
    fn progress(&self) -> f64 {
        let used = match (self.effort.steps, self.budget) {
            (None, Some(budget)) => {
                self.began.elapsed().as_secs_f64() / budget.as_secs_f64().max(1e-9)
            }
            _ => self.steps as f64 / self.steps_max as f64,
        };
        used.min(1.0)
    }

    /// Until the end of a part half of what is left may be used. If nothing is said of how much that is, it is what the part needs
    /// in a second or so, and it counts for itself.
    fn begin_part(&mut self) {
        match self.effort {
            Effort { steps: Some(_), .. } => {
                self.steps_max -= (self.steps_max.saturating_sub(self.steps)) / 2;
            }
            Effort { budget: None, .. } => {
                self.steps_max =
                    self.steps + (EVENTS_IN_ALL / events(self.model)).max(*STEPS.start());
            }
            _ => {}
        }
        if let Some(budget) = &mut self.budget {
            *budget -= budget.saturating_sub(self.began.elapsed()) / 2;
        }
    }

    /// Ends a part that began after so many steps.
    fn end_part(&mut self, began: u64) {
        self.steps_max = match self.effort {
            Effort {
                steps: Some(steps), ..
            } => steps,
            Effort { budget: None, .. } => steps_for(self.model) + self.steps - began,
            _ => u64::MAX,
        };
        self.budget = self.effort.budget;
    }
}

/// Steps if nothing is said: as many as a second or so on one CPU has time for.
pub(super) fn steps_for(model: &Model) -> u64 {
    (EVENTS_IN_ALL / events(model)).clamp(*STEPS.start(), *STEPS.end())
}

/// What happens in a simulation: as long as it takes, in something like a tenth of a microsecond.
fn events(model: &Model) -> u64 {
    let tasks = model.units.iter().map(|unit| match &unit.work {
        Work::Node(_) => 1,
        Work::Region(region) => {
            let region = &model.regions[*region as usize];
            u64::from(region.items) * region.steps.len() as u64
        }
    });
    let tasks: u64 = tasks.sum();
    let edges = model.successors.len() as u64;
    (model.scenarios.len() as u64 * (tasks + edges)).max(1)
}

/// From what ends last backwards: each unit of the critical chain, with what made it begin no earlier.
pub(super) fn critical_chain(spans: &[Span]) -> Vec<(u32, Cause)> {
    let last = (0..spans.len()).max_by(|a, b| spans[*a].ended_ns.total_cmp(&spans[*b].ended_ns));
    let mut chain = Vec::new();
    let mut next = last.map(|unit| unit as u32);
    while let Some(unit) = next {
        let span = &spans[unit as usize];
        let waited = matches!(span.began, Cause::Executor(_));
        let cause = if waited { span.began } else { span.ready };
        chain.push((unit, cause));
        next = match cause {
            Cause::Start => None,
            Cause::Unit(by) | Cause::Arrival(by) | Cause::Executor(by) => Some(by),
        };
        if chain.len() > spans.len() {
            break;
        }
    }
    chain
}

/// The cluster of each unit, by the number of one of its units: merged along the heaviest edges while the work of a cluster
/// stays within a limit.
fn clusters(model: &Model, edges: &[(u32, u32)], limit_ns: f64) -> Vec<u32> {
    let mut parent: Vec<u32> = (0..model.units.len() as u32).collect();
    let mut work: Vec<f64> = model
        .units
        .iter()
        .map(|unit| unit.busy_ns.max(unit.least_ns))
        .collect();
    for (from, to) in edges {
        let (a, b) = (root(&mut parent, *from), root(&mut parent, *to));
        let sum = work[a as usize] + work[b as usize];
        if a != b && sum <= limit_ns {
            parent[b.max(a) as usize] = a.min(b);
            work[a.min(b) as usize] = sum;
        }
    }
    (0..model.units.len() as u32)
        .map(|unit| root(&mut parent, unit))
        .collect()
}

fn root(parent: &mut [u32], mut of: u32) -> u32 {
    while parent[of as usize] != of {
        let above = parent[of as usize];
        parent[of as usize] = parent[above as usize];
        of = above;
    }
    of
}
