//! How activations flow: a node becomes ready, is started, ends, and lowers its successors' counters.

use super::invocation::{Fan, ListId, NO_MAKER, Phase, Place, Value};
use super::lease::Payload;
use super::pool::{Executor, ExecutorId, Ready, Running, Waiting};
use super::program::{LocalNode, Node, Program, is_list};
use super::{Action, CompletionError, Core, Outbound, Outgoing, Output, Piece, Start, Timer};
use crate::plan::DeploymentId;
use crate::wire::Failure;
use faasstore::descriptor::{NO_ITEM, PayloadRef};
use std::rc::Rc;

impl Core {
    /// An executor has greeted and is idle. The lane chooses the place; it must be free.
    pub fn executor_joined(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        deployment: DeploymentId,
        executable: u16,
    ) {
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            // The deployment went while the executor started.
            self.actions.push(Action::Stop(id));
            return;
        };
        let place = id.0 as usize;
        if self.executors.len() <= place {
            self.executors.resize_with(place + 1, || None);
        }
        self.executors[place] = Some(Executor {
            deployment: index,
            pool: executable,
            activation: 0,
            running: None,
            deadline_ns: None,
            timer_due_ns: None,
            idle_since_ns: now_ns,
        });
        let pool = &mut self.deployment_mut(index).pools[usize::from(executable)];
        pool.members += 1;
        pool.wanted = pool.wanted.saturating_sub(1);
        self.executor_idle(now_ns, id);
        // A wide foreach waits as one entry, whatever its width: the pool grows by one more until it has its scale.
        self.want_executor(index, executable);
        self.drain_ended(now_ns);
    }

    /// No executor could be started. If none is left or under way, what waits for one fails.
    pub fn executor_refused(
        &mut self,
        now_ns: u64,
        deployment: DeploymentId,
        executable: u16,
        reason: &str,
    ) {
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            return;
        };
        let pool = &mut self.deployment_mut(index).pools[usize::from(executable)];
        pool.wanted = pool.wanted.saturating_sub(1);
        if pool.members + pool.wanted > 0 {
            return;
        }
        for waiting in std::mem::take(&mut pool.waiting) {
            let (node, attempt) = match waiting.ready {
                Ready::Activation { node, attempt, .. } => (node, attempt),
                Ready::Fan { node } => (node, 1),
            };
            if self.is_current(waiting.place, waiting.generation) {
                self.fail_node(
                    now_ns,
                    waiting.place,
                    node,
                    attempt,
                    format!("no executor could be started: {reason}"),
                );
            }
        }
    }

    /// An executor gets no more work, and why: what it ran has failed. Its process is still to end, and
    /// [`Core::executor_left`] to follow; until then there is no room for another in its place.
    pub fn executor_condemned(&mut self, now_ns: u64, id: ExecutorId, cause: &str) {
        let Some(executor) = self
            .executors
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        let (deployment, pool, running) =
            (executor.deployment, executor.pool, executor.running.take());
        let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
        pool.idle.retain(|idle| *idle != id);
        self.lost(now_ns, running, cause);
    }

    /// An executor's process has ended, and why. What it ran has failed.
    pub fn executor_left(&mut self, now_ns: u64, id: ExecutorId, cause: &str) {
        let Some(executor) = self.executors.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        let (deployment, pool_index) = (executor.deployment, executor.pool);
        let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
        pool.idle.retain(|idle| *idle != id);
        pool.members -= 1;
        self.want_executor(deployment, pool_index);
        self.lost(now_ns, executor.running, cause);
    }

    /// What an executor ran has come to nothing with it.
    fn lost(&mut self, now_ns: u64, running: Option<Running>, cause: &str) {
        if let Some(running) = running {
            self.attempt_failed(now_ns, running, cause.to_owned());
        }
        self.drain_ended(now_ns);
    }

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
        let executor = self
            .executors
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut);
        let executor = executor
            .filter(|e| e.activation == activation)
            .ok_or(CompletionError::Activation)?;
        let running = executor.running.ok_or(CompletionError::Activation)?;
        let program = Rc::clone(self.program_of(running.place));
        let node = &program.nodes[running.node as usize];
        self.check_outputs(running, node, &program, outputs)?;
        if let Some(executor) = self.executors[id.0 as usize].as_mut() {
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
            self.store_outputs(running, node, outputs, id);
            self.executor_idle(now_ns, id);
            self.node_ended(now_ns, running.place, running.node, id.0);
        } else {
            let last = self.store_item(running, node, outputs);
            self.executor_idle(now_ns, id);
            if last {
                self.gather(running.place, running.node, node);
                self.node_ended(now_ns, running.place, running.node, id.0);
            }
        }
        self.drain_ended(now_ns);
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
        let executor = self
            .executors
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut);
        let executor = executor
            .filter(|e| e.activation == activation)
            .ok_or(CompletionError::Activation)?;
        let running = executor.running.take().ok_or(CompletionError::Activation)?;
        self.executor_idle(now_ns, id);
        self.attempt_failed(now_ns, running, cause);
        self.drain_ended(now_ns);
        Ok(())
    }

    /// Lets due timers act.
    pub fn tick(&mut self, now_ns: u64) {
        while let Some(std::cmp::Reverse((due_ns, _, timer))) = self.timers.peek().copied() {
            if due_ns > now_ns {
                break;
            }
            self.timers.pop();
            match timer {
                Timer::Retry {
                    place,
                    generation,
                    node,
                    item,
                    attempt,
                } => {
                    if self.is_current(place, generation) {
                        self.dispatch(now_ns, place, node, item, attempt, NO_MAKER);
                    }
                }
                Timer::Timeout { executor } => self.time_out(now_ns, due_ns, executor),
                Timer::Grace {
                    executor,
                    place,
                    generation,
                } => {
                    if self.runs_for(executor, place, generation) {
                        let cause =
                            "its invocation is over and the grace period has passed".to_owned();
                        self.actions.push(Action::Kill { executor, cause });
                    }
                }
                Timer::KeepAlive { deployment, pool } => {
                    self.end_idle_executors(now_ns, deployment, pool)
                }
                Timer::Orphan { place, generation } => self.end_orphan(place, generation),
            }
        }
        self.drain_ended(now_ns);
    }

    /// Whether the executor in that place, which may be another one by now, runs something of that invocation.
    pub(super) fn runs_for(&self, id: ExecutorId, place: Place, generation: u32) -> bool {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        let running = executor.and_then(|executor| executor.running);
        running.is_some_and(|running| running.place == place)
            && self.invocations[place as usize].generation == generation
    }

    fn time_out(&mut self, now_ns: u64, due_ns: u64, id: ExecutorId) {
        let Some(executor) = self
            .executors
            .get_mut(id.0 as usize)
            .and_then(Option::as_mut)
        else {
            return;
        };
        if executor.timer_due_ns != Some(due_ns) {
            return;
        }
        executor.timer_due_ns = None;
        let (Some(running), Some(deadline_ns)) = (executor.running, executor.deadline_ns) else {
            return;
        };
        if deadline_ns > now_ns {
            self.arm_timeout(id, deadline_ns);
            return;
        }
        let timeout_ns = self.program_of(running.place).nodes[running.node as usize]
            .timeout_ns
            .unwrap_or_default();
        let cause = format!(
            "it exceeded its timeout of {} ms and was ended",
            timeout_ns / 1_000_000
        );
        self.counters.timeouts += 1;
        self.actions.push(Action::Kill {
            executor: id,
            cause,
        });
    }

    /// Sets an executor's timer, unless one that comes no later is set: an executor has one, not each activation, so
    /// that the timers of short activations with long timeouts do not pile up.
    fn arm_timeout(&mut self, id: ExecutorId, due_ns: u64) {
        let Some(executor) = self.executors[id.0 as usize].as_mut() else {
            return;
        };
        if executor.timer_due_ns.is_none_or(|armed| due_ns < armed) {
            executor.timer_due_ns = Some(due_ns);
            self.set_timer(due_ns, Timer::Timeout { executor: id });
        }
    }

    fn end_idle_executors(&mut self, now_ns: u64, id: DeploymentId, pool_index: u16) {
        let keep_alive_ns = self.config.keep_alive_ns;
        let Some(deployment) = self.deployment_by_id.get(&id).copied() else {
            return;
        };
        let Some(state) = self.deployments[deployment as usize].as_mut() else {
            return;
        };
        state.keep_alive_armed[usize::from(pool_index)] = false;
        let pool = &mut state.pools[usize::from(pool_index)];
        while pool.members > 1 {
            let Some(longest) = pool.idle.first().copied() else {
                break;
            };
            let idle_since_ns = self.executors[longest.0 as usize]
                .as_ref()
                .map_or(now_ns, |e| e.idle_since_ns);
            if idle_since_ns + keep_alive_ns > now_ns {
                break;
            }
            pool.idle.remove(0);
            pool.members -= 1;
            self.executors[longest.0 as usize] = None;
            self.actions.push(Action::Stop(longest));
        }
        self.arm_keep_alive(now_ns, deployment, pool_index);
    }

    fn arm_keep_alive(&mut self, now_ns: u64, deployment: u32, pool_index: u16) {
        let due_ns = now_ns + self.config.keep_alive_ns;
        let state = self.deployment_mut(deployment);
        let pool = &state.pools[usize::from(pool_index)];
        let armed = &mut state.keep_alive_armed[usize::from(pool_index)];
        if pool.members > 1 && !pool.idle.is_empty() && !*armed {
            *armed = true;
            let deployment = state.program.plan.deployment;
            self.set_timer(
                due_ns,
                Timer::KeepAlive {
                    deployment,
                    pool: pool_index,
                },
            );
        }
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
    pub(super) fn ready(&mut self, now_ns: u64, place: Place, index: LocalNode, maker: u32) {
        let invocation = &self.invocations[place as usize];
        if invocation.phase != Phase::Running {
            return;
        }
        self.counters.triggers += 1;
        let program = self.program(invocation.deployment);
        let node = &program.nodes[index as usize];
        let Some(list_slot) = node.foreach else {
            self.dispatch(now_ns, place, index, NO_ITEM, 1, maker);
            return;
        };
        let Value::List(list) = invocation.slots[list_slot as usize].value else {
            self.fail_node(
                now_ns,
                place,
                index,
                1,
                "foreach over what is no list".to_owned(),
            );
            return;
        };
        self.fan_out(now_ns, place, index, list);
    }

    fn fan_out(&mut self, now_ns: u64, place: Place, index: LocalNode, list: ListId) {
        let program = Rc::clone(self.program_of(place));
        let node = &program.nodes[index as usize];
        let items = self.lists.get(list).len();
        let gathered = node
            .output_slots
            .iter()
            .map(|slot| {
                slot.map(|_| {
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
            self.gather(place, index, node);
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
            let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
            let Some(executor) = pool.take_idle(NO_MAKER) else {
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

    fn next_item(&self, place: Place, node: LocalNode) -> Option<u32> {
        let fan = self.invocations[place as usize].nodes[node as usize]
            .fan
            .as_ref()?;
        (fan.next < fan.items).then_some(fan.next)
    }

    fn take_item(&mut self, place: Place, node: LocalNode) {
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
        let (deployment, generation) = (invocation.deployment, invocation.generation);
        let pool_index = self.program(deployment).nodes[node as usize].pool;
        let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
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
        self.want_executor(deployment, pool_index);
    }

    fn want_executor(&mut self, deployment: u32, pool_index: u16) {
        // An executor may leave after the last invocation of a retired deployment went, and the deployment with it.
        let Some(state) = self.deployments[deployment as usize].as_mut() else {
            return;
        };
        let pool = &mut state.pools[usize::from(pool_index)];
        if pool.wants_one_more() {
            pool.wanted += 1;
            let deployment = state.program.plan.deployment;
            self.actions.push(Action::ExecutorWanted {
                deployment,
                executable: pool_index,
            });
        }
    }

    #[inline]
    fn start(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        place: Place,
        node: LocalNode,
        item: u32,
        attempt: u32,
    ) {
        let Some(executor) = self.executors[id.0 as usize].as_mut() else {
            return;
        };
        debug_assert!(executor.running.is_none(), "an idle executor runs nothing");
        executor.activation = executor.activation.wrapping_add(1);
        executor.running = Some(Running {
            place,
            node,
            item,
            attempt,
            started_ns: now_ns,
        });
        let activation = executor.activation;
        let invocation = &mut self.invocations[place as usize];
        invocation.running += 1;
        if let Some(timing) = invocation.timing.as_mut() {
            timing.nodes[node as usize].started(now_ns);
        }
        let deployment = invocation.deployment;
        let deadline_ns = self.program(deployment).nodes[node as usize]
            .timeout_ns
            .map(|timeout| now_ns + timeout);
        if let Some(executor) = self.executors[id.0 as usize].as_mut() {
            executor.deadline_ns = deadline_ns;
        }
        if let Some(due_ns) = deadline_ns {
            self.arm_timeout(id, due_ns);
        }
        let start = Start {
            executor: id,
            activation,
            place,
            node,
            item,
            attempt,
            deadline_ns,
        };
        self.actions.push(Action::Start(start));
    }

    /// An executor has nothing to do: give it what waits, or let it idle.
    pub(super) fn executor_idle(&mut self, now_ns: u64, id: ExecutorId) {
        let Some(executor) = self.executors[id.0 as usize].as_mut() else {
            return;
        };
        executor.idle_since_ns = now_ns;
        let (deployment, pool_index) = (executor.deployment, executor.pool);
        loop {
            let pool = &mut self.deployment_mut(deployment).pools[usize::from(pool_index)];
            let Some(waiting) = pool.waiting.pop_front() else {
                pool.idle.push(id);
                if pool.members > 1 {
                    self.arm_keep_alive(now_ns, deployment, pool_index);
                }
                return;
            };
            if !self.is_current(waiting.place, waiting.generation) {
                continue;
            }
            match waiting.ready {
                Ready::Activation {
                    node,
                    item,
                    attempt,
                } => {
                    self.start(now_ns, id, waiting.place, node, item, attempt);
                }
                Ready::Fan { node } => {
                    let Some(item) = self.next_item(waiting.place, node) else {
                        continue;
                    };
                    self.take_item(waiting.place, node);
                    self.start(now_ns, id, waiting.place, node, item, 1);
                    if self.next_item(waiting.place, node).is_some() {
                        // To the back: a wide foreach shares its executors with what else waits.
                        self.deployment_mut(deployment).pools[usize::from(pool_index)]
                            .waiting
                            .push_back(waiting);
                    }
                }
            }
            return;
        }
    }

    /// Handles nodes that ended without an event of their own.
    pub(super) fn drain_ended(&mut self, now_ns: u64) {
        while let Some((place, node, maker)) = self.ended.pop() {
            if self.invocations[place as usize].phase == Phase::Running {
                self.node_ended(now_ns, place, node, maker);
            }
        }
    }

    /// A node has ended well: trigger, send, let go of what it read.
    fn node_ended(&mut self, now_ns: u64, place: Place, index: LocalNode, maker: u32) {
        let program = Rc::clone(self.program_of(place));
        let node = &program.nodes[index as usize];
        for successor in &node.successors {
            let state = &mut self.invocations[place as usize].nodes[*successor as usize];
            state.waiting -= 1;
            if state.waiting == 0 {
                self.ready(now_ns, place, *successor, maker);
            }
        }
        if !node.remote.is_empty() {
            self.tell_remote(place, node, &program);
        }
        for slot in node.output_slots.iter().flatten() {
            if self.invocations[place as usize].slots[*slot as usize].uses == 0 {
                self.clear_slot(place, *slot);
            }
        }
        self.input_read(place, node);
        let invocation = &mut self.invocations[place as usize];
        if invocation.phase != Phase::Running {
            return;
        }
        invocation.nodes_left -= 1;
        if invocation.nodes_left == 0 {
            self.part_ended(place);
        }
    }

    /// The node owes its inputs no read any more.
    fn input_read(&mut self, place: Place, node: &Node) {
        let slots = node.inputs.iter().filter_map(|input| match input {
            super::program::InputFrom::Slot(slot) => Some(*slot),
            super::program::InputFrom::Item => None,
        });
        for slot in slots.chain(node.foreach) {
            let state = &mut self.invocations[place as usize].slots[slot as usize];
            debug_assert!(state.uses > 0, "a slot owes its readers one read each");
            state.uses -= 1;
            if state.uses == 0 {
                self.clear_slot(place, slot);
            }
        }
    }

    pub(super) fn clear_slot(&mut self, place: Place, slot: u32) {
        let state = &mut self.invocations[place as usize].slots[slot as usize];
        match std::mem::replace(&mut state.value, Value::Unset) {
            Value::Unset => {}
            Value::One(payload) => self.let_go(payload),
            Value::List(list) => self.close_list(list),
        }
    }

    pub(super) fn close_list(&mut self, list: ListId) {
        let Self {
            lists,
            leases,
            actions,
            ..
        } = self;
        lists.close(list, leases, |range| actions.push(Action::Release(range)));
    }

    fn tell_remote(&mut self, place: Place, node: &Node, program: &Program) {
        for read in &node.remote {
            let outputs = read
                .outputs
                .iter()
                .filter_map(|output| {
                    let slot = node.output_slots[usize::from(*output)]?;
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

    /// What a slot holds, held once more for sending.
    pub(super) fn outgoing(&mut self, place: Place, slot: u32) -> Outgoing {
        match self.invocations[place as usize].slots[slot as usize].value {
            Value::Unset => Outgoing::One(Payload::EMPTY),
            Value::One(payload) => {
                self.leases.hold(payload);
                Outgoing::One(payload)
            }
            Value::List(list) => {
                let items = self.lists.get(list).to_vec();
                for item in &items {
                    self.leases.hold(*item);
                }
                Outgoing::List(items)
            }
        }
    }

    fn check_outputs(
        &self,
        running: Running,
        node: &Node,
        program: &Program,
        outputs: &[Output],
    ) -> Result<(), CompletionError> {
        if outputs.len() != node.outputs.len() {
            return Err(CompletionError::Outputs {
                got: outputs.len(),
                declared: node.outputs.len(),
            });
        }
        for (output, declared) in outputs.iter().zip(&node.outputs) {
            match (output, is_list(declared.kind)) {
                (Output::One(piece), false) => self.check_piece(running, program, *piece)?,
                (Output::List(pieces), true) => {
                    for piece in pieces {
                        self.check_piece(running, program, *piece)?;
                    }
                }
                _ => return Err(CompletionError::Kind),
            }
        }
        Ok(())
    }

    #[inline]
    fn check_piece(
        &self,
        running: Running,
        program: &Program,
        piece: Piece,
    ) -> Result<(), CompletionError> {
        match piece {
            Piece::Empty | Piece::Own(_) => Ok(()),
            Piece::Alias { .. } => self
                .alias(running, program, piece)
                .map(|_| ())
                .ok_or(CompletionError::Alias),
        }
    }

    /// The part of an input that an alias names.
    fn alias(&self, running: Running, program: &Program, piece: Piece) -> Option<Payload> {
        let Piece::Alias {
            input,
            item,
            offset,
            length,
        } = piece
        else {
            return None;
        };
        let invocation = &self.invocations[running.place as usize];
        let from = *program.nodes[running.node as usize]
            .inputs
            .get(usize::from(input))?;
        let value = self.input(invocation, program, running.node, running.item, from);
        let whole = match (value, item) {
            (Value::One(payload), None) => payload,
            (Value::List(list), Some(item)) => *self.lists.get(list).get(item as usize)?,
            _ => return None,
        };
        whole.part(offset, length)
    }

    /// Takes charge of a checked piece.
    #[inline]
    fn take_piece(&mut self, running: Running, piece: Piece) -> Payload {
        match piece {
            Piece::Empty => Payload::EMPTY,
            Piece::Own(range) => self.leases.take(range),
            Piece::Alias { .. } => {
                let program = Rc::clone(self.program_of(running.place));
                let payload = self
                    .alias(running, &program, piece)
                    .unwrap_or(Payload::EMPTY);
                self.leases.hold(payload);
                payload
            }
        }
    }

    fn store_outputs(
        &mut self,
        running: Running,
        node: &Node,
        outputs: &[Output],
        maker: ExecutorId,
    ) {
        for (output, slot) in outputs.iter().zip(&node.output_slots) {
            let Some(slot) = slot else {
                self.drop_outputs(std::slice::from_ref(output));
                continue;
            };
            let (value, bytes) = match output {
                Output::One(piece) => {
                    let payload = self.take_piece(running, *piece);
                    (Value::One(payload), payload.length())
                }
                Output::List(pieces) => {
                    let list = self.lists.open();
                    let mut bytes = 0;
                    for piece in pieces {
                        let payload = self.take_piece(running, *piece);
                        bytes += payload.length();
                        self.lists.get_mut(list).push(payload);
                    }
                    (Value::List(list), bytes)
                }
            };
            self.set_slot(running.place, *slot, value, bytes, maker.0);
        }
    }

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
        let state = &mut invocation.slots[slot as usize];
        state.value = value;
        state.maker = maker;
        if let Some(timing) = invocation.timing.as_mut() {
            timing.slot_bytes[slot as usize] = bytes;
        }
    }

    /// Puts one item's outputs in their places; true if it was the last item.
    fn store_item(&mut self, running: Running, node: &Node, outputs: &[Output]) -> bool {
        for (index, output) in outputs.iter().enumerate() {
            let gathered = {
                let state = &self.invocations[running.place as usize].nodes[running.node as usize];
                state.fan.as_ref().and_then(|fan| fan.gathered[index])
            };
            match (gathered, output) {
                (Some(list), Output::One(piece)) => {
                    let payload = self.take_piece(running, *piece);
                    self.lists.get_mut(list)[running.item as usize] = payload;
                }
                _ => self.drop_outputs(std::slice::from_ref(output)),
            }
        }
        self.release_item(running, node);
        let Some(fan) = self.invocations[running.place as usize].nodes[running.node as usize]
            .fan
            .as_mut()
        else {
            return false;
        };
        fan.left -= 1;
        fan.left == 0
    }

    /// An item that only this foreach reads is not kept until the last one has ended.
    fn release_item(&mut self, running: Running, node: &Node) {
        let Some(slot) = node.foreach else { return };
        let state = self.invocations[running.place as usize].slots[slot as usize];
        if let (Value::List(list), 1) = (state.value, state.uses) {
            let item = &mut self.lists.get_mut(list)[running.item as usize];
            let payload = std::mem::replace(item, Payload::EMPTY);
            self.let_go(payload);
        }
    }

    /// All items have ended: their outputs become lists.
    fn gather(&mut self, place: Place, index: LocalNode, node: &Node) {
        let Some(fan) = self.invocations[place as usize].nodes[index as usize]
            .fan
            .take()
        else {
            return;
        };
        for (slot, gathered) in node.output_slots.iter().zip(fan.gathered) {
            if let (Some(slot), Some(list)) = (slot, gathered) {
                let bytes = self.lists.get(list).iter().map(Payload::length).sum();
                self.set_slot(place, *slot, Value::List(list), bytes, NO_MAKER);
            }
        }
    }

    /// Gives back outputs that nobody will read.
    pub(super) fn drop_outputs(&mut self, outputs: &[Output]) {
        for output in outputs {
            let pieces = match output {
                Output::One(piece) => std::slice::from_ref(piece),
                Output::List(pieces) => pieces,
            };
            for piece in pieces {
                if let Piece::Own(range) = piece {
                    self.release(*range);
                }
            }
        }
    }

    pub(super) fn release(&mut self, range: PayloadRef) {
        if range.is_range() {
            self.actions.push(Action::Release(range));
        }
    }

    /// An attempt came to nothing: try again, or fail the invocation.
    fn attempt_failed(&mut self, now_ns: u64, running: Running, cause: String) {
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
        let retry = self.program_of(place).nodes[running.node as usize].retry;
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

    fn fail_node(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        attempt: u32,
        cause: String,
    ) {
        let program = self.program_of(place);
        let failure = Failure::Node {
            node: program.nodes[node as usize].name.clone(),
            worker: program.my_name().to_owned(),
            attempt,
            cause,
        };
        self.fail(now_ns, place, failure);
    }
}
