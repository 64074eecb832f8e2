//! What stands below the plot: nodes by their colours, what marks mean, and what is not drawn.

use super::super::colour;
use super::super::lettering::{escape, shortened};
use super::{BAR_HEIGHT, Mark, NAME_CHARS_MAX, Timeline, WIDTH, plural};
use engine::worker::quantities::duration_text;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Most nodes that ran, and that were skipped, which are named.
const BUSY_MAX: usize = 24;
const SKIPPED_MAX: usize = 12;
const COLUMNS: usize = 3;
const ROW_HEIGHT: f64 = 20.0;
/// Of a bar that shows a mark.
const SAMPLE_WIDTH: f64 = 28.0;

/// Writes all of it from `y` downwards, and moves that below it.
pub(super) fn write(timeline: &Timeline<'_>, svg: &mut String, y: &mut f64, rows_not_shown: usize) {
    let left_out = busy(timeline, svg, y);
    if left_out > 0 {
        let text = format!("and {left_out} less busy node{}", plural(left_out));
        note(svg, y, &text);
    }
    skipped(timeline, svg, y);
    *y += 4.0;
    marks(svg, y);
    if rows_not_shown > 0 {
        let text = format!("{rows_not_shown} more executors are not shown");
        note(svg, y, &text);
    }
    let dropped = timeline.trace.dropped;
    if dropped > 0 {
        let text = format!("{dropped} more attempts were not recorded");
        note(svg, y, &text);
    }
}

/// Nodes by their colours, the busiest if there are many; how many others there are.
fn busy(timeline: &Timeline<'_>, svg: &mut String, y: &mut f64) -> usize {
    let nodes = 0..timeline.trace.nodes.len();
    let mut busy: Vec<(u64, u64, usize)> = nodes.map(|node| (0, 0, node)).collect();
    for attempt in &timeline.trace.attempts {
        let (busy_ns, count, _) = &mut busy[attempt.node];
        *busy_ns = busy_ns.saturating_add(attempt.ended_ns - attempt.started_ns);
        *count += 1;
    }
    busy.retain(|(_, count, _)| *count > 0);
    busy.sort_by_key(|(busy_ns, _, node)| (std::cmp::Reverse(*busy_ns), *node));
    let left_out = busy.len().saturating_sub(BUSY_MAX);
    busy.truncate(BUSY_MAX);
    busy.sort_by_key(|(.., node)| timeline.colours[*node]);
    let entry = |(busy_ns, count, node): &(u64, u64, usize)| {
        let paint = format!("fill=\"{}\"", colour::solid(timeline.colours[*node]));
        (
            paint,
            *node,
            format!("× {count}, {}", duration_text(*busy_ns)),
        )
    };
    table(timeline, svg, y, busy.iter().map(entry));
    left_out
}

/// Nodes that were skipped: a node that runs over a list may be in many items.
fn skipped(timeline: &Timeline<'_>, svg: &mut String, y: &mut f64) {
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    for node in &timeline.trace.skipped {
        *times.entry(*node).or_default() += 1;
    }
    let entry = |(node, times): (&usize, &usize)| {
        let paint = "class=\"skipped\"".to_owned();
        let text = match times {
            1 => "skipped".to_owned(),
            times => format!("skipped × {times}"),
        };
        (paint, *node, text)
    };
    table(timeline, svg, y, times.iter().take(SKIPPED_MAX).map(entry));
    if times.len() > SKIPPED_MAX {
        let more = times.len() - SKIPPED_MAX;
        let text = format!("and {more} more node{} skipped", plural(more));
        note(svg, y, &text);
    }
}

/// Nodes in columns: how their swatch is painted, which they are, and what is said of them.
fn table(
    timeline: &Timeline<'_>,
    svg: &mut String,
    y: &mut f64,
    entries: impl ExactSizeIterator<Item = (String, usize, String)>,
) {
    let column_width = (WIDTH - 48.0) / COLUMNS as f64;
    let rows = entries.len().div_ceil(COLUMNS);
    for (place, (paint, node, text)) in entries.enumerate() {
        let x = 24.0 + column_width * (place % COLUMNS) as f64;
        let row = *y + ROW_HEIGHT * (place / COLUMNS) as f64;
        let name = &timeline.trace.nodes[node];
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<rect {paint} x=\"{x:.1}\" y=\"{row:.1}\" width=\"10\" height=\"10\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{} {}<title>{}</title></text>",
            x + 16.0,
            row + 9.0,
            escape(&shortened(name, NAME_CHARS_MAX)),
            escape(&text),
            escape(name)
        );
    }
    *y += ROW_HEIGHT * rows as f64;
}

/// What is said of an attempt beside its node.
fn marks(svg: &mut String, y: &mut f64) {
    let mut x = 24.0;
    let mut entry = |classes: &[&str], fill: Option<String>, text: &str| {
        for class in classes {
            let fill = fill
                .as_ref()
                .map_or_else(String::new, |fill| format!(" fill=\"{fill}\""));
            let _ = write!(
                svg,
                "<rect class=\"{class}\"{fill} x=\"{x:.1}\" y=\"{:.1}\" width=\"{SAMPLE_WIDTH}\" height=\"{BAR_HEIGHT}\"/>",
                *y - 2.0
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"note\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            x + SAMPLE_WIDTH + 6.0,
            *y + 9.0
        );
        x += SAMPLE_WIDTH + 36.0 + 6.0 * text.chars().count() as f64;
    };
    entry(&["sample"], Some(colour::shade(0)), "waits (a light bar)");
    for mark in Mark::ALL {
        entry(&["sample", mark.class()], None, mark.meaning());
    }
    *y += ROW_HEIGHT;
}

fn note(svg: &mut String, y: &mut f64, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"note\" x=\"24\" y=\"{:.1}\">{}</text>",
        *y + 9.0,
        escape(text)
    );
    *y += ROW_HEIGHT;
}
