//! What messages of peers and clients mean for the core, and what the core says before one is taken in ([`AtDoor`]).
//!
//! What its party has no business to say is passed over. What is still on its way of an invocation that is over is not waited for.

use super::bodies::{incoming, numbered};
use super::{ConnectionId, Parts, Party, Peers};
use crate::core::{Core, InputForm, Origin, Refusal, worker_hash};
use crate::lane::compartments::Compartments;
use crate::lane::link::{Admission, Admitted, Inbound, Room};
use crate::plan::{DeploymentId, NodeId};
use crate::wire::{self, Failure, Load};
use faasstore::descriptor::InvocationId;
use std::rc::Rc;

impl Peers {
    pub(super) fn on_message(
        &mut self,
        id: ConnectionId,
        party: &Party,
        message: Inbound,
        parts: &mut Parts<'_>,
    ) {
        let now_ns = parts.now_ns;
        match message {
            Inbound::Invoke {
                request,
                workflow,
                inputs,
                wanted,
            } => {
                let Party::Client(client) = party else { return };
                let inputs = inputs
                    .into_iter()
                    .map(|(name, landing)| (name, incoming(landing, parts.segments)))
                    .collect();
                parts
                    .core
                    .invoke(now_ns, *client, request, &workflow, inputs, wanted);
            }
            Inbound::InvokeRefused { request, refusal } => {
                let Party::Client(client) = party else { return };
                parts
                    .core
                    .refuse(now_ns, *client, request, refusal, Vec::new());
            }
            Inbound::Cancel { request } => {
                let Party::Client(client) = party else { return };
                if let Some(invocation) = parts.core.cancel(now_ns, *client, request) {
                    self.abort(invocation.0, parts);
                }
            }
            Inbound::InvokeCancelled { request } => {
                let Party::Client(client) = party else { return };
                parts.core.cancel_at_door(now_ns, *client, request);
            }
            Inbound::BeginComing {
                invocation,
                deployment,
            } => {
                parts
                    .core
                    .begin_coming(deployment, InvocationId(invocation));
            }
            Inbound::Begin {
                invocation,
                deployment,
                wanted,
                inputs,
            } => {
                let inputs = numbered(inputs, parts.segments);
                parts
                    .core
                    .begin(now_ns, deployment, InvocationId(invocation), wanted, inputs);
            }
            Inbound::StateEvent {
                invocation,
                deployment,
                node,
                outcome,
                outputs,
                load,
            } => {
                let outputs = outputs.into_iter().map(|(output, landing)| {
                    let transfer = landing.as_ref().ok().and_then(|landed| landed.arrives_by);
                    let incoming = incoming(landing, parts.segments);
                    let incoming = match transfer {
                        Some(transfer) => self.arriving.begin(id, transfer, incoming),
                        None => incoming,
                    };
                    (output, incoming)
                });
                let outputs = outputs.collect();
                let invocation = InvocationId(invocation);
                let core = &mut *parts.core;
                hear_load(core, party, deployment, load);
                core.state_event(now_ns, deployment, invocation, node, outcome, outputs);
            }
            Inbound::PartDone {
                invocation,
                deployment,
                outputs,
                report,
                trace,
                load,
            } => {
                let outputs = numbered(outputs, parts.segments);
                let invocation = InvocationId(invocation);
                let core = &mut *parts.core;
                hear_load(core, party, deployment, load);
                core.part_done(now_ns, invocation, outputs, report, trace);
            }
            Inbound::PartFailed(wire::PartFailed {
                invocation,
                failure,
                report,
                trace,
            }) => {
                let failure = self.named(failure, party);
                self.abort(invocation, parts);
                let invocation = InvocationId(invocation);
                parts
                    .core
                    .part_failed(now_ns, invocation, failure, report, trace);
            }
            Inbound::Forget { invocation, why } => {
                self.abort(invocation, parts);
                parts.core.forget(now_ns, InvocationId(invocation), why);
            }
            Inbound::Heartbeat { interval_ms, loads } => {
                self.heard_heartbeat(id, interval_ms);
                for (deployment, load) in loads {
                    hear_load(parts.core, party, deployment, Some(load));
                }
            }
            Inbound::Arrived { transfer, bytes } => {
                if let Some(arrival) = self.arriving.of(id, transfer) {
                    parts.core.arrived(now_ns, arrival, bytes);
                }
            }
            Inbound::ArrivalEnded { transfer, ended } => {
                if let Some(arrival) = self.arriving.end(id, transfer) {
                    let ended = ended.map_err(Rc::from);
                    parts.core.arrival_ended(now_ns, arrival, ended);
                }
            }
            Inbound::Drained { deployment } => {
                if let Party::In { worker, lane } = party {
                    parts
                        .core
                        .peer_drained(deployment, worker_hash(worker), *lane);
                }
            }
        }
    }

    /// What is still under way of an invocation that is over, on whichever link, is not waited for.
    fn abort(&mut self, invocation: u128, parts: &mut Parts<'_>) {
        let mut room = Room {
            arena: parts.arena,
            shortage: &mut self.shortage,
        };
        let mut unread = Vec::new();
        for (id, connection) in &mut self.connections {
            connection.link.abort(invocation, &mut room);
            connection.link.take_unread(&mut unread);
            if connection.link.has_news() {
                self.dirty.push(*id);
            }
        }
        self.memory_freed();
        self.release_unread(unread, parts.segments);
    }

    /// A failure whose worker the core could not name.
    fn named(&self, failure: Failure, party: &Party) -> Failure {
        match (failure, party) {
            (
                Failure::Refused {
                    worker,
                    reason,
                    memory,
                },
                Party::In { worker: peer, .. },
            ) if worker.is_empty() => Failure::Refused {
                worker: peer.clone(),
                reason,
                memory,
            },
            (failure, _) => failure,
        }
    }
}

/// What a lane of a peer tells of a placement goes to the core.
fn hear_load(core: &mut Core, party: &Party, deployment: DeploymentId, load: Option<Load>) {
    if let (Party::In { worker, lane }, Some(load)) = (party, load) {
        core.hear_load(deployment, worker_hash(worker), *lane, load);
    }
}

/// The core, for a link that asks it what to take in.
pub(super) struct AtDoor<'a> {
    pub(super) core: &'a Core,
    pub(super) compartments: &'a Compartments,
}

impl Admission for AtDoor<'_> {
    fn invoke(&self, workflow: &str, inputs: &[(&str, InputForm)]) -> Result<Admitted, Refusal> {
        let limits = self.core.would_take(workflow, inputs)?;
        let compartment = self.compartments.of_workflow(workflow);
        let compartment = compartment.ok_or_else(|| format!("workflow {workflow} has gone"))?;
        Ok(Admitted {
            limits,
            compartment,
        })
    }

    fn deployed(&self, deployment: DeploymentId) -> Option<Admitted> {
        Some(Admitted {
            limits: self.core.limits_of(deployment)?,
            compartment: self.compartments.of_deployment(deployment)?,
        })
    }

    fn taken(&self, invocation: u128, deployment: DeploymentId) -> Option<Admitted> {
        Some(Admitted {
            limits: self.core.limits_of_taken(InvocationId(invocation))?,
            compartment: self.compartments.of_deployment(deployment)?,
        })
    }

    fn is_taken_early(&self, deployment: DeploymentId, node: NodeId, output: u16) -> bool {
        self.core.is_taken_early(deployment, node, output)
    }

    fn schema(&self, origin: Origin<'_>, schema: u64) -> Result<(), String> {
        self.core.check_schema(origin, schema)
    }
}
