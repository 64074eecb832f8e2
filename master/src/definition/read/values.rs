//! The values of a definition, one kind each: mappings with known keys, names, numbers, kinds, sources. What is not as
//! it should be becomes a problem with its place, and reading goes on.

use super::{Entry, RawSource, Reader, Side};
use crate::definition::names::{
    EXECUTABLE_SYNTAX, NAME_SYNTAX, is_executable, is_name, is_reserved, nearest,
};
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::tree::{Tree, Value};
use crate::definition::{FunctionName, Port, Span, Spanned};
use faasstore::binding::Kind;
use std::rc::Rc;

/// Longest that a time in a definition may be: one day, in milliseconds.
pub(super) const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The keys that a mapping may have.
pub(super) struct Shape {
    pub(super) what: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Keys of the language that this version does not run.
    pub(super) not_yet: &'static [&'static str],
}

pub(super) struct Fields<'t> {
    entries: &'t [Entry],
    span: Span,
}

impl Fields<'_> {
    /// Whether a key that means nothing was meant to be this one.
    pub(super) fn misspells(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|(name, _)| nearest(&name.value, [key]).is_some())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|(name, _)| name.value == key)
    }
}

impl Reader {
    pub(super) fn shape(
        &mut self,
        tree: &Tree,
        what: impl Into<String>,
        expected: &'static str,
        help: &str,
    ) {
        let kind = ProblemKind::Shape {
            what: what.into(),
            expected,
            found: tree.describe(),
        };
        self.problems.add(tree.span, kind, Some(help.to_owned()));
    }

    /// The entries of a mapping.
    pub(super) fn map<'t>(
        &mut self,
        tree: &'t Tree,
        what: &str,
        help: &str,
    ) -> Option<&'t [Entry]> {
        match &tree.value {
            Value::Map(entries) => Some(entries),
            _ => {
                self.shape(tree, what, "a mapping", help);
                None
            }
        }
    }

    /// The entries of a mapping whose keys are known.
    pub(super) fn fields<'t>(&mut self, tree: &'t Tree, shape: &Shape) -> Option<Fields<'t>> {
        let help = format!("its keys are {}", listed(shape.keys));
        let entries = self.map(tree, shape.what, &help)?;
        for (key, _) in entries {
            let name = key.value.as_str();
            if shape.not_yet.contains(&name) {
                let help = format!(
                    "this version runs {} with {}",
                    shape.what,
                    listed(shape.keys)
                );
                self.problems.add(
                    key.span,
                    ProblemKind::NotYet(format!("`{name}`")),
                    Some(help),
                );
            } else if !shape.keys.contains(&name) {
                let help = match nearest(name, shape.keys.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => help.clone(),
                };
                let kind = ProblemKind::UnknownKey {
                    what: shape.what.to_owned(),
                    key: quoted(name),
                };
                self.problems.add(key.span, kind, Some(help));
            }
        }
        Some(Fields {
            entries,
            span: tree.span,
        })
    }

    pub(super) fn missing<T>(
        &mut self,
        fields: &Fields<'_>,
        what: &str,
        key: &'static str,
        help: &str,
    ) -> Option<T> {
        let kind = ProblemKind::MissingKey {
            what: what.to_owned(),
            key,
        };
        self.problems.add(fields.span, kind, Some(help.to_owned()));
        None
    }

    /// A whole number within a range. Every range ends below 2^53.
    pub(super) fn whole(
        &mut self,
        tree: &Tree,
        key: &'static str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        if let Value::Scalar { text, plain: true } = &tree.value
            // `parse` would take a sign.
            && text.chars().all(|char| char.is_ascii_digit())
            && let Ok(number) = text.parse::<u64>()
            && (least..=most).contains(&number)
        {
            return Some(number);
        }
        self.number(tree, key, format!("a whole number from {least} to {most}"));
        None
    }

    /// A time that may have a fraction.
    pub(super) fn milliseconds(&mut self, tree: &Tree, key: &'static str) -> Option<f64> {
        if let Value::Scalar { text, plain: true } = &tree.value
            && text.starts_with(|first: char| first.is_ascii_digit())
            && let Ok(number) = text.parse::<f64>()
            && (0.0..=TIME_MS_MAX as f64).contains(&number)
        {
            return Some(number);
        }
        self.number(
            tree,
            key,
            format!("a number of milliseconds from 0 to {TIME_MS_MAX}"),
        );
        None
    }

    pub(super) fn number(&mut self, tree: &Tree, key: &'static str, expected: String) {
        let help = match &tree.value {
            Value::Scalar { plain: false, .. } => Some("numbers stand without quotes"),
            Value::Scalar { text, .. }
                if text.ends_with(|last: char| last.is_ascii_alphabetic()) =>
            {
                Some("write the number alone; its unit is in the name of the key")
            }
            _ => None,
        };
        let kind = ProblemKind::Number {
            key,
            expected,
            found: tree.describe(),
        };
        self.problems.add(tree.span, kind, help.map(str::to_owned));
    }

    /// A scalar's text.
    pub(super) fn text<'t>(&mut self, tree: &'t Tree, what: &str, help: &str) -> Option<&'t str> {
        match &tree.value {
            Value::Scalar { text, .. } => Some(text),
            _ => {
                self.shape(tree, what, "a name", help);
                None
            }
        }
    }

    pub(super) fn name(&mut self, tree: &Tree, what: &'static str) -> Option<Spanned<String>> {
        let text = self.text(
            tree,
            &format!("the name of {what}"),
            &format!("a name is {NAME_SYNTAX}"),
        )?;
        let name = Spanned {
            value: text.to_owned(),
            span: tree.span,
        };
        self.check_name(&name, what);
        Some(name)
    }

    pub(super) fn check_name(&mut self, name: &Spanned<String>, what: &'static str) {
        if !is_name(&name.value) {
            let kind = ProblemKind::Name {
                what,
                name: quoted(&name.value),
            };
            self.problems
                .add(name.span, kind, Some(format!("a name is {NAME_SYNTAX}")));
        }
    }

    pub(super) fn function(&mut self, tree: &Tree) -> Option<Spanned<FunctionName>> {
        const HELP: &str = "write `EXECUTABLE:FUNCTION`, as in `wordcount:split`";
        let text = self.text(tree, "`function`", HELP)?;
        match text.split_once(':') {
            Some((executable, function)) if is_executable(executable) && is_name(function) => {
                let value = FunctionName {
                    executable: executable.to_owned(),
                    function: function.to_owned(),
                };
                Some(Spanned {
                    value,
                    span: tree.span,
                })
            }
            _ => {
                let help = format!("{HELP}; an executable's name is {EXECUTABLE_SYNTAX}");
                self.problems.add(
                    tree.span,
                    ProblemKind::Function {
                        found: quoted(text),
                    },
                    Some(help),
                );
                None
            }
        }
    }

    /// Names with kinds.
    pub(super) fn ports(&mut self, tree: &Tree, side: Side) -> Vec<Port> {
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let Some(entries) = self.map(
            tree,
            side.key(),
            "write `{ NAME: KIND }`, a kind being bytes, list or value",
        ) else {
            return Vec::new();
        };
        let ports = entries.iter().filter_map(|(name, tree)| {
            self.check_name(name, side.of_one());
            Some(Port {
                name: name.clone(),
                kind: self.kind(tree)?,
            })
        });
        ports.collect()
    }

    pub(super) fn kind(&mut self, tree: &Tree) -> Option<Kind> {
        const HELP: &str = "a kind is `bytes`, `list` or `value`";
        let Value::Scalar { text, .. } = &tree.value else {
            self.shape(tree, "a kind", "`bytes`, `list` or `value`", HELP);
            return None;
        };
        match text.as_str() {
            "bytes" => Some(Kind::Bytes),
            "list" => Some(Kind::List),
            "value" => Some(Kind::Value),
            other => {
                let help = match nearest(other, ["bytes", "list", "value"]) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => HELP.to_owned(),
                };
                self.problems.add(
                    tree.span,
                    ProblemKind::Kind {
                        found: quoted(other),
                    },
                    Some(help),
                );
                None
            }
        }
    }

    /// Names with sources.
    pub(super) fn sources(
        &mut self,
        tree: &Tree,
        side: Side,
    ) -> Vec<(Spanned<String>, Spanned<RawSource>)> {
        if matches!(tree.value, Value::Null) {
            return Vec::new();
        }
        let Some(entries) = self.map(
            tree,
            side.key(),
            "write `{ NAME: SOURCE }`, as in `{ text: input.text }`",
        ) else {
            return Vec::new();
        };
        let sources = entries.iter().filter_map(|(name, tree)| {
            self.check_name(name, side.of_one());
            Some((name.clone(), self.source(tree)?))
        });
        sources.collect()
    }

    pub(super) fn source(&mut self, tree: &Tree) -> Option<Spanned<RawSource>> {
        const HELP: &str = "a source is `input.NAME`, `NODE.OUTPUT` or, in a foreach node, `item`";
        let not_yet = match &tree.value {
            Value::Scalar { text, .. } => ["first_of", "optional"]
                .into_iter()
                .find(|word| text.starts_with(&format!("{word}("))),
            Value::Map(entries) => {
                let words = ["first_of", "optional", "constant", "value"];
                words
                    .into_iter()
                    .find(|word| entries.iter().any(|(key, _)| key.value == *word))
            }
            Value::Null | Value::List(_) => None,
        };
        if let Some(word) = not_yet {
            self.problems.add(
                tree.span,
                ProblemKind::NotYet(format!("`{word}`")),
                Some(HELP.to_owned()),
            );
            return None;
        }
        let Value::Scalar { text, .. } = &tree.value else {
            self.shape(
                tree,
                "a source",
                "`input.NAME`, `NODE.OUTPUT` or `item`",
                HELP,
            );
            return None;
        };
        let value = match text.split_once('.') {
            None if text == "item" => RawSource::Item,
            Some(("input", name)) if is_name(name) => RawSource::Input(name.to_owned()),
            Some((node, output)) if is_name(node) && !is_reserved(node) && is_name(output) => {
                RawSource::Output {
                    node: node.to_owned(),
                    output: output.to_owned(),
                }
            }
            _ => {
                self.problems.add(
                    tree.span,
                    ProblemKind::Source {
                        found: quoted(text),
                    },
                    Some(HELP.to_owned()),
                );
                return None;
            }
        };
        Some(Spanned {
            value,
            span: tree.span,
        })
    }

    /// One node's name, or a list of them.
    pub(super) fn after(&mut self, tree: &Tree) -> Vec<Spanned<String>> {
        const HELP: &str = "write `after: NODE` or `after: [NODE, NODE]`";
        let trees: Vec<&Tree> = match &tree.value {
            Value::List(items) => items.iter().map(Rc::as_ref).collect(),
            _ => vec![tree],
        };
        let names = trees.into_iter().filter_map(|tree| {
            let text = self.text(tree, "`after`", HELP)?;
            Some(Spanned {
                value: text.to_owned(),
                span: tree.span,
            })
        });
        names.collect()
    }
}

/// `a`, `b` and `c`.
pub(in crate::definition) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == names.len() {
                " and "
            } else {
                ", "
            });
        }
        text.push('`');
        text.push_str(name.as_ref());
        text.push('`');
    }
    text
}
