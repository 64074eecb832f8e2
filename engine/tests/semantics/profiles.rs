//! Profiles: every activation and every failed attempt is counted; times, bytes and items are those of the invocations that
//! are measured, and these are not too many.

use super::flow::{Flow, catch, input, out};
use super::rig::{EXECUTORS, Rig, each_whole};
use engine::core::{Evaluated, HISTOGRAMS_MAX};
use engine::plan::{ErrorClass, Retry, Source, Work, WorkflowInput};
use engine::profile::{CpuSums, Distribution, NodeProfile};
use faasstore::binding::Kind;
use faasstore::descriptor::CpuUse;
use std::collections::BTreeMap;

const TWICE: Retry = Retry {
    attempts: 2,
    backoff_ms: 10,
    factor_percent: 200,
    backoff_max_ms: 1000,
    jitter_percent: 0,
    on: Vec::new(),
};

fn list() -> Vec<WorkflowInput> {
    vec![WorkflowInput::new("list", Kind::List)]
}

/// Activations, failed attempts, and measured invocations in which it ran, by node.
fn counts(nodes: &BTreeMap<String, NodeProfile>) -> Vec<(&str, [u64; 3])> {
    let counts = nodes
        .iter()
        .map(|(name, node)| (name.as_str(), [node.activations, node.failures, node.ran]));
    counts.collect()
}

/// How many there were, and all together.
fn sums(distribution: &Distribution) -> (u64, u64) {
    (distribution.count(), distribution.sum())
}

/// The same in milliseconds.
fn sums_ms(distribution: &Distribution) -> (u64, u64) {
    assert_eq!(distribution.sum() % 1_000_000, 0);
    (distribution.count(), distribution.sum() / 1_000_000)
}

/// `each` runs for each item, and is tried again once; `mends` runs for those in which it failed for good.
fn items() -> Flow {
    let mut flow = Flow::default();
    flow.inputs = list();
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
        n.retriers = vec![TWICE];
        n.catches = vec![Vec::new()];
    });
    flow.function("mends", |n| {
        n.region = Some(region);
        n.gates = vec![catch(each, 0)];
    });
    flow.function("after", |n| n.after = vec![each]);
    flow
}

#[test]
fn counts_are_exact_through_items_retries_and_catches() {
    each_whole(&items(), |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        // Item 0 fails twice, item 1 once.
        rig.fail("each", ErrorClass::Error, "no");
        rig.pass_ms(1);
        rig.fail("each", ErrorClass::Timeout, "too long");
        rig.end("each");
        rig.pass_ms(10);
        rig.fail("each", ErrorClass::Error, "no");
        rig.end("mends");
        rig.pass_ms(1);
        rig.end("each");
        rig.end("after");
        rig.result().unwrap();
        let (nodes, _) = rig.profile();
        let expected = [
            ("after", [1, 0, 1]),
            ("each", [3, 3, 1]),
            ("mends", [1, 0, 1]),
        ];
        assert_eq!(counts(&nodes), expected);
        assert_eq!(sums(nodes["each"].items.as_ref().unwrap()), (1, 3));
        assert!(nodes["after"].items.is_none());
        // Of attempts that ended well, but of all that waited.
        assert_eq!(nodes["each"].run_ns.count(), 2);
        assert_eq!(nodes["each"].queued_ns.count(), 5);
    });
}

#[test]
fn run_time_is_from_dispatch_and_what_comes_before_is_waiting() {
    let mut flow = Flow::default();
    flow.inputs = list();
    let region = flow.region(Source::Input(0), |_| ());
    flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    let mut rig = Rig::new(&flow, 1);
    let texts: Vec<String> = (0..EXECUTORS + 2).map(|item| item.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    rig.invoke(&[("list", &texts)]);
    rig.pass_ms(5);
    (0..2).for_each(|_| rig.end("each"));
    // Two have run for 5 ms, two more begin now, which have waited as long; all others run for 12 ms and for 7 ms.
    rig.pass_ms(7);
    rig.end_all();
    let (nodes, _) = rig.profile();
    let (run, queued) = (&nodes["each"].run_ns, &nodes["each"].queued_ns);
    let long = u64::from(EXECUTORS) - 2;
    assert_eq!(
        sums_ms(run),
        (u64::from(EXECUTORS) + 2, 2 * 5 + long * 12 + 2 * 7)
    );
    assert_eq!(sums_ms(queued), (u64::from(EXECUTORS) + 2, 2 * 5));
    rig.nothing_is_left();
}

#[test]
fn bytes_are_those_of_all_activations_of_an_invocation() {
    let mut flow = Flow::default();
    flow.inputs = list();
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    let makes = flow.function("makes", |n| n.outputs[0].kind = Kind::List);
    let passes = flow.function("passes", |n| {
        n.inputs = vec![input("all", out(makes))];
        n.inputs[0].kind = Kind::List;
        n.after = vec![each];
    });
    flow.node("computes", Work::Compute(Vec::new()), |n| {
        n.outputs = flow_outputs();
        n.work = Work::Compute(vec![engine::plan::Formula::Value("1".into())]);
        n.after = vec![passes];
    });
    each_whole(&flow, |rig| {
        for invocation in 0..2 {
            if invocation > 0 {
                rig.read_answer();
                rig.pass_ms(100);
            }
            rig.invoke(&[("list", &["a", "b", "c"])]);
            (0..3).for_each(|_| rig.end("each"));
            rig.end("makes");
            rig.end("passes");
            rig.compute("computes", "12345");
        }
        let (nodes, _) = rig.profile();
        let bytes = |node: &str| sums(&nodes[node].outputs[0]);
        // "each0", "each1" and "each2"; "makesx" and "makesy"; "passes"; and what was computed. Twice.
        assert_eq!(bytes("each"), (2, 30));
        assert_eq!(bytes("makes"), (2, 24));
        assert_eq!(bytes("passes"), (2, 12));
        assert_eq!(bytes("computes"), (2, 10));
        let computes = &nodes["computes"];
        assert_eq!((computes.activations, computes.run_ns.count()), (2, 0));
    });
}

fn flow_outputs() -> Vec<engine::plan::Declaration> {
    vec![engine::plan::Declaration {
        name: "out".into(),
        kind: Kind::Value,
    }]
}

#[test]
fn a_region_within_another_is_measured_by_its_own_lists() {
    let mut flow = Flow::default();
    flow.inputs = list();
    let outer = flow.region(Source::Input(0), |_| ());
    let parts = flow.function("parts", |n| {
        n.region = Some(outer);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
        n.outputs[0].kind = Kind::List;
    });
    let inner = flow.region(out(parts), |region| region.parent = Some(outer));
    flow.function("inner", |n| {
        n.region = Some(inner);
        n.inputs = vec![input("part", Source::Item { up: 0 })];
    });
    each_whole(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        rig.end_all();
        rig.result().unwrap();
        let (nodes, _) = rig.profile();
        assert_eq!(counts(&nodes), [("inner", [6, 0, 1]), ("parts", [3, 0, 1])]);
        assert_eq!(sums(nodes["parts"].items.as_ref().unwrap()), (1, 3));
        assert_eq!(sums(nodes["inner"].items.as_ref().unwrap()), (3, 6));
    });
}

#[test]
fn what_was_cut_off_has_no_time_and_what_failed_elsewhere_no_bytes() {
    let mut flow = Flow::default();
    flow.function("first", |_| ());
    flow.function("second", |_| ());
    for cancels in [true, false] {
        let mut rig = Rig::new(&flow, 1);
        rig.invoke(&[]);
        rig.pass_ms(3);
        rig.end("first");
        if cancels {
            rig.cancel(1);
        } else {
            rig.fail("second", ErrorClass::Error, "no");
        }
        rig.failure();
        rig.pass_ms(0);
        rig.end_all();
        let (nodes, invocations) = rig.profile();
        let failures = u64::from(!cancels);
        assert_eq!(
            counts(&nodes),
            [("first", [1, 0, 0]), ("second", [1, failures, 0])]
        );
        assert_eq!(sums_ms(&nodes["first"].run_ns), (1, 3));
        assert_eq!(nodes["second"].run_ns.count(), 0);
        assert_eq!(nodes["first"].outputs[0].count(), 0);
        assert_eq!(invocations, [(1, 0)]);
        assert_eq!(rig.need_time(), [false]);
        rig.nothing_is_left();
    }
}

#[test]
fn a_node_that_the_lane_does_counts_as_often_as_it_is_done_and_as_it_fails() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    flow.node("nothing", Work::Nothing, |n| n.after = vec![choose]);
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[]);
    rig.choose("choose", Some(0));
    rig.read_answer();
    rig.invoke_as(2);
    rig.evaluated("choose", Evaluated::Failed("it has no size".into()));
    rig.failure();
    let (nodes, _) = rig.profile();
    assert_eq!(
        counts(&nodes),
        [("choose", [2, 1, 1]), ("nothing", [1, 0, 1])]
    );
    rig.nothing_is_left();
}

fn three() -> Flow {
    let mut flow = Flow::default();
    let first = flow.function("a", |_| ());
    let second = flow.function("b", |n| n.inputs = vec![input("x", out(first))]);
    flow.function("c", |n| n.inputs = vec![input("x", out(second))]);
    flow
}

/// Runs one invocation whole, in no time.
fn run(rig: &mut Rig, request: u64) {
    rig.invoke_as(request);
    rig.end_all();
    rig.read_answer();
}

#[test]
fn all_are_counted_and_not_all_are_measured() {
    let mut rig = Rig::new(&three(), 1);
    // The first is. Those that follow are not, until as much time has passed as it takes up.
    (1..=5).for_each(|request| run(&mut rig, request));
    assert_eq!(rig.profile().1, [(5, 1)]);
    rig.pass_ms(1);
    run(&mut rig, 6);
    assert_eq!(rig.profile().1, [(6, 2)]);
    let (nodes, _) = rig.profile();
    assert_eq!(nodes["b"].activations, 6);
    assert_eq!((nodes["b"].run_ns.count(), nodes["b"].ran), (2, 2));
    // One that sees much end puts off the next for longer: 200 µs for each.
    rig.pass_ms(1);
    rig.invoke_as(100);
    for request in 101..=120 {
        rig.pass_ms(0);
        rig.invoke_as(request);
        // All of the earlier one's nodes wait for its first, which has not ended.
        for node in ["a", "b", "c"] {
            let latest = rig.running.iter().rposition(|attempt| attempt.node == node);
            let attempt = rig.running.remove(latest.unwrap());
            rig.end_attempt(&attempt);
        }
        rig.read_answer();
    }
    assert_eq!(rig.need_time(), [true]);
    rig.end_all();
    rig.read_answer();
    assert_eq!(rig.need_time(), [false]);
    assert_eq!(rig.profile().1, [(27, 3)]);
    // 63 ended meanwhile.
    rig.pass_ms(12);
    run(&mut rig, 200);
    assert_eq!(rig.profile().1, [(28, 3)]);
    rig.pass_ms(1);
    run(&mut rig, 201);
    assert_eq!(rig.profile().1, [(29, 4)]);
    rig.invoke_as(202);
    rig.end_all();
    rig.nothing_is_left();
}

const MS: u64 = 1_000_000;

fn taken(cpu_ns: u64, alone_ns: u64) -> CpuUse {
    CpuUse { cpu_ns, alone_ns }
}

#[test]
fn executors_measure_only_what_is_long_and_only_in_measured_invocations() {
    let mut rig = Rig::new(&three(), 1);
    // `b` takes so long, the others no time.
    let round = |rig: &mut Rig, request: u64, b_ms: u64, measures: [bool; 3]| {
        rig.invoke_as(request);
        for (node, measures) in ["a", "b", "c"].into_iter().zip(measures) {
            assert_eq!(rig.measures(node), measures, "{node} in {request}");
            rig.pass_ms(if node == "b" { b_ms } else { 0 });
            rig.end(node);
        }
        rig.read_answer();
    };
    // Nothing is known of any of them.
    round(&mut rig, 1, 1, [true; 3]);
    round(&mut rig, 2, 0, [false, true, false]);
    // It comes too soon to be measured.
    round(&mut rig, 3, 0, [false; 3]);
    // `b` is known to be short by and by, and to be long at once.
    let rounds = [
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (9, false),
        (0, true),
    ];
    for (request, (b_ms, b)) in (4..).zip(rounds) {
        rig.pass_ms(10);
        round(&mut rig, request, b_ms, [false, b, false]);
    }
    rig.invoke_as(20);
    rig.end_all();
    rig.nothing_is_left();
    // One that is not measured stands beside one that is.
    let mut rig = Rig::new(&three(), 1);
    rig.invoke_as(1);
    assert!(rig.measures("a"));
    rig.invoke_as(2);
    assert!(!rig.measures("a"));
}

#[test]
fn what_executors_say_is_summed_and_bounded_by_what_the_lane_knows() {
    let mut flow = Flow::default();
    flow.function("n", |_| ());
    each_whole(&flow, |rig| {
        let said = [
            taken(3 * MS, 4 * MS),
            // It cannot have taken longer than its run, nor waited for a CPU then.
            taken(0, u64::MAX),
            // There are not so many CPUs.
            taken(u64::MAX, 0),
        ];
        for (request, cpu) in (1..).zip(said) {
            rig.invoke_as(request);
            rig.pass_ms(10);
            rig.end_measured("n", cpu);
            rig.read_answer();
        }
        let (nodes, _) = rig.profile();
        let expected = CpuSums {
            runs: 3,
            run_ns: 30 * MS,
            cpu_ns: 3 * MS + 4096 * 10 * MS,
            waited_ns: 6 * MS + 10 * MS,
        };
        assert_eq!(nodes["n"].cpu, expected);
        assert_eq!(sums_ms(&nodes["n"].run_ns), (3, 30));
        // What comes too soon to be measured is not, whatever its executor says.
        for request in 4..=5 {
            rig.invoke_as(request);
            rig.end_measured("n", taken(MS, MS));
            rig.read_answer();
        }
        assert_eq!(rig.profile().0["n"].cpu.runs, 4);
        // Nor is what comes late, or was begun before all was forgotten.
        rig.pass_ms(10);
        rig.invoke_as(6);
        rig.cancel(6);
        rig.read_answer();
        rig.end_measured("n", taken(MS, MS));
        assert_eq!(rig.profile().0["n"].cpu.runs, 4);
        rig.pass_ms(10);
        rig.invoke_as(7);
        rig.forget_profile();
        rig.end_measured("n", taken(MS, MS));
        assert_eq!(rig.profile().0["n"].cpu, CpuSums::default());
    });
}

#[test]
fn what_is_forgotten_does_not_come_back_with_what_is_under_way() {
    each_whole(&three(), |rig| {
        rig.invoke(&[]);
        rig.end("a");
        rig.forget_profile();
        rig.pass_ms(1);
        rig.end_all();
        rig.read_answer();
        let (nodes, invocations) = rig.profile();
        assert!(invocations.iter().all(|counts| *counts == (0, 0)));
        for node in nodes.values() {
            assert_eq!((node.run_ns.count(), node.ran), (0, 0));
        }
        rig.invoke_as(2);
        rig.end_all();
        let (nodes, invocations) = rig.profile();
        assert!(invocations.iter().all(|counts| *counts == (1, 1)));
        assert!(nodes.values().all(|node| node.ran == 1));
    });
}

#[test]
fn beyond_the_bound_sums_alone_are_kept_and_that_shows() {
    let mut flow = Flow::default();
    // Each has three: of run times, of waits, and of its output.
    let nodes = HISTOGRAMS_MAX / 3 + 10;
    for node in 0..nodes {
        flow.function(&format!("n{node}"), |_| ());
    }
    let mut rig = Rig::new(&flow, 1);
    for _ in 0..2 {
        run(&mut rig, 1);
        let (nodes, _) = rig.profile();
        let whole = nodes.values().filter(|node| node.run_ns.is_whole());
        assert_eq!(whole.count(), HISTOGRAMS_MAX / 3);
        for node in nodes.values() {
            assert_eq!((node.run_ns.count(), node.outputs[0].count()), (1, 1));
            assert_eq!(node.outputs[0].is_whole(), node.run_ns.is_whole());
        }
        // Their room is free again.
        rig.forget_profile();
    }
    rig.invoke_as(2);
    rig.end_all();
    rig.nothing_is_left();
}
