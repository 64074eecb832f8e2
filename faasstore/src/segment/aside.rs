//! What takes long and nobody waits for, on a thread of its own.
//!
//! To unmap 1 GiB of ordinary pages that were used takes some 80 ms, and whoever closes its last descriptor frees them besides: a
//! thread that carries messages would stand still meanwhile. To make huge pages of it takes two seconds. The thread that does both
//! has a lower priority than all others, so that it takes little CPU time from who shares its CPU.

use super::memory::Memory;
use super::{HUGE_PAGE_BYTES, SegmentError, SegmentWriter};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// Smaller ones are unmapped by whoever drops them, in a few hundred microseconds at most.
pub(super) const BYTES_MIN: u64 = 2 * HUGE_PAGE_BYTES;
/// Segments that wait to be unmapped, or to be collapsed, at most.
const WAITING_MAX: usize = 64;
/// Bytes of those that wait to be unmapped: they count as given back, so there are not to be many.
const WAITING_BYTES_MAX: u64 = 1 << 30;
/// Bytes that are collapsed in one go: what waits to be unmapped waits no longer than that. Each costs a wait for all CPUs.
const COLLAPSED_BYTES: u64 = 64 << 20;
/// A tenth of a CPU that others want, all of one that is idle.
const NICE: i32 = 10;

/// A segment that nobody uses any more. Dropping it is the work.
struct Gone {
    _memory: Memory,
    _descriptor: OwnedFd,
    bytes: u64,
}

struct Work {
    has_thread: bool,
    gone: VecDeque<Gone>,
    /// Of these, and of those that are just being unmapped.
    gone_bytes: u64,
    /// Segments that were taken out of these so far, and of them those that have been unmapped.
    taken: u64,
    unmapped: u64,
    /// With the byte from which on it is still to be done.
    to_collapse: VecDeque<(Weak<SegmentWriter>, u64)>,
}

static WORK: Mutex<Work> = Mutex::new(Work {
    has_thread: false,
    gone: VecDeque::new(),
    gone_bytes: 0,
    taken: 0,
    unmapped: 0,
    to_collapse: VecDeque::new(),
});
/// There is something to do.
static MORE: Condvar = Condvar::new();
/// Something has been unmapped.
static UNMAPPED: Condvar = Condvar::new();

fn work() -> MutexGuard<'static, Work> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(condition: &Condvar, work: MutexGuard<'static, Work>) -> MutexGuard<'static, Work> {
    condition.wait(work).unwrap_or_else(PoisonError::into_inner)
}

/// From now on a thread of this process unmaps large segments, and collapses them, beside whoever drops them. It may run where the
/// calling thread may.
///
/// # Errors
/// If there is no thread to be had: things are as they were.
pub fn work_aside() -> io::Result<()> {
    let mut work = work();
    if !work.has_thread {
        let thread = std::thread::Builder::new().name("memory".to_owned());
        thread.spawn(|| {
            // Whom the kernel does not let be humble is as the others are.
            let _ = rustix::process::nice(NICE);
            go_on();
        })?;
        work.has_thread = true;
    }
    Ok(())
}

/// Unmaps a segment of `bytes` bytes and closes its descriptor: beside the calling thread if there is a thread for it that has not too
/// much to do, or here and now.
pub(super) fn unmap(memory: Memory, descriptor: OwnedFd, bytes: u64) {
    let gone = Gone {
        _memory: memory,
        _descriptor: descriptor,
        bytes,
    };
    let mut work = work();
    // One that is larger by itself goes if nothing else waits.
    let has_room = work.gone_bytes == 0 || work.gone_bytes + bytes <= WAITING_BYTES_MAX;
    if work.has_thread && has_room && work.gone.len() < WAITING_MAX {
        work.gone_bytes += bytes;
        work.gone.push_back(gone);
        MORE.notify_one();
        return;
    }
    drop(work);
    drop(gone);
}

/// Does something once more if it fails for want of memory, address space or descriptors which somebody has who does not use them
/// any more, or had when it was begun.
pub(super) fn attempt<T>(
    mut what: impl FnMut() -> Result<T, SegmentError>,
) -> Result<T, SegmentError> {
    use SegmentError::{Descriptors, Map, Memory};
    let unmapped = work().unmapped;
    match what() {
        Err(Memory { .. } | Descriptors { .. } | Map { .. }) if unmap_all() > unmapped => what(),
        done => done,
    }
}

/// Unmaps here and now all that waits for it, and waits until what others unmap has gone as well. Says how many segments have gone so
/// far.
fn unmap_all() -> u64 {
    let mut work = work();
    let (all, bytes) = work.take_all();
    let taken = work.taken;
    if !all.is_empty() {
        let count = all.len() as u64;
        drop(work);
        drop(all);
        work = self::work();
        work.have_gone(count, bytes);
    }
    // Not for what is taken out later: whoever goes on dropping segments would keep this waiting.
    while work.unmapped < taken {
        work = wait(&UNMAPPED, work);
    }
    work.unmapped
}

impl Work {
    fn take_one(&mut self) -> Option<Gone> {
        let gone = self.gone.pop_front()?;
        self.taken += 1;
        Some(gone)
    }

    /// All that waits, and its bytes.
    fn take_all(&mut self) -> (VecDeque<Gone>, u64) {
        let all = std::mem::take(&mut self.gone);
        self.taken += all.len() as u64;
        let bytes = all.iter().map(|gone| gone.bytes).sum();
        (all, bytes)
    }

    fn have_gone(&mut self, count: u64, bytes: u64) {
        self.unmapped += count;
        self.gone_bytes -= bytes;
        UNMAPPED.notify_all();
    }
}

/// Has the ordinary pages of a segment made into huge ones, unless it goes before. Nothing if no thread has time for it.
pub fn collapse_aside(segment: &Arc<SegmentWriter>) {
    let mut work = work();
    if work.has_thread && work.to_collapse.len() < WAITING_MAX {
        work.to_collapse.push_back((Arc::downgrade(segment), 0));
        MORE.notify_one();
    }
}

/// What the thread does, for ever: to unmap goes before to collapse.
fn go_on() {
    let mut work = work();
    loop {
        if let Some(gone) = work.take_one() {
            let bytes = gone.bytes;
            drop(work);
            drop(gone);
            work = self::work();
            work.have_gone(1, bytes);
        } else if let Some((segment, from)) = work.to_collapse.pop_front() {
            drop(work);
            let to = from + COLLAPSED_BYTES;
            let present = segment.upgrade();
            let goes_on = present.is_some_and(|present| present.collapse(from, to));
            work = self::work();
            if goes_on {
                work.to_collapse.push_front((segment, to));
            }
        } else {
            work = wait(&MORE, work);
        }
    }
}
