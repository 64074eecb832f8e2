//! Definitions: what a workflow file says, read whole and checked before anything is done with it.
//!
//! This file owns the typed definition, in which every name is resolved and every number within its range; spans lead
//! back to the file. [`parse`] is the only way to get one, and promises for any bytes either a definition or all
//! the problems it found, each with its place and what would be right. docs/language.md is the reference.
//! Order among nodes is left to [`crate::graph`].

mod check;
mod cycle;
mod names;
mod problem;
mod read;
#[cfg(test)]
mod tests;
mod tree;

pub use names::nearest;
pub use problem::{DefinitionError, Place, Problem, ProblemKind};

use engine::plan::Retry;
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
    /// The item of the node's own foreach.
    Item,
}

/// An input of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeInput {
    /// As the function knows it.
    pub name: Spanned<String>,
    /// What the function sees.
    pub kind: Kind,
    /// Where it comes from.
    pub from: Spanned<From>,
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
    /// What it runs.
    pub function: Spanned<FunctionName>,
    /// The list over whose items it runs.
    pub foreach: Option<Spanned<From>>,
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
    /// What happens on failure.
    pub retry: Retry,
    /// Longest an attempt may take, in milliseconds.
    pub timeout_ms: Option<u32>,
}

impl Node {
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
    /// Where it comes from; never [`From::Item`].
    pub from: Spanned<From>,
}

/// A workflow, as its file defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The file.
    pub source: SourceText,
    /// Its name, by which clients invoke it.
    pub workflow: Spanned<String>,
    /// In the file's order.
    pub inputs: Vec<Port>,
    /// In the file's order; at least one.
    pub nodes: Vec<Node>,
    /// In the file's order.
    pub outputs: Vec<WorkflowOutput>,
}

impl Definition {
    /// The nodes that `node` waits for, each once: producers of its data, in the order of its foreach and inputs, then
    /// those it names under `after`.
    #[must_use]
    pub fn predecessors(&self, node: usize) -> Vec<usize> {
        let node = &self.nodes[node];
        let data = node
            .foreach
            .iter()
            .map(|from| from.value)
            .chain(node.inputs.iter().map(|input| input.from.value));
        let data = data.filter_map(|from| match from {
            From::Output { node, .. } => Some(node),
            From::Input(_) | From::Item => None,
        });
        let mut all: Vec<usize> = data
            .chain(node.after.iter().map(|after| after.value))
            .collect();
        let mut seen = rustc_hash::FxHashSet::default();
        all.retain(|node| seen.insert(*node));
        all
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
