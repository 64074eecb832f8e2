//! Frames: what travels over TCP between workers, clients and the master. docs/protocol.md describes it for people.
//!
//! ```text
//! 0        4         6      8        12         16               16 + length, padded to a multiple of 16
//! | "FaaS" | version | kind | length | checksum | body ..........|
//! ```
//!
//! All numbers are little-endian. The checksum is CRC-32 (IEEE) over the header's first twelve bytes and the body.
//! A body is an rkyv archive, validated before use, but for [`FrameKind::Chunk`] and [`FrameKind::BareChunk`]: a [`ChunkHead`] and raw bytes. The
//! padding keeps every body of a stream on a 16-byte boundary, as archives need; it is zero and not counted in
//! `length`. This file does no I/O: connections live in `lane::link`, `worker::control` and `client`.
#![allow(
    missing_docs,
    reason = "rkyv derives fields of its own for enum variants, which nobody can document"
)]

mod bodies;
mod credit;
mod measuring;
mod profile;

pub use bodies::*;
pub use credit::*;
pub use measuring::*;
pub use profile::*;

use faasstore::descriptor::InvocationId;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as ArchiveError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};
use thiserror::Error;

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"FaaS";
/// Version of frames and bodies. A mismatch is refused by name.
pub const PROTOCOL_VERSION: u16 = 2;
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 16;
/// Bodies begin and end, with their padding, on multiples of this.
pub const FRAME_ALIGN: usize = 16;
/// Longest body of a connection that is still to prove who it is.
pub const GREETING_BYTES_MAX: usize = 1 << 10;
/// Longest body between parties that have greeted each other, plans included.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Longest raw part of a chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Items of a list payload on the wire lie one behind the other, each padded to a multiple of this.
pub const ITEM_ALIGN: u64 = 16;

/// The length of an item of a list that is not there: it was skipped. It takes no bytes.
pub const ITEM_ABSENT: u64 = u64::MAX;

/// What an item of this length takes on the wire, its padding included; `None` beyond what can be counted.
#[must_use]
pub fn padded_item(length: u64) -> Option<u64> {
    match length {
        ITEM_ABSENT => Some(0),
        length => length.checked_next_multiple_of(ITEM_ALIGN),
    }
}

/// What a frame's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
#[expect(missing_docs, reason = "each is the body type of the same name")]
pub enum FrameKind {
    Challenge = 1,
    Hello = 2,
    Welcome = 3,
    Refused = 4,
    Control = 16,
    ControlReply = 17,
    Invoke = 32,
    Answer = 33,
    Cancel = 34,
    Begin = 48,
    StateEvent = 49,
    PartDone = 50,
    PartFailed = 51,
    Forget = 52,
    Drained = 53,
    Heartbeat = 54,
    Grant = 55,
    Chunk = 64,
    BareChunk = 65,
    Probe = 80,
    Echo = 81,
}

impl FrameKind {
    const fn from_u16(kind: u16) -> Option<Self> {
        Some(match kind {
            1 => Self::Challenge,
            2 => Self::Hello,
            3 => Self::Welcome,
            4 => Self::Refused,
            16 => Self::Control,
            17 => Self::ControlReply,
            32 => Self::Invoke,
            33 => Self::Answer,
            34 => Self::Cancel,
            48 => Self::Begin,
            49 => Self::StateEvent,
            50 => Self::PartDone,
            51 => Self::PartFailed,
            52 => Self::Forget,
            53 => Self::Drained,
            54 => Self::Heartbeat,
            55 => Self::Grant,
            64 => Self::Chunk,
            65 => Self::BareChunk,
            80 => Self::Probe,
            81 => Self::Echo,
            _ => return None,
        })
    }

    /// Whether it is part of a payload.
    #[must_use]
    pub const fn is_chunk(self) -> bool {
        matches!(self, Self::Chunk | Self::BareChunk)
    }
}

/// What is wrong with bytes that should be a frame.
#[derive(Debug, Error)]
pub enum WireError {
    /// Not ours at all.
    #[error("not a FaaSFlow frame (it begins with {0:02x?})")]
    Magic([u8; 4]),
    /// Another version.
    #[error(
        "protocol version {theirs}, while this program speaks {PROTOCOL_VERSION}: use programs of one release"
    )]
    Version {
        /// As read.
        theirs: u16,
    },
    /// An unknown kind.
    #[error("a frame of unknown kind {0}")]
    Kind(u16),
    /// A kind that has no place here.
    #[error("a {0:?} frame where none may come")]
    Unexpected(FrameKind),
    /// Longer than allowed.
    #[error("a {kind:?} frame of {length} bytes, above the limit of {limit}")]
    Length {
        /// Which.
        kind: FrameKind,
        /// As read.
        length: usize,
        /// What was allowed.
        limit: usize,
    },
    /// Damaged.
    #[error("a {kind:?} frame whose checksum is {theirs:08x} but should be {ours:08x}")]
    Checksum {
        /// Which.
        kind: FrameKind,
        /// As read.
        theirs: u32,
        /// As computed.
        ours: u32,
    },
    /// Not a valid archive.
    #[error("a {kind:?} frame whose body is not valid: {reason}")]
    Body {
        /// Which.
        kind: FrameKind,
        /// From rkyv.
        reason: String,
    },
}

/// A frame's header, checked but for the checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the body is.
    pub kind: FrameKind,
    /// Bytes of the body, without padding.
    pub length: usize,
    checksum: u32,
    checked: [u8; 12],
}

impl Header {
    /// Reads a header. `limit` is the longest body that this connection may send.
    pub fn parse(bytes: &[u8; HEADER_BYTES], limit: usize) -> Result<Self, WireError> {
        let [
            m0,
            m1,
            m2,
            m3,
            v0,
            v1,
            k0,
            k1,
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
        ] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(WireError::Magic([m0, m1, m2, m3]));
        }
        let theirs = u16::from_le_bytes([v0, v1]);
        if theirs != PROTOCOL_VERSION {
            return Err(WireError::Version { theirs });
        }
        let number = u16::from_le_bytes([k0, k1]);
        let kind = FrameKind::from_u16(number).ok_or(WireError::Kind(number))?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let limit = if kind.is_chunk() {
            CHUNK_BYTES_MAX + CHUNK_HEAD_BYTES
        } else {
            limit
        };
        if length > limit {
            return Err(WireError::Length {
                kind,
                length,
                limit,
            });
        }
        let mut checked = [0; 12];
        checked.copy_from_slice(&bytes[..12]);
        Ok(Self {
            kind,
            length,
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
            checked,
        })
    }

    /// Bytes of the body with its padding.
    #[must_use]
    pub const fn padded_length(&self) -> usize {
        self.length.next_multiple_of(FRAME_ALIGN)
    }

    /// A checksum that has seen the header; feed it the body and give it to [`Header::verify`].
    #[must_use]
    pub fn hasher(&self) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.checked);
        hasher
    }

    /// Compares the checksum that the frame carries with that of what arrived.
    pub fn verify(&self, hasher: crc32fast::Hasher) -> Result<(), WireError> {
        let ours = hasher.finalize();
        if ours == self.checksum {
            return Ok(());
        }
        Err(WireError::Checksum {
            kind: self.kind,
            theirs: self.checksum,
            ours,
        })
    }

    /// Verifies the whole body at once.
    pub fn verify_body(&self, body: &[u8]) -> Result<(), WireError> {
        let mut hasher = self.hasher();
        hasher.update(body);
        self.verify(hasher)
    }
}

fn header_bytes(kind: FrameKind, length: usize, body: &[&[u8]]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&(kind as u16).to_le_bytes());
    header[8..12].copy_from_slice(&(length as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    for part in body {
        hasher.update(part);
    }
    header[12..].copy_from_slice(&hasher.finalize().to_le_bytes());
    header
}

/// A type that travels as the body of one kind of frame.
pub trait Frame: Archive {
    /// Its kind.
    const KIND: FrameKind;
}

/// Appends `body` as a frame to `out`, whose length must be a multiple of [`FRAME_ALIGN`], and stays one.
pub fn encode<T>(body: &T, out: &mut Vec<u8>)
where
    T: Frame + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, ArchiveError>>,
{
    let bytes = match rkyv::to_bytes::<ArchiveError>(body) {
        Ok(bytes) => bytes,
        // Serializing into memory fails only for want of memory or for 2 GiB of archive; callers stay far below.
        Err(error) => panic!("{:?} could not be archived: {error}", T::KIND),
    };
    out.extend_from_slice(&header_bytes(T::KIND, bytes.len(), &[&bytes]));
    out.extend_from_slice(&bytes);
    out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
}

/// Reads a body whose checksum was verified. It is copied if it is not aligned.
pub fn decode<T>(body: &[u8]) -> Result<T, WireError>
where
    T: Frame,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, ArchiveError>>
        + Deserialize<T, HighDeserializer<ArchiveError>>,
{
    let invalid = |error: ArchiveError| WireError::Body {
        kind: T::KIND,
        reason: error.to_string(),
    };
    if (body.as_ptr() as usize).is_multiple_of(FRAME_ALIGN) {
        return rkyv::from_bytes::<T, ArchiveError>(body).map_err(invalid);
    }
    let mut aligned = AlignedVec::<FRAME_ALIGN>::with_capacity(body.len());
    aligned.extend_from_slice(body);
    rkyv::from_bytes::<T, ArchiveError>(&aligned).map_err(invalid)
}

/// What precedes the raw bytes of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkHead {
    /// The transfer that a [`Data::Streamed`] on the same connection announced.
    pub transfer: u64,
    /// Place of the chunk's first byte; chunks of a transfer come in order, without gaps.
    pub offset: u64,
}

/// Bytes of a [`ChunkHead`].
pub const CHUNK_HEAD_BYTES: usize = 16;

impl ChunkHead {
    /// As it stands before the raw bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; CHUNK_HEAD_BYTES] {
        let mut bytes = [0; CHUNK_HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.transfer.to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// From the first bytes of a chunk's body.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CHUNK_HEAD_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        Self {
            transfer: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            offset: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// Header and head of a chunk; the raw bytes and [`padding`] follow.
    #[must_use]
    pub fn frame_start(self, raw: &[u8]) -> [u8; HEADER_BYTES + CHUNK_HEAD_BYTES] {
        self.frame_start_of(&[raw])
    }

    /// [`ChunkHead::frame_start`] of raw bytes that lie in several places, in order.
    #[must_use]
    pub fn frame_start_of(self, raw: &[&[u8]]) -> [u8; HEADER_BYTES + CHUNK_HEAD_BYTES] {
        let head = self.to_bytes();
        let length = raw.iter().map(|part| part.len()).sum::<usize>();
        let covered: Vec<&[u8]> = std::iter::once(&head[..])
            .chain(raw.iter().copied())
            .collect();
        self.start(FrameKind::Chunk, length, &covered)
    }

    /// Header and head of a [`FrameKind::BareChunk`] of so many raw bytes, which its checksum does not cover.
    #[must_use]
    pub fn bare_frame_start(self, length: usize) -> [u8; HEADER_BYTES + CHUNK_HEAD_BYTES] {
        self.start(FrameKind::BareChunk, length, &[&self.to_bytes()])
    }

    fn start(
        self,
        kind: FrameKind,
        length: usize,
        covered: &[&[u8]],
    ) -> [u8; HEADER_BYTES + CHUNK_HEAD_BYTES] {
        debug_assert!(length <= CHUNK_BYTES_MAX);
        let header = header_bytes(kind, CHUNK_HEAD_BYTES + length, covered);
        let mut start = [0; HEADER_BYTES + CHUNK_HEAD_BYTES];
        start[..HEADER_BYTES].copy_from_slice(&header);
        start[HEADER_BYTES..].copy_from_slice(&self.to_bytes());
        start
    }
}

/// The zero bytes that follow a body of this length.
#[must_use]
pub const fn padding(length: usize) -> usize {
    length.next_multiple_of(FRAME_ALIGN) - length
}

macro_rules! frames {
    ($($body:ident),* $(,)?) => { $(impl Frame for $body { const KIND: FrameKind = FrameKind::$body; })* };
}
frames!(
    Challenge,
    Hello,
    Welcome,
    Refused,
    Control,
    ControlReply,
    Invoke,
    Answer,
    Cancel,
    Begin,
    StateEvent,
    PartDone,
    PartFailed,
    Forget,
    Drained,
    Heartbeat,
    Grant,
    Probe,
    Echo,
);

/// The id as messages carry it.
#[must_use]
pub const fn invocation_id(invocation: u128) -> InvocationId {
    InvocationId(invocation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DeploymentId;
    use faasstore::Cancelled;

    fn frame_of<T>(body: &T) -> Vec<u8>
    where
        T: Frame + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, ArchiveError>>,
    {
        let mut out = Vec::new();
        encode(body, &mut out);
        out
    }

    fn header_of(frame: &[u8]) -> Header {
        Header::parse(frame[..HEADER_BYTES].try_into().unwrap(), BODY_BYTES_MAX).unwrap()
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let event = StateEvent {
            invocation: 77 << 64,
            deployment: DeploymentId(5),
            node: 3,
            outcome: Outcome::Well,
            outputs: vec![(
                0,
                Body {
                    items: Some(vec![1, 2]),
                    section: None,
                    schema: 9,
                    data: Data::Inline(vec![1, 2, 3]),
                },
            )],
            load: Some(Load {
                active: 3,
                executors: 2,
                begun_next: u64::MAX,
            }),
        };
        let frame = frame_of(&event);
        assert_eq!(frame.len() % FRAME_ALIGN, 0);
        let header = header_of(&frame);
        assert_eq!(header.kind, FrameKind::StateEvent);
        assert_eq!(HEADER_BYTES + header.padded_length(), frame.len());
        let body = &frame[HEADER_BYTES..][..header.length];
        header.verify_body(body).unwrap();
        assert_eq!(decode::<StateEvent>(body).unwrap(), event);
    }

    #[test]
    fn a_cancel_and_its_answer_are_read_as_they_were_written() {
        let frame = frame_of(&Cancel { request: u64::MAX });
        let header = header_of(&frame);
        assert_eq!(header.kind, FrameKind::Cancel);
        let body = &frame[HEADER_BYTES..][..header.length];
        header.verify_body(body).unwrap();
        assert_eq!(decode::<Cancel>(body).unwrap().request, u64::MAX);
        // A body that is cut short is no cancel of something else.
        for length in 0..body.len() {
            assert!(decode::<Cancel>(&body[..length]).is_err(), "{length} bytes");
        }
        let answer = Answer {
            request: 7,
            invocation: 0,
            latency_ns: 0,
            result: Err(Failure::Cancelled),
            report: Vec::new(),
            trace: Vec::new(),
        };
        let frame = frame_of(&answer);
        let header = header_of(&frame);
        let body = &frame[HEADER_BYTES..][..header.length];
        assert_eq!(decode::<Answer>(body).unwrap(), answer);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let frame = frame_of(&Forget {
            invocation: 9,
            why: Cancelled::ByClient,
        });
        for bit in 0..(HEADER_BYTES + 16) * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let caught =
                match Header::parse(bad[..HEADER_BYTES].try_into().unwrap(), BODY_BYTES_MAX) {
                    Err(_) => true,
                    Ok(header) => {
                        HEADER_BYTES + header.length > bad.len()
                            || header
                                .verify_body(&bad[HEADER_BYTES..][..header.length])
                                .is_err()
                    }
                };
            assert!(caught, "bit {bit}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_memory_is_set_aside() {
        let mut frame = frame_of(&Forget {
            invocation: 9,
            why: Cancelled::ByClient,
        });
        frame[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = Header::parse(
            frame[..HEADER_BYTES].try_into().unwrap(),
            GREETING_BYTES_MAX,
        )
        .unwrap_err();
        assert!(
            matches!(
                error,
                WireError::Length {
                    limit: GREETING_BYTES_MAX,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_chunk_carries_its_place_and_its_bytes() {
        let head = ChunkHead {
            transfer: 7,
            offset: 1 << 40,
        };
        let start = head.frame_start(b"raw");
        let header = Header::parse(
            start[..HEADER_BYTES].try_into().unwrap(),
            GREETING_BYTES_MAX,
        )
        .unwrap();
        assert_eq!(header.length, CHUNK_HEAD_BYTES + 3);
        let mut hasher = header.hasher();
        hasher.update(&start[HEADER_BYTES..]);
        hasher.update(b"raw");
        header.verify(hasher).unwrap();
        assert_eq!(
            ChunkHead::from_bytes(start[HEADER_BYTES..].try_into().unwrap()),
            head
        );
        assert_eq!(padding(header.length), 13);
    }
}
