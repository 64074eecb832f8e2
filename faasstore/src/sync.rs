//! Atomics: the standard library's, or loom's in a build with `--cfg loom`, so that the ring and the doorbell that
//! ship are those that are model-checked. Nothing else in this crate names an atomic type.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Runs every interleaving of what `check` does, within a bound on how often a thread is preempted: loom's own variable
/// `LOOM_MAX_PREEMPTIONS`, or three (loom's authors find two to three enough; `scripts/loom --long` takes more). Says how
/// many interleavings that were.
#[cfg(all(test, loom))]
pub(crate) fn explore(check: impl Fn() + Sync + Send + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64 as Count;

    const PREEMPTIONS: usize = 3;
    const BRANCHES_MAX: usize = 100_000;
    let mut model = loom::model::Builder::new();
    let preemptions = *model.preemption_bound.get_or_insert(PREEMPTIONS);
    model.max_branches = model.max_branches.max(BRANCHES_MAX);
    let explored = Arc::new(Count::new(0));
    let counted = Arc::clone(&explored);
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        check();
    });
    let explored = explored.load(Ordering::Relaxed);
    println!("{explored} interleavings of at most {preemptions} preemptions");
}

/// The kernel's futex: comparing the word and going to sleep is one step against a wake.
#[cfg(all(test, loom))]
#[derive(Default)]
pub(crate) struct ModelledFutex {
    queue: loom::sync::Mutex<()>,
    woken: loom::sync::Condvar,
}

#[cfg(all(test, loom))]
impl ModelledFutex {
    pub(crate) fn wait(&self, word: &AtomicU64, expected: u32) {
        let queue = self.queue.lock().unwrap();
        if word.load(Ordering::SeqCst) as u32 == expected {
            drop(self.woken.wait(queue).unwrap());
        }
    }

    pub(crate) fn wake(&self) {
        let _queue = self.queue.lock().unwrap();
        self.woken.notify_one();
    }

    pub(crate) fn wake_all(&self) {
        let _queue = self.queue.lock().unwrap();
        self.woken.notify_all();
    }
}
