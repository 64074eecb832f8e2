//! One connection of a lane, with a peer or a client, after the greeting: frames and payloads, without input or output.
//!
//! It owns the bytes on their way: what has arrived and is no message yet, and what is to be sent. It promises:
//!
//! - A message is handed on when all of its payloads lie in the lane's arena, and not before. Large ones are received
//!   straight into it. One that has no place there is drained, and the message comes with a [`LandingError`] in its
//!   place, so that its invocation fails by name.
//! - Nothing that arrives is believed: kinds, lengths, checksums, archives, lists and the order of chunks are checked
//!   before memory is set aside or a payload named, and what is wrong ends the link with a [`LinkError`]. What a link
//!   holds of a peer's doing is bounded by its [`LinkLimits`].
//! - A [`Begin`](wire::Begin) comes before anything else of its invocation, and if its payloads are still under way,
//!   [`Inbound::BeginComing`] before that. Otherwise a message comes as soon as it is
//!   complete: small ones overtake large ones that are still under way. A [`Forget`](wire::Forget) discards what is
//!   under way of its invocation, and a [`Cancel`](wire::Cancel) an [`Invoke`](wire::Invoke) whose inputs are.
//! - Frames are sent in the order in which they were queued. To a client they go before chunks, and never wait for more than one
//!   of them. To a peer chunks go by a connection of their own, so that frames wait for none, neither here nor in
//!   the kernel. Workflows, and the payloads of each, take turns chunk by chunk.
//! - A peer sends no more of a payload than was [granted](wire::Grant), or may come unasked; and grants no more than was announced. A payload
//!   for which there is no memory [waits](Shortage) for it in its workflow's order, and holds up no other workflow and no message.
//!
//! It leaves sockets to [`super::driver`], and what messages mean to the lane. `inbound` cuts the stream into frames,
//! `arrival` finds places for payloads, `landing` fills them and keeps each [`message`](Inbound) until it is complete,
//! `outbound` sends; `credit` and `allowance` are both ends of what is granted.

mod allowance;
mod arrival;
mod credit;
mod inbound;
mod landing;
mod late;
mod message;
mod outbound;
mod shortage;
#[cfg(test)]
mod tests;
mod turns;

pub use message::{Inbound, Landed, Landing, LandingError};
pub use outbound::{Layout, Message, QueueError, QueueRefusal, Streamed};
pub use shortage::{MEMORY_WAIT, Room, Shortage};

use super::driver::{Piece, ReceiveBuffer, SendBuffer};
use crate::core::{InputForm, Origin, Refusal};
use crate::plan::{DeploymentId, Limits, NodeId};
use crate::wire::{self, BODY_BYTES_MAX, FrameKind, GRANT_BYTES_MIN, LentRange, WireError};
use faasstore::arena::Compartment;
use faasstore::descriptor::PayloadRef;
use inbound::{Assembly, Intake};
use landing::Landings;
use outbound::Outbound;
use thiserror::Error;

/// Which connection of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// The one for messages; a client's only one.
    Messages,
    /// The one for chunks, of a link to a peer.
    Bulk,
}

/// Who is at the other end, and so what it may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkRole {
    /// A client: it sends [`wire::Invoke`] and [`wire::Cancel`], and gets [`wire::Answer`].
    Client,
    /// A lane of a peer that connected here, to send to this lane; it gets nothing but [`wire::Grant`].
    PeerIn,
    /// A lane of a peer that this lane connected to, to send to it; it sends nothing but [`wire::Grant`].
    PeerOut,
}

impl LinkRole {
    const fn may_send(self, kind: FrameKind, stream: Stream) -> bool {
        use FrameKind::{
            BareChunk, Begin, Cancel, Chunk, Drained, Forget, Grant, Heartbeat, Invoke, PartDone,
            PartFailed, StateEvent,
        };
        match self {
            Self::PeerIn if matches!(stream, Stream::Bulk) => matches!(kind, Chunk | BareChunk),
            Self::Client => matches!(kind, Invoke | Cancel | Chunk),
            Self::PeerIn => {
                matches!(
                    kind,
                    Begin | StateEvent | PartDone | PartFailed | Forget | Drained | Heartbeat
                )
            }
            Self::PeerOut => matches!((kind, stream), (Grant, Stream::Messages)),
        }
    }
}

/// Whom a link asks of a message, as soon as it is read and before memory is set aside for its payloads.
pub trait Admission {
    /// On which terms payloads of that workflow are taken, if the door would open for a client with these inputs.
    ///
    /// # Errors
    /// Why it would not, for the client.
    fn invoke(&self, workflow: &str, inputs: &[(&str, InputForm)]) -> Result<Admitted, Refusal>;

    /// On which terms payloads for nodes of that deployment are taken; none if the lane does not have it.
    fn deployed(&self, deployment: DeploymentId) -> Option<Admitted>;

    /// On which terms outputs of an invocation that the lane has taken are; none if it does not wait for them.
    fn taken(&self, invocation: u128, deployment: DeploymentId) -> Option<Admitted>;

    /// Whether a list from there may be handed on before all of it has come.
    fn is_taken_early(&self, _deployment: DeploymentId, _node: NodeId, _output: u16) -> bool {
        false
    }

    /// Whether what comes from there may be of the schema that has this hash, which is not 0.
    ///
    /// # Errors
    /// Who takes it for something else, and what to do.
    fn schema(&self, origin: Origin<'_>, schema: u64) -> Result<(), String>;
}

/// Whom a link asks for what a peer on the same host lends. Ranges are as the peer names them.
pub trait Loans {
    /// Whether all of these are lent, for payloads of that deployment.
    ///
    /// # Errors
    /// Which is not: the peer breaks a rule.
    fn check(&mut self, deployment: DeploymentId, ranges: &[LentRange]) -> Result<(), String>;

    /// Where they lie in the lane's table, each counted as leased; none if one of them cannot be had here. They have been
    /// checked.
    fn borrow(&mut self, ranges: &[LentRange]) -> Option<Vec<PayloadRef>>;

    /// Gives back what nobody has borrowed: it is not wanted.
    fn give_back(&mut self, ranges: &[LentRange]);

    /// Has the peer stream them under that number, since they cannot be had.
    fn ask_to_stream(&mut self, transfer: u64, layout: Layout, ranges: &[LentRange]);
}

/// On which terms payloads are taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// How large they may be.
    pub limits: Limits,
    /// Where they are to lie.
    pub compartment: Compartment,
}

/// What one link may take and hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkLimits {
    /// Bytes of a message's archive, in both directions.
    pub body_bytes_max: usize,
    /// Bytes of one payload that arrives.
    pub payload_bytes_max: u64,
    /// Items of one list that arrives.
    pub items_max: u32,
    /// Payloads under way at once, in each direction. Both ends need the same figure: a sender that keeps to its own
    /// never exceeds its receiver's.
    pub transfers_max: usize,
    /// Bytes of messages that wait for their payloads.
    pub waiting_bytes_max: usize,
    /// Bytes to be sent, above which no more messages are taken: of frames, and apart from these, for messages with payloads,
    /// what is kept of the payloads under way (not the payloads: they stay where they are), of which a [`wire::Begin`] may find twice
    /// as much.
    pub queued_bytes_max: usize,
    /// Whether what is sent to a peer has checksums over the bytes of payloads too. Without, TCP's own are all that covers these.
    pub payload_checksums: bool,
}

impl Default for LinkLimits {
    fn default() -> Self {
        let plan = Limits::default();
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            payload_bytes_max: plan.payload_bytes_max,
            items_max: plan.items_max,
            transfers_max: 1 << 16,
            waiting_bytes_max: 4 * BODY_BYTES_MAX,
            queued_bytes_max: BODY_BYTES_MAX,
            payload_checksums: false,
        }
    }
}

/// Why a link ended. The connection is to be closed; nothing that follows on it can be made sense of.
#[derive(Debug, Error)]
pub enum LinkError {
    /// In good order, between two frames and with nothing under way.
    #[error("the other side closed the connection")]
    Ended,
    /// In the middle of something.
    #[error(
        "the other side closed the connection with {frame_bytes} bytes of a frame and {transfers} payloads under way"
    )]
    Truncated {
        /// Bytes of the last frame that had come.
        frame_bytes: u64,
        /// Payloads of which something was missing.
        transfers: usize,
    },
    /// A frame is wrong.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A frame has no place on such a link.
    #[error("a {kind:?} frame, which {role:?} may not send")]
    Unexpected {
        /// Which.
        kind: FrameKind,
        /// From whom.
        role: LinkRole,
    },
    /// The items of a list are not what its bytes hold.
    #[error(
        "a {kind:?} frame with a list of {count} items that take {items_bytes} bytes, in {bytes} bytes of data"
    )]
    Items {
        /// In which message.
        kind: FrameKind,
        /// How many items.
        count: usize,
        /// With their padding; `u64::MAX` stands for that and above.
        items_bytes: u64,
        /// What the data has.
        bytes: u64,
    },
    /// Items that do not lie in the list that they are said to be of.
    #[error(
        "a {kind:?} frame with {count} items from item {first} on, of a list of {whole} items or of what is no list"
    )]
    Section {
        /// In which message.
        kind: FrameKind,
        /// How many items.
        count: usize,
        /// The first one's place.
        first: u32,
        /// Items of the list.
        whole: u32,
    },
    /// What is said to be lent is not.
    #[error("a {kind:?} frame with a payload that is not lent as it says: {reason}")]
    Lent {
        /// In which message.
        kind: FrameKind,
        /// What is wrong.
        reason: String,
    },
    /// A payload is announced under a number that is taken.
    #[error("a {kind:?} frame that announces transfer {transfer}, which is still under way")]
    TransferTaken {
        /// In which message.
        kind: FrameKind,
        /// Which.
        transfer: u64,
    },
    /// More is under way than this side allows.
    #[error("more than {limit} payloads under way: the other side must keep to the same limit")]
    Transfers {
        /// What is allowed.
        limit: usize,
    },
    /// Messages that wait for their payloads take too much.
    #[error(
        "messages of more than {limit} bytes wait for their payloads: the other side must send payloads sooner"
    )]
    Waiting {
        /// What is allowed.
        limit: usize,
    },
    /// A chunk of a payload that nobody announced, or that is complete.
    #[error("a chunk of transfer {transfer}, which was not announced or is complete")]
    TransferUnknown {
        /// As read.
        transfer: u64,
    },
    /// A chunk with no raw bytes, or without a whole head.
    #[error("a chunk frame with a body of {length} bytes, too short for a head and data")]
    ChunkShort {
        /// As read.
        length: usize,
    },
    /// A chunk out of order, or beyond the end.
    #[error(
        "a chunk of transfer {transfer} with {length} bytes at {offset}, where {received} of {bytes} bytes have come"
    )]
    ChunkPlace {
        /// Which.
        transfer: u64,
        /// As read.
        offset: u64,
        /// As read.
        length: u64,
        /// What had come.
        received: u64,
        /// What was announced.
        bytes: u64,
    },
    /// A chunk of which not all may come yet.
    #[error(
        "a chunk of transfer {transfer} up to byte {up_to}, where {allowed} may come and {unasked} bytes came unasked on the \
         link: the other side must wait until more is granted"
    )]
    Credit {
        /// Which.
        transfer: u64,
        /// Up to which byte it would have come.
        up_to: u64,
        /// Up to which it may.
        allowed: u64,
        /// What would have come unasked of all payloads of the link.
        unasked: u64,
    },
    /// A grant of nothing.
    #[error("a grant that names no payload")]
    GrantEmpty,
    /// A grant of what was not announced, or is granted.
    #[error("a grant for transfer {transfer}, which was not announced or has been granted")]
    GrantUnknown {
        /// As read.
        transfer: u64,
    },
    /// A grant that goes too far, or adds next to nothing.
    #[error(
        "a grant for transfer {transfer} up to byte {up_to}, where {allowed} of {bytes} bytes may be sent already: it must add \
         {GRANT_BYTES_MIN} bytes, or all that are left"
    )]
    GrantPlace {
        /// Which.
        transfer: u64,
        /// As read.
        up_to: u64,
        /// What may be sent already.
        allowed: u64,
        /// What was announced.
        bytes: u64,
    },
}

/// What a link has done so far. Nothing vanishes uncounted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LinkCounters {
    /// Bytes that came, of all kinds.
    pub bytes_received: u64,
    /// Messages that came.
    pub messages_received: u64,
    /// Chunks that came.
    pub chunks_received: u64,
    /// Payloads that came in chunks, and are whole.
    pub transfers_received: u64,
    /// Messages that were handed on before their payloads had come.
    pub messages_early: u64,
    /// Of `bytes_received`, those that went straight into shared memory.
    pub bytes_received_direct: u64,
    /// Payloads that had no place, and were drained.
    pub landings_refused: u64,
    /// Messages that were discarded because their invocation is over, or was cancelled before it was whole.
    pub messages_discarded: u64,
    /// Bytes of payloads that were thrown away.
    pub bytes_drained: u64,
    /// Messages queued.
    pub messages_queued: u64,
    /// Messages and payloads that the queue had no room for.
    pub queue_refusals: u64,
    /// Chunks sent.
    pub chunks_sent: u64,
    /// Bytes sent, of all kinds.
    pub bytes_sent: u64,
}

/// A client's connection, or both of a link with a peer.
///
/// The lane moves bytes, for each [`Stream`]: whenever no receive is outstanding there and [`Link::may_receive`], it hands
/// [`Link::next_receive`] to its driver, and what the driver returns to [`Link::received`]; whenever no send is outstanding,
/// [`Link::next_send`] and [`Link::sent`].
#[derive(Debug)]
pub struct Link {
    messages: Assembly,
    bulk: Assembly,
    landings: Landings,
    outbound: Outbound,
    counters: LinkCounters,
}

impl Link {
    /// A link on which nothing was said yet.
    #[must_use]
    pub fn new(role: LinkRole, limits: LinkLimits) -> Self {
        Self {
            messages: Assembly::new(role, Stream::Messages, limits.body_bytes_max),
            bulk: Assembly::new(role, Stream::Bulk, limits.body_bytes_max),
            landings: Landings::new(role, limits),
            outbound: Outbound::new(role, limits),
            counters: LinkCounters::default(),
        }
    }

    /// Whether anything is to be received there: not while the next chunk waits for its message, which comes by the other
    /// connection.
    #[must_use]
    pub const fn may_receive(&self, stream: Stream) -> bool {
        match stream {
            Stream::Messages => true,
            Stream::Bulk => !self.bulk.waits(),
        }
    }

    /// Where the next bytes shall go. Until they have been given to [`Link::received`], the link has no buffer.
    ///
    /// # Panics
    /// If a receive is outstanding there.
    #[must_use = "the link's buffer is in it"]
    pub fn next_receive(&mut self, stream: Stream) -> ReceiveBuffer {
        let assembly = match stream {
            Stream::Messages => &mut self.messages,
            Stream::Bulk => &mut self.bulk,
        };
        assembly.next_receive(&mut self.landings)
    }

    /// Takes `bytes` bytes that were received into `buffer`, as [`Link::next_receive`] gave it; 0 means that the other
    /// side has closed. Appends the messages that are complete now to `out`; their payloads are ranges of the arena in `room`, the
    /// same in every call, or of what `loans` has, and the caller's to release. Which payloads are taken in, `admission` says.
    ///
    /// # Errors
    /// Why the link ended: close its connections, then [`Link::close`] it. What is in `out` counts all the same.
    pub fn received(
        &mut self,
        (stream, bytes): (Stream, usize),
        buffer: ReceiveBuffer,
        room: &mut Room<'_>,
        admission: &dyn Admission,
        loans: &mut dyn Loans,
        out: &mut Vec<Inbound>,
    ) -> Result<(), LinkError> {
        self.counters.bytes_received += bytes as u64;
        let mut intake = Intake {
            room,
            outbound: &mut self.outbound,
            admission,
            loans,
            out,
        };
        let (landings, counters) = (&mut self.landings, &mut self.counters);
        match stream {
            Stream::Messages => {
                self.messages
                    .received(bytes, buffer, landings, counters, &mut intake)?;
                if self.bulk.waits() {
                    self.bulk.go_on(landings, counters, &mut intake)?;
                }
                Ok(())
            }
            Stream::Bulk => self
                .bulk
                .received(bytes, buffer, landings, counters, &mut intake),
        }
    }

    /// Memory has come back: looks for some for payloads that wait and whose turn it is. Appends the messages that are complete
    /// now. True if there was some for any.
    pub fn relieve(&mut self, room: &mut Room<'_>, out: &mut Vec<Inbound>) -> bool {
        self.landings.relieve(room, &mut self.counters, out)
    }

    /// So much time has passed: payloads that have waited for memory for [`MEMORY_WAIT`] find none, and nor do those that are
    /// for a compartment that is `closed`. Appends the messages that are complete now.
    pub fn give_up(
        &mut self,
        passed_ns: u64,
        closed: Option<Compartment>,
        room: &mut Room<'_>,
        out: &mut Vec<Inbound>,
    ) {
        self.landings
            .give_up(passed_ns, closed, room, &mut self.counters, out);
    }

    /// Discards what is under way of an invocation that is over: its ranges go back to the arena, and what still comes
    /// is drained.
    pub fn abort(&mut self, invocation: u128, room: &mut Room<'_>) {
        self.landings.abort(invocation, room, &mut self.counters);
    }

    /// Appends what peers have lent of messages that were discarded since the last call: nobody reads it, and it is the caller's to
    /// release.
    pub fn take_unread(&mut self, unread: &mut Vec<PayloadRef>) {
        self.landings.take_unread(unread);
    }

    /// Whether [`Link::queue`] takes one more message, with what is [streamed](Link::stream) of it.
    #[must_use]
    pub fn has_room(&self, streamed: Streamed) -> bool {
        self.outbound.has_room(streamed)
    }

    /// Queues a message, behind those that are queued and ahead of all chunks. It announces the payloads that were
    /// given to [`Link::stream`] since the last message: they follow it.
    ///
    /// # Errors
    /// The queue is full, or the message too long. Nothing is sent then, neither it nor the payloads that it
    /// announces, whose tokens are in the error.
    pub fn queue<T: Message>(&mut self, message: &T) -> Result<(), QueueError> {
        let result = self.outbound.queue(message);
        match &result {
            Ok(()) => self.counters.messages_queued += 1,
            Err(_) => self.counters.queue_refusals += 1,
        }
        result
    }

    /// Takes a payload that the next message announces, by the [`wire::Data`] that this returns, and streams it behind
    /// that message from where it lies, when it is its turn among the payloads of `owner`, and its owner's among others. Empty
    /// pieces may be left out. The caller keeps leases of all pieces until [`Link::sent`], [`Link::close`] or an error of
    /// [`Link::queue`] yields `token`.
    ///
    /// # Errors
    /// Too many are under way. The token is in the error.
    pub fn stream(
        &mut self,
        pieces: Vec<Piece>,
        layout: Layout,
        token: u64,
        owner: u64,
    ) -> Result<wire::Data, QueueError> {
        let result = self.outbound.stream(pieces, layout, token, owner);
        if result.is_err() {
            self.counters.queue_refusals += 1;
        }
        result
    }

    /// Takes back the payloads that were given to [`Link::stream`] since the last message: none is to announce them. Their tokens.
    #[must_use = "who keeps leases of them is not told otherwise"]
    pub fn withdraw(&mut self) -> Vec<u64> {
        self.outbound.withdraw()
    }

    /// A number for a payload that the next message says is lent, should it have to be streamed after all.
    pub fn reserve_transfer(&mut self) -> u64 {
        self.outbound.reserve_transfer()
    }

    /// Streams a payload that was lent under this number, as [`Link::stream`] does what is announced. Nothing of it waits for a
    /// grant, since the other side has asked for it, and it is under way however much else is.
    pub fn stream_lent(
        &mut self,
        transfer: u64,
        pieces: Vec<Piece>,
        layout: Layout,
        token: u64,
        owner: u64,
    ) {
        self.outbound
            .stream_announced(transfer, pieces, layout, token, owner);
    }

    /// What is to be sent next there, if there is something and no send is outstanding: all queued frames; or one chunk; to a
    /// client both.
    ///
    /// # Panics
    /// If the link's limits do not let it queue a grant, some kilobytes, with nothing else queued.
    pub fn next_send(&mut self, stream: Stream) -> Option<SendBuffer> {
        // Only now, so that all that was granted while a send was outstanding is told at once.
        if stream == Stream::Messages
            && self.outbound.is_free()
            && let Some(grant) = self.landings.allowance.tell()
        {
            let queued = self.queue(&grant);
            assert!(
                queued.is_ok(),
                "a grant fits into an empty queue: {queued:?}"
            );
        }
        self.outbound.next_send(stream, &mut self.counters)
    }

    /// Takes back what [`Link::next_send`] gave, once it was sent. Appends the tokens of the payloads of which
    /// nothing is left to send to `flushed`.
    pub fn sent(&mut self, stream: Stream, buffer: SendBuffer, flushed: &mut Vec<u64>) {
        self.outbound.sent(stream, buffer, flushed);
    }

    /// Bytes that wait to be sent, and what is kept of the payloads under way.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outbound.queued_bytes()
    }

    /// Whether the other side has begun something, a frame or a payload, of which more is to come.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.landings.is_due() || self.messages.is_within_a_frame() || self.bulk.is_within_a_frame()
    }

    /// Whether payloads that have come, or are to come, wait for memory.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.landings.is_short()
    }

    /// Whether the other side is to be told of grants.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.landings.allowance.has_news()
    }

    /// Has the other side be told of all grants, few as they are.
    pub fn hurry_grants(&mut self) {
        self.landings.allowance.hurry();
    }

    /// If payloads, or messages that are `held` back, wait until the other side grants more: how many grants have come so far.
    #[must_use]
    pub fn waits_for_grants(&self, held: bool) -> Option<u64> {
        self.outbound.waits_for_grants(held)
    }

    /// What it has done.
    #[must_use]
    pub const fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// Ends the link, after the driver has reported its connections closed (only then does nobody write to ranges that
    /// are set aside here): gives everything back to the arena, and appends all tokens that are left to `flushed`, to
    /// `unread` what [`Link::take_unread`] would, and to `out` the end of what is taken in but has not come whole.
    pub fn close(
        mut self,
        room: &mut Room<'_>,
        flushed: &mut Vec<u64>,
        unread: &mut Vec<PayloadRef>,
        out: &mut Vec<Inbound>,
    ) -> LinkCounters {
        self.landings.close(room, &mut self.counters, out);
        self.landings.take_unread(unread);
        self.outbound.close(flushed);
        self.counters
    }
}
