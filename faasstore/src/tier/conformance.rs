//! What every tier promises, as one suite that each tier is held to: [`conforms!`] with a function that makes one.

mod suite;

pub(super) use suite::*;

use super::{Place, Tier};
use crate::segment::{SegmentWriter, Slice, TargetSlice};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs a test as a store thread would, on plain tokio.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Far beyond what a slow machine takes: for what would otherwise hang.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits, with a deadline, for what must come.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what)
        .await
        .expect("this ends")
}

/// Changes bytes of a payload behind its tier's back.
pub(super) type Damage<T> = Box<dyn Fn(&T, &Place)>;

/// A tier with what the suite must know of it.
pub(super) struct Harness<T> {
    pub(super) tier: T,
    /// Bytes that it takes in all.
    pub(super) bytes_max: u64,
    /// Bytes of the largest payload.
    pub(super) payload_bytes_max: u64,
    /// How to damage a payload; not for memory.
    pub(super) damage: Option<Damage<T>>,
    /// How many things are left where payloads are put, if that can be seen.
    pub(super) left: Option<Box<dyn Fn() -> usize>>,
    /// What must last as long as the tier.
    pub(super) _keep: Box<dyn Any>,
}

impl<T: Tier> Harness<T> {
    /// Waits until nothing is under way, and makes sure that nothing is left.
    pub(super) async fn empty(&self) {
        soon(self.tier.settled()).await;
        let used = self.tier.used();
        assert_eq!((used.bytes, used.count), (0, 0), "{}", self.tier.kind());
        if let Some(left) = &self.left {
            assert_eq!(left(), 0, "something is left where payloads lie");
        }
    }
}

/// A payload that no other seed or size begins like.
pub(super) fn payload(seed: u64, bytes: u64) -> Slice {
    payload_at(seed, bytes, 64)
}

/// One that lies at `offset` of its page: a multiple of 64, as in an arena.
pub(super) fn payload_at(seed: u64, bytes: u64, offset: u64) -> Slice {
    let mut target = target_at(bytes, offset);
    let mut word = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ bytes;
    for chunk in target.bytes_mut().chunks_mut(8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
    target.into_slice()
}

/// Memory to read into.
pub(super) fn target_at(bytes: u64, offset: u64) -> TargetSlice {
    let segment = SegmentWriter::create("tier-test", offset + bytes.max(1)).unwrap();
    TargetSlice::new(Arc::new(segment), offset, bytes).unwrap()
}

/// A target, and what was read into it when the tier has let it go.
pub(super) fn watched(bytes: u64, offset: u64) -> (TargetSlice, Slice, Held) {
    let segment = SegmentWriter::create("tier-test", offset + bytes.max(1)).unwrap();
    let segment = Arc::new(segment);
    let held = Held::default();
    let target = TargetSlice::new(Arc::clone(&segment), offset, bytes).unwrap();
    let read = Slice::of_writer(segment, offset, bytes).unwrap();
    (target.guarded(held.guard()), read, held)
}

/// How many guards there are.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<AtomicU32>);

struct Guard(Held);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Held {
    pub(super) fn guard(&self) -> impl Any + Send + Sync {
        self.0.fetch_add(1, Ordering::SeqCst);
        Guard(self.clone())
    }

    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Reads a window of a payload.
pub(super) async fn read(
    tier: &impl Tier,
    place: &Place,
    from: u64,
    bytes: u64,
) -> Result<Slice, super::TierError> {
    let (target, read, held) = watched(bytes, 64 * (1 + from % 3));
    let result = soon(tier.get(place, from, target)).await;
    assert!(
        result.is_err() || held.count() == 0,
        "what was read is the reader's"
    );
    result.map(|()| read)
}

/// Makes a module of tests, one for each promise. `$make` gives a harness, or says why there is none.
macro_rules! conforms {
    ($module:ident, $run:path, $make:path) => {
        conforms!($module, $run, $make:
            payloads_of_every_size_come_back_as_they_were,
            windows_are_what_lies_there,
            payloads_that_overlap_in_time_never_mix,
            what_is_released_is_gone_and_counted_back,
            places_that_are_not_its_own_are_refused,
            beyond_its_limit_it_is_full_and_has_room_again_when_something_goes,
            damage_is_detected_and_stays_where_it_is,
            a_put_that_is_dropped_leaves_nothing,
            a_get_that_is_dropped_writes_nothing_later,
            whoever_reads_while_it_is_released_reads_what_was_there,
        );
    };
    ($module:ident, $run:path, $make:path: $($promise:ident,)*) => {
        mod $module {
            $(#[test]
            fn $promise() {
                use $crate::tier::conformance;
                $run(async {
                    match $make().await {
                        Ok(harness) => conformance::$promise(harness).await,
                        Err(why) => println!("SKIPPED: {}: {why}", module_path!()),
                    }
                });
            })*
        }
    };
}

pub(super) use conforms;
