//! What a run shows of one invocation: which activations were started, when, with which inputs, and what each of their
//! attempts came to. [`reference`](mod@crate::reference) judges it.

use crate::functions::Datum;
use engine::plan::{ErrorClass, NodeId};
use std::collections::BTreeMap;

/// When something was seen: the number of the simulation's event, and its clock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moment {
    /// Events so far.
    pub step: u64,
    /// Nanoseconds.
    pub ns: u64,
}

impl Moment {
    /// The later of two, in events and by the clock.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            step: self.step.max(other.step),
            ns: self.ns.max(other.ns),
        }
    }

    /// The earlier of two, in events and by the clock.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            step: self.step.min(other.step),
            ns: self.ns.min(other.ns),
        }
    }

    /// So many milliseconds later.
    #[must_use]
    pub fn after_ms(self, milliseconds: u32) -> Self {
        Self {
            ns: self.ns + u64::from(milliseconds) * 1_000_000,
            ..self
        }
    }

    /// Whether this can have come of what happened at `cause`.
    #[must_use]
    pub fn may_follow(self, cause: Self) -> bool {
        self.step >= cause.step && self.ns >= cause.ns
    }
}

/// What an attempt came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It returned, or was evaluated.
    Well,
    /// It failed.
    Failed(ErrorClass, String),
}

/// One attempt of an activation, or one evaluation by the lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// As the core numbers it.
    pub number: u32,
    /// When it was ordered.
    pub started: Moment,
    /// Its inputs.
    pub seen: Vec<Datum>,
    /// When and how it ended, if it did.
    pub ended: Option<(Moment, Ending)>,
}

/// All that a run shows of one invocation.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Trace {
    /// When it was asked for.
    pub asked: Moment,
    /// Attempts by node and item, or [`NO_ITEM`](faasstore::descriptor::NO_ITEM), in the order in which they were started.
    pub activations: BTreeMap<(NodeId, u32), Vec<Attempt>>,
}

impl Trace {
    /// An attempt is ordered.
    pub fn starts(
        &mut self,
        activation: (NodeId, u32),
        number: u32,
        now: Moment,
        seen: Vec<Datum>,
    ) {
        self.activations
            .entry(activation)
            .or_default()
            .push(Attempt {
                number,
                started: now,
                seen,
                ended: None,
            });
    }

    /// An attempt ends.
    ///
    /// # Panics
    /// If it is not under way, which is a mistake of who plays.
    pub fn ends(&mut self, activation: (NodeId, u32), number: u32, now: Moment, ending: Ending) {
        let attempts = self.activations.get_mut(&activation);
        let attempt = attempts
            .and_then(|attempts| {
                attempts
                    .iter_mut()
                    .rev()
                    .find(|attempt| attempt.number == number && attempt.ended.is_none())
            })
            .unwrap_or_else(|| panic!("attempt {number} of {activation:?} is not under way"));
        attempt.ended = Some((now, ending));
    }

    /// The attempts of all activations of a node, by item.
    pub fn of_node(&self, node: NodeId) -> impl Iterator<Item = (u32, &Vec<Attempt>)> {
        self.activations
            .range((node, 0)..=(node, u32::MAX))
            .map(|((_, item), attempts)| (*item, attempts))
    }
}
