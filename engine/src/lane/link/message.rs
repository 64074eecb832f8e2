//! Messages as they are handed on: those of [`crate::wire`], with their payloads in the lane's arena, or in that of who
//! lends them.
//!
//! It owns these types, and promises that whoever drops a message can give its ranges back in two calls. How payloads
//! come to lie in the arena is left to [`super::landing`].

use crate::core::{Refusal, Wanted};
use crate::plan::{DeploymentId, NodeId};
use crate::trace::PartTrace;
use crate::wire::{Load, NodeReport, Outcome, PartFailed, Section, padded_item};
use faasstore::Cancelled;
use faasstore::arena::Arena;
use faasstore::descriptor::{ArenaRange, PayloadRef};
use thiserror::Error;

/// A payload that lies in the lane's arena, complete unless it is a list that is taken early, or is lent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Landed {
    /// All of its bytes; leased, so to be released. Of no bytes, it names none and need not be.
    pub range: ArenaRange,
    /// For a list: offset within the range, and bytes, of each item. Offsets are multiples of [`ITEM_ALIGN`](crate::wire::ITEM_ALIGN).
    pub items: Option<Vec<(u64, u64)>>,
    /// Which items of its list they are, if not all of it.
    pub section: Option<Section>,
    /// If it is lent: where it lies, and then `range` names nothing; of a list one range for each item that has bytes, and then
    /// offsets of items say nothing. Each is counted as leased.
    pub lent: Vec<PayloadRef>,
    /// If nothing is there yet but its range: the transfer by which it comes. [`Inbound::Arrived`] and [`Inbound::ArrivalEnded`]
    /// follow, and before the latter the range is not to be released.
    pub arrives_by: Option<u64>,
}

impl Landed {
    /// A payload of which all that there is lies in `range`, its items one behind the other.
    pub(super) fn new(
        range: ArenaRange,
        items: Option<Vec<u64>>,
        section: Option<Section>,
    ) -> Self {
        let mut offset = 0;
        let place = |length: u64| {
            let place = (offset, length);
            offset += padded_item(length).unwrap_or_default();
            place
        };
        Self {
            range,
            items: items.map(|items| items.into_iter().map(place).collect()),
            section,
            lent: Vec::new(),
            arrives_by: None,
        }
    }
}

/// Why a payload found no place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LandingError {
    /// The arena could not hold it.
    #[error("no memory for a payload of {bytes} bytes: {reason}")]
    Memory {
        /// What it needs.
        bytes: u64,
        /// From the arena.
        reason: String,
    },
    /// Longer than this worker takes.
    #[error(
        "a payload of {bytes} bytes, above the limit of {limit}: raise payload_bytes_max, or part it into a list"
    )]
    Bytes {
        /// What it has.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Nobody here wants it.
    #[error("{reason}")]
    Unwanted {
        /// Why not.
        reason: String,
    },
    /// Something else than what it is for.
    #[error("{reason}")]
    Schema {
        /// Who takes it for what, and what to do.
        reason: String,
    },
    /// More items than this worker takes.
    #[error(
        "a list of {items} items, above the limit of {limit}: raise items_max, or batch the items"
    )]
    Items {
        /// What it has.
        items: usize,
        /// What is allowed.
        limit: u32,
    },
}

/// What became of one payload of a message.
pub type Landing = Result<Landed, LandingError>;

/// A message, complete, as in [`crate::wire`] but with its payloads in the arena. Whoever takes it owns their ranges.
#[derive(PartialEq, Eq, Debug)]
pub enum Inbound {
    /// See [`Invoke`](crate::wire::Invoke).
    Invoke {
        /// Chosen by the client.
        request: u64,
        /// The workflow's name.
        workflow: String,
        /// Inputs by name.
        inputs: Vec<(String, Landing)>,
        /// What is to be told in the end.
        wanted: Wanted,
    },
    /// An [`Invoke`](crate::wire::Invoke) that the door does not open for. What it announced is thrown away as it comes.
    InvokeRefused {
        /// Chosen by the client.
        request: u64,
        /// Why, for the client.
        refusal: Refusal,
    },
    /// See [`Cancel`](crate::wire::Cancel), of what is not on its way here any more.
    Cancel {
        /// Chosen by the client.
        request: u64,
    },
    /// An [`Invoke`](crate::wire::Invoke) whose inputs were still under way, and that its client has taken back. They are
    /// thrown away, those that still come as well.
    InvokeCancelled {
        /// Chosen by the client.
        request: u64,
    },
    /// A [`Begin`](crate::wire::Begin) is here, but payloads of it are still under way. It follows, unless a [`Forget`](crate::wire::Forget) comes
    /// first, the invocation is aborted, or the link ends.
    BeginComing {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
    },
    /// See [`Begin`](crate::wire::Begin).
    Begin {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
        /// What is to be told in the end.
        wanted: Wanted,
        /// Workflow inputs, by number.
        inputs: Vec<(u16, Landing)>,
    },
    /// See [`StateEvent`](crate::wire::StateEvent).
    StateEvent {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
        /// Which node has ended.
        node: NodeId,
        /// How.
        outcome: Outcome,
        /// Its outputs, by number.
        outputs: Vec<(u16, Landing)>,
        /// What the sender has to do for that placement.
        load: Option<Load>,
    },
    /// See [`PartDone`](crate::wire::PartDone).
    PartDone {
        /// Which invocation.
        invocation: u128,
        /// Of what.
        deployment: DeploymentId,
        /// Workflow outputs, by number.
        outputs: Vec<(u16, Landing)>,
        /// If wanted.
        report: Vec<NodeReport>,
        /// If wanted.
        trace: Option<Box<PartTrace>>,
        /// What the sender has to do for that placement.
        load: Option<Load>,
    },
    /// See [`PartFailed`](crate::wire::PartFailed).
    PartFailed(PartFailed),
    /// See [`Forget`](crate::wire::Forget).
    Forget {
        /// As there.
        why: Cancelled,
        /// Which invocation.
        invocation: u128,
    },
    /// See [`Heartbeat`](crate::wire::Heartbeat).
    Heartbeat {
        /// As said.
        interval_ms: u32,
        /// As said.
        loads: Vec<(DeploymentId, Load)>,
    },
    /// See [`Drained`](crate::wire::Drained).
    Drained {
        /// Which deployment.
        deployment: DeploymentId,
    },
    /// More is there of a payload that was handed on before it had come.
    Arrived {
        /// See [`Landed::arrives_by`].
        transfer: u64,
        /// So many bytes from its beginning.
        bytes: u64,
    },
    /// All of such a payload is there, or no more of it will come, and why. Its range is leased in either case.
    ArrivalEnded {
        /// See [`Landed::arrives_by`].
        transfer: u64,
        /// What has happened.
        ended: Result<(), String>,
    },
}

impl Inbound {
    /// Which invocation it belongs to, unless it is to make one, or belongs to none.
    #[must_use]
    pub const fn invocation(&self) -> Option<u128> {
        match self {
            Self::Begin { invocation, .. }
            | Self::StateEvent { invocation, .. }
            | Self::PartDone { invocation, .. }
            | Self::Forget { invocation, .. } => Some(*invocation),
            Self::PartFailed(failed) => Some(failed.invocation),
            Self::Invoke { .. }
            | Self::InvokeRefused { .. }
            | Self::Cancel { .. }
            | Self::InvokeCancelled { .. }
            | Self::BeginComing { .. }
            | Self::Heartbeat { .. }
            | Self::Drained { .. }
            | Self::Arrived { .. }
            | Self::ArrivalEnded { .. } => None,
        }
    }

    /// Whether it brings any payload.
    #[must_use]
    pub fn has_payloads(&mut self) -> bool {
        self.landing_mut(0).is_some()
    }

    /// Takes out what is lent of its payloads, so that it can be given back.
    pub fn take_lent(&mut self, lent: &mut Vec<PayloadRef>) {
        let mut payload = 0;
        while let Some(landing) = self.landing_mut(payload) {
            if let Ok(landed) = landing {
                lent.append(&mut landed.lent);
            }
            payload += 1;
        }
    }

    /// Gives the ranges of all its payloads in `arena` back: for a message that is refused or comes too late.
    pub fn release(mut self, arena: &mut Arena) {
        let mut payload = 0;
        while let Some(landing) = self.landing_mut(payload) {
            if let Ok(landed) = landing {
                release(landed.range, arena);
            }
            payload += 1;
        }
    }

    /// Its `index`-th payload.
    pub(super) fn landing_mut(&mut self, index: usize) -> Option<&mut Landing> {
        match self {
            Self::Invoke { inputs, .. } => inputs.get_mut(index).map(|(_, landing)| landing),
            Self::Begin {
                inputs: payloads, ..
            }
            | Self::StateEvent {
                outputs: payloads, ..
            }
            | Self::PartDone {
                outputs: payloads, ..
            } => payloads.get_mut(index).map(|(_, landing)| landing),
            Self::InvokeRefused { .. }
            | Self::Cancel { .. }
            | Self::InvokeCancelled { .. }
            | Self::BeginComing { .. }
            | Self::PartFailed(_)
            | Self::Forget { .. }
            | Self::Heartbeat { .. }
            | Self::Drained { .. }
            | Self::Arrived { .. }
            | Self::ArrivalEnded { .. } => None,
        }
    }
}

/// Gives a range back in which a payload has landed.
pub(super) fn release(range: ArenaRange, arena: &mut Arena) {
    let released = arena.release(range);
    debug_assert!(
        released.is_ok(),
        "a range that landed is leased until it is released: {released:?}"
    );
}
