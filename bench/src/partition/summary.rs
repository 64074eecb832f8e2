//! What rows come to: medians and worst, by group, and partitioner against partitioner.

use super::rows::{ROUNDING, Row};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Up to this many nodes a finished search is never worse than the published result.
pub const NEVER_WORSE_NODES_MAX: usize = 10_000;
/// From this much communication over computation on, placement matters.
pub const COMMUNICATES: f64 = 1.0;

/// How far above the best placement the default's may be.
pub const OVER_OPTIMUM_MAX: f64 = 1.05;

/// Classes of communication over computation: their names and where they begin.
const CLASSES: [(&str, f64); 4] = [("0-1", 0.0), ("1-2", 1.0), ("2-8", 2.0), ("8-", 8.0)];

fn class(ccr: f64) -> &'static str {
    let mut classes = CLASSES.iter().rev();
    classes
        .find(|(_, from)| ccr >= *from)
        .map_or("0-1", |(name, _)| name)
}

/// The middle and the largest of some ratios.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// How many they are.
    pub rows: usize,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub worst: f64,
}

impl Spread {
    /// Of some ratios; `None` if there are none.
    #[must_use]
    pub fn of(ratios: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut ratios: Vec<f64> = ratios.into_iter().collect();
        ratios.sort_by(f64::total_cmp);
        let worst = *ratios.last()?;
        let half = ratios.len() / 2;
        let median = if ratios.len() % 2 == 1 {
            ratios[half]
        } else {
            f64::midpoint(ratios[half - 1], ratios[half])
        };
        Some(Self {
            rows: ratios.len(),
            median,
            worst,
        })
    }
}

/// One partitioner's makespans over another's.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Against {
    /// The other one.
    pub partitioner: &'static str,
    /// Over all graphs and clusters.
    pub all: Option<Spread>,
    /// Over those whose communication over computation is 1 or more.
    pub communicating: Option<Spread>,
    /// Over those of them whose workers are alike.
    pub communicating_alike: Option<Spread>,
}

/// What all rows come to.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Summary {
    /// The default's makespans over those of the others.
    pub default_over: Vec<Against>,
    /// The default's makespans over the best ones, where those were searched.
    pub default_over_optimum: Option<Spread>,
    /// Graphs and clusters of up to 10,000 nodes where the default is worse than the published partitioner.
    pub worse_than_published: Vec<String>,
    /// Graphs and clusters where the default is above [`OVER_OPTIMUM_MAX`] of the best placement; as long as there are none, the
    /// middle one is within it, too.
    pub far_from_optimum: Vec<String>,
    /// Rows whose placement breaks a limit.
    pub limits_broken: Vec<String>,
    /// Rows whose partitioner scored its placement otherwise than the estimator does.
    pub scores_differ: Vec<String>,
}

/// By graph and cluster.
type Cases<'r> = BTreeMap<(&'r str, usize, bool), BTreeMap<&'static str, &'r Row>>;

fn cases(rows: &[Row]) -> Cases<'_> {
    let mut cases = Cases::new();
    for row in rows {
        let key = (row.graph.as_str(), row.workers, row.heterogeneous);
        cases.entry(key).or_default().insert(row.partitioner, row);
    }
    cases
}

/// The graph and the cluster of a row.
fn case_name(row: &Row) -> String {
    let unlike = if row.heterogeneous { ", unlike" } else { "" };
    format!("{} on {} workers{unlike}", row.graph, row.workers)
}

impl Summary {
    /// Of these rows.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let cases = cases(rows);
        let against = |other: &'static str| {
            let pairs = cases.values().filter_map(|case| {
                let (own, other) = (case.get("default")?, case.get(other)?);
                (other.makespan_ns > 0.0).then(|| (*own, own.makespan_ns / other.makespan_ns))
            });
            let pairs: Vec<(&Row, f64)> = pairs.collect();
            let communicating = pairs.iter().filter(|(row, _)| row.ccr >= COMMUNICATES);
            let alike = communicating.clone().filter(|(row, _)| !row.heterogeneous);
            Against {
                partitioner: other,
                all: Spread::of(pairs.iter().map(|(_, ratio)| *ratio)),
                communicating: Spread::of(communicating.map(|(_, ratio)| *ratio)),
                communicating_alike: Spread::of(alike.map(|(_, ratio)| *ratio)),
            }
        };
        let worse = cases.values().filter_map(|case| {
            let (own, other) = (case.get("default")?, case.get("published")?);
            let worse = own.makespan_ns > other.makespan_ns * (1.0 + ROUNDING);
            (worse && own.nodes <= NEVER_WORSE_NODES_MAX).then(|| case_name(own))
        });
        let own = rows.iter().filter(|row| row.partitioner == "default");
        let far = own.clone().filter_map(|row| {
            let ratio = row.optimum_ratio?;
            let told = || format!("{} ({ratio:.3})", case_name(row));
            (ratio > OVER_OPTIMUM_MAX).then(told)
        });
        let named = |row: &Row| {
            format!(
                "{} on {} workers by {}",
                row.graph, row.workers, row.partitioner
            )
        };
        let broken = rows.iter().filter(|row| !row.limits_kept);
        let differ = rows.iter().filter(|row| !row.scores_agree);
        Self {
            default_over: ["published", "heft", "hash"].map(against).to_vec(),
            default_over_optimum: Spread::of(own.filter_map(|row| row.optimum_ratio)),
            worse_than_published: worse.collect(),
            far_from_optimum: far.collect(),
            limits_broken: broken.map(named).collect(),
            scores_differ: differ.map(named).collect(),
        }
    }

    /// Whether what must never be is not.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.worse_than_published.is_empty()
            && self.far_from_optimum.is_empty()
            && self.limits_broken.is_empty()
            && self.scores_differ.is_empty()
    }

    /// For people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let spread = |spread: &Option<Spread>| match spread {
            Some(Spread {
                rows,
                median,
                worst,
            }) => {
                format!("median {median:.3}, worst {worst:.3} of {rows}")
            }
            None => "-".to_owned(),
        };
        for against in &self.default_over {
            writeln!(
                out,
                "default over {:<9}  ccr >= 1: {}; of these, workers alike: {};  in all: {}",
                against.partitioner,
                spread(&against.communicating),
                spread(&against.communicating_alike),
                spread(&against.all)
            )?;
        }
        writeln!(
            out,
            "default over optimum    {}",
            spread(&self.default_over_optimum)
        )?;
        let listed = |names: &[String]| match names {
            [] => String::new(),
            [first] => format!(": {first}"),
            [first, ..] => format!(": {first} and {} more", names.len() - 1),
        };
        let never = if self.worse_than_published.is_empty() {
            "yes"
        } else {
            "no"
        };
        writeln!(
            out,
            "never worse than published: {never}{}",
            listed(&self.worse_than_published)
        )?;
        let near = if self.far_from_optimum.is_empty() {
            "yes"
        } else {
            "no"
        };
        writeln!(
            out,
            "within {OVER_OPTIMUM_MAX} of the optimum: {near}{}",
            listed(&self.far_from_optimum)
        )?;
        let kept = if self.limits_broken.is_empty() {
            "yes"
        } else {
            "no"
        };
        writeln!(out, "limits kept: {kept}{}", listed(&self.limits_broken))?;
        let agree = if self.scores_differ.is_empty() {
            "yes"
        } else {
            "no"
        };
        writeln!(out, "scores agree: {agree}{}", listed(&self.scores_differ))
    }
}

/// The makespan over the lower bound, median and worst, for each family, number of workers and class of communication over
/// computation.
///
/// # Errors
/// Those of `out`.
pub fn write_groups(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    const PARTITIONERS: [&str; 4] = ["hash", "published", "heft", "default"];
    let mut groups: BTreeMap<(&str, usize, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let key = (row.family, row.workers, class(row.ccr));
        groups.entry(key).or_default().push(row);
    }
    write!(
        out,
        "{:<10} {:>7} {:>5} {:>5}",
        "family", "workers", "ccr", "cases"
    )?;
    for name in PARTITIONERS {
        write!(out, " {:>17}", format!("{name} (worst)"))?;
    }
    writeln!(out)?;
    for ((family, workers, class), group) in groups {
        let of = |name: &str| {
            let rows = group.iter().filter(move |row| row.partitioner == name);
            Spread::of(rows.filter_map(|row| row.makespan_ratio))
        };
        let cases = of("default").map_or(0, |spread| spread.rows);
        write!(out, "{family:<10} {workers:>7} {class:>5} {cases:>5}")?;
        for name in PARTITIONERS {
            let told = of(name).map_or_else(
                || "-".to_owned(),
                |spread| format!("{:.2} ({:.2})", spread.median, spread.worst),
            );
            write!(out, " {told:>17}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::partition) fn row(
        graph: &str,
        partitioner: &'static str,
        makespan_ns: f64,
    ) -> Row {
        Row {
            graph: graph.to_owned(),
            family: "layered",
            seed: 0,
            nodes: 10,
            edges: 9,
            workers: 2,
            heterogeneous: false,
            fits_one_worker: false,
            ccr: 1.0,
            partitioner,
            makespan_ns,
            lower_bound_ns: 10.0,
            makespan_ratio: Some(makespan_ns / 10.0),
            optimum_ratio: None,
            crossing_bytes: 0.0,
            first_ms: 0.0,
            time_ms: 0.0,
            peak_bytes: 0,
            steps: 1,
            limits_kept: true,
            scores_agree: true,
        }
    }

    #[test]
    fn a_default_that_is_worse_in_one_case_is_named() {
        let mut rows = vec![
            row("a", "published", 20.0),
            row("a", "default", 15.0),
            row("b", "published", 20.0),
            row("b", "default", 20.0),
        ];
        assert!(Summary::of(&rows).holds());
        rows.extend([row("c", "published", 20.0), row("c", "default", 20.1)]);
        let summary = Summary::of(&rows);
        assert_eq!(summary.worse_than_published, ["c on 2 workers"]);
        assert!(!summary.holds());
        // Above ten thousand nodes the published result is not computed.
        rows.iter_mut().for_each(|row| row.nodes = 10_001);
        assert!(Summary::of(&rows).holds());
    }

    #[test]
    fn a_default_that_is_far_from_the_best_is_named() {
        let mut rows = vec![row("a", "default", 15.0), row("b", "default", 15.0)];
        rows[0].optimum_ratio = Some(OVER_OPTIMUM_MAX);
        assert!(Summary::of(&rows).holds());
        rows[1].optimum_ratio = Some(1.06);
        rows[1].heterogeneous = true;
        // What others come to does not count.
        rows.push(row("c", "hash", 30.0));
        rows[2].optimum_ratio = Some(2.0);
        let summary = Summary::of(&rows);
        assert_eq!(summary.far_from_optimum, ["b on 2 workers, unlike (1.060)"]);
        assert!(!summary.holds());
        let mut text = Vec::new();
        summary.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("within 1.05 of the optimum: no: b on 2 workers, unlike"),
            "{text}"
        );
    }

    #[test]
    fn a_broken_limit_fails_the_whole() {
        let mut rows = vec![row("a", "hash", 20.0)];
        rows[0].limits_kept = false;
        let summary = Summary::of(&rows);
        assert_eq!(summary.limits_broken, ["a on 2 workers by hash"]);
        assert!(!summary.holds());
        let mut text = Vec::new();
        summary.write(&mut text).unwrap();
        assert!(
            String::from_utf8(text)
                .unwrap()
                .contains("limits kept: no: a on 2 workers by hash")
        );
    }

    #[test]
    fn a_score_that_is_not_the_estimators_fails_the_whole() {
        let mut rows = vec![row("a", "hash", 20.0)];
        rows[0].scores_agree = false;
        let summary = Summary::of(&rows);
        assert_eq!(summary.scores_differ, ["a on 2 workers by hash"]);
        assert!(!summary.holds());
    }

    #[test]
    fn ratios_are_parted_by_communication() {
        let mut rows = vec![
            row("a", "published", 20.0),
            row("a", "default", 10.0),
            row("b", "published", 20.0),
            row("b", "default", 20.0),
        ];
        rows[2].ccr = 0.5;
        rows[3].ccr = 0.5;
        let summary = Summary::of(&rows);
        let published = &summary.default_over[0];
        assert_eq!(published.all.unwrap().median, 0.75);
        assert_eq!(published.communicating.unwrap().median, 0.5);
        assert_eq!(class(0.99), "0-1");
        assert_eq!((class(1.0), class(5.0), class(100.0)), ("1-2", "2-8", "8-"));
    }

    #[test]
    fn groups_name_each_partitioner_once() {
        let rows = vec![row("a", "published", 20.0), row("a", "default", 15.0)];
        let mut text = Vec::new();
        write_groups(&rows, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let last = text.lines().last().unwrap();
        let words: Vec<&str> = last.split_whitespace().collect();
        let expected = "layered 2 1-2 1 - 2.00 (2.00) - 1.50 (1.50)";
        assert_eq!(words.join(" "), expected);
    }
}
