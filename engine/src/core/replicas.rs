//! Several placements of one deployment: which of them takes an invocation that has come to the door of this lane.
//!
//! The lane chooses by itself, from what events have brought, so that the choice replays. In turn, it tries the placements
//! one after the other. By load, it takes the one where an invocation has the least before it for each executor, itself
//! counted, in the lane's own view: what each lane of a placement has told last of the activations that run and wait there,
//! and what this lane has given to it since and is not counted in that. A placement is as full as its fullest lane, since an
//! invocation has to pass through all of them: a sum would hide one that is stuck behind others that are idle. Whose turn
//! it is decides between equals.
//!
//! Whoever goes by the least of figures that all have heard and that are old sends everybody to the same place. Views that
//! are local, and count one's own choices, avoid that, and hold the queues bounded though lanes and loads differ, as long
//! as their error is bounded: S. Vargaftik, I. Keslassy, A. Orda, "LSQ: Load Balancing in Large-Scale Heterogeneous Systems
//! With Multiple Dispatchers", IEEE/ACM Transactions on Networking 28(3), 2020. A word says which of the receiver's own
//! invocations it counts, so that those under way are neither lost nor counted twice, however long the way is.

use super::doors::LaneKey;
use super::pool::Pool;
use super::program::Program;
use super::{Core, Refusal, worker_hash};
use crate::plan::{DeploymentId, Plan};
use crate::wire::{Load, MemoryRefusal};
use faasstore::descriptor::InvocationId;
use std::collections::VecDeque;
use std::fmt;

/// Invocations given to a placement that are remembered one by one until they are counted elsewhere, at most: a lane that
/// has not told for so many is full enough.
const GIVEN_MAX: usize = 1024;

/// The placements of the version of a workflow whose door is open.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) of: DeploymentId,
    /// By rising number.
    pub(super) placements: Vec<u32>,
    /// Place among them of the one whose turn it is; beyond them all, the first one's.
    pub(super) turn: usize,
}

/// A placement that takes an invocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) index: u32,
    /// Of several, as [`Version::turn`] is to be then.
    turn: Option<usize>,
    /// How many could not take it, of those that were looked at.
    passed: u64,
}

/// Why a placement cannot take an invocation.
#[derive(Clone, Copy)]
enum Unable<'a> {
    Refused(&'a str),
    Full(u32),
    /// As many are in flight as this lane may take for memory.
    Memory(&'a Plan, u64),
    Outlived(&'a str),
    Unconnected(&'a str),
}

/// The figures of a refusal for memory.
fn figures(plan: &Plan, at_door: u64) -> Option<MemoryRefusal> {
    let memory = plan.memory.as_ref()?;
    Some(MemoryRefusal {
        worker: plan.workers[usize::from(memory.worker)].name.clone(),
        invocation_bytes: memory.invocation_bytes,
        quota_bytes: memory.quota_bytes,
        in_flight_max: memory.in_flight_max,
        at_door,
    })
}

/// An `Unable` of a workflow, as its client is told.
struct Told<'a>(Unable<'a>, &'a str);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(unable, workflow) = self;
        match unable {
            Unable::Refused(reason) => {
                write!(f, "workflow `{workflow}` cannot run here: {reason}")
            }
            Unable::Full(limit) => write!(
                f,
                "{limit} invocations of workflow `{workflow}` are in flight already, which is its limit; try again later"
            ),
            Unable::Memory(plan, at_door) => {
                let Some(memory) = figures(plan, *at_door) else {
                    return Ok(());
                };
                let MemoryRefusal {
                    worker,
                    invocation_bytes,
                    quota_bytes,
                    in_flight_max,
                    ..
                } = memory;
                write!(
                    f,
                    "an invocation of workflow `{workflow}` may need {invocation_bytes} bytes on worker {worker}, whose \
                     quota is {quota_bytes} bytes, so that {in_flight_max} may be in flight; "
                )?;
                match (*at_door, at_door == &in_flight_max) {
                    (0, false) => write!(f, "this lane takes none of them: invoke it at another"),
                    (_, true) => write!(f, "that many are; try again later"),
                    (some, false) => {
                        write!(
                            f,
                            "this lane's share of {some} are; try again later, or at another"
                        )
                    }
                }
            }
            Unable::Outlived(worker) => write!(
                f,
                "worker {worker} takes part and was started anew since workflow `{workflow}` was deployed, which it does \
                 not have any more; deploy its file again with `faasflow deploy`"
            ),
            Unable::Unconnected(worker) => write!(
                f,
                "worker {worker} takes part and is not connected at the moment; try again later"
            ),
        }
    }
}

/// What there is to do, and for how many executors.
#[derive(Clone, Copy, Debug)]
struct Fullness {
    active: u64,
    executors: u64,
}

impl Fullness {
    /// Of a lane without executors, which takes whatever comes.
    const FREE: Self = Self {
        active: 0,
        executors: u16::MAX as u64,
    };

    fn of(pool: &Pool) -> Self {
        let resting = pool.idle.len() as u64 + u64::from(pool.ending);
        let running = u64::from(pool.members).saturating_sub(resting);
        Self {
            active: running + pool.waiting.len() as u64,
            executors: u64::from(pool.scale.max(1)),
        }
    }

    /// Whether one more has more before it for each executor, itself counted. The fractions are never rounded.
    fn exceeds(self, other: Self) -> bool {
        let over = |a: Self, b: Self| (a.active + 1).saturating_mul(b.executors);
        over(self, other) > over(other, self)
    }

    fn fuller(self, other: Self) -> Self {
        if other.exceeds(self) { other } else { self }
    }
}

/// What this lane knows of what a placement has to do elsewhere. Kept of deployments that go by load.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// The other lanes in which invocations of this lane run, and what each has told last.
    told: Vec<(LaneKey, Load)>,
    /// Rising sequence numbers of what this lane has given to the placement, and one of those lanes has not counted yet.
    given: VecDeque<u64>,
}

/// Of a lane of which nothing was heard, it is taken that it has one executor, and that this is idle.
const SILENT: Load = Load {
    active: 0,
    executors: 1,
    begun_next: 0,
};

impl Loads {
    pub(super) fn new(program: &Program, lane: u8) -> Self {
        if !program.plan.replica.is_by_load() {
            return Self::default();
        }
        let others = program.others.iter().map(|other| {
            let peer = &program.plan.workers[usize::from(*other)];
            ((worker_hash(&peer.name), lane % peer.lanes), SILENT)
        });
        Self {
            told: others.collect(),
            given: VecDeque::new(),
        }
    }

    fn hear(&mut self, lane: LaneKey, load: Load) {
        let known = self.told.iter_mut().find(|(known, _)| *known == lane);
        // A word may be overtaken by a later one, while payloads of its message are under way.
        let Some((_, known)) = known.filter(|(_, known)| load.begun_next >= known.begun_next)
        else {
            return;
        };
        *known = load;
        let counted = self.told.iter().map(|(_, load)| load.begun_next).min();
        let counted = counted.unwrap_or(u64::MAX);
        let counted = self.given.partition_point(|given| *given < counted);
        self.given.drain(..counted);
    }

    /// A lane was lost, and all that this lane has given to the placement has failed with it.
    pub(super) fn lose(&mut self, lane: LaneKey) {
        let known = self.told.iter_mut().find(|(known, _)| *known == lane);
        if let Some((_, known)) = known {
            *known = SILENT;
            self.given.clear();
        }
    }

    fn give(&mut self, sequence: u64) {
        if self.told.is_empty() {
            return;
        }
        if self.given.len() == GIVEN_MAX {
            self.given.pop_front();
        }
        self.given.push_back(sequence);
    }

    fn fullness(&self) -> Fullness {
        let of_lane = |(_, load): &(LaneKey, Load)| {
            let counted = self.given.partition_point(|given| *given < load.begun_next);
            Fullness {
                active: u64::from(load.active) + (self.given.len() - counted) as u64,
                executors: u64::from(load.executors.max(1)),
            }
        };
        let all = self.told.iter().map(of_lane);
        all.fold(Fullness::FREE, Fullness::fuller)
    }
}

impl Core {
    /// The placements of a deployment that are here, by rising number.
    pub(super) fn placements_of(&self, id: DeploymentId) -> Vec<u32> {
        let here = (0..).zip(&self.deployments);
        let replicas = here.filter_map(|(index, deployment)| {
            let replica = deployment.as_ref()?.program.plan.replica;
            (replica.of == id).then_some((replica.number, index))
        });
        let mut placements: Vec<(u16, u32)> = replicas.collect();
        placements.sort_unstable();
        placements.into_iter().map(|(_, index)| index).collect()
    }

    /// Whose turn is first at this door: another placement's than at other doors, so that the first invocations do not all
    /// go to the same one.
    pub(super) fn first_turn(&self, plan: &Plan) -> usize {
        let doors_before = usize::from(plan.me) + usize::from(self.config.lane);
        doors_before % usize::from(plan.replica.count)
    }

    /// The placement of a version that takes an invocation, or why none does.
    pub(super) fn choose(
        &self,
        version: &Version,
        id: InvocationId,
        workflow: &str,
    ) -> Result<Choice, Refusal> {
        let placements = &version.placements;
        let mut best: Option<(Choice, Fullness)> = None;
        let mut unable = None;
        let mut passed = 0;
        for step in 0..placements.len() {
            let place = (version.turn + step) % placements.len();
            let index = placements[place];
            if let Err(reason) = self.can_take(index, id) {
                unable.get_or_insert(reason);
                passed += 1;
                continue;
            }
            let choice = Choice {
                index,
                turn: (placements.len() > 1).then_some(place + 1),
                passed,
            };
            if !self.program(index).plan.replica.is_by_load() {
                return Ok(choice);
            }
            let fullness = self.fullness(index);
            if best.is_none_or(|(_, least)| least.exceeds(fullness)) {
                best = Some((choice, fullness));
            }
        }
        if let Some((choice, _)) = best {
            return Ok(Choice { passed, ..choice });
        }
        let memory = match unable {
            Some(Unable::Memory(plan, at_door)) => figures(plan, at_door),
            _ => None,
        };
        let reason = unable.map(|unable| Told(unable, workflow).to_string());
        let reason = reason.unwrap_or_default();
        let reason = match placements.len() {
            1 => reason,
            all => {
                format!("none of its {all} placements can take it; of the next in turn: {reason}")
            }
        };
        Err(Refusal { reason, memory })
    }

    fn can_take(&self, index: u32, id: InvocationId) -> Result<(), Unable<'_>> {
        let Some(deployment) = self.deployments[index as usize].as_ref() else {
            unreachable!("a deployment stays while its door is open");
        };
        if let Some(reason) = &deployment.refused {
            return Err(Unable::Refused(reason));
        }
        let program = &deployment.program;
        let limit = program.plan.limits.in_flight_max;
        if deployment.taken >= limit {
            return Err(Unable::Full(limit));
        }
        if let Some(memory) = &program.plan.memory {
            let at_door = memory.at_door.get(usize::from(self.config.lane));
            let at_door = at_door.copied().unwrap_or_default();
            let places = [deployment.taken, deployment.ending, deployment.leaving];
            if places.into_iter().map(u64::from).sum::<u64>() >= at_door {
                return Err(Unable::Memory(&program.plan, at_door));
            }
        }
        if let Some(worker) = deployment.outlived_by {
            return Err(Unable::Outlived(
                &program.plan.workers[usize::from(worker)].name,
            ));
        }
        match self.cut_off(program, id) {
            Some(worker) => Err(Unable::Unconnected(worker)),
            None => Ok(()),
        }
    }

    /// An invocation was given to a placement: it is the next one's turn.
    pub(super) fn given(&mut self, workflow: &str, choice: Choice, sequence: u64) {
        self.counters.placements_passed += choice.passed;
        self.deployment_mut(choice.index).loads.give(sequence);
        if let Some(turn) = choice.turn
            && let Some(version) = self.versions.get_mut(workflow)
        {
            version.turn = turn;
        }
    }

    /// How full a placement is, as far as this lane knows.
    fn fullness(&self, index: u32) -> Fullness {
        let Some(deployment) = self.deployments[index as usize].as_ref() else {
            return Fullness::FREE;
        };
        let here = deployment.pools.iter().map(Fullness::of);
        here.fold(deployment.loads.fullness(), Fullness::fuller)
    }

    /// What that lane of a peer is to be told of a placement: nothing, unless its deployment goes by load and nodes of it
    /// run here.
    #[must_use]
    pub fn load_for(&self, deployment: DeploymentId, worker_hash: u32, lane: u8) -> Option<Load> {
        let index = *self.deployment_by_id.get(&deployment)?;
        self.load_of(index, (worker_hash, lane))
    }

    fn load_of(&self, index: u32, peer: LaneKey) -> Option<Load> {
        let deployment = self.deployments[index as usize].as_ref()?;
        if !deployment.program.plan.replica.is_by_load() || !deployment.program.has_part() {
            return None;
        }
        let pools = deployment.pools.iter().map(Fullness::of);
        let fullest = pools.fold(Fullness::FREE, Fullness::fuller);
        Some(Load {
            active: u16::try_from(fullest.active).unwrap_or(u16::MAX),
            executors: u16::try_from(fullest.executors).unwrap_or(u16::MAX),
            begun_next: self.doors.begun_next(peer),
        })
    }

    /// What that lane of a peer is to be told of all placements that it may have a part in.
    #[must_use]
    pub fn loads_for(&self, hash: u32, lane: u8) -> Vec<(DeploymentId, Load)> {
        let known = (0..self.deployments.len() as u32).filter_map(|index| {
            let plan = &self.deployments[index as usize].as_ref()?.program.plan;
            let load = self.load_of(index, (hash, lane))?;
            let mut workers = plan.workers.iter();
            let shares = workers.any(|worker| worker_hash(&worker.name) == hash);
            shares.then_some((plan.deployment, load))
        });
        known.collect()
    }

    /// A lane of a peer has told what it has to do for a placement. Of what this lane does not share it says nothing here.
    pub fn hear_load(&mut self, deployment: DeploymentId, worker_hash: u32, lane: u8, load: Load) {
        let index = self.deployment_by_id.get(&deployment).copied();
        let known = index.and_then(|index| self.deployments[index as usize].as_mut());
        // Nobody counts what has not been taken yet; a word that says so must not make later ones look old.
        let load = Load {
            begun_next: load.begun_next.min(self.next_sequence),
            ..load
        };
        if let Some(deployment) = known {
            deployment.loads.hear((worker_hash, lane), load);
        }
    }
}
