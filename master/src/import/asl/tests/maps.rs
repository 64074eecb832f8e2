//! What is refused of Maps, and how their nodes hang together.

use super::*;
use crate::import::draft::{Formula, Node, Source, Work};

/// A machine whose first state is a Map with these fields, over a machine of these states, the first of which is `X`.
fn map(fields: Value, states: Value) -> Value {
    let mut map = json!({"Type": "Map", "ItemProcessor": {"StartAt": "X", "States": states}});
    for (key, value) in fields.as_object().unwrap() {
        map[key] = value.clone();
    }
    map["End"] = json!(true);
    machine(map)
}

fn formula<'d>(draft: &'d Draft, name: &str) -> &'d str {
    let node = draft.nodes.iter().find(|node| node.name == name);
    match &node.unwrap_or_else(|| panic!("{name} is there")).work {
        Work::Compute(formulas) => match formulas.as_slice() {
            [(_, Formula::Value(text) | Formula::List(text))] => text,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_asks_a_map_s_results_for_a_field_is_refused() {
    let one = json!({"X": {"Type": "Task", "Resource": "f:g", "End": true}});
    refused(
        &map(json!({"ResultSelector": {"x.$": "$.a"}}), one.clone()),
        "4:5",
        "a field is taken from an object, and this is a list",
        "what one of its type never has",
    );
    // Of one of them it may be asked.
    let first = map(json!({"ResultSelector": {"x.$": "$[0].a"}}), one);
    assert!(read(&first).is_ok());
}

#[test]
fn what_holds_for_a_map_as_a_whole_is_refused() {
    let one = json!({"X": {"Type": "Task", "Resource": "f:g", "End": true}});
    refused(
        &map(json!({"ItemBatcher": {}}), one),
        "16:7",
        "`ItemBatcher`",
        "Distributed Map",
    );
    let distributed = json!({"Type": "Map", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "X", "States": {"X": {"Type": "Succeed"}}}});
    refused(&machine(distributed), "9:19", "a Distributed Map", "INLINE");
}

#[test]
fn a_catch_of_a_map_is_looked_at_even_if_nothing_can_fail_in_it() {
    let catch = |name: &str| json!({"Catch": [{"ErrorEquals": [name], "Next": "B"}]});
    let task = json!({"X": {"Type": "Task", "Resource": "f:g", "End": true}});
    let pass = json!({"X": {"Type": "Pass", "End": true}});
    for (states, place) in [(task, "19:13"), (pass.clone(), "18:13")] {
        refused(
            &map(catch("States.IntrinsicFailure"), states),
            place,
            "`States.IntrinsicFailure`",
            "States.ALL",
        );
    }
    let draft = read(&map(catch("Own"), pass)).unwrap();
    assert!(draft.nodes.iter().all(|node| node.name != "B"));
    assert!(
        draft.notes.iter().any(|note| note.contains("\"B\"")),
        "{:?}",
        draft.notes
    );
}

#[test]
fn what_is_wrong_within_a_map_is_shown_at_its_place() {
    let wait = json!({"X": {"Type": "Wait", "Seconds": 1, "Next": "Y"},
        "Y": {"Type": "Pass", "InputPath": "$..x", "End": true}});
    refused(
        &map(json!({}), wait),
        "16:26",
        "looks everywhere",
        "let a function do it",
    );
    let outside = machine(json!({"Type": "Pass", "InputPath": "$$.Map.Item.Value", "End": true}));
    refused(&outside, "6:20", "no item outside a Map", "");
}

#[test]
fn every_state_of_a_map_runs_over_its_list_as_many_at_once_as_it_says() {
    let states = json!({"X": {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": true, "Next": "Y"}], "Default": "Z"},
        "Y": {"Type": "Task", "Resource": "f:g", "Next": "Z"},
        "Z": {"Type": "Map", "MaxConcurrency": 2, "End": true, "ItemProcessor": {"StartAt": "I", "States": {
            "I": {"Type": "Task", "Resource": "f:g", "End": true}}}}});
    let draft = read(&map(json!({"MaxConcurrency": 3}), states)).unwrap();
    let over = |node: &Node| {
        let foreach = node.foreach.as_ref()?;
        Some((foreach.list.to_string(), foreach.parallelism))
    };
    let outer = Some(("A_items.output".to_owned(), Some(3)));
    let inner = Some(("Z_items.output[item]".to_owned(), Some(2)));
    for node in &draft.nodes {
        let wanted = match node.name.as_str() {
            "A_items" | "A_output" => &None,
            "I" => &inner,
            _ => &outer,
        };
        assert_eq!(&over(node), wanted, "{}", node.name);
    }
}

#[test]
fn what_follows_a_map_of_failures_waits_for_them() {
    let fail = json!({"X": {"Type": "Fail", "Error": "Never"}});
    let draft = read(&map(json!({}), fail)).unwrap();
    assert_eq!(formula(&draft, "A_output"), "X.output");
    let two = json!({"X": {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": true, "Next": "Y"}], "Default": "Z"},
        "Y": {"Type": "Fail"}, "Z": {"Type": "Fail"}});
    let draft = read(&map(json!({}), two)).unwrap();
    let result = draft
        .nodes
        .iter()
        .find(|node| node.name == "A_result")
        .unwrap();
    let all = ["Y", "Z"].map(|node| Source::SameItem {
        node: node.to_owned(),
        output: "output".to_owned(),
    });
    let wanted = way::first_of(all.to_vec());
    assert_eq!(result.inputs, [("result".to_owned(), wanted)]);
    assert_eq!(formula(&draft, "A_output"), "A_result.output");
}

#[test]
fn only_a_map_whose_states_ask_for_the_item_keeps_it() {
    let states = |path: &str| {
        json!({"X": {"Type": "Wait", "Seconds": 1, "Next": "Y"},
            "Y": {"Type": "Pass", "Parameters": {"x.$": path}, "End": true}})
    };
    let selector = json!({"ItemSelector": {"i.$": "$$.Map.Item.Index"}});
    let draft = read(&map(selector.clone(), states("$.i"))).unwrap();
    assert!(draft.nodes.iter().all(|node| node.name != "A_item"));
    let draft = read(&map(selector, states("$$.Map.Item.Value"))).unwrap();
    assert_eq!(formula(&draft, "A_item"), "item.input");
}

#[test]
fn as_many_items_are_done_at_once_as_a_definition_may_say() {
    let map = |concurrency: u64| {
        machine(
            json!({"Type": "Map", "ItemsPath": "$.all", "MaxConcurrency": concurrency, "End": true,
            "ItemProcessor": {"StartAt": "T", "States": {
                "T": {"Type": "Task", "Resource": "f:g", "End": true}}}}),
        )
    };
    let text = read(&map(1 << 28)).unwrap().to_yaml();
    crate::definition::parse("machine.yaml", text.as_bytes()).unwrap();
    let found = problems(read(&map((1 << 28) + 1)));
    assert!(
        found.len() == 1 && found[0].contains("from 0 to 268435456"),
        "{found:#?}"
    );
}
