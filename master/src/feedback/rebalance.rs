//! Placing a running workflow anew, by what was measured of it.
//!
//! The files and the terms of a deployment are those that its workers keep; what was measured goes into the files as hints, and
//! the workflow is placed as if they had said so from the beginning. Both placements, the present and the new one, are estimated
//! by the same measure. The new one is deployed as any newer version is: what is under way ends where it began.

use super::files::{Hinted, definition_of};
use super::measured::Profile;
use super::rewrite::RewriteError;
use super::{FeedbackError, Served};
use crate::definition::{Definition, LoadError};
use crate::deploy::{Cluster, DeployError, Deployment, KeptError, Replicas, options_of};
use crate::graph::Graph;
use crate::place::{self, Estimate, Placement};
use engine::plan::Limits;
use std::collections::{BTreeSet, HashMap};
use thiserror::Error;

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

/// A node that is to run elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Which node.
    pub node: String,
    /// Its present worker.
    pub from: String,
    /// The new one.
    pub to: String,
}

/// A placement that was made anew, and what it would change. Nothing has been deployed.
#[derive(Clone, Debug)]
pub struct Rebalance {
    /// The version that runs.
    pub version: u32,
    /// What was measured of it.
    pub profile: Profile,
    /// The files with the hints that follow.
    pub hinted: Hinted,
    /// Nodes that are to run elsewhere.
    pub moves: Vec<Move>,
    /// What the present placement is expected to take, with what was measured.
    pub before: Estimate,
    /// What the new one is.
    pub after: Estimate,
    definition: Definition,
    options: place::Options,
    graph: Graph,
    placements: Vec<Placement>,
    replicas: Replicas,
}

impl Rebalance {
    /// Places a workflow anew on the workers of the cluster, which are those that serve it, and perhaps others. Its definition
    /// is that which `file` says, or what they have kept.
    ///
    /// # Errors
    /// If it is not served as a whole, nothing of it was measured, its files are not to be had, or it fits nowhere.
    pub fn plan(
        cluster: &mut Cluster,
        workflow: &str,
        file: Option<Definition>,
    ) -> Result<Self, RebalanceError> {
        let served = Served::ask(cluster, workflow)?;
        let kept = served.deployed.sources.clone().unwrap_or_default();
        let (options, replicas) = if kept.terms.is_empty() {
            (place::Options::default(), Replicas::default())
        } else {
            let names: Vec<&str> = (0..cluster.len())
                .map(|worker| cluster.name(worker))
                .collect();
            options_of(&kept, &names)?
        };
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
        let present = present(&written, &served)?;
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
        let placement = &placements[0];
        // A part that there is not yet is taken to run where one is.
        let workers = graph.nodes().map(|node| {
            let workers = &present[node.defined];
            let part = node.part.map_or(0, |part| usize::from(part.number));
            workers[part % workers.len()]
        });
        let old = Placement::new(workers.collect());
        let estimate = |placement| place::estimate(&graph, &capacities, &options, placement);
        let moved = graph
            .nodes()
            .zip(old.workers().iter().zip(placement.workers()));
        let moves = moved.filter(|(_, (from, to))| from != to);
        let name = |worker: usize| cluster.name(worker).to_owned();
        let moves = moves.map(|(node, (from, to))| Move {
            node: node.name.clone(),
            from: name(*from),
            to: name(*to),
        });
        Ok(Self {
            version: served.deployed.version,
            profile,
            hinted,
            moves: moves.collect(),
            before: estimate(&old),
            after: estimate(placement),
            definition,
            options,
            graph,
            placements,
            replicas,
        })
    }

    /// By how much the makespan is estimated to become shorter, in hundredths; less than 0 if it becomes longer.
    #[must_use]
    pub fn gain_percent(&self) -> f64 {
        if self.before.makespan_ns > 0.0 {
            100.0 * (1.0 - self.after.makespan_ns / self.before.makespan_ns)
        } else {
            0.0
        }
    }

    /// Whether it changes where anything runs, and gains so much.
    #[must_use]
    pub fn pays(&self, gain_percent_min: f64) -> bool {
        !self.moves.is_empty() && self.gain_percent() >= gain_percent_min
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

/// By place in the definition: the workers of the cluster on which a node runs, one unless it is divided.
fn present(definition: &Definition, served: &Served) -> Result<Vec<Vec<usize>>, RebalanceError> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (worker, nodes) in served.nodes.iter().enumerate() {
        for node in nodes.iter().flatten() {
            by_name.entry(node.as_str()).or_default().push(worker);
        }
    }
    let nodes = definition.nodes.iter();
    let names: BTreeSet<&str> = nodes.map(|node| node.name.value.as_str()).collect();
    let differs = |difference: String| RebalanceError::Nodes {
        file: definition.source.name.to_string(),
        difference,
    };
    let gone: BTreeSet<&str> = by_name
        .keys()
        .copied()
        .filter(|name| !names.contains(name))
        .collect();
    if let Some(gone) = gone.first() {
        return Err(differs(format!("it has no {gone}")));
    }
    let worker = |node: &crate::definition::Node| {
        let name = node.name.value.as_str();
        let found = by_name.get(name).cloned();
        found.ok_or_else(|| differs(format!("{name} is not deployed")))
    };
    definition.nodes.iter().map(worker).collect()
}
