//! How nodes end, and what that makes of the edges that leave them.

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
