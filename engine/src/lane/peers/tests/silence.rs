//! What is said at beats, and what becomes of connections on which too little is.

use super::*;

pub(super) fn said(interval_ms: u32) -> wire::Heartbeat {
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
pub(super) fn beats(lane: &mut Lane, time: Duration) {
    for _ in 0..time.as_nanos() / PATIENCE.heartbeat.as_nanos() {
        lane.with(|peers, parts| peers.beat(parts));
    }
}

/// What a peer says on a link, by kind; the rest of what it reads stays.
pub(super) fn kinds(socket: &mut UnixStream) -> Vec<wire::FrameKind> {
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
