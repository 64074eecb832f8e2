//! What the worker's other threads tell a lane, and what a lane tells them. Queues of these are the only thing that
//! lanes share with anyone.

use crate::core::Holder;
use crate::core::store::{Ticket, Unstored};
pub use crate::lane::share::LendingEnd;
use crate::lane::store::OwnUse;
use crate::plan::{DeploymentId, Plan, Trust};
use crate::profile::LaneProfile;
use crate::reads::{EdgePage, Reads};
use crate::status::WorkflowCounters;
use faasstore::binding::FunctionDescription;
use faasstore::channel::EngineChannel;
use faasstore::segment::SegmentWriter;
use faasstore::socket::Socket;
use faasstore::tier::TierKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// An executor that has greeted its worker and waits for work.
#[derive(Debug)]
pub struct StartedExecutor {
    /// Whose it is.
    pub deployment: DeploymentId,
    /// Place of its executable in [`Plan::executables`].
    pub executable: u16,
    /// Its process.
    pub pid: u32,
    /// Becomes readable when the process has ended.
    pub pidfd: OwnedFd,
    /// The CPU that it is bound to, if it is one.
    pub cpu: Option<u32>,
    /// The rings.
    pub channel: EngineChannel,
    /// Where segments are announced, both ways.
    pub socket: Socket,
    /// The eventfd by which it wakes the lane.
    pub doorbell: OwnedFd,
    /// Bytes that all segments of its arena together may have.
    pub arena_bytes_max: u64,
    /// Whose its executable is.
    pub trust: Trust,
    /// Its functions, as it describes them, if it was started for nothing else.
    pub functions: Box<[FunctionDescription]>,
}

/// Which connection of a link: those that a worker makes are numbered in the order in which it makes them, and so are, by
/// themselves, those that it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkNumber(pub u64);

/// A lane of a peer, in one of its lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Door {
    /// The peer's name.
    pub worker: String,
    /// Its restart epoch, as it has proved.
    pub epoch: u32,
    /// Its lane.
    pub lane: u8,
}

/// The two connections of a link.
#[derive(Debug)]
pub struct LinkSockets {
    /// For messages, and for what is granted, the other way.
    pub messages: OwnedFd,
    /// For payloads that messages announce.
    pub bulk: OwnedFd,
}

/// To a lane.
#[derive(Debug)]
pub enum LaneCommand {
    /// A prepared deployment: take part in invocations that peers begin, but open no door yet.
    Deploy {
        /// The plan, checked.
        plan: Arc<Plan>,
        /// This lane's executors of it.
        executors: Vec<StartedExecutor>,
        /// What the lane counts of the workflow, for all deployments of it.
        counters: Arc<WorkflowCounters>,
    },
    /// Open the door of a deployment, to all its placements: clients may invoke the workflow by name; an earlier deployment of
    /// that name retires.
    Activate(DeploymentId),
    /// Drop a prepared deployment, or retire an active one, with all its placements: each is gone when nothing of it is in
    /// flight anywhere.
    Retire(DeploymentId),
    /// One more executor, as [`LaneReport::ExecutorWanted`] asked.
    Executor(StartedExecutor),
    /// No executor could be started.
    ExecutorRefused {
        /// Whose.
        deployment: DeploymentId,
        /// Which executable.
        executable: u16,
        /// Why, for people.
        reason: String,
    },
    /// Connections that this worker made, for sending to one lane of a peer.
    LinkOut {
        /// To whom.
        door: Door,
        /// Which connection it is: [`LaneReport::LinkLost`] repeats it.
        number: LinkNumber,
        /// Greeted.
        sockets: LinkSockets,
        /// If the peer is on this host: by what memory is lent to it.
        share: Option<LendingEnd>,
    },
    /// Connections that a peer's lane made, for sending to this lane.
    LinkIn {
        /// From whom.
        door: Door,
        /// As in `wire::Role::Peer`.
        next_sequence: u64,
        /// Which connection it is, among all that have come.
        number: LinkNumber,
        /// Greeted.
        sockets: LinkSockets,
    },
    /// By what a peer on this host lends memory to this lane, beside a connection that it has made. It is given before the
    /// peer knows that it may lend.
    ShareIn {
        /// From whom.
        door: Door,
        /// As in [`LaneCommand::LinkIn`].
        number: LinkNumber,
        /// Greeted.
        socket: Socket,
    },
    /// A client's connection.
    Client {
        /// Greeted.
        socket: OwnedFd,
        /// Its place among the clients that this lane may have; to be kept as long as the connection.
        place: OwnedSemaphorePermit,
    },
    /// Say what was measured of some nodes of a deployment.
    Profile {
        /// Which deployment.
        deployment: DeploymentId,
        /// The node to begin with, in the lane's order.
        from: u32,
        /// Nodes to tell of, at most.
        most: usize,
        /// Where to say it: none if the lane has no such deployment.
        reply: oneshot::Sender<Option<LaneProfile>>,
    },
    /// Say what was read over some edges of a deployment, and of its workflow in deployments that have gone.
    Edges {
        /// Which deployment.
        deployment: DeploymentId,
        /// The node to begin with, in the lane's order.
        from: u32,
        /// Nodes to tell of, at most.
        most: usize,
        /// Where to say it: none if the lane has no such deployment.
        reply: oneshot::Sender<Option<(EdgePage, Reads)>>,
    },
    /// Say who holds payloads.
    Holders {
        /// Invocations of each workflow to tell of, at most.
        most: usize,
        /// Where to say it.
        reply: oneshot::Sender<Vec<Holder>>,
    },
    /// Forget what was measured of a deployment.
    ForgetProfile(DeploymentId),
    /// A payload that was to be carried out has been, in so many nanoseconds, or could not be.
    Stored {
        /// What the lane calls it.
        ticket: Ticket,
        /// Which tier was to take it.
        kind: TierKind,
        /// How long it took.
        stored: Result<u64, Unstored>,
    },
    /// What executors have of memory for themselves.
    Measured(Vec<OwnUse>),
    /// A payload that was to be brought back lies where the lane said, after so many nanoseconds; or why it cannot be had.
    Fetched {
        /// What the lane calls it.
        ticket: Ticket,
        /// Which tier had it.
        kind: TierKind,
        /// How long it took.
        fetched: Result<u64, String>,
    },
    /// End.
    Stop,
}

/// From a lane to the control thread.
#[derive(Debug)]
pub enum LaneReport {
    /// Work waits and its pool may grow, or an executor has died: start one and send it back.
    ExecutorWanted {
        /// Whose.
        deployment: DeploymentId,
        /// Which executable.
        executable: u16,
    },
    /// An executor's process has ended, or was ended; the lane has let go of it.
    ExecutorEnded {
        /// Whose.
        deployment: DeploymentId,
        /// Its process.
        pid: u32,
        /// Why, for people.
        cause: String,
    },
    /// A link is broken: connect again.
    LinkLost {
        /// The peer's name.
        worker: String,
        /// Its lane.
        to_lane: u8,
        /// As in [`LaneCommand::LinkOut`].
        number: LinkNumber,
    },
    /// Nothing more is lent on a link, which goes on without.
    SharingEnded {
        /// The peer's name.
        worker: String,
        /// Its lane.
        to_lane: u8,
        /// As in [`LaneCommand::LinkOut`].
        number: LinkNumber,
        /// Why, for people.
        reason: String,
    },
    /// Nothing of this deployment is left on this lane.
    Removed(DeploymentId),
    /// A segment of the lane's own arena would gain by huge pages; to make them would hold the lane up.
    Scattered(Arc<SegmentWriter>),
}
