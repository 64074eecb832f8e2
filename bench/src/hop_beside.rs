//! Hops of small payloads while a large one streams between the same two workers.
//!
//! A second workflow has a function on the first worker that makes a payload without writing it, and one on the second that
//! takes it: invoked over and over, it keeps the link between them busy, and hardly anything else. Hops are taken
//! before, beside and after it. What the machine allows is measured likewise: round trips of 64 bytes over bare sockets, alone
//! and beside a bare stream on others, on the CPUs of the two lanes. With two CPUs for two workers a stream takes
//! CPU time from the hop at both ends, whoever carries it.

use crate::chain_session::{ChainSession, EXECUTABLES};
use crate::clock::now_ns;
use crate::floor::{self, Beside};
use crate::hop::{self, HopError, Options};
use crate::process::Stopped;
use crate::report::{Percentiles, Report, ratio};
use crate::session::{Companion, SessionError};
use crate::stamp::Load;
use hdrhistogram::Histogram;
use master::client::Payload;
use std::collections::BTreeMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// What the second workflow's payload is at least, so that it does not go inside a message.
pub const BYTES_MIN: usize = 64 << 10;
/// Parts in which hops alone and beside are taken, in turn.
const ROUNDS: u64 = 4;
/// Round trips of a floor.
const FLOOR_SAMPLES: u64 = 4_000;
/// Bytes of one write of the floor's stream: as fast as any on loopback.
const FLOOR_WRITE_BYTES: usize = 128 << 10;

/// Adds hops beside a stream of payloads of `bytes` bytes to the report.
///
/// # Errors
/// If floors, workers or invocations fail.
pub fn compare(
    report: &mut Report,
    session: &mut ChainSession,
    options: &Options,
    bytes: usize,
) -> Result<(), HopError> {
    let load = Load::payload(options.payload_bytes);
    let invocations = hop::invocations(options.samples, options.payload_bytes, session.chain());
    let mut companion = session.companion(&definition(bytes), placement())?;
    stream(&mut companion, bytes)?;
    let answer = session.invoke(load)?;
    let sites = session.sites(&answer)?;
    let executors = answer.collections.iter().map(|collection| collection.pid);
    let pids: Vec<u32> = session.worker_pids().into_iter().chain(executors).collect();

    let (mut alone, mut beside) = (floor::histogram(), floor::histogram());
    let (mut moved, mut taken_ns) = (0, 0);
    for _ in 0..ROUNDS {
        hops(session, load, invocations.div_ceil(ROUNDS), &mut alone)?;
        let (bytes_moved, ns) = while_streaming(&mut companion, bytes, || {
            hops(session, load, invocations.div_ceil(ROUNDS), &mut beside)
        })?;
        moved += bytes_moved;
        taken_ns += ns;
    }
    let (bare, bare_beside) = {
        let _stopped = Stopped::stop(pids);
        let [a, b] = [&sites[0], &sites[1]].map(|site| site.lane_cpu);
        let bare = floor::tcp_round_trip(a, b, FLOOR_SAMPLES)?;
        (
            bare,
            floor::tcp_beside(a, b, FLOOR_SAMPLES, FLOOR_WRITE_BYTES)?,
        )
    };
    let (alone, beside) = (Percentiles::of(&alone), Percentiles::of(&beside));
    report.param("beside_bytes", bytes);
    report.detail("beside_p99_ratio", ratio(beside.p99_ns, alone.p50_ns));
    report.detail("beside_alone", alone);
    report.detail("beside_hop", beside);
    report.detail("beside_bytes_per_s", per_s(moved, taken_ns));
    let Beside {
        round_trips,
        bytes_per_s,
    } = bare_beside;
    let (bare, round_trips) = (Percentiles::of(&bare), Percentiles::of(&round_trips));
    report.detail(
        "beside_floor_p99_ratio",
        ratio(round_trips.p99_ns, bare.p50_ns),
    );
    report.detail("beside_floor_alone", bare);
    report.detail("beside_floor_round_trip", round_trips);
    report.detail("beside_floor_bytes_per_s", bytes_per_s.round());
    Ok(())
}

fn per_s(bytes: u64, ns: u64) -> f64 {
    (bytes as f64 * 1e9 / ns.max(1) as f64).round()
}

fn hops(
    session: &mut ChainSession,
    load: Load,
    invocations: u64,
    hops: &mut Histogram<u64>,
) -> Result<(), SessionError> {
    let mut reads = floor::histogram();
    for _ in 0..invocations {
        session.invoke(load)?.record(hops, &mut reads);
    }
    Ok(())
}

/// Runs `work` while one payload after the other is streamed, again until at least one was from its beginning to its end. Returns the
/// bytes that were, and how long it took.
fn while_streaming(
    companion: &mut Companion,
    bytes: usize,
    mut work: impl FnMut() -> Result<(), SessionError>,
) -> Result<(u64, u64), SessionError> {
    let (over, begun, moved) = (
        AtomicBool::new(false),
        AtomicBool::new(false),
        AtomicU64::new(0),
    );
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| {
            let streamed = (|| {
                while !over.load(Relaxed) {
                    stream(companion, bytes)?;
                    moved.fetch_add(bytes as u64, Relaxed);
                    begun.store(true, Release);
                }
                Ok(())
            })();
            begun.store(true, Release);
            streamed
        });
        while !begun.load(Acquire) {
            std::thread::yield_now();
        }
        let before = moved.load(Relaxed);
        let started_ns = now_ns();
        let mut worked = work();
        // Two ends of payloads: what was begun before the first is not counted as whole.
        let enough = before + 2 * bytes as u64;
        while worked.is_ok() && moved.load(Relaxed) < enough && !streaming.is_finished() {
            worked = work();
        }
        let taken_ns = now_ns() - started_ns;
        let moved = moved.load(Relaxed) - before;
        over.store(true, Relaxed);
        match streaming.join() {
            Ok(streamed) => streamed.and(worked).map(|()| (moved, taken_ns)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn stream(companion: &mut Companion, bytes: usize) -> Result<(), SessionError> {
    let length = (bytes as u64).to_le_bytes().to_vec();
    let ended = companion.invoke(&[("bytes".to_owned(), Payload::Bytes(length.clone()))])?;
    match ended.bytes("bytes")? {
        taken if taken == length => Ok(()),
        _ => Err(SessionError::Output {
            name: "bytes".to_owned(),
        }),
    }
}

/// Memory that a payload of the second workflow takes at its producer: one is made while the one before is still held.
#[must_use]
pub fn memory_mib(bytes: usize) -> u32 {
    let payloads_mib = (bytes as u64).saturating_mul(2).div_ceil(1 << 20);
    u32::try_from(payloads_mib + 64).unwrap_or(u32::MAX)
}

fn definition(bytes: usize) -> String {
    let executable = EXECUTABLES[1];
    let memory_mib = memory_mib(bytes);
    format!(
        "workflow: beside
input:
  bytes: bytes
nodes:
  make:
    function: {executable}:blank
    input: {{ bytes: input.bytes }}
    output: {{ payload: bytes }}
    resources: {{ memory_mib: {memory_mib}, scale: 1 }}
  take:
    function: {executable}:length
    input: {{ payload: make.payload }}
    output: {{ bytes: bytes }}
    resources: {{ memory_mib: 64, scale: 1 }}
output:
  bytes: take.bytes
"
    )
}

fn placement() -> BTreeMap<String, String> {
    let fixed = [("make", "local-1"), ("take", "local-2")];
    fixed
        .map(|(node, worker)| (node.to_owned(), worker.to_owned()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_workflow_is_one_that_the_master_takes() {
        let definition = definition(1 << 30);
        let parsed = master::definition::parse("beside.yaml", definition.as_bytes()).unwrap();
        assert_eq!(parsed.nodes.len(), placement().len());
    }

    #[test]
    fn a_payload_and_the_one_before_it_fit() {
        assert_eq!(memory_mib(1 << 30), 2048 + 64);
        assert_eq!(memory_mib(usize::MAX), u32::MAX);
    }
}
