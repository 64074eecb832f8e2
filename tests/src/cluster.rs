//! Clusters for tests: workers as real processes on loopback, at ports that the kernel chooses.
//!
//! A [`Setup`] says how workers are to be; `Cluster::start` has them ready. Whoever drops a cluster ends its workers,
//! also when a test fails; then their logs are shown. Executors end with their workers, and should the test's own
//! process be killed, workers end with that (`--end-with-stdin`). Which driver they use is left to the environment that they
//! inherit (`FAASFLOW_DRIVER`), so that the whole suite runs on either.

mod worker;

pub use worker::Worker;

use crate::process::{self, Finished, PROMPTLY, Running, until};
use crate::programs::{self, program};
use engine::greeting::ClusterKey;
use engine::plan::{Balance, Limits};
use engine::status::WorkerStatus;
use engine::worker::host;
use master::client::{Answered, Client, ClientError, ControlClient, Invocation, Options, Payload};
use master::definition::{self, Definition};
use master::deploy::{self, DeployError, Deployment};
use master::place;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use worker::Starting;

/// Longest time that one call of the `faasflow` program may take.
pub const PROGRAM_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a worker may take to say what it holds when a test has failed: it may hang.
const STATUS_TIME_MAX: Duration = Duration::from_secs(2);
/// Lines of a worker's log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// How the workers of a cluster are to be.
#[derive(Clone, Debug)]
pub struct Setup {
    names: Vec<String>,
    memory: String,
    /// By name, of workers that have another one.
    memories: Vec<(String, String)>,
    flags: Vec<String>,
    /// By name, of one worker each.
    flags_of: Vec<(String, String)>,
    key: Option<Vec<u8>>,
    executables: Vec<&'static str>,
    through: Option<&'static str>,
    sharing: Option<Vec<String>>,
}

impl Setup {
    /// Workers of these names, with 1 GiB each, all CPUs, and the executables `test-functions`, `rogue-functions`,
    /// `typed-functions`, `states`, `synthetic` and `wordcount`.
    #[must_use]
    pub fn workers(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            memory: "1GiB".to_owned(),
            memories: Vec::new(),
            flags: Vec::new(),
            flags_of: Vec::new(),
            key: None,
            executables: vec![
                "test-functions",
                "rogue-functions",
                "typed-functions",
                "states",
                "synthetic",
                "wordcount",
            ],
            through: None,
            sharing: None,
        }
    }

    /// With memory shared between the workers, and with these flags about it. Without it payloads travel over the network, as
    /// between hosts.
    #[must_use]
    pub fn sharing(mut self, flags: &[&str]) -> Self {
        self.sharing = Some(flags.iter().map(|flag| (*flag).to_owned()).collect());
        self
    }

    /// With another `--memory`.
    #[must_use]
    pub fn memory(mut self, memory: &str) -> Self {
        memory.clone_into(&mut self.memory);
        self
    }

    /// With another `--memory` of this one worker.
    #[must_use]
    pub fn memory_of(mut self, name: &str, memory: &str) -> Self {
        self.memories.push((name.to_owned(), memory.to_owned()));
        self
    }

    /// With one more flag, as in `--lanes=2`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// With one more flag of this one worker.
    #[must_use]
    pub fn flag_of(mut self, name: &str, flag: &str) -> Self {
        self.flags_of.push((name.to_owned(), flag.to_owned()));
        self
    }

    /// Started by this program, which then becomes the worker.
    #[must_use]
    pub fn through(mut self, program: &'static str) -> Self {
        self.through = Some(program);
        self
    }

    /// With a cluster key.
    #[must_use]
    pub fn key(mut self, key: &[u8]) -> Self {
        self.key = Some(key.to_vec());
        self
    }

    /// Starts them.
    ///
    /// # Panics
    /// If one does not become ready; those that were started are ended.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Cluster {
        Cluster::start(self)
    }
}

/// Workers that end when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    workers: Vec<Worker>,
    setup: Setup,
    /// Removed after the workers have ended: fields are dropped in this order.
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts workers and waits until all are ready.
    #[track_caller]
    fn start(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("faasflow-test-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        let functions = folder.path().join("functions");
        std::fs::create_dir(&functions).expect("the folder is new");
        for name in &setup.executables {
            let link = functions.join(name);
            std::os::unix::fs::symlink(program(name), link).expect("the folder is new");
        }
        if let Some(key) = &setup.key {
            write_secret(&folder.path().join("key"), key);
        }
        let mut cluster = Self {
            workers: Vec::new(),
            setup,
            folder,
        };
        let names = cluster.setup.names.clone();
        let started: Vec<_> = names
            .iter()
            .map(|name| cluster.spawn(name, &free_address()))
            .collect();
        for starting in started {
            cluster.workers.push(starting.ready());
        }
        cluster
    }

    /// The command that starts a worker of this cluster's setup.
    #[must_use]
    pub fn worker_command(&self, name: &str, listen: &str) -> Command {
        let cpus: Vec<String> = host::allowed_cpus().iter().map(u32::to_string).collect();
        let worker = program("faasflow-worker");
        let mut command = match self.setup.through {
            Some(wrapper) => {
                let mut command = Command::new(program(wrapper));
                command.arg(worker);
                command
            }
            None => Command::new(worker),
        };
        command.args([
            "--listen",
            listen,
            "--name",
            name,
            "--cpus",
            &cpus.join(","),
        ]);
        let mut memories = self.setup.memories.iter();
        let own = memories.find(|(of, _)| of == name);
        command.args([
            "--memory",
            own.map_or(&self.setup.memory, |(_, memory)| memory),
        ]);
        command.arg("--functions").arg(self.functions());
        command
            .arg("--state-dir")
            .arg(self.path(&format!("state-{name}")));
        if self.setup.key.is_some() {
            command.arg("--cluster-key-file").arg(self.path("key"));
        }
        match &self.setup.sharing {
            Some(flags) => command.args(flags),
            None => command.arg("--no-host-sharing"),
        };
        command.args(&self.setup.flags);
        let flags_of = self.setup.flags_of.iter().filter(|(of, _)| of == name);
        command.args(flags_of.map(|(_, flag)| flag));
        command
    }

    fn spawn(&self, name: &str, listen: &str) -> Starting {
        Starting::spawn(
            name,
            self.worker_command(name, listen),
            &self.log_path(name),
        )
    }

    /// The workers, in the order of the setup.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// One worker.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    #[track_caller]
    pub fn worker(&self, name: &str) -> &Worker {
        let worker = self.workers.iter().find(|worker| worker.name() == name);
        worker.unwrap_or_else(|| panic!("no worker {name}"))
    }

    /// One worker, to end it.
    ///
    /// # Panics
    /// If there is none of that name.
    #[track_caller]
    pub fn worker_mut(&mut self, name: &str) -> &mut Worker {
        let worker = self.workers.iter_mut().find(|worker| worker.name() == name);
        worker.unwrap_or_else(|| panic!("no worker {name}"))
    }

    /// Starts a worker that has ended once more: the same name, state and address.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn restart(&mut self, name: &str) {
        let address = self.worker(name).address().to_owned();
        let restarted = self.spawn(name, &address).ready();
        *self.worker_mut(name) = restarted;
    }

    /// Starts one more worker, or one that has ended once more, by this command; see [`Cluster::worker_command`].
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn start_as(&mut self, name: &str, command: Command) {
        let started = Starting::spawn(name, command, &self.log_path(name)).ready();
        match self.workers.iter_mut().find(|worker| worker.name() == name) {
            Some(worker) => *worker = started,
            None => self.workers.push(started),
        }
    }

    /// Where all workers listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.workers
            .iter()
            .map(|worker| worker.address().to_owned())
            .collect()
    }

    /// A path in the cluster's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The cluster's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of executables that all workers share.
    #[must_use]
    pub fn functions(&self) -> PathBuf {
        self.path("functions")
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    /// What a worker has logged so far, its executors' words included.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = std::fs::read(self.log_path(name)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How to reach these workers. Whoever owes an answer is waited for half a minute.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            key: match &self.setup.key {
                Some(key) => ClusterKey::from_bytes(key),
                None => ClusterKey::none(),
            },
            silence_max: Some(PROMPTLY * 3),
            ..Options::default()
        }
    }

    /// Deploys a workflow on all workers; each pair of `pins` is a node and the worker that it must run on.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn deploy(&self, workflow: &str, pins: &[(&str, &str)]) -> Deployment {
        let names: Vec<&str> = self.workers.iter().map(Worker::name).collect();
        match self.deploy_on(&names, workflow, pins, Limits::default()) {
            Ok(deployment) => deployment,
            Err(error) => panic!("not deployed: {error}"),
        }
    }

    /// As [`Cluster::deploy`], on these workers alone and with limits, and it may fail.
    ///
    /// # Errors
    /// As [`deploy::Cluster::deploy`].
    ///
    /// # Panics
    /// If the definition is wrong.
    #[track_caller]
    pub fn deploy_on(
        &self,
        workers: &[&str],
        workflow: &str,
        pins: &[(&str, &str)],
        limits: Limits,
    ) -> Result<Deployment, DeployError> {
        let definition = definition::parse("test.yaml", workflow.as_bytes());
        let definition = definition.unwrap_or_else(|error| panic!("{error}"));
        self.deploy_definition(workers, &definition, pins, limits)
    }

    /// Deploys a workflow on all workers in several placements.
    ///
    /// # Errors
    /// As [`deploy::Cluster::deploy_replicas`].
    ///
    /// # Panics
    /// If the definition is wrong.
    #[track_caller]
    pub fn deploy_replicas(
        &self,
        workflow: &str,
        count: u16,
        balance: Balance,
    ) -> Result<Deployment, DeployError> {
        let definition = definition::parse("test.yaml", workflow.as_bytes());
        let definition = definition.unwrap_or_else(|error| panic!("{error}"));
        let replicas = deploy::Replicas { count, balance };
        let (options, limits) = (place::Options::default(), Limits::default());
        deploy::Cluster::connect(&self.addresses(), &self.options())?.deploy_replicas(
            &definition,
            &options,
            replicas,
            limits,
        )
    }

    /// As [`Cluster::deploy_on`], a definition that has been read.
    ///
    /// # Errors
    /// As [`deploy::Cluster::deploy`].
    pub fn deploy_definition(
        &self,
        workers: &[&str],
        definition: &Definition,
        pins: &[(&str, &str)],
        limits: Limits,
    ) -> Result<Deployment, DeployError> {
        let owned = |(node, worker): &(&str, &str)| ((*node).to_owned(), (*worker).to_owned());
        let placed = place::Options {
            fixed: pins.iter().map(owned).collect(),
            // It uses several workers where one would do, and so tests what is between them.
            partitioner: place::Partitioner::Published,
            ..place::Options::default()
        };
        let addresses = workers
            .iter()
            .map(|name| self.worker(name).address().to_owned());
        deploy::Cluster::connect(&addresses.collect::<Vec<_>>(), &self.options())?
            .deploy(definition, &placed, limits)
    }

    /// Takes a workflow away.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn undeploy(&self, workflow: &str) {
        let done = deploy::Cluster::connect(&self.addresses(), &self.options())
            .and_then(|mut cluster| cluster.undeploy(workflow));
        let done = done.unwrap_or_else(|error| panic!("not undeployed: {error}"));
        assert!(done.absent.is_empty(), "{done:?}");
    }

    /// A client of one worker.
    ///
    /// # Panics
    /// If it cannot be reached.
    #[must_use]
    #[track_caller]
    pub fn client(&self, worker: &str) -> Client {
        let client = Client::connect(self.worker(worker).address(), &self.options());
        client.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a workflow once, by a client of its own.
    ///
    /// # Errors
    /// If the worker cannot be spoken to. That the invocation failed is no error of this kind.
    pub fn invoke(
        &self,
        worker: &str,
        workflow: &str,
        inputs: &[(&str, Payload)],
    ) -> Result<Answered, ClientError> {
        let inputs = named(inputs);
        Client::connect(self.worker(worker).address(), &self.options())?.invoke(&Invocation {
            workflow,
            inputs: &inputs,
            report: true,
            trace: false,
        })
    }

    /// What a worker tells of itself.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    #[track_caller]
    pub fn status(&self, worker: &str) -> WorkerStatus {
        let status = ControlClient::connect(self.worker(worker).address(), &self.options())
            .and_then(|mut control| control.status());
        let status = status.unwrap_or_else(|error| panic!("no status: {error}"));
        serde_json::from_value(status).expect("a worker's status has the form that it publishes")
    }

    /// One of a worker's counters.
    ///
    /// # Panics
    /// If it has none of that name.
    #[must_use]
    #[track_caller]
    pub fn counter(&self, worker: &str, name: &str) -> u64 {
        let counters = self.status(worker).counters;
        let counter = counters.get(name);
        *counter.unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Processes of all executors of a worker.
    #[must_use]
    #[track_caller]
    pub fn executors(&self, worker: &str) -> Vec<u32> {
        let deployments = self.status(worker).deployments;
        let executors = deployments
            .iter()
            .flat_map(|deployment| &deployment.executors);
        executors.map(|executor| executor.pid).collect()
    }

    /// What a worker holds, once it has settled: no invocation is left on it, no client but the one that asks, and a few
    /// looks in a row find the same, since a lane shows its counters a moment after it has answered.
    ///
    /// # Panics
    /// If it does not settle promptly.
    #[must_use]
    #[track_caller]
    pub fn settled(&self, worker: &str) -> Holdings {
        let (mut last, mut same) = (None, 0);
        until(&format!("worker {worker} has settled"), || {
            let now = Holdings::at_rest(&self.status(worker));
            same = if now.is_some() && now == last {
                same + 1
            } else {
                0
            };
            last.clone_from(&now);
            now.filter(|_| same == process::LOOKS_ALIKE)
        })
    }

    /// Runs the `faasflow` program. The cluster's key, if it has one, is added.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn faasflow(&self, arguments: &[&str]) -> Finished {
        self.begin_faasflow(arguments).finish(PROGRAM_TIME_MAX)
    }

    /// As [`Cluster::faasflow`], without waiting for its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn begin_faasflow(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(program("faasflow"));
        command.args(arguments).current_dir(self.folder());
        if self.setup.key.is_some() {
            command.arg("--cluster-key-file").arg(self.path("key"));
        }
        Running::start(&mut command)
    }

    /// Writes a file into the cluster's folder; its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the test's folder can be written");
        path.to_str()
            .expect("a temporary folder has a plain name")
            .to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for worker in &self.workers {
                self.show(worker);
            }
        }
    }
}

impl Cluster {
    /// Shows what a worker has to say for itself, when a test has failed.
    fn show(&self, worker: &Worker) {
        let log = self.log(worker.name());
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        eprintln!("-- log of worker {}:\n{}", worker.name(), shown.join("\n"));
        let options = Options {
            connect_max: STATUS_TIME_MAX,
            silence_max: Some(STATUS_TIME_MAX),
            ..self.options()
        };
        let status = ControlClient::connect(worker.address(), &options)
            .and_then(|mut control| control.status());
        match status {
            Ok(status) => {
                let counters = status["counters"].as_object().into_iter().flatten();
                let counted: Vec<String> = counters
                    .filter(|(_, count)| count.as_u64() != Some(0))
                    .map(|(name, count)| format!("{name} {count}"))
                    .collect();
                eprintln!("-- its counters: {}", counted.join(", "));
                eprintln!("-- its deployments: {}", status["deployments"]);
            }
            Err(error) => eprintln!("-- it has no status: {error}"),
        }
    }
}

/// What a worker holds when nothing runs on it: equal before and after, or something was left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holdings {
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Executors.
    pub executors: u64,
    /// Connections to and from peers.
    pub links: u64,
    /// Memory reserved for executors.
    pub reserved_bytes: u64,
}

impl Holdings {
    /// What a worker holds, if nothing is under way on it.
    fn at_rest(status: &WorkerStatus) -> Option<Self> {
        let count = |name: &str| status.counters.get(name).copied().unwrap_or_default();
        let busy = [
            "in_flight",
            "invocations_held",
            "clients",
            "leases",
            "lease_bytes",
        ];
        // An executor that was told to end has a moment to do so.
        let deployments = status.deployments.iter();
        let executors = deployments.map(|d| d.executors.len() as u64).sum::<u64>();
        let at_rest = busy.iter().all(|name| count(name) == 0) && executors == count("executors");
        at_rest.then(|| Self {
            segments: status.memory.segments,
            segment_bytes: status.memory.held_bytes,
            executors,
            links: count("links"),
            reserved_bytes: status.memory.reserved_bytes,
        })
    }
}

/// Inputs as a client takes them.
#[must_use]
pub fn named(inputs: &[(&str, Payload)]) -> Vec<(String, Payload)> {
    let inputs = inputs.iter();
    inputs
        .map(|(name, payload)| ((*name).to_owned(), payload.clone()))
        .collect()
}

/// Bytes, as an input.
#[must_use]
pub fn bytes(bytes: impl AsRef<[u8]>) -> Payload {
    Payload::Bytes(bytes.as_ref().to_vec())
}

/// One output of an invocation that ended well, as bytes.
///
/// # Panics
/// If the invocation failed, or has no such output, or it is a list.
#[must_use]
#[track_caller]
pub fn output<'a>(answered: &'a Answered, name: &str) -> &'a [u8] {
    match payload(answered, name) {
        Payload::Bytes(bytes) => bytes,
        Payload::List(items) => panic!("{name} is a list of {} items", items.len()),
    }
}

/// One output of an invocation that ended well.
///
/// # Panics
/// If the invocation failed, or has no such output.
#[must_use]
#[track_caller]
pub fn payload<'a>(answered: &'a Answered, name: &str) -> &'a Payload {
    let outputs = match &answered.result {
        Ok(outputs) => outputs,
        Err(failure) => panic!("the invocation failed: {failure}"),
    };
    let output = outputs.iter().find(|(known, _)| known == name);
    &output.unwrap_or_else(|| panic!("no output {name}")).1
}

/// Writes a file that its owner alone may read.
///
/// # Panics
/// If it cannot be written.
pub fn write_secret(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, bytes).expect("the test's folder can be written");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("it is the test's own");
}

/// The folder of the programs under test.
#[must_use]
pub fn programs_folder() -> &'static Path {
    programs::folder()
}

/// An address on loopback where nobody listens, below the ports that Linux gives out by itself: a worker that starts
/// again at its address must not find that somebody's connection has been given its port meanwhile.
fn free_address() -> String {
    /// Ports to take from; the kernel's own begin at 32,768.
    const PORTS: std::ops::Range<u16> = 18_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that start one after the other begin far apart.
    let begin = (std::process::id().wrapping_mul(131) % u32::from(PORTS.end - PORTS.start)) as u16;
    let mut ports = PORTS.map(|_| {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        PORTS.start + offset % (PORTS.end - PORTS.start)
    });
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    format!("127.0.0.1:{}", free.expect("a free port"))
}
