//! Foreach: items, batches, bounds, gathering.

use super::rig::{Flow, Seen, case, each_placement, input, one, out};
use engine::plan::{Constant, ErrorClass, InputPlan, Join, NodePlan, Retry, Source, WorkflowInput};
use faasstore::binding::Kind;

/// `each` runs over the list that the client gives; `all` sees what it has made.
fn over_input(change: impl FnOnce(&mut NodePlan)) -> Flow {
    let mut flow = Flow::default();
    flow.inputs = vec![WorkflowInput::new("list", Kind::List)];
    let each = flow.function("each", |n| {
        n.foreach = Some(Source::Input(0));
        n.inputs = vec![input("item", Source::Item)];
        change(n);
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(each))]
    });
    flow
}

fn list(items: &[&str]) -> Seen {
    Seen::List(items.iter().map(|item| (*item).to_owned()).collect())
}

#[test]
fn a_foreach_runs_once_for_each_item_and_is_gathered_in_the_list_s_order() {
    each_placement(&over_input(|_| ()), |rig| {
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
    each_placement(&over_input(|n| n.batch = None), |rig| {
        rig.invoke(&[("list", &[])]);
        assert_eq!(rig.saw("all"), [list(&[])]);
        rig.end_all();
        rig.result().unwrap();
        assert_eq!(rig.attempts("each"), 0);
    });
}

#[test]
fn parallelism_bounds_the_activations_at_once_retries_included() {
    let flow = over_input(|n| {
        n.parallelism = Some(2);
        n.retry = Retry {
            attempts: 2,
            backoff_ms: 10,
            ..Retry::default()
        };
    });
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
    let flow = over_input(|n| {
        n.batch = Some(2);
        n.inputs = vec![InputPlan::new("items", Kind::List, Source::Item)];
    });
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
    flow.function("each", |n| {
        n.foreach = Some(Source::Constant(0));
        n.inputs = vec![input("item", Source::Item)];
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
    let each = flow.function("each", |n| n.foreach = Some(out(makes)));
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
fn an_item_s_failure_that_only_joins_of_some_wait_for_ends_the_foreach_once_its_items_are_back() {
    let mut flow = over_input(|n| n.tolerated = true);
    flow.nodes.pop();
    let other = flow.function("other", |n| n.tolerated = true);
    flow.function("any", |n| {
        n.join = Join::AtLeast(1);
        n.after = vec![0, other];
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b", "c", "d", "e", "f"])]);
        rig.fail("each", ErrorClass::Error, "no");
        let left = rig
            .running
            .iter()
            .filter(|attempt| attempt.node == "each")
            .count();
        for _ in 0..left {
            rig.end("each");
        }
        assert_eq!(
            rig.late(),
            left as u64,
            "what the other items return is late"
        );
        assert!(!rig.runs("each"), "no further item starts");
        rig.end("other");
        rig.end("any");
        rig.result().unwrap();
    });
}
