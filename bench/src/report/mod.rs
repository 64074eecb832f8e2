//! What every benchmark says in the end: one JSON object for machines, or a table for people.
//!
//! Owns the keys of the object (docs/benchmarks.md lists them). Names of figures end in their unit. What could not be
//! measured is listed under `skipped` with its reason, never left out.

mod disturbance;
mod hgrm;
mod machine;
mod table;

pub use disturbance::{Disturbances, Watch};
pub use hgrm::write_hgrm;
pub(crate) use machine::memory_bytes;
pub use machine::{Machine, Setup};
pub(crate) use table::duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// A run is quiet when its floor's p99 is at most this many times its p50.
pub const QUIET_P99_OVER_P50: u64 = 2;

/// A distribution of latencies, in nanoseconds.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(
    missing_docs,
    reason = "each is the percentile of its name, in nanoseconds"
)]
pub struct Percentiles {
    pub samples: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

impl Percentiles {
    /// Those of `histogram`; all 0 if it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            samples: histogram.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
        }
    }
}

/// What a figure is held against: the sum of one or more floors of the same run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FloorSum {
    /// Sum of their medians, in nanoseconds.
    pub p50_ns: u64,
    /// Sum of their p99, in nanoseconds.
    pub p99_ns: u64,
}

impl FloorSum {
    /// With `count` times the floor `histogram` added, over `divisor`.
    #[must_use]
    pub fn plus(self, histogram: &Histogram<u64>, count: u64, divisor: u64) -> Self {
        let of = |quantile| histogram.value_at_quantile(quantile) * count / divisor;
        Self {
            p50_ns: self.p50_ns + of(0.5),
            p99_ns: self.p99_ns + of(0.99),
        }
    }

    /// Whether the host left the floor alone.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.p99_ns <= QUIET_P99_OVER_P50 * self.p50_ns
    }
}

/// One benchmark's result.
#[derive(Serialize, Debug)]
pub struct Report {
    /// Which benchmark.
    pub bench: &'static str,
    /// What it was asked to do.
    pub params: Map<String, Value>,
    /// The main figure.
    #[serde(flatten)]
    pub figure: Percentiles,
    /// Median of the figure's floor, in nanoseconds, if it has one.
    pub floor_ns: Option<u64>,
    /// The floor's p99, in nanoseconds.
    pub floor_p99_ns: Option<u64>,
    /// Whether the floor's p99 is at most twice its p50; `false` without a floor.
    pub quiet: bool,
    /// `p50_ns` over `floor_ns`.
    pub ratio: Option<f64>,
    /// The first, cold sample, in nanoseconds, which `samples` leaves out; if there is such a thing.
    pub cold_ns: Option<u64>,
    /// Further figures, by name.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// What was not measured, and why.
    pub skipped: Vec<Skipped>,
    /// Where it ran, and what disturbed it.
    pub machine: Machine,
}

/// Something that was not measured.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why, and what would change that.
    pub why: String,
}

impl Report {
    /// A report of `histogram` against `floor`.
    #[must_use]
    pub fn new(
        bench: &'static str,
        histogram: &Histogram<u64>,
        floor: Option<FloorSum>,
        machine: Machine,
    ) -> Self {
        let figure = Percentiles::of(histogram);
        Self {
            bench,
            params: Map::new(),
            figure,
            floor_ns: floor.map(|floor| floor.p50_ns),
            floor_p99_ns: floor.map(|floor| floor.p99_ns),
            quiet: floor.is_some_and(|floor| floor.is_quiet()),
            ratio: floor.and_then(|floor| ratio(figure.p50_ns, floor.p50_ns)),
            cold_ns: None,
            details: Map::new(),
            skipped: Vec::new(),
            machine,
        }
    }

    /// Adds a further figure. `value` is plain data: anything that serializes.
    ///
    /// # Panics
    /// If `value` cannot be JSON, such as a map whose keys are no strings.
    pub fn detail(&mut self, name: &str, value: impl Serialize) {
        self.details.insert(
            name.to_owned(),
            serde_json::to_value(value).expect("plain data serializes"),
        );
    }

    /// Adds what the benchmark was asked to do.
    ///
    /// # Panics
    /// As [`Report::detail`].
    pub fn param(&mut self, name: &str, value: impl Serialize) {
        self.params.insert(
            name.to_owned(),
            serde_json::to_value(value).expect("plain data serializes"),
        );
    }

    /// Lists something as not measured.
    pub fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.skipped.push(Skipped {
            what: what.into(),
            why: why.into(),
        });
    }

    /// Writes one JSON object and a newline.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Writes a table for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        table::write(self, out)
    }
}

/// `figure` over `floor`, to three decimal places, unless the floor is 0.
#[must_use]
pub fn ratio(figure: u64, floor: u64) -> Option<f64> {
    (floor > 0).then(|| (figure as f64 / floor as f64 * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::histogram;

    fn hundred() -> Histogram<u64> {
        let mut histogram = histogram();
        (1..=100).for_each(|value| histogram.saturating_record(value));
        histogram
    }

    #[test]
    fn every_key_of_the_contract_is_there() {
        let floor = FloorSum::default().plus(&hundred(), 2, 1);
        let report = Report::new(
            "hop",
            &hundred(),
            Some(floor),
            Machine::read(Setup::default()),
        );
        let mut out = Vec::new();
        report.write_json(&mut out).unwrap();
        assert_eq!(
            out.iter().filter(|&&byte| byte == b'\n').count(),
            1,
            "one object on one line"
        );
        let json: Map<String, Value> = serde_json::from_slice(&out).unwrap();
        let keys = "bench params samples p50_ns p90_ns p99_ns p999_ns max_ns floor_ns floor_p99_ns quiet ratio cold_ns machine";
        for key in keys.split(' ') {
            assert!(json.contains_key(key), "{key}");
        }
        assert_eq!(
            (json["p50_ns"].as_u64(), json["floor_ns"].as_u64()),
            (Some(50), Some(100))
        );
        assert_eq!(json["ratio"].as_f64(), Some(0.5));
        let mut table = Vec::new();
        report.write_table(&mut table).unwrap();
        assert!(String::from_utf8(table).unwrap().contains("p99.9"));
    }

    #[test]
    fn a_run_is_quiet_when_its_floors_p99_is_at_most_twice_its_p50() {
        assert!(
            FloorSum {
                p50_ns: 50,
                p99_ns: 100
            }
            .is_quiet()
        );
        assert!(
            !FloorSum {
                p50_ns: 50,
                p99_ns: 101
            }
            .is_quiet()
        );
    }
}
