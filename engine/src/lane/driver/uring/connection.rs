//! One connection of the io_uring driver: what the kernel holds of it, and the entries that say so.
//!
//! **Looking before taking.** TCP acknowledges a message while it is taken off the socket, unless an answer goes out on
//! the same connection. Links carry messages one way, so each receive would send a packet, and see it all the way into
//! the peer's socket, before anyone here has seen the message: some 4 of the 50 µs of a hop between two parked workers,
//! as traced. A receive into private memory therefore only looks (`MSG_PEEK`), and what it has seen is taken off
//! (`MSG_TRUNC`: dropped without a copy) just ahead of the next receive, when the message has been acted upon.

#![allow(
    unsafe_code,
    reason = "the kernel is handed addresses; part of the driver, which DESIGN names"
)]

use super::{CONSUME, RECEIVE, SEND};
use crate::lane::driver::buffer::{ReceiveBuffer, SendBuffer};
use crate::lane::driver::slab::Key;
use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv};
use rustix::net::{ipproto, sockopt::socket_protocol};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

/// Ranges that one sendmsg names; what is left is sent by the next.
const RANGES_MAX: usize = 64;
/// Bytes that one entry moves: below 2^31, where results would turn negative.
const OPERATION_BYTES_MAX: u64 = 1 << 30;

pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) receive: Option<ReceiveBuffer>,
    pub(super) send: Option<Sending>,
    message: Option<Box<Message>>,
    pub(super) closing: bool,
    peeks: bool,
    /// Bytes that were received and still lie in the socket.
    unconsumed: usize,
}

pub(super) struct Sending {
    pub(super) buffer: SendBuffer,
    pub(super) sent: u64,
}

/// What a sendmsg entry points to. It is boxed, so it stays where it is when the table of connections grows.
struct Message {
    header: libc::msghdr,
    ranges: [libc::iovec; RANGES_MAX],
}

impl Connection {
    /// `skips_successes`: whether the kernel can keep completions to itself that say no more than that all went well.
    pub(super) fn new(socket: OwnedFd, skips_successes: bool) -> Self {
        let is_tcp = matches!(socket_protocol(&socket), Ok(Some(ipproto::TCP)));
        Self {
            socket,
            receive: None,
            send: None,
            message: None,
            closing: false,
            peeks: skips_successes && is_tcp,
            unconsumed: 0,
        }
    }

    /// Appends what begins to receive into `buffer`, which is kept until [`Connection::end_receive`], unless it has no
    /// such range: then it is handed back.
    pub(super) fn begin_receive(
        &mut self,
        key: Key,
        mut buffer: ReceiveBuffer,
        entries: &mut VecDeque<Entry>,
    ) -> Result<(), ReceiveBuffer> {
        let Some((start, length, mut flags)) = receive_target(&mut buffer) else {
            return Err(buffer);
        };
        let socket = Fd(self.socket.as_raw_fd());
        if self.peeks && matches!(buffer, ReceiveBuffer::Owned(..)) {
            flags |= libc::MSG_PEEK;
        }
        if self.unconsumed > 0 {
            // Nothing is written with this flag, so no memory is named. All of it lies in the socket, so it is gone
            // before the kernel comes to the receive behind it, whose completion keeps the connection until then.
            let seen = std::mem::take(&mut self.unconsumed) as u32;
            let entry =
                opcode::Recv::new(socket, std::ptr::null_mut(), seen).flags(libc::MSG_TRUNC);
            let entry = entry.build().flags(Flags::SKIP_SUCCESS);
            entries.push_back(entry.user_data(key.pack(CONSUME)));
        }
        self.receive = Some(buffer);
        let entry = opcode::Recv::new(socket, start.as_ptr(), length).flags(flags);
        entries.push_back(entry.build().user_data(key.pack(RECEIVE)));
        Ok(())
    }

    /// Hands the buffer of the receive back, which has ended with `result`.
    pub(super) fn end_receive(&mut self, result: &io::Result<usize>) -> Option<ReceiveBuffer> {
        let buffer = self.receive.take()?;
        if self.peeks && matches!(buffer, ReceiveBuffer::Owned(..)) {
            self.unconsumed = result.as_ref().copied().unwrap_or(0);
        }
        Some(buffer)
    }

    /// Takes what was received off the socket. Closed with it, the socket would be reset, and the peer might lose what
    /// it was sent last.
    pub(super) fn consume_now(&mut self) {
        if self.unconsumed > 0 {
            let mut seen = vec![0; std::mem::take(&mut self.unconsumed)];
            // It lies there; and should it not, nothing is lost that was not lost before.
            let _ = recv(self.socket.as_raw_fd(), &mut seen, MsgFlags::MSG_DONTWAIT);
        }
    }

    /// An entry that sends what is left to send: the next ranges of it.
    pub(super) fn send_entry(&mut self, key: Key) -> Option<Entry> {
        let sending = self.send.as_ref()?;
        let socket = Fd(self.socket.as_raw_fd());
        // The kernel goes on by itself after a short write, as long as it can.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        if sending.buffer.is_plain() {
            let bytes = sending.buffer.spans(sending.sent).next()?;
            let length = (bytes.len() as u64).min(OPERATION_BYTES_MAX) as u32;
            let entry = opcode::Send::new(socket, bytes.as_ptr(), length).flags(flags);
            return Some(entry.build().user_data(key.pack(SEND)));
        }
        let message = self.message.get_or_insert_with(Message::new);
        let mut count = 0;
        let mut room = OPERATION_BYTES_MAX;
        for (range, span) in message
            .ranges
            .iter_mut()
            .zip(sending.buffer.spans(sending.sent))
        {
            let length = (span.len() as u64).min(room);
            if length == 0 {
                break;
            }
            room -= length;
            // The kernel only reads what a sendmsg names.
            *range = libc::iovec {
                iov_base: span.as_ptr().cast_mut().cast(),
                iov_len: length as usize,
            };
            count += 1;
        }
        message.header.msg_iov = message.ranges.as_mut_ptr();
        message.header.msg_iovlen = count as _;
        let entry = opcode::SendMsg::new(socket, &raw const message.header).flags(flags as u32);
        Some(entry.build().user_data(key.pack(SEND)))
    }
}

impl Message {
    fn new() -> Box<Self> {
        // SAFETY: msghdr is a structure of C for which all zeroes is a value: no name, no ranges, no control data.
        let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
        let empty = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Box::new(Self {
            header,
            ranges: [empty; RANGES_MAX],
        })
    }
}

/// Where a receive begins, its bytes and its flags; nothing if its range is empty or leaves its buffer.
fn receive_target(buffer: &mut ReceiveBuffer) -> Option<(NonNull<u8>, u32, i32)> {
    match buffer {
        ReceiveBuffer::Owned(buffer, range) => {
            let part = buffer
                .as_mut_slice()
                .get_mut(range.clone())
                .filter(|part| !part.is_empty())?;
            let length = (part.len() as u64).min(OPERATION_BYTES_MAX) as u32;
            Some((NonNull::from(part).cast(), length, 0))
        }
        ReceiveBuffer::Segment {
            segment,
            offset,
            length,
        } if *length > 0 => {
            let start = segment.pointer(*offset, *length)?;
            Some((
                start,
                (*length).min(OPERATION_BYTES_MAX) as u32,
                libc::MSG_WAITALL,
            ))
        }
        ReceiveBuffer::Segment { .. } => None,
    }
}
