//! What goes into a core and comes out of it: payloads, orders, messages, answers, and counts.

use super::evaluate::Evaluate;
use super::failure::Describe;
use super::invocation::Place;
use super::lease::{Account, Freed, Payload};
use super::pool::ExecutorId;
use super::program::LocalNode;
use super::report::Wanted;
use super::store::{Arrival, Ticket};
use crate::plan::{DeploymentId, NodeId};
use crate::trace::PartTrace;
use crate::wire::{self, Failure, MemoryRefusal, NodeReport, Section};
use faasstore::Cancelled;
use faasstore::binding::{Exceeded, Maximum};
use faasstore::descriptor::{InvocationId, ItemAnswer, ItemName, PayloadRef, RoomAnswer};
use faasstore::tier::TierKind;
use thiserror::Error;

/// A client's connection, as the lane numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientId(pub u64);

/// A payload that leaves this lane. It holds its leases until [`Core::let_go_all`](super::Core::let_go_all).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    /// Bytes.
    One(Payload),
    /// A list.
    List(Vec<Payload>),
    /// Some items of a list, and which.
    Section(Vec<Payload>, Section),
}

impl Outgoing {
    /// Its payloads.
    #[must_use]
    pub fn payloads(&self) -> &[Payload] {
        match self {
            Self::One(payload) => std::slice::from_ref(payload),
            Self::List(items) | Self::Section(items, _) => items,
        }
    }
}

/// A payload that arrived: committed in this lane's arena, or lent by a worker on the same host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// Bytes.
    One(PayloadRef),
    /// A list: its items are parts of one range.
    List {
        /// The range.
        range: PayloadRef,
        /// Offset within the range and bytes of each item, within it; [`ITEM_ABSENT`](wire::ITEM_ABSENT) bytes of one that is not there.
        items: Vec<(u64, u64)>,
        /// Which items of the list these are, if they are not all of it.
        section: Option<Section>,
    },
    /// A list of which nothing is here yet but its range: [`Core::arrived`](super::Core::arrived) and
    /// [`Core::arrival_ended`](super::Core::arrival_ended) are to follow. Only where
    /// [`Core::is_taken_early`](super::Core::is_taken_early).
    Arriving {
        /// The range.
        range: PayloadRef,
        /// As of a [`Incoming::List`].
        items: Vec<(u64, u64)>,
        /// As of a [`Incoming::List`].
        section: Option<Section>,
        /// What to call it.
        arrival: Arrival,
    },
    /// Bytes that are lent.
    Lent(PayloadRef),
    /// A list that is lent: each item that has bytes is a range of its own.
    LentList {
        /// Its items, absent and empty ones among them.
        items: Vec<PayloadRef>,
        /// As of a [`Incoming::List`].
        section: Option<Section>,
    },
    /// It could not be taken in, and why.
    Refused(String),
}

/// What a client gives as an input, before its bytes are here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputForm {
    /// So many bytes.
    Bytes(u64),
    /// A list of items.
    List {
        /// How many.
        items: u64,
        /// Bytes of the largest of them.
        largest_bytes: u64,
        /// Bytes of all of them together.
        total_bytes: u64,
    },
}

impl InputForm {
    /// A list of items that have so many bytes each.
    pub fn list(items: impl Iterator<Item = u64>) -> Self {
        let (mut count, mut largest_bytes, mut total_bytes) = (0, 0, 0_u64);
        for bytes in items {
            let bytes = if bytes == wire::ITEM_ABSENT { 0 } else { bytes };
            count += 1;
            largest_bytes = bytes.max(largest_bytes);
            total_bytes = total_bytes.saturating_add(bytes);
        }
        Self::List {
            items: count,
            largest_bytes,
            total_bytes,
        }
    }

    /// What it exceeds of a maximum.
    pub(super) fn exceeded(self, maximum: Maximum) -> Option<Exceeded> {
        match self {
            Self::Bytes(bytes) => maximum.exceeded(0, 0, bytes),
            Self::List {
                items,
                largest_bytes,
                total_bytes,
            } => {
                let last = items.checked_sub(1)?;
                maximum
                    .exceeded(last, total_bytes - largest_bytes, largest_bytes)
                    .map(|exceeded| match exceeded {
                        // Which of them it is nobody has counted.
                        Exceeded::Bytes { bytes, max, .. } => Exceeded::Bytes {
                            bytes,
                            max,
                            item: None,
                        },
                        other => other,
                    })
            }
        }
    }
}

/// Why the door is closed to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For people: why, and what to do.
    pub reason: String,
    /// The figures, if it is for memory.
    pub memory: Option<MemoryRefusal>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self {
            reason,
            memory: None,
        }
    }
}

/// An output of an activation, checked by the lane to lie in a segment of that executor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Bytes.
    One(Piece),
    /// A list.
    List(Vec<Piece>),
}

impl Output {
    /// Its pieces.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        match self {
            Self::One(piece) => std::slice::from_ref(piece),
            Self::List(pieces) => pieces,
        }
    }

    /// Its pieces, to be changed.
    pub fn pieces_mut(&mut self) -> &mut [Piece] {
        match self {
            Self::One(piece) => std::slice::from_mut(piece),
            Self::List(pieces) => pieces,
        }
    }
}

/// Bytes that an activation returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// None.
    Empty,
    /// In the executor's arena.
    Own(PayloadRef),
    /// Part of one of its inputs.
    Alias {
        /// Which input.
        input: u16,
        /// Which item, if that is a list.
        item: Option<u32>,
        /// First byte within it.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// An order to start an activation. [`Core::inputs`](super::Core::inputs) lists what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// By whom.
    pub executor: ExecutorId,
    /// What the completion must repeat.
    pub activation: u32,
    pub(super) place: Place,
    pub(super) node: LocalNode,
    /// The foreach item, or [`NO_ITEM`](faasstore::descriptor::NO_ITEM).
    pub item: u32,
    /// From 1.
    pub attempt: u32,
    /// When it will be given up.
    pub deadline_ns: Option<u64>,
}

/// A message to another worker's lane.
#[derive(Clone, PartialEq, Debug)]
pub struct Send {
    /// Its worker.
    pub worker_hash: u32,
    /// Its lane.
    pub to_lane: u8,
    /// Of which invocation; meaningless for [`Outbound::Drained`].
    pub invocation: InvocationId,
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// What.
    pub body: Outbound,
}

/// What is sent to other workers.
#[derive(Clone, PartialEq, Debug)]
pub enum Outbound {
    /// See `wire::Begin`.
    Begin {
        /// What is to be told in the end.
        wanted: Wanted,
        /// Workflow inputs by number.
        inputs: Vec<(u16, Outgoing)>,
    },
    /// See `wire::StateEvent`.
    StateEvent {
        /// Which node.
        node: NodeId,
        /// How it has ended.
        outcome: wire::Outcome,
        /// Its outputs by number.
        outputs: Vec<(u16, Outgoing)>,
    },
    /// See `wire::PartDone`.
    PartDone {
        /// Outputs of the workflow, each by the number of its source among all.
        outputs: Vec<(u16, Outgoing)>,
        /// If wanted.
        report: Vec<NodeReport>,
        /// If wanted.
        trace: Option<Box<PartTrace>>,
    },
    /// See `wire::PartFailed`.
    PartFailed {
        /// Why.
        failure: Failure,
        /// If wanted.
        report: Vec<NodeReport>,
        /// If wanted.
        trace: Option<Box<PartTrace>>,
    },
    /// See `wire::Forget`.
    Forget {
        /// Why it is over.
        why: Cancelled,
    },
    /// See `wire::Drained`.
    Drained,
}

/// The end of an invocation, for its client.
#[derive(Clone, PartialEq, Debug)]
pub struct Answered {
    /// Whose.
    pub client: ClientId,
    /// As the client numbered it.
    pub request: u64,
    /// The invocation; 0 if it was refused or cancelled at the door.
    pub invocation: InvocationId,
    /// Of what; nothing if it was refused or cancelled at the door.
    pub deployment: Option<DeploymentId>,
    /// When it was taken.
    pub started_ns: u64,
    /// Outputs by name, or why not.
    pub result: Result<Vec<(String, Outgoing)>, Failure>,
    /// If wanted, sorted by node.
    pub report: Vec<NodeReport>,
    /// If wanted, this worker's first.
    pub trace: Vec<PartTrace>,
}

/// What the lane is to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Hand an activation to an executor.
    Start(Start),
    /// A range is free: give it back to the arena that it belongs to.
    Release(PayloadRef),
    /// Send a message to a peer.
    Send(Box<Send>),
    /// Answer a client.
    Answer(Box<Answered>),
    /// Choose a case, compute values, or say how long a node waits; [`Core::evaluated`](super::Core::evaluated) is to follow.
    Evaluate(Evaluate),
    /// Write a text into the lane's arena; [`Core::described`](super::Core::described) is to follow.
    Describe(Box<Describe>),
    /// Tell an executor that what it runs is to stop. It may have come to its end by itself, and then this is too late to
    /// mean anything; it must not mean the next activation.
    Tell {
        /// Which.
        executor: ExecutorId,
        /// The activation that it runs.
        activation: u32,
        /// Why.
        why: Cancelled,
    },
    /// End an executor at once; [`Core::executor_left`](super::Core::executor_left) is to follow.
    Kill {
        /// Which.
        executor: ExecutorId,
        /// Why.
        cause: String,
    },
    /// Tell an executor to end when it has read this; [`Core::executor_left`](super::Core::executor_left) is to follow.
    Stop(ExecutorId),
    /// A pool wants one more executor.
    ExecutorWanted {
        /// Whose.
        deployment: DeploymentId,
        /// Which executable.
        executable: u16,
    },
    /// Nothing of a deployment is left here.
    Removed(DeploymentId),
    /// Carry what lies in a range out to a tier; [`Core::stored`](super::Core::stored) is to follow. Until then nobody writes
    /// there.
    CarryOut(Box<CarryOut>),
    /// Bring back what was carried out; [`Core::fetched`](super::Core::fetched) is to follow. It is thrown away in its tier then.
    BringBack {
        /// What.
        ticket: Ticket,
        /// Whose.
        account: Account,
        /// Its bytes.
        bytes: u64,
    },
    /// Look how much memory the executors have for themselves that run a workflow; [`Core::measured`](super::Core::measured) is
    /// to follow for each of its executables.
    Measure(Account),
    /// What was carried out is not needed any more.
    Discard(Ticket),
    /// Copy what was carried out into memory; it stays where it is. [`Core::fetched`](super::Core::fetched) or
    /// [`Core::unplaced`](super::Core::unplaced) is to follow.
    CopyIn(Box<CopyIn>),
    /// Answer an activation that waits for an item of a list.
    Item(Box<ItemGiven>),
    /// Answer an activation that waits for room in its executor's arena. What has come back is told before.
    Room(RoomGiven),
}

/// See [`Action::CarryOut`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CarryOut {
    /// What to call it from now on.
    pub ticket: Ticket,
    /// Where it lies.
    pub range: PayloadRef,
    /// Which tier.
    pub kind: TierKind,
}

/// See [`Action::CopyIn`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyIn {
    /// What to call it.
    pub ticket: Ticket,
    /// Of what.
    pub of: Ticket,
    /// From which byte of that on.
    pub offset: u64,
    /// So many bytes.
    pub bytes: u64,
    /// Whose.
    pub account: Account,
    /// Whether nobody waits for it yet: then it is not to wait for room.
    pub ahead: bool,
}

/// See [`Action::Item`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemGiven {
    /// By whom it is run.
    pub executor: ExecutorId,
    /// Which activation.
    pub activation: u32,
    /// Which item.
    pub name: ItemName,
    /// Where it lies, or why not.
    pub answer: ItemAnswer,
}

/// See [`Action::Room`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomGiven {
    /// By whom it is run.
    pub executor: ExecutorId,
    /// Which activation.
    pub activation: u32,
    /// Whether it is to try again, or why not.
    pub answer: RoomAnswer,
}

impl From<Freed> for Action {
    fn from(freed: Freed) -> Self {
        match freed {
            Freed::Range(range) => Self::Release(range),
            Freed::Stored(ticket) => Self::Discard(ticket),
        }
    }
}

const _: () = assert!(
    size_of::<Action>() <= 40,
    "an action takes no more than a start"
);

/// What a core keeps of invocations; nothing once all of them have gone, but for constants that are lists.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Held {
    /// Invocations, taken or taken part in, and items of theirs.
    pub invocations: usize,
    /// Lists.
    pub lists: usize,
    /// What only some nodes keep, failures, and what clients may cancel.
    pub notes: usize,
    /// Timers that go with them.
    pub timers: usize,
    /// Activations of which is kept how often each of their retriers has tried them again: those that have several retriers,
    /// and have been tried again.
    pub retried: usize,
    /// Activations that wait for an executor, some of what is over among them.
    pub waiting: usize,
}

/// Why a completion cannot be believed. Its executor is to be ended; the core has changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CompletionError {
    /// It runs nothing, or something else.
    #[error("a completion of an activation that it was not given")]
    Activation,
    /// Not as many outputs as the node declares.
    #[error("{got} outputs where {declared} are declared")]
    Outputs {
        /// As sent.
        got: usize,
        /// As planned.
        declared: usize,
    },
    /// A list where none is declared, or the other way round.
    #[error("an output of another kind than declared")]
    Kind,
    /// An item that it was not told to ask for, or one more while it waits for one.
    #[error("a want of an item that it is not to ask for")]
    Item,
    /// Room in its arena, while it waits for that or for an item.
    #[error("a word that its arena is full, while it waits for an answer")]
    Room,
    /// An alias of an input or item that it does not have, or beyond its end.
    #[error("an alias of bytes that it was not given")]
    Alias,
}

/// Counts of what a core has done since it was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "named as in status::LaneCounters, where each is explained"
)]
pub struct CoreCounters {
    pub invocations_taken: u64,
    pub invocations_ended: u64,
    pub invocations_failed: u64,
    pub invocations_refused: u64,
    pub placements_passed: u64,
    pub invocations_cancelled: u64,
    pub cancels_dropped: u64,
    pub triggers: u64,
    pub skipped: u64,
    pub caught: u64,
    pub activations: u64,
    pub retries: u64,
    pub timeouts: u64,
    pub activations_told: u64,
    pub told_returned: u64,
    pub told_killed: u64,
    pub leases_expired: u64,
    pub executors_replaced: u64,
    pub late_dropped: u64,
    pub events_received: u64,
}
