//! How much an arena holds for what is leased, at most: docs/layout.md, "How much an arena holds".

use super::*;

/// Sizes that are packed, by halves: from half a segment down to a granule.
const CLASSES: u64 = (SEGMENT / 2 / GRANULE_BYTES).ilog2() as u64 + 1;

/// What the quick lists can hold back.
const QUICK_BYTES: u64 = {
    let small = QUICK_SMALL_MAX as u64 * GRANULE_BYTES * (64 * 65 / 2);
    small + QUICK_LARGE_MAX as u64 * SEGMENT / 2
};

/// An arena, what is leased of it, and what was at most.
struct Watched {
    arena: Arena,
    leased: Vec<ArenaRange>,
    packed: u64,
    packed_peak: u64,
    emptied: u64,
}

impl Watched {
    fn new() -> Self {
        Self {
            arena: arena(1 << 20),
            leased: Vec::new(),
            packed: 0,
            packed_peak: 0,
            emptied: 0,
        }
    }

    fn note(&mut self, range: ArenaRange) {
        if range.length == 0 {
            return;
        }
        if range.length <= SEGMENT / 2 {
            self.packed += range.length.next_multiple_of(GRANULE_BYTES);
            self.packed_peak = self.packed_peak.max(self.packed);
        }
        self.leased.push(range);
    }

    fn lease(&mut self, bytes: u64) {
        let reservation = self.arena.reserve(bytes).unwrap();
        let range = self.arena.commit(reservation, bytes);
        self.note(range);
    }

    /// Begins with a guess, and ends with another length.
    fn guess(&mut self, guess: u64, bytes: u64) {
        let mut growing = self.arena.begin(guess).unwrap();
        self.packed_peak = self.packed_peak.max(self.packed + guess.max(bytes));
        self.arena.grow(&mut growing, 0, bytes, u64::MAX).unwrap();
        let range = self.arena.end(growing, bytes).unwrap();
        self.note(range);
    }

    fn release(&mut self, which: usize) {
        let range = self.leased.swap_remove(which);
        if range.length <= SEGMENT / 2 {
            self.packed -= range.length.next_multiple_of(GRANULE_BYTES);
        }
        let segment = self.arena.segment(range.segment, range.generation);
        self.emptied = segment.unwrap().length();
        self.arena.release(range).unwrap();
    }

    /// Keeps those that `keep` says, by the order in which they were leased.
    fn release_unless(&mut self, keep: impl Fn(usize, &ArenaRange) -> bool) {
        let mut index = 0;
        let (kept, gone): (Vec<_>, Vec<_>) = self.leased.drain(..).partition(|range| {
            index += 1;
            keep(index - 1, range)
        });
        self.leased = gone;
        while !self.leased.is_empty() {
            self.release(self.leased.len() - 1);
        }
        self.leased = kept;
    }

    /// Bytes of segments in which something is leased: packed ones, and others.
    fn in_use(&self) -> (u64, u64) {
        let mut segments = BTreeMap::new();
        for range in &self.leased {
            segments.insert(range.segment, range);
        }
        let bytes = |packed: bool| {
            let of_kind = segments
                .values()
                .filter(move |range| self.arena.chain.is_packed(range.segment) == packed);
            let lengths = of_kind.map(|range| {
                let segment = self.arena.segment(range.segment, range.generation);
                segment.expect("it is leased").length()
            });
            lengths.sum::<u64>()
        };
        (bytes(true), bytes(false))
    }

    /// The bound that is documented.
    fn check(&self) {
        let (packed, alone) = self.in_use();
        let leased = self.leased.iter();
        let large = leased.filter(|range| !self.arena.chain.is_packed(range.segment));
        let large: u64 = large.map(|range| 2 * range.length + 4096).sum();
        assert!(alone <= large, "{alone} bytes for {large} at most");
        let peak = self.packed_peak + QUICK_BYTES;
        let most = CLASSES * SEGMENT + (5 * CLASSES + 9) * peak;
        let most = most.min(self.leased.len() as u64 * SEGMENT);
        assert!(packed <= most, "{packed} bytes in use, of {most} at most");
        let idle = self.arena.bytes_held() - packed - alone;
        let reserve = making::reserve_bytes(&self.arena.config).max(self.emptied);
        assert!(idle <= reserve, "{idle} bytes are kept, above {reserve}");
    }

    fn packed_segments(&self) -> u64 {
        self.in_use().0 / SEGMENT
    }
}

fn watched(limit: u64) -> Watched {
    let mut watched = Watched::new();
    // A smaller reserve, so that it does not hide what is to be seen.
    watched.arena = arena(limit);
    watched
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_sizes_and_lifetimes_stay_within_the_bound(
        steps in proptest::collection::vec((0..5_u8, sizes(), sizes(), any::<usize>()), 1..600),
    ) {
        let mut watched = watched(1 << 12);
        for (kind, bytes, other, which) in steps {
            match kind {
                0 | 1 => watched.lease(bytes),
                2 => watched.guess(bytes, other),
                _ if watched.leased.is_empty() => {}
                _ => watched.release(which % watched.leased.len()),
            }
            watched.check();
        }
        watched.release_unless(|_, _| false);
        watched.check();
        prop_assert_eq!(watched.arena.bytes_leased(), 0);
    }
}

/// Bytes that are leased at once in what follows: 32 segments, were they packed without a gap.
const LIVE: u64 = 32 * SEGMENT;

#[test]
fn sizes_that_double_while_every_second_range_stays_take_a_few_times_what_is_leased() {
    let mut watched = watched(1 << 12);
    // Robson's adversary: what is left of one size leaves no gap for the next.
    let mut bytes = 64;
    while bytes <= SEGMENT / 2 {
        while watched.packed + bytes <= LIVE {
            watched.lease(bytes);
        }
        watched.check();
        watched.release_unless(|index, _| index % 2 == 0);
        watched.check();
        bytes *= 2;
    }
    let segments = watched.packed_segments();
    // No allocator that moves nothing does with less than half a live size for each doubling (Robson, J. ACM 18, 1971): 4.5 here.
    assert!(segments <= 6 * LIVE / SEGMENT, "{segments} segments");
}

#[test]
fn sizes_that_rise_and_fall_like_a_saw_take_no_more_each_time() {
    let mut watched = watched(1 << 12);
    let mut after_one = 0;
    for round in 0..6 {
        let mut sizes: Vec<u64> = (0..10)
            .map(|power| (64 << power) - 64 * (round % 2))
            .collect();
        if round % 2 == 1 {
            sizes.reverse();
        }
        for bytes in sizes.into_iter().filter(|bytes| *bytes > 0) {
            while watched.packed + bytes <= LIVE {
                watched.lease(bytes);
            }
            watched.check();
            watched.release_unless(|index, _| index % 3 == 0);
            watched.check();
        }
        after_one = if round == 0 {
            watched.packed_segments()
        } else {
            after_one
        };
    }
    let segments = watched.packed_segments();
    assert!(
        segments <= after_one + LIVE / SEGMENT,
        "{segments} after {after_one}"
    );
}

#[test]
fn small_ranges_that_outlive_large_ones_do_not_keep_a_segment_each() {
    let mut watched = watched(1 << 12);
    for _ in 0..500 {
        watched.lease(SEGMENT / 2 - 64);
        watched.lease(64);
        watched.lease(SEGMENT / 2 - 64);
        // Guesses that were too large, too.
        watched.guess(SEGMENT / 2, 64);
        watched.release_unless(|_, range| range.length == 64);
        watched.check();
    }
    assert_eq!(watched.leased.len(), 1000);
    let segments = watched.packed_segments();
    assert!(segments <= 2, "{segments} segments for 64,000 bytes");
}

#[test]
fn one_small_survivor_in_each_segment_keeps_it_and_what_comes_next_fills_them_up() {
    let mut watched = watched(1 << 12);
    let each = SEGMENT / GRANULE_BYTES;
    for _ in 0..32 * each {
        watched.lease(64);
    }
    // One in each segment, which is all that anyone can do with one range a segment.
    watched.release_unless(|index, _| (index as u64).is_multiple_of(each));
    watched.check();
    assert_eq!(watched.packed_segments(), 32);
    let (held, mut further) = (watched.arena.bytes_held(), 0);
    while further < 31 * SEGMENT {
        watched.lease(1000);
        further += 1024;
    }
    assert!(
        watched.arena.bytes_held() <= held,
        "the gaps are used first"
    );
    watched.check();
}

#[test]
fn what_is_released_goes_back_at_once_though_the_quick_lists_hold_a_block_of_each_segment() {
    let mut watched = watched(1 << 12);
    watched.arena.reserve_bytes = 2 * SEGMENT;
    let mut bytes = 64;
    for _ in 0..64 {
        // A few of each size, which all find a place in a list.
        for _ in 0..SEGMENT / bytes {
            watched.lease(bytes);
        }
        bytes = bytes % 4096 + 64;
    }
    let held = watched.arena.bytes_held();
    assert!(held >= 60 * SEGMENT);
    watched.release_unless(|_, _| false);
    assert_eq!(watched.arena.bytes_leased(), 0);
    let held = watched.arena.bytes_held();
    assert!(held <= 2 * SEGMENT, "{held} bytes are still held");
}

#[test]
fn large_payloads_that_come_and_go_leave_the_reserve_and_the_last_one() {
    let mut watched = watched(1 << 12);
    for round in 1..60_u64 {
        watched.lease(round * 40_000);
        watched.lease(round * 1000 % 4000 + 1);
        watched.check();
        if watched.leased.len() > 20 {
            watched.release(round as usize % 20);
        }
        watched.check();
    }
    watched.release_unless(|_, range| range.length <= 4000);
    watched.check();
    assert!(watched.packed_segments() <= 2);
}
