//! Cutting a stream of bytes into frames.
//!
//! It owns the assembly buffer and where in a frame the stream stands. It promises that the buffer grows only for a
//! frame whose header was checked, and no faster than its bytes arrive; that every body begins on a 16-byte boundary,
//! so that archives are read in place; and that the raw bytes of chunks go to where their payload lies, the bulk of
//! them straight from the socket. On the connection for payloads it takes no more than a chunk's head before it knows where
//! the rest goes; and a chunk whose message is still on its way, on the other connection, stays in the socket until then. Which
//! chunks may come, and where they go, [`super::landing`] says.

use super::landing::Landings;
use super::message::Inbound;
use super::outbound::{BULK_CHUNK_BYTES, BULK_CHUNK_BYTES_MAX, Outbound};
use super::shortage::Room;
use super::{Admission, LinkCounters, LinkError, LinkRole, Loans, Stream};
use crate::lane::driver::{AlignedBuffer, ReceiveBuffer};
use crate::wire::{CHUNK_HEAD_BYTES, ChunkHead, FRAME_ALIGN, FrameKind, HEADER_BYTES, Header};
use std::fmt;

/// Bytes of the buffer, but for longer messages.
const ASSEMBLY_BYTES: usize = 64 << 10;
/// A rest of a chunk below this is copied through the buffer, where the next frame may come along with it: a copy of so
/// little costs less than a system call of its own.
const DIRECT_BYTES_MIN: u64 = 16 << 10;

/// Where in a frame the stream stands.
enum State {
    /// Before a header.
    Header,
    /// In the body of a message.
    Body(Header),
    /// Before the head of a chunk.
    ChunkHead(Header),
    /// In the raw bytes of a chunk.
    Chunk(Chunk),
    /// In the padding, with so many bytes to come.
    Padding(usize),
}

struct Chunk {
    header: Header,
    /// None if its bytes are not covered by its checksum.
    hasher: Option<crc32fast::Hasher>,
    transfer: u64,
    left: u64,
}

impl Chunk {
    fn hash(&mut self, raw: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(raw);
        }
    }

    /// Takes raw bytes from what has come, as far as it goes; returns how many.
    fn take(
        &mut self,
        available: &[u8],
        landings: &mut Landings,
        counters: &mut LinkCounters,
    ) -> usize {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let raw = &available[..left.min(available.len())];
        self.hash(raw);
        landings.copy(self.transfer, raw, counters);
        self.left -= raw.len() as u64;
        raw.len()
    }
}

/// Where what arrives goes, and who says whether it may.
pub(super) struct Intake<'a, 'b> {
    pub(super) room: &'a mut Room<'b>,
    /// For what the other side grants.
    pub(super) outbound: &'a mut Outbound,
    pub(super) admission: &'a dyn Admission,
    pub(super) loans: &'a mut dyn Loans,
    pub(super) out: &'a mut Vec<Inbound>,
}

pub(super) struct Assembly {
    role: LinkRole,
    stream: Stream,
    body_bytes_max: usize,
    // Away while a receive into it is outstanding.
    buffer: Option<AlignedBuffer>,
    // What has come and was not used yet.
    start: usize,
    end: usize,
    state: State,
    /// Whether the next chunk is to wait for its message.
    waits: bool,
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly")
            .field("role", &self.role)
            .field("bytes", &(self.end - self.start))
            .finish()
    }
}

impl Assembly {
    pub(super) fn new(role: LinkRole, stream: Stream, body_bytes_max: usize) -> Self {
        let buffer = Some(AlignedBuffer::new());
        Self {
            role,
            stream,
            body_bytes_max,
            buffer,
            start: 0,
            end: 0,
            state: State::Header,
            waits: false,
        }
    }

    /// Whether nothing is to be received, since the next chunk waits for its message.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    const fn available(&self) -> usize {
        self.end - self.start
    }

    pub(super) const fn is_within_a_frame(&self) -> bool {
        self.available() > 0 || !matches!(self.state, State::Header)
    }

    pub(super) fn next_receive(&mut self, landings: &mut Landings) -> ReceiveBuffer {
        if let State::Chunk(chunk) = &self.state
            && chunk.left >= DIRECT_BYTES_MIN
            && self.available() == 0
            && let Some(place) = landings.lend(chunk.transfer)
        {
            return ReceiveBuffer::Segment {
                segment: place.segment,
                offset: place.offset,
                length: chunk.left.min(match self.stream {
                    // The other side makes chunks small while messages pass.
                    Stream::Bulk => BULK_CHUNK_BYTES_MAX,
                    Stream::Messages => BULK_CHUNK_BYTES,
                } as u64),
            };
        }
        let needed = match &self.state {
            // The buffer follows what has come, so that an announced length alone takes no memory.
            State::Body(header) => header
                .padded_length()
                .min(2 * self.available())
                .max(ASSEMBLY_BYTES),
            _ => ASSEMBLY_BYTES,
        };
        let start = self.start_aligned();
        let available = self.available();
        let Some(mut buffer) = self.buffer.take() else {
            panic!("one receive at a time on a link")
        };
        if available == 0 {
            self.start = start;
            if buffer.len() > 2 * ASSEMBLY_BYTES {
                buffer = AlignedBuffer::new(); // a long message is over
            }
        } else if self.start > 0 && self.start + needed > buffer.len() {
            buffer.copy_within(self.start..self.end, 0);
            self.start = 0;
        }
        self.end = self.start + available;
        // Room for what is needed, and for a byte at least.
        let length = (self.start + needed)
            .max(self.end + 1)
            .next_multiple_of(FRAME_ALIGN);
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let length = match self.head_bytes() {
            Some(head) => self.start + head,
            None => buffer.len(),
        };
        ReceiveBuffer::Owned(buffer, self.end..length)
    }

    /// On a connection for payloads, before a chunk: what is to come until it is known where the rest goes.
    fn head_bytes(&self) -> Option<usize> {
        let padding = match &self.state {
            _ if self.stream == Stream::Messages => return None,
            State::Body(_) | State::Chunk(_) => return None,
            State::ChunkHead(_) => return Some(CHUNK_HEAD_BYTES),
            State::Header => 0,
            State::Padding(left) => *left,
        };
        Some(padding + HEADER_BYTES + CHUNK_HEAD_BYTES)
    }

    /// Where an empty buffer is to be filled from, so that the next frame begins on a boundary.
    const fn start_aligned(&self) -> usize {
        let ahead = match &self.state {
            State::Header | State::Body(_) | State::ChunkHead(_) => 0,
            State::Chunk(chunk) => {
                (chunk.left % FRAME_ALIGN as u64) as usize + chunk.header.padded_length()
                    - chunk.header.length
            }
            State::Padding(left) => *left,
        };
        (FRAME_ALIGN - ahead % FRAME_ALIGN) % FRAME_ALIGN
    }

    pub(super) fn received(
        &mut self,
        bytes: usize,
        buffer: ReceiveBuffer,
        landings: &mut Landings,
        counters: &mut LinkCounters,
        intake: &mut Intake<'_, '_>,
    ) -> Result<(), LinkError> {
        match buffer {
            ReceiveBuffer::Owned(buffer, range) => {
                debug_assert!(
                    range.start == self.end && bytes <= range.len(),
                    "as `next_receive` gave it"
                );
                self.buffer = Some(buffer);
                self.end += bytes;
            }
            ReceiveBuffer::Segment {
                segment, offset, ..
            } => {
                counters.bytes_received_direct += bytes as u64;
                if let State::Chunk(chunk) = &mut self.state {
                    debug_assert!(bytes as u64 <= chunk.left, "as `next_receive` gave it");
                    chunk.hash(segment.read(offset, bytes as u64).unwrap_or_default());
                    chunk.left -= bytes as u64;
                    landings.direct(chunk.transfer, bytes as u64, intake.room.arena, counters);
                }
            }
        }
        if bytes == 0 {
            return Err(self.ended(landings));
        }
        self.go_on(landings, counters, intake)
    }

    /// Goes on with what has come.
    pub(super) fn go_on(
        &mut self,
        landings: &mut Landings,
        counters: &mut LinkCounters,
        intake: &mut Intake<'_, '_>,
    ) -> Result<(), LinkError> {
        while self.step(landings, counters, intake)? {}
        Ok(())
    }

    fn ended(&self, landings: &Landings) -> LinkError {
        let before = match &self.state {
            State::Header => 0,
            State::Body(_) | State::ChunkHead(_) => HEADER_BYTES as u64,
            State::Chunk(chunk) => (HEADER_BYTES + chunk.header.length) as u64 - chunk.left,
            State::Padding(_) => 0,
        };
        let padding = matches!(self.state, State::Padding(_));
        let frame_bytes = before + self.available() as u64;
        let transfers = landings.transfers();
        if frame_bytes == 0 && transfers == 0 && !padding {
            return LinkError::Ended;
        }
        LinkError::Truncated {
            frame_bytes,
            transfers,
        }
    }

    /// Goes one state on, if what is needed for that has come.
    fn step(
        &mut self,
        landings: &mut Landings,
        counters: &mut LinkCounters,
        intake: &mut Intake<'_, '_>,
    ) -> Result<bool, LinkError> {
        let Some(buffer) = &self.buffer else {
            return Ok(false);
        };
        let available = &buffer[self.start..self.end];
        let used = match &mut self.state {
            State::Header => {
                let Some(bytes) = available.first_chunk::<HEADER_BYTES>() else {
                    return Ok(false);
                };
                debug_assert!(
                    self.start.is_multiple_of(FRAME_ALIGN),
                    "archives are read in place"
                );
                let header = Header::parse(bytes, self.body_bytes_max)?;
                self.state = after_header(header, self.role, self.stream)?;
                HEADER_BYTES
            }
            State::Body(header) => {
                let Some(padded) = available.get(..header.padded_length()) else {
                    return Ok(false);
                };
                let body = &padded[..header.length];
                header.verify_body(body)?;
                landings.message(header.kind, body, intake, counters)?;
                let used = padded.len();
                self.state = State::Header;
                used
            }
            State::ChunkHead(header) => {
                let Some(bytes) = available.first_chunk::<CHUNK_HEAD_BYTES>() else {
                    return Ok(false);
                };
                let head = ChunkHead::from_bytes(bytes);
                let mut hasher = header.hasher();
                hasher.update(bytes);
                let hasher = if header.kind == FrameKind::BareChunk {
                    header.verify(hasher)?;
                    None
                } else {
                    Some(hasher)
                };
                let left = (header.length - CHUNK_HEAD_BYTES) as u64;
                self.waits = !landings.begin_chunk(head, left, self.stream)?;
                if self.waits {
                    return Ok(false);
                }
                landings.make_place(head, left, counters, intake);
                self.state = State::Chunk(Chunk {
                    header: *header,
                    hasher,
                    transfer: head.transfer,
                    left,
                });
                CHUNK_HEAD_BYTES
            }
            State::Chunk(chunk) => {
                let used = chunk.take(available, landings, counters);
                if chunk.left > 0 {
                    self.start += used;
                    return Ok(false);
                }
                counters.chunks_received += 1;
                if let Some(hasher) = chunk.hasher.take() {
                    chunk.header.verify(hasher)?;
                }
                landings.end_chunk(chunk.transfer, intake.room.arena, counters, intake.out);
                self.state = State::Padding(chunk.header.padded_length() - chunk.header.length);
                used
            }
            State::Padding(left) => {
                let used = (*left).min(available.len());
                *left -= used;
                if *left > 0 {
                    self.start += used;
                    return Ok(false);
                }
                self.state = State::Header;
                used
            }
        };
        self.start += used;
        Ok(true)
    }
}

fn after_header(header: Header, role: LinkRole, stream: Stream) -> Result<State, LinkError> {
    if !role.may_send(header.kind, stream) {
        return Err(LinkError::Unexpected {
            kind: header.kind,
            role,
        });
    }
    if !header.kind.is_chunk() {
        return Ok(State::Body(header));
    }
    if header.length <= CHUNK_HEAD_BYTES {
        return Err(LinkError::ChunkShort {
            length: header.length,
        });
    }
    Ok(State::ChunkHead(header))
}
