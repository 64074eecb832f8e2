//! How activations flow: handed to executors, ended, and tidied up after.

use super::invocation::{Phase, Place};
use super::outcome::Outcome;
use super::pool::{ExecutorId, Running, Waiting};
use super::program::{LocalNode, Program, SlotIndex};
use super::report::Attempt;
use super::trigger::Ended;
use super::{Action, CompletionError, Core, Output, Start};
use crate::plan::ErrorClass;
use faasstore::descriptor::CpuUse;
use std::rc::Rc;

impl Core {
    /// An activation ended well, and was not measured by its executor.
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
        self.completed_measured(now_ns, id, activation, outputs, None)
    }

    /// An activation ended well, and its executor may say what it has taken of its CPUs, whatever that is.
    ///
    /// # Errors
    /// As [`Core::completed`].
    #[inline]
    pub fn completed_measured(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        activation: u32,
        outputs: &[Output],
        cpu: Option<CpuUse>,
    ) -> Result<(), CompletionError> {
        let executor = self.executor_mut(id).filter(|e| e.activation == activation);
        let executor = executor.ok_or(CompletionError::Activation)?;
        let running = executor.running.ok_or(CompletionError::Activation)?;
        let (deployment, overdue) = (executor.deployment, executor.overdue);
        let program = Rc::clone(self.program(deployment));
        let node = &program.nodes[running.node as usize];
        self.check_outputs(running, node, &program, outputs)?;
        if let Some(executor) = self.executor_mut(id) {
            executor.running = None;
        }
        self.counters.activations += 1;
        if overdue {
            self.close_window(id);
            self.drop_outputs(outputs);
            return self.came_back_overdue(now_ns, id, running);
        }
        let root = self.invocations[running.place as usize].root;
        let invocation = &mut self.invocations[root as usize];
        invocation.running -= 1;
        if invocation.phase == Phase::Over {
            self.counters.late_dropped += 1;
            self.close_window(id);
            self.returned(id);
            self.drop_outputs(outputs);
            self.executor_idle(now_ns, id);
            self.free_if_over(now_ns, root);
            return Ok(());
        }
        let is_measured = invocation.sample.is_some();
        if invocation.timing.is_some() {
            self.attempt_ended(now_ns, running, Attempt::Well);
        }
        if self.is_pressed(deployment) {
            self.note_run_time(now_ns, &running);
        }
        if is_measured {
            self.profile_ends(now_ns, &running, outputs, cpu);
        }
        if running.attempt > 1 {
            self.retried.end(running.place, running.node);
        }
        self.store_outputs(running, &program, outputs, id);
        self.close_window(id);
        self.take_in_hand(now_ns, id);
        let ended = Ended {
            place: running.place,
            node: running.node,
            maker: id.0,
            outcome: Outcome::Well,
        };
        self.node_ended(now_ns, ended, &program);
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
        class: ErrorClass,
        cause: String,
    ) -> Result<(), CompletionError> {
        let executor = self.executor_mut(id).filter(|e| e.activation == activation);
        let executor = executor.ok_or(CompletionError::Activation)?;
        let running = executor.running.take().ok_or(CompletionError::Activation)?;
        let overdue = executor.overdue;
        // May come while actions are carried out, not as an event of its own.
        self.revision += 1;
        self.close_window(id);
        if overdue {
            return self.came_back_overdue(now_ns, id, running);
        }
        self.returned(id);
        self.executor_idle(now_ns, id);
        self.attempt_failed(now_ns, running, class, cause);
        self.drain_ended(now_ns);
        Ok(())
    }

    pub(super) fn is_current(&self, place: Place, generation: u32) -> bool {
        self.invocations[place as usize].is_current(generation)
    }

    /// Whether what lives in a place may go on.
    pub(super) fn is_running(&self, place: Place) -> bool {
        self.invocations[place as usize].phase == Phase::Running
    }

    #[inline]
    pub(super) fn program_of(&self, place: Place) -> &Rc<Program> {
        self.program(self.invocations[place as usize].deployment)
    }

    #[inline]
    pub(super) fn dispatch(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        attempt: u32,
        maker: u32,
    ) {
        let invocation = &self.invocations[place as usize];
        let (index, generation) = (invocation.deployment, invocation.generation);
        let pool_index = self.program(index).nodes[node as usize].pool;
        let pressed = self.is_pressed(index);
        if !pressed && let Some(executor) = self.take_hand(index, pool_index) {
            self.start(now_ns, executor, place, node, attempt, now_ns);
            return;
        }
        let pool = &mut self.deployment_mut(index).pools[usize::from(pool_index)];
        if !pressed && let Some(executor) = pool.take_idle(maker) {
            // It may have been foreseen for something else.
            self.revision += 1;
            self.start(now_ns, executor, place, node, attempt, now_ns);
            return;
        }
        let root = self.invocations[place as usize].root;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            timing.waits(now_ns, place, node);
        }
        self.make_room_to_wait(index, pool_index);
        let pool = &mut self.deployment_mut(index).pools[usize::from(pool_index)];
        let (first, idles) = (pool.waiting.is_empty(), !pool.idle.is_empty());
        pool.waiting.push_back(Waiting {
            place,
            generation,
            node,
            attempt,
            ready_ns: now_ns,
            held: false,
        });
        // What an executor takes next is another thing than was foreseen, unless others wait before this.
        self.revision += u64::from(first);
        if pressed && idles {
            self.leases.alarm();
        } else {
            self.want_executor(index, pool_index);
        }
    }

    /// Before a pool's queue grows, what waits in it for nothing leaves it: activations of what is over. So it is never
    /// more than twice as long as there are others.
    fn make_room_to_wait(&mut self, deployment: u32, pool: u16) {
        let Self {
            deployments,
            invocations,
            ..
        } = self;
        let Some(deployment) = deployments[deployment as usize].as_mut() else {
            return;
        };
        let waiting = &mut deployment.pools[usize::from(pool)].waiting;
        if waiting.len() < waiting.capacity() {
            return;
        }
        waiting.retain(|one| invocations[one.place as usize].is_current(one.generation));
        // Else it would be looked through again soon.
        if waiting.len() > waiting.capacity() / 2 {
            waiting.reserve(waiting.len());
        }
    }

    #[inline]
    pub(super) fn start(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        place: Place,
        node: LocalNode,
        attempt: u32,
        ready_ns: u64,
    ) {
        let (root, item) = {
            let invocation = &self.invocations[place as usize];
            (invocation.root, invocation.item)
        };
        let invocation = &mut self.invocations[root as usize];
        invocation.running += 1;
        let running = Running {
            place,
            node,
            attempt,
            started_ns: now_ns,
        };
        let deployment = invocation.deployment;
        let is_measured = invocation.sample.is_some();
        if invocation.timing.is_some() {
            self.attempt_started(&running, id.0);
        }
        if is_measured {
            self.profile_starts(&running, ready_ns);
        }
        if attempt == 1 {
            self.reading.push((place, node));
        }
        let state = self.deployment_mut(deployment);
        state.profile.begun(node, attempt);
        let timeout_ns = state.program.nodes[node as usize].timeout_ns();
        let deadline_ns = timeout_ns.map(|timeout| now_ns + timeout);
        let Some(executor) = self.executor_mut(id) else {
            unreachable!("an executor that is idle, or was told to start, is there");
        };
        debug_assert!(executor.running.is_none(), "an idle executor runs nothing");
        let activation = executor.start(running, deadline_ns);
        if let Some(due_ns) = deadline_ns {
            self.arm_timeout(id, due_ns);
        }
        self.watch_holding(now_ns, id);
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

    /// Does what is left of nodes whose successors have been triggered. Items of regions end here, and others begin.
    pub(super) fn settle_triggered(&mut self, now_ns: u64) {
        self.count_reads();
        while let Some((place, generation, node)) = self.triggered.pop() {
            if self.is_current(place, generation) {
                self.settle_node(now_ns, place, node);
                self.drain_ended(now_ns);
            }
        }
    }

    /// A node has ended and its successors know: let go of what it read.
    fn settle_node(&mut self, now_ns: u64, place: Place, index: LocalNode) {
        let program = Rc::clone(self.program_of(place));
        let node = &program.nodes[index as usize];
        for output in program.outputs(node) {
            if let Some(slot) = output.slot
                && self.invocations[place as usize].slot_mut(slot).uses == 0
            {
                self.clear_slot(place, slot);
            }
        }
        program.each_slot_read(node, |slot| self.slot_read(place, slot));
        let invocation = &mut self.invocations[place as usize];
        invocation.nodes_left -= 1;
        if invocation.nodes_left > 0 {
            return;
        }
        if invocation.scope == 0 {
            self.part_ended(place);
        } else {
            self.item_ended(now_ns, place);
        }
    }

    /// A slot is owed one read less.
    #[inline]
    fn slot_read(&mut self, place: Place, slot: SlotIndex) {
        let state = self.invocations[place as usize].slot_mut(slot);
        debug_assert!(state.uses > 0, "a slot owes its readers one read each");
        state.uses -= 1;
        if state.uses == 0 {
            self.clear_slot(place, slot);
        }
    }
}
