//! Workflows written down node by node, and their plans for one worker or for two.

use super::rig::EXECUTORS;
use engine::plan::{
    Declaration, DeploymentId, ExecutablePlan, Gate, Limits, NodeId, NodePlan, Participant, Plan,
    RegionPlan, RemoteConsumer, RemoteNode, Replica, Source, Work, WorkerIndex, WorkerRef,
    WorkflowInput, WorkflowOutput,
};
use faasstore::binding::Kind;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
        };
        change(&mut region);
        self.regions.push(region);
        (self.regions.len() - 1) as u16
    }

    /// The outermost region that holds a node.
    fn outermost(&self, node: NodeId) -> Option<u16> {
        let mut region = self.nodes[node as usize].region?;
        while let Some(parent) = self.regions[usize::from(region)].parent {
            region = parent;
        }
        Some(region)
    }

    /// Nodes run on the workers in turn, those of a region where its first one does.
    fn worker_of(&self, node: NodeId, workers: usize) -> WorkerIndex {
        let region = self.outermost(node);
        let mut nodes = 0..self.nodes.len() as NodeId;
        let first = nodes.find(|other| region.is_some() && self.outermost(*other) == region);
        (first.unwrap_or(node) as usize % workers) as WorkerIndex
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

    /// The plans of so many workers, on which the nodes run in turn.
    pub(crate) fn plans(&self, workers: usize) -> Vec<Plan> {
        let worker_of = |node: NodeId| self.worker_of(node, workers);
        let mut outputs = self.outputs.clone();
        for from in outputs.iter_mut().flat_map(|output| &mut output.sources) {
            if let Source::Output { node, .. } = from.source {
                from.worker = worker_of(node);
            }
        }
        let mut participants: BTreeMap<WorkerIndex, BTreeSet<u16>> = BTreeMap::new();
        // Who must hear of a node, and which of its outputs it reads.
        let mut told: BTreeMap<(NodeId, WorkerIndex), BTreeSet<u16>> = BTreeMap::new();
        for node in &self.nodes {
            let me = worker_of(node.id);
            let inputs = participants.entry(me).or_default();
            let waits_for = node
                .after
                .iter()
                .copied()
                .chain(node.gates.iter().map(|g| g.node()));
            for producer in waits_for {
                told.entry((producer, me)).or_default();
            }
            let mut lists = Vec::new();
            let mut region = node.region;
            while let Some(number) = region {
                lists.push(self.regions[usize::from(number)].list);
                region = self.regions[usize::from(number)].parent;
            }
            for source in node.reads().chain(lists) {
                match source {
                    Source::Input(input) => {
                        inputs.insert(input);
                    }
                    Source::Output { node, output } | Source::First { node, output } => {
                        told.entry((node, me)).or_default().insert(output);
                    }
                    Source::Item { .. } | Source::Constant(_) => {}
                }
            }
        }
        told.retain(|(node, worker), _| worker_of(*node) != *worker);
        let plan = |me: WorkerIndex| Plan {
            deployment: DEPLOYMENT,
            replica: Replica::only(DEPLOYMENT),
            workflow: "flow".into(),
            version: 1,
            me,
            workers: (0..workers).map(worker_ref).collect(),
            inputs: self.inputs.clone(),
            constants: self.constants.clone(),
            timeout_ms: self.timeout_ms,
            regions: self.regions_of(me, worker_of).1,
            outputs: outputs.clone(),
            participants: participants
                .iter()
                .map(|(worker, inputs)| Participant {
                    worker: *worker,
                    inputs: inputs.iter().copied().collect(),
                })
                .collect(),
            nodes: self
                .nodes
                .iter()
                .filter(|node| worker_of(node.id) == me)
                .map(|node| NodePlan {
                    remote_consumers: told
                        .iter()
                        .filter(|((of, _), _)| *of == node.id)
                        .map(|((_, worker), outputs)| RemoteConsumer {
                            worker: *worker,
                            outputs: outputs.iter().copied().collect(),
                        })
                        .collect(),
                    region: node
                        .region
                        .map(|region| self.regions_of(me, worker_of).0[&region]),
                    ..node.clone()
                })
                .collect(),
            remote_nodes: self.remote_nodes(me, worker_of, &told),
            executables: vec![ExecutablePlan {
                name: "functions".into(),
                scale: EXECUTORS as u16,
                memory_mib: 1,
            }],
            limits: Limits::default(),
        };
        (0..workers as WorkerIndex).map(plan).collect()
    }

    /// The regions of a worker, and their numbers there.
    fn regions_of(
        &self,
        me: WorkerIndex,
        worker_of: impl Fn(NodeId) -> WorkerIndex,
    ) -> (HashMap<u16, u16>, Vec<RegionPlan>) {
        let mut here = BTreeSet::new();
        for node in self.nodes.iter().filter(|node| worker_of(node.id) == me) {
            let mut region = node.region;
            while let Some(number) = region {
                here.insert(number);
                region = self.regions[usize::from(number)].parent;
            }
        }
        let numbers: HashMap<u16, u16> = here.iter().copied().zip(0..).collect();
        let regions = here.iter().map(|number| RegionPlan {
            parent: self.regions[usize::from(*number)]
                .parent
                .map(|parent| numbers[&parent]),
            ..self.regions[usize::from(*number)].clone()
        });
        let regions = regions.collect();
        (numbers, regions)
    }

    fn remote_nodes(
        &self,
        me: WorkerIndex,
        worker_of: impl Fn(NodeId) -> WorkerIndex,
        told: &BTreeMap<(NodeId, WorkerIndex), BTreeSet<u16>>,
    ) -> Vec<RemoteNode> {
        let handed_over = self.outputs.iter().flat_map(|output| &output.sources);
        let handed_over: BTreeSet<NodeId> = handed_over
            .filter_map(|from| match from.source {
                Source::Output { node, .. } => Some(node),
                _ => None,
            })
            .collect();
        let matters = |node: &&NodePlan| {
            worker_of(node.id) != me
                && (told.contains_key(&(node.id, me)) || handed_over.contains(&node.id))
        };
        let kind = |node: &NodePlan, kind: Kind| {
            if node.region.is_some() {
                Kind::List
            } else {
                kind
            }
        };
        self.nodes
            .iter()
            .filter(matters)
            .map(|node| RemoteNode {
                id: node.id,
                name: node.name.clone(),
                worker: worker_of(node.id),
                outputs: node.outputs.iter().map(|o| kind(node, o.kind)).collect(),
                error_output: node.error_output,
                cases: node.work.cases() as u16,
                catches: node.catches.len() as u16,
            })
            .collect()
    }
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
