//! Expressions within definitions: every mistake is shown at its own column.

use super::*;

fn text_of(condition: &str) -> String {
    format!(
        "workflow: w\ninput: {{ mode: {{ kind: value, optional: true }}, n: value, raw: bytes }}\nnodes:\n  check: {{ function: e:f, output: {{ size: value, b: bytes }} }}\n  a-b: {{ function: e:f, output: {{ o: value }} }}\n  s:\n    input: {{ x: a-b.o, mode: {{ from: input.mode, optional: true }} }}\n    switch:\n      - when: {condition}\n        then: []\n"
    )
}

#[test]
fn mistakes_in_conditions_are_shown_at_their_column() {
    for (condition, place, message, help) in [
        (
            "check.sise > 1",
            "9:15",
            "no output `sise`",
            "did you mean `check.size`?",
        ),
        (
            "1 < chek.size",
            "9:19",
            "nothing is called `chek`",
            "did you mean `check`?",
        ),
        (
            "\"1 < check.b\"",
            "9:20",
            "`check.b` is bytes",
            "declare it in `check` as `b: value`",
        ),
        (
            "'input.raw == null'",
            "9:16",
            "`input.raw` is bytes",
            "`raw: value`",
        ),
        (
            "check > 1",
            "9:15",
            "`check` by itself is no value",
            "`check.OUTPUT`",
        ),
        (
            "item > 1",
            "9:15",
            "`item` has no meaning in an expression",
            "in a node with `foreach`",
        ),
        (
            "a-b.o > 1",
            "9:15",
            "nothing is called `a`",
            "`input: { x: a-b.OUTPUT }`",
        ),
        (
            "input.mode == 1",
            "9:15",
            "`input.mode` is needed",
            "optional: true",
        ),
        (
            "input.nn > 1",
            "9:15",
            "no input `nn`",
            "did you mean `input.n`?",
        ),
        ("constant.k > 1", "9:15", "no constant `k`", "declare it"),
        ("check.size + 1", "9:15", "", ""),
        ("x > 'a' && 1 > 'b'", "9:26", "", ""),
        ("x >", "9:18", "", ""),
        ("{}", "9:15", "`when` must be an expression", "text"),
    ] {
        let told = problems(&text_of(condition));
        let [told] = told.as_slice() else {
            panic!("{condition}: {told:#?}")
        };
        assert!(
            told.starts_with(&format!("{place} ")),
            "{condition}: {told}"
        );
        let (said, helped) = told.split_once(" | ").unwrap();
        assert!(
            said.contains(message) && helped.contains(help),
            "{condition}: {told}"
        );
    }
    for good in [
        "x > check.size && mode == null",
        "input.n in [1, 2]",
        "true",
        "'[1, 2].all(i, i < x)'",
    ] {
        assert_eq!(problems(&text_of(good)), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn where_a_text_is_not_written_as_it_reads_the_whole_of_it_is_shown() {
    let folded = text_of(">\n          1 <\n          chek.size");
    assert!(
        problems(&folded)[0].starts_with("10:11 nothing is called `chek`"),
        "{:?}",
        problems(&folded)
    );
    let escaped = text_of("\"1 < \\u0063hek.size\"");
    assert!(
        problems(&escaped)[0].starts_with("9:15 nothing"),
        "{:?}",
        problems(&escaped)
    );
    let wide = text_of("'\"ü\" == chek.size'");
    assert!(
        problems(&wide)[0].starts_with("9:23 nothing"),
        "{:?}",
        problems(&wide)
    );
}

#[test]
fn what_an_expression_cannot_read_is_not_bound_for_it() {
    let text = text_of("x > 1").replace("x: a-b.o", "x: a-b.o, y: check.b");
    let told = problems(&text);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("7:27 `check.b` is bytes, and an expression reads values"),
        "{told:#?}"
    );
}

#[test]
fn items_of_a_batch_and_bound_lists_are_read_if_they_are_lists_of_values() {
    let text = |nodes: &str| {
        format!(
            "workflow: w\ninput: {{ l: list, v: {{ kind: list, default: [1] }} }}\nnodes:\n  a: {{ function: e:f, foreach: input.l, input: {{ i: item }}, output: {{ v: value, b: bytes, l: list }} }}\n  c: {{ compute: {{ l: {{ list: '[1]' }} }} }}\n{nodes}"
        )
    };
    let read = |nodes: &str| -> Vec<(String, Kind)> {
        let definition = parse("w.yaml", text(nodes).as_bytes()).unwrap();
        let node = definition.nodes.last().unwrap();
        let inputs = node.all_inputs();
        inputs
            .map(|input| (input.name.value.clone(), input.kind))
            .collect()
    };
    let list = |name: &str| (name.to_owned(), Kind::List);
    for over in ["a.v", "c.l", "{ from: 0, to: 9 }", "constant.l"] {
        let over = over.trim_matches(['{', '}', ' ']);
        let over = if over.contains(':') {
            over.to_owned()
        } else {
            format!("list: {over}")
        };
        let foreach = format!("foreach: {{ {over}, batch: 3 }}");
        for (node, name) in [
            (
                "switch: [ { when: 'size(item) > 2 && item[0].x > 1', then: [] } ]",
                "item",
            ),
            ("compute: { n: size(item) }", "item"),
            ("compute: { n: size(x) }, input: { x: item }", "x"),
            ("function: e:f, delay_ms: size(item)", "item"),
        ] {
            let nodes = format!("  d: {{ {node}, {foreach} }}\nconstants: {{ l: [1, 2] }}\n");
            assert_eq!(read(&nodes), [list(name)], "{nodes}");
        }
    }
    assert_eq!(
        read(
            "  d: { compute: { n: 'size(x) + size(y)' }, input: { x: a.v, y: { first_of: [c.l, a.v], default: [] } } }\n"
        ),
        [list("x"), list("y")]
    );
    assert_eq!(
        read("  d: { function: e:f, delay_ms: size(x), input: { x: c.l } }\n"),
        [list("x"), list("x")]
    );
    for (node, place, message, help) in [
        (
            "compute: { n: size(item) }, foreach: { list: input.v, batch: 2 }",
            "6:27",
            "`item` is a list, and an expression reads values and lists of values",
            "are values if they are computed",
        ),
        (
            "compute: { n: 1 }, input: { x: item }, foreach: { list: a.b, batch: 2 }",
            "6:39",
            "`item` is a list",
            "are values if they are computed",
        ),
        (
            "compute: { n: size(x) }, input: { x: input.v }",
            "6:45",
            "`input.v` is a list",
            "are values if they are computed",
        ),
        (
            "compute: { n: size(x) }, input: { x: 'first_of(c.l, a.b)' }",
            "6:45",
            "`c.l` is a list",
            "are values if they are computed",
        ),
        (
            "compute: { n: size(x) }, input: { x: a.b }",
            "6:45",
            "`a.b` is a list",
            "declare it in `a` as `b: value`",
        ),
        (
            "function: e:f, delay_ms: size(x), input: { x: a.b }",
            "6:38",
            "`x` is a list",
            "bind it to a value, or to a list of values",
        ),
        (
            "compute: { n: 'size(item) + size(outer.item)' }, foreach: 'a.l[item]'",
            "6:28",
            "`item` is bytes",
            "name a source of kind value",
        ),
    ] {
        let told = problems(&text(&format!("  d: {{ {node} }}\n")));
        let first = &told[0];
        assert!(first.starts_with(place), "{node}: {told:#?}");
        assert!(
            first.contains(message) && first.contains(help),
            "{node}: {told:#?}"
        );
    }
}

#[test]
fn a_name_that_is_bound_stands_before_a_node_of_that_name() {
    let text = text_of("check > 1").replace("x: a-b.o", "check: a-b.o");
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let inputs = &definition.nodes[2].inputs;
    assert_eq!(inputs.len(), 2);
    assert_eq!(inputs[0].from[0].value, From::Output { node: 1, output: 0 });
}

proptest! {
    #[test]
    fn any_condition_gives_a_definition_or_problems(condition in "[-a-z.0-9 <>='\"&|!()\\[\\]{},:?+*é]{0,40}") {
        places_are_within(text_of(&condition).as_bytes());
        let quoted = format!("'{}'", condition.replace('\'', "''"));
        places_are_within(text_of(&quoted).as_bytes());
    }
}

/// Problems of an expression in a node that is also given these keys.
fn told_of(keys: &str, work: &str) -> Vec<String> {
    problems(&format!(
        "workflow: w\ninput: {{ n: value }}\nconstants: {{ c: [1, 2], s: text, i: 4, b: true, none: null }}\nnodes:\n  y: {{ foreach: constant.c, compute: {{ o: \"item + 1\", l: {{ list: '[item]' }} }} }}\n  one: {{ compute: {{ l: {{ list: '[1]' }} }} }}\n  x: {{ {keys}{work} }}\n  use: {{ compute: {{ o: 'size(y.o) + size(one.l) + size(constant.c) + input.n', k: 'constant.s + string(constant.i) + string(constant.b)', z: constant.none }} }}\noutput: {{ o: use.o, k: use.k, z: use.z }}\n"
    ))
}

#[test]
fn lists_and_constants_count_as_what_they_are() {
    const BATCH: &str = "foreach: { list: y.o, batch: 2 }, ";
    for (keys, work, message) in [
        (
            "input: { l: y.o }, ",
            "compute: { o: l + 1 }",
            "`+` does not go with a list and a number",
        ),
        (
            "",
            "compute: { o: y.o + 1 }",
            "`+` does not go with a list and a number",
        ),
        (
            "",
            "compute: { o: one.l > 1 }",
            "`>` does not go with a list and a number",
        ),
        (
            "input: { l: one.l }, ",
            "compute: { o: l.upperAscii() }",
            "`upperAscii` takes a text",
        ),
        (
            "input: { l: { from: one.l, optional: true } }, ",
            "compute: { o: l + 1 }",
            "null or a list and a number",
        ),
        (
            "input: { l: { from: one.l, default: [] } }, ",
            "compute: { o: l - 1 }",
            "a list and a number",
        ),
        (
            BATCH,
            "compute: { o: item > 3 }",
            "`>` does not go with a list and a number",
        ),
        (
            "foreach: { list: y.o, batch: 2 }, input: { q: item }, ",
            "compute: { o: q > 3 }",
            "a list and a number",
        ),
        (
            "foreach: constant.c, ",
            "compute: { o: 'y.o + item', p: 'y.l + 1' }",
            "a list and a number",
        ),
        ("", "compute: { o: constant.c + 1 }", "a list and a number"),
        ("", "compute: { o: constant.s + 1 }", "a text and a number"),
        (
            "input: { k: constant.s }, ",
            "compute: { o: k + 1 }",
            "a text and a number",
        ),
        (
            "input: { k: 5 }, ",
            "compute: { o: k.trim() }",
            "`trim` takes a text",
        ),
        (
            "",
            "compute: { o: constant.b * 2 }",
            "a boolean and a number",
        ),
        ("", "compute: { o: constant.none > 2 }", "null and a number"),
        (
            "",
            "switch: [ { when: one.l, then: [] } ]",
            "a condition must be a boolean, and this is a list",
        ),
        (
            "input: { l: y.o }, ",
            "switch: [ { when: '!l', then: [] } ]",
            "`!` takes a boolean",
        ),
        (
            "",
            "switch: [ { when: constant.i, then: [] } ]",
            "a condition must be a boolean, and this is a number",
        ),
        (
            "input: { l: y.o }, ",
            "delay_ms: l",
            "milliseconds must be a number, and this is a list",
        ),
        (
            "",
            "delay_ms: constant.s",
            "milliseconds must be a number, and this is a text",
        ),
        (
            "",
            "delay_until: y.o",
            "a time must be a text or a timestamp, and this is a list",
        ),
    ] {
        let told = told_of(keys, work);
        let [told] = told.as_slice() else {
            panic!("{keys}{work}: {told:#?}")
        };
        assert!(
            told.starts_with("7:") && told.contains(message),
            "{keys}{work}: {told}"
        );
    }
    for (keys, work) in [
        (
            "input: { l: { from: one.l, optional: true } }, ",
            "switch: [ { when: 'l == null || l[0] > 3', then: [] } ]",
        ),
        (
            BATCH,
            "switch: [ { when: 'item[0] > 3 && size(item) > 1', then: [] } ]",
        ),
        (
            "foreach: constant.c, ",
            "switch: [ { when: item + y.o > 1, then: [] } ]",
        ),
        (
            "input: { k: { from: input.n, default: a } }, ",
            "switch: [ { when: k > 1, then: [] } ]",
        ),
        (
            "input: { k: { first_of: [input.n, constant.s] } }, ",
            "switch: [ { when: k > 1, then: [] } ]",
        ),
        ("", "delay_ms: constant.i * 2"),
        ("", "delay_until: constant.s"),
    ] {
        assert_eq!(told_of(keys, work), Vec::<String>::new(), "{keys}{work}");
    }
}

#[test]
fn one_slip_is_one_problem() {
    let told = told_of(
        "",
        "switch: [ { when: 'y.o.amp(v, v > 1) == []', then: [] } ]",
    );
    assert!(
        matches!(&told[..], [one] if one.contains("no function `amp`") && one.contains("`map`")),
        "{told:#?}"
    );
}
