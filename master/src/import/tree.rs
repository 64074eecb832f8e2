//! What a file says, as a tree with spans, whether it is JSON or YAML: what the imports walk.

use super::problem::ImportError;
use crate::definition::problem::{Problems, quoted};
use crate::definition::{SourceText, Span, Spanned, tree};
use serde_json::Number;

/// A value of the file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// What it is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    /// In the file's order; no key stands twice.
    Map(Vec<(Spanned<String>, Tree)>),
}

impl Tree {
    /// What it is, for a message.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(bool) => format!("`{bool}`"),
            Value::Number(number) => format!("`{number}`"),
            Value::Text(text) => format!("the text \"{}\"", quoted(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// As JSON, without the spans.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bool) => (*bool).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.value.clone(), value.to_json()))
                .collect(),
        }
    }
}

/// Reads a YAML file.
pub(super) fn yaml(source: &SourceText) -> Result<Tree, ImportError> {
    let mut problems = Problems::new(source);
    let root = tree::parse(source, &mut problems)?;
    if problems.any() {
        return Err(problems.into_error().into());
    }
    Ok(of_yaml(&root))
}

/// Aliases are expanded, which the parser has bounded.
fn of_yaml(tree: &tree::Tree) -> Tree {
    let value = match &tree.value {
        tree::Value::Null => Value::Null,
        tree::Value::Scalar { text, plain: false } => Value::Text((**text).to_owned()),
        tree::Value::Scalar { text, plain: true } => plain(text),
        tree::Value::List(items) => Value::List(items.iter().map(|item| of_yaml(item)).collect()),
        tree::Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), of_yaml(value)))
                .collect(),
        ),
    };
    Tree {
        value,
        span: tree.span,
    }
}

fn plain(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Value::Text(text.to_owned());
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Value::Number(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Value::Number(whole.into());
    }
    match text.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::Text(text.to_owned()),
    }
}
