//! For Graphviz.

use super::colour;
use super::scene::{LineKind, Scene, SceneBox, Shape};
use super::words;
use std::fmt::Write as _;

pub(super) fn write(scene: &Scene) -> String {
    let mut dot = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [fontname=\"Helvetica\", fontsize=11, shape=box, style=\"rounded,filled\", \
         fillcolor=\"#e6f0fb\", color=\"#2f6db5\"];\n  edge [fontname=\"Helvetica\", fontsize=9, color=\"#5b6672\"];\n",
        quoted(&scene.title)
    );
    // Writing to a String cannot fail.
    if scene.timeout_ms.is_some() || scene.caption.is_some() {
        let mut heading = scene.heading();
        if let Some(more) = &scene.caption {
            let _ = write!(heading, "\n{more}");
        }
        let heading = quoted(&heading);
        let _ = writeln!(dot, "  label={heading}; labelloc=t;");
    }
    for (worker, name) in scene.workers.iter().enumerate() {
        let _ = writeln!(
            dot,
            "  subgraph cluster_{worker} {{\n    label={}; color=\"{}\";",
            quoted(&format!("worker {name}")),
            colour::frame(worker)
        );
        for (index, one) in scene.boxes.iter().enumerate() {
            if one.worker == Some(worker) {
                let colours = format!(
                    ", fillcolor=\"{}\", {}",
                    colour::fill(worker),
                    match one.critical {
                        0 => format!("color=\"{}\"", colour::frame(worker)),
                        _ => format!("color=\"{}\", penwidth=4", colour::CRITICAL),
                    }
                );
                let _ = writeln!(dot, "    n{index} [{}{colours}];", attributes(one));
            }
        }
        dot.push_str("  }\n");
    }
    for (index, one) in scene.boxes.iter().enumerate() {
        if one.worker.is_none() {
            let _ = writeln!(dot, "  n{index} [{}];", attributes(one));
        }
    }
    for line in &scene.lines {
        let style = match line.kind {
            LineKind::Data => "solid",
            LineKind::After => "dashed",
            LineKind::Case => "solid\", color=\"#7a3fb5\", fontcolor=\"#7a3fb5",
            LineKind::Catch => "dotted\", color=\"#c62828\", fontcolor=\"#c62828",
        };
        let crossing = match (line.crosses, line.kind) {
            (Some(_), LineKind::Data) => ", penwidth=2.4, color=\"#d9660b\"",
            (Some(_), _) => ", penwidth=2.4",
            (None, _) => "",
        };
        let critical = match line.critical {
            true => format!(", penwidth=5, color=\"{}\"", colour::CRITICAL),
            false => String::new(),
        };
        let arrow = if line.needed { "" } else { ", arrowhead=empty" };
        let _ = writeln!(
            dot,
            "  n{} -> n{} [label={}, style=\"{style}\"{crossing}{critical}{arrow}];",
            line.from,
            line.to,
            quoted(&line.said_with_bytes())
        );
    }
    dot.push_str("}\n");
    dot
}

fn attributes(one: &SceneBox) -> String {
    let mut label = format!("{}\n{}", one.called(), one.note);
    let join = one.join.map(words::join);
    for more in one.foreach.iter().chain(&join).chain(&one.marks) {
        let _ = write!(label, "\n{more}");
    }
    let shape = match one.shape {
        Shape::Input | Shape::Output => {
            ", shape=oval, style=filled, fillcolor=\"#eef0f2\", color=\"#8a94a0\""
        }
        Shape::Function => "",
        Shape::Command => ", style=filled",
        Shape::Compute => ", shape=note, style=filled",
        Shape::Switch => ", shape=diamond, style=filled",
        Shape::Wait => ", style=\"rounded,filled,dashed\"",
    };
    let sheets = if one.foreach.is_some() {
        ", peripheries=2"
    } else {
        ""
    };
    let members = match one.members.len() {
        0 => String::new(),
        _ => format!(", tooltip={}", quoted(&one.members.join("\n"))),
    };
    format!("label={}{shape}{sheets}{members}", quoted(&label))
}

/// A string of Graphviz's: what a backslash would mean there is taken away.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            char if char.is_control() => quoted.push(' '),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
