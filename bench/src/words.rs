//! The benchmark `wordcount`: an invocation of the word count workflow against the same three functions called directly,
//! in one process with two threads, built with the same flags and the same allocator.
//!
//! Both take turns, so that what the host does meets both. The workflow's time runs from the arrival of the text at its
//! worker to the end of the invocation there, as the engine says; the direct one from the text in memory to the totals in
//! memory. Their totals must be equal.

use crate::clock::now_ns;
use crate::cpu::{self, CpuError};
use crate::floor;
use crate::report::{FloorSum, Machine, Percentiles, Report, Setup, Watch, ratio};
use crate::session::{Layout, Session, SessionError, functions_folder, wait_name};
use faasstore::binding::WaitStrategy;
use hdrhistogram::Histogram;
use master::client::Payload;
use master::local::Between;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use thiserror::Error;
use wordcount::{Counts, MalformedCounts, count, merge, split};

/// The definition that is deployed: the example itself.
const DEFINITION: &str = include_str!("../../examples/wordcount/workflow.yaml");
/// Threads of the direct calls.
const THREADS: usize = 2;
/// Length of the text that is made where no file is given.
const TEXT_BYTES: usize = 50 << 20;
/// Distinct words of that text, about as many as a long book has.
const VOCABULARY: u64 = 20_000;

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Workers.
    pub workers: usize,
    /// How lanes and executors wait.
    pub wait: WaitStrategy,
    /// `--executors`, as the worker takes it.
    pub executors: String,
    /// How payloads travel between two workers.
    pub between: Between,
    /// Rounds, of which each is one invocation and one direct call.
    pub rounds: u64,
}

/// Why there is no figure.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum WordsError {
    /// The product failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Session(#[from] SessionError),
    /// A thread could not be put on its CPU.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The functions refused each other's counts.
    #[error(transparent)]
    Counts(#[from] MalformedCounts),
    /// The totals differ.
    #[error(
        "the workflow's totals ({workflow} bytes) are not those of direct calls ({direct} bytes)"
    )]
    #[diagnostic(help("this is a fault; compare both with wordcount-reference"))]
    Different {
        /// Length of the workflow's.
        workflow: usize,
        /// Length of the others.
        direct: usize,
    },
}

/// Compares both on `text`. Returns the report, and the distribution of the workflow's latencies.
///
/// # Errors
/// If workers or invocations fail, or the totals differ.
pub fn measure(options: &Options, text: Vec<u8>) -> Result<(Report, Histogram<u64>), WordsError> {
    let watch = Watch::start();
    let bytes = text.len();
    let layout = layout(options, bytes);
    let functions = functions_folder(&[("wordcount", "wordcount")])?;
    let mut session = Session::start(&layout, functions, DEFINITION, BTreeMap::new())?;
    let cpus = direct_cpus();
    let inputs = [("text".to_owned(), Payload::Bytes(text))];
    let Payload::Bytes(text) = &inputs[0].1 else {
        unreachable!("made of bytes above")
    };
    let (mut latencies, mut direct) = (floor::histogram(), floor::histogram());
    let (mut ratios, mut cold_ns) = (Vec::new(), None);
    for round in 0..=options.rounds {
        let ended = session.invoke(&inputs)?;
        let (totals, direct_ns) = direct_call(text, &cpus)?;
        let found = ended.bytes("totals")?;
        if found != totals {
            return Err(WordsError::Different {
                workflow: found.len(),
                direct: totals.len(),
            });
        }
        if round == 0 {
            // The first round warms both up: pools, mappings, the allocators' pages.
            cold_ns = Some(ended.latency_ns);
            continue;
        }
        latencies.saturating_record(ended.latency_ns);
        direct.saturating_record(direct_ns);
        ratios.push(ended.latency_ns as f64 / direct_ns.max(1) as f64);
    }
    let driver = session
        .status()?
        .first()
        .map(|status| status.driver.kind.to_string());
    let machine = Machine::read(Setup {
        wait: Some(wait_name(options.wait).to_owned()),
        placement: Some(format!(
            "workers on {}; direct threads on {cpus:?}",
            layout.cpu_sets.join(" and ")
        )),
        driver,
    });
    let mut report = Report::new(
        "wordcount",
        &latencies,
        Some(FloorSum::default().plus(&direct, 1, 1)),
        machine,
    );
    report.ratio = median(ratios).map(|ratio| (ratio * 1000.0).round() / 1000.0);
    report.cold_ns = cold_ns;
    report.param("workers", options.workers);
    report.param("wait", wait_name(options.wait));
    report.param("executors", &options.executors);
    report.param("rounds", options.rounds);
    report.param("text_bytes", bytes);
    report.detail("direct", Percentiles::of(&direct));
    report.detail("direct_threads", THREADS);
    report.detail(
        "ratio_of_medians",
        ratio(report.figure.p50_ns, report.floor_ns.unwrap_or(0)),
    );
    report.machine.disturbances = watch.finish();
    Ok((report, latencies))
}

fn layout(options: &Options, text_bytes: usize) -> Layout {
    /// The definition's executors, the lane's arena, and everything that is no text.
    const REST_BYTES: u64 = 1 << 30;
    let all: Vec<String> = cpu::allowed().iter().map(usize::to_string).collect();
    let cpu_sets = if options.workers == 1 {
        vec![all.join(",")]
    } else {
        Layout::cpu_sets(options.workers)
    };
    let memory_bytes = REST_BYTES + 3 * text_bytes as u64;
    Layout {
        cpu_sets,
        wait: options.wait,
        between: options.between,
        executors: options.executors.clone(),
        memory_bytes,
    }
}

fn direct_cpus() -> Vec<usize> {
    let cpus = cpu::allowed();
    (0..THREADS)
        .map(|thread| cpus.get(thread).or(cpus.first()).copied().unwrap_or(0))
        .collect()
}

/// The three functions, called directly: totals, and what they took in nanoseconds.
fn direct_call(text: &[u8], cpus: &[usize]) -> Result<(Vec<u8>, u64), WordsError> {
    let started_ns = now_ns();
    let chunks = split(text);
    let next = AtomicUsize::new(0);
    let counted: Vec<Vec<Counts>> = std::thread::scope(|scope| {
        let (chunks, next) = (&chunks, &next);
        let threads: Vec<_> = cpus
            .iter()
            .map(|&cpu| scope.spawn(move || count_chunks(text, chunks, next, cpu)))
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Result<_, CpuError>>()
    })?;
    let totals = merge(counted.iter().flatten())?;
    let mut out = Vec::with_capacity(totals.text_bytes());
    totals
        .write_to(&mut out)
        .unwrap_or_else(|_| unreachable!("a Vec takes everything"));
    Ok((out, now_ns() - started_ns))
}

/// Counts chunks, the next one that nobody has taken, until there are none left.
fn count_chunks(
    text: &[u8],
    chunks: &[Range<usize>],
    next: &AtomicUsize,
    cpu: usize,
) -> Result<Vec<Counts>, CpuError> {
    cpu::pin(cpu)?;
    let take = || chunks.get(next.fetch_add(1, Relaxed)).cloned();
    Ok(std::iter::from_fn(take)
        .map(|range| count(&text[range]))
        .collect())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A text of 50 MiB whose words are as unequally frequent as those of prose: the word of rank r about as often as 1/r.
/// The same at every call.
#[must_use]
pub fn made_text() -> Vec<u8> {
    let mut text = Vec::with_capacity(TEXT_BYTES + 16);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while text.len() < TEXT_BYTES {
        // xorshift64: any generator would do that gives the same text everywhere.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (VOCABULARY as f64).powf(uniform) as u64;
        push_word(&mut text, rank);
        text.push(if state.is_multiple_of(12) {
            b'\n'
        } else {
            b' '
        });
    }
    text
}

/// The word of that rank: a letter, and the digits of the rank to the base 26, so that frequent words are short.
fn push_word(text: &mut Vec<u8>, mut rank: u64) {
    text.push(b'a' + (rank * 7 % 26) as u8);
    while rank > 0 {
        text.push(b'a' + (rank % 26) as u8);
        rank /= 26;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use master::graph::Graph;
    use master::place::{self, Partitioner, WorkerCapacity, place};

    #[test]
    fn direct_calls_give_the_totals_of_the_reference() {
        let text = &made_text()[..3 << 20];
        let (totals, _) = direct_call(text, &direct_cpus()).unwrap();
        assert_eq!(wordcount::reference::first_difference(&totals, text), None);
    }

    #[test]
    fn the_published_grouping_spreads_the_example_over_two_workers_of_two_cpus() {
        let definition = master::definition::parse("workflow.yaml", DEFINITION.as_bytes()).unwrap();
        let graph = Graph::of(&definition);
        let workers = ["a", "b"].map(|name| WorkerCapacity::new(name, 2, 4 << 30));
        let options = place::Options {
            partitioner: Partitioner::Published,
            ..place::Options::default()
        };
        let placement = place(&graph, &workers, &options).unwrap();
        let of = |name: &str| {
            let node = graph.nodes().position(|node| node.name == name).unwrap();
            placement.workers()[node]
        };
        assert_eq!(
            of("split"),
            of("count"),
            "the text is read where it was split"
        );
        assert_ne!(of("count"), of("merge"), "the counts cross the network");
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
