//! The segments that a lane knows: its executors', its own, and those that workers on the same host lend, under the numbers
//! by which requests name them.
//!
//! It owns the mappings, who has been told of which segment, and how many ranges of each are leased; a segment whose
//! owner has gone stays until its last range is released. What is lent counts as memory of who lends it. Ranges themselves are the core's
//! [`leases`](crate::core::lease).

use faasstore::arena::Compartment;
use faasstore::descriptor::{ArenaRange, PayloadRef};
use faasstore::segment::{SegmentReader, SegmentWriter};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A mapping, by who writes it.
#[derive(Clone, Debug)]
pub(crate) enum Mapping {
    /// An executor's arena, or one of another worker's: read-only here.
    Foreign(Arc<SegmentReader>),
    /// The lane's own arena.
    Own(Arc<SegmentWriter>),
}

impl Mapping {
    pub(crate) fn read(&self, offset: u64, length: u64) -> Option<&[u8]> {
        match self {
            Self::Foreign(segment) => segment.read(offset, length),
            Self::Own(segment) => segment.read(offset, length),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Foreign(segment) => segment.length(),
            Self::Own(segment) => segment.length(),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Foreign(segment) => segment.fd(),
            Self::Own(segment) => segment.fd(),
        }
    }
}

/// Whose arena a segment belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The executor in this place of the lane's table.
    Executor(u32),
    /// The lane.
    Lane,
    /// A lane of a worker on the same host, which lends it by this share.
    Peer(ShareId),
    /// An executor, or a lender, that has gone.
    Gone,
    /// Nobody's: it holds copies of what one activation has returned, and goes with the last of them.
    Copies,
}

/// Names what two lanes of one host share: one link's segments. Never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ShareId(pub(crate) u32);

#[derive(Debug)]
struct Known {
    mapping: Mapping,
    owner: Owner,
    /// Whose payloads it holds; of what is lent, it says nothing.
    compartment: Compartment,
    lent: bool,
    /// Index and generation in its owner's arena.
    index: u32,
    index_generation: u32,
    /// Ranges that are leased.
    ranges: u64,
    /// Executors that have been told of it, a bit for each place in the lane's table.
    told: Vec<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    known: Option<Known>,
}

/// What there is of a workflow's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Held {
    /// Segments.
    pub(crate) segments: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What has become of a segment, by its slot. What is lent is not told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SegmentNews {
    /// It has come, of so many bytes, in the arena of an executor in this place, if of one's.
    Known {
        slot: u32,
        bytes: u64,
        executor: Option<u32>,
    },
    /// Its executor has gone.
    Disowned(u32),
    /// It has gone.
    Gone(u32),
}

/// The table. Slots are used again, under a new generation.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    slots: Vec<Slot>,
    free: Vec<u32>,
    bytes: u64,
    /// What is lent, which is in no other figure.
    lent: Held,
    /// By compartment.
    held: Vec<Held>,
    /// Segments of the lane's own arena: index and generation there, slot here.
    own: Vec<(u32, u32, u32)>,
    /// What the core has not been told of.
    news: Vec<SegmentNews>,
}

/// A segment that has left the table. Whoever was told of it is to unmap it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gone {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) bytes: u64,
    /// For whom its bytes were set aside beside the lane's arena, if they were.
    pub(crate) set_aside: Option<Compartment>,
    told: Vec<u64>,
}

impl Gone {
    /// Places of the executors that know it.
    pub(crate) fn told(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.told.len() as u32 * 64)
            .filter(|place| self.told[(place / 64) as usize] >> (place % 64) & 1 == 1)
    }
}

/// What is to be done with a range that was released.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Released {
    /// Give it back to the executor in this place.
    ToExecutor(u32, ArenaRange),
    /// Give it back to the lane's own arena.
    ToLane(ArenaRange),
    /// Return it to the lane that has lent it.
    ToPeer(ShareId, ArenaRange),
    /// Its owner has gone, and with this range the segment.
    SegmentGone(Gone),
    /// Its owner has gone, other ranges of the segment are still held.
    Kept,
}

impl Segments {
    /// Takes a segment in, of a workflow that has this compartment.
    pub(crate) fn add(
        &mut self,
        mapping: Mapping,
        owner: Owner,
        compartment: Compartment,
        index: u32,
        index_generation: u32,
    ) -> u32 {
        let lent = matches!(owner, Owner::Peer(_));
        let held = if lent {
            &mut self.lent
        } else {
            self.bytes += mapping.length();
            if self.held.len() <= compartment.index() {
                self.held
                    .resize_with(compartment.index() + 1, Held::default);
            }
            &mut self.held[compartment.index()]
        };
        held.segments += 1;
        held.bytes += mapping.length();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        if owner == Owner::Lane {
            self.own.push((index, index_generation, slot));
        }
        if !lent {
            let executor = match owner {
                Owner::Executor(place) => Some(place),
                Owner::Lane | Owner::Peer(_) | Owner::Gone | Owner::Copies => None,
            };
            let bytes = mapping.length();
            self.news.push(SegmentNews::Known {
                slot,
                bytes,
                executor,
            });
        }
        self.slots[slot as usize].known = Some(Known {
            mapping,
            owner,
            compartment,
            lent,
            index,
            index_generation,
            ranges: 0,
            told: Vec::new(),
        });
        slot
    }

    /// Whether [`Segments::news`] has something to tell.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What has become of segments since this was last asked, in order.
    pub(crate) fn news(&mut self) -> Vec<SegmentNews> {
        std::mem::take(&mut self.news)
    }

    /// Segments, but for those that are lent.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len() - self.lent.segments as usize
    }

    /// What workers on the same host lend to this lane.
    pub(crate) fn lent(&self) -> Held {
        self.lent
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What there is of a workflow's: segments of its executors, and of its compartment of the lane's own arena.
    pub(crate) fn held(&self, compartment: Compartment) -> Held {
        let held = self.held.get(compartment.index());
        held.copied().unwrap_or_default()
    }

    /// The slot of a segment of the lane's own arena, by its index and generation there.
    #[inline]
    pub(crate) fn slot_of_own(&self, index: u32, generation: u32) -> Option<u32> {
        self.own
            .iter()
            .find(|own| own.0 == index && own.1 == generation)
            .map(|own| own.2)
    }

    #[inline]
    fn known(&self, slot: u32) -> Option<&Known> {
        self.slots.get(slot as usize)?.known.as_ref()
    }

    /// The generation of a segment that this lane may lend: one that it has not borrowed itself.
    pub(crate) fn lendable(&self, slot: u32) -> Option<u32> {
        let Slot { generation, known } = self.slots.get(slot as usize)?;
        known.as_ref().filter(|known| !known.lent)?;
        Some(*generation)
    }

    pub(crate) fn mapping(&self, slot: u32) -> Option<&Mapping> {
        self.known(slot).map(|known| &known.mapping)
    }

    /// Whether the segment in `slot` is of the lane's own arena.
    pub(crate) fn is_own(&self, slot: u32) -> bool {
        matches!(self.mapping(slot), Some(Mapping::Own(_)))
    }

    /// A range of the segment in `slot`, as requests name it; none if the segment is not of that size.
    #[inline]
    pub(crate) fn name(&self, slot: u32, offset: u64, length: u64) -> Option<PayloadRef> {
        let Slot { generation, known } = self.slots.get(slot as usize)?;
        let within = offset.checked_add(length)? <= known.as_ref()?.mapping.length();
        within.then_some(PayloadRef {
            segment: slot,
            generation: *generation,
            offset,
            length,
        })
    }

    /// A committed range of the segment in `slot`, as requests name it, counted as leased; none if the segment is not
    /// of that size.
    #[inline]
    pub(crate) fn lease(&mut self, slot: u32, offset: u64, length: u64) -> Option<PayloadRef> {
        let range = self.name(slot, offset, length)?;
        self.count_lease(slot);
        Some(range)
    }

    /// Counts one more leased range of the segment in `slot`, which [`Segments::name`] has named.
    #[inline]
    pub(crate) fn count_lease(&mut self, slot: u32) {
        if let Some(known) = self.slots[slot as usize].known.as_mut() {
            known.ranges += 1;
        }
    }

    /// A range is not leased any more.
    #[inline]
    pub(crate) fn release(&mut self, range: PayloadRef) -> Released {
        let Some(Slot {
            generation,
            known: Some(known),
        }) = self.slots.get_mut(range.segment as usize)
        else {
            return Released::Kept;
        };
        debug_assert_eq!(
            *generation, range.generation,
            "a leased segment keeps its slot"
        );
        known.ranges -= 1;
        let arena_range = ArenaRange {
            segment: known.index,
            generation: known.index_generation,
            offset: range.offset,
            length: range.length,
        };
        match known.owner {
            Owner::Executor(place) => Released::ToExecutor(place, arena_range),
            Owner::Lane => Released::ToLane(arena_range),
            Owner::Peer(share) => Released::ToPeer(share, arena_range),
            Owner::Gone | Owner::Copies if known.ranges == 0 => self
                .remove(range.segment)
                .map_or(Released::Kept, Released::SegmentGone),
            Owner::Gone | Owner::Copies => Released::Kept,
        }
    }

    /// Whether the executor has to be told of the segment before it is named to it; it counts as told from now on.
    #[inline]
    pub(crate) fn tell(&mut self, slot: u32, executor: u32) -> bool {
        let Some(known) = self
            .slots
            .get_mut(slot as usize)
            .and_then(|slot| slot.known.as_mut())
        else {
            return false;
        };
        let (word, bit) = ((executor / 64) as usize, 1u64 << (executor % 64));
        if let Some(told) = known.told.get_mut(word) {
            if *told & bit != 0 {
                return false;
            }
            *told |= bit;
            return true;
        }
        known.told.resize(word + 1, 0);
        known.told[word] |= bit;
        true
    }

    /// Whether the executor has been told of the segment.
    #[inline]
    pub(crate) fn is_told(&self, slot: u32, executor: u32) -> bool {
        let told = self.known(slot).map_or(&[][..], |known| &known.told);
        told.get((executor / 64) as usize)
            .is_some_and(|told| told >> (executor % 64) & 1 == 1)
    }

    /// The owner has unmapped a segment; none if something of it is still leased.
    pub(crate) fn retire(&mut self, slot: u32) -> Option<Gone> {
        if self.known(slot)?.ranges > 0 {
            return None;
        }
        self.remove(slot)
    }

    /// Who has lent by this share has gone, or nothing more is borrowed by it: its segments go with their last ranges.
    /// Returns those that went at once.
    pub(crate) fn share_gone(&mut self, share: ShareId) -> Vec<Gone> {
        let mut gone = Vec::new();
        for slot in 0..self.slots.len() as u32 {
            let known = self.slots[slot as usize].known.as_mut();
            let Some(known) = known.filter(|known| known.owner == Owner::Peer(share)) else {
                continue;
            };
            known.owner = Owner::Gone;
            if known.ranges == 0 {
                gone.extend(self.remove(slot));
            }
        }
        gone
    }

    /// An executor has gone: it knows nothing any more, and its segments go with their last ranges. Returns those that
    /// went at once.
    pub(crate) fn executor_gone(&mut self, executor: u32) -> Vec<Gone> {
        let (word, bit) = ((executor / 64) as usize, 1u64 << (executor % 64));
        let mut gone = Vec::new();
        for slot in 0..self.slots.len() as u32 {
            let Some(known) = self.slots[slot as usize].known.as_mut() else {
                continue;
            };
            if let Some(told) = known.told.get_mut(word) {
                *told &= !bit;
            }
            if known.owner != Owner::Executor(executor) {
                continue;
            }
            known.owner = Owner::Gone;
            if known.ranges == 0 {
                gone.extend(self.remove(slot));
            } else {
                self.news.push(SegmentNews::Disowned(slot));
            }
        }
        gone
    }

    fn remove(&mut self, slot: u32) -> Option<Gone> {
        let state = &mut self.slots[slot as usize];
        let known = state.known.take()?;
        self.own.retain(|own| own.2 != slot);
        let gone = Gone {
            slot,
            generation: state.generation,
            bytes: known.mapping.length(),
            set_aside: (known.owner == Owner::Copies).then_some(known.compartment),
            told: known.told,
        };
        let held = if known.lent {
            &mut self.lent
        } else {
            self.bytes -= known.mapping.length();
            self.news.push(SegmentNews::Gone(slot));
            &mut self.held[known.compartment.index()]
        };
        held.segments -= 1;
        held.bytes -= known.mapping.length();
        state.generation = state.generation.wrapping_add(1);
        self.free.push(slot);
        Some(gone)
    }
}
