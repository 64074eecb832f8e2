//! `faasflow-bench movement`: its arguments, and what it says.

use crate::payload::redis_url;
use crate::to_stdout;
use bench::movement::{self, MovementError, network};
use bench::partition::DATA_VARIABLE;
use bench::partition::inputs::InputError;
use clap::Args;
use clap::builder::PossibleValuesParser;
use faasstore::tier::RedisUrl;
use master::place::Partitioner;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct MovementArguments {
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
    /// The folder of shared data, with `faasflow/*/flat_workflow.yaml` [default: what the environment variable FAASFLOW_DATA
    /// names].
    #[arg(long, conflicts_with = "files_only", value_name = "DIR")]
    data: Option<PathBuf>,
    /// A workflow with recorded sizes beside those, as `faasflow import` reads it; may be given several times.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run nothing but those files.
    #[arg(long, requires = "files")]
    files_only: bool,
    /// Numbers of workers, each a process.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = movement::WORKERS, value_parser = workers)]
    workers: Vec<u8>,
    /// By whom nodes are placed.
    #[arg(long = "placement", value_name = "NAME", value_delimiter = ',', default_values_t = movement::PLACEMENTS.map(|by| by.name().to_owned()), value_parser = PossibleValuesParser::new(Partitioner::ALL.map(|(name, _)| name)))]
    placements: Vec<String>,
    /// What recorded bytes are multiplied with.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Invocations of each, after one that warms up; the middle one counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Count on loopback, instead of giving each worker a network namespace of its own, which needs root.
    #[arg(long)]
    loopback: bool,
    /// For `remote-only`, a server that may be filled [default: one of our own, if redis-server is installed].
    #[arg(long, value_name = "URL", value_parser = redis_url)]
    redis: Option<RedisUrl>,
}

fn workers(text: &str) -> Result<u8, String> {
    let most = network::WORKERS_MAX;
    let parsed = text.trim().parse().ok();
    let wanted = parsed.filter(|workers| (1..=most).contains(workers));
    wanted.ok_or_else(|| format!("a number from 1 to {most} is wanted"))
}

fn scale(text: &str) -> Result<f64, String> {
    let parsed = text.trim().parse().ok();
    let wanted = parsed.filter(|scale| (1e-6..=1.0).contains(scale));
    wanted.ok_or_else(|| "a number from 0.000001 to 1 is wanted".to_owned())
}

/// A folder that the caller names must be there; one that the environment names may be missing, which is told.
fn look_into(folder: &Path) -> Result<(), MovementError> {
    let path = folder.join("faasflow");
    match std::fs::read_dir(&path) {
        Ok(_) => Ok(()),
        Err(error) => Err(InputError::Read { path, error }.into()),
    }
}

/// Measures, and says what moved.
pub(crate) fn run(arguments: &MovementArguments) -> miette::Result<()> {
    let placement = |name: &String| {
        let mut all = Partitioner::ALL.into_iter();
        all.find(|(known, _)| known == name).map(|(_, by)| by)
    };
    if let Some(folder) = &arguments.data {
        look_into(folder)?;
    }
    let named = || std::env::var_os(DATA_VARIABLE).map(PathBuf::from);
    let outcome = movement::measure(&movement::Options {
        data: arguments.data.clone().or_else(named),
        files: arguments.files.clone(),
        files_only: arguments.files_only,
        workers: arguments.workers.clone(),
        placements: arguments.placements.iter().filter_map(placement).collect(),
        scale: arguments.scale,
        rounds: arguments.rounds.into(),
        loopback: arguments.loopback,
        redis: arguments.redis.clone(),
    })?;
    to_stdout(|out| {
        if arguments.json {
            outcome.write_json(out)
        } else {
            outcome.write_tables(out)
        }
    })
}

/// Whether the caller asked for what cannot be.
pub(crate) fn is_wrong_call(error: &miette::Report) -> bool {
    matches!(
        error.downcast_ref(),
        Some(MovementError::Input(_) | MovementError::NoSizes(_) | MovementError::NotHere(_))
    )
}
