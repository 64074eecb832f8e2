//! A profile as tables: nodes, their parts and placements, edges, and workers.

use super::gaps::part_name;
use super::or_dash;
use crate::print::{Page, counted};
use engine::profile::Distribution;
use engine::worker::quantities::{duration_text, size_text};
use master::feedback::crossing::Edge;
use master::feedback::measured::{Node, Profile};
use master::feedback::whole::Whole;

/// Rows of a list that are shown of parts and of pairs of workers, unless all are wanted.
const ROWS_MAX: usize = 40;
/// Workers, or pairs of them, that one cell names.
const CELL_MAX: usize = 4;

pub(super) fn show(page: &mut Page, profile: &Profile, all: bool) {
    let wholes = profile.whole_nodes();
    page.line(&match profile.placements {
        1 => format!("{} version {}", profile.workflow, profile.version),
        count => format!(
            "{} version {} in {count} placements, chosen {}",
            profile.workflow, profile.version, profile.balance
        ),
    });
    page.line("");
    show_nodes(page, &wholes);
    show_parts(page, profile, &wholes, all);
    show_edges(page, &wholes, &profile.edges(&wholes));
    show_workers(page, profile, all);
    page.line("");
    page.line(&format!(
        "{} cross workers for each invocation, inputs of the workflow apart",
        bytes_text(profile.crossing_bytes(&wholes))
    ));
    let sums = wholes.iter().filter(|node| !node.is_whole());
    let sums = sums.count();
    if sums > 0 {
        page.line(&format!(
            "of {} only counts and means are kept, since their workers keep histograms of no more",
            counted(sums, "node")
        ));
    }
}

fn show_nodes(page: &mut Page, wholes: &[Whole]) {
    let rows = wholes.iter().map(|node| {
        let items = node.items.as_ref().and_then(Distribution::mean);
        vec![
            node.name.clone(),
            cell(node.workers.iter().cloned()),
            percent(node.share),
            node.activations.to_string(),
            node.failures.to_string(),
            time(node.run_mean_ns),
            at(&node.run_ns, 0.5),
            at(&node.run_ns, 0.99),
            or_dash(
                node.cpu
                    .busy_cpus()
                    .map(|busy| format!("{:.0} %", busy * 100.0)),
            ),
            at(&node.queued_ns, 0.5),
            at(&node.queued_ns, 0.99),
            or_dash(node.output_mean_bytes().map(bytes_text)),
            or_dash(node.output_p99_bytes().map(size_text)),
            count(items),
        ]
    });
    let headings = [
        "node",
        "worker",
        "runs",
        "activations",
        "failed",
        "run mean",
        "p50",
        "p99",
        "busy",
        "queued p50",
        "p99",
        "output mean",
        "p99",
        "items",
    ];
    page.table(
        &headings,
        &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
        &rows.collect::<Vec<_>>(),
    );
}

/// Of nodes that are divided, or run in several placements, each part and placement by itself.
fn show_parts(page: &mut Page, profile: &Profile, wholes: &[Whole], all: bool) {
    let several = wholes.iter().filter(|whole| whole.nodes.len() > 1);
    let nodes = several.flat_map(|whole| &whole.nodes);
    let nodes: Vec<&Node> = nodes.map(|place| &profile.nodes[*place]).collect();
    if nodes.is_empty() {
        return;
    }
    let rows = nodes.iter().map(|node| {
        let worker = profile.worker(node);
        let part = node.part.map(|part| (part.number + 1, part.of));
        vec![
            part_name(&node.name, part),
            worker.placement.to_string(),
            worker.name.clone(),
            percent(node.share_of_items()),
            percent(node.share(worker)),
            node.activations.to_string(),
            count(node.activations_for_each(worker)),
            node.failures.to_string(),
            time(node.run_ns.mean()),
            at(&node.run_ns, 0.99),
            at(&node.queued_ns, 0.99),
            or_dash(node.output_mean_bytes().map(bytes_text)),
        ]
    });
    let headings = [
        "part",
        "placement",
        "worker",
        "of items",
        "runs",
        "activations",
        "an invocation",
        "failed",
        "run mean",
        "p99",
        "queued p99",
        "output mean",
    ];
    page.line("");
    cut_table(
        page,
        &headings,
        &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        rows,
        all,
    );
}

fn show_edges(page: &mut Page, wholes: &[Whole], edges: &[Edge]) {
    if edges.is_empty() {
        return;
    }
    page.line("");
    let rows = edges.iter().map(|edge| {
        vec![
            format!("{} → {}", wholes[edge.from].name, wholes[edge.to].name),
            edge.outputs.join(", "),
            or_dash(edge.mean_bytes.map(bytes_text)),
            or_dash(edge.p99_bytes.map(size_text)),
            travels(edge),
            bytes_text(edge.crossing_bytes),
        ]
    });
    let headings = [
        "edge",
        "payloads",
        "mean",
        "p99",
        "travels",
        "crossing an invocation",
    ];
    page.table(&headings, &[2, 3, 5], &rows.collect::<Vec<_>>());
}

/// How payloads of an edge travel.
fn travels(edge: &Edge) -> String {
    let pairs = edge
        .crosses
        .iter()
        .map(|(from, to)| format!("{from} → {to}"));
    match (edge.crosses.is_empty(), edge.stays) {
        (true, _) => "in shared memory".to_owned(),
        (false, false) => cell(pairs),
        (false, true) => format!("{}, and in shared memory", cell(pairs)),
    }
}

fn show_workers(page: &mut Page, profile: &Profile, all: bool) {
    page.line("");
    if profile.placements == 1 {
        let rows = profile.workers.iter().map(|worker| {
            vec![
                worker.name.clone(),
                worker.invocations.to_string(),
                worker.measured.to_string(),
            ]
        });
        let headings = ["worker", "invocations", "measured"];
        page.table(&headings, &[1, 2], &rows.collect::<Vec<_>>());
        return;
    }
    let rows = (1..=profile.placements).map(|number| {
        vec![
            number.to_string(),
            profile.invocations(number).to_string(),
            percent(profile.placement_share(number)),
        ]
    });
    let headings = ["placement", "invocations", "of all"];
    page.table(&headings, &[0, 1, 2], &rows.collect::<Vec<_>>());
    page.line("");
    let rows = profile.workers.iter().map(|worker| {
        vec![
            worker.name.clone(),
            worker.placement.to_string(),
            worker.invocations.to_string(),
            worker.measured.to_string(),
        ]
    });
    let headings = ["worker", "placement", "invocations", "measured"];
    cut_table(page, &headings, &[1, 2, 3], rows, all);
}

/// A table of which only the first rows are shown, unless all are wanted.
fn cut_table(
    page: &mut Page,
    headings: &[&str],
    right: &[usize],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
    all: bool,
) {
    let (count, most) = (rows.len(), if all { usize::MAX } else { ROWS_MAX });
    let rows: Vec<Vec<String>> = rows.take(most).collect();
    page.table(headings, right, &rows);
    if count > rows.len() {
        page.line(&format!("… {} more (--all shows them)", count - rows.len()));
    }
}

/// The first of several names.
fn cell(mut names: impl ExactSizeIterator<Item = String>) -> String {
    let count = names.len();
    let shown: Vec<String> = names.by_ref().take(CELL_MAX).collect();
    match count - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn time(ns: Option<f64>) -> String {
    or_dash(ns.map(|ns| duration_text(ns.round() as u64)))
}

fn at(of: &Distribution, share: f64) -> String {
    or_dash(of.quantile(share).map(duration_text))
}

fn percent(share: Option<f64>) -> String {
    or_dash(share.map(|share| format!("{:.1} %", share * 100.0)))
}

fn count(mean: Option<f64>) -> String {
    or_dash(mean.map(|mean| format!("{mean:.1}")))
}

fn bytes_text(bytes: f64) -> String {
    size_text(bytes.round() as u64)
}
