//! Plans of a workflow for every worker, from a placement: what the master would send.

use crate::random::Random;
use crate::workflow::Workflow;
use engine::plan::{
    DeploymentId, ExecutablePlan, Limits, NodeId, NodePlan, OutputSource, Participant, Plan,
    RegionPlan, RemoteConsumer, RemoteNode, Replica, Source, Work, WorkerIndex, WorkerRef,
    WorkflowOutput,
};
use std::collections::{BTreeMap, BTreeSet};

/// Which workers there are, and which node runs where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Lanes of each worker.
    pub lanes: Vec<u8>,
    /// By node.
    pub workers: Vec<WorkerIndex>,
}

impl Placement {
    /// Nodes anywhere, but those of a region together.
    #[must_use]
    pub fn random(random: &mut Random, workflow: &Workflow, lanes: Vec<u8>) -> Self {
        let outermost = |node: &NodePlan| workflow.just_within(None, node.region);
        let mut workers: Vec<WorkerIndex> = Vec::new();
        for (number, node) in workflow.nodes.iter().enumerate() {
            let before = number.checked_sub(1).map(|before| &workflow.nodes[before]);
            let same = before.is_some_and(|before| {
                node.region.is_some() && outermost(before) == outermost(node)
            });
            workers.push(match workers.last() {
                Some(worker) if same => *worker,
                _ => random.below(lanes.len()) as WorkerIndex,
            });
        }
        Self { lanes, workers }
    }
}

/// What a deployment is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeploymentName {
    /// Unique.
    pub id: DeploymentId,
    /// Which of its placements.
    pub replica: Replica,
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
            .filter_map(|(_, node)| node.work.executable())
            .collect();
        let executables: Vec<u16> = executables.into_iter().collect();
        Plan {
            deployment: name.id,
            replica: name.replica,
            workflow: name.workflow.clone(),
            version: name.version,
            me: self.me,
            workers: (0..self.placement.lanes.len())
                .map(|worker| self.worker(worker))
                .collect(),
            inputs: self.workflow.inputs.clone(),
            outputs: self.outputs(),
            participants: self.participants(),
            regions: self.regions(),
            nodes: self
                .nodes_of(self.me)
                .map(|(id, node)| self.node(id, node, &executables))
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
            constants: self.workflow.constants.clone(),
            timeout_ms: self.workflow.timeout_ms,
            limits,
        }
    }

    fn worker(&self, worker: usize) -> WorkerRef {
        WorkerRef {
            name: worker_name(worker),
            address: format!("127.0.0.1:{}", 7000 + worker),
            lanes: self.placement.lanes[worker],
            epoch: 1,
        }
    }

    fn worker_of(&self, node: NodeId) -> WorkerIndex {
        self.placement.workers[node as usize]
    }

    fn nodes_of(&self, worker: WorkerIndex) -> impl Iterator<Item = (NodeId, &NodePlan)> + '_ {
        let numbered = self
            .workflow
            .nodes
            .iter()
            .enumerate()
            .map(|(id, node)| (id as NodeId, node));
        numbered.filter(move |(id, _)| self.worker_of(*id) == worker)
    }

    fn outputs(&self) -> Vec<WorkflowOutput> {
        let mut outputs = self.workflow.outputs.clone();
        for from in outputs.iter_mut().flat_map(|output| &mut output.sources) {
            *from = OutputSource {
                source: from.source,
                worker: match from.source {
                    Source::Output { node, .. } => self.worker_of(node),
                    Source::Input(_)
                    | Source::First { .. }
                    | Source::Item { .. }
                    | Source::Constant(_) => 0,
                },
            };
        }
        outputs
    }

    fn participants(&self) -> Vec<Participant> {
        let mut participants: BTreeMap<WorkerIndex, BTreeSet<u16>> = BTreeMap::new();
        for (number, node) in self.workflow.nodes.iter().enumerate() {
            let inputs = participants
                .entry(self.worker_of(number as NodeId))
                .or_default();
            let around = |region: &u16| self.workflow.regions[usize::from(*region)].parent;
            let regions = std::iter::successors(node.region, around);
            let lists = regions.map(|region| self.workflow.regions[usize::from(region)].list);
            inputs.extend(node.reads().chain(lists).filter_map(|source| match source {
                Source::Input(input) => Some(input),
                Source::Output { .. }
                | Source::First { .. }
                | Source::Item { .. }
                | Source::Constant(_) => None,
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

    fn node(&self, id: NodeId, node: &NodePlan, executables: &[u16]) -> NodePlan {
        let mut planned = node.clone();
        (planned.id, planned.name) = (id, node_name(id));
        if let Work::Function { executable, .. } = &mut planned.work {
            let place = executables.iter().position(|one| one == executable);
            *executable = place.map_or(0, |place| place as u16);
        }
        planned.region = node.region.map(|region| self.place_of(region));
        planned.remote_consumers = self.remote_consumers(id);
        planned
    }

    /// The regions on this worker, by their numbers in the workflow.
    fn regions_here(&self) -> Vec<u16> {
        let here = |region: &u16| {
            let first = self.workflow.nodes_within(*region).next();
            first.is_some_and(|node| self.worker_of(node) == self.me)
        };
        (0..self.workflow.regions.len() as u16)
            .filter(here)
            .collect()
    }

    fn place_of(&self, region: u16) -> u16 {
        let place = self.regions_here().iter().position(|one| *one == region);
        place.map_or(0, |place| place as u16)
    }

    fn regions(&self) -> Vec<RegionPlan> {
        let planned = |region: u16| {
            let region = self.workflow.regions[usize::from(region)].clone();
            RegionPlan {
                parent: region.parent.map(|parent| self.place_of(parent)),
                ..region
            }
        };
        self.regions_here().into_iter().map(planned).collect()
    }

    fn remote_consumers(&self, producer: NodeId) -> Vec<RemoteConsumer> {
        let mut consumers: BTreeMap<WorkerIndex, BTreeSet<u16>> = BTreeMap::new();
        for (number, node) in self.workflow.nodes.iter().enumerate() {
            let worker = self.worker_of(number as NodeId);
            if worker == self.me {
                continue;
            }
            for source in node.reads() {
                if let Source::Output { node, output } | Source::First { node, output } = source
                    && node == producer
                {
                    consumers.entry(worker).or_default().insert(output);
                }
            }
            let around = |region: &u16| self.workflow.regions[usize::from(*region)].parent;
            for region in std::iter::successors(node.region, around) {
                if let Source::Output { node, output } =
                    self.workflow.regions[usize::from(region)].list
                    && node == producer
                {
                    consumers.entry(worker).or_default().insert(output);
                }
            }
            // Edges that carry nothing: `after`, and gates.
            if self
                .workflow
                .predecessors(number as NodeId)
                .contains(&producer)
            {
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
        let regions = self.regions_here();
        let lists = regions
            .iter()
            .filter_map(|region| self.workflow.list_producer(*region));
        let producers: BTreeSet<NodeId> = self
            .nodes_of(self.me)
            .flat_map(|(id, _)| self.workflow.predecessors(id))
            .chain(lists)
            .filter(|producer| self.worker_of(*producer) != self.me)
            .collect();
        let remote = |id: NodeId| {
            let node = &self.workflow.nodes[id as usize];
            let outputs = 0..node.outputs.len() as u16;
            RemoteNode {
                id,
                name: node_name(id),
                worker: self.worker_of(id),
                outputs: outputs
                    .map(|output| {
                        self.workflow
                            .kind_of(Source::Output { node: id, output }, None)
                    })
                    .collect(),
                error_output: node.error_output,
                cases: node.work.cases() as u16,
                catches: node.catches.len() as u16,
            }
        };
        producers.into_iter().map(remote).collect()
    }
}
