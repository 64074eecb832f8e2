//! `faasflow-bench`: measures floors and hops, and says how it was done.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "a program's figures go to standard output"
)]

use bench::report::Report;
use bench::{floor, floors, report};
use clap::{Args, Parser, Subcommand};
use hdrhistogram::Histogram;
use miette::{Context, IntoDiagnostic};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures FaaSFlow against the floors of this machine.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What the machine itself takes: slots between spinning processes, wakes, TCP, memory.
    Floor(FloorArguments),
    /// The second process of a floor.
    #[command(name = floor::PARTNER_COMMAND, hide = true)]
    FloorPartner {
        /// What only this program knows.
        arguments: Vec<String>,
    },
}

/// Where a report goes.
#[derive(Args)]
struct Output {
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    json: bool,
    /// Also write the main figure's distribution to this file, in HdrHistogram's percentile format.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
}

#[derive(Args)]
struct FloorArguments {
    #[command(flatten)]
    output: Output,
    /// Slot transfers to count; wakes and round trips are a twentieth of it.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    samples: u64,
    /// The two CPUs, the same twice for one alone [default: the first two that this process may use].
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 2)]
    cpus: Option<Vec<usize>>,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Floor(arguments) => run_floor(&arguments),
        Command::FloorPartner { arguments } => floor::partner_main(&arguments).into_diagnostic(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run_floor(arguments: &FloorArguments) -> miette::Result<()> {
    let (cpu_a, cpu_b) = arguments
        .cpus
        .as_ref()
        .map_or_else(floors::default_cpus, |cpus| (cpus[0], cpus[1]));
    let (report, histogram) = floors::measure(cpu_a, cpu_b, arguments.samples).into_diagnostic()?;
    write(&report, &histogram, &arguments.output)
}

fn write(report: &Report, histogram: &Histogram<u64>, output: &Output) -> miette::Result<()> {
    if let Some(path) = &output.hgrm {
        export(histogram, path)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    }
    let mut stdout = BufWriter::new(io::stdout().lock());
    let written = if output.json {
        report.write_json(&mut stdout)
    } else {
        report.write_table(&mut stdout)
    };
    match written.and_then(|()| stdout.flush()) {
        // A reader such as `head` that has seen enough is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error)
            .into_diagnostic()
            .wrap_err("cannot write to standard output"),
        _ => Ok(()),
    }
}

fn export(histogram: &Histogram<u64>, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    report::write_hgrm(histogram, &mut file)?;
    file.flush()
}
