//! What clients are told beside outputs: reports and traces, judged by what was seen to run.

use super::Cluster;
use crate::plans::node_name;
use crate::trace::{Attempt, Ending};
use engine::plan::{NodeId, Work};
use engine::trace::{PartTrace, TRACES_MAX, TraceEnd, TraceRecord};
use engine::wire::NodeReport;
use faasstore::descriptor::NO_ITEM;
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
            let failures = asked.failures().filter(|id| *id == node.id).count();
            let told = (node.activations as usize, node.failures as usize);
            match nodes[node.id as usize].work {
                Work::Function { .. } => assert_eq!(told, (well, failures), "{node:?}"),
                // What a lane has computed may find no room in its memory, and is a failure then.
                Work::Compute(_) | Work::Switch { .. } => {
                    assert_eq!(told.0 + told.1, well + failures, "{node:?}");
                }
                Work::Nothing => {
                    let one = told.0 <= 1 || nodes[node.id as usize].region.is_some();
                    assert!(one && told.1 == failures, "{node:?}");
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
        let workflow = &self.scenario.deployments[asked.deployment].workflow;
        let nodes = &workflow.nodes;
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
                assert!(records.len() == 1 || nodes[*node as usize].region.is_some());
                continue;
            }
            // A record names the innermost item alone.
            let seen = asked.trace.of_node(*node);
            let seen = seen.filter(|(items, _)| items.last().copied().unwrap_or(NO_ITEM) == *item);
            let seen: Vec<&Attempt> = seen.flat_map(|(_, attempts)| attempts).collect();
            let one = workflow.depth(nodes[*node as usize].region) <= 1;
            if one && records[0].1.end == TraceEnd::Skipped {
                assert!(
                    seen.is_empty() && records.len() == 1,
                    "node {node}: {records:?}"
                );
                continue;
            }
            let ran = records
                .iter()
                .filter(|(_, record)| record.end != TraceEnd::Skipped);
            for (part, record) in ran {
                let mut numbered = seen
                    .iter()
                    .filter(|attempt| attempt.number == record.attempt);
                let judged = |attempt: &&&Attempt| judge_record(part, record, attempt);
                // Its executor may have gone before it was handed over.
                let unseen =
                    record.end != TraceEnd::Well && (!one || numbered.clone().next().is_none());
                assert!(
                    unseen || numbered.any(|attempt| judged(&attempt)),
                    "{record:?}, but {seen:?}"
                );
            }
        }
        let dropped: u64 = parts.iter().map(|part| part.dropped).sum();
        if complete && dropped == 0 {
            let mut seen: BTreeMap<(NodeId, u32, u32), usize> = BTreeMap::new();
            for ((node, items), attempts) in &asked.trace.activations {
                let item = items.last().copied().unwrap_or(NO_ITEM);
                for attempt in attempts {
                    *seen.entry((*node, item, attempt.number)).or_default() += 1;
                }
            }
            // What fails in its delay is told as a first attempt. Nobody sees how often a node waits that does nothing else.
            for (node, items) in asked.trace.failed_delays() {
                if nodes[*node as usize].work != Work::Nothing {
                    let item = items.last().copied().unwrap_or(NO_ITEM);
                    *seen.entry((*node, item, 1)).or_default() += 1;
                }
            }
            for ((node, item, attempt), count) in seen {
                let records = told.get(&(node, item)).into_iter().flatten();
                let times = records.filter(|(_, record)| record.attempt == attempt);
                assert_eq!(times.count(), count, "attempt {attempt} of {node}, {item}");
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
        Some((at, Ending::Failed(..))) if record.end == TraceEnd::Failed => ended_ns == at.ns,
        Some((_, Ending::Failed(..))) => record.end == TraceEnd::Running,
        None => record.end == TraceEnd::Running,
    };
    ends && record.attempt == attempt.number && started_ns == attempt.started.ns
}
