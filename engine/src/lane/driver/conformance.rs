//! What both drivers promise, tested on both. Where a test needs a deadline it is for a driver that has lost something,
//! and far beyond what a slow machine takes.

use super::{AlignedBuffer, Completion, ConnectionId, Driver, DriverKind, Piece, PieceSegment};
use super::{ReceiveBuffer, Rings, SendBuffer, Watch};
use faasstore::segment::SegmentWriter;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod io_uring {
            $(#[test] fn $name() {
                match super::Driver::probe() {
                    Ok(()) => super::$name(super::DriverKind::IoUring),
                    Err(error) => println!("skipped: io_uring is not to be had here: {error}"),
                }
            })*
        }
        mod epoll {
            $(#[test] fn $name() { super::$name(super::DriverKind::Epoll) })*
        }
    };
}

on_both!(
    what_is_sent_arrives,
    pieces_of_segments_are_sent_in_their_place,
    a_receive_into_a_segment_takes_all_of_it,
    a_receive_into_a_segment_ends_with_its_peer,
    a_peer_that_closes_ends_the_receive,
    what_was_received_is_received_once,
    a_close_after_a_receive_is_an_end_and_no_reset,
    a_close_ends_what_is_outstanding,
    operations_on_a_closed_connection_fail_with_their_buffer,
    a_range_that_does_not_exist_is_refused,
    a_socket_that_was_set_not_to_block_waits_all_the_same,
    doorbells_coalesce,
    no_ring_of_a_doorbell_is_lost,
    an_unwatched_doorbell_is_silent,
    the_exit_of_a_child_is_seen,
    a_wait_ends_at_its_timeout,
    no_descriptor_is_leaked,
    a_driver_that_is_dropped_lets_go_of_all_memory,
    an_idle_poll_makes_no_system_call,
    a_lane_whose_rings_are_busy_makes_hardly_any_system_call_and_hears_its_sockets,
);

/// A driver and what it has reported.
struct Lane {
    driver: Driver,
    seen: Vec<Completion>,
}

impl Lane {
    fn new(kind: DriverKind) -> Self {
        Self {
            driver: Driver::new(kind).unwrap(),
            seen: Vec::new(),
        }
    }

    /// Waits for the first completion that `pick` takes, and keeps the others.
    fn until<T>(&mut self, mut pick: impl FnMut(&Completion) -> Option<T>) -> (T, Completion) {
        let start = Instant::now();
        loop {
            let found = self
                .seen
                .iter()
                .enumerate()
                .find_map(|(place, seen)| Some((place, pick(seen)?)));
            if let Some((place, value)) = found {
                return (value, self.seen.remove(place));
            }
            assert!(
                start.elapsed() < DEADLINE,
                "nothing came; seen: {:?}",
                self.seen
            );
            self.driver
                .wait(Some(Duration::from_millis(100)), &mut self.seen);
        }
    }

    fn received(&mut self, id: ConnectionId) -> (std::io::Result<usize>, ReceiveBuffer) {
        match self
            .until(|seen| {
                matches!(seen, Completion::Received { id: i, .. } if *i == id).then_some(())
            })
            .1
        {
            Completion::Received { result, buffer, .. } => (result, buffer),
            _ => unreachable!(),
        }
    }

    fn sent(&mut self, id: ConnectionId) -> (std::io::Result<()>, SendBuffer) {
        match self
            .until(|seen| matches!(seen, Completion::Sent { id: i, .. } if *i == id).then_some(()))
            .1
        {
            Completion::Sent { result, buffer, .. } => (result, buffer),
            _ => unreachable!(),
        }
    }

    fn closed(&mut self, id: ConnectionId) {
        self.until(|seen| matches!(seen, Completion::Closed { id: i } if *i == id).then_some(()));
    }

    fn watched(&mut self, token: u64) {
        self.until(|seen| {
            matches!(seen, Completion::Watched { token: t } if *t == token).then_some(())
        });
    }

    /// Lets pass whatever is under way, without waiting for more.
    fn settle(&mut self) {
        for _ in 0..64 {
            self.driver.poll(&mut self.seen);
        }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(DEADLINE)).unwrap();
    (near, far)
}

fn buffer(bytes: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new();
    buffer.resize(bytes, 0);
    buffer
}

fn owned(bytes: usize) -> ReceiveBuffer {
    ReceiveBuffer::Owned(buffer(bytes), 0..bytes)
}

/// Bytes that tell their place.
fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(step).collect()
}

fn what_is_sent_arrives(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, far) = pair();
    let (near, far) = (
        lane.driver.add(near.into()).unwrap(),
        lane.driver.add(far.into()).unwrap(),
    );
    for (round, bytes) in [1, 15, 16, 17, 4095, 65_536, 70_001, 1 << 20, (3 << 20) + 5]
        .into_iter()
        .enumerate()
    {
        let data = pattern(bytes, round as u64);
        for (from, to) in [(near, far), (far, near)] {
            lane.driver.send(from, SendBuffer::new(data.clone()));
            let mut arrived = Vec::new();
            let mut space = owned(40_000);
            while arrived.len() < bytes {
                lane.driver.receive(to, space);
                let (result, filled) = lane.received(to);
                let ReceiveBuffer::Owned(bytes, range) = filled else {
                    panic!("another buffer")
                };
                arrived.extend_from_slice(&bytes[range.clone()][..result.unwrap()]);
                space = ReceiveBuffer::Owned(bytes, range);
            }
            lane.sent(from).0.unwrap();
            assert!(arrived == data, "{bytes} bytes arrived changed");
        }
    }
}

fn pieces_of_segments_are_sent_in_their_place(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    let segment = Arc::new(SegmentWriter::create("pieces", 2 << 20).unwrap());
    let data = pattern(2 << 20, 9);
    assert!(segment.write(0, &data));
    let mut buffer = SendBuffer::default();
    let mut expected = Vec::new();
    // More ranges than one sendmsg names, and more bytes than a socket takes at once.
    for place in 0..200_usize {
        let (text, length) = (
            pattern(place % 3, place as u64),
            if place == 100 { 1 << 20 } else { place * 7 },
        );
        let piece = Piece::new(
            PieceSegment::Own(segment.clone()),
            place as u64 * 100,
            length as u64,
        )
        .unwrap();
        buffer.extend(&text);
        buffer.push(piece);
        expected.extend_from_slice(&text);
        expected.extend_from_slice(&data[place * 100..][..length]);
    }
    buffer.extend(b"end");
    expected.extend_from_slice(b"end");
    assert_eq!(buffer.length(), expected.len() as u64);
    lane.driver.send(near, buffer);
    let reader = std::thread::spawn(move || {
        let mut arrived = vec![0; expected.len()];
        far.read_exact(&mut arrived).unwrap();
        assert!(arrived == expected, "pieces arrived changed");
    });
    lane.sent(near).0.unwrap();
    reader.join().unwrap();
    assert!(Piece::new(PieceSegment::Own(segment), 2 << 20, 1).is_none());
}

fn a_receive_into_a_segment_takes_all_of_it(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    let segment = Arc::new(SegmentWriter::create("landing", 1 << 20).unwrap());
    let data = pattern(500_000, 3);
    lane.driver.receive(
        near,
        ReceiveBuffer::Segment {
            segment: segment.clone(),
            offset: 16,
            length: 500_000,
        },
    );
    lane.settle();
    for part in data.chunks(170_000) {
        far.write_all(part).unwrap();
        lane.settle();
    }
    far.write_all(b"beyond").unwrap();
    assert_eq!(lane.received(near).0.unwrap(), 500_000);
    assert!(
        segment.read(16, 500_000).unwrap() == data,
        "bytes arrived changed"
    );
    assert_eq!(segment.read(500_016, 6).unwrap(), [0; 6]);
}

fn a_receive_into_a_segment_ends_with_its_peer(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    let segment = Arc::new(SegmentWriter::create("landing", 1 << 20).unwrap());
    lane.driver.receive(
        near,
        ReceiveBuffer::Segment {
            segment: segment.clone(),
            offset: 0,
            length: 1000,
        },
    );
    far.write_all(b"only this").unwrap();
    drop(far);
    assert_eq!(lane.received(near).0.unwrap(), 9);
    lane.driver.receive(
        near,
        ReceiveBuffer::Segment {
            segment,
            offset: 9,
            length: 991,
        },
    );
    assert_eq!(lane.received(near).0.unwrap(), 0);
}

fn a_peer_that_closes_ends_the_receive(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    lane.driver.receive(near, owned(100));
    lane.settle();
    drop(far);
    assert_eq!(lane.received(near).0.unwrap(), 0);
    lane.driver.close(near);
    lane.closed(near);
}

fn what_was_received_is_received_once(kind: DriverKind) {
    const BYTES: usize = 100_000;
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    let segment = Arc::new(SegmentWriter::create("landing", 4096).unwrap());
    let sent = pattern(BYTES, 5);
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || far.write_all(&sent).map(|()| far)
    });
    let mut came = Vec::new();
    // Private memory and shared in turn, in steps that no boundary of what is sent fits.
    for step in (1..).map(|round: usize| 1 + round * 37 % 700) {
        let left = BYTES - came.len();
        if left == 0 {
            break;
        }
        let length = step.min(left);
        if step % 3 == 0 {
            let (segment, offset, length) = (segment.clone(), 0, length as u64);
            let buffer = ReceiveBuffer::Segment {
                segment,
                offset,
                length,
            };
            lane.driver.receive(near, buffer);
        } else {
            lane.driver.receive(near, owned(length));
        }
        match lane.received(near) {
            (Ok(bytes), ReceiveBuffer::Owned(buffer, _)) => {
                came.extend_from_slice(&buffer[..bytes])
            }
            (Ok(bytes), ReceiveBuffer::Segment { segment, .. }) => {
                came.extend_from_slice(segment.read(0, bytes as u64).unwrap());
            }
            (Err(error), _) => panic!("{error}"),
        }
    }
    assert!(came == sent);
    drop(writer.join().unwrap().unwrap());
    lane.driver.receive(near, owned(1));
    assert_eq!(lane.received(near).0.unwrap(), 0, "and nothing behind it");
}

fn a_close_after_a_receive_is_an_end_and_no_reset(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    far.write_all(b"question").unwrap();
    lane.driver.receive(near, owned(100));
    assert_eq!(lane.received(near).0.unwrap(), 8);
    lane.driver.send(near, SendBuffer::new(b"answer".to_vec()));
    lane.sent(near).0.unwrap();
    lane.driver.close(near);
    lane.closed(near);
    let mut came = Vec::new();
    far.read_to_end(&mut came).unwrap();
    assert_eq!(came, b"answer");
}

fn a_close_ends_what_is_outstanding(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    lane.driver.receive(near, owned(100));
    // More than both sockets hold, and nobody reads.
    lane.driver.send(near, SendBuffer::new(vec![7; 64 << 20]));
    lane.settle();
    lane.driver.close(near);
    lane.driver.close(near);
    lane.sent(near).0.unwrap_err();
    let (received, _) = lane.received(near);
    assert!(!matches!(received, Ok(1..)), "{received:?}");
    lane.closed(near);
    lane.settle();
    assert!(lane.seen.is_empty(), "after the end: {:?}", lane.seen);
    let mut rest = Vec::new();
    let _ = far.read_to_end(&mut rest); // ends, or the far side learns of a reset; it does not hang
}

fn operations_on_a_closed_connection_fail_with_their_buffer(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, _far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    lane.driver.close(near);
    lane.closed(near);
    lane.driver.receive(near, owned(10));
    lane.driver.send(near, SendBuffer::new(vec![1; 11]));
    let (result, buffer) = lane.received(near);
    result.unwrap_err();
    assert!(matches!(buffer, ReceiveBuffer::Owned(buffer, _) if buffer.len() == 10));
    let (result, buffer) = lane.sent(near);
    result.unwrap_err();
    assert_eq!(buffer.length(), 11);
    lane.driver.close(near);
    // Its place may be taken by another now, which the old name does not reach.
    let (other, _far) = pair();
    let other = lane.driver.add(other.into()).unwrap();
    assert_ne!(other, near);
    lane.driver.close(near);
    lane.settle();
    assert!(lane.seen.is_empty(), "{:?}", lane.seen);
}

fn a_range_that_does_not_exist_is_refused(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, _far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    let segment = Arc::new(SegmentWriter::create("landing", 4096).unwrap());
    let into_segment = |offset, length| ReceiveBuffer::Segment {
        segment: segment.clone(),
        offset,
        length,
    };
    let ranges = [
        ReceiveBuffer::Owned(buffer(10), 4..4),
        ReceiveBuffer::Owned(buffer(10), 5..11),
        into_segment(0, 0),
        into_segment(4096, 1),
        into_segment(u64::MAX, 2),
    ];
    for range in ranges {
        let text = format!("{range:?}");
        lane.driver.receive(near, range);
        let (result, _) = lane.received(near);
        assert_eq!(
            result.unwrap_err().kind(),
            std::io::ErrorKind::InvalidInput,
            "{text}"
        );
    }
    lane.driver.send(near, SendBuffer::default());
    lane.sent(near).0.unwrap();
}

fn a_socket_that_was_set_not_to_block_waits_all_the_same(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    near.set_nonblocking(true).unwrap();
    let near = lane.driver.add(near.into()).unwrap();
    lane.driver.receive(near, owned(100));
    lane.settle();
    far.write_all(b"late").unwrap();
    assert_eq!(lane.received(near).0.unwrap(), 4);
}

fn doorbell() -> (EventFd, OwnedFd) {
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
    let watched = std::os::fd::AsFd::as_fd(&bell)
        .try_clone_to_owned()
        .unwrap();
    (bell, watched)
}

fn doorbells_coalesce(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (bell, watched) = doorbell();
    bell.write(1).unwrap(); // before the watch began, and still reported
    lane.driver.watch(watched, 5, Watch::Doorbell).unwrap();
    lane.watched(5);
    for round in 0..3 {
        for _ in 0..1000 {
            bell.write(1).unwrap();
        }
        lane.watched(5);
        lane.settle();
        assert!(
            lane.seen.len() < 10,
            "round {round}: {} reports",
            lane.seen.len()
        );
        lane.seen.clear();
        lane.driver
            .wait(Some(Duration::from_millis(1)), &mut lane.seen);
        assert!(
            lane.seen.is_empty(),
            "round {round}: reported without a ring"
        );
    }
}

fn no_ring_of_a_doorbell_is_lost(kind: DriverKind) {
    const RINGS: u64 = 20_000;
    let mut lane = Lane::new(kind);
    let (bell, watched) = doorbell();
    lane.driver
        .watch(watched, u64::MAX, Watch::Doorbell)
        .unwrap();
    let work = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let ringer = {
        let (work, done) = (work.clone(), done.clone());
        std::thread::spawn(move || {
            for ring in 1..=RINGS {
                work.store(ring, Ordering::SeqCst);
                bell.write(1).unwrap();
                // Now and then wait until the lane has seen it, so that it sleeps in between.
                while ring % 100 == 0 && done.load(Ordering::SeqCst) < ring {
                    std::thread::yield_now();
                }
            }
        })
    };
    while done.load(Ordering::SeqCst) < RINGS {
        lane.watched(u64::MAX);
        done.store(work.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    ringer.join().unwrap();
}

fn an_unwatched_doorbell_is_silent(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let (bell, watched) = doorbell();
    lane.driver.watch(watched, 1, Watch::Doorbell).unwrap();
    lane.settle();
    bell.write(1).unwrap();
    lane.driver.unwatch(1);
    lane.settle();
    bell.write(1).unwrap();
    lane.settle();
    assert!(lane.seen.is_empty(), "{:?}", lane.seen);
    // The token is free again.
    lane.driver
        .watch(
            std::os::fd::AsFd::as_fd(&bell)
                .try_clone_to_owned()
                .unwrap(),
            1,
            Watch::Doorbell,
        )
        .unwrap();
    lane.watched(1);
}

fn the_exit_of_a_child_is_seen(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let mut child = Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    lane.driver
        .watch(
            pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            77,
            Watch::Exit,
        )
        .unwrap();
    lane.settle();
    assert!(lane.seen.is_empty());
    drop(child.stdin.take());
    lane.watched(77);
    child.wait().unwrap();
    lane.settle();
    assert!(lane.seen.is_empty(), "once is enough");
    // The token is free again.
    let (_bell, watched) = doorbell();
    lane.driver.watch(watched, 77, Watch::Doorbell).unwrap();
}

fn a_wait_ends_at_its_timeout(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let timeout = Duration::from_micros(20_500);
    let start = Instant::now();
    while start.elapsed() < timeout {
        lane.driver.wait(
            Some(timeout.saturating_sub(start.elapsed())),
            &mut lane.seen,
        );
        assert!(start.elapsed() < DEADLINE);
    }
    assert!(lane.seen.is_empty());
    assert!(lane.driver.enters() < 20, "it slept");
}

fn no_descriptor_is_leaked(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let mut highest = 0;
    for round in 0..5000 {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        highest = highest.max(near.as_raw_fd());
        let near = lane.driver.add(near.into()).unwrap();
        if round % 3 == 0 {
            lane.driver.receive(near, owned(16));
        }
        if round % 2 == 0 {
            lane.driver.poll(&mut lane.seen);
        }
        lane.driver.close(near);
        lane.closed(near);
        lane.seen.clear();
        drop(far);
        let (_bell, watched) = doorbell();
        lane.driver.watch(watched, 1, Watch::Doorbell).unwrap();
        lane.driver.unwatch(1);
    }
    // Descriptors are numbered from the lowest that is free; the other tests of this process have some too.
    assert!(highest < 2000, "descriptor {highest}");
}

fn a_driver_that_is_dropped_lets_go_of_all_memory(kind: DriverKind) {
    let mut lane = Lane::new(kind);
    let segment = Arc::new(SegmentWriter::create("landing", 8 << 20).unwrap());
    let mut far_ends = Vec::new();
    for place in 0..20 {
        let (near, far) = pair();
        let near = lane.driver.add(near.into()).unwrap();
        let (offset, length) = (place * 100, 100);
        lane.driver.receive(
            near,
            ReceiveBuffer::Segment {
                segment: segment.clone(),
                offset,
                length,
            },
        );
        let mut buffer = SendBuffer::new(vec![1; 100]);
        for _ in 0..10 {
            buffer.push(Piece::new(PieceSegment::Own(segment.clone()), 0, 8 << 20).unwrap());
        }
        lane.driver.send(near, buffer);
        far_ends.push(far);
        if place % 2 == 0 {
            lane.settle(); // the kernel has some of them, and some are still to be handed over
        }
    }
    let (_bell, watched) = doorbell();
    lane.driver.watch(watched, 1, Watch::Doorbell).unwrap();
    drop(lane);
    assert_eq!(Arc::strong_count(&segment), 1);
    for mut far in far_ends {
        let _ = far.write_all(&[9; 100]);
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest); // ends; it does not hang
    }
    assert_eq!(
        segment.read(0, 2000).unwrap(),
        [0; 2000],
        "written to after the driver let go"
    );
}

fn an_idle_poll_makes_no_system_call(kind: DriverKind) {
    const POLLS: u64 = 10_000;
    let mut lane = Lane::new(kind);
    let (near, _far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    let (_bell, watched) = doorbell();
    lane.driver.watch(watched, 1, Watch::Doorbell).unwrap();
    lane.driver.receive(near, owned(10));
    lane.settle();
    let before = lane.driver.enters();
    for _ in 0..POLLS {
        lane.driver.poll(&mut lane.seen);
    }
    let calls = lane.driver.enters() - before;
    let allowed = match kind {
        DriverKind::IoUring => 0,
        DriverKind::Epoll => POLLS / u64::from(super::EPOLL_POLLS_PER_LOOK) + 1,
    };
    assert!(calls <= allowed, "{calls} system calls in {POLLS} polls");
}

fn a_lane_whose_rings_are_busy_makes_hardly_any_system_call_and_hears_its_sockets(
    kind: DriverKind,
) {
    const HOPS: u64 = 10_000;
    /// Turns in which an executor has not answered yet.
    const TURNS_PER_HOP: u64 = 50;
    let mut lane = Lane::new(kind);
    let (near, mut far) = pair();
    let near = lane.driver.add(near.into()).unwrap();
    lane.driver.receive(near, owned(10));
    lane.settle();
    let before = lane.driver.enters();
    let hop = |lane: &mut Lane| {
        lane.driver.rings_were_busy(|| Rings::Awaited);
        for _ in 0..TURNS_PER_HOP {
            lane.driver.poll(&mut lane.seen);
        }
    };
    for _ in 0..HOPS {
        hop(&mut lane);
    }
    let calls = lane.driver.enters() - before;
    assert!(calls <= HOPS / 100, "{calls} system calls in {HOPS} hops");
    assert!(lane.seen.is_empty());
    far.write_all(b"heard").unwrap();
    let start = Instant::now();
    while lane.seen.is_empty() {
        hop(&mut lane);
        assert!(
            start.elapsed() < DEADLINE,
            "it is not heard while rings are busy"
        );
    }
    assert_eq!(lane.received(near).0.unwrap(), 5);
}
