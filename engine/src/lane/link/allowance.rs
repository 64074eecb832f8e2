//! What the sender of a link may send, as its receiver keeps it: the other side of [`super::credit`].
//!
//! It owns the account of payloads whose sender may not know yet that all of them is granted. It promises that who sends more than
//! may come unasked, or was granted, is refused by name; and that every payload which was granted is told of, at once if
//! its sender could be waiting for it:
//!
//! - of a payload that is longer than what may come unasked, at once;
//! - of others together, as soon as those which are not told of count for half of what may come unasked on the link, or any
//!   payload waits for memory. Until then the sender has room for the beginning of whatever it announces.

use super::LinkError;
use crate::wire::{Grant, LINK_UNASKED_BYTES_MAX, UNASKED_BYTES_MAX, unasked, unasked_charge};
use std::collections::BTreeMap;

/// Payloads that one grant names.
const GRANT_PAYLOADS_MAX: usize = 1024;

/// A payload whose sender does not know that all of it is granted.
#[derive(Debug)]
struct Untold {
    bytes: u64,
    /// What has come of it.
    received: u64,
    /// Up to which byte it may come: what is unasked, or what its sender was told.
    allowed: u64,
}

#[derive(Debug)]
pub(super) struct Allowance {
    by_grant: bool,
    untold: BTreeMap<u64, Untold>,
    /// What came of them unasked, and what they count for.
    received: u64,
    charged: u64,
    /// Of them, those to be told of.
    news: Vec<(u64, u64)>,
    /// Whether that is urgent.
    urgent: bool,
    /// Of them, those that are not granted.
    waiting: usize,
    /// The lowest number that was not announced, nor any above it.
    next: u64,
}

impl Allowance {
    pub(super) const fn new(by_grant: bool) -> Self {
        Self {
            by_grant,
            untold: BTreeMap::new(),
            received: 0,
            charged: 0,
            news: Vec::new(),
            urgent: false,
            waiting: 0,
            next: 0,
        }
    }

    /// A payload was announced.
    pub(super) fn announced(&mut self, transfer: u64, bytes: u64) {
        self.next = self.next.max(transfer.saturating_add(1));
        if self.by_grant && bytes > 0 {
            self.charged += unasked_charge(bytes);
            let untold = Untold {
                bytes,
                received: 0,
                allowed: unasked(bytes),
            };
            self.untold.insert(transfer, untold);
        }
    }

    /// A payload was asked for: all of it may come, and its sender knows.
    pub(super) fn asked(&mut self, transfer: u64) {
        self.next = self.next.max(transfer.saturating_add(1));
    }

    /// Whether the message that announces a payload can still be on its way: numbers rise.
    pub(super) const fn may_be_announced(&self, transfer: u64) -> bool {
        transfer >= self.next
    }

    /// The payload that was announced last waits for memory.
    pub(super) fn waits(&mut self) {
        self.waiting += 1;
        self.urgent = true;
    }

    /// A payload that has waited is granted, up to that byte.
    pub(super) fn grant_late(&mut self, transfer: u64, up_to: u64) {
        self.waiting -= 1;
        self.grant(transfer, up_to);
        self.urgent = true;
    }

    /// A payload may come up to that byte.
    pub(super) fn grant(&mut self, transfer: u64, up_to: u64) {
        let Some(untold) = self.untold.get_mut(&transfer) else {
            return;
        };
        self.news.push((transfer, up_to));
        self.urgent |= untold.bytes > UNASKED_BYTES_MAX
            || self.waiting > 0
            || self.charged > LINK_UNASKED_BYTES_MAX / 2;
    }

    /// A payload comes, up to that byte.
    pub(super) fn take(&mut self, transfer: u64, up_to: u64) -> Result<(), LinkError> {
        let Some(untold) = self.untold.get_mut(&transfer) else {
            return Ok(());
        };
        let unasked = unasked(untold.bytes);
        let more = up_to.min(unasked) - untold.received.min(unasked);
        if up_to > untold.allowed || self.received + more > LINK_UNASKED_BYTES_MAX {
            return Err(LinkError::Credit {
                transfer,
                up_to,
                allowed: untold.allowed,
                unasked: self.received + more,
            });
        }
        untold.received = up_to;
        self.received += more;
        Ok(())
    }

    /// What is known is to be told, however little that is: the sender may wait for it with all that it has.
    pub(super) fn hurry(&mut self) {
        self.urgent |= !self.news.is_empty();
    }

    /// Whether there is something to tell the sender now.
    pub(super) fn has_news(&self) -> bool {
        self.urgent && !self.news.is_empty()
    }

    /// What the sender is to be told. From now on it may act upon it.
    pub(super) fn tell(&mut self) -> Option<Grant> {
        if !self.has_news() {
            return None;
        }
        let count = self.news.len().min(GRANT_PAYLOADS_MAX);
        let payloads: Vec<(u64, u64)> = self.news.drain(..count).collect();
        self.urgent = !self.news.is_empty();
        for (transfer, up_to) in &payloads {
            let Some(told) = self.untold.get_mut(transfer) else {
                continue;
            };
            told.allowed = *up_to;
            if told.allowed == told.bytes
                && let Some(told) = self.untold.remove(transfer)
            {
                self.received -= told.received.min(unasked(told.bytes));
                self.charged -= unasked_charge(told.bytes);
            }
        }
        Some(Grant { payloads })
    }
}
