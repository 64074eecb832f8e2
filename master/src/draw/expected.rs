//! What a placement is expected to come to, as pictures show it: the critical path, what crosses, and the makespan.

use super::Placed;
use crate::definition::Definition;
use crate::graph::Reader;
use crate::place::Estimate;
use engine::worker::quantities::{duration_text, size_text};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// What is expected, by places in the definition.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// The leg of the critical path that a node is part of.
    leg: Vec<Option<usize>>,
    /// What edges between workers are expected to carry, in bytes.
    bytes: FxHashMap<(usize, usize), u64>,
}

impl Expected {
    pub(super) fn of(definition: &Definition, placed: &Placed<'_>) -> Option<Self> {
        let estimate = placed.estimate?;
        let defined = |id: u32| placed.graph.node(id).defined;
        let mut leg_of = vec![None; definition.nodes.len()];
        for (place, leg) in estimate.critical.iter().enumerate() {
            // Those of a region have the numbers behind its first.
            let nodes = leg.node..leg.node + leg.nodes as u32;
            nodes.for_each(|id| leg_of[defined(id)] = Some(place));
        }
        let worker = |id: u32| placed.placement.worker(id);
        // What parts of a node give, or read, crosses once for each of them and each worker.
        let mut read: BTreeMap<(u32, usize, usize), Vec<Reader<'_>>> = BTreeMap::new();
        for (from, to, edge) in placed.graph.edges() {
            if worker(from) != worker(to) {
                let readers = read.entry((from, defined(to), worker(to))).or_default();
                readers.push((to, &edge.outputs));
            }
        }
        let mut bytes: FxHashMap<(usize, usize), u64> = FxHashMap::default();
        for ((from, to, _), readers) in read {
            *bytes.entry((defined(from), to)).or_default() +=
                placed.graph.bytes_read(from, readers);
        }
        Some(Self { leg: leg_of, bytes })
    }

    /// Whether a node is on the critical path.
    pub(super) fn is_critical(&self, node: usize) -> bool {
        self.leg[node].is_some()
    }

    /// Whether an edge between two nodes is: from one leg to the next, or within one. Where a leg waited for an executor that
    /// the one before had, there is no edge.
    pub(super) fn is_way(&self, from: usize, to: usize) -> bool {
        match (self.leg[from], self.leg[to]) {
            (Some(from), Some(to)) => from == to || from + 1 == to,
            _ => false,
        }
    }

    /// What crosses from one node to another, in bytes; 0 where nothing does.
    pub(super) fn bytes(&self, from: usize, to: usize) -> u64 {
        self.bytes.get(&(from, to)).copied().unwrap_or_default()
    }
}

/// A placement's estimate, in a line.
pub(super) fn caption(estimate: &Estimate) -> String {
    let crossing = match estimate.crossing_bytes.round() as u64 {
        0 => "no payloads".to_owned(),
        bytes => size_text(bytes),
    };
    let mut caption = format!(
        "{} expected, {crossing} between workers",
        duration_text(estimate.makespan_ns.round() as u64)
    );
    if estimate.ways > 1 {
        caption.push_str(&format!(
            "; the critical path is that of the likeliest of {} ways, taken {:.0} %",
            estimate.ways,
            estimate.critical_chance * 100.0
        ));
    }
    caption
}
