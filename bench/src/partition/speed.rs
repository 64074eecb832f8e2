//! How long the first good answer takes, and how that grows.

use super::clusters::{Cluster, Kind};
use super::graphs::{Family, Wanted, generate};
use super::rows::Case;
use crate::peak::peak_bytes;
use master::place::{Effort, Partitioner, PlaceError, find};
use serde::Serialize;
use std::io::{self, Write};

/// Workers of the table.
const WORKERS: [usize; 2] = [8, 32];
/// Times that the first answer is sought; the middle one counts.
const ROUNDS: usize = 5;

/// One size of graph on one size of cluster.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Speed {
    /// Nodes.
    pub nodes: usize,
    /// Edges.
    pub edges: usize,
    /// Workers.
    pub workers: usize,
    /// Until the first good answer, in milliseconds; the middle of five.
    pub first_ms: f64,
    /// The same over its nodes, in microseconds.
    pub first_us_per_node: f64,
    /// Makespan of the first answer over that of `heft`: 1 or less is as good.
    pub first_over_heft: f64,
    /// Until the search ended, in milliseconds.
    pub time_ms: f64,
    /// Placements that it scored.
    pub steps: u64,
    /// Makespan of the last answer over that of the first one.
    pub last_over_first: f64,
    /// The most memory that the search held, in bytes.
    pub peak_bytes: u64,
    /// The same over its nodes.
    pub peak_bytes_per_node: f64,
}

/// Measures layered graphs of these sizes.
///
/// # Errors
/// If one cannot be placed.
pub fn measure(sizes: &[usize], seed: u64, effort: Effort) -> Result<Vec<Speed>, PlaceError> {
    let mut all = Vec::new();
    for workers in WORKERS {
        for nodes in sizes {
            let graph = generate(&Wanted {
                family: Family::Layered,
                nodes: *nodes,
                ccr: 1.0,
                seed,
            });
            let case = Case {
                name: String::new(),
                family: Family::Layered.name(),
                seed,
                graph: &graph,
                cluster: Cluster::for_graph(&graph, workers, Kind::Alike, seed),
            };
            all.push(of_case(&case, effort)?);
        }
    }
    Ok(all)
}

fn of_case(case: &Case<'_>, effort: Effort) -> Result<Speed, PlaceError> {
    let workers = &case.cluster.workers;
    let first_only = Effort {
        steps: Some(1),
        budget: None,
        ..effort
    };
    let options = case.options(Partitioner::Heft, first_only);
    let (_, heft) = find(case.graph, workers, &options)?;
    let options = case.options(Partitioner::Default, first_only);
    let mut firsts = Vec::with_capacity(ROUNDS);
    let mut first_ns = 0.0;
    for _ in 0..ROUNDS {
        let (_, found) = find(case.graph, workers, &options)?;
        firsts.push(found.first.as_secs_f64() * 1e3);
        first_ns = found.makespan_ns;
    }
    firsts.sort_by(f64::total_cmp);
    let options = case.options(Partitioner::Default, effort);
    let (found, peak_bytes) = peak_bytes(|| find(case.graph, workers, &options));
    let (_, found) = found?;
    let nodes = case.graph.node_count();
    let first_ms = firsts[ROUNDS / 2];
    Ok(Speed {
        nodes,
        edges: case.graph.edges().len(),
        workers: workers.len(),
        first_ms,
        first_us_per_node: first_ms * 1e3 / nodes as f64,
        first_over_heft: first_ns / heft.makespan_ns,
        time_ms: found.took.as_secs_f64() * 1e3,
        steps: found.steps,
        last_over_first: found.makespan_ns / first_ns,
        peak_bytes,
        peak_bytes_per_node: peak_bytes as f64 / nodes as f64,
    })
}

/// The table, for people.
///
/// # Errors
/// Those of `out`.
pub fn write(all: &[Speed], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>8} {:>8} {:>7} {:>10} {:>8} {:>11} {:>10} {:>7} {:>10} {:>9} {:>7}",
        "nodes",
        "edges",
        "workers",
        "first ms",
        "us/node",
        "first/heft",
        "time ms",
        "steps",
        "last/first",
        "peak MiB",
        "B/node"
    )?;
    for speed in all {
        writeln!(
            out,
            "{:>8} {:>8} {:>7} {:>10.2} {:>8.2} {:>11.3} {:>10.0} {:>7} {:>10.3} {:>9.1} {:>7.0}",
            speed.nodes,
            speed.edges,
            speed.workers,
            speed.first_ms,
            speed.first_us_per_node,
            speed.first_over_heft,
            speed.time_ms,
            speed.steps,
            speed.last_over_first,
            speed.peak_bytes as f64 / f64::from(1 << 20),
            speed.peak_bytes_per_node,
        )?;
    }
    Ok(())
}
