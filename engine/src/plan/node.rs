//! Nodes: what they do, when they start, and who must hear of their end.

use super::{
    Declaration, ErrorMatch, InputPlan, NodeId, Part, Retry, SectionPlan, Source, WorkerIndex,
};
use rkyv::{Archive, Deserialize, Serialize};

/// What one output of a computing node is made of. Expressions are CEL; its names are the node's inputs.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Formula {
    /// The value of an expression; for an output that is a list, each of its elements is an item.
    Value(String),
    /// A list of the whole numbers from the first expression's value up to, and without, the second's.
    Range {
        /// The first number.
        from: String,
        /// Behind the last number.
        to: String,
    },
}

/// A wait before a node starts, once it could.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Delay {
    /// So many milliseconds.
    Fixed(u32),
    /// As many milliseconds as an expression gives.
    Computed(DelayExpression),
    /// Until the wall-clock time that an expression gives.
    Until(DelayExpression),
}

impl Delay {
    /// The expression that says how long it is, unless that is fixed.
    #[must_use]
    pub const fn expression(&self) -> Option<&DelayExpression> {
        match self {
            Self::Fixed(_) => None,
            Self::Computed(expression) | Self::Until(expression) => Some(expression),
        }
    }
}

/// An expression that says how long a node waits, and what it reads.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DelayExpression {
    /// CEL; its names are those of `inputs`.
    pub text: String,
    /// What it reads. Functions do not see it.
    pub inputs: Vec<InputPlan>,
}

/// What a node does when it runs.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub enum Work {
    /// An executor runs a function.
    Function {
        /// Place in [`Plan::executables`](super::Plan::executables).
        executable: u16,
        /// The function's name in the executable.
        function: String,
        /// What the function is told beside its inputs; of a command, its words.
        arguments: Vec<String>,
    },
    /// The lane computes values: a formula for each output.
    Compute(Vec<Formula>),
    /// The lane chooses a case: the first whose condition holds. With `default` there is one more, which always holds.
    Switch {
        /// CEL; its names are the node's inputs.
        conditions: Vec<String>,
        /// Whether there is a default.
        default: bool,
    },
    /// Nothing: it ends when it starts, after its delay.
    #[default]
    Nothing,
}

impl Work {
    /// The executable that it needs, by its place in [`Plan::executables`](super::Plan::executables).
    #[must_use]
    pub const fn executable(&self) -> Option<u16> {
        match self {
            Self::Function { executable, .. } => Some(*executable),
            Self::Compute(_) | Self::Switch { .. } | Self::Nothing => None,
        }
    }

    /// The cases of a switch, its default included; 0 for all else.
    #[must_use]
    pub fn cases(&self) -> usize {
        match self {
            Self::Switch {
                conditions,
                default,
            } => conditions.len() + usize::from(*default),
            Self::Function { .. } | Self::Compute(_) | Self::Nothing => 0,
        }
    }
}

/// An edge that must be live for the node to run, or one like it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Gate {
    /// This switch chooses this case.
    Case {
        /// The switch.
        node: NodeId,
        /// Which case.
        case: u16,
    },
    /// This node fails, and this of its catches takes the failure.
    Catch {
        /// The node that may fail.
        node: NodeId,
        /// Place in its [`NodePlan::catches`].
        catch: u16,
    },
}

impl Gate {
    /// From which node the edge comes.
    #[must_use]
    pub const fn node(self) -> NodeId {
        match self {
            Self::Case { node, .. } | Self::Catch { node, .. } => node,
        }
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Case { node, case } => write!(f, "case {case} of node {node}"),
            Self::Catch { node, catch } => write!(f, "catch {catch} of node {node}"),
        }
    }
}

/// When a node starts.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Join {
    /// Once all its in-edges are decided.
    #[default]
    All,
    /// At the k-th live edge that is no gate; what comes later is dropped.
    AtLeast(u32),
}

/// A remote worker that must hear of a local node's end.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RemoteConsumer {
    /// Which worker.
    pub worker: WorkerIndex,
    /// The outputs that it needs; may be empty (`after` edges).
    pub outputs: Vec<u16>,
    /// Those of them of which it does not need everything, each once.
    pub sections: Vec<SectionPlan>,
}

/// A node that runs on the plan's own worker.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct NodePlan {
    /// Its number in the deployment.
    pub id: NodeId,
    /// As in the definition.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// The region that it is part of, by its place in [`Plan::regions`](super::Plan::regions); it runs once for each of its items.
    pub region: Option<u16>,
    /// Whether the list of that region, which a node gives, is one of its edges: live for each item, it is the one that must
    /// be if there are any. Joins of some do not count it.
    pub over_list: bool,
    /// In the definition's order.
    pub inputs: Vec<InputPlan>,
    /// In the definition's order; of a node in a region, the kinds of one activation's outputs.
    pub outputs: Vec<Declaration>,
    /// Nodes that must have ended first, beside those that data comes from.
    pub after: Vec<NodeId>,
    /// Edges of which one at least must be live, if there are any.
    pub gates: Vec<Gate>,
    /// When it starts.
    pub join: Join,
    /// What is tried again, and how: the first of these that takes a failure decides. Each counts for itself how often it
    /// has tried an activation again, and none goes on where another is used up.
    pub retriers: Vec<Retry>,
    /// Failures that do not fail the invocation: the first of these that takes one makes its gates live. Each takes what
    /// it names, or everything.
    pub catches: Vec<Vec<ErrorMatch>>,
    /// Which output says what failed when a catch has taken a failure; it has no value otherwise, and functions do not
    /// return it. It is the last.
    pub error_output: Option<u16>,
    /// Whether a failure that no catch takes is nothing but a dead edge: all who wait for it join some of their edges.
    pub tolerated: bool,
    /// Longest an attempt may take, from its dispatch, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// How long it waits once it could start: one of these after the other.
    pub delays: Vec<Delay>,
    /// Other workers that must hear of its end.
    pub remote_consumers: Vec<RemoteConsumer>,
}

/// An in-edge of a node that is no gate: from which node, and whether it is live when that node has failed and a catch
/// has taken it, instead of when it has ended well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowEdge {
    /// The node that it comes from.
    pub node: NodeId,
    /// Whether it carries what failed.
    pub error: bool,
}

impl NodePlan {
    /// The expressions that say how long it waits, in their order.
    pub fn delay_expressions(&self) -> impl Iterator<Item = &DelayExpression> {
        self.delays.iter().filter_map(Delay::expression)
    }

    /// Its inputs in their order, then those of its delays.
    pub fn all_inputs(&self) -> impl Iterator<Item = &InputPlan> {
        let delays = self.delay_expressions().flat_map(|delay| &delay.inputs);
        self.inputs.iter().chain(delays)
    }

    /// What it reads: [`Self::all_inputs`] in their order, alternatives included.
    pub fn reads(&self) -> impl Iterator<Item = Source> + '_ {
        self.all_inputs()
            .flat_map(|input| input.sources.iter().copied())
    }

    /// Its in-edges that are no gates, each once, by rising node. `error_output` says which output of a node tells what
    /// failed.
    #[must_use]
    pub fn flow_edges(&self, error_output: impl Fn(NodeId) -> Option<u16>) -> Vec<FlowEdge> {
        let data = self.reads().filter_map(|source| match source {
            Source::Output { node, output } | Source::First { node, output } => Some(FlowEdge {
                node,
                error: error_output(node) == Some(output),
            }),
            Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
        });
        let after = self.after.iter().map(|node| FlowEdge {
            node: *node,
            error: false,
        });
        let mut edges: Vec<FlowEdge> = data.chain(after).collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// A node of another worker that a local node, or a workflow output, waits for.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RemoteNode {
    /// Its number in the deployment.
    pub id: NodeId,
    /// As in the definition.
    pub name: String,
    /// Where it runs.
    pub worker: WorkerIndex,
    /// Its outputs as its consumers see them (a foreach node's are lists).
    pub outputs: Vec<Declaration>,
    /// Which of them says what failed.
    pub error_output: Option<u16>,
    /// If it is a switch, how many cases it has.
    pub cases: u16,
    /// How many catches it has.
    pub catches: u16,
    /// Which part of a divided region it is in.
    pub part: Option<Part>,
}
