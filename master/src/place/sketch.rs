//! A rough guess of a makespan, an order of magnitude cheaper than a [simulation](super::estimate): one pass over the units in
//! a fixed order.
//!
//! Links and CPUs are reckoned by what has been asked of them so far: a link gives one payload after the other, CPUs and pools
//! take what is ready as fluid that they work off at their full rate. It is for telling better changes from worse ones, not for
//! answers: those are always scored by the simulation.

use super::cost::{INLINE_BYTES, Model, Reads, Task, Work};
use super::estimate::Cause;
use super::list;

/// Makes guesses; keeps its memory from one to the next.
#[derive(Debug)]
pub(super) struct Sketch<'m> {
    model: &'m Model,
    /// Units in the order in which they are looked at: producers first.
    order: Vec<u32>,
    /// By unit: its time on a worker of speed 1, its CPU time, and its executable if others use it too.
    units: Vec<Flat>,
    ready_ns: Vec<f64>,
    causes: Vec<Cause>,
    /// By worker: when its CPUs have worked off what they were given.
    cpus_ns: Vec<f64>,
    /// By executable that several units use, then worker: the same of its executors.
    pools_ns: Vec<f64>,
    /// By link: when it is free.
    links_ns: Vec<f64>,
    read: Vec<Reads>,
    readers: Vec<u32>,
    there_ns: Vec<f64>,
    last: u32,
}

/// What counts of a unit here.
#[derive(Clone, Copy, Debug)]
struct Flat {
    lasts_ns: f64,
    busy_ns: f64,
    /// The number of its executable among those that several units use, and how wide its pool is.
    pool: Option<(u32, u32)>,
}

impl<'m> Sketch<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let units = model.units.len();
        let workers = model.workers.len();
        let ranks = list::upward_ranks(model);
        let mut order: Vec<u32> = (0..units as u32).collect();
        order.sort_by(|a, b| {
            ranks[*b as usize]
                .total_cmp(&ranks[*a as usize])
                .then(a.cmp(b))
        });
        let flat = |unit: u32| {
            let of = &model.units[unit as usize];
            let pool = |task: &Task| {
                let number = model.shared_number(task.executable?)?;
                Some((number as u32, task.scale))
            };
            let pool = match &of.work {
                Work::Node(task) => pool(task),
                Work::Region(_) => None,
            };
            Flat {
                lasts_ns: list::duration_ns(model, unit, 1.0),
                busy_ns: of.busy_ns,
                pool,
            }
        };
        let shared = model
            .executables
            .iter()
            .filter(|executable| executable.units > 1);
        Self {
            model,
            order,
            units: (0..units as u32).map(flat).collect(),
            ready_ns: vec![0.0; units],
            causes: vec![Cause::Start; units],
            cpus_ns: vec![0.0; workers],
            pools_ns: vec![0.0; shared.count() * workers],
            links_ns: vec![0.0; workers * workers],
            read: vec![Reads::default(); workers],
            readers: Vec::new(),
            there_ns: vec![0.0; workers],
            last: 0,
        }
    }

    /// Looks at units in another order from now on: that in which they are ready at these times.
    pub(super) fn order_by(&mut self, ready_ns: impl Fn(u32) -> f64) {
        // Of equal times the producer, which has the lower number, comes first.
        self.order
            .sort_by(|a, b| ready_ns(*a).total_cmp(&ready_ns(*b)).then(a.cmp(b)));
    }

    /// The expected makespan, roughly, in nanoseconds.
    pub(super) fn makespan_ns(&mut self, placed: &[u32]) -> f64 {
        let held = self.model.held(placed);
        let mut sum = 0.0;
        for scenario in 0..self.model.scenarios.len() {
            let pass_ns = self.pass(placed, scenario, held.as_deref());
            sum += self.model.scenarios[scenario].0 * pass_ns;
        }
        sum
    }

    fn pass(&mut self, placed: &[u32], scenario: usize, held: Option<&[bool]>) -> f64 {
        let model = self.model;
        let workers = model.workers.len();
        let runs_in = model.scenarios[scenario].1.as_deref();
        self.ready_ns.fill(0.0);
        self.causes.fill(Cause::Start);
        self.cpus_ns.fill(0.0);
        self.pools_ns.fill(0.0);
        self.links_ns.fill(0.0);
        let mut last_ns = -1.0;
        for place in 0..self.order.len() {
            let unit = self.order[place];
            let own = placed[unit as usize];
            let worker = own as usize;
            let of = self.units[unit as usize];
            let ready_ns = self.ready_ns[unit as usize];
            let runs = runs_in.is_none_or(|runs| runs[unit as usize]);
            let mut end_ns = ready_ns;
            if runs {
                let with = &model.workers[worker];
                end_ns += of.lasts_ns / with.speed;
                if of.busy_ns > 0.0 {
                    let cpus_ns = &mut self.cpus_ns[worker];
                    *cpus_ns = cpus_ns.max(ready_ns) + of.busy_ns / (with.speed * with.cpus);
                    end_ns = end_ns.max(*cpus_ns);
                }
                if let Some((pool, scale)) = of.pool {
                    let pool_ns = &mut self.pools_ns[pool as usize * workers + worker];
                    let executors = f64::from(with.executors(scale));
                    *pool_ns = pool_ns.max(ready_ns) + of.lasts_ns / (with.speed * executors);
                    end_ns = end_ns.max(*pool_ns);
                }
            }
            if end_ns > last_ns {
                last_ns = end_ns;
                self.last = unit;
            }
            let successors = model.successors.get(unit);
            let held = held.is_none_or(|held| held[unit as usize]) || !runs;
            let is_local = |to: u32, outputs: u64| to == own && (held || outputs == 0);
            for edge in successors {
                let to = placed[edge.unit as usize];
                if !is_local(to, edge.outputs) {
                    let read = &mut self.read[to as usize];
                    if read.is_none() {
                        self.readers.push(to);
                    }
                    read.add(edge);
                }
            }
            while let Some(to) = self.readers.pop() {
                let reads = std::mem::take(&mut self.read[to as usize]);
                let bytes = if runs {
                    reads.bytes(model.outputs_of(unit), model.there(unit, scenario))
                } else {
                    0.0
                };
                let link = model.link(worker, to as usize);
                self.there_ns[to as usize] = if bytes <= INLINE_BYTES {
                    end_ns + link.transfer_ns(bytes)
                } else {
                    let free_ns = &mut self.links_ns[worker * workers + to as usize];
                    *free_ns = free_ns.max(end_ns) + bytes * 1e9 / link.bytes_per_s;
                    *free_ns + link.latency_ns
                };
            }
            for edge in successors {
                let to = placed[edge.unit as usize];
                let (at_ns, cause) = if is_local(to, edge.outputs) {
                    (end_ns, Cause::Unit(unit))
                } else {
                    (self.there_ns[to as usize], Cause::Arrival(unit))
                };
                let ready_ns = &mut self.ready_ns[edge.unit as usize];
                if at_ns >= *ready_ns {
                    *ready_ns = at_ns;
                    self.causes[edge.unit as usize] = cause;
                }
            }
        }
        last_ns
    }

    /// What the makespan of the last guess hangs on: units from the last to the first, each with what it waited for.
    pub(super) fn chain(&self) -> Vec<(u32, Cause)> {
        let mut chain = Vec::new();
        let mut unit = self.last;
        loop {
            let cause = self.causes[unit as usize];
            chain.push((unit, cause));
            match cause {
                Cause::Unit(by) | Cause::Arrival(by) => unit = by,
                Cause::Start | Cause::Executor(_) => return chain,
            }
        }
    }
}
