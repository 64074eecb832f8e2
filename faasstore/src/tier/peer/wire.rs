//! Frames of the peer tier.
//!
//! ```text
//! 0        4      8          16   24   32   40       44                48        48 + length
//! | "FSp1" | kind | request  | a  | b  | c  | length | CRC-32 of all   | body ... |
//! ```
//!
//! | kind | from | a | b | c | body |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 hello | host | bytes of a chunk | | | |
//! | 2 put | client | number | bytes | | |
//! | 3 chunk | client | number | offset | | those bytes |
//! | 4 get | client | number | from | bytes, at most a chunk | |
//! | 5 release | client | number | | | |
//! | 6 landed | host | | | | |
//! | 7 done | host | | | | of a get: the bytes |
//! | 8 failed | host | why | bytes | limit | text |
//!
//! An answer carries the request's number. Each chunk is answered by `landed`, which gives its bytes back to the sender to
//! send others with. Nothing of a frame is believed before its checksum was right; one that is not ends the connection.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::segment::{Slice, TargetSlice};

const MAGIC: [u8; 4] = *b"FSp1";
pub(super) const HEADER_BYTES: usize = 48;

/// Bytes of the text with which a host says why it failed.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// Why a host failed, in the first word of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    Full = 1,
    TooLarge = 2,
    Missing = 3,
    Refused = 4,
    Broken = 5,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Hello = 1,
    Put = 2,
    Chunk = 3,
    Get = 4,
    Release = 5,
    Landed = 6,
    Done = 7,
    Failed = 8,
}

impl Kind {
    fn of(number: u32) -> Option<Self> {
        use Kind::{Chunk, Done, Failed, Get, Hello, Landed, Put, Release};
        [Hello, Put, Chunk, Get, Release, Landed, Done, Failed]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// A frame without its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) request: u64,
    pub(super) words: [u64; 3],
    pub(super) length: u32,
    sum: u32,
}

/// A frame to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    header: Header,
    body: Content,
}

#[derive(Debug)]
enum Content {
    None,
    Payload(Slice),
    Text(String),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Payload(slice) => slice.bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }
}

impl Outgoing {
    fn new(kind: Kind, request: u64, words: [u64; 3], body: Content) -> Self {
        let mut header = Header {
            kind,
            request,
            words,
            length: body.bytes().len() as u32,
            sum: 0,
        };
        header.sum = header.sum_with(body.bytes());
        Self { header, body }
    }

    pub(super) fn bare(kind: Kind, request: u64, words: [u64; 3]) -> Self {
        Self::new(kind, request, words, Content::None)
    }

    pub(super) fn payload(kind: Kind, request: u64, words: [u64; 3], slice: Slice) -> Self {
        Self::new(kind, request, words, Content::Payload(slice))
    }

    pub(super) fn failed(request: u64, words: [u64; 3], text: String) -> Self {
        let mut text = text;
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Self::new(Kind::Failed, request, words, Content::Text(text))
    }

    pub(super) async fn write(self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        stream.write_all(&self.header.encode()).await?;
        stream.write_all(self.body.bytes()).await?;
        stream.flush().await
    }
}

pub(super) fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.request.to_le_bytes());
        for (word, at) in self.words.iter().zip([16, 24, 32]) {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }

    fn sum_with(&self, body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.encode()[..44]);
        hasher.update(body);
        hasher.finalize()
    }

    fn parse(bytes: &[u8; HEADER_BYTES]) -> io::Result<Self> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        if bytes[..4] != MAGIC {
            return Err(damaged("what came is no frame of the peer tier"));
        }
        let number = (word(4) & 0xffff_ffff) as u32;
        let kind = Kind::of(number).ok_or_else(|| damaged(format!("a frame of kind {number}")))?;
        Ok(Self {
            kind,
            request: word(8),
            words: [word(16), word(24), word(32)],
            length: (word(40) & 0xffff_ffff) as u32,
            sum: (word(40) >> 32) as u32,
        })
    }

    /// The next header, whose body may have `body_max` bytes; nothing if the other side has closed.
    pub(super) async fn read(
        stream: &mut (impl AsyncRead + Unpin),
        body_max: usize,
    ) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_BYTES];
        let mut there = 0;
        while there < HEADER_BYTES {
            match stream.read(&mut bytes[there..]).await? {
                0 if there == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => there += more,
            }
        }
        let header = Self::parse(&bytes)?;
        if header.length as usize > body_max {
            let length = header.length;
            return Err(damaged(format!(
                "a body of {length} bytes, where {body_max} may be"
            )));
        }
        if header.length == 0 {
            header.check(&[])?;
        }
        Ok(Some(header))
    }

    fn check(&self, body: &[u8]) -> io::Result<()> {
        if self.sum_with(body) == self.sum {
            Ok(())
        } else {
            Err(damaged("the checksum of a frame differs"))
        }
    }

    /// Reads the body to where it belongs, which has as many bytes.
    pub(super) async fn body_into(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        target: &mut TargetSlice,
    ) -> io::Result<()> {
        if u64::from(self.length) != target.length() {
            let wanted = target.length();
            return Err(damaged(format!(
                "{} bytes where {wanted} are awaited",
                self.length
            )));
        }
        stream.read_exact(target.bytes_mut()).await?;
        self.check(target.bytes())
    }

    /// Reads a short body.
    pub(super) async fn body(&self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length as usize];
        stream.read_exact(&mut bytes).await?;
        self.check(&bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::conformance::run;

    #[test]
    fn a_frame_with_any_bit_changed_is_an_error() {
        run(any_bit());
    }

    async fn any_bit() {
        let frame = || Outgoing::failed(3, [1, 2, u64::MAX], "no room".to_owned());
        let mut bytes = Vec::new();
        frame().write(&mut bytes).await.unwrap();
        let mut stream = bytes.as_slice();
        let header = Header::read(&mut stream, TEXT_BYTES_MAX)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((header.kind, header.request), (Kind::Failed, 3));
        assert_eq!(header.words, [1, 2, u64::MAX]);
        assert_eq!(header.body(&mut stream).await.unwrap(), b"no room");
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let mut stream = wrong.as_slice();
            let read = async {
                let header = Header::read(&mut stream, TEXT_BYTES_MAX).await?;
                let header = header.ok_or(io::ErrorKind::UnexpectedEof)?;
                header.body(&mut stream).await
            };
            assert!(read.await.is_err(), "bit {bit}");
        }
        for end in 1..bytes.len() {
            let mut stream = &bytes[..end];
            let read = async {
                let header = Header::read(&mut stream, TEXT_BYTES_MAX).await?;
                let header = header.ok_or(io::ErrorKind::UnexpectedEof)?;
                header.body(&mut stream).await
            };
            assert!(read.await.is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_body_above_the_limit_is_refused_before_memory_is_set_aside() {
        run(too_long());
    }

    async fn too_long() {
        let mut bytes = Vec::new();
        let frame = Outgoing::failed(3, [0; 3], "x".repeat(5000));
        frame.write(&mut bytes).await.unwrap();
        assert_eq!(bytes.len(), HEADER_BYTES + TEXT_BYTES_MAX);
        let read = Header::read(&mut bytes.as_slice(), 10).await;
        assert!(read.unwrap_err().to_string().contains("where 10 may be"));
    }
}
