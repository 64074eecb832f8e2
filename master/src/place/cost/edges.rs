//! What travels between units: which outputs are told apart, which of them an edge reads, and what all readers of one worker
//! read together.

use super::{Lists, Model};
use crate::graph::{Dependency, Graph, GraphNode};
use engine::plan::NodeId;
use rustc_hash::FxHashMap;

/// Outputs of a unit that are told apart; more are taken as one.
const OUTPUTS_MAX: usize = 63;

/// An edge between units.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(in crate::place) struct UnitEdge {
    /// The other end.
    pub(in crate::place) unit: u32,
    /// The outputs of the producer that travel along it, of those that are told apart.
    pub(in crate::place) outputs: u64,
    /// Those of them that are needed whole, and the bytes of what is needed of the others: of a list that is divided, the
    /// consumer's part.
    whole: u64,
    section_bytes: f64,
    /// Bytes in all.
    pub(in crate::place) bytes: f64,
    /// Whether a join of some counts it.
    pub(in crate::place) counts: bool,
}

/// What the units of one worker read of another unit.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(in crate::place) struct Reads {
    /// Whether any of them is told of its end.
    told: bool,
    outputs: u64,
    whole: u64,
    section_bytes: f64,
}

impl Reads {
    #[inline]
    pub(in crate::place) const fn is_none(&self) -> bool {
        !self.told
    }

    #[inline]
    pub(in crate::place) fn add(&mut self, edge: &UnitEdge) {
        self.told = true;
        self.outputs |= edge.outputs;
        self.whole |= edge.whole;
        self.section_bytes += edge.section_bytes;
    }

    /// Bytes that these have together, of a unit some of whose outputs are there.
    #[inline]
    pub(in crate::place) fn bytes(&self, of: &[f64], there: u64) -> f64 {
        let all = sum_of(of, self.outputs & there);
        if self.section_bytes == 0.0 {
            return all;
        }
        (sum_of(of, self.whole & there) + self.section_bytes).min(all)
    }
}

/// What those of some outputs that a set names have together.
#[inline]
fn sum_of(bytes: &[f64], mut outputs: u64) -> f64 {
    let mut sum = 0.0;
    while outputs != 0 {
        sum += bytes[outputs.trailing_zeros() as usize];
        outputs &= outputs - 1;
    }
    sum
}

/// The outputs of units that are read by other units, in the order of nodes and outputs.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs {
    /// By node and output: its place in its unit. Of what has but a sum for all, that stands for all.
    places: FxHashMap<(NodeId, u16), u32>,
    /// By unit: the bytes of each that is told apart.
    pub(super) bytes: Lists<f64>,
    /// By unit: whose each of them is.
    pub(super) makers: Lists<NodeId>,
}

/// An output as it is looked up: of what has but a sum for all, the first stands for all. What says what failed has no bytes to
/// speak of, and stands behind the others.
fn known(node: &GraphNode, output: u16) -> Option<(u16, u64)> {
    if node.by_output.is_empty() {
        return Some((0, node.output_bytes));
    }
    let bytes = node.by_output.get(usize::from(output))?;
    Some((output, *bytes))
}

impl Outputs {
    pub(super) fn of(graph: &Graph, unit_of: &[u32], units: usize) -> Self {
        let mut read: Vec<(NodeId, u16, u64)> = Vec::new();
        for (from, to, edge) in graph.edges() {
            if unit_of[from as usize] != unit_of[to as usize] {
                let node = graph.node(from);
                let outputs = edge.outputs.iter();
                let known = outputs.filter_map(|output| known(node, *output));
                read.extend(known.map(|(output, bytes)| (from, output, bytes)));
            }
        }
        read.sort_unstable();
        read.dedup();
        let mut told = vec![0_u32; units];
        let mut places = FxHashMap::default();
        let mut bytes: Vec<(u32, f64)> = Vec::with_capacity(read.len());
        let mut makers = Vec::with_capacity(read.len());
        for (node, output, of) in read {
            let unit = unit_of[node as usize];
            let next = &mut told[unit as usize];
            if (*next as usize) < OUTPUTS_MAX {
                bytes.push((unit, of as f64));
                makers.push((unit, node));
                *next += 1;
            } else if let Some((_, last)) = bytes.last_mut() {
                // Those of one unit stand one after the other.
                *last += of as f64;
            }
            places.insert((node, output), *next - 1);
        }
        Self {
            places,
            bytes: Lists::of(units, bytes),
            makers: Lists::of(units, makers),
        }
    }

    fn place(&self, graph: &Graph, from: NodeId, output: u16) -> Option<u64> {
        let (output, _) = known(graph.node(from), output)?;
        self.places.get(&(from, output)).map(|place| 1 << place)
    }
}

/// Edges between units: one for each pair, with all that is read along it. The consumers of a unit stand in the order in which an
/// engine tells them: nodes first, then regions.
pub(super) fn unit_edges(
    graph: &Graph,
    unit_of: &[u32],
    outputs: &Outputs,
    units: usize,
) -> (Lists<UnitEdge>, Lists<UnitEdge>) {
    let mut edges: Vec<(u32, bool, u32, UnitEdge)> = Vec::new();
    for (from, to, edge) in graph.edges() {
        let ends = (unit_of[from as usize], unit_of[to as usize]);
        if ends.0 == ends.1 {
            continue;
        }
        let bytes = outputs.bytes.get(ends.0);
        let is_region = graph.node(to).together.is_some();
        edges.push((
            ends.0,
            is_region,
            ends.1,
            one(graph, (from, to, edge), outputs, bytes),
        ));
    }
    edges.sort_by_key(|(from, region, to, _)| (*from, *region, *to));
    edges.dedup_by(|(from, _, to, next), (kept_from, _, kept_to, kept)| {
        let same = (&*from, &*to) == (&*kept_from, &*kept_to);
        if same {
            join(kept, next);
        }
        same
    });
    let mut forward = Vec::with_capacity(edges.len());
    let mut backward = Vec::with_capacity(edges.len());
    for (from, _, to, edge) in edges {
        let bytes = outputs.bytes.get(from);
        let mut reads = Reads::default();
        reads.add(&edge);
        let bytes = reads.bytes(bytes, u64::MAX);
        forward.push((
            from,
            UnitEdge {
                unit: to,
                bytes,
                ..edge
            },
        ));
        backward.push((
            to,
            UnitEdge {
                unit: from,
                bytes,
                ..edge
            },
        ));
    }
    (Lists::of(units, forward), Lists::of(units, backward))
}

/// One edge of the graph, but for its ends.
fn one(
    graph: &Graph,
    (from, to, edge): (NodeId, NodeId, &Dependency),
    outputs: &Outputs,
    bytes: &[f64],
) -> UnitEdge {
    let place = |output: u16| outputs.place(graph, from, output).unwrap_or(0);
    let all = edge
        .outputs
        .iter()
        .fold(0, |all, output| all | place(*output));
    // Of a list of which only the sum of all outputs is known, all is taken.
    let section = graph.section(from, to).filter(|_| {
        let outputs = edge.outputs.len();
        !graph.node(from).by_output.is_empty() || outputs == 1
    });
    let listed = section.map_or(0, |section| place(section.output));
    let share = section.map_or(0.0, |section| section.end - section.begin);
    let producer = graph.node(from);
    let last_part = producer.part.is_none_or(|part| part.number + 1 == part.of);
    UnitEdge {
        outputs: all,
        whole: all & !listed,
        section_bytes: sum_of(bytes, listed) * share,
        counts: !edge.gate && last_part,
        ..UnitEdge::default()
    }
}

/// What is read along one more edge between the same units.
fn join(kept: &mut UnitEdge, next: &UnitEdge) {
    // Nodes that run together need the same of a list.
    let sections = kept.outputs & !kept.whole;
    if next.outputs & !next.whole & !sections != 0 {
        kept.section_bytes += next.section_bytes;
    }
    kept.outputs |= next.outputs;
    kept.whole |= next.whole;
    kept.counts |= next.counts;
    if kept.outputs == kept.whole {
        kept.section_bytes = 0.0;
    }
}

impl Model {
    /// What a unit gives that is read elsewhere, by output.
    #[inline]
    pub(in crate::place) fn outputs_of(&self, unit: u32) -> &[f64] {
        self.outputs.bytes.get(unit)
    }

    /// The outputs of a unit that are there in a scenario in which it runs.
    #[inline]
    pub(in crate::place) fn there(&self, unit: u32, scenario: usize) -> u64 {
        let there = &self.outputs_there[scenario];
        there
            .as_ref()
            .map_or(u64::MAX, |there| there[unit as usize])
    }

    /// Bytes of what is read of a unit, as expected over all scenarios.
    pub(in crate::place) fn expected_bytes(&self, unit: u32, reads: &Reads) -> f64 {
        let of = self.outputs_of(unit);
        if !self.units[unit as usize].conditional {
            return reads.bytes(of, u64::MAX);
        }
        let mut sum = 0.0;
        for (scenario, (weight, runs)) in self.scenarios.iter().enumerate() {
            if runs.as_ref().is_none_or(|runs| runs[unit as usize]) {
                sum += weight * reads.bytes(of, self.there(unit, scenario));
            }
        }
        sum
    }
}
