//! Several placements of one deployment: which of them a plan is of, and how invocations are divided among them.

use super::DeploymentId;
use rkyv::{Archive, Deserialize, Serialize};

/// Placements of a deployment, at most.
pub const REPLICAS_MAX: u16 = 64;

/// How an entry worker chooses the placement of an invocation. It asks nobody for it.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the least to do, as far as this worker knows.
    Load,
}

impl Balance {
    /// As command lines and reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Load => "load",
        }
    }
}

impl std::fmt::Display for Balance {
    /// As it is said to people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "in turn",
            Self::Load => "by load",
        })
    }
}

/// Which placement of its deployment a plan is of. Each has an id of its own, by which messages name it, and pools of its
/// own; an invocation runs in one of them from its beginning to its end.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replica {
    /// The deployment: the id of its first placement. By this one it is activated, dropped and retired, as a whole.
    pub of: DeploymentId,
    /// Which placement, from 1.
    pub number: u16,
    /// How many there are, from 1 to [`REPLICAS_MAX`].
    pub count: u16,
    /// How invocations are divided among them.
    pub balance: Balance,
}

impl Replica {
    /// The only placement of a deployment.
    #[must_use]
    pub const fn only(deployment: DeploymentId) -> Self {
        Self {
            of: deployment,
            number: 1,
            count: 1,
            balance: Balance::RoundRobin,
        }
    }

    /// Whether invocations are divided by what lanes tell of their loads.
    #[must_use]
    pub fn is_by_load(self) -> bool {
        self.count > 1 && self.balance == Balance::Load
    }
}

impl std::fmt::Display for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "placement {} of {}", self.number, self.count)
    }
}
