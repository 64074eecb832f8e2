//! How short a makespan can be: bounds to hold placements against.

use super::cost::{Model, UnitEdge};
use super::room::Wants;
use super::search::Search;
use super::{Effort, Network, Options, PlaceError, WorkerCapacity, fixed_workers};
use crate::graph::Graph;
use std::time::Instant;

/// A time that no placement beats, in nanoseconds: the longest way through the graph with transfers for nothing and all workers
/// as fast as the fastest, or all work over all CPUs, whichever is longer; over all scenarios, as expected. Without workers, 0.
#[must_use]
pub fn lower_bound_ns(graph: &Graph, workers: &[WorkerCapacity]) -> f64 {
    if workers.is_empty() {
        return 0.0;
    }
    let model = Model::of(graph, workers, &Network::default(), u64::MAX);
    let capacity: f64 = model
        .workers
        .iter()
        .map(|worker| worker.cpus * worker.speed)
        .sum();
    let mut expected_ns = 0.0;
    let mut ends = vec![0.0_f64; model.units.len()];
    for (scenario, (weight, runs)) in model.scenarios.iter().enumerate() {
        let mut work_ns = 0.0;
        let mut longest_ns = 0.0_f64;
        for unit in 0..model.units.len() {
            let begins_ns = begins_ns(&model, unit as u32, runs.as_deref(), &ends);
            let (least_ns, busy_ns) = if runs.as_ref().is_none_or(|runs| runs[unit]) {
                model.least(unit as u32, scenario)
            } else {
                (0.0, 0.0)
            };
            ends[unit] = begins_ns + least_ns;
            longest_ns = longest_ns.max(ends[unit]);
            work_ns += busy_ns;
        }
        expected_ns += weight * longest_ns.max(work_ns / capacity);
    }
    expected_ns
}

/// When a unit begins at the earliest, if what it waits for ends at those times: with the last, or, if it joins some, with as many
/// of those that run as it joins.
fn begins_ns(model: &Model, unit: u32, runs: Option<&[bool]>, ends: &[f64]) -> f64 {
    let edges = model.predecessors.get(unit).iter();
    let at_least = model.units[unit as usize].at_least as usize;
    if at_least == 0 {
        return edges
            .map(|edge| ends[edge.unit as usize])
            .fold(0.0, f64::max);
    }
    let live = |edge: &&UnitEdge| edge.counts && runs.is_none_or(|runs| runs[edge.unit as usize]);
    let mut live: Vec<f64> = edges
        .filter(live)
        .map(|edge| ends[edge.unit as usize])
        .collect();
    live.sort_by(f64::total_cmp);
    live.get(at_least - 1).copied().unwrap_or(0.0)
}

/// The makespan of the best placement, in nanoseconds, found by trying all: `None` if they are more than `ways_max`, those apart
/// that only exchange workers which are alike.
///
/// # Errors
/// As [`place`](super::place) does for what contradicts itself; if nothing fits, there is no best one.
pub fn optimum_ns(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    ways_max: u64,
) -> Result<Option<f64>, PlaceError> {
    let fixed = fixed_workers(graph, workers, options)?;
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let wants = Wants::of(graph, &model, workers, &fixed);
    let effort = Effort {
        steps: Some(u64::MAX),
        ..Effort::default()
    };
    let mut search = Search::new(&model, &wants, effort, Instant::now());
    if !search.try_all(ways_max) {
        return Ok(None);
    }
    Ok(search.shortest_ns())
}
