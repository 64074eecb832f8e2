//! Reading a message that has just come, and finding places for its payloads.
//!
//! It owns the checks of what a message says of its payloads, and promises that nothing is set aside before all of them
//! have passed, and the lane has said that it wants them. Inline data is copied into the arena here; for what is streamed a range is set aside, which
//! [`super::landing`] then fills. What a peer streams may wait for its range, if there is no memory at the moment. What is lent
//! stays where it is; if it cannot be had there, it is to be streamed after all.

use super::inbound::Intake;
use super::landing::Landings;
use super::message::{Inbound, Landed, Landing, LandingError};
use super::shortage::{Room, Ticket};
use super::{Admission, Admitted, Layout, LinkError, LinkLimits, LinkRole, Loans};
use crate::core::{InputForm, Origin, Wanted};
use crate::plan::DeploymentId;
use crate::wire::{self, Body, Data, FrameKind, ITEM_ABSENT, LentRange, WireError};
use faasstore::arena::{Arena, ArenaError, Compartment, Reservation};
use faasstore::descriptor::ArenaRange;
use faasstore::segment::{SegmentError, SegmentWriter};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A transfer that a message has announced.
pub(super) struct Opened {
    pub(super) transfer: u64,
    pub(super) bytes: u64,
    pub(super) terms: Terms,
    /// Whether its message may be handed on before it has come.
    pub(super) early: bool,
    /// Which payload of its message, and where it goes; nothing if it found no place.
    pub(super) place: Option<(usize, OpenedPlace)>,
}

/// On which terms it comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    /// As far as it is granted, or may come unasked.
    Announced,
    /// All of it: it was lent, and has been asked for.
    Asked,
}

/// Where it goes.
pub(super) enum OpenedPlace {
    Memory(Reservation, Arc<SegmentWriter>),
    /// Into memory of that compartment, as soon as there is some.
    Later(Compartment, Ticket),
}

/// Where payloads find a place.
struct Places<'a, 'b> {
    room: &'a mut Room<'b>,
    loans: &'a mut dyn Loans,
}

/// A message that is being taken in.
pub(super) struct Arrival {
    kind: FrameKind,
    role: LinkRole,
    limits: LinkLimits,
    /// Of which deployment it says that it is.
    deployment: Option<DeploymentId>,
    /// Where payloads go that are wanted.
    compartment: Compartment,
    /// Why none of the payloads is taken in.
    unwanted: Option<String>,
    /// By payload, whether the message may be handed on before that has come.
    early: Vec<bool>,
    pub(super) open: Vec<Opened>,
    /// Payloads that found no place.
    pub(super) refused: u64,
}

impl Arrival {
    pub(super) const fn new(kind: FrameKind, role: LinkRole, limits: LinkLimits) -> Self {
        Self {
            kind,
            role,
            limits,
            deployment: None,
            compartment: Compartment::FIRST,
            unwanted: None,
            early: Vec::new(),
            open: Vec::new(),
            refused: 0,
        }
    }

    /// Reads a message, and finds places for its payloads.
    pub(super) fn message(
        &mut self,
        body: &[u8],
        landings: &Landings,
        intake: &mut Intake<'_, '_>,
    ) -> Result<Inbound, LinkError> {
        let mut places = Places {
            room: &mut *intake.room,
            loans: &mut *intake.loans,
        };
        let places = &mut places;
        Ok(match self.kind {
            FrameKind::Invoke => {
                return self.invoke(wire::decode(body)?, landings, places, intake.admission);
            }
            FrameKind::Cancel => {
                let wire::Cancel { request } = wire::decode(body)?;
                Inbound::Cancel { request }
            }
            FrameKind::Begin => {
                let wire::Begin {
                    invocation,
                    deployment,
                    report,
                    trace,
                    inputs,
                } = wire::decode(body)?;
                self.deployment = Some(deployment);
                self.narrow(intake.admission.deployed(deployment));
                let fits = |input: &u16, schema| {
                    let origin = Origin::Input {
                        deployment,
                        input: *input,
                    };
                    compared(intake.admission, origin, schema)
                };
                let inputs = self.land(inputs, &fits, landings, places)?;
                Inbound::Begin {
                    invocation,
                    deployment,
                    wanted: Wanted { report, trace },
                    inputs,
                }
            }
            FrameKind::StateEvent => {
                let wire::StateEvent {
                    invocation,
                    deployment,
                    node,
                    outcome,
                    outputs,
                    load,
                } = wire::decode(body)?;
                self.deployment = Some(deployment);
                self.narrow(intake.admission.deployed(deployment));
                let fits = |output: &u16, schema| {
                    let origin = Origin::Node {
                        deployment,
                        node,
                        output: *output,
                    };
                    compared(intake.admission, origin, schema)
                };
                let early = |(output, body): &(u16, Body)| {
                    body.items.is_some()
                        && intake.admission.is_taken_early(deployment, node, *output)
                };
                self.early = outputs.iter().map(early).collect();
                let outputs = self.land(outputs, &fits, landings, places)?;
                Inbound::StateEvent {
                    invocation,
                    deployment,
                    node,
                    outcome,
                    outputs,
                    load,
                }
            }
            FrameKind::PartDone => {
                let wire::PartDone {
                    invocation,
                    deployment,
                    outputs,
                    report,
                    trace,
                    load,
                } = wire::decode(body)?;
                self.deployment = Some(deployment);
                self.narrow(intake.admission.taken(invocation, deployment));
                let fits = |output: &u16, schema| {
                    let origin = Origin::Output {
                        deployment,
                        output: *output,
                    };
                    compared(intake.admission, origin, schema)
                };
                let outputs = self.land(outputs, &fits, landings, places)?;
                Inbound::PartDone {
                    invocation,
                    deployment,
                    outputs,
                    report,
                    trace,
                    load,
                }
            }
            FrameKind::PartFailed => Inbound::PartFailed(wire::decode(body)?),
            FrameKind::Forget => {
                let wire::Forget { invocation, why } = wire::decode(body)?;
                Inbound::Forget { invocation, why }
            }
            FrameKind::Heartbeat => {
                let wire::Heartbeat { interval_ms, loads } = wire::decode(body)?;
                Inbound::Heartbeat { interval_ms, loads }
            }
            FrameKind::Drained => {
                let wire::Drained { deployment } = wire::decode(body)?;
                Inbound::Drained { deployment }
            }
            kind => return Err(WireError::Unexpected(kind).into()),
        })
    }

    /// Takes a client's wish, if the door would; otherwise what it announces is thrown away as it comes.
    fn invoke(
        &mut self,
        wish: wire::Invoke,
        landings: &Landings,
        places: &mut Places<'_, '_>,
        admission: &dyn Admission,
    ) -> Result<Inbound, LinkError> {
        let wire::Invoke {
            request,
            workflow,
            inputs,
            report,
            trace,
        } = wish;
        let forms: Vec<(&str, InputForm)> = inputs
            .iter()
            .map(|(name, body)| (name.as_str(), form(body)))
            .collect();
        let fits = |input: &String, schema| {
            let workflow = &workflow;
            compared(admission, Origin::Client { workflow, input }, schema)
        };
        let refusal = match admission.invoke(&workflow, &forms) {
            Ok(admitted) => {
                self.narrow(Some(admitted));
                inputs.iter().find_map(|(name, body)| {
                    if body.section.is_some() {
                        let reason = format!("input `{name}` is a part of a list; give all of it");
                        return Some(reason.into());
                    }
                    let fits = || fits(name, body.schema);
                    let error = self.check_limits(body).and_then(|()| fits()).err()?;
                    Some(format!("input `{name}`: {error}").into())
                })
            }
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            self.unwanted = Some(refusal.reason.clone());
            self.land(inputs, &fits, landings, places)?;
            return Ok(Inbound::InvokeRefused { request, refusal });
        }
        let inputs = self.land(inputs, &fits, landings, places)?;
        Ok(Inbound::Invoke {
            request,
            workflow,
            inputs,
            wanted: Wanted { report, trace },
        })
    }

    /// Keeps to the terms of the deployment, if there is one that wants the message.
    fn narrow(&mut self, admitted: Option<Admitted>) {
        match admitted {
            Some(Admitted {
                limits,
                compartment,
            }) => {
                self.compartment = compartment;
                let mine = &mut self.limits;
                mine.payload_bytes_max = mine.payload_bytes_max.min(limits.payload_bytes_max);
                mine.items_max = mine.items_max.min(limits.items_max);
            }
            None => self.unwanted = Some("nothing here waits for it".to_owned()),
        }
    }

    /// Finds places for a message's payloads, beside what is under way. Checks all of them first, so that an error
    /// leaves nothing set aside.
    fn land<K>(
        &mut self,
        bodies: Vec<(K, Body)>,
        fits: &dyn Fn(&K, u64) -> Result<(), LandingError>,
        landings: &Landings,
        places: &mut Places<'_, '_>,
    ) -> Result<Vec<(K, Landing)>, LinkError> {
        let mut announced = BTreeSet::new();
        let mut streamed = 0;
        for (_, body) in &bodies {
            let transfer = match &body.data {
                Data::Streamed { transfer, bytes } if *bytes > 0 => {
                    streamed += 1;
                    Some(*transfer)
                }
                Data::Lent { transfer, .. } => Some(*transfer),
                Data::Inline(_) | Data::Streamed { .. } => None,
            };
            if let Some(transfer) = transfer
                && (landings.is_under_way(transfer) || !announced.insert(transfer))
            {
                return Err(LinkError::TransferTaken {
                    kind: self.kind,
                    transfer,
                });
            }
            match &body.data {
                Data::Lent { ranges, .. } => self.check_lent(body, ranges, places.loans)?,
                data => self.check_items(body, data.bytes())?,
            }
        }
        let limit = self.limits.transfers_max;
        if landings.transfers() + streamed > limit {
            return Err(LinkError::Transfers { limit });
        }
        let landed = bodies
            .into_iter()
            .enumerate()
            .map(|(payload, (key, body))| {
                let fits = fits(&key, body.schema);
                let landing = self.land_one(payload, body, fits, places);
                self.refused += u64::from(landing.is_err());
                (key, landing)
            });
        Ok(landed.collect())
    }

    /// Whether what is said to be lent is, and is what the body says of it.
    fn check_lent(
        &self,
        body: &Body,
        ranges: &[LentRange],
        loans: &mut dyn Loans,
    ) -> Result<(), LinkError> {
        let refuse = |reason: String| {
            Err(LinkError::Lent {
                kind: self.kind,
                reason,
            })
        };
        let Some(deployment) = self.deployment else {
            return refuse("a client has nothing to lend".to_owned());
        };
        let fits = match &body.items {
            None => matches!(ranges, [range] if range.bytes > 0),
            Some(items) => {
                let there = |item: &&u64| !matches!(**item, 0 | ITEM_ABSENT);
                let lengths = ranges.iter().map(|range| &range.bytes);
                lengths.eq(items.iter().filter(there))
            }
        };
        if !fits {
            let count = ranges.len();
            return refuse(format!("{count} ranges are not what its payload has"));
        }
        if body.items.is_some() || body.section.is_some() {
            self.check_items(body, padded(body).unwrap_or(0))?;
        }
        loans.check(deployment, ranges).or_else(refuse)
    }

    fn check_items(&self, body: &Body, bytes: u64) -> Result<(), LinkError> {
        let items = match (&body.items, body.section) {
            (None, None) => return Ok(()),
            (items, None) => items.as_deref().unwrap_or_default(),
            (items, Some(section)) => {
                let items = items.as_deref().unwrap_or_default();
                let behind = u64::from(section.first) + items.len() as u64;
                if body.items.is_none() || behind > u64::from(section.whole) {
                    return Err(LinkError::Section {
                        kind: self.kind,
                        count: items.len(),
                        first: section.first,
                        whole: section.whole,
                    });
                }
                items
            }
        };
        let sum = padded(body);
        if sum == Some(bytes) {
            return Ok(());
        }
        Err(LinkError::Items {
            kind: self.kind,
            count: items.len(),
            items_bytes: sum.unwrap_or(u64::MAX),
            bytes,
        })
    }

    fn land_one(
        &mut self,
        payload: usize,
        body: Body,
        fits: Result<(), LandingError>,
        places: &mut Places<'_, '_>,
    ) -> Landing {
        let allowed = self.check_limits(&body).and(fits);
        let padded = padded(&body);
        match body.data {
            Data::Inline(data) => {
                allowed?;
                let range = if data.is_empty() {
                    ArenaRange::default()
                } else {
                    copy_in(&data, places.room.arena, self.compartment)?
                };
                Ok(Landed::new(range, body.items, body.section))
            }
            Data::Streamed { bytes: 0, .. } => {
                allowed?;
                Ok(Landed::new(ArenaRange::default(), body.items, body.section))
            }
            Data::Streamed { transfer, bytes } => {
                let place = allowed.and_then(|()| self.place(bytes, places.room));
                let (place, landing) = match place {
                    Ok(place) => {
                        let landed = Landed::new(ArenaRange::default(), body.items, body.section);
                        (Some((payload, place)), Ok(landed))
                    }
                    Err(error) => (None, Err(error)),
                };
                self.open.push(Opened {
                    transfer,
                    bytes,
                    terms: Terms::Announced,
                    early: self.early.get(payload) == Some(&true),
                    place,
                });
                landing
            }
            Data::Lent { transfer, ranges } => {
                let refuse = |error, loans: &mut dyn Loans| {
                    loans.give_back(&ranges);
                    Err(error)
                };
                if let Err(error) = allowed {
                    return refuse(error, places.loans);
                }
                let mut landed = Landed::new(ArenaRange::default(), body.items, body.section);
                if let Some(lent) = places.loans.borrow(&ranges) {
                    landed.lent = lent;
                    return Ok(landed);
                }
                let (layout, bytes) = match landed.items {
                    Some(_) => (Layout::Items, padded.unwrap_or(0)),
                    None => (Layout::Bytes, ranges[0].bytes),
                };
                match set_aside(bytes, places.room.arena, self.compartment) {
                    Ok((reservation, segment)) => {
                        places.loans.ask_to_stream(transfer, layout, &ranges);
                        self.open.push(Opened {
                            transfer,
                            bytes,
                            terms: Terms::Asked,
                            early: false,
                            place: Some((payload, OpenedPlace::Memory(reservation, segment))),
                        });
                        Ok(landed)
                    }
                    Err(error) => refuse(no_memory(bytes, &error), places.loans),
                }
            }
        }
    }

    /// Finds a place for what is streamed. Clients do not wait: their wish is refused while they still know why.
    fn place(&self, bytes: u64, room: &mut Room<'_>) -> Result<OpenedPlace, LandingError> {
        let waits = self.role == LinkRole::PeerIn;
        let compartment = self.compartment;
        if !(waits && room.shortage.is_in(compartment)) {
            match set_aside(bytes, room.arena, compartment) {
                Ok((reservation, segment)) => {
                    return Ok(OpenedPlace::Memory(reservation, segment));
                }
                Err(error) if !(waits && passes(&error)) => {
                    return Err(no_memory(bytes, &error));
                }
                Err(_) => {}
            }
        }
        let ticket = room.shortage.wait(compartment, bytes);
        Ok(OpenedPlace::Later(compartment, ticket))
    }

    fn check_limits(&self, body: &Body) -> Result<(), LandingError> {
        if let Some(reason) = self.unwanted.clone() {
            return Err(LandingError::Unwanted { reason });
        }
        let bytes = body.data.bytes();
        let LinkLimits {
            payload_bytes_max,
            items_max,
            ..
        } = self.limits;
        if bytes > payload_bytes_max {
            return Err(LandingError::Bytes {
                bytes,
                limit: payload_bytes_max,
            });
        }
        let here = body.items.as_ref().map_or(0, Vec::len);
        let whole = body.section.map_or(0, |section| section.whole as usize);
        let items = here.max(whole);
        if items > items_max as usize {
            return Err(LandingError::Items {
                items,
                limit: items_max,
            });
        }
        Ok(())
    }
}

/// Whether a payload is what those take it for that are to read it. Of most nothing is said.
fn compared(
    admission: &dyn Admission,
    origin: Origin<'_>,
    schema: u64,
) -> Result<(), LandingError> {
    if schema == 0 {
        return Ok(());
    }
    let compared = admission.schema(origin, schema);
    compared.map_err(|reason| LandingError::Schema { reason })
}

fn form(body: &Body) -> InputForm {
    match &body.items {
        Some(items) => InputForm::list(items.iter().copied()),
        None => InputForm::Bytes(body.data.bytes()),
    }
}

/// Bytes of all items of a list with their padding; none if they are more than can be said.
fn padded(body: &Body) -> Option<u64> {
    let items = body.items.as_deref().unwrap_or_default();
    items.iter().try_fold(0_u64, |sum, item| {
        sum.checked_add(wire::padded_item(*item)?)
    })
}

/// Sets a range aside for what is to come.
pub(super) fn set_aside(
    bytes: u64,
    arena: &mut Arena,
    compartment: Compartment,
) -> Result<(Reservation, Arc<SegmentWriter>), ArenaError> {
    let reservation = arena.reserve_gradually_in(compartment, bytes)?;
    let segment = arena.segment(reservation.segment(), reservation.generation());
    let Some(segment) = segment.cloned() else {
        unreachable!("a reservation keeps its segment")
    };
    Ok((reservation, segment))
}

/// Whether there may be room later: not if there is none however empty the arena is.
fn passes(error: &ArenaError) -> bool {
    match error {
        ArenaError::Full { bytes, max, .. } => bytes <= max,
        ArenaError::Segment(SegmentError::Memory { .. } | SegmentError::Descriptors { .. }) => true,
        ArenaError::Segment(_) | ArenaError::Bytes { .. } | ArenaError::NotLeased(_) => false,
    }
}

fn no_memory(bytes: u64, error: &ArenaError) -> LandingError {
    let reason = error.to_string();
    LandingError::Memory { bytes, reason }
}

fn copy_in(
    data: &[u8],
    arena: &mut Arena,
    compartment: Compartment,
) -> Result<ArenaRange, LandingError> {
    let bytes = data.len() as u64;
    let reservation = arena.reserve_in(compartment, bytes);
    let reservation = reservation.map_err(|error| no_memory(bytes, &error))?;
    arena.bytes_mut(&reservation)[..data.len()].copy_from_slice(data);
    Ok(arena.commit(reservation, bytes))
}
