//! `states`: what the state machines of `master/tests/import_asl` run. Each function takes `input` and gives `output`.
#![forbid(unsafe_code)]

use faasstore::binding::Kind;
use faasstore::{Call, Error, function, serve};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    serve([
        function("echo", |call: &mut Call| {
            let value = input(call)?;
            give(call, &value)
        }),
        function("double", double),
        function("fail", fail),
        function("flaky", flaky),
        function("slow", |call: &mut Call| {
            std::thread::sleep(Duration::from_secs(3));
            give(call, &Value::Null)
        }),
    ])
}

fn input(call: &Call) -> Result<Value, Error> {
    Ok(serde_json::from_slice(call.bytes("input")?)?)
}

/// Writes a value, or its JSON where bytes are declared.
fn give(call: &mut Call, value: &Value) -> Result<(), Error> {
    match call.outputs() {
        [output] if output.kind == Kind::Bytes => {
            call.write("output", value.to_string().as_bytes())
        }
        _ => call.value_output("output", value),
    }
}

/// Doubles `n`, and passes on whatever else there is.
fn double(call: &mut Call) -> Result<(), Error> {
    let mut value = input(call)?;
    match value["n"].as_i64() {
        Some(n) => {
            value["n"] = json!(2 * n);
            give(call, &value)
        }
        None => Err(Error::new(format!("NoNumber: {value}"))),
    }
}

/// Fails as it is told to, if it is.
fn fail(call: &mut Call) -> Result<(), Error> {
    let value = input(call)?;
    match (value["error"].as_str(), value["cause"].as_str()) {
        (Some(""), Some(_)) => give(call, &value),
        (Some(name), Some(cause)) => Err(Error::new(format!("{name}: {cause}"))),
        _ => Err(Error::new(format!("Unexpected: {value}"))),
    }
}

/// Fails as often as it is told to, or with the errors that it is told.
fn flaky(call: &mut Call) -> Result<(), Error> {
    let value = input(call)?;
    let attempt = u64::from(call.context().attempt());
    if value["fails"].as_u64() >= Some(attempt) {
        return Err(Error::new("Flaky: try again"));
    }
    if let Some(name) = value["fails"][attempt as usize - 1].as_str() {
        return Err(Error::new(format!("{name}: try again")));
    }
    give(call, &json!({ "attempts": attempt }))
}
