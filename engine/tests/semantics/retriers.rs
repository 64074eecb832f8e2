//! Several retriers of a node: which decides, what each counts, how long each waits, and that nothing is kept of it.

use super::flow::{Flow, catch, declared, input, out};
use super::rig::{Rig, each_placement, one};
use engine::plan::{ErrorClass, ErrorMatch, InputPlan, NodeId, Retry, Source, WorkflowInput};
use engine::wire::Failure;
use faasstore::binding::Kind;

/// A retrier of errors of this name, or of all failures if it is empty.
fn retrier(name: &str, attempts: u32, backoff_ms: u32) -> Retry {
    let named = (!name.is_empty()).then(|| ErrorMatch::Named(name.into()));
    Retry {
        attempts,
        backoff_ms,
        on: named.into_iter().collect(),
        ..Retry::default()
    }
}

/// `tries` has these retriers; `later` waits for it, and `beside` for nothing.
fn tries(retriers: Vec<Retry>) -> Flow {
    let mut flow = Flow::default();
    let tries = flow.function("tries", |n| n.retriers = retriers);
    flow.function("later", |n| n.after = vec![tries]);
    flow.function("beside", |_| ());
    flow
}

/// `tries` returns errors of these names, one after the other, and is tried again at once after each.
fn fails_and_goes_on(rig: &mut Rig, names: &[&str]) {
    for name in names {
        rig.fail("tries", ErrorClass::Error, &format!("{name}: no"));
        assert!(rig.runs("tries"), "{name} is tried again");
    }
}

fn fails_for_good_with(rig: &mut Rig, name: &str, attempts: u32) {
    let cause = format!("{name}: no");
    rig.fail("tries", ErrorClass::Error, &cause);
    let failure = Failure::Node {
        node: "tries".into(),
        worker: "w0".into(),
        attempt: attempts,
        cause,
    };
    assert_eq!(rig.failure(), &failure);
}

#[test]
fn each_retrier_counts_only_what_it_has_tried_again_itself() {
    let flow = tries(vec![retrier("Busy", 3, 0), retrier("", 4, 0)]);
    for order in [
        ["Busy", "Busy", "Odd", "Odd", "Odd"],
        ["Odd", "Odd", "Odd", "Busy", "Busy"],
        ["Odd", "Busy", "Odd", "Busy", "Odd"],
    ] {
        for last in ["Busy", "Odd"] {
            each_placement(&flow, |rig| {
                rig.invoke(&[]);
                fails_and_goes_on(rig, &order);
                fails_for_good_with(rig, last, 6);
            });
        }
    }
}

#[test]
fn a_retrier_that_is_used_up_leaves_nothing_to_those_behind_it() {
    let flow = tries(vec![
        retrier("Busy", 2, 0),
        retrier("Busy", 9, 0),
        retrier("", 9, 0),
    ]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        fails_and_goes_on(rig, &["Busy", "Odd"]);
        fails_for_good_with(rig, "Busy", 3);
    });
}

#[test]
fn a_retrier_of_one_attempt_keeps_what_it_takes_from_those_behind_it() {
    let flow = tries(vec![retrier("Fatal", 1, 0), retrier("", 3, 0)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        fails_for_good_with(rig, "Fatal", 1);
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        fails_and_goes_on(rig, &["Busy", "Busy"]);
        fails_for_good_with(rig, "Fatal", 3);
    });
}

#[test]
fn retriers_of_one_node_do_not_count_for_another() {
    let retriers = || vec![retrier("Busy", 2, 0), retrier("", 2, 0)];
    let mut flow = tries(retriers());
    // On the same worker as `tries`, be it one or two.
    flow.nodes[2].retriers = retriers();
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        for node in ["tries", "beside"] {
            rig.fail(node, ErrorClass::Error, "Busy: no");
            rig.fail(node, ErrorClass::Error, "Odd: no");
            assert!(rig.runs(node), "{node} has been tried again twice");
        }
        assert_eq!(rig.retried(), 2);
        rig.end("beside");
        assert_eq!(rig.retried(), 1);
        fails_for_good_with(rig, "Odd", 3);
    });
}

#[test]
fn what_no_retrier_takes_is_not_tried_again() {
    let flow = tries(vec![retrier("Busy", 9, 0), retrier("Full", 9, 0)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        fails_and_goes_on(rig, &["Full", "Busy"]);
        fails_for_good_with(rig, "Odd", 3);
    });
    each_placement(&tries(Vec::new()), |rig| {
        rig.invoke(&[]);
        fails_for_good_with(rig, "Busy", 1);
    });
}

#[test]
fn each_retrier_waits_by_its_own_backoff_and_count() {
    let slower = |retry: Retry, factor_percent, backoff_max_ms| Retry {
        factor_percent,
        backoff_max_ms,
        ..retry
    };
    let flow = tries(vec![
        slower(retrier("Busy", 9, 10), 300, 50),
        slower(retrier("Odd", 9, 7), 100, 1000),
        slower(retrier("", 9, 4), 200, 1000),
    ]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        for (name, wait_ms) in [
            ("Busy", 10),
            ("Else", 4),
            ("Odd", 7),
            ("Busy", 30),
            ("Odd", 7),
            ("Busy", 50),
            ("Else", 8),
            ("Else", 16),
        ] {
            rig.fail("tries", ErrorClass::Error, &format!("{name}: no"));
            rig.pass_ms(wait_ms - 1);
            assert!(!rig.runs("tries"), "{name}: {wait_ms} ms have not passed");
            rig.pass_ms(1);
            assert!(rig.runs("tries"), "{name}: {wait_ms} ms have passed");
        }
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn attempts_are_told_as_they_are_counted_in_all() {
    let mut flow = Flow::default();
    let tries = flow.function("tries", |n| {
        n.retriers = vec![retrier("Busy", 2, 0), retrier("", 2, 0)];
        n.outputs.push(declared("error", Kind::Value));
        n.error_output = Some(1);
        n.catches = vec![Vec::new()];
    });
    flow.function("handler", |n| {
        n.gates = vec![catch(tries, 0)];
        let error = Source::Output {
            node: tries,
            output: 1,
        };
        n.inputs = vec![input("error", error)];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        fails_and_goes_on(rig, &["Busy", "Odd"]);
        rig.fail("tries", ErrorClass::Error, "Odd: no");
        let text = r#"{"node":"tries","class":"error","cause":"Odd: no","attempt":3}"#;
        assert_eq!(rig.saw("handler"), [one(text)]);
        assert_eq!(rig.retried(), 0, "it has failed for good");
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn counts_are_kept_while_an_activation_is_tried_again_and_no_longer() {
    let flow = tries(vec![retrier("Busy", 3, 0), retrier("", 3, 10)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        assert_eq!(rig.retried(), 0, "it runs for the first time");
        fails_and_goes_on(rig, &["Busy", "Busy"]);
        assert_eq!(rig.retried(), 1);
        rig.end("tries");
        assert_eq!(rig.retried(), 0, "it has ended, and the invocation goes on");
        rig.end_all();
        rig.result().unwrap();
    });
    // The invocation fails for another node while this one waits for its next attempt.
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.fail("tries", ErrorClass::Error, "Odd: no");
        assert_eq!(rig.retried(), 1);
        rig.fail("beside", ErrorClass::Error, "no");
        assert_eq!(rig.retried(), 0, "the invocation is over");
        rig.pass_ms(10);
        assert!(!rig.runs("tries"), "what has not started never starts");
    });
    // One retrier needs none.
    each_placement(&tries(vec![retrier("", 3, 0)]), |rig| {
        rig.invoke(&[]);
        fails_and_goes_on(rig, &["Busy", "Odd"]);
        assert_eq!(rig.retried(), 0);
        fails_for_good_with(rig, "Busy", 3);
    });
}

/// `tries` runs for each item of the client's list.
fn each_tries(retriers: Vec<Retry>) -> Flow {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    let tries: NodeId = flow.function("tries", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
        n.retriers = retriers;
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(tries))];
    });
    flow
}

#[test]
fn retriers_count_for_each_item_by_itself() {
    let flow = each_tries(vec![retrier("Busy", 2, 0), retrier("", 2, 0)]);
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        // The activation that is tried again goes to the end of those that run.
        for name in ["Busy", "Busy", "Odd", "Odd", "Odd", "Busy"] {
            rig.fail("tries", ErrorClass::Error, &format!("{name}: no"));
        }
        let attempts: Vec<_> = rig
            .running
            .iter()
            .map(|one| (one.item, one.attempt))
            .collect();
        assert_eq!(attempts, [(Some(0), 3), (Some(1), 3), (Some(2), 3)]);
        assert_eq!(rig.retried(), 3);
        rig.end("tries");
        assert_eq!(rig.retried(), 2, "the first item has ended");
        rig.end_all();
        rig.result().unwrap();
    });
    // Places of items that have ended are used again, and nothing is left there of what was counted.
    each_placement(&flow, |rig| {
        let items: Vec<String> = (0..40).map(|item| item.to_string()).collect();
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        rig.invoke(&[("list", &items)]);
        while rig.runs("tries") {
            let attempt = rig.running[0].attempt;
            match attempt {
                1 => rig.fail("tries", ErrorClass::Error, "Busy: no"),
                2 => rig.fail("tries", ErrorClass::Error, "Odd: no"),
                _ => rig.end("tries"),
            }
        }
        assert_eq!((rig.attempts("tries"), rig.retried()), (120, 0));
        rig.end_all();
        rig.result().unwrap();
    });
    // It ends with all of its items.
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        fails_and_goes_on(rig, &["Busy", "Busy"]);
        assert_eq!(rig.retried(), 2);
        rig.fail("tries", ErrorClass::Error, "Busy: no");
        assert!(matches!(rig.failure(), Failure::Node { attempt: 2, .. }));
        rig.end("tries");
        assert_eq!(rig.retried(), 0);
    });
}
