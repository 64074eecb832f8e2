//! A bare TCP round trip over loopback: blocking sockets, 64 bytes each way, TCP_NODELAY.

use super::board::Board;
use super::partner::{Partner, Role};
use super::{FloorError, PATIENCE_NS, histogram, with_warm_up};
use crate::clock::now_ns;
use crate::cpu;
use hdrhistogram::Histogram;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

const MESSAGE_BYTES: usize = 64;

/// The time from just before 64 bytes are written on `cpu_a` until as many have come back from a process that blocks in
/// `read` on `cpu_b`, which may be the same.
///
/// # Errors
/// If a CPU may not be used, the other process cannot be started or falls silent, or loopback TCP is not to be had.
pub fn tcp_round_trip(
    cpu_a: usize,
    cpu_b: usize,
    samples: u64,
) -> Result<Histogram<u64>, FloorError> {
    cpu::check(cpu_b)?;
    cpu::on(cpu_a, || {
        let board = Board::create().map_err(FloorError::system("make the page of a floor"))?;
        let _partner = Partner::start(Role::Tcp, cpu_b, &board, None)?;
        let port = await_port(&board)?;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        round_trips(
            stream.map_err(FloorError::system("connect over loopback"))?,
            samples,
        )
    })?
}

pub(super) fn await_port(board: &Board) -> Result<u16, FloorError> {
    let give_up_ns = now_ns() + PATIENCE_NS;
    loop {
        let port = board.lines().port.0.load(Acquire);
        if port != 0 {
            return Ok(port as u16);
        }
        if now_ns() > give_up_ns {
            return Err(FloorError::Silent);
        }
        // On one CPU, the other process needs it.
        std::thread::yield_now();
    }
}

pub(super) fn round_trips(
    mut stream: TcpStream,
    samples: u64,
) -> Result<Histogram<u64>, FloorError> {
    let exchange = "exchange 64 bytes over loopback";
    stream
        .set_nodelay(true)
        .map_err(FloorError::system(exchange))?;
    stream
        .set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS)))
        .map_err(FloorError::system(exchange))?;
    let mut latency = histogram();
    let mut message = [0; MESSAGE_BYTES];
    let (rounds, warm_up) = with_warm_up(samples);
    for round in 1..=rounds {
        let before_ns = now_ns();
        let exchanged = stream
            .write_all(&message)
            .and_then(|()| stream.read_exact(&mut message));
        let taken_ns = now_ns() - before_ns;
        exchanged.map_err(FloorError::system(exchange))?;
        if round > warm_up {
            latency.saturating_record(taken_ns);
        }
    }
    Ok(latency)
}

/// The other side: sends everything back until the connection ends.
pub(super) fn answer(board: &Board) -> Result<(), FloorError> {
    let listen = "listen on loopback";
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(FloorError::system(listen))?;
    let address = listener.local_addr().map_err(FloorError::system(listen))?;
    board
        .lines()
        .port
        .0
        .store(u32::from(address.port()), Release);
    let (mut stream, _) = listener
        .accept()
        .map_err(FloorError::system("accept over loopback"))?;
    stream
        .set_nodelay(true)
        .map_err(FloorError::system("set TCP_NODELAY"))?;
    let mut message = [0; MESSAGE_BYTES];
    loop {
        match stream
            .read_exact(&mut message)
            .and_then(|()| stream.write_all(&message))
        {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                return Ok(());
            }
            Err(error) => {
                return Err(FloorError::System {
                    what: "answer over loopback",
                    error,
                });
            }
        }
    }
}
