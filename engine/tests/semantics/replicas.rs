//! Deployments with several placements: which of them an invocation is given to, and what becomes of it there.

use super::yard::{Layout, Yard, placement_id};
use engine::plan::{Balance, Limits};
use engine::wire::Load;

/// A door without nodes, and two placements of one node, on workers 1 and 2.
const TWO: [&[usize]; 2] = [&[1], &[2]];
/// The same with three, on workers 1 to 3.
const THREE: [&[usize]; 3] = [&[1], &[2], &[3]];

fn two(balance: Balance) -> Yard {
    Yard::new(&Layout::new(3, &TWO, balance))
}

fn three(balance: Balance) -> Yard {
    Yard::new(&Layout::new(4, &THREE, balance))
}

/// A word that counts nothing that this door has given.
fn load(active: u16, executors: u16) -> Load {
    Load {
        active,
        executors,
        begun_next: 0,
    }
}

#[test]
fn in_turn_every_placement_gets_as_many_invocations_as_any_other() {
    let mut yard = three(Balance::RoundRobin);
    assert_eq!(yard.invoke_all(0, 7), [1, 2, 3, 1, 2, 3, 1]);
    yard.run();
    // Whatever lanes have to do.
    for (worker, number) in [(1, 1), (2, 2)] {
        yard.tell(0, worker, number, load(1000, 1));
    }
    assert_eq!(yard.invoke_all(0, 5), [2, 3, 1, 2, 3]);
    yard.run();
    assert_eq!(yard.shares(), [4, 4, 4]);
}

#[test]
fn doors_begin_with_different_placements() {
    let mut yard = three(Balance::RoundRobin);
    let first: Vec<_> = (0..4).map(|door| yard.invoke(door)).collect();
    assert_eq!(first, [Some(1), Some(2), Some(3), Some(1)]);
    yard.run();
}

#[test]
fn by_load_the_placement_with_the_least_to_do_for_each_executor_takes_an_invocation() {
    let mut yard = three(Balance::Load);
    yard.tell(0, 1, 1, load(9, 4));
    yard.tell(0, 2, 2, load(2, 1));
    yard.tell(0, 3, 3, load(5, 2));
    // One more would be the 10th of 4, the 3rd of 1, or the 6th of 2; then the 11th of 4; then all are equal, and turns decide.
    assert_eq!(yard.invoke_all(0, 5), [1, 1, 2, 3, 1]);
}

#[test]
fn equals_are_chosen_in_turn() {
    let mut yard = three(Balance::Load);
    for _ in 0..2 {
        for number in [1, 2, 3] {
            assert_eq!(yard.invoke(0), Some(number));
            yard.run();
        }
    }
}

#[test]
fn a_placement_is_as_full_as_its_fullest_lane() {
    let chains: [&[usize]; 2] = [&[1, 2], &[3]];
    let mut yard = Yard::new(&Layout::new(4, &chains, Balance::Load));
    yard.tell(0, 3, 2, load(3, 1));
    // Together more, but less at each.
    yard.tell(0, 1, 1, load(2, 1));
    yard.tell(0, 2, 1, load(2, 1));
    assert_eq!(yard.invoke(0), Some(1));
    // Idle at one, and stuck at the other.
    yard.tell(0, 1, 1, load(0, 1));
    yard.tell(0, 2, 1, load(9, 1));
    assert_eq!(yard.invoke(0), Some(2));
}

#[test]
fn a_door_knows_what_runs_and_waits_in_its_own_pools() {
    let mut yard = Yard::new(&Layout::new(2, &[&[0], &[1]], Balance::Load));
    yard.tell(0, 1, 2, load(3, 1));
    assert_eq!(yard.invoke_all(0, 6), [1, 1, 1, 2, 1, 2]);
}

#[test]
fn a_burst_between_two_words_does_not_all_go_to_one_placement() {
    let mut yard = two(Balance::Load);
    yard.tell(0, 1, 1, load(10, 1));
    yard.invoke_all(0, 100);
    assert_eq!(yard.shares(), [45, 55]);
}

/// A word that was sent before what is under way had come counts none of it, and takes nothing away from what is known.
#[test]
fn what_is_under_way_is_counted_until_it_has_come() {
    let mut yard = two(Balance::Load);
    assert_eq!(yard.invoke_all(0, 10), [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
    // The first five of them have begun, three of those at worker 1, of which two have ended.
    let told = Load {
        begun_next: 5,
        ..load(1, 1)
    };
    yard.tell(0, 1, 1, told);
    // There are one and two more at worker 1 then, and all five at worker 2.
    assert_eq!(yard.invoke_all(0, 4), [1, 1, 2, 1]);
}

#[test]
fn a_word_that_a_later_one_has_overtaken_is_not_heard() {
    let mut yard = two(Balance::Load);
    yard.invoke_all(0, 4);
    let later = Load {
        begun_next: 4,
        ..load(7, 1)
    };
    yard.tell(0, 1, 1, later);
    yard.tell(
        0,
        1,
        1,
        Load {
            begun_next: 2,
            ..load(0, 1)
        },
    );
    assert_eq!(yard.invoke(0), Some(2));
}

#[test]
fn a_word_that_nobody_can_have_given_does_no_harm() {
    let mut yard = two(Balance::Load);
    // Of a placement that there is not, of a lane that has no part in it, and of what was never taken.
    yard.tell(0, 1, 9, load(1, 1));
    yard.tell(0, 2, 1, load(1000, 1));
    let never = Load {
        begun_next: u64::MAX,
        ..load(u16::MAX, 0)
    };
    yard.tell(0, 1, 1, never);
    assert_eq!(yard.invoke_all(0, 3), [2, 2, 2]);
    // What is said later counts again.
    yard.tell(0, 1, 1, load(0, 1));
    assert_eq!(yard.invoke(0), Some(1));
}

#[test]
fn lanes_tell_what_they_have_to_do_of_placements_that_go_by_load_alone() {
    for (balance, tell) in [(Balance::Load, true), (Balance::RoundRobin, false)] {
        let mut yard = two(balance);
        yard.invoke_all(0, 7);
        yard.run_for(200);
        let hash = engine::core::worker_hash("w0");
        let told = yard.cores[1].load_for(placement_id(1, 1), hash, 0);
        let busy = Load {
            begun_next: 7,
            ..load(4, 1)
        };
        assert_eq!(
            told,
            tell.then_some(busy),
            "four of them run or wait at worker 1"
        );
        // Nothing of the other placement runs there, and a door without nodes has nothing to tell.
        assert_eq!(yard.cores[1].load_for(placement_id(1, 2), hash, 0), None);
        assert_eq!(yard.cores[0].load_for(placement_id(1, 1), hash, 0), None);
        let all = yard.cores[1].loads_for(hash, 0);
        assert_eq!(all.len(), usize::from(tell));
        assert!(
            yard.cores[1].loads_for(7, 0).is_empty(),
            "it is no worker of the plan"
        );
        yard.run();
    }
}

/// Four clients, of which each asks again as soon as it has its answer; an activation takes ten times as long on worker 1.
fn with_a_slow_worker(balance: Balance) -> Yard {
    let mut yard = two(balance);
    yard.service_ns[1] = 10_000;
    yard.asks = 2_000;
    yard.beat();
    for _ in 0..4 {
        yard.invoke(0);
    }
    yard.run();
    yard
}

#[test]
fn by_load_the_fast_placement_takes_most_and_the_slowest_answers_come_sooner_than_in_turn() {
    let in_turn = with_a_slow_worker(Balance::RoundRobin);
    assert_eq!(in_turn.shares(), [1_000, 1_000]);
    let by_load = with_a_slow_worker(Balance::Load);
    let shares = by_load.shares();
    assert!(shares[1] > 7 * shares[0], "{shares:?}");
    assert!(by_load.latency_ns(750) * 10 < in_turn.latency_ns(750));
    assert!(by_load.latency_ns(990) * 3 < in_turn.latency_ns(990) * 2);
    assert!(by_load.now_ns * 3 < in_turn.now_ns, "all in all");
}

/// Many doors at once, and words that are old when they come: whoever went by those alone would send everybody to the same
/// placement, and then everybody to the next.
#[test]
fn doors_that_all_hear_old_words_do_not_run_after_the_same_placement() {
    let placements: [&[usize]; 4] = [&[4], &[5], &[6], &[7]];
    let play = |balance| {
        let mut yard = Yard::new(&Layout::new(8, &placements, balance));
        (yard.way_ns, yard.asks) = (20_000, 4_000);
        yard.beat();
        for door in (0..4).cycle().take(64) {
            yard.invoke(door);
            yard.run_for(250);
        }
        yard.run();
        yard
    };
    let (in_turn, by_load) = (play(Balance::RoundRobin), play(Balance::Load));
    // All workers are alike, so that turns are the best there is.
    for share in by_load.shares() {
        assert!((900..=1_100).contains(&share), "{:?}", by_load.shares());
    }
    let (ours, best) = (by_load.latency_ns(990), in_turn.latency_ns(990));
    assert!(ours * 10 < best * 13, "{ours} against {best}");
}

#[test]
fn a_placement_whose_worker_is_cut_off_is_passed_over_until_it_is_back() {
    for (balance, passed) in [(Balance::RoundRobin, 2), (Balance::Load, 3)] {
        let mut yard = two(balance);
        assert_eq!(yard.invoke_all(0, 4), [1, 2, 1, 2]);
        yard.disconnect(0, 2);
        for number in [1, 3] {
            assert_eq!(
                yard.failure(number),
                "worker w2 was lost while the invocation ran: it was cut off"
            );
        }
        assert_eq!(yard.invoke_all(0, 3), [1, 1, 1]);
        assert_eq!(yard.cores[0].counters().invocations_refused, 0);
        yard.run();
        // In turn, it is looked at when it is its turn; by load, each time.
        assert_eq!(yard.cores[0].counters().placements_passed, passed);
        yard.connect(2, 0, 1);
        assert_eq!(yard.invoke_all(0, 4), [2, 1, 2, 1]);
        yard.run();
    }
}

#[test]
fn a_placement_whose_worker_cannot_be_told_is_passed_over() {
    let mut yard = two(Balance::RoundRobin);
    yard.cores[0].link_closed("w1", 0);
    assert_eq!(yard.invoke_all(0, 2), [2, 2]);
    yard.cores[0].link_opened("w1", 0, 1);
    assert_eq!(yard.invoke(0), Some(1));
    yard.run();
}

#[test]
fn a_client_is_refused_only_where_no_placement_can_take_it() {
    let mut yard = two(Balance::RoundRobin);
    yard.disconnect(0, 1);
    yard.disconnect(0, 2);
    assert_eq!(yard.invoke(0), None);
    assert_eq!(
        yard.failure(0),
        "worker  refused: none of its 2 placements can take it; of the next in turn: worker w1 takes part and is not \
         connected at the moment; try again later"
    );
}

#[test]
fn a_worker_that_was_started_anew_does_not_serve_what_was_deployed_before() {
    let mut yard = two(Balance::RoundRobin);
    yard.disconnect(0, 1);
    yard.connect(1, 0, 2);
    assert_eq!(yard.invoke_all(0, 3), [2, 2, 2]);
    yard.run();
    yard.disconnect(0, 2);
    yard.connect(2, 0, 2);
    assert_eq!(yard.invoke(0), None);
    let why = yard.failure(3);
    assert!(
        why.contains("worker w1 takes part and was started anew"),
        "{why}"
    );
    assert!(why.ends_with("with `faasflow deploy`"), "{why}");
    // A version that was planned for that life is served by it.
    yard.deploy(&Layout::new(3, &TWO, Balance::RoundRobin), 2);
    yard.activate(2);
    assert_eq!(yard.invoke_all(0, 2), [1, 2]);
}

#[test]
fn a_worker_that_was_started_anew_and_never_connects_is_known_by_its_answer() {
    let mut yard = two(Balance::RoundRobin);
    for worker in [1, 2] {
        yard.disconnect(0, worker);
    }
    assert_eq!(yard.invoke(0), None);
    assert!(yard.failure(0).ends_with("try again later"));
    // They have nothing to tell of what was deployed before, so that they make no connection of their own.
    for worker in ["w1", "w2"] {
        yard.cores[0].link_opened(worker, 0, 3);
    }
    assert_eq!(yard.invoke(0), None);
    let why = yard.failure(1);
    assert!(
        why.contains("worker w1 takes part and was started anew"),
        "{why}"
    );
    // What was planned for the life before, and comes late, is known for what it is.
    yard.deploy(&Layout::new(3, &TWO, Balance::RoundRobin), 2);
    yard.activate(2);
    assert_eq!(yard.invoke(0), None);
    let why = yard.failure(2);
    assert!(
        why.contains("worker w1 takes part and was started anew"),
        "{why}"
    );
}

#[test]
fn a_placement_that_is_full_is_passed_over_and_all_of_them_are_the_limit() {
    for balance in [Balance::RoundRobin, Balance::Load] {
        let limits = Limits {
            in_flight_max: 2,
            ..Limits::default()
        };
        let layout = Layout {
            limits,
            ..Layout::new(3, &TWO, balance)
        };
        let mut yard = Yard::new(&layout);
        yard.service_ns[1] = 100_000;
        yard.invoke_all(0, 4);
        assert_eq!(yard.invoke(0), None);
        let why = yard.failure(4);
        assert!(
            why.contains("2 invocations of workflow `flow` are in flight already"),
            "{why}"
        );
        yard.run_for(5_000);
        // Those of worker 2 have ended.
        assert_eq!(yard.invoke_all(0, 2), [2, 2]);
        assert_eq!(yard.invoke(0), None);
        yard.run();
    }
}

#[test]
fn a_placement_for_whose_constants_there_is_no_room_is_passed_over() {
    let layout = Layout {
        no_room: Some(1),
        ..Layout::new(3, &TWO, Balance::RoundRobin)
    };
    let mut yard = Yard::new(&layout);
    assert_eq!(yard.invoke_all(0, 3), [2, 2, 2]);
    assert_eq!(
        yard.invoke(1),
        Some(2),
        "at another door it is that one's turn"
    );
    assert_eq!(yard.invoke(1), Some(1), "where there is room");
}

#[test]
fn an_invocation_ends_in_the_placement_in_which_it_began() {
    let chains: [&[usize]; 2] = [&[0, 1, 0], &[1, 0, 1]];
    for balance in [Balance::RoundRobin, Balance::Load] {
        let layout = Layout::new(2, &chains, balance);
        let mut yard = Yard::new(&layout);
        yard.invoke_all(0, 10);
        yard.run_for(500);
        yard.deploy(&layout, 2);
        yard.activate(2);
        assert!(
            yard.removed.is_empty(),
            "what is in flight holds all placements"
        );
        yard.run();
        yard.run_for(10_000);
        let ended = yard
            .asked
            .iter()
            .all(|asked| asked.answered.as_ref().unwrap().1.is_ok());
        assert!(ended);
        let mut removed = yard.removed.clone();
        removed.sort_unstable();
        let gone = [(0, 1), (0, 2), (1, 1), (1, 2)];
        assert_eq!(
            removed,
            gone.map(|(worker, number)| (worker, placement_id(1, number)))
        );
    }
}

#[test]
fn placements_open_and_close_their_doors_together() {
    let mut yard = two(Balance::RoundRobin);
    yard.deploy(&Layout::new(3, &TWO, Balance::RoundRobin), 2);
    // By the id of another placement than the first nothing is opened.
    yard.cores[0].activate(0, placement_id(2, 2));
    assert_eq!(yard.invoke_all(0, 2), [1, 2]);
    yard.run();
    yard.retire(1);
    assert_eq!(yard.invoke(0), None);
    assert!(yard.failure(2).contains("no workflow named `flow`"));
    // What was never opened goes with all its placements, too.
    yard.retire(2);
    yard.run_for(10_000);
    assert_eq!(yard.removed.len(), 3 * 4);
}
