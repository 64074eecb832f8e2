//! Joins of some.

use super::flow::{Flow, case, optional, out};
use super::rig::{ABSENT, Seen, each_placement, one};
use engine::plan::{ErrorClass, InputPlan, Join, Retry, Source, WorkflowInput};
use engine::wire::Failure;
use faasstore::binding::Kind;

/// `a`, `b` and `c` are joined by `join`, which `last` waits for.
fn joined(at_least: u32, tolerated: bool) -> Flow {
    let mut flow = Flow::default();
    let change = |n: &mut engine::plan::NodePlan| n.tolerated = tolerated;
    let nodes = ["a", "b", "c"].map(|name| flow.function(name, change));
    let join = flow.function("join", |n| {
        n.join = Join::AtLeast(at_least);
        let inputs = nodes.iter().zip(["a", "b", "c"]);
        n.inputs = inputs
            .map(|(node, name)| optional(name, out(*node)))
            .collect();
    });
    flow.function("last", |n| n.after = vec![join]);
    flow
}

#[test]
fn a_join_of_any_starts_at_the_first_live_edge_and_what_comes_later_is_dropped_and_counted() {
    each_placement(&joined(1, false), |rig| {
        rig.invoke(&[]);
        rig.end("b");
        assert_eq!(rig.saw("join"), [Seen::Absent, one("b"), Seen::Absent]);
        rig.end("a");
        assert_eq!(rig.late(), 1);
        rig.end("join");
        rig.end("last");
        assert!(
            rig.answer.is_none(),
            "the invocation ends when every node has"
        );
        rig.end("c");
        rig.result().unwrap();
        assert_eq!((rig.late(), rig.attempts("join")), (2, 1));
    });
}

#[test]
fn a_join_of_at_least_k_starts_at_the_kth_live_edge() {
    each_placement(&joined(2, false), |rig| {
        rig.invoke(&[]);
        rig.end("c");
        assert!(!rig.runs("join"));
        rig.end("a");
        assert_eq!(rig.saw("join"), [one("a"), Seen::Absent, one("c")]);
        rig.end_all();
        rig.result().unwrap();
        assert_eq!((rig.late(), rig.attempts("join")), (1, 1));
    });
}

#[test]
fn a_later_attempt_at_a_join_sees_what_the_first_one_saw() {
    let mut flow = joined(1, false);
    flow.nodes[3].retriers = vec![Retry {
        attempts: 2,
        ..Retry::default()
    }];
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("b");
        rig.end("a");
        rig.fail("join", ErrorClass::Error, "no");
        assert_eq!(rig.attempts("join"), 2);
        assert_eq!(rig.saw("join"), [Seen::Absent, one("b"), Seen::Absent]);
        rig.end_all();
        rig.result().unwrap();
    });
}

/// As `joined`, with `a` and `b` behind cases of a switch.
fn joined_behind_a_switch(at_least: u32) -> Flow {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 3, |_| ());
    let a = flow.function("a", |n| n.gates = vec![case(choose, 0), case(choose, 1)]);
    let b = flow.function("b", |n| n.gates = vec![case(choose, 0)]);
    let c = flow.function("c", |_| ());
    flow.function("join", |n| {
        n.join = Join::AtLeast(at_least);
        n.after = vec![a, b, c];
    });
    flow
}

#[test]
fn a_join_of_some_is_skipped_when_it_can_no_longer_be_reached() {
    let flow = joined_behind_a_switch(2);
    for (chosen, runs) in [(0, 1), (1, 1), (2, 0)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.choose("choose", Some(chosen));
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.attempts("join"), runs, "case {chosen}");
        });
    }
}

#[test]
fn a_join_of_some_behind_a_switch_starts_only_if_it_was_chosen() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let a = flow.function("a", |_| ());
    let b = flow.function("b", |_| ());
    flow.function("join", |n| {
        n.gates = vec![case(choose, 0)];
        n.join = Join::AtLeast(1);
        n.after = vec![a, b];
    });
    for (chosen, runs) in [(0, 1), (1, 0)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.end("a");
            assert!(!rig.runs("join"), "the switch is not decided yet");
            rig.choose("choose", Some(chosen));
            assert_eq!(rig.attempts("join"), runs);
            rig.end_all();
            rig.result().unwrap();
        });
    }
}

#[test]
fn a_failure_that_only_joins_of_some_wait_for_is_a_dead_edge() {
    each_placement(&joined(2, true), |rig| {
        rig.invoke(&[]);
        rig.fail("a", ErrorClass::Error, "no");
        rig.end("b");
        assert!(!rig.runs("join"));
        rig.end("c");
        assert_eq!(rig.saw("join"), [Seen::Absent, one("b"), one("c")]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn failures_that_put_k_out_of_reach_fail_the_invocation_and_are_named() {
    each_placement(&joined(2, true), |rig| {
        rig.invoke(&[]);
        rig.fail("a", ErrorClass::Error, "no disk");
        rig.end("b");
        rig.fail("c", ErrorClass::Timeout, "too slow");
        let failed = |name: &str, cause: &str| (name.to_owned(), cause.to_owned());
        let join = Failure::Join {
            node: "join".into(),
            needed: 2,
            failed: vec![failed("a", "no disk"), failed("c", "too slow")],
        };
        assert_eq!(rig.failure(), &join);
        assert_eq!(
            join.to_string(),
            "node join needs 2 of the nodes it joins, and these have failed: a (no disk), c (too slow)"
        );
    });
}

#[test]
fn failures_that_change_nothing_do_not_fail_an_invocation_whose_join_is_skipped_anyway() {
    let mut flow = joined_behind_a_switch(3);
    for node in &mut flow.nodes[1..4] {
        node.tolerated = true;
    }
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.fail("c", ErrorClass::Error, "no");
        rig.choose("choose", Some(1));
        rig.end_all();
        // Even with `c` there would be two of three.
        rig.result().unwrap();
        assert_eq!(rig.attempts("join"), 0);
    });
}

#[test]
fn a_failure_that_puts_several_joins_out_of_reach_fails_the_invocation_once_and_leaves_nothing() {
    let mut flow = Flow::default();
    let fallible = flow.function("fallible", |n| n.tolerated = true);
    let joins = ["first", "second"].map(|name| {
        flow.function(name, |n| {
            n.join = Join::AtLeast(1);
            n.after = vec![fallible];
        })
    });
    // Whose edges from outside the same failure decides.
    let region = flow.region(Source::Input(0), |_| ());
    flow.function("each", |n| {
        n.region = Some(region);
        n.join = Join::AtLeast(1);
        n.after = joins.to_vec();
    });
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.fail("fallible", ErrorClass::Error, "no");
        let Failure::Join { node, failed, .. } = rig.failure() else {
            panic!("{:?}", rig.failure());
        };
        assert!(node == "first" || node == "second", "{node}");
        assert_eq!(*failed, [("fallible".to_owned(), "no".to_owned())]);
    });
}

/// `out` runs once, and `each` for every item; `join` of so many of the two runs for every item, too, behind a switch if
/// `gated`.
fn joined_within(at_least: u32, gated: bool) -> Flow {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let outside = flow.function("out", |n| n.tolerated = true);
    let region = flow.region(Source::Input(0), |_| ());
    let choose = flow.switch("choose", 2, |n| n.region = Some(region));
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.gates = vec![case(choose, 0)];
    });
    let join = flow.function("join", |n| {
        n.region = Some(region);
        n.join = Join::AtLeast(at_least);
        n.inputs = vec![optional("o", out(outside)), optional("e", out(each))];
        if gated {
            n.gates = vec![case(choose, 0)];
        }
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(join))];
    });
    flow
}

#[test]
fn joins_of_some_within_items_bear_a_failure_outside_of_them() {
    each_placement(&joined_within(1, false), |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.fail("out", ErrorClass::Error, "no");
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("join"), 2);
        assert_eq!(rig.saw("join"), [Seen::Absent, one("each1")]);
        let all = ["join0", "join1"].map(str::to_owned).to_vec();
        assert_eq!(rig.saw("all"), [Seen::List(all)]);
    });
}

#[test]
fn a_failure_outside_that_puts_a_join_out_of_reach_in_an_item_fails_the_invocation() {
    // Though the rest is there, or together with what was not chosen in an item.
    for (at_least, choices) in [(2, &[0][..]), (1, &[0, 1])] {
        each_placement(&joined_within(at_least, false), |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            rig.fail("out", ErrorClass::Error, "no");
            for choice in choices {
                assert!(rig.answer.is_none());
                rig.choose("choose", Some(*choice));
            }
            if at_least == 2 {
                assert!(rig.answer.is_none(), "it may be that it is skipped anyway");
                rig.end("each");
            }
            let Failure::Join { node, failed, .. } = rig.failure() else {
                panic!("{:?}", rig.failure());
            };
            assert_eq!(node, "join");
            assert_eq!(*failed, [("out".to_owned(), "no".to_owned())]);
        });
    }
    // Of no items none is out of reach, and where the join would be skipped anyway nothing is lost.
    for (at_least, gated, items) in [(2, false, &[][..]), (2, true, &["a", "b"])] {
        each_placement(&joined_within(at_least, gated), |rig| {
            rig.invoke(&[("list", items)]);
            rig.fail("out", ErrorClass::Error, "no");
            for _ in items {
                rig.choose("choose", Some(1));
            }
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.attempts("join"), 0);
            let absent = vec![ABSENT.to_owned(); items.len()];
            assert_eq!(rig.saw("all"), [Seen::List(absent)]);
        });
    }
}

#[test]
fn a_failure_outside_reaches_joins_in_regions_within_regions() {
    for (at_least, well) in [(1, true), (2, false)] {
        let mut flow = Flow::default();
        flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
        let outside = flow.function("out", |n| n.tolerated = true);
        let outer = flow.region(Source::Input(0), |_| ());
        let inner = flow.region(Source::Input(0), |r| r.parent = Some(outer));
        let each = flow.function("each", |n| n.region = Some(outer));
        flow.function("join", |n| {
            n.region = Some(inner);
            n.join = Join::AtLeast(at_least);
            n.after = vec![outside, each];
        });
        each_placement(&flow, |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            rig.fail("out", ErrorClass::Error, "no");
            rig.end_all();
            match well {
                true => rig.result().unwrap(),
                false => assert!(matches!(rig.failure(), Failure::Join { .. })),
            }
            assert_eq!(rig.attempts("join"), if well { 4 } else { 0 });
        });
    }
}
