//! How long a node waits: a number, an expression, or a time.

use super::Reader;
use super::values::Fields;
use crate::definition::Spanned;
use crate::definition::problem::{ProblemKind, quoted};
use crate::definition::raw::RawDelay;
use crate::definition::tree::{Tree, Value};
use engine::delay::is_timestamp;

impl Reader {
    /// What `delay_ms` or `delay_until` says; nothing if neither stands there, or what does is wrong.
    pub(super) fn delay(&mut self, fields: &Fields<'_>) -> Option<RawDelay> {
        match (fields.get("delay_ms"), fields.get("delay_until")) {
            (None, None) => None,
            (Some(_), Some((name, _))) => {
                let help =
                    "a node waits for a time or until one: let a node before it do the other";
                self.conflict(name.span, &["delay_ms", "delay_until"], help);
                None
            }
            (Some((_, tree)), None) if is_number(tree) => {
                let delay_ms = self.whole(fields, "delay_ms")?;
                Some(RawDelay::Fixed(delay_ms as u32))
            }
            (Some((_, tree)), None) => {
                let text = self.expression(tree, "`delay_ms`")?;
                Some(RawDelay::Computed(text))
            }
            (None, Some((_, tree))) => Some(RawDelay::Until(self.time_named(tree)?)),
        }
    }

    /// An expression that gives a time; a timestamp that stands there itself becomes one.
    fn time_named(&mut self, tree: &Tree) -> Option<Spanned<String>> {
        let text = self.expression(tree, "`delay_until`")?;
        if is_timestamp(&text.value) {
            let quoted = serde_json::Value::from(text.value).to_string();
            return Some(Spanned {
                value: quoted,
                span: text.span,
            });
        }
        if !begins_as_date(&text.value) {
            return Some(text);
        }
        let kind = ProblemKind::Shape {
            what: "`delay_until`".to_owned(),
            expected: "a timestamp or an expression",
            found: format!("`{}`", quoted(&text.value)),
        };
        let help = "a timestamp has a date, a time and an offset, as in `2030-01-01T08:00:00Z`";
        self.problems.add(text.span, kind, Some(help.to_owned()));
        None
    }
}

/// Whether what stands there is meant as a number, rather than as an expression: it is no text, or begins like a number and
/// has no operator.
pub(super) fn is_number(tree: &Tree) -> bool {
    match &tree.value {
        Value::Scalar { text, plain: true } => {
            let digits = text.trim_start_matches(['-', '+']);
            let part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_');
            text.is_empty()
                || digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
                    && digits.chars().all(part)
        }
        Value::Scalar { plain: false, .. } => false,
        _ => true,
    }
}

/// Whether a text begins with a year and a month, as no useful expression does.
fn begins_as_date(text: &str) -> bool {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    [0, 1, 2, 3, 5, 6].into_iter().all(digit) && text.as_bytes()[4] == b'-'
}
