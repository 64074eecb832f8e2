//! When each activation of an invocation ran: what each worker records of its part for a client that asks, as it travels.
//!
//! Times are nanoseconds since the invocation began at that worker, on the worker's own monotonic clock. Whether the
//! clocks of two parts are one and the same is told by [`ClockId`]; nothing else here compares them.
#![allow(
    missing_docs,
    reason = "rkyv derives fields of its own for enum variants, which nobody can document"
)]

use crate::plan::NodeId;
use crate::plan_check::REGION_DEPTH_MAX;
use faasstore::descriptor::NO_ITEM;
use rkyv::{Archive, Deserialize, Serialize};

/// Most records of one part of an invocation; what is beyond is counted.
pub const TRACE_MAX: usize = 100_000;
/// Most records in an answer, of all parts together, so that it stays far below the longest body that may be sent.
pub const TRACE_ANSWER_MAX: usize = 500_000;
/// Most parts that a lane traces at once; of those beyond, nothing is kept, and all is counted as dropped.
pub const TRACES_MAX: u32 = 8;
/// Stands for the lane in [`TraceRecord::executor`].
pub const BY_LANE: u32 = u32::MAX;

/// Which clock a worker's times are of. Two workers with one identity run on one kernel with one offset, so that their
/// times can be compared directly.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClockId(pub u64);

impl ClockId {
    /// It could not be found out.
    pub const UNKNOWN: Self = Self(0);

    /// Whether times of both can be compared directly.
    #[must_use]
    pub fn is_shared_with(self, other: Self) -> bool {
        self == other && self != Self::UNKNOWN
    }
}

/// How an attempt ended.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceEnd {
    /// Well.
    Well,
    /// It failed; another attempt may have followed.
    Failed,
    /// It took longer than it may, and so failed; another attempt may have followed.
    TimedOut,
    /// It had not ended when its invocation was over.
    Running,
    /// It was not to run, and has no times.
    Skipped,
}

/// One attempt of one activation, or a node that was skipped.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceRecord {
    /// When it could have started: what it waits for was there, and its delay or backoff over. In an item of a
    /// foreach, not before that item began.
    pub ready_ns: u64,
    /// When it was handed to its executor.
    pub started_ns: u64,
    /// When its end was noticed; of one that still runs, when the invocation was over.
    pub ended_ns: u64,
    /// Of which node.
    pub node: NodeId,
    /// The item of a foreach, or [`NO_ITEM`]; of one within others, the innermost. [`PartTrace::items`] has all.
    pub item: u32,
    /// Where in [`PartTrace::outer`] those around it begin.
    pub outer_at: u32,
    /// How many there are.
    pub outer_count: u8,
    /// From 1; 0 if it was skipped.
    pub attempt: u32,
    /// The number of its executor on the lane, or [`BY_LANE`].
    pub executor: u32,
    /// How it ended.
    pub end: TraceEnd,
}

/// Most bytes that a record takes: its own, and the items around its own.
const RECORD_BYTES_MAX: usize =
    size_of::<TraceRecord>() + size_of::<u32>() * (REGION_DEPTH_MAX - 1);

// A whole part's records stay below an eighth of the longest body, those of an answer well below all of it.
const _: () = assert!(RECORD_BYTES_MAX * TRACE_MAX < crate::wire::BODY_BYTES_MAX / 8);
const _: () = assert!(RECORD_BYTES_MAX * TRACE_ANSWER_MAX < crate::wire::BODY_BYTES_MAX / 8 * 5);

impl TraceRecord {
    /// The item of a foreach.
    #[must_use]
    pub fn item(&self) -> Option<u32> {
        (self.item != NO_ITEM).then_some(self.item)
    }

    const fn outer_end(&self) -> usize {
        self.outer_at as usize + self.outer_count as usize
    }

    /// The number of its executor; none if the lane did it itself.
    #[must_use]
    pub fn executor(&self) -> Option<u32> {
        (self.executor != BY_LANE).then_some(self.executor)
    }
}

/// What one worker records of its part of an invocation.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct PartTrace {
    /// The worker's name.
    pub worker: String,
    /// The clock of its times.
    pub clock: ClockId,
    /// When the invocation began there, by that clock.
    pub began_ns: u64,
    /// Names of the nodes of which there are records.
    pub nodes: Vec<(NodeId, String)>,
    /// In the order in which attempts started.
    pub records: Vec<TraceRecord>,
    /// For records in a foreach within others, one after the other: the items around their own, the outermost first.
    pub outer: Vec<u32>,
    /// Attempts, and nodes that were skipped, of which there is no record for want of room.
    pub dropped: u64,
}

impl PartTrace {
    /// Keeps so many records at most, and counts the others as dropped.
    pub fn keep(&mut self, most: usize) {
        self.dropped += self.records.len().saturating_sub(most) as u64;
        self.records.truncate(most);
        let ends = self.records.iter().map(TraceRecord::outer_end);
        self.outer.truncate(ends.max().unwrap_or(0));
    }

    /// The items in which a record's attempt ran, the outermost first: of a foreach one, of others within it one more for
    /// each. A record that does not fit what is here has its own alone.
    pub fn items<'a>(&'a self, record: &'a TraceRecord) -> impl Iterator<Item = u32> + 'a {
        let outer = self.outer.get(record.outer_at as usize..record.outer_end());
        let outer = outer.unwrap_or_default();
        outer.iter().copied().chain(record.item())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DeploymentId;
    use crate::wire::{self, BODY_BYTES_MAX, HEADER_BYTES, Header};

    fn record(number: u32) -> TraceRecord {
        TraceRecord {
            ready_ns: u64::from(number),
            started_ns: u64::from(number) + 1,
            ended_ns: u64::from(number) + 2,
            node: number % 7,
            item: if number.is_multiple_of(3) {
                NO_ITEM
            } else {
                number
            },
            outer_at: 7 * number,
            outer_count: 7,
            attempt: 1 + number % 2,
            executor: if number.is_multiple_of(5) {
                BY_LANE
            } else {
                number
            },
            end: TraceEnd::Failed,
        }
    }

    fn part(records: usize) -> PartTrace {
        PartTrace {
            worker: "a".into(),
            clock: ClockId(9),
            began_ns: 77,
            nodes: vec![(3, "count".into())],
            records: (0..records as u32).map(record).collect(),
            outer: (0..7 * records as u32).collect(),
            dropped: 5,
        }
    }

    #[test]
    fn a_full_trace_of_all_parts_travels_within_the_limit_of_a_body() {
        let parts = TRACE_ANSWER_MAX / TRACE_MAX;
        let answer = wire::Answer {
            request: 1,
            invocation: 2,
            latency_ns: 3,
            result: Ok(Vec::new()),
            report: Vec::new(),
            trace: vec![part(TRACE_MAX); parts],
        };
        let mut frame = Vec::new();
        wire::encode(&answer, &mut frame);
        let header = frame[..HEADER_BYTES].try_into().unwrap();
        let header = Header::parse(header, BODY_BYTES_MAX).unwrap();
        let body = &frame[HEADER_BYTES..][..header.length];
        assert_eq!(wire::decode::<wire::Answer>(body).unwrap(), answer);
    }

    #[test]
    fn wishes_for_traces_and_parts_of_them_travel() {
        let mut frame = Vec::new();
        let begin = wire::Begin {
            invocation: 1,
            deployment: DeploymentId(2),
            report: false,
            trace: true,
            inputs: Vec::new(),
        };
        wire::encode(&begin, &mut frame);
        let done = wire::PartDone {
            invocation: 1,
            deployment: DeploymentId(2),
            outputs: Vec::new(),
            report: Vec::new(),
            trace: Some(Box::new(part(10))),
            load: Some(wire::Load {
                active: u16::MAX,
                executors: 2,
                begun_next: 1 << 40,
            }),
        };
        let second = frame.len();
        wire::encode(&done, &mut frame);
        let body = |at: usize| {
            let header = frame[at..][..HEADER_BYTES].try_into().unwrap();
            let header = Header::parse(header, BODY_BYTES_MAX).unwrap();
            &frame[at + HEADER_BYTES..][..header.length]
        };
        assert_eq!(wire::decode::<wire::Begin>(body(0)).unwrap(), begin);
        assert_eq!(wire::decode::<wire::PartDone>(body(second)).unwrap(), done);
    }

    #[test]
    fn what_is_cut_off_is_counted() {
        let mut cut = part(10);
        cut.keep(4);
        assert_eq!((cut.records.len(), cut.dropped), (4, 11));
        cut.keep(4);
        assert_eq!((cut.records.len(), cut.dropped), (4, 11));
    }

    #[test]
    fn a_clock_that_is_not_known_is_nobodys() {
        assert!(ClockId(4).is_shared_with(ClockId(4)));
        assert!(!ClockId(4).is_shared_with(ClockId(5)));
        assert!(!ClockId::UNKNOWN.is_shared_with(ClockId::UNKNOWN));
    }
}
