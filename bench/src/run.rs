//! A measured stretch of invocations, and what proves that it was real: the engine's own count of triggers, processes,
//! CPUs, context switches and system calls.

use crate::chain_session::{Answer, ChainSession};
use crate::clock::now_ns;
use crate::floor;
use crate::process::{Strace, StraceError, Switches};
use crate::session::SessionError;
use crate::stamp::Load;
use engine::status::WorkerStatus;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Invocations that warm up: pools, mappings, arenas and branch predictors.
const WARM_UP_INVOCATIONS: u64 = 5;

/// What a stretch of invocations gave.
#[derive(Debug)]
pub struct Run {
    /// Every hop.
    pub hops: Histogram<u64>,
    /// Every invocation, from the arrival of its input at the worker to its end.
    pub latency: Histogram<u64>,
    /// From the first request to the last answer, in nanoseconds.
    pub elapsed_ns: u64,
    /// Whether it was real.
    pub proof: Proof,
}

/// What shows that the engine ran every hop.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Proof {
    /// Invocations.
    pub invocations: u64,
    /// Hops in them.
    pub hops: u64,
    /// Nodes that must have become ready: all of them, those that collect and switches included.
    pub triggers_expected: u64,
    /// Those that the engines counted.
    pub triggers: u64,
    /// Whether both are the same.
    pub triggers_equal: bool,
    /// The processes that took part.
    pub processes: Vec<Process>,
    /// Context switches of workers and executors together, voluntary and not, for each hop.
    pub context_switches_per_hop: f64,
    /// System calls that the lanes counted themselves, for each hop.
    pub lane_system_calls_per_hop: f64,
}

/// A process that took part.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// `worker` or `executor`.
    pub role: &'static str,
    /// Its id.
    pub pid: u32,
    /// The CPU of a worker's first lane, or that of an executor, if the kernel said so.
    pub cpu: Option<usize>,
    /// Context switches during the run.
    pub switches: Switches,
}

/// The first invocation of a fresh deployment: what its first hop took, in nanoseconds, and the invocation as a whole.
///
/// # Errors
/// If it fails, or has no hop.
pub fn cold(session: &mut ChainSession, load: Load) -> Result<(u64, Answer), SessionError> {
    let answer = session.invoke(load)?;
    // Node 1 is the first with a hop behind it, at the chain's second stop if it has one.
    let stop = answer.collections.get(1).or(answer.collections.first());
    let first = stop.and_then(|collection| collection.hops_ns.first().copied());
    first
        .map(|first_ns| (first_ns, answer))
        .ok_or(SessionError::NoHops {
            nodes: session.chain().nodes,
        })
}

/// Warms up: what these invocations take is dropped.
///
/// # Errors
/// If one fails.
pub fn warm_up(
    session: &mut ChainSession,
    load: Load,
    invocations: u64,
) -> Result<(), SessionError> {
    (0..WARM_UP_INVOCATIONS.max(invocations / 10))
        .try_for_each(|_| session.invoke(load).map(|_| ()))
}

/// Runs so many invocations one after the other, and measures them; `each` sees every answer.
///
/// # Errors
/// If one fails.
pub fn measure(
    session: &mut ChainSession,
    load: Load,
    invocations: u64,
    mut each: impl FnMut(&Answer),
) -> Result<Run, SessionError> {
    let (mut hops, mut latency) = (floor::histogram(), floor::histogram());
    // Chains whose nodes read are measured by `hop_payload`.
    let mut reads = floor::histogram();
    let before = Counts::of(session, load)?;
    let started_ns = now_ns();
    for _ in 0..invocations {
        let answer = session.invoke(load)?;
        latency.saturating_record(answer.latency_ns);
        answer.record(&mut hops, &mut reads);
        each(&answer);
    }
    let elapsed_ns = now_ns() - started_ns;
    // Asking takes an invocation of its own, for what the executors count of themselves.
    let after = Counts::of(session, load)?;
    let proof = prove(session, &before, &after, invocations);
    if hops.is_empty() {
        return Err(SessionError::NoHops {
            nodes: session.chain().nodes,
        });
    }
    Ok(Run {
        hops,
        latency,
        elapsed_ns,
        proof,
    })
}

/// How long a lane has to show what it has counted, and how often it is asked.
const SHOWN_PAUSE: Duration = Duration::from_millis(5);
const SHOWN_TRIES: u32 = 20;

/// Counts of all processes at one moment.
struct Counts {
    /// The engines', before the invocation that asks the executors when a stretch ends, and after it when one begins.
    statuses: Vec<WorkerStatus>,
    workers: Vec<Switches>,
    executors: Vec<(u32, Option<usize>, Switches)>,
}

impl Counts {
    fn of(session: &mut ChainSession, load: Load) -> Result<Self, SessionError> {
        let answer = session.invoke(load)?;
        let executors = answer.collections.iter().map(|collection| {
            let switches = Switches {
                voluntary: collection.voluntary_switches,
                involuntary: collection.involuntary_switches,
            };
            (collection.pid, collection.cpu, switches)
        });
        let switches = |pid| Switches::of(pid).unwrap_or_default();
        let workers = session.worker_pids().into_iter().map(switches).collect();
        Ok(Self {
            executors: executors.collect(),
            workers,
            statuses: shown(session)?,
        })
    }

    fn counter(&self, name: &str) -> u64 {
        self.statuses
            .iter()
            .filter_map(|status| status.counters.get(name))
            .sum()
    }
}

/// What the workers show once they show the same twice: a lane shows what it has counted when it has nothing else to do,
/// which is after the answer.
fn shown(session: &mut ChainSession) -> Result<Vec<WorkerStatus>, SessionError> {
    let counted = |statuses: &[WorkerStatus]| {
        let of = |status: &WorkerStatus| status.counters.get("triggers").copied();
        statuses.iter().map(of).collect::<Vec<_>>()
    };
    let mut statuses = session.status()?;
    for _ in 0..SHOWN_TRIES {
        std::thread::sleep(SHOWN_PAUSE);
        let again = session.status()?;
        if counted(&again) == counted(&statuses) {
            return Ok(again);
        }
        statuses = again;
    }
    Ok(statuses)
}

fn prove(session: &ChainSession, before: &Counts, after: &Counts, invocations: u64) -> Proof {
    let chain = session.chain();
    // The invocation that asked the second time stands between the two looks at the counters.
    let counted = invocations + 1;
    let hops = counted * chain.hops();
    let added = |name: &str| after.counter(name).saturating_sub(before.counter(name));
    let lanes = after
        .statuses
        .iter()
        .map(|status| status.lanes.first().map(|lane| lane.cpu as usize));
    let switches = before
        .workers
        .iter()
        .zip(&after.workers)
        .map(|(before, after)| after.since(*before));
    let workers = session.worker_pids().into_iter().zip(lanes).zip(switches);
    let workers = workers.map(|((pid, cpu), switches)| Process {
        role: "worker",
        pid,
        cpu,
        switches,
    });
    let executors =
        before
            .executors
            .iter()
            .zip(&after.executors)
            .map(|((_, _, before), (pid, cpu, after))| {
                let switches = after.since(*before);
                Process {
                    role: "executor",
                    pid: *pid,
                    cpu: *cpu,
                    switches,
                }
            });
    let processes: Vec<Process> = workers.chain(executors).collect();
    let all = processes.iter().fold(Switches::default(), |sum, process| {
        sum.plus(process.switches)
    });
    let (triggers, triggers_expected) = (added("triggers"), counted * chain.triggers());
    Proof {
        invocations: counted,
        hops,
        triggers_expected,
        triggers,
        triggers_equal: triggers == triggers_expected,
        processes,
        context_switches_per_hop: per_hop(all.voluntary + all.involuntary, hops),
        lane_system_calls_per_hop: per_hop(added("system_calls"), hops),
    }
}

/// Counts the system calls of workers and executors, the client's connection included, over some further invocations:
/// `strace` makes each of them slow, so that no time is taken meanwhile.
///
/// # Errors
/// The outer one if an invocation fails; the inner one if they cannot be counted here.
pub fn system_calls_per_hop(
    session: &mut ChainSession,
    load: Load,
    processes: &[Process],
    invocations: u64,
) -> Result<Result<f64, StraceError>, SessionError> {
    let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
    let strace = match Strace::attach(&pids) {
        Ok(strace) => strace,
        Err(error) => return Ok(Err(error)),
    };
    for _ in 0..invocations {
        session.invoke(load)?;
    }
    let hops = invocations * session.chain().hops();
    Ok(strace.finish().map(|calls| per_hop(calls, hops)))
}

/// `count` for each of `hops`, to six decimal places.
fn per_hop(count: u64, hops: u64) -> f64 {
    (count as f64 / hops.max(1) as f64 * 1e6).round() / 1e6
}
