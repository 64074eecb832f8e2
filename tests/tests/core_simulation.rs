//! The trigger core against a plain reference, in simulated clusters: what it promises when all goes well, and what it
//! promises when anything goes wrong. Each test prints how many of its runs held each construct of the language.
//!
//! See [`faasflow_tests::cases`] for how to run one case again, or more of them.

use faasflow_tests::cases::{Cases, each_seed};
use faasflow_tests::random::Random;
use faasflow_tests::sim::{Bounds, Cluster, Faults, Scenario, Story, Tally};
use faasflow_tests::workflow::random::{Shape, Timeouts};

/// Plays `cases` seeds from `first`; `seen` says whether they were what the test is about, if all were played.
#[track_caller]
#[expect(clippy::print_stdout, reason = "shown by scripts/simulate")]
fn play(first: u64, cases: u64, bounds: Bounds, seen: impl FnOnce(&Tally) -> bool) {
    let mut tally = Tally::default();
    let played = each_seed(first, cases, |seed| {
        let mut random = Random::new(seed);
        let scenario = Scenario::random(&mut random, bounds);
        tally += Cluster::new(random, scenario).play();
    });
    println!("{tally:?}");
    assert!(played == Cases::Some || seen(&tally), "{tally:?}");
}

fn calm() -> Bounds {
    Bounds {
        shape: Shape {
            nodes_max: 12,
            attempts_max: 1,
            timeouts: Timeouts::Never,
        },
        workers_max: 4,
        lanes_max: 3,
        invocations_max: 8,
        faults: Faults::default(),
        story: Story::Steady,
    }
}

/// Functions that may be tried again, some of them with a timeout.
fn tried(attempts_max: u32, timeouts: Timeouts) -> Shape {
    Shape {
        attempts_max,
        timeouts,
        ..calm().shape
    }
}

#[test]
fn any_workflow_in_any_placement_and_order_ends_as_the_reference_says() {
    play(0, 3000, calm(), |seen| {
        let foreseen = seen.foreseen > 2_000 && seen.foreseen_choices > 50;
        let carried = seen.carried > 1_000 && seen.given > 1_000 && seen.started_early > 100;
        let full = seen.rooms > 1_000;
        seen.refused > 0 && foreseen && carried && full && seen.prepared > 1_000
    });
}

#[test]
fn no_worker_holds_more_of_an_invocation_than_is_proven_of_it() {
    let faults = Faults {
        failures: 60,
        deaths: 2,
        hangs: 10,
        ..Faults::default()
    };
    let bounds = Bounds {
        shape: tried(3, Timeouts::Sometimes),
        faults,
        invocations_max: 1,
        ..calm()
    };
    let mut tally = Tally::default();
    let played = each_seed(1_400_000, 3000, |seed| {
        let mut random = Random::new(seed);
        let mut scenario = Scenario::random(&mut random, bounds);
        scenario.declare(1);
        tally += Cluster::new(random, scenario).play();
    });
    assert!(
        played == Cases::Some || tally.looks > 50_000 && tally.full > 100,
        "{tally:?}"
    );
}

#[test]
fn a_door_lets_in_no_more_than_is_proven_however_late_answers_are_read() {
    let faults = Faults {
        failures: 60,
        hangs: 10,
        cancels: 2,
        ..Faults::default()
    };
    let bounds = Bounds {
        shape: tried(2, Timeouts::Sometimes),
        faults,
        workers_max: 1,
        invocations_max: 12,
        ..calm()
    };
    let mut tally = Tally::default();
    let played = each_seed(1_500_000, 2000, |seed| {
        let mut random = Random::new(seed);
        let mut scenario = Scenario::random(&mut random, bounds);
        // Whose turn it is among several, when one of them is short of memory, is not what this is about.
        if !scenario.has_replicas() {
            scenario.declare(random.between(1, 2) as u64);
            tally += Cluster::new(random, scenario).play();
        }
    });
    let (closed, for_answers) = tally.closed;
    assert!(
        played == Cases::Some || tally.looks > 20_000 && closed > 500 && for_answers > 5,
        "{tally:?}"
    );
}

/// Everything that the language has takes effect in one run of two hundred at least.
#[test]
fn whatever_the_language_has_takes_effect_as_the_reference_says() {
    let faults = Faults {
        failures: 90,
        hangs: 40,
        deaths: 2,
        cancels: 1,
        ..Faults::default()
    };
    let bounds = Bounds {
        shape: tried(4, Timeouts::Sometimes),
        faults,
        ..calm()
    };
    play(50_000, 3000, bounds, |seen| {
        let seldom = seen.constructs.below(seen.runs / 200);
        assert!(seldom.is_empty(), "too seldom: {seldom:?}");
        true
    });
}

#[test]
fn a_failure_is_tried_again_and_then_answered_with_its_node() {
    let faults = Faults {
        failures: 60,
        ..Faults::default()
    };
    let shape = tried(4, Timeouts::Never);
    let bounds = Bounds {
        shape,
        faults,
        ..calm()
    };
    play(100_000, 1000, bounds, |seen| {
        seen.retries > 0 && seen.failed > 0 && seen.late > 0
    });
}

#[test]
fn executors_that_die_hang_or_lie_cost_an_attempt_and_nothing_else() {
    let faults = Faults {
        hangs: 60,
        lies: 20,
        deaths: 10,
        replacements: 10,
        start_errors: 10,
        refused_executors: 100,
        ..Faults::default()
    };
    let shape = tried(5, Timeouts::Sometimes);
    let bounds = Bounds {
        shape,
        faults,
        ..calm()
    };
    play(200_000, 1000, bounds, |seen| {
        seen.retries > 0 && seen.timeouts > 0 && seen.failed > 0
    });
}

#[test]
fn what_cannot_be_taken_in_is_answered_and_leaves_nothing_behind() {
    let faults = Faults {
        refused_payloads: 20,
        lost_payloads: 20,
        wrong_inputs: 200,
        failures: 5,
        ..Faults::default()
    };
    let bounds = Bounds { faults, ..calm() };
    play(300_000, 1000, bounds, |seen| {
        seen.refused > 0 && seen.failed > 0 && seen.lost > 0
    });
}

#[test]
fn an_event_that_comes_twice_has_no_effect_twice() {
    let faults = Faults {
        doubles: 200,
        ..Faults::default()
    };
    let bounds = Bounds { faults, ..calm() };
    play(350_000, 1000, bounds, |seen| seen.late > 0);
}

#[test]
fn a_client_that_cancels_at_any_moment_gets_one_answer_and_leaves_nothing_behind() {
    let faults = Faults {
        failures: 20,
        hangs: 40,
        cancels: 8,
        ..Faults::default()
    };
    let bounds = Bounds {
        shape: tried(3, Timeouts::Sometimes),
        faults,
        story: Story::Upgrades,
        ..calm()
    };
    play(450_000, 3000, bounds, |seen| {
        let all = seen.cancelled > 1_000 && seen.cancels_dropped > 100;
        let told = seen.told_returned > 500 && seen.told_killed > 100;
        all && told && seen.well > 1_000 && seen.failed > 100 && seen.late > 0
    });
}

#[test]
fn a_newer_version_takes_over_while_invocations_end_on_the_one_they_began_with() {
    let bounds = Bounds {
        story: Story::Upgrades,
        ..calm()
    };
    play(400_000, 1000, bounds, |seen| {
        seen.well > 0 && seen.refused > 0
    });
}

/// The seed that has shown it: an executor waited for ever for room that never came back.
#[test]
fn what_is_copied_in_is_not_taken_for_room_that_comes_back() {
    let bounds = Bounds {
        story: Story::Upgrades,
        ..calm()
    };
    play(401_997, 1, bounds, |_| true);
}

#[test]
fn upgrades_amid_failures_leave_nothing_behind() {
    let faults = Faults {
        failures: 20,
        hangs: 20,
        deaths: 5,
        refused_executors: 50,
        ..Faults::default()
    };
    let bounds = Bounds {
        shape: tried(3, Timeouts::Sometimes),
        faults,
        story: Story::Upgrades,
        ..calm()
    };
    play(500_000, 1000, bounds, |seen| {
        seen.retries > 0 && seen.failed > 0
    });
}

#[test]
fn a_broken_connection_leaves_no_client_without_an_answer() {
    let faults = Faults {
        breaks: 10,
        ..Faults::default()
    };
    let bounds = Bounds { faults, ..calm() };
    play(600_000, 3000, bounds, |seen| {
        seen.failed > 0 && seen.refused > 0 && seen.late > 0
    });
}

#[test]
fn a_worker_that_dies_takes_nothing_with_it_but_its_own_clients() {
    let faults = Faults {
        crashes: 3,
        ..Faults::default()
    };
    let bounds = Bounds { faults, ..calm() };
    play(700_000, 3000, bounds, |seen| {
        seen.failed > 0 && seen.cut > 0 && seen.well > 0
    });
}

#[test]
fn everything_at_once() {
    let faults = Faults {
        failures: 20,
        hangs: 20,
        lies: 5,
        deaths: 5,
        replacements: 3,
        refused_executors: 30,
        start_errors: 5,
        refused_payloads: 2,
        lost_payloads: 10,
        doubles: 10,
        wrong_inputs: 30,
        breaks: 3,
        crashes: 1,
        cancels: 1,
    };
    let bounds = Bounds {
        shape: tried(4, Timeouts::Sometimes),
        faults,
        story: Story::Upgrades,
        ..calm()
    };
    play(800_000, 3000, bounds, |seen| {
        let others = seen.refused > 0 && seen.cut > 0 && seen.cancelled > 0 && seen.lost > 0;
        seen.well > 0 && seen.failed > 0 && others
    });
}
