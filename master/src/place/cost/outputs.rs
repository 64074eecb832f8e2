//! The outputs of units, as far as they are told apart: each output of each node; and of a list over which parts of a divided
//! region run, each section that one of them begins or ends.

use super::{Lists, OUTPUTS_MAX, UnitEdge, sum_of};
use crate::graph::{Dependency, Graph};
use engine::plan::NodeId;
use rustc_hash::FxHashMap;

/// Which numbers the outputs of nodes have among those of their units.
pub(super) struct Told {
    /// By node: the number of its first one.
    first: Vec<usize>,
    /// Of a node that gives a list of which some read sections: by output, where its sections begin, and the last one ends.
    cuts: FxHashMap<NodeId, Vec<Vec<f64>>>,
}

impl Told {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut cuts: FxHashMap<NodeId, Vec<Vec<f64>>> = FxHashMap::default();
        for (from, _, section) in graph.sections() {
            let known = graph.node(from).by_output.len();
            let of = cuts
                .entry(from)
                .or_insert_with(|| vec![vec![0.0, 1.0]; known.max(1)]);
            if let Some(cuts) = of.get_mut(place(known, section.output)) {
                cuts.extend([section.begin, section.end]);
            }
        }
        for cuts in cuts.values_mut().flatten() {
            cuts.sort_by(f64::total_cmp);
            cuts.dedup();
        }
        Self {
            first: vec![0; graph.node_count()],
            cuts,
        }
    }

    /// From this number on come a node's outputs; the bytes of each, and of each section.
    pub(super) fn begin(&mut self, graph: &Graph, id: NodeId, first: usize) -> Vec<f64> {
        self.first[id as usize] = first;
        let node = graph.node(id);
        let bytes: &[u64] = if node.by_output.is_empty() {
            &[node.output_bytes]
        } else {
            &node.by_output
        };
        let whole = bytes.iter().map(|bytes| *bytes as f64);
        match self.cuts.get(&id) {
            None => whole.collect(),
            Some(cuts) => whole
                .zip(cuts)
                .flat_map(|(bytes, cuts)| cuts.windows(2).map(move |cut| bytes * (cut[1] - cut[0])))
                .collect(),
        }
    }

    /// The outputs, and sections of them, that travel along an edge.
    fn along(&self, graph: &Graph, (from, to): (NodeId, NodeId), edge: &Dependency) -> u64 {
        let first = self.first[from as usize];
        let bit = |number: usize| 1_u64 << number.min(OUTPUTS_MAX - 1);
        let by_output = graph.node(from).by_output.len();
        let Some(cuts) = self.cuts.get(&from) else {
            if by_output == 0 {
                return if edge.outputs.is_empty() {
                    0
                } else {
                    bit(first)
                };
            }
            // What says what failed has no bytes to speak of, and stands behind the others.
            let own = edge.outputs.iter().map(|output| usize::from(*output));
            let own = own.filter(|output| *output < by_output);
            return own.fold(0, |told, output| told | bit(first + output));
        };
        let section = graph.section(from, to);
        let mut told = 0;
        for output in &edge.outputs {
            let place = place(by_output, *output);
            let Some(own) = cuts.get(place) else {
                continue;
            };
            let before = cuts[..place].iter().map(|cuts| cuts.len() - 1);
            let first = first + before.sum::<usize>();
            let needed = section.filter(|section| section.output == *output);
            for (number, cut) in own.windows(2).enumerate() {
                if needed.is_none_or(|of| of.begin <= cut[0] && cut[1] <= of.end) {
                    told |= bit(first + number);
                }
            }
        }
        told
    }
}

/// The place of an output among those of which the bytes are known: so many, or only the sum of all.
fn place(known: usize, output: u16) -> usize {
    if known == 0 { 0 } else { output.into() }
}

/// Edges between units: one for each pair, with all outputs that are read along it.
pub(super) fn unit_edges(
    graph: &Graph,
    unit_of: &[u32],
    told: &Told,
    bytes: &Lists<f64>,
    units: usize,
) -> (Lists<UnitEdge>, Lists<UnitEdge>) {
    let mut edges: Vec<(u32, u32, u64)> = graph
        .edges()
        .filter_map(|(from, to, edge)| {
            let ends = (unit_of[from as usize], unit_of[to as usize]);
            let told = told.along(graph, (from, to), edge);
            (ends.0 != ends.1).then_some((ends.0, ends.1, told))
        })
        .collect();
    edges.sort_unstable();
    edges.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            kept.2 |= next.2;
        }
        same
    });
    let mut forward = Vec::with_capacity(edges.len());
    let mut backward = Vec::with_capacity(edges.len());
    for (from, to, outputs) in edges {
        let bytes = sum_of(bytes.get(from), outputs);
        let edge = |unit| UnitEdge {
            unit,
            outputs,
            bytes,
        };
        forward.push((from, edge(to)));
        backward.push((to, edge(from)));
    }
    (Lists::of(units, forward), Lists::of(units, backward))
}
