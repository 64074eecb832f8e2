//! What waits for room in a lane's arena, where nobody else is in that lane.

use super::*;
use crate::core::{ClientId, Wanted};
use crate::lane::Lane;
use crate::lane::copies::tests::{Bench as Copies, setup};
use crate::lane::executors::tests::{arrived, plan, started};
use crate::plan::{DeploymentId, InputPlan, Source, WorkflowInput};
use faasstore::arena::{Compartment, Reservation};
use faasstore::binding::Kind;
use faasstore::channel::ExecutorChannel;
use faasstore::descriptor::{Message, Request, decode_request};
use faasstore::socket::Socket;
use std::sync::Arc;

/// What is copied, or listed.
const LENGTH: u64 = 4 << 20;
const ID: ExecutorId = ExecutorId(0);

/// It is time to try again what could not be done before; if `late`, for the last time.
fn try_again(lane: &mut Lane, late: bool) {
    if late {
        lane.short.iter_mut().for_each(|short| short.since_ns = 0);
    }
    lane.carriage.due_now();
    lane.settle_carriage();
}

/// All of the room that is left.
fn fill(lane: &mut Lane) -> Vec<Reservation> {
    let compartment = compartment(lane);
    let mut taken = Vec::new();
    for bytes in [1 << 20, 64 << 10, 4 << 10, 64] {
        while let Ok(one) = lane.arena.reserve_in(compartment, bytes) {
            taken.push(one);
        }
    }
    executors::adopt_own_segments(&mut lane.segments, &mut lane.arena);
    taken
}

fn compartment(lane: &Lane) -> Compartment {
    let of = lane.compartments.of_deployment(DeploymentId(1));
    of.expect("it is deployed")
}

fn free(lane: &mut Lane, taken: Vec<Reservation>) {
    for one in taken {
        lane.arena.abandon(one);
    }
}

#[test]
fn a_copy_waits_for_room_and_fails_by_name_if_none_comes() {
    for late in [false, true] {
        // What is passed on and its copy do not fit together.
        let mut bench = Copies::passing_on(6 << 20, LENGTH);
        for _ in 0..3 {
            try_again(&mut bench.lane, false);
        }
        assert_eq!(bench.copy_all(), 0, "it does not keep the lane busy");
        assert!(bench.runs());
        assert_eq!(bench.lane.setup.counters.room_waits.get(), 1);
        if late {
            try_again(&mut bench.lane, true);
        } else {
            bench.lane.core.cancel(2, ClientId(1), 1);
            bench.lane.act();
            try_again(&mut bench.lane, false);
        }
        assert_eq!(bench.copy_all(), 1);
        bench.lane.tidy_now();
        assert!(!bench.runs() && bench.lane.short.is_empty());
        let counters = bench.lane.core.counters();
        assert_eq!(counters.told_returned, u64::from(!late));
        assert_eq!(counters.invocations_failed, 1);
        assert_eq!(bench.lane.arena.bytes_leased(), 0);
        assert!(bench.lane.carriage.due_ns().is_none_or(|_| !late));
    }
}

#[test]
fn a_copy_is_made_when_room_has_come() {
    let mut bench = Copies::passing_on(10 << 20, LENGTH);
    // The first time there was room.
    assert!(bench.lane.short.is_empty());
    assert!(bench.copy_all() > 1);
    let mut bench = Copies::beside(10 << 20, LENGTH, |lane| {
        let compartment = compartment(lane);
        lane.arena.set_aside(compartment, LENGTH).unwrap();
    });
    try_again(&mut bench.lane, false);
    assert!(bench.runs());
    assert_eq!(bench.copy_all(), 0);
    let compartment = compartment(&bench.lane);
    bench.lane.arena.bring_back(compartment, LENGTH);
    try_again(&mut bench.lane, false);
    assert!(bench.copy_all() > 1);
    bench.lane.tidy_now();
    assert!(!bench.runs());
    assert_eq!(bench.lane.core.counters().invocations_failed, 0);
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}

#[test]
fn an_executor_that_ends_while_its_copy_waits_leaves_nothing() {
    let mut bench = Copies::passing_on(6 << 20, LENGTH);
    bench.lane.end_executor(0, "it is a test");
    bench.lane.act();
    try_again(&mut bench.lane, false);
    assert!(!bench.runs() && bench.lane.short.is_empty());
    let _ = bench.copy_all();
    let token = bench.token();
    bench.lane.executor_exited(token);
    bench.lane.tidy_now();
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}

/// A lane whose one executor is this test, and that has no room for the tables of lists.
struct Lists {
    lane: Lane,
    theirs: ExecutorChannel,
    _socket: Socket,
    taken: Vec<Reservation>,
}

impl Lists {
    /// Two clients want a list read.
    fn new() -> Self {
        let mut plan = plan(&[Kind::Bytes]);
        plan.inputs = vec![WorkflowInput::new("in", Kind::List)];
        plan.participants[0].inputs = vec![0];
        plan.nodes[0].inputs = vec![InputPlan::new("in", Kind::List, Source::Input(0))];
        let setup = crate::lane::setup::LaneSetup {
            in_flight_max: 2,
            ..setup(8 << 20)
        };
        let mut lane = Lane::new(setup).unwrap();
        let (ours, theirs, socket) = started();
        lane.deploy(&Arc::new(plan), vec![ours], Arc::default());
        lane.core.activate(0, DeploymentId(1));
        let inputs = [1, 2].map(|byte| {
            let given = arrived(&mut lane.arena, &mut lane.segments, &vec![byte; 1600]);
            let crate::core::Incoming::One(range) = given else {
                panic!("one range");
            };
            let items = (0..100).map(|item| (item * 16, 16)).collect();
            crate::core::Incoming::List {
                range,
                items,
                section: None,
            }
        });
        let taken = fill(&mut lane);
        for (request, input) in (1..).zip(inputs) {
            let inputs = vec![("in".to_owned(), input)];
            let client = ClientId(1);
            let nothing = Wanted::NOTHING;
            lane.core.invoke(1, client, request, "one", inputs, nothing);
            lane.act();
        }
        Self {
            lane,
            theirs,
            _socket: socket,
            taken,
        }
    }

    /// What the executor is asked to begin next.
    fn begun(&mut self) -> Option<u32> {
        let mut message = Message::default();
        while self.theirs.pop(&mut message).unwrap() {
            if let Request::Activate { activate, .. } =
                decode_request(&message, &mut Vec::new()).unwrap()
            {
                return Some(activate.activation);
            }
        }
        None
    }
}

#[test]
fn an_activation_waits_for_room_for_the_table_of_its_list_and_then_begins() {
    let mut lists = Lists::new();
    assert_eq!(lists.begun(), None);
    try_again(&mut lists.lane, false);
    assert_eq!(lists.begun(), None);
    assert_eq!(lists.lane.short.len(), 1, "the other waits for an executor");
    let taken = std::mem::take(&mut lists.taken);
    free(&mut lists.lane, taken);
    try_again(&mut lists.lane, false);
    assert_eq!(lists.begun(), lists.lane.core.running(ID));
    assert!(lists.lane.short.is_empty());
    assert_eq!(lists.lane.core.counters().invocations_failed, 0);
}

#[test]
fn one_that_has_waited_in_vain_fails_and_the_next_has_its_time() {
    let mut lists = Lists::new();
    try_again(&mut lists.lane, true);
    let counters = lists.lane.core.counters();
    assert_eq!(counters.invocations_failed, 1);
    assert_eq!(lists.lane.short.len(), 1, "the next one waits");
    try_again(&mut lists.lane, false);
    assert_eq!(lists.lane.core.counters().invocations_failed, 1);
    try_again(&mut lists.lane, true);
    assert_eq!(lists.lane.core.counters().invocations_failed, 2);
    assert!(lists.lane.short.is_empty());
    lists.lane.tidy_now();
    assert_eq!(lists.begun(), None);
    assert_eq!(lists.lane.core.leases().count(), 0);
}

#[test]
fn what_is_told_to_stop_before_it_begins_never_does() {
    let mut lists = Lists::new();
    lists.lane.core.cancel(2, ClientId(1), 1);
    lists.lane.act();
    let taken = std::mem::take(&mut lists.taken);
    free(&mut lists.lane, taken);
    try_again(&mut lists.lane, false);
    let begun = lists.begun();
    assert!(begun.is_some(), "the other one");
    assert_eq!(begun, lists.lane.core.running(ID));
    assert_eq!(lists.begun(), None);
}
