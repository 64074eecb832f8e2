//! What of a planned node is needed whenever it runs, and what seldom.

use super::super::program::{
    Delay, Details, NO_SCOPE, Node, OutputPlan, Program, RemoteRead, Runner, Span, is_list,
};
use super::Compiler;
use super::edges::edges_of;
use crate::plan::{self, Join, NodeId, NodePlan, Plan, PortRef, Source, Work};

impl Compiler {
    pub(super) fn node(
        &mut self,
        node: &NodePlan,
        plan: &Plan,
        into: (u32, u16),
        program: &mut Program,
    ) -> Node {
        let (flow, gates) = into;
        let scope = self.scopes[self.local_of[&node.id] as usize];
        let returned = node.outputs.len() - usize::from(node.error_output.is_some());
        let returned = &node.outputs[..returned];
        let outputs: Vec<OutputPlan> = (0..)
            .zip(returned)
            .map(|(output, declared)| OutputPlan {
                kind: declared.kind,
                slot: self.made.get(&(node.id, output)).copied(),
                maximum: plan.maximum(PortRef::Written {
                    node: node.id,
                    output,
                }),
            })
            .collect();
        let runner = match node.work {
            Work::Function { .. } => Runner::Executor,
            Work::Compute(_) | Work::Switch { .. } => Runner::Lane,
            Work::Nothing => Runner::Nobody,
        };
        // Gates from outside of its region count for it as well, but are decided before it is looked at.
        let gated = !node.gates.is_empty();
        let one_way = node.inputs.iter().all(|input| input.sources.len() == 1);
        let all_edges = edges_of(node, &self.errors).len() as u32;
        let ordinary = matches!(runner, Runner::Executor | Runner::Lane)
            && node.join == Join::All
            && !is_delayed(node)
            && one_way
            && all_edges == flow + u32::from(gates);
        let plain = ordinary && runner == Runner::Executor && !gated;
        let reads_item = node
            .reads()
            .any(|source| matches!(source, Source::Item { .. } | Source::First { .. }));
        Node {
            id: node.id,
            pool: node.work.executable().unwrap_or_default(),
            lists: returned.iter().any(|output| is_list(output.kind)),
            told: scope == 0 && !node.remote_consumers.is_empty(),
            shown: false,
            plain,
            sure: ordinary && !reads_item,
            runner,
            delayed: is_delayed(node),
            delay_inputs: (node.all_inputs().count() - node.inputs.len()) as u16,
            gated,
            gates,
            flow,
            at_least: match node.join {
                Join::All => 0,
                Join::AtLeast(edges) => edges,
            },
            edged: all_edges > 0 && !node.over_list,
            region: NO_SCOPE,
            timeout_ms: node.timeout_ms.unwrap_or_default(),
            inputs: Span::default(),
            outputs: Span::append(&mut program.outputs, outputs),
            successors: Span::default(),
        }
    }

    /// What stands for a region, or for a divided node, in the scope around it.
    pub(super) fn stand_in(&self, runner: Runner, scope: u16, edges: u32) -> Node {
        Node {
            id: NodeId::MAX,
            pool: 0,
            lists: true,
            told: false,
            shown: false,
            plain: false,
            sure: false,
            runner,
            delayed: false,
            delay_inputs: 0,
            gated: false,
            gates: 0,
            flow: edges,
            at_least: 0,
            edged: edges > 0,
            region: scope,
            timeout_ms: 0,
            inputs: Span::default(),
            outputs: Span::default(),
            successors: Span::default(),
        }
    }

    pub(super) fn details(&self, node: &NodePlan) -> Details {
        let remote = node.remote_consumers.iter().map(|read| RemoteRead {
            worker: read.worker,
            outputs: read.outputs.clone(),
            sections: read.sections.clone(),
        });
        let gathered = (0..node.outputs.len() as u16)
            .map(|output| self.gathered.get(&(node.id, output)).copied());
        Details {
            name: node.name.clone(),
            retriers: node.retriers.clone(),
            remote: remote.collect(),
            catches: node.catches.clone(),
            error_slot: node
                .error_output
                .and_then(|output| self.made.get(&(node.id, output)).copied()),
            tolerated: node.tolerated,
            delay: delay_of(node),
            gathered: gathered.collect(),
        }
    }
}

/// Whether a node may have to wait once it could start.
pub(super) fn is_delayed(node: &NodePlan) -> bool {
    delay_of(node) != Delay::default()
}

fn delay_of(node: &NodePlan) -> Delay {
    if node.delay_expressions().next().is_some() {
        return Delay::Computed;
    }
    let fixed = node.delays.iter().map(|delay| match delay {
        plan::Delay::Fixed(delay_ms) => u64::from(*delay_ms),
        plan::Delay::Computed(_) | plan::Delay::Until(_) => 0,
    });
    let delay_ns = fixed.sum::<u64>() * 1_000_000;
    Delay::Fixed { delay_ns }
}
