//! Workflows as they are written, without placement, and random ones.

use crate::functions::Datum;
use crate::random::Random;
use engine::plan::{NodeId, Retry, Source};
use faasstore::binding::Kind;
use std::collections::BTreeSet;

/// A node of a workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The list whose items it runs over.
    pub foreach: Option<Source>,
    /// Where its inputs come from.
    pub inputs: Vec<Source>,
    /// Of one activation.
    pub outputs: Vec<Kind>,
    /// Nodes that must have ended first, whatever they return.
    pub after: Vec<NodeId>,
    /// What happens on failure.
    pub retry: Retry,
    /// Longest an attempt may take, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// Which of the workflow's executables it is a function of.
    pub executable: u16,
}

impl Node {
    /// All that it reads, its foreach list included.
    pub fn reads(&self) -> impl Iterator<Item = Source> + '_ {
        self.inputs.iter().copied().chain(self.foreach)
    }

    /// The nodes that must have ended before it starts.
    #[must_use]
    pub fn predecessors(&self) -> BTreeSet<NodeId> {
        let data = self.reads().filter_map(|source| match source {
            Source::Output { node, .. } => Some(node),
            Source::Input(_) | Source::Item | Source::Constant(_) => None,
        });
        data.chain(self.after.iter().copied()).collect()
    }
}

/// A workflow. A node's place in `nodes` is its number; edges run from lower numbers to higher ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workflow {
    /// What its functions mix into all that they return: two workflows of one shape differ in it.
    pub salt: u64,
    /// Kinds of its inputs.
    pub inputs: Vec<Kind>,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Where its outputs come from.
    pub outputs: Vec<Source>,
    /// Executors of each executable, on each worker that runs it.
    pub scales: Vec<u16>,
}

/// How large random workflows are, and what their nodes may have.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Nodes at most; at least 1.
    pub nodes_max: usize,
    /// Attempts of a node at most; at least 1.
    pub attempts_max: u32,
    /// Whether some nodes have a timeout.
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

impl Workflow {
    /// The kind of what `source` gives to a consumer.
    ///
    /// # Panics
    /// If the workflow has no such source.
    #[must_use]
    pub fn kind_of(&self, source: Source) -> Kind {
        match source {
            Source::Input(input) => self.inputs[usize::from(input)],
            Source::Item | Source::Constant(_) => Kind::Bytes,
            Source::Output { node, output } => {
                let node = &self.nodes[node as usize];
                if node.foreach.is_some() {
                    Kind::List
                } else {
                    node.outputs[usize::from(output)]
                }
            }
        }
    }

    /// A random workflow with at least one node.
    #[must_use]
    pub fn random(random: &mut Random, shape: Shape) -> Self {
        let mut workflow = Self {
            salt: random.bits(),
            inputs: (0..random.below(4))
                .map(|_| random.pick(&[Kind::Bytes, Kind::List]))
                .collect(),
            nodes: Vec::new(),
            outputs: Vec::new(),
            scales: (0..random.between(1, 3))
                .map(|_| random.between(1, 4) as u16)
                .collect(),
        };
        // How far back a node looks for its inputs: 1 makes chains, many make bushes.
        let reach = random.pick(&[1, 2, 4, usize::MAX]);
        for _ in 0..random.between(1, shape.nodes_max) {
            let node = workflow.random_node(random, shape, reach);
            workflow.nodes.push(node);
        }
        let sources = workflow.sources(usize::MAX);
        if !sources.is_empty() {
            workflow.outputs = (0..random.below(5))
                .map(|_| random.pick(&sources))
                .collect();
        }
        workflow
    }

    /// Inputs for one invocation; lists have zero, one or several items, and now and then many.
    #[must_use]
    pub fn random_inputs(&self, random: &mut Random) -> Vec<Datum> {
        let bytes = |random: &mut Random| {
            (0..random.below(20))
                .map(|_| random.bits() as u8)
                .collect::<Vec<u8>>()
        };
        self.inputs
            .iter()
            .map(|kind| match kind {
                Kind::Bytes | Kind::Value => Datum::One(bytes(random)),
                Kind::List => {
                    let items = random.pick(&[0, 0, 1, 2, 3, 5, 8]);
                    let items = if random.chance(20) { 60 } else { items };
                    Datum::List((0..items).map(|_| bytes(random)).collect())
                }
            })
            .collect()
    }

    /// What a further node may read: the workflow's inputs, and outputs of the last `reach` nodes.
    fn sources(&self, reach: usize) -> Vec<Source> {
        let first = self.nodes.len().saturating_sub(reach);
        let inputs = (0..self.inputs.len()).map(|input| Source::Input(input as u16));
        let outputs = self
            .nodes
            .iter()
            .enumerate()
            .skip(first)
            .flat_map(|(node, made)| {
                (0..made.outputs.len()).map(move |output| Source::Output {
                    node: node as NodeId,
                    output: output as u16,
                })
            });
        inputs.chain(outputs).collect()
    }

    fn random_node(&self, random: &mut Random, shape: Shape, reach: usize) -> Node {
        let sources = self.sources(reach);
        let lists: Vec<Source> = sources
            .iter()
            .copied()
            .filter(|s| self.kind_of(*s) == Kind::List)
            .collect();
        let foreach = (!lists.is_empty() && random.chance(450)).then(|| random.pick(&lists));
        let mut inputs = Vec::new();
        if !sources.is_empty() {
            let width = random.pick(&[0, 1, 1, 1, 2, 2, 3, 9]);
            inputs.extend((0..width).map(|_| random.pick(&sources)));
        }
        if let Some(list) = foreach {
            inputs.extend((0..random.pick(&[0, 1, 1, 1, 2])).map(|_| Source::Item));
            if random.chance(100) {
                inputs.push(list);
            }
        }
        let kinds: &[Kind] = match foreach {
            Some(_) => &[Kind::Bytes, Kind::Bytes, Kind::Value],
            None => &[
                Kind::Bytes,
                Kind::Bytes,
                Kind::List,
                Kind::List,
                Kind::Value,
            ],
        };
        let outputs = (0..random.pick(&[0, 1, 1, 1, 2, 3]))
            .map(|_| random.pick(kinds))
            .collect();
        let mut after: Vec<NodeId> = (0..self.nodes.len() as NodeId)
            .filter(|_| random.chance(80))
            .collect();
        after.truncate(3);
        let attempts = random.between(1, shape.attempts_max as usize) as u32;
        let timed = shape.timeouts == Timeouts::Sometimes && random.chance(400);
        Node {
            foreach,
            inputs,
            outputs,
            after,
            retry: Retry {
                attempts,
                backoff_ms: random.pick(&[0, 0, 1, 7]),
                ..Retry::default()
            },
            timeout_ms: timed.then(|| random.between(1, 20) as u32),
            executable: random.below(self.scales.len()) as u16,
        }
    }
}
