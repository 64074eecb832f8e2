//! Whatever a file holds, reading it gives a definition or problems with places, and soon.

use super::*;

/// A file with every construct.
const WHOLE: &str = "
workflow: whole
timeout_ms: 60000
input: { text: bytes, width: { kind: value, default: 200 }, mode: { kind: value, optional: true } }
constants: { limit: 100, names: [a, b] }
nodes:
  start:
    function: e:start
    input: { text: input.text, mode: { from: input.mode, optional: true } }
    output: { size: value, data: bytes }
    retry: { attempts: 3, factor: 1.5, jitter: 0.5, on: [timeout] }
    catch: [ { on: [crash, Busy], to: rescue }, { to: rescue } ]
  rescue: { function: f:rescue, input: { why: start.error }, output: { data: bytes } }
  choose:
    switch: [ { when: start.size > constant.limit, then: [big, each] }, { when: start.size == input.width, then: [] } ]
    default: small
  big: { function: e:big, input: { data: start.data }, output: { data: bytes }, resources: { cpus: 2 } }
  small:
    command: [cat, '{input.data}']
    input: { data: start.data }
    output: { data: bytes }
    retry: [ { attempts: 2, on: exit-1 }, { attempts: 9, backoff_ms: 5 } ]
  merge: { function: f:merge, input: { data: first_of(big.data, small.data), n: constant.names }, output: { data: bytes } }
  sums: { compute: { sum: start.size + 1, all: { list: '[1, 2]' } }, input: { k: { value: { a: [1] } } } }
  each: { function: e:each, foreach: { from: 0, to: sums.sum, parallelism: 2 }, input: { i: item }, output: { o: value } }
  named: { function: e:named, foreach: { list: constant.names, batch: 2 }, input: { i: item, t: { text: hi } } }
  pause: { delay_ms: 20, after: [named], join: { at_least: 1 } }
output: { data: merge.data, each: { from: each.o, optional: true }, sum: { from: sums.sum, default: 0 } }
";

/// Pieces of the language, from which texts are put together.
const PIECES: [&str; 24] = [
    "first_of(",
    "a.b",
    ")",
    ", ",
    "{ ",
    " }",
    "[",
    "]",
    ": ",
    "switch",
    "when",
    "then",
    "default",
    "catch",
    "join",
    "at_least",
    "foreach",
    "item",
    "constant.limit",
    "start.error",
    "workflow",
    "null",
    "1e999",
    "*x",
];

#[test]
fn the_whole_of_the_language_is_valid() {
    assert_eq!(problems(WHOLE), Vec::<String>::new());
}

#[test]
fn what_costs_much_is_bounded() {
    // Alternatives and aliases of them: as often as the file may name values.
    let alternatives: Vec<String> = (0..1024).map(|n| format!("n{n}.o")).collect();
    let mut text = "workflow: w\nnodes:\n".to_owned();
    for n in 0..1024 {
        text += &format!("  n{n}: {{ function: e:f, output: {{ o: bytes }} }}\n");
    }
    text += &format!(
        "  x: {{ function: e:f, input: {{ a: &all {{ first_of: [{}] }}",
        alternatives.join(", ")
    );
    for n in 0..100 {
        text += &format!(", a{n}: *all");
    }
    text += " } }\n";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    assert_eq!(definition.nodes[1024].inputs.len(), 101);
    // Names that nobody knows, where there are many that they could be.
    let name = |n: usize| format!("{}{n:06}", "n".repeat(58));
    let mut text = "workflow: w\nnodes:\n".to_owned();
    for n in 0..20_000 {
        text += &format!("  {}: {{ delay_ms: 1, after: m{} }}\n", name(n), name(n));
    }
    assert_eq!(problems(&text).len(), 20);
    // Outputs that are all read.
    let outputs: Vec<String> = (0..20_000).map(|n| format!("o{n}: bytes")).collect();
    let reads: Vec<String> = (0..20_000).map(|n| format!("i{n}: a.o{n}")).collect();
    let text = format!(
        "{{ workflow: w, nodes: {{ a: {{ function: 'e:f', output: {{ {} }} }}, b: {{ function: 'e:f', input: {{ {} }} }} }} }}",
        outputs.join(", "),
        reads.join(", ")
    );
    assert_eq!(
        parse("w.yaml", text.as_bytes()).unwrap().nodes[1]
            .inputs
            .len(),
        20_000
    );
    // A long text, named again and again.
    let long = "x".repeat(1 << 20);
    let many = vec!["*l"; 100_000].join(", ");
    let text = format!(
        "workflow: w\nconstants: {{ l: &l {long}, many: [{many}] }}\nnodes: {{ a: {{ delay_ms: 1 }} }}\n"
    );
    assert!(
        problems(&text)[0].contains("more than 2500000 values"),
        "{:?}",
        problems(&text)[0]
    );
}

#[test]
fn ties_that_are_refused_cost_no_more_than_others() {
    // Each reads the end of a long chain, and runs over another list.
    let mut text = "workflow: w\ninput: { l: list, m: list }\nnodes:\n  n0: { function: e:f, foreach: input.l, output: { o: bytes } }\n"
        .to_owned();
    let (chain, ties) = (20_000, 20_000);
    for n in 1..chain {
        text += &format!(
            "  n{n}: {{ function: e:f, foreach: n{}.o, output: {{ o: bytes }} }}\n",
            n - 1
        );
    }
    for n in 0..ties {
        text += &format!(
            "  t{n}: {{ function: e:f, foreach: input.m, input: {{ i: 'n{}.o[item]' }} }}\n",
            chain - 1
        );
    }
    let found = problems(&text);
    assert_eq!(found.len(), 20);
    assert!(found[0].contains("of the same item"), "{}", found[0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_damage_gives_a_definition_or_problems(
        at in 0..WHOLE.len(), length in 0_usize..30, new in "[-:{}\\[\\],&*a-z0-9.() \n]{0,10}",
    ) {
        let end = (at + length).min(WHOLE.len());
        places_are_within(format!("{}{new}{}", &WHOLE[..at], &WHOLE[end..]).as_bytes());
    }

    #[test]
    fn pieces_of_the_language_anywhere_give_a_definition_or_problems(
        at in prop::collection::vec((0..WHOLE.len(), 0..PIECES.len()), 1..4),
    ) {
        let mut text = WHOLE.to_owned();
        for (at, piece) in at {
            text.insert_str(at, PIECES[piece]);
        }
        places_are_within(text.as_bytes());
    }

    #[test]
    fn a_part_of_the_file_in_the_place_of_another_gives_a_definition_or_problems(
        from in 0..WHOLE.len(), length in 1_usize..60, to in 0..WHOLE.len(), over in 0_usize..60,
    ) {
        let part = &WHOLE[from..(from + length).min(WHOLE.len())];
        let end = (to + over).min(WHOLE.len());
        places_are_within(format!("{}{part}{}", &WHOLE[..to], &WHOLE[end..]).as_bytes());
    }
}
