//! What a placement comes to: the makespan, its critical path, what crosses, and what each worker does.

mod crossing;

pub use crossing::{Crossing, Crossings, Obstacle, explain};

use super::cost::Model;
use super::estimate::{Cause, Simulator, Span};
use super::search::critical_chain;
use super::{Options, Placement, WorkerCapacity};
use crate::graph::{Graph, Reader};
use engine::plan::NodeId;
use std::collections::BTreeMap;

/// What an invocation is expected to take with a placement.
#[derive(Clone, PartialEq, Debug)]
pub struct Estimate {
    /// From its beginning until its last node has ended, in nanoseconds, over all ways that it may take, as expected.
    pub makespan_ns: f64,
    /// Ways that it may take, by its switches, which are told apart.
    pub ways: usize,
    /// Bytes that cross from one worker to another, as expected: what [`Estimate::transfers`] come to.
    pub crossing_bytes: f64,
    /// What crosses, the most bytes first, as expected; of equals in the order of the producers.
    pub transfers: Vec<Transfer>,
    /// What payloads between nodes of one worker may have together, in bytes.
    pub quota_bytes: u64,
    /// Bytes of payloads between nodes of one worker that are held in memory.
    pub held_bytes: f64,
    /// Bytes of payloads between nodes of one worker for which the quota does not suffice: what [`Estimate::unheld`] come to.
    pub unheld_bytes: f64,
    /// Payloads between nodes of one worker for which the quota does not suffice, in the order of their producers.
    pub unheld: Vec<Unheld>,
    /// By worker.
    pub workers: Vec<WorkerUse>,
    /// The critical path of the likeliest way: what its end hangs on, first to last.
    pub critical: Vec<Leg>,
    /// How likely that way is, 0 to 1.
    pub critical_chance: f64,
}

/// What a node gives to those on another worker: it travels once, however many of them read it.
#[derive(Clone, PartialEq, Debug)]
pub struct Transfer {
    /// The producer.
    pub from: NodeId,
    /// The worker where it is read.
    pub to: usize,
    /// Those who read it there, rising.
    pub readers: Vec<NodeId>,
    /// Bytes that travel, if the producer runs.
    pub bytes: u64,
    /// How likely it is that it runs, 0 to 1.
    pub chance: f64,
}

/// Payloads for which the quota does not suffice: they go through a store, at the price of a link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Unheld {
    /// Their producer; of those of a region the first.
    pub node: NodeId,
    /// What nodes of its worker read of it, in bytes.
    pub bytes: f64,
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
    /// Nodes that run together with it for each item, itself included; 1 of what runs by itself.
    pub nodes: usize,
    /// Its worker.
    pub worker: usize,
    /// What it waited for last.
    pub waited_for: Wait,
    /// When it began, in nanoseconds since the invocation did.
    pub began_ns: f64,
    /// From the end of what it waited for until it began, in nanoseconds; of an executor, from when the node was ready.
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
    /// What a node on another worker gave; or one on its own, through a store, since the quota did not suffice.
    Transfer(NodeId),
    /// An executor that ran this node.
    Executor(NodeId),
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
    // Of equals the first.
    let likelihood = |scenario: &usize| model.scenarios[*scenario].0;
    let likeliest = (0..model.scenarios.len())
        .rev()
        .max_by(|a, b| likelihood(a).total_cmp(&likelihood(b)))
        .unwrap_or_default();
    let spans = simulator.spans_in(&placed, likeliest);
    let held = model.held(&placed);
    let mut held_bytes = 0.0;
    let mut unheld = Vec::new();
    for (number, unit) in model.units.iter().enumerate() {
        let bytes = model.local_bytes(number as u32, &placed);
        if held.as_ref().is_none_or(|held| held[number]) {
            held_bytes += bytes;
        } else {
            let node = unit.nodes.start;
            unheld.push(Unheld { node, bytes });
        }
    }
    let mut nodes = vec![0; workers.len()];
    placement.workers().iter().for_each(|of| nodes[*of] += 1);
    let uses = workers.iter().enumerate().map(|(index, worker)| WorkerUse {
        nodes: nodes[index],
        busy_ns: run.busy_ns[index],
        utilisation: utilisation(run.busy_ns[index], worker, run.makespan_ns),
        demand: placement.demand(graph, index),
        limits: worker.limits(),
    });
    Estimate {
        makespan_ns: run.makespan_ns,
        ways: model.scenarios.len(),
        crossing_bytes: model.crossing_bytes(&placed),
        transfers: transfers(graph, &model, placement),
        quota_bytes: options.quota_of(graph),
        held_bytes,
        unheld_bytes: unheld.iter().map(|of| of.bytes).sum(),
        unheld,
        workers: uses.collect(),
        critical: legs(&model, &placed, spans),
        critical_chance: likelihood(&likeliest),
    }
}

/// What crosses, the most bytes first.
fn transfers(graph: &Graph, model: &Model, placement: &Placement) -> Vec<Transfer> {
    let mut found: BTreeMap<(NodeId, usize), Vec<Reader<'_>>> = BTreeMap::new();
    for (from, to, edge) in graph.edges() {
        let worker = placement.worker(to);
        let needs_none = || graph.section(from, to).is_some_and(|of| of.begin == of.end);
        if worker != placement.worker(from) && !edge.outputs.is_empty() && !needs_none() {
            let readers = found.entry((from, worker)).or_default();
            readers.push((to, &edge.outputs));
        }
    }
    let transfer = |((from, to), mut read): ((NodeId, usize), Vec<Reader<'_>>)| {
        read.sort_unstable();
        Transfer {
            from,
            to,
            readers: read.iter().map(|(reader, _)| *reader).collect(),
            bytes: graph.bytes_read(from, read),
            chance: model.chance(model.unit_of[from as usize]),
        }
    };
    let mut transfers: Vec<Transfer> = found.into_iter().map(transfer).collect();
    let expected = |transfer: &Transfer| transfer.bytes as f64 * transfer.chance;
    transfers.sort_by(|a, b| expected(b).total_cmp(&expected(a)));
    transfers
}

fn utilisation(busy_ns: f64, worker: &WorkerCapacity, makespan_ns: f64) -> f64 {
    if makespan_ns > 0.0 {
        busy_ns / (f64::from(worker.cpus.max(1)) * makespan_ns)
    } else {
        0.0
    }
}

pub(super) fn units_of(model: &Model, placement: &Placement) -> Vec<u32> {
    let first = model.units.iter().map(|unit| unit.nodes.start);
    first.map(|node| placement.worker(node) as u32).collect()
}

/// The critical path, first to last.
fn legs(model: &Model, placed: &[u32], spans: &[Span]) -> Vec<Leg> {
    let nodes = |unit: u32| &model.units[unit as usize].nodes;
    let node = |unit: u32| nodes(unit).start;
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
            nodes: nodes(unit).len(),
            worker: placed[unit as usize] as usize,
            waited_for: match cause {
                Cause::Start => Wait::Nothing,
                Cause::Unit(by) => Wait::Node(node(by)),
                Cause::Arrival(by) => Wait::Transfer(node(by)),
                Cause::Executor(by) => Wait::Executor(node(by)),
            },
            began_ns: span.began_ns,
            waited_ns: (span.began_ns - since_ns).max(0.0),
            ran_ns: span.ended_ns - span.began_ns,
        }
    };
    chain.into_iter().map(leg).collect()
}
