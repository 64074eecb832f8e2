//! A listing: rank by rank, each node with what it waits for.

use super::rank;
use super::scene::{Line, LineKind, Scene, SceneBox, Shape};
use std::fmt::Write as _;

pub(super) fn write(scene: &Scene) -> String {
    let pairs: Vec<(usize, usize)> = scene
        .lines
        .iter()
        .map(|line| (line.from, line.to))
        .collect();
    let ranks = rank::ranks(scene.boxes.len(), &pairs);
    let last = ranks.iter().max().map_or(0, |last| last + 1);
    let wide = scene
        .boxes
        .iter()
        .map(|one| one.called().chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!("{}\n", plain(&scene.heading()));
    // Writing to a String cannot fail.
    if let Some(caption) = &scene.caption {
        let _ = writeln!(text, "{} (* marks the critical path)", plain(caption));
    }
    let mut into: Vec<Vec<&Line>> = vec![Vec::new(); scene.boxes.len()];
    for line in &scene.lines {
        into[line.to].push(line);
    }
    for rank in 0..last {
        text.push('\n');
        for (index, one) in scene
            .boxes
            .iter()
            .enumerate()
            .filter(|(index, _)| ranks[*index] == rank)
        {
            let mark = if one.critical > 0 { '*' } else { ' ' };
            let _ = writeln!(
                text,
                "{:>3}{mark} {:wide$}  {}",
                rank + 1,
                plain(&one.called()),
                said(scene, one)
            );
            for line in &into[index] {
                let mark = if line.critical { '*' } else { ' ' };
                let _ = writeln!(text, "     {mark} {}", waits(scene, line));
            }
        }
    }
    text
}

fn said(scene: &Scene, one: &SceneBox) -> String {
    let mut said = match one.shape {
        Shape::Compute => format!("computes {}", one.note),
        _ => one.note.clone(),
    };
    for more in one.foreach.iter().chain(&one.marks) {
        let _ = write!(said, ", {more}");
    }
    match one.join {
        Some(1) => said.push_str(", at the first live edge"),
        Some(count) => {
            let _ = write!(said, ", at live edge {count}");
        }
        None => {}
    }
    if let Some(worker) = one.worker {
        let _ = write!(said, ", on {}", scene.workers[worker]);
    }
    plain(&said)
}

fn waits(scene: &Scene, line: &Line) -> String {
    let mut waits = format!("← {}", scene.boxes[line.from].name);
    let _ = match line.kind {
        LineKind::Data => write!(waits, ": {}", line.said()),
        LineKind::After => write!(waits, " (after)"),
        LineKind::Case => write!(waits, ", case {}", line.label),
        LineKind::Catch if line.port.is_some() => write!(waits, ", failure {}", line.label),
        LineKind::Catch => write!(waits, ": {} (after a failure)", line.said()),
    };
    if let Some((from, to)) = line.crosses {
        let divided = |at: usize| scene.boxes[at].is_divided;
        if divided(line.from) || divided(line.to) {
            waits.push_str("  [between workers");
        } else {
            let _ = write!(waits, "  [{} → {}", scene.workers[from], scene.workers[to]);
        }
        if let Some(bytes) = line.bytes_text() {
            let _ = write!(waits, ", {bytes}");
        }
        waits.push(']');
    }
    plain(&waits)
}

/// On one line, and with nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
