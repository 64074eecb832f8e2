//! Sections: what of a list goes to a part of a divided region, which runs over no more than that.

use super::{Graph, GraphNode};
use crate::definition::{Definition, From};
use engine::plan::{NodeId, Share};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

/// What a consumer needs of a list that one producer gives, or one part of a producer: from one place in it to another, as
/// shares of its length, 0 to 1. Both are the same where it needs nothing of what this producer gives.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Section {
    /// Which of the producer's outputs the list is.
    pub output: u16,
    /// Where it begins.
    pub begin: f64,
    /// Where it ends.
    pub end: f64,
}

/// A consumer, and the outputs that it reads.
pub type Reader<'a> = (NodeId, &'a [u16]);

/// By producer and consumer: the section of the list that the consumer's part runs over. Whoever reads the list otherwise too
/// needs all of it, and has none. `ids` are the nodes' numbers, by places in the definition.
pub(super) fn of<E>(
    definition: &Definition,
    graph: &DiGraph<GraphNode, E>,
    ids: &[Vec<NodeIndex>],
) -> BTreeMap<(NodeId, NodeId), Section> {
    let mut sections = BTreeMap::new();
    for consumer in graph.node_indices() {
        let node = &graph[consumer];
        let (Some(region), Some(part)) = (node.together, node.part) else {
            continue;
        };
        let From::Output {
            node: producer,
            output,
        } = definition.regions[region].list.value
        else {
            continue;
        };
        let inner = definition.regions_of(node.defined);
        let inner = inner.filter(|inner| *inner != region);
        let inner = inner.map(|inner| definition.regions[inner].list.value);
        let mut others = inner.chain(definition.inputs_read(node.defined));
        if others.any(|from: From| from.output() == Some((producer, output))) {
            continue;
        }
        for from in &ids[producer] {
            let given = graph[*from].part.map_or(Share::ALL, |part| part.share);
            let (begin, end) = within(part.share, given);
            let ends = (from.index() as NodeId, consumer.index() as NodeId);
            sections.insert(ends, Section { output, begin, end });
        }
    }
    sections
}

/// Where a share of a list begins and ends in another share of it.
fn within(share: Share, of: Share) -> (f64, f64) {
    let ends = |share: Share| {
        let at = |weight: u32| f64::from(weight) / f64::from(share.whole.max(1));
        (at(share.first), at(share.behind))
    };
    let ((first, behind), (begin, end)) = (ends(share), ends(of));
    let length = (end - begin).max(f64::MIN_POSITIVE);
    let at = |place: f64| ((place - begin) / length).clamp(0.0, 1.0);
    (at(first), at(behind))
}

impl Graph {
    /// What of a list goes from one node to another, if that is not all of it.
    #[must_use]
    pub fn section(&self, from: NodeId, to: NodeId) -> Option<Section> {
        self.sections.get(&(from, to)).copied()
    }

    /// What some consumers together are expected to read of what a node gives in an invocation, in bytes. What several of them
    /// read counts once.
    #[must_use]
    pub fn bytes_read<'a>(
        &self,
        from: NodeId,
        readers: impl IntoIterator<Item = Reader<'a>>,
    ) -> u64 {
        let mut whole: BTreeSet<u16> = BTreeSet::new();
        let mut parts: BTreeMap<u16, Vec<(f64, f64)>> = BTreeMap::new();
        for (reader, outputs) in readers {
            let section = self.section(from, reader);
            for output in outputs {
                match section.filter(|section| section.output == *output) {
                    Some(of) => parts.entry(*output).or_default().push((of.begin, of.end)),
                    None => drop(whole.insert(*output)),
                }
            }
        }
        let node = self.node(from);
        // Where only the sum of all outputs is known, whoever reads one of them whole counts as reading all.
        let has_all = |output: &u16| {
            whole.contains(output) || (node.by_output.is_empty() && !whole.is_empty())
        };
        parts.retain(|output, _| !has_all(output));
        let sections = parts.into_iter().map(|(output, mut sections)| {
            let bytes = node.bytes_of(&BTreeSet::from([output]));
            (bytes as f64 * covered(&mut sections)).round() as u64
        });
        node.bytes_of(&whole) + sections.sum::<u64>()
    }
}

/// How much of what goes from 0 to 1 some sections of it cover together.
fn covered(sections: &mut [(f64, f64)]) -> f64 {
    sections.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut behind = 0.0;
    let mut sum = 0.0;
    for (begin, end) in sections {
        sum += (*end - begin.max(behind)).max(0.0);
        behind = end.max(behind);
    }
    sum
}
