//! Failure, retries, catches, time.

use super::flow::{Flow, catch, declared, input, optional, out};
use super::rig::{Rig, Seen, each_placement, one};
use engine::plan::{Constant, Delay, ErrorClass, ErrorMatch, Retry, Source, Work};
use engine::wire::Failure;
use faasstore::binding::Kind;

/// `fallible` may be caught by `on_timeout` or `on_other`, which read what failed; `after` reads what it returns.
fn caught() -> Flow {
    let mut flow = Flow::default();
    let fallible = flow.function("fallible", |n| {
        n.outputs.push(declared("error", Kind::Value));
        n.error_output = Some(1);
        n.catches = vec![
            vec![ErrorMatch::Class(ErrorClass::Timeout)],
            vec![
                ErrorMatch::Named("NotFound".into()),
                ErrorMatch::Class(ErrorClass::Panic),
            ],
        ];
    });
    let error = Source::Output {
        node: fallible,
        output: 1,
    };
    flow.function("on_timeout", |n| {
        n.gates = vec![catch(fallible, 0)];
        n.inputs = vec![input("error", error)];
    });
    flow.function("on_other", |n| {
        n.gates = vec![catch(fallible, 1)];
        n.inputs = vec![input("error", error)];
    });
    flow.function("after", |n| n.inputs = vec![input("made", out(fallible))]);
    flow.function("join", |n| {
        n.inputs = vec![optional("made", out(fallible)), optional("error", error)];
    });
    flow
}

#[test]
fn a_constant_that_found_no_room_is_never_taken_for_an_empty_one() {
    let mut flow = Flow::default();
    let (kind, items) = (Kind::Value, vec![b"7".to_vec()]);
    flow.constants = vec![Constant { kind, items }];
    flow.function("first", |n| {
        n.inputs = vec![input("i", Source::Constant(0))]
    });
    flow.function("second", |n| {
        n.inputs = vec![input("i", Source::Constant(0))]
    });
    for (workers, full) in [(1, 0), (2, 0), (2, 1)] {
        let mut rig = Rig::with_room(&flow, workers, |worker| worker != full);
        rig.invoke(&[]);
        let failure = rig.failure();
        assert!(matches!(failure, Failure::Refused { .. }), "{failure:?}");
        let reason = failure.to_string();
        assert!(
            reason.contains("no room in this worker's memory (the arena is full)"),
            "{reason}"
        );
        let full_node = if full == 0 { "first" } else { "second" };
        assert_eq!(rig.attempts(full_node), 0);
        rig.nothing_is_left();
    }
}

#[test]
fn a_catch_is_live_only_for_a_failure_that_it_takes_and_all_else_is_dead() {
    let flow = caught();
    for (class, cause, by) in [
        (ErrorClass::Timeout, "slow", "on_timeout"),
        (ErrorClass::Error, "NotFound: no such key", "on_other"),
        (ErrorClass::Panic, "at the disco", "on_other"),
    ] {
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.fail("fallible", class, cause);
            let text = format!(
                r#"{{"node":"fallible","class":"{}","cause":"{cause}","attempt":1}}"#,
                class.name()
            );
            assert_eq!(rig.saw(by), [one(&text)]);
            assert_eq!(rig.saw("join"), [Seen::Absent, one(&text)]);
            rig.end_all();
            rig.result().unwrap();
            let handlers = rig.attempts("on_timeout") + rig.attempts("on_other");
            assert_eq!((handlers, rig.attempts("after")), (1, 0));
        });
    }
}

#[test]
fn a_catch_is_dead_when_its_node_ends_well() {
    each_placement(&caught(), |rig| {
        rig.invoke(&[]);
        rig.end("fallible");
        assert_eq!(rig.saw("join"), [one("fallible"), Seen::Absent]);
        rig.end_all();
        rig.result().unwrap();
        let handlers = rig.attempts("on_timeout") + rig.attempts("on_other");
        assert_eq!((handlers, rig.attempts("after")), (0, 1));
    });
}

#[test]
fn a_failure_that_no_catch_takes_fails_the_invocation_with_node_attempt_and_cause() {
    each_placement(&caught(), |rig| {
        rig.invoke(&[]);
        rig.fail("fallible", ErrorClass::Error, "Other: no");
        let failure = Failure::Node {
            node: "fallible".into(),
            worker: "w0".into(),
            attempt: 1,
            cause: "Other: no".into(),
        };
        assert_eq!(rig.failure(), &failure);
    });
}

#[test]
fn only_failures_that_retry_names_are_tried_again() {
    let mut flow = Flow::default();
    flow.function("tries", |n| {
        n.retriers = vec![Retry {
            attempts: 3,
            on: vec![
                ErrorMatch::Class(ErrorClass::Crash),
                ErrorMatch::Named("Busy".into()),
            ],
            ..Retry::default()
        }];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.fail("tries", ErrorClass::Crash, "it died");
        rig.fail("tries", ErrorClass::Error, "Busy: later");
        assert_eq!(rig.running[0].attempt, 3);
        rig.fail("tries", ErrorClass::Crash, "it died");
        assert!(matches!(rig.failure(), Failure::Node { attempt: 3, .. }));
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.fail("tries", ErrorClass::Error, "Busybody");
        assert!(matches!(rig.failure(), Failure::Node { attempt: 1, .. }));
    });
}

#[test]
fn a_retry_waits_longer_by_its_factor_each_time() {
    let mut flow = Flow::default();
    flow.function("tries", |n| {
        n.retriers = vec![Retry {
            attempts: 4,
            backoff_ms: 10,
            factor_percent: 300,
            backoff_max_ms: 50,
            ..Retry::default()
        }];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        for wait_ms in [10, 30, 50] {
            rig.fail("tries", ErrorClass::Error, "no");
            rig.pass_ms(wait_ms - 1);
            assert!(!rig.runs("tries"), "{wait_ms} ms have not passed");
            rig.pass_ms(1);
            assert!(rig.runs("tries"), "{wait_ms} ms have passed");
        }
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_delay_holds_no_executor_and_is_kept() {
    let mut flow = Flow::default();
    for name in ["p", "q", "r", "s", "t", "u", "v", "w", "x", "y"] {
        flow.function(name, |n| n.delays = vec![Delay::Fixed(20)]);
    }
    let pause = flow.node("pause", Work::Nothing, |n| {
        n.delays = vec![Delay::Fixed(30)]
    });
    flow.function("later", |n| n.after = vec![pause]);
    flow.function("now", |_| ());
    flow.function("too", |_| ());
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        assert!(rig.runs("now") && rig.runs("too"), "executors are free");
        assert_eq!(rig.running.len(), 2);
        rig.end("now");
        rig.end("too");
        rig.pass_ms(19);
        assert!(rig.running.is_empty());
        rig.pass_ms(1);
        assert!(rig.runs("p"));
        rig.end_all();
        assert!(!rig.runs("later") && rig.answer.is_none());
        rig.pass_ms(10);
        rig.end("later");
        rig.result().unwrap();
    });
}

#[test]
fn an_invocation_that_exceeds_the_workflow_s_timeout_fails_and_starts_nothing_more() {
    let mut flow = Flow {
        timeout_ms: Some(50),
        ..Flow::default()
    };
    let first = flow.function("first", |_| ());
    flow.function("second", |n| n.after = vec![first]);
    flow.function("delayed", |n| n.delays = vec![Delay::Fixed(60)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.pass_ms(49);
        assert!(rig.answer.is_none());
        rig.pass_ms(1);
        assert_eq!(rig.failure(), &Failure::Timeout { milliseconds: 50 });
        rig.pass_ms(0);
        rig.end("first");
        assert!(rig.running.is_empty(), "what has not started never starts");
        assert_eq!(rig.late(), 1);
    });
}

#[test]
fn a_late_result_of_an_evaluation_is_dropped_and_counted() {
    let mut flow = Flow {
        timeout_ms: Some(5),
        ..Flow::default()
    };
    let formula = engine::plan::Formula::Value("1".into());
    flow.node("computes", Work::Compute(vec![formula]), |n| {
        n.outputs = vec![declared("out", Kind::Value)];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.pass_ms(5);
        assert_eq!(rig.failure(), &Failure::Timeout { milliseconds: 5 });
        rig.compute("computes", "1");
        assert_eq!(rig.late(), 1);
    });
}
