//! The benchmark `movement`: bytes that cross the network for each workflow of the publication, by the kernel's counters of the
//! workers' interfaces, beside the product's own and the bytes that the same application moves in one process.
//!
//! - [`network`]: workers in network namespaces, a bridge between them, and what their interfaces count
//! - [`row`]: what is told of a workflow in a placement, and the table of it
//!
//! docs/benchmarks.md says what each figure is.

pub mod network;
pub mod row;

use crate::floor;
use crate::partition::inputs::{self, Input, InputError, Kind};
use crate::partition::interrupt::Folders;
use crate::partition::live::{Deployed, Invoked, is_of_one_workflow};
use crate::partition::namespaces::NamespaceError;
use crate::partition::no_data;
use crate::partition::scaled::scale_bytes;
use crate::report::{Machine, Report, Setup, Watch};
use crate::session::{SessionError, functions_folder};
use hdrhistogram::Histogram;
use master::definition::Definition;
use master::graph::Graph;
use master::import::Format;
use master::place::{self, Partitioner, find};
use network::{Moved, Site};
use row::{Row, Tiers, Total};
use std::io::{self, Write};
use std::path::PathBuf;
use thiserror::Error;

/// Numbers of workers unless the caller says otherwise: the fewest between which anything moves, and those of the publication.
pub const WORKERS: [usize; 2] = [2, 7];
/// Placements, likewise: each node by its name, as the publication does without its grouping, and what is deployed by default.
pub const PLACEMENTS: [Partitioner; 2] = [Partitioner::Hash, Partitioner::Default];
/// What recorded run times are multiplied with as workflows run: bytes, not times, are counted.
const RUN_TIME_SCALE: f64 = 1e-3;
/// How often bytes are halved until a workflow fits.
const HALVINGS_MAX: u32 = 12;

/// Where payloads lie between two functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreChoice {
    /// In memory where both are on one worker; else they go from worker to worker.
    Adaptive,
}

impl StoreChoice {
    /// All that workers can be told.
    pub const ALL: [Self; 1] = [Self::Adaptive];

    /// As rows name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
        }
    }
}

/// What to measure.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// The folder of shared data.
    pub data: Option<PathBuf>,
    /// Further files, and whether only they count.
    pub files: Vec<PathBuf>,
    /// See `files`.
    pub files_only: bool,
    /// Numbers of workers, each from 1 to 100.
    pub workers: Vec<usize>,
    /// By whom nodes are placed.
    pub placements: Vec<Partitioner>,
    /// What recorded bytes are multiplied with, above 0 and at most 1.
    pub scale: f64,
    /// Invocations of each, at least 1, after one that warms up; the middle one counts.
    pub rounds: usize,
    /// Whether workers listen on loopback although they might have namespaces of their own.
    pub loopback: bool,
}

/// Why there is no figure.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum MovementError {
    /// A file that was named gives no workflow.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Input(#[from] InputError),
    /// A file has no recorded sizes.
    #[error("{0} has no recorded sizes, so that nothing stands for its functions")]
    #[diagnostic(help("name what `faasflow import` reads as faasflow or wfformat"))]
    NoSizes(PathBuf),
    /// The product failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Session(#[from] SessionError),
    /// Network namespaces could be made, but not used.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel's counters cannot be read.
    #[error("the counters of interface {interface} cannot be read: {error}")]
    Counters {
        /// Of which interface.
        interface: &'static str,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    report: Report,
    rows: Vec<Row>,
    totals: Vec<Total>,
}

/// What cannot be run, and why.
type Skips = Vec<(String, String)>;

/// Runs every workflow on every number of workers in every placement.
///
/// # Errors
/// If workers cannot be started or are lost, or a file that was named gives no workflow. What cannot be run is listed as
/// skipped.
pub fn measure(options: &Options) -> Result<Outcome, MovementError> {
    let watch = Watch::start();
    let folders = Folders::watch().map_err(NamespaceError::Signals)?;
    let functions = functions_folder(&[("synthetic", "synthetic")])?;
    folders.add(functions.path());
    let (inputs, mut skipped) = inputs(options)?;
    let mut times = floor::histogram();
    let mut rows = Vec::new();
    for &workers in &options.workers {
        if inputs.is_empty() {
            break;
        }
        let (site, told) = Site::start(workers, options.loopback, functions.path(), &folders)?;
        skipped.extend(told);
        for input in &inputs {
            for &placement in &options.placements {
                let run = Run {
                    site: &site,
                    input,
                    placement,
                    options,
                };
                match site.run(|| run.measure(&mut times))?? {
                    Ok(more) => rows.extend(more),
                    Err(why) => skipped.push((run.name(), why)),
                }
            }
        }
    }
    let machine = Machine::read(Setup::default());
    let mut report = Report::new("movement", &times, None, machine);
    report.param("workers", &options.workers);
    let placements: Vec<&str> = options.placements.iter().map(|by| by.name()).collect();
    report.param("placements", placements);
    report.param("scale", options.scale);
    report.param("rounds", options.rounds);
    for (what, why) in skipped {
        report.skip(what, why);
    }
    report.machine.disturbances = watch.finish();
    Ok(Outcome {
        report,
        totals: row::totals(&rows),
        rows,
    })
}

/// The workflows of the publication, and the files that were named.
fn inputs(options: &Options) -> Result<(Vec<(Input, Format)>, Skips), MovementError> {
    let mut inputs = Vec::new();
    for path in &options.files {
        let input = Input::open(path, None)?;
        match input.kind {
            Kind::Import(format @ (Format::Faasflow | Format::Wfformat)) => {
                // What is wrong with it is told before anything runs.
                input.parse(&input.draft(format, 1.0)?)?;
                inputs.push((input, format));
            }
            Kind::Own | Kind::Import(Format::Asl) => {
                return Err(MovementError::NoSizes(path.clone()));
            }
        }
    }
    let mut skipped = Skips::new();
    match &options.data {
        _ if options.files_only => {}
        None => skipped.push(no_data()),
        Some(folder) => {
            let (found, missing) = inputs::published(folder);
            inputs.extend(found.into_iter().map(|input| (input, Format::Faasflow)));
            skipped = missing;
        }
    }
    Ok((inputs, skipped))
}

/// One workflow on one number of workers in one placement.
struct Run<'a> {
    site: &'a Site,
    input: &'a (Input, Format),
    placement: Partitioner,
    options: &'a Options,
}

/// A workflow as it runs, and where.
struct Placed {
    definition: Definition,
    graph: Graph,
    placed: Vec<usize>,
    scale: f64,
}

impl Run<'_> {
    fn name(&self) -> String {
        let (name, workers) = (&self.input.0.name, self.site.workers());
        format!("{name} on {workers} workers by {}", self.placement.name())
    }

    /// A row for each store, or why there is none.
    fn measure(
        &self,
        times: &mut Histogram<u64>,
    ) -> Result<Result<Vec<Row>, String>, MovementError> {
        let Some(placed) = self.place()? else {
            let why = "it fits these workers at no size; choose a smaller --scale, or more memory";
            return Ok(Err(why.to_owned()));
        };
        let rows = StoreChoice::ALL.map(|store| self.of_store(store, &placed, times));
        let rows: Result<Vec<Row>, MovementError> = rows.into_iter().collect();
        match rows {
            Err(MovementError::Session(error)) if is_of_one_workflow(&error) => {
                Ok(Err(error.to_string()))
            }
            rows => rows.map(Ok),
        }
    }

    /// The largest size at which it fits, from the one that is wanted on.
    fn place(&self) -> Result<Option<Placed>, MovementError> {
        let (input, format) = self.input;
        let workers = self.site.live().capacities()?;
        let terms = place::Options {
            partitioner: self.placement,
            ..place::Options::default()
        };
        for halving in 0..=HALVINGS_MAX {
            let scale = self.options.scale / f64::from(1_u32 << halving);
            let scaled = |time_scale| -> Result<Definition, InputError> {
                let mut draft = input.draft(*format, time_scale)?;
                scale_bytes(&mut draft, scale);
                input.parse(&draft)
            };
            // Times shrink as bytes do, so that a placement is as it would be at full size.
            let recorded = Graph::of(&scaled(scale)?);
            let Ok((placement, _)) = find(&recorded, &workers, &terms) else {
                continue;
            };
            let definition = scaled(RUN_TIME_SCALE)?;
            return Ok(Some(Placed {
                graph: Graph::of(&definition),
                definition,
                placed: placement.workers().to_vec(),
                scale,
            }));
        }
        Ok(None)
    }

    fn of_store(
        &self,
        store: StoreChoice,
        placed: &Placed,
        times: &mut Histogram<u64>,
    ) -> Result<Row, MovementError> {
        let live = self.site.live();
        let mut deployed = live.deploy(&placed.definition, &placed.graph, &placed.placed)?;
        let ran = self.invoke(&mut deployed, times);
        deployed.end(live)?;
        let (invoked, mut moved) = ran?;
        moved.sort_unstable_by_key(|moved| moved.network_bytes);
        let moved = moved[moved.len() / 2];
        let tiers = Tiers::of(&invoked);
        let one_process_bytes = tiers.sum() + invoked.output_bytes;
        let mut used = placed.placed.clone();
        used.sort_unstable();
        used.dedup();
        Ok(Row {
            workflow: self.input.0.name.clone(),
            workers: self.site.workers(),
            workers_used: used.len(),
            placement: self.placement.name(),
            store: store.name(),
            network: self.site.way().name(),
            scale: placed.scale,
            nodes: placed.graph.node_count(),
            network_bytes: moved.network_bytes,
            product_bytes: moved.product_bytes,
            one_process_bytes,
            ratio: row::over(moved.network_bytes, one_process_bytes),
            by_tier: tiers,
            output_bytes: invoked.output_bytes,
        })
    }

    /// What its edges carry, as the first invocation tells, and what each further one has moved.
    fn invoke(
        &self,
        deployed: &mut Deployed,
        times: &mut Histogram<u64>,
    ) -> Result<(Invoked, Vec<Moved>), MovementError> {
        let invoked = deployed.invoke(&[])?;
        let mut moved = Vec::with_capacity(self.options.rounds);
        for _ in 0..self.options.rounds.max(1) {
            let before = self.site.until_now()?;
            // Neither report nor trace is asked for: both would cross, too.
            times.saturating_record(deployed.invoke_plainly(&[])?);
            moved.push(self.site.since(before)?);
        }
        Ok((invoked, moved))
    }
}

impl Outcome {
    /// Writes one JSON object and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(mut self, out: &mut impl Write) -> io::Result<()> {
        self.report.detail("totals", &self.totals);
        self.report.detail("rows", &self.rows);
        self.report.write_json(out)
    }

    /// Writes tables for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        row::write(&self.rows, &self.totals, out)?;
        writeln!(out)?;
        writeln!(out, "time of an invocation:")?;
        self.report.write_table(out)
    }
}
