//! Links that were measured, and how few words describe them: what lies between any two workers, and those that differ.

use super::{DISPATCH_NS, Link};
use crate::feedback::rewrite::number;
use std::collections::HashMap;

/// Figures that differ by less count as the same: so much, as a share of the smaller one.
const SAME_SHARE: f64 = 0.1;
/// And latencies that differ by no more than what it takes to dispatch an activation.
const SAME_LATENCY_NS: f64 = DISPATCH_NS;
/// What a cluster file may say of a link: MiB a second, and microseconds.
const MIB_PER_S: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;
const LATENCY_US_MAX: f64 = 60_000_000.0;
const MIB: f64 = 1_048_576.0;

/// The link from one worker to another, as it was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct MeasuredLink {
    /// The worker that sent.
    pub from: String,
    /// The worker that received.
    pub to: String,
    /// What lies between them.
    pub link: Link,
    /// Round trips that its latency was taken from.
    pub round_trips: u32,
    /// Bytes that its bandwidth was taken from.
    pub bytes: u64,
}

/// The link that is taken for all of which nothing else is said: of both figures the median, the lower one of two in the
/// middle; none if nothing was measured.
#[must_use]
pub fn median_link(measured: &[MeasuredLink]) -> Option<Link> {
    let median = |of: fn(&Link) -> f64| {
        let mut all: Vec<f64> = measured.iter().map(|one| of(&one.link)).collect();
        all.sort_unstable_by(f64::total_cmp);
        all.get(all.len().saturating_sub(1) / 2).copied()
    };
    Some(Link {
        bytes_per_s: median(|link| link.bytes_per_s)?,
        latency_ns: median(|link| link.latency_ns)?,
    })
}

/// Which ways a link is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ways {
    /// Both.
    Both,
    /// From the first worker to the second.
    There,
}

/// A link that differs from the others.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Listed<'a> {
    pub(super) ends: (&'a str, &'a str),
    pub(super) ways: Ways,
    pub(super) link: Link,
}

/// The links that differ from `others`, in the order in which they were measured: both ways of a pair in one if they are alike.
pub(super) fn listed(measured: &[MeasuredLink], others: Link) -> Vec<Listed<'_>> {
    let by_ends: HashMap<(&str, &str), Link> = measured
        .iter()
        .map(|one| ((one.from.as_str(), one.to.as_str()), one.link))
        .collect();
    let mut listed = Vec::new();
    for (place, one) in measured.iter().enumerate() {
        let ends = (one.from.as_str(), one.to.as_str());
        let back_ends = (ends.1, ends.0);
        let back = by_ends
            .get(&back_ends)
            .filter(|back| same(one.link, **back));
        let is_told = measured[..place]
            .iter()
            .any(|before| (before.from.as_str(), before.to.as_str()) == back_ends);
        let (ways, link) = match back {
            Some(_) if is_told => continue,
            Some(back) => (Ways::Both, mean(one.link, *back)),
            None => (Ways::There, one.link),
        };
        // Their mean may be like others where one of them is not.
        let all = [Some(&one.link), back];
        if !all.into_iter().flatten().all(|link| same(*link, others)) {
            listed.push(Listed { ends, ways, link });
        }
    }
    listed
}

fn mean(a: Link, b: Link) -> Link {
    Link {
        bytes_per_s: (a.bytes_per_s + b.bytes_per_s) / 2.0,
        latency_ns: (a.latency_ns + b.latency_ns) / 2.0,
    }
}

/// Whether two links are the same but for what differs from one measurement to the next.
fn same(a: Link, b: Link) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() <= a.min(b) * SAME_SHARE;
    close(a.bytes_per_s, b.bytes_per_s)
        && (close(a.latency_ns, b.latency_ns)
            || (a.latency_ns - b.latency_ns).abs() <= SAME_LATENCY_NS)
}

/// A link's bandwidth in MiB a second, as files and tables have it: four digits.
#[must_use]
pub fn mib_per_s_text(link: Link) -> String {
    number((link.bytes_per_s / MIB).clamp(*MIB_PER_S.start(), *MIB_PER_S.end()))
}

/// Its latency in microseconds, as files and tables have it: four digits.
#[must_use]
pub fn latency_us_text(link: Link) -> String {
    number((link.latency_ns / 1e3).clamp(0.0, LATENCY_US_MAX))
}

/// The same of its bandwidth in bytes a second.
pub(super) fn bytes_per_s_text(link: Link) -> String {
    let bytes_per_s = link.bytes_per_s / MIB;
    let mib_per_s = bytes_per_s.clamp(*MIB_PER_S.start(), *MIB_PER_S.end());
    format!("{:.0}", mib_per_s * MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(all: &[(&str, &str, f64, f64)]) -> Vec<MeasuredLink> {
        let one = |(from, to, mib_per_s, latency_us): &(&str, &str, f64, f64)| MeasuredLink {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            link: Link {
                bytes_per_s: mib_per_s * MIB,
                latency_ns: latency_us * 1e3,
            },
            round_trips: 1,
            bytes: 1,
        };
        all.iter().map(one).collect()
    }

    fn shown(listed: &[Listed<'_>]) -> Vec<String> {
        let one = |one: &Listed<'_>| {
            let arrow = match one.ways {
                Ways::Both => "↔",
                Ways::There => "→",
            };
            let (from, to) = one.ends;
            format!(
                "{from} {arrow} {to} {} {}",
                mib_per_s_text(one.link),
                latency_us_text(one.link)
            )
        };
        listed.iter().map(one).collect()
    }

    #[test]
    fn the_median_stands_for_most_and_those_that_differ_are_listed() {
        let all = measured(&[
            ("a", "b", 100.0, 80.0),
            ("b", "a", 104.0, 83.0),
            ("a", "c", 98.0, 79.0),
            ("c", "a", 100.0, 80.0),
            ("b", "c", 10.0, 900.0),
            ("c", "b", 10.4, 940.0),
        ]);
        let median = median_link(&all).unwrap();
        assert_eq!(
            (mib_per_s_text(median), latency_us_text(median)),
            ("98".to_owned(), "80".to_owned())
        );
        assert_eq!(shown(&listed(&all, median)), ["b ↔ c 10.2 920"]);
        assert_eq!(median_link(&[]), None);
    }

    #[test]
    fn ways_that_differ_are_listed_one_by_one_and_no_other_way() {
        let all = measured(&[("a", "b", 100.0, 80.0), ("b", "a", 5.0, 80.0)]);
        let median = median_link(&all).unwrap();
        assert_eq!(mib_per_s_text(median), "5");
        assert_eq!(shown(&listed(&all, median)), ["a → b 100 80"]);
        // Latency alone tells them apart, too.
        let all = measured(&[("a", "b", 100.0, 80.0), ("b", "a", 100.0, 200.0)]);
        let median = median_link(&all).unwrap();
        assert_eq!(shown(&listed(&all, median)), ["b → a 100 200"]);
    }

    #[test]
    fn a_way_that_differs_is_listed_though_both_ways_together_do_not() {
        let all = measured(&[
            ("a", "b", 100.0, 80.0),
            ("b", "a", 100.0, 80.0),
            ("a", "c", 100.0, 80.0),
            ("c", "a", 100.0, 80.0),
            ("b", "c", 87.0, 80.0),
            ("c", "b", 95.0, 80.0),
        ]);
        let median = median_link(&all).unwrap();
        assert_eq!(mib_per_s_text(median), "100");
        assert_eq!(shown(&listed(&all, median)), ["b ↔ c 91 80"]);
    }

    #[test]
    fn a_few_microseconds_make_no_difference() {
        let all = measured(&[("a", "b", 100.0, 20.0), ("b", "a", 100.0, 29.9)]);
        assert_eq!(shown(&listed(&all, median_link(&all).unwrap())), [""; 0]);
    }
}
