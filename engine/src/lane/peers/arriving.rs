//! Lists that are read while they are still arriving, by the link and the transfer by which they come.

use crate::core::Incoming;
use crate::core::store::Arrival;
use crate::lane::driver::ConnectionId;
use rustc_hash::FxHashMap;

#[derive(Debug, Default)]
pub(super) struct Arriving {
    given: u64,
    under_way: FxHashMap<(ConnectionId, u64), Arrival>,
}

impl Arriving {
    /// A list has been handed on of which nothing is there yet but its range.
    pub(super) fn begin(
        &mut self,
        link: ConnectionId,
        transfer: u64,
        incoming: Incoming,
    ) -> Incoming {
        let Incoming::List {
            range,
            items,
            section,
        } = incoming
        else {
            unreachable!("only lists are handed on before they are there");
        };
        self.given += 1;
        let arrival = Arrival(self.given);
        self.under_way.insert((link, transfer), arrival);
        Incoming::Arriving {
            range,
            items,
            section,
            arrival,
        }
    }

    pub(super) fn of(&self, link: ConnectionId, transfer: u64) -> Option<Arrival> {
        self.under_way.get(&(link, transfer)).copied()
    }

    pub(super) fn end(&mut self, link: ConnectionId, transfer: u64) -> Option<Arrival> {
        self.under_way.remove(&(link, transfer))
    }
}
