//! Live and dead edges, and what a consumer sees through them.

use super::{End, Judge};
use crate::functions::Datum;
use crate::trace::Moment;
use engine::plan::{Constant, FlowEdge, Gate, NodeId, Source};
use faasstore::binding::Kind;

/// What an edge is, as far as it is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edge {
    Live,
    Dead,
    /// Its producer has not ended.
    Open,
}

/// What alternatives give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// The first in the order listed that is live.
    Present(Datum),
    /// None is.
    Absent,
    /// One that would come first is not decided.
    Open,
}

impl Judge<'_> {
    pub(super) fn flow(&self, edge: FlowEdge) -> Edge {
        let live = match (&self.ended(edge.node).end, edge.error) {
            (End::Fatal | End::Open, _) => return Edge::Open,
            (end, true) => end.is_caught(),
            (end, false) => end.is_well() || matches!(end, End::Chose(_)),
        };
        if live { Edge::Live } else { Edge::Dead }
    }

    pub(super) fn gate(&self, gate: Gate) -> Edge {
        let live = match (&self.ended(gate.node()).end, gate) {
            (End::Fatal | End::Open, _) => return Edge::Open,
            (End::Chose(chosen), Gate::Case { case, .. }) => *chosen == case,
            (End::Caught { catch: took, .. }, Gate::Catch { catch, .. }) => *took == catch,
            (End::Items(of), Gate::Case { case, .. }) => of.cases.contains(&case),
            (End::Items(of), Gate::Catch { catch, .. }) => of.catches.contains(&catch),
            _ => false,
        };
        if live { Edge::Live } else { Edge::Dead }
    }

    /// When the edges from a node can have been decided at the earliest.
    pub(super) fn at(&self, node: NodeId) -> Moment {
        self.ended(node).at
    }

    fn is_error(&self, node: NodeId, output: u16) -> bool {
        self.workflow.nodes[node as usize].error_output == Some(output)
    }

    /// The edge that a source is, if it is one.
    pub(super) fn edge_of(&self, source: Source) -> Option<FlowEdge> {
        match source {
            Source::Output { node, output } | Source::First { node, output } => Some(FlowEdge {
                node,
                error: self.is_error(node, output),
            }),
            Source::Input(_) | Source::Item { .. } | Source::Constant(_) => None,
        }
    }

    /// What a source gives that is live, or is no edge.
    fn given(&self, source: Source) -> Option<Datum> {
        match source {
            Source::Input(number) => {
                let given = self.inputs[usize::from(number)].clone();
                let default = self.workflow.inputs[usize::from(number)].default;
                given.or_else(|| default.map(|constant| self.constant(constant)))
            }
            Source::Constant(constant) => Some(self.constant(constant)),
            Source::Output { node, output } => match &self.ended(node).end {
                End::Well(outputs) => Some(outputs[usize::from(output)].clone()),
                End::Caught { error, .. } => Some(error.clone()),
                End::Items(of) if self.is_error(node, output) => Some(of.errors.clone()),
                End::Items(of) => Some(of.outputs[usize::from(output)].clone()),
                _ => None,
            },
            Source::First { node, output } => {
                let Some(Datum::List(items)) = self.given(Source::Output { node, output }) else {
                    return None;
                };
                items.into_iter().flatten().next().map(Datum::One)
            }
            Source::Item { up } => {
                let frame = self.frames.iter().rev().nth(usize::from(up))?;
                let item = frame.item.as_ref().map(|(_, datum)| datum.clone());
                // An item that is not there is as good as no source.
                item.filter(|datum| *datum != Datum::Absent)
            }
        }
    }

    fn constant(&self, number: u16) -> Datum {
        let Constant { kind, items } = &self.workflow.constants[usize::from(number)];
        match kind {
            Kind::List => Datum::List(items.iter().cloned().map(Some).collect()),
            Kind::Bytes | Kind::Value => Datum::One(items[0].clone()),
        }
    }

    /// What these alternatives give once all of them are decided.
    pub(super) fn first_live(&self, sources: &[Source]) -> Found {
        for source in sources {
            let state = self.edge_of(*source).map(|edge| self.flow(edge));
            match state {
                Some(Edge::Open) => return Found::Open,
                Some(Edge::Dead) => {}
                Some(Edge::Live) | None => {
                    if let Some(datum) = self.given(*source) {
                        return Found::Present(datum);
                    }
                }
            }
        }
        Found::Absent
    }

    /// What an activation sees through these alternatives if, of the live edges, it has `some` alone.
    pub(super) fn seen(&self, sources: &[Source], some: &[FlowEdge]) -> Datum {
        for source in sources {
            let found = match self.edge_of(*source) {
                Some(edge) if !some.contains(&edge) => None,
                _ => self.given(*source),
            };
            if let Some(datum) = found {
                return datum;
            }
        }
        Datum::Absent
    }

    /// When all of these are decided, at the earliest.
    pub(super) fn decided_at(&self, sources: &[Source]) -> Moment {
        let edges = sources.iter().filter_map(|source| self.edge_of(*source));
        edges
            .map(|edge| self.at(edge.node))
            .fold(self.here().since, Moment::max)
    }
}
