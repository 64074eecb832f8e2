//! `faasflow import`: a workflow file out of what another system has.

use crate::arguments::{Import, ImportFormat, ImportPayload};
use crate::exit::Exit;
use crate::print::Page;
use crate::targets::{self, Named};
use master::diagnostics::to_stderr;
use master::import::{self, AslOptions, Format, Options, Payload};

/// The workflow's file cannot be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write {path}: {source}")]
#[diagnostic(help("name a file in a folder that is there and may be written to"))]
struct WriteError {
    path: String,
    source: std::io::Error,
}

/// `faasflow import`. Notes go to standard error, since standard output may be a file or a pipe; they stand at the head of
/// the workflow too.
pub(crate) fn import(arguments: &Import) -> Result<(), Exit> {
    if let Some(out) = &arguments.out {
        let read = Named::new("the file that is imported", &arguments.file);
        targets::check(&[Named::new("--out", out)], &[read])?;
    }
    let format = match arguments.from {
        ImportFormat::Faasflow => Format::Faasflow,
        ImportFormat::Wfformat => Format::Wfformat,
        ImportFormat::Asl => Format::Asl,
    };
    let options = Options {
        time_scale: arguments.time_scale,
        asl: AslOptions {
            functions: arguments.functions.clone(),
            payload: match arguments.payload {
                ImportPayload::Value => Payload::Value,
                ImportPayload::Bytes => Payload::Bytes,
            },
        },
        recorded_resources: arguments.recorded_resources,
    };
    let draft = import::load(format, &arguments.file, &options).map_err(Exit::input)?;
    for note in &draft.notes {
        to_stderr(&format!("note: {note}\n"));
    }
    let text = draft.to_yaml();
    match &arguments.out {
        None => {
            let mut page = Page::default();
            page.line(text.trim_end());
            page.print()
        }
        Some(path) => std::fs::write(path, text).map_err(|source| {
            Exit::work(WriteError {
                path: path.display().to_string(),
                source,
            })
        }),
    }
}
