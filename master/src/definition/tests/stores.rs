//! Where payloads on an edge may go for which memory has no room: read, with places where it is wrong.

use super::*;
use engine::plan::EdgeStore;

#[test]
fn each_input_says_where_its_payload_may_go() {
    let text = "
workflow: w
input: { text: bytes, all: list }
nodes:
  a:
    function: e:f
    foreach: input.all
    input:
      item: { from: item, store: spill }
      text: { from: input.text, store: memory, optional: true }
      either: { first_of: [input.text, constant.text], store: remote }
      plain: input.text
constants: { text: none }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let inputs = definition.nodes[0].inputs.iter();
    let stores: Vec<EdgeStore> = inputs.map(|input| input.store).collect();
    assert_eq!(
        stores,
        [
            EdgeStore::Spill,
            EdgeStore::Memory,
            EdgeStore::Remote,
            EdgeStore::Workflow
        ]
    );
}

#[test]
fn what_stays_in_memory_anyway_may_not_say_where_it_goes() {
    const HELP: &str =
        "take it away: it is for what functions and commands read, in the file in which they stand";
    let with = |nodes: &str, output: &str| {
        problems(&format!(
            "workflow: w\ninput: {{ v: value, t: bytes }}\nnodes:\n  a: {nodes}\noutput: {{ o: {output} }}\n"
        ))
    };
    let function = "{ function: e:f, input: { t: input.t }, output: { o: bytes } }";
    for (nodes, output, expected) in [
        (
            "{ compute: { o: v }, input: { v: { from: input.v, store: spill } } }",
            "a.o",
            format!("4:63 `store` has no meaning at an input that the worker reads itself | {HELP}"),
        ),
        (
            "{ function: e:f, input: { v: { from: input.v, store: spill } }, output: { o: bytes } }",
            "a.o",
            format!("4:59 `store` has no meaning at an input that is a value | {HELP}"),
        ),
        (
            function,
            "{ from: a.o, store: remote }",
            format!("5:34 `store` has no meaning at an output of the workflow | {HELP}"),
        ),
        (
            "{ function: e:f, input: { t: { from: input.t, store: disk } }, output: { o: bytes } }",
            "a.o",
            "4:59 `store` must be `memory`, `spill` or `remote`, but this is `disk` | where it may go if memory has no room \
             for it: `memory` (nowhere), `spill` (the worker's disk) or `remote` (its remote store); without it, where \
             the workflow's `store` says"
                .to_owned(),
        ),
        (
            "{ function: e:f, input: { t: { value: 3, store: spill } }, output: { o: bytes } }",
            "a.o",
            "4:35 `value` and `store` exclude one another | a constant is never absent, and stays in memory".to_owned(),
        ),
    ] {
        assert_eq!(with(nodes, output), [expected], "{nodes} {output}");
    }
    let beside = with(
        "{ function: e:f, store: spill, input: { t: input.t }, output: { o: bytes } }",
        "a.o",
    );
    assert_eq!(beside.len(), 1, "{beside:?}");
    assert!(beside[0].contains("store: spill } }`"), "{beside:?}");
}
