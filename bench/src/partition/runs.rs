//! Invocations that were predicted and measured.

use super::jobs::Job;
use super::live::{Deployed, Invoked, Live, as_hinted, as_measured, as_replayed, as_taken};
use super::wire::Wire;
use crate::session::SessionError;
use master::deploy::DeployError;
use master::division::{self, DivisionError};
use master::graph::Graph;
use master::place::{Effort, Network, Options, Partitioner, WorkerCapacity, estimate, find};
use serde::Serialize;
use std::io::{self, Write};

/// One workflow with one placement.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct RunRow {
    /// The workflow.
    pub file: String,
    /// What it is: an own definition, or the format of an import.
    pub family: &'static str,
    /// The partitioners whose placement this is, with every region whole; `one` has all nodes on one worker, in `alternate` each
    /// is elsewhere than the one before it, `divided` is what is deployed if regions of it are in parts.
    pub placement: String,
    /// Nodes.
    pub nodes: usize,
    /// Nodes on the first worker.
    pub on_first: usize,
    /// Bytes that cross, as predicted.
    pub crossing_bytes: f64,
    /// Whether run times and bytes are those of an earlier run, with all nodes on one worker, and not those of the file.
    pub profiled: bool,
    /// What the estimator says, in milliseconds.
    pub predicted_ms: f64,
    /// What it says with the run times that this very run had: what is left of the error is no fault of theirs.
    pub replayed_ms: f64,
    /// From the beginning at the entry worker until the last node had ended, in milliseconds: the middle of the rounds.
    pub measured_ms: f64,
    /// The shortest and the longest of the rounds.
    pub measured_min_ms: f64,
    /// See `measured_min_ms`.
    pub measured_max_ms: f64,
    /// How far the prediction is off, over what was measured; below 0 if it is too short.
    pub error: f64,
}

/// A placement, by the partitioners that found it.
struct Way {
    names: String,
    /// With what is known of its nodes.
    graph: Graph,
    placed: Vec<usize>,
}

/// Predicts and measures one workflow with the placements of these partitioners, which have every region whole, and, if they are
/// wanted, further ones: all nodes on one worker, as many edges as can be between two, and what is deployed if that is in parts.
pub(super) fn measure(
    live: &Live,
    job: &Job,
    wire: &Wire,
    partitioners: &[Partitioner],
    further: bool,
    (effort, rounds): (Effort, usize),
) -> Result<Vec<RunRow>, SessionError> {
    let options = Options {
        network: Network::uniform(wire.link()),
        effort,
        ..Options::default()
    };
    let mut graph = Graph::of(&job.definition);
    let mut known = None;
    if job.profile_first {
        let measured = profile(live, job, rounds)?;
        graph = as_measured(&graph, &measured);
        known = Some(measured);
    }
    let workers = live.capacities()?;
    let mut ways = ways(&graph, &workers, &options, partitioners)?;
    if further {
        add(&mut ways, &graph, "one", vec![0; graph.node_count()]);
        add(&mut ways, &graph, "alternate", alternate(&graph));
        ways.extend(divided(job, known.as_ref(), &workers, &options)?);
    }
    let mut rows = Vec::with_capacity(ways.len());
    for way in ways {
        let mut deployed = live.deploy(&job.definition, &way.graph, &way.placed)?;
        let row = of_way(&mut deployed, job, &way, &options, rounds);
        deployed.end(live)?;
        rows.push(row?);
    }
    Ok(rows)
}

fn ways(
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    partitioners: &[Partitioner],
) -> Result<Vec<Way>, SessionError> {
    let mut ways = Vec::new();
    for partitioner in partitioners {
        let options = Options {
            partitioner: *partitioner,
            ..options.clone()
        };
        let found = find(graph, workers, &options);
        let (placement, _) =
            found.map_err(|error| DeployError::from(DivisionError::from(error)))?;
        let placed = placement.workers().to_vec();
        add(&mut ways, graph, partitioner.name(), placed);
    }
    Ok(ways)
}

/// Each unit elsewhere than the one before it.
fn alternate(graph: &Graph) -> Vec<usize> {
    let units = graph.units().into_iter().enumerate();
    units
        .flat_map(|(index, unit)| unit.map(move |_| index % 2))
        .collect()
}

/// What is deployed, if regions of it are in parts.
fn divided(
    job: &Job,
    known: Option<&Invoked>,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<Option<Way>, SessionError> {
    let hinted = known.map(|known| as_hinted(&job.definition, known));
    let definition = hinted.as_ref().unwrap_or(&job.definition);
    let placed = division::place(definition, workers, options, 1).map_err(DeployError::from)?;
    let is_divided = placed.graph.nodes().any(|node| node.part.is_some());
    Ok(is_divided.then(|| Way {
        names: "divided".to_owned(),
        graph: match known {
            Some(known) => as_measured(&placed.graph, known),
            None => placed.graph,
        },
        placed: placed.placements[0].workers().to_vec(),
    }))
}

fn add(ways: &mut Vec<Way>, graph: &Graph, name: &str, placed: Vec<usize>) {
    match ways.iter_mut().find(|way| way.placed == placed) {
        Some(way) => way.names = format!("{}={name}", way.names),
        None => ways.push(Way {
            names: name.to_owned(),
            graph: graph.clone(),
            placed,
        }),
    }
}

/// What its nodes took when one after the other ran, all on one worker: side by side they would share its
/// CPUs, and each would seem to take longer than it does.
fn profile(live: &Live, job: &Job, rounds: usize) -> Result<Invoked, SessionError> {
    let mut definition = job.definition.clone();
    for node in &mut definition.nodes {
        node.resources.scale = 1;
    }
    let placed = vec![0; definition.nodes.len()];
    let mut deployed = live.deploy(&definition, &Graph::of(&definition), &placed)?;
    let runs = invoke(&mut deployed, job, rounds);
    let busy_cpus = deployed.busy_cpus();
    deployed.end(live)?;
    let mut runs = runs?;
    let middle = runs.len() / 2;
    Ok(Invoked {
        busy_cpus: busy_cpus?,
        ..runs.swap_remove(middle)
    })
}

/// So many invocations, the shortest first. One before them starts executors and touches memory for the first time.
fn invoke(deployed: &mut Deployed, job: &Job, rounds: usize) -> Result<Vec<Invoked>, SessionError> {
    deployed.invoke(&job.inputs)?;
    let runs = (0..rounds.max(1)).map(|_| deployed.invoke(&job.inputs));
    let mut runs = runs.collect::<Result<Vec<Invoked>, _>>()?;
    runs.sort_by_key(|run| run.makespan_ns);
    Ok(runs)
}

fn middle(runs: &[Invoked]) -> &Invoked {
    &runs[runs.len() / 2]
}

fn of_way(
    deployed: &mut Deployed,
    job: &Job,
    way: &Way,
    options: &Options,
    rounds: usize,
) -> Result<RunRow, SessionError> {
    let runs = invoke(deployed, job, rounds)?;
    let middle = middle(&runs);
    let predict = |graph: &Graph| {
        let taken = as_taken(graph, &middle.trace);
        estimate(&taken, &deployed.workers, options, &deployed.placement)
    };
    let predicted = predict(&way.graph);
    let replayed = predict(&as_replayed(&deployed.graph, middle));
    let ms = |ns: f64| ns / 1e6;
    let measured_ms = ms(middle.makespan_ns as f64);
    let predicted_ms = ms(predicted.makespan_ns);
    Ok(RunRow {
        file: job.name.clone(),
        family: job.family,
        placement: way.names.clone(),
        nodes: way.graph.node_count(),
        on_first: way.placed.iter().filter(|worker| **worker == 0).count(),
        crossing_bytes: predicted.crossing_bytes,
        profiled: job.profile_first,
        predicted_ms,
        replayed_ms: ms(replayed.makespan_ns),
        measured_ms,
        measured_min_ms: ms(runs[0].makespan_ns as f64),
        measured_max_ms: ms(runs[runs.len() - 1].makespan_ns as f64),
        error: (predicted_ms - measured_ms) / measured_ms.max(f64::MIN_POSITIVE),
    })
}

/// A table, for people.
///
/// # Errors
/// Those of `out`.
pub fn write(rows: &[RunRow], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<38} {:<24} {:>6} {:>8} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "file",
        "placement",
        "nodes",
        "crossing",
        "predicted",
        "replayed",
        "measured",
        "spread",
        "error"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<38} {:<24} {:>6} {:>4.1} MiB {:>7.1} ms {:>7.1} ms {:>7.1} ms {:>7.1} ms {:>5.1} %{}",
            row.file,
            row.placement,
            format!("{}+{}", row.on_first, row.nodes - row.on_first),
            row.crossing_bytes / f64::from(1 << 20),
            row.predicted_ms,
            row.replayed_ms,
            row.measured_ms,
            row.measured_max_ms - row.measured_min_ms,
            row.error * 100.0,
            if row.profiled { "  (profiled)" } else { "" }
        )?;
    }
    Ok(())
}
