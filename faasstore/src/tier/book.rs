//! What a store has: numbers, sizes, and what is known of each payload, in private memory.

use super::error::Speaker;
use super::{Body, Place, TierError, TierKind};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Payloads that one store may have at once.
pub(crate) const PAYLOADS_MAX: u64 = 1 << 20;

/// The numbers of this process's stores.
static STORES: AtomicU64 = AtomicU64::new(1);

/// A number that no other store of this process has.
pub(crate) fn store_number() -> u64 {
    STORES.fetch_add(1, Ordering::Relaxed)
}

#[derive(Debug)]
struct Counts {
    bytes: u64,
    count: u64,
    next: u64,
}

/// All payloads of one store.
#[derive(Debug)]
pub(crate) struct Book<T> {
    speaker: Speaker,
    store: u64,
    body: Body,
    bytes_max: u64,
    counts: Arc<Mutex<Counts>>,
    entries: Mutex<HashMap<u64, Arc<Entry<T>>>>,
}

/// One payload: there as long as somebody reads it, and counted as long.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) claim: Claim,
    pub(crate) content: T,
}

/// A number, and so many bytes of the store's.
#[derive(Debug)]
pub(crate) struct Claim {
    counts: Arc<Mutex<Counts>>,
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.bytes -= self.bytes;
        counts.count -= 1;
    }
}

/// What these locks guard is never left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Book<T> {
    /// An empty book. `body` is what every place of it carries.
    pub(crate) fn new(speaker: Speaker, store: u64, body: Body, bytes_max: u64) -> Self {
        let counts = Counts {
            bytes: 0,
            count: 0,
            next: 1,
        };
        Self {
            speaker,
            store,
            body,
            bytes_max,
            counts: Arc::new(Mutex::new(counts)),
            entries: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Bytes and payloads.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counts = lock(&self.counts);
        (counts.bytes, counts.count)
    }

    /// Sets aside a number and `bytes` bytes of the limit.
    pub(crate) fn claim(&self, bytes: u64, remedy: &'static str) -> Result<Claim, TierError> {
        if bytes > self.bytes_max {
            return Err(self.speaker.too_large(bytes, self.bytes_max, remedy));
        }
        let mut counts = lock(&self.counts);
        if counts.count >= PAYLOADS_MAX {
            let why = format!("it has {PAYLOADS_MAX} payloads, as many as it may");
            return Err(self.speaker.full(bytes, why, remedy));
        }
        if bytes > self.bytes_max - counts.bytes {
            let why = format!("{} of at most {} are in use", counts.bytes, self.bytes_max);
            return Err(self.speaker.full(bytes, why, remedy));
        }
        counts.bytes += bytes;
        counts.count += 1;
        let number = counts.next;
        counts.next += 1;
        drop(counts);
        Ok(Claim {
            counts: Arc::clone(&self.counts),
            number,
            bytes,
        })
    }

    /// Where a payload with that claim is.
    pub(crate) fn place(&self, claim: &Claim) -> Place {
        Place {
            kind: self.speaker.kind,
            store: self.store,
            number: claim.number,
            bytes: claim.bytes,
            body: self.body.clone(),
        }
    }

    /// Takes a payload in.
    pub(crate) fn enter(&self, claim: Claim, content: T) -> Place {
        let place = self.place(&claim);
        let entry = Arc::new(Entry { claim, content });
        lock(&self.entries).insert(place.number, entry);
        place
    }

    /// Whether a place is of this store, whoever has put it there.
    pub(crate) fn check_store(&self, place: &Place) -> Result<(), TierError> {
        if place.kind != self.speaker.kind {
            return Err(self.speaker.refused(place, "it is of another tier"));
        }
        if place.store != self.store {
            return Err(self.speaker.refused(place, "it is of another store"));
        }
        Ok(())
    }

    fn check(&self, place: &Place) -> Result<(), TierError> {
        self.check_store(place)?;
        // Of what lies in the message itself the body is the payload.
        if self.speaker.kind != TierKind::Inline && place.body != self.body {
            return Err(self.speaker.refused(
                place,
                "another worker, or an earlier life of this one, has put it",
            ));
        }
        Ok(())
    }

    fn same<'a>(
        &self,
        place: &Place,
        entry: Option<&'a Arc<Entry<T>>>,
    ) -> Result<&'a Arc<Entry<T>>, TierError> {
        let entry = entry.ok_or_else(|| self.speaker.missing(place, GONE))?;
        if entry.claim.bytes != place.bytes {
            let why = format!("the payload of that number has {} bytes", entry.claim.bytes);
            return Err(self.speaker.refused(place, why));
        }
        Ok(entry)
    }

    /// Whether this worker, in this life, has put it.
    #[cfg(any(feature = "redis", feature = "s3"))]
    pub(crate) fn is_own(&self, place: &Place) -> bool {
        place.body == self.body
    }

    /// The payload of a place that this store has given out.
    pub(crate) fn find(&self, place: &Place) -> Result<Arc<Entry<T>>, TierError> {
        self.check(place)?;
        let entries = lock(&self.entries);
        self.same(place, entries.get(&place.number)).cloned()
    }

    /// Takes a payload out.
    pub(crate) fn remove(&self, place: &Place) -> Result<Arc<Entry<T>>, TierError> {
        self.check(place)?;
        let mut entries = lock(&self.entries);
        self.same(place, entries.get(&place.number))?;
        let entry = entries.remove(&place.number);
        entry.ok_or_else(|| self.speaker.missing(place, GONE))
    }

    /// All payloads that are there.
    #[cfg(feature = "redis")]
    pub(crate) fn entries(&self) -> Vec<Arc<Entry<T>>> {
        lock(&self.entries).values().cloned().collect()
    }

    /// Whether `length` bytes from `from` lie in the payload.
    pub(crate) fn check_window(
        &self,
        place: &Place,
        from: u64,
        length: u64,
    ) -> Result<(), TierError> {
        match from.checked_add(length) {
            Some(end) if end <= place.bytes => Ok(()),
            _ => {
                let why = format!("{length} bytes from {from} do not lie in it");
                Err(self.speaker.refused(place, why))
            }
        }
    }
}

/// How a payload comes not to be there.
pub(crate) const GONE: &str =
    "it was released, or never was; read it before its last reader lets it go";
