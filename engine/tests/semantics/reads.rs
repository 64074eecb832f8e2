//! What is counted of payloads that are read: each once, at the edge over which it came, and by the tier.

use super::flow::{Flow, input, optional, out, over_list};
use super::quota::rules;
use super::rig::{Rig, Use};
use engine::plan::{Constant, ErrorClass, InputPlan, Retry, Source, WorkflowInput};
use engine::reads::{Amount, Reads, Way};
use faasstore::binding::Kind;
use std::collections::BTreeMap;

type Edges = BTreeMap<(String, String), Reads>;

/// So many payloads with so many bytes in all, that came this way over an edge.
fn came(edge: (&str, &str), way: Way, payloads: &[u64]) -> ((String, String), Reads) {
    let mut reads = Reads::default();
    payloads.iter().for_each(|bytes| reads.count(way, *bytes));
    ((edge.0.to_owned(), edge.1.to_owned()), reads)
}

fn edges(expected: impl IntoIterator<Item = ((String, String), Reads)>) -> Edges {
    expected.into_iter().collect()
}

/// What is longer than what fits into a message.
const LONG: usize = 20_000;

/// Two nodes, one behind the other, behind two inputs; another input has a default, which is a constant.
fn chain() -> Flow {
    let mut flow = Flow {
        inputs: vec![
            WorkflowInput::new("short", Kind::Bytes),
            WorkflowInput::new("long", Kind::Bytes),
        ],
        constants: vec![Constant {
            kind: Kind::Bytes,
            items: vec![b"constant".to_vec()],
        }],
        ..Flow::default()
    };
    let first = flow.function("first", |node| {
        node.inputs = vec![
            input("short", Source::Input(0)),
            input("long", Source::Input(1)),
            input("constant", Source::Constant(0)),
        ];
    });
    let second = flow.function("second", |node| {
        // Twice the same: two reads of one edge.
        node.inputs = vec![input("one", out(first)), input("two", out(first))];
    });
    flow.output("end", &[out(second)], false);
    flow.output("middle", &[out(first)], false);
    flow
}

#[test]
fn each_read_counts_once_where_it_is_read_and_by_how_it_came() {
    let long = "x".repeat(LONG);
    for (workers, way) in [(1, Way::Shared), (2, Way::Inline)] {
        let mut rig = Rig::new(&chain(), workers);
        rig.invoke(&[("short", &["abc"]), ("long", &[&long])]);
        rig.end("first");
        rig.end("second");
        rig.result().unwrap();
        let expected = [
            came(("input.short", "first"), Way::Inline, &[3]),
            came(("input.long", "first"), Way::Peer, &[LONG as u64]),
            came(("first.out", "second"), way, &[5, 5]),
            came(("second.out", "output.end"), way, &[6]),
            came(("first.out", "output.middle"), Way::Shared, &[5]),
        ];
        assert_eq!(rig.edges(), edges(expected), "{workers} workers");
        rig.nothing_is_left();
    }
}

#[test]
fn what_another_attempt_sees_again_is_no_other_read() {
    let mut flow = Flow {
        inputs: vec![WorkflowInput::new("in", Kind::Bytes)],
        ..Flow::default()
    };
    flow.function("tried", |node| {
        node.inputs = vec![input("in", Source::Input(0))];
        node.retriers = vec![Retry {
            attempts: 3,
            ..Retry::default()
        }];
    });
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[("in", &["abc"])]);
    rig.fail("tried", ErrorClass::Error, "no");
    rig.fail("tried", ErrorClass::Error, "no");
    rig.end("tried");
    assert_eq!(rig.attempts("tried"), 3);
    let expected = [came(("input.in", "tried"), Way::Inline, &[3])];
    assert_eq!(rig.edges(), edges(expected));
    rig.nothing_is_left();
}

#[test]
fn what_began_counts_though_its_invocation_is_cancelled() {
    let mut flow = Flow {
        inputs: vec![WorkflowInput::new("in", Kind::Bytes)],
        ..Flow::default()
    };
    flow.function("runs", |node| {
        node.inputs = vec![input("in", Source::Input(0))];
    });
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[("in", &["abc"])]);
    rig.cancel(1);
    let expected = [came(("input.in", "runs"), Way::Inline, &[3])];
    assert_eq!(rig.edges(), edges(expected));
    rig.nothing_is_left();
}

#[test]
fn items_count_one_by_one_and_what_gathers_them_as_many() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let made = flow.function("make", |node| {
        node.region = Some(region);
        node.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    flow.function("all", |node| {
        node.inputs = vec![InputPlan::new("all", Kind::List, out(made))];
    });
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[("list", &["a", "bb", ""])]);
    rig.end_all();
    rig.result().unwrap();
    let made: Vec<u64> = (0..3)
        .map(|item| format!("make{item}").len() as u64)
        .collect();
    let expected = [
        came(("input.list", "make"), Way::Inline, &[1, 2, 0]),
        came(("make.out", "all"), Way::Shared, &made),
    ];
    assert_eq!(rig.edges(), edges(expected));
    rig.nothing_is_left();
}

#[test]
fn of_alternatives_the_one_counts_that_is_read() {
    let mut flow = Flow {
        inputs: vec![WorkflowInput::new("in", Kind::Value)],
        ..Flow::default()
    };
    let choice = flow.switch("choice", 2, |node| {
        node.inputs = vec![InputPlan::new("in", Kind::Value, Source::Input(0))];
    });
    let [left, right] = [("left", 0), ("right", 1)].map(|(name, case)| {
        flow.function(name, |node| {
            node.gates = vec![super::flow::case(choice, case)]
        })
    });
    flow.function("reads", |node| {
        node.inputs = vec![optional("one", out(left))];
        node.inputs[0].sources.push(out(right));
    });
    let mut rig = Rig::new(&flow, 1);
    rig.invoke(&[("in", &["abc"])]);
    rig.choose("choice", Some(1));
    rig.end("right");
    rig.end("reads");
    rig.result().unwrap();
    let expected = [
        came(("input.in", "choice"), Way::Inline, &[3]),
        came(("right.out", "reads"), Way::Shared, &[5]),
    ];
    assert_eq!(rig.edges(), edges(expected));
    rig.nothing_is_left();
}

/// Three make ten bytes each, which are read once `slow` has ended too: by one, and by another.
#[test]
fn what_was_brought_back_is_a_miss_for_who_reads_it_first_and_found_by_the_next() {
    let mut flow = Flow::default();
    let slow = flow.function("slow", |_| ());
    let made = ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"].map(|name| flow.function(name, |_| ()));
    for (reader, made) in ["x", "y", "z"].into_iter().zip(made) {
        flow.function(reader, |node| {
            node.inputs = vec![input("made", out(made)), input("slow", out(slow))];
        });
    }
    let [_, _, last] = made;
    flow.function("again", |node| {
        node.inputs = vec![input("made", out(last)), input("slow", out(slow))];
    });
    let mut rig = Rig::short_of_memory(&flow, rules(20));
    rig.invoke(&[]);
    for name in ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"] {
        rig.end(name);
    }
    assert_eq!(rig.carrying().len(), 2);
    rig.carried(true);
    rig.end("slow");
    while rig.elsewhere() != (0, 0) {
        rig.come_back(None);
        for reader in ["x", "y", "z"] {
            if rig.runs(reader) {
                rig.end(reader);
            }
        }
    }
    rig.end_all();
    rig.result().unwrap();
    let counted = rig.edges();
    let of = |from: &str, to: &str| counted[&(from.to_owned(), to.to_owned())];
    let brought_back = Amount {
        payloads: 1,
        bytes: 10,
    };
    let away: u64 = ["x", "y"]
        .into_iter()
        .zip(["aaaaaaaaaa.out", "bbbbbbbbbb.out"])
        .map(|(reader, made)| of(made, reader).misses())
        .sum();
    let last = [of("cccccccccc.out", "z"), of("cccccccccc.out", "again")];
    assert_eq!(away + last[0].misses() + last[1].misses(), 2, "{counted:?}");
    let both = [
        last[0].hits() + last[1].hits(),
        last[0].misses() + last[1].misses(),
    ];
    assert_eq!(both, [1, 1], "it came back once: {counted:?}");
    let spilled = last.iter().find(|reads| reads.misses() > 0);
    assert_eq!(spilled.map(|reads| reads.spill), Some(brought_back));
    let carried = rig.carried_so_far();
    assert_eq!(
        carried.spill.out,
        Amount {
            payloads: 2,
            bytes: 20
        }
    );
    assert_eq!(carried.spill.back, carried.spill.out);
    rig.nothing_is_left();
}

/// Items of five bytes each, of which no more than a few fit into memory.
#[test]
fn an_item_counts_as_it_is_given_and_as_copied_if_it_was() {
    const ITEMS: u32 = 8;
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let made = flow.function("make", |node| {
        node.region = Some(region);
        node.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    flow.function("all", |node| {
        node.inputs = vec![InputPlan::new("all", Kind::List, out(made))];
    });
    let mut rig = Rig::short_of_memory(&flow, rules(30));
    let list: Vec<String> = (0..ITEMS).map(|item| item.to_string()).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    rig.invoke(&[("list", &list)]);
    while !rig.runs("all") {
        rig.carried(true);
        rig.come_back(None);
        if rig.runs("make") {
            rig.end("make");
        }
    }
    let edge = ("make.out".to_owned(), "all".to_owned());
    assert_eq!(rig.edges().get(&edge), None, "it has asked for none");
    rig.want("all", (Some(0), Use::Passing), &[]).unwrap();
    while rig.given.is_empty() {
        rig.carried(true);
        rig.copied();
    }
    rig.given.clear();
    assert_eq!(rig.edges()[&edge].all().payloads, 1);
    rig.want("all", (None, Use::Passing), &[0]).unwrap();
    let _ = rig.walk("all", ITEMS);
    let reads = rig.edges()[&edge];
    assert_eq!(reads.all().payloads, 1 + u64::from(ITEMS));
    assert!(reads.copied.payloads > 2, "{reads:?}");
    assert_eq!(reads.copied, reads.spill, "none was brought back to stay");
    assert_eq!(reads.copied.bytes, 5 * reads.copied.payloads);
    assert_eq!(reads.shared.payloads, reads.hits());
    let carried = rig.carried_so_far();
    assert!(carried.spill.copied.payloads >= reads.copied.payloads);
    assert_eq!(
        carried.spill.copied.bytes,
        5 * carried.spill.copied.payloads
    );
    rig.end_all();
    rig.nothing_is_left();
}

#[test]
fn what_a_later_attempt_was_brought_and_passes_on_was_not_brought_back_for_the_next() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let made = flow.function("make", |node| {
        node.region = Some(region);
        node.inputs = vec![input("item", Source::Item { up: 0 })];
    });
    let all = flow.function("all", |node| {
        node.inputs = vec![InputPlan::new("all", Kind::List, out(made))];
        node.retriers = vec![Retry {
            attempts: 2,
            ..Retry::default()
        }];
    });
    flow.function("next", |node| {
        node.inputs = vec![input("one", out(all))];
    });
    let mut rig = Rig::short_of_memory(&flow, rules(30));
    rig.invoke(&[("list", &["0", "1", "2", "3", "4", "5", "6", "7"])]);
    while !rig.runs("all") {
        rig.carried(true);
        rig.come_back(None);
        if rig.runs("make") {
            rig.end("make");
        }
    }
    for attempt in 0..2 {
        if attempt > 0 {
            rig.fail("all", ErrorClass::Error, "it is tried again");
        }
        rig.want("all", (Some(0), Use::Kept), &[]).unwrap();
        while rig.given.is_empty() {
            rig.carried(true);
            assert!(rig.copied() > 0, "it was away");
        }
        rig.given.clear();
    }
    rig.pass_item_on("all", 0).unwrap();
    rig.end("next");
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let counted = rig.edges();
    let asked_for = counted[&edge("make.out", "all")];
    assert_eq!((asked_for.all().payloads, asked_for.spill.payloads), (1, 1));
    let next = came(("all.out", "next"), Way::Shared, &[1]);
    assert_eq!(counted[&next.0], next.1);
    rig.end_all();
    rig.nothing_is_left();
}
