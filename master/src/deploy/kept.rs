//! What workers keep of a deployment beside its plan, so that it can be planned anew: its files, and the terms on which it was
//! placed. And what they tell of a deployment that they have.

use super::{Cluster, DeployError, Replicas};
use crate::definition::Definition;
use crate::place::{self, Effort, Link, Network, Partitioner, WorkerCapacity};
use engine::nearest::instead;
use engine::plan::{Balance, DeploymentId, REPLICAS_MAX};
use engine::wire::{Control, ControlReply, Deployed, ProfilePage, SOURCES_BYTES_MAX, Sources};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// Why kept terms cannot be read.
#[derive(Debug, Error, miette::Diagnostic)]
#[error("the terms on which the workflow was deployed cannot be read: {0}")]
#[diagnostic(help("deploy it again with `faasflow deploy`, or use programs of one release"))]
pub struct KeptError(String);

/// Terms, as they are kept: workers by their names, since another call may name them in another order.
#[derive(Serialize, Deserialize)]
struct Terms {
    pins: BTreeMap<String, String>,
    quota_bytes: Option<u64>,
    partitioner: String,
    steps: Option<u64>,
    budget_ms: Option<u64>,
    seed: u64,
    link: KeptLink,
    links: Vec<(String, String, KeptLink)>,
    /// Of workers that are faster or slower than others.
    speeds: BTreeMap<String, f64>,
    replicas: u16,
    balance: String,
}

#[derive(Serialize, Deserialize)]
struct KeptLink {
    bytes_per_s: f64,
    latency_ns: f64,
}

impl KeptLink {
    const fn of(link: Link) -> Self {
        Self {
            bytes_per_s: link.bytes_per_s,
            latency_ns: link.latency_ns,
        }
    }

    const fn link(&self) -> Link {
        Link {
            bytes_per_s: self.bytes_per_s,
            latency_ns: self.latency_ns,
        }
    }
}

/// What is to be kept of a workflow that is deployed on these terms, on these workers.
#[must_use]
pub fn sources_of(
    definition: &Definition,
    options: &place::Options,
    replicas: Replicas,
    workers: &[WorkerCapacity],
) -> Sources {
    let files = [&definition.source].into_iter().chain(&definition.files);
    let place::Options {
        fixed,
        quota_bytes,
        partitioner,
        effort,
        network,
    } = options;
    let pairs = network.pairs().into_iter();
    let links = pairs.filter_map(|(from, to, link)| {
        let (from, to) = (workers.get(from)?, workers.get(to)?);
        Some((from.name.clone(), to.name.clone(), KeptLink::of(link)))
    });
    let unlike = workers.iter().filter(|worker| worker.speed != 1.0);
    let speeds = unlike.map(|worker| (worker.name.clone(), worker.speed));
    let terms = Terms {
        pins: fixed.clone(),
        quota_bytes: *quota_bytes,
        partitioner: partitioner.name().to_owned(),
        steps: effort.steps,
        budget_ms: effort.budget.map(|budget| budget.as_millis() as u64),
        seed: effort.seed,
        link: KeptLink::of(network.ordinary()),
        links: links.collect(),
        speeds: speeds.collect(),
        replicas: replicas.count,
        balance: replicas.balance.name().to_owned(),
    };
    Sources {
        files: files
            .map(|file| (file.name.to_string(), file.text.to_string()))
            .collect(),
        // Numbers and texts by names that are texts: there is nothing that JSON has not.
        terms: serde_json::to_string(&terms).unwrap_or_default(),
    }
}

/// How fast workers are, by their names, as the terms say that were kept; those that are not there have speed 1.
///
/// # Errors
/// If they are not what [`sources_of`] writes.
pub fn speeds_of(sources: &Sources) -> Result<BTreeMap<String, f64>, KeptError> {
    let terms = read(sources)?;
    match terms.speeds.values().all(|speed| *speed > 0.0) {
        true => Ok(terms.speeds),
        false => Err(KeptError("a worker has no speed".to_owned())),
    }
}

fn read(sources: &Sources) -> Result<Terms, KeptError> {
    serde_json::from_str(&sources.terms).map_err(|error| KeptError(error.to_string()))
}

/// The terms that were kept, for workers of these names. Links of others are left out.
///
/// # Errors
/// If they are not what [`sources_of`] writes.
pub fn options_of(
    sources: &Sources,
    workers: &[&str],
) -> Result<(place::Options, Replicas), KeptError> {
    let terms = read(sources)?;
    let mut known = Partitioner::ALL.iter();
    let partitioner = known.find(|(name, _)| *name == terms.partitioner);
    let unknown = || KeptError(format!("there is no partitioner {}", terms.partitioner));
    let (_, partitioner) = partitioner.ok_or_else(unknown)?;
    let balances = [Balance::RoundRobin, Balance::Load];
    let balance = balances
        .into_iter()
        .find(|known| known.name() == terms.balance);
    let unknown = || KeptError(format!("there is no balance {}", terms.balance));
    let balance = balance.ok_or_else(unknown)?;
    if !(1..=REPLICAS_MAX).contains(&terms.replicas) {
        let told = format!(
            "{} placements are none from 1 to {REPLICAS_MAX}",
            terms.replicas
        );
        return Err(KeptError(told));
    }
    let replicas = Replicas {
        count: terms.replicas,
        balance,
    };
    let mut network = Network::uniform(terms.link.link());
    let place = |name: &str| workers.iter().position(|worker| *worker == name);
    for (from, to, link) in &terms.links {
        if let (Some(from), Some(to)) = (place(from), place(to)) {
            network.set(from, to, link.link());
        }
    }
    let options = place::Options {
        fixed: terms.pins,
        quota_bytes: terms.quota_bytes,
        partitioner: *partitioner,
        effort: Effort {
            steps: terms.steps,
            budget: terms.budget_ms.map(Duration::from_millis),
            seed: terms.seed,
        },
        network,
    };
    Ok((options, replicas))
}

impl Cluster {
    /// How many workers there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is one worker at least")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// A worker's name.
    ///
    /// # Panics
    /// If there is no such worker.
    #[must_use]
    pub fn name(&self, worker: usize) -> &str {
        &self.members[worker].description.name
    }

    /// What a worker says of a placement, counted from 1, of the workflow of this name; none if it does not serve that.
    ///
    /// # Errors
    /// If the worker is lost, or sends nonsense.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn deployed(
        &mut self,
        worker: usize,
        workflow: &str,
        placement: u16,
    ) -> Result<Option<Deployed>, DeployError> {
        Ok(self.members[worker].control.deployed(workflow, placement)?)
    }

    /// What a worker has measured of some nodes of a workflow in a placement, counted from 1: of those from 0 on, or from what
    /// the last page said is next.
    ///
    /// # Errors
    /// If the worker is lost, does not serve it any more, or sends nonsense.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn profile(
        &mut self,
        worker: usize,
        workflow: &str,
        placement: u16,
        from: u32,
    ) -> Result<ProfilePage, DeployError> {
        let control = &mut self.members[worker].control;
        Ok(control.profile(workflow, placement, from)?)
    }

    /// Has a worker forget what it has measured of a workflow.
    ///
    /// # Errors
    /// If the worker is lost, or does not serve it any more.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn forget_profile(&mut self, worker: usize, workflow: &str) -> Result<(), DeployError> {
        self.members[worker].order(&Control::ForgetProfile(workflow.to_owned()))
    }

    /// What is deployed on these workers instead of the workflow of this name, or was probably meant.
    #[must_use]
    pub fn instead_of(&self, workflow: &str) -> String {
        let served = self.descriptions().flat_map(|one| &one.workflows);
        let names: BTreeSet<&str> = served.map(|(name, _)| name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        instead(workflow, &names, "deployed are", "deploy it first")
    }

    /// Has all workers keep the files of a deployment that they have prepared. If one will not, it is deployed all the same:
    /// then why.
    pub(super) fn keep(
        &mut self,
        deployment: DeploymentId,
        mut sources: Sources,
    ) -> Result<Option<String>, DeployError> {
        let bytes = sources.bytes();
        let mut unkept = None;
        if bytes > SOURCES_BYTES_MAX {
            unkept = Some(format!(
                "its files have {bytes} bytes, and workers keep {SOURCES_BYTES_MAX}"
            ));
            // But the terms.
            sources.files.clear();
        }
        let request = Control::Keep {
            deployment,
            sources,
        };
        for worker in 0..self.members.len() {
            let member = &mut self.members[worker];
            match member.control.request(&request) {
                Ok(ControlReply::Done) => {}
                Ok(ControlReply::Refused(reason)) => {
                    let name = &member.description.name;
                    unkept
                        .get_or_insert(format!("worker {name} does not keep its files: {reason}"));
                }
                Ok(other) => {
                    let error = member.control.off_the_point("keep", &other);
                    self.abort(self.members.len(), deployment);
                    return Err(error.into());
                }
                Err(error) => {
                    self.abort(self.members.len(), deployment);
                    return Err(error.into());
                }
            }
        }
        Ok(unkept)
    }
}

#[cfg(test)]
mod tests;
