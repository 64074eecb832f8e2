//! What compartments promise: segments of their own, limits of their own, and an end.

use super::*;

const COMPARTMENT_MAX: u64 = 3 * SEGMENT;

#[derive(Clone, Debug)]
enum Step {
    Lease { which: usize, bytes: u64 },
    Release { which: usize },
    Open,
    Close { which: usize },
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<usize>(), sizes()).prop_map(|(which, bytes)| Step::Lease { which, bytes }),
        6 => any::<usize>().prop_map(|which| Step::Release { which }),
        1 => Just(Step::Open),
        1 => any::<usize>().prop_map(|which| Step::Close { which }),
        1 => Just(Step::Trim),
    ];
    proptest::collection::vec(step, 1..200)
}

#[derive(Default)]
struct Parties {
    open: Vec<Compartment>,
    /// Closed, with leases that are left.
    closed: Vec<Compartment>,
    leases: Vec<(Compartment, ArenaRange)>,
}

impl Parties {
    fn apply(&mut self, arena: &mut Arena, step: Step) {
        match step {
            Step::Lease { which, bytes } => {
                let compartment = self.open[which % self.open.len()];
                if let Ok(reservation) = arena.reserve_in(compartment, bytes) {
                    let range = arena.commit(reservation, bytes);
                    if bytes > 0 {
                        self.leases.push((compartment, range));
                    }
                }
            }
            Step::Release { which } if !self.leases.is_empty() => {
                let (_, range) = self.leases.swap_remove(which % self.leases.len());
                arena.release(range).unwrap();
            }
            Step::Release { .. } => {}
            Step::Open => {
                let compartment = arena.open_compartment(COMPARTMENT_MAX);
                assert!(!self.open.contains(&compartment), "it is somebody's");
                self.closed.retain(|closed| *closed != compartment);
                self.open.push(compartment);
            }
            Step::Close { which } => {
                if self.open.len() > 1 {
                    let compartment = self.open.remove(1 + which % (self.open.len() - 1));
                    arena.close_compartment(compartment);
                    assert!(arena.reserve_in(compartment, 1).is_err(), "it is closed");
                    self.closed.push(compartment);
                }
            }
            Step::Trim => drop(arena.trim(0)),
        }
    }

    fn check(&self, arena: &Arena) {
        let mut owners = BTreeMap::new();
        let mut leased: BTreeMap<u32, u64> = BTreeMap::new();
        for (compartment, range) in &self.leases {
            let owner = owners.entry(range.segment).or_insert(*compartment);
            assert_eq!(owner, compartment, "two parties in a segment");
            *leased.entry(compartment.0).or_default() += granules(range.length) * GRANULE_BYTES;
        }
        let all = || self.open.iter().chain(&self.closed).copied();
        for compartment in all() {
            let expected = leased.get(&compartment.0).copied().unwrap_or(0);
            assert_eq!(arena.bytes_leased_in(compartment), expected);
            if compartment != Compartment::FIRST {
                assert!(arena.bytes_held_in(compartment) <= COMPARTMENT_MAX);
            }
        }
        for closed in &self.closed {
            let empty = !leased.contains_key(&closed.0);
            assert_eq!(arena.bytes_held_in(*closed) == 0, empty);
        }
        let held: u64 = all()
            .map(|compartment| arena.bytes_held_in(compartment))
            .sum();
        assert_eq!(arena.bytes_held(), held);
        assert!(held <= 8 * SEGMENT);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn parties_share_no_segment_and_what_is_closed_goes_with_its_last_range(steps in steps()) {
        let mut arena = arena(8);
        let mut parties = Parties { open: vec![Compartment::FIRST], ..Parties::default() };
        for step in steps {
            parties.apply(&mut arena, step);
            parties.check(&arena);
        }
        for (_, range) in parties.leases.drain(..) {
            arena.release(range).unwrap();
        }
        parties.check(&arena);
        arena.trim(0);
        prop_assert_eq!((arena.segments(), arena.bytes_leased()), (0, 0));
    }
}

#[test]
fn a_compartment_that_is_full_names_its_own_limit_and_takes_nothing_of_others() {
    let mut arena = arena(4);
    let small = arena.open_compartment(SEGMENT);
    let held = arena.reserve_in(small, SEGMENT).unwrap();
    let error = arena.reserve_in(small, 64).unwrap_err();
    assert!(
        matches!(
            error,
            ArenaError::Full {
                max: SEGMENT,
                leased: SEGMENT,
                ..
            }
        ),
        "{error}"
    );
    let other = arena.reserve(3 * SEGMENT).unwrap();
    arena.abandon(other);
    arena.abandon(held);
}

#[test]
fn free_segments_of_one_compartment_make_way_for_another() {
    let mut arena = arena(2);
    let first = arena.open_compartment(u64::MAX);
    let second = arena.open_compartment(u64::MAX);
    let reservation = arena.reserve_in(first, 2 * SEGMENT).unwrap();
    let range = arena.commit(reservation, 2 * SEGMENT);
    assert!(arena.reserve_in(second, 1).is_err(), "all is in use");
    arena.release(range).unwrap();
    let reservation = arena.reserve_in(second, SEGMENT).unwrap();
    assert_eq!(
        (arena.bytes_held_in(first), arena.bytes_held_in(second)),
        (0, SEGMENT)
    );
    arena.abandon(reservation);
}

#[test]
fn what_is_kept_for_each_is_there_whatever_others_hold() {
    let mut arena = arena(8);
    let [greedy, modest] = [(); 2].map(|()| arena.open_compartment(u64::MAX));
    arena.keep_for_each(2 * SEGMENT);
    let refused = arena.reserve_in(greedy, 6 * SEGMENT + 1).unwrap_err();
    let max = 6 * SEGMENT;
    assert!(
        matches!(refused, ArenaError::Full { max: most, .. } if most == max),
        "{refused}"
    );
    let all = arena.reserve_in(greedy, 6 * SEGMENT).unwrap();
    for nobody in [greedy, Compartment::FIRST] {
        assert!(arena.reserve_in(nobody, 1).is_err());
        assert!(arena.set_aside(nobody, 1).is_err());
    }
    let own = arena.reserve_in(modest, SEGMENT).unwrap();
    arena.set_aside(modest, SEGMENT).unwrap();
    assert!(arena.reserve_in(modest, 1).is_err(), "that is all");
    arena.abandon(own);
    assert!(
        arena.reserve_in(greedy, SEGMENT).is_err(),
        "it lacks that again, though its segment is empty"
    );
    assert_eq!(arena.bytes_held_in(modest), SEGMENT, "and stays");
    arena.bring_back(modest, SEGMENT);
    arena.close_compartment(modest);
    let rest = arena.reserve_in(greedy, 2 * SEGMENT).unwrap();
    arena.abandon(rest);
    arena.abandon(all);
}

#[test]
fn who_comes_later_finds_what_is_kept_as_soon_as_it_comes_back() {
    let mut arena = arena(4);
    let first = arena.open_compartment(u64::MAX);
    let [all, one] = [3, 1].map(|segments| arena.reserve_in(first, segments * SEGMENT).unwrap());
    // There is not yet as much as is kept for both: whoever asks first has his part.
    let [later, _other] = [(); 2].map(|()| arena.open_compartment(u64::MAX));
    arena.keep_for_each(SEGMENT);
    assert!(arena.reserve_in(later, 1).is_err());
    arena.abandon(one);
    let kept = arena.reserve_in(later, SEGMENT).unwrap();
    arena.abandon(kept);
    let error = arena.reserve_in(first, SEGMENT).unwrap_err();
    assert!(matches!(error, ArenaError::Full { .. }), "{error}");
    arena.abandon(all);
}

#[test]
fn a_closed_compartment_is_not_used_again_while_anything_is_set_aside_for_it() {
    let mut arena = arena(4);
    let closed = arena.open_compartment(u64::MAX);
    arena.set_aside(closed, SEGMENT).unwrap();
    arena.close_compartment(closed);
    let other = arena.open_compartment(u64::MAX);
    assert_ne!(other, closed);
    arena.bring_back(closed, SEGMENT);
    assert_eq!(arena.open_compartment(u64::MAX), closed);
    assert_eq!(arena.bytes_held(), 0);
}

#[test]
#[should_panic(expected = "cannot be closed")]
fn the_first_compartment_stays() {
    arena(1).close_compartment(Compartment::FIRST);
}
