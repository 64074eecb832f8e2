//! Whether a node runs, and from when on.

use super::edges::{Edge, Found};
use super::{Breach, End, Ended, Judge, Reason};
use crate::trace::Moment;
use crate::workflow::inputs_of;
use engine::plan::{FlowEdge, Join, NodeId, Source};
use std::collections::BTreeMap;

/// What its in-edges make of a node.
pub(super) enum Decision {
    /// It runs, at the earliest from then on.
    Runs(Moment),
    /// It is skipped, at the earliest from then on.
    Skipped(Moment),
    /// Failures have put it out of reach.
    OutOfReach(Moment, BTreeMap<NodeId, Option<String>>),
    /// Not enough is known.
    Open,
}

impl Judge<'_> {
    /// Decides a node, and follows its activations.
    pub(super) fn node(&mut self, node: NodeId) -> Result<Ended, Breach> {
        if self.here().never.contains(&node) {
            if self.workflow.nodes[node as usize].join != Join::All {
                self.late.1 += self.workflow.predecessors(node).len() as u64;
            }
            let (end, at) = (End::Skipped, self.here().since);
            return Ok(Ended { end, at });
        }
        let decision = match self.workflow.nodes[node as usize].join {
            Join::All => self.decide_all(node),
            Join::AtLeast(needed) => {
                // Where nothing else is left to do, whatever still comes is late.
                self.late.1 += self.workflow.predecessors(node).len() as u64;
                self.decide_some(node, needed as usize)
            }
        };
        let activation = self.activation(node);
        let started = self.trace.activations.contains_key(&activation)
            || self.trace.delays.contains_key(&activation);
        self.judged.insert(activation);
        let (at, end, why) = match decision {
            Decision::Runs(at) => return self.run(node, at),
            Decision::Skipped(at) => (at, End::Skipped, "is to be skipped"),
            Decision::Open => (Moment::default(), End::Open, "is not decided"),
            Decision::OutOfReach(at, failed) => {
                let needed = match self.workflow.nodes[node as usize].join {
                    Join::AtLeast(needed) => needed,
                    Join::All => 0,
                };
                let reason = Reason::Join {
                    node,
                    needed,
                    failed,
                };
                self.reasons.push((reason, at));
                (at, End::Fatal, "is out of reach")
            }
        };
        if started {
            return Err(Breach(format!("node {node} has started, but {why}")));
        }
        Ok(Ended { end, at })
    }

    /// A join of all: once every in-edge is decided.
    fn decide_all(&self, node: NodeId) -> Decision {
        let flow = self.workflow.flow_edges(node);
        let plan = &self.workflow.nodes[node as usize];
        let flow_states: Vec<Edge> = flow.iter().map(|edge| self.flow(*edge)).collect();
        let gate_states: Vec<Edge> = plan.gates.iter().map(|gate| self.gate(*gate)).collect();
        let producers = self.workflow.predecessors(node);
        let at = producers
            .iter()
            .map(|producer| self.at(*producer))
            .fold(self.here().since, Moment::max);
        let mut all = flow_states.iter().chain(&gate_states);
        if all.clone().any(|state| *state == Edge::Open) {
            return Decision::Open;
        }
        // It stands behind no case and no catch, or one of those edges is live.
        let gate = gate_states.is_empty() || gate_states.contains(&Edge::Live);
        // Each required input has a live source.
        let has_live = |sources: &[Source]| matches!(self.first_live(sources), Found::Present(_));
        let inputs = inputs_of(plan)
            .into_iter()
            .all(|input| input.optional || has_live(&input.sources));
        // One at least of its edges from other nodes is live, if it has any.
        let edges = producers.is_empty() || all.any(|state| *state == Edge::Live);
        // Of an item, the list is such an edge.
        let any = edges || plan.over_list;
        if gate && inputs && any {
            Decision::Runs(at)
        } else {
            Decision::Skipped(at)
        }
    }

    /// A join of some: at the k-th live edge, behind a live gate if it has any; skipped once that is out of reach.
    fn decide_some(&mut self, node: NodeId, needed: usize) -> Decision {
        let flow = self.workflow.flow_edges(node);
        let workflow = self.workflow;
        let gates = &workflow.nodes[node as usize].gates;
        let mut live = self.moments(&flow, Edge::Live);
        let dead = self.moments(&flow, Edge::Dead);
        let of_gates = |wanted: Edge| {
            let these = gates.iter().filter(|gate| self.gate(**gate) == wanted);
            let moments: Vec<Moment> = these.map(|gate| self.at(gate.node())).collect();
            moments
        };
        let first_gate = of_gates(Edge::Live).into_iter().reduce(Moment::min);
        let shut = of_gates(Edge::Dead);
        let all_shut = !gates.is_empty() && shut.len() == gates.len();
        let shut_at = all_shut.then(|| shut.into_iter().fold(self.here().since, Moment::max));
        if live.len() >= needed && (gates.is_empty() || first_gate.is_some()) {
            let kth = smallest(&mut live, needed);
            let at = kth.max(first_gate.unwrap_or_default());
            return Decision::Runs(at.max(self.here().since));
        }
        // So many dead edges leave too few others.
        let too_many = flow.len() - needed + 1;
        let failed = self.failed_producers(&flow);
        let out_at = (dead.len() >= too_many).then(|| smallest(&mut dead.clone(), too_many));
        if let Some(at) = out_at
            && !failed.is_empty()
        {
            // Whether they or those that were skipped have put it out of reach may be a matter of which came first; and
            // then nobody waits for gates.
            let skipped_alone = dead.len() - failed.len() >= too_many;
            if !skipped_alone && shut_at.is_none() {
                return Decision::OutOfReach(at, failed);
            }
            let reason = Reason::Join {
                node,
                needed: needed as u32,
                failed,
            };
            self.reasons.push((reason, at));
        }
        match (out_at, shut_at) {
            (Some(at), Some(other)) => Decision::Skipped(at.min(other)),
            (Some(at), None) | (None, Some(at)) => Decision::Skipped(at),
            (None, None) => Decision::Open,
        }
    }

    fn moments(&self, flow: &[FlowEdge], wanted: Edge) -> Vec<Moment> {
        let these = flow.iter().filter(|edge| self.flow(**edge) == wanted);
        these.map(|edge| self.at(edge.node)).collect()
    }

    fn failed_producers(&self, flow: &[FlowEdge]) -> BTreeMap<NodeId, Option<String>> {
        let failed = flow
            .iter()
            .filter(|edge| self.flow(**edge) == Edge::Dead)
            .filter_map(|edge| match &self.ended(edge.node).end {
                End::Tolerated(cause) => Some((edge.node, cause.clone())),
                End::Items(of) => Some((edge.node, of.tolerated.clone()?.1)),
                _ => None,
            });
        failed.collect()
    }
}

/// From when on `count` of these have been, in events and by the clock each for itself.
fn smallest(moments: &mut [Moment], count: usize) -> Moment {
    moments.sort_unstable_by_key(|moment| moment.step);
    let step = moments[count - 1].step;
    moments.sort_unstable_by_key(|moment| moment.ns);
    Moment {
        step,
        ns: moments[count - 1].ns,
    }
}
