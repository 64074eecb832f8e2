//! Connections of peers for payloads, until the connection for messages comes that names them.
//!
//! A link is two connections, and a lane is given both at once. The one for payloads is greeted first, and waits here: one
//! for each pair of lanes, for as long as a greeting may take. A later one takes the place of an earlier one, in whichever order they
//! have come.

use crate::wire::Role;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// Whose connection: the peer's name, its lane, and the lane here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct BulkKey {
    worker: String,
    from_lane: u8,
    to_lane: u8,
}

/// Which one: of which life of the peer, and its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct BulkName {
    epoch: u32,
    number: u64,
}

/// Whose connection for payloads a role speaks of, and which; nothing unless it is a link's.
#[must_use]
pub(super) fn bulk_of(role: &Role) -> Option<(BulkKey, BulkName)> {
    let (Role::Bulk {
        worker,
        epoch,
        from_lane,
        to_lane,
        bulk,
    }
    | Role::Peer {
        worker,
        epoch,
        from_lane,
        to_lane,
        bulk,
        ..
    }) = role
    else {
        return None;
    };
    let key = BulkKey {
        worker: worker.clone(),
        from_lane: *from_lane,
        to_lane: *to_lane,
    };
    let name = BulkName {
        epoch: *epoch,
        number: *bulk,
    };
    Some((key, name))
}

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Bulks(BTreeMap<BulkKey, (BulkName, OwnedFd)>);

impl Bulks {
    /// Keeps a connection, unless a later one waits already: whoever made this one has given it up.
    pub(super) fn keep(&mut self, key: BulkKey, name: BulkName, socket: OwnedFd) {
        let later = |(waits, _): &(BulkName, OwnedFd)| *waits > name;
        if !self.0.get(&key).is_some_and(later) {
            self.0.insert(key, (name, socket));
        }
    }

    /// Whether it waits.
    #[must_use]
    pub(super) fn has(&self, key: &BulkKey, name: BulkName) -> bool {
        self.0.get(key).is_some_and(|(waits, _)| *waits == name)
    }

    /// Takes it out, if it still waits.
    pub(super) fn take(&mut self, key: &BulkKey, name: BulkName) -> Option<OwnedFd> {
        let waits = self.has(key, name);
        waits.then(|| self.0.remove(key))?.map(|(_, socket)| socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> OwnedFd {
        std::os::unix::net::UnixStream::pair().unwrap().0.into()
    }

    fn of(epoch: u32, bulk: u64) -> (BulkKey, BulkName) {
        let role = Role::Bulk {
            worker: "b".into(),
            epoch,
            from_lane: 0,
            to_lane: 1,
            bulk,
        };
        bulk_of(&role).unwrap()
    }

    #[test]
    fn a_link_gets_the_connection_that_it_names_and_once() {
        let mut bulks = Bulks::default();
        let (key, name) = of(1, 7);
        bulks.keep(key.clone(), name, socket());
        for (_, other) in [of(1, 8), of(2, 7)] {
            assert!(!bulks.has(&key, other));
            assert!(bulks.take(&key, other).is_none());
        }
        assert!(bulks.take(&key, name).is_some());
        assert!(bulks.take(&key, name).is_none());
        assert_eq!(bulk_of(&Role::Client), None);
    }

    #[test]
    fn one_connection_waits_for_each_pair_of_lanes() {
        let mut bulks = Bulks::default();
        let (key, first) = of(1, 1);
        let (_, second) = of(1, 2);
        bulks.keep(key.clone(), first, socket());
        bulks.keep(key.clone(), second, socket());
        assert_eq!(bulks.0.len(), 1);
        assert!(!bulks.has(&key, first) && bulks.has(&key, second));
    }

    #[test]
    fn what_was_given_up_takes_the_place_of_nothing_later() {
        let mut bulks = Bulks::default();
        let (key, later) = of(2, 5);
        bulks.keep(key.clone(), later, socket());
        for (_, earlier) in [of(2, 4), of(1, 9)] {
            bulks.keep(key.clone(), earlier, socket());
            assert!(bulks.has(&key, later) && !bulks.has(&key, earlier));
        }
    }
}
