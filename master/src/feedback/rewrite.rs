//! Hints written into the text of a workflow file: what `profile:` says changes, and nothing else does.
//!
//! A text is edited by the places of its values, so that comments, order and style stay byte for byte, in block style as in
//! flow style. What was made is read again and compared with what there was before anybody gets it: a text whose form is not
//! understood well enough is an error, never a changed workflow.

use super::hints::{Bytes, Hints};
use crate::definition::problem::Problems;
use crate::definition::tree::{self, Tree, Value};
use crate::definition::{DefinitionError, SourceText, Span, Spanned};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use thiserror::Error;

/// A key of a node's profile that says something else now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The node, as the file names it.
    pub node: String,
    /// Which key of its `profile`.
    pub key: &'static str,
    /// What it said, as it was written; none if it was not there.
    pub old: Option<String>,
    /// What it says.
    pub new: String,
}

/// A text with other hints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewritten {
    /// The text.
    pub text: String,
    /// What has changed in it, in its order.
    pub changes: Vec<Change>,
    /// Nodes that were left as they are, and why.
    pub left: Vec<(String, &'static str)>,
}

/// Why hints cannot be written into a text.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum RewriteError {
    /// It is no workflow file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Definition(#[from] DefinitionError),
    /// What was made is not what was meant.
    #[error(
        "the profile of node {node} in {file} cannot be changed by itself: its form is too unusual"
    )]
    #[diagnostic(help(
        "write it as `profile: {{ runtime_ms: 1, output_bytes: 0 }}` on a line of its own, and try again"
    ))]
    Form {
        /// Which file.
        file: String,
        /// Which node; of several the first.
        node: String,
    },
}

/// Puts hints into the text of a file, by the names of its nodes. `file` is how errors call it.
///
/// # Errors
/// If the text is no YAML of the kind that a workflow file is, or its form is too unusual.
pub fn rewrite(
    file: &str,
    text: &str,
    hints: &BTreeMap<String, Hints>,
) -> Result<Rewritten, RewriteError> {
    let old = parse(file, text)?;
    let mut editor = Editor {
        text,
        edits: Vec::new(),
        changes: Vec::new(),
        left: Vec::new(),
        expected: BTreeMap::new(),
    };
    for (name, node) in nodes(&old) {
        if let Some(hints) = hints.get(&name.value) {
            editor.node(name, node, hints);
        }
    }
    let rewritten = Rewritten {
        text: editor.apply(),
        changes: editor.changes,
        left: editor.left,
    };
    let unchanged = |new: &Tree| unexpected(&old, new, &editor.expected);
    let wrong = match parse(file, &rewritten.text) {
        Ok(new) => unchanged(&new),
        Err(_) => Some(String::new()),
    };
    match wrong {
        None => Ok(rewritten),
        Some(node) => Err(RewriteError::Form {
            file: file.to_owned(),
            node: match rewritten.changes.first() {
                Some(first) if node.is_empty() => first.node.clone(),
                _ => node,
            },
        }),
    }
}

fn parse(file: &str, text: &str) -> Result<Rc<Tree>, DefinitionError> {
    let source = SourceText {
        name: file.into(),
        text: text.into(),
    };
    let mut problems = Problems::new(&source);
    let tree = tree::parse(&source, &mut problems)?;
    if problems.any() {
        return Err(problems.into_error());
    }
    Ok(tree)
}

type Entry = (Spanned<String>, Rc<Tree>);

fn entries(tree: &Tree) -> &[Entry] {
    match &tree.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

fn get<'a>(tree: &'a Tree, key: &str) -> Option<&'a Entry> {
    entries(tree).iter().find(|(name, _)| name.value == key)
}

/// The nodes of a file.
fn nodes(root: &Tree) -> impl Iterator<Item = (&Spanned<String>, &Tree)> {
    let nodes = get(root, "nodes").map_or(&[][..], |(_, nodes)| entries(nodes));
    nodes.iter().map(|(name, node)| (name, &**node))
}

/// The path of another file that a node stands for, if it does, and whether it has a `foreach` of its own.
pub(super) fn nodes_of(
    file: &str,
    text: &str,
) -> Result<BTreeMap<String, FileNode>, DefinitionError> {
    let root = parse(file, text)?;
    let node = |(name, node): (&Spanned<String>, &Tree)| {
        let text_of = |(_, tree): &Entry| match &tree.value {
            Value::Scalar { text, .. } => Some(text.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        };
        let of = FileNode {
            workflow: get(node, "workflow").and_then(text_of),
            has_foreach: get(node, "foreach").is_some(),
            says_runs: get(node, "profile")
                .is_some_and(|(_, profile)| get(profile, "runs").is_some()),
        };
        (name.value.clone(), of)
    };
    Ok(nodes(&root).map(node).collect())
}

/// What of a node of a file decides how hints are written for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileNode {
    /// The path of another file that it stands for.
    pub(super) workflow: Option<String>,
    /// Whether it has a `foreach` of its own.
    pub(super) has_foreach: bool,
    /// Whether its profile says in what share of the invocations it runs.
    pub(super) says_runs: bool,
}

/// A value that a profile is to have.
enum New {
    Number(String),
    /// By name.
    Numbers(Vec<(String, u64)>),
}

impl New {
    fn text(&self) -> String {
        match self {
            Self::Number(text) => text.clone(),
            Self::Numbers(numbers) => {
                let each = numbers
                    .iter()
                    .map(|(name, bytes)| format!("{name}: {bytes}"));
                format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whether a value says this.
    fn is(&self, tree: &Tree) -> bool {
        match (self, &tree.value) {
            (Self::Number(new), Value::Scalar { text, plain: true }) => same_scalar(text, new),
            (Self::Numbers(numbers), Value::Map(entries)) => {
                numbers.len() == entries.len()
                    && numbers.iter().all(|(name, bytes)| {
                        let found = entries.iter().find(|(key, _)| key.value == *name);
                        found.is_some_and(|(_, tree)| Self::Number(bytes.to_string()).is(tree))
                    })
            }
            _ => false,
        }
    }
}

/// Whether two scalars are the same number, or the same word.
fn same_scalar(old: &str, new: &str) -> bool {
    match (old.parse::<f64>(), new.parse::<f64>()) {
        (Ok(old), Ok(new)) => old == new,
        _ => old == new,
    }
}

/// A piece of the text that is to be another one.
struct Edit {
    span: Span,
    text: String,
}

struct Editor<'a> {
    text: &'a str,
    edits: Vec<Edit>,
    changes: Vec<Change>,
    left: Vec<(String, &'static str)>,
    /// By node: the values that its profile has in the end.
    expected: BTreeMap<String, Vec<(&'static str, New)>>,
}

impl Editor<'_> {
    fn node(&mut self, name: &Spanned<String>, node: &Tree, hints: &Hints) {
        if let Some(reason) = self.is_shared(name, node) {
            return self.left.push((name.value.clone(), reason));
        }
        let profile = get(node, "profile");
        if let Some((key, profile)) = profile
            && let Some(reason) = self.is_shared(key, profile)
        {
            return self.left.push((name.value.clone(), reason));
        }
        let known = profile.map(|(_, profile)| &**profile);
        let wanted = wanted(hints, known);
        let mut missing = Vec::new();
        for (key, new) in &wanted {
            let found = known.and_then(|profile| get(profile, key));
            let old = found.map(|(key, tree)| self.text_of(key, tree));
            if found.is_some_and(|(_, tree)| new.is(tree)) {
                continue;
            }
            match found {
                Some((name, tree)) => self.value(name, tree, new),
                None => missing.push(format!("{key}: {}", new.text())),
            }
            self.changes.push(Change {
                node: name.value.clone(),
                key,
                old,
                new: new.text(),
            });
        }
        self.expected.insert(name.value.clone(), wanted);
        if missing.is_empty() {
            return;
        }
        match profile {
            Some((_, profile)) if matches!(profile.value, Value::Map(_)) => {
                self.add(profile, &missing);
            }
            // It is there and says nothing.
            Some((key, profile)) => {
                let span = self.value_span(key, profile);
                let text = spaced(self.text, span, format!("{{ {} }}", missing.join(", ")));
                self.edits.push(Edit { span, text });
            }
            None => self.add(node, &[format!("profile: {{ {} }}", missing.join(", "))]),
        }
    }

    /// Why a value cannot be changed by itself, if it stands in another place too.
    fn is_shared(&self, key: &Spanned<String>, tree: &Tree) -> Option<&'static str> {
        match self.first_token(key, tree)? {
            '&' => Some("it has an anchor: what else uses that would change too"),
            '*' => Some("it is an alias of something else"),
            _ => None,
        }
    }

    /// What a value begins with, its anchor included.
    fn first_token(&self, key: &Spanned<String>, tree: &Tree) -> Option<char> {
        let colon = self.behind_colon(key);
        let end = tree.span.end.max(colon);
        let mut rest = self.text.get(colon..end)?.chars();
        loop {
            match rest.next()? {
                '#' => while rest.next().is_some_and(|letter| letter != '\n') {},
                space if space.is_whitespace() => {}
                token => return Some(token),
            }
        }
    }

    /// Where the colon behind a key ends.
    fn behind_colon(&self, key: &Spanned<String>) -> usize {
        let rest = &self.text[key.span.end..];
        let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if rest[spaces..].starts_with(':') {
            key.span.end + spaces + 1
        } else {
            key.span.end
        }
    }

    /// Where a value stands, without what is around it; of one that is not written, where it would.
    fn value_span(&self, key: &Spanned<String>, tree: &Tree) -> Span {
        let span = tree.span;
        let text = &self.text[span.start..span.end];
        if text.trim().is_empty() {
            let at = self.behind_colon(key);
            return Span { start: at, end: at };
        }
        Span {
            start: span.start + (text.len() - text.trim_start().len()),
            end: span.start + text.trim_end().len(),
        }
    }

    /// A value as it is written, on one line.
    fn text_of(&self, key: &Spanned<String>, tree: &Tree) -> String {
        let text = &self.text[tree.span.start..self.end_of(key, tree).max(tree.span.start)];
        let lines = text.lines().map(|line| {
            let line = line.split(" #").next().unwrap_or_default();
            line.trim()
        });
        lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Gives a key of a profile another value.
    fn value(&mut self, key: &Spanned<String>, tree: &Tree, new: &New) {
        let New::Numbers(numbers) = new else {
            let span = self.value_span(key, tree);
            let text = spaced(self.text, span, new.text());
            return self.edits.push(Edit { span, text });
        };
        if !matches!(tree.value, Value::Map(_)) {
            let span = self.value_span(key, tree);
            let text = spaced(self.text, span, new.text());
            return self.edits.push(Edit { span, text });
        }
        let mut missing = Vec::new();
        for (name, bytes) in numbers {
            let number = New::Number(bytes.to_string());
            match get(tree, name) {
                Some((_, tree)) if number.is(tree) => {}
                Some((key, tree)) => self.value(key, tree, &number),
                None => missing.push(format!("{name}: {bytes}")),
            }
        }
        if !missing.is_empty() {
            self.add(tree, &missing);
        }
    }

    /// Adds entries to a mapping, behind its last one.
    fn add(&mut self, map: &Tree, new: &[String]) {
        let is_flow = self.text[map.span.start..].starts_with('{');
        let last = entries(map).last();
        let (at, text) = match last {
            None => {
                let at = map.span.start + usize::from(is_flow);
                (at, format!(" {} ", new.join(", ")))
            }
            Some((key, tree)) if is_flow => {
                (self.end_of(key, tree), format!(", {}", new.join(", ")))
            }
            Some((key, tree)) => {
                let first = entries(map)[0].0.span.start;
                let indent = &self.text[line_start(self.text, first)..first];
                let end = line_end(self.text, self.end_of(key, tree));
                let newline = if self.text.contains("\r\n") {
                    "\r\n"
                } else {
                    "\n"
                };
                let lines = new.iter().map(|entry| format!("{newline}{indent}{entry}"));
                (end, lines.collect())
            }
        };
        let span = Span { start: at, end: at };
        self.edits.push(Edit { span, text });
    }

    /// Where the last thing that is written of an entry ends.
    fn end_of(&self, key: &Spanned<String>, tree: &Tree) -> usize {
        let (is_flow, is_alias) = match self.text[tree.span.start..].chars().next() {
            Some('{' | '[') => (true, false),
            Some('*') => (false, true),
            _ => (false, false),
        };
        let last = match &tree.value {
            Value::Map(entries) if !is_alias => {
                entries.last().map(|(key, tree)| self.end_of(key, tree))
            }
            Value::List(items) if !is_alias => items.last().map(|last| self.end_of(key, last)),
            _ => return self.value_span(key, tree).end,
        };
        if is_flow {
            self.behind_bracket(last.unwrap_or(tree.span.start + 1))
        } else {
            last.unwrap_or(tree.span.end)
        }
    }

    /// Where the bracket ends that closes what ends at a place, but for commas and comments.
    fn behind_bracket(&self, at: usize) -> usize {
        let mut letters = self.text[at..].char_indices();
        while let Some((offset, letter)) = letters.next() {
            match letter {
                '#' => {
                    letters.find(|(_, letter)| *letter == '\n');
                }
                '}' | ']' => return at + offset + 1,
                ',' => {}
                space if space.is_whitespace() => {}
                // No form that is understood; what is made of it is not taken.
                _ => return at,
            }
        }
        at
    }

    fn apply(&mut self) -> String {
        self.edits
            .sort_by_key(|edit| (edit.span.start, edit.span.end));
        let mut text = String::with_capacity(self.text.len() + 64 * self.edits.len());
        let mut done = 0;
        for edit in &self.edits {
            text.push_str(&self.text[done..edit.span.start.max(done)]);
            text.push_str(&edit.text);
            done = edit.span.end.max(done);
        }
        text.push_str(&self.text[done..]);
        text
    }
}

/// A value that comes right behind a colon needs a space.
fn spaced(text: &str, span: Span, new: String) -> String {
    if text[..span.start].ends_with(':') {
        format!(" {new}")
    } else {
        new
    }
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

/// The values that a profile is to have. What was a placeholder is measured now.
fn wanted(hints: &Hints, known: Option<&Tree>) -> Vec<(&'static str, New)> {
    let mut wanted = Vec::new();
    if let Some(ms) = hints.runtime_ms {
        wanted.push(("runtime_ms", New::Number(number(ms))));
    }
    // That it never waits goes without saying.
    let says_busy = known.is_some_and(|profile| get(profile, "busy").is_some());
    if let Some(busy) = hints.busy.filter(|busy| says_busy || *busy < 1.0) {
        wanted.push(("busy", New::Number(number(busy))));
    }
    let said = known.and_then(|profile| get(profile, "output_bytes"));
    // No bytes go without saying.
    let says = |Bytes(bytes): &&Bytes| said.is_some() || bytes.iter().any(|(_, bytes)| *bytes > 0);
    if let Some(bytes) = hints.output_bytes.as_ref().filter(says) {
        let is_map = said.is_some_and(|(_, tree)| matches!(tree.value, Value::Map(_)));
        let Bytes(by_name) = bytes;
        let new = match by_name.as_slice() {
            [(_, bytes)] if !is_map => New::Number(bytes.to_string()),
            _ => New::Numbers(by_name.clone()),
        };
        wanted.push(("output_bytes", new));
    }
    if let Some(items) = hints.items {
        wanted.push(("items", New::Number(items.to_string())));
    }
    if let Some(runs) = hints.runs {
        wanted.push(("runs", New::Number(number(runs))));
    }
    let placeholder = known.and_then(|profile| get(profile, "placeholder"));
    let was_true = |(_, tree): &Entry| match &tree.value {
        Value::Scalar { text, plain: true } => **text == *"true",
        _ => false,
    };
    if placeholder.is_some_and(was_true) && !wanted.is_empty() {
        wanted.push(("placeholder", New::Number("false".to_owned())));
    }
    wanted
}

/// Four digits of it, and no more behind the point than say something.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    if digits <= 0 {
        let unit = 10_f64.powi(-digits);
        return format!("{:.0}", (value / unit).round() * unit);
    }
    let text = format!("{value:.*}", digits.min(9) as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The first node in which two texts differ by more than is expected; an empty name if something else does.
fn unexpected(
    old: &Tree,
    new: &Tree,
    expected: &BTreeMap<String, Vec<(&'static str, New)>>,
) -> Option<String> {
    let but_nodes = |tree: &Tree| -> Vec<Entry> {
        let others = entries(tree).iter().filter(|(key, _)| key.value != "nodes");
        others.cloned().collect()
    };
    if !same_entries(&but_nodes(old), &but_nodes(new)) || nodes(old).count() != nodes(new).count() {
        return Some(String::new());
    }
    let mut pairs = nodes(old).zip(nodes(new));
    let differs = pairs.find(|((name, old), (new_name, new))| {
        let same_name = name.value == new_name.value;
        let same = match expected.get(&name.value) {
            None => same(old, new),
            Some(expected) => is_as_expected(old, new, expected),
        };
        !same_name || !same
    });
    differs.map(|((name, _), _)| name.value.clone())
}

/// Whether a node is what it was, but for its profile, and that says what is expected and all else that it said.
fn is_as_expected(old: &Tree, new: &Tree, expected: &[(&'static str, New)]) -> bool {
    let but = |tree: &Tree, without: &BTreeSet<&str>| -> Vec<Entry> {
        let entries = entries(tree).iter();
        let others = entries.filter(|(key, _)| !without.contains(key.value.as_str()));
        others.cloned().collect()
    };
    let profile = BTreeSet::from(["profile"]);
    if !same_entries(&but(old, &profile), &but(new, &profile)) {
        return false;
    }
    let keys: BTreeSet<&str> = expected.iter().map(|(key, _)| *key).collect();
    let rest =
        |node: &Tree| get(node, "profile").map_or_else(Vec::new, |(_, tree)| but(tree, &keys));
    let says = |(key, value): &(&'static str, New)| {
        let found = get(new, "profile").and_then(|(_, profile)| get(profile, key));
        found.is_some_and(|(_, tree)| value.is(tree))
    };
    same_entries(&rest(old), &rest(new)) && expected.iter().all(says)
}

fn same_entries(old: &[Entry], new: &[Entry]) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|((old_key, old), (new_key, new))| {
            old_key.value == new_key.value && same(old, new)
        })
}

fn same(old: &Tree, new: &Tree) -> bool {
    match (&old.value, &new.value) {
        (Value::Null, Value::Null) => true,
        (
            Value::Scalar {
                text: old,
                plain: was_plain,
            },
            Value::Scalar { text: new, plain },
        ) => old == new && was_plain == plain,
        (Value::List(old), Value::List(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        }
        (Value::Map(old), Value::Map(new)) => same_entries(old, new),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
