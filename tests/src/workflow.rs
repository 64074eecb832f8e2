//! Workflows as they are written, without placement: what a simulation plays, and what it is judged by.
//!
//! [`random`] draws them.

pub mod random;

use engine::plan::{
    Constant, Declaration, FlowEdge, InputPlan, Join, NodeId, NodePlan, Source, Work,
    WorkflowInput, WorkflowOutput,
};
use faasstore::binding::Kind;

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
            outputs: Vec::new(),
            scales: vec![1],
            timeout_ms: None,
        }
    }

    /// The kind of what `source` gives to a consumer; bytes for an item.
    ///
    /// # Panics
    /// If the workflow has no such source.
    #[must_use]
    pub fn kind_of(&self, source: Source) -> Kind {
        match source {
            Source::Input(input) => self.inputs[usize::from(input)].kind,
            Source::Constant(constant) => self.constants[usize::from(constant)].kind,
            Source::Item => Kind::Bytes,
            Source::Output { node, output } => {
                let node = &self.nodes[node as usize];
                if node.foreach.is_some() {
                    Kind::List
                } else {
                    node.outputs[usize::from(output)].kind
                }
            }
        }
    }

    /// The in-edges of a node that are no gates.
    ///
    /// # Panics
    /// If the workflow has no such node.
    #[must_use]
    pub fn flow_edges(&self, node: NodeId) -> Vec<FlowEdge> {
        self.nodes[node as usize].flow_edges(|producer| self.nodes[producer as usize].error_output)
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
        for (node, (waited_for, by_all)) in self
            .nodes
            .iter_mut()
            .zip(waited_for.into_iter().zip(by_all))
        {
            node.tolerated = waited_for && !by_all;
        }
    }
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
