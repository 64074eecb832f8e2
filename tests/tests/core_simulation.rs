//! The trigger core against a plain reference, in simulated clusters: what it promises when all goes well, and what it
//! promises when anything goes wrong.
//!
//! See [`faasflow_tests::cases`] for how to run one case again, or more of them.

use faasflow_tests::cases::each_seed;
use faasflow_tests::random::Random;
use faasflow_tests::sim::{Bounds, Cluster, Faults, Scenario, Story, Tally};
use faasflow_tests::workflow::{Shape, Timeouts};

const SHAPE: Shape = Shape {
    nodes_max: 12,
    attempts_max: 1,
    timeouts: Timeouts::Never,
};

const CALM: Bounds = Bounds {
    shape: SHAPE,
    workers_max: 4,
    lanes_max: 3,
    invocations_max: 8,
    faults: Faults {
        failures: 0,
        hangs: 0,
        lies: 0,
        deaths: 0,
        refused_executors: 0,
        start_errors: 0,
        refused_payloads: 0,
        wrong_inputs: 0,
        breaks: 0,
        crashes: 0,
    },
    story: Story::Steady,
};

fn play(first: u64, cases: u64, bounds: Bounds) -> Tally {
    let mut tally = Tally::default();
    each_seed(first, cases, |seed| {
        let mut random = Random::new(seed);
        let scenario = Scenario::random(&mut random, bounds);
        tally += Cluster::new(random, scenario).play();
    });
    println!("{tally:?}");
    tally
}

#[test]
fn any_workflow_in_any_placement_and_order_ends_as_the_reference_says() {
    let tally = play(0, 1500, CALM);
    assert!(tally.failed == 0 && tally.cut == 0);
}

#[test]
fn a_failure_is_tried_again_and_then_answered_with_its_node() {
    let faults = Faults {
        failures: 60,
        ..CALM.faults
    };
    play(
        100_000,
        800,
        Bounds {
            shape: Shape {
                attempts_max: 4,
                ..SHAPE
            },
            faults,
            ..CALM
        },
    );
}

#[test]
fn executors_that_die_hang_or_lie_cost_an_attempt_and_nothing_else() {
    let faults = Faults {
        hangs: 60,
        lies: 20,
        deaths: 10,
        start_errors: 10,
        refused_executors: 100,
        ..CALM.faults
    };
    let shape = Shape {
        attempts_max: 5,
        timeouts: Timeouts::Sometimes,
        ..SHAPE
    };
    play(
        200_000,
        800,
        Bounds {
            shape,
            faults,
            ..CALM
        },
    );
}

#[test]
fn what_cannot_be_taken_in_is_answered_and_leaves_nothing_behind() {
    let faults = Faults {
        refused_payloads: 20,
        wrong_inputs: 200,
        failures: 5,
        ..CALM.faults
    };
    play(300_000, 600, Bounds { faults, ..CALM });
}

#[test]
fn a_newer_version_takes_over_while_invocations_end_on_the_one_they_began_with() {
    let tally = play(
        400_000,
        800,
        Bounds {
            story: Story::Upgrades,
            ..CALM
        },
    );
    assert!(tally.failed == 0 && tally.cut == 0);
}

#[test]
fn upgrades_amid_failures_leave_nothing_behind() {
    let faults = Faults {
        failures: 20,
        hangs: 20,
        deaths: 5,
        refused_executors: 50,
        ..CALM.faults
    };
    let shape = Shape {
        attempts_max: 3,
        timeouts: Timeouts::Sometimes,
        ..SHAPE
    };
    play(
        500_000,
        600,
        Bounds {
            shape,
            faults,
            story: Story::Upgrades,
            ..CALM
        },
    );
}

#[test]
fn a_broken_connection_leaves_no_client_without_an_answer() {
    let faults = Faults {
        breaks: 10,
        ..CALM.faults
    };
    play(600_000, 1000, Bounds { faults, ..CALM });
}

#[test]
fn a_worker_that_dies_takes_nothing_with_it_but_its_own_clients() {
    let faults = Faults {
        crashes: 3,
        ..CALM.faults
    };
    play(700_000, 1000, Bounds { faults, ..CALM });
}

#[test]
fn everything_at_once() {
    let faults = Faults {
        failures: 20,
        hangs: 20,
        lies: 5,
        deaths: 5,
        refused_executors: 30,
        start_errors: 5,
        refused_payloads: 2,
        wrong_inputs: 30,
        breaks: 3,
        crashes: 1,
    };
    let shape = Shape {
        attempts_max: 4,
        timeouts: Timeouts::Sometimes,
        ..SHAPE
    };
    play(
        800_000,
        1500,
        Bounds {
            shape,
            faults,
            story: Story::Upgrades,
            ..CALM
        },
    );
}
