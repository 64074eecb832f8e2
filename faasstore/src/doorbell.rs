//! Doorbells: how a reader that ran out of messages sleeps, and how its writer wakes it.
//!
//! This file owns the parking protocol and the budget of spinning. It promises that no wake-up is lost: the sleeper
//! raises its flag, fences, looks once more, and sleeps; the writer publishes, fences, and looks at the flag. Of the
//! two fences one comes first, so either the sleeper sees the message or the writer sees the flag. What a writer
//! publishes is left to [`crate::ring`]; how a lane sleeps is the engine's business (an eventfd in its io_uring), how
//! an executor sleeps is [`Futex`]. Here is the order of steps alone ([`ring()`], [`park`], [`Sleeper::park`]), without
//! the kernel, so that loom explores what ships.
//!
//! An executor's futex is the low half of the request ring's tail, which its waker writes before it looks at the flag.
//! The sleeper reads that word before its last look at the ring, and the kernel compares it when the sleeper goes to
//! sleep, which covers the time in between. A word that only the sleeper writes would leave that gap open. (Comparing
//! with the sleeper's own position instead would make it run in circles while a writer has pushed and not rung yet.)

use crate::ring::{Consumer, Producer, RingMemory};
use crate::sync::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

/// Sleeper: says that it is about to sleep. It must look for messages once more before it does.
#[inline]
pub(crate) fn raise(flag: &AtomicU64) {
    flag.store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

/// Sleeper: says that it is awake.
#[inline]
pub(crate) fn lower(flag: &AtomicU64) {
    flag.store(0, Ordering::Relaxed);
}

/// Writer: whether the reader sleeps, or is about to, after something has been published for it.
#[inline]
#[must_use]
pub(crate) fn is_raised(flag: &AtomicU64) -> bool {
    fence(Ordering::SeqCst);
    flag.load(Ordering::Relaxed) != 0
}

/// Writer: makes sure that the reader sees what was pushed, by `wake` if it sleeps.
#[inline]
pub fn ring<M: RingMemory>(producer: &Producer<M>, wake: impl FnOnce()) {
    producer.publish_tail();
    if producer.is_parked() {
        wake();
    }
}

/// A sleeper of one ring: sleeps until a message waits, or until `deadline`; says whether one does. `sleep` is to sleep
/// while the low half of the ring's tail is what it is given, until woken, at most for the time it is given; it may
/// return early.
pub fn park<M: RingMemory>(
    consumer: &mut Consumer<M>,
    deadline: Option<Instant>,
    mut sleep: impl FnMut(u32, Option<Duration>),
) -> bool {
    loop {
        // Read before the last look: whatever is published after it changes the word.
        let expected = consumer.published_tail() as u32;
        consumer.raise_parked();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if consumer.is_ready() || left.is_some_and(|left| left.is_zero()) {
            break;
        }
        sleep(expected, left);
    }
    consumer.lower_parked();
    consumer.is_ready()
}

/// A sleeper of many rings that is woken by events which are not lost while it is awake: a lane.
pub trait Sleeper {
    /// Raises the flags of all its rings (true), or lowers them.
    fn set_parked(&mut self, parked: bool);
    /// Whether anything waits, in a ring or elsewhere.
    fn has_work(&self) -> bool;
    /// Sleeps until there has been an event since the last time.
    fn sleep(&mut self);

    /// Sleeps, unless something waits; says whether it has slept.
    fn park(&mut self) -> bool {
        self.set_parked(true);
        // Look once more: what was published before the flag was seen rings no bell.
        let sleeps = !self.has_work();
        if sleeps {
            self.sleep();
        }
        self.set_parked(false);
        sleeps
    }
}

/// A word of shared memory that a process can sleep on. Waiting works on a read-only mapping.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub struct Futex<'a>(&'a crate::sync::AtomicU32);

#[cfg(not(loom))]
impl<'a> Futex<'a> {
    /// The futex at this word, which is used as an address only.
    #[must_use]
    pub fn new(word: &'a crate::sync::AtomicU32) -> Self {
        Self(word)
    }

    /// Sleeps while the word is `expected`, until woken, at most for `timeout`. May return early for no reason.
    pub fn wait(self, expected: u32, timeout: Option<Duration>) {
        use rustix::thread::futex::{Flags, Timespec, wait};
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // Not `Flags::PRIVATE`: waker and sleeper are different processes. Whatever the result (woken, changed
        // meanwhile, interrupted, timed out), the caller looks at the ring next.
        let _ = wait(self.0, Flags::empty(), expected, timeout.as_ref());
    }

    /// Wakes the sleeper, if there is one. Never blocks.
    pub fn wake(self) {
        self.wake_up_to(1);
    }

    /// Wakes all who sleep. Never blocks.
    pub fn wake_all(self) {
        self.wake_up_to(i32::MAX as u32);
    }

    fn wake_up_to(self, sleepers: u32) {
        use rustix::thread::futex::{Flags, wake};
        // An error is impossible for a mapped, aligned word; and no sleeper is no error.
        let _ = wake(self.0, Flags::empty(), sleepers);
    }
}

/// Polls between two looks at the clock: reading it costs as much as a poll or two.
const POLLS_PER_CLOCK: u32 = 64;

/// How much longer to poll before parking.
#[derive(Clone, Copy, Debug)]
pub struct Spinner {
    budget: Duration,
    started: Option<Instant>,
    polls: u32,
}

impl Spinner {
    /// May spin for `budget_ns` nanoseconds; with 0 not at all.
    #[must_use]
    pub const fn new(budget_ns: u64) -> Self {
        Self {
            budget: Duration::from_nanos(budget_ns),
            started: None,
            polls: 0,
        }
    }

    /// Lets a moment pass between two polls; false, at once, when the budget is spent. The budget runs from the first
    /// look at the clock, and is overrun by the time of a few dozen polls at most.
    #[inline]
    pub fn spin(&mut self) -> bool {
        if self.polls < POLLS_PER_CLOCK && !self.budget.is_zero() {
            self.polls += 1;
            std::hint::spin_loop();
            return true;
        }
        self.look()
    }

    #[cold]
    fn look(&mut self) -> bool {
        if self.budget.is_zero() {
            return false;
        }
        self.polls = 0;
        self.started.get_or_insert_with(Instant::now).elapsed() < self.budget
    }
}

#[cfg(all(test, loom))]
mod under_loom;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_budget_of_zero_parks_at_once() {
        assert!(!Spinner::new(0).spin());
    }

    #[test]
    fn a_budget_ends() {
        let mut spinner = Spinner::new(1);
        let polls = std::iter::repeat_with(|| spinner.spin())
            .take_while(|&more| more)
            .count();
        assert!(
            polls >= POLLS_PER_CLOCK as usize,
            "the first polls are free"
        );
    }
}
