//! Plans fit together: what one worker is told to send, another is told to wait for.

use super::*;
use crate::definition::parse;
use crate::place::{Options, WorkerCapacity, place};
use proptest::prelude::*;

mod whole;

/// A node of a random workflow: over what it runs, from whom it reads and for whom it waits (lower nodes, by number),
/// how many outputs it has, and where it runs.
#[derive(Clone, Debug)]
struct Shape {
    foreach: Option<usize>,
    reads: Vec<(usize, usize)>,
    after: Vec<usize>,
    outputs: usize,
    list: bool,
    worker: usize,
}

/// The text of a workflow of such nodes, with two inputs, and outputs from some nodes.
fn text_of(shapes: &[Shape]) -> String {
    let mut text = "workflow: w\ninput: { bytes: bytes, all: list }\nnodes:\n".to_owned();
    // Which outputs consumers see as lists.
    let lists = |node: usize| shapes[node].foreach.is_some() || shapes[node].list;
    for (index, shape) in shapes.iter().enumerate() {
        text += &format!("  n{index}:\n    function: e{}:f\n", index % 3);
        if let Some(over) = shape.foreach {
            let list = match over.checked_rem(index.max(1)) {
                Some(node) if index > 0 && lists(node) => format!("n{node}.o0"),
                _ => "input.all".to_owned(),
            };
            text += &format!("    foreach: {list}\n");
        }
        text += "    input:\n      i: input.bytes\n";
        for (number, (node, output)) in shape.reads.iter().enumerate() {
            if index > 0 {
                let node = node % index;
                text += &format!(
                    "      r{number}: n{node}.o{}\n",
                    output % shapes[node].outputs
                );
            }
        }
        let after: Vec<String> = shape
            .after
            .iter()
            .filter(|_| index > 0)
            .map(|node| format!("n{}", node % index))
            .collect();
        text += &format!("    after: [{}]\n    output:\n", after.join(", "));
        let kind = if shape.list && shape.foreach.is_none() {
            "list"
        } else {
            "bytes"
        };
        for output in 0..shape.outputs {
            text += &format!("      o{output}: {kind}\n");
        }
    }
    let last = shapes.len() - 1;
    text + &format!("output:\n  last: n{last}.o0\n  first: n0.o0\n  same: input.bytes\n")
}

fn shape() -> impl Strategy<Value = Shape> {
    let reads = prop::collection::vec((0_usize..20, 0_usize..4), 0..4);
    let after = prop::collection::vec(0_usize..20, 0..3);
    (
        prop::option::weighted(0.3, 0_usize..20),
        reads,
        after,
        1_usize..4,
        any::<bool>(),
        0_usize..4,
    )
        .prop_map(|(foreach, reads, after, outputs, list, worker)| Shape {
            foreach,
            reads,
            after,
            outputs,
            list,
            worker,
        })
}

fn plans_of(shapes: &[Shape]) -> (Definition, Graph, Vec<Plan>) {
    let definition = parse("w.yaml", text_of(shapes).as_bytes()).unwrap();
    let graph = Graph::of(&definition);
    let capacities: Vec<WorkerCapacity> = (0..4)
        .map(|w| WorkerCapacity::new(format!("w{w}"), 99, 1 << 40))
        .collect();
    // What runs item by item runs on one worker: its first node says on which.
    let pins = graph.units().into_iter().map(|unit| {
        let node = graph.node(unit.start as NodeId);
        (
            node.name.clone(),
            format!("w{}", shapes[node.defined].worker),
        )
    });
    let options = Options {
        fixed: pins.collect(),
        ..Options::default()
    };
    let placement = place(&graph, &capacities, &options).unwrap();
    let workers: Vec<WorkerRef> = (0..4)
        .map(|w| WorkerRef {
            name: format!("w{w}"),
            address: format!("127.0.0.1:{}", 7000 + w),
            lanes: 1 + w as u8,
            epoch: 1,
        })
        .collect();
    let terms = Terms {
        deployment: DeploymentId(7),
        replica: Replica::only(DeploymentId(7)),
        version: 3,
        limits: Limits::default(),
    };
    let plans = plan(&definition, &graph, &placement, &workers, terms);
    (definition, graph, plans)
}

proptest! {
    #[test]
    fn every_plan_passes_the_workers_own_check(shapes in prop::collection::vec(shape(), 1..12)) {
        let (_, graph, plans) = plans_of(&shapes);
        prop_assert_eq!(plans.len(), 4);
        for plan in &plans {
            if let Err(error) = plan.check() {
                prop_assert!(false, "worker {}: {}\n{}", plan.me, error, text_of(&shapes));
            }
        }
        let nodes: usize = plans.iter().map(|plan| plan.nodes.len()).sum();
        prop_assert_eq!(nodes, graph.node_count(), "every node is in one plan");
    }

    #[test]
    fn every_edge_stands_in_the_plans_of_both_its_ends(shapes in prop::collection::vec(shape(), 1..12)) {
        let (_, graph, plans) = plans_of(&shapes);
        let home = |id: NodeId| plans.iter().find(|plan| plan.nodes.iter().any(|node| node.id == id)).unwrap();
        let node = |id: NodeId| home(id).nodes.iter().find(|node| node.id == id).unwrap();
        for (from, to, edge) in graph.edges() {
            let consumer = node(to);
            let around = |region: &u16| home(to).regions[usize::from(*region)].parent;
            let regions = std::iter::successors(consumer.region, around);
            let list = regions.map(|region| home(to).regions[usize::from(region)].list);
            let mut read: Vec<u16> = consumer
                .reads()
                .chain(list)
                .filter_map(|source| match source {
                    Source::Output { node, output } if node == from => Some(output),
                    _ => None,
                })
                .collect();
            read.sort_unstable();
            read.dedup();
            prop_assert_eq!(&read, &edge.outputs);
            prop_assert!(!read.is_empty() || consumer.after.contains(&from));
            let told = node(from).remote_consumers.iter().find(|told| told.worker == home(to).me);
            if home(from).me == home(to).me {
                prop_assert!(told.is_none());
                continue;
            }
            let told = told.unwrap();
            prop_assert!(read.iter().all(|output| told.outputs.contains(output)));
            let expected = home(to).remote_nodes.iter().find(|remote| remote.id == from).unwrap();
            prop_assert_eq!(expected.worker, home(from).me);
            prop_assert_eq!(expected.outputs.len(), node(from).outputs.len());
        }
        // And nobody is told of what it does not wait for.
        for plan in &plans {
            for node in &plan.nodes {
                for told in &node.remote_consumers {
                    let other = &plans[usize::from(told.worker)];
                    prop_assert!(other.remote_nodes.iter().any(|remote| remote.id == node.id));
                }
            }
        }
    }

    #[test]
    fn participants_get_the_inputs_that_their_nodes_read(shapes in prop::collection::vec(shape(), 1..12)) {
        let (_, _, plans) = plans_of(&shapes);
        for plan in &plans {
            prop_assert_eq!(&plan.participants, &plans[0].participants);
            prop_assert_eq!(&plan.outputs, &plans[0].outputs);
            let part = plan.participants.iter().find(|part| part.worker == plan.me);
            prop_assert_eq!(part.is_some(), !plan.nodes.is_empty());
            for node in &plan.nodes {
                for source in node.reads() {
                    if let Source::Input(input) = source {
                        prop_assert!(part.unwrap().inputs.contains(&input));
                    }
                }
            }
        }
    }
}

#[test]
fn an_executable_is_somebody_else_s_on_each_worker_if_one_node_says_so() {
    let text = "
workflow: w
nodes:
  a: { function: e:f, apart: b }
  b: { function: e:g, trust: other }
  c: { function: own:f, trust: own, apart: b }
  d: { function: own:f, apart: a }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let graph = Graph::of(&definition);
    let capacities = ["a", "b"].map(|name| WorkerCapacity::new(name, 4, 1 << 30));
    let placement = place(&graph, &capacities, &Options::default()).unwrap();
    let workers = ["a", "b"].map(|name| WorkerRef {
        name: name.to_owned(),
        address: format!("{name}:1"),
        lanes: 1,
        epoch: 1,
    });
    let terms = Terms {
        deployment: DeploymentId(1),
        replica: Replica::only(DeploymentId(1)),
        version: 1,
        limits: Limits::default(),
    };
    for plan in plan(&definition, &graph, &placement, &workers, terms) {
        let trusts = plan.executables.iter();
        let mut trusts: Vec<_> = trusts
            .map(|pool| (pool.name.as_str(), pool.trust))
            .collect();
        trusts.sort_by_key(|pool| pool.0);
        assert_eq!(trusts, [("e", Trust::Other), ("own", Trust::Own)]);
    }
}

#[test]
fn nodes_of_one_executable_share_the_widest_pool() {
    let text = "
workflow: w
nodes:
  a: { function: e:f, resources: { scale: 2, memory_mib: 64 } }
  b: { function: e:g, resources: { scale: 1, memory_mib: 256 } }
";
    let definition = parse("w.yaml", text.as_bytes()).unwrap();
    let graph = Graph::of(&definition);
    let placement = place(
        &graph,
        &[WorkerCapacity::new("a", 4, 1 << 30)],
        &Options::default(),
    )
    .unwrap();
    let workers = [WorkerRef {
        name: "a".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        lanes: 1,
        epoch: 1,
    }];
    let terms = Terms {
        deployment: DeploymentId(1),
        replica: Replica::only(DeploymentId(1)),
        version: 1,
        limits: Limits::default(),
    };
    let plans = plan(&definition, &graph, &placement, &workers, terms);
    assert_eq!(
        plans[0].executables,
        [ExecutablePlan {
            name: "e".to_owned(),
            scale: 2,
            memory_mib: 256,
            trust: Trust::Own,
        }]
    );
}

#[test]
fn deployments_have_numbers_of_their_own() {
    assert_ne!(random_deployment().unwrap(), random_deployment().unwrap());
}
