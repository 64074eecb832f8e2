//! What is done when there is no room in a workflow's quota for what an activation is expected to make: who waits, for how
//! long, and what leaves memory instead.

use super::flow::{Flow, input, out};
use super::quota::{self, NAMES, each_has_read_its_own, three};
use super::rig::Rig;
use engine::core::store::{StoreRules, Unstored};
use engine::plan::{ErrorClass, NodeId};
use faasstore::tier::TierKind;

/// The names of nodes are what they return: ten bytes.
const KEPT: &str = "aaaaaaaaaa";
const READ: &str = "bbbbbbbbbb";
const MADE: &str = "cccccccccc";

fn rules(tiers: &[TierKind]) -> StoreRules {
    StoreRules {
        tiers: tiers.to_vec(),
        moved_bytes_min: 1,
        quota_bytes: Some(25),
        ..StoreRules::default()
    }
}

fn behind(flow: &mut Flow, name: &str, made: NodeId, before: &[NodeId]) -> NodeId {
    flow.function(name, |node| {
        node.inputs = vec![input("made", out(made))];
        node.after = before.to_vec();
        node.outputs = Vec::new();
    })
}

/// Two make something, and a third does once `slow` has ended, of which all readers wait for the third; but `reader`, if
/// there is to be one, reads what the second has made and waits for nothing.
fn crowded(reader: bool) -> Flow {
    let mut flow = Flow::default();
    let slow = flow.function("slow", |node| node.outputs = Vec::new());
    let [kept, read] = [KEPT, READ].map(|name| flow.function(name, |_| ()));
    if reader {
        behind(&mut flow, "reader", read, &[]);
    }
    let made = flow.function(MADE, |node| node.after = vec![slow]);
    behind(&mut flow, "x", kept, &[made]);
    if !reader {
        behind(&mut flow, "y", read, &[made]);
    }
    behind(&mut flow, "z", made, &[]);
    flow
}

/// Plays to the end whatever is under way; the client has its answer.
fn play(rig: &mut Rig) {
    for _ in 0..100 {
        rig.carried(true);
        rig.come_back(None);
        rig.pass_ms(1000);
        if let Some(attempt) = rig.running.first().cloned() {
            rig.end_attempt(&attempt);
        }
    }
    assert!(rig.read_answer().result.is_ok());
}

/// Once more, when it is known what each node makes, up to where the third could begin.
fn until_crowded(rig: &mut Rig, request: u64) {
    rig.invoke_as(request);
    until_read(rig);
    rig.end("slow");
}

/// Up to where the first two have made something, which may be passed on.
fn until_read(rig: &mut Rig) {
    rig.end(KEPT);
    rig.end(READ);
    if rig.runs("pass") {
        rig.pass_on("pass", 0).expect("an output may be an input");
    }
}

fn twice(flow: &Flow, tiers: &[TierKind]) -> Rig {
    let mut rig = Rig::short_of_memory(flow, rules(tiers));
    rig.invoke(&[]);
    play(&mut rig);
    until_crowded(&mut rig, 2);
    rig
}

#[test]
fn what_is_expected_to_make_more_than_there_is_room_for_waits_and_others_do_not_wait_for_it() {
    let mut flow = crowded(false);
    let slow = 0;
    behind(&mut flow, "needs nothing", 1, &[slow]);
    let mut rig = twice(&flow, &[TierKind::Spill]);
    assert!(
        !rig.runs(MADE),
        "it would make ten bytes: {:?}",
        rig.memory()
    );
    assert!(rig.runs("needs nothing"));
    assert_eq!(rig.carrying(), [READ], "what is read last");
    rig.carried(true);
    assert!(rig.runs(MADE), "there is room");
    play(&mut rig);
    assert_eq!(rig.carried_so_far().overdrawn, 0);
}

#[test]
fn where_nothing_can_leave_one_activation_goes_on_all_the_same_and_is_counted() {
    let mut rig = twice(&crowded(false), &[]);
    assert!(rig.runs(MADE));
    assert_eq!(rig.carried_so_far().overdrawn, 1);
    play(&mut rig);
}

#[test]
fn a_tier_that_has_failed_is_asked_again_though_nothing_waits_for_room() {
    let mut rig = Rig::short_of_memory(&three(), quota::rules(20));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    assert!(!rig.carrying().is_empty(), "three are more than two");
    rig.not_carried(Unstored::Failed);
    rig.pass_ms(49);
    assert!(rig.carrying().is_empty());
    rig.pass_ms(1);
    assert!(!rig.carrying().is_empty());
    rig.carried(true);
    rig.end("slow");
    each_has_read_its_own(&mut rig);
}

#[test]
fn a_tier_that_has_failed_is_left_alone_for_longer_each_time_and_waited_for() {
    let mut rig = twice(&crowded(false), &[TierKind::Spill]);
    for pause_ms in [50, 100, 200] {
        assert_eq!(rig.carrying(), [READ]);
        rig.carried(false);
        rig.pass_ms(pause_ms - 1);
        assert!(rig.carrying().is_empty() && !rig.runs(MADE), "{pause_ms}");
        rig.pass_ms(1);
    }
    rig.carried(true);
    assert!(rig.runs(MADE));
    play(&mut rig);
    let carried = rig.carried_so_far();
    assert_eq!(
        (carried.spill.refused, carried.overdrawn),
        (3, 0),
        "{carried:?}"
    );
    // What has taken something is trusted as at first.
    until_crowded(&mut rig, 3);
    rig.carried(false);
    rig.pass_ms(50);
    assert_eq!(rig.carrying(), [READ]);
    rig.carried(true);
    play(&mut rig);
}

/// The second time, while `reader` runs, which took `ms` the first time.
fn while_read(flow: &Flow, ms: u64) -> Rig {
    let mut rig = Rig::short_of_memory(flow, rules(&[TierKind::Spill]));
    rig.invoke(&[]);
    until_read(&mut rig);
    rig.now_ns += ms * 1_000_000;
    rig.end("reader");
    play(&mut rig);
    until_crowded(&mut rig, 2);
    assert!(rig.runs("reader") && !rig.runs(MADE));
    rig
}

#[test]
fn what_soon_lets_go_of_enough_is_waited_for_and_something_leaves_if_it_does_not() {
    let mut rig = while_read(&crowded(true), 0);
    assert!(rig.carrying().is_empty());
    rig.end("reader");
    assert!(rig.runs(MADE));
    play(&mut rig);
    assert_eq!(rig.carried_so_far().spill.out.payloads, 0);

    let mut rig = while_read(&crowded(true), 0);
    rig.pass_ms(5);
    assert_eq!(rig.carrying(), [KEPT], "it takes longer than it used to");

    let mut rig = while_read(&crowded(true), 100);
    assert_eq!(rig.carrying(), [KEPT], "it is known to take long");
    rig.carried(true);
    assert!(rig.runs(MADE));
}

#[test]
fn what_is_still_needed_in_part_is_not_let_go_of_by_who_reads_the_whole() {
    let mut flow = crowded(true);
    let (read, made) = (2, 4);
    let passed = flow.function("pass", |node| node.inputs = vec![input("made", out(read))]);
    behind(&mut flow, "reads it later", passed, &[made]);
    let rig = while_read(&flow, 0);
    assert_eq!(rig.carrying(), [KEPT], "nothing is to be waited for");
}

#[test]
fn with_more_than_the_quota_something_leaves_however_soon_there_is_room() {
    let mut flow = Flow::default();
    let [slow, late] =
        ["slow", "late"].map(|name| flow.function(name, |node| node.outputs = Vec::new()));
    let [kept, read] = [KEPT, READ].map(|name| flow.function(name, |_| ()));
    behind(&mut flow, "reader", read, &[]);
    let made = flow.function(MADE, |node| node.after = vec![slow]);
    behind(&mut flow, "x", kept, &[late]);
    behind(&mut flow, "z", made, &[late]);
    let mut rig = Rig::short_of_memory(&flow, rules(&[TierKind::Spill]));
    rig.invoke(&[]);
    until_read(&mut rig);
    rig.end("reader");
    rig.end("slow");
    // So that it is not known what it makes.
    rig.fail(MADE, ErrorClass::Error, "no");
    assert!(rig.read_answer().result.is_err());
    rig.end("late");
    until_crowded(&mut rig, 2);
    assert!(rig.runs("reader"));
    rig.end(MADE);
    assert_eq!(rig.memory().0.bytes, 30);
    assert_eq!(rig.carrying(), [MADE], "what is read last");
}

#[test]
fn what_several_read_is_as_near_as_its_first_reader() {
    let mut flow = Flow::default();
    let slow = flow.function("slow", |node| node.outputs = Vec::new());
    let [kept, read] = [KEPT, READ].map(|name| flow.function(name, |_| ()));
    let passed = flow.function("pass", |node| node.inputs = vec![input("made", out(kept))]);
    for (name, made) in [("x", kept), ("y", read), ("z", passed)] {
        behind(&mut flow, name, made, &[slow]);
    }
    let rules = StoreRules {
        quota_bytes: Some(19),
        ..rules(&[TierKind::Spill])
    };
    let mut rig = Rig::short_of_memory(&flow, rules);
    rig.invoke(&[]);
    rig.end(KEPT);
    rig.pass_on("pass", 0).expect("an output may be an input");
    rig.end(READ);
    assert_eq!(rig.carrying(), [READ], "x reads what z reads too, before y");
}

#[test]
fn small_payloads_stay() {
    let rules = StoreRules {
        moved_bytes_min: 11,
        ..rules(&[TierKind::Spill])
    };
    let mut rig = Rig::short_of_memory(&crowded(false), rules);
    rig.invoke(&[]);
    play(&mut rig);
    until_crowded(&mut rig, 2);
    assert!(rig.carrying().is_empty());
    assert_eq!(rig.carried_so_far().overdrawn, 1, "nothing can leave");
    play(&mut rig);
}

#[test]
fn what_has_been_sent_may_leave() {
    let mut flow = Flow::default();
    let kept = flow.function(KEPT, |_| ());
    // What has an odd number runs on the other worker.
    behind(&mut flow, "far", kept, &[]);
    let read = flow.function(READ, |_| ());
    let late = flow.function("late", |node| node.outputs = Vec::new());
    behind(&mut flow, "x", read, &[late]);
    flow.function("other", |node| node.outputs = Vec::new());
    behind(&mut flow, "y", kept, &[late]);
    let rules = StoreRules {
        quota_bytes: Some(15),
        ..rules(&[TierKind::Spill])
    };
    let mut rig = Rig::short_of_memory_beside(&flow, rules);
    rig.invoke(&[]);
    rig.end(KEPT);
    assert!(rig.runs("far"));
    rig.end(READ);
    assert_eq!(rig.carrying(), [KEPT], "y reads last");
}

#[test]
fn the_quota_is_what_is_reserved_and_no_executor_has_ever_used() {
    const MIB: u64 = 1 << 20;
    let rules = StoreRules {
        quota_bytes: None,
        ..rules(&[TierKind::Spill])
    };
    let mut rig = Rig::short_of_memory(&crowded(false), rules);
    let before = rig.memory().1.quota_bytes;
    assert!(before > 0 && before <= 4 * MIB * 4 / 5, "{before}");
    for (seen, most) in [(100_000, 100_000), (50_000, 100_000), (150_000, 150_000)] {
        rig.measured(seen);
        let quota = rig.memory().1.quota_bytes;
        assert_eq!(quota, before - 4 * most, "four executors");
    }
    rig.measured(2 * MIB);
    assert_eq!(rig.memory().1.quota_bytes, 0);
}
