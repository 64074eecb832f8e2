//! How much of a tier may be under way at once, and for how long.

use super::TierError;
use super::error::{Again, Late, Speaker};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Bytes under way are counted in units of this: a semaphore counts to 2^29 on small machines.
const UNIT_BYTES: u64 = 1 << 10;

/// What bounds the operations of a tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Operations under way; more of them wait for their turn, in order. At least 1.
    pub operations_max: u32,
    /// Bytes that the kernel, a connection or a client library has been given and has not finished with. A piece that is
    /// larger passes alone.
    pub in_flight_bytes_max: u64,
    /// How long an operation may take, whatever its size; its wait for its turn counts.
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
    /// When an operation on so many bytes is given up.
    #[must_use]
    pub fn deadline(&self, bytes: u64) -> Duration {
        self.patience + Duration::from_secs(bytes / self.bytes_per_s_min.max(1))
    }
}

/// The turnstile of one tier.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    operations: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    units: u32,
    errands: Errands,
}

/// Leave to have so many bytes under way: hung on what is, so that it comes back when that has ended, not when whoever
/// waits for it has.
#[derive(Debug)]
pub(crate) struct Pass {
    _permit: OwnedSemaphorePermit,
    _errand: Errand,
}

/// What is under way, whoever waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Errands(Arc<watch::Sender<u64>>);

impl Errands {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Notes that something begins.
    pub(crate) fn begin(&self) -> Errand {
        self.0.send_modify(|count| *count += 1);
        Errand(Arc::clone(&self.0))
    }

    /// Waits until all has ended.
    pub(crate) async fn settled(&self) {
        let mut count = self.0.subscribe();
        // The sender lives as long as this does.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

/// Something under way that [`Errands::settled`] waits for.
#[derive(Debug)]
pub(crate) struct Errand(Arc<watch::Sender<u64>>);

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
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
            bytes: Arc::new(Semaphore::new(units as usize)),
            units,
            errands: Errands::new(),
        }
    }

    /// Runs an operation on `bytes` bytes when it is its turn, and gives it up at its deadline.
    pub(crate) async fn within<T>(
        &self,
        speaker: &Speaker,
        what: &'static str,
        bytes: u64,
        operation: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let deadline = self.limits.deadline(bytes);
        let turn = async {
            let _permit = acquire(&self.operations, 1).await;
            operation.await
        };
        match tokio::time::timeout(deadline, turn).await {
            Ok(result) => result,
            Err(_) => Err(speaker.broken(
                what,
                Late(deadline),
                Again::May,
                "see whether what it rests on is stopped, cut off or overloaded, or give it more time",
            )),
        }
    }

    /// Waits for leave to have `bytes` bytes under way.
    pub(crate) async fn pass(&self, bytes: u64) -> Pass {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        Pass {
            _permit: acquire(&self.bytes, units.clamp(1, self.units)).await,
            _errand: self.errand(),
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

async fn acquire(semaphore: &Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_many_owned(count).await;
    permit.unwrap_or_else(|_| unreachable!("these semaphores are never closed"))
}
