//! What clients are told beside outputs: reports and traces, judged by what was seen to run.

use super::Cluster;
use super::clients::Asked;
use crate::plans::node_name;
use crate::trace::{Activation, Attempt, Ending};
use engine::plan::{ErrorClass, NodeId, Work};
use engine::trace::{PartTrace, TRACES_MAX, TraceEnd, TraceRecord};
use engine::wire::NodeReport;
use std::collections::{BTreeMap, BTreeSet};

impl Cluster {
    /// What is told of each node is what was seen of it; of an invocation that failed, of some nodes, as far as they got.
    pub(super) fn judge_report(&self, number: usize, report: &[NodeReport], ended_well: bool) {
        let asked = &self.asked[number];
        if !asked.wanted.report || asked.refusal_due {
            assert!(report.is_empty());
            return;
        }
        let deployed = &self.scenario.deployments[asked.deployment];
        let nodes = &deployed.workflow.nodes;
        let written = report.iter().map(|node| deployed.written(node.id));
        let ids: BTreeSet<NodeId> = written.collect();
        assert_eq!(ids.len(), report.len(), "each node is told once");
        assert!(!ended_well || ids.len() == nodes.len());
        for node in report {
            let id = deployed.written(node.id);
            assert_eq!(node.node, node_name(id));
            let ended = node.well + node.failed;
            assert_eq!(node.activations, ended + node.cut_off, "{node:?}");
            assert!(node.attempts >= node.well + node.failures, "{node:?}");
            // What failed, and not for good, was to be tried again.
            let retries_begun = node.attempts + node.failed <= node.activations + node.failures;
            assert!(retries_begun, "{node:?}");
            if ended_well {
                assert_eq!(node.cut_off, 0, "{node:?}");
                assert_eq!(node.attempts, node.well + node.failures, "{node:?}");
            }
            let seen = Seen::of(asked, id);
            let (well, failures) = (node.well as usize, node.failures as usize);
            let by_function = matches!(nodes[id as usize].work, Work::Function { .. });
            // Nobody sees an activation for which no executor could be started.
            let activations = node.activations as usize;
            let unseen = activations.saturating_sub(seen.activations);
            let may_be_unseen = !by_function || !self.refused_executables.is_empty();
            assert!(unseen == 0 || may_be_unseen, "{node:?}, but {seen:?}");
            if !ended_well {
                let fits = well <= seen.well && failures <= seen.failures;
                assert!(fits || !by_function, "{node:?}, but {seen:?}");
                continue;
            }
            assert!(
                activations >= seen.activations || !by_function,
                "{node:?}, but {seen:?}"
            );
            match nodes[id as usize].work {
                Work::Function { .. } => {
                    let told = (well, failures);
                    assert_eq!(told, (seen.well, seen.failures), "{node:?}");
                }
                // What a lane has computed may find no room in its memory, and is a failure then.
                Work::Compute(_) | Work::Switch { .. } => {
                    assert_eq!(well + failures, seen.well + seen.failures, "{node:?}");
                }
                Work::Nothing => {
                    let one = well <= 1 || nodes[id as usize].region.is_some();
                    assert!(one && failures == seen.failures, "{node:?}");
                }
            }
        }
    }

    /// Each attempt that was seen is told once, with its times; `complete` says that all parts are there.
    pub(super) fn judge_trace(&self, number: usize, parts: &[PartTrace], complete: bool) {
        let asked = &self.asked[number];
        if !asked.wanted.trace || asked.refusal_due {
            assert!(parts.is_empty(), "{parts:?}");
            return;
        }
        assert!(!parts.is_empty(), "the entry worker's part is always there");
        let workers: BTreeSet<&str> = parts.iter().map(|part| part.worker.as_str()).collect();
        assert_eq!(workers.len(), parts.len(), "each part is told once");
        assert_eq!(parts[0].worker, self.worker_name(asked.lane));
        let deployed = &self.scenario.deployments[asked.deployment];
        let nodes = &deployed.workflow.nodes;
        let mut told: BTreeMap<Activation, Vec<(&PartTrace, &TraceRecord)>> = BTreeMap::new();
        for part in parts {
            judge_order(part);
            for record in &part.records {
                let name = part.nodes.iter().find(|(id, _)| *id == record.node);
                let node = deployed.written(record.node);
                assert_eq!(name.map(|(_, name)| name), Some(&node_name(node)));
                told.entry((node, part.items(record).collect()))
                    .or_default()
                    .push((part, record));
            }
        }
        for ((node, items), records) in &told {
            if matches!(nodes[*node as usize].work, Work::Nothing) {
                assert_eq!(records.len(), 1, "node {node}: {records:?}");
                continue;
            }
            let seen = asked.trace.activations.get(&(*node, items.clone()));
            let seen: Vec<&Attempt> = seen.into_iter().flatten().collect();
            if records[0].1.end == TraceEnd::Skipped {
                assert!(
                    seen.is_empty() && records.len() == 1,
                    "node {node}: {records:?}"
                );
                continue;
            }
            for (part, record) in records {
                let mut numbered = seen
                    .iter()
                    .filter(|attempt| attempt.number == record.attempt);
                let judged = |attempt: &&&Attempt| judge_record(part, record, attempt);
                // Its executor may have gone before it was handed over.
                let unseen = record.end != TraceEnd::Well && numbered.clone().next().is_none();
                assert!(
                    unseen || numbered.any(|attempt| judged(&attempt)),
                    "{record:?}, but {seen:?}"
                );
            }
        }
        let dropped: u64 = parts.iter().map(|part| part.dropped).sum();
        if complete && dropped == 0 {
            let attempts = asked.trace.activations.iter();
            let attempts = attempts.flat_map(|(activation, attempts)| {
                attempts
                    .iter()
                    .map(move |attempt| (activation, attempt.number))
            });
            // What fails in its delay is told as a first attempt. Nobody sees how often a node waits that does nothing else.
            let delays = asked.trace.failed_delays();
            let delays = delays.filter(|(node, _)| nodes[*node as usize].work != Work::Nothing);
            for (activation, number) in attempts.chain(delays.map(|activation| (activation, 1))) {
                let records = told.get(activation).into_iter().flatten();
                let times = records.filter(|(_, record)| record.attempt == number);
                assert_eq!(times.count(), 1, "attempt {number} of {activation:?}");
            }
        }
        // Nothing is dropped but where more are traced at once than a lane has room for.
        let traced = self.asked.iter().filter(|asked| asked.wanted.trace).count();
        assert!(dropped == 0 || traced > TRACES_MAX as usize, "{dropped}");
    }
}

/// What was seen of one node.
#[derive(Debug)]
struct Seen {
    activations: usize,
    well: usize,
    failures: usize,
}

impl Seen {
    fn of(asked: &Asked, node: NodeId) -> Self {
        let attempts = asked.trace.of_node(node).flat_map(|(_, these)| these);
        let well = attempts.filter(|attempt| matches!(attempt.ended, Some((_, Ending::Well))));
        // What fails in its delay was an activation, though nothing was handed to anybody.
        let started = asked.trace.of_node(node).map(|(items, _)| items.to_vec());
        let delayed = asked.trace.failed_delays();
        let delayed = delayed.filter(|(id, _)| *id == node);
        let activations: BTreeSet<Vec<u32>> = started
            .chain(delayed.map(|(_, items)| items.clone()))
            .collect();
        Self {
            activations: activations.len(),
            well: well.count(),
            failures: asked.failures().filter(|id| *id == node).count(),
        }
    }
}

/// Records stand in the order of their starts, and an executor does one thing at a time, as the lane itself does.
fn judge_order(part: &PartTrace) {
    let mut free_ns: BTreeMap<u32, u64> = BTreeMap::new();
    let mut last_ns = 0;
    for record in part.records.iter().filter(|record| record.attempt > 0) {
        assert!(record.ready_ns <= record.started_ns, "{record:?}");
        assert!(record.started_ns <= record.ended_ns, "{record:?}");
        if let Some(executor) = record.executor() {
            assert!(last_ns <= record.started_ns, "{record:?}");
            last_ns = record.started_ns;
            let free_ns = free_ns.entry(executor).or_default();
            assert!(*free_ns <= record.started_ns, "{record:?}");
            *free_ns = record.ended_ns;
        }
    }
    let by_lane = part.records.iter().filter(|record| {
        record.executor().is_none() && !matches!(record.end, TraceEnd::Skipped | TraceEnd::Running)
    });
    let mut by_lane: Vec<&TraceRecord> = by_lane.collect();
    by_lane.sort_by_key(|record| (record.ended_ns, record.started_ns));
    let in_turn = |pair: &[&TraceRecord]| pair[0].ended_ns <= pair[1].started_ns;
    assert!(by_lane.windows(2).all(in_turn), "{by_lane:?}");
}

/// Whether this is what is told of that attempt.
fn judge_record(part: &PartTrace, record: &TraceRecord, attempt: &Attempt) -> bool {
    let started_ns = part.began_ns
        + match record.executor() {
            Some(_) => record.started_ns,
            // It may have had to do something else first.
            None => record.ready_ns,
        };
    let ended_ns = part.began_ns + record.ended_ns;
    let ends = match &attempt.ended {
        Some((at, Ending::Well)) if record.end == TraceEnd::Well => ended_ns == at.ns,
        // What a lane has computed may find no room in its memory.
        Some((_, Ending::Well)) => record.end != TraceEnd::Skipped,
        Some((at, Ending::Failed(class, _)))
            if matches!(record.end, TraceEnd::Failed | TraceEnd::TimedOut) =>
        {
            let timed_out = record.end == TraceEnd::TimedOut;
            ended_ns == at.ns && timed_out == (*class == ErrorClass::Timeout)
        }
        Some((_, Ending::Failed(..))) => record.end == TraceEnd::Running,
        None => record.end == TraceEnd::Running,
    };
    ends && record.attempt == attempt.number && started_ns == attempt.started.ns
}
