//! Names for what had other names, or none that the language allows.

use crate::definition::NAME_BYTES_MAX;
use crate::definition::names::RESERVED_NODES;
use engine::expression::{RESERVED_WORDS, type_names};
use rustc_hash::{FxHashMap, FxHashSet};

/// Room for what makes a name unique.
const SUFFIX_BYTES: usize = 12;

/// What no name in an expression may be: words of expressions and types, and what begins sources.
pub(super) fn expression_words() -> impl Iterator<Item = &'static str> {
    let words = RESERVED_WORDS.into_iter().chain(RESERVED_NODES);
    words.chain(type_names())
}

/// Whether an expression can use a name as it is.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !expression_words().any(|word| word == name)
}

/// Names of one mapping, of which no two are the same.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: FxHashSet<String>,
    /// How often a name was wanted before.
    wanted: FxHashMap<String, u32>,
}

impl Names {
    /// None taken but these.
    pub(super) fn without(reserved: &[&str]) -> Self {
        Self {
            taken: reserved.iter().map(|&name| name.to_owned()).collect(),
            wanted: FxHashMap::default(),
        }
    }

    /// A name like `wanted` that is not taken yet, and is from now on. What does not begin with a letter gets `prefix`,
    /// a name itself, before it.
    pub(super) fn name(&mut self, wanted: &str, prefix: &str) -> String {
        self.unique(cleaned(wanted, prefix, "_-"))
    }

    /// As [`Names::name`], and an identifier, which expressions may use.
    pub(super) fn identifier(&mut self, wanted: &str, prefix: &str) -> String {
        self.unique(cleaned(wanted, prefix, "_"))
    }

    fn unique(&mut self, base: String) -> String {
        if self.taken.insert(base.clone()) {
            return base;
        }
        let count = self.wanted.entry(base.clone()).or_insert(1);
        let stem = &base[..base.len().min(NAME_BYTES_MAX - SUFFIX_BYTES)];
        loop {
            *count += 1;
            let name = format!("{stem}_{count}");
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// The name with everything replaced that no name may hold: it is ASCII, and short enough.
fn cleaned(wanted: &str, prefix: &str, also: &str) -> String {
    let begins = wanted.starts_with(|first: char| first.is_ascii_alphabetic());
    let prefix = if begins { "" } else { prefix };
    let allowed = |char: char| char.is_ascii_alphanumeric() || also.contains(char);
    let wanted = wanted.chars().take(NAME_BYTES_MAX - prefix.len());
    let name = wanted.map(|char| if allowed(char) { char } else { '_' });
    format!("{prefix}{}", name.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_unique_and_as_they_were_where_they_can_be() {
        let mut names = Names::without(&["input"]);
        assert_eq!(names.name("split-2", "node_"), "split-2");
        assert_eq!(names.name("split-2", "node_"), "split-2_2");
        assert_eq!(names.name("split-2_2", "node_"), "split-2_2_2");
        assert_eq!(names.name("input", "node_"), "input_2");
        assert_eq!(names.name("7up.txt", "file_"), "file_7up_txt");
        assert_eq!(names.name("", "file_"), "file_");
        assert_eq!(names.identifier("a-b é", "file_"), "a_b__");
        let long = "x".repeat(300);
        let first = names.name(&long, "file_");
        let second = names.name(&long, "file_");
        assert_eq!(first.len(), NAME_BYTES_MAX);
        assert!(second.len() <= NAME_BYTES_MAX && first != second);
    }
}
