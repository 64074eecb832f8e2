//! A workflow with more payloads than its quota: which of them leave memory, and how they come back.

use super::flow::{Flow, input, out, over_list};
use super::rig::{Rig, one};
use engine::core::store::{StoreRules, Unstored};
use engine::plan::{InputPlan, Source};
use engine::wire::Failure;
use faasstore::binding::Kind;
use faasstore::tier::TierKind;

/// The names of nodes are what they return: ten bytes.
const NAMES: [&str; 3] = ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"];

pub(crate) fn rules(quota_bytes: u64) -> StoreRules {
    StoreRules {
        tiers: vec![TierKind::Spill],
        moved_bytes_min: 1,
        quota_bytes: Some(quota_bytes),
        ..StoreRules::default()
    }
}

/// Three make something; each has a reader that waits for `slow` too.
fn three() -> Flow {
    let mut flow = Flow::default();
    let slow = flow.function("slow", |_| ());
    let made = NAMES.map(|name| flow.function(name, |_| ()));
    for (reader, made) in ["x", "y", "z"].into_iter().zip(made) {
        flow.function(reader, |node| {
            node.inputs = vec![input("made", out(made)), input("slow", out(slow))];
        });
    }
    flow
}

/// What is elsewhere comes back, and those who read it end.
fn read_all(rig: &mut Rig) {
    while rig.elsewhere() != (0, 0) {
        rig.come_back(None);
        for reader in ["x", "y", "z"] {
            if rig.runs(reader) {
                rig.end(reader);
            }
        }
    }
    rig.end_all();
}

fn each_has_read_its_own(rig: &mut Rig) {
    read_all(rig);
    for (reader, made) in ["x", "y", "z"].into_iter().zip(NAMES) {
        assert_eq!(rig.saw(reader), [one(made), one("slow")]);
    }
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn what_is_read_last_leaves_and_comes_back_before_it_is_read() {
    let mut rig = Rig::short_of_memory(&three(), rules(20));
    rig.invoke(&[]);
    rig.end(NAMES[0]);
    rig.end(NAMES[1]);
    assert!(rig.carrying().is_empty(), "there is room for two");
    rig.end(NAMES[2]);
    assert_eq!(rig.carrying(), [NAMES[2], NAMES[1]], "x reads first");
    rig.carried(true);
    assert_eq!(rig.elsewhere(), (2, 0));
    rig.end("slow");
    assert!(rig.runs("x"));
    assert!(!rig.runs("z"));
    each_has_read_its_own(&mut rig);
}

#[test]
fn what_is_read_last_and_lies_where_memory_has_run_out_makes_room_there_though_the_quota_is_far() {
    let mut rig = Rig::short_of_memory(&three(), rules(1000));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    assert!(rig.carrying().is_empty());
    // What is read last lies elsewhere.
    rig.run_out_of_memory(15, &NAMES[..2]);
    assert_eq!(rig.carrying(), [NAMES[1], NAMES[0]]);
    rig.run_out_of_memory(20, &NAMES);
    assert_eq!(rig.carrying().len(), 2, "enough is leaving");
    rig.carried(true);
    assert_eq!(rig.elsewhere(), (2, 0));
    rig.end("slow");
    assert!(
        rig.runs("z"),
        "what is here is read, and the rest comes back"
    );
    each_has_read_its_own(&mut rig);
}

#[test]
fn what_is_read_next_and_what_waits_for_the_rest_of_its_inputs_makes_no_room() {
    let mut rig = Rig::short_of_memory(&three(), rules(1000));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.run_out_of_memory(5, &NAMES[..1]);
    rig.carried(true);
    assert_eq!(rig.elsewhere(), (1, 0));
    rig.end("slow");
    assert_eq!(rig.elsewhere(), (0, 1), "x waits for what it reads");
    // `slow` is read by those that run, and then by `x` alone, which waits for the rest of what it reads.
    rig.run_out_of_memory(100, &["slow", NAMES[1], NAMES[2]]);
    assert!(rig.carrying().is_empty(), "{:?}", rig.carrying());
    rig.end("y");
    rig.end("z");
    rig.run_out_of_memory(100, &["slow"]);
    assert!(rig.carrying().is_empty(), "{:?}", rig.carrying());
    rig.come_back(None);
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn where_no_tier_takes_anything_no_room_is_made() {
    let mut without = rules(1000);
    without.tiers.clear();
    let mut rig = Rig::short_of_memory(&three(), without);
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.run_out_of_memory(15, &NAMES);
    assert!(rig.carrying().is_empty());
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn what_somebody_begins_to_read_while_it_is_carried_out_stays() {
    let mut rig = Rig::short_of_memory(&three(), rules(20));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    assert_eq!(rig.carrying(), [NAMES[2], NAMES[1]]);
    // There is room for what readers make: it is not known yet that they make anything.
    rig.end("slow");
    assert!(rig.runs("x"));
    rig.end("x");
    assert!(rig.runs("y"), "what leaves can still be read");
    rig.carried(true);
    assert_eq!(rig.elsewhere(), (0, 0), "all of it stays");
    rig.end_all();
    rig.result().unwrap();
    assert_eq!(rig.carried_so_far().spill.out.payloads, 0);
    rig.nothing_is_left();
}

#[test]
fn what_cannot_be_brought_back_fails_the_invocation_with_its_reason() {
    let mut rig = Rig::short_of_memory(&three(), rules(20));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.carried(true);
    rig.end("slow");
    rig.end("x");
    rig.come_back(Some("the disk is gone"));
    let Failure::Payload { node, cause, .. } = rig.failure() else {
        panic!("{:?}", rig.failure());
    };
    assert!(["y", "z"].contains(&node.as_str()), "{node}");
    assert!(cause.contains("the disk is gone"), "{cause}");
    rig.end_all();
    assert!(rig.carried_so_far().spill.lost >= 1);
    rig.nothing_is_left();
}

#[test]
fn a_tier_that_takes_nothing_holds_activations_back_and_never_for_ever() {
    let mut rig = Rig::short_of_memory(&three(), rules(20));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.carried(false);
    rig.end("slow");
    for _ in 0..100 {
        rig.carried(false);
        rig.pass_ms(1000);
        for reader in ["x", "y", "z"] {
            if rig.runs(reader) {
                rig.end(reader);
            }
        }
    }
    rig.result().unwrap();
    let carried = rig.carried_so_far();
    assert!(
        carried.spill.refused > 0 && carried.spill.out.payloads == 0,
        "{carried:?}"
    );
    rig.nothing_is_left();
}

#[test]
fn items_begin_as_there_is_room_for_what_they_make() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let made = flow.function("make", |node| {
        node.region = Some(region);
        node.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    flow.function("all", |node| {
        node.inputs = vec![InputPlan::new("all", Kind::List, out(made))];
    });
    let mut rig = Rig::short_of_memory(&flow, rules(30));
    rig.invoke(&[("list", &["1", "2", "3", "4", "5", "6", "7", "8"])]);
    let (mut most, mut all) = (0, Vec::new());
    while rig.answer.is_none() {
        rig.carried(true);
        rig.come_back(None);
        most = most.max(rig.running.len());
        if let Some(attempt) = rig.running.first().cloned() {
            if attempt.node == "all" {
                all = rig.walk("all", 8);
            }
            rig.end_attempt(&attempt);
        }
    }
    assert!(most >= 2, "{most}");
    let made: Vec<String> = (0..8).map(|item| format!("make{item}")).collect();
    assert_eq!(all, made);
    let carried = rig.carried_so_far();
    assert!(
        carried.spill.out.payloads > 2 && carried.held_back > 0,
        "{carried:?}"
    );
    rig.nothing_is_left();
}

#[test]
fn what_is_lost_while_its_workflow_retires_fails_its_invocation_alone() {
    let mut rig = Rig::short_of_memory(&three(), rules(20));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.carried(true);
    // A newer version takes over, or the workflow is undeployed.
    rig.retire();
    rig.end("slow");
    rig.end("x");
    rig.come_back(Some("the disk is gone"));
    let Failure::Payload { cause, .. } = rig.failure() else {
        panic!("{:?}", rig.failure());
    };
    assert!(cause.contains("the disk is gone"), "{cause}");
}

#[test]
fn what_has_failed_for_a_lost_input_is_not_started_all_the_same() {
    let mut rig = Rig::short_of_memory(&three(), rules(29));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    assert_eq!(rig.carrying(), [NAMES[2]]);
    rig.carried(true);
    rig.end("slow");
    rig.end("x");
    rig.end("y");
    assert_eq!(rig.elsewhere(), (0, 1), "z waits for what it reads");
    rig.come_back(Some("the disk is gone"));
    assert!(matches!(rig.failure(), Failure::Payload { .. }));
    assert!(!rig.runs("z"), "it is over: saw {:?}", rig.saw("z"));
    rig.nothing_is_left();
}

#[test]
fn what_has_failed_for_a_lost_input_harms_no_other_invocation() {
    let mut rig = Rig::short_of_memory(&three(), rules(29));
    rig.invoke(&[]);
    NAMES.into_iter().for_each(|name| rig.end(name));
    rig.carried(true);
    rig.end("slow");
    rig.end("x");
    rig.end("y");
    rig.come_back(Some("the disk is gone"));
    let _ = rig.read_answer();
    // Another client's invocation gets the place that is free.
    rig.invoke_as(2);
    while !rig.running.is_empty() {
        rig.carried(true);
        rig.come_back(None);
        let attempt = rig.running[0].clone();
        rig.end_attempt(&attempt);
        rig.carried(true);
        rig.come_back(None);
    }
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn what_a_tier_is_too_small_for_stays_and_what_is_smaller_leaves_all_the_same() {
    let mut flow = Flow::default();
    let slow = flow.function("slow", |_| ());
    let made = ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccccccccccccc"]
        .map(|name| flow.function(name, |_| ()));
    for (reader, made) in ["x", "y", "z"].into_iter().zip(made) {
        flow.function(reader, |node| {
            node.inputs = vec![input("made", out(made)), input("slow", out(slow))];
        });
    }
    let mut rig = Rig::short_of_memory(&flow, rules(29));
    rig.invoke(&[]);
    rig.end("cccccccccccccccccccc");
    rig.end("aaaaaaaaaa");
    assert_eq!(rig.carrying(), ["cccccccccccccccccccc"], "it is read last");
    rig.not_carried(Unstored::TooLarge);
    assert_eq!(
        rig.carrying(),
        ["aaaaaaaaaa"],
        "and at once, since the tier has not failed"
    );
    rig.carried(true);
    rig.end("bbbbbbbbbb");
    assert_eq!(rig.carrying(), ["bbbbbbbbbb"]);
    rig.carried(true);
    rig.end("slow");
    read_all(&mut rig);
    rig.result().unwrap();
    rig.nothing_is_left();
}
