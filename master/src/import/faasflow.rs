use super::problem::ImportError;
use super::read::Reader;
use super::tree;
use super::{Draft, Options};
use crate::definition::SourceText;

pub(super) fn import(source: &SourceText, _options: &Options) -> Result<Draft, ImportError> {
    let tree = tree::yaml(source)?;
    let mut reader = Reader::new(source);
    reader.not_covered(tree.span, "this file", "wait");
    Ok(reader.finish(None)?)
}
