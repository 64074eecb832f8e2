//! Memory that is handed to the kernel: what a lane receives into and sends from.
//!
//! It owns the types that a driver keeps until an operation's completion, so that no safe code can free or change
//! memory that the kernel reads or writes. It promises that a [`Piece`] lies within its segment. Moving the bytes is
//! left to the drivers.

use faasstore::segment::{SegmentReader, SegmentWriter};
use rkyv::util::AlignedVec;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Private memory that begins on a 16-byte boundary, as archives need.
pub type AlignedBuffer = AlignedVec<16>;

/// A segment that payloads are sent from.
#[derive(Clone)]
pub enum PieceSegment {
    /// One that this process writes.
    Own(Arc<SegmentWriter>),
    /// One that another process writes.
    Foreign(Arc<SegmentReader>),
}

impl PieceSegment {
    fn read(&self, offset: u64, length: u64) -> Option<&[u8]> {
        match self {
            Self::Own(segment) => segment.read(offset, length),
            Self::Foreign(segment) => segment.read(offset, length),
        }
    }
}

/// A range of a segment, which it keeps mapped. The range is complete (no one writes it any more), and whoever made
/// the piece holds a lease of it until it is sent.
#[derive(Clone)]
pub struct Piece {
    segment: PieceSegment,
    offset: u64,
    length: u64,
}

impl Piece {
    /// `length` bytes of `segment` from `offset` on; nothing if they do not lie within it.
    #[must_use]
    pub fn new(segment: PieceSegment, offset: u64, length: u64) -> Option<Self> {
        segment.read(offset, length)?;
        Some(Self {
            segment,
            offset,
            length,
        })
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // A segment never shrinks, so the range that was in it when the piece was made still is.
        self.segment
            .read(self.offset, self.length)
            .unwrap_or_default()
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The part of it that `range` names, counted from its first byte; nothing if that is not within it.
    #[must_use]
    pub fn part(&self, range: Range<u64>) -> Option<Self> {
        let length = range.end.checked_sub(range.start)?;
        let within = range.end <= self.length;
        within.then(|| Self {
            segment: self.segment.clone(),
            offset: self.offset + range.start,
            length,
        })
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes at {})", self.length, self.offset)
    }
}

/// Where received bytes go.
pub enum ReceiveBuffer {
    /// Into this range of private memory; one that is empty or leaves the buffer is an error of the receive.
    Owned(AlignedBuffer, Range<usize>),
    /// Straight into shared memory that this process writes. Completes when all of `length` has come, the peer has
    /// closed, or an error: as far as it came.
    Segment {
        /// Whose. The caller keeps the range reserved until the completion.
        segment: Arc<SegmentWriter>,
        /// First byte.
        offset: u64,
        /// Bytes; none, or more than the segment has, is an error of the receive.
        length: u64,
    },
}

impl fmt::Debug for ReceiveBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(_, range) => write!(f, "Owned({range:?})"),
            Self::Segment { offset, length, .. } => {
                write!(f, "Segment({length} bytes at {offset})")
            }
        }
    }
}

/// Bytes to send: private ones, with pieces of segments let in between them. All of it is sent in order, the pieces
/// from where they lie.
#[derive(Default, Debug)]
pub struct SendBuffer {
    bytes: Vec<u8>,
    inserts: Vec<Insert>,
    pieces_bytes: u64,
}

/// A piece that is sent before `bytes[at..]`.
#[derive(Debug)]
struct Insert {
    at: usize,
    piece: Piece,
}

impl SendBuffer {
    /// Bytes alone.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            inserts: Vec::new(),
            pieces_bytes: 0,
        }
    }

    /// Appends private bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Empties it, and exchanges its private bytes' memory for `bytes`, which are sent first. `bytes` is left empty.
    pub fn begin_with(&mut self, bytes: &mut Vec<u8>) {
        self.clear();
        std::mem::swap(&mut self.bytes, bytes);
    }

    /// Appends a piece: it is sent after the bytes that are there now and before those that are appended later.
    pub fn push(&mut self, piece: Piece) {
        self.pieces_bytes += piece.length();
        self.inserts.push(Insert {
            at: self.bytes.len(),
            piece,
        });
    }

    /// Bytes in all.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.bytes.len() as u64 + self.pieces_bytes
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length() == 0
    }

    /// Bytes of private memory that it has, used or not.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether all of it is private bytes.
    pub(super) const fn is_plain(&self) -> bool {
        self.inserts.is_empty()
    }

    /// Empties it and keeps its memory, for use again.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.inserts.clear();
        self.pieces_bytes = 0;
    }

    /// What is to be sent, in order, without the first `skip` bytes; no span is empty.
    pub(in crate::lane) fn spans(&self, skip: u64) -> impl Iterator<Item = &[u8]> {
        let ends = self
            .inserts
            .iter()
            .map(|insert| (insert.at, insert.piece.bytes()));
        let ends = ends.chain(std::iter::once((self.bytes.len(), &[][..])));
        let mut from = 0;
        let spans = ends.flat_map(move |(at, piece)| {
            let bytes = self.bytes.get(from..at).unwrap_or_default();
            from = at;
            [bytes, piece]
        });
        let mut skip = skip;
        spans.filter_map(move |span| {
            let skipped = skip.min(span.len() as u64);
            skip -= skipped;
            let rest = &span[skipped as usize..];
            (!rest.is_empty()).then_some(rest)
        })
    }
}
