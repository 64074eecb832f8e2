//! A timeline: a row for each executor of each worker and one for its lane, a bar for each attempt.
//!
//! However many attempts there are, the drawing has a bounded number of shapes: neighbours that are too thin to be told
//! apart become one bar, which tells how many it stands for, and rows and legend have limits that say what they left out.

use super::colour;
use super::lettering::{escape, escape_lines, shortened};
use crate::trace::{Aligned, Attempt, End, Trace};
use engine::worker::quantities::duration_text;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The drawing's width, and where its plot begins and ends, in pixels.
const WIDTH: f64 = 1240.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 1210.0;
/// Heights: above the first row, of a worker's heading, of a row, and of the bar in it.
const HEADING: f64 = 92.0;
const WORKER_HEIGHT: f64 = 26.0;
const ROW_HEIGHT: f64 = 20.0;
const BAR_HEIGHT: f64 = 14.0;
/// Of the band that marks a bar as failed.
const BAND_HEIGHT: f64 = 4.0;
/// Neighbours that are together narrower than this are one bar.
const THIN: f64 = 2.0;
/// Least width that a bar is drawn with.
const BAR_WIDTH_MIN: f64 = 1.0;
/// About how many marks the axis has at most.
const TICKS_MAX: u64 = 12;
/// Most rows, entries of the legend, and names of skipped nodes that are drawn.
const ROWS_MAX: usize = 400;
const LEGEND_MAX: usize = 24;
const SKIPPED_MAX: usize = 12;
/// Columns of the legend.
const LEGEND_COLUMNS: usize = 3;
const LEGEND_ROW: f64 = 20.0;
/// Longest name that is drawn, in characters; tooltips have all of it.
const NAME_CHARS_MAX: usize = 26;

const STYLE: &str = "\
text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:11px;fill:#1c2530}\
.title{font-size:17px;font-weight:bold}\
.note,.tick{fill:#4a5562}\
.worker{font-size:12px;font-weight:bold}\
.grid{stroke:#dfe3e8;stroke-width:1}\
.row{fill:#f6f7f9}\
.end{stroke:#1c2530;stroke-width:1;stroke-dasharray:4 3}\
.failed{fill:#c62828}\
.cut{fill:#5b6672}\
.bar:hover{stroke:#1c2530;stroke-width:1.5}";

/// A row: an executor of a worker, or its lane, and what ran there in the order of its starts.
struct Row<'a> {
    executor: Option<u32>,
    attempts: Vec<&'a Attempt>,
}

/// One attempt, or several that are too thin to be told apart.
struct Bar<'a> {
    attempts: Vec<&'a Attempt>,
    /// From when it waited: not before the bar to its left ended.
    waits_ns: u64,
    from_ns: u64,
    to_ns: u64,
}

/// Draws a trace as SVG.
pub(super) fn write(trace: &Trace) -> String {
    let timeline = Timeline {
        trace,
        colours: colours(trace),
        span_ns: trace.span_ns().max(1),
    };
    timeline.write()
}

/// By node: the number of its colour. Nodes that start one after the other get colours that lie apart.
fn colours(trace: &Trace) -> Vec<usize> {
    let mut colours = vec![usize::MAX; trace.nodes.len()];
    let mut next = 0;
    for attempt in &trace.attempts {
        let colour = &mut colours[attempt.node];
        if *colour == usize::MAX {
            *colour = next;
            next += 1;
        }
    }
    colours
}

struct Timeline<'a> {
    trace: &'a Trace,
    colours: Vec<usize>,
    span_ns: u64,
}

impl Timeline<'_> {
    fn x(&self, time_ns: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (time_ns.min(self.span_ns) as f64 / self.span_ns as f64)
    }

    fn write(&self) -> String {
        let mut body = String::new();
        let mut y = HEADING;
        let mut left = ROWS_MAX;
        let mut not_shown = 0;
        for worker in 0..self.trace.workers.len() {
            let rows = self.rows(worker);
            let shown = rows.len().min(left);
            left -= shown;
            not_shown += rows.len() - shown;
            self.worker(&mut body, worker, y);
            y += WORKER_HEIGHT;
            for row in &rows[..shown] {
                self.row(&mut body, worker, row, y);
                y += ROW_HEIGHT;
            }
        }
        let bottom = y + 4.0;
        let mut svg = String::new();
        let mut below = bottom + 22.0;
        let mut notes = String::new();
        self.legend(&mut notes, &mut below);
        self.notes(&mut notes, &mut below, not_shown);
        let height = below + 8.0;
        let title = escape(&self.title());
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH:.0} {height:.0}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text class=\"title\" x=\"24\" y=\"30\">{title}</text>\n<text class=\"note\" x=\"24\" y=\"50\">{}</text>\n",
            escape(&self.subtitle())
        );
        self.axis(&mut svg, bottom);
        svg.push_str(&body);
        let answered = self.x(self.trace.latency_ns);
        let _ = writeln!(
            svg,
            "<line class=\"end\" x1=\"{answered:.1}\" y1=\"{:.1}\" x2=\"{answered:.1}\" y2=\"{bottom:.1}\"><title>answered \
             after {}</title></line>",
            HEADING - 4.0,
            duration_text(self.trace.latency_ns)
        );
        svg.push_str(&notes);
        svg.push_str("</svg>\n");
        svg
    }

    fn title(&self) -> String {
        let Trace {
            workflow,
            latency_ns,
            ..
        } = self.trace;
        format!("{workflow}: {}", duration_text(*latency_ns))
    }

    fn subtitle(&self) -> String {
        let (attempts, workers) = (self.trace.attempts.len(), self.trace.workers.len());
        let clocks = match self.trace.aligned() {
            _ if workers < 2 => "",
            Aligned::Clock => "; times are of one clock",
            Aligned::Beginning => {
                "; clocks differ: each worker marked ≈ is aligned at its own beginning"
            }
        };
        format!(
            "invocation {}: {attempts} attempt{} on {workers} worker{}{clocks}",
            self.trace.invocation,
            plural(attempts),
            plural(workers)
        )
    }

    /// Marks with their units, and lines through all rows.
    fn axis(&self, svg: &mut String, bottom: f64) {
        let step_ns = step_ns(self.span_ns);
        let (unit_ns, unit) = unit(self.span_ns);
        // Times are what workers say: the step beyond the last mark may be beyond all numbers.
        let next = |time_ns: &u64| time_ns.checked_add(step_ns);
        for time_ns in std::iter::successors(Some(0), next) {
            if time_ns > self.span_ns {
                break;
            }
            let x = self.x(time_ns);
            let text = decimal(time_ns, unit_ns);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text} {unit}</text>",
                HEADING - 8.0,
                HEADING - 12.0
            );
        }
    }

    fn worker(&self, svg: &mut String, worker: usize, y: f64) {
        let shown = &self.trace.workers[worker];
        let mark = match shown.aligned {
            Aligned::Clock => "",
            Aligned::Beginning => " ≈",
        };
        let _ = writeln!(
            svg,
            "<text class=\"worker\" x=\"24\" y=\"{:.1}\">worker {}{mark}<title>{}</title></text>",
            y + 18.0,
            escape(&shortened(&shown.name, NAME_CHARS_MAX)),
            escape(&shown.name)
        );
    }

    fn rows(&self, worker: usize) -> Vec<Row<'_>> {
        // The lane comes last: most look for executors.
        let mut rows: BTreeMap<(bool, Option<u32>), Vec<&Attempt>> = BTreeMap::new();
        let own = self
            .trace
            .attempts
            .iter()
            .filter(|attempt| attempt.worker == worker);
        for attempt in own {
            let row = (attempt.executor.is_none(), attempt.executor);
            rows.entry(row).or_default().push(attempt);
        }
        let row = |((_, executor), attempts)| Row { executor, attempts };
        rows.into_iter().map(row).collect()
    }

    fn row(&self, svg: &mut String, worker: usize, row: &Row<'_>, y: f64) {
        let name = name_of(row.executor);
        let _ = writeln!(
            svg,
            "<rect class=\"row\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            RIGHT - LEFT,
            ROW_HEIGHT - 2.0,
            LEFT - 8.0,
            y + 13.0
        );
        let bars = self.bars(&row.attempts);
        let top = y + (ROW_HEIGHT - 2.0 - BAR_HEIGHT) / 2.0;
        for bar in &bars {
            self.wait(svg, bar, top);
        }
        // Thin ones last: otherwise a wide one right behind would hide them.
        let width = |bar: &Bar<'_>| self.x(bar.to_ns) - self.x(bar.from_ns);
        let (thin, wide): (Vec<_>, Vec<_>) = bars.iter().partition(|bar| width(bar) < THIN);
        for bar in wide.into_iter().chain(thin) {
            self.bar(svg, worker, row.executor, bar, top);
        }
    }

    fn bars<'b>(&self, attempts: &[&'b Attempt]) -> Vec<Bar<'b>> {
        let mut bars: Vec<Bar<'b>> = Vec::new();
        for attempt in attempts {
            let free_ns = bars.last().map_or(0, |bar| bar.to_ns);
            let fits = |bar: &&mut Bar<'_>| self.x(attempt.ended_ns) - self.x(bar.from_ns) < THIN;
            if let Some(bar) = bars.last_mut().filter(fits) {
                bar.to_ns = bar.to_ns.max(attempt.ended_ns);
                bar.attempts.push(attempt);
            } else {
                bars.push(Bar {
                    attempts: vec![attempt],
                    waits_ns: attempt.ready_ns.max(free_ns).min(attempt.started_ns),
                    from_ns: attempt.started_ns,
                    to_ns: attempt.ended_ns,
                });
            }
        }
        bars
    }

    fn wait(&self, svg: &mut String, bar: &Bar<'_>, top: f64) {
        let (from, to) = (self.x(bar.waits_ns), self.x(bar.from_ns));
        if to - from < BAR_WIDTH_MIN / 2.0 {
            return;
        }
        let first = bar.attempts[0];
        let _ = writeln!(
            svg,
            "<rect class=\"wait\" x=\"{from:.2}\" y=\"{top:.1}\" width=\"{:.2}\" height=\"{BAR_HEIGHT}\" fill=\"{}\">\
             <title>{} waited {}</title></rect>",
            to - from,
            colour::shade(self.colours[first.node]),
            escape(&self.called(first)),
            duration_text(first.started_ns - first.ready_ns)
        );
    }

    fn bar(&self, svg: &mut String, worker: usize, executor: Option<u32>, bar: &Bar<'_>, top: f64) {
        let width = (self.x(bar.to_ns) - self.x(bar.from_ns)).max(BAR_WIDTH_MIN);
        let from = self.x(bar.from_ns).min(RIGHT - width);
        let shared = self.shares(bar);
        let node = shared.first().map_or(0, |(node, _)| *node);
        let title = if let [attempt] = bar.attempts[..] {
            self.attempt_title(attempt)
        } else {
            let each = shared
                .iter()
                .map(|(node, count)| format!("{} × {count}", self.trace.nodes[*node]));
            format!(
                "{} attempts: {}\nfrom {} to {}",
                bar.attempts.len(),
                each.collect::<Vec<_>>().join(", "),
                duration_text(bar.from_ns),
                duration_text(bar.to_ns)
            )
        };
        let place = format!(
            "{} of worker {}",
            name_of(executor),
            self.trace.workers[worker].name
        );
        let _ = write!(
            svg,
            "<g class=\"bar\"><title>{}</title><rect x=\"{from:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" \
             height=\"{BAR_HEIGHT}\" fill=\"{}\"/>",
            escape_lines(&format!("{title}\n{place}")),
            colour::solid(self.colours[node])
        );
        if let Some(class) = mark(&bar.attempts) {
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{from:.2}\" y=\"{:.1}\" width=\"{width:.2}\" height=\"{BAND_HEIGHT}\"/>",
                top + BAR_HEIGHT - BAND_HEIGHT
            );
        }
        svg.push_str("</g>\n");
    }

    /// How many of a bar's attempts are of which node, the most first.
    fn shares(&self, bar: &Bar<'_>) -> Vec<(usize, usize)> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for attempt in &bar.attempts {
            *counts.entry(attempt.node).or_default() += 1;
        }
        let mut shares: Vec<(usize, usize)> = counts.into_iter().collect();
        shares.sort_by_key(|(node, count)| (std::cmp::Reverse(*count), *node));
        shares.truncate(SKIPPED_MAX);
        shares
    }

    fn called(&self, attempt: &Attempt) -> String {
        let name = &self.trace.nodes[attempt.node];
        let item = attempt
            .item
            .map_or_else(String::new, |item| format!(", item {item}"));
        let number = if attempt.number > 1 {
            format!(", attempt {}", attempt.number)
        } else {
            String::new()
        };
        format!("{name}{item}{number}")
    }

    fn attempt_title(&self, attempt: &Attempt) -> String {
        let end = match attempt.end {
            End::Well => String::new(),
            end => format!(": {}", end.name()),
        };
        format!(
            "{}{end}\nstarted at {}, ran {}, had waited {}",
            self.called(attempt),
            duration_text(attempt.started_ns),
            duration_text(attempt.ended_ns - attempt.started_ns),
            duration_text(attempt.started_ns - attempt.ready_ns)
        )
    }

    /// Nodes by their colours, the busiest first if there are many; and what marks mean.
    fn legend(&self, svg: &mut String, y: &mut f64) {
        let mut busy: Vec<(u64, u64, usize)> = (0..self.trace.nodes.len())
            .map(|node| (0, 0, node))
            .collect();
        for attempt in &self.trace.attempts {
            let (busy_ns, count, _) = &mut busy[attempt.node];
            *busy_ns = busy_ns.saturating_add(attempt.ended_ns - attempt.started_ns);
            *count += 1;
        }
        busy.retain(|(_, count, _)| *count > 0);
        busy.sort_by_key(|(busy_ns, _, node)| (std::cmp::Reverse(*busy_ns), *node));
        let left_out = busy.len().saturating_sub(LEGEND_MAX);
        busy.truncate(LEGEND_MAX);
        busy.sort_by_key(|(.., node)| self.colours[*node]);
        let column_width = (WIDTH - 48.0) / LEGEND_COLUMNS as f64;
        for (place, (busy_ns, count, node)) in busy.iter().enumerate() {
            let x = 24.0 + column_width * (place % LEGEND_COLUMNS) as f64;
            let row = *y + LEGEND_ROW * (place / LEGEND_COLUMNS) as f64;
            let name = &self.trace.nodes[*node];
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{row:.1}\" width=\"10\" height=\"10\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{} × {count}, {}<title>{}</title></text>",
                colour::solid(self.colours[*node]),
                x + 16.0,
                row + 9.0,
                escape(&shortened(name, NAME_CHARS_MAX)),
                duration_text(*busy_ns),
                escape(name)
            );
        }
        *y += LEGEND_ROW * busy.len().div_ceil(LEGEND_COLUMNS) as f64;
        if left_out > 0 {
            note(
                svg,
                y,
                &format!("and {left_out} less busy node{}", plural(left_out)),
            );
        }
        *y += 4.0;
        let _ = writeln!(
            svg,
            "<rect x=\"24\" y=\"{0:.1}\" width=\"10\" height=\"10\" fill=\"{1}\"/><text class=\"note\" x=\"40\" y=\"{2:.1}\">waits \
             (a light bar)</text><rect class=\"failed\" x=\"160\" y=\"{3:.1}\" width=\"10\" height=\"{BAND_HEIGHT}\"/>\
             <text class=\"note\" x=\"176\" y=\"{2:.1}\">failed</text><rect class=\"cut\" x=\"240\" y=\"{3:.1}\" width=\"10\" \
             height=\"{BAND_HEIGHT}\"/><text class=\"note\" x=\"256\" y=\"{2:.1}\">still running at the end</text>",
            *y,
            colour::shade(0),
            *y + 9.0,
            *y + 6.0
        );
        *y += LEGEND_ROW;
    }

    /// What is not drawn.
    fn notes(&self, svg: &mut String, y: &mut f64, rows_not_shown: usize) {
        // A node that runs over a list may be skipped in many items.
        let mut skipped: Vec<(usize, usize)> = Vec::new();
        for node in &self.trace.skipped {
            match skipped.iter_mut().find(|(known, _)| known == node) {
                Some((_, times)) => *times += 1,
                None => skipped.push((*node, 1)),
            }
        }
        if !skipped.is_empty() {
            let name = |(node, times): &(usize, usize)| {
                let name = shortened(&self.trace.nodes[*node], NAME_CHARS_MAX);
                if *times > 1 {
                    format!("{name} × {times}")
                } else {
                    name
                }
            };
            let mut names: Vec<String> = skipped.iter().take(SKIPPED_MAX).map(name).collect();
            if skipped.len() > SKIPPED_MAX {
                names.push(format!("and {} more", skipped.len() - SKIPPED_MAX));
            }
            note(svg, y, &format!("skipped: {}", names.join(", ")));
        }
        if rows_not_shown > 0 {
            note(
                svg,
                y,
                &format!("{rows_not_shown} more executors are not shown"),
            );
        }
        if self.trace.dropped > 0 {
            note(
                svg,
                y,
                &format!("{} more attempts were not recorded", self.trace.dropped),
            );
        }
    }
}

fn note(svg: &mut String, y: &mut f64, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"note\" x=\"24\" y=\"{:.1}\">{}</text>",
        *y + 9.0,
        escape(text)
    );
    *y += LEGEND_ROW;
}

/// What a bar is marked as, if anything.
fn mark(attempts: &[&Attempt]) -> Option<&'static str> {
    let any = |ends: &[End]| attempts.iter().any(|attempt| ends.contains(&attempt.end));
    if any(&[End::Failed]) {
        Some("failed")
    } else if any(&[End::Running]) {
        Some("cut")
    } else {
        None
    }
}

fn name_of(executor: Option<u32>) -> String {
    executor.map_or_else(|| "lane".to_owned(), |number| format!("executor {number}"))
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// From one mark of the axis to the next: 1, 2 or 5 of a power of ten.
fn step_ns(span_ns: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for times in [1, 2, 5] {
            let step_ns = power.saturating_mul(times);
            if span_ns / step_ns < TICKS_MAX {
                return step_ns;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn unit(span_ns: u64) -> (u64, &'static str) {
    match span_ns {
        0..2_000 => (1, "ns"),
        2_000..2_000_000 => (1_000, "µs"),
        2_000_000..2_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    }
}

/// `time_ns` in units, with as many decimals as it has.
fn decimal(time_ns: u64, unit_ns: u64) -> String {
    let (whole, rest) = (time_ns / unit_ns, time_ns % unit_ns);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit_ns.ilog10() as usize;
    let text = format!("{whole}.{rest:0digits$}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests;
