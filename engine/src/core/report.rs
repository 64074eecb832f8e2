//! What an invocation tells of itself when its client asked for a report or a trace.

use super::Core;
use super::invocation::Place;
use super::pool::Running;
use super::program::{InputFrom, LocalNode, Producer, Program};
use super::record::Recorder;
use crate::trace::{BY_LANE, PartTrace, TRACE_MAX, TRACES_MAX, TraceEnd};
use crate::wire::{EdgeReport, NodeReport, Tier};
use rustc_hash::{FxHashMap, FxHashSet};

/// What a client wants to be told beside its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// What each node did.
    pub report: bool,
    /// When each activation ran.
    pub trace: bool,
}

impl Wanted {
    /// The outputs alone.
    pub const NOTHING: Self = Self {
        report: false,
        trace: false,
    };
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Attempt {
    Well,
    Failed,
    TimedOut,
}

/// Times and bytes of one invocation's nodes.
#[derive(Debug)]
pub(crate) struct Timing {
    /// Whether these are to be told, too, and not the record alone.
    report: bool,
    nodes: Vec<NodeTiming>,
    /// Bytes that arrived in each payload slot.
    pub(crate) slot_bytes: Vec<u64>,
    /// Slots with what a worker on the same host has lent.
    slots_lent: FxHashSet<u32>,
    /// When the lane itself ended the last thing that it did.
    lane_free_ns: u64,
    /// Each attempt by itself.
    recorder: Option<Recorder>,
}

#[derive(Clone, Debug, Default)]
struct NodeTiming {
    activations: u32,
    well: u32,
    skipped: u32,
    attempts: u32,
    failures: u32,
    /// Failures after which there is to be another attempt.
    retried: u32,
    /// Activations that failed without an attempt.
    never_started: u32,
    busy_ns: u64,
    failed_ns: u64,
    first_start_ns: Option<u64>,
    last_start_ns: u64,
    last_end_ns: u64,
}

impl Timing {
    fn new(program: &Program, report: bool, recorder: Option<Recorder>) -> Self {
        Self {
            report,
            nodes: vec![NodeTiming::default(); program.nodes.len()],
            slot_bytes: vec![0; program.slots.len()],
            slots_lent: FxHashSet::default(),
            lane_free_ns: 0,
            recorder,
        }
    }

    /// An activation waits for an executor.
    #[cold]
    pub(crate) fn waits(&mut self, now_ns: u64, place: Place, node: LocalNode) {
        if let Some(recorder) = self.recorder.as_mut() {
            recorder.ready(now_ns, place, node);
        }
    }

    /// An executor was given something to run.
    #[cold]
    fn started(&mut self, running: &Running, items: &[u32], executor: u32) {
        let node = &mut self.nodes[running.node as usize];
        node.activations += u32::from(running.attempt == 1);
        node.attempts += 1;
        node.first_start_ns.get_or_insert(running.started_ns);
        node.last_start_ns = running.started_ns;
        if let Some(recorder) = self.recorder.as_mut() {
            recorder.started(running, items, executor);
        }
    }

    /// A node is not to run.
    #[cold]
    pub(crate) fn skipped(&mut self, node: LocalNode, items: &[u32]) {
        self.nodes[node as usize].skipped += 1;
        if let Some(recorder) = self.recorder.as_mut() {
            recorder.skipped(node, items);
        }
    }

    /// What has failed is to be tried again.
    #[cold]
    pub(crate) fn again(&mut self, node: LocalNode) {
        self.nodes[node as usize].retried += 1;
    }

    /// An attempt has failed for good before it began.
    #[cold]
    pub(crate) fn never_started(&mut self, node: LocalNode, attempt: u32) {
        let node = &mut self.nodes[node as usize];
        if attempt == 1 {
            node.activations += 1;
            node.never_started += 1;
        } else {
            node.retried -= 1;
        }
    }

    fn ended(&mut self, now_ns: u64, running: &Running, attempt: Attempt) {
        let timing = &mut self.nodes[running.node as usize];
        let ran_ns = now_ns.saturating_sub(running.started_ns);
        timing.last_end_ns = now_ns;
        if attempt == Attempt::Well {
            timing.well += 1;
            timing.busy_ns += ran_ns;
        } else {
            timing.failures += 1;
            timing.failed_ns += ran_ns;
        }
        let end = match attempt {
            Attempt::Well => TraceEnd::Well,
            Attempt::Failed => TraceEnd::Failed,
            Attempt::TimedOut => TraceEnd::TimedOut,
        };
        if let Some(recorder) = self.recorder.as_mut() {
            recorder.ended(now_ns, running, end);
        }
    }

    /// The local nodes, as the client will see them.
    fn reports(&self, program: &Program) -> Vec<NodeReport> {
        if !self.report {
            return Vec::new();
        }
        (0..program.nodes.len())
            .filter(|index| !program.nodes[*index].runner.stands_in())
            .map(|index| {
                let node = &program.nodes[index];
                let timing = &self.nodes[index];
                let failed = timing.failures - timing.retried + timing.never_started;
                NodeReport {
                    id: node.id,
                    node: program.name(index as u32).to_owned(),
                    worker: program.my_name().to_owned(),
                    activations: timing.activations,
                    well: timing.well,
                    failed,
                    cut_off: timing.activations - timing.well - failed,
                    skipped: timing.skipped,
                    attempts: timing.attempts,
                    failures: timing.failures,
                    busy_ns: timing.busy_ns,
                    failed_ns: timing.failed_ns,
                    span_ns: timing
                        .first_start_ns
                        .map_or(0, |first| timing.last_end_ns.saturating_sub(first)),
                    edges: self.edges(program, index as u32),
                }
            })
            .collect()
    }

    fn edges(&self, program: &Program, node: LocalNode) -> Vec<EdgeReport> {
        let scope = &program.scopes[usize::from(program.scope_of(node))];
        let node = &program.nodes[node as usize];
        let mut slots = Vec::new();
        let mut read = |from: InputFrom| {
            let from = match from {
                InputFrom::Item(0) => scope.list,
                from => from,
            };
            if let InputFrom::Slot(slot) | InputFrom::Outer(slot) | InputFrom::First(slot) = from {
                match program.parts_of(slot) {
                    Some(parts) => slots.extend(parts),
                    None => slots.push(slot),
                }
            }
        };
        for input in program.all_inputs(node) {
            match input.from {
                InputFrom::FirstOf(span) => {
                    program
                        .alternatives(span)
                        .iter()
                        .for_each(|from| read(*from));
                }
                from => read(from),
            }
        }
        let mut edges: Vec<EdgeReport> = Vec::new();
        let mut seen = Vec::new();
        for slot in slots {
            if seen.contains(&slot) {
                continue;
            }
            seen.push(slot);
            let bytes = self.slot_bytes[slot as usize];
            let travelled = if self.slots_lent.contains(&slot) {
                Tier::Shared
            } else if bytes <= u64::from(program.plan.limits.inline_bytes_max) {
                Tier::Inline
            } else {
                Tier::Peer
            };
            let (from, tier) = match program.slots[slot as usize].producer {
                Producer::Local(local) => (program.name(local), Tier::Shared),
                Producer::Remote { place } => {
                    (program.remote[place as usize].name.as_str(), travelled)
                }
                Producer::Input => ("input", travelled),
            };
            match edges.iter_mut().find(|edge| edge.from == from) {
                Some(edge) => edge.join(tier, bytes),
                None => edges.push(EdgeReport {
                    from: from.to_owned(),
                    tier,
                    bytes,
                }),
            }
        }
        edges
    }
}

/// The reports of nodes, those of a divided one's parts as one. Parts of one node have one name, and no others have.
pub(super) fn parts_added_up(reports: Vec<NodeReport>) -> Vec<NodeReport> {
    let mut places: FxHashMap<String, usize> = FxHashMap::default();
    let mut added: Vec<NodeReport> = Vec::with_capacity(reports.len());
    for report in reports {
        match places.get(&report.node) {
            Some(place) => add(&mut added[*place], report),
            None => {
                places.insert(report.node.clone(), added.len());
                added.push(report);
            }
        }
    }
    added
}

fn add(whole: &mut NodeReport, part: NodeReport) {
    if !whole.worker.split(", ").any(|worker| worker == part.worker) {
        whole.worker.push_str(", ");
        whole.worker.push_str(&part.worker);
    }
    whole.activations += part.activations;
    whole.well += part.well;
    whole.failed += part.failed;
    whole.cut_off += part.cut_off;
    whole.skipped += part.skipped;
    whole.attempts += part.attempts;
    whole.failures += part.failures;
    whole.busy_ns += part.busy_ns;
    whole.failed_ns += part.failed_ns;
    // Clocks of two workers cannot be compared here.
    whole.span_ns = whole.span_ns.max(part.span_ns);
    for edge in part.edges {
        match whole.edges.iter_mut().find(|known| known.from == edge.from) {
            Some(known) => known.join(edge.tier, edge.bytes),
            None => whole.edges.push(edge),
        }
    }
}

impl Core {
    /// What came for a slot is lent by a worker on the same host.
    pub(super) fn note_lent(&mut self, place: Place, slot: u32) {
        let root = self.invocations[place as usize].root;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            timing.slots_lent.insert(slot);
        }
    }
}

impl EdgeReport {
    /// The same edge once more: another output, or another part. It counts as what travelled farthest.
    fn join(&mut self, tier: Tier, bytes: u64) {
        self.bytes += bytes;
        if tier == Tier::Peer || self.tier == Tier::Shared {
            self.tier = tier;
        }
    }
}

impl Core {
    /// Times an invocation that begins, if its client wants to be told of that.
    pub(super) fn watch(&mut self, now_ns: u64, place: Place, program: &Program, wanted: Wanted) {
        self.profile_begins(now_ns, place, program);
        if wanted == Wanted::NOTHING {
            return;
        }
        let recorder = wanted.trace.then(|| {
            self.traced += 1;
            let room = self.traced <= TRACES_MAX;
            Recorder::new(now_ns, if room { TRACE_MAX } else { 0 })
        });
        self.timed += 1;
        let timing = Timing::new(program, wanted.report, recorder);
        self.invocations[place as usize].timing = Some(Box::new(timing));
    }

    /// It goes, and its times with it.
    pub(super) fn unwatch(&mut self, place: Place) {
        self.profile_gone(place);
        if let Some(timing) = self.invocations[place as usize].timing.take() {
            self.timed -= 1;
            self.traced -= u32::from(timing.recorder.is_some());
        }
    }

    /// What is to be told of an invocation's local part, now that it is over.
    pub(super) fn told(
        &mut self,
        now_ns: u64,
        place: Place,
        program: &Program,
    ) -> (Vec<NodeReport>, Option<Box<PartTrace>>) {
        let clock = self.config.clock;
        let Some(timing) = self.invocations[place as usize].timing.as_mut() else {
            return (Vec::new(), None);
        };
        let trace = timing.recorder.as_mut();
        let trace = trace.map(|recorder| Box::new(recorder.take(now_ns, clock, program)));
        (timing.reports(program), trace)
    }

    /// An attempt has ended, of an invocation that is timed.
    #[cold]
    pub(super) fn attempt_ended(&mut self, now_ns: u64, running: Running, attempt: Attempt) {
        let root = self.invocations[running.place as usize].root;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            timing.ended(now_ns, &running, attempt);
        }
    }

    /// An attempt begins, of an invocation that is timed.
    #[cold]
    pub(super) fn attempt_started(&mut self, running: &Running, executor: u32) {
        let items = self.told_items(running.place);
        let root = self.invocations[running.place as usize].root;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            timing.started(running, &items, executor);
        }
    }

    /// The items that a place is of, the outermost first; none if nobody wants to know.
    pub(super) fn told_items(&self, place: Place) -> Vec<u32> {
        let root = self.invocations[place as usize].root;
        let timing = self.invocations[root as usize].timing.as_ref();
        if timing.is_none_or(|timing| timing.recorder.is_none()) {
            return Vec::new();
        }
        let mut items: Vec<u32> = self.items_of_place(place).collect();
        items.reverse();
        items
    }

    /// The lane begins to do itself what a node does.
    pub(super) fn lane_started(&mut self, now_ns: u64, place: Place, node: LocalNode) {
        let index = self.invocations[place as usize].deployment;
        self.deployment_mut(index).profile.begun(node, 1);
        let root = self.invocations[place as usize].root;
        if self.invocations[root as usize].timing.is_some() {
            self.attempt_started(&by_lane(place, node, now_ns), BY_LANE);
        }
    }

    /// The lane has done it, after what else it had to do.
    pub(super) fn lane_ended(
        &mut self,
        now_ns: u64,
        place: Place,
        node: LocalNode,
        attempt: Attempt,
    ) {
        if attempt == Attempt::Well {
            self.profile_outputs(place, node, std::iter::empty());
        } else {
            let index = self.invocations[place as usize].deployment;
            self.deployment_mut(index).profile.failed(node);
        }
        let root = self.invocations[place as usize].root;
        if let Some(timing) = self.invocations[root as usize].timing.as_mut() {
            let ordered_ns = timing.nodes[node as usize].last_start_ns;
            let started_ns = ordered_ns.max(timing.lane_free_ns);
            timing.lane_free_ns = now_ns;
            timing.ended(now_ns, &by_lane(place, node, started_ns), attempt);
        }
    }
}

fn by_lane(place: Place, node: LocalNode, started_ns: u64) -> Running {
    Running {
        place,
        node,
        attempt: 1,
        started_ns,
    }
}
