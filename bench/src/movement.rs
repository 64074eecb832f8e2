//! The benchmark `movement`: bytes that cross the network for each workflow of the publication, by the kernel's counters of the
//! interfaces of workers and store, beside the product's own and the bytes that the same application moves in one process. Each
//! workflow runs twice in the same placement: with the adaptive store, and with all payloads in a remote one.
//!
//! - [`network`]: workers in network namespaces, a bridge between them, and what their interfaces count
//! - [`remote`]: functions whose payloads lie in Redis; [`key`]: what goes from node to node instead
//! - `store`: the Redis server; `relay`: a way out of the namespaces to the one that a caller names
//! - [`row`]: what is told of a workflow in a placement; `table`: for people
//!
//! docs/benchmarks.md says what each figure is.

pub mod key;
pub mod network;
mod relay;
pub mod remote;
pub mod row;
mod store;
mod table;

use crate::floor;
use crate::partition::inputs::{self, Input, InputError, Kind};
use crate::partition::interrupt::Folders;
use crate::partition::live::{Deployed, is_of_one_workflow};
use crate::partition::namespaces::NamespaceError;
use crate::partition::no_data;
use crate::partition::scaled::scale_bytes;
use crate::report::{Machine, Report, Setup, Watch};
use crate::session::{SessionError, functions_folder};
use faasstore::tier::RedisUrl;
use hdrhistogram::Histogram;
use master::graph::Graph;
use master::import::{Draft, Format};
use master::place::{self, Partitioner, find};
use network::{Moved, Site};
use row::{Row, Tiers, Total};
use std::io::{self, Write};
use std::path::PathBuf;
use store::StoreClient;
use thiserror::Error;

/// Numbers of workers unless the caller says otherwise: the fewest between which anything moves, and those of the publication.
pub const WORKERS: [u8; 2] = [2, 7];
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
    /// In a remote database, which every function writes to and reads from.
    RemoteOnly,
}

impl StoreChoice {
    /// As rows name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::RemoteOnly => "remote-only",
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
    pub workers: Vec<u8>,
    /// By whom nodes are placed.
    pub placements: Vec<Partitioner>,
    /// What recorded bytes are multiplied with, above 0 and at most 1.
    pub scale: f64,
    /// Invocations of each, at least 1, after one that warms up; the middle one counts.
    pub rounds: usize,
    /// Whether workers listen on loopback although they might have namespaces of their own.
    pub loopback: bool,
    /// For `remote-only`, a server that may be filled; without one, `redis-server` is started.
    pub redis: Option<RedisUrl>,
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
    /// The remote store does not do what it must.
    #[error("the store {url}: {why}")]
    #[diagnostic(help("see whether the server runs, and what its log says"))]
    Store {
        /// Which server, without its password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The remote store is on another host than the counter.
    #[error("{0}")]
    NotHere(String),
    /// A workflow could not be told where the store is.
    #[error("a definition for the remote store cannot be written: {0}")]
    Definition(#[from] serde_json::Error),
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

/// Runs every workflow on every number of workers in every placement, with each store.
///
/// # Errors
/// If workers cannot be started or are lost, or a file that was named gives no workflow. What cannot be run is listed as
/// skipped.
pub fn measure(options: &Options) -> Result<Outcome, MovementError> {
    let watch = Watch::start();
    let (inputs, mut skipped) = inputs(options)?;
    if let Some(named) = &options.redis {
        store::ask(named, options.loopback)?;
    }
    let folders = Folders::watch().map_err(NamespaceError::Signals)?;
    let programs = ["synthetic", remote::EXECUTABLE].map(|name| (name, name));
    let functions = functions_folder(&programs)?;
    folders.add(functions.path());
    let mut times = floor::histogram();
    let mut rows = Vec::new();
    for &workers in &options.workers {
        if inputs.is_empty() {
            break;
        }
        let named = options.redis.as_ref();
        let (site, told) =
            Site::start(workers, options.loopback, named, functions.path(), &folders)?;
        skipped.extend(told);
        if let Err(why) = site.store() {
            let what = format!("{} on {workers} workers", StoreChoice::RemoteOnly.name());
            skipped.push((what, why.to_owned()));
        }
        for input in &inputs {
            for &placement in &options.placements {
                let run = Run {
                    site: &site,
                    input,
                    placement,
                    options,
                };
                let mut told = Told {
                    times: &mut times,
                    rows: &mut rows,
                    skipped: &mut skipped,
                };
                site.run(|| run.measure(&mut told))??;
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

/// What came of it.
struct Told<'a> {
    times: &'a mut Histogram<u64>,
    rows: &'a mut Vec<Row>,
    skipped: &'a mut Skips,
}

/// A workflow as it runs, and where.
struct Placed {
    draft: Draft,
    nodes: usize,
    placed: Vec<usize>,
    scale: f64,
}

impl Placed {
    fn workers_used(&self) -> usize {
        let mut used = self.placed.clone();
        used.sort_unstable();
        used.dedup();
        used.len()
    }
}

/// What was counted of a workflow in one store.
struct Counted {
    moved: Moved,
    tiers: Tiers,
    output_bytes: u64,
}

impl Run<'_> {
    fn name(&self) -> String {
        let (name, workers) = (&self.input.0.name, self.site.workers());
        format!("{name} on {workers} workers by {}", self.placement.name())
    }

    /// A row for each store, or why there is none.
    fn measure(&self, told: &mut Told<'_>) -> Result<(), MovementError> {
        let Some(placed) = self.place()? else {
            let why = "it fits these workers at no size; choose a smaller --scale, or more memory";
            told.skipped.push((self.name(), why.to_owned()));
            return Ok(());
        };
        let counted = self.counted(&placed.draft, &placed.placed, None, told.times);
        let choice = StoreChoice::Adaptive;
        let Some(counted) = self.or_skipped(choice, counted, told)? else {
            return Ok(());
        };
        // What one process moves follows from these payloads: in the other store, edges carry keys.
        let one_process_bytes = counted.tiers.sum() + counted.output_bytes;
        let mut adaptive = self.row(&placed, choice, &counted, one_process_bytes);
        let remote = self.remote(&placed, told)?;
        let remote =
            remote.map(|it| self.row(&placed, StoreChoice::RemoteOnly, &it, one_process_bytes));
        adaptive.saved = remote
            .as_ref()
            .and_then(|remote| row::saved(adaptive.network_bytes, remote.network_bytes));
        told.rows
            .extend([Some(adaptive), remote].into_iter().flatten());
        Ok(())
    }

    /// The same with all payloads in the remote store, if there is one.
    fn remote(
        &self,
        placed: &Placed,
        told: &mut Told<'_>,
    ) -> Result<Option<Counted>, MovementError> {
        let Ok(store) = self.site.store() else {
            return Ok(None);
        };
        let mut draft = placed.draft.clone();
        remote::through(&mut draft, &store.url)?;
        let mut client = store.client()?;
        // How long an invocation takes is told of the adaptive store alone.
        let mut times = floor::histogram();
        let counted = self.counted(&draft, &placed.placed, Some(&mut client), &mut times);
        self.or_skipped(StoreChoice::RemoteOnly, counted, told)
    }

    fn row(
        &self,
        placed: &Placed,
        store: StoreChoice,
        counted: &Counted,
        one_process_bytes: u64,
    ) -> Row {
        let Moved {
            network_bytes,
            product_bytes,
            store_bytes,
        } = counted.moved;
        Row {
            workflow: self.input.0.name.clone(),
            workers: self.site.workers(),
            workers_used: placed.workers_used(),
            placement: self.placement.name(),
            store: store.name(),
            network: self.site.way().name(),
            scale: placed.scale,
            nodes: placed.nodes,
            network_bytes,
            product_bytes,
            store_bytes,
            one_process_bytes,
            ratio: row::over(network_bytes, one_process_bytes),
            saved: None,
            by_tier: counted.tiers,
            output_bytes: counted.output_bytes,
        }
    }

    /// What was counted; nothing, if it went wrong for this workflow alone.
    fn or_skipped(
        &self,
        store: StoreChoice,
        counted: Result<Counted, MovementError>,
        told: &mut Told<'_>,
    ) -> Result<Option<Counted>, MovementError> {
        match counted {
            Err(MovementError::Session(error)) if is_of_one_workflow(&error) => {
                let what = format!("{}, {}", self.name(), store.name());
                told.skipped.push((what, error.to_string()));
                Ok(None)
            }
            counted => counted.map(Some),
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
            let scaled = |time_scale| -> Result<Draft, InputError> {
                let mut draft = input.draft(*format, time_scale)?;
                scale_bytes(&mut draft, scale);
                Ok(draft)
            };
            // Times shrink as bytes do, so that a placement is as it would be at full size.
            let recorded = Graph::of(&input.parse(&scaled(scale)?)?);
            let Ok((placement, _)) = find(&recorded, &workers, &terms) else {
                continue;
            };
            return Ok(Some(Placed {
                draft: scaled(RUN_TIME_SCALE)?,
                nodes: recorded.node_count(),
                placed: placement.workers().to_vec(),
                scale,
            }));
        }
        Ok(None)
    }

    /// Deploys it, invokes it, and takes it away again.
    fn counted(
        &self,
        draft: &Draft,
        placed: &[usize],
        client: Option<&mut StoreClient>,
        times: &mut Histogram<u64>,
    ) -> Result<Counted, MovementError> {
        let live = self.site.live();
        let definition = self.input.0.parse(draft)?;
        let mut deployed = live.deploy(&definition, &Graph::of(&definition), placed)?;
        let counted = self.invoke(&mut deployed, client, times);
        deployed.end(live)?;
        counted
    }

    /// What its edges carry, as the first invocation tells, and what the middle one of all further ones has moved. The remote store
    /// is emptied after each.
    fn invoke(
        &self,
        deployed: &mut Deployed,
        mut client: Option<&mut StoreClient>,
        times: &mut Histogram<u64>,
    ) -> Result<Counted, MovementError> {
        let invoked = deployed.invoke(&[])?;
        let output_bytes = match &mut client {
            Some(client) => client.output_bytes(&invoked.outputs)?,
            None => invoked.output_bytes(),
        };
        let mut moved = Vec::with_capacity(self.options.rounds);
        for _ in 0..self.options.rounds.max(1) {
            let then = match &mut client {
                Some(client) => {
                    client.clear()?;
                    Some(client.traffic()?)
                }
                None => None,
            };
            let before = self.site.until_now()?;
            // Neither report nor trace is asked for: both would cross, too.
            times.saturating_record(deployed.invoke_plainly(&[])?);
            let mut since = self.site.since(before)?;
            if let Some((client, then)) = client.as_mut().zip(then) {
                since.store_bytes = client.traffic()?.since(then);
            }
            moved.push(since);
        }
        client.map_or(Ok(()), StoreClient::clear)?;
        moved.sort_unstable_by_key(|moved| moved.network_bytes);
        Ok(Counted {
            moved: moved[moved.len() / 2],
            tiers: Tiers::of(&invoked),
            output_bytes,
        })
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
        table::write(&self.rows, &self.totals, out)?;
        writeln!(out)?;
        writeln!(out, "time of an invocation:")?;
        self.report.write_table(out)
    }
}
