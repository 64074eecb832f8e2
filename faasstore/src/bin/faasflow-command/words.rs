//! What a command's words become, and which input is standard input.

use faasstore::binding::{Kind, Port};
use faasstore::{Call, Error};
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};

/// What stands in a word for the path of an input, before its name.
const OPENING: &str = "{input.";
const CLOSING: char = '}';

/// The input that is standard input if it has this name, whatever other inputs there are.
const STANDARD_INPUT: &str = "stdin";

/// A command that is ready to be started.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// What standard input is to hold, piece by piece; none if it is empty.
    pub(crate) stdin: Option<Vec<&'a [u8]>>,
    /// What the words name: open until the program has them.
    files: Vec<(String, Option<File>)>,
}

impl<'a> Words<'a> {
    /// Reads the node's words, and makes the files that they name.
    pub(crate) fn new(call: &Call<'a>) -> Result<Self, Error> {
        let mut command = Self {
            words: Vec::new(),
            stdin: None,
            files: Vec::new(),
        };
        for word in call.context().arguments() {
            let word = command.replace(call, word)?;
            command.words.push(word);
        }
        if command.words.is_empty() {
            return Err(Error::new("the node has no words of a command"));
        }
        if let Some(port) = command.standard_input(call.inputs())? {
            command.stdin = content(call, port)?;
        }
        Ok(command)
    }

    /// A word with paths in the places of inputs.
    fn replace(&mut self, call: &Call<'a>, word: &str) -> Result<String, Error> {
        let mut replaced = String::new();
        let mut rest = word;
        while let Some(start) = rest.find(OPENING) {
            let Some(length) = rest[start + OPENING.len()..].find(CLOSING) else {
                break;
            };
            let name = &rest[start + OPENING.len()..][..length];
            replaced.push_str(&rest[..start]);
            replaced.push_str(&self.path(call, name)?);
            rest = &rest[start + OPENING.len() + length + CLOSING.len_utf8()..];
        }
        replaced.push_str(rest);
        Ok(replaced)
    }

    /// The path at which the program finds an input.
    fn path(&mut self, call: &Call<'a>, name: &str) -> Result<String, Error> {
        let known = self.files.iter().position(|(known, _)| known == name);
        let place = match known {
            Some(place) => place,
            None => {
                let Some(port) = call.inputs().iter().find(|port| port.name == name) else {
                    let names: Vec<&str> = call
                        .inputs()
                        .iter()
                        .map(|port| port.name.as_str())
                        .collect();
                    return Err(Error::new(format!(
                        "a word names the input {name}, which the node does not have; it has: {}",
                        names.join(", ")
                    )));
                };
                let file = content(call, port)?.map(|pieces| sealed(name, &pieces));
                self.files.push((name.to_owned(), file.transpose()?));
                self.files.len() - 1
            }
        };
        let file = self.files[place].1.as_ref();
        Ok(file.map_or_else(
            || "/dev/null".to_owned(),
            |file| format!("/proc/self/fd/{}", file.as_raw_fd()),
        ))
    }

    /// Which input no word names and is therefore read from standard input.
    fn standard_input<'p>(&self, ports: &'p [Port]) -> Result<Option<&'p Port>, Error> {
        let unnamed = || {
            let is_named = |port: &Port| self.files.iter().any(|(name, _)| *name == port.name);
            ports.iter().filter(move |port| !is_named(port))
        };
        if let Some(port) = unnamed().find(|port| port.name == STANDARD_INPUT) {
            return Ok(Some(port));
        }
        if unnamed().count() > 1 {
            let names: Vec<&str> = unnamed().map(|port| port.name.as_str()).collect();
            return Err(Error::new(format!(
                "no word names the inputs {}: call one of them {STANDARD_INPUT}, or write {{input.NAME}} for the others",
                names.join(", ")
            )));
        }
        Ok(unnamed().next())
    }

    /// Lets the next program that is started have the files. This process starts nothing else meanwhile.
    pub(crate) fn hand_down(&self) -> Result<(), Error> {
        for (_, file) in &self.files {
            if let Some(file) = file {
                fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
        }
        Ok(())
    }

    /// Closes the files, once the program has them.
    pub(crate) fn close(&mut self) {
        self.files.clear();
    }
}

/// The bytes of an input: of a list each item and a line's end behind it, an absent one being an empty line. None if the
/// input is absent.
fn content<'a>(call: &Call<'a>, port: &Port) -> Result<Option<Vec<&'a [u8]>>, Error> {
    if !call.is_present(&port.name)? {
        return Ok(None);
    }
    if port.kind != Kind::List {
        return Ok(Some(vec![call.bytes(&port.name)?]));
    }
    let items = call.list(&port.name)?;
    let lines = items
        .iter()
        .flat_map(|item| [item.unwrap_or_default(), b"\n"]);
    Ok(Some(lines.collect()))
}

/// A file in memory that nobody can change any more.
fn sealed(name: &str, pieces: &[&[u8]]) -> Result<File, Error> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags)?);
    for piece in pieces {
        file.write_all(piece)?;
    }
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}
