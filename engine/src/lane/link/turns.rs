//! Whose chunk is next.
//!
//! It owns the payloads that a link has announced and not sent to their end. It promises that workflows take turns, chunk by
//! chunk, and so do the payloads of one workflow: who has a thousand under way holds up whoever has one by no more than a
//! chunk, and a small payload is not behind a large one of its own workflow. What may not go on until more of it is granted
//! stands aside, and takes no turn.

use super::outbound::Transfer;
use std::collections::{BTreeMap, VecDeque};

/// Payloads of one workflow that may go on, in turn.
#[derive(Debug)]
struct Share {
    owner: u64,
    transfers: VecDeque<Transfer>,
}

#[derive(Debug, Default)]
pub(super) struct Turns {
    shares: VecDeque<Share>,
    /// By number: those that wait for a grant.
    aside: BTreeMap<u64, Transfer>,
}

impl Turns {
    /// Whether any may go on.
    pub(super) fn has_next(&self) -> bool {
        !self.shares.is_empty()
    }

    /// Whether any waits for a grant.
    pub(super) fn has_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        let shares = self.shares.iter();
        self.aside.len() + shares.map(|share| share.transfers.len()).sum::<usize>()
    }

    /// Takes a payload in, or back: it has had its turn.
    pub(super) fn put(&mut self, transfer: Transfer) {
        let owner = transfer.owner;
        match self.shares.iter_mut().find(|share| share.owner == owner) {
            Some(share) => share.transfers.push_back(transfer),
            None => self.shares.push_back(Share {
                owner,
                transfers: VecDeque::from([transfer]),
            }),
        }
    }

    /// Takes a payload in that may not go on.
    pub(super) fn put_aside(&mut self, transfer: Transfer) {
        self.aside.insert(transfer.id, transfer);
    }

    /// The payload whose turn it is; to be put back, unless it is sent. Its workflow stands last from now on.
    pub(super) fn next(&mut self) -> Option<Transfer> {
        let mut share = self.shares.pop_front()?;
        let transfer = share.transfers.pop_front();
        if !share.transfers.is_empty() {
            self.shares.push_back(share);
        }
        transfer
    }

    /// A payload may go on. One that stands not aside may already.
    pub(super) fn allow(&mut self, transfer: u64) {
        if let Some(transfer) = self.aside.remove(&transfer) {
            self.put(transfer);
        }
    }

    pub(super) fn into_transfers(self) -> impl Iterator<Item = Transfer> {
        let shares = self.shares.into_iter();
        let turns = shares.flat_map(|share| share.transfers);
        turns.chain(self.aside.into_values())
    }
}
