//! Between payloads and the bodies of messages.

use super::Parts;
use crate::core::lease::Payload;
use crate::core::{Core, Incoming, Outgoing};
use crate::lane::driver::{Piece, PieceSegment};
use crate::lane::executors::lease_own;
use crate::lane::link::{Landed, Landing, Layout, Link};
use crate::lane::segments::{Mapping, Segments};
use crate::lane::share::{Lender, RANGE_BYTES_MIN, RANGES_MAX};
use crate::plan::{DeploymentId, PortRef};
use crate::wire::{self, Body, Data, ITEM_ABSENT, ITEM_ALIGN, Section};
use faasstore::descriptor::PayloadRef;

/// Turns payloads into bodies of a message on one link.
pub(super) struct Bodies<'a> {
    pub(super) link: &'a mut Link,
    /// To a lane on this host.
    pub(super) lender: Option<&'a mut Lender>,
    /// Payloads that are lent, and that are streamed instead.
    pub(super) lent: u64,
    pub(super) unlent: u64,
    pub(super) inline_bytes_max: u64,
    /// Whose turn payloads take that are streamed.
    pub(super) owner: u64,
    pub(super) streams: &'a mut u64,
    pub(super) begun: Vec<(u64, Vec<Payload>)>,
}

impl Bodies<'_> {
    /// Queues a message behind the payloads that it announces. If it is refused, so are they.
    pub(super) fn queue<T: crate::lane::link::Message>(
        &mut self,
        message: &T,
        parts: &mut Parts<'_>,
    ) -> Result<(), String> {
        let Err(refused) = self.link.queue(message) else {
            return Ok(());
        };
        self.let_go(&refused.tokens, parts.core);
        Err(refused.to_string())
    }

    /// The message is not sent, so that nobody announces what was to follow it.
    pub(super) fn withdraw(&mut self, core: &mut Core) {
        let tokens = self.link.withdraw();
        self.let_go(&tokens, core);
    }

    /// What is not streamed is let go of, since nobody would give it back any more.
    fn let_go(&mut self, tokens: &[u64], core: &mut Core) {
        self.begun.retain(|(token, payloads)| {
            let goes = !tokens.contains(token);
            if !goes {
                core.let_go_all(payloads);
            }
            goes
        });
    }

    /// The bodies of a message, by number, each with what the plan says of it.
    pub(super) fn at(
        &mut self,
        payloads: Vec<(u16, Outgoing)>,
        deployment: DeploymentId,
        port: impl Fn(&u16) -> PortRef,
        parts: &mut Parts<'_>,
    ) -> Result<Vec<(u16, Body)>, String> {
        let schema = |number: &u16, core: &Core| core.schema_of(deployment, port(number));
        self.of(payloads, schema, parts)
    }

    /// The bodies of a message, by number or name, and what is said of each. If one cannot be sent, those behind it are not
    /// either, and are let go of here.
    pub(super) fn of<K>(
        &mut self,
        payloads: Vec<(K, Outgoing)>,
        schema: impl Fn(&K, &Core) -> u64,
        parts: &mut Parts<'_>,
    ) -> Result<Vec<(K, Body)>, String> {
        let mut bodies = Vec::with_capacity(payloads.len());
        let mut left = payloads.into_iter();
        while let Some((key, outgoing)) = left.next() {
            let schema = schema(&key, parts.core);
            match self.body(outgoing, schema, parts) {
                Ok(body) => bodies.push((key, body)),
                Err(cause) => {
                    left.for_each(|(_, outgoing)| parts.core.let_go_all(outgoing.payloads()));
                    return Err(cause);
                }
            }
        }
        Ok(bodies)
    }

    pub(super) fn body(
        &mut self,
        outgoing: Outgoing,
        schema: u64,
        parts: &mut Parts<'_>,
    ) -> Result<Body, String> {
        let items = match &outgoing {
            Outgoing::One(_) => None,
            Outgoing::List(items) | Outgoing::Section(items, _) => {
                let length = |item: &Payload| match item.is_absent() {
                    true => ITEM_ABSENT,
                    false => item.length(),
                };
                Some(items.iter().map(length).collect::<Vec<u64>>())
            }
        };
        let section = match &outgoing {
            Outgoing::Section(_, section) => Some(*section),
            Outgoing::One(_) | Outgoing::List(_) => None,
        };
        let bytes = body_bytes(&outgoing);
        let data = if bytes <= self.inline_bytes_max {
            let data = Data::Inline(gather(&outgoing, bytes, parts));
            parts.core.let_go_all(outgoing.payloads());
            data
        } else if let Some(data) = self.lend(&outgoing, parts) {
            data
        } else {
            self.stream(outgoing, items.is_some(), parts)?
        };
        Ok(Body {
            items,
            section,
            schema,
            data,
        })
    }

    /// Lends a payload to a lane on this host; none if it has to be streamed.
    fn lend(&mut self, outgoing: &Outgoing, parts: &mut Parts<'_>) -> Option<Data> {
        let lender = self.lender.as_deref_mut()?;
        let payloads = outgoing.payloads().iter();
        let located = payloads.map(|payload| (*payload, parts.core.locate(*payload)));
        let pieces: Vec<_> = located.filter(|(_, range)| range.is_range()).collect();
        let bytes: u64 = pieces.iter().map(|(_, range)| range.length).sum();
        let count = pieces.len();
        if count == 0 || count > RANGES_MAX || bytes / (count as u64) < RANGE_BYTES_MIN {
            return None;
        }
        match lender.lend(&pieces, parts.segments) {
            Ok(ranges) => {
                self.lent += 1;
                let transfer = self.link.reserve_transfer();
                Some(Data::Lent { transfer, ranges })
            }
            Err(cause) => {
                self.unlent += 1;
                if lender.complains(&cause) {
                    tracing::warn!(%cause, "a payload for a worker on this host is streamed instead of lent");
                }
                None
            }
        }
    }

    /// The message was queued, or is not sent: what it lends is lent, or let go of.
    pub(super) fn settle_loans(&mut self, queued: bool, core: &mut Core) {
        let Some(lender) = self.lender.as_deref_mut() else {
            return;
        };
        if queued {
            lender.commit();
        } else {
            core.let_go_all(&lender.roll_back());
        }
    }

    pub(super) fn stream(
        &mut self,
        outgoing: Outgoing,
        list: bool,
        parts: &mut Parts<'_>,
    ) -> Result<Data, String> {
        let layout = if list { Layout::Items } else { Layout::Bytes };
        let pieces = outgoing
            .payloads()
            .iter()
            .filter_map(|payload| piece(parts.core.locate(*payload), parts.segments))
            .collect();
        *self.streams += 1;
        let token = *self.streams;
        let payloads = match outgoing {
            Outgoing::One(payload) => vec![payload],
            Outgoing::List(items) | Outgoing::Section(items, _) => items,
        };
        match self.link.stream(pieces, layout, token, self.owner) {
            Ok(data) => {
                self.begun.push((token, payloads));
                Ok(data)
            }
            Err(error) => {
                parts.core.let_go_all(&payloads);
                Err(error.to_string())
            }
        }
    }
}

/// Bytes of a payload as it goes over the wire.
pub(super) fn body_bytes(outgoing: &Outgoing) -> u64 {
    match outgoing {
        Outgoing::One(payload) => payload.length(),
        Outgoing::List(items) | Outgoing::Section(items, _) => {
            let there = items.iter().filter(|item| !item.is_absent());
            there
                .filter_map(|item| wire::padded_item(item.length()))
                .sum()
        }
    }
}

pub(super) fn piece(range: PayloadRef, segments: &Segments) -> Option<Piece> {
    if !range.is_range() {
        return None;
    }
    let segment = match segments.mapping(range.segment)? {
        Mapping::Foreign(segment) => PieceSegment::Foreign(segment.clone()),
        Mapping::Own(segment) => PieceSegment::Own(segment.clone()),
    };
    Piece::new(segment, range.offset, range.length)
}

fn gather(outgoing: &Outgoing, bytes: u64, parts: &Parts<'_>) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes as usize);
    for payload in outgoing.payloads() {
        let range = parts.core.locate(*payload);
        if range.is_range() {
            let mapping = parts.segments.mapping(range.segment);
            let read = mapping.and_then(|mapping| mapping.read(range.offset, range.length));
            data.extend_from_slice(read.unwrap_or_default());
        }
        if !matches!(outgoing, Outgoing::One(_)) {
            data.resize(data.len().next_multiple_of(ITEM_ALIGN as usize), 0);
        }
    }
    data
}

pub(super) fn numbered(
    landings: Vec<(u16, Landing)>,
    segments: &mut Segments,
) -> Vec<(u16, Incoming)> {
    landings
        .into_iter()
        .map(|(number, landing)| (number, incoming(landing, segments)))
        .collect()
}

/// A payload that has landed, counted as leased.
pub(super) fn incoming(landing: Landing, segments: &mut Segments) -> Incoming {
    match landing {
        Ok(Landed {
            range,
            items,
            section,
            lent,
            arrives_by: _,
        }) => {
            if !lent.is_empty() {
                return borrowed(lent, items, section);
            }
            let range = lease_own(range, segments);
            match items {
                None => Incoming::One(range),
                Some(items) => Incoming::List {
                    range,
                    items,
                    section,
                },
            }
        }
        Err(error) => Incoming::Refused(error.to_string()),
    }
}

/// A payload that a peer lends, whose ranges are leased.
fn borrowed(
    lent: Vec<PayloadRef>,
    items: Option<Vec<(u64, u64)>>,
    section: Option<Section>,
) -> Incoming {
    let mut lent = lent.into_iter();
    let mut next = || lent.next().unwrap_or(PayloadRef::EMPTY);
    let Some(items) = items else {
        return Incoming::Lent(next());
    };
    let item = |(_, length)| match length {
        ITEM_ABSENT => PayloadRef::ABSENT,
        0 => PayloadRef::EMPTY,
        _ => next(),
    };
    let items = items.into_iter().map(item).collect();
    Incoming::LentList { items, section }
}
