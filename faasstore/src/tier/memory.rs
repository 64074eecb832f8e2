//! The tiers of memory: `inline` and `shared`.
//!
//! Neither checks what it holds: nothing stands between the bytes and whoever wrote them. An inline payload is the one
//! exception, since it has been in a message.

use super::admission::{Admission, Limits};
use super::book::{Book, Claim, Entry, lock, store_number};
use super::error::Speaker;
use super::{Body, Place, Tier, TierError, TierKind, Used};
use crate::arena::{Arena, ArenaConfig, ArenaError, Reservation};
use crate::descriptor::ArenaRange;
use crate::segment::{SegmentWriter, Slice, TargetSlice};
use std::sync::{Arc, Mutex};

/// Bytes copied before others get their turn: some 100 µs.
const COPY_BYTES: usize = 1 << 20;

const INLINE_REMEDY: &str =
    "let it travel by another tier, or raise the limit of what is sent inline";
const SHARED_REMEDY: &str = "let other payloads go, spill some, or raise the arena's limit";

/// How an [`Inline`] is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InlineConfig {
    /// Bytes of the largest payload.
    pub payload_bytes_max: u64,
    /// Bytes of all payloads that are out in messages.
    pub bytes_max: u64,
}

impl Default for InlineConfig {
    fn default() -> Self {
        Self {
            payload_bytes_max: 64 << 10,
            bytes_max: 64 << 20,
        }
    }
}

/// Payloads that lie in the message that names them: each is copied into its [`Place`].
#[derive(Debug)]
pub struct Inline {
    book: Book<u32>,
    payload_bytes_max: u64,
}

impl Inline {
    /// One that has given nothing out yet.
    #[must_use]
    pub fn new(config: InlineConfig) -> Self {
        let speaker = Speaker {
            kind: TierKind::Inline,
            at: "in messages".to_owned(),
        };
        Self {
            book: Book::new(speaker, store_number(), Body::Kept, config.bytes_max),
            payload_bytes_max: config.payload_bytes_max,
        }
    }
}

impl Tier for Inline {
    fn kind(&self) -> TierKind {
        TierKind::Inline
    }

    fn used(&self) -> Used {
        let (bytes, count) = self.book.counts();
        Used {
            bytes,
            count,
            held: bytes,
        }
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        let (bytes, max) = (payload.length(), self.payload_bytes_max);
        if bytes > max {
            return Err(self.book.speaker().too_large(bytes, max, INLINE_REMEDY));
        }
        let claim = self.book.claim(bytes, INLINE_REMEDY)?;
        let sum = crc32fast::hash(payload.bytes());
        let mut place = self.book.enter(claim, sum);
        place.body = Body::Inline(payload.bytes().into());
        Ok(place)
    }

    async fn get(&self, place: &Place, from: u64, mut into: TargetSlice) -> Result<(), TierError> {
        let entry = self.book.find(place)?;
        self.book.check_window(place, from, into.length())?;
        let speaker = self.book.speaker();
        let Body::Inline(bytes) = &place.body else {
            return Err(speaker.refused(place, "it carries no payload"));
        };
        if bytes.len() as u64 != place.bytes || crc32fast::hash(bytes) != entry.content {
            let remedy = "the message was changed on its way: see what carries it";
            return Err(speaker.damaged(place, 0, place.bytes, remedy));
        }
        let end = (from + into.length()) as usize;
        into.bytes_mut().copy_from_slice(&bytes[from as usize..end]);
        Ok(())
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        self.book.remove(&place).map(drop)
    }

    async fn settled(&self) {}
}

/// A leased range of an arena, which goes back by being dropped.
#[derive(Debug)]
struct Lease {
    arena: Arc<Mutex<Arena>>,
    range: ArenaRange,
    segment: Arc<SegmentWriter>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let released = lock(&self.arena).release(self.range);
        debug_assert!(released.is_ok(), "a lease is released once");
    }
}

/// A reservation that is given up unless it is committed.
#[derive(Debug)]
pub(super) struct Writing {
    arena: Arc<Mutex<Arena>>,
    reservation: Option<Reservation>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            lock(&self.arena).abandon(reservation);
        }
    }
}

/// Payloads in an arena of this process. Its segments can be passed on (see [`Shared::segment`]); a reader of this process
/// takes a [`Shared::view`] instead of a copy.
#[derive(Debug)]
pub struct Shared {
    book: Book<Lease>,
    arena: Arc<Mutex<Arena>>,
    admission: Admission,
    keep_bytes: u64,
}

impl Shared {
    /// An arena as configured, of which `keep_bytes` bytes in segments are kept when they are free; others go back to the
    /// kernel.
    #[must_use]
    pub fn new(config: ArenaConfig, keep_bytes: u64, limits: Limits) -> Self {
        let speaker = Speaker {
            kind: TierKind::Shared,
            at: format!("arena {}", config.name),
        };
        Self {
            book: Book::new(speaker, store_number(), Body::Kept, config.bytes_max),
            arena: Arc::new(Mutex::new(Arena::new(config))),
            admission: Admission::new(limits),
            keep_bytes,
        }
    }

    /// Memory for a payload that is to be written.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Writing, TierError> {
        let reserved = {
            let mut arena = lock(&self.arena);
            let reserved = arena.reserve(bytes);
            // Whom to tell of segments is the business of who passes them on, when it does.
            drop((arena.new_segments(), arena.retired_segments()));
            reserved
        };
        let speaker = self.book.speaker();
        match reserved {
            Ok(reservation) => Ok(Writing {
                arena: Arc::clone(&self.arena),
                reservation: Some(reservation),
            }),
            Err(error @ ArenaError::Bytes { .. }) => {
                Err(speaker.broken("reserve memory", error, super::Again::Not, SHARED_REMEDY))
            }
            Err(error) => Err(speaker.full(bytes, error, SHARED_REMEDY)),
        }
    }

    /// Commits what was written: from now on it is a payload.
    pub(super) fn commit(&self, claim: Claim, mut writing: Writing) -> Place {
        let reservation = writing.reservation.take();
        let reservation = reservation.unwrap_or_else(|| unreachable!("it is committed once"));
        let mut arena = lock(&self.arena);
        let (index, generation) = (reservation.segment(), reservation.generation());
        let segment = arena.segment(index, generation).cloned();
        let segment = segment.unwrap_or_else(|| unreachable!("a reservation's segment is there"));
        let range = arena.commit(reservation, claim.bytes);
        drop(arena);
        let lease = Lease {
            arena: Arc::clone(&self.arena),
            range,
            segment,
        };
        self.book.enter(claim, lease)
    }

    /// A number, and so many bytes of the arena's limit.
    pub(super) fn claim(&self, bytes: u64) -> Result<Claim, TierError> {
        self.book.claim(bytes, SHARED_REMEDY)
    }

    /// Lets a payload go.
    pub(super) fn let_go(&self, place: &Place) -> Result<(), TierError> {
        drop(self.book.remove(place)?);
        drop(lock(&self.arena).trim(self.keep_bytes));
        Ok(())
    }

    /// Sets `bytes` bytes aside, has `write` write them where they will stay, and takes them in: a put without a copy.
    ///
    /// # Errors
    /// As [`Tier::put`].
    pub fn write(&self, bytes: u64, write: impl FnOnce(&mut [u8])) -> Result<Place, TierError> {
        let claim = self.book.claim(bytes, SHARED_REMEDY)?;
        let writing = self.reserve(bytes)?;
        if let Some(mut target) = self.target(&writing, bytes) {
            write(target.bytes_mut());
        }
        Ok(self.commit(claim, writing))
    }

    /// Where to write it.
    pub(super) fn target(&self, writing: &Writing, bytes: u64) -> Option<TargetSlice> {
        let reservation = writing.reservation.as_ref()?;
        let arena = lock(&self.arena);
        let segment = arena.segment(reservation.segment(), reservation.generation())?;
        TargetSlice::new(Arc::clone(segment), reservation.offset(), bytes)
    }

    /// A payload where it lies. It stays there until the last view has gone, even if it is released before.
    ///
    /// # Errors
    /// [`TierError::Missing`] and [`TierError::Refused`].
    pub fn view(&self, place: &Place) -> Result<Slice, TierError> {
        let entry = self.book.find(place)?;
        Ok(view(&entry).guarded(entry))
    }

    /// The segment and the range in which a payload lies, to be passed on.
    ///
    /// # Errors
    /// As [`Shared::view`].
    pub fn segment(&self, place: &Place) -> Result<(Arc<SegmentWriter>, ArenaRange), TierError> {
        let entry = self.book.find(place)?;
        Ok((Arc::clone(&entry.content.segment), entry.content.range))
    }
}

fn view(entry: &Entry<Lease>) -> Slice {
    let Lease { range, segment, .. } = &entry.content;
    let slice = Slice::of_writer(Arc::clone(segment), range.offset, range.length);
    slice.unwrap_or_else(|| unreachable!("a committed range lies in its segment"))
}

/// Copies, and lets others have their turn.
async fn copy(from: &[u8], to: &mut [u8]) {
    for (from, to) in from.chunks(COPY_BYTES).zip(to.chunks_mut(COPY_BYTES)) {
        to.copy_from_slice(from);
        if from.len() == COPY_BYTES {
            tokio::task::yield_now().await;
        }
    }
}

impl Tier for Shared {
    fn kind(&self) -> TierKind {
        TierKind::Shared
    }

    fn used(&self) -> Used {
        let (bytes, count) = self.book.counts();
        Used {
            bytes,
            count,
            held: lock(&self.arena).bytes_held(),
        }
    }

    async fn put(&self, payload: Slice) -> Result<Place, TierError> {
        let bytes = payload.length();
        let speaker = self.book.speaker();
        let put = async {
            let claim = self.book.claim(bytes, SHARED_REMEDY)?;
            let writing = self.reserve(bytes)?;
            if let Some(mut target) = self.target(&writing, bytes) {
                copy(payload.bytes(), target.bytes_mut()).await;
            }
            Ok(self.commit(claim, writing))
        };
        self.admission
            .within(speaker, "put a payload", bytes, put)
            .await
    }

    async fn get(&self, place: &Place, from: u64, mut into: TargetSlice) -> Result<(), TierError> {
        let bytes = into.length();
        let entry = self.book.find(place)?;
        self.book.check_window(place, from, bytes)?;
        let window = view(&entry).part(from, from + bytes);
        let get = async {
            copy(window.bytes(), into.bytes_mut()).await;
            Ok(())
        };
        let speaker = self.book.speaker();
        self.admission
            .within(speaker, "get a payload", bytes, get)
            .await
    }

    async fn release(&self, place: Place) -> Result<(), TierError> {
        self.let_go(&place)
    }

    async fn settled(&self) {
        self.admission.settled().await;
    }
}

#[cfg(test)]
mod tests;
