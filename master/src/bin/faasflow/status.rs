//! The status of workers, for people.

use crate::print::Page;
use engine::status::{DeploymentState, DeploymentStatus, WorkerStatus, WorkflowStatus};
use engine::worker::quantities::{duration_text, size_text};
use serde_json::Value;

/// Counters that people look at first; all of them are in the JSON.
const SHOWN_COUNTERS: [&str; 6] = [
    "invocations_taken",
    "invocations_failed",
    "invocations_refused",
    "in_flight",
    "triggers",
    "retries",
];

/// Shows workers, what they serve, and what they count. A worker of another release may tell what this one cannot
/// read; it is shown as it came.
pub(crate) fn show(page: &mut Page, all: &[Value]) {
    let (mut workers, mut deployments, mut counters, mut unread) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut workflows, mut holders, mut links) = (Vec::new(), Vec::new(), Vec::new());
    let mut warnings = Vec::new();
    for value in all {
        let Ok(status) = serde_json::from_value::<WorkerStatus>(value.clone()) else {
            unread.push(value);
            continue;
        };
        workers.push(worker_row(&status));
        deployments.extend(status.deployments.iter().map(|deployment| {
            vec![
                deployment.workflow.clone(),
                deployment.version.to_string(),
                placement(deployment),
                status.name.clone(),
                state(deployment.state).to_owned(),
                deployment.nodes.to_string(),
                deployment.executors.len().to_string(),
                size_text(deployment.reserved_bytes),
            ]
        }));
        workflows.extend(status.workflows.iter().map(|workflow| {
            vec![
                workflow.workflow.clone(),
                status.name.clone(),
                workflow.leases.to_string(),
                size_text(workflow.leased_bytes),
                size_text(workflow.leased_peak_bytes),
                size_text(workflow.quota_bytes),
                size_text(workflow.away_bytes),
                size_text(workflow.spilled_bytes + workflow.stored_bytes),
                workflow.held_back.to_string(),
                workflow.segments.to_string(),
                size_text(workflow.held_bytes),
                size_text(workflow.reserved_bytes),
            ]
        }));
        for workflow in &status.workflows {
            warnings.extend(lacking(&status.name, workflow));
            holders.extend(workflow.holders.iter().map(|holder| {
                let payloads = holder.payloads.iter();
                let payloads = payloads.map(|one| format!("{} {}", one.of, size_text(one.bytes)));
                vec![
                    workflow.workflow.clone(),
                    status.name.clone(),
                    holder.invocation.clone(),
                    duration_text(holder.age_ms * 1_000_000),
                    size_text(holder.bytes),
                    payloads.collect::<Vec<_>>().join(", "),
                ]
            }));
        }
        links.extend(status.links.iter().map(|link| {
            vec![
                format!("{}/{}", status.name, link.from_lane),
                format!("{}/{}", link.worker, link.to_lane),
                link.unshared.clone().map_or_else(
                    || "in shared memory".to_owned(),
                    |why| format!("over the network: {why}"),
                ),
            ]
        }));
        let count = |name: &str| {
            status
                .counters
                .get(name)
                .map_or_else(String::new, u64::to_string)
        };
        counters.push(
            std::iter::once(status.name.clone())
                .chain(SHOWN_COUNTERS.map(count))
                .collect(),
        );
    }
    if !workers.is_empty() {
        let headings = [
            "worker",
            "address",
            "up",
            "lanes",
            "CPUs",
            "I/O",
            "large segments",
            "reserved",
            "limit",
        ];
        page.table(&headings, &[2, 3, 4, 7, 8], &workers);
        page.line("");
        let headings: Vec<&str> = std::iter::once("worker").chain(SHOWN_COUNTERS).collect();
        page.table(&headings, &[1, 2, 3, 4, 5, 6], &counters);
        page.line("");
        if deployments.is_empty() {
            page.line("no workflow is deployed");
        }
    }
    if !deployments.is_empty() {
        let headings = [
            "workflow",
            "version",
            "placement",
            "worker",
            "state",
            "nodes",
            "executors",
            "reserved",
        ];
        page.table(&headings, &[1, 5, 6, 7], &deployments);
    }
    if !workflows.is_empty() {
        let headings = [
            "workflow",
            "worker",
            "payloads",
            "their bytes",
            "at most",
            "quota",
            "elsewhere",
            "carried out",
            "held back",
            "segments",
            "held",
            "of",
        ];
        page.line("");
        let numbers: Vec<usize> = (2..headings.len()).collect();
        page.table(&headings, &numbers, &workflows);
    }
    for warning in warnings {
        page.line(&warning);
    }
    if !holders.is_empty() {
        let headings = [
            "workflow",
            "worker",
            "invocation",
            "since",
            "holds",
            "most of it",
        ];
        page.line("");
        page.table(&headings, &[3, 4], &holders);
    }
    if !links.is_empty() {
        page.line("");
        page.table(&["from lane", "to lane", "payloads"], &[], &links);
    }
    for value in unread {
        page.line(&format!("a worker of another release says: {value:#}"));
    }
}

fn worker_row(status: &WorkerStatus) -> Vec<String> {
    vec![
        status.name.clone(),
        status.address.clone(),
        format!("{} s", status.uptime_s),
        status.lanes.len().to_string(),
        status.cpus.len().to_string(),
        status.driver.kind.to_string(),
        status.memory.large_segments.clone(),
        size_text(status.memory.reserved_bytes),
        size_text(status.memory.limit_bytes),
    ]
}

/// Where executors have used so much memory themselves that what was proven does not fit beside that.
fn lacking(worker: &str, workflow: &WorkflowStatus) -> Option<String> {
    let lanes = workflow.lacking_bytes.iter().enumerate();
    let lanes: Vec<String> = lanes
        .filter(|(_, bytes)| **bytes > 0)
        .map(|(lane, bytes)| format!("{} on lane {lane}", size_text(*bytes)))
        .collect();
    (!lanes.is_empty()).then(|| {
        format!(
            "workflow {} on worker {worker}: its functions use more memory themselves than their `profile.peak_mib` says; of what \
             its payloads were proven to have room for, there is no room for {}: they may wait, or be carried out. Say how much \
             functions use (`profile.peak_mib`), or give executors more (`memory_mib`), and deploy it again",
            workflow.workflow,
            lanes.join(", "),
        )
    })
}

/// Which of its deployment's placements it is, and how those are chosen.
fn placement(of: &DeploymentStatus) -> String {
    match of.replicas {
        1 => "the only one".to_owned(),
        all => format!("{} of {all}, {}", of.replica, of.balance),
    }
}

const fn state(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Prepared => "prepared",
        DeploymentState::Active => "active",
        DeploymentState::Retiring => "retiring",
    }
}
