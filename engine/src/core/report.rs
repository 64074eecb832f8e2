//! What an invocation tells of itself when its client asked for a report.

use super::program::{LocalNode, Producer, Program};
use crate::wire::{EdgeReport, NodeReport, Tier};

/// Times and bytes of one invocation's nodes.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) nodes: Vec<NodeTiming>,
    /// Bytes that arrived in each payload slot.
    pub(crate) slot_bytes: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NodeTiming {
    pub(crate) activations: u32,
    pub(crate) failures: u32,
    pub(crate) busy_ns: u64,
    first_start_ns: Option<u64>,
    last_end_ns: u64,
}

impl NodeTiming {
    pub(crate) fn started(&mut self, now_ns: u64) {
        self.first_start_ns.get_or_insert(now_ns);
    }

    pub(crate) fn ended(&mut self, started_ns: u64, now_ns: u64) {
        self.activations += 1;
        self.busy_ns += now_ns.saturating_sub(started_ns);
        self.last_end_ns = now_ns;
    }
}

impl Timing {
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            nodes: vec![NodeTiming::default(); program.nodes.len()],
            slot_bytes: vec![0; program.slots.len()],
        }
    }

    /// The local nodes, as the client will see them.
    pub(crate) fn reports(&self, program: &Program) -> Vec<NodeReport> {
        (0..program.nodes.len())
            .map(|index| {
                let node = &program.nodes[index];
                let timing = &self.nodes[index];
                NodeReport {
                    id: node.id,
                    node: program.name(index as u32).to_owned(),
                    worker: program.my_name().to_owned(),
                    activations: timing.activations,
                    failures: timing.failures,
                    busy_ns: timing.busy_ns,
                    span_ns: timing
                        .first_start_ns
                        .map_or(0, |first| timing.last_end_ns.saturating_sub(first)),
                    edges: self.edges(program, index as u32),
                }
            })
            .collect()
    }

    fn edges(&self, program: &Program, node: LocalNode) -> Vec<EdgeReport> {
        let node = &program.nodes[node as usize];
        let mut slots = Vec::new();
        program.each_slot_read(node, |slot| slots.push(slot));
        let mut edges: Vec<EdgeReport> = Vec::new();
        let mut seen = Vec::new();
        for slot in slots {
            if seen.contains(&slot) {
                continue;
            }
            seen.push(slot);
            let bytes = self.slot_bytes[slot as usize];
            let travelled = if bytes <= u64::from(program.plan.limits.inline_bytes_max) {
                Tier::Inline
            } else {
                Tier::Peer
            };
            let (from, tier) = match program.slots[slot as usize].producer {
                Producer::Local(local) => (program.name(local), Tier::Shared),
                Producer::Remote { place } => {
                    (program.remote[place as usize].name.as_str(), travelled)
                }
                Producer::Input => ("input", travelled),
            };
            match edges.iter_mut().find(|edge| edge.from == from) {
                Some(edge) => {
                    edge.bytes += bytes;
                    if tier == Tier::Peer {
                        edge.tier = tier;
                    }
                }
                None => edges.push(EdgeReport {
                    from: from.to_owned(),
                    tier,
                    bytes,
                }),
            }
        }
        edges
    }
}
