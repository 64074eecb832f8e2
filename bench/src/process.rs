//! What the kernel counts of other processes: context switches of all their threads, memory, and system calls while
//! `strace` watches.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long `strace` may take to attach to all threads.
const ATTACH_TIME: Duration = Duration::from_secs(10);

/// Context switches of a process since its start.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Switches {
    /// Because it waited.
    pub voluntary: u64,
    /// Because another was to run.
    pub involuntary: u64,
}

impl Switches {
    /// The sum over the threads that the process has now.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut sum = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
                continue;
            };
            let count = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|count| count.trim().parse::<u64>().ok())
                    .unwrap_or(0)
            };
            sum.voluntary += count("voluntary_ctxt_switches:");
            sum.involuntary += count("nonvoluntary_ctxt_switches:");
        }
        Ok(sum)
    }

    /// What was added since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }
}

/// Resident memory of a process, in bytes.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// All that is resident now.
    pub resident_bytes: u64,
    /// Of that, what it shares with others: segments above all.
    pub shared_bytes: u64,
    /// The most that has ever been resident.
    pub peak_bytes: u64,
}

impl Memory {
    /// That of the process now.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
            kib.unwrap_or(0_u64) << 10
        };
        Ok(Self {
            resident_bytes: bytes("VmRSS:"),
            shared_bytes: bytes("RssShmem:"),
            peak_bytes: bytes("VmHWM:"),
        })
    }
}

/// Processes that are stopped until this is dropped, so that what they spin on is free. They notice nothing of it but time.
#[derive(Debug)]
pub struct Stopped {
    pids: Vec<u32>,
}

impl Stopped {
    /// Stops these processes, which must be of this program's starting. One that has ended is passed over.
    #[must_use = "they go on when this is dropped"]
    pub fn stop(pids: Vec<u32>) -> Self {
        let stopped = Self { pids };
        stopped.signal(Signal::SIGSTOP);
        stopped
    }

    fn signal(&self, signal: Signal) {
        for pid in &self.pids {
            let _ = kill(Pid::from_raw(*pid as i32), signal);
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
    }
}

/// Why system calls could not be counted. None of these is a fault of what was to be measured.
#[derive(Debug, Error)]
pub enum StraceError {
    /// It is not there, or cannot be started.
    #[error("strace cannot be started: {0}; install it to have system calls counted")]
    Start(#[source] io::Error),
    /// It did not attach.
    #[error("strace did not attach: {said}; run as root, or set kernel.yama.ptrace_scope to 0")]
    Attach {
        /// The last that it said.
        said: String,
    },
    /// Its table was not understood.
    #[error("strace's summary has no line `total`; is this another version of it?")]
    Summary,
    /// It could not be ended, or its table not be read.
    #[error("strace: {0}")]
    System(#[from] io::Error),
}

/// `strace`, counting the system calls of some processes.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    summary: tempfile::NamedTempFile,
    /// Drains its messages, so that it never waits for a reader.
    messages: Option<std::thread::JoinHandle<()>>,
}

impl Strace {
    /// Attaches to all threads of these processes.
    ///
    /// # Errors
    /// If it is not installed or not permitted.
    pub fn attach(pids: &[u32]) -> Result<Self, StraceError> {
        let threads: usize = pids
            .iter()
            .map(|pid| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count))
            .sum();
        let summary = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command
            .arg("-c")
            .arg("-f")
            .arg("-o")
            .arg(summary.path())
            .args(
                pids.iter()
                    .flat_map(|pid| ["-p".to_owned(), pid.to_string()]),
            );
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(StraceError::Start)?;
        let (said, lines) = mpsc::channel();
        let stderr = child.stderr.take();
        let messages = std::thread::spawn(move || {
            let lines = stderr
                .into_iter()
                .flat_map(|stderr| BufReader::new(stderr).lines().map_while(Result::ok));
            for line in lines {
                // Nobody listens any more once all are attached.
                let _ = said.send(line);
            }
        });
        let mut strace = Self {
            child,
            summary,
            messages: Some(messages),
        };
        strace.await_attached(threads, &lines)?;
        Ok(strace)
    }

    fn await_attached(
        &mut self,
        threads: usize,
        lines: &mpsc::Receiver<String>,
    ) -> Result<(), StraceError> {
        let give_up = Instant::now() + ATTACH_TIME;
        let (mut attached, mut last) = (0, "nothing was said".to_owned());
        while attached < threads {
            match lines.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    // One line for each thread, or one for all of a process: `... attached with 3 threads`.
                    if let Some((_, rest)) = line.split_once(" attached") {
                        let more = rest
                            .strip_prefix(" with ")
                            .and_then(|rest| rest.split(' ').next()?.parse().ok());
                        attached += more.unwrap_or(1);
                    }
                    last = line;
                }
                Err(_) => return Err(StraceError::Attach { said: last }),
            }
        }
        Ok(())
    }

    /// Detaches, and says how many system calls there were.
    ///
    /// # Errors
    /// If its summary cannot be read.
    pub fn finish(mut self) -> Result<u64, StraceError> {
        self.interrupt();
        let mut text = String::new();
        self.summary.as_file_mut().read_to_string(&mut text)?;
        total_calls(&text).ok_or(StraceError::Summary)
    }

    fn interrupt(&mut self) {
        // Both fail only if it has already ended.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT);
        let _ = self.child.wait();
        if let Some(messages) = self.messages.take() {
            let _ = messages.join();
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if self.messages.is_some() {
            self.interrupt();
        }
    }
}

/// The calls in the line `total` of `strace -c`: the fourth column, behind `100.00`, seconds and microseconds per call.
/// Without any call there is no table.
fn total_calls(summary: &str) -> Option<u64> {
    if summary.trim().is_empty() {
        return Some(0);
    }
    let line = summary
        .lines()
        .find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_summary_is_its_calls() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
             60.00    0.000030           3        10         2 read\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000050           3        15         2 total\n";
        assert_eq!(total_calls(summary), Some(15));
        assert_eq!(total_calls(""), Some(0));
        assert_eq!(total_calls("something else"), None);
    }

    #[test]
    fn memory_that_is_touched_is_resident_and_its_peak_is_remembered() {
        const BYTES: u64 = 32 << 20;
        // Other tests of this process give memory back meanwhile: of several tries one is undisturbed.
        let shows = |_| {
            let before = Memory::of(std::process::id()).unwrap();
            let touched = std::hint::black_box(vec![1_u8; BYTES as usize]);
            let with = Memory::of(std::process::id()).unwrap();
            drop(touched);
            let after = Memory::of(std::process::id()).unwrap();
            let is_remembered = after.peak_bytes >= with.resident_bytes - BYTES / 2;
            with.resident_bytes > before.resident_bytes + BYTES / 2 && is_remembered
        };
        assert!((0..50).any(shows));
        assert!(Memory::of(u32::MAX).is_err());
    }

    #[test]
    fn context_switches_of_a_process_are_those_of_all_its_threads() {
        let before = Switches::of(std::process::id()).unwrap();
        std::thread::spawn(|| std::thread::sleep(Duration::from_millis(1)))
            .join()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let added = Switches::of(std::process::id()).unwrap().since(before);
        assert!(added.voluntary > 0);
        assert!(Switches::of(u32::MAX).is_err());
    }
}
