//! Why an evaluation has no result.

use super::syntax::Span;
use crate::nearest::instead_of_few;
use std::fmt;

/// Longest part of an expression that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 60;
/// Longest reason, in characters: a field may have a name as long as an expression.
const REASON_CHARS_MAX: usize = 300;

/// Why an expression has no result, or not the one that is needed: the part that failed, where that stands, and the reason.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{what}")]
pub struct EvaluationError {
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A part of the expression.
    Part {
        part: Span,
        /// Where it stands, and its text; empty until they are asked for, since most failures of parts decide nothing.
        shown: String,
        reason: String,
        /// A field that there is not, and those that there are: likewise not looked at until the failure is shown.
        instead: Option<(String, Vec<String>)>,
    },
    /// The whole expression.
    Whole(String),
    /// What the expression itself says.
    Told(String),
}

impl EvaluationError {
    /// A part has no result.
    pub(super) fn of_part(part: Span, reason: impl Into<String>) -> Self {
        Self {
            what: What::Part {
                part,
                shown: String::new(),
                reason: reason.into(),
                instead: None,
            },
        }
    }

    /// An object has no such field, but these, if they are known.
    pub(super) fn no_field(part: Span, field: &str, fields: Option<Vec<String>>) -> Self {
        Self {
            what: What::Part {
                part,
                shown: String::new(),
                reason: format!("there is no field `{field}`"),
                instead: fields.map(|fields| (field.to_owned(), fields)),
            },
        }
    }

    /// The expression has no result, wherever that is seen.
    pub(super) fn of_whole(reason: impl Into<String>) -> Self {
        Self {
            what: What::Whole(reason.into()),
        }
    }

    /// The expression says so, in these words.
    pub(super) fn told(text: impl Into<String>) -> Self {
        Self {
            what: What::Told(text.into()),
        }
    }

    /// With the place of its part in the text of the expression.
    pub(super) fn in_text(self, text: &str) -> Self {
        let What::Part {
            part,
            mut reason,
            instead,
            ..
        } = self.what
        else {
            return self;
        };
        if let Some((field, fields)) = instead {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let instead = instead_of_few(&field, &fields, "there are", "the object is empty");
            reason = format!("{reason}; {instead}");
        }
        let (before, shown) = (&text[..part.start], &text[part.start..part.end]);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[line_start..].chars().count() + 1;
        let line = match before.matches('\n').count() {
            0 => String::new(),
            lines => format!("line {}, ", lines + 1),
        };
        let shown = shortened(shown, SHOWN_CHARS_MAX);
        Self {
            what: What::Part {
                part,
                shown: format!("{line}column {column}: `{shown}`"),
                reason: shortened(&reason, REASON_CHARS_MAX),
                instead: None,
            },
        }
    }

    /// As a cause of what failed at `place`, as at `` `delay_ms` ``. What `fail(text)` says stays as it is: errors are known by
    /// how they begin.
    #[must_use]
    pub fn at(&self, place: impl fmt::Display) -> String {
        match &self.what {
            What::Part { .. } => format!("{place}, {self}"),
            What::Whole(reason) => format!("{place}: {reason}"),
            What::Told(text) => text.clone(),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part { shown, reason, .. } if shown.is_empty() => reason.fmt(f),
            Self::Part { shown, reason, .. } => write!(f, "{shown}: {reason}"),
            Self::Whole(text) | Self::Told(text) => text.fmt(f),
        }
    }
}

/// As much of a text as a message shows.
fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
