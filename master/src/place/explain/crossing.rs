//! Why edges of the critical path cross workers: what stands against joining their ends.

use super::units_of;
use crate::graph::Graph;
use crate::place::capacity::overload;
use crate::place::cost::Model;
use crate::place::estimate::{Cause, Simulator};
use crate::place::room::{Room, Wants};
use crate::place::search::critical_chain;
use crate::place::{Options, Overload, PlaceError, Placement, WorkerCapacity, fixed_workers};
use engine::plan::NodeId;
use rustc_hash::FxHashSet;

/// The edges of the critical paths of all ways that cross workers, and why they do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Crossings {
    /// The heaviest first.
    pub explained: Vec<Crossing>,
    /// How many more there are.
    pub further: usize,
}

/// An edge that crosses workers on a critical path, and why it does.
#[derive(Clone, PartialEq, Debug)]
pub struct Crossing {
    /// The producer; of those of a region the first.
    pub from: NodeId,
    /// The consumer; likewise.
    pub to: NodeId,
    /// Bytes that travel.
    pub bytes: f64,
    /// What stands against moving the producer to the consumer's worker, then the consumer to the producer's.
    pub obstacles: [Obstacle; 2],
}

/// What stands against moving a node, with those that run together with it, to another worker.
#[derive(Clone, PartialEq, Debug)]
pub enum Obstacle {
    /// One of them is pinned.
    Pinned,
    /// It is to be apart from a node there.
    Apart(NodeId),
    /// The worker would have to start more than it can.
    Full(Overload),
    /// The makespan would be longer, by so many nanoseconds.
    Longer(f64),
    /// The makespan would be as long as it is.
    Same,
    /// The makespan would be shorter, by so many nanoseconds: a longer search may find it.
    Shorter(f64),
}

/// Two makespans that differ by less are the same: what is left of adding up in another order.
const ROUNDING: f64 = 1e-9;

/// Why edges of the critical paths cross workers: of the heaviest, so many at `most`. Two simulations each.
///
/// # Errors
/// As [`place`](crate::place::place) does for what contradicts itself.
///
/// # Panics
/// As [`estimate`](super::estimate).
pub fn explain(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    placement: &Placement,
    most: usize,
) -> Result<Crossings, PlaceError> {
    let fixed = fixed_workers(graph, workers, options)?;
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let wants = Wants::of(graph, &model, workers, &fixed);
    let placed = units_of(&model, placement);
    let mut simulator = Simulator::new(&model);
    let now_ns = simulator.makespan_ns(&placed);
    let mut edges: Vec<(u32, u32, f64)> = Vec::new();
    let mut known: FxHashSet<(u32, u32)> = FxHashSet::default();
    for scenario in 0..model.scenarios.len() {
        let spans = simulator.spans_in(&placed, scenario);
        for (unit, cause) in critical_chain(spans) {
            let Cause::Arrival(from) = cause else {
                continue;
            };
            if placed[from as usize] != placed[unit as usize] && known.insert((from, unit)) {
                let edge = model.successors.get(from).iter();
                let bytes = edge.filter(|edge| edge.unit == unit).map(|edge| edge.bytes);
                edges.push((from, unit, bytes.sum()));
            }
        }
    }
    edges.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    let further = edges.len().saturating_sub(most);
    edges.truncate(most);
    let mut room = Room::of(&wants, &placed);
    let mut obstacle = |unit: u32, to: u32| {
        if wants.fixed[unit as usize].is_some() {
            return Obstacle::Pinned;
        }
        let mut apart = wants.apart(unit).iter();
        if let Some(other) = apart.find(|other| placed[**other as usize] == to) {
            return Obstacle::Apart(model.units[*other as usize].nodes.start);
        }
        if let Some(demand) = room.lack(unit, to)
            && let Some(overload) = overload(demand, &workers[to as usize])
        {
            return Obstacle::Full(overload);
        }
        let from = placed[unit as usize];
        room.take(unit);
        room.put(unit, to);
        let moved_ns = simulator.makespan_ns(&room.placed);
        room.take(unit);
        room.put(unit, from);
        let longer_ns = moved_ns - now_ns;
        if longer_ns.abs() <= now_ns * ROUNDING {
            Obstacle::Same
        } else if longer_ns > 0.0 {
            Obstacle::Longer(longer_ns)
        } else {
            Obstacle::Shorter(-longer_ns)
        }
    };
    let crossing = |(from, to, bytes): (u32, u32, f64)| Crossing {
        from: model.units[from as usize].nodes.start,
        to: model.units[to as usize].nodes.start,
        bytes,
        obstacles: [
            obstacle(from, placed[to as usize]),
            obstacle(to, placed[from as usize]),
        ],
    };
    Ok(Crossings {
        explained: edges.into_iter().map(crossing).collect(),
        further,
    })
}
