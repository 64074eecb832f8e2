//! One row for each graph, cluster and partitioner: how long the placement is, against a bound, and what finding it took.

use super::clusters::{Cluster, Kind};
use super::graphs::ccr;
use crate::peak::peak_bytes;
use master::graph::Graph;
use master::place::{
    Effort, Found, Options, Partitioner, PlaceError, Placement, estimate, find, lower_bound_ns,
    optimum_ns,
};
use serde::Serialize;

/// Placements up to which the best is searched by trying all.
pub const WAYS_MAX: u64 = 200_000;
/// By how much two scores of one placement may differ.
pub(super) const ROUNDING: f64 = 1e-9;
/// Units up to which it is thought of.
const UNITS_MAX: usize = 16;

/// What one partitioner did with one graph on one cluster.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Row {
    /// The graph's name: its family, size, wanted [`ccr`] and seed; of a file its name.
    pub graph: String,
    /// What it belongs to: a family of generated graphs, or the format of a file.
    pub family: &'static str,
    /// Where the random numbers of graph and cluster begin.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Edges.
    pub edges: usize,
    /// Workers.
    pub workers: usize,
    /// Whether they, and their links, differ.
    pub heterogeneous: bool,
    /// Whether one of them takes the whole graph.
    pub fits_one_worker: bool,
    /// Communication over computation.
    pub ccr: f64,
    /// The partitioner's name.
    pub partitioner: &'static str,
    /// The estimator's makespan.
    pub makespan_ns: f64,
    /// What no placement beats.
    pub lower_bound_ns: f64,
    /// The one over the other; `None` where the bound is 0.
    pub makespan_ratio: Option<f64>,
    /// The makespan over the best one; `None` where not all placements were tried.
    pub optimum_ratio: Option<f64>,
    /// Bytes that cross between workers in an invocation.
    pub crossing_bytes: f64,
    /// Until the first good answer, in milliseconds.
    pub first_ms: f64,
    /// Until the search ended, in milliseconds.
    pub time_ms: f64,
    /// The most memory that it held, in bytes.
    pub peak_bytes: u64,
    /// Placements that were scored.
    pub steps: u64,
    /// Whether the partitioner scored its placement as the estimator does that sees it for the first time.
    pub scores_agree: bool,
    /// Whether no worker is asked for more than it takes, and what is to be apart is; counted here, not by the partitioner.
    pub limits_kept: bool,
}

/// A graph on a cluster.
#[derive(Debug)]
pub struct Case<'g> {
    /// Its name in rows.
    pub name: String,
    /// What it belongs to.
    pub family: &'static str,
    /// Where the random numbers began.
    pub seed: u64,
    /// What is placed.
    pub graph: &'g Graph,
    /// Where.
    pub cluster: Cluster,
}

impl Case<'_> {
    /// How a partitioner is to place it.
    #[must_use]
    pub fn options(&self, partitioner: Partitioner, effort: Effort) -> Options {
        Options {
            partitioner,
            effort,
            network: self.cluster.network.clone(),
            ..Options::default()
        }
    }

    /// The rows of these partitioners.
    ///
    /// # Errors
    /// If the graph cannot be placed.
    pub fn rows(
        &self,
        partitioners: &[Partitioner],
        effort: Effort,
    ) -> Result<Vec<Row>, PlaceError> {
        let workers = &self.cluster.workers;
        let best = if self.graph.units().len() <= UNITS_MAX {
            let options = self.options(Partitioner::Default, effort);
            optimum_ns(self.graph, workers, &options, WAYS_MAX)?
        } else {
            None
        };
        let bound_ns = lower_bound_ns(self.graph, workers);
        let ccr = ccr(self.graph);
        let fits_one_worker = self.cluster.fits_one_worker(self.graph);
        let row = |partitioner: &Partitioner| {
            let options = self.options(*partitioner, effort);
            let (found, peak_bytes) = peak_bytes(|| find(self.graph, workers, &options));
            let (placement, found) = found?;
            let estimate = estimate(self.graph, workers, &options, &placement);
            let Found {
                first,
                took,
                steps,
                makespan_ns,
                ..
            } = found;
            Ok(Row {
                graph: self.name.clone(),
                family: self.family,
                seed: self.seed,
                nodes: self.graph.node_count(),
                edges: self.graph.edges().len(),
                workers: workers.len(),
                heterogeneous: self.cluster.kind == Kind::Unlike,
                fits_one_worker,
                ccr,
                partitioner: partitioner.name(),
                makespan_ns: estimate.makespan_ns,
                lower_bound_ns: bound_ns,
                makespan_ratio: ratio(estimate.makespan_ns, bound_ns),
                optimum_ratio: best.and_then(|best| ratio(estimate.makespan_ns, best)),
                crossing_bytes: estimate.crossing_bytes,
                first_ms: first.as_secs_f64() * 1e3,
                time_ms: took.as_secs_f64() * 1e3,
                peak_bytes,
                steps,
                scores_agree: (makespan_ns - estimate.makespan_ns).abs() <= ROUNDING * makespan_ns,
                limits_kept: self.keeps_limits(&placement),
            })
        };
        partitioners.iter().map(row).collect()
    }

    /// Counts anew what each worker is asked for.
    fn keeps_limits(&self, placement: &Placement) -> bool {
        if placement.workers().len() != self.graph.node_count() {
            return false;
        }
        let workers = &self.cluster.workers;
        let within = workers.iter().enumerate().all(|(index, worker)| {
            let here = self.graph.nodes().zip(placement.workers());
            let here = here.filter(|(_, of)| **of == index).map(|(node, _)| node);
            let wanted = super::clusters::wanted(here);
            wanted.executors <= worker.executors && wanted.memory_mib <= worker.memory_mib
        });
        let mut pairs = self.graph.apart().iter();
        let apart = pairs.all(|(a, b)| placement.worker(*a) != placement.worker(*b));
        let mut units = self.graph.units().into_iter();
        let together = units.all(|unit| {
            let of = |node: usize| placement.worker(node as u32);
            unit.clone().all(|node| of(node) == of(unit.start))
        });
        within && apart && together
    }
}

fn ratio(figure: f64, against: f64) -> Option<f64> {
    (against > 0.0).then(|| figure / against)
}

#[cfg(test)]
mod tests {
    use super::*;
    use master::graph::{Dependency, GraphNode};
    use master::place::{Network, WorkerCapacity};

    /// `a` apart from `b`, and `c` with `d` item by item; each wants two executors and as many MiB.
    fn graph() -> Graph {
        let node = |name: &str, together| GraphNode {
            name: name.to_owned(),
            executable: Some(name.to_owned()),
            runtime_ms: 1.0,
            scale: 2,
            slots: 2,
            memory_mib: 1,
            together,
            ..GraphNode::default()
        };
        let nodes = vec![
            node("a", None),
            node("b", None),
            node("c", Some(0)),
            node("d", Some(0)),
        ];
        Graph::new(nodes, [(0, 1, Dependency::default())], [(0, 1)])
    }

    #[test]
    fn each_limit_is_counted_anew() {
        let graph = graph();
        let worker = |executors, memory_mib| WorkerCapacity {
            executors,
            memory_mib,
            ..WorkerCapacity::new("w", 1, 0)
        };
        let keeps = |placed: &[usize], limits: [(u32, u64); 2]| {
            let case = Case {
                name: String::new(),
                family: "own",
                seed: 0,
                graph: &graph,
                cluster: Cluster {
                    workers: limits
                        .map(|(executors, mib)| worker(executors, mib))
                        .to_vec(),
                    network: Network::default(),
                    kind: Kind::Alike,
                },
            };
            case.keeps_limits(&Placement::new(placed.to_vec()))
        };
        let ample = [(6, 6), (6, 6)];
        assert!(keeps(&[0, 1, 1, 1], ample));
        assert!(!keeps(&[0, 1, 1, 1], [(6, 6), (5, 6)]), "executors");
        assert!(!keeps(&[0, 1, 1, 1], [(6, 6), (6, 5)]), "memory");
        assert!(!keeps(&[0, 0, 1, 1], ample), "apart");
        assert!(!keeps(&[0, 1, 0, 1], ample), "together");
        assert!(!keeps(&[0, 1, 1], ample), "complete");
    }
}
