//! The peer tier, held to what all promise, and what becomes of a connection.

use super::*;
use crate::arena::ArenaConfig;
use crate::tier::Shared;
use crate::tier::conformance::{Harness, conforms, payload, read, run, soon};
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const MIB: u64 = 1 << 20;

fn memory(bytes_max: u64) -> Rc<Shared> {
    let config = ArenaConfig {
        name: "peer-test".to_owned(),
        segment_bytes: 4 * MIB,
        bytes_max,
    };
    Rc::new(Shared::new(config, 0, Limits::default()))
}

fn config() -> PeerConfig {
    PeerConfig {
        bytes_max: 96 * MIB,
        ..PeerConfig::default()
    }
}

async fn connect(host: &PeerHost, config: PeerConfig) -> (Peer, JoinHandle<io::Result<()>>) {
    let (near, far) = UnixStream::pair().unwrap();
    let host = host.clone();
    let serving = tokio::task::spawn_local(async move { host.serve(far).await });
    (
        Peer::connect(near, "a test", config).await.unwrap(),
        serving,
    )
}

async fn peer() -> Result<Harness<Peer>, String> {
    Ok(harness(config()).await)
}

/// With so little under way that whoever puts or gets has to wait.
async fn narrow() -> Result<Harness<Peer>, String> {
    let limits = Limits {
        operations_max: 3,
        in_flight_bytes_max: 100 << 10,
        ..Limits::default()
    };
    Ok(harness(PeerConfig {
        chunk_bytes: 40 << 10,
        limits,
        ..config()
    })
    .await)
}

async fn harness(config: PeerConfig) -> Harness<Peer> {
    let memory = memory(128 * MIB);
    let host = PeerHost::new(Rc::clone(&memory), config);
    let (tier, serving) = connect(&host, config).await;
    let left = Rc::clone(&memory);
    Harness {
        tier,
        bytes_max: config.bytes_max,
        payload_bytes_max: config.bytes_max,
        damage: None,
        left: Some(Box::new(move || left.used().count as usize)),
        _keep: Box::new((memory, serving)),
    }
}

conforms!(peer_tier, super::run, super::peer);
conforms!(narrow_peer_tier, super::run, super::narrow:
    payloads_that_overlap_in_time_never_mix,
    a_put_that_is_dropped_leaves_nothing,
    a_get_that_is_dropped_writes_nothing_later,
    whoever_reads_while_it_is_released_reads_what_was_there,
);

#[test]
fn it_works_over_tcp_with_chunks_of_any_size() {
    run(async {
        let memory = memory(16 * MIB);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let chunk = |chunk_bytes| PeerConfig {
            chunk_bytes,
            ..config()
        };
        let host = PeerHost::new(memory, chunk(10_000));
        tokio::task::spawn_local(async move { host.serve(far).await });
        let tier = Peer::connect(stream, "a test", chunk(7)).await.unwrap();
        let place = soon(tier.put(payload(1, 50_001))).await.unwrap();
        assert!(
            read(&tier, &place, 0, 50_001).await.unwrap().bytes() == payload(1, 50_001).bytes()
        );
    });
}

#[test]
fn what_came_by_a_connection_goes_with_it() {
    run(async {
        let memory = memory(16 * MIB);
        let host = PeerHost::new(Rc::clone(&memory), config());
        let (tier, serving) = connect(&host, config()).await;
        soon(tier.put(payload(1, MIB))).await.unwrap();
        soon(tier.put(payload(2, 10))).await.unwrap();
        assert_eq!(memory.used().count, 2);
        drop(tier);
        soon(serving).await.unwrap().unwrap();
        assert_eq!((memory.used().count, memory.used().held), (0, 0));
    });
}

#[test]
fn a_host_without_memory_says_so_and_goes_on() {
    run(async {
        let host = PeerHost::new(memory(4 * MIB), config());
        let (tier, _serving) = connect(&host, config()).await;
        let error = soon(tier.put(payload(1, 5 * MIB))).await.unwrap_err();
        assert!(
            matches!(error, TierError::TooLarge { max, .. } if max == 4 * MIB),
            "{error}"
        );
        let kept = soon(tier.put(payload(2, 3 * MIB))).await.unwrap();
        let error = soon(tier.put(payload(3, 3 * MIB))).await.unwrap_err();
        assert!(matches!(error, TierError::Full { .. }), "{error}");
        soon(tier.settled()).await;
        assert_eq!(tier.used().count, 1, "what was refused is not counted");
        assert!(
            read(&tier, &kept, 0, 3 * MIB).await.unwrap().bytes() == payload(2, 3 * MIB).bytes()
        );
        soon(tier.release(kept)).await.unwrap();
        soon(tier.settled()).await;
        assert_eq!(tier.used().bytes, 0);
    });
}

#[test]
fn a_host_that_says_nothing_holds_nobody_up_for_ever() {
    run(async {
        let impatient = PeerConfig {
            limits: Limits {
                patience: Duration::from_millis(50),
                ..Limits::default()
            },
            ..config()
        };
        let (near, _far) = UnixStream::pair().unwrap();
        let error = soon(Peer::connect(near, "nobody", impatient))
            .await
            .unwrap_err();
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

        let (near, mut far) = UnixStream::pair().unwrap();
        Outgoing::bare(Kind::Hello, 0, [MIB, 0, 0])
            .write(&mut far)
            .await
            .unwrap();
        let tier = Peer::connect(near, "a mute", impatient).await.unwrap();
        let error = soon(tier.put(payload(1, 64 * MIB))).await.unwrap_err();
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
            text.contains("a mute") && text.contains("not done within"),
            "{text}"
        );
        drop(far);
        soon(tier.settled()).await;
        assert_eq!(tier.used().bytes, 0);
    });
}

#[test]
fn a_connection_that_breaks_fails_all_who_wait_and_all_who_come() {
    run(async {
        let (near, mut far) = UnixStream::pair().unwrap();
        Outgoing::bare(Kind::Hello, 0, [MIB, 0, 0])
            .write(&mut far)
            .await
            .unwrap();
        let tier = Peer::connect(near, "a goner", config()).await.unwrap();
        let (first, ()) = futures_util::future::join(tier.put(payload(1, 100)), async {
            let mut some = [0; 10];
            far.read_exact(&mut some).await.unwrap();
            drop(far);
        })
        .await;
        for error in [
            first.unwrap_err(),
            soon(tier.put(payload(2, 100))).await.unwrap_err(),
        ] {
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
            assert!(error.to_string().contains("connection was lost"), "{error}");
        }
        soon(tier.settled()).await;
        assert_eq!(tier.used().bytes, 0);
    });
}

#[test]
fn a_bit_that_changes_on_the_way_is_never_taken_for_a_payload() {
    run(async {
        let memory = memory(16 * MIB);
        let host = PeerHost::new(Rc::clone(&memory), config());
        let bytes = 3000;
        // The first frame that the host reads is a put, of 48 bytes; then comes the chunk.
        for wrong in [0, 20, 47, 48, 60, 95, 96, 97, 1000, 48 * 2 + bytes - 1] {
            let (near, mut middle) = UnixStream::pair().unwrap();
            let (mut other, far) = UnixStream::pair().unwrap();
            let guest = host.clone();
            let serving = tokio::task::spawn_local(async move { guest.serve(far).await });
            tokio::task::spawn_local(async move {
                let mut seen = 0;
                let (mut out, mut back) = ([0; 512], [0; 512]);
                loop {
                    let (direction, read) = {
                        let out = pin!(middle.read(&mut out));
                        let back = pin!(other.read(&mut back));
                        match futures_util::future::select(out, back).await {
                            futures_util::future::Either::Left((read, _)) => (0, read),
                            futures_util::future::Either::Right((read, _)) => (1, read),
                        }
                    };
                    let Ok(read @ 1..) = read else { break };
                    if direction == 0 {
                        if (seen..seen + read).contains(&wrong) {
                            out[wrong - seen] ^= 4;
                        }
                        seen += read;
                        let _ = other.write_all(&out[..read]).await;
                    } else {
                        let _ = middle.write_all(&back[..read]).await;
                    }
                }
            });
            let tier = Peer::connect(near, "a bad line", config()).await.unwrap();
            let error = soon(tier.put(payload(1, bytes as u64))).await.unwrap_err();
            assert!(
                matches!(error, TierError::Broken { .. }),
                "{wrong}: {error}"
            );
            let refused = soon(serving).await.unwrap().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
            assert_eq!(memory.used().count, 0, "{wrong}");
        }
    });
}

#[test]
fn whatever_a_stranger_sends_the_host_lets_it_go() {
    run(async {
        let memory = memory(16 * MIB);
        let host = PeerHost::new(Rc::clone(&memory), config());
        let put = |number, bytes| Outgoing::bare(Kind::Put, 1, [number, bytes, 0]);
        let chunk =
            |number, at| Outgoing::payload(Kind::Chunk, 1, [number, at, 0], payload(1, 100));
        let wrong: Vec<Vec<Outgoing>> = vec![
            vec![Outgoing::bare(Kind::Done, 1, [0; 3])],
            vec![Outgoing::bare(Kind::Hello, 1, [0; 3])],
            vec![Outgoing::bare(Kind::Chunk, 1, [1, 0, 0])],
            vec![put(1, 1000), chunk(1, 0), chunk(1, 0)],
            vec![put(1, 1000), chunk(1, 200)],
            vec![put(1, 50), chunk(1, 0)],
        ];
        for frames in wrong {
            let (mut near, far) = UnixStream::pair().unwrap();
            let guest = host.clone();
            let serving = tokio::task::spawn_local(async move { guest.serve(far).await });
            for frame in frames {
                let _ = frame.write(&mut near).await;
            }
            let refused = soon(serving).await.unwrap().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
        }
        assert_eq!((memory.used().count, memory.used().bytes), (0, 0));

        // What is merely not so is answered, and the connection goes on.
        let (mut near, far) = UnixStream::pair().unwrap();
        let guest = host.clone();
        tokio::task::spawn_local(async move { guest.serve(far).await });
        let hello = Header::read(&mut near, 0).await.unwrap().unwrap();
        assert_eq!(hello.kind, Kind::Hello);
        for (frame, why) in [
            (Outgoing::bare(Kind::Get, 2, [1, 0, 1]), Why::Missing),
            (Outgoing::bare(Kind::Release, 3, [1, 0, 0]), Why::Missing),
            (put(1, u64::MAX), Why::TooLarge),
        ] {
            frame.write(&mut near).await.unwrap();
            let answer = Header::read(&mut near, TEXT_BYTES_MAX)
                .await
                .unwrap()
                .unwrap();
            assert_eq!((answer.kind, answer.words[0]), (Kind::Failed, why as u64));
            answer.body(&mut near).await.unwrap();
        }
        put(1, 0).write(&mut near).await.unwrap();
        assert_eq!(
            Header::read(&mut near, 0).await.unwrap().unwrap().kind,
            Kind::Done
        );
        put(1, 0).write(&mut near).await.unwrap();
        let twice = Header::read(&mut near, TEXT_BYTES_MAX)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (twice.kind, twice.words[0]),
            (Kind::Failed, Why::Refused as u64)
        );
    });
}
