//! `faasflow graph`: a picture of a workflow.

use crate::arguments::{Format, Graph};
use crate::exit::Exit;
use crate::placing::{Planned, place_nodes};
use crate::print::Page;
use crate::targets::{self, Named};
use master::definition;
use master::diagnostics::to_stderr;
use master::draw::{self, Placed, draw};
use master::place;
use miette::Diagnostic;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error, Diagnostic)]
enum GraphError {
    #[error("cannot write the picture to {}: {source}", path.display())]
    #[diagnostic(help("name a file that may be written, in a folder that is there"))]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{option} is about where nodes run, but there are no workers")]
    #[diagnostic(help(
        "add --workers a:4:8GiB,b:4:8GiB, or addresses of workers, or a --cluster file that describes some"
    ))]
    PlacingAlone { option: &'static str },
    #[error("--replicas says how often nodes are placed, but there are no workers")]
    #[diagnostic(help(
        "add --workers a:4:8GiB,b:4:8GiB, or addresses of workers, or a --cluster file that describes some"
    ))]
    ReplicasAlone,
    #[error("--replica {replica} is to be drawn, and --replicas makes {replicas}")]
    #[diagnostic(help("give a number from 1 to {replicas}"))]
    Replica { replica: u16, replicas: u16 },
    #[error("--cluster-key-file is for workers that are asked, but there are none")]
    #[diagnostic(help("add --workers with addresses of workers, or take the key away"))]
    KeyAlone,
}

/// `faasflow graph`
pub(crate) fn graph(arguments: &Graph) -> Result<(), Exit> {
    if let Some(out) = &arguments.out {
        let read = Named::new("the workflow's file", &arguments.file);
        targets::check(&[Named::new("--out", out)], &[read])?;
    }
    let definition = definition::load(&arguments.file)?;
    let placed = !arguments.workers.is_empty() || arguments.placing.cluster.is_some();
    if let (false, Some(option)) = (placed, arguments.placing.given()) {
        return Err(Exit::input(GraphError::PlacingAlone { option }));
    }
    let (replicas, replica) = (arguments.count.replicas, arguments.replica.unwrap_or(1));
    if !placed && replicas > 1 {
        return Err(Exit::input(GraphError::ReplicasAlone));
    }
    if !(1..=replicas).contains(&replica) {
        return Err(Exit::input(GraphError::Replica { replica, replicas }));
    }
    if !placed && arguments.key.cluster_key_file.is_some() {
        return Err(Exit::input(GraphError::KeyAlone));
    }
    let format = match arguments.format {
        Format::Svg => draw::Format::Svg,
        Format::Dot => draw::Format::Dot,
        Format::Mermaid => draw::Format::Mermaid,
        Format::Text => draw::Format::Text,
    };
    let detail = if arguments.all {
        draw::Detail::All
    } else {
        draw::Detail::Alike
    };
    let picture = if placed {
        let Planned {
            graph,
            placements,
            workers,
            options,
            ..
        } = place_nodes(
            &definition,
            &arguments.workers,
            &arguments.placing,
            arguments.count,
            &arguments.key,
        )?;
        if replicas > 1 {
            to_stderr(&format!(
                "faasflow: this is placement {replica} of {replicas}; --replica draws another\n"
            ));
        }
        let placement = &placements[usize::from(replica) - 1];
        let estimate = place::estimate(&graph, &workers, &options, placement);
        let names: Vec<String> = workers.into_iter().map(|worker| worker.name).collect();
        let placed = Placed {
            graph: &graph,
            placement,
            workers: &names,
            estimate: Some(&estimate),
        };
        draw(&definition, Some(placed), format, detail)
    } else {
        draw(&definition, None, format, detail)
    };
    match &arguments.out {
        None => {
            let mut page = Page::default();
            page.line(picture.trim_end_matches('\n'));
            page.print()
        }
        Some(path) => std::fs::write(path, picture).map_err(|source| {
            Exit::input(GraphError::Write {
                path: path.clone(),
                source,
            })
        }),
    }
}
