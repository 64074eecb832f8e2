//! Aligned memory for what cannot go to the disk, or come from there, in its own place.

use super::CHUNK_BYTES;
use crate::segment::{SegmentError, SegmentWriter, TargetSlice};
use crate::tier::book::lock;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Buffers of one chunk each, made when the first is needed.
#[derive(Debug)]
pub(super) struct Bounces {
    free: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    count: u64,
}

#[derive(Debug, Default)]
struct State {
    segment: Option<Arc<SegmentWriter>>,
    free: Vec<u64>,
}

/// Gives a buffer back when nothing reads or writes it any more.
#[derive(Debug)]
struct Loan {
    state: Arc<Mutex<State>>,
    number: u64,
    // Dropped last: whoever waits for it finds the number in its place.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Loan {
    fn drop(&mut self) {
        lock(&self.state).free.push(self.number);
    }
}

impl Bounces {
    pub(super) fn new(count: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count as usize)),
            state: Arc::default(),
            count: u64::from(count),
        }
    }

    /// A buffer of `bytes` bytes, up to a chunk, aligned to the page; it is lent until the target, and any slice that it
    /// becomes, is gone.
    pub(super) async fn lend(&self, bytes: u64) -> Result<TargetSlice, SegmentError> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.unwrap_or_else(|_| unreachable!("it is never closed"));
        let mut state = lock(&self.state);
        if state.segment.is_none() {
            let segment = SegmentWriter::create("spill-bounce", self.count * CHUNK_BYTES)?;
            state.segment = Some(Arc::new(segment));
            state.free = (0..self.count).collect();
        }
        let number = state.free.pop();
        let number = number.unwrap_or_else(|| unreachable!("there are as many as permits"));
        let segment = state.segment.clone();
        drop(state);
        let target =
            segment.and_then(|segment| TargetSlice::new(segment, number * CHUNK_BYTES, bytes));
        let target = target.unwrap_or_else(|| unreachable!("a buffer holds a chunk"));
        Ok(target.guarded(Loan {
            state: Arc::clone(&self.state),
            number,
            _permit: permit,
        }))
    }
}
