//! Regions that are divided among workers: the share of the list that each part runs over, and what others see of all parts.

use super::NodeId;
use rkyv::{Archive, Deserialize, Serialize};
use std::ops::Range;

/// Parts of a region, at most.
pub const PARTS_MAX: usize = 1024;

/// A share of what can be counted, by weights: of `n` items those from `n * first / whole` up to, and without,
/// `n * behind / whole`, rounded down.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Share {
    /// The weights of all shares before it.
    pub first: u32,
    /// Those and its own.
    pub behind: u32,
    /// The weights of all shares together.
    pub whole: u32,
}

impl Share {
    /// Everything.
    pub const ALL: Self = Self {
        first: 0,
        behind: 1,
        whole: 1,
    };

    /// Which of so many items it covers.
    ///
    /// ```
    /// let share = |first, behind| engine::plan::Share { first, behind, whole: 3 };
    /// assert_eq!(share(0, 1).of(10), 0..3);
    /// assert_eq!(share(1, 3).of(10), 3..10);
    /// assert!(share(0, 1).of(2).is_empty());
    /// ```
    ///
    /// # Panics
    /// If the weights of all shares together are none.
    #[must_use]
    pub fn of(self, count: usize) -> Range<usize> {
        let at = |weight: u32| {
            // Below `count`, since no weight is above the whole one.
            (count as u128 * u128::from(weight.min(self.whole)) / u128::from(self.whole)) as usize
        };
        at(self.first)..at(self.behind)
    }

    /// The smallest share that covers this one and another of the same whole.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            behind: self.behind.max(other.behind),
            whole: self.whole,
        }
    }
}

/// Which part of a divided region.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Part {
    /// Counts the parts in the order of their shares, from 0.
    pub number: u16,
    /// How many parts there are.
    pub of: u16,
    /// What it covers of the region's list; with a batch, of its batches.
    pub share: Share,
}

/// What a worker needs of a list, where that is not all of it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionPlan {
    /// Which input of the workflow, or which output of a node, the list is.
    pub list: u16,
    /// What of it is needed; with a batch, of its batches.
    pub share: Share,
    /// How many items are taken together.
    pub batch: Option<u32>,
}

impl SectionPlan {
    /// What is needed of a list by all of these: parts of divided regions that run over it, each with its share and its
    /// region's batch, or, without, somebody who needs everything. None if that is everything.
    #[must_use]
    pub fn covering(list: u16, readers: &[Option<(Share, Option<u32>)>]) -> Option<Self> {
        let (first, others) = readers.split_first()?;
        let (mut share, batch) = (*first)?;
        for other in others {
            let (needed, of) = (*other)?;
            if needed.whole != share.whole || of != batch {
                return None;
            }
            share = share.and(needed);
        }
        let everything = share.first == 0 && share.behind == share.whole;
        (!everything).then_some(Self { list, share, batch })
    }

    /// Which items of a list of so many are needed.
    ///
    /// ```
    /// let share = engine::plan::Share { first: 1, behind: 2, whole: 2 };
    /// let section = engine::plan::SectionPlan { list: 0, share, batch: Some(4) };
    /// assert_eq!(section.of(10), 4..10, "the last two of three batches");
    /// ```
    #[must_use]
    pub fn of(self, length: usize) -> Range<usize> {
        let batch = self.batch.map_or(1, |batch| batch.max(1) as usize);
        let batches = self.share.of(length.div_ceil(batch));
        let at = |place: usize| place.saturating_mul(batch).min(length);
        at(batches.start)..at(batches.end)
    }
}

/// A node of a divided region as others see it: all its parts together. Its outputs are lists, one part's items behind the
/// other's.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct WholePlan {
    /// A number behind those of all nodes.
    pub id: NodeId,
    /// The node in each part, in the order of the shares: nodes of this worker, or remote ones that the plan knows.
    pub parts: Vec<NodeId>,
    /// Outputs of which not everything is needed here, each once.
    pub sections: Vec<SectionPlan>,
}
