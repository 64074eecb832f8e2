//! Messages that a link has no room for at the moment.
//!
//! It owns them until there is some, or their link is lost. It promises that no message overtakes, of those held back for its link,
//!
//! - one of its invocation, so that nothing of it comes before what it follows; nor [`Drained`](Outbound::Drained) any of its
//!   deployment;
//! - one with payloads that are streamed, if it has such itself: else what is large would wait for ever. But a beginning may;
//! - a [`Begin`](Outbound::Begin) or [`Forget`](Outbound::Forget), if it is one itself: beginnings come in the order of their numbers,
//!   whatever they are of.
//!
//! Any other message goes as long as the link takes frames. For a beginning with payloads a link has [more room](Link::has_room) than for
//! others, and one that waits for longer than [`PATIENCE`] fails its invocation by name: another participant may end its part
//! meanwhile, and what it told be lost with a connection of its own, of which nobody would learn.
//!
//! **Why all of them end.** Room comes back as the peer takes what was sent and grants what waits for that; a link of which the
//! other side does neither ends by [`silence`](super::silence), and those held back for it with it. **What they take.** Each payload lies
//! where it lay and counts for its workflow; with a `Forget` all that is held back of its invocation goes, and what is left of that is
//! the word itself.

use super::bodies::body_bytes;
use super::{ConnectionId, Parts, Party, Peers};
use crate::core::{Core, Outbound, Outgoing, Send};
use crate::lane::PATIENCE;
use crate::lane::link::{Link, Streamed};
use crate::plan::DeploymentId;
use faasstore::descriptor::InvocationId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;

/// One message.
#[derive(Debug)]
struct One {
    send: Send,
    /// How many of its payloads are streamed, unless they are lent.
    streamed: usize,
    since_ns: u64,
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
    invocations: FxHashMap<InvocationId, usize>,
    deployments: FxHashMap<DeploymentId, usize>,
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

    /// Whether it waits behind others with payloads that are streamed. A beginning does not: there are no more of these than may be
    /// in flight.
    const fn is_streamed(&self) -> bool {
        self.streamed > 0 && !self.is_beginning()
    }

    const fn is_beginning(&self) -> bool {
        matches!(self.send.body, Outbound::Begin { .. })
    }

    fn finds_room(&self, link: &Link) -> bool {
        link.has_room(Streamed {
            payloads: self.streamed,
            begins: self.is_beginning(),
        })
    }
}

impl Ahead {
    fn add(&mut self, one: &One) {
        *self.invocations.entry(one.send.invocation).or_default() += 1;
        *self.deployments.entry(one.send.deployment).or_default() += 1;
        self.streamed += usize::from(one.is_streamed());
        self.in_order += usize::from(one.is_in_order());
    }

    fn remove(&mut self, one: &One) {
        take_one(&mut self.invocations, one.send.invocation);
        take_one(&mut self.deployments, one.send.deployment);
        self.streamed -= usize::from(one.is_streamed());
        self.in_order -= usize::from(one.is_in_order());
    }

    fn hold_up(&self, one: &One) -> bool {
        let Send {
            invocation,
            deployment,
            body,
            ..
        } = &one.send;
        (one.is_streamed() && self.streamed > 0)
            || (one.is_in_order() && self.in_order > 0)
            || match body {
                Outbound::Drained => self.deployments.contains_key(deployment),
                _ => self.invocations.contains_key(invocation),
            }
    }
}

fn take_one<K: std::hash::Hash + Eq>(counts: &mut FxHashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
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
        // Where all are streamed, only the first can go.
        let looked_at = match self.ahead.streamed == self.all.len() {
            true => 1,
            false => self.all.len(),
        };
        let mut ahead = Ahead::default();
        let place = self.all.iter().take(looked_at).position(|one| {
            let goes = !ahead.hold_up(one) && one.finds_room(link);
            if !goes {
                ahead.add(one);
            }
            goes
        })?;
        self.remove(place)
    }

    /// An invocation is over: nobody wants what is held back of it.
    fn forget(&mut self, forgotten: &Send, core: &mut Core) {
        let invocation = forgotten.invocation;
        let is_of_it = |one: &One| one.send.invocation == invocation;
        while self.ahead.invocations.contains_key(&invocation)
            && let Some(place) = self.all.iter().position(is_of_it)
        {
            if let Some(send) = self.remove(place) {
                let_go_of(&send, core);
            }
        }
    }

    /// Invocations whose beginning has waited for too long.
    fn overdue(&self, now_ns: u64) -> Vec<(DeploymentId, InvocationId)> {
        let waited_ns = |one: &&One| now_ns.saturating_sub(one.since_ns);
        let overdue = self.all.iter().filter(|one| one.is_beginning());
        let overdue = overdue.filter(|one| waited_ns(one) >= PATIENCE.as_nanos() as u64);
        overdue
            .map(|one| (one.send.deployment, one.send.invocation))
            .collect()
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
        parts: &mut Parts<'_>,
    ) -> Option<Send> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Some(send);
        };
        let (held, link) = (&mut connection.held, &connection.link);
        let most = One {
            streamed: payloads(&send).len(),
            send,
            since_ns: parts.now_ns,
        };
        if held.is_empty() && most.finds_room(link) {
            return Some(most.send);
        }
        if matches!(most.send.body, Outbound::Forget { .. }) {
            held.forget(&most.send, parts.core);
        }
        let inline = self.inline_bytes_max.get(&most.send.deployment).copied();
        let one = One {
            streamed: streamed(&most.send, inline.unwrap_or(0)),
            ..most
        };
        if !held.ahead.hold_up(&one) && one.finds_room(link) {
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

    /// Invocations whose beginning has waited for too long for room on this link fail.
    pub(super) fn give_up_beginnings(&self, id: ConnectionId, parts: &mut Parts<'_>) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let Party::Out { worker, .. } = &connection.party else {
            return;
        };
        for (deployment, invocation) in connection.held.overdue(parts.now_ns) {
            let cause = format!(
                "worker {worker} takes less than is sent to it: it could not be told of the invocation within {PATIENCE:?}"
            );
            parts
                .core
                .untold(parts.now_ns, deployment, invocation, cause);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Outcome;

    fn one(body: Outbound, number: u64, streamed: usize) -> One {
        let send = Send {
            worker_hash: 2,
            to_lane: 0,
            invocation: InvocationId::new(1, 1, 0, number),
            deployment: DeploymentId(number % 2),
            body,
        };
        One {
            send,
            streamed,
            since_ns: 0,
        }
    }

    fn event(number: u64, streamed: usize) -> One {
        let body = Outbound::StateEvent {
            node: 0,
            outcome: Outcome::Well,
            outputs: Vec::new(),
        };
        one(body, number, streamed)
    }

    fn begin(number: u64) -> One {
        let wanted = crate::core::Wanted::NOTHING;
        let inputs = Vec::new();
        one(Outbound::Begin { wanted, inputs }, number, 0)
    }

    #[test]
    fn each_is_held_up_by_what_it_must_not_overtake_until_that_has_gone() {
        for (first, behind, passes) in [
            (event(1, 1), event(2, 1), event(2, 0)),
            (begin(1), begin(2), event(2, 0)),
            (event(1, 0), event(1, 0), begin(2)),
            (event(1, 0), one(Outbound::Drained, 3, 0), event(3, 0)),
        ] {
            let mut ahead = Ahead::default();
            ahead.add(&first);
            assert!(ahead.hold_up(&behind), "{behind:?}");
            assert!(!ahead.hold_up(&passes), "{passes:?}");
            ahead.remove(&first);
            assert!(!ahead.hold_up(&behind), "{behind:?}");
        }
    }
}
