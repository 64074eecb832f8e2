//! Values that stand in the file itself: from YAML to JSON, by the rules of YAML's core schema.

use super::Span;
use super::tree::{Tree, Value};
use serde_json::{Map, Number, Value as Json};

/// A number that JSON cannot hold.
pub(super) struct NoJson(pub(super) Span);

/// The JSON of a value.
pub(super) fn of(tree: &Tree) -> Result<Json, NoJson> {
    Ok(match &tree.value {
        Value::Null => Json::Null,
        Value::Scalar { text, plain: false } => Json::String(text.to_string()),
        Value::Scalar { text, plain: true } => scalar(text).ok_or(NoJson(tree.span))?,
        Value::List(items) => {
            let items: Result<Vec<Json>, NoJson> = items.iter().map(|item| of(item)).collect();
            Json::Array(items?)
        }
        Value::Map(entries) => {
            let mut object = Map::new();
            for (name, tree) in entries {
                object.insert(name.value.clone(), of(tree)?);
            }
            Json::Object(object)
        }
    })
}

/// What a plain scalar stands for; none for a number that is too large.
fn scalar(text: &str) -> Option<Json> {
    Some(match text {
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        _ if is_number(text) => Json::Number(number(text)?),
        _ => Json::String(text.to_owned()),
    })
}

/// Whether a plain scalar is a decimal number.
pub(super) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    !(whole.is_empty() && fraction.is_empty()) && digits(whole) && digits(fraction) && exponent_fits
}

fn number(text: &str) -> Option<Number> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_yaml_says() {
        let told = |text: &str| scalar(text).map(|json| json.to_string());
        for (text, json) in [
            ("true", "true"),
            ("False", "false"),
            ("yes", "\"yes\""),
            ("7", "7"),
            ("+7", "7"),
            ("-0.5", "-0.5"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1e3", "1000.0"),
            ("007", "7"),
            ("18446744073709551615", "18446744073709551615"),
            (".", "\".\""),
            ("1e", "\"1e\""),
            ("e1", "\"e1\""),
            ("-", "\"-\""),
            ("1.2.3", "\"1.2.3\""),
            (".inf", "\".inf\""),
        ] {
            assert_eq!(told(text).as_deref(), Some(json), "{text}");
        }
        assert_eq!(told("1e999"), None);
    }
}
