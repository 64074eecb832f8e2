//! Two workers, each in a network namespace of its own, and between them a link as slow as is wanted.
//!
//! The namespaces have no names: they are there as long as this process holds them open, or a worker lives in them. Workers end
//! when their standard input does, which this process holds; so neither is left behind, however it ends.

use super::interrupt::Folders;
use crate::session::{Layout, SessionError, beside};
use engine::greeting::KeyError;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thiserror::Error;

/// Addresses of the two ends: of a range that is for tests of this kind (RFC 2544).
pub const ADDRESSES: [&str; 2] = ["198.18.0.1", "198.18.0.2"];
/// The interface, which has one name in both namespaces.
const INTERFACE: &str = "faasflow0";
/// How much may pass at once, and how long packets may wait before they are dropped.
const BURST: &str = "32kb";
const QUEUE: &str = "50ms";
/// How long a worker may take to end before it is killed.
const END_MAX: Duration = Duration::from_secs(5);
const END_PAUSE: Duration = Duration::from_millis(10);

/// How slow the link is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttle {
    /// Megabits a second, each way.
    pub mbit: u32,
    /// Milliseconds that each packet waits, each way, where the kernel can do that.
    pub delay_ms: u32,
}

/// Why there is no such link.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// Not permitted, or the kernel has none.
    #[error("no network namespace can be made: {0}; run as root, where the kernel has them")]
    Namespace(#[source] io::Error),
    /// A program of the system refused.
    #[error("`{call}` failed: {said}")]
    Tool {
        /// What was called.
        call: String,
        /// What it said.
        said: String,
    },
    /// A worker did not start.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A file of its own could not be made.
    #[error(
        "no folder for the workers can be made: {0}; set TMPDIR to a folder that may be written"
    )]
    Folder(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for: {0}")]
    Signals(#[source] nix::Error),
    /// The key that was written cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A worker ended at once.
    #[error("worker {0} did not become ready; what it printed above says why")]
    NotReady(String),
}

/// A network namespace, as long as it is open.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, with nothing in it but a loopback interface that is down.
    ///
    /// # Errors
    /// If that is not permitted, or the kernel has none.
    pub fn new() -> io::Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        made.join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map(Self)
    }

    /// Runs something in it: on a thread of its own, since a thread that has entered it stays there. What that starts stays
    /// there, too.
    ///
    /// # Errors
    /// If it may not be entered.
    ///
    /// # Panics
    /// If that does which is run.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let ran = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                Ok(what())
            });
            ran.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn tool(&self, call: &str) -> Result<(), NamespaceError> {
        self.run(|| tool(call)).map_err(NamespaceError::Namespace)?
    }
}

fn tool(call: &str) -> Result<(), NamespaceError> {
    let mut words = call.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let failed = |said: String| NamespaceError::Tool {
        call: call.to_owned(),
        said,
    };
    let output = command.args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

/// Two namespaces with a link between them, whose ends have the [`ADDRESSES`].
#[derive(Debug)]
pub struct TwoNamespaces {
    /// Both.
    pub namespaces: [Namespace; 2],
    /// Whether packets are delayed, not only held back by the rate.
    pub delayed: Result<(), String>,
}

impl TwoNamespaces {
    /// Makes them, and the link as slow as is wanted, each way.
    ///
    /// # Errors
    /// If that is not permitted here, or a tool is missing.
    pub fn new(throttle: Throttle) -> Result<Self, NamespaceError> {
        let namespace = || Namespace::new().map_err(NamespaceError::Namespace);
        let namespaces = [namespace()?, namespace()?];
        let [near, far] = &namespaces;
        let peer = far.path();
        near.tool(&format!(
            "ip link add {INTERFACE} type veth peer name {INTERFACE} netns {peer}"
        ))?;
        let mut delayed = Ok(());
        for (namespace, address) in namespaces.iter().zip(ADDRESSES) {
            namespace.tool(&format!("ip address add {address}/30 dev {INTERFACE}"))?;
            namespace.tool("ip link set lo up")?;
            namespace.tool(&format!("ip link set {INTERFACE} up"))?;
            let mbit = throttle.mbit;
            namespace.tool(&format!(
                "tc qdisc add dev {INTERFACE} root handle 1: tbf rate {mbit}mbit burst {BURST} latency {QUEUE}"
            ))?;
            if throttle.delay_ms > 0 && delayed.is_ok() {
                let delay_ms = throttle.delay_ms;
                let delay = namespace.tool(&format!(
                    "tc qdisc add dev {INTERFACE} parent 1:1 handle 10: netem delay {delay_ms}ms limit 10000"
                ));
                delayed = delay.map_err(|error| error.to_string());
            }
        }
        Ok(Self {
            namespaces,
            delayed,
        })
    }
}

/// Two workers with a link between them.
pub(super) struct Apart {
    workers: Vec<Worker>,
    namespaces: [Namespace; 2],
    /// The key that they share.
    pub(super) key_file: PathBuf,
    /// Whether packets are delayed, not only held back by the rate.
    pub(super) delayed: Result<(), String>,
    _folder: TempDir,
}

struct Worker {
    child: Child,
    address: String,
}

impl Apart {
    /// Makes namespaces and link, and starts the workers.
    ///
    /// # Errors
    /// If that is not permitted here, a tool is missing, or a worker does not start.
    pub(super) fn start(
        throttle: Throttle,
        functions: &Path,
        memory_bytes: u64,
        folders: &Folders,
    ) -> Result<Self, NamespaceError> {
        let TwoNamespaces {
            namespaces,
            delayed,
        } = TwoNamespaces::new(throttle)?;
        let folder = tempfile::Builder::new().prefix("faasflow-bench-").tempdir();
        let folder = folder.map_err(NamespaceError::Folder)?;
        folders.add(folder.path());
        let key_file = folder.path().join("key");
        write_key(&key_file).map_err(NamespaceError::Folder)?;
        let mut apart = Self {
            workers: Vec::new(),
            namespaces,
            key_file,
            delayed,
            _folder: folder,
        };
        for (index, (cpus, address)) in Layout::cpu_sets(2).iter().zip(ADDRESSES).enumerate() {
            let name = format!("apart-{}", index + 1);
            let mut command = Command::new(beside_worker()?);
            command.args([
                "--listen",
                &format!("{address}:0"),
                "--name",
                &name,
                "--cpus",
                cpus,
            ]);
            command.args(["--memory", &memory_bytes.to_string(), "--end-with-stdin"]);
            command.arg("--no-host-sharing");
            command.arg("--functions").arg(functions);
            command
                .arg("--state-dir")
                .arg(apart._folder.path().join(&name));
            command.arg("--cluster-key-file").arg(&apart.key_file);
            command.env("FAASFLOW_LOG", "error");
            // A group of its own: Ctrl-C is for this program.
            command.process_group(0);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let spawned = apart.namespaces[index].run(|| command.spawn());
            let mut child = spawned
                .and_then(|spawned| spawned)
                .map_err(|error| program_error("faasflow-worker", error))?;
            let address = ready_address(&mut child);
            apart.workers.push(Worker {
                child,
                address: address.clone().unwrap_or_default(),
            });
            address.ok_or(NamespaceError::NotReady(name))?;
        }
        Ok(apart)
    }

    /// Where the workers listen, as seen from within the namespaces.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.workers
            .iter()
            .map(|worker| worker.address.clone())
            .collect()
    }

    /// Runs something where both workers can be reached.
    pub(super) fn run<T: Send>(
        &self,
        what: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        self.namespaces[0]
            .run(what)
            .map_err(NamespaceError::Namespace)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.child.stdin = None;
        }
        let deadline = Instant::now() + END_MAX;
        for worker in &mut self.workers {
            while let Ok(None) = worker.child.try_wait() {
                if Instant::now() > deadline {
                    // Both fail only if it has just ended.
                    let _ = worker.child.kill();
                    let _ = worker.child.wait();
                    break;
                }
                thread::sleep(END_PAUSE);
            }
        }
    }
}

fn program_error(program: &str, error: io::Error) -> SessionError {
    SessionError::Functions {
        program: program.to_owned(),
        error,
    }
}

fn beside_worker() -> Result<PathBuf, SessionError> {
    beside("faasflow-worker").map_err(|error| program_error("faasflow-worker", error))
}

/// 32 random bytes that nobody else may read.
fn write_key(path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&key)
}

/// The address in the line by which a worker says that it is ready.
fn ready_address(child: &mut Child) -> Option<String> {
    let mut reader = BufReader::new(child.stdout.take()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    // What else it says is read, so that it never waits for a reader.
    thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["ready", _, address] => Some(address.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which namespace this thread is in.
    fn identity() -> String {
        let target = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        target.display().to_string()
    }

    #[test]
    fn what_runs_in_a_namespace_leaves_the_others_where_they_are() {
        let outside = identity();
        let Ok(namespace) = Namespace::new() else {
            println!("SKIPPED: network namespaces: they may not be made here; run as root");
            return;
        };
        let inside = namespace.run(identity).unwrap();
        assert_ne!(inside, outside);
        assert_eq!(identity(), outside);
        assert!(namespace.run(|| tool("ip link show lo")).unwrap().is_ok());
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let error = tool("no-such-tool at all").unwrap_err().to_string();
        assert!(error.contains("no-such-tool at all"), "{error}");
    }
}
