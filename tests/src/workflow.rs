//! Workflows as they are written, without placement: what a simulation plays, and what it is judged by.
//!
//! [`random`] draws them.

mod outline;
pub mod random;

use crate::divided::{Divided, divided};
use engine::plan::{
    Constant, Declaration, Delay, FlowEdge, InputPlan, Join, NodeId, NodePlan, RegionPlan, Source,
    Work, WorkflowInput, WorkflowOutput,
};
use faasstore::binding::Kind;
use std::collections::BTreeSet;

/// A workflow. A node's place in `nodes` is its number; edges run from lower numbers to higher ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workflow {
    /// What its functions mix into all that they return: two workflows of one shape differ in it.
    pub salt: u64,
    /// Its inputs.
    pub inputs: Vec<WorkflowInput>,
    /// What it holds itself.
    pub constants: Vec<Constant>,
    /// Its nodes, as a plan has them, but for two things: executables are numbered over the whole workflow, and remote
    /// consumers are left to a placement.
    pub nodes: Vec<NodePlan>,
    /// Its regions, numbered over the whole workflow.
    pub regions: Vec<RegionPlan>,
    /// Where its outputs come from; the workers are left to a placement.
    pub outputs: Vec<WorkflowOutput>,
    /// Executors of each executable, on each worker that runs it.
    pub scales: Vec<u16>,
    /// Longest that an invocation may take, in milliseconds.
    pub timeout_ms: Option<u32>,
}

impl Workflow {
    /// One that has neither inputs nor outputs, nor a node yet, and one executor of one executable.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            salt: 0,
            inputs: Vec::new(),
            constants: Vec::new(),
            nodes: Vec::new(),
            regions: Vec::new(),
            outputs: Vec::new(),
            scales: vec![1],
            timeout_ms: None,
        }
    }

    /// Its nodes, with outermost regions in parts by these weights.
    #[must_use]
    pub fn divided(&self, weights: impl Fn(u16) -> Vec<u32>) -> Divided {
        let mut nodes = self.nodes.clone();
        for (number, node) in (0..).zip(&mut nodes) {
            node.id = number;
        }
        divided(&nodes, &self.regions, &self.outputs, weights)
    }

    /// The kind of what `source` gives to a consumer in that region; bytes for an item.
    ///
    /// # Panics
    /// If the workflow has no such source.
    #[must_use]
    pub fn kind_of(&self, source: Source, region: Option<u16>) -> Kind {
        match source {
            Source::Input(input) => self.inputs[usize::from(input)].kind,
            Source::Constant(constant) => self.constants[usize::from(constant)].kind,
            Source::Item { up } => {
                let region = self.around(region, up).expect("an item is one of a region");
                match self.regions[usize::from(region)].batch {
                    Some(_) => Kind::List,
                    None => Kind::Bytes,
                }
            }
            Source::First { node, output } => {
                self.nodes[node as usize].outputs[usize::from(output)].kind
            }
            Source::Output { node, output } => {
                let node = &self.nodes[node as usize];
                if self.holds(node.region, region) {
                    node.outputs[usize::from(output)].kind
                } else {
                    Kind::List
                }
            }
        }
    }

    /// The region so many levels around this one; none is what is outside of all.
    #[must_use]
    pub fn around(&self, region: Option<u16>, levels: u8) -> Option<u16> {
        (0..levels).fold(region, |region, _| {
            self.regions[usize::from(region?)].parent
        })
    }

    /// How many regions a node in this one is in.
    #[must_use]
    pub fn depth(&self, region: Option<u16>) -> usize {
        std::iter::successors(region, |region| self.around(Some(*region), 1)).count()
    }

    /// Whether `inner` is `outer`, or lies within it.
    #[must_use]
    pub fn holds(&self, outer: Option<u16>, inner: Option<u16>) -> bool {
        outer == inner || inner.is_some() && self.holds(outer, self.around(inner, 1))
    }

    /// The region just within `outer` that holds `inner`; none if they are the same.
    ///
    /// # Panics
    /// If `inner` lies elsewhere.
    #[must_use]
    pub fn just_within(&self, outer: Option<u16>, inner: Option<u16>) -> Option<u16> {
        if outer == inner {
            return None;
        }
        let around = self.around(inner, 1);
        assert!(inner.is_some(), "not within {outer:?}");
        if around == outer {
            inner
        } else {
            self.just_within(outer, around)
        }
    }

    /// The nodes of a region, those of regions within it included.
    pub fn nodes_within(&self, region: u16) -> impl Iterator<Item = NodeId> + '_ {
        let all = 0..self.nodes.len() as NodeId;
        all.filter(move |node| self.holds(Some(region), self.nodes[*node as usize].region))
    }

    /// The node that a region's list comes from, if it is one.
    #[must_use]
    pub fn list_producer(&self, region: u16) -> Option<NodeId> {
        match self.regions[usize::from(region)].list {
            Source::Output { node, .. } => Some(node),
            Source::Input(_) | Source::First { .. } | Source::Item { .. } | Source::Constant(_) => {
                None
            }
        }
    }

    /// What must be decided outside of a region before it begins: the nodes that its list comes from, and that nodes in it,
    /// and lists of regions within it, wait for.
    #[must_use]
    pub fn waited_for_by(&self, region: u16) -> Vec<NodeId> {
        let within = |node: &NodeId| {
            let of = self.nodes[*node as usize].region;
            self.holds(Some(region), of)
        };
        let inner =
            (0..self.regions.len() as u16).filter(|inner| self.holds(Some(region), Some(*inner)));
        let lists = inner.filter_map(|inner| self.list_producer(inner));
        let nodes = self.nodes_within(region);
        let edges = nodes.flat_map(|node| self.predecessors(node));
        let mut all: Vec<NodeId> = lists.chain(edges).filter(|node| !within(node)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The in-edges of a node that are no gates.
    ///
    /// # Panics
    /// If the workflow has no such node.
    #[must_use]
    pub fn flow_edges(&self, node: NodeId) -> Vec<FlowEdge> {
        self.flow_edges_into(&self.nodes[node as usize])
    }

    /// The in-edges that are no gates of a node of this workflow, or of one that is to become its next: one from each
    /// node that it reads outputs of or comes after, and one from each whose error output it reads. Neither inputs of the
    /// workflow nor constants are edges.
    ///
    /// Worked out without the engine, whose own rule is what simulations judge.
    ///
    /// # Panics
    /// If it reads a node that the workflow does not have.
    #[must_use]
    pub fn flow_edges_into(&self, node: &NodePlan) -> Vec<FlowEdge> {
        let mut edges = BTreeSet::new();
        for input in inputs_of(node) {
            for source in &input.sources {
                if let Source::Output { node, output } | Source::First { node, output } = *source {
                    let error = self.nodes[node as usize].error_output == Some(output);
                    edges.insert(FlowEdge { node, error });
                }
            }
        }
        for producer in &node.after {
            edges.insert(FlowEdge {
                node: *producer,
                error: false,
            });
        }
        edges.into_iter().collect()
    }

    /// The nodes that a node waits for, each once, by rising number.
    ///
    /// # Panics
    /// If the workflow has no such node.
    #[must_use]
    pub fn predecessors(&self, node: NodeId) -> Vec<NodeId> {
        let flow = self.flow_edges(node).into_iter().map(|edge| edge.node);
        let gates = self.nodes[node as usize]
            .gates
            .iter()
            .map(|gate| gate.node());
        let mut all: Vec<NodeId> = flow.chain(gates).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Marks the nodes whose failure is nothing but a dead edge: those for whom somebody waits, and only joins of some.
    pub fn mark_tolerated(&mut self) {
        let mut waited_for = vec![false; self.nodes.len()];
        let mut by_all = vec![false; self.nodes.len()];
        for node in 0..self.nodes.len() {
            for producer in self.predecessors(node as NodeId) {
                waited_for[producer as usize] = true;
                by_all[producer as usize] |= self.nodes[node].join == Join::All;
            }
        }
        for region in 0..self.regions.len() as u16 {
            if let Some(producer) = self.list_producer(region) {
                by_all[producer as usize] = true;
            }
        }
        for (node, (waited_for, by_all)) in self
            .nodes
            .iter_mut()
            .zip(waited_for.into_iter().zip(by_all))
        {
            node.tolerated = waited_for && !by_all;
        }
    }
}

/// All that a node waits for to read: its own inputs, and those of its delays.
///
/// Worked out without the engine.
#[must_use]
pub fn inputs_of(node: &NodePlan) -> Vec<&InputPlan> {
    let mut inputs: Vec<&InputPlan> = node.inputs.iter().collect();
    for delay in &node.delays {
        match delay {
            Delay::Fixed(_) => {}
            Delay::Computed(expression) | Delay::Until(expression) => {
                inputs.extend(&expression.inputs);
            }
        }
    }
    inputs
}

/// What every node is that is not said to be anything else: it reads and returns nothing, and an executor of the first
/// executable runs it.
#[must_use]
pub fn function_node() -> NodePlan {
    NodePlan {
        work: Work::Function {
            executable: 0,
            function: "f".to_owned(),
            arguments: Vec::new(),
        },
        ..NodePlan::default()
    }
}

/// Inputs of a node that it needs, each from one source, by the names that simulated functions go by.
#[must_use]
pub fn needed(sources: &[(Kind, Source)]) -> Vec<InputPlan> {
    let input = |(number, (kind, source)): (usize, &(Kind, Source))| {
        InputPlan::new(format!("a{number}"), *kind, *source)
    };
    sources.iter().enumerate().map(input).collect()
}

/// Outputs of a node, of these kinds.
#[must_use]
pub fn returned(kinds: &[Kind]) -> Vec<Declaration> {
    let output = |(number, kind): (usize, &Kind)| Declaration {
        name: format!("r{number}"),
        kind: *kind,
    };
    kinds.iter().enumerate().map(output).collect()
}
