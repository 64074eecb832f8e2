//! Which nodes a node refers to: those of its own part of a divided region, and divided ones as a whole.

use super::Planner;
use crate::definition::From;
use engine::plan::{Gate, NodeId, Part, Source};

/// Nodes as a node sees them, or, from outside of all regions, an output of the workflow.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    planner: &'a Planner<'a>,
    /// The region that it is in and that lies in no other, and the part of it.
    together: Option<usize>,
    pub(super) part: Option<Part>,
}

impl Seen<'_> {
    /// Whether the node at a place in the definition is divided, and seen in one's own part.
    pub(super) fn is_same_part(self, node: usize) -> bool {
        let planner = self.planner;
        let first = planner.graph.node(planner.copies[node][0]);
        first.together.is_some() && first.together == self.together
    }

    /// The number of the node at a place in the definition: of a divided one that of the same part, or, from outside, that
    /// of all parts together.
    pub(super) fn id(self, node: usize) -> NodeId {
        let copies = &self.planner.copies[node];
        match (&copies[..], self.part) {
            ([one], _) => *one,
            (_, Some(part)) if self.is_same_part(node) => copies[usize::from(part.number)],
            _ => self.planner.whole(node),
        }
    }

    pub(super) fn source(self, from: From) -> Source {
        match from {
            From::Input(input) => Source::Input(input),
            From::Output { node, output } => Source::Output {
                node: self.id(node),
                output,
            },
            From::First { node, output } => Source::First {
                node: self.id(node),
                output,
            },
            From::Item { up } => Source::Item { up },
            From::Constant(constant) => Source::Constant(constant),
        }
    }

    pub(super) fn gate(self, gate: &Gate) -> Gate {
        match *gate {
            Gate::Case { node, case } => Gate::Case {
                node: self.id(node as usize),
                case,
            },
            Gate::Catch { node, catch } => Gate::Catch {
                node: self.id(node as usize),
                catch,
            },
        }
    }
}

impl Planner<'_> {
    /// Nodes as a node sees them.
    pub(super) fn seen(&self, id: NodeId) -> Seen<'_> {
        let node = self.graph.node(id);
        Seen {
            planner: self,
            together: node.together,
            part: node.part,
        }
    }

    /// The number of a divided node as a whole, by its place in the definition: behind those of all nodes.
    pub(super) fn whole(&self, node: usize) -> NodeId {
        (self.graph.node_count() + node) as NodeId
    }

    /// Nodes as they are seen from outside of all regions.
    pub(super) fn outside(&self) -> Seen<'_> {
        Seen {
            planner: self,
            together: None,
            part: None,
        }
    }
}
