//! Whose turn it is, and who is given up.

use super::*;
use crate::tier::TierKind;
use crate::tier::conformance::{run, soon};
use futures_util::future::{Either, join_all, select};
use std::cell::Cell;
use tokio::time::sleep;

/// Bytes that an operation carries without counting as a large one, and that may be under way.
const SMALL: u64 = 8 << 10;
const ALL: u64 = 64 << 10;

fn limits(operations_max: u32, patience: Duration) -> Limits {
    Limits {
        operations_max,
        in_flight_bytes_max: ALL,
        patience,
        ..Limits::default()
    }
}

fn speaker() -> Speaker {
    Speaker {
        kind: TierKind::Spill,
        at: "a test".into(),
    }
}

/// How many have a turn, of those that are counted.
#[derive(Default)]
struct Turns {
    now: Cell<u32>,
    most: Cell<u32>,
}

impl Turns {
    /// An operation that others have time to run beside.
    async fn one(&self) -> Result<(), TierError> {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.now.set(self.now.get() - 1);
        Ok(())
    }
}

/// As many at once as there are: the most that had a turn together.
async fn most_at_once(admission: &Admission, sizes: &[u64]) -> u32 {
    let (turns, speaker) = (Turns::default(), speaker());
    let all = sizes
        .iter()
        .map(|bytes| admission.within(&speaker, "put", *bytes, turns.one()));
    for done in soon(join_all(all)).await {
        done.unwrap();
    }
    turns.most.get()
}

#[test]
fn who_waits_behind_others_is_not_given_up_for_it() {
    run(async {
        let patience = Duration::from_secs(1);
        let admission = Admission::new(limits(1, patience));
        let speaker = speaker();
        // All together take longer than each of them may.
        let each = || async {
            sleep(patience * 3 / 10).await;
            Ok(())
        };
        let all = (0..5).map(|_| admission.within(&speaker, "put", SMALL, each()));
        for done in soon(join_all(all)).await {
            done.unwrap();
        }
    });
}

#[test]
fn large_operations_have_their_turn_by_bytes_and_small_ones_beside_them() {
    run(async {
        let admission = Admission::new(limits(8, Duration::from_secs(60)));
        let most = async |sizes: &[u64]| most_at_once(&admission, sizes).await;
        assert_eq!(most(&[SMALL; 20]).await, 8);
        assert_eq!(most(&[ALL / 4; 20]).await, 4);
        assert_eq!(most(&[ALL * 9; 3]).await, 1, "alone");
        assert_eq!(most(&[ALL, ALL, ALL, SMALL, SMALL]).await, 3);
        // Those that wait for bytes keep nobody from a turn.
        let mut many = vec![ALL; 20];
        many.extend([SMALL; 7]);
        assert_eq!(most(&many).await, 8);
    });
}

#[test]
fn who_waits_for_a_turn_is_given_up_when_nothing_goes_on_and_not_before() {
    run(async {
        let patience = Duration::from_secs(1);
        let admission = Admission::new(limits(1, patience));
        let speaker = speaker();
        let moved = Cell::new(0);
        // A payload of which a few pieces go, and then nothing more for as long as its size allows.
        let ahead = async {
            for _ in 0..5 {
                let pass = admission.pass(1).await;
                sleep(patience * 3 / 10).await;
                moved.set(moved.get() + 1);
                drop(pass);
            }
            std::future::pending::<Result<(), TierError>>().await
        };
        let ahead = admission.within(&speaker, "put", 1 << 30, ahead);
        let behind = admission.within(&speaker, "put", SMALL, async { Ok(()) });
        let given_up = async {
            match select(pin!(ahead), pin!(behind)).await {
                Either::Left(_) => unreachable!("it has minutes"),
                Either::Right((behind, _)) => behind,
            }
        };
        let error = soon(given_up).await.unwrap_err();
        assert_eq!(moved.get(), 5);
        let text = error.to_string();
        assert!(text.contains("have not gone on for 1s"), "{text}");
        assert!(text.contains("--store-patience"), "{text}");
        let may = matches!(error, TierError::Broken { again, .. } if again == Again::May);
        assert!(may, "{text}");
    });
}
