//! One mistake is one problem, and all of them are told at once.

use super::*;

/// A workflow in which much depends on much.
const ORDER: &str = "\
workflow: order
input:
  items: list
  note: { kind: bytes, optional: true }
constants: { limit: 3 }
nodes:
  check:
    function: shop:check
    foreach: input.items
    input: { item: item }
    output: { price: value }
  sum:
    compute: { total: \"check.price.size()\", each: { list: check.price } }
  choose:
    input: { most: { from: sum.total, default: 0 } }
    switch:
      - { when: most > constant.limit, then: pay }
    default: []
  pay:
    function: shop:pay
    input: { total: sum.total, note: { from: input.note, optional: true } }
    output: { receipt: bytes }
    catch: { on: Declined, to: tell }
    retry: { attempts: 3 }
    timeout_ms: 100
  tell: { function: shop:tell, input: { why: pay.error }, after: check }
  pack: { command: [\"tar\", \"-c\"], input: { stdin: pay.receipt }, output: { parcel: bytes } }
  ship:
    foreach: { list: sum.each, parallelism: 2 }
    delay_ms: \"item + 1\"
output:
  parcel: { from: pack.parcel, optional: true }
";

/// The problems of a workflow with pieces of it replaced, each of which must be there once.
fn with(pieces: &[(&str, &str)]) -> Vec<String> {
    let mut text = ORDER.to_owned();
    for (piece, other) in pieces {
        assert_eq!(text.matches(piece).count(), 1, "{piece}");
        text = text.replace(piece, other);
    }
    problems(&text)
}

#[test]
fn a_key_that_is_misspelt_is_the_only_problem() {
    assert_eq!(problems(ORDER), Vec::<String>::new());
    for (piece, other, key) in [
        ("workflow: order", "worklfow: order", "workflow"),
        ("input:\n  items", "inptu:\n  items", "input"),
        ("constants:", "constnats:", "constants"),
        ("nodes:", "node:", "nodes"),
        ("nodes:", "steps:", "nodes"),
        ("kind: bytes, optional", "kidn: bytes, optional", "kind"),
        ("kind: bytes, optional", "type: bytes, optional", "kind"),
        ("function: shop:check", "functoin: shop:check", "function"),
        ("foreach: input.items", "for_each: input.items", "foreach"),
        ("input: { item: item }", "inptu: { item: item }", "input"),
        ("output: { price", "outputs: { price", "output"),
        ("compute:", "comptue:", "compute"),
        ("list: check.price", "lst: check.price", "list"),
        ("from: sum.total", "form: sum.total", "from"),
        ("switch:", "swich:", "switch"),
        ("default: []", "defualt: []", "default"),
        ("when: most", "if: most", "when"),
        ("then: pay", "next: pay", "then"),
        ("catch:", "on_error:", "catch"),
        ("to: tell", "too: tell", "to"),
        ("retry:", "retires:", "retry"),
        ("retry: { attempts: 3 }", "retries: 3", "retry"),
        ("attempts: 3", "maxAttempts: 3", "attempts"),
        ("timeout_ms: 100", "time_out: 5s", "timeout_ms"),
        ("after: check", "depends_on: [check]", "after"),
        ("after: check", "needs: check", "after"),
        ("command: [\"tar\", \"-c\"]", "cmd: tar -c", "command"),
        ("parallelism: 2", "concurrency: 2", "parallelism"),
        ("delay_ms: \"item", "delayMs: \"item", "delay_ms"),
        ("output:\n  parcel", "outptu:\n  parcel", "output"),
    ] {
        let told = with(&[(piece, other)]);
        let [told] = told.as_slice() else {
            panic!("{other}: {told:#?}")
        };
        assert!(told.contains(" has no key `"), "{other}: {told}");
        let help = format!("did you mean `{key}`?");
        assert!(told.ends_with(&help), "{other}: {told}");
    }
}

#[test]
fn what_could_not_be_read_is_not_told_again_where_it_is_used() {
    for (piece, other, message) in [
        ("items: list", "items: lits", "`lits` is no kind"),
        (
            "note: { kind: bytes",
            "note: { kind: byte",
            "`byte` is no kind",
        ),
        ("price: value", "price: vlaue", "`vlaue` is no kind"),
        ("receipt: bytes", "receipt: [bytes]", "a kind must be"),
        (
            "{ receipt: bytes }",
            "receipt",
            "`output` must be a mapping",
        ),
        (
            "{ limit: 3 }",
            "{ limit: 1e999 }",
            "this number is too large",
        ),
        ("{ limit: 3 }", "3", "`constants` must be a mapping"),
        ("shop:check", "shop", "`shop` names no function"),
        (
            "foreach: input.items",
            "foreach: [input.items]",
            "a source must be",
        ),
        (
            "foreach: input.items",
            "foreach: input.itmes",
            "no input `itmes`",
        ),
        (
            "total: \"check.price.size()\"",
            "total: []",
            "an output must be",
        ),
        (
            "list: check.price",
            "list: {}",
            "`list` must be an expression",
        ),
        (
            "list: check.price",
            "list: chekc.price",
            "nothing is called `chekc`",
        ),
        (
            "most: { from: sum.total, default: 0 }",
            "most: [1]",
            "a source must be",
        ),
        ("from: sum.total", "from: sum.totla", "no output `totla`"),
        (
            "{ most: { from: sum.total, default: 0 } }",
            "most",
            "`input` must be",
        ),
        (
            "{ on: Declined, to: tell }",
            "{ on: Declined, to: [] }",
            "a catch must",
        ),
        ("[\"tar\", \"-c\"]", "tar", "`command` must be a list"),
        ("\n    function: shop:pay", "\n    unheard: of", "2"),
        ("{ stdin: pay.receipt }", "3", "`input` must be a mapping"),
        (
            "{ list: sum.each, parallelism: 2 }",
            "{ list: 3 }",
            "is no source",
        ),
        ("parallelism: 2", "batch: many", "`batch` must be"),
        ("  tell: {", "  the tell: {", "cannot be the name of a node"),
        ("  tell: {", "  input: {", "cannot be the name of a node"),
        (
            "  items: list",
            "  the items: list",
            "cannot be the name of an input",
        ),
    ] {
        let told = with(&[(piece, other)]);
        if message == "2" {
            // A key that nobody knows, and nothing that the node would do.
            assert_eq!(told.len(), 2, "{other}: {told:#?}");
            continue;
        }
        let [told] = told.as_slice() else {
            panic!("{other}: {told:#?}")
        };
        assert!(told.contains(message), "{other}: {told}");
    }
}

#[test]
fn what_a_node_with_a_wrong_list_reads_item_by_item_is_not_told() {
    let text = "
workflow: w
input: { items: list }
nodes:
  a: { function: e:f, foreach: input.items, output: { l: list } }
  b: { function: e:f, foreach: 'a.l[item]', output: { w: list } }
  c: { function: e:f, foreach: 'a.lst[item]', input: { w: 'b.w[item]', x: input.itmes } }
";
    let told = problems(text);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("no output `lst`"), "{told:#?}");
    assert!(told[1].contains("no input `itmes`"), "{told:#?}");
}

#[test]
fn mistakes_of_every_stage_are_told_in_one_go() {
    let told = with(&[
        ("items: list", "items: lits"),
        ("constants:", "constnats:"),
        ("foreach: input.items", "foreach: input.itmes"),
        ("{ item: item }", "{ item: item, other: input.nothing }"),
        ("\"check.price.size()\"", "\"check.price.sise()\""),
        ("most > constant.limit", "mots > constant.limti"),
        ("timeout_ms: 100", "timeout_ms: 5s"),
        ("after: check", "after: chekc"),
        (
            "input: { stdin: pay.receipt }",
            "input: { stdin: pay.reciept }",
        ),
        ("parallelism: 2", "parallelism: 0"),
    ]);
    let places: Vec<&str> = told
        .iter()
        .map(|told| told.split(' ').next().unwrap())
        .collect();
    let expected = [
        "3:10", "5:1", "9:14", "10:33", "13:36", "17:17", "17:24", "25:17", "26:66", "27:51",
        "29:45",
    ];
    assert_eq!(places, expected, "{told:#?}");
}

#[test]
fn in_an_expression_names_and_kinds_are_told_together() {
    let told = with(&[("most > constant.limit", "\"mots > 1 && 'a' + 1 == 2\"")]);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("nothing is called `mots`"), "{told:#?}");
    assert!(told[1].contains("`+` does not go with"), "{told:#?}");
}

#[test]
fn nodes_in_a_circle_are_told_beside_what_else_is_wrong() {
    let text = "
workflow: w
input: { n: value }
nodes:
  a: { compute: { x: b.x }, after: c }
  b: { compute: { x: a.x } }
  c: { function: e:f, input: { n: input.m } }
";
    let told = problems(text);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("a → b → a"), "{told:#?}");
    assert!(told[1].contains("no input `m`"), "{told:#?}");
    let text = "
workflow: w
nodes:
  a: { function: e:f, foreach: b.v, output: { v: value } }
  b: { function: e:f, foreach: a.v, output: { v: value }, timeout_ms: 0 }
";
    let told = problems(text);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("a → b → a"), "{told:#?}");
    assert!(told[1].contains("`timeout_ms` must be"), "{told:#?}");
}

#[test]
fn of_two_of_one_name_nothing_else_is_told() {
    let told = with(&[("  sum:\n", "  pay:\n"), ("after: check", "after: chekc")]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("`pay` is defined twice"), "{told:#?}");
}

proptest! {
    /// Whatever is done to one key, what it breaks is not told beside it.
    #[test]
    fn two_letters_that_change_places_in_a_key_are_one_problem(key in 0_usize..200, letter in 0_usize..12) {
        let keys: Vec<(usize, &str)> = ORDER
            .match_indices(':')
            .filter_map(|(end, _)| {
                let start = ORDER[..end].rfind(|c: char| !c.is_ascii_lowercase() && c != '_')? + 1;
                Some((start, &ORDER[start..end]))
            })
            .filter(|(_, key)| keys::ALL.iter().any(|shape| shape.names().contains(key)))
            .filter(|(_, key)| key.len() > 3)
            .collect();
        let (start, name) = keys[key % keys.len()];
        let at = start + letter % (name.len() - 1);
        let mut text = ORDER.as_bytes().to_vec();
        text.swap(at, at + 1);
        let text = String::from_utf8(text).unwrap();
        let told = problems(&text);
        prop_assert!(told.len() <= 1, "{name}: {told:#?}");
    }
}
