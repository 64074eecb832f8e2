//! What workers keep of a deployment beside its plan, so that it can be planned anew: its files, and the terms on which it was
//! placed. And what they tell of a deployment that they have.

use super::{Cluster, DeployError};
use crate::definition::Definition;
use crate::place;
use engine::nearest::instead;
use engine::plan::DeploymentId;
use engine::wire::{Control, ControlReply, Deployed, ProfilePage, SOURCES_BYTES_MAX, Sources};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why kept terms cannot be read.
#[derive(Debug, Error, miette::Diagnostic)]
#[error("the terms on which the workflow was deployed cannot be read: {0}")]
#[diagnostic(help("deploy it again with `faasflow deploy`, or use programs of one release"))]
pub struct KeptError(String);

/// What is to be kept of a workflow that is deployed on these terms.
#[must_use]
pub fn sources_of(definition: &Definition, options: &place::Options) -> Sources {
    let files = [&definition.source].into_iter().chain(&definition.files);
    let place::Options { fixed, quota_bytes } = options;
    let terms = json!({ "pins": fixed, "quota_bytes": quota_bytes });
    Sources {
        files: files
            .map(|file| (file.name.to_string(), file.text.to_string()))
            .collect(),
        terms: terms.to_string(),
    }
}

/// The terms that were kept.
///
/// # Errors
/// If they are not what [`sources_of`] writes.
pub fn options_of(sources: &Sources) -> Result<place::Options, KeptError> {
    let wrong = |error: serde_json::Error| KeptError(error.to_string());
    let mut terms: Value = serde_json::from_str(&sources.terms).map_err(wrong)?;
    let mut take = |key: &str| terms.get_mut(key).map(Value::take).unwrap_or_default();
    let (fixed, quota_bytes) = (take("pins"), take("quota_bytes"));
    Ok(place::Options {
        fixed: serde_json::from_value(fixed).map_err(wrong)?,
        quota_bytes: serde_json::from_value(quota_bytes).map_err(wrong)?,
    })
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

    /// What a worker says of the workflow of this name; none if it does not serve it.
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
    ) -> Result<Option<Deployed>, DeployError> {
        Ok(self.members[worker].control.deployed(workflow)?)
    }

    /// What a worker has measured of some nodes of a workflow, from 0 on or from what the last page said is next.
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
        from: u32,
    ) -> Result<ProfilePage, DeployError> {
        Ok(self.members[worker].control.profile(workflow, from)?)
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
