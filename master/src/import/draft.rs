//! Drafts: what an import knows of a workflow, in the language's own terms, on its way to a file.
//!
//! A draft is plain data and need not be right: names refer to names. [`Draft::to_yaml`] prints it; whether it is a
//! definition is for [`crate::definition::parse`] to say.

mod print;

use faasstore::binding::Kind;
use serde_json::Value;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A workflow input.
    Input(String),
    /// An output of a node.
    Output {
        /// Which node.
        node: String,
        /// Which of its outputs.
        output: String,
    },
    /// What a node gave for the same item, between foreach nodes that run item by item with each other.
    SameItem {
        /// Which node.
        node: String,
        /// Which of its outputs.
        output: String,
    },
    /// The item of the node's own foreach.
    Item,
    /// A constant of the workflow.
    Constant(String),
}

impl Source {
    /// An output of a node.
    #[must_use]
    pub fn output(node: &str, output: &str) -> Self {
        Self::Output {
            node: node.to_owned(),
            output: output.to_owned(),
        }
    }

    /// How an expression names it. There what a node gives is that of the same item by itself.
    #[must_use]
    pub fn in_expression(&self) -> String {
        match self {
            Self::SameItem { node, output } => format!("{node}.{output}"),
            Self::Input(_) | Self::Output { .. } | Self::Item | Self::Constant(_) => {
                self.to_string()
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(name) => write!(f, "input.{name}"),
            Self::Output { node, output } => write!(f, "{node}.{output}"),
            Self::SameItem { node, output } => write!(f, "{node}.{output}[item]"),
            Self::Item => f.write_str("item"),
            Self::Constant(name) => write!(f, "constant.{name}"),
        }
    }
}

/// What an input of a node, or an output of the workflow, is fed from.
#[derive(Clone, PartialEq, Debug)]
pub enum Feed {
    /// A constant value.
    Value(Value),
    /// Constant bytes.
    Text(String),
    /// The first of these that is live.
    From {
        /// At least one.
        first_of: Vec<Source>,
        /// What stands there if none is live.
        default: Option<Value>,
        /// Whether it may be absent; excludes a default.
        optional: bool,
    },
}

impl From<Source> for Feed {
    fn from(source: Source) -> Self {
        Self::From {
            first_of: vec![source],
            default: None,
            optional: false,
        }
    }
}

/// An input of the workflow.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkflowInput {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What stands in for it.
    pub default: Option<Value>,
    /// Whether it may be left out though it has no default.
    pub optional: bool,
    /// Beside it, for people.
    pub comment: Option<String>,
}

/// What one output of a computing node is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Formula {
    /// The value of an expression.
    Value(String),
    /// The elements of the list that an expression gives.
    List(String),
    /// Whole numbers.
    Range {
        /// The first, an expression.
        from: String,
        /// Behind the last, an expression.
        to: String,
    },
}

/// What a node does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// A function, as `EXECUTABLE:FUNCTION`.
    Function(String),
    /// A program and its arguments.
    Command(Vec<String>),
    /// Formulas by output.
    Compute(Vec<(String, Formula)>),
    /// A choice.
    Switch {
        /// Conditions, and the nodes that each leads to.
        cases: Vec<(String, Vec<String>)>,
        /// The nodes of the default; none if there is no default.
        default: Option<Vec<String>>,
    },
    /// Nothing but waiting.
    Nothing,
}

/// What a foreach node runs over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreach {
    /// The list.
    pub list: Source,
    /// Items that each activation takes together.
    pub batch: Option<u32>,
    /// Most activations at once.
    pub parallelism: Option<u32>,
}

/// When a node starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Join {
    /// Once all in-edges are decided.
    #[default]
    All,
    /// At the first live edge.
    Any,
    /// At this many live edges.
    AtLeast(u32),
}

/// What is tried again on failure, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct Retry {
    /// One more than the attempts that it adds at most: of a node's only one, attempts in all.
    pub attempts: u32,
    /// Wait before the first that it adds.
    pub backoff_ms: u32,
    /// By how much the wait grows.
    pub factor: Option<f64>,
    /// Longest wait.
    pub backoff_max_ms: Option<u32>,
    /// Share of the wait that is left to chance.
    pub jitter: Option<f64>,
    /// Classes or names of errors; all, if none is named.
    pub on: Vec<String>,
}

impl Retry {
    /// One that takes these failures and tries nothing again.
    pub fn never(on: Vec<String>) -> Self {
        Self {
            attempts: 1,
            backoff_ms: 0,
            factor: None,
            backoff_max_ms: None,
            jitter: None,
            on,
        }
    }
}

/// Where failures lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    /// Classes or names of errors; all, if none is named.
    pub on: Vec<String>,
    /// The nodes.
    pub to: Vec<String>,
}

/// Hints for the partitioner.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// How long one activation runs.
    pub runtime_ms: f64,
    /// All outputs of all activations together.
    pub output_bytes: u64,
    /// The same by output, if there are several.
    pub by_output: Vec<(String, u64)>,
    /// Items of the list that it runs over.
    pub items: u64,
    /// The share of its run time in which it keeps its CPUs busy.
    pub busy: f64,
    /// Memory that one activation uses itself.
    pub peak_mib: u32,
    /// Whether nobody measured these figures.
    pub placeholder: bool,
}

/// What a node needs; what is `None` is left to the language's default.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Resources {
    /// Memory of each executor.
    pub memory_mib: Option<u32>,
    /// Executors.
    pub scale: Option<u16>,
    /// CPUs of each activation.
    pub cpus: Option<u16>,
}

/// How long a node waits first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delay {
    /// So many milliseconds.
    Fixed(u32),
    /// As many milliseconds as an expression gives.
    Computed(String),
    /// Until a timestamp, or the time that an expression gives.
    Until(String),
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Above it, for people: a line each.
    pub comments: Vec<String>,
    /// What it does.
    pub work: Work,
    /// What it runs over.
    pub foreach: Option<Foreach>,
    /// In order.
    pub inputs: Vec<(String, Feed)>,
    /// In order; of a function or command alone.
    pub outputs: Vec<(String, Kind)>,
    /// Nodes that come first.
    pub after: Vec<String>,
    /// When it starts.
    pub join: Join,
    /// What is tried again on failure; the first that takes a failure decides.
    pub retriers: Vec<Retry>,
    /// Where failures lead.
    pub catches: Vec<Catch>,
    /// Longest an attempt may take.
    pub timeout_ms: Option<u32>,
    /// How long it waits first.
    pub delay: Option<Delay>,
    /// What it needs.
    pub resources: Resources,
    /// What the partitioner may assume.
    pub profile: Option<Profile>,
}

impl Node {
    /// A node that does this work, and has nothing else yet.
    #[must_use]
    pub fn new(name: impl Into<String>, work: Work) -> Self {
        Self {
            name: name.into(),
            comments: Vec::new(),
            work,
            foreach: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            after: Vec::new(),
            join: Join::All,
            retriers: Vec::new(),
            catches: Vec::new(),
            timeout_ms: None,
            delay: None,
            resources: Resources::default(),
            profile: None,
        }
    }
}

/// A workflow on its way to a file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Draft {
    /// What people should know of the import, a sentence each: printed at the head of the file.
    pub notes: Vec<String>,
    /// Its name.
    pub workflow: String,
    /// In order.
    pub inputs: Vec<WorkflowInput>,
    /// In order.
    pub constants: Vec<(String, Value)>,
    /// In order; at least one.
    pub nodes: Vec<Node>,
    /// In order.
    pub outputs: Vec<(String, Feed)>,
    /// Longest an invocation may take.
    pub timeout_ms: Option<u32>,
}
