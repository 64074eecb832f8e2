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
        .map(|one| one.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = format!("{}\n", plain(&scene.title));
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
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:>3}  {:wide$}  {}",
                rank + 1,
                plain(&one.name),
                said(scene, one)
            );
            for line in &into[index] {
                let _ = writeln!(text, "       {}", waits(scene, line));
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
    if let Some(list) = &one.foreach {
        let _ = write!(said, ", for each of {list}");
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
        LineKind::Data => write!(waits, ": {}", line.label),
        LineKind::After => write!(waits, " (after)"),
        LineKind::Case => write!(waits, ", case {}", line.label),
        LineKind::Catch if line.port.is_some() => write!(waits, ", failure {}", line.label),
        LineKind::Catch => write!(waits, ": {} (after a failure)", line.label),
    };
    if let Some((from, to)) = line.crosses {
        let _ = write!(waits, "  [{} → {}]", scene.workers[from], scene.workers[to]);
    }
    plain(&waits)
}

/// On one line, and with nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}
