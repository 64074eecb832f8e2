//! An executable's life: who started it, what it agrees with the engine, and how it ends.
//!
//! It ends with its worker, however that ends: the kernel kills it when the thread that started it ends
//! (PR_SET_PDEATHSIG), and a thread of its own watches the socket, whose other end the worker alone holds.

use super::Function;
use super::context::Context;
use super::ear::Ear;
use super::executor::{Executor, ExecutorError, Node};
use crate::arena::{Arena, ArenaConfig, ArenaError};
use crate::binding::{
    ABI_VERSION, FunctionDescription, Hello, NodeBinding, TypedPort, WORKER_PID_VARIABLE, Welcome,
};
use crate::channel::{ChannelError, ExecutorChannel};
use crate::schema;
use crate::segment::{SegmentError, SegmentReader, set_huge_pages};
use crate::socket::{Received, Socket, SocketError};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use rustix::event::{PollFd, PollFlags, poll};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long the two sides may take to greet each other.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Highest node number: it bounds a table that is indexed by it.
const NODE_MAX: u32 = 1 << 20;
/// Exit code of an executable that was started by hand, as for any wrong use of a command line.
const EXIT_USAGE: u8 = 2;

/// Why an executor could not begin, or ended early.
#[derive(Debug, Error)]
enum ServeError {
    #[error("the worker {0} that started this executable is gone")]
    Orphan(i32),
    #[error("{what} failed: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("no welcome from the worker: {0}")]
    Welcome(SocketError),
    #[error("the worker's welcome came with {0} descriptors, where 2 are expected")]
    Descriptors(usize),
    #[error("the worker's greeting could not be answered: {0}")]
    Hello(SocketError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the worker's half of the channel: {0}")]
    Half(#[from] SegmentError),
    #[error("the first segment of the arena: {0}")]
    Arena(#[from] ArenaError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

fn system(what: &'static str) -> impl FnOnce(nix::Error) -> ServeError {
    move |errno| ServeError::System {
        what,
        source: errno.into(),
    }
}

/// Serves functions to the worker that started this process; the whole of an executable's `main`.
///
/// ```no_run
/// use faasstore::Context;
///
/// fn main() -> std::process::ExitCode {
///     faasstore::serve([
///         faasstore::bytes("upper", |text: &[u8], _call: &Context| Ok(text.to_ascii_uppercase())),
///     ])
/// }
/// ```
///
/// Returns when the worker says so (success), or when it or this executable broke a promise (exit code 1, with one
/// line on standard error). Started by hand it explains itself and returns exit code 2.
pub fn serve(functions: impl IntoIterator<Item = Function>) -> ExitCode {
    let functions: Vec<_> = functions.into_iter().collect();
    let Some((worker, socket)) = started_by_a_worker() else {
        say(&explanation(&functions));
        return ExitCode::from(EXIT_USAGE);
    };
    match serve_worker(worker, socket, functions) {
        // Or the worker has let go of it while it ran something, and does not read what became of that.
        Ok(()) | Err(ServeError::Executor(ExecutorError::Announce(SocketError::Closed))) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("{}: {error}\n", program()));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error. Who has closed it wants to hear nothing; `eprintln!` would panic.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn started_by_a_worker() -> Option<(Pid, Socket)> {
    let worker = std::env::var(WORKER_PID_VARIABLE).ok()?.parse().ok()?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    Some((Pid::from_raw(worker), Socket::from_fd(socket).ok()?))
}

fn program() -> String {
    let path = std::env::args().next().unwrap_or_default();
    std::path::Path::new(&path)
        .file_name()
        .map_or_else(|| path.clone(), |name| name.to_string_lossy().into_owned())
}

fn explanation(functions: &[Function]) -> String {
    let program = program();
    let mut text = format!(
        "{program} is an executable of FaaSFlow functions. A worker starts it; it does nothing by hand.\n\nFunctions:\n"
    );
    for function in functions {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {program}:{}", function.name());
        let told = match function.description() {
            Ok(described) => types(&described),
            Err(error) => format!("    {error}\n"),
        };
        text.push_str(&told);
    }
    text.push_str(
        "\nName them in a workflow (`function: EXECUTABLE:FUNCTION`), and run it with\n\
         \n  faasflow run WORKFLOW.yaml --functions DIR --input NAME=TEXT\n\
         \nor start a worker with `faasflow-worker --functions DIR ...`, where DIR is the folder of this executable.\n",
    );
    text
}

/// What a function says of its payloads, a line for each.
fn types(function: &FunctionDescription) -> String {
    let of = |what: &str, ports: &[TypedPort]| {
        let line = |port: &TypedPort| {
            let name = port
                .port
                .as_deref()
                .map_or(String::new(), |name| format!(" {name}"));
            let hash = schema::hash(&port.schema);
            format!("    {what}{name}: {} ({hash:016x})\n", port.schema)
        };
        ports.iter().map(line).collect::<String>()
    };
    of("input", &function.inputs) + &of("output", &function.outputs)
}

fn serve_worker(worker: Pid, socket: Socket, functions: Vec<Function>) -> Result<(), ServeError> {
    set_pdeathsig(Signal::SIGKILL).map_err(system("PR_SET_PDEATHSIG"))?;
    // The worker may have ended before the line above; then nobody would be told.
    if getppid() != worker {
        return Err(ServeError::Orphan(worker.as_raw()));
    }
    detach_standard_input()?;
    let received = socket
        .receive::<Welcome>(GREETING_TIMEOUT)
        .map_err(ServeError::Welcome)?;
    let Received {
        message: welcome,
        descriptors,
    } = received;
    let [engine_half, lane_bell]: [OwnedFd; 2] = descriptors
        .try_into()
        .map_err(|descriptors: Vec<_>| ServeError::Descriptors(descriptors.len()))?;
    let described: Result<Vec<_>, String> = functions.iter().map(Function::description).collect();
    let ready = described.and_then(|described| {
        let bound = bind(&welcome, &functions)?;
        pin(&welcome.cpus)?;
        Ok((described, bound))
    });
    let (described, bound) = match ready {
        Ok(ready) => ready,
        Err(refusal) => {
            let refused = hello(Vec::new(), Some(&refusal));
            socket
                .send(&refused, &[], GREETING_TIMEOUT)
                .map_err(ServeError::Hello)?;
            return Err(ServeError::Refused(refusal));
        }
    };
    watch(&socket)?;
    let own_half = Arc::new(ExecutorChannel::create_segment()?);
    let engine_half = SegmentReader::open(engine_half)?;
    let channel = ExecutorChannel::connect(
        Arc::clone(&own_half),
        engine_half,
        lane_bell,
        welcome.wait,
        welcome.spin_budget_ns,
    )?;
    let ear = Arc::new(Ear::new(channel.told()));
    let node = |(binding, function): (&NodeBinding, usize)| {
        let context = Context::new(
            &welcome.worker,
            &welcome.workflow,
            binding,
            Arc::clone(&ear),
        );
        Node::new(binding.clone(), context, &functions, function)
    };
    let nodes = welcome.nodes.iter().zip(bound).map(node).collect();
    set_huge_pages(welcome.huge_pages);
    let mut arena = Arena::new(ArenaConfig {
        name: format!("faasflow-{}", program()),
        segment_bytes: welcome.segment_bytes,
        bytes_max: welcome.arena_bytes_max,
    });
    // The first segment is made before the first activation, which should not pay for it.
    arena.grow_to_one()?;
    socket
        .send(&hello(described, None), &[own_half.fd()], GREETING_TIMEOUT)
        .map_err(ServeError::Hello)?;
    Executor::new(
        channel,
        socket,
        functions,
        nodes,
        arena,
        welcome.segment_bytes,
    )
    .run()?;
    Ok(())
}

/// Standard input becomes empty: a function that reads it must not take the socket's messages.
fn detach_standard_input() -> Result<(), ServeError> {
    let nothing = std::fs::File::open("/dev/null").map_err(|source| ServeError::System {
        what: "opening /dev/null",
        source,
    })?;
    nix::unistd::dup2_stdin(nothing).map_err(system("dup2"))
}

fn hello(functions: Vec<FunctionDescription>, refusal: Option<&str>) -> Hello {
    Hello {
        abi_version: ABI_VERSION,
        functions,
        refusal: refusal.map(str::to_owned),
    }
}

/// Finds the place of every node's function; else why this executable cannot serve.
fn bind(welcome: &Welcome, functions: &[Function]) -> Result<Vec<usize>, String> {
    if welcome.abi_version != ABI_VERSION {
        return Err(format!(
            "the worker has ABI version {}, this executable {ABI_VERSION}: build both with one release",
            welcome.abi_version
        ));
    }
    let bind_one = |binding: &NodeBinding| {
        let Some(place) = functions
            .iter()
            .position(|function| function.name() == binding.function)
        else {
            let names: Vec<_> = functions.iter().map(Function::name).collect();
            return Err(format!(
                "node {} wants function {}, which {} does not have; it has: {}",
                binding.name,
                binding.function,
                program(),
                names.join(", ")
            ));
        };
        if let Some(mismatch) = functions[place].mismatch(binding) {
            return Err(mismatch);
        }
        if binding.node >= NODE_MAX {
            return Err(format!(
                "node {} has number {}, above the limit of {NODE_MAX}",
                binding.name, binding.node
            ));
        }
        Ok(place)
    };
    welcome.nodes.iter().map(bind_one).collect()
}

fn pin(cpus: &[u32]) -> Result<(), String> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize)
            .map_err(|_| format!("CPU {cpu} is beyond what the kernel can name"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|errno| format!("binding to CPUs {cpus:?} failed: {errno}"))
}

/// Ends this process, in the middle of a function if need be, when the worker's end of the socket closes.
fn watch(socket: &Socket) -> Result<(), ServeError> {
    let failed = |what| move |source| ServeError::System { what, source };
    let socket = socket
        .as_fd()
        .try_clone_to_owned()
        .map_err(failed("duplicating the socket"))?;
    let watcher = move || {
        loop {
            // Without POLLIN: messages are for the loop. POLLHUP is always reported.
            let mut descriptors = [PollFd::new(&socket, PollFlags::RDHUP)];
            let polled = poll(&mut descriptors, None);
            if polled.is_ok()
                && descriptors[0]
                    .revents()
                    .intersects(PollFlags::RDHUP | PollFlags::HUP)
            {
                // Not `exit`: its handlers would run beside a function that is still at work.
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
        }
    };
    std::thread::Builder::new()
        .name("faasflow-watch".to_owned())
        .stack_size(64 << 10)
        .spawn(watcher)
        .map(drop)
        .map_err(failed("starting the thread that watches the worker"))
}
