//! The other side of a connection, blocking.

use crate::process::SOON;
use engine::greeting::{ClusterKey, answer};
use engine::status::WorkerStatus;
use engine::wire::{
    BODY_BYTES_MAX, Challenge, Control, ControlReply, Frame, FrameKind, HEADER_BYTES, Header,
    Hello, Refused, Role, Welcome, decode, encode,
};
use rkyv::api::high::HighSerializer;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The bytes of a frame.
pub(crate) fn frame<T>(body: &T) -> Vec<u8>
where
    T: Frame + for<'a> rkyv::Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
{
    let mut bytes = Vec::new();
    encode(body, &mut bytes);
    bytes
}

/// The next frame, or `None` if the other side has closed.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<(FrameKind, Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).ok()?;
    let header = Header::parse(&header, BODY_BYTES_MAX).unwrap();
    let mut body = vec![0; header.padded_length()];
    stream.read_exact(&mut body).ok()?;
    body.truncate(header.length);
    header.verify_body(&body).unwrap();
    Some((header.kind, body))
}

/// A connection that has heard the challenge.
pub(crate) fn challenged(address: &str) -> (TcpStream, Challenge) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (kind, body) = read_frame(&mut stream).expect("a challenge");
    assert_eq!(kind, FrameKind::Challenge);
    (stream, decode(&body).unwrap())
}

/// Greets, and returns the connection or the reason of the refusal.
pub(crate) fn greet(address: &str, key: &ClusterKey, role: Role) -> Result<TcpStream, String> {
    let (mut stream, challenge) = challenged(address);
    let (hello, expectation) = answer(key, &challenge, role).unwrap();
    stream.write_all(&frame::<Hello>(&hello)).unwrap();
    match read_frame(&mut stream).expect("an answer") {
        (FrameKind::Welcome, body) => {
            expectation
                .check(&decode::<Welcome>(&body).unwrap())
                .unwrap();
            Ok(stream)
        }
        (FrameKind::Refused, body) => Err(decode::<Refused>(&body).unwrap().reason),
        (kind, _) => panic!("{kind:?}"),
    }
}

/// A master.
pub(crate) struct Caller(pub(crate) TcpStream);

impl Caller {
    pub(crate) fn control(address: &str) -> Self {
        Self(greet(address, &ClusterKey::none(), Role::Control).unwrap())
    }

    pub(crate) fn ask(&mut self, request: &Control) -> ControlReply {
        self.0.write_all(&frame(request)).unwrap();
        let (kind, body) = read_frame(&mut self.0).expect("a reply");
        assert_eq!(kind, FrameKind::ControlReply);
        decode(&body).unwrap()
    }

    /// What the worker refuses, and why.
    pub(crate) fn refused(&mut self, request: &Control) -> String {
        match self.ask(request) {
            ControlReply::Refused(reason) => reason,
            reply => panic!("not refused: {reply:?}"),
        }
    }

    pub(crate) fn status(&mut self) -> WorkerStatus {
        match self.ask(&Control::Status) {
            ControlReply::Status(json) => serde_json::from_str(&json).unwrap(),
            reply => panic!("{reply:?}"),
        }
    }
}
