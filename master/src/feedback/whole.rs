//! Nodes as a workflow's file has them: what was measured of all parts of a node, and in all placements, put together.
//!
//! Parts of a node run in the same invocation, each for its share of the items, so their bytes add up. Placements run in
//! different ones, so theirs are more of the same. Counts are exact and known for all; where workers have measured unlike
//! shares of what they ran, means go by the counts.

use super::measured::{Node, Profile, share};
use engine::plan::NodeId;
use engine::profile::{CpuSums, Distribution};
use std::collections::{BTreeMap, HashMap};

/// A node, with all of its parts, in all placements.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Its name.
    pub name: String,
    /// Where it runs: places in [`Profile::nodes`], placement by placement, and there part by part.
    pub nodes: Vec<usize>,
    /// The names of those workers, each once, in that order.
    pub workers: Vec<String>,
    /// In how many parts it runs for each invocation; 1 if it is not divided.
    pub parts: usize,
    /// Whether an executor runs it.
    pub has_executor: bool,
    /// Activations that were begun.
    pub activations: u64,
    /// Attempts that have failed.
    pub failures: u64,
    /// Measured invocations in which it ran: of a divided node those of the part that has most.
    pub ran: u64,
    /// The share of the invocations in which it runs; see [`Node::share`]. Of a divided node that of the part that runs in most.
    pub share: Option<f64>,
    /// Run times of attempts that ended well, in nanoseconds.
    pub run_ns: Distribution,
    /// Their mean, in which each part counts by its activations; none if none was measured.
    pub run_mean_ns: Option<f64>,
    /// The same alone on a worker of speed 1: without what is known of waits for a CPU. The estimator has activations share CPUs
    /// itself, and would stretch them again.
    pub run_normal_ns: Option<f64>,
    /// What executors have measured of their CPUs.
    pub cpu: CpuSums,
    /// Waits for an executor, in nanoseconds.
    pub queued_ns: Distribution,
    /// Their mean, likewise.
    pub queued_mean_ns: Option<f64>,
    /// Its outputs.
    pub outputs: Vec<WholeOutput>,
    /// If it runs for each item of a list: how many items that had.
    pub items: Option<Distribution>,
}

/// What was measured of an output.
#[derive(Clone, PartialEq, Debug)]
pub struct WholeOutput {
    /// Its name.
    pub name: String,
    /// Mean bytes of all activations of an invocation in which the node runs; none if that was never measured.
    pub mean_bytes: Option<f64>,
    /// The 99th percentile; of a divided node the sum of its parts', which the bytes of an invocation may stay below.
    pub p99_bytes: Option<u64>,
}

impl Whole {
    /// Mean bytes of all its outputs together in an invocation in which it runs; none if it was never measured.
    #[must_use]
    pub fn output_mean_bytes(&self) -> Option<f64> {
        let means = self.outputs.iter().filter_map(|output| output.mean_bytes);
        (self.ran > 0).then(|| means.sum())
    }

    /// The sum of the 99th percentiles of its outputs' bytes; none if one of them has none, or there are none.
    #[must_use]
    pub fn output_p99_bytes(&self) -> Option<u64> {
        sum_of(self.outputs.iter().map(|output| output.p99_bytes))
    }

    /// Whether more than counts and sums was kept of it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.run_ns.is_whole()
    }
}

/// The sum, if all are there and there is one at least.
pub(super) fn sum_of(each: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let each: Option<Vec<u64>> = each.collect();
    each.filter(|each| !each.is_empty())
        .map(|each| each.iter().sum())
}

/// One number of a deployment: a node, or a part of one, in all placements.
#[derive(Clone, Debug, Default)]
struct Pooled {
    activations: u64,
    ran: u64,
    /// Measured invocations of the workers that it runs on.
    measured: u64,
    outputs: Vec<Distribution>,
}

impl Pooled {
    fn add(&mut self, node: &Node, measured: u64) {
        self.activations += node.activations;
        self.ran += node.ran;
        self.measured += measured;
        self.outputs
            .resize_with(node.outputs.len(), Distribution::default);
        for (all, (_, one)) in self.outputs.iter_mut().zip(&node.outputs) {
            all.merge(one);
        }
    }

    /// The share of the measured invocations in which it ran.
    fn share(&self) -> Option<f64> {
        (self.measured > 0).then(|| (self.ran as f64 / self.measured as f64).min(1.0))
    }

    /// Bytes of an output for each invocation, whether it runs in it or not; none if that is not known: it has run, and nothing
    /// of it was measured.
    fn bytes(&self, output: usize) -> Option<f64> {
        if self.ran == 0 && self.activations > 0 {
            return None;
        }
        let sum = self.outputs.get(output).map_or(0, Distribution::sum);
        Some(sum as f64 / self.measured.max(1) as f64)
    }
}

/// The parts of a node, by number.
type Parts = BTreeMap<NodeId, Pooled>;

/// Bytes of an output of each part for each invocation. What is not known of a part is taken to be like the others, activation
/// for activation.
fn bytes_by_part(parts: &Parts, output: usize) -> BTreeMap<NodeId, f64> {
    let known = |part: &Pooled| part.bytes(output);
    let (mut bytes, mut activations) = (0.0, 0);
    for part in parts.values() {
        if let Some(of_part) = known(part) {
            bytes += of_part;
            activations += part.activations;
        }
    }
    let for_one = bytes / activations.max(1) as f64;
    let of = |part: &Pooled| known(part).unwrap_or(part.activations as f64 * for_one);
    parts.iter().map(|(id, part)| (*id, of(part))).collect()
}

/// A mean of means, each by its weight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weighted {
    sum: f64,
    weight: f64,
    count: u32,
    last: f64,
}

impl Weighted {
    pub(super) fn add(&mut self, mean: Option<f64>, weight: u64) {
        let Some(mean) = mean else {
            return;
        };
        // What was under way when counting began anew has times, and no activation.
        let weight = weight.max(1) as f64;
        self.sum += mean * weight;
        self.weight += weight;
        self.count += 1;
        self.last = mean;
    }

    pub(super) fn mean(&self) -> Option<f64> {
        match self.count {
            0 => None,
            // As exact as it is.
            1 => Some(self.last),
            _ => Some(self.sum / self.weight),
        }
    }
}

impl Profile {
    /// The nodes of the workflow, each once, in the order of their numbers.
    #[must_use]
    pub fn whole_nodes(&self) -> Vec<Whole> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut all: Vec<Vec<usize>> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let whole = *places.entry(&node.name).or_insert(all.len());
            if whole == all.len() {
                all.push(Vec::new());
            }
            all[whole].push(place);
        }
        all.into_iter().map(|nodes| self.whole(nodes)).collect()
    }

    fn parts(&self, nodes: &[usize]) -> Parts {
        let mut parts = Parts::new();
        for place in nodes {
            let node = &self.nodes[*place];
            let measured = self.worker(node).measured;
            parts.entry(node.id).or_default().add(node, measured);
        }
        parts
    }

    /// Bytes of each output of each node and part for each invocation, whether it runs in it or not.
    pub(super) fn expected_bytes(&self, wholes: &[Whole]) -> BTreeMap<NodeId, Vec<f64>> {
        let mut expected: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
        for whole in wholes {
            let parts = self.parts(&whole.nodes);
            for output in 0..whole.outputs.len() {
                for (id, bytes) in bytes_by_part(&parts, output) {
                    expected.entry(id).or_default().push(bytes);
                }
            }
        }
        expected
    }

    fn whole(&self, nodes: Vec<usize>) -> Whole {
        let parts = self.parts(&nodes);
        let cells = || nodes.iter().map(|place| &self.nodes[*place]);
        let mut workers: Vec<String> = Vec::new();
        let (mut run_ns, mut queued_ns) = (Distribution::default(), Distribution::default());
        let [mut run_mean, mut run_normal, mut queued_mean] = [Weighted::default(); 3];
        let mut items: Option<Distribution> = None;
        let mut cpu = CpuSums::default();
        let (mut activations, mut invocations) = (0, 0);
        for node in cells() {
            let worker = self.worker(node);
            if !workers.contains(&worker.name) {
                workers.push(worker.name.clone());
            }
            run_ns.merge(&node.run_ns);
            queued_ns.merge(&node.queued_ns);
            let run_mean_ns = node.run_ns.mean();
            run_mean.add(run_mean_ns, node.activations);
            cpu.merge(&node.cpu);
            let waited_ns = node.cpu.waited_ns as f64 / node.run_ns.count().max(1) as f64;
            let alone_ns = run_mean_ns.map(|ns| (ns - waited_ns).max(0.0) * worker.speed);
            run_normal.add(alone_ns, node.activations);
            queued_mean.add(node.queued_ns.mean(), node.activations);
            if let Some(of_node) = &node.items {
                items.get_or_insert_default().merge(of_node);
            }
            activations += node.activations;
            invocations += worker.invocations;
        }
        // What runs for no list is in one part.
        let measured = parts.values().fold((0, 0), |(ran, measured), part| {
            (ran + part.ran, measured + part.measured)
        });
        let share_measured = parts.values().filter_map(Pooled::share).reduce(f64::max);
        let first = &self.nodes[nodes[0]];
        let outputs = first.outputs.iter().enumerate().map(|(output, (name, _))| {
            let ran = || parts.values().filter(|part| part.ran > 0);
            let of = |part: &Pooled| part.outputs.get(output).cloned().unwrap_or_default();
            WholeOutput {
                name: name.clone(),
                mean_bytes: mean_bytes(&parts, output, share_measured),
                p99_bytes: sum_of(ran().map(|part| of(part).quantile(0.99))),
            }
        });
        Whole {
            name: first.name.clone(),
            workers,
            parts: parts.len(),
            has_executor: cells().any(|node| node.has_executor),
            activations,
            failures: cells().map(|node| node.failures).sum(),
            ran: parts.values().map(|part| part.ran).max().unwrap_or(0),
            share: match &items {
                Some(_) => share_measured,
                None => share((activations, invocations).into(), measured),
            },
            run_ns,
            run_mean_ns: run_mean.mean(),
            run_normal_ns: run_normal.mean(),
            cpu,
            queued_ns,
            queued_mean_ns: queued_mean.mean(),
            outputs: outputs.collect(),
            items,
            nodes,
        }
    }
}

/// Mean bytes of an output in an invocation in which the node runs.
fn mean_bytes(parts: &Parts, output: usize, share: Option<f64>) -> Option<f64> {
    if parts.len() == 1 {
        let part = parts.values().next()?;
        return part.outputs.get(output)?.mean();
    }
    let share = share.filter(|share| *share > 0.0)?;
    Some(bytes_by_part(parts, output).values().sum::<f64>() / share)
}
