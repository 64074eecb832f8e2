//! What runs item by item with what.

use super::*;

/// Nodes behind `split`, which gives lists, and an input that is one.
fn text_of(nodes: &str) -> String {
    format!(
        "workflow: w\ninput: {{ l: list, v: value }}\nnodes:\n  split: {{ function: e:f, output: {{ l: list, v: value }} }}\n{nodes}"
    )
}

fn good(nodes: &str) -> Definition {
    let text = text_of(nodes);
    parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

fn place(definition: &Definition, name: &str) -> usize {
    let mut nodes = definition.nodes.iter();
    nodes
        .position(|node| node.name.value == name)
        .unwrap_or_else(|| panic!("no node {name}"))
}

/// The names of the nodes of each region, in their order; of a region within, behind a slash.
fn regions(definition: &Definition) -> Vec<String> {
    let of = |number: usize| {
        let nodes = definition.nodes.iter();
        let names = nodes.filter(|node| node.region == Some(number));
        let names: Vec<&str> = names.map(|node| node.name.value.as_str()).collect();
        let around = definition.regions[number].parent;
        let around = around.map_or(String::new(), |around| format!("{around}/"));
        format!("{around}{}", names.join(" "))
    };
    (0..definition.regions.len()).map(of).collect()
}

fn reads(definition: &Definition, name: &str) -> Vec<String> {
    let from = definition.inputs_read(place(definition, name));
    from.map(|from| definition.source_name(from)).collect()
}

fn refused(cases: &[(&str, &str, &str)]) {
    for (nodes, message, help) in cases {
        let text = text_of(nodes);
        let told = problems(&text);
        assert!(
            told.iter()
                .any(|told| told.contains(message) && told.contains(help)),
            "{nodes}: {told:#?}"
        );
    }
}

const SCALE: &str = "  scale: { function: e:f, foreach: split.l, input: { i: item }, output: { b: bytes, v: value, parts: list } }\n";

#[test]
fn of_a_chain_never_counts_and_else_the_smallest_number_of_parts() {
    for (first, second, expected) in [
        ("auto", "never", Divide::Never),
        ("3", "never", Divide::Never),
        ("3", "2", Divide::Into(2)),
        ("auto", "5", Divide::Into(5)),
    ] {
        let definition = good(&format!(
            "  scale: {{ function: e:f, foreach: {{ list: split.l, divide: {first} }}, input: {{ i: item }}, output: {{ v: value }} }}\n  check: {{ function: e:f, foreach: {{ list: scale.v, divide: {second} }}, input: {{ i: item }} }}\n"
        ));
        assert_eq!(regions(&definition), ["scale check"]);
        assert_eq!(definition.regions[0].divide, expected, "{first} {second}");
    }
    let inner = "  inner: { function: e:f, foreach: { list: 'scale.parts[item]', divide: 2 }, input: { i: item } }\n";
    refused(&[(
        &format!("{SCALE}{inner}"),
        "`divide` has no meaning at a foreach within another",
        "only the outermost foreach runs in parts",
    )]);
    good(&format!(
        "{SCALE}{}",
        inner.replace("divide: 2", "divide: never")
    ));
}

#[test]
fn a_foreach_over_what_another_one_gives_runs_item_by_item() {
    let definition = good(&format!(
        "{SCALE}  check: {{ function: e:f, foreach: {{ list: scale.v, parallelism: 4 }}, input: {{ i: item }}, output: {{ b: bytes }} }}\n  last: {{ function: e:f, foreach: {{ list: check.b, parallelism: 9 }}, input: {{ i: item }} }}\n"
    ));
    assert_eq!(regions(&definition), ["scale check last"]);
    assert_eq!(definition.regions[0].parallelism, Some(4), "the smallest");
    assert_eq!(reads(&definition, "scale"), ["item"]);
    assert_eq!(reads(&definition, "check"), ["scale.v"]);
    assert_eq!(reads(&definition, "last"), ["check.b"]);
    assert_eq!(
        definition.source_name(definition.regions[0].list.value),
        "split.l"
    );
}

#[test]
fn a_chain_waits_for_its_item_though_it_does_not_read_it() {
    let definition = good(&format!(
        "{SCALE}  pause: {{ foreach: scale.v, delay_ms: 5 }}\n"
    ));
    let pause = &definition.nodes[place(&definition, "pause")];
    let after: Vec<usize> = pause.after.iter().map(|after| after.value).collect();
    assert_eq!(after, [place(&definition, "scale")]);
}

#[test]
fn a_foreach_with_a_batch_or_that_needs_all_items_is_a_region_of_its_own() {
    for (nodes, expected) in [
        (
            "  b: { function: e:f, foreach: { list: scale.v, batch: 2 }, input: { i: item } }\n",
            vec!["scale", "b"],
        ),
        (
            "  b: { function: e:f, foreach: scale.v, input: { i: item, all: scale.b } }\n",
            vec!["scale", "b"],
        ),
        (
            "  sum: { function: e:f, input: { all: scale.b }, output: { b: bytes } }\n  b: { function: e:f, foreach: scale.v, input: { i: item, s: sum.b } }\n",
            vec!["scale", "b"],
        ),
        (
            "  sum: { function: e:f, input: { all: b.o } }\n  b: { function: e:f, foreach: scale.v, output: { o: bytes } }\n",
            vec!["scale b"],
        ),
        (
            // `c` waits for all items of `d`, which is part of what `scale` runs in.
            "  c: { function: e:f, foreach: scale.b, input: { i: item, all: d.o } }\n  d: { function: e:f, foreach: scale.v, output: { o: bytes } }\n",
            vec!["scale d", "c"],
        ),
        (
            "  b: { function: e:f, foreach: split.l }\n",
            vec!["scale", "b"],
        ),
    ] {
        let definition = good(&format!("{SCALE}{nodes}"));
        assert_eq!(regions(&definition), expected, "{nodes}");
    }
}

#[test]
fn what_the_same_item_gave_is_read_with_item_in_brackets() {
    let definition = good(&format!(
        "{SCALE}  tell:\n    function: e:f\n    foreach: split.l\n    input: {{ i: item, b: \"scale.b[item]\", parts: \"scale.parts[item]\" }}\n"
    ));
    assert_eq!(regions(&definition), ["scale tell"]);
    assert_eq!(
        reads(&definition, "tell"),
        ["item", "scale.b", "scale.parts"]
    );
    let tell = &definition.nodes[place(&definition, "tell")];
    let kinds: Vec<Kind> = tell.inputs.iter().map(|input| input.kind).collect();
    assert_eq!(kinds, [Kind::Bytes, Kind::Bytes, Kind::List]);
    // From two ends of one chain too.
    let definition = good(&format!(
        "{SCALE}  a: {{ function: e:f, foreach: scale.v, output: {{ o: bytes }} }}\n  b: {{ function: e:f, foreach: scale.b, input: {{ i: item, a: \"a.o[item]\" }} }}\n"
    ));
    assert_eq!(regions(&definition), ["scale a b"]);
    assert_eq!(reads(&definition, "b"), ["scale.b", "a.o"]);
    refused(&[
        (
            "  x: { function: e:f, foreach: input.l, output: { o: bytes } }\n  y: { function: e:f, foreach: split.l, input: { o: \"x.o[item]\" } }\n",
            "`y` reads `x.o` of the same item, but the two do not run over the same items",
            "all items together are `NODE.OUTPUT`",
        ),
        (
            "  x: { function: e:f, foreach: input.l, output: { o: bytes, p: bytes } }\n  y: { function: e:f, foreach: input.l, input: { o: \"x.o[item]\", p: x.p } }\n",
            "`x.p` waits for all items, this one among them",
            "write `x.p[item]`",
        ),
        (
            "  y: { function: e:f, foreach: input.l, input: { o: \"split.v[item]\" } }\n",
            "`split.v` is not one for each item",
            "`split` is no foreach node",
        ),
        (
            "  y: { function: e:f, foreach: input.l, input: { o: \"input.v[item]\" } }\n",
            "`input.v` is not one for each item",
            "write `input.v`",
        ),
        (
            "  y: { function: e:f, foreach: input.l, output: { o: bytes } }\n  z: { function: e:f, input: { o: \"y.o[item]\" } }\n",
            "`item` has no meaning outside a foreach node",
            "all items together are `y.o`",
        ),
        (
            "  y: { function: e:f, foreach: input.l, input: { o: split.l[item] } }\n",
            "`[item]` stands within braces",
            "put quotes around it",
        ),
    ]);
}

#[test]
fn switches_and_catches_hold_item_by_item() {
    let definition = good(&format!(
        "{SCALE}  choose: {{ foreach: scale.v, switch: [ {{ when: item > 1 && scale.v < 9, then: big }} ], default: small }}\n  big: {{ function: e:f, foreach: scale.b, input: {{ i: item }}, output: {{ o: bytes }}, catch: small }}\n  small: {{ function: e:f, foreach: split.l, input: {{ i: item }}, output: {{ o: bytes }} }}\n  either: {{ function: e:f, foreach: scale.b, input: {{ o: \"first_of(big.o[item], small.o[item])\" }}, after: choose }}\n  sum: {{ compute: {{ twice: item * 2, same: scale.v }}, foreach: scale.v }}\n"
    ));
    assert_eq!(regions(&definition), ["scale choose big small either sum"]);
    assert_eq!(reads(&definition, "choose"), ["scale.v", "scale.v"]);
    assert_eq!(reads(&definition, "either"), ["big.o", "small.o"]);
    assert_eq!(reads(&definition, "small"), ["item"]);
    refused(&[
        (
            "  c: { foreach: input.l, switch: [ { when: 'true', then: x } ] }\n  x: { function: e:f, foreach: split.l }\n",
            "a case of `c` leads to `x`, but the two do not run over the same items",
            "run over one list",
        ),
        (
            "  c: { foreach: { from: 0, to: 4 }, switch: [ { when: outer.item > 1, then: [] } ] }\n",
            "this foreach is not within so many others",
            "`foreach: NODE.LIST[item]`",
        ),
    ]);
}

#[test]
fn joins_of_some_hold_item_by_item() {
    let definition = good(&format!(
        "{SCALE}  other: {{ function: e:f, foreach: scale.b, input: {{ i: item }}, output: {{ o: bytes }} }}\n  first: {{ function: e:f, foreach: scale.b, join: any, input: {{ a: item, b: \"other.o[item]\" }} }}\n"
    ));
    assert_eq!(regions(&definition), ["scale other first"]);
    assert_eq!(reads(&definition, "first"), ["scale.b", "other.o"]);
    let first = &definition.nodes[place(&definition, "first")];
    assert_eq!(first.join, Join::AtLeast(1));
    assert!(first.inputs.iter().all(|input| input.optional));
}

#[test]
fn cases_and_catches_may_lead_out_of_their_items() {
    let definition = good(&format!(
        "{SCALE}  choose: {{ foreach: scale.v, switch: [ {{ when: item > 1, then: [any, big] }} ], default: [] }}\n  big: {{ function: e:f, foreach: scale.b, input: {{ i: item }}, catch: tell }}\n  any: {{ function: e:f }}\n  tell: {{ function: e:f, input: {{ why: big.error }} }}\n"
    ));
    assert_eq!(regions(&definition), ["scale choose big"]);
    assert_eq!(reads(&definition, "tell"), ["big.error"]);
    // Not even by way of what they let in does an item wait for all of them.
    refused(&[(
        "  c: { compute: { v: item + 1 }, foreach: { from: 0, to: 4 } }\n  s: { foreach: c.v, switch: [ { when: item > 1, then: x } ] }\n  x: { function: e:f, output: { b: bytes } }\n  y: { function: e:f, foreach: c.v, input: { c: \"c.v[item]\", b: x.b }, after: s }\n",
        "these nodes wait for each other",
        "",
    )]);
}

#[test]
fn expressions_read_what_the_same_item_gave_and_of_other_items_all() {
    let definition = good(&format!(
        "{SCALE}  other: {{ function: e:f, foreach: input.l, output: {{ v: value }} }}\n  sum: {{ foreach: scale.b, compute: {{ x: scale.v + size(other.v) }} }}\n"
    ));
    assert_eq!(regions(&definition), ["scale sum", "other"]);
    let sum = &definition.nodes[place(&definition, "sum")];
    let kinds: Vec<(&str, Kind)> = sum
        .inputs
        .iter()
        .map(|input| (input.name.value.as_str(), input.kind))
        .collect();
    assert_eq!(kinds, [("scale.v", Kind::Value), ("other.v", Kind::List)]);
}

#[test]
fn regions_lie_within_each_other() {
    let definition = good(
        "  cut: { function: e:f, foreach: split.l, input: { i: item }, output: { parts: list, v: value } }\n  each:\n    function: e:f\n    foreach: cut.parts[item]\n    input: { i: item, whole: outer.item, v: \"cut.v[item]\", all: split.v }\n    output: { o: bytes, v: value }\n  more: { function: e:f, foreach: each.o, input: { i: item, whole: outer.item }, output: { o: bytes } }\n  sum: { function: e:f, foreach: cut.v, input: { i: item, all: \"more.o[item]\" }, output: { o: bytes } }\n  all: { function: e:f, input: { sums: sum.o } }\n",
    );
    assert_eq!(regions(&definition), ["cut sum", "0/each more"]);
    assert_eq!(
        reads(&definition, "each"),
        ["item", "outer.item", "cut.v", "split.v"]
    );
    assert_eq!(reads(&definition, "more"), ["each.o", "outer.item"]);
    assert_eq!(reads(&definition, "sum"), ["cut.v", "more.o"]);
    let sum = &definition.nodes[place(&definition, "sum")];
    assert_eq!(sum.inputs[1].kind, Kind::List);
    refused(&[
        (
            "  cut: { function: e:f, foreach: split.l, output: { parts: list } }\n  b: { function: e:f, foreach: cut.parts }\n",
            "`cut.parts` of all items would be a list of lists",
            "`foreach: cut.parts[item]`",
        ),
        (
            "  cut: { function: e:f, foreach: split.l, output: { parts: list } }\n  b: { function: e:f, foreach: \"cut.parts[item]\", output: { o: bytes } }\n  c: { function: e:f, input: { o: b.o } }\n",
            "`b.o` of all items would be a list of lists",
            "`b.o[item]`",
        ),
        (
            "  cut: { function: e:f, foreach: split.l, output: { b: bytes } }\n  b: { function: e:f, foreach: \"cut.b[item]\" }\n",
            "`cut.b[item]` is bytes, and foreach runs over a list",
            "declare it in `cut` as `b: list`",
        ),
        (
            "  b: { function: e:f, foreach: \"split.l[item]\" }\n",
            "`split.l` is not one for each item",
            "write `split.l`",
        ),
    ]);
}

#[test]
fn regions_that_wait_for_each_other_are_a_cycle_with_its_path() {
    refused(&[(
        "  a: { function: e:f, foreach: input.l, output: { o: bytes } }\n  all: { function: e:f, input: { a: a.o }, output: { o: bytes } }\n  b: { function: e:f, foreach: input.l, input: { a: \"a.o[item]\", all: all.o } }\n",
        "these nodes wait for each other: all → (a, b) → all",
        "give a foreach a `batch`",
    )]);
}

#[test]
fn whatever_number_of_chains_is_soon_checked() {
    let mut nodes = "  n0: { function: e:f, foreach: split.l, output: { o: bytes } }\n".to_owned();
    for node in 1..20_000 {
        nodes += &format!(
            "  n{node}: {{ function: e:f, foreach: n{}.o, input: {{ i: item }}, output: {{ o: bytes }} }}\n",
            node - 1
        );
    }
    let definition = good(&nodes);
    assert_eq!(definition.regions.len(), 1);
    let mut deep = "  n0: { function: e:f, foreach: split.l, output: { o: list } }\n".to_owned();
    for node in 1..20_000 {
        deep += &format!(
            "  n{node}: {{ function: e:f, foreach: n{}.o[item], output: {{ o: list }} }}\n",
            node - 1
        )
        .replace("foreach: ", "foreach: \"")
        .replace("[item]", "[item]\"");
    }
    refused(&[(
        &deep,
        "foreach within each other are 9",
        "gather in between",
    )]);
}

/// The nodes of `inner.yaml` in those of a workflow with a foreach over it.
fn with_inner(nodes: &str, inner: &str) -> Result<Definition, DefinitionError> {
    let mut others = |_: &std::path::Path| Ok(inner.as_bytes().to_vec());
    parse_with("w.yaml", text_of(nodes).as_bytes(), &mut others)
}

const INNER: &str = "
workflow: inner
input: { text: bytes, many: { kind: list, default: [] }, v: { kind: value, default: 1 } }
nodes:
  look: { function: e:f, input: { t: input.text }, output: { v: value, l: list } }
  choose: { switch: [ { when: look.v > input.v, then: big } ], default: [] }
  big: { function: e:f, input: { t: input.text }, output: { o: bytes } }
  tell: { function: e:f, input: { v: input.v } }
  each: { function: e:f, foreach: look.l, input: { i: item, t: input.text }, output: { o: bytes } }
  all: { function: e:f, foreach: input.many, input: { i: item } }
output:
  big: { from: big.o, optional: true }
  each: each.o
  either: { first_of: [big.o, input.text] }
";

#[test]
fn a_workflow_runs_for_each_item_with_all_its_nodes() {
    let nodes = format!(
        "{SCALE}  sub: {{ workflow: inner.yaml, foreach: scale.b, input: {{ text: item, many: \"scale.parts[item]\", v: \"scale.v[item]\" }} }}\n  next: {{ function: e:f, foreach: sub.big, input: {{ big: item, each: \"sub.each[item]\", either: \"scale.b[item]\" }} }}\n  last: {{ function: e:f, input: {{ bigs: sub.big }} }}\n"
    );
    let definition = with_inner(&nodes, INNER).unwrap();
    assert_eq!(
        regions(&definition),
        [
            "scale sub/look sub/choose sub/big sub/tell next",
            "0/sub/each",
            "0/sub/all"
        ]
    );
    assert_eq!(reads(&definition, "sub/look"), ["scale.b"]);
    assert_eq!(reads(&definition, "sub/each"), ["item", "scale.b"]);
    assert_eq!(
        definition.source_name(definition.regions[2].list.value),
        "scale.parts"
    );
    assert_eq!(
        reads(&definition, "next"),
        ["sub/big.o", "sub/each.o", "scale.b"]
    );
    let next = &definition.nodes[place(&definition, "next")];
    let kinds: Vec<Kind> = next.inputs.iter().map(|input| input.kind).collect();
    assert_eq!(kinds, [Kind::Bytes, Kind::List, Kind::Bytes]);
    let last = &definition.nodes[place(&definition, "last")];
    assert_eq!(last.inputs[0].kind, Kind::List);
}

#[test]
fn the_item_of_a_workflow_s_foreach_is_further_outward_in_its_own() {
    let nodes = "  sub: { workflow: inner.yaml, foreach: { list: split.l, batch: 8, parallelism: 2 }, input: { text: split.v, many: item } }\n";
    let definition = with_inner(nodes, INNER).unwrap();
    let all = &definition.regions[2];
    assert_eq!(all.list.value, From::Item { up: 0 }, "the batch");
    assert_eq!(definition.regions[0].batch, Some(8));
    let nodes = "  sub: { workflow: inner.yaml, foreach: split.l, input: { text: item } }\n";
    let definition = with_inner(nodes, INNER).unwrap();
    assert_eq!(reads(&definition, "sub/each"), ["item", "outer.item"]);
    let nodes = "  sub: { workflow: inner.yaml, foreach: { from: 0, to: input.v }, input: { text: item } }\n";
    let definition = with_inner(nodes, INNER).unwrap();
    let list = definition.regions[0].list.value;
    assert_eq!(definition.source_name(list), "sub/range.items");
}

#[test]
fn what_a_workflow_only_passes_on_is_not_gathered() {
    let nodes = "  sub: { workflow: inner.yaml, foreach: split.l, input: { text: item } }\n  last: { function: e:f, input: { e: sub.either } }\n";
    let told = match with_inner(nodes, INNER) {
        Ok(_) => panic!("valid"),
        Err(error) => error.problems,
    };
    let message = told[0].to_string();
    assert!(
        message.contains("to gather output `either` of a workflow, which is not one node's"),
        "{message}"
    );
    let nodes = "  sub: { workflow: inner.yaml, foreach: split.l, input: { text: item } }\n  last: { function: e:f, input: { e: sub.each } }\n";
    let told = with_inner(nodes, INNER).unwrap_err().problems;
    assert!(
        told[0]
            .to_string()
            .contains("`sub.each` of all items would be a list of lists"),
        "{}",
        told[0]
    );
}

#[test]
fn the_list_is_an_edge_of_what_runs_over_it_by_itself_if_a_node_gives_it() {
    let text = "
  a: { foreach: split.l, function: e:f, input: { x: item }, output: { o: value, more: list } }
  chained: { foreach: a.o, function: e:f, after: split, output: { o: value } }
  same: { foreach: split.l, function: e:f, input: { x: 'a.o[item]' } }
  within: { foreach: 'a.more[item]', function: e:f }
  counted: { foreach: { from: 0, to: split.v }, function: e:f }
  given: { foreach: input.l, function: e:f, after: split }
  once: { function: e:f, after: split }
";
    let definition = good(text);
    let reached = |name: &str| definition.is_reached_by_list(place(&definition, name));
    for name in ["a", "same", "within", "counted"] {
        assert!(reached(name), "{name}");
    }
    for name in ["split", "chained", "given", "once"] {
        assert!(!reached(name), "{name}");
    }
}
