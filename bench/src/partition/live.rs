//! Workflows that really run: deployed on two workers with every node where a placement has it, invoked, and traced.

use crate::session::SessionError;
use engine::plan::{Limits, Part};
use engine::wire::NodeReport;
use master::client::{self, Client, Invocation, Payload};
use master::definition::Definition;
use master::deploy::{Cluster, DeployError, Replicas};
use master::feedback::measured::Profile;
use master::graph::{Graph, GraphNode};
use master::place::{self, Placement, WorkerCapacity};
use master::trace::{End, Trace};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

/// How long a workflow that was taken away may hold its memory, and the pause between two looks.
const RELEASE_MAX: Duration = Duration::from_secs(20);
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// Workers that are there.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// Where they listen.
    pub(crate) addresses: Vec<String>,
    /// How they are reached.
    pub(crate) options: client::Options,
}

/// What one invocation did.
#[derive(Clone, Debug)]
pub(crate) struct Invoked {
    /// From its beginning at its entry worker until the last of its nodes had ended, in nanoseconds.
    pub(crate) makespan_ns: u64,
    /// When what ran.
    pub(crate) trace: Trace,
    /// What each node did.
    pub(crate) report: Vec<NodeReport>,
    /// What the workflow gave.
    pub(crate) outputs: Vec<(String, Payload)>,
    /// CPUs that nodes keep busy while they run, by name, as far as executors were asked to measure that.
    pub(crate) busy_cpus: BTreeMap<String, f64>,
}

/// A workflow that is deployed.
pub(crate) struct Deployed {
    cluster: Cluster,
    client: Client,
    workflow: String,
    /// Its graph.
    pub(crate) graph: Graph,
    /// Where its nodes are.
    pub(crate) placement: Placement,
    /// What the workers could take before.
    pub(crate) workers: Vec<WorkerCapacity>,
}

impl Invoked {
    /// Bytes of what the workflow gave.
    pub(crate) fn output_bytes(&self) -> u64 {
        let payloads = self.outputs.iter().map(|(_, payload)| payload);
        payloads.map(bytes_of).sum()
    }
}

impl Live {
    /// What the workers can take.
    ///
    /// # Errors
    /// If one cannot be reached.
    pub(crate) fn capacities(&self) -> Result<Vec<WorkerCapacity>, SessionError> {
        let cluster = Cluster::connect(&self.addresses, &self.options)?;
        let lanes: Vec<u8> = cluster.descriptions().map(|worker| worker.lanes).collect();
        let mut capacities = cluster.capacities();
        for (capacity, lanes) in capacities.iter_mut().zip(lanes) {
            capacity.lanes = lanes;
        }
        Ok(capacities)
    }

    /// Deploys a workflow with each node of its graph, in which regions may be in parts, on the worker that has its place in
    /// `placed`. Clients' inputs enter at the worker of its first node.
    ///
    /// # Errors
    /// If the workers refuse it.
    pub(crate) fn deploy(
        &self,
        definition: &Definition,
        graph: &Graph,
        placed: &[usize],
    ) -> Result<Deployed, SessionError> {
        let workers = self.capacities()?;
        let options = place::Options::default();
        let placement = (graph.clone(), vec![Placement::new(placed.to_vec())]);
        let terms = (&options, Replicas::default());
        let mut cluster = Cluster::connect(&self.addresses, &self.options)?;
        let mut deployment =
            cluster.deploy_placed(definition, placement, terms, Limits::default())?;
        let entry = placed.first().copied().unwrap_or_default();
        Ok(Deployed {
            client: Client::connect(&self.addresses[entry], &self.options)?,
            cluster,
            workflow: definition.workflow.value.clone(),
            graph: deployment.graph,
            placement: deployment.placements.swap_remove(0),
            workers,
        })
    }
}

impl Deployed {
    /// Runs it once.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) fn invoke(&mut self, inputs: &[(String, Payload)]) -> Result<Invoked, SessionError> {
        let answered = self.client.invoke(&Invocation {
            workflow: &self.workflow,
            inputs,
            report: true,
            trace: true,
        })?;
        let trace = Trace::of(&self.workflow, &answered);
        let outputs = answered.result?;
        let ended = trace
            .attempts
            .iter()
            .filter(|attempt| attempt.end != End::Running);
        Ok(Invoked {
            makespan_ns: ended.map(|attempt| attempt.ended_ns).max().unwrap_or(0),
            trace,
            report: answered.report,
            outputs,
            busy_cpus: BTreeMap::new(),
        })
    }

    /// Runs it once, with nothing told of it but how long it took: from its beginning at its entry worker to its end, in
    /// nanoseconds.
    ///
    /// # Errors
    /// If it fails.
    pub(crate) fn invoke_plainly(
        &mut self,
        inputs: &[(String, Payload)],
    ) -> Result<u64, SessionError> {
        let answered = self.client.invoke(&Invocation {
            workflow: &self.workflow,
            inputs,
            report: false,
            trace: false,
        })?;
        answered.result?;
        Ok(answered.latency_ns)
    }

    /// CPUs that its nodes keep busy while they run, by name, as far as that was measured.
    ///
    /// # Errors
    /// If the workers do not say.
    pub(super) fn busy_cpus(&mut self) -> Result<BTreeMap<String, f64>, SessionError> {
        let profile = Profile::ask(&mut self.cluster, &self.workflow)?;
        let nodes = profile.whole_nodes().into_iter();
        let busy = nodes.filter_map(|node| Some((node.name, node.cpu.busy_cpus()?)));
        Ok(busy.collect())
    }

    /// Takes it away, and waits until the workers have the memory back.
    ///
    /// # Errors
    /// If a worker is lost.
    pub(crate) fn end(mut self, live: &Live) -> Result<(), SessionError> {
        self.cluster.undeploy(&self.workflow)?;
        drop(self.client);
        let give_up = Instant::now() + RELEASE_MAX;
        loop {
            let cluster = Cluster::connect(&live.addresses, &live.options)?;
            let mut workers = cluster.descriptions();
            let free = workers.all(|worker| worker.memory_reserved_bytes == 0);
            if free || Instant::now() > give_up {
                return Ok(());
            }
            thread::sleep(RELEASE_PAUSE);
        }
    }
}

fn bytes_of(payload: &Payload) -> u64 {
    match payload {
        Payload::Bytes(bytes) => bytes.len() as u64,
        Payload::List(items) => items.iter().flatten().map(|item| item.len() as u64).sum(),
    }
}

/// Whether a failure is about one workflow alone, so that others may still be measured.
pub(crate) fn is_of_one_workflow(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Invocation(_)
            | SessionError::Definition(_)
            | SessionError::Deploy(
                DeployError::Place(_)
                    | DeployError::Executable { .. }
                    | DeployError::Refused { .. }
                    | DeployError::PlanBytes { .. }
            )
    )
}

/// The graph as one invocation took it: what was skipped takes no time and gives nothing.
pub(super) fn as_taken(graph: &Graph, trace: &Trace) -> Graph {
    let skipped: BTreeSet<&str> = trace
        .skipped
        .iter()
        .map(|node| trace.nodes[*node].as_str())
        .collect();
    let ran: BTreeSet<&str> = trace
        .attempts
        .iter()
        .map(|attempt| trace.nodes[attempt.node].as_str())
        .collect();
    graph.changed(|node| {
        let name = node.name.as_str();
        if skipped.contains(name) && !ran.contains(name) {
            node.executable = None;
            node.runtime_ms = 0.0;
            node.delay_ms = 0.0;
            node.output_bytes = 0;
            node.by_output.clear();
        }
    })
}

/// The graph with run times, items and bytes as they were measured in one invocation. Bytes of a node with several outputs stay
/// as they were: what of them was read by whom is not told.
pub(super) fn as_measured(graph: &Graph, invoked: &Invoked) -> Graph {
    let mut times: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
    for attempt in &invoked.trace.attempts {
        let time = times.entry(&invoked.trace.nodes[attempt.node]).or_default();
        time.0 += (attempt.ended_ns - attempt.started_ns) as f64;
        time.1 += 1;
    }
    let mut given: BTreeMap<&str, u64> = BTreeMap::new();
    for node in &invoked.report {
        for edge in &node.edges {
            let bytes = given.entry(&edge.from).or_default();
            *bytes = edge.bytes.max(*bytes);
        }
    }
    // The nodes of a region have one number of items.
    let mut items: BTreeMap<usize, u64> = BTreeMap::new();
    for node in graph.nodes() {
        if let (Some(region), Some((_, count))) = (node.together, times.get(node.name.as_str())) {
            let known = items.entry(region).or_default();
            *known = (*count).max(*known);
        }
    }
    // A part is told of under the name of its node.
    let share = |node: &GraphNode, count: u64| {
        let of = |part: Part| part.share.of(count as usize).len() as u64;
        node.part.map_or(count, of)
    };
    graph.changed(|node| {
        if let Some(busy_cpus) = invoked.busy_cpus.get(&node.name) {
            node.busy = (busy_cpus / f64::from(node.cpus.max(1))).min(1.0);
        }
        if let Some((sum_ns, count)) = times.get(node.name.as_str()) {
            node.runtime_ms = sum_ns / *count as f64 / 1e6;
            node.activations = share(node, *count);
        }
        if let Some(region) = node.together {
            let items = items.get(&region).map(|items| share(node, *items));
            node.items = items.unwrap_or(node.items);
        }
        if let Some(bytes) = given.get(node.name.as_str())
            && node.by_output.len() <= 1
        {
            node.output_bytes = share(node, *bytes);
            node.by_output.clear();
        }
    })
}

/// A definition with hints that say what one invocation took. Bytes of a node with several outputs stay as they were.
pub(super) fn as_hinted(definition: &Definition, invoked: &Invoked) -> Definition {
    let measured = as_measured(&Graph::of(definition), invoked);
    let nodes: Vec<&GraphNode> = measured.nodes().collect();
    let ids = measured.ids_by_definition();
    let mut hinted = definition.clone();
    for (node, id) in hinted.nodes.iter_mut().zip(ids) {
        let measured = nodes[id as usize];
        node.profile.runtime_ms = measured.runtime_ms;
        node.profile.busy = measured.busy;
        if node.profile.by_output.len() <= 1 {
            node.profile.output_bytes = measured.output_bytes;
            node.profile.by_output.clear();
        }
        if let (true, Some(region)) = (node.over_list, node.region)
            && definition.regions[region].parent.is_none()
        {
            let batch = definition.regions[region].batch.unwrap_or(1);
            node.profile.items = measured.items * u64::from(batch);
        }
    }
    hinted
}

/// The same, with run times that hold what nodes waited for CPUs too, so that nothing of that is left to be predicted.
pub(super) fn as_replayed(graph: &Graph, invoked: &Invoked) -> Graph {
    as_measured(graph, invoked).changed(|node| node.busy = 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::wire::{EdgeReport, Tier};
    use faasstore::descriptor::InvocationId;
    use master::definition;
    use master::trace::Attempt;

    const FORK: &str = "
workflow: w
input: { n: { kind: value, default: 3 } }
nodes:
  choose: { switch: [ { when: 'input.n > 2', then: large } ], default: small }
  large: { function: e:f, output: { o: list }, profile: { runtime_ms: 9, output_bytes: 5, busy: 0.5 } }
  small: { function: e:f, profile: { runtime_ms: 7 } }
  each: { function: e:g, foreach: large.o, input: { i: item }, profile: { runtime_ms: 5, items: 2 } }
";

    fn graph() -> Graph {
        Graph::of(&definition::parse("w.yaml", FORK.as_bytes()).unwrap())
    }

    fn node<'g>(graph: &'g Graph, name: &str) -> &'g GraphNode {
        graph.nodes().find(|node| node.name == name).unwrap()
    }

    /// `large` took 2 ms and gave 100 bytes; of `each` three items ran, for 1, 2 and 6 ms; `small` was skipped.
    fn invoked() -> Invoked {
        let nodes = ["large", "each", "small"].map(str::to_owned).to_vec();
        let attempt = |node, started_ms: u64, ended_ms: u64| Attempt {
            node,
            worker: 0,
            executor: Some(0),
            items: Vec::new(),
            number: 1,
            ready_ns: 0,
            started_ns: started_ms * 1_000_000,
            ended_ns: ended_ms * 1_000_000,
            end: End::Well,
        };
        let edge = EdgeReport {
            from: "large".into(),
            tier: Tier::Shared,
            bytes: 100,
        };
        let report = NodeReport {
            id: 3,
            node: "each".into(),
            worker: "a".into(),
            activations: 3,
            well: 3,
            failed: 0,
            cut_off: 0,
            skipped: 0,
            attempts: 3,
            failures: 0,
            busy_ns: 9_000_000,
            failed_ns: 0,
            span_ns: 0,
            edges: vec![edge],
        };
        Invoked {
            makespan_ns: 8_000_000,
            trace: Trace {
                workflow: "w".into(),
                invocation: InvocationId(1),
                latency_ns: 9_000_000,
                workers: Vec::new(),
                nodes,
                attempts: vec![
                    attempt(0, 0, 2),
                    attempt(1, 2, 3),
                    attempt(1, 2, 4),
                    attempt(1, 2, 8),
                ],
                edges: Vec::new(),
                skipped: vec![2],
                dropped: 0,
            },
            report: vec![report],
            outputs: Vec::new(),
            busy_cpus: BTreeMap::from([("large".to_owned(), 0.25), ("each".to_owned(), 3.0)]),
        }
    }

    #[test]
    fn what_was_skipped_takes_no_time_and_all_else_stays() {
        let taken = as_taken(&graph(), &invoked().trace);
        let small = node(&taken, "small");
        assert_eq!((small.runtime_ms, small.executable.as_ref()), (0.0, None));
        assert_eq!(node(&taken, "large"), node(&graph(), "large"));
        assert_eq!(taken.scenarios().len(), 1);
        assert_eq!(taken.edges().len(), graph().edges().len());
    }

    #[test]
    fn run_times_items_and_bytes_are_those_that_were_measured() {
        let measured = as_measured(&graph(), &invoked());
        let each = node(&measured, "each");
        assert_eq!((each.runtime_ms, each.items, each.activations), (3.0, 3, 3));
        let large = node(&measured, "large");
        assert_eq!(
            (large.runtime_ms, large.output_bytes, large.busy),
            (2.0, 100, 0.25)
        );
        // No more than all of the time; what was not measured stays as it was.
        assert_eq!(each.busy, 1.0);
        let small = node(&measured, "small");
        assert_eq!((small.runtime_ms, small.busy), (7.0, 1.0));
        assert_eq!(node(&as_replayed(&graph(), &invoked()), "large").busy, 0.0);
    }
}
