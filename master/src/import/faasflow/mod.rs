//! The flat YAML of the published FaaSFlow.
//!
//! - `read`: the file; `condition`: its Python conditions
//! - `steps`: the order of functions and switches, and what has run for certain at each
//! - `sources`: what each parameter is read from, by that order
//! - `steer`: values that lead switches through most of the workflow
//! - `build`: the draft

mod build;
mod condition;
mod read;
mod sources;
mod steer;
mod steps;
#[cfg(test)]
mod tests;

use super::problem::ImportError;
use super::read::Reader;
use super::{Draft, Options, tree};
use crate::definition::SourceText;

/// Imports a file.
pub(super) fn import(source: &SourceText, options: &Options) -> Result<Draft, ImportError> {
    let tree = tree::yaml(source)?;
    let mut reader = Reader::new(source);
    let Some(flat) = read::flat(&mut reader, &tree).filter(|_| !reader.problems.any()) else {
        return Err(reader.problems.into_error().into());
    };
    let steps = steps::Steps::of(&flat, &mut reader);
    let Some(steps) = steps.filter(|_| !reader.problems.any()) else {
        return Err(reader.problems.into_error().into());
    };
    let draft = build::build(&flat, &steps, &mut reader, options);
    Ok(reader.finish(draft)?)
}

/// A small workflow with everything that the format has.
#[cfg(test)]
pub(super) const EXAMPLE: &str = include_str!("example.yaml");
