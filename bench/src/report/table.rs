//! A report for people: the figure against its floor, then further figures, then what was skipped and where it ran.

use super::{Percentiles, Report};
use serde_json::Value;
use std::io::{self, Write};

const LABEL_COLUMNS: usize = 30;

pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let Percentiles {
        samples,
        p50_ns,
        p90_ns,
        p99_ns,
        p999_ns,
        max_ns,
    } = report.figure;
    let params: Vec<String> = report
        .params
        .iter()
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    writeln!(out, "{}   {}", report.bench, params.join(", "))?;
    writeln!(
        out,
        "{:>12} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "samples", "p50", "p90", "p99", "p99.9", "max"
    )?;
    let [p50, p90, p99, p999, max] = [p50_ns, p90_ns, p99_ns, p999_ns, max_ns].map(duration);
    writeln!(
        out,
        "{samples:>12} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10}"
    )?;
    if let (Some(floor_ns), Some(floor_p99_ns)) = (report.floor_ns, report.floor_p99_ns) {
        let ratio = report
            .ratio
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let quiet = if report.quiet {
            "quiet"
        } else {
            "not quiet: the floor's p99 is above twice its p50"
        };
        let (p50, p99) = (duration(floor_ns), duration(floor_p99_ns));
        writeln!(out, "floor p50 {p50}, p99 {p99}; ratio {ratio}; {quiet}")?;
    }
    if let Some(cold_ns) = report.cold_ns {
        writeln!(out, "cold {}", duration(cold_ns))?;
    }
    for (name, value) in &report.details {
        write_value(out, name, value, 0)?;
    }
    for skipped in &report.skipped {
        writeln!(out, "skipped: {} ({})", skipped.what, skipped.why)?;
    }
    let machine = serde_json::to_value(&report.machine)?;
    write_value(out, "machine", &machine, 0)
}

fn write_value(out: &mut impl Write, name: &str, value: &Value, depth: usize) -> io::Result<()> {
    let indent = 2 * depth;
    let label = LABEL_COLUMNS - indent.min(LABEL_COLUMNS);
    match value {
        Value::Object(fields) => {
            writeln!(out, "{:indent$}{name}", "")?;
            fields
                .iter()
                .try_for_each(|(name, value)| write_value(out, name, value, depth + 1))
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().try_for_each(|(index, value)| {
                write_value(out, &format!("{name} {index}"), value, depth)
            })
        }
        Value::Number(number) if name.ends_with("_ns") && number.is_u64() => {
            let name = name.trim_end_matches("_ns");
            writeln!(
                out,
                "{:indent$}{name:<label$} {}",
                "",
                duration(number.as_u64().unwrap_or_default())
            )
        }
        _ => writeln!(out, "{:indent$}{name:<label$} {}", "", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        _ => value.to_string(),
    }
}

/// A time with its unit, to three digits.
pub(crate) fn duration(ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    match UNITS.iter().find(|(unit, _)| ns >= *unit) {
        None => format!("{ns} ns"),
        Some((unit, name)) => {
            let value = ns as f64 / *unit as f64;
            let places = if value < 10.0 {
                2
            } else {
                usize::from(value < 100.0)
            };
            format!("{value:.places$} {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_the_unit_that_fits() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.50 µs"),
            (21_000, "21.0 µs"),
            (640_000, "640 µs"),
        ];
        for (ns, text) in cases
            .into_iter()
            .chain([(1_300_000, "1.30 ms"), (60_000_000_000, "60.0 s")])
        {
            assert_eq!(duration(ns), text);
        }
    }
}
