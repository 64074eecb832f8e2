//! What simulated lanes carry out of memory and bring back.

use super::memory::Came;
use super::reads::way_from;
use super::{Cluster, Event};
use engine::core::lease::Account;
use engine::core::store::{Ticket, Unstored};
use engine::core::{CarryOut, CopyIn};
use engine::plan::DeploymentId;
use engine::reads::Way;
use faasstore::tier::TierKind;
use std::collections::BTreeMap;
use std::rc::Rc;

/// In a thousand payloads that are carried out: those that are not taken.
const REFUSED: u32 = 100;
/// In a thousand items that are copied in before they are asked for: those for which there is no room.
const UNPLACED: u32 = 200;

/// What was carried out.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    /// To where.
    kind: TierKind,
    /// How it had come before.
    way: Way,
}

impl Kept {
    /// How it comes back.
    const fn comes_back(&self, is_copy: bool) -> Came {
        Came {
            way: self.way,
            brought_back: Some(way_from(self.kind)),
            is_copy,
        }
    }
}

/// Of one lane.
#[derive(Debug, Default)]
pub(super) struct Stores {
    carrying: Vec<CarryOut>,
    kept: BTreeMap<Ticket, Kept>,
    fetching: Vec<(Ticket, Account)>,
    copying: Vec<CopyIn>,
}

impl Stores {
    pub(super) fn events(&self, lane: usize, events: &mut Vec<Event>) {
        let carried = (0..self.carrying.len()).map(|index| Event::Carried { lane, index });
        let fetched = (0..self.fetching.len()).map(|index| Event::Fetched { lane, index });
        let copied = (0..self.copying.len()).map(|index| Event::Copied { lane, index });
        events.extend(carried.chain(fetched).chain(copied));
    }

    pub(super) fn carry(&mut self, order: CarryOut) {
        self.carrying.push(order);
    }

    pub(super) fn bring_back(&mut self, ticket: Ticket, account: Account, bytes: u64) {
        let kept = self.kept.get(&ticket).map(|kept| kept.bytes.len());
        assert_eq!(
            kept,
            Some(bytes as usize),
            "what was never carried out comes back"
        );
        assert!(!self.is_fetched(ticket), "fetched twice: {ticket:?}");
        self.fetching.push((ticket, account));
    }

    pub(super) fn discard(&mut self, ticket: Ticket) {
        let kept = self.kept.remove(&ticket);
        assert!(
            kept.is_some(),
            "discarded twice, or never carried out: {ticket:?}"
        );
        assert!(!self.is_fetched(ticket), "discarded while it is fetched");
    }

    fn is_fetched(&self, ticket: Ticket) -> bool {
        self.fetching.iter().any(|(fetched, _)| *fetched == ticket)
    }

    pub(super) fn copy_in(&mut self, order: CopyIn) {
        self.copying.push(order);
    }

    /// What is kept under a ticket, from a byte on; nothing if that is not there.
    pub(super) fn part(&self, (ticket, offset): (Ticket, u64), bytes: u64) -> Option<Vec<u8>> {
        let whole = &self.kept.get(&ticket)?.bytes;
        let part = whole.get(offset as usize..(offset + bytes) as usize);
        let part = part.unwrap_or_else(|| panic!("a part beyond what was carried out: {ticket:?}"));
        Some(part.to_vec())
    }

    /// Nothing is left.
    pub(super) fn judge_empty(&self, lane: usize) {
        assert!(
            self.carrying.is_empty()
                && self.kept.is_empty()
                && self.fetching.is_empty()
                && self.copying.is_empty(),
            "lane {lane} holds what it has carried out: {self:?}"
        );
    }
}

impl Cluster {
    /// A payload has been carried out, or was not taken.
    pub(super) fn end_carrying(&mut self, lane: usize, index: usize) {
        let refused = self.random.chance(REFUSED);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let state = &mut self.lanes[lane];
        let CarryOut {
            ticket,
            range,
            kind,
        } = state.stores.carrying.swap_remove(index);
        // Read as late as can be.
        let bytes = state.memory.read(range);
        let stored = if refused {
            // Of what one lane's tier is too small for, the others' may be too.
            Err(match bytes.len() % 7 {
                0 => Unstored::TooLarge,
                1..4 => Unstored::Busy,
                _ => Unstored::Failed,
            })
        } else {
            self.carried += 1;
            let way = state
                .memory
                .came(range)
                .map_or(Way::Shared, |came| came.way);
            let kept = Kept { bytes, kind, way };
            state.stores.kept.insert(ticket, kept);
            Ok(self.random.below(100_000) as u64)
        };
        state.core.stored(now_ns, ticket, kind, stored);
        self.act(lane);
    }

    /// Memory has run out where some of what a lane has of a workflow lies.
    pub(super) fn run_out_of_memory(&mut self, lane: usize, of: DeploymentId) {
        let (bytes, half) = (self.random.below(2_000) as u64, self.random.below(2) as u64);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let core = &mut self.lanes[lane].core;
        if let Some(account) = core.account_of(of) {
            core.make_room(now_ns, account, bytes, &|range| {
                range.offset / 64 % 2 == half
            });
        }
        self.act(lane);
    }

    /// A payload is back in memory, or lost.
    pub(super) fn end_fetching(&mut self, lane: usize, index: usize) {
        let took_ns = self.random.below(100_000) as u64;
        let lost = self.random.chance(self.scenario.faults.lost_payloads);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let state = &mut self.lanes[lane];
        let (ticket, account) = state.stores.fetching.swap_remove(index);
        let kept = state.stores.kept.remove(&ticket);
        let kept = kept.expect("it was carried out");
        let fetched = if lost {
            self.lost += 1;
            for asked in self.asked.iter_mut().filter(|asked| !asked.is_over()) {
                let id = self.scenario.deployments[asked.deployment].name.id;
                asked.payload_lost |= state.core.account_of(id) == Some(account);
            }
            Err(Rc::from("the disk is gone"))
        } else {
            self.brought_back += 1;
            let came = kept.comes_back(false);
            let range = state.memory.commit(kept.bytes);
            state.memory.note(range, came);
            Ok((range, took_ns))
        };
        let kind = kept.kind;
        state.core.fetched(now_ns, ticket, kind, fetched);
        self.act(lane);
    }

    /// A copy of what was carried out is in memory, if there was room and it is still there.
    pub(super) fn end_copying(&mut self, lane: usize, index: usize) {
        let took_ns = self.random.below(100_000) as u64;
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let fails = self.scenario.faults.failures / 4;
        let state = &mut self.lanes[lane];
        let CopyIn {
            ticket,
            of,
            offset,
            bytes,
            ahead,
            ..
        } = state.stores.copying.swap_remove(index);
        let kind = state.core.store_rules().tiers[0];
        if self.random.chance(if ahead { UNPLACED } else { fails }) {
            state.core.unplaced(now_ns, ticket);
        } else if let Some(part) = state.stores.part((of, offset), bytes) {
            let came = state.stores.kept[&of].comes_back(true);
            let range = state.memory.commit(part);
            state.memory.note(range, came);
            let copied = Ok((range, took_ns));
            state.core.fetched(now_ns, ticket, kind, copied);
        } else {
            let gone = Err("it is not there any more".into());
            state.core.fetched(now_ns, ticket, kind, gone);
        }
        self.act(lane);
    }
}
