//! Expressions: the conditions of switches, the formulas of computing nodes and computed delays, in the Common Expression Language
//! (CEL), over values.
//!
//! An expression is compiled once and evaluated on a lane, so that evaluation is bounded: the text has at most
//! [`TEXT_BYTES_MAX`] bytes and [`NESTING_MAX`] levels, and an evaluation takes at most [`STEPS_MAX`] steps, which stand
//! for time and memory alike. The same values always give the same result, and objects have their keys in order,
//! so that what a lane did can be done again. A value is read from its JSON where the expression uses it; a lone
//! number, boolean or text, or one field of an object, is read without anything being allocated.
//!
//! The files: `token` and `parse` make a `syntax` tree of the text, `compile` checks names and types (the `kinds`
//! of values) and makes a `program` of it, `evaluate` runs that over `json` with the rules of `value`, `arithmetic` and `functions`.
//!
//! # Where it departs from CEL
//! - Whole numbers and others mix: `1 + 0.5` is `1.5`. JSON does not tell `10` from `10.0`, so nobody who writes a
//!   condition can either.
//! - There are no unsigned numbers, bytes, durations, or protocol buffer messages, which JSON has not.
//! - Types that can never go together are refused when compiled, even where CEL would say `false`.
//! - `has(x.y)` is `false` when `x` is null, since that is what an absent input is.
//! - There are functions for whole documents: `merge(a, b)` (the entries of both, those of `b` where both have one),
//!   `toJson(x)` and `fromJson(text)`, `toBase64(text)` and `fromBase64(text)`, `text(x)` (a text as it is, anything else as
//!   JSON), `x.distinct()`, `x.partition(n)` (lists of n elements each, the last of what is left), `range(n)` (the whole
//!   numbers from 0), `range(from, to)` and `range(from, to, step)` (those before `to`), `like(text, pattern)` (`*` stands
//!   for any characters), `isTimestamp(x)`, and `fail(text)`, which fails with that text.

mod arithmetic;
mod compile;
mod documents;
mod evaluate;
mod failure;
mod functions;
mod json;
mod kinds;
mod names;
mod parse;
mod program;
mod quick;
mod strings;
mod syntax;
mod time;
mod token;
mod value;

#[cfg(test)]
mod tests;

pub use failure::EvaluationError;
pub use kinds::Kinds;
use program::Node;
pub(crate) use time::Time;
use value::Data;

/// Bytes of an expression's text, at most.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// How deep the parts of an expression may lie within each other.
pub const NESTING_MAX: u16 = 64;
/// What one evaluation may take: about one step for each operation, and for every few bytes that are read or made.
pub const STEPS_MAX: u32 = 100_000;

/// Words that no name may be: those of literals and operators, and those that CEL keeps for itself.
pub const RESERVED_WORDS: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// Whether no name may be this word.
#[must_use]
pub fn is_reserved_word(word: &str) -> bool {
    RESERVED_WORDS.contains(&word)
}

/// The names of types, as `int`, which stand for no value unless a source is called so.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    value::Kind::NAMED.iter().map(|(name, _)| *name)
}

/// Whether a name is one of [`type_names`].
#[must_use]
pub fn is_type(name: &str) -> bool {
    value::Kind::named(name).is_some()
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    root: Node,
}

/// What an expression is to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    /// True or false.
    Truth,
    /// Any value.
    Value,
    /// A number of milliseconds.
    Milliseconds,
    /// A timestamp, or a text that says one.
    Time,
}

/// A value that an expression refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// As written, without spaces: `check.size`, `input.mode`, `item`.
    pub path: String,
    /// Where it first stands, in bytes from the text's beginning.
    pub offset: usize,
}

/// Why a text is no expression that could be used.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{message}")]
pub struct ExpressionError {
    /// Where in the text, in bytes from its beginning; on the boundary of a character.
    pub offset: usize,
    /// How many bytes of it are meant; 0 at its end.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, if that can be said.
    pub help: Option<String>,
}

impl Expression {
    /// The values that a text refers to, each once, by their first place: the leading `IDENT` or `IDENT.FIELD` of every
    /// reference that no macro binds. `is_source` says whether an identifier is followed by the name of one of its
    /// values, as a node, `input` and `constant` are; otherwise it stands alone. Names of types (`int`, `string`) are no values,
    /// unless they are sources.
    ///
    /// # Errors
    /// If the text is no expression.
    pub fn names(
        text: &str,
        is_source: impl Fn(&str) -> bool,
    ) -> Result<Vec<Name>, ExpressionError> {
        Ok(names::names(&parse::parse(text)?, &is_source))
    }

    /// Compiles a text that may have any result. `names` are the values that exist, as paths.
    ///
    /// # Errors
    /// If the text is no expression, names a value that does not exist, or puts types together that never go together.
    pub fn compile(text: &str, names: &[&str]) -> Result<Self, ExpressionError> {
        Self::compile_as(text, names, Gives::Value)
    }

    /// As [`Self::compile`], for a condition.
    ///
    /// # Errors
    /// As there; and if the result can be no boolean.
    pub fn compile_condition(text: &str, names: &[&str]) -> Result<Self, ExpressionError> {
        Self::compile_as(text, names, Gives::Truth)
    }

    /// As [`Self::compile`], for a number of milliseconds.
    ///
    /// # Errors
    /// As there; and if the result can be no number.
    pub fn compile_milliseconds(text: &str, names: &[&str]) -> Result<Self, ExpressionError> {
        Self::compile_as(text, names, Gives::Milliseconds)
    }

    /// As [`Self::compile`], for a time: a timestamp, or a text that says one.
    ///
    /// # Errors
    /// As there; and if the result can be neither.
    pub fn compile_time(text: &str, names: &[&str]) -> Result<Self, ExpressionError> {
        Self::compile_as(text, names, Gives::Time)
    }

    fn compile_as(text: &str, names: &[&str], gives: Gives) -> Result<Self, ExpressionError> {
        let values: Vec<(&str, Kinds)> = names.iter().map(|name| (*name, Kinds::ANY)).collect();
        Self::compile_over(text, &values, gives)
    }

    /// Compiles a text of whose values more is known than their names: `values` are those that exist, as paths, and what
    /// kinds each may have.
    ///
    /// # Errors
    /// As for [`Self::compile`]; and if the result can be nothing that the expression is to give.
    pub fn compile_over(
        text: &str,
        values: &[(&str, Kinds)],
        gives: Gives,
    ) -> Result<Self, ExpressionError> {
        let syntax = parse::parse(text)?;
        let (root, kinds) = compile::compile(&syntax, values)?;
        compile::expect_whole(&syntax, kinds, gives)?;
        let text = text.into();
        Ok(Self { text, root })
    }

    /// Whether the condition holds. `values[i]` is the JSON of the i-th name that it was compiled with, or none if that
    /// value is absent, which the expression sees as `null`.
    ///
    /// # Errors
    /// If the expression fails for these values, or its result is no boolean.
    pub fn holds(&self, values: &[Option<&[u8]>]) -> Result<bool, EvaluationError> {
        if let Some(holds) = quick::holds(&self.root, values) {
            return Ok(holds);
        }
        match evaluate::evaluate(&self.root, &self.text, values)?.0 {
            Data::Bool(holds) => Ok(holds),
            other => Err(EvaluationError::of_whole(format!(
                "the condition gives {}, and must give true or false",
                other.kind().with_article()
            ))),
        }
    }

    /// The result, as JSON; `values` as for [`Self::holds`]. The keys of its objects are in order.
    ///
    /// # Errors
    /// If the expression fails for these values, or its result cannot be JSON, as an infinite number.
    pub fn evaluate(&self, values: &[Option<&[u8]>]) -> Result<serde_json::Value, EvaluationError> {
        let (data, mut budget) = evaluate::evaluate(&self.root, &self.text, values)?;
        json::to_json(&data, &mut budget)
    }
}
