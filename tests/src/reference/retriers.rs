//! What is tried again: which retrier decides after a failure, whether it tries again, and how long that waits.

use super::attempts::takes;
use crate::trace::{Attempt, Ending};
use engine::plan::{ErrorClass, Retry};

/// By how much a wait may miss what is computed here, for rounding.
const ROUNDING_NS: u64 = 1_000;

/// A failure: its class, and its cause.
type Failure<'a> = (ErrorClass, &'a str);

/// The failures of these attempts, in their order.
pub fn failures(attempts: &[Attempt]) -> impl Iterator<Item = Failure<'_>> {
    attempts.iter().filter_map(|attempt| match &attempt.ended {
        Some((_, Ending::Failed(class, cause))) => Some((*class, cause.as_str())),
        _ => None,
    })
}

/// The place of the retrier that decides after a failure: the first that takes it.
#[must_use]
pub fn deciding_retrier(retriers: &[Retry], (class, cause): Failure<'_>) -> Option<usize> {
    retriers
        .iter()
        .position(|retry| takes(&retry.on, class, cause))
}

/// What an activation waits that is tried again after these failures, all that it has had, in nanoseconds after the last:
/// at least, and at most. None if it is not tried again.
///
/// The retrier that decides after the last failure has decided after each of those before that it takes as well, and has
/// tried again each time: so these say how often it has.
#[must_use]
pub fn wait_ns_after(retriers: &[Retry], failures: &[Failure<'_>]) -> Option<(u64, u64)> {
    let deciding = deciding_retrier(retriers, *failures.last()?)?;
    let retry = &retriers[deciding];
    let its = failures
        .iter()
        .filter(|failure| deciding_retrier(retriers, **failure) == Some(deciding));
    let its = its.count() as u32;
    (its < retry.attempts).then(|| retry_wait_ns(retry, its))
}

/// What a retrier waits before it tries an activation again for the `time`-th time.
fn retry_wait_ns(retry: &Retry, time: u32) -> (u64, u64) {
    let factor = f64::from(retry.factor_percent) / 100.0;
    let exponent = (time - 1).min(10_000) as i32;
    let wait_ms = f64::from(retry.backoff_ms) * factor.powi(exponent);
    let most_ns = wait_ms.min(f64::from(retry.backoff_max_ms)) * 1e6;
    let least_ns = most_ns * (1.0 - f64::from(retry.jitter_percent) / 100.0);
    let least_ns = (least_ns as u64).saturating_sub(ROUNDING_NS);
    (least_ns, most_ns as u64 + ROUNDING_NS)
}
