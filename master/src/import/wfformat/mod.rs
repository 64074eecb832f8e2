//! WfCommons' WfFormat: recorded runs of scientific workflows.
//!
//! - `read`: the file, whichever schema it has (1.0 to 1.5), as tasks with their files
//! - `order`: which task comes before which, by the file and by the files they write and read
//! - `build`: the draft

mod build;
mod order;
mod read;
#[cfg(test)]
mod tests;

use super::problem::ImportError;
use super::read::Reader;
use super::{Draft, Options, json};
use crate::definition::SourceText;

/// Imports a file.
pub(super) fn import(source: &SourceText, options: &Options) -> Result<Draft, ImportError> {
    let tree = json::json(source)?;
    let mut reader = Reader::new(source);
    let Some(instance) = read::instance(&mut reader, &tree).filter(|_| !reader.problems.any())
    else {
        return Err(reader.problems.into_error().into());
    };
    let order = order::Order::of(&instance, &mut reader);
    let Some(order) = order.filter(|_| !reader.problems.any()) else {
        return Err(reader.problems.into_error().into());
    };
    Ok(build::build(&instance, &order, options))
}

/// A small instance of the latest schema.
#[cfg(test)]
pub(super) const EXAMPLE: &str = include_str!("example.json");
