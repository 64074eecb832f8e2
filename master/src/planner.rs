//! From a definition and its placement to one plan for each worker.
//!
//! Every edge stands in the plans of both its ends: the producer's worker knows whom to tell, the consumer's for whom
//! to wait. A worker without nodes gets a plan too: clients may invoke the workflow there.

use crate::definition::{Definition, From};
use crate::graph::Graph;
use crate::place::Placement;
use engine::plan::{
    Declaration, DeploymentId, ExecutablePlan, InputPlan, Limits, NodeId, NodePlan, Participant,
    Plan, RemoteConsumer, RemoteNode, Source, WorkerIndex, WorkerRef, WorkflowOutput,
};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// What plans say beside the workflow itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Which version of the workflow, from 1.
    pub version: u32,
    /// Bounds.
    pub limits: Limits,
}

/// A random number for a deployment: unique for ever, as far as anyone will see.
///
/// # Errors
/// If the system gives no random bytes.
pub fn random_deployment() -> Result<DeploymentId, RandomError> {
    Ok(DeploymentId(getrandom::u64().map_err(RandomError)?))
}

/// The system gives no random bytes.
#[derive(Debug, Error)]
#[error("the system gives no random bytes for a deployment's number: {0}")]
pub struct RandomError(getrandom::Error);

/// The plans, in the order of `workers`, to which the placement's numbers refer.
///
/// # Panics
/// If graph and placement are not those of the definition, or the placement names a worker beyond `workers`, or there
/// are more than 65,536 workers.
#[must_use]
pub fn plan(
    definition: &Definition,
    graph: &Graph,
    placement: &Placement,
    workers: &[WorkerRef],
    terms: Terms,
) -> Vec<Plan> {
    assert_eq!(
        graph.node_count(),
        definition.nodes.len(),
        "the graph is the definition's"
    );
    assert_eq!(
        graph.node_count(),
        placement.workers().len(),
        "the placement is the graph's"
    );
    let planner = Planner {
        definition,
        graph,
        placement,
        ids: graph.ids_by_definition(),
    };
    let outputs = planner.workflow_outputs();
    let participants = planner.participants();
    let mut remote_consumers = planner.remote_consumers();
    let mut remote_producers = planner.remote_producers(workers.len(), &outputs);
    let plan_for = |me: usize| {
        let executables = planner.executables(me);
        let mut nodes = Vec::new();
        for id in planner.local(me) {
            let consumers = std::mem::take(&mut remote_consumers[id as usize]);
            nodes.push(planner.node(id, &executables, consumers));
        }
        Plan {
            deployment: terms.deployment,
            workflow: definition.workflow.value.clone(),
            version: terms.version,
            me: worker_index(me),
            workers: workers.to_vec(),
            inputs: definition
                .inputs
                .iter()
                .map(|input| Declaration {
                    name: input.name.value.clone(),
                    kind: input.kind,
                })
                .collect(),
            outputs: outputs.clone(),
            participants: participants.clone(),
            nodes,
            remote_nodes: std::mem::take(&mut remote_producers[me])
                .into_iter()
                .map(|id| planner.remote_node(id))
                .collect(),
            executables,
            limits: terms.limits,
        }
    };
    (0..workers.len()).map(plan_for).collect()
}

fn worker_index(worker: usize) -> WorkerIndex {
    match WorkerIndex::try_from(worker) {
        Ok(index) => index,
        Err(_) => panic!("a deployment has at most 65,536 workers, and this is number {worker}"),
    }
}

struct Planner<'a> {
    definition: &'a Definition,
    graph: &'a Graph,
    placement: &'a Placement,
    /// By place in the definition.
    ids: Vec<NodeId>,
}

impl Planner<'_> {
    fn local(&self, worker: usize) -> impl Iterator<Item = NodeId> {
        (0..self.graph.node_count() as NodeId)
            .filter(move |id| self.placement.worker(*id) == worker)
    }

    fn defined(&self, id: NodeId) -> &crate::definition::Node {
        &self.definition.nodes[self.graph.node(id).defined]
    }

    fn source(&self, from: From) -> Source {
        match from {
            From::Input(input) => Source::Input(input),
            From::Output { node, output } => Source::Output {
                node: self.ids[node],
                output,
            },
            From::Item => Source::Item,
        }
    }

    fn workflow_outputs(&self) -> Vec<WorkflowOutput> {
        let outputs = self.definition.outputs.iter().map(|output| {
            let source = self.source(output.from.value);
            let worker = match source {
                Source::Output { node, .. } => worker_index(self.placement.worker(node)),
                Source::Input(_) | Source::Item => 0,
            };
            WorkflowOutput {
                name: output.name.value.clone(),
                kind: output.kind,
                source,
                worker,
            }
        });
        outputs.collect()
    }

    fn participants(&self) -> Vec<Participant> {
        let mut inputs: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
        for id in 0..self.graph.node_count() as NodeId {
            let read = inputs.entry(self.placement.worker(id)).or_default();
            let node = self.defined(id);
            let sources = node
                .foreach
                .iter()
                .chain(node.inputs.iter().map(|input| &input.from));
            read.extend(sources.filter_map(|from| match from.value {
                From::Input(input) => Some(input),
                From::Output { .. } | From::Item => None,
            }));
        }
        let participant = |(worker, inputs): (usize, BTreeSet<u16>)| Participant {
            worker: worker_index(worker),
            inputs: inputs.into_iter().collect(),
        };
        inputs.into_iter().map(participant).collect()
    }

    /// By node: the other workers that must hear of its end, and what they need.
    fn remote_consumers(&self) -> Vec<Vec<RemoteConsumer>> {
        let mut by_node: Vec<BTreeMap<usize, BTreeSet<u16>>> =
            vec![BTreeMap::new(); self.graph.node_count()];
        for (producer, consumer, edge) in self.graph.edges() {
            let worker = self.placement.worker(consumer);
            if worker != self.placement.worker(producer) {
                by_node[producer as usize]
                    .entry(worker)
                    .or_default()
                    .extend(&edge.outputs);
            }
        }
        let consumer = |(worker, outputs): (usize, BTreeSet<u16>)| RemoteConsumer {
            worker: worker_index(worker),
            outputs: outputs.into_iter().collect(),
        };
        by_node
            .into_iter()
            .map(|workers| workers.into_iter().map(consumer).collect())
            .collect()
    }

    /// By worker: nodes elsewhere that its nodes, or an output of the workflow, wait for. Any worker may be the one that
    /// takes an invocation, and so waits for the outputs.
    fn remote_producers(
        &self,
        workers: usize,
        outputs: &[WorkflowOutput],
    ) -> Vec<BTreeSet<NodeId>> {
        let mut by_worker = vec![BTreeSet::new(); workers];
        for (producer, consumer, _) in self.graph.edges() {
            let worker = self.placement.worker(consumer);
            if worker != self.placement.worker(producer) {
                by_worker[worker].insert(producer);
            }
        }
        for output in outputs {
            let Source::Output { node, .. } = output.source else {
                continue;
            };
            for (worker, producers) in by_worker.iter_mut().enumerate() {
                if worker != self.placement.worker(node) {
                    producers.insert(node);
                }
            }
        }
        by_worker
    }

    /// The pools of a worker, in the order in which its nodes first name them.
    fn executables(&self, worker: usize) -> Vec<ExecutablePlan> {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut pools: Vec<ExecutablePlan> = Vec::new();
        for id in self.local(worker) {
            let node = self.defined(id);
            let name = node.function.value.executable.as_str();
            let place = *places.entry(name).or_insert(pools.len());
            if place == pools.len() {
                pools.push(ExecutablePlan {
                    name: name.to_owned(),
                    scale: 1,
                    memory_mib: 1,
                });
            }
            let pool = &mut pools[place];
            pool.scale = pool.scale.max(node.resources.scale);
            pool.memory_mib = pool.memory_mib.max(node.resources.memory_mib);
        }
        pools
    }

    fn node(
        &self,
        id: NodeId,
        executables: &[ExecutablePlan],
        remote_consumers: Vec<RemoteConsumer>,
    ) -> NodePlan {
        let node = self.defined(id);
        let name = &node.function.value.executable;
        let Some(executable) = executables.iter().position(|pool| pool.name == *name) else {
            unreachable!("the pools were made from the same nodes");
        };
        NodePlan {
            id,
            name: node.name.value.clone(),
            executable: executable as u16,
            function: node.function.value.function.clone(),
            foreach: node.foreach.as_ref().map(|from| self.source(from.value)),
            inputs: node
                .inputs
                .iter()
                .map(|input| InputPlan {
                    name: input.name.value.clone(),
                    kind: input.kind,
                    source: self.source(input.from.value),
                })
                .collect(),
            outputs: node
                .outputs
                .iter()
                .map(|output| Declaration {
                    name: output.name.value.clone(),
                    kind: output.kind,
                })
                .collect(),
            after: node
                .after
                .iter()
                .map(|after| self.ids[after.value])
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            retry: node.retry,
            timeout_ms: node.timeout_ms,
            remote_consumers,
        }
    }

    fn remote_node(&self, id: NodeId) -> RemoteNode {
        let node = self.defined(id);
        RemoteNode {
            id,
            name: node.name.value.clone(),
            worker: worker_index(self.placement.worker(id)),
            outputs: (0..node.outputs.len())
                .map(|output| node.seen_kind(output as u16))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
