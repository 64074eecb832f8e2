//! The estimator on regions: as engines run them, whatever is taken as one. Times are milliseconds.

use super::*;
use crate::division::Division;

/// No time between workers, and no CPU that is short.
fn wide(count: usize) -> Vec<WorkerCapacity> {
    let named = |index: usize| WorkerCapacity {
        executors: 1 << 20,
        ..WorkerCapacity::new(format!("w{index}"), 4096, 1 << 40)
    };
    (0..count).map(named).collect()
}

fn estimated(graph: &Graph, placed: &[usize]) -> Estimate {
    let count = placed.iter().max().map_or(1, |most| most + 1);
    let options = Options {
        quota_bytes: Some(u64::MAX),
        ..Options::default()
    };
    let placement = Placement {
        workers: placed.to_vec(),
    };
    estimate(graph, &wide(count), &options, &placement)
}

/// The makespan on one worker, which no bound may exceed.
fn alone_ms(text: &str) -> f64 {
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let ms = estimated(&graph, &vec![0; graph.node_count()]).makespan_ns / 1e6;
    let bound_ms = lower_bound_ns(&graph, &wide(1)) / 1e6;
    assert!(bound_ms <= ms * (1.0 + 1e-9), "{bound_ms} bounds {ms}");
    ms
}

/// Within one in a hundred, and ways through the engine.
fn near(found: f64, expected: f64) {
    assert!(
        (expected * 0.99..expected * 1.01 + 0.5).contains(&found),
        "{found} for {expected}"
    );
}

fn each(items: u64, runtime_ms: u32, scale: u32, more: &str) -> String {
    format!(
        "{{ workflow: w, input: {{ l: list }}, nodes: {{ n: {{ function: e:f, foreach: {{ list: input.l{more} }}, \
         profile: {{ items: {items}, runtime_ms: {runtime_ms}, busy: 0 }}, resources: {{ scale: {scale} }} }} }} }}"
    )
}

#[test]
fn long_lists_take_as_long_as_all_of_their_items() {
    for (items, scale, expected) in [
        (40, 4, 100.0),
        (5000, 1000, 50.0),
        (600, 600, 10.0),
        (1000, 400, 30.0),
        (10_000, 10, 10_000.0),
        (100_000, 64, 15_625.0),
    ] {
        near(alone_ms(&each(items, 10, scale, "")), expected);
    }
}

#[test]
fn a_limit_of_items_at_once_holds_for_long_lists_too() {
    for (items, most, expected) in [
        (10_000, 10, 10_000.0),
        (1000, 5, 2000.0),
        (8, 1, 80.0),
        (2048, 64, 320.0),
    ] {
        let text = each(items, 10, 64, &format!(", parallelism: {most}"));
        near(alone_ms(&text), expected);
    }
}

#[test]
fn many_regions_beside_each_other_keep_all_executors_busy() {
    let mut text = "workflow: w\ninput: { l: list }\nnodes:\n".to_owned();
    for node in 0..128 {
        text += &format!(
            "  n{node}: {{ function: e{node}:f, foreach: input.l, profile: {{ items: 63, runtime_ms: 10, busy: 0 }}, \
             resources: {{ scale: 63 }} }}\n"
        );
    }
    near(alone_ms(&text), 10.0);
}

#[test]
fn items_that_only_wait_do_so_all_at_once() {
    let text = |more: &str| {
        format!(
            "{{ workflow: w, input: {{ l: list }}, nodes: {{ n: {{ function: e:f, foreach: input.l, delay_ms: 1000, \
             profile: {{ items: 500, runtime_ms: 0 }} }}{more} }} }}"
        )
    };
    near(alone_ms(&text("")), 1000.0);
    // What another node makes of each of them is kept, and so there are no more than the engine holds open.
    let chained = ", m: { function: e:g, foreach: n.o, profile: { runtime_ms: 0 } }";
    let text = text(chained).replace("delay_ms", "output: { o: bytes }, delay_ms");
    near(alone_ms(&text), 8000.0);
}

#[test]
fn what_limits_items_makes_their_delays_pass_in_turn() {
    let text = |items: u32, limit: &str| {
        format!(
            "{{ workflow: w, input: {{ l: list }}, nodes: {{ n: {{ function: e:f, foreach: {{ list: input.l{limit} }}, \
             delay_ms: 1000, profile: {{ items: {items}, runtime_ms: 0, busy: 0 }} }} }} }}"
        )
    };
    near(alone_ms(&text(514, ", parallelism: 1")), 514_000.0);
    near(alone_ms(&text(30_000, ", parallelism: 1")), 3e7);
    near(alone_ms(&text(30_000, ", parallelism: 100")), 3e5);
    // What an executor has to do for each of them comes to 10 us.
    near(alone_ms(&text(30_000, ", parallelism: 3000")), 10_300.0);
    // No more than the engine holds open.
    near(alone_ms(&text(3 * 4096, "")), 3123.0);
    let within = "{ list: \"over.o[item]\", parallelism: 2 }";
    let text = WITHIN.replace("LIST", within).replace("SCALE", "1");
    let text = text.replace("resources: {", "delay_ms: 10, resources: {");
    let text = text.replace("OUTER", "1").replace("INNER", "500");
    near(
        alone_ms(&text.replace("runtime_ms: 10", "runtime_ms: 0")),
        2501.0,
    );
}

const WITHIN: &str = "
workflow: w
input: { l: list }
nodes:
  over: { function: e:f, foreach: input.l, output: { o: list }, profile: { items: OUTER, runtime_ms: 1, busy: 0 } }
  inner: { function: g:f, foreach: LIST, profile: { items: INNER, runtime_ms: 10, busy: 0 }, resources: { scale: SCALE } }
";

#[test]
fn items_of_a_region_within_run_beside_each_other() {
    let text = |outer: u32, inner: u32, scale: u32, list: &str| {
        WITHIN
            .replace("OUTER", &outer.to_string())
            .replace("INNER", &inner.to_string())
            .replace("SCALE", &scale.to_string())
            .replace("LIST", list)
    };
    near(alone_ms(&text(1, 64, 64, "\"over.o[item]\"")), 11.0);
    near(alone_ms(&text(1, 64, 16, "\"over.o[item]\"")), 41.0);
    let limited = "{ list: \"over.o[item]\", parallelism: 8 }";
    near(alone_ms(&text(1, 64, 64, limited)), 81.0);
    // The executors have all that they can do from the fourth millisecond on.
    near(alone_ms(&text(20, 8, 32, "\"over.o[item]\"")), 54.0);
}

#[test]
fn a_join_of_some_begins_with_as_many_as_it_joins() {
    let text = |join: &str| {
        format!(
            "{{ workflow: w, nodes: {{ a: {{ function: a:f, profile: {{ runtime_ms: 1000, busy: 0 }} }}, \
             b: {{ function: b:f, profile: {{ runtime_ms: 10, busy: 0 }} }}, \
             c: {{ function: c:f, after: [a, b], profile: {{ runtime_ms: 1000, busy: 0 }}{join} }} }} }}"
        )
    };
    near(alone_ms(&text("")), 2000.0);
    near(alone_ms(&text(", join: any")), 1010.0);
    near(alone_ms(&text(", join: { at_least: 2 }")), 2000.0);
}

#[test]
fn nodes_are_told_before_regions_as_by_the_engine() {
    // Of two executors one runs `side`, the other what it can of the items meanwhile.
    let text = "
workflow: w
input: { l: list }
nodes:
  first: { function: f:f, profile: { runtime_ms: 10, busy: 0 } }
  work: { function: e:f, foreach: input.l, after: first, profile: { items: 40, runtime_ms: 20, busy: 0 }, resources: { scale: 2 } }
  side: { function: e:f, after: first, profile: { runtime_ms: 400, busy: 0 } }
";
    near(alone_ms(text), 610.0);
}

fn divided(text: &str, weights: &[u32]) -> Graph {
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let mut division = Division::default();
    division.set(&definition, 0, weights);
    Graph::divided(&definition, &division)
}

#[test]
fn parts_on_one_worker_have_the_executors_of_all() {
    let text = each(8, 10, 4, "");
    let graph = divided(&text, &[3, 1]);
    near(estimated(&graph, &[0, 0]).makespan_ns / 1e6, 20.0);
    near(estimated(&graph, &[0, 1]).makespan_ns / 1e6, 20.0);
    let halves = divided(&text, &[1, 1]);
    near(estimated(&halves, &[0, 0]).makespan_ns / 1e6, 20.0);
    assert!(lower_bound_ns(&halves, &wide(1)) / 1e6 <= 20.1);
}

#[test]
fn a_part_is_sent_its_items_alone() {
    let text = "
workflow: w
nodes:
  make: { function: m:f, output: { l: list, v: value }, profile: { output_bytes: { l: 100000000, v: 1000 } } }
  each: { function: e:f, foreach: make.l, input: { v: make.v }, output: { o: bytes }, profile: { items: 100, output_bytes: 4000000 } }
  last: { function: z:f, input: { o: each.o } }
";
    let graph = divided(text, &[1, 1, 1, 1]);
    // Nodes are make, four parts, last.
    let crossing = |placed: &[usize]| estimated(&graph, placed).crossing_bytes;
    assert_eq!(crossing(&[0, 1, 2, 3, 4, 0]), 104_004_000.0);
    // Two of them on one worker are sent both their sections, and the other output once.
    assert_eq!(crossing(&[0, 1, 1, 0, 0, 0]), 52_001_000.0);
    let whole = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    assert_eq!(estimated(&whole, &[0, 1, 0]).crossing_bytes, 104_001_000.0);
    // What reads the list besides gets all of it.
    let both = text.replace("input: { v: make.v }", "input: { v: make.v, all: make.l }");
    let graph = divided(&both, &[1, 1]);
    assert_eq!(
        estimated(&graph, &[0, 1, 1, 1]).crossing_bytes,
        100_001_000.0
    );
}

#[test]
fn of_many_outputs_those_that_are_read_count_however_many_there_are() {
    let mut text = "workflow: w\ninput: { l: list }\nnodes:\n".to_owned();
    for node in 0..80 {
        let from = if node == 0 {
            "input.l".to_owned()
        } else {
            format!("n{}.o", node - 1)
        };
        text += &format!(
            "  n{node}: {{ function: e:f, foreach: {from}, output: {{ o: bytes }}, profile: {{ output_bytes: 1000000 }} }}\n"
        );
    }
    text += "  last: { function: z:f, input: { o: n79.o } }\n";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let mut placed = vec![0; 81];
    placed[80] = 1;
    let estimate = estimated(&graph, &placed);
    assert_eq!(estimate.crossing_bytes, 1_000_000.0);
}

#[test]
fn what_does_not_run_in_a_region_sends_nothing() {
    let text = "
workflow: w
input: { l: list }
nodes:
  s: { function: e:f, output: { v: value } }
  choose: { switch: [ { when: s.v > 1, then: often } ], default: [second] }
  often: { function: e:f, profile: { runs: 0.75 } }
  first: { function: e:f, foreach: input.l, output: { o: bytes } }
  second: { function: e:f, foreach: first.o, output: { o: bytes }, profile: { output_bytes: 1000000, runs: 0.25 } }
  last: { function: z:f, input: { o: { from: second.o, optional: true } } }
";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let placed: Vec<usize> = graph
        .nodes()
        .map(|node| usize::from(node.name == "last"))
        .collect();
    let estimate = estimated(&graph, &placed);
    assert_eq!(estimate.crossing_bytes, 250_000.0);
}

#[test]
fn a_region_of_many_nodes_and_items_is_looked_at_within_bounds() {
    let mut text = "workflow: w\ninput: { l: list }\nnodes:\n".to_owned();
    for node in 0..2000 {
        let from = if node == 0 {
            "input.l".to_owned()
        } else {
            format!("n{}.o", node - 1)
        };
        text += &format!(
            "  n{node}: {{ function: e:f, foreach: {from}, output: {{ o: bytes }}, profile: {{ items: 100000 }} }}\n"
        );
    }
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let model = Model::of(&graph, &wide(1), &Network::default(), u64::MAX);
    let tasks: u64 = model
        .regions
        .iter()
        .map(|r| u64::from(r.items) * r.steps.len() as u64)
        .sum();
    assert!(tasks <= 1 << 17, "{tasks}");
    let _ = estimated(&graph, &vec![0; 2000]);
}
