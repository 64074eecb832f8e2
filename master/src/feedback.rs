//! Feedback: what running workflows show of themselves, written back as hints, and placements made anew from it.
//!
//! [`measured`] asks the workers of a deployment what they have measured, part by part and placement by placement. [`whole`]
//! puts together what was measured of each node, [`crossing`] says what of it went from worker to worker, and [`gaps`] what
//! is missing. [`hints`] makes hints of it, and [`files`] writes them into the workflow's files, by the means of [`rewrite`].
//! [`rebalance`] plans a deployment anew from the files that its workers keep, and [`present`] says how it is placed now.

pub mod crossing;
pub mod files;
pub mod gaps;
pub mod hints;
pub mod measured;
mod moves;
pub mod present;
pub mod rebalance;
pub mod rewrite;
pub mod whole;

use crate::deploy::{Cluster, DeployError};
use engine::plan::{Balance, DeploymentId, NodeId, Part, REPLICAS_MAX, WorkerRef};
use engine::wire::{Deployed, DeployedNode, Sources};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why there is nothing to be learned from a deployment.
#[derive(Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum FeedbackError {
    /// A worker cannot be spoken to, or will not.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Deploy(#[from] DeployError),
    /// No worker has it.
    #[error("no workflow named {workflow} is deployed on these workers")]
    #[diagnostic(help("{instead}"))]
    NotDeployed {
        /// As given.
        workflow: String,
        /// What is, or was probably meant.
        instead: String,
    },
    /// A worker that takes part was not named.
    #[error("worker {worker} takes part in workflow {workflow}, and is none of --workers")]
    #[diagnostic(help("name all of its workers: --workers {all}"))]
    Missing {
        /// Which worker.
        worker: String,
        /// Of which workflow.
        workflow: String,
        /// The addresses of all.
        all: String,
    },
    /// A worker that takes part does not serve it any more.
    #[error("worker {worker} takes part in workflow {workflow}, but does not serve it")]
    #[diagnostic(help(
        "it was started anew since, or the workflow was taken away from it: deploy it again with `faasflow deploy`"
    ))]
    Lost {
        /// Which worker.
        worker: String,
        /// Of which workflow.
        workflow: String,
    },
    /// Workers that serve different versions.
    #[error(
        "worker {first} serves version {first_version} of workflow {workflow}, and worker {second} version \
         {second_version}"
    )]
    #[diagnostic(help(
        "deploy it again on all of its workers; if somebody does so just now, try again after that"
    ))]
    Versions {
        /// Which workflow.
        workflow: String,
        /// A worker.
        first: String,
        /// What it serves.
        first_version: u32,
        /// Another one.
        second: String,
        /// What that serves.
        second_version: u32,
    },
    /// Another version took its place between two questions.
    #[error("another version of workflow {workflow} was deployed while workers were asked for it")]
    #[diagnostic(help("try again"))]
    Changed {
        /// Which workflow.
        workflow: String,
    },
    /// A worker sends nonsense.
    #[error("worker {worker} told of what it runs what cannot be: {cause}")]
    #[diagnostic(help("use programs of one release"))]
    Nonsense {
        /// Which worker.
        worker: String,
        /// What is wrong.
        cause: String,
    },
    /// Nothing was measured.
    #[error("nothing was measured of workflow {workflow} yet")]
    #[diagnostic(help(
        "invoke version {version} a few times first; what was measured of earlier versions went with them"
    ))]
    NeverRun {
        /// Which workflow.
        workflow: String,
        /// Its version.
        version: u32,
    },
}

/// A deployment, as all of its workers have it.
#[derive(Clone, Debug)]
pub struct Served {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Its version.
    pub version: u32,
    /// How invocations are divided among its placements.
    pub balance: Balance,
    /// Its workers, as its plans name them.
    pub workers: Vec<WorkerRef>,
    /// Its files, if they were kept: what the first worker has that keeps them.
    pub sources: Option<Sources>,
    /// By worker of the cluster: whether it takes part.
    pub members: Vec<bool>,
    /// Where nodes run, placement by placement.
    pub placements: Vec<ServedPlacement>,
    /// Divided nodes, by the number that each has as a whole: the numbers of its parts, in their order.
    pub wholes: BTreeMap<NodeId, Vec<NodeId>>,
}

/// Where nodes run.
#[derive(Clone, Debug, Default)]
pub struct ServedPlacement {
    /// By worker of the cluster: its nodes.
    pub nodes: Vec<Vec<DeployedNode>>,
}

impl Served {
    /// What all workers of the cluster say of the workflow of this name. Workers that have no part in it may be among them.
    ///
    /// # Errors
    /// If nobody serves it, a worker that takes part is none of the cluster or does not serve it, they serve different
    /// versions, or another version takes its place meanwhile.
    pub fn ask(cluster: &mut Cluster, workflow: &str) -> Result<Self, FeedbackError> {
        let mut told = Vec::new();
        for worker in 0..cluster.len() {
            if let Some(deployed) = cluster.deployed(worker, workflow, 1)? {
                told.push((worker, deployed));
            }
        }
        let Some((first, deployed)) = told.first() else {
            return Err(FeedbackError::NotDeployed {
                workflow: workflow.to_owned(),
                instead: cluster.instead_of(workflow),
            });
        };
        let (first, count) = (*first, deployed.replica.count);
        let mut served = Self::of(deployed, cluster.len());
        let mut nodes = vec![Vec::new(); cluster.len()];
        for (worker, deployed) in told {
            if deployed.replica.of != served.deployment {
                return Err(FeedbackError::Versions {
                    workflow: workflow.to_owned(),
                    first: cluster.name(first).to_owned(),
                    first_version: served.version,
                    second: cluster.name(worker).to_owned(),
                    second_version: deployed.version,
                });
            }
            check(cluster.name(worker), 1, &deployed)?;
            served.members[worker] = true;
            served.wholes.extend(deployed.wholes);
            served.sources = served.sources.take().or(deployed.sources);
            nodes[worker] = deployed.nodes;
        }
        served.check_members(cluster, workflow)?;
        served.placements.push(ServedPlacement { nodes });
        for number in 2..=count {
            served.ask_placement(cluster, workflow, number)?;
        }
        Ok(served)
    }

    fn of(deployed: &Deployed, workers: usize) -> Self {
        Self {
            deployment: deployed.replica.of,
            version: deployed.version,
            balance: deployed.replica.balance,
            workers: deployed.workers.clone(),
            sources: None,
            members: vec![false; workers],
            placements: Vec::new(),
            wholes: BTreeMap::new(),
        }
    }

    /// Whether all of its workers are of the cluster, and serve it.
    fn check_members(&self, cluster: &Cluster, workflow: &str) -> Result<(), FeedbackError> {
        for member in &self.workers {
            let place = (0..cluster.len()).find(|worker| cluster.name(*worker) == member.name);
            match place {
                None => return Err(missing(workflow, member, &self.workers)),
                Some(place) if !self.members[place] => {
                    return Err(FeedbackError::Lost {
                        worker: member.name.clone(),
                        workflow: workflow.to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn ask_placement(
        &mut self,
        cluster: &mut Cluster,
        workflow: &str,
        number: u16,
    ) -> Result<(), FeedbackError> {
        let mut nodes = vec![Vec::new(); cluster.len()];
        for (worker, nodes) in nodes.iter_mut().enumerate() {
            if !self.members[worker] {
                continue;
            }
            let deployed = cluster.deployed(worker, workflow, number)?;
            let Some(deployed) = deployed.filter(|one| one.replica.of == self.deployment) else {
                return Err(FeedbackError::Changed {
                    workflow: workflow.to_owned(),
                });
            };
            check(cluster.name(worker), number, &deployed)?;
            self.wholes.extend(deployed.wholes);
            *nodes = deployed.nodes;
        }
        self.placements.push(ServedPlacement { nodes });
        Ok(())
    }
}

/// Whether what a worker says of a placement can be.
fn check(worker: &str, number: u16, deployed: &Deployed) -> Result<(), FeedbackError> {
    let nonsense = |cause: String| FeedbackError::Nonsense {
        worker: worker.to_owned(),
        cause,
    };
    let replica = deployed.replica;
    if replica.number != number || !(1..=REPLICAS_MAX).contains(&replica.count) {
        let cause = format!("placement {number} of it is {replica}");
        return Err(nonsense(cause));
    }
    for node in &deployed.nodes {
        let Some(Part { number, of, share }) = node.part else {
            continue;
        };
        if number >= of || share.first >= share.behind || share.behind > share.whole {
            let cause = format!("a part of node {} covers what no part can", node.name);
            return Err(nonsense(cause));
        }
    }
    Ok(())
}

fn missing(workflow: &str, member: &WorkerRef, all: &[WorkerRef]) -> FeedbackError {
    let all: Vec<&str> = all.iter().map(|worker| worker.address.as_str()).collect();
    FeedbackError::Missing {
        worker: member.name.clone(),
        workflow: workflow.to_owned(),
        all: all.join(","),
    }
}

#[cfg(test)]
mod tests;
