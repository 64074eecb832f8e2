//! Whoever is not of the cluster, or does not keep to the protocol, is refused and counted, while invocations run on.

use engine::greeting::{self, ClusterKey};
use engine::wire::{
    Answer, BODY_BYTES_MAX, Cancel, Challenge, ChunkHead, Failure, FrameKind, GREETING_BYTES_MAX,
    HEADER_BYTES, Header, Refused, Role, Welcome, decode, encode,
};
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::pattern;
use faasflow_tests::process::{PROMPTLY, peak_address_bytes, until};
use master::client::{Client, ClientError, ControlClient, Invocation, Options};
use std::io::{Read, Write};
use std::net::TcpStream;

const KEY: &[u8] = b"the key of all parties of this test";

const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  held: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
  behind: { function: test-functions:upper, input: { in: held.out }, output: { out: bytes } }
output: { out: behind.out }
";

/// What an `Invoke` that announces an input of so many bytes looks like.
fn announcing(workflow: &str, input: &str, bytes: u64) -> Vec<u8> {
    let wish = engine::wire::Invoke {
        request: 1,
        workflow: workflow.to_owned(),
        inputs: vec![(
            input.to_owned(),
            engine::wire::Body {
                items: None,
                section: None,
                schema: 0,
                data: engine::wire::Data::Streamed { transfer: 1, bytes },
            },
        )],
        report: false,
        trace: false,
    };
    let mut frame = Vec::new();
    encode(&wish, &mut frame);
    frame
}

/// Two workers with a key; while an invocation is held on both of them `disturb` runs, and nothing of it may show.
fn undisturbed(disturb: impl Fn(&Cluster)) {
    let cluster = Setup::workers(&["a", "b"]).key(KEY).start();
    cluster.deploy(GATED, &[("held", "a"), ("behind", "b")]);
    let gate = Gate::new(cluster.folder(), "gate");
    let around = |what: &dyn Fn(&Cluster)| {
        let mut client = cluster.client("b");
        let inputs = [("gate".to_owned(), bytes(gate.input()))];
        let invocation = Invocation {
            workflow: "gated",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        client.start(&invocation).expect("the worker takes it");
        let held = gate.next();
        what(&cluster);
        held.tell(Verdict::Pass);
        let answered = client.next_answer().expect("the worker answers");
        assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    };
    // What is made once, and kept, is made by the first invocation.
    around(&|_| {});
    let before = cluster.settled("a");
    around(&disturb);
    assert_eq!(cluster.settled("a"), before);
    assert_eq!(cluster.status("a").epoch, 1, "it is the same process");
}

fn connect(cluster: &Cluster) -> TcpStream {
    let stream = TcpStream::connect(cluster.worker("a").address()).expect("the port is open");
    let limit = stream.set_read_timeout(Some(PROMPTLY));
    limit.expect("a time other than zero");
    stream
}

/// One frame, as it came.
fn frame(stream: &mut TcpStream) -> std::io::Result<(FrameKind, Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::parse(&header, BODY_BYTES_MAX).expect("a worker sends frames");
    let mut body = vec![0; header.padded_length()];
    stream.read_exact(&mut body)?;
    body.truncate(header.length);
    header
        .verify_body(&body)
        .expect("a worker sends whole frames");
    Ok((header.kind, body))
}

/// Reads until the worker closes the connection, and says what it gave as the reason, if it gave one.
#[track_caller]
fn turned_away(mut stream: TcpStream) -> Option<String> {
    let mut reason = None;
    loop {
        match frame(&mut stream) {
            Ok((FrameKind::Challenge, _)) => {}
            Ok((FrameKind::Refused, body)) => {
                reason = Some(decode::<Refused>(&body).expect("a whole frame").reason);
            }
            Ok((kind, _)) => panic!("a stranger was sent {kind:?}"),
            Err(error) => {
                let timed_out = error.kind() == std::io::ErrorKind::WouldBlock;
                assert!(!timed_out, "the connection is still open");
                return reason;
            }
        }
    }
}

/// A connection that has proved the key.
fn greeted(cluster: &Cluster, role: Role) -> TcpStream {
    let (mut stream, expectation) = said_hello(cluster, role);
    let (kind, body) = frame(&mut stream).expect("a welcome");
    assert_eq!(kind, FrameKind::Welcome);
    let welcome: Welcome = decode(&body).expect("a welcome");
    expectation.check(&welcome).expect("the worker has the key");
    stream
}

/// A connection that proves the key, before the worker has answered.
fn said_hello(cluster: &Cluster, role: Role) -> (TcpStream, greeting::Expectation) {
    let mut stream = connect(cluster);
    let (_, body) = frame(&mut stream).expect("a challenge");
    let challenge: Challenge = decode(&body).expect("a challenge");
    let (hello, expectation) =
        greeting::answer(&ClusterKey::from_bytes(KEY), &challenge, role).expect("an answer");
    let mut message = Vec::new();
    encode(&hello, &mut message);
    stream.write_all(&message).expect("it is open");
    (stream, expectation)
}

#[track_caller]
fn counted(cluster: &Cluster, names: &[&str], least: u64) {
    until(&format!("{names:?} count {least}"), || {
        let counters = cluster.status("a").counters;
        (names.iter().map(|name| counters[*name]).sum::<u64>() >= least).then_some(())
    });
}

#[test]
fn a_wrong_key_or_none_is_refused_by_name_and_counted() {
    undisturbed(|cluster| {
        let address = cluster.worker("a").address();
        for key in [
            ClusterKey::none(),
            ClusterKey::from_bytes(b"another key of enough bytes"),
        ] {
            let options = Options {
                key,
                ..cluster.options()
            };
            let errors = [
                Client::connect(address, &options).map(drop).unwrap_err(),
                ControlClient::connect(address, &options)
                    .map(drop)
                    .unwrap_err(),
            ];
            for error in errors {
                assert!(
                    matches!(&error, ClientError::Refused { worker, reason }
                        if worker.contains(address) && reason.contains("cluster key")),
                    "{error}"
                );
            }
        }
        counted(cluster, &["greetings_refused"], 4);

        // The program says so too, and that it is the call that is wrong.
        let file = cluster.file("text", "x");
        let wrong = cluster.file("wrong-key", "another key of enough bytes");
        faasflow_tests::cluster::write_secret(wrong.as_ref(), b"another key of enough bytes");
        let mut command = std::process::Command::new(faasflow_tests::programs::program("faasflow"));
        command.args(["invoke", "gated", "--workers", address]);
        command.args([
            "--input",
            &format!("gate=@{file}"),
            "--cluster-key-file",
            &wrong,
        ]);
        let finished = faasflow_tests::process::run(&mut command, PROMPTLY);
        finished.refused(&[address, "cluster key"]);
    });
}

#[test]
fn garbage_is_refused_and_counted() {
    undisturbed(|cluster| {
        let mut garbage: Vec<Vec<u8>> = vec![
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            vec![0; 16],
            vec![0xff; 4096],
        ];
        garbage.extend((0..20).map(|seed| pattern::bytes(seed, 333)));
        for bytes in &garbage {
            let _ = turned_away_with(connect(cluster), bytes);
        }
        let names = ["greetings_refused", "bad_control_frames"];
        counted(cluster, &names, garbage.len() as u64);
    });
}

#[test]
fn oversized_lengths_are_refused_before_memory_is_set_aside() {
    // Address space, since memory that was set aside and never touched is not resident.
    let peak = |cluster: &Cluster| peak_address_bytes(cluster.worker("a").pid());
    undisturbed(|cluster| {
        // Whatever a first refusal takes for good is no length's fault.
        let _ = turned_away_with(connect(cluster), &header_of(FrameKind::StateEvent));
        drop(greeted(cluster, Role::Client));
        let before = peak(cluster);
        for length in [GREETING_BYTES_MAX as u32 + 1, 1 << 30, u32::MAX] {
            for kind in [FrameKind::Hello, FrameKind::Invoke, FrameKind::StateEvent] {
                let _ = turned_away_with(connect(cluster), &header_announcing(kind, length));
            }
        }
        for length in [BODY_BYTES_MAX as u32 + 1, 1 << 30, u32::MAX] {
            for role in [Role::Client, Role::Control] {
                let header = header_announcing(FrameKind::Invoke, length);
                let _ = turned_away_with(greeted(cluster, role), &header);
            }
        }
        // A length that may be announced takes no memory either before its bytes come.
        let announced = counter_of_received(cluster);
        let header = header_announcing(FrameKind::Invoke, BODY_BYTES_MAX as u32);
        let silent: Vec<TcpStream> = (0..SILENT_CLIENTS)
            .map(|_| {
                let mut stream = greeted(cluster, Role::Client);
                stream.write_all(&header).expect("it is open");
                stream
            })
            .collect();
        let bytes = announced + (silent.len() * HEADER_BYTES) as u64;
        until("the lane has read all headers", || {
            (counter_of_received(cluster) >= bytes).then_some(())
        });
        let after = peak(cluster);
        assert!(
            after < before + ADDRESS_BYTES_MORE_MAX,
            "from {before} to {after} bytes"
        );
        drop(silent);
        until("the lane has let go of them", || {
            (cluster.counter("a", "clients") == 0).then_some(())
        });
    });
}

/// Clients that announce a message of 64 MiB at the same time: together far more than [`ADDRESS_BYTES_MORE_MAX`].
const SILENT_CLIENTS: usize = 32;
/// What a worker's address space may grow by meanwhile: buffers of 64 KiB, and what an allocator takes ahead.
const ADDRESS_BYTES_MORE_MAX: u64 = 512 << 20;

fn counter_of_received(cluster: &Cluster) -> u64 {
    cluster.counter("a", "bytes_in")
}

fn turned_away_with(mut stream: TcpStream, bytes: &[u8]) -> Option<String> {
    // The worker may close before all of it is written.
    let _ = stream.write_all(bytes);
    turned_away(stream)
}

/// The header of a frame of this kind that announces so many bytes, its checksum wrong.
fn header_announcing(kind: FrameKind, length: u32) -> [u8; HEADER_BYTES] {
    let mut header = header_of(kind);
    header[8..12].copy_from_slice(&length.to_le_bytes());
    header
}

/// The header of an empty frame of this kind, its checksum wrong.
fn header_of(kind: FrameKind) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&engine::wire::MAGIC);
    header[4..6].copy_from_slice(&engine::wire::PROTOCOL_VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&(kind as u16).to_le_bytes());
    header
}

#[test]
fn slow_strangers_are_let_go_and_cannot_keep_others_out() {
    undisturbed(|cluster| {
        // More than a worker greets at a time, all of them silent or nearly so.
        let slow: Vec<TcpStream> = (0..100)
            .map(|index| {
                let mut stream = connect(cluster);
                if index % 2 == 0 {
                    let _ = stream.write_all(&header_of(FrameKind::Hello)[..index % 15]);
                }
                stream
            })
            .collect();
        // Whoever has the key comes through all the same, if it has to wait for a place.
        let patient = Options {
            connect_max: PROMPTLY * 3,
            ..cluster.options()
        };
        let known = ControlClient::connect(cluster.worker("a").address(), &patient);
        assert_eq!(known.expect("it is greeted").worker(), "a");
        for stream in slow {
            let _ = turned_away(stream);
        }
        let names = ["greetings_expired", "greetings_refused"];
        counted(cluster, &names, 100);
    });
}

#[test]
fn truncated_and_broken_frames_end_their_own_connection_alone() {
    undisturbed(|cluster| {
        let mut invoke = Vec::new();
        let wish = engine::wire::Invoke {
            request: 1,
            workflow: "gated".to_owned(),
            inputs: Vec::new(),
            report: false,
            trace: false,
        };
        encode(&wish, &mut invoke);
        let (peer, bulk) = (|| nobody(1).0, || nobody(1).1);
        for role in [|| Role::Client, || Role::Control] {
            for cut in [1, HEADER_BYTES - 1, HEADER_BYTES, invoke.len() - 1] {
                let mut stream = greeted(cluster, role());
                stream.write_all(&invoke[..cut]).expect("it is open");
                // Half a frame, and then the end.
                drop(stream);
            }
        }
        let least = cluster.counter("a", "bad_frames") + cluster.counter("a", "bad_control_frames");
        let mut bad = 0;
        for role in [Role::Client, Role::Control, peer(), bulk()] {
            let mut flipped = invoke.clone();
            flipped[HEADER_BYTES + 3] ^= 0x40;
            let mut longer = header_of(FrameKind::Invoke).to_vec();
            longer[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
            for bytes in [flipped, longer, vec![0xaa; 64]] {
                // A link has two connections; each of them may be the one on which something is wrong.
                let other = match &role {
                    Role::Peer { .. } => Some(greeted(cluster, bulk())),
                    _ => None,
                };
                let mut stream = greeted(cluster, role.clone());
                let _other = match &role {
                    Role::Bulk { .. } => Some(greeted(cluster, peer())),
                    _ => other,
                };
                stream.write_all(&bytes).expect("it is open");
                let mut rest = Vec::new();
                let closed = stream.read_to_end(&mut rest);
                let open = closed.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
                assert!(!open, "{role:?} may go on after a broken frame");
                bad += 1;
            }
        }
        counted(cluster, &["bad_frames", "bad_control_frames"], least + bad);
    });
}

/// A peer that is no worker of the cluster, but holds its key: for its link of that number both roles.
fn nobody(number: u64) -> (Role, Role) {
    let worker = || "nobody".to_owned();
    let peer = Role::Peer {
        worker: worker(),
        epoch: 1,
        from_lane: 0,
        to_lane: 0,
        next_sequence: 0,
        bulk: number,
        host: None,
    };
    let bulk = Role::Bulk {
        worker: worker(),
        epoch: 1,
        from_lane: 0,
        to_lane: 0,
        bulk: number,
    };
    (peer, bulk)
}

#[test]
fn a_peer_that_sends_payloads_without_an_end_or_leave_is_closed_and_nothing_else_is() {
    undisturbed(|cluster| {
        let least = cluster.counter("a", "bad_frames");
        let (peer, bulk) = nobody(1);
        let chunk = |transfer, offset, raw: &[u8]| {
            let head = ChunkHead { transfer, offset };
            let mut bytes = head.frame_start(raw).to_vec();
            bytes.extend_from_slice(raw);
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            bytes
        };
        // Nothing was announced on the first; the second speaks where payloads alone may come.
        let heartbeat = engine::wire::Heartbeat {
            interval_ms: 1000,
            loads: Vec::new(),
        };
        let mut said = Vec::new();
        encode(&heartbeat, &mut said);
        let on_messages = |bytes: Vec<u8>| (Some(bytes), None);
        let on_bulk = |bytes: Vec<u8>| (None, Some(bytes));
        let cases = [
            on_messages(chunk(0, 0, b"raw")),
            on_bulk(said),
            on_bulk(chunk(u64::MAX, 1, b"raw")),
        ];
        let mut bad = 0;
        for (messages, payloads) in cases {
            let mut bulk = greeted(cluster, bulk.clone());
            let mut stream = greeted(cluster, peer.clone());
            for (stream, bytes) in [(&mut stream, messages), (&mut bulk, payloads)] {
                if let Some(bytes) = bytes {
                    stream.write_all(&bytes).expect("it is open");
                }
            }
            if bad == 2 {
                // What may still be announced is waited for, but holds up nobody.
                drop((stream, bulk));
                break;
            }
            for mut stream in [stream, bulk] {
                let closed = stream.read_to_end(&mut Vec::new());
                let open = closed.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
                assert!(!open, "both connections of a link are closed");
            }
            bad += 1;
        }
        counted(cluster, &["bad_frames"], least + bad);
    });
}

#[test]
fn a_peer_that_no_worker_can_be_is_refused_by_name() {
    undisturbed(|cluster| {
        let before = cluster.counter("a", "greetings_refused");
        let impossible = [("c", 0), ("c", 1 << 24), ("c", u32::MAX), ("no name\n", 1)];
        for (worker, epoch) in impossible {
            let peer = Role::Peer {
                worker: worker.to_owned(),
                epoch,
                from_lane: 0,
                to_lane: 0,
                next_sequence: 0,
                bulk: 0,
                host: None,
            };
            let reason = turned_away(said_hello(cluster, peer).0).expect("it says why");
            let named = [format!("{worker:?}"), format!("epoch {epoch}")];
            assert!(named.iter().all(|word| reason.contains(word)), "{reason}");
        }
        let refused = cluster.counter("a", "greetings_refused") - before;
        assert_eq!(refused, impossible.len() as u64);
    });
}

#[test]
fn what_the_door_refuses_takes_no_memory_however_much_is_announced() {
    undisturbed(|cluster| {
        let held = |what: &str| cluster.counter("a", what);
        let before = (held("segments"), held("segment_bytes"));
        for (workflow, input, bytes, reason) in [
            ("nothing", "gate", 200 << 20, "no workflow named `nothing`"),
            ("gated", "door", 200 << 20, "no input `door`"),
            ("gated", "gate", 1 << 50, "above the limit"),
        ] {
            let mut stream = greeted(cluster, Role::Client);
            let announced = announcing(workflow, input, bytes);
            stream.write_all(&announced).expect("it is open");
            // The answer does not wait for what was announced.
            let (kind, body) = frame(&mut stream).expect("an answer");
            assert_eq!(kind, FrameKind::Answer);
            let answer: Answer = decode(&body).expect("a whole answer");
            let failure = answer.result.expect_err("it is refused").to_string();
            assert!(failure.contains(reason), "{failure}");
            assert_eq!((held("segments"), held("segment_bytes")), before);
        }
    });
}

#[test]
fn a_client_that_stops_in_the_middle_of_what_it_sends_is_let_go() {
    let cluster = Setup::workers(&["a"])
        .key(KEY)
        .flag("--transfer-idle-s=1")
        .flag("--heartbeat-ms=50")
        .start();
    cluster.deploy(GATED, &[]);
    let mut idle = greeted(&cluster, Role::Client);
    let mut stream = greeted(&cluster, Role::Client);
    let announced = announcing("gated", "gate", 1 << 20);
    stream.write_all(&announced).expect("it is open");
    let mut rest = Vec::new();
    // A worker that says nothing is a timeout here.
    stream.read_to_end(&mut rest).expect("it is closed in time");
    counted(&cluster, &["transfers_expired"], 1);
    // One that is between two wishes may be idle for as long as it likes.
    let refused = announcing("nothing", "gate", 0);
    idle.write_all(&refused).expect("it is open");
    let (kind, _) = frame(&mut idle).expect("an answer");
    assert_eq!(kind, FrameKind::Answer);
    drop(idle);
    let _ = cluster.settled("a");
}

#[test]
fn a_wish_is_cancelled_while_its_inputs_come_and_by_its_own_connection_alone() {
    undisturbed(|cluster| {
        let cancel = |request| {
            let mut message = Vec::new();
            encode(&Cancel { request }, &mut message);
            message
        };
        let chunk = |offset: u64| {
            let raw = vec![7; 4096];
            let head = ChunkHead {
                transfer: 1,
                offset,
            };
            [&head.frame_start(&raw)[..], &raw].concat()
        };
        let mut stream = greeted(cluster, Role::Client);
        let mut stranger = greeted(cluster, Role::Client);
        let announced = announcing("gated", "gate", 3 * 4096);
        let said = [announced, chunk(0)].concat();
        stream.write_all(&said).expect("it is open");
        stranger.write_all(&cancel(1)).expect("it is open");
        counted(cluster, &["cancels_dropped"], 1);
        // Between two chunks; what still comes of it is thrown away.
        let said = [cancel(1), chunk(4096), chunk(2 * 4096), cancel(1)].concat();
        stream.write_all(&said).expect("it is open");
        let (kind, body) = frame(&mut stream).expect("an answer");
        assert_eq!(kind, FrameKind::Answer);
        let answer: Answer = decode(&body).expect("an answer");
        assert_eq!((answer.request, answer.invocation), (1, 0));
        assert_eq!(answer.result, Err(Failure::Cancelled));
        // The second one finds nothing any more, and the connection goes on.
        counted(cluster, &["cancels_dropped"], 2);
        let said = announcing("nothing", "gate", 0);
        stream.write_all(&said).expect("it is open");
        let (kind, _) = frame(&mut stream).expect("an answer");
        assert_eq!(kind, FrameKind::Answer);
        // A master is no client: its connection is closed.
        let mut master = greeted(cluster, Role::Control);
        let before = cluster.counter("a", "bad_control_frames");
        master.write_all(&cancel(1)).expect("it is open");
        let reason = turned_away(master);
        assert!(reason.is_some_and(|reason| reason.contains("Cancel")));
        counted(cluster, &["bad_control_frames"], before + 1);
        let counters = cluster.status("a").counters;
        assert_eq!(counters["invocations_cancelled"], 1);
    });
}

#[test]
fn clients_beyond_the_limit_are_refused_until_one_leaves() {
    let cluster = Setup::workers(&["a"]).flag("--clients-max=2").start();
    let address = cluster.worker("a").address();
    let connect = || Client::connect(address, &cluster.options());
    let first = connect().expect("there is a place");
    let _second = connect().expect("there is a place");
    match connect().map(drop).expect_err("there is no place") {
        ClientError::Refused { reason, .. } => {
            assert!(reason.contains("2 clients"), "{reason}");
            assert!(reason.contains("--clients-max"), "{reason}");
        }
        other => panic!("{other}"),
    }
    // A master is no client, and comes through.
    counted(&cluster, &["clients_refused"], 1);
    drop(first);
    until("a place is free", || connect().ok());
}

#[test]
fn a_client_that_goes_away_in_mid_invocation_disturbs_no_one() {
    undisturbed(|cluster| {
        let gate = Gate::new(cluster.folder(), "second");
        let mut client = cluster.client("b");
        let inputs = [("gate".to_owned(), bytes(gate.input()))];
        let invocation = Invocation {
            workflow: "gated",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        client.start(&invocation).expect("the worker takes it");
        // Beside the one that everything else here happens around.
        let there = |cluster: &Cluster| {
            let counters = cluster.status("b").counters;
            (counters["clients"], counters["in_flight"])
        };
        until("the worker has taken it", || {
            (there(cluster) == (2, 2)).then_some(())
        });
        drop(client);
        until("the worker has noticed", || {
            (there(cluster) == (1, 2)).then_some(())
        });
    });
}
