//! Processes that tests watch: their ends, descriptors, memory and CPU time, all from the kernel's own books.
//!
//! A process is watched by pidfd, whether it is a child or not, so that none is mistaken for another that got its id
//! later, and ends are waited for without looking again and again.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What counts as prompt: far more than anything takes on a busy machine, far less than for ever.
pub const PROMPTLY: Duration = Duration::from_secs(10);
/// Between two looks at what no descriptor announces.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Looks in a row that must find the same, where what is looked at changes for a moment only.
pub const LOOKS_ALIKE: u32 = 5;

/// A process that is watched.
#[derive(Debug)]
pub struct Watched {
    pid: u32,
    pidfd: OwnedFd,
}

impl Watched {
    /// Watches a process, which may be anyone's child.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn new(pid: u32) -> io::Result<Self> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let pidfd = pidfd_open(id, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd })
    }

    /// Its id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal; whether it was still there.
    pub fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.pidfd, signal).is_ok()
    }

    /// Waits for its end; whether it came in time.
    #[must_use]
    pub fn ends_within(&self, time: Duration) -> bool {
        becomes_readable(&self.pidfd, time)
    }
}

/// Waits until a descriptor can be read; whether that came in time.
///
/// # Panics
/// If the kernel refuses to wait.
pub fn becomes_readable(descriptor: &impl AsFd, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return true,
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Looks until there is something, for [`PROMPTLY`] at most. For what no descriptor announces; `what` is said if it
/// never comes.
///
/// # Panics
/// At the deadline.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PROMPTLY, what, look)
}

/// As [`until`], with a deadline of the caller's.
///
/// # Panics
/// At the deadline.
#[track_caller]
pub fn until_within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {time:?} in vain for this: {what}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Looks until what is found equals what is expected, for [`PROMPTLY`] at most.
///
/// # Panics
/// At the deadline, with what was found last.
#[track_caller]
pub fn until_equal<T: PartialEq + std::fmt::Debug>(expected: &T, mut look: impl FnMut() -> T) {
    let deadline = Instant::now() + PROMPTLY;
    loop {
        let found = look();
        if found == *expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "expected {expected:?}\n   found {found:?}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A child that is killed and reaped when this is dropped.
#[derive(Debug)]
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail only if it has ended and been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said of errors.
    pub stderr: String,
}

impl Finished {
    /// Its standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Asserts that it ended well.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.text(), self.stderr);
        self
    }

    /// Asserts that it refused what it was told: exit code 2, nothing on standard output, and a message that holds
    /// each of `words` and no sign of a panic.
    ///
    /// # Panics
    /// If it did otherwise.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) {
        self.failed_with(2, words);
        assert!(
            self.stdout.is_empty(),
            "printed while refusing: {}",
            self.text()
        );
    }

    /// Asserts an exit code, and a message that holds each of `words` and no sign of a panic.
    ///
    /// # Panics
    /// If it did otherwise.
    #[track_caller]
    pub fn failed_with(&self, code: i32, words: &[&str]) {
        let said = joined(&self.stderr);
        assert_eq!(self.code, Some(code), "{}{}", self.text(), self.stderr);
        for word in words {
            assert!(
                said.contains(&joined(word)),
                "no {word:?} in: {}",
                self.stderr
            );
        }
        for sign in ["panicked", "RUST_BACKTRACE", "internalerror", "unwrap()"] {
            assert!(!said.contains(sign), "{sign:?} in: {}", self.stderr);
        }
    }
}

/// A message without the frame and the line breaks that suit a terminal: these may stand anywhere in a path.
fn joined(text: &str) -> String {
    let frame = ['│', '╰', '╭', '─', '×', '▶'];
    text.chars()
        .filter(|c| !c.is_whitespace() && !frame.contains(c))
        .collect()
}

/// Runs a program to its end.
///
/// # Panics
/// If it cannot be started, or does not end in time; then it is killed.
#[track_caller]
pub fn run(command: &mut Command, time: Duration) -> Finished {
    Running::start(command).finish(time)
}

/// A program that runs, and is killed when this is dropped; what it says is read.
#[derive(Debug)]
pub struct Running {
    child: Guarded,
    name: String,
    stdout: Heard,
    stderr: Heard,
}

impl Running {
    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = Guarded(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let stdout = child.0.stdout.take().expect("it is piped");
        let stderr = child.0.stderr.take().expect("it is piped");
        Self {
            stdout: Heard::new(stdout),
            stderr: Heard::new(stderr),
            name: format!("{command:?}"),
            child,
        }
    }

    /// Its process.
    ///
    /// # Panics
    /// If it was reaped.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched::new(self.child.0.id()).expect("a child that is not reaped can be watched")
    }

    /// Waits until it has said this on standard error.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn until_it_says(&self, word: &str) {
        until(word, || {
            let said = String::from_utf8_lossy(&self.stderr.so_far()).into_owned();
            joined(&said).contains(&joined(word)).then_some(())
        });
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If that does not come in time.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self, time: Duration) -> Finished {
        assert!(
            self.watched().ends_within(time),
            "{} did not end within {time:?}",
            self.name
        );
        let status = self.child.0.wait().expect("a child can be waited for");
        Finished {
            code: status.code(),
            stdout: self.stdout.all(),
            stderr: String::from_utf8_lossy(&self.stderr.all()).into_owned(),
        }
    }
}

/// What comes out of a stream, read by a thread.
#[derive(Debug)]
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Heard {
    fn new(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            loop {
                match stream.read(&mut part) {
                    Ok(length @ 1..) => {
                        let mut heard = heard.lock().expect("nobody panics with it");
                        heard.extend_from_slice(&part[..length]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // What cannot be read any more is not there.
                    Ok(0) | Err(_) => return,
                }
            }
        });
        Self { bytes, reader }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("nobody panics with it").clone()
    }

    /// Waits for its end.
    fn all(self) -> Vec<u8> {
        self.reader.join().expect("reading does not panic");
        let mut bytes = self.bytes.lock().expect("nobody panics with it");
        std::mem::take(&mut bytes)
    }
}

/// What the descriptors of a process lead to, sorted, once a few looks in a row find the same: a connection that its other
/// side has just closed is still one for a moment.
///
/// # Panics
/// If they keep changing.
#[must_use]
#[track_caller]
pub fn steady_descriptors(pid: u32) -> Vec<String> {
    let (mut last, mut same) = (descriptor_targets(pid), 0);
    until("the descriptors of a process stay the same", || {
        let now = descriptor_targets(pid);
        same = if now == last { same + 1 } else { 0 };
        last.clone_from(&now);
        (same == LOOKS_ALIKE).then_some(now)
    })
}

/// What the descriptors of a process lead to at this moment, sorted; nothing if it is gone.
#[must_use]
pub fn descriptor_targets(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let links = entries.into_iter().flatten().flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    let mut targets: Vec<String> = targets.map(|path| path.display().to_string()).collect();
    targets.sort_unstable();
    targets
}

/// Resident memory of a process that is its own alone (anonymous), in bytes. Shared segments are counted by the worker.
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "RssAnon:")
}

/// The largest address space that a process has ever had, in bytes: what it asked for, touched or not.
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn peak_address_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmPeak:")
}

fn status_bytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("the kernel does not say {name}")) << 10
}

/// CPU time that all threads of a process have used, in the kernel's ticks (mostly 10 ms).
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // Behind the name, which may hold anything, in parentheses: state is field 3, utime and stime are 14 and 15.
    let (_, fields) = stat.rsplit_once(')').expect("the kernel's form");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
    ticks(14) + ticks(15)
}
