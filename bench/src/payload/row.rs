//! What is measured of one tier at one size.

use crate::report::{FloorSum, Percentiles, duration, ratio};
use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

/// Where payloads travel, or lie meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// In the state event.
    Inline,
    /// In shared memory.
    Shared,
    /// Streamed from worker to worker.
    Peer,
    /// On a local disk.
    Spill,
    /// In Redis.
    Remote,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Inline,
        Self::Shared,
        Self::Peer,
        Self::Spill,
        Self::Remote,
    ];

    /// As reports and flags name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Shared => "shared",
            Self::Peer => "peer",
            Self::Spill => "spill",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A part of the way.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Part {
    /// Its median, in nanoseconds.
    pub p50_ns: u64,
    /// What it is held against, likewise.
    pub floor_ns: u64,
    /// The one over the other.
    pub ratio: f64,
}

impl Part {
    /// Of both medians.
    #[must_use]
    pub fn new(p50_ns: u64, floor_ns: u64) -> Self {
        Self {
            p50_ns,
            floor_ns,
            ratio: over(p50_ns, floor_ns),
        }
    }

    /// Of both distributions.
    pub(super) fn of(figure: &Histogram<u64>, floor: &Histogram<u64>) -> Self {
        Self::new(median(figure), median(floor))
    }
}

/// A tier at a size.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Row {
    /// Which tier.
    pub tier: Kind,
    /// Bytes of the payload.
    pub bytes: u64,
    /// Payloads that were timed.
    pub samples: u64,
    /// The whole way, reading included: its median, in nanoseconds.
    pub p50_ns: u64,
    /// Its p99.
    pub p99_ns: u64,
    /// Bytes over the median.
    pub bytes_per_s: f64,
    /// The median of the same job done by bare code.
    pub floor_ns: u64,
    /// `p50_ns` over `floor_ns`.
    pub ratio: f64,
    /// What the floor was.
    pub floor_how: String,
    /// What the whole consists of.
    pub parts: BTreeMap<&'static str, Part>,
}

/// A floor by itself.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct FloorRow {
    /// Which.
    pub floor: &'static str,
    /// Bytes that were moved.
    pub bytes: u64,
    /// Its median, in nanoseconds.
    pub p50_ns: u64,
    /// Its p99.
    pub p99_ns: u64,
    /// Bytes over the median.
    pub bytes_per_s: f64,
    /// The way that was the best of those tried, where several were.
    pub how: Option<String>,
}

impl FloorRow {
    pub(super) fn new(
        floor: &'static str,
        bytes: usize,
        taken: &Histogram<u64>,
        how: Option<String>,
    ) -> Self {
        let Percentiles { p50_ns, p99_ns, .. } = Percentiles::of(taken);
        Self {
            floor,
            bytes: bytes as u64,
            p50_ns,
            p99_ns,
            bytes_per_s: per_s(bytes as u64, p50_ns),
            how,
        }
    }
}

/// A row, or why there is none.
pub(super) enum Measured {
    Row(Box<Found>),
    Skipped(String),
}

/// A row with what it was made of.
pub(super) struct Found {
    pub(super) row: Row,
    pub(super) whole: Histogram<u64>,
    pub(super) floor: FloorSum,
    pub(super) floors: Vec<FloorRow>,
}

impl Found {
    pub(super) fn new(
        tier: Kind,
        bytes: usize,
        whole: Histogram<u64>,
        floor: FloorSum,
        floor_how: String,
    ) -> Self {
        let Percentiles {
            samples,
            p50_ns,
            p99_ns,
            ..
        } = Percentiles::of(&whole);
        let row = Row {
            tier,
            bytes: bytes as u64,
            samples,
            p50_ns,
            p99_ns,
            bytes_per_s: per_s(bytes as u64, p50_ns),
            floor_ns: floor.p50_ns,
            ratio: over(p50_ns, floor.p50_ns),
            floor_how,
            parts: BTreeMap::new(),
        };
        Self {
            row,
            whole,
            floor,
            floors: Vec::new(),
        }
    }

    pub(super) fn part(mut self, name: &'static str, part: Part) -> Self {
        self.row.parts.insert(name, part);
        self
    }

    pub(super) fn floor(mut self, floor: FloorRow) -> Self {
        self.floors.push(floor);
        self
    }

    pub(super) fn measured(self) -> Measured {
        Measured::Row(Box::new(self))
    }
}

/// A median, of which there is none below a nanosecond.
pub(super) fn median(histogram: &Histogram<u64>) -> u64 {
    histogram.value_at_quantile(0.5).max(1)
}

fn over(figure_ns: u64, floor_ns: u64) -> f64 {
    ratio(figure_ns, floor_ns.max(1)).unwrap_or_default()
}

fn per_s(bytes: u64, ns: u64) -> f64 {
    (bytes as f64 * 1e9 / ns.max(1) as f64).round()
}

/// A table, for people.
///
/// # Errors
/// Those of `out`.
pub fn write(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<8} {:>9} {:>8} {:>9} {:>9} {:>12} {:>9} {:>6}   parts",
        "tier", "bytes", "samples", "p50", "p99", "bandwidth", "floor", "ratio"
    )?;
    for row in rows {
        let parts: Vec<String> = row
            .parts
            .iter()
            .map(|(name, part)| format!("{name} {} ({:.2})", duration(part.p50_ns), part.ratio))
            .collect();
        writeln!(
            out,
            "{:<8} {:>9} {:>8} {:>9} {:>9} {:>12} {:>9} {:>6.2}   {}",
            row.tier,
            size(row.bytes),
            row.samples,
            duration(row.p50_ns),
            duration(row.p99_ns),
            rate(row.bytes_per_s),
            duration(row.floor_ns),
            row.ratio,
            parts.join(", ")
        )?;
    }
    Ok(())
}

/// The same of floors.
///
/// # Errors
/// Those of `out`.
pub fn write_floors(floors: &[FloorRow], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<14} {:>9} {:>9} {:>9} {:>12}   best way",
        "floor", "bytes", "p50", "p99", "bandwidth"
    )?;
    for floor in floors {
        writeln!(
            out,
            "{:<14} {:>9} {:>9} {:>9} {:>12}   {}",
            floor.floor,
            size(floor.bytes),
            duration(floor.p50_ns),
            duration(floor.p99_ns),
            rate(floor.bytes_per_s),
            floor.how.as_deref().unwrap_or("-")
        )?;
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
            format!("{} MiB", bytes >> 20)
        }
        bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => {
            format!("{} KiB", bytes >> 10)
        }
        bytes => format!("{bytes} B"),
    }
}

fn rate(bytes_per_s: f64) -> String {
    format!("{:.1} MiB/s", bytes_per_s / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::histogram;

    #[test]
    fn a_row_says_what_it_was_made_of() {
        let mut whole = histogram();
        (1..=100).for_each(|ns| whole.saturating_record(ns * 10));
        let floor = FloorSum {
            p50_ns: 250,
            p99_ns: 300,
        };
        let found = Found::new(Kind::Peer, 1000, whole, floor, "bare".to_owned());
        let row = found.part("entry", Part::new(300, 200)).row;
        assert_eq!((row.p50_ns, row.floor_ns, row.ratio), (500, 250, 2.0));
        assert_eq!((row.samples, row.bytes_per_s), (100, 2e9));
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["tier"], "peer");
        assert_eq!(json["parts"]["entry"]["ratio"], 1.5);
        let mut table = Vec::new();
        write(&[row], &mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert!(table.contains("entry 300 ns (1.50)"), "{table}");
    }

    #[test]
    fn a_floor_of_nothing_makes_no_ratio_that_is_no_number() {
        assert_eq!(Part::new(7, 0).ratio, 7.0);
        assert!(per_s(64, 0).is_finite());
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_they_are_a_multiple_of() {
        let told = [64, 4 << 10, 1 << 20, (1 << 20) + 1].map(size);
        assert_eq!(told, ["64 B", "4 KiB", "1 MiB", "1048577 B"]);
    }
}
