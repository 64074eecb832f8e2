//! Where standard output goes, as it comes.

use faasstore::binding::{Kind, Port, VALUE_BYTES_MAX};
use faasstore::{Call, Error, OutputWriter};
use std::io::{ErrorKind, Read};

/// Read at once.
const READ_BYTES: usize = 64 << 10;
/// Longest line that becomes an item; without an end in sight it would fill the memory.
const LINE_BYTES_MAX: usize = 256 << 20;
/// Most lines that become items: what is kept of each is no part of the arena, which bounds all else.
const LINES_MAX: usize = 1 << 22;
/// White space that may stand around a value, in bytes.
const BLANK_BYTES_MAX: usize = 1024;

/// Where standard output goes. What is written is none before [`Sink::finish`].
pub(crate) enum Sink<'c, 'a> {
    /// Straight into the arena.
    Bytes(OutputWriter<'c>),
    /// Each line an item.
    Lines {
        call: &'c mut Call<'a>,
        name: String,
        line: Vec<u8>,
        buffer: Vec<u8>,
    },
    /// JSON, read when it is whole.
    Value {
        call: &'c mut Call<'a>,
        name: String,
        json: Vec<u8>,
    },
    /// The node has no output.
    Nothing,
}

impl<'c, 'a> Sink<'c, 'a> {
    pub(crate) fn new(call: &'c mut Call<'a>) -> Result<Self, Error> {
        let (name, kind) = match call.outputs() {
            [] => return Ok(Self::Nothing),
            [Port { name, kind }] => (name.clone(), *kind),
            several => {
                let text = format!(
                    "the node declares {} outputs, and a command has one: its standard output",
                    several.len()
                );
                return Err(Error::new(text));
            }
        };
        Ok(match kind {
            Kind::Bytes => {
                let most = call.max_bytes(&name)?.unwrap_or(u64::MAX);
                let room = most.min(READ_BYTES as u64) as usize;
                Self::Bytes(call.reserve(&name, room)?)
            }
            Kind::List => {
                // A list of no items is one too.
                call.list_output(&name)?;
                Self::Lines {
                    call,
                    name,
                    line: Vec::new(),
                    buffer: vec![0; READ_BYTES],
                }
            }
            Kind::Value => Self::Value {
                call,
                name,
                json: Vec::new(),
            },
        })
    }

    /// Takes what one read of standard output gives; false at its end.
    pub(crate) fn take(&mut self, stdout: &mut impl Read) -> Result<bool, Error> {
        let read = match self {
            Self::Bytes(writer) => {
                let read = writer.read_from(stdout)?;
                return Ok(read != Some(0));
            }
            Self::Nothing => stdout.read(&mut [0; 4096]),
            Self::Lines { buffer, .. } => stdout.read(buffer),
            Self::Value { json, .. } => {
                let mut buffer = [0; 4096];
                let read = stdout.read(&mut buffer);
                read.inspect(|read| json.extend_from_slice(&buffer[..*read]))
            }
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => return Ok(true),
                _ => return Err(error.into()),
            },
        };
        match self {
            Self::Lines {
                call,
                name,
                line,
                buffer,
            } => {
                let mut rest = &buffer[..read];
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let mut list = call.list_output(name)?;
                    if line.is_empty() {
                        list.push(&rest[..end])?;
                    } else {
                        line.extend_from_slice(&rest[..end]);
                        list.push(line)?;
                        line.clear();
                    }
                    rest = &rest[end + 1..];
                }
                if call.list_output(name)?.len() > LINES_MAX {
                    let text = format!(
                        "output {name} has more than {LINES_MAX} lines: declare it as bytes"
                    );
                    return Err(Error::new(text));
                }
                line.extend_from_slice(rest);
                if line.len() > LINE_BYTES_MAX {
                    let text =
                        format!("output {name}: a line has more than {LINE_BYTES_MAX} bytes");
                    return Err(Error::new(text));
                }
            }
            Self::Value { name, json, .. } if json.len() > VALUE_BYTES_MAX + BLANK_BYTES_MAX => {
                let text = format!(
                    "output {name} has more than {VALUE_BYTES_MAX} bytes of JSON: declare it as bytes"
                );
                return Err(Error::new(text));
            }
            _ => {}
        }
        Ok(read > 0)
    }

    /// Makes it the node's output.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self {
            Self::Nothing => Ok(()),
            Self::Bytes(writer) => {
                writer.finish();
                Ok(())
            }
            // A last line without an end.
            Self::Lines {
                call, name, line, ..
            } if !line.is_empty() => call.list_output(&name)?.push(&line),
            Self::Lines { .. } => Ok(()),
            Self::Value { call, name, json } => {
                let value: serde_json::Value = serde_json::from_slice(&json).map_err(|error| {
                    let text = String::from_utf8_lossy(&json);
                    let shown: String = text.trim().chars().take(60).collect();
                    Error::new(format!("output {name}: {shown:?} is no JSON: {error}"))
                })?;
                call.value_output(&name, &value)
            }
        }
    }
}
