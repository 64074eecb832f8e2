//! The percentile text format of HdrHistogram's tools (`.hgrm`).

use hdrhistogram::Histogram;
use std::io::{self, Write};

/// Reporting steps for each halving of the distance to 100 %, as HdrHistogram's own tools take.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Writes `histogram` as a percentile distribution: value, percentile, samples up to there, 1/(1-percentile). Values are
/// nanoseconds.
///
/// # Errors
/// Those of `out`.
pub fn write_hgrm(histogram: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value, percentile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        write!(out, "{value:>12.3} {percentile:>2.12} {total:>10}")?;
        if percentile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - percentile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (histogram.mean(), histogram.stdev());
    writeln!(
        out,
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]"
    )?;
    let (max, total) = (histogram.max() as f64, histogram.len());
    writeln!(
        out,
        "#[Max     = {max:>12.3}, Total count    = {total:>12}]"
    )?;
    let (buckets, sub_buckets) = (histogram.buckets(), sub_buckets(histogram));
    writeln!(
        out,
        "#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]"
    )
}

/// Sub-buckets of a histogram of so many significant digits: the power of two at or above 2 × 10^digits.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor;

    #[test]
    fn an_export_ends_at_the_maximum_and_counts_every_sample() {
        let mut histogram = floor::histogram();
        (1..=1000).for_each(|value| histogram.saturating_record(value));
        let mut out = Vec::new();
        write_hgrm(&histogram, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[0],
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        let last = lines
            .iter()
            .rfind(|line| !line.is_empty() && !line[0].starts_with('#'))
            .unwrap();
        assert_eq!(*last, ["1000.000", "1.000000000000", "1000"]);
        assert!(text.contains("SubBuckets     =         2048]"), "{text}");
    }
}
