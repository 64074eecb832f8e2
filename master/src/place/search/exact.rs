//! All placements of a small workflow, by branch and bound (Land and Doig, Econometrica 1960): units are placed one after the
//! other, producers first, and what cannot lead to anything better than is known already is not followed.
//!
//! Of a placement in the making a makespan is no shorter than
//! - the longest way that leads through a unit that is placed: up to it with the times that units take where they are, and the
//!   transfers between them, each as if it had its link for itself; behind it on the fastest worker with transfers for nothing;
//! - what CPUs have to do on a worker, over these.
//!
//! Workers that can be exchanged for each other without a difference are not told apart until they are used.

use super::front::Score;
use super::{SKETCHES_OF_STEP, Search};
use crate::place::cost::{Model, Reads, Work};
use crate::place::room::{NOWHERE, Room};

/// A placement in the making, unit by unit in their order, and what it comes to at least.
pub(in crate::place) struct Bound<'m> {
    model: &'m Model,
    scenarios: Vec<Scenario>,
    /// By unit: the worker it is on, of those that are placed.
    placed: Vec<u32>,
    /// By number of units placed: bytes that cross between them.
    crossing_bytes: Vec<f64>,
}

struct Scenario {
    weight: f64,
    /// By unit: whether it runs.
    runs: Vec<bool>,
    /// By unit, then worker: the least time that it takes there.
    lasts_ns: Vec<f64>,
    /// By unit: what it has CPUs do, in nanoseconds of one of speed 1.
    work_ns: Vec<f64>,
    /// By unit: the longest way behind it.
    behind_ns: Vec<f64>,
    /// By unit that is placed: when it ends.
    ends_ns: Vec<f64>,
    /// By worker: what its CPUs have to do, over them.
    loads_ns: Vec<f64>,
    /// By unit that is placed: what that was without it.
    before_ns: Vec<f64>,
    /// By number of units placed: the longest way through one of them.
    longest_ns: Vec<f64>,
}

impl<'m> Bound<'m> {
    pub(in crate::place) fn new(model: &'m Model) -> Self {
        let scenarios = 0..model.scenarios.len();
        Self {
            model,
            scenarios: scenarios.map(|one| Scenario::of(model, one)).collect(),
            placed: Vec::with_capacity(model.units.len()),
            crossing_bytes: vec![0.0],
        }
    }

    /// Puts the next unit on a worker.
    pub(in crate::place) fn put(&mut self, worker: u32) {
        let model = self.model;
        let unit = self.placed.len();
        let to = worker as usize;
        let mut crossing = self.crossing_bytes[unit];
        for edge in model.predecessors.get(unit as u32) {
            let from = self.placed[edge.unit as usize];
            if from != worker {
                let mut reads = Reads::default();
                for reader in model.successors.get(edge.unit) {
                    if self.placed.get(reader.unit as usize) == Some(&worker) {
                        reads.add(reader);
                    }
                }
                let known = model.expected_bytes(edge.unit, &reads);
                reads.add(edge);
                crossing += model.expected_bytes(edge.unit, &reads) - known;
            }
        }
        for of in &mut self.scenarios {
            let mut end_ns = 0.0_f64;
            // A join of some may begin with any of them.
            let edges = model.predecessors.get(unit as u32).iter();
            for edge in edges.filter(|_| model.units[unit].at_least == 0) {
                let from = self.placed[edge.unit as usize] as usize;
                let mut there_ns = of.ends_ns[edge.unit as usize];
                if from != to {
                    let runs = of.runs[edge.unit as usize];
                    let bytes = if runs { edge.bytes } else { 0.0 };
                    there_ns += model.link(from, to).transfer_ns(bytes);
                }
                end_ns = end_ns.max(there_ns);
            }
            end_ns += of.lasts_ns[unit * model.workers.len() + to];
            of.ends_ns.push(end_ns);
            let longest_ns = of.longest_ns[unit].max(end_ns + of.behind_ns[unit]);
            of.longest_ns.push(longest_ns);
            let with = &model.workers[to];
            of.before_ns.push(of.loads_ns[to]);
            of.loads_ns[to] += of.work_ns[unit] / (with.speed * with.cpus);
        }
        self.crossing_bytes.push(crossing);
        self.placed.push(worker);
    }

    /// Takes the last unit away again.
    fn take(&mut self) {
        let Some(worker) = self.placed.pop() else {
            return;
        };
        self.crossing_bytes.pop();
        for of in &mut self.scenarios {
            of.ends_ns.pop();
            of.longest_ns.pop();
            if let Some(before_ns) = of.before_ns.pop() {
                of.loads_ns[worker as usize] = before_ns;
            }
        }
    }

    /// What no placement that goes on from here is below.
    pub(in crate::place) fn least(&self) -> Score {
        let count = self.placed.len();
        let of_scenario = |of: &Scenario| {
            let longest_ns = of.longest_ns[count];
            of.weight * of.loads_ns.iter().copied().fold(longest_ns, f64::max)
        };
        Score {
            makespan_ns: self.scenarios.iter().map(of_scenario).sum(),
            crossing_bytes: self.crossing_bytes[count],
        }
    }
}

impl Scenario {
    fn of(model: &Model, scenario: usize) -> Self {
        let units = model.units.len();
        let (weight, conditions) = &model.scenarios[scenario];
        let runs = |unit: usize| conditions.as_ref().is_none_or(|runs| runs[unit]);
        let mut lasts_ns = Vec::with_capacity(units * model.workers.len());
        let mut work_ns = Vec::with_capacity(units);
        for unit in 0..units {
            let (least_ns, busy_ns) = model.least(unit as u32, scenario);
            let of = &model.units[unit];
            let waits = model.tasks(of).any(|task| task.delay_ns > 0.0);
            for worker in &model.workers {
                lasts_ns.push(match &of.work {
                    _ if !runs(unit) => 0.0,
                    Work::Node(task) => task.delay_ns + task.runtime_ns / worker.speed,
                    // A delay is as long everywhere.
                    Work::Region(_) if waits => least_ns,
                    Work::Region(_) => least_ns * model.best_speed() / worker.speed,
                });
            }
            work_ns.push(if runs(unit) { busy_ns } else { 0.0 });
        }
        let mut behind_ns = vec![0.0_f64; units];
        let mut longest_ns = 0.0_f64;
        for unit in (0..units).rev() {
            let own_ns = if runs(unit) {
                model.least(unit as u32, scenario).0
            } else {
                0.0
            };
            let through_ns = own_ns + behind_ns[unit];
            longest_ns = longest_ns.max(through_ns);
            let edges = model.predecessors.get(unit as u32).iter();
            for edge in edges.filter(|_| model.units[unit].at_least == 0) {
                let behind_ns = &mut behind_ns[edge.unit as usize];
                *behind_ns = behind_ns.max(through_ns);
            }
        }
        let workers = model.workers.iter();
        let cpus: f64 = workers.map(|worker| worker.speed * worker.cpus).sum();
        let all_ns = work_ns.iter().sum::<f64>() / cpus;
        Self {
            weight: *weight,
            runs: (0..units).map(runs).collect(),
            lasts_ns,
            work_ns,
            behind_ns,
            ends_ns: Vec::with_capacity(units),
            loads_ns: vec![0.0; model.workers.len()],
            before_ns: Vec::with_capacity(units),
            longest_ns: vec![longest_ns.max(all_ns)],
        }
    }
}

impl<'w> Search<'_, 'w> {
    /// Looks at all placements, if they are no more than that, and says whether it came to the end. Of those that only exchange
    /// workers which are alike one is looked at. It may use half of the steps and of the time that are left.
    pub(in crate::place) fn try_all(&mut self, ways_max: u64) -> bool {
        let alike = self.alike();
        if self.ways(&alike, ways_max).is_none() || !self.may_go_on() {
            return false;
        }
        let steps = self.steps;
        self.begin_part();
        let exhausted = self.try_each(&alike);
        self.end_part(steps);
        self.exhausted = exhausted;
        exhausted
    }

    /// Whether there is one placement at most.
    pub(in crate::place) fn has_no_choice(&self) -> bool {
        self.ways(&self.alike(), 1).is_some()
    }

    /// By worker: the first one for which it can be exchanged without a difference.
    fn alike(&self) -> Vec<u32> {
        let model = self.model;
        let count = model.workers.len();
        let mut is_fixed = vec![false; count];
        for worker in self.wants.fixed.iter().flatten() {
            is_fixed[*worker as usize] = true;
        }
        let same = |a: usize, b: usize| {
            let mut others = (0..count).filter(|other| *other != a && *other != b);
            !is_fixed[a]
                && !is_fixed[b]
                && model.workers[a] == model.workers[b]
                && self.wants.limits(a as u32) == self.wants.limits(b as u32)
                && model.link(a, b) == model.link(b, a)
                && model.link(a, a) == model.link(b, b)
                && others.all(|other| {
                    model.link(a, other) == model.link(b, other)
                        && model.link(other, a) == model.link(other, b)
                })
        };
        let first = |worker: usize| (0..worker).find(|known| same(*known, worker));
        let firsts = (0..count).map(|worker| first(worker).unwrap_or(worker) as u32);
        firsts.collect()
    }

    /// How many placements there are, those of alike workers once, and limits aside; none if they are more than that.
    fn ways(&self, alike: &[u32], ways_max: u64) -> Option<u64> {
        let workers = alike.len() as u64;
        let kinds = (0..).zip(alike).filter(|(worker, of)| *worker == **of);
        let kinds = kinds.count() as u64;
        let mut ways = 1_u64;
        let free = self.wants.fixed.iter().filter(|fixed| fixed.is_none());
        for (before, _) in (0..).zip(free) {
            ways = ways.saturating_mul(workers.min(kinds + before));
            if ways > ways_max {
                return None;
            }
        }
        Some(ways)
    }

    /// All ways, depth first; whether it could end.
    fn try_each(&mut self, alike: &[u32]) -> bool {
        let model = self.model;
        let units = model.units.len();
        let workers = model.workers.len() as u32;
        let mut room: Room<'w> = Room::empty(self.wants);
        let mut bound = Bound::new(model);
        // By worker: how many units are on it.
        let mut used = vec![0_u32; workers as usize];
        // By unit that is looked at: the worker that comes next.
        let mut next = vec![0_u32];
        let mut looks = 0_u32;
        while let Some(worker) = next.last_mut() {
            let unit = bound.placed.len();
            let choice = if unit == units {
                None
            } else {
                (*worker..workers).find(|one| {
                    let unused = |other: u32| used[other as usize] == 0;
                    let mut earlier = (0..*one).filter(|other| {
                        alike[*other as usize] == alike[*one as usize] && unused(*other)
                    });
                    let twin = unused(*one) && earlier.next().is_some();
                    !twin && room.fits(unit as u32, *one)
                })
            };
            let Some(choice) = choice else {
                if unit == units {
                    self.offer(&bound.placed);
                    if !self.may_go_on() {
                        return false;
                    }
                }
                next.pop();
                if let Some(last) = bound.placed.last() {
                    used[*last as usize] -= 1;
                    room.take(unit as u32 - 1);
                    bound.take();
                }
                continue;
            };
            *worker = choice + 1;
            looks += 1;
            if looks.is_multiple_of(SKETCHES_OF_STEP) {
                self.steps += 1;
                if !self.may_go_on() {
                    return false;
                }
            }
            bound.put(choice);
            if self.front.has_no_use_for(&bound.least()) {
                bound.take();
                continue;
            }
            debug_assert_eq!(room.placed[unit], NOWHERE);
            room.put(unit as u32, choice);
            used[choice as usize] += 1;
            next.push(0);
        }
        true
    }
}
