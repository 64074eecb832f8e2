//! Foreach: items, batches, bounds, gathering.

use super::flow::{Flow, case, catch, input, optional, out};
use super::rig::{ABSENT, Seen, each_placement, each_whole, list, one};
use engine::plan::{
    Constant, ErrorClass, InputPlan, Join, NodeId, NodePlan, RegionPlan, Retry, Source,
    WorkflowInput,
};
use engine::wire::Failure;
use faasstore::binding::Kind;

const ITEM: Source = Source::Item { up: 0 };

/// `each` runs over the list that the client gives; `all` sees what it has made.
fn over_input(
    change: impl FnOnce(&mut NodePlan),
    change_region: impl FnOnce(&mut RegionPlan),
) -> Flow {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), change_region);
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
        change(n);
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(each))]
    });
    flow
}

#[test]
fn a_foreach_runs_once_for_each_item_and_is_gathered_in_the_list_s_order() {
    each_placement(&over_input(|_| (), |_| ()), |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        let mut running = rig.running.clone();
        running.reverse();
        let saw: Vec<_> = running.iter().map(|attempt| attempt.saw.clone()).collect();
        assert_eq!(saw, [[one("c")], [one("b")], [one("a")]]);
        rig.running.clear();
        for attempt in running {
            assert!(!rig.runs("all"), "items are left");
            rig.end_attempt(&attempt);
        }
        assert_eq!(rig.saw("all"), [list(&["each0", "each1", "each2"])]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_foreach_of_no_items_gathers_an_empty_list() {
    each_placement(&over_input(|_| (), |_| ()), |rig| {
        rig.invoke(&[("list", &[])]);
        assert_eq!(rig.saw("all"), [list(&[])]);
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("each"), 0);
    });
}

#[test]
fn parallelism_bounds_the_activations_at_once_retries_included() {
    let retry = Retry {
        attempts: 2,
        backoff_ms: 10,
        ..Retry::default()
    };
    let flow = over_input(|n| n.retriers = vec![retry], |r| r.parallelism = Some(2));
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c", "d", "e"])]);
        assert_eq!(rig.running.len(), 2);
        rig.fail("each", ErrorClass::Error, "no");
        // The first item waits for its second attempt, and holds its place.
        assert_eq!(rig.running.len(), 1);
        rig.end("each");
        assert_eq!(rig.running.len(), 1);
        rig.pass_ms(10);
        let mut most = 0;
        while rig.runs("each") {
            most = most.max(rig.running.len());
            rig.end("each");
        }
        assert_eq!(most, 2);
        assert_eq!(
            rig.saw("all"),
            [list(&["each0", "each1", "each2", "each3", "each4"])]
        );
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_batch_takes_n_items_and_the_last_what_is_left() {
    let flow = over_input(
        |n| n.inputs = vec![InputPlan::new("items", Kind::List, ITEM)],
        |r| r.batch = Some(2),
    );
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c", "d", "e"])]);
        let saw: Vec<_> = rig
            .running
            .iter()
            .map(|attempt| attempt.saw.clone())
            .collect();
        assert_eq!(
            saw,
            [[list(&["a", "b"])], [list(&["c", "d"])], [list(&["e"])]]
        );
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.saw("all"), [list(&["each0", "each1", "each2"])]);
    });
}

#[test]
fn a_foreach_runs_over_a_constant_too() {
    let mut flow = Flow::default();
    flow.constants = vec![Constant {
        kind: Kind::List,
        items: vec![b"1".to_vec(), b"2".to_vec()],
    }];
    let region = flow.region(Source::Constant(0), |_| ());
    flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", ITEM)];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[]);
        let saw: Vec<_> = rig
            .running
            .iter()
            .map(|attempt| attempt.saw.clone())
            .collect();
        assert_eq!(saw, [[one("1")], [one("2")]]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_foreach_whose_list_was_skipped_is_skipped_as_a_whole() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let makes = flow.function("makes", |n| {
        n.gates = vec![case(choose, 0)];
        n.outputs[0].kind = Kind::List;
    });
    let region = flow.region(out(makes), |_| ());
    let each = flow.function("each", |n| n.region = Some(region));
    flow.output("all", &[out(each)], true);
    for (chosen, gathered) in [(0, Some(list(&["each0", "each1"]))), (1, None)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.choose("choose", Some(chosen));
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.outputs.get("all"), gathered.as_ref());
        });
    }
}

#[test]
fn the_list_that_a_node_gives_is_a_live_edge_of_each_item() {
    for over_list in [true, false] {
        let mut flow = Flow::default();
        let split = flow.function("split", |n| n.outputs[0].kind = Kind::List);
        let choice = flow.switch("choice", 2, |_| ());
        let never = flow.function("never", |n| n.gates = vec![case(choice, 0)]);
        let region = flow.region(out(split), |_| ());
        let each = flow.function("each", |n| {
            (n.region, n.over_list) = (Some(region), over_list);
            n.inputs = vec![input("item", ITEM), optional("more", out(never))];
            n.after = vec![never];
        });
        flow.function("after", |n| n.after = vec![each]);
        each_placement(&flow, |rig| {
            rig.invoke(&[]);
            rig.choose("choice", Some(1));
            rig.end("split");
            let runs = if over_list { 2 } else { 0 };
            assert_eq!(rig.attempts("each"), runs);
            if over_list {
                assert_eq!(rig.saw("each")[1], Seen::Absent);
            }
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.attempts("after"), usize::from(over_list));
        });
    }
}

#[test]
fn an_item_s_failure_that_only_joins_of_some_wait_for_is_a_dead_edge_of_the_whole_foreach() {
    let mut flow = over_input(|n| n.tolerated = true, |_| ());
    flow.nodes.pop();
    let other = flow.function("other", |n| n.tolerated = true);
    flow.function("both", |n| {
        n.join = Join::AtLeast(2);
        n.after = vec![0, other];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.fail("each", ErrorClass::Error, "no");
        rig.end("each");
        rig.end("other");
        let failed = vec![("each".to_owned(), "no".to_owned())];
        let join = Failure::Join {
            node: "both".into(),
            needed: 2,
            failed,
        };
        assert_eq!(rig.failure(), &join);
    });
}

/// A chain over the items of the client's list: `first`, `second` and `third`, of which `second` reads what `first` made, and
/// `all` what `third` made of all items.
fn chain() -> Flow {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    let mut before = ITEM;
    for name in ["first", "second", "third"] {
        let node = flow.function(name, |n| {
            n.region = Some(region);
            n.inputs = vec![input("i", before)];
        });
        before = out(node);
    }
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, before)]
    });
    flow
}

#[test]
fn a_chain_over_one_list_runs_item_by_item_without_a_barrier() {
    each_placement(&chain(), |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        let later = rig
            .running
            .iter()
            .find(|attempt| attempt.item == Some(1))
            .cloned()
            .unwrap();
        rig.running.retain(|attempt| attempt.item != Some(1));
        rig.end("first");
        assert_eq!(rig.saw("second"), [one("first0")]);
        rig.end("second");
        rig.end("third");
        assert!(!rig.runs("all"), "the other item has only begun");
        rig.running.push(later);
        rig.end("first");
        rig.end("second");
        assert_eq!(rig.saw("third"), [one("second1")]);
        rig.end("third");
        assert_eq!(rig.saw("all"), [list(&["third0", "third1"])]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn switches_and_skipping_hold_item_by_item_and_a_skipped_item_is_an_absent_entry_in_its_place() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    let choose = flow.switch("choose", 2, |n| {
        n.region = Some(region);
        n.inputs = vec![InputPlan::new("item", Kind::Value, ITEM)];
    });
    let left = flow.function("left", |n| {
        n.region = Some(region);
        n.gates = vec![case(choose, 0)];
    });
    let after_left = flow.function("after_left", |n| {
        n.region = Some(region);
        n.inputs = vec![input("l", out(left))];
    });
    let joins = flow.function("joins", |n| {
        n.region = Some(region);
        n.inputs = vec![optional("l", out(after_left))];
        n.after = vec![choose];
    });
    flow.function("all", |n| {
        n.inputs = vec![
            InputPlan::new("lefts", Kind::List, out(after_left)),
            InputPlan::new("joins", Kind::List, out(joins)),
        ];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        assert_eq!(rig.saw("choose"), [one("c")]);
        for case in [0, 1, 0] {
            rig.choose("choose", Some(case));
        }
        rig.end_all();
        rig.result().unwrap();
        let saw = [
            list(&["after_left0", ABSENT, "after_left2"]),
            list(&["joins0", "joins1", "joins2"]),
        ];
        assert_eq!(rig.saw("all"), saw);
        assert_eq!(rig.attempts("left"), 2);
    });
}

#[test]
fn a_node_of_a_region_that_is_not_chosen_outside_is_skipped_as_a_whole() {
    let mut flow = chain();
    for node in &mut flow.nodes {
        node.id += 1;
        for source in node.inputs.iter_mut().flat_map(|input| &mut input.sources) {
            if let Source::Output { node, .. } = source {
                *node += 1;
            }
        }
    }
    let choose = flow.switch("choose", 2, |_| ());
    let mut switch = flow.nodes.pop().unwrap();
    assert_eq!(choose, 4);
    switch.id = 0;
    flow.nodes.insert(0, switch);
    flow.nodes[2].gates = vec![case(0, 0)];
    flow.function("of_first", |n| {
        n.inputs = vec![InputPlan::new("f", Kind::List, out(1))]
    });
    for (chosen, attempts) in [(0, (2, 1)), (1, (0, 0))] {
        each_placement(&flow, |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            assert!(
                !rig.runs("first"),
                "a region begins when all outside of it is decided"
            );
            rig.choose("choose", Some(chosen));
            rig.end_all();
            rig.result().unwrap();
            assert_eq!((rig.attempts("second"), rig.attempts("all")), attempts);
            assert_eq!(rig.saw("of_first"), [list(&["first0", "first1"])]);
        });
    }
}

#[test]
fn a_region_within_a_region_runs_for_each_item_of_each_item() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let start = flow.function("start", |_| ());
    let outer = flow.region(Source::Input(0), |_| ());
    let splits = flow.function("splits", |n| {
        n.region = Some(outer);
        n.inputs = vec![input("item", ITEM)];
        n.outputs[0].kind = Kind::List;
    });
    let inner = flow.region(out(splits), |r| r.parent = Some(outer));
    let each = flow.function("each", |n| {
        n.region = Some(inner);
        n.inputs = vec![
            input("part", ITEM),
            input("whole", Source::Item { up: 1 }),
            input("start", out(start)),
        ];
    });
    let sums = flow.function("sums", |n| {
        n.region = Some(outer);
        n.inputs = vec![InputPlan::new("parts", Kind::List, out(each))];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("sums", Kind::List, out(sums))]
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        assert!(!rig.runs("splits"));
        rig.end("start");
        rig.end("splits");
        rig.end("splits");
        let saw: Vec<_> = rig
            .running
            .iter()
            .map(|attempt| attempt.saw.clone())
            .collect();
        let seen = |part: &str, whole: &str| vec![one(part), one(whole), one("start")];
        let each_saw = [
            seen("splits0x", "a"),
            seen("splits0y", "a"),
            seen("splits1x", "b"),
            seen("splits1y", "b"),
        ];
        assert_eq!(saw, each_saw);
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.saw("sums"), [list(&["each0", "each1"])]);
        assert_eq!(rig.saw("all"), [list(&["sums0", "sums1"])]);
    });
}

#[test]
fn a_catch_takes_an_item_s_failure_within_the_item() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let region = flow.region(Source::Input(0), |_| ());
    let tries = flow.function("tries", |n| {
        n.region = Some(region);
        n.catches = vec![vec![]];
    });
    let instead = flow.function("instead", |n| {
        n.region = Some(region);
        n.gates = vec![catch(tries, 0)];
    });
    let either = flow.function("either", |n| {
        n.region = Some(region);
        n.inputs = vec![InputPlan {
            sources: vec![out(tries), out(instead)],
            ..input("e", out(tries))
        }];
    });
    flow.function("all", |n| {
        n.inputs = vec![
            InputPlan::new("tries", Kind::List, out(tries)),
            InputPlan::new("either", Kind::List, out(either)),
        ];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.fail("tries", ErrorClass::Error, "no");
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("instead"), 1);
        let saw = [list(&[ABSENT, "tries1"]), list(&["either0", "either1"])];
        assert_eq!(rig.saw("all"), saw);
    });
}

#[test]
fn what_runs_over_a_gathered_list_is_skipped_where_an_item_is_absent() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let first = flow.region(Source::Input(0), |_| ());
    let choose = flow.switch("choose", 2, |n| n.region = Some(first));
    let some = flow.function("some", |n| {
        n.region = Some(first);
        n.gates = vec![case(choose, 0)];
    });
    let second = flow.region(out(some), |_| ());
    let needs = flow.function("needs", |n| {
        n.region = Some(second);
        n.inputs = vec![input("item", ITEM)];
    });
    let may_see = flow.function("may_see", |n| {
        n.region = Some(second);
        n.inputs = vec![optional("item", ITEM)];
    });
    flow.function("all", |n| {
        n.inputs = vec![
            InputPlan::new("needs", Kind::List, out(needs)),
            InputPlan::new("may_see", Kind::List, out(may_see)),
        ];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.choose("choose", Some(1));
        rig.choose("choose", Some(0));
        rig.end("some");
        let saw = rig
            .running
            .iter()
            .filter(|attempt| attempt.node == "may_see");
        let mut saw: Vec<_> = saw.collect();
        saw.sort_by_key(|attempt| attempt.item);
        let saw: Vec<_> = saw.iter().map(|attempt| attempt.saw[0].clone()).collect();
        assert_eq!(saw, [Seen::Absent, one("some1")]);
        rig.end_all();
        rig.result().unwrap();
        let saw = [list(&[ABSENT, "needs1"]), list(&["may_see0", "may_see1"])];
        assert_eq!(rig.saw("all"), saw);
    });
}

#[test]
fn a_wide_foreach_has_but_so_many_items_open_at_once() {
    let flow = over_input(|_| (), |_| ());
    let items: Vec<String> = (0..1000).map(|item| item.to_string()).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    each_whole(&flow, |rig| {
        rig.invoke(&[("list", &items)]);
        assert!(rig.invocations_held() < 100, "{}", rig.invocations_held());
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("each"), 1000);
    });
}

#[test]
fn a_failure_in_one_item_ends_the_others() {
    each_placement(&chain(), |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        rig.end("first");
        rig.fail("second", ErrorClass::Error, "no");
        assert!(matches!(rig.failure(), Failure::Node { node, .. } if node == "second"));
        let left = rig.running.len() as u64;
        let late = rig.late();
        rig.end_all();
        assert_eq!(rig.late() - late, left);
    });
}

#[test]
fn what_waits_for_a_node_within_that_can_run_in_no_item_is_skipped_as_a_whole_too() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let choose = flow.switch("choose", 2, |_| ());
    let outer = flow.region(Source::Input(0), |_| ());
    let splits = flow.function("splits", |n| {
        n.region = Some(outer);
        n.outputs[0].kind = Kind::List;
    });
    let inner = flow.region(out(splits), |r| r.parent = Some(outer));
    let each = flow.function("each", |n| {
        n.region = Some(inner);
        n.gates = vec![case(choose, 0)];
    });
    let sums = flow.function("sums", |n| {
        n.region = Some(outer);
        n.inputs = vec![InputPlan::new("parts", Kind::List, out(each))];
    });
    flow.output("all", &[out(sums)], true);
    let gathered = list(&["sums0", "sums1"]);
    for (chosen, all) in [(0, Some(gathered)), (1, None)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            rig.choose("choose", Some(chosen));
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.outputs.get("all"), all.as_ref());
            assert_eq!(rig.attempts("splits"), 2);
        });
    }
}

/// A region over the client's list, with one within it over what `splits` makes; `deep` is in that, which `change` may change.
fn two_deep(flow: &mut Flow, change: impl FnOnce(&mut NodePlan)) -> NodeId {
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let outer = flow.region(Source::Input(0), |_| ());
    let splits = flow.function("splits", |n| {
        n.region = Some(outer);
        n.outputs[0].kind = Kind::List;
    });
    let inner = flow.region(out(splits), |r| r.parent = Some(outer));
    flow.function("deep", |n| {
        n.region = Some(inner);
        n.inputs = vec![input("item", ITEM)];
        change(n);
    })
}

/// Two nodes that wait for `deep`; with two workers, one of them elsewhere.
fn two_later(flow: &mut Flow, deep: NodeId) {
    for name in ["later", "later still"] {
        flow.function(name, |n| n.after = vec![deep]);
    }
}

#[test]
fn what_waits_for_a_node_two_regions_deep_runs_once_when_all_items_of_all_items_have_ended() {
    let mut flow = Flow::default();
    let deep = two_deep(&mut flow, |_| ());
    two_later(&mut flow, deep);
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.end("splits");
        rig.end("splits");
        for _ in 0..4 {
            assert!(!rig.runs("later") && !rig.runs("later still"));
            rig.end("deep");
        }
        assert!(rig.runs("later") && rig.runs("later still"));
        assert_eq!(rig.late(), 0, "another worker is told once");
        rig.end_all();
        rig.result().unwrap();
        let attempts = ["deep", "later", "later still"].map(|node| rig.attempts(node));
        assert_eq!(attempts, [4, 1, 1]);
    });
}

#[test]
fn what_waits_for_a_node_two_regions_deep_that_can_run_in_no_item_is_skipped() {
    let mut flow = Flow::default();
    let choose = flow.switch("choose", 2, |_| ());
    let deep = two_deep(&mut flow, |n| n.gates = vec![case(choose, 0)]);
    two_later(&mut flow, deep);
    for (chosen, attempts) in [(0, [4, 1, 1]), (1, [0, 0, 0])] {
        each_placement(&flow, |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            rig.choose("choose", Some(chosen));
            rig.end_all();
            rig.result().unwrap();
            assert_eq!(rig.attempts("splits"), 2);
            let seen = ["deep", "later", "later still"].map(|node| rig.attempts(node));
            assert_eq!(seen, attempts);
        });
    }
}

#[test]
fn a_failure_two_regions_deep_is_one_of_the_node_for_joins_of_some_outside() {
    let mut flow = Flow::default();
    let deep = two_deep(&mut flow, |n| n.tolerated = true);
    let other = flow.function("other", |_| ());
    flow.function("first", |n| {
        n.join = Join::AtLeast(1);
        n.after = vec![deep, other];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.end("splits");
        rig.fail("deep", ErrorClass::Error, "no");
        rig.end("splits");
        while rig.runs("deep") {
            rig.end("deep");
        }
        assert!(!rig.runs("first"), "the other edge is not decided");
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("first"), 1);
    });
}

#[test]
fn items_of_regions_within_regions_do_not_multiply_without_a_bound() {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let outer = flow.region(Source::Input(0), |_| ());
    let middle = flow.region(Source::Input(0), |r| r.parent = Some(outer));
    let inner = flow.region(Source::Input(0), |r| r.parent = Some(middle));
    flow.function("each", |n| n.region = Some(inner));
    let texts: Vec<String> = (0..64).map(|item: u32| item.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &texts)]);
        for _ in 0..200 {
            rig.end("each");
            let held = rig.invocations_held();
            assert!((4000..4500).contains(&held), "{held}");
        }
        rig.fail("each", ErrorClass::Error, "enough");
        assert!(matches!(rig.failure(), Failure::Node { .. }));
    });
}
