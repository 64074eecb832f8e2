//! Workflows from files: definitions, and what other systems have.
//!
//! Of an import, each node counts as a function with an executable of its own, in a container of the published size, which
//! computes for as long as was recorded. (Imported as it runs, all nodes sleep in the executors of one synthetic function.)

use master::definition::{self, Definition, DefinitionError, LoadError};
use master::graph::Graph;
use master::import::{self, Draft, Format, ImportError, Work};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The published container.
const MEMORY_MIB: u32 = 256;
/// Longest file whose format is looked for.
const FILE_BYTES_MAX: u64 = import::IMPORT_BYTES_MAX as u64;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A definition.
    Own,
    /// What another system has.
    Import(Format),
}

impl Kind {
    /// All, by the names that `--from` takes.
    pub const ALL: [(&'static str, Self); 4] = [
        ("own", Self::Own),
        ("faasflow", Self::Import(Format::Faasflow)),
        ("wfformat", Self::Import(Format::Wfformat)),
        ("asl", Self::Import(Format::Asl)),
    ];

    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == self)
            .map_or("own", |(name, _)| name)
    }

    /// What a file seems to hold: JSON with states is a state machine, other JSON with a schema or with tasks a record of
    /// WfCommons, YAML with functions at its outermost level the published format, and all else a definition.
    #[must_use]
    pub fn of_content(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::Own;
        };
        if let Ok(serde_json::Value::Object(keys)) = serde_json::from_str(text) {
            let has = |name: &str| keys.contains_key(name);
            if has("StartAt") && has("States") {
                return Self::Import(Format::Asl);
            }
            let of_tasks = keys
                .get("workflow")
                .is_some_and(serde_json::Value::is_object);
            if of_tasks || has("schemaVersion") {
                return Self::Import(Format::Wfformat);
            }
            return Self::Own;
        }
        if text.lines().any(|line| line.starts_with("functions:")) {
            return Self::Import(Format::Faasflow);
        }
        Self::Own
    }
}

/// Why a file gives no workflow.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It is too long.
    #[error("{path} has more than {FILE_BYTES_MAX} bytes")]
    Long {
        /// Which.
        path: PathBuf,
    },
    /// It is no such import.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Import(#[from] ImportError),
    /// It is no definition.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadError),
    /// What was imported is no definition.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Definition(#[from] DefinitionError),
}

/// A workflow from a file.
#[derive(Clone, Debug)]
pub struct Input {
    /// The file's name without its ending; of a published one the name of its folder.
    pub name: String,
    /// Where it was.
    pub path: PathBuf,
    /// What the file holds.
    pub kind: Kind,
}

impl Input {
    /// The file at a path, whose format is found by its content if none is given.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path, kind: Option<Kind>) -> Result<Self, InputError> {
        let kind = match kind {
            Some(kind) => kind,
            None => Kind::of_content(&read(path)?),
        };
        let name = |path: &Path| path.file_stem()?.to_str().map(str::to_owned);
        let own = name(path).unwrap_or_else(|| path.display().to_string());
        let of_folder = ["flat_workflow", "workflow"].contains(&own.as_str());
        let folder = of_folder.then(|| name(path.parent()?)).flatten();
        Ok(Self {
            name: folder.unwrap_or(own),
            path: path.to_owned(),
            kind,
        })
    }

    /// The graph to be placed.
    ///
    /// # Errors
    /// If the file holds no workflow.
    pub fn graph(&self) -> Result<Graph, InputError> {
        let Kind::Import(format) = self.kind else {
            return Ok(Graph::of(&definition::load(&self.path)?));
        };
        let options = import::Options {
            recorded_resources: true,
            ..import::Options::default()
        };
        let mut draft = import::load(format, &self.path, &options)?;
        part_executables(&mut draft);
        Ok(Graph::of(&self.parse(&draft)?))
    }

    /// What was imported, as it runs.
    ///
    /// # Errors
    /// If the file holds no such workflow.
    pub(crate) fn draft(&self, format: Format, time_scale: f64) -> Result<Draft, InputError> {
        let options = import::Options {
            time_scale,
            ..import::Options::default()
        };
        Ok(import::load(format, &self.path, &options)?)
    }

    /// The definition that a draft is.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn parse(&self, draft: &Draft) -> Result<Definition, InputError> {
        let name = self.path.display().to_string();
        Ok(definition::parse(&name, draft.to_yaml().as_bytes())?)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(InputError::Read {
            path: path.to_owned(),
            error,
        }),
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(InputError::Long {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(bytes),
    }
}

/// Gives every node that runs a function an executable of its own.
fn part_executables(draft: &mut Draft) {
    for (index, node) in draft.nodes.iter_mut().enumerate() {
        if !matches!(node.work, Work::Function(_)) {
            continue;
        }
        node.work = Work::Function(format!("executable-{index}:run"));
        node.resources.memory_mib = Some(MEMORY_MIB);
        if let Some(profile) = &mut node.profile {
            profile.busy = 1.0;
            profile.peak_mib = profile.peak_mib.min(MEMORY_MIB);
        }
    }
}

/// What of the shared data is not there, with the reason.
type Missing = Vec<(String, String)>;

/// The files of the shared data that hold workflows, and what of it is not there.
#[must_use]
pub fn shared(folder: &Path) -> (Vec<Input>, Missing) {
    let (mut inputs, mut skipped) = published(folder);
    let mut found = Vec::new();
    match list(folder, "wfcommons") {
        Ok(paths) => {
            let is_record = |path: &PathBuf| {
                let name = path.file_name().and_then(|name| name.to_str());
                // The schema lies beside the records.
                name.is_some_and(|name| name.ends_with(".json") && !name.ends_with("-schema.json"))
            };
            let files = paths.into_iter().filter(is_record);
            found.extend(files);
        }
        Err(why) => skipped.push(why),
    }
    open_all(found, Format::Wfformat, &mut inputs, &mut skipped);
    (inputs, skipped)
}

/// Of these, the workflows of the publication.
#[must_use]
pub fn published(folder: &Path) -> (Vec<Input>, Missing) {
    let (mut inputs, mut skipped) = (Vec::new(), Missing::new());
    match list(folder, "faasflow") {
        Ok(paths) => {
            let files = paths.iter().map(|path| path.join("flat_workflow.yaml"));
            let files = files.filter(|path| path.is_file()).collect();
            open_all(files, Format::Faasflow, &mut inputs, &mut skipped);
        }
        Err(why) => skipped.push(why),
    }
    (inputs, skipped)
}

fn list(folder: &Path, name: &str) -> Result<Vec<PathBuf>, (String, String)> {
    let folder = folder.join(name);
    let paths = std::fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = paths.map_err(|error| {
        let why = format!(
            "{}: {error}; --data DIR names the folder above it",
            folder.display()
        );
        (format!("imports of {name}"), why)
    })?;
    paths.sort();
    Ok(paths)
}

fn open_all(paths: Vec<PathBuf>, format: Format, inputs: &mut Vec<Input>, skipped: &mut Missing) {
    for path in paths {
        match Input::open(&path, Some(Kind::Import(format))) {
            Ok(input) => inputs.push(input),
            Err(error) => skipped.push((path.display().to_string(), error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "
functions:
- name: first
  source: a
  runtime: 0.5
  scale: 3
  mem_usage: 0.25
  output: { data: { type: pass, size: 1000 } }
  next: { type: pass, nodes: [second] }
- name: second
  source: b
  runtime: 0.25
  scale: 2
  mem_usage: 0.25
  input: { data: { type: normal, size: 1000, value: { function: first, parameter: data } } }
";

    #[test]
    fn formats_are_found_by_content() {
        let of = |text: &str| Kind::of_content(text.as_bytes()).name();
        assert_eq!(of(PUBLISHED), "faasflow");
        assert_eq!(of(r#"{ "StartAt": "A", "States": {} }"#), "asl");
        assert_eq!(
            of(r#"{ "name": "w", "workflow": { "tasks": [] } }"#),
            "wfformat"
        );
        assert_eq!(
            of(r#"{ "workflow": "w", "nodes": { "a": { "function": "e:f" } } }"#),
            "own"
        );
        assert_eq!(of("workflow: w\nnodes: { a: { function: e:f } }\n"), "own");
        assert_eq!(Kind::of_content(&[0xff]).name(), "own");
    }

    #[test]
    fn nodes_of_an_import_have_executables_of_their_own_and_what_was_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flat_workflow.yaml");
        std::fs::write(&path, PUBLISHED).unwrap();
        let input = Input::open(&path, None).unwrap();
        assert_eq!(
            Some(input.name.as_str()),
            folder.path().file_name().unwrap().to_str()
        );
        let graph = input.graph().unwrap();
        let told: Vec<_> = graph
            .nodes()
            .map(|node| (node.runtime_ms, node.scale, node.memory_mib, node.busy))
            .collect();
        assert_eq!(told, [(500.0, 3, 256, 1.0), (250.0, 2, 256, 1.0)]);
        assert_ne!(graph.node(0).executable, graph.node(1).executable);
        assert_eq!(graph.node(0).output_bytes, 1000);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (inputs, skipped) = shared(folder.path());
        assert!(inputs.is_empty());
        let what: Vec<&str> = skipped.iter().map(|(what, _)| what.as_str()).collect();
        assert_eq!(what, ["imports of faasflow", "imports of wfcommons"]);
        let missing = Input::open(&folder.path().join("none.json"), None).unwrap_err();
        assert!(missing.to_string().contains("none.json"));
    }
}
