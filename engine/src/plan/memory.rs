//! What payloads may take at most, as a definition declares it, and how many invocations that lets in.
//!
//! The master works out the worst case of an invocation (docs/store.md, "Memory proven before the run"), and says it here
//! together with the quota; each door takes no more than its share.

use super::{PortRef, WorkerIndex};
use faasstore::binding::Maximum;
use rkyv::{Archive, Deserialize, Serialize};

/// What an output of a local node, or an input of the workflow, may have at most.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortMaximum {
    /// Which: [`PortRef::Input`] or [`PortRef::Written`].
    pub port: PortRef,
    /// How much.
    pub maximum: Maximum,
}

/// The worst case of an invocation, and how many of them the quota holds.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    PartialEq,
    Eq,
    Debug,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct MemoryBound {
    /// The worker whose quota the fewest invocations fit.
    pub worker: WorkerIndex,
    /// Bytes that payloads of one invocation may have there at once.
    pub invocation_bytes: u64,
    /// Bytes that payloads of the workflow may have there.
    pub quota_bytes: u64,
    /// Invocations that may be in flight, all doors together.
    pub in_flight_max: u64,
    /// Of these, how many each lane of the plan's own worker may take.
    pub at_door: Vec<u64>,
}

/// The part of the memory of an executor that payloads may have, in hundredths: the published share. The rest is the margin.
const QUOTA_PERCENT: u64 = 80;

/// Bytes under lease of one lane up to which it may put off to let go of what has been read: what is declared may be
/// exceeded by as much.
pub const UNTIDIED_BYTES: u64 = 256 << 10;

/// What payloads may have of the memory of so many executors: what these reserve, less a margin of a fifth, less what an
/// activation uses itself.
///
/// ```
/// assert_eq!(engine::plan::quota_bytes(4, 100, 30), 4 * 50 << 20);
/// assert_eq!(engine::plan::quota_bytes(4, 100, 90), 0);
/// ```
#[must_use]
pub fn quota_bytes(executors: u32, memory_mib: u32, peak_mib: u32) -> u64 {
    let memory_bytes = u64::from(memory_mib) << 20;
    let share_bytes = memory_bytes / 100 * QUOTA_PERCENT + memory_bytes % 100 * QUOTA_PERCENT / 100;
    u64::from(executors) * share_bytes.saturating_sub(u64::from(peak_mib) << 20)
}
