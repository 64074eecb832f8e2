//! Deployment: all workers asked, plans sent, and either all of them serve the workflow or everything is as before.
//!
//! [`Cluster::connect`] makes sure that the addresses name distinct workers. [`Cluster::deploy`] prepares on all, then
//! activates on all; what was prepared when somebody refused is dropped again. An activation cannot be taken back: if a
//! worker is lost between the two steps, the error says which workers serve the new version. Once `deploy` has
//! returned, nothing here is needed for the workflow to run.

mod kept;
mod measuring;
mod types;
mod undeploy;

pub use kept::{KeptError, options_of, sources_of, speeds_of};
pub use measuring::LinkEffort;
pub use undeploy::Undeployed;

use crate::client::{ClientError, ControlClient, Options};
use crate::definition::Definition;
use crate::division::{self, DivisionError};
use crate::graph::Graph;
use crate::memory::{self, Proven};
use crate::place::{self, Placement, WorkerCapacity};
use crate::planner::{self, RandomError, Terms};
use crate::types::TypesError;
use engine::core::worker_hash;
use engine::nearest::instead;
use engine::plan::{Balance, DeploymentId, Limits, Plan, Replica, WorkerRef};
use engine::wire::{BODY_BYTES_MAX, Control, ControlReply, WorkerDescription, encode};
use std::collections::HashMap;
use thiserror::Error;

/// A worker that has been greeted and described.
#[derive(Debug)]
struct Member {
    address: String,
    description: WorkerDescription,
    control: ControlClient,
}

/// The workers of a deployment, each with a connection.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    /// As they said, and what else is known of them.
    capacities: Vec<WorkerCapacity>,
}

/// How many placements a deployment has beside each other, and how invocations are divided among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replicas {
    /// From 1 to [`REPLICAS_MAX`](engine::plan::REPLICAS_MAX).
    pub count: u16,
    /// Counts for several alone.
    pub balance: Balance,
}

impl Default for Replicas {
    /// One placement.
    fn default() -> Self {
        Self {
            count: 1,
            balance: Balance::default(),
        }
    }
}

/// A deployment that its workers have accepted.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// Its version, from 1.
    pub version: u32,
    /// The workflow's graph.
    pub graph: Graph,
    /// Where its nodes run, placement by placement; workers count as in `workers`.
    pub placements: Vec<Placement>,
    /// The workers.
    pub workers: Vec<WorkerRef>,
    /// Why workers do not keep its files, if so: then it cannot be planned anew without them.
    pub unkept: Option<String>,
}

/// Why a deployment, or a question to a cluster, came to nothing.
#[derive(Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum DeployError {
    /// No addresses.
    #[error("no worker is named")]
    #[diagnostic(help("name one at least: --workers HOST:PORT"))]
    NoWorkers,
    /// A worker cannot be spoken to.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Client(#[from] ClientError),
    /// One worker, named twice.
    #[error("{first} and {second} reach the same worker, {name}")]
    #[diagnostic(help("name each worker once under --workers"))]
    SameWorker {
        /// One address.
        first: String,
        /// The other.
        second: String,
        /// The worker's name.
        name: String,
    },
    /// Two workers that cannot be told apart.
    #[error("the workers at {first} and {second} are both called {name}")]
    #[diagnostic(help("start one of them with another --name"))]
    SameName {
        /// One address.
        first: String,
        /// The other.
        second: String,
        /// Their name.
        name: String,
    },
    /// Two names that invocations' ids cannot tell apart.
    #[error("the names of workers {first} and {second} give the same number in invocations' ids")]
    #[diagnostic(help("start one of them with another --name"))]
    SameIdentity {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// An executable that a worker does not have.
    #[error("node {node} is placed on worker {worker}, which has no executable `{executable}`")]
    #[diagnostic(help("put it into that worker's functions folder (--functions); {known}"))]
    Executable {
        /// Which node.
        node: String,
        /// Which worker.
        worker: String,
        /// Which executable.
        executable: String,
        /// What is there.
        known: String,
    },
    /// No placement.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Place(#[from] DivisionError),
    /// Not one invocation fits the memory that is proven for it.
    #[error(
        "an invocation may have {invocation_bytes} bytes of payloads on worker {worker}, and the quota there is \
         {quota_bytes} bytes, so that none would be let in"
    )]
    #[diagnostic(help(
        "nothing was changed; declare smaller maxima, or give the nodes there more executors (`scale`) or more memory \
         (`memory_mib`)"
    ))]
    Memory {
        /// Which worker.
        worker: String,
        /// Bytes that payloads of one invocation may have there.
        invocation_bytes: u64,
        /// Bytes that payloads of the workflow may have there.
        quota_bytes: u64,
    },
    /// A plan too large to be sent.
    #[error("the plan for worker {worker} has {bytes} bytes, above the limit of {BODY_BYTES_MAX}")]
    #[diagnostic(help("part the workflow in two"))]
    PlanBytes {
        /// For which worker.
        worker: String,
        /// What it has.
        bytes: usize,
    },
    /// Payloads that do not go together.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Types(#[from] TypesError),
    /// No random number.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A worker will not.
    #[error("worker {worker} refused: {reason}")]
    #[diagnostic(help("nothing was changed"))]
    Refused {
        /// Which worker.
        worker: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A link was not measured.
    #[error("the link from {from} to {to} was not measured: {cause}")]
    #[diagnostic(help("nothing was changed; measure again when that is put right"))]
    Link {
        /// The worker that was to measure it.
        from: String,
        /// The worker that it leads to.
        to: String,
        /// Why, and what to do.
        cause: String,
    },
    /// Some workers serve the new version, and some do not.
    #[error("worker {worker} did not activate the deployment: {cause}; it is active on {active}")]
    #[diagnostic(help(
        "bring worker {worker} back and deploy again, or take the workflow away with `faasflow undeploy`"
    ))]
    Torn {
        /// Which worker.
        worker: String,
        /// Why.
        cause: String,
        /// Workers that serve the new version.
        active: String,
    },
    /// No worker has what is to be taken away.
    #[error("workflow {workflow} is on none of the workers {workers}: {reason}")]
    #[diagnostic(help("nothing was changed; `faasflow status` shows what workers serve"))]
    NotDeployed {
        /// As given.
        workflow: String,
        /// Those that were asked.
        workers: String,
        /// In the first one's words.
        reason: String,
    },
    /// Some workers have taken it away, and one was lost.
    #[error(
        "worker {worker} may still serve workflow {workflow}: {cause}; it was taken away from {from}"
    )]
    #[diagnostic(help(
        "bring worker {worker} back and undeploy once more; one that was started anew has no workflow"
    ))]
    HalfUndeployed {
        /// The one that was lost.
        worker: String,
        /// How.
        cause: String,
        /// As given.
        workflow: String,
        /// Workers that have taken it away.
        from: String,
    },
}

impl Cluster {
    /// Connects to the workers at these addresses and asks what they have.
    ///
    /// # Errors
    /// If there is no address, if a worker cannot be reached, or if two addresses lead to one worker or to two that
    /// cannot be told apart.
    pub fn connect(addresses: &[String], options: &Options) -> Result<Self, DeployError> {
        if addresses.is_empty() {
            return Err(DeployError::NoWorkers);
        }
        let mut members: Vec<Member> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let mut control = ControlClient::connect(address, options)?;
            let description = control.describe()?;
            members.push(Member {
                address: address.clone(),
                description,
                control,
            });
        }
        distinct(&members)?;
        let described = members.iter().map(|member| capacity(&member.description));
        Ok(Self {
            capacities: described.collect(),
            members,
        })
    }

    /// What each worker has, in the order of the addresses.
    pub fn descriptions(&self) -> impl ExactSizeIterator<Item = &WorkerDescription> {
        self.members.iter().map(|member| &member.description)
    }

    /// The workers as plans name them.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerRef> {
        let workers = self.members.iter().map(|member| WorkerRef {
            name: member.description.name.clone(),
            address: member.address.clone(),
            lanes: member.description.lanes,
            epoch: member.description.epoch,
        });
        workers.collect()
    }

    /// What each worker can take, as of when it was asked.
    #[must_use]
    pub fn capacities(&self) -> Vec<WorkerCapacity> {
        self.capacities.clone()
    }

    /// The same, for what a worker does not say of itself to be added. It counts for what is placed from then on.
    pub fn capacities_mut(&mut self) -> &mut [WorkerCapacity] {
        &mut self.capacities
    }

    /// Deploys a workflow on these workers, in one placement; see [`Cluster::deploy_replicas`].
    ///
    /// # Errors
    /// As there.
    pub fn deploy(
        &mut self,
        definition: &Definition,
        options: &place::Options,
        limits: Limits,
    ) -> Result<Deployment, DeployError> {
        self.deploy_replicas(definition, options, Replicas::default(), limits)
    }

    /// Deploys a workflow on these workers, in as many placements as wanted. An earlier version retires: what is in flight
    /// ends on it. The limits hold for each placement by itself.
    ///
    /// # Errors
    /// If it fits nowhere, or a worker refuses or is lost; unless it is [`DeployError::Torn`], all workers that can
    /// still be reached are as they were.
    ///
    /// # Panics
    /// If the number of placements is none from 1 to [`REPLICAS_MAX`](engine::plan::REPLICAS_MAX).
    pub fn deploy_replicas(
        &mut self,
        definition: &Definition,
        options: &place::Options,
        replicas: Replicas,
        limits: Limits,
    ) -> Result<Deployment, DeployError> {
        let placed = self.place_replicas(definition, options, replicas.count)?;
        self.deploy_placed(definition, placed, (options, replicas), limits)
    }

    /// Where a workflow would run in so many placements, without any change to the workers.
    ///
    /// # Errors
    /// If it does not fit so often.
    ///
    /// # Panics
    /// As [`Cluster::deploy_replicas`].
    pub fn place_replicas(
        &self,
        definition: &Definition,
        options: &place::Options,
        count: u16,
    ) -> Result<(Graph, Vec<Placement>), DeployError> {
        let capacities = self.capacities();
        let placed = division::place(definition, &capacities, options, count)?;
        Ok((placed.graph, placed.placements))
    }

    /// Deploys a workflow that was placed on these workers already, on those terms.
    ///
    /// # Errors
    /// As [`Cluster::deploy_replicas`].
    ///
    /// # Panics
    /// If there are not as many placements as `replicas` says.
    pub fn deploy_placed(
        &mut self,
        definition: &Definition,
        (graph, placements): (Graph, Vec<Placement>),
        (options, replicas): (&place::Options, Replicas),
        limits: Limits,
    ) -> Result<Deployment, DeployError> {
        assert_eq!(
            placements.len(),
            usize::from(replicas.count),
            "so many placements"
        );
        for placement in &placements {
            self.check_executables(definition, &graph, placement)?;
        }
        let types = self.check_types(definition, &graph, &placements)?;
        let workers = self.workers();
        let version = self.next_version(&definition.workflow.value);
        let id = planner::random_deployment()?;
        let is_proven = memory::is_proven(definition);
        let mut plans = Vec::with_capacity(placements.len());
        for (number, placement) in (1..).zip(&placements) {
            let terms = Terms {
                deployment: match number {
                    1 => id,
                    _ => planner::random_deployment()?,
                },
                replica: Replica {
                    of: id,
                    number,
                    count: replicas.count,
                    balance: replicas.balance,
                },
                version,
                limits,
            };
            let mut placed = planner::plan(definition, &graph, placement, &workers, terms);
            types.add_to(&mut placed);
            if is_proven {
                let proven = memory::prove(definition, &graph, placement, &placed);
                holds_one(&proven)?;
                proven.add_to(&mut placed);
            }
            plans.push(placed);
        }
        self.prepare(plans, id)?;
        let sources = sources_of(definition, options, replicas, &self.capacities);
        let unkept = self.keep(id, sources)?;
        self.activate(id)?;
        Ok(Deployment {
            unkept,
            id,
            version,
            graph,
            placements,
            workers,
        })
    }

    fn next_version(&self, workflow: &str) -> u32 {
        let known = self
            .descriptions()
            .flat_map(|description| &description.workflows);
        let latest = known
            .filter(|(name, _)| name == workflow)
            .map(|(_, version)| *version)
            .max();
        latest.unwrap_or(0).saturating_add(1)
    }

    /// Workers check this too; here the error can name the node, and comes before anything is sent.
    fn check_executables(
        &self,
        definition: &Definition,
        graph: &Graph,
        placement: &Placement,
    ) -> Result<(), DeployError> {
        for (node, worker) in graph.nodes().zip(placement.workers()) {
            let description = &self.members[*worker].description;
            let Some(executable) = &node.executable else {
                continue;
            };
            if !description.executables.contains(executable) {
                let known: Vec<&str> = description.executables.iter().map(String::as_str).collect();
                let none = "it is empty, or holds nothing that may be executed";
                let known = instead(executable, &known, "it has", none);
                return Err(DeployError::Executable {
                    node: definition.nodes[node.defined].name.value.clone(),
                    worker: description.name.clone(),
                    executable: executable.clone(),
                    known,
                });
            }
        }
        Ok(())
    }

    /// Sends every worker its plans, of each placement one.
    fn prepare(
        &mut self,
        plans: Vec<Vec<Plan>>,
        deployment: DeploymentId,
    ) -> Result<(), DeployError> {
        let mut requests: Vec<Vec<Control>> = vec![Vec::new(); self.members.len()];
        for placement in plans {
            for (index, plan) in placement.into_iter().enumerate() {
                let request = Control::Prepare(plan);
                let mut message = Vec::new();
                encode(&request, &mut message);
                if message.len() > BODY_BYTES_MAX {
                    let worker = self.members[index].description.name.clone();
                    return Err(DeployError::PlanBytes {
                        worker,
                        bytes: message.len(),
                    });
                }
                requests[index].push(request);
            }
        }
        for (index, requests) in requests.iter().enumerate() {
            let mut prepared = requests.iter();
            let member = &mut self.members[index];
            if let Err(error) = prepared.try_for_each(|request| member.order(request)) {
                // The one that refused has kept nothing, but one that was lost on the way may have.
                self.abort(index + 1, deployment);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Drops what the first workers have prepared.
    fn abort(&mut self, workers: usize, deployment: DeploymentId) {
        for member in &mut self.members[..workers] {
            // A worker that cannot be told drops by itself what nobody activates for a minute.
            let _ = member.order(&Control::Abort(deployment));
        }
    }

    fn activate(&mut self, deployment: DeploymentId) -> Result<(), DeployError> {
        for index in 0..self.members.len() {
            let Err(error) = self.members[index].order(&Control::Activate(deployment)) else {
                continue;
            };
            for member in &mut self.members[index..] {
                let _ = member.order(&Control::Abort(deployment));
            }
            if index == 0 {
                return Err(error);
            }
            let active: Vec<&str> = self
                .descriptions()
                .take(index)
                .map(|member| member.name.as_str())
                .collect();
            return Err(DeployError::Torn {
                worker: self.members[index].description.name.clone(),
                cause: error.to_string(),
                active: active.join(", "),
            });
        }
        Ok(())
    }

    /// What each worker tells of itself, as JSON, in the order of the addresses.
    ///
    /// # Errors
    /// If a worker is lost.
    pub fn status(&mut self) -> Result<Vec<serde_json::Value>, DeployError> {
        let all = self
            .members
            .iter_mut()
            .map(|member| Ok(member.control.status()?));
        all.collect()
    }
}

impl Member {
    /// Asks for something to be done.
    fn order(&mut self, request: &Control) -> Result<(), DeployError> {
        match self.control.request(request)? {
            ControlReply::Done => Ok(()),
            ControlReply::Refused(reason) => Err(DeployError::Refused {
                worker: self.description.name.clone(),
                reason,
            }),
            other => Err(self
                .control
                .off_the_point("a deployment's step", &other)
                .into()),
        }
    }
}

/// Whether one invocation at least is let in.
fn holds_one(proven: &Proven) -> Result<(), DeployError> {
    match proven.in_flight {
        Some((worker, 0)) => {
            let worker = &proven.workers[worker];
            Err(DeployError::Memory {
                worker: worker.name.clone(),
                invocation_bytes: worker.invocation_bytes,
                quota_bytes: worker.quota_bytes.unwrap_or_default(),
            })
        }
        _ => Ok(()),
    }
}

/// What a worker can take besides what it serves already.
#[must_use]
pub fn capacity(description: &WorkerDescription) -> WorkerCapacity {
    let for_executors = place::executor_memory_bytes(description.memory_bytes);
    let left = for_executors.saturating_sub(description.memory_reserved_bytes);
    WorkerCapacity {
        lanes: description.lanes,
        ..WorkerCapacity::new(
            description.name.clone(),
            description.cpus.len() as u32,
            left,
        )
    }
}

fn distinct(members: &[Member]) -> Result<(), DeployError> {
    let mut by_name: HashMap<&str, &Member> = HashMap::new();
    let mut by_identity: HashMap<u32, &Member> = HashMap::new();
    for member in members {
        let (name, second) = (member.description.name.as_str(), member.address.clone());
        if let Some(first) = by_name.insert(name, member) {
            let (first_address, name) = (first.address.clone(), name.to_owned());
            // One name, one epoch: two that were started as often are told apart by nothing, and one is likelier.
            let same = first.description == member.description;
            return Err(if same {
                DeployError::SameWorker {
                    first: first_address,
                    second,
                    name,
                }
            } else {
                DeployError::SameName {
                    first: first_address,
                    second,
                    name,
                }
            });
        }
        if let Some(first) = by_identity.insert(worker_hash(name), member) {
            return Err(DeployError::SameIdentity {
                first: first.description.name.clone(),
                second: name.to_owned(),
            });
        }
    }
    Ok(())
}
