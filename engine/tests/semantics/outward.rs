//! Cases and catches of what runs for each item that lead out of its region: live if they were in one item at least.

use super::flow::{Flow, case, catch, declared, input, optional, out, over_list};
use super::rig::{ABSENT, Rig, each_placement, list, one};
use engine::core::Evaluated;
use engine::plan::{ErrorClass, ErrorMatch, InputPlan, Join, NodeId, Source, WorkflowInput};
use engine::wire::Failure;
use faasstore::binding::Kind;

const LIST: Source = Source::Input(0);

/// `choose` runs for each item, and leads to `left` or `right`, which do not.
fn chosen_outside() -> Flow {
    let mut flow = over_list();
    let region = flow.region(LIST, |_| ());
    let choose = flow.switch("choose", 2, |n| n.region = Some(region));
    for (place, name) in ["left", "right"].into_iter().enumerate() {
        flow.function(name, |n| n.gates = vec![case(choose, place as u16)]);
    }
    flow
}

#[test]
fn a_case_that_leads_out_of_its_items_is_live_if_one_of_them_chose_it() {
    for (choices, left, right) in [
        (&[0, 1][..], 1, 1),
        (&[1, 1, 1], 0, 1),
        (&[0], 1, 0),
        (&[], 0, 0),
    ] {
        each_placement(&chosen_outside(), |rig| {
            rig.invoke(&[("list", &vec!["x"; choices.len()])]);
            for (place, choice) in choices.iter().enumerate() {
                assert_eq!(rig.attempts("left") + rig.attempts("right"), 0, "{place}");
                rig.choose("choose", Some(*choice));
            }
            assert_eq!((rig.attempts("left"), rig.attempts("right")), (left, right));
            rig.end_all();
            rig.result().unwrap();
        });
    }
}

/// `each` runs for each item and may be caught; `tell` runs outside and sees what failed, `all` sees what did not.
fn caught_outside(change: impl FnOnce(&mut Flow, NodeId)) -> Flow {
    let mut flow = over_list();
    let region = flow.region(LIST, |_| ());
    let each = flow.function("each", |n| {
        n.region = Some(region);
        n.inputs = vec![input("item", Source::Item { up: 0 })];
        n.outputs.push(declared("error", Kind::Value));
        n.error_output = Some(1);
        n.catches = vec![
            vec![ErrorMatch::Named("Busy".into())],
            vec![ErrorMatch::Class(ErrorClass::Panic)],
        ];
    });
    let error = Source::Output {
        node: each,
        output: 1,
    };
    flow.function("tell", |n| {
        n.gates = vec![catch(each, 0)];
        n.inputs = vec![InputPlan::new("why", Kind::List, error)];
    });
    flow.function("all", |n| {
        n.inputs = vec![InputPlan::new("all", Kind::List, out(each))]
    });
    change(&mut flow, each);
    flow
}

/// Fails what runs for an item.
fn fail(rig: &mut Rig, class: ErrorClass, cause: &str) -> String {
    rig.fail("each", class, cause);
    let class = class.name();
    let error = serde_json::json!({ "node": "each", "class": class, "cause": cause, "attempt": 1 });
    error.to_string()
}

#[test]
fn a_catch_that_leads_out_of_its_items_is_live_once_all_have_ended_if_it_took_a_failure_of_one() {
    each_placement(&caught_outside(|_, _| ()), |rig| {
        rig.invoke(&[("list", &["a", "b", "c"])]);
        rig.end("each");
        let busy = fail(rig, ErrorClass::Error, "Busy: later");
        assert!(!rig.runs("tell") && !rig.runs("all"));
        let panicked = fail(rig, ErrorClass::Panic, "oh");
        assert_eq!(rig.saw("tell"), [list(&[ABSENT, &busy, &panicked])]);
        assert_eq!(rig.saw("all"), [list(&["each0", ABSENT, ABSENT])]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_catch_that_took_nothing_in_any_item_leads_nowhere() {
    let flow = caught_outside(|flow, each| {
        let error = Source::Output {
            node: each,
            output: 1,
        };
        flow.function("hears", |n| {
            n.inputs = vec![InputPlan::new("why", Kind::List, error)]
        });
    });
    for (panics, hears) in [(true, 1), (false, 0)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            match panics {
                true => drop(fail(rig, ErrorClass::Panic, "oh")),
                false => rig.end("each"),
            }
            rig.end_all();
            rig.result().unwrap();
            // The other catch took it; what reads no catch but what failed hears of that.
            assert_eq!((rig.attempts("tell"), rig.attempts("hears")), (0, hears));
            assert_eq!(rig.attempts("all"), 1);
        });
    }
}

#[test]
fn what_leads_out_of_regions_within_regions_is_live_if_it_was_in_an_item_of_an_item() {
    let mut flow = over_list();
    let outer = flow.region(LIST, |_| ());
    let inner = flow.region(LIST, |r| r.parent = Some(outer));
    let choose = flow.switch("choose", 2, |n| n.region = Some(inner));
    flow.function("near", |n| {
        n.region = Some(outer);
        n.gates = vec![case(choose, 1)];
    });
    flow.function("far", |n| n.gates = vec![case(choose, 1)]);
    for (choices, near, far) in [([1, 1, 1, 1], 2, 1), ([1, 0, 0, 0], 1, 1), ([0; 4], 0, 0)] {
        each_placement(&flow, |rig| {
            rig.invoke(&[("list", &["a", "b"])]);
            for choice in choices {
                rig.choose("choose", Some(choice));
            }
            rig.end_all();
            rig.result().unwrap();
            assert_eq!((rig.attempts("near"), rig.attempts("far")), (near, far));
        });
    }
}

#[test]
fn failures_of_items_that_are_caught_and_borne_both_show_outside() {
    let flow = caught_outside(|flow, each| {
        flow.nodes[each as usize].tolerated = true;
        // Nobody but joins of some waits for it.
        flow.nodes.truncate(2);
        flow.function("either", |n| {
            n.inputs = vec![optional("e", Source::Input(1))];
            n.after = vec![each, 1];
            n.join = Join::AtLeast(1);
        });
        flow.inputs.push(WorkflowInput::new("other", Kind::Bytes));
    });
    each_placement(&flow, |rig| {
        rig.invoke(&[("list", &["a", "b"]), ("other", &["o"])]);
        let busy = fail(rig, ErrorClass::Error, "Busy: later");
        rig.fail("each", ErrorClass::Error, "no");
        assert_eq!(rig.saw("tell"), [list(&[&busy, ABSENT])]);
        rig.end("tell");
        assert_eq!(rig.saw("either"), [one("o")]);
        rig.end_all();
        rig.result().unwrap();
    });
}

#[test]
fn a_switch_that_fails_in_an_item_shows_no_case() {
    each_placement(&chosen_outside(), |rig| {
        rig.invoke(&[("list", &["a", "b"])]);
        rig.choose("choose", Some(0));
        rig.evaluated("choose", Evaluated::Failed("no field".into()));
        assert!(matches!(rig.failure(), Failure::Node { .. }));
        assert_eq!(rig.attempts("left"), 0);
    });
}
