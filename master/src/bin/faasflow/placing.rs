//! What the command line says of where nodes may run, and of how that is found.

use crate::arguments::{Count, Key, Pins, at_least_one};
use crate::exit::Exit;
use crate::profile::named;
use crate::workers;
use clap::{Args, ValueEnum};
use engine::worker::quantities::parse_size;
use master::definition::Definition;
use master::deploy::Cluster;
use master::diagnostics::to_stderr;
use master::division::{self, Faster};
use master::graph::Graph;
use master::place::{
    self, ClusterFile, Effort, Found, Options, Partitioner, Placement, WorkerCapacity,
};
use miette::Diagnostic;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Where nodes run.
#[derive(Args, Debug)]
pub(crate) struct Placing {
    #[command(flatten)]
    pub(crate) pins: Pins,
    /// How the placement is found [default: default]
    #[arg(long, value_enum, value_name = "METHOD")]
    pub(crate) partitioner: Option<Method>,
    /// Search so many milliseconds at most; the first answer comes in any case [default: as --steps]
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) budget_ms: Option<NonZeroU64>,
    /// Score so many placements at most: with one seed, one number gives one result [default: by the size of the workflow, or
    /// as many as --budget-ms allows]
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) steps: Option<NonZeroU64>,
    /// Where the search's random numbers begin [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// What payloads between nodes of one worker may have together in an invocation, as in 64MiB [default: what the nodes'
    /// `memory_mib` leave, by the published formula]
    #[arg(long, value_name = "SIZE", value_parser = parse_quota)]
    pub(crate) quota: Option<u64>,
    /// File that says what lies between workers, and how fast they are; for `plan` and `graph` it may stand for --workers
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,
}

/// How a placement is found.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// The published baseline: each node on worker `hash(name) mod W`
    Hash,
    /// The published greedy grouping
    Published,
    /// List scheduling by earliest finish
    Heft,
    /// A search that begins with heft, published and hash, and is not worse than those for which it has steps and time
    Default,
}

impl Method {
    const fn partitioner(self) -> Partitioner {
        match self {
            Self::Hash => Partitioner::Hash,
            Self::Published => Partitioner::Published,
            Self::Heft => Partitioner::Heft,
            Self::Default => Partitioner::Default,
        }
    }
}

fn parse_quota(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}

#[derive(Debug, Error, Diagnostic)]
enum PlacingError {
    /// A node that is to run on two workers.
    #[error("--pin {node} is given twice: for worker {first}, and for worker {second}")]
    #[diagnostic(help("a node runs on one worker: take one of the two away"))]
    PinnedTwice {
        node: String,
        first: String,
        second: String,
    },
    #[error("{option} has no effect with --partitioner {partitioner}, which does not search")]
    #[diagnostic(help("take it away, or use --partitioner default"))]
    NoSearch {
        option: &'static str,
        partitioner: &'static str,
    },
}

impl Placing {
    /// One of these options that is given, as it is called.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--pin", !self.pins.pins.is_empty()),
            ("--partitioner", self.partitioner.is_some()),
            ("--budget-ms", self.budget_ms.is_some()),
            ("--steps", self.steps.is_some()),
            ("--seed", self.seed.is_some()),
            ("--quota", self.quota.is_some()),
            ("--cluster", self.cluster.is_some()),
        ];
        let given = all.into_iter().find(|(_, given)| *given);
        given.map(|(option, _)| option)
    }

    fn options(&self) -> Result<Options, Exit> {
        let mut options = Options {
            partitioner: self.partitioner.unwrap_or(Method::Default).partitioner(),
            quota_bytes: self.quota,
            effort: Effort {
                steps: self.steps.map(NonZeroU64::get),
                budget: self.budget_ms.map(|ms| Duration::from_millis(ms.get())),
                seed: self.seed.unwrap_or_default(),
            },
            ..Options::default()
        };
        for (node, second) in &self.pins.pins {
            if let Some(first) = options.fixed.insert(node.clone(), second.clone()) {
                let (node, second) = (node.clone(), second.clone());
                return Err(Exit::input(PlacingError::PinnedTwice {
                    node,
                    first,
                    second,
                }));
            }
        }
        let searching = [
            ("--budget-ms", self.budget_ms.is_some()),
            ("--steps", self.steps.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        let searching = searching.into_iter().find(|(_, given)| *given);
        match searching {
            Some((option, _)) if options.partitioner != Partitioner::Default => {
                let partitioner = options.partitioner.name();
                Err(Exit::input(PlacingError::NoSearch {
                    option,
                    partitioner,
                }))
            }
            _ => Ok(options),
        }
    }
}

/// What is wanted of a placement, before the workers are known.
pub(crate) struct Wanted {
    options: Options,
    file: Option<ClusterFile>,
}

impl Wanted {
    /// What the command line says; its cluster file is read.
    ///
    /// # Errors
    /// If options contradict each other or have no effect, or the file is wrong.
    pub(crate) fn of(placing: &Placing) -> Result<Self, Exit> {
        let options = placing.options()?;
        let file = placing.cluster.as_deref().map(ClusterFile::load);
        Ok(Self {
            options,
            file: file.transpose()?,
        })
    }

    /// What is wanted, with what lies between these workers; and to them is added what the cluster file says of them.
    ///
    /// # Errors
    /// If the file names a worker that there is not.
    pub(crate) fn on(&self, workers: &mut [WorkerCapacity]) -> Result<Options, Exit> {
        let mut options = self.options.clone();
        if let Some(file) = &self.file {
            options.network = file.apply(workers).map_err(place::ClusterError::from)?;
            if !file.names_any(workers) {
                let names: Vec<String> = workers.iter().map(|one| one.name.clone()).collect();
                to_stderr(&format!(
                    "faasflow: {} says nothing of worker {}; only its `link` counts\n",
                    file.name(),
                    named(&names)
                ));
            }
        }
        Ok(options)
    }
}

/// A workflow that has been placed, and all that the placement rests on.
pub(crate) struct Planned {
    pub(crate) graph: Graph,
    /// One, or as many as wanted beside each other.
    pub(crate) placements: Vec<Placement>,
    pub(crate) workers: Vec<WorkerCapacity>,
    pub(crate) options: Options,
    pub(crate) found: Found,
    /// What was divided to be faster.
    pub(crate) faster: Option<Faster>,
    /// The workers, if they were asked.
    asked: Option<Cluster>,
}

impl Planned {
    /// Whether what functions say of their payloads goes together, as far as the workers can be asked.
    pub(crate) fn check_types(&mut self, definition: &Definition) -> Result<(), Exit> {
        if let Some(cluster) = &mut self.asked {
            cluster.check_types(definition, &self.graph, &self.placements)?;
        }
        Ok(())
    }
}

/// Where the nodes would run, on workers that are asked, or described on the command line or in the cluster file.
pub(crate) fn place_nodes(
    definition: &Definition,
    workers: &[String],
    placing: &Placing,
    count: Count,
    key: &Key,
) -> Result<Planned, Exit> {
    let wanted = Wanted::of(placing)?;
    let mut asked = None;
    let mut workers = match (&wanted.file, workers::described(workers, key)?) {
        (_, Some(described)) => described,
        (Some(file), None) if workers.is_empty() => {
            workers::unasked(key)?;
            file.workers()?
        }
        _ => asked.insert(workers::asked(workers, key)?).capacities(),
    };
    let options = wanted.on(&mut workers)?;
    let placed = division::place(definition, &workers, &options, count.replicas)?;
    Ok(Planned {
        graph: placed.graph,
        placements: placed.placements,
        workers,
        options,
        found: placed.found,
        faster: placed.faster,
        asked,
    })
}
