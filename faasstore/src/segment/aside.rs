//! What takes long and nobody waits for, on a thread of its own.
//!
//! To unmap 1 GiB of ordinary pages that were used takes some 80 ms, and whoever closes its last descriptor frees them besides: a
//! thread that carries messages would stand still meanwhile. To make huge pages of it takes two seconds. The thread that does both
//! has a lower priority than all others, so that it takes little CPU time from who shares its CPU.

use super::memory::Memory;
use super::{HUGE_PAGE_BYTES, SegmentWriter};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Smaller ones are unmapped by whoever drops them, in a few hundred microseconds at most.
pub(super) const BYTES_MIN: u64 = 2 * HUGE_PAGE_BYTES;
/// Segments that wait to be unmapped, or collapsed, at most.
const WAITING_MAX: usize = 64;
/// Bytes of those that wait to be unmapped: they count as given back, so there are not to be many.
const WAITING_BYTES_MAX: u64 = 1 << 30;
/// Bytes that are collapsed in one go: what waits to be unmapped waits no longer than that. Each costs a wait for all CPUs.
const COLLAPSED_BYTES: u64 = 64 << 20;
/// A tenth of a CPU that others want, all of one that is idle.
const NICE: i32 = 10;

enum Job {
    /// Dropping these is the work.
    Unmap {
        memory: Memory,
        descriptor: OwnedFd,
        bytes: u64,
    },
    Collapse(Weak<SegmentWriter>),
}

static JOBS: OnceLock<SyncSender<Job>> = OnceLock::new();
static WAITING_BYTES: Mutex<u64> = Mutex::new(0);

fn waiting_bytes() -> MutexGuard<'static, u64> {
    WAITING_BYTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a thread of this process unmaps large segments, and collapses them, beside whoever drops them. It may run where the
/// calling thread may.
///
/// # Errors
/// If there is no thread to be had: things are as they were.
pub fn work_aside() -> io::Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if JOBS.get().is_some() {
        return Ok(());
    }
    let (sender, jobs) = sync_channel(WAITING_MAX);
    std::thread::Builder::new()
        .name("memory".to_owned())
        .spawn(move || {
            // Whom the kernel does not let be humble is as the others are.
            let _ = rustix::process::nice(NICE);
            work(&jobs);
        })?;
    let first = JOBS.set(sender);
    debug_assert!(first.is_ok(), "nobody else is here");
    Ok(())
}

/// Unmaps a segment of `bytes` bytes and closes its descriptor: beside the calling thread if there is a thread for it that has not too
/// much to do, or here and now.
pub(super) fn unmap(memory: Memory, descriptor: OwnedFd, bytes: u64) {
    let Some(jobs) = JOBS.get() else { return };
    let mut waiting = waiting_bytes();
    // One that is larger by itself goes if nothing else waits.
    if *waiting > 0 && *waiting + bytes > WAITING_BYTES_MAX {
        return;
    }
    let job = Job::Unmap {
        memory,
        descriptor,
        bytes,
    };
    let sent = jobs.try_send(job);
    if sent.is_ok() {
        *waiting += bytes;
    }
    // What does not fit comes back, and is dropped: after the lock is.
    drop(waiting);
    drop(sent);
}

/// Has the ordinary pages of a segment made into huge ones, unless it goes before. Nothing if no thread has time for it.
pub fn collapse_aside(segment: &Arc<SegmentWriter>) {
    if let Some(jobs) = JOBS.get() {
        let _ = jobs.try_send(Job::Collapse(Arc::downgrade(segment)));
    }
}

fn work(jobs: &Receiver<Job>) {
    let mut collapsing: VecDeque<(Weak<SegmentWriter>, u64)> = VecDeque::new();
    loop {
        let job = if collapsing.is_empty() {
            jobs.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            jobs.try_recv()
        };
        match job {
            Ok(Job::Collapse(segment)) => collapsing.push_back((segment, 0)),
            Ok(Job::Unmap {
                memory,
                descriptor,
                bytes,
            }) => {
                drop((memory, descriptor));
                *waiting_bytes() -= bytes;
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                if let Some((segment, from)) = collapsing.pop_front()
                    && let Some(present) = segment.upgrade()
                    && present.collapse(from, from + COLLAPSED_BYTES)
                {
                    collapsing.push_front((segment, from + COLLAPSED_BYTES));
                }
            }
        }
    }
}
