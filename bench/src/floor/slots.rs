//! 64-byte slots passed between two processes that spin: the floor of every message through shared memory.

use super::board::{Board, SlotLine};
use super::partner::{Partner, Role};
use super::{FloorError, PATIENCE_NS, histogram, with_warm_up};
use crate::clock::now_ns;
use crate::cpu;
use hdrhistogram::Histogram;
use std::convert::Infallible;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Spins between two looks at the clock by a side that may have lost the other.
const SPINS_PER_LOOK: u32 = 1 << 16;

/// The time that a 64-byte slot takes from a process spinning on `cpu_a` to one spinning on `cpu_b`: half of a round
/// trip, and with it half of one reading of the clock. `samples` round trips are counted.
///
/// # Errors
/// If the CPUs are one and the same or may not be used, or the other process cannot be started or falls silent.
pub fn slot_transfer(
    cpu_a: usize,
    cpu_b: usize,
    samples: u64,
) -> Result<Histogram<u64>, FloorError> {
    if cpu_a == cpu_b {
        return Err(FloorError::OneCpu { cpu: cpu_a });
    }
    cpu::check(cpu_b)?;
    cpu::on(cpu_a, || {
        let board = Board::create().map_err(FloorError::system("make the page of a floor"))?;
        let _partner = Partner::start(Role::Slots, cpu_b, &board, None)?;
        round_trips(&board, samples)
    })?
}

fn round_trips(board: &Board, samples: u64) -> Result<Histogram<u64>, FloorError> {
    let lines = board.lines();
    let mut one_way = histogram();
    let (rounds, warm_up) = with_warm_up(samples);
    let mut words = [0; 7];
    let mut before_ns = now_ns();
    for round in 1..=rounds {
        send(&lines.ping, round, &words);
        words = receive(&lines.pong, round)?;
        let now_ns = now_ns();
        if round > warm_up {
            one_way.saturating_record((now_ns - before_ns) / 2);
        }
        before_ns = now_ns;
    }
    Ok(one_way)
}

/// The other side: sends every slot back, for ever.
pub(super) fn answer(board: &Board) -> Result<(), FloorError> {
    let lines = board.lines();
    let answer_all = || -> Result<Infallible, FloorError> {
        for round in 1.. {
            let mut words = receive(&lines.ping, round)?;
            words[0] += 1;
            send(&lines.pong, round, &words);
        }
        unreachable!("fewer than 2^64 rounds")
    };
    answer_all().map(|_| ())
}

#[inline]
fn send(line: &SlotLine, sequence: u64, words: &[u64; 7]) {
    for (word, value) in line.words.iter().zip(words) {
        word.store(*value, Relaxed);
    }
    line.sequence.store(sequence, Release);
}

#[inline]
fn receive(line: &SlotLine, sequence: u64) -> Result<[u64; 7], FloorError> {
    let mut spins = 0;
    let mut give_up_ns = u64::MAX;
    while line.sequence.load(Acquire) != sequence {
        std::hint::spin_loop();
        spins += 1;
        if spins == SPINS_PER_LOOK {
            spins = 0;
            give_up_ns = look(give_up_ns)?;
        }
    }
    Ok(std::array::from_fn(|word| line.words[word].load(Relaxed)))
}

/// Sets the time to give up at the first look, and gives up when it has come.
#[cold]
fn look(give_up_ns: u64) -> Result<u64, FloorError> {
    let now_ns = now_ns();
    if now_ns > give_up_ns {
        Err(FloorError::Silent)
    } else {
        Ok(give_up_ns.min(now_ns + PATIENCE_NS))
    }
}
