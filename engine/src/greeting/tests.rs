//! Who is believed, and who is not.

use super::*;
use std::io::Write;

fn key() -> ClusterKey {
    ClusterKey::from_bytes(b"sixteen bytes ok")
}

fn peer(next_sequence: u64) -> Role {
    Role::Peer {
        worker: "b".into(),
        epoch: 3,
        from_lane: 0,
        to_lane: 1,
        next_sequence,
        bulk: 1,
        host: None,
    }
}

fn bulk(number: u64) -> Role {
    Role::Bulk {
        worker: "b".into(),
        epoch: 3,
        from_lane: 0,
        to_lane: 1,
        bulk: number,
    }
}

fn sharing(sequence: u64) -> Role {
    let mut role = peer(sequence);
    if let Role::Peer { host, .. } = &mut role {
        *host = Some(HostToken([1; 32]));
    }
    role
}

fn measurer(worker: &str) -> Role {
    let worker = worker.to_owned();
    Role::Measurer { worker }
}

fn key_file(bytes: &[u8], mode: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

#[test]
fn holders_of_one_key_believe_each_other() {
    for key in [key(), ClusterKey::none()] {
        for role in [Role::Control, Role::Client, peer(7), bulk(7), measurer("b")] {
            let challenge = challenge("a").unwrap();
            let (hello, expectation) = answer(&key, &challenge, role).unwrap();
            let welcome = admit(&key, &challenge, &hello, 9, None).unwrap();
            expectation.check(&welcome).unwrap();
            assert_eq!(welcome.epoch, 9);
        }
    }
}

#[test]
fn a_caller_with_another_key_or_none_is_refused() {
    let challenge = challenge("a").unwrap();
    for wrong in [
        ClusterKey::from_bytes(b"another key of 16"),
        ClusterKey::none(),
    ] {
        let (hello, _) = answer(&wrong, &challenge, Role::Client).unwrap();
        assert!(matches!(
            admit(&key(), &challenge, &hello, 1, None),
            Err(GreetingError::Caller)
        ));
    }
    let (hello, _) = answer(&key(), &challenge, Role::Client).unwrap();
    assert!(matches!(
        admit(&ClusterKey::none(), &challenge, &hello, 1, None),
        Err(GreetingError::Caller)
    ));
}

#[test]
fn a_worker_with_another_key_is_not_believed() {
    let challenge = challenge("a").unwrap();
    let (hello, expectation) = answer(&key(), &challenge, Role::Client).unwrap();
    let impostor = ClusterKey::from_bytes(b"another key of 16");
    let proof = finish(impostor.welcome_mac(&challenge, &hello.nonce, 1, None));
    let error = expectation
        .check(&Welcome {
            proof,
            epoch: 1,
            socket: None,
        })
        .unwrap_err();
    assert!(error.to_string().contains("worker a"), "{error}");
}

#[test]
fn a_greeting_cannot_be_replayed_on_another_connection() {
    let (first, second) = (challenge("a").unwrap(), challenge("a").unwrap());
    assert_ne!(first.nonce, second.nonce);
    let (hello, expectation) = answer(&key(), &first, Role::Control).unwrap();
    assert!(matches!(
        admit(&key(), &second, &hello, 1, None),
        Err(GreetingError::Caller)
    ));

    let (other_hello, _) = answer(&key(), &first, Role::Control).unwrap();
    let other_welcome = admit(&key(), &first, &other_hello, 1, None).unwrap();
    assert!(expectation.check(&other_welcome).is_err());
}

#[test]
fn a_proof_cannot_be_reflected() {
    let challenge = challenge("a").unwrap();
    let (hello, expectation) = answer(&key(), &challenge, Role::Client).unwrap();
    assert!(
        expectation
            .check(&Welcome {
                proof: hello.proof,
                epoch: 1,
                socket: None,
            })
            .is_err()
    );
}

#[test]
fn every_part_of_a_greeting_is_proved() {
    let sent = challenge("a").unwrap();
    let (hello, expectation) = answer(&key(), &sent, peer(7)).unwrap();
    let mut altered = vec![
        Hello {
            role: Role::Control,
            ..hello.clone()
        },
        Hello {
            role: peer(8),
            ..hello.clone()
        },
        Hello {
            role: sharing(7),
            ..hello.clone()
        },
        Hello {
            nonce: [0; 32],
            ..hello.clone()
        },
    ];
    for bit in 0..256 {
        let mut proof = hello.proof;
        proof[bit / 8] ^= 1 << (bit % 8);
        altered.push(Hello {
            proof,
            ..hello.clone()
        });
    }
    for hello in altered {
        assert!(matches!(
            admit(&key(), &sent, &hello, 1, None),
            Err(GreetingError::Caller)
        ));
    }
    let otherwise = [
        Role::Peer {
            worker: "b".into(),
            epoch: 3,
            from_lane: 0,
            to_lane: 1,
            next_sequence: 7,
            bulk: 2,
            host: None,
        },
        bulk(1),
    ];
    for role in otherwise {
        let hello = Hello {
            role,
            ..hello.clone()
        };
        assert!(admit(&key(), &sent, &hello, 1, None).is_err());
    }
    let (bulky, _) = answer(&key(), &sent, bulk(1)).unwrap();
    assert!(admit(&key(), &sent, &bulky, 1, None).is_ok());
    let other = Hello {
        role: bulk(2),
        ..bulky
    };
    assert!(admit(&key(), &sent, &other, 1, None).is_err());
    let (measuring, _) = answer(&key(), &sent, measurer("b")).unwrap();
    assert!(admit(&key(), &sent, &measuring, 1, None).is_ok());
    altered = vec![
        Hello {
            role: measurer("c"),
            ..measuring.clone()
        },
        Hello {
            role: Role::Control,
            ..measuring
        },
    ];
    for hello in altered {
        assert!(matches!(
            admit(&key(), &sent, &hello, 1, None),
            Err(GreetingError::Caller)
        ));
    }
    let renamed = Challenge {
        worker: "c".into(),
        ..sent.clone()
    };
    assert!(admit(&key(), &renamed, &hello, 1, None).is_err());
    let welcome = admit(&key(), &sent, &hello, 1, Some("s")).unwrap();
    expectation.check(&welcome).unwrap();
    let (mut later, mut elsewhere) = (welcome.clone(), welcome.clone());
    (later.epoch, elsewhere.socket) = (2, Some("t".into()));
    let nowhere = Welcome {
        socket: None,
        ..welcome
    };
    for altered in [later, elsewhere, nowhere] {
        assert!(expectation.check(&altered).is_err(), "{altered:?}");
    }
}

#[test]
fn a_name_that_fits_no_greeting_is_refused() {
    for name in [String::new(), "x".repeat(WORKER_NAME_BYTES_MAX + 1)] {
        let challenge = Challenge {
            nonce: [0; 32],
            worker: name.clone(),
        };
        assert!(matches!(
            answer(&key(), &challenge, Role::Client),
            Err(GreetingError::Name { .. })
        ));
    }
}

#[test]
fn a_key_file_means_one_key_with_or_without_a_final_newline() {
    let plain = ClusterKey::load(key_file(b"sixteen bytes ok", 0o600).path()).unwrap();
    let newline = ClusterKey::load(key_file(b"sixteen bytes ok\n", 0o640).path()).unwrap();
    assert_eq!(plain.0, newline.0);
    assert_eq!(plain.0, key().0);
}

#[test]
fn a_bad_key_file_is_refused_with_what_to_do() {
    let short = ClusterKey::load(key_file(b"fifteen bytes..\n", 0o600).path()).unwrap_err();
    assert!(
        matches!(short, KeyError::Short { bytes: 15, .. }),
        "{short}"
    );
    let open = ClusterKey::load(key_file(b"sixteen bytes ok", 0o644).path()).unwrap_err();
    assert!(open.to_string().contains("chmod 600"), "{open}");
    let long = ClusterKey::load(key_file(&[b'x'; KEY_BYTES_MAX + 1], 0o600).path()).unwrap_err();
    assert!(matches!(long, KeyError::Long { .. }), "{long}");
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        ClusterKey::load(folder.path()),
        Err(KeyError::NotAFile { .. })
    ));
    assert!(matches!(
        ClusterKey::load(&folder.path().join("none")),
        Err(KeyError::Read { .. })
    ));
}

#[test]
fn a_key_is_never_printed() {
    assert_eq!(format!("{:?}", key()), "ClusterKey(set)");
    let challenge = challenge("a").unwrap();
    let (_, expectation) = answer(&key(), &challenge, Role::Client).unwrap();
    assert!(!format!("{expectation:?}").contains("sixteen"));
}

#[test]
fn a_unix_socket_is_bound_to_one_greeting_of_holders_of_the_key() {
    let sent = challenge("a").unwrap();
    let (hello, expectation) = answer(&key(), &sent, sharing(7)).unwrap();
    let proofs = HostProofs::of_caller(&key(), &sent, &hello);
    assert_eq!(proofs, expectation.host_proofs());
    assert!(HostProofs::agree(
        &proofs.hello,
        &expectation.host_proofs().hello
    ));
    assert!(
        !HostProofs::agree(&proofs.hello, &proofs.welcome),
        "none can be reflected"
    );
    let others = [
        HostProofs::of_caller(&ClusterKey::none(), &sent, &hello),
        HostProofs::of_caller(&key(), &challenge("a").unwrap(), &hello),
        HostProofs::of_caller(&key(), &sent, &answer(&key(), &sent, sharing(7)).unwrap().0),
        HostProofs::of_caller(
            &key(),
            &sent,
            &Hello {
                role: sharing(8),
                ..hello.clone()
            },
        ),
    ];
    for other in others {
        assert!(!HostProofs::agree(&proofs.hello, &other.hello));
        assert!(!HostProofs::agree(&proofs.welcome, &other.welcome));
    }
    let mut altered = proofs.hello;
    for bit in 0..256 {
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!HostProofs::agree(&proofs.hello, &altered), "bit {bit}");
        altered[bit / 8] ^= 1 << (bit % 8);
    }
}
