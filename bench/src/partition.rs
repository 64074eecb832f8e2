//! Placements against each other, against bounds, and against what really runs.
//!
//! - [`graphs`], [`inputs`]: what is placed, by seed and from files
//! - [`clusters`]: the workers on which
//! - [`rows`], [`summary`]: the quality of each partitioner's placement, and what it took to find it
//! - [`speed`]: how the first answer grows
//! - [`check`]: predictions against two workers that really run
//! - [`link`]: placements that really run over a slow link
//!
//! docs/benchmarks.md says what each figure is.

pub(crate) mod apart;
pub mod check;
pub mod clusters;
pub mod graphs;
pub mod inputs;
pub(crate) mod interrupt;
mod jobs;
pub mod link;
pub(crate) mod live;
pub mod namespaces;
pub mod rows;
pub mod runs;
pub(crate) mod scaled;
pub mod speed;
pub mod summary;
pub mod wire;

use crate::floor;
use crate::report::{Machine, Report, Setup, Watch};
use crate::session::SessionError;
use clusters::{Cluster, Kind};
use graphs::{Family, Wanted, generate};
use inputs::{Input, InputError};
use master::graph::Graph;
use master::place::{Effort, Partitioner, PlaceError};
use namespaces::NamespaceError;
use rows::{Case, Row};
use speed::Speed;
use std::io::{self, Write};
use std::path::PathBuf;
use summary::Summary;
use thiserror::Error;

/// Environment variable that names the folder of shared data.
pub const DATA_VARIABLE: &str = "FAASFLOW_DATA";
/// Nodes of generated graphs, workers, and communication over computation, unless the caller says otherwise.
pub const NODES: [usize; 5] = [10, 30, 100, 300, 1000];
/// See [`NODES`].
pub const WORKERS: [usize; 5] = [2, 4, 8, 16, 32];
/// See [`NODES`].
pub const CCRS: [f64; 4] = [0.1, 1.0, 5.0, 10.0];
/// Nodes of the speed table, likewise.
pub const SPEED_NODES: [usize; 3] = [1_000, 10_000, 100_000];
/// Of the small graphs: nodes, and workers that they are placed on.
const SMALL_NODES: std::ops::RangeInclusive<usize> = 6..=10;
const SMALL_WORKERS: [usize; 2] = [2, 3];

/// What to measure.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Files, each with its format if that is not to be found by content.
    pub files: Vec<(PathBuf, Option<inputs::Kind>)>,
    /// Whether only these are placed.
    pub files_only: bool,
    /// The folder of shared data.
    pub data: Option<PathBuf>,
    /// Sizes of generated graphs.
    pub nodes: Vec<usize>,
    /// Numbers of workers.
    pub workers: Vec<usize>,
    /// Communication over computation of generated graphs.
    pub ccrs: Vec<f64>,
    /// Graphs of each kind.
    pub graphs: u64,
    /// How long the default partitioner searches, and where the random numbers of graphs, clusters and the search begin.
    pub effort: Effort,
    /// Sizes of the speed table; none leaves it away.
    pub speed: Vec<usize>,
}

/// What to run.
#[derive(Clone, PartialEq, Debug)]
pub struct RunOptions {
    /// Files, as in [`Options`].
    pub files: Vec<(PathBuf, Option<inputs::Kind>)>,
    /// Whether only these are run.
    pub files_only: bool,
    /// Whether examples are run.
    pub examples: bool,
    /// The folder of shared data.
    pub data: Option<PathBuf>,
    /// Whether imports burn their run times on CPUs instead of sleeping them.
    pub busy: bool,
    /// Executables of own definitions, and the synthetic function; without it, those beside this program.
    pub functions: Option<PathBuf>,
    /// Invocations of each placement, at least 1, after one that warms up.
    pub rounds: usize,
    /// How long the default partitioner searches.
    pub effort: Effort,
}

/// Why there is no figure.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum PartitionError {
    /// A file that was named gives no workflow.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Input(#[from] InputError),
    /// A generated graph cannot be placed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Place(#[from] PlaceError),
    /// The product failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Session(#[from] SessionError),
    /// Network namespaces could be made, but not used.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Files that were named, and were of no use; all else was measured.
    #[error("not measured of what --file names: {0}")]
    #[diagnostic(help("everything else was measured; correct these files, or leave them away"))]
    Unused(String),
}

/// Files that the caller has named and that could not be measured, each with the reason and the remedy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Unused(Vec<(String, String)>);

impl Unused {
    fn new(files: Vec<(String, String)>) -> Self {
        Self(files)
    }

    fn add(&mut self, file: &str, why: &str) {
        self.0.push((file.to_owned(), why.to_owned()));
    }

    /// The error that says so, if there are any.
    fn take(&mut self) -> Option<PartitionError> {
        let files = std::mem::take(&mut self.0).into_iter();
        let told: Vec<String> = files.map(|(file, why)| format!("{file}: {why}")).collect();
        (!told.is_empty()).then(|| PartitionError::Unused(told.join("; ")))
    }
}

/// That there is no shared data.
pub(crate) fn no_data() -> (String, String) {
    let why = format!("no folder was named; --data DIR or {DATA_VARIABLE} does");
    ("imports of shared data".to_owned(), why)
}

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    report: Report,
    rows: Vec<Row>,
    speed: Vec<Speed>,
    summary: Summary,
    unused: Unused,
}

/// Places all graphs by all partitioners.
///
/// # Errors
/// If a file that was named gives no workflow. What cannot be placed is listed as skipped.
pub fn measure(options: &Options) -> Result<Outcome, PartitionError> {
    let watch = Watch::start();
    let mut rows = Vec::new();
    let mut skipped: Vec<(String, String)> = Vec::new();
    let mut take = |case: &Case<'_>| {
        let partitioners = Partitioner::ALL.map(|(_, partitioner)| partitioner);
        match case.rows(&partitioners, options.effort) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                let workers = case.cluster.workers.len();
                skipped.push((
                    format!("{} on {workers} workers", case.name),
                    error.to_string(),
                ));
            }
        }
    };
    let mut named = Vec::new();
    for (path, kind) in &options.files {
        let input = Input::open(path, *kind)?;
        let graph = input.graph()?;
        named.push((input, graph));
    }
    for (input, graph) in &named {
        place_file(input, graph, options, &mut take);
    }
    let mut missing = Vec::new();
    if !options.files_only {
        place_generated(options, &mut take);
        let (shared, not_there) = match &options.data {
            Some(folder) => inputs::shared(folder),
            None => (Vec::new(), vec![no_data()]),
        };
        missing = not_there;
        for input in &shared {
            match input.graph() {
                Ok(graph) => place_file(input, &graph, options, &mut take),
                Err(error) => missing.push((input.name.clone(), error.to_string())),
            }
        }
    }
    let speed = speed::measure(&options.speed, options.effort.seed, options.effort)?;
    let mut unused = Unused::default();
    for (input, _) in &named {
        if !rows.iter().any(|row| row.graph == input.name) {
            let of_it =
                |(what, _): &&(String, String)| what.starts_with(&format!("{} on ", input.name));
            let why = skipped.iter().find(of_it).map(|(_, why)| why.as_str());
            unused.add(&input.name, why.unwrap_or("it was placed nowhere"));
        }
    }
    let mut report = report(options, &rows);
    for (what, why) in missing.into_iter().chain(skipped) {
        report.skip(what, why);
    }
    report.machine.disturbances = watch.finish();
    Ok(Outcome {
        report,
        summary: Summary::of(&rows),
        rows,
        speed,
        unused,
    })
}

/// The main figure is the time until the default partitioner's first answer.
fn report(options: &Options, rows: &[Row]) -> Report {
    let mut first = floor::histogram();
    for row in rows
        .iter()
        .filter(|row| row.partitioner == Partitioner::Default.name())
    {
        first.saturating_record((row.first_ms * 1e6) as u64);
    }
    let mut report = Report::new("partition", &first, None, Machine::read(Setup::default()));
    report.param("seed", options.effort.seed);
    report.param("steps", options.effort.steps);
    report.param(
        "budget_ms",
        options
            .effort
            .budget
            .map(|budget| budget.as_millis() as u64),
    );
    report
}

fn place_file(input: &Input, graph: &Graph, options: &Options, take: &mut dyn FnMut(&Case<'_>)) {
    let seed = options.effort.seed;
    for workers in &options.workers {
        take(&Case {
            name: input.name.clone(),
            family: input.kind.name(),
            seed,
            graph,
            cluster: Cluster::for_graph(graph, *workers, Kind::Alike, seed),
        });
    }
}

fn place_generated(options: &Options, take: &mut dyn FnMut(&Case<'_>)) {
    let seeds = options.effort.seed..options.effort.seed.saturating_add(options.graphs);
    for seed in seeds {
        for (_, family) in Family::ALL {
            let small = family == Family::Small;
            let sizes: Vec<usize> = if small {
                SMALL_NODES.collect()
            } else {
                options.nodes.clone()
            };
            let workers: &[usize] = if small {
                &SMALL_WORKERS
            } else {
                &options.workers
            };
            for nodes in &sizes {
                for ccr in &options.ccrs {
                    let wanted = Wanted {
                        family,
                        nodes: *nodes,
                        ccr: *ccr,
                        seed,
                    };
                    let graph = generate(&wanted);
                    let name = format!("{}-{nodes}-ccr{ccr}-seed{seed}", family.name());
                    for workers in workers {
                        let kind = Kind::of(&name, *workers);
                        take(&Case {
                            name: name.clone(),
                            family: family.name(),
                            seed,
                            graph: &graph,
                            cluster: Cluster::for_graph(&graph, *workers, kind, seed),
                        });
                    }
                }
            }
        }
    }
}

impl Outcome {
    /// The error of files that the caller has named and that could not be placed, if there are any. Said once.
    pub fn unused(&mut self) -> Option<PartitionError> {
        self.unused.take()
    }

    /// Whether the default is never worse than the published partitioner nor far from the best, and all limits are kept.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.summary.holds()
    }

    /// Writes one JSON object and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(mut self, out: &mut impl Write) -> io::Result<()> {
        self.report.detail("summary", &self.summary);
        self.report.detail("speed", &self.speed);
        self.report.detail("rows", &self.rows);
        self.report.write_json(out)
    }

    /// Writes tables for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        if !self.rows.is_empty() {
            writeln!(out, "makespan over the lower bound: median (worst)")?;
            summary::write_groups(&self.rows, out)?;
            writeln!(out)?;
            self.summary.write(out)?;
            writeln!(out)?;
        }
        if !self.speed.is_empty() {
            writeln!(
                out,
                "layered graphs, ccr 1: until the first answer, and the whole search"
            )?;
            speed::write(&self.speed, out)?;
            writeln!(out)?;
        }
        writeln!(
            out,
            "time until the first answer of the default partitioner:"
        )?;
        self.report.write_table(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Made = BTreeMap<(String, usize), (Cluster, Vec<f64>)>;

    /// Clusters, with the graphs' run times, by what rows say of them.
    fn made(nodes: &[usize], ccrs: &[f64], seed: u64, graphs: u64) -> Made {
        let options = Options {
            files: Vec::new(),
            files_only: false,
            data: None,
            nodes: nodes.to_vec(),
            workers: vec![3, 4],
            ccrs: ccrs.to_vec(),
            graphs,
            effort: Effort {
                seed,
                ..Effort::default()
            },
            speed: Vec::new(),
        };
        let mut made = Made::new();
        place_generated(&options, &mut |case| {
            let key = (case.name.clone(), case.cluster.workers.len());
            let times = case.graph.nodes().map(|node| node.runtime_ms).collect();
            let before = made.insert(key, (case.cluster.clone(), times));
            assert!(before.is_none(), "{} is there twice", case.name);
        });
        made
    }

    #[test]
    fn a_case_is_made_again_by_its_name_whatever_else_is_measured() {
        let many = made(&[8, 10, 14], &[1.0, 5.0], 0, 6);
        let few = made(&[10], &[5.0], 3, 1);
        for (key, case) in &few {
            assert_eq!(many.get(key), Some(case), "{key:?}");
        }
        let unlike = many.values().filter(|(made, _)| made.kind == Kind::Unlike);
        let share = unlike.count() as f64 / many.len() as f64;
        assert!((0.25..0.42).contains(&share), "{share} are unlike");
    }
}
