//! What clients are told beside outputs: reports and traces, judged by what was seen to run.

use super::Cluster;
use crate::plans::node_name;
use crate::trace::{Attempt, Ending};
use engine::plan::{NodeId, Work};
use engine::trace::{PartTrace, TRACES_MAX, TraceEnd, TraceRecord};
use engine::wire::NodeReport;
use std::collections::{BTreeMap, BTreeSet};

impl Cluster {
    pub(super) fn judge_report(&self, number: usize, report: &[NodeReport]) {
        let asked = &self.asked[number];
        if !asked.wanted.report {
            assert!(report.is_empty());
            return;
        }
        let nodes = &self.scenario.deployments[asked.deployment].workflow.nodes;
        assert_eq!(
            report.iter().map(|node| node.id).collect::<Vec<_>>(),
            (0..nodes.len() as NodeId).collect::<Vec<_>>()
        );
        for node in report {
            assert_eq!(node.node, node_name(node.id));
            let attempts = asked.trace.of_node(node.id).flat_map(|(_, these)| these);
            let well = attempts
                .filter(|attempt| matches!(attempt.ended, Some((_, Ending::Well))))
                .count();
            let failures = asked.failures().filter(|(id, _)| *id == node.id).count();
            let told = (node.activations as usize, node.failures as usize);
            match nodes[node.id as usize].work {
                Work::Function { .. } => assert_eq!(told, (well, failures), "{node:?}"),
                // What a lane has computed may find no room in its memory, and is a failure then.
                Work::Compute(_) | Work::Switch { .. } => {
                    assert_eq!(told.0 + told.1, well + failures, "{node:?}");
                }
                Work::Nothing => assert!(told.0 <= 1 && told.1 == 0, "{node:?}"),
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
        let nodes = &self.scenario.deployments[asked.deployment].workflow.nodes;
        let mut told: BTreeMap<(NodeId, u32), Vec<(&PartTrace, &TraceRecord)>> = BTreeMap::new();
        for part in parts {
            judge_order(part);
            for record in &part.records {
                let name = part.nodes.iter().find(|(id, _)| *id == record.node);
                assert_eq!(name.map(|(_, name)| name), Some(&node_name(record.node)));
                told.entry((record.node, record.item))
                    .or_default()
                    .push((part, record));
            }
        }
        for ((node, item), records) in &told {
            if matches!(nodes[*node as usize].work, Work::Nothing) {
                assert_eq!(records.len(), 1);
                continue;
            }
            let seen = asked.trace.activations.get(&(*node, *item));
            let seen: &[Attempt] = seen.map_or(&[], Vec::as_slice);
            if records[0].1.end == TraceEnd::Skipped {
                assert!(
                    seen.is_empty() && records.len() == 1,
                    "node {node}: {records:?}"
                );
                continue;
            }
            for (part, record) in records {
                match seen.iter().find(|attempt| attempt.number == record.attempt) {
                    Some(attempt) => judge_record(part, record, attempt),
                    // Its executor went before it was handed over.
                    None => assert_ne!(record.end, TraceEnd::Well, "{record:?}, but {seen:?}"),
                }
            }
        }
        let dropped: u64 = parts.iter().map(|part| part.dropped).sum();
        if complete && dropped == 0 {
            for (activation, seen) in &asked.trace.activations {
                for attempt in seen {
                    let records = told.get(activation).into_iter().flatten();
                    let times = records.filter(|(_, record)| record.attempt == attempt.number);
                    assert_eq!(times.count(), 1, "{activation:?}: {seen:?}");
                }
            }
        }
        // Nothing is dropped but where more are traced at once than a lane has room for.
        let traced = self.asked.iter().filter(|asked| asked.wanted.trace).count();
        assert!(dropped == 0 || traced > TRACES_MAX as usize, "{dropped}");
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

fn judge_record(part: &PartTrace, record: &TraceRecord, attempt: &Attempt) {
    let context = || format!("{record:?} of {}, but {attempt:?}", part.worker);
    assert_eq!(record.attempt, attempt.number, "{}", context());
    let started_ns = part.began_ns
        + match record.executor() {
            Some(_) => record.started_ns,
            // It may have had to do something else first.
            None => record.ready_ns,
        };
    assert_eq!(started_ns, attempt.started.ns, "{}", context());
    let ended_ns = part.began_ns + record.ended_ns;
    match &attempt.ended {
        Some((at, Ending::Well)) if record.end == TraceEnd::Well => {
            assert_eq!(ended_ns, at.ns, "{}", context());
        }
        // What a lane has computed may find no room in its memory.
        Some((_, Ending::Well)) => assert_ne!(record.end, TraceEnd::Skipped, "{}", context()),
        Some((at, Ending::Failed(..))) if record.end == TraceEnd::Failed => {
            assert_eq!(ended_ns, at.ns, "{}", context());
        }
        Some((_, Ending::Failed(..))) => {
            assert!(matches!(record.end, TraceEnd::Running), "{}", context())
        }
        None => assert_eq!(record.end, TraceEnd::Running, "{}", context()),
    }
}
