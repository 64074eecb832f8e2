//! What holds for every import: what is printed reads back, and bad input ends in words.

use super::json::json;
use super::tree::Tree;
use super::*;
use crate::definition::{Definition, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What a draft says, as the definition that it is.
pub(super) fn defined(draft: &Draft) -> Definition {
    let text = draft.to_yaml();
    assert_eq!(draft.to_yaml(), text);
    parse("draft.yaml", text.as_bytes()).unwrap_or_else(|error| {
        let problems: Vec<_> = error.problems.iter().map(ToString::to_string).collect();
        panic!("{error}: {problems:#?}\n{text}")
    })
}

/// The lines, columns and words of what is wrong with a file.
pub(super) fn refused(format: Format, text: &str) -> Vec<(usize, usize, String)> {
    match import(format, "file", text.as_bytes(), &Options::default()) {
        Err(ImportError::Problems(error)) => error
            .problems
            .iter()
            .map(|problem| {
                let help = problem.help.as_deref().unwrap_or_default();
                (
                    problem.place.line,
                    problem.place.column,
                    format!("{problem}: {help}"),
                )
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn tree(text: &str) -> Result<Tree, ImportError> {
    json(&SourceText {
        name: "x.json".into(),
        text: text.into(),
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        ".{0,6}",
        Just("yes".to_owned()),
        Just("1.0".to_owned()),
        Just("a: b # c".to_owned()),
        Just("\u{2028}\u{feff}\u{85}\u{1f600}\u{7f}\t\n".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_that_is_printed_reads_back_as_it_was(value in any_json(), text in ".{0,20}") {
        let mut draft = Draft { workflow: "w".to_owned(), ..Draft::default() };
        draft.notes.push(text.clone());
        let mut node = Node::new("n", Work::Function("e:f".to_owned()));
        node.comments.push(text.clone());
        node.inputs.push(("value".to_owned(), Feed::Value(value.clone())));
        node.inputs.push(("text".to_owned(), Feed::Text(text.clone())));
        draft.nodes.push(node);
        let definition = defined(&draft);
        let read: Vec<&[u8]> = definition.constants.iter().flat_map(|constant| &constant.items).map(Vec::as_slice).collect();
        let found = read.iter().any(|bytes| serde_json::from_slice::<Value>(bytes).is_ok_and(|read| read == value));
        prop_assert!(found, "{value} is none of {read:?}");
        prop_assert!(read.contains(&text.as_bytes()), "{text:?}");
    }

    #[test]
    fn json_is_read_as_others_read_it(value in any_json(), pretty: bool) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        prop_assert_eq!(tree(&text).unwrap().to_json(), value);
    }

    #[test]
    fn what_is_no_json_for_others_is_none_here(text in "[\\[\\]{},:\"0-9a-z\\\\u.+ -]{0,12}") {
        let others: Result<Value, _> = serde_json::from_str(&text);
        // A key that stands twice is refused here alone, and a number that is too large everywhere.
        if let Err(ImportError::Problems(error)) = tree(&text) {
            let twice = error.problems.iter().any(|problem| problem.to_string().contains("twice"));
            prop_assert!(twice || others.is_err(), "{}", text);
        } else {
            prop_assert!(others.is_ok(), "{}", text);
        }
    }

    #[test]
    fn any_bytes_give_a_draft_or_problems(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Faasflow, Format::Wfformat] {
            let _ = import(format, "x", &bytes, &Options::default());
        }
    }

    #[test]
    fn a_file_that_is_cut_or_changed_gives_a_draft_or_problems(
        at: prop::sample::Index, length in 0usize..20, by in "[ -~\\n]{0,8}", which: bool,
    ) {
        let (format, text) = if which {
            (Format::Faasflow, faasflow::EXAMPLE)
        } else {
            (Format::Wfformat, wfformat::EXAMPLE)
        };
        let at = at.index(text.len());
        let end = (at + length).min(text.len());
        let changed = format!("{}{by}{}", &text[..at], &text[end..]);
        if let Ok(draft) = import(format, "x", changed.as_bytes(), &Options::default()) {
            prop_assert!(!draft.to_yaml().is_empty());
        }
    }
}

#[test]
fn a_mistake_in_json_has_its_place() {
    for (text, column, words) in [
        ("{\"a\": }", 7, "a value is expected"),
        ("{\"a\" 1}", 6, "`:` is expected"),
        ("[1 2]", 4, "`,` or `]`"),
        ("{a: 1}", 2, "a key in quotes"),
        ("[01]", 3, "`,` or `]`"),
        ("\"\\ud800x\"", 8, "second half"),
        ("\"\\udc00\"", 8, "first half"),
        ("[1e999]", 2, "too large"),
        ("\"ab", 4, "ends within a text"),
        ("[1] 2", 5, "goes on"),
        ("{\"a\": 1, \"a\": 2}", 10, "defined twice"),
        ("", 1, "defines nothing"),
        ("[1,", 4, "ends where a value"),
    ] {
        let problems = refused(Format::Wfformat, text);
        let (line, found, said) = &problems[0];
        assert_eq!((*line, *found), (1, column), "{text}: {said}");
        assert!(said.contains(words), "{text}: {said}");
    }
    let nine: Vec<_> = (0..9).map(|key| format!("\"{key}\": 1")).collect();
    let text = format!("{{{}, \"3\": 2}}", nine.join(", "));
    assert!(
        refused(Format::Wfformat, &text)[0]
            .2
            .contains("`3` is defined twice")
    );
}

#[test]
fn bombs_are_refused() {
    let deep = "[".repeat(1_000_000);
    assert!(
        refused(Format::Wfformat, &deep)[0]
            .2
            .contains("nested more than 128 deep")
    );
    assert!(!refused(Format::Faasflow, &deep).is_empty());
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let said = &refused(Format::Faasflow, &deep)[0].2;
    assert!(said.contains("nested more than"), "{said}");
    let many = format!("[{}0]", "0,".repeat(4_000_000));
    assert!(
        refused(Format::Wfformat, &many)[0]
            .2
            .contains("more than 4000000 values")
    );
    let mut aliases = "a0: &a0 [x]\n".to_owned();
    for level in 1..10 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(refused(Format::Faasflow, &aliases)[0].2.contains("values"));
    let long = vec![b' '; IMPORT_BYTES_MAX + 1];
    let error = import(Format::Wfformat, "x", &long, &Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::Long { .. }), "{error}");
    let error = import(
        Format::Wfformat,
        "x",
        b"{\"a\": \"\xff\"}",
        &Options::default(),
    );
    assert!(error.unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn what_becomes_longer_than_a_definition_is_refused() {
    let draft = Draft {
        notes: vec!["x".repeat(DEFINITION_BYTES_MAX)],
        ..Draft::default()
    };
    let error = printable(draft, "long").unwrap_err();
    assert!(
        matches!(error, ImportError::LongDefinition { .. }),
        "{error}"
    );
    assert!(printable(Draft::default(), "short").is_ok());
}

#[test]
fn what_a_draft_says_is_what_the_definition_says() {
    let mut draft = Draft {
        workflow: "all".to_owned(),
        timeout_ms: Some(60_000),
        ..Draft::default()
    };
    draft.notes.push("a note # with: marks".to_owned());
    let input = |name: &str, kind, default, optional| WorkflowInput {
        name: name.to_owned(),
        kind,
        default,
        optional,
        comment: Some("beside".to_owned()),
    };
    use faasstore::binding::Kind;
    draft
        .inputs
        .push(input("list", Kind::List, Some(json!(["a", 1])), false));
    draft.inputs.push(input("maybe", Kind::Bytes, None, true));
    draft
        .inputs
        .push(input("n", Kind::Value, Some(json!(3)), false));
    draft.constants.push((
        "limit".to_owned(),
        json!({ "a": [1, 2.5, null], "b": "x: y" }),
    ));
    let mut first = Node::new("first", Work::Function("e:f".to_owned()));
    first.foreach = Some(Foreach {
        list: Source::Input("list".to_owned()),
        batch: Some(2),
        parallelism: Some(4),
    });
    first.inputs = vec![
        ("it".to_owned(), Source::Item.into()),
        (
            "limit".to_owned(),
            Source::Constant("limit".to_owned()).into(),
        ),
        (
            "maybe".to_owned(),
            Feed::From {
                first_of: vec![Source::Input("maybe".to_owned())],
                default: None,
                optional: true,
            },
        ),
        ("number".to_owned(), Feed::Value(json!(2.5))),
    ];
    first.outputs = vec![("x".to_owned(), Kind::Bytes), ("y".to_owned(), Kind::Value)];
    first.retriers = vec![Retry {
        attempts: 3,
        backoff_ms: 10,
        factor: Some(1.5),
        backoff_max_ms: Some(100),
        jitter: Some(0.5),
        on: vec!["timeout".to_owned(), "Busy".to_owned()],
    }];
    first.timeout_ms = Some(500);
    first.resources = Resources {
        memory_mib: Some(64),
        scale: Some(2),
        cpus: None,
    };
    first.profile = Some(Profile {
        runtime_ms: 0.25,
        output_bytes: 10,
        by_output: Vec::new(),
        items: 4,
        busy: 0.5,
        peak_mib: 7,
        placeholder: true,
    });
    let mut command = Node::new(
        "command",
        Work::Command(vec!["sort".to_owned(), "-u".to_owned()]),
    );
    command
        .inputs
        .push(("in".to_owned(), Source::Input("n".to_owned()).into()));
    command.outputs.push(("out".to_owned(), Kind::Bytes));
    let retrier = |attempts, on: &[&str]| Retry {
        attempts,
        backoff_ms: 1,
        factor: None,
        backoff_max_ms: None,
        jitter: None,
        on: on.iter().map(|name| (*name).to_owned()).collect(),
    };
    command.retriers = vec![retrier(1, &["exit-2"]), retrier(4, &[])];
    command.catches.push(Catch {
        on: vec!["crash".to_owned()],
        to: vec!["late".to_owned()],
    });
    command.after.push("first".to_owned());
    let compute = Node::new(
        "compute",
        Work::Compute(vec![
            ("sum".to_owned(), Formula::Value("input.n + 1".to_owned())),
            (
                "range".to_owned(),
                Formula::Range {
                    from: "0".to_owned(),
                    to: "input.n".to_owned(),
                },
            ),
            ("list".to_owned(), Formula::List("[input.n, 2]".to_owned())),
        ]),
    );
    let switch = Node::new(
        "switch",
        Work::Switch {
            cases: vec![("compute.sum > 2".to_owned(), vec!["big".to_owned()])],
            default: Some(Vec::new()),
        },
    );
    let mut big = Node::new("big", Work::Nothing);
    big.delay = Some(Delay::Fixed(5));
    let mut late = Node::new("late", Work::Nothing);
    late.delay = None;
    let mut some = Node::new("some", Work::Nothing);
    some.join = Join::AtLeast(2);
    some.after = vec!["first".to_owned(), "compute".to_owned(), "big".to_owned()];
    draft.nodes = vec![first, command, compute, switch, big, late, some];
    let either = Feed::From {
        first_of: vec![
            Source::output("compute", "sum"),
            Source::Input("n".to_owned()),
        ],
        default: None,
        optional: false,
    };
    draft.outputs.push(("either".to_owned(), either));
    let definition = defined(&draft);
    assert_eq!(definition.timeout_ms, Some(60_000));
    assert_eq!(definition.inputs.len(), 3);
    assert!(definition.inputs[1].optional && definition.inputs[0].default.is_some());
    let node = |name: &str| {
        let found = definition.nodes.iter().find(|node| node.name.value == name);
        found.unwrap_or_else(|| panic!("{name} is missing"))
    };
    let first = node("first");
    let region = &definition.regions[first.region.expect("it runs over a list")];
    assert_eq!((region.batch, region.parallelism), (Some(2), Some(4)));
    let figures = |node: &crate::definition::Node| -> Vec<_> {
        let retriers = node.retriers.iter();
        retriers
            .map(|retry| (retry.attempts, retry.backoff_ms, retry.on.len()))
            .collect()
    };
    assert_eq!(figures(first), [(3, 10, 2)]);
    assert_eq!(figures(node("command")), [(1, 1, 1), (4, 1, 0)]);
    assert_eq!(
        (first.timeout_ms, first.resources.memory_mib),
        (Some(500), 64)
    );
    assert_eq!(
        (first.profile.runtime_ms, first.profile.output_bytes),
        (0.25, 10)
    );
    assert_eq!(first.inputs.len(), 4);
    assert!(first.inputs[2].optional);
    assert_eq!(node("command").catches.len(), 1);
    assert_eq!(node("big").delays, [crate::definition::Delay::Fixed(5)]);
    assert_eq!(node("some").after.len(), 3);
    assert_ne!(node("some").join, node("late").join);
    assert_eq!(definition.outputs[0].from.len(), 2);
    assert!(matches!(
        &node("switch").work,
        crate::definition::Work::Switch(cases) if cases.len() == 2 && cases[1].to.is_empty()
    ));
}
