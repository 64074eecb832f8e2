//! Memory for looking after workflows that are pressed, kept for use again: a long queue is looked through at every event.

use super::lease::{LeaseId, Payload};
use super::pool::Running;
use super::program::SlotIndex;
use rustc_hash::FxHashSet;
use std::cell::RefCell;

/// Of what has grown beyond so many entries nothing is kept.
const KEPT_MAX: usize = 4096;

/// What is empty between two events.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) gated: Gated,
    pub(super) deployments: Vec<u32>,
    pub(super) runs: Vec<Running>,
    /// When what runs ends, and what that frees.
    pub(super) ends: RefCell<Vec<(f64, u64)>>,
    /// Slots that an activation reads, and views that it lets go of.
    pub(super) slots: RefCell<Vec<SlotIndex>>,
    pub(super) views: RefCell<Vec<LeaseId>>,
}

/// What stands in the way of an activation, while that is looked for.
#[derive(Debug, Default)]
pub(super) struct Gated {
    pub(super) here: Vec<Payload>,
    pub(super) away: Vec<Payload>,
    pub(super) seen: FxHashSet<LeaseId>,
}

impl Gated {
    pub(super) fn clear(&mut self) {
        clear(&mut self.here);
        clear(&mut self.away);
        if self.seen.capacity() > KEPT_MAX {
            self.seen = FxHashSet::default();
        }
        self.seen.clear();
    }
}

/// Empties a vector, for use again.
pub(super) fn clear<T>(entries: &mut Vec<T>) {
    entries.clear();
    entries.shrink_to(KEPT_MAX);
}
