//! Payloads that are to come back, in a lane whose store thread is this test.

use super::*;
use crate::lane::copies::tests::setup;
use crate::lane::executors::tests::plan;
use crate::lane::setup::LaneSetup;
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
        let requests = Arc::new(ArrayQueue::new(requests_max));
        let store = StoreEnd {
            requests: Arc::clone(&requests),
            notify: Arc::default(),
            tiers: vec![TierKind::Spill],
        };
        let setup = LaneSetup {
            store: Some(store),
            ..setup(arena_bytes_max)
        };
        let mut lane = Lane::new(setup).unwrap();
        let plan = Arc::new(plan(&[Kind::Bytes]));
        lane.deploy(&plan, Vec::new(), Arc::default());
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
