//! What simulated lanes carry out of memory and bring back.

use super::{Cluster, Event};
use engine::core::store::Ticket;
use engine::core::{CarryOut, CopyIn};
use std::collections::BTreeMap;

/// In a thousand payloads that are carried out: those that are not taken.
const REFUSED: u32 = 100;
/// In a thousand items that are copied in before they are asked for: those for which there is no room.
const UNPLACED: u32 = 200;

/// Of one lane.
#[derive(Debug, Default)]
pub(super) struct Stores {
    carrying: Vec<CarryOut>,
    kept: BTreeMap<Ticket, Vec<u8>>,
    fetching: Vec<Ticket>,
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

    pub(super) fn bring_back(&mut self, ticket: Ticket, bytes: u64) {
        let kept = self.kept.get(&ticket).map(Vec::len);
        assert_eq!(
            kept,
            Some(bytes as usize),
            "what was never carried out comes back"
        );
        assert!(
            !self.fetching.contains(&ticket),
            "fetched twice: {ticket:?}"
        );
        self.fetching.push(ticket);
    }

    pub(super) fn discard(&mut self, ticket: Ticket) {
        let kept = self.kept.remove(&ticket);
        assert!(
            kept.is_some(),
            "discarded twice, or never carried out: {ticket:?}"
        );
        assert!(
            !self.fetching.contains(&ticket),
            "discarded while it is fetched"
        );
    }

    pub(super) fn copy_in(&mut self, order: CopyIn) {
        self.copying.push(order);
    }

    /// What is kept under a ticket, from a byte on; nothing if that is not there.
    pub(super) fn part(&self, (ticket, offset): (Ticket, u64), bytes: u64) -> Option<Vec<u8>> {
        let whole = self.kept.get(&ticket)?;
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
            Err(())
        } else {
            self.carried += 1;
            state.stores.kept.insert(ticket, bytes);
            Ok(self.random.below(100_000) as u64)
        };
        state.core.stored(now_ns, ticket, kind, stored);
        self.act(lane);
    }

    /// A payload is back in memory.
    pub(super) fn end_fetching(&mut self, lane: usize, index: usize) {
        let took_ns = self.random.below(100_000) as u64;
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let state = &mut self.lanes[lane];
        let ticket = state.stores.fetching.swap_remove(index);
        let bytes = state.stores.kept.remove(&ticket);
        let range = state.memory.commit(bytes.expect("it was carried out"));
        self.brought_back += 1;
        let kind = state.core.store_rules().tiers[0];
        state
            .core
            .fetched(now_ns, ticket, kind, Ok((range, took_ns)));
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
            let range = state.memory.commit(part);
            let copied = Ok((range, took_ns));
            state.core.fetched(now_ns, ticket, kind, copied);
        } else {
            let gone = Err("it is not there any more".into());
            state.core.fetched(now_ns, ticket, kind, gone);
        }
        self.act(lane);
    }
}
