//! What becomes of copies that take several turns, in a lane whose one executor is this test.

use super::*;
use crate::core::{ClientId, Wanted};
use crate::lane::command::StartedExecutor;
use crate::lane::executors::tests::{announce, arrived, plan, started};
use crate::lane::setup::{LaneSetup, Patience, Yields};
use crate::plan::{
    DeploymentId, InputPlan, MemoryBound, Plan, PortMaximum, PortRef, Source, WorkflowInput,
};
use crate::status::Driver;
use crossbeam::queue::ArrayQueue;
use faasstore::binding::{Kind, Maximum, WaitStrategy};
use faasstore::channel::ExecutorChannel;
use faasstore::descriptor::{self, ArenaRange, Message, OutputRef, Request, decode_request};
use faasstore::socket::Socket;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::Duration;

const LENGTH: u64 = 4 << 20;
const ID: ExecutorId = ExecutorId(0);

pub(in crate::lane) struct Bench {
    pub(in crate::lane) lane: Lane,
    theirs: ExecutorChannel,
    _socket: Socket,
    /// The segment, which is there as long as its writer has it.
    _written: SegmentWriter,
    /// What is returned.
    outputs: Vec<OutputRef>,
    activation: u32,
    /// What is ended in place of this test.
    process: Child,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A lane of which this test is all that is around it.
pub(in crate::lane) fn setup(arena_bytes_max: u64) -> LaneSetup {
    let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    LaneSetup {
        index: 0,
        lanes: 1,
        cpu: 0,
        worker_name: "a".into(),
        worker_hash: 1,
        epoch: 1,
        clock: crate::trace::ClockId::UNKNOWN,
        wait: WaitStrategy::Park,
        spin_budget_ns: 0,
        yields: Yields::Never,
        driver: Driver::Epoll,
        commands: Arc::new(ArrayQueue::new(4)),
        command_bell: bell.as_fd().try_clone_to_owned().unwrap(),
        reports: Arc::new(ArrayQueue::new(16)),
        report_notify: Arc::default(),
        counters: Arc::default(),
        in_flight_max: 1,
        payload_bytes_max: 1 << 30,
        checksum_payloads: false,
        arena_bytes_max,
        keep_alive: Duration::from_secs(1),
        grace: Duration::from_secs(1),
        lease_max: None,
        patience: Patience {
            heartbeat: Duration::from_secs(60),
            peer_silence: Duration::from_secs(600),
            transfer_idle: Duration::from_secs(600),
        },
        store: None,
    }
}

impl Bench {
    /// An executor of somebody else's executable runs the one node, and has returned a segment full of bytes.
    fn new(arena_bytes_max: u64) -> Self {
        Self::returning(arena_bytes_max, &[(0, LENGTH)])
    }

    /// ... and has returned these parts of such a segment.
    fn returning(arena_bytes_max: u64, outputs: &[(u64, u64)]) -> Self {
        let own = |(offset, length): &(u64, u64)| {
            OutputRef::Own(ArenaRange {
                segment: 0,
                generation: 0,
                offset: *offset,
                length: *length,
            })
        };
        let plan = plan(&vec![Kind::Bytes; outputs.len()]);
        let outputs = outputs.iter().map(own).collect();
        let nothing = (None, |_: &mut Lane| ());
        Self::of(arena_bytes_max, plan, Trust::Other, nothing, outputs)
    }

    /// An executor has been given so many bytes and passes all on but the first, where that keeps more than is declared.
    pub(in crate::lane) fn passing_on(arena_bytes_max: u64, bytes: u64) -> Self {
        Self::beside(arena_bytes_max, bytes, |_| ())
    }

    /// As [`Bench::passing_on`], once `taken` has been done.
    pub(in crate::lane) fn beside(
        arena_bytes_max: u64,
        bytes: u64,
        taken: impl FnOnce(&mut Lane),
    ) -> Self {
        let mut plan = plan(&[Kind::Bytes]);
        plan.inputs = vec![WorkflowInput::new("in", Kind::Bytes)];
        plan.participants[0].inputs = vec![0];
        plan.nodes[0].inputs = vec![InputPlan::new("in", Kind::Bytes, Source::Input(0))];
        plan.maxima = vec![PortMaximum {
            port: PortRef::Written { node: 0, output: 0 },
            maximum: Maximum {
                bytes: bytes - 64,
                ..Maximum::NONE
            },
        }];
        plan.memory = Some(MemoryBound {
            worker: 0,
            invocation_bytes: 1,
            quota_bytes: 1,
            in_flight_max: 1,
            at_door: vec![1],
            on_lane: vec![1],
        });
        let alias = OutputRef::Alias {
            input: 0,
            item: None,
            offset: 64,
            length: bytes - 64,
        };
        let outputs = vec![alias];
        Self::of(
            arena_bytes_max,
            plan,
            Trust::Own,
            (Some(bytes), taken),
            outputs,
        )
    }

    fn of(
        arena_bytes_max: u64,
        plan: Plan,
        trust: Trust,
        (input, before): (Option<u64>, impl FnOnce(&mut Lane)),
        outputs: Vec<OutputRef>,
    ) -> Self {
        let mut lane = Lane::new(setup(arena_bytes_max)).unwrap();
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(process.id() as i32).unwrap();
        let (ours, theirs, socket) = started();
        let ours = StartedExecutor {
            pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            arena_bytes_max: LENGTH,
            trust,
            ..ours
        };
        lane.deploy(&Arc::new(plan), vec![ours], Arc::default());
        lane.core.activate(0, DeploymentId(1));
        let (client, nothing) = (ClientId(1), Wanted::NOTHING);
        let inputs = input.map(|bytes| {
            let given = vec![7; bytes as usize];
            let given = arrived(&mut lane.arena, &mut lane.segments, &given);
            ("in".to_owned(), given)
        });
        let inputs = inputs.into_iter().collect();
        lane.core.invoke(1, client, 1, "one", inputs, nothing);
        lane.act();
        before(&mut lane);
        let written = SegmentWriter::create("theirs", LENGTH).unwrap();
        announce(&socket, 0, 0, &written);
        let mut bench = Self {
            lane,
            theirs,
            _socket: socket,
            _written: written,
            outputs,
            activation: 0,
            process,
        };
        let Some(Request::Activate { activate, .. }) = bench.request() else {
            panic!("the one node starts");
        };
        bench.activation = activate.activation;
        bench.returns();
        bench.lane.read_completions(0);
        bench
    }

    fn request(&mut self) -> Option<Request> {
        let mut message = Message::default();
        let popped = self.theirs.pop(&mut message).unwrap();
        popped.then(|| decode_request(&message, &mut Vec::new()).unwrap())
    }

    fn returns(&mut self) {
        let mut message = Message::default();
        descriptor::encode_done(&mut message, self.activation, &self.outputs, false);
        self.theirs.push(&message).unwrap();
    }

    pub(in crate::lane) fn runs(&self) -> bool {
        self.lane.core.running(ID) == Some(self.activation)
    }

    /// Goes on with the copy to its end; in how many steps.
    pub(in crate::lane) fn copy_all(&mut self) -> u64 {
        (0..).take_while(|_| self.lane.copy_on()).count() as u64
    }

    /// The token by which the driver tells of the end of its process.
    pub(in crate::lane) fn token(&self) -> u64 {
        let executor = self.lane.executors[0].as_ref().unwrap();
        u64::from(executor.serial) << 32
    }

    /// Nothing of the lane's is held, and of the executor's no range.
    fn nothing_is_held(&mut self) {
        assert_eq!(self.lane.arena.bytes_held(), 0);
        assert_eq!(self.lane.core.leases().count(), 0);
        if let Some(executor) = self.lane.executors[0].as_mut() {
            executor.settle().unwrap();
            assert!(matches!(self.request(), Some(Request::Release { .. })));
            assert_eq!(self.lane.segments.count(), 1, "its own segment");
        } else {
            assert_eq!(self.lane.segments.count(), 0);
        }
    }
}

#[test]
fn a_large_copy_takes_many_turns_and_the_core_hears_of_it_at_its_end() {
    let mut bench = Bench::new(16 << 20);
    assert!(bench.runs());
    assert_eq!(bench.lane.arena.bytes_held(), LENGTH, "it counts at once");
    // What else comes of that executor is read when this is done.
    bench.returns();
    assert!(!bench.lane.read_completions(0));
    for _ in 0..LENGTH / STEP_BYTES {
        assert!(bench.lane.copy_on() && bench.runs());
    }
    let steps = bench.copy_all();
    assert!(steps >= LENGTH / STEP_BYTES, "{steps}");
    assert!(!bench.runs());
    assert_eq!(bench.lane.core.counters().activations, 1);
    bench.nothing_is_held();
    // It has returned that already.
    bench.lane.read_completions(0);
    assert!(bench.lane.executors[0].as_ref().unwrap().ended.is_some());
}

#[test]
fn what_is_told_to_stop_meanwhile_is_not_copied_on() {
    let mut bench = Bench::new(16 << 20);
    assert!(bench.lane.copy_on() && bench.runs());
    bench.lane.core.cancel(2, ClientId(1), 1);
    bench.lane.act();
    assert!(bench.runs(), "nothing of it has come back");
    assert_eq!(bench.copy_all(), 1);
    assert!(!bench.runs());
    let counters = bench.lane.core.counters();
    assert_eq!((counters.told_returned, counters.late_dropped), (1, 1));
    bench.nothing_is_held();
}

#[test]
fn an_executor_that_is_ended_meanwhile_leaves_nothing() {
    let mut bench = Bench::new(16 << 20);
    assert!(bench.lane.copy_on());
    bench.lane.end_executor(0, "it is a test");
    bench.lane.act();
    assert!(!bench.runs());
    assert_eq!(bench.lane.arena.bytes_held(), 0);
    assert!(bench.lane.copy_on(), "its turn comes");
    assert!(!bench.lane.copy_on(), "and goes");
    let token = bench.token();
    bench.lane.executor_exited(token);
    bench.nothing_is_held();
}

#[test]
fn a_process_that_ends_meanwhile_has_returned_what_it_has() {
    let mut bench = Bench::new(16 << 20);
    assert!(bench.lane.copy_on());
    let token = bench.token();
    bench.lane.executor_exited(token);
    assert!(bench.runs());
    let _ = bench.copy_all();
    assert!(bench.lane.executors[0].is_none());
    bench.lane.tidy_now();
    let counters = bench.lane.core.counters();
    assert_eq!((counters.activations, counters.invocations_ended), (1, 1));
    bench.nothing_is_held();
}

#[test]
fn without_room_for_a_copy_the_attempt_fails_and_the_original_goes_back() {
    for arena_bytes_max in [LENGTH - 1, 64 << 10] {
        let mut bench = Bench::new(arena_bytes_max);
        assert_eq!(bench.copy_all(), 1, "its turn to say so");
        assert!(!bench.runs());
        assert_eq!(bench.lane.core.counters().invocations_failed, 1);
        bench.nothing_is_held();
    }
}

#[test]
fn of_several_outputs_no_copy_is_kept_if_there_is_no_room_for_all() {
    let bytes = 300 << 10;
    let mut bench = Bench::returning(512 << 10, &[(0, bytes), (1 << 20, bytes)]);
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
    assert_eq!(bench.copy_all(), 1);
    assert!(!bench.runs());
    assert_eq!(bench.lane.core.counters().invocations_failed, 1);
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}

#[test]
fn much_that_is_passed_on_and_keeps_too_much_is_copied_in_many_turns() {
    let mut bench = Bench::passing_on(16 << 20, LENGTH);
    assert!(bench.runs());
    let input = bench.lane.core.leases().bytes();
    assert_eq!(input, LENGTH);
    let steps = bench.copy_all();
    assert!(steps >= 2 * LENGTH / STEP_BYTES - 2, "{steps}");
    assert!(!bench.runs());
    bench.lane.tidy_now();
    // Nobody reads what it has returned.
    assert_eq!(bench.lane.core.counters().invocations_ended, 1);
    assert_eq!(bench.lane.core.leases().count(), 0);
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}

#[test]
fn little_that_is_passed_on_and_keeps_too_much_is_copied_at_once() {
    let mut bench = Bench::passing_on(16 << 20, 64 << 10);
    assert!(!bench.runs());
    assert_eq!(bench.copy_all(), 0);
    bench.lane.tidy_now();
    assert_eq!(bench.lane.core.leases().count(), 0);
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}
