//! The drawing is valid XML, its bars lie within the plot, and there are no more of them than can be told apart.

use super::*;
use crate::trace::tests::{answered, part, record};
use engine::trace::{BY_LANE, PartTrace, TraceEnd};

/// The values of an attribute of all elements of that name and class, as numbers.
fn numbers(svg: &str, start: &str, attribute: &str) -> Vec<f64> {
    let elements = svg.split(start).skip(1);
    let value = |element: &str| {
        let element = element.split('>').next().unwrap();
        let value = element.split(&format!(" {attribute}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().parse().unwrap()
    };
    elements.map(value).collect()
}

/// Asserts that tags are closed in turn, and that no character stands bare that must not.
fn assert_xml(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>'), "{text}");
        for reference in text.split('&').skip(1) {
            let name = reference.split(';').next().unwrap();
            assert!(
                ["amp", "lt", "gt", "quot", "apos", "#10"].contains(&name),
                "{text}"
            );
        }
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().unwrap().to_owned());
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

/// Places and widths of bars, in order.
fn bars(svg: &str) -> Vec<(f64, f64)> {
    let bars: String = svg
        .split("<g class=\"bar\">")
        .skip(1)
        .map(|bar| {
            let rect = bar.split("<rect").nth(1).unwrap();
            format!(
                "<rect{}\n",
                rect.split('>').next().unwrap().to_owned() + ">"
            )
        })
        .collect();
    numbers(&bars, "<rect", "x")
        .into_iter()
        .zip(numbers(&bars, "<rect", "width"))
        .collect()
}

fn drawn(parts: Vec<PartTrace>, latency_ns: u64) -> String {
    let svg = write(&Trace::of(
        "a <flow> & \"more\"",
        &answered(parts, latency_ns),
    ));
    assert_xml(&svg);
    for (x, width) in bars(&svg) {
        assert!(x >= LEFT - 0.01 && x + width <= RIGHT + 0.01, "{x} {width}");
    }
    svg
}

#[test]
fn a_bar_stands_for_each_attempt_at_its_time() {
    let mut failed = record(1, Some(1), [0, 500_000, 1_000_000]);
    (failed.end, failed.attempt) = (TraceEnd::Failed, 2);
    let mut lane = record(2, None, [0, 0, 250_000]);
    lane.executor = BY_LANE;
    let svg = drawn(
        vec![part(
            "a",
            1,
            0,
            vec![record(0, None, [0, 0, 500_000]), failed, lane],
        )],
        1_000_000,
    );
    let plot = RIGHT - LEFT;
    let near = |a: f64, b: f64| (a - b).abs() < 0.02;
    let expected = [
        (LEFT, plot / 2.0),
        (LEFT + plot / 2.0, plot / 2.0),
        (LEFT, plot / 4.0),
    ];
    let bars = bars(&svg);
    assert_eq!(bars.len(), 3);
    for (bar, expected) in bars.iter().zip(expected) {
        assert!(
            near(bar.0, expected.0) && near(bar.1, expected.1),
            "{bar:?} {expected:?}"
        );
    }
    assert_eq!(
        svg.matches("<rect class=\"failed\"").count(),
        2,
        "one bar, and the legend"
    );
    for words in [
        "node-1, item 1, attempt 2: failed",
        "executor 0",
        ">lane<",
        "a &lt;flow&gt; &amp; &quot;more&quot;: 1.00 ms",
        "500 µs<",
    ] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
}

#[test]
fn what_failed_timed_out_or_was_cut_off_is_told_apart_without_colours() {
    let ends = [
        TraceEnd::Well,
        TraceEnd::Failed,
        TraceEnd::TimedOut,
        TraceEnd::Running,
    ];
    let records = (0..).zip(ends).map(|(number, end)| {
        let mut one = record(
            0,
            Some(number),
            [0, 250 * u64::from(number), 250 * u64::from(number) + 250],
        );
        one.end = end;
        one
    });
    let records: Vec<_> = records.collect();
    let svg = drawn(vec![part("a", 1, 0, records.clone())], 1_000);
    for class in ["failed", "timed-out", "cut"] {
        let bars = svg.matches(&format!("<rect class=\"{class}\"")).count();
        assert_eq!(bars, 2, "{class}: one bar, and the legend");
        // What fills it is lines, and of each kind other ones.
        assert!(
            svg.contains(&format!(".{class}{{fill:url(#{class})")),
            "{class}"
        );
        assert_eq!(svg.matches(&format!("<pattern id=\"{class}\"")).count(), 1);
    }
    let lines = svg
        .split("<pattern ")
        .skip(1)
        .map(|pattern| pattern.split("d=\"").nth(1).unwrap());
    let lines: std::collections::BTreeSet<&str> =
        lines.map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for words in [
        "item 1: failed",
        "item 2: timed out",
        "item 3: still running",
    ] {
        assert!(svg.contains(words), "{words}: {svg}");
    }
    // Drawn as one they say how many, and the worst is seen.
    let svg = drawn(vec![part("a", 1, 0, records)], 1_000_000);
    assert!(
        svg.contains("4 attempts: node-0 × 4&#10;1 failed&#10;1 timed out&#10;1 still running"),
        "{svg}"
    );
    let marks: Vec<usize> = ["failed", "timed-out", "cut"]
        .map(|class| svg.matches(&format!("<rect class=\"{class}\"")).count())
        .into();
    assert_eq!(marks, [2, 1, 1]);
}

#[test]
fn items_within_items_and_what_is_skipped_are_named() {
    let mut inner = record(0, Some(5), [0, 0, 900]);
    (inner.outer_at, inner.outer_count) = (1, 2);
    let mut skipped = record(1, Some(0), [0; 3]);
    skipped.end = TraceEnd::Skipped;
    let mut part = part("a", 1, 0, vec![inner, skipped, skipped]);
    part.outer = vec![9, 2, 3];
    let svg = drawn(vec![part], 1_000);
    assert!(svg.contains("node-0, item 2/3/5&#10;"), "{svg}");
    assert!(
        svg.contains("<rect class=\"skipped\"") && svg.contains(">node-1 skipped × 2<"),
        "{svg}"
    );
}

#[test]
fn what_waits_is_drawn_only_where_nothing_else_runs() {
    let records = vec![
        record(0, Some(0), [0, 0, 400]),
        record(0, Some(1), [0, 600, 1_000]),
    ];
    let svg = drawn(vec![part("a", 1, 0, records)], 1_000);
    let plot = RIGHT - LEFT;
    let wait = "<rect class=\"wait\"";
    assert_eq!(
        numbers(&svg, wait, "width"),
        [(plot * 0.2 * 100.0).round() / 100.0]
    );
    assert!(
        svg.contains("node-0, item 1 waited 600 ns"),
        "the whole of it is told"
    );
}

#[test]
fn many_thin_bars_become_few_that_tell_how_many_they_are() {
    let count = 50_000;
    let records = (0..count).map(|item| {
        let start = u64::from(item) * 20;
        record(item % 3, Some(item), [0, start, start + 20])
    });
    let svg = drawn(
        vec![part("a", 1, 0, records.collect())],
        u64::from(count) * 20,
    );
    let bars = bars(&svg);
    let most = ((RIGHT - LEFT) / THIN) as usize * 2;
    assert!(bars.len() > 100 && bars.len() <= most, "{}", bars.len());
    let told: usize = svg
        .split("<title>")
        .filter_map(|title| title.split(" attempts: ").next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(told, count as usize);
    assert!(svg.len() < 1 << 20, "{}", svg.len());
}

#[test]
fn rows_and_legend_say_what_they_leave_out() {
    let records = (0..1_000).map(|number| {
        let mut one = record(number, None, [0, 5, 10]);
        one.executor = number;
        one
    });
    let mut parts = vec![
        part("a", 1, 0, records.collect()),
        part("b", 2, 0, Vec::new()),
    ];
    parts[0].dropped = 7;
    let svg = drawn(parts, 10);
    for words in [
        "600 more executors are not shown",
        "and 976 less busy nodes",
        "7 more attempts were not recorded",
        "worker b ≈",
        "clocks differ",
    ] {
        assert!(svg.contains(words), "{words}");
    }
}

#[test]
fn nothing_is_a_drawing_too() {
    drawn(Vec::new(), 0);
    let mut skipped = record(3, None, [0; 3]);
    skipped.end = TraceEnd::Skipped;
    assert!(drawn(vec![part("a", 1, 0, vec![skipped])], 0).contains(">node-3 skipped<"));
}

#[test]
fn the_axis_of_a_span_without_bound_ends() {
    let svg = drawn(
        vec![part("a", 1, 0, vec![record(0, None, [0, 5, u64::MAX])])],
        10,
    );
    let marks = numbers(&svg, "<text class=\"tick\"", "x");
    assert!((2..=12).contains(&marks.len()), "{marks:?}");
}

#[test]
fn marks_of_the_axis_are_round() {
    for (span_ns, step) in [
        (1, 1),
        (11, 1),
        (12, 2),
        (999, 100),
        (2_500_000, 500_000),
        (7_000_000_000, 1_000_000_000),
    ] {
        assert_eq!(step_ns(span_ns), step, "{span_ns}");
    }
    assert!(step_ns(u64::MAX) > 1 << 60);
    assert_eq!(decimal(2_500_000, 1_000_000), "2.5");
    assert_eq!(decimal(50, 1_000), "0.05");
    assert_eq!(decimal(3_000, 1_000), "3");
}
