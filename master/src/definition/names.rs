//! The syntax of names.

use super::NAME_BYTES_MAX;

pub use engine::nearest::nearest;

/// What a name looks like, for people.
pub(super) const NAME_SYNTAX: &str =
    "a letter, then letters, digits, `_` or `-`, at most 64 in all";
/// What an executable's name looks like, for people.
pub(super) const EXECUTABLE_SYNTAX: &str =
    "letters, digits, `_`, `-` or `.`, not beginning with `-` or `.`";

/// Whether `name` may name a workflow, node, function, input or output.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '-')
}

/// Names that begin a source by themselves, so that no node can have them.
pub(crate) const RESERVED_NODES: [&str; 4] = ["input", "item", "constant", "outer"];

/// Whether no node can have a name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED_NODES.contains(&name)
}

/// Whether `name` may be what errors begin with, before a colon.
pub(super) fn is_error_name(name: &str) -> bool {
    let fits = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(fits)
}

/// Whether `name` may be a file in a functions folder. Nothing that could leave the folder passes.
pub(crate) fn is_executable(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_-.".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_none() {
        for bad in ["", ".", "..", "a/b", "../x", "-x", ".hidden", "a b", "a\0"] {
            assert!(!is_executable(bad), "{bad:?}");
        }
        assert!(is_executable("wordcount-2.0"));
        for bad in ["", "1a", "a b", "a.b", "é", "-a"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("split_2-b"));
    }
}
