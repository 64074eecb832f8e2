//! Payloads of an invocation: into their slots, out to clients and peers, and let go of. Who holds one counts it.

use super::invocation::{ListId, NO_MAKER, Place, Value};
use super::lease::{Account, Payload, Reach};
use super::program::Program;
use super::{Action, Core, Incoming, Outgoing};
use crate::plan::{Limits, SectionPlan};
use crate::reads::Way;
use crate::wire::{self, Failure, ITEM_ABSENT, Section};
use faasstore::descriptor::{InvocationId, PayloadRef};

impl Core {
    #[inline]
    pub(super) fn set_slot(
        &mut self,
        place: Place,
        slot: u32,
        value: Value,
        bytes: u64,
        maker: u32,
    ) {
        let invocation = &mut self.invocations[place as usize];
        let root = invocation.root;
        let state = invocation.slot_mut(slot);
        state.value = value;
        state.maker = maker;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            timing.slot_bytes[slot as usize] += bytes;
        }
    }

    pub(super) fn clear_slot(&mut self, place: Place, slot: u32) {
        let state = self.invocations[place as usize].slot_mut(slot);
        let value = std::mem::replace(&mut state.value, Value::Unset);
        self.drop_value(value);
    }

    pub(super) fn close_list(&mut self, list: ListId) {
        let Self {
            lists,
            leases,
            actions,
            ..
        } = self;
        lists.close(list, leases, |freed| actions.push(freed.into()));
    }

    pub(super) fn release(&mut self, range: PayloadRef) {
        if range.is_range() {
            self.actions.push(Action::Release(range));
        }
    }

    /// What another worker needs of what a slot holds, held once more for sending.
    pub(super) fn outgoing(
        &mut self,
        place: Place,
        slot: u32,
        needed: Option<&SectionPlan>,
    ) -> Outgoing {
        let slot = self.invocations[place as usize].slot(slot);
        self.hold_for(place, slot.map_or(Value::Unset, |slot| slot.value), needed)
    }

    /// Puts an incoming payload into its slot; returns why the invocation must fail, if it must.
    pub(super) fn receive(
        &mut self,
        place: Place,
        slot: Option<u32>,
        incoming: Incoming,
        of: &str,
        program: &Program,
    ) -> Option<Failure> {
        let refused = matches!(incoming, Incoming::Refused(_));
        let cause = self.put(place, slot, incoming).err()?;
        if refused {
            let carried = &mut self.leases.tally_mut(program.account).carried;
            carried.arrivals_refused += 1;
        }
        Some(self.payload_failure(of, program, cause))
    }

    /// Puts an incoming payload into its slot, unless nobody reads it (any more).
    pub(super) fn put(
        &mut self,
        place: Place,
        slot: Option<u32>,
        incoming: Incoming,
    ) -> Result<(), String> {
        if let Incoming::Refused(cause) = incoming {
            return Err(cause);
        }
        let slot_of = |slot: &u32| self.invocations[place as usize].slot(*slot);
        let read = |slot: &u32| slot_of(slot).is_some_and(|slot| slot.uses > 0);
        let way = way_of(&incoming, &self.program_of(place).plan.limits);
        self.keep_come(place, slot.filter(read), incoming, way)
    }

    /// Puts what was made here into its slot, whether it is read here or elsewhere; drops it if it has none.
    pub(super) fn keep(
        &mut self,
        place: Place,
        slot: Option<u32>,
        incoming: Incoming,
    ) -> Result<(), String> {
        self.keep_come(place, slot, incoming, Way::Shared)
    }

    fn keep_come(
        &mut self,
        place: Place,
        slot: Option<u32>,
        incoming: Incoming,
        way: Way,
    ) -> Result<(), String> {
        if let Incoming::Refused(cause) = incoming {
            return Err(cause);
        }
        let Some(slot) = slot else {
            self.drop_incoming(&incoming);
            return Ok(());
        };
        if let Some(cause) = self.lacks(place, slot, &incoming) {
            self.drop_incoming(&incoming);
            return Err(cause);
        }
        let account = self.program_of(place).account;
        let lent = matches!(incoming, Incoming::Lent(_) | Incoming::LentList { .. });
        let value = self.take_incoming(account, incoming, way);
        let bytes = self.value_bytes(value);
        self.clear_slot(place, slot);
        self.set_slot(place, slot, value, bytes, NO_MAKER);
        if lent {
            self.note_lent(place, slot);
        }
        Ok(())
    }

    /// What is wrong with a list that came for a slot: that some of its items did not, while all are needed.
    fn lacks(&self, place: Place, slot: u32, incoming: &Incoming) -> Option<String> {
        let (here, Some(Section { first, whole })) = (match incoming {
            Incoming::List { items, section, .. } | Incoming::Arriving { items, section, .. } => {
                (items.len(), section)
            }
            Incoming::LentList { items, section } => (items.len(), section),
            Incoming::One(_) | Incoming::Lent(_) | Incoming::Refused(_) => return None,
        }) else {
            return None;
        };
        let lacks = here < *whole as usize;
        let complete = self.program_of(place).slots[slot as usize].complete;
        (lacks && complete).then(|| {
            format!(
                "{here} items from item {first} on came of a list of {whole}, and all of it is needed"
            )
        })
    }

    /// Takes charge of a payload that came this way.
    pub(super) fn take_incoming(
        &mut self,
        account: Account,
        incoming: Incoming,
        way: Way,
    ) -> Value {
        match incoming {
            Incoming::One(range) | Incoming::Lent(range) => {
                Value::One(self.leases.take_come(account, range, way))
            }
            Incoming::List {
                range,
                items,
                section,
            } => {
                let whole = self.leases.take_come(account, range, way);
                self.take_items(whole, &items, section)
            }
            Incoming::Arriving {
                range,
                items,
                section,
                arrival,
            } => {
                let there = items.iter().filter(|(_, length)| *length != ITEM_ABSENT);
                let ends = there.map(|(offset, length)| offset + length).collect();
                let whole = self.leases.take_arriving(account, range, arrival, ends);
                self.take_items(whole, &items, section)
            }
            Incoming::LentList { items, section } => {
                let list = self.lists.open();
                self.lists.set_section(list, section);
                for item in items {
                    let item = match item {
                        PayloadRef::ABSENT => Payload::ABSENT,
                        range => self.leases.take_come(account, range, way),
                    };
                    self.lists.get_mut(list).push(item);
                }
                Value::List(list)
            }
            // Whoever asks for it is refused first.
            Incoming::Refused(_) => Value::Unset,
        }
    }

    /// A list of parts of a payload, whose own view ends with that.
    fn take_items(
        &mut self,
        whole: Payload,
        items: &[(u64, u64)],
        section: Option<Section>,
    ) -> Value {
        let list = self.lists.open();
        self.lists.set_section(list, section);
        for (offset, length) in items {
            let part = match *length {
                ITEM_ABSENT => Payload::ABSENT,
                length => whole.part(*offset, length).unwrap_or(Payload::EMPTY),
            };
            self.leases.hold(part);
            self.lists.get_mut(list).push(part);
        }
        self.let_go(whole);
        Value::List(list)
    }

    pub(super) fn payload_failure(&self, of: &str, program: &Program, cause: String) -> Failure {
        Failure::Payload {
            node: of.to_owned(),
            worker: program.my_name().to_owned(),
            cause,
        }
    }

    /// What is there for all invocations is never carried out of memory.
    pub(super) fn keep_here(&mut self, value: Value) {
        match value {
            Value::Unset => {}
            Value::One(payload) => self.leases.keep(payload),
            Value::List(list) => {
                for item in self.lists.get(list) {
                    self.leases.keep(*item);
                }
            }
        }
    }

    /// The invocation that lives in a place, if it was taken here and counts at the door until all that it sends has gone.
    fn sender(&self, place: Place) -> Option<InvocationId> {
        let root = self.invocations[place as usize].root;
        let invocation = &self.invocations[root as usize];
        let proven = self.program(invocation.deployment).plan.memory.is_some();
        (proven && invocation.entry.is_some()).then_some(invocation.id)
    }

    fn hold_to_send(&mut self, sender: Option<InvocationId>, payload: Payload) {
        debug_assert_eq!(
            self.leases.reach(payload),
            Reach::Here,
            "what is handed over stays here"
        );
        self.leases.hold(payload);
        self.leases.stay(payload);
        if let (Some(lease), Some(sender)) = (self.leases.send(payload), sender) {
            self.sending.begin(lease, sender);
        }
    }

    /// One more hold of a value, for an invocation to send.
    pub(super) fn hold_value(&mut self, place: Place, value: Value) -> Outgoing {
        let sender = self.sender(place);
        match value {
            Value::Unset => Outgoing::One(Payload::EMPTY),
            Value::One(payload) => {
                self.hold_to_send(sender, payload);
                Outgoing::One(payload)
            }
            Value::List(list) => {
                let items = self.lists.get(list).to_vec();
                for item in &items {
                    self.hold_to_send(sender, *item);
                }
                match self.lists.section(list) {
                    Some(section) => Outgoing::Section(items, section),
                    None => Outgoing::List(items),
                }
            }
        }
    }

    /// One more hold of what another worker needs of a value, for an invocation to send: of a list perhaps not everything.
    pub(super) fn hold_for(
        &mut self,
        place: Place,
        value: Value,
        needed: Option<&SectionPlan>,
    ) -> Outgoing {
        let (Value::List(list), Some(needed)) = (value, needed) else {
            return self.hold_value(place, value);
        };
        let sender = self.sender(place);
        let here = self.lists.items(list);
        let range = here.common(needed.of(here.whole()));
        let section = Section {
            first: range.start as u32,
            whole: here.whole() as u32,
        };
        let items = here.range(range).to_vec();
        for item in &items {
            self.hold_to_send(sender, *item);
        }
        Outgoing::Section(items, section)
    }

    /// A value of its own, which holds the same payloads.
    pub(super) fn copy_value(&mut self, value: Value) -> Value {
        match value {
            Value::Unset => Value::Unset,
            Value::One(payload) => {
                self.leases.hold(payload);
                Value::One(payload)
            }
            Value::List(list) => {
                let copy = self.lists.open();
                let section = self.lists.section(list);
                self.lists.set_section(copy, section);
                let items = self.lists.get(list).to_vec();
                items.iter().for_each(|item| self.leases.hold(*item));
                *self.lists.get_mut(copy) = items;
                Value::List(copy)
            }
        }
    }

    pub(super) fn drop_value(&mut self, value: Value) {
        match value {
            Value::Unset => {}
            Value::One(payload) => self.let_go(payload),
            Value::List(list) => self.close_list(list),
        }
    }

    pub(super) fn value_bytes(&self, value: Value) -> u64 {
        match value {
            Value::Unset => 0,
            Value::One(payload) => payload.length(),
            Value::List(list) => self.lists.get(list).iter().map(Payload::length).sum(),
        }
    }

    pub(super) fn drop_incoming(&mut self, incoming: &Incoming) {
        match incoming {
            Incoming::One(range) | Incoming::Lent(range) | Incoming::List { range, .. } => {
                self.release(*range);
            }
            Incoming::Arriving { range, arrival, .. } => {
                self.leases.refuse_arriving(*range, *arrival);
            }
            Incoming::LentList { items, .. } => {
                items.iter().for_each(|item| self.release(*item));
            }
            Incoming::Refused(_) => {}
        }
    }
}

/// How a payload has come that another worker or a client has sent: what is short enough travels in the message itself.
pub(super) fn way_of(incoming: &Incoming, limits: &Limits) -> Way {
    let bytes = match incoming {
        Incoming::Lent(_) | Incoming::LentList { .. } => return Way::Lent,
        Incoming::Arriving { .. } => return Way::Peer,
        Incoming::One(range) => range.length,
        Incoming::List { items, .. } => {
            let padded = items.iter().map(|(_, bytes)| wire::padded_item(*bytes));
            padded.fold(0, |sum: u64, item| {
                sum.saturating_add(item.unwrap_or(u64::MAX))
            })
        }
        Incoming::Refused(_) => 0,
    };
    if bytes <= u64::from(limits.inline_bytes_max) {
        Way::Inline
    } else {
        Way::Peer
    }
}
