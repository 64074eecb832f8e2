//! The word by which an engine tells an executor that what it runs is to stop.
//!
//! It stands in the engine's half of the channel, which the executor maps read-only:
//!
//! ```text
//! bits  0..32   the activation that is to stop; 0: none
//! bits 32..40   why: 1 its client has cancelled it, 2 its time is up, 3 it has failed elsewhere
//! ```
//!
//! It names the activation, so that it never stops the next one, however late it is written or read. The engine writes it
//! for an activation that runs, wakes whoever sleeps on its low half, and writes 0 when that activation has ended: a number
//! that comes again is not told of, either. For what is never told to stop nothing is written.
//!
//! Whoever sleeps compares the low half as it was when he looked. A word that is written after the look differs there,
//! since no activation is told of twice and none has the number 0; so no wake-up is lost, though there is no flag that says
//! that somebody sleeps. Here is the order of steps, without the kernel, so that loom explores what ships.

use crate::sync::{AtomicU64, Ordering};
use rkyv::{Archive, Deserialize, Serialize};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Why a function is to stop. Whatever it returns then is dropped.
///
/// It is an error, so that `?` ends a function that has been told.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Cancelled {
    /// The client has taken its invocation back.
    #[error("the client has cancelled the invocation")]
    ByClient,
    /// The time is up that the workflow may take.
    #[error("its time is up")]
    TimedOut,
    /// The invocation has failed for another reason, here or on another worker, or its worker is told to end.
    #[error("the invocation has failed elsewhere")]
    FailedElsewhere,
}

impl Cancelled {
    fn to_bits(self) -> u64 {
        match self {
            Self::ByClient => 1,
            Self::TimedOut => 2,
            Self::FailedElsewhere => 3,
        }
    }

    /// What a later version may add has another reason, and stops all the same.
    fn from_bits(bits: u64) -> Self {
        match bits & 0xff {
            1 => Self::ByClient,
            2 => Self::TimedOut,
            _ => Self::FailedElsewhere,
        }
    }
}

/// Engine: the activation that runs is to stop. `wake` wakes all who sleep on the word.
pub fn tell(word: &AtomicU64, activation: u32, why: Cancelled, wake: impl FnOnce()) {
    debug_assert_ne!(activation, 0, "0 stands for none");
    word.store(
        u64::from(activation) | why.to_bits() << 32,
        Ordering::Relaxed,
    );
    wake();
}

/// Engine: the activation that was told to stop has ended.
pub fn take_back(word: &AtomicU64) {
    word.store(0, Ordering::Relaxed);
}

/// Executor: whether this activation is to stop, and why.
#[inline]
#[must_use]
pub fn look(word: &AtomicU64, activation: u32) -> Option<Cancelled> {
    why(word.load(Ordering::Relaxed), activation)
}

#[inline]
fn why(word: u64, activation: u32) -> Option<Cancelled> {
    (word as u32 == activation && activation != 0).then(|| Cancelled::from_bits(word >> 32))
}

/// Executor: sleeps until this activation is to stop, or until `deadline`. `sleep` is to sleep while the low half of the
/// word is what it is given, until woken, at most for the time it is given; it may return early.
pub fn wait(
    word: &AtomicU64,
    activation: u32,
    deadline: Option<Instant>,
    mut sleep: impl FnMut(u32, Option<Duration>),
) -> Option<Cancelled> {
    loop {
        let seen = word.load(Ordering::Relaxed);
        let told = why(seen, activation);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if told.is_some() || left.is_some_and(|left| left.is_zero()) {
            return told;
        }
        sleep(seen as u32, left);
    }
}

#[cfg(all(test, loom))]
mod under_loom;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const REASONS: [Cancelled; 3] = [
        Cancelled::ByClient,
        Cancelled::TimedOut,
        Cancelled::FailedElsewhere,
    ];

    #[test]
    fn a_word_stops_the_activation_that_it_names_and_no_other() {
        let word = AtomicU64::new(0);
        for why in REASONS {
            for activation in [1, 7, u32::MAX] {
                tell(&word, activation, why, || ());
                assert_eq!(look(&word, activation), Some(why));
                for other in [0, activation - 1, activation.wrapping_add(1)] {
                    assert_eq!(look(&word, other), None, "{activation}, {other}");
                }
            }
        }
        take_back(&word);
        for activation in [0, 1, 7, u32::MAX] {
            assert_eq!(look(&word, activation), None);
        }
    }

    #[test]
    fn whatever_an_engine_writes_is_a_reason_or_none() {
        let word = AtomicU64::new(0);
        for why in 0..=u64::from(u8::MAX) {
            word.store(why << 32 | 5, Ordering::Relaxed);
            let known = (1..=3).contains(&why).then(|| REASONS[why as usize - 1]);
            let told = known.unwrap_or(Cancelled::FailedElsewhere);
            assert_eq!((look(&word, 5), look(&word, 6)), (Some(told), None));
        }
        // No activation has the number 0, whatever a request says.
        word.store(1 << 32, Ordering::Relaxed);
        assert_eq!(look(&word, 0), None);
    }

    #[test]
    fn waiting_ends_with_the_word_or_with_its_time() {
        let word = AtomicU64::new(0);
        let past = Some(Instant::now());
        let asleep = |_: u32, _: Option<Duration>| panic!("there is no time to sleep");
        assert_eq!(wait(&word, 3, past, asleep), None);
        tell(&word, 3, Cancelled::TimedOut, || ());
        assert_eq!(wait(&word, 3, past, asleep), Some(Cancelled::TimedOut));
        // Another one's word ends no sleep, and is what the kernel compares with.
        let mut slept = Vec::new();
        let told = wait(&word, 4, None, |seen, left| {
            assert_eq!(left, None);
            slept.push(seen);
            match slept.len() {
                1 => take_back(&word),
                2 => {} // woken for no reason
                _ => tell(&word, 4, Cancelled::ByClient, || ()),
            }
        });
        assert_eq!((told, slept), (Some(Cancelled::ByClient), vec![3, 0, 0]));
    }
}
