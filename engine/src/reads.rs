//! What is counted of payloads that are read: by edge, and by the tier by which each came to who reads it.
//!
//! A *read* is a payload that an activation is given as an input, or as a part of one: each item of a list is one. It counts when
//! the first attempt begins; what a later one sees again is the same read. What the client is given of the workflow's outputs is
//! read by it. Constants, and what is absent, are no reads.

use serde::{Deserialize, Serialize};

/// How a payload came to who reads it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// It was made on this worker, and is read where it was made.
    Shared,
    /// It lies in memory of another worker on the same host.
    Lent,
    /// In a message of another worker or of the client.
    Inline,
    /// In chunks, behind such a message.
    Peer,
    /// It was on disk, and was brought back for this read.
    Spill,
    /// It was in the remote store, and was brought back for this read.
    Remote,
}

impl Way {
    /// All there are, as they are shown.
    pub const ALL: [Self; 6] = [
        Self::Shared,
        Self::Lent,
        Self::Inline,
        Self::Peer,
        Self::Spill,
        Self::Remote,
    ];

    /// As in [`Reads`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Lent => "lent",
            Self::Inline => "inline",
            Self::Peer => "peer",
            Self::Spill => "spill",
            Self::Remote => "remote",
        }
    }
}

/// Payloads, and their bytes.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Amount {
    /// How many.
    pub payloads: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Amount {
    /// One more, of so many bytes.
    #[inline]
    pub fn count(&mut self, bytes: u64) {
        self.payloads += 1;
        self.bytes += bytes;
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.payloads += other.payloads;
        self.bytes += other.bytes;
    }
}

/// Reads, by the tier by which each payload came.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Reads {
    /// [`Way::Shared`].
    pub shared: Amount,
    /// [`Way::Lent`].
    pub lent: Amount,
    /// [`Way::Inline`].
    pub inline: Amount,
    /// [`Way::Peer`].
    pub peer: Amount,
    /// [`Way::Spill`].
    pub spill: Amount,
    /// [`Way::Remote`].
    pub remote: Amount,
    /// Of those that were brought back, the ones of which the reader had a copy of its own, by its window.
    pub copied: Amount,
}

impl Reads {
    /// One more payload of so many bytes.
    #[inline]
    pub fn count(&mut self, way: Way, bytes: u64) {
        self.of_mut(way).count(bytes);
    }

    #[inline]
    fn of_mut(&mut self, way: Way) -> &mut Amount {
        match way {
            Way::Shared => &mut self.shared,
            Way::Lent => &mut self.lent,
            Way::Inline => &mut self.inline,
            Way::Peer => &mut self.peer,
            Way::Spill => &mut self.spill,
            Way::Remote => &mut self.remote,
        }
    }

    /// Those that came so.
    #[must_use]
    pub const fn of(&self, way: Way) -> Amount {
        match way {
            Way::Shared => self.shared,
            Way::Lent => self.lent,
            Way::Inline => self.inline,
            Way::Peer => self.peer,
            Way::Spill => self.spill,
            Way::Remote => self.remote,
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for way in Way::ALL {
            self.of_mut(way).add(other.of(way));
        }
        self.copied.add(other.copied);
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Amount {
        let mut all = Amount::default();
        Way::ALL.into_iter().for_each(|way| all.add(self.of(way)));
        all
    }

    /// Payloads that had to be brought back.
    #[must_use]
    pub const fn misses(&self) -> u64 {
        self.spill.payloads + self.remote.payloads
    }

    /// Payloads that were in memory.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.all().payloads - self.misses()
    }
}

/// Counts of what has been carried to a tier, and back.
#[derive(Serialize, Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Payloads that were carried out.
    pub out: Amount,
    /// Payloads that were brought back, and are not there any more.
    pub back: Amount,
    /// Copies that were brought of payloads, or parts of them, that are still there.
    pub copied: Amount,
    /// Payloads that the tier did not take.
    pub refused: u64,
    /// Payloads that could not be got back.
    pub lost: u64,
}

impl Moved {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.out.add(other.out);
        self.back.add(other.back);
        self.copied.add(other.copied);
        self.refused += other.refused;
        self.lost += other.lost;
    }
}

/// What was read over an edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// What was read: `NODE.OUTPUT` or `input.NAME`.
    pub from: String,
    /// Who has read it: a node, or `output.NAME`.
    pub to: String,
    /// How often, and what.
    pub reads: Reads,
}

/// Edges of a deployment on one lane, some of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EdgePage {
    /// Those over which anything was read.
    pub edges: Vec<Edge>,
    /// Where the next page begins, if there is one.
    pub next: Option<u32>,
}

/// Adds edges to others, those of the same name to one.
pub fn merge(into: &mut std::collections::BTreeMap<(String, String), Reads>, edges: Vec<Edge>) {
    for Edge { from, to, reads } in edges {
        into.entry((from, to)).or_default().add(&reads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_found_or_was_brought_back() {
        let mut reads = Reads::default();
        for (bytes, way) in (1..).zip(Way::ALL) {
            reads.count(way, bytes);
            assert_eq!(reads.of(way).bytes, bytes, "{}", way.name());
        }
        reads.copied.count(5);
        assert_eq!((reads.hits(), reads.misses()), (4, 2));
        let six = Amount {
            payloads: 6,
            bytes: 21,
        };
        assert_eq!(reads.all(), six, "what was copied is among them");
        let mut twice = reads;
        twice.add(&reads);
        assert_eq!((twice.hits(), twice.misses()), (8, 4));
        assert_eq!(twice.copied.bytes, 10);
    }
}
