//! What the store's parts cost on this machine, apart from everything around them: a quick look while working on
//! them. Figures to rely on, with their floors and their spread, come from `faasflow-bench`.
//!
//! `cargo run --release -p faasstore --example costs [CPU CPU]`
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use faasstore::arena::{Arena, ArenaConfig};
use faasstore::binding::WaitStrategy;
use faasstore::channel::{EngineChannel, ExecutorChannel};
use faasstore::descriptor::{
    Activate, InvocationId, Message, NO_ITEM, OutputRef, PayloadRef, decode_completion,
    decode_request, encode_activate, encode_done,
};
use faasstore::segment::SegmentReader;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: u32 = 200_000;

fn pin(cpu: usize) -> Result<(), nix::Error> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn report(what: &str, began: Instant, count: u32) {
    println!(
        "{what:<68} {:>8.1} ns",
        began.elapsed().as_nanos() as f64 / f64::from(count)
    );
}

fn activation() -> Activate {
    Activate {
        node: 1,
        attempt: 1,
        invocation: InvocationId(1),
        activation: 7,
        item: NO_ITEM,
        deadline_ns: None,
        measure: false,
    }
}

fn channels() -> Result<(EngineChannel, ExecutorChannel), Box<dyn Error>> {
    let engine = Arc::new(EngineChannel::create_segment()?);
    let executor = Arc::new(ExecutorChannel::create_segment()?);
    let read = |segment: std::os::fd::BorrowedFd<'_>| -> Result<SegmentReader, Box<dyn Error>> {
        Ok(SegmentReader::open(segment.try_clone_to_owned()?)?)
    };
    let (engine_read, executor_read) = (read(engine.fd())?, read(executor.fd())?);
    let bell = EventFd::new()?;
    Ok((
        EngineChannel::connect(engine, executor_read, WaitStrategy::Spin)?,
        ExecutorChannel::connect(executor, engine_read, bell.into(), WaitStrategy::Spin, 0)?,
    ))
}

fn transfers(cpus: [usize; 2]) -> Result<(), Box<dyn Error>> {
    let (mut engine, mut executor) = channels()?;
    let input = PayloadRef {
        segment: 0,
        generation: 0,
        offset: 0,
        length: 64,
    };
    let echo = std::thread::spawn(move || -> Result<(), String> {
        pin(cpus[1]).map_err(|error| error.to_string())?;
        let (mut message, mut inputs) = (Message::default(), Vec::new());
        let mut done = Message::default();
        for _ in 0..2 * ROUNDS {
            executor.wait(None);
            if executor
                .pop(&mut message)
                .map_err(|error| error.to_string())?
            {
                let _ = black_box(decode_request(&message, &mut inputs));
            }
            encode_done(&mut done, 7, &[OutputRef::Empty], false);
            executor.push(&done).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    pin(cpus[0])?;
    let (mut message, mut outputs) = (Message::default(), Vec::new());
    let mut request = Message::default();
    for warm in [false, true] {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            encode_activate(&mut request, &activation(), &[input], false);
            engine.push(&request)?;
            while !engine.has_completion() {
                std::hint::spin_loop();
            }
            engine.pop(&mut message)?;
            black_box(decode_completion(&message, &mut outputs))?;
        }
        if warm {
            report(
                &format!("one way between CPUs {cpus:?}: encode, push, pop, decode"),
                began,
                2 * ROUNDS,
            );
        }
    }
    echo.join().map_err(|_| "the other thread panicked")??;
    Ok(())
}

fn on_one_cpu() -> Result<(), Box<dyn Error>> {
    let (mut engine, mut executor) = channels()?;
    let input = PayloadRef {
        segment: 0,
        generation: 0,
        offset: 0,
        length: 64,
    };
    let (mut message, mut inputs) = (Message::default(), Vec::new());
    let mut request = Message::default();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        encode_activate(&mut request, &activation(), &[input], false);
        engine.push(&request)?;
        executor.pop(&mut message)?;
        black_box(decode_request(&message, &mut inputs))?;
    }
    report("the same on one CPU: instructions alone", began, ROUNDS);

    let config = ArenaConfig {
        name: "costs".to_owned(),
        segment_bytes: 1 << 20,
        bytes_max: 1 << 24,
    };
    let mut arena = Arena::new(config);
    for bytes in [64, 100_000] {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let reservation = arena.reserve(bytes)?;
            let range = black_box(arena.commit(reservation, bytes));
            arena.release(range)?;
        }
        report(
            &format!("reserve, commit and release {bytes} bytes"),
            began,
            ROUNDS,
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let cpus: Vec<usize> = std::env::args()
        .skip(1)
        .map(|cpu| cpu.parse())
        .collect::<Result<_, _>>()?;
    let cpus = if let [one, other] = cpus[..] {
        [one, other]
    } else {
        [0, 1]
    };
    transfers(cpus)?;
    on_one_cpu()
}
