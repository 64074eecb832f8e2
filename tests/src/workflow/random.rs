//! Random workflows: valid, small, and rich in whatever the language has.

mod node;
mod sources;

pub use node::ERROR_NAMES;

use super::Workflow;
use crate::functions::Datum;
use crate::random::Random;
use engine::plan::{Constant, Gate, NodeId, OutputSource, Source, WorkflowInput, WorkflowOutput};
use faasstore::binding::Kind;
use std::collections::BTreeSet;

/// How large random workflows are, and what their nodes may have.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Nodes at most; at least 1.
    pub nodes_max: usize,
    /// Attempts of a node by each of its retriers at most; at least 1.
    pub attempts_max: u32,
    /// Whether some nodes, and some workflows, have a timeout.
    pub timeouts: Timeouts,
}

/// Whether some nodes of a random workflow have a timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeouts {
    /// None has.
    Never,
    /// Some have.
    Sometimes,
}

/// Longest that an invocation of a workflow with a timeout may take, at most, in milliseconds.
const WORKFLOW_TIMEOUT_MS_MAX: usize = 30;

/// A workflow that grows.
struct Draft<'a> {
    workflow: Workflow,
    random: &'a mut Random,
    shape: Shape,
    /// How far back a node looks for its inputs: 1 makes chains, many make bushes.
    reach: usize,
    /// Cases and catches of the nodes so far.
    gates: Vec<Gate>,
    /// Nodes that only their join reads.
    reserved: BTreeSet<NodeId>,
    /// The region that further nodes are part of.
    region: Option<u16>,
}

impl Workflow {
    /// A random workflow with at least one node.
    #[must_use]
    pub fn random(random: &mut Random, shape: Shape) -> Self {
        let reach = random.pick(&[1, 2, 4, usize::MAX]);
        let workflow = Self {
            salt: random.bits(),
            scales: (0..random.between(1, 3))
                .map(|_| random.between(1, 4) as u16)
                .collect(),
            ..Self::empty()
        };
        let mut draft = Draft {
            workflow,
            random,
            shape,
            reach,
            gates: Vec::new(),
            reserved: BTreeSet::new(),
            region: None,
        };
        draft.constants();
        draft.inputs();
        let nodes = draft.random.between(1, shape.nodes_max);
        while draft.workflow.nodes.len() < nodes {
            draft.grow(nodes - draft.workflow.nodes.len());
        }
        draft.outputs();
        if shape.timeouts == Timeouts::Sometimes && draft.random.chance(200) {
            let timeout_ms = draft.random.between(1, WORKFLOW_TIMEOUT_MS_MAX) as u32;
            draft.workflow.timeout_ms = Some(timeout_ms);
        }
        let mut workflow = draft.workflow;
        workflow.mark_tolerated();
        workflow
    }

    /// Inputs for one invocation, some of them left out if they may be. Lists have zero, one or several items, and now and
    /// then many.
    #[must_use]
    pub fn random_inputs(&self, random: &mut Random) -> Vec<Option<Datum>> {
        self.inputs
            .iter()
            .map(|input| {
                let needed = input.default.is_none() && !input.optional;
                (needed || random.chance(500)).then(|| random_datum(random, input.kind))
            })
            .collect()
    }
}

/// Items of a list that a client gives, at most.
pub const INPUT_ITEMS_MAX: usize = 60;

fn random_bytes(random: &mut Random) -> Vec<u8> {
    let length = random.below(20);
    (0..length).map(|_| random.bits() as u8).collect()
}

fn random_items(random: &mut Random) -> Vec<Vec<u8>> {
    let items = random.pick(&[0, 0, 1, 2, 3, 5, 8]);
    let items = if random.chance(20) {
        INPUT_ITEMS_MAX
    } else {
        items
    };
    (0..items).map(|_| random_bytes(random)).collect()
}

fn random_datum(random: &mut Random, kind: Kind) -> Datum {
    match kind {
        Kind::Bytes | Kind::Value => Datum::One(random_bytes(random)),
        Kind::List => Datum::List(random_items(random).into_iter().map(Some).collect()),
    }
}

impl Draft<'_> {
    fn constants(&mut self) {
        for _ in 0..self.random.below(3) {
            let kind = self.random.pick(&[Kind::Bytes, Kind::Value, Kind::List]);
            let items = match kind {
                Kind::List => random_items(self.random),
                Kind::Bytes | Kind::Value => vec![random_bytes(self.random)],
            };
            self.workflow.constants.push(Constant { kind, items });
        }
    }

    fn inputs(&mut self) {
        for number in 0..self.random.below(4) {
            let kind = self.random.pick(&[Kind::Bytes, Kind::List, Kind::Value]);
            let mut input = WorkflowInput::new(crate::plans::input_name(number), kind);
            let defaults: Vec<u16> = (0..)
                .zip(&self.workflow.constants)
                .filter(|(_, constant)| constant.kind == kind)
                .map(|(number, _)| number)
                .collect();
            if !defaults.is_empty() && self.random.chance(400) {
                input.default = Some(self.random.pick(&defaults));
            } else if self.random.chance(200) {
                input.optional = true;
            }
            self.workflow.inputs.push(input);
        }
    }

    /// What the client gets: most of it may be missing, but not all.
    fn outputs(&mut self) {
        let mut sources = self.sources(usize::MAX);
        sources.retain(|source| !matches!(source, Source::First { .. }));
        if sources.is_empty() {
            return;
        }
        for number in 0..self.random.below(5) {
            let first = self.random.pick(&sources);
            let (kind, sources) = self.alternatives(&sources, first);
            let sure = sources.iter().any(|source| self.is_sure(*source));
            let optional = if sure {
                self.random.chance(100)
            } else {
                self.random.chance(850)
            };
            let from = |source: &Source| OutputSource {
                source: *source,
                worker: 0,
                part: None,
            };
            self.workflow.outputs.push(WorkflowOutput {
                name: format!("o{number}"),
                kind,
                sources: sources.iter().map(from).collect(),
                optional,
            });
        }
    }

    /// Whether nothing but a failure keeps this from being there: judged with caution.
    fn is_sure(&self, source: Source) -> bool {
        match source {
            Source::Input(number) => {
                let input = &self.workflow.inputs[usize::from(number)];
                input.default.is_some() || !input.optional
            }
            Source::Constant(_) => true,
            Source::First { .. } | Source::Item { .. } => false,
            Source::Output { node, output } => {
                let producer = &self.workflow.nodes[node as usize];
                producer.gates.is_empty()
                    && producer.region.is_none()
                    && producer.error_output != Some(output)
                    && self.workflow.predecessors(node).is_empty()
            }
        }
    }
}
