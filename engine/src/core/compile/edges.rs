//! Who hears of whose end, and which ends make an edge live.

use super::super::outcome::When;
use super::super::program::{Edge, LocalNode};
use super::Compiler;
use crate::plan::{FlowEdge, Gate, NodeId, NodePlan, Plan, Source};
use rustc_hash::FxHashMap;

impl Compiler {
    /// Every edge to a local node, those into and out of regions too.
    pub(super) fn edges(&self, plan: &Plan) -> Vec<(From, Edge)> {
        let mut edges = Vec::new();
        for node in &plan.nodes {
            let of = self.local_of[&node.id];
            for (id, when) in edges_of(node, &self.errors) {
                edges.push(self.edge(id, of, when));
            }
        }
        for (region, planned) in (1..).zip(&plan.regions) {
            if let Source::Output { node, .. } = planned.list {
                let of = self.regions[region];
                edges.push(self.edge(node, of, When::Well));
            }
        }
        edges
    }

    pub(super) fn edge(&self, from: NodeId, of: LocalNode, when: When) -> (From, Edge) {
        let scope = self.scopes[of as usize];
        let Some(local) = self.local_of.get(&from).copied() else {
            let node = self.hears(of, 0);
            return (
                From::Remote(self.remote_by_id[&from]),
                Edge { node, when, of },
            );
        };
        let from_scope = self.scopes[local as usize];
        let common = self.nesting.common(scope, from_scope);
        let node = self.hears(of, common);
        if from_scope == common {
            return (From::Node(local), Edge { node, when, of });
        }
        let from = From::Region {
            scope: self.nesting.just_within(from_scope, common),
            from: local,
        };
        (from, Edge { node, when, of })
    }

    /// The node in `scope` that hears of edges to a node in it or within it.
    pub(super) fn hears(&self, of: LocalNode, scope: u16) -> LocalNode {
        match self.scopes[of as usize] {
            own if own == scope => of,
            own => self.regions[usize::from(self.nesting.just_within(own, scope))],
        }
    }
}

/// Where an edge comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Node(LocalNode),
    Remote(u32),
    /// Out of a region.
    Region {
        scope: u16,
        from: LocalNode,
    },
}

/// The in-edges of a node: from which, and when each is live.
pub(super) fn edges_of(node: &NodePlan, errors: &FxHashMap<NodeId, u16>) -> Vec<(NodeId, When)> {
    let flow = node.flow_edges(|id| errors.get(&id).copied());
    let flow = flow.into_iter().map(|FlowEdge { node, error }| {
        let when = if error { When::Caught } else { When::Well };
        (node, when)
    });
    let gates = node.gates.iter().map(|gate| match *gate {
        Gate::Case { node, case } => (node, When::Case(case)),
        Gate::Catch { node, catch } => (node, When::Catch(catch)),
    });
    flow.chain(gates).collect()
}
