//! The record of an invocation's attempts here, for a client that wants a trace: bounded, and apart from all that decides.

use super::invocation::Place;
use super::pool::Running;
use super::program::{LocalNode, Program};
use crate::trace::{BY_LANE, ClockId, PartTrace, TraceEnd, TraceRecord};
use faasstore::descriptor::NO_ITEM;
use rustc_hash::FxHashMap;

/// Records attempts as they start and end.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// When the invocation began here: its records count from then.
    began_ns: u64,
    /// How many records it keeps at most.
    most: usize,
    records: Vec<TraceRecord>,
    /// See [`PartTrace::outer`].
    outer: Vec<u32>,
    dropped: u64,
    /// By what runs: the place of its record.
    running: FxHashMap<(Place, LocalNode), usize>,
    /// By what waits for an executor: since when.
    ready: FxHashMap<(Place, LocalNode), u64>,
}

impl Recorder {
    /// Begins with an invocation. It keeps so many records at most, and counts the others.
    pub(crate) fn new(began_ns: u64, most: usize) -> Self {
        Self {
            began_ns,
            most,
            records: Vec::new(),
            outer: Vec::new(),
            dropped: 0,
            running: FxHashMap::default(),
            ready: FxHashMap::default(),
        }
    }

    pub(crate) fn ready(&mut self, now_ns: u64, place: Place, node: LocalNode) {
        self.ready.insert((place, node), now_ns);
    }

    pub(crate) fn started(&mut self, running: &Running, items: &[u32], executor: u32) {
        let Running {
            place,
            node,
            attempt,
            started_ns,
        } = *running;
        let waited = self.ready.remove(&(place, node));
        let ready_ns = waited.unwrap_or(started_ns);
        if self.records.len() == self.most {
            self.dropped += 1;
            return;
        }
        self.running.insert((place, node), self.records.len());
        let (item, outer_at, outer_count) = self.items(items);
        self.records.push(TraceRecord {
            ready_ns: self.since_began(ready_ns),
            started_ns: self.since_began(started_ns),
            ended_ns: self.since_began(started_ns),
            node,
            item,
            outer_at,
            outer_count,
            attempt,
            executor,
            end: TraceEnd::Running,
        });
    }

    /// What `running` says of its start may be later than what was said when it did.
    pub(crate) fn ended(&mut self, now_ns: u64, running: &Running, end: TraceEnd) {
        let started_ns = self.since_began(running.started_ns);
        let ended_ns = self.since_began(now_ns);
        if let Some(place) = self.running.remove(&(running.place, running.node)) {
            let record = &mut self.records[place];
            record.started_ns = started_ns.max(record.started_ns);
            record.ended_ns = ended_ns.max(record.started_ns);
            record.end = end;
        }
    }

    /// Keeps all but the innermost of an attempt's items, and says that one and where the others are.
    fn items(&mut self, items: &[u32]) -> (u32, u32, u8) {
        let Some((item, outer)) = items.split_last() else {
            return (NO_ITEM, 0, 0);
        };
        let outer_at = self.outer.len() as u32;
        self.outer.extend_from_slice(outer);
        (*item, outer_at, outer.len() as u8)
    }

    pub(crate) fn skipped(&mut self, node: LocalNode, items: &[u32]) {
        if self.records.len() == self.most {
            self.dropped += 1;
            return;
        }
        let (item, outer_at, outer_count) = self.items(items);
        self.records.push(TraceRecord {
            ready_ns: 0,
            started_ns: 0,
            ended_ns: 0,
            node,
            item,
            outer_at,
            outer_count,
            attempt: 0,
            executor: BY_LANE,
            end: TraceEnd::Skipped,
        });
    }

    fn since_began(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.began_ns)
    }

    /// The record, now that the invocation is over; nothing is left here.
    pub(crate) fn take(&mut self, now_ns: u64, clock: ClockId, program: &Program) -> PartTrace {
        let over_ns = self.since_began(now_ns);
        let mut records = std::mem::take(&mut self.records);
        for place in std::mem::take(&mut self.running).into_values() {
            records[place].ended_ns = over_ns.max(records[place].started_ns);
        }
        let mut known = vec![false; program.nodes.len()];
        for record in &mut records {
            known[record.node as usize] = true;
            record.node = program.nodes[record.node as usize].id;
        }
        let local = (0..program.nodes.len()).filter(|node| known[*node]);
        PartTrace {
            worker: program.my_name().to_owned(),
            clock,
            began_ns: self.began_ns,
            nodes: local
                .map(|node| (program.nodes[node].id, program.name(node as u32).to_owned()))
                .collect(),
            records,
            outer: std::mem::take(&mut self.outer),
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}
