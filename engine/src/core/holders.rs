//! Who holds what, since when: for people who ask a worker for its status. Nothing of this is kept; it is looked up.

use super::Core;
use super::invocation::{Phase, Place, Value};
use super::program::{NO_SCOPE, Program, SlotIndex};
use super::reads::output_name;
use crate::plan::PortRef;
use faasstore::descriptor::InvocationId;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// An invocation that holds payloads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Of which workflow.
    pub workflow: String,
    /// Which.
    pub invocation: InvocationId,
    /// How long this lane has had it, in nanoseconds.
    pub age_ns: u64,
    /// Bytes of its payloads here.
    pub bytes: u64,
    /// The largest of them, with what they are: `NODE.OUTPUT` or `input.NAME`.
    pub payloads: Vec<(String, u64)>,
}

/// Of a workflow so many of the oldest are looked at for what they hold.
const LOOKED_AT: usize = 64;
/// Payloads of an invocation that are named.
const NAMED_MAX: usize = 3;

impl Core {
    /// Of each workflow the `most` oldest invocations here that hold payloads, the oldest first.
    #[must_use]
    pub fn holders(&self, now_ns: u64, most: usize) -> Vec<Holder> {
        let mut oldest: BTreeMap<&str, Vec<(u64, Place)>> = BTreeMap::new();
        for (place, invocation) in (0..).zip(&self.invocations) {
            if invocation.phase == Phase::Free || invocation.root != place {
                continue;
            }
            let workflow = self.program(invocation.deployment).plan.workflow.as_str();
            let known = oldest.entry(workflow).or_default();
            known.push((invocation.since_ns, place));
            if known.len() > 2 * LOOKED_AT {
                known.sort_unstable();
                known.truncate(LOOKED_AT);
            }
        }
        let mut all = Vec::new();
        for (workflow, mut known) in oldest {
            known.sort_unstable();
            known.truncate(LOOKED_AT);
            let holders = known.into_iter().filter_map(|(since_ns, place)| {
                let (bytes, payloads) = self.held_by(place);
                (bytes > 0).then(|| Holder {
                    workflow: workflow.to_owned(),
                    invocation: self.invocations[place as usize].id,
                    age_ns: now_ns.saturating_sub(since_ns),
                    bytes,
                    payloads,
                })
            });
            all.extend(holders.take(most));
        }
        all
    }

    /// What an invocation holds, its items included, and the largest of it by name.
    fn held_by(&self, root: Place) -> (u64, Vec<(String, u64)>) {
        let program = self.program_of(root);
        let mut by_slot: FxHashMap<SlotIndex, u64> = FxHashMap::default();
        for place in std::iter::once(root).chain(self.items_within(root)) {
            let invocation = &self.invocations[place as usize];
            for slot in invocation.slots() {
                let value = invocation
                    .slot(slot)
                    .map_or(Value::Unset, |slot| slot.value);
                *by_slot.entry(slot).or_default() += self.value_bytes(value);
            }
            for node in invocation.nodes() {
                let region = program.nodes[node as usize].region;
                let extra = self.extras.of(invocation.node(node));
                let Some(run) = extra.and_then(|extra| extra.run.as_ref()) else {
                    continue;
                };
                if region == NO_SCOPE {
                    continue;
                }
                let gathers = &program.scopes[usize::from(region)].gathers;
                for (gather, list) in gathers.iter().zip(&run.gathered) {
                    let list = list.map_or(Value::Unset, Value::List);
                    *by_slot.entry(gather.list).or_default() += self.value_bytes(list);
                }
            }
        }
        let bytes = by_slot.values().sum();
        let mut largest: Vec<(SlotIndex, u64)> = by_slot.into_iter().collect();
        largest.retain(|(_, bytes)| *bytes > 0);
        largest.sort_unstable_by_key(|(slot, bytes)| (std::cmp::Reverse(*bytes), *slot));
        largest.truncate(NAMED_MAX);
        let names = names(program);
        let named = largest.into_iter().map(|(slot, bytes)| {
            let port = names.get(&slot);
            (
                port.map_or_else(String::new, |port| named(program, *port)),
                bytes,
            )
        });
        (bytes, named.collect())
    }
}

/// What lies in each slot.
fn names(program: &Program) -> FxHashMap<SlotIndex, PortRef> {
    let mut names = FxHashMap::default();
    for (input, slot) in (0..).zip(&program.input_slots) {
        if let Some(slot) = slot {
            names.insert(*slot, PortRef::Input(input));
        }
    }
    for (node, details) in program.nodes.iter().zip(&program.details) {
        let port = |output| PortRef::Written {
            node: node.id,
            output,
        };
        for (output, planned) in (0..).zip(program.outputs(node)) {
            names.extend(planned.slot.map(|slot| (slot, port(output))));
        }
        for (output, slot) in (0..).zip(&details.gathered) {
            names.extend(slot.map(|slot| (slot, port(output))));
        }
    }
    for (remote, planned) in program.remote.iter().zip(&program.plan.remote_nodes) {
        for (output, slot) in &remote.slots {
            let port = PortRef::Written {
                node: planned.id,
                output: *output,
            };
            names.insert(*slot, port);
        }
    }
    names
}

/// What a port is called.
fn named(program: &Program, port: PortRef) -> String {
    let plan = &program.plan;
    match port {
        PortRef::Input(input) | PortRef::Output(input) => {
            let name = plan.inputs.get(usize::from(input));
            format!("input.{}", name.map_or("", |input| input.name.as_str()))
        }
        PortRef::Written { node, output }
        | PortRef::Read {
            node,
            input: output,
        } => output_name(plan, node, output),
    }
}
