//! Links: the connections that this worker makes to its peers' lanes, shared by all deployments that need them.
//!
//! A link is one-way: made by the sender, for one lane here and one there. It is two connections, one for messages and one
//! for payloads, which stand and fall together. It is kept by peer and pair of lanes. While
//! a deployment needs it, a broken link is made again, with growing pauses; what was in flight on it is the lanes'
//! matter. This file greets as the caller; the peer's control thread answers.
//!
//! A connection that is made takes the place of the one before, at both ends. So one task at a time makes a link
//! ([`Links::maker`]), having looked whether it stands; and each is numbered, so that the word of a lane that an earlier
//! one is lost is not taken for the loss of that which has followed it.

use crate::greeting::{self, ClusterKey, GreetingError, HostProofs};
use crate::lane::command::{LendingEnd, LinkNumber, LinkSockets};
use crate::plan::{DeploymentId, Plan, WorkerIndex};
use crate::status::{Driver, LinkStatus};
use crate::wire::{
    self, Challenge, FrameKind, GREETING_BYTES_MAX, Refused, Role, Welcome, WireError,
};
use crate::worker::control_io::{Connection, EndSignal, FrameError, ReadFrame};
use crate::worker::sharing::{HostDoor, Unshared};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;

/// How long a peer may take for each step of a greeting.
const STEP_TIME_MAX: Duration = Duration::from_secs(3);
/// First pause before a broken link is made again.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause before a broken link is made again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pause before the next try, after this many have failed.
#[must_use]
pub fn retry_pause(failures: u32) -> Duration {
    RETRY_PAUSE_MIN
        .saturating_mul(1 << failures.min(16))
        .min(RETRY_PAUSE_MAX)
}

/// Which link.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkKey {
    /// The peer's name.
    pub worker: String,
    /// The lane here.
    pub from_lane: u8,
    /// The lane there.
    pub to_lane: u8,
}

/// Why a link could not be made.
#[derive(Debug, Error)]
pub enum LinkError {
    /// No one there, or not in time.
    #[error("worker {worker} cannot be reached at {address}: {source}")]
    Unreachable {
        /// Which peer.
        worker: String,
        /// Where.
        address: String,
        /// Why.
        source: FrameError,
    },
    /// Someone else is there.
    #[error("at {address} is worker {found}, where {worker} is expected")]
    Other {
        /// Which peer was expected.
        worker: String,
        /// Where.
        address: String,
        /// Who is there.
        found: String,
    },
    /// It does not take us.
    #[error("worker {worker} at {address} refused the link: {reason}")]
    Refused {
        /// Which peer.
        worker: String,
        /// Where.
        address: String,
        /// In its words.
        reason: String,
    },
    /// It is not to be believed.
    #[error("no link to worker {worker}: {source}")]
    Greeting {
        /// Which peer.
        worker: String,
        /// Why.
        source: GreetingError,
    },
}

/// The links that lanes here need so that invocations of this plan can cross to each peer, with the peers' addresses.
///
/// An invocation that lane `e` of any worker took lives on lane `e % lanes` of each. Workers of which neither has
/// nodes share no invocation. The plan must have passed [`Plan::check`].
#[must_use]
pub fn needed(plan: &Plan) -> BTreeMap<LinkKey, String> {
    let takes_part =
        |worker: WorkerIndex| plan.participants.iter().any(|part| part.worker == worker);
    let lanes_here = plan.workers[usize::from(plan.me)].lanes;
    let entry_lanes = plan
        .workers
        .iter()
        .map(|worker| worker.lanes)
        .max()
        .unwrap_or(0);
    let mut links = BTreeMap::new();
    for (index, peer) in plan.workers.iter().enumerate() {
        let index = index as WorkerIndex;
        if index == plan.me || !(takes_part(plan.me) || takes_part(index)) {
            continue;
        }
        for entry_lane in 0..entry_lanes {
            let (from_lane, to_lane) = (entry_lane % lanes_here, entry_lane % peer.lanes);
            let key = LinkKey {
                worker: peer.name.clone(),
                from_lane,
                to_lane,
            };
            links.insert(key, peer.address.clone());
        }
    }
    links
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// By which driver.
    pub driver: Driver,
    /// The cluster's key.
    pub key: ClusterKey,
    /// This worker's name.
    pub name: String,
    /// This worker's restart epoch.
    pub epoch: u32,
    /// Ends every wait.
    pub end: EndSignal,
    /// By what memory is shared with workers on this host.
    pub host_door: Option<Rc<HostDoor>>,
    /// Why it is not, if it is not.
    pub unshared: String,
}

/// A connection that was greeted.
#[derive(Debug)]
pub struct Greeted {
    /// Its descriptor.
    pub socket: OwnedFd,
    /// In which life the worker is.
    pub epoch: u32,
    /// If the worker is on this host and may share memory: the name of its socket, and what proves to belong to this connection.
    host: Option<(String, HostProofs)>,
}

/// A link that was made.
#[derive(Debug)]
pub struct Made {
    /// Its descriptors.
    pub sockets: LinkSockets,
    /// The peer's restart epoch.
    pub epoch: u32,
    /// By what memory is lent to the peer, or why it is not.
    pub share: Result<LendingEnd, Unshared>,
}

impl Caller {
    /// Makes a link, and what is shared beside it if the peer is on this host. `next_sequence` is as in [`Role::Peer`], and `bulk`
    /// from [`Links::next_bulk`].
    ///
    /// # Errors
    /// A [`LinkError`] that names the peer.
    pub async fn connect(
        &self,
        link: &LinkKey,
        address: &str,
        next_sequence: u64,
        bulk: u64,
    ) -> Result<Made, LinkError> {
        let (from_lane, to_lane) = (link.from_lane, link.to_lane);
        let role = Role::Bulk {
            worker: self.name.clone(),
            epoch: self.epoch,
            from_lane,
            to_lane,
            bulk,
        };
        let payloads = self.greet(&link.worker, address, role).await?.socket;
        let host = self.host_door.as_deref().map(HostDoor::token);
        let role = Role::Peer {
            worker: self.name.clone(),
            epoch: self.epoch,
            from_lane,
            to_lane,
            next_sequence,
            bulk,
            host,
        };
        let Greeted {
            socket,
            epoch,
            host,
        } = self.greet(&link.worker, address, role).await?;
        let share = match (host, &self.host_door) {
            (Some((name, proofs)), Some(door)) => door.connect(&name, &proofs).await,
            (None, Some(_)) => Err(Unshared::Apart),
            (_, None) => Err(Unshared::Ended(self.unshared.clone())),
        };
        let sockets = LinkSockets {
            messages: socket,
            bulk: payloads,
        };
        Ok(Made {
            sockets,
            epoch,
            share,
        })
    }

    /// Connects to a worker by its name and address, in a role.
    ///
    /// # Errors
    /// A [`LinkError`] that names the peer.
    pub async fn greet(
        &self,
        worker: &str,
        address: &str,
        role: Role,
    ) -> Result<Greeted, LinkError> {
        let unreachable = |source: FrameError| LinkError::Unreachable {
            worker: worker.to_owned(),
            address: address.to_owned(),
            source,
        };
        let untrusted = |source| LinkError::Greeting {
            worker: worker.to_owned(),
            source,
        };
        let unreadable = |error: WireError| unreachable(error.into());
        let mut connection = Connection::connect(self.driver, address, STEP_TIME_MAX, &self.end)
            .await
            .map_err(unreachable)?;

        let frame = connection
            .read_frame(GREETING_BYTES_MAX, STEP_TIME_MAX)
            .await
            .map_err(unreachable)?;
        let body = expect(FrameKind::Challenge, worker, address, frame)?;
        let challenge: Challenge = wire::decode(&body).map_err(unreadable)?;
        if challenge.worker != worker {
            return Err(LinkError::Other {
                worker: worker.to_owned(),
                address: address.to_owned(),
                found: challenge.worker,
            });
        }
        let (hello, expectation) =
            greeting::answer(&self.key, &challenge, role).map_err(untrusted)?;
        let mut bytes = Vec::new();
        wire::encode(&hello, &mut bytes);
        connection
            .write(bytes, STEP_TIME_MAX)
            .await
            .map_err(unreachable)?;

        let frame = connection
            .read_frame(GREETING_BYTES_MAX, STEP_TIME_MAX)
            .await
            .map_err(unreachable)?;
        let body = expect(FrameKind::Welcome, worker, address, frame)?;
        let welcome: Welcome = wire::decode(&body).map_err(unreadable)?;
        expectation.check(&welcome).map_err(untrusted)?;
        let socket = connection
            .into_descriptor()
            .map_err(|error| unreachable(error.into()))?;
        Ok(Greeted {
            socket,
            epoch: welcome.epoch,
            host: welcome.socket.map(|name| (name, expectation.host_proofs())),
        })
    }
}

/// The body of the frame that should come next, unless it is a refusal.
fn expect(
    kind: FrameKind,
    worker: &str,
    address: &str,
    frame: ReadFrame,
) -> Result<Vec<u8>, LinkError> {
    let (worker, address) = (worker.to_owned(), address.to_owned());
    let error = match frame.kind {
        found if found == kind => return Ok(frame.body),
        FrameKind::Refused => match wire::decode::<Refused>(&frame.body) {
            Ok(Refused { reason }) => {
                return Err(LinkError::Refused {
                    worker,
                    address,
                    reason,
                });
            }
            Err(error) => error,
        },
        found => WireError::Unexpected(found),
    };
    Err(LinkError::Unreachable {
        worker,
        address,
        source: error.into(),
    })
}

/// What is known of the links that exist or should.
#[derive(Debug, Default)]
pub struct Links {
    known: BTreeMap<LinkKey, Link>,
    /// Held by whoever makes a link.
    makers: BTreeMap<LinkKey, Rc<Mutex<()>>>,
    made: u64,
    bulks: u64,
}

#[derive(Debug, Default)]
struct Link {
    address: String,
    /// Its connection, if it stands.
    up: Option<LinkNumber>,
    /// Why memory is not shared beside that, if it is not.
    unshared: Option<String>,
    users: BTreeSet<DeploymentId>,
}

impl Links {
    /// To be held while a link is made, from the look whether it stands to [`Links::made`].
    #[must_use]
    pub fn maker(&mut self, key: &LinkKey) -> Rc<Mutex<()>> {
        // Those that nobody holds or waits for are of no use.
        self.makers.retain(|_, maker| Rc::strong_count(maker) > 1);
        Rc::clone(self.makers.entry(key.clone()).or_default())
    }

    /// A number for the connection of a link that is for payloads.
    pub fn next_bulk(&mut self) -> u64 {
        self.bulks += 1;
        self.bulks
    }

    /// Whether a link stands.
    #[must_use]
    pub fn stands(&self, key: &LinkKey) -> bool {
        self.known.get(key).is_some_and(|link| link.up.is_some())
    }

    /// From now on this deployment needs these links.
    pub fn adopt(&mut self, deployment: DeploymentId, needed: BTreeMap<LinkKey, String>) {
        for (key, address) in needed {
            let link = self.known.entry(key).or_default();
            // A peer that moved is found at its new place from now on.
            link.address = address;
            link.users.insert(deployment);
        }
    }

    /// This deployment needs no links any more. Those that stand are kept, for the next one.
    pub fn release(&mut self, deployment: DeploymentId) {
        self.known.retain(|_, link| {
            link.users.remove(&deployment);
            link.up.is_some() || !link.users.is_empty()
        });
    }

    /// A connection of a link broke: whether the link must be made again. Not if another connection has taken its
    /// place.
    pub fn broke(&mut self, key: &LinkKey, number: LinkNumber) -> bool {
        let Some(link) = self.known.get_mut(key) else {
            return false;
        };
        if link.up != Some(number) {
            return false;
        }
        link.up = None;
        if link.users.is_empty() {
            self.known.remove(key);
            return false;
        }
        true
    }

    /// Where to make a broken link again, if anyone still needs it.
    #[must_use]
    pub fn wanted(&self, key: &LinkKey) -> Option<String> {
        let link = self.known.get(key)?;
        (link.up.is_none() && !link.users.is_empty()).then(|| link.address.clone())
    }

    /// A link was made and stands; its connection's number. It is kept even if nobody needs it any more, as those are
    /// that stand when their last deployment goes. `unshared` says why memory is not shared beside it, if it is not.
    pub fn made(&mut self, key: &LinkKey, unshared: Option<String>) -> LinkNumber {
        self.made += 1;
        let number = LinkNumber(self.made);
        let link = self.known.entry(key.clone()).or_default();
        (link.up, link.unshared) = (Some(number), unshared);
        number
    }

    /// Memory is not shared any more beside a connection of a link.
    pub fn unshared(&mut self, key: &LinkKey, number: LinkNumber, reason: String) {
        let link = self.known.get_mut(key);
        if let Some(link) = link.filter(|link| link.up == Some(number)) {
            link.unshared = Some(reason);
        }
    }

    /// What is to be told of all links, by peer and lanes.
    #[must_use]
    pub fn status(&self) -> Vec<LinkStatus> {
        let status = |(key, link): (&LinkKey, &Link)| {
            let connected = link.up.is_some();
            let unshared = match (connected, &link.unshared) {
                (false, _) => Some("it is not connected".to_owned()),
                (true, unshared) => unshared.clone(),
            };
            LinkStatus {
                worker: key.worker.clone(),
                from_lane: key.from_lane,
                to_lane: key.to_lane,
                address: link.address.clone(),
                connected,
                shares_memory: unshared.is_none(),
                unshared,
            }
        };
        self.known.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Limits, Participant, Replica, WorkerRef};

    fn plan(lanes: [u8; 3], participants: &[WorkerIndex]) -> Plan {
        let workers = ["a", "b", "c"].into_iter().zip(lanes);
        Plan {
            deployment: DeploymentId(1),
            replica: Replica::only(DeploymentId(1)),
            workflow: "w".into(),
            version: 1,
            me: 0,
            workers: workers
                .map(|(name, lanes)| WorkerRef {
                    name: name.into(),
                    address: format!("{name}:1"),
                    lanes,
                    epoch: 1,
                })
                .collect(),
            inputs: vec![],
            outputs: vec![],
            participants: participants
                .iter()
                .map(|&worker| Participant {
                    worker,
                    inputs: vec![],
                    sections: vec![],
                })
                .collect(),
            nodes: vec![],
            remote_nodes: vec![],
            wholes: Vec::new(),
            executables: vec![],
            constants: Vec::new(),
            regions: Vec::new(),
            timeout_ms: None,
            types: Vec::new(),
            maxima: Vec::new(),
            memory: None,
            limits: Limits::default(),
        }
    }

    fn pairs(plan: &Plan, worker: &str) -> Vec<(u8, u8)> {
        needed(plan)
            .keys()
            .filter(|key| key.worker == worker)
            .map(|key| (key.from_lane, key.to_lane))
            .collect()
    }

    #[test]
    fn every_pair_of_lanes_that_shares_an_invocation_is_linked() {
        let plan = plan([2, 3, 1], &[0, 1]);
        // Lanes 0, 1 and 2 may take an invocation (2 only at b): it lives on lane e % 2 here and e % 3 there.
        assert_eq!(pairs(&plan, "b"), [(0, 0), (0, 2), (1, 1)]);
        assert_eq!(pairs(&plan, "c"), [(0, 0), (1, 0)]);
        assert_eq!(pairs(&plan, "a"), []);
    }

    #[test]
    fn workers_that_share_no_invocation_are_not_linked() {
        let plan = plan([1, 1, 1], &[1]);
        assert_eq!(pairs(&plan, "b"), [(0, 0)]);
        assert_eq!(pairs(&plan, "c"), []);
    }

    #[test]
    fn a_broken_link_is_made_again_while_anyone_needs_it() {
        let (needed, key) = (needed(&plan([1, 1, 1], &[0, 1])), link_to_b());
        let mut links = Links::default();
        assert!(!links.stands(&key));
        let first = links.made(&key, None);
        links.adopt(DeploymentId(1), needed.clone());
        links.adopt(DeploymentId(2), needed);
        assert!(links.stands(&key));

        assert!(links.broke(&key, first));
        assert!(
            !links.broke(&key, first),
            "one that is broken already is being made again"
        );
        assert_eq!(links.wanted(&key), Some("b:1".to_owned()));
        let second = links.made(&key, None);
        assert_eq!(links.wanted(&key), None);

        links.release(DeploymentId(1));
        links.release(DeploymentId(2));
        assert!(
            links.stands(&key),
            "what stands is kept for the next deployment"
        );
        assert!(!links.broke(&key, second), "and let go when it breaks");
        assert!(!links.stands(&key));
    }

    #[test]
    fn the_loss_of_a_connection_that_was_replaced_breaks_nothing() {
        let (needed, key) = (needed(&plan([1, 1, 1], &[0, 1])), link_to_b());
        let mut links = Links::default();
        links.adopt(DeploymentId(1), needed);
        let first = links.made(&key, None);
        let second = links.made(&key, None);
        assert!(!links.broke(&key, first), "the lane tells of it late");
        assert_eq!(links.wanted(&key), None, "no third one is made");
        assert!(links.broke(&key, second));
    }

    #[test]
    fn a_link_has_one_maker_at_a_time() {
        let key = link_to_b();
        let mut links = Links::default();
        let (first, second) = (links.maker(&key), links.maker(&key));
        let held = first.try_lock().expect("nobody else makes it");
        assert!(second.try_lock().is_err());
        drop(held);
        assert!(second.try_lock().is_ok());
        drop((first, second));
        let other = LinkKey {
            from_lane: 1,
            ..key
        };
        let _maker = links.maker(&other);
        assert_eq!(links.makers.len(), 1, "what nobody holds is not kept");
    }

    fn link_to_b() -> LinkKey {
        LinkKey {
            worker: "b".into(),
            from_lane: 0,
            to_lane: 0,
        }
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!(retry_pause(0), RETRY_PAUSE_MIN);
        assert_eq!(retry_pause(1), RETRY_PAUSE_MIN * 2);
        assert_eq!(retry_pause(u32::MAX), RETRY_PAUSE_MAX);
    }
}
