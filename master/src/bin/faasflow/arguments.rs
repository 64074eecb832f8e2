//! The command line: names and flags are a contract with scripts.

use crate::inputs::InputArgument;
use crate::outputs::OutputArgument;
use crate::placing::Placing;
use crate::validate::Expectation;
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use engine::plan::{Balance, REPLICAS_MAX};
use master::deploy;
use std::num::{IntErrorKind, NonZeroU32, NonZeroU64, ParseIntError};
use std::path::PathBuf;
use std::str::FromStr;

/// Runs workflows of functions with the latency of a function call.
///
/// Exit codes: 0 done, 1 the work failed, 2 the call or its input is wrong (then nothing was started).
#[derive(Parser, Debug)]
#[command(name = "faasflow", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Check a workflow file
    Validate(Validate),
    /// Make a workflow file of what another system has
    Import(Import),
    /// Print the language as a JSON Schema, for editors
    Schema,
    /// Show where the nodes of a workflow would run, and why
    Plan(Plan),
    /// Draw a workflow, and where its nodes would run
    Graph(Graph),
    /// Deploy a workflow on workers
    Deploy(Deploy),
    /// Run a deployed workflow
    Invoke(Invoke),
    /// Show what workers say of themselves
    Status(Status),
    /// Measure what lies between workers, for --cluster
    Links(Links),
    /// Show what was measured of a running workflow, and write it back as hints
    Profile(Profile),
    /// Place a running workflow anew by what was measured of it
    Rebalance(Rebalance),
    /// Take a workflow away from workers
    Undeploy(Undeploy),
    /// Start workers on this host, run a workflow on them, and end them
    Run(Run),
    /// Write a workflow and its functions, to begin with
    New(New),
    /// Print what lets a shell complete this program's arguments
    Completion(Completion),
}

impl Command {
    /// Whether a JSON object is wanted.
    pub(crate) const fn is_json(&self) -> bool {
        match self {
            Self::Validate(of) => of.json,
            Self::Plan(of) => of.json,
            Self::Deploy(of) => of.json,
            Self::Invoke(of) => of.job.json,
            Self::Run(of) => of.job.json,
            Self::Status(of) => of.json,
            Self::Links(of) => of.json,
            Self::Profile(of) => of.json,
            Self::Rebalance(of) => of.json,
            Self::Import(_)
            | Self::Schema
            | Self::Graph(_)
            | Self::Undeploy(_)
            | Self::New(_)
            | Self::Completion(_) => false,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct New {
    /// Folder to make; it must not be there yet, or be empty. Its name becomes the workflow's
    pub(crate) dir: PathBuf,
    /// The `faasstore` folder of a source tree of FaaSFlow, which the functions link [default: that of the tree in which
    /// this program was built]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Completion {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// A shell.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args, Debug)]
pub(crate) struct Validate {
    /// The workflow's file; docs/language.md says what stands in it
    pub(crate) file: PathBuf,
    /// Show which nodes always run, which may be skipped, and under what
    #[arg(long)]
    pub(crate) certificates: bool,
    /// Fail unless a node, or output.NAME, always runs, may be skipped, or never runs; may be repeated
    #[arg(long = "expect", value_name = "NODE=always|may|never")]
    pub(crate) expectations: Vec<Expectation>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// End with code 2 if anything is suspicious
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// What the file is
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) from: ImportFormat,
    /// The file; docs/imports.md says how what stands in it is taken over
    pub(crate) file: PathBuf,
    /// Where the workflow goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// What recorded run times are multiplied with, as in 0.01 [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = parse_time_scale)]
    pub(crate) time_scale: Option<f64>,
    /// The function of a state machine's resource, named as there or by its last part; may be repeated [default:
    /// `run` of an executable of the resource's name]
    #[arg(long = "function", value_name = "RESOURCE=EXECUTABLE:FUNCTION", value_parser = parse_function)]
    pub(crate) functions: Vec<(String, String)>,
    /// What travels between the states of a state machine [default: value]
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) payload: Option<ImportPayload>,
    /// Ask for memory, CPUs and containers as recorded, and fill the memory [default: what synthetic functions need]
    #[arg(long)]
    pub(crate) recorded_resources: bool,
}

/// What can be imported.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ImportFormat {
    /// The flat YAML of the published FaaSFlow
    Faasflow,
    /// WfCommons' WfFormat, schemas 1.0 to 1.5
    Wfformat,
    /// A state machine in the Amazon States Language
    Asl,
}

/// What travels between states.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ImportPayload {
    /// JSON values, which paths and choices look into
    Value,
    /// Bytes of any size, which functions take and give as they are
    Bytes,
}

/// A resource may hold any character; the function behind the last `=` may not.
fn parse_function(text: &str) -> Result<(String, String), String> {
    let parts = text.rsplit_once('=');
    match parts
        .and_then(|(resource, function)| Some((resource, function, function.split_once(':')?)))
    {
        Some((resource, function, (executable, name)))
            if !resource.is_empty() && !executable.is_empty() && !name.is_empty() =>
        {
            Ok((resource.to_owned(), function.to_owned()))
        }
        _ => Err("write RESOURCE=EXECUTABLE:FUNCTION, as in Charge=billing:charge".to_owned()),
    }
}

/// A number of something.
pub(crate) fn at_least_one<N: FromStr<Err = ParseIntError>>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => "it is too large".to_owned(),
            _ => "it is a whole number, at least 1".to_owned(),
        })
}

fn parse_time_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok();
    let fits = scale.filter(|scale| (0.0..=1000.0).contains(scale));
    fits.ok_or_else(|| "it is a number from 0 to 1000, as in 0.01".to_owned())
}

/// Workers that are reached over the network.
#[derive(Args, Debug)]
pub(crate) struct Cluster {
    /// Addresses of the workers, as HOST:PORT, separated by commas
    #[arg(
        long,
        required = true,
        value_delimiter = ',',
        value_name = "HOST:PORT,…",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) workers: Vec<String>,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Args, Debug)]
pub(crate) struct Key {
    /// File of the key that all parties of the cluster hold
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Pins {
    /// Place a node on a worker, by their names; may be repeated
    #[arg(long = "pin", value_name = "NODE=WORKER", value_parser = parse_pin)]
    pub(crate) pins: Vec<(String, String)>,
}

fn parse_pin(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((node, worker)) if !node.is_empty() && !worker.is_empty() => {
            Ok((node.to_owned(), worker.to_owned()))
        }
        _ => Err("write NODE=WORKER, as in count=b".to_owned()),
    }
}

/// Placements beside each other.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Count {
    /// Placements of the workflow beside each other, each with executors of its own: the first, and the same with the
    /// workers rotated
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(REPLICAS_MAX))
    )]
    pub(crate) replicas: u16,
}

#[derive(Args, Debug)]
pub(crate) struct Replicas {
    #[command(flatten)]
    pub(crate) count: Count,
    /// How invocations are divided among several placements
    #[arg(long, value_enum, default_value_t = Balance::RoundRobin, requires = "replicas")]
    pub(crate) balance: Balance,
}

impl Replicas {
    /// As a deployment is asked for.
    pub(crate) const fn wanted(&self) -> deploy::Replicas {
        deploy::Replicas {
            count: self.count.replicas,
            balance: self.balance,
        }
    }
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("where").args(["workers", "cluster"]).required(true).multiple(true))]
pub(crate) struct Plan {
    /// The workflow's file
    pub(crate) file: PathBuf,
    /// Addresses of workers to ask, as HOST:PORT; or workers that need not be there, as NAME:CPUS:MEMORY (a:4:8GiB) [default:
    /// those that --cluster describes]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "WORKER,…",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) workers: Vec<String>,
    #[command(flatten)]
    pub(crate) placing: Placing,
    #[command(flatten)]
    pub(crate) count: Count,
    #[command(flatten)]
    pub(crate) key: Key,
    /// Show all of long lists
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object, with everything in it
    #[arg(long, conflicts_with = "all")]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Graph {
    /// The workflow's file
    pub(crate) file: PathBuf,
    /// Place the nodes on workers, and show it: addresses of workers to ask, or NAME:CPUS:MEMORY (a:4:8GiB), or none with
    /// --cluster
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "WORKER,…",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) workers: Vec<String>,
    #[command(flatten)]
    pub(crate) placing: Placing,
    #[command(flatten)]
    pub(crate) count: Count,
    /// Which of the placements is drawn, from 1 [default: the first]
    #[arg(long, value_name = "R", requires = "replicas")]
    pub(crate) replica: Option<u16>,
    #[command(flatten)]
    pub(crate) key: Key,
    /// As what
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Draw each node by itself, also of a large workflow [default: those that are alike as one box]
    #[arg(long)]
    pub(crate) all: bool,
    /// Write it to a file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// As what a workflow is drawn.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// A drawing, for browsers
    Svg,
    /// For Graphviz
    Dot,
    /// For Mermaid, as in Markdown
    Mermaid,
    /// A listing
    Text,
}

#[derive(Args, Debug)]
pub(crate) struct Deploy {
    /// The workflow's file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    #[command(flatten)]
    pub(crate) placing: Placing,
    #[command(flatten)]
    pub(crate) replicas: Replicas,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What goes in, what comes out, and how much of it.
#[derive(Args, Debug)]
pub(crate) struct Job {
    /// An input: NAME=TEXT, NAME=@FILE or NAME=@- for standard input; NAME[]=… adds an item to a list, NAME[] alone
    /// makes an empty one; what is optional, or has a default, may be left out
    #[arg(long = "input", value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<InputArgument>,
    /// Write an output to a file: NAME=@FILE; the items of a list go to FILE.0, FILE.1, …; if it is absent, nothing is
    /// written, and the exit code is 1
    #[arg(long = "output", value_name = "NAME=@FILE")]
    pub(crate) outputs: Vec<OutputArgument>,
    /// Invoke it so many times, and summarize latencies
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) count: Option<NonZeroU64>,
    /// Invocations under way at once, with --count
    #[arg(long, value_name = "C", default_value = "1", requires = "count", value_parser = at_least_one::<NonZeroU32>)]
    pub(crate) concurrency: NonZeroU32,
    /// Cancel what is under way so many milliseconds after the first invocation, and start nothing more; with --count, of all together
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU64>)]
    pub(crate) deadline_ms: Option<NonZeroU64>,
    /// Show what each node did
    #[arg(long)]
    pub(crate) report: bool,
    /// Write when each activation ran, as trace events that ui.perfetto.dev and chrome://tracing load; with --count,
    /// those of the invocation that starts last
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
    /// Draw when each activation ran, as SVG; with --count, those of the invocation that starts last
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) timeline: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Invoke {
    /// The workflow's name
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    #[command(flatten)]
    pub(crate) job: Job,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Show what was read over each edge, and by which tier it came
    #[arg(long)]
    pub(crate) edges: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Links {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Write the links into a file for --cluster: a new one, or one that there is, of which nothing but `link` and `links`
    /// changes
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Profile {
    /// The workflow's name
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Write what was measured into the workflow's file as `profile:` hints, and nothing else; once more for each file that
    /// it names by `workflow: PATH`, if nodes there are to have theirs
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Vec<PathBuf>,
    /// Forget what was measured after it was shown, and count anew
    #[arg(long)]
    pub(crate) reset: bool,
    /// Show all of long lists
    #[arg(long)]
    pub(crate) all: bool,
    /// Print one JSON object, with everything in it
    #[arg(long, conflicts_with = "all")]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Rebalance {
    /// The workflow's name
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// The workflow's file [default: what the workers have kept of it]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Leave it where it is unless its makespan is estimated to become shorter by so many hundredths
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = parse_percent)]
    pub(crate) min_gain: f64,
    /// Placements beside each other [default: as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(REPLICAS_MAX)))]
    pub(crate) replicas: Option<u16>,
    /// How invocations are divided among several placements [default: as they are]
    #[arg(long, value_enum)]
    pub(crate) balance: Option<Balance>,
    /// Deploy the new placement whatever it gains
    #[arg(long)]
    pub(crate) force: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok();
    let fits = percent.filter(|percent| (0.0..=100.0).contains(percent));
    fits.ok_or_else(|| "it is a number from 0 to 100, as in 5".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Undeploy {
    /// The workflow's name
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The workflow's file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) job: Job,
    /// Workers to start; they are named local-1, local-2, …
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) local: usize,
    /// Folder of the executables [default: the folder of this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) functions: Option<PathBuf>,
    /// How the workers wait for work
    #[arg(long, value_enum)]
    pub(crate) wait: Option<Wait>,
    /// Memory of each worker, as in 512M [default: a quarter of this host's, parted evenly]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<u64>,
    /// How long what runs may go on once it was told to stop, up to an hour; then its executor is killed [default: 1000]
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(..=3_600_000))]
    pub(crate) grace_ms: Option<u32>,
    /// Have payloads travel over the network between the workers, as between hosts, and not in shared memory
    #[arg(long)]
    pub(crate) no_host_sharing: bool,
    #[command(flatten)]
    pub(crate) placing: Placing,
    #[command(flatten)]
    pub(crate) replicas: Replicas,
    #[command(flatten)]
    pub(crate) key: Key,
}

fn parse_size(text: &str) -> Result<u64, String> {
    engine::worker::quantities::parse_size(text).map_err(|error| error.to_string())
}

/// How a worker waits.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Poll for ever: the lowest latency; takes the CPUs whole
    Spin,
    /// Poll for a moment, then sleep
    Adaptive,
    /// Sleep at once
    Park,
}

impl Wait {
    /// As the worker's command line has it.
    pub(crate) const fn flag(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Adaptive => "adaptive",
            Self::Park => "park",
        }
    }
}
