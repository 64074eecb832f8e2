//! What the colours, lines and marks of a drawing mean; only those that it has.

use super::lettering::{Letters, escape, shortened, width};
use super::scene::{Line, LineKind, Scene};
use super::{PAGE_MAX, colour};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Height of a row.
pub(super) const ROW_HEIGHT: f64 = 22.0;
/// Longest name of a worker, in characters.
const CHARS_MAX: usize = 34;
/// A row goes on on the next one beyond this width.
const WIDTH_MAX: f64 = 1100.0;

/// A legend, with its upper left corner at 0, 0.
pub(super) struct Legend {
    pub(super) svg: String,
    pub(super) width: f64,
    pub(super) rows: f64,
}

impl Legend {
    pub(super) fn of(scene: &Scene) -> Self {
        let mut legend = Self {
            svg: String::new(),
            width: 0.0,
            rows: 0.0,
        };
        let workers = scene.workers.iter().enumerate().map(|(worker, name)| {
            let swatch = format!(
                "<rect x=\"8\" y=\"0\" width=\"14\" height=\"12\" rx=\"3\" fill=\"{}\" stroke=\"{}\"/>",
                colour::fill(worker),
                colour::frame(worker)
            );
            (swatch, format!("worker {}", shortened(name, CHARS_MAX)))
        });
        legend.row(workers);
        legend.row(lines(scene).into_iter().chain(marks(scene)));
        legend.width += 48.0;
        legend
    }

    /// Adds entries, each a drawing 30 wide and 12 high and what it means, on as many rows as they need.
    fn row(&mut self, entries: impl Iterator<Item = (String, String)>) {
        let mut x = 0.0;
        for (drawing, text) in entries {
            let wide = 60.0 + width(&text, Letters::Note);
            if x == 0.0 || x + wide > WIDTH_MAX {
                x = 0.0;
                self.rows += 1.0;
            }
            let y = (self.rows - 1.0) * ROW_HEIGHT;
            // Writing to a String cannot fail.
            let _ = writeln!(
                self.svg,
                "<g transform=\"translate({x:.1} {y:.1})\">{drawing}<text class=\"legend\" x=\"36\" y=\"10\">{}</text></g>",
                escape(&text)
            );
            x += wide;
            self.width = self.width.max(x);
        }
    }
}

fn lines(scene: &Scene) -> Vec<(String, String)> {
    let used = scene.lines.iter();
    let used: BTreeSet<(LineKind, bool)> = used
        .map(|line| (line.kind, line.crosses.is_some()))
        .collect();
    let line = |(kind, crossing): (LineKind, bool)| {
        let mut text = match kind {
            LineKind::Data if scene.boxes.len() > PAGE_MAX => {
                "data, coloured by where it comes from"
            }
            LineKind::Data => "data",
            LineKind::After => "after: waits, reads nothing",
            LineKind::Case => "case of a switch",
            LineKind::Catch => "after a failure",
        }
        .to_owned();
        if !scene.workers.is_empty() {
            text.push_str(match (crossing, kind) {
                (true, _) => ", between workers",
                (false, LineKind::Data) => ", in shared memory",
                (false, _) => ", within a worker",
            });
        }
        let class = if crossing { " crossing" } else { "" };
        let kind = kind.name();
        (
            format!("<path class=\"edge {kind}{class}\" d=\"M0 6h30\"/>"),
            text,
        )
    };
    used.into_iter().map(line).collect()
}

fn marks(scene: &Scene) -> Vec<(String, String)> {
    let mut marks: Vec<(String, &str)> = Vec::new();
    if scene.lines.iter().any(|line| !line.needed) {
        let arrow =
            "<path class=\"edge data\" marker-end=\"url(#arrow-data-open)\" d=\"M0 6h30\"/>";
        marks.push((arrow.to_owned(), "may be absent"));
    }
    if scene.boxes.iter().any(|one| one.critical > 0) {
        let band = format!(
            "<path class=\"way\" stroke=\"{}\" d=\"M4 6h22\"/>",
            colour::CRITICAL_BAND
        );
        marks.push((band, "critical path: what the end hangs on"));
    }
    if scene.lines.iter().any(|line| line.bytes > 0) {
        let bytes = "<text class=\"legend\" x=\"0\" y=\"10\">n MiB</text>";
        marks.push((bytes.to_owned(), "so much is expected to cross"));
    }
    if scene.boxes.iter().any(|one| one.foreach.is_some()) {
        let sheets = "<rect class=\"legend-box\" x=\"6\" y=\"-2\" width=\"20\" height=\"10\" rx=\"2\"/>\
             <rect class=\"legend-box\" x=\"3\" y=\"1\" width=\"20\" height=\"10\" rx=\"2\"/>";
        marks.push((sheets.to_owned(), "runs for each item of a list"));
    }
    if scene.boxes.iter().any(|one| !one.members.is_empty()) {
        let group = "<text class=\"legend\" font-weight=\"bold\" x=\"4\" y=\"10\">× n</text>";
        marks.push((group.to_owned(), "so many nodes that are alike"));
    }
    if scene.lines.iter().any(|line: &Line| line.share.is_some()) {
        let share = "<text class=\"legend\" x=\"0\" y=\"10\">k of n</text>";
        marks.push((share.to_owned(), "each waits for so many of them"));
    }
    let owned = |(drawing, text): (String, &str)| (drawing, text.to_owned());
    marks.into_iter().map(owned).collect()
}
