//! Workers in network namespaces of their own, and two of them with a slow link between them.
//!
//! Workers end when their standard input does, which this process holds; so none is left behind, however it ends.

use super::interrupt::Folders;
use super::namespaces::{ADDRESSES, Namespace, NamespaceError, Throttle, TwoNamespaces};
use crate::session::{Layout, SessionError, apart_flags, beside};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a worker may take to end before it is killed.
const END_MAX: Duration = Duration::from_secs(5);
const END_PAUSE: Duration = Duration::from_millis(10);

/// Workers, each in a namespace, with one key. Dropped, they end.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    functions: PathBuf,
    memory_bytes: u64,
    flags: Vec<String>,
    /// The key that they share.
    pub(crate) key_file: PathBuf,
    folder: TempDir,
}

struct Worker {
    child: Child,
    address: String,
}

impl Workers {
    /// None yet: those that will be started have their executables in `functions`, so much memory each, and these further
    /// flags.
    ///
    /// # Errors
    /// If no folder can be made for them.
    pub(crate) fn new(
        functions: &Path,
        memory_bytes: u64,
        flags: Vec<String>,
        folders: &Folders,
    ) -> Result<Self, NamespaceError> {
        let folder = tempfile::Builder::new().prefix("faasflow-bench-").tempdir();
        let folder = folder.map_err(NamespaceError::Folder)?;
        folders.add(folder.path());
        let key_file = folder.path().join("key");
        write_key(&key_file).map_err(NamespaceError::Folder)?;
        Ok(Self {
            workers: Vec::new(),
            functions: functions.to_owned(),
            memory_bytes,
            flags,
            key_file,
            folder,
        })
    }

    /// One more, named `apart-1` and on, that listens on `address` in that namespace.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start(
        &mut self,
        namespace: &Namespace,
        address: &str,
        cpus: &str,
    ) -> Result<(), NamespaceError> {
        let name = format!("apart-{}", self.workers.len() + 1);
        let mut command = Command::new(beside_worker()?);
        let listen = format!("{address}:0");
        command.args(["--listen", &listen, "--name", &name, "--cpus", cpus]);
        let memory_bytes = self.memory_bytes.to_string();
        command.args(["--memory", &memory_bytes, "--end-with-stdin"]);
        command.args(&self.flags);
        command.arg("--functions").arg(&self.functions);
        let state = self.folder.path().join(&name);
        command.arg("--state-dir").arg(state);
        command.arg("--cluster-key-file").arg(&self.key_file);
        command.env("FAASFLOW_LOG", "error");
        // A group of its own: Ctrl-C is for this program.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = namespace.run(|| command.spawn());
        let mut child = spawned
            .and_then(|spawned| spawned)
            .map_err(|error| program_error("faasflow-worker", error))?;
        let address = ready_address(&mut child);
        self.workers.push(Worker {
            child,
            address: address.clone().unwrap_or_default(),
        });
        address.map(drop).ok_or(NamespaceError::NotReady(name))
    }

    /// Where they listen, as seen from within the namespaces.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let workers = self.workers.iter();
        workers.map(|worker| worker.address.clone()).collect()
    }
}

impl Drop for Workers {
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

/// Two workers with a link between them.
pub(super) struct Apart {
    pub(super) workers: Workers,
    namespaces: [Namespace; 2],
    /// Whether packets are delayed, not only held back by the rate.
    pub(super) delayed: Result<(), String>,
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
        let mut workers = Workers::new(functions, memory_bytes, apart_flags(), folders)?;
        let cpu_sets = Layout::cpu_sets(2);
        for ((namespace, address), cpus) in namespaces.iter().zip(ADDRESSES).zip(&cpu_sets) {
            workers.start(namespace, address, cpus)?;
        }
        Ok(Self {
            workers,
            namespaces,
            delayed,
        })
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
