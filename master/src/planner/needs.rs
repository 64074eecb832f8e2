//! What each worker needs of lists: where only parts of divided regions run over one, no more than these parts.

use super::Planner;
use super::seen::Seen;
use crate::definition::From;
use engine::plan::{SectionPlan, Share};
use std::collections::BTreeMap;

/// A list that a worker may need a section of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    /// An input of the workflow.
    Input(u16),
    /// An output of the node at a place in the definition, of a divided one as a whole.
    Output(usize, u16),
}

/// Who needs it: a part of a divided region, with its share and batch, or somebody who needs all of it.
type Reader = Option<(Share, Option<u32>)>;

/// By list and worker: who needs it there.
pub(super) struct Needs(BTreeMap<(List, usize), Vec<Reader>>);

impl Needs {
    pub(super) fn of(planner: &Planner<'_>) -> Self {
        let mut needs = Self(BTreeMap::new());
        let definition = planner.definition;
        for (id, node) in (0..).zip(planner.graph.nodes()) {
            let worker = planner.placement.worker(id);
            let seen = planner.seen(id);
            for region in definition.regions_of(node.defined) {
                let region = &definition.regions[region];
                let part = node.part.filter(|_| region.parent.is_none());
                let reader = part.map(|part| (part.share, region.batch));
                needs.add(seen, region.list.value, worker, reader);
            }
            for from in definition.inputs_read(node.defined) {
                needs.add(seen, from, worker, None);
            }
        }
        needs
    }

    fn add(&mut self, seen: Seen<'_>, from: From, worker: usize, reader: Reader) {
        let list = match from {
            From::Input(input) => List::Input(input),
            From::Output { node, output } | From::First { node, output }
                if !seen.is_same_part(node) =>
            {
                List::Output(node, output)
            }
            // What nodes of one region give each other goes nowhere else.
            From::Output { .. } | From::First { .. } | From::Item { .. } | From::Constant(_) => {
                return;
            }
        };
        self.0.entry((list, worker)).or_default().push(reader);
    }

    /// What a worker needs of a list, if that is not everything. `number` is the list's among the inputs of the workflow, or
    /// the outputs of its node.
    pub(super) fn section(&self, list: List, worker: usize) -> Option<SectionPlan> {
        let (List::Input(number) | List::Output(_, number)) = list;
        SectionPlan::covering(number, self.0.get(&(list, worker))?)
    }
}
