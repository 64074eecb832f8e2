//! How nodes end, and what that makes of the edges that leave them.

use std::collections::BTreeSet;

/// How a node has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Well.
    Well,
    /// Well, as a switch that has chosen this case.
    Chose(u16),
    /// It was not to run.
    Skipped,
    /// It has failed, and this of its catches has taken the failure.
    Caught(u16),
    /// It has failed, which those who wait for it bear: why is among its invocation's failures, at this place.
    Failed(u32),
}

/// When an edge is live; decided otherwise, it is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// Its node has ended well: data, or order alone.
    Well,
    /// A catch has taken its node's failure: what failed.
    Caught,
    /// A switch has chosen this case: a gate.
    Case(u16),
    /// This catch has taken its node's failure: a gate.
    Catch(u16),
}

impl When {
    /// Whether the edge is live after such an end.
    #[inline]
    pub(crate) fn holds(self, outcome: Outcome) -> bool {
        match self {
            Self::Well => matches!(outcome, Outcome::Well | Outcome::Chose(_)),
            Self::Caught => matches!(outcome, Outcome::Caught(_)),
            Self::Case(case) => outcome == Outcome::Chose(case),
            Self::Catch(catch) => outcome == Outcome::Caught(catch),
        }
    }

    /// Whether it only lets its node run, beside the edges that make it run.
    #[inline]
    pub(crate) fn is_gate(self) -> bool {
        matches!(self, Self::Case(_) | Self::Catch(_))
    }
}

/// What is seen outside of a region of how one of its nodes has ended in its items, beside how it has ended as a whole: an
/// edge of a case or a catch is live if it was in one of the items at least.
#[derive(Clone, Default, Debug)]
pub(crate) struct Shown {
    pub(crate) cases: BTreeSet<u16>,
    pub(crate) catches: BTreeSet<u16>,
}

impl Shown {
    /// The node has ended so in an item.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Chose(case) => self.cases.insert(case),
            Outcome::Caught(catch) => self.catches.insert(catch),
            Outcome::Well | Outcome::Skipped | Outcome::Failed(_) => false,
        };
    }

    /// How a node that has ended as a whole like `whole` has ended for one of its edges.
    pub(crate) fn through(&self, when: When, whole: Outcome) -> Outcome {
        match when {
            When::Case(case) if self.cases.contains(&case) => Outcome::Chose(case),
            When::Catch(catch) if self.catches.contains(&catch) => Outcome::Caught(catch),
            When::Caught => match self.catches.first() {
                Some(catch) => Outcome::Caught(*catch),
                None => whole,
            },
            When::Case(_) | When::Catch(_) | When::Well => whole,
        }
    }
}
