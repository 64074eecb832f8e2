//! What a placement comes to, and why it is as it is.

use super::cost::Model;
use super::estimate::{Cause, Simulator, Span};
use super::room::{Room, Wants};
use super::search::critical_chain;
use super::{Options, PlaceError, Placement, WorkerCapacity, fixed_workers};
use crate::graph::Graph;
use engine::plan::NodeId;

/// What an invocation is expected to take with a placement.
#[derive(Clone, PartialEq, Debug)]
pub struct Estimate {
    /// From its beginning until its last node has ended, in nanoseconds, over all ways that it may take, as expected.
    pub makespan_ns: f64,
    /// Bytes that cross from one worker to another, as expected.
    pub crossing_bytes: f64,
    /// Bytes of payloads between nodes of one worker that are held in memory.
    pub held_bytes: f64,
    /// Bytes of payloads between nodes of one worker for which the quota does not suffice.
    pub unheld_bytes: f64,
    /// By worker.
    pub workers: Vec<WorkerUse>,
    /// The critical path in the likeliest way: what the end hangs on, first to last.
    pub critical: Vec<Leg>,
}

/// What a worker does in an invocation.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerUse {
    /// Nodes placed on it.
    pub nodes: usize,
    /// CPU time that they spend, in nanoseconds.
    pub busy_ns: f64,
    /// That, over the makespan of all of its CPUs.
    pub utilisation: f64,
    /// What it must start.
    pub demand: super::Demand,
    /// What it can start.
    pub limits: super::Demand,
}

/// A part of the critical path: a node, and what came before it.
#[derive(Clone, PartialEq, Debug)]
pub struct Leg {
    /// The node; of those of a region the first.
    pub node: NodeId,
    /// Its worker.
    pub worker: usize,
    /// What it waited for last.
    pub waited_for: Wait,
    /// From the end of that until it began, in nanoseconds.
    pub waited_ns: f64,
    /// From its beginning to its end, in nanoseconds.
    pub ran_ns: f64,
}

/// What a node on the critical path waited for last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Nothing: it began with the invocation.
    Nothing,
    /// The end of a node on its worker.
    Node(NodeId),
    /// What a node on another worker gave.
    Transfer(NodeId),
    /// An executor that ran this node.
    Executor(NodeId),
}

/// An edge that crosses workers on the critical path, and why it does.
#[derive(Clone, PartialEq, Debug)]
pub struct Crossing {
    /// The producer.
    pub from: NodeId,
    /// The consumer.
    pub to: NodeId,
    /// Bytes that travel.
    pub bytes: f64,
    /// What stands against moving the producer to the consumer's worker, then the consumer to the producer's.
    pub obstacles: [Obstacle; 2],
}

/// What stands against moving a node to another worker.
#[derive(Clone, PartialEq, Debug)]
pub enum Obstacle {
    /// The node, or another that runs with it for each item, is pinned.
    Pinned,
    /// It is to be apart from a node there.
    Apart(NodeId),
    /// The worker would have to start more than it can.
    Full(super::Overload),
    /// The makespan would be longer, by so many nanoseconds.
    Longer(f64),
    /// The makespan would be the same, or shorter by so many nanoseconds: a longer search would find it.
    Shorter(f64),
}

/// What a placement is expected to take.
///
/// # Panics
/// If the placement is not one of this graph on these workers.
#[must_use]
pub fn estimate(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    placement: &Placement,
) -> Estimate {
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let placed = units_of(&model, placement);
    let mut simulator = Simulator::new(&model);
    let run = simulator.estimate(&placed);
    let likeliest = (0..model.scenarios.len())
        .max_by(|a, b| model.scenarios[*a].0.total_cmp(&model.scenarios[*b].0));
    let spans = simulator.spans_in(&placed, likeliest.unwrap_or_default());
    let held = model.held(&placed).map(|(held, _)| held);
    let (mut held_bytes, mut unheld_bytes) = (0.0, 0.0);
    for unit in 0..model.units.len() {
        let bytes = model.local_bytes(unit as u32, &placed);
        if held.as_ref().is_none_or(|held| held[unit]) {
            held_bytes += bytes;
        } else {
            unheld_bytes += bytes;
        }
    }
    let uses = workers.iter().enumerate().map(|(index, worker)| WorkerUse {
        nodes: placement
            .workers()
            .iter()
            .filter(|of| **of == index)
            .count(),
        busy_ns: run.busy_ns[index],
        utilisation: utilisation(run.busy_ns[index], worker, run.makespan_ns),
        demand: placement.demand(graph, index),
        limits: worker.limits(),
    });
    Estimate {
        makespan_ns: run.makespan_ns,
        crossing_bytes: model.crossing_bytes(&placed),
        held_bytes,
        unheld_bytes,
        workers: uses.collect(),
        critical: legs(&model, &placed, spans),
    }
}

fn utilisation(busy_ns: f64, worker: &WorkerCapacity, makespan_ns: f64) -> f64 {
    if makespan_ns > 0.0 {
        busy_ns / (f64::from(worker.cpus.max(1)) * makespan_ns)
    } else {
        0.0
    }
}

fn units_of(model: &Model, placement: &Placement) -> Vec<u32> {
    let first = model.units.iter().map(|unit| unit.nodes.start);
    first.map(|node| placement.worker(node) as u32).collect()
}

/// The critical path, first to last.
fn legs(model: &Model, placed: &[u32], spans: &[Span]) -> Vec<Leg> {
    let node = |unit: u32| model.units[unit as usize].nodes.start;
    let mut chain = critical_chain(spans);
    chain.reverse();
    let leg = |(unit, cause): (u32, Cause)| {
        let span = &spans[unit as usize];
        let since_ns = match cause {
            Cause::Start => 0.0,
            Cause::Unit(by) | Cause::Arrival(by) => spans[by as usize].ended_ns,
            Cause::Executor(_) => span.ready_ns,
        };
        Leg {
            node: node(unit),
            worker: placed[unit as usize] as usize,
            waited_for: match cause {
                Cause::Start => Wait::Nothing,
                Cause::Unit(by) => Wait::Node(node(by)),
                Cause::Arrival(by) => Wait::Transfer(node(by)),
                Cause::Executor(by) => Wait::Executor(node(by)),
            },
            waited_ns: (span.began_ns - since_ns).max(0.0),
            ran_ns: span.ended_ns - span.began_ns,
        }
    };
    chain.into_iter().map(leg).collect()
}

/// Why edges of the critical path cross workers: the heaviest first, `most` of them.
///
/// # Errors
/// As [`place`](super::place) does for what contradicts itself.
///
/// # Panics
/// As [`estimate`].
pub fn explain(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    placement: &Placement,
    most: usize,
) -> Result<Vec<Crossing>, PlaceError> {
    let fixed = fixed_workers(graph, workers, options)?;
    let model = Model::of(graph, workers, &options.network, options.quota_of(graph));
    let wants = Wants::of(graph, &model, workers, &fixed);
    let placed = units_of(&model, placement);
    let mut simulator = Simulator::new(&model);
    let now_ns = simulator.makespan_ns(&placed);
    let mut edges: Vec<(u32, u32, f64)> = Vec::new();
    for scenario in 0..model.scenarios.len() {
        let spans = simulator.spans_in(&placed, scenario);
        for (unit, cause) in critical_chain(spans) {
            let Cause::Arrival(from) = cause else {
                continue;
            };
            let known = edges.iter().any(|(a, b, _)| (*a, *b) == (from, unit));
            if !known && placed[from as usize] != placed[unit as usize] {
                let edge = model.successors.get(from).iter();
                let bytes = edge.filter(|edge| edge.unit == unit).map(|edge| edge.bytes);
                edges.push((from, unit, bytes.sum()));
            }
        }
    }
    edges.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
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
            && let Some(overload) = super::capacity::overload(demand, &workers[to as usize])
        {
            return Obstacle::Full(overload);
        }
        let from = placed[unit as usize];
        room.take(unit);
        room.put(unit, to);
        let moved_ns = simulator.makespan_ns(&room.placed);
        room.take(unit);
        room.put(unit, from);
        if moved_ns > now_ns {
            Obstacle::Longer(moved_ns - now_ns)
        } else {
            Obstacle::Shorter(now_ns - moved_ns)
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
    Ok(edges.into_iter().map(crossing).collect())
}
