//! The end of a measurement that measures: round trips of probes, then transfers in chunks as payloads travel, each twice as
//! long as the one before, until one is long enough to be judged by. So a slow link is not kept busy for long, and what TCP
//! needs to get up to speed is behind it when the last one begins.

use super::framed::{Broken, Framed};
use crate::wire::{
    CHUNK_BYTES_MAX, ChunkHead, Echo, FrameKind, LinkFigures, MEASURED_BYTES_MIN, Probe, WireError,
};
use std::time::{Duration, Instant};

/// Round trips that are not timed: those that wake everything that sleeps.
pub(super) const WARM_ROUND_TRIPS: u32 = 8;
/// Round trips that are timed however long they take, if so many are wished for.
const ROUND_TRIPS_MIN: u32 = 5;
/// No further round trip begins after so long.
const ROUND_TRIPS_TIME: Duration = Duration::from_millis(500);
/// A transfer that takes so long is judged by.
const TRANSFER_TIME: Duration = Duration::from_millis(250);
/// No further transfer begins after so long.
const TRANSFERS_TIME: Duration = Duration::from_millis(500);

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Round trips.
    pub(super) round_trips: u32,
    /// Bytes at most.
    pub(super) bytes: u64,
}

/// Measures a link.
///
/// # Errors
/// How the other end was lost, or what it did that it may not.
pub(super) fn measure(framed: &mut Framed, effort: Effort) -> Result<LinkFigures, Broken> {
    let mut near = Near {
        framed,
        next_number: 0,
        sent_bytes: 0,
        // Nothing that a link on the way could make shorter.
        raw: noise(CHUNK_BYTES_MAX),
    };
    let mut times_ns = near.round_trips(effort.round_trips)?;
    let (bytes, transfer_ns) = near.transfers(effort.bytes)?;
    framed.part();
    times_ns.sort_unstable();
    Ok(LinkFigures {
        round_trips: times_ns.len() as u32,
        latency_ns: times_ns[times_ns.len() / 2] / 2,
        bytes,
        transfer_ns,
    })
}

struct Near<'a> {
    framed: &'a mut Framed,
    next_number: u64,
    sent_bytes: u64,
    raw: Vec<u8>,
}

impl Near<'_> {
    fn probe(&mut self) -> Result<u64, Broken> {
        let number = self.next_number;
        self.next_number += 1;
        self.framed.send(&Probe::new(number))?;
        Ok(number)
    }

    fn echo(&mut self, number: u64) -> Result<Echo, Broken> {
        let header = self.framed.next()?.ok_or(Broken::Closed)?;
        if header.kind != FrameKind::Echo {
            return Err(WireError::Unexpected(header.kind).into());
        }
        let echo: Echo = self.framed.body(&header)?;
        if echo.number != number {
            return Err(Broken::Protocol("an echo out of its turn"));
        }
        Ok(echo)
    }

    /// Times of round trips in nanoseconds: one at least.
    fn round_trips(&mut self, wanted: u32) -> Result<Vec<u64>, Broken> {
        let began = Instant::now();
        let enough = wanted.min(ROUND_TRIPS_MIN) as usize;
        let mut times_ns = Vec::with_capacity(wanted as usize);
        for round in 0..WARM_ROUND_TRIPS + wanted {
            let late = began.elapsed() > ROUND_TRIPS_TIME;
            if late && times_ns.len() >= enough {
                break;
            }
            let sent = Instant::now();
            let number = self.probe()?;
            self.echo(number)?;
            // A link whose round trips are that long has nothing to warm up beside its first one.
            if round >= WARM_ROUND_TRIPS || (late && round > 0) {
                times_ns.push(sent.elapsed().as_nanos() as u64);
            }
        }
        Ok(times_ns)
    }

    /// Bytes of the last transfer, and how long it took in nanoseconds.
    fn transfers(&mut self, bytes_max: u64) -> Result<(u64, u64), Broken> {
        let began = Instant::now();
        let mut bytes = MEASURED_BYTES_MIN;
        loop {
            let took_ns = self.transfer(bytes)?;
            if took_ns >= TRANSFER_TIME.as_nanos() as u64
                || began.elapsed() >= TRANSFERS_TIME
                || self.sent_bytes + 2 * bytes > bytes_max
            {
                return Ok((bytes, took_ns));
            }
            bytes *= 2;
        }
    }

    /// Sends so many bytes between two probes; how long it took from the one to the other by the receiver's clock.
    fn transfer(&mut self, bytes: u64) -> Result<u64, Broken> {
        let began = Instant::now();
        let before = self.probe()?;
        let end = self.sent_bytes + bytes;
        while self.sent_bytes < end {
            let length = (end - self.sent_bytes).min(self.raw.len() as u64);
            let head = ChunkHead {
                transfer: 0,
                offset: self.sent_bytes,
            };
            self.framed.send_chunk(head, &self.raw[..length as usize])?;
            self.sent_bytes += length;
        }
        let behind = self.probe()?;
        let (first, last) = (self.echo(before)?, self.echo(behind)?);
        if last.received_bytes.checked_sub(first.received_bytes) != Some(bytes) {
            return Err(Broken::Protocol("an echo of other bytes than were sent"));
        }
        // Both probes were read within the time that passed here. Clocks do not run alike to the last digit.
        let here_ns = began.elapsed().as_nanos() as u64;
        match last.at_ns.checked_sub(first.at_ns) {
            Some(took_ns) if took_ns <= here_ns + here_ns / 64 => Ok(took_ns.max(1)),
            _ => Err(Broken::Protocol("an echo from another time")),
        }
    }
}

/// Bytes without a pattern (xorshift, Marsaglia 2003).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
