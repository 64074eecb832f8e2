//! How much of a tier may be under way at once, and for how long.
//!
//! An operation first waits for its *turn*, and its deadline begins with that: what waits behind others on a slow disk has not failed.
//! How long it waits is bounded by those ahead, each of which has a deadline, and by their progress: where nothing of the tier goes on
//! any more, who waits is told so. Many small operations have a turn at once, of large ones as many as fill the bytes that may be under
//! way: so what shares the tier with one is never more than it can do within its patience.

use super::TierError;
use super::error::{Again, Late, Speaker};
use futures_util::FutureExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes under way are counted in units of this: a semaphore counts to 2^29 on small machines.
const UNIT_BYTES: u64 = 1 << 10;

/// What bounds the operations of a tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Operations under way; more of them wait for their turn, in order. At least 1.
    pub operations_max: u32,
    /// Bytes that the kernel, a connection or a client library has been given and has not finished with. A piece that is
    /// larger passes alone. Operations on more bytes than their share of this (by `operations_max`) have a turn only as long as
    /// they have no more than this together, and a larger one alone among them.
    pub in_flight_bytes_max: u64,
    /// How long an operation may take from its turn on, whatever its size.
    pub patience: Duration,
    /// How many bytes a second it must do beyond that. At least 1.
    pub bytes_per_s_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations_max: 64,
            in_flight_bytes_max: 64 << 20,
            patience: Duration::from_secs(10),
            bytes_per_s_min: 8 << 20,
        }
    }
}

impl Limits {
    /// When an operation on so many bytes is given up, from its turn on.
    #[must_use]
    pub fn deadline(&self, bytes: u64) -> Duration {
        self.patience + Duration::from_secs(bytes / self.bytes_per_s_min.max(1))
    }

    /// How long nothing of a tier may go on until those are given up that wait for their turn: all that may be under way must have
    /// gone on by then.
    fn standstill(&self) -> Duration {
        self.deadline(self.in_flight_bytes_max)
    }

    /// Bytes of the largest operation that is a small one: as many as may have a turn have no more than what may be under way.
    fn small_bytes_max(&self) -> u64 {
        self.in_flight_bytes_max / u64::from(self.operations_max.max(1))
    }
}

/// The turnstile of one tier.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    operations: Arc<Semaphore>,
    /// Bytes that large operations may have together.
    large: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    units: u32,
    errands: Errands,
    /// Pieces and operations that have ended.
    ended: Ended,
}

/// Leave to have so many bytes under way: hung on what is, so that it comes back when that has ended, not when whoever
/// waits for it has.
#[derive(Debug)]
pub(crate) struct Pass {
    _permit: OwnedSemaphorePermit,
    _errand: Errand,
    _ends: Ends,
}

/// An operation's turn.
#[derive(Debug)]
struct Turn {
    _large: Option<OwnedSemaphorePermit>,
    _operation: OwnedSemaphorePermit,
    _ends: Ends,
}

/// Counts what has ended, so that who waits can see whether anything goes on.
#[derive(Clone, Debug, Default)]
struct Ended(Arc<AtomicU64>);

impl Ended {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is counted when it ends.
#[derive(Debug)]
struct Ends(Ended);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is under way, whoever waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errands(Arc<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    count: AtomicU64,
    /// Rung when nothing is under way any more.
    settled: Notify,
}

impl Errands {
    /// Notes that something begins.
    pub(crate) fn begin(&self) -> Errand {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Errand(Arc::clone(&self.0))
    }

    /// Waits until all has ended.
    pub(crate) async fn settled(&self) {
        loop {
            let mut settled = pin!(self.0.settled.notified());
            // Before the look at the count: what ends behind it rings.
            settled.as_mut().enable();
            if self.0.count.load(Ordering::Acquire) == 0 {
                return;
            }
            settled.await;
        }
    }
}

/// Something under way that [`Errands::settled`] waits for.
#[derive(Debug)]
pub(crate) struct Errand(Arc<UnderWay>);

impl Drop for Errand {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.settled.notify_waiters();
        }
    }
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        let units =
            (limits.in_flight_bytes_max / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS as u64);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let operations = (limits.operations_max.max(1) as usize).min(Semaphore::MAX_PERMITS);
        Self {
            limits,
            operations: Arc::new(Semaphore::new(operations)),
            large: Arc::new(Semaphore::new(units as usize)),
            bytes: Arc::new(Semaphore::new(units as usize)),
            units,
            errands: Errands::default(),
            ended: Ended::default(),
        }
    }

    /// Runs an operation that carries `bytes` bytes when it is its turn, and gives it up at its deadline.
    pub(crate) async fn within<T>(
        &self,
        speaker: &Speaker,
        what: &'static str,
        bytes: u64,
        operation: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        self.run(speaker, what, (bytes, bytes), operation).await
    }

    /// Runs an operation that carries none of the payload's `bytes` bytes when it is its turn, however many these are.
    #[cfg(feature = "spill")]
    pub(crate) async fn within_as_small<T>(
        &self,
        speaker: &Speaker,
        what: &'static str,
        bytes: u64,
        operation: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        self.run(speaker, what, (0, bytes), operation).await
    }

    /// Of `bytes` bytes the deadline follows; `carried` decides about the turn.
    async fn run<T>(
        &self,
        speaker: &Speaker,
        what: &'static str,
        (carried, bytes): (u64, u64),
        operation: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let _turn = self.turn(speaker, what, carried).await?;
        let deadline = self.limits.deadline(bytes);
        let done = timeout(deadline, operation).await;
        done.unwrap_or_else(|_| Err(too_late(speaker, what, Late::Done(deadline))))
    }

    /// Waits for the turn of an operation that carries so many bytes, as long as anything of the tier goes on.
    async fn turn(
        &self,
        speaker: &Speaker,
        what: &'static str,
        carried: u64,
    ) -> Result<Turn, TierError> {
        let standstill = self.limits.standstill();
        let mut turn = pin!(self.next_turn(carried));
        // Mostly it has one at once, and needs no clock.
        if let Some(turn) = turn.as_mut().now_or_never() {
            return Ok(turn);
        }
        loop {
            let ended = self.ended.count();
            match timeout(standstill, turn.as_mut()).await {
                Ok(turn) => return Ok(turn),
                Err(_) if self.ended.count() != ended => {}
                Err(_) => return Err(too_late(speaker, what, Late::Begun(standstill))),
            }
        }
    }

    async fn next_turn(&self, carried: u64) -> Turn {
        // The bytes first: a large one that waits for them keeps no small one from its turn.
        let large = if carried > self.limits.small_bytes_max() {
            Some(acquire(&self.large, self.units_of(carried)).await)
        } else {
            None
        };
        Turn {
            _large: large,
            _operation: acquire(&self.operations, 1).await,
            _ends: Ends(self.ended.clone()),
        }
    }

    fn units_of(&self, bytes: u64) -> u32 {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        units.clamp(1, self.units)
    }

    /// Waits for leave to have `bytes` bytes under way.
    pub(crate) async fn pass(&self, bytes: u64) -> Pass {
        Pass {
            _permit: acquire(&self.bytes, self.units_of(bytes)).await,
            _errand: self.errand(),
            _ends: Ends(self.ended.clone()),
        }
    }

    /// Notes that something begins which may outlive who has asked for it.
    pub(crate) fn errand(&self) -> Errand {
        self.errands.begin()
    }

    /// When an operation on so many bytes is given up.
    #[cfg(any(feature = "redis", feature = "s3"))]
    pub(crate) fn deadline(&self, bytes: u64) -> Duration {
        self.limits.deadline(bytes)
    }

    /// From now on operations are given up sooner, or later.
    #[cfg(all(test, any(feature = "spill", feature = "redis", feature = "s3")))]
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.limits.patience = patience;
    }

    /// Waits until no errand and no pass is left.
    pub(crate) async fn settled(&self) {
        self.errands.settled().await;
    }
}

fn too_late(speaker: &Speaker, what: &'static str, late: Late) -> TierError {
    speaker.broken(
        what,
        late,
        Again::May,
        "see whether what it rests on is stopped, cut off or overloaded, or give it more time (--store-patience)",
    )
}

async fn acquire(semaphore: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_many_owned(count).await;
    permit.unwrap_or_else(|_| unreachable!("these semaphores are never closed"))
}

#[cfg(test)]
mod tests;
