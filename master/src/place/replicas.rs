//! Several placements of one workflow beside each other, each of all its nodes.

use super::capacity::{Loads, overload};
use super::{Options, PlaceError, Placement, WorkerCapacity, fixed_workers, place};
use crate::graph::Graph;
use engine::plan::REPLICAS_MAX;

/// So many placements of a workflow that fit the workers together: each has executors and memory of its own. The first is given.
///
/// Each further one is the first with its workers rotated by one more, but for what is fixed to a worker; so the workers swap
/// parts, and no part is everywhere on the same one. Where the rotated one does not fit into what the earlier ones leave, it is
/// placed anew there.
///
/// # Errors
/// [`PlaceError::Replicas`] if a further one finds no room.
///
/// # Panics
/// If `count` is none from 1 to [`REPLICAS_MAX`].
pub fn beside(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    first: Placement,
    count: u16,
) -> Result<Vec<Placement>, PlaceError> {
    assert!(
        (1..=REPLICAS_MAX).contains(&count),
        "a deployment has from 1 to {REPLICAS_MAX} placements"
    );
    let mut placements = vec![first];
    let fixed = fixed_workers(graph, workers, options)?;
    let mut left = workers.to_vec();
    for number in 1..count {
        take_from(&mut left, graph, &placements[placements.len() - 1]);
        let rotated = rotated(&placements[0], &fixed, workers.len(), usize::from(number));
        let next = if fits(graph, &left, &rotated) {
            rotated
        } else {
            place(graph, &left, options).map_err(|why| PlaceError::Replicas {
                wanted: count,
                fit: number,
                why: Box::new(why),
            })?
        };
        placements.push(next);
    }
    Ok(placements)
}

/// A placement with every node so many workers further, but for those that are fixed.
fn rotated(first: &Placement, fixed: &[Option<usize>], workers: usize, steps: usize) -> Placement {
    let nodes = first.workers.iter().zip(fixed);
    let rotated = nodes.map(|(worker, fixed)| fixed.unwrap_or((worker + steps) % workers));
    Placement {
        workers: rotated.collect(),
    }
}

/// Takes what a placement needs from what workers have left.
fn take_from(left: &mut [WorkerCapacity], graph: &Graph, placement: &Placement) {
    let loads = Loads::of(graph, &placement.workers, left.len());
    for (index, worker) in left.iter_mut().enumerate() {
        let demand = loads.demand(index);
        worker.executors = worker.executors.saturating_sub(demand.executors);
        worker.memory_mib = worker.memory_mib.saturating_sub(demand.memory_mib);
    }
}

/// Whether workers have room for a placement.
fn fits(graph: &Graph, left: &[WorkerCapacity], placement: &Placement) -> bool {
    let loads = Loads::of(graph, &placement.workers, left.len());
    let mut apart = graph.apart().iter();
    if apart.any(|(a, b)| placement.worker(*a) == placement.worker(*b)) {
        return false;
    }
    let mut workers = left.iter().enumerate();
    workers.all(|(index, worker)| overload(loads.demand(index), worker).is_none())
}

#[cfg(test)]
mod tests;
