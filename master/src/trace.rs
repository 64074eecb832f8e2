//! When each activation of an invocation ran, put together from what each worker tells of its part.
//!
//! Times count from the beginning of the invocation at its entry worker. Parts of workers that read the same clock are
//! compared directly ([`Aligned::Clock`]); of a worker with another clock nobody knows how far it is ahead or behind, so
//! its part is put where the invocation began for it ([`Aligned::Beginning`]), which is too early by the way of the
//! message that told it so. Whoever shows a trace says which it was. [`perfetto`] writes one down for trace viewers,
//! [`crate::draw::timeline`] draws it.

pub mod perfetto;

use crate::client::Answered;
use engine::plan::NodeId;
use engine::trace::{PartTrace, TraceEnd, TraceRecord};
use faasstore::descriptor::InvocationId;
use std::collections::BTreeMap;

/// How the times of workers are made comparable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aligned {
    /// By the clock that they share.
    Clock,
    /// Each at its own beginning.
    Beginning,
}

impl Aligned {
    /// As outputs say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Beginning => "beginning",
        }
    }
}

/// A worker that took part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// How its times were made those of the entry worker.
    pub aligned: Aligned,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum End {
    /// Well.
    Well,
    /// It failed; another attempt may have followed.
    Failed,
    /// It took longer than it may, and so failed; another attempt may have followed.
    TimedOut,
    /// It had not ended when the invocation was over.
    Running,
}

impl End {
    /// As outputs say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Running => "still running",
        }
    }
}

/// One attempt of one activation. Times are nanoseconds since the invocation began, each no earlier than the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Its node's place in [`Trace::nodes`].
    pub node: usize,
    /// Its worker's place in [`Trace::workers`].
    pub worker: usize,
    /// The number of its executor there; none if the lane did it itself.
    pub executor: Option<u32>,
    /// The item of a foreach; of a foreach within others the items of these before it, the outermost first.
    pub items: Vec<u32>,
    /// From 1.
    pub number: u32,
    /// When it could have started.
    pub ready_ns: u64,
    /// When it was handed to its executor.
    pub started_ns: u64,
    /// When its end was noticed.
    pub ended_ns: u64,
    /// How it ended.
    pub end: End,
}

/// All that was recorded of an invocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The workflow's name.
    pub workflow: String,
    /// Which invocation.
    pub invocation: InvocationId,
    /// How long it took, in nanoseconds.
    pub latency_ns: u64,
    /// Those of which there is a part, the entry worker first.
    pub workers: Vec<Worker>,
    /// Names of nodes, by their numbers in the deployment; a divided one is there once.
    pub nodes: Vec<String>,
    /// In the order of their starts.
    pub attempts: Vec<Attempt>,
    /// Which node waited for which, by their places in `nodes`, as far as that is known: it comes with the report.
    pub edges: Vec<(usize, usize)>,
    /// Nodes that were skipped, by their places in `nodes`.
    pub skipped: Vec<usize>,
    /// Attempts, and skipped nodes, that were not recorded for want of room.
    pub dropped: u64,
}

impl Trace {
    /// Puts together what an answer tells. It is empty if no trace was asked for, or the door did not open.
    #[must_use]
    pub fn of(workflow: &str, answered: &Answered) -> Self {
        let parts = &answered.trace;
        let mut names: BTreeMap<NodeId, &str> = BTreeMap::new();
        for (id, name) in parts.iter().flat_map(|part| &part.nodes) {
            names.entry(*id).or_insert(name);
        }
        // The parts of a divided node have numbers of their own, and are one node here.
        let mut nodes: Vec<String> = Vec::new();
        let mut places: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut place_of: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, name) in names {
            let place = *place_of.entry(name).or_insert(nodes.len());
            if place == nodes.len() {
                nodes.push(name.to_owned());
            }
            places.insert(id, place);
        }
        let entry = parts.first();
        let mut trace = Self {
            workflow: workflow.to_owned(),
            invocation: answered.invocation,
            latency_ns: answered.latency_ns,
            workers: Vec::with_capacity(parts.len()),
            nodes,
            attempts: Vec::new(),
            edges: Vec::new(),
            skipped: Vec::new(),
            dropped: 0,
        };
        for part in parts {
            trace.take_in(part, entry.unwrap_or(part), &places);
        }
        trace.attempts.sort_by(|a, b| {
            let times = |attempt: &Attempt| (attempt.started_ns, attempt.ended_ns, attempt.node);
            times(a).cmp(&times(b)).then_with(|| a.items.cmp(&b.items))
        });
        trace.skipped.sort_unstable();
        let by_name: BTreeMap<&str, usize> =
            trace.nodes.iter().map(String::as_str).zip(0..).collect();
        for node in &answered.report {
            let Some(to) = by_name.get(node.node.as_str()) else {
                continue;
            };
            let from = node
                .edges
                .iter()
                .filter_map(|edge| by_name.get(edge.from.as_str()));
            trace.edges.extend(from.map(|from| (*from, *to)));
        }
        trace
    }

    fn take_in(&mut self, part: &PartTrace, entry: &PartTrace, places: &BTreeMap<NodeId, usize>) {
        let aligned = if std::ptr::eq(part, entry) || part.clock.is_shared_with(entry.clock) {
            Aligned::Clock
        } else {
            Aligned::Beginning
        };
        let offset_ns = match aligned {
            Aligned::Clock => part.began_ns.saturating_sub(entry.began_ns),
            Aligned::Beginning => 0,
        };
        let worker = self.workers.len();
        self.workers.push(Worker {
            name: part.worker.clone(),
            aligned,
        });
        self.dropped += part.dropped;
        for record in &part.records {
            let Some(node) = places.get(&record.node).copied() else {
                // A record of a node without a name: no worker sends it.
                self.dropped += 1;
                continue;
            };
            match end(record.end) {
                Some(end) => {
                    let items = part.items(record).collect();
                    let attempt = attempt(record, (node, items), end, (worker, offset_ns));
                    self.attempts.push(attempt);
                }
                None => self.skipped.push(node),
            }
        }
    }

    /// How times were made comparable: as that worker's were for which it is less exact.
    #[must_use]
    pub fn aligned(&self) -> Aligned {
        let by_clock = |worker: &Worker| worker.aligned == Aligned::Clock;
        if self.workers.iter().all(by_clock) {
            Aligned::Clock
        } else {
            Aligned::Beginning
        }
    }

    /// How far its times reach: to the answer, or to what still ran then, in nanoseconds.
    #[must_use]
    pub fn span_ns(&self) -> u64 {
        let ends = self.attempts.iter().map(|attempt| attempt.ended_ns);
        ends.max().unwrap_or(0).max(self.latency_ns)
    }
}

const fn end(end: TraceEnd) -> Option<End> {
    match end {
        TraceEnd::Well => Some(End::Well),
        TraceEnd::Failed => Some(End::Failed),
        TraceEnd::TimedOut => Some(End::TimedOut),
        TraceEnd::Running => Some(End::Running),
        TraceEnd::Skipped => None,
    }
}

impl Attempt {
    /// The numbers of its items as one text, as in `2/5`: item 5 of what runs for item 2. None outside of all foreach.
    #[must_use]
    pub fn items_text(&self) -> Option<String> {
        let items: Vec<String> = self.items.iter().map(u32::to_string).collect();
        (!items.is_empty()).then(|| items.join("/"))
    }
}

fn attempt(
    record: &TraceRecord,
    (node, items): (usize, Vec<u32>),
    end: End,
    (worker, offset_ns): (usize, u64),
) -> Attempt {
    // What a worker says of its times is not believed to be in order.
    let started_ns = record.started_ns.max(record.ready_ns);
    let shifted = |time_ns: u64| time_ns.saturating_add(offset_ns);
    Attempt {
        node,
        worker,
        executor: record.executor(),
        items,
        number: record.attempt,
        ready_ns: shifted(record.ready_ns),
        started_ns: shifted(started_ns),
        ended_ns: shifted(record.ended_ns.max(started_ns)),
        end,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use engine::trace::{BY_LANE, ClockId};
    use engine::wire::{EdgeReport, NodeReport, Tier};
    use faasstore::descriptor::NO_ITEM;

    pub(crate) fn record(node: NodeId, item: Option<u32>, times: [u64; 3]) -> TraceRecord {
        TraceRecord {
            ready_ns: times[0],
            started_ns: times[1],
            ended_ns: times[2],
            node,
            item: item.unwrap_or(NO_ITEM),
            outer_at: 0,
            outer_count: 0,
            attempt: 1,
            executor: 0,
            end: TraceEnd::Well,
        }
    }

    pub(crate) fn part(
        worker: &str,
        clock: u64,
        began_ns: u64,
        records: Vec<TraceRecord>,
    ) -> PartTrace {
        let mut nodes: Vec<(NodeId, String)> = records
            .iter()
            .map(|record| (record.node, format!("node-{}", record.node)))
            .collect();
        nodes.sort();
        nodes.dedup();
        PartTrace {
            worker: worker.into(),
            clock: ClockId(clock),
            began_ns,
            nodes,
            records,
            outer: Vec::new(),
            dropped: 0,
        }
    }

    pub(crate) fn answered(trace: Vec<PartTrace>, latency_ns: u64) -> Answered {
        Answered {
            request: 1,
            invocation: InvocationId(5),
            latency_ns,
            result: Ok(Vec::new()),
            report: Vec::new(),
            trace,
        }
    }

    #[test]
    fn parts_of_one_clock_are_compared_and_others_put_at_their_beginning() {
        let parts = |clocks: [u64; 3]| {
            let one = |place: usize, worker| {
                let began_ns = [1_000, 1_050, 9_000_000][place];
                let records = vec![record(place as u32, None, [10, 20, 30])];
                part(worker, clocks[place], began_ns, records)
            };
            vec![one(0, "a"), one(1, "b"), one(2, "c")]
        };
        let trace = Trace::of("w", &answered(parts([3, 3, 4]), 100));
        let started: Vec<u64> = trace
            .attempts
            .iter()
            .map(|attempt| attempt.started_ns)
            .collect();
        assert_eq!(started, [20, 20, 70], "c as if it had begun with a");
        let aligned: Vec<Aligned> = trace.workers.iter().map(|worker| worker.aligned).collect();
        assert_eq!(
            aligned,
            [Aligned::Clock, Aligned::Clock, Aligned::Beginning]
        );
        assert_eq!(trace.aligned(), Aligned::Beginning);
        assert_eq!(trace.span_ns(), 100);

        let unknown = Trace::of("w", &answered(parts([0, 0, 0]), 100));
        assert_eq!(
            unknown.workers[0].aligned,
            Aligned::Clock,
            "its own clock it knows"
        );
        assert_eq!(unknown.workers[1].aligned, Aligned::Beginning);
    }

    #[test]
    fn nonsense_from_a_worker_is_put_in_order() {
        let mut wild = record(1, Some(4), [50, 20, 30]);
        wild.executor = BY_LANE;
        let mut unnamed = part("a", 1, 0, vec![wild, record(2, None, [0, u64::MAX, 1])]);
        unnamed.nodes.truncate(1);
        let trace = Trace::of("w", &answered(vec![unnamed], 0));
        let [attempt] = &trace.attempts[..] else {
            panic!("{:?}", trace.attempts);
        };
        assert_eq!(
            (attempt.ready_ns, attempt.started_ns, attempt.ended_ns),
            (50, 50, 50)
        );
        assert_eq!(
            (
                attempt.items_text().as_deref(),
                attempt.executor,
                trace.dropped
            ),
            (Some("4"), None, 1)
        );
        assert_eq!(Trace::of("w", &answered(Vec::new(), 0)).workers, []);
    }

    #[test]
    fn skipped_nodes_and_edges_are_told() {
        let mut skipped = record(2, None, [0; 3]);
        skipped.end = TraceEnd::Skipped;
        let records = vec![
            record(0, None, [0, 1, 2]),
            skipped,
            record(7, None, [2, 3, 4]),
        ];
        let mut answered = answered(vec![part("a", 1, 0, records)], 4);
        let edge = |from: &str| EdgeReport {
            from: from.into(),
            tier: Tier::Shared,
            bytes: 1,
        };
        answered.report = vec![NodeReport {
            id: 7,
            node: "node-7".into(),
            worker: "a".into(),
            activations: 1,
            well: 1,
            failed: 0,
            cut_off: 0,
            skipped: 0,
            attempts: 1,
            failures: 0,
            busy_ns: 1,
            failed_ns: 0,
            span_ns: 1,
            edges: vec![edge("input"), edge("node-0")],
        }];
        let trace = Trace::of("w", &answered);
        assert_eq!(trace.nodes, ["node-0", "node-2", "node-7"]);
        assert_eq!((trace.skipped, trace.edges), (vec![1], vec![(0, 2)]));
        assert_eq!(trace.attempts.len(), 2);
    }
}
