//! What is told of a workflow in a placement and a store, and of all workflows together.

use super::StoreChoice;
use crate::partition::live::Invoked;
use engine::wire::Tier;
use serde::Serialize;

/// Bytes of payloads by how they went from one node to the next: over each edge once.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tiers {
    /// In messages between workers.
    pub inline: u64,
    /// In the memory of one worker.
    pub shared: u64,
    /// Streamed between workers.
    pub peer: u64,
}

impl Tiers {
    /// Of an invocation that was asked for its report.
    pub(super) fn of(invoked: &Invoked) -> Self {
        let mut tiers = Self::default();
        for edge in invoked.report.iter().flat_map(|node| &node.edges) {
            let bytes = match edge.tier {
                Tier::Inline => &mut tiers.inline,
                Tier::Shared => &mut tiers.shared,
                Tier::Peer => &mut tiers.peer,
            };
            *bytes += edge.bytes;
        }
        tiers
    }

    /// All together.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.inline + self.shared + self.peer
    }
}

/// One workflow on one number of workers in one placement.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Row {
    /// The workflow.
    pub workflow: String,
    /// Workers.
    pub workers: usize,
    /// Those of them that have a node.
    pub workers_used: usize,
    /// By whom its nodes were placed.
    pub placement: &'static str,
    /// Where payloads lie.
    pub store: &'static str,
    /// What counts the bytes: `namespaces` or `loopback`.
    pub network: &'static str,
    /// What recorded bytes were multiplied with.
    pub scale: f64,
    /// Its nodes.
    pub nodes: usize,
    /// Bytes that crossed the network, headers and all, as the kernel has counted them.
    pub network_bytes: u64,
    /// Bytes that lanes have received, as the product has counted them.
    pub product_bytes: u64,
    /// Bytes that the remote store has received and sent, as it has counted them; 0 in the adaptive one.
    pub store_bytes: u64,
    /// Bytes of payloads over all edges, each counted once, and of what the workflow gives: what the same application moves in
    /// one process.
    pub one_process_bytes: u64,
    /// `network_bytes` over `one_process_bytes`.
    pub ratio: f64,
    /// What of `network_bytes` of the remote store the adaptive one does without, in the same placement: 1 less the one over the
    /// other. Of adaptive rows alone, and if there are both.
    pub saved: Option<f64>,
    /// Bytes over edges, by how they went: in the remote store keys, and what is no payload of functions.
    pub by_tier: Tiers,
    /// Bytes of what the workflow gives: they cross, too, from where they were made to the worker that the client has asked.
    pub output_bytes: u64,
}

/// All workflows of one number of workers, placement and store together.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Total {
    /// As in the rows.
    pub workers: usize,
    /// As in the rows.
    pub placement: &'static str,
    /// As in the rows.
    pub store: &'static str,
    /// How many workflows.
    pub workflows: usize,
    /// Sum over the rows.
    pub network_bytes: u64,
    /// Sum over the rows.
    pub product_bytes: u64,
    /// Sum over the rows.
    pub store_bytes: u64,
    /// Sum over the rows.
    pub one_process_bytes: u64,
    /// `network_bytes` over `one_process_bytes`.
    pub ratio: f64,
    /// As in the rows, of the workflows that have both.
    pub saved: Option<f64>,
}

/// The one over the other; 0 where there is nothing to be moved.
pub(super) fn over(bytes: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (bytes as f64 / whole as f64 * 1e4).round() / 1e4
}

/// 1 less the one over the other; nothing where nothing moved.
pub(super) fn saved(adaptive_bytes: u64, remote_bytes: u64) -> Option<f64> {
    let left = adaptive_bytes as f64 / remote_bytes as f64;
    (remote_bytes > 0).then(|| ((1.0 - left) * 1e4).round() / 1e4)
}

/// Each adaptive row, with the one of the remote store that stands behind it, if there is one.
pub(super) fn pairs(rows: &[Row]) -> impl Iterator<Item = (&Row, Option<&Row>)> {
    let adaptive = |row: &Row| row.store == StoreChoice::Adaptive.name();
    let numbered = rows.iter().enumerate();
    let first = numbered.filter(move |(_, row)| adaptive(row));
    first.map(move |(at, row)| (row, rows.get(at + 1).filter(|next| !adaptive(next))))
}

/// Totals in the order in which their rows first occur.
pub(super) fn totals(rows: &[Row]) -> Vec<Total> {
    let mut totals: Vec<Total> = Vec::new();
    for row in rows {
        let known = |total: &Total| total.key() == (row.workers, row.placement, row.store);
        let at = totals.iter().position(known).unwrap_or_else(|| {
            totals.push(Total::new(row));
            totals.len() - 1
        });
        totals[at].add(row);
    }
    for total in &mut totals {
        total.saved = total.saved_of(rows);
    }
    totals
}

impl Total {
    /// Of such rows, before there are any.
    fn new(row: &Row) -> Self {
        Self {
            workers: row.workers,
            placement: row.placement,
            store: row.store,
            workflows: 0,
            network_bytes: 0,
            product_bytes: 0,
            store_bytes: 0,
            one_process_bytes: 0,
            ratio: 0.0,
            saved: None,
        }
    }

    /// What is the same in all rows of one total.
    pub(super) const fn key(&self) -> (usize, &'static str, &'static str) {
        (self.workers, self.placement, self.store)
    }

    fn add(&mut self, row: &Row) {
        self.workflows += 1;
        self.network_bytes += row.network_bytes;
        self.product_bytes += row.product_bytes;
        self.store_bytes += row.store_bytes;
        self.one_process_bytes += row.one_process_bytes;
        self.ratio = over(self.network_bytes, self.one_process_bytes);
    }

    /// Over the workflows alone that ran in both stores.
    fn saved_of(&self, rows: &[Row]) -> Option<f64> {
        let (mut adaptive_bytes, mut remote_bytes) = (0, 0);
        for (row, remote) in pairs(rows) {
            if let Some(remote) = remote
                && self.key() == (row.workers, row.placement, row.store)
            {
                adaptive_bytes += row.network_bytes;
                remote_bytes += remote.network_bytes;
            }
        }
        saved(adaptive_bytes, remote_bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::movement) fn row(
        workflow: &str,
        workers: usize,
        store: StoreChoice,
        network_bytes: u64,
    ) -> Row {
        Row {
            workflow: workflow.to_owned(),
            workers,
            workers_used: workers,
            placement: "hash",
            store: store.name(),
            network: "namespaces",
            scale: 1.0,
            nodes: 3,
            network_bytes,
            product_bytes: network_bytes - 1,
            store_bytes: 7,
            one_process_bytes: 1000,
            ratio: over(network_bytes, 1000),
            saved: None,
            by_tier: Tiers::default(),
            output_bytes: 0,
        }
    }

    #[test]
    fn totals_are_of_one_number_of_workers_and_one_store_each() {
        use StoreChoice::{Adaptive, RemoteOnly};
        let rows = [
            row("a", 2, Adaptive, 100),
            row("a", 2, RemoteOnly, 2000),
            // It did not run in the other store.
            row("b", 2, Adaptive, 300),
            row("c", 2, Adaptive, 200),
            row("c", 2, RemoteOnly, 1000),
            row("a", 7, Adaptive, 1000),
        ];
        let totals = totals(&rows);
        let told = totals.iter().map(|total| {
            let sums = (total.network_bytes, total.store_bytes, total.ratio);
            (total.workers, total.workflows, sums, total.saved)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (2, 3, (600, 21, 0.2), Some(0.9)),
                (2, 2, (3000, 14, 1.5), None),
                (7, 1, (1000, 7, 1.0), None)
            ]
        );
        let pairs = pairs(&rows).map(|(row, remote)| {
            let remote = remote.map(|remote| remote.network_bytes);
            (row.network_bytes, remote)
        });
        assert_eq!(
            pairs.collect::<Vec<_>>(),
            [
                (100, Some(2000)),
                (300, None),
                (200, Some(1000)),
                (1000, None)
            ]
        );
    }

    #[test]
    fn nothing_over_nothing_is_a_number_and_saves_nothing() {
        assert_eq!(over(70, 0), 0.0);
        assert_eq!(saved(70, 0), None);
        assert_eq!(saved(250, 1000), Some(0.75));
        // A placement may make the one dearer than the other.
        assert_eq!(saved(1500, 1000), Some(-0.5));
    }
}
