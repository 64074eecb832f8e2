//! Workers on this host, for one run: started, waited for, and ended with whoever started them.
//!
//! Each worker's standard input is a pipe whose other end this process holds: when it ends, however it ends, the
//! worker reads the end of its input (`--end-with-stdin`) and ends too. State directories live in a temporary folder.

use engine::worker::host;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// File name of the worker's program.
const WORKER_PROGRAM: &str = "faasflow-worker";
/// By this variable the worker is told what to log.
const LOG_VARIABLE: &str = "FAASFLOW_LOG";
/// What local workers log unless the variable is set: what is wrong. Not that a peer is lost: they end side by side, and
/// each would say so of the other; a loss that matters reaches the client by name.
const LOG_FILTER: &str = "warn,engine::lane::peers=error";
/// CPUs below which a worker of its own makes no sense: its lane and an executor run side by side.
const CPUS_EACH_MIN: usize = 2;
/// Most memory that a worker is given without being told, and least.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// Longest time from starting a worker to its `ready` line: it measures the machine first.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long a worker may take to end, beyond the grace that it gives what runs, before it is killed.
const END_MAX: Duration = Duration::from_secs(5);
/// The grace that a worker gives without being told.
const GRACE_MS: u32 = 1000;
/// The exit code of a worker that cannot do what it was told.
const REFUSED: i32 = 2;
/// Most workers that are started at once.
const WORKERS_MAX: usize = 64;
/// Longest line that is read of a worker's standard output.
const LINE_BYTES_MAX: u64 = 4096;

/// How payloads travel between local workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Between {
    /// Through memory that workers of one host share.
    #[default]
    Memory,
    /// Over the network, as between hosts (`--no-host-sharing`).
    Network,
}

/// How local workers are to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many.
    pub workers: usize,
    /// Where their executables are.
    pub functions: PathBuf,
    /// `--wait`, if it is not to be the worker's own default.
    pub wait: Option<String>,
    /// `--executors`, likewise.
    pub executors: Option<String>,
    /// `--cpus` of each worker, in their order, if they are not to be parted evenly.
    pub cpu_sets: Option<Vec<String>>,
    /// Memory of each, in bytes; without it a quarter of what this process may have, parted evenly.
    pub memory_bytes: Option<u64>,
    /// `--cluster-key-file`, if there is one.
    pub key_file: Option<PathBuf>,
    /// `--grace-ms`, in milliseconds, if it is not to be the worker's own default. The end of local workers takes so long at
    /// most where something still runs.
    pub grace_ms: Option<u32>,
    /// Further flags of each worker, as `faasflow-worker` takes them.
    pub flags: Vec<String>,
    /// How payloads travel between them.
    pub between: Between,
}

/// Why local workers could not be started. Those that were are ended.
#[derive(Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum LocalError {
    /// A number that makes no sense.
    #[error("{0} local workers cannot be started")]
    #[diagnostic(help("--local takes a number from 1 to {WORKERS_MAX}"))]
    Count(usize),
    /// CPU sets that do not fit the workers.
    #[error("{sets} sets of CPUs are given for {workers} local workers")]
    #[diagnostic(help("give one for each worker, or none"))]
    CpuSets {
        /// How many sets.
        sets: usize,
        /// How many workers.
        workers: usize,
    },
    /// No program.
    #[error(
        "the worker's program, {WORKER_PROGRAM}, is neither beside this one nor in any folder of PATH"
    )]
    #[diagnostic(help("build it with `cargo build --release`, or put its folder into PATH"))]
    Program,
    /// No folder of functions.
    #[error("{path} is no folder to take functions from: {source}")]
    #[diagnostic(help("name the folder of your executables: --functions DIR"))]
    Functions {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No temporary folder.
    #[error("no folder for the workers' state can be made: {0}")]
    #[diagnostic(help("set TMPDIR to a folder that may be written"))]
    State(std::io::Error),
    /// Not to be started.
    #[error("cannot start {program}: {source}")]
    #[diagnostic(help(
        "see whether it may be executed, and whether this host has processes and memory left"
    ))]
    Spawn {
        /// What.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot do here what it was told (its exit code 2).
    #[error("local worker {name} cannot be had as it was asked for")]
    #[diagnostic(help(
        "what it printed above says why, and what would be right; it names flags of faasflow-worker"
    ))]
    Refused {
        /// Which.
        name: String,
    },
    /// Ended, or silent, before it was ready.
    #[error("local worker {name} {what}")]
    #[diagnostic(help("what it printed above says why"))]
    NotReady {
        /// Which.
        name: String,
        /// What it did.
        what: String,
    },
}

/// Workers that end when this is dropped.
#[derive(Debug)]
pub struct LocalWorkers {
    workers: Vec<LocalWorker>,
    note: String,
    /// How long each may take to end.
    end_max: Duration,
    /// Removed after the workers have ended: fields are dropped in this order, and [`Drop`] waits for them first.
    _state: tempfile::TempDir,
}

#[derive(Debug)]
struct LocalWorker {
    child: Child,
    /// Closing it ends the worker.
    stdin: Option<ChildStdin>,
    address: String,
}

impl LocalWorkers {
    /// Starts workers, named `local-1` and on, each at a port of its own on loopback, and waits until all are ready.
    ///
    /// # Errors
    /// If the program or folders are missing, or a worker does not become ready.
    pub fn start(options: &Options) -> Result<Self, LocalError> {
        if !(1..=WORKERS_MAX).contains(&options.workers) {
            return Err(LocalError::Count(options.workers));
        }
        let functions_error = |source| LocalError::Functions {
            path: options.functions.clone(),
            source,
        };
        std::fs::read_dir(&options.functions).map_err(functions_error)?;
        let program = find_program().ok_or(LocalError::Program)?;
        let state = tempfile::Builder::new()
            .prefix("faasflow-")
            .tempdir()
            .map_err(LocalError::State)?;
        let (cpu_sets, note) = match &options.cpu_sets {
            Some(sets) if sets.len() != options.workers => {
                return Err(LocalError::CpuSets {
                    sets: sets.len(),
                    workers: options.workers,
                });
            }
            Some(sets) => (
                sets.clone(),
                format!("local workers on CPUs {}", sets.join(" and ")),
            ),
            None => part_cpus(&host::allowed_cpus(), options.workers),
        };
        let memory_bytes = options
            .memory_bytes
            .unwrap_or_else(|| default_memory_bytes(options.workers));
        let mut started = Self {
            workers: Vec::new(),
            note,
            end_max: END_MAX + Duration::from_millis(options.grace_ms.unwrap_or(GRACE_MS).into()),
            _state: state,
        };
        let mut ready = VecDeque::new();
        for (index, cpus) in cpu_sets.iter().enumerate() {
            let name = format!("local-{}", index + 1);
            let state = started._state.path().join(&name);
            let mut command = worker_command(&program, &name, cpus, memory_bytes, &state, options);
            let mut child = command.spawn().map_err(|source| LocalError::Spawn {
                program: program.clone(),
                source,
            })?;
            let stdin = child.stdin.take();
            ready.push_back((name, ready_line(&mut child)));
            started.workers.push(LocalWorker {
                child,
                stdin,
                address: String::new(),
            });
        }
        let deadline = Instant::now() + READY_MAX;
        for worker in &mut started.workers {
            let Some((name, line)) = ready.pop_front() else {
                unreachable!("one for each worker")
            };
            worker.address = await_ready(name, &line, deadline, &mut worker.child)?;
        }
        Ok(started)
    }

    /// How the CPUs were parted, for people.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Where they listen, as `HOST:PORT`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.workers
            .iter()
            .map(|worker| worker.address.clone())
            .collect()
    }

    /// Their processes' ids.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.workers
            .iter()
            .map(|worker| worker.child.id())
            .collect()
    }
}

impl LocalWorkers {
    /// By what they are killed, also while they are being ended.
    #[must_use]
    pub fn killer(&self) -> Killer {
        let pidfd = |worker: &LocalWorker| open_pidfd(&worker.child);
        Killer(self.workers.iter().filter_map(pidfd).collect())
    }
}

/// Kills local workers, from any thread, and what runs on them goes with them.
#[derive(Debug)]
pub struct Killer(Vec<OwnedFd>);

impl Killer {
    /// Kills them now, without a grace for what runs. Those that have ended are left alone.
    pub fn kill(&self) {
        for pidfd in &self.0 {
            // It fails only for one that has ended.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

impl Drop for LocalWorkers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.stdin = None;
        }
        let deadline = Instant::now() + self.end_max;
        for worker in &mut self.workers {
            end(&mut worker.child, deadline);
        }
    }
}

/// The call of one worker, which will end when its standard input does.
fn worker_command(
    program: &Path,
    name: &str,
    cpus: &str,
    memory_bytes: u64,
    state: &Path,
    options: &Options,
) -> Command {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "--name", name, "--cpus", cpus]);
    command.args(["--memory", &memory_bytes.to_string(), "--end-with-stdin"]);
    command.arg("--functions").arg(&options.functions);
    command.arg("--state-dir").arg(state);
    if let Some(wait) = &options.wait {
        command.args(["--wait", wait]);
    }
    if let Some(executors) = &options.executors {
        command.args(["--executors", executors]);
    }
    if let Some(key_file) = &options.key_file {
        command.arg("--cluster-key-file").arg(key_file);
    }
    if let Some(grace_ms) = options.grace_ms {
        command.args(["--grace-ms", &grace_ms.to_string()]);
    }
    command.args(&options.flags);
    if options.between == Between::Network {
        command.arg("--no-host-sharing");
    }
    if std::env::var_os(LOG_VARIABLE).is_none() {
        command.env(LOG_VARIABLE, LOG_FILTER);
    }
    // A group of its own: Ctrl-C is for this program, which then ends the workers in good order.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Waits for a process that has been told to end, and kills it at the deadline.
fn end(child: &mut Child, deadline: Instant) {
    // Its standard output is read to the end by a thread, so that it cannot block on that.
    while let Ok(None) = child.try_wait() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Both fail only if it has just ended.
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        wait_for_end(child, left);
    }
}

fn open_pidfd(child: &Child) -> Option<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until a child ends, or for so long.
fn wait_for_end(child: &Child, left: Duration) {
    let Some(pidfd) = open_pidfd(child) else {
        // Kernels before 5.3 have no pidfd; this is the end of a run, where a hundredth of a second is nothing.
        std::thread::sleep(left.min(Duration::from_millis(10)));
        return;
    };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    // An interrupted or failed wait makes the caller look again.
    let _ = poll(&mut fds, timeout);
}

/// Reads a worker's standard output: sends its first line, and drops the rest.
fn ready_line(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            if (&mut reader)
                .take(LINE_BYTES_MAX)
                .read_line(&mut line)
                .is_ok()
                && !line.is_empty()
            {
                // The receiver is gone if another worker failed first.
                let _ = sender.send(line);
            }
            drop(sender);
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        });
    }
    receiver
}

fn await_ready(
    name: String,
    line: &mpsc::Receiver<String>,
    deadline: Instant,
    child: &mut Child,
) -> Result<String, LocalError> {
    match line.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(line) => match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["ready", _, address] => Ok(address.to_owned()),
            _ => Err(LocalError::NotReady {
                name,
                what: format!("said {:?} instead of being ready", line.trim_end()),
            }),
        },
        Err(RecvTimeoutError::Timeout) => Err(LocalError::NotReady {
            name,
            what: format!("was not ready within {READY_MAX:?}"),
        }),
        Err(RecvTimeoutError::Disconnected) => {
            let what = match child.wait() {
                Ok(status) if status.code() == Some(REFUSED) => {
                    return Err(LocalError::Refused { name });
                }
                Ok(status) => format!("ended before it was ready ({status})"),
                Err(error) => format!("ended before it was ready ({error})"),
            };
            Err(LocalError::NotReady { name, what })
        }
    }
}

/// The worker's program: beside this one, or in a folder of PATH.
fn find_program() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(std::env::split_paths(&path));
    folders
        .map(|folder| folder.join(WORKER_PROGRAM))
        .find(|program| program.is_file())
}

/// A quarter of the memory that this process may have, parted evenly, within what makes sense.
fn default_memory_bytes(workers: usize) -> u64 {
    let bound = host::memory_bound().map_or(MEMORY_BYTES_MAX, |bound| bound.bytes);
    (bound / 4 / workers as u64).clamp(MEMORY_BYTES_MIN, MEMORY_BYTES_MAX)
}

/// The CPU list of each worker, and how it came about: parted evenly if each gets two at least, else all share.
fn part_cpus(allowed: &[u32], workers: usize) -> (Vec<String>, String) {
    let listed = |cpus: &[u32]| {
        cpus.iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let each = allowed.len() / workers;
    if each >= CPUS_EACH_MIN {
        let sets = (0..workers)
            .map(|worker| listed(&allowed[worker * each..(worker + 1) * each]))
            .collect();
        return (
            sets,
            if workers == 1 {
                format!("one local worker with {each} CPUs")
            } else {
                format!("{workers} local workers with {each} CPUs each")
            },
        );
    }
    let all = listed(allowed);
    let note = format!(
        "{workers} local workers share CPUs {all}: there are fewer than {CPUS_EACH_MIN} for each"
    );
    (vec![all; workers], note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_parted_evenly_or_shared_by_all() {
        assert_eq!(part_cpus(&[0, 1, 2, 3, 4], 2).0, ["0,1", "2,3"]);
        let (sets, note) = part_cpus(&[4, 5, 6], 2);
        assert_eq!(sets, ["4,5,6", "4,5,6"]);
        assert!(note.contains("share CPUs 4,5,6"), "{note}");
    }
}
