//! Data that is no part of the repository: published definitions, recorded runs, texts. A test that has none skips itself.

use crate::skip::skip;
use std::path::{Path, PathBuf};

/// Environment variable that names the folder of the data; without it, it is `shared/data` beside the repository.
pub const DATA_VARIABLE: &str = "FAASFLOW_DATA";

/// A folder of the data. If it is not there, says that `test` is skipped.
#[must_use]
pub fn folder(test: &str, name: &str) -> Option<PathBuf> {
    let data = std::env::var_os(DATA_VARIABLE).map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let found = data.join(name);
    if found.is_dir() {
        return Some(found);
    }
    let reason = format!("no folder {}; set {DATA_VARIABLE}", found.display());
    skip(test, &reason);
    None
}

/// The names of what is in a folder, in order.
///
/// # Panics
/// If it cannot be read, or holds a name that is no UTF-8.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("the folder can be read").file_name();
        name.into_string().expect("its names are UTF-8")
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}
