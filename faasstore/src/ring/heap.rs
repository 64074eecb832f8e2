//! A ring on the heap, of whichever atomics the build has: what loom explores, and what tests corrupt at will.

use super::{RingError, RingMemory};
use crate::descriptor::{Message, SLOT_WORDS};
use crate::sync::AtomicU64;
use std::sync::Arc;

#[derive(Debug)]
struct Words {
    slots: Vec<[AtomicU64; SLOT_WORDS]>,
    tail: AtomicU64,
    head: AtomicU64,
    parked: AtomicU64,
}

/// Both sides hold a clone.
#[derive(Clone, Debug)]
pub(crate) struct HeapRing(Arc<Words>);

impl HeapRing {
    /// An empty ring of `capacity` slots.
    pub(crate) fn new(capacity: usize) -> Self {
        let slots = (0..capacity)
            .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
            .collect();
        Self(Arc::new(Words {
            slots,
            tail: AtomicU64::new(0),
            head: AtomicU64::new(0),
            parked: AtomicU64::new(0),
        }))
    }
}

impl RingMemory for HeapRing {
    fn capacity(&self) -> u64 {
        self.0.slots.len() as u64
    }

    fn slot(&self, position: u64) -> &[AtomicU64; SLOT_WORDS] {
        &self.0.slots[position as usize % self.0.slots.len()]
    }

    fn tail(&self) -> &AtomicU64 {
        &self.0.tail
    }

    fn head(&self) -> &AtomicU64 {
        &self.0.head
    }

    fn parked(&self) -> &AtomicU64 {
        &self.0.parked
    }
}

impl super::Consumer<HeapRing> {
    /// The next message, where a test has no use for one vessel.
    pub(crate) fn take(&mut self) -> Result<Option<Message>, RingError> {
        let mut message = Message::default();
        Ok(self.pop(&mut message)?.then_some(message))
    }
}
