//! A cluster for the length of one benchmark: local workers on the CPUs that were asked for, with one chain deployed and
//! a client connected.
//!
//! Everything goes through what users have: the worker's program, a definition, deployment and client. All of it ends
//! when the session is dropped.

use crate::chain::{Chain, INPUT, collection_output};
use crate::cpu;
use crate::hop_floor::Site;
use crate::stamp::{Collection, MalformedCollection};
use engine::plan::Limits;
use engine::status::WorkerStatus;
use engine::wire::Failure;
use faasstore::binding::WaitStrategy;
use master::client::{self, Client, ClientError, Invocation, Payload};
use master::definition::{self, DefinitionError};
use master::deploy::{Cluster, DeployError};
use master::local::{self, LocalError, LocalWorkers};
use master::place;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use thiserror::Error;

/// File name of the program whose functions are measured.
pub const FUNCTIONS_PROGRAM: &str = "bench-functions";
/// The names under which it lies in the workers' functions folder: two, since executors are pooled by executable.
pub const EXECUTABLES: [&str; 2] = ["bench-a", "bench-b"];
/// Longest time for one invocation.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Why a benchmark could not run.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum SessionError {
    /// The functions are not there.
    #[error("cannot put {FUNCTIONS_PROGRAM} into a functions folder: {error}")]
    #[diagnostic(help("it lies beside faasflow-bench; `cargo build --release --bins` makes both"))]
    Functions {
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The workers did not start.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Local(#[from] LocalError),
    /// The chain's own definition was refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Definition(#[from] DefinitionError),
    /// The deployment failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Deploy(#[from] DeployError),
    /// A worker could not be spoken to.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Client(#[from] ClientError),
    /// An invocation failed.
    #[error("an invocation failed: {0}")]
    Invocation(#[from] Failure),
    /// An invocation's outputs are not those of the chain.
    #[error(transparent)]
    Collection(#[from] MalformedCollection),
    /// A worker's status is not what this version writes.
    #[error("the status of a worker cannot be read: {0}")]
    #[diagnostic(help("use programs of one release"))]
    Status(#[from] serde_json::Error),
    /// No hop was recorded.
    #[error("no hop was recorded: a chain of {nodes} nodes has none, or its executors were replaced")]
    NoHops {
        /// Nodes of the chain.
        nodes: usize,
    },
}

/// How the cluster is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// CPUs of each worker, as `--cpus` takes them.
    pub cpu_sets: Vec<String>,
    /// `--wait`.
    pub wait: WaitStrategy,
    /// `--executors`.
    pub executors: String,
    /// `--memory` of each worker, in bytes.
    pub memory_bytes: u64,
}

impl Layout {
    /// For one worker, the first two CPUs that this process may use; for two, two each if there are four, else one each.
    #[must_use]
    pub fn cpu_sets(workers: usize) -> Vec<String> {
        let cpus = cpu::allowed();
        let each = (cpus.len() / workers.max(1)).clamp(1, 2);
        (0..workers).map(|worker| cpu_list((0..each).map(|at| cpus[(worker * each + at) % cpus.len()]))).collect()
    }
}

fn cpu_list(cpus: impl Iterator<Item = usize>) -> String {
    cpus.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",")
}

/// The name of a wait strategy, as `--wait` takes it.
#[must_use]
pub const fn wait_name(wait: WaitStrategy) -> &'static str {
    match wait {
        WaitStrategy::Spin => "spin",
        WaitStrategy::Adaptive => "adaptive",
        WaitStrategy::Park => "park",
    }
}

/// A running cluster. Fields are dropped in this order: the client before the workers, those before their files.
#[derive(Debug)]
pub struct Session {
    client: Client,
    cluster: Cluster,
    workers: LocalWorkers,
    chain: Chain,
    _functions: TempDir,
}

/// What one invocation brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// From the arrival of its input at the worker to its end, in nanoseconds.
    pub latency_ns: u64,
    /// What the executor at each stop of the chain had recorded.
    pub collections: Vec<Collection>,
}

impl Session {
    /// Starts the workers and deploys the chain, whose stops name workers `local-1` and on.
    ///
    /// # Errors
    /// If programs are missing, or any step is refused. What was started is ended.
    pub fn start(layout: &Layout, chain: Chain) -> Result<Self, SessionError> {
        let functions = functions_folder().map_err(|error| SessionError::Functions { error })?;
        let workers = LocalWorkers::start(&local::Options {
            workers: layout.cpu_sets.len(),
            functions: functions.path().to_owned(),
            wait: Some(wait_name(layout.wait).to_owned()),
            executors: Some(layout.executors.clone()),
            cpu_sets: Some(layout.cpu_sets.clone()),
            memory_bytes: Some(layout.memory_bytes),
            key_file: None,
        })?;
        let options = client::Options { silence_max: Some(SILENCE_MAX), ..client::Options::default() };
        let addresses = workers.addresses();
        let mut cluster = Cluster::connect(&addresses, &options)?;
        let definition = definition::parse(&format!("{}.yaml", chain.name), chain.definition().as_bytes())?;
        let placing = place::Options { fixed: chain.placement(), ..place::Options::default() };
        cluster.deploy(&definition, &placing, Limits::default())?;
        let client = Client::connect(&addresses[0], &options)?;
        Ok(Self { client, cluster, workers, chain, _functions: functions })
    }

    /// The chain that is deployed.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The workers' processes.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.workers.pids()
    }

    /// Runs the chain once with a payload of so many bytes.
    ///
    /// # Errors
    /// If the invocation fails or a worker is lost.
    pub fn invoke(&mut self, payload_bytes: usize) -> Result<Answer, SessionError> {
        let inputs = [(INPUT.to_owned(), Payload::Bytes(vec![0; payload_bytes]))];
        let invocation = Invocation { workflow: &self.chain.name, inputs: &inputs, report: false };
        let answered = self.client.invoke(&invocation)?;
        let outputs = answered.result?;
        let collection = |stop: usize| {
            let name = collection_output(stop);
            match outputs.iter().find(|(known, _)| *known == name) {
                Some((_, Payload::Bytes(bytes))) => Collection::from_bytes(bytes),
                _ => Err(MalformedCollection { bytes: 0 }),
            }
        };
        let collections = (0..self.chain.stops.len()).map(collection).collect::<Result<_, _>>()?;
        Ok(Answer { latency_ns: answered.latency_ns, collections })
    }

    /// What each worker tells of itself.
    ///
    /// # Errors
    /// If a worker is lost or of another release.
    pub fn status(&mut self) -> Result<Vec<WorkerStatus>, SessionError> {
        let all = self.cluster.status()?;
        all.into_iter().map(|status| Ok(serde_json::from_value(status)?)).collect()
    }

    /// Where lanes and executors run: one site for each stop of the chain, the lane as its worker says, the executor as
    /// it found itself.
    ///
    /// # Errors
    /// As [`Session::status`].
    pub fn sites(&mut self, answer: &Answer) -> Result<Vec<Site>, SessionError> {
        let statuses = self.status()?;
        let sites = self.chain.stops.iter().zip(&answer.collections).map(|(stop, collection)| {
            let named = statuses.iter().find(|status| stop.worker.as_ref().is_none_or(|name| *name == status.name));
            let lane_cpu = named.and_then(|status| status.lanes.first()).map_or(0, |lane| lane.cpu as usize);
            Site { lane_cpu, executor_cpu: collection.cpu.unwrap_or(lane_cpu) }
        });
        Ok(sites.collect())
    }
}

/// A folder with the functions under both names; linked rather than copied where the file system can.
fn functions_folder() -> io::Result<TempDir> {
    let program = beside(FUNCTIONS_PROGRAM)?;
    let folder = tempfile::Builder::new().prefix("faasflow-bench-").tempdir()?;
    for name in EXECUTABLES {
        let place = folder.path().join(name);
        std::fs::hard_link(&program, &place).or_else(|_| std::fs::copy(&program, &place).map(|_| ()))?;
    }
    Ok(folder)
}

/// A program of the same build.
fn beside(name: &str) -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let path = program.parent().unwrap_or(Path::new(".")).join(name);
    std::fs::metadata(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(path)
}
