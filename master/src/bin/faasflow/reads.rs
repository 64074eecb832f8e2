//! What was read of workflows' payloads, and how it came, for people: by workflow, and by edge for those who ask.

use crate::print::Page;
use engine::reads::{Amount, Way};
use engine::status::{ReadsStatus, WorkerStatus};
use engine::worker::quantities::size_text;
use serde_json::Value;

/// Shows what was read on each worker. A worker of another release is left out here.
pub(crate) fn show(page: &mut Page, all: &[Value], edges: bool) {
    let read = |value: &Value| serde_json::from_value::<WorkerStatus>(value.clone()).ok();
    let all: Vec<WorkerStatus> = all.iter().filter_map(read).collect();
    show_sums(page, &all);
    if edges {
        show_edges(page, &all);
    }
}

fn show_sums(page: &mut Page, all: &[WorkerStatus]) {
    let rows = all.iter().flat_map(|status| {
        let workflows = status.workflows.iter();
        let read = workflows.filter(|one| one.reads.by_tier.all().payloads > 0);
        read.map(|workflow| {
            let names = [workflow.workflow.clone(), status.name.clone()];
            row(names, &workflow.reads)
        })
    });
    table(page, &["workflow", "worker"], &rows.collect::<Vec<_>>());
}

fn show_edges(page: &mut Page, all: &[WorkerStatus]) {
    let mut rows = Vec::new();
    let mut unlisted = 0;
    for status in all {
        for deployment in &status.deployments {
            unlisted += deployment.edges_unlisted;
            rows.extend(deployment.edges.iter().map(|edge| {
                let version = format!("{} {}", deployment.workflow, deployment.version);
                let names = [
                    version,
                    status.name.clone(),
                    edge.from.clone(),
                    edge.to.clone(),
                ];
                row(names, &edge.reads)
            }));
        }
    }
    table(page, &["version", "worker", "from", "to"], &rows);
    if unlisted > 0 {
        page.line(&format!("and {unlisted} edges over which less was read"));
    }
}

fn row<const N: usize>(names: [String; N], reads: &ReadsStatus) -> Vec<String> {
    let mut row = names.to_vec();
    row.push(reads.hits.to_string());
    row.push(reads.misses.to_string());
    row.extend(Way::ALL.map(|way| amount_text(reads.by_tier.of(way))));
    row
}

/// How many, and their bytes; nothing of none.
fn amount_text(amount: Amount) -> String {
    match amount.payloads {
        0 => String::new(),
        payloads => format!("{payloads}, {}", size_text(amount.bytes)),
    }
}

fn table(page: &mut Page, names: &[&'static str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let mut headings: Vec<&str> = names.to_vec();
    headings.extend(["found in memory", "brought back"]);
    headings.extend(Way::ALL.map(Way::name));
    let numbers: Vec<usize> = (names.len()..headings.len()).collect();
    page.line("");
    page.table(&headings, &numbers, rows);
}
