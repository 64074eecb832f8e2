//! How long what runs may hold what it reads, and executors that are replaced.

use super::flow::{Flow, catch, input, out};
use super::rig::{Rig, each_placement};
use engine::plan::{ErrorClass, ErrorMatch, InputPlan, Retry, Source, WorkflowInput};
use engine::wire::Failure;
use faasstore::Cancelled;
use faasstore::binding::Kind;

/// `reads` what the client gives; `later` waits for it. Nothing may go on for more than 10 ms.
fn reading(retriers: Vec<Retry>) -> Flow {
    let mut flow = Flow {
        lease_ms_max: Some(10),
        inputs: vec![WorkflowInput::new("data", Kind::Bytes)],
        ..Flow::default()
    };
    let reads = flow.function("reads", |n| {
        n.inputs = vec![InputPlan::new("data", Kind::Bytes, Source::Input(0))];
        n.retriers = retriers;
    });
    flow.function("later", |n| n.inputs = vec![input("in", out(reads))]);
    flow.output("out", &[out(reads)], false);
    flow
}

fn invoke(rig: &mut Rig) {
    rig.invoke(&[("data", &["payload"])]);
}

#[track_caller]
fn failed_for_holding(rig: &Rig, attempt: u32) {
    let Failure::Node {
        node,
        attempt: last,
        cause,
        ..
    } = rig.failure()
    else {
        panic!("{:?}", rig.failure());
    };
    assert_eq!((node.as_str(), *last), ("reads", attempt));
    assert!(
        cause.starts_with("it has held what it reads for 10 ms, the most that worker w")
            && cause.contains("--lease-max-ms"),
        "{cause}"
    );
}

#[test]
fn what_holds_its_inputs_for_too_long_is_told_to_stop_and_has_failed_whatever_it_returns() {
    for well in [true, false] {
        each_placement(&reading(Vec::new()), |rig| {
            invoke(rig);
            rig.pass_ms(9);
            assert_eq!(rig.told, []);
            rig.pass_ms(1);
            assert_eq!(rig.told, [("reads".to_owned(), Cancelled::TimedOut)]);
            assert!(rig.answer.is_none() && rig.killed == 0, "it has its grace");
            match well {
                true => rig.end("reads"),
                false => rig.fail("reads", ErrorClass::Error, "told to stop"),
            }
            failed_for_holding(rig, 1);
            let counters = rig.counters();
            assert_eq!(
                (counters.leases_expired, counters.told_returned),
                (1, 1),
                "{counters:?}"
            );
            assert!(!rig.runs("later"));
        });
    }
}

#[test]
fn each_activation_has_its_own_time_though_an_executor_has_one_timer() {
    let retriers = || {
        vec![Retry {
            attempts: 2,
            ..Retry::default()
        }]
    };
    each_placement(&reading(retriers()), |rig| {
        invoke(rig);
        rig.pass_ms(9);
        rig.fail("reads", ErrorClass::Error, "no");
        rig.pass_ms(9);
        assert_eq!(rig.told, [], "9 ms of the second attempt");
        rig.end("reads");
        rig.pass_ms(9);
        assert_eq!(rig.told, []);
        rig.pass_ms(1);
        assert_eq!(rig.told, [("later".to_owned(), Cancelled::TimedOut)]);
        rig.end("later");
        assert!(matches!(rig.failure(), Failure::Node { node, .. } if node == "later"));
        // Nothing runs any more.
        rig.pass_ms(100);
        assert_eq!((rig.told.len(), rig.killed), (1, 0));
    });
}

#[test]
fn what_begins_while_its_executor_is_watched_is_watched_to_its_own_end() {
    let retriers = vec![Retry {
        attempts: 2,
        ..Retry::default()
    }];
    each_placement(&reading(retriers), |rig| {
        invoke(rig);
        rig.pass_ms(9);
        rig.fail("reads", ErrorClass::Error, "no");
        rig.pass_ms(9);
        assert_eq!(rig.told, []);
        rig.pass_ms(1);
        assert_eq!(rig.told, [("reads".to_owned(), Cancelled::TimedOut)]);
        rig.end("reads");
        failed_for_holding(rig, 2);
    });
}

#[test]
fn it_is_a_timeout_to_those_who_try_again_and_to_those_who_catch() {
    let on = || vec![ErrorMatch::Class(ErrorClass::Timeout)];
    let again = vec![Retry {
        attempts: 2,
        on: on(),
        ..Retry::default()
    }];
    let mut flow = reading(again);
    flow.nodes[0].catches.push(on());
    let takes = flow.function("takes", |n| n.gates = vec![catch(0, 0)]);
    flow.output("taken", &[out(takes)], true);
    flow.outputs[0].optional = true;
    each_placement(&flow, |rig| {
        invoke(rig);
        for attempt in 1..=2 {
            assert_eq!(rig.attempts("reads"), attempt);
            rig.pass_ms(10);
            rig.end("reads");
        }
        rig.end("takes");
        assert_eq!(rig.result(), Ok(()));
        assert_eq!(rig.told.len(), 2);
    });
}

#[test]
fn what_does_not_come_back_in_its_grace_is_killed_and_its_cause_says_both() {
    let mut rig = Rig::new(&reading(Vec::new()), 1);
    invoke(&mut rig);
    rig.pass_ms(10);
    rig.pass_ms(1);
    assert_eq!(rig.killed, 1);
    rig.executor_dies(
        "reads",
        "executor 7: it has not come back within the grace period",
    );
    failed_for_holding(&rig, 1);
    let Failure::Node { cause, .. } = rig.failure() else {
        panic!("{:?}", rig.failure());
    };
    assert!(cause.ends_with("; executor 7: it has not come back within the grace period"));
    assert_eq!(rig.counters().told_killed, 1);
    rig.nothing_is_left();
}

#[test]
fn an_executor_that_has_left_leaves_no_timer_that_may_be_due_in_a_month() {
    let mut rig = Rig::new(&reading(Vec::new()), 1);
    invoke(&mut rig);
    assert_eq!(rig.next_timer_ms(), Some(10));
    rig.executor_dies("reads", "executor 7 died");
    // Others are idle, and kept for as long as anybody thinks of.
    let next = rig.next_timer_ms();
    assert!(next.is_none_or(|due| due > 1_000_000), "{next:?}");
    rig.nothing_is_left();
}

#[test]
fn what_was_told_for_that_is_not_told_again_when_its_invocation_is_over() {
    each_placement(&reading(Vec::new()), |rig| {
        invoke(rig);
        rig.pass_ms(10);
        rig.cancel(1);
        assert_eq!(rig.failure(), &Failure::Cancelled);
        let late = rig.late();
        rig.end("reads");
        assert_eq!(rig.late(), late + 1);
        assert_eq!(rig.told, [("reads".to_owned(), Cancelled::TimedOut)]);
    });
    // And the other way round.
    each_placement(&reading(Vec::new()), |rig| {
        invoke(rig);
        rig.pass_ms(9);
        rig.cancel(1);
        rig.end("reads");
        rig.pass_ms(10);
        assert_eq!(rig.told, [("reads".to_owned(), Cancelled::ByClient)]);
        assert_eq!(rig.counters().leases_expired, 0);
    });
}

#[test]
fn a_replaced_executor_ends_what_it_runs_and_takes_nothing_more() {
    let mut rig = Rig::new(&reading(Vec::new()), 1);
    invoke(&mut rig);
    rig.replace_all();
    // Those that idle end at once, the one that runs something when that has ended.
    let idle = rig.stopped;
    assert!(rig.runs("reads") && idle > 0);
    rig.end("reads");
    assert_eq!(rig.stopped, idle + 1);
    assert!(!rig.runs("later"), "there is nobody to run it");
    rig.replace_all();
    assert_eq!(rig.stopped, idle + 1, "once is enough");
    rig.stopped_have_left();
    assert!(rig.wanted > 0, "others are asked for");
    rig.executors_join();
    assert!(rig.runs("later"));
    rig.end("later");
    assert_eq!(rig.result(), Ok(()));
    assert_eq!(rig.counters().executors_replaced, rig.stopped as u64);
    rig.nothing_is_left();
}
