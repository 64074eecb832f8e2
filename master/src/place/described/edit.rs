//! The edits that put links into the text of a cluster file, line by line.

use crate::definition::Spanned;
use crate::definition::tree::{Tree, Value};
use crate::place::Link;
use crate::place::measured::{Listed, Ways, bytes_per_s_text, latency_us_text, mib_per_s_text};
use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

/// What a file is to say of links.
pub(super) struct Wanted<'a> {
    /// What `link` is to say; as it does, if none.
    pub(super) link: Option<Link>,
    /// Links that are new.
    pub(super) links: &'a [Listed<'a>],
    /// Whether what it says of the link between two workers stays.
    pub(super) keeps: &'a dyn Fn(&str, &str) -> bool,
}

/// The text of a file with other links in it; `None` if its form is not understood. That it is what was meant is left to the
/// caller to see.
pub(super) fn edit(text: &str, root: &Tree, wanted: &Wanted<'_>) -> Option<String> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let text = match text.ends_with('\n') {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("{text}{newline}")),
    };
    let mut editor = Editor {
        text: &text,
        newline,
        edits: Vec::new(),
    };
    editor.cluster(root, wanted)?;
    Some(editor.apply())
}

/// A link's figures, as a file has them.
pub(super) fn figures(link: Link) -> String {
    format!(
        "{{ bandwidth_mib_per_s: {}, latency_us: {} }}",
        mib_per_s_text(link),
        latency_us_text(link)
    )
}

/// A link, as an item of `links`.
pub(super) fn item(of: &Listed<'_>) -> String {
    let (from, to) = (worker_text(of.ends.0), worker_text(of.ends.1));
    let ends = match of.ways {
        Ways::Both => format!("between: [{from}, {to}]"),
        Ways::There => format!("from: {from}, to: {to}"),
    };
    let figures = figures(of.link);
    format!("{{ {ends}, {}", &figures[2..])
}

/// A worker's name, in quotes where YAML would take it for something else.
fn worker_text(name: &str) -> String {
    let plain = name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if plain && !name.eq_ignore_ascii_case("null") {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

type Entry = (Spanned<String>, Rc<Tree>);

fn entries(tree: &Tree) -> &[Entry] {
    match &tree.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

pub(super) fn get<'a>(tree: &'a Tree, key: &str) -> Option<&'a Entry> {
    entries(tree).iter().find(|(name, _)| name.value == key)
}

struct Edit {
    range: Range<usize>,
    text: String,
}

struct Editor<'a> {
    text: &'a str,
    newline: &'static str,
    edits: Vec<Edit>,
}

impl<'a> Editor<'a> {
    fn cluster(&mut self, root: &Tree, wanted: &Wanted<'_>) -> Option<()> {
        let (link, new, keeps) = (wanted.link, wanted.links, wanted.keeps);
        if self.is_flow(0) {
            return None;
        }
        let mut more = String::new();
        if let Some(link) = link {
            match get(root, "link") {
                Some((key, tree)) => self.link(key, tree, link)?,
                None => more.push_str(&format!("link: {}{}", figures(link), self.newline)),
            }
        }
        match get(root, "links") {
            Some((key, tree)) => self.links(key, tree, new, keeps)?,
            None if new.is_empty() => {}
            None => more.push_str(&format!("links:{}{}", self.newline, self.lines("  ", new))),
        }
        let end = self.text.len();
        self.edit(end..end, more);
        Some(())
    }

    fn edit(&mut self, range: Range<usize>, text: String) {
        self.edits.push(Edit { range, text });
    }

    /// Whether what comes next, but for blanks and comments, is in brackets.
    fn is_flow(&self, from: usize) -> bool {
        let mut letters = self.text[from..].chars();
        while let Some(letter) = letters.next() {
            match letter {
                '#' => {
                    letters.find(|letter| *letter == '\n');
                }
                '{' | '[' => return true,
                blank if is_blank(blank) => {}
                _ => return false,
            }
        }
        false
    }

    fn lines(&self, indent: &str, new: &[Listed<'_>]) -> String {
        let line = |one: &Listed<'_>| format!("{indent}- {}{}", item(one), self.newline);
        new.iter().map(line).collect()
    }

    /// Gives `link` other figures, each in the unit in which it is there.
    fn link(&mut self, key: &Spanned<String>, tree: &Tree, link: Link) -> Option<()> {
        let bandwidth = match get(tree, "bytes_per_s") {
            Some(_) => ("bytes_per_s", bytes_per_s_text(link)),
            None => ("bandwidth_mib_per_s", mib_per_s_text(link)),
        };
        let mut missing = Vec::new();
        for (name, figure) in [bandwidth, ("latency_us", latency_us_text(link))] {
            match get(tree, name) {
                Some((_, value)) => self.edit(self.scalar(value)?, figure),
                None => missing.push(format!("{name}: {figure}")),
            }
        }
        if missing.is_empty() {
            return Some(());
        }
        let (first, _) = entries(tree).first()?;
        let end = self.end_of(tree, key.span.end);
        let is_flow = self.is_flow(self.behind_colon(key)?);
        let text = if is_flow {
            format!(", {}", missing.join(", "))
        } else {
            let indent = &self.text[line_start(self.text, first.span.start)..first.span.start];
            let lines = missing
                .iter()
                .map(|entry| format!("{}{indent}{entry}", self.newline));
            lines.collect()
        };
        let end = if is_flow {
            end
        } else {
            line_end(self.text, end)
        };
        self.edit(end..end, text);
        Some(())
    }

    /// Takes those links away that were measured, and adds those that differ behind the others.
    fn links(
        &mut self,
        key: &Spanned<String>,
        tree: &Tree,
        new: &[Listed<'_>],
        keeps: &dyn Fn(&str, &str) -> bool,
    ) -> Option<()> {
        let Value::List(items) = &tree.value else {
            return None;
        };
        let colon = self.behind_colon(key)?;
        if self.is_flow(colon) {
            return self.flow_links(colon, items, new, keeps);
        }
        let (mut kept, mut indent, mut behind) = (0, "  ", colon);
        for item in items {
            let (lines, before_dash) = self.lines_of(item)?;
            (indent, behind) = (before_dash, lines.end);
            if self.stays(item, keeps)? {
                kept += 1;
            } else {
                self.edit(lines, String::new());
            }
        }
        if kept + new.len() == 0 {
            self.edit(colon..colon, " []".to_owned());
        }
        self.edit(behind..behind, self.lines(indent, new));
        Some(())
    }

    /// The same of a list in brackets, which becomes one with a line for each: if nothing but figures stands in it.
    fn flow_links(
        &mut self,
        colon: usize,
        items: &[Rc<Tree>],
        new: &[Listed<'_>],
        keeps: &dyn Fn(&str, &str) -> bool,
    ) -> Option<()> {
        let mut kept = String::new();
        for item in items {
            if self.stays(item, keeps)? {
                let end = self.end_of(item, item.span.end);
                let text = self.text[item.span.start..end].split_whitespace();
                let text: Vec<&str> = text.collect();
                let line = format!("  - {} }}{}", text.join(" "), self.newline);
                kept.push_str(&line);
            }
        }
        let open = colon + self.text[colon..].find('[')? + 1;
        let last = items
            .last()
            .map_or(open, |last| self.end_of(last, last.span.end));
        let end = last + self.text[last..].find(']')? + 1;
        let rest = &self.text[last..end];
        if self.text[colon..end].contains('#')
            || rest.contains(|letter| !matches!(letter, '}' | ']' | ',') && !is_blank(letter))
        {
            return None;
        }
        let lines = format!("{kept}{}", self.lines("  ", new));
        if lines.is_empty() {
            self.edit(colon..end, " []".to_owned());
        } else {
            // What else stands behind the brackets is a comment, which stays behind the key.
            let line_end = line_end(self.text, end);
            self.edit(colon..end, String::new());
            let lines = format!("{}{}", self.newline, lines.trim_end());
            self.edit(line_end..line_end, lines);
        }
        Some(())
    }

    /// Whether a link stays as it is.
    fn stays(&self, item: &Tree, keeps: &dyn Fn(&str, &str) -> bool) -> Option<bool> {
        let text = |tree: &Tree| match &tree.value {
            Value::Scalar { text, .. } => Some(text.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        };
        let ends = match get(item, "between") {
            Some((_, between)) => match &between.value {
                Value::List(ends) => match &ends[..] {
                    [a, b] => (text(a)?, text(b)?),
                    _ => return None,
                },
                _ => return None,
            },
            None => (text(&get(item, "from")?.1)?, text(&get(item, "to")?.1)?),
        };
        Some(keeps(&ends.0, &ends.1))
    }

    /// The lines that an item of a list has for itself, and what stands before its dash.
    fn lines_of(&self, item: &Tree) -> Option<(Range<usize>, &'a str)> {
        let before = self.text[..item.span.start].trim_end();
        let dash = before
            .len()
            .checked_sub(1)
            .filter(|_| before.ends_with('-'))?;
        let start = line_start(self.text, dash);
        let indent = &self.text[start..dash];
        if !indent.chars().all(is_blank) {
            return None;
        }
        let end = line_end(self.text, self.end_of(item, item.span.end));
        let rest = &self.text[end..];
        let newline = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        Some((start..end + newline, indent))
    }

    /// Where a plain value stands.
    fn scalar(&self, tree: &Tree) -> Option<Range<usize>> {
        let range = tree.span.start..tree.span.end;
        let text = self.text.get(range.clone())?;
        let is_number = text.parse::<f64>().is_ok();
        is_number.then_some(range)
    }

    /// Where the last scalar ends that is written in a value; `empty` if there is none.
    fn end_of(&self, tree: &Tree, empty: usize) -> usize {
        match &tree.value {
            Value::Map(entries) => entries
                .last()
                .map_or(empty, |(key, tree)| self.end_of(tree, key.span.end)),
            Value::List(items) => items
                .last()
                .map_or(empty, |last| self.behind_bracket(self.end_of(last, empty))),
            Value::Null | Value::Scalar { .. } => tree.span.end,
        }
    }

    /// Where the bracket ends that closes a list of two names, if one comes next.
    fn behind_bracket(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let trimmed = rest.trim_start();
        if trimmed.starts_with(']') {
            at + rest.len() - trimmed.len() + 1
        } else {
            at
        }
    }

    fn behind_colon(&self, key: &Spanned<String>) -> Option<usize> {
        let rest = &self.text[key.span.end..];
        let trimmed = rest.trim_start_matches(is_blank);
        let colon = key.span.end + rest.len() - trimmed.len();
        trimmed.starts_with(':').then_some(colon + 1)
    }

    fn apply(&mut self) -> String {
        self.edits
            .sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut text = String::with_capacity(self.text.len() + 128 * self.edits.len());
        let mut done = 0;
        for edit in &self.edits {
            text.push_str(&self.text[done..edit.range.start.max(done)]);
            text.push_str(&edit.text);
            done = edit.range.end.max(done);
        }
        text.push_str(&self.text[done..]);
        text
    }
}

const fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line ends in which a place is, before what ends it.
fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline);
    end - usize::from(text[at..end].ends_with('\r'))
}
