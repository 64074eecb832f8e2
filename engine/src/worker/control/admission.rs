//! Who is let in: greetings, their refusals, and where connections go that are let in.
//!
//! It owns the judgement of a greeting, and what [`super`] promises of strangers rests on it.

use super::{CONTROLS_MAX, Control, GREETING_TIME_MAX, PARTING_TIME_MAX, frame};
use crate::greeting::{GreetingError, HostProofs, WORKER_NAME_BYTES_MAX};
use crate::lane::command::{Door, LaneCommand, LinkNumber, LinkSockets};
use crate::wire::{Challenge, FrameKind, GREETING_BYTES_MAX, Hello, Refused, Role, WireError};
use crate::worker::bulks::bulk_of;
use crate::worker::config::is_plain_name;
use crate::worker::control_io::{Connection, FrameError};
use crate::worker::sharing;
use crate::worker::state::is_epoch;
use crate::{greeting, wire};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Peers whose lives are remembered, gone ones included.
const PEERS_MAX: usize = 1 << 16;

/// Why a caller was refused. What it says goes to the caller.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Greeting(#[from] GreetingError),
    #[error("{0}")]
    Frame(#[from] WireError),
    #[error("this worker has {lanes} lanes, and no lane {lane}")]
    Lane { lane: u8, lanes: usize },
    #[error("this worker is named {0} too: names must be unique in a cluster")]
    Namesake(String),
    #[error(
        "a peer says that its name is {0:?} and its restart epoch {1}, which no worker's can be: use programs of one \
         release"
    )]
    NoWorker(String, u32),
    #[error(
        "this is worker {worker} with restart epoch {epoch}, but {seen} was seen here: its state folder was lost or \
         replaced; give it a new --name"
    )]
    EarlierLife {
        worker: String,
        epoch: u32,
        seen: u32,
    },
    #[error(
        "a link of worker {0} came before its connection for payloads, or too long after it: make both anew"
    )]
    NoBulk(String),
    #[error(
        "more than {PEERS_MAX} peers have connected to this worker; restart it to forget those that are gone"
    )]
    Peers,
    #[error(
        "{limit} clients are connected to each lane of this worker already, which is the limit; close some, or raise \
         --clients-max"
    )]
    Clients { limit: u32 },
    #[error("{CONTROLS_MAX} control connections are open already; close some")]
    Crowded,
    #[error("it takes part in another measurement: try again when that has ended")]
    Measuring,
}

/// Who was let in.
pub(super) enum Caller {
    /// A client, to which lane, with its place there.
    Client {
        lane: usize,
        place: OwnedSemaphorePermit,
    },
    /// A worker that measures the link to this one, with its place.
    Measurer {
        worker: String,
        place: OwnedSemaphorePermit,
    },
    /// A lane of a peer, for payloads.
    Bulk(Role),
    /// A lane of a peer; where memory is to be shared with it, by what to say that its link has a lane.
    Peer {
        role: Role,
        linked: Option<oneshot::Sender<LinkNumber>>,
    },
    /// The master.
    Master,
}

impl Control {
    /// Greets a caller; `None` if it was refused, was too slow, or went away.
    pub(super) async fn greet(&self, mut connection: Connection) -> Option<(Connection, Caller)> {
        let deadline = tokio::time::Instant::now() + GREETING_TIME_MAX;
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        let challenge = greeting::challenge(&self.identity.config.name);
        let challenge = challenge
            .inspect_err(|error| tracing::error!("no one can be greeted: {error}"))
            .ok()?;
        connection.write(frame(&challenge), left()).await.ok()?;
        let outcome = match connection.read_frame(GREETING_BYTES_MAX, left()).await {
            Ok(read) if read.kind == FrameKind::Hello => wire::decode(&read.body)
                .map_err(Refusal::from)
                .and_then(|hello| self.judge(&challenge, hello)),
            Ok(read) => Err(WireError::Unexpected(read.kind).into()),
            Err(FrameError::Wire(error)) => Err(error.into()),
            Err(FrameError::Deadline(_)) => {
                self.counters.greetings_expired.add(1);
                return None;
            }
            // It went away, perhaps to look whether someone listens; that is no one's fault.
            Err(_) => return None,
        };
        let (welcome, caller) = match outcome {
            Ok(welcomed) => welcomed,
            Err(refusal) => {
                self.refuse(connection, &refusal, deadline).await;
                return None;
            }
        };
        connection.write(frame(&welcome), left()).await.ok()?;
        self.counters.greeted.add(1);
        Some((connection, caller))
    }

    fn judge(
        &self,
        challenge: &Challenge,
        hello: Hello,
    ) -> Result<(wire::Welcome, Caller), Refusal> {
        let (key, epoch) = (&self.identity.config.key, self.identity.epoch);
        let socket = match (&hello.role, &self.host_door) {
            (Role::Peer { host, .. }, Some(door)) => door.name_for(*host),
            _ => None,
        };
        let welcome = greeting::admit(key, challenge, &hello, epoch, socket)?;
        match &hello.role {
            Role::Peer { to_lane, .. } | Role::Bulk { to_lane, .. }
                if usize::from(*to_lane) >= self.lanes.len() =>
            {
                Err(Refusal::Lane {
                    lane: *to_lane,
                    lanes: self.lanes.len(),
                })
            }
            Role::Peer { worker, .. } | Role::Bulk { worker, .. } | Role::Measurer { worker }
                if *worker == self.identity.config.name =>
            {
                Err(Refusal::Namesake(worker.clone()))
            }
            // Ids of invocations are made of both, so what no worker has goes no further than this.
            Role::Peer { worker, epoch, .. } | Role::Bulk { worker, epoch, .. }
                if !is_plain_name(worker, WORKER_NAME_BYTES_MAX) || !is_epoch(*epoch) =>
            {
                Err(Refusal::NoWorker(worker.clone(), *epoch))
            }
            Role::Peer { worker, epoch, .. } | Role::Bulk { worker, epoch, .. } => {
                self.is_not_an_earlier_life(worker, *epoch)?;
                let waits = |(key, name)| self.bulks.borrow().has(&key, name);
                if matches!(hello.role, Role::Peer { .. })
                    && !bulk_of(&hello.role).is_some_and(waits)
                {
                    return Err(Refusal::NoBulk(worker.clone()));
                }
                if matches!(hello.role, Role::Bulk { .. }) {
                    return Ok((welcome, Caller::Bulk(hello.role)));
                }
                let linked = welcome.socket.is_some().then(|| {
                    let proofs = HostProofs::of_caller(key, challenge, &hello);
                    self.expect_share(proofs, &hello.role)
                });
                Ok((
                    welcome,
                    Caller::Peer {
                        role: hello.role,
                        linked: linked.flatten(),
                    },
                ))
            }
            Role::Control if self.controls.available_permits() == 0 => Err(Refusal::Crowded),
            Role::Control => Ok((welcome, Caller::Master)),
            Role::Client => {
                let (lane, place) = self.place_for_client()?;
                Ok((welcome, Caller::Client { lane, place }))
            }
            Role::Measurer { worker } => {
                let place = Arc::clone(&self.measuring).try_acquire_owned();
                let place = place.map_err(|_| Refusal::Measuring)?;
                let worker = worker.clone();
                Ok((welcome, Caller::Measurer { worker, place }))
            }
        }
    }

    /// The next lane in turn that may have one more client.
    fn place_for_client(&self) -> Result<(usize, OwnedSemaphorePermit), Refusal> {
        let lanes = self.lanes.len();
        for lane in (0..lanes).map(|turn| (self.next_client_lane.get() + turn) % lanes) {
            if let Ok(place) = Arc::clone(&self.client_places[lane]).try_acquire_owned() {
                self.next_client_lane.set((lane + 1) % lanes);
                return Ok((lane, place));
            }
        }
        let limit = self.identity.config.clients_max;
        Err(Refusal::Clients { limit })
    }

    /// A peer whose epoch is below one that was seen would repeat ids of invocations, and displace the connections of
    /// its own later life.
    fn is_not_an_earlier_life(&self, worker: &str, epoch: u32) -> Result<(), Refusal> {
        let mut epochs = self.peer_epochs.borrow_mut();
        let full = epochs.len() >= PEERS_MAX;
        match epochs.get_mut(worker) {
            Some(seen) if epoch < *seen => {
                return Err(Refusal::EarlierLife {
                    worker: worker.to_owned(),
                    epoch,
                    seen: *seen,
                });
            }
            Some(seen) => *seen = epoch,
            None if full => return Err(Refusal::Peers),
            None => {
                epochs.insert(worker.to_owned(), epoch);
            }
        }
        Ok(())
    }

    /// Says why a caller is refused, within [`PARTING_TIME_MAX`], and `deadline` at the latest.
    pub(super) async fn refuse(
        &self,
        mut connection: Connection,
        refusal: &Refusal,
        deadline: tokio::time::Instant,
    ) {
        let deadline = deadline.min(tokio::time::Instant::now() + PARTING_TIME_MAX);
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        match refusal {
            Refusal::Frame(_) => self.counters.bad_control_frames.add(1),
            Refusal::Clients { .. } => self.counters.clients_refused.add(1),
            Refusal::Measuring => self.counters.measurements_refused.add(1),
            _ => self.counters.greetings_refused.add(1),
        }
        tracing::warn!("refused {}: {refusal}", connection.peer());
        let refused = Refused {
            reason: refusal.to_string(),
        };
        if connection.write(frame(&refused), left()).await.is_ok() {
            connection.part(left()).await;
        }
    }

    /// Gives a greeted connection to whom it is for.
    pub(super) async fn admit(self: &Rc<Self>, connection: Connection, caller: Caller) {
        match caller {
            Caller::Client { lane, place } => {
                let command = |socket| LaneCommand::Client { socket, place };
                self.hand_on(connection, lane, command);
            }
            Caller::Measurer { worker, place } => {
                self.answer_measurement(connection, worker, place);
            }
            Caller::Bulk(role) => self.keep_bulk(connection, &role),
            Caller::Peer { role, linked } => self.admit_peer(connection, role, linked),
            Caller::Master => self.serve_master(connection).await,
        }
    }

    /// Keeps a peer's connection for payloads, until the link names it or the time is up.
    fn keep_bulk(self: &Rc<Self>, connection: Connection, role: &Role) {
        let peer = connection.peer();
        let Some((key, name)) = bulk_of(role) else {
            return;
        };
        let socket = match connection.into_descriptor() {
            Ok(socket) => socket,
            Err(error) => {
                self.counters.connections_dropped.add(1);
                return tracing::warn!("cannot keep the connection of {peer}: {error}");
            }
        };
        self.bulks.borrow_mut().keep(key.clone(), name, socket);
        let control = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(GREETING_TIME_MAX).await;
            if control.bulks.borrow_mut().take(&key, name).is_some() {
                control.counters.greetings_expired.add(1);
            }
        });
    }

    /// Gives a peer's two connections to the lane that they are for.
    fn admit_peer(
        &self,
        connection: Connection,
        role: Role,
        linked: Option<oneshot::Sender<LinkNumber>>,
    ) {
        let bulk = bulk_of(&role).and_then(|(key, name)| self.bulks.borrow_mut().take(&key, name));
        let Role::Peer {
            worker,
            epoch,
            from_lane,
            to_lane,
            next_sequence,
            ..
        } = role
        else {
            return debug_assert!(false, "a peer's role is that of one");
        };
        let Some(bulk) = bulk else {
            self.counters.connections_dropped.add(1);
            let peer = connection.peer();
            return tracing::warn!("dropped the link of {peer}: its other half has gone");
        };
        self.links_taken.set(self.links_taken.get() + 1);
        let number = LinkNumber(self.links_taken.get());
        self.hand_on(connection, to_lane.into(), |messages| LaneCommand::LinkIn {
            door: Door {
                worker,
                epoch,
                lane: from_lane,
            },
            next_sequence,
            number,
            sockets: LinkSockets { messages, bulk },
        });
        if let Some(linked) = linked {
            // Nobody waits for it any more if its socket has come to nothing.
            let _ = linked.send(number);
        }
    }

    /// A peer on this host was told of the socket for its link.
    fn expect_share(&self, proofs: HostProofs, role: &Role) -> Option<oneshot::Sender<LinkNumber>> {
        let Role::Peer {
            worker,
            epoch,
            from_lane,
            to_lane,
            ..
        } = role
        else {
            return None;
        };
        let caller = sharing::Caller {
            worker,
            epoch: *epoch,
            from_lane: *from_lane,
            to_lane: *to_lane,
        };
        Some(self.host_door.as_ref()?.expect(proofs, &caller))
    }

    /// Gives a greeted connection to a lane.
    fn hand_on(
        &self,
        connection: Connection,
        lane: usize,
        command: impl FnOnce(OwnedFd) -> LaneCommand,
    ) {
        let peer = connection.peer();
        let socket = match connection.into_descriptor() {
            Ok(socket) => socket,
            Err(error) => {
                self.counters.connections_dropped.add(1);
                return tracing::warn!("cannot hand {peer} to lane {lane}: {error}");
            }
        };
        if self.lanes[lane].try_send(command(socket)).is_err() {
            self.counters.connections_dropped.add(1);
            tracing::warn!(
                "dropped the connection of {peer}: lane {lane} does not keep up with new ones"
            );
        }
    }
}
