//! The published placement and the default one, really run over a slow link, beside what the estimator says of both.

use super::apart::Apart;
use super::check::{client_options, worker_memory_bytes};
use super::interrupt::Folders;
use super::jobs::Jobs;
use super::live::{Live, is_of_one_workflow};
use super::namespaces::{NamespaceError, Throttle};
use super::runs::{self, RunRow};
use super::summary::Spread;
use super::wire::Wire;
use super::{PartitionError, RunOptions, Unused};
use crate::floor;
use crate::report::{Machine, Report, Setup, Watch};
use crate::session::functions_folder;
use engine::greeting::ClusterKey;
use master::client;
use master::place::Partitioner;
use serde::Serialize;
use std::io::{self, Write};

/// Payloads that the link is measured with.
const WIRE_BYTES: [u64; 3] = [64 << 10, 512 << 10, 2 << 20];

/// The two placements of one workflow.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Pair {
    /// The workflow.
    pub file: String,
    /// The default's makespan over the published one's, as measured.
    pub measured: f64,
    /// The same, as predicted.
    pub predicted: f64,
}

/// What was measured.
#[derive(Debug)]
pub struct Linked {
    report: Report,
    rows: Vec<RunRow>,
    pairs: Vec<Pair>,
    wire: Option<Wire>,
    unused: Unused,
}

/// Runs both placements over a link so slow. Where that is not permitted, the report says what was skipped, and why.
///
/// # Errors
/// If workers are lost, or a file that was named gives no workflow.
pub fn measure(options: &RunOptions, throttle: Throttle) -> Result<Linked, PartitionError> {
    let watch = Watch::start();
    let folders = Folders::watch().map_err(NamespaceError::Signals)?;
    let functions = functions_folder(&[("synthetic", "synthetic"), ("wordcount", "wordcount")])?;
    folders.add(functions.path());
    let folder = options.functions.as_deref().unwrap_or(functions.path());
    let mut skipped = Vec::new();
    let mut rows = Vec::new();
    let mut wire = None;
    let mut unused = Unused::default();
    match Apart::start(throttle, folder, worker_memory_bytes(), &folders) {
        Ok(apart) => {
            if let Err(why) = &apart.delayed {
                let what = format!("a delay of {} ms", throttle.delay_ms);
                skipped.push((what, format!("{why}; the kernel has no netem")));
            }
            let ran = apart.run(|| run(&apart, options));
            let (found, more, jobs) = ran??;
            rows = more;
            wire = Some(found);
            skipped.extend(jobs.skipped);
            unused = jobs.unused;
        }
        Err(NamespaceError::Session(error)) => return Err(error.into()),
        Err(error) => skipped.push(("runs over a throttled link".to_owned(), error.to_string())),
    }
    let mut measured = floor::histogram();
    rows.iter()
        .for_each(|row| measured.saturating_record((row.measured_ms * 1e6) as u64));
    let mut report = Report::new(
        "partition-link",
        &measured,
        None,
        Machine::read(Setup::default()),
    );
    report.param("mbit", throttle.mbit);
    report.param("delay_ms", throttle.delay_ms);
    report.param("rounds", options.rounds);
    report.param("seed", options.effort.seed);
    skipped
        .into_iter()
        .for_each(|(what, why)| report.skip(what, why));
    report.machine.disturbances = watch.finish();
    Ok(Linked {
        report,
        pairs: pairs(&rows),
        rows,
        wire,
        unused,
    })
}

type Ran = (Wire, Vec<RunRow>, Jobs);

fn run(apart: &Apart, options: &RunOptions) -> Result<Ran, PartitionError> {
    let key = ClusterKey::load(&apart.workers.key_file).map_err(NamespaceError::from)?;
    let live = Live {
        addresses: apart.workers.addresses(),
        options: client::Options {
            key,
            ..client_options()
        },
    };
    let wire = Wire::measure(&live, &WIRE_BYTES)?;
    let mut jobs = Jobs::of(options, &live.capacities()?)?;
    let mut rows = Vec::new();
    for job in std::mem::take(&mut jobs.all) {
        let terms = (options.effort, options.rounds);
        let partitioners = [Partitioner::Published, Partitioner::Default];
        match runs::measure(&live, &job, &wire, &partitioners, false, terms) {
            Ok(more) => rows.extend(more),
            Err(error) if is_of_one_workflow(&error) => {
                jobs.skip(&job, error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((wire, rows, jobs))
}

/// What both placements of each workflow come to; one that both agree on counts for both.
fn pairs(rows: &[RunRow]) -> Vec<Pair> {
    let mut files: Vec<&str> = rows.iter().map(|row| row.file.as_str()).collect();
    files.dedup();
    let pair = |file: &str| {
        let of = |name: &str| {
            let mut of_file = rows.iter().filter(|row| row.file == file);
            of_file.find(|row| row.placement.split('=').any(|known| known == name))
        };
        let (published, default) = (of("published")?, of("default")?);
        Some(Pair {
            file: file.to_owned(),
            measured: default.measured_ms / published.measured_ms,
            predicted: default.predicted_ms / published.predicted_ms,
        })
    };
    files.into_iter().filter_map(pair).collect()
}

impl Linked {
    /// The error of files that the caller has named and that could not be run, if there are any. Said once.
    pub fn unused(&mut self) -> Option<PartitionError> {
        self.unused.take()
    }

    /// Writes one JSON object and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(mut self, out: &mut impl Write) -> io::Result<()> {
        self.report.detail("default_over_published", self.spreads());
        self.report.detail("pairs", &self.pairs);
        self.report.detail("link", &self.wire);
        self.report.detail("rows", &self.rows);
        self.report.write_json(out)
    }

    fn spreads(&self) -> Spreads {
        Spreads {
            measured: Spread::of(self.pairs.iter().map(|pair| pair.measured)),
            predicted: Spread::of(self.pairs.iter().map(|pair| pair.predicted)),
        }
    }

    /// Writes tables for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.rows.is_empty() {
            runs::write(&self.rows, out)?;
            writeln!(out)?;
            writeln!(
                out,
                "{:<38} {:>24} {:>10}",
                "default over published", "measured", "predicted"
            )?;
            for pair in &self.pairs {
                writeln!(
                    out,
                    "{:<38} {:>24.3} {:>10.3}",
                    pair.file, pair.measured, pair.predicted
                )?;
            }
            let Spreads {
                measured,
                predicted,
            } = self.spreads();
            if let (Some(measured), Some(predicted)) = (measured, predicted) {
                writeln!(
                    out,
                    "{:<38} {:>24.3} {:>10.3}",
                    "median", measured.median, predicted.median
                )?;
            }
            writeln!(out)?;
        }
        self.report.detail("link", &self.wire);
        writeln!(out, "measured makespans:")?;
        self.report.write_table(out)
    }
}

#[derive(Serialize)]
struct Spreads {
    measured: Option<Spread>,
    predicted: Option<Spread>,
}
