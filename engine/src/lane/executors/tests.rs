//! An executor as its lane has it, against one whose process is this test: what the rings and the socket carry.

use super::*;
use faasstore::channel::{EngineChannel, ExecutorChannel};
use faasstore::descriptor::{InvocationId, NO_ITEM, Request, decode_request};
use faasstore::socket::Socket;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

const LIMITS: OutputLimits = OutputLimits {
    payload_bytes_max: 1 << 20,
    items_max: 8,
};

/// The lane's end, and the executor's: its rings and its socket.
fn executor() -> (Executor, ExecutorChannel, Socket) {
    let (near, far) = Socket::pair().unwrap();
    let engine_half = EngineChannel::create_segment().unwrap();
    let executor_half = ExecutorChannel::create_segment().unwrap();
    let reader = |fd: std::os::fd::BorrowedFd<'_>| {
        SegmentReader::open(fd.try_clone_to_owned().unwrap()).unwrap()
    };
    let (engine_read, executor_read) = (reader(engine_half.fd()), reader(executor_half.fd()));
    let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK).unwrap();
    let bell = std::os::fd::OwnedFd::from(bell);
    let their_bell = bell.try_clone().unwrap();
    let wait = WaitStrategy::Park;
    let theirs = ExecutorChannel::connect(
        Arc::new(executor_half),
        engine_read,
        their_bell,
        wait,
        0,
    );
    let started = StartedExecutor {
        deployment: DeploymentId(1),
        executable: 0,
        pid: 0,
        pidfd: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
        cpu: None,
        channel: EngineChannel::connect(Arc::new(engine_half), executor_read, wait).unwrap(),
        socket: near,
        doorbell: bell,
    };
    (Executor::new(started, 1, LIMITS), theirs.unwrap(), far)
}

fn range(number: u64) -> ArenaRange {
    ArenaRange {
        segment: 0,
        generation: 0,
        offset: number * 64,
        length: 64,
    }
}

/// The longest request there is.
fn request() -> Message {
    let activate = Activate {
        node: 0,
        attempt: 1,
        invocation: InvocationId(1),
        activation: 1,
        item: NO_ITEM,
        deadline_ns: Some(1),
    };
    let inputs = [PayloadRef::EMPTY; INPUTS_IN_PLACE_MAX];
    Message::written(|message| {
        descriptor::encode_activate(message, &activate, &inputs, false);
    })
}

/// What the executor has been told.
#[derive(Default)]
struct Told {
    ranges: Vec<u64>,
    segments: Vec<u32>,
    requests: usize,
    stops: usize,
}

impl Told {
    /// Reads the ring until it is empty, as an executor does before it sleeps.
    fn read(&mut self, theirs: &mut ExecutorChannel) {
        let (mut message, mut inputs) = (Message::default(), Vec::new());
        loop {
            while theirs.pop(&mut message).unwrap() {
                match decode_request(&message, &mut inputs).unwrap() {
                    Request::Activate { .. } => self.requests += 1,
                    Request::Release { ranges, count } => {
                        let ranges = ranges[..count].iter();
                        self.ranges.extend(ranges.map(|range| range.offset / 64));
                    }
                    Request::Unmap { segment, .. } => self.segments.push(segment),
                    Request::Stop => self.stops += 1,
                }
            }
            if !theirs.wait(Some(Duration::ZERO)) {
                return;
            }
        }
    }
}

#[test]
fn ranges_without_end_come_back_to_an_executor_that_reads_late_and_leave_room_for_a_request() {
    let (mut executor, mut theirs, _socket) = executor();
    let mut told = Told::default();
    for round in 0..3 {
        for number in 0..1000 {
            executor.give_back(range(round * 1000 + number));
            executor.flush_released(false).unwrap();
        }
        executor.settle().unwrap();
        assert!(executor.unsent() > 0, "no ring has room for a thousand ranges");
        executor.push(&request()).unwrap();
        executor
            .push(&Message::written(descriptor::encode_stop))
            .unwrap();
        while executor.unsent() > 0 {
            told.read(&mut theirs);
            executor.settle().unwrap();
        }
        told.read(&mut theirs);
        assert_eq!((told.requests, told.stops), (round as usize + 1, round as usize + 1));
    }
    told.ranges.sort_unstable();
    assert!(told.ranges.into_iter().eq(0..3000), "each once");
}

#[test]
fn segments_without_end_are_unmapped_by_an_executor_that_reads_late() {
    let (mut executor, mut theirs, _socket) = executor();
    let mut told = Told::default();
    for slot in 0..1000 {
        executor.unmap(slot, 0);
        executor.flush_unmaps().unwrap();
    }
    executor.push(&request()).unwrap();
    while executor.unsent() > 0 {
        told.read(&mut theirs);
        executor.settle().unwrap();
    }
    told.read(&mut theirs);
    told.segments.sort_unstable();
    assert!(told.segments.into_iter().eq(0..1000), "each once");
    assert_eq!(told.requests, 1);
}

/// Sleeps as an executor does until it is woken, and says whether it was before the time was up.
fn woken_by(ring: impl FnOnce(&mut Executor)) -> bool {
    let (mut executor, mut theirs, _socket) = executor();
    let sleeper = std::thread::spawn(move || {
        let begun = std::time::Instant::now();
        theirs.wait(Some(Duration::from_secs(20))) && begun.elapsed() < Duration::from_secs(10)
    });
    // Whether it sleeps already makes no difference to what is promised.
    std::thread::sleep(Duration::from_millis(50));
    ring(&mut executor);
    sleeper.join().unwrap()
}

#[test]
fn a_sleeping_executor_is_woken_for_many_ranges_and_for_a_segment_that_has_gone() {
    assert!(woken_by(|executor| {
        for number in 0..200 {
            executor.give_back(range(number));
            executor.flush_released(false).unwrap();
        }
    }));
    assert!(woken_by(|executor| {
        executor.unmap(0, 0);
        executor.flush_unmaps().unwrap();
        executor.settle().unwrap();
    }));
}
