//! List scheduling by earliest finish: HEFT (Topcuoglu, Hariri and Wu, IEEE TPDS 2002), for workers with several CPUs.
//!
//! Units are taken in falling upward rank: the longest way from a unit's beginning to the end, by mean run times and mean
//! transfers. Each goes where it would end first, of the workers that have room for it. A CPU, and an executor of a pool that
//! others use too, is taken from when a unit begins there until it ends; gaps are not filled (the engine, too, begins things in the
//! order in which they are ready).

use super::Link;
use super::cost::{Model, Work};
use super::room::{NOWHERE, Room, Wants};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A placement by list scheduling. A unit for which no worker has room is left [`NOWHERE`].
pub(super) fn heft<'w>(model: &Model, wants: &'w Wants) -> Room<'w> {
    schedule(model, wants, None)
}

/// The same, but a cluster's units go where the first of them went, if they have room there. Each has its cluster's number.
pub(super) fn heft_of_clusters<'w>(model: &Model, wants: &'w Wants, clusters: &[u32]) -> Room<'w> {
    schedule(model, wants, Some(clusters))
}

fn schedule<'w>(model: &Model, wants: &'w Wants, clusters: Option<&[u32]>) -> Room<'w> {
    let ranks = upward_ranks(model);
    let mut order: Vec<u32> = (0..model.units.len() as u32).collect();
    // Units are in topological order, so that of equal ranks the producer comes first.
    order.sort_by(|a, b| {
        ranks[*b as usize]
            .total_cmp(&ranks[*a as usize])
            .then(a.cmp(b))
    });
    let mut scheduler = Scheduler::new(model, wants);
    // What is fixed takes its room before anything else does.
    for unit in 0..model.units.len() as u32 {
        if let Some(worker) = wants.fixed[unit as usize] {
            scheduler.room.put(unit, worker);
        }
    }
    let mut homes = vec![NOWHERE; model.units.len()];
    for unit in order {
        let home = clusters.map(|clusters| clusters[unit as usize] as usize);
        let wished = home.map_or(NOWHERE, |home| homes[home]);
        scheduler.place(unit, wished);
        if let Some(home) = home.filter(|home| homes[*home] == NOWHERE) {
            homes[home] = scheduler.room.placed[unit as usize];
        }
    }
    scheduler.room
}

/// By unit: the longest way from its beginning to the end, in nanoseconds.
pub(super) fn upward_ranks(model: &Model) -> Vec<f64> {
    let link = mean_link(model);
    let speed = mean_speed(model);
    let mut ranks = vec![0.0_f64; model.units.len()];
    for unit in (0..model.units.len()).rev() {
        let behind = model.successors.get(unit as u32).iter();
        let behind = behind.map(|edge| link.transfer_ns(edge.bytes) + ranks[edge.unit as usize]);
        ranks[unit] = duration_ns(model, unit as u32, speed) + behind.fold(0.0, f64::max);
    }
    ranks
}

/// By unit: the longest way from the beginning to its own, in nanoseconds.
pub(super) fn downward_ranks(model: &Model) -> Vec<f64> {
    let link = mean_link(model);
    let speed = mean_speed(model);
    let mut ranks = vec![0.0_f64; model.units.len()];
    for unit in 0..model.units.len() {
        let end_ns = ranks[unit] + duration_ns(model, unit as u32, speed);
        for edge in model.successors.get(unit as u32) {
            let later = &mut ranks[edge.unit as usize];
            *later = later.max(end_ns + link.transfer_ns(edge.bytes));
        }
    }
    ranks
}

pub(super) fn mean_speed(model: &Model) -> f64 {
    let sum: f64 = model.workers.iter().map(|worker| worker.speed).sum();
    sum / model.workers.len() as f64
}

/// The mean of all links between two workers, and nothing if there is one worker.
pub(super) fn mean_link(model: &Model) -> Link {
    let workers = model.workers.len();
    if workers < 2 {
        return Link {
            bytes_per_s: f64::INFINITY,
            latency_ns: 0.0,
        };
    }
    if model.uniform {
        return *model.link(0, 1);
    }
    let pairs = (workers * (workers - 1)) as f64;
    let (mut s_per_byte, mut latency_ns) = (0.0, 0.0);
    for from in 0..workers {
        for to in (0..workers).filter(|to| *to != from) {
            let link = model.link(from, to);
            s_per_byte += 1.0 / link.bytes_per_s;
            latency_ns += link.latency_ns;
        }
    }
    Link {
        bytes_per_s: pairs / s_per_byte,
        latency_ns: latency_ns / pairs,
    }
}

/// How long a unit takes at a worker that has room for it, in nanoseconds.
pub(super) fn duration_ns(model: &Model, unit: u32, speed: f64) -> f64 {
    let (delay_ns, runs_ns) = duration(model, unit);
    delay_ns + runs_ns / speed
}

/// What does not depend on the worker's speed, and what does.
fn duration(model: &Model, unit: u32) -> (f64, f64) {
    let of = &model.units[unit as usize];
    match &of.work {
        Work::Node(task) => (task.delay_ns, task.runtime_ns),
        // Its least time is that on the fastest worker.
        Work::Region(_) => (0.0, of.least_ns * model.best_speed()),
    }
}

struct Scheduler<'m, 'w> {
    model: &'m Model,
    room: Room<'w>,
    /// By worker: when each of its CPUs is free, the first at the top.
    cpus: Vec<BinaryHeap<Reverse<u64>>>,
    /// By worker: when the first of them is.
    cpu_ns: Vec<f64>,
    /// By executable that several units use, then worker: when each of its executors is free.
    executors: Vec<BinaryHeap<Reverse<u64>>>,
    ends_ns: Vec<f64>,
    /// By worker: when what a unit reads is there.
    there_ns: Vec<f64>,
}

/// CPUs of a worker that are told apart.
const CPUS_MAX: usize = 1024;

impl<'m, 'w> Scheduler<'m, 'w> {
    fn new(model: &'m Model, wants: &'w Wants) -> Self {
        let workers = model.workers.len();
        let free = |count: usize| (0..count).map(|_| Reverse(0)).collect::<BinaryHeap<_>>();
        let shared = model
            .executables
            .iter()
            .filter(|executable| executable.units > 1);
        let executors = shared.flat_map(|executable| {
            let workers = model.workers.iter();
            workers.map(|worker| free(worker.executors(executable.scale) as usize))
        });
        let executors = executors.collect();
        Self {
            model,
            room: Room::empty(wants),
            cpus: model
                .workers
                .iter()
                .map(|worker| free((worker.cpus as usize).clamp(1, CPUS_MAX)))
                .collect(),
            executors,
            cpu_ns: vec![0.0; workers],
            ends_ns: vec![0.0; model.units.len()],
            there_ns: vec![0.0; workers],
        }
    }

    /// Puts a unit where it is wished if it fits there, else where it ends first.
    fn place(&mut self, unit: u32, wished: u32) {
        self.arrivals(unit);
        let fixed = self.room.placed[unit as usize];
        let mut best: Option<(f64, u32)> = None;
        let candidates = if fixed != NOWHERE {
            fixed..fixed + 1
        } else if wished != NOWHERE && self.room.fits(unit, wished) {
            wished..wished + 1
        } else {
            0..self.model.workers.len() as u32
        };
        let of = &self.model.units[unit as usize];
        let (delay_ns, runs_ns) = duration(self.model, unit);
        let needs_cpu = of.busy_ns > 0.0;
        let pool = self.pool_of(unit);
        for worker in candidates {
            let mut begin_ns = self.there_ns[worker as usize];
            if needs_cpu {
                begin_ns = begin_ns.max(self.cpu_ns[worker as usize]);
            }
            if let Some(pool) = pool {
                let executors = &self.executors[pool + worker as usize];
                let free = executors.peek().map_or(0, |Reverse(free)| *free);
                begin_ns = begin_ns.max(f64::from_bits(free));
            }
            let end_ns = begin_ns + delay_ns + runs_ns / self.model.workers[worker as usize].speed;
            // Comparing comes first: room is the dearer question.
            if best.is_some_and(|(known, _)| known <= end_ns) {
                continue;
            }
            if fixed == worker || self.room.fits(unit, worker) {
                best = Some((end_ns, worker));
            }
        }
        let Some((end_ns, worker)) = best else {
            // Those behind it see it end as if it had run at once, somewhere else.
            let there = self.there_ns.iter().copied().fold(0.0, f64::max);
            self.ends_ns[unit as usize] = there + self.model.units[unit as usize].least_ns;
            return;
        };
        self.ends_ns[unit as usize] = end_ns;
        self.occupy(unit, worker, end_ns);
        if fixed == NOWHERE {
            self.room.put(unit, worker);
        }
    }

    /// When all that a unit reads is there, by worker.
    fn arrivals(&mut self, unit: u32) {
        self.there_ns.fill(0.0);
        let workers = self.model.workers.len();
        if !self.model.uniform {
            for edge in self.model.predecessors.get(unit) {
                let end_ns = self.ends_ns[edge.unit as usize];
                let from = self.room.placed[edge.unit as usize];
                for to in 0..workers {
                    let at_ns = if from == NOWHERE || from as usize == to {
                        end_ns
                    } else {
                        end_ns + self.model.link(from as usize, to).transfer_ns(edge.bytes)
                    };
                    self.there_ns[to] = self.there_ns[to].max(at_ns);
                }
            }
            return;
        }
        // With all links alike, what comes last from elsewhere is one of two for every worker.
        let link = mean_link(self.model);
        let mut last = (0.0_f64, NOWHERE);
        let mut second_ns = 0.0_f64;
        for edge in self.model.predecessors.get(unit) {
            let end_ns = self.ends_ns[edge.unit as usize];
            let from = self.room.placed[edge.unit as usize];
            let at_ns = if from == NOWHERE {
                end_ns
            } else {
                end_ns + link.transfer_ns(edge.bytes)
            };
            if from != NOWHERE {
                let own = &mut self.there_ns[from as usize];
                *own = own.max(end_ns);
            }
            if from == last.1 {
                last.0 = last.0.max(at_ns);
            } else if at_ns > last.0 {
                second_ns = second_ns.max(last.0);
                last = (at_ns, from);
            } else {
                second_ns = second_ns.max(at_ns);
            }
        }
        for (worker, there_ns) in self.there_ns.iter_mut().enumerate() {
            let remote_ns = if worker as u32 == last.1 {
                second_ns
            } else {
                last.0
            };
            *there_ns = there_ns.max(remote_ns);
        }
    }

    /// Where the executors of a unit's pool begin, by worker, if others use it too; of a region's the first node's.
    fn pool_of(&self, unit: u32) -> Option<usize> {
        let task = self.model.tasks(&self.model.units[unit as usize]).next()?;
        let shared = self.model.shared_number(task.executable?)?;
        Some(shared * self.model.workers.len())
    }

    /// A unit has what it needs of a worker until it ends.
    fn occupy(&mut self, unit: u32, worker: u32, end_ns: f64) {
        let model = self.model;
        let of = &model.units[unit as usize];
        let speed = model.workers[worker as usize].speed;
        let begin_ns = end_ns - duration_ns(model, unit, speed);
        if of.busy_ns > 0.0 {
            // Its CPU time, on as many CPUs as it keeps busy at once.
            let cpus = &mut self.cpus[worker as usize];
            let lasts_ns = (end_ns - begin_ns).max(1.0);
            let wanted = (of.busy_ns / speed / lasts_ns).ceil() as usize;
            let wanted = wanted.clamp(1, cpus.len());
            let each_ns = of.busy_ns / speed / wanted as f64;
            let mut taken = Vec::with_capacity(wanted);
            for _ in 0..wanted {
                let Some(Reverse(free)) = cpus.pop() else {
                    break;
                };
                taken.push(f64::from_bits(free).max(begin_ns) + each_ns);
            }
            cpus.extend(taken.into_iter().map(|free: f64| Reverse(free.to_bits())));
            let first = cpus.peek().map_or(0, |Reverse(free)| *free);
            self.cpu_ns[worker as usize] = f64::from_bits(first);
        }
        if let Some(pool) = self.pool_of(unit) {
            let executors = &mut self.executors[pool + worker as usize];
            if executors.pop().is_some() {
                executors.push(Reverse(end_ns.to_bits()));
            }
        }
    }
}
