//! Lists that do not fit into memory, and are read item by item: which activations start so, and how items come to them.
//!
//! Such an activation starts when all else that it reads is in memory. Of its lists the larger items are not told to its
//! executor, which asks for them one by one ([`Core::want`]) and says which it is done with. An item that is in memory is
//! held where it lies; of one that is away a copy is made, while it stays in its tier: another attempt reads it again. Copies
//! are leases of the activation's own, and go when it is done with them, or has ended in whatever way. What is neither held nor
//! asked for may leave memory while the activation runs.
//!
//! Progress: who waits for an item is served before anything else starts. If nothing of its workflow moves, and what runs
//! waits as well, it is served beyond the quota, which is counted. An item for which the lane's memory has no room is
//! refused, and one that cannot be got back fails its invocation. So no activation waits for ever.

mod serve;

use super::Core;
use super::invocation::{Place, Read};
use super::lease::{Account, LeaseId, Payload, Reach};
use super::pool::{ExecutorId, Running};
use super::program::{InputFrom, LocalNode, SlotIndex};
use faasstore::descriptor::{ItemAnswer, ItemName, PayloadRef, RoomAnswer};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;

/// Items that are brought before they are asked for, behind one that a walk has reached: so that a disk is read while the
/// function computes.
const AHEAD_MAX: u32 = 4;
/// What part of its workflow's quota an activation should take by items that it keeps while it reads others.
const WINDOW_SHARE: u64 = 8;

/// What an activation has of lists that it reads item by item.
#[derive(Debug)]
pub(super) struct Window {
    place: Place,
    node: LocalNode,
    /// What it waits for.
    wanted: Option<Wanted>,
    granted: BTreeMap<ItemName, Grant>,
    /// How far it has walked, if it walks.
    walked: Option<ItemName>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    name: ItemName,
    keep: bool,
}

/// An item that is held for an activation.
#[derive(Clone, Copy, Debug)]
struct Grant {
    payload: Payload,
    /// Whether the activation knows where it lies; else it was brought before it was asked for.
    told: bool,
    /// Whether it stays until the activation ends.
    kept: bool,
}

/// What has become of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Served {
    /// Nothing is waited for, any more.
    Not,
    /// It is on its way.
    Comes,
    /// So many bytes of memory are wanted for it.
    Lacks(u64),
}

impl Core {
    /// Whether an item of a list that is read item by item is to be asked for. What never leaves memory is not.
    pub(super) fn is_asked_for(&self, item: Payload) -> bool {
        let bytes = item.length();
        bytes > 0 && bytes >= self.config.store.moved_bytes_min
    }

    /// Where an item of a list lies that is read item by item, or that it is to be asked for.
    #[must_use]
    pub fn locate_or_away(&self, item: Payload, account: Account) -> PayloadRef {
        if self.is_asked_for(item) {
            let window_bytes = self.leases.tally(account).quota_bytes / WINDOW_SHARE;
            PayloadRef::away(item.length(), window_bytes)
        } else {
            self.leases.locate(item)
        }
    }

    /// Whether an activation starts before all that it reads is in memory: only one that reads a list, and only where all
    /// together does not fit in.
    pub(super) fn reads_by_window(&self, place: Place, node: LocalNode) -> bool {
        let program = self.program_of(place);
        let account = program.account;
        let rules = &self.config.store;
        let (mut asked_for, mut bytes, mut last) = (false, 0_u64, None);
        self.each_input_read(place, node, |payload, of_list| {
            asked_for |= of_list && self.is_asked_for(payload);
            let lease = self.leases.lease_of(payload);
            // Views of one lease mostly stand side by side.
            if lease != last {
                bytes += lease.map_or(0, |(_, bytes)| bytes);
                last = lease;
            }
        });
        let room = self.leases.tally(account).quota_bytes;
        let makes = self.expected_bytes(place, node);
        let memory = rules.memory_bytes / 2;
        if !asked_for || bytes.saturating_add(makes) <= room.min(memory) {
            return false;
        }
        let (mut bytes, mut away_bytes) = (0, 0);
        let mut seen: FxHashSet<LeaseId> = FxHashSet::default();
        self.each_payload_read(place, node, |payload| {
            if let Some((lease, length)) = self.leases.lease_of(payload)
                && seen.insert(lease)
            {
                bytes += length;
                away_bytes += length * u64::from(self.leases.reach(payload) == Reach::Away);
            }
        });
        let fits = bytes + makes <= room && away_bytes <= memory;
        // Where nothing can leave there is nothing to be gained.
        !fits && (away_bytes > 0 || self.may_carry(account))
    }

    /// Bytes of memory that an activation wants for items before it starts: for one, and for the next.
    pub(super) fn window_bytes(&self, place: Place, node: LocalNode) -> u64 {
        let mut largest = 0;
        self.each_input_read(place, node, |payload, of_list| {
            if of_list && self.is_asked_for(payload) {
                largest = largest.max(payload.length());
            }
        });
        2 * largest
    }

    /// Calls `each` with every payload that an activation reads, and with whether it is an item of a list.
    fn each_input_read(&self, place: Place, node: LocalNode, mut each: impl FnMut(Payload, bool)) {
        let program = self.program_of(place);
        for index in 0..program.inputs(&program.nodes[node as usize]).len() {
            match self.input(place, program, node, index) {
                Read::Absent => {}
                Read::One(payload) => each(payload, false),
                Read::List(items) => items.iter().for_each(|item| each(*item, true)),
            }
        }
    }

    /// Calls `each` with what an activation has to have in memory before it starts, if it reads lists item by item.
    pub(super) fn each_payload_at_once(
        &self,
        place: Place,
        node: LocalNode,
        mut each: impl FnMut(Payload),
    ) {
        self.each_input_read(place, node, |payload, of_list| {
            if !(of_list && self.is_asked_for(payload)) {
                each(payload);
            }
        });
    }

    /// Calls `each` with what has to stay in memory for what runs.
    pub(super) fn each_payload_held(&self, running: &Running, mut each: impl FnMut(Payload)) {
        let (place, node) = (running.place, running.node);
        match self.window_of(place, node) {
            None => self.each_payload_read(place, node, each),
            Some(window) => {
                self.each_payload_at_once(place, node, &mut each);
                window
                    .granted
                    .values()
                    .for_each(|grant| each(grant.payload));
            }
        }
    }

    /// Calls `each` with what is held of lists for what runs, if it reads them item by item.
    pub(super) fn each_payload_granted(&self, running: &Running, each: impl FnMut(Payload)) {
        if let Some(window) = self.window_of(running.place, running.node) {
            let granted = window.granted.values();
            granted.map(|grant| grant.payload).for_each(each);
        }
    }

    pub(super) fn window_of(&self, place: Place, node: LocalNode) -> Option<&Window> {
        let mut windows = self.windows.values();
        windows.find(|window| (window.place, window.node) == (place, node))
    }

    /// How far a list has been walked that lies in a slot, if what reads it runs and walks.
    pub(super) fn walked(&self, place: Place, reader: LocalNode, slot: SlotIndex) -> Option<u32> {
        let window = self.window_of(place, reader)?;
        let ItemName { input, item } = window.walked?;
        let program = self.program_of(place);
        let inputs = program.inputs(&program.nodes[reader as usize]);
        let from = inputs.get(usize::from(input))?.from;
        (from == InputFrom::Slot(slot)).then_some(item)
    }

    /// An activation has started that reads lists item by item.
    pub(super) fn open_window(&mut self, id: ExecutorId, place: Place, node: LocalNode) {
        let account = self.program_of(place).account;
        self.leases.tally_mut(account).carried.windowed += 1;
        let window = Window {
            place,
            node,
            wanted: None,
            granted: BTreeMap::new(),
            walked: None,
        };
        let open = self.windows.insert(id, window);
        debug_assert!(open.is_none(), "an executor runs one activation at a time");
        // Items that it is to ask for count as it is given them.
        self.count_reads();
    }

    /// What an executor ran has ended, in whatever way: it holds nothing any more.
    #[inline]
    pub(super) fn close_window(&mut self, id: ExecutorId) {
        if let Some(window) = self.windows.remove(&id) {
            for grant in window.granted.into_values() {
                self.let_go(grant.payload);
            }
            self.leases.alarm();
        }
    }

    /// What an executor runs is to stop: nothing is brought for it any more.
    pub(super) fn stop_waiting(&mut self, id: ExecutorId) {
        let waits = self
            .windows
            .get_mut(&id)
            .and_then(|window| window.wanted.take());
        if let Some(wanted) = waits {
            self.give(id, wanted.name, ItemAnswer::Stopped);
        }
        self.answer_full(id, RoomAnswer::Stopped);
    }

    /// What an activation may hand on of an item that it reads: what it holds of it until it ends; all that it reads
    /// otherwise. None if it does not hold it so.
    pub(super) fn handed_on(
        &self,
        running: Running,
        name: ItemName,
        item: Payload,
    ) -> Option<Payload> {
        let Some(window) = self.window_of(running.place, running.node) else {
            return Some(item);
        };
        if !self.is_asked_for(item) {
            return Some(item);
        }
        let grant = window.granted.get(&name)?;
        (grant.told && grant.kept).then_some(grant.payload)
    }
}
