//! That no placement breaks a limit, whatever the partitioner, and that what cannot be is refused.

use super::*;
use crate::definition::parse;
use crate::division::Division;
use crate::graph::{Dependency, GraphNode};

/// What is drawn of a node: executable, scale, memory in MiB, milliseconds and quarters of them that are busy, bytes, CPUs and
/// milliseconds of delay, and whether it begins a region of two, of so many items with so many at once.
type Drawn = (
    usize,
    u32,
    u32,
    (u32, u8),
    u64,
    (u32, u32),
    Option<(u64, u32)>,
);

prop_compose! {
    /// Graphs with pools that are shared, regions, and pairs to be apart.
    fn any_graph()(count in 1_usize..28)(
        nodes in prop::collection::vec(
            (0_usize..10, 1_u32..6, 1_u32..512, (0_u32..500, 0_u8..5), 0_u64..(8 * MIB),
             (1_u32..4, prop_oneof![3 => Just(0_u32), 1 => 1_u32..50]), prop::option::weighted(0.1, (1_u64..700, 1_u32..40))), count),
        pairs in prop::collection::vec((0..count, 0..count), 0..48),
        apart in prop::collection::vec((0..count, 0..count), 0..5),
    ) -> Graph {
        graph_of(&nodes, &pairs, &apart)
    }
}

fn graph_of(nodes: &[Drawn], pairs: &[(usize, usize)], apart: &[(usize, usize)]) -> Graph {
    let mut region = None;
    let made: Vec<GraphNode> = nodes
        .iter()
        .enumerate()
        .map(
            |(
                index,
                (
                    executable,
                    scale,
                    memory_mib,
                    (runtime_ms, busy),
                    bytes,
                    (cpus, delay_ms),
                    begins,
                ),
            )| {
                // A region has this node and the next one.
                let before = region.take();
                let together = before.or(begins.map(|begins| (index, begins)));
                if before.is_none() {
                    region = together;
                }
                let items = together.map_or(1, |(_, (items, _))| items);
                GraphNode {
                    name: format!("n{index}"),
                    executable: Some(format!("e{executable}")),
                    runtime_ms: f64::from(*runtime_ms),
                    busy: f64::from(*busy) / 4.0,
                    output_bytes: *bytes,
                    scale: *scale,
                    slots: *scale * *cpus,
                    cpus: *cpus,
                    delay_ms: f64::from(*delay_ms),
                    memory_mib: *memory_mib,
                    together: together.map(|(first, _)| first),
                    items,
                    activations: items,
                    // Every other region has a limit.
                    parallelism: together
                        .and_then(|(first, (_, most))| (first % 2 == 0).then_some(most)),
                    ..GraphNode::default()
                }
            },
        )
        .collect();
    let units: Vec<Option<usize>> = made.iter().map(|node| node.together).collect();
    // What leaves a region must not lead back into it: edges between its nodes, or between others, in their order.
    let edges = pairs.iter().filter(|(from, to)| from < to);
    let edges: std::collections::BTreeSet<(usize, usize)> = edges.copied().collect();
    let edges = edges.into_iter().map(|(from, to)| {
        let read = Dependency::on([0]);
        (from as NodeId, to as NodeId, read)
    });
    let apart = apart
        .iter()
        .filter(|(a, b)| a != b && (units[*a].is_none() || units[*a] != units[*b]));
    let apart = apart.map(|(a, b)| (*a as NodeId, *b as NodeId));
    Graph::new(made, edges.collect::<Vec<_>>(), apart.collect::<Vec<_>>())
}

fn any_workers() -> impl Strategy<Value = Vec<WorkerCapacity>> {
    let sizes = prop::collection::vec((1_u32..50, 64_u64..4096, 1_u32..4, 1_u8..4), 1..6);
    sizes.prop_map(|sizes| {
        let sized =
            |(index, (executors, memory_mib, speed, lanes)): (usize, (u32, u64, u32, u8))| {
                WorkerCapacity {
                    memory_mib,
                    lanes,
                    speed: f64::from(speed) / 2.0,
                    ..worker(&format!("w{index}"), executors)
                }
            };
        sizes.into_iter().enumerate().map(sized).collect()
    })
}

/// Links that are alike, or each of its own.
fn any_network() -> impl Strategy<Value = Network> {
    let link = (1_u32..40, 0_u32..2000);
    let links = prop::collection::vec((0_usize..5, 0_usize..5, link), 0..20);
    prop_oneof![
        Just(Network::default()),
        links.prop_map(|links| {
            let mut network = Network::default();
            for (from, to, (speed, latency_us)) in links {
                let link = Link {
                    bytes_per_s: f64::from(speed) * 1e7,
                    latency_ns: f64::from(latency_us) * 1e3,
                };
                if from != to {
                    network.set(from, to, link);
                }
            }
            network
        })
    ]
}

/// Graphs of definitions: with a switch, a region within a region, and one in parts.
fn any_divided() -> impl Strategy<Value = Graph> {
    let sizes = prop::collection::vec((0_usize..3, 1_u32..7, 1_u32..3, 1_u32..256), 7);
    let weights = prop::collection::vec(1_u32..5, 0..4);
    (sizes, weights, 1_u32..600).prop_map(|(sizes, weights, items)| {
        let of = |index: usize| {
            let (executable, scale, cpus, memory_mib) = sizes[index];
            format!(
                "function: e{executable}:f, resources: {{ scale: {scale}, cpus: {cpus}, memory_mib: {memory_mib} }}, \
                 profile: {{ runtime_ms: {}, output_bytes: {}, items: {items} }}",
                3 * index + 1,
                300_000 * index
            )
        };
        let text = format!(
            "
workflow: w
input: {{ v: value }}
nodes:
  a: {{ {}, output: {{ l: list }} }}
  s: {{ switch: [ {{ when: input.v > 1, then: b }} ], default: c }}
  b: {{ {}, output: {{ o: bytes }} }}
  c: {{ {}, output: {{ o: bytes }} }}
  each: {{ {}, foreach: a.l, input: {{ i: item }}, output: {{ l: list }} }}
  within: {{ {}, foreach: 'each.l[item]', input: {{ i: item }}, output: {{ o: bytes }} }}
  other: {{ {}, foreach: a.l, input: {{ i: item }}, output: {{ o: bytes }} }}
  end: {{ {}, after: within, input: {{ o: other.o, b: {{ from: b.o, optional: true }} }} }}
",
            of(0), of(1), of(2), of(3), of(4), of(5), of(6)
        );
        let definition = parse("w.yaml", text.as_bytes()).unwrap();
        let mut division = Division::default();
        let outermost = (0..definition.regions.len()).filter(|region| definition.regions[*region].parent.is_none());
        for region in outermost {
            division.set(&definition, region, &weights);
        }
        Graph::divided(&definition, &division)
    })
}

fn any_options() -> impl Strategy<Value = Options> {
    let quota = prop::option::of(0_u64..(64 * MIB));
    let pin = prop::option::of((0_usize..28, 0_usize..6));
    let effort = (1_u64..80, 0_u64..4);
    (quota, pin, 0..Partitioner::ALL.len(), effort, any_network()).prop_map(
        |(quota_bytes, pin, method, (steps, seed), network)| Options {
            fixed: pin
                .into_iter()
                .map(|(node, worker)| (format!("n{node}"), format!("w{worker}")))
                .collect(),
            quota_bytes,
            partitioner: Partitioner::ALL[method].1,
            effort: Effort {
                steps: Some(steps),
                budget: None,
                seed,
            },
            network,
        },
    )
}

/// What a worker must start, counted without the code under test: of each executable what its widest node wants, where all parts
/// of one node are one.
fn started(graph: &Graph, placement: &Placement, worker: usize) -> (u32, u64) {
    let here = (0..).zip(graph.nodes());
    let here: Vec<(&String, &GraphNode)> = here
        .filter(|(id, _)| placement.worker(*id) == worker)
        .filter_map(|(_, node)| Some((node.executable.as_ref()?, node)))
        .collect();
    let mut executables: Vec<&String> = here.iter().map(|(name, _)| *name).collect();
    executables.sort_unstable();
    executables.dedup();
    let (mut executors, mut memory_mib) = (0, 0);
    for executable in executables {
        let users = here.iter().filter(|(name, _)| *name == executable);
        let users: Vec<&GraphNode> = users.map(|(_, node)| *node).collect();
        let wide = |of: fn(&GraphNode) -> u32| {
            let own = users.iter().map(|node| {
                let parts = users.iter().filter(|other| {
                    node.part.is_some() && other.part.is_some() && other.defined == node.defined
                });
                parts.map(|part| of(part)).sum::<u32>().max(of(node))
            });
            own.max().unwrap_or(0)
        };
        executors += wide(|node| node.slots);
        let largest = users.iter().map(|node| node.memory_mib).max();
        memory_mib += u64::from(wide(|node| node.scale)) * u64::from(largest.unwrap_or(0));
    }
    (executors, memory_mib)
}

/// Whether some placement keeps all limits, by trying every one.
fn can_be(graph: &Graph, workers: &[WorkerCapacity], fixed: &BTreeMap<String, String>) -> bool {
    let units = graph.units();
    let mut ways = vec![0_usize; units.len()];
    loop {
        let mut placed = vec![0; graph.node_count()];
        for (unit, worker) in units.iter().zip(&ways) {
            placed[unit.clone()].fill(*worker);
        }
        let placement = Placement { workers: placed };
        if keeps(graph, workers, fixed, &placement).is_ok() {
            return true;
        }
        let Some(next) = ways.iter().rposition(|worker| worker + 1 < workers.len()) else {
            return false;
        };
        ways[next] += 1;
        ways[next + 1..].fill(0);
    }
}

/// Whether a placement keeps all limits; else which one it breaks.
fn keeps(
    graph: &Graph,
    workers: &[WorkerCapacity],
    fixed: &BTreeMap<String, String>,
    placement: &Placement,
) -> Result<(), String> {
    if placement.workers().len() != graph.node_count() {
        return Err("not every node has a worker".to_owned());
    }
    for (index, worker) in workers.iter().enumerate() {
        let (executors, memory_mib) = started(graph, placement, index);
        if executors > worker.executors || memory_mib > worker.memory_mib {
            return Err(format!("{} is overloaded", worker.name));
        }
    }
    for unit in graph.units() {
        if unit
            .clone()
            .any(|node| placement.workers()[node] != placement.workers()[unit.start])
        {
            return Err("a region is torn".to_owned());
        }
    }
    for (a, b) in graph.apart() {
        if placement.worker(*a) == placement.worker(*b) {
            return Err(format!("{a} and {b} are not apart"));
        }
    }
    for (id, node) in graph.nodes().enumerate() {
        if let Some(worker) = fixed.get(&node.name)
            && workers[placement.workers()[id]].name != *worker
        {
            return Err(format!("{} is not where it is fixed", node.name));
        }
    }
    Ok(())
}

/// Each way to put so many units on so many workers.
fn all_ways(units: usize, workers: usize) -> impl Iterator<Item = Vec<u32>> {
    let count = (workers as u64).pow(units as u32);
    (0..count).map(move |mut way| {
        let digits = (0..units).map(|_| {
            let worker = (way % workers as u64) as u32;
            way /= workers as u64;
            worker
        });
        digits.collect()
    })
}

proptest! {
    #[test]
    fn the_optimum_is_what_scoring_every_placement_finds(
        graph in prop_oneof![any_graph(), any_divided()].prop_filter("few ways", |graph| graph.units().len() <= 6),
        workers in any_workers().prop_filter("few ways", |workers| workers.len() <= 3),
        network in any_network(),
        quota in prop::option::of(0_u64..(8 * MIB)),
        alike in any::<bool>(),
    ) {
        let mut workers = workers;
        if alike {
            let first = workers[0].clone();
            workers.iter_mut().for_each(|worker| *worker = WorkerCapacity { name: worker.name.clone(), ..first.clone() });
        }
        let options = Options { network, quota_bytes: quota, ..Options::default() };
        let model = Model::of(&graph, &workers, &options.network, options.quota_of(&graph));
        let mut simulator = estimate::Simulator::new(&model);
        let mut best: Option<f64> = None;
        for way in all_ways(model.units.len(), workers.len()) {
            let nodes = model.unit_of.iter().map(|unit| way[*unit as usize] as usize).collect();
            if keeps(&graph, &workers, &options.fixed, &Placement { workers: nodes }).is_ok() {
                let makespan_ns = simulator.makespan_ns(&way);
                best = Some(best.map_or(makespan_ns, |best| best.min(makespan_ns)));
            }
        }
        let found = optimum_ns(&graph, &workers, &options, u64::MAX).unwrap();
        prop_assert_eq!(found.is_some(), best.is_some());
        if let (Some(found), Some(best)) = (found, best) {
            prop_assert!((found - best).abs() <= 1e-9 * best, "{} {}", found, best);
        }
    }

    #[test]
    fn no_placement_is_better_than_the_bound_of_its_beginning(
        graph in prop_oneof![any_graph(), any_divided()],
        workers in any_workers(),
        network in any_network(),
        draw in prop::collection::vec(0_u32..6, 40),
    ) {
        let model = Model::of(&graph, &workers, &network, 20 * MIB);
        let placed = draw.iter().cycle().take(model.units.len());
        let placed: Vec<u32> = placed.map(|worker| worker % workers.len() as u32).collect();
        let makespan_ns = estimate::Simulator::new(&model).makespan_ns(&placed);
        let crossing_bytes = model.crossing_bytes(&placed);
        let mut bound = search::Bound::new(&model);
        for worker in &placed {
            bound.put(*worker);
            let least = bound.least();
            prop_assert!(least.makespan_ns <= makespan_ns * (1.0 + 1e-9), "{} {}", least.makespan_ns, makespan_ns);
            prop_assert!(least.crossing_bytes <= crossing_bytes * (1.0 + 1e-9) + 1e-6);
        }
        let all = bound.least().crossing_bytes;
        prop_assert!((all - crossing_bytes).abs() <= 1e-9 * crossing_bytes + 1e-6, "{} {}", all, crossing_bytes);
    }

    #[test]
    fn limits_are_kept_by_every_partitioner(
        graph in prop_oneof![3 => any_graph(), 1 => any_divided()],
        workers in any_workers(),
        options in any_options(),
    ) {
        match find(&graph, &workers, &options) {
            Ok((placement, found)) => {
                prop_assert_eq!(keeps(&graph, &workers, &options.fixed, &placement), Ok(()));
                let (again, same) = find(&graph, &workers, &options).unwrap();
                prop_assert_eq!(&placement, &again, "the same seed and steps give the same");
                prop_assert_eq!(found.makespan_ns, same.makespan_ns);
                let estimate = estimate(&graph, &workers, &options, &placement);
                prop_assert_eq!(found.makespan_ns, estimate.makespan_ns);
                let quota = options.quota_bytes.unwrap_or_else(|| published_quota_bytes(&graph));
                prop_assert!(estimate.held_bytes <= quota as f64);
                let bound_ns = lower_bound_ns(&graph, &workers);
                prop_assert!(bound_ns <= found.makespan_ns * (1.0 + 1e-9), "{} {}", bound_ns, found.makespan_ns);
            }
            Err(PlaceError::Node { overload, .. } | PlaceError::Region { overload, .. }
                | PlaceError::Workflow { overload } | PlaceError::Fixed { overload }) => {
                prop_assert!(overload.wanted > overload.limit);
            }
            Err(PlaceError::Total { wanted, limit, .. }) => prop_assert!(wanted > limit),
            Err(PlaceError::FixedNode { .. } | PlaceError::FixedWorker { .. }) => {
                let known = |name: &String| graph.nodes().any(|node| node.name == *name);
                let there = |name: &String| workers.iter().any(|worker| worker.name == *name);
                prop_assert!(options.fixed.iter().any(|(node, worker)| !known(node) || !there(worker)));
            }
            Err(PlaceError::Apart { .. }) => prop_assert!(!graph.apart().is_empty()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_simulation_leaves_nothing_behind_for_the_next(
        graph in any_graph(),
        workers in any_workers(),
        draws in prop::collection::vec(prop::collection::vec(0_usize..6, 28), 1..6),
    ) {
        let model = Model::of(&graph, &workers, &Network::default(), 20 * MIB);
        let mut again = estimate::Simulator::new(&model);
        for draw in draws {
            let placed = draw.iter().take(model.units.len()).map(|worker| (worker % workers.len()) as u32);
            let placed: Vec<u32> = placed.collect();
            let fresh = estimate::Simulator::new(&model).makespan_ns(&placed);
            prop_assert_eq!(again.makespan_ns(&placed), fresh);
        }
    }

    #[test]
    fn room_is_the_same_however_it_came_about(
        graph in prop_oneof![any_graph(), any_divided()],
        workers in any_workers(),
        moves in prop::collection::vec((0_usize..28, 0_usize..6), 0..60),
    ) {
        let model = Model::of(&graph, &workers, &Network::default(), u64::MAX);
        let wants = Wants::of(&graph, &model, &workers, &vec![None; graph.node_count()]);
        let units = model.units.len();
        let mut room = room::Room::of(&wants, &vec![0; units]);
        for (unit, worker) in moves {
            let (unit, worker) = (unit % units, worker % workers.len());
            room.take(unit as u32);
            room.put(unit as u32, worker as u32);
        }
        let anew = room::Room::of(&wants, &room.placed);
        let nodes: Vec<usize> = model.unit_of.iter().map(|unit| room.placed[*unit as usize] as usize).collect();
        let placement = Placement { workers: nodes };
        for (worker, of) in workers.iter().enumerate() {
            prop_assert_eq!(room.left(worker as u32), anew.left(worker as u32));
            let (executors, memory_mib) = started(&graph, &placement, worker);
            let left = |used: f64, limit: f64| (limit - used) / limit;
            let executors = left(f64::from(executors), f64::from(of.executors));
            let memory = left(memory_mib as f64, of.memory_mib as f64);
            prop_assert!((room.left(worker as u32) - executors.min(memory)).abs() < 1e-9);
        }
    }

    #[test]
    fn trying_all_ways_finds_one_exactly_if_there_is_one(
        graph in any_graph().prop_filter("few ways", |graph| graph.units().len() <= 6),
        workers in any_workers().prop_filter("few ways", |workers| workers.len() <= 3),
    ) {
        let model = Model::of(&graph, &workers, &Network::default(), u64::MAX);
        let wants = Wants::of(&graph, &model, &workers, &vec![None; graph.node_count()]);
        let mut room = room::Room::empty(&wants);
        let order: Vec<u32> = (0..model.units.len() as u32).collect();
        let found = pack::try_all(&mut room, workers.len(), &order, &mut 0);
        prop_assert_eq!(found, can_be(&graph, &workers, &BTreeMap::new()));
    }

    #[test]
    fn list_scheduling_does_the_same_by_either_way_to_reckon_arrivals(
        graph in any_graph(),
        workers in any_workers(),
    ) {
        // Links that are set one by one are taken to differ, though they are alike.
        let mut by_pair = Network::default();
        for from in 0..workers.len() {
            for to in 0..workers.len() {
                by_pair.set(from, to, Link::DEFAULT);
            }
        }
        let placed = |network: &Network| {
            let model = Model::of(&graph, &workers, network, u64::MAX);
            let wants = Wants::of(&graph, &model, &workers, &vec![None; graph.node_count()]);
            list::heft(&model, &wants).placed.clone()
        };
        prop_assert_eq!(placed(&Network::default()), placed(&by_pair));
    }

    #[test]
    fn a_small_workflow_is_refused_only_if_no_placement_can_be(
        graph in any_graph().prop_filter("few ways", |graph| graph.units().len() <= 7),
        workers in any_workers().prop_filter("few ways", |workers| workers.len() <= 3),
        method in 0..Partitioner::ALL.len(),
    ) {
        let options = Options {
            partitioner: Partitioner::ALL[method].1,
            effort: Effort { steps: Some(3), ..Effort::default() },
            ..Options::default()
        };
        let placed = place(&graph, &workers, &options);
        prop_assert_eq!(placed.is_ok(), can_be(&graph, &workers, &options.fixed), "{:?}", placed);
    }
}

/// Nodes of executables of their own, one executor each.
fn plain(names: &[&str], apart: &[(NodeId, NodeId)]) -> Graph {
    let nodes = names.iter().map(|name| GraphNode {
        name: (*name).to_owned(),
        executable: Some((*name).to_owned()),
        scale: 1,
        slots: 1,
        memory_mib: 1,
        ..GraphNode::default()
    });
    Graph::new(nodes.collect(), [], apart.iter().copied())
}

#[test]
fn what_is_to_be_apart_is_refused_with_too_few_workers_and_by_name() {
    let graph = plain(&["a", "b", "c"], &[(0, 1), (0, 2), (1, 2)]);
    let workers = [worker("x", 9), worker("y", 9), worker("z", 9)];
    for (name, partitioner) in Partitioner::ALL {
        let options = Options {
            partitioner,
            ..Options::default()
        };
        let placement = place(&graph, &workers, &options).unwrap();
        let mut used = placement.workers().to_vec();
        used.sort_unstable();
        assert_eq!(used, [0, 1, 2], "{name}");
        let error = place(&graph, &workers[..2], &options).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("is to be apart from"), "{name}: {told}");
        assert!(told.contains("each of the 2"), "{name}: {told}");
    }
}

#[test]
fn what_is_apart_and_together_or_pinned_to_one_worker_is_refused_by_name() {
    let text = "
workflow: w
nodes:
  a: { function: a:f, output: { l: list } }
  b: { function: b:f, foreach: a.l, input: { i: item }, output: { o: bytes } }
  c: { function: c:f, foreach: b.o, input: { i: item }, apart: b }
";
    let graph = Graph::of(&parse("w.yaml", text.as_bytes()).unwrap());
    let workers = [worker("x", 9), worker("y", 9)];
    let error = place(&graph, &workers, &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nodes b and c are to be apart, but they run together for each item"
    );
    let graph = plain(&["a", "b"], &[(0, 1)]);
    let fixed = ["a", "b"].map(|node| (node.to_owned(), "x".to_owned()));
    let options = Options {
        fixed: fixed.into_iter().collect(),
        ..Options::default()
    };
    let error = place(&graph, &workers, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nodes a and b are to be apart, but both are pinned to worker x"
    );
}

/// A list that is divided into so many parts, each node of it with so many executors in all, and one node behind.
fn divided(parts: usize, scale: u16) -> Graph {
    let text = format!(
        "
workflow: w
input: {{ l: list }}
nodes:
  f: {{ function: f:run, foreach: {{ list: input.l, divide: {parts} }}, input: {{ i: item }}, output: {{ o: bytes }},
       resources: {{ scale: {scale}, memory_mib: 1 }} }}
  g: {{ function: g:run, input: {{ o: f.o }}, apart: f, resources: {{ memory_mib: 1 }} }}
"
    );
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let mut division = Division::default();
    division.set(&definition, 0, &vec![1; parts]);
    Graph::divided(&definition, &division)
}

#[test]
fn where_the_number_of_parts_is_too_much_fewer_are_the_remedy() {
    let workers = [worker("x", 8), worker("y", 8)];
    let help = |graph: &Graph| {
        let error = place(graph, &workers, &Options::default()).unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        (error.to_string(), help)
    };
    let (told, remedy) = help(&divided(30, 1));
    assert_eq!(
        told,
        "the workflow does not fit these workers: 31 executors at least are wanted in all, and they take 16, 15 too many"
    );
    assert!(
        remedy.contains("divide f into fewer parts (`divide`)"),
        "{remedy}"
    );
    assert!(!remedy.contains("resources"), "{remedy}");
    // As many executors would be wanted of one part.
    let (told, remedy) = help(&divided(4, 30));
    assert!(
        told.contains("executors at least are wanted in all"),
        "{told}"
    );
    assert!(
        remedy.contains("lower the nodes' `resources`") && !remedy.contains("divide"),
        "{remedy}"
    );
}

#[test]
fn a_divided_node_from_which_another_is_to_be_apart_is_named_once() {
    let workers = [worker("x", 4), worker("y", 4)];
    let error = place(&divided(2, 6), &workers, &Options::default()).unwrap_err();
    let told = error.to_string();
    assert!(
        told.starts_with("node g is to be apart from f, and no worker"),
        "{told}"
    );
}

#[test]
fn the_sum_of_all_is_told_where_it_is_too_much() {
    let graph = plain(&["a", "b", "c", "d", "e"], &[]);
    let error = place(
        &graph,
        &[worker("x", 2), worker("y", 2)],
        &Options::default(),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the workflow does not fit these workers: 5 executors at least are wanted in all, and they take 4, 1 too many"
    );
}

#[test]
fn what_all_want_at_least_is_counted_by_where_it_may_be() {
    // Together p and q want 4 executors of 600 MiB, apart 40 and 600 MiB.
    let node = |name: &str, executable: &str, scale, memory_mib| GraphNode {
        name: name.to_owned(),
        executable: Some(executable.to_owned()),
        scale,
        slots: scale,
        memory_mib,
        ..GraphNode::default()
    };
    let nodes = vec![
        node("p", "e", 4, 10),
        node("q", "e", 1, 600),
        node("s", "s", 3, 10),
        node("r", "r", 2, 10),
    ];
    let graph = Graph::new(nodes, [], []);
    let with = |name: &str, memory_mib| WorkerCapacity {
        memory_mib,
        ..worker(name, 6)
    };
    for (_, partitioner) in Partitioner::ALL {
        let options = Options {
            partitioner,
            ..Options::default()
        };
        let placement = place(&graph, &[with("x", 1000), with("y", 1000)], &options).unwrap();
        assert_ne!(placement.worker(0), placement.worker(1));
    }
    // One that is too small in all is told what is wanted wherever it is.
    let error = place(
        &graph,
        &[with("x", 600), with("y", 49)],
        &Options::default(),
    )
    .unwrap_err();
    let PlaceError::Total {
        resource: Resource::MemoryMib,
        wanted,
        limit,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((wanted, limit), (650, 649));
}

#[test]
fn one_worker_or_pins_for_all_leave_nothing_to_search_however_large() {
    let count = 100_000;
    let nodes = (0..count).map(|index| GraphNode {
        name: format!("n{index}"),
        ..GraphNode::default()
    });
    let edges = (1..count as NodeId).map(|to| (to - 1, to, Dependency::default()));
    let graph = Graph::new(nodes.collect(), edges, []);
    let one = [worker("x", 9)];
    let (_, found) = find(&graph, &one, &Options::default()).unwrap();
    assert_eq!((found.steps, found.optimal), (1, true));
    let best_ns = optimum_ns(&graph, &one, &Options::default(), 1).unwrap();
    assert_eq!(best_ns, Some(found.makespan_ns));
    let fixed = (0..count).map(|index| (format!("n{index}"), ["x", "y"][index % 2].to_owned()));
    let options = Options {
        fixed: fixed.collect(),
        ..Options::default()
    };
    let (_, found) = find(&graph, &[worker("x", 9), worker("y", 9)], &options).unwrap();
    assert_eq!((found.steps, found.optimal), (1, true));
}

#[test]
fn a_limit_of_memory_that_no_machine_has_is_compared_all_the_same() {
    let huge = |name: &str, memory_mib| WorkerCapacity {
        memory_mib,
        ..worker(name, 1)
    };
    let graph = plain(&["a"], &[]);
    let mut nodes: Vec<GraphNode> = graph.nodes().cloned().collect();
    nodes[0].slots = 3;
    nodes[0].memory_mib = 1;
    let graph = Graph::new(nodes, [], []);
    let workers = [huge("x", 1 << 50), huge("y", 1 << 60)];
    assert!(matches!(
        place(&graph, &workers, &Options::default()),
        Err(PlaceError::Node { .. })
    ));
    let nothing: [WorkerCapacity; 0] = [];
    assert_eq!(lower_bound_ns(&graph, &nothing), 0.0);
}
