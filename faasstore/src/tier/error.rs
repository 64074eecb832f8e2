//! What can go wrong in a tier, told apart by what is to be done about it.

use super::{Place, TierKind};
use std::error::Error;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Whether the same once more may go well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// It may: a connection was lost, or nobody answered in time.
    May,
    /// Not before somebody has changed something.
    Not,
}

/// Why a tier did not do what it was asked for. Every one names the tier, the place and what to do.
#[derive(Debug, Error)]
pub enum TierError {
    /// No room now. There may be when other payloads have gone.
    #[error("{kind} ({at}) has no room for {bytes} bytes: {why}; {remedy}")]
    Full {
        /// Which tier.
        kind: TierKind,
        /// Where: a folder or a URL.
        at: String,
        /// Asked for.
        bytes: u64,
        /// What is exhausted.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// More than this tier takes, however empty it is.
    #[error(
        "{kind} ({at}) takes payloads of up to {max} bytes, and this one has {bytes}; {remedy}"
    )]
    TooLarge {
        /// Which tier.
        kind: TierKind,
        /// Where.
        at: String,
        /// Of the payload.
        bytes: u64,
        /// The limit.
        max: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// It does not work.
    #[error("{kind} ({at}) cannot {what}: {cause}; {remedy}")]
    Broken {
        /// Which tier.
        kind: TierKind,
        /// Where.
        at: String,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
        /// Whether to try again.
        again: Again,
        /// What to do.
        remedy: &'static str,
    },
    /// The bytes are not those that were put.
    #[error(
        "{kind} ({at}): {place} is damaged between its bytes {from} and {to}: the checksum of what was read differs; \
         {remedy}"
    )]
    Damaged {
        /// Which tier.
        kind: TierKind,
        /// Where.
        at: String,
        /// Which payload.
        place: String,
        /// The first byte of what is damaged.
        from: u64,
        /// The one behind it.
        to: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// It was released, has expired, or never was.
    #[error("{kind} ({at}): {place} is not there: {remedy}")]
    Missing {
        /// Which tier.
        kind: TierKind,
        /// Where.
        at: String,
        /// Which payload.
        place: String,
        /// How that comes about.
        remedy: &'static str,
    },
    /// A place or a window that no payload of this store can have.
    #[error("{kind} ({at}) refuses {place}: {why}")]
    Refused {
        /// Which tier.
        kind: TierKind,
        /// Where.
        at: String,
        /// Which payload.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// An operation that took too long.
#[derive(Debug, Error)]
pub(crate) enum Late {
    /// From its turn on.
    #[error("it was not done within {0:?}")]
    Done(Duration),
    /// It never had its turn, and those ahead of it do not go on.
    #[error("those ahead of it have not gone on for {0:?}")]
    Begun(Duration),
}

/// Which store speaks: what all errors of it begin with.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) kind: TierKind,
    pub(crate) at: String,
}

impl Speaker {
    pub(crate) fn full(
        &self,
        bytes: u64,
        why: impl fmt::Display,
        remedy: &'static str,
    ) -> TierError {
        TierError::Full {
            kind: self.kind,
            at: self.at.clone(),
            bytes,
            why: why.to_string(),
            remedy,
        }
    }

    pub(crate) fn too_large(&self, bytes: u64, max: u64, remedy: &'static str) -> TierError {
        TierError::TooLarge {
            kind: self.kind,
            at: self.at.clone(),
            bytes,
            max,
            remedy,
        }
    }

    pub(crate) fn broken(
        &self,
        what: &'static str,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
        again: Again,
        remedy: &'static str,
    ) -> TierError {
        TierError::Broken {
            kind: self.kind,
            at: self.at.clone(),
            what,
            cause: cause.into(),
            again,
            remedy,
        }
    }

    pub(crate) fn damaged(
        &self,
        place: &Place,
        from: u64,
        to: u64,
        remedy: &'static str,
    ) -> TierError {
        TierError::Damaged {
            kind: self.kind,
            at: self.at.clone(),
            place: place.to_string(),
            from,
            to,
            remedy,
        }
    }

    pub(crate) fn missing(&self, place: &Place, remedy: &'static str) -> TierError {
        TierError::Missing {
            kind: self.kind,
            at: self.at.clone(),
            place: place.to_string(),
            remedy,
        }
    }

    pub(crate) fn refused(&self, place: &Place, why: impl Into<String>) -> TierError {
        TierError::Refused {
            kind: self.kind,
            at: self.at.clone(),
            place: place.to_string(),
            why: why.into(),
        }
    }
}
