//! What links share on one host: loans to peers, and what they lend, between the links, the core and the segments.
//!
//! It owns the shares of the lane's links, by number. A share outlives its link: what was lent is held, and what was
//! borrowed is read, until each range has come home.

use super::connection::Connection;
use super::{ConnectionId, Door, Parts, Party, Peers, owner_of, worker_hash};
use crate::core::lease::Payload;
use crate::lane::command::{LaneReport, LinkNumber};
use crate::lane::compartments::Compartments;
use crate::lane::driver::{Driver, Piece, Watch};
use crate::lane::executors::second_descriptor;
use crate::lane::link::{Layout, Loans};
use crate::lane::segments::{Gone, Released, Segments, ShareId};
use crate::lane::share::{Borrower, Lender, LendingEnd, Wish};
use crate::plan::DeploymentId;
use crate::status::LaneCounters;
use crate::wire::LentRange;
use faasstore::descriptor::{ArenaRange, PayloadRef};
use faasstore::socket::Socket;
use rustc_hash::FxHashMap;
use std::os::fd::BorrowedFd;

/// In the token of a watch: it is of a share's socket.
pub(crate) const TOKEN_SHARE: u64 = 1 << 61;

/// The shares of a lane.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) lenders: FxHashMap<ShareId, Lender>,
    pub(super) borrowers: FxHashMap<ShareId, Borrower>,
    numbered: u32,
    /// Segments that have left the table, of which executors are to be told.
    pub(super) gone: Vec<Gone>,
    /// Payloads that were lent.
    pub(super) loans_out: u64,
    /// Payloads that were borrowed.
    loans_in: u64,
    /// Payloads that were streamed though their link shares.
    pub(super) loans_streamed: u64,
    /// Lenders and borrowers that broke a rule.
    broken: u64,
}

impl Shares {
    fn number(&mut self) -> ShareId {
        self.numbered += 1;
        ShareId(self.numbered)
    }
}

impl Peers {
    /// Takes a share with the lane to which the link goes.
    pub(super) fn lend_on(
        &mut self,
        id: ConnectionId,
        end: Option<LendingEnd>,
        parts: &mut Parts<'_>,
    ) {
        let (Some(end), Some(connection)) = (end, self.connections.get_mut(&id)) else {
            return;
        };
        let share = self.shares.number();
        let lender = Lender::new(end);
        if watched(parts.driver, share, lender.fd()) {
            connection.share = Some(share);
            self.shares.lenders.insert(share, lender);
        }
    }

    /// Takes a share with the lane from which that connection comes, if it still stands.
    pub(crate) fn share_in(
        &mut self,
        door: &Door,
        number: LinkNumber,
        socket: Socket,
        parts: &mut Parts<'_>,
    ) {
        let id = self.incoming.get(&(worker_hash(&door.worker), door.lane));
        let connection = id.and_then(|id| self.connections.get_mut(id));
        let Some(connection) = connection.filter(|it| it.number == Some(number) && !it.closing)
        else {
            return;
        };
        let share = self.shares.number();
        let borrower = Borrower::new(share, door.worker.clone(), socket);
        if watched(parts.driver, share, borrower.fd()) {
            connection.share = Some(share);
            self.shares.borrowers.insert(share, borrower);
        }
    }

    /// Something can be heard on a share's socket. Returns what the control thread is to be told.
    pub(crate) fn hear_share(
        &mut self,
        share: ShareId,
        parts: &mut Parts<'_>,
    ) -> Option<LaneReport> {
        let report = self.hear_borrower(share, parts);
        self.hear_lender(share, parts);
        self.end_share(share, parts);
        report
    }

    fn hear_borrower(&mut self, share: ShareId, parts: &mut Parts<'_>) -> Option<LaneReport> {
        let heard = self.shares.lenders.get_mut(&share)?.hear();
        parts.core.let_go_all(&heard.returned);
        for wish in heard.wishes {
            self.stream_lent(share, wish, parts);
        }
        self.shares.broken += u64::from(heard.broken);
        let reason = heard.ended?;
        let party = self.party_of(share).map(|id| &self.connections[&id].party);
        let Some(Party::Out {
            worker,
            lane,
            number,
        }) = party
        else {
            return None;
        };
        if heard.broken {
            tracing::warn!(%worker, lane, %reason, "memory is not shared with a worker on this host any more: its payloads are streamed");
        }
        Some(LaneReport::SharingEnded {
            worker: worker.clone(),
            to_lane: *lane,
            number: *number,
            reason,
        })
    }

    fn hear_lender(&mut self, share: ShareId, parts: &mut Parts<'_>) {
        let Some(borrower) = self.shares.borrowers.get_mut(&share) else {
            return;
        };
        if let Err(broken) = borrower.hear(parts.segments, &mut self.shares.gone) {
            self.shares.broken += 1;
            if let Some(id) = self.party_of(share) {
                self.lose(id, &format!("of what it lends: {broken}"), parts);
            }
        }
    }

    fn party_of(&self, share: ShareId) -> Option<ConnectionId> {
        let of_share = |connection: &Connection| connection.share == Some(share);
        let mut connections = self.connections.iter();
        connections.find_map(|(id, connection)| of_share(connection).then_some(*id))
    }

    /// The borrower could not map what it was lent: it is streamed, if the link still stands.
    fn stream_lent(&mut self, share: ShareId, wish: Wish, parts: &mut Parts<'_>) {
        let Wish {
            transfer,
            layout,
            pieces,
        } = wish;
        self.shares.loans_streamed += 1;
        let (payloads, ranges): (Vec<Payload>, Vec<LentRange>) = pieces.into_iter().unzip();
        let id = self.party_of(share);
        let connection = id.and_then(|id| Some((id, self.connections.get_mut(&id)?)));
        let Some((id, connection)) = connection.filter(|(_, connection)| !connection.closing)
        else {
            return parts.core.let_go_all(&payloads);
        };
        let pieces: Option<Vec<Piece>> = ranges
            .iter()
            .map(|range| super::bodies::piece(named(range), parts.segments))
            .collect();
        let Some(pieces) = pieces else {
            parts.core.let_go_all(&payloads);
            return self.lose(id, "what it was lent is gone", parts);
        };
        self.streams_begun += 1;
        let token = self.streams_begun;
        // They are few: all that had to be streamed after all takes turns together.
        let link = &mut connection.link;
        link.stream_lent(transfer, pieces, layout, token, owner_of(None));
        self.streaming.insert(token, payloads);
        self.dirty.push(id);
    }

    /// The link of a share has ended.
    pub(super) fn unlink_share(&mut self, share: ShareId, parts: &mut Parts<'_>) {
        if let Some(lender) = self.shares.lenders.get_mut(&share) {
            lender.link_ended();
        }
        if let Some(borrower) = self.shares.borrowers.get_mut(&share) {
            borrower.link_ended();
        }
        self.end_share(share, parts);
    }

    /// Ends a share by which nothing is lent any more.
    fn end_share(&mut self, share: ShareId, parts: &mut Parts<'_>) {
        let borrowers = &mut self.shares.borrowers;
        if borrowers.get_mut(&share).is_some_and(Borrower::is_over) {
            borrowers.remove(&share);
            let gone = parts.segments.share_gone(share);
            self.shares.gone.extend(gone);
            parts.driver.unwatch(token(share));
        }
        let lenders = &mut self.shares.lenders;
        if lenders.get(&share).is_some_and(Lender::is_over) {
            lenders.remove(&share);
            parts.driver.unwatch(token(share));
        }
    }

    /// Ranges that messages named which came to nothing.
    pub(super) fn release_unread(&mut self, unread: Vec<PayloadRef>, segments: &mut Segments) {
        for range in unread {
            match segments.release(range) {
                Released::ToPeer(share, range) => self.return_to_peer(share, range),
                Released::SegmentGone(gone) => self.shares.gone.push(gone),
                Released::ToExecutor(..) | Released::ToLane(_) | Released::Kept => {}
            }
        }
    }

    /// The last reader of a range that a peer lends has ended.
    pub(crate) fn return_to_peer(&mut self, share: ShareId, range: ArenaRange) {
        if let Some(borrower) = self.shares.borrowers.get_mut(&share) {
            borrower.released(range);
        }
    }

    /// Segments that have left the table on account of shares, since the last call.
    pub(crate) fn take_gone(&mut self, gone: &mut Vec<Gone>) {
        gone.append(&mut self.shares.gone);
    }

    /// A segment has left the table: borrowers are to unmap it.
    pub(crate) fn segment_gone(&mut self, gone: &Gone) {
        for lender in self.shares.lenders.values_mut() {
            lender.segment_gone(gone.slot, gone.generation);
        }
    }

    /// Says on all shares what could wait until now. Returns how much could not be said.
    pub(crate) fn settle_shares(&mut self, parts: &mut Parts<'_>) -> usize {
        if self.shares.lenders.is_empty() && self.shares.borrowers.is_empty() {
            return 0;
        }
        let mut unsent = 0;
        let mut over = Vec::new();
        for lender in self.shares.lenders.values_mut() {
            // What found no room is counted.
            let _ = lender.flush();
            unsent += lender.unsent();
        }
        for (share, borrower) in &mut self.shares.borrowers {
            borrower.flush();
            unsent += borrower.unsent();
            if borrower.is_over() {
                over.push(*share);
            }
        }
        for share in over {
            self.end_share(share, parts);
        }
        unsent
    }

    /// At a beat: looks for what the kernel did not tell of, and for the end of borrowers that cannot be heard any more. True while there
    /// is anything to look for.
    pub(super) fn beat_shares(&mut self, parts: &mut Parts<'_>) -> bool {
        let shares = &self.shares;
        let all: Vec<ShareId> = shares
            .lenders
            .keys()
            .chain(shares.borrowers.keys())
            .copied()
            .collect();
        for share in all {
            // What it would report was reported when it could first be heard.
            let _ = self.hear_share(share, parts);
            if let Some(lender) = self.shares.lenders.get_mut(&share) {
                let ended = lender.look_for_end(parts.now_ns);
                parts.core.let_go_all(&ended);
            }
            self.end_share(share, parts);
        }
        self.settle_shares(parts);
        !(self.shares.lenders.is_empty() && self.shares.borrowers.is_empty())
    }

    pub(super) fn publish_shares(&self, counters: &LaneCounters, segments: &Segments) {
        let shares = &self.shares;
        let lent = shares.lenders.values().map(Lender::lent);
        let (ranges, bytes) = lent.fold((0, 0), |sum, lent| (sum.0 + lent.0, sum.1 + lent.1));
        counters.lent_ranges.set(ranges);
        counters.lent_bytes.set(bytes);
        let borrowed = segments.lent();
        counters.borrowed_segments.set(borrowed.segments);
        counters.borrowed_segment_bytes.set(borrowed.bytes);
        let of_links = self.connections.values();
        let sharing =
            of_links.filter(|connection| connection.share.is_some() && !connection.closing);
        counters.links_sharing.set(sharing.count() as u64);
        counters.loans_out.set(shares.loans_out);
        counters.loans_in.set(shares.loans_in);
        counters.loans_streamed.set(shares.loans_streamed);
        counters.shares_broken.set(shares.broken);
    }
}

const fn token(share: ShareId) -> u64 {
    TOKEN_SHARE | share.0 as u64
}

/// The share whose watch has this token.
pub(crate) fn share_of(token: u64) -> Option<ShareId> {
    (token & TOKEN_SHARE != 0).then_some(ShareId(token as u32))
}

/// Whether the lane hears of what comes by the share's socket from now on. Otherwise nothing is shared.
fn watched(driver: &mut Driver, share: ShareId, socket: BorrowedFd<'_>) -> bool {
    let watched = second_descriptor(socket)
        .and_then(|socket| driver.watch(socket, token(share), Watch::Doorbell));
    if let Err(error) = &watched {
        tracing::warn!(%error, "memory cannot be shared on a link, so its payloads are streamed; raise `ulimit -n`");
    }
    watched.is_ok()
}

/// A range of this lane's own table that is lent, as the table names it.
const fn named(range: &LentRange) -> PayloadRef {
    PayloadRef {
        segment: range.segment,
        generation: range.generation,
        offset: range.offset,
        length: range.bytes,
    }
}

/// What the peer of one link lends, for that link.
pub(super) struct Borrowing<'a> {
    pub(super) share: Option<ShareId>,
    pub(super) shares: &'a mut Shares,
    pub(super) segments: &'a mut Segments,
    pub(super) compartments: &'a Compartments,
}

impl Borrowing<'_> {
    fn borrower(&mut self) -> Option<(&mut Borrower, &mut Segments)> {
        let borrower = self.shares.borrowers.get_mut(&self.share?)?;
        Some((borrower, self.segments))
    }
}

impl Loans for Borrowing<'_> {
    fn check(&mut self, deployment: DeploymentId, ranges: &[LentRange]) -> Result<(), String> {
        let workflow = self.compartments.workflow_of(deployment);
        let shares = &mut *self.shares;
        let borrower = self
            .share
            .and_then(|share| shares.borrowers.get_mut(&share));
        let borrower = borrower.ok_or("no memory is shared on this link")?;
        borrower.check(workflow, ranges, self.segments, &mut shares.gone)
    }

    fn borrow(&mut self, ranges: &[LentRange]) -> Option<Vec<PayloadRef>> {
        let (borrower, segments) = self.borrower()?;
        let borrowed = borrower.borrow(ranges, segments)?;
        self.shares.loans_in += 1;
        Some(borrowed)
    }

    fn give_back(&mut self, ranges: &[LentRange]) {
        if let Some((borrower, _)) = self.borrower() {
            borrower.give_back(ranges);
        }
    }

    fn ask_to_stream(&mut self, transfer: u64, layout: Layout, ranges: &[LentRange]) {
        if let Some((borrower, _)) = self.borrower() {
            borrower.ask_to_stream(transfer, layout, ranges);
        }
    }
}
