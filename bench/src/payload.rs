//! The benchmark `payload`: what it takes that a payload gets from one function to the next, by tier and size, beside the
//! same job done by bare code in the same run.
//!
//! - [`row`]: what is measured of a tier at a size, and the table of it
//! - `hops`: the tiers that workers use by themselves, through workers and executors
//! - `stored`: the tiers that keep payloads elsewhere
//! - [`aims`]: what must hold
//!
//! docs/benchmarks.md says what each figure is.

pub mod aims;
mod hops;
mod leash;
pub mod row;
pub(crate) mod server;
mod stored;

pub use leash::{LEASH_COMMAND, leash_main};

use crate::floor::{DiskError, FloorError, RedisFloorError};
use crate::hop::HopError;
use crate::report::{FloorSum, Machine, Report, Setup, Watch};
use crate::session::{SessionError, wait_name};
use aims::Aim;
use faasstore::binding::WaitStrategy;
use faasstore::segment::SegmentError;
use faasstore::tier::spill::SpillError;
use faasstore::tier::{RedisUrl, TierError};
use hdrhistogram::Histogram;
use row::{FloorRow, Kind, Measured, Row};
use std::io::{self, Write};
use std::path::PathBuf;
use thiserror::Error;

/// Sizes of payloads, unless the caller says otherwise.
pub const BYTES: [usize; 6] = [64, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20];
/// Samples of a row, likewise.
pub const SAMPLES: u64 = 1000;
/// Bytes that all payloads of one row may have together, and the fewest samples that it gets.
const ROW_BYTES_MAX: u64 = 4 << 30;
const SAMPLES_MIN: u64 = 16;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which tiers.
    pub tiers: Vec<Kind>,
    /// Sizes of payloads, each at least 64.
    pub bytes: Vec<usize>,
    /// Samples of each row; those of large payloads get fewer.
    pub samples: u64,
    /// How lanes and executors wait.
    pub wait: WaitStrategy,
    /// A server that may be filled; without one, `redis-server` is started.
    pub redis: Option<RedisUrl>,
    /// A folder on the disk that is meant; without one, the temporary folder.
    pub dir: Option<PathBuf>,
}

impl Options {
    fn samples(&self, bytes: usize) -> u64 {
        let affordable = (ROW_BYTES_MAX / bytes.max(1) as u64).max(SAMPLES_MIN);
        self.samples.min(affordable)
    }
}

/// Why there is no figure.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum PayloadError {
    /// A floor failed.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// The product did.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Session(#[from] SessionError),
    /// The same, in a chain.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hop(#[from] HopError),
    /// The disk cannot be measured.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No folder of its own can be made on the disk.
    #[error("no folder can be made in {folder}: {error}; name one that may be written, with --dir")]
    Folder {
        /// Where.
        folder: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Redis cannot be measured.
    #[error(transparent)]
    Redis(#[from] RedisFloorError),
    /// A spill cannot be opened.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// A tier failed.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// There is no memory for payloads.
    #[error("no memory for payloads of {bytes} bytes: {error}; choose smaller ones, with --bytes")]
    Memory {
        /// How large they are.
        bytes: usize,
        /// Why not.
        #[source]
        error: SegmentError,
    },
    /// No runtime for what a tier does.
    #[error(
        "no runtime for tiers can be made: {0}; see whether this process may open further files"
    )]
    Runtime(#[source] io::Error),
    /// What was read is not what was written.
    #[error(
        "a payload of {bytes} bytes in the tier {tier} sums up to {sum}, where {written} was written"
    )]
    #[diagnostic(help("this is a fault of the tier, or of the memory of this host"))]
    Sum {
        /// Which tier.
        tier: Kind,
        /// How large.
        bytes: usize,
        /// The sum that was read.
        sum: u64,
        /// What it must be.
        written: u64,
    },
    /// Payloads did not go where they were to.
    #[error("payloads of {bytes} bytes were to go by the tier {tier}, and went by {found}")]
    #[diagnostic(help(
        "a worker decides by size and by what it shares with others; use programs of one release"
    ))]
    Elsewhere {
        /// Where they were to go.
        tier: Kind,
        /// How large they are.
        bytes: usize,
        /// Where they went.
        found: String,
    },
}

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    report: Report,
    rows: Vec<Row>,
    floors: Vec<FloorRow>,
    aims: Vec<Aim>,
}

/// Measures all rows. Returns the outcome, and the distribution of the first row, which is the report's main figure.
///
/// # Errors
/// If floors, workers, tiers or invocations fail, or a payload is not what was written. What cannot be had here is listed
/// as skipped.
pub fn measure(options: &Options) -> Result<(Outcome, Histogram<u64>), PayloadError> {
    let watch = Watch::start();
    let mut rows: Vec<Row> = Vec::new();
    let mut floors = Vec::new();
    let mut skipped = Vec::new();
    let mut main: Option<(Histogram<u64>, FloorSum)> = None;
    let mut take = |measured: Measured, tier: Kind, bytes: usize| match measured {
        Measured::Row(found) => {
            main.get_or_insert((found.whole.clone(), found.floor));
            rows.push(found.row);
            floors.extend(found.floors);
        }
        Measured::Skipped(why) => skipped.push((format!("{tier}, {bytes} bytes"), why)),
    };
    for &tier in &options.tiers {
        let mut stored = stored::Stored::new(options);
        for &bytes in &options.bytes {
            let measured = match tier {
                Kind::Inline | Kind::Peer => hops::across(options, tier, bytes)?,
                Kind::Shared => hops::shared(options, bytes)?,
                Kind::Spill => stored.spill(bytes)?,
                Kind::Remote => stored.remote(bytes)?,
            };
            take(measured, tier, bytes);
        }
    }
    let machine = Machine::read(Setup {
        wait: Some(wait_name(options.wait).to_owned()),
        ..Setup::default()
    });
    let (whole, floor) = main.unzip();
    let whole = whole.unwrap_or_else(crate::floor::histogram);
    let mut report = Report::new("payload", &whole, floor, machine);
    let names: Vec<&str> = options.tiers.iter().map(|tier| tier.name()).collect();
    report.param("tiers", names);
    report.param("bytes", &options.bytes);
    report.param("samples", options.samples);
    report.param("wait", wait_name(options.wait));
    report.param("last_cache_bytes", crate::floor::last_cache_bytes());
    for (what, why) in skipped {
        report.skip(what, why);
    }
    report.machine.disturbances = watch.finish();
    let aims = aims::judge(&rows);
    let outcome = Outcome {
        report,
        rows,
        floors,
        aims,
    };
    Ok((outcome, whole))
}

impl Outcome {
    /// The aims that were missed.
    pub fn missed(&self) -> impl Iterator<Item = &Aim> {
        self.aims.iter().filter(|aim| !aim.held)
    }

    /// Writes one JSON object and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(mut self, out: &mut impl Write) -> io::Result<()> {
        self.report.detail("aims", &self.aims);
        self.report.detail("floors", &self.floors);
        self.report.detail("rows", &self.rows);
        self.report.write_json(out)
    }

    /// Writes tables for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        row::write(&self.rows, out)?;
        writeln!(out)?;
        row::write_floors(&self.floors, out)?;
        writeln!(out)?;
        self.aims
            .iter()
            .try_for_each(|aim| writeln!(out, "{aim}"))?;
        writeln!(out)?;
        writeln!(out, "the first row:")?;
        self.report.write_table(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_payloads_get_fewer_samples_but_never_none() {
        let options = Options {
            tiers: Vec::new(),
            bytes: Vec::new(),
            samples: 1000,
            wait: WaitStrategy::Park,
            redis: None,
            dir: None,
        };
        assert_eq!(options.samples(64), 1000);
        assert_eq!(options.samples(16 << 20), 256);
        assert_eq!(options.samples(1 << 40), SAMPLES_MIN);
    }
}
