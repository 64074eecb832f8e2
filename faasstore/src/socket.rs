//! The executor's Unix socket: messages of [`crate::binding`] with the descriptors that they name.
//!
//! This file owns the datagram. It promises that a message arrives whole, of the kind that was expected and with the
//! descriptors that were sent, or that the receiver gets an error that names what is wrong; that nothing is set aside
//! for more than [`MESSAGE_BYTES_MAX`]; and that descriptors close on exec. The order of messages is left to
//! [`crate::serve`] and the engine.
//!
//! ```text
//! 0      2         4      8                16                16 + length
//! | kind | version | form | length of body | body (rkyv) ....|     form 0: the body follows
//!                                                                  form 1: the body begins a segment, which is the
//!                                                                  last descriptor
//! ```
//!
//! The version is that of the ABI. It is checked before the body, since an archive of another version may not even
//! be readable.
//!
//! A datagram is limited by the kernel's send buffer, commonly 208 KiB, which only root may raise: a body of more than
//! [`DATAGRAM_BYTES_MAX`] therefore travels in a sealed segment.

use crate::binding::{ABI_VERSION, Announce, Hello, Welcome};
use crate::segment::{SegmentError, SegmentReader, SegmentWriter};
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as ArchiveError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Longest body of a message.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest body inside a datagram.
pub const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Descriptors that one message may carry: one less than the kernel passes on with one datagram.
pub const DESCRIPTORS_MAX: usize = 252;

const HEAD_BYTES: usize = 16;
const VERSION: u16 = ABI_VERSION as u16;
const _: () = assert!(
    ABI_VERSION <= u16::MAX as u32,
    "the head has 16 bits for the version"
);
const FORM_INLINE: u32 = 0;
const FORM_SEGMENT: u32 = 1;
/// The segment of a long body travels beside the message's own descriptors.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX + 1));

/// What may travel over the socket.
pub trait SocketMessage:
    Archive<
        Archived: for<'a> CheckBytes<HighValidator<'a, ArchiveError>>
                      + Deserialize<Self, HighDeserializer<ArchiveError>>,
    > + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, ArchiveError>>
    + Sized
{
    /// Tells it from the others.
    const KIND: u16;
    /// For people.
    const NAME: &'static str;
}

impl SocketMessage for Welcome {
    const KIND: u16 = 1;
    const NAME: &'static str = "welcome";
}

impl SocketMessage for Hello {
    const KIND: u16 = 2;
    const NAME: &'static str = "hello";
}

impl SocketMessage for Announce {
    const KIND: u16 = 3;
    const NAME: &'static str = "announce";
}

/// Why a message was not sent or not received.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The descriptor is something else.
    #[error("the descriptor is no Unix socket of type SOCK_SEQPACKET")]
    NoSocket,
    /// The other side has closed its end, most likely by ending.
    #[error("the other side has closed the socket")]
    Closed,
    /// It took too long.
    #[error("{what} took longer than {milliseconds} ms")]
    Timeout {
        /// Which step.
        what: &'static str,
        /// The limit.
        milliseconds: u128,
    },
    /// The kernel refused.
    #[error("{what} failed on the executor's socket: {source}")]
    System {
        /// Which step.
        what: &'static str,
        /// From the kernel.
        source: std::io::Error,
    },
    /// The body is too long.
    #[error("a message of {bytes} bytes, above the limit of {MESSAGE_BYTES_MAX}")]
    TooLong {
        /// Of its body.
        bytes: u64,
    },
    /// More descriptors than a message may carry.
    #[error("a message with {count} descriptors, above the limit of {DESCRIPTORS_MAX}")]
    Descriptors {
        /// How many.
        count: usize,
    },
    /// Head and body do not fit together.
    #[error("a malformed message of {bytes} bytes")]
    Malformed {
        /// Of the datagram.
        bytes: usize,
    },
    /// Of another release.
    #[error(
        "a message of ABI version {theirs}, while this program has {ABI_VERSION}: build both with one release"
    )]
    Version {
        /// As read.
        theirs: u16,
    },
    /// Another message than the one that comes next.
    #[error("a message of kind {found} where a {expected} was expected")]
    Kind {
        /// What should have come.
        expected: &'static str,
        /// As read.
        found: u16,
    },
    /// Not a valid archive.
    #[error("a {kind} that is not valid: {reason}")]
    Invalid {
        /// Which.
        kind: &'static str,
        /// From rkyv.
        reason: String,
    },
    /// The segment of a long message could not be made or read.
    #[error("a long message: {0}")]
    Segment(#[from] SegmentError),
}

fn system(what: &'static str) -> impl FnOnce(Errno) -> SocketError {
    move |errno| SocketError::System {
        what,
        source: errno.into(),
    }
}

/// A message as it arrived.
#[derive(Debug)]
pub struct Received<M> {
    /// What was said.
    pub message: M,
    /// The descriptors that came with it, in order.
    pub descriptors: Vec<OwnedFd>,
}

/// One end.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Two connected ends. The second one is to become a child's standard input by [`Socket::into_fd`].
    ///
    /// # Errors
    /// If no descriptors are left.
    pub fn pair() -> Result<(Self, Self), SocketError> {
        let ends = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        ends.map(|(one, other)| (Self(one), Self(other)))
            .map_err(system("socketpair"))
    }

    /// A descriptor that should be an end, such as standard input.
    ///
    /// # Errors
    /// [`SocketError::NoSocket`] if it is not.
    pub fn from_fd(descriptor: OwnedFd) -> Result<Self, SocketError> {
        let fits = socket_domain(&descriptor).is_ok_and(|domain| domain == AddressFamily::UNIX)
            && socket_type(&descriptor).is_ok_and(|kind| kind == SocketType::SEQPACKET);
        if fits {
            Ok(Self(descriptor))
        } else {
            Err(SocketError::NoSocket)
        }
    }

    /// The descriptor itself.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends a message with the descriptors that it names, waiting at most `timeout` for room.
    ///
    /// # Errors
    /// If it or its descriptors are too many, the other side is gone, or there was no room in time.
    pub fn send<M: SocketMessage>(
        &self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SocketError> {
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(SocketError::Descriptors {
                count: descriptors.len(),
            });
        }
        let body =
            rkyv::to_bytes::<ArchiveError>(message).map_err(|error| SocketError::Invalid {
                kind: M::NAME,
                reason: error.to_string(),
            })?;
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(SocketError::TooLong {
                bytes: body.len() as u64,
            });
        }
        if body.len() <= DATAGRAM_BYTES_MAX {
            return self.send_datagram(
                &head(M::KIND, FORM_INLINE, body.len()),
                &body,
                descriptors,
                timeout,
            );
        }
        let segment = SegmentWriter::create("faasflow-message", body.len() as u64)?;
        if !segment.write(0, &body) {
            return Err(SocketError::TooLong {
                bytes: body.len() as u64,
            });
        }
        let mut descriptors = descriptors.to_vec();
        descriptors.push(segment.fd());
        self.send_datagram(
            &head(M::KIND, FORM_SEGMENT, body.len()),
            &[],
            &descriptors,
            timeout,
        )
    }

    fn send_datagram(
        &self,
        head: &[u8],
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SocketError> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty()
                && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
            {
                return Err(SocketError::Descriptors {
                    count: descriptors.len(),
                });
            }
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            match sendmsg(
                &self.0,
                &parts,
                &mut ancillary,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => {
                    self.await_ready(PollFlags::OUT, deadline, timeout, "sending")?
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(SocketError::Closed),
                Err(errno) => return Err(system("sending")(errno)),
            }
        }
    }

    /// Receives the next message, which must be an `M`, waiting at most `timeout` for it.
    ///
    /// # Errors
    /// If none comes in time, the other side is gone, or what comes is no valid `M`; that message is lost then.
    pub fn receive<M: SocketMessage>(&self, timeout: Duration) -> Result<Received<M>, SocketError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(received) = self.try_receive()? {
                return Ok(received);
            }
            self.await_ready(PollFlags::IN, deadline, timeout, "waiting for a message")?;
        }
    }

    /// Receives the next message, which must be an `M`, if there is one. Never blocks.
    ///
    /// # Errors
    /// If the other side is gone, or what came is no valid `M`; that message is lost then.
    pub fn try_receive<M: SocketMessage>(&self) -> Result<Option<Received<M>>, SocketError> {
        self.try_receive_with(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    }

    /// As [`Socket::try_receive`], but of the descriptors those may be missing at the end that this process had no room for,
    /// and that message is not lost: for who can do without.
    ///
    /// # Errors
    /// As [`Socket::try_receive`].
    pub fn try_receive_short<M: SocketMessage>(&self) -> Result<Option<Received<M>>, SocketError> {
        self.try_receive_with(ReturnFlags::TRUNC)
    }

    fn try_receive_with<M: SocketMessage>(
        &self,
        unwelcome: ReturnFlags,
    ) -> Result<Option<Received<M>>, SocketError> {
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = vec![0; HEAD_BYTES + DATAGRAM_BYTES_MAX];
        let received = loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            match recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut ancillary,
                flags,
            ) {
                Ok(received) => break received,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(SocketError::Closed),
                Err(errno) => return Err(system("receiving")(errno)),
            }
        };
        // Taken out first, so that they are closed whatever is wrong with the rest.
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Err(SocketError::Closed);
        }
        if received.flags.intersects(unwelcome) {
            return Err(SocketError::Malformed {
                bytes: received.bytes,
            });
        }
        decode(&buffer[..received.bytes], descriptors).map(Some)
    }

    fn await_ready(
        &self,
        events: PollFlags,
        deadline: Instant,
        timeout: Duration,
        what: &'static str,
    ) -> Result<(), SocketError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SocketError::Timeout {
                what,
                milliseconds: timeout.as_millis(),
            });
        }
        let left = Timespec::try_from(left).ok(); // what does not fit is for ever
        match poll(&mut [PollFd::new(&self.0, events)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(system(what)(errno)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn head(kind: u16, form: u32, length: usize) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..2].copy_from_slice(&kind.to_le_bytes());
    head[2..4].copy_from_slice(&VERSION.to_le_bytes());
    head[4..8].copy_from_slice(&form.to_le_bytes());
    head[8..].copy_from_slice(&(length as u64).to_le_bytes());
    head
}

fn decode<M: SocketMessage>(
    datagram: &[u8],
    mut descriptors: Vec<OwnedFd>,
) -> Result<Received<M>, SocketError> {
    let malformed = SocketError::Malformed {
        bytes: datagram.len(),
    };
    let Some((head, body)) = datagram.split_first_chunk::<HEAD_BYTES>() else {
        return Err(malformed);
    };
    let [k0, k1, v0, v1, f0, f1, f2, f3, length @ ..] = *head;
    let (kind, theirs) = (u16::from_le_bytes([k0, k1]), u16::from_le_bytes([v0, v1]));
    let (form, length) = (
        u32::from_le_bytes([f0, f1, f2, f3]),
        u64::from_le_bytes(length),
    );
    if theirs != VERSION {
        return Err(SocketError::Version { theirs });
    }
    if kind != M::KIND {
        return Err(SocketError::Kind {
            expected: M::NAME,
            found: kind,
        });
    }
    if length > MESSAGE_BYTES_MAX as u64 {
        return Err(SocketError::TooLong { bytes: length });
    }
    let mut copy = AlignedVec::<16>::new();
    match form {
        FORM_INLINE if body.len() as u64 == length => copy.extend_from_slice(body),
        FORM_SEGMENT => {
            let segment = SegmentReader::open_at_most(
                descriptors.pop().ok_or(malformed)?,
                MESSAGE_BYTES_MAX as u64,
            )?;
            let long = segment.read(0, length).ok_or(SocketError::Malformed {
                bytes: datagram.len(),
            })?;
            // Copied before it is validated: its writer could still change it.
            copy.extend_from_slice(long);
        }
        _ => return Err(malformed),
    }
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(SocketError::Descriptors {
            count: descriptors.len(),
        });
    }
    let message =
        rkyv::from_bytes::<M, ArchiveError>(&copy).map_err(|error| SocketError::Invalid {
            kind: M::NAME,
            reason: error.to_string(),
        })?;
    Ok(Received {
        message,
        descriptors,
    })
}

#[cfg(test)]
mod tests;
