//! Executors whose arena is full in the middle of an activation, and segments that hold more memory than is reserved.

use super::flow::{input, out};
use super::quota::{NAMES, each_has_read_its_own, rules, three};
use super::rig::Rig;
use engine::core::CompletionError;
use engine::core::store::StoreRules;
use engine::plan::{ErrorClass, Retry};
use faasstore::descriptor::RoomAnswer::{Back, Late, Never, Stopped};

/// More than everything takes.
const FAR: u64 = 1000;
const MIB: u64 = 1 << 20;

/// While `slow` runs, in whose arena lies what the others have made: so many in each segment.
fn crowded(rules: StoreRules, ranges: u32) -> Rig {
    let mut rig = Rig::short_of_memory(&three(), rules);
    rig.invoke(&[]);
    rig.fill_arena_of("slow", 100, ranges);
    NAMES.into_iter().for_each(|name| rig.end(name));
    assert!(rig.carrying().is_empty(), "the quota is far");
    rig
}

fn without_tiers() -> StoreRules {
    StoreRules {
        tiers: Vec::new(),
        ..rules(FAR)
    }
}

/// While `slow` and `busy` run, which reads the first that was made.
fn beside_another(rules: StoreRules, ranges: u32) -> Rig {
    let mut flow = three();
    let first = 1;
    flow.function("busy", |node| {
        node.inputs = vec![input("made", out(first))];
        node.outputs = Vec::new();
    });
    let mut rig = Rig::short_of_memory(&flow, rules);
    rig.invoke(&[]);
    rig.fill_arena_of("slow", 100, ranges);
    for name in [NAMES[0], NAMES[2], NAMES[1]] {
        rig.end(name);
    }
    assert!(rig.runs("busy"));
    rig
}

#[test]
fn what_is_read_last_leaves_a_full_arena_and_who_waits_tries_again_until_it_is_enough() {
    let mut rig = crowded(rules(FAR), 1);
    rig.full("slow", 10, false).unwrap();
    assert_eq!(rig.carrying(), [NAMES[2]]);
    assert!(rig.rooms.is_empty(), "nothing has come back yet");
    rig.carried(true);
    assert_eq!(rig.rooms, [Back]);
    rig.full("slow", 110, true).unwrap();
    assert_eq!(rig.carrying(), [NAMES[1], NAMES[0]], "two segments of 100");
    rig.carried(true);
    assert_eq!(rig.rooms, [Back, Back], "an answer for each time");
    assert_eq!(rig.carried_so_far().held_back, 1, "one wait");
    rig.end("slow");
    each_has_read_its_own(&mut rig);
}

#[test]
fn segments_that_can_be_emptied_go_before_what_is_read_later_and_lies_beside_what_is_read_now() {
    let mut rig = beside_another(rules(FAR), 2);
    rig.full("slow", 10, false).unwrap();
    assert_eq!(
        rig.carrying(),
        [NAMES[1]],
        "the last one lies beside the first"
    );
    rig.carried(true);
    rig.full("slow", 10, true).unwrap();
    assert_eq!(rig.carrying(), [NAMES[2]], "no segment can be emptied");
    rig.carried(true);
    rig.end("busy");
    rig.end("slow");
    each_has_read_its_own(&mut rig);
}

#[test]
fn where_nothing_can_leave_and_nothing_runs_who_waits_is_told_so_at_once() {
    let mut rig = crowded(without_tiers(), 1);
    rig.full("slow", 10, false).unwrap();
    assert_eq!(rig.rooms, [Never]);
    rig.end("slow");
    each_has_read_its_own(&mut rig);
    // All has left by and by, and it is still not enough.
    let mut rig = crowded(rules(FAR), 3);
    rig.full("slow", 1000, false).unwrap();
    assert_eq!(rig.carrying().len(), 3);
    rig.carried(true);
    rig.full("slow", 1000, true).unwrap();
    assert_eq!(rig.rooms, [Back, Never]);
    rig.end("slow");
    each_has_read_its_own(&mut rig);
}

#[test]
fn while_something_runs_who_waits_does_so_for_five_seconds_from_the_first_time() {
    let mut rig = beside_another(without_tiers(), 1);
    rig.full("slow", 10, false).unwrap();
    rig.pass_ms(4_999);
    assert!(rig.rooms.is_empty());
    rig.pass_ms(1);
    assert_eq!(rig.rooms, [Late]);
    rig.full("slow", 10, true).unwrap();
    assert_eq!(rig.rooms, [Late, Late], "the same wait");
    rig.full("slow", 10, false).unwrap();
    assert_eq!(rig.rooms.len(), 2, "another one");
    rig.end("busy");
    assert_eq!(rig.rooms, [Late, Late, Never], "nothing runs any more");
    rig.end("slow");
    each_has_read_its_own(&mut rig);
}

#[test]
fn an_executor_that_comes_in_the_place_of_one_that_waited_has_its_own_time() {
    let mut flow = three();
    flow.nodes[0].retriers = vec![Retry {
        attempts: 2,
        backoff_ms: 10,
        ..Retry::default()
    }];
    flow.function("busy", |node| {
        node.inputs = vec![input("made", out(1))];
        node.outputs = Vec::new();
    });
    let mut rig = Rig::short_of_memory(&flow, without_tiers());
    rig.invoke(&[]);
    rig.fill_arena_of("slow", 100, 1);
    NAMES.into_iter().for_each(|name| rig.end(name));
    let place = rig.place_of("slow");
    rig.full("slow", 10, false).unwrap();
    rig.pass_ms(4_000);
    rig.executor_dies("slow", "it is gone");
    rig.executor_joins_at(place);
    rig.pass_ms(10);
    assert_eq!(rig.place_of("slow"), place);
    // It may say so, and that it has waited already: but that was another one.
    rig.full("slow", 10, true).unwrap();
    rig.pass_ms(4_999);
    assert!(rig.rooms.is_empty(), "{:?}", rig.rooms);
    rig.pass_ms(1);
    assert_eq!(rig.rooms, [Late]);
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn what_ends_meanwhile_makes_room_too() {
    let mut flow = three();
    flow.function("busy", |node| {
        node.inputs = vec![input("made", out(0))];
        node.outputs = Vec::new();
    });
    let mut rig = Rig::short_of_memory(&flow, without_tiers());
    rig.invoke(&[]);
    rig.fill_arena_of(NAMES[0], 100, 1);
    // Read by all three as well, but for which `busy` would be the last.
    rig.end("slow");
    rig.full(NAMES[0], 10, false).unwrap();
    rig.end(NAMES[1]);
    rig.end(NAMES[2]);
    rig.end("y");
    assert_eq!(rig.rooms, [Back], "what y alone has read");
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn a_tier_that_has_failed_is_waited_for() {
    let mut rig = crowded(rules(FAR), 1);
    rig.full("slow", 10, false).unwrap();
    rig.carried(false);
    assert!(rig.rooms.is_empty() && rig.carrying().is_empty());
    rig.pass_ms(50);
    assert_eq!(rig.carrying(), [NAMES[2]]);
    rig.carried(true);
    assert_eq!(rig.rooms, [Back]);
    rig.end("slow");
    each_has_read_its_own(&mut rig);
}

#[test]
fn who_is_to_stop_waits_no_longer_for_room_and_never_again() {
    let mut rig = beside_another(without_tiers(), 1);
    rig.full("slow", 10, false).unwrap();
    rig.cancel(1);
    assert_eq!(rig.rooms, [Stopped]);
    rig.full("slow", 10, true).unwrap();
    assert_eq!(rig.rooms, [Stopped, Stopped]);
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn who_waits_cannot_wait_twice_nor_for_what_it_does_not_run() {
    let mut rig = beside_another(without_tiers(), 1);
    rig.full("slow", 10, false).unwrap();
    assert_eq!(rig.full("slow", 10, true), Err(CompletionError::Room));
    assert!(rig.rooms.is_empty());
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn an_executor_that_dies_while_it_waits_leaves_nothing_and_the_next_in_its_place_waits_for_nothing()
{
    let mut rig = beside_another(without_tiers(), 1);
    rig.full("slow", 10, false).unwrap();
    rig.executor_dies("slow", "it was killed");
    rig.pass_ms(6_000);
    assert!(rig.rooms.is_empty(), "{:?}", rig.rooms);
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn segments_beyond_what_is_reserved_are_emptied_though_their_payloads_are_small() {
    let mut rig = Rig::short_of_memory(&three(), rules(FAR));
    rig.invoke(&[]);
    // Four executors reserve a megabyte each.
    rig.fill_arena_of("slow", 3 * MIB / 2, 1);
    rig.end(NAMES[0]);
    rig.end(NAMES[1]);
    assert!(rig.carrying().is_empty());
    assert_eq!(rig.memory().0.segment_bytes, 3 * MIB);
    rig.end(NAMES[2]);
    assert_eq!(rig.carrying(), [NAMES[2]], "one is enough");
    rig.carried(true);
    assert_eq!(rig.memory().0.segment_bytes, 3 * MIB);
    rig.end("slow");
    for _ in 0..20 {
        rig.carried(true);
        rig.come_back(None);
        if let Some(attempt) = rig.running.first().cloned() {
            rig.end_attempt(&attempt);
        }
    }
    each_has_read_its_own(&mut rig);
}

#[test]
fn nothing_starts_while_segments_hold_more_than_is_reserved_but_for_one_at_a_time() {
    let mut rig = Rig::short_of_memory(&three(), without_tiers());
    rig.invoke(&[]);
    rig.end_all();
    assert!(rig.read_answer().result.is_ok());
    // By now it is known what readers make.
    rig.invoke_as(2);
    rig.fill_arena_of("slow", 3 * MIB / 2, 1);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.end("slow");
    assert_eq!(rig.memory().0.segment_bytes, 6 * MIB);
    let runs = |rig: &Rig| {
        ["x", "y", "z"]
            .into_iter()
            .filter(|one| rig.runs(one))
            .count()
    };
    assert_eq!((runs(&rig), rig.carried_so_far().overdrawn), (1, 1));
    rig.end_all();
    assert!(rig.read_answer().result.is_ok());
    assert!(
        rig.carried_so_far().overdrawn < 3,
        "there was room for the last"
    );
}

#[test]
fn who_fails_for_want_of_room_gives_back_what_it_held() {
    let mut rig = crowded(without_tiers(), 1);
    rig.full("slow", 10, false).unwrap();
    assert_eq!(rig.rooms, [Never]);
    rig.fail("slow", ErrorClass::Memory, "no room");
    assert!(rig.failure().to_string().contains("no room"));
    rig.nothing_is_left();
}
