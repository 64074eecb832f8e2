//! Lanes of peers, as this lane sees them: which life of theirs is the current one, whether their connection stands,
//! and how far their words of new invocations have come.
//!
//! A connection carries messages one way, and its two ends learn at different times that it is gone. What was sent
//! meanwhile may be lost. So whatever depended on a peer's lane fails when a connection in either direction goes, and
//! once more when the peer connects anew: what it could not tell in between, it will never tell. One thing is spared: an
//! invocation of which others have told before its entry worker has. Its beginning may be on its way by a connection that
//! this lane has not been given yet; it is given up after a grace period without one.

use super::invocation::{Phase, Place};
use super::{Core, Timer, worker_hash};
use crate::wire::Failure;
use faasstore::descriptor::InvocationId;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A lane of a worker: the hash of its name, and the lane's number.
type LaneKey = (u32, u8);

const fn lane_of(id: InvocationId) -> LaneKey {
    ((id.0 >> 96) as u32, id.lane())
}

const fn epoch_of(id: InvocationId) -> u32 {
    (id.0 >> 72) as u32 & 0xff_ffff
}

#[derive(Debug)]
struct Door {
    epoch: u32,
    /// One more than the highest sequence number that was begun, or that was decided before the connection was made.
    begun_next: u64,
    open: bool,
}

/// The doors of peers at which invocations are taken in which this lane takes part.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    by_lane: FxHashMap<LaneKey, Door>,
    closed: usize,
}

impl Doors {
    /// The entry worker has told of an invocation, or begun to.
    pub(crate) fn begun(&mut self, id: InvocationId) {
        let epoch = epoch_of(id);
        let door = self.by_lane.entry(lane_of(id)).or_insert(Door { epoch, begun_next: 0, open: true });
        if door.epoch < epoch {
            (door.epoch, door.begun_next) = (epoch, 0);
        }
        if door.epoch == epoch {
            door.begun_next = door.begun_next.max(id.sequence() + 1);
        }
    }

    /// Whether the entry worker's word of an invocation that is not known here may still come.
    pub(crate) fn expects(&self, id: InvocationId) -> bool {
        let Some(door) = self.by_lane.get(&lane_of(id)) else { return true };
        let epoch = epoch_of(id);
        epoch > door.epoch || (epoch == door.epoch && id.sequence() >= door.begun_next)
    }

    /// Whether the connection stands by which the word of an invocation would come.
    fn stands(&self, id: InvocationId) -> bool {
        self.by_lane.get(&lane_of(id)).is_some_and(|door| door.open && door.epoch == epoch_of(id))
    }

    /// Whether some peer's connection is known to be gone: the exception, so that other checks can be left out.
    pub(crate) fn any_closed(&self) -> bool {
        self.closed > 0
    }

    pub(crate) fn is_closed(&self, worker_hash: u32, lane: u8) -> bool {
        self.by_lane.get(&(worker_hash, lane)).is_some_and(|door| !door.open)
    }

    fn open(&mut self, key: LaneKey, epoch: u32, next_sequence: u64) {
        let door = self.by_lane.entry(key).or_insert(Door { epoch, begun_next: 0, open: true });
        self.closed -= usize::from(!door.open);
        let begun_next = if door.epoch == epoch { door.begun_next.max(next_sequence) } else { next_sequence };
        *door = Door { epoch, begun_next, open: true };
    }

    fn close(&mut self, key: LaneKey) {
        if let Some(door) = self.by_lane.get_mut(&key) {
            self.closed += usize::from(door.open);
            door.open = false;
        }
    }
}

impl Core {
    /// A lane of a peer has connected. What it took before `next_sequence` is decided, as is all of its earlier lives;
    /// and what depended on it fails, since it may have told of it in vain while it was not connected.
    pub fn door_opened(&mut self, now_ns: u64, worker: &str, epoch: u32, lane: u8, next_sequence: u64) {
        let key = (worker_hash(worker), lane);
        let known = self.doors.by_lane.contains_key(&key);
        self.doors.open(key, epoch, next_sequence);
        if known {
            self.fail_dependents(now_ns, worker, lane, "it has connected anew");
        }
    }

    /// A lane of a peer has no connection to this one any more, or its process has ended. What depended on it fails.
    pub fn door_closed(&mut self, now_ns: u64, worker: &str, lane: u8, cause: &str) {
        self.doors.close((worker_hash(worker), lane));
        self.peer_lost(now_ns, worker, lane, cause);
    }

    /// A lane of a peer cannot be reached any more. What depended on it fails.
    pub fn peer_lost(&mut self, now_ns: u64, worker: &str, lane: u8, cause: &str) {
        self.fail_dependents(now_ns, worker, lane, cause);
        let lost = (worker_hash(worker), lane);
        for index in 0..self.deployments.len() as u32 {
            let Some(deployment) = self.deployments[index as usize].as_mut() else { continue };
            // Its word that it has drained may be among what was lost. Should it still begin invocations, that tells.
            if !deployment.drained.contains(&lost) {
                deployment.drained.push(lost);
            }
            self.settle(index);
        }
    }

    fn fail_dependents(&mut self, now_ns: u64, worker: &str, lane: u8, cause: &str) {
        let lost = (worker_hash(worker), lane);
        for place in 0..self.invocations.len() as Place {
            let invocation = &self.invocations[place as usize];
            let (id, phase, generation) = (invocation.id, invocation.phase, invocation.generation);
            if !matches!(phase, Phase::Running | Phase::Pending) {
                continue;
            }
            if lane_of(id) == lost && invocation.entry.is_none() {
                if phase == Phase::Running || !self.doors.expects(id) {
                    self.counters.late_dropped += 1;
                    self.end(now_ns, place);
                } else {
                    self.await_beginning(now_ns, place, generation);
                }
                continue;
            }
            let program = Rc::clone(self.program(invocation.deployment));
            let takes_part = program.others.iter().any(|other| {
                let peer = &program.plan.workers[usize::from(*other)];
                peer.name == worker && id.lane() % peer.lanes == lane
            });
            if takes_part {
                let failure = Failure::Worker { worker: worker.to_owned(), cause: cause.to_owned() };
                self.fail(now_ns, place, failure);
            }
        }
    }

    /// Others have told of an invocation before its entry worker has: unless the connection stands by which that word
    /// would come, it is not waited for longer than a grace period.
    pub(super) fn await_beginning(&mut self, now_ns: u64, place: Place, generation: u32) {
        if !self.doors.stands(self.invocations[place as usize].id) {
            self.set_timer(now_ns + self.config.grace_ns, Timer::Orphan { place, generation });
        }
    }

    pub(super) fn end_orphan(&mut self, now_ns: u64, place: Place, generation: u32) {
        let invocation = &self.invocations[place as usize];
        let waits = invocation.generation == generation && invocation.phase == Phase::Pending;
        if waits && !self.doors.stands(invocation.id) {
            self.counters.late_dropped += 1;
            self.end(now_ns, place);
        }
    }
}
