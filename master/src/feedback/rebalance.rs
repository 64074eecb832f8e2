//! Placing a running workflow anew, by what was measured of it.
//!
//! The files and the terms of a deployment are those that its workers keep; what was measured goes into the files as hints, and
//! the workflow is placed as if they had said so from the beginning. What it has at present, and what it would have, is estimated
//! by the same measure, each placement by itself, and compared by the mean over all placements beside each other. The new
//! version is deployed as any newer one is: what is under way ends where it began.

use super::files::{Hinted, definition_of};
use super::measured::Profile;
use super::moves::moves;
use super::present::present;
use super::rewrite::RewriteError;
use super::{FeedbackError, Served};
use crate::definition::{Definition, LoadError};
use crate::deploy::{Cluster, DeployError, Deployment, KeptError, Replicas, options_of, speeds_of};
use crate::graph::Graph;
use crate::place::{self, Estimate, Placement};
use engine::plan::{Balance, Limits};
use thiserror::Error;

pub use super::moves::Move;

/// Why a workflow cannot be placed anew.
#[derive(Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum RebalanceError {
    /// There is nothing to be learned from it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Feedback(#[from] FeedbackError),
    /// Its files were too large to be kept.
    #[error(
        "the workers have not kept the files of workflow {workflow}, which are too large for that"
    )]
    #[diagnostic(help("name its file: --file FILE"))]
    NoFiles {
        /// Which workflow.
        workflow: String,
    },
    /// The terms of the deployment are none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Terms(#[from] KeptError),
    /// A file of another workflow.
    #[error("{file} is workflow {found}, and not {workflow}")]
    #[diagnostic(help("name the file of {workflow} under --file"))]
    Other {
        /// The file.
        file: String,
        /// Its workflow.
        found: String,
        /// The one that was asked for.
        workflow: String,
    },
    /// A file that says something else than what is deployed.
    #[error("{file} has other nodes than what is deployed: {difference}")]
    #[diagnostic(help(
        "deploy it with `faasflow deploy`; what is deployed is placed anew from its own file"
    ))]
    Nodes {
        /// The file.
        file: String,
        /// The first node that only one of the two has.
        difference: String,
    },
    /// The files are no definition any more, or of an unusual form.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Files(#[from] RewriteError),
    /// It does not fit, or a worker will not.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Deploy(#[from] DeployError),
    /// Its file cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadError),
}

/// In how many placements a workflow is to be deployed anew, and how invocations are to be divided among them; what is none
/// stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// From 1 to [`REPLICAS_MAX`](engine::plan::REPLICAS_MAX).
    pub count: Option<u16>,
    /// Counts for several alone.
    pub balance: Option<Balance>,
}

impl Wanted {
    fn instead_of(self, present: Replicas) -> Replicas {
        Replicas {
            count: self.count.unwrap_or(present.count),
            balance: self.balance.unwrap_or(present.balance),
        }
    }
}

/// Placements that were made anew, and what they would change. Nothing has been deployed.
#[derive(Clone, Debug)]
pub struct Rebalance {
    /// The version that runs.
    pub version: u32,
    /// What was measured of it.
    pub profile: Profile,
    /// The files with the hints that follow.
    pub hinted: Hinted,
    /// How many placements there are at present, and how invocations are divided among them.
    pub replicas_before: Replicas,
    /// How it is to be.
    pub replicas: Replicas,
    /// Nodes that are to run elsewhere.
    pub moves: Vec<Move>,
    /// What each present placement is expected to take, with what was measured.
    pub before: Vec<Estimate>,
    /// What each new one is.
    pub after: Vec<Estimate>,
    definition: Definition,
    options: place::Options,
    graph: Graph,
    placements: Vec<Placement>,
}

impl Rebalance {
    /// Places a workflow anew on the workers of the cluster, which are those that serve it, and perhaps others. Its definition
    /// is that which `file` says, or what they have kept.
    ///
    /// # Errors
    /// If it is not served as a whole, nothing of it was measured, its files are not to be had, or it fits nowhere.
    ///
    /// # Panics
    /// If the number of placements that is wanted is none from 1 to [`REPLICAS_MAX`](engine::plan::REPLICAS_MAX).
    pub fn plan(
        cluster: &mut Cluster,
        workflow: &str,
        file: Option<Definition>,
        wanted: Wanted,
    ) -> Result<Self, RebalanceError> {
        let served = Served::ask(cluster, workflow)?;
        let kept = served.sources.clone().unwrap_or_default();
        let options = if kept.terms.is_empty() {
            place::Options::default()
        } else {
            let speeds = speeds_of(&kept)?;
            for worker in cluster.capacities_mut() {
                if let Some(speed) = speeds.get(&worker.name) {
                    worker.speed = *speed;
                }
            }
            let names: Vec<&str> = (0..cluster.len())
                .map(|worker| cluster.name(worker))
                .collect();
            options_of(&kept, &names)?.0
        };
        let replicas_before = Replicas {
            count: served.placements.len() as u16,
            balance: served.balance,
        };
        let replicas = wanted.instead_of(replicas_before);
        let written = match file {
            Some(written) if written.workflow.value != workflow => {
                return Err(RebalanceError::Other {
                    file: written.source.name.to_string(),
                    found: written.workflow.value,
                    workflow: workflow.to_owned(),
                });
            }
            Some(written) => written,
            None => {
                let files = kept.files.iter();
                let files = files.map(|(name, text)| (name.as_str(), text.as_str()));
                let files: Vec<(&str, &str)> = files.collect();
                if files.is_empty() {
                    let workflow = workflow.to_owned();
                    return Err(RebalanceError::NoFiles { workflow });
                }
                definition_of(&files).map_err(LoadError::from)?
            }
        };
        // Before anything else is asked, so that a wrong file is told at once.
        present(&written, &served)?;
        let profile = Profile::of(cluster, workflow, &served)?;
        if profile.is_empty() {
            return Err(FeedbackError::NeverRun {
                workflow: workflow.to_owned(),
                version: profile.version,
            }
            .into());
        }
        let hinted = Hinted::of(&written, &profile)?;
        let definition = hinted.definition().map_err(LoadError::from)?;
        let capacities = cluster.capacities();
        let (graph, placements) = cluster.place_replicas(&definition, &options, replicas.count)?;
        let (old_graph, old) = present(&definition, &served)?;
        let estimate = |graph, placements: &[Placement]| {
            let each = placements.iter();
            each.map(|placement| place::estimate(graph, &capacities, &options, placement))
                .collect()
        };
        let name = |worker: usize| cluster.name(worker).to_owned();
        Ok(Self {
            version: served.version,
            profile,
            hinted,
            replicas_before,
            replicas,
            moves: moves((&old_graph, &old), (&graph, &placements), &name),
            before: estimate(&old_graph, &old),
            after: estimate(&graph, &placements),
            definition,
            options,
            graph,
            placements,
        })
    }

    /// What a placement is expected to take in the mean over these: nanoseconds, and bytes that cross workers.
    #[must_use]
    pub fn mean_of(placements: &[Estimate]) -> (f64, f64) {
        let mean = |of: &dyn Fn(&Estimate) -> f64| {
            let sum: f64 = placements.iter().map(of).sum();
            sum / placements.len().max(1) as f64
        };
        (
            mean(&|one| one.makespan_ns),
            mean(&|one| one.crossing_bytes),
        )
    }

    /// By how much the makespan is estimated to become shorter in the mean over all placements, in hundredths; less than 0 if
    /// it becomes longer.
    #[must_use]
    pub fn gain_percent(&self) -> f64 {
        let ((before, _), (after, _)) = (Self::mean_of(&self.before), Self::mean_of(&self.after));
        if before > 0.0 {
            100.0 * (1.0 - after / before)
        } else {
            0.0
        }
    }

    /// Whether another number of placements was asked for, or another way to divide invocations among them.
    #[must_use]
    pub fn changes_replicas(&self) -> bool {
        let (before, after) = (self.replicas_before, self.replicas);
        before.count != after.count || after.count > 1 && before.balance != after.balance
    }

    /// Whether it changes where anything runs, and gains so much, or changes what was asked to be changed.
    #[must_use]
    pub fn pays(&self, gain_percent_min: f64) -> bool {
        let gains = !self.moves.is_empty() && self.gain_percent() >= gain_percent_min;
        gains || self.changes_replicas()
    }

    /// Deploys the new placement: a newer version, with the hints in the files that are kept with it.
    ///
    /// # Errors
    /// As [`Cluster::deploy`].
    pub fn deploy(self, cluster: &mut Cluster) -> Result<Deployment, DeployError> {
        let placed = (self.graph, self.placements);
        let terms = (&self.options, self.replicas);
        cluster.deploy_placed(&self.definition, placed, terms, Limits::default())
    }
}
