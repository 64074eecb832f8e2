//! The plan: what one worker must know of one workflow. Made by the master, sent once, checked by the worker.
//!
//! A plan holds the nodes of its own worker in full, and of the others what an edge to them needs. Nodes have one
//! number each in the whole deployment (the master's topological order), the same in every worker's plan.
#![allow(
    missing_docs,
    reason = "rkyv derives fields of its own for enum variants, which nobody can document"
)]

mod failure;
mod memory;
mod node;
mod parts;
mod replica;
mod types;

pub use failure::{ErrorClass, ErrorMatch, Retry};
pub use memory::{MemoryBound, PortMaximum, UNTIDIED_BYTES, executors_on, quota_bytes};
pub(crate) use memory::{WAITING_WINDOW, WINDOW};
pub use node::{
    Delay, DelayExpression, FlowEdge, Formula, Gate, Join, NodePlan, RemoteConsumer, RemoteNode,
    Work,
};
pub use parts::{PARTS_MAX, Part, SectionPlan, Share, WholePlan};
pub use replica::{Balance, REPLICAS_MAX, Replica};
pub use types::{PortRef, PortType};

use faasstore::binding::{Kind, Maximum, PAYLOAD_BYTES_MAX};
use rkyv::{Archive, Deserialize, Serialize};

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
