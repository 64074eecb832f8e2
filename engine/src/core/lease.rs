//! Leases: who still needs which range of shared memory, counted in the engine's private memory.
//!
//! A *lease* stands for one committed range of somebody's arena. Payloads are views of leases: an output is a view of
//! the whole range, an alias or an item of a list a view of a part. The range goes back to its arena when the last
//! view has been let go of. Nothing here touches the memory itself.

use faasstore::descriptor::PayloadRef;

/// Index of a lease. Indices are used again, but only when no view of the lease is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseId(u32);

impl LeaseId {
    const NONE: Self = Self(u32::MAX);
}

/// A view of a lease; a payload of no bytes is a view of none.
///
/// It is `Copy`, and counting is its keeper's duty: each copy kept is one [`Leases::hold`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    lease: LeaseId,
    presence: Presence,
    offset: u64,
    length: u64,
}

/// Whether a payload is there at all. What it takes in memory is what else a slot says in the same place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    There,
    Absent,
}

impl Payload {
    /// A payload of no bytes.
    pub const EMPTY: Self = Self {
        lease: LeaseId::NONE,
        presence: Presence::There,
        offset: 0,
        length: 0,
    };
    /// The place in a list of an item that is not there.
    pub const ABSENT: Self = Self {
        presence: Presence::Absent,
        ..Self::EMPTY
    };

    /// Whether it is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.presence == Presence::Absent
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// A part of this payload, or none if it reaches beyond. The part is one more view: hold it.
    #[must_use]
    pub fn part(&self, offset: u64, length: u64) -> Option<Self> {
        if self.is_absent() || offset.checked_add(length)? > self.length {
            return None;
        }
        if length == 0 {
            return Some(Self::EMPTY);
        }
        Some(Self {
            offset: self.offset + offset,
            length,
            ..*self
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    range: PayloadRef,
    holders: u32,
}

/// All leases of a lane.
#[derive(Debug, Default)]
pub struct Leases {
    slots: Vec<Lease>,
    free: Vec<u32>,
    bytes: u64,
}

impl Leases {
    /// Takes charge of a committed range; the payload returned is its first view.
    #[inline]
    pub fn take(&mut self, range: PayloadRef) -> Payload {
        if !range.is_range() {
            return Payload::EMPTY;
        }
        let lease = Lease { range, holders: 1 };
        self.bytes += range.length;
        let index = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = lease;
            index
        } else {
            self.slots.push(lease);
            (self.slots.len() - 1) as u32
        };
        Payload {
            lease: LeaseId(index),
            presence: Presence::There,
            offset: range.offset,
            length: range.length,
        }
    }

    /// Counts one more view.
    #[inline]
    pub fn hold(&mut self, payload: Payload) {
        if payload.lease != LeaseId::NONE {
            self.slots[payload.lease.0 as usize].holders += 1;
        }
    }

    /// Lets go of one view; the range is returned if it was the last.
    #[inline]
    #[must_use = "the range belongs back to its arena"]
    pub fn let_go(&mut self, payload: Payload) -> Option<PayloadRef> {
        if payload.lease == LeaseId::NONE {
            return None;
        }
        let lease = &mut self.slots[payload.lease.0 as usize];
        debug_assert!(lease.holders > 0, "a view is let go of once");
        lease.holders -= 1;
        if lease.holders > 0 {
            return None;
        }
        self.bytes -= lease.range.length;
        self.free.push(payload.lease.0);
        Some(lease.range)
    }

    /// Where the payload lies.
    #[inline]
    #[must_use]
    pub fn locate(&self, payload: Payload) -> PayloadRef {
        if payload.lease == LeaseId::NONE {
            return if payload.is_absent() {
                PayloadRef::ABSENT
            } else {
                PayloadRef::EMPTY
            };
        }
        let range = self.slots[payload.lease.0 as usize].range;
        PayloadRef {
            offset: payload.offset,
            length: payload.length,
            ..range
        }
    }

    /// Leases that are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Bytes of the ranges that are held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PayloadRef = PayloadRef {
        segment: 3,
        generation: 1,
        offset: 64,
        length: 100,
    };

    #[test]
    fn a_range_comes_back_with_its_last_view_and_not_before() {
        let mut leases = Leases::default();
        let whole = leases.take(RANGE);
        let part = whole.part(10, 20).unwrap();
        leases.hold(part);
        assert_eq!(leases.let_go(whole), None);
        assert_eq!(
            leases.locate(part),
            PayloadRef {
                offset: 74,
                length: 20,
                ..RANGE
            }
        );
        assert_eq!((leases.count(), leases.bytes()), (1, 100));
        assert_eq!(leases.let_go(part), Some(RANGE));
        assert_eq!((leases.count(), leases.bytes()), (0, 0));
    }

    #[test]
    fn a_part_never_reaches_beyond_its_payload() {
        let whole = Leases::default().take(RANGE);
        assert_eq!(whole.part(90, 11), None);
        assert_eq!(whole.part(u64::MAX, 2), None);
        assert_eq!(whole.part(100, 0), Some(Payload::EMPTY));
    }

    #[test]
    fn an_empty_payload_holds_nothing() {
        let mut leases = Leases::default();
        let empty = leases.take(PayloadRef::EMPTY);
        leases.hold(empty);
        assert_eq!(leases.let_go(empty), None);
        assert_eq!(leases.count(), 0);
    }
}
