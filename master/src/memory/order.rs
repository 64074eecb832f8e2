//! What comes before what, and the most that payloads can have at once by that.

use super::reuse::Flow;

/// Beyond so many units, or payloads, all payloads are taken to be there at once.
const UNITS_MAX: usize = 8192;

/// A payload, or several that come and go together.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Its bytes.
    pub(super) bytes: u64,
    /// The unit that makes it; none if it is there from the beginning.
    pub(super) maker: Option<u32>,
    /// The units after which it is gone, its maker included; none if it stays until the end.
    pub(super) until: Option<Vec<u32>>,
}

/// Units of work: nodes, and regions seen from around them; and which ends before which begins, whatever happens.
#[derive(Debug)]
pub(super) struct Order {
    /// By unit: those that end before it begins, each at once.
    before: Vec<Vec<u32>>,
    /// By unit: those that begin after it has ended, as bits. None if there are too many.
    after: Option<Vec<Bits>>,
}

/// A set of units.
type Bits = Vec<u64>;

impl Order {
    /// The order of so many units, of which each pair's first ends before its second begins. There is no circle.
    pub(super) fn new(units: usize, edges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut before = vec![Vec::new(); units];
        let mut behind: Vec<Vec<u32>> = vec![Vec::new(); units];
        for (first, second) in edges {
            before[second as usize].push(first);
        }
        for (unit, first) in (0..).zip(&mut before) {
            first.sort_unstable();
            first.dedup();
            for one in first {
                behind[*one as usize].push(unit);
            }
        }
        let after = (units <= UNITS_MAX).then(|| closure(&before, &behind));
        Self { before, after }
    }

    /// The most bytes that these can have at once.
    pub(super) fn most(&self, held: &[Held]) -> u64 {
        let bytes = held.iter().map(|one| one.bytes);
        let all = bytes.fold(0, u64::saturating_add);
        let Some(after) = &self.after else {
            return all;
        };
        if held.len() > UNITS_MAX {
            return all;
        }
        let units = self.before.len();
        let (source, sink) = (units + held.len(), units + held.len() + 1);
        let mut flow = Flow::new(sink + 1);
        for (unit, before) in self.before.iter().enumerate() {
            for first in before {
                flow.arc(*first as usize, unit, u64::MAX);
            }
        }
        let mut wanted = vec![0_u64; units];
        for (place, one) in held.iter().enumerate() {
            if let Some(maker) = one.maker {
                let wanted = &mut wanted[maker as usize];
                *wanted = wanted.saturating_add(one.bytes);
            }
            let Some(until) = &one.until else {
                continue;
            };
            let Some(later) = self.after_all(after, until) else {
                continue;
            };
            flow.arc(source, units + place, one.bytes);
            for unit in self.first_of(&later) {
                flow.arc(units + place, unit, u64::MAX);
            }
        }
        for (unit, wanted) in wanted.into_iter().enumerate() {
            if wanted > 0 {
                flow.arc(unit, sink, wanted);
            }
        }
        all - flow.most(source, sink).min(all)
    }

    /// The units that begin after all of these have ended.
    fn after_all(&self, after: &[Bits], until: &[u32]) -> Option<Bits> {
        let (first, others) = until.split_first()?;
        let mut later = after[*first as usize].clone();
        for other in others {
            for (word, bits) in later.iter_mut().zip(&after[*other as usize]) {
                *word &= bits;
            }
        }
        Some(later)
    }

    /// Of these units those that have none of them before them: what begins later is reached through them.
    fn first_of(&self, units: &Bits) -> Vec<usize> {
        let is_in = |unit: usize| units[unit / 64] >> (unit % 64) & 1 == 1;
        let all = (0..self.before.len()).filter(|unit| is_in(*unit));
        let first = all.filter(|unit| {
            let mut before = self.before[*unit].iter();
            !before.any(|one| is_in(*one as usize))
        });
        first.collect()
    }
}

/// By unit: all that begin after it has ended.
fn closure(before: &[Vec<u32>], behind: &[Vec<u32>]) -> Vec<Bits> {
    let units = before.len();
    let mut left: Vec<usize> = behind.iter().map(Vec::len).collect();
    let mut free: Vec<u32> = (0..units as u32)
        .filter(|unit| left[*unit as usize] == 0)
        .collect();
    let mut after: Vec<Bits> = vec![vec![0; units.div_ceil(64)]; units];
    // From the last to the first.
    while let Some(unit) = free.pop() {
        let place = unit as usize;
        let own = std::mem::take(&mut after[place]);
        for first in &before[place] {
            let of_first = &mut after[*first as usize];
            of_first[place / 64] |= 1 << (place % 64);
            for (word, bits) in of_first.iter_mut().zip(&own) {
                *word |= bits;
            }
            left[*first as usize] -= 1;
            if left[*first as usize] == 0 {
                free.push(*first);
            }
        }
        after[place] = own;
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn held(bytes: u64, maker: u32, until: &[u32]) -> Held {
        let mut until = until.to_vec();
        until.push(maker);
        Held {
            bytes,
            maker: Some(maker),
            until: Some(until),
        }
    }

    #[test]
    fn of_a_chain_two_neighbours_are_there_at_once() {
        let order = Order::new(4, [(0, 1), (1, 2), (2, 3)].into_iter());
        let chain = [held(10, 0, &[1]), held(20, 1, &[2]), held(5, 2, &[3])];
        assert_eq!(order.most(&chain), 30);
        let last = Held {
            until: None,
            ..held(5, 2, &[])
        };
        let chain = [held(10, 0, &[1]), held(20, 1, &[2]), last, held(40, 3, &[])];
        // What stays is there with whatever comes.
        assert_eq!(order.most(&chain), 45);
    }

    #[test]
    fn without_an_order_all_are_there_at_once() {
        let order = Order::new(3, std::iter::empty());
        let all = [held(1, 0, &[]), held(2, 1, &[]), held(4, 2, &[])];
        assert_eq!(order.most(&all), 7);
    }

    #[test]
    fn what_has_two_readers_is_there_until_both_have_ended() {
        // 0 is read by 1 and 2; 3 comes behind 1 alone, 4 behind both.
        let edges = [(0, 1), (0, 2), (1, 3), (1, 4), (2, 4)];
        let order = Order::new(5, edges.into_iter());
        let read = held(100, 0, &[1, 2]);
        assert_eq!(order.most(&[read.clone(), held(50, 3, &[])]), 150);
        assert_eq!(order.most(&[read, held(50, 4, &[])]), 100);
    }

    /// The heaviest set of which none is gone before another begins, by trying all.
    fn by_force(order: &Order, held: &[Held]) -> u64 {
        let after = order.after.as_ref().unwrap();
        let before = |one: &Held, other: &Held| {
            let (Some(until), Some(maker)) = (&one.until, other.maker) else {
                return false;
            };
            let after = |unit: &u32| after[*unit as usize][maker as usize / 64] >> (maker % 64) & 1;
            until.iter().all(|unit| after(unit) == 1)
        };
        let sets = 0..1_u32 << held.len();
        let weights = sets.filter_map(|set| {
            let of_set = || (0..held.len()).filter(|place| set >> place & 1 == 1);
            let together =
                of_set().all(|a| of_set().all(|b| a == b || !before(&held[a], &held[b])));
            together.then(|| of_set().map(|place| held[place].bytes).sum::<u64>())
        });
        weights.max().unwrap_or(0)
    }

    #[test]
    fn the_most_at_once_is_what_all_sets_come_to() {
        let mut random = Random::new(7);
        for _ in 0..400 {
            let units = 1 + random.below(7) as u32;
            let pairs = (0..units).flat_map(|b| (0..b).map(move |a| (a, b)));
            let edges: Vec<(u32, u32)> = pairs.filter(|_| random.below(3) == 0).collect();
            let order = Order::new(units as usize, edges.into_iter());
            let count = random.below(9);
            let one = |_| {
                let maker = random.below(units as usize) as u32;
                let later = (maker..units).filter(|_| random.below(3) == 0);
                let readers: Vec<u32> = later.collect();
                let held = held(1 + random.below(100) as u64, maker, &readers);
                Held {
                    maker: (random.below(8) > 0).then_some(maker),
                    until: held.until.filter(|_| random.below(6) > 0),
                    ..held
                }
            };
            let all: Vec<Held> = (0..count).map(one).collect();
            assert_eq!(
                order.most(&all),
                by_force(&order, &all),
                "{order:?} {all:?}"
            );
        }
    }
}
