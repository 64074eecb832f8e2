//! What a stranger gets: a challenge, a refusal, and nothing else.

use crate::caller::{Caller, challenged, frame, greet, read_frame};
use crate::process::{Worker, drivers, eventually, read_to_end};
use engine::greeting::{ClusterKey, answer};
use engine::wire::{Control, ControlReply, Forget, FrameKind, HEADER_BYTES, Refused, Role, decode};
use faasstore::Cancelled;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;

fn start(driver: &str) -> Worker {
    Worker::start(driver, "a", tempfile::tempdir().unwrap().path(), &[])
}

/// Sends bytes instead of a greeting: the frame kinds that come back until the worker closes, with the last body.
fn say(address: &str, bytes: &[u8]) -> (Vec<FrameKind>, Vec<u8>) {
    let (mut stream, _) = challenged(address);
    stream.write_all(bytes).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let (mut kinds, mut last) = (Vec::new(), Vec::new());
    while let Some((kind, body)) = read_frame(&mut stream) {
        kinds.push(kind);
        last = body;
    }
    (kinds, last)
}

#[test]
fn garbage_is_answered_by_a_refusal_that_says_what_is_wrong() {
    for driver in drivers() {
        let worker = start(driver);
        let mut long = frame(&Forget {
            invocation: 1,
            why: Cancelled::ByClient,
        });
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut other_version = frame(&Forget {
            invocation: 1,
            why: Cancelled::ByClient,
        });
        other_version[4] = 9;
        for (bytes, said) in [
            (
                b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n".to_vec(),
                "not a FaaSFlow frame",
            ),
            (
                frame(&Forget {
                    invocation: 1,
                    why: Cancelled::ByClient,
                }),
                "where none may come",
            ),
            (long, "above the limit"),
            (other_version, "protocol version 9"),
            (vec![0xff; 100_000], "not a FaaSFlow frame"),
        ] {
            let (kinds, body) = say(&worker.address, &bytes);
            assert_eq!(kinds, [FrameKind::Refused], "{driver}: {said}");
            let reason = decode::<Refused>(&body).unwrap().reason;
            assert!(reason.contains(said), "{driver}: {reason}");
        }
        let status = Caller::control(&worker.address).status();
        assert_eq!(status.counters["bad_control_frames"], 5, "{driver}");
    }
}

#[test]
fn a_truncated_greeting_gets_nothing_and_harms_no_one() {
    for driver in drivers() {
        let worker = start(driver);
        let (_, challenge) = challenged(&worker.address);
        let (hello, _) = answer(&ClusterKey::none(), &challenge, Role::Control).unwrap();
        let hello = frame(&hello);
        for length in [0, 1, HEADER_BYTES - 1, HEADER_BYTES, hello.len() - 1] {
            assert_eq!(
                say(&worker.address, &hello[..length]).0,
                [],
                "{driver}: {length} bytes"
            );
        }
        assert!(matches!(
            Caller::control(&worker.address).ask(&Control::Describe),
            ControlReply::Description(_)
        ));
    }
}

#[test]
fn a_caller_that_never_finishes_its_greeting_is_cut_off_and_others_are_served() {
    for driver in drivers() {
        let worker = start(driver);
        // More than may greet at one time: those behind them wait, but not for ever.
        let slow: Vec<_> = (0..100)
            .map(|_| TcpStream::connect(&worker.address).unwrap())
            .collect();
        let mut master = Caller::control(&worker.address);
        eventually("the slow ones are cut off", || {
            (master.status().counters["greetings_expired"] == 100).then_some(())
        });
        assert!(master.status().counters["greetings_delayed"] > 0);
        for stream in slow {
            let heard = read_to_end(stream);
            assert!(
                heard.len() < 300,
                "{driver}: a challenge and nothing else, not {} bytes",
                heard.len()
            );
        }
    }
}

#[test]
fn only_holders_of_the_key_are_let_in() {
    let key_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key_file.path(), [7; 32]).unwrap();
    std::fs::set_permissions(key_file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let flag = format!("--cluster-key-file={}", key_file.path().display());
    let functions = tempfile::tempdir().unwrap();
    for driver in drivers() {
        let worker = Worker::start(driver, "a", functions.path(), &[&flag]);
        for wrong in [ClusterKey::none(), ClusterKey::from_bytes(&[8; 32])] {
            for role in [Role::Control, Role::Client] {
                let reason = greet(&worker.address, &wrong, role).unwrap_err();
                assert!(reason.contains("cluster key"), "{driver}: {reason}");
            }
        }
        let key = ClusterKey::load(key_file.path()).unwrap();
        let mut master = Caller(greet(&worker.address, &key, Role::Control).unwrap());
        assert_eq!(master.status().counters["greetings_refused"], 4, "{driver}");
    }
}

#[test]
fn a_peer_is_told_what_is_wrong_with_it() {
    let worker = start("epoll");
    let in_life = |name: &str, to_lane, epoch| Role::Peer {
        worker: name.to_owned(),
        epoch,
        from_lane: 0,
        to_lane,
        next_sequence: 0,
        bulk: 1,
        host: None,
    };
    let bulk_in_life = |name: &str, to_lane, epoch| Role::Bulk {
        worker: name.to_owned(),
        epoch,
        from_lane: 0,
        to_lane,
        bulk: 1,
    };
    let peer = |name: &str, to_lane| in_life(name, to_lane, 1);
    let none = ClusterKey::none();
    let reason = greet(&worker.address, &none, peer("b", 7)).unwrap_err();
    assert!(reason.contains("no lane 7"), "{reason}");
    let reason = greet(&worker.address, &none, peer("a", 0)).unwrap_err();
    assert!(reason.contains("names must be unique"), "{reason}");
    let reason = greet(&worker.address, &none, bulk_in_life("b", 7, 1)).unwrap_err();
    assert!(reason.contains("no lane 7"), "{reason}");
    let reason = greet(&worker.address, &none, peer("b", 0)).unwrap_err();
    assert!(reason.contains("before its connection"), "{reason}");
    let _bulk = greet(&worker.address, &none, bulk_in_life("b", 0, 1)).unwrap();
    greet(&worker.address, &none, peer("b", 0)).unwrap();
    // Each is of one link.
    let reason = greet(&worker.address, &none, peer("b", 0)).unwrap_err();
    assert!(reason.contains("worker b"), "{reason}");
    // Its state was lost: were it let in, it would displace its own later life, and repeat ids of invocations.
    let _bulk = greet(&worker.address, &none, bulk_in_life("b", 0, 5)).unwrap();
    greet(&worker.address, &none, in_life("b", 0, 5)).unwrap();
    let reason = greet(&worker.address, &none, peer("b", 0)).unwrap_err();
    for word in ["worker b", "epoch 1", "5 was seen", "new --name"] {
        assert!(reason.contains(word), "{reason}");
    }
    let _bulk = greet(&worker.address, &none, bulk_in_life("b", 0, 5)).unwrap();
    greet(&worker.address, &none, in_life("b", 0, 5)).unwrap();
}

#[test]
fn a_master_that_sends_garbage_is_refused_and_the_next_is_served() {
    for driver in drivers() {
        let worker = start(driver);
        let mut master = Caller::control(&worker.address);
        master.0.write_all(&[0; 64]).unwrap();
        let (kind, _) = read_frame(&mut master.0).unwrap();
        assert_eq!(kind, FrameKind::Refused);
        assert!(read_frame(&mut master.0).is_none());
        let ControlReply::Description(description) =
            Caller::control(&worker.address).ask(&Control::Describe)
        else {
            panic!("no description");
        };
        assert_eq!(
            (
                description.name.as_str(),
                description.lanes,
                description.epoch
            ),
            ("a", 1, 1)
        );
    }
}
