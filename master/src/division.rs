//! Division: which regions run in parts on several workers, and how large these are.
//!
//! [`place`] is the one way from a definition to placements: what is to be divided is, what fits no worker is as far as it must
//! be (`fit`), and then what is faster in parts (`speed`).
//!
//! A region that lies in no other may be divided, unless [`refused`] says why not. [`crate::graph::Graph::divided`] then has
//! its nodes once for each part, which partitioners place like any others, and the planner tells workers of all parts. The
//! result of an invocation does not depend on it.

mod fit;
mod placed;
mod speed;

pub use fit::DivisionError;
pub use placed::{Faster, Placed, place};

use crate::definition::{Definition, Divide};
use engine::plan::{PARTS_MAX, Part, Share};
use std::collections::BTreeMap;
use std::fmt;

/// The weights of the parts of each divided region, by its place in [`Definition::regions`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Division {
    weights: BTreeMap<usize, Vec<u32>>,
}

/// Why a region cannot be divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It lies within another one.
    Within,
    /// The definition says that it is not to be.
    Never,
    /// Its items run one after the other.
    OneAtOnce,
    /// A node of it is pinned to a worker.
    Pinned,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Within => "they run for each item of another foreach, which alone can be divided",
            Self::Never => "their foreach says `divide: never`",
            Self::OneAtOnce => {
                "their foreach says `parallelism: 1`, so that its items run one after the other"
            }
            Self::Pinned => "one of them is pinned to a worker, and so all of them are",
        })
    }
}

/// Why a region, by its place, cannot be divided; none if it can.
///
/// # Panics
/// If the definition has no such region.
#[must_use]
pub fn refused(definition: &Definition, region: usize) -> Option<Refusal> {
    let region = &definition.regions[region];
    match (region.parent, region.divide, region.parallelism) {
        (Some(_), ..) => Some(Refusal::Within),
        (None, Divide::Never, _) => Some(Refusal::Never),
        (None, _, Some(1)) => Some(Refusal::OneAtOnce),
        (None, Divide::Auto | Divide::Into(_), _) => None,
    }
}

/// Into how many parts a region may be divided at most, for its `parallelism`.
///
/// # Panics
/// If the definition has no such region.
#[must_use]
pub fn parts_max(definition: &Definition, region: usize) -> usize {
    let most = definition.regions[region].parallelism;
    most.map_or(PARTS_MAX, |most| PARTS_MAX.min(most as usize))
}

impl Division {
    /// Divides one more region, or divides it anew, by the weights of its parts. Fewer than two leave it whole. More than it
    /// may have, for its `parallelism`, are cut off, and what weighs nothing is left out.
    ///
    /// ```
    /// let text = "{ workflow: w, input: { l: list }, nodes: { n: { function: e:f, foreach: input.l } } }";
    /// let definition = master::definition::parse("w.yaml", text.as_bytes()).unwrap();
    /// let mut division = master::division::Division::default();
    /// division.set(&definition, 0, &[3, 1]);
    /// let graph = master::graph::Graph::divided(&definition, &division);
    /// assert_eq!(graph.node_count(), 2);
    /// ```
    ///
    /// # Panics
    /// If the definition has no such region, or it cannot be divided.
    pub fn set(&mut self, definition: &Definition, region: usize, weights: &[u32]) {
        let refused = refused(definition, region);
        assert!(refused.is_none(), "region {region} cannot be divided");
        let weights = weights.iter().copied().filter(|weight| *weight > 0);
        let mut weights: Vec<u32> = weights.take(parts_max(definition, region)).collect();
        // So that their sum is a number as well.
        while weights.iter().map(|weight| u64::from(*weight)).sum::<u64>() > u64::from(u32::MAX) {
            weights
                .iter_mut()
                .for_each(|weight| *weight = (*weight / 2).max(1));
        }
        if weights.len() < 2 {
            self.weights.remove(&region);
        } else {
            self.weights.insert(region, weights);
        }
    }

    /// Whether no region is divided.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.weights.is_empty()
    }

    /// How many parts a region that lies in no other has; one if it is not divided.
    #[must_use]
    pub fn parts(&self, region: usize) -> usize {
        self.weights.get(&region).map_or(1, Vec::len)
    }

    /// Regions that have more parts than in another division; rising.
    fn more_than(&self, other: &Self) -> Vec<usize> {
        let regions = self.weights.iter();
        let more = regions.filter(|(region, weights)| weights.len() > other.parts(**region));
        more.map(|(region, _)| *region).collect()
    }

    /// One part of a region; none if it is not divided.
    #[must_use]
    pub fn part(&self, region: usize, number: usize) -> Option<Part> {
        let weights = self.weights.get(&region)?;
        let first = weights.iter().take(number).sum();
        Some(Part {
            number: number as u16,
            of: weights.len() as u16,
            share: Share {
                first,
                behind: first + weights.get(number)?,
                whole: weights.iter().sum(),
            },
        })
    }
}

/// How many items of a part run at once, if so many of all parts do: one, and its share of those that are left when each
/// part has one. All parts together have as many, if they are no more than that.
#[must_use]
pub fn at_once(part: Part, most: u32) -> u32 {
    let left = most.saturating_sub(u32::from(part.of));
    1 + part.share.of(left as usize).len() as u32
}

/// A part's share of so many, rounded up, so that all parts together have enough.
#[must_use]
pub fn share_up(part: Part, count: u64) -> u64 {
    let Share {
        first,
        behind,
        whole,
    } = part.share;
    let weight = u128::from(behind - first);
    (u128::from(count) * weight).div_ceil(u128::from(whole)) as u64
}

#[cfg(test)]
mod tests;
