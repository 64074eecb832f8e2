//! An executor as its lane has it, against one whose process is this test: what the rings and the socket carry.

mod maxima;
mod pins;
mod stops;

pub(in crate::lane) use maxima::arrived;

use super::*;
use crate::core::{Action, ClientId, CoreConfig, Wanted};
use crate::plan::{
    Declaration, ExecutablePlan, Limits, NodePlan, Participant, Plan, Replica, Trust, Work,
    WorkerRef,
};
use crate::trace::ClockId;
use faasstore::arena::{ArenaConfig, Compartment};
use faasstore::binding::{Announce, Kind, WaitStrategy};
use faasstore::channel::{EngineChannel, ExecutorChannel};
use faasstore::descriptor::{InvocationId, NO_ITEM, Request, decode_request};
use faasstore::segment::{SegmentReader, SegmentWriter};
use faasstore::socket::Socket;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::sync::Arc;
use std::time::Duration;

const TERMS: Terms = Terms {
    compartment: Compartment::FIRST,
    payload_bytes_max: 1 << 20,
    items_max: 8,
};

const ARENA_BYTES_MAX: u64 = 1 << 20;

/// The lane's end, and the executor's: its rings and its socket.
pub(in crate::lane) fn started() -> (StartedExecutor, ExecutorChannel, Socket) {
    let (near, far) = Socket::pair().unwrap();
    let engine_half = EngineChannel::create_segment().unwrap();
    let executor_half = ExecutorChannel::create_segment().unwrap();
    let reader = |fd: std::os::fd::BorrowedFd<'_>| {
        SegmentReader::open(fd.try_clone_to_owned().unwrap()).unwrap()
    };
    let (engine_read, executor_read) = (reader(engine_half.fd()), reader(executor_half.fd()));
    let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK).unwrap();
    let bell = OwnedFd::from(bell);
    let their_bell = bell.try_clone().unwrap();
    let wait = WaitStrategy::Park;
    let theirs =
        ExecutorChannel::connect(Arc::new(executor_half), engine_read, their_bell, wait, 0);
    let started = StartedExecutor {
        deployment: DeploymentId(1),
        executable: 0,
        pid: 0,
        pidfd: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
        cpu: None,
        channel: EngineChannel::connect(Arc::new(engine_half), executor_read, wait).unwrap(),
        socket: near,
        doorbell: bell,
        arena_bytes_max: ARENA_BYTES_MAX,
        trust: Trust::Own,
        functions: Box::default(),
    };
    (started, theirs.unwrap(), far)
}

fn executor() -> (Executor, ExecutorChannel, Socket) {
    let (started, theirs, far) = started();
    (Executor::new(started, 1, TERMS), theirs, far)
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
        measure: true,
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
                    other @ (Request::Item { .. } | Request::Room { .. }) => panic!("{other:?}"),
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
        assert!(
            executor.unsent() > 0,
            "no ring has room for a thousand ranges"
        );
        executor.push(&request()).unwrap();
        executor
            .push(&Message::written(descriptor::encode_stop))
            .unwrap();
        while executor.unsent() > 0 {
            told.read(&mut theirs);
            executor.settle().unwrap();
        }
        told.read(&mut theirs);
        assert_eq!(
            (told.requests, told.stops),
            (round as usize + 1, round as usize + 1)
        );
    }
    told.ranges.sort_unstable();
    assert!(told.ranges.into_iter().eq(0..3000), "each once");
}

#[test]
fn segments_without_end_are_unmapped_by_an_executor_that_reads_late() {
    let (mut executor, mut theirs, _socket) = executor();
    let mut told = Told::default();
    for slot in 0..1000 {
        executor.unmap(slot, 0, 4096);
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
        executor.unmap(0, 0, 4096);
        executor.flush_unmaps().unwrap();
        executor.settle().unwrap();
    }));
}

/// One node, which takes nothing and returns outputs of these kinds.
pub(in crate::lane) fn plan(kinds: &[Kind]) -> Plan {
    let output = |(index, kind): (usize, &Kind)| Declaration {
        name: format!("out{index}"),
        kind: *kind,
    };
    Plan {
        deployment: DeploymentId(1),
        replica: Replica::only(DeploymentId(1)),
        workflow: "one".to_owned(),
        version: 1,
        me: 0,
        workers: vec![WorkerRef {
            name: "a".to_owned(),
            address: "127.0.0.1:1".to_owned(),
            lanes: 1,
            epoch: 1,
        }],
        inputs: Vec::new(),
        outputs: Vec::new(),
        participants: vec![Participant {
            worker: 0,
            inputs: Vec::new(),
            sections: Vec::new(),
        }],
        nodes: vec![NodePlan {
            id: 0,
            name: "node".to_owned(),
            work: Work::Function {
                executable: 0,
                function: "function".to_owned(),
                arguments: Vec::new(),
            },
            outputs: kinds.iter().enumerate().map(output).collect(),
            ..NodePlan::default()
        }],
        remote_nodes: Vec::new(),
        wholes: Vec::new(),
        executables: vec![ExecutablePlan {
            name: "executable".to_owned(),
            scale: 1,
            memory_mib: 1,
            trust: Trust::Own,
        }],
        constants: Vec::new(),
        regions: Vec::new(),
        timeout_ms: None,
        types: Vec::new(),
        maxima: Vec::new(),
        memory: None,
        limits: Limits::default(),
    }
}

const ID: ExecutorId = ExecutorId(0);

/// A lane with one executor, which runs an activation of a node with outputs of these kinds, and has announced a segment.
struct Bench {
    core: Core,
    executor: Executor,
    theirs: ExecutorChannel,
    socket: Socket,
    segments: Segments,
    arena: Arena,
    activation: u32,
    written: SegmentWriter,
}

const SEGMENT_BYTES: u64 = 1 << 16;

impl Bench {
    fn new(kinds: &[Kind]) -> Self {
        Self::of(plan(kinds))
    }

    fn of(plan: Plan) -> Self {
        Self::with_input(plan, None)
    }

    /// With what the workflow's one input is, if it has one.
    fn with_input(plan: Plan, input: Option<&[u8]>) -> Self {
        let mut segments = Segments::default();
        let mut arena = Arena::new(ArenaConfig {
            name: "lane".to_owned(),
            segment_bytes: 1 << 12,
            bytes_max: 1 << 12,
        });
        let input = input.map(|bytes| arrived(&mut arena, &mut segments, bytes));
        let inputs = plan
            .inputs
            .iter()
            .map(|input| input.name.clone())
            .zip(input);
        let inputs = inputs.collect();
        let mut core = Core::new(CoreConfig {
            worker_hash: 1,
            epoch: 1,
            lane: 0,
            in_flight_max: 10,
            grace_ns: 1,
            lease_ns_max: None,
            patience_ns: 1,
            keep_alive_ns: 1,
            clock: ClockId::UNKNOWN,
            store: crate::core::store::StoreRules::default(),
        });
        core.deploy(plan, Vec::new());
        core.activate(0, DeploymentId(1));
        core.executor_joined(0, ID, DeploymentId(1), 0);
        core.invoke(0, ClientId(1), 1, "one", inputs, Wanted::NOTHING);
        let mut actions = Vec::new();
        core.take_actions(&mut actions);
        let Some(Action::Start(start)) = actions.pop() else {
            panic!("the one node starts");
        };
        let (executor, theirs, socket) = executor();
        let written = SegmentWriter::create("theirs", SEGMENT_BYTES).unwrap();
        announce(&socket, 0, 0, &written);
        Self {
            core,
            executor,
            theirs,
            socket,
            segments,
            arena,
            activation: start.activation,
            written,
        }
    }

    /// What the lane makes of these outputs.
    fn done(&mut self, outputs: &[OutputRef]) -> Result<Event, ExecutorError> {
        self.returned(outputs).map(|(event, _)| event)
    }

    /// The same, and the outputs as the core is to have them.
    fn returned(&mut self, outputs: &[OutputRef]) -> Result<(Event, Vec<Output>), ExecutorError> {
        let mut scratch = Scratch::default();
        descriptor::encode_done(&mut scratch.message, self.activation, outputs, false);
        let event = read_event(
            &mut self.executor,
            ID,
            &self.core,
            &mut self.segments,
            &mut self.arena,
            &mut scratch,
            &mut Vec::new(),
        );
        let event = event?.expect("an activation has ended");
        Ok((event, scratch.outputs))
    }

    /// Writes a table of outputs into the segment, at its end.
    fn table(&self, entries: &[OutputRef]) -> OutputRef {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_words())
            .flat_map(u64::to_le_bytes)
            .collect();
        let offset = SEGMENT_BYTES / 2;
        assert!(self.written.write(offset, &bytes));
        OutputRef::Own(ArenaRange {
            segment: 0,
            generation: 0,
            offset,
            length: bytes.len() as u64,
        })
    }

    /// The executor ends: is anything of its memory still held?
    fn everything_goes(&mut self) {
        let gone = self.executor.gone(0, &mut self.segments, &mut self.arena);
        assert_eq!((gone.len(), self.segments.count()), (1, 0));
    }

    /// The ranges that the executor has been given back, in order of their place.
    fn given_back(&mut self) -> Vec<u64> {
        self.executor.settle().unwrap();
        let mut told = Told::default();
        told.read(&mut self.theirs);
        told.ranges.sort_unstable();
        told.ranges
    }
}

pub(in crate::lane) fn announce(
    socket: &Socket,
    segment: u32,
    generation: u32,
    written: &SegmentWriter,
) {
    let segments = vec![Announced {
        segment,
        generation,
    }];
    let announce = Announce { segments };
    socket
        .send(&announce, &[written.fd()], Duration::from_secs(1))
        .unwrap();
}

fn own(number: u64) -> OutputRef {
    OutputRef::Own(range(number))
}

/// A range that does not lie in the segment.
fn beyond() -> OutputRef {
    own(SEGMENT_BYTES)
}

#[test]
fn what_a_wrong_completion_named_before_it_went_wrong_is_let_go_of() {
    let mut bench = Bench::new(&[Kind::Bytes, Kind::Bytes]);
    let error = bench.done(&[own(0), beyond()]).unwrap_err();
    assert!(matches!(error, ExecutorError::Range { .. }), "{error}");
    bench.everything_goes();
    let mut bench = Bench::new(&[Kind::Bytes, Kind::List]);
    let table = bench.table(&[own(1), own(2), beyond()]);
    let error = bench.done(&[own(0), table]).unwrap_err();
    assert!(matches!(error, ExecutorError::Range { .. }), "{error}");
    bench.everything_goes();
}

/// An output in a segment with that index, of generation 0.
fn own_of(segment: u32) -> OutputRef {
    OutputRef::Own(ArenaRange {
        segment,
        ..range(0)
    })
}

#[test]
fn an_executor_that_announces_a_segment_twice_is_refused_and_its_memory_goes() {
    let mut bench = Bench::new(&[Kind::Bytes]);
    announce(&bench.socket, 0, 1, &bench.written);
    let error = bench.done(&[own_of(1)]).unwrap_err();
    assert!(
        matches!(error, ExecutorError::AnnouncedTwice { segment: 0 }),
        "{error}"
    );
    bench.everything_goes();
}

#[test]
fn an_executor_that_announces_more_than_its_arena_may_have_is_refused() {
    let mut bench = Bench::new(&[Kind::Bytes]);
    let large = SegmentWriter::create("large", ARENA_BYTES_MAX / 2).unwrap();
    for index in 1..4 {
        announce(&bench.socket, index, 0, &large);
    }
    let error = bench.done(&[own_of(3)]).unwrap_err();
    assert!(
        matches!(
            error,
            ExecutorError::ArenaBytes {
                max: ARENA_BYTES_MAX,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn announcements_are_read_up_to_the_segment_that_is_named() {
    let mut bench = Bench::new(&[Kind::Bytes]);
    for index in 1..4 {
        announce(&bench.socket, index, 0, &bench.written);
    }
    let event = bench.done(&[own_of(2)]).unwrap();
    assert!(matches!(event, Event::Done { .. }));
    assert_eq!(bench.segments.count(), 3, "the fourth is still to be read");
}

#[test]
fn retired_segments_make_room_for_others() {
    let mut bench = Bench::new(&[Kind::Bytes]);
    let large = SegmentWriter::create("large", ARENA_BYTES_MAX).unwrap();
    let segments = &mut bench.segments;
    for generation in 0..3 {
        let retired = bench.executor.retire(0, 0, generation, segments);
        assert!(retired.is_ok(), "{retired:?}");
        announce(&bench.socket, 0, generation + 1, &large);
    }
    assert_eq!(segments.count(), 0);
}

/// Why the activation has failed; the executor goes on.
fn failure(bench: &mut Bench, outputs: &[OutputRef]) -> String {
    match bench.done(outputs) {
        Ok(Event::Failed { cause, .. }) => cause,
        other => panic!("a failure by name was expected: {other:?}"),
    }
}

#[test]
fn a_list_of_too_many_items_fails_its_activation_by_name_and_comes_back_whole() {
    let mut bench = Bench::new(&[Kind::Bytes, Kind::List, Kind::Bytes]);
    let count = TERMS.items_max + 2;
    let items: Vec<OutputRef> = (1..count).map(own).chain([OutputRef::Empty]).collect();
    let table = bench.table(&items);
    let cause = failure(&mut bench, &[own(0), table, own(count)]);
    assert!(
        cause.contains("a list of 10 items, above the limit of 8"),
        "{cause}"
    );
    let mut expected: Vec<u64> = (0..=count).collect();
    expected.push(SEGMENT_BYTES / 2 / 64);
    assert_eq!(bench.given_back(), expected);
    bench.everything_goes();
}

#[test]
fn a_value_of_too_many_bytes_fails_its_activation_by_name_and_comes_back() {
    let mut bench = Bench::new(&[Kind::Value]);
    let long = OutputRef::Own(ArenaRange {
        length: 4097,
        ..range(0)
    });
    let cause = failure(&mut bench, &[long]);
    assert!(
        cause.contains("a value of 4097 bytes, above the limit of 4096"),
        "{cause}"
    );
    assert_eq!(bench.given_back(), [0]);
    bench.everything_goes();
}

#[test]
fn a_request_that_names_hundreds_of_new_segments_waits_for_no_reader() {
    let (mut executor, _theirs, socket) = executor();
    let (count, mut segments) = (1000, Segments::default());
    let written = Arc::new(SegmentWriter::create("theirs", SEGMENT_BYTES).unwrap());
    for index in 0..count {
        let slot = segments.add(
            Mapping::Own(Arc::clone(&written)),
            Owner::Lane,
            Compartment::FIRST,
            index,
            0,
        );
        let range = segments.name(slot, 0, 64).unwrap();
        executor.tell(0, &range, &mut segments);
    }
    executor.announce(&segments).unwrap();
    let mut told = Vec::new();
    while let Some(received) = socket.try_receive::<Announce>().unwrap() {
        assert_eq!(received.message.segments.len(), received.descriptors.len());
        told.extend(received.message.segments.iter().map(|one| one.segment));
    }
    assert!(told.into_iter().eq(0..count));
}

#[test]
fn many_segments_that_an_executor_announces_together_are_all_known() {
    let mut bench = Bench::new(&[Kind::Bytes, Kind::Bytes]);
    let announced = (1..=200).map(|segment| Announced {
        segment,
        generation: 0,
    });
    let announce = Announce {
        segments: announced.collect(),
    };
    let small = SegmentWriter::create("small", 4096).unwrap();
    bench
        .socket
        .send(&announce, &[small.fd(); 200], Duration::from_secs(1))
        .unwrap();
    let event = bench.done(&[own_of(1), own_of(200)]).unwrap();
    assert!(matches!(event, Event::Done { .. }));
    assert_eq!(bench.segments.count(), 201);
}

#[test]
fn a_request_comes_after_all_ranges_that_were_free_before_it() {
    let (mut executor, mut theirs, _socket) = executor();
    let mut told = Told::default();
    for number in 0..1000 {
        executor.give_back(range(number));
        executor.flush_released(false).unwrap();
    }
    assert!(executor.has_backlog());
    executor.outgoing = request();
    executor.defer();
    while executor.is_deferred() {
        assert_eq!(told.requests, 0);
        told.read(&mut theirs);
        executor.settle().unwrap();
    }
    told.read(&mut theirs);
    assert_eq!((told.ranges.len(), told.requests), (1000, 1));
}
