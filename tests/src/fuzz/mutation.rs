//! How inputs are made from others.
//!
//! Bytes are flipped, ranges dropped, doubled and spliced; and, since most of what is fuzzed is text, words change places,
//! lines are moved and repeated, numbers become odd ones, words of the language are strewn in, and things are nested
//! deeper than anyone would.

use super::INPUT_BYTES_MAX;
use crate::random::Random;
use std::ops::Range;

/// Numbers at the edges of what types and limits hold.
const NUMBERS: [&str; 22] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e309",
    "1e-400",
    "0.1",
    "NaN",
];
/// The same as bits.
const WORDS: [u64; 12] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];
/// What opens a level, and what closes it.
const NESTS: [(&str, &str); 14] = [
    ("[", "]"),
    ("{", "}"),
    ("{a: ", "}"),
    ("{\"a\":", "}"),
    ("(", ")"),
    ("- ", ""),
    ("!", ""),
    ("-", ""),
    ("a[", "]"),
    ("a.map(x, ", ")"),
    ("true ? ", " : 1"),
    ("? ", ""),
    ("\"", "\""),
    ("[{\"And\":", "}]"),
];
/// Changes in a row, at most.
const CHANGES_MAX: usize = 6;
/// Changes that are tried until one changes something.
const TRIES_MAX: usize = 4;
/// How often a part is repeated, at most.
const REPEATS_MAX: usize = 3000;

/// What inputs look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Lines and words.
    Text,
    /// Numbers at fixed places, some of which say where others are: most changes keep everything where it is.
    Numbers,
}

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator<'a> {
    random: &'a mut Random,
    words: &'a [&'a str],
    form: Form,
}

impl<'a> Mutator<'a> {
    /// One whose choices are those of `random`, and who strews in `words`.
    pub fn new(random: &'a mut Random, words: &'a [&'a str], form: Form) -> Self {
        Self {
            random,
            words,
            form,
        }
    }

    /// An input made from `input`, with parts of `other`.
    pub fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        // Mostly one: what is half right goes further than what is all wrong.
        let most = self.random.pick(&[1, 1, 2, CHANGES_MAX]);
        for _ in 0..self.random.between(1, most) {
            if self.form == Form::Numbers && self.random.chance(900) {
                self.overwrite(&mut bytes, other);
            } else {
                self.change(&mut bytes, other);
            }
            bytes.truncate(INPUT_BYTES_MAX);
        }
        // Some changes change nothing, as a word in its own place.
        for _ in 0..TRIES_MAX {
            if bytes != input {
                break;
            }
            self.change(&mut bytes, other);
            bytes.truncate(INPUT_BYTES_MAX);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        match self.random.below(16) {
            0 => self.flip(bytes),
            1 => {
                let range = self.range(bytes.len());
                bytes.drain(range);
            }
            2 => {
                let range = self.range(bytes.len());
                let part = bytes[range].to_vec();
                self.insert(bytes, &part);
            }
            3 => {
                let range = self.range(other.len());
                self.insert(bytes, &other[range]);
            }
            4 => self.repeat(bytes),
            5 => self.nest(bytes),
            6 => {
                let end = self.random.below(bytes.len() + 1);
                bytes.truncate(end);
            }
            7 => self.move_line(bytes),
            8 => self.take_line(bytes, other),
            9 | 10 => self.swap_words(bytes),
            11 | 12 => self.replace_word(bytes),
            13 => {
                let number = self.random.pick(&NUMBERS);
                self.put_word(bytes, number.as_bytes());
            }
            14 => {
                let byte = self.random.bits() as u8;
                self.insert(bytes, &[byte]);
            }
            _ => {
                let word = self.word();
                self.insert(bytes, word.as_bytes());
            }
        }
    }

    /// Another number where one stands, or may stand: an odd one, a near one, or one from elsewhere.
    fn overwrite(&mut self, bytes: &mut [u8], other: &[u8]) {
        let width = self.random.pick(&[1, 2, 4, 4, 8]);
        let places = bytes.len() / width;
        if places == 0 {
            return;
        }
        let at = self.random.below(places) * width;
        let elsewhere = if self.random.chance(700) {
            &bytes[..]
        } else {
            other
        };
        let new = match self.random.below(4) {
            0 => self.random.pick(&WORDS),
            1 => {
                let mut old = [0; 8];
                old[..width].copy_from_slice(&bytes[at..at + width]);
                let by = self.random.below(17) as u64;
                u64::from_le_bytes(old).wrapping_add(by).wrapping_sub(8)
            }
            2 if elsewhere.len() >= width => {
                let from = self.random.below(elsewhere.len() / width) * width;
                let mut new = [0; 8];
                new[..width].copy_from_slice(&elsewhere[from..from + width]);
                u64::from_le_bytes(new)
            }
            _ => self.random.bits(),
        };
        bytes[at..at + width].copy_from_slice(&new.to_le_bytes()[..width]);
    }

    fn word(&mut self) -> &'a str {
        if self.words.is_empty() {
            ""
        } else {
            self.random.pick(self.words)
        }
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, part: &[u8]) {
        let at = self.random.below(bytes.len() + 1);
        bytes.splice(at..at, part.iter().copied());
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.random.below(bytes.len());
            bytes[at] ^= 1 << self.random.below(8);
        }
    }

    /// A range that is mostly short.
    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.random.below(length + 1);
        let left = length - start;
        let most = if self.random.chance(800) {
            left.min(32)
        } else {
            left
        };
        start..start + self.random.below(most + 1)
    }

    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let parts = if self.random.chance(500) {
            lines(bytes)
        } else {
            words(bytes)
        };
        if parts.is_empty() {
            return;
        }
        let part = parts[self.random.below(parts.len())].clone();
        // Mostly a few times: what is very long is slow to play.
        let most = if self.random.chance(900) {
            8
        } else {
            REPEATS_MAX
        };
        let most = most.min(INPUT_BYTES_MAX / part.len().max(1));
        let repeated = bytes[part.clone()].repeat(self.random.below(most + 1));
        bytes.splice(part.end..part.end, repeated);
    }

    fn nest(&mut self, bytes: &mut Vec<u8>) {
        let (open, close) = self.random.pick(&NESTS);
        let most = if self.random.chance(900) { 80 } else { 20_000 };
        let depth = self.random.between(1, most);
        let inner = self.range(bytes.len());
        let mut nested = open.repeat(depth).into_bytes();
        nested.extend_from_slice(&bytes[inner.clone()]);
        if self.random.chance(800) {
            nested.extend_from_slice(close.repeat(depth).as_bytes());
        }
        bytes.splice(inner, nested);
    }

    fn move_line(&mut self, bytes: &mut Vec<u8>) {
        let lines = lines(bytes);
        if lines.len() < 2 {
            return;
        }
        let from = lines[self.random.below(lines.len())].clone();
        let to = lines[self.random.below(lines.len())].start;
        let line = bytes[from.clone()].to_vec();
        if to <= from.start {
            bytes.drain(from);
            bytes.splice(to..to, line);
        } else {
            bytes.splice(to..to, line);
            bytes.drain(from);
        }
    }

    fn take_line(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let (theirs, ours) = (lines(other), lines(bytes));
        if theirs.is_empty() {
            return;
        }
        let from = self.random.below(theirs.len());
        let to = (from + self.random.between(1, 12)).min(theirs.len());
        let part = &other[theirs[from].start..theirs[to - 1].end];
        let at = match ours.len() {
            0 => 0,
            count => ours[self.random.below(count)].start,
        };
        bytes.splice(at..at, part.iter().copied());
    }

    fn swap_words(&mut self, bytes: &mut Vec<u8>) {
        let words = words(bytes);
        if words.len() < 2 {
            return;
        }
        let a = words[self.random.below(words.len())].clone();
        let b = words[self.random.below(words.len())].clone();
        let (a, b) = if a.start <= b.start { (a, b) } else { (b, a) };
        if a == b {
            return;
        }
        let (first, second) = (bytes[a.clone()].to_vec(), bytes[b.clone()].to_vec());
        bytes.splice(b, first);
        bytes.splice(a, second);
    }

    /// One of the input's own words in the place of another: that is how names come to mean something else.
    fn replace_word(&mut self, bytes: &mut Vec<u8>) {
        let words = words(bytes);
        if words.is_empty() {
            return;
        }
        let word = if self.random.chance(700) {
            bytes[words[self.random.below(words.len())].clone()].to_vec()
        } else {
            self.word().as_bytes().to_vec()
        };
        self.put_word(bytes, &word);
    }

    fn put_word(&mut self, bytes: &mut Vec<u8>, word: &[u8]) {
        let words = words(bytes);
        if words.is_empty() {
            self.insert(bytes, word);
        } else {
            let place = words[self.random.below(words.len())].clone();
            bytes.splice(place, word.iter().copied());
        }
    }
}

/// Where lines lie, each with what ends it.
fn lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut all = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        all.push(start..start + line.len());
        start += line.len();
    }
    all
}

/// Where words lie: of letters, digits, `_` and bytes beyond ASCII.
fn words(bytes: &[u8]) -> Vec<Range<usize>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let mut all = Vec::new();
    let mut start = 0;
    for part in bytes.chunk_by(|a, b| is_word(a) == is_word(b)) {
        if part.first().is_some_and(is_word) {
            all.push(start..start + part.len());
        }
        start += part.len();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_follows_from_the_seed_and_stays_within_its_length() {
        let long = b"a: [1, 2]\n".repeat(INPUT_BYTES_MAX / 10);
        let make = |seed| {
            let mut random = Random::new(seed);
            let mut mutator = Mutator::new(&mut random, &["foreach", "item"], Form::Text);
            (
                mutator.mutate(&long, b"other: {}\n"),
                mutator.mutate(b"", b""),
            )
        };
        for seed in 0..200 {
            let made = make(seed);
            assert_eq!(made, make(seed));
            assert!(made.0.len() <= INPUT_BYTES_MAX && made.1.len() <= INPUT_BYTES_MAX);
        }
    }

    #[test]
    fn numbers_change_mostly_where_they_are() {
        let input: Vec<u8> = (0..=255).collect();
        let mut random = Random::new(1);
        let mut mutator = Mutator::new(&mut random, &[], Form::Numbers);
        let made: Vec<Vec<u8>> = (0..200).map(|_| mutator.mutate(&input, &[])).collect();
        let kept = made.iter().filter(|made| made.len() == input.len()).count();
        assert!(kept > 100, "{kept}");
        assert!(made.iter().filter(|made| **made != input).count() > 190);
    }

    #[test]
    fn lines_and_words_are_found_where_they_lie() {
        assert_eq!(lines(b"a\n\nbc"), [0..2, 2..3, 3..5]);
        assert_eq!(words(b"ab.c- 1_x"), [0..2, 3..4, 6..9]);
        assert!(lines(b"").is_empty() && words(b"").is_empty());
    }

    #[test]
    fn most_of_what_is_made_is_new() {
        let input = b"workflow: w\nnodes:\n  a: { function: \"x:y\" }\n";
        let mut random = Random::new(1);
        let mut mutator = Mutator::new(&mut random, &["after"], Form::Text);
        let made: std::collections::HashSet<Vec<u8>> = (0..1000)
            .map(|_| mutator.mutate(input, b"other: 1\n"))
            .collect();
        assert!(made.len() > 700, "{}", made.len());
    }
}
