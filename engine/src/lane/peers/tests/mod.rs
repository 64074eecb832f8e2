//! Which of a peer's connections count; and a lane of connections for the other tests.

mod held;
mod silence;

use super::*;
use crate::core::{Action, CoreConfig, Incoming, Outbound, Send, Wanted};
use crate::lane::command::{LendingEnd, LinkSockets};
use crate::lane::driver::DriverKind;
use crate::lane::executors::adopt_own_segments;
use crate::lane::executors::lease_own;
use crate::lane::link::MEMORY_WAIT;
use crate::plan::{
    Balance, ExecutablePlan, Limits, NodePlan, Participant, Replica, Trust, Work, WorkerRef,
    WorkflowInput,
};
use crate::trace::ClockId;
use crate::wire::{self, Load};
use faasstore::Cancelled;
use faasstore::arena::ArenaConfig;
use faasstore::binding::Kind;
use faasstore::descriptor::InvocationId;
use faasstore::socket::Socket;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Patience = Patience {
    heartbeat: Duration::from_millis(1),
    peer_silence: Duration::from_millis(3),
    transfer_idle: Duration::from_millis(5),
};
/// Bytes of a payload that is streamed.
const STREAMED: u64 = 100_000;

/// Worker `a` has no nodes, and `b` all of them, which read two inputs.
fn plan() -> Plan {
    let worker = |name: &str| WorkerRef {
        name: name.into(),
        address: format!("{name}:1"),
        lanes: 1,
        epoch: 1,
    };
    let input = |name: &str| WorkflowInput::new(name, Kind::Bytes);
    Plan {
        deployment: DeploymentId(1),
        replica: Replica::only(DeploymentId(1)),
        workflow: "w".into(),
        version: 1,
        me: 0,
        workers: vec![worker("a"), worker("b")],
        inputs: vec![input("x"), input("y")],
        outputs: vec![],
        participants: vec![Participant {
            worker: 1,
            inputs: vec![0, 1],
            sections: Vec::new(),
        }],
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

/// The connections of a lane, and the parts that they work on.
struct Lane {
    peers: Peers,
    core: Core,
    driver: Driver,
    arena: Arena,
    compartments: Compartments,
    segments: Segments,
    /// The other ends of connections for payloads.
    bulks: Vec<UnixStream>,
    requests: u64,
}

impl Lane {
    fn new(limits: LinkLimits) -> Self {
        let mut core = Core::new(CoreConfig {
            worker_hash: worker_hash("a"),
            epoch: 1,
            lane: 0,
            in_flight_max: 10,
            grace_ns: 1_000,
            lease_ns_max: None,
            patience_ns: 1_000,
            keep_alive_ns: 1_000,
            clock: ClockId::UNKNOWN,
            store: crate::core::store::StoreRules::default(),
        });
        core.deploy(plan(), Vec::new());
        core.activate(0, DeploymentId(1));
        let mut peers = Peers::new(limits, PATIENCE);
        peers.know(&plan());
        let mut arena = Arena::new(ArenaConfig {
            name: "peers-test".into(),
            segment_bytes: 1 << 20,
            bytes_max: 16 << 20,
        });
        let mut compartments = Compartments::default();
        let Plan {
            deployment,
            workflow,
            ..
        } = plan();
        compartments.join(deployment, &workflow, Arc::default(), &mut arena);
        Self {
            peers,
            core,
            driver: Driver::new(DriverKind::Epoll).unwrap(),
            arena,
            compartments,
            segments: Segments::default(),
            bulks: Vec::new(),
            requests: 0,
        }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Peers, &mut Parts<'_>) -> T) -> T {
        let mut parts = Parts {
            now_ns: 1,
            core: &mut self.core,
            driver: &mut self.driver,
            arena: &mut self.arena,
            compartments: &self.compartments,
            segments: &mut self.segments,
        };
        work(&mut self.peers, &mut parts)
    }

    fn payload_of(&mut self, bytes: u64) -> Incoming {
        let reservation = self.arena.reserve(bytes).unwrap();
        let range = self.arena.commit(reservation, bytes);
        adopt_own_segments(&mut self.segments, &mut self.arena);
        Incoming::One(lease_own(range, &mut self.segments))
    }

    /// A client invokes: its two inputs are to be streamed to `b`.
    fn invoke(&mut self) {
        self.invoke_with([STREAMED, STREAMED]);
    }

    /// The same, with inputs of so many bytes.
    fn invoke_with(&mut self, [x, y]: [u64; 2]) {
        self.requests += 1;
        let request = self.requests;
        let inputs = [("x", x), ("y", y)];
        let inputs = inputs.map(|(name, bytes)| (name.to_owned(), self.payload_of(bytes)));
        self.core
            .invoke(1, ClientId(1), request, "w", inputs.into(), Wanted::NOTHING);
        self.act();
    }

    /// Sends what the core wants sent, and takes in what the driver has to say.
    fn act(&mut self) {
        let mut completions = Vec::new();
        loop {
            let mut actions = Vec::new();
            self.core.take_actions(&mut actions);
            self.driver.wait(Some(Duration::ZERO), &mut completions);
            if actions.is_empty() && completions.is_empty() {
                return;
            }
            for action in actions {
                if let Action::Send(send) = action {
                    self.with(|peers, parts| peers.send(*send, parts));
                }
            }
            for completion in completions.drain(..) {
                self.with(|peers, parts| peers.on_completion(completion, parts));
            }
        }
    }

    /// `b` can be sent to, in this life of its.
    fn link_out(&mut self, epoch: u32, sockets: LinkSockets, share: Option<LendingEnd>) {
        let number = LinkNumber(1);
        let door = Door {
            worker: "b".into(),
            epoch,
            lane: 0,
        };
        let lost = self.with(|peers, parts| peers.link_out(door, number, sockets, share, parts));
        assert!(lost.is_none(), "{lost:?}");
    }

    fn link_in(&mut self, epoch: u32) -> (UnixStream, bool) {
        let (ours, theirs, bulk) = sockets();
        self.bulks.push(bulk);
        let door = Door {
            worker: "b".into(),
            epoch,
            lane: 0,
        };
        let before = self.peers.stale_links_refused;
        self.with(|peers, parts| peers.link_in(door, 0, LinkNumber(1), ours, parts));
        (theirs, self.peers.stale_links_refused == before)
    }
}

fn socket() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours.into(), theirs)
}

/// The two connections of a link, and their other ends.
fn sockets() -> (LinkSockets, UnixStream, UnixStream) {
    let ((messages, theirs), (bulk, theirs_bulk)) = (socket(), socket());
    (LinkSockets { messages, bulk }, theirs, theirs_bulk)
}

#[test]
fn a_connection_of_an_earlier_life_never_displaces_a_later_one_s() {
    let mut lane = Lane::new(LinkLimits::default());
    let (_later, taken) = lane.link_in(5);
    assert!(taken);
    let current = lane.peers.incoming.clone();
    let (_earlier, taken) = lane.link_in(1);
    assert!(!taken);
    assert_eq!(lane.peers.incoming, current, "the later one stands");
    // Nor when the later one's connection is gone.
    let id = current[&(worker_hash("b"), 0)];
    lane.with(|peers, parts| peers.lose(id, "a test ends it", parts));
    let (_earlier, taken) = lane.link_in(4);
    assert!(!taken);
    let (_again, taken) = lane.link_in(5);
    assert!(taken);
    let (_next, taken) = lane.link_in(6);
    assert!(taken);
}

#[test]
fn the_silence_of_an_earlier_life_is_none_of_a_later_one_s() {
    let key = (worker_hash("b"), 0);
    let mut lane = Lane::new(LinkLimits::default());
    let (_earlier, _) = lane.link_in(1);
    // Its host is gone, so that nobody hears of its end; then it is back, and can be sent to.
    let (ours, _theirs, _bulk) = sockets();
    lane.link_out(2, ours, None);
    assert!(lane.peers.incoming.is_empty());
    let out = lane.peers.out[&key];
    for _ in 0..20 {
        lane.act();
        lane.with(|peers, parts| peers.beat(parts));
    }
    assert_eq!(lane.peers.out.get(&key), Some(&out), "it stands");
    assert_eq!(lane.peers.peers_suspected, 0);
    // One of the same life stays as it is.
    let (_same, _) = lane.link_in(2);
    assert_eq!(lane.peers.out.get(&key), Some(&out));
}

#[test]
fn what_leads_to_an_earlier_life_is_lost_when_a_later_one_connects() {
    let mut lane = Lane::new(LinkLimits::default());
    let (ours, _theirs, _bulk) = sockets();
    lane.link_out(1, ours, None);
    let (_later, taken) = lane.link_in(2);
    assert!(taken);
    assert!(lane.peers.out.is_empty());
    assert_eq!(lane.peers.incoming.len(), 1);
}

#[test]
fn a_peer_that_has_connected_anew_is_told_of_nothing_until_it_has_said_something() {
    let mut lane = Lane::new(LinkLimits::default());
    let (ours, _theirs, _bulk) = sockets();
    lane.link_out(1, ours, None);
    let (_earlier, _) = lane.link_in(1);
    let taken = |lane: &mut Lane| {
        let before = lane.core.in_flight();
        lane.invoke_with([1, 1]);
        lane.core.in_flight() > before
    };
    assert!(taken(&mut lane), "it has prepared the deployment");
    // The first of its new connections is lost before anything is said by it.
    for speaks in [false, true] {
        let id = lane.peers.incoming[&(worker_hash("b"), 0)];
        lane.with(|peers, parts| peers.lose(id, "a test ends it", parts));
        let (mut peer, _) = lane.link_in(1);
        lane.act();
        assert!(!taken(&mut lane), "its lane may not be able to answer yet");
        if speaks {
            let mut heartbeat = Vec::new();
            wire::encode(&silence::said(1), &mut heartbeat);
            peer.write_all(&heartbeat).unwrap();
            lane.act();
            assert!(taken(&mut lane));
        }
    }
}

#[test]
fn a_link_that_cannot_be_taken_over_is_to_be_made_again() {
    let mut lane = Lane::new(LinkLimits::default());
    let file = || OwnedFd::from(tempfile::tempfile().unwrap());
    for broken in [true, false] {
        let (messages, _theirs) = socket();
        // What is no socket is not to be waited for.
        let sockets = match broken {
            true => LinkSockets {
                messages: file(),
                bulk: messages,
            },
            false => LinkSockets {
                messages,
                bulk: file(),
            },
        };
        let door = Door {
            worker: "b".into(),
            epoch: 1,
            lane: 0,
        };
        let lost =
            lane.with(|peers, parts| peers.link_out(door, LinkNumber(7), sockets, None, parts));
        let number = LinkNumber(7);
        assert!(
            matches!(lost, Some(LaneReport::LinkLost { number: of, .. }) if of == number),
            "{lost:?}"
        );
        lane.act();
        assert!(lane.peers.out.is_empty() && lane.peers.connections.is_empty());
    }
}
