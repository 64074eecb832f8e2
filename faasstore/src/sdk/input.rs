//! Inputs: payloads of other producers, read where they lie.

use super::Error;
use super::function::{Archived, check_archived};
use super::line::{Granted, Line, Refused, Use};
use super::mappings::{MappingError, Mappings};
use super::walk::Walk;
use crate::binding::{Kind, Port, TYPED_BYTES_MAX};
use crate::descriptor::{FailureCode, ItemName, PayloadRef, TABLE_ENTRY_BYTES};
use crate::socket::Socket;
use rkyv::Portable;
use rkyv::api::high::HighValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as ArchiveError;
use std::ops::Range;
use std::sync::OnceLock;

/// An archived type that can be validated: what rkyv's derive makes (its `bytecheck` is always on here).
pub trait Checked: Portable + for<'a> CheckBytes<HighValidator<'a, ArchiveError>> {}

impl<A: Portable + for<'a> CheckBytes<HighValidator<'a, ArchiveError>>> Checked for A {}

/// Whether the function takes an input as what it declares it to be.
pub(super) fn check<A>(declared: Archived, name: &str) -> Result<(), Error> {
    check_archived::<A>(declared).map_err(|wrong| Error::input(format!("input {name} is {wrong}")))
}

pub(super) fn access<'a, A: Checked>(
    bytes: &'a [u8],
    name: &dyn std::fmt::Display,
) -> Result<&'a A, Error> {
    if bytes.len() as u64 > TYPED_BYTES_MAX {
        return Err(Error::input(format!(
            "input {name} is no {}: it has {} bytes, and an archive has at most {TYPED_BYTES_MAX}, since its relative pointers \
             have 32 bits; read it as raw bytes",
            std::any::type_name::<A>(),
            bytes.len()
        )));
    }
    rkyv::access::<A, ArchiveError>(bytes).map_err(|error| {
        let kind = std::any::type_name::<A>();
        Error::input(format!(
            "input {name} is no valid {kind} ({} bytes): {error}",
            bytes.len()
        ))
    })
}

/// One input, copied out of the request and checked.
#[derive(Clone, Debug)]
struct Resolved {
    payload: PayloadRef,
    /// Of a list: which of [`InputBuffer::items`].
    items: Range<usize>,
}

/// Where one activation's inputs are collected; kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct InputBuffer {
    inputs: Vec<Resolved>,
    items: Vec<PayloadRef>,
    table: Vec<PayloadRef>,
    /// Items that were away and stay until the activation ends, by their place in `items`; nothing if none is away.
    held: Vec<OnceLock<Granted>>,
    /// Why one of them did not come, where it was asked for without a way to say so.
    refused: OnceLock<Error>,
}

impl InputBuffer {
    /// Takes the inputs of a request, maps what they lie in, and checks that every range of them exists.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        ports: &[Port],
        inputs: &[PayloadRef],
        in_table: bool,
        mappings: &mut Mappings,
        socket: &Socket,
    ) -> Result<(), Error> {
        self.inputs.clear();
        self.items.clear();
        self.let_go();
        let mut table = std::mem::take(&mut self.table);
        let inputs = match inputs {
            [located] if in_table => {
                table.clear();
                read_table(located, &mut table, mappings, socket)?;
                &table[..]
            }
            inputs => inputs,
        };
        if inputs.len() != ports.len() {
            return Err(Error::input(format!(
                "{} inputs where {} are declared",
                inputs.len(),
                ports.len()
            )));
        }
        for (port, payload) in ports.iter().zip(inputs) {
            let start = self.items.len();
            if port.kind == Kind::List && payload.is_range() {
                read_table(payload, &mut self.items, mappings, socket)?;
                for item in self.items[start..].iter().filter(|item| !item.is_away()) {
                    mappings
                        .resolve(item, socket)
                        .map_err(|error| unreachable_input(&port.name, &error))?;
                }
            } else {
                mappings
                    .resolve(payload, socket)
                    .map_err(|error| unreachable_input(&port.name, &error))?;
            }
            self.inputs.push(Resolved {
                payload: *payload,
                items: start..self.items.len(),
            });
        }
        self.table = table;
        if self.items.iter().any(PayloadRef::is_away) {
            self.held.resize_with(self.items.len(), OnceLock::new);
        }
        Ok(())
    }

    /// Whether items are to be asked for.
    #[inline]
    pub(super) fn is_windowed(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets go of items that were to stay until the activation ends: it has.
    #[inline]
    pub(super) fn let_go(&mut self) {
        self.held.clear();
        self.refused.take();
    }

    /// Why an item did not come, if the function could not be told.
    pub(super) fn take_refused(&mut self) -> Option<Error> {
        self.refused.take()
    }
}

fn unreachable_input(name: &str, error: &MappingError) -> Error {
    Error::input(format!("input {name} cannot be read: {error}"))
}

fn read_table(
    located: &PayloadRef,
    entries: &mut Vec<PayloadRef>,
    mappings: &mut Mappings,
    socket: &Socket,
) -> Result<(), Error> {
    mappings
        .resolve(located, socket)
        .map_err(|error| unreachable_input("table", &error))?;
    let bytes = mappings.bytes(located).unwrap_or_default();
    if !(bytes.len() as u64).is_multiple_of(TABLE_ENTRY_BYTES) {
        return Err(Error::input(format!(
            "a table of {} bytes is no whole number of entries",
            bytes.len()
        )));
    }
    entries.extend(
        bytes
            .as_chunks::<{ TABLE_ENTRY_BYTES as usize }>()
            .0
            .iter()
            .map(|entry| {
                let word = |index: usize| {
                    u64::from_le_bytes(std::array::from_fn(|byte| entry[8 * index + byte]))
                };
                PayloadRef::from_words([word(0), word(1), word(2)])
            }),
    );
    Ok(())
}

/// The inputs of one activation, as its function sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs<'a> {
    ports: &'a [Port],
    /// What the function declares of them.
    declared: &'a [Archived],
    buffer: &'a InputBuffer,
    mappings: &'a Mappings,
    line: &'a Line,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        ports: &'a [Port],
        declared: &'a [Archived],
        buffer: &'a InputBuffer,
        mappings: &'a Mappings,
        line: &'a Line,
    ) -> Self {
        Self {
            ports,
            declared,
            buffer,
            mappings,
            line,
        }
    }

    /// As they are declared.
    pub(super) fn ports(&self) -> &'a [Port] {
        self.ports
    }

    /// Which input has that name.
    pub(super) fn index(&self, name: &str) -> Result<usize, Error> {
        self.ports
            .iter()
            .position(|port| port.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.ports.iter().map(|port| port.name.as_str()).collect();
                Error::input(format!(
                    "there is no input {name}; declared are: {}",
                    names.join(", ")
                ))
            })
    }

    fn get(&self, index: usize) -> Result<(&'a Port, &'a Resolved), Error> {
        let input = self.ports.get(index).zip(self.buffer.inputs.get(index));
        input.ok_or_else(|| Error::input(format!("there is no input number {index}")))
    }

    pub(super) fn is_present(&self, index: usize) -> bool {
        self.buffer
            .inputs
            .get(index)
            .is_some_and(|input| !input.payload.is_absent())
    }

    /// The bytes of an input that is no list.
    pub(super) fn bytes(&self, index: usize) -> Result<&'a [u8], Error> {
        let (port, input) = self.get(index)?;
        if port.kind == Kind::List {
            return Err(Error::input(format!(
                "input {} is a list: read it with Call::list",
                port.name
            )));
        }
        if input.payload.is_absent() {
            return Err(Error::input(format!(
                "input {} is absent: ask Call::is_present first",
                port.name
            )));
        }
        // Checked when the request was taken.
        Ok(self.mappings.bytes(&input.payload).unwrap_or_default())
    }

    pub(super) fn archived<A: Checked>(&self, index: usize) -> Result<&'a A, Error> {
        let (port, _) = self.get(index)?;
        check::<A>(self.declared(index), &port.name)?;
        access(self.bytes(index)?, &port.name)
    }

    fn declared(&self, index: usize) -> Archived {
        self.declared.get(index).copied().flatten()
    }

    pub(super) fn list(&self, index: usize) -> Result<List<'a>, Error> {
        let (port, input) = self.get(index)?;
        if port.kind != Kind::List {
            return Err(Error::input(format!(
                "input {} is no list: read it with Call::bytes",
                port.name
            )));
        }
        if input.payload.is_absent() {
            return Err(Error::input(format!(
                "input {} is absent: ask Call::is_present first",
                port.name
            )));
        }
        let items = self
            .buffer
            .items
            .get(input.items.clone())
            .unwrap_or_default();
        // Empty, if nothing of any list is away.
        let held = self.buffer.held.get(input.items.clone());
        Ok(List {
            name: &port.name,
            declared: self.declared(index),
            input: index as u16,
            items,
            held: held.unwrap_or_default(),
            refused: &self.buffer.refused,
            mappings: self.mappings,
            line: self.line,
        })
    }

    pub(super) fn kind(&self, index: usize) -> Option<Kind> {
        self.ports.get(index).map(|port| port.kind)
    }
}

/// A list input: many payloads, each where its producer put it.
///
/// Of a list that is larger than its workflow's memory items are brought as they are read. What [`List::get`],
/// [`List::typed`] and [`List::iter`] give is borrowed until the activation ends, and so stays in memory until then: a
/// function that reads all of a long list so needs memory for all of it, and fails with the class `memory` if there is
/// none. [`List::walk`] needs memory for a few items.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    pub(super) name: &'a str,
    pub(super) declared: Archived,
    pub(super) input: u16,
    pub(super) items: &'a [PayloadRef],
    held: &'a [OnceLock<Granted>],
    refused: &'a OnceLock<Error>,
    mappings: &'a Mappings,
    pub(super) line: &'a Line,
}

impl<'a> List<'a> {
    /// Items, absent ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The bytes of an item; `None` for one that is absent (its activation was skipped), or beyond the end.
    ///
    /// It is none, too, of an item for which there is no memory. The activation then fails for that, whatever its function
    /// returns.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let item = self.items.get(index).filter(|item| !item.is_absent())?;
        if item.is_away() {
            // The activation fails already: each further item would be waited for in vain.
            if self.refused.get().is_some() {
                return None;
            }
            return match self.keep(index) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    // The first one says it for all.
                    let _ = self.refused.set(error);
                    None
                }
            };
        }
        // Checked when the request was taken.
        Some(self.mappings.bytes(item).unwrap_or_default())
    }

    /// An item as an archive, validated now; `None` for one that is absent.
    ///
    /// # Errors
    /// If the index is beyond the end, the item is no valid `T`, or the function declares another type for it; and if there
    /// is no memory for it.
    pub fn typed<T>(&self, index: usize) -> Result<Option<&'a T::Archived>, Error>
    where
        T: rkyv::Archive<Archived: Checked>,
    {
        check::<T::Archived>(self.declared, self.name)?;
        if index >= self.items.len() {
            let text = format!(
                "input {} has {} items: there is none at {index}",
                self.name,
                self.items.len()
            );
            return Err(Error::input(text));
        }
        let name = format_args!("{}[{index}]", self.name);
        let bytes = if self.items[index].is_away() {
            Some(self.keep(index)?)
        } else {
            self.get(index)
        };
        bytes.map(|bytes| access(bytes, &name)).transpose()
    }

    /// A walk over the items, from the first one on, for lists of any size.
    #[must_use]
    pub fn walk(&self) -> Walk<'a> {
        Walk::new(*self)
    }

    /// Bytes of an item, wherever it is; none if it is absent, or beyond the end.
    #[must_use]
    pub fn item_len(&self, index: usize) -> Option<usize> {
        let item = self.items.get(index).filter(|item| !item.is_absent())?;
        Some(item.length as usize)
    }

    /// An item that is to be asked for, until the activation ends.
    pub(super) fn keep(&self, index: usize) -> Result<&'a [u8], Error> {
        let Some(held) = self.held.get(index) else {
            let text = format!("input {}[{index}] is nowhere", self.name);
            return Err(Error::input(text));
        };
        if let Some(granted) = held.get() {
            return Ok(granted.bytes());
        }
        let granted = self.take(index, Use::Kept)?;
        Ok(held.get_or_init(|| granted).bytes())
    }

    /// Asks for an item that is away.
    pub(super) fn take(&self, index: usize, usage: Use) -> Result<Granted, Error> {
        let name = ItemName {
            input: self.input,
            item: index as u32,
        };
        let taken = self.line.take(name, usage, self.mappings);
        taken.map_err(|refused| {
            let bytes = self.item_len(index).unwrap_or_default();
            let item = format_args!("input {}[{index}] ({bytes} bytes)", self.name);
            match refused {
                Refused::NoRoom { kept } => Error::of(
                    FailureCode::Memory,
                    format!(
                        "{item} finds no room in the worker's memory beside {kept} others that the function keeps: read \
                         the list with List::walk, which lets go of items, or give the worker more (--memory)"
                    ),
                ),
                Refused::Stopped => Error::new(format!("{item} does not come: the activation is to stop")),
                Refused::Broken => Error::input(format!("{item} does not come: the worker has broken a promise")),
            }
        })
    }

    /// All items in order, as [`List::get`] gives them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + use<'a> {
        let list = *self;
        (0..list.len()).map(move |index| list.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_too_long_for_an_archive_is_refused_by_name_before_it_is_looked_at() {
        // Address space, of which no page is touched.
        let long = memmap2::MmapOptions::new()
            .len(TYPED_BYTES_MAX as usize + 5)
            .no_reserve_swap()
            .map_anon()
            .unwrap();
        let error = access::<rkyv::Archived<Vec<u8>>>(&long, &"table").unwrap_err();
        assert_eq!(error.code(), FailureCode::Input);
        for part in ["input table", "2147483652", "2147483647", "raw bytes"] {
            assert!(error.text().contains(part), "{}", error.text());
        }
        // Eight bytes less than that, whose end lies where an archive's must.
        let longest = &long[..TYPED_BYTES_MAX as usize - 7];
        let looked_at = access::<rkyv::Archived<Vec<u8>>>(longest, &"table");
        assert!(
            looked_at.is_ok_and(|empty| empty.is_empty()),
            "the longest is looked at: its last eight bytes are an empty list"
        );
    }
}
