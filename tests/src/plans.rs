//! Plans of a workflow for every worker, from a placement: what the master would send.

use crate::workflow::{Node, Workflow};
use engine::plan::{
    Declaration, DeploymentId, ExecutablePlan, InputPlan, Limits, NodeId, NodePlan, Participant,
    Plan, RemoteConsumer, RemoteNode, Source, Work, WorkerIndex, WorkerRef, WorkflowInput,
    WorkflowOutput,
};
use faasstore::binding::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Which workers there are, and which node runs where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Lanes of each worker.
    pub lanes: Vec<u8>,
    /// By node.
    pub workers: Vec<WorkerIndex>,
}

/// What a deployment is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeploymentName {
    /// Unique.
    pub id: DeploymentId,
    /// The workflow's name.
    pub workflow: String,
    /// Counts the deployments of that name, from 1.
    pub version: u32,
}

/// The name of a worker, by its index.
#[must_use]
pub fn worker_name(worker: usize) -> String {
    format!("w{worker}")
}

/// The name of a node, by its number.
#[must_use]
pub fn node_name(node: NodeId) -> String {
    format!("n{node}")
}

/// The name of a workflow input, by its number.
#[must_use]
pub fn input_name(input: usize) -> String {
    format!("i{input}")
}

/// The plan of every worker, those without a node too: a client may come to any of them.
///
/// # Panics
/// If a plan turns out wrong, which is a mistake in here.
#[must_use]
pub fn plans(
    workflow: &Workflow,
    placement: &Placement,
    name: &DeploymentName,
    limits: Limits,
) -> Vec<Plan> {
    (0..placement.lanes.len())
        .map(|me| {
            let plan = Planner {
                workflow,
                placement,
                me: me as WorkerIndex,
            }
            .plan(name, limits);
            plan.check()
                .unwrap_or_else(|error| panic!("a plan that is not whole: {error}\n{plan:#?}"));
            plan
        })
        .collect()
}

struct Planner<'a> {
    workflow: &'a Workflow,
    placement: &'a Placement,
    me: WorkerIndex,
}

impl Planner<'_> {
    fn plan(&self, name: &DeploymentName, limits: Limits) -> Plan {
        let executables: BTreeSet<u16> = self
            .nodes_of(self.me)
            .map(|(_, node)| node.executable)
            .collect();
        let executables: Vec<u16> = executables.into_iter().collect();
        let place_of = |executable: u16| {
            executables
                .iter()
                .position(|e| *e == executable)
                .map_or(0, |p| p as u16)
        };
        Plan {
            deployment: name.id,
            workflow: name.workflow.clone(),
            version: name.version,
            me: self.me,
            workers: (0..self.placement.lanes.len())
                .map(|worker| self.worker(worker))
                .collect(),
            inputs: self
                .workflow
                .inputs
                .iter()
                .enumerate()
                .map(|(number, kind)| WorkflowInput::new(input_name(number), *kind))
                .collect(),
            outputs: self.outputs(),
            participants: self.participants(),
            nodes: self
                .nodes_of(self.me)
                .map(|(id, node)| self.node(id, node, place_of(node.executable)))
                .collect(),
            remote_nodes: self.remote_nodes(),
            executables: executables
                .iter()
                .map(|executable| ExecutablePlan {
                    name: format!("e{executable}"),
                    scale: self.workflow.scales[usize::from(*executable)],
                    memory_mib: 1,
                })
                .collect(),
            constants: Vec::new(),
            timeout_ms: None,
            limits,
        }
    }

    fn worker(&self, worker: usize) -> WorkerRef {
        WorkerRef {
            name: worker_name(worker),
            address: format!("127.0.0.1:{}", 7000 + worker),
            lanes: self.placement.lanes[worker],
        }
    }

    fn worker_of(&self, node: NodeId) -> WorkerIndex {
        self.placement.workers[node as usize]
    }

    fn nodes_of(&self, worker: WorkerIndex) -> impl Iterator<Item = (NodeId, &Node)> + '_ {
        let numbered = self
            .workflow
            .nodes
            .iter()
            .enumerate()
            .map(|(id, node)| (id as NodeId, node));
        numbered.filter(move |(id, _)| self.worker_of(*id) == worker)
    }

    fn outputs(&self) -> Vec<WorkflowOutput> {
        let output = |(number, source): (usize, &Source)| {
            let worker = match source {
                Source::Output { node, .. } => self.worker_of(*node),
                Source::Input(_) | Source::Item | Source::Constant(_) => 0,
            };
            let kind = self.workflow.kind_of(*source);
            WorkflowOutput::new(format!("o{number}"), kind, *source, worker)
        };
        self.workflow
            .outputs
            .iter()
            .enumerate()
            .map(output)
            .collect()
    }

    fn participants(&self) -> Vec<Participant> {
        let mut participants: BTreeMap<WorkerIndex, BTreeSet<u16>> = BTreeMap::new();
        for (number, node) in self.workflow.nodes.iter().enumerate() {
            let inputs = participants
                .entry(self.worker_of(number as NodeId))
                .or_default();
            inputs.extend(node.reads().filter_map(|source| match source {
                Source::Input(input) => Some(input),
                Source::Output { .. } | Source::Item | Source::Constant(_) => None,
            }));
        }
        participants
            .into_iter()
            .map(|(worker, inputs)| Participant {
                worker,
                inputs: inputs.into_iter().collect(),
            })
            .collect()
    }

    fn node(&self, id: NodeId, node: &Node, executable: u16) -> NodePlan {
        let input = |(number, source): (usize, &Source)| {
            let kind = self.workflow.kind_of(*source);
            InputPlan::new(format!("a{number}"), kind, *source)
        };
        let output = |(number, kind): (usize, &Kind)| Declaration {
            name: format!("r{number}"),
            kind: *kind,
        };
        NodePlan {
            id,
            name: node_name(id),
            work: Work::Function {
                executable,
                function: format!("f{id}"),
                arguments: Vec::new(),
            },
            foreach: node.foreach,
            inputs: node.inputs.iter().enumerate().map(input).collect(),
            outputs: node.outputs.iter().enumerate().map(output).collect(),
            after: node.after.clone(),
            retry: node.retry.clone(),
            timeout_ms: node.timeout_ms,
            remote_consumers: self.remote_consumers(id),
            ..NodePlan::default()
        }
    }

    fn remote_consumers(&self, producer: NodeId) -> Vec<RemoteConsumer> {
        let mut consumers: BTreeMap<WorkerIndex, BTreeSet<u16>> = BTreeMap::new();
        for (number, node) in self.workflow.nodes.iter().enumerate() {
            let worker = self.worker_of(number as NodeId);
            if worker == self.me {
                continue;
            }
            for source in node.reads() {
                if let Source::Output { node, output } = source
                    && node == producer
                {
                    consumers.entry(worker).or_default().insert(output);
                }
            }
            if node.after.contains(&producer) {
                consumers.entry(worker).or_default();
            }
        }
        consumers
            .into_iter()
            .map(|(worker, outputs)| RemoteConsumer {
                worker,
                outputs: outputs.into_iter().collect(),
            })
            .collect()
    }

    fn remote_nodes(&self) -> Vec<RemoteNode> {
        let producers: BTreeSet<NodeId> = self
            .nodes_of(self.me)
            .flat_map(|(_, node)| node.predecessors())
            .filter(|producer| self.worker_of(*producer) != self.me)
            .collect();
        let outputs = |node: NodeId| {
            let count = self.workflow.nodes[node as usize].outputs.len();
            (0..count)
                .map(|o| {
                    self.workflow.kind_of(Source::Output {
                        node,
                        output: o as u16,
                    })
                })
                .collect()
        };
        producers
            .into_iter()
            .map(|id| RemoteNode {
                id,
                name: node_name(id),
                worker: self.worker_of(id),
                outputs: outputs(id),
                error_output: None,
                cases: 0,
                catches: 0,
            })
            .collect()
    }
}
