//! Catches of a node that stands for another workflow: they stand at each node of it that may fail.

use super::files::{load, told};
use super::*;

/// `pay` catches some of its failures itself, `log` all of them, and `rest` cannot fail.
const SHOP: &str = "
workflow: shop
input: { order: bytes, wait: { kind: value, default: 1 } }
nodes:
  pay: { function: e:pay, input: { o: input.order }, output: { r: bytes }, catch: { on: Declined, to: sorry } }
  sorry: { function: e:sorry, input: { o: input.order, why: pay.error }, output: { l: bytes } }
  ship: { function: e:ship, input: { r: pay.r }, output: { p: bytes, s: value } }
  choose: { switch: [ { when: ship.s > 1, then: log } ], default: [] }
  log: { function: e:log, input: { p: ship.p }, catch: sorry }
  rest: { delay_ms: 5, after: choose }
  pause: { delay_ms: ship.s, after: rest }
output: { parcel: ship.p, letter: sorry.l }
";

/// Runs over a list, and over a list within.
const EACH: &str = "
workflow: each
input: { l: list }
nodes:
  cut: { function: e:cut, foreach: input.l, input: { i: item }, output: { l: list, v: value } }
  within: { function: e:f, foreach: 'cut.l[item]', input: { i: item }, output: { v: value } }
  sum: { compute: { n: size(cut.v) } }
output: { n: sum.n }
";

fn definition(main: &str, others: &[(&str, &str)]) -> Definition {
    let main = format!("workflow: main\ninput: {{ o: bytes, l: list, m: list }}\nnodes:\n{main}");
    let files = [&[("main.yaml", main.as_str())], others].concat();
    load(&files).unwrap_or_else(|error| panic!("{:#?}\n{main}", told(&error)))
}

fn node<'d>(definition: &'d Definition, name: &str) -> &'d Node {
    let mut nodes = definition.nodes.iter();
    let found = nodes.find(|node| node.name.value == name);
    found.unwrap_or_else(|| panic!("no node {name}"))
}

fn names(definition: &Definition) -> Vec<&str> {
    let nodes = definition.nodes.iter();
    nodes.map(|node| node.name.value.as_str()).collect()
}

/// What each catch of a node takes, and where it leads.
fn catches(definition: &Definition, name: &str) -> Vec<String> {
    let catches = node(definition, name).catches.iter().map(|catch| {
        let to = catch.to.iter();
        let to: Vec<&str> = to
            .map(|to| definition.nodes[to.value].name.value.as_str())
            .collect();
        format!("{}: {}", catch.on.len(), to.join(" "))
    });
    catches.collect()
}

/// What a node reads; `first` of what is gathered.
fn reads(definition: &Definition, name: &str) -> Vec<String> {
    let inputs = node(definition, name).all_inputs();
    let from = inputs.flat_map(|input| &input.from).map(|from| {
        let first = matches!(from.value, From::First { .. });
        let mark = if first { "first " } else { "" };
        format!("{mark}{}", definition.source_name(from.value))
    });
    from.collect()
}

#[test]
fn it_stands_at_each_node_that_may_fail_behind_what_that_catches_itself() {
    let main = "  sub: { workflow: shop.yaml, input: { order: input.o }, catch: [ { on: [timeout, crash], to: [a, b] }, { to: b } ] }\n  a: { function: e:a }\n  b: { function: e:b }\n";
    let definition = definition(main, &[("shop.yaml", SHOP)]);
    let own = ["2: a b", "0: b"];
    assert_eq!(
        catches(&definition, "sub/pay"),
        ["1: sub/sorry", own[0], own[1]]
    );
    for name in ["sub/sorry", "sub/ship", "sub/choose", "sub/pause"] {
        assert_eq!(catches(&definition, name), own, "{name}");
    }
    assert_eq!(
        catches(&definition, "sub/log"),
        ["0: sub/sorry"],
        "nothing leaves it"
    );
    assert!(catches(&definition, "sub/rest").is_empty());
    // Nobody reads what failed, so that nothing says it.
    assert!(
        names(&definition)
            .iter()
            .all(|name| !name.contains(".error"))
    );
    let read =
        [node(&definition, "sub/ship"), node(&definition, "sub/pay")].map(|n| n.error_output);
    assert_eq!(read, [None, Some(1)], "as the other file reads it");
    let b = definition
        .nodes
        .iter()
        .position(|node| node.name.value == "b");
    assert_eq!(
        definition.gates()[b.unwrap()].len(),
        10,
        "it runs once, behind any of them"
    );
}

#[test]
fn what_failed_is_the_first_in_the_other_file_s_order_and_none_that_is_caught_there() {
    let main = "  sub: { workflow: shop.yaml, input: { order: input.o }, catch: a }\n  a: { function: e:a, input: { why: sub.error } }\n  s: { switch: [ { when: 'sub.error.class == \"crash\"', then: [] } ], default: [] }\noutput: { why: { from: sub.error, optional: true } }\n";
    let definition = definition(main, &[("shop.yaml", SHOP)]);
    assert_eq!(
        names(&definition)[7..],
        ["a", "s", "sub.error/pay", "sub.error"].map(str::to_owned)[..]
    );
    assert_eq!(reads(&definition, "a"), ["sub.error.error"]);
    assert_eq!(reads(&definition, "s"), ["sub.error.error"]);
    assert_eq!(
        reads(&definition, "sub.error"),
        [
            "sub.error/pay.error",
            "sub/sorry.error",
            "sub/ship.error",
            "sub/choose.error",
            "sub/pause.error"
        ]
    );
    assert_eq!(reads(&definition, "sub.error/pay"), ["sub/pay.error"]);
    assert_eq!(
        catches(&definition, "sub/pay"),
        ["1: sub/sorry", "0: a sub.error/pay"],
        "what is declined is none of its"
    );
    assert_eq!(catches(&definition, "sub/ship"), ["0: a"]);
    let teller = node(&definition, "sub.error");
    assert_eq!((teller.region, teller.outputs[0].kind), (None, Kind::Value));
    assert!(
        !teller.inputs[0].optional,
        "it runs only if something failed"
    );
}

#[test]
fn with_a_foreach_it_is_for_the_item_or_leads_out_of_all_of_them() {
    let main = "  sub: { workflow: shop.yaml, foreach: input.l, input: { order: item }, catch: [ { on: timeout, to: same }, { to: out } ] }\n  same: { function: e:same, foreach: input.l, input: { why: 'sub.error[item]', i: item } }\n  out: { function: e:out, input: { all: sub.error } }\n  count: { compute: { n: size(sub.error) }, after: sub }\n";
    let definition = definition(main, &[("shop.yaml", SHOP)]);
    assert_eq!(
        definition.regions.len(),
        1,
        "`same` runs item by item with it"
    );
    let within = |name: &str| node(&definition, name).region;
    assert_eq!(within("same"), Some(0));
    assert_eq!(
        (within("sub.error"), within("sub.error/pay")),
        (Some(0), Some(0))
    );
    assert_eq!(within("out"), None);
    for (name, kind) in [
        ("same", Kind::Value),
        ("out", Kind::List),
        ("count", Kind::List),
    ] {
        let input = &node(&definition, name).inputs[0];
        assert_eq!(
            (input.kind, reads(&definition, name)[0].as_str()),
            (kind, "sub.error.error")
        );
    }
    // Without anything read of the same item it is for that, too.
    let main = main.replace("why: 'sub.error[item]', ", "");
    let definition = self::definition(&main, &[("shop.yaml", SHOP)]);
    assert_eq!(definition.regions.len(), 1);
}

#[test]
fn of_items_within_it_the_first_that_failed_counts() {
    let main = "  sub: { workflow: each.yaml, input: { l: input.l }, catch: tell }\n  tell: { function: e:tell, input: { why: sub.error } }\n";
    let definition = definition(main, &[("each.yaml", EACH)]);
    assert_eq!(catches(&definition, "sub/within"), ["0: tell"]);
    assert_eq!(
        names(&definition)[3..],
        ["tell", "sub.error/2", "sub.error/1", "sub.error"].map(str::to_owned)[..]
    );
    assert_eq!(reads(&definition, "sub.error/2"), ["sub/within.error"]);
    assert_eq!(
        reads(&definition, "sub.error/1"),
        ["sub/cut.error", "first sub.error/2.error"]
    );
    assert_eq!(
        reads(&definition, "sub.error"),
        ["first sub.error/1.error", "sub/sum.error"]
    );
    for (name, like) in [("sub.error/2", "sub/within"), ("sub.error/1", "sub/cut")] {
        assert_eq!(
            node(&definition, name).region,
            node(&definition, like).region
        );
    }
    let inner = definition
        .regions
        .iter()
        .filter(|region| region.parent.is_some());
    assert_eq!((definition.regions.len(), inner.count()), (2, 1));
}

#[test]
fn what_it_leads_to_may_run_over_another_list_than_items_within_it() {
    let others = [
        ("each.yaml", EACH),
        (
            "mid.yaml",
            "
workflow: mid
input: { l: list }
nodes:
  own: { workflow: each.yaml, input: { l: input.l }, catch: [ { on: timeout, to: help } ] }
  help: { function: e:help, foreach: input.l, input: { i: item, why: own.error } }
",
        ),
    ];
    let main = "  sub: { workflow: mid.yaml, input: { l: input.l }, catch: tell }\n  tell: { function: e:tell, foreach: input.m, input: { i: item, why: sub.error } }\n";
    let definition = definition(main, &others);
    let region = |name: &str| node(&definition, name).region;
    assert!(region("tell").is_some() && region("sub/help").is_some());
    assert_ne!(region("tell"), region("sub/own/cut"));
    assert_ne!(
        region("sub/help"),
        region("sub/own/cut"),
        "over one list, but nothing ties them"
    );
    assert_eq!(
        catches(&definition, "sub/own/cut"),
        ["1: sub/help sub/own.error/cut", "0: tell sub.error/own/cut"][..1]
            .iter()
            .map(|catch| catch.replace(" sub/own.error/cut", ""))
            .chain(["0: tell sub.error/own/cut".to_owned()])
            .collect::<Vec<_>>()
    );
    // A foreach node's own catch is for the same item.
    let main = "  each: { function: e:f, foreach: input.l, input: { i: item }, catch: tell }\n  tell: { function: e:tell, foreach: input.m, input: { i: item } }\n";
    let text = format!("workflow: main\ninput: {{ l: list, m: list }}\nnodes:\n{main}");
    assert!(
        problems(&text)[0].contains("a catch of `each` leads to `tell`"),
        "{:?}",
        problems(&text)
    );
}

#[test]
fn a_workflow_within_a_workflow_is_caught_by_the_nearest_first() {
    let others = [("shop.yaml", SHOP), ("mid.yaml", "
workflow: mid
input: { o: bytes, l: list }
nodes:
  shop: { workflow: shop.yaml, input: { order: input.o }, catch: { on: crash, to: again } }
  again: { function: e:again, input: { why: shop.error } }
  many: { workflow: shop.yaml, foreach: input.l, input: { order: item }, catch: { on: panic, to: again } }
")];
    let main = "  sub: { workflow: mid.yaml, input: { o: input.o, l: input.l }, catch: tell }\n  tell: { function: e:tell, input: { why: sub.error } }\n";
    let definition = definition(main, &others);
    assert_eq!(
        catches(&definition, "sub/shop/pay"),
        [
            "1: sub/shop/sorry",
            "1: sub/again sub/shop.error/pay",
            "0: tell sub.error/shop/pay"
        ]
    );
    assert_eq!(
        catches(&definition, "sub/many/ship"),
        ["1: sub/again", "0: tell sub.error/many/ship"]
    );
    assert_eq!(reads(&definition, "sub/again"), ["sub/shop.error.error"]);
    let told = reads(&definition, "sub.error");
    assert_eq!(
        told[..3],
        [
            "sub.error/shop/pay.error",
            "sub.error/shop/sorry.error",
            "sub.error/shop/ship.error"
        ]
        .map(str::to_owned)
    );
    assert!(
        told.contains(&"first sub.error/1.error".to_owned()),
        "{told:?}"
    );
    assert_eq!(
        reads(&definition, "sub.error/1")[0],
        "sub.error/many/pay.error"
    );
}

/// The outputs of each node have different names, which the workers' check asks for.
fn assert_outputs_differ(definition: &Definition) {
    for node in &definition.nodes {
        let mut names: Vec<&str> = node.outputs.iter().map(|o| o.name.value.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "outputs of {}", node.name.value);
    }
}

#[test]
fn what_says_what_failed_may_fail_itself_in_a_workflow_within_another() {
    let leaf = "{ workflow: leaf, nodes: { a: { function: e:f, output: { o: bytes } } }, output: { o: a.o } }";
    let mid = "
workflow: mid
nodes:
  inner: { workflow: leaf.yaml, catch: { on: timeout, to: h } }
  h: { compute: { out: inner.error.node } }
  own: { function: e:own, input: { h: h.out }, output: { error: bytes } }
output: { out: h.out, error_of_own: own.error }
";
    for foreach in ["", "foreach: input.l, "] {
        let main = format!(
            "  call: {{ workflow: mid.yaml, {foreach}catch: tell }}\n  tell: {{ function: e:t, input: {{ why: call.error }} }}\n"
        );
        let definition = definition(&main, &[("leaf.yaml", leaf), ("mid.yaml", mid)]);
        assert_outputs_differ(&definition);
        let teller = node(&definition, "call/inner.error");
        assert_eq!(catches(&definition, "call/inner.error"), ["0: tell"]);
        assert_eq!((teller.error_output, teller.outputs.len()), (Some(1), 2));
        // What the workflow within reads stays what the node says, and the outer catch tells of the node itself.
        assert_eq!(
            reads(&definition, "call/h"),
            ["call/inner.error.error"],
            "{foreach}"
        );
        let told = reads(&definition, "call.error");
        for failed in ["call/inner.error.error/own", "call/own.error/own"] {
            assert!(told.iter().any(|told| told == failed), "{told:?}");
        }
    }
}

#[test]
fn a_delay_of_the_node_itself_may_fail_at_those_that_wait_for_it() {
    let inner = "{ workflow: w, nodes: { a: { delay_ms: 1 }, b: { delay_ms: 2, after: a } } }";
    let main = "  sub: { workflow: w.yaml, delay_ms: '{\"a\": 5}.a', catch: tell }\n  tell: { function: e:tell, input: { why: sub.error } }\n";
    let definition = definition(main, &[("w.yaml", inner)]);
    assert_eq!(catches(&definition, "sub/a"), ["0: tell"]);
    assert!(catches(&definition, "sub/b").is_empty());
    assert_eq!(reads(&definition, "sub.error"), ["sub/a.error"]);
}

#[test]
fn what_could_never_be_caught_is_refused() {
    let all = "{ workflow: w, nodes: { a: { function: e:f, catch: b }, b: { delay_ms: 1 } } }";
    let waits = "{ workflow: w, nodes: { a: { delay_ms: 1 } } }";
    let fails = "{ workflow: w, nodes: { a: { function: e:f } }, output: {} }";
    let own = "{ workflow: w, nodes: { a: { function: e:f, output: { o: bytes } } }, output: { error: a.o } }";
    for (inner, node, at, message, help) in [
        (
            all,
            "catch: tell",
            "4:35",
            "no failure leaves workflow `w`",
            "take `catch` away",
        ),
        (
            waits,
            "catch: tell",
            "4:35",
            "no failure leaves workflow `w`",
            "could never run",
        ),
        (
            fails,
            "catch: { on: timeout, to: [tell, tell] }",
            "4:61",
            "node `tell` is named twice",
            "take one of the two away",
        ),
        (fails, "catch: nobody", "4:35", "`nobody`", ""),
        (
            fails,
            "catch: sub",
            "4:20",
            "these nodes wait for each other",
            "",
        ),
        (
            fails,
            "after: tell",
            "5:40",
            "node `sub` has no output `error`",
            "once `sub` has a `catch`",
        ),
        (own, "catch: tell", "5:36", "", ""),
        (
            fails,
            "catch: tell, after: x.eror",
            "5:40",
            "node `sub` has no output `eror`",
            "did you mean `sub.error`?",
        ),
    ] {
        let (node, read) = match node.split_once(", after: x.") {
            Some((node, output)) => (node, output),
            None => (node, "error"),
        };
        let main = format!(
            "workflow: main\n\nnodes:\n  sub: {{ workflow: w.yaml, {node} }}\n  tell: {{ function: e:f, input: {{ why: sub.{read} }} }}\n"
        );
        let read = load(&[("main.yaml", &main), ("w.yaml", inner)]);
        if message.is_empty() {
            // An output called `error` stands before what failed.
            let definition = read.unwrap();
            assert_eq!(reads(&definition, "tell"), ["sub/a.o"]);
            continue;
        }
        let told = told(&read.unwrap_err());
        let place = format!("main.yaml:{at} ");
        assert!(
            told.iter().any(|told| told.starts_with(&place)
                && told.contains(message)
                && told.contains(help)),
            "{node}: {told:#?}"
        );
    }
}
