//! Redis, held to what all tiers promise, and its faults: by a real server, a child of the test.

use super::*;
use crate::tier::conformance::{DEADLINE, Harness, conforms, payload, read, run, soon};
use crate::tier::{StoreUrl, remote};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const MIB: u64 = 1 << 20;

/// A server on a port of its own, which ends with the test.
struct Server {
    child: Child,
    port: u16,
    options: Vec<String>,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(options: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Somebody else may take a port before the server does.
        for _ in 0..5 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let child = spawn(port, &options, folder.path());
            let child = child.map_err(|error| format!("redis-server is not installed ({error}); it is in Debian's package redis-server"))?;
            let mut server = Self {
                child,
                port,
                options: options.clone(),
                folder: tempfile::tempdir().unwrap(),
            };
            if server.listens() {
                return Ok(server);
            }
        }
        Err("redis-server does not start".to_owned())
    }

    fn listens(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    /// Ends it at once, and starts another one in its place.
    fn replace(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
        self.child = spawn(self.port, &self.options, self.folder.path()).unwrap();
        assert!(self.listens());
    }

    fn config(&self) -> RedisConfig {
        let StoreUrl::Redis(url) =
            StoreUrl::parse(&format!("redis://127.0.0.1:{}/2", self.port)).unwrap()
        else {
            panic!("it is one of Redis")
        };
        RedisConfig {
            url,
            worker: "rack-1".to_owned(),
            epoch: 3,
            bytes_max: 96 * MIB,
            expiry: Duration::from_secs(600),
            limits: Limits::default(),
        }
    }

    /// What the server answers, over a connection that owes nothing to the client.
    fn ask(&self, command: &[&[u8]]) -> Vec<u8> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut answer = Vec::new();
        for command in [&[b"SELECT".as_slice(), b"2"], command] {
            let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
            for word in command {
                bytes.extend(format!("${}\r\n", word.len()).into_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
            stream.get_mut().write_all(&bytes).unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            answer = line.trim_end().as_bytes().to_vec();
            if let Some(length) = line.strip_prefix('$') {
                answer = vec![0; length.trim().parse::<usize>().unwrap() + 2];
                stream.read_exact(&mut answer).unwrap();
                answer.truncate(answer.len() - 2);
            }
        }
        answer
    }

    fn number(&self, command: &[&[u8]]) -> i64 {
        let answer = String::from_utf8(self.ask(command)).unwrap();
        answer
            .strip_prefix(':')
            .unwrap_or_else(|| panic!("{answer}"))
            .parse()
            .unwrap()
    }

    fn keys(&self) -> usize {
        self.number(&[b"DBSIZE"]) as usize
    }
}

fn spawn(port: u16, options: &[String], folder: &std::path::Path) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
        ])
        .arg(folder)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

async fn redis() -> Result<Harness<Redis>, String> {
    let server = std::rc::Rc::new(Server::start(&[])?);
    let config = server.config();
    let (damaged, left) = (server.clone(), server.clone());
    Ok(Harness {
        tier: Redis::open(&config).await.unwrap(),
        bytes_max: config.bytes_max,
        payload_bytes_max: config.bytes_max,
        damage: Some(Box::new(move |tier, place| {
            let at = place.bytes / 2;
            let key = piece_key(&remote::key(&tier.book, place).unwrap(), at / PIECE_BYTES);
            let at = (at % PIECE_BYTES).to_string();
            let old = damaged.ask(&[b"GETRANGE", key.as_bytes(), at.as_bytes(), at.as_bytes()]);
            damaged.number(&[b"SETRANGE", key.as_bytes(), at.as_bytes(), &[old[0] ^ 1]]);
        })),
        left: Some(Box::new(move || left.keys())),
        _keep: Box::new(server),
    })
}

conforms!(redis_tier, super::run, super::redis);

/// Runs a test with a server that has these options, or says that there is none.
fn with_server<F: Future<Output = ()>>(options: &[&str], test: impl FnOnce(Server) -> F) {
    match Server::start(options) {
        Ok(server) => run(test(server)),
        Err(why) => println!("SKIPPED: remote tier in Redis: {why}"),
    }
}

#[test]
fn another_worker_reads_by_the_place_alone_and_cannot_release() {
    with_server(&[], async |server| {
        let ours = Redis::open(&server.config()).await.unwrap();
        let other = RedisConfig {
            worker: "rack-2".to_owned(),
            ..server.config()
        };
        let other = Redis::open(&other).await.unwrap();
        for bytes in [0, 100, 2 * MIB + 5] {
            let place = soon(ours.put(payload(1, bytes))).await.unwrap();
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
        assert_eq!(server.keys(), 0);
    });
}

#[test]
fn keys_say_whose_they_are_and_go_by_themselves_unless_they_are_renewed() {
    with_server(&[], async |server| {
        let tier = Redis::open(&server.config()).await.unwrap();
        let bytes = PIECE_BYTES + 1;
        let place = soon(tier.put(payload(1, bytes))).await.unwrap();
        let keys = [0, 1].map(|piece| format!("faasflow/rack-1/3/{}/{piece}", place.number));
        let ttl = |key: &str| server.number(&[b"TTL", key.as_bytes()]);
        for key in &keys {
            assert!((1..=600).contains(&ttl(key)), "{key}");
            assert_eq!(server.number(&[b"EXPIRE", key.as_bytes(), b"100"]), 1);
        }
        assert_eq!(soon(tier.renew()).await.unwrap(), 0);
        assert!(keys.iter().all(|key| ttl(key) > 100));
        assert_eq!(server.number(&[b"DEL", keys[1].as_bytes()]), 1);
        assert_eq!(soon(tier.renew()).await.unwrap(), 1, "one is gone");
        let error = read(&tier, &place, 0, bytes).await.map(drop).unwrap_err();
        assert!(matches!(error, TierError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("noeviction"), "{error}");
    });
}

#[test]
fn a_server_that_is_stopped_holds_nobody_up_and_is_of_use_again() {
    with_server(&[], async |server| {
        let mut tier = Redis::open(&server.config()).await.unwrap();
        let kept = soon(tier.put(payload(1, 2 * MIB))).await.unwrap();
        server.signal(Signal::SIGSTOP);
        tier.admission.set_patience(Duration::from_millis(300));
        let failed = [
            soon(tier.put(payload(2, 3 * MIB))).await.map(drop),
            read(&tier, &kept, 0, MIB).await.map(drop),
            soon(tier.renew()).await.map(drop),
        ];
        for error in failed.map(Result::unwrap_err) {
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
                text.contains(&format!("redis://127.0.0.1:{}/2", server.port)),
                "{text}"
            );
        }
        soon(tier.settled()).await;
        assert_eq!(tier.used().count, 1, "what was given up is not counted");
        server.signal(Signal::SIGCONT);
        tier.admission.set_patience(DEADLINE);
        // It may have to be asked more than once: it has what it was sent before to do.
        let begun = Instant::now();
        let back = loop {
            match read(&tier, &kept, 0, 2 * MIB).await {
                Ok(back) => break back,
                Err(error) => assert!(begun.elapsed() < DEADLINE, "{error}"),
            }
        };
        assert!(back.bytes() == payload(1, 2 * MIB).bytes());
        soon(tier.release(kept)).await.unwrap();
    });
}

#[test]
fn what_was_begun_goes_on_when_nobody_waits_any_more_and_whoever_settles_waits_for_it() {
    with_server(&[], async |server| {
        let tier = Redis::open(&server.config()).await.unwrap();
        let kept = soon(tier.put(payload(1, 3 * MIB))).await.unwrap();
        let soon_given_up = Duration::from_millis(20);
        for releases in [true, false] {
            server.signal(Signal::SIGSTOP);
            let given_up = match releases {
                true => {
                    let release = tier.release(kept.clone());
                    tokio::time::timeout(soon_given_up, release).await.is_err()
                }
                false => {
                    let put = tier.put(payload(2, 3 * MIB));
                    tokio::time::timeout(soon_given_up, put).await.is_err()
                }
            };
            assert!(given_up, "the server is stopped");
            let settled = tokio::time::timeout(3 * soon_given_up, tier.settled()).await;
            assert!(settled.is_err(), "it has not answered: {releases}");
            server.signal(Signal::SIGCONT);
            soon(tier.settled()).await;
            assert_eq!((server.keys(), tier.used().count), (0, 0), "{releases}");
        }
    });
}

#[test]
fn a_server_that_was_killed_and_comes_back_has_nothing_and_takes_again() {
    with_server(&[], async |mut server| {
        let tier = Redis::open(&server.config()).await.unwrap();
        let lost = soon(tier.put(payload(1, 2 * MIB))).await.unwrap();
        server.signal(Signal::SIGKILL);
        server.child.wait().unwrap();
        let error = soon(tier.put(payload(2, MIB))).await.unwrap_err();
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
        let error = soon(tier.put(payload(2, MIB))).await.unwrap_err();
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
        server.child = spawn(server.port, &server.options, server.folder.path()).unwrap();
        assert!(server.listens());
        let place = soon(tier.put(payload(3, 2 * MIB))).await.unwrap();
        assert!(
            read(&tier, &place, 0, 2 * MIB).await.unwrap().bytes() == payload(3, 2 * MIB).bytes()
        );
        let error = read(&tier, &lost, 0, 2 * MIB).await.map(drop).unwrap_err();
        assert!(matches!(error, TierError::Missing { .. }), "{error}");

        // In the middle of many, and again and again.
        for round in 0..3 {
            let puts = futures_util::future::join_all(
                (0..20).map(|seed| tier.put(payload(seed, 2 * MIB))),
            );
            let (results, ()) = futures_util::future::join(puts, async {
                for _ in 0..10 * (round + 1) {
                    tokio::task::yield_now().await;
                }
                server.replace();
            })
            .await;
            for result in results {
                match result {
                    Ok(place) => soon(tier.release(place)).await.unwrap_or_else(|error| {
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
                    }),
                    Err(error) => {
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
                }
            }
            soon(tier.settled()).await;
            assert_eq!(tier.used().count, 2);
        }
        assert_eq!(
            server.keys(),
            0,
            "of the dead server's payloads nothing came back"
        );
    });
}

#[test]
fn a_server_without_memory_is_full_and_keeps_nothing_of_what_it_refused() {
    with_server(
        &["--maxmemory", "24mb", "--maxmemory-policy", "noeviction"],
        async |server| {
            let tier = Redis::open(&server.config()).await.unwrap();
            let kept = soon(tier.put(payload(1, 4 * MIB))).await.unwrap();
            let error = soon(tier.put(payload(2, 40 * MIB))).await.unwrap_err();
            assert!(matches!(error, TierError::Full { .. }), "{error}");
            assert!(
                error.to_string().contains("raise the server's maxmemory"),
                "{error}"
            );
            soon(tier.settled()).await;
            assert_eq!(
                (tier.used().count, server.keys() as u64),
                (1, pieces(4 * MIB))
            );
            let place = soon(tier.put(payload(3, 8 * MIB))).await.unwrap();
            for (seed, place) in [(1, kept), (3, place)] {
                let back = read(&tier, &place, 0, place.bytes).await.unwrap();
                assert!(back.bytes() == payload(seed, place.bytes).bytes());
            }
        },
    );
}

#[test]
fn who_is_not_let_in_is_told_so_without_the_password() {
    with_server(&["--requirepass", "open-sesame"], async |server| {
        let mut config = server.config();
        for password in [None, Some("hunter2".to_owned())] {
            config.url.password = password;
            let error = soon(Redis::open(&config)).await.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                matches!(
                    error,
                    TierError::Broken {
                        again: Again::Not,
                        ..
                    }
                ),
                "{text}"
            );
            assert!(
                text.contains("the user and the password") && !text.contains("hunter2"),
                "{text}"
            );
        }
        config.url.password = Some("open-sesame".to_owned());
        let tier = soon(Redis::open(&config)).await.unwrap();
        assert!(!format!("{tier:?}").contains("sesame"));
    });
}

#[test]
fn where_nobody_listens_the_error_names_the_place_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let StoreUrl::Redis(url) =
        StoreUrl::parse(&format!("redis://:hunter2@127.0.0.1:{port}")).unwrap()
    else {
        panic!("it is one of Redis")
    };
    let config = RedisConfig {
        url,
        worker: "w".to_owned(),
        epoch: 1,
        bytes_max: MIB,
        expiry: Duration::from_secs(60),
        limits: Limits::default(),
    };
    let error = run(async { soon(Redis::open(&config)).await }).unwrap_err();
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
        text.contains(&format!("redis://127.0.0.1:{port}/0"))
            && text.contains("whether the server runs"),
        "{text}"
    );
}
