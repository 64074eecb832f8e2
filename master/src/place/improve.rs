//! Placements that begin with one that is known, and are never worse.

use super::cost::Model;
use super::room::{Room, Wants};
use super::search::{self, Search};
use super::{Found, Options, PlaceError, Placement, WorkerCapacity, finish, fixed_workers};
use crate::graph::Graph;
use engine::plan::NodeId;
use std::collections::BTreeSet;
use std::time::Instant;

/// Where a search begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// A worker for each node.
    pub(crate) known: &'a [usize],
    /// Regions whose nodes come last, each on its worker if there is room for it, or else on another one; by their places in the
    /// definition.
    pub(crate) late: &'a BTreeSet<usize>,
    /// Regions of whose parts no two are to share a worker.
    pub(crate) spread: &'a BTreeSet<usize>,
}

/// Goes on from a placement. None if there is no room, or those that come first break a limit.
///
/// # Errors
/// As [`find`](super::find) does for what contradicts itself.
pub(crate) fn improve(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    start: Start<'_>,
) -> Result<Option<(Placement, Found)>, PlaceError> {
    let began = Instant::now();
    let fixed = fixed_workers(graph, workers, options)?;
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let mut wants = Wants::of(graph, &model, workers, &fixed);
    let units = model.units.iter().map(|unit| unit.nodes.start);
    let units: Vec<(u32, NodeId)> = (0..).zip(units).collect();
    let region = |node: NodeId| graph.node(node).together;
    for spread in start.spread {
        let parts = units
            .iter()
            .filter(|(_, node)| region(*node) == Some(*spread));
        let parts: Vec<u32> = parts.map(|(unit, _)| *unit).collect();
        wants.keep_apart(&parts);
    }
    let is_late = |node: NodeId| region(node).is_some_and(|region| start.late.contains(&region));
    let (late, others): (Vec<_>, Vec<_>) = units.iter().partition(|(_, node)| is_late(*node));
    let mut room = Room::empty(&wants);
    for (unit, node) in others {
        let worker = start.known[node as usize] as u32;
        if !room.fits(unit, worker) {
            return Ok(None);
        }
        room.put(unit, worker);
    }
    for (unit, node) in late {
        let wished = start.known[node as usize] as u32;
        let fitting = (0..workers.len() as u32).filter(|worker| room.fits(unit, *worker));
        let roomiest = || fitting.max_by(|a, b| room.left(*a).total_cmp(&room.left(*b)));
        let worker = if room.fits(unit, wished) {
            wished
        } else {
            match roomiest() {
                Some(worker) => worker,
                None => return Ok(None),
            }
        };
        room.put(unit, worker);
    }
    let mut search = Search::new(&model, &wants, options.effort, began);
    search.offer_answer(&room.placed);
    if search.has_no_choice() {
        search.settle();
    } else if !search.try_all(search::ALL_MAX) {
        search.anneal();
    }
    let found = finish(graph, workers, &fixed, &model, search)?;
    let took = began.elapsed();
    Ok(Some((found.0, Found { took, ..found.1 })))
}
