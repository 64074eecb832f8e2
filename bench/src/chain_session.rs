//! A session whose workflow is a chain: invoking it brings home what its executors have recorded.

use crate::chain::{Chain, INPUT, collection_output};
use crate::hop_floor::Site;
use crate::session::{Companion, Layout, Session, SessionError, functions_folder};
use crate::stamp::{Collection, Load};
use engine::plan::Limits;
use engine::status::WorkerStatus;
use engine::wire::Tier;
use hdrhistogram::Histogram;
use master::client::Payload;
use std::collections::BTreeMap;

/// File name of the program whose functions are measured.
pub const FUNCTIONS_PROGRAM: &str = "bench-functions";
/// The names under which it lies in the workers' functions folder: two, since executors are pooled by executable.
pub const EXECUTABLES: [&str; 2] = ["bench-a", "bench-b"];

/// A cluster with a chain.
#[derive(Debug)]
pub struct ChainSession {
    session: Session,
    chain: Chain,
}

/// What one invocation brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// From the arrival of its input at the worker to its end, in nanoseconds.
    pub latency_ns: u64,
    /// What the executor at each stop of the chain had recorded.
    pub collections: Vec<Collection>,
}

impl Answer {
    /// Adds every hop to `hops`, and every time that a node took to read its payload to `reads`: the chain's first node is
    /// left out, since its payload is the client's.
    pub fn record(&self, hops: &mut Histogram<u64>, reads: &mut Histogram<u64>) {
        for (stop, collection) in self.collections.iter().enumerate() {
            for hop_ns in &collection.hops_ns {
                hops.saturating_record(*hop_ns);
            }
            let from_client = usize::from(stop == 0);
            for read_ns in collection.reads_ns.iter().skip(from_client) {
                reads.saturating_record(*read_ns);
            }
        }
    }
}

impl ChainSession {
    /// Starts the workers and deploys the chain, whose stops name executables of [`EXECUTABLES`] and workers `local-1`
    /// and on.
    ///
    /// # Errors
    /// If programs are missing, or any step is refused. What was started is ended.
    pub fn start(layout: &Layout, chain: Chain) -> Result<Self, SessionError> {
        Self::start_within(layout, chain, Limits::default())
    }

    /// As [`ChainSession::start`], with other limits of the deployment.
    ///
    /// # Errors
    /// As [`ChainSession::start`].
    pub fn start_within(
        layout: &Layout,
        chain: Chain,
        limits: Limits,
    ) -> Result<Self, SessionError> {
        let functions = functions_folder(&EXECUTABLES.map(|name| (FUNCTIONS_PROGRAM, name)))?;
        let (definition, placement) = (chain.definition(), chain.placement());
        let session = Session::start_within(layout, functions, &definition, placement, limits)?;
        Ok(Self { session, chain })
    }

    /// The chain that is deployed.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The workers' processes.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.session.worker_pids()
    }

    /// Runs the chain once with that load on every node.
    ///
    /// # Errors
    /// If the invocation fails or a worker is lost.
    pub fn invoke(&mut self, load: Load) -> Result<Answer, SessionError> {
        let inputs = [(INPUT.to_owned(), Payload::Bytes(load.first_payload()))];
        let ended = self.session.invoke(&inputs)?;
        let collection = |stop| {
            Ok(Collection::from_bytes(
                ended.bytes(&collection_output(stop))?,
            )?)
        };
        let collections = (0..self.chain.stops.len())
            .map(collection)
            .collect::<Result<_, SessionError>>()?;
        Ok(Answer {
            latency_ns: ended.latency_ns,
            collections,
        })
    }

    /// Deploys a second workflow on the same workers; see [`Session::companion`].
    ///
    /// # Errors
    /// As there.
    pub fn companion(
        &mut self,
        definition: &str,
        fixed: BTreeMap<String, String>,
    ) -> Result<Companion, SessionError> {
        self.session.companion(definition, fixed)
    }

    /// Runs the chain once with that load, and says through which tiers payloads went from one node to the next.
    ///
    /// # Errors
    /// As [`ChainSession::invoke`].
    pub fn tiers(&mut self, load: Load) -> Result<Vec<Tier>, SessionError> {
        let inputs = [(INPUT.to_owned(), Payload::Bytes(load.first_payload()))];
        let ended = self.session.invoke_reported(&inputs)?;
        let edges = ended.report.iter().flat_map(|node| &node.edges);
        // What a client gives is its own affair.
        let within = edges.filter(|edge| edge.from.starts_with("hop"));
        Ok(within.map(|edge| edge.tier).collect())
    }

    /// What each worker tells of itself.
    ///
    /// # Errors
    /// If a worker is lost or of another release.
    pub fn status(&mut self) -> Result<Vec<WorkerStatus>, SessionError> {
        self.session.status()
    }

    /// Where lanes and executors run: one site for each stop of the chain, the lane as its worker says, the executor as
    /// it found itself.
    ///
    /// # Errors
    /// As [`ChainSession::status`].
    pub fn sites(&mut self, answer: &Answer) -> Result<Vec<Site>, SessionError> {
        let statuses = self.status()?;
        let sites = self
            .chain
            .stops
            .iter()
            .zip(&answer.collections)
            .map(|(stop, collection)| {
                let is_here = |name: &str| stop.worker.as_ref().is_none_or(|worker| worker == name);
                let status = statuses.iter().find(|status| is_here(&status.name));
                let lane_cpu = status
                    .and_then(|status| status.lanes.first())
                    .map_or(0, |lane| lane.cpu as usize);
                Site {
                    lane_cpu,
                    executor_cpu: collection.cpu.unwrap_or(lane_cpu),
                }
            });
        Ok(sites.collect())
    }
}
