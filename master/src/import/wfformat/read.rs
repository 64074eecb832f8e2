//! An instance, whichever schema it has.
//!
//! Schemas 1.0 to 1.2 have `workflow.jobs`, later ones `workflow.tasks`, with everything of a task in one place; in 1.5 the
//! tasks stand in `workflow.specification`, their files beside them, and what was measured in `workflow.execution`. Names
//! of keys changed too: each is looked for under all the names that it had. Keys that are not needed are left alone.

use crate::definition::keys::{PROFILE_BYTES_MAX, TIME_MS_MAX};
use crate::definition::problem::quoted;
use crate::definition::{ProblemKind, Span, Spanned};
use crate::import::problem::ImportProblem;
use crate::import::read::{Fields, Reader};
use crate::import::tree::{Tree, Value};
use rustc_hash::FxHashMap;

/// Longest run time, in seconds: a day, the language's limit.
const RUNTIME_S_MAX: f64 = TIME_MS_MAX as f64 / 1000.0;
/// Most cores of a task.
const CORES_MAX: f64 = 65_536.0;

/// A recorded run.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) schema: Option<Schema>,
    pub(super) tasks: Vec<Task>,
    pub(super) files: Vec<File>,
    /// Files of which two sizes were given.
    pub(super) sizes_differ: usize,
    /// Files of which no size was given.
    pub(super) sizes_missing: usize,
}

/// Which schema it says that it has.
pub(super) struct Schema {
    /// As it is written.
    pub(super) version: String,
    /// Whether it came after those that are known.
    pub(super) newer: bool,
}

/// The last minor version of schema 1 that is known.
const MINOR_MAX: u64 = 5;
/// The schemas that are known, for people.
pub(super) const KNOWN_SCHEMAS: &str = "1.0 to 1.5";

/// The schema of a version, unless it is none that could be read as those that are known.
fn schema(reader: &mut Reader, tree: &Tree) -> Option<Schema> {
    let version = match &tree.value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            reader.shape(tree, "`schemaVersion`", "a version, as \"1.5\"");
            return None;
        }
    };
    let (major, minor) = version.split_once('.').unwrap_or((&version, "0"));
    let minor = minor.split('.').next().unwrap_or_default();
    match (major, minor.parse::<u64>()) {
        ("1", Ok(minor)) => Some(Schema {
            newer: minor > MINOR_MAX,
            version,
        }),
        _ => {
            let what = format!("WfFormat of schema version `{}`", quoted(&version));
            let kind = ImportProblem::NotCovered(what);
            let help = format!("known are {KNOWN_SCHEMAS}");
            reader.add(tree.span, kind, help);
            None
        }
    }
}

/// A file that tasks write or read.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Option<u64>,
}

/// A task.
pub(super) struct Task {
    pub(super) id: Spanned<String>,
    pub(super) name: String,
    /// Places in [`Instance::tasks`].
    pub(super) parents: Vec<usize>,
    /// Places in [`Instance::files`], each once.
    pub(super) reads: Vec<usize>,
    /// Places in [`Instance::files`], each once.
    pub(super) writes: Vec<usize>,
    pub(super) runtime_s: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) cores: Option<f64>,
    pub(super) program: Option<String>,
}

/// Reads the file.
pub(super) fn instance(reader: &mut Reader, tree: &Tree) -> Option<Instance> {
    let fields = reader.map(tree, "a WfFormat instance")?;
    let workflow = reader.needed(&fields, "the file", "workflow")?;
    let workflow = reader.map(workflow, "`workflow`")?;
    let text = |key| match fields.get(key) {
        Some(Tree {
            value: Value::Text(text),
            ..
        }) => Some(text.clone()),
        _ => None,
    };
    let mut all = Collector {
        instance: Instance {
            name: text("name").unwrap_or_else(|| "workflow".to_owned()),
            schema: fields
                .get("schemaVersion")
                .and_then(|version| schema(reader, version)),
            tasks: Vec::new(),
            files: Vec::new(),
            sizes_differ: 0,
            sizes_missing: 0,
        },
        files: FxHashMap::default(),
        ids: FxHashMap::default(),
        names: FxHashMap::default(),
        kin: Vec::new(),
    };
    match workflow.get("specification") {
        Some(specification) => {
            let specification = reader.map(specification, "`specification`")?;
            if let Some(files) = specification.get("files") {
                for file in reader.list(files, "`files`")? {
                    all.file(reader, file);
                }
            }
            let tasks = reader.needed(&specification, "`specification`", "tasks")?;
            all.tasks(reader, tasks)?;
            if let Some(execution) = workflow.get("execution") {
                let execution = reader.map(execution, "`execution`")?;
                if let Some(tasks) = execution.get("tasks") {
                    for task in reader.list(tasks, "`tasks`")? {
                        all.measured(reader, task);
                    }
                }
            }
        }
        None => {
            let tasks = match (workflow.get("jobs"), workflow.get("tasks")) {
                (Some(tasks), _) | (None, Some(tasks)) => tasks,
                (None, None) => reader.needed(&workflow, "`workflow`", "specification")?,
            };
            all.tasks(reader, tasks)?;
        }
    }
    all.find_kin(reader);
    let files = all.instance.files.iter();
    all.instance.sizes_missing = files.filter(|file| file.bytes.is_none()).count();
    Some(all.instance)
}

/// Which way an edge is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kin {
    Parent,
    Child,
}

struct Collector<'t> {
    instance: Instance,
    files: FxHashMap<&'t str, usize>,
    ids: FxHashMap<&'t str, usize>,
    names: FxHashMap<&'t str, usize>,
    /// Of a task, who stands before or behind it.
    kin: Vec<(usize, Kin, &'t str, Span)>,
}

impl<'t> Collector<'t> {
    fn tasks(&mut self, reader: &mut Reader, tree: &'t Tree) -> Option<()> {
        let tasks = reader.list(tree, "the list of tasks")?;
        if tasks.is_empty() {
            let help = "an instance has at least one task";
            reader.add(tree.span, ProblemKind::NoNodes, help);
        }
        for task in tasks {
            self.task(reader, task);
        }
        Some(())
    }

    fn task(&mut self, reader: &mut Reader, tree: &'t Tree) -> Option<()> {
        let fields = reader.map(tree, "a task")?;
        let id = match fields.get("id") {
            Some(tree) => tree,
            None => reader.needed(&fields, "a task", "name")?,
        };
        let id_text = reader.text(id, "the id of a task")?;
        let name = match fields.get("name") {
            Some(tree) => reader.text(tree, "the name of a task")?,
            None => id_text,
        };
        let place = self.instance.tasks.len();
        if let Some(&first) = self.ids.get(id_text) {
            let name = quoted(id_text);
            let first = self.instance.tasks[first].id.span;
            reader.problems.add_beside(
                id.span,
                ProblemKind::Duplicate { name },
                Some("give each task an id of its own".to_owned()),
                Some((first, "first here")),
            );
            return None;
        }
        self.ids.insert(id_text, place);
        self.names.entry(name).or_insert(place);
        self.instance.tasks.push(Task {
            id: Spanned {
                value: id_text.to_owned(),
                span: id.span,
            },
            name: name.to_owned(),
            parents: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            runtime_s: None,
            memory_bytes: None,
            cores: None,
            program: None,
        });
        for (key, kin) in [("parents", Kin::Parent), ("children", Kin::Child)] {
            let Some(list) = fields.get(key) else {
                continue;
            };
            for tree in reader.list(list, "a list of tasks")? {
                let name = reader.text(tree, "the id of a task")?;
                self.kin.push((place, kin, name, tree.span));
            }
        }
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (key, list) in [("inputFiles", &mut reads), ("outputFiles", &mut writes)] {
            let Some(files) = fields.get(key) else {
                continue;
            };
            for tree in reader.list(files, "a list of files")? {
                let name = reader.text(tree, "the id of a file")?;
                list.push(self.file_named(name));
            }
        }
        if let Some(files) = fields.get("files") {
            for tree in reader.list(files, "`files`")? {
                let Some(file) = self.file(reader, tree) else {
                    continue;
                };
                let fields = reader.map(tree, "a file")?;
                let Some(link) = reader.needed(&fields, "a file", "link") else {
                    continue;
                };
                match reader.text(link, "`link`")? {
                    "input" => reads.push(file),
                    "output" => writes.push(file),
                    other => {
                        let help = reader.instead(other, &["input", "output"]);
                        let (what, name) = ("link", quoted(other));
                        reader.add(link.span, ImportProblem::Unknown { what, name }, help);
                    }
                }
            }
        }
        each_once(&mut reads);
        each_once(&mut writes);
        let task = &mut self.instance.tasks[place];
        task.reads = reads;
        task.writes = writes;
        measure(reader, task, &fields);
        Some(())
    }

    fn file_named(&mut self, name: &'t str) -> usize {
        let files = &mut self.instance.files;
        *self.files.entry(name).or_insert_with(|| {
            files.push(File {
                name: name.to_owned(),
                bytes: None,
            });
            files.len() - 1
        })
    }

    /// A file with its size.
    fn file(&mut self, reader: &mut Reader, tree: &'t Tree) -> Option<usize> {
        let fields = reader.map(tree, "a file")?;
        let name = match fields.get("id") {
            Some(tree) => tree,
            None => reader.needed(&fields, "a file", "name")?,
        };
        let file = self.file_named(reader.text(name, "the id of a file")?);
        let size = fields.get("sizeInBytes").or_else(|| fields.get("size"));
        if let Some(bytes) =
            size.and_then(|tree| reader.whole(tree, "sizeInBytes", PROFILE_BYTES_MAX))
        {
            let known = &mut self.instance.files[file].bytes;
            self.instance.sizes_differ += usize::from(known.is_some_and(|known| known != bytes));
            known.get_or_insert(bytes);
        }
        Some(file)
    }

    /// What was measured of a task, in schema 1.5.
    fn measured(&mut self, reader: &mut Reader, tree: &'t Tree) -> Option<()> {
        let fields = reader.map(tree, "a task")?;
        let id = reader.needed(&fields, "a task of `execution`", "id")?;
        let text = reader.text(id, "the id of a task")?;
        let Some(place) = self.find(text) else {
            self.no_task(reader, text, id.span);
            return None;
        };
        measure(reader, &mut self.instance.tasks[place], &fields);
        Some(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.ids.get(name).or_else(|| self.names.get(name)).copied()
    }

    fn no_task(&self, reader: &mut Reader, name: &str, span: Span) {
        // Nearness is only looked for among few: this may be said of every task of a large instance.
        let few = self.instance.tasks.iter().take(1000);
        let known: Vec<&str> = few.map(|task| task.id.value.as_str()).collect();
        let help = reader.instead(name, &known);
        let (what, name) = ("task", quoted(name));
        reader.add(span, ImportProblem::Unknown { what, name }, help);
    }

    fn find_kin(&mut self, reader: &mut Reader) {
        for (task, kin, name, span) in std::mem::take(&mut self.kin) {
            let Some(other) = self.find(name) else {
                self.no_task(reader, name, span);
                continue;
            };
            let (parent, child) = match kin {
                Kin::Parent => (other, task),
                Kin::Child => (task, other),
            };
            self.instance.tasks[child].parents.push(parent);
        }
        for task in &mut self.instance.tasks {
            each_once(&mut task.parents);
        }
    }
}

/// In their order, without those that stood there before.
fn each_once(places: &mut Vec<usize>) {
    let mut seen = rustc_hash::FxHashSet::default();
    places.retain(|&place| seen.insert(place));
}

/// What was measured of a task, under any of the names that it had.
fn measure(reader: &mut Reader, task: &mut Task, fields: &Fields<'_>) {
    let first = |keys: [&str; 2]| keys.into_iter().find_map(|key| fields.get(key));
    if let Some(tree) = first(["runtimeInSeconds", "runtime"]) {
        task.runtime_s = reader
            .number(tree, "runtimeInSeconds", RUNTIME_S_MAX)
            .or(task.runtime_s);
    }
    if let Some(tree) = first(["memoryInBytes", "memory"]) {
        let bytes = reader.number(tree, "memoryInBytes", PROFILE_BYTES_MAX as f64);
        task.memory_bytes = bytes.map(|bytes| bytes as u64).or(task.memory_bytes);
    }
    if let Some(tree) = first(["coreCount", "cores"]) {
        task.cores = reader.number(tree, "coreCount", CORES_MAX).or(task.cores);
    }
    let program = match fields.get("command").map(|tree| &tree.value) {
        Some(Value::Map(entries)) => entries
            .iter()
            .find(|(key, _)| key.value == "program")
            .map(|(_, tree)| &tree.value),
        _ => fields.get("program").map(|tree| &tree.value),
    };
    if let Some(Value::Text(program)) = program {
        task.program = Some(program.clone());
    }
}
