//! What connections hold when messages cannot be sent, and which of a peer's connections count.

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

    fn payload(&mut self) -> Incoming {
        self.payload_of(STREAMED)
    }

    fn payload_of(&mut self, bytes: u64) -> Incoming {
        let reservation = self.arena.reserve(bytes).unwrap();
        let range = self.arena.commit(reservation, bytes);
        adopt_own_segments(&mut self.segments, &mut self.arena);
        Incoming::One(lease_own(range, &mut self.segments))
    }

    /// A client invokes: its two inputs are to be streamed to `b`.
    fn invoke(&mut self) {
        let inputs = ["x", "y"].map(|name| (name.to_owned(), self.payload()));
        self.core
            .invoke(1, ClientId(1), 1, "w", inputs.into(), Wanted::NOTHING);
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

/// How many of these limits refuse what an invocation has to send to its peer.
fn refused_within(limits: impl Iterator<Item = LinkLimits>) -> usize {
    limits
        .filter(|limits| {
            let mut lane = Lane::new(*limits);
            let (ours, _theirs, _bulk) = sockets();
            lane.link_out(1, ours, None);
            lane.invoke();
            let refused = lane.peers.out.is_empty();
            if refused {
                assert_eq!(lane.core.leases().count(), 0, "{limits:?}");
                assert!(lane.peers.streaming.is_empty(), "{limits:?}");
            }
            refused
        })
        .count()
}

#[test]
fn a_message_that_cannot_be_sent_holds_none_of_its_payloads() {
    let transfers = (0..2).map(|transfers_max| LinkLimits {
        transfers_max,
        ..LinkLimits::default()
    });
    assert_eq!(refused_within(transfers), 2, "the first, and the second");
    let queued = (0..60).map(|step| LinkLimits {
        queued_bytes_max: step * 20,
        ..LinkLimits::default()
    });
    let refused = refused_within(queued);
    assert!(
        refused > 10,
        "payloads, and the message behind them: {refused}"
    );
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

fn said(interval_ms: u32) -> wire::Heartbeat {
    wire::Heartbeat {
        interval_ms,
        loads: Vec::new(),
    }
}

#[test]
fn a_silent_peer_is_suspected_and_one_that_speaks_is_not() {
    let mut lane = Lane::new(LinkLimits::default());
    let (mut peer, _) = lane.link_in(1);
    let mut heartbeat = Vec::new();
    wire::encode(&said(1), &mut heartbeat);
    let beat = |lane: &mut Lane| {
        lane.act();
        lane.with(|peers, parts| peers.beat(parts));
        lane.act();
    };
    for _ in 0..20 {
        peer.write_all(&heartbeat).unwrap();
        beat(&mut lane);
    }
    assert_eq!(lane.peers.heartbeats_received, 20);
    assert_eq!(lane.peers.incoming.len(), 1);
    assert_ne!(lane.peers.beat_due_ns(), NEVER_NS);
    // The first beat finds what came before it, and three more find nothing.
    for _ in 0..3 {
        assert_eq!(lane.peers.peers_suspected, 0);
        beat(&mut lane);
    }
    assert_eq!(lane.peers.peers_suspected, 1);
    assert!(lane.peers.incoming.is_empty());
    assert_eq!(
        peer.write_all(&heartbeat).map_err(|error| error.kind()),
        Err(std::io::ErrorKind::BrokenPipe),
        "what it still sends is not read"
    );
    beat(&mut lane);
    assert_eq!(
        lane.peers.beat_due_ns(),
        NEVER_NS,
        "nothing is to be watched"
    );
    let (_again, taken) = lane.link_in(1);
    assert!(taken, "it counts when it connects anew");
}

#[test]
fn a_peer_that_speaks_seldom_is_waited_for_as_long_as_it_says() {
    let mut lane = Lane::new(LinkLimits::default());
    let (mut peer, _) = lane.link_in(1);
    let mut heartbeat = Vec::new();
    wire::encode(&said(10), &mut heartbeat);
    peer.write_all(&heartbeat).unwrap();
    lane.act();
    for beat in 0..=20 {
        assert_eq!(lane.peers.peers_suspected, 0, "beat {beat}");
        lane.with(|peers, parts| peers.beat(parts));
    }
    assert_eq!(lane.peers.peers_suspected, 1);
}

/// A deployment that goes by load, with placement 1 on `b` and placement 2 on `c`; of further ones, a node here.
fn placement(number: u16, here: bool) -> Plan {
    let mut plan = plan();
    let of = |name: &str| WorkerRef {
        name: name.into(),
        ..plan.workers[0].clone()
    };
    plan.workers = vec![of("a"), of("b"), of("c")];
    for (port, worker) in (1..).zip(&mut plan.workers) {
        worker.address = format!("{}:{port}", worker.name);
    }
    plan.workflow = "by-load".into();
    plan.deployment = DeploymentId(9 + u64::from(number));
    plan.replica = Replica {
        of: DeploymentId(10),
        number,
        count: 2,
        balance: Balance::Load,
    };
    plan.inputs.clear();
    let part = Participant {
        worker: if here { 0 } else { number },
        inputs: Vec::new(),
        sections: Vec::new(),
    };
    plan.participants = vec![part];
    if here {
        plan.executables.push(ExecutablePlan {
            name: "e".into(),
            scale: 2,
            memory_mib: 1,
            trust: Trust::Own,
        });
        plan.nodes.push(NodePlan {
            name: "n".into(),
            work: Work::Function {
                executable: 0,
                function: "f".into(),
                arguments: Vec::new(),
            },
            ..NodePlan::default()
        });
    }
    plan.check().unwrap();
    plan
}

#[test]
fn what_a_peer_tells_of_its_load_at_a_beat_counts_at_the_door() {
    let mut lane = Lane::new(LinkLimits::default());
    for number in [1, 2] {
        lane.core.deploy(placement(number, false), Vec::new());
    }
    lane.core.activate(0, DeploymentId(10));
    let ask = |lane: &mut Lane| {
        let (client, wanted) = (ClientId(1), Wanted::NOTHING);
        lane.core
            .invoke(1, client, 1, "by-load", Vec::new(), wanted)
    };
    let (mut peer, _) = lane.link_in(1);
    let load = Load {
        active: 3,
        executors: 1,
        begun_next: 0,
    };
    let heartbeat = wire::Heartbeat {
        loads: vec![(DeploymentId(10), load)],
        ..said(1)
    };
    let mut frame = Vec::new();
    wire::encode(&heartbeat, &mut frame);
    peer.write_all(&frame).unwrap();
    lane.act();
    // Three are at `b`; as many are given to `c`, and then it is the first one's turn.
    let chosen = [0; 4].map(|_| ask(&mut lane).unwrap().0);
    assert_eq!(chosen, [11, 11, 11, 10]);
}

#[test]
fn a_load_that_has_changed_is_told_at_the_next_beat_whatever_else_was_said() {
    let mut lane = Lane::new(LinkLimits::default());
    lane.core.deploy(placement(1, true), Vec::new());
    let (ours, mut theirs, _bulk) = sockets();
    theirs.set_nonblocking(true).unwrap();
    lane.link_out(1, ours, None);
    let forget = || Send {
        worker_hash: worker_hash("b"),
        to_lane: 0,
        invocation: InvocationId(1),
        deployment: DeploymentId(1),
        body: Outbound::Forget {
            why: Cancelled::ByClient,
        },
    };
    let beat = |lane: &mut Lane| {
        lane.with(|peers, parts| peers.send(forget(), parts));
        lane.with(|peers, parts| peers.beat(parts));
        lane.with(|peers, parts| peers.pump(parts.driver));
        lane.act();
        lane.with(|peers, parts| peers.pump(parts.driver));
        lane.act();
        lane.peers.heartbeats_sent
    };
    assert_eq!(
        beat(&mut lane),
        1,
        "what there is to do was told with the first word"
    );
    // The fourth invocation of a door at `b` begins here, and waits for an executor.
    let id = InvocationId::new(worker_hash("b"), 1, 0, 3);
    let wanted = Wanted::NOTHING;
    lane.core.begin(1, DeploymentId(10), id, wanted, Vec::new());
    assert_eq!((beat(&mut lane), beat(&mut lane)), (2, 2));
    let mut sent = Vec::new();
    let _ = theirs.read_to_end(&mut sent);
    let mut loads = Vec::new();
    while !sent.is_empty() {
        let header = sent[..wire::HEADER_BYTES].try_into().unwrap();
        let header = wire::Header::parse(header, wire::BODY_BYTES_MAX).unwrap();
        let body = &sent[wire::HEADER_BYTES..][..header.length];
        if header.kind == wire::FrameKind::Heartbeat {
            loads.push(wire::decode::<wire::Heartbeat>(body).unwrap().loads);
        }
        sent.drain(..wire::HEADER_BYTES + header.padded_length());
    }
    let told = |active, begun_next| {
        let load = Load {
            active,
            executors: 2,
            begun_next,
        };
        vec![(DeploymentId(10), load)]
    };
    assert_eq!(loads, [told(0, 0), told(1, 4)]);
}

#[test]
fn a_client_may_be_idle_but_not_in_the_middle_of_what_it_sends() {
    let mut lane = Lane::new(LinkLimits::default());
    let (ours, mut client) = socket();
    let places = Arc::new(tokio::sync::Semaphore::new(1));
    let place = places.clone().try_acquire_owned().unwrap();
    lane.with(|peers, parts| peers.client(ours, place, parts));
    lane.act();
    assert_eq!(lane.peers.beat_due_ns(), NEVER_NS, "nothing is watched");
    client.write_all(&wire::MAGIC).unwrap();
    lane.act();
    assert_ne!(lane.peers.beat_due_ns(), NEVER_NS);
    for _ in 0..=5 {
        assert_eq!(lane.peers.transfers_expired, 0);
        lane.with(|peers, parts| peers.beat(parts));
    }
    assert_eq!(lane.peers.transfers_expired, 1);
    assert!(lane.peers.clients.is_empty());
    lane.act();
    assert_eq!(places.available_permits(), 1, "another one may come");
}

#[test]
fn a_link_says_something_at_every_beat_unless_it_has_said_something_since_the_last() {
    let mut lane = Lane::new(LinkLimits::default());
    let (ours, _theirs, _bulk) = sockets();
    lane.link_out(1, ours, None);
    let beat = |lane: &mut Lane| {
        lane.with(|peers, parts| peers.pump(parts.driver));
        lane.act();
        lane.with(|peers, parts| peers.beat(parts));
        lane.peers.heartbeats_sent
    };
    assert_eq!(lane.peers.heartbeats_sent, 1, "the first word on a link");
    assert_eq!(beat(&mut lane), 2);
    assert_eq!(beat(&mut lane), 3);
    let forget = Send {
        worker_hash: worker_hash("b"),
        to_lane: 0,
        invocation: InvocationId(1),
        deployment: DeploymentId(1),
        body: Outbound::Forget {
            why: Cancelled::ByClient,
        },
    };
    lane.with(|peers, parts| peers.send(forget, parts));
    assert_eq!(beat(&mut lane), 3, "something was said");
    assert_eq!(beat(&mut lane), 4);
}

/// Beats of so much time.
fn beats(lane: &mut Lane, time: Duration) {
    for _ in 0..time.as_nanos() / PATIENCE.heartbeat.as_nanos() {
        lane.with(|peers, parts| peers.beat(parts));
    }
}

/// What a peer says on a link, by kind; the rest of what it reads stays.
fn kinds(socket: &mut UnixStream) -> Vec<wire::FrameKind> {
    socket.set_nonblocking(true).unwrap();
    let mut sent = Vec::new();
    let _ = socket.read_to_end(&mut sent);
    let mut kinds = Vec::new();
    let mut rest = &sent[..];
    while let Some(header) = rest.first_chunk() {
        let header = wire::Header::parse(header, wire::BODY_BYTES_MAX).unwrap();
        kinds.push(header.kind);
        rest = &rest[wire::HEADER_BYTES + header.padded_length()..];
    }
    kinds
}

#[test]
fn a_payload_that_finds_no_memory_is_granted_when_some_comes_back_or_it_has_waited_in_vain() {
    for comes_back in [true, false] {
        let mut lane = Lane::new(LinkLimits::default());
        let (mut peer, _) = lane.link_in(1);
        let taken = lane.arena.reserve(12 << 20).unwrap();
        let mut frames = Vec::new();
        wire::encode(&said(60_000), &mut frames);
        let data = wire::Data::Streamed {
            transfer: 0,
            bytes: 10 << 20,
        };
        let body = wire::Body {
            items: None,
            section: None,
            schema: 0,
            data,
        };
        let event = wire::StateEvent {
            invocation: InvocationId::new(worker_hash("b"), 1, 0, 1).0,
            deployment: DeploymentId(1),
            node: 0,
            outcome: wire::Outcome::Well,
            outputs: vec![(0, body)],
            load: None,
        };
        wire::encode(&event, &mut frames);
        peer.write_all(&frames).unwrap();
        lane.act();
        assert_eq!(lane.peers.shortage.waiting(), 1);
        assert!(!lane.peers.wants_relief());
        let pump = |lane: &mut Lane| {
            lane.with(|peers, parts| peers.relieve(parts));
            lane.with(|peers, parts| peers.pump(parts.driver));
            lane.act();
        };
        beats(&mut lane, MEMORY_WAIT - PATIENCE.heartbeat);
        pump(&mut lane);
        assert_eq!(kinds(&mut peer), [], "nothing is granted");
        if comes_back {
            lane.arena.abandon(taken);
            lane.peers.memory_freed();
            assert!(lane.peers.wants_relief());
        } else {
            beats(&mut lane, PATIENCE.heartbeat);
        }
        pump(&mut lane);
        assert_eq!(kinds(&mut peer), [wire::FrameKind::Grant]);
        assert_eq!(lane.peers.shortage.waiting(), 0);
        assert_eq!(lane.peers.shortage.expired(), u64::from(!comes_back));
        assert_eq!(lane.peers.incoming.len(), 1, "the link stands");
    }
}

#[test]
fn a_peer_that_grants_nothing_is_given_up_and_what_it_was_to_get_is_free() {
    let mut lane = Lane::new(LinkLimits::default());
    let (ours, _theirs, bulk) = sockets();
    bulk.set_nonblocking(true).unwrap();
    lane.link_out(1, ours, None);
    let inputs = ["x", "y"].map(|name| (name.to_owned(), lane.payload_of(1 << 20)));
    lane.core
        .invoke(1, ClientId(1), 1, "w", inputs.into(), Wanted::NOTHING);
    for _ in 0..100 {
        lane.with(|peers, parts| peers.pump(parts.driver));
        lane.act();
        // As the peer would, but for what it says.
        let _ = std::io::copy(&mut &bulk, &mut std::io::sink());
    }
    assert!(lane.core.leases().count() > 0);
    beats(&mut lane, MEMORY_WAIT * 3);
    assert_eq!(lane.peers.grants_missed, 0);
    beats(&mut lane, PATIENCE.heartbeat);
    assert_eq!(lane.peers.grants_missed, 1);
    assert!(lane.peers.out.is_empty());
    lane.act();
    assert_eq!(lane.core.leases().count(), 0);
}

/// A lane with a link to `b`, which is on the same host; and the borrower's end of what they share.
fn sharing(limits: LinkLimits) -> (Lane, [UnixStream; 2], Socket) {
    let mut lane = Lane::new(limits);
    let (ours, theirs, bulk) = sockets();
    let (socket, borrower) = Socket::pair().unwrap();
    let end = LendingEnd {
        socket,
        borrower: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
    };
    lane.link_out(1, ours, Some(end));
    (lane, [theirs, bulk], borrower)
}

fn lent(lane: &Lane) -> u64 {
    let lenders = lane.peers.shares.lenders.values();
    lenders.map(|lender| lender.lent().0).sum()
}

#[test]
fn what_a_message_lends_is_held_until_it_comes_home_though_the_link_is_lost() {
    let (mut lane, theirs, borrower) = sharing(LinkLimits::default());
    lane.invoke();
    assert_eq!((lent(&lane), lane.peers.streams_begun), (2, 0));
    let id = *lane.peers.out.values().next().unwrap();
    lane.with(|peers, parts| peers.lose(id, "the test says so", parts));
    lane.act();
    drop(theirs);
    assert_eq!(lane.core.leases().count(), 2, "`b` may be reading");
    // So it is when the borrower goes without a word, as long as its process is there.
    let share = *lane.peers.shares.lenders.keys().next().unwrap();
    drop(borrower);
    for now_ns in [1, 10_000_000_000] {
        lane.with(|peers, parts| {
            parts.now_ns = now_ns;
            assert!(peers.beat_shares(parts), "it is looked after");
        });
    }
    assert_eq!(lane.core.leases().count(), 2);
    assert!(lane.peers.shares.lenders.contains_key(&share));
}

#[test]
fn a_message_that_cannot_be_sent_lends_none_of_its_payloads() {
    let mut refused = 0;
    for queued_bytes_max in (0..2048).step_by(32) {
        let limits = LinkLimits {
            queued_bytes_max,
            ..LinkLimits::default()
        };
        let (mut lane, _theirs, _borrower) = sharing(limits);
        lane.invoke();
        if lane.peers.out.is_empty() {
            refused += 1;
            assert_eq!(lane.core.leases().count(), 0, "{queued_bytes_max}");
            assert_eq!(lent(&lane), 0, "{queued_bytes_max}");
        } else {
            assert_eq!(lent(&lane), 2, "{queued_bytes_max}");
        }
    }
    assert!((1..64).contains(&refused), "{refused}");
}
