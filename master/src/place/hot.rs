//! What regions do in a placement: on which the makespan hangs, and what the workers have left for each while it runs.

use super::capacity::{Loads, overload};
use super::cost::Model;
use super::estimate::{Simulator, Span};
use super::explain::units_of;
use super::search::critical_chain;
use super::{Options, Placement, WorkerCapacity};
use crate::graph::{Graph, GraphNode};
use engine::plan::NodeId;
use std::collections::BTreeMap;

/// A region that runs for at least this share of the makespan is hot even if the end hangs on something else: on what waits
/// for the same CPUs, or on another one like it.
const LONG: f64 = 0.5;

/// An outermost region on which the makespan hangs, or that takes most of it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Hot {
    /// Its place in the definition.
    pub(crate) region: usize,
    /// By worker: CPUs that others leave to it while it runs.
    pub(crate) free_cpus: Vec<f64>,
    /// By worker: executors of its widest node for which there is room.
    pub(crate) rooms: Vec<u32>,
}

/// Regions on which the makespan hangs, of those that are wanted so many at most: those that run longest first, of equals the
/// first.
pub(crate) fn hot(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    placement: &Placement,
    (wanted, most): (impl Fn(usize) -> bool, usize),
) -> Vec<Hot> {
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let placed = units_of(&model, placement);
    let mut simulator = Simulator::new(&model);
    let region = |unit: usize| graph.node(model.units[unit].nodes.start as NodeId).together;
    let mut found: BTreeMap<usize, Heat> = BTreeMap::new();
    for scenario in 0..model.scenarios.len() {
        let chance = model.scenarios[scenario].0;
        let spans = simulator.spans_in(&placed, scenario);
        for (region, when) in hot_in(spans, |unit| region(unit).filter(|region| wanted(*region))) {
            let heat = found.entry(region).or_default();
            heat.ran_ns += chance * (when.1 - when.0);
            if chance > heat.chance {
                *heat = Heat {
                    ran_ns: heat.ran_ns,
                    chance,
                    scenario,
                    when,
                };
            }
        }
    }
    let mut found: Vec<(usize, Heat)> = found.into_iter().collect();
    found.sort_by(|a, b| b.1.ran_ns.total_cmp(&a.1.ran_ns).then(a.0.cmp(&b.0)));
    found.truncate(most);
    let hot = |(hot, heat): (usize, Heat)| {
        let spans = simulator.spans_in(&placed, heat.scenario);
        let is_own = |unit: usize| region(unit) == Some(hot);
        let free_cpus = free_cpus(&model, &placed, spans, heat.when, is_own);
        let own = |node: &GraphNode| node.together == Some(hot);
        Hot {
            region: hot,
            rooms: rooms(graph, workers, placement, own),
            free_cpus,
        }
    };
    found.into_iter().map(hot).collect()
}

/// How hot a region is.
#[derive(Clone, Copy, Default)]
struct Heat {
    /// How long it runs, over all scenarios in which it is hot, as expected.
    ran_ns: f64,
    /// The likeliest of these scenarios, how likely that is, and when the region runs then.
    scenario: usize,
    chance: f64,
    when: (f64, f64),
}

/// The regions that are hot in a scenario, and when they run.
fn hot_in(spans: &[Span], region: impl Fn(usize) -> Option<usize>) -> BTreeMap<usize, (f64, f64)> {
    let makespan_ns = spans.iter().map(|span| span.ended_ns).fold(0.0, f64::max);
    let critical = critical_chain(spans);
    let critical = critical.into_iter().map(|(unit, _)| unit as usize);
    let long = spans.iter().enumerate();
    let long = long.filter(|(_, span)| length_ns(span) >= LONG * makespan_ns);
    let mut hot: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for unit in critical.chain(long.map(|(unit, _)| unit)) {
        let span = &spans[unit];
        if let Some(region) = region(unit).filter(|_| length_ns(span) > 0.0) {
            let when = hot.entry(region).or_insert((span.began_ns, span.ended_ns));
            *when = (when.0.min(span.began_ns), when.1.max(span.ended_ns));
        }
    }
    hot
}

/// By worker: how many of the executors that the widest of some nodes wants find room there with those of the others that go with
/// them, once all of these nodes are nowhere.
fn rooms(
    graph: &Graph,
    workers: &[WorkerCapacity],
    placement: &Placement,
    is_own: impl Fn(&GraphNode) -> bool,
) -> Vec<u32> {
    let nodes = graph.nodes().zip(placement.workers());
    let others = nodes.map(|(node, worker)| if is_own(node) { usize::MAX } else { *worker });
    let others: Vec<usize> = others.collect();
    let loads = Loads::of(graph, &others, workers.len());
    let own: Vec<&GraphNode> = graph.nodes().filter(|node| is_own(node)).collect();
    let widest = own.iter().map(|node| node.scale).max().unwrap_or_default();
    let room = |(index, worker): (usize, &WorkerCapacity)| {
        let fits = |executors: u32| {
            let part = own.iter().map(|node| {
                let scale = (node.scale * executors).div_ceil(widest.max(1));
                GraphNode {
                    scale,
                    slots: scale * node.cpus,
                    ..(*node).clone()
                }
            });
            let part: Vec<GraphNode> = part.collect();
            overload(loads.demand_with(&part, index), worker).is_none()
        };
        let (mut fit, mut too_many) = (0, widest + 1);
        while too_many - fit > 1 {
            let middle = fit.midpoint(too_many);
            if fits(middle) {
                fit = middle;
            } else {
                too_many = middle;
            }
        }
        fit
    };
    workers.iter().enumerate().map(room).collect()
}

fn length_ns(span: &Span) -> f64 {
    span.ended_ns - span.began_ns
}

/// By worker: the CPUs that all but some units leave free on average from one time to another.
fn free_cpus(
    model: &Model,
    placed: &[u32],
    spans: &[Span],
    (begin_ns, end_ns): (f64, f64),
    is_own: impl Fn(usize) -> bool,
) -> Vec<f64> {
    let mut free: Vec<f64> = model.workers.iter().map(|worker| worker.cpus).collect();
    for (unit, span) in spans.iter().enumerate() {
        let common_ns = span.ended_ns.min(end_ns) - span.began_ns.max(begin_ns);
        if common_ns <= 0.0 || is_own(unit) {
            continue;
        }
        let worker = placed[unit] as usize;
        let busy_ns = model.units[unit].busy_ns / model.workers[worker].speed;
        let share = common_ns / length_ns(span);
        free[worker] -= busy_ns * share / (end_ns - begin_ns);
    }
    free.iter_mut().for_each(|free| *free = free.max(0.0));
    free
}
