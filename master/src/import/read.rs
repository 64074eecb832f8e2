//! Reading a tree: what is not of the shape that is wanted becomes a problem with its place, and reading goes on.

use super::problem::ImportProblem;
use super::tree::{Tree, Value};
use crate::definition::problem::{ProblemKind, Problems, quoted};
use crate::definition::{DefinitionError, SourceText, Span, Spanned, nearest};
use engine::nearest::instead;

/// Collects the problems of one file.
pub(crate) struct Reader {
    pub(crate) problems: Problems,
}

/// The entries of a mapping.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'t> {
    pub(crate) entries: &'t [(Spanned<String>, Tree)],
    /// Of the whole mapping.
    pub(crate) span: Span,
    /// Whether keys that are not known were refused.
    checked: bool,
}

impl<'t> Fields<'t> {
    /// The value of a key, if it is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'t Tree> {
        let entry = self.entries.iter().find(|(name, _)| name.value == key);
        entry
            .map(|(_, tree)| tree)
            .filter(|tree| tree.value != Value::Null)
    }
}

impl Reader {
    pub(crate) fn new(source: &SourceText) -> Self {
        Self {
            problems: Problems::new(source),
        }
    }

    /// What was read, unless a problem was found.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, DefinitionError> {
        match read {
            Some(read) if !self.problems.any() => Ok(read),
            _ => Err(self.problems.into_error()),
        }
    }

    /// Adds a problem.
    pub(crate) fn add(
        &mut self,
        span: Span,
        kind: impl Into<ProblemKind>,
        help: impl Into<String>,
    ) {
        self.problems.add(span, kind.into(), Some(help.into()));
    }

    /// Adds that a value is not what it must be.
    pub(crate) fn shape(&mut self, tree: &Tree, what: impl Into<String>, expected: &'static str) {
        let kind = ProblemKind::Shape {
            what: what.into(),
            expected,
            found: tree.describe(),
        };
        self.problems.add(tree.span, kind, None);
    }

    /// The entries of a mapping, whatever its keys are; of null, none.
    pub(crate) fn map<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<Fields<'t>> {
        let span = tree.span;
        match &tree.value {
            Value::Map(entries) => Some(Fields {
                entries,
                span,
                checked: false,
            }),
            Value::Null => Some(Fields {
                entries: &[],
                span,
                checked: false,
            }),
            _ => {
                self.shape(tree, what, "a mapping");
                None
            }
        }
    }

    /// The entries of a mapping that has no other keys than these.
    pub(crate) fn fields<'t>(
        &mut self,
        tree: &'t Tree,
        what: &str,
        keys: &[&str],
    ) -> Option<Fields<'t>> {
        let fields = self.map(tree, what)?;
        for (key, _) in fields.entries {
            if !keys.contains(&key.value.as_str()) {
                let help = self.instead(&key.value, keys);
                let kind = ProblemKind::UnknownKey {
                    what: what.to_owned(),
                    key: quoted(&key.value),
                };
                self.add(key.span, kind, help);
            }
        }
        Some(Fields {
            checked: true,
            ..fields
        })
    }

    /// What may have been meant: the nearest of them, else all, if they are few.
    pub(crate) fn instead(&self, name: &str, known: &[&str]) -> String {
        instead(name, known, "known are", "there are none")
    }

    /// A key that must be there.
    pub(crate) fn needed<'t>(
        &mut self,
        fields: &Fields<'t>,
        what: &str,
        key: &'static str,
    ) -> Option<&'t Tree> {
        let found = fields.get(key);
        let mut entries = fields.entries.iter();
        let misspelt = entries.find(|(name, _)| nearest(&name.value, [key]).is_some());
        // A slip of the pen has been refused already where keys are.
        if found.is_none() && !(fields.checked && misspelt.is_some()) {
            let kind = ProblemKind::MissingKey {
                what: what.to_owned(),
                key,
            };
            let start = fields.span.start;
            let span = Span {
                start,
                end: fields.span.end.min(start + 1),
            };
            let help = match misspelt {
                Some((name, _)) => format!("is it `{}`?", quoted(&name.value)),
                None => format!("add `{key}`"),
            };
            self.add(span, kind, help);
        }
        found
    }

    /// A text.
    pub(crate) fn text<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<&'t str> {
        match &tree.value {
            Value::Text(text) => Some(text),
            _ => {
                self.shape(tree, what, "a text");
                None
            }
        }
    }

    /// A list; of null, an empty one.
    pub(crate) fn list<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<&'t [Tree]> {
        match &tree.value {
            Value::List(items) => Some(items),
            Value::Null => Some(&[]),
            _ => {
                self.shape(tree, what, "a list");
                None
            }
        }
    }

    /// A number that is not negative, and at most `most`.
    pub(crate) fn number(&mut self, tree: &Tree, key: &'static str, most: f64) -> Option<f64> {
        let number = match &tree.value {
            Value::Number(number) => number.as_f64(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| (0.0..=most).contains(number)) {
            return Some(number);
        }
        let kind = ProblemKind::Number {
            key,
            expected: format!("a number from 0 to {most}"),
            found: tree.describe().replace('`', ""),
        };
        self.problems.add(tree.span, kind, None);
        None
    }

    /// A whole number, at most `most`. One that is written as 2.0 is one too.
    pub(crate) fn whole(&mut self, tree: &Tree, key: &'static str, most: u64) -> Option<u64> {
        let number = match &tree.value {
            Value::Number(number) => number.as_u64().or_else(|| {
                let float = number
                    .as_f64()
                    .filter(|float| float.fract() == 0.0 && *float >= 0.0);
                float.map(|float| float as u64)
            }),
            _ => None,
        };
        if let Some(number) = number.filter(|number| *number <= most) {
            return Some(number);
        }
        let kind = ProblemKind::Number {
            key,
            expected: format!("a whole number from 0 to {most}"),
            found: tree.describe().replace('`', ""),
        };
        self.problems.add(tree.span, kind, None);
        None
    }

    /// Adds that something has no like here.
    pub(crate) fn not_covered(
        &mut self,
        span: Span,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(span, ImportProblem::NotCovered(what.into()), help);
    }
}
