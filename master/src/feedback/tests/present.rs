//! How a deployment is placed at present, and what a new placement changes of it.

use crate::definition::{self, Definition};
use crate::division::Division;
use crate::feedback::moves::{Move, moves};
use crate::feedback::present::present;
use crate::feedback::{Served, ServedPlacement};
use crate::graph::Graph;
use crate::place::{self, Options, Placement, WorkerCapacity};
use engine::plan::{Balance, DeploymentId};
use engine::wire::DeployedNode;
use std::collections::BTreeMap;

/// A list, whose items run under this `foreach`, and what gathers them.
fn workflow(foreach: &str) -> Definition {
    let text = format!(
        "
workflow: w
input: {{ n: value }}
nodes:
  all: {{ function: e:f, input: {{ i: next.out }}, output: {{ out: bytes }}, profile: {{ runtime_ms: 3 }} }}
  next: {{ function: e:f, foreach: each.out, input: {{ i: item }}, output: {{ out: bytes }}, profile: {{ runtime_ms: 1, output_bytes: 300 }} }}
  each: {{ function: e:f, {foreach}, input: {{ i: item }}, output: {{ out: bytes }}, profile: {{ runtime_ms: 2, items: 30, output_bytes: 900000 }} }}
  list: {{ function: e:f, output: {{ out: list }}, profile: {{ runtime_ms: 5, output_bytes: 1000000 }} }}
output: {{ o: all.out }}
"
    );
    parse(&text)
}

fn parse(text: &str) -> Definition {
    definition::parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"))
}

const PLAIN: &str = "foreach: list.out";

/// The graph of it, in parts of these weights.
fn divided(definition: &Definition, weights: &[u32]) -> Graph {
    let mut division = Division::default();
    division.set(definition, 0, weights);
    Graph::divided(definition, &division)
}

/// What workers would say of placements of a graph on three of them.
fn served(graph: &Graph, placements: &[Placement]) -> Served {
    let placement = |placement: &Placement| {
        let mut nodes = vec![Vec::new(); 3];
        for (id, node) in (0..).zip(graph.nodes()) {
            nodes[placement.worker(id)].push(DeployedNode {
                id,
                name: node.name.clone(),
                part: node.part,
            });
        }
        ServedPlacement { nodes }
    };
    Served {
        deployment: DeploymentId(1),
        version: 1,
        balance: Balance::Load,
        workers: Vec::new(),
        sources: None,
        members: vec![true; 3],
        placements: placements.iter().map(placement).collect(),
        wholes: BTreeMap::new(),
    }
}

/// The list, `each` and `next` part by part, and what gathers: on these workers.
fn on(workers: &[usize]) -> Placement {
    Placement::new(workers.to_vec())
}

#[test]
fn what_runs_is_placed_and_estimated_as_it_was_when_it_was_deployed() {
    let definition = workflow(PLAIN);
    let graph = divided(&definition, &[1, 3, 2]);
    let names: Vec<&str> = graph.nodes().map(|node| node.name.as_str()).collect();
    let parts = ["each", "next", "each", "next", "each", "next"];
    assert_eq!(names, [&["list"][..], &parts, &["all"]].concat());
    let placements = [on(&[0, 2, 2, 0, 0, 2, 2, 1]), on(&[1, 0, 0, 1, 1, 0, 0, 2])];
    let (told, found) = present(&definition, &served(&graph, &placements)).unwrap();
    assert!(told.nodes().eq(graph.nodes()));
    assert_eq!(found, placements);
    let worker = |name: &str| WorkerCapacity::new(name.to_owned(), 4, 1 << 30);
    let workers = ["a", "b", "c"].map(worker);
    for (one, other) in found.iter().zip(&placements) {
        let options = Options::default();
        let of = |graph, placement| place::estimate(graph, &workers, &options, placement);
        let (one, other) = (of(&told, one), of(&graph, other));
        assert_eq!(one.makespan_ns, other.makespan_ns);
        assert_eq!(one.crossing_bytes, other.crossing_bytes);
    }
}

#[test]
fn a_file_that_is_divided_otherwise_is_none_of_what_runs() {
    let definition = workflow(PLAIN);
    let graph = divided(&definition, &[1, 1, 1]);
    let runs = served(&graph, &[on(&[0, 1, 1, 2, 2, 0, 0, 1])]);
    let refused = |file: &Definition| present(file, &runs).unwrap_err().to_string();
    for (foreach, why) in [
        (
            "foreach: { list: list.out, divide: never }",
            "each runs in 3 parts, and their foreach says `divide: never`",
        ),
        (
            "foreach: { list: list.out, parallelism: 2 }",
            "each runs in 3 parts, and may have fewer of them there",
        ),
    ] {
        let said = refused(&workflow(foreach));
        assert!(said.contains("other nodes than what is deployed"), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let plain = parse(
        "{ workflow: w, nodes: { list: { function: e:f }, each: { function: e:f }, next: { function: e:f }, all: { function: e:f } } }",
    );
    assert!(refused(&plain).contains("each runs in 3 parts, and for no list there"));
    let fewer = parse("{ workflow: w, nodes: { list: { function: e:f } } }");
    assert!(refused(&fewer).contains("it has no all"));
    // Another way to say the same is the same.
    assert!(present(&workflow("foreach: { list: list.out, divide: 2 }"), &runs).is_ok());
    // A node that there is not yet.
    let whole = served(&Graph::of(&definition), &[on(&[0, 1, 1, 2])]);
    let (graph, found) = present(&definition, &whole).unwrap();
    assert_eq!(
        (graph.node_count(), found[0].workers()),
        (4, &[0, 1, 1, 2][..])
    );
    let mut without = whole.clone();
    without.placements[0].nodes[2].clear();
    let said = present(&definition, &without).unwrap_err().to_string();
    assert!(said.contains("all is not deployed"), "{said}");
}

/// What moves, as node, new placement, present one, from and to.
fn moved(old: (&Graph, &[Placement]), new: (&Graph, &[Placement])) -> Vec<Move> {
    moves(old, new, &|worker| ["a", "b", "c"][worker].to_owned())
}

#[test]
fn what_moves_is_told_part_by_part_and_placements_are_compared_with_those_that_they_are_like() {
    let definition = workflow(PLAIN);
    let (whole, halves) = (Graph::of(&definition), divided(&definition, &[1, 1]));
    let first = on(&[0, 0, 0, 1, 1, 2]);
    let second = on(&[1, 1, 1, 2, 2, 0]);
    let both = [first.clone(), second.clone()];
    assert_eq!(moved((&halves, &both), (&halves, &both)), []);
    let swapped = [second.clone(), first.clone()];
    assert_eq!(moved((&halves, &both), (&halves, &swapped)), []);

    // One part goes elsewhere.
    let changed = [on(&[0, 0, 0, 2, 2, 2]), second.clone()];
    let told = moved((&halves, &swapped), (&halves, &changed));
    let of = |node: &str, from: &str, to: &str| Move {
        node: node.to_owned(),
        placement: 1,
        instead_of: Some(2),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let parts = ("a 50 %, b 50 %", "a 50 %, c 50 %");
    assert_eq!(
        told,
        [of("next", parts.0, parts.1), of("each", parts.0, parts.1)]
    );

    // What was whole is divided, or by other shares.
    let told = moved(
        (&whole, &[on(&[0, 1, 1, 2])]),
        (&halves, std::slice::from_ref(&first)),
    );
    let one = Move {
        instead_of: Some(1),
        ..of("next", "b", "a 50 %, b 50 %")
    };
    assert_eq!(told[0], one);
    assert_eq!(told.len(), 2);
    let thirds = divided(&definition, &[2, 1]);
    let alone = std::slice::from_ref(&first);
    let told = moved((&halves, alone), (&thirds, alone));
    assert_eq!((told.len(), told[0].to.as_str()), (2, "a 67 %, b 33 %"));

    // One placement more, which none takes the place of.
    let told = moved((&halves, alone), (&halves, &both));
    let new = told
        .iter()
        .map(|one| (one.placement, one.instead_of, one.from.as_str()));
    assert!(new.eq([(2, None, ""); 4]));
    // One fewer.
    assert_eq!(moved((&halves, &both), (&halves, &[second])), []);
}
