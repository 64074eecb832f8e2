//! Why a placement is as it is: what it is expected to come to, what that hangs on, and what stood against better ones.

mod json;
mod text;

use crate::exit::Exit;
use crate::placed::Placed;
use crate::placing::Planned;
use engine::plan::NodeId;
use engine::worker::quantities::{duration_text, size_text};
use master::definition::{Definition, Node, Profile};
use master::division::Faster;
use master::graph::Graph;
use master::place::{
    self, Crossings, Estimate, Found, Merges, Options, Partitioner, Placement, Wait, WorkerCapacity,
};

/// How much of what there is is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// What fits a page or two; the rest is counted.
    Page,
    /// Everything.
    All,
}

/// Crossing edges of critical paths that are explained on a page, at most.
const CROSSINGS_SHOWN: usize = 6;
/// The same if everything is shown: each costs two simulations.
const CROSSINGS_MAX: usize = 1000;

/// A placement, with what is to be said of it.
pub(crate) struct Explained<'a> {
    placed: Placed<'a>,
    options: &'a Options,
    found: &'a Found,
    faster: Option<&'a Faster>,
    estimate: Estimate,
    /// No placement is shorter, in nanoseconds.
    bound_ns: f64,
    /// What the published baseline comes to; none if it finds no placement.
    baseline: Option<Estimate>,
    crossings: Crossings,
    /// What the published partitioner did, if that was asked.
    merges: Option<Merges>,
}

impl<'a> Explained<'a> {
    /// Looks at a placement.
    ///
    /// # Errors
    /// None that finding the placement did not have.
    pub(crate) fn of(
        definition: &'a Definition,
        planned: &'a Planned,
        extent: Extent,
    ) -> Result<Self, Exit> {
        let Planned {
            graph,
            placements,
            workers,
            options,
            found,
            faster,
            ..
        } = planned;
        // What is divided only to be faster is whole in what it is compared with.
        let whole = faster.as_ref().map_or(graph, |faster| &faster.undivided);
        let placement = &placements[0];
        let by_hash = Options {
            partitioner: Partitioner::Hash,
            ..options.clone()
        };
        let hashed = place::place(whole, workers, &by_hash).ok();
        let hashed = hashed.map(|hashed| {
            let estimate = place::estimate(whole, workers, options, &hashed);
            renumbered(estimate, whole, graph)
        });
        let most = match extent {
            Extent::Page => CROSSINGS_SHOWN,
            Extent::All => CROSSINGS_MAX,
        };
        let published = options.partitioner == Partitioner::Published;
        let merges = published.then(|| place::merges(graph, workers, options));
        Ok(Self {
            placed: Placed {
                definition,
                graph,
                placement,
                workers,
            },
            options,
            found,
            faster: faster.as_ref(),
            estimate: place::estimate(graph, workers, options, placement),
            bound_ns: place::lower_bound_ns(graph, workers),
            baseline: hashed,
            crossings: place::explain(graph, workers, options, placement, most)?,
            merges: merges.transpose()?,
        })
    }

    fn name(&self, node: NodeId) -> &str {
        &self.placed.graph.node(node).name
    }

    fn worker(&self, worker: usize) -> &str {
        &self.placed.workers[worker].name
    }

    /// The nodes that are divided to be faster, and in how many parts each is.
    fn divided(&self) -> Vec<(&str, u16)> {
        let regions = self.faster.map_or(&[][..], |faster| &faster.regions);
        let nodes = self.placed.graph.nodes();
        let first = nodes.filter_map(|node| {
            let part = node.part.filter(|part| part.number == 0)?;
            let region = node.together?;
            regions
                .contains(&region)
                .then_some((node.name.as_str(), part.of))
        });
        first.collect()
    }

    /// How many times as long as the lower bound a makespan is; none if there is nothing to do.
    fn ratio(&self, makespan_ns: f64) -> Option<f64> {
        (self.bound_ns > 0.0).then(|| makespan_ns / self.bound_ns)
    }
}

/// An estimate with the numbers that nodes have in another graph of the same definition; of a divided one that of its first part.
fn renumbered(mut estimate: Estimate, graph: &Graph, other: &Graph) -> Estimate {
    let ids = other.ids_by_definition();
    let renumber = |node: &mut NodeId| *node = ids[graph.node(*node).defined];
    for leg in &mut estimate.critical {
        renumber(&mut leg.node);
        match &mut leg.waited_for {
            Wait::Nothing => {}
            Wait::Node(node) | Wait::Transfer(node) | Wait::Executor(node) => renumber(node),
        }
    }
    for transfer in &mut estimate.transfers {
        renumber(&mut transfer.from);
        transfer.readers.iter_mut().for_each(renumber);
    }
    for unheld in &mut estimate.unheld {
        renumber(&mut unheld.node);
    }
    estimate
}

/// Nodes that run functions of which nothing is known.
fn unprofiled(definition: &Definition) -> usize {
    let unknown = |node: &&Node| node.executable().is_some() && node.profile == Profile::default();
    definition.nodes.iter().filter(unknown).count()
}

/// What a placement is expected to come to, in one line.
pub(crate) fn in_a_line(
    definition: &Definition,
    graph: &Graph,
    workers: &[WorkerCapacity],
    options: &Options,
    placement: &Placement,
) -> (Estimate, String) {
    let estimate = place::estimate(graph, workers, options, placement);
    let used = estimate.workers.iter().filter(|of| of.nodes > 0).count();
    let mut line = format!(
        "{} on {}: {} expected, {}",
        crate::print::counted(graph.node_count(), "node"),
        crate::print::counted(used, "worker"),
        duration(estimate.makespan_ns),
        crossing(&estimate)
    );
    match unprofiled(definition) {
        0 => {}
        1 => line.push_str("; 1 node has no `profile`"),
        some => line.push_str(&format!("; {some} nodes have no `profile`")),
    }
    (estimate, line)
}

/// What crosses, in words.
fn crossing(estimate: &Estimate) -> String {
    if estimate.crossing_bytes > 0.0 {
        format!("{} between workers", bytes(estimate.crossing_bytes))
    } else {
        "no payloads between workers".to_owned()
    }
}

/// Nanoseconds as people read them.
fn duration(ns: f64) -> String {
    duration_text(ns.round() as u64)
}

/// Bytes as people read them.
fn bytes(of: f64) -> String {
    size_text(of.round() as u64)
}
