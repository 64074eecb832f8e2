//! `faasflow-bench`: measures floors, hops and more, and says how it was done.
#![forbid(unsafe_code)]

mod movement;
mod partition;
mod payload;

use crate::movement::MovementArguments;
use crate::partition::PartitionArguments;
use crate::payload::PayloadArguments;
use bench::floor::FloorError;
use bench::foreach::ForeachError;
use bench::hop::HopError;
use bench::movement::MovementError;
use bench::partition::PartitionError;
use bench::payload::{LEASH_COMMAND, PayloadError, leash_main};
use bench::peak::Counted;
use bench::report::Report;
use bench::session::SessionError;
use bench::stamp::STAMP_BYTES;
use bench::words::WordsError;
use bench::{floor, floors, foreach, hop, hop_beside, replicas, report, switch, words};
use clap::{Args, Parser, Subcommand, ValueEnum};
use faasstore::binding::WaitStrategy;
use hdrhistogram::Histogram;
use master::diagnostics;
use master::local::{Between, LocalError};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counted<mimalloc::MiMalloc> = Counted(mimalloc::MiMalloc);

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
    /// From the return of function A to the entry of function B, through the engine.
    Hop(HopBesideArguments),
    /// A chain of nodes as a whole: the cost of each, and activations per second.
    Chain(HopArguments),
    /// What a switch between two functions adds to a hop.
    Switch(SwitchArguments),
    /// One node over many items, through one lane and one executor: items per second, and memory.
    Foreach(ForeachArguments),
    /// The word count workflow against its three functions called directly.
    Wordcount(WordcountArguments),
    /// A closed load on two workers, with the workflow in one placement and in two.
    Replicas(ReplicasArguments),
    /// Placements by each partitioner against each other, and against bounds.
    Partition(PartitionArguments),
    /// Payloads from one function to the next, by tier and size.
    Payload(PayloadArguments),
    /// Bytes that cross the network for each workflow of the publication.
    Movement(MovementArguments),
    /// The second process of a floor.
    #[command(name = floor::PARTNER_COMMAND, hide = true)]
    FloorPartner {
        /// What only this program knows.
        arguments: Vec<String>,
    },
    /// Becomes a program that ends with this one.
    #[command(name = LEASH_COMMAND, hide = true)]
    Leashed {
        /// What only this program knows.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
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
    #[arg(long, value_name = "A,B", value_parser = cpu_pair)]
    cpus: Option<(usize, usize)>,
}

/// How workers wait and where their executors run.
#[derive(Args)]
struct PlacementArguments {
    /// How lanes and executors wait.
    #[arg(long, value_enum, default_value_t = Wait::Adaptive)]
    wait: Wait,
    /// Where executors run, beside their lane.
    #[arg(long, value_enum, default_value_t = Executors::Auto)]
    executors: Executors,
}

#[derive(Args)]
struct WorkerArguments {
    #[command(flatten)]
    placement: PlacementArguments,
    /// Workers, each a process of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    workers: u8,
    /// Have two workers share memory, as workers of one host do by themselves; without it their payloads go over the network.
    #[arg(long)]
    host_sharing: bool,
}

impl WorkerArguments {
    const fn between(&self) -> Between {
        match self.host_sharing {
            true => Between::Memory,
            false => Between::Network,
        }
    }
}

#[derive(Args)]
struct HopArguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    worker: WorkerArguments,
    /// Hops to take; large payloads get fewer.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    samples: u64,
    /// Bytes of every payload.
    #[arg(long, value_name = "BYTES", default_value_t = hop::PAYLOAD_BYTES, value_parser = payload_bytes)]
    payload: usize,
    /// Nodes of the chain [default: 1000 for hop, 100 for chain; fewer with payloads above 1 MiB].
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    nodes: Option<u32>,
}

#[derive(Args)]
struct HopBesideArguments {
    #[command(flatten)]
    hop: HopArguments,
    /// Take further hops while payloads of so many bytes stream from the first worker to the second; needs two workers.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(hop_beside::BYTES_MIN as u64..=1 << 34))]
    beside: Option<u64>,
}

#[derive(Args)]
struct SwitchArguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    placement: PlacementArguments,
    /// Hops to take, every second one through a switch.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    samples: u64,
    /// Nodes of the chain, beside switches.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(3..=50_000))]
    nodes: u32,
}

#[derive(Args)]
struct ForeachArguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    placement: PlacementArguments,
    /// Items of the list.
    #[arg(long, default_value_t = foreach::ITEMS, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    items: u32,
    /// What each activation returns.
    #[arg(long, value_enum, default_value_t = Returns::Item)]
    returns: Returns,
    /// Invocations to count.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
}

#[derive(Args)]
struct WordcountArguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    worker: WorkerArguments,
    /// The text [default: 50 MiB of made-up words].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Rounds, of which each is one invocation and one direct call.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,
}

#[derive(Args)]
struct ReplicasArguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    placement: PlacementArguments,
    /// Invocations under way at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// How long each activation takes.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    takes_us: u32,
    /// Invocations to count of each deployment.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    samples: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wait {
    /// Poll for ever.
    Spin,
    /// Poll within a budget, then park.
    Adaptive,
    /// Park at once.
    Park,
}

impl From<Wait> for WaitStrategy {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Self::Spin,
            Wait::Adaptive => Self::Adaptive,
            Wait::Park => Self::Park,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Executors {
    /// On the lane's own CPU.
    Same,
    /// On the worker's other CPUs.
    Spread,
    /// Where a wake is cheaper.
    Auto,
}

impl Executors {
    fn name(self) -> String {
        match self {
            Self::Same => "same",
            Self::Spread => "spread",
            Self::Auto => "auto",
        }
        .to_owned()
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Returns {
    /// Its item, as 8 bytes of its own; all are gathered.
    Item,
    /// Nothing.
    Nothing,
}

impl From<Returns> for foreach::Returns {
    fn from(returns: Returns) -> Self {
        match returns {
            Returns::Item => Self::Item,
            Returns::Nothing => Self::Nothing,
        }
    }
}

fn cpu_pair(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once(',')
        .map(|(a, b)| (a.trim().parse(), b.trim().parse()));
    match parsed {
        Some((Ok(a), Ok(b))) => Ok((a, b)),
        _ => Err("two numbers of CPUs are wanted, such as 0,1".to_owned()),
    }
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|error| format!("{error}"))?;
    if bytes < STAMP_BYTES {
        return Err(format!(
            "a payload has at least the {STAMP_BYTES} bytes of its stamp"
        ));
    }
    Ok(bytes)
}

fn main() -> ExitCode {
    diagnostics::run("faasflow-bench", measure)
}

fn measure() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Arguments::parse().command {
        Command::Floor(arguments) => run_floor(&arguments).map(done),
        Command::Hop(arguments) => run_hop(&arguments).map(done),
        Command::Chain(arguments) => run_chain(&arguments).map(done),
        Command::Switch(arguments) => run_switch(&arguments).map(done),
        Command::Foreach(arguments) => run_foreach(&arguments).map(done),
        Command::Wordcount(arguments) => run_wordcount(&arguments).map(done),
        Command::Replicas(arguments) => run_replicas(&arguments).map(done),
        Command::FloorPartner { arguments } => floor::partner_main(&arguments)
            .map(done)
            .map_err(Into::into),
        Command::Leashed { arguments } => leash_main(&arguments).map(done).map_err(|error| {
            let path = PathBuf::from(LEASH_COMMAND);
            Unusable {
                what: "run",
                path,
                error,
            }
            .into()
        }),
        Command::Partition(arguments) => partition::run(&arguments),
        Command::Payload(arguments) => payload::run(&arguments),
        Command::Movement(arguments) => movement::run(&arguments).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            diagnostics::to_stderr(&format!("{error:?}\n"));
            if is_wrong_call(&error) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether the caller asked for what cannot be, as against something that went wrong.
fn is_wrong_call(error: &miette::Report) -> bool {
    let wrong_floor = matches!(
        error.downcast_ref::<FloorError>(),
        Some(FloorError::Cpu(_) | FloorError::OneCpu { .. } | FloorError::Call(_))
    );
    let wrong_payload = matches!(
        error.downcast_ref::<HopError>(),
        Some(HopError::Memory { .. } | HopError::OneWorker)
    );
    // Programs that are missing, or workers that cannot do here what they were told.
    let wrong_workers = matches!(
        session_error(error),
        Some(SessionError::Functions { .. })
            | Some(SessionError::Local(
                LocalError::Program | LocalError::Refused { .. } | LocalError::State(_)
            ))
    );
    let wrong_file = error.downcast_ref::<Unusable>().is_some();
    let wrong_input = partition::is_wrong_call(error)
        || payload::is_wrong_call(error)
        || movement::is_wrong_call(error);
    wrong_floor || wrong_payload || wrong_workers || wrong_file || wrong_input
}

fn session_error(error: &miette::Report) -> Option<&SessionError> {
    if let Some(HopError::Session(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(ForeachError::Session(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(PartitionError::Session(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(WordsError::Session(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(MovementError::Session(error)) = error.downcast_ref() {
        return Some(error);
    }
    if let Some(PayloadError::Session(error) | PayloadError::Hop(HopError::Session(error))) =
        error.downcast_ref()
    {
        return Some(error);
    }
    error.downcast_ref()
}

/// A file that cannot be read, or written, before anything was measured.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot {what} {path}: {error}")]
struct Unusable {
    what: &'static str,
    path: PathBuf,
    #[source]
    error: io::Error,
}

fn run_floor(arguments: &FloorArguments) -> miette::Result<()> {
    let hgrm = arguments.output.hgrm()?;
    let (cpu_a, cpu_b) = arguments.cpus.unwrap_or_else(floors::default_cpus);
    let (report, histogram) = floors::measure(cpu_a, cpu_b, arguments.samples)?;
    write(&report, &histogram, &arguments.output, hgrm)
}

fn run_hop(arguments: &HopBesideArguments) -> miette::Result<()> {
    let hgrm = arguments.hop.output.hgrm()?;
    let options = hop::Options {
        beside: arguments.beside.map(|bytes| bytes as usize),
        ..arguments.hop.options(1000)
    };
    let (report, histogram) = hop::hop(&options)?;
    write(&report, &histogram, &arguments.hop.output, hgrm)
}

fn run_chain(arguments: &HopArguments) -> miette::Result<()> {
    let hgrm = arguments.output.hgrm()?;
    let (report, histogram) = hop::chain_cost(&arguments.options(100))?;
    write(&report, &histogram, &arguments.output, hgrm)
}

impl HopArguments {
    fn options(&self, nodes_default: usize) -> hop::Options {
        /// Nodes of a chain of large payloads, so that a figure has several invocations.
        const NODES_LARGE: usize = 17;
        let nodes_default = if self.payload > 1 << 20 {
            NODES_LARGE
        } else {
            nodes_default
        };
        hop::Options {
            workers: usize::from(self.worker.workers),
            wait: self.worker.placement.wait.into(),
            executors: self.worker.placement.executors.name(),
            between: self.worker.between(),
            payload_bytes: self.payload,
            samples: self.samples,
            nodes: self.nodes.map_or(nodes_default, |nodes| nodes as usize),
            beside: None,
        }
    }
}

fn run_switch(arguments: &SwitchArguments) -> miette::Result<()> {
    let hgrm = arguments.output.hgrm()?;
    let options = hop::Options {
        workers: 1,
        wait: arguments.placement.wait.into(),
        executors: arguments.placement.executors.name(),
        between: Between::Network,
        payload_bytes: hop::PAYLOAD_BYTES,
        samples: arguments.samples,
        nodes: arguments.nodes as usize,
        beside: None,
    };
    let (report, histogram) = switch::measure(&options)?;
    write(&report, &histogram, &arguments.output, hgrm)
}

fn run_foreach(arguments: &ForeachArguments) -> miette::Result<()> {
    let hgrm = arguments.output.hgrm()?;
    let options = foreach::Options {
        wait: arguments.placement.wait.into(),
        executors: arguments.placement.executors.name(),
        items: arguments.items,
        returns: arguments.returns.into(),
        rounds: arguments.rounds,
    };
    let (report, histogram) = foreach::measure(&options)?;
    write(&report, &histogram, &arguments.output, hgrm)
}

fn run_wordcount(arguments: &WordcountArguments) -> miette::Result<()> {
    let hgrm = arguments.output.hgrm()?;
    let text = match &arguments.file {
        Some(path) => std::fs::read(path).map_err(|error| Unusable {
            what: "read",
            path: path.clone(),
            error,
        })?,
        None => words::made_text(),
    };
    let options = words::Options {
        workers: usize::from(arguments.worker.workers),
        wait: arguments.worker.placement.wait.into(),
        executors: arguments.worker.placement.executors.name(),
        between: arguments.worker.between(),
        rounds: arguments.rounds,
    };
    let (report, histogram) = words::measure(&options, text)?;
    write(&report, &histogram, &arguments.output, hgrm)
}

fn run_replicas(arguments: &ReplicasArguments) -> miette::Result<()> {
    let hgrm = arguments.output.hgrm()?;
    let options = replicas::Options {
        wait: arguments.placement.wait.into(),
        executors: arguments.placement.executors.name(),
        concurrency: arguments.concurrency,
        takes_us: arguments.takes_us,
        samples: arguments.samples,
    };
    let (report, histogram) = replicas::measure(&options)?;
    write(&report, &histogram, &arguments.output, hgrm)
}

impl Output {
    /// The file for the distribution, opened before anything is measured: that it cannot be written is to be known at
    /// once. What it held is kept until there is something else to be written.
    fn hgrm(&self) -> Result<Option<Distribution<'_>>, Unusable> {
        let open = |path| {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path);
            file.map(|file| Distribution { path, file })
                .map_err(|error| unwritable(path, error))
        };
        self.hgrm.as_deref().map(open).transpose()
    }
}

fn unwritable(path: &Path, error: io::Error) -> Unusable {
    Unusable {
        what: "write",
        path: path.to_owned(),
        error,
    }
}

/// Where the distribution goes.
struct Distribution<'a> {
    path: &'a Path,
    file: File,
}

impl Distribution<'_> {
    fn write(self, histogram: &Histogram<u64>) -> io::Result<()> {
        // Pipes and devices have no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        let mut file = BufWriter::new(self.file);
        report::write_hgrm(histogram, &mut file)?;
        file.flush()
    }

    fn save(self, histogram: &Histogram<u64>) -> miette::Result<()> {
        let path = self.path.display();
        self.write(histogram)
            .map_err(|error| miette::miette!("cannot write the distribution to {path}: {error}"))
    }
}

/// Both are written even if one cannot be: a measurement may have taken minutes.
fn write(
    report: &Report,
    histogram: &Histogram<u64>,
    output: &Output,
    hgrm: Option<Distribution<'_>>,
) -> miette::Result<()> {
    let printed = print(report, output);
    if let Some(distribution) = hgrm {
        distribution.save(histogram)?;
    }
    printed
}

fn print(report: &Report, output: &Output) -> miette::Result<()> {
    to_stdout(|out| {
        if output.json {
            report.write_json(out)
        } else {
            report.write_table(out)
        }
    })
}

fn to_stdout(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'_>>) -> io::Result<()>,
) -> miette::Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        // A reader such as `head` that has seen enough is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(miette::miette!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}
