//! What a plan says of payloads: of ports that there are, of each once, and of none that holds values.

use super::error::PlanError;
use super::rules::{Check, index};
use crate::plan::{NodeId, NodePlan, Plan, PortRef, Work};
use faasstore::binding::Kind;

/// To be called when the plan's nodes are known to be in order.
pub(super) fn check(plan: &Plan) -> Check {
    let place = || "the plan's types".to_owned();
    let ports = plan.types.iter().map(|one| one.port);
    if !ports.is_sorted_by(|before, after| before < after) {
        return Err(PlanError::Rule {
            place: place(),
            reason: "ports must rise, and none may stand there twice",
        });
    }
    for one in &plan.types {
        let kind = kind(plan, one.port)?;
        let reason = match (kind, one.schema) {
            (Kind::Value, _) => "a value is JSON, and has no schema",
            (_, 0) => "the hash of a schema is never 0",
            _ => continue,
        };
        return Err(PlanError::Rule {
            place: told(one.port),
            reason,
        });
    }
    Ok(())
}

fn told(port: PortRef) -> String {
    match port {
        PortRef::Input(number) => format!("the type of workflow input {number}"),
        PortRef::Output(number) => format!("the type of workflow output {number}"),
        PortRef::Read { node, input } => format!("the type of input {input} of node {node}"),
        PortRef::Written { node, output } => format!("the type of output {output} of node {node}"),
    }
}

fn kind(plan: &Plan, port: PortRef) -> Result<Kind, PlanError> {
    let place = || told(port);
    let at = |what, number: u16, kinds: &mut dyn ExactSizeIterator<Item = Kind>| {
        let (number, count) = (usize::from(number), kinds.len());
        index(place, what, number, count)?;
        Ok(kinds.nth(number).unwrap_or(Kind::Value))
    };
    match port {
        PortRef::Input(number) => at("input", number, &mut plan.inputs.iter().map(|one| one.kind)),
        PortRef::Output(number) => at(
            "output",
            number,
            &mut plan.outputs.iter().map(|one| one.kind),
        ),
        PortRef::Read { node, input } => {
            let inputs = &function(plan, node, place)?.inputs;
            at("input", input, &mut inputs.iter().map(|one| one.kind))
        }
        PortRef::Written { node, output } => {
            let node = function(plan, node, place)?;
            // What failed is not for the function to say.
            let written = node.outputs.len() - usize::from(node.error_output.is_some());
            at(
                "output",
                output,
                &mut node.outputs[..written].iter().map(|one| one.kind),
            )
        }
    }
}

/// A node of this worker that runs a function.
fn function(plan: &Plan, node: NodeId, place: impl Fn() -> String) -> Result<&NodePlan, PlanError> {
    let found = plan.nodes.binary_search_by_key(&node, |one| one.id);
    let found = found
        .map(|at| &plan.nodes[at])
        .map_err(|_| PlanError::Node {
            place: place(),
            node,
        })?;
    match found.work {
        Work::Function { .. } => Ok(found),
        Work::Compute(_) | Work::Switch { .. } | Work::Nothing => Err(PlanError::Rule {
            place: place(),
            reason: "only functions say what their payloads are",
        }),
    }
}
