//! `faasflow-bench partition`: its arguments, and which of its measurements they ask for.

use crate::to_stdout;
use bench::partition::inputs;
use bench::partition::namespaces::Throttle;
use bench::partition::{self, DATA_VARIABLE, PartitionError, check, link};
use clap::{ArgGroup, Args};
use master::place::Effort;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The flags that have workflows run.
const RUNS: &str = "runs";
/// Flags of what is only compared. What needs a flag of [`RUNS`] excludes them by itself: no flag is asked for that another one
/// that was given excludes.
const COMPARES: [&str; 6] = [
    "nodes",
    "workers",
    "ccr",
    "graphs",
    "speed_nodes",
    "no_speed",
];

/// A flag that would do nothing is refused: those that [`RUNS`] names have workflows run, and without them placements are only
/// compared.
#[derive(Args)]
#[command(group = ArgGroup::new(RUNS).args(["check", "link"]))]
pub(crate) struct PartitionArguments {
    /// One JSON object on standard output instead of tables.
    #[arg(long)]
    json: bool,
    /// Predict and measure invocations on two local workers, instead of comparing partitioners.
    #[arg(long)]
    check: bool,
    /// Run the published placement and the default one over a slow link between two network namespaces, instead of comparing
    /// partitioners. Needs root.
    #[arg(long)]
    link: bool,
    /// With --link: megabits a second, each way.
    #[arg(long, requires = "link", conflicts_with = "check", conflicts_with_all = COMPARES, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    mbit: u32,
    /// With --link: milliseconds that each packet is delayed, where the kernel has netem.
    #[arg(long, requires = "link", conflicts_with = "check", conflicts_with_all = COMPARES, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    delay_ms: u32,
    /// With --check and --link: invocations of each placement, after one that warms up.
    #[arg(long, requires = RUNS, conflicts_with_all = COMPARES, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// With --check and --link: imports burn their run times on CPUs instead of sleeping them.
    #[arg(long, requires = RUNS, conflicts_with_all = COMPARES)]
    busy: bool,
    /// With --check and --link: where workers have their executables [default: those beside this program].
    #[arg(long, requires = RUNS, conflicts_with_all = COMPARES, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// A definition, or what `faasflow import` reads, beside all others; may be given several times.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What those files hold [default: found by their content].
    #[arg(long, value_name = "FORMAT", requires = "files", value_parser = kind_names())]
    from: Option<String>,
    /// Place nothing but those files.
    #[arg(long, requires = "files")]
    files_only: bool,
    /// The folder of shared data, with `faasflow/*/flat_workflow.yaml` and `wfcommons/*.json` [default: what the environment
    /// variable FAASFLOW_DATA names].
    #[arg(long, conflicts_with = "files_only", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Nodes of generated graphs.
    #[arg(long, conflicts_with_all = [RUNS, "files_only"], value_name = "N", value_delimiter = ',', default_values_t = partition::NODES, value_parser = node_count)]
    nodes: Vec<usize>,
    /// Numbers of workers.
    #[arg(long, conflicts_with = RUNS, value_name = "N", value_delimiter = ',', default_values_t = partition::WORKERS, value_parser = worker_count)]
    workers: Vec<usize>,
    /// Communication over computation of generated graphs.
    #[arg(long, conflicts_with_all = [RUNS, "files_only"], value_name = "X", value_delimiter = ',', default_values_t = partition::CCRS, value_parser = ccr)]
    ccr: Vec<f64>,
    /// Graphs of each family, size and communication.
    #[arg(long, conflicts_with_all = [RUNS, "files_only"], value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    graphs: u64,
    /// Nodes of the graphs of the speed table.
    #[arg(long, conflicts_with_all = [RUNS, "no_speed"], value_name = "N", value_delimiter = ',', default_values_t = partition::SPEED_NODES, value_parser = node_count)]
    speed_nodes: Vec<usize>,
    /// Leave the speed table away.
    #[arg(long, conflicts_with = RUNS)]
    no_speed: bool,
    #[command(flatten)]
    effort: EffortArguments,
}

/// How long the default partitioner searches.
#[derive(Args)]
struct EffortArguments {
    /// Placements that the default partitioner scores [default: by the size of the workflow].
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Time that the default partitioner takes, in milliseconds.
    #[arg(long, value_name = "N")]
    budget_ms: Option<u64>,
    /// Where random numbers begin: those of graphs, of clusters, and of the search.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl From<&EffortArguments> for Effort {
    fn from(arguments: &EffortArguments) -> Self {
        Self {
            steps: arguments.steps,
            budget: arguments.budget_ms.map(Duration::from_millis),
            seed: arguments.seed,
        }
    }
}

fn kind_names() -> Vec<&'static str> {
    inputs::Kind::ALL.map(|(name, _)| name).to_vec()
}

fn kind(name: &str) -> Option<inputs::Kind> {
    let mut all = inputs::Kind::ALL.into_iter();
    all.find(|(known, _)| *known == name).map(|(_, kind)| kind)
}

/// A number of nodes.
fn node_count(text: &str) -> Result<usize, String> {
    whole(text, 1, 1_000_000)
}

/// A number of workers.
fn worker_count(text: &str) -> Result<usize, String> {
    whole(text, 1, 1000)
}

fn whole(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let parsed: usize = text.trim().parse().map_err(|error| format!("{error}"))?;
    if (least..=most).contains(&parsed) {
        Ok(parsed)
    } else {
        Err(format!("a number from {least} to {most} is wanted"))
    }
}

/// Communication over computation.
fn ccr(text: &str) -> Result<f64, String> {
    let parsed: f64 = text.trim().parse().map_err(|error| format!("{error}"))?;
    if (1e-3..=1e3).contains(&parsed) {
        Ok(parsed)
    } else {
        Err("a number from 0.001 to 1000 is wanted".to_owned())
    }
}

impl PartitionArguments {
    fn files(&self) -> Vec<(PathBuf, Option<inputs::Kind>)> {
        let from = self.from.as_deref().and_then(kind);
        let files = self.files.iter();
        files.map(|path| (path.clone(), from)).collect()
    }

    fn data(&self) -> Option<PathBuf> {
        let named = || std::env::var_os(DATA_VARIABLE).map(PathBuf::from);
        self.data.clone().or_else(named)
    }

    fn run_options(&self) -> partition::RunOptions {
        partition::RunOptions {
            files: self.files(),
            files_only: self.files_only,
            examples: self.check,
            busy: self.busy,
            data: self.data(),
            functions: self.functions.clone(),
            rounds: usize::from(self.rounds),
            effort: Effort::from(&self.effort),
        }
    }

    fn options(&self) -> partition::Options {
        partition::Options {
            files: self.files(),
            files_only: self.files_only,
            data: self.data(),
            nodes: self.nodes.clone(),
            workers: self.workers.clone(),
            ccrs: self.ccr.clone(),
            graphs: self.graphs,
            effort: Effort::from(&self.effort),
            speed: if self.no_speed {
                Vec::new()
            } else {
                self.speed_nodes.clone()
            },
        }
    }
}

/// Measures, and says whether what must hold does.
pub(crate) fn run(arguments: &PartitionArguments) -> miette::Result<ExitCode> {
    if arguments.check {
        let mut checked = check::measure(&arguments.run_options())?;
        let holds = checked.holds();
        let unused = checked.unused();
        to_stdout(|out| {
            if arguments.json {
                checked.write_json(out)
            } else {
                checked.write_tables(out)
            }
        })?;
        unused.map_or(Ok(()), Err)?;
        return Ok(code(holds));
    }
    if arguments.link {
        let throttle = Throttle {
            mbit: arguments.mbit,
            delay_ms: arguments.delay_ms,
        };
        let mut linked = link::measure(&arguments.run_options(), throttle)?;
        let unused = linked.unused();
        to_stdout(|out| {
            if arguments.json {
                linked.write_json(out)
            } else {
                linked.write_tables(out)
            }
        })?;
        unused.map_or(Ok(()), Err)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut outcome = partition::measure(&arguments.options())?;
    let holds = outcome.holds();
    let unused = outcome.unused();
    to_stdout(|out| {
        if arguments.json {
            outcome.write_json(out)
        } else {
            outcome.write_tables(out)
        }
    })?;
    unused.map_or(Ok(()), Err)?;
    Ok(code(holds))
}

fn code(holds: bool) -> ExitCode {
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the caller asked for what cannot be.
pub(crate) fn is_wrong_call(error: &miette::Report) -> bool {
    matches!(error.downcast_ref(), Some(PartitionError::Input(_)))
}
