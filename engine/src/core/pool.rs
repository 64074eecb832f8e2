//! Executors as the core sees them: who is idle, who runs what, and what waits for one.

use super::invocation::Place;
use super::program::LocalNode;
use std::collections::VecDeque;

/// An executor, by its place in the lane's table. A place is used again only after the core was told that its executor
/// has left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecutorId(pub u32);

/// Work that waits for an idle executor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ready {
    /// One activation: a node that is no foreach, or an item that is tried again.
    Activation {
        node: LocalNode,
        item: u32,
        attempt: u32,
    },
    /// The remaining items of a foreach node.
    Fan { node: LocalNode },
}

/// A [`Ready`] and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) generation: u32,
    pub(crate) ready: Ready,
}

/// The executors of one executable of one deployment.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// The one that became idle last is at the end: its caches are the warmest.
    pub(crate) idle: Vec<ExecutorId>,
    pub(crate) waiting: VecDeque<Waiting>,
    pub(crate) members: u32,
    /// Executors asked for and not here yet.
    pub(crate) wanted: u32,
    pub(crate) scale: u32,
}

impl Pool {
    /// An idle executor, the one named if it is among them.
    #[inline]
    pub(crate) fn take_idle(&mut self, preferred: u32) -> Option<ExecutorId> {
        if self.idle.len() > 1
            && let Some(index) = self.idle.iter().position(|e| e.0 == preferred)
        {
            return Some(self.idle.remove(index));
        }
        self.idle.pop()
    }

    pub(crate) fn wants_one_more(&self) -> bool {
        !self.waiting.is_empty() && self.members + self.wanted < self.scale
    }
}

/// What an executor runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) place: Place,
    pub(crate) node: LocalNode,
    pub(crate) item: u32,
    pub(crate) attempt: u32,
    pub(crate) started_ns: u64,
}

#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) deployment: u32,
    pub(crate) pool: u16,
    /// Numbers its activations, so that an answer to an earlier one is told apart.
    pub(crate) activation: u32,
    pub(crate) running: Option<Running>,
    /// When what it runs will be given up.
    pub(crate) deadline_ns: Option<u64>,
    /// When its timer is due, if one is set.
    pub(crate) timer_due_ns: Option<u64>,
    pub(crate) idle_since_ns: u64,
}
