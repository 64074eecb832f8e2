//! Lanes of peers, as this lane sees them: which life of theirs is the current one, whether their connection stands,
//! and how far their words of new invocations have come.
//!
//! A connection carries messages one way, and its two ends learn at different times that it is gone. What was sent
//! meanwhile may be lost. So whatever depends on a peer's lane fails when a connection in either direction goes; and
//! until the peer has connected anew, and said something, nothing begins that needs its word: it may be that its lane has
//! not been given the connection yet by which it is to answer. One thing is spared: an invocation of which others
//! have told before its entry worker has. Its beginning may be on its way by a connection that this lane has not been
//! given yet; it is given up after a grace period without one. That is remembered: should the beginning come after all,
//! what others had told of it is lost, and so it fails at once.

use super::invocation::{Phase, Place};
use super::program::Program;
use super::{Core, Timer, worker_hash};
use crate::plan::WorkerIndex;
use crate::wire::Failure;
use faasstore::Cancelled;
use faasstore::descriptor::InvocationId;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A lane of a worker: the hash of its name, and the lane's number.
pub(super) type LaneKey = (u32, u8);

/// The lane at whose door an invocation was taken.
pub(super) const fn entry_lane(id: InvocationId) -> LaneKey {
    lane_of(id.door())
}

const fn lane_of(door: u64) -> LaneKey {
    ((door >> 32) as u32, door as u8)
}

/// The life of the worker, as its door's number has it.
const fn epoch_of(door: u64) -> u32 {
    (door >> 8) as u32 & 0xff_ffff
}

#[derive(Debug)]
struct Door {
    epoch: u32,
    /// One more than the highest sequence number that was begun, or that was decided before the connection was made.
    begun_next: u64,
    standing: Standing,
}

/// How it stands with the connection from a lane of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Closed,
    /// It has connected anew. Nothing has come by that connection yet, so that its lane may not know of it.
    Unheard,
    Open,
}

/// Doors of which invocations were given up, at most.
const GIVEN_UP_DOORS_MAX: usize = 1024;
/// Invocations of one door that were given up and are remembered one by one.
const GIVEN_UP_MAX: usize = 1024;

/// Invocations of a door of which others had told, and whose beginning was not waited for any longer.
#[derive(Debug, Default)]
struct GivenUp {
    sequences: BTreeSet<u64>,
    /// All below this number count as given up: of more than are remembered, the lowest.
    below: u64,
}

/// The doors of peers at which invocations are taken in which this lane takes part.
#[derive(Debug, Default)]
pub(super) struct Doors {
    by_lane: FxHashMap<LaneKey, Door>,
    /// Those that are not [`Standing::Open`].
    shut: usize,
    /// Lanes of peers that this lane cannot send to at the moment, though it could before.
    unreachable: FxHashSet<LaneKey>,
    /// By the hash of a worker's name, the latest life of it that this lane knows of, by a connection in either direction.
    lives: FxHashMap<u32, u32>,
    /// By door: a later life of a lane is another one.
    given_up: BTreeMap<u64, GivenUp>,
}

impl Doors {
    /// The entry worker has told of an invocation, or begun to.
    pub(super) fn begun(&mut self, id: InvocationId) {
        let door = self.of_life(id.door());
        if door.epoch == epoch_of(id.door()) {
            door.begun_next = door.begun_next.max(id.sequence() + 1);
        }
    }

    /// Whether the entry worker's word of an invocation that is not known here may still come.
    pub(super) fn expects(&self, id: InvocationId) -> bool {
        let Some(door) = self.by_lane.get(&entry_lane(id)) else {
            return true;
        };
        let epoch = epoch_of(id.door());
        epoch > door.epoch || (epoch == door.epoch && id.sequence() >= door.begun_next)
    }

    /// What was told of an invocation is dropped, though its beginning may still come.
    fn give_up(&mut self, id: InvocationId) {
        if !self.expects(id) {
            return;
        }
        let given_up = self.given_up.entry(id.door()).or_default();
        given_up.sequences.insert(id.sequence());
        if given_up.sequences.len() > GIVEN_UP_MAX
            && let Some(lowest) = given_up.sequences.pop_first()
        {
            given_up.below = lowest + 1;
        }
        if self.given_up.len() > GIVEN_UP_DOORS_MAX {
            self.given_up.pop_first();
        }
    }

    /// Whether something that was told of an invocation has been dropped, so that it cannot be begun.
    pub(super) fn was_given_up(&self, id: InvocationId) -> bool {
        let given_up = self.given_up.get(&id.door());
        given_up.is_some_and(|given_up| {
            id.sequence() < given_up.below || given_up.sequences.contains(&id.sequence())
        })
    }

    /// What was given up of a lane and is decided by now need not be remembered.
    fn forget_decided(&mut self, door: u64, next_sequence: u64) {
        self.given_up.retain(|of, given_up| {
            if lane_of(*of) != lane_of(door) || epoch_of(*of) > epoch_of(door) {
                return true;
            }
            if epoch_of(*of) < epoch_of(door) {
                return false;
            }
            given_up.sequences = given_up.sequences.split_off(&next_sequence);
            if given_up.below <= next_sequence {
                given_up.below = 0;
            }
            given_up.below > 0 || !given_up.sequences.is_empty()
        });
    }

    /// Whether the connection stands by which the word of an invocation would come.
    fn stands(&self, id: InvocationId) -> bool {
        let door = self.by_lane.get(&entry_lane(id));
        door.is_some_and(|door| {
            door.standing != Standing::Closed && door.epoch == epoch_of(id.door())
        })
    }

    /// As [`crate::wire::Load::begun_next`] tells that lane.
    pub(super) fn begun_next(&self, lane: LaneKey) -> u64 {
        self.by_lane.get(&lane).map_or(0, |door| door.begun_next)
    }

    /// A worker of a plan that takes part and has had a later life than that for which the plan was made.
    pub(super) fn outlived_by(&self, program: &Program) -> Option<WorkerIndex> {
        let mut others = program.others.iter().copied();
        others.find(|other| {
            let peer = &program.plan.workers[usize::from(*other)];
            self.lives.get(&worker_hash(&peer.name)) > Some(&peer.epoch)
        })
    }

    fn epoch(&self, lane: LaneKey) -> Option<u32> {
        self.by_lane.get(&lane).map(|door| door.epoch)
    }

    fn standing(&self, lane: LaneKey) -> Option<Standing> {
        self.by_lane.get(&lane).map(|door| door.standing)
    }

    fn set(&mut self, lane: LaneKey, standing: Standing) {
        if let Some(door) = self.by_lane.get_mut(&lane) {
            let before = std::mem::replace(&mut door.standing, standing);
            self.shut += usize::from(standing != Standing::Open);
            self.shut -= usize::from(before != Standing::Open);
        }
    }

    fn open(&mut self, door: u64, next_sequence: u64) {
        let known = self.of_life(door);
        if known.epoch != epoch_of(door) {
            // An earlier life, which has ended whatever still comes of it.
            return;
        }
        known.begun_next = known.begun_next.max(next_sequence);
        let (next_sequence, standing) = (known.begun_next, known.standing);
        if standing == Standing::Closed {
            self.set(lane_of(door), Standing::Unheard);
        }
        self.forget_decided(door, next_sequence);
    }

    fn hear(&mut self, lane: LaneKey) {
        if self.standing(lane) == Some(Standing::Unheard) {
            self.set(lane, Standing::Open);
        }
    }

    /// What is known of that lane, brought up to that life if it is a later one: nothing of the earlier is begun any
    /// more.
    fn of_life(&mut self, door: u64) -> &mut Door {
        let epoch = epoch_of(door);
        let known = self.by_lane.entry(lane_of(door)).or_insert(Door {
            epoch,
            begun_next: 0,
            standing: Standing::Open,
        });
        if known.epoch < epoch {
            (known.epoch, known.begun_next) = (epoch, 0);
        }
        known
    }
}

impl Core {
    /// The latest life of a peer's lane that this lane knows of.
    #[must_use]
    pub fn door_epoch(&self, worker_hash: u32, lane: u8) -> Option<u32> {
        self.doors.epoch((worker_hash, lane))
    }

    /// A lane of a peer has connected. What it took before `next_sequence` is decided, as is all of its earlier lives.
    /// Should it have been connected before, [`Core::door_closed`] comes first, and [`Core::door_heard`] is to come before
    /// anything begins that needs its word.
    pub fn door_opened(&mut self, door: u64, next_sequence: u64) {
        self.doors.open(door, next_sequence);
        self.note_life(lane_of(door).0, epoch_of(door));
        for place in 0..self.invocations.len() as Place {
            let invocation = &self.invocations[place as usize];
            let of_it = entry_lane(invocation.id) == lane_of(door);
            let waits = invocation.phase == Phase::Pending;
            if of_it && waits && !self.doors.expects(invocation.id) {
                self.give_up(place);
            }
        }
    }

    /// Something has come by the connection from a lane of a peer, so that this lane's words can be answered there.
    pub fn door_heard(&mut self, worker: &str, lane: u8) {
        self.doors.hear((worker_hash(worker), lane));
    }

    /// All that take part in a deployment have prepared it, and so made their connections, before its door opens anywhere: their
    /// lanes have been given them. (Should one have been lost since, and be made anew just now, an invocation may still be lost.)
    pub(super) fn doors_heard_of(&mut self, program: &Program) {
        if self.doors.shut == 0 {
            return;
        }
        for other in &program.others {
            let peer = &program.plan.workers[usize::from(*other)];
            (0..peer.lanes).for_each(|lane| self.doors.hear((worker_hash(&peer.name), lane)));
        }
    }

    /// What was planned for an earlier life of a worker than this one, that worker does not have any more.
    fn note_life(&mut self, hash: u32, epoch: u32) {
        let latest = self.doors.lives.entry(hash).or_default();
        *latest = epoch.max(*latest);
        for deployment in self.deployments.iter_mut().flatten() {
            let workers = &deployment.program.plan.workers;
            let outlived = deployment.program.others.iter().find(|other| {
                let peer = &workers[usize::from(**other)];
                worker_hash(&peer.name) == hash && epoch > peer.epoch
            });
            deployment.outlived_by = deployment.outlived_by.or(outlived.copied());
        }
    }

    /// A peer's lane begins nothing any more through the connection that it had; [`Core::peer_lost`] has said what that
    /// means for invocations. Nor may its word come that it has drained a deployment, so it is taken as given: should it
    /// begin invocations of that again, through a new connection, it owes its word again.
    pub fn door_closed(&mut self, worker: &str, lane: u8) {
        let key = (worker_hash(worker), lane);
        self.doors.set(key, Standing::Closed);
        for index in 0..self.deployments.len() as u32 {
            self.mark_drained(index, key);
        }
    }

    /// This lane can send to that lane of a peer, which is in this life of its. A worker that was started anew has nothing to
    /// tell of what was deployed before, and may never connect to this lane: that it answers is how its life becomes known.
    pub fn link_opened(&mut self, worker: &str, lane: u8, epoch: u32) {
        let hash = worker_hash(worker);
        self.doors.unreachable.remove(&(hash, lane));
        self.note_life(hash, epoch);
    }

    /// This lane cannot send to that lane of a peer until [`Core::link_opened`]; [`Core::peer_lost`] has said what that means
    /// for invocations.
    pub fn link_closed(&mut self, worker: &str, lane: u8) {
        self.doors.unreachable.insert((worker_hash(worker), lane));
    }

    /// A lane of a peer cannot be reached any more, or its process has ended. What depended on it fails.
    pub fn peer_lost(&mut self, now_ns: u64, worker: &str, lane: u8, cause: &str) {
        // May come while actions are carried out, not as an event of its own.
        self.revision += 1;
        let lost = (worker_hash(worker), lane);
        for deployment in self.deployments.iter_mut().flatten() {
            deployment.loads.lose(lost);
        }
        for place in 0..self.invocations.len() as Place {
            let invocation = &self.invocations[place as usize];
            let (id, phase) = (invocation.id, invocation.phase);
            // Items of regions end with what they are part of.
            let whole = invocation.root == place;
            if !whole || !matches!(phase, Phase::Running | Phase::Pending) {
                continue;
            }
            if entry_lane(id) == lost && invocation.entry.is_none() {
                if phase == Phase::Running {
                    self.counters.late_dropped += 1;
                    self.end(now_ns, place, Cancelled::FailedElsewhere);
                } else if self.doors.expects(id) {
                    // Whether the door closes too is said next.
                    self.set_orphan_timer(now_ns, place);
                } else {
                    self.give_up(place);
                }
                continue;
            }
            let program = Rc::clone(self.program(invocation.deployment));
            if others(&program, id).any(|(_, other)| other == lost) {
                let failure = Failure::Worker {
                    worker: worker.to_owned(),
                    cause: cause.to_owned(),
                };
                self.fail(now_ns, place, failure);
            }
        }
    }

    /// A participant that cannot be told of an invocation now, or whose word of it would be lost: a connection to it, or from
    /// it, is gone, or has been made anew and is not heard of yet.
    pub(super) fn cut_off<'a>(&self, program: &'a Program, id: InvocationId) -> Option<&'a str> {
        if !self.doors.unreachable.is_empty() {
            let mut lanes = others(program, id);
            let untold = lanes.find(|(_, other)| self.doors.unreachable.contains(other));
            if let Some((name, _)) = untold {
                return Some(name);
            }
        }
        self.shut(program, id, |standing| standing != Standing::Open)
    }

    /// A participant that has no connection to this lane, though it had one: what it has to tell of an invocation would
    /// be lost. The entry worker is not asked: it tells by its connection, in its order.
    pub(super) fn unconnected<'a>(
        &self,
        program: &'a Program,
        id: InvocationId,
    ) -> Option<&'a str> {
        self.shut(program, id, |standing| standing == Standing::Closed)
    }

    fn shut<'a>(
        &self,
        program: &'a Program,
        id: InvocationId,
        is_shut: impl Fn(Standing) -> bool,
    ) -> Option<&'a str> {
        if self.doors.shut == 0 {
            return None;
        }
        let mut lanes = others(program, id).filter(|(_, other)| *other != entry_lane(id));
        let shut = lanes.find(|(_, other)| self.doors.standing(*other).is_some_and(&is_shut));
        shut.map(|(name, _)| name)
    }

    /// Others have told of an invocation before its entry worker has: unless the connection stands by which that word
    /// would come, the wait for it is bounded.
    pub(super) fn await_beginning(&mut self, now_ns: u64, place: Place) {
        if !self.doors.stands(self.invocations[place as usize].id) {
            self.set_orphan_timer(now_ns, place);
        }
    }

    fn set_orphan_timer(&mut self, now_ns: u64, place: Place) {
        let due_ns = now_ns + self.config.patience_ns;
        self.set_timer(due_ns, Timer::Orphan { place });
    }

    pub(super) fn end_orphan(&mut self, place: Place) {
        let invocation = &self.invocations[place as usize];
        if invocation.phase == Phase::Pending && !self.doors.stands(invocation.id) {
            self.give_up(place);
        }
    }

    /// The beginning of a pending invocation will not come.
    fn give_up(&mut self, place: Place) {
        debug_assert_eq!(self.invocations[place as usize].running, 0);
        self.counters.late_dropped += 1;
        let id = self.invocations[place as usize].id;
        self.doors.give_up(id);
        self.free(place);
    }
}

/// The other lanes that take part in an invocation, with the names of their workers.
fn others(program: &Program, id: InvocationId) -> impl Iterator<Item = (&str, LaneKey)> {
    program.others.iter().map(move |other| {
        let peer = &program.plan.workers[usize::from(*other)];
        let lane = id.lane() % peer.lanes;
        (peer.name.as_str(), (worker_hash(&peer.name), lane))
    })
}
