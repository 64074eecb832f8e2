//! Definitions: what a workflow file says, read whole and checked before anything is done with it.
//!
//! This file owns the typed definition, in which every name is resolved and every number within its range; spans lead
//! back to the file. [`parse`] and [`load`] are the only ways to get one, and promise for any bytes either a definition or all
//! the problems they found, each with its place and what would be right. docs/language.md is the reference.
//! Order among nodes is left to [`crate::graph`].

mod check;
pub(crate) mod cluster;
mod cycle;
mod files;
mod json;
pub(crate) mod keys;
pub(crate) mod names;
pub(crate) mod problem;
mod raw;
mod read;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
pub(crate) mod units;
mod warnings;

pub(crate) use files::path_of;
pub use files::{LoadError, load, parse, parse_with};
pub use names::{is_name, nearest};
pub(crate) use problem::problems_at;
pub use problem::{DefinitionError, Place, Problem, ProblemKind};
pub use schema::schema;

use engine::plan::{
    Constant, EdgeStore, ErrorMatch, Gate, Join, NodeId, Retry, StoreChoice, Trust,
};
use faasstore::binding::{Kind, Maximum};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest definition, in bytes.
pub const DEFINITION_BYTES_MAX: usize = 16 << 20;
/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The executable that runs commands; a worker finds it beside itself.
pub const COMMAND_EXECUTABLE: &str = "faasflow-command";
/// The function in it that does.
pub const COMMAND_FUNCTION: &str = "run";

/// A range of bytes of the file. What another workflow's file brought in has the place that names that file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// A value, and where the file says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spanned<T> {
    /// What it says.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// The text of a definition, and the name under which errors show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceText {
    /// A path, or what stands for one.
    pub name: Arc<str>,
    /// The text.
    pub text: Arc<str>,
}

/// A named input or output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its name.
    pub name: Spanned<String>,
    /// What it holds.
    pub kind: Kind,
    /// The most that it may have.
    pub maximum: Maximum,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum From {
    /// A workflow input, by its place in [`Definition::inputs`].
    Input(u16),
    /// An output of a node: within its region that of the same item, from outside the gathered list.
    Output {
        /// Place of the producer in [`Definition::nodes`].
        node: usize,
        /// Place in its [`Node::outputs`].
        output: u16,
    },
    /// Of what is gathered of a node of a region just within: the first item that is there, if any is.
    First {
        /// Place of the producer in [`Definition::nodes`].
        node: usize,
        /// Place in its [`Node::outputs`].
        output: u16,
    },
    /// The item of a region: of the node's own, or of one that many levels around it. With a batch, the list of its items.
    Item {
        /// Levels outward.
        up: u8,
    },
    /// A constant, by its place in [`Definition::constants`].
    Constant(u16),
}

impl From {
    /// The node that gives it, by its place in [`Definition::nodes`], if one does.
    #[must_use]
    pub const fn node(self) -> Option<usize> {
        match self.output() {
            Some((node, _)) => Some(node),
            None => None,
        }
    }

    /// That node, and which of its outputs it is.
    #[must_use]
    pub const fn output(self) -> Option<(usize, u16)> {
        match self {
            Self::Output { node, output } | Self::First { node, output } => Some((node, output)),
            Self::Input(_) | Self::Item { .. } | Self::Constant(_) => None,
        }
    }
}

/// An input of the workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkflowInput {
    /// Its name.
    pub name: Spanned<String>,
    /// What it holds.
    pub kind: Kind,
    /// What stands in for it if a client does not give it, by its place in [`Definition::constants`].
    pub default: Option<u16>,
    /// Whether a client may leave it out though it has no default.
    pub optional: bool,
    /// The most that it may have.
    pub maximum: Maximum,
}

/// An input of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeInput {
    /// As the function knows it. Of an input that a condition or formula reads where it stands, the source as it is
    /// written there.
    pub name: Spanned<String>,
    /// What the function sees.
    pub kind: Kind,
    /// Where it comes from: the first of these that is live. Empty only if it is optional, in a workflow within another
    /// that does not give it.
    pub from: Vec<Spanned<From>>,
    /// Whether the node runs without it.
    pub optional: bool,
    /// Where it may go if memory has no room for it.
    pub store: EdgeStore,
}

/// What one output of a computing node is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Formula {
    /// The value of a CEL expression.
    Value(Spanned<String>),
    /// A list of whole numbers.
    Range {
        /// The first number, a CEL expression.
        from: Spanned<String>,
        /// Behind the last number, a CEL expression.
        to: Spanned<String>,
    },
}

/// A case of a switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// A CEL expression; none for the default, which comes last.
    pub condition: Option<Spanned<String>>,
    /// The nodes that it leads to, by their places in [`Definition::nodes`]; may be none.
    pub to: Vec<Spanned<usize>>,
}

/// A wait before a node starts, once it could.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delay {
    /// So many milliseconds.
    Fixed(u32),
    /// As many milliseconds as a CEL expression gives.
    Computed(DelayExpression),
    /// Until the time that a CEL expression gives.
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

    const fn expression_mut(&mut self) -> Option<&mut DelayExpression> {
        match self {
            Self::Fixed(_) => None,
            Self::Computed(expression) | Self::Until(expression) => Some(expression),
        }
    }
}

/// An expression that says how long a node waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DelayExpression {
    /// CEL.
    pub text: Spanned<String>,
    /// What it names; functions do not see it.
    pub inputs: Vec<NodeInput>,
}

/// What a node does when it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// An executor runs a function.
    Function {
        /// Which.
        function: Spanned<FunctionName>,
        /// What it is told beside its inputs; of a command, its words.
        arguments: Vec<String>,
    },
    /// The worker computes values: a formula for each output.
    Compute(Vec<Formula>),
    /// The worker chooses a case.
    Switch(Vec<Case>),
    /// Nothing: it ends when it starts, after its delay.
    Nothing,
}

/// Where failures of a node lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    /// Which failures; all, if none is named.
    pub on: Vec<ErrorMatch>,
    /// The nodes that it leads to, by their places in [`Definition::nodes`]; at least one.
    pub to: Vec<Spanned<usize>>,
    /// How many regions deep it stands: as deep as its node, or as the node that stands for the workflow around that.
    pub depth: usize,
}

/// Named code in an executable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FunctionName {
    /// File name in a worker's functions folder.
    pub executable: String,
    /// Name within it.
    pub function: String,
}

/// What the partitioner may assume of a node.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// How long one activation runs, in milliseconds.
    pub runtime_ms: f64,
    /// All outputs of all its activations in one invocation together, in bytes.
    pub output_bytes: u64,
    /// The same for each output, in their order; empty if only the sum is known.
    pub by_output: Vec<u64>,
    /// Items of the list that a `foreach` of its own runs over.
    pub items: u64,
    /// The share of the invocations in which it runs, 0 to 1; without it, what the switches before it leave open is
    /// taken as equally likely.
    pub runs: Option<f64>,
    /// The share of its run time in which it keeps its CPUs busy, 0 to 1.
    pub busy: f64,
    /// Memory that one activation uses itself, payloads apart, in MiB.
    pub peak_mib: u32,
    /// Whether these are figures that nobody has measured.
    pub placeholder: bool,
}

impl Default for Profile {
    /// One millisecond and no bytes: a node of which nothing is known is worth little to the critical path.
    fn default() -> Self {
        Self {
            runtime_ms: 1.0,
            output_bytes: 0,
            by_output: Vec::new(),
            items: 1,
            runs: None,
            busy: 1.0,
            peak_mib: 0,
            placeholder: false,
        }
    }
}

/// What a node needs of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resources {
    /// Memory of each executor, in MiB.
    pub memory_mib: u32,
    /// Executors.
    pub scale: u16,
    /// CPUs that one activation keeps busy.
    pub cpus: u16,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory_mib: 128,
            scale: 1,
            cpus: 1,
        }
    }
}

/// Nodes that run together for each item of a list: a foreach node, and what runs item by item with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// The region around it, by its place in [`Definition::regions`]: a lower one.
    pub parent: Option<usize>,
    /// The list, as it is seen in the region around it.
    pub list: Spanned<From>,
    /// How many items are taken together as one.
    pub batch: Option<u32>,
    /// Most items at once.
    pub parallelism: Option<u32>,
    /// Whether it may run in parts on several workers.
    pub divide: Divide,
}

/// Whether a region runs in parts on several workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Divide {
    /// Where one worker is too small for it, or several are clearly faster.
    #[default]
    Auto,
    /// Never.
    Never,
    /// In so many parts, two at least, or as many as its `parallelism` allows.
    Into(u32),
}

impl Divide {
    /// What holds for nodes that run together: `never` of any of them, else the smallest number.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Into(a), Self::Into(b)) => Self::Into(a.min(b)),
            (Self::Auto, one) | (one, Self::Auto) => one,
        }
    }
}

/// One use of a function.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Its name, unique in the workflow.
    pub name: Spanned<String>,
    /// What it does.
    pub work: Work,
    /// The region that it is part of, by its place in [`Definition::regions`]: it runs once for each of its items.
    pub region: Option<usize>,
    /// Whether it runs over the list of that region by a `foreach` of its own, or stands first in the workflow that does:
    /// the list is one of its edges then. What joins another item by item has an edge from that instead.
    pub over_list: bool,
    /// In the file's order.
    pub inputs: Vec<NodeInput>,
    /// In the file's order; of a node in a region, what one activation writes.
    pub outputs: Vec<Port>,
    /// Nodes that must have ended first, by their places in [`Definition::nodes`].
    pub after: Vec<Spanned<usize>>,
    /// Nodes that must not share a worker with it, by their places in [`Definition::nodes`].
    pub apart: Vec<Spanned<usize>>,
    /// Hints for the partitioner.
    pub profile: Profile,
    /// What it needs.
    pub resources: Resources,
    /// Whether its executable is the workflow's owner's. If one node says `other`, its executable is, whoever else uses it.
    pub trust: Trust,
    /// When it starts.
    pub join: Join,
    /// What is tried again on failure, and how; the first that takes a failure decides.
    pub retriers: Vec<Retry>,
    /// Where failures lead that no attempt is left for; the first that takes one.
    pub catches: Vec<Catch>,
    /// Which of [`Node::outputs`] says what failed, if anything reads it: the last, a value.
    pub error_output: Option<u16>,
    /// Longest an attempt may take, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// How long it waits once it could start: one of these after the other.
    pub delays: Vec<Delay>,
}

impl Node {
    /// The executable in which it runs, if it runs in one.
    #[must_use]
    pub fn executable(&self) -> Option<&str> {
        match &self.work {
            Work::Function { function, .. } => Some(&function.value.executable),
            Work::Compute(_) | Work::Switch(_) | Work::Nothing => None,
        }
    }

    /// Its inputs in their order, then those of its delays.
    pub fn all_inputs(&self) -> impl Iterator<Item = &NodeInput> {
        let delays = self.delays.iter().filter_map(Delay::expression);
        self.inputs
            .iter()
            .chain(delays.flat_map(|delay| &delay.inputs))
    }

    fn all_inputs_mut(&mut self) -> impl Iterator<Item = &mut NodeInput> {
        let delays = self.delays.iter_mut().filter_map(Delay::expression_mut);
        self.inputs
            .iter_mut()
            .chain(delays.flat_map(|delay| &mut delay.inputs))
    }

    /// What consumers outside of its region see of an output: the gathered list, or without a region the output as it is
    /// declared.
    #[must_use]
    pub fn seen_kind(&self, output: u16) -> Kind {
        if self.region.is_some() {
            Kind::List
        } else {
            self.outputs[usize::from(output)].kind
        }
    }
}

/// An output of the workflow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkflowOutput {
    /// Its name.
    pub name: Spanned<String>,
    /// What a client gets.
    pub kind: Kind,
    /// Where it comes from: the first of these that is live. Never empty, and neither [`From::Item`] nor [`From::First`].
    pub from: Vec<Spanned<From>>,
    /// Whether the invocation ends well without it.
    pub optional: bool,
}

/// A workflow, as its file defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The file.
    pub source: SourceText,
    /// Its name, by which clients invoke it.
    pub workflow: Spanned<String>,
    /// In the file's order.
    pub inputs: Vec<WorkflowInput>,
    /// What stands in the file itself.
    pub constants: Vec<Constant>,
    /// Nodes that run together for each item of a list; those around others come first.
    pub regions: Vec<Region>,
    /// In the file's order; at least one.
    pub nodes: Vec<Node>,
    /// In the file's order.
    pub outputs: Vec<WorkflowOutput>,
    /// Longest an invocation may take, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// Where payloads go for which memory has no room.
    pub store: StoreChoice,
    /// The other files that it and they name, each once, by their paths.
    pub files: Vec<SourceText>,
    /// What is suspicious in it, in the order of the file, then in the files that it names; a bounded number.
    pub warnings: Vec<Problem>,
}

impl Definition {
    /// The gates of every node: the cases and catches that lead to it, by the places of their nodes.
    #[must_use]
    pub fn gates(&self) -> Vec<Vec<Gate>> {
        let mut gates = vec![Vec::new(); self.nodes.len()];
        for (from, node) in self.nodes.iter().enumerate() {
            if let Work::Switch(cases) = &node.work {
                for (case, to) in cases.iter().enumerate() {
                    for to in &to.to {
                        gates[to.value].push(Gate::Case {
                            node: from as NodeId,
                            case: case as u16,
                        });
                    }
                }
            }
            for (catch, to) in node.catches.iter().enumerate() {
                for to in &to.to {
                    gates[to.value].push(Gate::Catch {
                        node: from as NodeId,
                        catch: catch as u16,
                    });
                }
            }
        }
        gates
    }

    /// A source as the file names it; of a constant, what it is.
    ///
    /// # Panics
    /// If the definition has no such source.
    #[must_use]
    pub fn source_name(&self, from: From) -> String {
        match from {
            From::Input(input) => format!("input.{}", self.inputs[usize::from(input)].name.value),
            From::Output { node, output } | From::First { node, output } => {
                let node = &self.nodes[node];
                let output = &node.outputs[usize::from(output)];
                format!("{}.{}", node.name.value, output.name.value)
            }
            From::Item { up } => format!("{}item", "outer.".repeat(up.into())),
            From::Constant(_) => "a constant".to_owned(),
        }
    }

    /// The regions that a node is part of, its own first.
    pub fn regions_of(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let outward = |region: &usize| self.regions[*region].parent;
        std::iter::successors(self.nodes[node].region, outward)
    }

    /// What a node waits to read: the lists of its regions, its own first, then its inputs and those of its delays in
    /// their order.
    pub fn reads(&self, node: usize) -> impl Iterator<Item = From> + '_ {
        let lists = self.regions_of(node);
        let lists = lists.map(|region| self.regions[region].list.value);
        lists.chain(self.inputs_read(node))
    }

    /// What a node's inputs and those of its delays are read from, in their order.
    pub fn inputs_read(&self, node: usize) -> impl Iterator<Item = From> + '_ {
        let inputs = self.nodes[node].all_inputs();
        inputs.flat_map(|input| &input.from).map(|from| from.value)
    }

    /// The in-edges of a node that are no gates, each as the node from which it comes and whether it is what that says of
    /// its failure, which is an edge of its own. Several reads of one node are one edge. The list of its region is none: it
    /// is there before the node is looked at.
    #[must_use]
    pub fn flow_edges(&self, node: usize) -> BTreeSet<(usize, bool)> {
        let data = self.inputs_read(node).filter_map(|from| {
            let (node, output) = from.output()?;
            Some((node, self.nodes[node].error_output == Some(output)))
        });
        let after = self.nodes[node].after.iter();
        data.chain(after.map(|after| (after.value, false)))
            .collect()
    }

    /// Whether an edge that is live for every item leads to a node: the list of its region, if a node gives that.
    #[must_use]
    pub fn is_reached_by_list(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        let list = node.region.map(|region| self.regions[region].list.value);
        node.over_list && list.is_some_and(|list| list.node().is_some())
    }

    /// The nodes that every node waits for, each once: producers of its data, in the order of [`Definition::reads`], then
    /// those it names under `after`, then those whose cases and catches lead to it.
    #[must_use]
    pub fn predecessors(&self) -> Vec<Vec<usize>> {
        let of = |(node, gates): (usize, Vec<Gate>)| {
            let data = self.reads(node).filter_map(From::node);
            let after = self.nodes[node].after.iter().map(|after| after.value);
            let gates = gates.into_iter().map(|gate| gate.node() as usize);
            let mut all: Vec<usize> = data.chain(after).chain(gates).collect();
            let mut seen = rustc_hash::FxHashSet::default();
            all.retain(|node| seen.insert(*node));
            all
        };
        self.gates().into_iter().enumerate().map(of).collect()
    }

    /// The executables that are somebody else's, since a node says so that uses them.
    #[must_use]
    pub fn others(&self) -> BTreeSet<&str> {
        let others = self.nodes.iter().filter(|node| node.trust == Trust::Other);
        others.filter_map(Node::executable).collect()
    }

    /// By node: whether all who wait for it, and there are some, join some of their edges, so that its failure is a dead edge
    /// to them.
    #[must_use]
    pub fn tolerated(&self) -> Vec<bool> {
        let mut waited_for = vec![false; self.nodes.len()];
        let mut borne = vec![true; self.nodes.len()];
        for (node, predecessors) in self.predecessors().iter().enumerate() {
            for predecessor in predecessors {
                waited_for[*predecessor] = true;
                borne[*predecessor] &= self.nodes[node].join != Join::All;
            }
        }
        // What runs over a list cannot do without it.
        for node in self
            .regions
            .iter()
            .filter_map(|region| region.list.value.node())
        {
            borne[node] = false;
        }
        let both = |(waited_for, borne)| waited_for && borne;
        waited_for.into_iter().zip(borne).map(both).collect()
    }
}
