//! A blocking connection of frames that ends in time: no read or write waits longer than [`IDLE_MAX`], and all of them
//! together not beyond a deadline.

use crate::wire::{
    self, CHUNK_HEAD_BYTES, ChunkHead, Frame, FrameKind, HEADER_BYTES, Header, Refused, WireError,
    padding,
};
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as ArchiveError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Deserialize, Serialize};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long nothing may come, or be taken.
const IDLE_MAX: Duration = Duration::from_secs(3);
/// How long the last words to the other end may take.
const PARTING_TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes that are still read from one who is told that it ends.
const PARTING_BYTES_MAX: usize = 4 << 20;
/// Longest body of a frame that is no chunk.
const BODY_BYTES_MAX: usize = 1 << 10;
/// A part of a chunk that is read at once.
const PART_BYTES: usize = 256 << 10;

/// Why a measurement came to nothing.
#[derive(Debug, Error)]
pub(in crate::worker) enum Broken {
    #[error("the connection was closed")]
    Closed,
    #[error("nothing went on for {IDLE_MAX:?}")]
    Idle,
    #[error(
        "it took more than {0:?}: a link that slow has to be described by hand (docs/placement.md)"
    )]
    Late(Duration),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("the other worker refused: {0}")]
    Refused(String),
    #[error("{0}")]
    Protocol(&'static str),
}

/// A connection that one end of a measurement has for itself.
pub(super) struct Framed {
    stream: TcpStream,
    began: Instant,
    time_max: Duration,
    part: Vec<u8>,
    message: Vec<u8>,
}

impl Framed {
    /// Takes over a connection that was greeted, for so long.
    ///
    /// # Errors
    /// As setting how it waits.
    pub(super) fn new(stream: TcpStream, time_max: Duration) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE_MAX))?;
        stream.set_write_timeout(Some(IDLE_MAX))?;
        Ok(Self {
            stream,
            began: Instant::now(),
            time_max,
            part: vec![0; PART_BYTES],
            message: Vec::new(),
        })
    }

    /// Since it was taken over.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn in_time(&self) -> Result<(), Broken> {
        if self.began.elapsed() < self.time_max {
            return Ok(());
        }
        Err(Broken::Late(self.time_max))
    }

    /// Sends a frame.
    pub(super) fn send<T>(&mut self, body: &T) -> Result<(), Broken>
    where
        T: Frame + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, ArchiveError>>,
    {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        wire::encode(body, &mut message);
        let sent = self.write(&mut [IoSlice::new(&message)]);
        self.message = message;
        sent
    }

    /// Sends a chunk of raw bytes.
    pub(super) fn send_chunk(&mut self, head: ChunkHead, raw: &[u8]) -> Result<(), Broken> {
        let (start, zeros) = (head.frame_start(raw), [0; wire::FRAME_ALIGN]);
        let pad = &zeros[..padding(CHUNK_HEAD_BYTES + raw.len())];
        self.write(&mut [IoSlice::new(&start), IoSlice::new(raw), IoSlice::new(pad)])
    }

    fn write(&mut self, mut parts: &mut [IoSlice<'_>]) -> Result<(), Broken> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            self.in_time()?;
            match self.stream.write_vectored(parts) {
                Ok(0) => return Err(Broken::Closed),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.why(error)),
            }
        }
        Ok(())
    }

    /// What a failed write means. Who refuses says so and closes: its word explains more than the reset.
    fn why(&mut self, error: io::Error) -> Broken {
        let lost = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
        if lost.contains(&error.kind())
            && let Err(refused @ Broken::Refused(_)) = self.next()
        {
            return refused;
        }
        cause(error)
    }

    /// The header of the next frame; none if the other end has closed.
    ///
    /// # Errors
    /// Its refusal is one, too.
    pub(super) fn next(&mut self) -> Result<Option<Header>, Broken> {
        let mut bytes = [0; HEADER_BYTES];
        if self.read(&mut bytes)? == Filled::Nothing {
            return Ok(None);
        }
        let header = Header::parse(&bytes, BODY_BYTES_MAX)?;
        if header.kind == FrameKind::Refused {
            let Refused { reason } = self.body(&header)?;
            return Err(Broken::Refused(reason));
        }
        Ok(Some(header))
    }

    /// The body that follows a header.
    pub(super) fn body<T>(&mut self, header: &Header) -> Result<T, Broken>
    where
        T: Frame,
        T::Archived: for<'a> CheckBytes<HighValidator<'a, ArchiveError>>
            + Deserialize<T, HighDeserializer<ArchiveError>>,
    {
        if header.kind != T::KIND {
            return Err(WireError::Unexpected(header.kind).into());
        }
        let mut part = std::mem::take(&mut self.part);
        let read = self.whole(&mut part[..header.padded_length()]);
        self.part = part;
        read?;
        let body = &self.part[..header.length];
        header.verify_body(body)?;
        Ok(wire::decode(body)?)
    }

    /// Reads the chunk that follows a header, and throws it away: its head, once all of it is verified.
    pub(super) fn discard_chunk(&mut self, header: &Header) -> Result<ChunkHead, Broken> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        if header.length < CHUNK_HEAD_BYTES {
            return Err(Broken::Protocol("a chunk without its head"));
        }
        self.whole(&mut head)?;
        let mut hasher = header.hasher();
        hasher.update(&head);
        let mut part = std::mem::take(&mut self.part);
        let read = self.discard(header.length - CHUNK_HEAD_BYTES, &mut part, &mut hasher);
        self.part = part;
        read?;
        header.verify(hasher)?;
        Ok(ChunkHead::from_bytes(&head))
    }

    fn discard(
        &mut self,
        raw_bytes: usize,
        part: &mut [u8],
        hasher: &mut crc32fast::Hasher,
    ) -> Result<(), Broken> {
        let mut left = raw_bytes;
        while left > 0 {
            let length = left.min(part.len());
            self.whole(&mut part[..length])?;
            hasher.update(&part[..length]);
            left -= length;
        }
        self.whole(&mut part[..padding(CHUNK_HEAD_BYTES + raw_bytes)])
    }

    fn whole(&mut self, buffer: &mut [u8]) -> Result<(), Broken> {
        match self.read(buffer)? {
            Filled::All => Ok(()),
            Filled::Nothing => Err(Broken::Closed),
        }
    }

    /// Fills a buffer, unless the other end has closed before its first byte.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Filled, Broken> {
        let mut done = 0;
        while done < buffer.len() {
            self.in_time()?;
            match self.stream.read(&mut buffer[done..]) {
                Ok(0) if done == 0 => return Ok(Filled::Nothing),
                Ok(0) => return Err(Broken::Closed),
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(cause(error)),
            }
        }
        Ok(Filled::All)
    }

    /// Says why it ends. What goes wrong on the way is of no more interest.
    pub(super) fn refuse(&mut self, broken: &Broken) {
        let reason = broken.to_string();
        // The deadline may be over; this has its own.
        self.time_max = self.began.elapsed() + PARTING_TIME_MAX;
        let _ = self.stream.set_write_timeout(Some(PARTING_TIME_MAX));
        let _ = self.stream.set_read_timeout(Some(PARTING_TIME_MAX));
        if self.send(&Refused { reason }).is_err() {
            return;
        }
        // A socket that is closed on unread bytes takes its own last words back.
        let _ = self.stream.shutdown(Shutdown::Write);
        let mut part = std::mem::take(&mut self.part);
        let mut left = PARTING_BYTES_MAX;
        while left > 0
            && self.in_time().is_ok()
            && let Ok(read @ 1..) = self.stream.read(&mut part)
        {
            left = left.saturating_sub(read);
        }
    }

    /// Says that nothing more will be sent, and waits until the other end has closed: it takes part in nothing then.
    pub(super) fn part(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        // The figures are there already; what still comes, or does not, changes nothing about them.
        let _ = self.next();
    }

    /// Closes it for both ends, whoever else may hold the socket.
    pub(super) fn close(self) {
        // It fails if the other end has closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    All,
    /// The other end has closed.
    Nothing,
}

fn cause(error: io::Error) -> Broken {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::Idle,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            Broken::Closed
        }
        _ => Broken::Io(error),
    }
}
