//! What nodes do: switches, formulas, commands, lists to run over.

use super::*;

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
            "beside `switch` it may have `foreach`, `default`",
        ),
    ]);
}

#[test]
fn foreach_says_whether_its_items_are_divided() {
    for (says, expected) in [
        ("auto", Divide::Auto),
        ("never", Divide::Never),
        ("4", Divide::Into(4)),
    ] {
        let definition = good(&format!(
            "  p: {{ function: e:f, foreach: {{ list: a.l, divide: {says} }}, input: {{ i: item }} }}\n"
        ));
        assert_eq!(definition.regions[0].divide, expected);
    }
    refused(&[
        (
            "  p: { function: e:f, foreach: { list: a.l, divide: 1 } }\n",
            "6:53",
            "`divide` must be a whole number from 2 to 1024",
            "-",
        ),
        (
            "  p: { function: e:f, foreach: { list: a.l, divide: always } }\n",
            "6:53",
            "`divide` must be `auto`, `never` or a number of parts",
            "write `divide: auto`",
        ),
        (
            "  p: { function: e:f, foreach: a.l, divide: 2 }\n",
            "6:37",
            "no key `divide`",
            "it stands in `foreach`",
        ),
    ]);
}

#[test]
fn foreach_takes_batches_bounds_and_ranges() {
    let definition = good(
        "  p: { function: e:f, foreach: { list: a.l, batch: 8, parallelism: 2 }, input: { i: item } }\n  q: { function: e:f, foreach: constant.names, input: { i: item }, output: { o: bytes } }\n  r: { function: e:f, foreach: { from: 0, to: a.v + 1, parallelism: 3 }, input: { i: item } }\n",
    );
    let region = |node: &Node| &definition.regions[node.region.unwrap()];
    let p = node(&definition, "p");
    let over = region(p);
    assert_eq!(
        (over.batch, over.parallelism, p.inputs[0].kind),
        (Some(8), Some(2), Kind::List)
    );
    assert_eq!(over.divide, Divide::Auto);
    let q = node(&definition, "q");
    assert_eq!(q.inputs[0].kind, Kind::Value);
    let From::Constant(names) = region(q).list.value else {
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
    assert_eq!(region(r).list.value, From::Output { node: 3, output: 0 });
    assert_eq!(r.inputs[0].kind, Kind::Value);
    refused(&[
        (
            "  p: { function: e:f, foreach: { list: a.l, batch: 0 } }\n",
            "6:52",
            "`batch` must be a whole number from 1",
            "-",
        ),
        (
            "  p: { function: e:f, foreach: a.l, join: any }\n",
            "6:3",
            "`p` waits for 1 of its edges, and has 0",
            "its edges are the nodes that it reads from",
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
            "its inputs are `y`",
        ),
        (
            "  s: { command: [cat], input: { x: a.b, y: a.b }, output: { o: bytes } }\n",
            "6:3",
            "that no word names one can be read, as standard input, and there are `x` and `y`",
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
