//! What this machine costs, measured at start: a ring transfer, a futex wake on the same CPU and across, TCP.
//!
//! A few milliseconds each, bounded by a deadline, with code that owes nothing to the product. The figures go into the
//! status, choose where executors run (`--executors auto`) and how long an adaptive wait polls, and serve the
//! partitioner. They are medians: a neighbour's burst does not shift them.

use crate::status::Calibration;
use crossbeam::utils::CachePadded;
use rustix::thread::futex;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// Longest that one of the four figures may take. All together stay below 100 ms.
const FIGURE_TIME_MAX: Duration = Duration::from_millis(20);
/// Round trips timed together: one is too short for the clock.
const TRANSFERS_PER_SAMPLE: u64 = 100;
const RING_SAMPLES_MAX: usize = 50;
const WAKE_SAMPLES_MAX: usize = 40;
const TCP_SAMPLES_MAX: usize = 200;
/// Fewer samples are no measurement.
const SAMPLES_MIN: usize = 5;
/// Pause before a wake: long enough for the sleeper to sleep and its CPU to go idle.
const SETTLE: Duration = Duration::from_micros(300);

/// Measures on the first two of `cpus`; with one CPU, what needs two is left out.
#[must_use]
pub fn calibrate(cpus: &[u32]) -> Calibration {
    let start = Instant::now();
    let first = cpus.first().copied();
    let second = cpus.get(1).copied();
    let both = first.zip(second);
    Calibration {
        ring_transfer_ns: both.and_then(|(a, b)| ring_transfer(a, b)),
        wake_same_cpu_ns: first.and_then(|cpu| wake(cpu, cpu)),
        wake_across_cpus_ns: both.and_then(|(a, b)| wake(a, b)),
        tcp_one_way_ns: first.and_then(|a| tcp_one_way(a, second.unwrap_or(a))),
        took_ns: start.elapsed().as_nanos() as u64,
    }
}

fn pin(cpu: u32) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu as usize })
}

fn median(mut samples: Vec<u64>) -> Option<u64> {
    samples.sort_unstable();
    (samples.len() >= SAMPLES_MIN).then(|| samples[samples.len() / 2])
}

/// One way between two polling threads: a word each on a cache line of its own, half of a round trip.
fn ring_transfer(a: u32, b: u32) -> Option<u64> {
    let (there, back) = (
        CachePadded::new(AtomicU64::new(0)),
        CachePadded::new(AtomicU64::new(0)),
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if !pin(b) {
                return;
            }
            let mut next = 1;
            while !stop.load(Relaxed) {
                if there.load(Acquire) == next {
                    back.store(next, Release);
                    next += 1;
                }
                std::hint::spin_loop();
            }
        });
        let samples = scope.spawn(|| {
            let deadline = Instant::now() + FIGURE_TIME_MAX;
            let mut samples = Vec::with_capacity(RING_SAMPLES_MAX);
            let mut sequence = 0;
            while pin(a) && samples.len() < RING_SAMPLES_MAX {
                let start = Instant::now();
                for _ in 0..TRANSFERS_PER_SAMPLE {
                    sequence += 1;
                    there.store(sequence, Release);
                    let mut polls = 0u32;
                    while back.load(Acquire) != sequence {
                        std::hint::spin_loop();
                        polls = polls.wrapping_add(1);
                        if polls % 1024 == 0 && Instant::now() > deadline {
                            return samples;
                        }
                    }
                }
                samples.push(start.elapsed().as_nanos() as u64 / (2 * TRANSFERS_PER_SAMPLE));
            }
            samples
        });
        let samples = samples.join().unwrap_or_default();
        stop.store(true, Relaxed);
        median(samples)
    })
}

/// From just before a futex wake on CPU `waker` to its sleeper running on CPU `sleeper`.
fn wake(waker: u32, sleeper: u32) -> Option<u64> {
    const STOP: u32 = u32::MAX;
    let word = AtomicU32::new(0);
    let woken_at_ns = AtomicU64::new(0);
    let origin = Instant::now();
    let now_ns = || origin.elapsed().as_nanos() as u64;
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| {
            let mut samples = Vec::with_capacity(WAKE_SAMPLES_MAX);
            let mut seen = 0;
            while pin(sleeper) {
                while word.load(Acquire) == seen {
                    // Interrupted, changed meanwhile or woken: the loop looks again.
                    let _ = futex::wait(&word, futex::Flags::PRIVATE, seen, None);
                }
                let arrived_ns = now_ns();
                seen = word.load(Acquire);
                if seen == STOP {
                    break;
                }
                samples.push(arrived_ns.saturating_sub(woken_at_ns.load(Relaxed)));
            }
            samples
        });
        scope.spawn(|| {
            let deadline = Instant::now() + FIGURE_TIME_MAX;
            let pinned = pin(waker);
            for round in 1..=WAKE_SAMPLES_MAX as u32 {
                if !pinned || Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(SETTLE);
                woken_at_ns.store(now_ns(), Relaxed);
                word.store(round, Release);
                let _ = futex::wake(&word, futex::Flags::PRIVATE, 1);
            }
            std::thread::sleep(SETTLE);
            word.store(STOP, Release);
            let _ = futex::wake(&word, futex::Flags::PRIVATE, 1);
        });
        median(sleeping.join().unwrap_or_default())
    })
}

/// Half a round trip of 64 bytes over loopback, both sides blocking.
fn tcp_one_way(a: u32, b: u32) -> Option<u64> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let address = listener.local_addr().ok()?;
    std::thread::scope(|scope| {
        let caller = scope.spawn(move || tcp_round_trips(a, address).unwrap_or_default());
        scope.spawn(move || {
            pin(b);
            if let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.set_nodelay(true);
                let mut message = [0; 64];
                while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok()
                {
                }
            }
        });
        median(caller.join().unwrap_or_default()).map(|round_trip| round_trip / 2)
    })
}

fn tcp_round_trips(cpu: u32, address: std::net::SocketAddr) -> std::io::Result<Vec<u64>> {
    pin(cpu);
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(FIGURE_TIME_MAX))?;
    let deadline = Instant::now() + FIGURE_TIME_MAX;
    let mut message = [0; 64];
    let mut samples = Vec::with_capacity(TCP_SAMPLES_MAX);
    while samples.len() < TCP_SAMPLES_MAX && Instant::now() < deadline {
        let start = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        samples.push(start.elapsed().as_nanos() as u64);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::host::allowed_cpus;

    #[test]
    fn what_needs_two_cpus_is_left_out_on_one() {
        let figures = calibrate(&allowed_cpus()[..1]);
        assert_eq!(
            (figures.ring_transfer_ns, figures.wake_across_cpus_ns),
            (None, None)
        );
    }

    #[test]
    fn figures_are_there_or_absent_but_never_zero() {
        let figures = calibrate(&allowed_cpus());
        for figure in [
            figures.wake_same_cpu_ns,
            figures.wake_across_cpus_ns,
            figures.tcp_one_way_ns,
        ] {
            assert_ne!(figure, Some(0));
        }
        assert!(figures.took_ns > 0);
    }

    #[test]
    fn few_samples_are_no_measurement() {
        assert_eq!(median(vec![1, 2, 3]), None);
        assert_eq!(median(vec![9, 1, 5, 7, 3]), Some(5));
    }
}
