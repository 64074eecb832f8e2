//! The warden: the worker's main thread, which alone starts executors and reaps them.
//!
//! An executor asks the kernel to be killed when the *thread* that started it ends (PR_SET_PDEATHSIG), so that thread
//! must live as long as the worker: the main thread does. It only starts processes; what a new process then says is
//! heard by [`crate::worker::hello`] on a thread of the batch's own, so that a program that hangs delays no one else.
//!
//! It promises that every process it started is reaped, and killed first if it still runs: when a lane has let go of
//! it, when it did not become an executor, and when the worker ends. Until then its pid is no other process's.

use crate::lane::command::StartedExecutor;
use crate::plan::{DeploymentId, Trust};
use crate::worker::deployments::PlannedType;
use crate::worker::hello::{Newcomer, StartError, greet};
use crate::worker::host;
use crate::worker::placement::Seat;
use crossbeam::channel::{Receiver, Sender, bounded};
use faasstore::binding::{NodeBinding, WORKER_PID_VARIABLE};
use faasstore::channel::EngineChannel;
use faasstore::socket::Socket;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Requests that may wait for the warden. Only reaping comes in numbers, and takes microseconds.
const REQUESTS_MAX: usize = 4096;
/// How long executors may take to end by themselves when the worker does.
const END_TIME_MAX: Duration = Duration::from_secs(2);
/// How often an ending worker looks whether its executors have ended.
const END_LOOK: Duration = Duration::from_millis(5);
/// Bytes of an ordinary segment of an executor's arena, at most; small arenas have smaller ones, so that they are
/// made of several and can give memory back.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Parts that an arena is made of, at least.
const ARENA_PARTS: u64 = 8;

/// An executor that is to be started.
#[derive(Debug, Clone)]
pub struct ExecutorSpec {
    /// Whose it will be.
    pub lane: u8,
    /// Where it runs and how it waits.
    pub seat: Seat,
    /// Whose it will be.
    pub deployment: DeploymentId,
    /// The deployment's workflow.
    pub workflow: Arc<str>,
    /// Place of its executable in the plan.
    pub executable: u16,
    /// The file to run.
    pub path: PathBuf,
    /// The nodes that it may be asked to run.
    pub nodes: Arc<[NodeBinding]>,
    /// What its functions are to say of those nodes' payloads.
    pub types: Arc<[PlannedType]>,
    /// How long it polls before it parks, in nanoseconds.
    pub spin_budget_ns: u64,
    /// Bytes that are reserved for it.
    pub reserved_bytes: u64,
    /// Bytes that its arena may have.
    pub arena_bytes_max: u64,
    /// Whose its executable is.
    pub trust: Trust,
}

impl ExecutorSpec {
    /// Bytes of an ordinary segment of its arena.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        (self.reserved_bytes / ARENA_PARTS).clamp(4096, SEGMENT_BYTES_MAX)
    }
}

/// What came of a batch: every executor with its lane, or why one could not be started, in which case there are none.
pub type Started = Result<Vec<(u8, StartedExecutor)>, StartError>;

/// To the warden.
#[derive(Debug)]
pub enum WardenRequest {
    /// Start these executors, all or none.
    Start {
        /// Which.
        specs: Vec<ExecutorSpec>,
        /// Told what came of it.
        reply: oneshot::Sender<Started>,
    },
    /// No one uses this process any more: kill it if it still runs, and reap it.
    Reap {
        /// Which.
        pid: u32,
    },
    /// Return, so that the worker ends.
    Stop {
        /// What [`Warden::run`] returns.
        exit_code: u8,
    },
}

/// Where to send requests.
pub type WardenHandle = Sender<WardenRequest>;

/// Starts and reaps executors.
#[derive(Debug)]
pub struct Warden {
    worker: Arc<str>,
    hello_time_max: Duration,
    requests: Receiver<WardenRequest>,
    handle: WardenHandle,
    children: HashMap<u32, Child>,
}

impl Warden {
    /// A warden for the calling thread, and where to send it requests. A new executor has `hello_time_max` to say
    /// what it is.
    #[must_use]
    pub fn new(worker: Arc<str>, hello_time_max: Duration) -> (Self, WardenHandle) {
        let (handle, requests) = bounded(REQUESTS_MAX);
        let warden = Self {
            worker,
            hello_time_max,
            requests,
            handle: handle.clone(),
            children: HashMap::new(),
        };
        (warden, handle)
    }

    /// Serves requests until [`WardenRequest::Stop`], and returns the exit code that came with it. What it has started
    /// runs on until [`Warden::end`].
    #[must_use]
    pub fn run(&mut self) -> u8 {
        while let Ok(request) = self.requests.recv() {
            match request {
                WardenRequest::Start { specs, reply } => self.start(specs, reply),
                WardenRequest::Reap { pid } => self.reap(pid),
                WardenRequest::Stop { exit_code } => return exit_code,
            }
        }
        unreachable!("the warden holds a sender of its own")
    }

    fn start(&mut self, specs: Vec<ExecutorSpec>, reply: oneshot::Sender<Started>) {
        let mut newcomers = Vec::with_capacity(specs.len());
        for spec in specs {
            match self.spawn(spec) {
                Ok(newcomer) => newcomers.push(newcomer),
                Err(error) => {
                    newcomers
                        .iter()
                        .for_each(|newcomer| self.reap(newcomer.pid));
                    // The one who asked may have gone with the deployment.
                    let _ = reply.send(Err(error));
                    return;
                }
            }
        }
        let (worker, hello_time_max, handle) = (
            Arc::clone(&self.worker),
            self.hello_time_max,
            self.handle.clone(),
        );
        let pids: Vec<_> = newcomers.iter().map(|newcomer| newcomer.pid).collect();
        let greeter = std::thread::Builder::new()
            .name("greeter".to_owned())
            .spawn(move || {
                let pids: Vec<_> = newcomers.iter().map(|newcomer| newcomer.pid).collect();
                let started = greet(&worker, newcomers, hello_time_max);
                let failed = started.is_err();
                let unwanted = reply.send(started).is_err();
                if failed || unwanted {
                    for pid in pids {
                        // Fails only when the warden has ended, and every executor with it.
                        let _ = handle.send(WardenRequest::Reap { pid });
                    }
                }
            });
        if let Err(error) = greeter {
            // The thread's closure, and the reply in it, is gone: the one who asked sees a closed channel.
            tracing::error!("cannot start a thread to greet new executors: {error}");
            pids.into_iter().for_each(|pid| self.reap(pid));
        }
    }

    fn spawn(&mut self, spec: ExecutorSpec) -> Result<Newcomer, StartError> {
        let file = spec.path.display().to_string();
        let resources = |source: io::Error| StartError::Resources {
            file: file.clone(),
            source,
        };
        let (socket, its_socket) =
            Socket::pair().map_err(|error| resources(io::Error::other(error)))?;
        let segment =
            EngineChannel::create_segment().map_err(|error| resources(io::Error::other(error)))?;
        let doorbell =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .map_err(|error| resources(error.into()))?;
        // What functions print must not mix with what the worker prints on its standard output.
        let output = io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_err(resources)?;
        let mut child = Command::new(&spec.path)
            .env(WORKER_PID_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(its_socket.into_fd()))
            .stdout(Stdio::from(output))
            .spawn()
            .map_err(|source| StartError::Spawn {
                file: file.clone(),
                source,
            })?;
        let pid = child.id();
        host::offer_to_oom_killer(pid);
        let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                end(&mut child);
                return Err(resources(error.into()));
            }
        };
        self.children.insert(pid, child);
        Ok(Newcomer {
            spec,
            pid,
            pidfd,
            socket,
            segment,
            doorbell: doorbell.into(),
        })
    }

    fn reap(&mut self, pid: u32) {
        if let Some(mut child) = self.children.remove(&pid) {
            end(&mut child);
        }
    }

    /// Gives executors time to end by themselves, since their lanes have let go of them, then kills the rest. When it
    /// returns, no process that the warden has started is left.
    pub fn end(mut self) {
        let deadline = Instant::now() + END_TIME_MAX;
        while !self.children.is_empty() && Instant::now() < deadline {
            self.children
                .retain(|_, child| matches!(child.try_wait(), Ok(None)));
            if !self.children.is_empty() {
                std::thread::sleep(END_LOOK);
            }
        }
        if !self.children.is_empty() {
            tracing::warn!(
                "{} executors did not end in time and are killed",
                self.children.len()
            );
        }
        self.children
            .drain()
            .for_each(|(_, mut child)| end(&mut child));
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.children
            .drain()
            .for_each(|(_, mut child)| end(&mut child));
    }
}

/// Kills a process if it still runs, and reaps it. Neither can fail for a child that was not reaped before.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
