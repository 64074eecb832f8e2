//! How a lane's connections begin: links to peers and from them, and clients; and what a new life of a peer ends.
//!
//! Of two connections with one lane of a peer the one of the later life counts, and within one life the one that came last. How
//! connections end is in [`super`].

use super::connection::{Connection, Half};
use super::held::Held;
use super::silence::Hearing;
use super::{ConnectionId, Door, Parts, Party, Peers};
use crate::core::{ClientId, worker_hash};
use crate::lane::command::{LaneReport, LendingEnd, LinkNumber, LinkSockets};
use crate::lane::link::{Link, LinkRole};
use faasstore::descriptor::InvocationId;
use std::os::fd::OwnedFd;
use tokio::sync::OwnedSemaphorePermit;

impl Peers {
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
        // So that the peer knows from the beginning how often it is to hear of this lane, and that it can be answered from here.
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
            held: Held::default(),
            place: None,
            epoch: 0,
            number: None,
            heard: false,
            share: None,
        };
        connection.receive(parts.driver);
        self.connections.insert(id, connection);
        Some(id)
    }
}
