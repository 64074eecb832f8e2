//! Silence on connections: heartbeats to peers that would hear nothing else, peers of which nothing is heard, and
//! clients and peers that stop in the middle of what they send.
//!
//! A worker that is stopped or cut off closes no connection: its peers learn of it by its silence alone. Each link says
//! something once an interval. A lane that hears nothing by one for the time allowed suspects the lane at its other end,
//! and fences it before anyone acts on that: both connections with it are shut down, what it still sends is not read,
//! and it counts again when it has connected anew.
//!
//! Time is counted in beats of this clock, and beats that were missed are not made up for: a lane that was itself
//! stopped does not take its own absence for that of others.

use super::{ConnectionId, LinkCounters, Parts, Party, Peers, worker_hash};
use crate::core::Core;
use crate::lane::link::MEMORY_WAIT;
use crate::lane::setup::Patience;
use crate::plan::DeploymentId;
use crate::wire::{Heartbeat, Load};
use rustix::net::sockopt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Of the intervals at which a peer says that it speaks, so many must pass before it is suspected, if they are longer
/// than this lane's own patience.
const INTERVALS_MISSED: u64 = 2;
/// Beats that may pass between two words on a link: what was said just after one beat keeps the next from saying more.
const BEATS_BETWEEN_WORDS: u32 = 2;
/// What a peer may claim of its interval at most.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// How long a peer may grant nothing while payloads wait for it. It lets none wait for longer than [`MEMORY_WAIT`], before which
/// others may have waited in vain.
const GRANT_WAIT: Duration = MEMORY_WAIT.saturating_mul(3);

/// How long a client's host may be silent before its kernel is asked whether it is there.
const CLIENT_SILENCE: Duration = Duration::from_secs(15);
/// How often it is asked, and how often in vain.
const CLIENT_PROBE: Duration = Duration::from_secs(5);
const CLIENT_PROBES: u32 = 3;
/// How long what was sent to a client may go without its taking any of it.
const CLIENT_STALL: Duration = Duration::from_secs(30);

/// What was said and heard on a connection by the last beat.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Hearing {
    bytes_in: u64,
    /// Messages and chunks that were sent, a heartbeat of that beat included.
    said: u64,
    /// How long nothing has come, in beats.
    silent_ns: u64,
    /// How often the other side says that it speaks; 0 if it has not said.
    interval_ns: u64,
    /// Grants that had come, if payloads waited for some, and how long none has, in beats.
    grants: Option<u64>,
    ungranted_ns: u64,
}

/// How a connection has tried this lane's patience.
enum Lapse {
    /// A peer says nothing.
    Silent,
    /// Something was begun and does not go on.
    Unfinished,
    /// Payloads wait, and nothing is granted.
    Ungranted,
}

/// The time that [`Peers::beat`] is due if there is nothing to watch.
pub(super) const NEVER_NS: u64 = u64::MAX;

impl Peers {
    /// When [`Peers::beat`] is due.
    #[inline]
    pub(crate) const fn beat_due_ns(&self) -> u64 {
        self.beat_due_ns
    }

    /// Something is to be watched from now on.
    pub(super) fn watch(&mut self, now_ns: u64) {
        if self.beat_due_ns == NEVER_NS {
            self.beat_due_ns = now_ns + nanoseconds(self.patience.heartbeat);
        }
    }

    /// A peer has said how often it speaks.
    pub(super) fn heard_heartbeat(&mut self, id: ConnectionId, interval_ms: u32) {
        self.heartbeats_received += 1;
        if let Some(connection) = self.connections.get_mut(&id) {
            let interval = Duration::from_millis(interval_ms.into()).min(INTERVAL_MAX);
            connection.hearing.interval_ns = nanoseconds(interval);
        }
    }

    /// Says on a link that this lane is there, and what it has to do.
    pub(super) fn say_heartbeat(&mut self, id: ConnectionId, core: &Core) {
        let interval_ms = self.patience.heartbeat.as_millis() as u32 * BEATS_BETWEEN_WORDS;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let loads = loads_for(&connection.party, core);
        let heartbeat = Heartbeat {
            interval_ms,
            loads: loads.clone(),
        };
        // A queue that is full is no silence.
        if connection.link.queue(&heartbeat).is_ok() {
            connection.told = loads;
            connection.hearing.said = said(connection.link.counters());
            self.heartbeats_sent += 1;
            self.dirty.push(id);
        }
    }

    /// Looks at all connections, once an interval while there is anything to watch: says something on silent links, and
    /// gives up those that have been silent for too long.
    pub(crate) fn beat(&mut self, parts: &mut Parts<'_>) {
        let Patience {
            heartbeat,
            peer_silence,
            transfer_idle,
        } = self.patience;
        let (mut watched, mut to_say, mut lapsed) = (false, Vec::new(), Vec::new());
        let mut holding = Vec::new();
        for (id, connection) in &mut self.connections {
            if connection.closing {
                continue;
            }
            let counters = connection.link.counters();
            let (bytes_in, said) = (counters.bytes_received, said(counters));
            let sending = connection.is_sending();
            let hearing = &mut connection.hearing;
            let spoke = std::mem::replace(&mut hearing.said, said) != said;
            let heard = std::mem::replace(&mut hearing.bytes_in, bytes_in) != bytes_in;
            hearing.silent_ns = if heard {
                0
            } else {
                hearing.silent_ns + nanoseconds(heartbeat)
            };
            let silent_ns_max =
                nanoseconds(peer_silence).max(INTERVALS_MISSED * hearing.interval_ns);
            let unfinished = connection.link.is_unfinished();
            connection.link.hurry_grants();
            if connection.link.has_news() {
                self.dirty.push(*id);
            }
            let holds = !connection.held.is_empty();
            if holds {
                holding.push(*id);
            }
            let grants = connection.link.waits_for_grants(holds);
            let waited = std::mem::replace(&mut hearing.grants, grants) == grants;
            hearing.ungranted_ns = match grants {
                Some(_) if waited => hearing.ungranted_ns + nanoseconds(heartbeat),
                _ => 0,
            };
            match connection.party {
                Party::Out { .. } if hearing.ungranted_ns >= nanoseconds(GRANT_WAIT) => {
                    lapsed.push((*id, Lapse::Ungranted));
                }
                Party::Out { .. } if !spoke && !sending => to_say.push(*id),
                // What is said besides may be of other placements.
                Party::Out { .. }
                    if loads_for(&connection.party, parts.core) != connection.told =>
                {
                    to_say.push(*id);
                }
                Party::In { .. } if hearing.silent_ns >= silent_ns_max => {
                    lapsed.push((*id, Lapse::Silent));
                }
                _ if unfinished && hearing.silent_ns >= nanoseconds(transfer_idle) => {
                    lapsed.push((*id, Lapse::Unfinished));
                }
                Party::Out { .. } | Party::In { .. } | Party::Client(_) => {}
            }
            watched |= unfinished || !matches!(connection.party, Party::Client(_));
        }
        watched |= self.beat_shares(parts);
        self.beat_due_ns = if watched {
            parts.now_ns + nanoseconds(heartbeat)
        } else {
            NEVER_NS
        };
        self.give_up_waiting(nanoseconds(heartbeat), None, parts);
        for id in holding {
            self.give_up_beginnings(id, parts);
        }
        for id in to_say {
            self.say_heartbeat(id, parts.core);
        }
        for (id, lapse) in lapsed {
            self.give_up(id, &lapse, parts);
        }
    }

    fn give_up(&mut self, id: ConnectionId, lapse: &Lapse, parts: &mut Parts<'_>) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let silent = Duration::from_nanos(connection.hearing.silent_ns);
        match (lapse, connection.party.clone()) {
            (Lapse::Silent, Party::In { worker, lane }) => {
                self.peers_suspected += 1;
                let cause = format!(
                    "nothing was heard of it for {silent:?}, so it is taken to be stopped or cut off"
                );
                self.lose(id, &cause, parts);
                if let Some(out) = self.out.get(&(worker_hash(&worker), lane)).copied() {
                    self.lose(out, &cause, parts);
                }
            }
            (Lapse::Ungranted, _) => {
                self.grants_missed += 1;
                let waited = Duration::from_nanos(connection.hearing.ungranted_ns);
                let cause = format!("it has granted nothing for {waited:?} while payloads wait");
                self.lose(id, &cause, parts);
            }
            _ => {
                self.transfers_expired += 1;
                let cause = format!("it stopped in the middle of what it sent, {silent:?} ago");
                self.lose(id, &cause, parts);
            }
        }
    }

    /// Has the kernel notice a peer or client whose host is gone, or that takes nothing. Nothing but TCP knows of this.
    pub(super) fn set_timeouts(&self, party: &Party, socket: &OwnedFd) {
        let socket = socket.as_fd();
        let done = match party {
            Party::Client(_) => sockopt::set_socket_keepalive(socket, true)
                .and_then(|()| sockopt::set_tcp_keepidle(socket, CLIENT_SILENCE))
                .and_then(|()| sockopt::set_tcp_keepintvl(socket, CLIENT_PROBE))
                .and_then(|()| sockopt::set_tcp_keepcnt(socket, CLIENT_PROBES))
                .and_then(|()| {
                    sockopt::set_tcp_user_timeout(socket, CLIENT_STALL.as_millis() as u32)
                }),
            Party::Out { .. } | Party::In { .. } => {
                let silence_ms = self.patience.peer_silence.as_millis() as u32;
                sockopt::set_tcp_user_timeout(socket, silence_ms)
            }
        };
        if let Err(error) = done {
            tracing::debug!(?party, %error, "a connection has the kernel's own timeouts");
        }
    }
}

/// What a peer's lane is to be told of placements.
fn loads_for(party: &Party, core: &Core) -> Vec<(DeploymentId, Load)> {
    match party {
        Party::Out { worker, lane, .. } => core.loads_for(worker_hash(worker), *lane),
        Party::In { .. } | Party::Client(_) => Vec::new(),
    }
}

const fn said(counters: &LinkCounters) -> u64 {
    counters.messages_queued + counters.chunks_sent
}

const fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}
