//! What can be wrong with a definition, or suspicious in it, in words.

use crate::definition::DEFINITION_BYTES_MAX;
use faasstore::binding::VALUE_BYTES_MAX;
use thiserror::Error;

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// `apart` names the node that it stands at.
    #[error("a node cannot be kept apart from itself")]
    ApartFromItself,
    /// The YAML itself.
    #[error("this is not valid YAML: {0}")]
    Yaml(String),
    /// Not text.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// A file that is too long.
    #[error("the file has {bytes} bytes, above the limit of {DEFINITION_BYTES_MAX}")]
    Long {
        /// What it has.
        bytes: usize,
    },
    /// Nothing there.
    #[error("the file defines nothing")]
    Empty,
    /// More than one YAML document.
    #[error("a second document begins here")]
    SecondDocument,
    /// Nesting.
    #[error("lists and mappings are nested more than {limit} deep")]
    Deep {
        /// The limit.
        limit: usize,
    },
    /// Size, aliases expanded.
    #[error("with its aliases expanded, the file has more than {limit} values")]
    Many {
        /// The limit.
        limit: u32,
    },
    /// A tag.
    #[error("YAML tags have no meaning here")]
    Tag,
    /// A value of another shape.
    #[error("{what} must be {expected}, but this is {found}")]
    Shape {
        /// Of what.
        what: String,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A key that must be there.
    #[error("{what} has no `{key}`")]
    MissingKey {
        /// What lacks it.
        what: String,
        /// The key.
        key: &'static str,
    },
    /// A key that means nothing.
    #[error("{what} has no key `{key}`")]
    UnknownKey {
        /// What has it.
        what: String,
        /// The key.
        key: String,
    },
    /// A construct of the language that this version does not run.
    #[error("{0} is not supported yet")]
    NotYet(String),
    /// Keys that exclude one another.
    #[error("{keys} exclude one another")]
    Conflict {
        /// Which, as a list.
        keys: String,
    },
    /// A key that has no meaning at what stands there.
    #[error("`{key}` has no meaning at {what}")]
    NotHere {
        /// At what.
        what: &'static str,
        /// Which.
        key: &'static str,
    },
    /// A number that JSON cannot hold.
    #[error("this number is too large")]
    NoJson,
    /// A value above the limit of values.
    #[error("this value has {bytes} bytes as JSON, above the limit of {VALUE_BYTES_MAX}")]
    LongValue {
        /// What it has.
        bytes: usize,
    },
    /// A constant of another kind than is wanted.
    #[error("{what} must be {expected}, but this is {found}")]
    ConstantKind {
        /// Of what.
        what: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Something that is named twice where once would do.
    #[error("{what} is named twice")]
    Twice {
        /// What.
        what: String,
    },
    /// A key or name that stands there twice.
    #[error("`{name}` is defined twice")]
    Duplicate {
        /// Which.
        name: String,
    },
    /// A name that is none.
    #[error("`{name}` cannot be the name of {what}")]
    Name {
        /// Of what.
        what: &'static str,
        /// What is there.
        name: String,
    },
    /// A number outside its range.
    #[error("`{key}` must be {expected}, but this is {found}")]
    Number {
        /// Which.
        key: &'static str,
        /// Its range.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A function's name that is none.
    #[error("`{found}` names no function")]
    Function {
        /// What is there.
        found: String,
    },
    /// A kind that is none.
    #[error("`{found}` is no kind of value")]
    Kind {
        /// What is there.
        found: String,
    },
    /// A source that is none.
    #[error("`{found}` is no source of a value")]
    Source {
        /// What is there.
        found: String,
    },
    /// A node that is not there.
    #[error("there is no node `{name}`")]
    UnknownNode {
        /// Which.
        name: String,
    },
    /// A worker that is not there.
    #[error("there is no worker `{name}`")]
    UnknownWorker {
        /// Which.
        name: String,
    },
    /// A link whose ends are one worker.
    #[error("a worker has no link to itself")]
    LinkToItself,
    /// An output that is not there.
    #[error("node `{node}` has no output `{output}`")]
    UnknownOutput {
        /// Of which node.
        node: String,
        /// Which.
        output: String,
    },
    /// A workflow input that is not there.
    #[error("the workflow has no input `{name}`")]
    UnknownInput {
        /// Which.
        name: String,
    },
    /// A constant that is not there.
    #[error("there is no constant `{name}`")]
    UnknownConstant {
        /// Which.
        name: String,
    },
    /// An input that another workflow does not have.
    #[error("workflow `{workflow}` has no input `{name}`")]
    UnknownInnerInput {
        /// Which workflow.
        workflow: String,
        /// Which of its inputs.
        name: String,
    },
    /// An input that another workflow wants.
    #[error("workflow `{workflow}` wants input `{name}`, and it is missing")]
    MissingInnerInput {
        /// Which workflow.
        workflow: String,
        /// Which of its inputs.
        name: String,
    },
    /// A source of another kind than its use wants.
    #[error("`{source_name}` is {kind}, and {place} {expected}")]
    SourceKind {
        /// Which.
        source_name: String,
        /// What it is.
        kind: &'static str,
        /// Where it is used.
        place: String,
        /// What is wanted there.
        expected: &'static str,
    },
    /// Alternatives of several kinds.
    #[error(
        "these alternatives are not of one kind: `{first}` is {first_kind}, `{other}` {other_kind}"
    )]
    Alternatives {
        /// The first.
        first: String,
        /// What it is.
        first_kind: &'static str,
        /// One that is something else.
        other: String,
        /// What that is.
        other_kind: &'static str,
    },
    /// Something that is needed, and may be absent.
    #[error("{what} is needed, but what it comes from may be absent")]
    MayLack {
        /// What.
        what: String,
    },
    /// A join of more edges than there are.
    #[error("`{node}` waits for {needed} of its edges, and has {edges}")]
    Join {
        /// Which node.
        node: String,
        /// What it waits for.
        needed: u32,
        /// What it has.
        edges: usize,
    },
    /// An expression that is none.
    #[error("{0}")]
    Expression(String),
    /// A name in an expression that means nothing.
    #[error("nothing is called `{name}` here")]
    UnknownName {
        /// Which.
        name: String,
    },
    /// A word of a command that names an input which the node does not have.
    #[error("command `{node}` has no input `{input}`")]
    CommandInput {
        /// Which node.
        node: String,
        /// Which input.
        input: String,
    },
    /// More inputs than a command can read.
    #[error(
        "of the inputs of command `{node}` that no word names one can be read, as standard input, and there are {inputs}"
    )]
    CommandInputs {
        /// Which node.
        node: String,
        /// Its inputs that no word names.
        inputs: String,
    },
    /// Outputs that a command cannot have.
    #[error("command `{node}` has {count} outputs, and its standard output is one")]
    CommandOutputs {
        /// Which node.
        node: String,
        /// How many it has.
        count: usize,
    },
    /// Another file, named by a text that stands in no file itself.
    #[error("`{path}` cannot be followed: this text is read by itself, not from a file")]
    NoFiles {
        /// Which.
        path: String,
    },
    /// Another file that cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Files that hold each other.
    #[error("these workflows hold each other: {}", path.join(" → "))]
    FileCycle {
        /// The way round, its first file again at its end.
        path: Vec<String>,
    },
    /// A name that became too long when another workflow was put in its node's place.
    #[error("the name `{name}` has more than {limit} bytes")]
    LongName {
        /// Which.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// Warning: an output that nobody uses.
    #[error("nobody uses output `{output}` of `{node}`")]
    UnusedOutput {
        /// Of which node.
        node: String,
        /// Which.
        output: String,
    },
    /// Warning: a workflow input or constant that nobody uses.
    #[error("nobody uses `{name}`")]
    Unused {
        /// Which, as a source.
        name: String,
    },
    /// Warning: a timeout that a profiled run time exceeds.
    #[error("`timeout_ms` is {timeout_ms}, but `{node}` is said to take {runtime_ms} ms")]
    ShortTimeout {
        /// Which node.
        node: String,
        /// The timeout.
        timeout_ms: u32,
        /// The run time, as it is written.
        runtime_ms: String,
    },
    /// Warning: a name of errors that looks like a class.
    #[error("`{name}` is no class of failures, and so means errors that begin with `{name}:`")]
    NoClass {
        /// Which.
        name: String,
    },
    /// Warning: something behind what takes everything.
    #[error("this {what} is never reached: {why}")]
    Unreached {
        /// What.
        what: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A catch at a workflow that no failure leaves.
    #[error(
        "no failure leaves workflow `{workflow}`: nothing in it can fail that it does not catch itself"
    )]
    NothingFails {
        /// Which workflow.
        workflow: String,
    },
    /// Warning: a timeout of a workflow that is used within another.
    #[error("the `timeout_ms` of workflow `{workflow}` has no effect within another workflow")]
    InnerTimeout {
        /// Which workflow.
        workflow: String,
    },
    /// `item` where there is none.
    #[error("`item` has no meaning {0}")]
    ItemOutside(&'static str),
    /// An item of something around, where nothing is around.
    #[error("this foreach is not within so many others")]
    OuterItem,
    /// A foreach over something else than a list.
    #[error("`{source_name}` is {kind}, and foreach runs over a list")]
    ForeachOver {
        /// Over what.
        source_name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A list from each item, read from outside.
    #[error("`{source_name}` of all items would be a list of lists")]
    ListOfLists {
        /// What is read.
        source_name: String,
    },
    /// An output of the same item, of what has no items.
    #[error("`{source_name}` is not one for each item")]
    NoItems {
        /// What is read.
        source_name: String,
    },
    /// Nodes that would run item by item, over different items.
    #[error("{what}, but the two do not run over the same items")]
    OtherItems {
        /// What ties them.
        what: String,
    },
    /// A read of all items by what runs for one of them.
    #[error("`{source_name}` waits for all items, this one among them")]
    AllItems {
        /// What is read.
        source_name: String,
    },
    /// Nodes that wait for each other.
    #[error("these nodes wait for each other: {}", path.join(" → "))]
    Cycle {
        /// The way round, its first node again at its end.
        path: Vec<String>,
    },
    /// A node that can never run.
    #[error("node `{node}` can never run: {why}")]
    NeverRuns {
        /// Which.
        node: String,
        /// What it lacks.
        why: String,
    },
    /// A workflow output that can never be there.
    #[error("output `{output}` can never be there: none of its sources ever ends well")]
    NeverThere {
        /// Which.
        output: String,
    },
    /// No nodes.
    #[error("the workflow has no nodes")]
    NoNodes,
    /// What an import cannot take over.
    #[error(transparent)]
    Import(#[from] crate::import::ImportProblem),
    /// Something that stands there is above what is declared.
    #[error("{what} {exceeded}")]
    AboveMaximum {
        /// What.
        what: String,
        /// By how much.
        exceeded: String,
    },
    /// More of something than a plan can hold.
    #[error("{what} are {count}, above the limit of {limit}")]
    Count {
        /// Of what.
        what: String,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

impl ProblemKind {
    /// Whether it is only suspicious.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::UnusedOutput { .. }
                | Self::Unused { .. }
                | Self::ShortTimeout { .. }
                | Self::NoClass { .. }
                | Self::Unreached { .. }
                | Self::InnerTimeout { .. }
        )
    }
}
