//! Definitions: what a workflow file says, read whole and checked before anything is done with it.
//!
//! This file owns the typed definition, in which every name is resolved and every number within its range; spans lead
//! back to the file. [`parse`] is the only way to get one, and promises for any bytes either a definition or all
//! the problems it found, each with its place and what would be right. docs/language.md is the reference.
//! Order among nodes is left to [`crate::graph`].

mod check;
mod cycle;
pub(crate) mod names;
pub(crate) mod problem;
mod read;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

pub use names::nearest;
pub use problem::{DefinitionError, Place, Problem, ProblemKind};

use engine::plan::{Constant, ErrorMatch, Gate, Join, NodeId, Retry};
use faasstore::binding::Kind;
use std::path::Path;
use std::sync::Arc;

/// Longest definition, in bytes.
pub const DEFINITION_BYTES_MAX: usize = 16 << 20;
/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A range of bytes of the file.
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
#[derive(Clone, Debug)]
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
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum From {
    /// A workflow input, by its place in [`Definition::inputs`].
    Input(u16),
    /// An output of a node; of a foreach node the gathered list.
    Output {
        /// Place of the producer in [`Definition::nodes`].
        node: usize,
        /// Place in its [`Node::outputs`].
        output: u16,
    },
    /// The item of the node's own foreach; with a batch, the list of its items.
    Item,
    /// A constant, by its place in [`Definition::constants`].
    Constant(u16),
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
}

/// An input of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeInput {
    /// As the function knows it. Of an input that a condition or formula reads where it stands, the source as it is
    /// written there.
    pub name: Spanned<String>,
    /// What the function sees.
    pub kind: Kind,
    /// Where it comes from: the first of these that is live. Never empty.
    pub from: Vec<Spanned<From>>,
    /// Whether the node runs without it.
    pub optional: bool,
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
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Profile {
    /// How long one activation runs, in milliseconds.
    pub runtime_ms: f64,
    /// All outputs of all its activations in one invocation together, in bytes.
    pub output_bytes: u64,
}

impl Default for Profile {
    /// One millisecond and no bytes: a node of which nothing is known is worth little to the critical path.
    fn default() -> Self {
        Self {
            runtime_ms: 1.0,
            output_bytes: 0,
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
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory_mib: 128,
            scale: 1,
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
    /// The list over whose items it runs.
    pub foreach: Option<Spanned<From>>,
    /// How many items each activation of a foreach takes together.
    pub batch: Option<u32>,
    /// Most activations of a foreach at once.
    pub parallelism: Option<u32>,
    /// In the file's order.
    pub inputs: Vec<NodeInput>,
    /// In the file's order; of a foreach node, what one activation writes.
    pub outputs: Vec<Port>,
    /// Nodes that must have ended first, by their places in [`Definition::nodes`].
    pub after: Vec<Spanned<usize>>,
    /// Hints for the partitioner.
    pub profile: Profile,
    /// What it needs.
    pub resources: Resources,
    /// When it starts.
    pub join: Join,
    /// What happens on failure.
    pub retry: Retry,
    /// Where failures lead that no attempt is left for; the first that takes one.
    pub catches: Vec<Catch>,
    /// Which of [`Node::outputs`] says what failed, if anything reads it: the last, a value.
    pub error_output: Option<u16>,
    /// Longest an attempt may take, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// How long it waits once it could start, in milliseconds.
    pub delay_ms: u32,
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

    /// What consumers of an output see: of a foreach node the gathered list, else the output as it is declared.
    #[must_use]
    pub fn seen_kind(&self, output: u16) -> Kind {
        if self.foreach.is_some() {
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
    /// Where it comes from: the first of these that is live. Never empty, and never [`From::Item`].
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
    /// In the file's order; at least one.
    pub nodes: Vec<Node>,
    /// In the file's order.
    pub outputs: Vec<WorkflowOutput>,
    /// Longest an invocation may take, in milliseconds.
    pub timeout_ms: Option<u32>,
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

    /// What a node reads: its foreach's list, then its inputs in their order.
    pub fn reads(&self, node: usize) -> impl Iterator<Item = From> + '_ {
        let node = &self.nodes[node];
        let inputs = node.inputs.iter().flat_map(|input| &input.from);
        node.foreach.iter().chain(inputs).map(|from| from.value)
    }

    /// The nodes that every node waits for, each once: producers of its data, in the order of its foreach and inputs, then
    /// those it names under `after`, then those whose cases and catches lead to it.
    #[must_use]
    pub fn predecessors(&self) -> Vec<Vec<usize>> {
        let of = |(node, gates): (usize, Vec<Gate>)| {
            let data = self.reads(node).filter_map(|from| match from {
                From::Output { node, .. } => Some(node),
                From::Input(_) | From::Item | From::Constant(_) => None,
            });
            let after = self.nodes[node].after.iter().map(|after| after.value);
            let gates = gates.into_iter().map(|gate| gate.node() as usize);
            let mut all: Vec<usize> = data.chain(after).chain(gates).collect();
            let mut seen = rustc_hash::FxHashSet::default();
            all.retain(|node| seen.insert(*node));
            all
        };
        self.gates().into_iter().enumerate().map(of).collect()
    }
}

/// Reads a definition. `name` is how errors call the file.
///
/// # Errors
/// Everything that is wrong with it (up to a bound, and one level of mistakes at a time: names are resolved only in a
/// file of the right shape).
///
/// ```
/// let text = "\
/// workflow: hello
/// input: { name: bytes }
/// nodes:
///   greet: { function: \"hello:greet\", input: { name: input.name }, output: { text: bytes } }
/// output: { text: greet.txet }
/// ";
/// let error = master::definition::parse("hello.yaml", text.as_bytes()).unwrap_err();
/// let problem = &error.problems[0];
/// assert_eq!((problem.place.line, problem.place.column), (5, 17));
/// assert_eq!(problem.help.as_deref(), Some("did you mean `greet.text`?"));
/// ```
pub fn parse(name: &str, bytes: &[u8]) -> Result<Definition, DefinitionError> {
    let text = problem::text_of(name, bytes)?;
    let source = SourceText {
        name: name.into(),
        text: text.into(),
    };
    let raw = read::read(&source)?;
    check::check(source, raw)
}

/// Why a definition's file gave no definition.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the definition {path}: {source}")]
    #[diagnostic(help("name a workflow file; docs/language.md says what stands in it"))]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is longer than a definition may be.
    #[error("the definition {path} has more than {DEFINITION_BYTES_MAX} bytes")]
    #[diagnostic(help("is it a workflow file?"))]
    Long {
        /// Which file.
        path: String,
    },
    /// What it says is no definition.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Definition(#[from] DefinitionError),
}

/// Reads the definition in a file.
///
/// # Errors
/// If the file cannot be read, or as [`parse`] says.
pub fn load(path: &Path) -> Result<Definition, LoadError> {
    use std::io::Read as _;
    let name = path.display().to_string();
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(DEFINITION_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read(path).map_err(|source| LoadError::Read {
        path: name.clone(),
        source,
    })?;
    if bytes.len() > DEFINITION_BYTES_MAX {
        return Err(LoadError::Long { path: name });
    }
    Ok(parse(&name, &bytes)?)
}
