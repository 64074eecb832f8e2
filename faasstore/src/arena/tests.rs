//! The arena's promises, against a model that only knows which bytes it was given.

mod compartments;
mod fragmentation;
mod large;

use super::*;
use crate::segment::SegmentReader;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SEGMENT: u64 = 64 << 10;

fn arena(segments: u64) -> Arena {
    Arena::new(ArenaConfig {
        name: "test".to_owned(),
        segment_bytes: SEGMENT,
        bytes_max: segments * SEGMENT,
    })
}

/// Leases by where they lie, with the byte that fills them.
#[derive(Default)]
struct Model {
    leases: BTreeMap<(u32, u64), (ArenaRange, u8)>,
    fill: u8,
}

impl Model {
    fn check_free(&self, segment: u32, offset: u64, length: u64) {
        let before = self.leases.range(..(segment, offset + length)).next_back();
        if let Some((&(other, start), (range, _))) = before {
            assert!(
                other != segment || start + range.length <= offset,
                "{range:?} overlaps {offset} of {length}"
            );
        }
    }

    fn write(&mut self, arena: &mut Arena, reservation: Reservation, length: u64) {
        self.check_free(
            reservation.segment(),
            reservation.offset(),
            reservation.capacity(),
        );
        self.fill = self.fill.wrapping_add(1);
        arena.bytes_mut(&reservation).fill(self.fill);
        let range = arena.commit(reservation, length);
        if length > 0 {
            self.leases
                .insert((range.segment, range.offset), (range, self.fill));
        }
    }

    fn check_content(&self, arena: &Arena) {
        for (range, fill) in self.leases.values() {
            let segment = arena
                .segment(range.segment, range.generation)
                .expect("a leased segment stays");
            let bytes = segment.read(range.offset, range.length).unwrap();
            assert!(
                bytes.iter().all(|byte| byte == fill),
                "{range:?} was written by another"
            );
        }
        let granules: u64 = self
            .leases
            .values()
            .map(|(range, _)| granules(range.length))
            .sum();
        assert_eq!(arena.bytes_leased(), granules * GRANULE_BYTES);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Reserve so much, commit that share of it.
    Lease {
        bytes: u64,
        share: u8,
    },
    /// Begin with so much, make it grow, end with that share of it.
    Grow {
        bytes: u64,
        to: u64,
        share: u8,
    },
    Abandon {
        bytes: u64,
    },
    Release {
        which: usize,
    },
    Trim {
        keep: u64,
    },
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..200u64,
        Just(64),
        Just(4096),
        1..8192u64,
        1..SEGMENT,
        SEGMENT..3 * SEGMENT
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (sizes(), any::<u8>()).prop_map(|(bytes, share)| Step::Lease { bytes, share }),
        1 => (sizes(), sizes(), any::<u8>())
            .prop_map(|(bytes, to, share)| Step::Grow { bytes, to, share }),
        1 => sizes().prop_map(|bytes| Step::Abandon { bytes }),
        6 => any::<usize>().prop_map(|which| Step::Release { which }),
        1 => (0..4 * SEGMENT).prop_map(|keep| Step::Trim { keep }),
    ];
    proptest::collection::vec(step, 1..200)
}

fn apply(arena: &mut Arena, model: &mut Model, step: Step) {
    match step {
        Step::Lease { bytes, share } => {
            if let Ok(reservation) = arena.reserve(bytes) {
                assert!(reservation.capacity() >= bytes);
                model.write(arena, reservation, bytes * u64::from(share) / 255);
            }
        }
        Step::Grow { bytes, to, share } => {
            let Ok(mut growing) = arena.begin(bytes) else {
                return;
            };
            arena.growing_mut(&growing).fill(0xee);
            let keep = growing.capacity();
            if arena.grow(&mut growing, keep, to, u64::MAX).is_ok() {
                assert!(growing.capacity() >= to);
            }
            let kept = &arena.growing_mut(&growing)[..keep as usize];
            assert!(
                kept.iter().all(|&byte| byte == 0xee),
                "growing keeps what was written"
            );
            model.fill = model.fill.wrapping_add(1);
            arena.growing_mut(&growing).fill(model.fill);
            let length = growing.capacity() * u64::from(share) / 255;
            let range = arena.end(growing, length).unwrap();
            if length > 0 {
                model.check_free(range.segment, range.offset, length);
                let place = (range.segment, range.offset);
                model.leases.insert(place, (range, model.fill));
            }
        }
        Step::Abandon { bytes } => {
            if let Ok(reservation) = arena.reserve(bytes) {
                model.check_free(
                    reservation.segment(),
                    reservation.offset(),
                    reservation.capacity(),
                );
                arena.abandon(reservation);
            }
        }
        Step::Release { which } => {
            let count = model.leases.len();
            if let Some(key) = model.leases.keys().nth(which % count.max(1)).copied() {
                let (range, _) = model.leases.remove(&key).unwrap();
                arena.release(range).unwrap();
                assert!(arena.release(range).is_err(), "released once is released");
            }
        }
        Step::Trim { keep } => {
            let held = arena.bytes_held();
            arena.trim(keep);
            assert!(arena.bytes_held() >= keep.min(held));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn live_ranges_never_overlap_and_everything_comes_back(steps in steps()) {
        let (mut arena, mut model) = (arena(6), Model::default());
        for step in steps {
            apply(&mut arena, &mut model, step);
            prop_assert!(arena.bytes_held() <= 6 * SEGMENT);
            model.check_content(&arena);
        }
        for (range, _) in model.leases.into_values() {
            arena.release(range).unwrap();
        }
        prop_assert_eq!(arena.bytes_leased(), 0);
        arena.trim(0);
        prop_assert_eq!((arena.segments(), arena.bytes_held()), (0, 0));
        // What was joined again is one piece.
        let whole = arena.reserve(6 * SEGMENT).unwrap();
        prop_assert_eq!(whole.capacity(), 6 * SEGMENT);
        arena.abandon(whole);
    }

    #[test]
    fn a_range_that_is_not_leased_is_refused(
        segment in 0..3u32, generation in 0..2u32, offset in any::<u64>(), length in 1..u64::MAX,
    ) {
        let mut arena = arena(2);
        let reservation = arena.reserve(1000).unwrap();
        let leased = arena.commit(reservation, 1000);
        let forged = ArenaRange { segment, generation, offset, length };
        prop_assume!(forged != leased);
        let near = ArenaRange { segment: 0, generation: 0, offset: offset % SEGMENT, length: length % SEGMENT };
        let refused = arena.release(forged).is_err();
        prop_assert!(refused);
        // 961 to 1000 bytes are the same granules, which is all that the arena keeps.
        if near.offset != 0 || granules(near.length) != granules(1000) {
            prop_assert!(near.length == 0 || arena.release(near).is_err());
            arena.release(leased).unwrap();
        }
    }
}

#[test]
fn a_reservation_is_not_leased_before_it_is_committed() {
    let mut arena = arena(1);
    let reservation = arena.reserve(64).unwrap();
    let range = ArenaRange {
        segment: 0,
        generation: 0,
        offset: reservation.offset(),
        length: 64,
    };
    assert!(matches!(
        arena.release(range),
        Err(ArenaError::NotLeased(_))
    ));
    let range = arena.commit(reservation, 64);
    arena.release(range).unwrap();
}

#[test]
fn the_same_size_gets_the_same_warm_memory_back() {
    let mut arena = arena(1);
    for bytes in [64, 1000, 20_000] {
        let first = arena.reserve(bytes).unwrap();
        let range = arena.commit(first, bytes);
        arena.release(range).unwrap();
        let again = arena.reserve(bytes).unwrap();
        assert_eq!(again.offset(), range.offset);
        arena.abandon(again);
    }
}

#[test]
fn beyond_its_limit_an_arena_is_full_and_says_so() {
    let mut arena = arena(2);
    let first = arena.reserve(SEGMENT).unwrap();
    let second = arena.reserve(SEGMENT).unwrap();
    let error = arena.reserve(1).unwrap_err();
    assert!(
        matches!(error, ArenaError::Full { max, .. } if max == 2 * SEGMENT),
        "{error}"
    );
    assert!(matches!(
        arena.reserve(u64::MAX),
        Err(ArenaError::Bytes { .. })
    ));
    arena.abandon(first);
    arena.abandon(second);
    // Free segments that are too small make way for a large payload.
    let large = arena.reserve(2 * SEGMENT).unwrap();
    assert_eq!(arena.segments(), 1);
    arena.abandon(large);
}

#[test]
fn where_no_segment_can_be_added_a_large_payload_lies_among_small_ones_if_these_leave_a_gap() {
    let mut arena = arena(2);
    let small = |arena: &mut Arena| {
        let reservation = arena.reserve(SEGMENT / 4).unwrap();
        arena.commit(reservation, SEGMENT / 4)
    };
    let ranges: Vec<ArenaRange> = (0..8).map(|_| small(&mut arena)).collect();
    let large = SEGMENT / 2 + 1;
    assert!(matches!(arena.reserve(large), Err(ArenaError::Full { .. })));
    // Each segment keeps a small one.
    for range in ranges[1..4].iter().chain(&ranges[5..8]) {
        arena.release(*range).unwrap();
    }
    let reserved = arena.reserve(large).unwrap();
    let growing = arena.begin(large).unwrap();
    let whole = arena.commit(reserved, large);
    let grown = arena.end(growing, large).unwrap();
    assert_eq!(whole.segment, ranges[0].segment);
    assert_eq!(grown.segment, ranges[4].segment);
    assert!(matches!(arena.reserve(large), Err(ArenaError::Full { .. })));
    for range in [whole, grown, ranges[0], ranges[4]] {
        arena.release(range).unwrap();
    }
    assert_eq!(arena.bytes_leased(), 0);
}

#[test]
fn readers_hear_of_a_segment_and_of_its_end_in_that_order() {
    let mut arena = arena(2);
    arena.grow_to_one().unwrap();
    let reservation = arena.reserve(SEGMENT / 2).unwrap();
    assert!(arena.has_news());
    let [told] = &arena.new_segments()[..] else {
        panic!("one segment")
    };
    assert_eq!((told.index, told.generation), (0, 0));
    arena.bytes_mut(&reservation)[..4].copy_from_slice(b"read");
    let range = arena.commit(reservation, 4);
    let reader = SegmentReader::open(told.segment.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(reader.read(range.offset, range.length), Some(&b"read"[..]));
    assert_eq!(arena.trim(0), [], "something is left in it");
    arena.release(range).unwrap();
    assert_eq!(arena.trim(0), [(0, 0)]);
    let again = arena.reserve(1).unwrap();
    assert_eq!(
        (again.segment(), again.generation()),
        (0, 1),
        "an index comes again with another generation"
    );
    assert!(
        matches!(arena.release(range), Err(ArenaError::NotLeased(_))),
        "the old generation is not believed"
    );
    arena.abandon(again);
}

#[test]
fn as_long_as_no_segment_is_emptied_those_that_are_empty_have_been_it_all_the_time() {
    let mut arena = arena(2);
    let kept = arena.reserve(64).unwrap();
    let (kept, before) = (arena.commit(kept, 64), arena.emptied());
    let beside = arena.reserve(64).unwrap();
    arena.abandon(beside);
    assert_eq!(arena.emptied(), before, "something is left in it");
    arena.release(kept).unwrap();
    let after = arena.emptied();
    assert!(after > before);
    let again = arena.reserve(64).unwrap();
    arena.abandon(again);
    assert!(arena.emptied() > after, "it was not empty in between");
}

#[test]
#[should_panic(expected = "another arena")]
fn a_reservation_of_another_arena_is_a_bug_that_shows() {
    let (mut one, mut other) = (arena(1), arena(1));
    let reservation = one.reserve(64).unwrap();
    other.grow_to_one().unwrap();
    let _ = other.bytes_mut(&reservation);
}

#[test]
fn what_is_set_aside_counts_in_the_arena_and_unused_segments_make_room_for_it() {
    let mut arena = arena(4);
    let [kept, free] = [(); 2].map(|()| arena.reserve(SEGMENT).unwrap());
    let kept = arena.commit(kept, SEGMENT);
    arena.abandon(free);
    assert_eq!(arena.bytes_held(), 2 * SEGMENT);
    let error = arena
        .set_aside(Compartment::FIRST, 3 * SEGMENT + 1)
        .unwrap_err();
    assert!(
        matches!(error, ArenaError::Full { bytes, max, .. } if (bytes, max) == (3 * SEGMENT + 1, 4 * SEGMENT)),
        "{error}"
    );
    arena.set_aside(Compartment::FIRST, 3 * SEGMENT).unwrap();
    assert_eq!(arena.bytes_held(), 4 * SEGMENT, "the free one has gone");
    assert!(arena.set_aside(Compartment::FIRST, 1).is_err());
    assert!(arena.reserve(64).is_err());
    arena.bring_back(Compartment::FIRST, 2 * SEGMENT);
    let more = arena.reserve(SEGMENT).unwrap();
    arena.set_aside(Compartment::FIRST, SEGMENT).unwrap();
    arena.abandon(more);
    arena.release(kept).unwrap();
    arena.bring_back(Compartment::FIRST, 2 * SEGMENT);
    let _ = arena.trim(0);
    assert_eq!(arena.bytes_held(), 0);
}
