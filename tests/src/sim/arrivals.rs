//! Lists that simulated lanes have begun to read before all of them is there.

use super::lane::Lane;
use super::memory::Came;
use super::{Cluster, Event};
use engine::core::Incoming;
use engine::core::store::Arrival;
use engine::reads::Way;
use faasstore::descriptor::{InvocationId, PayloadRef};
use std::rc::Rc;

/// In a thousand lists that could be taken early: those that are.
const EARLY: u32 = 700;
/// What lies where nothing has arrived yet.
const NOTHING_YET: u8 = 0xEE;

/// Of one lane.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    given: u64,
    under_way: Vec<Coming>,
}

#[derive(Debug)]
struct Coming {
    link: usize,
    invocation: InvocationId,
    arrival: Arrival,
    range: PayloadRef,
    bytes: Vec<u8>,
    /// How many of them are there.
    come: usize,
}

impl Arrivals {
    pub(super) fn events(
        &self,
        lane: usize,
        events: &mut Vec<Event>,
        comes: impl Fn(usize) -> bool,
    ) {
        let under_way = self.under_way.iter().enumerate();
        let coming = under_way.filter(|(_, coming)| comes(coming.link));
        events.extend(coming.map(|(index, _)| Event::Arrived { lane, index }));
    }

    /// What is to lie in a range, or in a part of one, that is still arriving.
    fn content(&self, range: PayloadRef) -> Option<Vec<u8>> {
        let of_it = |coming: &&Coming| coming.range.segment == range.segment;
        let coming = self.under_way.iter().find(of_it)?;
        let from = range.offset.checked_sub(coming.range.offset)? as usize;
        let part = coming.bytes.get(from..from + range.length as usize);
        part.map(<[u8]>::to_vec)
    }

    pub(super) fn judge_empty(&self, lane: usize) {
        assert!(
            self.under_way.is_empty(),
            "something is still arriving at lane {lane}: {self:?}"
        );
    }
}

impl Lane {
    /// What lies in a range, or will when it has arrived.
    pub(super) fn content(&self, range: PayloadRef) -> Vec<u8> {
        let arriving = self.arrivals.content(range);
        arriving.unwrap_or_else(|| self.memory.read(range))
    }
}

impl Cluster {
    /// What has just come whole comes piece by piece, if it is a list that may be read before all of it is there.
    pub(super) fn take_early(
        &mut self,
        incoming: Incoming,
        (link, to): (usize, usize),
        invocation: InvocationId,
    ) -> Incoming {
        let (range, items, section) = match incoming {
            Incoming::List {
                range,
                items,
                section,
            } if range.is_range() && self.random.chance(EARLY) => (range, items, section),
            other => return other,
        };
        let Lane {
            memory, arrivals, ..
        } = &mut self.lanes[to];
        let bytes = memory.read(range);
        memory.write(range, 0, &vec![NOTHING_YET; bytes.len()]);
        memory.note(range, Came::by(Way::Peer));
        arrivals.given += 1;
        let arrival = Arrival(arrivals.given);
        arrivals.under_way.push(Coming {
            link,
            invocation,
            arrival,
            range,
            bytes,
            come: 0,
        });
        Incoming::Arriving {
            range,
            items,
            section,
            arrival,
        }
    }

    /// A piece more of a list is there.
    pub(super) fn piece_arrives(&mut self, lane: usize, index: usize) {
        let left = {
            let coming = &self.lanes[lane].arrivals.under_way[index];
            coming.bytes.len() - coming.come
        };
        let piece = 1 + self.random.below(left);
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let state = &mut self.lanes[lane];
        let coming = &mut state.arrivals.under_way[index];
        let (from, behind) = (coming.come, coming.come + piece);
        state
            .memory
            .write(coming.range, from, &coming.bytes[from..behind]);
        coming.come = behind;
        if behind == coming.bytes.len() {
            let coming = state.arrivals.under_way.swap_remove(index);
            state.core.arrival_ended(now_ns, coming.arrival, Ok(()));
            return self.act(lane);
        }
        state.core.arrived(now_ns, coming.arrival, behind as u64);
        let before = self.lanes[lane].running();
        self.act(lane);
        self.started_early += self.lanes[lane].running().saturating_sub(before) as u64;
    }

    /// Nothing more comes by a connection.
    pub(super) fn arrivals_end(&mut self, link: usize, lane: usize) {
        let now_ns = self.lanes[lane].exact_ns(self.now_ns);
        let state = &mut self.lanes[lane];
        let under_way = std::mem::take(&mut state.arrivals.under_way);
        let (torn, others) = under_way
            .into_iter()
            .partition(|coming: &Coming| coming.link == link);
        state.arrivals.under_way = others;
        let torn: Vec<Coming> = torn;
        for coming in torn {
            if let Some(asked) = self.by_id.get(&coming.invocation) {
                self.asked[*asked].payload_lost = true;
            }
            let cause = Err(Rc::from("the connection broke"));
            let core = &mut self.lanes[lane].core;
            core.arrival_ended(now_ns, coming.arrival, cause);
        }
    }
}
