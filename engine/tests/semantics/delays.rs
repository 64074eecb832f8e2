//! Delays that are computed: when they are asked for, what they read, and what becomes of those that fail.

use super::flow::{Flow, case, catch, declared, input, optional, out};
use super::rig::{Seen, each_placement, one};
use engine::core::{CompletionError, Evaluated};
use engine::plan::{
    Delay, DelayExpression, ErrorClass, InputPlan, Join, NodePlan, Retry, Source, Work,
    WorkflowInput,
};
use engine::trace::TraceEnd;
use engine::wire::Failure;
use faasstore::binding::Kind;

fn computed(inputs: Vec<InputPlan>) -> Vec<Delay> {
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let text = match names[..] {
        [] => "20".to_owned(),
        _ => names.join(" + "),
    };
    vec![Delay::Computed(DelayExpression { text, inputs })]
}

fn value(name: &str, source: Source) -> InputPlan {
    InputPlan::new(name, Kind::Value, source)
}

fn gives_value(node: &mut NodePlan) {
    node.outputs = vec![declared("out", Kind::Value)];
}

#[test]
fn a_computed_delay_is_waited_for_once_before_the_first_attempt() {
    let mut flow = Flow::default();
    let told = flow.function("told", gives_value);
    let first = flow.function("first", |_| ());
    flow.function("work", |n| {
        n.inputs = vec![input("x", out(first))];
        n.delays = computed(vec![value("told.out", out(told))]);
        n.retriers = vec![Retry {
            attempts: 2,
            ..Retry::default()
        }];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("first");
        assert!(!rig.runs("work"), "what its delay reads is not there");
        rig.end("told");
        assert_eq!(rig.saw("work"), [one("told")], "what the delay reads");
        rig.wait("work", 20);
        rig.pass_ms(19);
        assert!(rig.running.is_empty());
        rig.pass_ms(1);
        assert_eq!(rig.saw("work"), [one("first")], "what the function reads");
        rig.fail("work", ErrorClass::Error, "no");
        let again = rig.take("work");
        assert_eq!(again.attempt, 2, "no delay before it");
        rig.end_attempt(&again);
        rig.result().unwrap();
    });
}

#[test]
fn a_function_does_not_see_what_its_delay_reads_nor_may_it_pass_that_on() {
    let mut flow = Flow::default();
    let told = flow.function("told", gives_value);
    let other = flow.function("other", |_| ());
    flow.function("work", |n| {
        n.inputs = vec![input("x", out(other))];
        n.delays = computed(vec![value("told.out", out(told))]);
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("told");
        rig.end("other");
        rig.wait("work", 0);
        rig.pass_ms(0);
        assert_eq!(rig.saw("work"), [one("other")]);
        assert_eq!(rig.pass_on("work", 1), Err(CompletionError::Alias));
        rig.pass_on("work", 0).unwrap();
        rig.result().unwrap();
    });
}

#[test]
fn what_a_delay_reads_is_held_until_its_node_has_ended_and_no_longer() {
    let mut flow = Flow::default();
    let told = flow.function("told", gives_value);
    flow.function("work", |n| {
        n.delays = computed(vec![value("told.out", out(told))]);
    });
    flow.function("long", |_| ());
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("told");
        rig.wait("work", 1);
        rig.pass_ms(1);
        assert_eq!(rig.ranges_held(), 1);
        rig.end("work");
        assert_eq!(rig.ranges_held(), 0);
        rig.end("long");
        rig.result().unwrap();
    });
}

#[test]
fn fixed_and_computed_delays_are_asked_for_together() {
    let mut flow = Flow::default();
    flow.inputs = vec![
        WorkflowInput::new("a", Kind::Value),
        WorkflowInput::new("b", Kind::Value),
    ];
    flow.node("pause", Work::Nothing, |n| {
        n.delays = computed(vec![value("x", Source::Input(0))]);
        n.delays.push(Delay::Fixed(5));
        n.delays.push(Delay::Until(DelayExpression {
            text: "x".into(),
            inputs: vec![value("x", Source::Input(1))],
        }));
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("a", &["one"]), ("b", &["two"])]);
        assert_eq!(rig.saw("pause"), [one("one"), one("two")]);
        rig.wait("pause", 30);
        rig.pass_ms(29);
        assert!(rig.answer.is_none());
        rig.pass_ms(1);
        rig.result().unwrap();
        assert_eq!(rig.attempts("pause"), 1);
    });
}

#[test]
fn a_delay_that_fails_is_not_tried_again_and_fails_the_node() {
    let mut flow = Flow::default();
    flow.function("work", |n| {
        n.delays = computed(vec![]);
        n.retriers = vec![Retry {
            attempts: 3,
            ..Retry::default()
        }];
    });
    flow.function("later", |n| n.after = vec![0]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.evaluated("work", Evaluated::Failed("`depth` is negative".into()));
        let Failure::Node {
            node,
            attempt,
            cause,
            ..
        } = rig.failure()
        else {
            panic!("{:?}", rig.failure());
        };
        assert_eq!((node.as_str(), *attempt), ("work", 1));
        assert_eq!(cause, "`depth` is negative");
        assert_eq!(rig.attempts("work"), 1);
        assert!(rig.running.is_empty());
        let answer = rig.answer.as_ref().unwrap();
        let records = answer.trace.iter().flat_map(|part| &part.records);
        let told: Vec<_> = records.map(|one| (one.attempt, one.end)).collect();
        assert_eq!(told, [(1, TraceEnd::Failed)]);
    });
}

#[test]
fn a_delay_that_fails_is_caught_also_at_a_node_that_only_waits() {
    let mut flow = Flow::default();
    let pause = flow.node("pause", Work::Nothing, |n| {
        n.delays = computed(vec![]);
        n.outputs = vec![declared("error", Kind::Value)];
        n.error_output = Some(0);
        n.catches = vec![vec![]];
    });
    flow.function("then", |n| n.after = vec![pause]);
    flow.function("rescue", |n| {
        n.gates = vec![catch(pause, 0)];
        n.inputs = vec![input("why", out(pause))];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.evaluated("pause", Evaluated::Failed("no number".into()));
        let Seen::One(why) = &rig.saw("rescue")[0] else {
            panic!("rescue saw nothing");
        };
        let why: serde_json::Value = serde_json::from_str(why).unwrap();
        let expected = serde_json::json!(
            {"node": "pause", "class": "expression", "cause": "no number", "attempt": 1}
        );
        assert_eq!(why, expected);
        rig.end("rescue");
        rig.result().unwrap();
        assert_eq!(rig.attempts("then"), 0);
    });
}

#[test]
fn a_delay_that_fails_is_a_dead_edge_to_joins_of_some() {
    let mut flow = Flow::default();
    let slow = flow.node("slow", Work::Nothing, |n| {
        n.delays = computed(vec![]);
        n.tolerated = true;
    });
    let quick = flow.function("quick", |n| n.tolerated = true);
    flow.function("join", |n| {
        n.join = Join::AtLeast(1);
        n.after = vec![slow, quick];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.evaluated("slow", Evaluated::Failed("no number".into()));
        assert!(rig.answer.is_none());
        rig.end("quick");
        rig.end("join");
        rig.result().unwrap();
    });
}

#[test]
fn a_node_is_skipped_without_what_its_delay_needs_and_runs_without_what_it_may_lack() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let left = flow.function("left", |n| {
        n.gates = vec![case(choose, 0)];
        gives_value(n);
    });
    flow.function("needs", |n| {
        n.after = vec![choose];
        n.delays = computed(vec![value("left.out", out(left))]);
    });
    flow.function("may", |n| {
        n.after = vec![choose];
        let mut input = optional("left.out", out(left));
        input.kind = Kind::Value;
        n.delays = computed(vec![input]);
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", Some(1));
        assert_eq!(rig.saw("may"), [Seen::Absent]);
        rig.end_all();
        rig.pass_ms(0);
        rig.end_all();
        rig.result().unwrap();
        assert_eq!((rig.attempts("needs"), rig.attempts("may")), (0, 2));
    });
}

#[test]
fn a_join_of_some_reads_for_its_delay_what_was_there_when_it_started() {
    let mut flow = Flow::default();
    let nodes = ["a", "b"].map(|name| flow.function(name, gives_value));
    flow.function("join", |n| {
        n.join = Join::AtLeast(1);
        let inputs = ["a", "b"].iter().zip(nodes);
        let inputs = inputs.map(|(name, node)| InputPlan {
            optional: true,
            ..value(name, out(node))
        });
        n.inputs = inputs.clone().collect();
        n.delays = computed(inputs.collect());
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.end("b");
        assert_eq!(rig.saw("join"), [Seen::Absent, one("b")]);
        rig.end("a");
        rig.wait("join", 1);
        rig.pass_ms(1);
        assert_eq!(rig.saw("join"), [Seen::Absent, one("b")]);
        rig.end("join");
        rig.result().unwrap();
    });
}

#[test]
fn each_item_waits_as_long_as_its_own_delay_says() {
    let mut flow = Flow::default();
    flow.inputs = vec![
        WorkflowInput::new("list", Kind::List),
        WorkflowInput::new("base", Kind::Value),
    ];
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.delays = computed(vec![
            value("item", Source::Item { up: 0 }),
            value("base", Source::Input(1)),
        ]);
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(each))];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["p", "q"]), ("base", &["b"])]);
        let saw: Vec<_> = rig.running.iter().map(|one| one.saw.clone()).collect();
        assert_eq!(saw, [[one("p"), one("b")], [one("q"), one("b")]]);
        rig.wait("each", 30);
        rig.wait("each", 10);
        rig.pass_ms(10);
        let second = rig.take("each");
        assert_eq!(second.item, Some(1));
        rig.end_attempt(&second);
        rig.pass_ms(19);
        assert!(rig.running.is_empty());
        rig.pass_ms(1);
        rig.end("each");
        let gathered = Seen::List(vec!["each0".into(), "each1".into()]);
        assert_eq!(rig.saw("all"), [gathered]);
        rig.end("all");
        rig.result().unwrap();
    });
}

#[test]
fn a_switch_waits_before_it_chooses() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |n| n.delays = computed(vec![]));
    flow.function("left", |n| n.gates = vec![case(choose, 0)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.wait("choose", 7);
        assert!(rig.running.is_empty());
        rig.pass_ms(7);
        rig.choose("choose", Some(0));
        rig.end("left");
        rig.result().unwrap();
    });
}

#[test]
fn no_delay_outlives_its_invocation() {
    let mut flow = Flow {
        timeout_ms: Some(5),
        ..Flow::default()
    };
    for name in ["asked", "waits"] {
        flow.function(name, |n| n.delays = computed(vec![]));
    }
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.wait("waits", 6);
        rig.pass_ms(5);
        assert_eq!(rig.failure(), &Failure::Timeout { milliseconds: 5 });
        rig.wait("asked", 0);
        assert_eq!(rig.late(), 1, "what comes too late is dropped and counted");
        rig.pass_ms(10);
        assert!(rig.running.is_empty());
    });
}
