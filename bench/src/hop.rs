//! The benchmarks `hop` and `chain`: from the moment at which function A returns to the moment at which function B is
//! entered, taken inside the functions, against the floor of the same placement.

use crate::chain::{Chain, Stop, Work};
use crate::chain_session::{Answer, ChainSession, EXECUTABLES};
use crate::floor::{self, FloorError};
use crate::hop_floor::{HopFloor, Site};
use crate::process::Stopped;
use crate::report::{self, Machine, Percentiles, Report, Setup, Watch};
use crate::run::{self, Run};
use crate::session::{Layout, SessionError, wait_name};
use crate::stamp::Load;
use crate::{hop_beside, hop_payload};
use faasstore::binding::WaitStrategy;
use hdrhistogram::Histogram;
use master::local::Between;
use thiserror::Error;

/// Bytes of the payload of a hop unless the caller says otherwise, and what larger ones are held against.
pub const PAYLOAD_BYTES: usize = 64;
/// Payloads from here on are read too, and the reading timed.
const READ_BYTES_MIN: usize = 4096;
/// Bytes that all payloads of one figure may have together: larger payloads get fewer samples.
const FIGURE_BYTES_MAX: u64 = 16 << 30;
/// Fewest samples that a figure with large payloads gets.
const SAMPLES_MIN: u64 = 64;
/// Payloads that an executor's arena must hold at once: what it writes, what is read, and what is about to be released.
const PAYLOADS_HELD: u64 = 4;
/// Invocations during which `strace` counts.
const STRACE_INVOCATIONS: u64 = 3;

/// What to measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// 1 or 2.
    pub workers: usize,
    /// How lanes and executors wait.
    pub wait: WaitStrategy,
    /// `--executors`, as the worker takes it.
    pub executors: String,
    /// How payloads travel between two workers.
    pub between: Between,
    /// Bytes of every payload, at least those of a stamp.
    pub payload_bytes: usize,
    /// Hops to take.
    pub samples: u64,
    /// Nodes of the chain, at least 2.
    pub nodes: usize,
    /// Bytes of payloads that stream from the first worker to the second while further hops are taken.
    pub beside: Option<usize>,
}

/// Why there is no figure.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum HopError {
    /// This host has less memory than such payloads take.
    #[error(
        "payloads of {payload_bytes} bytes take {needed_bytes} bytes for the workers, and this host has {host_bytes}"
    )]
    #[diagnostic(help("choose smaller payloads"))]
    Memory {
        /// As asked for.
        payload_bytes: usize,
        /// Memory of all workers.
        needed_bytes: u64,
        /// Memory of the host.
        host_bytes: u64,
    },
    /// A payload can stream between two workers alone.
    #[error("payloads stream beside hops between two workers, and there is one")]
    #[diagnostic(help("add `--workers 2`"))]
    OneWorker,
    /// A floor failed.
    #[error(transparent)]
    Floor(#[from] FloorError),
    /// The product did.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Session(#[from] SessionError),
}

/// What was measured in one session, with its floor.
pub(crate) struct Measured {
    pub(crate) run: Run,
    pub(crate) floor: HopFloor,
    sites: Vec<Site>,
    cold_ns: u64,
    pub(crate) machine: Machine,
}

/// Measures hops. Returns the report, and the distribution of hops.
///
/// # Errors
/// If floors, workers or invocations fail.
pub fn hop(options: &Options) -> Result<(Report, Histogram<u64>), HopError> {
    let watch = Watch::start();
    check_memory(options)?;
    if options.beside.is_some() && options.workers == 1 {
        return Err(HopError::OneWorker);
    }
    let mut session = ChainSession::start(&layout(options), chain(options, "hop", Work::Stamp))?;
    let measured = measured(&mut session, options, |_| ())?;
    let floor = measured.floor.sum();
    let mut report = Report::new(
        "hop",
        &measured.run.hops,
        Some(floor),
        measured.machine.clone(),
    );
    describe(&mut report, options, &measured);
    let counted = run::system_calls_per_hop(
        &mut session,
        Load::payload(options.payload_bytes),
        &measured.run.proof.processes,
        STRACE_INVOCATIONS,
    )?;
    match counted {
        Ok(calls) => report.detail("system_calls_per_hop", calls),
        Err(error) => report.skip("system_calls_per_hop", error.to_string()),
    }
    if options.payload_bytes > PAYLOAD_BYTES {
        hop_payload::compare(&mut report, &mut session, options)?;
    }
    if let Some(bytes) = options.beside {
        hop_beside::compare(&mut report, &mut session, options, bytes)?;
    }
    drop(session);
    if options.payload_bytes >= READ_BYTES_MIN && options.workers == 1 {
        hop_payload::read(&mut report, options)?;
    }
    report.machine.disturbances = watch.finish();
    Ok((report, measured.run.hops))
}

/// Measures a chain as a whole. The main figure is an invocation's time over its activations, and `activations_per_s`
/// what that makes with one invocation at a time.
///
/// # Errors
/// As [`hop`].
pub fn chain_cost(options: &Options) -> Result<(Report, Histogram<u64>), HopError> {
    let watch = Watch::start();
    check_memory(options)?;
    let mut session = ChainSession::start(&layout(options), chain(options, "chain", Work::Stamp))?;
    let activations = session.chain().activations();
    let measured = measured(&mut session, options, |_| ())?;
    let mut cost = floor::histogram();
    for step in measured.run.latency.iter_recorded() {
        cost.saturating_record_n(
            step.value_iterated_to() / activations,
            step.count_at_value(),
        );
    }
    let mut report = Report::new(
        "chain",
        &cost,
        Some(measured.floor.sum()),
        measured.machine.clone(),
    );
    describe(&mut report, options, &measured);
    report.detail("hop", Percentiles::of(&measured.run.hops));
    report.detail("invocation", Percentiles::of(&measured.run.latency));
    let invocations = measured.run.latency.len();
    let per_s = (invocations * activations) as f64 * 1e9 / measured.run.elapsed_ns.max(1) as f64;
    report.detail("activations_per_s", per_s.round());
    report.machine.disturbances = watch.finish();
    Ok((report, cost))
}

/// Measures a session's chain and its floor; `each` sees every answer that counts.
pub(crate) fn measured(
    session: &mut ChainSession,
    options: &Options,
    each: impl FnMut(&Answer),
) -> Result<Measured, HopError> {
    let invocations = invocations(options.samples, options.payload_bytes, session.chain());
    let load = Load::payload(options.payload_bytes);
    let (cold_ns, answer) = run::cold(session, load)?;
    let sites = session.sites(&answer)?;
    let executors = answer.collections.iter().map(|collection| collection.pid);
    let pids: Vec<u32> = session.worker_pids().into_iter().chain(executors).collect();
    let mut floor = HopFloor::new(&sites, options.wait);
    let floor_samples = options.samples.clamp(1_000, 100_000);
    let measure_floor = |floor: &mut HopFloor| {
        // Spinning workers would take the CPUs that the floor is measured on.
        let _stopped = Stopped::stop(pids.clone());
        floor.measure(floor_samples)
    };
    measure_floor(&mut floor)?;
    run::warm_up(session, load, invocations)?;
    let run = run::measure(session, load, invocations, each)?;
    measure_floor(&mut floor)?;
    let driver = session
        .status()?
        .first()
        .map(|status| status.driver.kind.to_string());
    let placement = sites
        .iter()
        .map(|site| format!("lane {} executor {}", site.lane_cpu, site.executor_cpu));
    let machine = Machine::read(Setup {
        wait: Some(wait_name(options.wait).to_owned()),
        placement: Some(placement.collect::<Vec<_>>().join(", ")),
        driver,
    });
    Ok(Measured {
        run,
        floor,
        sites,
        cold_ns,
        machine,
    })
}

/// What these benchmarks say beside their main figure.
pub(crate) fn describe(report: &mut Report, options: &Options, measured: &Measured) {
    report.param("workers", options.workers);
    report.param("wait", wait_name(options.wait));
    report.param("executors", &options.executors);
    report.param("payload_bytes", options.payload_bytes);
    report.param("samples", options.samples);
    report.param("nodes", options.nodes);
    report.cold_ns = Some(measured.cold_ns);
    report.detail("floor_legs", measured.floor.legs());
    report.detail("sites", &measured.sites);
    report.detail("proof", &measured.run.proof);
}

/// The chain of a session.
pub(crate) fn chain(options: &Options, name: &str, work: Work) -> Chain {
    let stop = |worker| Stop {
        executable: EXECUTABLES[0].to_owned(),
        worker,
    };
    let stops = match options.workers {
        1 => vec![stop(None)],
        workers => (1..=workers)
            .map(|worker| stop(Some(format!("local-{worker}"))))
            .collect(),
    };
    Chain {
        name: name.to_owned(),
        nodes: options.nodes,
        work,
        stops,
        memory_mib: executor_mib(options.payload_bytes),
    }
}

/// The cluster of a session.
pub(crate) fn layout(options: &Options) -> Layout {
    // Two executors, and the lane's own arena with the client's payload.
    let mut memory_mib = u64::from(executor_mib(options.payload_bytes)) * 4;
    if let Some(bytes) = options.beside {
        // As much for executors, and for the lane that receives.
        memory_mib += u64::from(hop_beside::memory_mib(bytes)) * 2 + 256;
    }
    Layout {
        cpu_sets: Layout::cpu_sets(options.workers),
        wait: options.wait,
        between: options.between,
        executors: options.executors.clone(),
        memory_bytes: memory_mib << 20,
    }
}

pub(crate) fn check_memory(options: &Options) -> Result<(), HopError> {
    let needed_bytes = layout(options).memory_bytes * options.workers as u64;
    match report::memory_bytes() {
        Some(host_bytes) if needed_bytes > host_bytes => Err(HopError::Memory {
            payload_bytes: options.payload_bytes,
            needed_bytes,
            host_bytes,
        }),
        _ => Ok(()),
    }
}

fn executor_mib(payload_bytes: usize) -> u32 {
    /// For everything that is no payload.
    const REST_MIB: u64 = 64;
    let payloads_mib = (payload_bytes as u64)
        .saturating_mul(PAYLOADS_HELD)
        .div_ceil(1 << 20);
    u32::try_from(payloads_mib + REST_MIB).unwrap_or(u32::MAX)
}

/// How many invocations make so many hops, or as many as payloads of that size allow.
pub(crate) fn invocations(samples: u64, payload_bytes: usize, chain: &Chain) -> u64 {
    let affordable = (FIGURE_BYTES_MAX / payload_bytes.max(1) as u64).max(SAMPLES_MIN);
    samples.min(affordable).div_ceil(chain.hops())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(workers: usize) -> Options {
        let executors = "auto".to_owned();
        Options {
            workers,
            wait: WaitStrategy::Park,
            executors,
            between: Between::Network,
            payload_bytes: 64,
            samples: 10_000,
            nodes: 101,
            beside: None,
        }
    }

    #[test]
    fn the_chain_is_a_definition_that_the_master_takes() {
        for workers in [1, 2] {
            for work in [Work::Stamp, Work::StampAndRead, Work::StampAndChoose] {
                let chain = chain(&options(workers), "hop", work);
                let parsed =
                    master::definition::parse("hop.yaml", chain.definition().as_bytes()).unwrap();
                assert_eq!(parsed.nodes.len() as u64, chain.triggers());
            }
        }
    }

    #[test]
    fn nodes_alternate_between_two_workers() {
        let placement = chain(&options(2), "hop", Work::Stamp).placement();
        let workers =
            ["hop0", "hop1", "hop2", "collect0", "collect1"].map(|node| placement[node].as_str());
        assert_eq!(
            workers,
            ["local-1", "local-2", "local-1", "local-1", "local-2"]
        );
        assert!(
            chain(&options(1), "hop", Work::Stamp)
                .placement()
                .is_empty()
        );
    }

    #[test]
    fn large_payloads_get_fewer_samples_but_never_none() {
        let chain = chain(&options(1), "hop", Work::Stamp);
        assert_eq!(invocations(10_000, 64, &chain), 100);
        assert_eq!(invocations(10_000, 256 << 20, &chain), 1);
    }
}
