//! The tiers `inline`, `shared` and `peer`: a chain of functions that sum what they get, through workers and executors.

use super::row::{FloorRow, Found, Kind, Measured, Part, median};
use super::{Options, PayloadError};
use crate::chain::{Stop, Work};
use crate::chain_session::{Answer, ChainSession, EXECUTABLES};
use crate::floor::{self, Pages, Stream};
use crate::hop::{self, HopError, PAYLOAD_BYTES};
use crate::hop_floor::HopFloor;
use crate::hop_payload;
use crate::process::Stopped;
use crate::report::FloorSum;
use crate::run;
use crate::stamp::Load;
use engine::plan::Limits;
use engine::plan_check::INLINE_BYTES_MAX;
use engine::wire::Tier;
use hdrhistogram::Histogram;
use master::local::Between;

/// Turns that product and floors take.
const ROUNDS: u64 = 4;
/// Nodes of a chain, and of one with payloads above a MiB.
const NODES: usize = 33;
const NODES_LARGE: usize = 9;
/// Transfers of a slot that a turn of the floor of wakes counts; wakes are a twentieth of it.
const WAKE_SAMPLES: u64 = 4_000;
/// Streams of each size of a request that a turn has at most.
const STREAMS_MAX: u64 = 100;
/// How much more than a cache holds is written so that it holds nothing else.
const CACHES_WRITTEN: usize = 2;

/// What was taken of many payloads.
struct Taken {
    /// Until the consumer was entered.
    entry: Histogram<u64>,
    /// From then on, until it had summed all.
    read: Histogram<u64>,
    /// Both.
    whole: Histogram<u64>,
}

impl Taken {
    fn new() -> Self {
        Self {
            entry: floor::histogram(),
            read: floor::histogram(),
            whole: floor::histogram(),
        }
    }

    fn record(&mut self, answer: &Answer) {
        for (stop, collection) in answer.collections.iter().enumerate() {
            // What the chain's first node has read is the client's, and came by no hop.
            let reads = collection.reads_ns.iter().skip(usize::from(stop == 0));
            for (entry_ns, read_ns) in collection.hops_ns.iter().zip(reads) {
                self.entry.saturating_record(*entry_ns);
                self.read.saturating_record(*read_ns);
                self.whole.saturating_record(entry_ns + read_ns);
            }
        }
    }
}

fn hop_options(options: &Options, workers: usize, bytes: usize) -> hop::Options {
    hop::Options {
        between: Between::Network,
        workers,
        wait: options.wait,
        executors: if workers == 1 { "spread" } else { "auto" }.to_owned(),
        payload_bytes: bytes,
        samples: options.samples(bytes),
        nodes: if bytes > 1 << 20 { NODES_LARGE } else { NODES },
        beside: None,
    }
}

/// Why payloads so large cannot be measured, if so.
fn too_large(options: &hop::Options) -> Result<Option<String>, PayloadError> {
    match hop::check_memory(options) {
        Ok(()) => Ok(None),
        Err(error @ HopError::Memory { .. }) => Ok(Some(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Invocations of a turn that make so many samples in all.
fn per_turn(samples: u64, hops: u64) -> u64 {
    samples.div_ceil(hops).div_ceil(ROUNDS)
}

fn check_tiers(
    session: &mut ChainSession,
    load: Load,
    kind: Kind,
    wanted: Tier,
) -> Result<(), PayloadError> {
    let found = session.tiers(load)?;
    let elsewhere = found.iter().find(|tier| **tier != wanted);
    if elsewhere.is_none() && !found.is_empty() {
        return Ok(());
    }
    Err(PayloadError::Elsewhere {
        tier: kind,
        bytes: load.payload_bytes,
        found: elsewhere.map_or("no tier".to_owned(), |tier| {
            format!("{tier:?}").to_lowercase()
        }),
    })
}

/// Everything that must stand still while a floor is measured.
fn pids(session: &ChainSession, answer: &Answer) -> Vec<u32> {
    let executors = answer.collections.iter().map(|collection| collection.pid);
    session.worker_pids().into_iter().chain(executors).collect()
}

/// A tier between two workers.
pub(super) fn across(
    options: &Options,
    kind: Kind,
    bytes: usize,
) -> Result<Measured, PayloadError> {
    let (wanted, inline_bytes_max) = match kind {
        Kind::Inline => (Tier::Inline, bytes as u64),
        _ => (Tier::Peer, 0),
    };
    let Some(inline_bytes_max) = u32::try_from(inline_bytes_max)
        .ok()
        .filter(|inline| *inline <= INLINE_BYTES_MAX)
    else {
        let why = format!("a state event takes payloads up to {INLINE_BYTES_MAX} bytes");
        return Ok(Measured::Skipped(why));
    };
    let hop_options = hop_options(options, 2, bytes);
    if let Some(why) = too_large(&hop_options)? {
        return Ok(Measured::Skipped(why));
    }
    let chain = hop::chain(&hop_options, "payload", Work::StampAndRead);
    let limits = Limits {
        inline_bytes_max,
        ..Limits::default()
    };
    let invocations = per_turn(hop_options.samples, chain.hops());
    let load = Load::payload(bytes);
    let mut session = ChainSession::start_within(&hop::layout(&hop_options), chain, limits)?;
    let (_, answer) = run::cold(&mut session, load)?;
    check_tiers(&mut session, load, kind, wanted)?;
    let sites = session.sites(&answer)?;
    let pids = pids(&session, &answer);
    let mut wakes = HopFloor::of_wakes(&sites, options.wait);
    let mut stream: Option<Stream> = None;
    let mut taken = Taken::new();
    run::warm_up(&mut session, load, 0)?;
    let streams = hop_options.samples.div_ceil(ROUNDS).min(STREAMS_MAX) as usize;
    for round in 0..ROUNDS as usize {
        {
            let _stopped = Stopped::stop(pids.clone());
            wakes.measure(WAKE_SAMPLES)?;
            let (from, to) = (sites[round % 2], sites[(round + 1) % 2]);
            let more = floor::tcp_stream(from.lane_cpu, to.lane_cpu, bytes, streams)?;
            stream = Some(match stream {
                None => more,
                Some(before) => before.plus(&more),
            });
        }
        for _ in 0..invocations {
            taken.record(&session.invoke(load)?);
        }
    }
    let stream = stream.unwrap_or_else(|| unreachable!("there is a round"));
    let wakes = wakes.sum();
    let floor = wakes.plus(&stream.summed, 1, 1);
    let entry_floor = wakes.plus(&stream.arrived, 1, 1);
    let how = format!("{} bytes at once", stream.request_bytes);
    let entry = Part::new(median(&taken.entry), entry_floor.p50_ns);
    let named = format!("wakes, and a TCP stream, {how}");
    Ok(Found::new(kind, bytes, taken.whole, floor, named)
        .part("entry", entry)
        .floor(FloorRow::new(
            "tcp_stream",
            bytes,
            &stream.arrived,
            Some(how),
        ))
        .measured())
}

/// Shared memory, between two executors of one worker on two CPUs.
pub(super) fn shared(options: &Options, bytes: usize) -> Result<Measured, PayloadError> {
    let hop_options = hop_options(options, 1, bytes);
    if let Some(why) = too_large(&hop_options)? {
        return Ok(Measured::Skipped(why));
    }
    let mut chain = hop::chain(&hop_options, "payload", Work::StampAndRead);
    let stop = |executable: &str| Stop {
        executable: executable.to_owned(),
        worker: None,
    };
    chain.stops = EXECUTABLES.map(stop).to_vec();
    let hops = chain.hops();
    let load = Load::payload(bytes);
    let mut session = ChainSession::start(&hop::layout(&hop_options), chain)?;
    run::cold(&mut session, load)?;
    let cpus = hop_payload::part(&mut session, load)?;
    check_tiers(&mut session, load, Kind::Shared, Tier::Shared)?;
    let answer = session.invoke(load)?;
    let sites = session.sites(&answer)?;
    let pids = pids(&session, &answer);

    let behind_bytes = behind(bytes);
    let written = Load {
        private_bytes: bytes,
        ..Load::payload(PAYLOAD_BYTES)
    };
    let evicted = Load {
        behind_bytes,
        ..load
    };
    let cold_samples = options.samples(bytes + behind_bytes);
    let turns = [
        (load, per_turn(hop_options.samples, hops)),
        (written, per_turn(hop_options.samples, hops)),
        (evicted, per_turn(cold_samples, hops)),
    ];
    let mut taken = turns.map(|_| Taken::new());
    // Private memory is made and touched when it is first asked for.
    for (load, _) in turns {
        session.invoke(load)?;
    }
    run::warm_up(&mut session, load, 0)?;
    let mut wakes = HopFloor::of_wakes(&sites, options.wait);
    let (mut warm, mut cold) = (floor::histogram(), floor::histogram());
    let mut copy = floor::histogram();
    for round in 0..ROUNDS as usize {
        {
            let _stopped = Stopped::stop(pids.clone());
            let (writer, reader) = (cpus[round % 2], cpus[(round + 1) % 2]);
            wakes.measure(WAKE_SAMPLES)?;
            // Memory of its own every time: where pages happen to lie decides how well caches hold them.
            warm += floor::read_private(bytes, Pages::Ordinary, writer, reader)?;
            cold += floor::read_cold(bytes, behind_bytes, writer, reader)?;
            copy += floor::copy_private(bytes, Pages::Ordinary, writer, reader)?;
        }
        for ((load, invocations), taken) in turns.iter().zip(&mut taken) {
            for _ in 0..*invocations {
                taken.record(&session.invoke(*load)?);
            }
        }
    }
    let [payload, written, evicted] = taken;
    let floor: FloorSum = wakes.sum().plus(&warm, 1, 1);
    let how = "wakes, and private memory that the other CPU has just written".to_owned();
    Ok(Found::new(Kind::Shared, bytes, payload.whole, floor, how)
        .part("entry", Part::of(&payload.entry, &written.entry))
        .part("read", Part::of(&evicted.read, &cold))
        .floor(FloorRow::new("memory_read", bytes, &warm, None))
        .floor(FloorRow::new("memory_read_cold", bytes, &cold, None))
        .floor(FloorRow::new("memory_copy", bytes, &copy, None))
        .measured())
}

/// What is to be written behind a payload so that no cache holds it: nothing, if it is so large that it sees to that itself.
fn behind(bytes: usize) -> usize {
    let caches = CACHES_WRITTEN * floor::last_cache_bytes();
    if bytes >= caches { 0 } else { caches }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Collection;

    #[test]
    fn each_hop_goes_with_the_reading_of_its_own_payload() {
        let of = |hops_ns: &[u64], reads_ns: &[u64]| Collection {
            hops_ns: hops_ns.to_vec(),
            reads_ns: reads_ns.to_vec(),
            ..Collection::default()
        };
        let mut taken = Taken::new();
        taken.record(&Answer {
            latency_ns: 0,
            collections: vec![of(&[10], &[900, 1]), of(&[20, 30], &[2, 3])],
        });
        let wholes: Vec<u64> = taken
            .whole
            .iter_recorded()
            .map(|step| step.value_iterated_to())
            .collect();
        assert_eq!(wholes, [11, 22, 33]);
        assert_eq!((taken.read.max(), taken.entry.max()), (3, 30));
    }

    #[test]
    fn turns_have_all_samples_together() {
        assert_eq!(per_turn(1000, 32), 8);
        assert_eq!(per_turn(1, 8), 1);
    }
}
