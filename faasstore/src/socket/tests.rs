//! The socket's promises, with both ends in one process.

use super::*;
use crate::binding::{Announced, Kind, NodeBinding, Port, WaitStrategy};
use std::os::fd::AsRawFd;

const SOON: Duration = Duration::from_secs(5);

fn welcome(nodes: u32) -> Welcome {
    let port = Port {
        name: "text".to_owned(),
        kind: Kind::Bytes,
    };
    let node = |node| NodeBinding {
        node,
        name: format!("node-{node}"),
        function: "upper".to_owned(),
        arguments: Vec::new(),
        inputs: vec![port.clone()],
        outputs: vec![port.clone()],
        maxima: Vec::new(),
    };
    Welcome {
        abi_version: ABI_VERSION,
        worker: "w".to_owned(),
        workflow: "f".to_owned(),
        cpus: vec![0],
        wait: WaitStrategy::Park,
        spin_budget_ns: 0,
        segment_bytes: 1 << 20,
        arena_bytes_max: 1 << 24,
        nodes: (0..nodes).map(node).collect(),
    }
}

fn raw(end: &Socket, datagram: &[u8]) {
    nix::sys::socket::send(
        end.0.as_raw_fd(),
        datagram,
        nix::sys::socket::MsgFlags::empty(),
    )
    .unwrap();
}

#[test]
fn a_message_arrives_as_it_was_sent_with_its_descriptors() {
    let (one, other) = Socket::pair().unwrap();
    let segment = SegmentWriter::create("test", 1).unwrap();
    one.send(&welcome(3), &[segment.fd(), segment.fd()], SOON)
        .unwrap();
    let received = other.receive::<Welcome>(SOON).unwrap();
    assert_eq!(received.message, welcome(3));
    assert_eq!(received.descriptors.len(), 2);
    for descriptor in received.descriptors {
        let flags = nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_ne!(
            flags & nix::libc::FD_CLOEXEC,
            0,
            "descriptors end with this program"
        );
        SegmentReader::open(descriptor).unwrap();
    }
}

#[test]
fn a_message_longer_than_a_datagram_arrives_too() {
    let (one, other) = Socket::pair().unwrap();
    let long = welcome(4000);
    let segment = SegmentWriter::create("test", 1).unwrap();
    one.send(&long, &[segment.fd()], SOON).unwrap();
    let received = other.receive::<Welcome>(SOON).unwrap();
    assert_eq!(received.message, long);
    assert_eq!(
        received.descriptors.len(),
        1,
        "the segment that carried it is not the caller's"
    );
    assert!(matches!(
        one.send(&welcome(20_000), &[], SOON),
        Err(SocketError::TooLong { .. })
    ));
}

#[test]
fn nothing_to_receive_is_not_an_error_and_a_deadline_is() {
    let (one, _other) = Socket::pair().unwrap();
    assert!(one.try_receive::<Announce>().unwrap().is_none());
    let late = one.receive::<Announce>(Duration::from_millis(1));
    assert!(matches!(
        late,
        Err(SocketError::Timeout {
            milliseconds: 1,
            ..
        })
    ));
}

fn announce() -> Announce {
    let segment = Announced {
        segment: 1,
        generation: 2,
    };
    Announce {
        segments: vec![segment],
    }
}

#[test]
fn a_full_socket_delays_and_then_refuses() {
    let (one, _other) = Socket::pair().unwrap();
    let announce = announce();
    let refused =
        (0..100_000).find_map(|_| one.send(&announce, &[], Duration::from_millis(1)).err());
    assert!(matches!(refused, Some(SocketError::Timeout { .. })));
}

#[test]
fn the_other_sides_end_is_told() {
    let (one, other) = Socket::pair().unwrap();
    let announce = announce();
    other.send(&announce, &[], SOON).unwrap();
    drop(other);
    assert_eq!(
        one.receive::<Announce>(SOON).unwrap().message,
        announce,
        "what was sent before still arrives"
    );
    assert!(matches!(
        one.receive::<Announce>(SOON),
        Err(SocketError::Closed)
    ));
    assert!(matches!(
        one.send(&announce, &[], SOON),
        Err(SocketError::Closed)
    ));
}

#[test]
fn only_the_right_kind_of_socket_is_taken() {
    let (one, _other) = Socket::pair().unwrap();
    assert!(Socket::from_fd(one.into_fd()).is_ok());
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(
        Socket::from_fd(file.into()),
        Err(SocketError::NoSocket)
    ));
    let (stream, _) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(matches!(
        Socket::from_fd(stream.into()),
        Err(SocketError::NoSocket)
    ));
}

#[test]
fn whatever_is_wrong_with_a_datagram_is_named() {
    let (one, other) = Socket::pair().unwrap();
    let receive = || other.receive::<Announce>(SOON).unwrap_err();

    raw(&one, b"short");
    assert!(matches!(receive(), SocketError::Malformed { bytes: 5 }));
    one.send(&welcome(0), &[], SOON).unwrap();
    assert!(matches!(
        receive(),
        SocketError::Kind {
            expected: "announce",
            found: 1
        }
    ));
    let mut other_version = head(Announce::KIND, FORM_INLINE, 0);
    other_version[2..4].copy_from_slice(&77u16.to_le_bytes());
    raw(&one, &other_version);
    assert!(matches!(receive(), SocketError::Version { theirs: 77 }));
    raw(&one, &head(Announce::KIND, FORM_INLINE, 9));
    assert!(matches!(receive(), SocketError::Malformed { .. }));
    raw(
        &one,
        &head(Announce::KIND, FORM_INLINE, MESSAGE_BYTES_MAX + 1),
    );
    assert!(matches!(receive(), SocketError::TooLong { .. }));
    raw(&one, &head(Announce::KIND, FORM_SEGMENT, 9));
    assert!(
        matches!(receive(), SocketError::Malformed { .. }),
        "a segment that did not come"
    );
    raw(&one, &head(Announce::KIND, 9, 0));
    assert!(matches!(receive(), SocketError::Malformed { .. }));
    raw(&one, &head(Announce::KIND, FORM_INLINE, 0));
    assert!(matches!(
        receive(),
        SocketError::Invalid {
            kind: "announce",
            ..
        }
    ));
    raw(&one, &[0; HEAD_BYTES + DATAGRAM_BYTES_MAX + 1]);
    assert!(
        matches!(receive(), SocketError::Malformed { .. }),
        "longer than a datagram may be"
    );

    let announce = announce();
    one.send(&announce, &[], SOON).unwrap();
    assert_eq!(
        other.receive::<Announce>(SOON).unwrap().message,
        announce,
        "and the next message is unharmed"
    );
}
