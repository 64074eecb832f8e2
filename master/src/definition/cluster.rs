//! A file that describes a cluster, read: every key known, every number within its range, no link said twice. Which of the
//! workers that it names there are is left to whoever has them ([`crate::place::ClusterFile`]).

use super::problem::Problems;
use super::read::read_cluster;
use super::{DefinitionError, ProblemKind, SourceText, Spanned};

/// What a cluster file says.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct RawCluster {
    pub(crate) workers: Vec<RawWorker>,
    /// Between two workers of which nothing else is said.
    pub(crate) link: RawLink,
    pub(crate) links: Vec<RawPair>,
}

/// What it says of a worker.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RawWorker {
    pub(crate) name: Spanned<String>,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) lanes: Option<u8>,
    pub(crate) speed: Option<f64>,
}

/// What it says of a link.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct RawLink {
    pub(crate) bytes_per_s: Option<f64>,
    pub(crate) latency_us: Option<f64>,
}

/// What it says of the link from one worker to another.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RawPair {
    pub(crate) from: Spanned<String>,
    pub(crate) to: Spanned<String>,
    pub(crate) link: RawLink,
}

/// Reads a cluster file.
///
/// # Errors
/// Everything that is wrong with it, up to a bound.
pub(crate) fn cluster(source: &SourceText) -> Result<RawCluster, DefinitionError> {
    let mut problems = Problems::new(source);
    let read = read_cluster(source, &mut problems).map_err(of_cluster)?;
    if problems.any() {
        return Err(problems.into_error());
    }
    Ok(read)
}

/// What reads YAML speaks of definitions where it says what would be right.
fn of_cluster(mut error: DefinitionError) -> DefinitionError {
    for problem in &mut error.problems {
        let help = match problem.kind {
            ProblemKind::Empty => "begin with `workers:` or `links:`; see docs/placement.md",
            ProblemKind::SecondDocument => {
                "a file describes one cluster: take the second document away"
            }
            ProblemKind::Deep { .. } | ProblemKind::Many { .. } => {
                "a description of a cluster needs far less: is it a cluster file?"
            }
            ProblemKind::Shape { .. } => "keys are plain names, as in `workers:`",
            _ => continue,
        };
        problem.help = Some(help.to_owned());
    }
    error
}
