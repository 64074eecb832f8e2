//! What the core sends: messages and payloads to peers, answers to clients.
//!
//! Each payload is leased until the kernel has taken its last byte, or is lent. What has to wait for room is [`held`](super::held); what
//! cannot be sent lets go of its payloads here: without a link to its peer the core hears that this is lost before it sends anything
//! else there, and of a message that no link would take its invocation fails alone.

use super::bodies::Bodies;
use super::held::let_go_of;
use super::{ConnectionId, Parts, Peers, owner_of};
use crate::core::{Answered, Core, Outbound, Send};
use crate::plan::PortRef;
use crate::wire::{self, Failure};

impl Peers {
    /// Sends a message of the core's to a peer, as soon as there is room on its link.
    pub(crate) fn send(&mut self, send: Send, parts: &mut Parts<'_>) {
        let (hash, to_lane) = (send.worker_hash, send.to_lane);
        let Some(id) = self.out.get(&(hash, to_lane)).copied() else {
            let_go_of(&send, parts.core);
            let worker = self
                .names
                .get(&hash)
                .cloned()
                .unwrap_or_else(|| format!("{hash:08x}"));
            parts.core.peer_lost(
                parts.now_ns,
                &worker,
                to_lane,
                "there is no connection to it at the moment",
            );
            // The peer would wait for ever for what it cannot be told, unless it is shown that the way back is broken.
            if let Some(incoming) = self.incoming.remove(&(hash, to_lane)) {
                self.lose(
                    incoming,
                    "it cannot be answered: there is no connection to it at the moment",
                    parts,
                );
            }
            return;
        };
        let forgets = matches!(send.body, Outbound::Forget { .. });
        if let Some(send) = self.hold_back(id, send, parts) {
            self.send_by(id, send, parts);
        }
        if forgets {
            // What it has dropped may have held others up.
            self.send_held(id, parts);
        }
    }

    /// Sends a message by a link that has room for it.
    pub(super) fn send_by(&mut self, id: ConnectionId, send: Send, parts: &mut Parts<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return let_go_of(&send, parts.core);
        };
        let Send {
            worker_hash: hash,
            to_lane,
            invocation,
            deployment,
            body,
        } = send;
        let inline_bytes_max = self.inline_bytes_max.get(&deployment).copied().unwrap_or(0);
        let lenders = &mut self.shares.lenders;
        let mut bodies = Bodies {
            link: &mut connection.link,
            lender: connection.share.and_then(|share| lenders.get_mut(&share)),
            lent: 0,
            unlent: 0,
            inline_bytes_max,
            owner: owner_of(parts.compartments.of_deployment(deployment)),
            streams: &mut self.streams_begun,
            begun: Vec::new(),
        };
        let (of, invocation) = (invocation, invocation.0);
        // As it is now, and not as it was when the core wanted this sent.
        let load = match body {
            Outbound::StateEvent { .. } | Outbound::PartDone { .. } => {
                parts.core.load_for(deployment, hash, to_lane)
            }
            _ => None,
        };
        let queued = match body {
            Outbound::Begin { wanted, inputs } => {
                let port = |input: &u16| PortRef::Input(*input);
                bodies
                    .at(inputs, deployment, port, parts)
                    .and_then(|inputs| {
                        let begin = wire::Begin {
                            invocation,
                            deployment,
                            report: wanted.report,
                            trace: wanted.trace,
                            inputs,
                        };
                        bodies.queue(&begin, parts)
                    })
            }
            Outbound::StateEvent {
                node,
                outcome,
                outputs,
            } => {
                let port = |output: &u16| PortRef::Written {
                    node,
                    output: *output,
                };
                bodies
                    .at(outputs, deployment, port, parts)
                    .and_then(|outputs| {
                        let event = wire::StateEvent {
                            invocation,
                            deployment,
                            node,
                            outcome,
                            outputs,
                            load,
                        };
                        bodies.queue(&event, parts)
                    })
            }
            Outbound::PartDone {
                outputs,
                report,
                trace,
            } => {
                let port = |output: &u16| PortRef::Output(*output);
                bodies
                    .at(outputs, deployment, port, parts)
                    .and_then(|outputs| {
                        let done = wire::PartDone {
                            invocation,
                            deployment,
                            outputs,
                            report,
                            trace,
                            load,
                        };
                        bodies.queue(&done, parts)
                    })
            }
            Outbound::PartFailed {
                failure,
                report,
                trace,
            } => {
                let failed = wire::PartFailed {
                    invocation,
                    failure,
                    report,
                    trace,
                };
                bodies.queue(&failed, parts)
            }
            Outbound::Forget { why } => bodies.queue(&wire::Forget { invocation, why }, parts),
            Outbound::Drained => bodies.queue(&wire::Drained { deployment }, parts),
        };
        if queued.is_err() {
            bodies.withdraw(parts.core);
        }
        bodies.settle_loans(queued.is_ok(), parts.core);
        if queued.is_ok() {
            self.shares.loans_out += bodies.lent;
            self.shares.loans_streamed += bodies.unlent;
        }
        let begun = bodies.begun;
        self.streaming.extend(begun);
        self.dirty.push(id);
        if let Err(cause) = queued {
            let worker = self.names.get(&hash).map_or("?", String::as_str);
            let cause = format!("worker {worker} cannot be told: {cause}");
            parts.core.untold(parts.now_ns, deployment, of, cause);
        }
    }

    /// Tells a client how its invocation ended.
    pub(crate) fn answer(&mut self, answered: Answered, worker: &str, parts: &mut Parts<'_>) {
        let Answered {
            client,
            request,
            invocation,
            deployment,
            started_ns,
            result,
            report,
            trace,
        } = answered;
        let inline_bytes_max = deployment.and_then(|id| self.inline_bytes_max.get(&id).copied());
        let connection = self.clients.get(&client.0).copied();
        let connection = connection.and_then(|id| Some((id, self.connections.get_mut(&id)?)));
        let Some((id, connection)) = connection else {
            self.answers_dropped += 1;
            for (_, outgoing) in result.unwrap_or_default() {
                parts.core.let_go_all(outgoing.payloads());
            }
            return;
        };
        let mut bodies = Bodies {
            link: &mut connection.link,
            lender: None,
            lent: 0,
            unlent: 0,
            inline_bytes_max: inline_bytes_max.unwrap_or(0),
            owner: owner_of(deployment.and_then(|id| parts.compartments.of_deployment(id))),
            streams: &mut self.streams_begun,
            begun: Vec::new(),
        };
        let result = match result {
            Ok(outputs) => {
                let schema = |name: &String, core: &Core| {
                    deployment.map_or(0, |id| core.schema_of_output(id, name))
                };
                bodies.of(outputs, schema, parts).map(Ok)
            }
            Err(Failure::Refused {
                worker: nobody,
                reason,
                memory,
            }) if nobody.is_empty() => Ok(Err(Failure::Refused {
                worker: worker.to_owned(),
                reason,
                memory,
            })),
            Err(failure) => Ok(Err(failure)),
        };
        let latency_ns = parts.now_ns.saturating_sub(started_ns);
        let queued = result.and_then(|result| {
            let answer = wire::Answer {
                request,
                invocation: invocation.0,
                latency_ns,
                result,
                report,
                trace,
            };
            bodies.queue(&answer, parts)
        });
        let begun = bodies.begun;
        self.streaming.extend(begun);
        self.dirty.push(id);
        if let Err(cause) = queued {
            self.answers_dropped += 1;
            self.lose(id, &cause, parts);
        }
    }

    /// Whether a chunk went to a peer or came from one since this was last asked.
    #[inline]
    pub(crate) const fn has_moved_payloads(&mut self) -> bool {
        std::mem::replace(&mut self.moved_payloads, false)
    }
}
