//! A lane's connections: links to and from lanes of peers, and clients. Between the core's messages and frames.
//!
//! It owns the [links](super::link), by connection, and the leases of what is being sent. It promises that a message
//! that cannot be sent fails what depended on it at once and by name, that one for which a link has no room yet waits for it, that a
//! payload is held until the kernel has taken its last byte, and that messages are handed to the kernel before payloads are.

mod arriving;
mod bodies;
mod connection;
mod held;
mod messages;
mod opening;
mod outgoing;
mod sharing;
mod silence;
mod waiting;

pub(crate) use sharing::share_of;

use super::command::{Door, LaneReport, LinkNumber};
use super::compartments::Compartments;
use super::driver::{Completion, ConnectionId, Driver};
use super::link::{Inbound, LinkCounters, LinkError, LinkLimits, Room, Shortage, Stream};
use super::segments::Segments;
use super::setup::Patience;
use crate::core::lease::Payload;
use crate::core::{ClientId, Core, worker_hash};
use crate::plan::{DeploymentId, Plan};
use crate::status::LaneCounters;
use arriving::Arriving;
use connection::Connection;
use faasstore::arena::{Arena, Compartment};
use messages::AtDoor;
use rustc_hash::FxHashMap;
use sharing::{Borrowing, Shares};
use silence::NEVER_NS;

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
    messages_held: u64,
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
            messages_held: 0,
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
                        let holds = !connection.held.is_empty();
                        if connection.link.is_unfinished() {
                            self.watch(parts.now_ns);
                        }
                        if !is_client {
                            // It may have granted something, or be granted something.
                            self.dirty.push(id);
                        }
                        if holds {
                            self.send_held(id, parts);
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
                        let holds = !connection.held.is_empty();
                        self.let_go_flushed(parts.core);
                        if holds {
                            self.send_held(id, parts);
                        }
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
                if let (Party::In { worker, lane }, false) =
                    (&party, std::mem::replace(&mut connection.heard, true))
                {
                    parts.core.door_heard(worker, *lane);
                }
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
        connection.held.let_go(parts.core);
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
        counters.messages_held.set(self.messages_held);
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

#[cfg(test)]
mod tests;
