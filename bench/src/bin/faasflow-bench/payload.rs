//! `faasflow-bench payload`: its arguments, and what it says.

use crate::{Output, Wait, to_stdout};
use bench::payload::row::Kind;
use bench::payload::{self, PayloadError};
use clap::Args;
use clap::builder::PossibleValuesParser;
use faasstore::tier::{RedisUrl, StoreUrl};
use master::diagnostics;
use std::path::PathBuf;
use std::process::ExitCode;

/// Least bytes of a payload: what is written into it must fit.
const BYTES_MIN: usize = 64;
/// Most bytes of a payload.
const BYTES_MAX: usize = 16 << 30;

#[derive(Args)]
pub(crate) struct PayloadArguments {
    #[command(flatten)]
    output: Output,
    /// Exit with 1 if an aim is missed, and say which.
    #[arg(long)]
    check: bool,
    /// Tiers to measure.
    #[arg(long = "tier", value_name = "TIER", value_delimiter = ',', default_values_t = Kind::ALL.map(|kind| kind.name().to_owned()), value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    tiers: Vec<String>,
    /// Sizes of payloads.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = payload::BYTES, value_parser = bytes)]
    bytes: Vec<usize>,
    /// Samples of each row; large payloads get fewer.
    #[arg(long, value_name = "N", default_value_t = payload::SAMPLES, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    samples: u64,
    /// How lanes and executors wait: three of them share what may be two CPUs.
    #[arg(long, value_enum, default_value_t = Wait::Park)]
    wait: Wait,
    /// For `remote`, a server that may be filled [default: one of our own, if redis-server is installed].
    #[arg(long, value_name = "URL", value_parser = redis_url)]
    redis: Option<RedisUrl>,
    /// For `spill`, a folder on the disk that is meant [default: the temporary folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn bytes(text: &str) -> Result<usize, String> {
    let parsed: usize = text.trim().parse().map_err(|error| format!("{error}"))?;
    if (BYTES_MIN..=BYTES_MAX).contains(&parsed) {
        Ok(parsed)
    } else {
        Err(format!(
            "a number from {BYTES_MIN} to {BYTES_MAX} is wanted"
        ))
    }
}

pub(crate) fn redis_url(text: &str) -> Result<RedisUrl, String> {
    match StoreUrl::parse(text) {
        Ok(StoreUrl::Redis(url)) => Ok(url),
        Ok(StoreUrl::S3(_)) => Err("a redis:// URL is wanted".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Measures, and says whether what must hold does.
pub(crate) fn run(arguments: &PayloadArguments) -> miette::Result<ExitCode> {
    let hgrm = arguments.output.hgrm()?;
    let named = |name: &String| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    let options = payload::Options {
        tiers: arguments.tiers.iter().filter_map(named).collect(),
        bytes: arguments.bytes.clone(),
        samples: arguments.samples,
        wait: arguments.wait.into(),
        redis: arguments.redis.clone(),
        dir: arguments.dir.clone(),
    };
    let (outcome, whole) = payload::measure(&options)?;
    let missed: Vec<String> = outcome.missed().map(ToString::to_string).collect();
    let printed = to_stdout(|out| {
        if arguments.output.json {
            outcome.write_json(out)
        } else {
            outcome.write_tables(out)
        }
    });
    if let Some(distribution) = hgrm {
        distribution.save(&whole)?;
    }
    printed?;
    if !arguments.check || missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for aim in missed {
        diagnostics::to_stderr(&format!("{aim}\n"));
    }
    Ok(ExitCode::FAILURE)
}

/// Whether the caller asked for what cannot be.
pub(crate) fn is_wrong_call(error: &miette::Report) -> bool {
    use bench::floor::DiskError;
    matches!(
        error.downcast_ref(),
        Some(PayloadError::Folder { .. } | PayloadError::Disk(DiskError::Access { .. }))
    )
}
