//! Imports: workflows of other systems, turned into definitions.
//!
//! [`import`] reads a file of a [`Format`] and gives a [`Draft`]: a definition in memory, with notes on what was chosen
//! where the file leaves it open. [`Draft::to_yaml`] prints it. Any bytes give either a draft or all the problems that
//! were found, each with its place and what would be right; depth, size and memory are bounded. docs/imports.md says how
//! each construct is taken over.

mod asl;
mod draft;
mod faasflow;
mod json;
mod names;
mod problem;
mod read;
mod synthetic;
#[cfg(test)]
mod tests;
mod tree;
mod wfformat;
mod yaml;

pub use asl::{AslOptions, Payload};
pub use draft::{
    Catch, Delay, Draft, Feed, Foreach, Formula, Join, Node, Profile, Resources, Retry, Source,
    Work, WorkflowInput,
};
pub use problem::{ImportError, ImportProblem};

use crate::definition::problem::utf8_of;
use crate::definition::{DEFINITION_BYTES_MAX, SourceText};
use std::path::Path;

/// Longest file that is imported, in bytes.
pub const IMPORT_BYTES_MAX: usize = 64 << 20;

/// What is imported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The flat YAML of the published FaaSFlow.
    Faasflow,
    /// WfCommons' WfFormat, JSON, schemas 1.0 to 1.5.
    Wfformat,
    /// A state machine in the Amazon States Language, JSON.
    Asl,
}

/// How it is imported.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// What run times are multiplied with when it runs, and in profiles.
    pub time_scale: f64,
    /// What counts for state machines alone.
    pub asl: AslOptions,
    /// Whether memory, CPUs and containers are asked for as they were recorded. Otherwise a node asks for what the
    /// synthetic function needs, so that a small machine can run it.
    pub recorded_resources: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_scale: 1.0,
            asl: AslOptions::default(),
            recorded_resources: false,
        }
    }
}

/// Reads a file of another system. `name` is how errors call it.
///
/// # Errors
/// If it or what it becomes is too long, or everything that is wrong with it (up to a bound, and one level of mistakes at a time).
pub fn import(
    format: Format,
    name: &str,
    bytes: &[u8],
    options: &Options,
) -> Result<Draft, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::Long {
            name: name.to_owned(),
            limit: IMPORT_BYTES_MAX,
        });
    }
    let text = utf8_of(name, bytes)?;
    let source = SourceText {
        name: name.into(),
        text: text.into(),
    };
    let draft = match format {
        Format::Faasflow => faasflow::import(&source, options),
        Format::Wfformat => wfformat::import(&source, options),
        Format::Asl => asl::import(&source, options),
    }?;
    printable(draft, name)
}

/// The draft, if its print is no longer than a definition may be.
fn printable(draft: Draft, name: &str) -> Result<Draft, ImportError> {
    let bytes = draft.to_yaml().len();
    if bytes > DEFINITION_BYTES_MAX {
        return Err(ImportError::LongDefinition {
            name: name.to_owned(),
            bytes,
        });
    }
    Ok(draft)
}

/// Imports the file at a path.
///
/// # Errors
/// If it cannot be read, or as [`import`] says.
pub fn load(format: Format, path: &Path, options: &Options) -> Result<Draft, ImportError> {
    use std::io::Read as _;
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        file.take(IMPORT_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
    });
    if let Err(source) = read {
        return Err(ImportError::Read { path: name, source });
    }
    import(format, &name, &bytes, options)
}
