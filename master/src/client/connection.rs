//! One TCP connection to a worker: greeting, frames out, frames in.
//!
//! Frames are handed on whole and verified. The buffer for what arrives grows with what has arrived, never with what a
//! header claims.

use super::{ClientError, Options};
use engine::greeting;
use engine::wire::{
    self, BODY_BYTES_MAX, Challenge, FrameKind, GREETING_BYTES_MAX, HEADER_BYTES, Header, Refused,
    Role, Welcome, WireError,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, sendmsg};
use std::io::{ErrorKind, IoSlice, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the buffer holds at first, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// What is wrong with a frame.
pub(super) enum FrameError {
    Wire(WireError),
    /// Well made, but senseless.
    Protocol(String),
    /// Of an output that this process has no memory for.
    Memory {
        /// Which.
        name: String,
        /// What it has.
        bytes: u64,
    },
}

impl From<WireError> for FrameError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Takes the frames of a connection.
pub(super) trait Receiver {
    /// A verified frame; [`Refused`] never gets here.
    fn frame(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), FrameError>;
}

/// A connection that has been greeted.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Arc<TcpStream>,
    inbox: Inbox,
    /// Name, once known, and address: what errors say.
    label: String,
    worker: String,
    epoch: u32,
    silence_max: Option<Duration>,
}

impl Connection {
    pub(super) fn open(address: &str, role: Role, options: &Options) -> Result<Self, ClientError> {
        let deadline = Instant::now() + options.connect_max;
        let socket = connect(address, deadline)?;
        let mut connection = Self {
            socket: Arc::new(socket),
            inbox: Inbox::default(),
            label: address.to_owned(),
            worker: String::new(),
            epoch: 0,
            silence_max: options.silence_max,
        };
        let greeted = connection.greet(address, role, options, deadline);
        greeted.map_err(|error| match error {
            ClientError::Wire { .. } | ClientError::Lost { .. } | ClientError::Silent { .. } => {
                ClientError::Stranger {
                    address: address.to_owned(),
                    cause: Box::new(error),
                }
            }
            other => other,
        })?;
        let silence_max = connection.silence_max;
        connection
            .socket
            .set_read_timeout(silence_max)
            .map_err(|source| connection.lost(source))?;
        Ok(connection)
    }

    pub(super) fn worker_name(&self) -> &str {
        &self.worker
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// To be written to by whoever has the turn.
    pub(super) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    fn lost(&self, source: std::io::Error) -> ClientError {
        ClientError::Lost {
            worker: self.label.clone(),
            source,
        }
    }

    fn wire(&self, source: WireError) -> ClientError {
        ClientError::Wire {
            worker: self.label.clone(),
            source,
        }
    }

    fn greeting(&self, source: greeting::GreetingError) -> ClientError {
        ClientError::Greeting {
            worker: self.label.clone(),
            source,
        }
    }

    fn greet(
        &mut self,
        address: &str,
        role: Role,
        options: &Options,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let challenge: Challenge = self.greeting_frame(options, deadline)?;
        // The name is printed before it is proved: let it be nothing that plays with a terminal.
        let name: String = challenge
            .worker
            .chars()
            .flat_map(char::escape_debug)
            .take(256)
            .collect();
        self.label = format!("{name} ({address})");
        let (hello, expectation) = greeting::answer(&options.key, &challenge, role)
            .map_err(|error| self.greeting(error))?;
        let mut message = Vec::new();
        wire::encode(&hello, &mut message);
        self.send(&[&message], &mut Nothing)?;
        let welcome: Welcome = self.greeting_frame(options, deadline)?;
        expectation
            .check(&welcome)
            .map_err(|error| self.greeting(error))?;
        self.worker = challenge.worker;
        self.epoch = welcome.epoch;
        Ok(())
    }

    /// The next frame of the greeting, which must be a `T`.
    fn greeting_frame<T>(&mut self, options: &Options, deadline: Instant) -> Result<T, ClientError>
    where
        T: wire::Frame,
        T::Archived: for<'a> rkyv::bytecheck::CheckBytes<
                rkyv::api::high::HighValidator<'a, rkyv::rancor::Error>,
            > + rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<rkyv::rancor::Error>>,
    {
        let silent = |label: &str| ClientError::Silent {
            worker: label.to_owned(),
            waited: options.connect_max,
        };
        loop {
            if let Some((kind, range)) = self
                .inbox
                .next_frame(GREETING_BYTES_MAX)
                .map_err(|error| self.wire(error))?
            {
                let body = &self.inbox.bytes[range];
                if kind == T::KIND {
                    return wire::decode(body).map_err(|error| self.wire(error));
                }
                return Err(self.not_a_frame_for_me(kind, body));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(silent(&self.label));
            }
            self.socket
                .set_read_timeout(Some(left))
                .map_err(|source| self.lost(source))?;
            match self.inbox.read_from(&*self.socket) {
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(silent(&self.label));
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    fn not_a_frame_for_me(&self, kind: FrameKind, body: &[u8]) -> ClientError {
        if kind != FrameKind::Refused {
            return self.wire(WireError::Unexpected(kind));
        }
        match wire::decode::<Refused>(body) {
            Ok(Refused { reason }) => ClientError::Refused {
                worker: self.label.clone(),
                reason,
            },
            Err(error) => self.wire(error),
        }
    }

    /// Sends bytes, and takes frames whenever the worker does not take any: it may be waiting for just that.
    pub(super) fn send(
        &mut self,
        parts: &[&[u8]],
        receiver: &mut impl Receiver,
    ) -> Result<(), ClientError> {
        let mut parts: Vec<IoSlice<'_>> = parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| IoSlice::new(part))
            .collect();
        let mut parts = parts.as_mut_slice();
        while !parts.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.socket.as_raw_fd(), parts, &[], flags, None) {
                Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_to_send(receiver)?,
                Err(error) => return Err(self.broken(error.into(), receiver)),
            }
        }
        Ok(())
    }

    /// The error of a failed send. A worker that refuses says so and closes: its word explains more than the reset.
    fn broken(&mut self, error: std::io::Error, receiver: &mut impl Receiver) -> ClientError {
        while self.inbox.read_from(&*self.socket).is_ok() {
            if let Err(refusal @ ClientError::Refused { .. }) = self.hand_on(receiver) {
                return refusal;
            }
        }
        self.lost(error)
    }

    fn wait_to_send(&mut self, receiver: &mut impl Receiver) -> Result<(), ClientError> {
        let timeout = self.silence_max.map_or(PollTimeout::NONE, |max| {
            PollTimeout::try_from(max.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [PollFd::new(
            self.socket.as_fd(),
            PollFlags::POLLIN | PollFlags::POLLOUT,
        )];
        let ready = match poll(&mut fds, timeout) {
            Ok(0) => return Err(self.silent()),
            Ok(_) => fds[0].revents().unwrap_or(PollFlags::empty()),
            Err(Errno::EINTR) => return Ok(()),
            Err(error) => return Err(self.lost(error.into())),
        };
        if ready.contains(PollFlags::POLLIN) {
            // There is something to read, so that this does not block.
            self.receive(receiver)?;
        }
        Ok(())
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent {
            worker: self.label.clone(),
            waited: self.silence_max.unwrap_or_default(),
        }
    }

    /// Waits for bytes, and hands on the frames that they complete.
    pub(super) fn receive(&mut self, receiver: &mut impl Receiver) -> Result<(), ClientError> {
        match self.inbox.read_from(&*self.socket) {
            Ok(_) => self.hand_on(receiver),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(self.silent())
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    fn hand_on(&mut self, receiver: &mut impl Receiver) -> Result<(), ClientError> {
        while let Some((kind, range)) = self
            .inbox
            .next_frame(BODY_BYTES_MAX)
            .map_err(|error| self.wire(error))?
        {
            let body = &self.inbox.bytes[range];
            if kind == FrameKind::Refused {
                return Err(self.not_a_frame_for_me(kind, body));
            }
            receiver.frame(kind, body).map_err(|error| match error {
                FrameError::Wire(source) => self.wire(source),
                FrameError::Protocol(what) => ClientError::Protocol {
                    worker: self.label.clone(),
                    what,
                },
                FrameError::Memory { name, bytes } => ClientError::Memory { name, bytes },
            })?;
        }
        Ok(())
    }
}

fn connect(address: &str, deadline: Instant) -> Result<TcpStream, ClientError> {
    let unusable = |source| ClientError::Address {
        address: address.to_owned(),
        source,
    };
    let candidates = address.to_socket_addrs().map_err(unusable)?;
    let mut last = std::io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for candidate in candidates {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(socket) => {
                // Without it a small frame may wait for the acknowledgement of the one before: 40 ms.
                socket
                    .set_nodelay(true)
                    .map_err(|source| ClientError::Lost {
                        worker: address.to_owned(),
                        source,
                    })?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(ClientError::Connect {
        address: address.to_owned(),
        source: last,
    })
}

/// Takes nothing: in a greeting each side speaks in turn.
struct Nothing;

impl Receiver for Nothing {
    fn frame(&mut self, kind: FrameKind, _body: &[u8]) -> Result<(), FrameError> {
        Err(WireError::Unexpected(kind).into())
    }
}

/// Bytes that have arrived and are not yet handed on: `bytes[start..end]`.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The frame being received, once its header is there.
    header: Option<Header>,
}

impl Inbox {
    /// Reads once. That the other side has closed is an error.
    fn read_from(&mut self, mut source: impl Read) -> std::io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                let grown = (self.bytes.len() * 2).max(BUFFER_BYTES);
                self.bytes.resize(grown, 0);
            }
        }
        loop {
            match source.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole frame, verified: its kind, and where in `bytes` its body is until the next read.
    fn next_frame(
        &mut self,
        limit: usize,
    ) -> Result<Option<(FrameKind, std::ops::Range<usize>)>, WireError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = self.bytes[self.start..self.end].first_chunk::<HEADER_BYTES>()
                else {
                    return Ok(None);
                };
                *self.header.insert(Header::parse(bytes, limit)?)
            }
        };
        let whole = HEADER_BYTES + header.padded_length();
        if self.end - self.start < whole {
            return Ok(None);
        }
        let body = self.start + HEADER_BYTES..self.start + HEADER_BYTES + header.length;
        header.verify_body(&self.bytes[body.clone()])?;
        self.start += whole;
        self.header = None;
        Ok(Some((header.kind, body)))
    }
}
