//! The plan: what one worker must know of one workflow. Made by the master, sent once, checked by the worker.
//!
//! A plan holds the nodes of its own worker in full, and of the others what an edge to them needs. Nodes have one
//! number each in the whole deployment (the master's topological order), the same in every worker's plan.
#![allow(
    missing_docs,
    reason = "rkyv derives fields of its own for enum variants, which nobody can document"
)]

mod replica;

pub use replica::{Balance, REPLICAS_MAX, Replica};

use faasstore::binding::{Kind, Maximum, PAYLOAD_BYTES_MAX};
use rkyv::{Archive, Deserialize, Serialize};

mod parts;
pub use parts::{PARTS_MAX, Part, SectionPlan, Share, WholePlan};

mod memory;
pub use memory::{MemoryBound, PortMaximum, UNTIDIED_BYTES, executors_on, quota_bytes};
pub(crate) use memory::{WAITING_WINDOW, WINDOW};

mod types;
pub use types::{PortRef, PortType};

/// Which deployment, and which placement of it: unique for ever, drawn at random by the master. A deployment is known by
/// the id of its first placement.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
#[rkyv(derive(PartialEq, Eq, Hash))]
#[serde(transparent)]
pub struct DeploymentId(pub u64);

impl std::fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node's number in the whole deployment, in topological order; behind all nodes' numbers, that of a divided node as a
/// whole ([`WholePlan`]).
pub type NodeId = u32;
/// A worker's place in the plan's list of workers, the same in every worker's plan.
pub type WorkerIndex = u16;

/// Where a value comes from.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A workflow input, by its place in [`Plan::inputs`].
    Input(u16),
    /// An output of a node. Of a foreach node it is the gathered list.
    Output {
        /// The producer.
        node: NodeId,
        /// Which of its outputs.
        output: u16,
    },
    /// Of what is gathered of a node of a region just within: the first item that is there. It is not there if none is.
    First {
        /// The producer.
        node: NodeId,
        /// Which of its outputs.
        output: u16,
    },
    /// The item of a region: of the node's own, or of one that many levels around it. With a batch, the list of its items.
    Item {
        /// Levels outward.
        up: u8,
    },
    /// A constant, by its place in [`Plan::constants`].
    Constant(u16),
}

/// Bytes that the definition itself holds.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Constant {
    /// What it holds.
    pub kind: Kind,
    /// The items of a list; else one, the bytes.
    pub items: Vec<Vec<u8>>,
}

/// A worker of the deployment.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkerRef {
    /// Unique in the deployment.
    pub name: String,
    /// `host:port`, as the master and its peers reach it.
    pub address: String,
    /// Its lanes; an invocation taken by lane `e` anywhere lives on lane `e % lanes` here.
    pub lanes: u8,
    /// Its restart epoch when the plan was made: a later life of it does not have the plan.
    pub epoch: u32,
}

/// A name and a kind.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// As in the definition.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// An input of the workflow.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkflowInput {
    /// As in the definition.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// What stands in for it if a client does not give it, by its place in [`Plan::constants`].
    pub default: Option<u16>,
    /// Whether a client may leave it out though it has no default.
    pub optional: bool,
}

impl WorkflowInput {
    /// One that a client must give.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            default: None,
            optional: false,
        }
    }
}

/// An input of a node, and where it comes from.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct InputPlan {
    /// As the function knows it.
    pub name: String,
    /// What the function sees: a gathered output is a list.
    pub kind: Kind,
    /// Where it comes from: the first of these that is live. Mostly there is one; none only for what is optional, and is
    /// then never there.
    pub sources: Vec<Source>,
    /// Whether the node runs without it.
    pub optional: bool,
    /// Where it may go if memory has no room for it.
    pub store: EdgeStore,
}

impl InputPlan {
    /// One that is needed, and has one source.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind, source: Source) -> Self {
        Self {
            name: name.into(),
            kind,
            sources: vec![source],
            optional: false,
            store: EdgeStore::Workflow,
        }
    }
}

/// What kind of failure it was.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum ErrorClass {
    /// The function returned an error.
    Error,
    /// An input was not what the function takes.
    Input,
    /// Its outputs are not what the node declares.
    Output,
    /// The function panicked.
    Panic,
    /// No memory for an output.
    Memory,
    /// It exceeded its timeout.
    Timeout,
    /// Its executor died, or none could be started.
    Crash,
    /// An expression could not be evaluated, or no case of a switch holds.
    Expression,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Input,
        Self::Output,
        Self::Panic,
        Self::Memory,
        Self::Timeout,
        Self::Crash,
        Self::Expression,
    ];

    /// As definitions and reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Input => "input",
            Self::Output => "output",
            Self::Panic => "panic",
            Self::Memory => "memory",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Expression => "expression",
        }
    }
}

/// Which failures are meant.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum ErrorMatch {
    /// All of a class.
    Class(ErrorClass),
    /// Those that a function returned with a text that begins with this name and a colon.
    Named(String),
}

impl ErrorMatch {
    /// Whether a failure is meant by any of `these`; all are, if there are none.
    #[must_use]
    pub fn any(these: &[Self], class: ErrorClass, cause: &str) -> bool {
        let meant = |one: &Self| match one {
            Self::Class(meant) => *meant == class,
            Self::Named(name) => {
                class == ErrorClass::Error
                    && cause
                        .strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.starts_with(':'))
            }
        };
        these.is_empty() || these.iter().any(meant)
    }
}

/// How often, and how soon, an activation is tried again that has failed in some way: one of a node's retriers.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    /// One more than it tries an activation again at most; at least 1. Of a node's only retrier, attempts in all.
    pub attempts: u32,
    /// Wait before it tries for the first time, in milliseconds.
    pub backoff_ms: u32,
    /// By how much each further wait is longer than the one before, in hundredths: 200 doubles it.
    pub factor_percent: u32,
    /// Longest wait, in milliseconds.
    pub backoff_max_ms: u32,
    /// Up to what share of a wait is left out at random, in hundredths.
    pub jitter_percent: u8,
    /// Which failures it takes; all, if none is named.
    pub on: Vec<ErrorMatch>,
}

impl Retry {
    /// The place of the first of `these` that takes a failure: it alone says whether that is tried again.
    #[must_use]
    pub fn first(these: &[Self], class: ErrorClass, cause: &str) -> Option<usize> {
        let takes = |one: &Self| ErrorMatch::any(&one.on, class, cause);
        these.iter().position(takes)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff_ms: 0,
            factor_percent: 200,
            backoff_max_ms: 24 * 60 * 60 * 1000,
            jitter_percent: 0,
            on: Vec::new(),
        }
    }
}

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
        /// Place in [`Plan::executables`].
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
    /// The executable that it needs, by its place in [`Plan::executables`].
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

/// Nodes that run together for each item of a list (foreach). From outside, their outputs are seen gathered: a list in the
/// order of the items, once the last of them has ended. From inside, they are those of the same item.
///
/// A region begins when its list is there and all that its nodes read or wait for outside of it is decided. Its nodes run on
/// one worker, and their numbers leave no room for others. A region that lies in no other may be divided: then it stands in
/// the plans as often as it has parts, with nodes of their own that run for a share of the items.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RegionPlan {
    /// The region around it, by its place in [`Plan::regions`]: a lower one.
    pub parent: Option<u16>,
    /// The list, as it is seen in the region around it.
    pub list: Source,
    /// How many items are taken together as one; without, each is taken as it is.
    pub batch: Option<u32>,
    /// Most items at once.
    pub parallelism: Option<u32>,
    /// Which part of a divided region it is.
    pub part: Option<Part>,
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
    /// The region that it is part of, by its place in [`Plan::regions`]; it runs once for each of its items.
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

/// An executable of `--functions DIR`, and how its pool is to be.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ExecutablePlan {
    /// File name in the worker's functions folder.
    pub name: String,
    /// Executors in its pool, for each lane that serves the deployment together; at least 1.
    pub scale: u16,
    /// Memory reserved for each executor, in MiB; what its arena may hold is counted in it.
    pub memory_mib: u32,
    /// Whether what it writes is believed to stay as it was committed.
    pub trust: Trust,
}

/// Whose an executable is: whether it keeps the promise that every executable built with the SDK keeps, never to write a
/// payload again that it has committed.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// The workflow's owner's: its payloads are read where it has written them.
    #[default]
    Own,
    /// Somebody else's: its payloads are copied into memory of the engine's before anybody reads them.
    Other,
}

/// An output of the workflow.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkflowOutput {
    /// As in the definition.
    pub name: String,
    /// What the client gets.
    pub kind: Kind,
    /// Where it comes from: the first of these that is live. Mostly there is one.
    pub sources: Vec<OutputSource>,
    /// Whether the invocation ends well without it.
    pub optional: bool,
}

impl WorkflowOutput {
    /// One without which the invocation fails, and that has one source.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind, source: Source, worker: WorkerIndex) -> Self {
        Self {
            name: name.into(),
            kind,
            sources: vec![OutputSource {
                source,
                worker,
                part: None,
            }],
            optional: false,
        }
    }
}

/// Where an output of the workflow may come from.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputSource {
    /// Neither [`Source::Item`] nor [`Source::First`].
    pub source: Source,
    /// The worker that has it; of what comes from no node the entry worker, whichever it is, and this is unused.
    pub worker: WorkerIndex,
    /// Which part of a list it is, if a divided node gives that: all parts stand one after the other, and are there together.
    pub part: Option<Part>,
}

/// Which workflow inputs a worker needs when an invocation begins.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Participant {
    /// Which worker. Only workers with nodes are listed.
    pub worker: WorkerIndex,
    /// Workflow inputs that its nodes read.
    pub inputs: Vec<u16>,
    /// Those of them of which it does not need everything, each once.
    pub sections: Vec<SectionPlan>,
}

/// Bounds that the deployment sets; the worker's own configuration may be tighter.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Invocations in flight of one placement on one lane, counted where they were taken. Beyond it another placement is
    /// tried, and if there is none a client is refused.
    pub in_flight_max: u32,
    /// Bytes of one payload.
    pub payload_bytes_max: u64,
    /// Payloads up to this many bytes travel inside a state event.
    pub inline_bytes_max: u32,
    /// Items of one list.
    pub items_max: u32,
    /// What is done with payloads that memory has no room for.
    pub store: StoreChoice,
}

/// What a workflow says of payloads that memory has no room for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreChoice {
    /// Whether they may be spilled to disk, where its workers can.
    pub spill: bool,
    /// Whether they may be carried to the remote store, where its workers have one.
    pub remote: bool,
    /// Bytes that they may have in memory on each of a worker's lanes; by default what its executors there reserve and do not
    /// use.
    pub quota_bytes: Option<u64>,
}

/// Where payloads on an edge may go for which memory has no room. A payload that several edges lead away from goes only where all of
/// them let it go.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EdgeStore {
    /// Where the workflow's [`StoreChoice`] lets them go.
    #[default]
    Workflow,
    /// Nowhere: they stay in memory.
    Memory,
    /// To the worker's disk.
    Spill,
    /// To the worker's remote store.
    Remote,
}

impl Default for StoreChoice {
    fn default() -> Self {
        Self {
            spill: true,
            remote: true,
            quota_bytes: None,
        }
    }
}

impl Plan {
    /// What an output of a local node, or an input of the workflow, may have at most.
    #[must_use]
    pub fn maximum(&self, port: PortRef) -> Maximum {
        let place = self.maxima.binary_search_by_key(&port, |one| one.port);
        place.map_or(Maximum::NONE, |place| self.maxima[place].maximum)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 65_536,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            inline_bytes_max: 16 << 10,
            items_max: 1 << 20,
            store: StoreChoice::default(),
        }
    }
}

/// What one worker must know of one workflow.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Which deployment; of several placements, this one's own id.
    pub deployment: DeploymentId,
    /// Which placement of the deployment.
    pub replica: Replica,
    /// The workflow's name, by which clients invoke it.
    pub workflow: String,
    /// 1 for the first deployment of that name, then one more each.
    pub version: u32,
    /// This plan's worker.
    pub me: WorkerIndex,
    /// All workers of the deployment.
    pub workers: Vec<WorkerRef>,
    /// Inputs of the workflow.
    pub inputs: Vec<WorkflowInput>,
    /// What the definition itself holds.
    pub constants: Vec<Constant>,
    /// Longest an invocation may take, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// Outputs of the workflow.
    pub outputs: Vec<WorkflowOutput>,
    /// Who takes part in every invocation, this worker too if it has nodes.
    pub participants: Vec<Participant>,
    /// Nodes that run together for each item of a list; those around others come first.
    pub regions: Vec<RegionPlan>,
    /// The nodes that run here, by rising number.
    pub nodes: Vec<NodePlan>,
    /// Nodes elsewhere whose ends matter here, by rising number.
    pub remote_nodes: Vec<RemoteNode>,
    /// Nodes of divided regions that others here wait for, as a whole, by rising number.
    pub wholes: Vec<WholePlan>,
    /// What the local nodes run.
    pub executables: Vec<ExecutablePlan>,
    /// What payloads are said to be, by rising port; of a port that is not here nothing is said.
    pub types: Vec<PortType>,
    /// What outputs of local nodes, and inputs of the workflow, may have at most, by rising port; of a port that is not here
    /// nothing is declared.
    pub maxima: Vec<PortMaximum>,
    /// The worst case of an invocation, if all that it may make is declared.
    pub memory: Option<MemoryBound>,
    /// Bounds.
    pub limits: Limits,
}

#[cfg(test)]
mod tests;
