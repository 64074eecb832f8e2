//! What a simulation plays: workers, deployments, the master's orders, clients' wishes, and what goes wrong.

use super::Sabotage;
use super::reads::INLINE_BYTES_MAX;
use crate::divided::Divided;
use crate::plans::{DeploymentName, Placement, plans};
use crate::random::Random;
use crate::workflow::Workflow;
use crate::workflow::random::Shape;
use engine::core::store::StoreRules;
use engine::plan::{Balance, DeploymentId, Limits, NodeId, Plan, Replica};
use faasstore::tier::TierKind;
use master::memory::WorstCase;
use std::collections::VecDeque;
use std::ops::Range;

/// In a thousand deployments: those with several placements.
const SEVERAL: u32 = 400;
/// In a thousand plots: those in which workflows have quotas that they may use up.
const SHORT_OF_MEMORY: u32 = 500;
/// Such a quota, at most.
const QUOTA_BYTES_MAX: usize = 400;
/// Placements of a deployment, at most.
const PLACEMENTS_MAX: usize = 3;

/// How often things go wrong, each in a thousand occasions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Faults {
    /// A function returns an error.
    pub failures: u32,
    /// A function with a timeout never returns.
    pub hangs: u32,
    /// An executor completes what it was not given, or with other outputs than declared.
    pub lies: u32,
    /// At a step: an executor dies.
    pub deaths: u32,
    /// At a step: an executor is to be replaced.
    pub replacements: u32,
    /// An executor that was asked for cannot be started.
    pub refused_executors: u32,
    /// An activation cannot be handed to its executor.
    pub start_errors: u32,
    /// A payload cannot be taken in where it arrives.
    pub refused_payloads: u32,
    /// A payload that was carried out of memory cannot be brought back.
    pub lost_payloads: u32,
    /// A state event arrives twice.
    pub doubles: u32,
    /// A client's inputs are not what the workflow takes.
    pub wrong_inputs: u32,
    /// At a step: a connection breaks, in one direction.
    pub breaks: u32,
    /// At a step: a worker dies; it may come back without its deployments.
    pub crashes: u32,
    /// At a step: a client cancels what it has asked for, under way or not.
    pub cancels: u32,
}

/// What happens to deployments while invocations run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Story {
    /// They are deployed and opened before the first client comes, and retire after the last answer.
    Steady,
    /// Newer versions take their places, some are dropped before their doors open, and all retire while invocations run.
    Upgrades,
}

/// What kind of scenario to draw.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of the workflows.
    pub shape: Shape,
    /// Workers at most.
    pub workers_max: usize,
    /// Lanes of a worker at most.
    pub lanes_max: usize,
    /// Invocations at most.
    pub invocations_max: usize,
    /// What goes wrong.
    pub faults: Faults,
    /// What happens to deployments.
    pub story: Story,
}

/// One version of a workflow, in one of its placements, and the plans of that. The placements of a version stand one
/// behind the other.
#[derive(Debug)]
pub struct Deployed {
    /// What it computes.
    pub workflow: Workflow,
    /// What it is called.
    pub name: DeploymentName,
    /// Its nodes as the plans have them, some regions in parts.
    pub divided: Divided,
    /// By worker.
    pub plans: Vec<Plan>,
}

impl Deployed {
    /// The node of the workflow that a node of the plans is, or is a part of.
    #[must_use]
    pub fn written(&self, node: NodeId) -> NodeId {
        self.divided.of[node as usize]
    }

    /// How many parts a region of the workflow has that lies in no other.
    #[must_use]
    pub fn parts(&self, region: u16) -> u64 {
        let node = self.workflow.nodes_within(region).next();
        let copies = self.divided.of.iter().filter(|of| Some(**of) == node);
        copies.count() as u64
    }
}

/// What the master has a lane do with what stands in that place of [`Scenario::deployments`]: each placement is deployed
/// by itself, and all of a version are activated and retired by the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "named as the core's calls, each with the lane and the deployment"
)]
pub enum Order {
    Deploy { lane: usize, deployment: usize },
    Activate { lane: usize, deployment: usize },
    Retire { lane: usize, deployment: usize },
}

impl Order {
    /// Which lane it is for.
    #[must_use]
    pub fn lane(self) -> usize {
        match self {
            Self::Deploy { lane, .. } | Self::Activate { lane, .. } | Self::Retire { lane, .. } => {
                lane
            }
        }
    }
}

/// A simulation's plot.
#[derive(Debug)]
pub struct Scenario {
    /// Lanes of each worker.
    pub lanes: Vec<u8>,
    /// All that will ever be deployed.
    pub deployments: Vec<Deployed>,
    /// Stages of orders: those of a stage come in any order, and all before those of the next.
    pub stages: VecDeque<Vec<Order>>,
    /// Of these stages from the front, none may wait for another event.
    pub first_stages: usize,
    /// Invocations to come: lane and workflow name.
    pub wishes: Vec<(usize, String)>,
    /// Invocations that a lane takes at once.
    pub in_flight_max: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// What cores do with payloads when a workflow has too many.
    pub store: StoreRules,
    /// By deployment, the most that an invocation may hold, if everything declares what it may have.
    pub worst: Option<Vec<WorstCase>>,
    /// What is wrong with the cores.
    pub sabotage: Option<Sabotage>,
}

impl Scenario {
    /// A random plot.
    #[must_use]
    pub fn random(random: &mut Random, bounds: Bounds) -> Self {
        let workers = random.between(1, bounds.workers_max);
        let lanes: Vec<u8> = (0..workers)
            .map(|_| random.between(1, bounds.lanes_max) as u8)
            .collect();
        let lane_count: usize = lanes.iter().map(|lanes| usize::from(*lanes)).sum();
        let mut scenario = Self {
            lanes,
            deployments: Vec::new(),
            stages: VecDeque::new(),
            first_stages: 2,
            wishes: Vec::new(),
            in_flight_max: if random.chance(300) {
                random.between(1, 3) as u32
            } else {
                1000
            },
            faults: bounds.faults,
            store: StoreRules::default(),
            worst: None,
            sabotage: None,
        };
        let names: Vec<String> = (0..random.between(1, 2))
            .map(|number| format!("flow{number}"))
            .collect();
        for name in &names {
            scenario.add(random, bounds.shape, name, 1);
        }
        let all: Vec<usize> = (0..scenario.deployments.len()).collect();
        scenario.order(&all, |lane, deployment| Order::Deploy { lane, deployment });
        scenario.order(&scenario.firsts(), |lane, deployment| Order::Activate {
            lane,
            deployment,
        });
        if bounds.story == Story::Upgrades {
            scenario.upgrade(random, bounds.shape, &names);
        }
        // All come to one door at times, so that it has something to divide.
        let door = random.chance(400).then(|| random.below(lane_count));
        for _ in 0..random.between(1, bounds.invocations_max) {
            let lane = door.unwrap_or_else(|| random.below(lane_count));
            let name = names[random.below(names.len())].clone();
            scenario.wishes.push((lane, name));
        }
        if random.chance(SHORT_OF_MEMORY) {
            let tiers = [
                &[][..],
                &[TierKind::Spill],
                &[TierKind::Spill, TierKind::Remote],
            ];
            scenario.store = StoreRules {
                tiers: random.pick(&tiers).to_vec(),
                moved_bytes_min: 1,
                quota_bytes: Some(random.below(QUOTA_BYTES_MAX) as u64),
                ..StoreRules::default()
            };
        }
        scenario
    }

    /// A version of a workflow, in one placement or several; the places of these.
    fn add(&mut self, random: &mut Random, shape: Shape, name: &str, version: u32) -> Range<usize> {
        let workflow = Workflow::random(random, shape);
        let first = self.deployments.len();
        let id = |place: usize| DeploymentId(1000 + place as u64);
        let count = match random.chance(SEVERAL) {
            true => random.between(2, PLACEMENTS_MAX),
            false => 1,
        };
        let balance = random.pick(&[Balance::RoundRobin, Balance::Load]);
        // A placement may be full while its lane is not.
        let few = count > 1 && random.chance(600);
        let limits = Limits {
            in_flight_max: if few { 1 } else { self.in_flight_max },
            inline_bytes_max: INLINE_BYTES_MAX,
            ..Limits::default()
        };
        for number in 1..=count {
            let placement = Placement::random(random, &workflow, self.lanes.clone());
            let name = DeploymentName {
                id: id(self.deployments.len()),
                replica: Replica {
                    of: id(first),
                    number: number as u16,
                    count: count as u16,
                    balance,
                },
                workflow: name.to_owned(),
                version,
            };
            let plans = plans(&workflow, &placement, &name, limits);
            self.deployments.push(Deployed {
                workflow: workflow.clone(),
                name,
                divided: placement.divided,
                plans,
            });
        }
        first..self.deployments.len()
    }

    /// Whether a workflow is deployed in several placements.
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        let mut deployments = self.deployments.iter();
        deployments.any(|deployed| deployed.name.replica.count > 1)
    }

    /// The first placements of all deployments.
    fn firsts(&self) -> Vec<usize> {
        let all = (0..).zip(&self.deployments);
        let firsts = all.filter(|(_, deployed)| deployed.name.replica.number == 1);
        firsts.map(|(place, _)| place).collect()
    }

    fn order(&mut self, deployments: &[usize], order: impl Fn(usize, usize) -> Order) {
        let lane_count: usize = self.lanes.iter().map(|lanes| usize::from(*lanes)).sum();
        let orders = deployments
            .iter()
            .flat_map(|deployment| (0..lane_count).map(move |lane| (lane, *deployment)));
        self.stages.push_back(
            orders
                .map(|(lane, deployment)| order(lane, deployment))
                .collect(),
        );
    }

    fn upgrade(&mut self, random: &mut Random, shape: Shape, names: &[String]) {
        for version in 2..2 + random.between(1, 2) as u32 {
            let name = names[random.below(names.len())].clone();
            let newer = self.add(random, shape, &name, version);
            let first = newer.start;
            self.order(&newer.collect::<Vec<_>>(), |lane, deployment| {
                Order::Deploy { lane, deployment }
            });
            if random.chance(750) {
                self.order(&[first], |lane, deployment| Order::Activate {
                    lane,
                    deployment,
                });
            } else {
                self.order(&[first], |lane, deployment| Order::Retire {
                    lane,
                    deployment,
                });
            }
        }
        self.retire_all();
    }

    /// One more stage, that retires whatever is still there.
    pub fn retire_all(&mut self) {
        let all = self.firsts();
        self.order(&all, |lane, deployment| Order::Retire { lane, deployment });
    }
}
