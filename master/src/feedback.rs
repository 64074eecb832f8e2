//! Feedback: what running workflows show of themselves, written back as hints, and placements made anew from it.
//!
//! [`measured`] asks the workers of a deployment what they have measured and puts it together. [`hints`] makes hints of it,
//! and [`files`] writes them into the workflow's files, by the means of [`rewrite`]. [`rebalance`] plans a deployment anew
//! from the files that its workers keep.

pub mod files;
pub mod hints;
pub mod measured;
pub mod rebalance;
pub mod rewrite;

use crate::deploy::{Cluster, DeployError};
use engine::plan::WorkerRef;
use engine::wire::Deployed;
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
    /// A worker sends nonsense.
    #[error("worker {worker} told of its profile what cannot be: {cause}")]
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
    /// What its workers say of it; of the files what the first of them keeps.
    pub deployed: Deployed,
    /// By worker of the cluster: the names of the nodes that run there, or none if it does not take part.
    pub nodes: Vec<Option<Vec<String>>>,
}

impl Served {
    /// What all workers of the cluster say of the workflow of this name. Workers that have no part in it may be among them.
    ///
    /// # Errors
    /// If nobody serves it, a worker that takes part is none of the cluster or does not serve it, or they serve different
    /// versions.
    pub fn ask(cluster: &mut Cluster, workflow: &str) -> Result<Self, FeedbackError> {
        let mut first: Option<(String, Deployed)> = None;
        let mut nodes = Vec::new();
        for worker in 0..cluster.len() {
            let Some(mut deployed) = cluster.deployed(worker, workflow)? else {
                nodes.push(None);
                continue;
            };
            nodes.push(Some(std::mem::take(&mut deployed.nodes)));
            let name = cluster.name(worker).to_owned();
            match &mut first {
                None => first = Some((name, deployed)),
                Some((_, first)) if first.deployment == deployed.deployment => {
                    first.sources = first.sources.take().or(deployed.sources);
                }
                Some((first_name, first)) => {
                    return Err(FeedbackError::Versions {
                        workflow: workflow.to_owned(),
                        first: first_name.clone(),
                        first_version: first.version,
                        second: name,
                        second_version: deployed.version,
                    });
                }
            }
        }
        let Some((_, deployed)) = first else {
            return Err(FeedbackError::NotDeployed {
                workflow: workflow.to_owned(),
                instead: cluster.instead_of(workflow),
            });
        };
        for member in &deployed.workers {
            let place = (0..cluster.len()).find(|worker| cluster.name(*worker) == member.name);
            match place {
                None => return Err(missing(workflow, member, &deployed.workers)),
                Some(place) if nodes[place].is_none() => {
                    return Err(FeedbackError::Lost {
                        worker: member.name.clone(),
                        workflow: workflow.to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(Self { deployed, nodes })
    }
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
