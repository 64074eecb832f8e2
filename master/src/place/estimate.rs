//! How long an invocation takes with a placement: a discrete-event simulation over the [cost model](super::cost).
//!
//! It does what the engines do, in their order: the edges of what has ended are decided consumer by consumer; what is ready
//! takes an idle executor of its pool, or waits in the pool's queue, first come, first served; a region opens as many items as
//! its window holds; a payload goes once to each worker that reads it. CPUs and links are shared: whoever uses one gets an
//! equal part of it (processor sharing), so that what is on them ends in an order that does not change, by a virtual clock that
//! runs slower the more there are (Parekh and Gallager, IEEE/ACM Transactions on Networking 1993).

mod items;
mod sharing;

use super::cost::{INLINE_BYTES, Model, Reads, Task, Work};
use sharing::Server;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What has been estimated of one placement.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Run {
    /// Until the last node has ended, over all scenarios, as expected.
    pub(super) makespan_ns: f64,
    /// By worker: CPU time that it spent, likewise.
    pub(super) busy_ns: Vec<f64>,
}

/// Why something could not begin earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Cause {
    /// It waits for nothing.
    #[default]
    Start,
    /// A unit on the same worker had to end.
    Unit(u32),
    /// What a unit on another worker gave had to arrive.
    Arrival(u32),
    /// An executor was busy with that unit.
    Executor(u32),
}

/// When a unit was ready, began and ended.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Span {
    pub(super) ready_ns: f64,
    pub(super) began_ns: f64,
    pub(super) ended_ns: f64,
    /// What made it ready.
    pub(super) ready: Cause,
    /// What let it begin, if it had to wait for an executor.
    pub(super) began: Cause,
}

const NONE: u32 = u32::MAX;

/// Something that will happen. Ordered by time, then by when it was foreseen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Event {
    /// Bits of a time that is not negative: they order as it does.
    at: u64,
    order: u32,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    /// A delay is over.
    Waited(u32),
    /// A task that needs no CPU has ended.
    Ended(u32),
    /// The first of those that share a server may be served: server, and the server's stamp.
    Served(u32, u32),
    /// What a unit gave arrives at a worker.
    Arrived(u32, u32),
}

/// A pool's executors on a worker, and its queue.
#[derive(Clone, Copy, Debug)]
struct Pool {
    idle: u32,
    first: u32,
    last: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: 0,
            first: NONE,
            last: NONE,
        }
    }
}

/// A region that runs.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    next: u32,
    left: u32,
}

/// Runs simulations; keeps its memory from one to the next.
#[derive(Debug)]
pub(super) struct Simulator<'m> {
    model: &'m Model,
    /// Shares of time in which tasks need CPUs, but for none: each has a server on every worker.
    classes: Vec<u8>,
    /// By region: its first task, and the first of its items. A task of a node has the number of its unit.
    first_of_region: Vec<(u32, u32)>,
    /// Of the tasks of regions: their unit, item and step.
    item_tasks: Vec<(u32, u32, u32)>,
    /// By executable: its first pool, and whether there is one for each worker: what one unit alone uses has one pool.
    pool_of: Vec<(u32, bool)>,
    pools: Vec<Pool>,
    /// By task: the one behind it in its pool's queue.
    next: Vec<u32>,
    /// By unit: edges that are undecided, and of a join of some how many live ones it lacks; none once it has begun.
    waiting: Vec<u32>,
    lacks: Vec<u32>,
    /// By task of a region: steps of its item that have not ended, and the same.
    before: Vec<u32>,
    lacks_within: Vec<u32>,
    open: Vec<Open>,
    /// By item: steps that have not ended.
    item_left: Vec<u32>,
    /// By worker and class; then by link.
    servers: Vec<Server>,
    /// Those that have been used since they were cleared.
    used_servers: Vec<u32>,
    /// By worker and class: CPUs that are needed.
    demand: Vec<f64>,
    /// By link: payloads on it.
    sharers: Vec<u32>,
    busy_ns: Vec<f64>,
    events: BinaryHeap<Reverse<Event>>,
    order: u32,
    now_ns: f64,
    last_ns: f64,
    /// By worker: what it reads of what has just ended.
    read: Vec<Reads>,
    readers: Vec<u32>,
    /// Units of whose end nobody has been told yet.
    ended: VecDeque<u32>,
    /// Tasks that have ended without running, likewise, and whether they were skipped.
    passed: VecDeque<(u32, bool)>,
    /// By unit: whether what its worker's others read of it is in memory; if not all is.
    held: Option<Vec<bool>>,
    scenario: usize,
    /// When each unit ran, in the scenario that is watched.
    spans: Vec<Span>,
    watched: usize,
    /// The unit whose end has just given its executor back.
    freed_by: u32,
}

impl<'m> Simulator<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let units = model.units.len();
        let workers = model.workers.len();
        let mut classes: Vec<u8> = Vec::new();
        let mut first_of_region = Vec::new();
        let mut item_tasks = Vec::new();
        let mut items = 0;
        for (number, unit) in model.units.iter().enumerate() {
            for task in model.tasks(unit) {
                if task.busy > 0 && !classes.contains(&task.busy) {
                    classes.push(task.busy);
                }
            }
            let Work::Region(region) = unit.work else {
                continue;
            };
            let region = &model.regions[region as usize];
            first_of_region.push(((units + item_tasks.len()) as u32, items));
            items += region.items;
            for item in 0..region.items {
                let steps = 0..region.steps.len() as u32;
                item_tasks.extend(steps.map(|step| (number as u32, item, step)));
            }
        }
        let mut pools = 0;
        let pool_of = model.executables.iter().map(|executable| {
            let first = pools;
            let shared = executable.units > 1;
            pools += if shared { workers } else { 1 };
            (first as u32, shared)
        });
        let pool_of = pool_of.collect();
        let links = workers * workers;
        Self {
            model,
            first_of_region,
            pool_of,
            pools: vec![Pool::default(); pools],
            next: vec![NONE; units + item_tasks.len()],
            waiting: vec![0; units],
            lacks: vec![0; units],
            before: vec![0; item_tasks.len()],
            lacks_within: vec![0; item_tasks.len()],
            item_tasks,
            open: vec![Open::default(); model.regions.len()],
            item_left: vec![0; items as usize],
            servers: vec![Server::default(); workers * classes.len() + links],
            used_servers: Vec::new(),
            demand: vec![0.0; workers * classes.len()],
            classes,
            sharers: vec![0; links],
            busy_ns: vec![0.0; workers],
            events: BinaryHeap::new(),
            order: 0,
            now_ns: 0.0,
            last_ns: 0.0,
            read: vec![Reads::default(); workers],
            readers: Vec::new(),
            ended: VecDeque::new(),
            passed: VecDeque::new(),
            held: None,
            scenario: 0,
            spans: vec![Span::default(); units],
            watched: 0,
            freed_by: NONE,
        }
    }

    /// How long an invocation takes, as expected.
    pub(super) fn makespan_ns(&mut self, placed: &[u32]) -> f64 {
        self.hold(placed);
        let mut sum = 0.0;
        for scenario in 0..self.model.scenarios.len() {
            sum += self.model.scenarios[scenario].0 * self.run(placed, scenario);
        }
        sum
    }

    /// The same, and what each worker did.
    pub(super) fn estimate(&mut self, placed: &[u32]) -> Run {
        let mut run = Run {
            makespan_ns: 0.0,
            busy_ns: vec![0.0; self.model.workers.len()],
        };
        self.hold(placed);
        for scenario in 0..self.model.scenarios.len() {
            let weight = self.model.scenarios[scenario].0;
            run.makespan_ns += weight * self.run(placed, scenario);
            for (sum, busy_ns) in run.busy_ns.iter_mut().zip(&self.busy_ns) {
                *sum += weight * busy_ns;
            }
        }
        run
    }

    /// When each unit ran in one scenario.
    pub(super) fn spans_in(&mut self, placed: &[u32], scenario: usize) -> &[Span] {
        self.watched = scenario;
        self.hold(placed);
        self.run(placed, scenario);
        &self.spans
    }

    /// When each unit ran in the scenario that is watched, of what was simulated last.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// From now on, this scenario is watched.
    pub(super) const fn watch(&mut self, scenario: usize) {
        self.watched = scenario;
    }

    /// What is held in memory with a placement: the same in all scenarios.
    fn hold(&mut self, placed: &[u32]) {
        self.held = self.model.held(placed);
    }

    fn run(&mut self, placed: &[u32], scenario: usize) -> f64 {
        self.reset(placed, scenario);
        for regions in [false, true] {
            for (unit, of) in (0..).zip(&self.model.units) {
                let is_region = matches!(of.work, Work::Region(_));
                if is_region == regions && self.model.predecessors.get(unit).is_empty() {
                    self.ready(placed, unit, Cause::Start);
                }
            }
        }
        self.tell(placed);
        while let Some(Reverse(event)) = self.events.pop() {
            self.now_ns = f64::from_bits(event.at);
            match event.what {
                What::Waited(task) => self.dispatch(placed, task),
                What::Ended(task) => self.task_ended(placed, task),
                What::Served(server, stamp) => self.served(placed, server, stamp),
                What::Arrived(unit, worker) => self.arrived(placed, unit, worker),
            }
            self.tell(placed);
        }
        self.last_ns
    }

    fn reset(&mut self, placed: &[u32], scenario: usize) {
        let model = self.model;
        self.scenario = scenario;
        self.now_ns = 0.0;
        self.last_ns = 0.0;
        self.order = 0;
        self.events.clear();
        for server in self.used_servers.drain(..) {
            self.servers[server as usize].clear();
        }
        self.demand.fill(0.0);
        self.sharers.fill(0);
        self.busy_ns.fill(0.0);
        self.pools.fill(Pool::default());
        for (unit, of) in model.units.iter().enumerate() {
            self.waiting[unit] = model.predecessors.get(unit as u32).len() as u32;
            self.lacks[unit] = of.at_least;
            let worker = placed[unit] as usize;
            for task in model.tasks(of) {
                if let Some(executable) = task.executable {
                    let executors = model.workers[worker].executors(task.scale);
                    let pool = self.pool(executable, worker);
                    let pool = &mut self.pools[pool];
                    pool.idle = pool.idle.max(executors);
                }
            }
        }
        self.widen_for_parts(placed);
    }

    /// Parts of a divided node that are on one worker have executors together.
    fn widen_for_parts(&mut self, placed: &[u32]) {
        let model = self.model;
        for (executable, parts) in &model.divided {
            for (place, (unit, _)) in parts.iter().enumerate() {
                let worker = placed[*unit as usize];
                let here = |(unit, _): &&(u32, u32)| placed[*unit as usize] == worker;
                if parts[..place].iter().any(|part| here(&part)) {
                    continue;
                }
                let scale = parts.iter().filter(here).map(|(_, scale)| scale).sum();
                let worker = worker as usize;
                let executors = model.workers[worker].executors(scale);
                let pool = self.pool(*executable, worker);
                let pool = &mut self.pools[pool];
                pool.idle = pool.idle.max(executors);
            }
        }
    }

    #[inline]
    fn pool(&self, executable: u32, worker: usize) -> usize {
        let (first, shared) = self.pool_of[executable as usize];
        first as usize + if shared { worker } else { 0 }
    }

    #[inline]
    fn foresee(&mut self, at_ns: f64, what: What) {
        self.order += 1;
        self.events.push(Reverse(Event {
            at: at_ns.to_bits(),
            order: self.order,
            what,
        }));
    }

    /// The unit and the task itself.
    #[inline]
    fn task(&self, task: u32) -> (u32, &'m Task) {
        let model = self.model;
        let units = model.units.len();
        if (task as usize) < units {
            match &model.units[task as usize].work {
                Work::Node(of) => return (task, of),
                Work::Region(_) => unreachable!("a region is no task"),
            }
        }
        let (unit, _, step) = self.item_tasks[task as usize - units];
        (unit, &model.steps(unit)[step as usize].task)
    }

    fn runs(&self, unit: u32) -> bool {
        let runs = &self.model.scenarios[self.scenario].1;
        runs.as_ref().is_none_or(|runs| runs[unit as usize])
    }

    /// All edges of a unit are decided.
    fn ready(&mut self, placed: &[u32], unit: u32, cause: Cause) {
        if self.scenario == self.watched {
            self.spans[unit as usize] = Span {
                ready_ns: self.now_ns,
                began_ns: self.now_ns,
                ended_ns: self.now_ns,
                ready: cause,
                began: cause,
            };
        }
        if !self.runs(unit) {
            self.unit_ended(unit);
            return;
        }
        let model = self.model;
        match &model.units[unit as usize].work {
            Work::Node(task) => self.wait(placed, unit, task.delay_ns),
            Work::Region(region) => self.open_region(placed, unit, *region),
        }
    }

    /// A task could start, but for a delay of its own.
    fn wait(&mut self, placed: &[u32], task: u32, delay_ns: f64) {
        if delay_ns > 0.0 {
            self.foresee(self.now_ns + delay_ns, What::Waited(task));
        } else {
            self.dispatch(placed, task);
        }
    }

    fn dispatch(&mut self, placed: &[u32], task: u32) {
        let (unit, of) = self.task(task);
        let worker = placed[unit as usize] as usize;
        let Some(executable) = of.executable else {
            if of.runtime_ns > 0.0 {
                self.start(task, unit, of, worker);
            } else {
                self.passed.push_back((task, true));
            }
            return;
        };
        let pool = self.pool(executable, worker);
        let pool = &mut self.pools[pool];
        if pool.idle > 0 {
            pool.idle -= 1;
            self.start(task, unit, of, worker);
            return;
        }
        self.next[task as usize] = NONE;
        if pool.first == NONE {
            pool.first = task;
        } else {
            self.next[pool.last as usize] = task;
        }
        pool.last = task;
    }

    /// A task begins to run.
    fn start(&mut self, task: u32, unit: u32, of: &Task, worker: usize) {
        if self.scenario == self.watched && (task as usize) < self.model.units.len() {
            let span = &mut self.spans[unit as usize];
            if span.ready_ns < self.now_ns && self.freed_by != NONE {
                span.began = Cause::Executor(self.freed_by);
            }
            span.began_ns = self.now_ns;
        }
        self.busy_ns[worker] += of.busy_ns() / self.model.workers[worker].speed;
        if of.busy == 0 {
            let speed = self.model.workers[worker].speed;
            self.foresee(self.now_ns + of.runtime_ns / speed, What::Ended(task));
            return;
        }
        let class = self.classes.iter().position(|class| *class == of.busy);
        let class = class.unwrap_or_default();
        let server = worker * self.classes.len() + class;
        self.demand[server] += of.demand();
        let first = self.join(server, of.runtime_ns, task);
        self.share_cpus(worker, first.then_some(server));
    }

    fn task_ended(&mut self, placed: &[u32], task: u32) {
        let (unit, of) = self.task(task);
        let worker = placed[unit as usize] as usize;
        if let Some(executable) = of.executable {
            self.freed_by = unit;
            let pool = self.pool(executable, worker);
            let waiting = self.pools[pool].first;
            if waiting == NONE {
                self.pools[pool].idle += 1;
            } else {
                self.pools[pool].first = self.next[waiting as usize];
                let (next_unit, next) = self.task(waiting);
                self.start(waiting, next_unit, next, worker);
            }
            self.freed_by = NONE;
        }
        if (task as usize) < self.model.units.len() {
            self.unit_ended(unit);
        } else {
            self.step_ended(placed, task, true);
        }
    }

    /// A unit has ended or been skipped.
    fn unit_ended(&mut self, unit: u32) {
        self.last_ns = self.now_ns;
        if self.scenario == self.watched {
            self.spans[unit as usize].ended_ns = self.now_ns;
        }
        self.ended.push_back(unit);
    }

    /// What waits for those that have ended is told of it, and so on.
    fn tell(&mut self, placed: &[u32]) {
        loop {
            if let Some((task, runs)) = self.passed.pop_front() {
                if (task as usize) < self.model.units.len() {
                    self.unit_ended(task);
                } else {
                    self.step_ended(placed, task, runs);
                }
            } else if let Some(unit) = self.ended.pop_front() {
                self.tell_end(placed, unit);
            } else {
                return;
            }
        }
    }

    /// Those on a unit's worker are told of its end at once, other workers once each.
    fn tell_end(&mut self, placed: &[u32], unit: u32) {
        let model = self.model;
        let own = placed[unit as usize];
        let runs = self.runs(unit);
        let held = self.held.as_ref().is_none_or(|held| held[unit as usize]);
        // What is not held in memory goes through a store, like what crosses.
        let is_local = |worker: u32, outputs: u64| worker == own && (held || !runs || outputs == 0);
        for edge in model.successors.get(unit) {
            let worker = placed[edge.unit as usize];
            if is_local(worker, edge.outputs) {
                continue;
            }
            let read = &mut self.read[worker as usize];
            if read.is_none() {
                self.readers.push(worker);
            }
            read.add(edge);
        }
        let mut readers = std::mem::take(&mut self.readers);
        for worker in readers.drain(..) {
            let reads = std::mem::take(&mut self.read[worker as usize]);
            let bytes = if runs {
                reads.bytes(model.outputs_of(unit), model.there(unit, self.scenario))
            } else {
                0.0
            };
            self.send(unit, own as usize, worker as usize, bytes);
        }
        self.readers = readers;
        for edge in model.successors.get(unit) {
            if is_local(placed[edge.unit as usize], edge.outputs) {
                let live = runs && edge.counts;
                self.decided(placed, edge.unit, live, Cause::Unit(unit));
            }
        }
    }

    fn send(&mut self, unit: u32, from: usize, to: usize, bytes: f64) {
        let link = *self.model.link(from, to);
        if bytes <= INLINE_BYTES {
            let at_ns = self.now_ns + link.transfer_ns(bytes);
            self.foresee(at_ns, What::Arrived(unit, to as u32));
            return;
        }
        let workers = self.model.workers.len();
        let number = from * workers + to;
        let server = workers * self.classes.len() + number;
        self.join(server, bytes, unit);
        self.sharers[number] += 1;
        self.share_link(number);
    }

    fn arrived(&mut self, placed: &[u32], unit: u32, worker: u32) {
        let model = self.model;
        let own = placed[unit as usize] == worker;
        let runs = self.runs(unit);
        for edge in model.successors.get(unit) {
            // What comes back through a store is only for those who read.
            if placed[edge.unit as usize] == worker && (!own || edge.outputs != 0) {
                let live = runs && edge.counts;
                self.decided(placed, edge.unit, live, Cause::Arrival(unit));
            }
        }
    }

    #[inline]
    fn decided(&mut self, placed: &[u32], unit: u32, live: bool, cause: Cause) {
        let waiting = &mut self.waiting[unit as usize];
        *waiting -= 1;
        let lacks = &mut self.lacks[unit as usize];
        if counts_down(
            *waiting,
            lacks,
            live,
            self.model.units[unit as usize].at_least,
        ) {
            self.ready(placed, unit, cause);
        }
    }
}

/// Whether what waits for so many edges begins, or is skipped, with this one: with the last one; or, if it joins some, with the
/// last live one that it lacks.
#[inline]
fn counts_down(waiting: u32, lacks: &mut u32, live: bool, at_least: u32) -> bool {
    if at_least == 0 {
        return waiting == 0;
    }
    // It has begun before.
    if *lacks == 0 {
        return false;
    }
    *lacks -= u32::from(live);
    *lacks == 0 || waiting == 0
}
