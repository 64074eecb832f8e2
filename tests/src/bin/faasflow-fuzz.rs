//! `faasflow-fuzz`: hunts for inputs on which FaaSFlow panics, hangs or needs too much. scripts/fuzz runs it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "what it finds is what it is for")]

use clap::{Parser, Subcommand};
use faasflow_tests::fuzz::child::{self, Orders};
use faasflow_tests::fuzz::hunt::{self, Plan};
use faasflow_tests::fuzz::{Target, limits};
use miette::{IntoDiagnostic, WrapErr, miette};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Hunts for inputs on which FaaSFlow panics, hangs or needs too much.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays inputs that nobody would write, and keeps those that are faults. Exit code 1 if there is one.
    Hunt(HuntArguments),
    /// The names of all targets.
    Targets,
    /// Plays one input that was kept. Exit code 1 if it is a fault.
    Replay {
        /// The input; its name begins with the target's.
        file: PathBuf,
        /// CPU time that it may take, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = limits::CPU_TIME_MAX.as_millis() as u64)]
        cpu_ms: u64,
    },
    /// The process that plays many.
    #[command(hide = true)]
    Child {
        target: String,
        seed: u64,
        inputs: u64,
        time_ms: u64,
        cpu_ms: u64,
        record: PathBuf,
        #[arg(long, value_delimiter = ',')]
        skip: Vec<String>,
        corpus: Option<PathBuf>,
    },
    /// The process that plays one.
    #[command(hide = true)]
    ChildReplay {
        target: String,
        cpu_ms: u64,
        file: PathBuf,
    },
}

#[derive(clap::Args)]
struct HuntArguments {
    /// What to fuzz [default: everything].
    targets: Vec<String>,
    /// Inputs for each target [default: as many as there is time for].
    #[arg(long)]
    inputs: Option<u64>,
    /// Seconds for each target [default: as long as the inputs take, or 60].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: Option<u64>,
    /// From which all choices follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CPU time that one input may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = limits::CPU_TIME_MAX.as_millis() as u64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    cpu_ms: u64,
    /// A folder whose files are inputs to begin with, beside those of the target.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Where to keep what is found.
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    keep: PathBuf,
}

fn main() -> miette::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Hunt(arguments) => hunt(&arguments),
        Command::Targets => {
            println!("{}", Target::ALL.map(Target::name).join(" "));
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { file, cpu_ms } => replay(&file, Duration::from_millis(cpu_ms)),
        Command::Child {
            target,
            seed,
            inputs,
            time_ms,
            cpu_ms,
            record,
            skip,
            corpus,
        } => {
            let skipped: Vec<u32> = skip.iter().filter_map(|hash| hash.parse().ok()).collect();
            let played = child::fuzz(Orders {
                target: named(&target)?,
                seed,
                inputs_max: inputs,
                time_max: Duration::from_millis(time_ms),
                cpu_time_max: Duration::from_millis(cpu_ms),
                skipped: &skipped,
                corpus: corpus.as_deref(),
                record: &record,
            });
            println!("{}", played.into_diagnostic()?.to_line());
            Ok(ExitCode::SUCCESS)
        }
        Command::ChildReplay {
            target,
            cpu_ms,
            file,
        } => {
            let input = read(&file)?;
            let answer = child::replay(named(&target)?, &input, Duration::from_millis(cpu_ms));
            println!("{:?}", answer.into_diagnostic()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn named(name: &str) -> miette::Result<Target> {
    Target::named(name).ok_or_else(|| {
        let known = Target::ALL.map(Target::name).join(", ");
        miette!(
            help = format!("the targets are {known}"),
            "there is no target {name}"
        )
    })
}

fn read(file: &Path) -> miette::Result<Vec<u8>> {
    std::fs::read(file)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", file.display()))
}

fn hunt(arguments: &HuntArguments) -> miette::Result<ExitCode> {
    /// How long, where neither time nor a number of inputs is given.
    const SECONDS: u64 = 60;
    /// Long enough for hundreds of trials of what panics.
    const SHRINK_TIME_MAX: Duration = Duration::from_secs(30);
    /// Whoever has this many looks at them first.
    const FINDS_MAX: usize = 20;
    let targets = match &arguments.targets[..] {
        [] => Target::ALL.to_vec(),
        names => names
            .iter()
            .map(|name| named(name))
            .collect::<Result<_, _>>()?,
    };
    let seconds = match (arguments.seconds, arguments.inputs) {
        (Some(seconds), _) => seconds,
        (None, Some(_)) => u64::from(u32::MAX),
        (None, None) => SECONDS,
    };
    let program = std::env::current_exe().into_diagnostic()?;
    let mut found = false;
    for target in targets {
        let plan = Plan {
            target,
            seed: arguments.seed,
            inputs_max: arguments.inputs.unwrap_or(u64::MAX),
            time_max: Duration::from_secs(seconds),
            cpu_time_max: Duration::from_millis(arguments.cpu_ms),
            shrink_time_max: SHRINK_TIME_MAX,
            finds_max: FINDS_MAX,
            corpus: arguments.corpus.clone(),
            folder: arguments.keep.clone(),
            program: program.clone(),
        };
        let bag = hunt::hunt(&plan).into_diagnostic()?;
        println!(
            "{}: {} inputs, {} accepted, {} different answers, {} faults",
            target.name(),
            bag.played.inputs,
            bag.played.accepted,
            bag.played.answers,
            bag.finds.len()
        );
        for find in &bag.finds {
            found = true;
            println!("  {} ({} times)", find.fault, find.times);
            println!(
                "    to see it again: scripts/fuzz --replay {}",
                find.path.display()
            );
        }
    }
    Ok(if found {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn replay(file: &Path, cpu_time_max: Duration) -> miette::Result<ExitCode> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let target = named(name.split('-').next().unwrap_or_default())?;
    let input = read(file)?;
    println!("{} bytes for {}", input.len(), target.name());
    let program = std::env::current_exe().into_diagnostic()?;
    let fault = hunt::replay(&program, target, file, cpu_time_max).into_diagnostic()?;
    Ok(match fault {
        Some(fault) => {
            println!("{fault}");
            ExitCode::FAILURE
        }
        None => {
            println!("no fault");
            ExitCode::SUCCESS
        }
    })
}
