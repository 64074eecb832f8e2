//! The process that plays inputs, and dies of those that are faults.
//!
//! Before each input it writes down what it is about to play, so that whoever started it knows what it died of:
//!
//! ```text
//! byte 0        8          16        24       32
//!      inputs   accepted   answers   length   the input begun last       (numbers of 64 bits, little-endian)
//! ```

use super::limits::{STACK_BYTES, Watchdog, bound_memory};
use super::mutation::Mutator;
use super::seeds::files;
use super::target::{Answer, Target};
use crate::random::Random;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Inputs that are kept to make others from, at most, and their bytes together.
const CORPUS_INPUTS_MAX: usize = 4000;
const CORPUS_BYTES_MAX: usize = 16 << 20;
/// Longest of them, but for seeds: what is made of long ones is long and slow too.
const KEPT_BYTES_MAX: usize = 16 << 10;
/// Different answers that are remembered, at most.
const ANSWERS_MAX: usize = 50_000;
/// Bytes in front of the input.
const HEAD_BYTES: usize = 32;

/// What a child is to play.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    /// What is fuzzed.
    pub target: Target,
    /// From which all choices follow.
    pub seed: u64,
    /// How many inputs at most.
    pub inputs_max: u64,
    /// For how long at most.
    pub time_max: Duration,
    /// CPU time that one input may take.
    pub cpu_time_max: Duration,
    /// Inputs that are not played, by their CRC-32: others have died of them.
    pub skipped: &'a [u32],
    /// A folder with more inputs to begin with.
    pub corpus: Option<&'a Path>,
    /// Where it writes down what it plays.
    pub record: &'a Path,
}

/// What a child has played.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Played {
    /// Inputs.
    pub inputs: u64,
    /// Of those, how many were taken for what they should be.
    pub accepted: u64,
    /// Different answers.
    pub answers: u64,
}

impl Played {
    /// As the line that a child prints in the end.
    #[must_use]
    pub fn to_line(self) -> String {
        format!("{} {} {}", self.inputs, self.accepted, self.answers)
    }

    /// From that line.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(Self {
            inputs: number()?,
            accepted: number()?,
            answers: number()?,
        })
    }
}

/// Plays as ordered, in this process, which it bounds for the rest of its life.
///
/// # Errors
/// If the kernel refuses a limit, or what is played cannot be written down.
///
/// # Panics
/// If an input is a fault.
pub fn fuzz(orders: Orders<'_>) -> io::Result<Played> {
    let record = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(orders.record)?;
    in_bounds(orders.cpu_time_max, |watchdog| {
        Fuzzer::new(orders, record).run(watchdog)
    })
}

/// Plays one input, in this process, which it bounds for the rest of its life.
///
/// # Errors
/// If the kernel refuses a limit.
///
/// # Panics
/// If the input is a fault.
pub fn replay(target: Target, input: &[u8], cpu_time_max: Duration) -> io::Result<Answer> {
    in_bounds(cpu_time_max, |watchdog| {
        watchdog.begin()?;
        Ok(target.play(input))
    })
}

/// Runs on a thread with the stack of a lane's, within all limits. It ends with the process that started this one.
fn in_bounds<T: Send>(
    cpu_time_max: Duration,
    play: impl FnOnce(&mut Watchdog) -> io::Result<T> + Send,
) -> io::Result<T> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    bound_memory()?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || play(&mut Watchdog::new(cpu_time_max)?))?;
        match thread.join() {
            Ok(played) => played,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

struct Fuzzer<'a> {
    orders: Orders<'a>,
    random: Random,
    corpus: Vec<Vec<u8>>,
    corpus_bytes: usize,
    seeds: u64,
    answers: HashSet<Answer>,
    played: Played,
    record: File,
    line: Vec<u8>,
}

impl<'a> Fuzzer<'a> {
    fn new(orders: Orders<'a>, record: File) -> Self {
        Self {
            orders,
            random: Random::new(orders.seed),
            corpus: Vec::new(),
            corpus_bytes: 0,
            seeds: 0,
            answers: HashSet::new(),
            played: Played::default(),
            record,
            line: Vec::new(),
        }
    }

    fn run(mut self, watchdog: &mut Watchdog) -> io::Result<Played> {
        let end = Instant::now() + self.orders.time_max;
        let mut seeds = self.orders.target.seeds();
        if let Some(folder) = self.orders.corpus {
            seeds.extend(files(folder)?.into_values());
        }
        self.seeds = seeds.len() as u64;
        for seed in seeds {
            self.play(watchdog, seed)?;
        }
        while self.played.inputs < self.orders.inputs_max && Instant::now() < end {
            let input = self.next();
            self.play(watchdog, input)?;
        }
        Ok(self.played)
    }

    fn next(&mut self) -> Vec<u8> {
        if self.corpus.is_empty() {
            return Vec::new();
        }
        let one = self.random.below(self.corpus.len());
        let other = self.random.below(self.corpus.len());
        let target = self.orders.target;
        Mutator::new(&mut self.random, target.words(), target.form())
            .mutate(&self.corpus[one], &self.corpus[other])
    }

    fn play(&mut self, watchdog: &mut Watchdog, input: Vec<u8>) -> io::Result<()> {
        self.played.inputs += 1;
        let skipped = self.orders.skipped;
        if !skipped.is_empty() && skipped.contains(&crc32fast::hash(&input)) {
            return Ok(());
        }
        self.line.clear();
        self.played.answers = self.answers.len() as u64;
        let Played {
            inputs,
            accepted,
            answers,
        } = self.played;
        for number in [inputs, accepted, answers, input.len() as u64] {
            self.line.extend(number.to_le_bytes());
        }
        self.line.extend(&input);
        self.record.write_all_at(&self.line, 0)?;
        watchdog.begin()?;
        let answer = self.orders.target.play(&input);
        self.played.accepted += u64::from(answer.accepted);
        let is_new = self.answers.len() < ANSWERS_MAX && self.answers.insert(answer);
        let room = self.corpus.len() < CORPUS_INPUTS_MAX
            && self.corpus_bytes + input.len() <= CORPUS_BYTES_MAX;
        let is_seed = self.played.inputs <= self.seeds;
        if room && (is_seed || (is_new && input.len() <= KEPT_BYTES_MAX)) {
            self.corpus_bytes += input.len();
            self.corpus.push(input);
        }
        Ok(())
    }
}

/// What a record says: what was played, and the input begun last.
#[must_use]
pub fn read_record(bytes: &[u8]) -> Option<(Played, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let mut numbers = head.as_chunks::<8>().0.iter();
    let mut number = || Some(u64::from_le_bytes(*numbers.next()?));
    let played = Played {
        inputs: number()?,
        accepted: number()?,
        answers: number()?,
    };
    Some((played, rest.get(..usize::try_from(number()?).ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_has_played_survives_its_line() {
        let played = Played {
            inputs: 12,
            accepted: 3,
            answers: 4,
        };
        assert_eq!(Played::from_line(&played.to_line()), Some(played));
        assert_eq!(Played::from_line("1 2"), None);
    }

    #[test]
    fn a_record_says_the_last_input_alone() {
        let numbers = [7_u64, 5, 4, 3].map(u64::to_le_bytes).concat();
        let record = [&numbers[..], b"abc and what was there before"].concat();
        let played = Played {
            inputs: 7,
            accepted: 5,
            answers: 4,
        };
        assert_eq!(read_record(&record), Some((played, &b"abc"[..])));
        assert_eq!(read_record(&record[..34]), None);
        assert_eq!(read_record(b""), None);
    }
}
