//! The Amazon States Language.
//!
//! A state machine has one document, a JSON value, which each state takes and passes on. So each state becomes one to three
//! nodes: what computes the function's input (`NAME_input`), the function (`NAME`), and what makes the state's output of
//! its result (`NAME_output`); those that would change nothing are left away. Choices become switches. Where a state is
//! reached in several ways its nodes take the first of what comes, since in one run only one way is taken. The states of a
//! Map's machine become foreach nodes, which run item by item with each other.
//!
//! docs/imports.md says how each construct is taken over, and what is refused.

mod cel;
mod choice;
mod errors;
mod intrinsic;
mod machine;
mod map;
mod map_catch;
mod order;
mod parallel;
mod path;
mod resource;
mod states;
mod task;
mod template;
#[cfg(test)]
mod tests;
mod timestamp;
mod translate;
mod unread;
mod wait;
mod way;

use super::draft::Draft;
use super::problem::{ImportError, ImportProblem};
use super::read::Reader;
use super::{Options, json};
use crate::definition::{SourceText, Span};

/// The workflow's one input, as a source.
const INPUT: &str = "input.input";

/// What travels between the states of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Payload {
    /// JSON values, which paths and choices look into.
    #[default]
    Value,
    /// Bytes of any size, which pass from function to function as they are.
    Bytes,
}

/// How a state machine is imported.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AslOptions {
    /// Functions of resources: a resource as it is written or its function's name, and `EXECUTABLE:FUNCTION`.
    pub functions: Vec<(String, String)>,
    /// What travels between states.
    pub payload: Payload,
}

/// Reads a state machine.
pub(super) fn import(source: &SourceText, options: &Options) -> Result<Draft, ImportError> {
    let tree = json::json(source)?;
    let mut reader = Reader::new(source);
    let read = machine::read(&mut reader, &tree);
    let draft =
        read.and_then(|machine| translate::draft(&mut reader, source, &machine, &options.asl));
    Ok(reader.finish(draft)?)
}

/// Notes that an option names a resource which the machine does not have.
fn unknown_function(reader: &mut Reader, key: &str) {
    let kind = ImportProblem::Unknown {
        what: "resource",
        name: crate::definition::problem::quoted(key),
    };
    let help =
        "--function names a resource as it is written in the file, or its function's name alone";
    reader.add(Span::default(), kind, help);
}
