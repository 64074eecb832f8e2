//! What is run to compare predictions with measurements: the examples, imports, and files that were named.

use super::inputs::{self, Input, Kind};
use super::scaled::{keep_busy, scale_bytes, written_bytes};
use super::{PartitionError, Unused};
use crate::words;
use faasstore::binding::Kind as PayloadKind;
use master::client::Payload;
use master::definition::{self, Definition};
use master::graph::Graph;
use master::import::Format;
use master::place::{Options, Partitioner, WorkerCapacity, find};
use std::path::Path;

/// How long an invocation of an import shall take, in nanoseconds, as its placement by hash is predicted.
const MAKESPAN_NS: f64 = 0.8e9;
/// Most bytes that an import writes in an invocation.
const BYTES_MAX: f64 = 128.0 * 1024.0 * 1024.0;
/// Text for what takes bytes.
const TEXT_BYTES: usize = 16 << 20;
/// The example, as it is shipped.
const WORDCOUNT: &str = include_str!("../../../examples/wordcount/workflow.yaml");

/// A workflow that can be run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Its name in rows.
    pub(super) name: String,
    /// Whether it was named by the caller.
    pub(super) named: bool,
    /// What it is.
    pub(super) family: &'static str,
    /// As it runs.
    pub(super) definition: Definition,
    /// What clients give.
    pub(super) inputs: Vec<(String, Payload)>,
    /// Whether its hints are those of another machine, so that it must be measured first.
    pub(super) profile_first: bool,
}

/// What to run.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) all: Vec<Job>,
    /// What cannot be run, and why.
    pub(super) skipped: Vec<(String, String)>,
    /// Those of them that were named by the caller.
    pub(super) unused: Unused,
}

impl Jobs {
    /// The examples and the imports of the shared data, unless only files are wanted; then the files.
    pub(super) fn of(
        options: &super::RunOptions,
        workers: &[WorkerCapacity],
    ) -> Result<Self, PartitionError> {
        let mut jobs = Self::default();
        for (path, kind) in &options.files {
            let input = Input::open(path, *kind)?;
            jobs.take(&input, workers, options.busy)?;
        }
        jobs.all.iter_mut().for_each(|job| job.named = true);
        jobs.unused = Unused::new(jobs.skipped.clone());
        if options.files_only {
            return Ok(jobs);
        }
        if options.examples {
            let definition = definition::parse("wordcount.yaml", WORDCOUNT.as_bytes());
            jobs.take_own(
                "wordcount (example)",
                workers,
                definition.map_err(inputs::InputError::from)?,
            );
        }
        match &options.data {
            Some(folder) => jobs.take_shared(folder, workers, options.busy),
            None => jobs.skipped.push(super::no_data()),
        }
        Ok(jobs)
    }

    /// A workflow could not be run after all.
    pub(super) fn skip(&mut self, job: &Job, why: String) {
        if job.named {
            self.unused.add(&job.name, &why);
        }
        self.skipped.push((job.name.clone(), why));
    }

    fn take_shared(&mut self, folder: &Path, workers: &[WorkerCapacity], busy: bool) {
        let (inputs, missing) = inputs::shared(folder);
        self.skipped.extend(missing);
        for input in &inputs {
            if let Err(error) = self.take(input, workers, busy) {
                self.skipped.push((input.name.clone(), error.to_string()));
            }
        }
    }

    fn take(
        &mut self,
        input: &Input,
        workers: &[WorkerCapacity],
        busy: bool,
    ) -> Result<(), inputs::InputError> {
        match input.kind {
            Kind::Own => {
                let definition = definition::load(&input.path)?;
                self.take_own(&input.name, workers, definition);
            }
            Kind::Import(Format::Asl) => {
                let why = "the functions of a state machine are not here; deploy it with them and see `faasflow plan`";
                self.skipped.push((input.name.clone(), why.to_owned()));
            }
            Kind::Import(format) => match scaled(input, format, workers, busy)? {
                Some(definition) => self.all.push(Job {
                    name: input.name.clone(),
                    named: false,
                    family: input.kind.name(),
                    definition,
                    inputs: Vec::new(),
                    profile_first: false,
                }),
                None => {
                    let why = "it has no run times, or fits these workers nowhere; give its nodes run times, or ask for less";
                    self.skipped.push((input.name.clone(), why.to_owned()));
                }
            },
        }
        Ok(())
    }

    fn take_own(&mut self, name: &str, workers: &[WorkerCapacity], mut definition: Definition) {
        // A small host's workers take fewer executors than an example may ask for.
        let most = workers.iter().map(|worker| worker.executors).min();
        let most = most.map_or(1, |most| u16::try_from(most).unwrap_or(u16::MAX));
        for node in &mut definition.nodes {
            node.resources.scale = node.resources.scale.min(most);
        }
        let needed = definition.inputs.iter();
        let needed = needed.filter(|input| input.default.is_none() && !input.optional);
        let mut inputs = Vec::new();
        for input in needed {
            if input.kind != PayloadKind::Bytes {
                let why = format!(
                    "its input {} needs a default: write one into the file",
                    input.name.value
                );
                self.skipped.push((name.to_owned(), why));
                return;
            }
            let mut text = words::made_text();
            text.truncate(TEXT_BYTES);
            inputs.push((input.name.value.clone(), Payload::Bytes(text)));
        }
        self.all.push(Job {
            name: name.to_owned(),
            named: false,
            family: Kind::Own.name(),
            definition,
            inputs,
            profile_first: true,
        });
    }
}

/// An import, so short that it can be run.
fn scaled(
    input: &Input,
    format: Format,
    workers: &[WorkerCapacity],
    busy: bool,
) -> Result<Option<Definition>, inputs::InputError> {
    let mut whole = input.draft(format, 1.0)?;
    let bytes = written_bytes(&whole);
    scale_bytes(&mut whole, 0.0);
    if busy {
        keep_busy(&mut whole);
    }
    let graph = Graph::of(&input.parse(&whole)?);
    let options = Options {
        partitioner: Partitioner::Hash,
        ..Options::default()
    };
    let Ok((_, found)) = find(&graph, workers, &options) else {
        return Ok(None);
    };
    if found.makespan_ns <= 0.0 {
        return Ok(None);
    }
    let time_scale = MAKESPAN_NS / found.makespan_ns;
    let factor = time_scale.min(BYTES_MAX / bytes.max(1.0)).min(1.0);
    let mut draft = input.draft(format, time_scale)?;
    scale_bytes(&mut draft, factor);
    if busy {
        keep_busy(&mut draft);
    }
    Ok(Some(input.parse(&draft)?))
}

#[cfg(test)]
mod tests {
    use super::super::{PartitionError, RunOptions};
    use super::*;
    use master::place::Effort;

    #[test]
    fn a_file_that_was_named_and_is_of_no_use_is_told_beside_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, input: &str| {
            let path = folder.path().join(name);
            let text = format!(
                "{{ workflow: w, input: {{ i: {input} }}, nodes: {{ n: {{ function: e:f, input: {{ i: input.i }} }} }} }}"
            );
            std::fs::write(&path, text).unwrap();
            (path, None)
        };
        let options = RunOptions {
            files: vec![file("list.yaml", "list"), file("bytes.yaml", "bytes")],
            files_only: true,
            examples: false,
            data: None,
            busy: false,
            functions: None,
            rounds: 1,
            effort: Effort::default(),
        };
        let workers = [WorkerCapacity::new("a", 4, 1 << 30)];
        let mut jobs = Jobs::of(&options, &workers).unwrap();
        assert_eq!(jobs.all.len(), 1);
        // Others that cannot be run are skipped, and no error.
        let job = jobs.all[0].clone();
        let other = Job {
            named: false,
            ..job.clone()
        };
        jobs.skip(&other, "it is not ours".to_owned());
        jobs.skip(&job, "it fits nowhere".to_owned());
        assert_eq!(jobs.skipped.len(), 3);
        let error = jobs.unused.take().unwrap();
        assert!(matches!(error, PartitionError::Unused(_)));
        assert_eq!(
            error.to_string(),
            "not measured of what --file names: list: its input i needs a default: write one into the file; bytes: it fits \
             nowhere"
        );
        assert!(jobs.unused.take().is_none(), "it is said once");
    }
}
