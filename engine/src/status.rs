//! What a worker tells of itself: the report behind `faasflow status`, and the counters that feed it.
//!
//! [`LaneCounters`] are written by one lane and read by whoever asks; [`WorkerStatus`] is the whole report, which
//! travels as JSON so that other programs can read it. This file only describes: the control thread gathers.

mod counters;

pub use counters::{ControlCounters, Counter, LaneCounters, WorkflowCounters};

use crate::plan::{Balance, DeploymentId};
use crate::reads::{Moved, Reads};
use faasstore::binding::WaitStrategy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that a worker tells of itself.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// How often it was started with its state directory.
    pub epoch: u32,
    /// Its process.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// Version of the program.
    pub version: String,
    /// Where it listens.
    pub address: String,
    /// How it does I/O.
    pub driver: DriverStatus,
    /// How lanes and executors wait.
    pub wait: WaitStrategy,
    /// How long they poll before they park, in nanoseconds; counts for `adaptive` alone.
    pub spin_budget_ns: u64,
    /// Where executors run, beside their lane: as configured and as decided.
    pub executors: PlacementStatus,
    /// The CPUs it is bound to.
    pub cpus: Vec<u32>,
    /// Its lanes, by number.
    pub lanes: Vec<LaneStatus>,
    /// What it may use and uses.
    pub memory: MemoryStatus,
    /// What the machine costs, measured at its start.
    pub calibration: Calibration,
    /// The links that it makes to lanes of its peers.
    #[serde(default)]
    pub links: Vec<LinkStatus>,
    /// Workflows that it serves, or is about to, or still does.
    pub deployments: Vec<DeploymentStatus>,
    /// What each workflow has in memory here, by name.
    #[serde(default)]
    pub workflows: Vec<WorkflowStatus>,
    /// All counters by name, summed over its lanes, and those of the control thread.
    pub counters: BTreeMap<String, u64>,
    /// File descriptors that the process has open.
    pub descriptors: u64,
}

/// How a worker does I/O.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DriverStatus {
    /// Which.
    pub kind: Driver,
    /// Why this one.
    pub reason: String,
}

pub use crate::lane::driver::DriverKind as Driver;

/// Where executors run, beside their lane.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorPlacement {
    /// On their lane's own CPU.
    Same,
    /// On the worker's other CPUs, in turn.
    Spread,
    /// The first of a pool where its wake is cheaper as measured, further ones on the other CPUs in turn.
    #[default]
    Auto,
}

/// Where executors run, as configured and as decided.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PlacementStatus {
    /// `--executors`.
    pub configured: ExecutorPlacement,
    /// Where the first executor of a pool goes: `same` or `spread`.
    pub first: ExecutorPlacement,
    /// Why, for people.
    pub reason: String,
}

/// One lane.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LaneStatus {
    /// Its number.
    pub lane: u8,
    /// The CPU that it is pinned to.
    pub cpu: u32,
    /// Its counters by name.
    pub counters: BTreeMap<String, u64>,
}

/// Memory of a worker, in bytes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MemoryStatus {
    /// `--memory`.
    pub limit_bytes: u64,
    /// Of those, what the lanes' own arenas may take: inputs, payloads from peers, tables.
    pub lanes_bytes: u64,
    /// Of those, what deployments have reserved for their executors.
    pub reserved_bytes: u64,
    /// Bytes of segments that exist, those of executors included.
    pub held_bytes: u64,
    /// Segments that exist.
    pub segments: u64,
    /// Ranges in use by invocations.
    pub leases: u64,
    /// What large segments are made of, as it is now: `ordinary pages`, or `transparent` or `reserved huge pages`.
    #[serde(default)]
    pub large_segments: String,
    /// Resident memory of the worker's own process, as the kernel counts it.
    pub resident_bytes: u64,
}

/// What the machine costs, measured when the worker started, in nanoseconds; absent where it could not be measured.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calibration {
    /// One way through a ring, between two polling threads on two CPUs: median.
    pub ring_transfer_ns: Option<u64>,
    /// From a futex wake to its sleeper running, on one CPU: median.
    pub wake_same_cpu_ns: Option<u64>,
    /// From a futex wake to its sleeper running, on another, idle CPU: median.
    pub wake_across_cpus_ns: Option<u64>,
    /// Half a round trip of 64 bytes over TCP on loopback, both sides blocking: median.
    pub tcp_one_way_ns: Option<u64>,
    /// How long measuring took.
    pub took_ns: u64,
}

/// A link to a lane of a peer.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// The peer's name.
    pub worker: String,
    /// Which lane here.
    pub from_lane: u8,
    /// Which lane there.
    pub to_lane: u8,
    /// Where the peer listens.
    pub address: String,
    /// Whether it stands.
    pub connected: bool,
    /// Whether payloads are lent to the peer in shared memory instead of being streamed.
    pub shares_memory: bool,
    /// Why they are not, if they are not, for people.
    pub unshared: Option<String>,
}

/// What a workflow has in memory on this worker, with all of its versions and placements.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkflowStatus {
    /// Its name.
    pub workflow: String,
    /// Bytes that its executors may use for payloads: reserved when they were deployed.
    pub reserved_bytes: u64,
    /// Ranges of segments in use by its invocations.
    pub leases: u64,
    /// Bytes of those ranges: the payloads that are there now.
    pub leased_bytes: u64,
    /// The most that those ever were on each lane, added up.
    pub leased_peak_bytes: u64,
    /// When a lane last saw that they never were more before, in milliseconds of Unix time; none if there never was any.
    #[serde(default)]
    pub leased_peak_unix_ms: Option<u64>,
    /// Segments that hold payloads of it, or may.
    pub segments: u64,
    /// Bytes of those segments.
    pub held_bytes: u64,
    /// The most segments that were held on each lane when it looked, added up.
    #[serde(default)]
    pub segments_peak: u64,
    /// The most bytes that segments had on each lane when it looked, added up.
    #[serde(default)]
    pub held_peak_bytes: u64,
    /// When a lane last saw that they never had more before, in milliseconds of Unix time; none if there never was any.
    #[serde(default)]
    pub held_peak_unix_ms: Option<u64>,
    /// Bytes of segments that have gone, and that its executors may still keep, once for each of these.
    #[serde(default)]
    pub pinned_bytes: u64,
    /// Bytes that its payloads may have in memory before they are carried elsewhere, or wait to be made.
    pub quota_bytes: u64,
    /// By lane: bytes that what may be in flight needs, by what was [proven](crate::plan::MemoryBound), more than executors have turned out
    /// to leave.
    #[serde(default)]
    pub lacking_bytes: Vec<u64>,
    /// Payloads that were carried out of memory and are still needed.
    pub away: u64,
    /// Bytes of those.
    pub away_bytes: u64,
    /// Payloads that were spilled to disk.
    pub spilled: u64,
    /// Bytes of those.
    pub spilled_bytes: u64,
    /// Payloads that were carried to the remote store.
    pub stored: u64,
    /// Bytes of those.
    pub stored_bytes: u64,
    /// Payloads that were brought back.
    pub fetched: u64,
    /// Bytes of those.
    pub fetched_bytes: u64,
    /// Payloads that a disk or a store did not take, and that stayed in memory.
    pub carries_refused: u64,
    /// Payloads that could not be brought back.
    pub payloads_lost: u64,
    /// Activations that waited for memory though an executor was idle.
    pub held_back: u64,
    /// Activations that were started, or given an item of a list, beyond the quota, since nothing else of the workflow ran.
    pub overdrawn: u64,
    /// Activations that were started before all items of their lists were in memory, since these do not fit in.
    #[serde(default)]
    pub windowed: u64,
    /// Payloads of peers that could not be taken in.
    #[serde(default)]
    pub arrivals_refused: u64,
    /// What was carried to disk, and back.
    #[serde(default)]
    pub spill: Moved,
    /// What was carried to the remote store, and back.
    #[serde(default)]
    pub remote: Moved,
    /// What activations and clients have read here, by the tier by which it came, those of deployments that have gone included.
    #[serde(default)]
    pub reads: ReadsStatus,
    /// The invocations that have held payloads here for longest, the oldest first: a few.
    #[serde(default)]
    pub holders: Vec<HolderStatus>,
}

/// What was read, by the tier by which it came to who has read it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadsStatus {
    /// By tier.
    #[serde(flatten)]
    pub by_tier: Reads,
    /// Payloads that were found in memory.
    pub hits: u64,
    /// Payloads that had to be brought back.
    pub misses: u64,
}

impl From<Reads> for ReadsStatus {
    fn from(by_tier: Reads) -> Self {
        Self {
            by_tier,
            hits: by_tier.hits(),
            misses: by_tier.misses(),
        }
    }
}

/// What was read over an edge, as far as its reader is on this worker.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct EdgeStatus {
    /// What was read: `NODE.OUTPUT` or `input.NAME`.
    pub from: String,
    /// Who has read it: a node, or `output.NAME`, where the worker has answered the client.
    pub to: String,
    /// How often, and how it came.
    #[serde(flatten)]
    pub reads: ReadsStatus,
}

/// An invocation that holds payloads.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct HolderStatus {
    /// Its id.
    pub invocation: String,
    /// The lane on which it lives here.
    pub lane: u8,
    /// How long it has been there, in milliseconds.
    pub age_ms: u64,
    /// Bytes of its payloads.
    pub bytes: u64,
    /// The largest of them.
    pub payloads: Vec<PayloadStatus>,
}

/// Payloads of an invocation that are one input or output, of all items of a foreach together.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PayloadStatus {
    /// `NODE.OUTPUT` or `input.NAME`.
    pub of: String,
    /// Their bytes.
    pub bytes: u64,
}

/// A placement's part on this worker.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DeploymentStatus {
    /// The workflow's name.
    pub workflow: String,
    /// Which deployment of that name, from 1.
    pub version: u32,
    /// Which deployment; of several placements, this one's own id.
    pub deployment: DeploymentId,
    /// Which of the deployment's placements it is, from 1.
    pub replica: u16,
    /// How many placements the deployment has.
    pub replicas: u16,
    /// How invocations are divided among them.
    pub balance: Balance,
    /// Where in its life it is.
    pub state: DeploymentState,
    /// Nodes that run here.
    pub nodes: u32,
    /// Memory reserved for its executors.
    pub reserved_bytes: u64,
    /// Its executors here.
    pub executors: Vec<ExecutorStatus>,
    /// What was read over its edges here, by edge; of very many those over which most bytes came.
    #[serde(default)]
    pub edges: Vec<EdgeStatus>,
    /// Further edges over which anything was read.
    #[serde(default)]
    pub edges_unlisted: u64,
}

/// Where in its life a deployment is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Accepted, and waiting to be activated.
    Prepared,
    /// Its door is open.
    Active,
    /// Its door is closed, and what is in flight ends.
    Retiring,
}

/// One executor.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ExecutorStatus {
    /// Its process.
    pub pid: u32,
    /// What it runs.
    pub executable: String,
    /// Whose it is.
    pub lane: u8,
    /// The CPU that it is bound to, if it is one.
    pub cpu: Option<u32>,
}
