//! Outputs of an invocation: written to files, printed as text if they are short text, else described.

use crate::exit::Exit;
use crate::print::Page;
use crate::targets::Named;
use engine::nearest::instead;
use engine::worker::quantities::size_text;
use master::client::Payload;
use miette::Diagnostic;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Longest output that is printed, in bytes.
const PRINTED_BYTES_MAX: usize = 16 << 10;
/// Longest text in a JSON object, in bytes.
const JSON_TEXT_BYTES_MAX: usize = 1 << 20;
/// Most items of a list that are printed.
const PRINTED_ITEMS_MAX: usize = 20;

/// `NAME=@FILE`, as given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OutputArgument {
    name: String,
    path: PathBuf,
}

impl FromStr for OutputArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("=@") {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                path: path.into(),
            }),
            _ => Err("write NAME=@FILE, as in totals=@totals.bin".to_owned()),
        }
    }
}

impl OutputArgument {
    /// Where it goes, and what it is called there.
    pub(crate) fn target(&self) -> Named<'_> {
        Named::new(format!("--output {}", self.name), &self.path)
    }
}

/// What is wrong with an output.
#[derive(Debug, Error, Diagnostic)]
enum OutputError {
    #[error("workflow {workflow} has no output `{name}`")]
    #[diagnostic(help("{instead}"))]
    Unknown {
        workflow: String,
        name: String,
        instead: String,
    },
    #[error("output `{name}` is given twice")]
    #[diagnostic(help("give --output once for each name"))]
    Twice { name: String },
    #[error("output `{name}` cannot be written: {path} is no folder")]
    #[diagnostic(help("make the folder first"))]
    Folder { name: String, path: String },
    #[error("output `{name}` cannot be written to {path}: {source}")]
    #[diagnostic(help("name a file that may be written; nothing was started"))]
    File {
        name: String,
        path: String,
        source: std::io::Error,
    },
    #[error("{workflow} ended without an output `{name}`, so nothing was written to {path}")]
    #[diagnostic(help(
        "{instead}; an optional output is absent if what it comes from was skipped; the invocation itself has succeeded"
    ))]
    Absent {
        workflow: String,
        name: String,
        path: String,
        instead: String,
    },
    #[error("output `{name}` cannot be written to {path}: {source}")]
    #[diagnostic(help("the invocation itself has succeeded"))]
    Write {
        name: String,
        path: String,
        source: std::io::Error,
    },
}

/// What can be told about `--output` before anything runs. `known` are the outputs, if they are known.
pub(crate) fn check(
    arguments: &[OutputArgument],
    workflow: &str,
    known: Option<&[&str]>,
) -> Result<(), Exit> {
    for (index, OutputArgument { name, path }) in arguments.iter().enumerate() {
        if arguments[..index].iter().any(|other| other.name == *name) {
            return Err(Exit::input(OutputError::Twice { name: name.clone() }));
        }
        if let Some(known) = known
            && !known.contains(&name.as_str())
        {
            return Err(Exit::input(OutputError::Unknown {
                workflow: workflow.to_owned(),
                name: name.clone(),
                instead: instead(name, known, "its outputs are", "it has no outputs"),
            }));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            let path = folder.display().to_string();
            return Err(Exit::input(OutputError::Folder {
                name: name.clone(),
                path,
            }));
        }
        writable(path, folder).map_err(|source| {
            Exit::input(OutputError::File {
                name: name.clone(),
                path: path.display().to_string(),
                source,
            })
        })?;
    }
    Ok(())
}

/// Whether a file can be written, as far as can be told without a trace of the question. What is no ordinary file (a
/// pipe, a device) is left to the writing: to open it may already do something.
pub(crate) fn writable(path: &Path, folder: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(std::io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => std::fs::File::options().write(true).open(path).map(drop),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // A list's items go to names that are not known yet, in the same folder.
            Ok(nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// Writes outputs to the files that were named for them. One that is absent is an error, after all others were written.
pub(crate) fn write(
    arguments: &[OutputArgument],
    workflow: &str,
    outputs: &[(String, Payload)],
) -> Result<(), Exit> {
    let mut absent = Ok(());
    for OutputArgument { name, path } in arguments {
        let Some((_, payload)) = outputs.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = outputs.iter().map(|(known, _)| known.as_str()).collect();
            // Only the worker's answer tells which there are: what was done is done, and no wrong call.
            absent = absent.and(Err(Exit::work(OutputError::Absent {
                workflow: workflow.to_owned(),
                name: name.clone(),
                path: path.display().to_string(),
                instead: instead(name, &known, "those that came are", "no other came"),
            })));
            continue;
        };
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes).map_err(|source| {
                let path = path.display().to_string();
                Exit::work(OutputError::Write {
                    name: name.clone(),
                    path,
                    source,
                })
            })
        };
        match payload {
            Payload::Bytes(bytes) => write(path, bytes)?,
            Payload::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(item) = item {
                        write(&item_path(path, index), item)?;
                    }
                }
            }
        }
    }
    absent
}

fn item_path(path: &Path, index: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

fn file_of<'a>(arguments: &'a [OutputArgument], name: &str) -> Option<&'a Path> {
    arguments
        .iter()
        .find(|argument| argument.name == name)
        .map(|argument| argument.path.as_path())
}

/// Bytes as text, if they are text that does nothing to a terminal.
fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = |char: char| !char.is_control() || matches!(char, '\n' | '\t');
    text.chars().all(plain).then_some(text)
}

/// Outputs for people.
pub(crate) fn show(page: &mut Page, arguments: &[OutputArgument], outputs: &[(String, Payload)]) {
    for (name, payload) in outputs {
        if let Some(path) = file_of(arguments, name) {
            page.line(&format!(
                "{name}: {} written to {}",
                size_text(payload.len()),
                path.display()
            ));
            continue;
        }
        match payload {
            Payload::Bytes(bytes) => show_bytes(page, name, name, bytes),
            Payload::List(items) => {
                page.line(&format!(
                    "{name}: {} items, {}",
                    items.len(),
                    size_text(payload.len())
                ));
                for (index, item) in items.iter().take(PRINTED_ITEMS_MAX).enumerate() {
                    match item {
                        Some(item) => show_bytes(page, &format!("{name}[{index}]"), name, item),
                        None => page.line(&format!("{name}[{index}]: (absent)")),
                    }
                }
                if items.len() > PRINTED_ITEMS_MAX {
                    page.line(&format!("… and {} more", items.len() - PRINTED_ITEMS_MAX));
                }
            }
        }
    }
}

fn show_bytes(page: &mut Page, label: &str, output: &str, bytes: &[u8]) {
    match printable(bytes) {
        Some(text) if bytes.len() <= PRINTED_BYTES_MAX => {
            let text = text.strip_suffix('\n').unwrap_or(text);
            let separator = if text.contains('\n') { "\n" } else { " " };
            page.line(&format!("{label}:{separator}{text}"));
        }
        _ => page.line(&format!(
            "{label}: {} (--output {output}=@FILE writes it)",
            size_text(bytes.len() as u64)
        )),
    }
}

/// Outputs for machines.
pub(crate) fn to_json(arguments: &[OutputArgument], outputs: &[(String, Payload)]) -> Value {
    let object = outputs.iter().map(|(name, payload)| {
        let mut object = match payload {
            Payload::Bytes(bytes) => bytes_json(bytes),
            Payload::List(items) => {
                let items: Vec<Value> = items
                    .iter()
                    .map(|item| {
                        let there = item.as_ref();
                        there.map_or(Value::Null, |item| Value::Object(bytes_json(item)))
                    })
                    .collect();
                Map::from_iter([
                    ("bytes".to_owned(), json!(payload.len())),
                    ("items".to_owned(), json!(items)),
                ])
            }
        };
        if let Some(file) = file_of(arguments, name) {
            object.retain(|key, _| key == "bytes");
            object.insert("file".to_owned(), json!(file.display().to_string()));
        }
        (name.clone(), Value::Object(object))
    });
    Value::Object(object.collect())
}

fn bytes_json(bytes: &[u8]) -> Map<String, Value> {
    let mut object = Map::from_iter([("bytes".to_owned(), json!(bytes.len()))]);
    if bytes.len() <= JSON_TEXT_BYTES_MAX
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        object.insert("text".to_owned(), json!(text));
    }
    object
}
