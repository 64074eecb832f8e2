//! The segments of others that this executor has mapped, by the engine's numbers.
//!
//! The engine announces a segment over the socket before a request names it; the socket is read only when a request
//! names one that is not mapped yet, so that the warm path never enters the kernel.

use crate::binding::{Announce, Announced};
use crate::descriptor::PayloadRef;
use crate::segment::{SegmentError, SegmentReader};
use crate::socket::{Received, Socket, SocketError};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Highest number of segments that the engine's table can have, which bounds ours.
const SEGMENTS_MAX: u32 = 1 << 20;
/// How long an announced segment may take to arrive: it was sent before the request that names it.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a payload cannot be reached.
#[derive(Debug, Error)]
pub(super) enum MappingError {
    #[error("segment {segment}.{generation} was never announced: {source}")]
    NotAnnounced {
        segment: u32,
        generation: u32,
        source: SocketError,
    },
    #[error("segment {segment}.{generation} cannot be mapped: {source}")]
    NotMapped {
        segment: u32,
        generation: u32,
        source: SegmentError,
    },
    #[error("{segments} segments were announced with {descriptors} descriptors")]
    Descriptors { segments: usize, descriptors: usize },
    #[error("segment {segment} was announced, where one below {SEGMENTS_MAX} is expected")]
    Slot { segment: u32 },
    #[error("{} bytes at {} are beyond the end of segment {}.{}", .0.length, .0.offset, .0.segment, .0.generation)]
    Range(PayloadRef),
}

#[derive(Debug)]
struct Mapped {
    generation: u32,
    segment: Arc<SegmentReader>,
}

#[derive(Debug, Default)]
pub(super) struct Mappings {
    by_slot: Vec<Option<Mapped>>,
}

impl Mappings {
    /// The bytes of a payload, if its segment is mapped and has them; of one that lies nowhere, none.
    #[inline]
    pub(super) fn bytes(&self, payload: &PayloadRef) -> Option<&[u8]> {
        if !payload.is_range() {
            return Some(&[]);
        }
        let mapped = self.by_slot.get(payload.segment as usize)?.as_ref()?;
        if mapped.generation != payload.generation {
            return None;
        }
        mapped.segment.read(payload.offset, payload.length)
    }

    /// Makes sure that [`Mappings::bytes`] finds this payload, mapping what has been announced.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        payload: &PayloadRef,
        socket: &Socket,
    ) -> Result<(), MappingError> {
        if self.bytes(payload).is_some() {
            return Ok(());
        }
        self.map(payload, socket)
    }

    #[cold]
    fn map(&mut self, payload: &PayloadRef, socket: &Socket) -> Result<(), MappingError> {
        let (segment, generation) = (payload.segment, payload.generation);
        let deadline = Instant::now() + ANNOUNCE_TIMEOUT;
        while !self.has(segment, generation) {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = socket.receive::<Announce>(left);
            let received = received.map_err(|source| MappingError::NotAnnounced {
                segment,
                generation,
                source,
            })?;
            self.take(received)?;
        }
        self.bytes(payload)
            .map(drop)
            .ok_or(MappingError::Range(*payload))
    }

    /// The segment in which a payload lies, if it is mapped and has it.
    pub(super) fn segment_of(&self, payload: &PayloadRef) -> Option<&Arc<SegmentReader>> {
        self.bytes(payload)?;
        let mapped = self.by_slot.get(payload.segment as usize)?.as_ref()?;
        Some(&mapped.segment)
    }

    /// Takes over what `others` has mapped since; of a slot that both know, theirs is the later one.
    pub(super) fn adopt(&mut self, others: Self) {
        if self.by_slot.len() < others.by_slot.len() {
            self.by_slot.resize_with(others.by_slot.len(), || None);
        }
        for (known, other) in self.by_slot.iter_mut().zip(others.by_slot) {
            if other.is_some() {
                *known = other;
            }
        }
    }

    /// Whether that segment is mapped.
    pub(super) fn has(&self, segment: u32, generation: u32) -> bool {
        let mapped = self.by_slot.get(segment as usize).and_then(Option::as_ref);
        mapped.is_some_and(|mapped| mapped.generation == generation)
    }

    fn take(&mut self, received: Received<Announce>) -> Result<(), MappingError> {
        let Received {
            message: Announce { segments },
            descriptors,
        } = received;
        if segments.len() != descriptors.len() {
            return Err(MappingError::Descriptors {
                segments: segments.len(),
                descriptors: descriptors.len(),
            });
        }
        let mut announced = segments.into_iter().zip(descriptors);
        announced.try_for_each(|(announced, descriptor)| self.open(announced, descriptor))
    }

    fn open(&mut self, announced: Announced, descriptor: OwnedFd) -> Result<(), MappingError> {
        let Announced {
            segment,
            generation,
        } = announced;
        if segment >= SEGMENTS_MAX {
            return Err(MappingError::Slot { segment });
        }
        let reader = SegmentReader::open_for_consumer(descriptor);
        let reader = reader.map_err(|source| MappingError::NotMapped {
            segment,
            generation,
            source,
        })?;
        let slot = segment as usize;
        if slot >= self.by_slot.len() {
            self.by_slot.resize_with(slot + 1, || None);
        }
        // What lived in the slot before was unmapped by the engine's word, or is of no use any more.
        self.by_slot[slot] = Some(Mapped {
            generation,
            segment: Arc::new(reader),
        });
        Ok(())
    }

    /// Lets go of a segment that will not be named again.
    pub(super) fn unmap(
        &mut self,
        segment: u32,
        generation: u32,
        socket: &Socket,
    ) -> Result<(), MappingError> {
        // One that no request ever named still lies in the socket, where it would hold its memory.
        while !self.has(segment, generation) {
            match socket.try_receive::<Announce>() {
                Ok(Some(received)) => self.take(received)?,
                Ok(None) => return Ok(()),
                Err(source) => {
                    return Err(MappingError::NotAnnounced {
                        segment,
                        generation,
                        source,
                    });
                }
            }
        }
        self.by_slot[segment as usize] = None;
        Ok(())
    }
}
