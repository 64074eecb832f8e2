//! Traces: each attempt is told once, with when it could have started, when it started, and when and how it ended.

use super::flow::{Flow, case, input, out};
use super::rig::{CLOCK, EXECUTORS, Rig, each_placement, each_whole};
use engine::plan::{Delay, ErrorClass, InputPlan, Retry, Source, WorkflowInput};
use engine::trace::TraceEnd::{Failed, Running, Skipped, Well};
use engine::trace::{TraceEnd, TraceRecord};
use faasstore::binding::Kind;
use std::collections::BTreeMap;

/// What is told of an attempt: node, item, attempt, when it could have started, started and ended, all in milliseconds
/// since the invocation began, and how it ended.
type Told = (String, Option<u32>, u32, [u64; 3], TraceEnd);

/// All that the answer tells, by node, item and attempt. That it came from a worker of another is told by its part.
fn told(rig: &Rig) -> Vec<Told> {
    let answer = rig.answer.as_ref().expect("there is no answer");
    let mut all = Vec::new();
    for part in &answer.trace {
        let names: BTreeMap<_, _> = part.nodes.iter().cloned().collect();
        assert_eq!((part.dropped, part.clock), (0, CLOCK));
        assert_eq!(part.began_ns, 1, "messages take no time here");
        for record in &part.records {
            let TraceRecord {
                ready_ns,
                started_ns,
                ended_ns,
                ..
            } = *record;
            let times = [ready_ns, started_ns, ended_ns].map(|time| {
                assert_eq!(time % 1_000_000, 0, "{record:?}");
                time / 1_000_000
            });
            let name = names[&record.node].clone();
            all.push((name, record.item(), record.attempt, times, record.end));
        }
    }
    all.sort_by_key(|(node, item, attempt, ..)| (node.clone(), *item, *attempt));
    all
}

fn attempt(node: &str, item: u32, attempt: u32, times: [u64; 3], end: TraceEnd) -> Told {
    (node.to_owned(), Some(item), attempt, times, end)
}

fn alone(node: &str, times: [u64; 3], end: TraceEnd) -> Told {
    let attempt = u32::from(end != Skipped);
    (node.to_owned(), None, attempt, times, end)
}

#[test]
fn each_attempt_at_each_item_is_told_with_what_it_waited_for() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
        n.retriers = vec![Retry {
            attempts: 2,
            backoff_ms: 10,
            ..Retry::default()
        }];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(0))];
    });
    each_whole(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c", "d", "e"])]);
        rig.pass_ms(1);
        // The last item waited for an executor until now.
        rig.fail("each", ErrorClass::Error, "no");
        rig.pass_ms(1);
        for _ in 0..EXECUTORS {
            rig.end("each");
        }
        // The first one's second attempt waits for its backoff alone.
        rig.pass_ms(9);
        rig.pass_ms(4);
        rig.end("each");
        rig.end("all");
        rig.result().unwrap();
        let expected = [
            alone("all", [15, 15, 15], Well),
            attempt("each", 0, 1, [0, 0, 1], Failed),
            attempt("each", 0, 2, [11, 11, 15], Well),
            attempt("each", 1, 1, [0, 0, 2], Well),
            attempt("each", 2, 1, [0, 0, 2], Well),
            attempt("each", 3, 1, [0, 0, 2], Well),
            attempt("each", 4, 1, [0, 1, 2], Well),
        ];
        assert_eq!(told(rig), expected);
    });
}

#[test]
fn what_waits_for_an_executor_is_ready_before_it_starts() {
    let mut flow = Flow::default();
    let names: Vec<String> = (0..=EXECUTORS).map(|number| format!("n{number}")).collect();
    for name in &names {
        flow.function(name, |_| ());
    }
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[]);
    rig.pass_ms(3);
    rig.end_all();
    let last_started = told(&rig).iter().map(|(.., times, _)| times[1]).max();
    assert_eq!(last_started, Some(3));
    for (node, _, _, [ready, ..], _) in told(&rig) {
        assert_eq!(ready, 0, "{node}");
    }
}

#[test]
fn lanes_tell_of_what_they_do_and_of_what_is_skipped() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    flow.function("left", |n| n.gates = vec![case(choose, 0)]);
    let right = flow.function("right", |n| n.gates = vec![case(choose, 1)]);
    flow.node("pause", engine::plan::Work::Nothing, |n| {
        n.after = vec![right];
        n.delays = vec![Delay::Fixed(5)];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.pass_ms(2);
        rig.choose("choose", Some(1));
        rig.pass_ms(1);
        rig.end("right");
        rig.pass_ms(5);
        rig.result().unwrap();
        let expected = [
            alone("choose", [0, 0, 2], Well),
            alone("left", [0, 0, 0], Skipped),
            alone("pause", [8, 8, 8], Well),
            alone("right", [2, 2, 3], Well),
        ];
        assert_eq!(told(rig), expected);
        let answer = rig.answer.as_ref().unwrap();
        let records = answer.trace.iter().flat_map(|part| &part.records);
        let by_lane = records.filter(|record| record.executor().is_none()).count();
        assert_eq!(by_lane, 3, "all but `right`");
        let report = answer
            .report
            .iter()
            .map(|node| (node.activations, node.busy_ns));
        let report: Vec<_> = report.collect();
        assert_eq!(report, [(1, 2_000_000), (0, 0), (1, 1_000_000), (1, 0)]);
    });
}

#[test]
fn a_failure_is_answered_with_what_ran_until_then() {
    let mut flow = Flow::default();
    flow.function("slow", |_| ());
    flow.function("fails", |_| ());
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.pass_ms(4);
        rig.fail("fails", ErrorClass::Error, "no");
        rig.failure();
        let expected = [
            alone("fails", [0, 0, 4], Failed),
            alone("slow", [0, 0, 4], Running),
        ];
        assert_eq!(told(rig), expected);
    });
}

#[test]
fn nodes_of_a_region_that_is_skipped_are_told_by_their_names() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let makes = flow.function("makes", |n| {
        n.gates = vec![case(choose, 0)];
        n.outputs[0].kind = Kind::List;
    });
    let region = flow.region(out(makes), |_| ());
    flow.function("each", |n| n.region = Some(region));
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        rig.choose("choose", Some(1));
        rig.result().unwrap();
        let expected = [
            alone("choose", [0, 0, 0], Well),
            alone("each", [0, 0, 0], Skipped),
            alone("makes", [0, 0, 0], Skipped),
        ];
        assert_eq!(told(rig), expected);
    });
}
