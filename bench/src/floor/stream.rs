//! A bare TCP stream over loopback: a payload from one process's memory into another's, which then sums it.
//!
//! Blocking sockets and nothing else. The sender has just written its memory when it begins, as a producer has; the receiver
//! has memory for the whole payload, since a function wants it in one piece.
//!
//! ```text
//! sender      bytes (8), request (8)   payload ...                               payload ...
//! receiver                                         arrived (8), summed (8), sum (8)          ...
//! ```

use super::board::Board;
use super::partner::{Partner, Role};
use super::tcp::await_port;
use super::{FloorError, PATIENCE_NS, histogram, private_memory, sum_bytes};
use crate::clock::now_ns;
use crate::cpu;
use hdrhistogram::Histogram;
use memmap2::MmapMut;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

/// Bytes of a read and a write that are tried.
const REQUEST_BYTES: [usize; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Rounds of each size of a request that are not counted: they fault pages in, and open the connection's window.
const WARM_UP_ROUNDS: usize = 2;
/// Words of 64 bits that tell the receiver what comes, and of its answer.
const CALL_WORDS: usize = 2;
const ANSWER_WORDS: usize = 3;

/// A bare stream, by its best size of a request.
#[derive(Clone, Debug)]
pub struct Stream {
    /// From just before the first write until the last byte had been received.
    pub arrived: Histogram<u64>,
    /// Until the receiver had summed all.
    pub summed: Histogram<u64>,
    /// Bytes of a read and a write.
    pub request_bytes: usize,
}

impl Stream {
    /// With another turn of the same stream. The size of a request is that of the better one.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        if other.median() < self.median() {
            self.request_bytes = other.request_bytes;
        }
        self.arrived += &other.arrived;
        self.summed += &other.summed;
        self
    }

    fn median(&self) -> u64 {
        self.arrived.value_at_quantile(0.5)
    }
}

/// The time that `bytes` bytes take from private memory, just written on `cpu_a`, to a process on `cpu_b`, which may be the
/// same CPU. Each size of a request has `rounds` rounds; the best by its median counts.
///
/// # Errors
/// If a CPU may not be used, there is not as much memory, the other process falls silent or sums up something else, or
/// loopback TCP is not to be had.
pub fn tcp_stream(
    cpu_a: usize,
    cpu_b: usize,
    bytes: usize,
    rounds: usize,
) -> Result<Stream, FloorError> {
    cpu::check(cpu_b)?;
    cpu::on(cpu_a, || {
        let mut memory = private_memory(bytes)?;
        let mut best: Option<Stream> = None;
        for request_bytes in request_sizes(bytes) {
            let stream = send_all(&mut memory, cpu_b, request_bytes, rounds)?;
            if best
                .as_ref()
                .is_none_or(|best| stream.median() < best.median())
            {
                best = Some(stream);
            }
        }
        Ok(best.unwrap_or_else(|| unreachable!("at least one size is tried")))
    })?
}

/// Those that are not above the payload, and at least one.
fn request_sizes(bytes: usize) -> Vec<usize> {
    let fitting = REQUEST_BYTES
        .into_iter()
        .filter(|request| *request <= bytes);
    let sizes: Vec<usize> = fitting.collect();
    if sizes.is_empty() {
        vec![bytes.max(1)]
    } else {
        sizes
    }
}

fn send_all(
    memory: &mut MmapMut,
    cpu: usize,
    request_bytes: usize,
    rounds: usize,
) -> Result<Stream, FloorError> {
    let send = FloorError::system("send a stream over loopback");
    let board = Board::create().map_err(FloorError::system("make the page of a floor"))?;
    let _partner = Partner::start(Role::Stream, cpu, &board, None)?;
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, await_port(&board)?));
    let mut stream = stream.map_err(FloorError::system("connect over loopback"))?;
    let mut found = Stream {
        arrived: histogram(),
        summed: histogram(),
        request_bytes,
    };
    let mut exchange = || -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS)))?;
        stream.set_write_timeout(Some(Duration::from_nanos(PATIENCE_NS)))?;
        stream.write_all(&to_bytes([memory.len() as u64, request_bytes as u64]))?;
        for round in 0..WARM_UP_ROUNDS + rounds {
            let fill = round as u8;
            memory.fill(fill);
            let before_ns = now_ns();
            for part in memory.chunks(request_bytes) {
                stream.write_all(part)?;
            }
            let [arrived_ns, summed_ns, sum] = words::<ANSWER_WORDS>(&mut stream)?;
            if sum != u64::from(fill) * memory.len() as u64 {
                return Err(io::Error::other("other bytes arrived than were sent"));
            }
            if round >= WARM_UP_ROUNDS {
                let since = |ns: u64| ns.saturating_sub(before_ns).max(1);
                found.arrived.saturating_record(since(arrived_ns));
                found.summed.saturating_record(since(summed_ns));
            }
        }
        Ok(())
    };
    exchange().map_err(send)?;
    Ok(found)
}

fn to_bytes<const WORDS: usize>(words: [u64; WORDS]) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn words<const WORDS: usize>(stream: &mut TcpStream) -> io::Result<[u64; WORDS]> {
    let mut words = [0; WORDS];
    for word in &mut words {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

/// The other side: receives and sums until the connection ends.
pub(super) fn answer(board: &Board) -> Result<(), FloorError> {
    let listen = "listen on loopback";
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(FloorError::system(listen))?;
    let address = listener.local_addr().map_err(FloorError::system(listen))?;
    let port = u32::from(address.port());
    board.lines().port.0.store(port, Release);
    let accepted = listener.accept();
    let (mut stream, _) = accepted.map_err(FloorError::system("accept over loopback"))?;
    let receive = FloorError::system("receive a stream over loopback");
    let [bytes, request_bytes] = words::<CALL_WORDS>(&mut stream).map_err(receive)?;
    let memory = private_memory(usize::try_from(bytes).unwrap_or(usize::MAX));
    let (mut memory, request_bytes) = (memory?, request_bytes.max(1) as usize);
    let mut receive_all = || -> io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            for part in memory.chunks_mut(request_bytes) {
                stream.read_exact(part)?;
            }
            let arrived_ns = now_ns();
            let sum = sum_bytes(&memory);
            stream.write_all(&to_bytes([arrived_ns, now_ns(), sum]))?;
        }
    };
    match receive_all() {
        // The sender is through.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            Ok(())
        }
        other => other.map_err(FloorError::system("receive a stream over loopback")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_has_a_size_of_a_request_that_is_not_above_it() {
        assert_eq!(request_sizes(64), [64]);
        assert_eq!(request_sizes(1 << 20), [64 << 10, 256 << 10, 1 << 20]);
        assert_eq!(request_sizes(256 << 20), REQUEST_BYTES);
    }
}
