//! What large payloads add to a hop, and what reading them costs.
//!
//! A producer that has just written a megabyte has pushed its own data out of its caches and translations, whether the
//! megabyte is then passed on or not. So a hop with a large payload is held against one that passes 64 bytes after its
//! producer has written as many bytes of private memory; and besides against one whose producer wrote 64 bytes and
//! nothing else. The three take turns, so that what the host does meets all of them.

use crate::chain::{Stop, Work};
use crate::chain_session::{ChainSession, EXECUTABLES};
use crate::cpu;
use crate::floor::{self, Pages};
use crate::hop::{self, HopError, Options, PAYLOAD_BYTES};
use crate::report::{Percentiles, Report, ratio};
use crate::run;
use crate::stamp::Load;
use faasstore::binding::WaitStrategy;

/// Turns that each load gets.
const ROUNDS: u64 = 4;
/// Nodes of a chain whose payloads are read, at most: its figure needs few samples, and each takes long.
const READ_NODES_MAX: usize = 32;
/// Samples of reading, at most.
const READ_SAMPLES_MAX: u64 = 10_000;

/// Adds the hop with a large payload over one of 64 bytes: `payload_ratio` with the producer's own writing equal,
/// `payload_ratio_plain` without.
///
/// # Errors
/// If an invocation fails.
pub fn compare(
    report: &mut Report,
    session: &mut ChainSession,
    options: &Options,
) -> Result<(), HopError> {
    let loads = [
        Load::payload(options.payload_bytes),
        Load {
            private_bytes: options.payload_bytes,
            ..Load::payload(PAYLOAD_BYTES)
        },
        Load::payload(PAYLOAD_BYTES),
    ];
    let invocations = hop::invocations(options.samples, options.payload_bytes, session.chain());
    let mut hops = loads.map(|_| floor::histogram());
    let mut reads = floor::histogram();
    // Private memory is made and touched when it is first asked for.
    session.invoke(loads[1])?;
    for round in 0..ROUNDS {
        let mut turns = [0, 1, 2];
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            for _ in 0..invocations.div_ceil(ROUNDS) {
                session
                    .invoke(loads[turn])?
                    .record(&mut hops[turn], &mut reads);
            }
        }
    }
    let [payload, written, plain] = hops.map(|hops| Percentiles::of(&hops));
    report.detail("payload_ratio", ratio(payload.p50_ns, written.p50_ns));
    report.detail("payload_ratio_plain", ratio(payload.p50_ns, plain.p50_ns));
    report.detail("payload_hop", payload);
    report.detail("payload_hop_private", written);
    report.detail("payload_hop_plain", plain);
    Ok(())
}

/// Adds what a consumer takes to read every byte of a payload that an executor on another CPU has just written, against
/// as much private memory between the same CPUs. The wait strategy has no part in it: a spinning lane would only take an
/// executor's CPU.
///
/// # Errors
/// If floors, workers or invocations fail.
pub fn read(report: &mut Report, options: &Options) -> Result<(), HopError> {
    let options = Options {
        wait: WaitStrategy::Park,
        executors: "spread".to_owned(),
        nodes: options.nodes.min(READ_NODES_MAX),
        samples: options.samples.min(READ_SAMPLES_MAX),
        ..options.clone()
    };
    let mut chain = hop::chain(&options, "read", Work::StampAndRead);
    chain.stops = EXECUTABLES
        .map(|executable| Stop {
            executable: executable.to_owned(),
            worker: None,
        })
        .to_vec();
    let bytes = options.payload_bytes;
    let invocations = hop::invocations(options.samples, bytes, &chain);
    let load = Load::payload(bytes);
    let mut session = ChainSession::start(&hop::layout(&options), chain)?;
    run::cold(&mut session, load)?;
    let cpus = part(&mut session, load)?;
    let mut floors = [Pages::Ordinary, Pages::Huge].map(|pages| (pages, floor::histogram()));
    let (mut hops, mut reads) = (floor::histogram(), floor::histogram());
    run::warm_up(&mut session, load, 0)?;
    for round in 0..ROUNDS {
        let (writer, reader) = match round % 2 {
            0 => (cpus[0], cpus[1]),
            _ => (cpus[1], cpus[0]),
        };
        // Memory of its own every time: where pages happen to lie decides how well caches hold them.
        for (pages, floor) in &mut floors {
            *floor += floor::read_private(bytes, *pages, writer, reader)?;
        }
        for _ in 0..invocations.div_ceil(ROUNDS) {
            session.invoke(load)?.record(&mut hops, &mut reads);
        }
    }
    let reads = Percentiles::of(&reads);
    let [ordinary, huge] = floors.map(|(_, floor)| Percentiles::of(&floor));
    report.detail("read_ns", reads.p50_ns);
    report.detail("read_floor_ns", ordinary.p50_ns);
    report.detail("read_ratio", ratio(reads.p50_ns, ordinary.p50_ns));
    report.detail("read_floor_huge_ns", huge.p50_ns);
    report.detail("read_ratio_huge", ratio(reads.p50_ns, huge.p50_ns));
    report.detail("read_samples", reads.samples);
    report.detail("read_cpus", cpus);
    if cpus[0] == cpus[1] {
        report.skip(
            "reading what another CPU has written",
            "both executors ran on one CPU, since this process may use no other",
        );
    }
    Ok(())
}

/// Puts the two executors on two CPUs, if there are two, and says where they are. No placement of a worker does that on
/// a machine of two CPUs: it leaves the lane's to the lane.
pub(crate) fn part(session: &mut ChainSession, load: Load) -> Result<[usize; 2], HopError> {
    let collections = session.invoke(load)?.collections;
    let cpus = |collections: &[crate::stamp::Collection]| {
        [0, 1].map(|stop| collections[stop].cpu.unwrap_or_default())
    };
    let found = cpus(&collections);
    let other = cpu::allowed().into_iter().find(|cpu| *cpu != found[0]);
    match other {
        Some(other) if found[0] == found[1] => {
            cpu::pin_process(collections[1].pid, other).map_err(floor::FloorError::from)?;
            Ok(cpus(&session.invoke(load)?.collections))
        }
        _ => Ok(found),
    }
}
