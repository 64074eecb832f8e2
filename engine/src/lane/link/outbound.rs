//! Frames and payloads to be sent.
//!
//! It owns the queue of frames and the payloads under way. It promises that a payload's chunks follow the message that
//! announced it, that frames go before chunks, and on a connection of their own to a peer, that payloads take
//! [`turns`](super::turns) and keep to what is [granted](super::credit), and that every token comes back once. The
//! payloads stay where they are: what is sent from a segment is only named here, short pieces apart.

use super::credit::Credit;
use super::turns::Turns;
use super::{LinkCounters, LinkError, LinkLimits, LinkRole, Stream};
use crate::lane::driver::{Piece, SendBuffer};
use crate::wire::{
    self, CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, ChunkHead, Data, Frame, FrameKind, Grant, HEADER_BYTES,
};
use rkyv::Serialize;
use rkyv::api::high::HighSerializer;
use rkyv::rancor::Error as ArchiveError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use std::ops::Range;
use thiserror::Error;

/// Raw bytes of a chunk to a peer: what a lane does in one go, at either end, while messages may wait. Half of it would cost a tenth
/// of the throughput.
pub(super) const BULK_CHUNK_BYTES: usize = 128 << 10;
/// The same of a payload that is alone on its link, when no message was queued there for [`QUIET_BYTES`] of payloads: it has the
/// throughput of a bare stream then. A hop over the same link would take twice as long; whoever else the lane serves waits for one. (Chunks
/// that grow from the first one on were tried: 1 MiB went in 0.9 of the time, and hops beside a stream had three times the p99. Large
/// ones behind messages that bring large payloads, too: 1 MiB went in 0.9 of the time, and its p99 was a third more.)
pub(super) const BULK_CHUNK_BYTES_MAX: usize = 512 << 10;
pub(super) const QUIET_BYTES: u64 = 1 << 20;
/// Pieces up to this many bytes are copied, since naming one to the kernel costs as much.
const COPIED_BYTES_MAX: u64 = 4 << 10;
/// A buffer that has grown beyond this is not kept for use again.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// A body that can be archived.
pub trait Message:
    Frame + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, ArchiveError>>
{
}
impl<T: Frame + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, ArchiveError>>>
    Message for T
{
}

/// How the pieces of a payload lie on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// One behind the other.
    Bytes,
    /// Each is an item, padded to [`wire::ITEM_ALIGN`].
    Items,
}

/// Why nothing was queued.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{refusal}")]
pub struct QueueError {
    /// Why.
    pub refusal: QueueRefusal,
    /// Tokens of the payloads that are not sent because of it.
    pub tokens: Vec<u64>,
}

/// What the queue refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum QueueRefusal {
    /// The other side does not take things as fast as they come. Whoever asks [`Link::has_room`](super::Link::has_room) first
    /// does not meet this.
    #[error("{queued} bytes wait to be sent, and above {limit} no more are taken")]
    Full {
        /// What waits.
        queued: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The other side would refuse it.
    #[error("a {kind:?} message of {bytes} bytes, above the limit of {limit}: stream its payloads")]
    Long {
        /// Which.
        kind: FrameKind,
        /// Of its body.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The other side would refuse one more.
    #[error("{limit} payloads are under way already")]
    Transfers {
        /// What is allowed.
        limit: usize,
    },
}

/// What there must be room for, to send one more message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// Payloads that are streamed.
    pub payloads: usize,
    /// Whether an invocation begins: there is twice as much room then.
    pub begins: bool,
}

/// A payload under way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) id: u64,
    /// Whose turn it takes.
    pub(super) owner: u64,
    token: u64,
    layout: Layout,
    pieces: Vec<Piece>,
    bytes: u64,
    sent: u64,
    // The piece to go on with, and how far it is sent, its padding included.
    piece: usize,
    piece_sent: u64,
    charge: usize,
}

/// A stretch of a chunk: bytes of `Outbound::copied`, or of a segment.
#[derive(Debug)]
enum Stretch {
    Copied(Range<usize>),
    Piece(Piece),
}

#[derive(Debug)]
pub(super) struct Outbound {
    limits: LinkLimits,
    /// Whether chunks have a connection of their own.
    split: bool,
    /// Bytes of payloads that were sent since the last message was queued.
    quiet_bytes: u64,
    frames: Vec<u8>,
    turns: Turns,
    credit: Credit,
    unannounced: Vec<Transfer>,
    next_transfer: u64,
    // Bytes that transfers keep.
    charged: usize,
    spare: Option<SendBuffer>,
    spare_bulk: Option<SendBuffer>,
    finished: Vec<u64>,
    // For building one chunk.
    copied: Vec<u8>,
    stretches: Vec<Stretch>,
}

impl Outbound {
    pub(super) fn new(role: LinkRole, limits: LinkLimits) -> Self {
        let split = role == LinkRole::PeerOut;
        Self {
            limits,
            split,
            quiet_bytes: 0,
            frames: Vec::new(),
            turns: Turns::default(),
            credit: Credit::new(split),
            unannounced: Vec::new(),
            next_transfer: 0,
            charged: 0,
            spare: Some(SendBuffer::default()),
            spare_bulk: Some(SendBuffer::default()),
            finished: Vec::new(),
            copied: Vec::new(),
            stretches: Vec::new(),
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.frames.len() + self.charged
    }

    /// Payloads under way: what is sent and not granted still is, for the other side.
    fn open(&self) -> usize {
        self.turns.len() + self.unannounced.len() + self.credit.held_there()
    }

    /// Whether one more message is taken. With nothing under way it is, whatever is streamed.
    pub(super) fn has_room(&self, streamed: Streamed) -> bool {
        let Streamed { payloads, begins } = streamed;
        let open = self.open();
        let more = self.limits.transfers_max.saturating_sub(open);
        self.takes(self.charged, payloads > 0, begins) && (payloads <= more || open == 0)
    }

    /// Whether one more message is taken where payloads under way take so much. Without any it goes with the frames.
    const fn takes(&self, charged: usize, payloads: bool, begins: bool) -> bool {
        let limit = self.limits.queued_bytes_max;
        // A beginning can wait only for so long.
        let charged = if begins { charged / 2 } else { charged };
        self.frames.len() < limit && (!payloads || charged < limit)
    }

    pub(super) fn queue<T: Message>(&mut self, message: &T) -> Result<(), QueueError> {
        let announced = self.unannounced.iter().map(|transfer| transfer.charge);
        let charged = self.charged - announced.sum::<usize>();
        let begins = T::KIND == FrameKind::Begin;
        let takes = self.takes(charged, !self.unannounced.is_empty(), begins);
        let (start, queued) = (self.frames.len(), self.frames.len() + charged);
        wire::encode(message, &mut self.frames);
        let bytes = self.frames.len() - start;
        let (body, limit) = (bytes - HEADER_BYTES, self.limits.body_bytes_max);
        // A message with payloads stays at the other side until the last of them has come: it counts until then.
        let charge = if self.unannounced.is_empty() {
            0
        } else {
            bytes
        };
        let refusal = if body > limit {
            Some(QueueRefusal::Long {
                kind: T::KIND,
                bytes: body,
                limit,
            })
        } else {
            let limit = self.limits.queued_bytes_max;
            (!takes).then_some(QueueRefusal::Full { queued, limit })
        };
        if let Some(refusal) = refusal {
            self.frames.truncate(start);
            let tokens = self.withdraw();
            return Err(QueueError { refusal, tokens });
        }
        self.quiet_bytes = 0;
        if let Some(last) = self.unannounced.last_mut() {
            last.charge += charge;
            self.charged += charge;
        }
        for transfer in self.unannounced.drain(..) {
            self.credit.ask(transfer.id, transfer.bytes);
            put(transfer, &mut self.turns, &self.credit);
        }
        Ok(())
    }

    /// Forgets the payloads that no message has announced; their tokens.
    pub(super) fn withdraw(&mut self) -> Vec<u64> {
        let withdrawn = self.unannounced.drain(..);
        let token = |transfer: Transfer| {
            self.charged -= transfer.charge;
            transfer.token
        };
        withdrawn.map(token).collect()
    }

    pub(super) fn stream(
        &mut self,
        pieces: Vec<Piece>,
        layout: Layout,
        token: u64,
        owner: u64,
    ) -> Result<Data, QueueError> {
        let limit = self.limits.transfers_max;
        if self.open() >= limit {
            return Err(QueueError {
                refusal: QueueRefusal::Transfers { limit },
                tokens: vec![token],
            });
        }
        let id = self.next_transfer;
        let transfer = self.transfer(id, pieces, layout, token, owner);
        self.next_transfer += 1;
        let bytes = transfer.bytes;
        self.unannounced.push(transfer);
        Ok(Data::Streamed {
            transfer: id,
            bytes,
        })
    }

    pub(super) fn reserve_transfer(&mut self) -> u64 {
        self.next_transfer += 1;
        self.next_transfer - 1
    }

    /// Streams what a message that was queued has announced under this number. The other side has asked for all of it.
    pub(super) fn stream_announced(
        &mut self,
        id: u64,
        pieces: Vec<Piece>,
        layout: Layout,
        token: u64,
        owner: u64,
    ) {
        let transfer = self.transfer(id, pieces, layout, token, owner);
        self.turns.put(transfer);
    }

    /// A payload to be sent. What is kept of it is counted from now on.
    fn transfer(
        &mut self,
        id: u64,
        pieces: Vec<Piece>,
        layout: Layout,
        token: u64,
        owner: u64,
    ) -> Transfer {
        let charge = size_of::<Transfer>() + size_of::<Piece>() * pieces.len();
        let bytes = pieces
            .iter()
            .map(|piece| layout.padded(piece.length()))
            .sum();
        self.charged += charge;
        Transfer {
            id,
            owner,
            token,
            layout,
            pieces,
            bytes,
            sent: 0,
            piece: 0,
            piece_sent: 0,
            charge,
        }
    }

    /// Takes what the other side has granted.
    pub(super) fn grant(&mut self, grant: &Grant) -> Result<(), LinkError> {
        let turns = &mut self.turns;
        self.charged -= self.credit.grant(grant, |transfer| turns.allow(transfer))?;
        Ok(())
    }

    /// Whether frames can be sent.
    pub(super) const fn is_free(&self) -> bool {
        self.spare.is_some()
    }

    /// Whether payloads wait for a grant, or what is held back may, and how many grants have come.
    pub(super) fn waits_for_grants(&self, held: bool) -> Option<u64> {
        let waits = self.turns.has_aside() || (held && self.credit.held_there() > 0);
        waits.then(|| self.credit.grants())
    }

    pub(super) fn next_send(
        &mut self,
        stream: Stream,
        counters: &mut LinkCounters,
    ) -> Option<SendBuffer> {
        let chunk = (self.split == (stream == Stream::Bulk)) && self.turns.has_next();
        let mut buffer = match stream {
            Stream::Messages if chunk || !self.frames.is_empty() => {
                let mut buffer = self.spare.take()?;
                buffer.begin_with(&mut self.frames);
                buffer
            }
            Stream::Bulk if chunk => self.spare_bulk.take()?,
            Stream::Messages | Stream::Bulk => return None,
        };
        if chunk && let Some(transfer) = self.turns.next() {
            self.go_on(transfer, &mut buffer, counters);
        }
        counters.bytes_sent += buffer.length();
        Some(buffer)
    }

    /// A payload has its turn.
    fn go_on(
        &mut self,
        mut transfer: Transfer,
        buffer: &mut SendBuffer,
        counters: &mut LinkCounters,
    ) {
        if transfer.bytes > 0 {
            self.append_chunk(&mut transfer, buffer);
            counters.chunks_sent += 1;
        }
        if transfer.sent == transfer.bytes {
            self.charged -= self.credit.sent(transfer.id, transfer.charge);
            self.finished.push(transfer.token);
        } else {
            put(transfer, &mut self.turns, &self.credit);
        }
    }

    /// Appends the next chunk of a transfer. The checksum stands first, so the chunk is gathered before it is appended.
    fn append_chunk(&mut self, transfer: &mut Transfer, buffer: &mut SendBuffer) {
        self.copied.clear();
        self.stretches.clear();
        let head = ChunkHead {
            transfer: transfer.id,
            offset: transfer.sent,
        };
        let most = match self.split {
            true if self.quiet_bytes >= QUIET_BYTES && !self.turns.has_next() => {
                BULK_CHUNK_BYTES_MAX
            }
            true => BULK_CHUNK_BYTES,
            false => CHUNK_BYTES_MAX,
        };
        let room = (self.credit.allowed(transfer.id) - transfer.sent).min(most as u64);
        let length = transfer.gather(room, &mut self.copied, &mut self.stretches);
        self.quiet_bytes += length as u64;
        let start = if self.split && !self.limits.payload_checksums {
            head.bare_frame_start(length)
        } else {
            let stretches = self.stretches.iter();
            let raw: Vec<&[u8]> = stretches
                .map(|stretch| stretch.bytes(&self.copied))
                .collect();
            head.frame_start_of(&raw)
        };
        buffer.extend(&start);
        for stretch in self.stretches.drain(..) {
            match stretch {
                Stretch::Copied(range) => buffer.extend(&self.copied[range]),
                Stretch::Piece(piece) => buffer.push(piece),
            }
        }
        buffer.extend(&[0; wire::FRAME_ALIGN][..wire::padding(CHUNK_HEAD_BYTES + length)]);
    }

    pub(super) fn sent(&mut self, stream: Stream, mut buffer: SendBuffer, flushed: &mut Vec<u64>) {
        let spare = match stream {
            Stream::Messages => &mut self.spare,
            Stream::Bulk => &mut self.spare_bulk,
        };
        debug_assert!(spare.is_none(), "one send at a time on a connection");
        buffer.clear();
        *spare = Some(if buffer.capacity() > SPARE_BYTES_MAX {
            SendBuffer::default()
        } else {
            buffer
        });
        // Chunks go by one connection alone.
        if self.split == (stream == Stream::Bulk) {
            flushed.append(&mut self.finished);
        }
    }

    pub(super) fn close(self, flushed: &mut Vec<u64>) {
        flushed.extend(self.finished);
        let open = self.turns.into_transfers().chain(self.unannounced);
        flushed.extend(open.map(|transfer| transfer.token));
    }
}

/// Gives a payload its place among those that take turns, or aside of them.
fn put(transfer: Transfer, turns: &mut Turns, credit: &Credit) {
    if transfer.bytes == 0 || transfer.sent < credit.allowed(transfer.id) {
        turns.put(transfer);
    } else {
        turns.put_aside(transfer);
    }
}

impl Stretch {
    fn bytes<'a>(&'a self, copied: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Copied(range) => &copied[range.clone()],
            Self::Piece(piece) => piece.bytes(),
        }
    }
}

impl Layout {
    const fn padded(self, bytes: u64) -> u64 {
        match self {
            Self::Bytes => bytes,
            Self::Items => bytes.next_multiple_of(wire::ITEM_ALIGN),
        }
    }
}

impl Transfer {
    /// Gathers the next chunk, of `most` bytes at most, and goes on behind it. Returns its bytes, at least one while any are
    /// left and may be sent.
    fn gather(&mut self, most: u64, copied: &mut Vec<u8>, stretches: &mut Vec<Stretch>) -> usize {
        let mut room = most;
        while room > 0
            && let Some(piece) = self.pieces.get(self.piece)
        {
            let (length, padded) = (piece.length(), self.layout.padded(piece.length()));
            let from = self.piece_sent;
            if from < length {
                let to = length.min(from + room);
                if let Some(part) = piece.part(from..to) {
                    push_stretch(part, copied, stretches);
                }
                self.piece_sent = to;
                room -= to - from;
            } else {
                let to = padded.min(from + room);
                push_copied(
                    &[0; wire::ITEM_ALIGN as usize][..(to - from) as usize],
                    copied,
                    stretches,
                );
                self.piece_sent = to;
                room -= to - from;
            }
            if self.piece_sent == padded {
                self.piece += 1;
                self.piece_sent = 0;
            }
        }
        let gathered = most - room;
        self.sent += gathered;
        gathered as usize
    }
}

fn push_stretch(part: Piece, copied: &mut Vec<u8>, stretches: &mut Vec<Stretch>) {
    if part.length() <= COPIED_BYTES_MAX {
        push_copied(part.bytes(), copied, stretches);
    } else {
        stretches.push(Stretch::Piece(part));
    }
}

fn push_copied(bytes: &[u8], copied: &mut Vec<u8>, stretches: &mut Vec<Stretch>) {
    let start = copied.len();
    copied.extend_from_slice(bytes);
    match stretches.last_mut() {
        Some(Stretch::Copied(range)) if range.end == start => range.end = copied.len(),
        _ if bytes.is_empty() => {}
        _ => stretches.push(Stretch::Copied(start..copied.len())),
    }
}
