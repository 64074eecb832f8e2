//! Payloads that are carried out of memory and back, and when: each workflow has a quota of memory for what its activations
//! have made and still need.
//!
//! While a workflow has less than half of its quota this costs a comparison for each lease. Beyond that it is *pressed*: an activation
//! then starts only if what it reads is here and what it is expected to make has room (`gate`). If it has none, the core
//! chooses by what costs the least time (`relief`): it waits for what runs and will let go of something, or has the payloads that are
//! read last carried out to a tier (`victims`). What is away is fetched before an activation that reads it starts; of a list
//! that does not fit in, items are copied in as they are asked for (`window`).
//!
//! Progress: if nothing of a workflow runs or moves, one activation starts (and what it reads is fetched) whatever the quota
//! says, which is counted. So a quota that is too small makes a workflow slow and never stuck.
//!
//! Nothing here carries anything: that is what the worker's store thread does, which says how long it took.

use super::lease::Account;
use super::program::{InputFrom, Scope};
use super::timers::TimerKey;
use super::{Action, Core};
use crate::plan::{DeploymentId, NodeId, Plan, executors_on, quota_bytes};
use crate::reads::{Moved, Reads};
use faasstore::descriptor::PayloadRef;
use faasstore::tier::TierKind;
use std::rc::Rc;

/// What was carried out, or is being. Never given twice by one core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What is arriving from a peer, as the lane names it. Never given twice to one core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Arrival(pub u64);

/// Why a tier has not taken a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unstored {
    /// It takes none of that size, however empty it is.
    TooLarge,
    /// It is full, or has failed.
    Failed,
    /// It was not asked: the store thread has too much to do.
    Busy,
}

/// What is done when a workflow has used up its quota of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreRules {
    /// Where payloads may be carried; nowhere if there are none.
    pub tiers: Vec<TierKind>,
    /// Payloads of fewer bytes are not carried out: it would not pay.
    pub moved_bytes_min: u64,
    /// Memory that payloads of a workflow may take which are brought back: lists that do not fit into half of it are read item by
    /// item, whatever their workflow's quota is.
    pub memory_bytes: u64,
    /// Each deployment's quota, if it is not what its executors reserve and do not use.
    pub quota_bytes: Option<u64>,
}

impl Default for StoreRules {
    fn default() -> Self {
        Self {
            tiers: Vec::new(),
            moved_bytes_min: 64 << 10,
            memory_bytes: u64::MAX,
            quota_bytes: None,
        }
    }
}

/// What a tier costs at first, until it has been used: a plain disk, and a server near by.
const DISK: Cost = Cost {
    latency_ns: 100_000.0,
    ns_per_byte: 2.0,
};
const SERVER: Cost = Cost {
    latency_ns: 300_000.0,
    ns_per_byte: 8.0,
};

/// How much of what is known of a tier's cost stays when it is used once more.
const KEPT: f64 = 0.8;

/// How long a tier that has failed is left alone at first; twice as long each time.
const PAUSE_NS: u64 = 50_000_000;
/// How long a tier is left alone for which the store thread has no time: that is no failure of the tier's.
const BUSY_NS: u64 = 2_000_000;
/// How often it is waited for; then workflows do without it until it is tried again.
const FAILURES_MAX: u32 = 6;

/// How long it takes to carry bytes one way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Cost {
    latency_ns: f64,
    ns_per_byte: f64,
}

impl Cost {
    pub(super) fn ns(self, bytes: u64) -> f64 {
        self.latency_ns + self.ns_per_byte * bytes as f64
    }

    /// Of large payloads the time per byte is learnt, of small ones the latency.
    fn learn(&mut self, bytes: u64, took_ns: u64) {
        let took_ns = took_ns as f64;
        let by_bytes = self.ns_per_byte * bytes as f64;
        if by_bytes > self.latency_ns {
            let found = (took_ns - self.latency_ns).max(0.0) / bytes as f64;
            self.ns_per_byte = KEPT * self.ns_per_byte + (1.0 - KEPT) * found;
        } else {
            let found = (took_ns - by_bytes).max(0.0);
            self.latency_ns = KEPT * self.latency_ns + (1.0 - KEPT) * found;
        }
    }
}

/// A tier that payloads may be carried to.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub(super) kind: TierKind,
    out: Cost,
    back: Cost,
    /// It has failed, and is not asked again until then.
    resting_until_ns: u64,
    /// How often it has failed since it last did not.
    failures: u32,
    /// Payloads of more bytes it does not take, as far as is known.
    bytes_max: u64,
}

impl Carrier {
    pub(super) fn new(kind: TierKind) -> Self {
        let cost = match kind {
            TierKind::Remote => SERVER,
            TierKind::Inline | TierKind::Shared | TierKind::Peer | TierKind::Spill => DISK,
        };
        Self {
            kind,
            out: cost,
            back: cost,
            resting_until_ns: 0,
            failures: 0,
            bytes_max: u64::MAX,
        }
    }

    pub(super) fn is_up(&self, now_ns: u64) -> bool {
        self.resting_until_ns <= now_ns
    }

    /// Whether it may take so many bytes at once.
    pub(super) const fn takes(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max
    }

    /// When it is asked again, if it has failed but not so often that it is to be done without.
    pub(super) fn up_again_ns(&self, now_ns: u64) -> Option<u64> {
        let waits = !self.is_up(now_ns) && self.failures <= FAILURES_MAX;
        waits.then_some(self.resting_until_ns)
    }

    fn failed(&mut self, now_ns: u64) {
        // Others that were under way at the same time count as one.
        if !self.is_up(now_ns) {
            return;
        }
        let pause_ns = PAUSE_NS << self.failures.min(FAILURES_MAX);
        self.failures = self.failures.saturating_add(1);
        self.resting_until_ns = now_ns + pause_ns;
    }

    fn busy(&mut self, now_ns: u64) {
        self.resting_until_ns = self.resting_until_ns.max(now_ns + BUSY_NS);
    }

    /// How long whoever waits for the room waits, and whoever reads it later.
    pub(super) fn ns(&self, bytes: u64) -> f64 {
        self.out.ns(bytes) + self.back.ns(bytes)
    }
}

/// What is watched of a workflow.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Bytes that its leases may have.
    pub quota_bytes: u64,
    /// Bytes that the segments may have in which they lie.
    pub room_bytes: u64,
    /// Bytes that what may be in flight, by what was proven, needs more than executors have turned out to leave.
    pub lacking_bytes: u64,
    /// Beyond so many it is looked after.
    pub(super) watch_bytes: u64,
    /// Whether it is looked after.
    pub pressed: bool,
    /// What has been carried.
    pub carried: Carried,
    /// What was read in deployments of it that have gone.
    pub(super) past_reads: Reads,
    /// The timer that looks after it, if one is set.
    pub(super) timer: Option<TimerKey>,
    /// When its executors are to be looked at again.
    pub(super) measure_ns: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            quota_bytes: 0,
            room_bytes: u64::MAX,
            lacking_bytes: 0,
            watch_bytes: u64::MAX,
            pressed: false,
            carried: Carried::default(),
            past_reads: Reads::default(),
            timer: None,
            measure_ns: 0,
        }
    }
}

/// Counts of what has been carried for a workflow.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Carried {
    /// To disk, and back.
    pub spill: Moved,
    /// To a remote store, and back.
    pub remote: Moved,
    /// Payloads of peers that could not be taken in.
    pub arrivals_refused: u64,
    /// Activations that were held back for want of room.
    pub held_back: u64,
    /// Activations that were started, or given an item that they waited for, beyond the quota, since nothing else ran.
    pub overdrawn: u64,
    /// Activations that were started before all items of their lists were in memory.
    pub windowed: u64,
}

impl Carried {
    fn of_mut(&mut self, kind: TierKind) -> &mut Moved {
        match kind {
            TierKind::Remote => &mut self.remote,
            TierKind::Inline | TierKind::Shared | TierKind::Peer | TierKind::Spill => {
                &mut self.spill
            }
        }
    }

    /// To all tiers together.
    #[must_use]
    pub fn all(&self) -> Moved {
        let mut all = self.spill;
        all.add(self.remote);
        all
    }
}

/// What a deployment's executors on one lane reserve and do not use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Unused {
    /// For payloads: of each executor what is reserved, less the published margin of a fifth, and less the most that one of them
    /// has had for itself.
    quota_bytes: u64,
    /// For the segments in which they lie: the margin is what these may have beyond the payloads.
    room_bytes: u64,
}

impl Unused {
    pub(super) fn of(plan: &Plan, lane: u8, own_bytes: &[u64]) -> Self {
        let lanes = plan.workers[usize::from(plan.me)].lanes;
        let mut unused = Self::default();
        for (executable, own) in plan.executables.iter().zip(own_bytes) {
            let executors = u32::from(executors_on(lane, executable.scale, lanes));
            unused.quota_bytes += quota_bytes(executors, executable.memory_mib, *own);
            let reserved = u64::from(executable.memory_mib) << 20;
            unused.room_bytes += u64::from(executors) * reserved.saturating_sub(*own);
        }
        unused
    }

    const fn and(self, other: Self) -> Self {
        Self {
            quota_bytes: self.quota_bytes.saturating_add(other.quota_bytes),
            room_bytes: self.room_bytes.saturating_add(other.room_bytes),
        }
    }
}

impl Core {
    /// What is done when a workflow has used up its quota of memory.
    #[must_use]
    pub fn store_rules(&self) -> &StoreRules {
        &self.config.store
    }

    /// A payload that was to be carried out has been, or could not be.
    pub fn stored(
        &mut self,
        now_ns: u64,
        ticket: Ticket,
        kind: TierKind,
        stored: Result<u64, Unstored>,
    ) {
        let Some(left) = self.leases.left(ticket, stored.is_ok()) else {
            return;
        };
        let carrier = self.carriers.iter_mut().find(|one| one.kind == kind);
        let carried = &mut self.leases.tally_mut(left.account).carried;
        match (stored, carrier) {
            (Ok(took_ns), Some(carrier)) => {
                carrier.failures = 0;
                carrier.out.learn(left.bytes, took_ns);
            }
            (Err(why), Some(carrier)) => {
                carried.of_mut(kind).refused += 1;
                match why {
                    Unstored::TooLarge => {
                        carrier.bytes_max = carrier.bytes_max.min(left.bytes.saturating_sub(1));
                    }
                    Unstored::Failed => carrier.failed(now_ns),
                    Unstored::Busy => carrier.busy(now_ns),
                }
            }
            (_, None) => {}
        }
        let carried = &mut self.leases.tally_mut(left.account).carried;
        if left.wanted {
            carried.of_mut(kind).out.count(left.bytes);
        } else if stored.is_ok() {
            self.actions.push(Action::Discard(ticket));
        }
        if let Some(range) = left.freed {
            self.actions.push(Action::Release(range));
        }
        self.revision += 1;
        self.look_after(now_ns);
    }

    /// A payload that was to be fetched lies there now, and nowhere else any more; or it is lost, and why.
    pub fn fetched(
        &mut self,
        now_ns: u64,
        ticket: Ticket,
        kind: TierKind,
        fetched: Result<(PayloadRef, u64), Rc<str>>,
    ) {
        let range = fetched.as_ref().map(|(range, _)| *range);
        let came = self.leases.came(ticket, range.map_err(Rc::clone));
        let Some((came, unwanted)) = came else {
            return;
        };
        let bytes = came.bytes;
        let carried = &mut self.leases.tally_mut(came.account).carried;
        let moved = carried.of_mut(came.kind);
        match fetched {
            Ok((_, took_ns)) => {
                match came.is_copy {
                    true => moved.copied.count(bytes),
                    false => moved.back.count(bytes),
                }
                if let Some(carrier) = self.carriers.iter_mut().find(|one| one.kind == kind) {
                    carrier.back.learn(bytes, took_ns);
                }
            }
            // What a copy was to be made of may be there, or come back meanwhile.
            Err(_) if came.is_copy => {}
            Err(_) => self.count_lost(came.account, came.kind),
        }
        if let Some(range) = unwanted {
            self.actions.push(Action::Release(range));
        }
        self.revision += 1;
        self.look_after(now_ns);
    }

    /// A payload could not be got back for whoever needs it.
    pub(super) fn count_lost(&mut self, account: Account, kind: TierKind) {
        self.leases.tally_mut(account).carried.of_mut(kind).lost += 1;
    }

    /// Whether a list that a remote node has made may be taken in before all of it is here: if a region runs over it, and
    /// only executors read it.
    #[must_use]
    pub fn is_taken_early(&self, deployment: DeploymentId, node: NodeId, output: u16) -> bool {
        let Some(index) = self.deployment_by_id.get(&deployment) else {
            return false;
        };
        let program = self.program(*index);
        let producer = program.remote_producer(node);
        let slot = producer.and_then(|(_, producer)| producer.slots.get(&output));
        slot.is_some_and(|slot| {
            let of = |scope: &Scope| scope.list == InputFrom::Slot(*slot);
            program.first_readers[*slot as usize].is_some() && program.scopes.iter().any(of)
        })
    }

    /// So many bytes of an [`Incoming::Arriving`](super::Incoming::Arriving) are here by now, from its beginning.
    pub fn arrived(&mut self, now_ns: u64, arrival: Arrival, bytes: u64) {
        self.leases.arrived(arrival, bytes);
        self.look_after(now_ns);
    }

    /// All of an [`Incoming::Arriving`](super::Incoming::Arriving) is here; or no more will come, and why. Its range is
    /// committed in either case.
    pub fn arrival_ended(&mut self, now_ns: u64, arrival: Arrival, ended: Result<(), Rc<str>>) {
        if let Some(range) = self.leases.arrival_ended(arrival, ended) {
            self.actions.push(Action::Release(range));
        }
        self.look_after(now_ns);
    }

    /// There is no room for a copy that was to be made: see [`super::CopyIn`].
    pub fn unplaced(&mut self, now_ns: u64, ticket: Ticket) {
        self.leases.unplaced(ticket);
        self.revision += 1;
        self.look_after(now_ns);
    }

    /// An executor of an executable has been seen to have so many bytes of memory for itself: the quota is what is reserved and
    /// nobody has ever used.
    pub fn measured(&mut self, deployment: DeploymentId, executable: u16, bytes: u64) {
        let Some(index) = self.deployment_by_id.get(&deployment).copied() else {
            return;
        };
        let lane = self.config.lane;
        let state = self.deployment_mut(index);
        let Some(known) = state.own_bytes.get_mut(usize::from(executable)) else {
            return;
        };
        if bytes <= *known {
            return;
        }
        *known = bytes;
        state.unused = Unused::of(&state.program.plan, lane, &state.own_bytes);
        let account = state.program.account;
        self.set_quota(account);
    }

    /// What payloads of a workflow may have in this lane's memory: what its newest version says, whatever else is deployed of it;
    /// or what executors of all that is deployed of it do not use.
    pub(super) fn set_quota(&mut self, account: Account) {
        let deployments = self.deployments.iter().flatten();
        let of_it = || {
            deployments
                .clone()
                .filter(|one| one.program.account == account)
        };
        let newest = of_it().max_by_key(|one| one.program.plan.version);
        let said = newest.and_then(|one| one.program.plan.limits.store.quota_bytes);
        let lane = usize::from(self.config.lane);
        let lacking = of_it().filter_map(|one| {
            let memory = one.program.plan.memory.as_ref()?;
            let needed = memory.on_lane.get(lane)?;
            Some(needed.saturating_sub(one.unused.quota_bytes))
        });
        let lacking_bytes = lacking.sum();
        let unused = of_it().map(|one| one.unused);
        let unused = unused.fold(Unused::default(), Unused::and);
        let said = self.config.store.quota_bytes.or(said);
        let quota_bytes = said.unwrap_or(unused.quota_bytes);
        let tally = self.leases.tally_mut(account);
        tally.quota_bytes = quota_bytes;
        tally.lacking_bytes = lacking_bytes;
        // Who is given more than is reserved has that much in any case.
        tally.room_bytes = unused.room_bytes.max(quota_bytes);
        tally.watch_bytes = quota_bytes / 2;
        self.leases.alarm();
    }
}
