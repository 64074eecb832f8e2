//! Each construct of the language: what it becomes, and what is wrong with it.

use super::*;
use engine::plan::ErrorClass;

/// A definition of these nodes, with inputs of each kind and an optional one.
fn text_of(nodes: &str) -> String {
    format!(
        "workflow: w\ninput: {{ b: bytes, v: value, l: list, o: {{ kind: value, optional: true }} }}\n\
         constants: {{ limit: 100, names: [a, 'b'], text: hello }}\nnodes:\n  a: {{ function: e:f, output: {{ b: bytes, v: value, l: list }} }}\n{nodes}"
    )
}

fn good(nodes: &str) -> Definition {
    let text = text_of(nodes);
    parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

/// The node of a name.
fn node<'d>(definition: &'d Definition, name: &str) -> &'d Node {
    let mut nodes = definition.nodes.iter();
    nodes.find(|node| node.name.value == name).unwrap()
}

/// The places of what a list names.
fn places(to: &[Spanned<usize>]) -> Vec<usize> {
    to.iter().map(|to| to.value).collect()
}

/// Asserts that nodes give one problem with these words in its message and its help; they stand from line 6 on.
fn refused(cases: &[(&str, &str, &str, &str)]) {
    for (nodes, place, message, help) in cases {
        let told = problems(&text_of(nodes));
        let [told] = told.as_slice() else {
            panic!("{nodes}: {told:#?}")
        };
        let (said, helped) = told.split_once(" | ").unwrap();
        assert!(
            said.starts_with(&format!("{place} ")),
            "{nodes}: not {place}, {told}"
        );
        assert!(said.contains(message), "{nodes}: {told}");
        assert!(helped.contains(help), "{nodes}: {told}");
    }
}

fn sources(definition: &Definition, name: &str) -> Vec<Vec<From>> {
    let inputs = node(definition, name).inputs.iter();
    inputs
        .map(|input| input.from.iter().map(|from| from.value).collect())
        .collect()
}

#[test]
fn a_switch_has_cases_in_order_and_its_default_last() {
    let definition = good(
        "  s:\n    switch:\n      - { when: a.v > constant.limit, then: big }\n      - { when: input.v == 'x', then: [big, small] }\n    default: []\n  big: { function: e:f }\n  small: { function: e:f }\n",
    );
    let switch = node(&definition, "s");
    let Work::Switch(cases) = &switch.work else {
        panic!("a switch")
    };
    let to: Vec<Vec<usize>> = cases.iter().map(|case| places(&case.to)).collect();
    assert_eq!(to, [vec![2], vec![2, 3], vec![]]);
    assert!(cases[2].condition.is_none());
    let inputs = switch.inputs.iter();
    let names: Vec<&str> = inputs.map(|input| input.name.value.as_str()).collect();
    assert_eq!(names, ["a.v", "constant.limit", "input.v"]);
    assert!(switch.inputs.iter().all(|input| input.kind == Kind::Value));
    assert_eq!(definition.gates()[2].len(), 2);
    assert_eq!(switch.profile.runtime_ms, 0.0);
    refused(&[
        (
            "  s: { switch: [] }\n",
            "6:16",
            "must be a list with a case",
            "list the cases",
        ),
        (
            "  s: { switch: { when: a } }\n",
            "6:16",
            "must be a list of cases",
            "list the cases",
        ),
        (
            "  s: { switch: [ { when: a.v > 1 } ] }\n",
            "6:18",
            "this case has no `then`",
            "`then: []`",
        ),
        (
            "  s: { switch: [ { then: a } ] }\n",
            "6:18",
            "this case has no `when`",
            "`default` beside",
        ),
        (
            "  s: { switch: [ { when: a.v > 1, then: [x, x] } ] }\n  x: { function: e:f }\n",
            "6:45",
            "node `x` is named twice",
            "take one",
        ),
        (
            "  s: { switch: [ { when: a.v > 1, then: s } ] }\n",
            "6:3",
            "s → s",
            "cases",
        ),
        (
            "  s: { switch: [ { when: a.v > 1, then: xx } ] }\n  x: { function: e:f }\n",
            "6:41",
            "no node `xx`",
            "did you mean `x`?",
        ),
        (
            "  s: { switch: [ { when: a.v > 1, then: [] } ], output: { x: bytes } }\n",
            "6:49",
            "`output` has no meaning at a switch",
            "beside `switch` it may have `default`",
        ),
    ]);
}

#[test]
fn inputs_take_the_first_source_that_is_live_a_default_or_nothing() {
    let definition = good(
        "  x:\n    function: e:f\n    input:\n      one: first_of(a.b, input.b)\n      two: { first_of: [a.v, input.o], default: 7 }\n      three: { from: input.o, optional: true }\n      four: 5\n      five: { text: raw }\n      six: { value: { deep: [1, null] } }\n      seven: constant.names\n      eight: { from: a.b, default: none }\n      nine: first_of(a.v, a.b)\n",
    );
    let constant = |index: u16| From::Constant(index);
    let a = |output| From::Output { node: 0, output };
    assert_eq!(
        sources(&definition, "x"),
        [
            vec![a(0), From::Input(0)],
            vec![a(1), From::Input(3), constant(0)],
            vec![From::Input(3)],
            vec![constant(1)],
            vec![constant(2)],
            vec![constant(3)],
            vec![constant(4)],
            vec![a(0), constant(5)],
            vec![a(1), a(0)],
        ]
    );
    let inputs = &node(&definition, "x").inputs;
    let kinds: Vec<Kind> = inputs.iter().map(|input| input.kind).collect();
    let (b, v) = (Kind::Bytes, Kind::Value);
    assert_eq!(kinds, [b, v, v, v, b, v, v, b, b]);
    assert!(inputs[2].optional && !inputs[1].optional);
    let texts: Vec<String> = definition
        .constants
        .iter()
        .map(|constant| String::from_utf8(constant.items[0].clone()).unwrap())
        .collect();
    let expected = [
        "7",
        "5",
        "raw",
        "{\"deep\":[1,null]}",
        "[\"a\",\"b\"]",
        "none",
    ];
    assert_eq!(texts, expected);
    refused(&[
        (
            "  x: { function: e:f, input: { i: first_of(a.b, a.l) } }\n",
            "6:49",
            "`a.b` is bytes, `a.l` a list",
            "of one kind",
        ),
        (
            "  x: { function: e:f, input: { i: input.o } }\n",
            "6:35",
            "input `i` is needed",
            "optional: true",
        ),
        (
            "  x: { function: e:f, input: { i: first_of(a.b, a.b) } }\n",
            "6:49",
            "this source is named twice",
            "take one",
        ),
        (
            "  x: { function: e:f, input: { i: 'first_of(a.b' } }\n",
            "6:35",
            "`first_of(a.b` is no source",
            "`first_of(SOURCE, SOURCE)`",
        ),
        (
            "  x: { function: e:f, input: { i: first_of() } }\n",
            "6:44",
            "`` is no source",
            "`input.NAME`",
        ),
        (
            "  x: { function: e:f, input: { i: { from: a.b, value: 3 } } }\n",
            "6:35",
            "`from` and `value` exclude one another",
            "all but one",
        ),
        (
            "  x: { function: e:f, input: { i: { value: 3, optional: true } } }\n",
            "6:35",
            "`value` and `optional` exclude one another",
            "never absent",
        ),
        (
            "  x: { function: e:f, input: { i: { from: a.v, default: 1, optional: true } } }\n",
            "6:35",
            "`default` and `optional` exclude",
            "take one of the two",
        ),
        (
            "  x: { function: e:f, input: { i: { optional: true } } }\n",
            "6:35",
            "this input has no `from`",
            "`{ from: SOURCE, optional: true }`",
        ),
        (
            "  x: { function: e:f, input: { i: { form: a.b } } }\n",
            "6:37",
            "no key `form`",
            "did you mean `from`?",
        ),
        (
            "  x: { function: e:f, input: { i: [a.b] } }\n",
            "6:35",
            "a source must be",
            "first_of(SOURCE, SOURCE)",
        ),
        (
            "  x: { function: e:f, input: { i: { from: a.b, default: 1 } } }\n",
            "6:57",
            "this default must be text, but this is 1",
            "quotes",
        ),
        (
            "  x: { function: e:f, input: { i: constant.limits } }\n",
            "6:35",
            "no constant `limits`",
            "did you mean `constant.limit`?",
        ),
        (
            "  x: { function: e:f, input: { i: { from: a.b, optional: yes } } }\n",
            "6:58",
            "must be `true` or `false`",
            "without quotes",
        ),
        (
            "  x: { function: e:f, input: { i: { value: 1e999 } } }\n",
            "6:44",
            "this number is too large",
            "JSON",
        ),
    ]);
    let long = format!(
        "  x: {{ function: e:f, input: {{ i: {{ value: '{}' }} }} }}\n",
        "x".repeat(5000)
    );
    refused(&[(
        &long,
        "6:44",
        "5002 bytes as JSON, above the limit of 4096",
        "`{ text: … }`",
    )]);
}

#[test]
fn alternatives_within_braces_are_put_together_again() {
    let definition = good(
        "  x: { function: e:f, input: { p: first_of(a.b, input.b), q: first_of(a.v, input.b) } }\n",
    );
    assert_eq!(sources(&definition, "x")[1].len(), 2);
    refused(&[(
        "  x: { function: e:f, input: { p: first_of(a.b, input.c) } }\n",
        "6:49",
        "no input `c`",
        "`input.b`",
    )]);
}

#[test]
fn workflow_inputs_have_defaults_and_may_be_optional() {
    let text = "
workflow: w
input:
  width: { kind: value, default: 200 }
  name: { kind: bytes, default: '7' }
  tags: { kind: list, default: [x, 2] }
  mode: { kind: value, optional: true }
nodes:
  a: { function: e:f, input: { w: input.width, n: input.name, t: input.tags, m: { from: input.mode, optional: true } } }
timeout_ms: 9000
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let defaults: Vec<Option<u16>> = definition
        .inputs
        .iter()
        .map(|input| input.default)
        .collect();
    assert_eq!(defaults, [Some(0), Some(1), Some(2), None]);
    assert!(definition.inputs[3].optional && !definition.inputs[0].optional);
    assert_eq!(definition.constants[1].items, [b"7"]);
    assert_eq!(
        definition.constants[2].items,
        [b"\"x\"".to_vec(), b"2".to_vec()]
    );
    assert_eq!(definition.timeout_ms, Some(9000));
    for (piece, other, message) in [
        ("default: '7'", "default: 7", "this default must be text"),
        (
            "default: [x, 2]",
            "default: 3",
            "this default must be a list",
        ),
        (
            "optional: true }\n",
            "optional: true, default: 1 }\n",
            "exclude one another",
        ),
        ("kind: list, ", "", "input `tags` has no `kind`"),
        ("kind: list, ", "kidn: list, ", "no key `kidn`"),
    ] {
        let told = problems(&text.replacen(piece, other, 1));
        assert!(told[0].contains(message), "{told:#?}");
    }
}

#[test]
fn outputs_of_the_workflow_take_the_same_forms() {
    let definition = good(
        "output:\n  x: first_of(a.b, input.b)\n  y: { from: input.o, optional: true }\n  z: { from: a.v, default: none }\n  n: 3\n",
    );
    let outputs = &definition.outputs;
    assert_eq!(outputs[0].from.len(), 2);
    assert!(outputs[1].optional && !outputs[0].optional);
    assert_eq!(outputs[2].from[1].value, From::Constant(0));
    assert_eq!(outputs[3].kind, Kind::Value);
    refused(&[
        (
            "output: { y: input.o }\n",
            "6:14",
            "output `y` is needed",
            "optional: true",
        ),
        (
            "output: { y: item }\n",
            "6:14",
            "no meaning among the workflow's outputs",
            "own `foreach`",
        ),
    ]);
}

#[test]
fn joins_of_some_make_inputs_optional_and_count_their_edges() {
    let definition = good(
        "  b: { function: e:f, output: { o: bytes } }\n  x: { function: e:f, input: { p: a.b, q: b.o, r: input.b }, join: any }\n  y: { after: [a, b], join: { at_least: 2 } }\n  z: { after: a, join: all }\n",
    );
    let x = node(&definition, "x");
    assert_eq!(x.join, Join::AtLeast(1));
    assert!(x.inputs.iter().all(|input| input.optional));
    let y = node(&definition, "y");
    assert_eq!((y.join, &y.work), (Join::AtLeast(2), &Work::Nothing));
    assert_eq!(node(&definition, "z").join, Join::All);
    refused(&[
        (
            "  x: { function: e:f, input: { p: a.b, q: a.v }, join: { at_least: 2 } }\n",
            "6:3",
            "`x` waits for 2 of its edges, and has 1",
            "cases and catches",
        ),
        (
            "  x: { join: any }\n",
            "6:3",
            "waits for 1 of its edges, and has 0",
            "`after`",
        ),
        (
            "  x: { after: a, join: some }\n",
            "6:24",
            "`join` must be",
            "`join: any`",
        ),
        (
            "  x: { after: a, join: { atleast: 1 } }\n",
            "6:26",
            "no key `atleast`",
            "`at_least`?",
        ),
        (
            "  x: { after: a, join: {} }\n",
            "6:24",
            "`join` has no `at_least`",
            "`join: any`",
        ),
        (
            "  x: { after: a, join: { at_least: 0 } }\n",
            "6:36",
            "from 1 to",
            "-",
        ),
    ]);
}

#[test]
fn nodes_that_only_wait_have_a_delay_or_a_join() {
    let definition = good("  w: { delay_ms: 250, after: a }\n");
    let wait = node(&definition, "w");
    assert_eq!(
        (wait.delay_ms, &wait.work, wait.executable()),
        (250, &Work::Nothing, None)
    );
    refused(&[
        (
            "  w: { after: a }\n",
            "6:3",
            "node `w` has no `function`",
            "`delay_ms` or `join`",
        ),
        (
            "  w: { delay_ms: 3, output: { o: bytes } }\n",
            "6:21",
            "`output` has no meaning at a node that only waits",
            "`function` or the like",
        ),
        (
            "  w: { function: e:f, command: [x] }\n",
            "6:3",
            "`function` and `command` exclude one another",
            "part it in two",
        ),
    ]);
}

#[test]
fn retries_say_how_often_how_soon_and_for_what() {
    let definition = good(
        "  r: { function: e:f, retry: { attempts: 5, backoff_ms: 10, factor: 1.5, backoff_max_ms: 100, jitter: 0.25, on: [timeout, Busy] } }\n",
    );
    let expected = Retry {
        attempts: 5,
        backoff_ms: 10,
        factor_percent: 150,
        backoff_max_ms: 100,
        jitter_percent: 25,
        on: vec![
            ErrorMatch::Class(ErrorClass::Timeout),
            ErrorMatch::Named("Busy".to_owned()),
        ],
    };
    assert_eq!(node(&definition, "r").retry, expected);
    refused(&[
        (
            "  r: { function: e:f, retry: { factor: 0.5 } }\n",
            "6:40",
            "`factor` must be a number from 1 to 100",
            "-",
        ),
        (
            "  r: { function: e:f, retry: { jitter: 2 } }\n",
            "6:40",
            "`jitter` must be a number from 0 to 1",
            "-",
        ),
        (
            "  r: { function: e:f, retry: { on: 'a b' } }\n",
            "6:36",
            "`a b` cannot be the name of a failure",
            "`timeout`",
        ),
        (
            "  r: { delay_ms: 1, retry: { attempts: 2 } }\n",
            "6:21",
            "`retry` has no meaning at a node that only waits",
            "",
        ),
    ]);
}

#[test]
fn catches_lead_failures_to_nodes_and_say_what_failed() {
    let definition = good(
        "  c:\n    function: e:f\n    output: { o: bytes }\n    catch:\n      - { on: timeout, to: late }\n      - { to: [late, other] }\n  late: { function: e:f, input: { why: c.error } }\n  other: { function: e:f }\n  d: { function: e:f, catch: [other] }\n",
    );
    let c = node(&definition, "c");
    assert_eq!(c.catches[0].on, [ErrorMatch::Class(ErrorClass::Timeout)]);
    assert_eq!(places(&c.catches[1].to), [2, 3]);
    assert_eq!(c.error_output, Some(1));
    assert_eq!(
        (c.outputs[1].name.value.as_str(), c.outputs[1].kind),
        ("error", Kind::Value)
    );
    assert_eq!(
        sources(&definition, "late"),
        [[From::Output { node: 1, output: 1 }]]
    );
    assert_eq!(node(&definition, "d").error_output, None, "nobody reads it");
    refused(&[
        (
            "  x: { function: e:f, input: { i: a.error } }\n",
            "6:35",
            "node `a` has no output `error`",
            "once `a` has a `catch`",
        ),
        (
            "  c: { function: e:f, catch: { on: timeout } }\n",
            "6:30",
            "this catch has no `to`",
            "`catch: NODE`",
        ),
        (
            "  c: { function: e:f, catch: [] }\n",
            "6:30",
            "one node at least",
            "`catch: NODE`",
        ),
        (
            "  c: { function: e:f, catch: b }\n",
            "6:30",
            "no node `b`",
            "did you mean `a`?",
        ),
    ]);
}

#[test]
fn foreach_takes_batches_bounds_and_ranges() {
    let definition = good(
        "  p: { function: e:f, foreach: { list: a.l, batch: 8, parallelism: 2 }, input: { i: item } }\n  q: { function: e:f, foreach: constant.names, input: { i: item }, output: { o: bytes } }\n  r: { function: e:f, foreach: { from: 0, to: a.v + 1, parallelism: 3 }, input: { i: item } }\n",
    );
    let p = node(&definition, "p");
    assert_eq!(
        (p.batch, p.parallelism, p.inputs[0].kind),
        (Some(8), Some(2), Kind::List)
    );
    let q = node(&definition, "q");
    assert_eq!(q.inputs[0].kind, Kind::Value);
    let Some(From::Constant(names)) = q.foreach.as_ref().map(|list| list.value) else {
        panic!("a constant list")
    };
    let items = &definition.constants[usize::from(names)].items;
    assert_eq!(*items, [b"\"a\"", b"\"b\""]);
    let range = node(&definition, "r/range");
    assert_eq!(range.inputs[0].name.value, "a.v");
    assert!(
        matches!(&range.work, Work::Compute(formulas) if matches!(formulas[0], Formula::Range { .. }))
    );
    let r = node(&definition, "r");
    assert_eq!(
        r.foreach.as_ref().unwrap().value,
        From::Output { node: 3, output: 0 }
    );
    assert_eq!(r.inputs[0].kind, Kind::Value);
    refused(&[
        (
            "  p: { function: e:f, foreach: { list: a.l, batch: 0 } }\n",
            "6:52",
            "`batch` must be a whole number from 1",
            "-",
        ),
        (
            "  p: { function: e:f, foreach: { list: a.l, to: 3 } }\n",
            "6:32",
            "`list`, `from` and `to` exclude one another",
            "a range",
        ),
        (
            "  p: { function: e:f, foreach: { from: 3 } }\n",
            "6:32",
            "no `to`",
            "a range",
        ),
        (
            "  p: { function: e:f, foreach: constant.limit }\n",
            "6:32",
            "is a value",
            "a source of kind list",
        ),
        (
            "  p: { function: e:f, foreach: { from: 0, to: a.b } }\n",
            "6:47",
            "`a.b` is bytes, and an expression reads values",
            "`b: value`",
        ),
    ]);
}

#[test]
fn a_switch_that_leads_to_a_node_with_a_range_leads_to_its_counting_too() {
    let definition = good(
        "  s: { switch: [ { when: a.v > 1, then: r } ] }\n  r: { function: e:f, foreach: { from: 0, to: a.v } }\n",
    );
    let Work::Switch(cases) = &node(&definition, "s").work else {
        panic!("a switch")
    };
    assert_eq!(places(&cases[0].to), [2, 3]);
    assert_eq!(definition.nodes[2].name.value, "r/range");
}

#[test]
fn computed_outputs_are_values_or_lists_of_them() {
    let definition = good(
        "  c:\n    compute: { sum: a.v + input.v, all: { list: '[1, 2]' }, n: { from: 1, to: sum } , k: 5 }\n    input: { sum: { from: a.v, optional: true } }\n  each: { function: e:f, foreach: c.all, input: { i: item, s: c.sum, n: c.n } }\n",
    );
    let c = node(&definition, "c");
    let outputs: Vec<(&str, Kind)> = c
        .outputs
        .iter()
        .map(|output| (output.name.value.as_str(), output.kind))
        .collect();
    assert_eq!(
        outputs,
        [
            ("sum", Kind::Value),
            ("all", Kind::List),
            ("n", Kind::List),
            ("k", Kind::Value)
        ]
    );
    let names: Vec<&str> = c
        .inputs
        .iter()
        .map(|input| input.name.value.as_str())
        .collect();
    assert_eq!(names, ["sum", "a.v", "input.v"]);
    assert_eq!(node(&definition, "each").inputs[0].kind, Kind::Value);
    refused(&[
        (
            "  c: { compute: {} }\n",
            "6:17",
            "a mapping with outputs",
            "`{ NAME: EXPRESSION }`",
        ),
        (
            "  c: { compute: { x: } }\n",
            "6:20",
            "an output must be an expression",
            "quotes",
        ),
        (
            "  c: { compute: { x: 1 }, output: { y: value } }\n",
            "6:27",
            "`output` has no meaning at a computing node",
            "take `output` away",
        ),
        (
            "  c: { compute: { x: { list: '[1]', from: 0 } } }\n",
            "6:22",
            "exclude one another",
            "a range",
        ),
    ]);
}

#[test]
fn commands_have_words_and_one_output_and_know_their_standard_input() {
    let definition = good(
        "  s: { command: [sort, -u], input: { text: a.b }, output: { sorted: bytes } }\n  j: { command: [join, '{input.left}', -t, 1], input: { left: a.b, stdin: input.b }, output: { lines: list } }\n",
    );
    let Work::Function {
        function,
        arguments,
    } = &node(&definition, "j").work
    else {
        panic!("a function")
    };
    assert_eq!(function.value.executable, COMMAND_EXECUTABLE);
    assert_eq!(*arguments, ["join", "{input.left}", "-t", "1"]);
    refused(&[
        (
            "  s: { command: sort -u, output: { o: bytes } }\n",
            "6:17",
            "`command` must be a list of words",
            "no shell",
        ),
        (
            "  s: { command: [], output: { o: bytes } }\n",
            "6:17",
            "nothing",
            "list the program",
        ),
        (
            "  s: { command: [cat, '{input.x}'], input: { y: a.b }, output: { o: bytes } }\n",
            "6:23",
            "command `s` has no input `x`",
            "did you mean `{input.y}`?",
        ),
        (
            "  s: { command: [cat], input: { x: a.b, y: a.b }, output: { o: bytes } }\n",
            "6:3",
            "which of its inputs is standard input: `x` and `y`",
            "`{input.NAME}`",
        ),
        (
            "  s: { command: [cat] }\n",
            "6:3",
            "has 0 outputs",
            "declare one",
        ),
    ]);
}

#[test]
fn resources_and_profiles_say_all_that_is_known() {
    let definition = good(
        "  x: { function: e:f, resources: { cpus: 2, scale: 3, memory_mib: 9 }, profile: { runtime_ms: 4, placeholder: true } }\n",
    );
    let x = node(&definition, "x");
    let resources = Resources {
        memory_mib: 9,
        scale: 3,
        cpus: 2,
    };
    assert_eq!(x.resources, resources);
    assert!(x.profile.placeholder);
}
