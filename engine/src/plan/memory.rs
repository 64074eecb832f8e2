//! What payloads may take at most, as a definition declares it, and how many invocations that lets in.
//!
//! The master works out the worst case of an invocation (docs/store.md, "Memory proven before the run"), and says it here
//! together with the quota; each door takes no more than its share.

use super::{Plan, PortRef, WorkerIndex};
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
    /// Bytes that payloads of invocations in flight may need on each lane of the plan's own worker; 0 where no executor runs.
    pub on_lane: Vec<u64>,
}

/// The part of the memory of an executor that payloads may have, in hundredths: the published share. The rest is the margin.
const QUOTA_PERCENT: u64 = 80;

/// Bytes under lease of one lane up to which it may put off to let go of what has been read: what is declared may be
/// exceeded by as much.
pub const UNTIDIED_BYTES: u64 = 256 << 10;

/// Items of a region at once, if it says nothing: enough to keep its executors busy while others are tidied up after.
pub(crate) const WINDOW: usize = 64;
/// The same where items wait for a time: they keep nobody busy, and are not to wait for each other. Only if that keeps no more
/// in memory, since one node alone makes anything, or `parallelism` asks for it.
pub(crate) const WAITING_WINDOW: usize = 4096;

impl Plan {
    /// Items of a region that may have begun and not ended at once, at most.
    ///
    /// # Panics
    /// If the plan has no such region.
    #[must_use]
    pub fn items_at_once_max(&self, region: u16) -> u64 {
        let own = |node: &&super::NodePlan| node.region == Some(region);
        let pools = self.nodes.iter().filter(own);
        let pools = pools.filter_map(|node| node.work.executable());
        let pools: std::collections::BTreeSet<u16> = pools.collect();
        let executors = pools.iter().map(|pool| {
            let executable = &self.executables[usize::from(*pool)];
            usize::from(executable.scale)
        });
        let within = |mut inner: Option<u16>| {
            while let Some(one) = inner {
                if one == region {
                    return true;
                }
                inner = self.regions[usize::from(one)].parent;
            }
            false
        };
        let mut within = self.nodes.iter().filter(|node| within(node.region));
        let least = match within.any(|node| !node.delays.is_empty()) {
            true => WAITING_WINDOW,
            false => WINDOW,
        };
        let window = least.max(2 * executors.sum::<usize>()) as u64;
        let most = self.regions[usize::from(region)].parallelism;
        most.map_or(window, |most| window.min(most.into()))
    }
}

/// Executors of an executable that a lane of a worker has: they are parted evenly, the first lanes having what is left over,
/// and each lane has one at least.
///
/// ```
/// use engine::plan::executors_on;
/// assert_eq!([0, 1].map(|lane| executors_on(lane, 3, 2)), [2, 1]);
/// assert_eq!([0, 1].map(|lane| executors_on(lane, 1, 2)), [1, 1]);
/// ```
#[must_use]
pub fn executors_on(lane: u8, scale: u16, lanes: u8) -> u16 {
    let lanes = u16::from(lanes.max(1));
    (scale / lanes + u16::from(u16::from(lane) < scale % lanes)).max(1)
}

/// What payloads may have of the memory of so many executors: what these reserve, less a margin of a fifth, less what an
/// activation uses itself.
///
/// ```
/// assert_eq!(engine::plan::quota_bytes(4, 100, 30 << 20), 4 * 50 << 20);
/// assert_eq!(engine::plan::quota_bytes(4, 100, 90 << 20), 0);
/// ```
#[must_use]
pub fn quota_bytes(executors: u32, memory_mib: u32, peak_bytes: u64) -> u64 {
    let memory_bytes = u64::from(memory_mib) << 20;
    let share_bytes = memory_bytes / 100 * QUOTA_PERCENT + memory_bytes % 100 * QUOTA_PERCENT / 100;
    u64::from(executors) * share_bytes.saturating_sub(peak_bytes)
}
