//! What is read of lists: the items of a batch where the lane evaluates, and the first item that is there of what is gathered.

use super::flow::{Flow, case, catch, declared, input, optional, out, over_list};
use super::rig::{Seen, each_placement, list, one};
use engine::plan::{
    Delay, DelayExpression, ErrorClass, Formula, InputPlan, NodeId, Source, Work, WorkflowInput,
};
use faasstore::binding::Kind;

const ITEM: Source = Source::Item { up: 0 };
const LIST: Source = Source::Input(0);

fn first(node: NodeId) -> Source {
    Source::First { node, output: 0 }
}

#[test]
fn what_is_evaluated_reads_the_items_of_a_batch_as_a_list() {
    let mut flow = over_list();
    let region = flow.region(LIST, |r| r.batch = Some(2));
    let items = || vec![InputPlan::new("item", Kind::List, ITEM)];
    flow.switch("choose", 2, |n| {
        n.region = Some(region);
        n.inputs = items();
    });
    let sum = Work::Compute(vec![Formula::Value("size(item)".into())]);
    flow.node("sum", sum, |n| {
        n.region = Some(region);
        n.inputs = items();
        n.outputs = vec![declared("n", Kind::Value)];
    });
    flow.function("late", |n| {
        n.region = Some(region);
        n.delays = vec![Delay::Computed(DelayExpression {
            text: "size(item)".into(),
            inputs: items(),
        })];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        for name in ["choose", "sum", "late"] {
            let of_node = rig.started.iter().filter(|attempt| attempt.node == name);
            let mut saw: Vec<Vec<Seen>> = of_node.map(|attempt| attempt.saw.clone()).collect();
            saw.sort_by_key(|saw| std::cmp::Reverse(format!("{saw:?}").len()));
            assert_eq!(saw, [[list(&["a", "b"])], [list(&["c"])]], "{name}");
        }
        rig.compute("sum", "2");
        rig.compute("sum", "1");
        rig.end_all();
        rig.pass_ms(1);
        rig.end_all();
        rig.result().unwrap();
    });
}

/// `choose` lets `each` run for an item or not; outside `take` reads the first that ran, `either` that or `other`.
fn chosen() -> Flow {
    let mut flow = over_list();
    flow.inputs.push(WorkflowInput::new("other", Kind::Bytes));
    let region = flow.region(LIST, |_| ());
    let choose = flow.switch("choose", 2, |n| n.region = Some(region));
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.gates = vec![case(choose, 0)];
    });
    flow.function("take", |n| n.inputs = vec![input("i", first(each))]);
    flow.function("maybe", |n| n.inputs = vec![optional("i", first(each))]);
    flow.function("either", |n| {
        n.inputs = vec![input("i", first(each))];
        n.inputs[0].sources.push(Source::Input(1));
    });
    flow.output("taken", &[out(3)], true);
    flow
}

#[test]
fn the_first_item_that_is_there_is_read_of_what_is_gathered() {
    for (choices, there) in [
        (&[0, 0][..], Some("each0")),
        (&[1, 1, 0, 0], Some("each2")),
        (&[1, 1], None),
        (&[], None),
    ] {
        each_placement(&chosen(), |rig| {
            let items = vec!["x"; choices.len()];
            rig.invoke(&[("list", &items), ("other", &["o"])]);
            for choice in choices {
                assert_eq!(rig.attempts("take"), 0, "an item is left");
                rig.choose("choose", Some(*choice));
            }
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.attempts("take"), usize::from(there.is_some()));
            if let Some(text) = there {
                assert_eq!(rig.saw("take"), [one(text)]);
            }
            // The list is there, whatever is in it.
            assert_eq!(rig.saw("maybe"), [there.map_or(Seen::Absent, one)]);
            assert_eq!(rig.saw("either"), [there.map_or(one("o"), one)]);
        });
    }
}

/// `each` runs for each item of each item, and `told` says of an item what failed first in it.
fn two_deep() -> Flow {
    let mut flow = over_list();
    let outer = flow.region(LIST, |_| ());
    let inner = flow.region(LIST, |r| r.parent = Some(outer));
    let each = flow.function("each", |n| {
        n.region = Some(inner);
        n.outputs.push(declared("error", Kind::Value));
        n.error_output = Some(1);
        n.catches = vec![Vec::new()];
    });
    let error = Source::First {
        node: each,
        output: 1,
    };
    let told = flow.function("told", |n| {
        n.region = Some(outer);
        n.inputs = vec![InputPlan::new("why", Kind::Value, error)];
    });
    flow.function("why", |n| n.inputs = vec![input("why", first(told))]);
    flow.function("handler", |n| n.gates = vec![catch(each, 0)]);
    flow
}

#[test]
fn of_items_within_items_the_first_that_failed_is_found_from_list_to_list() {
    for failing in [&[false, false, true, true][..], &[false; 4], &[true; 4]] {
        each_placement(&two_deep(), |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            for (place, fails) in failing.iter().enumerate() {
                match fails {
                    true => rig.fail("each", ErrorClass::Error, &format!("it was {place}")),
                    false => rig.end("each"),
                }
            }
            let failed: Vec<usize> = (0..4).filter(|place| failing[*place]).collect();
            let items = failed.iter().map(|place| place / 2);
            let items: std::collections::BTreeSet<usize> = items.collect();
            assert_eq!(rig.attempts("told"), items.len(), "once for each item");
            for told in rig.started.iter().filter(|attempt| attempt.node == "told") {
                let item = told.item.unwrap() as usize;
                let least = failed.iter().find(|place| **place / 2 == item).unwrap();
                let [Seen::One(text)] = &told.saw[..] else {
                    panic!("{told:?}")
                };
                assert!(text.contains(&format!("it was {least}")), "{text}");
            }
            rig.end_all();
            rig.result().unwrap();
            let any = usize::from(!failed.is_empty());
            assert_eq!((rig.attempts("why"), rig.attempts("handler")), (any, any));
            if let Some(item) = items.first() {
                assert_eq!(rig.saw("why"), [one(&format!("told{item}"))]);
            }
        });
    }
}
