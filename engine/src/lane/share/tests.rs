//! What a lender and a borrower make of each other's words, and of words that nobody should say.

use super::*;
use crate::core::lease::{Freed, Leases, Payload};
use crate::lane::link::Layout;
use crate::lane::segments::{Gone, Mapping, Owner, Released, Segments, ShareId};
use faasstore::arena::Compartment;
use faasstore::descriptor::PayloadRef;
use faasstore::segment::SegmentWriter;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const BYTES: u64 = 8192;

/// A process that is there until it is told otherwise: a borrower's.
struct Process(Child);

impl Process {
    fn start() -> Self {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pidfd(&self) -> OwnedFd {
        let pid = Pid::from_raw(self.0.id().cast_signed()).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lender's side: its table, its leases, and its end.
struct Here {
    segments: Segments,
    leases: Leases,
    lender: Lender,
    process: Process,
}

impl Here {
    fn new(socket: Socket) -> Self {
        let process = Process::start();
        let end = LendingEnd {
            socket,
            borrower: process.pidfd(),
        };
        Self {
            segments: Segments::default(),
            leases: Leases::default(),
            lender: Lender::new(end),
            process,
        }
    }

    /// A payload of `bytes` bytes in a segment of its own, which begin with its slot.
    fn payload(&mut self, bytes: u64) -> (Payload, PayloadRef) {
        let segment = Arc::new(SegmentWriter::create("share-test", BYTES).unwrap());
        let mapping = Mapping::Own(Arc::clone(&segment));
        let place = (Owner::Lane, Compartment::FIRST);
        let index = self.segments.count() as u32;
        let slot = self.segments.add(mapping, place.0, place.1, index, 0);
        assert!(segment.write(64, &[slot as u8; 16]));
        let range = self.segments.lease(slot, 64, bytes).unwrap();
        let account = self.leases.open("w");
        (self.leases.take(account, range), range)
    }

    /// Lends a payload, and says so.
    fn lend(&mut self, bytes: u64) -> (Payload, LentRange) {
        let (payload, range) = self.payload(bytes);
        let lent = self.lender.lend(&[(payload, range)], &self.segments);
        self.lender.commit();
        (payload, lent.unwrap()[0])
    }
}

/// The borrower's side.
struct There {
    segments: Segments,
    borrower: Borrower,
    gone: Vec<Gone>,
}

impl There {
    fn new(socket: Socket) -> Self {
        Self {
            segments: Segments::default(),
            borrower: Borrower::new(ShareId(1), "a".into(), socket),
            gone: Vec::new(),
        }
    }

    fn check(&mut self, workflow: &str, ranges: &[LentRange]) -> Result<(), String> {
        let (segments, gone) = (&mut self.segments, &mut self.gone);
        self.borrower.check(Some(workflow), ranges, segments, gone)
    }

    fn hear(&mut self) -> Result<(), String> {
        self.borrower.hear(&mut self.segments, &mut self.gone)
    }

    fn borrow(&mut self, range: LentRange) -> Option<PayloadRef> {
        let borrowed = self.borrower.borrow(&[range], &mut self.segments)?;
        Some(borrowed[0])
    }

    fn release(&mut self, range: PayloadRef) {
        match self.segments.release(range) {
            Released::ToPeer(ShareId(1), range) => self.borrower.released(range),
            other => panic!("it is the lender's: {other:?}"),
        }
    }
}

fn pair() -> (Here, There) {
    let (one, other) = Socket::pair().unwrap();
    (Here::new(one), There::new(other))
}

/// A borrower, and a rogue that says what it likes.
fn rogue_lender() -> (Socket, There) {
    let (one, other) = Socket::pair().unwrap();
    (one, There::new(other))
}

fn announced(segment: u32, generation: u32) -> Announced {
    Announced {
        segment,
        generation,
    }
}

fn say(socket: &Socket, retired: &[Announced], segments: &[Announced], with: &[BorrowedFd<'_>]) {
    let lend = Lend {
        retired: retired.to_vec(),
        segments: segments.to_vec(),
    };
    socket.send(&lend, with, Duration::ZERO).unwrap();
}

#[test]
fn what_is_lent_is_read_in_place_and_its_hold_ends_when_it_comes_home() {
    let (mut here, mut there) = pair();
    let (payload, lent) = here.lend(100);
    there.check("w", &[lent]).unwrap();
    let (first, second) = (there.borrow(lent).unwrap(), there.borrow(lent).unwrap());
    let mapping = there.segments.mapping(first.segment).unwrap();
    assert_eq!(
        mapping.read(first.offset, 16).unwrap(),
        [lent.segment as u8; 16]
    );
    there.release(first);
    there.borrower.flush();
    assert_eq!(here.lender.hear().returned, [payload]);
    assert_eq!(here.lender.lent(), (0, 0));
    // Once more than it was lent breaks the rule.
    there.release(second);
    there.borrower.flush();
    let heard = here.lender.hear();
    assert!(heard.broken && heard.returned.is_empty(), "{heard:?}");
}

#[test]
fn a_payload_that_is_lent_twice_comes_home_twice() {
    let (mut here, mut there) = pair();
    let (payload, range) = here.payload(100);
    here.leases.hold(payload);
    let pieces = [(payload, range)];
    let lent = [(); 2].map(|()| here.lender.lend(&pieces, &here.segments).unwrap()[0]);
    here.lender.commit();
    assert_eq!(here.lender.lent(), (2, 200));
    assert_eq!(lent[0], lent[1]);
    there.check("w", &lent).unwrap();
    for left in [1, 0] {
        let borrowed = there.borrow(lent[0]).unwrap();
        there.release(borrowed);
        there.borrower.flush();
        assert_eq!(here.lender.hear().returned, [payload]);
        assert_eq!(here.lender.lent().0, left);
    }
}

#[test]
fn a_message_that_is_not_sent_lends_nothing() {
    let (mut here, _there) = pair();
    let (payload, range) = here.payload(100);
    here.lender
        .lend(&[(payload, range)], &here.segments)
        .unwrap();
    assert_eq!(here.lender.roll_back(), [payload]);
    here.lender.commit();
    assert_eq!(here.lender.lent(), (0, 0));
}

#[test]
fn a_segment_that_has_gone_is_unmapped_and_its_slot_may_come_again() {
    let (mut here, mut there) = pair();
    let (payload, lent) = here.lend(100);
    there.check("w", &[lent]).unwrap();
    let borrowed = there.borrow(lent).unwrap();
    there.release(borrowed);
    there.borrower.flush();
    assert_eq!(here.lender.hear().returned, [payload]);
    let Some(Freed::Range(range)) = here.leases.let_go(payload) else {
        panic!("the last view frees its range");
    };
    let _ = here.segments.release(range);
    assert!(here.segments.retire(lent.segment).is_some());
    here.lender.segment_gone(lent.segment, lent.generation);
    let (_, again) = here.lend(200);
    assert_eq!(again.segment, lent.segment, "the slot is used again");
    assert_ne!(again.generation, lent.generation);
    there.check("w", &[again]).unwrap();
    assert_eq!(there.gone.len(), 1, "the first one is unmapped");
    assert_eq!(there.segments.lent().segments, 1);
    assert!(there.check("w", &[lent]).is_err(), "and not known any more");
}

#[test]
fn what_cannot_be_mapped_is_streamed_and_so_is_what_follows_from_that_segment() {
    let (mut here, first) = pair();
    let (payload, range) = here.payload(100);
    let lent = here.lender.lend(&[(payload, range)], &here.segments);
    let lent = lent.unwrap()[0];
    here.lender.commit();
    // The descriptor is lost on the way: as where no descriptor is left.
    let received = first.borrower.fd().try_clone_to_owned().unwrap();
    let received = Socket::from_fd(received).unwrap();
    let lost = received.try_receive::<Lend>().unwrap().unwrap();
    let (socket, mut there) = rogue_lender();
    say(&socket, &[], &lost.message.segments, &[]);
    there.check("w", &[lent]).unwrap();
    assert_eq!(there.borrow(lent), None);
    there.borrower.ask_to_stream(7, Layout::Items, &[lent]);
    let asked = socket.try_receive::<Return>().unwrap().unwrap();
    received.send(&asked.message, &[], Duration::ZERO).unwrap();
    let heard = here.lender.hear();
    let [wish] = &heard.wishes[..] else {
        panic!("one wish and not {heard:?}");
    };
    assert_eq!((wish.transfer, wish.layout), (7, Layout::Items));
    assert_eq!(wish.pieces, [(payload, lent)]);
    assert_eq!(here.lender.lent(), (0, 0));
    let refused = here.lender.lend(&[(payload, range)], &here.segments);
    assert!(refused.unwrap_err().to_string().contains("cannot map"));
}

#[test]
fn a_lender_that_breaks_a_rule_is_not_heard_any_more() {
    let segment = || SegmentWriter::create("share-test", BYTES).unwrap();
    let (good, more) = (segment(), segment());
    let unsealed = tempfile::tempfile().unwrap();
    unsealed.set_len(BYTES).unwrap();
    let (good, more, unsealed) = (good.fd(), more.fd(), unsealed.as_fd());
    type Words<'a> = &'a dyn Fn(&Socket);
    let cases: [(&str, Words<'_>); 6] = [
        ("descriptors", &|socket| {
            say(socket, &[], &[announced(1, 1)], &[good, more]);
        }),
        ("no memfd", &|socket| {
            say(socket, &[], &[announced(1, 1)], &[unsealed]);
        }),
        ("twice", &|socket| {
            let twice = [announced(1, 1), announced(1, 2)];
            say(socket, &[], &twice, &[good, more]);
        }),
        ("retired", &|socket| {
            say(socket, &[announced(1, 1)], &[], &[])
        }),
        ("1024 segments", &|socket| {
            let many: Vec<_> = (0..1025).map(|segment| announced(segment, 1)).collect();
            say(socket, &[], &many, &[]);
        }),
        ("kind", &|socket| {
            let garbage = Return {
                ranges: Vec::new(),
                stream: None,
                last: false,
            };
            socket.send(&garbage, &[], Duration::ZERO).unwrap();
        }),
    ];
    for (what, case) in cases {
        let (socket, mut there) = rogue_lender();
        case(&socket);
        let broken = there.hear().unwrap_err();
        assert!(broken.contains(what), "{what}: {broken}");
        say(&socket, &[], &[announced(5, 1)], &[good]);
        there.hear().unwrap();
        let later = LentRange {
            segment: 5,
            generation: 1,
            offset: 0,
            bytes: 1,
        };
        assert!(there.check("w", &[later]).is_err(), "{what}");
    }
}

#[test]
fn what_was_not_announced_or_does_not_lie_there_or_is_of_another_workflow_is_refused() {
    let (mut here, mut there) = pair();
    let (_, lent) = here.lend(100);
    there.check("w", &[lent]).unwrap();
    let segment = lent.segment + 1;
    let generation = lent.generation + 1;
    for wrong in [
        LentRange { segment, ..lent },
        LentRange { generation, ..lent },
        LentRange {
            offset: BYTES - 99,
            ..lent
        },
        LentRange {
            offset: u64::MAX,
            ..lent
        },
    ] {
        assert!(there.check("w", &[wrong]).is_err(), "{wrong:?}");
    }
    let other = there.check("other", &[lent]).unwrap_err();
    assert!(other.contains("workflow w"), "{other}");
    there.check("w", &[lent]).unwrap();
}

#[test]
fn a_segment_of_which_ranges_are_lent_is_not_retired() {
    let (socket, mut there) = rogue_lender();
    let segment = SegmentWriter::create("share-test", BYTES).unwrap();
    say(&socket, &[], &[announced(1, 1)], &[segment.fd()]);
    let lent = LentRange {
        segment: 1,
        generation: 1,
        offset: 0,
        bytes: 10,
    };
    there.check("w", &[lent]).unwrap();
    let borrowed = there.borrow(lent).unwrap();
    say(&socket, &[announced(1, 1)], &[], &[]);
    assert!(there.hear().is_err());
    let mapping = there.segments.mapping(borrowed.segment);
    assert!(mapping.is_some(), "who reads it can read it");
    there.release(borrowed);
}

#[test]
fn a_borrower_that_says_nonsense_keeps_what_it_has_until_its_process_has_ended() {
    let (one, other) = Socket::pair().unwrap();
    let mut here = Here::new(one);
    let (payload, lent) = here.lend(100);
    say(&other, &[], &[announced(1, 1)], &[]);
    let heard = here.lender.hear();
    assert!(heard.broken && heard.ended.is_some(), "{heard:?}");
    // What it says later counts for nothing, and nor does what it closes.
    let returned = Return {
        ranges: vec![lent],
        stream: None,
        last: true,
    };
    other.send(&returned, &[], Duration::ZERO).unwrap();
    drop(other);
    assert!(here.lender.hear().returned.is_empty());
    here.lender.link_ended();
    assert!(!here.lender.is_over());
    let second = 1_000_000_000;
    assert!(here.lender.look_for_end(second).is_empty(), "it is there");
    here.process.end();
    assert!(here.lender.look_for_end(2 * second).is_empty());
    let soon = 2 * second + 1_000_000;
    assert!(
        here.lender.look_for_end(soon).is_empty(),
        "its executors are being killed"
    );
    assert_eq!(here.lender.look_for_end(3 * second), [payload]);
    assert!(here.lender.is_over());
}

#[test]
fn the_last_word_ends_every_loan_and_comes_only_when_nothing_is_read() {
    let (mut here, mut there) = pair();
    let (payload, lent) = here.lend(100);
    let (unread, _) = here.lend(100);
    there.check("w", &[lent]).unwrap();
    let borrowed = there.borrow(lent).unwrap();
    assert!(!there.borrower.is_over(), "its link stands");
    there.borrower.link_ended();
    assert!(!there.borrower.is_over(), "it is being read");
    assert!(here.lender.hear().returned.is_empty());
    there.release(borrowed);
    assert!(there.borrower.is_over());
    here.lender.link_ended();
    assert!(!here.lender.is_over());
    // One was never read: its message was lost with the link.
    assert_eq!(here.lender.hear().returned, [payload, unread]);
    assert!(here.lender.is_over());
    let gone = there.segments.share_gone(ShareId(1));
    assert_eq!(gone.len(), 2, "what it has heard of is unmapped");
}

#[test]
fn a_full_socket_and_a_full_table_lend_nothing_and_hold_nothing() {
    let (mut here, mut there) = pair();
    let mut lent = 0;
    let refused = loop {
        let (payload, range) = here.payload(100);
        match here.lender.lend(&[(payload, range)], &here.segments) {
            Ok(_) => here.lender.commit(),
            Err(refused) => break refused,
        }
        lent += 1;
        assert!(lent <= SEGMENTS_MAX, "nobody reads");
    };
    assert!(here.lender.roll_back().is_empty());
    assert_eq!(here.lender.lent().0, lent as u64);
    assert!(here.lender.complains(&refused), "{refused}");
    assert!(!here.lender.complains(&refused), "it is said once");
    there.hear().unwrap();
    let (payload, range) = here.payload(100);
    here.lender
        .lend(&[(payload, range)], &here.segments)
        .unwrap();
}

#[test]
fn what_is_borrowed_is_not_lent_on_and_counts_as_memory_of_its_lender_alone() {
    let (mut here, mut there) = pair();
    let (payload, lent) = here.lend(100);
    there.check("w", &[lent]).unwrap();
    let borrowed = there.borrow(lent).unwrap();
    assert_eq!((there.segments.count(), there.segments.bytes()), (0, 0));
    assert_eq!(there.segments.lent().bytes, BYTES);
    let mut third = Here::new(Socket::pair().unwrap().0);
    let refused = third.lender.lend(&[(payload, borrowed)], &there.segments);
    let refused = refused.unwrap_err();
    assert!(!third.lender.complains(&refused), "{refused}");
    there.release(borrowed);
}
