//! The syntax of names, and which known name an unknown one may have been meant to be.

use super::NAME_BYTES_MAX;

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

/// Longest name that is compared, in characters: beyond it no name is a slip of the pen, and the work would grow.
const COMPARED_CHARS_MAX: usize = NAME_BYTES_MAX * 2;

/// Work that comparing may cost in all, in characters times characters: some milliseconds, whatever the file holds.
const COMPARED_MAX: usize = 1 << 20;

/// Shortest beginning of a name that is taken for the name.
const BEGINNING_BYTES_MIN: usize = 3;

/// The candidate that takes the fewest edits (a letter more, less, other, or two swapped) to become `name`, if they
/// are few for its length; else the first that begins with `name`. Of equals the first.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut begun = None;
    let wanted: Vec<char> = name.chars().take(COMPARED_CHARS_MAX + 1).collect();
    if wanted.len() > COMPARED_CHARS_MAX {
        return None;
    }
    let edits_max = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    let mut compared = 0;
    for candidate in candidates {
        if name.len() >= BEGINNING_BYTES_MIN && candidate.starts_with(name) {
            begun = begun.or(Some(candidate));
        }
        let chars: Vec<char> = candidate.chars().take(COMPARED_CHARS_MAX + 1).collect();
        if chars.len().abs_diff(wanted.len()) > edits_max || chars.len() > COMPARED_CHARS_MAX {
            continue;
        }
        compared += wanted.len() * chars.len();
        if compared > COMPARED_MAX {
            break;
        }
        let edits = edits_between(&wanted, &chars);
        if edits <= edits_max && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate).or(begun)
}

/// Optimal string alignment: Levenshtein's distance with swaps of neighbours.
fn edits_between(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, to) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && *from == b[j - 1] {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = last;
        last = row;
    }
    last[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let names = ["split", "count", "merge"];
        assert_eq!(nearest("spilt", names), Some("split"));
        assert_eq!(nearest("cuont", names), Some("count"));
        assert_eq!(nearest("mergee", names), Some("merge"));
        assert_eq!(nearest("mer", names), Some("merge"));
        assert_eq!(nearest("zebra", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }

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
