//! What is refused of a state machine: by name, at its place, with what would be right. And that whatever a file holds, the
//! import ends with a draft or with what is wrong.

mod maps;
mod random;

use super::*;
use crate::import::{Format, import};
use proptest::prelude::*;
use serde_json::{Value, json};

fn with(machine: &str, options: &AslOptions) -> Result<Draft, ImportError> {
    let options = Options {
        asl: options.clone(),
        ..Options::default()
    };
    import(
        Format::Asl,
        "machine.asl.json",
        machine.as_bytes(),
        &options,
    )
}

fn read(machine: &Value) -> Result<Draft, ImportError> {
    with(
        &serde_json::to_string_pretty(machine).unwrap(),
        &AslOptions::default(),
    )
}

/// All that is wrong: `LINE:COLUMN message (help)`.
fn problems(result: Result<Draft, ImportError>) -> Vec<String> {
    match result {
        Ok(draft) => panic!("this is imported:\n{}", draft.to_yaml()),
        Err(ImportError::Problems(error)) => error
            .problems
            .iter()
            .map(|problem| {
                let place = problem.place;
                let help = problem.help.as_deref().unwrap_or("");
                format!("{}:{} {problem} ({help})", place.line, place.column)
            })
            .collect(),
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn refused(machine: &Value, place: &str, message: &str, help: &str) {
    let text = serde_json::to_string_pretty(machine).unwrap();
    let found = problems(read(machine));
    assert_eq!(found.len(), 1, "{found:#?}\n{text}");
    let fits = found[0].starts_with(&format!("{place} "))
        && found[0].contains(message)
        && found[0].contains(help);
    assert!(fits, "{}\n{text}", found[0]);
}

/// A machine whose first state, `A`, is this one; `B` follows.
fn machine(state: Value) -> Value {
    json!({"StartAt": "A", "States": {"A": state, "B": {"Type": "Succeed"}}})
}

/// A Task, with these fields beside its own.
fn task(fields: Value) -> Value {
    let mut state = json!({"Type": "Task", "Resource": "f:g"});
    for (key, value) in fields.as_object().unwrap() {
        state[key] = value.clone();
    }
    machine(state)
}

#[test]
fn loops_are_refused_with_the_way_round() {
    let loops = json!({"StartAt": "First", "States": {
        "First": {"Type": "Pass", "Next": "Poll"},
        "Poll": {"Type": "Task", "Resource": "f:g", "Next": "Done?"},
        "Done?": {"Type": "Choice", "Choices": [{"Variable": "$.done", "BooleanEquals": true, "Next": "End"}],
            "Default": "Poll"},
        "End": {"Type": "Succeed"}}});
    refused(
        &loops,
        "13:5",
        "a loop (Poll → Done? → Poll) cannot be imported",
        "use Retry",
    );
    let itself = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "A"}}});
    refused(&itself, "4:5", "a loop (A → A)", "never goes back");
    let caught = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Task", "Resource": "f:g", "End": true, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "A"}]}}});
    refused(&caught, "8:5", "a loop (A → B → A)", "never goes back");
}

#[test]
fn what_has_no_like_is_refused_by_name() {
    let jsonata =
        json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Succeed"}}});
    refused(
        &jsonata,
        "2:20",
        "JSONata cannot be imported",
        "rewrite the state in JSONPath",
    );
    refused(
        &machine(json!({"Type": "Pass", "Output": "{% 1 %}", "End": true})),
        "6:7",
        "`Output` cannot be imported",
        "JSONPath",
    );
    refused(
        &task(json!({"Assign": {"x": 1}, "End": true})),
        "7:7",
        "`Assign`",
        "there are no variables",
    );
    let resource = |name: &str| task(json!({"Resource": name, "End": true}));
    for (name, message, help) in [
        (
            "arn:aws:states:eu-west-1:1:activity:sign",
            "an activity",
            "--function",
        ),
        (
            "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "a task token",
            "wait for the answer",
        ),
        (
            "arn:aws:states:::states:startExecution.sync:2",
            "a nested execution",
            "put its states here",
        ),
        (
            "arn:aws:states:::glue:startJobRun.sync",
            "waiting for a job",
            "wait for its end",
        ),
        (
            "arn:aws:states:::sns:publish",
            "the resource `arn:aws:states:::sns:publish`",
            "--function",
        ),
        ("", "the resource ``", "--function"),
    ] {
        refused(&resource(name), "6:19", message, help);
    }
    for (key, help) in [
        ("HeartbeatSeconds", "TimeoutSeconds"),
        ("TimeoutSecondsPath", "TimeoutSeconds"),
        ("Credentials", "leave it away"),
    ] {
        refused(
            &task(json!({key: 1, "End": true})),
            "7:7",
            &format!("`{key}`"),
            help,
        );
    }
}

#[test]
fn a_wait_says_once_and_rightly_how_long_it_is() {
    let wait = |fields: Value| {
        let mut wait = json!({"Type": "Wait", "Next": "B"});
        for (key, value) in fields.as_object().unwrap() {
            wait[key] = value.clone();
        }
        machine(wait)
    };
    for (fields, place, message, help) in [
        (json!({}), "4:10", "has no `Seconds`", "add `Seconds`"),
        (
            json!({"Seconds": 1, "TimestampPath": "$.x"}),
            "8:24",
            "`Seconds` and `TimestampPath` exclude one another",
            "leave one",
        ),
        (
            json!({"Timestamp": "2016-03-14"}),
            "7:20",
            "a time as in 2016-03-14T01:59:00Z",
            "",
        ),
        (
            json!({"Timestamp": "2016-03-14T01:59:60Z"}),
            "7:20",
            "a time as in 2016-03-14T01:59:00Z",
            "",
        ),
        (json!({"SecondsPath": "$.a[*].b"}), "7:22", "a number", ""),
        (
            json!({"SecondsPath": "x"}),
            "7:22",
            "a path begins with `$`",
            "",
        ),
        (json!({"SecondsPath": 5}), "7:22", "`SecondsPath`", ""),
    ] {
        refused(&wait(fields), place, message, help);
    }
}

#[test]
fn retries_and_catches_that_no_node_can_have_are_refused() {
    let retry = |retriers: Value| task(json!({"Retry": retriers, "End": true}));
    let seventeen: Vec<Value> = (0..17)
        .map(|error| json!({"ErrorEquals": [format!("E{error}")]}))
        .collect();
    refused(
        &retry(json!(seventeen)),
        "88:9",
        "one more retrier",
        "at most 16",
    );
    let catch =
        |name: &str| task(json!({"Catch": [{"ErrorEquals": [name], "Next": "B"}], "End": true}));
    refused(
        &catch("States.IntrinsicFailure"),
        "10:13",
        "`States.IntrinsicFailure`",
        "States.ALL",
    );
    refused(
        &catch("timeout"),
        "10:13",
        "the error name `timeout`",
        "another name",
    );
    refused(
        &catch("not a name"),
        "10:13",
        "the error name `not a name`",
        "letters, digits",
    );
    refused(
        &retry(json!([{"ErrorEquals": []}])),
        "9:26",
        "`ErrorEquals`",
        "",
    );
    let many = retry(json!([{"ErrorEquals": ["A"], "MaxAttempts": 5000}]));
    refused(
        &many,
        "12:26",
        "`MaxAttempts` must be a whole number from 0 to 999",
        "",
    );
    // Errors of services that are not there are left away.
    let lambda = retry(json!([
        {"ErrorEquals": ["Lambda.ServiceException", "Lambda.SdkClientException"], "MaxAttempts": 6},
        {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]));
    let draft = read(&lambda).unwrap();
    assert_eq!(retriers(&draft), [(3, vec![])]);
    assert!(
        draft.notes[0].contains("Lambda.ServiceException"),
        "{:?}",
        draft.notes
    );
}

/// What the first node's retriers count to, and what they take.
fn retriers(draft: &Draft) -> Vec<(u32, Vec<&str>)> {
    let retriers = draft.nodes[0].retriers.iter();
    retriers
        .map(|retry| {
            (
                retry.attempts,
                retry.on.iter().map(String::as_str).collect(),
            )
        })
        .collect()
}

#[test]
fn each_retrier_stays_by_itself_in_its_place() {
    let read = |retriers: Value| read(&task(json!({"Retry": retriers, "End": true}))).unwrap();
    // Those with the same figures too: each counts for itself.
    let draft = read(json!([
        {"ErrorEquals": ["A", "B"], "IntervalSeconds": 2, "MaxAttempts": 1},
        {"ErrorEquals": ["C"], "IntervalSeconds": 2, "MaxAttempts": 1},
        {"ErrorEquals": ["D"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 5, "MaxDelaySeconds": 9, "BackoffRate": 1.5, "JitterStrategy": "FULL"}]));
    let expected = [
        (2, vec!["A", "B"]),
        (2, vec!["C"]),
        (1, vec!["D"]),
        (4, vec![]),
    ];
    assert_eq!(retriers(&draft), expected);
    let last = &draft.nodes[0].retriers[3];
    let waits = (
        last.backoff_ms,
        last.backoff_max_ms,
        last.factor,
        last.jitter,
    );
    assert_eq!(waits, (5000, Some(9000), Some(1.5), Some(1.0)));
    assert_eq!(draft.nodes[0].retriers[0].backoff_ms, 2000);
    // What stands at the end and tries nothing again says nothing.
    let draft = read(json!([
        {"ErrorEquals": ["A"], "MaxAttempts": 1},
        {"ErrorEquals": ["B"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "MaxAttempts": 0}]));
    assert_eq!(retriers(&draft), [(2, vec!["A"])]);
    let draft = read(json!([{"ErrorEquals": ["States.ALL"], "MaxAttempts": 0}]));
    assert_eq!(retriers(&draft), []);
    // As many as a node may have, and more that do not count.
    let mut many: Vec<Value> = (0..16)
        .map(|error| json!({"ErrorEquals": [format!("E{error}")]}))
        .collect();
    many.insert(3, json!({"ErrorEquals": ["Lambda.ServiceException"]}));
    many.push(json!({"ErrorEquals": ["F"], "MaxAttempts": 0}));
    assert_eq!(retriers(&read(json!(many))).len(), 16);
}

#[test]
fn what_a_state_around_tries_again_is_tried_where_nothing_nearer_decides() {
    let within = |own: Value| {
        let retry = json!([
            {"ErrorEquals": ["A"], "MaxAttempts": 4},
            {"ErrorEquals": ["States.ALL"], "MaxAttempts": 1},
            {"ErrorEquals": ["Never"], "MaxAttempts": 9}]);
        let mut states = json!({"Work": {"Type": "Task", "Resource": "f:g", "End": true}});
        let fields = own.as_object().unwrap().clone();
        states["Work"].as_object_mut().unwrap().extend(fields);
        states["H"] = json!({"Type": "Pass", "End": true});
        let branch = json!({"StartAt": "Work", "States": states});
        let both = json!({"Type": "Parallel", "Branches": [branch], "Retry": retry, "End": true});
        let document = json!({"StartAt": "Both", "States": {"Both": both}});
        read(&document).unwrap()
    };
    let draft = within(json!({}));
    assert_eq!(retriers(&draft), [(5, vec!["A"]), (2, vec![])]);
    assert!(draft.notes[0].contains("by itself"), "{:?}", draft.notes);
    // Its own come first, and what it catches is seen by none around.
    let own = json!([{"ErrorEquals": ["B"], "MaxAttempts": 7}]);
    let catch = json!([{"ErrorEquals": ["C"], "Next": "H"}]);
    let expected = [(8, vec!["B"]), (1, vec!["C"]), (5, vec!["A"]), (2, vec![])];
    assert_eq!(
        retriers(&within(json!({"Retry": own, "Catch": catch}))),
        expected
    );
    let all = json!([{"ErrorEquals": ["States.ALL"], "Next": "H"}]);
    assert_eq!(
        retriers(&within(json!({"Retry": own, "Catch": all}))),
        [(8, vec!["B"])]
    );
}

#[test]
fn slips_of_the_pen_are_shown_with_the_right_word() {
    refused(
        &task(json!({"ResultPaht": "$", "End": true})),
        "7:7",
        "no key `ResultPaht`",
        "did you mean `ResultPath`?",
    );
    refused(
        &task(json!({"Next": "Missing"})),
        "7:15",
        "there is no state `Missing`",
        "known are `A`, `B`",
    );
    refused(
        &machine(json!({"Type": "Taks"})),
        "5:15",
        "no type of state `Taks`",
        "did you mean `Task`?",
    );
    refused(
        &task(json!({})),
        "4:5",
        "neither `Next` nor `End`",
        "\"End\": true",
    );
    refused(
        &task(json!({"Next": "B", "End": true})),
        "7:15",
        "both `Next` and `End`",
        "",
    );
    let rule = |rule: Value| machine(json!({"Type": "Choice", "Choices": [rule], "Default": "B"}));
    refused(
        &rule(json!({"Variable": "$.x", "NumericEqual": 1, "Next": "B"})),
        "9:11",
        "there is no operator `NumericEqual`",
        "did you mean `NumericEquals`?",
    );
    refused(
        &rule(json!({"Variable": "$.x", "Next": "B"})),
        "7:9",
        "compares nothing",
        "StringEquals",
    );
    refused(
        &rule(json!({"Variable": "$.x", "StringEquals": 1, "Next": "B"})),
        "9:27",
        "`StringEquals` must be a text",
        "",
    );
    refused(
        &rule(json!({"Variable": "$.x", "TimestampEquals": "today", "Next": "B"})),
        "9:30",
        "a time as in 2016",
        "",
    );
    refused(
        &rule(json!({"NumericEquals": 1, "Next": "B"})),
        "8:11",
        "no `Variable`",
        "$.size",
    );
    refused(
        &task(json!({"InputPath": "$..x", "End": true})),
        "7:20",
        "`$..x`: `..` looks everywhere",
        "",
    );
    refused(
        &task(json!({"Parameters": {"x.$": "y"}, "End": true})),
        "8:16",
        "takes a path, which begins with `$`",
        "",
    );
    refused(
        &task(json!({"ResultPath": "$.a[0]", "End": true})),
        "7:21",
        "a place of its own",
        "",
    );
}

#[test]
fn several_mistakes_are_shown_at_once() {
    let three = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "InputPath": "x", "Next": "B"},
        "B": {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "Next": "C"},
        "C": {"Type": "Wait", "Seconds": -1, "End": true}}});
    assert_eq!(problems(read(&three)).len(), 3);
}

#[test]
fn functions_of_resources_are_found_as_people_name_them() {
    let function = |resource: &str, options: &[(&str, &str)]| {
        let options = AslOptions {
            functions: options
                .iter()
                .map(|(key, function)| ((*key).to_owned(), (*function).to_owned()))
                .collect(),
            ..AslOptions::default()
        };
        let machine = task(json!({"Resource": resource, "End": true}));
        match with(&machine.to_string(), &options) {
            Ok(draft) => match &draft.nodes[0].work {
                super::super::Work::Function(name) => name.clone(),
                other => panic!("{other:?}"),
            },
            Err(error) => panic!("{error}"),
        }
    };
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:Charge-Card:live";
    assert_eq!(function(arn, &[]), "Charge-Card:run");
    assert_eq!(
        function(arn, &[("Charge-Card", "billing:charge")]),
        "billing:charge"
    );
    assert_eq!(function(arn, &[(arn, "billing:all")]), "billing:all");
    assert_eq!(function("billing:charge", &[]), "billing:charge");
    assert_eq!(function("Charge", &[]), "Charge:run");
    assert_eq!(
        function("${ChargeFunctionArn}", &[]),
        "ChargeFunctionArn:run"
    );
    let sns = "arn:aws:states:::sns:publish";
    assert_eq!(function(sns, &[(sns, "notify:publish")]), "notify:publish");
    let options = AslOptions {
        functions: vec![("Chrage".to_owned(), "a:b".to_owned())],
        ..AslOptions::default()
    };
    let found = problems(with(&task(json!({"End": true})).to_string(), &options));
    assert!(
        found[0].contains("there is no resource `Chrage`"),
        "{found:?}"
    );
}

#[test]
fn over_bytes_nothing_is_looked_into() {
    let bytes = AslOptions {
        payload: Payload::Bytes,
        ..AslOptions::default()
    };
    let over = |machine: &Value| problems(with(&machine.to_string(), &bytes)).join("\n");
    let choice = machine(json!({"Type": "Choice", "Choices": [
        {"Variable": "$.x", "IsNull": true, "Next": "B"}], "Default": "B"}));
    assert!(over(&choice).contains("a Choice over bytes"));
    assert!(
        over(&task(json!({"InputPath": "$.x", "End": true}))).contains("`InputPath` over bytes")
    );
    assert!(
        over(&machine(json!({"Type": "Pass", "Result": 1, "End": true})))
            .contains("`Result` over bytes")
    );
}

#[test]
fn expressions_stay_as_long_as_they_may_be() {
    let many: Vec<Value> = (0..5000)
        .map(|n| json!({"Variable": "$.x", "NumericEquals": n}))
        .collect();
    let rule = json!({"Or": many, "Next": "B"});
    let choice = machine(json!({"Type": "Choice", "Choices": [rule], "Default": "B"}));
    let found = problems(read(&choice));
    assert!(found[0].contains("more than 4096 bytes"), "{found:?}");
    let deep = format!("${}", ".aaaaaaa".repeat(60));
    let pass = machine(json!({"Type": "Pass", "ResultPath": deep, "End": true}));
    assert!(problems(read(&pass))[0].contains("more than 4096 bytes"));
}

#[test]
fn a_chain_of_many_states_is_imported() {
    let states: serde_json::Map<String, Value> = (0..20_000)
        .map(|n| {
            let next = format!("S{}", n + 1);
            (
                format!("S{n}"),
                json!({"Type": "Task", "Resource": "f:g", "Next": next}),
            )
        })
        .chain([("S20000".to_owned(), json!({"Type": "Succeed"}))])
        .collect();
    let machine = json!({"StartAt": "S0", "States": states});
    assert_eq!(read(&machine).unwrap().nodes.len(), 20_000);
}

/// JSON that is like a state machine in places.
fn wild() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "Task",
        "Pass",
        "Choice",
        "Wait",
        "Succeed",
        "Fail",
        "Parallel",
        "Map",
        "A",
        "B",
        "C",
        "$",
        "$.a",
        "$$.State.Name",
        "$.a[*].b",
        "$.a[-1]",
        "States.Format('{}', $.a)",
        "States.Array($.a, 1)",
        "States.ALL",
        "States.Timeout",
        "f:g",
        "arn:aws:states:::lambda:invoke",
        "é\u{1F600}",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "Type",
        "StartAt",
        "States",
        "Next",
        "End",
        "Resource",
        "Choices",
        "Default",
        "Variable",
        "And",
        "Not",
        "IsNull",
        "NumericEquals",
        "StringMatches",
        "Branches",
        "ItemProcessor",
        "ItemsPath",
        "ItemSelector",
        "Catch",
        "Retry",
        "ErrorEquals",
        "InputPath",
        "Parameters",
        "ResultSelector",
        "ResultPath",
        "OutputPath",
        "Result",
        "Seconds",
        "SecondsPath",
        "TimestampPath",
        "Error",
        "CausePath",
        "A",
        "B",
        "C",
        "x.$",
        "Payload.$",
        "FunctionName",
        "TimeoutSeconds",
        "MaxAttempts",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// A state whose parts are of the right kind, mostly.
fn state() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec![
        "Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map",
    ]);
    (types, prop::collection::vec(wild(), 8), 0..4_usize).prop_map(|(of_type, wild, next)| {
        let mut state = json!({"Type": of_type});
        let part = |place: usize| wild[place].clone();
        let next = ["B", "C", "D", "A"][next];
        match of_type {
            "Task" => {
                state["Resource"] = json!("f:g");
                state["Parameters"] = part(0);
                state["Catch"] = json!([{"ErrorEquals": ["States.ALL"], "Next": "D", "ResultPath": "$.e"}]);
            }
            "Choice" => {
                state["Choices"] = json!([{"Variable": "$.x", "NumericEquals": 1, "Next": next}]);
                state["Default"] = json!("D");
                return state;
            }
            "Wait" => state["Seconds"] = json!(1),
            "Parallel" => {
                let branch = json!({"StartAt": "X", "States": {"X": {"Type": "Pass", "Parameters": part(1), "End": true}}});
                state["Branches"] = json!([branch, branch]);
                state["ResultSelector"] = part(2);
            }
            "Map" => {
                state["Iterator"] = json!({"StartAt": "X", "States": {"X": {"Type": "Task", "Resource": "f:g",
                    "Parameters": part(3), "ResultPath": "$.r", "End": true}}});
                state["ItemSelector"] = part(4);
                state["Catch"] = json!([{"ErrorEquals": ["Own"], "Next": "D", "ResultPath": "$.e"}]);
            }
            "Pass" => state["Result"] = part(5),
            _ => return state,
        }
        state["Next"] = json!(next);
        state
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_json_is_imported_or_refused(value in wild()) {
        let _ = read(&value);
        for payload in [Payload::Value, Payload::Bytes] {
            let machine = json!({"StartAt": "A", "States": {"A": value}});
            let _ = with(&machine.to_string(), &AslOptions { payload, ..AslOptions::default() });
        }
    }

    #[test]
    fn any_text_is_imported_or_refused(text in "\\PC{0,200}") {
        let _ = with(&text, &AslOptions::default());
    }

    /// What is imported is whole: its names are unique, and what nodes name is there.
    #[test]
    fn what_is_imported_names_only_what_it_has(states in prop::collection::vec(state(), 3)) {
        let machine = json!({"StartAt": "A", "States": {"A": states[0], "B": states[1], "C": states[2],
            "D": {"Type": "Succeed"}}});
        if let Ok(draft) = read(&machine) {
            let names: std::collections::HashSet<&str> =
                draft.nodes.iter().map(|node| node.name.as_str()).collect();
            prop_assert_eq!(names.len(), draft.nodes.len());
            for node in &draft.nodes {
                let caught = node.catches.iter().flat_map(|catch| &catch.to);
                for name in node.after.iter().chain(caught) {
                    prop_assert!(names.contains(name.as_str()), "{} of {}", name, node.name);
                }
            }
        }
    }
}

#[test]
fn what_the_language_refuses_of_types_is_refused_here() {
    let pass = json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}});
    let states = [
        json!({"Type": "Parallel", "Branches": [pass.clone(), pass.clone()], "OutputPath": "$.x", "End": true}),
        json!({"Type": "Parallel", "Branches": [pass.clone()], "ResultSelector": {"y.$": "$.x"}, "End": true}),
        json!({"Type": "Map", "ItemsPath": "$.all", "ItemProcessor": {"StartAt": "P", "States": {
            "P": {"Type": "Pass", "Parameters": {"it.$": "$"}, "End": true}}},
            "ResultSelector": {"y.$": "$.x"}, "End": true}),
        json!({"Type": "Pass", "InputPath": "$.a[*].b", "Parameters": {"y.$": "$.c"}, "End": true}),
        json!({"Type": "Pass", "Result": [1], "OutputPath": "$.x", "End": true}),
        json!({"Type": "Pass", "Parameters": {"y.$": "States.MathAdd('a', 1)"}, "End": true}),
    ];
    for state in states {
        refused(
            &machine(state),
            "4:5",
            "this expression cannot be imported",
            "do it in a function",
        );
    }
}

#[test]
fn a_timeout_is_above_nothing() {
    let whole = json!({"TimeoutSeconds": 0, "StartAt": "A", "States": {"A": {"Type": "Succeed"}}});
    let in_map = json!({"Type": "Map", "ItemsPath": "$.all", "End": true, "ItemProcessor": {"StartAt": "T", "States": {
        "T": {"Type": "Task", "Resource": "f:g", "TimeoutSeconds": 0, "End": true}}}});
    for machine in [
        whole,
        task(json!({"TimeoutSeconds": 0, "End": true})),
        machine(in_map),
    ] {
        let found = problems(read(&machine));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains("a number of seconds above 0"),
            "{found:#?}"
        );
    }
}

#[test]
fn states_are_named_as_the_language_allows() {
    for name in [
        "outer",
        "item",
        "void",
        "namespace",
        "type",
        "list",
        "map",
        "state",
        "each",
    ] {
        let machine = json!({"StartAt": name, "States": {
            name: {"Type": "Pass", "Parameters": {"a.$": "$.a"}, "Next": "Last"},
            "Last": {"Type": "Pass", "Parameters": {"b.$": "$.a"}, "End": true}}});
        let text = read(&machine).unwrap().to_yaml();
        assert!(text.contains(&format!("{name}_2.output.a")), "{text}");
        crate::definition::parse("machine.yaml", text.as_bytes()).unwrap();
    }
}

#[test]
fn catchers_are_bounded_together_with_the_states_within_them() {
    let catchers = |count: usize| -> Vec<Value> {
        let one = |name| json!({"ErrorEquals": [format!("E{name}")], "Next": "B"});
        (0..count).map(one).collect()
    };
    let parallel = |count: usize| {
        let branch = |_| json!({"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "f:g", "End": true}}});
        let branches: Vec<Value> = (0..300).map(branch).collect();
        machine(
            json!({"Type": "Parallel", "Branches": branches, "Catch": catchers(count), "End": true}),
        )
    };
    let found = problems(read(&parallel(300)));
    assert!(
        found[0].contains("catchers and the states within them"),
        "{}",
        found[0]
    );
}

#[test]
fn a_constant_input_is_as_long_as_a_value_may_be() {
    let found = problems(read(&task(
        json!({"Parameters": {"a": "x".repeat(4090)}, "End": true}),
    )));
    assert!(
        found.len() == 1 && found[0].contains("more than 4096 bytes"),
        "{found:#?}"
    );
    let text = read(&task(
        json!({"Parameters": {"a": "x".repeat(4080)}, "End": true}),
    ));
    crate::definition::parse("machine.yaml", text.unwrap().to_yaml().as_bytes()).unwrap();
}
