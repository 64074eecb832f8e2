//! What a plan says of maxima: of ports that there are, of each once, and what fits their kinds; and the worst case of an
//! invocation for doors that there are.

use super::error::PlanError;
use super::rules::{Check, index};
use crate::plan::{Plan, PortMaximum, PortRef};
use faasstore::binding::Kind;

/// To be called when the plan's nodes are known to be in order.
pub(super) fn check(plan: &Plan) -> Check {
    let ports = plan.maxima.iter().map(|one| one.port);
    if !ports.is_sorted_by(|before, after| before < after) {
        return Err(PlanError::Rule {
            place: "the plan's maxima".to_owned(),
            reason: "ports must rise, and none may stand there twice",
        });
    }
    for one in &plan.maxima {
        let of_list = one.maximum.items != u64::MAX || one.maximum.total_bytes != u64::MAX;
        if of_list && kind(plan, one)? != Kind::List {
            return Err(PlanError::Rule {
                place: told(one.port),
                reason: "only a list has items",
            });
        }
        kind(plan, one)?;
    }
    check_memory(plan)
}

fn check_memory(plan: &Plan) -> Check {
    let Some(memory) = &plan.memory else {
        return Ok(());
    };
    let place = || "the worst case of an invocation".to_owned();
    index(place, "worker", memory.worker.into(), plan.workers.len())?;
    let lanes = usize::from(plan.workers[usize::from(plan.me)].lanes);
    let reason = if memory.at_door.len() != lanes {
        "each lane of this worker has a share"
    } else if memory.at_door.iter().any(|one| *one > memory.in_flight_max) {
        "no lane takes more than all together"
    } else if memory.on_lane.len() != lanes {
        "each lane of this worker has a worst case"
    } else {
        return Ok(());
    };
    Err(PlanError::Rule {
        place: place(),
        reason,
    })
}

fn told(port: PortRef) -> String {
    match port {
        PortRef::Input(number) => format!("the maximum of workflow input {number}"),
        PortRef::Output(number) => format!("the maximum of workflow output {number}"),
        PortRef::Read { node, input } => format!("the maximum of input {input} of node {node}"),
        PortRef::Written { node, output } => {
            format!("the maximum of output {output} of node {node}")
        }
    }
}

fn kind(plan: &Plan, one: &PortMaximum) -> Result<Kind, PlanError> {
    let place = || told(one.port);
    let at = |what, number: u16, kinds: &mut dyn ExactSizeIterator<Item = Kind>| {
        let (number, count) = (usize::from(number), kinds.len());
        index(place, what, number, count)?;
        Ok(kinds.nth(number).unwrap_or(Kind::Value))
    };
    match one.port {
        PortRef::Input(number) => at("input", number, &mut plan.inputs.iter().map(|one| one.kind)),
        PortRef::Written { node, output } => {
            let found = plan.nodes.binary_search_by_key(&node, |one| one.id);
            let Ok(found) = found else {
                return Err(PlanError::Node {
                    place: place(),
                    node,
                });
            };
            let outputs = &plan.nodes[found].outputs;
            at("output", output, &mut outputs.iter().map(|one| one.kind))
        }
        PortRef::Output(_) | PortRef::Read { .. } => Err(PlanError::Rule {
            place: place(),
            reason: "what is made declares a maximum, and inputs of the workflow do",
        }),
    }
}
