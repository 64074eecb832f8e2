//! What waits for room in a lane's arena, where nobody else is in that lane.

use super::*;
use crate::core::{ClientId, Incoming, Wanted};
use crate::lane::Lane;
use crate::lane::copies::tests::{Bench as Copies, setup};
use crate::lane::executors;
use crate::lane::executors::tests::{plan, started};
use crate::lane::store::{StoreEnd, StoreOrder};
use crate::plan::{
    Declaration, DeploymentId, Formula, InputPlan, NodePlan, Source, Work, WorkflowInput,
    WorkflowOutput,
};
use crossbeam::queue::ArrayQueue;
use faasstore::arena::{Compartment, Reservation};
use faasstore::binding::Kind;
use faasstore::channel::ExecutorChannel;
use faasstore::descriptor::{Message, Request, TABLE_ENTRY_BYTES, decode_request};
use faasstore::socket::Socket;
use faasstore::tier::TierKind;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::process::Command;
use std::sync::Arc;

/// What is copied, or listed.
const LENGTH: u64 = 4 << 20;
const ITEM: u64 = 1 << 12;
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

/// A lane whose executors are this test, and that has no room for the tables of lists.
struct Lists {
    lane: Lane,
    theirs: Vec<(ExecutorChannel, Socket)>,
    taken: Vec<Reservation>,
}

impl Lists {
    /// Two clients want a list read, by so many executors.
    fn new(executors: usize) -> Self {
        Self::of([100, 101], executors, None)
    }

    /// A client for each of these wants a list of so many items read, twice, by so many executors, and there is this store. What an
    /// item is made of is their number.
    fn of<const CLIENTS: usize>(
        lists: [u8; CLIENTS],
        executors: usize,
        store: Option<StoreEnd>,
    ) -> Self {
        Self::beside(lists, executors, store, None)
    }

    /// One client's list is to be read, and beside it a value to be computed.
    fn computing() -> Self {
        let computing = NodePlan {
            id: 1,
            name: "computing".to_owned(),
            work: Work::Compute(vec![Formula::Value("'a text'".to_owned())]),
            outputs: vec![Declaration {
                name: "text".to_owned(),
                kind: Kind::Value,
            }],
            ..NodePlan::default()
        };
        Self::beside([100], 1, None, Some(computing))
    }

    fn beside<const CLIENTS: usize>(
        lists: [u8; CLIENTS],
        executors: usize,
        store: Option<StoreEnd>,
        other: Option<NodePlan>,
    ) -> Self {
        let mut plan = plan(&[Kind::Bytes]);
        plan.nodes.extend(other);
        plan.inputs = vec![WorkflowInput::new("in", Kind::List)];
        plan.participants[0].inputs = vec![0];
        let input = |name| InputPlan::new(name, Kind::List, Source::Input(0));
        plan.nodes[0].inputs = vec![input("in"), input("again")];
        let setup = crate::lane::setup::LaneSetup {
            in_flight_max: CLIENTS as u32,
            store,
            ..setup(8 << 20)
        };
        let mut lane = Lane::new(setup).unwrap();
        let started = (0..executors).map(|_| started());
        let (ours, theirs) = started
            .map(|(ours, theirs, socket)| (ours, (theirs, socket)))
            .unzip();
        lane.deploy(&Arc::new(plan), ours, Arc::default());
        lane.core.activate(0, DeploymentId(1));
        let inputs = lists.map(|items| {
            let bytes = u64::from(items) * ITEM;
            let compartment = compartment(&lane);
            let room = lane.arena.reserve_in(compartment, bytes).unwrap();
            executors::adopt_own_segments(&mut lane.segments, &mut lane.arena);
            lane.arena.bytes_mut(&room)[..bytes as usize].fill(items);
            let range = lane.arena.commit(room, bytes);
            let range = executors::lease_own(range, &mut lane.segments);
            let items = (0..items.into()).map(|item| (item * ITEM, ITEM)).collect();
            Incoming::List {
                range,
                items,
                section: None,
            }
        });
        // Some of it in small ranges.
        let small = lane.arena.reserve_in(compartment(&lane), 64).unwrap();
        let mut taken = fill(&mut lane);
        taken.push(small);
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
            taken,
        }
    }

    /// What executors are asked to begin: activations, by executor.
    fn begun(&mut self) -> Vec<(usize, u32)> {
        let mut begun = Vec::new();
        let mut message = Message::default();
        for (place, (theirs, _)) in self.theirs.iter_mut().enumerate() {
            while theirs.pop(&mut message).unwrap() {
                let request = decode_request(&message, &mut Vec::new()).unwrap();
                if let Request::Activate { activate, .. } = request {
                    begun.push((place, activate.activation));
                }
            }
        }
        begun
    }

    fn failed(&self) -> u64 {
        self.lane.core.counters().invocations_failed
    }

    /// There is room for one table of a hundred items, or for some of a few.
    fn free_a_little(&mut self) {
        let one = 100 * TABLE_ENTRY_BYTES;
        let arena = &mut self.lane.arena;
        let some = self.taken.iter().position(|range| {
            let bytes = arena.bytes_mut(range).len() as u64;
            (one..2 * one).contains(&bytes)
        });
        let some = self.taken.remove(some.expect("there are ranges of 4 KiB"));
        self.lane.arena.abandon(some);
    }

    /// There is room again.
    fn free(&mut self) {
        for one in std::mem::take(&mut self.taken) {
            self.lane.arena.abandon(one);
        }
        try_again(&mut self.lane, false);
    }
}

#[test]
fn an_activation_waits_for_room_for_the_table_of_its_list_and_then_begins() {
    let mut lists = Lists::new(1);
    try_again(&mut lists.lane, false);
    assert_eq!(lists.begun(), []);
    assert_eq!(lists.lane.short.len(), 1, "the other waits for an executor");
    assert_eq!(lists.lane.setup.counters.room_waits.get(), 1);
    lists.free();
    assert_eq!(lists.begun(), [(0, 1)]);
    assert!(lists.lane.short.is_empty());
    assert_eq!(lists.failed(), 0);
}

#[test]
fn of_those_that_have_waited_in_vain_one_fails_and_the_next_has_its_memory() {
    let mut lists = Lists::new(2);
    assert_eq!(lists.lane.short.len(), 2);
    let Who::Activation { executor, .. } = lists.lane.short[0].who else {
        panic!("it is to start");
    };
    let first = executor.0 as usize;
    try_again(&mut lists.lane, true);
    assert_eq!((lists.failed(), lists.lane.short.len()), (1, 1));
    assert_eq!(lists.begun(), []);
    // It is late as well; but there is room now.
    try_again(&mut lists.lane, true);
    assert_eq!(lists.begun(), [(1 - first, 1)]);
    assert_eq!(lists.failed(), 1);
}

#[test]
fn what_is_told_to_stop_before_it_begins_never_does() {
    let mut lists = Lists::new(1);
    lists.lane.core.cancel(2, ClientId(1), 1);
    lists.lane.act();
    assert_eq!(lists.lane.core.running(ID), Some(1), "it is told");
    lists.free();
    assert_eq!(lists.begun(), [(0, 2)], "the other one");
}

#[test]
fn a_list_for_whose_table_there_never_is_room_fails_at_once() {
    let bytes = (8 << 20) + 1;
    let never = ArenaError::Full {
        bytes,
        held: 0,
        leased: 0,
        max: 8 << 20,
    };
    assert_eq!(may_come(&never), None);
    let mut lists = Lists::new(1);
    let Who::Activation {
        what: What::Start(order),
        ..
    } = lists.lane.short.remove(0).unwrap().who
    else {
        panic!("it is to start");
    };
    lists.lane.start_short(&order, &never);
    assert_eq!((lists.failed(), lists.lane.short.len()), (1, 0));
}

#[test]
fn what_is_read_later_makes_room_for_what_is_to_begin() {
    let requests = Arc::new(ArrayQueue::new(8));
    let store = StoreEnd {
        requests: Arc::clone(&requests),
        notify: Arc::default(),
        tiers: vec![TierKind::Spill],
    };
    let mut lists = Lists::of([100, 101, 102], 1, Some(store));
    try_again(&mut lists.lane, false);
    // The first one's is to be read now, and the second one's is read next.
    let mut orders = std::iter::from_fn(|| requests.pop().map(|request| request.what));
    let put = orders.find(|order| !matches!(order, StoreOrder::Measure(_)));
    let Some(StoreOrder::Put {
        ticket,
        kind,
        payload,
    }) = put
    else {
        panic!("{put:?}");
    };
    assert!(payload.bytes().iter().all(|byte| *byte == 102));
    assert!(orders.next().is_none());
    drop(payload);
    lists
        .lane
        .core
        .stored(lists.lane.now_ns, ticket, kind, Ok(1_000));
    lists.lane.act();
    try_again(&mut lists.lane, false);
    assert_eq!(lists.begun(), [(0, 1)]);
}

#[test]
fn a_smaller_table_waits_behind_a_larger_one_of_its_workflow_though_there_is_room() {
    let mut lists = Lists::of([100, 1], 2, None);
    assert_eq!(lists.lane.short.len(), 2);
    let before = lists.lane.arena.bytes_leased();
    lists.free_a_little();
    let freed = lists.lane.arena.bytes_leased();
    assert!(freed < before);
    try_again(&mut lists.lane, false);
    assert_eq!(lists.begun(), []);
    assert_eq!(lists.lane.arena.bytes_leased(), freed, "half is not kept");
    lists.free();
    assert_eq!(lists.begun(), [(0, 1), (1, 1)]);
}

#[test]
fn another_executor_in_the_same_place_is_not_given_what_the_one_before_it_waited_with() {
    let mut lists = Lists::new(1);
    // What is ended is another process than this one.
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = Pid::from_raw(process.id() as i32).unwrap();
    let executor = lists.lane.executors[0].as_mut().unwrap();
    executor.started.pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    lists.lane.end_executor(0, "it is a test");
    process.wait().unwrap();
    lists.lane.act();
    let serial = lists.lane.executors[0].as_ref().unwrap().serial;
    lists.lane.executor_exited(u64::from(serial) << 32);
    let (ours, theirs, socket) = started();
    lists.theirs = vec![(theirs, socket)];
    lists.lane.executor_started(ours);
    lists.lane.act();
    // It is to run the other client's, as the first that it runs.
    assert_eq!(lists.lane.core.running(ID), Some(1));
    assert_eq!(lists.lane.short.len(), 2);
    lists.free();
    assert_eq!(lists.begun(), [(0, 1)], "once");
    assert!(lists.lane.short.is_empty());
}

#[test]
fn what_comes_later_waits_behind_those_of_its_workflow_that_wait() {
    let mut lists = Lists::of([100, 1], 1, None);
    let (ours, theirs, socket) = started();
    lists.theirs.push((theirs, socket));
    lists.free_a_little();
    lists.lane.executor_started(ours);
    lists.lane.act();
    assert_eq!(lists.lane.core.running(ExecutorId(1)), Some(1));
    try_again(&mut lists.lane, false);
    assert_eq!((lists.begun(), lists.lane.short.len()), (vec![], 2));
    lists.free();
    assert_eq!(lists.begun(), [(0, 1), (1, 1)]);
}

#[test]
fn a_little_copy_takes_what_has_come_back_within_segments() {
    let bytes = 1 << 20;
    for (ends, is_told) in [(false, false), (true, false), (false, true)] {
        a_little_copy(bytes, ends, is_told);
    }
}

/// It is made; but what it is of ends, or is told to stop, before the core knows.
fn a_little_copy(bytes: u64, ends: bool, is_told: bool) {
    let mut taken = Vec::new();
    let mut bench = Copies::beside(8 << 20, bytes, |lane| taken = fill(lane));
    assert!(bench.runs());
    // No segment is empty, nor can one more be made.
    let held = bench.lane.arena.bytes_held();
    let arena = &mut bench.lane.arena;
    let large = taken
        .iter()
        .position(|range| arena.bytes_mut(range).len() == 1 << 20);
    let large = taken.remove(large.expect("there are some of that size"));
    bench.lane.arena.abandon(large);
    assert_eq!(bench.lane.arena.bytes_held(), held);
    let before = bench.lane.arena.bytes_leased();
    try_again(&mut bench.lane, false);
    assert!(bench.lane.arena.bytes_leased() > before, "the copy");
    if ends {
        bench.lane.end_executor(0, "it is a test");
    }
    if is_told {
        bench.lane.core.cancel(2, ClientId(1), 1);
    }
    bench.lane.act();
    assert_eq!(bench.copy_all(), 1);
    assert!(!bench.runs());
    bench.lane.tidy_now();
    let failed = u64::from(ends || is_told);
    assert_eq!(bench.lane.core.counters().invocations_failed, failed);
    assert_eq!(bench.lane.core.leases().count(), 0);
    for one in taken {
        bench.lane.arena.abandon(one);
    }
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}

#[test]
fn an_executor_whose_end_is_put_off_for_a_copy_that_is_dropped_leaves_all_the_same() {
    let mut bench = Copies::passing_on(6 << 20, LENGTH);
    let token = bench.token();
    bench.lane.executor_exited(token);
    assert!(bench.runs(), "its end waits for the copy");
    bench.lane.end_executor(0, "it takes too long");
    bench.lane.act();
    assert!(bench.lane.executors[0].is_some());
    let _ = bench.copy_all();
    assert!(bench.lane.executors[0].is_none());
    bench.lane.tidy_now();
    assert_eq!(bench.lane.arena.bytes_leased(), 0);
}

/// A lane that computes values, and has no room for them: a client has asked for them.
struct Values {
    lane: Lane,
    taken: Vec<Reservation>,
}

impl Values {
    /// Of one node, a value and a list behind it: or it fails, and says so in its second output, if that is not to be `computed`.
    fn new(computed: bool) -> Self {
        let mut plan = plan(&[Kind::Value]);
        plan.executables.clear();
        let second = match computed {
            true => Kind::List,
            false => Kind::Value,
        };
        let node = &mut plan.nodes[0];
        node.outputs.push(Declaration {
            name: "second".to_owned(),
            kind: second,
        });
        node.work = if computed {
            let list = Formula::Range {
                from: "0".to_owned(),
                to: "10000".to_owned(),
            };
            Work::Compute(vec![Formula::Value("'a text'".to_owned()), list])
        } else {
            node.catches = vec![Vec::new()];
            node.error_output = Some(1);
            Work::Compute(vec![Formula::Value("fail('it is a test')".to_owned())])
        };
        let source = Source::Output { node: 0, output: 1 };
        plan.outputs = vec![WorkflowOutput::new("out", second, source, 0)];
        let setup = crate::lane::setup::LaneSetup {
            in_flight_max: 1 << 20,
            ..setup(8 << 20)
        };
        let mut lane = Lane::new(setup).unwrap();
        lane.deploy(&Arc::new(plan), Vec::new(), Arc::default());
        lane.core.activate(0, DeploymentId(1));
        // Some of it in small ranges.
        let small = lane.arena.reserve_in(compartment(&lane), 64).unwrap();
        let mut taken = fill(&mut lane);
        taken.push(small);
        let mut values = Self { lane, taken };
        values.invoke(1);
        values
    }

    fn invoke(&mut self, request: u64) {
        let (client, wanted) = (ClientId(1), Wanted::NOTHING);
        self.lane
            .core
            .invoke(1, client, request, "one", Vec::new(), wanted);
        self.lane.act();
    }

    /// Invocations that have ended well, and those that have failed.
    fn ended(&self) -> (u64, u64) {
        let counters = self.lane.core.counters();
        (counters.invocations_ended, counters.invocations_failed)
    }

    fn try_again(&mut self, late: bool) {
        try_again(&mut self.lane, late);
        self.lane.tidy_now();
    }

    /// What is leased beside what was taken.
    fn leased(&mut self) -> u64 {
        let arena = &mut self.lane.arena;
        let taken = self
            .taken
            .iter()
            .map(|one| arena.bytes_mut(one).len() as u64);
        let taken: u64 = taken.sum();
        arena.bytes_leased() - taken
    }

    /// There is room again, in ranges of at most so many bytes.
    fn free(&mut self, bytes_max: u64) {
        for one in std::mem::take(&mut self.taken) {
            match self.lane.arena.bytes_mut(&one).len() as u64 <= bytes_max {
                true => self.lane.arena.abandon(one),
                false => self.taken.push(one),
            }
        }
    }
}

#[test]
fn values_wait_for_room_and_are_answered_when_all_are_written() {
    for computed in [true, false] {
        let mut values = Values::new(computed);
        values.try_again(false);
        assert_eq!((values.ended(), values.lane.short.len()), ((0, 0), 1));
        assert_eq!(values.lane.setup.counters.room_waits.get(), 1);
        // The first of two would find some: all of them, or none.
        values.free(64);
        values.try_again(false);
        assert_eq!(values.ended(), (u64::from(!computed), 0));
        assert_eq!(values.leased(), 0);
        values.free(u64::MAX);
        values.try_again(false);
        assert_eq!((values.ended(), values.lane.short.len()), ((1, 0), 0));
        assert_eq!(values.leased(), 0);
    }
}

#[test]
fn values_that_have_waited_in_vain_fail_by_name_and_those_of_what_is_over_are_gone() {
    for computed in [true, false] {
        for late in [true, false] {
            let mut values = Values::new(computed);
            if !late {
                values.lane.core.cancel(2, ClientId(1), 1);
                values.lane.act();
            }
            values.try_again(late);
            assert_eq!((values.ended(), values.lane.short.len()), ((0, 1), 0));
            assert_eq!(values.leased(), 0);
        }
    }
}

#[test]
fn many_values_that_have_waited_in_vain_fail_together_and_too_many_fail_at_once() {
    let mut values = Values::new(true);
    // Each has some 200 KiB.
    for request in 2..=200 {
        values.invoke(request);
    }
    let waiting = values.lane.short.len();
    assert!((50..150).contains(&waiting), "{waiting}");
    assert_eq!(values.ended(), (0, 200 - waiting as u64));
    values.try_again(true);
    assert_eq!((values.ended(), values.lane.short.len()), ((0, 200), 0));
    assert_eq!(values.leased(), 0);
}

#[test]
fn values_are_behind_no_activation_of_their_workflow_and_none_is_behind_them() {
    for coming in [false, true] {
        let mut lists = Lists::computing();
        let account = lists.lane.account_at(ID).unwrap();
        let ordered = |short: &Short| short.who.has_an_order();
        assert!(
            lists
                .lane
                .short
                .iter()
                .all(|short| short.account == account)
        );
        let mut waiting: Vec<bool> = lists.lane.short.iter().map(ordered).collect();
        waiting.sort_unstable();
        assert_eq!(waiting, [false, true]);
        let place = lists.lane.short.iter().position(ordered).unwrap();
        let activation = lists.lane.short.remove(place).unwrap();
        assert!(!lists.lane.is_short_for(ID), "behind values");
        lists.lane.short.push_front(activation);
        assert!(lists.lane.is_short_for(ID));
        // For a value, and for no table.
        let small = lists
            .taken
            .iter()
            .position(|one| lists.lane.arena.bytes_mut(one).len() == 64);
        let small = lists.taken.remove(small.unwrap());
        lists.lane.arena.abandon(small);
        match coming {
            true => lists.lane.relieve_short(&[account]),
            false => try_again(&mut lists.lane, false),
        }
        let waiting: Vec<bool> = lists.lane.short.iter().map(ordered).collect();
        assert_eq!(waiting, [true]);
    }
}

#[test]
fn what_peers_send_does_not_stand_back_for_values() {
    let lists = Lists::computing();
    let mut wanted: Vec<bool> = lists
        .lane
        .wanted_by_short()
        .map(|(.., ahead)| ahead)
        .collect();
    wanted.sort_unstable();
    assert_eq!(wanted, [false, true]);
}

#[test]
fn a_copy_waits_behind_others_of_its_workflow_though_there_is_room() {
    let mut bench = Copies::beside(10 << 20, LENGTH, |lane| {
        // Of an executor that is not there any more when it is tried again.
        let other = Who::Activation {
            executor: ID,
            serial: 0,
            number: 0,
            what: What::Copy,
        };
        let account = lane.account_at(ID).unwrap();
        lane.wait_as(other, account, LENGTH);
    });
    assert_eq!(bench.lane.short.len(), 2);
    assert_eq!(bench.copy_all(), 0);
    assert!(bench.runs());
    try_again(&mut bench.lane, false);
    assert!(bench.lane.short.is_empty());
    assert!(bench.copy_all() > 1);
    bench.lane.tidy_now();
    assert!(!bench.runs());
}

#[test]
fn what_is_to_come_back_to_a_workflow_goes_before_what_waits_of_it() {
    let mut lists = Lists::new(1);
    let account = lists.lane.account_at(ID).unwrap();
    for one in std::mem::take(&mut lists.taken) {
        lists.lane.arena.abandon(one);
    }
    lists.lane.relieve_short(&[account]);
    assert_eq!(lists.begun(), []);
    lists.lane.relieve_short(&[]);
    assert_eq!(lists.begun(), [(0, 1)]);
}
