//! The function: hold, read, fail or not, take the time, write.

use crate::carrier::{Carrier, Direct, Spot};
use crate::parameters::{Fail, Items, Output, Parameters};
use crate::payload::{self, Damage, seed_of};
use faasstore::binding::Kind;
use faasstore::{Call, Context, Error};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The input that holds the parameters.
const PARAMETERS: &str = "parameters";
/// Steps of the content between two looks at the clock, while the CPU is burnt.
const BURNT_STEPS: u32 = 10_000;

/// The function, for [`faasstore::function()`].
///
/// # Errors
/// If the parameters are not understood, an input is damaged, an output cannot be written, it is to fail, or is told to
/// stop while it takes its time.
pub fn run(call: &mut Call<'_>) -> Result<(), Error> {
    run_carried(call, &mut Direct)
}

/// The function, with payloads that a carrier takes from it and brings to it.
///
/// # Errors
/// As [`run`], and those of the carrier.
pub fn run_carried(call: &mut Call<'_>, carrier: &mut impl Carrier) -> Result<(), Error> {
    let begun = Instant::now();
    let parameters = parameters(call)?;
    let memory = hold(parameters.memory_bytes)?;
    let read = read(call, &parameters, carrier)?;
    if let Some(fail) = &parameters.fail {
        fail_or_not(fail, call.context())?;
    }
    take_time(begun, &parameters, call.context())?;
    let written = write(call, &parameters, &read, carrier);
    drop(memory);
    written
}

fn parameters(call: &Call<'_>) -> Result<Parameters, Error> {
    let declared = call.inputs().iter().any(|port| port.name == PARAMETERS);
    if !declared || !call.is_present(PARAMETERS)? {
        return Ok(Parameters::default());
    }
    Ok(Parameters::parse(call.bytes(PARAMETERS)?)?)
}

/// Memory that is really there: pages that are never written to take no room.
fn hold(bytes: u64) -> Result<Vec<u8>, Error> {
    let mut memory = Vec::new();
    let Ok(bytes) = usize::try_from(bytes) else {
        return Err(Error::new(format!(
            "{bytes} bytes are more than this host can address"
        )));
    };
    memory.try_reserve_exact(bytes)?;
    memory.resize(bytes, 1);
    Ok(memory)
}

/// What was read.
#[derive(Default)]
struct Read {
    payloads: u64,
    bytes: u64,
    checked: u64,
    absent: u64,
}

impl Read {
    fn take(&mut self, bytes: &[u8], foreign: bool, name: &str) -> Result<(), Error> {
        self.payloads += 1;
        self.bytes += bytes.len() as u64;
        match payload::check(bytes) {
            Ok(()) => self.checked += 1,
            Err(Damage::Foreign) if foreign => {}
            Err(damage) => {
                let length = bytes.len();
                return Err(Error::new(format!(
                    "input {name} ({length} bytes): {damage}"
                )));
            }
        }
        Ok(())
    }
}

fn read(
    call: &Call<'_>,
    parameters: &Parameters,
    carrier: &mut impl Carrier,
) -> Result<Read, Error> {
    let mut read = Read::default();
    for port in call.inputs() {
        let name = port.name.as_str();
        if name == PARAMETERS || carrier.own_input() == Some(name) {
            continue;
        }
        if !call.is_present(name)? {
            read.absent += 1;
            continue;
        }
        let foreign = parameters.foreign.iter().any(|other| other == name);
        match port.kind {
            Kind::Bytes => read.take(carrier.bring(call.bytes(name)?)?, foreign, name)?,
            Kind::List => {
                // Which may be larger than memory.
                let mut walk = call.list(name)?.walk();
                while let Some(item) = walk.next_item()? {
                    match item {
                        Some(bytes) => read.take(carrier.bring(bytes)?, foreign, name)?,
                        None => read.absent += 1,
                    }
                }
            }
            Kind::Value => {
                // It has no checksum; that it is JSON is all that can be said.
                call.value::<Value>(name)?;
                read.payloads += 1;
                read.bytes += call.bytes(name)?.len() as u64;
            }
        }
    }
    Ok(read)
}

fn item_number(context: &Context) -> u64 {
    context.item().map_or(0, |item| u64::from(item) + 1)
}

fn fail_or_not(fail: &Fail, context: &Context) -> Result<(), Error> {
    let attempt = context.attempt();
    let invocation = if fail.per_invocation {
        context.invocation().0
    } else {
        0
    };
    let numbers = [
        fail.seed,
        u64::from(attempt),
        item_number(context),
        invocation as u64,
        (invocation >> 64) as u64,
    ];
    // 53 bits are what a float tells apart.
    let drawn = (seed_of(&[context.node()], &numbers) >> 11) as f64 / (1u64 << 53) as f64;
    if attempt <= fail.first_attempts || drawn < fail.rate {
        return Err(Error::new(format!(
            "{}: it was to fail at attempt {attempt}",
            fail.error
        )));
    }
    Ok(())
}

fn take_time(begun: Instant, parameters: &Parameters, context: &Context) -> Result<(), Error> {
    let runtime_s = parameters.runtime_ms * parameters.time_scale / 1e3;
    // A day by a thousand fits; the bound is for what nobody means.
    let runtime = Duration::try_from_secs_f64(runtime_s)?;
    burn(runtime.mul_f64(parameters.busy), context)?;
    Ok(context.sleep(runtime.saturating_sub(begun.elapsed()))?)
}

/// Burns that much time of a CPU, unless it is told to stop: not of the clock on the wall, which others share.
fn burn(time: Duration, context: &Context) -> Result<(), Error> {
    if time.is_zero() {
        return Ok(());
    }
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let end = now()? + time;
    let mut steps = 0u64;
    while now()? < end {
        context.check_cancelled()?;
        for _ in 0..BURNT_STEPS {
            steps = std::hint::black_box(steps.wrapping_add(1));
        }
    }
    Ok(())
}

fn write(
    call: &mut Call<'_>,
    parameters: &Parameters,
    read: &Read,
    carrier: &mut impl Carrier,
) -> Result<(), Error> {
    let ports = call.outputs();
    for (name, _) in &parameters.outputs {
        if !ports.iter().any(|port| port.name == *name) {
            return Err(Error::new(format!(
                "parameter outputs.{name}: the node declares no output of that name"
            )));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let name = port.name.as_str();
        let given = parameters.outputs.iter().find(|(other, _)| other == name);
        let output = given.map(|(_, output)| output);
        let context = call.context();
        let spot = |item: u64, bytes: u64| {
            let texts = [context.workflow(), context.node()];
            Spot {
                context,
                output: name,
                item,
                bytes: bytes as usize,
                seed: seed_of(&texts, &[index as u64, item_number(context), item]),
            }
        };
        match (port.kind, output) {
            (Kind::Bytes, None) => call.write(name, &[])?,
            (Kind::Bytes, Some(Output::Bytes(bytes))) => {
                carrier.take(&spot(0, *bytes), |bytes| call.reserve(name, bytes))?;
            }
            (Kind::List, None) => {
                call.list_output(name)?;
            }
            (Kind::List, Some(Output::Items(items))) => {
                let mut list = call.list_output(name)?;
                match items {
                    Items::Payloads { items, bytes } => {
                        for item in 1..=*items {
                            carrier.take(&spot(item, *bytes), |bytes| list.reserve(bytes))?;
                        }
                    }
                    Items::Values(values) => {
                        for value in values {
                            list.push(value.to_string().as_bytes())?;
                        }
                    }
                }
            }
            (Kind::Value, None) => call.value_output(name, &Value::Null)?,
            (Kind::Value, Some(output)) => {
                let value = value(call, name, output, read)?;
                call.value_output(name, &value)?;
            }
            (kind, Some(_)) => {
                let kind = format!("{kind:?}").to_lowercase();
                return Err(Error::new(format!(
                    "parameter outputs.{name}: the node declares it as {kind}, which this entry cannot fill"
                )));
            }
        }
    }
    Ok(())
}

fn value(call: &Call<'_>, name: &str, output: &Output, read: &Read) -> Result<Value, Error> {
    match output {
        Output::Value(value) => Ok(value.clone()),
        Output::Chosen {
            input,
            cases,
            otherwise,
        } => {
            let chooser: Value = call.value(input)?;
            let Some(cases) = cases else {
                return Ok(chooser);
            };
            let key = match &chooser {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Ok(cases.get(&key).unwrap_or(otherwise).clone())
        }
        Output::Report => Ok(json!({
            "payloads": read.payloads,
            "bytes": read.bytes,
            "checked": read.checked,
            "absent": read.absent,
            "attempt": call.context().attempt(),
        })),
        Output::Bytes(_) | Output::Items(_) => Err(Error::new(format!(
            "parameter outputs.{name}: the node declares it as a value, which this entry cannot fill"
        ))),
    }
}
