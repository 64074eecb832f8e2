//! How the segments of an arena come and go: within its limits, and back to the kernel when they are empty.

use super::chain::{Block, Cleared, Idle};
use super::{Arena, ArenaConfig, ArenaError, Compartment, GRANULE_BYTES};
use crate::segment::{SegmentError, SegmentWriter};

/// Bytes of empty segments that an arena keeps for the next payloads, at most. The one that was emptied last is kept
/// however large it is.
pub const RESERVE_BYTES_MAX: u64 = 1 << 30;
/// Of what it may hold, an arena keeps at most this share in empty segments: one in so many.
const RESERVE_SHARE: u64 = 4;
/// Segments are whole numbers of these, at least.
pub(super) const PAGE_BYTES: u64 = 4096;

/// Bytes of empty segments that an arena keeps: a share of what it may hold, and two ordinary ones at least.
pub(super) fn reserve_bytes(config: &ArenaConfig) -> u64 {
    let share = (config.bytes_max / RESERVE_SHARE).min(RESERVE_BYTES_MAX);
    share.max(config.segment_bytes.saturating_mul(2))
}

impl Arena {
    /// Why there is no room, in the compartment or in all.
    pub(super) fn full(&self, compartment: Compartment, bytes: u64) -> ArenaError {
        let max = self.bytes_max_in(compartment);
        let (held, leased) = (self.held_by(compartment), self.leased_by(compartment));
        if max < self.config.bytes_max && bytes > max.saturating_sub(held) {
            return ArenaError::Full {
                bytes,
                held,
                leased,
                max,
            };
        }
        let lacking = self.kept_for_others(compartment, |other| self.held_by(other));
        ArenaError::Full {
            bytes,
            held: self.bytes_held(),
            leased: self.bytes_leased() + self.aside_bytes,
            max: self.config.bytes_max.saturating_sub(lacking),
        }
    }

    /// Bytes by which the segments of a compartment may grow.
    fn room(&self, compartment: Compartment) -> u64 {
        let (most, held) = (
            self.ledgers[compartment.index()].bytes_max,
            self.held_by(compartment),
        );
        let free = self.config.bytes_max.saturating_sub(self.bytes_held());
        let lacking = self.kept_for_others(compartment, |other| self.held_by(other));
        let own = self.kept_for(compartment).saturating_sub(held).min(free);
        let here = most.saturating_sub(held);
        here.min(free.saturating_sub(lacking).max(own))
    }

    /// What of a compartment is in use, and beside the arena for it.
    fn leased_by(&self, compartment: Compartment) -> u64 {
        self.bytes_leased_in(compartment) + self.ledgers[compartment.index()].aside_bytes
    }

    /// What a compartment holds, and what is held beside the arena for it.
    fn held_by(&self, compartment: Compartment) -> u64 {
        self.chain.bytes_held_in(compartment) + self.ledgers[compartment.index()].aside_bytes
    }

    fn kept_for(&self, compartment: Compartment) -> u64 {
        if compartment == Compartment::FIRST || self.ledgers[compartment.index()].closed {
            return 0;
        }
        self.kept_for_each
    }

    /// What is kept for all compartments but one that have so much.
    pub(super) fn kept_for_others(
        &self,
        one: Compartment,
        have: impl Fn(Compartment) -> u64,
    ) -> u64 {
        let others = self.compartments().filter(|other| *other != one);
        let lacking = |other| self.kept_for(other).saturating_sub(have(other));
        others.map(lacking).sum()
    }

    /// Makes room for a segment of `wanted` bytes by giving empty ones back, and returns how much there is, which may be less.
    /// Empty segments that are too small for a payload, or another compartment's, must not stand in its way.
    pub(super) fn make_room(&mut self, compartment: Compartment, wanted: u64) -> u64 {
        let room = self.room(compartment);
        if room >= wanted {
            return room;
        }
        self.flush(compartment);
        while self.room(compartment) < wanted && self.retire_largest(compartment) {}
        if self.room(compartment) < wanted {
            for other in self.compartments().filter(|other| *other != compartment) {
                self.flush(other);
                // What is kept for the other makes no room.
                while self.room(compartment) < wanted
                    && self.held_by(other) > self.kept_for(other)
                    && self.retire_largest(other)
                {}
            }
        }
        self.room(compartment)
    }

    /// Has `make` make a segment; if the machine has no memory for it, once more after all empty ones have been given back.
    pub(super) fn make<T>(
        &mut self,
        make: impl Fn() -> Result<T, SegmentError>,
    ) -> Result<T, ArenaError> {
        match make() {
            Err(SegmentError::Memory { .. }) if self.chain.bytes_idle() > 0 => {
                self.retire_idle(0);
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    /// Adds an ordinary segment with room for `count` granules. Near the limit it is smaller: it takes half of the room that is
    /// left, so that other compartments find some, and the last segments are not of a page each.
    pub(super) fn add_packed(
        &mut self,
        compartment: Compartment,
        count: u32,
    ) -> Result<(), ArenaError> {
        let bytes = u64::from(count) * GRANULE_BYTES;
        let wanted = bytes
            .max(self.config.segment_bytes)
            .next_multiple_of(PAGE_BYTES);
        let least = bytes.next_multiple_of(PAGE_BYTES);
        let room = self.make_room(compartment, wanted);
        if least > room {
            return Err(self.full(compartment, bytes));
        }
        let half = (room / 2).next_multiple_of(PAGE_BYTES).min(room);
        let size = if wanted <= room {
            wanted
        } else {
            half.max(least)
        };
        let name = self.chain.next_name(&self.config.name);
        let writer = self.make(|| SegmentWriter::create_at_most(&name, size, room))?;
        let made = self.chain.add_packed(compartment, writer);
        self.fresh.push(made);
        Ok(())
    }

    /// Adds a segment for one range, and returns that; its pages are there if `at_once`, else they are set aside later.
    pub(super) fn add_alone(
        &mut self,
        compartment: Compartment,
        count: u32,
        at_once: bool,
    ) -> Result<Block, ArenaError> {
        let bytes = u64::from(count) * GRANULE_BYTES;
        let least = bytes.next_multiple_of(PAGE_BYTES);
        let room = self.make_room(compartment, least);
        if least > room {
            return Err(self.full(compartment, bytes));
        }
        let name = self.chain.next_name(&self.config.name);
        let writer = self.make(|| {
            if at_once {
                SegmentWriter::create_at_most(&name, bytes, room)
            } else {
                SegmentWriter::create_gradually(&name, bytes)
            }
        })?;
        let (block, made) = self.chain.add_sealed(compartment, writer, count, at_once);
        self.fresh.push(made);
        Ok(block)
    }

    fn retire(&mut self, index: u32) {
        let was_draft = self.chain.is_draft(index);
        let generation = self.chain.remove(index);
        if was_draft {
            return;
        }
        let announced = self.fresh.len();
        self.fresh
            .retain(|fresh| (fresh.index, fresh.generation) != (index, generation));
        // Nobody needs to hear of the end of what they never heard of.
        if self.fresh.len() == announced {
            self.retired.push((index, generation));
        }
    }

    /// Retires the largest segment of a compartment in which nothing is left, if there is one. Its quick lists must be empty.
    fn retire_largest(&mut self, compartment: Compartment) -> bool {
        let idle = self.chain.idle();
        let own = idle.filter(|idle| idle.compartment == compartment);
        let Some(largest) = own.max_by_key(|idle| idle.bytes) else {
            return false;
        };
        self.retire(largest.segment);
        true
    }

    /// Gives back what was emptied longest ago until the empty segments are no more than the reserve. `last` is kept: whoever
    /// makes a large payload again and again gets the same memory again.
    #[cold]
    pub(super) fn shed(&mut self, last: u32) {
        while self.chain.bytes_idle() > self.reserve_bytes {
            let others = self.chain.idle().filter(|idle| idle.segment != last);
            let Some(longest) = others.min_by_key(|idle| idle.since) else {
                return;
            };
            self.flush(longest.compartment);
            self.retire(longest.segment);
        }
    }

    /// Gives empty segments back, the largest first, as long as `keep_bytes` bytes in segments remain.
    fn retire_idle(&mut self, keep_bytes: u64) {
        for compartment in self.compartments() {
            self.flush(compartment);
        }
        let mut idle: Vec<Idle> = self.chain.idle().collect();
        idle.sort_by_key(|idle| std::cmp::Reverse(idle.bytes));
        for one in idle {
            if self.bytes_held().saturating_sub(one.bytes) >= keep_bytes {
                self.retire(one.segment);
            }
        }
    }

    /// Gives segments in which nothing is left back to the kernel, as long as `keep_bytes` bytes in segments remain.
    /// Returns what readers are to be told: index and generation of all segments retired since last asked.
    pub fn trim(&mut self, keep_bytes: u64) -> Vec<(u32, u32)> {
        self.retire_idle(keep_bytes);
        self.retired_segments()
    }

    /// What has come back is of no more use: it was never finished, or its compartment is closed.
    #[cold]
    pub(super) fn clear_out(&mut self, cleared: Cleared, segment: u32) {
        if cleared.emptied_bytes > 0 {
            self.retire(segment);
        }
        if self.ledgers[cleared.compartment.index()].closed {
            self.vacate(cleared.compartment);
        }
    }

    /// Retires the segments of a closed compartment in which nothing is left; with the last of what it holds it can be opened anew.
    pub(super) fn vacate(&mut self, compartment: Compartment) {
        while self.retire_largest(compartment) {}
        if self.held_by(compartment) == 0 {
            self.vacant.push(compartment);
        }
    }
}
