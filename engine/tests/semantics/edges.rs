//! Edges decide: live and dead, switches, skipping, optional inputs and alternatives, and the end.

use super::flow::{Flow, case, declared, input, optional, out};
use super::rig::{Seen, each_placement, one};
use engine::core::Evaluated;
use engine::plan::{Constant, InputPlan, Source, Work, WorkflowInput};
use engine::wire::Failure;
use faasstore::binding::Kind;

/// `choose` leads to `left` or to `right`; `after_left` and `after_right` read what these return.
fn branches() -> (Flow, [u32; 5]) {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let left = flow.function("left", |n| n.gates = vec![case(choose, 0)]);
    let right = flow.function("right", |n| n.gates = vec![case(choose, 1)]);
    let after_left = flow.function("after_left", |n| n.inputs = vec![input("i", out(left))]);
    let after_right = flow.function("after_right", |n| n.inputs = vec![input("i", out(right))]);
    (flow, [choose, left, right, after_left, after_right])
}

#[test]
fn a_switch_makes_the_edges_of_its_case_live_and_skips_what_lies_behind_the_others() {
    let (mut flow, [.., after_left, after_right]) = branches();
    flow.output("l", &[out(after_left)], true);
    flow.output("r", &[out(after_right)], true);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        assert!(!rig.runs("left") && !rig.runs("right"));
        rig.choose("choose", Some(1));
        rig.end_all();
        rig.result().unwrap();
        assert_eq!((rig.attempts("left"), rig.attempts("after_left")), (0, 0));
        assert_eq!(rig.outputs.keys().collect::<Vec<_>>(), ["r"]);
        assert_eq!(rig.outputs["r"], one("after_right"));
    });
}

#[test]
fn a_switch_of_which_no_case_holds_and_that_has_no_default_fails_the_invocation_clearly() {
    let (flow, _) = branches();
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", None);
        let Failure::Node { node, cause, .. } = rig.failure() else {
            panic!("{:?}", rig.failure());
        };
        assert_eq!(node, "choose");
        assert!(cause.contains("no case holds"), "{cause}");
    });
}

#[test]
fn an_expression_that_cannot_be_evaluated_fails_its_node() {
    let (flow, _) = branches();
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.evaluated("choose", Evaluated::Failed("there is no field `x`".into()));
        assert!(rig.failure().to_string().contains("there is no field `x`"));
    });
}

#[test]
fn a_join_runs_if_one_of_its_edges_is_live_and_every_needed_input_has_a_live_source() {
    let (mut flow, [_, left, right, ..]) = branches();
    flow.function("either", |n| n.after = vec![left, right]);
    flow.function("needs_left", |n| {
        n.inputs = vec![input("l", out(left)), optional("r", out(right))];
    });
    flow.function("may_see", |n| {
        n.inputs = vec![optional("l", out(left)), optional("r", out(right))];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", Some(1));
        assert!(!rig.runs("either"), "an edge is not decided yet");
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("either"), 1);
        assert_eq!(rig.attempts("needs_left"), 0);
        assert_eq!(rig.saw("may_see"), [Seen::Absent, one("right")]);
    });
}

#[test]
fn a_node_all_of_whose_edges_are_dead_is_skipped_though_it_needs_none_of_them() {
    let (mut flow, [_, left, _, after_left, _]) = branches();
    flow.inputs = vec![WorkflowInput::new("text", Kind::Bytes)];
    flow.function("orders_only", |n| {
        n.after = vec![left, after_left];
        n.inputs = vec![input("text", Source::Input(0))];
    });
    flow.function("may_see", |n| n.inputs = vec![optional("l", out(left))]);
    each_placement(&flow, |rig| {
        rig.invoke(&[("text", &["t"])]);
        rig.choose("choose", Some(1));
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(
            (rig.attempts("orders_only"), rig.attempts("may_see")),
            (0, 0)
        );
    });
}

#[test]
fn workflow_inputs_and_constants_are_no_edges() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput {
        optional: true,
        ..WorkflowInput::new("given", Kind::Bytes)
    }];
    flow.constants = vec![Constant {
        kind: Kind::Bytes,
        items: vec![b"fixed".to_vec()],
    }];
    flow.function("reads", |n| {
        n.inputs = vec![
            optional("given", Source::Input(0)),
            input("fixed", Source::Constant(0)),
        ];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        assert_eq!(rig.saw("reads"), [Seen::Absent, one("fixed")]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_default_stands_in_for_an_input_that_a_client_does_not_give_and_only_then() {
    let mut flow = Flow::default();
    flow.constants = vec![Constant {
        kind: Kind::Bytes,
        items: vec![b"otherwise".to_vec()],
    }];
    flow.inputs = vec![WorkflowInput {
        default: Some(0),
        ..WorkflowInput::new("mode", Kind::Bytes)
    }];
    flow.function("a", |n| n.inputs = vec![input("mode", Source::Input(0))]);
    flow.function("b", |n| n.inputs = vec![input("mode", Source::Input(0))]);
    flow.output("mode", &[Source::Input(0)], false);
    for (given, seen) in [(None, "otherwise"), (Some("mine"), "mine")] {
        each_placement(&flow, |rig| {
            match given {
                None => rig.invoke(&[]),
                Some(text) => rig.invoke(&[("mode", &[text])]),
            }
            assert_eq!(
                (rig.saw("a"), rig.saw("b")),
                (vec![one(seen)], vec![one(seen)])
            );
            rig.end_all();
            assert_eq!(rig.outputs["mode"], one(seen));
        });
    }
}

#[test]
fn of_alternatives_the_first_in_the_order_listed_that_is_live_is_taken_once_all_are_decided() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let first = flow.function("first", |n| n.gates = vec![case(choose, 0)]);
    let second = flow.function("second", |_| ());
    let third = flow.function("third", |_| ());
    flow.function("takes", |n| {
        n.inputs = vec![InputPlan {
            sources: vec![out(first), out(second), out(third)],
            ..input("x", out(first))
        }];
    });
    for (chosen, seen) in [(0, "first"), (1, "second")] {
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.end("third");
            rig.end("second");
            assert!(
                !rig.runs("takes"),
                "the first alternative is not decided yet"
            );
            rig.choose("choose", Some(chosen));
            if chosen == 0 {
                rig.end("first");
            }
            assert_eq!(rig.saw("takes"), [one(seen)]);
            rig.end_all();
            rig.result().unwrap();
        });
    }
}

#[test]
fn a_needed_input_whose_alternatives_are_all_dead_skips_its_node_unless_a_constant_ends_them() {
    let (mut flow, [_, left, _, after_left, _]) = branches();
    flow.constants = vec![Constant {
        kind: Kind::Bytes,
        items: vec![b"none".to_vec()],
    }];
    let two = vec![out(left), out(after_left)];
    let three = vec![out(left), out(after_left), Source::Constant(0)];
    flow.function("start", |_| ());
    flow.function("lacks", |n| {
        n.after = vec![5];
        n.inputs = vec![InputPlan {
            sources: two,
            ..input("x", out(left))
        }];
    });
    flow.function("has", |n| {
        n.after = vec![5];
        n.inputs = vec![InputPlan {
            sources: three,
            ..input("x", out(left))
        }];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", Some(1));
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("lacks"), 0);
        assert_eq!(rig.saw("has"), [one("none")]);
    });
}

#[test]
fn a_node_behind_two_switches_runs_when_either_has_chosen_it_once_both_are_decided() {
    let mut flow = Flow::default();
    let a = flow.switch("a", 2, |_| ());
    let b = flow.switch("b", 2, |_| ());
    flow.function("behind", |n| n.gates = vec![case(a, 0), case(b, 0)]);
    for (of_a, of_b, runs) in [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.choose("a", Some(of_a));
            assert!(!rig.runs("behind"), "b is not decided yet");
            rig.choose("b", Some(of_b));
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.attempts("behind"), runs, "{of_a} {of_b}");
        });
    }
}

#[test]
fn a_node_that_a_switch_did_not_choose_is_skipped_though_its_data_is_there() {
    let mut flow = Flow::default();
    let data = flow.function("data", |_| ());
    let choose = flow.switch("choose", 2, |_| ());
    flow.function("gated", |n| {
        n.gates = vec![case(choose, 0)];
        n.inputs = vec![input("data", out(data))];
    });
    flow.function("after_choose", |n| n.after = vec![choose]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("data");
        rig.choose("choose", Some(1));
        assert!(
            rig.runs("after_choose"),
            "a switch that has chosen has ended well"
        );
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("gated"), 0);
    });
}

#[test]
fn a_switch_that_is_skipped_chooses_nothing() {
    let (mut flow, [_, left, ..]) = branches();
    let second = flow.switch("second", 2, |n| n.after = vec![left]);
    flow.function("behind", |n| n.gates = vec![case(second, 0)]);
    flow.function("otherwise", |n| n.gates = vec![case(second, 1)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", Some(1));
        assert!(!rig.runs("second"));
        rig.end_all();
        rig.result().unwrap();
        assert_eq!((rig.attempts("behind"), rig.attempts("otherwise")), (0, 0));
    });
}

#[test]
fn what_is_computed_is_a_value_that_conditions_and_functions_read() {
    let mut flow = Flow::default();
    let made = flow.function("made", |n| n.outputs = vec![declared("out", Kind::Value)]);
    let formula = engine::plan::Formula::Value("x + 1".into());
    let sum = flow.node("sum", Work::Compute(vec![formula]), |n| {
        n.outputs = vec![declared("sum", Kind::Value)];
        n.inputs = vec![InputPlan::new("x", Kind::Value, out(made))];
    });
    let choose = flow.switch("choose", 2, |n| {
        n.inputs = vec![InputPlan::new("sum", Kind::Value, out(sum))];
    });
    flow.function("reads", |n| {
        n.gates = vec![case(choose, 0)];
        n.inputs = vec![InputPlan::new("sum", Kind::Value, out(sum))];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("made");
        assert_eq!(rig.saw("sum"), [one("made")]);
        rig.compute("sum", "42");
        assert_eq!(rig.saw("choose"), [one("42")]);
        rig.choose("choose", Some(0));
        assert_eq!(rig.saw("reads"), [one("42")]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn an_output_of_the_workflow_whose_source_was_skipped_is_absent_if_optional_and_else_fails_by_name()
{
    let (flow, [.., after_left, after_right]) = branches();
    for (optional, expected) in [(true, None), (false, Some("l"))] {
        let mut flow = flow.clone();
        flow.output("l", &[out(after_left)], optional);
        flow.output("r", &[out(after_right)], false);
        flow.output("first", &[out(after_left), out(after_right)], false);
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.choose("choose", Some(1));
            rig.end_all();
            match expected {
                None => {
                    rig.result().unwrap();
                    assert_eq!(rig.outputs.keys().collect::<Vec<_>>(), ["first", "r"]);
                    assert_eq!(rig.outputs["first"], one("after_right"));
                }
                Some(name) => {
                    let absent = Failure::Absent {
                        output: name.into(),
                    };
                    assert_eq!(rig.failure(), &absent);
                }
            }
        });
    }
}

#[test]
fn a_workflow_without_outputs_ends_when_every_node_has_ended_or_been_skipped() {
    let (flow, _) = branches();
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", Some(0));
        rig.end("left");
        assert!(rig.answer.is_none(), "after_left runs");
        rig.end("after_left");
        rig.result().unwrap();
        assert!(rig.outputs.is_empty());
    });
}
