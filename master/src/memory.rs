//! Memory proven before the run: the most that payloads of one invocation may have at once, and how many invocations the
//! quota of their workers holds. docs/store.md, "Memory proven before the run", says what counts, and why it is enough.

mod order;
mod reuse;
mod sizes;
mod worst;

use crate::definition::{Definition, Port};
use crate::graph::Graph;
use crate::place::{Placement, WorkerCapacity};
use crate::planner::{self, Terms};
use engine::plan::{
    Constant, DeploymentId, Limits, MemoryBound, Plan, Replica, UNTIDIED_BYTES, WorkerIndex,
    WorkerRef, executors_on, quota_bytes,
};
use faasstore::binding::{Kind, Maximum};
use std::collections::BTreeMap;

/// An output, or an input of the workflow, that does not say all that it may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undeclared {
    /// Which: `NODE.OUTPUT` or `input.NAME`.
    pub port: String,
    /// The key that is missing: `max_bytes` or `max_items`.
    pub lacks: &'static str,
}

/// What payloads of one invocation may have at once, at most, in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorstCase {
    /// On each worker, if it is the one that takes the invocation.
    pub by_worker: Vec<u64>,
    /// On all workers together.
    pub in_all: u64,
}

/// What is proven of a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerMemory {
    /// Its name.
    pub name: String,
    /// Bytes that payloads of one invocation may have there at once.
    pub invocation_bytes: u64,
    /// Bytes that payloads of the workflow may have there; none if no executor runs there: then only what all workflows
    /// share bounds it.
    pub quota_bytes: Option<u64>,
    /// Invocations that this holds.
    pub in_flight_max: Option<u64>,
}

/// What is proven of one placement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The worst case.
    pub worst: WorstCase,
    /// The workers, in their order.
    pub workers: Vec<WorkerMemory>,
    /// The worker whose quota the fewest invocations fit, and how many may be in flight, all doors together; none if no
    /// worker runs executors.
    pub in_flight: Option<(usize, u64)>,
    /// By worker and lane: how many of these each door takes.
    doors: Vec<Vec<u64>>,
    /// By worker and lane: bytes that payloads of all that are in flight may need there.
    lanes: Vec<Vec<u64>>,
}

/// The outputs and inputs of a workflow that do not declare all that they may have.
#[must_use]
pub fn undeclared(definition: &Definition) -> Vec<Undeclared> {
    let lacks = |kind: Kind, maximum: Maximum| match kind {
        _ if maximum.held_bytes(kind).is_some() => None,
        Kind::List if maximum.items == u64::MAX => Some("max_items"),
        Kind::Bytes | Kind::List | Kind::Value => Some("max_bytes"),
    };
    let inputs = definition.inputs.iter().filter_map(|input| {
        let lacks = lacks(input.kind, input.maximum)?;
        let port = format!("input.{}", input.name.value);
        Some(Undeclared { port, lacks })
    });
    let outputs = definition.nodes.iter().flat_map(|node| {
        let undeclared = move |port: &Port| {
            let lacks = lacks(port.kind, port.maximum)?;
            let port = format!("{}.{}", node.name.value, port.name.value);
            Some(Undeclared { port, lacks })
        };
        node.outputs.iter().filter_map(undeclared)
    });
    inputs.chain(outputs).collect()
}

/// Whether anything of a workflow declares a maximum.
#[must_use]
pub fn declares(definition: &Definition) -> bool {
    let inputs = definition.inputs.iter().map(|input| input.maximum);
    let outputs = definition.nodes.iter().flat_map(|node| &node.outputs);
    let mut all = inputs.chain(outputs.map(|port| port.maximum));
    all.any(|maximum| maximum.is_declared())
}

/// Whether the memory of a workflow is proven: all that it may make is declared, or known as values are, and something is
/// declared. What declares nothing is not held to anything.
#[must_use]
pub fn is_proven(definition: &Definition) -> bool {
    declares(definition) && undeclared(definition).is_empty()
}

/// The worst case of an invocation by the plans of one placement, in which all outputs and inputs declare what they may have.
/// What does not counts as `u64::MAX`.
#[must_use]
pub fn worst_case(plans: &[Plan]) -> WorstCase {
    worst::worst_case(plans)
}

/// What is proven of a placement of a workflow in which everything is declared; `plans` are its plans.
///
/// # Panics
/// If they do not belong together.
#[must_use]
pub fn prove(
    definition: &Definition,
    graph: &Graph,
    placement: &Placement,
    plans: &[Plan],
) -> Proven {
    let worst = worst_case(plans);
    let mut peaks: BTreeMap<(usize, &str), u32> = BTreeMap::new();
    for (node, worker) in graph.nodes().zip(placement.workers()) {
        if let Some(executable) = &node.executable {
            let peak_mib = definition.nodes[node.defined].profile.peak_mib;
            let peak = peaks.entry((*worker, executable)).or_default();
            *peak = peak_mib.max(*peak);
        }
    }
    let peak_of = |worker: usize, executable: &str| {
        peaks
            .get(&(worker, executable))
            .copied()
            .unwrap_or_default()
    };
    let rooms: Vec<Option<Room>> = plans
        .iter()
        .zip(&worst.by_worker)
        .enumerate()
        .map(|(worker, (plan, bytes))| Room::of(plan, *bytes, |name| peak_of(worker, name)))
        .collect();
    let doors = doors(&plans[0].workers, &rooms);
    let workers = plans.iter().zip(&rooms).zip(&worst.by_worker);
    let workers = workers.map(|((plan, room), bytes)| WorkerMemory {
        name: plan.workers[usize::from(plan.me)].name.clone(),
        invocation_bytes: *bytes,
        quota_bytes: room.as_ref().map(Room::bytes),
        in_flight_max: room.as_ref().map(Room::invocations),
    });
    let workers: Vec<WorkerMemory> = workers.collect();
    let limits = workers.iter().enumerate();
    let limits = limits.filter_map(|(worker, memory)| Some((memory.in_flight_max?, worker)));
    let in_flight = limits.min().map(|(_, worker)| {
        let all = doors.iter().flatten().copied();
        (worker, all.fold(0, u64::saturating_add))
    });
    let most = in_flight.map_or(0, |(_, most)| most);
    let rooms = rooms.iter().zip(&worst.by_worker);
    let lanes = plans.iter().zip(rooms).map(|(plan, (room, bytes))| {
        let lanes = plan.workers[usize::from(plan.me)].lanes.max(1);
        let nothing = || vec![0; lanes.into()];
        room.as_ref()
            .map_or_else(nothing, |room| room.needed(most, *bytes))
    });
    let lanes = lanes.collect();
    Proven {
        worst,
        workers,
        in_flight,
        doors,
        lanes,
    }
}

/// What would be proven of a placement on these workers, before anything is deployed.
#[must_use]
pub fn foretell(
    definition: &Definition,
    graph: &Graph,
    placement: &Placement,
    workers: &[WorkerCapacity],
) -> Proven {
    let workers = workers.iter().map(|worker| WorkerRef {
        name: worker.name.clone(),
        address: String::new(),
        lanes: worker.lanes.max(1),
        epoch: 1,
    });
    let workers: Vec<WorkerRef> = workers.collect();
    let id = DeploymentId(0);
    let terms = Terms {
        deployment: id,
        replica: Replica::only(id),
        version: 1,
        limits: Limits::default(),
    };
    let plans = planner::plan(definition, graph, placement, &workers, terms);
    prove(definition, graph, placement, &plans)
}

impl Proven {
    /// Has the doors of a deployment let in no more than is proven.
    pub fn add_to(&self, plans: &mut [Plan]) {
        let Some((worker, in_flight_max)) = self.in_flight else {
            return;
        };
        let of = &self.workers[worker];
        let doors = self.doors.iter().zip(&self.lanes);
        for (plan, (at_door, on_lane)) in plans.iter_mut().zip(doors) {
            plan.memory = Some(MemoryBound {
                worker: worker as WorkerIndex,
                invocation_bytes: of.invocation_bytes,
                quota_bytes: of.quota_bytes.unwrap_or_default(),
                in_flight_max,
                at_door: at_door.clone(),
                on_lane: on_lane.clone(),
            });
        }
    }
}

/// What there is on a worker for payloads of the workflow, lane by lane.
struct Room(Vec<LaneRoom>);

struct LaneRoom {
    bytes: u64,
    /// Of these, what is taken whatever is in flight.
    fixed: u64,
    /// Invocations that these hold.
    invocations: u64,
}

impl Room {
    /// None if no executor runs there.
    fn of(plan: &Plan, invocation_bytes: u64, peak_mib: impl Fn(&str) -> u32) -> Option<Self> {
        if plan.executables.is_empty() {
            return None;
        }
        let lanes = plan.workers[usize::from(plan.me)].lanes.max(1);
        let fixed = plan.constants.iter().map(constant_bytes);
        let fixed = fixed.fold(UNTIDIED_BYTES, u64::saturating_add);
        let rooms = (0..lanes).map(|lane| {
            let quotas = plan.executables.iter().map(|pool| {
                let executors = executors_on(lane, pool.scale, lanes);
                let peak_bytes = u64::from(peak_mib(&pool.name)) << 20;
                quota_bytes(executors.into(), pool.memory_mib, peak_bytes)
            });
            let unused_bytes = quotas.fold(0, u64::saturating_add);
            // More than executors leave over is not promised, whatever the workflow may have. That is for all of its placements
            // together.
            let placements = u64::from(plan.replica.count.max(1));
            let given = plan.limits.store.quota_bytes;
            let given = given.map(|given| given / placements);
            let bytes = given.map_or(unused_bytes, |given| given.min(unused_bytes));
            let left = bytes.saturating_sub(fixed);
            LaneRoom {
                bytes,
                fixed,
                // What takes nothing is not bounded by memory.
                invocations: left.checked_div(invocation_bytes).unwrap_or(u64::MAX),
            }
        });
        Some(Self(rooms.collect()))
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|lane| lane.bytes).sum()
    }

    /// What as many invocations may need on each lane as may be in flight, and find room there.
    fn needed(&self, in_flight_max: u64, invocation_bytes: u64) -> Vec<u64> {
        let needed = |lane: &LaneRoom| {
            let invocations = lane.invocations.min(in_flight_max);
            lane.fixed + invocations.saturating_mul(invocation_bytes)
        };
        self.0.iter().map(needed).collect()
    }

    fn invocations(&self) -> u64 {
        let of_lanes = self.0.iter().map(|lane| lane.invocations);
        of_lanes.fold(0, u64::saturating_add)
    }
}

/// What a constant has in memory of each lane, as long as the workflow is deployed.
fn constant_bytes(constant: &Constant) -> u64 {
    let items = constant.items.iter().map(|item| item.len() as u64);
    sizes::range(items.fold(0, u64::saturating_add))
}

/// How many invocations each lane of each worker may take, so that no lane of any worker gets more than it has room for: an
/// invocation that lane `e` takes lives on lane `e` of each worker, counted round where there are fewer. All shares rise
/// together, and those that can rise no more stay.
fn doors(workers: &[WorkerRef], rooms: &[Option<Room>]) -> Vec<Vec<u64>> {
    let all = workers.iter().enumerate();
    let all = all.flat_map(|(worker, of)| (0..of.lanes).map(move |lane| (worker, lane)));
    let all: Vec<(usize, u8)> = all.collect();
    let mut shares = vec![0_u64; all.len()];
    // By lane of a worker with executors: what is left, and the doors that lead there.
    let mut lanes: Vec<(u64, Vec<usize>)> = Vec::new();
    for (worker, room) in workers.iter().zip(rooms) {
        let Some(room) = room else { continue };
        for lane in 0..worker.lanes {
            let leads = |place: &usize| all[*place].1 % worker.lanes == lane;
            let doors: Vec<usize> = (0..all.len()).filter(leads).collect();
            lanes.push((room.0[usize::from(lane)].invocations, doors));
        }
    }
    let mut rising = vec![!lanes.is_empty(); all.len()];
    while rising.contains(&true) {
        let shared = lanes.iter().filter_map(|(left, doors)| {
            let count = doors.iter().filter(|door| rising[**door]).count() as u64;
            left.checked_div(count)
        });
        let step = shared.min().unwrap_or(0);
        let raised: Vec<usize> = (0..all.len()).filter(|door| rising[*door]).collect();
        for door in raised {
            // What cannot be parted evenly goes to the first.
            let lanes_of = || lanes.iter().filter(|(_, doors)| doors.contains(&door));
            let step = step.max(1);
            if lanes_of().all(|(left, _)| *left >= step) {
                shares[door] = shares[door].saturating_add(step);
                for (left, doors) in &mut lanes {
                    if doors.contains(&door) {
                        *left -= step;
                    }
                }
            } else {
                rising[door] = false;
            }
        }
    }
    let mut shares = shares.into_iter();
    let of_worker = |worker: &WorkerRef| shares.by_ref().take(worker.lanes.into()).collect();
    workers.iter().map(of_worker).collect()
}

#[cfg(test)]
mod tests;
