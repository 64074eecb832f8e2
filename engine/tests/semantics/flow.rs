//! Workflows written down node by node, and their plans for one worker or for two.

use super::divided::{Divided, Heard, divided};
use super::rig::EXECUTORS;
use engine::plan::{
    Declaration, DeploymentId, ExecutablePlan, Gate, Limits, NodeId, NodePlan, Participant, Plan,
    RegionPlan, RemoteConsumer, RemoteNode, Replica, Source, StoreChoice, Trust, Work, WorkerIndex,
    WorkerRef, WorkflowInput, WorkflowOutput,
};
use faasstore::binding::Kind;
use std::collections::{BTreeSet, HashMap};

/// The one deployment.
pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId(1);

/// A workflow before it is planned: nodes are numbered by their places.
#[derive(Clone, Default)]
pub(crate) struct Flow {
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) regions: Vec<RegionPlan>,
    pub(crate) inputs: Vec<WorkflowInput>,
    pub(crate) constants: Vec<engine::plan::Constant>,
    pub(crate) outputs: Vec<WorkflowOutput>,
    pub(crate) timeout_ms: Option<u32>,
    /// How long its workers let anything that runs go on.
    pub(crate) lease_ms_max: Option<u64>,
    /// What it says of payloads without room.
    pub(crate) store: StoreChoice,
}

impl Flow {
    /// Adds a node that runs a function with one output, `out`; its number.
    pub(crate) fn function(&mut self, name: &str, change: impl FnOnce(&mut NodePlan)) -> NodeId {
        let work = Work::Function {
            executable: 0,
            function: name.into(),
            arguments: Vec::new(),
        };
        self.node(name, work, |node| {
            node.outputs = vec![declared("out", Kind::Bytes)];
            change(node);
        })
    }

    /// Adds a region over this list; its number.
    pub(crate) fn region(&mut self, list: Source, change: impl FnOnce(&mut RegionPlan)) -> u16 {
        let mut region = RegionPlan {
            parent: None,
            list,
            batch: None,
            parallelism: None,
            part: None,
        };
        change(&mut region);
        self.regions.push(region);
        (self.regions.len() - 1) as u16
    }

    /// Adds a switch with so many cases, the last one its default; its number.
    pub(crate) fn switch(
        &mut self,
        name: &str,
        cases: usize,
        change: impl FnOnce(&mut NodePlan),
    ) -> NodeId {
        let work = Work::Switch {
            conditions: vec!["true".into(); cases - 1],
            default: true,
        };
        self.node(name, work, change)
    }

    pub(crate) fn node(
        &mut self,
        name: &str,
        work: Work,
        change: impl FnOnce(&mut NodePlan),
    ) -> NodeId {
        let id = self.nodes.len() as NodeId;
        let mut node = NodePlan {
            id,
            name: name.into(),
            work,
            ..NodePlan::default()
        };
        change(&mut node);
        self.nodes.push(node);
        id
    }

    /// An output of the workflow: the first of these that is there.
    pub(crate) fn output(&mut self, name: &str, sources: &[Source], optional: bool) {
        let mut output = WorkflowOutput::new(name, Kind::Bytes, sources[0], 0);
        output.kind = match sources[0] {
            Source::Output { node, .. } if self.nodes[node as usize].region.is_some() => Kind::List,
            Source::Output { node, output } => {
                self.nodes[node as usize].outputs[usize::from(output)].kind
            }
            _ => Kind::Bytes,
        };
        let from = output.sources[0];
        let from = |source: &Source| engine::plan::OutputSource {
            source: *source,
            ..from
        };
        output.sources = sources.iter().map(from).collect();
        output.optional = optional;
        self.outputs.push(output);
    }

    /// The workflow with each outermost region divided by these weights; one leaves it whole.
    pub(crate) fn divided(&self, weights: &[u32]) -> Divided {
        let weights = |_| weights.to_vec();
        divided(&self.nodes, &self.regions, &self.outputs, weights)
    }

    /// The plans of so many workers, on which the nodes run in turn, those of a region where its first one does, and its parts
    /// in turn.
    pub(crate) fn plans(&self, divided: &Divided, workers: usize) -> Vec<Plan> {
        let worker_of = |node: NodeId| worker_of(divided, node, workers);
        let heard = divided.heard(worker_of);
        let mut outputs = divided.outputs.clone();
        for from in outputs.iter_mut().flat_map(|output| &mut output.sources) {
            if let Source::Output { node, .. } = from.source {
                from.worker = worker_of(node);
            }
        }
        let taking_part: BTreeSet<WorkerIndex> = divided
            .nodes
            .iter()
            .map(|node| worker_of(node.id))
            .collect();
        let participants = taking_part.iter().map(|worker| Participant {
            worker: *worker,
            inputs: heard.inputs(*worker),
            sections: heard.input_sections(*worker),
        });
        let participants: Vec<Participant> = participants.collect();
        let plan = |me: WorkerIndex| {
            let (numbers, regions) = regions_of(divided, me, worker_of);
            let here = divided.nodes.iter().filter(|node| worker_of(node.id) == me);
            let node = |node: &NodePlan| {
                let told = heard.told.iter().filter(|((of, _), _)| *of == node.id);
                let consumer =
                    |((_, worker), outputs): (&(NodeId, WorkerIndex), &BTreeSet<u16>)| {
                        RemoteConsumer {
                            worker: *worker,
                            outputs: outputs.iter().copied().collect(),
                            sections: divided.sections_of(node.id, *worker, outputs, &heard),
                        }
                    };
                NodePlan {
                    remote_consumers: told.map(consumer).collect(),
                    region: node.region.map(|region| numbers[&region]),
                    ..node.clone()
                }
            };
            Plan {
                deployment: DEPLOYMENT,
                replica: Replica::only(DEPLOYMENT),
                workflow: "flow".into(),
                version: 1,
                me,
                workers: (0..workers).map(worker_ref).collect(),
                inputs: self.inputs.clone(),
                constants: self.constants.clone(),
                timeout_ms: self.timeout_ms,
                regions,
                outputs: outputs.clone(),
                participants: participants.clone(),
                nodes: here.map(node).collect(),
                remote_nodes: remote_nodes(divided, me, worker_of, &heard),
                wholes: divided.wholes_on(me, &heard),
                executables: vec![ExecutablePlan {
                    name: "functions".into(),
                    scale: EXECUTORS as u16,
                    memory_mib: 1,
                    trust: Trust::Own,
                }],
                types: Vec::new(),
                maxima: Vec::new(),
                memory: None,
                limits: Limits {
                    store: self.store,
                    ..Limits::default()
                },
            }
        };
        (0..workers as WorkerIndex).map(plan).collect()
    }
}

/// The worker on which a node runs.
fn worker_of(divided: &Divided, node: NodeId, workers: usize) -> WorkerIndex {
    let outermost = |node: NodeId| {
        let mut region = divided.nodes[node as usize].region?;
        while let Some(parent) = divided.regions[usize::from(region)].parent {
            region = parent;
        }
        Some(region)
    };
    let region = outermost(node);
    let mut nodes = 0..divided.nodes.len() as NodeId;
    let first = nodes.find(|other| region.is_some() && outermost(*other) == region);
    let turn = match divided.part(node) {
        Some(part) => usize::from(part.number),
        None => first.unwrap_or(node) as usize,
    };
    (turn % workers) as WorkerIndex
}

/// The regions of a worker, and their numbers there.
fn regions_of(
    divided: &Divided,
    me: WorkerIndex,
    worker_of: impl Fn(NodeId) -> WorkerIndex,
) -> (HashMap<u16, u16>, Vec<RegionPlan>) {
    let mut here = BTreeSet::new();
    for node in divided.nodes.iter().filter(|node| worker_of(node.id) == me) {
        let mut region = node.region;
        while let Some(number) = region {
            here.insert(number);
            region = divided.regions[usize::from(number)].parent;
        }
    }
    let numbers: HashMap<u16, u16> = here.iter().copied().zip(0..).collect();
    let regions = here.iter().map(|number| {
        let region = &divided.regions[usize::from(*number)];
        RegionPlan {
            parent: region.parent.map(|parent| numbers[&parent]),
            ..region.clone()
        }
    });
    let regions = regions.collect();
    (numbers, regions)
}

fn remote_nodes(
    divided: &Divided,
    me: WorkerIndex,
    worker_of: impl Fn(NodeId) -> WorkerIndex,
    heard: &Heard,
) -> Vec<RemoteNode> {
    let handed_over = divided.outputs.iter().flat_map(|output| &output.sources);
    let handed_over: BTreeSet<NodeId> = handed_over
        .filter_map(|from| match from.source {
            Source::Output { node, .. } => Some(node),
            _ => None,
        })
        .collect();
    let matters = |node: &&NodePlan| {
        worker_of(node.id) != me
            && (heard.told.contains_key(&(node.id, me)) || handed_over.contains(&node.id))
    };
    let seen = |node: &NodePlan, output: &Declaration| Declaration {
        name: output.name.clone(),
        kind: if node.region.is_some() {
            Kind::List
        } else {
            output.kind
        },
    };
    divided
        .nodes
        .iter()
        .filter(matters)
        .map(|node| RemoteNode {
            id: node.id,
            name: node.name.clone(),
            worker: worker_of(node.id),
            outputs: node.outputs.iter().map(|o| seen(node, o)).collect(),
            error_output: node.error_output,
            cases: node.work.cases() as u16,
            catches: node.catches.len() as u16,
            part: divided.part(node.id),
        })
        .collect()
}

pub(crate) fn declared(name: &str, kind: Kind) -> Declaration {
    Declaration {
        name: name.into(),
        kind,
    }
}

/// The first output of a node.
pub(crate) fn out(node: NodeId) -> Source {
    Source::Output { node, output: 0 }
}

/// A needed input of bytes.
pub(crate) fn input(name: &str, source: Source) -> engine::plan::InputPlan {
    engine::plan::InputPlan::new(name, Kind::Bytes, source)
}

/// An optional input of bytes.
pub(crate) fn optional(name: &str, source: Source) -> engine::plan::InputPlan {
    engine::plan::InputPlan {
        optional: true,
        ..input(name, source)
    }
}

/// A workflow to whom its client gives a `list`.
pub(crate) fn over_list() -> Flow {
    Flow {
        inputs: vec![WorkflowInput::new("list", Kind::List)],
        ..Flow::default()
    }
}

pub(crate) fn case(node: NodeId, case: u16) -> Gate {
    Gate::Case { node, case }
}

pub(crate) fn catch(node: NodeId, catch: u16) -> Gate {
    Gate::Catch { node, catch }
}

pub(crate) fn worker_name(worker: usize) -> String {
    format!("w{worker}")
}

fn worker_ref(worker: usize) -> WorkerRef {
    WorkerRef {
        name: worker_name(worker),
        address: format!("127.0.0.1:{}", 7000 + worker),
        lanes: 1,
        epoch: 1,
    }
}
