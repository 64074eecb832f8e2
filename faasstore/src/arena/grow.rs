//! Payloads that are written piece by piece, and whose length is known at the end.
//!
//! A small one lies where small ones do, and is moved when it outgrows its place, each time to one twice as large: so each byte is
//! copied at most twice. One that outgrows half an ordinary segment moves into a draft, a segment of its own in the making, and
//! from then on grows in place: nothing is copied any more, however large it gets. At the end the draft is cut behind the
//! last page that was written. What has come to fill less than half of its place is moved to one of its size, so that a guess that was
//! too large fragments nothing: where a range lies follows from its size.

use super::making::PAGE_BYTES;
use super::{Arena, ArenaError, Compartment, Reservation, granules};
use crate::binding::PAYLOAD_BYTES_MAX;
use crate::descriptor::ArenaRange;
use crate::segment::{Pages, SegmentDraft};

/// Bytes by which a draft grows at least, as long as that is no more than it has already: what is set aside too much is given
/// back at the end, and has cost its zeroing.
const STEP_BYTES: u64 = 64 << 20;

/// A range that is being written, and may grow. It ends by [`Arena::end`] or [`Arena::give_up`]; one that is dropped
/// instead stays in use until the arena goes.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "what is neither ended nor given up stays in use"]
pub struct Growing(Reservation);

impl Growing {
    /// Bytes that may be written.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.0.capacity()
    }
}

impl Arena {
    /// Sets at least `bytes` bytes aside for a payload that may turn out longer, or shorter. Their content is whatever was there
    /// before.
    ///
    /// # Errors
    /// As [`Arena::reserve`].
    pub fn begin(&mut self, bytes: u64) -> Result<Growing, ArenaError> {
        let count = granules(bytes.min(PAYLOAD_BYTES_MAX)) as u32;
        if count <= self.packed_max || bytes > PAYLOAD_BYTES_MAX {
            return self.reserve(bytes).map(Growing);
        }
        let vacant = self.chain.take_alone(Compartment::FIRST, count);
        // Of reserved huge pages no draft is made: the kernel lets them neither grow in place nor be cut anywhere.
        let is_fixed = Pages::of_large_segments() == Pages::Reserved;
        let block = match vacant {
            Some(block) => block,
            None if is_fixed => self.add_alone(Compartment::FIRST, count, true)?,
            None => match self.begin_draft(bytes) {
                Ok(draft) => return Ok(Growing(draft)),
                Err(full) => self.take_among_others(Compartment::FIRST, count, full)?,
            },
        };
        let generation = self.chain.mark_reserved(block);
        Ok(Growing(Reservation { block, generation }))
    }

    fn begin_draft(&mut self, bytes: u64) -> Result<Reservation, ArenaError> {
        let compartment = Compartment::FIRST;
        let room = self.make_room(compartment, bytes);
        // Its last page, too, must find room.
        if bytes > room - room % PAGE_BYTES {
            return Err(self.full(compartment, bytes));
        }
        let name = self.chain.next_name(&self.config.name);
        let draft = self.make(|| SegmentDraft::create(&name, bytes))?;
        let block = self.chain.add_draft(compartment, draft);
        let generation = self.chain.mark_reserved(block);
        Ok(Reservation { block, generation })
    }

    /// The bytes of what is being written.
    ///
    /// # Panics
    /// If it is another arena's.
    #[inline]
    pub fn growing_mut(&mut self, growing: &Growing) -> &mut [u8] {
        self.bytes_mut(&growing.0)
    }

    /// Makes it hold at least `bytes` bytes, and keeps its first `keep` bytes. It gets more than that, if there is room, though no
    /// more than `most`, so that growing piece by piece costs each byte a constant.
    ///
    /// # Errors
    /// As [`Arena::reserve`]; it is unchanged then.
    ///
    /// # Panics
    /// If it is another arena's, or `keep` is more than it holds.
    pub fn grow(
        &mut self,
        growing: &mut Growing,
        keep: u64,
        bytes: u64,
        most: u64,
    ) -> Result<(), ArenaError> {
        let capacity = growing.capacity();
        if bytes <= capacity {
            return Ok(());
        }
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(ArenaError::Bytes { bytes });
        }
        assert!(keep <= capacity, "more bytes to keep than there are");
        self.chain.check(&growing.0);
        let is_draft = self.chain.is_draft(growing.0.block.segment);
        let step = if is_draft {
            capacity.min(STEP_BYTES)
        } else {
            capacity
        };
        let ample = bytes.max((capacity + step).min(most).min(PAYLOAD_BYTES_MAX));
        let grow = if is_draft {
            Self::grow_draft
        } else {
            Self::move_or_extend
        };
        match grow(self, growing, keep, ample) {
            Err(_) if ample > bytes => grow(self, growing, keep, bytes),
            grown => grown,
        }
    }

    fn grow_draft(
        &mut self,
        growing: &mut Growing,
        _keep: u64,
        bytes: u64,
    ) -> Result<(), ArenaError> {
        let further = bytes - growing.capacity();
        let room = self.make_room(Compartment::FIRST, further);
        if further > room - room % PAGE_BYTES {
            return Err(self.full(Compartment::FIRST, bytes));
        }
        let block = &mut growing.0.block;
        Ok(self.chain.grow_draft(block, bytes)?)
    }

    fn move_or_extend(
        &mut self,
        growing: &mut Growing,
        keep: u64,
        bytes: u64,
    ) -> Result<(), ArenaError> {
        let block = &mut growing.0.block;
        let count = granules(bytes) as u32;
        if count <= self.packed_max && self.chain.extend(block, count - block.granules) {
            return Ok(());
        }
        let larger = self.begin(bytes)?;
        self.copy(&growing.0, &larger.0, keep);
        self.abandon(std::mem::replace(growing, larger).0);
        Ok(())
    }

    /// Copies the first `bytes` bytes of a reservation to another.
    fn copy(&mut self, from: &Reservation, to: &Reservation, bytes: u64) {
        assert!(bytes <= from.capacity() && bytes <= to.capacity());
        let (from, to) = (self.chain.pointer(from), self.chain.pointer(to));
        // SAFETY: both ranges are at least so long, as was just checked; the chain has set them aside for two reservations, so they
        // do not overlap, and nobody borrows either while `self` is borrowed as mutable.
        unsafe { to.copy_from_nonoverlapping(from, bytes as usize) };
    }

    /// Ends writing: the first `length` bytes become a leased range, the rest is free again. A range of no bytes takes no
    /// room. What was written into a much larger place is moved to one of its size.
    ///
    /// # Errors
    /// If the kernel refuses to make a segment of what was written; it is lost then.
    ///
    /// # Panics
    /// If it is another arena's, or has fewer than `length` bytes.
    pub fn end(&mut self, growing: Growing, length: u64) -> Result<ArenaRange, ArenaError> {
        let Growing(mut reservation) = growing;
        assert!(
            length <= reservation.capacity(),
            "more bytes committed than reserved"
        );
        self.chain.check(&reservation);
        let segment = reservation.block.segment;
        let is_draft = self.chain.is_draft(segment);
        let is_wasteful = match self.chain.bytes_alone(segment) {
            Some(_) if is_draft => granules(length) <= u64::from(self.packed_max),
            Some(bytes) => length < bytes / 2,
            None => 2 * granules(length) < u64::from(reservation.block.granules),
        };
        // Without memory to move it stays where it is.
        if length > 0
            && is_wasteful
            && let Ok(moved) = self.reserve(length)
        {
            self.copy(&reservation, &moved, length);
            self.abandon(reservation);
            return Ok(self.commit(moved, length));
        }
        if is_draft && length > 0 {
            let made = self.chain.seal_draft(&mut reservation.block, length)?;
            self.fresh.push(made);
        }
        Ok(self.commit(reservation, length))
    }

    /// Ends writing without a result.
    ///
    /// # Panics
    /// If it is another arena's.
    pub fn give_up(&mut self, growing: Growing) {
        self.abandon(growing.0);
    }
}
