//! What was measured of a workflow, by all of its workers: node by node, of a divided node part by part, and placement by
//! placement.

use super::{FeedbackError, Served};
use crate::deploy::{Cluster, speeds_of};
use engine::plan::{Balance, DeploymentId, NodeId, Part};
use engine::profile::CpuSums;
use engine::profile::Distribution;
use engine::profile::Measured;
use engine::wire::{MeasuredNode, ProfilePage};
use std::collections::{BTreeMap, HashMap};

/// A workflow's profile, of its active version.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The workflow.
    pub workflow: String,
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Its version.
    pub version: u32,
    /// In how many placements it is deployed.
    pub placements: u16,
    /// How invocations are divided among these.
    pub balance: Balance,
    /// What each worker has counted that takes part, placement by placement.
    pub workers: Vec<Worker>,
    /// Its nodes, placement by placement, and there by rising number. A divided node is there once for each of its parts.
    pub nodes: Vec<Node>,
    /// Divided nodes, by the number that each has as a whole: the numbers of its parts, in their order.
    pub parts_of: BTreeMap<NodeId, Vec<NodeId>>,
}

/// What a worker has counted of a placement.
#[derive(Clone, PartialEq, Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Which placement, from 1.
    pub placement: u16,
    /// Invocations that began there since counting began: of a placement all of them, where it has nodes on the worker, else
    /// those that the worker took itself.
    pub invocations: u64,
    /// Of those, the measured ones whose part there has ended well.
    pub measured: u64,
    /// How fast it runs what a worker of speed 1 runs in the time that hints say, as far as was known when the workflow was
    /// deployed.
    pub speed: f64,
}

/// What was measured of a node, or of a part of it, in one placement.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number in the deployment, the same in all placements.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// If it is divided: which part of it.
    pub part: Option<Part>,
    /// Its worker and placement, by their place in [`Profile::workers`].
    pub worker: usize,
    /// Whether an executor runs it; what a lane does itself is not timed.
    pub has_executor: bool,
    /// Outputs that it reads of other nodes, of divided ones as a whole ([`Profile::parts_of`]).
    pub reads: Vec<(NodeId, Vec<u16>)>,
    /// What of that it needs only as far as its part goes.
    pub over: Option<(NodeId, u16)>,
    /// Activations that were begun.
    pub activations: u64,
    /// Attempts that have failed.
    pub failures: u64,
    /// Measured invocations in which it ran.
    pub ran: u64,
    /// Run times of attempts that ended well, in nanoseconds.
    pub run_ns: Distribution,
    /// Waits for an executor, in nanoseconds.
    pub queued_ns: Distribution,
    /// What executors have measured of some of its runs, long ones.
    pub cpu: CpuSums,
    /// By output, with its name: bytes of all activations of an invocation together, of those in which it ran.
    pub outputs: Vec<(String, Distribution)>,
    /// If it runs for each item of a list: how many items that had.
    pub items: Option<Distribution>,
}

impl Node {
    /// The share of the invocations in which it runs: of all of them, or if it runs for each item of a list, of the
    /// measured ones. None without invocations.
    #[must_use]
    pub fn share(&self, worker: &Worker) -> Option<f64> {
        let counted = (self.activations, worker.invocations);
        let counted = (self.items.is_none()).then_some(counted);
        share(counted, (self.ran, worker.measured))
    }

    /// Mean bytes of all its outputs together in an invocation in which it runs; none if it was never measured.
    #[must_use]
    pub fn output_mean_bytes(&self) -> Option<f64> {
        let means = self.outputs.iter().filter_map(|(_, bytes)| bytes.mean());
        (self.ran > 0).then(|| means.sum())
    }

    /// If it is divided: the share of the items that this part runs for.
    #[must_use]
    pub fn share_of_items(&self) -> Option<f64> {
        let share = self.part?.share;
        Some(f64::from(share.behind - share.first) / f64::from(share.whole))
    }

    /// Activations for each invocation of its placement; none without invocations.
    #[must_use]
    pub fn activations_for_each(&self, worker: &Worker) -> Option<f64> {
        let all = worker.invocations;
        (all > 0).then(|| self.activations as f64 / all as f64)
    }
}

/// The share of invocations in which a node runs, from how often it has run of how many that have begun, if that is known, and of
/// how many that were measured and have ended. What is under way counts among the begun ones, and perhaps has not run yet: where
/// that shows beyond chance, the measured ones say it.
pub(super) fn share(counted: Option<(u64, u64)>, (ran, measured): (u64, u64)) -> Option<f64> {
    let of = |(ran, all): (u64, u64)| (all > 0).then(|| (ran as f64 / all as f64).min(1.0));
    let seen = of((ran, measured));
    let (Some(all), Some(seen)) = (counted.and_then(of), seen) else {
        return counted.and_then(of).or(seen);
    };
    let deviation = (seen * (1.0 - seen) / measured as f64).sqrt();
    Some(if seen - all > 3.0 * deviation {
        seen
    } else {
        all
    })
}

impl Profile {
    /// Asks all workers of a deployment.
    ///
    /// # Errors
    /// As [`Served::ask`], or if a worker is lost, or another version takes its place meanwhile.
    pub fn ask(cluster: &mut Cluster, workflow: &str) -> Result<Self, FeedbackError> {
        let served = Served::ask(cluster, workflow)?;
        Self::of(cluster, workflow, &served)
    }

    /// Asks the workers of a deployment that was asked for before.
    ///
    /// # Errors
    /// If a worker is lost, or another version takes its place meanwhile.
    pub fn of(
        cluster: &mut Cluster,
        workflow: &str,
        served: &Served,
    ) -> Result<Self, FeedbackError> {
        let mut profile = Self {
            workflow: workflow.to_owned(),
            deployment: served.deployment,
            version: served.version,
            placements: served.placements.len() as u16,
            balance: served.balance,
            workers: Vec::new(),
            nodes: Vec::new(),
            parts_of: served.wholes.clone(),
        };
        // Terms that cannot be read are for those to tell who place it anew.
        let speeds = served.sources.as_ref().map(speeds_of);
        let speeds = speeds.and_then(Result::ok).unwrap_or_default();
        for (number, placement) in (1..).zip(&served.placements) {
            let first = profile.nodes.len();
            for (worker, nodes) in placement.nodes.iter().enumerate() {
                if !served.members[worker] {
                    continue;
                }
                let parts = nodes.iter().map(|node| (node.id, node.part));
                let parts: HashMap<NodeId, Option<Part>> = parts.collect();
                profile.ask_worker(cluster, worker, number, &parts)?;
            }
            profile.nodes[first..].sort_by_key(|node| node.id);
        }
        for worker in &mut profile.workers {
            worker.speed = speeds.get(&worker.name).copied().unwrap_or(1.0);
        }
        Ok(profile)
    }

    fn ask_worker(
        &mut self,
        cluster: &mut Cluster,
        worker: usize,
        placement: u16,
        parts: &HashMap<NodeId, Option<Part>>,
    ) -> Result<(), FeedbackError> {
        self.workers.push(Worker {
            name: cluster.name(worker).to_owned(),
            placement,
            invocations: 0,
            measured: 0,
            speed: 1.0,
        });
        let mut from = 0;
        loop {
            let page = cluster.profile(worker, &self.workflow, placement, from)?;
            let next = page.next;
            self.take(page, parts)?;
            match next {
                None => return Ok(()),
                Some(next) if next > from => from = next,
                Some(_) => {
                    let cause = "its pages do not come to an end".to_owned();
                    return Err(self.nonsense(cause));
                }
            }
        }
    }

    /// Takes in a page of the last worker.
    fn take(
        &mut self,
        page: ProfilePage,
        parts: &HashMap<NodeId, Option<Part>>,
    ) -> Result<(), FeedbackError> {
        let place = self.workers.len() - 1;
        let worker = &mut self.workers[place];
        if page.deployment != self.deployment {
            return Err(FeedbackError::Changed {
                workflow: self.workflow.clone(),
            });
        }
        (worker.invocations, worker.measured) = (page.invocations, page.measured);
        for node in page.nodes {
            let Some(part) = parts.get(&node.id).copied() else {
                let cause = format!("node {} is none of those that it has", node.id);
                return Err(self.nonsense(cause));
            };
            let node =
                read_node(node, place, part).map_err(|error| self.nonsense(error.to_string()))?;
            self.nodes.push(node);
        }
        Ok(())
    }

    fn nonsense(&self, cause: String) -> FeedbackError {
        let worker = self.workers.last().map(|worker| worker.name.clone());
        FeedbackError::Nonsense {
            worker: worker.unwrap_or_default(),
            cause,
        }
    }

    /// Whether anything has run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| node.ran == 0)
    }

    /// A node's worker.
    #[must_use]
    pub fn worker(&self, node: &Node) -> &Worker {
        &self.workers[node.worker]
    }

    /// Invocations of a placement, counted from 1.
    #[must_use]
    pub fn invocations(&self, placement: u16) -> u64 {
        let of = self.workers.iter().filter(|one| one.placement == placement);
        of.map(|one| one.invocations).max().unwrap_or(0)
    }

    /// The share of the invocations that went to a placement, counted from 1; none without invocations.
    #[must_use]
    pub fn placement_share(&self, placement: u16) -> Option<f64> {
        let all: u64 = (1..=self.placements).map(|one| self.invocations(one)).sum();
        (all > 0).then(|| self.invocations(placement) as f64 / all as f64)
    }
}

fn read_node(
    node: MeasuredNode,
    worker: usize,
    part: Option<Part>,
) -> Result<Node, engine::profile::MeasuredError> {
    let outputs = node.outputs.iter();
    let outputs = outputs.map(|(name, bytes)| Ok((name.clone(), read(bytes)?)));
    Ok(Node {
        id: node.id,
        part,
        worker,
        has_executor: node.has_executor,
        reads: node.reads,
        over: node.over,
        activations: node.activations,
        failures: node.failures,
        ran: node.ran,
        run_ns: read(&node.run_ns)?,
        queued_ns: read(&node.queued_ns)?,
        cpu: node.cpu,
        outputs: outputs.collect::<Result<_, _>>()?,
        items: node.items.as_ref().map(read).transpose()?,
        name: node.name,
    })
}

fn read(measured: &Measured) -> Result<Distribution, engine::profile::MeasuredError> {
    Distribution::try_from(measured)
}
