//! YAML as people would write it: what fits on a line stands on one, the rest a line each; quotes only where needed.
//!
//! What is printed reads back as what was given, by the rules of docs/language.md and by those of the usual
//! readers of YAML 1.1 and 1.2 alike: whatever any of them could take for something else than text is quoted.

use serde_json::Value;
use std::fmt::Write as _;

/// Longest line that a list or mapping is put on.
const LINE_CHARS_MAX: usize = 120;
/// Deepest indentation that grows: lists and mappings below it stand on one line.
const INDENT_MAX: usize = 48;

/// A value to print.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Yaml {
    /// Any JSON.
    Value(Value),
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping.
    Map(Vec<Entry>),
}

impl Yaml {
    /// A text.
    pub(super) fn text(text: &str) -> Self {
        Self::Value(Value::String(text.to_owned()))
    }
}

impl<T: Into<Value>> From<T> for Yaml {
    fn from(value: T) -> Self {
        match value.into() {
            // A whole number reads better without its fraction.
            Value::Number(number) => Self::Value(match number.as_f64() {
                Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                    Value::from(float as i64)
                }
                _ => Value::Number(number),
            }),
            value => Self::Value(value),
        }
    }
}

/// A key, its value, and what is said of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    key: String,
    value: Yaml,
    above: Vec<String>,
    beside: Option<String>,
    open: bool,
}

impl Entry {
    pub(super) fn new(key: &str, value: Yaml) -> Self {
        Self {
            key: key.to_owned(),
            value,
            above: Vec::new(),
            beside: None,
            open: false,
        }
    }

    /// With comments above it.
    pub(super) fn comments(mut self, comments: &[String]) -> Self {
        self.above.extend_from_slice(comments);
        self
    }

    /// With a comment on its line.
    pub(super) fn beside(mut self, comment: &str) -> Self {
        self.beside = Some(comment.to_owned());
        self
    }

    /// With its own entries on lines of their own, even if they fit on one.
    pub(super) fn open(mut self) -> Self {
        self.open = true;
        self
    }
}

/// The text of a mapping as a document. Its own mappings are not put on a line.
pub(super) fn print(entries: &[Entry]) -> String {
    let mut printer = Printer {
        text: String::new(),
    };
    for entry in entries {
        let open = matches!(&entry.value, Yaml::Map(_));
        printer.entry(entry, 0, open);
    }
    printer.text
}

struct Printer {
    text: String,
}

impl Printer {
    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    fn entry(&mut self, entry: &Entry, indent: usize, open: bool) {
        for comment in &entry.above {
            self.comment(comment, indent);
        }
        self.indent(indent);
        scalar(&entry.key, &mut self.text);
        self.text.push(':');
        self.value(
            &entry.value,
            entry.beside.as_deref(),
            indent,
            open || entry.open,
        );
    }

    /// A comment, wrapped.
    fn comment(&mut self, comment: &str, indent: usize) {
        let mut column = 0;
        for word in comment.split_whitespace() {
            let chars = word.chars().count();
            if column == 0 || column + 1 + chars > LINE_CHARS_MAX {
                self.text.push_str(if column == 0 { "" } else { "\n" });
                self.indent(indent);
                self.text.push('#');
                column = indent + 1;
            }
            self.text.push(' ');
            push_printable(word, &mut self.text);
            column += 1 + chars;
        }
        self.text.push_str(if column == 0 { "" } else { "\n" });
    }

    /// A value behind its key or dash, to the end of its last line.
    fn value(&mut self, value: &Yaml, beside: Option<&str>, indent: usize, open: bool) {
        let room = LINE_CHARS_MAX.saturating_sub(indent + 2);
        let below = indent + 2;
        let on_a_line = if open && indent < INDENT_MAX {
            None
        } else {
            let limit = if indent < INDENT_MAX {
                room
            } else {
                usize::MAX
            };
            flow(value, limit)
        };
        if let Some(line) = on_a_line {
            self.text.push(' ');
            self.text.push_str(&line);
            return self.end(beside);
        }
        match value {
            Yaml::Map(entries) if !entries.is_empty() => {
                self.end(beside);
                for entry in entries {
                    self.entry(entry, below, false);
                }
            }
            Yaml::List(items) if !items.is_empty() => {
                self.end(beside);
                for item in items {
                    self.item(item, below);
                }
            }
            Yaml::Value(Value::Object(map)) if !map.is_empty() => {
                self.end(beside);
                for (key, value) in map {
                    let value = Yaml::Value(value.clone());
                    self.entry(&Entry::new(key, value), below, false);
                }
            }
            Yaml::Value(Value::Array(items)) if !items.is_empty() => {
                self.end(beside);
                for item in items {
                    self.item(&Yaml::Value(item.clone()), below);
                }
            }
            Yaml::Map(_) => self.last(" {}", beside),
            Yaml::List(_) => self.last(" []", beside),
            Yaml::Value(value) => {
                self.text.push(' ');
                json(value, &mut self.text);
                self.end(beside);
            }
        }
    }

    fn item(&mut self, item: &Yaml, indent: usize) {
        self.indent(indent);
        self.text.push('-');
        self.value(item, None, indent, false);
    }

    fn last(&mut self, text: &str, beside: Option<&str>) {
        self.text.push_str(text);
        self.end(beside);
    }

    fn end(&mut self, beside: Option<&str>) {
        if let Some(comment) = beside {
            self.text.push_str(" #");
            for word in comment.split_whitespace() {
                self.text.push(' ');
                push_printable(word, &mut self.text);
            }
        }
        self.text.push('\n');
    }
}

fn push_printable(word: &str, text: &mut String) {
    for char in word.chars() {
        text.push(if is_printable(char) || char == '…' {
            char
        } else {
            '\u{fffd}'
        });
    }
}

/// On one line, if it has at most that many characters and nothing is said of its parts. No more than the line is ever
/// made, so that a long list costs no more than a short one at each level.
fn flow(value: &Yaml, limit: usize) -> Option<String> {
    let mut line = String::new();
    flow_into(value, limit, &mut line)?;
    (line.chars().count() <= limit).then_some(line)
}

fn flow_into(value: &Yaml, limit: usize, line: &mut String) -> Option<()> {
    // Bytes are at most four to a character.
    if line.len() / 4 > limit {
        return None;
    }
    match value {
        Yaml::Map(entries) => {
            let mut first = true;
            for entry in entries {
                if !entry.above.is_empty() || entry.beside.is_some() || entry.open {
                    return None;
                }
                line.push_str(if first { "{ " } else { ", " });
                first = false;
                scalar(&entry.key, line);
                line.push_str(": ");
                flow_into(&entry.value, limit, line)?;
            }
            line.push_str(if first { "{}" } else { " }" });
        }
        Yaml::List(items) => {
            let mut first = true;
            for item in items {
                line.push_str(if first { "[" } else { ", " });
                first = false;
                flow_into(item, limit, line)?;
            }
            line.push_str(if first { "[]" } else { "]" });
        }
        Yaml::Value(Value::Object(map)) => {
            let mut first = true;
            for (key, value) in map {
                line.push_str(if first { "{ " } else { ", " });
                first = false;
                scalar(key, line);
                line.push_str(": ");
                flow_json(value, limit, line)?;
            }
            line.push_str(if first { "{}" } else { " }" });
        }
        Yaml::Value(value) => flow_json(value, limit, line)?,
    }
    Some(())
}

fn flow_json(value: &Value, limit: usize, line: &mut String) -> Option<()> {
    if line.len() / 4 > limit {
        return None;
    }
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut first = true;
            for (key, value) in map {
                line.push_str(if first { "{ " } else { ", " });
                first = false;
                scalar(key, line);
                line.push_str(": ");
                flow_json(value, limit, line)?;
            }
            line.push_str(" }");
        }
        Value::Array(items) if !items.is_empty() => {
            let mut first = true;
            for item in items {
                line.push_str(if first { "[" } else { ", " });
                first = false;
                flow_json(item, limit, line)?;
            }
            line.push(']');
        }
        value => json(value, line),
    }
    Some(())
}

/// A value without parts.
fn json(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => scalar(string, text),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        value => {
            // Null, a boolean or a number.
            let _ = write!(text, "{value}");
        }
    }
}

/// A text, quoted if any YAML could take it for something else.
fn scalar(string: &str, text: &mut String) {
    if is_plain(string) {
        text.push_str(string);
        return;
    }
    // Expressions hold double quotes, and would be hard to read with a backslash before each.
    if string.contains(['"', '\\']) && !string.contains('\'') && string.chars().all(is_printable) {
        let _ = write!(text, "'{string}'");
        return;
    }
    text.push('"');
    for char in string.chars() {
        match char {
            '"' | '\\' => {
                text.push('\\');
                text.push(char);
            }
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            char if is_printable(char) => text.push(char),
            char if u32::from(char) <= 0xffff => {
                let _ = write!(text, "\\u{:04x}", u32::from(char));
            }
            char => {
                let _ = write!(text, "\\U{:08x}", u32::from(char));
            }
        }
    }
    text.push('"');
}

/// Whether a character may stand in a YAML file as it is and looks like itself there.
fn is_printable(char: char) -> bool {
    matches!(char, ' '..='~') || !char.is_ascii() && char.is_alphanumeric()
}

/// Words that some YAML takes for a boolean, a number or nothing.
const WORDS: [&str; 10] = [
    "true", "false", "yes", "no", "on", "off", "null", "nan", "inf", "infinity",
];

fn is_plain(string: &str) -> bool {
    string.starts_with(|first: char| first.is_ascii_alphabetic())
        && string
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "_-./: ()".contains(char))
        && !string.contains(": ")
        && !string.ends_with([' ', ':'])
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(string))
}
