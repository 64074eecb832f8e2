//! The end of a share that borrows.
//!
//! It owns which of the lender's segments are known here, and what is on its way back. It promises that nothing is read that
//! was not announced, sealed and of one workflow, and that each range is returned once, exactly as it was lent.

use super::{DATAGRAMS_MAX, Lend, RANGES_MAX, Return, SEGMENTS_MAX, Unhad};
use crate::lane::link::Layout;
use crate::lane::segments::{Gone, Mapping, Owner, Segments, ShareId};
use crate::wire::LentRange;
use faasstore::arena::{Compartment, SEGMENT_BYTES_MAX};
use faasstore::binding::Announced;
use faasstore::descriptor::{ArenaRange, PayloadRef};
use faasstore::segment::{SegmentError, SegmentReader};
use faasstore::socket::{Socket, SocketError};
use rustc_hash::FxHashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Ranges, or bytes of them, that are returned at once; fewer wait until the lane has nothing else to do.
const RETURNED_AT_ONCE: usize = 32;
const RETURNED_AT_ONCE_BYTES: u64 = 256 << 10;

/// A segment of the lender's, by its slot there.
#[derive(Debug)]
struct Known {
    generation: u32,
    /// Its slot here; none if it cannot be mapped.
    slot: Option<u32>,
    /// Whose payloads it has been seen to hold.
    workflow: Option<String>,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Borrower {
    share: ShareId,
    /// For people.
    lender: String,
    socket: Socket,
    known: FxHashMap<u32, Known>,
    /// Ranges that are leased here.
    borrowed: u64,
    returned: Vec<LentRange>,
    returned_bytes: u64,
    unhad: Vec<Unhad>,
    link_ended: bool,
    /// The lender has closed its end.
    closed: bool,
    /// It is not believed any more.
    deaf: bool,
    /// Whether something that could not be mapped has been said in the log.
    complained: bool,
}

impl Borrower {
    pub(crate) fn new(share: ShareId, lender: String, socket: Socket) -> Self {
        Self {
            share,
            lender,
            socket,
            known: FxHashMap::default(),
            borrowed: 0,
            returned: Vec::new(),
            returned_bytes: 0,
            unhad: Vec::new(),
            link_ended: false,
            closed: false,
            deaf: false,
            complained: false,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes in what the lender has said.
    ///
    /// # Errors
    /// It breaks a rule, and is not heard any more.
    pub(crate) fn hear(
        &mut self,
        segments: &mut Segments,
        gone: &mut Vec<Gone>,
    ) -> Result<(), String> {
        for _ in 0..DATAGRAMS_MAX {
            if self.closed || self.deaf {
                break;
            }
            let said = match self.socket.try_receive_short::<Lend>() {
                Ok(None) => break,
                Ok(Some(received)) => {
                    self.on_lend(received.message, received.descriptors, segments, gone)
                }
                Err(SocketError::Closed) => {
                    self.closed = true;
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            };
            if said.is_err() {
                self.deaf = true;
                return said;
            }
        }
        Ok(())
    }

    fn on_lend(
        &mut self,
        said: Lend,
        descriptors: Vec<OwnedFd>,
        segments: &mut Segments,
        gone: &mut Vec<Gone>,
    ) -> Result<(), String> {
        for Announced {
            segment,
            generation,
        } in said.retired
        {
            let known = self.known.remove(&segment);
            let known = known.filter(|known| known.generation == generation);
            let known = known.ok_or("it retired a segment that it had not announced")?;
            if let Some(slot) = known.slot {
                let left = segments.retire(slot);
                gone.push(left.ok_or("it retired a segment of which ranges are lent")?);
            }
        }
        if descriptors.len() > said.segments.len() {
            let (more, fewer) = (descriptors.len(), said.segments.len());
            return Err(format!("it sent {more} descriptors for {fewer} segments"));
        }
        if self.known.len() + said.segments.len() > SEGMENTS_MAX {
            return Err(format!(
                "it announced more than the {SEGMENTS_MAX} segments that one link may share"
            ));
        }
        let mut descriptors = descriptors.into_iter();
        for Announced {
            segment,
            generation,
        } in said.segments
        {
            let slot = match descriptors.next() {
                Some(descriptor) => self.map(descriptor, segment, generation, segments)?,
                None => self.cannot_map("no descriptor is left for it; raise `ulimit -n`"),
            };
            let known = Known {
                generation,
                slot,
                workflow: None,
            };
            if self.known.insert(segment, known).is_some() {
                return Err(format!("it announced segment {segment} twice"));
            }
        }
        Ok(())
    }

    /// Maps a segment, if that is possible; an error if it is none.
    fn map(
        &mut self,
        descriptor: OwnedFd,
        index: u32,
        generation: u32,
        segments: &mut Segments,
    ) -> Result<Option<u32>, String> {
        match SegmentReader::open_lazily(descriptor, SEGMENT_BYTES_MAX) {
            Ok(segment) => Ok(Some(segments.add(
                Mapping::Foreign(Arc::new(segment)),
                Owner::Peer(self.share),
                Compartment::FIRST,
                index,
                generation,
            ))),
            Err(error @ SegmentError::Map { .. }) => Ok(self.cannot_map(&error.to_string())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn cannot_map(&mut self, why: &str) -> Option<u32> {
        if !std::mem::replace(&mut self.complained, true) {
            let lender = &self.lender;
            tracing::warn!(%lender, %why, "a segment of a worker on this host cannot be mapped: its payloads are streamed");
        }
        None
    }

    /// Whether all of these are lent, for payloads of that workflow; of an unknown one nothing is noted.
    pub(crate) fn check(
        &mut self,
        workflow: Option<&str>,
        ranges: &[LentRange],
        segments: &mut Segments,
        gone: &mut Vec<Gone>,
    ) -> Result<(), String> {
        for range in ranges {
            let here = |known: &Known| known.generation == range.generation;
            if !self.known.get(&range.segment).is_some_and(here) {
                self.hear(segments, gone)?;
            }
            let known = self
                .known
                .get_mut(&range.segment)
                .filter(|known| here(known));
            let LentRange {
                segment,
                offset,
                bytes,
                ..
            } = *range;
            let Some(known) = known else {
                return Err(format!("segment {segment} was not announced"));
            };
            if let Some(slot) = known.slot
                && segments.name(slot, offset, bytes).is_none()
            {
                return Err(format!(
                    "{bytes} bytes at {offset} do not lie in segment {segment}"
                ));
            }
            match (&known.workflow, workflow) {
                (Some(seen), Some(workflow)) if seen != workflow => {
                    return Err(format!(
                        "segment {segment} holds payloads of workflow {seen}, and not of {workflow}"
                    ));
                }
                (None, Some(workflow)) => known.workflow = Some(workflow.to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Leases ranges that were checked; none if one of them cannot be mapped.
    pub(crate) fn borrow(
        &mut self,
        ranges: &[LentRange],
        segments: &mut Segments,
    ) -> Option<Vec<PayloadRef>> {
        let slot_of = |range: &LentRange| self.known.get(&range.segment)?.slot;
        let slots: Option<Vec<u32>> = ranges.iter().map(slot_of).collect();
        let places = slots?.into_iter().zip(ranges);
        let leased: Vec<PayloadRef> = places
            .filter_map(|(slot, range)| segments.lease(slot, range.offset, range.bytes))
            .collect();
        debug_assert_eq!(leased.len(), ranges.len(), "they were checked");
        self.borrowed += leased.len() as u64;
        Some(leased)
    }

    /// Ranges that nobody has leased go back.
    pub(crate) fn give_back(&mut self, ranges: &[LentRange]) {
        for range in ranges {
            self.returned_bytes += range.bytes;
            self.returned.push(*range);
        }
    }

    /// The last reader of a range has ended.
    pub(crate) fn released(&mut self, range: ArenaRange) {
        self.borrowed -= 1;
        self.give_back(&[LentRange {
            segment: range.segment,
            generation: range.generation,
            offset: range.offset,
            bytes: range.length,
        }]);
        if self.returned.len() >= RETURNED_AT_ONCE || self.returned_bytes >= RETURNED_AT_ONCE_BYTES
        {
            self.flush();
        }
    }

    /// Has a payload streamed that cannot be mapped.
    pub(crate) fn ask_to_stream(&mut self, transfer: u64, layout: Layout, ranges: &[LentRange]) {
        self.unhad.push(Unhad {
            transfer,
            list: layout == Layout::Items,
            ranges: ranges.to_vec(),
        });
        self.flush();
    }

    /// Says what is to be said, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(unhad) = self.unhad.pop() {
            if !self.say(Vec::new(), Some(unhad.clone()), false) {
                self.unhad.push(unhad);
                return;
            }
        }
        while !self.returned.is_empty() {
            let some = self.returned.len().min(RANGES_MAX);
            if !self.say(self.returned[..some].to_vec(), None, false) {
                return;
            }
            self.returned.drain(..some);
        }
        self.returned_bytes = 0;
    }

    /// False if it has to be tried again.
    fn say(&mut self, ranges: Vec<LentRange>, stream: Option<Unhad>, last: bool) -> bool {
        let said = Return {
            ranges,
            stream,
            last,
        };
        match self.socket.send(&said, &[], Duration::ZERO) {
            Ok(()) => true,
            Err(SocketError::Closed) => {
                // Nobody is there who would want to know.
                self.closed = true;
                true
            }
            Err(_) => false,
        }
    }

    /// What is still to be said.
    pub(crate) fn unsent(&self) -> usize {
        self.returned.len() + self.unhad.len()
    }

    /// The link has ended: nothing more is borrowed.
    pub(crate) fn link_ended(&mut self) {
        self.link_ended = true;
        // Nothing comes by the link any more.
        for unhad in std::mem::take(&mut self.unhad) {
            self.give_back(&unhad.ranges);
        }
    }

    /// Whether nothing is borrowed, and nothing will be. The lender has been told so.
    pub(crate) fn is_over(&mut self) -> bool {
        if !self.link_ended || self.borrowed > 0 {
            return false;
        }
        self.flush();
        self.unsent() == 0 && (self.closed || self.say(Vec::new(), None, true))
    }
}
