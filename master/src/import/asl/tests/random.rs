//! Random machines: what is imported is a definition, whatever the states and however they lie within each other.

use super::*;
use crate::definition::ProblemKind;

/// What a machine is drawn from; when it is used up there are only zeros.
struct Tape<'t>(std::slice::Iter<'t, u8>);

impl Tape<'_> {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % count
    }

    /// In one of so many cases; never when the tape is used up.
    fn rarely(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    fn one<'v>(&mut self, of: &[&'v str]) -> &'v str {
        of[self.below(of.len())]
    }
}

const PATHS: [&str; 12] = [
    "$",
    "$.a",
    "$.a.b",
    "$.a[0]",
    "$.a[-1]",
    "$.a[*].b",
    "$['a b'].in",
    "$.a[*]",
    "$$.State.Name",
    "$$.Execution.Input.a",
    "$$.Map.Item.Index",
    "$$.Map.Item.Value.a",
];
/// Those that lead to one place, where a result may go.
const PLACES: [&str; 5] = ["$", "$.a", "$.a.b", "$['a b']", "$.type.item.map"];
const CALLS: [&str; 12] = [
    "States.Format('{} of {}', $.a, $$.State.Name)",
    "States.Array($.a, $$.Map.Item.Index, 1)",
    "States.ArrayPartition($.a, 2)",
    "States.ArrayRange($.a, $.b, -1)",
    "States.ArrayContains($.a, 'x')",
    "States.ArrayGetItem(States.Array(1, 2), $.a)",
    "States.MathAdd($.a, 1)",
    "States.JsonMerge($.a, $.b, false)",
    "States.StringSplit($.a, ',;')",
    "States.Base64Decode(States.Base64Encode($.a))",
    "States.StringToJson(States.JsonToString($))",
    "States.ArrayUnique(States.ArrayRange(1, 3, 1))",
];
const ERRORS: [&str; 5] = [
    "States.ALL",
    "States.TaskFailed",
    "States.Timeout",
    "Own",
    "Other.Error",
];

/// What a state that works on a part of its input, and takes a part of what comes of it, may say of these.
const OF_WORK: [&str; 5] = [
    "InputPath",
    "Parameters",
    "ResultSelector",
    "ResultPath",
    "OutputPath",
];

fn template(tape: &mut Tape<'_>) -> Value {
    match tape.below(4) {
        0 => json!({"x.$": tape.one(&PATHS)}),
        1 => json!({"x.$": tape.one(&CALLS), "y": [1, {"z.$": tape.one(&PATHS)}]}),
        2 => json!({"fixed": [1, "two", null]}),
        _ => json!({"in.$": tape.one(&CALLS), "type": {"a b.$": tape.one(&PATHS)}}),
    }
}

fn rule(tape: &mut Tape<'_>, depth: usize) -> Value {
    let variable = tape.one(&PATHS);
    match tape.below(9) {
        0 => json!({"Variable": variable, "IsPresent": true}),
        1 => json!({"Variable": variable, "NumericLessThan": 3}),
        2 => json!({"Variable": variable, "StringEquals": "x"}),
        3 => json!({"Variable": variable, "BooleanEqualsPath": tape.one(&PATHS)}),
        4 => json!({"Variable": variable, "TimestampGreaterThanEquals": "2024-01-01T00:00:00Z"}),
        5 => json!({"Variable": variable, "StringMatches": "a*"}),
        6 => json!({"Variable": variable, "NumericEqualsPath": tape.one(&PATHS)}),
        _ if depth == 0 => json!({"Variable": variable, "IsNull": false}),
        7 => json!({"Not": rule(tape, depth - 1)}),
        _ => json!({"And": [rule(tape, depth - 1), {"Or": [rule(tape, depth - 1)]}]}),
    }
}

/// Lets a state say now and then what comes in and goes out.
fn say(state: &mut Value, tape: &mut Tape<'_>, keys: &[&str]) {
    for key in keys {
        if !tape.rarely(4) {
            continue;
        }
        state[key] = match *key {
            "ResultPath" if tape.rarely(3) => Value::Null,
            "ResultPath" => json!(tape.one(&PLACES)),
            "InputPath" | "OutputPath" if tape.rarely(5) => Value::Null,
            "InputPath" | "OutputPath" | "ItemsPath" => json!(tape.one(&PATHS)),
            "MaxConcurrency" => json!(tape.below(4)),
            "Retry" => json!([{"ErrorEquals": [tape.one(&ERRORS)], "MaxAttempts": tape.below(4)}]),
            _ => template(tape),
        };
    }
}

/// A machine whose states lead on to later ones.
fn machine(tape: &mut Tape<'_>, depth: usize) -> Value {
    let count = 1 + tape.below(4);
    let mut states = serde_json::Map::new();
    for place in 0..count {
        let after = count - place - 1;
        let later = |tape: &mut Tape<'_>| json!(format!("S{}", place + 1 + tape.below(after)));
        let kinds = if depth > 0 { 9 } else { 6 };
        let mut state = json!({});
        let name = match tape.below(kinds) {
            0 if after > 0 => {
                let rules = (0..=tape.below(3)).map(|_| {
                    let mut rule = rule(tape, 2);
                    rule["Next"] = later(tape);
                    rule
                });
                state["Choices"] = rules.collect();
                if !tape.rarely(3) {
                    state["Default"] = later(tape);
                }
                say(&mut state, tape, &["InputPath", "OutputPath"]);
                "Choice"
            }
            1 => {
                say(
                    &mut state,
                    tape,
                    &["InputPath", "Parameters", "ResultPath", "OutputPath"],
                );
                if tape.rarely(3) {
                    state["Result"] = json!({"a": [1]});
                }
                "Pass"
            }
            2 => {
                state["Seconds"] = json!(tape.below(3));
                say(&mut state, tape, &["InputPath", "OutputPath"]);
                "Wait"
            }
            3 if tape.rarely(2) => {
                if tape.rarely(2) {
                    state["CausePath"] = json!(tape.one(&PATHS));
                }
                state["Error"] = json!(tape.one(&ERRORS));
                "Fail"
            }
            3 => {
                say(&mut state, tape, &["InputPath", "OutputPath"]);
                "Succeed"
            }
            6 => {
                let branches = (0..=tape.below(2)).map(|_| machine(tape, depth - 1));
                state["Branches"] = branches.collect();
                say(&mut state, tape, &OF_WORK);
                "Parallel"
            }
            7.. => {
                state["ItemProcessor"] = machine(tape, depth - 1);
                let keys = [
                    "InputPath",
                    "ItemsPath",
                    "ItemSelector",
                    "MaxConcurrency",
                    "ResultSelector",
                    "ResultPath",
                    "OutputPath",
                ];
                say(&mut state, tape, &keys);
                "Map"
            }
            _ => {
                state["Resource"] = json!(tape.one(&["f:g", "arn:aws:states:::lambda:invoke"]));
                say(&mut state, tape, &OF_WORK);
                say(&mut state, tape, &["Retry"]);
                if state["Resource"] != "f:g" {
                    state["Parameters"] = json!({"FunctionName": "f", "Payload": template(tape)});
                }
                "Task"
            }
        };
        state["Type"] = json!(name);
        if matches!(name, "Task" | "Parallel" | "Map") && after > 0 && tape.rarely(2) {
            let catchers = (0..=tape.below(2)).map(|_| {
                let mut catcher = json!({"ErrorEquals": [tape.one(&ERRORS)], "Next": later(tape)});
                say(&mut catcher, tape, &["ResultPath"]);
                catcher
            });
            state["Catch"] = catchers.collect();
        }
        if matches!(name, "Task" | "Pass" | "Wait" | "Parallel" | "Map") {
            if after > 0 {
                state["Next"] = later(tape);
            } else {
                state["End"] = json!(true);
            }
        }
        states.insert(format!("S{place}"), state);
    }
    json!({"StartAt": "S0", "States": states})
}

/// What a machine of the tape comes to: whether it is imported; then it is a definition.
fn comes_to(tape: &[u8]) -> Result<bool, String> {
    let machine = machine(&mut Tape(tape.iter()), 3);
    let Ok(draft) = read(&machine) else {
        return Ok(false);
    };
    let text = draft.to_yaml();
    match crate::definition::parse("machine.yaml", text.as_bytes()) {
        Ok(definition) => {
            // A rule behind the same one is the machine's own.
            let mut warnings = definition.warnings.iter();
            let own = |kind: &ProblemKind| !matches!(kind, ProblemKind::Unreached { .. });
            match warnings.find(|warning| own(&warning.kind)) {
                None => Ok(true),
                Some(warning) => Err(format!("{warning}\n{machine:#}\n{text}")),
            }
        }
        Err(error) => Err(format!(
            "{:?}\n{machine:#}\n{text}",
            miette::Report::new(error)
        )),
    }
}

#[test]
fn many_random_machines_are_imported() {
    // Else the test below would say nothing.
    let tape = |seed: u64| -> Vec<u8> {
        let step = |state: &mut u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            Some((*state >> 56) as u8)
        };
        let mut state = seed;
        std::iter::from_fn(|| step(&mut state)).take(300).collect()
    };
    let imported = (0..400)
        .filter(|seed| comes_to(&tape(*seed)).unwrap())
        .count();
    assert!(imported > 40, "{imported} of 400");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn what_is_imported_is_a_definition(tape in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(why) = comes_to(&tape) {
            prop_assert!(false, "{}", why);
        }
    }
}
