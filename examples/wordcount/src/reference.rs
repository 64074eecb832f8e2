//! Word count a second time: one thread, one map, no cleverness, and nothing shared with the functions of the workflow.
//! What it says is right.

use std::collections::BTreeMap;

/// How often each word of `text` stands in it.
#[must_use]
pub fn counts(text: &[u8]) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'\'' || byte >= 0x80))
    {
        if !word.is_empty() {
            *counts.entry(word.to_ascii_lowercase()).or_insert(0) += 1;
        }
    }
    counts
}

/// The lines `word TAB count` for `text`, each with its newline: by falling count, and among equals by word.
#[must_use]
pub fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut counts: Vec<(Vec<u8>, u64)> = counts(text).into_iter().collect();
    // The map yields words in order, and the sort keeps that order among equal counts.
    counts.sort_by(|(_, a), (_, b)| b.cmp(a));
    counts
        .into_iter()
        .map(|(word, count)| [&word[..], format!("\t{count}\n").as_bytes()].concat())
        .collect()
}

/// A line in which totals are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// From 1.
    pub line: usize,
    /// What stands there, if the totals have such a line.
    pub found: Option<Vec<u8>>,
    /// What should, if there should be such a line.
    pub expected: Option<Vec<u8>>,
}

/// The first line in which `totals` differ from those of `text`.
#[must_use]
pub fn first_difference(totals: &[u8], text: &[u8]) -> Option<Difference> {
    let mut expected = lines(text).into_iter();
    let mut found = totals.split_inclusive(|&byte| byte == b'\n');
    for line in 1.. {
        match (found.next(), expected.next()) {
            (None, None) => break,
            (found, expected) if found == expected.as_deref() => {}
            (found, expected) => {
                return Some(Difference {
                    line,
                    found: found.map(<[u8]>::to_vec),
                    expected,
                });
            }
        }
    }
    None
}
