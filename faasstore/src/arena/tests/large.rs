//! What is promised of large payloads: segments of their own, growing without a copy, pages that come gradually.

use super::*;
use crate::segment::SegmentReader;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn large_arena(bytes_max: u64) -> Arena {
    Arena::new(ArenaConfig {
        name: "test".to_owned(),
        segment_bytes: MIB,
        bytes_max,
    })
}

fn lease(arena: &mut Arena, bytes: u64) -> ArenaRange {
    let reservation = arena.reserve(bytes).unwrap();
    arena.commit(reservation, bytes)
}

#[test]
fn a_payload_of_more_than_half_a_segment_gets_one_of_its_own_that_goes_with_it() {
    let mut arena = large_arena(64 * MIB);
    let small = lease(&mut arena, MIB / 2);
    assert_eq!(arena.bytes_held(), MIB);
    let large = lease(&mut arena, MIB / 2 + 1);
    assert_eq!(
        arena.bytes_held(),
        MIB + MIB / 2 + 4096,
        "as many pages as it needs"
    );
    assert_ne!(large.segment, small.segment);
    let second = lease(&mut arena, MIB / 2);
    assert_eq!(second.segment, small.segment, "what is small is packed");
    arena.release(large).unwrap();
    let larger = lease(&mut arena, 20 * MIB);
    arena.release(larger).unwrap();
    assert_eq!(
        arena.bytes_held(),
        MIB + 20 * MIB,
        "the one that was emptied last is kept, and nothing that exceeds the reserve of a quarter"
    );
    assert_eq!(
        lease(&mut arena, 20 * MIB).segment,
        larger.segment,
        "and is used again"
    );
}

#[test]
fn a_large_segment_is_used_again_by_what_fills_at_least_half_of_it() {
    let mut arena = large_arena(64 * MIB);
    let first = lease(&mut arena, 8 * MIB);
    arena.release(first).unwrap();
    let half = lease(&mut arena, 4 * MIB);
    assert_eq!((half.segment, arena.bytes_held()), (first.segment, 8 * MIB));
    arena.release(half).unwrap();
    let less = lease(&mut arena, 4 * MIB - 64);
    assert_ne!(less.segment, first.segment);
    arena.release(less).unwrap();
    assert_eq!(arena.trim(0), [], "nobody was told of them");
    assert_eq!(arena.bytes_held(), 0);
}

/// Writes `bytes` bytes in pieces of `piece`, as a stream does; how often it came to lie elsewhere.
fn stream(arena: &mut Arena, bytes: u64, piece: u64) -> (ArenaRange, u32) {
    let mut growing = arena.begin(1).unwrap();
    let (mut written, mut moves) = (0, 0);
    let mut at = arena.growing_mut(&growing).as_ptr();
    let mut in_draft = false;
    while written < bytes {
        let end = (written + piece).min(bytes);
        if end > growing.capacity() {
            arena.grow(&mut growing, written, end, u64::MAX).unwrap();
            let now = arena.growing_mut(&growing).as_ptr();
            if now != at && !in_draft {
                moves += 1;
            }
            in_draft = growing.capacity() > arena.packed_bytes_max();
            at = now;
        }
        for (place, byte) in
            (written..end).zip(&mut arena.growing_mut(&growing)[written as usize..])
        {
            *byte = (place / 7) as u8;
        }
        written = end;
    }
    (arena.end(growing, bytes).unwrap(), moves)
}

#[test]
fn a_stream_is_copied_while_it_is_small_and_never_again() {
    let mut arena = large_arena(256 * MIB);
    let before = lease(&mut arena, 64);
    for bytes in [1, 5000, MIB / 2, MIB / 2 + 1, 3 * MIB + 5, 30 * MIB + 11] {
        let (range, moves) = stream(&mut arena, bytes, 64 << 10);
        assert!(
            moves <= 5,
            "64 KiB doubles at most so often up to half a segment: {moves}"
        );
        assert_eq!(range.length, bytes);
        let segment = arena.segment(range.segment, range.generation).unwrap();
        let reader = SegmentReader::open(segment.fd().try_clone_to_owned().unwrap()).unwrap();
        let read = reader.read(range.offset, range.length).unwrap();
        assert!(
            (0..)
                .zip(read)
                .all(|(place, byte): (u64, _)| *byte == (place / 7) as u8)
        );
        if bytes > MIB / 2 {
            assert_eq!(
                reader.length(),
                bytes.next_multiple_of(4096),
                "what was set aside too much has gone back"
            );
        } else {
            assert_eq!(range.segment, before.segment);
        }
        arena.release(range).unwrap();
        assert_eq!(arena.bytes_leased(), 64);
        assert!(arena.bytes_held() >= arena.bytes_leased());
    }
}

#[test]
fn nobody_hears_of_a_draft_before_it_is_sealed_and_nothing_is_left_of_one_that_is_given_up() {
    let mut arena = large_arena(64 * MIB);
    let growing = arena.begin(8 * MIB).unwrap();
    assert!(!arena.has_news());
    assert_eq!(arena.bytes_held(), 8 * MIB);
    arena.give_up(growing);
    assert!(!arena.has_news());
    assert_eq!((arena.bytes_held(), arena.segments()), (0, 0));

    let growing = arena.begin(8 * MIB).unwrap();
    let range = arena.end(growing, 5 * MIB).unwrap();
    let [told] = &arena.new_segments()[..] else {
        panic!("one segment")
    };
    assert_eq!(
        (told.index, told.segment.length()),
        (range.segment, 5 * MIB)
    );
    assert_eq!(arena.bytes_held(), 5 * MIB);
    arena.release(range).unwrap();
}

#[test]
fn what_is_written_into_a_much_larger_place_is_moved_to_one_of_its_size() {
    let mut arena = large_arena(64 * MIB);
    // A hint that was much too large, to a draft and to a segment that was kept.
    let kept = lease(&mut arena, 8 * MIB);
    arena.release(kept).unwrap();
    for length in [100, MIB, 3 * MIB] {
        let growing = arena.begin(8 * MIB).unwrap();
        arena.growing_mut(&growing)[..length as usize].fill(7);
        let range = arena.end(growing, length).unwrap();
        let segment = arena.segment(range.segment, range.generation).unwrap();
        let bytes = segment.read(range.offset, range.length).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert!(segment.length() <= MIB.max(2 * length), "{length}");
        arena.release(range).unwrap();
        arena.trim(0);
    }
}

#[test]
fn a_stream_that_outgrows_the_arena_is_refused_with_both_numbers_and_stays_as_it_is() {
    let mut arena = large_arena(16 * MIB);
    let mut growing = arena.begin(12 * MIB).unwrap();
    arena.growing_mut(&growing).fill(3);
    arena
        .grow(&mut growing, 12 * MIB, 16 * MIB, u64::MAX)
        .unwrap();
    assert_eq!(growing.capacity(), 16 * MIB, "less than ample, but enough");
    let error = arena
        .grow(&mut growing, 16 * MIB, 16 * MIB + 1, u64::MAX)
        .unwrap_err();
    let ArenaError::Full { bytes, max, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((bytes, max), (16 * MIB + 1, 16 * MIB));
    let error = arena
        .grow(&mut growing, 0, PAYLOAD_BYTES_MAX + 1, u64::MAX)
        .unwrap_err();
    assert!(matches!(error, ArenaError::Bytes { .. }), "{error}");
    let bytes = &arena.growing_mut(&growing)[..12 << 20];
    assert!(bytes.iter().all(|byte| *byte == 3));
    arena.give_up(growing);
    assert_eq!(arena.bytes_held(), 0);
}

/// Bytes for which a segment has pages.
fn present(arena: &Arena, reservation: &Reservation) -> u64 {
    let segment = arena.segment(reservation.segment(), reservation.generation());
    let stat = nix::sys::stat::fstat(segment.unwrap().fd()).unwrap();
    stat.st_blocks as u64 * 512
}

#[test]
fn pages_that_are_set_aside_gradually_come_as_they_are_asked_for_and_no_reader_takes_the_segment_before()
 {
    let mut arena = large_arena(64 * MIB);
    let bytes = 9 * MIB + 1;
    let reservation = arena
        .reserve_gradually_in(Compartment::FIRST, bytes)
        .unwrap();
    assert_eq!(present(&arena, &reservation), 0);
    assert_eq!(arena.bytes_held(), 9 * MIB + 4096, "it counts as a whole");
    let segment = arena.segment(reservation.segment(), 0).unwrap();
    let descriptor = || segment.fd().try_clone_to_owned().unwrap();
    assert!(matches!(
        SegmentReader::open(descriptor()),
        Err(SegmentError::Sparse { .. })
    ));
    for (upto, there) in [(1, 4 * MIB), (4 * MIB, 4 * MIB), (5 * MIB, 8 * MIB)] {
        arena.add_pages(&reservation, upto).unwrap();
        assert_eq!(present(&arena, &reservation), there);
    }
    arena.add_pages(&reservation, bytes).unwrap();
    assert_eq!(present(&arena, &reservation), 9 * MIB + 4096);
    let range = arena.commit(reservation, bytes);
    let segment = arena.segment(range.segment, range.generation).unwrap();
    SegmentReader::open(segment.fd().try_clone_to_owned().unwrap()).unwrap();
    arena.release(range).unwrap();
    // Used again: all of it is there.
    let again = arena
        .reserve_gradually_in(Compartment::FIRST, bytes)
        .unwrap();
    assert_eq!(again.segment(), range.segment);
    assert_eq!(present(&arena, &again), 9 * MIB + 4096);
    arena.abandon(again);
    assert_eq!(arena.bytes_held(), 9 * MIB + 4096, "a whole one is kept");
    arena.trim(0);
    let broken_off = arena
        .reserve_gradually_in(Compartment::FIRST, bytes)
        .unwrap();
    arena.add_pages(&broken_off, 1).unwrap();
    arena.abandon(broken_off);
    assert_eq!(arena.bytes_held(), 0, "one that lacks pages is not");
}

#[test]
fn what_was_made_gradually_and_is_used_again_is_named_once_as_worth_huge_pages() {
    let mut arena = large_arena(256 * MIB);
    let gradually = |arena: &mut Arena| {
        let reservation = arena.reserve_gradually_in(Compartment::FIRST, 8 * MIB);
        let reservation = reservation.unwrap();
        arena.add_pages(&reservation, 8 * MIB).unwrap();
        arena.commit(reservation, 8 * MIB)
    };
    let whole = lease(&mut arena, 20 * MIB);
    let first = gradually(&mut arena);
    arena.release(first).unwrap();
    for _ in 0..2 {
        let again = gradually(&mut arena);
        assert_eq!(again.segment, first.segment);
        arena.release(again).unwrap();
        assert!(arena.scattered().is_none(), "it was used a few times");
    }
    let again = gradually(&mut arena);
    arena.release(again).unwrap();
    let in_use = gradually(&mut arena);
    assert!(arena.scattered().is_none(), "it holds something");
    arena.release(in_use).unwrap();
    let segment = arena.scattered().expect("used often, and empty");
    let named = arena.segment(first.segment, first.generation).unwrap();
    assert!(Arc::ptr_eq(&segment, named));
    let last = gradually(&mut arena);
    assert_eq!(last.segment, first.segment);
    arena.release(last).unwrap();
    assert!(arena.scattered().is_none(), "it was named before");
    arena.release(whole).unwrap();
    let whole = lease(&mut arena, 20 * MIB);
    arena.release(whole).unwrap();
    assert!(arena.scattered().is_none(), "that one was made at once");
}

#[test]
fn beyond_the_longest_payload_everything_is_refused_by_name() {
    let mut arena = large_arena(u64::MAX);
    for error in [
        arena.reserve(PAYLOAD_BYTES_MAX + 1).unwrap_err(),
        arena.begin(PAYLOAD_BYTES_MAX + 1).unwrap_err(),
        arena
            .reserve_gradually_in(Compartment::FIRST, u64::MAX)
            .unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, ArenaError::Bytes { .. }), "{text}");
        assert!(text.contains("17179869184"), "{text}");
    }
    // The longest itself, none of whose pages is there.
    match arena.reserve_gradually_in(Compartment::FIRST, PAYLOAD_BYTES_MAX) {
        Ok(reservation) => {
            assert_eq!(reservation.capacity(), PAYLOAD_BYTES_MAX);
            arena.abandon(reservation);
        }
        Err(error) => assert!(
            matches!(error, ArenaError::Segment(SegmentError::Memory { .. })),
            "a machine that has less memory says so: {error}"
        ),
    }
}
