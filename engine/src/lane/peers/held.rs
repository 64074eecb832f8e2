//! Messages that a link has no room for at the moment.
//!
//! It owns them until there is some, or their link is lost. It promises that no message overtakes, of those held back for its link,
//!
//! - one of its deployment, so that nothing of an invocation comes before what it follows;
//! - one with payloads that are streamed, if it has such itself: else what is large would wait for ever;
//! - a [`Begin`](Outbound::Begin) or [`Forget`](Outbound::Forget), if it is one itself: beginnings come in the order of their numbers,
//!   whatever they are of.
//!
//! Any other message goes as long as the link takes frames.
//!
//! **Why all of them end.** Room comes back as the peer takes what was sent and grants what waits for that; a link of which the
//! other side does neither ends by [`silence`](super::silence), and those held back for it with it. **What they take.** Each payload lies
//! where it lay and counts for its workflow; with a `Forget` all that is held back of its invocation goes, and what is left of that is
//! the word itself.

use super::bodies::body_bytes;
use super::{ConnectionId, Parts, Peers};
use crate::core::{Core, Outbound, Outgoing, Send};
use crate::lane::link::Link;
use crate::plan::DeploymentId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// So many of those held back are looked at for one that may go.
const LOOKED_AT_MAX: usize = 64;

/// One message.
#[derive(Debug)]
struct One {
    send: Send,
    /// How many of its payloads are streamed, unless they are lent.
    streamed: usize,
}

/// Of one link.
#[derive(Debug, Default)]
pub(super) struct Held {
    all: VecDeque<One>,
    ahead: Ahead,
}

/// What some messages hold up: how many of them there are of each kind.
#[derive(Debug, Default)]
struct Ahead {
    of: FxHashMap<DeploymentId, usize>,
    streamed: usize,
    in_order: usize,
}

impl One {
    /// Whether it comes in the order of numbers, whatever it is of.
    const fn is_in_order(&self) -> bool {
        matches!(
            self.send.body,
            Outbound::Begin { .. } | Outbound::Forget { .. }
        )
    }
}

impl Ahead {
    fn add(&mut self, one: &One) {
        *self.of.entry(one.send.deployment).or_default() += 1;
        self.streamed += usize::from(one.streamed > 0);
        self.in_order += usize::from(one.is_in_order());
    }

    fn remove(&mut self, one: &One) {
        if let Some(count) = self.of.get_mut(&one.send.deployment) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&one.send.deployment);
            }
        }
        self.streamed -= usize::from(one.streamed > 0);
        self.in_order -= usize::from(one.is_in_order());
    }

    fn hold_up(&self, one: &One) -> bool {
        (one.streamed > 0 && self.streamed > 0)
            || (one.is_in_order() && self.in_order > 0)
            || self.of.contains_key(&one.send.deployment)
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn push(&mut self, one: One) {
        self.ahead.add(&one);
        self.all.push_back(one);
    }

    fn remove(&mut self, place: usize) -> Option<Send> {
        let one = self.all.remove(place)?;
        self.ahead.remove(&one);
        Some(one.send)
    }

    /// The first that may be sent now.
    fn next(&mut self, link: &Link) -> Option<Send> {
        let mut ahead = Ahead::default();
        let place = self.all.iter().take(LOOKED_AT_MAX).position(|one| {
            let goes = !ahead.hold_up(one) && link.has_room(one.streamed);
            if !goes {
                ahead.add(one);
            }
            goes
        })?;
        self.remove(place)
    }

    /// An invocation is over: nobody wants what is held back of it.
    fn forget(&mut self, forgotten: &Send, core: &mut Core) {
        let is_of_it = |one: &One| one.send.invocation == forgotten.invocation;
        while let Some(place) = self.all.iter().position(is_of_it) {
            if let Some(send) = self.remove(place) {
                let_go_of(&send, core);
            }
        }
    }

    /// The link is lost.
    pub(super) fn let_go(&mut self, core: &mut Core) {
        for one in std::mem::take(self).all {
            let_go_of(&one.send, core);
        }
    }
}

impl Peers {
    /// Takes a message that has to wait; gives back one that may be sent now.
    pub(super) fn hold_back(
        &mut self,
        id: ConnectionId,
        send: Send,
        core: &mut Core,
    ) -> Option<Send> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Some(send);
        };
        let (held, link) = (&mut connection.held, &connection.link);
        if held.is_empty() && link.has_room(payloads(&send).len()) {
            return Some(send);
        }
        if matches!(send.body, Outbound::Forget { .. }) {
            held.forget(&send, core);
        }
        let inline = self.inline_bytes_max.get(&send.deployment).copied();
        let streamed = streamed(&send, inline.unwrap_or(0));
        let one = One { send, streamed };
        if !held.ahead.hold_up(&one) && link.has_room(streamed) {
            return Some(one.send);
        }
        held.push(one);
        self.messages_held += 1;
        None
    }

    /// Sends what was held back and has room now.
    pub(super) fn send_held(&mut self, id: ConnectionId, parts: &mut Parts<'_>) {
        while let Some(connection) = self.connections.get_mut(&id)
            && !connection.closing
            && let Some(send) = connection.held.next(&connection.link)
        {
            self.send_by(id, send, parts);
        }
    }
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

/// Lets go of what a message held that is not sent.
pub(super) fn let_go_of(send: &Send, core: &mut Core) {
    for (_, outgoing) in payloads(send) {
        core.let_go_all(outgoing.payloads());
    }
}
