//! What leaves memory, and what comes back.

use super::{Rig, Seen, Use, What};
use crate::flow::DEPLOYMENT;
use engine::core::lease::Holdings;
use engine::core::store::{Carried, Tally, Unstored};
use engine::core::{CarryOut, CompletionError, CopyIn};
use engine::reads::{Reads, merge};
use faasstore::descriptor::{ItemName, PayloadRef, Want};
use faasstore::tier::TierKind;
use std::collections::BTreeMap;

impl Rig {
    /// What is being carried out of memory, in order.
    pub(crate) fn carrying(&self) -> Vec<String> {
        let text = |order: &CarryOut| match self.text(order.range) {
            Seen::One(text) => text,
            other => panic!("{other:?}"),
        };
        self.carrying.iter().map(text).collect()
    }

    /// By text, into which tier what is being carried out goes, in order.
    pub(crate) fn carrying_to(&self) -> Vec<(String, TierKind)> {
        let kinds = self.carrying.iter().map(|order| order.kind);
        self.carrying().into_iter().zip(kinds).collect()
    }

    /// Memory has run out in which what has one of these texts lies: so many bytes of it are wanted.
    pub(crate) fn run_out_of_memory(&mut self, bytes: u64, there: &[&str]) {
        let account = self.cores[0].account_of(DEPLOYMENT).unwrap();
        let texts = self.texts.iter();
        let there = texts.filter(|(_, text)| there.contains(&text.as_str()));
        let offsets: Vec<u64> = there.map(|(offset, _)| *offset).collect();
        let lies_there = |range: PayloadRef| offsets.contains(&range.offset);
        self.cores[0].make_room(self.now_ns, account, bytes, &lies_there);
        self.settle();
    }

    /// What is being carried out of memory has been, or not.
    pub(crate) fn carried(&mut self, well: bool) {
        self.stored(if well {
            Ok(1000)
        } else {
            Err(Unstored::Failed)
        });
    }

    /// No tier takes what is being carried out of memory.
    pub(crate) fn not_carried(&mut self, why: Unstored) {
        self.stored(Err(why));
    }

    pub(super) fn stored(&mut self, stored: Result<u64, Unstored>) {
        for order in std::mem::take(&mut self.carrying) {
            let CarryOut {
                ticket,
                range,
                kind,
            } = order;
            if let (Ok(_), Seen::One(text)) = (stored, self.text(range)) {
                self.away.insert(ticket, text);
            }
            self.cores[0].stored(self.now_ns, ticket, kind, stored);
        }
        self.settle();
    }

    /// Payloads that are elsewhere, and are not asked for; and those that are.
    pub(crate) fn elsewhere(&self) -> (usize, usize) {
        (self.away.len() - self.coming.len(), self.coming.len())
    }

    /// What is to come back does, or is lost for this reason.
    pub(crate) fn come_back(&mut self, lost: Option<&str>) {
        for ticket in std::mem::take(&mut self.coming) {
            let text = self.away.remove(&ticket).unwrap();
            let back = match lost {
                Some(cause) => Err(cause.into()),
                None => Ok((self.fresh(&text), 1000)),
            };
            self.cores[0].fetched(self.now_ns, ticket, TierKind::Spill, back);
        }
        self.settle();
    }

    /// What runs of a node asks for an item of its only list, and is done with others; whether it may.
    pub(crate) fn want(
        &mut self,
        node: &str,
        want: (Option<u32>, Use),
        done: &[u32],
    ) -> Result<(), CompletionError> {
        let running = self.running.iter().find(|one| one.node == node);
        let running = running.unwrap_or_else(|| panic!("{node} does not run"));
        let (What::Start(start), worker) = (&running.what, running.worker) else {
            panic!("the lane evaluates {node}");
        };
        let start = *start;
        let name = |item| ItemName { input: 0, item };
        let mut wanted = Want::new(start.activation, want.0.map(name));
        wanted.keep = want.1 == Use::Kept;
        wanted.walks = want.1 == Use::Walking;
        done.iter()
            .for_each(|done| assert!(wanted.add_done(name(*done))));
        let result = self.cores[worker].want(self.now_ns, start.executor, &wanted);
        self.settle();
        result
    }

    /// What is to be copied in is in memory: how many of these there were.
    pub(crate) fn copied(&mut self) -> usize {
        let copying = std::mem::take(&mut self.copying);
        for order in &copying {
            let CopyIn {
                ticket,
                of,
                offset,
                bytes,
                ..
            } = *order;
            let copied = match self.away.get(&of) {
                Some(text) => {
                    let text = text[offset as usize..][..bytes as usize].to_owned();
                    Ok((self.fresh(&text), 1000))
                }
                None => Err("it is not there".into()),
            };
            self.cores[0].fetched(self.now_ns, ticket, TierKind::Spill, copied);
        }
        self.settle();
        copying.len()
    }

    /// What is to be copied in is not, since the disk is gone, or for want of room.
    pub(crate) fn not_copied(&mut self, lost: Option<&str>) -> usize {
        let copying = std::mem::take(&mut self.copying);
        for order in &copying {
            match lost {
                Some(cause) => {
                    let lost = Err(cause.into());
                    self.cores[0].fetched(self.now_ns, order.ticket, TierKind::Spill, lost);
                }
                None => self.cores[0].unplaced(self.now_ns, order.ticket),
            }
        }
        self.settle();
        copying.len()
    }

    /// Walks over the only list of what runs of a node, and lets go of each item before the next: what it was given.
    pub(crate) fn walk(&mut self, node: &str, items: u32) -> Vec<String> {
        let mut texts = Vec::new();
        for item in 0..items {
            let done: Vec<u32> = item.checked_sub(1).into_iter().collect();
            self.want(node, (Some(item), Use::Walking), &done).unwrap();
            while self.given.is_empty() {
                self.carried(true);
                self.copied();
                self.come_back(None);
            }
            let (given, text) = self.given.remove(0);
            assert_eq!(given, item);
            texts.push(text);
        }
        texts
    }

    /// What the worker has done for want of memory.
    pub(crate) fn carried_so_far(&self) -> Carried {
        let account = self.cores[0].account_of(DEPLOYMENT).unwrap();
        self.cores[0].leases().tally(account).carried
    }

    /// What was read on all workers, by edge, asked for node by node.
    pub(crate) fn edges(&mut self) -> BTreeMap<(String, String), Reads> {
        let mut all = BTreeMap::new();
        for core in &mut self.cores {
            let mut from = Some(0);
            while let Some(first) = from {
                let page = core.edges(DEPLOYMENT, first, 1).unwrap();
                merge(&mut all, page.edges);
                from = page.next;
            }
        }
        all
    }

    /// What the first worker's memory holds of the workflow, and what is watched of it.
    pub(crate) fn memory(&self) -> (Holdings, &Tally) {
        let account = self.cores[0].account_of(DEPLOYMENT).unwrap();
        let leases = self.cores[0].leases();
        (leases.holdings(account), leases.tally(account))
    }

    /// An executor of the first worker has been seen to have so many bytes for itself.
    pub(crate) fn measured(&mut self, bytes: u64) {
        self.cores[0].measured(DEPLOYMENT, 0, bytes);
        self.settle();
    }
}
