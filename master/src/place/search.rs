//! The default partitioner: a first answer by list scheduling, then better ones by local search, each scored by the
//! [estimator](super::estimate).
//!
//! 1. HEFT's placement is the first answer.
//! 2. Clusters: edges are taken in falling weight, and the clusters at their ends merged while together they have no more work
//!    than a worker's share (edge zeroing: Sarkar, 1989). Each cluster then goes as a whole, by earliest finish. Several shares
//!    are tried.
//! 3. The published placement, up to [`PUBLISHED_NODES_MAX`] nodes.
//! 4. From the best of these, simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 1983): a change that makes it worse is
//!    kept by a chance that falls with how much worse it is, and with the steps that are used up. Most changes are to what the
//!    makespan hangs on: the critical chain. The first rounds go by [sketches](super::sketch), the last one by simulations.
//!
//! Each simulation is a step, and so are [`SKETCHES_OF_STEP`] sketches. The same seed and the same number of steps give the same placement. What it returns is the best
//! that was seen: by makespan, then by bytes that cross.

use super::cost::Model;
use super::estimate::{Cause, Simulator, Span};
use super::list;
use super::room::{Room, Wants};
use super::sketch::Sketch;
use super::{Effort, pack};
use crate::random::Random;
use std::time::Instant;

/// Nodes up to which the published placement is among those tried.
pub(super) const PUBLISHED_NODES_MAX: usize = 10_000;
/// Placements up to which all are tried.
pub(super) const ALL_MAX: u64 = 20_000;
/// By how much of the makespan something may be worse and still be kept in one of e cases: at the beginning of annealing by
/// sketches and of that by simulations, and at the end of both.
const HOT: f64 = 0.15;
const WARM: f64 = 0.03;
const COLD: f64 = 1e-3;
/// The share of the steps after which sketches end, in how many rounds, and how many of them count as a step.
const SKETCHED: f64 = 0.6;
const SKETCH_ROUNDS: u32 = 3;
const SKETCHES_OF_STEP: u32 = 24;
/// What the bytes that cross count while it is compared: their share, against that of the makespan.
const SECOND_AIM: f64 = 1e-4;
/// Changes that came to nothing, one after the other, after which it gives up.
const MISSES_MAX: u32 = 10_000;
/// Units of a cluster that is moved as one, at most.
const CLUSTER_MAX: usize = 24;

/// How good a placement is: what comes first counts first.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub(super) struct Score {
    pub(super) makespan_ns: f64,
    pub(super) crossing_bytes: f64,
}

impl Score {
    pub(super) const WORST: Self = Self {
        makespan_ns: f64::INFINITY,
        crossing_bytes: f64::INFINITY,
    };

    /// By what share of it the makespan is longer than another, and of the bytes that cross a little too.
    fn worse_than(&self, other: &Self) -> f64 {
        let share = |is: f64, was: f64| (is - was) / was.max(1.0);
        share(self.makespan_ns, other.makespan_ns)
            + SECOND_AIM * share(self.crossing_bytes, other.crossing_bytes)
    }

    /// Whether it is better by more than rounding.
    fn beats(&self, other: &Self) -> bool {
        let close = (self.makespan_ns - other.makespan_ns).abs() <= other.makespan_ns * 1e-9;
        if close {
            self.crossing_bytes < other.crossing_bytes * (1.0 - 1e-9)
        } else {
            self.makespan_ns < other.makespan_ns
        }
    }
}

/// What a search has found.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) placed: Vec<u32>,
    pub(super) score: Score,
    pub(super) steps: u64,
    /// Whether all placements were tried.
    pub(super) exhausted: bool,
}

/// A search that goes on while it may.
pub(super) struct Search<'m, 'w> {
    model: &'m Model,
    wants: &'w Wants,
    simulator: Simulator<'m>,
    effort: Effort,
    began: Instant,
    best: Best,
    random: Random,
}

impl<'m, 'w> Search<'m, 'w> {
    pub(super) fn new(model: &'m Model, wants: &'w Wants, effort: Effort, began: Instant) -> Self {
        Self {
            model,
            wants,
            simulator: Simulator::new(model),
            random: Random::new(effort.seed),
            effort,
            began,
            best: Best {
                placed: Vec::new(),
                score: Score::WORST,
                steps: 0,
                exhausted: false,
            },
        }
    }

    pub(super) fn into_best(self) -> Best {
        self.best
    }

    /// Scores a placement, and keeps it if it is the best.
    pub(super) fn offer(&mut self, placed: &[u32]) -> Score {
        let score = Score {
            makespan_ns: self.simulator.makespan_ns(placed),
            crossing_bytes: self.model.crossing_bytes(placed),
        };
        self.best.steps += 1;
        if score.beats(&self.best.score) {
            self.best.score = score;
            self.best.placed.clear();
            self.best.placed.extend_from_slice(placed);
        }
        score
    }

    /// Tries all placements, if they are few, and says whether it did. Of those that only exchange workers which are alike one is
    /// tried.
    pub(super) fn try_all(&mut self, ways_max: u64) -> bool {
        let workers = self.model.workers.len() as u64;
        let alike = self.model.uniform
            && self.wants.workers_are_alike()
            && self.model.workers.windows(2).all(|pair| pair[0] == pair[1]);
        let ways_max = ways_max.min(self.steps_max() - self.best.steps);
        let mut ways = 1_u64;
        for unit in 0..self.model.units.len() as u64 {
            let choices = if alike {
                workers.min(unit + 1)
            } else {
                workers
            };
            ways = ways.saturating_mul(choices);
            if ways > ways_max {
                return false;
            }
        }
        let mut room = Room::empty(self.wants);
        let first = if alike { 1 } else { workers as u32 };
        self.best.exhausted = self.try_from(&mut room, 0, first);
        true
    }

    /// All ways to place the units from this one on, on one of the first so many workers; whether it could end.
    fn try_from(&mut self, room: &mut Room<'w>, unit: u32, workers: u32) -> bool {
        if unit as usize == self.model.units.len() {
            let placed = room.placed.clone();
            self.offer(&placed);
            return true;
        }
        for worker in 0..workers {
            if !self.may_go_on() {
                return false;
            }
            if !room.fits(unit, worker) {
                continue;
            }
            room.put(unit, worker);
            let all = self.model.workers.len() as u32;
            let next = if worker + 1 == workers {
                (workers + 1).min(all)
            } else {
                workers
            };
            let ended = self.try_from(room, unit + 1, next);
            room.take(unit);
            if !ended {
                return false;
            }
        }
        true
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
    pub(super) fn offer_wished(&mut self, wished: &[u32]) {
        if let Ok(room) = pack::pack(self.wants, self.model.workers.len(), wished) {
            self.offer(&room.placed);
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

    /// Changes the best placement again and again: first by what sketches say, then by simulations.
    pub(super) fn anneal(&mut self) {
        let settled = self.model.units.len() < 2 || self.model.workers.len() < 2;
        if settled || self.best.placed.is_empty() || !self.may_go_on() {
            return;
        }
        for round in 0..SKETCH_ROUNDS {
            let until = SKETCHED * f64::from(round + 1) / f64::from(SKETCH_ROUNDS);
            self.anneal_sketches(until);
        }
        self.anneal_simulations();
    }

    /// Anneals by sketches until so much is used up; what comes out is offered.
    fn anneal_sketches(&mut self, until: f64) {
        let began = self.progress();
        if began >= until {
            return;
        }
        let mut sketch = Sketch::new(self.model);
        self.simulator.watch(0);
        self.offer(&self.best.placed.clone());
        let spans = self.simulator.spans();
        sketch.order_by(|unit| spans[unit as usize].ready_ns);
        let mut room = Room::of(self.wants, &self.best.placed);
        let guess = |sketch: &mut Sketch<'m>, model: &Model, placed: &[u32]| Score {
            makespan_ns: sketch.makespan_ns(placed),
            crossing_bytes: model.crossing_bytes(placed),
        };
        let mut now = guess(&mut sketch, self.model, &room.placed);
        let mut chain = sketch.chain();
        let (mut best, mut best_placed) = (now, room.placed.clone());
        let mut changed: Vec<(u32, u32)> = Vec::new();
        let mut misses = 0_u32;
        let mut guesses = 0_u32;
        let mut heat = HOT;
        while misses < MISSES_MAX {
            guesses += 1;
            if guesses.is_multiple_of(SKETCHES_OF_STEP) {
                self.best.steps += 1;
                let progress = self.progress();
                if progress >= until || !self.may_go_on() {
                    break;
                }
                heat = HOT * (COLD / HOT).powf((progress - began) / (until - began));
            }
            changed.clear();
            self.change(&mut room, &chain, &mut changed);
            if changed.is_empty() {
                misses += 1;
                continue;
            }
            misses = 0;
            let score = guess(&mut sketch, self.model, &room.placed);
            if self.keeps(&score, &now, heat) {
                now = score;
                chain = sketch.chain();
                if now.beats(&best) {
                    best = now;
                    best_placed.copy_from_slice(&room.placed);
                }
            } else {
                put_back(&mut room, &mut changed);
            }
        }
        if self.may_go_on() {
            self.offer(&best_placed);
        }
    }

    /// Anneals by simulations until all is used up.
    fn anneal_simulations(&mut self) {
        if !self.may_go_on() {
            return;
        }
        let began = self.progress();
        let mut room = Room::of(self.wants, &self.best.placed);
        let mut now = self.offer(&room.placed);
        let mut chain = self.chain();
        let mut changed: Vec<(u32, u32)> = Vec::new();
        let mut misses = 0_u32;
        // Where nothing may be moved at all, since all is fixed, or there is no room to turn, it gives up.
        while self.may_go_on() && misses < MISSES_MAX {
            changed.clear();
            self.change(&mut room, &chain, &mut changed);
            if changed.is_empty() {
                misses += 1;
                continue;
            }
            misses = 0;
            let part = (self.progress() - began) / (1.0 - began).max(f64::EPSILON);
            let heat = WARM * (COLD / WARM).powf(part.clamp(0.0, 1.0));
            let score = self.offer(&room.placed);
            if self.keeps(&score, &now, heat) {
                now = score;
                chain = self.chain();
            } else {
                put_back(&mut room, &mut changed);
            }
        }
    }

    /// Whether to keep what is as good as that, in place of what there was.
    fn keeps(&mut self, score: &Score, before: &Score, heat: f64) -> bool {
        let worse = score.worse_than(before);
        worse <= 0.0 || self.random.share() < (-worse / heat).exp()
    }

    fn steps_max(&self) -> u64 {
        let Effort { steps, budget, .. } = self.effort;
        match (steps, budget) {
            (Some(steps), _) => steps,
            (None, Some(_)) => u64::MAX,
            (None, None) => Effort::steps_for(self.model.units.len()),
        }
    }

    /// Whether steps and time are left.
    pub(super) fn may_go_on(&self) -> bool {
        let budget = self.effort.budget;
        self.best.steps < self.steps_max()
            && budget.is_none_or(|budget| self.began.elapsed() < budget)
    }

    /// How much of what it may use is used up, 0 to 1.
    fn progress(&self) -> f64 {
        let by_time = self.effort.budget.map_or(0.0, |budget| {
            self.began.elapsed().as_secs_f64() / budget.as_secs_f64().max(1e-9)
        });
        let by_steps = self.best.steps as f64 / self.steps_max() as f64;
        by_time.max(by_steps).min(1.0)
    }

    /// What the makespan of what was scored last hangs on: units from the last to the first, each with what it waited for.
    fn chain(&mut self) -> Vec<(u32, Cause)> {
        let chain = critical_chain(self.simulator.spans());
        // The next time another scenario is looked at.
        self.simulator
            .watch(self.random.below(self.model.scenarios.len()));
        chain
    }

    /// Changes something, and notes each unit with the worker that it was on.
    fn change(
        &mut self,
        room: &mut Room<'w>,
        chain: &[(u32, Cause)],
        changed: &mut Vec<(u32, u32)>,
    ) {
        let units = self.model.units.len();
        let workers = self.model.workers.len();
        let dice = self.random.below(100);
        if dice < 60 && !chain.is_empty() {
            let (unit, cause) = chain[self.random.below(chain.len())];
            match cause {
                Cause::Arrival(from) => {
                    let (near, far) = if self.random.below(2) == 0 {
                        (unit, from)
                    } else {
                        (from, unit)
                    };
                    let to = room.placed[far as usize];
                    if dice < 25 {
                        self.move_cluster(room, near, to, changed);
                    } else {
                        self.move_or_swap(room, near, to, changed);
                    }
                }
                Cause::Executor(by) => {
                    let which = if self.random.below(2) == 0 { unit } else { by };
                    let to = self.random.below(workers) as u32;
                    self.move_or_swap(room, which, to, changed);
                }
                Cause::Unit(_) | Cause::Start => {
                    let to = self.some_worker(room, unit);
                    self.move_or_swap(room, unit, to, changed);
                }
            }
            return;
        }
        let unit = self.random.below(units) as u32;
        let to = self.some_worker(room, unit);
        if dice < 75 {
            self.move_cluster(room, unit, to, changed);
        } else {
            self.move_or_swap(room, unit, to, changed);
        }
    }

    /// A worker for a unit: that of a neighbour, or any.
    fn some_worker(&mut self, room: &Room<'w>, unit: u32) -> u32 {
        let before = self.model.predecessors.get(unit);
        let behind = self.model.successors.get(unit);
        let neighbours = before.len() + behind.len();
        if neighbours > 0 && self.random.below(4) > 0 {
            let which = self.random.below(neighbours);
            let edge = before
                .get(which)
                .or_else(|| behind.get(which - before.len()));
            if let Some(edge) = edge {
                return room.placed[edge.unit as usize];
            }
        }
        self.random.below(self.model.workers.len()) as u32
    }

    /// Moves a unit; if it has no room there, in exchange for another one.
    fn move_or_swap(
        &mut self,
        room: &mut Room<'w>,
        unit: u32,
        to: u32,
        changed: &mut Vec<(u32, u32)>,
    ) {
        let from = room.placed[unit as usize];
        if from == to {
            return;
        }
        if room.try_move(unit, to) {
            changed.push((unit, from));
            return;
        }
        let units = self.model.units.len();
        for _ in 0..8 {
            // A neighbour in number is near in the graph too; any other may be anywhere.
            let other = if self.random.below(2) == 0 {
                let near = (unit as usize + self.random.below(33)).saturating_sub(16);
                near.min(units - 1)
            } else {
                self.random.below(units)
            } as u32;
            if room.placed[other as usize] != to || other == unit {
                continue;
            }
            room.take(unit);
            room.take(other);
            if room.fits(unit, to) {
                room.put(unit, to);
                if room.fits(other, from) {
                    room.put(other, from);
                    changed.push((unit, from));
                    changed.push((other, to));
                    return;
                }
                room.take(unit);
            }
            room.put(unit, from);
            room.put(other, to);
        }
    }

    /// Moves a unit, and those on its worker that it is bound to by the heaviest edges.
    fn move_cluster(
        &mut self,
        room: &mut Room<'w>,
        unit: u32,
        to: u32,
        changed: &mut Vec<(u32, u32)>,
    ) {
        let from = room.placed[unit as usize];
        if from == to {
            return;
        }
        let size = 2 + self.random.below(CLUSTER_MAX - 1);
        let mut cluster = vec![unit];
        let mut next = 0;
        while next < cluster.len() && cluster.len() < size {
            let of = cluster[next];
            next += 1;
            let edges = self.model.predecessors.get(of).iter();
            let edges = edges.chain(self.model.successors.get(of));
            for edge in edges {
                let here = room.placed[edge.unit as usize] == from;
                if here && cluster.len() < size && !cluster.contains(&edge.unit) {
                    cluster.push(edge.unit);
                }
            }
        }
        for unit in cluster {
            if room.try_move(unit, to) {
                changed.push((unit, from));
            }
        }
    }
}

/// Undoes what has been changed.
fn put_back(room: &mut Room<'_>, changed: &mut Vec<(u32, u32)>) {
    for (unit, worker) in changed.drain(..).rev() {
        room.take(unit);
        room.put(unit, worker);
    }
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
