//! Whether an activation of a workflow that is pressed for memory may start now, and whether it reads its lists whole.
//!
//! It may if all that it reads is here and what it is expected to make has room; what is elsewhere is asked for here. Of those of one
//! pool the first that may start does; if nothing of a workflow goes on, one starts whatever its quota says.

use super::invocation::Place;
use super::lease::{Account, Reach};
use super::pool::{Running, Waiting};
use super::program::LocalNode;
use super::scratch::Gated;
use super::{Action, Core};
use std::rc::Rc;

/// Activations of one pool that are looked at for one that may start.
const LOOKED_AT_MAX: usize = 64;

/// What stands in the way of a start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    Open(Reading),
    /// What it reads is on its way.
    Wait,
    /// So many bytes of memory are wanted for it.
    Room(u64),
    /// It never can: something that it reads could not be brought back, and why.
    Lost(Rc<str>),
}

/// How an activation reads its lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// All of them are in memory.
    Whole,
    /// Item by item, as it asks for them.
    ByWindow,
}

impl Core {
    /// Starts activations that wait while an executor of their pool is idle, as far as they may; what the first one is that may
    /// not, and why.
    pub(super) fn start_waiting(
        &mut self,
        now_ns: u64,
        deployment: u32,
        pool: u16,
    ) -> Option<(Place, LocalNode, Gate)> {
        let mut held = None;
        let mut looked_at = 0;
        loop {
            let state = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
            if state.idle.is_empty() || looked_at >= LOOKED_AT_MAX.min(state.waiting.len()) {
                return held;
            }
            let waiting = state.waiting[looked_at];
            if !self.is_current(waiting.place, waiting.generation) {
                self.take_waiting(deployment, pool, looked_at);
                continue;
            }
            match self.gate(waiting.place, waiting.node, false) {
                Gate::Open(reading) => {
                    self.take_waiting(deployment, pool, looked_at);
                    self.start_idle(now_ns, deployment, pool, (&waiting, reading));
                }
                Gate::Lost(cause) => {
                    self.take_waiting(deployment, pool, looked_at);
                    self.lose(waiting.place, waiting.node, cause);
                    return None;
                }
                gate => {
                    self.count_held(deployment, pool, looked_at);
                    // What waits for memory is not to hold up what waits for less.
                    held.get_or_insert((waiting.place, waiting.node, gate));
                    looked_at += 1;
                }
            }
        }
    }

    fn count_held(&mut self, deployment: u32, pool: u16, at: usize) {
        let state = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
        if std::mem::replace(&mut state.waiting[at].held, true) {
            return;
        }
        let account = self.program(deployment).account;
        self.leases.tally_mut(account).carried.held_back += 1;
    }

    fn take_waiting(&mut self, deployment: u32, pool: u16, at: usize) {
        let state = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
        state.waiting.remove(at);
        self.revision += 1;
    }

    fn start_idle(
        &mut self,
        now_ns: u64,
        deployment: u32,
        pool: u16,
        (waiting, reading): (&Waiting, Reading),
    ) {
        let state = &mut self.deployment_mut(deployment).pools[usize::from(pool)];
        if let Some(executor) = state.idle.pop() {
            let Waiting {
                place,
                node,
                attempt,
                ready_ns,
                ..
            } = *waiting;
            self.start(now_ns, executor, place, node, attempt, ready_ns);
            if reading == Reading::ByWindow {
                self.open_window(executor, place, node);
            }
        }
    }

    /// Nothing of a workflow runs or moves: one activation goes on whatever the quota says.
    pub(super) fn overdraw(
        &mut self,
        now_ns: u64,
        (deployment, pool): (u32, u16),
        place: Place,
        node: LocalNode,
    ) {
        let account = self.program(deployment).account;
        let Gate::Open(reading) = self.gate(place, node, true) else {
            // What it reads may have to come first.
            return;
        };
        let waits = |one: &Waiting| {
            one.place == place && one.node == node && self.is_current(place, one.generation)
        };
        let deployed = self.deployments[deployment as usize].as_ref();
        let queue = deployed.map(|deployed| &deployed.pools[usize::from(pool)].waiting);
        let found = queue.and_then(|queue| {
            let at = queue.iter().position(waits)?;
            Some((at, queue[at]))
        });
        let Some((at, waiting)) = found else {
            return;
        };
        self.leases.tally_mut(account).carried.overdrawn += 1;
        self.take_waiting(deployment, pool, at);
        self.start_idle(now_ns, deployment, pool, (&waiting, reading));
    }

    /// What stands in the way of an activation. What it reads and is away is fetched if there is room, or if `anyway`.
    fn gate(&mut self, place: Place, node: LocalNode, anyway: bool) -> Gate {
        let mut gated = std::mem::take(&mut self.scratch.gated);
        gated.clear();
        let gate = self.gate_in(place, node, anyway, &mut gated);
        self.scratch.gated = gated;
        gate
    }

    fn gate_in(&mut self, place: Place, node: LocalNode, anyway: bool, gated: &mut Gated) -> Gate {
        let account = self.program_of(place).account;
        let Gated { here, away, seen } = gated;
        let (mut away_bytes, mut coming_bytes) = (0, 0);
        let mut comes = false;
        let mut lost: Option<Rc<str>> = None;
        let by_window = self.reads_by_window(place, node);
        let look = |payload| match self.leases.reach(payload) {
            Reach::Here => here.push(payload),
            Reach::Coming => {
                comes = true;
                let lease = self.leases.lease_of(payload);
                let lease = lease.filter(|(lease, _)| seen.insert(*lease));
                coming_bytes += lease.map_or(0, |(_, bytes)| bytes);
            }
            Reach::Away => {
                if let Some((lease, bytes)) = self.leases.lease_of(payload)
                    && seen.insert(lease)
                {
                    away.push(payload);
                    away_bytes += bytes;
                }
            }
            Reach::Lost(cause) => lost = Some(cause),
            Reach::Unplaced => {
                unreachable!("only copies find no room, and none lies in a slot until it is there")
            }
        };
        let (reading, items_bytes) = if by_window {
            self.each_payload_at_once(place, node, look);
            (Reading::ByWindow, self.window_bytes(place, node))
        } else {
            self.each_payload_read(place, node, look);
            (Reading::Whole, 0)
        };
        let memory_bytes = self.config.store.memory_bytes;
        if away_bytes + coming_bytes > memory_bytes {
            lost = Some(never_fits(away_bytes + coming_bytes, memory_bytes));
        }
        if let Some(cause) = lost {
            return Gate::Lost(cause);
        }
        let wanted = away_bytes + items_bytes + self.expected_bytes(place, node);
        // What takes no more memory only frees some.
        let has_room = anyway || wanted == 0 || {
            let taken = self.leases.holdings(account).bytes + self.reserved_by(account);
            let taken = taken + self.lacking(account);
            taken + wanted <= self.leases.tally(account).quota_bytes && !self.is_over(account)
        };
        if !has_room {
            return Gate::Room(wanted);
        }
        for payload in away.iter() {
            if let Some((ticket, account, bytes)) = self.leases.come(*payload) {
                self.actions.push(Action::BringBack {
                    ticket,
                    account,
                    bytes,
                });
            }
        }
        if comes || !away.is_empty() {
            return Gate::Wait;
        }
        here.iter().for_each(|payload| self.leases.stay(*payload));
        Gate::Open(reading)
    }

    /// Bytes that what runs of a workflow is expected to make.
    fn reserved_by(&self, account: Account) -> u64 {
        let executors = self.executors.iter().flatten();
        let of_it = executors.filter(|one| self.program(one.deployment).account == account);
        let runs = of_it.filter_map(|executor| executor.running);
        runs.map(|running| self.expected_bytes(running.place, running.node))
            .sum()
    }

    /// Bytes that what runs is expected to make.
    pub(super) fn reserved(&self, runs: &[Running]) -> u64 {
        let makes = |running: &Running| self.expected_bytes(running.place, running.node);
        runs.iter().map(makes).sum()
    }

    /// Bytes that an activation is expected to make: the most that one of its node has made here.
    pub(super) fn expected_bytes(&self, place: Place, node: LocalNode) -> u64 {
        let deployment = self.invocations[place as usize].deployment;
        let known = self.deployments[deployment as usize].as_ref();
        known.map_or(0, |known| known.made_bytes[node as usize])
    }
}

/// Why an activation is not waited for that reads more at once than can come back.
#[cold]
fn never_fits(bytes: u64, memory_bytes: u64) -> Rc<str> {
    let told = format!(
        "what it reads at once and is elsewhere takes {bytes} bytes, of at most {memory_bytes} that this lane has for what comes \
         back, apart from what it keeps for other workflows; give the worker more (--memory), or fewer lanes, or let the function \
         read a list item by item"
    );
    Rc::from(told)
}
