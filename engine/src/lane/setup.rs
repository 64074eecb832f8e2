//! What a lane is given when it starts: who it is, how it waits, its bounds, and its ends of the queues.

use crate::lane::command::{LaneCommand, LaneReport};
use crate::lane::link::LinkLimits;
use crate::lane::store::StoreEnd;
use crate::status::{Driver, LaneCounters};
use crate::trace::ClockId;
use crossbeam::queue::ArrayQueue;
use faasstore::binding::WaitStrategy;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What a lane is given when it starts.
#[derive(Debug)]
pub struct LaneSetup {
    /// Its number, below `lanes`.
    pub index: u8,
    /// Lanes of this worker.
    pub lanes: u8,
    /// The CPU that it runs on; its thread is pinned before it gets this.
    pub cpu: u32,
    /// The worker's name.
    pub worker_name: Arc<str>,
    /// The worker's part of invocation ids.
    pub worker_hash: u32,
    /// The worker's restart epoch, below 2^24.
    pub epoch: u32,
    /// Which clock its times are of.
    pub clock: ClockId,
    /// How it waits, and how its executors do.
    pub wait: WaitStrategy,
    /// How long it polls before it parks, in nanoseconds; counts for [`WaitStrategy::Adaptive`] alone.
    pub spin_budget_ns: u64,
    /// Whether a poll that found nothing yields its CPU: set when more threads poll than there are CPUs.
    pub yields: Yields,
    /// How it does I/O.
    pub driver: Driver,
    /// From the control thread, which rings `command_bell` after each push.
    pub commands: Arc<ArrayQueue<LaneCommand>>,
    /// A non-blocking eventfd, readable while commands wait.
    pub command_bell: OwnedFd,
    /// To the control thread; notify `report_notify` after each push. When it is full, keep the report and try again.
    pub reports: Arc<ArrayQueue<LaneReport>>,
    /// Wakes the control thread.
    pub report_notify: Arc<Notify>,
    /// Its counters; it alone writes them.
    pub counters: Arc<LaneCounters>,
    /// Invocations in flight that were taken here, at most; a plan may say less.
    pub in_flight_max: u32,
    /// Bytes of one payload, at most; a plan may say less.
    pub payload_bytes_max: u64,
    /// Whether payloads that are streamed to peers have checksums.
    pub checksum_payloads: bool,
    /// Bytes of the lane's own segments together, at most.
    pub arena_bytes_max: u64,
    /// How long an executor beyond the first of its pool may be idle before it is ended.
    pub keep_alive: Duration,
    /// How long an activation that was told to stop may go on before its executor is killed.
    pub grace: Duration,
    /// How long an activation may go on, and so hold what it reads; none: for ever.
    pub lease_max: Option<Duration>,
    /// How long it waits for whom.
    pub patience: Patience,
    /// The store thread, if the worker has one.
    pub store: Option<StoreEnd>,
}

impl LaneSetup {
    /// What links to clients and peers keep to.
    pub(crate) fn link_limits(&self) -> LinkLimits {
        LinkLimits {
            payload_bytes_max: self.payload_bytes_max,
            payload_checksums: self.checksum_payloads,
            ..LinkLimits::default()
        }
    }
}

/// How long a lane waits for what others have to say on their connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// How often it says something on each link to a peer, and looks at how long it has heard nothing.
    pub heartbeat: Duration,
    /// How long it may hear nothing of a peer before it gives it up.
    pub peer_silence: Duration,
    /// How long nothing may come of what a client or peer has begun to send.
    pub transfer_idle: Duration,
}

/// Whether a poll that found nothing yields its CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Yields {
    /// No: every polling thread has a CPU of its own.
    Never,
    /// Yes: elsewhere that mistake has cost a factor of 75.
    Always,
}
