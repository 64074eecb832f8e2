//! What inputs and outputs are bound to.

use super::*;

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
        "its inputs are `b`, `v`",
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
