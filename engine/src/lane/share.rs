//! What two lanes on one host share: segments that one lends and the other borrows, beside a link between them.
//!
//! It owns the messages on the Unix socket that goes with a link, and both ends of it: [`Lender`] and [`Borrower`], which do
//! no more input and output than those datagrams, and never wait. docs/protocol.md says who may say what, and how long a
//! loan lasts. Who may open such a socket is left to `worker::sharing`, and what is lent to [`super::peers`].

mod borrower;
mod lender;
#[cfg(test)]
mod tests;

pub(crate) use borrower::Borrower;
pub(crate) use lender::{Lender, Wish};

use crate::wire::LentRange;
use faasstore::binding::Announced;
use faasstore::socket::{Socket, SocketMessage};
use rkyv::{Archive, Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// Segments of which the borrower may be told at one time by one link: each takes a descriptor there, and one in each
/// executor that reads it.
pub(crate) const SEGMENTS_MAX: usize = 1024;
/// Ranges of one payload, and of one datagram, which then stays below 64 KiB.
pub(crate) const RANGES_MAX: usize = 2048;
/// The ranges of a payload must have so many bytes on the average. Smaller pieces are copied into frames as they are sent, since
/// naming one to the kernel costs as much; to name, lease and return each of them is no cheaper.
pub(crate) const RANGE_BYTES_MIN: u64 = 4 << 10;
/// Datagrams that are read at one look. A socket holds a few hundred; one who goes on and on is looked at again later.
const DATAGRAMS_MAX: usize = 1024;

/// The lender's end of a share, greeted.
#[derive(Debug)]
pub struct LendingEnd {
    /// The socket.
    pub socket: Socket,
    /// The borrower's process.
    pub borrower: OwnedFd,
}

/// From the lender: segments of its table that have gone, and then such as are new, which come with a descriptor each.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lend {
    pub(crate) retired: Vec<Announced>,
    pub(crate) segments: Vec<Announced>,
}

/// From the borrower.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Return {
    /// Nobody reads these any more.
    pub(crate) ranges: Vec<LentRange>,
    /// What could not be had as it lies, and is to be streamed.
    pub(crate) stream: Option<Unhad>,
    /// Nothing is read any more, and nothing will be: the last word.
    pub(crate) last: bool,
}

/// A payload that a borrower could not map.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unhad {
    /// As the message said.
    pub(crate) transfer: u64,
    /// Whether each range is an item of a list.
    pub(crate) list: bool,
    pub(crate) ranges: Vec<LentRange>,
}

impl SocketMessage for Lend {
    const KIND: u16 = 18;
    const NAME: &'static str = "lend";
}

impl SocketMessage for Return {
    const KIND: u16 = 19;
    const NAME: &'static str = "return";
}
