//! What a node tells the function, read once and checked whole.

use serde_json::{Map, Value};
use thiserror::Error;

/// Longest run time, in milliseconds: a day.
const RUNTIME_MS_MAX: f64 = 86_400_000.0;
/// Most items of a list.
const ITEMS_MAX: u64 = 1 << 28;
/// Most bytes of anything: more than any host has.
const BYTES_MAX: u64 = 1 << 50;

/// What a parameter must be, and is not.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("parameter {name}: {what}")]
pub struct ParameterError {
    name: String,
    what: String,
}

fn refuse<T>(name: &str, what: impl Into<String>) -> Result<T, ParameterError> {
    Err(ParameterError {
        name: name.to_owned(),
        what: what.into(),
    })
}

/// What the items of a list output are.
#[derive(Clone, PartialEq, Debug)]
pub enum Items {
    /// So many payloads, of so many bytes each.
    Payloads {
        /// How many.
        items: u64,
        /// How long each is.
        bytes: u64,
    },
    /// JSON.
    Values(Vec<Value>),
}

/// What is written to an output.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// A payload of so many bytes.
    Bytes(u64),
    /// A list.
    Items(Items),
    /// A value.
    Value(Value),
    /// A value that an input chooses.
    Chosen {
        /// The input, a value.
        input: String,
        /// By the input's value, as JSON; a text without its quotes. The input's value itself, if there are none.
        cases: Option<Map<String, Value>>,
        /// For any other.
        otherwise: Value,
    },
    /// What was read.
    Report,
}

/// How often it fails.
#[derive(Clone, PartialEq, Debug)]
pub struct Fail {
    /// Share of activations, 0 to 1.
    pub rate: f64,
    /// Which ones.
    pub seed: u64,
    /// How the error's text begins.
    pub error: String,
    /// Attempts that always fail.
    pub first_attempts: u32,
    /// Whether each invocation has failures of its own.
    pub per_invocation: bool,
}

/// What a node tells the function.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameters {
    /// Run time before scaling, in milliseconds.
    pub runtime_ms: f64,
    /// What it is multiplied with.
    pub time_scale: f64,
    /// Share of the run time that is burnt on the CPU.
    pub busy: f64,
    /// Memory that is filled and held.
    pub memory_bytes: u64,
    /// Inputs that need not come from a synthetic function.
    pub foreign: Vec<String>,
    /// In the order given.
    pub outputs: Vec<(String, Output)>,
    /// None: never.
    pub fail: Option<Fail>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            runtime_ms: 0.0,
            time_scale: 1.0,
            busy: 0.0,
            memory_bytes: 0,
            foreign: Vec::new(),
            outputs: Vec::new(),
            fail: None,
        }
    }
}

impl Parameters {
    /// Reads the JSON of a node's parameters.
    ///
    /// # Errors
    /// If it is no JSON, a key is not known, or a value is not what its key needs.
    pub fn parse(json: &[u8]) -> Result<Self, ParameterError> {
        match serde_json::from_slice(json) {
            Ok(value) => Self::of(value),
            Err(error) => refuse("parameters", format!("this is no JSON: {error}")),
        }
    }

    fn of(value: Value) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for (key, value) in object("parameters", value)? {
            match key.as_str() {
                "runtime_ms" => parameters.runtime_ms = number(&key, &value, RUNTIME_MS_MAX)?,
                "time_scale" => parameters.time_scale = number(&key, &value, 1e6)?,
                "busy" => parameters.busy = number(&key, &value, 1.0)?,
                "memory_bytes" => parameters.memory_bytes = whole(&key, &value, BYTES_MAX)?,
                "foreign" => parameters.foreign = texts(&key, value)?,
                "outputs" => {
                    for (name, value) in object(&key, value)? {
                        let output = output(&format!("outputs.{name}"), value)?;
                        parameters.outputs.push((name, output));
                    }
                }
                "fail" => parameters.fail = Some(fail(value)?),
                _ => {
                    return unknown(
                        &key,
                        "runtime_ms, time_scale, busy, memory_bytes, foreign, outputs, fail",
                    );
                }
            }
        }
        Ok(parameters)
    }
}

fn unknown<T>(name: &str, known: &str) -> Result<T, ParameterError> {
    refuse(
        name,
        format!("there is none of that name; known are {known}"),
    )
}

fn object(name: &str, value: Value) -> Result<Map<String, Value>, ParameterError> {
    match value {
        Value::Object(map) => Ok(map),
        other => refuse(name, format!("an object is expected, not {other}")),
    }
}

fn number(name: &str, value: &Value, most: f64) -> Result<f64, ParameterError> {
    match value
        .as_f64()
        .filter(|number| (0.0..=most).contains(number))
    {
        Some(number) => Ok(number),
        None => refuse(
            name,
            format!("a number from 0 to {most} is expected, not {value}"),
        ),
    }
}

fn whole(name: &str, value: &Value, most: u64) -> Result<u64, ParameterError> {
    match value.as_u64().filter(|number| *number <= most) {
        Some(number) => Ok(number),
        None => refuse(
            name,
            format!("a whole number from 0 to {most} is expected, not {value}"),
        ),
    }
}

fn text(name: &str, value: Value) -> Result<String, ParameterError> {
    match value {
        Value::String(text) => Ok(text),
        other => refuse(name, format!("a text is expected, not {other}")),
    }
}

fn truth(name: &str, value: &Value) -> Result<bool, ParameterError> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => refuse(name, format!("true or false is expected, not {other}")),
    }
}

fn texts(name: &str, value: Value) -> Result<Vec<String>, ParameterError> {
    match value {
        Value::Array(items) => items.into_iter().map(|item| text(name, item)).collect(),
        other => refuse(name, format!("a list of names is expected, not {other}")),
    }
}

fn output(name: &str, value: Value) -> Result<Output, ParameterError> {
    if value.is_number() {
        return Ok(Output::Bytes(whole(name, &value, BYTES_MAX)?));
    }
    let mut map = object(name, value)?;
    let output = if let Some(value) = map.remove("value") {
        Output::Value(value)
    } else if let Some(items) = map.remove("items") {
        Output::Items(match items {
            Value::Array(values) => Items::Values(values),
            items => Items::Payloads {
                items: whole(name, &items, ITEMS_MAX)?,
                bytes: match map.remove("bytes") {
                    Some(bytes) => whole(name, &bytes, BYTES_MAX)?,
                    None => 0,
                },
            },
        })
    } else if let Some(input) = map.remove("input") {
        Output::Chosen {
            input: text(name, input)?,
            cases: match map.remove("cases") {
                Some(cases) => Some(object(name, cases)?),
                None => None,
            },
            otherwise: map.remove("else").unwrap_or(Value::Null),
        }
    } else if let Some(report) = map.remove("report") {
        if !truth(name, &report)? {
            return refuse(name, "`report` can only be true");
        }
        Output::Report
    } else {
        return refuse(
            name,
            "it has none of `items`, `value`, `input` and `report`",
        );
    };
    match map.keys().next() {
        Some(key) => refuse(name, format!("`{key}` has no meaning in this entry")),
        None => Ok(output),
    }
}

fn fail(value: Value) -> Result<Fail, ParameterError> {
    let mut fail = Fail {
        rate: 0.0,
        seed: 0,
        error: "synthetic".to_owned(),
        first_attempts: 0,
        per_invocation: false,
    };
    for (key, value) in object("fail", value)? {
        let name = format!("fail.{key}");
        match key.as_str() {
            "rate" => fail.rate = number(&name, &value, 1.0)?,
            "seed" => fail.seed = whole(&name, &value, u64::MAX)?,
            "error" => fail.error = text(&name, value)?,
            "first_attempts" => {
                fail.first_attempts = whole(&name, &value, u64::from(u32::MAX))? as u32;
            }
            "per_invocation" => fail.per_invocation = truth(&name, &value)?,
            _ => return unknown(&name, "rate, seed, error, first_attempts, per_invocation"),
        }
    }
    Ok(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(json: &Value) -> String {
        Parameters::parse(json.to_string().as_bytes())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_parameter_is_read() {
        let json = json!({
            "runtime_ms": 12.5, "time_scale": 0.01, "busy": 0.5, "memory_bytes": 1000, "foreign": ["a"],
            "outputs": {
                "x": 10, "l": { "items": 3, "bytes": 8 }, "e": { "items": 2 }, "v": { "items": [1, "b"] },
                "n": { "value": null }, "i": { "input": "a" },
                "c": { "input": "a", "cases": { "1": true }, "else": 0 }, "r": { "report": true },
            },
            "fail": { "rate": 0.1, "seed": 7, "error": "Busy", "first_attempts": 2, "per_invocation": true },
        });
        let parameters = Parameters::parse(json.to_string().as_bytes()).unwrap();
        assert_eq!((parameters.runtime_ms, parameters.time_scale), (12.5, 0.01));
        assert_eq!((parameters.busy, parameters.memory_bytes), (0.5, 1000));
        assert_eq!(parameters.foreign, ["a"]);
        let chosen = |cases: Option<Value>, otherwise| Output::Chosen {
            input: "a".to_owned(),
            cases: cases.and_then(|cases| cases.as_object().cloned()),
            otherwise,
        };
        let outputs: Vec<Output> = parameters
            .outputs
            .into_iter()
            .map(|(_, output)| output)
            .collect();
        assert_eq!(
            outputs,
            [
                Output::Bytes(10),
                Output::Items(Items::Payloads { items: 3, bytes: 8 }),
                Output::Items(Items::Payloads { items: 2, bytes: 0 }),
                Output::Items(Items::Values(vec![json!(1), json!("b")])),
                Output::Value(Value::Null),
                chosen(None, Value::Null),
                chosen(Some(json!({ "1": true })), json!(0)),
                Output::Report,
            ]
        );
        let fail = parameters.fail.unwrap();
        assert_eq!((fail.rate, fail.seed, fail.first_attempts), (0.1, 7, 2));
        assert_eq!((fail.error.as_str(), fail.per_invocation), ("Busy", true));
        assert_eq!(Parameters::parse(b"{}"), Ok(Parameters::default()));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (json, words) in [
            (json!([]), "parameters: an object"),
            (json!({ "runtime": 1 }), "parameter runtime: there is none"),
            (json!({ "runtime_ms": -1 }), "runtime_ms: a number from 0"),
            (json!({ "busy": 2 }), "busy: a number from 0 to 1"),
            (
                json!({ "memory_bytes": 1.5 }),
                "memory_bytes: a whole number",
            ),
            (json!({ "foreign": "a" }), "foreign: a list of names"),
            (
                json!({ "outputs": { "x": -1 } }),
                "outputs.x: a whole number",
            ),
            (
                json!({ "outputs": { "x": {} } }),
                "outputs.x: it has none of",
            ),
            (
                json!({ "outputs": { "x": { "items": 1, "byte": 1 } } }),
                "`byte` has no meaning",
            ),
            (
                json!({ "outputs": { "x": { "report": false } } }),
                "can only be true",
            ),
            (
                json!({ "fail": { "rate": 1.1 } }),
                "fail.rate: a number from 0 to 1",
            ),
            (
                json!({ "fail": { "ratio": 1 } }),
                "fail.ratio: there is none",
            ),
        ] {
            let said = refused(&json);
            assert!(said.contains(words), "{json}: {said}");
        }
        assert!(Parameters::parse(b"{").is_err());
    }
}
