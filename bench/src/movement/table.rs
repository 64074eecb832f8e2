//! The table of rows and totals, for people: a line for each workflow in a placement, with both stores side by side.

use super::StoreChoice;
use super::row::{Row, Total, pairs};
use std::io::{self, Write};

/// What stands where there is nothing to be told.
const NOTHING: &str = "-";

/// One line.
struct Line<'a> {
    workflow: &'a str,
    workers: usize,
    used: Option<usize>,
    placement: &'a str,
    scale: Option<f64>,
    adaptive_bytes: u64,
    remote_bytes: Option<u64>,
    saved: Option<f64>,
    one_process_bytes: u64,
    ratio: f64,
    remote_ratio: Option<f64>,
}

/// One table.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(rows: &[Row], totals: &[Total], out: &mut impl Write) -> io::Result<()> {
    let mut counters: Vec<&str> = rows.iter().map(|row| row.network).collect();
    counters.dedup();
    let counters = counters.join(", ");
    writeln!(
        out,
        "MiB that cross network interfaces in one invocation, counted by: {counters}"
    )?;
    let heads = ["over the network", "in one", "over one process"];
    let [network, one, over] = heads;
    writeln!(out, "{network:>74} {one:>19} {over:>20}")?;
    writeln!(
        out,
        "{:<19} {:>7} {:>4} {:<9} {:>6} {:>11} {:>11} {:>7} {:>12} {:>9} {:>9}",
        "workflow",
        "workers",
        "used",
        "placement",
        "scale",
        "adaptive",
        "remote-only",
        "saved",
        "process",
        "adaptive",
        "remote"
    )?;
    for (row, remote) in pairs(rows) {
        let line = Line {
            workflow: &row.workflow,
            workers: row.workers,
            used: Some(row.workers_used),
            placement: row.placement,
            scale: Some(row.scale),
            adaptive_bytes: row.network_bytes,
            remote_bytes: remote.map(|remote| remote.network_bytes),
            saved: row.saved,
            one_process_bytes: row.one_process_bytes,
            ratio: row.ratio,
            remote_ratio: remote.map(|remote| remote.ratio),
        };
        line.write(out)?;
    }
    let of_adaptive = |total: &&Total| total.store == StoreChoice::Adaptive.name();
    for total in totals.iter().filter(of_adaptive) {
        let (workers, placement, _) = total.key();
        let key = (workers, placement, StoreChoice::RemoteOnly.name());
        let remote = totals.iter().find(|other| other.key() == key);
        let line = Line {
            workflow: &counted(total, remote),
            workers,
            used: None,
            placement,
            scale: None,
            adaptive_bytes: total.network_bytes,
            remote_bytes: remote.map(|remote| remote.network_bytes),
            saved: total.saved,
            one_process_bytes: total.one_process_bytes,
            ratio: total.ratio,
            remote_ratio: remote.map(|remote| remote.ratio),
        };
        line.write(out)?;
    }
    Ok(())
}

/// How many workflows a total has, and how many of them ran in the remote store too, if not all.
fn counted(total: &Total, remote: Option<&Total>) -> String {
    match remote {
        Some(remote) if remote.workflows != total.workflows => {
            format!("all {}, {} remotely", total.workflows, remote.workflows)
        }
        _ => format!("all {}", total.workflows),
    }
}

impl Line<'_> {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let [used, scale, remote, saved, remote_ratio] = [
            self.used.map(|used| used.to_string()),
            self.scale.map(|scale| scale.to_string()),
            self.remote_bytes.map(mib),
            self.saved.map(|saved| format!("{:.1}%", saved * 100.0)),
            self.remote_ratio.map(|ratio| format!("{ratio:.3}")),
        ]
        .map(|told| told.unwrap_or_else(|| NOTHING.to_owned()));
        let (workflow, workers, placement) = (self.workflow, self.workers, self.placement);
        let (adaptive, one) = (mib(self.adaptive_bytes), mib(self.one_process_bytes));
        let ratio = self.ratio;
        writeln!(
            out,
            "{workflow:<19} {workers:>7} {used:>4} {placement:<9} {scale:>6} {adaptive:>11} {remote:>11} {saved:>7} {one:>12} {ratio:>9.3} {remote_ratio:>9}"
        )
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::super::row::{saved, totals};
    use super::*;

    #[test]
    fn both_stores_stand_in_one_line_that_a_terminal_has_room_for() {
        let mut rows = [
            row("illgal_recognizer", 2, StoreChoice::Adaptive, 500 << 20),
            row("illgal_recognizer", 2, StoreChoice::RemoteOnly, 2000 << 20),
            row("video", 2, StoreChoice::Adaptive, 3 << 20),
        ];
        rows[0].saved = saved(rows[0].network_bytes, rows[1].network_bytes);
        let mut table = Vec::new();
        write(&rows, &totals(&rows), &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        let [_, _, _, both, alone, total] = lines[..] else {
            panic!("{table}");
        };
        let words: Vec<&str> = both.split_whitespace().collect();
        assert_eq!(words[5..8], ["500.000", "2000.000", "75.0%"], "{table}");
        let words: Vec<&str> = alone.split_whitespace().collect();
        assert_eq!(words[5..8], ["3.000", "-", "-"], "{table}");
        assert!(total.starts_with("all 2, 1 remotely"), "{table}");
        assert!(lines[0].ends_with("counted by: namespaces"), "{table}");
        assert!(lines.iter().all(|line| line.len() <= 120), "{table}");
    }
}
