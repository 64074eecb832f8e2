//! Workflows within workflows: their nodes stand in the place of the one that names them.

use super::*;
use std::collections::HashMap;
use std::path::Path;

const INNER: &str = "
workflow: inner
input: { text: bytes, limit: { kind: value, default: 3 }, mode: { kind: value, optional: true } }
nodes:
  begin: { function: e:begin, input: { t: input.text, m: { from: input.mode, optional: true } }, output: { o: bytes, n: value } }
  choose: { switch: [ { when: begin.n > input.limit, then: big } ], default: small }
  big: { function: e:big, input: { b: begin.o }, output: { o: bytes } }
  small: { function: e:small, input: { b: begin.o, t: input.text }, output: { o: bytes } }
output:
  out: first_of(big.o, small.o)
  same: input.text
";

/// Reads `main.yaml` of these files.
pub(super) fn load(files: &[(&str, &str)]) -> Result<Definition, DefinitionError> {
    let files: HashMap<&Path, &str> = files
        .iter()
        .map(|(name, text)| (Path::new(*name), *text))
        .collect();
    let mut others = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    parse_with(
        "main.yaml",
        files[Path::new("main.yaml")].as_bytes(),
        &mut others,
    )
}

pub(super) fn told(error: &DefinitionError) -> Vec<String> {
    let told = error.problems.iter().map(|problem| {
        let Place { line, column, .. } = problem.place;
        let help = problem.help.as_deref().unwrap_or("-");
        format!("{}:{line}:{column} {problem} | {help}", problem.source.name)
    });
    told.collect()
}

const OUTER: &str = "
workflow: outer
input: { text: bytes, go: value }
nodes:
  gate: { switch: [ { when: input.go == true, then: sub } ] }
  first: { function: e:f, input: { t: input.text }, output: { o: bytes } }
  sub: { workflow: parts/inner.yaml, input: { text: first.o, limit: 9 }, after: first, delay_ms: 5 }
  last: { function: e:f, input: { x: sub.out, y: sub.same }, after: sub }
output: { out: sub.out }
";

#[test]
fn its_nodes_and_edges_are_those_of_the_other_file() {
    let definition = load(&[("main.yaml", OUTER), ("parts/inner.yaml", INNER)]).unwrap();
    let names: Vec<&str> = definition
        .nodes
        .iter()
        .map(|node| node.name.value.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "gate",
            "first",
            "sub/begin",
            "sub/choose",
            "sub/big",
            "sub/small",
            "last"
        ]
    );
    let from = |node: usize, input: usize| -> Vec<From> {
        let from = definition.nodes[node].inputs[input].from.iter();
        from.map(|from| from.value).collect()
    };
    let output = |node, output| From::Output { node, output };
    assert_eq!(from(2, 0), [output(1, 0)], "an input is what it is given");
    assert_eq!(from(2, 1), [], "what is not given is absent");
    assert!(definition.nodes[2].inputs[1].optional);
    assert_eq!(from(3, 0), [output(2, 1)]);
    let From::Constant(limit) = from(3, 1)[0] else {
        panic!("a constant")
    };
    assert_eq!(
        definition.constants[usize::from(limit)].items,
        [b"9"],
        "no default is needed"
    );
    assert_eq!(from(6, 0), [output(4, 0), output(5, 0)]);
    assert_eq!(
        from(6, 1),
        [output(1, 0)],
        "an input that is passed on is its source"
    );
    let after = |node: usize| -> Vec<usize> {
        definition.nodes[node]
            .after
            .iter()
            .map(|after| after.value)
            .collect()
    };
    assert_eq!(after(2), [1]);
    assert!(
        after(3).is_empty(),
        "what waits for a node of its own file waits for that"
    );
    assert_eq!(
        after(6),
        [4, 5],
        "to wait for it is to wait for its last nodes"
    );
    assert_eq!(definition.nodes[2].delays, [Delay::Fixed(5)]);
    assert!(definition.nodes[3].delays.is_empty());
    let gates = definition.gates();
    let gate = |node: u32, case: u16| Gate::Case { node, case };
    assert_eq!(gates[2], [gate(0, 0)]);
    assert_eq!(gates[3], [gate(0, 0)]);
    assert_eq!(
        gates[5],
        [gate(3, 1)],
        "a gate of its own is closed with the switch's"
    );
    let span = definition.nodes[2].name.span;
    assert_eq!(&OUTER[span.start..span.end], "parts/inner.yaml");
    assert_eq!(definition.outputs[0].from.len(), 2);
}

#[test]
fn a_node_that_reads_only_from_outside_does_not_run_unless_the_switch_leads_there() {
    let inner = "{ workflow: i, input: { a: bytes, b: bytes }, nodes: { x: { function: e:f, input: { a: input.a }, output: { o: bytes } }, \
                 y: { function: e:f, input: { o: { from: x.o, optional: true }, b: input.b } } } }";
    let outer = OUTER
        .replace("text: first.o, limit: 9", "a: first.o, b: first.o")
        .replace("input: { x: sub.out, y: sub.same }, ", "")
        .replace("output: { out: sub.out }", "");
    let definition = load(&[("main.yaml", &outer), ("parts/inner.yaml", inner)]).unwrap();
    let gates = definition.gates();
    assert_eq!((gates[2].len(), gates[3].len()), (1, 1));
}

#[test]
fn what_is_wrong_with_naming_a_file_is_told_where_it_is_named() {
    let cases: &[(&str, &str, &str, &str)] = &[
        (
            "parts/inner.yaml",
            "parts/iner.yaml",
            "7:20 cannot read `parts/iner.yaml`",
            "relative",
        ),
        (
            "parts/inner.yaml",
            "/inner.yaml",
            "7:20 cannot read `/inner.yaml`",
            "relative to this",
        ),
        (
            "limit: 9",
            "limits: 9",
            "7:62 workflow `inner` has no input `limits`",
            "`limit`?",
        ),
        (
            "text: first.o, ",
            "texts: first.o, ",
            "7:47 workflow `inner` has no input `texts`",
            "`text`?",
        ),
        (
            "text: first.o, ",
            "",
            "7:3 workflow `inner` wants input `text`",
            "`text: SOURCE`",
        ),
        (
            "limit: 9",
            "limit: first.o",
            "7:69 `first.o` is bytes, and input `limit`",
            "`o: value`",
        ),
        (
            "sub.same",
            "sub.sam",
            "8:50 node `sub` has no output `sam`",
            "`sub.same`?",
        ),
        (
            "text: first.o, ",
            "text: { from: first.o, optional: true }, ",
            "7:53 input `text` of workflow `inner` is needed",
            "take `optional` away",
        ),
        (
            "delay_ms: 5",
            "retry: {}",
            "7:88 `retry` at a sub-workflow is not supported",
            "give it to the nodes in the other file",
        ),
        (
            "delay_ms: 5",
            "timeout_ms: 5",
            "7:88 `timeout_ms` at a sub-workflow is not supported",
            "or to this workflow as a whole",
        ),
        (
            "delay_ms: 5",
            "join: any",
            "7:88 `join` at a sub-workflow is not supported",
            "let a node before it join",
        ),
        (
            "delay_ms: 5",
            "output: {}",
            "7:88 `output` has no meaning at a sub",
            "the other file",
        ),
        (
            "text: first.o",
            "text: item",
            "7:53 `item` has no meaning in the inputs",
            "`foreach`",
        ),
    ];
    for (piece, other, said, help) in cases {
        let main = OUTER.replacen(piece, other, 1);
        let error = load(&[("main.yaml", &main), ("parts/inner.yaml", INNER)]).unwrap_err();
        let told = told(&error);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(
            told[0].starts_with(&format!("main.yaml:{said}")),
            "{told:#?}"
        );
        assert!(told[0].contains(help), "{told:#?}");
    }
    let error = parse("main.yaml", OUTER.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("this text is read by itself"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_with_the_other_file_is_told_there() {
    let wrong = INNER.replace("begin.n > input.limit", "begin.m > input.limit");
    let error = load(&[("main.yaml", OUTER), ("parts/inner.yaml", &wrong)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parts/inner.yaml:6:31: node `begin` has no output `m`"
    );
    let mut shown = String::new();
    let theme = miette::GraphicalTheme::none();
    let handler = miette::GraphicalReportHandler::new_themed(theme);
    handler.render_report(&mut shown, &error).unwrap();
    assert!(
        shown.contains("parts/inner.yaml:6:31") && shown.contains("begin.m >"),
        "{shown}"
    );
    // With a problem of its own both are shown, each in its file; the file that is named twice once.
    let main = OUTER.replace("after: first,", "after: frist,").replace(
        "last:",
        "again: { workflow: ./parts/../parts/inner.yaml, input: { text: input.text } }\n  last:",
    );
    let error = load(&[("main.yaml", &main), ("parts/inner.yaml", &wrong)]).unwrap_err();
    let told = told(&error);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("main.yaml:7:") && told[1].starts_with("parts/inner.yaml:6:31"));
    let mut shown = String::new();
    handler.render_report(&mut shown, &error).unwrap();
    assert!(
        shown.contains("main.yaml has 2 problems") && shown.contains("parts/inner.yaml:6:31"),
        "{shown}"
    );
}

#[test]
fn files_that_hold_each_other_are_refused_with_the_way_round() {
    let one = "{ workflow: one, nodes: { x: { workflow: ../b/two.yaml } } }";
    let two = "{ workflow: two, nodes: { x: { workflow: ../a/one.yaml } } }";
    let main = "{ workflow: m, nodes: { x: { workflow: a/one.yaml } } }";
    let error = load(&[
        ("main.yaml", main),
        ("a/one.yaml", one),
        ("b/two.yaml", two),
    ])
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "b/two.yaml:1:42: these workflows hold each other: a/one.yaml → b/two.yaml → a/one.yaml"
    );
    let own = "{ workflow: m, nodes: { x: { workflow: main.yaml } } }";
    let error = load(&[("main.yaml", own)]).unwrap_err();
    assert!(
        error.to_string().contains("main.yaml → main.yaml"),
        "{error}"
    );
}

#[test]
fn files_are_bounded_in_depth_in_number_and_in_what_they_come_to() {
    // Ten levels.
    let mut files: Vec<(String, String)> = (0..10)
        .map(|level| {
            let text = format!(
                "{{ workflow: w, nodes: {{ x: {{ workflow: f{}.yaml }} }} }}",
                level + 1
            );
            (format!("f{level}.yaml"), text)
        })
        .collect();
    files[0].0 = "main.yaml".to_owned();
    let named: Vec<(&str, &str)> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let error = load(&named).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("within each other are 9, above the limit of 8"),
        "{error}"
    );
    // Each level holds the next a hundred times.
    let many = |next: &str| {
        let nodes: Vec<String> = (0..100).map(|n| format!("n{n}: {next}")).collect();
        format!("{{ workflow: w, nodes: {{ {} }} }}", nodes.join(", "))
    };
    let (a, b) = (many("{ workflow: b.yaml }"), many("{ workflow: c.yaml }"));
    let c = many("{ delay_ms: 1 }");
    let error = load(&[("main.yaml", &a), ("b.yaml", &b), ("c.yaml", &c)]).unwrap_err();
    assert!(
        error.to_string().contains("the workflow's nodes are"),
        "{error}"
    );
}

#[test]
fn an_input_that_is_passed_on_in_a_circle_is_a_cycle() {
    let pass = "{ workflow: p, input: { i: bytes }, nodes: { x: { delay_ms: 1 } }, output: { o: input.i } }";
    let main = "{ workflow: m, nodes: { a: { workflow: p.yaml, input: { i: b.o } }, b: { workflow: p.yaml, input: { i: a.o } } } }";
    let error = load(&[("main.yaml", main), ("p.yaml", pass)]).unwrap_err();
    assert!(
        error.problems[0].to_string().contains("a → b → a")
            || error.problems[0].to_string().contains("b → a → b"),
        "{error:?}"
    );
    // And a long chain of them is none.
    let chain: Vec<String> = (1..2000)
        .rev()
        .map(|n| format!("n{n}: {{ workflow: p.yaml, input: {{ i: n{}.o }} }}", n - 1))
        .collect();
    let main = format!(
        "{{ workflow: m, input: {{ t: bytes }}, nodes: {{ n0: {{ workflow: p.yaml, input: {{ i: input.t }} }}, {} }}, output: {{ o: n1999.o }} }}",
        chain.join(", ")
    );
    let definition = load(&[("main.yaml", &main), ("p.yaml", pass)]).unwrap();
    assert_eq!(definition.outputs[0].from[0].value, From::Input(0));
}

#[test]
fn lists_of_constants_and_names_that_grow_too_long() {
    let inner = "{ workflow: i, input: { l: list }, nodes: { x: { function: e:f, foreach: input.l, input: { i: item } } } }";
    let main = "{ workflow: m, constants: { c: [1, 2] }, nodes: { s: { workflow: i.yaml, input: { l: constant.c } } } }";
    let definition = load(&[("main.yaml", main), ("i.yaml", inner)]).unwrap();
    assert_eq!(definition.constants[0].items, [b"1", b"2"]);
    let long = "n".repeat(64);
    let file = |next: String| format!("{{ workflow: w, nodes: {{ {long}: {{ {next} }} }} }}");
    let deep = |next: &str| file(format!("workflow: {next}"));
    let error = load(&[
        ("main.yaml", &deep("b.yaml")),
        ("b.yaml", &deep("c.yaml")),
        ("c.yaml", &deep("d.yaml")),
        ("d.yaml", &file("delay_ms: 1".to_owned())),
    ])
    .unwrap_err();
    assert!(
        error.to_string().contains("has more than 256 bytes"),
        "{error}"
    );
}

#[test]
fn warnings_of_the_other_file_are_shown_once_and_its_timeout_is_one() {
    let inner = "{ workflow: i, input: { l: list }, timeout_ms: 5, nodes: { x: { delay_ms: 1 } } }";
    let main = "{ workflow: m, input: { l: list }, nodes: { a: { workflow: i.yaml, input: { l: input.l } }, b: { workflow: i.yaml, input: { l: input.l } } } }";
    let definition = load(&[("main.yaml", main), ("i.yaml", inner)]).unwrap();
    let told: Vec<String> = definition
        .warnings
        .iter()
        .map(|warning| format!("{} {warning}", warning.source.name))
        .collect();
    assert_eq!(
        told,
        [
            "main.yaml the `timeout_ms` of workflow `i` has no effect within another workflow",
            "main.yaml the `timeout_ms` of workflow `i` has no effect within another workflow",
            "i.yaml nobody uses `input.l`",
        ]
    );
}

#[test]
fn a_delay_of_a_workflow_comes_before_those_of_its_first_nodes() {
    let main = "
workflow: outer
input: { wait: value, list: list }
nodes:
  early: { compute: { ms: input.wait, times: { list: input.wait } } }
  sub: { workflow: inner.yaml, input: { v: input.wait, l: input.list }, delay_ms: early.ms }
  each: { workflow: inner.yaml, foreach: early.times, input: { v: item, l: input.list }, delay_until: item }
  fixed: { workflow: inner.yaml, input: { v: 1, l: input.list }, delay_ms: 3 }
";
    let inner = "
workflow: inner
input: { v: value, l: list }
nodes:
  one: { function: e:f, delay_ms: input.v, output: { o: bytes } }
  two: { function: e:f, foreach: input.l, input: { i: item }, delay_ms: 4 }
  last: { function: e:f, input: { o: one.o }, delay_ms: 5 }
";
    let definition = load(&[("main.yaml", main), ("inner.yaml", inner)]).unwrap();
    let node = |name: &str| {
        let mut nodes = definition.nodes.iter();
        nodes.find(|node| node.name.value == name).unwrap()
    };
    let reads = |name: &str| -> Vec<(bool, From)> {
        let delays = node(name).delays.iter();
        let expressions = delays.filter_map(|delay| {
            let until = matches!(delay, Delay::Until(_));
            Some((until, delay.expression()?.inputs[0].from[0].value))
        });
        expressions.collect()
    };
    let wait = From::Input(0);
    let early = From::Output { node: 0, output: 0 };
    assert_eq!(reads("sub/one"), [(false, early), (false, wait)]);
    assert_eq!(node("sub/two").delays.len(), 2);
    assert_eq!(node("sub/two").delays[1], Delay::Fixed(4));
    assert_eq!(node("sub/last").delays, [Delay::Fixed(5)]);
    let item = |up| (true, From::Item { up });
    assert_eq!(reads("each/one"), [item(0), (false, From::Item { up: 0 })]);
    assert_eq!(
        reads("each/two"),
        [item(1)],
        "the item of the region around"
    );
    assert_eq!(node("fixed/two").delays, [Delay::Fixed(7)], "3 and 4");
    assert_eq!(reads("fixed/one").len(), 1);
    assert_eq!(node("fixed/one").delays[0], Delay::Fixed(3));
}
