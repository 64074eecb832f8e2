//! What a link's receiver has granted, as its sender keeps it.
//!
//! It owns the account of payloads that are announced and of which not all is granted. It promises that no more of them may be
//! sent than was granted, and before that no more than [`LINK_UNASKED_BYTES_MAX`] of all together; and that a grant
//! which names nothing here, adds nothing or goes too far is refused by name, so that nobody can keep a sender busy with
//! grants alone. The other side of it is in [`super::landing`].

use super::LinkError;
use crate::wire::{GRANT_BYTES_MIN, Grant, LINK_UNASKED_BYTES_MAX, unasked, unasked_charge};
use std::collections::BTreeMap;

/// A payload of which not all is granted.
#[derive(Debug)]
struct Asked {
    bytes: u64,
    /// Up to which byte it may be sent.
    allowed: u64,
    /// What it counts for among what is unasked.
    charge: u64,
    /// Of the queue, if all of it was sent already.
    kept: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Credit {
    /// Whether the other side grants at all: clients do not.
    by_grant: bool,
    asked: BTreeMap<u64, Asked>,
    charged: u64,
    /// Of those asked, how many are sent to their end.
    sent: usize,
    grants: u64,
}

impl Credit {
    pub(super) const fn new(by_grant: bool) -> Self {
        Self {
            by_grant,
            asked: BTreeMap::new(),
            charged: 0,
            sent: 0,
            grants: 0,
        }
    }

    /// A payload is announced. First come, first served: it has so much of what is left.
    pub(super) fn ask(&mut self, transfer: u64, bytes: u64) {
        if !self.by_grant || bytes == 0 {
            return;
        }
        let charge = unasked_charge(bytes).min(LINK_UNASKED_BYTES_MAX - self.charged);
        self.charged += charge;
        let asked = Asked {
            bytes,
            allowed: unasked(bytes).min(charge),
            charge,
            kept: None,
        };
        self.asked.insert(transfer, asked);
    }

    /// Up to which byte a payload may be sent.
    pub(super) fn allowed(&self, transfer: u64) -> u64 {
        self.asked
            .get(&transfer)
            .map_or(u64::MAX, |asked| asked.allowed)
    }

    /// All of a payload was sent, which has taken so much of the queue; returns what is free of that now. The other side keeps
    /// the message of a payload that it has not granted.
    pub(super) fn sent(&mut self, transfer: u64, kept: usize) -> usize {
        match self.asked.get_mut(&transfer) {
            Some(asked) => {
                asked.kept = Some(kept);
                self.sent += 1;
                0
            }
            None => kept,
        }
    }

    /// Payloads that are sent, and stay at the other side until they are granted.
    pub(super) const fn held_there(&self) -> usize {
        self.sent
    }

    /// Grants so far.
    pub(super) const fn grants(&self) -> u64 {
        self.grants
    }

    /// Takes a grant; `allow` is told whose payloads may go on. Returns what is free of the queue now.
    pub(super) fn grant(
        &mut self,
        grant: &Grant,
        mut allow: impl FnMut(u64),
    ) -> Result<usize, LinkError> {
        if grant.payloads.is_empty() {
            return Err(LinkError::GrantEmpty);
        }
        let mut freed = 0;
        for &(transfer, up_to) in &grant.payloads {
            let Some(asked) = self.asked.get_mut(&transfer) else {
                return Err(LinkError::GrantUnknown { transfer });
            };
            let whole = up_to == asked.bytes;
            let enough = up_to >= asked.allowed.saturating_add(GRANT_BYTES_MIN);
            if !whole && (!enough || up_to > asked.bytes) {
                return Err(LinkError::GrantPlace {
                    transfer,
                    up_to,
                    allowed: asked.allowed,
                    bytes: asked.bytes,
                });
            }
            asked.allowed = up_to;
            if whole && let Some(asked) = self.asked.remove(&transfer) {
                self.charged -= asked.charge;
                if let Some(kept) = asked.kept {
                    self.sent -= 1;
                    freed += kept;
                }
            }
            allow(transfer);
        }
        self.grants += 1;
        Ok(freed)
    }
}
