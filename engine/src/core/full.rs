//! Executors whose arena is full in the middle of an activation, which wait until something of it has come back.
//!
//! What is carried out for them lies in that arena: segments that can be emptied as a whole, those that are read last first, or
//! whatever can leave where none can. As soon as anything comes back who waits is told to try again; if it was not enough it says
//! so, and waits on.
//!
//! No wait is for ever. If nothing in the arena can leave, and nothing is on its way, nothing that runs goes on and nothing
//! is being sent, then nobody would ever let go of anything: who waits is told so at once. Otherwise it waits for some seconds, from
//! when it first found no room.

use super::invocation::Place;
use super::lease::{Account, Leases, Payload};
use super::pool::{ExecutorId, Running};
use super::program::LocalNode;
use super::quota::MOVING_MAX;
use super::{Action, CompletionError, Core, RoomGiven};
use faasstore::descriptor::{Full, RoomAnswer};

/// How long anybody waits for room in its arena.
const PATIENCE_NS: u64 = 5_000_000_000;

/// An activation that has found its arena full.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantsRoom {
    activation: u32,
    bytes: u64,
    since_ns: u64,
    /// Whether it waits now; else it tries again.
    waits: bool,
}

impl Core {
    /// A running activation has found no room in its arena for an output, and waits. [`Action::Room`] is to follow.
    ///
    /// # Errors
    /// If its executor says what cannot be; then nothing has changed, and it is to be ended.
    pub fn arena_full(
        &mut self,
        now_ns: u64,
        id: ExecutorId,
        full: &Full,
    ) -> Result<(), CompletionError> {
        let executor = self.executor_mut(id);
        let executor = executor
            .filter(|one| one.activation == full.activation)
            .ok_or(CompletionError::Activation)?;
        let running = executor.running.ok_or(CompletionError::Activation)?;
        let is_told = executor.grace_due_ns.is_some() || executor.timed_out;
        let known = self.fulls.get(&id).copied();
        let known = known.filter(|known| known.activation == full.activation);
        if known.is_some_and(|known| known.waits) || self.waits_for_item(&running) {
            return Err(CompletionError::Room);
        }
        self.revision += 1;
        let since_ns = known.filter(|_| full.again).map(|known| known.since_ns);
        let wants = WantsRoom {
            activation: full.activation,
            bytes: full.bytes,
            since_ns: since_ns.unwrap_or(now_ns),
            waits: true,
        };
        self.fulls.insert(id, wants);
        if is_told {
            self.answer_full(id, RoomAnswer::Stopped);
            return Ok(());
        }
        let account = self.program_of(running.place).account;
        self.leases.tally_mut(account).carried.held_back += u64::from(!full.again);
        self.leases.await_room(id, true);
        self.press(now_ns, account);
        self.leases.alarm();
        Ok(())
    }

    /// A range is on its way back to an executor that waits for room in its arena: it is to try again.
    pub fn range_returned(&mut self, id: ExecutorId) {
        self.answer_full(id, RoomAnswer::Back);
    }

    /// Answers an executor, if it waits for room.
    pub(super) fn answer_full(&mut self, id: ExecutorId, answer: RoomAnswer) {
        let wants = self.fulls.get(&id).copied();
        let Some(wants) = wants.filter(|wants| self.is_full(id, wants)) else {
            return;
        };
        let activation = wants.activation;
        let answered = WantsRoom {
            waits: false,
            ..wants
        };
        self.fulls.insert(id, answered);
        self.leases.await_room(id, false);
        self.actions.push(Action::Room(RoomGiven {
            executor: id,
            activation,
            answer,
        }));
    }

    /// Forgets what an executor in that place has waited for.
    pub(super) fn forget_full(&mut self, id: ExecutorId) {
        self.fulls.remove(&id);
        self.leases.await_room(id, false);
    }

    /// Whether an executor waits for room now, of what it runs.
    fn is_full(&self, id: ExecutorId, wants: &WantsRoom) -> bool {
        let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
        wants.waits
            && executor.is_some_and(|executor| {
                executor.running.is_some() && executor.activation == wants.activation
            })
    }

    /// Executors of a workflow that wait for room, in order.
    fn full_of(&self, account: Account) -> Vec<ExecutorId> {
        let of_it = |id: &ExecutorId| {
            let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
            executor.is_some_and(|one| self.program(one.deployment).account == account)
        };
        let full = self.fulls.iter();
        let full = full.filter(|(id, wants)| self.is_full(**id, wants) && of_it(id));
        full.map(|(id, _)| *id).collect()
    }

    /// Whether executors of a workflow wait for room.
    pub(super) fn has_full(&self, account: Account) -> bool {
        !self.fulls.is_empty() && !self.full_of(account).is_empty()
    }

    /// Whether what runs waits for room in its arena.
    pub(super) fn waits_for_room(&self, running: &Running) -> bool {
        let runs_it = |id: &ExecutorId| {
            let executor = self.executors.get(id.0 as usize).and_then(Option::as_ref);
            let runs = executor.and_then(|executor| executor.running);
            runs.is_some_and(|runs| (runs.place, runs.node) == (running.place, running.node))
        };
        let mut fulls = self.fulls.iter();
        fulls.any(|(id, wants)| self.is_full(*id, wants) && runs_it(id))
    }

    /// Makes room for those of a workflow that wait for some, as far as anything can leave; the first one for which nothing can
    /// be done.
    pub(super) fn relieve_full(
        &mut self,
        now_ns: u64,
        (account, deployments): (Account, &[u32]),
        spared: &[(Place, LocalNode)],
    ) -> Option<ExecutorId> {
        if self.fulls.is_empty() {
            return None;
        }
        let executors = &self.executors;
        self.fulls.retain(|id, wants| {
            let executor = executors.get(id.0 as usize).and_then(Option::as_ref);
            let runs = executor.filter(|executor| executor.running.is_some());
            runs.is_some_and(|executor| executor.activation == wants.activation)
        });
        let mut hopeless = None;
        for id in self.full_of(account) {
            let WantsRoom {
                bytes, since_ns, ..
            } = self.fulls[&id];
            let due_ns = since_ns.saturating_add(PATIENCE_NS);
            if due_ns <= now_ns {
                self.answer_full(id, RoomAnswer::Late);
                continue;
            }
            self.look_again(account, due_ns);
            // Its lane is about to say so.
            if self.leases.comes_back_to(id) {
                continue;
            }
            if !self.leases.leaves_from(id)
                && !self.carry_from(now_ns, (account, deployments), (id, bytes), spared)
            {
                hopeless.get_or_insert(id);
            }
        }
        hopeless
    }

    /// Has payloads carried out that lie in an executor's arena; whether any leave, or soon may.
    fn carry_from(
        &mut self,
        now_ns: u64,
        (account, deployments): (Account, &[u32]),
        (id, bytes): (ExecutorId, u64),
        spared: &[(Place, LocalNode)],
    ) -> bool {
        let moving = self.leases.holdings(account).moving;
        let Some(most) = MOVING_MAX.checked_sub(moving).filter(|most| *most > 0) else {
            return true;
        };
        let lies_there = |leases: &Leases, payload: Payload| {
            leases.owner_of(leases.kept_with(payload).segment) == Some(id)
        };
        let of_it = (account, deployments);
        let found = self.leave_last(now_ns, of_it, spared, &lies_there);
        if found.is_empty() {
            // A tier that has failed may take something again soon.
            let up_ns = self.up_again_ns(now_ns, deployments).filter(|up_ns| {
                let then = self.leave_last(*up_ns, of_it, spared, &lies_there);
                !then.is_empty()
            });
            if let Some(up_ns) = up_ns {
                self.look_again(account, up_ns);
            }
            return up_ns.is_some();
        }
        let mut victims = self.emptied(&found, bytes, most as usize);
        if victims.is_empty() {
            victims = found.up_to(bytes.saturating_mul(2), most as usize);
        }
        let leave = !victims.is_empty();
        for (lease, kind) in victims {
            self.carry_out(lease, kind);
        }
        leave
    }

    /// Whether somebody who is not seen here may let go of something of a workflow: who is being sent to, and other workers.
    pub(super) fn may_be_let_go_of_elsewhere(&self, account: Account, deployments: &[u32]) -> bool {
        let shared = |index: &u32| self.program(*index).plan.workers.len() > 1;
        self.leases.holdings(account).sending > 0 || deployments.iter().any(shared)
    }
}
