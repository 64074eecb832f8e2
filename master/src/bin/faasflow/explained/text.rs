//! The same for people: the answer first, then what it rests on.

use super::{Explained, Extent, bytes, crossing, duration, unprofiled};
use crate::print::{Page, counted};
use master::place::{Crossing, Estimate, Leg, Merges, Obstacle, Partitioner, Transfer, Wait};

/// Rows of a table that a page shows, at most; with fewer than that many more, all are shown.
const ROWS_MAX: usize = 16;
const ROWS_MORE: usize = 4;
/// Nodes of a path that stand on one line, at most.
const PATH_MAX: usize = 8;
/// Readers, or nodes, that a cell names.
const NAMED_MAX: usize = 4;

impl Explained<'_> {
    /// What it comes to, and why.
    pub(crate) fn show(&self, page: &mut Page, extent: Extent) {
        self.show_answer(page);
        self.show_critical(page, extent);
        self.show_crossings(page, extent);
        self.show_transfers(page, extent);
        self.show_workers(page, extent);
        if let Some(merges) = &self.merges {
            self.show_merges(page, merges, extent);
        }
        let (headings, rows) = self.placed.node_rows();
        table(page, headings, &[], rows, extent);
        let (headings, rows) = self.placed.edge_rows();
        table(page, headings, &[], rows, extent);
    }

    fn show_answer(&self, page: &mut Page) {
        let estimate = &self.estimate;
        let bound = match self.ratio(estimate.makespan_ns) {
            Some(ratio) => format!(
                ", {ratio:.2} times the lower bound of {}",
                duration(self.bound_ns)
            ),
            None => String::new(),
        };
        page.line(&format!(
            "{}, {} on {}: {} expected{bound}, {}",
            self.placed.definition.workflow.value,
            counted(self.placed.graph.node_count(), "node"),
            counted(self.placed.workers.len(), "worker"),
            duration(estimate.makespan_ns),
            crossing(estimate)
        ));
        page.line(&self.how());
        if let Some(faster) = self.faster {
            let mut divided = self.divided();
            let more = divided.len().saturating_sub(NAMED_MAX);
            divided.truncate(NAMED_MAX);
            let divided = divided.iter();
            let divided = divided.map(|(node, parts)| format!("{node} in {parts} parts"));
            let mut line = divided.collect::<Vec<_>>().join(", ");
            if more > 0 {
                line.push_str(&format!(" and {} more", counted(more, "node")));
            }
            page.line(&format!(
                "divided to be faster: {line}; undivided: {}",
                duration(faster.makespan_ns)
            ));
        }
        if estimate.ways > 1 {
            page.line(&format!(
                "its switches may lead {} ways: these are expected values over all of them",
                estimate.ways
            ));
        }
        match unprofiled(self.placed.definition) {
            0 => {}
            some => page.line(&format!(
                "{} {} no `profile`, and count{} as 1 ms and no bytes",
                counted(some, "node"),
                if some == 1 { "has" } else { "have" },
                if some == 1 { "s" } else { "" },
            )),
        }
        let mut rows = Vec::new();
        let partitioner = self.options.partitioner;
        if partitioner != Partitioner::Hash {
            rows.push(match &self.baseline {
                Some(baseline) => self.comparison("before, by hash", baseline),
                None => vec!["before, by hash".to_owned(), "fits nowhere".to_owned()],
            });
        }
        let now = format!("now, by {}", partitioner.name());
        rows.push(self.comparison(&now, estimate));
        page.line("");
        let headings = [
            "placement",
            "makespan",
            "of bound",
            "crossing",
            "critical path (⇒ crosses)",
        ];
        page.table(&headings, &[1, 2, 3], &rows);
    }

    /// How it was found.
    fn how(&self) -> String {
        let found = self.found;
        let partitioner = self.options.partitioner.name();
        let took = |time: std::time::Duration| duration(time.as_nanos() as f64);
        let scored = counted(
            usize::try_from(found.steps).unwrap_or(usize::MAX),
            "placement",
        );
        match self.options.partitioner {
            Partitioner::Default if found.optimal => format!(
                "found by {partitioner} in {}: all placements were tried, and none is better",
                took(found.took)
            ),
            Partitioner::Default => format!(
                "found by {partitioner} in {}: {scored} scored with seed {}, the first after {}",
                took(found.took),
                self.options.effort.seed,
                took(found.first)
            ),
            _ => format!("found by {partitioner} in {}", took(found.took)),
        }
    }

    fn comparison(&self, what: &str, estimate: &Estimate) -> Vec<String> {
        let ratio = self.ratio(estimate.makespan_ns);
        vec![
            what.to_owned(),
            duration(estimate.makespan_ns),
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            bytes(estimate.crossing_bytes),
            self.path(&estimate.critical),
        ]
    }

    /// A path on one line: `⇒` where it crosses workers.
    fn path(&self, legs: &[Leg]) -> String {
        let left_out = legs.len().saturating_sub(PATH_MAX);
        let mut path = String::new();
        let mut before = None;
        for (place, leg) in legs.iter().enumerate() {
            // The middle is what is left out.
            let begin = PATH_MAX / 2;
            if left_out > 1 && (begin..begin + left_out).contains(&place) {
                if place == begin {
                    path.push_str(&format!(" … {left_out} more …"));
                }
                before = Some(leg.worker);
                continue;
            }
            if let Some(before) = before {
                path.push_str(if before == leg.worker {
                    " → "
                } else {
                    " ⇒ "
                });
            }
            path.push_str(&self.leg_name(leg));
            before = Some(leg.worker);
        }
        path
    }

    /// A node of the critical path, and how many run with it for each item.
    fn leg_name(&self, leg: &Leg) -> String {
        match leg.nodes {
            1 => self.name(leg.node).to_owned(),
            nodes => format!("{} (+{})", self.name(leg.node), nodes - 1),
        }
    }

    fn show_critical(&self, page: &mut Page, extent: Extent) {
        let legs = &self.estimate.critical;
        if legs.is_empty() {
            return;
        }
        let likely = match self.estimate.ways {
            1 => String::new(),
            _ => format!(
                " of the likeliest way, which is taken {}",
                percent(self.estimate.critical_chance)
            ),
        };
        let ran_ns: f64 = legs.iter().map(|leg| leg.ran_ns).sum();
        let sent = legs
            .iter()
            .filter(|leg| matches!(leg.waited_for, Wait::Transfer(_)));
        let sent_ns: f64 = sent.map(|leg| leg.waited_ns).sum();
        page.line("");
        page.line(&format!(
            "critical path{likely}: {} run {}, and wait {} for payloads",
            counted(legs.len(), "step"),
            duration(ran_ns),
            duration(sent_ns)
        ));
        let rows = legs.iter().map(|leg| {
            let waited_for = match leg.waited_for {
                Wait::Nothing => "-".to_owned(),
                Wait::Node(node) => self.name(node).to_owned(),
                Wait::Transfer(node) if self.placed.placement.worker(node) == leg.worker => {
                    format!("what {} has put into a store", self.name(node))
                }
                Wait::Transfer(node) => format!("what {} sends", self.name(node)),
                Wait::Executor(node) => format!("an executor, which ran {}", self.name(node)),
            };
            vec![
                duration(leg.began_ns),
                self.leg_name(leg),
                self.worker(leg.worker).to_owned(),
                waited_for,
                duration(leg.waited_ns),
                duration(leg.ran_ns),
            ]
        });
        let headings = &["begins", "node", "worker", "waits for", "how long", "runs"];
        rows_of(page, headings, &[0, 4, 5], rows.collect(), extent);
    }

    fn show_crossings(&self, page: &mut Page, extent: Extent) {
        if self.crossings.explained.is_empty() {
            return;
        }
        page.line("");
        page.line("where it crosses, and why");
        for crossing in &self.crossings.explained {
            let Crossing { from, to, .. } = crossing;
            page.line(&format!(
                "{} → {}, {}",
                self.name(*from),
                self.name(*to),
                bytes(crossing.bytes)
            ));
            let moves = [(*from, *to), (*to, *from)];
            for ((node, other), obstacle) in moves.into_iter().zip(&crossing.obstacles) {
                let worker = self.worker(self.placed.placement.worker(other));
                let said = self.obstacle(self.name(node), worker, obstacle);
                page.line(&format!("  {said}"));
            }
        }
        further(page, self.crossings.further, extent);
    }

    /// What stands against moving a node.
    fn obstacle(&self, node: &str, worker: &str, obstacle: &Obstacle) -> String {
        let cannot = format!("{node} cannot move to {worker}");
        let with = format!("with {node} on {worker} it would take");
        match obstacle {
            Obstacle::Pinned => format!("{cannot}: it is pinned"),
            Obstacle::Apart(other) => {
                let other = self.name(*other);
                format!("{cannot}: it is to be apart from {other}, which is there")
            }
            Obstacle::Full(overload) => format!("{cannot}: {overload}"),
            Obstacle::Longer(ns) => format!("{with} {} longer", duration(*ns)),
            Obstacle::Same => format!("{with} as long"),
            Obstacle::Shorter(ns) => {
                let remedy = match self.options.partitioner {
                    Partitioner::Default => "more --steps, or another --seed",
                    _ => "--partitioner default",
                };
                format!("{with} {} less: {remedy} may find it", duration(*ns))
            }
        }
    }

    fn show_transfers(&self, page: &mut Page, extent: Extent) {
        let transfers = &self.estimate.transfers;
        let sure = transfers.iter().all(|transfer| transfer.chance >= 1.0);
        let row = |transfer: &Transfer| {
            let mut row = vec![
                format!(
                    "{} → {}",
                    self.name(transfer.from),
                    self.worker(transfer.to)
                ),
                bytes(transfer.bytes as f64),
            ];
            if !sure {
                row.push(percent(transfer.chance));
            }
            let readers = transfer.readers.iter().map(|node| self.name(*node));
            row.push(named(readers));
            row
        };
        let mut headings = vec!["crosses", "bytes"];
        if !sure {
            headings.push("likely");
        }
        headings.push("read by");
        let right: &[usize] = if sure { &[1] } else { &[1, 2] };
        table(
            page,
            &headings,
            right,
            transfers.iter().map(row).collect(),
            extent,
        );
    }

    fn show_workers(&self, page: &mut Page, extent: Extent) {
        let workers = self.placed.workers;
        let alike = workers.iter().all(|worker| worker.speed == 1.0);
        let rows = self
            .estimate
            .workers
            .iter()
            .zip(workers)
            .map(|(used, worker)| {
                let mut row = vec![
                    worker.name.clone(),
                    used.nodes.to_string(),
                    duration(used.busy_ns),
                    percent(used.utilisation),
                    format!("{} of {}", used.demand.executors, used.limits.executors),
                    format!(
                        "{} of {} MiB",
                        used.demand.memory_mib, used.limits.memory_mib
                    ),
                ];
                if !alike {
                    row.push(worker.speed.to_string());
                }
                row
            });
        let mut headings = vec![
            "worker",
            "nodes",
            "busy",
            "utilisation",
            "executors",
            "memory",
        ];
        if !alike {
            headings.push("speed");
        }
        table(page, &headings, &[1, 2, 3, 4, 5, 6], rows.collect(), extent);
        let estimate = &self.estimate;
        let held = format!(
            "payloads in shared memory: {} of a quota of {}",
            bytes(estimate.held_bytes),
            bytes(estimate.quota_bytes as f64)
        );
        if estimate.unheld.is_empty() {
            return page.line(&held);
        }
        page.line(&format!(
            "{held}; beyond it, through a store: {}",
            bytes(estimate.unheld_bytes)
        ));
        let mut heaviest: Vec<_> = estimate.unheld.iter().collect();
        heaviest.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
        let rows = heaviest
            .iter()
            .map(|of| vec![self.name(of.node).to_owned(), bytes(of.bytes)]);
        rows_of(
            page,
            &["beyond the quota", "bytes"],
            &[1],
            rows.collect(),
            extent,
        );
    }

    fn show_merges(&self, page: &mut Page, merges: &Merges, extent: Extent) {
        page.line("");
        page.line(&format!(
            "{} of groups, in their order, with executors counted node by node; {} left",
            counted(merges.merges.len(), "merge"),
            counted(merges.groups, "group")
        ));
        let seconds = |s: f64| duration(s * 1e9);
        let rows = merges.merges.iter().enumerate().map(|(step, merge)| {
            vec![
                (step + 1).to_string(),
                format!("{} → {}", self.name(merge.from), self.name(merge.to)),
                seconds(merge.weight_s),
                seconds(merge.path_s),
                named(merge.nodes.iter().map(|node| self.name(*node))),
                self.worker(merge.worker).to_owned(),
                merge.demand.executors.to_string(),
            ]
        });
        if !merges.merges.is_empty() {
            let headings = &["", "edge", "weighs", "path", "group", "worker", "executors"];
            rows_of(page, headings, &[0, 2, 3, 6], rows.collect(), extent);
        }
        if merges.refused.is_empty() {
            return page.line(match merges.groups {
                1 => "nothing is left to merge",
                _ => "the longest path has no edges, so that nothing can be merged",
            });
        }
        page.line("of the last longest path no edge can be merged");
        let rows = merges.refused.iter().map(|refused| {
            vec![
                format!("{} → {}", self.name(refused.from), self.name(refused.to)),
                seconds(refused.weight_s),
                refused.to_string(),
            ]
        });
        rows_of(
            page,
            &["edge", "weighs", "why not"],
            &[1],
            rows.collect(),
            extent,
        );
    }
}

/// A table behind an empty line; none without rows.
fn table(
    page: &mut Page,
    headings: &[&str],
    right: &[usize],
    rows: Vec<Vec<String>>,
    extent: Extent,
) {
    if rows.is_empty() {
        return;
    }
    page.line("");
    rows_of(page, headings, right, rows, extent);
}

fn rows_of(
    page: &mut Page,
    headings: &[&str],
    right: &[usize],
    mut rows: Vec<Vec<String>>,
    extent: Extent,
) {
    let all = rows.len();
    if extent == Extent::Page && all > ROWS_MAX + ROWS_MORE {
        rows.truncate(ROWS_MAX);
    }
    page.table(headings, right, &rows);
    further(page, all - rows.len(), extent);
}

/// That there is more than is shown.
fn further(page: &mut Page, further: usize, extent: Extent) {
    if further > 0 {
        let remedy = match extent {
            Extent::Page => " (--all shows them)",
            Extent::All => "",
        };
        page.line(&format!("… {further} more{remedy}"));
    }
}

/// Names, of many the first ones and how many more there are.
fn named<'n>(all: impl ExactSizeIterator<Item = &'n str>) -> String {
    let further = all.len().saturating_sub(NAMED_MAX);
    let named: Vec<&str> = all.take(NAMED_MAX).collect();
    match further {
        0 => named.join(", "),
        further => format!("{} and {further} more", named.join(", ")),
    }
}

/// A share of 1.
fn percent(share: f64) -> String {
    match share * 100.0 {
        small if small > 0.0 && small < 0.95 => format!("{small:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}
