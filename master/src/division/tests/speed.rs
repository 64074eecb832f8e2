//! Regions that are divided because it is faster: which, among which workers, and what never happens.

use super::*;
use crate::division::{Placed, place};
use crate::place::{self, Effort, Partitioner, Placement};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A foreach of 1000 items of 10 ms, of which nothing else is in its workflow.
fn alone(foreach: &str, scale: u32, profile: &str) -> Definition {
    let text = format!(
        "
workflow: w
input: {{ list: list }}
nodes:
  each:
    function: f:each
    foreach: {foreach}
    input: {{ i: item }}
    resources: {{ scale: {scale} }}
    profile: {{ {profile} }}
"
    );
    parse("w.yaml", text.as_bytes()).unwrap()
}

const TEN_MS: &str = "runtime_ms: 10, items: 1000";
/// An item of these, with its way through the engine.
const ITEM_NS: f64 = 10.01e6;

/// Parts of a node: the share of the items in percent, executors, and worker.
fn parts_of(placed: &Placed, name: &str) -> Vec<(u32, u32, usize)> {
    let nodes = (0..).zip(placed.graph.nodes());
    let own = nodes.filter(|(_, node)| node.name == name);
    let part = |(id, node): (u32, &crate::graph::GraphNode)| {
        let share = |part: Part| 100 * (part.share.behind - part.share.first) / part.share.whole;
        let percent = node.part.map_or(100, share);
        (percent, node.scale, placed.placements[0].worker(id))
    };
    own.map(part).collect()
}

fn is_about(is_ns: f64, expected_ns: f64) -> bool {
    (is_ns - expected_ns).abs() < 1e-6 * expected_ns
}

#[test]
fn a_foreach_that_two_workers_run_in_half_the_time_is_divided() {
    // Four executors on two CPUs: 1000 × 10.01 / 2 ms. Two on two CPUs of each worker: 500 × 10.01 / 2 ms.
    let definition = alone("input.list", 4, TEN_MS);
    let placed = place(&definition, &workers(&[2, 2]), &Options::default(), 1).unwrap();
    assert_eq!(parts_of(&placed, "each"), [(50, 2, 0), (50, 2, 1)]);
    let faster = placed.faster.unwrap();
    assert_eq!(faster.regions, [0]);
    assert!(is_about(faster.makespan_ns, 500.0 * ITEM_NS), "{faster:?}");
    let now_ns = placed.found.makespan_ns;
    assert!(is_about(now_ns, 250.0 * ITEM_NS), "{now_ns}");
    let whole = faster.undivided.nodes();
    assert_eq!(whole.len(), faster.placement.workers().len());
}

#[test]
fn executors_are_dealt_out_by_cpus_and_speeds_and_become_no_more() {
    // Twelve executors, each for a twelfth of the items. On `w0` (4 CPUs) four run at once, on `w1` (2 CPUs of half the speed)
    // as much as one, on `w2` (2 CPUs) two. With 7, 1 and 4 of them the parts take 7/4, 1/1 × 2 and 4/2 twelfths of 10.01 s:
    // one more for `w0` would take 8/4, no longer than `w1` and `w2`, and leave 1 and 3.
    let definition = alone("input.list", 12, TEN_MS);
    let mut cluster = workers(&[4, 2, 2]);
    cluster[1].speed = 0.5;
    for worker in &mut cluster {
        worker.executors = 12;
    }
    let placed = place(&definition, &cluster, &Options::default(), 1).unwrap();
    let parts = parts_of(&placed, "each");
    assert_eq!(parts.iter().map(|part| part.1).sum::<u32>(), 12);
    let takes = |(_, executors, worker): &(u32, u32, usize)| {
        let cpus = [4.0, 1.0, 2.0][*worker];
        let alone = [1.0, 2.0, 1.0][*worker];
        (f64::from(*executors) / cpus).max(alone)
    };
    let longest = parts.iter().map(takes).fold(0.0, f64::max);
    assert_eq!(longest, 2.0, "{parts:?}");
    let now_ns = placed.found.makespan_ns;
    let expected_ns = 2.0 * 1000.0 * ITEM_NS / 12.0;
    // Items are whole ones: one more or less of some eighty.
    assert!((now_ns / expected_ns - 1.0).abs() < 0.03, "{now_ns}");

    // Five executors on seven CPUs are kept busy by two workers, so that the slow one has none.
    let definition = alone("input.list", 5, TEN_MS);
    let placed = place(&definition, &cluster, &Options::default(), 1).unwrap();
    assert_eq!(parts_of(&placed, "each"), [(80, 4, 0), (20, 1, 2)]);
}

#[test]
fn what_gains_nothing_or_is_not_to_be_is_not_divided() {
    let cluster = workers(&[2, 2]);
    let auto = Options::default();
    let mut pinned = Options::default();
    pinned.fixed.insert("each".into(), "w1".into());
    let heft = Options {
        partitioner: Partitioner::Heft,
        ..Options::default()
    };
    let never = "{ list: input.list, divide: never }";
    let one_at_once = "{ list: input.list, parallelism: 1 }";
    for (why, foreach, scale, profile, options) in [
        ("never", never, 4, TEN_MS, &auto),
        ("one at once", one_at_once, 4, TEN_MS, &auto),
        ("pinned", "input.list", 4, TEN_MS, &pinned),
        ("heft", "input.list", 4, TEN_MS, &heft),
        (
            "items are unknown",
            "input.list",
            4,
            "runtime_ms: 10000",
            &auto,
        ),
        ("two CPUs do for two", "input.list", 2, TEN_MS, &auto),
        (
            "executors that sleep",
            "input.list",
            4,
            "runtime_ms: 10, items: 1000, busy: 0",
            &auto,
        ),
    ] {
        let definition = alone(foreach, scale, profile);
        let placed = place(&definition, &cluster, options, 1).unwrap();
        assert!(placed.faster.is_none(), "{why}");
        assert_eq!(placed.graph.node_count(), 1, "{why}");
    }
    let definition = alone("input.list", 4, TEN_MS);
    let one = place(&definition, &workers(&[4]), &auto, 1).unwrap();
    assert!(one.faster.is_none());
}

/// `long` for so many milliseconds, and then a foreach of 100 ms on two CPUs, or 50 on four.
fn behind(long_ms: u32) -> Definition {
    let text = format!(
        "
workflow: w
nodes:
  long: {{ function: l:f, output: {{ list: list }}, profile: {{ runtime_ms: {long_ms} }} }}
  each:
    function: f:each
    foreach: long.list
    input: {{ i: item }}
    resources: {{ scale: 4 }}
    profile: {{ runtime_ms: 10, items: 20 }}
"
    );
    parse("w.yaml", text.as_bytes()).unwrap()
}

#[test]
fn a_gain_that_is_too_small_is_none() {
    // 50 of 800 ms are more than 5 %, 50 of 1200 ms are less.
    for (long_ms, divided) in [(700, true), (1100, false)] {
        let placed = place(&behind(long_ms), &workers(&[2, 2]), &Options::default(), 1).unwrap();
        assert_eq!(placed.faster.is_some(), divided, "{long_ms} ms");
    }
}

#[test]
fn two_that_only_together_keep_the_end_waiting_are_divided_together() {
    let text = "
workflow: w
input: { list: list }
nodes:
  left: { function: l:f, foreach: input.list, input: { i: item }, resources: { scale: 8 }, profile: { runtime_ms: 10, items: 64 } }
  right: { function: r:f, foreach: input.list, input: { i: item }, resources: { scale: 8 }, profile: { runtime_ms: 10, items: 64 } }
  short: { function: s:f, foreach: input.list, input: { i: item }, resources: { scale: 2 }, profile: { runtime_ms: 1, items: 64 } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let mut cluster = workers(&[2, 2, 2, 2]);
    for worker in &mut cluster {
        worker.executors = 16;
    }
    let placed = place(&definition, &cluster, &Options::default(), 1).unwrap();
    let faster = placed.faster.clone().unwrap();
    assert_eq!(faster.regions, [0, 1], "`short` gains nothing");
    assert!(placed.found.makespan_ns < 0.8 * faster.makespan_ns);
}

#[test]
fn as_many_placements_fit_as_of_the_undivided() {
    // Whole it takes the five executors of one worker. Each part has one for `small`: three on each, so that two do not fit.
    let text = "
workflow: w
input: { list: list }
nodes:
  each: { function: e:f, foreach: input.list, input: { i: item }, output: { o: bytes }, resources: { scale: 4 }, profile: { runtime_ms: 10, items: 100 } }
  small: { function: s:f, foreach: each.o, input: { i: item }, profile: { runtime_ms: 0.1 } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let mut cluster = workers(&[2, 2]);
    for worker in &mut cluster {
        worker.executors = 5;
    }
    for (count, divided) in [(1, true), (2, false)] {
        let placed = place(&definition, &cluster, &Options::default(), count).unwrap();
        assert_eq!(placed.placements.len(), usize::from(count));
        assert_eq!(placed.faster.is_some(), divided, "{count}");
    }
}

#[test]
fn with_few_steps_the_undivided_placement_comes_first() {
    let definition = alone("input.list", 4, TEN_MS);
    for steps in 1..40 {
        let options = Options {
            effort: Effort {
                steps: Some(steps),
                ..Effort::default()
            },
            ..Options::default()
        };
        let placed = place(&definition, &workers(&[2, 2]), &options, 1).unwrap();
        assert!(
            placed.found.steps <= steps,
            "{} of {steps}",
            placed.found.steps
        );
    }
}

#[test]
fn of_a_list_only_what_parts_run_over_is_expected_to_travel() {
    let text = "
workflow: w
nodes:
  make: { function: m:f, output: { list: list, more: bytes }, profile: { output_bytes: { list: 1000, more: 50 } } }
  first: { function: a:f, foreach: make.list, input: { i: item }, output: { o: bytes }, resources: { scale: 4 }, profile: { items: 8, output_bytes: 800 } }
  all: { function: c:f, input: { l: make.list, m: make.more, o: first.o }, output: { o: bytes } }
  second: { function: b:f, foreach: first.o, input: { i: item, all: all.o }, resources: { scale: 4 }, profile: { items: 8 } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let mut division = Division::default();
    division.set(&definition, 0, &[3, 1]);
    division.set(&definition, 1, &[1, 1]);
    let graph = Graph::divided(&definition, &division);
    let copies = graph.copies_by_definition();
    let [make, first, all, second] = &copies[..] else {
        panic!("{copies:?}")
    };
    let list: &[u16] = &[0];
    let read = |from: u32, by: &[u32]| graph.bytes_read(from, by.iter().map(|to| (*to, list)));
    assert_eq!(
        (read(make[0], &first[..1]), read(make[0], &first[1..])),
        (750, 250)
    );
    assert_eq!(read(make[0], first), 1000, "both on one worker");
    assert_eq!(
        graph.bytes_read(make[0], [(first[1], list), (all[0], &[0, 1])]),
        1050
    );
    // Of the first six of eight items the first four and the last two; of the last two nothing and all.
    let over: Vec<u64> = first
        .iter()
        .flat_map(|from| second.iter().map(|to| read(*from, &[*to])))
        .collect();
    assert_eq!(over, [400, 200, 0, 200]);

    // On `w1` are the second part of `first`, and the second of `second`.
    let mut on = vec![0; graph.node_count()];
    on[first[1] as usize] = 1;
    on[second[1] as usize] = 1;
    let estimate = place::estimate(
        &graph,
        &workers(&[8, 8]),
        &Options::default(),
        &Placement::new(on),
    );
    let by_producer = |from: u32| {
        let of = estimate.transfers.iter().filter(|one| one.from == from);
        of.map(|one| one.bytes).sum::<u64>()
    };
    assert_eq!(by_producer(make[0]), 250);
    assert_eq!(by_producer(first[0]), 200, "the last two of its six items");
    assert_eq!(by_producer(first[1]), 200, "`all` reads them");
    assert_eq!(estimate.crossing_bytes, 650.0);
}

#[test]
fn parts_on_one_worker_have_the_executors_of_all_of_them() {
    // Four executors that sleep 10 ms for each of 8 items, as a whole and in parts: 2 × 10.01 ms.
    let definition = alone("input.list", 4, "runtime_ms: 10, items: 8, busy: 0");
    let mut division = Division::default();
    let expected = |division: &Division| {
        let graph = Graph::divided(&definition, division);
        let on = Placement::new(vec![0; graph.node_count()]);
        place::estimate(&graph, &workers(&[2]), &Options::default(), &on).makespan_ns
    };
    let whole_ns = expected(&division);
    assert!(is_about(whole_ns, 2.0 * ITEM_NS), "{whole_ns}");
    division.set(&definition, 0, &[3, 1]);
    assert!(is_about(expected(&division), whole_ns));
}

/// One of up to six nodes: whether it is a foreach, which of those before it waits for, its scale, its milliseconds, items and
/// kilobytes.
type Drawn = (u8, Option<u8>, u32, u32, u64, u64);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let node = (
        0..4_u8,
        prop::option::weighted(0.7, 0..6_u8),
        1..6_u32,
        1..40_u32,
        0..60_u64,
        0..2000_u64,
    );
    prop::collection::vec(node, 1..6)
}

/// Nodes `n0`, `n1` and so on, foreach over the list of an earlier node or over the input.
fn workflow(drawn: &[Drawn], auto: &str) -> Definition {
    let mut text = "workflow: w\ninput: { list: list }\nnodes:\n".to_owned();
    // Whether each gives a list.
    let mut lists: Vec<bool> = Vec::new();
    for (number, (kind, before, scale, runtime_ms, items, kilobytes)) in drawn.iter().enumerate() {
        let before = before.map(usize::from).filter(|before| *before < number);
        let source =
            before.map_or_else(|| "input.list".to_owned(), |before| format!("n{before}.o"));
        let over_list = *kind < 3 && before.is_none_or(|before| lists[before]);
        lists.push(over_list || *kind == 3);
        let divide = if *kind == 2 { "never" } else { auto };
        let reads = if over_list {
            format!("foreach: {{ list: {source}, divide: {divide} }}, input: {{ i: item }}")
        } else {
            format!("input: {{ i: {source} }}")
        };
        let gives = if *kind == 3 { "list" } else { "bytes" };
        text += &format!(
            "  n{number}: {{ function: e{}:f, {reads}, output: {{ o: {gives} }}, resources: {{ scale: {scale}, memory_mib: 64 }}, \
             profile: {{ runtime_ms: {runtime_ms}, items: {items}, output_bytes: {} }} }}\n",
            number % 4,
            kilobytes * 1024,
        );
    }
    parse("w.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

fn checked(placed: &Placed, definition: &Definition, cluster: &[WorkerCapacity]) {
    let (graph, placement): (&Graph, &Placement) = (&placed.graph, &placed.placements[0]);
    for (worker, of) in cluster.iter().enumerate() {
        let demand = placement.demand(graph, worker);
        assert!(demand.executors <= of.executors && demand.memory_mib <= of.memory_mib);
    }
    let faster = placed.faster.as_ref();
    let regions = faster.map_or(&[][..], |faster| &faster.regions);
    let mut workers: BTreeMap<(usize, usize), Vec<u16>> = BTreeMap::new();
    for (id, node) in (0..).zip(graph.nodes()) {
        if let (Some(region), Some(part)) = (node.together, node.part) {
            if !regions.contains(&region) {
                continue;
            }
            assert_eq!(definition.regions[region].divide, Divide::Auto);
            let there = workers.entry((region, placement.worker(id))).or_default();
            there.push(part.number);
        }
    }
    for parts in workers.values() {
        assert!(parts.windows(2).all(|pair| pair[0] == pair[1]), "{parts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against the placements that search with as many steps, and the published one.
    #[test]
    fn a_division_is_never_worse_and_breaks_no_limit(
        drawn in drawn(),
        cpus in prop::collection::vec(1..5_u32, 2..5),
        speeds in prop::collection::vec(1..4_u32, 5),
        seed in 0..1000_u64,
        pin in prop::option::of(0..6_usize),
    ) {
        let definition = workflow(&drawn, "auto");
        let mut cluster = workers(&cpus);
        for (worker, speed) in cluster.iter_mut().zip(speeds) {
            worker.speed = f64::from(speed) / 2.0;
        }
        let mut options = Options {
            effort: Effort { steps: Some(400), budget: None, seed },
            ..Options::default()
        };
        if let Some(pin) = pin.filter(|pin| *pin < drawn.len()) {
            options.fixed.insert(format!("n{pin}"), cluster[0].name.clone());
        }
        let Ok(placed) = place(&definition, &cluster, &options, 1) else {
            return Ok(());
        };
        checked(&placed, &definition, &cluster);
        prop_assert!(placed.found.steps <= 400);
        let pinned = placed.graph.nodes().zip(placed.placements[0].workers());
        for (node, worker) in pinned.filter(|(node, _)| options.fixed.contains_key(&node.name)) {
            prop_assert_eq!((*worker, node.part), (0, None));
        }
        let estimate = place::estimate(&placed.graph, &cluster, &options, &placed.placements[0]);
        let now_ns = placed.found.makespan_ns;
        prop_assert!((estimate.makespan_ns - now_ns).abs() <= 1e-6 * now_ns);

        let again = place(&definition, &cluster, &options, 1).unwrap();
        prop_assert_eq!(&again.placements, &placed.placements);
        prop_assert_eq!(again.found.makespan_ns, now_ns);

        let half = Effort { steps: Some(200), ..options.effort };
        let published = Options { partitioner: Partitioner::Published, ..options.clone() };
        for other in [Options { effort: half, ..options.clone() }, published] {
            let never = workflow(&drawn, "never");
            if let Ok(whole) = place(&never, &cluster, &other, 1) {
                prop_assert!(whole.faster.is_none());
                prop_assert!(now_ns <= whole.found.makespan_ns * (1.0 + 1e-9));
            }
        }
        if let Some(faster) = &placed.faster {
            prop_assert!(now_ns <= 0.95 * faster.makespan_ns);
        }
    }
}
