//! What travels between nodes, and what of it goes from worker to worker.
//!
//! An output goes to a worker once, however many nodes there read it. Where none but parts of divided nodes run over a list, a
//! worker gets of it what these parts cover, as [`engine::plan::SectionPlan`] says; of that the producer's part, if it is one of
//! several, sends what it has.

use super::measured::{Node, Profile};
use super::whole::{Whole, sum_of};
use engine::plan::{NodeId, Share};
use std::collections::{BTreeMap, BTreeSet};

/// What was measured of an edge: what a node reads of another one, all parts of both together.
#[derive(Clone, PartialEq, Debug)]
pub struct Edge {
    /// The producer, by its place in [`Profile::whole_nodes`].
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
    /// From which worker to which other one it goes, by name, each pair once.
    pub crosses: Vec<(String, String)>,
    /// Whether parts or placements of the two share a worker.
    pub stays: bool,
    /// What of it crosses workers, in bytes for each invocation, whether the producer runs in it or not.
    pub crossing_bytes: f64,
}

/// A transfer: the producer by its place in [`Profile::nodes`], which output, and the reader's worker by its place in
/// [`Profile::workers`].
type Transfer = (usize, u16, usize);

/// What of a list somebody needs; none is all of it.
type Need = Option<Share>;

/// What is needed of what is sent, each once.
#[derive(Default)]
struct Transfers(BTreeMap<Transfer, Need>);

impl Transfers {
    fn add(&mut self, transfer: Transfer, need: Need) {
        let known = self.0.entry(transfer).or_insert(need);
        *known = match (*known, need) {
            (Some(a), Some(b)) if a.whole == b.whole => Some(a.and(b)),
            _ => None,
        };
    }
}

/// The share of what a producer gives that somebody needs.
fn fraction(producer: Option<Share>, need: Need) -> f64 {
    let span = |share: Share| {
        let whole = f64::from(share.whole);
        (
            f64::from(share.first) / whole,
            f64::from(share.behind) / whole,
        )
    };
    let Some(need) = need else {
        return 1.0;
    };
    let (first, behind) = span(producer.unwrap_or(Share::ALL));
    let (from, to) = span(need);
    let both = (behind.min(to) - first.max(from)).max(0.0);
    if behind > first {
        both / (behind - first)
    } else {
        0.0
    }
}

/// What is needed to say what is sent.
struct Crossing<'a> {
    profile: &'a Profile,
    expected: BTreeMap<NodeId, Vec<f64>>,
    /// By placement, from 0: its share of the invocations.
    weights: Vec<f64>,
    /// By placement, from 0, and number: the node's place.
    places: BTreeMap<(u16, NodeId), usize>,
}

impl<'a> Crossing<'a> {
    fn of(profile: &'a Profile, wholes: &[Whole]) -> Self {
        let nodes = profile.nodes.iter().zip(0..);
        Self {
            expected: profile.expected_bytes(wholes),
            weights: (1..=profile.placements)
                .map(|number| profile.placement_share(number).unwrap_or(0.0))
                .collect(),
            places: nodes
                .map(|(node, place)| ((profile.worker(node).placement, node.id), place))
                .collect(),
            profile,
        }
    }

    /// What a node reads: producers by their places, which output, and what of it is needed.
    fn reads(&self, consumer: &'a Node) -> impl Iterator<Item = (usize, u16, Need)> + '_ {
        let placement = self.profile.worker(consumer).placement;
        consumer.reads.iter().flat_map(move |(producer, outputs)| {
            let alone = std::slice::from_ref(producer);
            let parts = self.profile.parts_of.get(producer);
            let producers = parts.map_or(alone, Vec::as_slice).iter();
            let places = producers.filter_map(move |id| self.places.get(&(placement, *id)));
            places.flat_map(move |place| {
                outputs.iter().map(move |output| {
                    let is_over = consumer.over == Some((*producer, *output));
                    let part = consumer.part.filter(|_| is_over);
                    (*place, *output, part.map(|part| part.share))
                })
            })
        })
    }

    fn bytes(&self, transfers: &Transfers) -> f64 {
        let each = transfers.0.iter().map(|((place, output, to), need)| {
            let producer = &self.profile.nodes[*place];
            let expected = self.expected.get(&producer.id);
            let expected = expected.and_then(|bytes| bytes.get(usize::from(*output)));
            let placement = self.profile.workers[*to].placement;
            let weight = self.weights.get(usize::from(placement) - 1);
            expected.copied().unwrap_or_default()
                * weight.copied().unwrap_or_default()
                * fraction(producer.part.map(|part| part.share), *need)
        });
        each.sum()
    }
}

/// An edge that is being put together.
#[derive(Default)]
struct Found {
    outputs: BTreeSet<u16>,
    transfers: Transfers,
    crosses: BTreeSet<(usize, usize)>,
    stays: bool,
}

impl Profile {
    /// What nodes read of each other, by consumer. What failed, which functions do not return, is of no size to speak of.
    #[must_use]
    pub fn edges(&self, wholes: &[Whole]) -> Vec<Edge> {
        let mut whole_of = vec![0; self.nodes.len()];
        for (number, whole) in wholes.iter().enumerate() {
            whole
                .nodes
                .iter()
                .for_each(|place| whole_of[*place] = number);
        }
        let crossing = Crossing::of(self, wholes);
        let mut found: BTreeMap<(usize, usize), Found> = BTreeMap::new();
        for (place, consumer) in self.nodes.iter().enumerate() {
            for (from, output, need) in crossing.reads(consumer) {
                let producer = &self.nodes[from];
                if usize::from(output) >= producer.outputs.len() {
                    continue;
                }
                let edge = found.entry((whole_of[place], whole_of[from])).or_default();
                edge.outputs.insert(output);
                if producer.worker == consumer.worker {
                    edge.stays = true;
                } else {
                    edge.crosses.insert((producer.worker, consumer.worker));
                    let transfer = (from, output, consumer.worker);
                    edge.transfers.add(transfer, need);
                }
            }
        }
        let edges = found.into_iter().map(|((to, from), edge)| {
            let outputs = edge.outputs.iter();
            let outputs = || {
                outputs
                    .clone()
                    .map(|output| &wholes[from].outputs[usize::from(*output)])
            };
            let mean = || outputs().filter_map(|output| output.mean_bytes).sum();
            let mut crosses: Vec<(String, String)> = Vec::new();
            for (from, to) in &edge.crosses {
                let name = |worker: usize| self.workers[worker].name.clone();
                let pair = (name(*from), name(*to));
                if !crosses.contains(&pair) {
                    crosses.push(pair);
                }
            }
            Edge {
                from,
                to,
                outputs: outputs().map(|output| output.name.clone()).collect(),
                mean_bytes: (wholes[from].ran > 0).then(mean),
                p99_bytes: sum_of(outputs().map(|output| output.p99_bytes)),
                crosses,
                stays: edge.stays,
                crossing_bytes: crossing.bytes(&edge.transfers),
            }
        });
        edges.collect()
    }

    /// Bytes that cross workers for each invocation, whichever placement it goes to. Inputs and outputs of the workflow are not
    /// among them.
    #[must_use]
    pub fn crossing_bytes(&self, wholes: &[Whole]) -> f64 {
        let crossing = Crossing::of(self, wholes);
        let mut transfers = Transfers::default();
        for consumer in &self.nodes {
            for (from, output, need) in crossing.reads(consumer) {
                if self.nodes[from].worker != consumer.worker {
                    transfers.add((from, output, consumer.worker), need);
                }
            }
        }
        crossing.bytes(&transfers)
    }
}
