//! What a simulation plays: workers, deployments, the master's orders, clients' wishes, and what goes wrong.

use super::Sabotage;
use crate::divided::Divided;
use crate::plans::{DeploymentName, Placement, plans};
use crate::random::Random;
use crate::workflow::Workflow;
use crate::workflow::random::Shape;
use engine::plan::{DeploymentId, Limits, NodeId, Plan};
use std::collections::VecDeque;

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
    /// An executor that was asked for cannot be started.
    pub refused_executors: u32,
    /// An activation cannot be handed to its executor.
    pub start_errors: u32,
    /// A payload cannot be taken in where it arrives.
    pub refused_payloads: u32,
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

/// One version of a workflow, and its plans.
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

/// What the master has a lane do with the deployment of that place in [`Scenario::deployments`].
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
            sabotage: None,
        };
        let names: Vec<String> = (0..random.between(1, 2))
            .map(|number| format!("flow{number}"))
            .collect();
        for name in &names {
            scenario.add(random, bounds.shape, name, 1);
        }
        let first: Vec<usize> = (0..scenario.deployments.len()).collect();
        scenario.order(&first, |lane, deployment| Order::Deploy {
            lane,
            deployment,
        });
        scenario.order(&first, |lane, deployment| Order::Activate {
            lane,
            deployment,
        });
        if bounds.story == Story::Upgrades {
            scenario.upgrade(random, bounds.shape, &names);
        }
        for _ in 0..random.between(1, bounds.invocations_max) {
            scenario.wishes.push((
                random.below(lane_count),
                names[random.below(names.len())].clone(),
            ));
        }
        scenario
    }

    fn add(&mut self, random: &mut Random, shape: Shape, name: &str, version: u32) -> usize {
        let workflow = Workflow::random(random, shape);
        let placement = Placement::random(random, &workflow, self.lanes.clone());
        let id = DeploymentId(1000 + self.deployments.len() as u64);
        let name = DeploymentName {
            id,
            workflow: name.to_owned(),
            version,
        };
        let limits = Limits {
            in_flight_max: self.in_flight_max,
            ..Limits::default()
        };
        let plans = plans(&workflow, &placement, &name, limits);
        self.deployments.push(Deployed {
            workflow,
            name,
            divided: placement.divided,
            plans,
        });
        self.deployments.len() - 1
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
            self.order(&[newer], |lane, deployment| Order::Deploy {
                lane,
                deployment,
            });
            if random.chance(750) {
                self.order(&[newer], |lane, deployment| Order::Activate {
                    lane,
                    deployment,
                });
            } else {
                self.order(&[newer], |lane, deployment| Order::Retire {
                    lane,
                    deployment,
                });
            }
        }
        self.retire_all();
    }

    /// One more stage, that retires whatever is still there.
    pub fn retire_all(&mut self) {
        let all: Vec<usize> = (0..self.deployments.len()).collect();
        self.order(&all, |lane, deployment| Order::Retire { lane, deployment });
    }
}
