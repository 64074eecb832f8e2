//! What the bodies of frames hold.

use super::{Deployed, LinkFigures, LinkWish, ProfilePage, Sources};
use crate::plan::{DeploymentId, NodeId, Plan};
use crate::trace::PartTrace;
use faasstore::Cancelled;
use faasstore::binding::FunctionDescription;
use rkyv::{Archive, Deserialize, Serialize};
use thiserror::Error;

/// Payload bytes in a message.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// Here.
    Inline(Vec<u8>),
    /// In chunks that follow on the same connection. The message counts as arrived when they have.
    Streamed {
        /// Unique on that connection and direction.
        transfer: u64,
        /// Bytes in all.
        bytes: u64,
    },
    /// In memory of the sender, a worker on the same host, which passes its segments on beside the connection.
    Lent {
        /// Should they not be to be had there, they are streamed under this number.
        transfer: u64,
        /// Where they lie: of a list one range for each item that has bytes, in order.
        ranges: Vec<LentRange>,
    },
}

impl Data {
    /// How many there are; at most 2^64 - 1.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(data) => data.len() as u64,
            Self::Streamed { bytes, .. } => *bytes,
            Self::Lent { ranges, .. } => ranges
                .iter()
                .fold(0, |sum: u64, range| sum.saturating_add(range.bytes)),
        }
    }
}

/// A range of a segment that a worker lends to another one on its host.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LentRange {
    /// The segment's slot in the lending lane's table.
    pub segment: u32,
    /// Which of the segments that had that slot.
    pub generation: u32,
    /// Its first byte in the segment.
    pub offset: u64,
    /// Bytes; at least one.
    pub bytes: u64,
}

/// What two workers of one host have in common, as docs/protocol.md says: a hash.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostToken(pub [u8; 32]);

/// A payload in a message.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// For a list: the bytes of each item, [`ITEM_ABSENT`](super::ITEM_ABSENT) of one that is not there. The items lie in `data` in order, each
    /// padded to [`ITEM_ALIGN`](super::ITEM_ALIGN).
    pub items: Option<Vec<u64>>,
    /// Where the items stand, if they are not all of their list.
    pub section: Option<Section>,
    /// The hash of the schema of what is here, or of each item: what a client says of what it gives, else what the plan of
    /// the sender says; 0 if nothing is said.
    pub schema: u64,
    /// The bytes.
    pub data: Data,
}

/// Which items of a list are here: those from `first` on, as many as there are.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// The first one's place in the list.
    pub first: u32,
    /// Items of the list in all.
    pub whole: u32,
}

/// A worker's first word to whoever connects.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Random.
    pub nonce: [u8; 32],
    /// The worker's name.
    pub worker: String,
}

/// Who connects.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// The master: deploys, asks for status.
    Control,
    /// A client: invokes.
    Client,
    /// A lane of another worker, which will send state events and the like to one lane of this worker.
    Peer {
        /// Its name.
        worker: String,
        /// Its restart epoch.
        epoch: u32,
        /// Which of its lanes.
        from_lane: u8,
        /// Which lane here.
        to_lane: u8,
        /// Invocations that `from_lane` took before this number are decided unless begun here; see docs/protocol.md.
        next_sequence: u64,
        /// The number of its connection for payloads, which was greeted before.
        bulk: u64,
        /// What it would share with a worker on its own host; none if it shares with nobody.
        host: Option<HostToken>,
    },
    /// The same lane, which will send payloads there: it is to come before the one above, which names it.
    Bulk {
        /// Its name.
        worker: String,
        /// Its restart epoch.
        epoch: u32,
        /// Which of its lanes.
        from_lane: u8,
        /// Which lane here.
        to_lane: u8,
        /// The sender's choice, another one for each.
        bulk: u64,
    },
    /// Another worker, which will measure the link from it to this one.
    Measurer {
        /// Its name.
        worker: String,
    },
}

/// The answer to a [`Challenge`].
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Who.
    pub role: Role,
    /// Random.
    pub nonce: [u8; 32],
    /// HMAC-SHA-256 under the cluster key, as docs/protocol.md says.
    pub proof: [u8; 32],
}

/// The worker's proof; the connection is open.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// HMAC-SHA-256 under the cluster key, as docs/protocol.md says.
    pub proof: [u8; 32],
    /// The worker's restart epoch.
    pub epoch: u32,
    /// To a peer with the worker's own [`HostToken`]: the name of the Unix socket over which they pass segments.
    pub socket: Option<String>,
}

/// The worker closes the connection, and why.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// For people.
    pub reason: String,
}

/// What the master asks of a worker's control thread.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a handful in a deployment's life"
)]
pub enum Control {
    /// What have you? Answered by [`ControlReply::Description`].
    Describe,
    /// Check this plan whole, start its executors, connect to its peers; but take no client yet.
    Prepare(Plan),
    /// Open the door of a deployment all of whose placements are prepared; an earlier version of the workflow retires.
    Activate(DeploymentId),
    /// Drop a deployment of which placements are prepared: all of them.
    Abort(DeploymentId),
    /// Retire the workflow of this name: no new invocations; gone when those in flight have ended everywhere.
    /// Refused if nothing is deployed under that name, and for no other reason.
    Undeploy(String),
    /// Counters and all. Answered by [`ControlReply::Status`].
    Status,
    /// Keep the files of a prepared deployment. Refused if they are too large.
    Keep {
        /// Which deployment.
        deployment: DeploymentId,
        /// Its files.
        sources: Sources,
    },
    /// What is deployed under this name, and from what? Answered by [`ControlReply::Deployed`].
    Deployed {
        /// The workflow's name.
        workflow: String,
        /// Which placement of it, from 1.
        placement: u16,
    },
    /// What was measured of the workflow? Answered by [`ControlReply::Profile`].
    Profile {
        /// Its name.
        workflow: String,
        /// Which placement of it, from 1.
        placement: u16,
        /// Where to go on: 0, or what the last page said is next.
        from: u32,
    },
    /// Forget what was measured of the workflow of this name, and begin anew.
    ForgetProfile(String),
    /// Measure the link to another worker. Answered by [`ControlReply::Link`].
    MeasureLink(LinkWish),
    /// What functions have these executables, and what do they say of their payloads? At most [`FUNCTIONS_ASKED_MAX`] at
    /// once. Answered by [`ControlReply::Functions`].
    Functions(Vec<String>),
}

/// Executables whose functions are asked for in one request, at most.
pub const FUNCTIONS_ASKED_MAX: usize = 32;

/// What a worker answers the master.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum ControlReply {
    /// Done.
    Done,
    /// Not done, and why; nothing has changed.
    Refused(String),
    /// What the worker has.
    Description(WorkerDescription),
    /// JSON of `status::WorkerStatus`.
    Status(String),
    /// What is deployed under a name.
    Deployed(Deployed),
    /// What was measured.
    Profile(ProfilePage),
    /// What was measured of a link.
    Link(LinkFigures),
    /// The functions of each executable that was asked for, in that order.
    Functions(Vec<Vec<FunctionDescription>>),
}

/// What a worker has, for the partitioner and for checks.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkerDescription {
    /// Its name.
    pub name: String,
    /// Its restart epoch.
    pub epoch: u32,
    /// Its lanes.
    pub lanes: u8,
    /// The CPUs it is bound to.
    pub cpus: Vec<u32>,
    /// Its memory limit.
    pub memory_bytes: u64,
    /// Of those, what deployments have reserved.
    pub memory_reserved_bytes: u64,
    /// Files in its functions folder that may be executed.
    pub executables: Vec<String>,
    /// Workflows it serves, with their versions.
    pub workflows: Vec<(String, u32)>,
}

/// A client's wish.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Invoke {
    /// Chosen by the client; the answer repeats it.
    pub request: u64,
    /// The workflow's name.
    pub workflow: String,
    /// Inputs by name.
    pub inputs: Vec<(String, Body)>,
    /// Whether the answer shall carry a [`NodeReport`] for every node.
    pub report: bool,
    /// Whether the answer shall carry a [`PartTrace`] for every worker that took part.
    pub trace: bool,
}

/// A client takes back what it has asked for on this connection. The [`Answer`] is then [`Failure::Cancelled`], unless it
/// has been given already.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Cancel {
    /// As in [`Invoke`].
    pub request: u64,
}

/// How an invocation ended.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// As in [`Invoke`].
    pub request: u64,
    /// The invocation's id; 0 if it was refused or cancelled at the door.
    pub invocation: u128,
    /// From the arrival of all its inputs to its end at the entry worker, in nanoseconds.
    pub latency_ns: u64,
    /// Outputs by name, or why not.
    pub result: Result<Vec<(String, Body)>, Failure>,
    /// If asked for, sorted by node.
    pub report: Vec<NodeReport>,
    /// If asked for: when activations ran, by worker, the entry worker first. Where it failed, those that had not ended
    /// their parts are missing.
    pub trace: Vec<PartTrace>,
}

/// Why an invocation ended without its outputs.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Error)]
pub enum Failure {
    /// The door did not open; nothing was started.
    #[error("worker {worker} refused: {reason}")]
    Refused {
        /// Which worker.
        worker: String,
        /// Why, and what to do.
        reason: String,
        /// The figures, if as many invocations are in flight as memory was proven for.
        memory: Option<MemoryRefusal>,
    },
    /// A node failed and had no attempt left.
    #[error("node {node} failed on worker {worker}, attempt {attempt}: {cause}")]
    Node {
        /// Which node.
        node: String,
        /// Where.
        worker: String,
        /// From 1.
        attempt: u32,
        /// What its executor, or the engine, said.
        cause: String,
    },
    /// A payload could not be taken in where it was needed.
    #[error("worker {worker} could not take a payload of node {node}: {cause}")]
    Payload {
        /// The node whose output it is, or the input.
        node: String,
        /// Where it was needed.
        worker: String,
        /// Which limit, and by how much.
        cause: String,
    },
    /// Failures have left a join of some with fewer edges than it needs.
    #[error(
        "node {node} needs {needed} of the nodes it joins, and these have failed: {}",
        failed_text(failed)
    )]
    Join {
        /// Which node.
        node: String,
        /// How many it needs.
        needed: u32,
        /// Names of those that failed, and why.
        failed: Vec<(String, String)>,
    },
    /// An output that must be there has no value: all that it could come from was skipped.
    #[error("output {output} has no value: what it comes from was skipped")]
    Absent {
        /// Which output.
        output: String,
    },
    /// The invocation took longer than the workflow allows.
    #[error("it exceeded the workflow's timeout of {milliseconds} ms")]
    Timeout {
        /// How long it may take.
        milliseconds: u32,
    },
    /// A worker that took part went away.
    #[error("worker {worker} was lost while the invocation ran: {cause}")]
    Worker {
        /// Which.
        worker: String,
        /// How it was noticed.
        cause: String,
    },
    /// Its client took it back.
    #[error("its client cancelled it")]
    Cancelled,
}

/// What an invocation may need of memory, where that is more than is left.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct MemoryRefusal {
    /// The worker whose memory it is about.
    pub worker: String,
    /// Bytes that payloads of one invocation may have there at once.
    pub invocation_bytes: u64,
    /// Bytes that payloads of the workflow may have there.
    pub quota_bytes: u64,
    /// Invocations that may be in flight, all doors together.
    pub in_flight_max: u64,
    /// Of these, the share of the lane that was asked: as many are in flight.
    pub at_door: u64,
}

fn failed_text(failed: &[(String, String)]) -> String {
    let each = failed
        .iter()
        .map(|(node, cause)| format!("{node} ({cause})"));
    each.collect::<Vec<_>>().join(", ")
}

/// What one node did in one invocation.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct NodeReport {
    /// Its number; of a divided node that of its first part.
    pub id: NodeId,
    /// Its name.
    pub node: String,
    /// Where it ran; of a divided node all workers that had a part, as in `a, b`. What follows is of all parts together.
    pub worker: String,
    /// Activations that were begun: as many as those of the next three kinds together.
    pub activations: u32,
    /// Activations that ended well.
    pub well: u32,
    /// Activations that failed for good, caught or not.
    pub failed: u32,
    /// Activations that had not ended when the invocation was over.
    pub cut_off: u32,
    /// How often it was skipped: in a foreach for each item in which it was, or once if it was to run in none.
    pub skipped: u32,
    /// Attempts that were begun: the activations, and what was tried again. An activation that failed since no executor
    /// could be started has none.
    pub attempts: u32,
    /// Attempts that failed: the activations that failed for good, and what was to be tried again.
    pub failures: u32,
    /// Sum over attempts that ended well, from dispatch to completion, in nanoseconds.
    pub busy_ns: u64,
    /// Sum over attempts that failed, from dispatch to failure, in nanoseconds.
    pub failed_ns: u64,
    /// From the first dispatch to the last end, in nanoseconds; of a divided node the longest of its parts' spans.
    pub span_ns: u64,
    /// One for each edge into it.
    pub edges: Vec<EdgeReport>,
}

/// How the outputs of one producer reached a node.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct EdgeReport {
    /// The producer's name, or `input` for inputs of the workflow.
    pub from: String,
    /// How.
    pub tier: Tier,
    /// Payload bytes.
    pub bytes: u64,
}

/// Where a payload travels.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Inside the message.
    Inline,
    /// Through shared memory.
    Shared,
    /// Streamed from worker to worker.
    Peer,
}

/// The entry worker tells a participant of an invocation, once, before anything else of it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Begin {
    /// Which invocation.
    pub invocation: u128,
    /// Of what.
    pub deployment: DeploymentId,
    /// Whether reports are wanted.
    pub report: bool,
    /// Whether traces are wanted.
    pub trace: bool,
    /// The workflow inputs that the participant needs, by number.
    pub inputs: Vec<(u16, Body)>,
}

/// How a node has ended.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Well.
    Well,
    /// Well, as a switch that has chosen this case.
    Chose(u16),
    /// It was not to run.
    Skipped,
    /// It has failed, and this of its catches has taken the failure.
    Caught(u16),
    /// It has failed, and why; all who wait for it bear that.
    Failed(String),
    /// In the items of a region. It has run in some of them, or could have.
    Items {
        /// Why it has failed in one, if it has, and all who wait for it bear that.
        failed: Option<String>,
        /// The cases that it has chosen in some item, rising.
        cases: Vec<u16>,
        /// Its catches that have taken a failure in some item, rising.
        catches: Vec<u16>,
    },
}

/// What a lane tells another of a placement whose deployment divides invocations by load: how much it has to do there.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Of the pool where one more activation would have the most before it for each executor: those that run or wait, up to
    /// this number's end.
    pub active: u16,
    /// Executors that this pool may have; where no executors are needed, this number's end.
    pub executors: u16,
    /// Of the invocations that the receiving lane has taken, those with lower sequence numbers have begun at the sending
    /// lane, if they do at all: what it has to do for them is counted.
    pub begun_next: u64,
}

/// A node has ended: to each worker with a consumer of it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct StateEvent {
    /// Which invocation.
    pub invocation: u128,
    /// Of what.
    pub deployment: DeploymentId,
    /// Which node.
    pub node: NodeId,
    /// How it has ended.
    pub outcome: Outcome,
    /// The outputs that the receiver needs and that there are, by number.
    pub outputs: Vec<(u16, Body)>,
    /// If the deployment divides invocations by load.
    pub load: Option<Load>,
}

/// All nodes of a participant have ended: to the entry worker.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PartDone {
    /// Which invocation.
    pub invocation: u128,
    /// Of what.
    pub deployment: DeploymentId,
    /// Workflow outputs that the participant has, by number.
    pub outputs: Vec<(u16, Body)>,
    /// If wanted.
    pub report: Vec<NodeReport>,
    /// If wanted.
    pub trace: Option<Box<PartTrace>>,
    /// If the deployment divides invocations by load.
    pub load: Option<Load>,
}

/// An invocation failed at a participant: to the entry worker.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PartFailed {
    /// Which invocation.
    pub invocation: u128,
    /// Why.
    pub failure: Failure,
    /// If wanted, and the invocation has begun there: what its nodes did until then.
    pub report: Vec<NodeReport>,
    /// If wanted, and the invocation has begun there: what ran until then.
    pub trace: Option<Box<PartTrace>>,
}

/// The invocation is over: to each participant. What has not started never starts, and what runs is told to stop.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Forget {
    /// Which invocation.
    pub invocation: u128,
    /// Why, as what runs is told.
    pub why: Cancelled,
}

/// The sender has retired a deployment and will begin no invocation of it any more, nor has it one in flight.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Which deployment.
    pub deployment: DeploymentId,
}

/// The sender is there; besides, what it has to do for some placements.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// It says something at least once in so many milliseconds.
    pub interval_ms: u32,
    /// Of the placements that it shares with the receiver's worker, and whose deployments divide invocations by load.
    pub loads: Vec<(DeploymentId, Load)>,
}
