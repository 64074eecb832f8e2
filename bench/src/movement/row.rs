//! What is told of a workflow in a placement.

use crate::partition::live::Invoked;
use engine::wire::Tier;
use serde::Serialize;
use std::io::{self, Write};

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
    /// Bytes of payloads over all edges, each counted once, and of what the workflow gives: what the same application moves in
    /// one process.
    pub one_process_bytes: u64,
    /// `network_bytes` over `one_process_bytes`.
    pub ratio: f64,
    /// Bytes over edges, by how they went.
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
    pub one_process_bytes: u64,
    /// `network_bytes` over `one_process_bytes`.
    pub ratio: f64,
}

/// The one over the other; 0 where there is nothing to be moved.
pub(super) fn over(bytes: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (bytes as f64 / whole as f64 * 1e4).round() / 1e4
}

/// Totals in the order in which their rows first occur.
pub(super) fn totals(rows: &[Row]) -> Vec<Total> {
    let mut totals: Vec<Total> = Vec::new();
    for row in rows {
        let key = (row.workers, row.placement, row.store);
        let known = |total: &Total| (total.workers, total.placement, total.store) == key;
        let at = totals.iter().position(known).unwrap_or_else(|| {
            totals.push(Total {
                workers: row.workers,
                placement: row.placement,
                store: row.store,
                workflows: 0,
                network_bytes: 0,
                product_bytes: 0,
                one_process_bytes: 0,
                ratio: 0.0,
            });
            totals.len() - 1
        });
        let total = &mut totals[at];
        total.workflows += 1;
        total.network_bytes += row.network_bytes;
        total.product_bytes += row.product_bytes;
        total.one_process_bytes += row.one_process_bytes;
        total.ratio = over(total.network_bytes, total.one_process_bytes);
    }
    totals
}

/// One table, for people.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(rows: &[Row], totals: &[Total], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<20} {:>7} {:>5} {:<10} {:<9} {:>6} {:>13} {:>13} {:>13} {:>7}",
        "workflow",
        "workers",
        "used",
        "placement",
        "store",
        "scale",
        "network",
        "product",
        "one process",
        "ratio"
    )?;
    let mut line = |names: [&str; 6], bytes: [u64; 3], ratio: f64| {
        let [workflow, workers, used, placement, store, scale] = names;
        let [network, product, one] = bytes.map(mib);
        writeln!(
            out,
            "{workflow:<20} {workers:>7} {used:>5} {placement:<10} {store:<9} {scale:>6} {network:>13} {product:>13} {one:>13} {ratio:>7.3}"
        )
    };
    for row in rows {
        let numbers = [
            row.workers.to_string(),
            row.workers_used.to_string(),
            row.scale.to_string(),
        ];
        let [workers, used, scale] = numbers.each_ref().map(String::as_str);
        let bytes = [row.network_bytes, row.product_bytes, row.one_process_bytes];
        let names = [
            &row.workflow,
            workers,
            used,
            row.placement,
            row.store,
            scale,
        ];
        line(names, bytes, row.ratio)?;
    }
    for total in totals {
        let workflows = format!("all {}", total.workflows);
        let workers = total.workers.to_string();
        let bytes = [
            total.network_bytes,
            total.product_bytes,
            total.one_process_bytes,
        ];
        let names = [
            &workflows,
            workers.as_str(),
            "",
            total.placement,
            total.store,
            "",
        ];
        line(names, bytes, total.ratio)?;
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{:.3} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workflow: &str, workers: usize, network_bytes: u64) -> Row {
        Row {
            workflow: workflow.to_owned(),
            workers,
            workers_used: workers,
            placement: "hash",
            store: "adaptive",
            network: "namespaces",
            scale: 1.0,
            nodes: 3,
            network_bytes,
            product_bytes: network_bytes - 1,
            one_process_bytes: 1000,
            ratio: over(network_bytes, 1000),
            by_tier: Tiers::default(),
            output_bytes: 0,
        }
    }

    #[test]
    fn totals_are_of_one_number_of_workers_each() {
        let rows = [row("a", 2, 100), row("b", 2, 300), row("a", 7, 1000)];
        let totals = totals(&rows);
        let told: Vec<_> = totals
            .iter()
            .map(|total| {
                (
                    total.workers,
                    total.workflows,
                    total.network_bytes,
                    total.ratio,
                )
            })
            .collect();
        assert_eq!(told, [(2, 2, 400, 0.2), (7, 1, 1000, 1.0)]);
        let mut table = Vec::new();
        write(&rows, &totals, &mut table).unwrap();
        assert_eq!(String::from_utf8(table).unwrap().lines().count(), 6);
    }

    #[test]
    fn nothing_over_nothing_is_a_number() {
        assert_eq!(over(70, 0), 0.0);
    }
}
