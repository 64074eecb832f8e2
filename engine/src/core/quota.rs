//! What is done while a workflow is pressed for memory, so that what waits for some may start.
//!
//! It looks after all that wait, at every change and by a timer, and ends the state when there is room again. Whether one may start is
//! decided in [`gate`](super::gate), by which means room is made in [`relief`](super::relief), and which payloads leave in
//! [`victims`](super::victims).

use super::gate::Gate;
use super::invocation::{Place, Read};
use super::lease::{Account, LeaseId, Payload};
use super::pool::Running;
use super::program::LocalNode;
use super::relief::Relief;
use super::scratch::clear;
use super::timers::Timer;
use super::victims::LeaveLast;
use super::{Action, CarryOut, Core};
use crate::wire::Failure;
use faasstore::descriptor::RoomAnswer;
use faasstore::tier::TierKind;
use std::rc::Rc;

/// Payloads of a workflow that are on their way at once.
pub(super) const MOVING_MAX: u64 = 256;
/// How often the executors of a workflow that is pressed are looked at.
const MEASURE_NS: u64 = 1_000_000_000;

/// An activation that has been given up: its invocation is to fail.
#[derive(Debug)]
pub(super) struct Lost {
    place: Place,
    generation: u32,
    node: LocalNode,
    cause: Rc<str>,
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
    pub(super) fn waits(&self, running: &Running) -> bool {
        self.waits_for_item(running) || self.waits_for_room(running)
    }

    /// Whether a workflow has more in memory than it may.
    pub(super) fn is_over(&self, account: Account) -> bool {
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
