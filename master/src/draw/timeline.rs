//! A timeline: a row for each executor of each worker and one for its lane, a bar for each attempt.
//!
//! However many attempts there are, the drawing has a bounded number of shapes: neighbours that are too thin to be told
//! apart become one bar, which tells how many it stands for, and rows and legend have limits that say what they left out.

mod axis;
mod legend;

use super::colour;
use super::lettering::{escape, escape_lines, shortened};
use crate::trace::{Aligned, Attempt, End, Trace};
use axis::{decimal, step_ns, unit};
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
/// Neighbours that are together narrower than this are one bar.
const THIN: f64 = 2.0;
/// Least width that a bar is drawn with.
const BAR_WIDTH_MIN: f64 = 1.0;
/// Most rows that are drawn, and nodes that are named of a bar that stands for several attempts.
const ROWS_MAX: usize = 400;
const SHARES_MAX: usize = 12;
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
.sample{fill:#c9d6e4}\
.failed{fill:url(#failed);stroke:#c62828;stroke-width:1.5}\
.timed-out{fill:url(#timed-out);stroke:#c62828;stroke-width:1.5}\
.cut{fill:url(#cut);stroke:#1c2530;stroke-width:1;stroke-dasharray:3 2}\
.skipped{fill:none;stroke:#5b6672;stroke-dasharray:2 2}\
.bar:hover{stroke:#1c2530;stroke-width:1.5}";

/// What marks are made of, told apart by their lines and not by colour alone: crosses, slanting lines, upright lines.
const PATTERNS: &str = "\
<defs><pattern id=\"failed\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\">\
<path d=\"M0 0L7 7M7 0L0 7\" stroke=\"#c62828\" stroke-width=\"1.3\"/></pattern>\
<pattern id=\"timed-out\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\">\
<path d=\"M-1 1L1 -1M0 7L7 0M6 8L8 6\" stroke=\"#c62828\" stroke-width=\"2\"/></pattern>\
<pattern id=\"cut\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
<path d=\"M2.5 0V5\" stroke=\"#1c2530\" stroke-width=\"1\"/></pattern></defs>\n";

/// How an attempt ended that did not end well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Failed,
    TimedOut,
    Cut,
}

impl Mark {
    const ALL: [Self; 3] = [Self::Failed, Self::TimedOut, Self::Cut];

    const fn of(end: End) -> Option<Self> {
        match end {
            End::Well => None,
            End::Failed => Some(Self::Failed),
            End::TimedOut => Some(Self::TimedOut),
            End::Running => Some(Self::Cut),
        }
    }

    /// Of several, the one that a bar wears which stands for all.
    fn of_all(attempts: &[&Attempt]) -> Option<Self> {
        let any = |mark: &Self| attempts.iter().any(|one| Self::of(one.end) == Some(*mark));
        Self::ALL.into_iter().find(any)
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cut => "cut",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cut => "still running when the invocation was over",
        }
    }
}

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
        legend::write(self, &mut notes, &mut below, not_shown);
        let height = below + 8.0;
        let title = escape(&self.title());
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH:.0} {height:.0}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n{PATTERNS}\
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
                "{} attempts: {}{}\nfrom {} to {}",
                bar.attempts.len(),
                each.collect::<Vec<_>>().join(", "),
                ends_text(&bar.attempts),
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
        if let Some(mark) = Mark::of_all(&bar.attempts) {
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{from:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" height=\"{BAR_HEIGHT}\"/>",
                mark.class()
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
        shares.truncate(SHARES_MAX);
        shares
    }

    fn called(&self, attempt: &Attempt) -> String {
        let name = &self.trace.nodes[attempt.node];
        let items = attempt.items_text();
        let item = items.map_or_else(String::new, |items| format!(", item {items}"));
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
}

/// How many of several attempts did not end well, and how.
fn ends_text(attempts: &[&Attempt]) -> String {
    let mut text = String::new();
    for mark in Mark::ALL {
        let marked = attempts
            .iter()
            .filter(|one| Mark::of(one.end) == Some(mark));
        match marked.count() {
            0 => {}
            count => {
                let _ = write!(text, "\n{count} {}", mark.meaning());
            }
        }
    }
    text
}

fn name_of(executor: Option<u32>) -> String {
    executor.map_or_else(|| "lane".to_owned(), |number| format!("executor {number}"))
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests;
