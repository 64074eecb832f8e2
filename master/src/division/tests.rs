//! What may be divided, into what, and when it is.

use super::*;
use crate::definition::{Work, parse};
use crate::graph::Graph;
use crate::place::{Options, PlaceError, WorkerCapacity};
use crate::planner::{Terms, plan};
use engine::plan::{DeploymentId, Limits, Plan, Replica, Source, WorkerRef};

mod speed;

const GIB: u64 = 1 << 30;

fn definition(foreach: &str, resources: &str) -> Definition {
    let text = format!(
        "
workflow: w
input: {{ list: list, other: list }}
nodes:
  make: {{ function: e:make, output: {{ chunks: list }} }}
  each: {{ function: f:each, foreach: {foreach}, input: {{ i: item }}, output: {{ o: bytes }}, resources: {resources} }}
  then: {{ function: f:then, foreach: each.o, input: {{ i: item }}, output: {{ o: bytes }} }}
  all: {{ function: e:all, input: {{ all: then.o }}, output: {{ o: bytes }} }}
output: {{ each: each.o, all: all.o }}
"
    );
    parse("w.yaml", text.as_bytes()).unwrap()
}

fn placed(
    definition: &Definition,
    workers: &[WorkerCapacity],
    options: &Options,
) -> Result<(Graph, crate::place::Placement), DivisionError> {
    let mut placed = place(definition, workers, options, 1)?;
    Ok((placed.graph, placed.placements.remove(0)))
}

fn workers(cpus: &[u32]) -> Vec<WorkerCapacity> {
    let worker =
        |(number, cpus): (usize, &u32)| WorkerCapacity::new(format!("w{number}"), *cpus, 64 * GIB);
    cpus.iter().enumerate().map(worker).collect()
}

fn plans(definition: &Definition, graph: &Graph, placement: &crate::place::Placement) -> Vec<Plan> {
    let count = placement.workers().iter().max().unwrap() + 1;
    let workers: Vec<WorkerRef> = (0..count)
        .map(|number| WorkerRef {
            name: format!("w{number}"),
            address: format!("127.0.0.1:{}", 7000 + number),
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
    let plans = plan(definition, graph, placement, &workers, terms);
    for plan in &plans {
        plan.check().unwrap();
    }
    plans
}

/// The parts of `each`: its executors, and its worker.
fn parts(graph: &Graph, placement: &crate::place::Placement) -> Vec<(u32, usize)> {
    let nodes = (0..).zip(graph.nodes());
    let each = nodes.filter(|(_, node)| node.name == "each");
    each.map(|(id, node)| (node.scale, placement.worker(id)))
        .collect()
}

#[test]
fn what_fits_one_worker_is_not_divided() {
    let definition = definition("input.list", "{ scale: 8 }");
    let (graph, placement) = placed(&definition, &workers(&[8, 8]), &Options::default()).unwrap();
    assert_eq!(parts(&graph, &placement).len(), 1);
}

#[test]
fn what_fits_no_worker_is_divided_among_as_few_as_can_take_it() {
    let definition = definition("input.list", "{ scale: 64 }");
    for (cpus, expected) in [
        (&[12, 12, 12][..], vec![22, 22, 22]),
        (&[16, 16, 16], vec![32, 32]),
        (&[4, 28, 4], vec![56, 8]),
        (&[8, 8, 8, 8, 8], vec![16, 16, 16, 16]),
    ] {
        let found = placed(&definition, &workers(cpus), &Options::default());
        let (graph, placement) = found.unwrap_or_else(|error| panic!("{cpus:?}: {error}"));
        let parts = parts(&graph, &placement);
        let scales: Vec<u32> = parts.iter().map(|(scale, _)| *scale).collect();
        assert_eq!(scales, expected, "{cpus:?}");
        let on: std::collections::BTreeSet<usize> =
            parts.iter().map(|(_, worker)| *worker).collect();
        assert_eq!(
            on.len(),
            parts.len(),
            "{cpus:?}: each on a worker of its own"
        );
    }
}

#[test]
fn what_does_not_fit_beside_others_is_divided_as_well() {
    // `a` and `b` leave two executors on each worker.
    let text = "
workflow: w
input: { list: list }
nodes:
  a: { function: a:f, resources: { scale: 4 } }
  b: { function: b:f, resources: { scale: 4 } }
  each: { function: f:each, foreach: input.list, input: { i: item }, resources: { scale: 4 } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let (graph, placement) = placed(&definition, &workers(&[3, 3]), &Options::default()).unwrap();
    let parts = parts(&graph, &placement);
    assert_eq!(parts.len(), 2);
    assert_eq!(parts.iter().map(|(scale, _)| scale).sum::<u32>(), 4);
}

#[test]
fn what_is_to_be_apart_is_divided_to_make_room_whatever_the_partitioner() {
    // Where `d` is apart from `c` and `f`, `f` has room only in parts.
    let text = "
workflow: mini
input: { l: list }
nodes:
  a: { function: a:run, resources: { scale: 4, memory_mib: 64 } }
  b: { function: b:run, resources: { memory_mib: 256 }, apart: a }
  c: { function: c:run, resources: { memory_mib: 128 }, output: { l: list } }
  f: { function: f:run, foreach: { list: c.l }, input: { i: item }, output: { o: bytes }, resources: { scale: 4, cpus: 2, memory_mib: 256 }, profile: { items: 100 } }
  d: { function: d:run, resources: { memory_mib: 256 }, apart: [c, f] }
  e: { function: e:run, input: { o: f.o }, resources: { scale: 2, memory_mib: 256 } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let sizes = [(4, 2048), (2, 512), (1, 256), (8, 512)];
    let workers = (0..).zip(sizes).map(|(number, (cpus, memory_mib))| {
        WorkerCapacity::new(format!("w{number}"), cpus, memory_mib << 20)
    });
    let workers: Vec<WorkerCapacity> = workers.collect();
    for (name, partitioner) in crate::place::Partitioner::ALL {
        let options = Options {
            partitioner,
            ..Options::default()
        };
        let found = placed(&definition, &workers, &options);
        assert!(found.is_ok(), "{name}: {:?}", found.err());
    }
}

#[test]
fn a_file_may_ask_for_parts_and_forbid_them() {
    let asked = definition("{ list: input.list, divide: 3 }", "{ scale: 3 }");
    let found = placed(&asked, &workers(&[8, 8, 8]), &Options::default()).unwrap();
    assert_eq!(parts(&found.0, &found.1).len(), 3);
    let fewer = definition(
        "{ list: input.list, divide: 3, parallelism: 2 }",
        "{ scale: 3 }",
    );
    let found = placed(&fewer, &workers(&[8, 8, 8]), &Options::default()).unwrap();
    assert_eq!(
        parts(&found.0, &found.1).len(),
        2,
        "one item at once for each"
    );

    for (foreach, reason) in [
        ("{ list: input.list, divide: never }", Refusal::Never),
        ("{ list: input.list, parallelism: 1 }", Refusal::OneAtOnce),
    ] {
        let definition = definition(foreach, "{ scale: 64 }");
        let error = placed(&definition, &workers(&[8, 8]), &Options::default()).unwrap_err();
        let DivisionError::Refused { nodes, refusal, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((nodes.as_str(), refusal), ("each, then", reason));
    }
}

#[test]
fn what_is_pinned_is_not_divided() {
    let mut options = Options::default();
    options.fixed.insert("then".into(), "w1".into());
    let asked = definition("{ list: input.list, divide: 2 }", "{ scale: 2 }");
    let (graph, placement) = placed(&asked, &workers(&[8, 8]), &options).unwrap();
    assert_eq!(parts(&graph, &placement), [(2, 1)]);
    let large = definition("input.list", "{ scale: 64 }");
    let error = placed(&large, &workers(&[8, 8]), &options).unwrap_err();
    assert!(
        matches!(
            error,
            DivisionError::Refused {
                refusal: Refusal::Pinned,
                ..
            } | DivisionError::Place(PlaceError::Fixed { .. })
        ),
        "{error}"
    );
}

#[test]
fn what_fits_nowhere_even_in_parts_is_refused_as_it_is() {
    let definition = definition("input.list", "{ scale: 64 }");
    let error = placed(&definition, &workers(&[4, 4]), &Options::default()).unwrap_err();
    let DivisionError::Place(PlaceError::Node { node, overload }) = error else {
        panic!("{error}")
    };
    assert_eq!((node.as_str(), overload.wanted), ("each", 64));
}

#[test]
fn parts_together_have_the_parallelism_of_the_whole() {
    let definition = definition("{ list: input.list, parallelism: 10 }", "{ scale: 4 }");
    let mut division = Division::default();
    division.set(&definition, 0, &[5, 1, 1]);
    let at_once: Vec<u32> = (0..3)
        .map(|number| at_once(division.part(0, number).unwrap(), 10))
        .collect();
    assert_eq!(at_once, [6, 2, 2]);
    division.set(&definition, 0, &[1; 20]);
    assert_eq!(division.parts(0), 10, "each has one at least");
}

#[test]
fn weights_that_are_none_or_too_large_are_no_matter() {
    let definition = definition("input.list", "{ scale: 4 }");
    let mut division = Division::default();
    division.set(&definition, 0, &[u32::MAX, 0, u32::MAX, 1]);
    assert_eq!(division.parts(0), 3);
    let last = division.part(0, 2).unwrap().share;
    assert_eq!(last.behind, last.whole);
    assert!(last.first < last.behind);
    division.set(&definition, 0, &[7]);
    assert!(division.is_none());
}

#[test]
fn a_part_is_planned_with_what_it_needs_of_its_list_and_no_more() {
    let definition = definition("make.chunks", "{ scale: 4 }");
    let mut division = Division::default();
    division.set(&definition, 0, &[3, 1]);
    let graph = Graph::divided(&definition, &division);
    let names: Vec<&str> = graph.nodes().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["make", "each", "then", "each", "then", "all"]);
    let mut options = Options::default();
    options.fixed.insert("make".into(), "w0".into());
    options.fixed.insert("all".into(), "w0".into());
    // The parts are too large to be on one worker.
    let placement = crate::place::place(&graph, &workers(&[2, 1]), &options).unwrap();
    assert_eq!(parts(&graph, &placement), [(3, 0), (1, 1)]);
    let plans = plans(&definition, &graph, &placement);
    let make = &plans[0].nodes[0];
    let told = &make.remote_consumers[0];
    assert_eq!((told.worker, &told.outputs[..]), (1, &[0][..]));
    let section = told.sections[0];
    assert_eq!((section.of(100), section.of(0)), (75..100, 0..0));
    // `all` waits for both parts as one.
    let all = plans[0]
        .nodes
        .iter()
        .find(|node| node.name == "all")
        .unwrap();
    let whole = &plans[0].wholes[0];
    let source = Source::Output {
        node: whole.id,
        output: 0,
    };
    assert_eq!(all.inputs[0].sources, [source]);
    assert_eq!(whole.parts, [2, 4]);
    let outputs: Vec<usize> = plans[1]
        .outputs
        .iter()
        .map(|one| one.sources.len())
        .collect();
    assert_eq!(outputs, [2, 1], "each part hands over its own");
    assert!(matches!(definition.nodes[1].work, Work::Function { .. }));
}

#[test]
fn a_list_that_others_read_as_well_goes_there_whole() {
    let text = "
workflow: w
input: { list: list }
nodes:
  each: { function: f:each, foreach: input.list, input: { i: item }, output: { o: bytes }, resources: { scale: 2 } }
  reads: { function: e:all, input: { list: input.list } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let mut division = Division::default();
    division.set(&definition, 0, &[1, 1]);
    let graph = Graph::divided(&definition, &division);
    for (worker, whole) in [("w0", [true, false]), ("w1", [false, true])] {
        let mut options = Options::default();
        options.fixed.insert("reads".into(), worker.into());
        let placement = crate::place::place(&graph, &workers(&[1, 1]), &options).unwrap();
        let on: Vec<usize> = parts(&graph, &placement).iter().map(|one| one.1).collect();
        assert_eq!(on.len(), 2);
        if on[0] == on[1] {
            continue;
        }
        let plans = plans(&definition, &graph, &placement);
        let sections = plans[0].participants.iter();
        let all: Vec<bool> = sections.map(|part| part.sections.is_empty()).collect();
        assert_eq!(all, whole);
    }
}

#[test]
fn a_reason_is_said_in_words() {
    let text = "
workflow: w
input: { list: list }
nodes:
  cut: { function: f:cut, foreach: input.list, input: { i: item }, output: { l: list } }
  each: { function: f:each, foreach: 'cut.l[item]', input: { i: item } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    assert_eq!(refused(&definition, 0), None);
    let within = refused(&definition, 1).unwrap();
    assert_eq!(within, Refusal::Within);
    assert!(within.to_string().contains("another foreach"));
}
