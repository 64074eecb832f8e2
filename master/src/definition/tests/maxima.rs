//! What outputs and inputs may have at most: read, with places where it is wrong.

use super::*;
use faasstore::binding::Maximum;

fn of(bytes: u64, items: u64, total_bytes: u64) -> Maximum {
    Maximum {
        bytes,
        items,
        total_bytes,
    }
}

#[test]
fn maxima_are_read_with_and_without_units() {
    const NONE: u64 = u64::MAX;
    let text = "
workflow: w
input:
  text: { kind: bytes, max_bytes: 1MiB }
  all: { kind: list, max_items: 8, max_total_bytes: 4096 }
  plain: bytes
nodes:
  a:
    function: e:f
    input: { text: input.text, all: input.all, plain: input.plain }
    output:
      one: { kind: bytes, max_bytes: 64KiB }
      list: { kind: list, max_bytes: 1000, max_items: 100 }
      small: { kind: value, max_bytes: 10 }
      plain: list
  b:
    compute:
      sum: a.small + 1
      each: { list: '[a.small]', max_items: 3 }
      numbers: { from: 0, to: a.small, max_items: 7 }
  c:
    function: e:f
    foreach: { from: 0, to: a.small, max_items: 5 }
    input: { n: item, p: b.sum, q: b.each, r: b.numbers, s: a.one, t: a.list, u: a.plain }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let inputs = definition.inputs.iter().map(|input| input.maximum);
    assert_eq!(
        inputs.collect::<Vec<_>>(),
        [of(1 << 20, NONE, NONE), of(NONE, 8, 4096), Maximum::NONE]
    );
    let outputs = |node: usize| -> Vec<Maximum> {
        let outputs = definition.nodes[node].outputs.iter();
        outputs.map(|port| port.maximum).collect()
    };
    assert_eq!(
        outputs(0),
        [
            of(64 << 10, NONE, NONE),
            of(1000, 100, NONE),
            of(10, NONE, NONE),
            Maximum::NONE
        ]
    );
    // Each element is a value, each number has twenty bytes at most.
    let computed = [Maximum::NONE, of(4096, 3, NONE), of(20, 7, NONE)];
    assert_eq!(outputs(1), computed);
    assert_eq!(outputs(2), [of(20, 5, NONE)]);
}

#[test]
fn what_is_wrong_with_a_maximum_is_told_at_its_place() {
    let with = |output: &str| {
        problems(&format!(
            "workflow: w\nnodes:\n  a: {{ function: e:f, output: {{ o: {output} }} }}\noutput: {{ o: a.o }}\n"
        ))
    };
    for (output, expected) in [
        (
            "{ kind: bytes, max_bytes: lots }",
            "3:62 `max_bytes` must be bytes from 1 to 16 TiB, with a unit if it suits, as in `64KiB`, but this is \
             `lots` | write `1048576`, `1MiB` or `1GiB`",
        ),
        (
            "{ kind: bytes, max_bytes: 0 }",
            "3:62 `max_bytes` must be bytes from 1 to 16 TiB, with a unit if it suits, as in `64KiB`, but this is `0` \
             | write `1048576`, `1MiB` or `1GiB`",
        ),
        (
            "{ kind: bytes, max_bytes: 17TiB }",
            "3:62 `max_bytes` must be bytes from 1 to 16 TiB, with a unit if it suits, as in `64KiB`, but this is \
             `17TiB` | write `1048576`, `1MiB` or `1GiB`",
        ),
        (
            "{ kind: list, max_items: 999999999, max_bytes: 1 }",
            "3:61 `max_items` must be a whole number from 1 to 268435456, but this is `999999999` | -",
        ),
        (
            "{ max_bytes: 1KiB }",
            "3:36 output `o` has no `kind` | add `kind: bytes`, `list` or `value`",
        ),
    ] {
        assert_eq!(with(output), [expected], "{output}");
    }
    for (output, start) in [
        ("{ kind: bytes, max_items: 3 }", "3:51 `max_items`"),
        (
            "{ kind: value, max_total_bytes: 3 }",
            "3:51 `max_total_bytes`",
        ),
        ("{ type: bytes }", "3:38 an output has no key `type`"),
        (
            "{ kind: bytes, max_size: 3 }",
            "3:51 an output has no key `max_size`",
        ),
    ] {
        let told = with(output);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(start), "{output}: {told:?}");
    }
}

#[test]
fn a_default_is_within_what_its_input_declares() {
    let with = |input: &str| {
        problems(&format!(
            "workflow: w\ninput: {{ i: {input} }}\nnodes:\n  a: {{ function: e:f, input: {{ i: input.i }} }}\n"
        ))
    };
    assert_eq!(
        with("{ kind: bytes, default: \"four\", max_bytes: 4 }"),
        Vec::<String>::new()
    );
    assert_eq!(
        with("{ kind: bytes, default: \"fives\", max_bytes: 4 }"),
        [
            "2:37 the default of input `i` has 5 bytes, above its max_bytes of 4 | declare more, or give a smaller \
             default"
        ]
    );
    let told = with("{ kind: list, default: [1, 2], max_items: 1 }");
    assert!(
        told[0].contains("has 2 items, above its max_items of 1"),
        "{told:?}"
    );
}

#[test]
fn a_list_says_itself_how_many_items_a_foreach_has() {
    let told = with(
        "foreach: split.chunks",
        "foreach: { list: split.chunks, max_items: 3 }",
    );
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("`max_items`"), "{told:?}");
}
