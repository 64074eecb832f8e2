//! Inputs of an invocation: from the command line, files and standard input, read and checked before anything starts.

use crate::exit::Exit;
use crate::targets::Named;
use engine::nearest::instead;
use engine::worker::host;
use engine::worker::quantities::size_text;
use faasstore::binding::Kind;
use master::client::Payload;
use master::definition::Definition;
use miette::Diagnostic;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Longest value, in bytes: conditions copy and parse it.
const VALUE_BYTES_MAX: usize = 4096;

/// `NAME=VALUE`, as given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InputArgument {
    name: String,
    part: Part,
}

impl InputArgument {
    /// The file that it is read from, if it is.
    pub(crate) fn file(&self) -> Option<Named<'_>> {
        match &self.part {
            Part::Whole(Value::File(path)) | Part::Item(Value::File(path)) => Some(Named::new(
                format!("the file of input `{}`", self.name),
                path,
            )),
            Part::Whole(_) | Part::Item(_) | Part::NoItems => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Whole(Value),
    Item(Value),
    NoItems,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Text(String),
    File(PathBuf),
    Stdin,
}

impl FromStr for InputArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = "write NAME=TEXT, NAME=@FILE or NAME=@-, and NAME[]=… for the items of a list";
        let (left, value) = match text.split_once('=') {
            Some((left, value)) => (left, Some(value)),
            None => (text, None),
        };
        let value = value.map(|value| match value.strip_prefix('@') {
            Some("-") => Value::Stdin,
            Some(path) => Value::File(path.into()),
            None => Value::Text(value.to_owned()),
        });
        let (name, part) = match (left.strip_suffix("[]"), value) {
            (Some(name), Some(value)) => (name, Part::Item(value)),
            (Some(name), None) => (name, Part::NoItems),
            (None, Some(value)) => (left, Part::Whole(value)),
            (None, None) => return Err(usage.to_owned()),
        };
        if name.is_empty() {
            return Err(usage.to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            part,
        })
    }
}

/// What is wrong with an input.
#[derive(Debug, Error, Diagnostic)]
enum InputError {
    #[error("cannot read {path} for input `{name}`: {source}")]
    #[diagnostic(help(
        "name a file that can be read, or leave the `@` away to pass the text itself"
    ))]
    Read {
        name: String,
        path: String,
        source: std::io::Error,
    },
    #[error("input `{name}` has more than {limit} bytes, the limit of one payload")]
    #[diagnostic(help("part it into several invocations"))]
    Long { name: String, limit: u64 },
    #[error("input `{name}` does not fit into memory: {path} has more than {}, a third of what is free", size_text(*.room))]
    #[diagnostic(help("pass less at a time, or free memory"))]
    Memory {
        name: String,
        path: String,
        room: u64,
    },
    #[error("standard input is wanted for two inputs")]
    #[diagnostic(help("`@-` can be used once; name files for the others"))]
    StdinTwice,
    #[error("input `{name}` is given twice")]
    #[diagnostic(help("give it once; items of a list are `--input {name}[]=…`"))]
    Twice { name: String },
    #[error("workflow {workflow} has no input `{name}`")]
    #[diagnostic(help("{help}"))]
    Unknown {
        workflow: String,
        name: String,
        help: String,
    },
    #[error("workflow {workflow} wants input `{name}`, and it is missing")]
    #[diagnostic(help("add --input {name}{form}"))]
    Missing {
        workflow: String,
        name: String,
        form: &'static str,
    },
    #[error("input `{name}` is {wanted}, but {given} is given")]
    #[diagnostic(help("write --input {name}{form}"))]
    Kind {
        name: String,
        wanted: &'static str,
        given: &'static str,
        form: &'static str,
    },
    #[error("input `{name}` is a value, but what is given is not JSON: {reason}")]
    #[diagnostic(help("text stands in quotes, as in --input '{name}=\"text\"'"))]
    NotJson { name: String, reason: String },
    #[error("input `{name}` is a value of {bytes} bytes, above the limit of {VALUE_BYTES_MAX}")]
    #[diagnostic(help("declare it as `bytes`"))]
    LongValue { name: String, bytes: usize },
}

/// Reads all inputs, in the order in which their names first come.
pub(crate) fn read(
    arguments: &[InputArgument],
    payload_bytes_max: u64,
) -> Result<Vec<(String, Payload)>, Exit> {
    let is_stdin = |input: &&InputArgument| {
        matches!(
            &input.part,
            Part::Whole(Value::Stdin) | Part::Item(Value::Stdin)
        )
    };
    if arguments.iter().filter(is_stdin).count() > 1 {
        return Err(Exit::input(InputError::StdinTwice));
    }
    let mut inputs: Vec<(String, Payload)> = Vec::new();
    for InputArgument { name, part } in arguments {
        let place = inputs.iter().position(|(known, _)| known == name);
        let read = |value| bytes_of(name, value, payload_bytes_max);
        match (part, place) {
            (Part::Whole(value), None) => inputs.push((name.clone(), Payload::Bytes(read(value)?))),
            (Part::Item(value), None) => {
                inputs.push((name.clone(), Payload::list(vec![read(value)?])))
            }
            (Part::NoItems, None) => inputs.push((name.clone(), Payload::List(Vec::new()))),
            (Part::Item(value), Some(place)) => match &mut inputs[place].1 {
                Payload::List(items) => items.push(Some(read(value)?)),
                Payload::Bytes(_) => {
                    return Err(Exit::input(InputError::Twice { name: name.clone() }));
                }
            },
            (Part::Whole(_) | Part::NoItems, Some(_)) => {
                return Err(Exit::input(InputError::Twice { name: name.clone() }));
            }
        }
    }
    Ok(inputs)
}

fn bytes_of(name: &str, value: &Value, limit: u64) -> Result<Vec<u8>, Exit> {
    // A third: what is read may grow by being copied, and is then sent to a worker, which mostly is on this host too.
    let room = host::memory_available().map_or(u64::MAX, |bytes| bytes / 3);
    let most = limit.min(room);
    let (path, bytes) = match value {
        Value::Text(text) => return Ok(text.clone().into_bytes()),
        Value::File(path) => (path.display().to_string(), file_bytes(path, most)),
        Value::Stdin => (
            "standard input".to_owned(),
            bounded(std::io::stdin().lock(), 0, most),
        ),
    };
    let name = name.to_owned();
    let error = match bytes {
        Ok(bytes) if bytes.len() as u64 <= most => return Ok(bytes),
        Err(source) if source.kind() != std::io::ErrorKind::FileTooLarge => {
            InputError::Read { name, path, source }
        }
        Ok(_) | Err(_) if room < limit => InputError::Memory { name, path, room },
        Ok(_) | Err(_) => InputError::Long { name, limit },
    };
    Err(Exit::input(error))
}

fn file_bytes(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length > limit {
        // Known before a byte is read; what is no ordinary file, and has no length, is bounded as it is read.
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    bounded(file, length, limit)
}

fn bounded(source: impl Read, length: u64, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more, so that the end is found without growing.
    bytes.try_reserve_exact(length as usize + 1)?;
    source
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// That inputs are those which a definition declares, of the right kinds.
pub(crate) fn check(definition: &Definition, inputs: &[(String, Payload)]) -> Result<(), Exit> {
    let workflow = || definition.workflow.value.clone();
    for (name, payload) in inputs {
        let Some(port) = definition
            .inputs
            .iter()
            .find(|input| input.name.value == *name)
        else {
            let names: Vec<&str> = definition
                .inputs
                .iter()
                .map(|input| input.name.value.as_str())
                .collect();
            let help = instead(name, &names, "its inputs are", "it has no inputs");
            return Err(Exit::input(InputError::Unknown {
                workflow: workflow(),
                name: name.clone(),
                help,
            }));
        };
        check_kind(name, port.kind, payload).map_err(Exit::input)?;
    }
    for port in &definition.inputs {
        let name = &port.name.value;
        let may_lack = port.optional || port.default.is_some();
        if !may_lack && !inputs.iter().any(|(given, _)| given == name) {
            let form = form(port.kind);
            return Err(Exit::input(InputError::Missing {
                workflow: workflow(),
                name: name.clone(),
                form,
            }));
        }
    }
    Ok(())
}

fn check_kind(name: &str, kind: Kind, payload: &Payload) -> Result<(), InputError> {
    let name = || name.to_owned();
    match (kind, payload) {
        (Kind::Bytes, Payload::Bytes(_)) | (Kind::List, Payload::List(_)) => Ok(()),
        (Kind::Value, Payload::Bytes(bytes)) => {
            if bytes.len() > VALUE_BYTES_MAX {
                return Err(InputError::LongValue {
                    name: name(),
                    bytes: bytes.len(),
                });
            }
            let value: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
            value.map(drop).map_err(|error| InputError::NotJson {
                name: name(),
                reason: error.to_string(),
            })
        }
        (Kind::List, Payload::Bytes(_)) => Err(InputError::Kind {
            name: name(),
            wanted: "a list",
            given: "one text or file",
            form: form(kind),
        }),
        (Kind::Bytes | Kind::Value, Payload::List(_)) => {
            let wanted = if kind == Kind::Value {
                "a value"
            } else {
                "bytes"
            };
            Err(InputError::Kind {
                name: name(),
                wanted,
                given: "a list",
                form: form(kind),
            })
        }
    }
}

const fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes => "=TEXT or =@FILE",
        Kind::List => "[]=… once for each item",
        Kind::Value => "=JSON",
    }
}
