//! What an executor says of the CPU time that an activation has taken, and of how long it would have taken alone.

use crate::engine::Engine;
use faasstore::binding::WaitStrategy::{Adaptive, Park, Spin};
use faasstore::descriptor::{Completion, CpuUse};
use std::path::Path;
use std::time::{Duration, Instant};

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// What was said of an activation, if anything.
fn measured(engine: &mut Engine, function: &str, way: &[u8]) -> Option<CpuUse> {
    let input = engine.payload(way);
    engine.activate(function, &[input]);
    ended(engine)
}

fn ended(engine: &mut Engine) -> Option<CpuUse> {
    let (completion, outputs) = engine.completion();
    engine.release(&outputs);
    let Completion::Done { cpu, .. } = completion else {
        panic!("it has not ended well: {completion:?}");
    };
    cpu
}

fn measuring(wait: faasstore::binding::WaitStrategy) -> Engine {
    let mut engine = Engine::start(wait);
    engine.measures = true;
    engine
}

/// Whether the kernel says how long threads wait for CPUs; if not, a line says that a test is left out.
fn waits_are_known() -> bool {
    let known = Path::new("/proc/thread-self/schedstat").exists();
    if !known {
        eprintln!("left out: this kernel has no /proc/thread-self/schedstat");
    }
    known
}

#[test]
fn what_spins_is_busy_and_what_sleeps_is_not_whatever_the_wait_strategy() {
    for wait in [Spin, Adaptive, Park] {
        let mut engine = measuring(wait);
        let slept = measured(&mut engine, "wait", b"nap").unwrap();
        assert!(slept.cpu_ns < slept.alone_ns / 3, "{wait:?}: {slept:?}");
        if waits_are_known() {
            let spun = measured(&mut engine, "burn", b"thread").unwrap();
            assert!(spun.cpu_ns > spun.alone_ns / 3 * 2, "{wait:?}: {spun:?}");
        }
        // What passes between activations, spinning or not, is neither's.
        std::thread::sleep(Duration::from_millis(100));
        let slept = measured(&mut engine, "wait", b"nap").unwrap();
        assert!(slept.cpu_ns < slept.alone_ns / 3, "{wait:?}: {slept:?}");
    }
}

#[test]
fn only_what_is_asked_for_and_ends_well_is_measured() {
    let mut engine = Engine::start(Adaptive);
    assert_eq!(measured(&mut engine, "burn", b"thread"), None);
    engine.measures = true;
    let input = engine.payload(b"fail");
    assert_eq!(
        engine.call("burn", &[input]).unwrap_err(),
        "Error: as asked for"
    );
    assert!(measured(&mut engine, "burn", b"thread").is_some());
    // It says so beside as many outputs as there may be, too: they are in a table.
    let inputs: Vec<_> = (0..9).map(|_| engine.payload(b"x")).collect();
    assert_eq!(engine.call("reverse", &inputs).unwrap().len(), 9);
    engine.measures = false;
    assert_eq!(measured(&mut engine, "burn", b"thread"), None);
}

#[test]
fn threads_and_processes_of_a_function_count() {
    let mut engine = measuring(Adaptive);
    let one = measured(&mut engine, "burn", b"thread").unwrap();
    let two = measured(&mut engine, "burn", b"threads").unwrap();
    assert!(two.cpu_ns > one.cpu_ns / 2 * 3, "{one:?} {two:?}");
    let idle = measured(&mut engine, "burn", b"idle process").unwrap();
    let busy = measured(&mut engine, "burn", b"process").unwrap();
    assert!(busy.cpu_ns > 4 * idle.cpu_ns, "{idle:?} {busy:?}");
    // What has gone is not counted again.
    let slept = measured(&mut engine, "wait", b"nap").unwrap();
    assert!(slept.cpu_ns < slept.alone_ns / 3, "{slept:?}");
}

#[test]
fn two_that_share_a_cpu_say_how_long_they_would_have_taken_alone() {
    if !waits_are_known() {
        return;
    }
    // All of these executors are bound to one CPU.
    let mut engines = [measuring(Park), measuring(Park)];
    let began = Instant::now();
    for engine in &mut engines {
        let input = engine.payload(b"thread");
        engine.activate("burn", &[input]);
    }
    let ended = engines.each_mut().map(|engine| ended(engine).unwrap());
    let took_ns = nanoseconds(began.elapsed());
    let cpu_ns: u64 = ended.iter().map(|one| one.cpu_ns).sum();
    assert!(took_ns > cpu_ns as f64 * 0.9, "they shared it: {ended:?}");
    for one in ended {
        let (cpu_ns, alone_ns) = (one.cpu_ns as f64, one.alone_ns as f64);
        assert!(
            (0.9..1.4).contains(&(alone_ns / cpu_ns)),
            "{one:?} of {took_ns} ns"
        );
        assert!(alone_ns < 0.7 * took_ns, "{one:?} of {took_ns} ns");
    }
}
