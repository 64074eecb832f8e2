//! What lies between workers.

use rustc_hash::FxHashMap;

/// What lies between two workers, one way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// Nanoseconds from one worker's state event to the other's decision.
    pub latency_ns: f64,
}

impl Link {
    /// Gigabit Ethernet in one rack.
    pub const DEFAULT: Self = Self {
        bytes_per_s: 125e6,
        latency_ns: 100_000.0,
    };
    /// The publication's: 25 MiB/s shared by four, and no latency in its weights.
    pub const PUBLISHED: Self = Self {
        bytes_per_s: 25.0 * 1024.0 * 1024.0 / 4.0,
        latency_ns: 0.0,
    };

    /// How long bytes take that have it for themselves.
    #[must_use]
    pub fn transfer_ns(&self, bytes: f64) -> f64 {
        self.latency_ns + bytes * 1e9 / self.bytes_per_s
    }
}

/// The links between workers, by their places among those given.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    all: Link,
    pairs: FxHashMap<(usize, usize), Link>,
}

impl Default for Network {
    fn default() -> Self {
        Self::uniform(Link::DEFAULT)
    }
}

impl Network {
    /// The same between all.
    #[must_use]
    pub fn uniform(link: Link) -> Self {
        Self {
            all: link,
            pairs: FxHashMap::default(),
        }
    }

    /// Says what lies between two workers, one way.
    pub fn set(&mut self, from: usize, to: usize, link: Link) {
        self.pairs.insert((from, to), link);
    }

    /// Whether all links are alike.
    pub(super) fn is_uniform(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What lies between two workers of which nothing else is said.
    #[must_use]
    pub const fn ordinary(&self) -> Link {
        self.all
    }

    /// Pairs of workers of which something else is said, one way, rising.
    #[must_use]
    pub fn pairs(&self) -> Vec<(usize, usize, Link)> {
        let pairs = self.pairs.iter();
        let mut pairs: Vec<_> = pairs
            .map(|((from, to), link)| (*from, *to, *link))
            .collect();
        pairs.sort_unstable_by_key(|(from, to, _)| (*from, *to));
        pairs
    }

    /// What lies between two workers, one way.
    #[must_use]
    pub fn link(&self, from: usize, to: usize) -> Link {
        self.pairs.get(&(from, to)).copied().unwrap_or(self.all)
    }
}
