//! A test of the simulation: each bug that is planted is found by the judges, and soon.

use faasflow_tests::random::Random;
use faasflow_tests::sim::{Bounds, Cluster, Faults, Sabotage, Scenario, Story};
use faasflow_tests::workflow::random::{Shape, Timeouts};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds among which a bug must be found.
const SEEDS: u64 = 400;
const FIRST: u64 = 900_000;

/// Where a panic came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Where {
    /// An assertion of the core's own, which no release has.
    Core,
    /// The simulation, or the reference.
    Judge,
}

thread_local! {
    static PANIC: Cell<Option<Where>> = const { Cell::new(None) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Notes where a panic of a planted bug comes from, instead of printing it; all others are printed as ever.
fn note_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            return usual(info);
        }
        let judge = info
            .location()
            .is_some_and(|place| !place.file().contains("engine"));
        PANIC.set(Some(if judge { Where::Judge } else { Where::Core }));
    }));
}

fn play(seed: u64, sabotage: Option<Sabotage>) -> Option<Where> {
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
            ..Faults::default()
        },
        story: Story::Steady,
    };
    PANIC.set(None);
    QUIET.set(true);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut random = Random::new(seed);
        let mut scenario = Scenario::random(&mut random, bounds);
        scenario.sabotage = sabotage;
        Cluster::new(random, scenario).play();
    }));
    QUIET.set(false);
    assert_eq!(played.is_err(), PANIC.get().is_some());
    PANIC.get()
}

#[test]
fn every_planted_bug_is_found() {
    note_panics();
    let mut missed = Vec::new();
    for sabotage in Sabotage::ALL {
        let mut seeds = FIRST..FIRST + SEEDS;
        let found = seeds.find(|seed| play(*seed, Some(sabotage)) == Some(Where::Judge));
        match found {
            Some(seed) => println!("{sabotage:?}: found by seed {}", seed - FIRST + 1),
            None => missed.push(sabotage),
        }
    }
    for seed in FIRST..FIRST + SEEDS {
        assert_eq!(play(seed, None), None, "seed {seed} without any bug");
    }
    assert_eq!(missed, [], "not found within {SEEDS} seeds");
}
