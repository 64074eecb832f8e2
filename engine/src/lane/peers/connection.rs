//! One connection of a lane, and its sockets: one to a client, two of a link with a peer, for messages and for payloads.
//!
//! It owns what is outstanding on each socket, and promises one receive and one send at a time there. What they carry is left
//! to the [link](Link).

use super::held::Held;
use super::silence::Hearing;
use super::{ConnectionId, Driver, Party};
use crate::lane::command::LinkNumber;
use crate::lane::link::{Link, Stream};
use crate::lane::segments::ShareId;
use crate::plan::DeploymentId;
use crate::wire::Load;
use tokio::sync::OwnedSemaphorePermit;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) party: Party,
    pub(super) link: Link,
    pub(super) messages: Half,
    /// Of a link with a peer.
    pub(super) bulk: Option<Half>,
    /// Of one with a peer: in which life its worker is.
    pub(super) epoch: u32,
    /// Of one from a peer.
    pub(super) number: Option<LinkNumber>,
    /// Whether anything was said by it.
    pub(super) heard: bool,
    /// What the peer and this lane share beside it.
    pub(super) share: Option<ShareId>,
    pub(super) closing: bool,
    pub(super) hearing: Hearing,
    /// On a link to a peer: what was told last, at a beat, of what there is to do for placements.
    pub(super) told: Vec<(DeploymentId, Load)>,
    /// On a link to a peer: messages that there was no room for.
    pub(super) held: Held,
    /// A client's place among those that may be connected; free when this is dropped.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// One socket of a connection.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) id: ConnectionId,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    pub(super) closed: bool,
}

impl Half {
    pub(super) const fn new(id: ConnectionId) -> Self {
        Self {
            id,
            receiving: false,
            sending: false,
            closed: false,
        }
    }
}

impl Connection {
    pub(super) const fn half(&mut self, stream: Stream) -> Option<&mut Half> {
        match stream {
            Stream::Messages => Some(&mut self.messages),
            Stream::Bulk => self.bulk.as_mut(),
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.messages.sending || self.bulk.as_ref().is_some_and(|bulk| bulk.sending)
    }

    /// Begins to receive wherever something may come.
    pub(super) fn receive(&mut self, driver: &mut Driver) {
        for stream in [Stream::Messages, Stream::Bulk] {
            let may = self.link.may_receive(stream) && !self.closing;
            if let Some(half) = self.half(stream)
                && may
                && !half.receiving
            {
                half.receiving = true;
                let id = half.id;
                driver.receive(id, self.link.next_receive(stream));
            }
        }
    }

    /// Hands what is to be sent there to the driver.
    pub(super) fn send(&mut self, stream: Stream, driver: &mut Driver) {
        if let Some(half) = self.half(stream)
            && !half.sending
        {
            let id = half.id;
            if let Some(buffer) = self.link.next_send(stream) {
                driver.send(id, buffer);
                if let Some(half) = self.half(stream) {
                    half.sending = true;
                }
            }
        }
    }
}
