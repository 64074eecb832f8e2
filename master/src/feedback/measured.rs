//! What was measured of a workflow, by all of its workers together: node by node, and edge by edge.

use super::{FeedbackError, Served};
use crate::deploy::Cluster;
use engine::plan::{DeploymentId, NodeId};
use engine::profile::CpuSums;
use engine::profile::Distribution;
use engine::profile::Measured;
use engine::wire::{MeasuredNode, ProfilePage};
use std::collections::{BTreeMap, BTreeSet};

/// A workflow's profile, of its active version.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The workflow.
    pub workflow: String,
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Its version.
    pub version: u32,
    /// What each worker has counted that takes part.
    pub workers: Vec<Worker>,
    /// Its nodes, by rising number.
    pub nodes: Vec<Node>,
}

/// What a worker has counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Invocations that began there since counting began.
    pub invocations: u64,
    /// Of those, the measured ones whose part there has ended well.
    pub measured: u64,
}

/// What was measured of a node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number in the deployment.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its worker, by its place in [`Profile::workers`].
    pub worker: usize,
    /// Whether an executor runs it; what a lane does itself is not timed.
    pub has_executor: bool,
    /// Outputs that it reads of other nodes.
    pub reads: Vec<(NodeId, Vec<u16>)>,
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

/// What was measured of an edge: what a node reads of another one.
#[derive(Clone, PartialEq, Debug)]
pub struct Edge {
    /// The producer, by its place in [`Profile::nodes`].
    pub from: usize,
    /// The consumer, likewise.
    pub to: usize,
    /// The outputs that it reads, by name.
    pub outputs: Vec<String>,
    /// Their mean bytes in an invocation in which the producer runs; none if it was never measured.
    pub mean_bytes: Option<f64>,
    /// The 99th percentile of that. Where several outputs are read it is the sum of theirs, which the bytes of an invocation
    /// may stay below.
    pub p99_bytes: Option<u64>,
    /// Whether the two run on different workers.
    pub crosses: bool,
    /// What of it crosses workers, in bytes for each invocation, whether the producer runs in it or not.
    pub crossing_bytes: f64,
}

impl Node {
    /// The share of the invocations in which it runs: of all of them, or if it runs for each item of a list, of the
    /// measured ones. None without invocations.
    #[must_use]
    pub fn share(&self, worker: &Worker) -> Option<f64> {
        let (ran, all) = match self.items {
            None => (self.activations, worker.invocations),
            Some(_) => (self.ran, worker.measured),
        };
        (all > 0).then(|| (ran as f64 / all as f64).min(1.0))
    }

    /// Mean bytes of all its outputs together in an invocation in which it runs; none if it was never measured.
    #[must_use]
    pub fn output_mean_bytes(&self) -> Option<f64> {
        (self.ran > 0).then(|| means(self.outputs.iter().map(|(_, bytes)| bytes)))
    }

    /// The sum of the 99th percentiles of its outputs' bytes; none if one of them has none.
    #[must_use]
    pub fn output_p99_bytes(&self) -> Option<u64> {
        quantiles(self.outputs.iter().map(|(_, bytes)| bytes))
    }

    /// Whether more than counts and sums was kept of it; a worker keeps histograms of a bounded number of nodes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.run_ns.is_whole()
    }
}

fn means<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> f64 {
    distributions.filter_map(Distribution::mean).sum()
}

fn quantiles<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> Option<u64> {
    let each = distributions.map(|one| one.quantile(0.99));
    let each: Option<Vec<u64>> = each.collect();
    each.filter(|each| !each.is_empty())
        .map(|each| each.iter().sum())
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
            deployment: served.deployed.deployment,
            version: served.deployed.version,
            workers: Vec::new(),
            nodes: Vec::new(),
        };
        for worker in (0..served.nodes.len()).filter(|worker| served.nodes[*worker].is_some()) {
            let mut from = 0;
            profile.workers.push(Worker {
                name: cluster.name(worker).to_owned(),
                invocations: 0,
                measured: 0,
            });
            loop {
                let page = cluster.profile(worker, workflow, from)?;
                let next = page.next;
                profile.take(page)?;
                match next {
                    None => break,
                    Some(next) if next > from => from = next,
                    Some(_) => {
                        let cause = "its pages do not come to an end".to_owned();
                        return Err(profile.nonsense(cause));
                    }
                }
            }
        }
        profile.nodes.sort_by_key(|node| node.id);
        Ok(profile)
    }

    /// Takes in a page of the last worker.
    fn take(&mut self, page: ProfilePage) -> Result<(), FeedbackError> {
        let place = self.workers.len() - 1;
        let worker = &mut self.workers[place];
        if page.deployment != self.deployment {
            return Err(FeedbackError::Versions {
                workflow: self.workflow.clone(),
                first: worker.name.clone(),
                first_version: self.version,
                second: worker.name.clone(),
                second_version: page.version,
            });
        }
        (worker.invocations, worker.measured) = (page.invocations, page.measured);
        for node in page.nodes {
            let node = read_node(node, place).map_err(|error| self.nonsense(error.to_string()))?;
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

    /// What nodes read of each other, by consumer.
    #[must_use]
    pub fn edges(&self) -> Vec<Edge> {
        let place_of = self.places();
        let mut edges = Vec::new();
        for (to, consumer) in self.nodes.iter().enumerate() {
            for (producer, outputs) in &consumer.reads {
                let Some(from) = place_of.get(producer).copied() else {
                    continue;
                };
                let producer = &self.nodes[from];
                // What failed, which functions do not return, is of no size to speak of.
                let read = outputs.iter();
                let read = read.filter_map(|output| producer.outputs.get(usize::from(*output)));
                let read: Vec<&(String, Distribution)> = read.collect();
                if read.is_empty() {
                    continue;
                }
                let crosses = producer.worker != consumer.worker;
                let bytes = || read.iter().map(|(_, bytes)| bytes);
                edges.push(Edge {
                    from,
                    to,
                    outputs: read.iter().map(|(name, _)| name.clone()).collect(),
                    mean_bytes: (producer.ran > 0).then(|| means(bytes())),
                    p99_bytes: quantiles(bytes()),
                    crosses,
                    crossing_bytes: if crosses {
                        bytes().map(|one| self.expected(producer, one)).sum()
                    } else {
                        0.0
                    },
                });
            }
        }
        edges
    }

    /// Bytes that cross workers for each invocation: an output that several nodes of a worker read goes there once. Inputs of
    /// the workflow are not among them.
    #[must_use]
    pub fn crossing_bytes(&self) -> f64 {
        let place_of = self.places();
        let mut sent = BTreeSet::new();
        let mut bytes = 0.0;
        for consumer in &self.nodes {
            for (id, outputs) in &consumer.reads {
                let Some(producer) = place_of.get(id).map(|place| &self.nodes[*place]) else {
                    continue;
                };
                for output in outputs {
                    let Some((_, of)) = producer.outputs.get(usize::from(*output)) else {
                        continue;
                    };
                    let crosses = producer.worker != consumer.worker;
                    if crosses && sent.insert((*id, *output, consumer.worker)) {
                        bytes += self.expected(producer, of);
                    }
                }
            }
        }
        bytes
    }

    fn places(&self) -> BTreeMap<NodeId, usize> {
        let ids = self.nodes.iter().map(|node| node.id);
        ids.zip(0..).collect()
    }

    /// Bytes of an output for each invocation.
    fn expected(&self, producer: &Node, bytes: &Distribution) -> f64 {
        match self.worker(producer).measured {
            0 => 0.0,
            measured => bytes.sum() as f64 / measured as f64,
        }
    }
}

fn read_node(node: MeasuredNode, worker: usize) -> Result<Node, engine::profile::MeasuredError> {
    let outputs = node.outputs.iter();
    let outputs = outputs.map(|(name, bytes)| Ok((name.clone(), read(bytes)?)));
    Ok(Node {
        id: node.id,
        worker,
        has_executor: node.has_executor,
        reads: node.reads,
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
