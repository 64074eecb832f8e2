//! Which regions are divided to be faster: a greedy search over the undivided placement, by the estimator.
//!
//! 1. The workflow is placed undivided, with half of the steps or of the time.
//! 2. Of the regions on which its makespan hangs ([`hot`]) the one that runs longest is divided among 2, 4, 8 and so on workers, up
//!    to all: its executors, which become no more, are dealt out so that all parts end soon, by the workers' speeds, their room,
//!    and the CPUs that others leave free there. Each of these graphs is placed beginning with what there is, the parts on workers
//!    of their own, and then searched for a few steps. Of all, the one is kept that beats what there was by [`GAIN_MIN`], or,
//!    with more parts, the one with fewer. Then the next region.
//! 3. Regions that only together keep the end waiting are divided together; those of them that do not pay are joined again.
//! 4. What is left of the steps or of the time goes to the best.
//!
//! So the result is never worse than the undivided one.

use super::{Division, fit, parts_max, refused};
use crate::definition::{Definition, Divide};
use crate::graph::{Graph, GraphNode};
use crate::place::{
    Effort, Found, Hot, Options, Partitioner, Placement, Start, WorkerCapacity, hot, improve,
};
use engine::plan::NodeId;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// By what share of the makespan a division must be faster to be kept: what lists cost to cut and to gather, executors more to
/// start, and a worker more that an invocation waits for are not in the model.
const GAIN_MIN: f64 = 0.05;
/// Regions whose division is tried at most, each into several numbers of parts.
const REGIONS_MAX: usize = 8;
/// Steps that a try has at least, and the undivided placement: so many that the published placement is among what is scored.
const TRY_STEPS_MIN: u64 = 4;
const FIRST_STEPS_MIN: u64 = 16;

/// A way to divide and place a workflow.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) division: Division,
    pub(super) graph: Graph,
    pub(super) placement: Placement,
    pub(super) found: Found,
}

impl Way {
    /// Whether it is faster than another one by a share of that.
    fn beats(&self, other: &Self, by: f64) -> bool {
        self.found.makespan_ns < other.found.makespan_ns * (1.0 - by)
    }
}

/// How a region is to be divided: the executors and the worker of each part. One part joins it.
type Parts = Vec<(u32, usize)>;

/// How fast the items of a region are run.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Executors that its widest node wants. Each runs an equal share of the items.
    executors: u32,
    /// An item's time in all of them together: that of the node which is slowest with its executors.
    item_ms: f64,
    /// An item's CPU time.
    cpu_ms: f64,
}

impl Pace {
    fn of(nodes: &[&GraphNode]) -> Self {
        let items = nodes[0].items.max(1) as f64;
        let runtime_ms = |node: &GraphNode| node.runtime_ms * node.activations as f64 / items;
        let executed = nodes.iter().filter(|node| node.executable.is_some());
        let of_node = |node: &&&GraphNode| runtime_ms(node) / f64::from(node.scale.max(1));
        let slowest_ms = executed
            .clone()
            .map(|node| of_node(&node))
            .fold(0.0, f64::max);
        let whole_ms: f64 = executed.clone().map(|node| runtime_ms(node)).sum();
        let at_once = f64::from(nodes[0].parallelism.unwrap_or(u32::MAX));
        let cpu_ms = |node: &&GraphNode| runtime_ms(node) * node.busy * f64::from(node.cpus);
        Self {
            executors: nodes.iter().map(|node| node.scale).max().unwrap_or(0),
            item_ms: slowest_ms.max(whole_ms / at_once),
            cpu_ms: executed.map(cpu_ms).sum(),
        }
    }

    /// How long so many executors take for their share of the items on a worker of speed 1 with so many CPUs, for each item of
    /// the whole.
    fn takes(&self, executors: u32, cpus: f64) -> f64 {
        let share = f64::from(executors) / f64::from(self.executors);
        let computing_ms = if self.cpu_ms > 0.0 {
            share * self.cpu_ms / cpus
        } else {
            0.0
        };
        self.item_ms.max(computing_ms)
    }
}

/// The search, and what it may still use.
pub(super) struct Speed<'a> {
    definition: &'a Definition,
    workers: &'a [WorkerCapacity],
    options: &'a Options,
    /// Regions that may be divided.
    regions: BTreeSet<usize>,
    /// What is divided in any case.
    whole: Division,
    steps: Option<u64>,
    until: Option<Instant>,
    used: u64,
}

impl<'a> Speed<'a> {
    /// None if nothing can be divided, or nobody asks for it.
    pub(super) fn of(
        definition: &'a Definition,
        workers: &'a [WorkerCapacity],
        options: &'a Options,
        began: Instant,
    ) -> Option<Self> {
        if options.partitioner != Partitioner::Default || workers.len() < 2 {
            return None;
        }
        let pinned = fit::fixed_regions(definition, options);
        let graph = Graph::of(definition);
        let may = |region: usize| {
            definition.regions[region].divide == Divide::Auto
                && refused(definition, region).is_none()
                && !pinned.contains(&region)
        };
        let regions = graph.nodes().filter_map(|node| {
            let region = node.together.filter(|region| may(*region))?;
            (node.items >= 2).then_some(region)
        });
        let regions: BTreeSet<usize> = regions.collect();
        let Effort { steps, budget, .. } = options.effort;
        let steps = match (steps, budget) {
            (None, None) => Some(Effort::steps_for(&graph, workers)),
            (steps, _) => steps,
        };
        (!regions.is_empty()).then_some(Self {
            definition,
            workers,
            options,
            regions,
            whole: Division::default(),
            steps,
            until: budget.map(|budget| began + budget),
            used: 0,
        })
    }

    /// What the undivided placement may use.
    pub(super) fn first_effort(&self) -> Effort {
        let Effort { budget, seed, .. } = self.options.effort;
        let half = |steps: u64| (steps / 2).max(FIRST_STEPS_MIN.min(steps));
        Effort {
            steps: self.steps.map(half),
            budget: budget.map(|budget| budget / 2),
            seed,
        }
    }

    /// Divides what is faster so; what comes of it is no worse than the undivided way.
    pub(super) fn search(mut self, whole: &Way) -> Way {
        self.used = whole.found.steps;
        self.whole = whole.division.clone();
        let mut best = whole.clone();
        let mut tries = self.tries();
        self.one_by_one(&mut best, &mut tries);
        self.together(&mut best, &mut tries);
        if !best.found.optimal
            && let Some(effort) = self.share(1)
            && let Some(better) = self.place(&best, &BTreeMap::new(), effort)
        {
            best = better;
        }
        best.found = Found {
            steps: self.used,
            first: whole.found.first,
            optimal: best.found.optimal && best.division == whole.division,
            ..best.found
        };
        best
    }

    /// How many tries there may be at most.
    fn tries(&self) -> u32 {
        let each = self.workers.len().ilog2() + 1;
        let regions = REGIONS_MAX.min(self.regions.len()) as u32;
        // One by one, together, and joined again.
        regions * (each + 2)
    }

    /// A part of what is left, for so many; none if that is nothing.
    fn share(&self, of: u32) -> Option<Effort> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let steps = self.steps.map(|steps| steps.saturating_sub(self.used));
        let budget = self.until.map(|until| left(until) / of);
        let out = steps.is_some_and(|left| left < TRY_STEPS_MIN);
        let late = budget.is_some_and(|budget| budget == Duration::ZERO);
        (!out && !late).then(|| Effort {
            steps: steps.map(|left| (left / u64::from(of)).max(TRY_STEPS_MIN)),
            budget,
            seed: self.options.effort.seed,
        })
    }

    /// Half of what is left is for the tries that there may still be. One of them.
    fn one_try(&self, tries: &mut u32) -> Option<Effort> {
        let share = self.share(2 * (*tries).max(1));
        *tries = tries.checked_sub(1)?;
        share
    }

    /// The regions on which the makespan hangs that are whole and may be divided, of those that are wanted; so many at most.
    fn hot(&mut self, way: &Way, wanted: impl Fn(usize) -> bool, most: usize) -> Vec<Hot> {
        if self.share(1).is_none() {
            return Vec::new();
        }
        self.used += 1;
        let wanted = |region: usize| {
            self.regions.contains(&region) && way.division.parts(region) == 1 && wanted(region)
        };
        let (graph, placement) = (&way.graph, &way.placement);
        hot(graph, self.workers, self.options, placement, (wanted, most))
    }

    /// Divides the hottest region, then the hottest of what comes of that, and so on.
    fn one_by_one(&mut self, best: &mut Way, tries: &mut u32) {
        let mut in_vain: BTreeSet<usize> = BTreeSet::new();
        for _ in 0..REGIONS_MAX {
            let hot = self.hot(best, |region| !in_vain.contains(&region), 1);
            let Some(hottest) = hot.first() else {
                return;
            };
            let whole = best.clone();
            for parts in self.ways_to_divide(&whole, hottest) {
                let Some(effort) = self.one_try(tries) else {
                    return;
                };
                let parts = BTreeMap::from([(hottest.region, parts)]);
                if let Some(way) = self.place(&whole, &parts, effort)
                    && way.beats(best, GAIN_MIN)
                {
                    *best = way;
                }
            }
            if best.division == whole.division {
                in_vain.insert(hottest.region);
            } else {
                // What was in vain before may be the next that keeps the end waiting.
                in_vain.clear();
            }
        }
    }

    /// Divides all regions that keep the end waiting, and joins those again that gain nothing.
    fn together(&mut self, best: &mut Way, tries: &mut u32) {
        let hot = self.hot(best, |_| true, REGIONS_MAX);
        if hot.len() < 2 {
            return;
        }
        let mut way = best.clone();
        for region in hot.iter().map(|hot| hot.region) {
            // What the others leave free is what they leave in their parts.
            let hot = self.hot(&way, |one| one == region, 1);
            let Some(parts) = hot
                .first()
                .and_then(|hot| self.ways_to_divide(&way, hot).pop())
            else {
                continue;
            };
            let Some(effort) = self.one_try(tries) else {
                break;
            };
            if let Some(divided) = self.place(&way, &BTreeMap::from([(region, parts)]), effort) {
                way = divided;
            }
        }
        if !way.beats(best, GAIN_MIN) {
            return;
        }
        for region in way.division.more_than(&best.division) {
            let Some(effort) = self.one_try(tries) else {
                break;
            };
            let first = way
                .graph
                .nodes()
                .position(|node| node.together == Some(region));
            let worker = way.placement.workers()[first.unwrap_or_default()];
            let joined = BTreeMap::from([(region, vec![(1, worker)])]);
            if let Some(joined) = self.place(&way, &joined, effort)
                && !way.beats(&joined, GAIN_MIN)
            {
                way = joined;
            }
        }
        if way.beats(best, GAIN_MIN) {
            *best = way;
        }
    }

    /// Into which parts a region may be divided, fewer first.
    fn ways_to_divide(&self, way: &Way, hot: &Hot) -> Vec<Parts> {
        let nodes = (0..).zip(way.graph.nodes());
        let own = nodes.filter(|(_, node)| node.together == Some(hot.region));
        let (own, nodes): (Vec<NodeId>, Vec<&GraphNode>) = own.unzip();
        let own = way.placement.worker(own[0]);
        let pace = Pace::of(&nodes);
        // The best first, of equals that on which it is.
        let best = |worker: &usize| self.workers[*worker].speed * hot.free_cpus[*worker];
        let mut order: Vec<usize> = (0..self.workers.len()).collect();
        order.sort_by(|a, b| {
            best(b)
                .total_cmp(&best(a))
                .then((*a != own).cmp(&(*b != own)))
        });
        let items = usize::try_from(nodes[0].items).unwrap_or(usize::MAX);
        let most = parts_max(self.definition, hot.region).min(items);
        let most = most.min(pace.executors as usize).min(order.len());
        let counts = std::iter::successors(Some(2), |parts| Some(parts * 2));
        let counts = counts.take_while(|count| *count < most).chain([most]);
        let mut ways: Vec<Parts> = Vec::new();
        for count in counts {
            let parts = self.parts(&pace, hot, &order[..count]);
            if parts.len() >= 2 && !ways.contains(&parts) {
                ways.push(parts);
            }
        }
        ways
    }

    /// Deals out the executors of a region to some workers, each to the one that is through with its part soonest if it gets it.
    fn parts(&self, pace: &Pace, hot: &Hot, on: &[usize]) -> Parts {
        let mut parts: Parts = on.iter().map(|worker| (0, *worker)).collect();
        for _ in 0..pace.executors {
            let roomy = parts
                .iter_mut()
                .filter(|(has, worker)| *has < hot.rooms[*worker]);
            let takes = |(has, worker): &(u32, usize)| {
                let speed = self.workers[*worker].speed;
                pace.takes(has + 1, hot.free_cpus[*worker]) / speed
            };
            let soonest = roomy.min_by(|a, b| takes(a).total_cmp(&takes(b)));
            match soonest {
                Some((has, _)) => *has += 1,
                None => return Vec::new(),
            }
        }
        parts.retain(|(executors, _)| *executors > 0);
        parts
    }

    /// Divides some regions more, or joins them, and places what comes of it, beginning with a way that is known.
    fn place(
        &mut self,
        way: &Way,
        changed: &BTreeMap<usize, Parts>,
        effort: Effort,
    ) -> Option<Way> {
        let mut division = way.division.clone();
        for (region, parts) in changed {
            let weights: Vec<u32> = parts.iter().map(|(weight, _)| *weight).collect();
            division.set(self.definition, *region, &weights);
        }
        let graph = Graph::divided(self.definition, &division);
        let part = |node: &GraphNode| node.part.map_or(0, |part| part.number);
        let key = |node: &GraphNode| (node.defined, part(node));
        let nodes = way.graph.nodes().map(key);
        let known = nodes.zip(way.placement.workers().iter().copied());
        let known: FxHashMap<(usize, u16), usize> = known.collect();
        let changed_to = |node: &GraphNode| changed.get(&node.together?);
        let on = graph.nodes().map(|node| match changed_to(node) {
            Some(parts) => parts[usize::from(part(node))].1,
            None => known[&key(node)],
        });
        let on: Vec<usize> = on.collect();
        let options = Options {
            effort,
            ..self.options.clone()
        };
        let start = Start {
            known: &on,
            late: &changed.keys().copied().collect(),
            spread: &division.more_than(&self.whole).into_iter().collect(),
        };
        // What contradicts itself has done so for the undivided graph.
        let found = improve(&graph, self.workers, &options, start);
        let (placement, found) = found.ok().flatten()?;
        self.used += found.steps;
        Some(Way {
            division,
            graph,
            placement,
            found,
        })
    }
}
