//! What activations read: payloads in slots, items of regions, constants, and what is there of alternatives.

use super::invocation::{Place, Read, Value};
use super::lease::{Account, Payload};
use super::program::{InputFrom, LocalNode, Program};
use super::region::items_of;
use super::{Core, Start};
use faasstore::descriptor::PayloadRef;

/// An input of an activation.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Bytes, or an absent input.
    One(PayloadRef),
    /// A list; [`Core::locate`] tells where each item lies.
    List(&'a [Payload]),
    /// A list that is read item by item; [`Core::locate_or_away`] tells of each item where it lies, or that it is to be asked
    /// for.
    Windowed(&'a [Payload], Account),
}

impl Core {
    /// Calls `each` with every input of the activation, in the node's order.
    #[inline]
    pub fn inputs(&self, start: &Start, mut each: impl FnMut(Input<'_>)) {
        if self.windows.contains_key(&start.executor) {
            let account = self.program_of(start.place).account;
            return self.each_input(start.place, start.node, |input| match input {
                Input::List(items) => each(Input::Windowed(items, account)),
                other => each(other),
            });
        }
        self.each_input(start.place, start.node, each);
    }

    #[inline]
    pub(super) fn each_input(
        &self,
        place: Place,
        node: LocalNode,
        mut each: impl FnMut(Input<'_>),
    ) {
        let program = self.program_of(place);
        for index in 0..program.inputs(&program.nodes[node as usize]).len() {
            each(self.located(self.input(place, program, node, index)));
        }
    }

    /// Calls `each` with every input of a node's delays, in their order.
    pub(super) fn each_delay_input(
        &self,
        place: Place,
        node: LocalNode,
        mut each: impl FnMut(Input<'_>),
    ) {
        let program = self.program_of(place);
        let planned = &program.nodes[node as usize];
        for index in program.inputs(planned).len()..program.all_inputs(planned).len() {
            each(self.located(self.input(place, program, node, index)));
        }
    }

    fn located<'a>(&self, read: Read<'a>) -> Input<'a> {
        match read {
            Read::Absent => Input::One(PayloadRef::ABSENT),
            Read::One(payload) => Input::One(self.leases.locate(payload)),
            Read::List(items) => Input::List(items),
        }
    }

    /// What an activation reads as the input at this place among all of its node's.
    #[inline]
    pub(super) fn input<'a>(
        &'a self,
        place: Place,
        program: &Program,
        node: LocalNode,
        index: usize,
    ) -> Read<'a> {
        let planned = &program.nodes[node as usize];
        let taken = self.taken_by(place, planned.at_least, node, index);
        let from = taken.unwrap_or_else(|| program.all_inputs(planned)[index].from);
        self.read(place, from, program)
    }

    /// Where an input of a join of some comes from, once that has started; none of any other node.
    #[inline]
    pub(super) fn taken_by(
        &self,
        place: Place,
        at_least: u32,
        node: LocalNode,
        index: usize,
    ) -> Option<InputFrom> {
        if at_least == 0 {
            return None;
        }
        let extra = self
            .extras
            .of(self.invocations[place as usize].node(node))?;
        Some(extra.taken.as_ref()?[index])
    }

    /// What lies where something comes from: of alternatives, what the first one has that has anything.
    #[inline]
    pub(super) fn read(&self, place: Place, from: InputFrom, program: &Program) -> Read<'_> {
        match from {
            InputFrom::Item(up) => self.item(place, up),
            InputFrom::FirstOf(span) => {
                let alternatives = program.alternatives(span).iter();
                let mut reads = alternatives.map(|from| self.read(place, *from, program));
                let there = reads.find(|read| !matches!(read, Read::Absent));
                there.unwrap_or(Read::Absent)
            }
            InputFrom::First(slot) => {
                let Value::List(list) = self.value_of(place, InputFrom::Slot(slot)) else {
                    return Read::Absent;
                };
                let mut items = self.lists.get(list).iter();
                let there = items.find(|item| !item.is_absent());
                there.map_or(Read::Absent, |item| Read::One(*item))
            }
            from => match self.value_of(place, from) {
                Value::Unset => Read::Absent,
                Value::One(payload) => Read::One(payload),
                Value::List(list) => Read::List(self.lists.get(list)),
            },
        }
    }

    /// Whether an input has anything.
    pub(super) fn is_present(&self, place: Place, from: InputFrom, program: &Program) -> bool {
        !matches!(self.read(place, from, program), Read::Absent)
    }

    /// The item of the region that lies so many levels outward, or the list of its items.
    pub(super) fn item(&self, mut place: Place, up: u8) -> Read<'_> {
        for _ in 0..up {
            place = self.invocations[place as usize].parent;
        }
        let invocation = &self.invocations[place as usize];
        let program = self.program(invocation.deployment);
        let scope = &program.scopes[usize::from(invocation.scope)];
        let Some(items) = self.list_of(invocation.parent, scope, program) else {
            return Read::Absent;
        };
        if scope.batch > 0 {
            let range = items_of(invocation.item, scope.batch, items.whole());
            return Read::List(items.range(range));
        }
        match items.get(invocation.item as usize) {
            Some(payload) if !payload.is_absent() => Read::One(payload),
            Some(_) | None => Read::Absent,
        }
    }

    /// What lies where something comes from that is no item and has no alternatives.
    #[inline]
    pub(super) fn value_of(&self, place: Place, from: InputFrom) -> Value {
        match from {
            InputFrom::Slot(slot) | InputFrom::Outer(slot) => {
                let mut invocation = &self.invocations[place as usize];
                loop {
                    if let Some(slot) = invocation.slot(slot) {
                        return slot.value;
                    }
                    if invocation.scope == 0 {
                        return Value::Unset;
                    }
                    invocation = &self.invocations[invocation.parent as usize];
                }
            }
            InputFrom::Constant(constant) => {
                self.constant(self.invocations[place as usize].deployment, constant)
            }
            InputFrom::First(_)
            | InputFrom::Item(_)
            | InputFrom::FirstOf(_)
            | InputFrom::Absent => Value::Unset,
        }
    }

    pub(super) fn constant(&self, deployment: u32, constant: u16) -> Value {
        let deployment = self.deployments[deployment as usize].as_ref();
        let constants = deployment.map(|deployment| &deployment.constants[..]);
        let constant = constants.and_then(|constants| constants.get(usize::from(constant)));
        constant.copied().unwrap_or(Value::Unset)
    }
}
