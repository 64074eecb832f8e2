use super::*;
use crate::definition::{parse, parse_with};
use crate::graph::Graph;
use crate::place::{self, WorkerCapacity};
use crate::planner::{self, Terms};
use engine::plan::{DeploymentId, Limits, Replica, Source, WorkerRef};

/// `function: input name=schema, output name=schema, ...`, for an executable `f`.
fn told(worker: &str, functions: &[(&str, &str)]) -> Said {
    let mut said = Said::default();
    tell(&mut said, worker, functions);
    said
}

fn tell(said: &mut Said, worker: &str, functions: &[(&str, &str)]) {
    let port = |text: &str| {
        let (port, schema) = text.split_once('=').unwrap();
        TypedPort {
            port: (port != "*").then(|| port.to_owned()),
            schema: schema.to_owned(),
        }
    };
    let described = functions.iter().map(|(name, ports)| {
        let of = |what: &str| {
            let ports = ports
                .split_whitespace()
                .filter_map(|text| text.strip_prefix(what));
            ports.map(port).collect()
        };
        FunctionDescription {
            name: (*name).to_owned(),
            inputs: of("<"),
            outputs: of(">"),
        }
    });
    said.worker(worker);
    said.tell("f", &described.collect::<Vec<_>>()).unwrap();
}

fn definition(nodes: &str) -> Definition {
    let text = format!(
        "workflow: w\ninput: {{ text: bytes, more: bytes, parts: list, late: {{ kind: bytes, optional: true }} }}\n\
         nodes:\n{nodes}"
    );
    parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

const WRITES: (&str, &str) = ("writes", ">out=rkyv:struct{total:u64}");
const READS: (&str, &str) = ("reads", "<in=rkyv:struct{total:u32}");

/// Nodes by which what `f:writes` makes reaches `f:reads`.
const WAYS: &[(&str, &str)] = &[
    (
        "directly",
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: bytes } }
  b: { function: \"f:reads\", input: { in: a.out }, output: { out: bytes } }
",
    ),
    (
        "an item of a list",
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: list } }
  b: { function: \"f:reads\", foreach: a.out, input: { in: item }, output: { out: bytes } }
",
    ),
    (
        "a list as a whole",
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: list } }
  b: { function: \"f:reads\", input: { in: a.out }, output: { out: bytes } }
",
    ),
    (
        "gathered",
        "  a: { function: \"f:writes\", foreach: input.parts, input: { in: item }, output: { out: bytes } }
  b: { function: \"f:reads\", input: { in: a.out }, output: { out: bytes } }
",
    ),
    (
        "item by item",
        "  a: { function: \"f:writes\", foreach: input.parts, input: { in: item }, output: { out: bytes } }
  b: { function: \"f:reads\", foreach: a.out, input: { in: item }, output: { out: bytes } }
",
    ),
    (
        "a batch",
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: list } }
  b: { function: \"f:reads\", foreach: { list: a.out, batch: 2 }, input: { in: item }, output: { out: bytes } }
",
    ),
    (
        "an optional input",
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: bytes } }
  b: { function: \"f:reads\", input: { in: { from: a.out, optional: true } }, output: { out: bytes } }
",
    ),
    (
        "a join of some",
        "  z: { function: \"f:untold\", input: { in: input.text }, output: { out: bytes } }
  a: { function: \"f:writes\", input: { in: input.text }, output: { out: bytes } }
  b: { function: \"f:reads\", join: any, input: { other: z.out, in: a.out }, output: { out: bytes } }
",
    ),
    (
        "a case of a switch",
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: bytes, v: value } }
  s: { switch: [ { when: \"a.v > 1\", then: b } ], default: [] }
  b: { function: \"f:reads\", input: { in: a.out }, output: { out: bytes } }
",
    ),
    (
        "the second of two",
        "  z: { function: \"f:untold\", input: { in: input.text }, output: { out: bytes } }
  a: { function: \"f:writes\", input: { in: input.text }, output: { out: bytes } }
  b: { function: \"f:reads\", input: { in: { first_of: [z.out, a.out] } }, output: { out: bytes } }
",
    ),
];

#[test]
fn both_ends_of_every_edge_are_compared_whatever_the_way() {
    for (way, nodes) in WAYS {
        let definition = definition(nodes);
        let error = told("w1", &[WRITES, READS]).check(&definition).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`f:writes` (node a) writes `out.total` as u64, and `f:reads` (node b, input `in`) reads it as u32",
            "{way}"
        );
        let same = ("reads", "<in=rkyv:struct{total:u64}");
        told("w1", &[WRITES, same]).check(&definition).unwrap();
        // Where one end says nothing, there is nothing to compare.
        told("w1", &[WRITES]).check(&definition).unwrap();
        told("w1", &[READS]).check(&definition).unwrap();
        told("w1", &[]).check(&definition).unwrap();
    }
}

#[test]
fn an_item_of_the_region_around_is_of_that_region_s_list() {
    let inner = "
workflow: inner
input: { rows: list, whole: bytes }
nodes:
  each: { function: \"f:reads\", foreach: input.rows, input: { row: item, in: input.whole }, output: { out: bytes } }
";
    let outer = "
workflow: w
input: { text: bytes, parts: list }
nodes:
  a: { function: \"f:writes\", input: { in: input.text }, output: { out: list } }
  b: { workflow: inner.yaml, foreach: a.out, input: { rows: input.parts, whole: item } }
";
    let mut others = |_: &std::path::Path| Ok(inner.as_bytes().to_vec());
    let definition = parse_with("w.yaml", outer.as_bytes(), &mut others).unwrap();
    let around = definition.nodes[1]
        .inputs
        .iter()
        .map(|input| input.from[0].value);
    assert!(around.eq([From::Item { up: 0 }, From::Item { up: 1 }]));
    let error = told("w1", &[WRITES, READS])
        .check(&definition)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("(node a) writes `out.total` as u64"),
        "{error}"
    );
    // The rows are another matter.
    let row = ("reads", "<row=rkyv:u8 <in=rkyv:struct{total:u64}");
    told("w1", &[WRITES, row]).check(&definition).unwrap();
}

/// Through workflows within workflows, and regions within regions.
#[test]
fn edges_are_compared_through_workflows_within_workflows() {
    let inner = "
workflow: inner
input: { rows: list, whole: bytes }
nodes:
  each: { function: \"f:reads\", foreach: input.rows, input: { in: item }, output: { out: bytes } }
  made: { function: \"f:writes\", input: { in: input.whole }, output: { out: bytes } }
output: { out: made.out }
";
    let begin = "workflow: w\ninput: { text: bytes, parts: list }\nnodes:\n";
    for (way, outer, writer) in [
        (
            "into it",
            "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: list } }
  b: { workflow: inner.yaml, input: { rows: a.out, whole: input.text } }
",
            "f:writes` (node a) writes `out.total` as u64, and `f:reads` (node b/each",
        ),
        (
            "out of it",
            "  a: { workflow: inner.yaml, input: { rows: input.parts, whole: input.text } }
  b: { function: \"f:reads\", input: { in: a.out }, output: { out: bytes } }
",
            "f:writes` (node a/made) writes `out.total` as u64, and `f:reads` (node b,",
        ),
        (
            "to the items of an item's list",
            "  a: { function: \"f:writes\", foreach: input.parts, input: { in: item }, output: { out: bytes } }
  b: { workflow: inner.yaml, foreach: { list: a.out, batch: 3 }, input: { rows: item, whole: input.text } }
",
            "f:writes` (node a) writes `out.total` as u64, and `f:reads` (node b/each",
        ),
    ] {
        let mut others = |_: &std::path::Path| Ok(inner.as_bytes().to_vec());
        let text = format!("{begin}{outer}");
        let definition = parse_with("w.yaml", text.as_bytes(), &mut others).unwrap();
        let error = told("w1", &[WRITES, READS]).check(&definition).unwrap_err().to_string();
        assert!(error.contains(writer), "{way}: {error}");
    }
}

#[test]
fn what_differs_is_told_by_field_and_in_words() {
    let direct = definition(WAYS[0].1);
    for (writes, reads, words) in [
        (
            ">out=rkyv:struct{a:u8}",
            "<in=rkyv:struct{a:u8,b:bool}",
            "(node a) writes no `out.b`, and `f:reads` (node b, input `in`) reads it as bool",
        ),
        (
            ">out=rkyv:struct{a:u8,b:bool}",
            "<in=rkyv:struct{a:u8}",
            "(node a) writes `out.b` as bool, and `f:reads` (node b, input `in`) knows none",
        ),
        (
            ">*=rkyv:struct{a:u8,b:u8}",
            "<*=rkyv:struct{b:u8,a:u8}",
            "writes `out` as fields with `a` in place 1, and `f:reads` (node b, input `in`) reads it as fields with `b` \
             in place 1",
        ),
        (
            ">out=arrow-ipc",
            "<in=rkyv:bytes",
            "writes `out` as arrow-ipc (raw bytes), and `f:reads` (node b, input `in`) reads it as bytes",
        ),
        (
            ">out=arrow-ipc",
            "<in=parquet",
            "writes `out` as arrow-ipc (raw bytes), and `f:reads` (node b, input `in`) reads it as parquet (raw bytes)",
        ),
    ] {
        let said = told("w1", &[("writes", writes), ("reads", reads)]);
        let error = said.check(&direct).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn two_that_read_one_input_of_the_workflow_say_the_same() {
    let both = definition(
        "  a: { function: \"f:one\", foreach: input.parts, input: { in: item }, output: { out: bytes } }
  b: { function: \"f:two\", input: { in: input.parts }, output: { out: bytes } }
",
    );
    let one = ("one", "<in=rkyv:struct{a:u8}");
    let error = told("w1", &[one, ("two", "<in=rkyv:struct{a:i8}")])
        .check(&both)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "input `parts` of the workflow is read by two that differ: `f:one` (node a, input `in`) takes `.a` for u8, and \
         `f:two` (node b, input `in`) takes `.a` for i8"
    );
    told("w1", &[one, ("two", "<in=rkyv:struct{a:u8}")])
        .check(&both)
        .unwrap();
    // Another input is another matter.
    let apart = definition(
        "  a: { function: \"f:one\", input: { in: input.text }, output: { out: bytes } }
  b: { function: \"f:two\", input: { in: input.more }, output: { out: bytes } }
",
    );
    told("w1", &[one, ("two", "<in=rkyv:struct{a:i8}")])
        .check(&apart)
        .unwrap();
}

#[test]
fn two_builds_of_one_executable_say_the_same_on_all_workers() {
    let direct = definition(WAYS[0].1);
    let mut said = told("w1", &[("writes", ">out=rkyv:u64")]);
    tell(&mut said, "w2", &[("writes", ">out=rkyv:u32")]);
    let error = said.check(&direct).unwrap_err().to_string();
    assert_eq!(
        error,
        "workers w1 and w2 have different builds of `f`: as `f:writes` has it, `out` is u64 on w1, and is u32 on w2"
    );
    // One that says nothing is as raw as ever.
    let mut said = told("w1", &[("writes", ">out=rkyv:u64")]);
    tell(&mut said, "w2", &[("writes", "")]);
    said.check(&direct).unwrap();
}

#[test]
fn what_is_no_description_is_told_by_worker_and_function() {
    let mut said = Said::default();
    said.worker("w1");
    let wrong = FunctionDescription {
        name: "sum".to_owned(),
        inputs: vec![TypedPort {
            port: Some("in".to_owned()),
            schema: "rkyv:u65".to_owned(),
        }],
        outputs: Vec::new(),
    };
    let error = said.tell("f", &[wrong]).unwrap_err().to_string();
    assert_eq!(
        error,
        "worker w1 told of the input in of `f:sum` what is no description: at byte 5 there should be a type"
    );
}

#[test]
fn values_and_what_failed_have_no_types() {
    let definition = definition(
        "  a: { function: \"f:writes\", input: { in: input.text }, output: { out: value }, catch: [ { to: b } ] }
  b: { function: \"f:reads\", input: { in: a.error }, output: { out: bytes } }
",
    );
    let said = told(
        "w1",
        &[("writes", ">*=rkyv:u64"), ("reads", "<in=rkyv:u32")],
    );
    said.check(&definition).unwrap();
}

fn plans(definition: &Definition, said: Said, workers: &[&str]) -> Vec<Plan> {
    let capacities: Vec<_> = workers
        .iter()
        .map(|name| WorkerCapacity::new((*name).to_owned(), 4, 4 << 30))
        .collect();
    let graph = Graph::of(definition);
    let options = place::Options {
        fixed: [
            ("a".to_owned(), "w1".to_owned()),
            ("b".to_owned(), "w2".to_owned()),
        ]
        .into(),
        ..place::Options::default()
    };
    let placement = place::place(&graph, &capacities, &options).unwrap();
    let refs: Vec<_> = workers
        .iter()
        .enumerate()
        .map(|(number, name)| WorkerRef {
            name: (*name).to_owned(),
            address: format!("127.0.0.1:{number}"),
            lanes: 1,
            epoch: 1,
        })
        .collect();
    let terms = Terms {
        deployment: DeploymentId(1),
        replica: Replica::only(DeploymentId(1)),
        version: 1,
        limits: Limits::default(),
    };
    let mut plans = planner::plan(definition, &graph, &placement, &refs, terms);
    said.check(definition).unwrap().add_to(&mut plans);
    plans
}

#[test]
fn plans_say_what_their_worker_s_functions_say() {
    let text = format!("{}output: {{ out: b.out, raw: a.out }}\n", WAYS[3].1);
    let definition = definition(&text);
    let (part, total) = ("rkyv:struct{total:u64}", "rkyv:struct{sum:u128}");
    let writes = format!("<in=rkyv:bytes >out={part}");
    let reads = format!("<in={part} >out={total}");
    let functions = [("writes", &*writes), ("reads", &*reads)];
    let mut said = told("w1", &functions);
    // The other worker's build says nothing of what it reads.
    tell(
        &mut said,
        "w2",
        &[("writes", &writes), ("reads", &format!(">out={total}"))],
    );
    let plans = plans(&definition, said, &["w1", "w2"]);
    let hash = |text: &str| Schema::parse(text).unwrap().hash();
    let types = |worker: usize| {
        let types = plans[worker].types.iter();
        types.map(|one| (one.port, one.schema)).collect::<Vec<_>>()
    };
    let of_workflow = [
        (PortRef::Input(2), hash("rkyv:bytes")),
        (PortRef::Output(0), hash(total)),
        (PortRef::Output(1), hash(part)),
    ];
    let [a, b] = [0, 1].map(|worker| plans[worker].nodes[0].id);
    assert!(
        matches!(plans[1].nodes[0].inputs[0].sources[0], Source::Output { node, .. } if node == a)
    );
    let mut first = of_workflow.to_vec();
    first.push((PortRef::Read { node: a, input: 0 }, hash("rkyv:bytes")));
    first.push((PortRef::Written { node: a, output: 0 }, hash(part)));
    assert_eq!(types(0), first);
    let mut second = of_workflow.to_vec();
    second.push((PortRef::Written { node: b, output: 0 }, hash(total)));
    assert_eq!(types(1), second);
    for plan in &plans {
        plan.check().unwrap();
    }
}

#[test]
fn an_output_that_may_be_one_of_two_types_has_none() {
    let nodes = "  a: { function: \"f:one\", input: { in: input.text }, output: { out: bytes } }
  b: { function: \"f:two\", input: { in: input.text }, output: { out: bytes } }
output: { out: { first_of: [a.out, b.out] } }
";
    let definition = definition(nodes);
    for (two, known) in [("rkyv:u64", true), ("rkyv:u32", false)] {
        let two = format!(">out={two}");
        let said = told("w1", &[("one", ">out=rkyv:u64"), ("two", &two)]);
        let checked = said.check(&definition).unwrap();
        assert_eq!(checked.outputs[0] != 0, known);
    }
}
