//! `faasflow profile`: what was measured of a running workflow, and its hints.

use crate::arguments::Profile as Arguments;
use crate::exit::Exit;
use crate::print::{self, Page, counted};
use crate::workers;
use master::definition::{self, Definition};
use master::deploy::Cluster;
use master::feedback::FeedbackError;
use master::feedback::files::{self, Hinted};
use master::feedback::measured::Profile;
use miette::Diagnostic;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

mod gaps;
mod json;
mod text;

pub(crate) use gaps::{gaps_json, show_gaps};

/// Nodes that are named one by one where there may be thousands.
const NAMED_MAX: usize = 12;

#[derive(Debug, Error, Diagnostic)]
enum WriteError {
    #[error("{} is workflow {found}, and not {workflow}", path.display())]
    #[diagnostic(help("name the file of {workflow} first under --write"))]
    Other {
        path: PathBuf,
        found: String,
        workflow: String,
    },
    #[error("{} is no file of the workflow in {}", path.display(), main.display())]
    #[diagnostic(help("name files that it, or one that it names, holds by `workflow: PATH`"))]
    NoPart { path: PathBuf, main: PathBuf },
    #[error("cannot write the hints to {}: {source}", path.display())]
    #[diagnostic(help("{done}"))]
    Io {
        path: PathBuf,
        source: io::Error,
        done: String,
    },
}

/// `faasflow profile`
pub(crate) fn profile(arguments: &Arguments) -> Result<(), Exit> {
    // Before anything is asked, so that a wrong file costs nothing.
    let definition = match arguments.write.first() {
        Some(path) => Some(main_file(path, &arguments.workflow)?),
        None => None,
    };
    if let Some(definition) = &definition {
        check_parts(definition, &arguments.write)?;
    }
    let options = workers::options(&arguments.cluster.key)?;
    let mut cluster = Cluster::connect(&arguments.cluster.workers, &options)?;
    let profile = Profile::ask(&mut cluster, &arguments.workflow)?;
    let hinted = match &definition {
        Some(definition) => Some(write(definition, &profile, &arguments.write)?),
        None => None,
    };
    if arguments.reset {
        for worker in 0..cluster.len() {
            let takes_part = profile
                .workers
                .iter()
                .any(|one| one.name == cluster.name(worker));
            if takes_part {
                cluster.forget_profile(worker, &arguments.workflow)?;
            }
        }
    }
    if arguments.json {
        let mut object = json::of(&profile);
        if let Some(hinted) = &hinted {
            object["written"] = changes_json(hinted);
            object["left"] = left_json(hinted);
        }
        return print::json(&object);
    }
    let mut page = Page::default();
    text::show(&mut page, &profile, arguments.all);
    if let Some(hinted) = &hinted {
        page.line("");
        show_changes(&mut page, hinted, "written");
    }
    show_gaps(&mut page, &profile, hinted.as_ref());
    if arguments.reset {
        page.line("");
        page.line("what was measured is forgotten: counting begins anew");
    }
    page.print()
}

fn main_file(path: &Path, workflow: &str) -> Result<Definition, Exit> {
    let definition = definition::load(path)?;
    if definition.workflow.value != workflow {
        return Err(Exit::input(WriteError::Other {
            path: path.to_owned(),
            found: definition.workflow.value,
            workflow: workflow.to_owned(),
        }));
    }
    Ok(definition)
}

/// Whether a path leads to a file of the definition.
fn is_file(path: &Path, name: &str) -> bool {
    let known = Path::new(name).canonicalize();
    known.is_ok_and(|known| path.canonicalize().is_ok_and(|path| path == known))
}

fn check_parts(definition: &Definition, named: &[PathBuf]) -> Result<(), Exit> {
    for path in &named[1..] {
        if !definition
            .files
            .iter()
            .any(|file| is_file(path, &file.name))
        {
            return Err(Exit::input(WriteError::NoPart {
                path: path.clone(),
                main: named[0].clone(),
            }));
        }
    }
    Ok(())
}

/// Writes hints into the files that were named; what they are.
fn write(definition: &Definition, profile: &Profile, named: &[PathBuf]) -> Result<Hinted, Exit> {
    if profile.is_empty() {
        return Err(Exit::from(FeedbackError::NeverRun {
            workflow: profile.workflow.clone(),
            version: profile.version,
        }));
    }
    let mut hinted = Hinted::of(definition, profile).map_err(Exit::input)?;
    hinted.leave(|file| named.iter().any(|path| is_file(path, &file.name)));
    let mut done = "nothing was written".to_owned();
    for file in hinted.files.iter().filter(|file| !file.changes.is_empty()) {
        let path = Path::new(&file.name);
        files::replace(path, &file.text).map_err(|source| {
            Exit::work(WriteError::Io {
                path: path.to_owned(),
                source,
                done: done.clone(),
            })
        })?;
        done = format!("{} has its hints already", file.name);
    }
    Ok(hinted)
}

/// Something, or a dash where there is nothing.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// What has changed in files, and what was left.
pub(crate) fn show_changes(page: &mut Page, hinted: &Hinted, verb: &str) {
    let rows = hinted.changes().map(|(file, change)| {
        vec![
            file.name.clone(),
            change.node.clone(),
            change.key.to_owned(),
            or_dash(change.old.clone()),
            change.new.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        page.line("the hints are what was measured already: nothing changes");
    } else {
        page.table(&["file", "node", "hint", "was", verb], &[3], &rows);
    }
    for (node, reason) in &hinted.left {
        page.line(&format!("{node} was left: {reason}"));
    }
    if !hinted.unmeasured.is_empty() {
        page.line(&format!(
            "{} ran in no invocation that was measured, and keeps what its file says: {}",
            counted(hinted.unmeasured.len(), "node"),
            named(&hinted.unmeasured)
        ));
    }
}

/// The first of many names.
pub(crate) fn named(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(crate) fn changes_json(hinted: &Hinted) -> Value {
    let changes = hinted.changes().map(|(file, change)| {
        json!({
            "file": file.name,
            "node": change.node,
            "hint": change.key,
            "old": change.old,
            "new": change.new,
        })
    });
    changes.collect()
}

pub(crate) fn left_json(hinted: &Hinted) -> Value {
    let left = hinted.left.iter();
    let left = left.map(|(node, reason)| json!({ "node": node, "reason": reason }));
    let never = hinted.unmeasured.iter();
    let never = never
        .map(|node| json!({ "node": node, "reason": "it ran in no invocation that was measured" }));
    left.chain(never).collect()
}
