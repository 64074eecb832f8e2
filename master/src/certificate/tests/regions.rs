//! Nodes that run for items: what an item may skip, and what is seen from outside all the same.

use super::super::*;
use crate::definition::parse;

/// Verdicts by the names of nodes, then of outputs.
fn verdicts(text: &str) -> Vec<(String, Verdict)> {
    let definition =
        parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let certificates = certify(&definition, Bounds::default());
    let nodes = definition.nodes.iter().map(|node| &node.name.value);
    let outputs = definition.outputs.iter().map(|output| &output.name.value);
    let told = certificates.nodes.iter().chain(&certificates.outputs);
    let told = told.map(|certificate| certificate.verdict);
    nodes.chain(outputs).cloned().zip(told).collect()
}

fn all_are(text: &str, expected: &[(&str, Verdict)]) {
    let told = verdicts(text);
    for (name, verdict) in expected {
        let found = told.iter().find(|(known, _)| known == name);
        assert_eq!(found.map(|(_, found)| *found), Some(*verdict), "{name}");
    }
}

#[test]
fn what_an_item_may_skip_is_gathered_all_the_same() {
    use Verdict::{Always, May};
    let text = "
workflow: w
input: { l: list, v: value }
nodes:
  look: { function: e:f, foreach: input.l, output: { v: value, b: bytes } }
  choose: { foreach: look.v, switch: [ { when: item > 1, then: big } ], default: small }
  big: { function: e:f, foreach: look.b, output: { b: bytes } }
  small: { function: e:f, foreach: look.b, output: { b: bytes } }
  either: { function: e:f, foreach: look.b, input: { b: 'first_of(big.b[item], small.b[item])' } }
  bigs: { function: e:f, input: { b: big.b } }
output: { bigs: big.b }
";
    let told = [
        ("look", Always),
        ("big", May),
        ("small", May),
        ("either", Always),
        ("bigs", Always),
    ];
    all_are(text, &told);
}

#[test]
fn what_no_item_can_run_is_dead_outside_too() {
    use Verdict::{Always, May};
    let text = "
workflow: w
input: { l: list, v: value }
nodes:
  go: { switch: [ { when: input.v == 1, then: second } ], default: [] }
  first: { function: e:f, foreach: input.l, output: { b: bytes } }
  second: { function: e:f, foreach: first.b, input: { i: item }, output: { b: bytes } }
  third: { function: e:f, foreach: second.b, input: { i: item }, output: { b: bytes } }
  one: { function: e:f, input: { b: first.b } }
  three: { function: e:f, input: { b: third.b } }
";
    let told = [
        ("first", Always),
        ("second", May),
        ("third", May),
        ("one", Always),
        ("three", May),
    ];
    all_are(text, &told);
}

#[test]
fn lists_within_items_are_there_as_far_as_their_items_are() {
    use Verdict::{Always, May};
    let text = "
workflow: w
input: { l: list }
nodes:
  cut: { function: e:f, foreach: input.l, output: { parts: list, v: value } }
  choose: { foreach: cut.v, switch: [ { when: item > 1, then: mark } ], default: [] }
  mark: { function: e:f, foreach: cut.v, output: { l: list, b: bytes } }
  each: { function: e:f, foreach: 'cut.parts[item]', input: { i: item }, output: { b: bytes } }
  marked: { function: e:f, foreach: 'mark.l[item]', input: { i: item }, output: { b: bytes } }
  sum: { function: e:f, foreach: cut.v, input: { e: 'each.b[item]' }, output: { b: bytes } }
  marks: { function: e:f, foreach: cut.v, input: { e: 'marked.b[item]' }, output: { b: bytes } }
  all: { function: e:f, input: { s: sum.b, m: marks.b } }
";
    let told = [
        ("each", Always),
        ("marked", May),
        ("sum", Always),
        ("marks", May),
        ("all", Always),
    ];
    all_are(text, &told);
}

#[test]
fn cases_that_lead_out_of_their_items_are_free_whatever_other_cases_are() {
    use Verdict::{Always, May, Never};
    let text = "
workflow: w
input: { l: list }
nodes:
  look: { function: e:f, foreach: input.l, output: { v: value, b: bytes } }
  choose: { foreach: look.v, switch: [ { when: item > 1, then: [one, both, inner] } ], default: [other, both] }
  inner: { function: e:f, foreach: look.b, output: { b: bytes } }
  one: { function: e:f }
  other: { function: e:f }
  both: { function: e:f }
  risky: { function: e:f, foreach: input.l, catch: tell }
  tell: { function: e:f }
  hears: { function: e:f, input: { why: risky.error } }
";
    // Of no items neither case is taken, of several both may be.
    let told = [
        ("choose", Always),
        ("inner", May),
        ("one", May),
        ("other", May),
        ("both", May),
        ("risky", Always),
        ("tell", Never),
        ("hears", Never),
    ];
    all_are(text, &told);
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let certificates = certify(&definition, Bounds::default());
    let of = |name: &str| {
        let mut nodes = definition.nodes.iter();
        let place = nodes.position(|node| node.name.value == name).unwrap();
        &certificates.nodes[place]
    };
    let words = |witness: &Option<Witness>| -> Vec<String> {
        let choices = witness.iter().flat_map(|witness| &witness.choices);
        choices.map(|choice| choice.describe(&definition)).collect()
    };
    let taken = "choose takes case 1 (→ one, both, inner) for some item";
    assert_eq!(words(&of("one").runs), [taken]);
    let skipped = words(&of("both").skipped);
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(
        skipped.contains(&taken.replace("some", "no")),
        "{skipped:?}"
    );
    for name in ["tell", "hears"] {
        assert_eq!(
            words(&of(name).after_failure),
            ["risky fails for some item"]
        );
    }
}

#[test]
fn from_outside_of_all_items_no_choice_of_one_item_is_named() {
    let text = "
workflow: w
input: { l: list }
nodes:
  look: { function: e:f, foreach: input.l, output: { v: value } }
  choose: { foreach: look.v, switch: [ { when: item > 1, then: mark } ], default: [] }
  mark: { function: e:f, foreach: look.v, output: { parts: list, v: value } }
  each: { function: e:f, foreach: 'mark.parts[item]', input: { i: item }, output: { v: value } }
  tell: { foreach: each.v, switch: [ { when: item > 1, then: out } ], default: [] }
  out: { function: e:f }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let certificates = certify(&definition, Bounds::default());
    let out = certificates.nodes.last().unwrap();
    let choices = &out.runs.as_ref().unwrap().choices;
    assert!(
        matches!(choices[..], [Choice::SomeItem { some: true, .. }]),
        "{choices:?}"
    );
}
