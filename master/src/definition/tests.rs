//! What is wrong with a definition is said with its place and with what would be right.

use super::*;
use proptest::prelude::*;

mod catching;
mod constructs;
mod expressions;
mod files;
mod hostile;
mod maxima;
mod once;
mod refusals;
mod regions;
mod schema;
mod stores;
mod suspicious;

const WORDCOUNT: &str = "\
workflow: wordcount
input:
  text: bytes
nodes:
  split:
    function: wordcount:split
    input: { text: input.text }
    output: { chunks: list }
  count:
    function: wordcount:count
    foreach: split.chunks
    input: { chunk: item }
    output: { counts: bytes }
    profile: { runtime_ms: 120, output_bytes: 736992 }
    resources: { memory_mib: 128, scale: 4 }
    retry: { attempts: 3, backoff_ms: 50 }
    timeout_ms: 5000
  merge:
    function: wordcount:merge
    input: { counts: count.counts }
    output: { totals: bytes }
    after: [split]
output:
  totals: merge.totals
";

/// Each problem as `line:column message | help`.
fn problems(text: &str) -> Vec<String> {
    let error = match parse("w.yaml", text.as_bytes()) {
        Ok(_) => return Vec::new(),
        Err(error) => error,
    };
    let told = error.problems.iter().map(|problem| {
        let Place { line, column, .. } = problem.place;
        let help = problem.help.as_deref().unwrap_or("-");
        format!("{line}:{column} {problem} | {help}")
    });
    told.collect()
}

/// The problems of the word count with one piece of it replaced, which must be there once.
fn with(piece: &str, replacement: &str) -> Vec<String> {
    assert_eq!(WORDCOUNT.matches(piece).count(), 1, "{piece}");
    problems(&WORDCOUNT.replace(piece, replacement))
}

/// Asserts that each replacement gives one problem: at the place, with the words in its message, and in its help.
fn each_gives(cases: &[(&str, &str, &str, &str, &str)]) {
    for (piece, replacement, place, message, help) in cases {
        let told = with(piece, replacement);
        let [told] = told.as_slice() else {
            panic!("{piece} -> {replacement}: {told:#?}")
        };
        let (said, helped) = told.split_once(" | ").unwrap();
        assert!(
            said.starts_with(&format!("{place} ")),
            "{replacement}: at {place}, not {told}"
        );
        assert!(said.contains(message), "{replacement}: {told}");
        assert!(helped.contains(help), "{replacement}: {told}");
    }
}

#[test]
fn the_word_count_is_read_as_it_stands() {
    let definition = parse("w.yaml", WORDCOUNT.as_bytes()).unwrap();
    assert_eq!(definition.workflow.value, "wordcount");
    let [split, count, merge] = definition.nodes.as_slice() else {
        panic!("three nodes")
    };
    let chunks = From::Output { node: 0, output: 0 };
    let region = &definition.regions[count.region.unwrap()];
    assert_eq!(region.list.value, chunks);
    assert_eq!(
        (count.inputs[0].from[0].value, count.inputs[0].kind),
        (From::Item { up: 0 }, Kind::Bytes)
    );
    assert_eq!(
        (count.resources.memory_mib, count.resources.scale),
        (128, 4)
    );
    assert_eq!(
        count.retriers,
        [Retry {
            attempts: 3,
            backoff_ms: 50,
            ..Retry::default()
        }]
    );
    assert_eq!(count.timeout_ms, Some(5000));
    assert_eq!(
        count.profile,
        Profile {
            runtime_ms: 120.0,
            output_bytes: 736_992,
            ..Profile::default()
        }
    );
    assert_eq!(
        merge.inputs[0].kind,
        Kind::List,
        "the outputs of a foreach node are gathered"
    );
    assert_eq!(merge.after[0].value, 0);
    assert_eq!(split.retriers, []);
    assert_eq!(definition.outputs[0].kind, Kind::Bytes);
    let span = count.name.span;
    assert_eq!(&WORDCOUNT[span.start..span.end], "count");
}

#[test]
fn items_of_gathered_values_are_values() {
    let text = "
workflow: w
input: { all: list }
nodes:
  a: { function: e:f, foreach: input.all, input: { i: item }, output: { v: value } }
  b: { function: e:f, foreach: a.v, input: { i: item, all: a.v } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    assert_eq!(definition.nodes[0].inputs[0].kind, Kind::Bytes);
    assert_eq!(definition.nodes[1].inputs[0].kind, Kind::Value);
    assert_eq!(definition.nodes[1].inputs[1].kind, Kind::List);
}

#[test]
fn yaml_that_is_none_is_refused_at_its_place() {
    each_gives(&[
        (
            "    input: { counts:",
            "   input: { counts:",
            "20:4",
            "this is not valid YAML",
            "check the indentation",
        ),
        (
            "{ totals: bytes }",
            "{ totals: bytes",
            "22:10",
            "this is not valid YAML",
            "brackets before this place",
        ),
        (
            "{ totals: bytes }",
            "!!map { totals: bytes }",
            "21:13",
            "YAML tags have no meaning",
            "leave the tag away",
        ),
        (
            "{ totals: bytes }",
            "*nothing",
            "21:13",
            "unknown anchor",
            "check",
        ),
        (
            "{ totals: bytes }",
            "{ [a]: bytes }",
            "21:15",
            "a key must be a name",
            "keys are plain names",
        ),
    ]);
    let cases = [
        ("", "1:1 the file defines nothing"),
        ("# only this\n", "1:1 the file defines nothing"),
        (
            "---\n",
            "2:1 a workflow must be a mapping, but this is empty",
        ),
        ("[]", "1:1 a workflow must be a mapping, but this is a list"),
        ("workflow: w\nnodes:\n", "2:1 the workflow has no nodes"),
        ("workflow: w\nnodes: {}\n", "2:1 the workflow has no nodes"),
        ("workflow: w\n", "1:1 the workflow has no `nodes`"),
        (
            "workflow: w\n---\nc: d\n",
            "2:1 a second document begins here",
        ),
        (
            "workflow: w\nnodes: &n { a: *n }\n",
            "2:16 this is not valid YAML: an alias of an anchor that is not",
        ),
    ];
    for (text, told) in cases {
        let problems = problems(text);
        assert!(problems[0].starts_with(told), "{text:?}: {problems:#?}");
    }
}

#[test]
fn several_problems_are_shown_at_once_in_the_files_order() {
    let text = WORDCOUNT
        .replace("scale: 4", "scale: 0")
        .replace("split:\n", "split:\n    colour: red\n");
    let places: Vec<String> = problems(&text)
        .iter()
        .map(|told| told[..4].to_owned())
        .collect();
    assert_eq!(places, ["6:5 ", "16:4"]);
    let many: String = (0..50)
        .map(|index| format!("  n{index}: {{ function: none }}\n"))
        .collect();
    let error = parse("w.yaml", format!("workflow: w\nnodes:\n{many}").as_bytes()).unwrap_err();
    assert_eq!((error.problems.len(), error.further), (20, 30));
    assert_eq!(
        error.to_string(),
        "w.yaml has 50 problems, the first 20 of which are"
    );
}

#[test]
fn columns_count_characters_and_lines_may_end_as_on_windows() {
    assert!(
        problems("workflow: w\r\nnodes:\r\n  ü: 3\r\n")[1]
            .starts_with("3:6 a node must be a mapping")
    );
    let marked = format!("\u{feff}{WORDCOUNT}");
    assert!(
        parse("w.yaml", marked.as_bytes()).is_ok(),
        "a byte order mark is no part of the text"
    );
    let error = parse("w.yaml", b"workflow: w\nnodes: \xff\n").unwrap_err();
    assert_eq!(error.to_string(), "w.yaml:2:8: the file is not UTF-8 text");
}

#[test]
fn the_report_shows_file_line_column_and_an_excerpt() {
    let error = parse(
        "w.yaml",
        WORDCOUNT.replace("split.chunks", "split.chunk").as_bytes(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "w.yaml:11:14: node `split` has no output `chunk`"
    );
    let mut shown = String::new();
    let theme = miette::GraphicalTheme::none();
    miette::GraphicalReportHandler::new_themed(theme)
        .render_report(&mut shown, &error)
        .unwrap();
    for piece in [
        "w.yaml:11:14",
        "foreach: split.chunk",
        "did you mean `split.chunks`?",
    ] {
        assert!(shown.contains(piece), "{shown}");
    }
}

#[test]
fn a_problem_in_a_line_longer_than_anyone_reads_is_told_without_showing_it() {
    let text = format!("workflow: w\nnodes: {{ {}: \n", "a".repeat(70_000));
    for text in [text.clone(), text.replace("aaaaaaa", "aaaaaa, ")] {
        let error = parse("w.yaml", text.as_bytes()).unwrap_err();
        let mut shown = String::new();
        let theme = miette::GraphicalTheme::unicode_nocolor();
        miette::GraphicalReportHandler::new_themed(theme)
            .render_report(&mut shown, &error)
            .unwrap();
        assert!(shown.contains("w.yaml:"), "{shown}");
        assert!(!shown.contains("aaaaaa:"), "{shown}");
    }
}

#[test]
fn aliases_work_and_cannot_grow_without_bound() {
    let text = "
workflow: w
nodes:
  a: { function: e:f, resources: &r { scale: 2 } }
  b: { function: e:f, resources: *r }
";
    assert_eq!(
        parse("w.yaml", text.as_bytes()).unwrap().nodes[1]
            .resources
            .scale,
        2
    );
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let again = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{again}]\n");
    }
    assert!(
        problems(&laughs)[0].contains("more than 2500000 values"),
        "{:?}",
        problems(&laughs)
    );
    let deep = "[".repeat(100);
    assert!(
        problems(&deep)[0].contains("nested more than 32 deep"),
        "{:?}",
        problems(&deep)
    );
}

proptest! {
    #[test]
    fn any_bytes_give_a_definition_or_problems_with_places(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        places_are_within(&bytes);
    }

    #[test]
    fn any_text_of_yamls_own_characters_gives_a_definition_or_problems(
        text in "([a-z]{1,3}|[-:{}\\[\\],&*!|>'\"%@#?\n \\.é\t]| |workflow: |nodes:\n|  a: ){0,60}",
    ) {
        places_are_within(text.as_bytes());
    }

    #[test]
    fn any_damage_to_a_definition_gives_a_definition_or_problems(
        at in 0..WORDCOUNT.len(), length in 0_usize..20, new in "[-:{}\\[\\],&*a-z0-9 \n]{0,10}",
    ) {
        let end = (at + length).min(WORDCOUNT.len());
        places_are_within(format!("{}{new}{}", &WORDCOUNT[..at], &WORDCOUNT[end..]).as_bytes());
    }
}

/// That a file is read without a panic, and every problem lies in it.
fn places_are_within(bytes: &[u8]) {
    if let Err(error) = parse("w.yaml", bytes) {
        assert!(!error.problems.is_empty());
        let mut shown = String::new();
        let handler = miette::NarratableReportHandler::new();
        handler.render_report(&mut shown, &error).unwrap();
        for problem in &error.problems {
            assert!(problem.place.line >= 1 && problem.place.column >= 1);
            assert!(
                problem.place.span.start <= problem.place.span.end
                    && problem.place.span.end <= bytes.len()
            );
        }
    }
}
