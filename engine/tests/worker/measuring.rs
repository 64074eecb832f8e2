//! Measuring what lies between workers: what is measured, what is refused, and who lies, goes or says nothing on the way.

use crate::caller::{Caller, frame, greet, read_frame};
use crate::process::{SOON, Worker, drivers, eventually};
use engine::greeting::{self, ClusterKey};
use engine::wire::{
    CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, ChunkHead, Control, ControlReply, Echo, Forget, FrameKind,
    Hello, LinkFigures, LinkWish, MEASURED_BYTES_MAX, MEASURED_BYTES_MIN, PROBE_FILL_BYTES, Probe,
    ROUND_TRIPS_MAX, Refused, Role, decode, padding,
};
use faasstore::Cancelled;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::JoinHandle;

fn start(driver: &str, name: &str) -> Worker {
    Worker::start(driver, name, tempfile::tempdir().unwrap().path(), &[])
}

fn wish(name: &str, address: &str) -> LinkWish {
    LinkWish {
        worker: name.to_owned(),
        address: address.to_owned(),
        round_trips: 20,
        bytes: 1 << 20,
    }
}

fn measure(master: &mut Caller, wish: LinkWish) -> LinkFigures {
    match master.ask(&Control::MeasureLink(wish)) {
        ControlReply::Link(figures) => figures,
        other => panic!("{other:?}"),
    }
}

fn measurer(address: &str, key: &ClusterKey) -> Result<TcpStream, String> {
    let worker = "other".to_owned();
    greet(address, key, Role::Measurer { worker })
}

fn chunk(offset: u64, raw: &[u8]) -> Vec<u8> {
    let head = ChunkHead {
        transfer: 0,
        offset,
    };
    let mut bytes = head.frame_start(raw).to_vec();
    bytes.extend_from_slice(raw);
    bytes.resize(bytes.len() + padding(CHUNK_HEAD_BYTES + raw.len()), 0);
    bytes
}

/// Reads until the worker has closed; its last words, if it had any. It may not leave the connection open.
fn last_words(stream: &mut TcpStream) -> Option<String> {
    let mut reason = None;
    while let Some((kind, body)) = read_frame(stream) {
        if kind == FrameKind::Refused {
            reason = Some(decode::<Refused>(&body).unwrap().reason);
        }
    }
    let rest = stream.read(&mut [0; 1]);
    assert!(
        !rest.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "it is still open"
    );
    reason
}

#[test]
fn a_link_is_measured_both_ways_again_and_again() {
    for driver in drivers() {
        let (a, b) = (start(driver, "a"), start(driver, "b"));
        let (mut at_a, mut at_b) = (Caller::control(&a.address), Caller::control(&b.address));
        // Right behind each other: a worker that has answered takes part in nothing any more, nor does the other.
        for _ in 0..10 {
            let there = measure(&mut at_a, wish("b", &b.address));
            let back = measure(&mut at_b, wish("a", &a.address));
            for figures in [there, back] {
                assert_eq!(figures.round_trips, 20, "{driver}");
                assert!(
                    figures.latency_ns > 0 && figures.transfer_ns > 0,
                    "{driver}"
                );
                assert!(figures.bytes >= MEASURED_BYTES_MIN && figures.bytes <= 1 << 20);
            }
        }
        for master in [&mut at_a, &mut at_b] {
            let counters = master.status().counters;
            let counts = [
                "measurements",
                "measurements_refused",
                "measurements_broken",
            ];
            assert_eq!(counts.map(|name| counters[name]), [20, 0, 0], "{driver}");
        }
    }
}

#[test]
fn a_measurement_that_makes_no_sense_is_refused_before_anything_is_sent() {
    let a = start("epoll", "a");
    let mut master = Caller::control(&a.address);
    let b = || wish("b", "127.0.0.1:1");
    let itself = master.refused(&Control::MeasureLink(wish("a", &a.address)));
    assert!(
        itself.contains("worker a has no link to itself"),
        "{itself}"
    );
    for (round_trips, bytes) in [
        (0, 1 << 20),
        (ROUND_TRIPS_MAX + 1, 1 << 20),
        (u32::MAX, 1 << 20),
        (20, 0),
        (20, MEASURED_BYTES_MIN - 1),
        (20, MEASURED_BYTES_MAX + 1),
        (20, 1 << 60),
        (20, u64::MAX),
    ] {
        let said = master.refused(&Control::MeasureLink(LinkWish {
            round_trips,
            bytes,
            ..b()
        }));
        assert!(said.contains("64 KiB to 64 MiB"), "{said}");
    }
    let counters = master.status().counters;
    assert_eq!(counters["measurements_refused"], 9);
    assert_eq!(counters["measurements"], 0);
}

#[test]
fn a_peer_that_is_not_there_or_is_another_or_has_another_key_is_named_with_a_remedy() {
    let key_file = |bytes: &[u8]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    };
    let (ours, theirs) = (key_file(&[7; 32]), key_file(&[8; 32]));
    let functions = tempfile::tempdir().unwrap();
    let start = |driver, name, key: &Path| {
        let flag = format!("--cluster-key-file={}", key.display());
        Worker::start(driver, name, functions.path(), &[&flag])
    };
    let key = ClusterKey::from_bytes(&[7; 32]);
    for driver in drivers() {
        let a = start(driver, "a", ours.path());
        let (b, c) = (
            start(driver, "b", ours.path()),
            start(driver, "c", theirs.path()),
        );
        let mut master = Caller(greet(&a.address, &key, Role::Control).unwrap());
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = free.local_addr().unwrap().to_string();
        drop(free);
        for (name, address, words) in [
            (
                "b",
                &nobody,
                ["worker b cannot be reached", "at which worker a reaches it"],
            ),
            (
                "c",
                &b.address,
                ["is worker b, where c is expected", "its own address"],
            ),
            ("c", &c.address, ["worker c", "--cluster-key-file"]),
        ] {
            let said = master.refused(&Control::MeasureLink(wish(name, address)));
            for word in words {
                assert!(said.contains(word), "{driver}: {said}");
            }
        }
        // Nothing of that stands in the way of the next one.
        measure(&mut master, wish("b", &b.address));
        let stranger = ClusterKey::from_bytes(&[8; 32]);
        let said = measurer(&a.address, &stranger).unwrap_err();
        assert!(said.contains("cluster key"), "{said}");
        let namesake = Role::Measurer {
            worker: "a".to_owned(),
        };
        let said = greet(&a.address, &key, namesake).unwrap_err();
        assert!(said.contains("names must be unique"), "{said}");
    }
}

#[test]
fn a_worker_takes_part_in_one_measurement_at_a_time() {
    for driver in drivers() {
        let (a, b) = (start(driver, "a"), start(driver, "b"));
        let none = ClusterKey::none();
        let first = measurer(&a.address, &none).unwrap();
        let second = measurer(&a.address, &none).unwrap_err();
        assert!(second.contains("another measurement"), "{driver}: {second}");
        let (mut at_a, mut at_b) = (Caller::control(&a.address), Caller::control(&b.address));
        let own = at_a.refused(&Control::MeasureLink(wish("b", &b.address)));
        assert!(
            own.contains("worker a takes part in another measurement"),
            "{driver}: {own}"
        );
        let far = at_b.refused(&Control::MeasureLink(wish("a", &a.address)));
        assert!(
            far.contains("worker a") && far.contains("another measurement"),
            "{driver}: {far}"
        );
        assert_eq!(
            at_a.status().counters["measurements_refused"],
            3,
            "{driver}"
        );
        drop(first);
        eventually("the place is free again", || {
            match at_b.ask(&Control::MeasureLink(wish("a", &a.address))) {
                ControlReply::Link(_) => Some(()),
                _ => None,
            }
        });
    }
}

/// Resident bytes of a process at their highest.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

#[test]
fn a_measurer_that_keeps_to_no_bounds_is_cut_off_and_costs_next_to_nothing() {
    for driver in drivers() {
        let a = start(driver, "a");
        let none = ClusterKey::none();
        let mut master = Caller::control(&a.address);
        let mut broken = 0;
        let mut free_again = |master: &mut Caller| {
            broken += 1;
            eventually("it is let go", || {
                let counters = master.status().counters;
                (counters["measurements_broken"] == broken).then_some(())
            });
        };
        let raw = vec![7; CHUNK_BYTES_MAX];
        let before = peak_bytes(a.pid());

        // It never stops sending.
        let mut endless = measurer(&a.address, &none).unwrap();
        let mut offset = 0;
        while endless.write_all(&chunk(offset, &raw)).is_ok() {
            offset += raw.len() as u64;
            assert!(
                offset < 4 * MEASURED_BYTES_MAX,
                "{driver}: {offset} bytes are taken"
            );
        }
        assert!(offset >= MEASURED_BYTES_MAX, "{driver}: {offset}");
        drop(endless);
        free_again(&mut master);
        assert!(peak_bytes(a.pid()) < before + (16 << 20), "{driver}");

        // What has no place in a measurement, each told.
        let mut flipped = frame(&Probe::new(1));
        flipped[20] ^= 1;
        let forget = frame(&Forget {
            invocation: 1,
            why: Cancelled::ByClient,
        });
        let mut short = chunk(0, &[]);
        short[8..12].copy_from_slice(&3_u32.to_le_bytes());
        for (bytes, word) in [
            (chunk(1 << 60, &raw[..100]), "out of its turn"),
            (chunk(5, &raw[..100]), "out of its turn"),
            (flipped, "checksum"),
            (forget, "where none may come"),
            (short, "without its head"),
            (vec![0xaa; 64], "not a FaaSFlow frame"),
        ] {
            let mut stream = measurer(&a.address, &none).unwrap();
            stream.write_all(&bytes).unwrap();
            let said = last_words(&mut stream).expect("it says why");
            assert!(said.contains(word), "{driver}: {said}");
            free_again(&mut master);
        }

        // It asks for ever more echoes.
        let mut curious = measurer(&a.address, &none).unwrap();
        let echoes = (0..1_000_000).take_while(|number| {
            curious.write_all(&frame(&Probe::new(*number))).unwrap();
            matches!(read_frame(&mut curious), Some((FrameKind::Echo, _)))
        });
        let echoes = echoes.count();
        assert!(echoes >= ROUND_TRIPS_MAX as usize, "{driver}: {echoes}");
        assert!(echoes < 2 * ROUND_TRIPS_MAX as usize, "{driver}: {echoes}");
        drop(curious);
        free_again(&mut master);

        // It asks and reads nothing.
        let mut deaf = measurer(&a.address, &none).unwrap();
        let probe = frame(&Probe::new(1));
        let mut asked = 0;
        while deaf.write_all(&probe).is_ok() {
            asked += 1;
            assert!(asked < 200_000, "{driver}: {asked} probes are taken");
        }
        drop(deaf);
        free_again(&mut master);
    }
}

#[test]
fn a_measurer_that_says_nothing_more_is_let_go_in_time() {
    let a = start("epoll", "a");
    let mut master = Caller::control(&a.address);
    // In the middle of a chunk.
    let mut stream = measurer(&a.address, &ClusterKey::none()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&chunk(0, &[7; 4096])[..2000]).unwrap();
    let said = last_words(&mut stream).expect("it says why");
    assert!(said.contains("nothing went on"), "{said}");
    eventually("it is let go", || {
        (master.status().counters["measurements_broken"] == 1).then_some(())
    });
    drop(measurer(&a.address, &ClusterKey::none()).unwrap());
}

/// Takes one measurer, greets it as worker `b` does, and then does with it what it is told.
fn far_end(serve: impl FnOnce(&mut TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let challenge = greeting::challenge("b").unwrap();
        stream.write_all(&frame(&challenge)).unwrap();
        let (_, body) = read_frame(&mut stream).unwrap();
        let hello: Hello = decode(&body).unwrap();
        let welcome = greeting::admit(&ClusterKey::none(), &challenge, &hello, 1, None).unwrap();
        assert!(matches!(&hello.role, Role::Measurer { worker } if worker == "a"));
        stream.write_all(&frame(&welcome)).unwrap();
        serve(&mut stream);
    });
    (address, thread)
}

/// Answers probes as it should, but for what `alter` makes of each echo.
fn echoing(stream: &mut TcpStream, mut alter: impl FnMut(&mut Echo)) {
    let began = std::time::Instant::now();
    let mut received_bytes = 0;
    while let Some((kind, body)) = read_frame(stream) {
        if kind == FrameKind::Chunk {
            received_bytes += (body.len() - CHUNK_HEAD_BYTES) as u64;
            continue;
        }
        let mut echo = Echo {
            number: decode::<Probe>(&body).unwrap().number,
            received_bytes,
            at_ns: began.elapsed().as_nanos() as u64,
            fill: [0; PROBE_FILL_BYTES],
        };
        alter(&mut echo);
        if stream.write_all(&frame(&echo)).is_err() {
            return;
        }
    }
}

type Serve = Box<dyn FnOnce(&mut TcpStream) + Send>;

#[test]
fn a_peer_that_goes_or_lies_or_says_nothing_is_told_and_the_next_measurement_is_as_good() {
    let (a, b) = (start("epoll", "a"), start("epoll", "b"));
    let mut master = Caller::control(&a.address);
    // One that does all as it should is believed, so that the others fail for what they do.
    let (address, thread) = far_end(|stream| echoing(stream, |_| {}));
    measure(&mut master, wish("b", &address));
    thread.join().unwrap();
    let cases: [(&str, Serve); 9] = [
        ("closed", Box::new(|_| {})),
        (
            "closed",
            Box::new(|stream| {
                // After some round trips.
                for number in 0..10 {
                    let _ = read_frame(stream).unwrap();
                    let echo = Echo {
                        number,
                        received_bytes: 0,
                        at_ns: number,
                        fill: [0; PROBE_FILL_BYTES],
                    };
                    stream.write_all(&frame(&echo)).unwrap();
                }
            }),
        ),
        (
            "nothing went on for 3s",
            Box::new(|stream| {
                // It takes everything, and never says a word.
                let _ = std::io::copy(stream, &mut std::io::sink());
            }),
        ),
        (
            "out of its turn",
            Box::new(|stream| echoing(stream, |echo| echo.number += 1)),
        ),
        (
            "other bytes",
            Box::new(|stream| echoing(stream, |echo| echo.received_bytes *= 2)),
        ),
        (
            "another time",
            Box::new(|stream| echoing(stream, |echo| echo.at_ns *= 1000)),
        ),
        (
            "another time",
            Box::new(|stream| echoing(stream, |echo| echo.at_ns = u64::MAX - echo.at_ns)),
        ),
        (
            "above the limit",
            Box::new(|stream| {
                let mut long = frame(&Probe::new(0));
                long[8..12].copy_from_slice(&(60_u32 << 20).to_le_bytes());
                stream.write_all(&long).unwrap();
                let _ = std::io::copy(stream, &mut std::io::sink());
            }),
        ),
        (
            "refused: I will not",
            Box::new(|stream| {
                let reason = "I will not".to_owned();
                stream.write_all(&frame(&Refused { reason })).unwrap();
                let _ = std::io::copy(stream, &mut std::io::sink());
            }),
        ),
    ];
    let count = cases.len() as u64;
    for (word, serve) in cases {
        let (address, thread) = far_end(serve);
        let said = master.refused(&Control::MeasureLink(wish("b", &address)));
        for word in [word, "from worker a to worker b"] {
            assert!(said.contains(word), "{said}");
        }
        thread.join().unwrap();
        measure(&mut master, wish("b", &b.address));
    }
    let counters = master.status().counters;
    assert_eq!(counters["measurements_broken"], count);
}

#[test]
fn a_worker_ends_while_it_measures() {
    for driver in drivers() {
        let mut a = start(driver, "a");
        let (sender, taken) = std::sync::mpsc::channel();
        let (address, thread) = far_end(move |stream| {
            let _ = read_frame(stream);
            sender.send(()).unwrap();
            let _ = std::io::copy(stream, &mut std::io::sink());
        });
        let mut master = Caller::control(&a.address);
        let wish = Control::MeasureLink(wish("b", &address));
        master.0.write_all(&frame(&wish)).unwrap();
        taken.recv_timeout(SOON).unwrap();
        a.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(a.wait().code(), Some(0), "{driver}");
        thread.join().unwrap();
    }
}
