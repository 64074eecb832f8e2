//! Bodies about what runs: what was measured of a workflow, and the files that it was deployed from.

use crate::plan::{DeploymentId, NodeId, Part, Replica, WorkerRef};
use crate::profile::{CpuSums, Measured};
use rkyv::{Archive, Deserialize, Serialize};

/// Bytes that a worker keeps of the files of one deployment: names, texts and terms together. Of larger ones it keeps none.
pub const SOURCES_BYTES_MAX: usize = 4 << 20;
/// Bytes that a worker keeps of the files of all its deployments.
pub const SOURCES_BYTES_ALL_MAX: usize = 64 << 20;

/// What a workflow was deployed from, so that it can be planned anew.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// Files by name, and what stands in them: the workflow's first, then those that it and they name.
    pub files: Vec<(String, String)>,
    /// On which terms it was placed. It is the master's to read: JSON.
    pub terms: String,
}

impl Sources {
    /// What they take of [`SOURCES_BYTES_MAX`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let files = self.files.iter();
        let files = files.map(|(name, text)| name.len() + text.len());
        files.sum::<usize>() + self.terms.len()
    }
}

/// What is deployed under a name in one placement, and from what.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Deployed {
    /// Which placement of which deployment.
    pub replica: Replica,
    /// Its version.
    pub version: u32,
    /// All workers of the deployment.
    pub workers: Vec<WorkerRef>,
    /// The nodes that run on this worker.
    pub nodes: Vec<DeployedNode>,
    /// Divided nodes that nodes here read as a whole: the number of the whole, and those of its parts, in their order.
    pub wholes: Vec<(NodeId, Vec<NodeId>)>,
    /// Its files, unless they were too large to be kept. They are kept with the first placement.
    pub sources: Option<Sources>,
}

/// A node that runs on a worker.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DeployedNode {
    /// Its number in the deployment, the same in all placements.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// If it is divided: which part of it.
    pub part: Option<Part>,
}

/// What a worker has measured of some of a workflow's nodes in one placement, all lanes together.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ProfilePage {
    /// Which deployment: the active one, by the id of its first placement.
    pub deployment: DeploymentId,
    /// Its version.
    pub version: u32,
    /// Invocations of the placement that began on this worker since counting began.
    pub invocations: u64,
    /// Of those, the ones that were measured and whose part on this worker has ended well.
    pub measured: u64,
    /// The nodes.
    pub nodes: Vec<MeasuredNode>,
    /// Where to ask on, if there are more.
    pub next: Option<u32>,
}

/// What a worker has measured of a node; see [`NodeProfile`](crate::profile::NodeProfile).
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MeasuredNode {
    /// Its number in the deployment.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Whether an executor runs it.
    pub has_executor: bool,
    /// What it reads of other nodes: by producer the outputs, each once, rising. Of a node that runs for each item, the list is
    /// among them. A divided node is read as a whole.
    pub reads: Vec<(NodeId, Vec<u16>)>,
    /// What of that is needed here only as far as its part goes: the list, by its producer and output, that a part of a
    /// divided node runs over and reads in no other way.
    pub over: Option<(NodeId, u16)>,
    /// Activations that were begun.
    pub activations: u64,
    /// Attempts that have failed.
    pub failures: u64,
    /// Measured invocations in which it has run.
    pub ran: u64,
    /// Run times in nanoseconds.
    pub run_ns: Measured,
    /// Waits for an executor in nanoseconds.
    pub queued_ns: Measured,
    /// What executors have measured of some of these runs.
    pub cpu: CpuSums,
    /// Outputs that its function returns, by name: bytes for each measured invocation in which it ran.
    pub outputs: Vec<(String, Measured)>,
    /// If it runs for each item of a list: how many there were.
    pub items: Option<Measured>,
}
