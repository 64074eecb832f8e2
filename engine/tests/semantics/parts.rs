//! Divided regions: each part runs for its share of the items where it is, and outside they are seen as one. That a division
//! changes nothing else, all tests of regions hold as well: they play each flow whole and divided.

use super::flow::{Flow, case, input, out, over_list};
use super::rig::{ABSENT, Attempt, Rig, Seen, list, one};
use engine::plan::{ErrorClass, InputPlan, Join, NodePlan, Retry, Source};
use engine::wire::Failure;
use faasstore::Cancelled;
use faasstore::binding::Kind;

const ITEM: Source = Source::Item { up: 0 };

/// `each` runs over the list that the client gives; `all` sees what it has made.
fn each_and_all(change: impl FnOnce(&mut NodePlan)) -> Flow {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
        change(n);
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(each))];
    });
    flow
}

/// Which items of a node have run on each worker.
fn items_by_worker(rig: &Rig, node: &str, workers: usize) -> Vec<Vec<u32>> {
    let on = |worker: usize| {
        let of_node = rig
            .started
            .iter()
            .filter(|one| one.node == node && one.worker == worker && one.attempt == 1);
        let mut items: Vec<u32> = of_node.filter_map(|one| one.item).collect();
        items.sort_unstable();
        items
    };
    (0..workers).map(on).collect()
}

fn running(rig: &Rig, node: &str, item: u32) -> Attempt {
    let is_it = |one: &&Attempt| one.node == node && one.item == Some(item);
    rig.running
        .iter()
        .find(is_it)
        .expect("it does not run")
        .clone()
}

#[test]
fn each_part_runs_for_its_share_of_the_items_under_their_own_numbers() {
    let flow = each_and_all(|_| ());
    let mut rig = Rig::divided(&flow, 2, &[3, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d", "e"])]);
    rig.end_all();
    rig.result().unwrap();
    let items = items_by_worker(&rig, "each", 2);
    assert_eq!(items, [vec![0, 1, 2], vec![3, 4]]);
    let saw = |item: u32| {
        let mut of_item = rig.started.iter().filter(|one| one.item == Some(item));
        of_item.next().unwrap().saw[0].clone()
    };
    assert_eq!((saw(0), saw(4)), (one("a"), one("e")));
    let gathered = ["each0", "each1", "each2", "each3", "each4"];
    assert_eq!(rig.saw("all"), [list(&gathered)]);
    rig.nothing_is_left();
}

#[test]
fn of_a_list_only_what_its_part_needs_goes_to_a_worker() {
    let flow = each_and_all(|_| ());
    let items = vec!["a"; 100];
    for (weights, to_the_other) in [([1, 1], 50), ([3, 1], 25), ([1, 9], 90)] {
        let mut rig = Rig::divided(&flow, 2, &weights);
        rig.invoke(&[("list", &items)]);
        assert_eq!(rig.sent, to_the_other, "{weights:?}");
        rig.end_all();
        rig.result().unwrap();
        // And back, since `all` runs on the first worker.
        assert_eq!(rig.sent, 2 * to_the_other, "{weights:?}");
        rig.nothing_is_left();
    }
}

#[test]
fn whoever_needs_a_whole_list_has_it_beside_a_part() {
    let mut flow = each_and_all(|_| ());
    flow.function("reads", |n| {
        n.inputs = vec![InputPlan::new("list", Kind::List, Source::Input(0))];
    });
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    rig.end_all();
    rig.result().unwrap();
    assert_eq!(rig.saw("reads"), [list(&["a", "b", "c", "d"])]);
    rig.nothing_is_left();
}

#[test]
fn parts_without_items_end_and_gather_nothing() {
    let flow = each_and_all(|_| ());
    for given in [&[][..], &["a"], &["a", "b"]] {
        let mut rig = Rig::divided(&flow, 3, &[1, 1, 1]);
        rig.invoke(&[("list", given)]);
        rig.end_all();
        rig.result().unwrap();
        let expected: Vec<String> = (0..given.len()).map(|item| format!("each{item}")).collect();
        assert_eq!(rig.saw("all"), [Seen::List(expected)]);
        rig.nothing_is_left();
    }
}

#[test]
fn parts_are_of_whole_batches_and_the_last_one_is_what_is_left() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |r| r.batch = Some(3));
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![InputPlan::new("items", Kind::List, ITEM)];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(each))];
    });
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d", "e", "f", "g"])]);
    // Two of three batches for the second worker, of which the last one has a single item.
    assert_eq!(rig.sent, 4);
    let mut started = rig.started.clone();
    started.sort_by_key(|one| one.item);
    let saw: Vec<Seen> = started.iter().map(|one| one.saw[0].clone()).collect();
    assert_eq!(
        saw,
        [list(&["a", "b", "c"]), list(&["d", "e", "f"]), list(&["g"])]
    );
    assert_eq!(
        items_by_worker(&rig, "each", 2),
        [vec![0], vec![1, 2]],
        "the shares are of batches"
    );
    rig.end_all();
    rig.result().unwrap();
    assert_eq!(rig.saw("all"), [list(&["each0", "each1", "each2"])]);
    rig.nothing_is_left();
}

#[test]
fn a_chain_and_what_lies_within_it_runs_in_the_part_of_its_item() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let cut = flow.function("cut", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
        n.outputs = vec![super::flow::declared("out", Kind::List)];
    });
    let inner = flow.region(out(cut), |r| r.parent = Some(region));
    let letter = flow.function("letter", |n| {
        n.region = Some(inner);
        n.inputs = vec![input("letter", ITEM), input("of", Source::Item { up: 1 })];
    });
    let join = flow.function("join", |n| {
        n.region = Some(region);
        n.inputs = vec![InputPlan::new("letters", Kind::List, out(letter))];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(join))];
    });
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    rig.end_all();
    rig.result().unwrap();
    for node in ["cut", "join"] {
        let items = items_by_worker(&rig, node, 2);
        assert_eq!(items, [vec![0, 1], vec![2, 3]], "{node}");
    }
    let outer = |worker: usize| {
        let letters = rig
            .started
            .iter()
            .filter(|one| one.node == "letter" && one.worker == worker);
        let mut outer: Vec<Seen> = letters.map(|one| one.saw[1].clone()).collect();
        outer.sort_by_key(|seen| format!("{seen:?}"));
        outer.dedup();
        outer
    };
    assert_eq!(outer(0), [one("a"), one("b")]);
    assert_eq!(outer(1), [one("c"), one("d")]);
    assert_eq!(
        rig.saw("all"),
        [list(&["join0", "join1", "join2", "join3"])]
    );
    rig.nothing_is_left();
}

#[test]
fn a_foreach_over_a_divided_gather_needs_no_more_of_it_than_its_part() {
    for (batch, sent_on) in [(None, 0), (Some(2), 2)] {
        let mut flow = over_list();
        let first = flow.region(Source::Input(0), |_| ());
        let one = flow.function("one", |n| {
            n.region = Some(first);
            n.inputs = vec![input("item", ITEM)];
        });
        let second = flow.region(out(one), |r| r.batch = batch);
        let two = flow.function("two", |n| {
            n.region = Some(second);
            n.inputs = vec![match batch {
                None => input("item", ITEM),
                Some(_) => InputPlan::new("item", Kind::List, ITEM),
            }];
        });
        flow.function("all", |n| {
            n.inputs = vec![InputPlan::new("all", Kind::List, out(two))];
        });
        let mut rig = Rig::divided(&flow, 2, &[1, 1]);
        rig.invoke(&[("list", &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])]);
        let before = rig.sent;
        while rig.runs("one") {
            rig.end("one");
        }
        // Of ten items a part has five; of five batches of two the second part has three, so that it lacks none.
        let crossed = rig.sent - before;
        assert_eq!(
            crossed,
            if batch.is_some() { 1 } else { sent_on },
            "{batch:?}"
        );
        rig.end_all();
        rig.result().unwrap();
        let twos = if batch.is_some() { 5 } else { 10 };
        let expected: Vec<String> = (0..twos).map(|item| format!("two{item}")).collect();
        assert_eq!(rig.saw("all"), [Seen::List(expected)]);
        rig.nothing_is_left();
    }
}

#[test]
fn a_failure_in_one_part_is_tried_again_there_and_fails_all_of_them_by_its_node() {
    let retry = Retry {
        attempts: 2,
        ..Retry::default()
    };
    let flow = each_and_all(|n| n.retriers = vec![retry]);
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    let last = running(&rig, "each", 3);
    rig.fail_attempt(&last, ErrorClass::Error, "no");
    let again = running(&rig, "each", 3);
    assert_eq!((again.attempt, again.worker), (2, 1));
    rig.fail_attempt(&again, ErrorClass::Error, "no");
    let failure = Failure::Node {
        node: "each".into(),
        worker: "w1".into(),
        attempt: 2,
        cause: "no".into(),
    };
    assert_eq!(rig.failure(), &failure);
    assert!(
        rig.told
            .iter()
            .all(|(node, why)| { node == "each" && *why == Cancelled::FailedElsewhere })
    );
    assert_eq!(rig.told.len(), 3, "all that runs is told, in both parts");
    rig.nothing_is_left();
}

#[test]
fn cancelling_stops_every_part() {
    let flow = each_and_all(|_| ());
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    rig.cancel(1);
    assert_eq!(rig.failure(), &Failure::Cancelled);
    assert_eq!(rig.told.len(), 4);
    rig.nothing_is_left();
}

#[test]
fn a_divided_region_that_is_skipped_is_skipped_once() {
    let mut flow = over_list();
    let choose = flow.switch("choose", 2, |_| ());
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
        n.gates = vec![case(choose, 0)];
    });
    flow.function("otherwise", |n| {
        n.inputs = vec![InputPlan {
            optional: true,
            ..InputPlan::new("all", Kind::List, out(each))
        }];
        n.gates = vec![case(choose, 1)];
    });
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    rig.choose("choose", Some(1));
    assert_eq!(rig.saw("otherwise"), [Seen::Absent]);
    rig.end_all();
    rig.result().unwrap();
    let report = &rig.answer.as_ref().unwrap().report;
    let skipped: Vec<(&str, u32)> = report
        .iter()
        .map(|node| (node.node.as_str(), node.skipped))
        .collect();
    assert_eq!(skipped, [("choose", 0), ("each", 1), ("otherwise", 0)]);
    rig.nothing_is_left();
}

#[test]
fn a_skipped_item_is_an_absent_entry_in_its_place_whichever_part_it_is_in() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let choose = flow.switch("choose", 2, |n| n.region = Some(region));
    let some = flow.function("some", |n| {
        n.region = Some(region);
        n.gates = vec![case(choose, 0)];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(some))];
    });
    flow.output("some", &[out(some)], false);
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    // Items 0 and 1 on the first worker, 2 and 3 on the second, in the order in which they began.
    let mut switches = rig.running.clone();
    switches.sort_by_key(|one| one.worker);
    for (place, attempt) in switches.iter().enumerate() {
        rig.choose_attempt(attempt, u16::from(place % 2 == 0));
    }
    rig.end_all();
    rig.result().unwrap();
    let expected = list(&[ABSENT, "some1", ABSENT, "some3"]);
    assert_eq!(rig.saw("all"), std::slice::from_ref(&expected));
    assert_eq!(rig.outputs["some"], expected);
    rig.nothing_is_left();
}

#[test]
fn a_divided_node_is_one_edge_to_a_join_of_some() {
    let mut flow = each_and_all(|_| ());
    let each = 0;
    let other = flow.function("other", |_| ());
    flow.function("both", |n| {
        n.after = vec![each, other];
        n.join = Join::AtLeast(2);
    });
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b"])]);
    rig.end("each");
    rig.end("each");
    assert!(
        !rig.runs("both"),
        "two parts are one of the nodes that it joins"
    );
    rig.end("other");
    assert!(rig.runs("both"));
    rig.end_all();
    rig.result().unwrap();
    rig.nothing_is_left();
}

#[test]
fn an_output_of_the_workflow_takes_the_parts_in_their_order_from_wherever_they_are() {
    let mut flow = over_list();
    let region = flow.region(Source::Input(0), |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
    });
    flow.output("all", &[out(each)], false);
    let mut rig = Rig::divided(&flow, 3, &[1, 2, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d", "e"])]);
    // The last part ends first.
    while let Some(attempt) = rig.running.iter().max_by_key(|one| one.item).cloned() {
        rig.end_attempt(&attempt);
    }
    rig.result().unwrap();
    let expected = ["each0", "each1", "each2", "each3", "each4"];
    assert_eq!(rig.outputs["all"], list(&expected));
    rig.nothing_is_left();
}

#[test]
fn the_reports_of_parts_are_added_up() {
    let flow = each_and_all(|_| ());
    let mut rig = Rig::divided(&flow, 2, &[1, 1]);
    rig.invoke(&[("list", &["a", "b", "c", "d"])]);
    rig.end_all();
    rig.result().unwrap();
    let report = &rig.answer.as_ref().unwrap().report;
    let names: Vec<&str> = report.iter().map(|node| node.node.as_str()).collect();
    assert_eq!(names, ["each", "all"]);
    assert_eq!((report[0].activations, report[0].well), (4, 4));
    assert_eq!(report[0].worker, "w0, w1");
    let edges: Vec<(&str, u64)> = report[0]
        .edges
        .iter()
        .map(|edge| (edge.from.as_str(), edge.bytes))
        .collect();
    assert_eq!(edges[0].0, "input");
    rig.nothing_is_left();
}
