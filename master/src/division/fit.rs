//! Which regions are divided: those that are to be, and, where one worker is too small, those that make the workflow fit.

use super::{Division, Refusal, parts_max, refused};
use crate::definition::{Definition, Divide};
use crate::graph::{Graph, GraphNode};
use crate::place::{self, Options, PlaceError, WorkerCapacity};
use miette::Diagnostic;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Placements that are tried at most for a workflow that does not fit as it is.
const TRIES_MAX: usize = 64;
/// What a worker can take of a region, in such shares of it, at most: so that weights stay small numbers.
const WEIGHT_MAX: u64 = 1 << 20;

/// Why there is no placement, divided or not.
#[derive(Clone, PartialEq, Eq, Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum DivisionError {
    /// It is not for a region that it fits nowhere.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Place(#[from] PlaceError),
    /// A region that fits no worker, and cannot be divided.
    #[error("{cause}")]
    #[diagnostic(help(
        "nodes {nodes} could run in parts on several workers, but {refusal}; change that, lower their `resources`, or give \
         a worker more CPUs or memory"
    ))]
    Refused {
        /// That it does not fit.
        cause: Box<PlaceError>,
        /// The nodes of the region.
        nodes: String,
        /// Why it is not divided.
        refusal: Refusal,
    },
}

/// Divides regions as the definition says, or as far as the workers are too small for them, and has the nodes of the graph
/// placed that comes of it.
///
/// A region of which a node is pinned is not divided: all of it runs where that node does.
///
/// # Errors
/// What `place` says of the workflow as it is to be, if no division makes it fit.
pub(super) fn fit<P>(
    definition: &Definition,
    workers: &[WorkerCapacity],
    options: &Options,
    mut place: impl FnMut(&Graph) -> Result<P, PlaceError>,
) -> Result<(Division, Graph, P), DivisionError> {
    let fitter = Fitter {
        definition,
        workers,
        pinned: fixed_regions(definition, options),
    };
    let mut division = fitter.wished();
    let graph = Graph::divided(definition, &division);
    let cause = match place(&graph) {
        Ok(placed) => return Ok((division, graph, placed)),
        Err(cause) => cause,
    };
    if !is_for_room(&cause) {
        return Err(cause.into());
    }
    fitter
        .divide_too_large(&graph, &mut division)
        .map_err(|(nodes, refusal)| {
            let cause = Box::new(cause.clone());
            DivisionError::Refused {
                cause,
                nodes,
                refusal,
            }
        })?;
    let mut tries = fitter.tries(&graph, division);
    tries.truncate(TRIES_MAX);
    for division in tries {
        let graph = Graph::divided(definition, &division);
        match place(&graph) {
            Ok(placed) => return Ok((division, graph, placed)),
            Err(error) if is_for_room(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(cause.into())
}

/// Whether smaller nodes might do. What is to be apart from others may find room beside smaller ones. What all workers together
/// have too little of, parts want no less of.
fn is_for_room(error: &PlaceError) -> bool {
    matches!(
        error,
        PlaceError::Node { .. }
            | PlaceError::Region { .. }
            | PlaceError::Workflow { .. }
            | PlaceError::Apart { .. }
    )
}

/// The outermost regions of nodes that are pinned.
pub(super) fn fixed_regions(definition: &Definition, options: &Options) -> BTreeSet<usize> {
    let nodes = (0..definition.nodes.len()).filter(|node| {
        options
            .fixed
            .contains_key(&definition.nodes[*node].name.value)
    });
    nodes
        .filter_map(|node| definition.regions_of(node).last())
        .collect()
}

struct Fitter<'a> {
    definition: &'a Definition,
    workers: &'a [WorkerCapacity],
    /// Outermost regions that run where they are pinned.
    pinned: BTreeSet<usize>,
}

/// What nodes of one worker want of it.
#[derive(Clone, Copy)]
struct Want {
    executors: u64,
    memory_mib: u64,
}

impl Want {
    /// Of nodes that share pools.
    fn of<'g>(nodes: impl Iterator<Item = &'g GraphNode>) -> Self {
        let mut pools: BTreeMap<&str, (u32, u32, u32)> = BTreeMap::new();
        for node in nodes {
            let Some(executable) = &node.executable else {
                continue;
            };
            let (scale, slots, memory_mib) = pools.entry(executable).or_default();
            *scale = (*scale).max(node.scale);
            *slots = (*slots).max(node.slots);
            *memory_mib = (*memory_mib).max(node.memory_mib);
        }
        let of = |(scale, slots, memory_mib): &(u32, u32, u32)| {
            (
                u64::from(*slots),
                u64::from(*scale) * u64::from(*memory_mib),
            )
        };
        let (executors, memory_mib) = pools.values().map(of).unzip::<_, _, Vec<_>, Vec<_>>();
        Self {
            executors: executors.iter().sum(),
            memory_mib: memory_mib.iter().sum(),
        }
    }

    fn fits(self, worker: &WorkerCapacity) -> bool {
        self.executors <= worker.executors.into() && self.memory_mib <= worker.memory_mib
    }

    /// How much of it a worker can take, of [`WEIGHT_MAX`].
    fn weight(self, worker: &WorkerCapacity) -> u32 {
        let share = |has: u64, wanted: u64| match wanted {
            0 => WEIGHT_MAX,
            wanted => (u128::from(has) * u128::from(WEIGHT_MAX) / u128::from(wanted))
                .min(WEIGHT_MAX.into()) as u64,
        };
        let executors = share(worker.executors.into(), self.executors);
        executors.min(share(worker.memory_mib, self.memory_mib)) as u32
    }
}

impl Fitter<'_> {
    /// The regions that lie in no other.
    fn outermost(&self) -> impl Iterator<Item = usize> + '_ {
        let regions = self.definition.regions.iter().enumerate();
        let outermost = regions.filter(|(_, region)| region.parent.is_none());
        outermost.map(|(place, _)| place)
    }

    fn refusal(&self, region: usize) -> Option<Refusal> {
        let pinned = self.pinned.contains(&region).then_some(Refusal::Pinned);
        refused(self.definition, region).or(pinned)
    }

    /// What the definition asks for.
    fn wished(&self) -> Division {
        let mut division = Division::default();
        for region in self.outermost() {
            if let (Divide::Into(parts), None) =
                (self.definition.regions[region].divide, self.refusal(region))
            {
                let mut room: Vec<u32> = self.workers.iter().map(|one| one.executors).collect();
                room.sort_unstable_by_key(|executors| Reverse(*executors));
                let weights = room.iter().cycle().take(parts as usize);
                let weights: Vec<u32> = weights.map(|executors| (*executors).max(1)).collect();
                division.set(self.definition, region, &weights);
            }
        }
        division
    }

    /// Divides each region that fits no worker by itself among as few as can take it. An error names the nodes of one that
    /// cannot be divided.
    fn divide_too_large(
        &self,
        graph: &Graph,
        division: &mut Division,
    ) -> Result<(), (String, Refusal)> {
        for region in self.outermost() {
            let nodes: Vec<&GraphNode> = graph
                .nodes()
                .filter(|node| node.together == Some(region))
                .collect();
            let want = Want::of(nodes.iter().copied());
            let fits = self.workers.iter().any(|worker| want.fits(worker));
            if fits || nodes.iter().any(|node| node.part.is_some()) {
                continue;
            }
            if let Some(refusal) = self.refusal(region) {
                let names = nodes.iter().map(|node| node.name.as_str());
                return Err((place::names(names), refusal));
            }
            let weights = self.weights(want);
            let enough = |parts: &usize| {
                let sum: u64 = weights[..*parts].iter().map(|one| u64::from(*one)).sum();
                sum >= WEIGHT_MAX
            };
            let most = weights.len().min(parts_max(self.definition, region));
            let fewest = (2..=most).find(enough).unwrap_or(most);
            division.set(self.definition, region, &weights[..fewest]);
        }
        Ok(())
    }

    /// How much of a region each worker can take, the roomiest first.
    fn weights(&self, want: Want) -> Vec<u32> {
        let mut weights: Vec<u32> = self.workers.iter().map(|one| want.weight(one)).collect();
        weights.sort_unstable_by_key(|weight| Reverse(*weight));
        weights.retain(|weight| *weight > 0);
        weights
    }

    /// Divisions to be tried: the one that is given, and then those that divide one region more, or among more workers, the
    /// largest first.
    fn tries(&self, graph: &Graph, division: Division) -> Vec<Division> {
        let want = |region: usize| {
            let nodes = graph.nodes();
            Want::of(nodes.filter(|node| node.together == Some(region)))
        };
        let mut regions: Vec<(Want, usize)> = self
            .outermost()
            .filter(|region| self.refusal(*region).is_none())
            .filter(|region| self.definition.regions[*region].divide == Divide::Auto)
            .map(|region| (want(region), region))
            .filter(|(want, _)| want.executors > 1)
            .collect();
        regions.sort_by_key(|(want, region)| (Reverse(want.executors), *region));
        let mut tries = vec![division.clone()];
        let mut division = division;
        for (want, region) in regions {
            let weights = self.weights(want);
            let most = weights.len().min(parts_max(self.definition, region));
            for parts in division.parts(region) + 1..=most {
                division.set(self.definition, region, &weights[..parts]);
                tries.push(division.clone());
            }
        }
        tries
    }
}
