//! What names a payload in a tier.

use std::fmt;
use std::sync::Arc;

/// A tier, by the word for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TierKind {
    /// In the message that names it.
    Inline,
    /// In shared memory.
    Shared,
    /// At another worker.
    Peer,
    /// On local disk.
    Spill,
    /// In Redis, or an object store.
    Remote,
}

impl fmt::Display for TierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline => "inline",
            Self::Shared => "shared",
            Self::Peer => "peer",
            Self::Spill => "spill",
            Self::Remote => "remote",
        })
    }
}

/// Where a payload lies: plain data, which may travel in a message. Nothing of it is believed; a tier looks it up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// In which tier.
    pub kind: TierKind,
    /// Which store of that kind: of a remote one a hash of its URL, so that it is the same for all workers; else a number
    /// that no other store of this process has.
    pub store: u64,
    /// Which payload of that store, and of the worker's life that put it. Never given twice.
    pub number: u64,
    /// Bytes of the payload.
    pub bytes: u64,
    /// What else is needed to find it.
    pub body: Body,
}

/// What a place carries besides numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Nothing: the store knows.
    Kept,
    /// The payload itself.
    Inline(Arc<[u8]>),
    /// The worker that put it, and in which of its lives: `NAME/EPOCH`, as in its keys.
    Life(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            number,
            bytes,
            body,
            ..
        } = self;
        match body {
            Body::Life(life) => write!(f, "{kind} payload {life}/{number} of {bytes} bytes"),
            Body::Kept | Body::Inline(_) => write!(f, "{kind} payload {number} of {bytes} bytes"),
        }
    }
}
