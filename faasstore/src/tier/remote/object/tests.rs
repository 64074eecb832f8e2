//! Object stores, held to what all tiers promise: by the client that is used for S3, and a small server of our own.

mod server;

use super::*;
use crate::tier::conformance::{DEADLINE, Harness, conforms, payload, read, run, soon};
use crate::tier::error::Again;
use crate::tier::{Limits, StoreUrl, remote};
use object_store::aws::AmazonS3Builder;
use server::{Fault, Server};
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn config(server: &Server) -> ObjectConfig {
    let url = format!(
        "s3://bucket/some/prefix?region=here&endpoint={}",
        server.endpoint()
    );
    let StoreUrl::S3(url) = StoreUrl::parse(&url).unwrap() else {
        panic!("it is one of S3")
    };
    ObjectConfig {
        url,
        worker: "rack-1".to_owned(),
        epoch: 3,
        bytes_max: 96 * MIB,
        limits: Limits::default(),
    }
}

async fn open(config: &ObjectConfig) -> Result<Objects, TierError> {
    let credentials = AmazonS3Builder::new()
        .with_access_key_id("somebody")
        .with_secret_access_key("hunter2");
    soon(Objects::open_as(credentials, config)).await
}

async fn objects() -> Result<Harness<Objects>, String> {
    let server = std::rc::Rc::new(Server::start());
    let config = config(&server);
    let (damaged, left) = (server.clone(), server.clone());
    Ok(Harness {
        tier: open(&config).await.unwrap(),
        bytes_max: config.bytes_max,
        payload_bytes_max: config.bytes_max,
        damage: Some(Box::new(move |tier, place| {
            let path = tier.path(&remote::key(&tier.book, place).unwrap());
            damaged.damage(&format!("/bucket/{path}"), place.bytes / 2);
        })),
        left: Some(Box::new(move || left.count())),
        _keep: Box::new(server),
    })
}

conforms!(s3_tier, super::run, super::objects);

#[test]
fn another_worker_reads_by_the_place_alone_and_cannot_release() {
    run(async {
        let server = Server::start();
        let ours = open(&config(&server)).await.unwrap();
        let other = ObjectConfig {
            worker: "rack-2".to_owned(),
            ..config(&server)
        };
        let other = open(&other).await.unwrap();
        for bytes in [0, 100, 9 * MIB + 5] {
            let place = soon(ours.put(payload(1, bytes))).await.unwrap();
            let name = format!("/bucket/some/prefix/faasflow/rack-1/3/{}", place.number);
            assert_eq!(server.names(), [name]);
            let back = read(&other, &place, bytes / 3, bytes - bytes / 3)
                .await
                .unwrap();
            assert!(back.bytes() == &payload(1, bytes).bytes()[bytes as usize / 3..]);
            let error = soon(other.release(place.clone())).await.unwrap_err();
            assert!(matches!(error, TierError::Refused { .. }), "{error}");
            soon(ours.release(place.clone())).await.unwrap();
            let error = read(&other, &place, 0, bytes).await.map(drop).unwrap_err();
            assert!(matches!(error, TierError::Missing { .. }), "{error}");
        }
        assert_eq!(server.count(), 0);
    });
}

#[test]
fn what_a_store_refuses_is_told_apart_and_leaves_nothing() {
    run(async {
        let server = Server::start();
        let mut config = config(&server);
        config.limits.patience = Duration::from_secs(5);
        let tier = open(&config).await.unwrap();
        let kept = soon(tier.put(payload(1, 9 * MIB))).await.unwrap();
        type Expected = fn(&TierError) -> bool;
        let again: Expected = |error| {
            matches!(
                error,
                TierError::Broken {
                    again: Again::May,
                    ..
                }
            )
        };
        let not_again: Expected = |error| {
            matches!(
                error,
                TierError::Broken {
                    again: Again::Not,
                    ..
                }
            )
        };
        let full: Expected = |error| matches!(error, TierError::Full { .. });
        for (fault, expected, says) in [
            (
                Fault::Status(403, "AccessDenied"),
                not_again,
                "AWS_ACCESS_KEY_ID",
            ),
            (Fault::Status(507, "XMinioStorageFull"), full, "more room"),
            (Fault::Cut, again, "then try again"),
        ] {
            server.fail(fault);
            for bytes in [1000, 20 * MIB] {
                let error = soon(tier.put(payload(2, bytes))).await.unwrap_err();
                let text = error.to_string();
                assert!(expected(&error) && text.contains(says), "{fault:?}: {text}");
                assert!(
                    text.contains("s3://bucket/some/prefix") && !text.contains("hunter2"),
                    "{text}"
                );
            }
            if !matches!(fault, Fault::Status(507, _)) {
                let error = read(&tier, &kept, 0, MIB).await.map(drop).unwrap_err();
                assert!(expected(&error), "{fault:?}: {error}");
            }
            server.fail(Fault::None);
            soon(tier.settled()).await;
            assert_eq!((tier.used().count, server.count()), (1, 1), "{fault:?}");
        }
        // A passing weakness is none: the client tries again.
        server.fail(Fault::Once(503));
        let place = soon(tier.put(payload(3, 1000))).await.unwrap();
        assert!(read(&tier, &place, 0, 1000).await.unwrap().bytes() == payload(3, 1000).bytes());
        assert!(
            read(&tier, &kept, 0, 9 * MIB).await.unwrap().bytes() == payload(1, 9 * MIB).bytes()
        );
    });
}

#[test]
fn a_store_that_does_not_answer_holds_nobody_up_for_ever() {
    run(async {
        let server = Server::start();
        let mut tier = open(&config(&server)).await.unwrap();
        let kept = soon(tier.put(payload(1, 100))).await.unwrap();
        server.fail(Fault::Silence);
        tier.admission.set_patience(Duration::from_millis(200));
        let put = soon(tier.put(payload(2, 100))).await.map(drop);
        let got = read(&tier, &kept, 0, 100).await.map(drop);
        for error in [put.unwrap_err(), got.unwrap_err()] {
            assert!(
                matches!(
                    error,
                    TierError::Broken {
                        again: Again::May,
                        ..
                    }
                ),
                "{error}"
            );
        }
        server.fail(Fault::None);
        tier.admission.set_patience(DEADLINE);
        soon(tier.settled()).await;
        assert_eq!(tier.used().count, 1);
        assert!(read(&tier, &kept, 0, 100).await.unwrap().bytes() == payload(1, 100).bytes());
    });
}

#[test]
fn where_nobody_listens_the_error_names_the_place_and_what_to_do() {
    let mut config = run(async { config(&Server::start()) });
    config.limits.patience = Duration::from_secs(2);
    let error = run(async { open(&config).await }).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            TierError::Broken {
                again: Again::May,
                ..
            }
        ),
        "{text}"
    );
    assert!(
        text.contains("s3://bucket/some/prefix") && text.contains("whether the store runs"),
        "{text}"
    );
}
