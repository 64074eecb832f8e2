//! The end of a share that lends.
//!
//! It owns which segments the borrower has been told of, and the holds of what is lent. It promises that a hold is let go
//! of once, when the borrower has returned the range, has said its last word, or has ended; and never before.

use super::{DATAGRAMS_MAX, Lend, LendingEnd, RANGES_MAX, Return, SEGMENTS_MAX, Unhad};
use crate::core::lease::Payload;
use crate::lane::link::Layout;
use crate::lane::segments::Segments;
use crate::wire::LentRange;
use faasstore::binding::Announced;
use faasstore::descriptor::PayloadRef;
use faasstore::socket::{DESCRIPTORS_MAX, Socket, SocketError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustc_hash::FxHashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use thiserror::Error;

/// How long executors of a borrower that has ended may take to be gone. The kernel has sent them SIGKILL when its end is
/// seen.
const GONE_NS: u64 = 200_000_000;

/// Why something is not lent, but streamed.
#[derive(Debug, Error)]
pub(crate) enum Unlent {
    /// It is no memory of this lane's or its executors'.
    #[error("it lies in memory that this worker has borrowed itself")]
    Borrowed,
    /// The borrower has said so of one of its segments.
    #[error("the other worker cannot map it")]
    Unmappable,
    /// It knows as many segments as it may.
    #[error("{SEGMENTS_MAX} segments are shared on this link already, which is the limit")]
    Segments,
    /// A segment cannot be passed on.
    #[error("a segment cannot be passed on: {0}; `ulimit -n` bounds descriptors on their way too")]
    Socket(#[from] SocketError),
    /// Nothing more is lent by this share.
    #[error("sharing with it has ended")]
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    generation: u32,
    lendable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Lending,
    /// Its link has ended: what is lent is waited for.
    Winding,
    /// Nothing can be heard of the borrower any more. Its process is waited for, which was seen to have ended at this time.
    Deaf {
        ended_ns: Option<u64>,
    },
}

/// What was lent and is to be streamed after all: the borrower could not map it.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) transfer: u64,
    pub(crate) layout: Layout,
    /// In order.
    pub(crate) pieces: Vec<(Payload, LentRange)>,
}

/// What was heard of a borrower.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Holds that have ended.
    pub(crate) returned: Vec<Payload>,
    pub(crate) wishes: Vec<Wish>,
    /// Why nothing more is lent, if that is so from now on.
    pub(crate) ended: Option<String>,
    /// Whether that is because it broke a rule.
    pub(crate) broken: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Lender {
    socket: Socket,
    borrower: OwnedFd,
    told: FxHashMap<u32, Told>,
    lent: FxHashMap<LentRange, Vec<Payload>>,
    ranges: u64,
    bytes: u64,
    /// Of the message in the making.
    pending: Vec<(LentRange, Payload)>,
    /// Segments that have gone, of which the borrower is to be told.
    retired: Vec<Announced>,
    phase: Phase,
    /// Whether something that was not lent has been said in the log.
    complained: bool,
}

impl Lender {
    pub(crate) fn new(end: LendingEnd) -> Self {
        Self {
            socket: end.socket,
            borrower: end.borrower,
            told: FxHashMap::default(),
            lent: FxHashMap::default(),
            ranges: 0,
            bytes: 0,
            pending: Vec::new(),
            retired: Vec::new(),
            phase: Phase::Lending,
            complained: false,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Ranges that are lent, and their bytes.
    pub(crate) const fn lent(&self) -> (u64, u64) {
        (self.ranges, self.bytes)
    }

    /// Whether to say in the log why something is not lent: once for each share, and not of what is as it should be.
    pub(crate) fn complains(&mut self, cause: &Unlent) -> bool {
        match cause {
            Unlent::Borrowed | Unlent::Unmappable | Unlent::Ended => false,
            Unlent::Segments | Unlent::Socket(_) => !std::mem::replace(&mut self.complained, true),
        }
    }

    /// Lends pieces of a payload, as part of a message that is being made: the borrower knows their segments when this returns.
    /// The holds of the pieces are the lender's from now on. If one cannot be lent, none is.
    pub(crate) fn lend(
        &mut self,
        pieces: &[(Payload, PayloadRef)],
        segments: &Segments,
    ) -> Result<Vec<LentRange>, Unlent> {
        if self.phase != Phase::Lending {
            return Err(Unlent::Ended);
        }
        let mut new = Vec::new();
        for (_, range) in pieces {
            let generation = segments.lendable(range.segment);
            let generation = generation.ok_or(Unlent::Borrowed)?;
            debug_assert_eq!(generation, range.generation, "what is held is there");
            match self.told.get(&range.segment) {
                Some(told) if told.lendable => {}
                Some(_) => return Err(Unlent::Unmappable),
                None if new.iter().any(|(known, _)| *known == range.segment) => {}
                None => new.push((range.segment, generation)),
            }
        }
        if !new.is_empty() {
            self.tell(&new, segments)?;
        }
        let lent = pieces.iter().map(|(payload, range)| {
            let lent = LentRange {
                segment: range.segment,
                generation: range.generation,
                offset: range.offset,
                bytes: range.length,
            };
            self.pending.push((lent, *payload));
            lent
        });
        Ok(lent.collect())
    }

    /// Tells the borrower of segments.
    #[cold]
    fn tell(&mut self, new: &[(u32, u32)], segments: &Segments) -> Result<(), Unlent> {
        if self.told.len() + new.len() > SEGMENTS_MAX {
            return Err(Unlent::Segments);
        }
        // What has gone comes first: a new segment may have the number of an old one.
        self.flush()?;
        for new in new.chunks(DESCRIPTORS_MAX) {
            let known = new.iter().filter_map(|(segment, generation)| {
                let announced = Announced {
                    segment: *segment,
                    generation: *generation,
                };
                Some((announced, segments.mapping(*segment)?.fd()))
            });
            let (announced, descriptors): (Vec<_>, Vec<_>) = known.unzip();
            let lend = Lend {
                retired: Vec::new(),
                segments: announced,
            };
            self.socket.send(&lend, &descriptors, Duration::ZERO)?;
            for (segment, generation) in new {
                let told = Told {
                    generation: *generation,
                    lendable: true,
                };
                self.told.insert(*segment, told);
            }
        }
        Ok(())
    }

    /// The message in the making is on its way.
    pub(crate) fn commit(&mut self) {
        for (range, payload) in self.pending.drain(..) {
            self.ranges += 1;
            self.bytes += range.bytes;
            self.lent.entry(range).or_default().push(payload);
        }
    }

    /// The message in the making is not sent. Returns its holds.
    pub(crate) fn roll_back(&mut self) -> Vec<Payload> {
        self.pending.drain(..).map(|(_, payload)| payload).collect()
    }

    /// A segment has left the table.
    pub(crate) fn segment_gone(&mut self, segment: u32, generation: u32) {
        let told = self.told.get(&segment);
        if told.is_some_and(|told| told.generation == generation) {
            self.told.remove(&segment);
            self.retired.push(Announced {
                segment,
                generation,
            });
        }
    }

    /// Tells the borrower of segments that have gone.
    ///
    /// # Errors
    /// The socket has no room, or is closed: to be tried again.
    pub(crate) fn flush(&mut self) -> Result<(), SocketError> {
        if matches!(self.phase, Phase::Deaf { .. }) {
            self.retired.clear();
        }
        while !self.retired.is_empty() {
            let some = self.retired.len().min(RANGES_MAX);
            let lend = Lend {
                retired: self.retired[..some].to_vec(),
                segments: Vec::new(),
            };
            self.socket.send(&lend, &[], Duration::ZERO)?;
            self.retired.drain(..some);
        }
        Ok(())
    }

    /// Segments of which the borrower is still to be told that they have gone.
    pub(crate) fn unsent(&self) -> usize {
        self.retired.len()
    }

    /// Takes in what the borrower has said.
    pub(crate) fn hear(&mut self) -> Heard {
        let mut heard = Heard::default();
        for _ in 0..DATAGRAMS_MAX {
            if matches!(self.phase, Phase::Deaf { .. }) {
                break;
            }
            match self.socket.try_receive::<Return>() {
                Ok(None) => break,
                Ok(Some(received)) => self.on_return(received.message, &mut heard),
                Err(SocketError::Closed) => self.is_deaf("it has closed the socket", &mut heard),
                Err(error) => self.is_broken(&error.to_string(), &mut heard),
            }
        }
        heard
    }

    fn on_return(&mut self, said: Return, heard: &mut Heard) {
        let Return {
            ranges,
            stream,
            last,
        } = said;
        for range in ranges {
            let Some(payload) = self.take_back(range) else {
                return self.is_broken("it returned what it had not borrowed", heard);
            };
            heard.returned.push(payload);
        }
        if let Some(Unhad {
            transfer,
            list,
            ranges,
        }) = stream
        {
            let mut pieces = Vec::with_capacity(ranges.len());
            for range in ranges {
                let Some(payload) = self.take_back(range) else {
                    heard
                        .returned
                        .extend(pieces.into_iter().map(|(payload, _)| payload));
                    return self.is_broken("it could not map what it had not borrowed", heard);
                };
                // It will not be able to map the segment for another payload either.
                if let Some(told) = self.told.get_mut(&range.segment) {
                    told.lendable &= told.generation != range.generation;
                }
                pieces.push((payload, range));
            }
            let layout = if list { Layout::Items } else { Layout::Bytes };
            heard.wishes.push(Wish {
                transfer,
                layout,
                pieces,
            });
        }
        if last {
            heard.returned.append(&mut self.take_all());
            self.is_deaf("it has said its last word", heard);
        }
    }

    fn take_back(&mut self, range: LentRange) -> Option<Payload> {
        let holds = self.lent.get_mut(&range)?;
        let payload = holds.pop()?;
        if holds.is_empty() {
            self.lent.remove(&range);
        }
        self.ranges -= 1;
        self.bytes -= range.bytes;
        Some(payload)
    }

    fn take_all(&mut self) -> Vec<Payload> {
        (self.ranges, self.bytes) = (0, 0);
        self.lent.drain().flat_map(|(_, holds)| holds).collect()
    }

    fn is_broken(&mut self, why: &str, heard: &mut Heard) {
        heard.broken = true;
        self.is_deaf(why, heard);
    }

    /// Nothing that it says is heard or believed from now on.
    fn is_deaf(&mut self, why: &str, heard: &mut Heard) {
        if self.phase == Phase::Lending {
            heard.ended = Some(why.to_owned());
        }
        self.phase = Phase::Deaf { ended_ns: None };
    }

    /// The link has ended: nothing more is lent.
    pub(crate) fn link_ended(&mut self) {
        if self.phase == Phase::Lending {
            self.phase = Phase::Winding;
        }
    }

    /// Whether nothing is lent, and nothing will be.
    pub(crate) fn is_over(&self) -> bool {
        self.phase != Phase::Lending && self.ranges == 0
    }

    /// Looks whether a borrower of which nothing can be heard any more has ended. Returns the holds that end with it.
    pub(crate) fn look_for_end(&mut self, now_ns: u64) -> Vec<Payload> {
        let Phase::Deaf { ended_ns } = &mut self.phase else {
            return Vec::new();
        };
        let mut descriptors = [PollFd::new(self.borrower.as_fd(), PollFlags::POLLIN)];
        let ended = poll(&mut descriptors, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if !ended {
            return Vec::new();
        }
        let since_ns = *ended_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since_ns) < GONE_NS {
            return Vec::new();
        }
        self.take_all()
    }
}
