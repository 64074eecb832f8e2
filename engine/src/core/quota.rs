//! Whether an activation of a workflow that is pressed for memory may start, and what is done so that it may.

use super::invocation::{Place, Read, Slot, Value};
use super::lease::{Account, LeaseId, Payload, Reach};
use super::pool::{Running, Waiting};
use super::program::LocalNode;
use super::scratch::{Gated, clear};
use super::timers::Timer;
use super::victims::LeaveLast;
use super::{Action, CarryOut, Core};
use crate::wire::Failure;
use faasstore::descriptor::RoomAnswer;
use faasstore::tier::TierKind;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Activations of one pool that are looked at for one that may start.
const LOOKED_AT_MAX: usize = 64;
/// Payloads of a workflow that are on their way at once.
pub(super) const MOVING_MAX: u64 = 256;
/// How long an activation of which nothing is known is taken to go on at first: as long as it has run, and this.
const UNKNOWN_NS: u64 = 1_000_000;
/// How often the executors of a workflow that is pressed are looked at.
const MEASURE_NS: u64 = 1_000_000_000;
/// How much of what is known of a run time stays when there is one more.
const KEPT: f64 = 0.8;

/// What stands in the way of a start.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Gate {
    Open(Reading),
    /// What it reads is on its way.
    Wait,
    /// So many bytes of memory are wanted for it.
    Room(u64),
    /// It never can: something that it reads could not be brought back, and why.
    Lost(Rc<str>),
}

/// An activation that has been given up: its invocation is to fail.
#[derive(Debug)]
pub(super) struct Lost {
    place: Place,
    generation: u32,
    node: LocalNode,
    cause: Rc<str>,
}

/// How an activation reads its lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// All of them are in memory.
    Whole,
    /// Item by item, as it asks for them.
    ByWindow,
}

/// What a workflow has too much in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lacks {
    /// Of payloads.
    bytes: u64,
    /// Of the segments in which they lie.
    segment_bytes: u64,
}

impl Lacks {
    fn most(&self) -> u64 {
        self.bytes.max(self.segment_bytes)
    }
}

/// How room is made.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Relief {
    /// What runs will let go of something by then.
    Wait { ns: f64 },
    /// Payloads are carried out.
    Carry,
}

impl Core {
    /// Whether the workflow of a deployment is pressed: then its activations start when it is looked after.
    #[inline]
    pub(super) fn is_pressed(&self, deployment: u32) -> bool {
        self.pressed > 0 && {
            let account = self.program(deployment).account;
            self.leases.tally(account).pressed
        }
    }

    /// Looks after the workflows that are pressed, or have come to be, if anything has happened to one.
    #[inline]
    pub(super) fn look_after(&mut self, now_ns: u64) {
        if self.leases.take_alarm() {
            self.look_after_all(now_ns);
        }
    }

    #[cold]
    fn look_after_all(&mut self, now_ns: u64) {
        for account in self.leases.accounts() {
            if self.leases.is_beyond(account) {
                self.press(now_ns, account);
            }
            if self.leases.tally(account).pressed {
                if self.leases.tally(account).measure_ns <= now_ns {
                    self.measure_at(now_ns, account);
                }
                self.relieve(now_ns, account);
                // With its last invocation a deployment may go: so never while it is being looked at.
                while self.fail_lost(now_ns) {
                    self.relieve(now_ns, account);
                }
            }
        }
        self.drain_ended(now_ns);
    }

    /// What an activation reads could not be brought back: its invocation is to fail, at the next [`Core::fail_lost`].
    pub(super) fn lose(&mut self, place: Place, node: LocalNode, cause: Rc<str>) {
        let generation = self.invocations[place as usize].generation;
        self.lost.get_or_insert(Lost {
            place,
            generation,
            node,
            cause,
        });
    }

    /// Fails the invocation of what has been given up; false if nothing has.
    pub(super) fn fail_lost(&mut self, now_ns: u64) -> bool {
        let Some(Lost {
            place,
            generation,
            node,
            cause,
        }) = self.lost.take()
        else {
            return false;
        };
        if !self.is_current(place, generation) {
            return true;
        }
        let program = Rc::clone(self.program_of(place));
        let failure = Failure::Payload {
            node: program.name(node).to_owned(),
            worker: program.my_name().to_owned(),
            cause: format!("an input of it could not be brought back: {cause}"),
        };
        self.fail(now_ns, place, failure);
        true
    }

    /// From now on activations of a workflow start when it is looked after.
    pub(super) fn press(&mut self, now_ns: u64, account: Account) {
        if std::mem::replace(&mut self.leases.tally_mut(account).pressed, true) {
            return;
        }
        self.pressed += 1;
        // What lasts how long has to be known now.
        self.timed += 1;
        self.revision += 1;
        self.measure_at(now_ns, account);
    }

    /// Starts what may start, makes room for what may not, and ends the state when there is room again.
    fn relieve(&mut self, now_ns: u64, account: Account) {
        let mut deployments = std::mem::take(&mut self.scratch.deployments);
        let mut runs = std::mem::take(&mut self.scratch.runs);
        clear(&mut deployments);
        deployments.extend(self.each_deployment_of(account));
        self.relieve_all(now_ns, account, &deployments, &mut runs);
        (self.scratch.deployments, self.scratch.runs) = (deployments, runs);
    }

    fn relieve_all(
        &mut self,
        now_ns: u64,
        account: Account,
        deployments: &[u32],
        runs: &mut Vec<Running>,
    ) {
        // Who waits for an item runs already, and lets go of something by and by.
        let lacks_item = self.serve_all(account);
        if self.lost.is_some() {
            return;
        }
        let mut wanted = None;
        let mut first_held = None;
        for deployment in deployments {
            // What is last in the workflow's order lets go of most.
            let pools = self.deployment_mut(*deployment).pools.len() as u16;
            for pool in (0..pools).rev() {
                let held = self.start_waiting(now_ns, *deployment, pool);
                if self.lost.is_some() {
                    return;
                }
                if let Some((place, node, gate)) = held {
                    first_held.get_or_insert((*deployment, pool, place, node));
                    if let Gate::Room(bytes) = gate {
                        wanted = Some(wanted.map_or(bytes, |least: u64| least.min(bytes)));
                    }
                }
            }
        }
        let holdings = self.leases.holdings(account);
        clear(runs);
        runs.extend(self.each_run_of(deployments));
        if first_held.is_none()
            && !self.has_windows(account)
            && !self.has_full(account)
            && holdings.away == 0
            && holdings.moving == 0
            && holdings.bytes <= self.leases.tally(account).quota_bytes / 4
            && holdings.segment_bytes <= self.leases.tally(account).room_bytes / 3
        {
            self.leases.tally_mut(account).pressed = false;
            self.pressed -= 1;
            self.timed -= 1;
            self.revision += 1;
            return;
        }
        let spared = first_held.map(|(_, _, place, node)| (place, node));
        let of_it = (account, deployments);
        let hopeless = self.relieve_full(now_ns, of_it, spared.as_slice());
        let holdings = self.leases.holdings(account);
        let reserved = self.reserved(runs);
        let wanted = lacks_item.map(|(_, bytes)| bytes).or(wanted);
        let lacks = self.lacking_in_all(account, wanted.map_or(0, |bytes| bytes + reserved));
        let relief = (lacks.most() > 0).then(|| {
            let beyond = self.is_over(account);
            self.relief(now_ns, deployments, runs, (lacks.most(), beyond))
        });
        match relief.flatten() {
            // Others first have to arrive.
            Some(Relief::Carry) if holdings.moving >= MOVING_MAX => return,
            Some(Relief::Carry) => {
                let moving = (MOVING_MAX - holdings.moving) as usize;
                let found = self.leave_last(now_ns, of_it, spared.as_slice(), &|_, _| true);
                let victims = self.victims_for(account, &lacks, &found, moving);
                let carries = !victims.is_empty();
                for (lease, kind) in victims {
                    self.carry_out(lease, kind);
                }
                if carries {
                    return;
                }
            }
            Some(Relief::Wait { ns }) => return self.look_again(account, now_ns + ns as u64 + 1),
            None => {}
        }
        if lacks_item.is_none() && first_held.is_none() && hopeless.is_none() {
            // Nothing else may happen to it than that a tier takes something again.
            if lacks.most() > 0
                && let Some(up_ns) = self.up_again_ns(now_ns, deployments)
            {
                self.look_again(account, up_ns);
            }
            return;
        }
        let goes_on = |running: &Running| !self.waits(running);
        if runs.iter().any(goes_on) || self.leases.holdings(account).moving > 0 {
            return;
        }
        // A tier that has failed may take something again soon.
        if lacks.most() > 0
            && let Some(up_ns) = self.up_again_ns(now_ns, deployments)
            && !self
                .leave_last(up_ns, of_it, spared.as_slice(), &|_, _| true)
                .is_empty()
        {
            return self.look_again(account, up_ns);
        }
        match (lacks_item, first_held, hopeless) {
            (Some((executor, _)), ..) => self.overdraw_item(executor, account),
            (None, Some((deployment, pool, place, node)), _)
                if runs.is_empty() || hopeless.is_some() =>
            {
                self.overdraw(now_ns, (deployment, pool), place, node);
            }
            (None, _, Some(executor)) if !self.may_be_let_go_of_elsewhere(account, deployments) => {
                self.answer_full(executor, RoomAnswer::Never);
            }
            // What waits for an item that is there by now goes on, and who waits for room does so for a while.
            _ => {}
        }
    }

    /// Whether what runs goes on only when it is given something.
    fn waits(&self, running: &Running) -> bool {
        self.waits_for_item(running) || self.waits_for_room(running)
    }

    /// Whether a workflow has more in memory than it may.
    fn is_over(&self, account: Account) -> bool {
        let (holdings, tally) = (self.leases.holdings(account), self.leases.tally(account));
        holdings.bytes > tally.quota_bytes || holdings.segment_bytes > tally.room_bytes
    }

    /// What a workflow has too much in memory, if so many bytes are wanted besides.
    fn lacking_in_all(&self, account: Account, wanted: u64) -> Lacks {
        let (holdings, tally) = (self.leases.holdings(account), self.leases.tally(account));
        let bytes = (holdings.bytes + wanted).saturating_sub(tally.quota_bytes);
        let segment_bytes = holdings.segment_bytes.saturating_sub(tally.room_bytes);
        Lacks {
            bytes: bytes.saturating_sub(holdings.leaving_bytes),
            // Which segments go with what leaves is seen when it has left.
            segment_bytes: segment_bytes * u64::from(holdings.leaving_bytes == 0),
        }
    }

    /// What is to leave for what a workflow lacks.
    fn victims_for(
        &self,
        account: Account,
        lacks: &Lacks,
        found: &LeaveLast,
        most: usize,
    ) -> Vec<(LeaseId, TierKind)> {
        if lacks.bytes == 0 {
            return self.emptied(found, lacks.segment_bytes, most);
        }
        let quota = self.leases.tally(account).quota_bytes;
        let held = self.leases.holdings(account).bytes;
        // A bit more than is lacking, so that all of them are not looked through again soon.
        found.up_to(lacks.bytes + (quota / 8).min(held / 2), most)
    }

    /// When a tier is asked again that has failed a few times only.
    pub(super) fn up_again_ns(&self, now_ns: u64, deployments: &[u32]) -> Option<u64> {
        let usable = self.carriers.iter();
        let usable = usable.filter(|one| self.may_go_to(one.kind, deployments));
        usable.filter_map(|one| one.up_again_ns(now_ns)).min()
    }

    pub(super) fn carry_out(&mut self, lease: LeaseId, kind: TierKind) {
        // Who has read it before it leaves has found it in memory.
        self.count_reads();
        let (ticket, range) = self.leases.leave(lease, kind);
        self.actions.push(Action::CarryOut(Box::new(CarryOut {
            ticket,
            range,
            kind,
        })));
    }

    /// Looks after an account again by then.
    pub(super) fn look_again(&mut self, account: Account, due_ns: u64) {
        let set = self.leases.tally(account).timer;
        if set.is_some_and(|(set_ns, _)| set_ns <= due_ns) {
            return;
        }
        // One is enough: of two each would set another one.
        if let Some(later) = set {
            self.timers.remove(&later);
        }
        let timer = self.set_timer(due_ns, Timer::Quota { account });
        self.leases.tally_mut(account).timer = Some(timer);
    }

    /// Has executors looked at now, and again as long as the workflow is pressed.
    fn measure_at(&mut self, now_ns: u64, account: Account) {
        self.actions.push(Action::Measure(account));
        self.leases.tally_mut(account).measure_ns = now_ns + MEASURE_NS;
    }

    pub(super) fn quota_timer(&mut self, now_ns: u64, account: Account) {
        self.leases.tally_mut(account).timer = None;
        self.leases.alarm();
        self.look_after(now_ns);
    }

    /// What costs least: to wait until what runs lets go of enough, or to carry something out. With more in memory than the
    /// quota something is carried out, if anything takes it.
    fn relief(
        &self,
        now_ns: u64,
        deployments: &[u32],
        runs: &[Running],
        (bytes, beyond): (u64, bool),
    ) -> Option<Relief> {
        let carry_ns = self.carry_ns(now_ns, deployments, bytes);
        let wait_ns = self.until_let_go(now_ns, runs, bytes);
        match (carry_ns, wait_ns) {
            (Some(carry_ns), Some(ns)) if !beyond && ns <= carry_ns => Some(Relief::Wait { ns }),
            (Some(_), _) => Some(Relief::Carry),
            (None, Some(ns)) => Some(Relief::Wait { ns }),
            (None, None) => None,
        }
    }

    /// How long it takes to carry so many bytes of these deployments out and back, if they can be.
    pub(super) fn carry_ns(&self, now_ns: u64, deployments: &[u32], bytes: u64) -> Option<f64> {
        let usable = self
            .carriers
            .iter()
            .filter(|one| one.is_up(now_ns) && self.may_go_to(one.kind, deployments));
        usable.map(|one| one.ns(bytes)).min_by(f64::total_cmp)
    }

    /// When what runs is expected to have let go of so many bytes; none if it will not.
    fn until_let_go(&self, now_ns: u64, runs: &[Running], bytes: u64) -> Option<f64> {
        let mut ends = self.scratch.ends.borrow_mut();
        clear(&mut ends);
        for running in runs.iter().filter(|running| !self.waits(running)) {
            let frees = self.lets_go_of(running);
            if frees > 0 {
                let ran_ns = now_ns.saturating_sub(running.started_ns) as f64;
                let lasts_ns = self.lasts_ns(running).unwrap_or(UNKNOWN_NS as f64 + ran_ns);
                // One that takes longer than it used to may take as long again.
                let left_ns = if lasts_ns > ran_ns {
                    lasts_ns - ran_ns
                } else {
                    ran_ns
                };
                ends.push((left_ns, frees));
            }
        }
        ends.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let mut freed = 0;
        ends.iter().find_map(|(ns, frees)| {
            freed += frees;
            (freed >= bytes).then_some(*ns)
        })
    }

    /// Bytes that the end of an activation frees: those of leases of which it is the only one that still reads, by however many views.
    fn lets_go_of(&self, running: &Running) -> u64 {
        let mut views = self.scratch.views.borrow_mut();
        clear(&mut views);
        self.each_view_left(running, |payload| {
            let here = self.leases.reach(payload) == Reach::Here;
            views.extend(
                self.leases
                    .lease_of(payload)
                    .filter(|_| here)
                    .map(|(lease, _)| lease),
            );
        });
        views.sort_unstable();
        let of_one = views.chunk_by(|one, other| one == other);
        let freed = of_one.map(|views| self.leases.freed_by(views[0], views.len()));
        freed.sum()
    }

    /// Calls `each` with the views that go when an activation ends: of what it reads for the last time, and what it holds of lists that
    /// it reads item by item.
    fn each_view_left(&self, running: &Running, mut each: impl FnMut(Payload)) {
        let (place, index) = (running.place, running.node);
        let program = self.program_of(place);
        let node = &program.nodes[index as usize];
        let invocation = &self.invocations[place as usize];
        let mut slots = self.scratch.slots.borrow_mut();
        clear(&mut slots);
        program.each_slot_read(node, |slot| slots.push(slot));
        slots.sort_unstable();
        // Several reads of one slot are of one view.
        for reads in slots.chunk_by(|one, other| one == other) {
            let slot = invocation.slot(reads[0]);
            match slot.filter(|slot| slot.uses as usize == reads.len()) {
                Some(Slot {
                    value: Value::One(payload),
                    ..
                }) => each(*payload),
                Some(Slot {
                    value: Value::List(list),
                    ..
                }) => self.lists.get(*list).iter().copied().for_each(&mut each),
                _ => {}
            }
        }
        self.each_item_left(place, &mut each);
        self.each_payload_granted(running, each);
    }

    fn lasts_ns(&self, running: &Running) -> Option<f64> {
        let deployment = self.invocations[running.place as usize].deployment;
        let known = self.deployments[deployment as usize].as_ref()?;
        known.run_ns.get(&running.node).copied()
    }

    /// An activation of a workflow that is pressed has ended well.
    pub(super) fn note_run_time(&mut self, now_ns: u64, running: &Running) {
        let deployment = self.invocations[running.place as usize].deployment;
        let took_ns = now_ns.saturating_sub(running.started_ns) as f64;
        let known = &mut self.deployment_mut(deployment).run_ns;
        let mean = known.entry(running.node).or_insert(took_ns);
        *mean = KEPT * *mean + (1.0 - KEPT) * took_ns;
    }

    /// Starts activations that wait while an executor of their pool is idle, as far as they may; what the first one is that may
    /// not, and why.
    fn start_waiting(
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
    fn overdraw(
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

    /// Whether payloads of a workflow may be carried anywhere.
    pub(super) fn may_carry(&self, account: Account) -> bool {
        let deployments = self.deployments_of(account);
        let mut carriers = self.carriers.iter();
        carriers.any(|one| self.may_go_to(one.kind, &deployments))
    }

    /// What runs of these deployments.
    pub(super) fn runs_of(&self, deployments: &[u32]) -> Vec<Running> {
        self.each_run_of(deployments).collect()
    }

    fn each_run_of(&self, deployments: &[u32]) -> impl Iterator<Item = Running> {
        let executors = self.executors.iter().flatten();
        let of_these = executors.filter(|executor| deployments.contains(&executor.deployment));
        of_these.filter_map(|executor| executor.running)
    }

    pub(super) fn deployments_of(&self, account: Account) -> Vec<u32> {
        self.each_deployment_of(account).collect()
    }

    fn each_deployment_of(&self, account: Account) -> impl Iterator<Item = u32> {
        let deployments = (0..).zip(&self.deployments);
        let of_it = deployments.filter(move |(_, one)| {
            one.as_ref()
                .is_some_and(|one| one.program.account == account)
        });
        of_it.map(|(index, _)| index)
    }

    /// Calls `each` with every payload that an activation reads.
    pub(super) fn each_payload_read(
        &self,
        place: Place,
        node: LocalNode,
        mut each: impl FnMut(Payload),
    ) {
        let program = self.program_of(place);
        for index in 0..program.inputs(&program.nodes[node as usize]).len() {
            match self.input(place, program, node, index) {
                Read::Absent => {}
                Read::One(payload) => each(payload),
                Read::List(items) => items.iter().copied().for_each(&mut each),
            }
        }
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

/// Run times of nodes, in nanoseconds.
pub(super) type RunTimes = FxHashMap<LocalNode, f64>;
