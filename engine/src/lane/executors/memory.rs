//! What a lane and an executor tell each other of memory: segments announced and gone, ranges that are free again.
//!
//! Announcements travel over the socket before anything names what they announce. What is free again, and what has gone,
//! travels in the request ring, but never in the room that a request needs: what finds none waits here, and is sent when
//! the executor has read.

use super::{Executor, ExecutorError, find, unpushed};
use crate::lane::segments::{Gone, Mapping, Owner, Segments};
use faasstore::binding::{Announce, Announced};
use faasstore::descriptor::{self, ArenaRange, PayloadRef};
use faasstore::ring::PushError;
use faasstore::segment::{SegmentError, SegmentReader};
use faasstore::socket::{DESCRIPTORS_MAX, Received};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Messages about memory that an executor is sent for each ringing of its bell: it need not know at once, but a ring that
/// is never read would fill, and what lies unread in it cannot be used again.
const MESSAGES_PER_BELL: u32 = 64;

/// A range of so many bytes is worth a ring of the bell when it comes back.
const LARGE_BYTES: u64 = 64 << 20;

/// Announced segments that are read for one that a completion names: more than a process can map, so that it is among
/// them.
const ANNOUNCED_MAX: usize = 1 << 16;

/// The largest page that any machine has.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// How long an executor's socket may be too full to tell it of a segment. It reads its socket before it runs what names
/// the segment, so a full socket means an executor that does not read.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_millis(100);

impl Executor {
    /// Takes in segments that the executor has announced, up to the one that it named.
    #[cold]
    pub(super) fn read_announcements(
        &mut self,
        place: u32,
        index: u32,
        generation: u32,
        segments: &mut Segments,
    ) -> Result<u32, ExecutorError> {
        let mut read = 0;
        while read < ANNOUNCED_MAX {
            let Some(received) = self.started.socket.try_receive::<Announce>()? else {
                break;
            };
            read += received.message.segments.len().max(1);
            self.take_announcement(place, received, segments)?;
            if let Some(slot) = find(&self.arena, index, generation) {
                return Ok(slot);
            }
        }
        Err(ExecutorError::Segment {
            segment: index,
            generation,
        })
    }

    fn take_announcement(
        &mut self,
        place: u32,
        received: Received<Announce>,
        segments: &mut Segments,
    ) -> Result<(), ExecutorError> {
        let Received {
            message: Announce {
                segments: announced,
            },
            descriptors,
        } = received;
        if announced.len() != descriptors.len() {
            return Err(ExecutorError::Descriptors {
                segments: announced.len(),
                descriptors: descriptors.len(),
            });
        }
        let mut announced = announced.into_iter().zip(descriptors);
        announced.try_for_each(|(announced, descriptor)| {
            self.take_segment(place, announced, descriptor, segments)
        })
    }

    fn take_segment(
        &mut self,
        place: u32,
        announced: Announced,
        descriptor: OwnedFd,
        segments: &mut Segments,
    ) -> Result<(), ExecutorError> {
        let Announced {
            segment: index,
            generation,
        } = announced;
        if self.arena.iter().any(|known| known.0 == index) {
            return Err(ExecutorError::AnnouncedTwice { segment: index });
        }
        // Its last segment may have been rounded up to a page, of whatever size pages are.
        let max = self.started.arena_bytes_max;
        let left = max.saturating_add(PAGE_BYTES_MAX) - self.arena_bytes;
        let reader = match SegmentReader::open_lazily(descriptor, left) {
            Err(SegmentError::TooLarge { bytes, .. }) => {
                let bytes = self.arena_bytes.saturating_add(bytes);
                return Err(ExecutorError::ArenaBytes { bytes, max });
            }
            opened => opened?,
        };
        self.arena_bytes += reader.length();
        let mapping = Mapping::Foreign(Arc::new(reader));
        let slot = segments.add(
            mapping,
            Owner::Executor(place),
            self.terms.compartment,
            index,
            generation,
        );
        self.arena.push((index, generation, slot));
        Ok(())
    }

    /// Forgets a segment that the executor has retired.
    pub(super) fn retire(
        &mut self,
        place: u32,
        index: u32,
        generation: u32,
        segments: &mut Segments,
    ) -> Result<Gone, ExecutorError> {
        let slot = self.slot_of(place, index, generation, segments)?;
        let bytes = segments.mapping(slot).map_or(0, Mapping::length);
        let gone = segments
            .retire(slot)
            .ok_or(ExecutorError::Retired { segment: index })?;
        self.arena.retain(|known| known.2 != slot);
        self.arena_bytes -= bytes;
        Ok(gone)
    }

    /// Queues a free range for its way back. A large one is the whole of a segment, whose memory is the machine's again once the
    /// executor has read of it.
    pub(crate) fn give_back(&mut self, range: ArenaRange) {
        self.unmap_unrung |= range.length >= LARGE_BYTES;
        self.released.push(range);
    }

    /// Queues a segment that has gone, to be unmapped.
    pub(crate) fn unmap(&mut self, slot: u32, generation: u32, bytes: u64) {
        self.unmaps.push((slot, generation, bytes));
        self.pinned.gone(bytes);
    }

    /// Tells the executor of ranges that are free again: of two or more now, of a last one if `all`. What its ring has no
    /// room for waits for the next time.
    #[inline]
    pub(crate) fn flush_released(&mut self, all: bool) -> Result<(), ExecutorError> {
        while self.released.len() >= 2 || (all && !self.released.is_empty()) {
            let first = self.released.len().saturating_sub(2);
            descriptor::encode_release(&mut self.outgoing, &self.released[first..]);
            if !self.push_unhurried()? {
                return Ok(());
            }
            self.released.truncate(first);
        }
        Ok(())
    }

    /// Tells the executor of all ranges that are free again, in one batch.
    pub(super) fn flush_all_released(&mut self) -> Result<(), ExecutorError> {
        let mut batch = self.started.channel.batch();
        while !self.released.is_empty() {
            let first = self.released.len().saturating_sub(2);
            descriptor::encode_release(&mut self.outgoing, &self.released[first..]);
            match batch.push(self.outgoing.slots()) {
                Ok(()) => self.released.truncate(first),
                Err(PushError::Full) => break,
                Err(corrupt) => return Err(unpushed(corrupt)),
            }
            self.unrung += 1;
        }
        Ok(())
    }

    /// Tells the executor of segments that have gone, as [`Executor::flush_released`] of ranges.
    pub(crate) fn flush_unmaps(&mut self) -> Result<(), ExecutorError> {
        while let Some(&(slot, generation, bytes)) = self.unmaps.last() {
            descriptor::encode_unmap(&mut self.outgoing, slot, generation);
            if !self.push_unhurried()? {
                return Ok(());
            }
            self.unmap_unrung = true;
            self.unmaps.pop();
            self.pinned.told(bytes);
        }
        Ok(())
    }

    /// Messages that wait for room in the ring, or ranges for company.
    pub(crate) fn unsent(&self) -> usize {
        let deferred = usize::from(self.deferred.is_some());
        self.released.len().div_ceil(2) + self.unmaps.len() + deferred
    }

    /// Whether ranges that are free again have not been sent: as a rule because they find no room in the ring.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        self.released.len() > 1
    }

    /// Whether it is still to be told of any range that is free again.
    pub(crate) fn has_unsent_ranges(&self) -> bool {
        !self.released.is_empty()
    }

    /// Keeps the request that was written until all ranges that are free again have been sent, since it may need their
    /// memory.
    #[cold]
    pub(super) fn defer(&mut self) {
        self.deferred = Some(Box::new(self.outgoing));
        self.ring_for_memory();
    }

    /// Whether a request waits.
    #[inline]
    pub(crate) fn is_deferred(&self) -> bool {
        self.deferred.is_some()
    }

    /// Sends all that it can about memory. An executor that sleeps is woken for what its ring had no room for, and for a
    /// segment that has gone, whose memory is whoever's once it is unmapped.
    pub(crate) fn settle(&mut self) -> Result<(), ExecutorError> {
        if self.unsent() == 0 && !self.unmap_unrung {
            return Ok(());
        }
        self.flush_all_released()?;
        if self.released.is_empty()
            && let Some(request) = self.deferred.take()
        {
            self.push(&request)?;
            self.ring_for_memory();
        }
        self.flush_unmaps()?;
        if self.unsent() > 0 || self.unmap_unrung || self.unrung >= MESSAGES_PER_BELL {
            self.ring_for_memory();
        }
        Ok(())
    }

    pub(super) fn ring_for_memory(&mut self) {
        (self.unrung, self.unmap_unrung) = (0, false);
        self.started.channel.ring_bell();
    }

    /// Pushes what is in `outgoing` if there is room to spare; false if not. That counts towards the next bell as well: a
    /// sleeper with a full ring is to be woken.
    #[inline]
    fn push_unhurried(&mut self) -> Result<bool, ExecutorError> {
        let pushed = self
            .started
            .channel
            .push_if_room(&self.outgoing)
            .map_err(unpushed)?;
        self.unrung += 1;
        if self.unrung >= MESSAGES_PER_BELL {
            self.ring_for_memory();
        }
        Ok(pushed)
    }

    /// Has the executor told of the segment in which a range lies, with [`Executor::announce`].
    #[inline]
    pub(super) fn tell(&mut self, place: u32, range: &PayloadRef, segments: &mut Segments) {
        if range.is_range() && segments.tell(range.segment, place) {
            self.untold.push(Announced {
                segment: range.segment,
                generation: range.generation,
            });
        }
    }

    /// Makes sure that the executor can map all that the next request names.
    #[inline]
    pub(super) fn announce(&mut self, segments: &Segments) -> Result<(), ExecutorError> {
        if self.untold.is_empty() {
            return Ok(());
        }
        self.announce_untold(segments)
    }

    #[cold]
    fn announce_untold(&mut self, segments: &Segments) -> Result<(), ExecutorError> {
        let untold = std::mem::take(&mut self.untold);
        for untold in untold.chunks(DESCRIPTORS_MAX) {
            let known = untold.iter().filter_map(|announced| {
                let mapping = segments.mapping(announced.segment)?;
                Some((*announced, mapping.fd()))
            });
            let (segments, descriptors): (Vec<_>, Vec<_>) = known.unzip();
            self.started
                .socket
                .send(&Announce { segments }, &descriptors, ANNOUNCE_TIMEOUT)?;
        }
        Ok(())
    }
}
