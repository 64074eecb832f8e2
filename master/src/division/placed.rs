//! Placements of a definition, its regions divided where they are to be, must be, or are faster so.

use super::fit::{self, DivisionError};
use super::speed::{Speed, Way};
use crate::definition::Definition;
use crate::graph::Graph;
use crate::place::{self, Found, Options, Placement, WorkerCapacity};
use std::time::Instant;

/// Where a workflow runs, and how that was found.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its graph, with the nodes of each part.
    pub graph: Graph,
    /// One, or as many as wanted beside each other.
    pub placements: Vec<Placement>,
    /// How the first was found.
    pub found: Found,
    /// What was divided to be faster, if anything was.
    pub faster: Option<Faster>,
}

/// What was divided to be faster.
#[derive(Clone, Debug)]
pub struct Faster {
    /// Regions, by their places in [`Definition::regions`]; rising.
    pub regions: Vec<usize>,
    /// The graph in which these are whole.
    pub undivided: Graph,
    /// The best placement of that graph that was found.
    pub placement: Placement,
    /// Its expected makespan, in nanoseconds.
    pub makespan_ns: f64,
}

/// Finds so many placements of a workflow beside each other. Regions are divided as the definition says, or as far as workers are
/// too small for them; with [`Partitioner::Default`](crate::place::Partitioner::Default) also where that is clearly faster.
///
/// A region of which a node is pinned is not divided: all of it runs where that node does.
///
/// # Errors
/// If the workflow, or so many placements of it, fits nowhere, divided or not; or if what is wanted contradicts itself.
///
/// # Panics
/// If `count` is none from 1 to [`REPLICAS_MAX`](engine::plan::REPLICAS_MAX).
pub fn place(
    definition: &Definition,
    workers: &[WorkerCapacity],
    options: &Options,
    count: u16,
) -> Result<Placed, DivisionError> {
    let began = Instant::now();
    let speed = Speed::of(definition, workers, options, began);
    let effort = speed.as_ref().map_or(options.effort, Speed::first_effort);
    let first = Options {
        effort,
        ..options.clone()
    };
    let found = fit::fit(definition, workers, options, |graph| {
        place::find(graph, workers, &first)
    });
    let (division, graph, (placement, found)) = found?;
    let whole = Way {
        division,
        graph,
        placement,
        found,
    };
    let beside = |way: &Way| {
        let first = way.placement.clone();
        place::beside(&way.graph, workers, options, first, count)
    };
    let Some(speed) = speed else {
        return Ok(Placed {
            placements: beside(&whole)?,
            graph: whole.graph,
            found: whole.found,
            faster: None,
        });
    };
    let best = speed.search(&whole);
    let regions = best.division.more_than(&whole.division);
    // Parts may have more executors together than the whole, so that fewer placements have room.
    let placements = if regions.is_empty() {
        None
    } else {
        beside(&best).ok()
    };
    let took = began.elapsed();
    Ok(match placements {
        Some(placements) => Placed {
            placements,
            graph: best.graph,
            found: Found { took, ..best.found },
            faster: Some(Faster {
                regions,
                undivided: whole.graph,
                placement: whole.placement,
                makespan_ns: whole.found.makespan_ns,
            }),
        },
        None => {
            let best = if regions.is_empty() { best } else { whole };
            Placed {
                placements: beside(&best)?,
                graph: best.graph,
                found: Found { took, ..best.found },
                faster: None,
            }
        }
    })
}
