//! What a node of a random workflow may read.

use super::Draft;
use engine::plan::{InputPlan, NodeId, Source};
use faasstore::binding::Kind;

impl Draft<'_> {
    /// What a further node may read: the workflow's inputs and constants, and outputs of the last `reach` nodes.
    pub(super) fn sources(&self, reach: usize) -> Vec<Source> {
        let workflow = &self.workflow;
        let first = workflow.nodes.len().saturating_sub(reach);
        let inputs = (0..workflow.inputs.len()).map(|input| Source::Input(input as u16));
        let constants = (0..workflow.constants.len()).map(|number| Source::Constant(number as u16));
        let outputs = workflow
            .nodes
            .iter()
            .enumerate()
            .skip(first)
            .filter(|(node, _)| !self.reserved.contains(&(*node as NodeId)))
            .flat_map(|(node, made)| {
                // What failed in an item is not told outside.
                let hidden = usize::from(made.region.is_some() && made.error_output.is_some());
                (0..made.outputs.len() - hidden).map(move |output| Source::Output {
                    node: node as NodeId,
                    output: output as u16,
                })
            });
        inputs.chain(constants).chain(outputs).collect()
    }

    /// Whether a client may leave it out.
    pub(super) fn may_lack(&self, source: Source) -> bool {
        match source {
            Source::Input(number) => {
                let input = &self.workflow.inputs[usize::from(number)];
                input.optional && input.default.is_none()
            }
            Source::Output { .. } | Source::Item { .. } | Source::Constant(_) => false,
        }
    }

    /// `first`, and now and then others that may stand in for it; and the kind of what comes of them.
    pub(super) fn alternatives(
        &mut self,
        sources: &[Source],
        first: Source,
        region: Option<u16>,
    ) -> (Kind, Vec<Source>) {
        let mut kind = self.workflow.kind_of(first, region);
        let mut chosen = vec![first];
        if self.random.chance(750) || matches!(first, Source::Item { .. }) {
            return (kind, chosen);
        }
        for _ in 0..self.random.between(1, 2) {
            let next = self.random.pick(sources);
            let other = self.workflow.kind_of(next, region);
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
    pub(super) fn input(
        &mut self,
        number: usize,
        sources: &[Source],
        first: Source,
        region: Option<u16>,
    ) -> InputPlan {
        let (kind, sources) = self.alternatives(sources, first, region);
        let lacking = sources.iter().all(|source| self.may_lack(*source));
        InputPlan {
            name: format!("a{number}"),
            kind,
            optional: lacking || self.random.chance(150),
            sources,
        }
    }

    /// Those that say what failed.
    pub(super) fn error_sources(&self, sources: &[Source]) -> Vec<Source> {
        let is_error = |source: &Source| match source {
            Source::Output { node, output } => {
                self.workflow.nodes[*node as usize].error_output == Some(*output)
            }
            Source::Input(_) | Source::Item { .. } | Source::Constant(_) => false,
        };
        sources.iter().copied().filter(is_error).collect()
    }

    /// The lists that a node may run over.
    pub(super) fn lists(&self, sources: &[Source]) -> Vec<Source> {
        let is_list = |source: &Source| self.workflow.kind_of(*source, None) == Kind::List;
        sources
            .iter()
            .copied()
            .filter(|source| is_list(source) && !self.may_lack(*source))
            .collect()
    }
}
