//! Plans of a workflow for every worker, from a placement: what the master would send.

use crate::divided::{Divided, Heard, output_of};
use crate::random::Random;
use crate::workflow::Workflow;
use engine::plan::{
    Declaration, DeploymentId, ExecutablePlan, Limits, NodeId, NodePlan, Participant, Plan,
    PortRef, PortType, RegionPlan, RemoteConsumer, RemoteNode, Replica, Source, Trust, Work,
    WorkerIndex, WorkerRef, WorkflowOutput,
};
use faasstore::binding::Kind;
use std::collections::BTreeSet;

/// What all payloads are said to be.
const SCHEMA: u64 = 0x7e57;

/// Which workers there are, how regions are divided, and which node runs where.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Lanes of each worker.
    pub lanes: Vec<u8>,
    /// The workflow's nodes in parts.
    pub divided: Divided,
    /// By node of these.
    pub workers: Vec<WorkerIndex>,
}

impl Placement {
    /// One that divides nothing; `workers` says where each node runs.
    #[must_use]
    pub fn whole(workflow: &Workflow, lanes: Vec<u8>, workers: Vec<WorkerIndex>) -> Self {
        Self {
            lanes,
            divided: workflow.divided(|_| vec![1]),
            workers,
        }
    }

    /// Some outermost regions in parts, and nodes anywhere, but those of a region or a part together.
    #[must_use]
    pub fn random(random: &mut Random, workflow: &Workflow, lanes: Vec<u8>) -> Self {
        let mut weights: Vec<Vec<u32>> = Vec::new();
        for region in 0..workflow.regions.len() as u16 {
            // Mostly those over what one in parts has gathered.
            let over = workflow.list_producer(region);
            let over = over
                .and_then(|node| workflow.just_within(None, workflow.nodes[node as usize].region));
            let over_parts = over.is_some_and(|over| weights[usize::from(over)].len() > 1);
            let parts = if random.chance(if over_parts { 900 } else { 500 }) {
                random.between(2, 3)
            } else {
                1
            };
            let weight = |_| random.between(1, 4) as u32;
            weights.push((0..parts).map(weight).collect());
        }
        let divided = workflow.divided(|region| weights[usize::from(region)].clone());
        let mut workers: Vec<WorkerIndex> = Vec::new();
        let mut last = None;
        for node in 0..divided.nodes.len() as NodeId {
            let region = divided.outermost(node);
            workers.push(match workers.last() {
                Some(worker) if region.is_some() && region == last => *worker,
                _ => random.below(lanes.len()) as WorkerIndex,
            });
            last = region;
        }
        Self {
            lanes,
            divided,
            workers,
        }
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
    let worker_of = |node: NodeId| placement.workers[node as usize];
    let heard = placement.divided.heard(worker_of);
    (0..placement.lanes.len())
        .map(|me| {
            let plan = Planner {
                workflow,
                placement,
                divided: &placement.divided,
                heard: &heard,
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
    divided: &'a Divided,
    heard: &'a Heard,
    me: WorkerIndex,
}

impl Planner<'_> {
    fn plan(&self, name: &DeploymentName, limits: Limits) -> Plan {
        let executables: BTreeSet<u16> = self
            .nodes_of(self.me)
            .filter_map(|node| node.work.executable())
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
                .map(|node| self.node(node, &executables))
                .collect(),
            remote_nodes: self.remote_nodes(),
            wholes: self.divided.wholes_on(self.me, self.heard),
            executables: executables
                .iter()
                .map(|executable| ExecutablePlan {
                    name: format!("e{executable}"),
                    scale: self.workflow.scales[usize::from(*executable)],
                    memory_mib: 1,
                    trust: Trust::Own,
                })
                .collect(),
            constants: self.workflow.constants.clone(),
            timeout_ms: self.workflow.timeout_ms,
            types: self.types(),
            maxima: Vec::new(),
            memory: None,
            limits,
        }
    }

    /// Everything is of one type.
    fn types(&self) -> Vec<PortType> {
        let typed = |ports: &mut dyn Iterator<Item = Kind>, port: &dyn Fn(u16) -> PortRef| {
            let typed = (0..).zip(ports).filter(|(_, kind)| *kind != Kind::Value);
            typed.map(|(number, _)| port(number)).collect::<Vec<_>>()
        };
        let functions = || {
            let local = self.nodes_of(self.me);
            local.filter(|node| matches!(node.work, Work::Function { .. }))
        };
        let inputs = &mut self.workflow.inputs.iter().map(|input| input.kind);
        let outputs = &mut self.workflow.outputs.iter().map(|output| output.kind);
        let mut ports = typed(inputs, &PortRef::Input);
        ports.extend(typed(outputs, &PortRef::Output));
        for node in functions() {
            let read = |input| PortRef::Read {
                node: node.id,
                input,
            };
            ports.extend(typed(
                &mut node.inputs.iter().map(|input| input.kind),
                &read,
            ));
        }
        for node in functions() {
            let written = |output| PortRef::Written {
                node: node.id,
                output,
            };
            let returned = node.outputs.len() - usize::from(node.error_output.is_some());
            let outputs = node.outputs[..returned].iter();
            ports.extend(typed(&mut outputs.map(|output| output.kind), &written));
        }
        let typed = ports.into_iter().map(|port| PortType {
            port,
            schema: SCHEMA,
        });
        typed.collect()
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

    fn nodes_of(&self, worker: WorkerIndex) -> impl Iterator<Item = &NodePlan> + '_ {
        let nodes = self.divided.nodes.iter();
        nodes.filter(move |node| self.worker_of(node.id) == worker)
    }

    fn outputs(&self) -> Vec<WorkflowOutput> {
        let mut outputs = self.divided.outputs.clone();
        for from in outputs.iter_mut().flat_map(|output| &mut output.sources) {
            from.worker = match from.source {
                Source::Output { node, .. } => self.worker_of(node),
                Source::Input(_)
                | Source::First { .. }
                | Source::Item { .. }
                | Source::Constant(_) => 0,
            };
        }
        outputs
    }

    fn participants(&self) -> Vec<Participant> {
        let workers: BTreeSet<WorkerIndex> = self.placement.workers.iter().copied().collect();
        let participant = |worker| Participant {
            worker,
            inputs: self.heard.inputs(worker),
            sections: self.heard.input_sections(worker),
        };
        workers.into_iter().map(participant).collect()
    }

    fn node(&self, node: &NodePlan, executables: &[u16]) -> NodePlan {
        let mut planned = node.clone();
        planned.name = node_name(self.divided.of[node.id as usize]);
        if let Work::Function { executable, .. } = &mut planned.work {
            let place = executables.iter().position(|one| one == executable);
            *executable = place.map_or(0, |place| place as u16);
        }
        planned.region = node.region.map(|region| self.place_of(region));
        planned.remote_consumers = self.remote_consumers(node.id);
        planned
    }

    /// The regions on this worker, by their numbers in the divided workflow.
    fn regions_here(&self) -> Vec<u16> {
        let regions = self.nodes_of(self.me).flat_map(|node| {
            let around = |region: &u16| self.divided.regions[usize::from(*region)].parent;
            std::iter::successors(node.region, around)
        });
        let regions: BTreeSet<u16> = regions.collect();
        regions.into_iter().collect()
    }

    fn place_of(&self, region: u16) -> u16 {
        let place = self.regions_here().iter().position(|one| *one == region);
        place.map_or(0, |place| place as u16)
    }

    fn regions(&self) -> Vec<RegionPlan> {
        let planned = |region: u16| {
            let region = self.divided.regions[usize::from(region)].clone();
            RegionPlan {
                parent: region.parent.map(|parent| self.place_of(parent)),
                ..region
            }
        };
        self.regions_here().into_iter().map(planned).collect()
    }

    fn remote_consumers(&self, producer: NodeId) -> Vec<RemoteConsumer> {
        let told = self.heard.told.iter();
        let told = told.filter(|((node, _), _)| *node == producer);
        let consumer =
            |((_, worker), outputs): (&(NodeId, WorkerIndex), &BTreeSet<u16>)| RemoteConsumer {
                worker: *worker,
                outputs: outputs.iter().copied().collect(),
                sections: self
                    .divided
                    .sections_of(producer, *worker, outputs, self.heard),
            };
        told.map(consumer).collect()
    }

    fn remote_nodes(&self) -> Vec<RemoteNode> {
        // Whoever takes an invocation waits for its outputs.
        let outputs = self.divided.outputs.iter();
        let sources = outputs.flat_map(|output| &output.sources);
        let for_outputs = sources.filter_map(|from| Some(output_of(from.source)?.0));
        let told = self.heard.told.keys();
        let told = told.filter(|(_, worker)| *worker == self.me);
        let producers: BTreeSet<NodeId> = told.map(|(node, _)| *node).chain(for_outputs).collect();
        let elsewhere = producers
            .into_iter()
            .filter(|node| self.worker_of(*node) != self.me);
        elsewhere.map(|id| self.remote_node(id)).collect()
    }

    fn remote_node(&self, id: NodeId) -> RemoteNode {
        let node = &self.divided.nodes[id as usize];
        let seen = |output: &Declaration| Declaration {
            name: output.name.clone(),
            kind: match node.region {
                Some(_) => Kind::List,
                None => output.kind,
            },
        };
        let of = self.divided.of[id as usize];
        RemoteNode {
            id,
            name: node_name(of),
            worker: self.worker_of(id),
            outputs: node.outputs.iter().map(seen).collect(),
            error_output: node.error_output,
            cases: node.work.cases() as u16,
            catches: node.catches.len() as u16,
            part: self.divided.part(id),
        }
    }
}
