//! A lane's way to the worker's store thread: payloads that are carried out of memory and brought back.
//!
//! What is carried out is read where it lies, so its range stays leased until the store has it; what is brought back is
//! written straight into the lane's own arena. A lane asks and goes on; answers come with its commands.

#[cfg(doc)]
use super::command::LaneCommand;
use super::segments::Mapping;
use super::short::may_come;
use super::{Lane, executors, monotonic_ns};
use crate::core::CopyIn;
use crate::core::lease::Account;
use crate::core::store::{Ticket, Unstored};
use crate::plan::DeploymentId;
use crossbeam::queue::ArrayQueue;
use faasstore::arena::Reservation;
use faasstore::descriptor::PayloadRef;
use faasstore::segment::{SegmentWriter, Slice, TargetSlice};
use faasstore::tier::TierKind;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a payload that is to come back waits for room in the lane's arena; and likewise whatever else the lane needs some for.
pub(super) const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const ROOM_PAUSE_NS: u64 = 2_000_000;

/// What lanes ask of the store thread.
#[derive(Debug)]
pub struct StoreRequest {
    /// Which lane asks.
    pub lane: u8,
    /// What is to be done.
    pub what: StoreOrder,
}

/// See [`StoreRequest`].
#[derive(Debug)]
pub enum StoreOrder {
    /// Take a payload in; [`LaneCommand::Stored`] is to follow.
    Put {
        /// What the lane calls it.
        ticket: Ticket,
        /// Into which tier.
        kind: TierKind,
        /// The payload.
        payload: Slice,
    },
    /// Give it back, and let go of it; [`LaneCommand::Fetched`] is to follow.
    Take {
        /// What the lane calls it.
        ticket: Ticket,
        /// Where to.
        into: Landing,
    },
    /// Copy a part of it, and keep it; [`LaneCommand::Fetched`] is to follow.
    Copy {
        /// What the lane calls the copy.
        ticket: Ticket,
        /// What it calls that which is copied.
        of: Ticket,
        /// From which byte on.
        offset: u64,
        /// Where to, and so how much.
        into: Landing,
    },
    /// Let go of it.
    Drop(Ticket),
    /// Look how much memory processes have for themselves; [`LaneCommand::Measured`] is to follow.
    Measure(Vec<OwnUse>),
}

/// How much memory an executor has for itself, shared memory left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnUse {
    /// Of which deployment.
    pub deployment: DeploymentId,
    /// Which executable.
    pub executable: u16,
    /// Its process.
    pub pid: u32,
    /// Bytes; 0 until it was looked at, or if it has gone.
    pub bytes: u64,
}

/// Room in a lane's arena for a payload.
#[derive(Clone, Debug)]
pub struct Landing {
    segment: Arc<SegmentWriter>,
    offset: u64,
    bytes: u64,
    /// Shared with whoever may write there.
    lent: Arc<()>,
}

impl Landing {
    /// Room in a segment, and what a lane holds of it meanwhile.
    #[cfg(test)]
    pub(crate) fn new(segment: Arc<SegmentWriter>, offset: u64, bytes: u64) -> (Self, Arc<()>) {
        let lent = Arc::new(());
        let landing = Self {
            segment,
            offset,
            bytes,
            lent: Arc::clone(&lent),
        };
        (landing, lent)
    }

    /// The room, to fill; `None` if it does not lie in its segment. One at a time is to be had, see [`Landing::is_lent`].
    #[must_use]
    pub fn target(&self) -> Option<TargetSlice> {
        let target = TargetSlice::new(Arc::clone(&self.segment), self.offset, self.bytes)?;
        Some(target.guarded(Arc::clone(&self.lent)))
    }

    /// Whether somebody may still write there, beside the lane and the store thread, which hold one of these each.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        Arc::strong_count(&self.lent) > 2
    }
}

/// A lane's end of the store thread's queue.
#[derive(Clone, Debug)]
pub struct StoreEnd {
    /// To the store thread; notify after each push.
    pub requests: Arc<ArrayQueue<StoreRequest>>,
    /// Wakes it.
    pub notify: Arc<Notify>,
    /// What it can carry payloads to.
    pub tiers: Vec<TierKind>,
}

/// A payload that is to come back.
#[derive(Debug)]
struct Coming {
    account: Account,
    bytes: u64,
    /// Of what it is a copy, and from which byte on; none if it is to leave its tier.
    of: Option<(Ticket, u64)>,
    /// Where it is being written, once there is room.
    reservation: Option<(Reservation, Arc<()>)>,
    /// When it was asked for.
    since_ns: u64,
}

/// Payloads on their way.
#[derive(Debug, Default)]
pub(super) struct Carriage {
    coming: FxHashMap<Ticket, Coming>,
    /// Those of them for which there was no room, in order.
    unplaced: VecDeque<Ticket>,
    /// When to try again to place them.
    try_ns: Option<u64>,
    /// Whether they go ahead of what peers send.
    ahead: bool,
    /// Room for payloads that did not come, of which the kernel or a client library may still be writing.
    doomed: Vec<(Reservation, Arc<()>)>,
    /// What the store had no room to be told to let go of.
    undropped: Vec<Ticket>,
}

impl Carriage {
    /// When something of it is to be tried again.
    #[inline]
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.try_ns
    }

    /// Whether something of it waits for room.
    pub(super) fn is_short(&self) -> bool {
        !self.unplaced.is_empty()
    }

    /// What is to be tried again is to be tried now.
    #[cfg(test)]
    pub(super) fn due_now(&mut self) {
        self.try_ns = self.try_ns.map(|_| 0);
    }

    fn is_due(&self, now_ns: u64) -> bool {
        self.try_ns.is_some_and(|due_ns| due_ns <= now_ns)
    }

    /// Something is to be tried again soon.
    pub(super) fn try_soon(&mut self) {
        let soon_ns = monotonic_ns() + ROOM_PAUSE_NS;
        self.try_ns = Some(self.try_ns.map_or(soon_ns, |set| set.min(soon_ns)));
    }
}

/// Why there is no room for a payload, and whether there may be some soon.
struct NoPlace {
    cause: String,
    may_come: bool,
}

impl Lane {
    /// Whether the store thread has room for what is asked of it.
    fn ask(&mut self, what: StoreOrder) -> bool {
        let request = StoreRequest {
            lane: self.setup.index,
            what,
        };
        let Some(store) = &self.setup.store else {
            return false;
        };
        let asked = store.requests.push(request).is_ok();
        store.notify.notify_one();
        self.setup.counters.store_refusals.add(u64::from(!asked));
        asked
    }

    pub(super) fn carry_payload_out(&mut self, ticket: Ticket, range: PayloadRef, kind: TierKind) {
        let mapping = self.segments.mapping(range.segment);
        let payload = mapping.and_then(|mapping| match mapping {
            Mapping::Foreign(segment) => {
                Slice::of_reader(Arc::clone(segment), range.offset, range.length)
            }
            Mapping::Own(segment) => {
                Slice::of_writer(Arc::clone(segment), range.offset, range.length)
            }
        });
        let asked = payload.map(|payload| {
            self.ask(StoreOrder::Put {
                ticket,
                kind,
                payload,
            })
        });
        let refused = match asked {
            Some(true) => return,
            Some(false) => Unstored::Busy,
            None => Unstored::Failed,
        };
        self.core.stored(self.now_ns, ticket, kind, Err(refused));
    }

    pub(super) fn bring_payload_back(&mut self, ticket: Ticket, account: Account, bytes: u64) {
        let coming = Coming {
            account,
            bytes,
            of: None,
            reservation: None,
            since_ns: monotonic_ns(),
        };
        self.carriage.coming.insert(ticket, coming);
        self.carriage.unplaced.push_back(ticket);
        self.place_coming();
    }

    /// Brings a copy of what is carried out, or of a part of it. One that nobody waits for yet comes at once or not at all.
    pub(super) fn copy_payload_in(&mut self, order: CopyIn) {
        let CopyIn {
            ticket,
            of,
            offset,
            bytes,
            account,
            ahead,
        } = order;
        let coming = Coming {
            account,
            bytes,
            of: Some((of, offset)),
            reservation: None,
            since_ns: monotonic_ns(),
        };
        self.carriage.coming.insert(ticket, coming);
        if !ahead {
            self.carriage.unplaced.push_back(ticket);
            return self.place_coming();
        }
        if self.place_one(ticket).is_err() {
            self.carriage.coming.remove(&ticket);
            self.core.unplaced(self.now_ns, ticket);
        }
    }

    /// Sets room aside for payloads that are to come back, and asks for those for which there is some. One for which there is
    /// none lets those of other workflows pass, and none of its own.
    pub(super) fn place_coming(&mut self) {
        let mut short = Vec::new();
        for ticket in std::mem::take(&mut self.carriage.unplaced) {
            let Some(Coming {
                account, since_ns, ..
            }) = self.carriage.coming.get(&ticket)
            else {
                continue;
            };
            let (account, since_ns) = (*account, *since_ns);
            if short.contains(&account) {
                self.carriage.unplaced.push_back(ticket);
                continue;
            }
            let Err(NoPlace { cause, may_come }) = self.place_one(ticket) else {
                continue;
            };
            let now_ns = monotonic_ns();
            let patience_ns = ROOM_PATIENCE.as_nanos() as u64;
            if may_come && now_ns.saturating_sub(since_ns) < patience_ns {
                short.push(account);
                self.carriage.unplaced.push_back(ticket);
                continue;
            }
            let coming = self.carriage.coming.remove(&ticket);
            if coming.is_some_and(|coming| coming.of.is_some()) {
                self.core.unplaced(now_ns, ticket);
                continue;
            }
            let lost = Err(Rc::from(cause));
            self.core.fetched(now_ns, ticket, TierKind::Spill, lost);
            // What is lost for want of room still lies in its tier.
            self.discard(ticket);
        }
        if !self.short.is_empty() {
            self.relieve_short(&short);
        }
        if self.carriage.unplaced.is_empty() && self.short.is_empty() {
            return self.let_others_in();
        }
        self.carriage.try_soon();
        self.make_room_for_coming();
    }

    /// What waits for room gets some ahead of what peers send, and what the same workflow does not read soon makes it.
    pub(super) fn make_room_for_coming(&mut self) {
        let coming = self.carriage.unplaced.iter();
        let coming = coming.filter_map(|ticket| self.carriage.coming.get(ticket));
        let coming = coming.map(|coming| (coming.account, coming.bytes, true));
        let mut wanted: Vec<(Account, u64, bool)> = Vec::new();
        for (account, bytes, ahead) in coming.chain(self.wanted_by_short()) {
            match wanted.iter_mut().find(|(of, ..)| *of == account) {
                Some((_, sum, any_ahead)) => {
                    *sum += bytes;
                    *any_ahead |= ahead;
                }
                None => wanted.push((account, bytes, ahead)),
            }
        }
        let ahead = wanted.iter().filter(|(.., ahead)| *ahead);
        let ahead = ahead.filter_map(|(account, ..)| self.compartments.of_account(*account));
        self.carriage.ahead = true;
        self.peers.stand_behind(ahead);
        let segments = &self.segments;
        for (account, bytes, _) in wanted {
            self.core.make_room(self.now_ns, account, bytes, &|range| {
                segments.is_own(range.segment)
            });
        }
    }

    /// Nothing waits for room any more.
    fn let_others_in(&mut self) {
        if std::mem::take(&mut self.carriage.ahead) {
            self.peers.stand_behind(std::iter::empty());
        }
    }

    fn place_one(&mut self, ticket: Ticket) -> Result<(), NoPlace> {
        let Some(coming) = self.carriage.coming.get_mut(&ticket) else {
            return Ok(());
        };
        let compartment = self.compartments.of_account(coming.account);
        let compartment = compartment.ok_or_else(|| NoPlace {
            cause: "its workflow is not deployed here any more".to_owned(),
            may_come: false,
        })?;
        let bytes = coming.bytes;
        let short = |why: &str, may_come: bool| NoPlace {
            cause: format!(
                "no room for the {bytes} bytes of a payload that is to be brought back: {why}"
            ),
            may_come,
        };
        let reservation = self.arena.reserve_in(compartment, bytes);
        let reservation =
            reservation.map_err(|error| short(&error.to_string(), may_come(&error).is_some()))?;
        let segment = self
            .arena
            .segment(reservation.segment(), reservation.generation());
        let lent = Arc::new(());
        let into = segment.map(|segment| Landing {
            segment: Arc::clone(segment),
            offset: reservation.offset(),
            bytes,
            lent: Arc::clone(&lent),
        });
        coming.reservation = Some((reservation, lent));
        let of = coming.of;
        executors::adopt_own_segments(&mut self.segments, &mut self.arena);
        let order = |into| match of {
            None => StoreOrder::Take { ticket, into },
            Some((of, offset)) => StoreOrder::Copy {
                ticket,
                of,
                offset,
                into,
            },
        };
        if into.is_some_and(|into| self.ask(order(into))) {
            return Ok(());
        }
        let coming = self.carriage.coming.get_mut(&ticket);
        if let Some((reservation, _)) = coming.and_then(|coming| coming.reservation.take()) {
            self.arena.abandon(reservation);
        }
        Err(short("the store thread has too much to do", true))
    }

    pub(super) fn payload_fetched(
        &mut self,
        ticket: Ticket,
        kind: TierKind,
        fetched: Result<u64, String>,
    ) {
        let Some(coming) = self.carriage.coming.remove(&ticket) else {
            return;
        };
        let Some((reservation, lent)) = coming.reservation else {
            return;
        };
        let fetched = match fetched {
            Ok(took_ns) => {
                let range = self.arena.commit(reservation, coming.bytes);
                let range = executors::lease_own(range, &mut self.segments);
                Ok((range, took_ns))
            }
            Err(cause) => {
                self.carriage.doomed.push((reservation, lent));
                self.carriage.try_soon();
                Err(Rc::from(cause))
            }
        };
        self.core.fetched(self.now_ns, ticket, kind, fetched);
    }

    pub(super) fn discard(&mut self, ticket: Ticket) {
        // If the queue is full it lies there until the worker ends: it is bounded by what a tier may have.
        if !self.ask(StoreOrder::Drop(ticket)) {
            self.carriage.undropped.push(ticket);
            self.carriage.try_soon();
        }
    }

    /// Has the store thread look how much memory the executors of a workflow have for themselves; it is asked again.
    pub(super) fn measure_executors(&mut self, account: Account) {
        let executors = self.executors.iter().flatten();
        let of_it = executors
            .filter(|executor| self.core.account_of(executor.started.deployment) == Some(account));
        let uses = of_it.map(|executor| OwnUse {
            deployment: executor.started.deployment,
            executable: executor.started.executable,
            pid: executor.started.pid,
            bytes: 0,
        });
        let uses = uses.collect();
        self.ask(StoreOrder::Measure(uses));
    }

    pub(super) fn executors_measured(&mut self, uses: &[OwnUse]) {
        for of in uses {
            let OwnUse {
                deployment,
                executable,
                bytes,
                ..
            } = *of;
            self.core.measured(deployment, executable, bytes);
        }
    }

    /// Does what could not be done before: when the lane settles.
    pub(super) fn settle_carriage(&mut self) {
        if !self.carriage.is_due(monotonic_ns()) {
            return;
        }
        self.carriage.try_ns = None;
        for ticket in std::mem::take(&mut self.carriage.undropped) {
            self.discard(ticket);
        }
        for (reservation, lent) in std::mem::take(&mut self.carriage.doomed) {
            if Arc::strong_count(&lent) == 1 {
                self.arena.abandon(reservation);
            } else {
                self.carriage.doomed.push((reservation, lent));
                self.carriage.try_soon();
            }
        }
        self.place_coming();
        self.act();
    }
}

#[cfg(test)]
mod tests;
