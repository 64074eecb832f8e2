//! How activations flow: a node becomes ready, is started, ends, and lowers its successors' counters.

use super::invocation::{Fan, ListId, NO_MAKER, Phase, Place, Value};
use super::lease::Payload;
use super::pool::{ExecutorId, Ready, Running, Waiting};
use super::program::{InputFrom, LocalNode, Program, SlotIndex};
use super::{Action, CompletionError, Core, Outbound, Output, Start, Timer};
use crate::wire::Failure;
use faasstore::descriptor::NO_ITEM;
use std::rc::Rc;

impl Core {
    /// An activation ended well.
    ///
    /// # Errors
    /// If the executor says what cannot be; then nothing has changed, and it is to be ended.
    #[inline]
    pub fn completed(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        activation: u32,
        outputs: &[Output],
    ) -> Result<(), CompletionError> {
        let executor = self.executor_mut(id).filter(|e| e.activation == activation);
        let executor = executor.ok_or(CompletionError::Activation)?;
        let running = executor.running.ok_or(CompletionError::Activation)?;
        let deployment = executor.deployment;
        let program = Rc::clone(self.program(deployment));
        let node = &program.nodes[running.node as usize];
        self.check_outputs(running, node, &program, outputs)?;
        if let Some(executor) = self.executor_mut(id) {
            executor.running = None;
        }
        self.counters.activations += 1;
        let invocation = &mut self.invocations[running.place as usize];
        invocation.running -= 1;
        if invocation.phase == Phase::Over {
            self.counters.late_dropped += 1;
            self.drop_outputs(outputs);
            self.executor_idle(now_ns, id);
            self.free_if_over(now_ns, running.place);
            return Ok(());
        }
        if let Some(timing) = invocation.timing.as_mut() {
            timing.nodes[running.node as usize].ended(running.started_ns, now_ns);
        }
        if running.item == NO_ITEM {
            self.store_outputs(running, &program, outputs, id);
            self.take_in_hand(now_ns, id);
            self.node_ended(now_ns, running.place, running.node, id.0, &program);
        } else {
            let last = self.store_item(running, node, outputs);
            self.take_in_hand(now_ns, id);
            if last {
                self.gather(running.place, running.node, &program);
                self.node_ended(now_ns, running.place, running.node, id.0, &program);
            }
        }
        self.drain_ended(now_ns);
        self.lay_down(now_ns);
        Ok(())
    }

    /// An activation returned an error.
    ///
    /// # Errors
    /// If the executor did not run that activation; it is to be ended.
    pub fn failed(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        activation: u32,
        cause: String,
    ) -> Result<(), CompletionError> {
        let executor = self.executor_mut(id).filter(|e| e.activation == activation);
        let executor = executor.ok_or(CompletionError::Activation)?;
        let running = executor.running.take().ok_or(CompletionError::Activation)?;
        // May come while actions are carried out, not as an event of its own.
        self.revision += 1;
        self.executor_idle(now_ns, id);
        self.attempt_failed(now_ns, running, cause);
        self.drain_ended(now_ns);
        Ok(())
    }

    pub(super) fn is_current(&self, place: Place, generation: u32) -> bool {
        let invocation = &self.invocations[place as usize];
        invocation.generation == generation && invocation.phase == Phase::Running
    }

    #[inline]
    pub(super) fn program_of(&self, place: Place) -> &Rc<Program> {
        self.program(self.invocations[place as usize].deployment)
    }

    /// All that a node waited for has ended: start it, or queue it.
    #[inline]
    pub(super) fn ready(&mut self, now_ns: u64, place: Place, index: LocalNode, maker: u32) {
        let invocation = &self.invocations[place as usize];
        if invocation.phase != Phase::Running {
            return;
        }
        self.counters.triggers += 1;
        let node = &self.program(invocation.deployment).nodes[index as usize];
        match node.foreach {
            None => self.dispatch(now_ns, place, index, NO_ITEM, 1, maker),
            Some(slot) => self.ready_foreach(now_ns, place, index, slot),
        }
    }

    fn ready_foreach(&mut self, now_ns: u64, place: Place, index: LocalNode, slot: SlotIndex) {
        let slot = &self.invocations[place as usize].slots[slot as usize];
        if let Value::List(list) = slot.value {
            self.fan_out(now_ns, place, index, list);
        } else {
            let cause = "foreach over what is no list".to_owned();
            self.fail_node(now_ns, place, index, 1, cause);
        }
    }

    fn fan_out(&mut self, now_ns: u64, place: Place, index: LocalNode, list: ListId) {
        let program = Rc::clone(self.program_of(place));
        let node = &program.nodes[index as usize];
        let items = self.lists.get(list).len();
        let gathered = program
            .outputs(node)
            .iter()
            .map(|output| {
                output.slot.map(|_| {
                    let gathered = self.lists.open();
                    self.lists.get_mut(gathered).resize(items, Payload::EMPTY);
                    gathered
                })
            })
            .collect();
        let fan = Box::new(Fan {
            items: items as u32,
            next: 0,
            left: items as u32,
            gathered,
        });
        self.invocations[place as usize].nodes[index as usize].fan = Some(fan);
        if items == 0 {
            self.gather(place, index, &program);
            // Later, not here: a chain of such nodes must not nest calls as deep as it is long.
            self.ended.push((place, index, NO_MAKER));
            return;
        }
        self.run_fan(now_ns, place, index, node.pool);
    }

    /// Starts items while executors are idle; queues the rest.
    fn run_fan(&mut self, now_ns: u64, place: Place, node: LocalNode, pool_index: u16) {
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
                pool.waiting.push_back(Waiting {
                    place,
                    generation,
                    ready: Ready::Fan { node },
                });
                self.want_executor(deployment, pool_index);
                return;
            };
            self.take_item(place, node);
            self.start(now_ns, executor, place, node, item, 1);
        }
    }

    pub(super) fn next_item(&self, place: Place, node: LocalNode) -> Option<u32> {
        let fan = self.invocations[place as usize].nodes[node as usize]
            .fan
            .as_ref()?;
        (fan.next < fan.items).then_some(fan.next)
    }

    pub(super) fn take_item(&mut self, place: Place, node: LocalNode) {
        if let Some(fan) = self.invocations[place as usize].nodes[node as usize]
            .fan
            .as_mut()
        {
            fan.next += 1;
        }
    }

    #[inline]
    pub(super) fn dispatch(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        item: u32,
        attempt: u32,
        maker: u32,
    ) {
        let invocation = &self.invocations[place as usize];
        let (index, generation) = (invocation.deployment, invocation.generation);
        let pool_index = self.program(index).nodes[node as usize].pool;
        if let Some(executor) = self.take_hand(index, pool_index) {
            self.start(now_ns, executor, place, node, item, attempt);
            return;
        }
        let pool = &mut self.deployment_mut(index).pools[usize::from(pool_index)];
        if let Some(executor) = pool.take_idle(maker) {
            self.start(now_ns, executor, place, node, item, attempt);
            return;
        }
        pool.waiting.push_back(Waiting {
            place,
            generation,
            ready: Ready::Activation {
                node,
                item,
                attempt,
            },
        });
        self.want_executor(index, pool_index);
    }

    #[inline]
    pub(super) fn start(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        place: Place,
        node: LocalNode,
        item: u32,
        attempt: u32,
    ) {
        let invocation = &mut self.invocations[place as usize];
        invocation.running += 1;
        if let Some(timing) = invocation.timing.as_mut() {
            timing.nodes[node as usize].started(now_ns);
        }
        let deployment = invocation.deployment;
        let timeout_ns = self.program(deployment).nodes[node as usize].timeout_ns;
        let deadline_ns = timeout_ns.map(|timeout| now_ns + timeout);
        let Some(executor) = self.executor_mut(id) else {
            unreachable!("an executor that is idle, or was told to start, is there");
        };
        debug_assert!(executor.running.is_none(), "an idle executor runs nothing");
        let activation = executor.start(
            Running {
                place,
                node,
                item,
                attempt,
                started_ns: now_ns,
            },
            deadline_ns,
        );
        if let Some(due_ns) = deadline_ns {
            self.arm_timeout(id, due_ns);
        }
        self.actions.push(Action::Start(Start {
            executor: id,
            activation,
            place,
            node,
            item,
            attempt,
            deadline_ns,
        }));
    }

    /// Handles nodes that ended without an event of their own.
    pub(super) fn drain_ended(&mut self, now_ns: u64) {
        while let Some((place, node, maker)) = self.ended.pop() {
            if self.invocations[place as usize].phase == Phase::Running {
                let program = Rc::clone(self.program_of(place));
                self.node_ended(now_ns, place, node, maker, &program);
            }
        }
    }

    /// A node has ended well: trigger and send.
    fn node_ended(
        &mut self,
        now_ns: u64,
        place: Place,
        index: LocalNode,
        maker: u32,
        program: &Program,
    ) {
        let node = &program.nodes[index as usize];
        let generation = self.invocations[place as usize].generation;
        for successor in program.successors(node) {
            let state = &mut self.invocations[place as usize].nodes[*successor as usize];
            state.waiting -= 1;
            if state.waiting == 0 {
                self.ready(now_ns, place, *successor, maker);
            }
        }
        // What it has triggered may have failed the invocation, and its place may be another's by the time of tidying.
        if !self.is_current(place, generation) {
            return;
        }
        if node.told {
            self.tell_remote(place, index, program);
        }
        self.triggered.push((place, generation, index));
    }

    /// Does what is left of nodes whose successors have been triggered.
    pub(super) fn settle_triggered(&mut self) {
        while let Some((place, generation, node)) = self.triggered.pop() {
            if self.is_current(place, generation) {
                self.settle_node(place, node);
            }
        }
    }

    /// A node has ended well and its successors know: let go of what it read.
    fn settle_node(&mut self, place: Place, index: LocalNode) {
        let program = Rc::clone(self.program_of(place));
        let node = &program.nodes[index as usize];
        for output in program.outputs(node) {
            if let Some(slot) = output.slot
                && self.invocations[place as usize].slots[slot as usize].uses == 0
            {
                self.clear_slot(place, slot);
            }
        }
        for input in program.inputs(node) {
            if let InputFrom::Slot(slot) = input {
                self.slot_read(place, *slot);
            }
        }
        if let Some(slot) = node.foreach {
            self.slot_read(place, slot);
        }
        let invocation = &mut self.invocations[place as usize];
        invocation.nodes_left -= 1;
        if invocation.nodes_left == 0 {
            self.part_ended(place);
        }
    }

    /// A slot is owed one read less.
    #[inline]
    fn slot_read(&mut self, place: Place, slot: SlotIndex) {
        let state = &mut self.invocations[place as usize].slots[slot as usize];
        debug_assert!(state.uses > 0, "a slot owes its readers one read each");
        state.uses -= 1;
        if state.uses == 0 {
            self.clear_slot(place, slot);
        }
    }

    fn tell_remote(&mut self, place: Place, index: LocalNode, program: &Program) {
        let node = &program.nodes[index as usize];
        for read in &program.details[index as usize].remote {
            let outputs = read
                .outputs
                .iter()
                .filter_map(|output| {
                    let slot = program.outputs(node)[usize::from(*output)].slot?;
                    Some((*output, self.outgoing(place, slot)))
                })
                .collect();
            self.send(
                place,
                program,
                read.worker,
                Outbound::StateEvent {
                    node: node.id,
                    outputs,
                },
            );
        }
    }

    /// An attempt came to nothing: try again, or fail the invocation.
    pub(super) fn attempt_failed(&mut self, now_ns: u64, running: Running, cause: String) {
        let place = running.place;
        let invocation = &mut self.invocations[place as usize];
        invocation.running -= 1;
        if let Some(timing) = invocation.timing.as_mut() {
            timing.nodes[running.node as usize].failures += 1;
        }
        if invocation.phase == Phase::Over {
            self.counters.late_dropped += 1;
            self.free_if_over(now_ns, place);
            return;
        }
        let generation = invocation.generation;
        let retry = self.program_of(place).details[running.node as usize]
            .retry
            .clone();
        if running.attempt >= retry.attempts {
            self.fail_node(now_ns, place, running.node, running.attempt, cause);
            return;
        }
        self.counters.retries += 1;
        let attempt = running.attempt + 1;
        let doublings = (running.attempt - 1).min(20);
        let backoff_ns = (u64::from(retry.backoff_ms) * 1_000_000).saturating_mul(1 << doublings);
        if backoff_ns == 0 {
            self.dispatch(now_ns, place, running.node, running.item, attempt, NO_MAKER);
            return;
        }
        let (node, item) = (running.node, running.item);
        self.set_timer(
            now_ns.saturating_add(backoff_ns),
            Timer::Retry {
                place,
                generation,
                node,
                item,
                attempt,
            },
        );
    }

    pub(super) fn fail_node(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        attempt: u32,
        cause: String,
    ) {
        let program = self.program_of(place);
        let failure = Failure::Node {
            node: program.name(node).to_owned(),
            worker: program.my_name().to_owned(),
            attempt,
            cause,
        };
        self.fail(now_ns, place, failure);
    }
}
