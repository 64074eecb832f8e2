//! The disk space of both spill files under one limit, and the leases of it.

use super::GRANULE_BYTES;
use super::extents::{Extents, Run, Taken};
use crate::tier::book::lock;
use std::sync::{Arc, Mutex};

/// Which file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// What goes through the page cache.
    Buffered = 0,
    /// What goes to the disk directly.
    Direct = 1,
}

pub(super) const CLASSES: [Class; 2] = [Class::Buffered, Class::Direct];

/// Both files' blocks.
#[derive(Debug)]
pub(super) struct Space {
    files: [Extents; 2],
    blocks_max: u64,
    keep_max: u64,
}

/// Blocks of a payload. They are free again when the last operation on them has ended.
#[derive(Debug)]
pub(super) struct Lease {
    space: Arc<Mutex<Space>>,
    pub(super) class: Class,
    runs: Vec<Run>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut space = lock(&self.space);
        for run in &self.runs {
            space.files[self.class as usize].free(*run);
        }
    }
}

/// Some bytes of a payload that lie in a row on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    /// From this byte of what was asked for.
    pub(super) from: u64,
    pub(super) bytes: u64,
    /// In the file.
    pub(super) offset: u64,
}

impl Space {
    pub(super) fn new(bytes_max: u64, keep_bytes: u64) -> Self {
        let blocks_max = bytes_max / GRANULE_BYTES;
        Self {
            files: [Extents::new(blocks_max), Extents::new(blocks_max)],
            blocks_max,
            keep_max: keep_bytes / GRANULE_BYTES,
        }
    }

    fn used(&self) -> u64 {
        self.files.iter().map(Extents::used).sum()
    }

    fn kept(&self) -> u64 {
        self.files.iter().map(Extents::kept).sum()
    }

    /// Bytes of disk space: payloads, rounded up, and what is kept for others or being given back.
    pub(super) fn held_bytes(&self) -> u64 {
        self.files.iter().map(Extents::held).sum::<u64>() * GRANULE_BYTES
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used() * GRANULE_BYTES
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.blocks_max * GRANULE_BYTES
    }

    /// What must be given back before `blocks` more blocks of a class may be taken: kept blocks of the other file.
    fn in_the_way(&self, class: Class, blocks: u64) -> u64 {
        let own = self.files[class as usize].kept();
        (self.used() + self.kept() - own.min(blocks) + blocks).saturating_sub(self.blocks_max)
    }

    /// The next run to give back, if more is kept than may be, or stands in the way of a payload.
    pub(super) fn leave(&mut self, wanted: Option<(Class, u64)>) -> Option<(Class, Run)> {
        let (first, excess) = match wanted {
            None => (Class::Direct, self.kept().saturating_sub(self.keep_max)),
            Some((class @ Class::Buffered, blocks)) => {
                (Class::Direct, self.in_the_way(class, blocks))
            }
            Some((class @ Class::Direct, blocks)) => {
                (Class::Buffered, self.in_the_way(class, blocks))
            }
        };
        let second = CLASSES[1 - first as usize];
        let mut leave = |class: Class| Some((class, self.files[class as usize].leave(excess)?));
        leave(first).or_else(|| {
            if wanted.is_none() {
                leave(second)
            } else {
                None
            }
        })
    }

    /// The disk space of a run has gone: where its file is to end, if that has changed.
    pub(super) fn left(&mut self, class: Class, run: Run) -> Option<u64> {
        let end = self.files[class as usize].left(run)?;
        Some(end * GRANULE_BYTES)
    }

    /// It has not.
    pub(super) fn stayed(&mut self, class: Class, run: Run) {
        self.files[class as usize].stayed(run);
    }

    /// A fresh run got no disk space.
    fn fail(&mut self, class: Class, run: Run) {
        self.files[class as usize].fail(run);
    }
}

/// Takes room for `bytes` bytes, with the runs of it that need disk space; `None` if the limit does not allow it. What is
/// in the way ([`Space::leave`]) must have left before.
pub(super) fn take(
    space: &Arc<Mutex<Space>>,
    class: Class,
    bytes: u64,
) -> Option<(Lease, Vec<Run>)> {
    let blocks = bytes.div_ceil(GRANULE_BYTES);
    let mut locked = lock(space);
    if blocks > locked.blocks_max - locked.used() {
        return None;
    }
    let room = locked
        .blocks_max
        .saturating_sub(locked.used() + locked.kept());
    let own = locked.files[class as usize].kept();
    if blocks > room + own {
        return None;
    }
    let Taken { runs, fresh } = match blocks {
        0 => Taken::default(),
        _ => locked.files[class as usize].take(blocks, room),
    };
    drop(locked);
    let lease = Lease {
        space: Arc::clone(space),
        class,
        runs,
    };
    Some((lease, fresh))
}

impl Lease {
    /// Takes the lease apart because `fresh` runs of it got no disk space: they are to be given back, the others are free.
    pub(super) fn fail(mut self, fresh: &[Run]) {
        let mut space = lock(&self.space);
        for run in fresh {
            space.fail(self.class, *run);
        }
        drop(space);
        self.runs.retain(|run| !fresh.contains(run));
    }

    /// Where the bytes from `from` up to `to` of the payload lie.
    pub(super) fn stretches(&self, from: u64, to: u64) -> Vec<Stretch> {
        let mut found = Vec::new();
        let mut begin = 0;
        for run in &self.runs {
            let end = begin + run.blocks * GRANULE_BYTES;
            let (first, behind) = (from.max(begin), to.min(end));
            if first < behind {
                found.push(Stretch {
                    from: first - from,
                    bytes: behind - first,
                    offset: run.start * GRANULE_BYTES + (first - begin),
                });
            }
            begin = end;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn stretches_cover_a_window_across_runs() {
        let space = Arc::new(Mutex::new(Space::new(64 * KIB, 0)));
        let lease = Lease {
            space: Arc::clone(&space),
            class: Class::Direct,
            runs: vec![
                Run {
                    start: 4,
                    blocks: 1,
                },
                Run {
                    start: 1,
                    blocks: 2,
                },
            ],
        };
        let stretch = |from, bytes, offset| Stretch {
            from,
            bytes,
            offset,
        };
        assert_eq!(
            lease.stretches(4000, 4200),
            [stretch(0, 96, 4 * 4096 + 4000), stretch(96, 104, 4096)]
        );
        assert_eq!(lease.stretches(4096, 12288), [stretch(0, 8192, 4096)]);
        assert_eq!(lease.stretches(7, 7), []);
        std::mem::forget(lease); // made up: the space knows nothing of it
    }

    #[test]
    fn the_limit_counts_both_files_and_what_the_other_keeps_gives_way() {
        let space = Arc::new(Mutex::new(Space::new(64 * KIB, 64 * KIB)));
        let (lease, fresh) = take(&space, Class::Buffered, 40 * KIB).unwrap();
        assert_eq!(fresh.len(), 1);
        assert!(take(&space, Class::Direct, 28 * KIB).is_none());
        drop(lease);
        assert_eq!(lock(&space).held_bytes(), 40 * KIB, "kept");
        assert!(
            take(&space, Class::Direct, 28 * KIB).is_none(),
            "what is kept is held"
        );
        let wanted = Some((Class::Direct, 7));
        let (class, run) = lock(&space).leave(wanted).unwrap();
        assert_eq!(
            (class, run),
            (
                Class::Buffered,
                Run {
                    start: 9,
                    blocks: 1
                }
            )
        );
        assert_eq!(lock(&space).left(class, run), Some(36 * KIB));
        assert_eq!(lock(&space).leave(wanted), None);
        let (_direct, _) = take(&space, Class::Direct, 28 * KIB).unwrap();
        assert_eq!(lock(&space).held_bytes(), 64 * KIB);
        assert_eq!(lock(&space).used_bytes(), 28 * KIB);
    }

    #[test]
    fn what_is_kept_beyond_the_measure_leaves() {
        let space = Arc::new(Mutex::new(Space::new(64 * KIB, 8 * KIB)));
        for class in CLASSES {
            drop(take(&space, class, 16 * KIB).unwrap());
        }
        let mut given_back = 0;
        while let Some((class, run)) = { lock(&space).leave(None) } {
            given_back += run.blocks;
            lock(&space).left(class, run);
        }
        assert_eq!(given_back, 6);
        assert_eq!(lock(&space).held_bytes(), 8 * KIB);
    }
}
