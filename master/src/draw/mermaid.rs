//! For Mermaid.

use super::colour;
use super::scene::{Line, LineKind, Scene, SceneBox, Shape};
use super::words;
use std::fmt::Write as _;

pub(super) fn write(scene: &Scene) -> String {
    let mut heading = scene.heading();
    // Writing to a String cannot fail.
    if let Some(more) = &scene.caption {
        let _ = write!(heading, ": {more}");
    }
    let mut mermaid = format!("---\ntitle: {}\n---\nflowchart LR\n", title(&heading));
    for (worker, name) in scene.workers.iter().enumerate() {
        let on_it = || {
            scene
                .boxes
                .iter()
                .enumerate()
                .filter(move |(_, one)| one.worker == Some(worker))
        };
        if on_it().next().is_none() {
            continue;
        }
        let _ = writeln!(
            mermaid,
            "  subgraph w{worker}[\"{}\"]",
            escape(&format!("worker {name}"))
        );
        for (index, one) in on_it() {
            let _ = writeln!(mermaid, "    {}", node(index, one));
        }
        mermaid.push_str("  end\n");
    }
    for (index, one) in scene.boxes.iter().enumerate() {
        if one.worker.is_none() {
            let _ = writeln!(mermaid, "  {}", node(index, one));
        }
    }
    for line in &scene.lines {
        let _ = writeln!(mermaid, "  {}", arrow(line));
    }
    for kind in [LineKind::Case, LineKind::Catch] {
        let of_kind = scene
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.kind == kind);
        let places: Vec<String> = of_kind.map(|(place, _)| place.to_string()).collect();
        if !places.is_empty() {
            let colour = if kind == LineKind::Case {
                "#7a3fb5"
            } else {
                "#c62828"
            };
            let _ = writeln!(mermaid, "  linkStyle {} stroke:{colour}", places.join(","));
        }
    }
    let critical = scene
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.critical);
    let critical: Vec<String> = critical.map(|(place, _)| place.to_string()).collect();
    if !critical.is_empty() {
        let _ = writeln!(
            mermaid,
            "  linkStyle {} stroke:{},stroke-width:5px",
            critical.join(","),
            colour::CRITICAL
        );
    }
    for worker in 0..scene.workers.len() {
        let on_it = scene
            .boxes
            .iter()
            .enumerate()
            .filter(|(_, one)| one.worker == Some(worker));
        let nodes: Vec<String> = on_it.map(|(index, _)| format!("n{index}")).collect();
        if !nodes.is_empty() {
            let (fill, frame) = (colour::fill(worker), colour::frame(worker));
            let _ = writeln!(
                mermaid,
                "  classDef w{worker}c fill:{fill},stroke:{frame},color:#1c2530"
            );
            let _ = writeln!(mermaid, "  class {} w{worker}c", nodes.join(","));
        }
    }
    // What comes later counts.
    for (index, _) in scene
        .boxes
        .iter()
        .enumerate()
        .filter(|(_, one)| one.critical > 0)
    {
        let colour = colour::CRITICAL;
        let _ = writeln!(mermaid, "  style n{index} stroke:{colour},stroke-width:4px");
    }
    mermaid
}

fn node(index: usize, one: &SceneBox) -> String {
    let mut label = format!("{}<br/>{}", escape(&one.called()), escape(&one.note));
    let join = one.join.map(words::join);
    for more in one.foreach.iter().chain(&join).chain(&one.marks) {
        let _ = write!(label, "<br/>{}", escape(more));
    }
    let (open, close) = match one.shape {
        Shape::Input | Shape::Output => ("([", "])"),
        Shape::Function if one.foreach.is_some() => ("[[", "]]"),
        Shape::Function | Shape::Command => ("[", "]"),
        Shape::Compute => ("[/", "/]"),
        Shape::Switch => ("{", "}"),
        Shape::Wait => ("(", ")"),
    };
    format!("n{index}{open}\"{label}\"{close}")
}

fn arrow(line: &Line) -> String {
    let stroke = match (line.kind, line.crosses) {
        (LineKind::Data | LineKind::Case, None) => "-->",
        (LineKind::Data | LineKind::Case, Some(_)) => "==>",
        (LineKind::After | LineKind::Catch, _) => "-.->",
    };
    let said = line.said_with_bytes();
    let label = if said.is_empty() {
        String::new()
    } else {
        format!("|\"{}\"|", escape(&said))
    };
    format!("n{} {stroke}{label} n{}", line.from, line.to)
}

/// Within quotes: what Mermaid, or the HTML that it makes, would take for its own is written as a number.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '#' | '&' | '<' | '>' | '`' | ';' | '|' | '\\' | '[' | ']' | '{' | '}' => {
                let _ = write!(escaped, "#{};", u32::from(char));
            }
            char if char.is_control() => escaped.push(' '),
            char => escaped.push(char),
        }
    }
    escaped
}

/// A YAML string.
fn title(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    format!("'{}'", text.replace('\'', "''"))
}
