//! A hunt for faults of one target: children are started one after the other, and what one dies of is a find.

use super::child::{Played, read_record};
use super::shrink::shrink;
use super::target::Target;
use crate::process::{Guarded, Watched};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child that has begun no other input for so long is given up: it uses no CPU time, or its machine has none for it.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Children that die, at most, until a hunt ends: some inputs of each seed are alike.
const DEATHS_MAX: u64 = 100;
/// Bytes of a child's last words that are kept.
const SAID_BYTES_MAX: usize = 16 << 10;

/// What a hunt is for, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is fuzzed.
    pub target: Target,
    /// The first child's seed; each further one has the next.
    pub seed: u64,
    /// Inputs in all.
    pub inputs_max: u64,
    /// Time in all.
    pub time_max: Duration,
    /// CPU time that one input may take.
    pub cpu_time_max: Duration,
    /// How long one find may be made smaller.
    pub shrink_time_max: Duration,
    /// Different finds after which it ends.
    pub finds_max: usize,
    /// A folder with more inputs to begin with.
    pub corpus: Option<PathBuf>,
    /// Where finds are written.
    pub folder: PathBuf,
    /// The program that plays: scripts/fuzz's.
    pub program: PathBuf,
}

/// Why an input is a find.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// It panicked: where, and what was said.
    Panic(String),
    /// It took too much CPU time.
    Time,
    /// It needed too much memory.
    Memory,
    /// It overflowed the stack.
    Stack,
    /// It went on for ever without using the CPU.
    Silence,
    /// It ended its process in another way.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(said) => write!(f, "panicked: {said}"),
            Self::Time => f.write_str("took too much CPU time"),
            Self::Memory => f.write_str("needed too much memory"),
            Self::Stack => f.write_str("overflowed the stack"),
            Self::Silence => f.write_str("hung without using the CPU"),
            Self::Other(how) => write!(f, "ended its process: {how}"),
        }
    }
}

/// An input that is a fault, as small as it could be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Find {
    /// Why.
    pub fault: Fault,
    /// Where it is.
    pub path: PathBuf,
    /// How often it, or one of the same kind, was met.
    pub times: u64,
}

/// What came of a hunt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bag {
    /// What was played by all children.
    pub played: Played,
    /// What was found.
    pub finds: Vec<Find>,
}

impl Bag {
    fn add(&mut self, played: Played) {
        self.played.inputs += played.inputs;
        self.played.accepted += played.accepted;
        // Those of one child are mostly those of another too.
        self.played.answers = self.played.answers.max(played.answers);
    }
}

/// Hunts.
///
/// # Errors
/// If children cannot be started, or finds not be written.
pub fn hunt(plan: &Plan) -> io::Result<Bag> {
    let mut end = Instant::now() + plan.time_max;
    let scratch = tempfile::tempdir()?;
    let record = scratch.path().join("record");
    let mut bag = Bag::default();
    let mut fatal = Vec::new();
    let mut finds: BTreeMap<Fault, Find> = BTreeMap::new();
    for child in 0..DEATHS_MAX {
        let inputs_left = plan.inputs_max.saturating_sub(bag.played.inputs);
        let time_left = end.saturating_duration_since(Instant::now());
        if inputs_left == 0 || time_left.is_zero() || finds.len() >= plan.finds_max {
            break;
        }
        let mut command = Command::new(&plan.program);
        command
            .args(["child", plan.target.name()])
            .arg((plan.seed + child).to_string())
            .arg(inputs_left.to_string())
            .arg(time_left.as_millis().to_string())
            .arg(plan.cpu_time_max.as_millis().to_string())
            .arg(&record)
            .arg(format!("--skip={}", fatal.join(",")))
            .args(&plan.corpus);
        let death = run(command, Some(&record))?;
        let recorded = std::fs::read(&record)?;
        let (recorded, input) = read_record(&recorded).unwrap_or_default();
        match death.fault() {
            None => {
                let played = Played::from_line(&death.printed).unwrap_or_default();
                bag.add(played);
                break;
            }
            Some(fault) => {
                bag.add(recorded);
                fatal.push(crc32fast::hash(input).to_string());
                if let Some(find) = finds.get_mut(&fault) {
                    find.times += 1;
                    continue;
                }
                let found = Instant::now();
                let path = keep(plan, &fault, input)?;
                // Making it smaller is no hunting.
                end += found.elapsed();
                let find = Find {
                    fault: fault.clone(),
                    path,
                    times: 1,
                };
                finds.insert(fault, find);
            }
        }
    }
    bag.finds = finds.into_values().collect();
    Ok(bag)
}

/// Plays one input in a child of its own; the fault that it is, if it is one.
///
/// # Errors
/// If no child can be started.
pub fn replay(
    program: &Path,
    target: Target,
    input: &Path,
    cpu_time_max: Duration,
) -> io::Result<Option<Fault>> {
    let mut command = Command::new(program);
    command
        .args(["child-replay", target.name()])
        .arg(cpu_time_max.as_millis().to_string())
        .arg(input);
    Ok(run(command, None)?.fault())
}

/// Writes a find, as small as it can be made, under a name that says what it is.
fn keep(plan: &Plan, fault: &Fault, input: &[u8]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(&plan.folder)?;
    let name = format!("{}-{:08x}", plan.target.name(), crc32fast::hash(input));
    let path = plan.folder.join(name);
    // First as it was: making it smaller takes a while, and may be interrupted.
    std::fs::write(&path, input)?;
    let trial = plan.folder.join(format!(".{}-trial", plan.target.name()));
    let is_alike = |candidate: &[u8]| -> io::Result<bool> {
        std::fs::write(&trial, candidate)?;
        let found = replay(&plan.program, plan.target, &trial, plan.cpu_time_max)?;
        Ok(found.as_ref() == Some(fault))
    };
    let smallest = shrink(input, plan.shrink_time_max, is_alike);
    let _ = std::fs::remove_file(&trial); // it was never made if nothing was tried
    std::fs::write(&path, smallest?)?;
    Ok(path)
}

/// How a child ended.
struct Death {
    /// None if it was given up.
    status: Option<ExitStatus>,
    printed: String,
    said: String,
}

impl Death {
    fn fault(&self) -> Option<Fault> {
        let Some(status) = self.status else {
            return Some(Fault::Silence);
        };
        if status.success() {
            return None;
        }
        if status.signal() == Some(nix::sys::signal::Signal::SIGALRM as i32) {
            return Some(Fault::Time);
        }
        if self.said.contains("memory allocation of") {
            return Some(Fault::Memory);
        }
        if self.said.contains("overflowed its stack") {
            return Some(Fault::Stack);
        }
        if let Some((_, panicked)) = self.said.split_once("panicked at ") {
            return Some(Fault::Panic(one_line(panicked)));
        }
        Some(Fault::Other(format!("{status}: {}", one_line(&self.said))))
    }
}

/// Place and message of a panic, without the note on backtraces and with what differs from input to input left out.
fn one_line(said: &str) -> String {
    const CHARS_MAX: usize = 200;
    let lines = said.lines().take_while(|line| !line.starts_with("note:"));
    let line = lines.take(2).collect::<Vec<_>>().join(" ");
    line.trim().chars().take(CHARS_MAX).collect()
}

fn run(mut command: Command, record: Option<&Path>) -> io::Result<Death> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Guarded)?;
    let reader = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || -> io::Result<String> {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                stream
                    .by_ref()
                    .take(SAID_BYTES_MAX as u64)
                    .read_to_end(&mut bytes)?;
                // It must not wait for someone to read the rest.
                io::copy(&mut stream, &mut io::sink())?;
            }
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    };
    let printed = child.0.stdout.take().map(|stream| Box::new(stream) as _);
    let said = child.0.stderr.take().map(|stream| Box::new(stream) as _);
    let (printed, said) = (reader(printed), reader(said));
    let watched = Watched::new(child.0.id())?;
    let count = || -> Option<u64> {
        let bytes = std::fs::read(record?).ok()?;
        Some(read_record(&bytes)?.0.inputs)
    };
    let mut last = count();
    let ended = loop {
        if watched.ends_within(SILENCE_MAX) {
            break true;
        }
        let now = count();
        if now == last {
            break false;
        }
        last = now;
    };
    if !ended {
        child.0.kill()?;
    }
    let status = child.0.wait()?;
    let joined = |thread: std::thread::JoinHandle<io::Result<String>>| match thread.join() {
        Ok(text) => text,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    Ok(Death {
        status: ended.then_some(status),
        printed: joined(printed)?,
        said: joined(said)?,
    })
}
