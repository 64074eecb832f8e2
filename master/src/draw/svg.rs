//! The drawing.

use super::colour;
use super::layout::{Layout, Link, Point, Rect, Size, Step, Way, lay_out};
use super::legend::{self, Legend};
use super::lettering::{Letters, escape, escape_lines, shortened, width, wrapped};
use super::scene::{Line, LineKind, Scene, SceneBox, Shape};
use super::{PAGE_MAX, words};
use std::fmt::Write as _;

/// Longest text in a box, in characters; all of it shows when the box is pointed at.
const CHARS_MAX: usize = 34;
/// With more boxes than this each says its name alone; the rest shows when it is pointed at.
const WITH_NOTES_MAX: usize = 120;
/// Between a box's frame and its text.
const PADDING: f64 = 10.0;
const NAME_HEIGHT: f64 = 17.0;
const NOTE_HEIGHT: f64 = 13.0;
const PORT_HEIGHT: f64 = 15.0;
/// By how much the sheets behind a foreach node stick out, and those of a box that stands for several.
const SHEET: f64 = 3.0;
/// Most names of those that a box stands for which it tells when it is pointed at.
const MEMBERS_MAX: usize = 20;
const HEADING_HEIGHT: f64 = 40.0;
const CAPTION_HEIGHT: f64 = 16.0;
/// By how much the band of the critical path sticks out behind a box.
const BAND: f64 = 5.0;
/// Least width, so that heading and legend fit.
const WIDTH_MIN: f64 = 420.0;

const STYLE: &str = "\
text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#1c2530}\
.title{font-size:17px;font-weight:bold}\
.name{font-size:12px;font-weight:bold}\
.note,.port,.legend{font-size:10px}\
.caption{font-size:11px;fill:#4a5562}\
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
.edge:hover{stroke-width:4}\
.way{fill:none;stroke-width:9;stroke-linecap:round}\
.share{font-size:9px;fill:#1c2530;stroke:#ffffff;stroke-width:3;paint-order:stroke}\
.legend-box{fill:#ffffff;stroke:#5b6672}";

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
    let room = |line: &Line| {
        let text = mark(scene, line);
        text.map_or(0.0, |text| width(&text, Letters::Note) + 30.0)
    };
    let link = |line: &Line| Link {
        from: line.from,
        to: line.to,
        room: room(line),
        exit: line.port.map_or(0.0, |port| faces[line.from].ports[port]),
        class: line.kind as usize * 2 + usize::from(line.crosses.is_some()),
    };
    let links: Vec<Link> = scene.lines.iter().map(link).collect();
    let layout = lay_out(&sizes, &links);
    let legend = Legend::of(scene);
    let caption = scene.caption.as_deref().unwrap_or_default();
    let caption_width = width(caption, Letters::Note) + 48.0;
    let width = layout
        .width
        .max(WIDTH_MIN)
        .max(legend.width)
        .max(caption_width);
    let heading = if caption.is_empty() {
        HEADING_HEIGHT
    } else {
        HEADING_HEIGHT + CAPTION_HEIGHT
    };
    let height = heading + layout.height + legend::ROW_HEIGHT * legend.rows;
    let tints = ARROWS.iter().skip(ARROWS.len() - TINTS);
    let tints = tints.map(|(tint, colour)| format!(".{tint}{{stroke:{colour}}}"));
    let tints: String = tints.collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}{tints}</style>\n<defs>"
    );
    for (kind, colour) in ARROWS {
        for (open, paint) in [
            ("", format!("fill=\"{colour}\"")),
            ("-open", format!("fill=\"#ffffff\" stroke=\"{colour}\"")),
        ] {
            // Writing to a String cannot fail.
            let _ = write!(
                svg,
                "<marker id=\"arrow-{kind}{open}\" viewBox=\"-1 -1 10 10\" refX=\"8\" refY=\"4\" markerWidth=\"10\" \
                 markerHeight=\"10\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" {paint}/>\
                 </marker>"
            );
        }
    }
    let _ = write!(
        svg,
        "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text class=\"title\" x=\"24\" y=\"30\">{}</text>\n",
        escape(&scene.heading())
    );
    if !caption.is_empty() {
        let _ = writeln!(
            svg,
            "<text class=\"caption\" x=\"24\" y=\"47\">{}</text>",
            escape(caption)
        );
    }
    let _ = writeln!(svg, "<g transform=\"translate(0 {heading})\">");
    ways(&mut svg, scene, &layout);
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
        heading + layout.height,
        legend.svg
    );
    svg
}

/// Ends of edges, by what kind they are of; and the colours that data has in a large picture, so that lines side by side can
/// be told apart. None of them is near to the colour of another kind.
const ARROWS: [(&str, &str); 5 + TINTS] = [
    ("data", "#5b6672"),
    ("after", "#8a94a0"),
    ("case", "#7a3fb5"),
    ("catch", "#c62828"),
    ("crossing", "#d9660b"),
    ("tint-0", "#44607c"),
    ("tint-1", "#1d8a74"),
    ("tint-2", "#7d7420"),
    ("tint-3", "#2f7fc4"),
    ("tint-4", "#5d8f2e"),
    ("tint-5", "#55585c"),
];
const TINTS: usize = 6;

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
        notes.extend(foreach.map(|list| shortened(list, CHARS_MAX)));
        notes.extend(wrapped(&one.marks, CHARS_MAX));
    }
    let mut wide = width(&name, Letters::Name);
    for note in &notes {
        wide = wide.max(width(note, Letters::Note));
    }
    for port in &one.ports {
        let label = shortened(&port.label, CHARS_MAX);
        wide = wide.max(width(&label, Letters::Note) + PADDING);
    }
    let top = PADDING + NAME_HEIGHT + NOTE_HEIGHT * notes.len() as f64;
    let height =
        top + PORT_HEIGHT * one.ports.len() as f64 + if one.ports.is_empty() { 0.0 } else { 4.0 };
    let port = |port: usize| top + PORT_HEIGHT * (port as f64 + 0.5) - height / 2.0;
    Face {
        size: Size {
            width: wide + 2.0 * PADDING,
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
    let _ = write!(
        svg,
        "<g class=\"node\"><title>{}</title>",
        escape_lines(&title(scene, one))
    );
    if one.critical > 0 {
        let sheets = SHEET * 2.0;
        let above = if one.foreach.is_some() { sheets } else { 0.0 };
        let below = if one.members.is_empty() { 0.0 } else { sheets };
        let _ = write!(
            svg,
            "<rect fill=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"10\"/>",
            colour::CRITICAL_BAND,
            x - BAND,
            y - BAND - above,
            width + 2.0 * BAND + above.max(below),
            height + 2.0 * BAND + above + below
        );
    }
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
    if !one.members.is_empty() {
        for sheet in [2.0, 1.0] {
            let (x, y) = (x + SHEET * sheet, y + SHEET * sheet);
            let _ = write!(
                svg,
                "<rect {paint} stroke-opacity=\"0.6\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
                 height=\"{height:.1}\" rx=\"6\"/>"
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
    if !one.members.is_empty() {
        let text = format!("× {}", one.members.len());
        badge(svg, x + width - badge_width(&text) + 10.0, y, &text, &frame);
    }
    svg.push_str("</g>\n");
}

/// All that a box says when it is pointed at.
fn title(scene: &Scene, one: &SceneBox) -> String {
    let mut title = format!("{}: {}", one.called(), one.note);
    let join = one.join.map(words::join);
    for more in one.foreach.iter().chain(&join).chain(&one.marks) {
        let _ = write!(title, ", {more}");
    }
    if let Some(worker) = one.worker {
        let _ = write!(title, ", on {}", scene.workers[worker]);
    }
    if let Some(critical) = one.critical_text() {
        let _ = write!(title, ", {critical}");
    }
    for member in one.members.iter().take(MEMBERS_MAX) {
        let _ = write!(title, "\n{member}");
    }
    if one.members.len() > MEMBERS_MAX {
        let _ = write!(title, "\nand {} more", one.members.len() - MEMBERS_MAX);
    }
    title
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

fn badge_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.0 + 8.0
}

/// On a box's upper edge: of how many edges it is a join, or for how many it stands.
fn badge(svg: &mut String, x: f64, y: f64, text: &str, colour: &str) {
    let width = badge_width(text);
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

/// The band of the critical path, behind all lines.
fn ways(svg: &mut String, scene: &Scene, layout: &Layout) {
    let critical = scene.lines.iter().zip(&layout.ways);
    for (_, way) in critical.filter(|(line, _)| line.critical) {
        let colour = colour::CRITICAL_BAND;
        let _ = writeln!(
            svg,
            "<path class=\"way\" stroke=\"{colour}\" d=\"{}\"/>",
            path(way)
        );
    }
}

/// What stands at a line: of how many it is, if not of all, and what crosses. In a picture in which boxes say their names
/// alone, that only on the critical path.
fn mark(scene: &Scene, line: &Line) -> Option<String> {
    let told = scene.boxes.len() <= WITH_NOTES_MAX || line.critical;
    let bytes = line.bytes_text().filter(|_| told);
    let marks: Vec<String> = line.share_text().into_iter().chain(bytes).collect();
    (!marks.is_empty()).then(|| marks.join(" · "))
}

fn edges(svg: &mut String, scene: &Scene, layout: &Layout) {
    let tints = (scene.boxes.len() > PAGE_MAX).then(|| tints(layout));
    for (line, way) in scene.lines.iter().zip(&layout.ways) {
        let kind = line.kind.name();
        let crossing = line.crosses.is_some();
        let (class, arrow) = match (&tints, line.kind, crossing) {
            (_, LineKind::Data, true) => (" crossing".to_owned(), "crossing"),
            (_, _, true) => (" crossing".to_owned(), kind),
            (Some(tints), LineKind::Data, false) => {
                let tint = tints[line.from];
                (format!(" {tint}"), tint)
            }
            (_, _, false) => (String::new(), kind),
        };
        let open = if line.needed { "" } else { "-open" };
        let _ = writeln!(
            svg,
            "<path class=\"edge {kind}{class}\" marker-end=\"url(#arrow-{arrow}{open})\" d=\"{}\"><title>{}</title></path>",
            path(way),
            escape(&scene.line_title(line))
        );
    }
    // Above all lines.
    for (line, way) in scene.lines.iter().zip(&layout.ways) {
        if let Some(mark) = mark(scene, line) {
            let Point { x, y } = last_middle(way);
            let _ = writeln!(
                svg,
                "<text class=\"share\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{mark}</text>",
                y - 2.0
            );
        }
    }
}

/// By box: the colour of its data. Neighbours have different ones.
fn tints(layout: &Layout) -> Vec<&'static str> {
    let mut order: Vec<usize> = (0..layout.boxes.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&layout.boxes[*a], &layout.boxes[*b]);
        a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y))
    });
    let mut tints = vec![""; order.len()];
    for (place, one) in order.into_iter().enumerate() {
        tints[one] = ARROWS[ARROWS.len() - TINTS + place % TINTS].0;
    }
    tints
}

/// The middle of a way's last part, near to where it leads.
fn last_middle(way: &Way) -> Point {
    let steps = &way.steps;
    let end = |step: &Step| step.end();
    let to = steps.last().map_or(way.start, end);
    let from = steps.iter().nth_back(1).map_or(way.start, end);
    Point {
        x: f64::midpoint(from.x, to.x),
        y: f64::midpoint(from.y, to.y),
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
