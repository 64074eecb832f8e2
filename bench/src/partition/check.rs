//! The estimator against two real workers on this host.

use super::jobs::Jobs;
use super::live::{Live, is_of_one_workflow};
use super::runs::{self, RunRow};
use super::summary::Spread;
use super::wire::Wire;
use super::{PartitionError, RunOptions, Unused};
use crate::floor;
use crate::report::{Machine, Report, Setup, Watch, memory_bytes};
use crate::session::{Layout, functions_folder};
use master::client;
use master::local::{self, LocalWorkers};
use master::place::Partitioner;
use std::io::{self, Write};
use std::time::Duration;

/// How far the middle prediction may be off.
pub const ERROR_MAX: f64 = 0.15;
/// Payloads that the link is measured with.
const WIRE_BYTES: [u64; 4] = [64 << 10, 1 << 20, 8 << 20, 64 << 20];
/// Most memory of each worker, in bytes, and the part of this host's that both have at most.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
const MEMORY_PART: u64 = 2;
/// Longest silence in an invocation.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug)]
pub struct Checked {
    report: Report,
    rows: Vec<RunRow>,
    wire: Wire,
    error: Option<Spread>,
    unused: Unused,
}

/// Client options of runs.
pub(crate) fn client_options() -> client::Options {
    client::Options {
        silence_max: Some(SILENCE_MAX),
        ..client::Options::default()
    }
}

/// Memory of each of two workers.
pub(super) fn worker_memory_bytes() -> u64 {
    let host = memory_bytes().unwrap_or(MEMORY_BYTES_MAX);
    (host / MEMORY_PART / 2).min(MEMORY_BYTES_MAX)
}

/// Predicts and measures.
///
/// # Errors
/// If workers cannot be started or are lost, or a file that was named gives no workflow. What cannot be run is listed as
/// skipped.
pub fn measure(options: &RunOptions) -> Result<Checked, PartitionError> {
    let watch = Watch::start();
    let functions = functions_folder(&[("synthetic", "synthetic"), ("wordcount", "wordcount")])?;
    let folder = options.functions.as_deref();
    let cpu_sets = Layout::cpu_sets(2);
    let placement = format!("workers on CPUs {}", cpu_sets.join(" and "));
    let workers = LocalWorkers::start(&local::Options {
        workers: 2,
        functions: folder.unwrap_or(functions.path()).to_owned(),
        wait: None,
        executors: None,
        cpu_sets: Some(cpu_sets),
        memory_bytes: Some(worker_memory_bytes()),
        key_file: None,
        grace_ms: None,
        flags: Vec::new(),
        between: local::Between::Network,
    })
    .map_err(crate::session::SessionError::from)?;
    let live = Live {
        addresses: workers.addresses(),
        options: client_options(),
    };
    let wire = Wire::measure(&live, &WIRE_BYTES)?;
    let mut jobs = Jobs::of(options, &live.capacities()?)?;
    let mut rows = Vec::new();
    let partitioners = [
        Partitioner::Hash,
        Partitioner::Published,
        Partitioner::Default,
    ];
    for job in std::mem::take(&mut jobs.all) {
        let terms = (options.effort, options.rounds);
        match runs::measure(&live, &job, &wire, &partitioners, true, terms) {
            Ok(more) => rows.extend(more),
            Err(error) if is_of_one_workflow(&error) => {
                jobs.skip(&job, error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut measured = floor::histogram();
    rows.iter()
        .for_each(|row| measured.saturating_record((row.measured_ms * 1e6) as u64));
    let machine = Machine::read(Setup {
        placement: Some(placement),
        ..Setup::default()
    });
    let mut report = Report::new("partition-check", &measured, None, machine);
    report.param("rounds", options.rounds);
    report.param("seed", options.effort.seed);
    jobs.skipped
        .into_iter()
        .for_each(|(what, why)| report.skip(what, why));
    report.machine.disturbances = watch.finish();
    Ok(Checked {
        report,
        error: Spread::of(rows.iter().map(|row| row.error.abs())),
        rows,
        wire,
        unused: jobs.unused,
    })
}

impl Checked {
    /// The error of files that the caller has named and that could not be run, if there are any. Said once.
    pub fn unused(&mut self) -> Option<PartitionError> {
        self.unused.take()
    }

    /// Whether the middle prediction is near enough, or nothing could be run.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.error.is_none_or(|error| error.median <= ERROR_MAX)
    }

    /// Writes one JSON object and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(mut self, out: &mut impl Write) -> io::Result<()> {
        self.report.detail("error", self.error);
        self.report.detail("link", &self.wire);
        self.report.detail("rows", &self.rows);
        self.report.write_json(out)
    }

    /// Writes tables for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(mut self, out: &mut impl Write) -> io::Result<()> {
        runs::write(&self.rows, out)?;
        writeln!(out)?;
        if let Some(Spread {
            rows,
            median,
            worst,
        }) = self.error
        {
            let (median, worst) = (median * 100.0, worst * 100.0);
            writeln!(
                out,
                "error: median {median:.1} %, worst {worst:.1} % of {rows}"
            )?;
            writeln!(out)?;
        }
        self.report.detail("link", &self.wire);
        writeln!(out, "measured makespans:")?;
        self.report.write_table(out)
    }
}
