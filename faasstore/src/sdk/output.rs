//! Outputs: payloads that are written straight into the executor's own arena.

use super::Error;
use super::call::Call;
use super::function::check_archived;
use super::limits::Limits;
use crate::arena::{Arena, ArenaError, Reservation};
use crate::binding::{Kind, Port};
use crate::descriptor::{ArenaRange, OutputRef, TABLE_ENTRY_BYTES};
use rkyv::Serialize;
use rkyv::api::high::{HighSerializer, to_bytes_in};
use rkyv::rancor::{Error as ArchiveError, Source};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Positional, Writer};
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

/// What can be archived into an output: every type that derives `rkyv::Serialize` out of such types.
pub trait Payload:
    for<'w, 'a> Serialize<HighSerializer<OutputWriter<'w>, ArenaHandle<'a>, ArchiveError>>
{
}

impl<T> Payload for T where
    T: for<'w, 'a> Serialize<HighSerializer<OutputWriter<'w>, ArenaHandle<'a>, ArchiveError>>
{
}

/// Room for a first archive or stream, whose length is not known: a page.
const FIRST_BYTES: u64 = 4096;

/// One declared output of the activation that runs.
#[derive(Debug, Default)]
struct Slot {
    written: Option<OutputRef>,
    /// Whether a list was begun.
    list: bool,
    items: Vec<OutputRef>,
    /// Bytes of the items together.
    bytes: u64,
}

/// Which part of the outputs a writer fills.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Output(usize),
    Item(usize),
}

impl Place {
    const fn output(self) -> usize {
        match self {
            Self::Output(index) | Self::Item(index) => index,
        }
    }
}

/// Why an output did not grow.
#[derive(Debug)]
enum Refused {
    Memory(ArenaError),
    /// It is above what the output declares.
    Limit(Error),
}

impl Refused {
    fn into_error(self) -> Error {
        match self {
            Self::Memory(error) => Error::memory(&error),
            Self::Limit(error) => error,
        }
    }
}

/// The outputs of the activation that runs, and the arena that they lie in. Kept from one activation to the next.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) arena: Arena,
    slots: Vec<Slot>,
    declared: usize,
    /// What the activation's outputs may have at most, if anything is declared.
    limits: Option<Arc<Limits>>,
    /// A maximum that a stream ran into, whose writer knows nothing but errors of I/O.
    exceeded: Option<Error>,
    /// What a writer is filling. It is kept here and not in the writer, so that no way to lose a writer loses it.
    open: Option<Reservation>,
    /// What this activation has committed so far: given back if it fails.
    committed: Vec<ArenaRange>,
    /// Why the arena refused, while rkyv passes an error of its own kind up to us.
    refused: Option<Error>,
    /// Length of the last archive: a good guess for the next.
    archive_bytes: u64,
    /// Bytes of tables on their way into the arena.
    table: Vec<u8>,
}

impl Outputs {
    pub(super) fn new(arena: Arena) -> Self {
        Self {
            arena,
            slots: Vec::new(),
            declared: 0,
            limits: None,
            exceeded: None,
            open: None,
            committed: Vec::new(),
            refused: None,
            archive_bytes: FIRST_BYTES,
            table: Vec::new(),
        }
    }

    /// Begins an activation with that many outputs, which may have so much at most.
    #[inline]
    pub(super) fn begin(&mut self, declared: usize, limits: Option<&Arc<Limits>>) {
        if self.slots.len() < declared {
            self.slots.resize_with(declared, Slot::default);
        }
        for slot in &mut self.slots[..declared] {
            slot.written = None;
            slot.list = false;
            slot.items.clear();
            slot.bytes = 0;
        }
        self.limits = limits.cloned();
        self.exceeded = None;
        self.declared = declared;
        self.committed.clear();
    }

    /// Ends an activation that failed: all of its ranges come back.
    pub(super) fn roll_back(&mut self) {
        self.close();
        self.refused = None;
        for range in self.committed.drain(..) {
            let released = self.arena.release(range);
            debug_assert!(released.is_ok(), "what was committed is leased");
        }
    }

    /// The maximum that a stream ran into, if the function fails for it.
    pub(super) fn take_exceeded(&mut self) -> Option<Error> {
        self.exceeded.take()
    }

    /// Whether a payload of so many bytes may go there.
    #[inline]
    fn check(&self, place: Place, bytes: u64) -> Result<(), Error> {
        let Some(limits) = &self.limits else {
            return Ok(());
        };
        let (items, before) = self.so_far(place);
        limits.check(place.output(), items, before, bytes)
    }

    /// The most bytes that the next payload there may have.
    fn room(&self, place: Place) -> u64 {
        let limits = self.limits.as_ref();
        limits.map_or(u64::MAX, |limits| {
            limits.room(place.output(), self.so_far(place).1)
        })
    }

    /// Items of a list so far, and their bytes.
    fn so_far(&self, place: Place) -> (u64, u64) {
        match place {
            Place::Output(_) => (0, 0),
            Place::Item(index) => {
                let slot = &self.slots[index];
                (slot.items.len() as u64, slot.bytes)
            }
        }
    }

    fn close(&mut self) {
        if let Some(reservation) = self.open.take() {
            self.arena.abandon(reservation);
        }
    }

    /// Ends an activation that returned well: its outputs in the order of declaration, tables written.
    #[inline]
    pub(super) fn finish(
        &mut self,
        ports: &[Port],
        encoded: &mut Vec<OutputRef>,
    ) -> Result<(), Error> {
        self.close();
        encoded.clear();
        for (index, port) in ports.iter().enumerate() {
            let slot = &self.slots[index];
            let output = match slot.written {
                Some(output) => output,
                None if slot.list => self.write_items(index)?,
                None => {
                    return Err(Error::output(format!(
                        "output {} was not written",
                        port.name
                    )));
                }
            };
            encoded.push(output);
        }
        Ok(())
    }

    fn write_items(&mut self, index: usize) -> Result<OutputRef, Error> {
        let items = std::mem::take(&mut self.slots[index].items);
        let table = self.write_table(&items);
        self.slots[index].items = items;
        table
    }

    /// Writes a table of outputs into the arena.
    pub(super) fn write_table(&mut self, entries: &[OutputRef]) -> Result<OutputRef, Error> {
        let mut table = std::mem::take(&mut self.table);
        table.clear();
        table.reserve(entries.len() * TABLE_ENTRY_BYTES as usize);
        table.extend(
            entries
                .iter()
                .flat_map(|entry| entry.to_words())
                .flat_map(u64::to_le_bytes),
        );
        let written = self.copy(&table);
        self.table = table;
        written.map_err(|error| Error::memory(&error))
    }

    /// Copies bytes into a committed range of their own.
    #[inline]
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Result<OutputRef, ArenaError> {
        if bytes.is_empty() {
            return Ok(OutputRef::Empty);
        }
        let reservation = self.arena.reserve(bytes.len() as u64)?;
        self.arena.bytes_mut(&reservation)[..bytes.len()].copy_from_slice(bytes);
        Ok(self.commit(reservation, bytes.len() as u64))
    }

    #[inline]
    fn commit(&mut self, reservation: Reservation, length: u64) -> OutputRef {
        let range = self.arena.commit(reservation, length);
        if length == 0 {
            return OutputRef::Empty;
        }
        self.committed.push(range);
        OutputRef::Own(range)
    }

    fn put(&mut self, place: Place, output: OutputRef) {
        match place {
            Place::Output(index) => self.slots[index].written = Some(output),
            Place::Item(index) => {
                let slot = &mut self.slots[index];
                slot.bytes += length(output);
                slot.items.push(output);
            }
        }
    }

    fn write(&mut self, place: Place, bytes: &[u8]) -> Result<(), Error> {
        self.check(place, bytes.len() as u64)?;
        let output = self.copy(bytes).map_err(|error| Error::memory(&error))?;
        self.put(place, output);
        Ok(())
    }

    fn write_typed<T: Payload>(&mut self, place: Place, value: &T) -> Result<(), Error> {
        // Its length is a guess, which is to exceed nothing.
        self.check(place, 0)?;
        let guess = self.archive_bytes.min(self.room(place));
        let writer = OutputWriter::new(self, place, guess)?;
        let archived = to_bytes_in::<_, ArchiveError>(value, writer).map(|writer| {
            let bytes = writer.written;
            writer.finish();
            bytes
        });
        let bytes = archived.map_err(|error| {
            self.refused.take().unwrap_or_else(|| {
                Error::output(format!(
                    "a {} could not be archived: {error}",
                    std::any::type_name::<T>()
                ))
            })
        })?;
        self.archive_bytes = bytes.max(1);
        Ok(())
    }
}

/// Output `name` of a node that declares `ports`, which must be of one of these kinds.
fn declared(ports: &[Port], name: &str, kinds: &[Kind]) -> Result<usize, Error> {
    let Some(index) = ports.iter().position(|port| port.name == name) else {
        let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
        return Err(Error::output(format!(
            "there is no output {name}; declared are: {}",
            names.join(", ")
        )));
    };
    check_kind(&ports[index], kinds)?;
    Ok(index)
}

/// Bytes of an output.
const fn length(output: OutputRef) -> u64 {
    match output {
        OutputRef::Own(range) => range.length,
        OutputRef::Alias { length, .. } => length,
        OutputRef::Empty => 0,
    }
}

fn check_kind(port: &Port, kinds: &[Kind]) -> Result<(), Error> {
    if kinds.contains(&port.kind) {
        return Ok(());
    }
    let method = match port.kind {
        Kind::Bytes => "Call::write, Call::write_typed or Call::reserve",
        Kind::List => "Call::list_output",
        Kind::Value => "Call::value_output",
    };
    Err(Error::output(format!(
        "output {} is declared as {:?}: write it with {method}",
        port.name, port.kind
    )))
}

impl<'a> Call<'a> {
    /// Where output `name` goes, if it is not written yet.
    fn fresh(&mut self, name: &str, kinds: &[Kind]) -> Result<Place, Error> {
        let index = declared(self.output_ports, name, kinds)?;
        self.unwritten(index)
    }

    /// Whether a value is of the type that the function declares for an output, if it declares one.
    fn check_written<T: Payload>(&self, index: usize) -> Result<(), Error> {
        let written = self.written.get(index).copied().flatten();
        check_archived::<T::Archived>(written).map_err(|wrong| {
            let name = &self.output_ports[index].name;
            Error::output(format!("output {name} is {wrong}"))
        })
    }

    fn unwritten(&mut self, index: usize) -> Result<Place, Error> {
        match self.outputs.slots.get(index) {
            Some(slot) if slot.written.is_none() && index < self.outputs.declared => {
                Ok(Place::Output(index))
            }
            _ => Err(Error::output(format!(
                "output {} was written twice",
                self.output_ports[index].name
            ))),
        }
    }

    /// Writes an output of raw bytes by copying them.
    ///
    /// # Errors
    /// If the output is not declared as bytes, was written before, is above the maximum that it declares, or does not fit
    /// into the arena.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let place = self.fresh(name, &[Kind::Bytes])?;
        self.outputs.write(place, bytes)
    }

    /// As [`Call::write`], by the output's place in the declaration.
    pub(super) fn write_at(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = self.unwritten(index)?;
        self.outputs.write(place, bytes)
    }

    /// Archives a value straight into the arena.
    ///
    /// # Errors
    /// As [`Call::write`], and if the function declares another type for the output.
    pub fn write_typed<T: Payload>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let index = declared(self.output_ports, name, &[Kind::Bytes])?;
        self.check_written::<T>(index)?;
        let place = self.unwritten(index)?;
        self.outputs.write_typed(place, value)
    }

    /// As [`Call::write_typed`], by the output's place in the declaration.
    pub(super) fn write_typed_at<T: Payload>(
        &mut self,
        index: usize,
        value: &T,
    ) -> Result<(), Error> {
        let place = self.unwritten(index)?;
        self.outputs.write_typed(place, value)
    }

    /// The most bytes that output `name` may have, or each of its items if it is a list; none if that is not declared.
    ///
    /// # Errors
    /// If there is no such output.
    pub fn max_bytes(&self, name: &str) -> Result<Option<u64>, Error> {
        let all = [Kind::Bytes, Kind::List, Kind::Value];
        let index = declared(self.output_ports, name, &all)?;
        let limits = self.outputs.limits.as_ref();
        let most = limits.map_or(u64::MAX, |limits| limits.room(index, 0));
        Ok((most != u64::MAX).then_some(most))
    }

    /// Room for `bytes` bytes of an output, to be filled in place: by [`OutputWriter::as_mut_slice`] and
    /// [`OutputWriter::commit`], or as a stream that grows by [`io::Write`] and [`OutputWriter::finish`].
    ///
    /// # Errors
    /// As [`Call::write`].
    pub fn reserve(&mut self, name: &str, bytes: usize) -> Result<OutputWriter<'_>, Error> {
        let place = self.fresh(name, &[Kind::Bytes])?;
        OutputWriter::new(self.outputs, place, bytes as u64)
    }

    /// An output that is a list. It may be opened again, to append to it; one that stays empty must be opened once.
    ///
    /// # Errors
    /// If the output is not declared as a list.
    pub fn list_output(&mut self, name: &str) -> Result<ListOutput<'_, 'a>, Error> {
        let index = declared(self.output_ports, name, &[Kind::List])?;
        self.outputs.slots[index].list = true;
        Ok(ListOutput { call: self, index })
    }

    /// Passes a range of an input on as an output; no byte of it is copied.
    ///
    /// # Errors
    /// If either name is not declared, the input is a list or absent, the range is not within it, or the output was
    /// written before.
    pub fn alias(
        &mut self,
        output: &str,
        input: &str,
        range: impl RangeBounds<usize>,
    ) -> Result<(), Error> {
        let place = self.fresh(output, &[Kind::Bytes])?;
        let alias = self.aliased(input, None, range)?;
        self.outputs.check(place, length(alias))?;
        self.outputs.put(place, alias);
        Ok(())
    }

    /// Writes a value: small JSON, which conditions may read. At most [`crate::binding::VALUE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// If the output is not declared as a value, was written before, or is too long.
    pub fn value_output<V: serde::Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &V,
    ) -> Result<(), Error> {
        let place = self.fresh(name, &[Kind::Value])?;
        let json = serde_json::to_vec(value).map_err(|error| {
            Error::output(format!(
                "output {name} could not be written as JSON: {error}"
            ))
        })?;
        let max = crate::binding::VALUE_BYTES_MAX;
        if json.len() > max {
            let text = format!(
                "output {name} has {} bytes of JSON, above the limit of {max}: declare it as bytes",
                json.len()
            );
            return Err(Error::output(text));
        }
        self.outputs.write(place, &json)
    }
}

/// A list output that is being filled.
#[derive(Debug)]
pub struct ListOutput<'c, 'a> {
    call: &'c mut Call<'a>,
    index: usize,
}

impl ListOutput<'_, '_> {
    /// Appends an item of raw bytes by copying them.
    ///
    /// # Errors
    /// If it is above a maximum that the output declares, or does not fit into the arena.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.call.outputs.write(Place::Item(self.index), bytes)
    }

    /// Appends a value, archived straight into the arena.
    ///
    /// # Errors
    /// As [`ListOutput::push`], and if the function declares another type for the items.
    pub fn push_typed<T: Payload>(&mut self, value: &T) -> Result<(), Error> {
        self.call.check_written::<T>(self.index)?;
        self.call
            .outputs
            .write_typed(Place::Item(self.index), value)
    }

    /// Room for an item of `bytes` bytes, to be filled in place; it is appended when it is committed.
    ///
    /// # Errors
    /// As [`ListOutput::push`].
    pub fn reserve(&mut self, bytes: usize) -> Result<OutputWriter<'_>, Error> {
        OutputWriter::new(self.call.outputs, Place::Item(self.index), bytes as u64)
    }

    /// Appends a range of an input; no byte of it is copied.
    ///
    /// # Errors
    /// If there is no such input, it is a list or absent, or the range is not within it.
    pub fn push_alias(&mut self, input: &str, range: impl RangeBounds<usize>) -> Result<(), Error> {
        let alias = self.call.aliased(input, None, range)?;
        let place = Place::Item(self.index);
        self.call.outputs.check(place, length(alias))?;
        self.call.outputs.put(place, alias);
        Ok(())
    }

    /// Appends a range of one item of a list input; no byte of it is copied.
    ///
    /// # Errors
    /// If there is no such input or item, or the range is not within it.
    pub fn push_item_alias(
        &mut self,
        input: &str,
        item: usize,
        range: impl RangeBounds<usize>,
    ) -> Result<(), Error> {
        let alias = self.call.aliased(input, Some(item), range)?;
        let place = Place::Item(self.index);
        self.call.outputs.check(place, length(alias))?;
        self.call.outputs.put(place, alias);
        Ok(())
    }

    /// Items so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.call.outputs.slots[self.index].items.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An output, or an item of one, that is written in place. Dropped without a commit it was never there.
#[derive(Debug)]
#[must_use = "nothing is written before `commit` or `finish`"]
pub struct OutputWriter<'c> {
    outputs: &'c mut Outputs,
    place: Place,
    asked: u64,
    written: u64,
}

impl<'c> OutputWriter<'c> {
    fn new(outputs: &'c mut Outputs, place: Place, bytes: u64) -> Result<Self, Error> {
        // One that was leaked must not stay in use.
        outputs.close();
        outputs.check(place, bytes)?;
        outputs.open = Some(
            outputs
                .arena
                .reserve(bytes)
                .map_err(|error| Error::memory(&error))?,
        );
        Ok(Self {
            outputs,
            place,
            asked: bytes,
            written: 0,
        })
    }

    /// The reserved bytes. Their content is whatever was there before.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let asked = self.asked as usize;
        match &self.outputs.open {
            Some(reservation) => &mut self.outputs.arena.bytes_mut(reservation)[..asked],
            None => &mut [],
        }
    }

    /// Makes the first `length` bytes the output; the rest is free again.
    ///
    /// # Errors
    /// If `length` is more than was reserved; the output is not written then.
    pub fn commit(mut self, length: usize) -> Result<(), Error> {
        if length as u64 > self.asked {
            let text = format!(
                "{length} bytes committed, where {} were reserved",
                self.asked
            );
            return Err(Error::output(text));
        }
        self.end(length as u64);
        Ok(())
    }

    /// Makes what was written by [`io::Write`] the output.
    pub fn finish(mut self) {
        let written = self.written;
        self.end(written);
    }

    /// Appends what one read of `source` gives, which is read straight into the arena: 0 at its end, and none if it has
    /// nothing to give yet.
    ///
    /// # Errors
    /// If the read fails, or what it gave does not fit into the arena.
    pub fn read_from(&mut self, source: &mut impl io::Read) -> Result<Option<usize>, Error> {
        let most = self.outputs.room(self.place);
        let room = match &self.outputs.open {
            Some(reservation) => {
                let behind = reservation.capacity().min(most).max(self.written);
                let bytes = self.outputs.arena.bytes_mut(reservation);
                &mut bytes[self.written as usize..behind as usize]
            }
            None => &mut [],
        };
        // With no room left: there may be nothing more either, which needs none.
        let mut first = [0; 512];
        let in_place = !room.is_empty();
        let read = match source.read(if in_place { room } else { &mut first }) {
            Ok(read) => read,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(None),
                _ => return Err(error.into()),
            },
        };
        if in_place {
            self.written += read as u64;
            self.asked = self.asked.max(self.written);
        } else {
            self.append(&first[..read]).map_err(Refused::into_error)?;
        }
        Ok(Some(read))
    }

    fn end(&mut self, length: u64) {
        if let Some(reservation) = self.outputs.open.take() {
            let output = self.outputs.commit(reservation, length);
            self.outputs.put(self.place, output);
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let end = self.written + bytes.len() as u64;
        self.outputs
            .check(self.place, end)
            .map_err(Refused::Limit)?;
        let most = self.outputs.room(self.place);
        let Some(reservation) = &mut self.outputs.open else {
            return Ok(());
        };
        if end > reservation.capacity() {
            // Doubling keeps the copying of a stream that moves in proportion to its length.
            let wanted = end.max(most.min(2 * reservation.capacity()));
            let grown = self.outputs.arena.grow(reservation, self.written, wanted);
            grown
                .or_else(|_| self.outputs.arena.grow(reservation, self.written, end))
                .map_err(Refused::Memory)?;
        }
        let start = self.written as usize;
        self.outputs.arena.bytes_mut(reservation)[start..end as usize].copy_from_slice(bytes);
        self.written = end;
        self.asked = self.asked.max(end);
        Ok(())
    }
}

impl Drop for OutputWriter<'_> {
    fn drop(&mut self) {
        self.outputs.close();
    }
}

impl io::Write for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Refused::Memory(error)) => Err(io::Error::new(io::ErrorKind::OutOfMemory, error)),
            Err(Refused::Limit(error)) => {
                let told = io::Error::new(io::ErrorKind::FileTooLarge, error.text());
                self.outputs.exceeded = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Positional for OutputWriter<'_> {
    fn pos(&self) -> usize {
        self.written as usize
    }
}

impl Writer<ArchiveError> for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.append(bytes).map_err(|refused| {
            let error = refused.into_error();
            let told = io::Error::other(error.text());
            self.outputs.refused = Some(error);
            ArchiveError::new(told)
        })
    }
}
