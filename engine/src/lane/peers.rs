//! A lane's connections: links to and from lanes of peers, and clients. Between the core's messages and frames.
//!
//! It owns the [links](super::link), by connection, and the leases of what is being sent. It promises that a message
//! that cannot be sent fails what depended on it at once and by name, that a payload is held until the kernel has
//! taken its last byte, and that messages are handed to the kernel before payloads are.

mod arriving;
mod bodies;
mod connection;
mod sharing;
mod silence;
mod waiting;

pub(crate) use sharing::share_of;

use super::command::{LaneReport, LendingEnd, LinkNumber, LinkSockets};
use super::compartments::Compartments;
use super::driver::{Completion, ConnectionId, Driver};
use super::link::{
    Admission, Admitted, Inbound, Link, LinkCounters, LinkError, LinkLimits, LinkRole, Room,
    Shortage, Stream,
};
use super::segments::Segments;
use super::setup::Patience;
use crate::core::lease::Payload;
use crate::core::{
    Answered, ClientId, Core, InputForm, Origin, Outbound, Refusal, Send, worker_hash,
};
use crate::plan::{DeploymentId, NodeId, Plan, PortRef};
use crate::status::LaneCounters;
use crate::wire::{self, Failure, Load};
use arriving::Arriving;
use bodies::{Bodies, incoming, numbered};
use connection::{Connection, Half};
use faasstore::arena::{Arena, Compartment};
use faasstore::descriptor::InvocationId;
use rustc_hash::FxHashMap;
use sharing::{Borrowing, Shares};
use silence::{Hearing, NEVER_NS};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::sync::OwnedSemaphorePermit;

/// A lane of a peer, in one of its lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Door {
    pub(crate) worker: String,
    pub(crate) epoch: u32,
    pub(crate) lane: u8,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Party {
    /// This lane sends to that lane of the worker.
    Out {
        worker: String,
        lane: u8,
        number: LinkNumber,
    },
    /// That lane of the worker sends to this one.
    In {
        worker: String,
        lane: u8,
    },
    Client(ClientId),
}

/// All connections of a lane.
#[derive(Debug)]
pub(crate) struct Peers {
    limits: LinkLimits,
    /// By the socket for messages.
    connections: FxHashMap<ConnectionId, Connection>,
    /// Of those for payloads: the socket for messages beside it.
    bulks: FxHashMap<ConnectionId, ConnectionId>,
    shortage: Shortage,
    arriving: Arriving,
    /// Whether memory has come back that payloads may wait for.
    freed: bool,
    /// Whether a chunk went or came since that was last asked.
    moved_payloads: bool,
    out: FxHashMap<(u32, u8), ConnectionId>,
    incoming: FxHashMap<(u32, u8), ConnectionId>,
    clients: FxHashMap<u64, ConnectionId>,
    clients_seen: u64,
    names: FxHashMap<u32, String>,
    inline_bytes_max: FxHashMap<DeploymentId, u64>,
    /// Payloads that are being streamed, by token.
    streaming: FxHashMap<u64, Vec<Payload>>,
    streams_begun: u64,
    shares: Shares,
    /// Connections with something queued.
    dirty: Vec<ConnectionId>,
    /// Of them, those whose messages were handed over.
    dirty_bulk: Vec<ConnectionId>,
    inbound: Vec<Inbound>,
    flushed: Vec<u64>,
    /// Of connections that are closed.
    closed: Moved,
    bad_frames: u64,
    answers_dropped: u64,
    stale_links_refused: u64,
    patience: Patience,
    beat_due_ns: u64,
    heartbeats_sent: u64,
    heartbeats_received: u64,
    peers_suspected: u64,
    transfers_expired: u64,
    grants_missed: u64,
}

/// What connections have moved together.
#[derive(Clone, Copy, Default, Debug)]
struct Moved {
    bytes_in: u64,
    bytes_out: u64,
    transfers_in: u64,
    events_early: u64,
}

impl Moved {
    fn add(&mut self, link: &LinkCounters) {
        self.bytes_in += link.bytes_received;
        self.bytes_out += link.bytes_sent;
        self.transfers_in += link.transfers_received;
        self.events_early += link.messages_early;
    }
}

/// The lane's parts that connections work on.
pub(crate) struct Parts<'a> {
    pub(crate) now_ns: u64,
    pub(crate) core: &'a mut Core,
    pub(crate) driver: &'a mut Driver,
    pub(crate) arena: &'a mut Arena,
    pub(crate) compartments: &'a Compartments,
    pub(crate) segments: &'a mut Segments,
}

impl Peers {
    pub(crate) fn new(limits: LinkLimits, patience: Patience) -> Self {
        Self {
            limits,
            connections: FxHashMap::default(),
            bulks: FxHashMap::default(),
            shortage: Shortage::default(),
            arriving: Arriving::default(),
            freed: false,
            moved_payloads: false,
            out: FxHashMap::default(),
            incoming: FxHashMap::default(),
            clients: FxHashMap::default(),
            clients_seen: 0,
            names: FxHashMap::default(),
            inline_bytes_max: FxHashMap::default(),
            streaming: FxHashMap::default(),
            streams_begun: 0,
            shares: Shares::default(),
            dirty: Vec::new(),
            dirty_bulk: Vec::new(),
            inbound: Vec::new(),
            flushed: Vec::new(),
            closed: Moved::default(),
            bad_frames: 0,
            answers_dropped: 0,
            stale_links_refused: 0,
            patience,
            beat_due_ns: NEVER_NS,
            heartbeats_sent: 0,
            heartbeats_received: 0,
            peers_suspected: 0,
            transfers_expired: 0,
            grants_missed: 0,
        }
    }

    /// Learns the workers of a deployment.
    pub(crate) fn know(&mut self, plan: &Plan) {
        self.inline_bytes_max
            .insert(plan.deployment, u64::from(plan.limits.inline_bytes_max));
        for worker in &plan.workers {
            self.names
                .insert(worker_hash(&worker.name), worker.name.clone());
        }
    }

    pub(crate) fn forget_deployment(&mut self, deployment: DeploymentId) {
        self.inline_bytes_max.remove(&deployment);
    }

    /// Takes the connections to a peer's lane over. Returns a link to be connected anew, if it cannot.
    #[must_use = "nobody else makes the link again"]
    pub(crate) fn link_out(
        &mut self,
        door: Door,
        number: LinkNumber,
        sockets: LinkSockets,
        share: Option<LendingEnd>,
        parts: &mut Parts<'_>,
    ) -> Option<LaneReport> {
        let Door {
            worker,
            epoch,
            lane,
        } = door;
        let key = (worker_hash(&worker), lane);
        if let Some(earlier) = self.out.remove(&key) {
            self.lose(earlier, "it was connected anew", parts);
        }
        self.lose_earlier_life(self.incoming.get(&key).copied(), epoch, parts);
        self.names.insert(key.0, worker.clone());
        let party = Party::Out {
            worker: worker.clone(),
            lane,
            number,
        };
        let LinkSockets { messages, bulk } = sockets;
        let opened = self.open(party, LinkRole::PeerOut, messages, Some(bulk), parts);
        let Some(id) = opened else {
            return Some(LaneReport::LinkLost {
                worker,
                to_lane: lane,
                number,
            });
        };
        self.out.insert(key, id);
        self.is_of_life(id, epoch);
        self.lend_on(id, share, parts);
        parts.core.link_opened(&worker, lane, epoch);
        // So that the peer knows from the beginning how often it is to hear of this lane.
        self.say_heartbeat(id, parts.core);
        None
    }

    /// In which life the worker is at the other end of a connection.
    fn is_of_life(&mut self, id: ConnectionId, epoch: u32) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.epoch = epoch;
        }
    }

    /// A connection with a lane of a worker that is in a later life by now leads nowhere, whether its end was heard of or not: it is not
    /// to be taken for silence of the worker as it is now.
    fn lose_earlier_life(&mut self, id: Option<ConnectionId>, epoch: u32, parts: &mut Parts<'_>) {
        let connection = id.and_then(|id| self.connections.get(&id));
        if let (Some(id), Some(connection)) = (id, connection)
            && connection.epoch < epoch
        {
            self.lose(id, "its worker was started anew", parts);
        }
    }

    /// Takes the connections from a peer's lane over.
    pub(crate) fn link_in(
        &mut self,
        door: Door,
        next_sequence: u64,
        number: LinkNumber,
        sockets: LinkSockets,
        parts: &mut Parts<'_>,
    ) {
        let key = (worker_hash(&door.worker), door.lane);
        // It was greeted before the later one, and has come after it. Its worker has ended since.
        if let Some(seen) = parts.core.door_epoch(key.0, key.1)
            && door.epoch < seen
        {
            self.stale_links_refused += 1;
            let Door {
                worker,
                epoch,
                lane,
            } = door;
            tracing::warn!(%worker, lane, epoch, seen, "a link of an earlier life of a peer is refused");
            return;
        }
        if let Some(earlier) = self.incoming.remove(&key) {
            self.lose(earlier, "it connected anew", parts);
        }
        self.lose_earlier_life(self.out.get(&key).copied(), door.epoch, parts);
        parts.core.door_opened(
            InvocationId::new(key.0, door.epoch, door.lane, 0).door(),
            next_sequence,
        );
        let party = Party::In {
            worker: door.worker,
            lane: door.lane,
        };
        let LinkSockets { messages, bulk } = sockets;
        if let Some(id) = self.open(party, LinkRole::PeerIn, messages, Some(bulk), parts) {
            self.incoming.insert(key, id);
            self.is_of_life(id, door.epoch);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.number = Some(number);
            }
        }
    }

    /// Takes a client's connection over, and its place.
    pub(crate) fn client(
        &mut self,
        socket: OwnedFd,
        place: OwnedSemaphorePermit,
        parts: &mut Parts<'_>,
    ) {
        self.clients_seen += 1;
        let number = self.clients_seen;
        if let Some(id) = self.open(
            Party::Client(ClientId(number)),
            LinkRole::Client,
            socket,
            None,
            parts,
        ) {
            self.clients.insert(number, id);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.place = Some(place);
            }
        }
    }

    fn open(
        &mut self,
        party: Party,
        role: LinkRole,
        socket: OwnedFd,
        bulk: Option<OwnedFd>,
        parts: &mut Parts<'_>,
    ) -> Option<ConnectionId> {
        let mut add = |socket: OwnedFd| {
            self.set_timeouts(&party, &socket);
            let added = parts.driver.add(socket);
            added
                .inspect_err(|error| {
                    tracing::warn!(?party, %error, "a connection could not be taken over");
                })
                .ok()
        };
        let id = add(socket)?;
        let bulk = match bulk.map(add) {
            Some(None) => {
                // Nobody knows of it: the end of what is left of it is all that is heard.
                parts.driver.close(id);
                return None;
            }
            Some(bulk) => bulk,
            None => None,
        };
        if let Some(bulk) = bulk {
            self.bulks.insert(bulk, id);
        }
        if role != LinkRole::Client {
            self.watch(parts.now_ns);
        }
        let mut connection = Connection {
            party,
            link: Link::new(role, self.limits),
            messages: Half::new(id),
            bulk: bulk.map(Half::new),
            closing: false,
            hearing: Hearing::default(),
            told: Vec::new(),
            place: None,
            epoch: 0,
            number: None,
            share: None,
        };
        connection.receive(parts.driver);
        self.connections.insert(id, connection);
        Some(id)
    }

    /// The connection of a socket, by its key, and which half of it that is.
    fn place_of(&self, id: ConnectionId) -> (ConnectionId, Stream) {
        match self.bulks.get(&id) {
            Some(messages) => (*messages, Stream::Bulk),
            None => (id, Stream::Messages),
        }
    }

    /// Something has happened on a connection. Returns a link to be connected anew.
    pub(crate) fn on_completion(
        &mut self,
        completion: Completion,
        parts: &mut Parts<'_>,
    ) -> Option<LaneReport> {
        match completion {
            Completion::Received { id, result, buffer } => {
                let (id, stream) = self.place_of(id);
                self.moved_payloads |= stream == Stream::Bulk;
                let connection = self.connections.get_mut(&id)?;
                if let Some(half) = connection.half(stream) {
                    half.receiving = false;
                }
                if connection.closing {
                    return None;
                }
                let mut inbound = std::mem::take(&mut self.inbound);
                let mut borrowing = Borrowing {
                    share: connection.share,
                    shares: &mut self.shares,
                    segments: parts.segments,
                    compartments: parts.compartments,
                };
                let outcome = match result {
                    Ok(bytes) => connection
                        .link
                        .received(
                            (stream, bytes),
                            buffer,
                            &mut Room {
                                arena: parts.arena,
                                shortage: &mut self.shortage,
                            },
                            &AtDoor {
                                core: parts.core,
                                compartments: parts.compartments,
                            },
                            &mut borrowing,
                            &mut inbound,
                        )
                        .map_err(|error| (error.to_string(), !matches!(error, LinkError::Ended))),
                    Err(error) => Err((error.to_string(), false)),
                };
                super::executors::adopt_own_segments(parts.segments, parts.arena);
                self.inbound = inbound;
                self.hand_on(id, parts);
                match outcome {
                    Ok(()) => {
                        let connection = self.connections.get_mut(&id).filter(|c| !c.closing)?;
                        connection.receive(parts.driver);
                        let is_client = connection.bulk.is_none();
                        if connection.link.is_unfinished() {
                            self.watch(parts.now_ns);
                        }
                        if !is_client {
                            // It may have granted something, or be granted something.
                            self.dirty.push(id);
                        }
                    }
                    Err((cause, broken)) => {
                        self.bad_frames += u64::from(broken);
                        self.lose(id, &cause, parts);
                    }
                }
                None
            }
            Completion::Sent { id, result, buffer } => {
                let (id, stream) = self.place_of(id);
                self.moved_payloads |= stream == Stream::Bulk;
                let connection = self.connections.get_mut(&id)?;
                if let Some(half) = connection.half(stream) {
                    half.sending = false;
                }
                match result {
                    Ok(()) => {
                        connection.link.sent(stream, buffer, &mut self.flushed);
                        self.dirty.push(id);
                        self.let_go_flushed(parts.core);
                    }
                    Err(error) => self.lose(id, &error.to_string(), parts),
                }
                None
            }
            Completion::Closed { id } => self.closed(id, parts),
            Completion::Watched { .. } | Completion::Unwatched { .. } => None,
        }
    }

    /// Hands on what has come by a connection, and gives back what was lent of what nobody reads.
    fn hand_on(&mut self, id: ConnectionId, parts: &mut Parts<'_>) {
        let mut inbound = std::mem::take(&mut self.inbound);
        let mut unread = Vec::new();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.link.take_unread(&mut unread);
            if !inbound.is_empty() {
                // What has come may make room for what waits.
                self.freed |=
                    self.shortage.is_any() && inbound.iter_mut().any(Inbound::has_payloads);
                let party = connection.party.clone();
                inbound
                    .drain(..)
                    .for_each(|message| self.on_message(id, &party, message, parts));
            }
        }
        self.inbound = inbound;
        self.release_unread(unread, parts.segments);
    }

    /// A connection is of no use any more: what depended on it fails, and it is closed.
    fn lose(&mut self, id: ConnectionId, cause: &str, parts: &mut Parts<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut connection.closing, true) {
            return;
        }
        parts.driver.close(id);
        if let Some(bulk) = &connection.bulk {
            parts.driver.close(bulk.id);
        }
        let (party, share) = (connection.party.clone(), connection.share);
        if let Some(share) = share {
            self.unlink_share(share, parts);
        }
        match party {
            Party::Out { worker, lane, .. } => {
                if self.out.get(&(worker_hash(&worker), lane)) == Some(&id) {
                    self.out.remove(&(worker_hash(&worker), lane));
                }
                tracing::warn!(%worker, lane, %cause, "the link to a peer is lost");
                parts.core.peer_lost(parts.now_ns, &worker, lane, cause);
                parts.core.link_closed(&worker, lane);
            }
            Party::In { worker, lane } => {
                if self.incoming.get(&(worker_hash(&worker), lane)) == Some(&id) {
                    self.incoming.remove(&(worker_hash(&worker), lane));
                }
                tracing::warn!(%worker, lane, %cause, "the link from a peer is lost");
                parts.core.peer_lost(parts.now_ns, &worker, lane, cause);
                parts.core.door_closed(&worker, lane);
            }
            Party::Client(client) => {
                self.clients.remove(&client.0);
                tracing::debug!(?client, %cause, "a client has gone");
            }
        }
    }

    fn closed(&mut self, id: ConnectionId, parts: &mut Parts<'_>) -> Option<LaneReport> {
        let (id, stream) = self.place_of(id);
        let connection = self.connections.get_mut(&id)?;
        if let Some(half) = connection.half(stream) {
            half.closed = true;
        }
        let bulk = connection.bulk.as_ref();
        if !connection.messages.closed || bulk.is_some_and(|bulk| !bulk.closed) {
            return None;
        }
        let connection = self.connections.remove(&id)?;
        if let Some(bulk) = &connection.bulk {
            self.bulks.remove(&bulk.id);
        }
        let mut room = Room {
            arena: parts.arena,
            shortage: &mut self.shortage,
        };
        let mut unread = Vec::new();
        let link = connection.link;
        let mut ended = Vec::new();
        let counters = link.close(&mut room, &mut self.flushed, &mut unread, &mut ended);
        self.memory_freed();
        self.closed.add(&counters);
        self.let_go_flushed(parts.core);
        self.release_unread(unread, parts.segments);
        if let Some(share) = connection.share {
            self.unlink_share(share, parts);
        }
        ended
            .into_iter()
            .for_each(|message| self.on_message(id, &connection.party, message, parts));
        match connection.party {
            Party::Out {
                worker,
                lane,
                number,
            } => Some(LaneReport::LinkLost {
                worker,
                to_lane: lane,
                number,
            }),
            Party::In { .. } | Party::Client(_) => None,
        }
    }

    fn let_go_flushed(&mut self, core: &mut Core) {
        for token in self.flushed.drain(..) {
            if let Some(payloads) = self.streaming.remove(&token) {
                core.let_go_all(&payloads);
            }
        }
    }

    fn on_message(
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

    /// Sends a message of the core's to a peer.
    pub(crate) fn send(&mut self, send: Send, parts: &mut Parts<'_>) {
        let Send {
            worker_hash: hash,
            to_lane,
            invocation,
            deployment,
            body,
        } = send;
        let Some(id) = self.out.get(&(hash, to_lane)).copied() else {
            self.unsent(body, parts.core);
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
        let inline_bytes_max = self.inline_bytes_max.get(&deployment).copied().unwrap_or(0);
        let Some(connection) = self.connections.get_mut(&id) else {
            return self.unsent(body, parts.core);
        };
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
        let invocation = invocation.0;
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
        bodies.settle_loans(queued.is_ok(), parts.core);
        self.shares.loans_out += bodies.lent;
        self.shares.loans_streamed += bodies.unlent;
        let begun = bodies.begun;
        self.streaming.extend(begun);
        self.dirty.push(id);
        if let Err(cause) = queued {
            self.lose(id, &cause, parts);
        }
    }

    /// Lets go of what a message held that is not sent.
    fn unsent(&self, body: Outbound, core: &mut Core) {
        let held = match body {
            Outbound::Begin { inputs: held, .. }
            | Outbound::StateEvent { outputs: held, .. }
            | Outbound::PartDone { outputs: held, .. } => held,
            Outbound::PartFailed { .. } | Outbound::Forget { .. } | Outbound::Drained => return,
        };
        for (_, outgoing) in held {
            core.let_go_all(outgoing.payloads());
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

    /// Hands what is queued to the driver: messages first, since someone waits for each of them.
    pub(crate) fn pump(&mut self, driver: &mut Driver) {
        while let Some(id) = self.dirty.pop() {
            let connection = self.connections.get_mut(&id);
            if let Some(connection) = connection.filter(|connection| !connection.closing) {
                connection.send(Stream::Messages, driver);
                if connection.bulk.is_some() {
                    self.dirty_bulk.push(id);
                }
            }
        }
        for id in self.dirty_bulk.drain(..) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.send(Stream::Bulk, driver);
            }
        }
    }

    /// Shows the counters of all connections.
    pub(crate) fn publish(&self, counters: &LaneCounters, segments: &Segments) {
        self.publish_shares(counters, segments);
        let mut moved = self.closed;
        for connection in self.connections.values() {
            moved.add(connection.link.counters());
        }
        counters.bytes_in.set(moved.bytes_in);
        counters.bytes_out.set(moved.bytes_out);
        counters.transfers_in.set(moved.transfers_in);
        counters.events_early.set(moved.events_early);
        counters.clients.set(self.clients.len() as u64);
        counters
            .links
            .set((self.out.len() + self.incoming.len()) as u64);
        counters.bad_frames.set(self.bad_frames);
        counters.transfers_out.set(self.streams_begun);
        counters.answers_dropped.set(self.answers_dropped);
        counters.stale_links_refused.set(self.stale_links_refused);
        counters.heartbeats_sent.set(self.heartbeats_sent);
        counters.heartbeats_received.set(self.heartbeats_received);
        counters.peers_suspected.set(self.peers_suspected);
        counters.transfers_expired.set(self.transfers_expired);
        counters.grants_missed.set(self.grants_missed);
        counters.payloads_waiting.set(self.shortage.waiting());
        counters.payload_waits.set(self.shortage.waited());
        counters.payload_waits_expired.set(self.shortage.expired());
    }
}

/// Whose turn the payloads of a workflow take: what has no compartment here any more takes one together.
fn owner_of(compartment: Option<Compartment>) -> u64 {
    compartment.unwrap_or(Compartment::FIRST).index() as u64
}

/// What a lane of a peer tells of a placement goes to the core.
fn hear_load(core: &mut Core, party: &Party, deployment: DeploymentId, load: Option<Load>) {
    if let (Party::In { worker, lane }, Some(load)) = (party, load) {
        core.hear_load(deployment, worker_hash(worker), *lane, load);
    }
}

/// The core, for a link that asks it what to take in.
struct AtDoor<'a> {
    core: &'a Core,
    compartments: &'a Compartments,
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

#[cfg(test)]
mod tests;
