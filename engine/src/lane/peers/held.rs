//! Messages that a link has no room for at the moment.
//!
//! It owns them until there is some, or their link is lost. It promises their order: by link those with payloads that are
//! streamed, and by deployment all, so that of an invocation nothing comes before what it follows. A message without such
//! payloads waits for none of another deployment, as long as the link takes frames.
//!
//! **Why all of them end.** Room comes back as the peer takes what was sent and grants what waits for that; a link of which the
//! other side does neither ends by [`silence`](super::silence), and those held back for it with it. What is held back is bounded by what is in flight:
//! each payload of it lies where it lay, and counts for its workflow.

use super::bodies::body_bytes;
use super::{ConnectionId, Parts, Peers};
use crate::core::{Outbound, Outgoing, Send};
use crate::plan::DeploymentId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Of one link.
#[derive(Debug, Default)]
pub(super) struct Held {
    sends: VecDeque<Send>,
    /// How many there are of each deployment.
    of: FxHashMap<DeploymentId, usize>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    fn push(&mut self, send: Send) {
        *self.of.entry(send.deployment).or_default() += 1;
        self.sends.push_back(send);
    }

    /// The first, if the link has room for it.
    fn pop_if(&mut self, has_room: impl FnOnce(&Send) -> bool) -> Option<Send> {
        if !self.sends.front().is_some_and(has_room) {
            return None;
        }
        let send = self.sends.pop_front()?;
        if let Some(count) = self.of.get_mut(&send.deployment) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&send.deployment);
            }
        }
        Some(send)
    }

    /// All that is held back.
    pub(super) fn into_sends(self) -> impl Iterator<Item = Send> {
        self.sends.into_iter()
    }
}

impl Peers {
    /// Takes a message that has to wait; gives back one that may be sent now.
    pub(super) fn hold_back(&mut self, id: ConnectionId, send: Send) -> Option<Send> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Some(send);
        };
        let (held, link) = (&mut connection.held, &connection.link);
        if held.is_empty() && link.has_room(payloads(&send).len()) {
            return Some(send);
        }
        let inline = inline_bytes_max(&self.inline_bytes_max, &send);
        let streamed = streamed(&send, inline);
        let waits = match streamed {
            0 => held.of.contains_key(&send.deployment),
            _ => !held.is_empty(),
        };
        if !waits && link.has_room(streamed) {
            return Some(send);
        }
        held.push(send);
        self.messages_held += 1;
        None
    }

    /// Sends what was held back and has room now.
    pub(super) fn send_held(&mut self, id: ConnectionId, parts: &mut Parts<'_>) {
        while let Some(connection) = self.connections.get_mut(&id)
            && !connection.closing
        {
            let (held, link) = (&mut connection.held, &connection.link);
            let inline = &self.inline_bytes_max;
            let has_room =
                |send: &Send| link.has_room(streamed(send, inline_bytes_max(inline, send)));
            let Some(send) = held.pop_if(has_room) else {
                return;
            };
            self.send_by(id, send, parts);
        }
    }
}

fn inline_bytes_max(known: &FxHashMap<DeploymentId, u64>, send: &Send) -> u64 {
    known.get(&send.deployment).copied().unwrap_or(0)
}

fn payloads(send: &Send) -> &[(u16, Outgoing)] {
    match &send.body {
        Outbound::Begin { inputs: held, .. }
        | Outbound::StateEvent { outputs: held, .. }
        | Outbound::PartDone { outputs: held, .. } => held,
        Outbound::PartFailed { .. } | Outbound::Forget { .. } | Outbound::Drained => &[],
    }
}

/// How many of a message's payloads are streamed, unless they are lent.
fn streamed(send: &Send, inline_bytes_max: u64) -> usize {
    let is_streamed = |(_, outgoing): &&(u16, Outgoing)| body_bytes(outgoing) > inline_bytes_max;
    payloads(send).iter().filter(is_streamed).count()
}
