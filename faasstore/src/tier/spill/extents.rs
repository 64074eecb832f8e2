//! Which blocks of a spill file are in use: an allocator without a disk.
//!
//! ```text
//! used    a payload's
//! kept    free, with disk space behind it: used again first
//! leaving free, and its disk space is being given back: nobody's until that is done
//! hole    free, without disk space
//! end     behind it there is nothing: the file's size
//! ```
//!
//! **What it promises.** Runs in use never overlap. Used and kept blocks together never are more than `blocks_max`, and
//! after a trim at most `keep_max` are kept, whatever sizes come and go: disk space that is neither a payload's (rounded up
//! to blocks) nor kept goes back. A payload lies in one run as long as the file may grow; holes cost nothing, so that is
//! what happens. The file's length is bounded by `SPAN_FACTOR` times `blocks_max`; only when holes have used that up is
//! a payload laid into several runs, and then there is always room, since a hole of one block serves.

use std::collections::{BTreeMap, BTreeSet};

/// How much longer than its content a file may become before payloads are laid into several runs.
const SPAN_FACTOR: u64 = 4;

/// Blocks in a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) blocks: u64,
}

impl Run {
    fn end(self) -> u64 {
        self.start + self.blocks
    }
}

/// Runs for one payload, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Taken {
    pub(super) runs: Vec<Run>,
    /// Those of them that have no disk space yet.
    pub(super) fresh: Vec<Run>,
}

/// Free runs, joined where they touch.
#[derive(Debug, Default)]
struct Free {
    by_start: BTreeMap<u64, u64>,
    by_size: BTreeSet<(u64, u64)>,
    blocks: u64,
}

impl Free {
    fn add(&mut self, run: Run) {
        let mut joined = run;
        if let Some((&start, &blocks)) = self.by_start.range(..run.start).next_back()
            && start + blocks == run.start
        {
            self.remove(Run { start, blocks });
            joined = Run {
                start,
                blocks: blocks + run.blocks,
            };
        }
        if let Some(&blocks) = self.by_start.get(&run.end()) {
            self.remove(Run {
                start: run.end(),
                blocks,
            });
            joined.blocks += blocks;
        }
        self.by_start.insert(joined.start, joined.blocks);
        self.by_size.insert((joined.blocks, joined.start));
        self.blocks += joined.blocks;
    }

    fn remove(&mut self, run: Run) {
        self.by_start.remove(&run.start);
        self.by_size.remove(&(run.blocks, run.start));
        self.blocks -= run.blocks;
    }

    /// The first `blocks` blocks of the smallest run that has as many.
    fn best(&mut self, blocks: u64) -> Option<Run> {
        let &(size, start) = self.by_size.range((blocks, 0)..).next()?;
        self.cut(
            Run {
                start,
                blocks: size,
            },
            blocks,
        )
    }

    /// At most `blocks` blocks of the largest run.
    fn largest(&mut self, blocks: u64) -> Option<Run> {
        let &(size, start) = self.by_size.last()?;
        self.cut(
            Run {
                start,
                blocks: size,
            },
            blocks.min(size),
        )
    }

    fn cut(&mut self, run: Run, blocks: u64) -> Option<Run> {
        self.remove(run);
        let rest = Run {
            start: run.start + blocks,
            blocks: run.blocks - blocks,
        };
        if rest.blocks > 0 {
            self.add(rest);
        }
        let taken = Run { blocks, ..run };
        (blocks > 0).then_some(taken)
    }

    fn last(&self) -> Option<Run> {
        let (&start, &blocks) = self.by_start.last_key_value()?;
        Some(Run { start, blocks })
    }
}

/// One file's blocks.
#[derive(Debug)]
pub(super) struct Extents {
    span_max: u64,
    used: u64,
    leaving: u64,
    kept: Free,
    holes: Free,
    end: u64,
}

impl Extents {
    /// Of an empty file whose content is to have up to `blocks_max` blocks.
    pub(super) fn new(blocks_max: u64) -> Self {
        Self {
            span_max: blocks_max.saturating_mul(SPAN_FACTOR),
            used: 0,
            leaving: 0,
            kept: Free::default(),
            holes: Free::default(),
            end: 0,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept.blocks
    }

    /// Blocks with disk space behind them.
    pub(super) fn held(&self) -> u64 {
        self.used + self.kept.blocks + self.leaving
    }

    /// Takes `blocks` blocks, at most `room` of them fresh. The caller has seen that kept ones make up for the others.
    pub(super) fn take(&mut self, blocks: u64, room: u64) -> Taken {
        let mut taken = Taken::default();
        if let Some(run) = self.kept.best(blocks) {
            taken.runs.push(run);
        } else {
            self.take_pieces(blocks, room, &mut taken);
        }
        self.used += blocks;
        taken
    }

    fn take_pieces(&mut self, blocks: u64, room: u64, taken: &mut Taken) {
        let mut left = blocks;
        while left > room {
            let Some(run) = self.kept.largest(left) else {
                break;
            };
            left -= run.blocks;
            taken.runs.push(run);
        }
        let whole = self.holes.best(left).or_else(|| self.grow(left));
        if let Some(run) = whole {
            taken.fresh.push(run);
            taken.runs.push(run);
            return;
        }
        while left > 0 {
            let (run, fresh) = match self.kept.largest(left) {
                Some(run) => (run, false),
                None => {
                    let room = self.span_max.saturating_sub(self.end);
                    let hole = self
                        .holes
                        .largest(left)
                        .or_else(|| self.grow(left.min(room)));
                    (
                        hole.unwrap_or_else(|| {
                            unreachable!("a file has four times the blocks that it may use")
                        }),
                        true,
                    )
                }
            };
            left -= run.blocks;
            taken.runs.push(run);
            if fresh {
                taken.fresh.push(run);
            }
        }
    }

    fn grow(&mut self, blocks: u64) -> Option<Run> {
        let start = self.end;
        if blocks == 0 || blocks > self.span_max.saturating_sub(start) {
            return None;
        }
        self.end += blocks;
        Some(Run { start, blocks })
    }

    /// A payload's run is free again; its disk space is kept.
    pub(super) fn free(&mut self, run: Run) {
        self.used -= run.blocks;
        self.kept.add(run);
    }

    /// A run that was taken fresh, and got no disk space, or not all of it: what there is of it is to be given back.
    pub(super) fn fail(&mut self, run: Run) {
        self.used -= run.blocks;
        self.leaving += run.blocks;
    }

    /// Takes out kept blocks that are to be given back, at most `blocks` of them: from the file's end.
    pub(super) fn leave(&mut self, blocks: u64) -> Option<Run> {
        let run = self.kept.last()?;
        if blocks == 0 {
            return None;
        }
        self.kept.remove(run);
        let leaving = run.blocks.min(blocks);
        let stays = Run {
            start: run.start,
            blocks: run.blocks - leaving,
        };
        if stays.blocks > 0 {
            self.kept.add(stays);
        }
        self.leaving += leaving;
        Some(Run {
            start: stays.end(),
            blocks: leaving,
        })
    }

    /// The disk space of a run has gone. Says where the file is to end now, if that has changed.
    pub(super) fn left(&mut self, run: Run) -> Option<u64> {
        self.leaving -= run.blocks;
        self.holes.add(run);
        let last = self.holes.last().filter(|last| last.end() == self.end)?;
        self.holes.remove(last);
        self.end = last.start;
        Some(self.end)
    }

    /// It could not be given back: it stays kept.
    pub(super) fn stayed(&mut self, run: Run) {
        self.leaving -= run.blocks;
        self.kept.add(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Blocks by what they are, and a check that nothing is lost or there twice.
    fn check(extents: &Extents, in_use: &[Vec<Run>]) {
        let mut all: Vec<(Run, char)> = in_use.iter().flatten().map(|run| (*run, 'u')).collect();
        for (free, what) in [(&extents.kept, 'k'), (&extents.holes, 'h')] {
            all.extend(
                free.by_start
                    .iter()
                    .map(|(&start, &blocks)| (Run { start, blocks }, what)),
            );
            assert_eq!(free.by_start.len(), free.by_size.len());
            assert_eq!(free.blocks, free.by_start.values().sum::<u64>());
        }
        all.sort_unstable();
        let mut at = 0;
        for (run, what) in &all {
            assert_eq!(
                run.start, at,
                "{what} at {at}: no gap and no overlap: {all:?}"
            );
            assert!(run.blocks > 0);
            at = run.end();
        }
        assert_eq!(at, extents.end);
        assert!(
            all.windows(2)
                .all(|pair| pair[0].1 != pair[1].1 || pair[0].1 == 'u'),
            "{all:?}"
        );
        assert_ne!(
            all.last().map(|(_, what)| *what),
            Some('h'),
            "a file ends with what it holds"
        );
        assert_eq!(
            extents.used,
            in_use.iter().flatten().map(|run| run.blocks).sum::<u64>()
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64),
        Release(prop::sample::Index),
        Trim,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => prop_oneof![1..4u64, 1..64u64, Just(1), Just(63)].prop_map(Step::Take),
            3 => any::<prop::sample::Index>().prop_map(Step::Release),
            1 => Just(Step::Trim),
        ]
    }

    proptest! {
        #[test]
        fn blocks_are_neither_lost_nor_given_twice_and_what_is_held_is_bounded(
            steps in prop::collection::vec(step(), 1..300),
            keep_max in 0..32u64,
        ) {
            const MAX: u64 = 128;
            let mut extents = Extents::new(MAX);
            let mut in_use: Vec<Vec<Run>> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(blocks) if extents.used() + blocks <= MAX => {
                        let room = MAX - extents.used() - extents.kept();
                        let taken = extents.take(blocks, room);
                        prop_assert_eq!(taken.runs.iter().map(|run| run.blocks).sum::<u64>(), blocks);
                        prop_assert!(taken.fresh.iter().map(|run| run.blocks).sum::<u64>() <= room);
                        prop_assert!(taken.fresh.iter().all(|run| taken.runs.contains(run)));
                        in_use.push(taken.runs);
                    }
                    Step::Take(_) => {}
                    Step::Release(_) if in_use.is_empty() => {}
                    Step::Release(index) => {
                        let at = index.index(in_use.len());
                        for run in in_use.swap_remove(at) {
                            extents.free(run);
                        }
                    }
                    Step::Trim => {
                        while let Some(run) = extents.leave(extents.kept().saturating_sub(keep_max)) {
                            extents.left(run);
                        }
                        prop_assert!(extents.kept() <= keep_max);
                    }
                }
                check(&extents, &in_use);
                prop_assert!(extents.held() <= MAX);
                prop_assert!(extents.end <= MAX * SPAN_FACTOR);
            }
            for run in in_use.drain(..).flatten() {
                extents.free(run);
            }
            while let Some(run) = extents.leave(u64::MAX) {
                extents.left(run);
            }
            prop_assert_eq!((extents.held(), extents.end), (0, 0));
        }
    }

    #[test]
    fn a_payload_lies_in_one_run_though_every_hole_is_too_small() {
        const MAX: u64 = 64;
        let mut extents = Extents::new(MAX);
        // Robson's adversary: fill up, let every other one go, and come back with twice the size.
        let mut size = 1;
        while size <= MAX / 2 {
            let mut taken = Vec::new();
            while extents.used() + size <= MAX {
                let room = MAX - extents.used() - extents.kept();
                let now = extents.take(size, room);
                assert_eq!(now.runs.len(), 1, "{size} blocks");
                taken.extend(now.runs);
            }
            for run in taken.iter().skip(1).step_by(2) {
                extents.free(*run);
            }
            while let Some(run) = extents.leave(u64::MAX) {
                extents.left(run);
            }
            assert!(extents.end <= MAX * SPAN_FACTOR && extents.held() <= MAX);
            size *= 2;
        }
        assert!(extents.end > MAX, "it was not adversarial");
    }

    #[test]
    fn a_file_that_may_not_grow_takes_payloads_in_pieces() {
        let mut extents = Extents::new(8);
        extents.span_max = 8;
        let taken: Vec<Run> = (0..8).flat_map(|_| extents.take(1, 8).runs).collect();
        for run in taken.iter().filter(|run| run.start % 2 == 0) {
            extents.free(*run);
        }
        let run = extents.leave(2).unwrap();
        extents.left(run);
        let pieces = extents.take(4, 4 - extents.kept());
        assert_eq!(pieces.runs.len(), 4);
        assert_eq!(extents.used(), 8);
        assert_eq!(pieces.fresh.len(), 1, "{pieces:?}");
    }

    #[test]
    fn what_got_no_disk_space_is_a_hole_and_not_kept() {
        let mut extents = Extents::new(8);
        let first = extents.take(2, 8);
        let failed = extents.take(4, 6);
        for run in &failed.fresh {
            extents.fail(*run);
        }
        assert_eq!((extents.used(), extents.kept(), extents.held()), (2, 0, 6));
        assert_eq!(
            extents.left(failed.fresh[0]),
            Some(2),
            "the file ends behind what is used"
        );
        assert_eq!(extents.held(), 2);
        extents.free(first.runs[0]);
        assert_eq!(extents.take(2, 0).fresh, [], "kept blocks are used again");
    }
}
