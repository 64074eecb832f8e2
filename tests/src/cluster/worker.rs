//! One worker's process: started, awaited, and ended with whoever holds it.

use crate::process::{Guarded, PROMPTLY, Watched};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Longest time from a worker's start to its `ready` line: it measures the machine first, and tests share CPUs.
const READY_MAX: Duration = Duration::from_secs(60);

/// A worker's process.
#[derive(Debug)]
pub struct Worker {
    name: String,
    address: String,
    process: Guarded,
    /// Closing it ends the worker.
    _stdin: Option<ChildStdin>,
}

impl Worker {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, as `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Its process, to be waited for.
    ///
    /// # Panics
    /// If it was reaped.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched::new(self.pid()).expect("a child that is not reaped can be watched")
    }

    /// Sends it a signal and waits for its end; its exit code, if no signal ended it.
    ///
    /// # Panics
    /// If it does not end promptly.
    #[track_caller]
    pub fn end_by(&mut self, signal: Signal) -> Option<i32> {
        let watched = self.watched();
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("a child that is not reaped can be signalled");
        assert!(
            watched.ends_within(PROMPTLY),
            "worker {} did not end within {PROMPTLY:?} of {signal}",
            self.name
        );
        let status = self.process.0.wait();
        status.expect("a child can be waited for").code()
    }
}

/// A worker whose `ready` line is awaited.
pub(super) struct Starting {
    name: String,
    process: Guarded,
    stdin: Option<ChildStdin>,
    line: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Starting {
    /// Starts it, with its log in this file, behind what is there.
    #[track_caller]
    pub(super) fn spawn(name: &str, mut command: Command, log_path: &Path) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log_path);
        command.arg("--end-with-stdin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(log.expect("the test's folder can be written"));
        let child = command.spawn();
        let mut process = Guarded(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let (sender, line) = mpsc::channel();
        let stdout = process.0.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens after the first line.
                let _ = sender.send(line);
            }
        });
        Self {
            name: name.to_owned(),
            stdin: process.0.stdin.take(),
            process,
            line,
            log: log_path.to_owned(),
        }
    }

    /// Waits until it is ready.
    #[track_caller]
    pub(super) fn ready(self) -> Worker {
        let line = self.line.recv_timeout(READY_MAX);
        let words = line.as_deref().unwrap_or_default().split_whitespace();
        let address = match words.collect::<Vec<_>>()[..] {
            ["ready", name, address] if name == self.name => address.to_owned(),
            _ => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("worker {} is not ready but says {line:?}\n{log}", self.name)
            }
        };
        assert!(address.parse::<SocketAddr>().is_ok(), "{address}");
        Worker {
            name: self.name,
            address,
            process: self.process,
            _stdin: self.stdin,
        }
    }
}
