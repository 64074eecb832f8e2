//! Cancelling by the client: what has not started never starts, and there is one answer.

use super::flow::{Flow, input, out};
use super::rig::{Rig, each_placement};
use engine::plan::{Delay, ErrorClass, InputPlan, Retry, Source, Work, WorkflowInput};
use engine::wire::Failure;
use faasstore::Cancelled;
use faasstore::binding::Kind;
use faasstore::descriptor::InvocationId;

/// `first` before `second`, one that waits for its delay, and one that waits to be tried again.
fn busy() -> Flow {
    let mut flow = Flow {
        timeout_ms: Some(50),
        ..Flow::default()
    };
    let first = flow.function("first", |_| ());
    flow.function("second", |n| n.inputs = vec![input("first", out(first))]);
    flow.function("delayed", |n| n.delays = vec![Delay::Fixed(10)]);
    flow.function("again", |n| {
        n.retriers = vec![Retry {
            attempts: 2,
            backoff_ms: 10,
            ..Retry::default()
        }];
    });
    flow.output("out", &[out(first)], false);
    flow
}

#[track_caller]
fn counted(rig: &Rig, cancelled: u64, dropped: u64) {
    let counters = rig.counters();
    let counted = (counters.invocations_cancelled, counters.cancels_dropped);
    assert_eq!(counted, (cancelled, dropped));
}

#[test]
fn what_a_client_cancels_is_answered_so_and_starts_nothing_more() {
    each_placement(&busy(), |rig| {
        rig.invoke(&[]);
        rig.fail("again", ErrorClass::Error, "no");
        rig.cancel(1);
        assert_eq!(rig.failure(), &Failure::Cancelled);
        let started = rig.started.len();
        let late = rig.late();
        rig.end("first");
        assert_eq!(rig.late(), late + 1, "its result comes too late");
        rig.pass_ms(100);
        assert_eq!(rig.started.len(), started, "it starts all the same");
        counted(rig, 1, 0);
        assert_eq!(rig.counters().invocations_failed, 1);
    });
}

/// What was told to stop, in the order of names, all for this reason.
#[track_caller]
fn told(rig: &Rig, nodes: &[&str], why: Cancelled) {
    let mut told = rig.told.clone();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = nodes.iter().map(|node| ((*node).to_owned(), why));
    assert_eq!(told, expected.collect::<Vec<_>>());
}

#[test]
fn what_runs_is_told_to_stop_and_why_on_whichever_worker() {
    each_placement(&busy(), |rig| {
        rig.invoke(&[]);
        assert_eq!(rig.told, []);
        rig.cancel(1);
        told(rig, &["again", "first"], Cancelled::ByClient);
    });
    // The time of the workflow is up.
    each_placement(&busy(), |rig| {
        rig.invoke(&[]);
        rig.end("first");
        rig.pass_ms(10);
        rig.pass_ms(40);
        assert!(matches!(rig.failure(), Failure::Timeout { .. }));
        told(rig, &["again", "delayed", "second"], Cancelled::TimedOut);
    });
    let mut forgetful = busy();
    forgetful.nodes[3].retriers.clear();
    each_placement(&forgetful, |rig| {
        rig.invoke(&[]);
        rig.fail("again", ErrorClass::Error, "no");
        assert!(matches!(rig.failure(), Failure::Node { .. }));
        told(rig, &["first"], Cancelled::FailedElsewhere);
        // It is over, and nobody is told of that again.
        rig.cancel(1);
        rig.pass_ms(100);
        told(rig, &["first"], Cancelled::FailedElsewhere);
    });
}

#[test]
fn what_comes_back_in_its_grace_is_told_apart_from_what_does_not() {
    let mut rig = Rig::new(&busy(), 1);
    rig.invoke(&[]);
    let counted = |rig: &Rig| {
        let counters = rig.counters();
        assert_eq!(counters.told_killed, rig.killed as u64);
        (
            counters.activations_told,
            counters.told_returned,
            counters.told_killed,
        )
    };
    assert_eq!(counted(&rig), (0, 0, 0));
    rig.cancel(1);
    assert_eq!(counted(&rig), (2, 0, 0));
    rig.end("first");
    assert_eq!(counted(&rig), (2, 1, 0));
    rig.pass_ms(1);
    assert_eq!(counted(&rig), (2, 1, 1));
    // A failure is an end, too, but that came too late.
    rig.fail("again", ErrorClass::Error, "told to stop");
    assert_eq!(counted(&rig), (2, 1, 1));
    rig.read_answer();
    rig.invoke(&[]);
    rig.cancel(1);
    for node in ["first", "again"] {
        rig.fail(node, ErrorClass::Error, "told to stop");
    }
    assert_eq!(counted(&rig), (4, 3, 1));
    assert_eq!(rig.counters().retries, 0);
    rig.nothing_is_left();
}

#[test]
fn a_cancel_of_what_is_over_or_was_never_asked_for_does_nothing_and_is_counted() {
    each_placement(&busy(), |rig| {
        rig.cancel(1);
        rig.invoke(&[]);
        rig.cancel(2);
        rig.cancel_by_another(1);
        assert!(rig.answer.is_none());
        rig.end_all();
        rig.pass_ms(10);
        rig.end_all();
        rig.result().unwrap();
        rig.cancel(1);
        rig.cancel(1);
        counted(rig, 0, 5);
        assert_eq!(rig.counters().invocations_ended, 1);
    });
}

#[test]
fn a_cancel_races_with_a_deadline_a_failure_and_the_last_output_for_one_answer() {
    // Whatever comes first is the answer, and a second one is none: the rig would find it.
    each_placement(&busy(), |rig| {
        rig.invoke(&[]);
        rig.pass_ms(45);
        for node in ["first", "second", "delayed"] {
            rig.end(node);
        }
        rig.fail("again", ErrorClass::Error, "no");
        rig.pass_ms(4);
        rig.cancel(1);
        rig.pass_ms(10);
        assert_eq!(rig.failure(), &Failure::Cancelled);
    });
    let mut forgetful = busy();
    forgetful.nodes[3].retriers.clear();
    for order in [false, true] {
        each_placement(&forgetful, |rig| {
            rig.invoke(&[]);
            if order {
                rig.cancel(1);
            }
            rig.fail("again", ErrorClass::Error, "no");
            rig.cancel(1);
            let cancelled = matches!(rig.failure(), Failure::Cancelled);
            assert_eq!(cancelled, order, "{:?}", rig.failure());
            counted(rig, u64::from(order), 1);
        });
    }
    // Its last output has come, and the lane has not tidied up after it: there is no answer yet.
    let mut one = Flow::default();
    let only = one.function("only", |_| ());
    one.output("out", &[out(only)], false);
    let mut rig = Rig::new(&one, 1);
    rig.invoke(&[]);
    rig.end_untidied("only");
    assert!(rig.answer.is_none());
    rig.cancel(1);
    assert_eq!(rig.failure(), &Failure::Cancelled);
    rig.nothing_is_left();
}

#[test]
fn a_foreach_of_many_items_is_cancelled_in_the_middle() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    let then = flow.function("then", |n| {
        n.region = Some(region);
        n.inputs = vec![input("each", out(each))];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(then))];
    });
    let items: Vec<String> = (0..2000).map(|item| item.to_string()).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &items)]);
        for _ in 0..100 {
            let attempt = rig.running.remove(0);
            rig.end_attempt(&attempt);
        }
        let started = rig.started.len();
        assert!(started > 100 && rig.answer.is_none());
        rig.cancel(1);
        assert_eq!(rig.failure(), &Failure::Cancelled);
        while !rig.running.is_empty() {
            let attempt = rig.running.remove(0);
            rig.end_attempt(&attempt);
        }
        assert_eq!(rig.started.len(), started, "an item starts all the same");
        assert_eq!(rig.invocations_held(), 0);
    });
}

#[test]
fn what_is_evaluated_when_its_client_cancels_comes_too_late() {
    let mut flow = Flow::default();
    let formula = engine::plan::Formula::Value("1".into());
    let computes = flow.node("computes", Work::Compute(vec![formula]), |n| {
        n.outputs = vec![super::flow::declared("out", Kind::Value)];
    });
    flow.function("behind", |n| {
        n.inputs = vec![input("value", out(computes))];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.cancel(1);
        assert_eq!(rig.failure(), &Failure::Cancelled);
        rig.compute("computes", "1");
        assert_eq!((rig.late(), rig.attempts("behind")), (1, 0));
    });
}

#[test]
fn what_is_cancelled_before_its_inputs_are_here_is_answered_and_was_never_taken() {
    let mut rig = Rig::new(&busy(), 1);
    rig.cancel_at_door(3);
    let answer = rig.answer.as_ref().unwrap();
    assert_eq!((answer.request, answer.invocation), (3, InvocationId(0)));
    assert_eq!(rig.failure(), &Failure::Cancelled);
    assert_eq!(rig.counters().invocations_taken, 0);
    counted(&rig, 1, 0);
    rig.nothing_is_left();
}

#[test]
fn of_two_with_one_number_a_cancel_ends_the_later_and_the_other_cannot_be_named() {
    let mut rig = Rig::new(&busy(), 2);
    rig.invoke(&[]);
    rig.invoke(&[]);
    rig.cancel(1);
    let later = rig.answer.take().unwrap();
    assert_eq!(later.result, Err(Failure::Cancelled));
    assert_eq!(later.invocation.0 as u32, 1, "{:?}", later.invocation);
    rig.cancel(1);
    assert!(rig.answer.is_none());
    counted(&rig, 1, 1);
    while !rig.running.is_empty() {
        rig.end_all();
        rig.pass_ms(10);
    }
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn the_end_of_another_one_with_its_number_does_not_keep_one_from_being_cancelled() {
    let mut flow = Flow::default();
    let only = flow.function("only", |_| ());
    flow.output("out", &[out(only)], false);
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.invoke(&[]);
        rig.end("only");
        let earlier = rig.answer.take().unwrap();
        assert_eq!(
            (earlier.invocation.0 as u32, earlier.result.is_ok()),
            (0, true)
        );
        rig.cancel(1);
        assert_eq!(rig.failure(), &Failure::Cancelled);
    });
}
