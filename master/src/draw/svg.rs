//! The drawing.

use super::colour;
use super::layout::{Layout, Link, Point, Rect, Size, Step, Way, lay_out};
use super::scene::{Line, LineKind, Scene, SceneBox, Shape};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Longest text in a box, in characters; all of it shows when the box is pointed at.
const CHARS_MAX: usize = 34;
/// With more boxes than this each says its name alone; the rest shows when it is pointed at.
const WITH_NOTES_MAX: usize = 120;
/// About how wide a character is, in pixels: names in bold, and the small rest.
const NAME_CHAR: f64 = 7.6;
const NOTE_CHAR: f64 = 6.1;
/// Between a box's frame and its text.
const PADDING: f64 = 10.0;
const NAME_HEIGHT: f64 = 17.0;
const NOTE_HEIGHT: f64 = 13.0;
const PORT_HEIGHT: f64 = 15.0;
/// By how much the sheets behind a foreach node stick out.
const SHEET: f64 = 3.0;
/// Heading, and each line of the legend.
const HEADING_HEIGHT: f64 = 40.0;
const LEGEND_HEIGHT: f64 = 22.0;
/// Least width, so that heading and legend fit.
const WIDTH_MIN: f64 = 420.0;

const STYLE: &str = "\
text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#1c2530}\
.title{font-size:17px;font-weight:bold}\
.name{font-size:12px;font-weight:bold}\
.note,.port,.legend{font-size:10px}\
.note{fill:#4a5562}\
.badge{font-size:9px;font-weight:bold;fill:#ffffff}\
.box{stroke-width:1.3}\
.opening{fill:#eef0f2;stroke:#8a94a0}\
.edge{fill:none;stroke-width:1.3}\
.data{stroke:#5b6672}\
.after{stroke:#8a94a0;stroke-dasharray:5 4}\
.case{stroke:#7a3fb5}\
.catch{stroke:#c62828;stroke-dasharray:2 3}\
.crossing{stroke-width:2.6}\
.data.crossing{stroke:#d9660b}\
.edge:hover{stroke-width:4}";

/// A box as it is drawn.
struct Face {
    size: Size,
    /// By port: how far below the middle it is.
    ports: Vec<f64>,
    name: String,
    notes: Vec<String>,
}

pub(super) fn write(scene: &Scene) -> String {
    let faces: Vec<Face> = scene.boxes.iter().map(|one| face(scene, one)).collect();
    let sizes: Vec<Size> = faces.iter().map(|face| face.size).collect();
    let link = |line: &Line| Link {
        from: line.from,
        to: line.to,
        exit: line.port.map_or(0.0, |port| faces[line.from].ports[port]),
        class: line.kind as usize * 2 + usize::from(line.crosses.is_some()),
    };
    let links: Vec<Link> = scene.lines.iter().map(link).collect();
    let layout = lay_out(&sizes, &links);
    let legend = legend(scene);
    let width = layout.width.max(WIDTH_MIN).max(legend.width);
    let height = HEADING_HEIGHT + layout.height + LEGEND_HEIGHT * legend.rows;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}</style>\n<defs>"
    );
    for (kind, colour) in ARROWS {
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<marker id=\"arrow-{kind}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{colour}\"/></marker>"
        );
    }
    let _ = write!(
        svg,
        "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"title\" x=\"24\" y=\"30\">{}</text>\n<g transform=\"translate(0 {HEADING_HEIGHT})\">\n",
        escape(&scene.title)
    );
    edges(&mut svg, scene, &layout);
    for ((one, face), rect) in scene.boxes.iter().zip(&faces).zip(&layout.boxes) {
        draw_box(
            &mut svg,
            scene,
            one,
            face,
            fitted(one.shape, *rect, face.size.width),
        );
    }
    let _ = write!(
        svg,
        "</g>\n<g transform=\"translate(24 {:.1})\">\n{}</g>\n</svg>\n",
        HEADING_HEIGHT + layout.height,
        legend.svg
    );
    svg
}

/// Ends of edges, by what kind they are of.
const ARROWS: [(&str, &str); 5] = [
    ("data", "#5b6672"),
    ("after", "#8a94a0"),
    ("case", "#7a3fb5"),
    ("catch", "#c62828"),
    ("crossing", "#d9660b"),
];

fn face(scene: &Scene, one: &SceneBox) -> Face {
    let name = shortened(&one.name, CHARS_MAX);
    let mut notes = Vec::new();
    if scene.boxes.len() <= WITH_NOTES_MAX {
        notes.push(match one.worker {
            Some(worker) => format!(
                "{} · {}",
                shortened(&one.note, CHARS_MAX),
                scene.workers[worker]
            ),
            None => shortened(&one.note, CHARS_MAX),
        });
        let foreach = one.foreach.iter();
        notes.extend(foreach.map(|list| shortened(&format!("for each of {list}"), CHARS_MAX)));
    }
    let text_width = |text: &String, char: f64| text.chars().count() as f64 * char;
    let mut width = text_width(&name, NAME_CHAR);
    for note in &notes {
        width = width.max(text_width(note, NOTE_CHAR));
    }
    for port in &one.ports {
        width = width.max(text_width(&shortened(&port.label, CHARS_MAX), NOTE_CHAR) + PADDING);
    }
    let top = PADDING + NAME_HEIGHT + NOTE_HEIGHT * notes.len() as f64;
    let height =
        top + PORT_HEIGHT * one.ports.len() as f64 + if one.ports.is_empty() { 0.0 } else { 4.0 };
    let port = |port: usize| top + PORT_HEIGHT * (port as f64 + 0.5) - height / 2.0;
    Face {
        size: Size {
            width: width + 2.0 * PADDING,
            height,
        },
        ports: (0..one.ports.len()).map(port).collect(),
        name,
        notes,
    }
}

/// What fills and frames a box.
fn colours(one: &SceneBox) -> (String, String) {
    let (fill, frame) = match (one.worker, one.shape) {
        (Some(worker), _) => return (colour::fill(worker), colour::frame(worker)),
        (None, Shape::Input | Shape::Output) => ("#eef0f2", "#8a94a0"),
        (None, Shape::Function) => ("#e6f0fb", "#2f6db5"),
        (None, Shape::Command) => ("#e3f4ea", "#2c7d4f"),
        (None, Shape::Compute) => ("#fdf3d8", "#a97b0a"),
        (None, Shape::Switch) => ("#f0e6fa", "#7a3fb5"),
        (None, Shape::Wait) => ("#f5f5f5", "#77818c"),
    };
    (fill.to_owned(), frame.to_owned())
}

fn draw_box(svg: &mut String, scene: &Scene, one: &SceneBox, face: &Face, rect: Rect) {
    let Rect {
        x,
        y,
        width,
        height,
    } = rect;
    let (fill, frame) = colours(one);
    let mut title = format!("{}: {}", one.name, one.note);
    if let Some(list) = &one.foreach {
        let _ = write!(title, ", for each of {list}");
    }
    if let Some(worker) = one.worker {
        let _ = write!(title, ", on {}", scene.workers[worker]);
    }
    let _ = write!(svg, "<g class=\"node\"><title>{}</title>", escape(&title));
    let paint = format!("class=\"box\" fill=\"{fill}\" stroke=\"{frame}\"");
    if one.foreach.is_some() {
        for sheet in [2.0, 1.0] {
            let (x, y) = (x + SHEET * sheet, y - SHEET * sheet);
            let _ = write!(
                svg,
                "<rect {paint} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"6\"/>"
            );
        }
    }
    match one.shape {
        Shape::Switch => {
            let (right, bottom, cut) = (x + width, y + height, 9.0);
            let _ = write!(
                svg,
                "<path {paint} d=\"M{:.1} {y:.1}H{:.1}L{right:.1} {:.1}V{:.1}L{:.1} {bottom:.1}H{:.1}L{x:.1} {:.1}V{:.1}z\"/>",
                x + cut,
                right - cut,
                y + cut,
                bottom - cut,
                right - cut,
                x + cut,
                bottom - cut,
                y + cut
            );
        }
        shape => {
            let (radius, dashes) = match shape {
                Shape::Input | Shape::Output => (height / 2.0, ""),
                Shape::Wait => (12.0, " stroke-dasharray=\"4 3\""),
                Shape::Command => (0.0, ""),
                Shape::Function | Shape::Compute | Shape::Switch => (6.0, ""),
            };
            let _ = write!(
                svg,
                "<rect {paint}{dashes} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\"/>"
            );
        }
    }
    let middle = x + width / 2.0;
    let mut baseline = y + PADDING / 2.0 + 12.0;
    let _ = write!(
        svg,
        "<text class=\"name\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{baseline:.1}\">{}</text>",
        escape(&face.name)
    );
    for note in &face.notes {
        baseline += NOTE_HEIGHT;
        let _ = write!(
            svg,
            "<text class=\"note\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{baseline:.1}\">{}</text>",
            escape(note)
        );
    }
    for (port, below) in one.ports.iter().zip(&face.ports) {
        let (at, right) = (y + height / 2.0 + below, x + width);
        let top = at - PORT_HEIGHT / 2.0;
        let _ = write!(
            svg,
            "<path d=\"M{x:.1} {top:.1}H{right:.1}\" stroke=\"{frame}\" stroke-width=\"0.6\"/>\
             <text class=\"port\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\"><title>{}</title>{}</text>",
            right - 6.0,
            at + 3.5,
            escape(&port.label),
            escape(&shortened(&port.label, CHARS_MAX))
        );
    }
    if let Some(count) = one.join {
        badge(
            svg,
            x,
            y,
            &if count == 1 {
                "any".to_owned()
            } else {
                format!("≥ {count}")
            },
            &frame,
        );
    }
    svg.push_str("</g>\n");
}

/// Boxes are as wide as their column, but for the workflow's inputs and outputs: these keep to the side of their edges.
fn fitted(shape: Shape, column: Rect, width: f64) -> Rect {
    let x = match shape {
        Shape::Input => column.x + column.width - width,
        Shape::Output => column.x,
        _ => return column,
    };
    Rect { x, width, ..column }
}

/// On a box's upper left corner: of how many edges it is a join.
fn badge(svg: &mut String, x: f64, y: f64, text: &str, colour: &str) {
    let width = text.chars().count() as f64 * 6.0 + 8.0;
    let _ = write!(
        svg,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"13\" rx=\"6.5\" fill=\"{colour}\"/>\
         <text class=\"badge\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        x - 5.0,
        y - 7.0,
        x - 5.0 + width / 2.0,
        y + 2.8,
        escape(text)
    );
}

fn edges(svg: &mut String, scene: &Scene, layout: &Layout) {
    for (line, way) in scene.lines.iter().zip(&layout.ways) {
        let kind = line.kind.name();
        let crossing = line.crosses.is_some();
        let class = if crossing { " crossing" } else { "" };
        let arrow = if crossing && line.kind == LineKind::Data {
            "crossing"
        } else {
            kind
        };
        let _ = writeln!(
            svg,
            "<path class=\"edge {kind}{class}\" marker-end=\"url(#arrow-{arrow})\" d=\"{}\"><title>{}</title></path>",
            path(way),
            escape(&scene.line_title(line))
        );
    }
}

fn path(way: &Way) -> String {
    let mut at = way.start;
    let mut path = format!("M{:.1} {:.1}", at.x, at.y);
    for step in &way.steps {
        let Point { x, y } = step.end();
        let half = (x - at.x) / 2.0;
        let _ = match step {
            Step::Straight(_) => write!(path, "L{x:.1} {y:.1}"),
            Step::Bend(_) => write!(
                path,
                "C{:.1} {:.1} {:.1} {y:.1} {x:.1} {y:.1}",
                at.x + half,
                at.y,
                x - half
            ),
        };
        at = step.end();
    }
    path
}

struct Legend {
    svg: String,
    width: f64,
    rows: f64,
}

/// What the colours and lines of this drawing mean; only those that it has.
fn legend(scene: &Scene) -> Legend {
    let mut svg = String::new();
    let mut width = 0.0_f64;
    let mut rows = 0.0;
    if !scene.workers.is_empty() {
        let mut x = 0.0;
        for (worker, name) in scene.workers.iter().enumerate() {
            let text = format!("worker {}", shortened(name, CHARS_MAX));
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"0\" width=\"14\" height=\"12\" rx=\"3\" fill=\"{}\" stroke=\"{}\"/>\
                 <text class=\"legend\" x=\"{:.1}\" y=\"10\">{}</text>",
                colour::fill(worker),
                colour::frame(worker),
                x + 20.0,
                escape(&text)
            );
            x += 40.0 + text.chars().count() as f64 * NOTE_CHAR;
        }
        width = width.max(x);
        rows += 1.0;
    }
    let used: BTreeSet<(LineKind, bool)> = scene
        .lines
        .iter()
        .map(|line| (line.kind, line.crosses.is_some()))
        .collect();
    let y = rows * LEGEND_HEIGHT;
    let mut x = 0.0;
    for (kind, crossing) in used {
        let mut text = match kind {
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
        let _ = writeln!(
            svg,
            "<path class=\"edge {}{class}\" d=\"M{x:.1} {:.1}h30\"/><text class=\"legend\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            kind.name(),
            y + 6.0,
            x + 36.0,
            y + 10.0,
            escape(&text)
        );
        x += 60.0 + text.chars().count() as f64 * NOTE_CHAR;
    }
    Legend {
        svg,
        width: width.max(x) + 48.0,
        rows: rows + 1.0,
    }
}

/// The beginning of a text of more than so many characters, and a mark that it goes on.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max - 1).collect();
    short.push('…');
    short
}

/// Text as XML has it. Characters that XML cannot hold are shown as what stands for them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            char if char.is_control() => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}
