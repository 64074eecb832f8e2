//! `faasflow import`: a workflow file out of what another system has.

use crate::arguments::{Import, ImportFormat, ImportPayload};
use crate::exit::Exit;
use crate::print::Page;
use crate::targets::{self, Named};
use master::diagnostics::to_stderr;
use master::import::{self, AslOptions, Format, Options, Payload};

/// An option that means nothing for what is imported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{option} has no effect on what is imported --from {format}")]
#[diagnostic(help("{help}"))]
struct NoEffect {
    option: &'static str,
    format: &'static str,
    help: &'static str,
}

/// Refuses options that mean nothing for what is imported.
fn check_options(arguments: &Import) -> Result<(), Exit> {
    let of_machines = "it is for --from asl: take it away";
    let of_records = "it is for --from faasflow and --from wfformat: take it away";
    let (format, meaningless) = match arguments.from {
        ImportFormat::Asl => (
            "asl",
            [
                ("--time-scale", arguments.time_scale.is_some(), of_records),
                (
                    "--recorded-resources",
                    arguments.recorded_resources,
                    of_records,
                ),
            ],
        ),
        ImportFormat::Faasflow | ImportFormat::Wfformat => (
            if arguments.from == ImportFormat::Faasflow {
                "faasflow"
            } else {
                "wfformat"
            },
            [
                ("--function", !arguments.functions.is_empty(), of_machines),
                ("--payload", arguments.payload.is_some(), of_machines),
            ],
        ),
    };
    match meaningless.into_iter().find(|(_, given, _)| *given) {
        Some((option, _, help)) => Err(Exit::input(NoEffect {
            option,
            format,
            help,
        })),
        None => Ok(()),
    }
}

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
    check_options(arguments)?;
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
        time_scale: arguments.time_scale.unwrap_or(1.0),
        asl: AslOptions {
            functions: arguments.functions.clone(),
            payload: match arguments.payload {
                None | Some(ImportPayload::Value) => Payload::Value,
                Some(ImportPayload::Bytes) => Payload::Bytes,
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
