//! The values of a definition, one kind each: mappings with known keys, names, numbers, texts. What is not as it should
//! be becomes a problem with its place, and reading goes on.

use super::{Entry, Reader};
use crate::definition::json::{self, NoJson};
use crate::definition::keys::{Meant, Shape};
use crate::definition::names::{EXECUTABLE_SYNTAX, NAME_SYNTAX, is_executable, is_name};
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::tree::{Tree, Value};
use crate::definition::{FunctionName, Span, Spanned};
use serde_json::Value as Json;
use std::ops::RangeInclusive;

/// A mapping whose keys are known. What stands under a key that is misspelt is what the right key has.
pub(super) struct Fields<'t> {
    entries: &'t [Entry],
    /// Misspelt keys, as places of entries, and what they were meant to be.
    meant: Vec<(usize, &'static str)>,
    /// Keys that mean nothing there, which has been told.
    meaningless: Vec<&'static str>,
    shape: &'static Shape,
    pub(super) span: Span,
}

impl<'t> Fields<'t> {
    pub(super) fn get(&self, key: &str) -> Option<&'t Entry> {
        if self.meaningless.contains(&key) {
            return None;
        }
        self.spelt(key).or_else(|| {
            let (place, _) = self.meant.iter().find(|(_, meant)| *meant == key)?;
            self.entries.get(*place)
        })
    }

    /// From now on nothing stands under this key.
    pub(super) fn ignore(&mut self, key: &'static str) {
        self.meaningless.push(key);
    }

    /// What stands under a key that is spelt right.
    pub(super) fn spelt(&self, key: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|(name, _)| name.value == key)
    }

    /// Those of these keys that stand there; those that are misspelt only if none is spelt right.
    pub(super) fn among(&self, keys: &[&'static str]) -> Vec<&'static str> {
        let keys = keys.iter().copied();
        let spelt: Vec<_> = keys
            .clone()
            .filter(|key| self.spelt(key).is_some())
            .collect();
        if !spelt.is_empty() {
            return spelt;
        }
        keys.filter(|key| self.get(key).is_some()).collect()
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
    pub(super) fn fields<'t>(
        &mut self,
        tree: &'t Tree,
        shape: &'static Shape,
    ) -> Option<Fields<'t>> {
        let names = shape.names();
        let help = format!("its keys are {}", listed(&names));
        let entries = self.map(tree, shape.what, &help)?;
        let known = |name: &str| names.iter().copied().find(|known| *known == name);
        let spelt = entries.iter().filter_map(|(key, _)| known(&key.value));
        let mut given: Vec<&'static str> = spelt.collect();
        let mut all_meant = Vec::new();
        for (place, (key, under)) in entries.iter().enumerate() {
            let name = key.value.as_str();
            if names.contains(&name) {
                continue;
            }
            if shape.not_yet.contains(&name) {
                let help = format!("this version runs {} with {}", shape.what, listed(&names));
                let kind = ProblemKind::NotYet(format!("`{name}`"));
                self.problems.add(key.span, kind, Some(help));
                continue;
            }
            let elsewhere = shape.elsewhere.iter().find(|(other, _)| *other == name);
            let crowded = self.problems.crowded();
            let meant = match elsewhere {
                None if !crowded => shape.meant(name, |key| given.contains(&key)),
                _ => None,
            };
            let help = match (elsewhere, meant) {
                (Some((_, place)), _) => (*place).to_owned(),
                (None, Some(meant)) => format!("did you mean `{}`?", meant.key),
                (None, None) => help.clone(),
            };
            if let Some(Meant { key, slip }) = meant
                && !given.contains(&key)
            {
                given.push(key);
                all_meant.push((place, key));
                if !slip {
                    // Under another word stands what that word wants.
                    self.foreign.push(under.span);
                }
            }
            let kind = ProblemKind::UnknownKey {
                what: shape.what.to_owned(),
                key: quoted(name),
            };
            self.problems.add(key.span, kind, Some(help));
        }
        Some(Fields {
            entries,
            meant: all_meant,
            meaningless: Vec::new(),
            shape,
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

    /// Keys of which at most one may stand there do.
    pub(super) fn conflict(&mut self, span: Span, keys: &[&'static str], help: &str) {
        let kind = ProblemKind::Conflict { keys: listed(keys) };
        self.problems.add(span, kind, Some(help.to_owned()));
    }

    /// The whole number under a key, within its range. Every range ends below 2^53.
    pub(super) fn whole(&mut self, fields: &Fields<'_>, key: &str) -> Option<u64> {
        let (_, tree) = fields.get(key)?;
        let (key, least, most) = fields.shape.whole(key)?;
        self.whole_at(tree, key, least..=most)
    }

    /// The whole number that stands somewhere, within a range.
    pub(super) fn whole_at(
        &mut self,
        tree: &Tree,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        if let Value::Scalar { text, plain: true } = &tree.value
            // `parse` would take a sign.
            && text.chars().all(|char| char.is_ascii_digit())
            && let Ok(number) = text.parse::<u64>()
            && range.contains(&number)
        {
            return Some(number);
        }
        let (least, most) = range.into_inner();
        self.no_number(tree, key, format!("a whole number from {least} to {most}"));
        None
    }

    /// The number under a key, within its range; it may have a fraction.
    pub(super) fn number(&mut self, fields: &Fields<'_>, key: &str) -> Option<f64> {
        let (_, tree) = fields.get(key)?;
        let (key, least, most) = fields.shape.number(key)?;
        if let Value::Scalar { text, plain: true } = &tree.value
            && text.starts_with(|first: char| first.is_ascii_digit())
            && let Ok(number) = text.parse::<f64>()
            && (least..=most).contains(&number)
        {
            return Some(number);
        }
        let of_what = if key.ends_with("_ms") {
            "a number of milliseconds"
        } else {
            "a number"
        };
        self.no_number(tree, key, format!("{of_what} from {least} to {most}"));
        None
    }

    fn no_number(&mut self, tree: &Tree, key: &'static str, expected: String) {
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

    /// True or false under a key.
    pub(super) fn flag(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let (name, tree) = fields.get(key)?;
        match &tree.value {
            Value::Scalar { text, plain: true } if &**text == "true" => Some(true),
            Value::Scalar { text, plain: true } if &**text == "false" => Some(false),
            _ => {
                let what = format!("`{}`", name.value);
                self.shape(tree, what, "`true` or `false`", "write it without quotes");
                None
            }
        }
    }

    /// A scalar's text, which is to be a name.
    pub(super) fn text<'t>(&mut self, tree: &'t Tree, what: &str, help: &str) -> Option<&'t str> {
        self.scalar(tree, what, "a name", help)
    }

    /// A scalar's text.
    pub(super) fn scalar<'t>(
        &mut self,
        tree: &'t Tree,
        what: &str,
        expected: &'static str,
        help: &str,
    ) -> Option<&'t str> {
        match &tree.value {
            Value::Scalar { text, .. } => Some(text),
            _ => {
                self.shape(tree, what, expected, help);
                None
            }
        }
    }

    /// A CEL expression.
    pub(super) fn expression(&mut self, tree: &Tree, what: &str) -> Option<Spanned<String>> {
        const HELP: &str = "an expression is text, as in `check.size > 100`; put quotes around it";
        let text = self.scalar(tree, what, "an expression", HELP)?;
        Some(Spanned {
            value: text.to_owned(),
            span: tree.span,
        })
    }

    /// The JSON of a value that stands in the file.
    pub(super) fn json(&mut self, tree: &Tree) -> Option<Spanned<Json>> {
        match json::of(tree) {
            Ok(value) => Some(Spanned {
                value,
                span: tree.span,
            }),
            Err(NoJson(span)) => {
                let help = "JSON has no such number; put quotes around it to make it text";
                self.problems
                    .add(span, ProblemKind::NoJson, Some(help.to_owned()));
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

    /// Whether a name is one, which is told otherwise.
    pub(super) fn check_name(&mut self, name: &Spanned<String>, what: &'static str) -> bool {
        if is_name(&name.value) {
            return true;
        }
        let kind = ProblemKind::Name {
            what,
            name: quoted(&name.value),
        };
        let help = format!("a name is {NAME_SYNTAX}");
        self.problems.add(name.span, kind, Some(help));
        false
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
