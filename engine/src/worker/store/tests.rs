//! The store thread with a disk, and a lane that is this test.

use super::*;
use crate::lane::store::OwnUse;
use crate::plan::DeploymentId;
use crate::worker::lanes::{LaneEnd, LaneHandle};
use faasstore::segment::SegmentWriter;
use tempfile::TempDir;

const LENGTH: u64 = 700 << 10;
/// There is room for one payload at a time.
const SPILL_BYTES_MAX: u64 = 1 << 20;
const FIRST: Ticket = Ticket(1);
const SECOND: Ticket = Ticket(2);
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    /// Stopped when this ends.
    thread: Option<StoreThread>,
    end: StoreEnd,
    lane: LaneEnd,
    _handle: LaneHandle,
    _folder: TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (handle, lane) = LaneHandle::new(0).unwrap();
        let config = StoreConfig {
            spill_folder: folder.path().join("spill"),
            spill_bytes_max: SPILL_BYTES_MAX,
            spill_required: true,
            remote: None,
            remote_bytes_max: 0,
            worker: "a".to_owned(),
            epoch: 1,
        };
        let thread = StoreThread::start(config, Driver::Epoll, vec![handle.sender()]).unwrap();
        let end = thread.end();
        assert_eq!(end.tiers, [TierKind::Spill]);
        Self {
            thread: Some(thread),
            end,
            lane,
            _handle: handle,
            _folder: folder,
        }
    }

    fn ask(&self, what: StoreOrder) {
        let request = StoreRequest { lane: 0, what };
        self.end.requests.push(request).unwrap();
        self.end.notify.notify_one();
    }

    /// What the lane is told next.
    fn told(&self) -> LaneCommand {
        let began = Instant::now();
        loop {
            if let Some(command) = self.lane.commands.pop() {
                return command;
            }
            assert!(began.elapsed() < PATIENCE, "the lane is told nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn put(&self, ticket: Ticket, payload: &Arc<SegmentWriter>) -> Result<u64, Unstored> {
        let payload = Slice::of_writer(Arc::clone(payload), 0, LENGTH).unwrap();
        self.ask(StoreOrder::Put {
            ticket,
            kind: TierKind::Spill,
            payload,
        });
        match self.told() {
            LaneCommand::Stored {
                ticket: of, stored, ..
            } if of == ticket => stored,
            other => panic!("{other:?}"),
        }
    }

    /// What comes back, or why nothing does.
    fn brought(
        &self,
        ticket: Ticket,
        bytes: u64,
        order: impl FnOnce(Landing) -> StoreOrder,
    ) -> Result<Vec<u8>, String> {
        let segment = Arc::new(SegmentWriter::create("room", LENGTH).unwrap());
        let (into, _lent) = Landing::new(Arc::clone(&segment), 0, bytes);
        self.ask(order(into));
        match self.told() {
            LaneCommand::Fetched {
                ticket: of,
                kind: TierKind::Spill,
                fetched,
            } if of == ticket => fetched.map(|_| segment.read(0, bytes).unwrap().to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn take(&self, ticket: Ticket) -> Result<Vec<u8>, String> {
        self.brought(ticket, LENGTH, |into| StoreOrder::Take { ticket, into })
    }
}

fn payload(seed: u8) -> (Arc<SegmentWriter>, Vec<u8>) {
    let bytes: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8 ^ seed).collect();
    let segment = SegmentWriter::create("payload", LENGTH).unwrap();
    assert!(segment.write(0, &bytes));
    (Arc::new(segment), bytes)
}

#[test]
fn what_is_taken_comes_back_whole_and_is_not_there_any_more() {
    let bench = Bench::new();
    let ([first, second], [one, other]) = {
        let [(first, one), (second, other)] = [1, 2].map(payload);
        ([first, second], [one, other])
    };
    bench.put(FIRST, &first).unwrap();
    assert_eq!(
        bench.put(SECOND, &second),
        Err(Unstored::Failed),
        "it is full"
    );
    assert!(bench.take(FIRST).unwrap() == one, "other bytes came back");
    bench.put(SECOND, &second).expect("there is room again");
    let gone = bench.take(FIRST).unwrap_err();
    assert!(gone.contains("nothing of that ticket"), "{gone}");
    assert!(
        bench.take(SECOND).unwrap() == other,
        "other bytes came back"
    );
}

#[test]
fn what_is_copied_stays_until_it_is_let_go_of() {
    let bench = Bench::new();
    let (first, one) = payload(3);
    bench.put(FIRST, &first).unwrap();
    let (offset, bytes) = (100_000, 5_000);
    for _ in 0..2 {
        let copy = bench.brought(SECOND, bytes, |into| StoreOrder::Copy {
            ticket: SECOND,
            of: FIRST,
            offset,
            into,
        });
        let part = &one[offset as usize..][..bytes as usize];
        assert!(copy.unwrap() == part, "other bytes came");
    }
    assert_eq!(
        bench.put(SECOND, &first),
        Err(Unstored::Failed),
        "it is full"
    );
    bench.ask(StoreOrder::Drop(FIRST));
    // Nothing is said of that.
    let began = Instant::now();
    while bench.put(SECOND, &first).is_err() {
        assert!(began.elapsed() < PATIENCE, "it is still there");
    }
}

#[test]
fn a_process_is_looked_at_for_what_it_has_for_itself_and_one_that_has_gone_has_nothing() {
    let bench = Bench::new();
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let uses = [std::process::id(), gone.id()].map(|pid| OwnUse {
        deployment: DeploymentId(1),
        executable: 0,
        pid,
        bytes: 0,
    });
    bench.ask(StoreOrder::Measure(uses.to_vec()));
    let LaneCommand::Measured(told) = bench.told() else {
        panic!("they were to be looked at");
    };
    assert!(told[0].bytes > 100_000, "{told:?}");
    assert_eq!(told[1], uses[1]);
}

#[test]
fn of_many_requests_at_once_each_is_answered() {
    let bench = Bench::new();
    // More than its queue has room for, as fast as it takes them.
    let count = 2 * REQUESTS_MAX as u64;
    let mut asked = 0;
    let mut told = std::collections::BTreeSet::new();
    while told.len() < count as usize {
        let (into, _lent) = {
            let segment = Arc::new(SegmentWriter::create("room", 4096).unwrap());
            Landing::new(segment, 0, 64)
        };
        let request = StoreRequest {
            lane: 0,
            what: StoreOrder::Take {
                ticket: Ticket(asked),
                into,
            },
        };
        if asked < count && bench.end.requests.push(request).is_ok() {
            bench.end.notify.notify_one();
            asked += 1;
        }
        while let Some(command) = bench.lane.commands.pop() {
            let LaneCommand::Fetched {
                ticket, fetched, ..
            } = command
            else {
                panic!("{command:?}");
            };
            assert!(fetched.is_err(), "nothing lies there");
            assert!(told.insert(ticket), "told twice: {ticket:?}");
        }
    }
}
