//! A test of the simulation: each bug that is planted is found by the judges, and soon.

use faasflow_tests::random::Random;
use faasflow_tests::sim::{Bounds, Cluster, Faults, Sabotage, Scenario, Story};
use faasflow_tests::workflow::random::{Shape, Timeouts};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::path::Path;

/// Seeds among which a bug must be found.
const SEEDS: u64 = 400;
const FIRST: u64 = 900_000;

/// What a run that panicked has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown {
    /// A judge of the simulation has found something, and says it.
    Finding(String),
    /// Something else gave up: an assertion of the core's own, which no release has, or the simulation for reasons of its
    /// own, as with an index out of bounds. A bug that shows in no other way is not found.
    Other(String),
}

thread_local! {
    static PANIC: RefCell<Option<Shown>> = const { RefCell::new(None) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Notes what a planted bug's panic shows, instead of printing it; all others are printed as ever.
fn note_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            return usual(info);
        }
        let judged = info.location().is_some_and(is_judgement);
        let said = info.to_string();
        PANIC.replace(Some(if judged {
            Shown::Finding(said)
        } else {
            Shown::Other(said)
        }));
    }));
}

/// Whether what stands at a place is a judgement: the simulation asserts or panics there in so many words. Whatever the
/// language itself checks, an index, an `expect` or a sum, stands for a mistake of the simulation.
fn is_judgement(place: &Location<'_>) -> bool {
    if !place.file().starts_with("tests/src/sim/") {
        return false;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(place.file());
    let source = std::fs::read_to_string(path).unwrap_or_default();
    let line = source.lines().nth(place.line() as usize - 1);
    let word = line.and_then(|line| line.get(place.column() as usize - 1..));
    word.is_some_and(|word| word.starts_with("assert") || word.starts_with("panic!("))
}

fn play(seed: u64, sabotage: Option<Sabotage>) -> Option<Shown> {
    let bounds = Bounds {
        shape: Shape {
            nodes_max: 12,
            attempts_max: 4,
            timeouts: Timeouts::Sometimes,
        },
        workers_max: 3,
        lanes_max: 2,
        invocations_max: 8,
        faults: Faults {
            failures: 100,
            hangs: 40,
            cancels: 1,
            ..Faults::default()
        },
        story: Story::Steady,
    };
    PANIC.take();
    QUIET.set(true);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut random = Random::new(seed);
        let mut scenario = Scenario::random(&mut random, bounds);
        scenario.sabotage = sabotage;
        Cluster::new(random, scenario).play();
    }));
    QUIET.set(false);
    let shown = PANIC.take();
    assert_eq!(played.is_err(), shown.is_some());
    shown
}

#[test]
fn every_planted_bug_is_found() {
    note_panics();
    let mut missed = Vec::new();
    for sabotage in Sabotage::ALL {
        let mut others = Vec::new();
        let found = (FIRST..FIRST + SEEDS).find(|seed| match play(*seed, Some(sabotage)) {
            Some(Shown::Finding(_)) => true,
            Some(Shown::Other(said)) => {
                others.push((*seed, said));
                false
            }
            None => false,
        });
        match found {
            Some(seed) => println!("{sabotage:?}: found by seed {seed}"),
            None => missed.push((sabotage, others)),
        }
    }
    for seed in FIRST..FIRST + SEEDS {
        assert_eq!(play(seed, None), None, "seed {seed} without any bug");
    }
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds, with what showed instead: {missed:#?}"
    );
}
