//! Functions held in mid-activation, until their test says how they go on.
//!
//! The function `test-functions:gate` connects to the Unix socket that its input names, says who it is, and does what
//! it is told ([`Verdict`]). So a test knows that an activation is under way, and needs no sleep to hit it.

use crate::process::{PROMPTLY, becomes_readable};
use faasstore::Cancelled;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a held function goes on. What a test says by letting go of the socket is `Fail`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Writes its output.
    Pass,
    /// Returns an error that says `as told`.
    Fail,
    /// Panics with the text `as told`.
    Panic,
    /// Aborts its process.
    Abort,
    /// Never returns, and uses no CPU.
    Hang,
    /// Never returns, and keeps a CPU busy.
    Burn,
    /// Sleeps until it is told to stop, and notes why.
    Heed,
    /// Keeps a CPU busy until it is told to stop, and notes why.
    Look,
    /// Returns without having written its output.
    Forget,
    /// Ends its process with exit code 0, as if it were done.
    Exit,
}

impl Verdict {
    const ALL: [Self; 10] = [
        Self::Pass,
        Self::Fail,
        Self::Panic,
        Self::Abort,
        Self::Hang,
        Self::Burn,
        Self::Heed,
        Self::Look,
        Self::Forget,
        Self::Exit,
    ];

    /// From the line that a test sent; none if the test has let go.
    fn from_line(line: &str) -> Self {
        let named = |verdict: &Self| format!("{verdict:?}") == line.trim_end();
        Self::ALL.into_iter().find(named).unwrap_or(Self::Fail)
    }
}

/// Where functions wait for their verdict.
#[derive(Debug)]
pub struct Gate {
    listener: UnixListener,
    path: PathBuf,
}

impl Gate {
    /// A gate in this folder, under this name.
    ///
    /// # Panics
    /// If the socket cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        let listener = UnixListener::bind(&path).expect("a socket can be made in a test's folder");
        Self { listener, path }
    }

    /// What the function must be given as its input.
    ///
    /// # Panics
    /// If the path is no UTF-8.
    #[must_use]
    pub fn input(&self) -> Vec<u8> {
        let path = self.path.to_str();
        path.expect("a temporary folder has a plain name")
            .as_bytes()
            .to_vec()
    }

    /// What functions were told that heeded it: a line for each, its node and why.
    #[must_use]
    pub fn heeded(&self) -> Vec<String> {
        let notes = std::fs::read_to_string(notes(&self.path)).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }

    /// The next function that comes to the gate.
    ///
    /// # Panics
    /// If none comes promptly.
    #[must_use]
    #[track_caller]
    pub fn next(&self) -> Held {
        match self.next_within(PROMPTLY) {
            Some(held) => held,
            None => panic!("no function came to the gate within {PROMPTLY:?}"),
        }
    }

    /// The next function that comes to the gate, if one comes in this time.
    ///
    /// # Panics
    /// If what comes is none of ours.
    #[must_use]
    pub fn next_within(&self, time: Duration) -> Option<Held> {
        if !becomes_readable(&self.listener, time) {
            return None;
        }
        let (stream, _) = self.listener.accept().expect("someone is at the gate");
        let limit = stream.set_read_timeout(Some(PROMPTLY));
        limit.expect("a time other than zero");
        let mut line = String::new();
        let read = BufReader::new(&stream).read_line(&mut line);
        read.expect("a function says who it is");
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default().to_owned();
        Some(Held {
            pid: word().parse().expect("a process id"),
            attempt: word().parse().expect("an attempt"),
            node: word(),
            worker: word(),
            stream,
        })
    }
}

/// A function that waits for its verdict. Dropping this makes it fail, unless its process has ended.
#[derive(Debug)]
pub struct Held {
    /// The executor's process.
    pub pid: u32,
    /// Which attempt.
    pub attempt: u32,
    /// Which node.
    pub node: String,
    /// On which worker.
    pub worker: String,
    stream: UnixStream,
}

impl Held {
    /// Says how it goes on.
    pub fn tell(mut self, verdict: Verdict) {
        // It may have been killed while it waited; then there is nobody to tell.
        let _ = writeln!(self.stream, "{verdict:?}");
    }
}

/// Where functions note what they were told.
fn notes(gate: &Path) -> PathBuf {
    gate.with_extension("heeded")
}

/// The function's side: notes what it was told.
///
/// # Errors
/// If the note cannot be written.
pub fn note(path: &Path, node: &str, why: Cancelled) -> Result<(), std::io::Error> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(notes(path))?;
    // One write, so that notes of several do not mix.
    file.write_all(format!("{node}: {why}\n").as_bytes())
}

/// The function's side: goes to the gate at `path`, and waits.
///
/// # Errors
/// If there is no gate.
pub fn wait_at(
    path: &Path,
    attempt: u32,
    node: &str,
    worker: &str,
) -> Result<Verdict, std::io::Error> {
    let mut stream = UnixStream::connect(path)?;
    writeln!(stream, "{} {attempt} {node} {worker}", std::process::id())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(Verdict::from_line(&line))
}
