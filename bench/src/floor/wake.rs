//! Wakes of a sleeping process by futex and by eventfd: from just before the waker's system call until the sleeper's own
//! has returned.
//!
//! The waker goes to sleep as soon as it has woken, as a lane or an executor with nothing else to do would: on one CPU
//! that lets the sleeper run. The sleeper counts a wake only if it had really slept, which its count of voluntary
//! context switches tells.

use super::board::Board;
use super::partner::{Partner, Role};
use super::{FloorError, PATIENCE_NS, histogram, with_warm_up};
use crate::clock::{now_ns, spin_ns};
use crate::cpu;
use hdrhistogram::Histogram;
use nix::sys::eventfd::EventFd;
use nix::sys::resource::{UsageWho, getrusage};
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// From the sleeper's word that it is about to sleep until it does, on another CPU: several times a system call.
const SETTLE_NS: u64 = 4_000;
/// In place of a latency: the sleeper had not slept.
const NOT_SLEPT: u64 = u64::MAX;

/// The latency of a futex wake from a process on `waker_cpu` to one asleep on `sleeper_cpu`, which may be the same.
///
/// # Errors
/// If a CPU may not be used, or the other process cannot be started, falls silent or never sleeps.
pub fn futex_wake(
    waker_cpu: usize,
    sleeper_cpu: usize,
    samples: u64,
) -> Result<Histogram<u64>, FloorError> {
    cpu::check(sleeper_cpu)?;
    cpu::on(waker_cpu, || {
        let board = Board::create().map_err(FloorError::system("make the page of a floor"))?;
        let _partner = Partner::start(Role::Futex, sleeper_cpu, &board, None)?;
        wakes(&board, waker_cpu == sleeper_cpu, samples, |round| {
            board.lines().bell.0.store(round, Release);
            wake(&board.lines().bell.0)
        })
    })?
}

/// The latency of an eventfd's wake from a process on `waker_cpu` to one blocked in `read` on `sleeper_cpu`, which may be
/// the same.
///
/// # Errors
/// As [`futex_wake`].
pub fn eventfd_wake(
    waker_cpu: usize,
    sleeper_cpu: usize,
    samples: u64,
) -> Result<Histogram<u64>, FloorError> {
    cpu::check(sleeper_cpu)?;
    cpu::on(waker_cpu, || {
        let board = Board::create().map_err(FloorError::system("make the page of a floor"))?;
        let eventfd = EventFd::new()
            .map_err(io::Error::from)
            .map_err(FloorError::system("make an eventfd"))?;
        let eventfd = OwnedFd::from(eventfd);
        let _partner = Partner::start(Role::Eventfd, sleeper_cpu, &board, Some(&eventfd))?;
        wakes(&board, waker_cpu == sleeper_cpu, samples, |_| {
            let written =
                nix::unistd::write(&eventfd, &1_u64.to_ne_bytes()).map_err(io::Error::from);
            written
                .map(|_| ())
                .map_err(FloorError::system("write an eventfd"))
        })
    })?
}

/// The waker: one round for every sample.
fn wakes(
    board: &Board,
    one_cpu: bool,
    samples: u64,
    mut wake: impl FnMut(u32) -> Result<(), FloorError>,
) -> Result<Histogram<u64>, FloorError> {
    let lines = board.lines();
    let mut latency = histogram();
    let (rounds, warm_up) = with_warm_up(samples);
    for round in 1..=rounds {
        let round_word = round as u32;
        await_asleep(&lines.asleep.0, round_word, one_cpu)?;
        lines.stamp.0.store(now_ns(), Relaxed);
        wake(round_word)?;
        sleep_until(&lines.back.0, round_word)?;
        let taken_ns = lines.stamp.0.load(Relaxed);
        if round > warm_up && taken_ns != NOT_SLEPT {
            latency.saturating_record(taken_ns);
        }
    }
    if latency.is_empty() {
        Err(FloorError::NeverSlept { samples })
    } else {
        Ok(latency)
    }
}

fn await_asleep(asleep: &AtomicU32, round: u32, one_cpu: bool) -> Result<(), FloorError> {
    let give_up_ns = now_ns() + PATIENCE_NS;
    while asleep.load(Acquire) != round {
        if now_ns() > give_up_ns {
            return Err(FloorError::Silent);
        }
        if one_cpu {
            std::thread::yield_now();
        }
    }
    if !one_cpu {
        spin_ns(SETTLE_NS);
    }
    Ok(())
}

/// The sleeper on a futex, for ever.
pub(super) fn sleep_on_futex(board: &Board) -> Result<(), FloorError> {
    sleeps(board, |round| sleep_until(&board.lines().bell.0, round))
}

/// The sleeper on an eventfd, for ever.
pub(super) fn sleep_on_eventfd(board: &Board, eventfd: &OwnedFd) -> Result<(), FloorError> {
    let mut count = [0; 8];
    sleeps(board, |_| {
        let read = nix::unistd::read(eventfd, &mut count).map_err(io::Error::from);
        read.map(|_| ())
            .map_err(FloorError::system("read an eventfd"))
    })
}

fn sleeps(
    board: &Board,
    mut sleep: impl FnMut(u32) -> Result<(), FloorError>,
) -> Result<(), FloorError> {
    let lines = board.lines();
    let mut round: u32 = 0;
    loop {
        round = round.wrapping_add(1);
        let switches = voluntary_switches()?;
        lines.asleep.0.store(round, Release);
        sleep(round)?;
        let now_ns = now_ns();
        let slept = voluntary_switches()? > switches;
        let taken_ns = now_ns.saturating_sub(lines.stamp.0.load(Relaxed));
        lines
            .stamp
            .0
            .store(if slept { taken_ns } else { NOT_SLEPT }, Relaxed);
        lines.back.0.store(round, Release);
        wake(&lines.back.0)?;
    }
}

fn voluntary_switches() -> Result<i64, FloorError> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).map_err(io::Error::from);
    Ok(usage
        .map_err(FloorError::system("read context switches"))?
        .voluntary_context_switches())
}

fn wake(word: &AtomicU32) -> Result<(), FloorError> {
    let woken = futex::wake(word, Flags::empty(), 1).map_err(io::Error::from);
    woken
        .map(|_| ())
        .map_err(FloorError::system("wake a futex"))
}

/// Sleeps until `word` is `round`; it is the round before until then.
fn sleep_until(word: &AtomicU32, round: u32) -> Result<(), FloorError> {
    let patience = Timespec {
        tv_sec: (PATIENCE_NS / 1_000_000_000) as i64,
        tv_nsec: 0,
    };
    while word.load(Acquire) != round {
        match futex::wait(word, Flags::empty(), round.wrapping_sub(1), Some(&patience)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::TIMEDOUT) => return Err(FloorError::Silent),
            Err(error) => {
                return Err(FloorError::System {
                    what: "sleep on a futex",
                    error: error.into(),
                });
            }
        }
    }
    Ok(())
}
