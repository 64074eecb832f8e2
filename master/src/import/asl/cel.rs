//! Expressions on their way to a definition: CEL text that knows how tightly it binds and what it reads.

use engine::expression::is_reserved_word;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// How tightly an expression's outermost operator binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Binding {
    Choice,
    Or,
    And,
    Compare,
    Sum,
    Product,
    /// A number: a field's dot would belong to it.
    Number,
    /// A name, a literal, a call, a field: nothing that parentheses would change.
    Atom,
}

/// Which of a node's sources an expression reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Reads {
    /// What comes into the state.
    pub(super) state: bool,
    /// What the state's work gave.
    pub(super) result: bool,
    /// What failed.
    pub(super) error: bool,
    /// The item of a Map's list.
    pub(super) item: bool,
    /// Its place in the list.
    pub(super) index: bool,
}

impl Reads {
    const NOTHING: Self = Self {
        state: false,
        result: false,
        error: false,
        item: false,
        index: false,
    };
    pub(super) const STATE: Self = Self {
        state: true,
        ..Self::NOTHING
    };
    pub(super) const RESULT: Self = Self {
        result: true,
        ..Self::NOTHING
    };
    pub(super) const ERROR: Self = Self {
        error: true,
        ..Self::NOTHING
    };
    pub(super) const ITEM: Self = Self {
        item: true,
        ..Self::NOTHING
    };
    pub(super) const INDEX: Self = Self {
        index: true,
        ..Self::NOTHING
    };

    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            state: self.state || other.state,
            result: self.result || other.result,
            error: self.error || other.error,
            item: self.item || other.item,
            index: self.index || other.index,
        }
    }
}

/// Longest expression, in bytes: what the language allows.
pub(super) const EXPRESSION_BYTES_MAX: usize = engine::expression::TEXT_BYTES_MAX;

/// A CEL expression.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cel {
    text: String,
    binding: Binding,
    reads: Reads,
    /// Deepest nesting of macros in it.
    macros: usize,
}

impl Cel {
    /// A name under which a node's expression finds something.
    pub(super) fn name(text: impl Into<String>, reads: Reads) -> Self {
        Self {
            text: text.into(),
            binding: Binding::Atom,
            reads,
            macros: 0,
        }
    }

    /// The literal that stands for a JSON value.
    pub(super) fn literal(value: &Value) -> Self {
        let mut text = String::new();
        write_literal(value, &mut text);
        let binding = if value.is_number() {
            Binding::Number
        } else {
            Binding::Atom
        };
        Self::of(binding, &[], text)
    }

    /// The literal of a text.
    pub(super) fn text_literal(text: &str) -> Self {
        Self::name(quoted(text), Reads::default())
    }

    /// The literal of a whole number.
    pub(super) fn whole(number: i64) -> Self {
        Self::literal(&Value::from(number))
    }

    /// What is written so of these parts.
    pub(super) fn of(binding: Binding, parts: &[&Self], text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            binding,
            reads: parts
                .iter()
                .fold(Reads::default(), |all, part| all.and(part.reads)),
            macros: parts.iter().map(|part| part.macros).max().unwrap_or(0),
        }
    }

    /// A call of a function.
    pub(super) fn call(function: &str, arguments: &[&Self]) -> Self {
        let texts: Vec<&str> = arguments.iter().map(|argument| argument.text()).collect();
        Self::of(
            Binding::Atom,
            arguments,
            format!("{function}({})", texts.join(", ")),
        )
    }

    /// A call of a function that belongs to its first argument.
    pub(super) fn method(&self, function: &str, arguments: &[&Self]) -> Self {
        let texts: Vec<&str> = arguments.iter().map(|argument| argument.text()).collect();
        let mut parts = vec![self];
        parts.extend(arguments);
        let text = format!("{}.{function}({})", self.tight(), texts.join(", "));
        Self::of(Binding::Atom, &parts, text)
    }

    /// A macro over a list: `body` sees each element as `variable`.
    pub(super) fn over(&self, name: &str, variable: &str, body: &Self) -> Self {
        let text = format!("{}.{name}({variable}, {})", self.tight(), body.text);
        let mut cel = Self::of(Binding::Atom, &[self, body], text);
        cel.macros = self.macros.max(body.macros + 1);
        cel
    }

    /// Two operands and what stands between them.
    pub(super) fn infix(binding: Binding, left: &Self, operator: &str, right: &Self) -> Self {
        // Comparisons do not chain; the other operators do, to the left.
        let left_binding = if binding == Binding::Compare {
            Binding::Sum
        } else {
            binding
        };
        let right_binding = match binding {
            Binding::And | Binding::Or => binding,
            Binding::Compare => Binding::Sum,
            Binding::Choice | Binding::Sum | Binding::Product | Binding::Number | Binding::Atom => {
                Binding::Number
            }
        };
        let text = format!(
            "{} {operator} {}",
            left.bound(left_binding),
            right.bound(right_binding)
        );
        Self::of(binding, &[left, right], text)
    }

    /// Whether both hold.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self::infix(Binding::And, self, "&&", other)
    }

    /// Whether one holds.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self::infix(Binding::Or, self, "||", other)
    }

    /// Whether they compare so.
    pub(super) fn compared(&self, operator: &str, other: &Self) -> Self {
        Self::infix(Binding::Compare, self, operator, other)
    }

    /// Whether it does not hold.
    pub(super) fn negated(&self) -> Self {
        Self::of(Binding::Atom, &[self], format!("!{}", self.tight()))
    }

    /// One of two, by this condition.
    pub(super) fn choose(&self, then: &Self, otherwise: &Self) -> Self {
        let text = format!(
            "{} ? {} : {}",
            self.bound(Binding::Or),
            then.bound(Binding::Or),
            otherwise.text
        );
        Self::of(Binding::Choice, &[self, then, otherwise], text)
    }

    /// A field of an object.
    pub(super) fn field(&self, key: &str) -> Self {
        let text = if is_identifier(key) {
            format!("{}.{key}", self.tight())
        } else {
            format!("{}[{}]", self.tight(), quoted(key))
        };
        Self::of(Binding::Atom, &[self], text)
    }

    /// An element of a list.
    pub(super) fn at(&self, index: &Self) -> Self {
        let text = format!("{}[{}]", self.tight(), index.text);
        Self::of(Binding::Atom, &[self, index], text)
    }

    /// An object of these.
    pub(super) fn object(entries: &[(String, Self)]) -> Self {
        let texts: Vec<String> = entries
            .iter()
            .map(|(key, value)| format!("{}: {}", quoted(key), value.text))
            .collect();
        let parts: Vec<&Self> = entries.iter().map(|(_, value)| value).collect();
        Self::of(Binding::Atom, &parts, format!("{{{}}}", texts.join(", ")))
    }

    /// A list of these.
    pub(super) fn list(items: &[Self]) -> Self {
        let texts: Vec<&str> = items.iter().map(Self::text).collect();
        let parts: Vec<&Self> = items.iter().collect();
        Self::of(Binding::Atom, &parts, format!("[{}]", texts.join(", ")))
    }

    /// The same, once these are there too: an expression waits for what it names.
    pub(super) fn having(&self, others: &[Self]) -> Self {
        let mut items = vec![self.clone()];
        items.extend_from_slice(others);
        Self::list(&items).at(&Self::whole(0))
    }

    /// Whether it is of a type.
    pub(super) fn is_a(&self, name: &str) -> Self {
        Self::of(
            Binding::Compare,
            &[self],
            format!("type({}) == {name}", self.text),
        )
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> Self {
        self.is_a("int").or(&self.is_a("double"))
    }

    /// Whether an object has a key.
    pub(super) fn has(&self, key: &str) -> Self {
        let text = format!("{} in {}", quoted(key), self.bound(Binding::Sum));
        Self::of(Binding::Compare, &[self], text)
    }

    /// Whether it is longer than any expression may be. What grows step by step asks each time, so that a long file costs
    /// no more than its length.
    pub(super) fn is_long(&self) -> bool {
        self.text.len() > EXPRESSION_BYTES_MAX
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What it reads.
    pub(super) const fn reads(&self) -> Reads {
        self.reads
    }

    /// Deepest nesting of macros in it.
    pub(super) const fn macros(&self) -> usize {
        self.macros
    }

    fn bound(&self, least: Binding) -> Cow<'_, str> {
        if self.binding >= least {
            Cow::Borrowed(&self.text)
        } else {
            Cow::Owned(format!("({})", self.text))
        }
    }

    fn tight(&self) -> Cow<'_, str> {
        self.bound(Binding::Atom)
    }
}

/// Whether a key may stand behind a dot.
fn is_identifier(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !is_reserved_word(key)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(char);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn write_literal(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => text.push_str(&quoted(string)),
        Value::Number(number) => match number.as_i64() {
            // The least whole number has no literal: its digits alone are above the greatest.
            Some(whole) if whole != i64::MIN => {
                let _ = write!(text, "{whole}");
            }
            _ => {
                let _ = write!(text, "{:?}", number.as_f64().unwrap_or(0.0));
            }
        },
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                write_literal(item, text);
            }
            text.push(']');
        }
        Value::Object(entries) => {
            text.push('{');
            for (place, (key, item)) in entries.iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                text.push_str(&quoted(key));
                text.push_str(": ");
                write_literal(item, text);
            }
            text.push('}');
        }
        // Null and booleans are written alike in both.
        value => {
            let _ = write!(text, "{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parentheses_stand_where_operators_would_bind_otherwise() {
        let name = |text: &str| Cel::name(text, Reads::default());
        let (a, b, c) = (name("a"), name("b"), name("c"));
        assert_eq!(a.or(&b).and(&c).text(), "(a || b) && c");
        assert_eq!(a.and(&b).or(&c).text(), "a && b || c");
        assert_eq!(a.and(&b).and(&c).text(), "a && b && c");
        assert_eq!(a.compared("==", &b).negated().text(), "!(a == b)");
        let sum = Cel::infix(Binding::Sum, &a, "+", &b);
        assert_eq!(
            Cel::infix(Binding::Sum, &sum, "+", &sum).text(),
            "a + b + (a + b)"
        );
        let one = Cel::whole(1);
        assert_eq!(Cel::infix(Binding::Sum, &a, "+", &one).text(), "a + 1");
        assert_eq!(one.field("x").text(), "(1).x");
        assert_eq!(a.choose(&b, &c).field("x").text(), "(a ? b : c).x");
        assert_eq!(
            a.compared("<", &b).compared("==", &c).text(),
            "(a < b) == c"
        );
    }

    #[test]
    fn keys_that_are_no_identifiers_stand_in_brackets() {
        let a = Cel::name("a", Reads::STATE);
        assert_eq!(a.field("b").text(), "a.b");
        assert_eq!(a.field("in").text(), "a[\"in\"]");
        assert_eq!(a.field("b-c\"").text(), "a[\"b-c\\\"\"]");
        assert!(a.field("b").reads().state);
    }

    #[test]
    fn literals_say_what_the_json_says() {
        let value = json!({"a": [1, -2, 1.5, 1e20, null, true], "b\n": "\u{1}\\"});
        assert_eq!(
            Cel::literal(&value).text(),
            r#"{"a": [1, -2, 1.5, 1e20, null, true], "b\n": "\u0001\\"}"#
        );
    }
}
