//! What a core keeps does not grow with what clients, items and failures have been, but with what there is.

use super::flow::{Flow, input};
use super::rig::{EXECUTORS, Rig, each_whole};
use engine::plan::{Delay, ErrorClass, Join, Source, Work, WorkflowInput};
use faasstore::binding::Kind;

const ITEM: Source = Source::Item { up: 0 };

#[test]
fn what_waits_for_an_executor_in_vain_leaves_its_queue() {
    let mut flow = Flow::default();
    flow.function("f", |_| ());
    let mut rig = Rig::new(&flow, 1);
    // All executors are busy with what goes on.
    for request in 0..u64::from(EXECUTORS) {
        rig.invoke_as(100 + request);
    }
    let mut most = 0;
    for _ in 0..1000 {
        rig.invoke_as(1);
        rig.cancel(1);
        rig.read_answer();
        most = most.max(rig.held().waiting);
    }
    assert_eq!(rig.invocations_held(), EXECUTORS as usize);
    assert!((1..16).contains(&most), "{most} of what is over wait");
    for _ in 1..EXECUTORS {
        rig.end("f");
        rig.read_answer();
    }
    rig.end("f");
    rig.nothing_is_left();
}

#[test]
fn an_executor_has_one_grace_timer_however_often_what_it_runs_is_over() {
    let mut flow = Flow::default();
    flow.function("f", |_| ());
    let mut rig = Rig::new(&flow, 1);
    for _ in 0..1000 {
        rig.invoke(&[]);
        rig.cancel(1);
        rig.read_answer();
        rig.end("f");
        rig.now_ns += 1;
    }
    let armed = rig.debug().matches("Grace {").count();
    assert!((1..=EXECUTORS as usize).contains(&armed), "{armed}");
    // The one that is armed looks after what runs now, and not before its own grace is over.
    rig.invoke(&[]);
    rig.cancel(1);
    rig.now_ns += 999;
    rig.pass_ms(0);
    assert_eq!(rig.killed, 0);
    rig.now_ns += 1;
    rig.pass_ms(0);
    assert_eq!(rig.killed, 1);
}

#[test]
fn of_failures_that_are_borne_one_is_kept_for_those_outside() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
        n.tolerated = true;
    });
    let free = flow.function("free", |_| ());
    flow.function("join", |n| {
        n.after = vec![each, free];
        n.join = Join::AtLeast(1);
    });
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[("list", &vec!["a"; 500])]);
    for _ in 0..400 {
        rig.fail("each", ErrorClass::Error, "MARKED");
    }
    assert_eq!(rig.debug().matches("MARKED").count(), 1);
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn items_that_only_wait_for_a_time_do_not_wait_for_each_other() {
    // Beside a node that waits: nothing, a function, a chain of two, and the same with `parallelism`.
    for (functions, parallelism, at_once) in [
        (0, None, 1000),
        (1, None, 1000),
        (2, None, 64),
        (2, Some(500), 500),
        (0, Some(10), 10),
    ] {
        let mut flow = Flow::default();
        flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
        let region = flow.region(Source::Input(0), |r| r.parallelism = parallelism);
        let waits = flow.node("waits", Work::Nothing, |n| {
            n.region = Some(region);
            n.delays = vec![Delay::Fixed(10)];
        });
        let mut before = waits;
        for name in ["one", "two"].into_iter().take(functions) {
            before = flow.function(name, |n| {
                n.region = Some(region);
                n.after = vec![before];
            });
        }
        each_whole(&flow, |rig| {
            rig.invoke(&[("list", &vec!["a"; 1000])]);
            assert_eq!(rig.most_timers(), at_once);
            while rig.answer.is_none() {
                rig.pass_ms(10);
                rig.end_all();
            }
            rig.result().unwrap();
        });
    }
}

#[test]
fn items_whose_items_wait_for_a_time_do_not_wait_for_each_other() {
    // Beside a node that waits in a region within: functions there, and in the region around it.
    for (within, around, parallelism, at_once) in [
        (0, 0, None, 1000),
        (1, 0, None, 1000),
        (0, 1, None, 1000),
        (1, 1, None, 64),
        (2, 0, None, 64),
        (1, 1, Some(500), 500),
        (0, 0, Some(10), 10),
    ] {
        let mut flow = Flow::default();
        flow.inputs = vec![
            WorkflowInput::new("list", Kind::List),
            WorkflowInput::new("one", Kind::List),
        ];
        let outer = flow.region(Source::Input(0), |r| r.parallelism = parallelism);
        let inner = flow.region(Source::Input(1), |r| r.parent = Some(outer));
        let mut before = flow.node("waits", Work::Nothing, |n| {
            n.region = Some(inner);
            n.delays = vec![Delay::Fixed(10)];
        });
        let functions = [(inner, within), (outer, around)];
        for (region, functions) in functions {
            for _ in 0..functions {
                let name = format!("f{}", flow.nodes.len());
                before = flow.function(&name, |n| {
                    n.region = Some(region);
                    n.after = vec![before];
                });
            }
        }
        each_whole(&flow, |rig| {
            rig.invoke(&[("list", &vec!["a"; 1000]), ("one", &["b"])]);
            assert_eq!(rig.most_timers(), at_once, "{within} {around}");
            while rig.answer.is_none() {
                rig.pass_ms(10);
                rig.end_all();
            }
            rig.result().unwrap();
        });
    }
}
