//! What a new process says before it is an executor: welcome, hello, and every way in which that goes wrong.
//!
//! The errors here are what a user reads who put the wrong file into the functions folder. Each names the file, says
//! what it did, and what to do.

use crate::lane::command::StartedExecutor;
use crate::worker::deployments::PlannedType;
use crate::worker::warden::ExecutorSpec;
use faasstore::binding::{ABI_VERSION, Hello, Welcome};
use faasstore::channel::{ChannelError, EngineChannel, HALF_BYTES_MAX};
use faasstore::segment::{SegmentReader, SegmentWriter};
use faasstore::socket::{Received, Socket, SocketError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long a process may take to end once it has closed its socket, until it is said to have done only that.
const EXIT_TIME_MAX: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Why a process did not become an executor.
#[derive(Debug, Error)]
pub enum StartError {
    /// The kernel does not run it.
    #[error(
        "{file} cannot be run: {source}; it must be an executable of this machine's kind that calls faasstore::serve"
    )]
    Spawn {
        /// Which file.
        file: String,
        /// From the kernel.
        source: io::Error,
    },
    /// The worker lacks something.
    #[error("{file} cannot be started, since the worker is short of resources: {source}")]
    Resources {
        /// Which file.
        file: String,
        /// From the kernel.
        source: io::Error,
    },
    /// It ran and was gone.
    #[error("{file} ended at once ({status}) instead of serving; it must call faasstore::serve")]
    Ended {
        /// Which file.
        file: String,
        /// As the shell would say it.
        status: String,
    },
    /// It closed its standard input.
    #[error(
        "{file} closed its standard input instead of serving on it; it must call faasstore::serve"
    )]
    Deaf {
        /// Which file.
        file: String,
    },
    /// It said nothing.
    #[error("{file} said nothing within {0:?}: it is not a FaaSFlow executable, which calls faasstore::serve first of all", .time_max)]
    Silent {
        /// Which file.
        file: String,
        /// How long it had.
        time_max: Duration,
    },
    /// It said something else.
    #[error("{file} does not speak as a FaaSFlow executable: {source}")]
    Garbled {
        /// Which file.
        file: String,
        /// What is wrong.
        source: SocketError,
    },
    /// Another ABI.
    #[error(
        "{file} was built for shared-memory ABI version {theirs}, this worker for {ABI_VERSION}: build it anew"
    )]
    Abi {
        /// Which file.
        file: String,
        /// As it says.
        theirs: u32,
    },
    /// It says why itself.
    #[error("{file} cannot serve: {reason}")]
    Refused {
        /// Which file.
        file: String,
        /// In its own words.
        reason: String,
    },
    /// A function is missing.
    #[error("{file} has no function {function:?}, which node {node:?} names; it has {functions}")]
    Function {
        /// Which file.
        file: String,
        /// As the plan names it.
        function: String,
        /// Which node.
        node: String,
        /// Those there are.
        functions: String,
    },
    /// It says something else of its payloads than it did.
    #[error(
        "{file} was replaced since the workflow was planned: of {what} {port:?}, which node {node:?} uses, its function          {function:?} says something else than then; deploy the workflow again"
    )]
    Type {
        /// Which file.
        file: String,
        /// Which function.
        function: String,
        /// Input or output.
        what: &'static str,
        /// Which one.
        port: String,
        /// Of which node.
        node: String,
    },
    /// Its half of the channel is none.
    #[error("{file} sent no usable half of a channel: {source}")]
    Channel {
        /// Which file.
        file: String,
        /// What is wrong.
        source: ChannelError,
    },
    /// Its hello came without its segment.
    #[error("{file} sent {count} descriptors with its hello, where one belongs")]
    Descriptors {
        /// Which file.
        file: String,
        /// How many came.
        count: usize,
    },
}

/// A process that was started and has said nothing yet.
#[derive(Debug)]
pub struct Newcomer {
    /// What it is to be.
    pub spec: ExecutorSpec,
    /// Its process.
    pub pid: u32,
    /// Becomes readable when it has ended.
    pub pidfd: OwnedFd,
    /// The worker's end.
    pub socket: Socket,
    /// The engine's half of the channel.
    pub segment: SegmentWriter,
    /// By which it will wake its lane.
    pub doorbell: OwnedFd,
}

/// Greets all of a batch; they start side by side, so that together they take as long as the slowest. Blocks.
///
/// # Errors
/// The first [`StartError`] in the batch's order. The processes are then left for the warden to end.
pub fn greet(
    worker: &str,
    newcomers: Vec<Newcomer>,
    time_max: Duration,
) -> Result<Vec<(u8, StartedExecutor)>, StartError> {
    for newcomer in &newcomers {
        newcomer.welcome(worker, time_max)?;
    }
    newcomers
        .into_iter()
        .map(|newcomer| newcomer.hear(time_max))
        .collect()
}

impl Newcomer {
    fn file(&self) -> String {
        self.spec.path.display().to_string()
    }

    fn welcome(&self, worker: &str, time_max: Duration) -> Result<(), StartError> {
        let spec = &self.spec;
        let welcome = Welcome {
            abi_version: ABI_VERSION,
            worker: worker.to_owned(),
            workflow: spec.workflow.to_string(),
            cpus: vec![spec.seat.cpu],
            wait: spec.seat.wait,
            spin_budget_ns: spec.spin_budget_ns,
            segment_bytes: spec.segment_bytes(),
            arena_bytes_max: spec.arena_bytes_max,
            nodes: spec.nodes.to_vec(),
        };
        let descriptors = [self.segment.fd(), self.doorbell.as_fd()];
        self.socket
            .send(&welcome, &descriptors, time_max)
            .map_err(|error| self.unheard(error, time_max))
    }

    fn hear(self, time_max: Duration) -> Result<(u8, StartedExecutor), StartError> {
        let file = self.file();
        let Received {
            message: hello,
            descriptors,
        } = self
            .socket
            .receive::<Hello>(time_max)
            .map_err(|error| self.unheard(error, time_max))?;
        if hello.abi_version != ABI_VERSION {
            return Err(StartError::Abi {
                file,
                theirs: hello.abi_version,
            });
        }
        if let Some(reason) = hello.refusal {
            return Err(StartError::Refused { file, reason });
        }
        let named = |name: &str| hello.functions.iter().find(|one| one.name == name);
        let mut nodes = self.spec.nodes.iter();
        if let Some(node) = nodes.find(|node| named(&node.function).is_none()) {
            let (function, node) = (node.function.clone(), node.name.clone());
            let names: Vec<_> = hello
                .functions
                .iter()
                .map(|one| one.name.as_str())
                .collect();
            let functions = match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            };
            return Err(StartError::Function {
                file,
                function,
                node,
                functions,
            });
        }
        let mut types = self.spec.types.iter();
        if let Some(planned) = types.find(|planned| !planned.is_said_by(&hello.functions)) {
            let PlannedType {
                node,
                function,
                port,
                written,
                ..
            } = planned.clone();
            let what = if written { "output" } else { "input" };
            return Err(StartError::Type {
                file,
                function,
                what,
                port,
                node,
            });
        }
        let count = descriptors.len();
        let Ok([segment]) = <[OwnedFd; 1]>::try_from(descriptors) else {
            return Err(StartError::Descriptors { file, count });
        };
        let Self {
            spec,
            pid,
            pidfd,
            socket,
            segment: own,
            doorbell,
        } = self;
        let channel = SegmentReader::open_at_most(segment, HALF_BYTES_MAX)
            .map_err(ChannelError::from)
            .and_then(|half| EngineChannel::connect(Arc::new(own), half, spec.seat.wait))
            .map_err(|source| StartError::Channel { file, source })?;
        let (deployment, executable) = (spec.deployment, spec.executable);
        // Who is to run something needs them no more.
        let asked = spec.nodes.is_empty();
        let functions = if asked { hello.functions } else { Vec::new() };
        let (cpu, arena_bytes_max) = (Some(spec.seat.cpu), spec.arena_bytes_max);
        Ok((
            spec.lane,
            StartedExecutor {
                deployment,
                executable,
                pid,
                pidfd,
                cpu,
                channel,
                socket,
                doorbell,
                arena_bytes_max,
                trust: spec.trust,
                functions: functions.into_boxed_slice(),
            },
        ))
    }

    /// What lies behind a message that did not come.
    fn unheard(&self, error: SocketError, time_max: Duration) -> StartError {
        let file = self.file();
        match error {
            SocketError::Closed => match self.exit_status() {
                Some(status) => StartError::Ended { file, status },
                None => StartError::Deaf { file },
            },
            SocketError::Timeout { .. } => StartError::Silent { file, time_max },
            source => StartError::Garbled { file, source },
        }
    }

    /// How the process ended, if it does within a moment. It is not reaped: that is the warden's.
    fn exit_status(&self) -> Option<String> {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        if poll(&mut ended, Some(&EXIT_TIME_MAX)).ok()? == 0 {
            return None;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options)
            .ok()?
            .map(|status| exit_text(&status))
    }
}

fn exit_text(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for no known reason".to_owned(),
    }
}
