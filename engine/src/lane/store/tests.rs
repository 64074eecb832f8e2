//! Payloads that are to come back, in a lane whose store thread is this test.

use super::*;
use crate::core::{ClientId, Incoming, Wanted};
use crate::lane::command::{LaneCommand, StartedExecutor};
use crate::lane::copies::tests::setup;
use crate::lane::executors::tests::{plan, started};
use crate::lane::setup::LaneSetup;
use crate::plan::{InputPlan, Plan, Replica, Source, WorkflowInput};
use faasstore::binding::Kind;

const BYTES: u64 = 1 << 20;
const FIRST: Ticket = Ticket(1);
const SECOND: Ticket = Ticket(2);

struct Bench {
    lane: Lane,
    requests: Arc<ArrayQueue<StoreRequest>>,
    account: Account,
}

impl Bench {
    /// A lane with so many bytes for what comes, whose store thread takes so many requests at once.
    fn new(arena_bytes_max: u64, requests_max: usize) -> Self {
        Self::of(plan(&[Kind::Bytes]), arena_bytes_max, requests_max)
    }

    /// As [`Bench::new`], with this deployment.
    fn of(plan: Plan, arena_bytes_max: u64, requests_max: usize) -> Self {
        let requests = Arc::new(ArrayQueue::new(requests_max));
        let store = StoreEnd {
            requests: Arc::clone(&requests),
            notify: Arc::default(),
            tiers: vec![TierKind::Spill],
        };
        let setup = LaneSetup {
            store: Some(store),
            in_flight_max: 64,
            ..setup(arena_bytes_max)
        };
        let mut lane = Lane::new(setup).unwrap();
        lane.deploy(&Arc::new(plan), Vec::new(), Arc::default());
        let account = lane.core.account_of(DeploymentId(1)).unwrap();
        Self {
            lane,
            requests,
            account,
        }
    }

    fn bring_back(&mut self, ticket: Ticket) {
        self.lane.bring_payload_back(ticket, self.account, BYTES);
    }

    /// What was asked of the store thread.
    fn asked(&self) -> Option<StoreOrder> {
        self.requests.pop().map(|request| request.what)
    }

    /// What could not be done before is tried again: its time has come.
    fn try_again(&mut self) {
        assert!(self.lane.carriage.due_ns().is_some(), "never again");
        self.lane.carriage.try_ns = Some(0);
        self.lane.settle_carriage();
    }

    fn room_for(&self, ticket: Ticket) -> Landing {
        match self.asked() {
            Some(StoreOrder::Take { ticket: of, into }) if of == ticket => into,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn room_for_what_did_not_come_is_used_again_once_nobody_may_write_there_any_more() {
    let mut bench = Bench::new(BYTES, 4);
    bench.bring_back(FIRST);
    let into = bench.room_for(FIRST);
    let written_to = into.target().unwrap();
    drop(into);
    let lost = Err("the disk is gone".to_owned());
    bench.lane.payload_fetched(FIRST, TierKind::Spill, lost);
    bench.bring_back(SECOND);
    bench.try_again();
    assert!(bench.asked().is_none(), "the kernel may write there yet");
    drop(written_to);
    bench.try_again();
    let _ = bench.room_for(SECOND);
}

#[test]
fn what_finds_no_room_in_time_is_thrown_away_where_it_lies() {
    let mut bench = Bench::new(BYTES, 4);
    bench.bring_back(FIRST);
    let _ = bench.room_for(FIRST);
    bench.bring_back(SECOND);
    bench.try_again();
    assert!(bench.asked().is_none(), "it has time yet");
    bench
        .lane
        .carriage
        .coming
        .get_mut(&SECOND)
        .unwrap()
        .since_ns = 0;
    bench.try_again();
    let thrown = bench.asked();
    assert!(
        matches!(thrown, Some(StoreOrder::Drop(SECOND))),
        "{thrown:?}"
    );
    assert!(bench.lane.carriage.due_ns().is_none());
}

#[test]
fn what_the_store_thread_has_no_time_to_hear_is_said_again() {
    let mut bench = Bench::new(BYTES, 1);
    bench.lane.discard(FIRST);
    bench.lane.discard(SECOND);
    let thrown = |bench: &Bench, ticket| {
        let thrown = bench.asked();
        let is_it = matches!(&thrown, Some(StoreOrder::Drop(of)) if *of == ticket);
        assert!(is_it, "{thrown:?}");
    };
    thrown(&bench, FIRST);
    bench.try_again();
    thrown(&bench, SECOND);
    assert!(bench.asked().is_none());
}

/// A lane that has taken so many invocations, with an input each that nobody reads yet: more than its workflow's quota.
fn beyond_quota(invocations: u64, requests_max: usize) -> Bench {
    let mut plan = plan(&[Kind::Bytes]);
    plan.inputs = vec![WorkflowInput::new("in", Kind::Bytes)];
    plan.participants[0].inputs = vec![0];
    plan.nodes[0].inputs = vec![InputPlan::new("in", Kind::Bytes, Source::Input(0))];
    plan.limits.store.quota_bytes = Some(BYTES);
    let mut bench = Bench::of(plan, 64 * BYTES, requests_max);
    bench.lane.core.activate(0, DeploymentId(1));
    for request in 0..invocations {
        let inputs = vec![("in".to_owned(), bench.input())];
        let (client, nothing) = (ClientId(1), Wanted::NOTHING);
        let lane = &mut bench.lane;
        let taken = lane
            .core
            .invoke(lane.now_ns, client, request, "one", inputs, nothing);
        assert_eq!(taken, Some(DeploymentId(1)));
        lane.act();
        lane.tidy_now();
    }
    bench
}

impl Bench {
    fn input(&mut self) -> Incoming {
        let lane = &mut self.lane;
        let compartment = lane.compartments.of_account(self.account).unwrap();
        let reservation = lane.arena.reserve_in(compartment, BYTES).unwrap();
        executors::adopt_own_segments(&mut lane.segments, &mut lane.arena);
        let range = lane.arena.commit(reservation, BYTES);
        Incoming::One(executors::lease_own(range, &mut lane.segments))
    }

    /// What the store thread takes next, and has then: its ticket.
    fn stores(&mut self) -> Option<Ticket> {
        let Some(StoreOrder::Put { ticket, kind, .. }) = self.asked() else {
            return None;
        };
        let stored = Ok(1_000);
        self.lane.on_command(LaneCommand::Stored {
            ticket,
            kind,
            stored,
        });
        self.lane.act();
        Some(ticket)
    }

    fn refusals(&self) -> u64 {
        self.lane.setup.counters.store_refusals.get()
    }

    /// What the core has set itself a time for comes.
    fn tick(&mut self) {
        let due_ns = self.lane.core.next_timer_ns().expect("it sets a time");
        self.lane.now_ns = self.lane.now_ns.max(due_ns);
        self.lane.core.tick(self.lane.now_ns);
        self.lane.act();
    }
}

#[test]
fn what_the_store_thread_has_no_time_to_take_stays_in_memory_and_is_carried_out_later() {
    let mut bench = beyond_quota(8, 1);
    assert!(bench.refusals() > 0, "the queue has room for one");
    let holdings = |bench: &Bench| bench.lane.core.leases().holdings(bench.account);
    let all = holdings(&bench);
    assert_eq!((all.bytes, all.away), (8 * BYTES, 0));
    assert!(all.moving <= 1, "one may be in the queue: {all:?}");
    let mut tickets = Vec::new();
    let mut ticks = 0;
    while holdings(&bench).bytes > BYTES {
        match bench.stores() {
            Some(ticket) => tickets.push(ticket),
            None => {
                ticks += 1;
                assert!(ticks < 100, "nothing is carried out any more: {tickets:?}");
                bench.tick();
            }
        }
    }
    let left = holdings(&bench);
    assert_eq!((left.bytes + left.away_bytes, left.moving), (8 * BYTES, 0));
    assert_eq!(left.away, tickets.len() as u64, "each of them once");
    let carried = bench.lane.core.leases().tally(bench.account).carried;
    assert_eq!(carried.spill.out.payloads, left.away);
    // Looks at executors may have been refused too.
    assert!((1..=bench.refusals()).contains(&carried.spill.refused));
    assert_eq!(carried.spill.lost, 0);
}

#[test]
fn what_the_store_thread_has_no_time_to_give_back_is_asked_for_again() {
    let mut bench = Bench::new(64 * BYTES, 1);
    bench.bring_back(FIRST);
    bench.bring_back(SECOND);
    assert_eq!(bench.refusals(), 1);
    let first = bench.room_for(FIRST);
    assert!(bench.asked().is_none());
    bench.try_again();
    let _ = bench.room_for(SECOND);
    drop(first);
    bench
        .lane
        .payload_fetched(FIRST, TierKind::Spill, Ok(1_000));
    bench
        .lane
        .payload_fetched(SECOND, TierKind::Spill, Ok(1_000));
    assert!(bench.lane.carriage.coming.is_empty());
    assert_eq!(
        bench.lane.arena.bytes_leased(),
        2 * BYTES,
        "and no room besides"
    );
}

#[test]
fn a_copy_that_the_store_thread_has_no_time_for_waits_only_if_somebody_waits_for_it() {
    let mut bench = Bench::new(64 * BYTES, 1);
    bench.bring_back(FIRST);
    let order = |ticket, ahead| CopyIn {
        ticket,
        of: FIRST,
        offset: 0,
        bytes: BYTES,
        account: bench.account,
        ahead,
    };
    let (ahead, waited_for) = (order(Ticket(7), true), order(Ticket(8), false));
    bench.lane.copy_payload_in(ahead);
    bench.lane.copy_payload_in(waited_for);
    assert_eq!(bench.refusals(), 2);
    let _ = bench.room_for(FIRST);
    bench.try_again();
    let asked = bench.asked();
    let is_it =
        matches!(&asked, Some(StoreOrder::Copy { ticket: Ticket(8), of, .. }) if *of == FIRST);
    assert!(is_it, "{asked:?}");
    assert!(bench.asked().is_none());
    assert!(!bench.lane.carriage.coming.contains_key(&Ticket(7)));
}

#[test]
fn a_look_at_executors_is_of_those_of_one_workflow_and_left_out_when_there_is_no_time() {
    let mut bench = Bench::new(BYTES, 1);
    let other = Plan {
        deployment: DeploymentId(2),
        replica: Replica::only(DeploymentId(2)),
        workflow: "other".to_owned(),
        ..plan(&[Kind::Bytes])
    };
    bench
        .lane
        .deploy(&Arc::new(other), Vec::new(), Arc::default());
    let mut theirs = Vec::new();
    for deployment in [1, 2, 1] {
        let (ours, channel, socket) = started();
        let pid = 100 + theirs.len() as u32;
        theirs.push((channel, socket));
        bench.lane.executor_started(StartedExecutor {
            deployment: DeploymentId(deployment),
            pid,
            ..ours
        });
    }
    bench.lane.measure_executors(bench.account);
    bench.lane.measure_executors(bench.account);
    assert_eq!(bench.refusals(), 1, "the second one");
    let Some(StoreOrder::Measure(uses)) = bench.asked() else {
        panic!("it was asked for");
    };
    let looked_at: Vec<(u64, u32)> = uses.iter().map(|of| (of.deployment.0, of.pid)).collect();
    assert_eq!(looked_at, [(1, 100), (1, 102)]);
    let quota = |bench: &Bench| bench.lane.core.leases().tally(bench.account).quota_bytes;
    let before = quota(&bench);
    let uses: Vec<OwnUse> = uses
        .into_iter()
        .map(|of| OwnUse { bytes: 4096, ..of })
        .collect();
    bench.lane.on_command(LaneCommand::Measured(uses));
    assert_eq!(
        quota(&bench),
        before - 4096,
        "what they have is no payload's"
    );
}
