//! Several placements of one workflow beside each other, each of all its nodes.

use super::capacity::{Loads, overload};
use super::cost::Model;
use super::estimate::Simulator;
use super::{Options, PlaceError, Placement, WorkerCapacity, fixed_workers, place};
use crate::graph::Graph;
use engine::plan::REPLICAS_MAX;

/// Ways to rotate the first placement that are scored for each further one, at most.
const ROTATIONS_MAX: usize = 16;
/// By how much of its makespan a rotated placement may be longer than one that is found anew: in it workers have other parts.
const ROTATED: f64 = 0.05;

/// So many placements of a workflow that fit the workers together: each has executors and memory of its own. The first is given;
/// the further ones have the time of the options together.
///
/// Each further one is the first with its workers rotated, but for what is fixed to a worker; so the workers swap parts. Of the ways
/// to rotate it that fit into what the earlier ones leave the shortest is taken, and of equals the one that goes on from the last.
/// Where none fits, or all are clearly longer than the first, it is also placed anew on what is left, and so if that is clearly
/// shorter.
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
    if count == 1 {
        return Ok(placements);
    }
    let options = Options {
        effort: options.effort.share(u32::from(count) - 1),
        ..options.clone()
    };
    let fixed = fixed_workers(graph, workers, &options)?;
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let mut simulator = Simulator::new(&model);
    let mut makespan_ns = |placement: &Placement| {
        let units = model.units.iter();
        let units = units.map(|unit| placement.worker(unit.nodes.start) as u32);
        simulator.makespan_ns(&units.collect::<Vec<u32>>())
    };
    let first_ns = makespan_ns(&placements[0]);
    let mut left = workers.to_vec();
    for number in 1..count {
        take_from(&mut left, graph, &placements[placements.len() - 1]);
        let mut shortest: Option<(f64, Placement)> = None;
        // By as many as there are workers it is the first again: that comes when all others had their turn.
        let (turn, all) = (usize::from(number), workers.len());
        let steps = (turn..turn + all).filter(|steps| turn >= all || steps % all != 0);
        for steps in steps.take(ROTATIONS_MAX) {
            let rotated = rotated(&placements[0], &fixed, workers.len(), steps);
            if fits(graph, &left, &rotated) {
                let rotated_ns = makespan_ns(&rotated);
                let known = shortest.as_ref();
                if known.is_none_or(|(known_ns, _)| rotated_ns < known_ns * (1.0 - 1e-9)) {
                    shortest = Some((rotated_ns, rotated));
                }
            }
        }
        let next = match shortest {
            Some((rotated_ns, rotated)) if rotated_ns <= first_ns * (1.0 + ROTATED) => rotated,
            Some((rotated_ns, rotated)) => match place(graph, &left, &options) {
                Ok(anew) if makespan_ns(&anew) * (1.0 + ROTATED) < rotated_ns => anew,
                _ => rotated,
            },
            None => place(graph, &left, &options).map_err(|why| PlaceError::Replicas {
                wanted: count,
                fit: number,
                why: Box::new(why),
            })?,
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
