//! Files that describe a cluster: what lies between its workers, and what no worker says of itself. With it a workflow can
//! be planned for workers that need not be there. docs/placement.md says what stands in such a file.

use super::{Link, Network, WorkerCapacity, executor_memory_bytes};
use crate::definition::cluster::{RawCluster, RawLink, RawWorker, cluster};
use crate::definition::problem::{Problems, quoted, utf8_of};
use crate::definition::{DEFINITION_BYTES_MAX, DefinitionError, ProblemKind, SourceText, Spanned};
use engine::nearest::instead;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::path::Path;
use thiserror::Error;

/// Longest file, in bytes.
const CLUSTER_BYTES_MAX: usize = DEFINITION_BYTES_MAX;

/// What a file says of a cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterFile {
    source: SourceText,
    raw: RawCluster,
}

/// Why a file describes no cluster, or not the one that there is.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum ClusterError {
    /// It cannot be read.
    #[error("cannot read the cluster file {path}: {source}")]
    #[diagnostic(help(
        "name a file that describes workers and links; docs/placement.md says what stands in it"
    ))]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is too long.
    #[error("the cluster file {path} has more than {CLUSTER_BYTES_MAX} bytes")]
    #[diagnostic(help("is it a cluster file?"))]
    Long {
        /// Which file.
        path: String,
    },
    /// There is nobody to place nodes on.
    #[error("{path} describes no workers")]
    #[diagnostic(help(
        "add `workers:` with the `cpus` and `memory_mib` of each, or name workers by --workers"
    ))]
    NoWorkers {
        /// Which file.
        path: String,
    },
    /// What it says is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Problems(#[from] DefinitionError),
}

impl ClusterFile {
    /// Reads a file's text. `name` is how errors call it.
    ///
    /// ```
    /// use master::place::ClusterFile;
    /// let text = "{ workers: { a: { cpus: 4, memory_mib: 8192 } }, links: [{ between: [a, a], latency_us: 50 }] }";
    /// let error = ClusterFile::parse("rack.yaml", text.as_bytes()).unwrap_err();
    /// assert_eq!(error.problems[0].to_string(), "a worker has no link to itself");
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong with it (up to a bound), each at its place.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, DefinitionError> {
        let source = SourceText {
            name: name.into(),
            text: utf8_of(name, bytes)?.into(),
        };
        let raw = cluster(&source)?;
        Ok(Self { source, raw })
    }

    /// Reads the file at a path.
    ///
    /// # Errors
    /// If it cannot be read or is too long, or as [`ClusterFile::parse`].
    pub fn load(path: &Path) -> Result<Self, ClusterError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| {
            file.take(CLUSTER_BYTES_MAX as u64 + 1)
                .read_to_end(&mut bytes)
        });
        if let Err(source) = read {
            return Err(ClusterError::Read { path: name, source });
        }
        if bytes.len() > CLUSTER_BYTES_MAX {
            return Err(ClusterError::Long { path: name });
        }
        Ok(Self::parse(&name, &bytes)?)
    }

    /// Its name, as errors call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Whether it says something of one of these workers at least, or of a link from or to one.
    #[must_use]
    pub fn names_any(&self, workers: &[WorkerCapacity]) -> bool {
        let described = self.raw.workers.iter().map(|raw| &raw.name);
        let ends = self
            .raw
            .links
            .iter()
            .flat_map(|pair| [&pair.from, &pair.to]);
        let known: HashSet<&str> = workers.iter().map(|worker| &*worker.name).collect();
        described
            .chain(ends)
            .any(|name| known.contains(&*name.value))
    }

    /// The workers that it describes, in its order.
    ///
    /// # Errors
    /// If it describes none, or of one says not how many CPUs and how much memory it has.
    pub fn workers(&self) -> Result<Vec<WorkerCapacity>, ClusterError> {
        if self.raw.workers.is_empty() {
            return Err(ClusterError::NoWorkers {
                path: self.source.name.to_string(),
            });
        }
        let mut problems = Problems::new(&self.source);
        let mut workers = Vec::with_capacity(self.raw.workers.len());
        for raw in &self.raw.workers {
            let missing = |key: &'static str| ProblemKind::MissingKey {
                what: format!("worker `{}`", raw.name.value),
                key,
            };
            let help = "of workers that are not asked it must be said";
            let mut miss = |key| problems.add(raw.name.span, missing(key), Some(help.to_owned()));
            match (raw.cpus, raw.memory_mib) {
                (Some(cpus), Some(memory_mib)) => {
                    let memory_bytes = executor_memory_bytes(memory_mib << 20);
                    let worker = WorkerCapacity::new(raw.name.value.clone(), cpus, memory_bytes);
                    workers.push(WorkerCapacity {
                        lanes: raw.lanes.unwrap_or(1),
                        ..worker
                    });
                }
                (None, _) => miss("cpus"),
                (Some(_), None) => miss("memory_mib"),
            }
        }
        if problems.any() {
            return Err(problems.into_error().into());
        }
        Ok(workers)
    }

    /// What lies between these workers; and to them is added what they do not say of themselves: their speed. What else the
    /// file says of them counts for nothing, since they know it better.
    ///
    /// # Errors
    /// If it names a worker that there is not. One that it describes whole may be missing, and the links to it.
    pub fn apply(&self, workers: &mut [WorkerCapacity]) -> Result<Network, DefinitionError> {
        let places: HashMap<String, usize> = (workers.iter().enumerate())
            .map(|(place, worker)| (worker.name.clone(), place))
            .collect();
        let whole = |raw: &&RawWorker| raw.cpus.is_some() && raw.memory_mib.is_some();
        let whole = self.raw.workers.iter().filter(whole);
        let whole: HashSet<&str> = whole.map(|raw| raw.name.value.as_str()).collect();
        let mut problems = Problems::new(&self.source);
        let mut known: Vec<&str> = places
            .keys()
            .map(String::as_str)
            .chain(whole.iter().copied())
            .collect();
        known.sort_unstable();
        known.dedup();
        let mut place_of = |name: &Spanned<String>| {
            let place = places.get(&name.value).copied();
            if place.is_none() && !whole.contains(name.value.as_str()) {
                let help = (!problems.crowded())
                    .then(|| instead(&name.value, &known, "the workers are", "there are none"));
                let kind = ProblemKind::UnknownWorker {
                    name: quoted(&name.value),
                };
                problems.add(name.span, kind, help);
            }
            place
        };
        for raw in &self.raw.workers {
            if let (Some(place), Some(speed)) = (place_of(&raw.name), raw.speed) {
                workers[place].speed = speed;
            }
        }
        let all = link(&self.raw.link, Link::DEFAULT);
        let mut network = Network::uniform(all);
        for pair in &self.raw.links {
            if let (Some(from), Some(to)) = (place_of(&pair.from), place_of(&pair.to)) {
                network.set(from, to, link(&pair.link, all));
            }
        }
        if problems.any() {
            return Err(problems.into_error());
        }
        Ok(network)
    }
}

/// What a file says of a link; what it leaves out is as elsewhere.
pub(super) fn link(raw: &RawLink, elsewhere: Link) -> Link {
    Link {
        bytes_per_s: raw.bytes_per_s.unwrap_or(elsewhere.bytes_per_s),
        latency_ns: raw
            .latency_us
            .map_or(elsewhere.latency_ns, |latency_us| latency_us * 1e3),
    }
}
