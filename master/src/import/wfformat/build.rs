//! The draft of a recorded run.

use super::order::Order;
use super::read::{Instance, KNOWN_SCHEMAS};
use crate::definition::names::RESERVED_NODES;
use crate::definition::problem::quoted;
use crate::import::Options;
use crate::import::draft::{Draft, Feed, Source, WorkflowInput};
use crate::import::names::Names;
use crate::import::synthetic::{self, Changed, Content, Held, Input, Recorded};
use faasstore::binding::Kind;
use serde_json::json;

/// Names that one note lists.
const LISTED_MAX: usize = 6;
/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// Makes the draft.
pub(super) fn build(instance: &Instance, order: &Order, options: &Options) -> Draft {
    let mut draft = Draft {
        workflow: Names::default().name(&instance.name, "workflow_"),
        ..Draft::default()
    };
    let mut names = Names::without(&RESERVED_NODES);
    let tasks = instance.tasks.iter();
    let task_names: Vec<String> = tasks
        .map(|task| {
            // Parents and people know a task by its id; a bare number says less than its name.
            let id = &task.id.value;
            let wanted = if id.contains(&task.name) {
                id
            } else {
                &task.name
            };
            names.name(wanted, "task_")
        })
        .collect();
    let output_names: Vec<Vec<String>> = instance
        .tasks
        .iter()
        .map(|task| {
            let mut names = Names::default();
            let written = task.writes.iter();
            written
                .map(|&file| names.name(base(&instance.files[file].name), "file_"))
                .collect()
        })
        .collect();
    // A file is one payload, so that its place among its writer's outputs is looked for once.
    let mut output_of = rustc_hash::FxHashMap::default();
    for (place, task) in instance.tasks.iter().enumerate() {
        for (output, &file) in task.writes.iter().enumerate() {
            output_of.insert((place, file), output);
        }
    }
    let mut inputs = Names::default();
    let mut input_of: Vec<Option<String>> = vec![None; instance.files.len()];
    let mut is_read = vec![false; instance.files.len()];
    let mut held = Vec::with_capacity(instance.tasks.len());
    for (place, task) in instance.tasks.iter().enumerate() {
        let bytes = task
            .writes
            .iter()
            .map(|&file| instance.files[file].bytes.unwrap_or(0));
        held.push(Held {
            bytes: bytes.fold(0, u64::saturating_add),
            memory_bytes: task.memory_bytes.unwrap_or(0),
            level: order.levels[place],
            read_until: order.levels[place],
        });
    }
    let mut changed = Changed::default();
    let end = order.levels.iter().max().copied().unwrap_or(0);
    for (place, task) in instance.tasks.iter().enumerate() {
        let mut names = Names::without(&[synthetic::PARAMETERS]);
        let mut node_inputs = Vec::with_capacity(task.reads.len());
        let mut data_from = rustc_hash::FxHashSet::default();
        for (&file, &writer) in task.reads.iter().zip(&order.writers[place]) {
            let name = names.name(base(&instance.files[file].name), "file_");
            let writer = writer.and_then(|writer| Some((writer, *output_of.get(&(writer, file))?)));
            let source = match writer {
                Some((writer, output)) => {
                    is_read[file] = true;
                    data_from.insert(writer);
                    held[writer].read_until = held[writer].read_until.max(order.levels[place]);
                    Source::output(&task_names[writer], &output_names[writer][output])
                }
                None => {
                    let name = input_of[file].get_or_insert_with(|| {
                        let of = &instance.files[file];
                        let name = inputs.name(base(&of.name), "file_");
                        draft.inputs.push(WorkflowInput {
                            name: name.clone(),
                            kind: Kind::Bytes,
                            default: Some(json!("")),
                            optional: false,
                            comment: of.bytes.map(|bytes| format!("recorded: {bytes} bytes")),
                        });
                        name
                    });
                    Source::Input(name.clone())
                }
            };
            node_inputs.push(Input {
                name,
                feed: source.into(),
                foreign: writer.is_none(),
            });
        }
        let outputs = task.writes.iter().zip(&output_names[place]);
        let outputs = outputs.map(|(&file, name)| {
            let bytes = instance.files[file].bytes.unwrap_or(0);
            (name.clone(), Content::Bytes(bytes))
        });
        let recorded = Recorded {
            runtime_ms: task.runtime_s.unwrap_or(1.0) * 1000.0,
            placeholder: task.runtime_s.is_none(),
            outputs: outputs.collect(),
            activations: 1,
            memory_bytes: task.memory_bytes,
            cpus: task.cores.filter(|&cores| cores > 0.0),
            scale: None,
        };
        let mut node = synthetic::node(
            &task_names[place],
            node_inputs,
            &recorded,
            options,
            &mut changed,
        );
        let parents = task
            .parents
            .iter()
            .filter(|&parent| !data_from.contains(parent));
        node.after = parents.map(|&parent| task_names[parent].clone()).collect();
        node.comments
            .extend(comment(instance, place, &task_names[place]));
        draft.nodes.push(node);
    }
    // What was written and never read is what the run was for.
    let mut names = Names::default();
    for (place, task) in instance.tasks.iter().enumerate() {
        for (output, &file) in task.writes.iter().enumerate() {
            if !is_read[file] {
                held[place].read_until = end;
                let name = names.name(base(&instance.files[file].name), "file_");
                let source = Source::output(&task_names[place], &output_names[place][output]);
                draft.outputs.push((name, Feed::from(source)));
            }
        }
    }
    draft.notes = notes(instance, order, &draft);
    draft.notes.extend(changed.notes());
    synthetic::share_memory(&mut draft, &held, options);
    draft
}

/// The last part of a path: names are short, and the rest of a path says where a file lay.
fn base(name: &str) -> &str {
    name.rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or(name)
}

/// What was recorded of a task and is not asked for.
fn comment(instance: &Instance, place: usize, name: &str) -> Option<String> {
    let task = &instance.tasks[place];
    let mut parts = Vec::new();
    if task.id.value != name {
        parts.push(format!("task {}", quoted(&task.id.value)));
    }
    if let Some(program) = &task.program {
        let first = program.split_whitespace().next().unwrap_or_default();
        parts.push(format!("program {}", quoted(first)));
    }
    if let Some(bytes) = task.memory_bytes {
        parts.push(format!("recorded memory {} MiB", bytes.div_ceil(MIB)));
    }
    if let Some(cores) = task.cores {
        parts.push(format!("recorded cores {cores}"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn notes(instance: &Instance, order: &Order, draft: &Draft) -> Vec<String> {
    let schema = match &instance.schema {
        Some(schema) => format!("WfFormat {}", quoted(&schema.version)),
        None => "WfFormat".to_owned(),
    };
    let mut notes = vec![format!(
        "imported from {schema}; every task is a synthetic function with the recorded run time and sizes of its files"
    )];
    if let Some(schema) = instance.schema.as_ref().filter(|schema| schema.newer) {
        notes.push(format!(
            "WfFormat {} is newer than those that are known ({KNOWN_SCHEMAS}); what it has that they have not is left out",
            quoted(&schema.version)
        ));
    }
    if !order.ambiguous.is_empty() {
        let files = order.ambiguous.iter().take(LISTED_MAX);
        let files = files.map(|&file| format!("`{}`", quoted(&instance.files[file].name)));
        notes.push(format!(
            "written by several tasks: {}{}; what the last parent wrote is read, or the last task before",
            files.collect::<Vec<_>>().join(", "),
            if order.ambiguous.len() > LISTED_MAX { ", …" } else { "" },
        ));
    }
    if instance.sizes_differ > 0 {
        notes.push(format!(
            "{} files have several sizes; the first one counts",
            instance.sizes_differ
        ));
    }
    if instance.sizes_missing > 0 {
        notes.push(format!(
            "{} files have no size; they are taken to be empty",
            instance.sizes_missing
        ));
    }
    let unmeasured = instance
        .tasks
        .iter()
        .filter(|task| task.runtime_s.is_none())
        .count();
    if unmeasured > 0 {
        notes.push(format!(
            "{unmeasured} tasks have no run time; theirs are placeholders of 1 s"
        ));
    }
    if !draft.inputs.is_empty() {
        notes.push(
            "inputs default to nothing, so that it runs as it is; give bytes of the recorded size with --input"
                .to_owned(),
        );
    }
    notes
}
