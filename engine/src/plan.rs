//! The plan: what one worker must know of one workflow. Made by the master, sent once, checked by the worker.
//!
//! A plan holds the nodes of its own worker in full, and of the others what an edge to them needs. Nodes have one
//! number each in the whole deployment (the master's topological order), the same in every worker's plan.
#![allow(missing_docs, reason = "rkyv derives fields of its own for enum variants, which nobody can document")]

use faasstore::binding::Kind;
use rkyv::{Archive, Deserialize, Serialize};

/// Which deployment: unique for ever, drawn at random by the master.
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

/// A node's number in the whole deployment, in topological order.
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
    /// The item of the node's own foreach.
    Item,
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
}

/// A name and a kind.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// As in the definition.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// An input of a node, and where it comes from.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct InputPlan {
    /// As the function knows it.
    pub name: String,
    /// What the function sees: a gathered output is a list.
    pub kind: Kind,
    /// Where it comes from.
    pub source: Source,
}

/// How often, and how soon, a failed activation is tried again.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Wait before the second attempt, in milliseconds; it doubles for each further one.
    pub backoff_ms: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff_ms: 0,
        }
    }
}

/// A remote worker that must hear of a local node's end.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RemoteConsumer {
    /// Which worker.
    pub worker: WorkerIndex,
    /// The outputs that it needs; may be empty (`after` edges).
    pub outputs: Vec<u16>,
}

/// A node that runs on the plan's own worker.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct NodePlan {
    /// Its number in the deployment.
    pub id: NodeId,
    /// As in the definition.
    pub name: String,
    /// Place in [`Plan::executables`].
    pub executable: u16,
    /// The function's name in the executable.
    pub function: String,
    /// The list whose items it runs over, one activation each.
    pub foreach: Option<Source>,
    /// In the definition's order.
    pub inputs: Vec<InputPlan>,
    /// In the definition's order; of a foreach node, the kinds of one activation's outputs.
    pub outputs: Vec<Declaration>,
    /// Nodes that must have ended first, beside those that data comes from.
    pub after: Vec<NodeId>,
    /// What happens on failure.
    pub retry: Retry,
    /// Longest an attempt may take, from its dispatch, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// Other workers that must hear of its end.
    pub remote_consumers: Vec<RemoteConsumer>,
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
    /// Kinds of its outputs as its consumers see them (a foreach node's are lists).
    pub outputs: Vec<Kind>,
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
}

/// An output of the workflow.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkflowOutput {
    /// As in the definition.
    pub name: String,
    /// What the client gets.
    pub kind: Kind,
    /// Where it comes from; never [`Source::Item`].
    pub source: Source,
    /// The worker that has it; for [`Source::Input`] the entry worker, whichever it is, and this is unused.
    pub worker: WorkerIndex,
}

/// Which workflow inputs a worker needs when an invocation begins.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Participant {
    /// Which worker. Only workers with nodes are listed.
    pub worker: WorkerIndex,
    /// Workflow inputs that its nodes read.
    pub inputs: Vec<u16>,
}

/// Bounds that the deployment sets; the worker's own configuration may be tighter.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Invocations in flight on one lane, counted where they were taken. Beyond it a client is refused.
    pub in_flight_max: u32,
    /// Bytes of one payload.
    pub payload_bytes_max: u64,
    /// Payloads up to this many bytes travel inside a state event.
    pub inline_bytes_max: u32,
    /// Items of one list.
    pub items_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 65_536,
            payload_bytes_max: 1 << 34,
            inline_bytes_max: 16 << 10,
            items_max: 1 << 20,
        }
    }
}

/// What one worker must know of one workflow.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// The workflow's name, by which clients invoke it.
    pub workflow: String,
    /// 1 for the first deployment of that name, then one more each.
    pub version: u32,
    /// This plan's worker.
    pub me: WorkerIndex,
    /// All workers of the deployment.
    pub workers: Vec<WorkerRef>,
    /// Inputs of the workflow.
    pub inputs: Vec<Declaration>,
    /// Outputs of the workflow.
    pub outputs: Vec<WorkflowOutput>,
    /// Who takes part in every invocation, this worker too if it has nodes.
    pub participants: Vec<Participant>,
    /// The nodes that run here, by rising number.
    pub nodes: Vec<NodePlan>,
    /// Nodes elsewhere whose ends matter here, by rising number.
    pub remote_nodes: Vec<RemoteNode>,
    /// What the local nodes run.
    pub executables: Vec<ExecutablePlan>,
    /// Bounds.
    pub limits: Limits,
}
