//! What a node of a random workflow may read.

use super::Draft;
use engine::plan::{EdgeStore, InputPlan, NodeId, Source};
use faasstore::binding::Kind;

impl Draft<'_> {
    /// What a further node may read: the workflow's inputs and constants, and outputs of the last `reach` nodes.
    pub(super) fn sources(&self, reach: usize) -> Vec<Source> {
        let workflow = &self.workflow;
        let first = workflow.nodes.len().saturating_sub(reach);
        let inputs = (0..workflow.inputs.len()).map(|input| Source::Input(input as u16));
        let constants = (0..workflow.constants.len()).map(|number| Source::Constant(number as u16));
        let nodes = (first as NodeId..).zip(&workflow.nodes[first..]);
        let outputs = nodes
            .filter(|(node, _)| self.is_in_sight(*node))
            .flat_map(|(node, made)| {
                // Outside of its region a node's lists are not seen.
                let inside = workflow.holds(made.region, self.region);
                let is_seen = move |output: &u16| {
                    inside || made.outputs[usize::from(*output)].kind != Kind::List
                };
                let outputs = 0..made.outputs.len() as u16;
                let just_within = !inside && workflow.around(made.region, 1) == self.region;
                outputs.filter(is_seen).flat_map(move |output| {
                    let first = just_within.then_some(Source::First { node, output });
                    [Source::Output { node, output }].into_iter().chain(first)
                })
            });
        inputs.chain(constants).chain(outputs).collect()
    }

    /// Whether a further node may read this one's outputs: in its own region or around, or as the whole of what lies just within.
    pub(super) fn is_in_sight(&self, node: NodeId) -> bool {
        let workflow = &self.workflow;
        let of = workflow.nodes[node as usize].region;
        let near = workflow.holds(of, self.region)
            || of.is_some() && workflow.holds(workflow.around(of, 1), self.region);
        near && !self.reserved.contains(&node)
    }

    /// The items that a further node runs for, the innermost first.
    pub(super) fn items(&self) -> Vec<Source> {
        let depth = self.workflow.depth(self.region) as u8;
        (0..depth).map(|up| Source::Item { up }).collect()
    }

    /// Of these sources those that are made for the same item, if there are any; else all.
    pub(super) fn of_the_item(&self, sources: &[Source]) -> Vec<Source> {
        let own = |source: &Source| match source {
            Source::Output { node, .. } => {
                let of = self.workflow.nodes[*node as usize].region;
                of.is_some() && self.workflow.holds(self.region, of)
            }
            Source::Input(_) | Source::First { .. } | Source::Item { .. } | Source::Constant(_) => {
                false
            }
        };
        let own: Vec<Source> = sources.iter().copied().filter(own).collect();
        if own.is_empty() {
            sources.to_vec()
        } else {
            own
        }
    }

    /// Whether a client may leave it out.
    pub(super) fn may_lack(&self, source: Source) -> bool {
        match source {
            Source::Input(number) => {
                let input = &self.workflow.inputs[usize::from(number)];
                input.optional && input.default.is_none()
            }
            Source::Output { .. }
            | Source::First { .. }
            | Source::Item { .. }
            | Source::Constant(_) => false,
        }
    }

    /// `first`, and now and then others that may stand in for it; and the kind of what comes of them.
    pub(super) fn alternatives(
        &mut self,
        sources: &[Source],
        first: Source,
    ) -> (Kind, Vec<Source>) {
        let mut kind = self.workflow.kind_of(first, self.region);
        let mut chosen = vec![first];
        if self.random.chance(750) || matches!(first, Source::Item { .. }) {
            return (kind, chosen);
        }
        for _ in 0..self.random.between(1, 2) {
            let next = self.random.pick(sources);
            let other = self.workflow.kind_of(next, self.region);
            let fits = (other == Kind::List) == (kind == Kind::List);
            if fits && !chosen.contains(&next) {
                chosen.push(next);
                // A value among bytes makes bytes of it.
                if other != kind {
                    kind = Kind::Bytes;
                }
            }
        }
        (kind, chosen)
    }

    /// One input of a node.
    pub(super) fn input(&mut self, number: usize, sources: &[Source], first: Source) -> InputPlan {
        let (kind, sources) = self.alternatives(sources, first);
        let store = store(number, &sources);
        let lacking = sources.iter().all(|source| self.may_lack(*source));
        InputPlan {
            name: format!("a{number}"),
            kind,
            optional: lacking || self.random.chance(150),
            sources,
            store,
        }
    }

    /// Those that say what failed.
    pub(super) fn error_sources(&self, sources: &[Source]) -> Vec<Source> {
        let is_error = |source: &Source| match source {
            Source::Output { node, output } | Source::First { node, output } => {
                self.workflow.nodes[*node as usize].error_output == Some(*output)
            }
            Source::Input(_) | Source::Item { .. } | Source::Constant(_) => false,
        };
        sources.iter().copied().filter(is_error).collect()
    }

    /// The lists that a region may run over.
    pub(super) fn lists(&self, sources: &[Source]) -> Vec<Source> {
        let is_list = |source: &Source| self.workflow.kind_of(*source, self.region) == Kind::List;
        sources
            .iter()
            .copied()
            .filter(|source| is_list(source) && !self.may_lack(*source))
            .collect()
    }
}

/// Where what one edge leads to may go; mostly where the workflow says. It takes nothing from the draft's own random numbers.
fn store(number: usize, sources: &[Source]) -> EdgeStore {
    let hash = crc32fast::hash(format!("{number} {sources:?}").as_bytes());
    match hash % 30 {
        0 => EdgeStore::Memory,
        1 => EdgeStore::Spill,
        2 => EdgeStore::Remote,
        _ => EdgeStore::Workflow,
    }
}
