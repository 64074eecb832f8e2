//! Whoever comes to the socket by which workers of one host share memory and is not the one, or lends what it has not, is
//! closed and counted, while invocations run on.

use engine::greeting::{self, ClusterKey, Expectation, HostProofs};
use engine::plan::DeploymentId;
use engine::wire::{
    Body, Challenge, Data, FrameKind, HEADER_BYTES, Header, Heartbeat, LentRange, Outcome, Role,
    StateEvent, Welcome, decode, encode,
};
use engine::worker::sharing::{HostDoor, HostSharing};
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::process::{PROMPTLY, until};
use faasstore::binding::Announced;
use faasstore::segment::SegmentWriter;
use faasstore::socket::{Socket, SocketError, SocketMessage};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rkyv::{Archive, Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

const KEY: &[u8] = b"the key of all parties of this test";

const RELAY: &str = "
workflow: relay
input: { data: bytes }
nodes:
  near: { function: test-functions:echo, input: { in: input.data }, output: { out: bytes } }
  far: { function: test-functions:digest, input: { in: near.out }, output: { out: bytes } }
output: { digest: far.out }
";

#[derive(Archive, Serialize, Deserialize)]
struct HostHello {
    proof: [u8; 32],
}

impl SocketMessage for HostHello {
    const KIND: u16 = 16;
    const NAME: &'static str = "host hello";
}

#[derive(Archive, Serialize, Deserialize)]
struct HostWelcome {
    proof: [u8; 32],
}

impl SocketMessage for HostWelcome {
    const KIND: u16 = 17;
    const NAME: &'static str = "host welcome";
}

#[derive(Archive, Serialize, Deserialize)]
struct Lend {
    retired: Vec<Announced>,
    segments: Vec<Announced>,
}

impl SocketMessage for Lend {
    const KIND: u16 = 18;
    const NAME: &'static str = "lend";
}

/// A peer that holds the key, on a link to `b`, and what it was told of the socket.
struct Rogue {
    link: TcpStream,
    _bulk: TcpStream,
    name: String,
    proofs: HostProofs,
}

fn frame(stream: &mut TcpStream, kind: FrameKind) -> Vec<u8> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).expect("the worker speaks");
    let header = Header::parse(&header, 1024).expect("a frame");
    assert_eq!(header.kind, kind);
    let mut body = vec![0; header.padded_length()];
    stream.read_exact(&mut body).expect("the worker speaks");
    body.truncate(header.length);
    body
}

/// A connection to `b` that was greeted in that role.
fn greeted(cluster: &Cluster, role: Role) -> (TcpStream, Welcome, Expectation) {
    let mut stream = TcpStream::connect(cluster.worker("b").address()).expect("it listens");
    stream.set_read_timeout(Some(PROMPTLY)).expect("not zero");
    let challenge: Challenge =
        decode(&frame(&mut stream, FrameKind::Challenge)).expect("a challenge");
    let key = ClusterKey::from_bytes(KEY);
    let (hello, expectation) =
        greeting::answer(&key, &challenge, role).expect("there are random numbers");
    let mut bytes = Vec::new();
    encode(&hello, &mut bytes);
    stream.write_all(&bytes).expect("it is open");
    let welcome: Welcome = decode(&frame(&mut stream, FrameKind::Welcome)).expect("a welcome");
    expectation.check(&welcome).expect("it holds the key");
    (stream, welcome, expectation)
}

impl Rogue {
    fn new(cluster: &Cluster, epoch: u32) -> Self {
        let token = HostDoor::open(&HostSharing::Namespace, 1, 1).expect("sockets can be made");
        let bulk = Role::Bulk {
            worker: "c".to_owned(),
            epoch,
            from_lane: 0,
            to_lane: 0,
            bulk: 1,
        };
        let role = Role::Peer {
            worker: "c".to_owned(),
            epoch,
            from_lane: 0,
            to_lane: 0,
            next_sequence: 0,
            bulk: 1,
            host: Some(token.token()),
        };
        let (bulk, _, _) = greeted(cluster, bulk);
        let (link, welcome, expectation) = greeted(cluster, role);
        Self {
            link,
            _bulk: bulk,
            name: welcome.socket.expect("it is on the same host"),
            proofs: expectation.host_proofs(),
        }
    }

    fn connect(&self) -> Socket {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None);
        let socket = socket.expect("sockets can be made");
        let address = UnixAddr::new_abstract(self.name.as_bytes()).expect("a name");
        connect(socket.as_raw_fd(), &address).expect("the worker listens");
        Socket::from_fd(socket).expect("it is one")
    }

    /// The socket of the link, greeted as it should be.
    fn shared(&self) -> Socket {
        let socket = self.connect();
        let proof = self.proofs.hello;
        say(&socket, &HostHello { proof }, &[]);
        let welcome = socket.receive::<HostWelcome>(PROMPTLY).expect("it greets");
        assert!(HostProofs::agree(
            &self.proofs.welcome,
            &welcome.message.proof
        ));
        socket
    }

    /// Says that it lends a range to a workflow of this deployment.
    fn lends(&mut self, deployment: DeploymentId, segment: u32, bytes: u64) {
        let range = LentRange {
            segment,
            generation: 1,
            offset: 0,
            bytes,
        };
        let body = Body {
            items: None,
            section: None,
            schema: 0,
            data: Data::Lent {
                transfer: 0,
                ranges: vec![range],
            },
        };
        let event = StateEvent {
            invocation: 1,
            deployment,
            node: 0,
            outcome: Outcome::Well,
            outputs: vec![(0, body)],
            load: None,
        };
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        // It may have been closed meanwhile.
        let _ = self.link.write_all(&bytes);
    }

    /// Whether the worker closes the link.
    fn is_closed(&mut self) -> bool {
        !matches!(self.link.read(&mut [0]), Ok(1..))
            && self.link.peek(&mut [0]).map_or_else(
                |error| error.kind() != std::io::ErrorKind::WouldBlock,
                |bytes| bytes == 0,
            )
    }
}

fn say<M: SocketMessage>(socket: &Socket, message: &M, with: &[BorrowedFd<'_>]) {
    socket
        .send(message, with, Duration::ZERO)
        .expect("there is room");
}

/// The worker says nothing and closes.
#[track_caller]
fn turned_away(socket: &Socket) {
    let end = socket.receive::<HostWelcome>(PROMPTLY).map(|_| ());
    assert!(matches!(end, Err(SocketError::Closed)), "{end:?}");
}

fn announced(segments: &[u32]) -> Lend {
    let announced = |segment: &u32| Announced {
        segment: *segment,
        generation: 1,
    };
    Lend {
        retired: Vec::new(),
        segments: segments.iter().map(announced).collect(),
    }
}

/// `near` on `a`, `far` on `b`, and what passes between them is lent before and after `disturb`.
fn undisturbed(disturb: impl Fn(&Cluster, DeploymentId)) {
    let setup = Setup::workers(&["a", "b"]).key(KEY).sharing(&[]);
    let cluster = setup.start();
    let _ = cluster.deploy(RELAY, &[("near", "a"), ("far", "b")]);
    let deployment = cluster.status("b").deployments[0].deployment;
    let data = faasflow_tests::pattern::bytes(3, 1 << 20);
    for lent in [1, 2] {
        let answered = cluster.invoke("b", "relay", &[("data", bytes(&data))]);
        let answered = answered.expect("the worker answers");
        let digest = faasflow_tests::pattern::digest(&data);
        assert_eq!(output(&answered, "digest"), digest.as_bytes());
        // The input, which `b` has lent, and the output of `near`.
        assert_eq!(cluster.counter("a", "loans_in"), lent);
        assert_eq!(cluster.counter("a", "loans_out"), lent);
        if lent == 1 {
            disturb(&cluster, deployment);
        }
    }
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn whoever_cannot_prove_that_it_is_the_one_is_closed_without_a_word() {
    undisturbed(|cluster, _| {
        let refused = cluster.counter("b", "shares_refused");
        let rogue = Rogue::new(cluster, 1);
        // One who goes, and one who says what has no place there.
        drop(rogue.connect());
        let garbage = rogue.connect();
        say(&garbage, &announced(&[1]), &[]);
        turned_away(&garbage);
        for wrong in [[0; 32], rogue.proofs.welcome] {
            let socket = rogue.connect();
            say(&socket, &HostHello { proof: wrong }, &[]);
            turned_away(&socket);
        }
        let _kept = rogue.shared();
        let again = rogue.connect();
        let proof = rogue.proofs.hello;
        say(&again, &HostHello { proof }, &[]);
        turned_away(&again);
        until("all are counted", || {
            (cluster.counter("b", "shares_refused") == refused + 5).then_some(())
        });
    });
}

#[test]
fn a_peer_that_lends_what_it_has_not_loses_its_link_alone() {
    undisturbed(|cluster, deployment| {
        let segment = SegmentWriter::create("rogue", 4096).expect("there is memory");
        let unsealed = memfd_create("rogue", MFdFlags::MFD_ALLOW_SEALING).expect("likewise");
        nix::unistd::ftruncate(&unsealed, 4096).expect("it is ours");
        type Words<'a> = &'a dyn Fn(&mut Rogue, &Socket);
        let cases: [(&str, Words<'_>); 5] = [
            ("nothing was announced", &|rogue, _| {
                rogue.lends(deployment, 1, 10);
            }),
            ("beyond the segment", &|rogue, socket| {
                say(socket, &announced(&[1]), &[segment.fd()]);
                rogue.lends(deployment, 1, 4097);
            }),
            ("an unsealed segment", &|_, socket| {
                say(socket, &announced(&[1]), &[unsealed.as_fd()]);
            }),
            ("too many descriptors", &|_, socket| {
                say(socket, &announced(&[1]), &[segment.fd(), segment.fd()]);
            }),
            ("too many segments", &|_, socket| {
                let many: Vec<u32> = (0..1025).collect();
                say(socket, &announced(&many), &[]);
            }),
        ];
        for (epoch, (what, case)) in cases.into_iter().enumerate() {
            let mut rogue = Rogue::new(cluster, epoch as u32 + 1);
            let socket = rogue.shared();
            case(&mut rogue, &socket);
            assert!(rogue.is_closed(), "{what}");
        }
        // What it has, it may lend, though nobody waits for it: that comes home, and its link stands.
        let before = cluster.counter("b", "borrowed_segments");
        let mut rogue = Rogue::new(cluster, 9);
        let socket = rogue.shared();
        say(&socket, &announced(&[1]), &[segment.fd()]);
        rogue.lends(deployment, 1, 10);
        let mut heartbeat = Vec::new();
        let body = Heartbeat {
            interval_ms: 1000,
            loads: Vec::new(),
        };
        encode(&body, &mut heartbeat);
        rogue.link.write_all(&heartbeat).expect("it is open");
        until("its segment is mapped", || {
            (cluster.counter("b", "borrowed_segments") == before + 1).then_some(())
        });
        drop((rogue, socket));
        until("its segment is unmapped", || {
            (cluster.counter("b", "borrowed_segments") == before).then_some(())
        });
    });
}
