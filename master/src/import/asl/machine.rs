//! State machines as they are written: the states, what each of them does, and where it leads. Keys are checked and names
//! of states resolved; paths and templates stay as they are until it is known what they lead into.

use super::order;
use crate::definition::{Span, Spanned};
use crate::import::problem::ImportProblem;
use crate::import::read::{Fields, Reader};
use crate::import::tree::{Tree, Value};
use std::collections::HashMap;

/// What to do about JSONata.
pub(super) const JSONATA_HELP: &str = "rewrite the state in JSONPath: InputPath, Parameters, ResultSelector, ResultPath and OutputPath";
/// Deepest nesting of machines in Parallel and Map states.
const DEPTH_MAX: usize = 8;

/// A machine: the whole file, a branch, or what a Map does to each item.
pub(super) struct Machine<'t> {
    /// In the file's order.
    pub(super) states: Vec<State<'t>>,
    /// The states that are reached, each after all that lead to it; the first state comes first.
    pub(super) order: Vec<usize>,
    /// Longest that a run may take.
    pub(super) timeout: Option<&'t Tree>,
}

/// A state.
pub(super) struct State<'t> {
    pub(super) name: &'t str,
    /// Where its name stands.
    pub(super) span: Span,
    pub(super) work: Work<'t>,
    pub(super) input_path: Option<&'t Tree>,
    pub(super) parameters: Option<&'t Tree>,
    pub(super) result_selector: Option<&'t Tree>,
    pub(super) result_path: Option<&'t Tree>,
    pub(super) output_path: Option<&'t Tree>,
    /// Where it leads when it ended well; `None` if nowhere.
    pub(super) next: Option<usize>,
    pub(super) retry: &'t [Tree],
    pub(super) catch: Vec<Catcher<'t>>,
}

/// What a state does.
pub(super) enum Work<'t> {
    Task {
        resource: Spanned<&'t str>,
        timeout: Option<&'t Tree>,
    },
    Pass {
        result: Option<&'t Tree>,
    },
    Choice {
        rules: Vec<(&'t Tree, usize)>,
        default: Option<usize>,
    },
    Wait(Until<'t>),
    Succeed,
    Fail {
        error: Option<&'t Tree>,
        error_path: Option<&'t Tree>,
        cause: Option<&'t Tree>,
        cause_path: Option<&'t Tree>,
    },
    Parallel(Vec<Machine<'t>>),
    Map {
        machine: Machine<'t>,
        items_path: Option<&'t Tree>,
        selector: Option<&'t Tree>,
        concurrency: Option<&'t Tree>,
    },
}

/// For how long, or until when, a Wait waits.
pub(super) enum Until<'t> {
    Seconds(&'t Tree),
    SecondsPath(&'t Tree),
    Timestamp(&'t Tree),
    TimestampPath(&'t Tree),
}

/// An entry of `Catch`.
pub(super) struct Catcher<'t> {
    pub(super) errors: &'t Tree,
    pub(super) result_path: Option<&'t Tree>,
    pub(super) next: usize,
    pub(super) span: Span,
}

/// Keys that mean something there and nothing here, and what to do about them.
const REFUSED: &[(&str, &str)] = &[
    ("Arguments", JSONATA_HELP),
    (
        "Assign",
        "pass what later states need on in their input; there are no variables",
    ),
    ("Output", JSONATA_HELP),
    ("Items", JSONATA_HELP),
    (
        "HeartbeatSeconds",
        "leave it away, and bound the task with TimeoutSeconds",
    ),
    (
        "HeartbeatSecondsPath",
        "leave it away, and bound the task with TimeoutSeconds",
    ),
    (
        "TimeoutSecondsPath",
        "write the seconds as TimeoutSeconds: a timeout is part of the definition",
    ),
    (
        "Credentials",
        "leave it away: functions have what their workers give them",
    ),
    (
        "ItemReader",
        "it belongs to a Distributed Map: give the items as a list in the input",
    ),
    (
        "ItemBatcher",
        "it belongs to a Distributed Map: batch the items before the Map",
    ),
    (
        "ResultWriter",
        "it belongs to a Distributed Map: let a function write the results",
    ),
    (
        "Label",
        "it belongs to a Distributed Map: leave it away, with Mode INLINE",
    ),
    (
        "MaxConcurrencyPath",
        "write the number as MaxConcurrency: it is part of the definition",
    ),
    (
        "ToleratedFailurePercentage",
        "it belongs to a Distributed Map: catch failures in a function",
    ),
    (
        "ToleratedFailurePercentagePath",
        "it belongs to a Distributed Map: catch failures in a function",
    ),
    (
        "ToleratedFailureCount",
        "it belongs to a Distributed Map: catch failures in a function",
    ),
    (
        "ToleratedFailureCountPath",
        "it belongs to a Distributed Map: catch failures in a function",
    ),
];

const ALWAYS: &[&str] = &["Type", "Comment", "QueryLanguage"];

/// The types of states and their keys.
const TYPES: &[(&str, &[&str])] = &[
    (
        "Task",
        &[
            "Resource",
            "InputPath",
            "OutputPath",
            "Parameters",
            "ResultSelector",
            "ResultPath",
            "Retry",
            "Catch",
            "TimeoutSeconds",
            "Next",
            "End",
        ],
    ),
    (
        "Pass",
        &[
            "Result",
            "InputPath",
            "OutputPath",
            "Parameters",
            "ResultPath",
            "Next",
            "End",
        ],
    ),
    ("Choice", &["Choices", "Default", "InputPath", "OutputPath"]),
    (
        "Wait",
        &[
            "Seconds",
            "SecondsPath",
            "Timestamp",
            "TimestampPath",
            "InputPath",
            "OutputPath",
            "Next",
            "End",
        ],
    ),
    ("Succeed", &["InputPath", "OutputPath"]),
    ("Fail", &["Error", "Cause", "ErrorPath", "CausePath"]),
    (
        "Parallel",
        &[
            "Branches",
            "InputPath",
            "OutputPath",
            "Parameters",
            "ResultSelector",
            "ResultPath",
            "Retry",
            "Catch",
            "Next",
            "End",
        ],
    ),
    (
        "Map",
        &[
            "ItemProcessor",
            "Iterator",
            "ItemsPath",
            "ItemSelector",
            "Parameters",
            "MaxConcurrency",
            "InputPath",
            "OutputPath",
            "ResultSelector",
            "ResultPath",
            "Retry",
            "Catch",
            "Next",
            "End",
        ],
    ),
];

/// Reads the machine of a file.
pub(super) fn read<'t>(reader: &mut Reader, tree: &'t Tree) -> Option<Machine<'t>> {
    let keys = [
        "StartAt",
        "States",
        "Comment",
        "Version",
        "TimeoutSeconds",
        "QueryLanguage",
    ];
    machine(reader, tree, "a state machine", &keys, 0)
}

fn machine<'t>(
    reader: &mut Reader,
    tree: &'t Tree,
    what: &str,
    keys: &[&str],
    depth: usize,
) -> Option<Machine<'t>> {
    if depth == DEPTH_MAX {
        let what = format!("a machine nested more than {DEPTH_MAX} deep");
        reader.not_covered(tree.span, what, "draw the branches together");
        return None;
    }
    let fields = reader.fields(tree, what, keys)?;
    query_language(reader, &fields)?;
    if let Some(version) = fields.get("Version")
        && reader.text(version, "`Version`")? != "1.0"
    {
        reader.not_covered(
            version.span,
            "another version than 1.0",
            "write \"1.0\", or leave it away",
        );
        return None;
    }
    let start = reader.needed(&fields, what, "StartAt");
    let states = reader.needed(&fields, what, "States")?;
    let start = start?;
    let states = reader.map(states, "`States`")?;
    if states.entries.is_empty() {
        let kind = ImportProblem::Contradiction("the machine has no states".to_owned());
        reader.add(states.span, kind, "add a state, and name it as StartAt");
        return None;
    }
    let names = Names {
        places: states
            .entries
            .iter()
            .enumerate()
            .map(|(place, (name, _))| (name.value.as_str(), place))
            .collect(),
    };
    let start = names.find(reader, start, "`StartAt`");
    // All states are read, so that all that is wrong is found.
    let read: Vec<Option<State<'t>>> = states
        .entries
        .iter()
        .map(|(name, tree)| state(reader, name, tree, &names, depth))
        .collect();
    let states: Option<Vec<State<'t>>> = read.into_iter().collect();
    let (states, start) = (states?, start?);
    let order = order::of(reader, &states, start)?;
    Some(Machine {
        states,
        order,
        timeout: fields.get("TimeoutSeconds"),
    })
}

/// The states of one machine, by their names.
struct Names<'t> {
    places: HashMap<&'t str, usize>,
}

impl Names<'_> {
    fn find(&self, reader: &mut Reader, tree: &Tree, what: &str) -> Option<usize> {
        let name = reader.text(tree, what)?;
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        let mut known: Vec<&str> = self.places.keys().copied().collect();
        known.sort_unstable();
        let help = reader.instead(name, &known);
        let kind = ImportProblem::Unknown {
            what: "state",
            name: crate::definition::problem::quoted(name),
        };
        reader.add(tree.span, kind, help);
        None
    }
}

fn query_language(reader: &mut Reader, fields: &Fields<'_>) -> Option<()> {
    let Some(language) = fields.get("QueryLanguage") else {
        return Some(());
    };
    match reader.text(language, "`QueryLanguage`")? {
        "JSONPath" => Some(()),
        "JSONata" => {
            reader.not_covered(language.span, "JSONata", JSONATA_HELP);
            None
        }
        _ => {
            reader.shape(language, "`QueryLanguage`", "\"JSONPath\"");
            None
        }
    }
}

fn state<'t>(
    reader: &mut Reader,
    name: &'t Spanned<String>,
    tree: &'t Tree,
    names: &Names<'_>,
    depth: usize,
) -> Option<State<'t>> {
    let all = reader.map(tree, "a state")?;
    let of_type = reader.needed(&all, "a state", "Type")?;
    let type_name = reader.text(of_type, "`Type`")?;
    let Some((type_name, keys)) = TYPES.iter().find(|(known, _)| *known == type_name) else {
        let known: Vec<&str> = TYPES.iter().map(|(known, _)| *known).collect();
        let help = reader.instead(type_name, &known);
        let kind = ImportProblem::Unknown {
            what: "type of state",
            name: crate::definition::problem::quoted(type_name),
        };
        reader.add(of_type.span, kind, help);
        return None;
    };
    let what = format!("a {type_name} state");
    query_language(reader, &all)?;
    let mut complete = true;
    for (key, _) in all.entries {
        if let Some((refused, help)) = REFUSED.iter().find(|(refused, _)| *refused == key.value) {
            reader.not_covered(key.span, format!("`{refused}`"), *help);
            complete = false;
        }
    }
    let mut known: Vec<&str> = ALWAYS.to_vec();
    known.extend(*keys);
    let refused = REFUSED.iter().map(|(refused, _)| *refused);
    let with_refused: Vec<&str> = known.iter().copied().chain(refused).collect();
    for (key, _) in all.entries {
        if !with_refused.contains(&key.value.as_str()) {
            let help = reader.instead(&key.value, &known);
            let kind = crate::definition::ProblemKind::UnknownKey {
                what: what.clone(),
                key: crate::definition::problem::quoted(&key.value),
            };
            reader.add(key.span, kind, help);
            complete = false;
        }
    }
    let next = next(reader, &all, type_name, &what, name, names);
    let catch = catchers(reader, &all, names);
    let work = complete.then(|| work(reader, &all, type_name, &what, names, depth));
    let retry = match all.get("Retry") {
        Some(retry) => reader.list(retry, "`Retry`")?,
        None => &[],
    };
    let raw = |key: &str| {
        let entry = all.entries.iter().find(|(name, _)| name.value == key);
        entry.map(|(_, tree)| tree)
    };
    // In a Map these are an older name of its ItemSelector.
    let parameters = raw("Parameters").filter(|_| *type_name != "Map");
    Some(State {
        name: &name.value,
        span: name.span,
        work: work??,
        input_path: raw("InputPath"),
        parameters,
        result_selector: raw("ResultSelector"),
        result_path: raw("ResultPath"),
        output_path: raw("OutputPath"),
        next: next?,
        retry,
        catch: catch?,
    })
}

fn next(
    reader: &mut Reader,
    fields: &Fields<'_>,
    type_name: &str,
    what: &str,
    name: &Spanned<String>,
    names: &Names<'_>,
) -> Option<Option<usize>> {
    if matches!(type_name, "Choice" | "Succeed" | "Fail") {
        return Some(None);
    }
    let end = match fields.get("End") {
        Some(end) => match end.value {
            Value::Bool(end) => end,
            _ => {
                reader.shape(end, "`End`", "true or false");
                return None;
            }
        },
        None => false,
    };
    match (fields.get("Next"), end) {
        (None, true) => Some(None),
        (Some(next), false) => names.find(reader, next, "`Next`").map(Some),
        (Some(next), true) => {
            let kind = ImportProblem::Contradiction(format!("{what} has both `Next` and `End`"));
            reader.add(next.span, kind, "leave one of them away");
            None
        }
        (None, false) => {
            let misspelt = |(key, _): &(Spanned<String>, Tree)| {
                !matches!(key.value.as_str(), "Next" | "End")
                    && crate::definition::nearest(&key.value, ["Next", "End"]).is_some()
                    && !TYPES
                        .iter()
                        .any(|(_, keys)| keys.contains(&key.value.as_str()))
            };
            if !fields.entries.iter().any(misspelt) {
                let kind =
                    ImportProblem::Contradiction(format!("{what} has neither `Next` nor `End`"));
                reader.add(
                    name.span,
                    kind,
                    "say where it leads with `Next`, or add \"End\": true",
                );
            }
            None
        }
    }
}

fn catchers<'t>(
    reader: &mut Reader,
    fields: &Fields<'t>,
    names: &Names<'_>,
) -> Option<Vec<Catcher<'t>>> {
    let Some(catch) = fields.get("Catch") else {
        return Some(Vec::new());
    };
    let mut catchers = Vec::new();
    for tree in reader.list(catch, "`Catch`")? {
        let keys = [
            "ErrorEquals",
            "Next",
            "ResultPath",
            "Comment",
            "Assign",
            "Output",
        ];
        let fields = reader.fields(tree, "a catcher", &keys)?;
        for (key, _) in fields.entries {
            if matches!(key.value.as_str(), "Assign" | "Output") {
                reader.not_covered(key.span, format!("`{}`", key.value), JSONATA_HELP);
                return None;
            }
        }
        let errors = reader.needed(&fields, "a catcher", "ErrorEquals");
        let next = reader.needed(&fields, "a catcher", "Next")?;
        let result_path = fields
            .entries
            .iter()
            .find(|(key, _)| key.value == "ResultPath");
        catchers.push(Catcher {
            errors: errors?,
            result_path: result_path.map(|(_, tree)| tree),
            next: names.find(reader, next, "`Next`")?,
            span: tree.span,
        });
    }
    Some(catchers)
}

/// For how long, or until when, a Wait waits: it says so once.
fn until<'t>(reader: &mut Reader, fields: &Fields<'t>, what: &str) -> Option<Until<'t>> {
    type Kind<'t> = fn(&'t Tree) -> Until<'t>;
    let kinds: [(&str, Kind<'t>); 4] = [
        ("Seconds", Until::Seconds),
        ("SecondsPath", Until::SecondsPath),
        ("Timestamp", Until::Timestamp),
        ("TimestampPath", Until::TimestampPath),
    ];
    let given = kinds.iter().filter_map(|(key, kind)| {
        let tree = fields.get(key)?;
        Some((*key, *kind, tree))
    });
    let given: Vec<_> = given.collect();
    match given[..] {
        [] => {
            reader.needed(fields, what, "Seconds")?;
            None
        }
        [(_, kind, tree)] => Some(kind(tree)),
        [(first, ..), (second, _, tree), ..] => {
            let told = format!("`{first}` and `{second}` exclude one another");
            let help = "leave one of Seconds, SecondsPath, Timestamp and TimestampPath";
            reader.add(tree.span, ImportProblem::Contradiction(told), help);
            None
        }
    }
}

fn work<'t>(
    reader: &mut Reader,
    fields: &Fields<'t>,
    type_name: &str,
    what: &str,
    names: &Names<'_>,
    depth: usize,
) -> Option<Work<'t>> {
    Some(match type_name {
        "Task" => {
            let resource = reader.needed(fields, what, "Resource")?;
            Work::Task {
                resource: Spanned {
                    value: reader.text(resource, "`Resource`")?,
                    span: resource.span,
                },
                timeout: fields.get("TimeoutSeconds"),
            }
        }
        "Pass" => Work::Pass {
            result: fields
                .entries
                .iter()
                .find(|(key, _)| key.value == "Result")
                .map(|(_, tree)| tree),
        },
        "Choice" => choice(reader, fields, what, names)?,
        "Wait" => Work::Wait(until(reader, fields, what)?),
        "Succeed" => Work::Succeed,
        "Fail" => Work::Fail {
            error: fields.get("Error"),
            error_path: fields.get("ErrorPath"),
            cause: fields.get("Cause"),
            cause_path: fields.get("CausePath"),
        },
        "Parallel" => {
            let branches = reader.needed(fields, what, "Branches")?;
            let keys = ["StartAt", "States", "Comment", "QueryLanguage"];
            let trees = reader.list(branches, "`Branches`")?;
            if trees.is_empty() {
                reader.shape(branches, "`Branches`", "a list of at least one branch");
                return None;
            }
            let read: Vec<Option<Machine<'t>>> = trees
                .iter()
                .map(|tree| machine(reader, tree, "a branch", &keys, depth + 1))
                .collect();
            Work::Parallel(read.into_iter().collect::<Option<_>>()?)
        }
        _ => map(reader, fields, what, depth)?,
    })
}

fn choice<'t>(
    reader: &mut Reader,
    fields: &Fields<'t>,
    what: &str,
    names: &Names<'_>,
) -> Option<Work<'t>> {
    let choices = reader.needed(fields, what, "Choices")?;
    let trees = reader.list(choices, "`Choices`")?;
    if trees.is_empty() {
        reader.shape(choices, "`Choices`", "a list of at least one rule");
        return None;
    }
    let mut rules = Vec::new();
    let mut complete = true;
    for tree in trees {
        let rule = reader.map(tree, "a choice rule")?;
        let next = reader.needed(&rule, "a choice rule", "Next");
        match next.and_then(|next| names.find(reader, next, "`Next`")) {
            Some(next) => rules.push((tree, next)),
            None => complete = false,
        }
    }
    let default = match fields.get("Default") {
        Some(default) => Some(names.find(reader, default, "`Default`")?),
        None => None,
    };
    complete.then_some(Work::Choice { rules, default })
}

fn map<'t>(reader: &mut Reader, fields: &Fields<'t>, what: &str, depth: usize) -> Option<Work<'t>> {
    // `Iterator` is the older name.
    let processor = match fields.get("Iterator") {
        Some(iterator) => iterator,
        None => reader.needed(fields, what, "ItemProcessor")?,
    };
    let keys = [
        "StartAt",
        "States",
        "Comment",
        "ProcessorConfig",
        "QueryLanguage",
    ];
    let inner = reader.map(processor, "`ItemProcessor`")?;
    if let Some(config) = inner.get("ProcessorConfig") {
        let config = reader.fields(config, "`ProcessorConfig`", &["Mode", "ExecutionType"])?;
        if let Some(mode) = config.get("Mode") {
            match reader.text(mode, "`Mode`")? {
                "INLINE" => {}
                "DISTRIBUTED" => {
                    let help = "write \"INLINE\": the items are in the state's input then";
                    reader.not_covered(mode.span, "a Distributed Map", help);
                    return None;
                }
                _ => {
                    reader.shape(mode, "`Mode`", "\"INLINE\"");
                    return None;
                }
            }
        }
    }
    Some(Work::Map {
        machine: machine(reader, processor, "an item processor", &keys, depth + 1)?,
        items_path: fields.get("ItemsPath"),
        selector: fields
            .get("ItemSelector")
            .or_else(|| fields.get("Parameters")),
        concurrency: fields.get("MaxConcurrency"),
    })
}
