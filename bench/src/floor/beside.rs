//! A round trip over loopback beside a bare TCP stream.
//!
//! The stream is what `write` and `read` of one thread each can do, on the two CPUs that are named. Beside it, on sockets of
//! their own, two further threads exchange 64 bytes: so that CPUs and the kernel's loopback are shared, and nothing else.

use super::board::Board;
use super::partner::{Partner, Role};
use super::tcp::{await_port, round_trips};
use super::{FloorError, PATIENCE_NS};
use crate::clock::now_ns;
use crate::cpu;
use hdrhistogram::Histogram;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, Release},
};
use std::time::Duration;

/// Bytes of one read; a stream is hardly faster with more.
const READ_BYTES: usize = 256 << 10;

/// What was measured beside a stream.
#[derive(Debug)]
pub struct Beside {
    /// Round trips of 64 bytes.
    pub round_trips: Histogram<u64>,
    /// What the stream moved meanwhile, in bytes per second.
    pub bytes_per_s: f64,
}

/// Exchanges 64 bytes between a thread on `cpu_a` and a process on `cpu_b`, `samples` times, while another thread on `cpu_a`
/// streams to another process on `cpu_b`, in writes of `write_bytes`.
///
/// # Errors
/// If a CPU may not be used, or the kernel refuses something.
pub fn tcp_beside(
    cpu_a: usize,
    cpu_b: usize,
    samples: u64,
    write_bytes: usize,
) -> Result<Beside, FloorError> {
    cpu::check(cpu_b)?;
    cpu::on(cpu_a, || {
        let boards = [Board::create(), Board::create()];
        let [sink, answer] = boards;
        let failed = FloorError::system("make the page of a floor");
        let (sink, answer) = sink.and_then(|sink| Ok((sink, answer?))).map_err(failed)?;
        let _sink = Partner::start(Role::Sink, cpu_b, &sink, None)?;
        let _answer = Partner::start(Role::Tcp, cpu_b, &answer, None)?;
        let (mut bulk, small) = (connect(&sink)?, connect(&answer)?);
        let (over, moved) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            // A thread that is started inherits the CPU of this one.
            let streaming = scope.spawn(|| {
                let source = vec![1; write_bytes.max(1)];
                while !over.load(Relaxed) {
                    push(&mut bulk, &source, 64 * source.len() as u64)?;
                    moved.fetch_add(64 * source.len() as u64, Relaxed);
                }
                Ok(())
            });
            let started_ns = now_ns();
            let round_trips = round_trips(small, samples);
            let taken_ns = now_ns() - started_ns;
            over.store(true, Relaxed);
            let streamed = match streaming.join() {
                Ok(streamed) => streamed,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            streamed.and(round_trips).map(|round_trips| Beside {
                round_trips,
                bytes_per_s: moved.load(Relaxed) as f64 * 1e9 / taken_ns.max(1) as f64,
            })
        })
    })?
}

fn connect(board: &Board) -> Result<TcpStream, FloorError> {
    let port = await_port(board)?;
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS)))?;
        Ok(stream)
    });
    connected.map_err(FloorError::system("connect over loopback"))
}

/// Says how much comes, sends it, and waits until it was read.
fn push(stream: &mut TcpStream, source: &[u8], bytes: u64) -> Result<(), FloorError> {
    let mut pushed = || {
        stream.write_all(&bytes.to_le_bytes())?;
        let mut left = bytes;
        while left > 0 {
            let part = left.min(source.len() as u64) as usize;
            stream.write_all(&source[..part])?;
            left -= part as u64;
        }
        stream.read_exact(&mut [0])
    };
    pushed().map_err(FloorError::system("stream over loopback"))
}

/// The other side: reads what is announced, says so, and begins anew until the connection ends.
pub(super) fn sink(board: &Board) -> Result<(), FloorError> {
    let listen = "listen on loopback";
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(FloorError::system(listen))?;
    let address = listener.local_addr().map_err(FloorError::system(listen))?;
    let port = u32::from(address.port());
    board.lines().port.0.store(port, Release);
    let accepted = listener.accept();
    let (mut stream, _) = accepted.map_err(FloorError::system("accept over loopback"))?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut head = [0; 8];
        match stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(FloorError::system("read over loopback")(error)),
        }
        let mut left = u64::from_le_bytes(head);
        let mut drained = || {
            while left > 0 {
                let most = left.min(READ_BYTES as u64) as usize;
                let read = stream.read(&mut buffer[..most])?;
                if read == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                left -= read as u64;
            }
            stream.write_all(&[1])
        };
        drained().map_err(FloorError::system("read over loopback"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// The other side as a thread: tests are not the program that it is a process of.
    fn with_sink(work: impl FnOnce(TcpStream)) {
        let board = Board::create().unwrap();
        let there = Board::open(board.descriptor().unwrap()).unwrap();
        let thread = thread::spawn(move || sink(&there));
        work(connect(&board).unwrap());
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn a_push_ends_when_all_was_read() {
        with_sink(|mut stream| {
            for bytes in [0, 1, 100, 1_000_000] {
                push(&mut stream, &[7; 4096], bytes).unwrap();
            }
        });
    }

    #[test]
    fn a_sink_that_is_gone_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        let error = push(&mut stream, &[7; 4096], 1 << 20).unwrap_err();
        let FloorError::System { error, .. } = error else {
            panic!("{error}")
        };
        assert!(
            [
                ErrorKind::BrokenPipe,
                ErrorKind::ConnectionReset,
                ErrorKind::UnexpectedEof
            ]
            .contains(&error.kind()),
            "{error}"
        );
    }
}
