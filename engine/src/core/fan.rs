//! Foreach: one activation for each item, or for each batch of them, as many at once as there are executors and the node
//! allows; their outputs are gathered in the order of the items.

use super::Core;
use super::failure::NodeFailure;
use super::invocation::{Fan, ListId, NO_MAKER, Place, Value};
use super::lease::Payload;
use super::outcome::Outcome;
use super::pool::{Ready, Running, Waiting};
use super::program::{ListFrom, LocalNode, Program};
use super::trigger::Ended;
use crate::plan::ErrorClass;
use std::rc::Rc;

impl Core {
    pub(super) fn fan(&self, place: Place, node: LocalNode) -> Option<&Fan> {
        let state = &self.invocations[place as usize].nodes[node as usize];
        self.extras.of(state)?.fan.as_ref()
    }

    pub(super) fn fan_mut(&mut self, place: Place, node: LocalNode) -> Option<&mut Fan> {
        let state = &self.invocations[place as usize].nodes[node as usize];
        self.extras.of_mut(state)?.fan.as_mut()
    }

    fn take_fan(&mut self, place: Place, node: LocalNode) -> Option<Fan> {
        let state = &self.invocations[place as usize].nodes[node as usize];
        self.extras.of_mut(state)?.fan.take()
    }

    pub(super) fn ready_foreach(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        list: ListFrom,
    ) {
        if let Value::List(list) = self.list_value(place, list) {
            self.fan_out(now_ns, place, node, list);
        } else {
            let failure = NodeFailure {
                attempt: 1,
                class: ErrorClass::Input,
                cause: "foreach over what is no list".to_owned(),
            };
            self.node_failed(now_ns, place, node, failure);
        }
    }

    fn list_value(&self, place: Place, list: ListFrom) -> Value {
        let invocation = &self.invocations[place as usize];
        match list {
            ListFrom::Slot(slot) => invocation.slots[slot as usize].value,
            ListFrom::Constant(constant) => self.constant(invocation.deployment, constant),
        }
    }

    fn fan_out(&mut self, now_ns: u64, place: Place, index: LocalNode, list: ListId) {
        let program = Rc::clone(self.program_of(place));
        let node = &program.nodes[index as usize];
        let details = &program.details[index as usize];
        let length = self.lists.get(list).len();
        let activations = match details.batch {
            0 => length,
            batch => length.div_ceil(batch as usize),
        };
        let gathered = program
            .outputs(node)
            .iter()
            .map(|output| {
                output.slot.map(|_| {
                    let gathered = self.lists.open();
                    let list = self.lists.get_mut(gathered);
                    list.resize(activations, Payload::EMPTY);
                    gathered
                })
            })
            .collect();
        let state = &mut self.invocations[place as usize].nodes[index as usize];
        self.extras.make(state).fan = Some(Fan {
            items: activations as u32,
            next: 0,
            left: activations as u32,
            begun: 0,
            begun_max: details.parallelism,
            batch: details.batch,
            queued: false,
            failed: None,
            gathered,
        });
        if activations == 0 {
            self.gather(place, index, &program);
            // Later, not here: a chain of such nodes must not nest calls as deep as it is long.
            self.ended.push(Ended {
                place,
                node: index,
                maker: NO_MAKER,
                outcome: Outcome::Well,
            });
            return;
        }
        self.run_fan(now_ns, place, index, node.pool);
    }

    /// Starts items while executors are idle; queues the rest.
    pub(super) fn run_fan(&mut self, now_ns: u64, place: Place, node: LocalNode, pool_index: u16) {
        let (deployment, generation) = {
            let invocation = &self.invocations[place as usize];
            (invocation.deployment, invocation.generation)
        };
        loop {
            let Some(item) = self.next_item(place, node) else {
                return;
            };
            let in_hand = self.take_hand(deployment, pool_index);
            let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
            let Some(executor) = in_hand.or_else(|| pool.take_idle(NO_MAKER)) else {
                if let Some(fan) = self.fan_mut(place, node)
                    && !std::mem::replace(&mut fan.queued, true)
                {
                    let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
                    pool.waiting.push_back(Waiting {
                        place,
                        generation,
                        ready: Ready::Fan { node },
                    });
                }
                self.want_executor(deployment, pool_index);
                return;
            };
            self.take_item(place, node);
            self.start(now_ns, executor, place, node, item, 1);
        }
    }

    /// The next item that may start.
    #[inline]
    pub(super) fn next_item(&self, place: Place, node: LocalNode) -> Option<u32> {
        let fan = self.fan(place, node)?;
        (fan.next < fan.items && fan.begun < fan.begun_max).then_some(fan.next)
    }

    #[inline]
    pub(super) fn take_item(&mut self, place: Place, node: LocalNode) {
        if let Some(fan) = self.fan_mut(place, node) {
            fan.next += 1;
            fan.begun += 1;
        }
    }

    /// Whether the node has failed while items of it ran: what these return is late.
    #[inline]
    pub(super) fn fan_has_failed(&self, place: Place, node: LocalNode) -> bool {
        self.fan(place, node)
            .is_some_and(|fan| fan.failed.is_some())
    }

    /// An item has ended for good: the node has with the last one, or another may begin.
    #[inline]
    pub(super) fn item_ended(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        maker: u32,
        program: &Program,
    ) {
        let Some(fan) = self.fan_mut(place, index) else {
            return;
        };
        fan.begun -= 1;
        if fan.failed.is_some() {
            if fan.begun == 0 {
                self.fan_failed(now_ns, place, index);
            }
            return;
        }
        fan.left -= 1;
        if fan.left == 0 {
            self.gather(place, index, program);
            let ended = Ended {
                place,
                node: index,
                maker,
                outcome: Outcome::Well,
            };
            self.node_ended(now_ns, ended, program);
        } else if fan.begun_max != u32::MAX && fan.next < fan.items {
            self.run_fan(now_ns, place, index, program.nodes[index as usize].pool);
        }
    }

    /// An item has failed for good, and the node with it, once what still runs of it has come back.
    pub(super) fn fail_fan(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        failure: NodeFailure,
    ) {
        let generation = self.invocations[place as usize].generation;
        let runs = |running: Option<Running>| {
            running.is_some_and(|running| (running.place, running.node) == (place, node))
        };
        // Those that wait for another attempt will not have it: only these come back.
        let still_run = self.executors.iter().flatten();
        let still_run = still_run.filter(|executor| runs(executor.running)).count() as u32;
        debug_assert!(self.is_current(place, generation));
        let Some(fan) = self.fan_mut(place, node) else {
            return;
        };
        fan.failed = Some(failure);
        fan.next = fan.items;
        fan.begun = still_run;
        if still_run == 0 {
            self.fan_failed(now_ns, place, node);
        }
    }

    fn fan_failed(&mut self, now_ns: u64, place: Place, node: LocalNode) {
        let Some(fan) = self.take_fan(place, node) else {
            return;
        };
        for list in fan.gathered.into_iter().flatten() {
            self.close_list(list);
        }
        if let Some(failure) = fan.failed {
            self.settle_failure(now_ns, place, node, failure);
        }
    }

    /// All items have ended: their outputs become lists.
    pub(super) fn gather(&mut self, place: Place, index: LocalNode, program: &Program) {
        let Some(fan) = self.take_fan(place, index) else {
            return;
        };
        let node = &program.nodes[index as usize];
        for (output, gathered) in program.outputs(node).iter().zip(fan.gathered) {
            if let (Some(slot), Some(list)) = (output.slot, gathered) {
                let bytes = self.lists.get(list).iter().map(Payload::length).sum();
                self.set_slot(place, slot, Value::List(list), bytes, NO_MAKER);
            }
        }
    }
}
