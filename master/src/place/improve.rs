//! Placements that begin with one that is known, and are never worse.

use super::cost::Model;
use super::room::{Room, Wants};
use super::search::{self, Search};
use super::{Found, Options, PlaceError, Placement, WorkerCapacity, finish, fixed_workers};
use crate::graph::{Graph, GraphNode};
use std::time::Instant;

/// Goes on from a placement: `known` has a worker for each node. Nodes that are `late` come last, each on its worker if there is
/// room for it, or else on another one. None if there is no room, or the others break a limit.
///
/// # Errors
/// As [`find`](super::find) does for what contradicts itself.
pub(crate) fn improve(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    known: &[usize],
    late: impl Fn(&GraphNode) -> bool,
) -> Result<Option<(Placement, Found)>, PlaceError> {
    let began = Instant::now();
    let fixed = fixed_workers(graph, workers, options)?;
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let wants = Wants::of(graph, &model, workers, &fixed);
    let units = model.units.iter().map(|unit| unit.nodes.start);
    let units = (0..).zip(units);
    let (late, others): (Vec<_>, Vec<_>) = units.partition(|(_, node)| late(graph.node(*node)));
    let mut room = Room::empty(&wants);
    for (unit, node) in others {
        let worker = known[node as usize] as u32;
        if !room.fits(unit, worker) {
            return Ok(None);
        }
        room.put(unit, worker);
    }
    for (unit, node) in late {
        let wished = known[node as usize] as u32;
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
    search.offer(&room.placed);
    if !search.try_all(search::ALL_MAX) {
        search.anneal();
    }
    let found = finish(graph, workers, &fixed, &model, search)?;
    let took = began.elapsed();
    Ok(Some((found.0, Found { took, ..found.1 })))
}
