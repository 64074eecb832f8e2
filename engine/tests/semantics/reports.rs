//! Reports: what each node did adds up, whatever became of its activations.

use super::flow::{Flow, case, catch, input, out};
use super::rig::{Rig, each_placement};
use engine::plan::{ErrorClass, Retry, Source, WorkflowInput};
use engine::trace::TraceEnd;
use faasstore::binding::Kind;
use std::collections::BTreeMap;

/// What is told of a node: its activations, and those of them that ended well, that failed and that were cut off; how often
/// it was skipped; attempts, and those of them that failed; and milliseconds in attempts that ended well, and in others.
type Told = ([u32; 4], u32, [u32; 2], [u64; 2]);

fn told(rig: &Rig) -> BTreeMap<String, Told> {
    let answer = rig.answer.as_ref().expect("there is no answer");
    let ms = |ns: u64| {
        assert_eq!(ns % 1_000_000, 0);
        ns / 1_000_000
    };
    let node = |node: &engine::wire::NodeReport| {
        let activations = [node.activations, node.well, node.failed, node.cut_off];
        let attempts = [node.attempts, node.failures];
        let times = [ms(node.busy_ns), ms(node.failed_ns)];
        (
            node.node.clone(),
            (activations, node.skipped, attempts, times),
        )
    };
    answer.report.iter().map(node).collect()
}

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

/// `each` runs for three items, and is tried again once; `mends` runs for those in which it failed for good. A switch skips
/// `left`.
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
    let choose = flow.switch("choose", 2, |_| ());
    flow.function("left", |n| n.gates = vec![case(choose, 0)]);
    flow
}

#[test]
fn activations_attempts_and_failures_add_up() {
    each_placement(&items(), |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        rig.choose("choose", Some(1));
        rig.pass_ms(1);
        // Item 0 fails, is tried again, and fails for good; item 1 fails and then ends well; item 2 ends well.
        rig.fail("each", ErrorClass::Error, "no");
        rig.pass_ms(1);
        rig.fail("each", ErrorClass::Timeout, "too long");
        rig.pass_ms(1);
        rig.end("each");
        rig.pass_ms(10);
        rig.pass_ms(1);
        rig.fail("each", ErrorClass::Error, "no");
        rig.end("mends");
        rig.pass_ms(4);
        rig.end("each");
        rig.result().unwrap();
        let expected = [
            ("choose", ([1, 1, 0, 0], 0, [1, 0], [0, 0])),
            ("each", ([3, 2, 1, 0], 0, [5, 3], [8, 4])),
            ("left", ([0, 0, 0, 0], 1, [0, 0], [0, 0])),
            ("mends", ([1, 1, 0, 0], 2, [1, 0], [0, 0])),
        ];
        let expected = expected.map(|(node, told)| (node.to_owned(), told));
        assert_eq!(told(rig), BTreeMap::from(expected));
        let records = rig.answer.as_ref().unwrap().trace.iter();
        let ends = records.flat_map(|part| part.records.iter().map(|record| record.end));
        let timed_out = ends.filter(|end| *end == TraceEnd::TimedOut);
        assert_eq!(
            timed_out.count(),
            1,
            "a timeout is told from other failures"
        );
    });
}

#[test]
fn what_had_not_ended_when_the_invocation_failed_is_cut_off() {
    let mut flow = Flow::default();
    let before = flow.function("before", |_| ());
    flow.function("waits", |n| n.retriers = vec![TWICE]);
    flow.function("runs", |_| ());
    flow.function("fails", |_| ());
    flow.function("later", |n| n.after = vec![before]);
    for workers in [1, 5] {
        let mut rig = Rig::new(&flow, workers);
        rig.invoke(&[]);
        rig.pass_ms(2);
        rig.fail("waits", ErrorClass::Error, "no");
        rig.pass_ms(3);
        rig.fail("fails", ErrorClass::Error, "no");
        rig.failure();
        let told = told(&rig);
        assert_eq!(told["fails"], ([1, 0, 1, 0], 0, [1, 1], [0, 5]));
        let all = [
            ("before", ([1, 0, 0, 1], 0, [1, 0], [0, 0])),
            ("later", ([0, 0, 0, 0], 0, [0, 0], [0, 0])),
            ("runs", ([1, 0, 0, 1], 0, [1, 0], [0, 0])),
            ("waits", ([1, 0, 0, 1], 0, [1, 1], [0, 2])),
        ];
        for (node, expected) in all {
            // Of workers that are told to forget it nothing is heard.
            match told.get(node) {
                Some(told) => assert_eq!(*told, expected, "{node}"),
                None => assert_eq!(workers, 5, "{node}"),
            }
        }
        rig.end_all();
    }
}

#[test]
fn attempts_of_items_within_items_are_told_with_all_of_them() {
    let mut flow = Flow::default();
    flow.inputs = list();
    let outer = flow.region(Source::Input(0), |_| ());
    let splits = flow.function("splits", |n| {
        n.region = Some(outer);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
        n.outputs[0].kind = Kind::List;
    });
    let inner = flow.region(out(splits), |r| r.parent = Some(outer));
    let choose = flow.switch("choose", 2, |n| n.region = Some(inner));
    flow.function("each", |n| {
        n.region = Some(inner);
        n.gates = vec![case(choose, 1)];
    });
    flow.function("all", |n| n.after = vec![splits]);
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        for _ in 0..3 {
            rig.end("splits");
        }
        for place in 0..6 {
            rig.choose("choose", Some(u16::from(place % 2 == 1)));
        }
        rig.end_all();
        rig.result().unwrap();
        let mut items: BTreeMap<String, Vec<(Vec<u32>, TraceEnd)>> = BTreeMap::new();
        for part in &rig.answer.as_ref().unwrap().trace {
            let names: BTreeMap<_, _> = part.nodes.iter().cloned().collect();
            for record in &part.records {
                let node = items.entry(names[&record.node].clone()).or_default();
                node.push((part.items(record).collect(), record.end));
            }
        }
        items
            .values_mut()
            .for_each(|items| items.sort_by(|a, b| a.0.cmp(&b.0)));
        let all: Vec<Vec<u32>> = (0..3)
            .flat_map(|outer| [vec![outer, 0], vec![outer, 1]])
            .collect();
        let each = all.iter().cloned().map(|items| {
            let ran = items[1] == 1;
            (
                items,
                if ran {
                    TraceEnd::Well
                } else {
                    TraceEnd::Skipped
                },
            )
        });
        assert_eq!(items["each"], each.collect::<Vec<_>>());
        let chosen: Vec<_> = items["choose"]
            .iter()
            .map(|(items, _)| items.clone())
            .collect();
        assert_eq!(chosen, all);
        let single: Vec<_> = (0..3).map(|item| (vec![item], TraceEnd::Well)).collect();
        assert_eq!(items["splits"], single);
        assert_eq!(items["all"], [(Vec::new(), TraceEnd::Well)]);
    });
}
