//! What `--trace` and `--timeline` write: when each activation of an invocation ran.

use crate::arguments::Job;
use crate::exit::Exit;
use crate::outputs::writable;
use crate::print::{Page, counted};
use master::client::Answered;
use master::draw;
use master::trace::{Trace, perfetto};
use miette::Diagnostic;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error, Diagnostic)]
enum RecordedError {
    #[error("{flag} cannot be written to {}: {source}", path.display())]
    #[diagnostic(help(
        "name a file that may be written, in a folder that is there; nothing was started"
    ))]
    File {
        flag: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{flag} cannot be written to {}: {source}", path.display())]
    #[diagnostic(help("the invocation itself has ended"))]
    Write {
        flag: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

const TRACE: &str = "--trace";
const TIMELINE: &str = "--timeline";

/// Whether an invocation is to be traced.
pub(crate) const fn is_wanted(job: &Job) -> bool {
    job.trace.is_some() || job.timeline.is_some()
}

/// The files that are wanted, and by which option.
pub(crate) fn files(job: &Job) -> impl Iterator<Item = (&'static str, &PathBuf)> {
    let files = [(TRACE, &job.trace), (TIMELINE, &job.timeline)];
    files
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_ref()?)))
}

/// Whether the files can be written, before anything is started.
pub(crate) fn check(job: &Job) -> Result<(), Exit> {
    for (flag, path) in files(job) {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        writable(path, folder).map_err(|source| {
            let path = path.clone();
            Exit::input(RecordedError::File { flag, path, source })
        })?;
    }
    Ok(())
}

/// What was written, for those who read results.
pub(crate) struct Recorded {
    files: Vec<PathBuf>,
    trace: Trace,
}

/// Writes what was asked for; nothing if there is no trace, since the door did not open.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(
    job: &Job,
    workflow: &str,
    answered: &Answered,
) -> Result<Option<Recorded>, Exit> {
    if answered.trace.is_empty() {
        return Ok(None);
    }
    let trace = Trace::of(workflow, answered);
    let mut files = Vec::new();
    if let Some(path) = &job.trace {
        written(TRACE, path, |out| perfetto::write(&trace, out))?;
        files.push(path.clone());
    }
    if let Some(path) = &job.timeline {
        written(TIMELINE, path, |out| {
            out.write_all(draw::timeline(&trace).as_bytes())
        })?;
        files.push(path.clone());
    }
    Ok(Some(Recorded { files, trace }))
}

fn written(
    flag: &'static str,
    path: &Path,
    write: impl FnOnce(&mut BufWriter<std::fs::File>) -> io::Result<()>,
) -> Result<(), Exit> {
    let done = std::fs::File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    });
    done.map_err(|source| {
        let path = path.to_owned();
        Exit::work(RecordedError::Write { flag, path, source })
    })
}

impl Recorded {
    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let workers: Vec<&str> = self
            .trace
            .workers
            .iter()
            .map(|worker| worker.name.as_str())
            .collect();
        json!({
            "files": files,
            "invocation": self.trace.invocation.to_string(),
            "workers": workers,
            "aligned": self.trace.aligned().name(),
            "attempts": self.trace.attempts.len(),
            "skipped": self.trace.skipped.len(),
            "dropped": self.trace.dropped,
        })
    }

    /// For people.
    pub(crate) fn show(&self, page: &mut Page) {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let left_out = match self.trace.dropped {
            0 => String::new(),
            dropped => format!(", {dropped} more not recorded"),
        };
        page.line(&format!(
            "{}{left_out}, workers aligned by {}: {}",
            counted(self.trace.attempts.len(), "attempt"),
            self.trace.aligned().name(),
            files.join(", ")
        ));
    }
}
