//! Outputs: payloads that are written straight into the executor's own arena. What fills one in place is in `writer`.

use super::Error;
use super::call::Call;
use super::function::check_archived;
use super::limits::Limits;
use super::line::{Line, NoRoom};
use super::writer::OutputWriter;
use crate::arena::{Arena, ArenaError, Growing};
use crate::binding::{Kind, Port, TYPED_BYTES_MAX};
use crate::descriptor::{ArenaRange, FailureCode, OutputRef, TABLE_ENTRY_BYTES};
use rkyv::Serialize;
use rkyv::api::high::{HighSerializer, to_bytes_in};
use rkyv::rancor::Error as ArchiveError;
use rkyv::ser::allocator::ArenaHandle;
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
pub(super) enum Place {
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

/// The outputs of the activation that runs, and the arena that they lie in. Kept from one activation to the next.
#[derive(Debug)]
pub(super) struct Outputs {
    pub(super) arena: Arena,
    slots: Vec<Slot>,
    declared: usize,
    /// What the activation's outputs may have at most, if anything is declared.
    limits: Option<Arc<Limits>>,
    /// What a stream ran into (a maximum, or the end of memory), whose writer knows nothing but errors of I/O.
    pub(super) exceeded: Option<Error>,
    /// What a writer is filling. It is kept here and not in the writer, so that no way to lose a writer loses it.
    pub(super) open: Option<Growing>,
    /// What this activation has committed so far: given back if it fails.
    committed: Vec<ArenaRange>,
    /// Why an output could not be written, while rkyv passes an error of its own kind up to us, or until the activation ends.
    pub(super) refused: Option<Error>,
    /// Length of the last archive: a good guess for the next.
    archive_bytes: u64,
    /// The longest that there can be.
    pub(super) archive_bytes_max: u64,
    /// Bytes of tables on their way into the arena.
    table: Vec<u8>,
    /// Whether the activation has waited for room.
    waited: bool,
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
            archive_bytes_max: TYPED_BYTES_MAX,
            table: Vec::new(),
            waited: false,
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
        self.refused = None;
        self.waited = false;
    }

    /// Whether the activation has waited for room: then more has come for it than its request.
    #[inline]
    pub(super) fn has_waited(&self) -> bool {
        self.waited
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

    /// What a stream ran into, if the function fails for it.
    pub(super) fn take_exceeded(&mut self) -> Option<Error> {
        self.exceeded.take()
    }

    /// Whether a payload of so many bytes may go there.
    #[inline]
    pub(super) fn check(&self, place: Place, bytes: u64) -> Result<(), Error> {
        let Some(limits) = &self.limits else {
            return Ok(());
        };
        let (items, before) = self.so_far(place);
        limits.check(place.output(), items, before, bytes)
    }

    /// The most bytes that the next payload there may have.
    pub(super) fn room(&self, place: Place) -> u64 {
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

    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.arena.give_up(open);
        }
    }

    /// Ends an activation that returned well: its outputs in the order of declaration, tables written.
    #[inline]
    pub(super) fn finish(
        &mut self,
        ports: &[Port],
        encoded: &mut Vec<OutputRef>,
        line: Option<&Line>,
    ) -> Result<(), Error> {
        self.close();
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        encoded.clear();
        for (index, port) in ports.iter().enumerate() {
            let slot = &self.slots[index];
            let output = match slot.written {
                Some(output) => output,
                None if slot.list => self.write_items(index, line)?,
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

    fn write_items(&mut self, index: usize, line: Option<&Line>) -> Result<OutputRef, Error> {
        let items = std::mem::take(&mut self.slots[index].items);
        let table = self.write_table(&items, line);
        self.slots[index].items = items;
        table
    }

    /// Writes a table of outputs into the arena.
    pub(super) fn write_table(
        &mut self,
        entries: &[OutputRef],
        line: Option<&Line>,
    ) -> Result<OutputRef, Error> {
        let mut table = std::mem::take(&mut self.table);
        table.clear();
        table.reserve(entries.len() * TABLE_ENTRY_BYTES as usize);
        table.extend(
            entries
                .iter()
                .flat_map(|entry| entry.to_words())
                .flat_map(u64::to_le_bytes),
        );
        let written = self.copy(&table, line);
        self.table = table;
        written
    }

    /// Copies bytes into a committed range of their own.
    #[inline]
    pub(super) fn copy(&mut self, bytes: &[u8], line: Option<&Line>) -> Result<OutputRef, Error> {
        if bytes.is_empty() {
            return Ok(OutputRef::Empty);
        }
        let length = bytes.len() as u64;
        let reservation = match self.arena.reserve(length) {
            Ok(reservation) => reservation,
            Err(refused) => self.wait_for_room(refused, line, |arena| arena.reserve(length))?,
        };
        self.arena.bytes_mut(&reservation)[..bytes.len()].copy_from_slice(bytes);
        let range = self.arena.commit(reservation, bytes.len() as u64);
        Ok(self.committed(range))
    }

    /// Begins an output, or an item of one, of which the length is not known yet.
    pub(super) fn open(&mut self, bytes: u64, line: Option<&Line>) -> Result<(), Error> {
        let open = match self.arena.begin(bytes) {
            Ok(open) => open,
            Err(refused) => self.wait_for_room(refused, line, |arena| arena.begin(bytes))?,
        };
        self.open = Some(open);
        Ok(())
    }

    /// Makes what is being written hold at least `bytes` bytes, of which it has `written`, though no more than `most`.
    pub(super) fn grow(
        &mut self,
        (written, bytes, most): (u64, u64, u64),
        line: Option<&Line>,
    ) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let mut grow = |arena: &mut Arena| arena.grow(&mut open, written, bytes, most);
        let grown = match grow(&mut self.arena) {
            Ok(()) => Ok(()),
            Err(refused) => self.wait_for_room(refused, line, grow),
        };
        self.open = Some(open);
        grown
    }

    /// Does what the arena has refused as soon as it does not any more: whatever of it comes back, that is tried again. It is
    /// given up when nothing does, and where nothing that came back could be enough.
    #[cold]
    fn wait_for_room<T>(
        &mut self,
        refused: ArenaError,
        line: Option<&Line>,
        mut attempt: impl FnMut(&mut Arena) -> Result<T, ArenaError>,
    ) -> Result<T, Error> {
        let own: u64 = self.committed.iter().map(|range| range.length).sum();
        let mut refused = refused;
        let mut again = false;
        loop {
            let (Some(line), ArenaError::Full { bytes, max, .. }) = (line, &refused) else {
                return Err(Error::memory(&refused));
            };
            // What this activation has written itself does not come back before it ends.
            if own.saturating_add(*bytes) > *max {
                return Err(Error::memory(&refused));
            }
            self.waited = true;
            let came = line.wait_for_room(&mut self.arena, *bytes, again);
            came.map_err(|why| no_room(&refused, why))?;
            match attempt(&mut self.arena) {
                Ok(done) => return Ok(done),
                Err(error) => refused = error,
            }
            again = true;
        }
    }

    /// Ends what a writer was filling.
    pub(super) fn commit(&mut self, open: Growing, length: u64) -> Result<OutputRef, ArenaError> {
        let range = self.arena.end(open, length)?;
        Ok(self.committed(range))
    }

    #[inline]
    fn committed(&mut self, range: ArenaRange) -> OutputRef {
        if range.length == 0 {
            return OutputRef::Empty;
        }
        self.committed.push(range);
        OutputRef::Own(range)
    }

    pub(super) fn put(&mut self, place: Place, output: OutputRef) {
        match place {
            Place::Output(index) => self.slots[index].written = Some(output),
            Place::Item(index) => {
                let slot = &mut self.slots[index];
                slot.bytes += length(output);
                slot.items.push(output);
            }
        }
    }

    fn write(&mut self, place: Place, bytes: &[u8], line: &Line) -> Result<(), Error> {
        self.check(place, bytes.len() as u64)?;
        let output = self.copy(bytes, Some(line))?;
        self.put(place, output);
        Ok(())
    }

    pub(super) fn write_typed<T: Payload>(
        &mut self,
        place: Place,
        value: &T,
        line: Option<&Line>,
    ) -> Result<(), Error> {
        // Its length is a guess, which is to exceed nothing.
        self.check(place, 0)?;
        let guess = self.archive_bytes.min(self.room(place));
        let writer = OutputWriter::new(self, place, guess, line)?;
        let archived = to_bytes_in::<_, ArchiveError>(value, writer).map(|writer| {
            let bytes = writer.written();
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
        // What is larger grows without a copy, and the next one may be small.
        self.archive_bytes = bytes.clamp(1, self.arena.packed_bytes_max());
        Ok(())
    }
}

/// Why there is no room for an output, though it was waited for.
fn no_room(refused: &ArenaError, why: NoRoom) -> Error {
    let told = match why {
        NoRoom::Never => {
            "nothing else that lies there can be carried out, and nothing that runs will let go of any (--spill-max and --store \
             of the worker say where payloads may go)"
        }
        NoRoom::Late => {
            "nothing, or not enough of it, has come back for 5 s: tiers that are faster, or fewer invocations at once, help"
        }
        NoRoom::Stopped => return Error::new(format!("{refused}; and the activation is to stop")),
        NoRoom::Broken => "and the worker has broken a promise",
    };
    Error::of(FailureCode::Memory, format!("{refused}; {told}"))
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
        self.outputs.write(place, bytes, self.line)
    }

    /// As [`Call::write`], by the output's place in the declaration.
    pub(super) fn write_at(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = self.unwritten(index)?;
        self.outputs.write(place, bytes, self.line)
    }

    /// Archives a value straight into the arena.
    ///
    /// # Errors
    /// As [`Call::write`], if the function declares another type for the output, and if the archive is longer than
    /// [`TYPED_BYTES_MAX`]: more than that can only be written as raw bytes, or as a list.
    pub fn write_typed<T: Payload>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let index = declared(self.output_ports, name, &[Kind::Bytes])?;
        self.check_written::<T>(index)?;
        let place = self.unwritten(index)?;
        self.outputs.write_typed(place, value, Some(self.line))
    }

    /// As [`Call::write_typed`], by the output's place in the declaration.
    pub(super) fn write_typed_at<T: Payload>(
        &mut self,
        index: usize,
        value: &T,
    ) -> Result<(), Error> {
        let place = self.unwritten(index)?;
        self.outputs.write_typed(place, value, Some(self.line))
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
    /// [`OutputWriter::commit`], or as a stream that grows by [`std::io::Write`] and [`OutputWriter::finish`].
    ///
    /// If `bytes` is what comes, memory is set aside once, and nothing is copied or moved. It is a guess: a stream may become
    /// longer, up to [`PAYLOAD_BYTES_MAX`](crate::binding::PAYLOAD_BYTES_MAX), or shorter. What growing costs is told at
    /// [`OutputWriter`].
    ///
    /// # Errors
    /// As [`Call::write`].
    pub fn reserve(&mut self, name: &str, bytes: usize) -> Result<OutputWriter<'_>, Error> {
        let place = self.fresh(name, &[Kind::Bytes])?;
        OutputWriter::new(self.outputs, place, bytes as u64, Some(self.line))
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
        self.outputs.write(place, &json, self.line)
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
        let line = self.call.line;
        self.call
            .outputs
            .write(Place::Item(self.index), bytes, line)
    }

    /// Appends a value, archived straight into the arena.
    ///
    /// # Errors
    /// As [`ListOutput::push`], and if the function declares another type for the items.
    pub fn push_typed<T: Payload>(&mut self, value: &T) -> Result<(), Error> {
        self.call.check_written::<T>(self.index)?;
        let line = Some(self.call.line);
        self.call
            .outputs
            .write_typed(Place::Item(self.index), value, line)
    }

    /// Room for an item of `bytes` bytes, to be filled in place; it is appended when it is committed.
    ///
    /// # Errors
    /// As [`ListOutput::push`].
    pub fn reserve(&mut self, bytes: usize) -> Result<OutputWriter<'_>, Error> {
        let (place, line) = (Place::Item(self.index), Some(self.call.line));
        OutputWriter::new(self.call.outputs, place, bytes as u64, line)
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
