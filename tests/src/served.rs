//! A workflow on two workers, and what the `faasflow` program says of it there.

use crate::cluster::{Cluster, Setup};
use crate::process::Finished;
use engine::status::DeploymentState;
use master::client::{Answered, Payload};
use serde_json::Value;

/// The two workers.
pub const WORKERS: [&str; 2] = ["a", "b"];

/// Two workers, and a workflow on them.
#[derive(Debug)]
pub struct Served {
    /// The workers, `a` and `b`.
    pub cluster: Cluster,
    /// The workflow's file.
    pub file: String,
    workers: String,
}

impl Served {
    /// Deploys what `text` says, with these arguments. It may put other files into the folder where that happens.
    ///
    /// # Panics
    /// If it is not accepted.
    #[must_use]
    #[track_caller]
    pub fn new(text: impl FnOnce(&Cluster) -> String, arguments: &[&str]) -> Self {
        let cluster = Setup::workers(&WORKERS).memory("3GiB").start();
        let text = text(&cluster);
        let served = Self {
            file: cluster.file("workflow.yaml", text),
            workers: cluster.addresses().join(","),
            cluster,
        };
        let _ = served
            .call(&[&["deploy", &served.file], arguments].concat())
            .ok();
        served
    }

    /// Calls `faasflow` with these arguments, and both workers.
    ///
    /// # Panics
    /// If it cannot be run, or does not end.
    #[must_use]
    #[track_caller]
    pub fn call(&self, arguments: &[&str]) -> Finished {
        let arguments = [arguments, &["--workers", &self.workers]].concat();
        self.cluster.faasflow(&arguments)
    }

    /// The same, for its JSON object.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let done = self.call(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_slice(&done.stdout).expect("it prints one JSON object")
    }

    /// Runs a workflow once.
    ///
    /// # Panics
    /// If it does not end well.
    #[track_caller]
    pub fn invoke(&self, worker: &str, workflow: &str, inputs: &[(&str, Payload)]) -> Answered {
        let answered = self.cluster.invoke(worker, workflow, inputs);
        let answered = answered.expect("the worker answers");
        answered.result.as_ref().expect("it ends well");
        answered
    }

    /// A counter of both workers together.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    #[track_caller]
    pub fn count(&self, counter: &str) -> u64 {
        let workers = WORKERS.iter();
        workers
            .map(|worker| self.cluster.counter(worker, counter))
            .sum()
    }

    /// The versions and placements that workers have, rising, each with where in its life it is.
    #[must_use]
    pub fn states(&self) -> Vec<(u32, u16, DeploymentState)> {
        let each = WORKERS.iter().flat_map(|worker| {
            let deployments = self.cluster.status(worker).deployments;
            deployments
                .into_iter()
                .map(|one| (one.version, one.replica, one.state))
        });
        let mut states: Vec<_> = each.collect();
        states.sort_by_key(|(version, placement, _)| (*version, *placement));
        // Both workers have the same.
        states.dedup();
        states
    }
}

/// A node of a profile, which is there once.
///
/// # Panics
/// If it is not.
#[must_use]
#[track_caller]
pub fn node<'a>(profile: &'a Value, name: &str) -> &'a Value {
    let nodes = profile["nodes"].as_array().expect("a list");
    let found: Vec<&Value> = nodes.iter().filter(|node| node["node"] == name).collect();
    assert_eq!(found.len(), 1, "{name} is there once in {profile}");
    found[0]
}
