//! A cluster for the length of one benchmark: local workers on the CPUs that were asked for, with one workflow deployed
//! and a client connected.
//!
//! Everything goes through what users have: the worker's program, a definition, deployment and client. All of it ends
//! when the session is dropped.

use crate::cpu;
use crate::stamp::MalformedCollection;
use crate::tally::MalformedTally;
use engine::plan::Limits;
use engine::status::WorkerStatus;
use engine::wire::{Failure, NodeReport};
use faasstore::binding::WaitStrategy;
use master::client::{self, Client, ClientError, Invocation, Payload};
use master::definition::{self, DefinitionError};
use master::deploy::{Cluster, DeployError, Replicas};
use master::feedback::FeedbackError;
use master::local::{self, Between, LocalError, LocalWorkers};
use master::place;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use thiserror::Error;

/// Longest time for one invocation.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Flags of workers that a benchmark starts apart from each other: those by which workers of one host do not share memory, so that
/// what is measured between two of them is a network.
const APART: [&str; 1] = ["--no-host-sharing"];

/// See [`APART`].
pub(crate) fn apart_flags() -> Vec<String> {
    APART.map(str::to_owned).to_vec()
}

/// Why a benchmark could not run.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum SessionError {
    /// An executable is not there.
    #[error("cannot put {program} into a functions folder: {error}")]
    #[diagnostic(help(
        "programs lie beside faasflow-bench; `cargo build --release --bins` makes all"
    ))]
    Functions {
        /// Which program.
        program: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The workers did not start.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Local(#[from] LocalError),
    /// The benchmark's own definition was refused.
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
    /// What was measured of it is not to be had.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Feedback(#[from] FeedbackError),
    /// An invocation failed.
    #[error("an invocation failed: {0}")]
    Invocation(#[from] Failure),
    /// An invocation's outputs are not those of the chain.
    #[error(transparent)]
    Collection(#[from] MalformedCollection),
    /// An invocation's output is no tally.
    #[error(transparent)]
    Tally(#[from] MalformedTally),
    /// A worker's status is not what this version writes.
    #[error("the status of a worker cannot be read: {0}")]
    #[diagnostic(help("use programs of one release"))]
    Status(#[from] serde_json::Error),
    /// An invocation's output is missing.
    #[error("an invocation ended without its output `{name}`")]
    Output {
        /// Which.
        name: String,
    },
    /// No hop was recorded.
    #[error(
        "no hop was recorded: a chain of {nodes} nodes has none, or its executors were replaced"
    )]
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
    /// How payloads travel between them.
    pub between: Between,
}

impl Layout {
    /// For one worker, the first two CPUs that this process may use; for two, two each if there are four, else one each.
    #[must_use]
    pub fn cpu_sets(workers: usize) -> Vec<String> {
        let cpus = cpu::allowed();
        let each = (cpus.len() / workers.max(1)).clamp(1, 2);
        let listed = |worker: usize| {
            let cpus = (0..each).map(|at| cpus[(worker * each + at) % cpus.len()].to_string());
            cpus.collect::<Vec<_>>().join(",")
        };
        (0..workers).map(listed).collect()
    }
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
    workflow: String,
    _functions: TempDir,
}

impl Session {
    /// Starts workers named `local-1` and on with the executables of `functions`, and deploys the workflow of a
    /// definition's text, with the nodes that `fixed` names on the workers that it names.
    ///
    /// # Errors
    /// If the worker's program is missing, or any step is refused. What was started is ended.
    pub fn start(
        layout: &Layout,
        functions: TempDir,
        definition: &str,
        fixed: BTreeMap<String, String>,
    ) -> Result<Self, SessionError> {
        Self::start_within(layout, functions, definition, fixed, Limits::default())
    }

    /// As [`Session::start`], with other limits of the deployment.
    ///
    /// # Errors
    /// As [`Session::start`].
    pub fn start_within(
        layout: &Layout,
        functions: TempDir,
        definition: &str,
        fixed: BTreeMap<String, String>,
        limits: Limits,
    ) -> Result<Self, SessionError> {
        let workers = LocalWorkers::start(&local::Options {
            workers: layout.cpu_sets.len(),
            functions: functions.path().to_owned(),
            wait: Some(wait_name(layout.wait).to_owned()),
            executors: Some(layout.executors.clone()),
            cpu_sets: Some(layout.cpu_sets.clone()),
            memory_bytes: Some(layout.memory_bytes),
            key_file: None,
            grace_ms: None,
            flags: Vec::new(),
            between: layout.between,
        })?;
        let options = options();
        let addresses = workers.addresses();
        let mut cluster = Cluster::connect(&addresses, &options)?;
        let definition = definition::parse("workflow.yaml", definition.as_bytes())?;
        let placing = place::Options {
            fixed,
            ..place::Options::default()
        };
        cluster.deploy(&definition, &placing, limits)?;
        let client = Client::connect(&addresses[0], &options)?;
        let workflow = definition.workflow.value;
        Ok(Self {
            client,
            cluster,
            workers,
            workflow,
            _functions: functions,
        })
    }

    /// The workers' processes.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.workers.pids()
    }

    /// Runs the workflow once, to its end.
    ///
    /// # Errors
    /// If the invocation fails or a worker is lost.
    pub fn invoke(&mut self, inputs: &[(String, Payload)]) -> Result<Ended, SessionError> {
        invoke(&mut self.client, &self.workflow, inputs, false)
    }

    /// As [`Session::invoke`], with the report of what each node did.
    ///
    /// # Errors
    /// As [`Session::invoke`].
    pub fn invoke_reported(&mut self, inputs: &[(String, Payload)]) -> Result<Ended, SessionError> {
        invoke(&mut self.client, &self.workflow, inputs, true)
    }

    /// Deploys a second workflow on the same workers, with the nodes that `fixed` names on the workers that it names, and connects
    /// a client of its own to the first worker.
    ///
    /// # Errors
    /// If the definition or a step is refused.
    pub fn companion(
        &mut self,
        definition: &str,
        fixed: BTreeMap<String, String>,
    ) -> Result<Companion, SessionError> {
        let definition = definition::parse("companion.yaml", definition.as_bytes())?;
        let placing = place::Options {
            fixed,
            ..place::Options::default()
        };
        // What workers have left is asked when they are connected to.
        let addresses = self.workers.addresses();
        self.cluster = Cluster::connect(&addresses, &options())?;
        self.cluster
            .deploy(&definition, &placing, Limits::default())?;
        let client = Client::connect(&addresses[0], &options())?;
        let workflow = definition.workflow.value;
        Ok(Companion { client, workflow })
    }

    /// Deploys the workflow anew, in so many placements.
    ///
    /// # Errors
    /// If the definition or a step is refused.
    pub fn redeploy(&mut self, definition: &str, replicas: Replicas) -> Result<(), SessionError> {
        let definition = definition::parse("workflow.yaml", definition.as_bytes())?;
        // What workers serve, and so the next version, is asked when they are connected to.
        self.cluster = Cluster::connect(&self.workers.addresses(), &options())?;
        let placing = place::Options::default();
        self.cluster
            .deploy_replicas(&definition, &placing, replicas, Limits::default())?;
        Ok(())
    }

    /// Runs the workflow so often, with so many invocations under way at once, and tells `each` how long every one took at
    /// its worker, in nanoseconds.
    ///
    /// # Errors
    /// If an invocation fails or a worker is lost.
    pub fn load(
        &mut self,
        inputs: &[(String, Payload)],
        count: u64,
        concurrency: u32,
        mut each: impl FnMut(u64),
    ) -> Result<(), SessionError> {
        let invocation = Invocation {
            workflow: &self.workflow,
            inputs,
            report: false,
            trace: false,
        };
        let first = count.min(concurrency.into());
        for _ in 0..first {
            self.client.start(&invocation)?;
        }
        for answered in 0..count {
            let ended = self.client.next_answer()?;
            ended.result?;
            each(ended.latency_ns);
            if answered + first < count {
                self.client.start(&invocation)?;
            }
        }
        Ok(())
    }

    /// What each worker tells of itself.
    ///
    /// # Errors
    /// If a worker is lost or of another release.
    pub fn status(&mut self) -> Result<Vec<WorkerStatus>, SessionError> {
        let all = self.cluster.status()?;
        all.into_iter()
            .map(|status| Ok(serde_json::from_value(status)?))
            .collect()
    }
}

/// A second workflow of a session, with a client of its own.
#[derive(Debug)]
pub struct Companion {
    client: Client,
    workflow: String,
}

impl Companion {
    /// Runs it once, to its end.
    ///
    /// # Errors
    /// If the invocation fails or the worker is lost.
    pub fn invoke(&mut self, inputs: &[(String, Payload)]) -> Result<Ended, SessionError> {
        invoke(&mut self.client, &self.workflow, inputs, false)
    }
}

fn invoke(
    client: &mut Client,
    workflow: &str,
    inputs: &[(String, Payload)],
    report: bool,
) -> Result<Ended, SessionError> {
    let answered = client.invoke(&Invocation {
        workflow,
        inputs,
        report,
        trace: false,
    })?;
    Ok(Ended {
        latency_ns: answered.latency_ns,
        outputs: answered.result?,
        report: answered.report,
    })
}

/// How workers are spoken to.
fn options() -> client::Options {
    client::Options {
        silence_max: Some(SILENCE_MAX),
        ..client::Options::default()
    }
}

/// An invocation that ended well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// From the arrival of its inputs at the worker to its end, in nanoseconds.
    pub latency_ns: u64,
    /// Its outputs by name.
    pub outputs: Vec<(String, Payload)>,
    /// What each node did, if that was asked for.
    pub report: Vec<NodeReport>,
}

impl Ended {
    /// The bytes of an output.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn bytes(&self, name: &str) -> Result<&[u8], SessionError> {
        let found = self
            .outputs
            .iter()
            .find_map(|(known, payload)| match payload {
                Payload::Bytes(bytes) if known == name => Some(&bytes[..]),
                _ => None,
            });
        found.ok_or_else(|| SessionError::Output {
            name: name.to_owned(),
        })
    }
}

/// A folder that holds programs of this build, each under a name of its own; linked rather than copied where the file
/// system can.
///
/// # Errors
/// If a program is missing, or no folder can be made.
pub fn functions_folder(programs: &[(&str, &str)]) -> Result<TempDir, SessionError> {
    let failed = |program: &str| {
        let program = program.to_owned();
        |error| SessionError::Functions { program, error }
    };
    let folder = tempfile::Builder::new()
        .prefix("faasflow-bench-")
        .tempdir()
        .map_err(failed("programs"))?;
    for (program, name) in programs {
        let (path, place) = (
            beside(program).map_err(failed(program))?,
            folder.path().join(name),
        );
        let linked =
            std::fs::hard_link(&path, &place).or_else(|_| std::fs::copy(&path, &place).map(|_| ()));
        linked.map_err(failed(program))?;
    }
    Ok(folder)
}

/// A program of the same build.
pub(crate) fn beside(name: &str) -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let path = program.parent().unwrap_or(Path::new(".")).join(name);
    std::fs::metadata(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(path)
}
