//! A lane's executors: requests written, completions read and checked, segments announced, deaths noticed.
//!
//! It stands between the core, which knows activations, and the rings, which know descriptors. It promises that
//! whatever an executor writes is copied out and checked before anything is done with it, and that one which breaks a
//! rule is ended by name while the lane goes on.

mod kept;
mod memory;
mod outputs;
mod pinned;

use super::ahead::Ranges;
use super::command::StartedExecutor;
use super::copies::Copying;
use super::segments::{Gone, Mapping, Owner, Segments};
use crate::core::{Core, ExecutorId, Input, ItemGiven, Output, Piece, RoomGiven, Start};
use crate::plan::{DeploymentId, ErrorClass, Trust};
use faasstore::Cancelled;
use faasstore::arena::{Arena, ArenaError, Compartment};
use faasstore::binding::Announced;
use faasstore::descriptor::{
    self, Activate, ArenaRange, Completion, CpuUse, DescriptorError, Full, INPUTS_IN_PLACE_MAX,
    ItemAnswer, Message, OUTPUTS_IN_PLACE_MAX, OutputRef, PayloadRef, TABLE_ENTRY_BYTES, Want,
};
use faasstore::ring::{PushError, RingError};
use faasstore::segment::SegmentError;
use std::os::fd::{AsFd, OwnedFd};
use thiserror::Error;

pub(crate) use kept::{At, kept_beyond};
pub(crate) use outputs::return_outputs;
use outputs::{read_outputs, read_text};
use pinned::Pinned;

/// Why an executor cannot be believed, or reached; it is ended.
#[derive(Debug, Error)]
pub(crate) enum ExecutorError {
    #[error("it broke its ring: {0}")]
    Ring(#[from] RingError),
    #[error(
        "its request ring is full, though it has taken all requests: it does not say how far it has read"
    )]
    RingFull,
    #[error("it sent {0}")]
    Descriptor(#[from] DescriptorError),
    #[error("it sent {0}")]
    Completion(#[from] crate::core::CompletionError),
    #[error(
        "it named segment {segment} (generation {generation}) of its arena, which it never announced"
    )]
    Segment { segment: u32, generation: u32 },
    #[error(
        "it named {length} bytes at {offset} of segment {segment} of its arena, beyond that segment's end"
    )]
    Range {
        segment: u32,
        offset: u64,
        length: u64,
    },
    #[error("it announced {segments} segments with {descriptors} descriptors")]
    Descriptors { segments: usize, descriptors: usize },
    #[error("it announced segment {segment} of its arena twice without retiring it between")]
    AnnouncedTwice { segment: u32 },
    #[error(
        "it announced segments of {bytes} bytes together, above the {max} that its arena may have"
    )]
    ArenaBytes { bytes: u64, max: u64 },
    #[error("it retired segment {segment} of its arena, of which payloads are still held")]
    Retired { segment: u32 },
    #[error("its socket: {0}")]
    Socket(#[from] faasstore::socket::SocketError),
    #[error("a segment that it announced: {0}")]
    Announced(#[from] SegmentError),
}

/// What came out of an executor's completion ring.
#[derive(Debug)]
pub(crate) enum Event {
    /// An activation ended well, and may have been measured.
    Done {
        activation: u32,
        cpu: Option<CpuUse>,
    },
    /// One failed, and why.
    Failed {
        activation: u32,
        class: ErrorClass,
        cause: String,
    },
    /// One that runs waits for an item of a list, or is done with some.
    Want(Want),
    /// One that runs waits for room in its arena.
    Full(Full),
}

/// What a lane knows of a deployment for its executors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Where the tables of its requests go.
    pub(crate) compartment: Compartment,
    /// Bounds on what an activation may return.
    pub(crate) payload_bytes_max: u64,
    pub(crate) items_max: u64,
}

/// An executor and what the lane keeps of it.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) started: StartedExecutor,
    /// Tells its life in this place from those before.
    pub(crate) serial: u32,
    terms: Terms,
    /// What it is sent is written here, and pushed from here.
    outgoing: Message,
    /// Segments of its arena: index, generation, slot in the lane's table.
    arena: Vec<(u32, u32, u32)>,
    /// Their bytes.
    arena_bytes: u64,
    /// Ranges of its arena that are free again, and that it is still to be told of.
    released: Vec<ArenaRange>,
    /// Segments of others that have gone, by slot and generation, with their bytes, and that it is still to be told of.
    unmaps: Vec<(u32, u32, u64)>,
    /// What it may still keep of such.
    pinned: Pinned,
    /// Messages about memory since its bell was rung for one.
    unrung: u32,
    /// Whether one of them is about a segment that has gone.
    unmap_unrung: bool,
    /// A request that waits until the executor has been told of all memory that is free again.
    deferred: Option<Box<Message>>,
    /// Segments that it is to be told of before its next request.
    untold: Vec<Announced>,
    /// Tables that the running activation reads.
    tables: Vec<ArenaRange>,
    /// Whether the running activation was told to stop.
    told: bool,
    /// Whether the running activation waits for room in its arena.
    pub(crate) waits_for_room: bool,
    /// What it has returned, and is being copied.
    pub(crate) copying: Option<Box<Copying>>,
    /// Why the lane ended it, if it did.
    pub(crate) ended: Option<String>,
    /// Told to end.
    pub(crate) stopping: bool,
}

impl Executor {
    pub(crate) fn new(started: StartedExecutor, serial: u32, terms: Terms) -> Self {
        Self {
            started,
            serial,
            terms,
            outgoing: Message::default(),
            arena: Vec::new(),
            arena_bytes: 0,
            released: Vec::new(),
            unmaps: Vec::new(),
            pinned: Pinned::default(),
            unrung: 0,
            unmap_unrung: false,
            deferred: None,
            untold: Vec::new(),
            tables: Vec::new(),
            told: false,
            waits_for_room: false,
            copying: None,
            ended: None,
            stopping: false,
        }
    }

    pub(crate) fn deployment(&self) -> DeploymentId {
        self.started.deployment
    }

    /// Where copies go of what it returns.
    pub(crate) fn compartment(&self) -> Compartment {
        self.terms.compartment
    }

    /// Whether its ring is read: not once it is ended, nor while something that it has returned is being copied.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        self.ended.is_none() && self.copying.is_none()
    }

    #[inline]
    fn slot_of(
        &mut self,
        place: u32,
        index: u32,
        generation: u32,
        segments: &mut Segments,
    ) -> Result<u32, ExecutorError> {
        if let Some(slot) = find(&self.arena, index, generation) {
            return Ok(slot);
        }
        self.read_announcements(place, index, generation, segments)
    }

    /// Checks a range that the executor names and counts it as leased.
    #[inline]
    fn lease(
        &mut self,
        place: u32,
        range: ArenaRange,
        segments: &mut Segments,
    ) -> Result<PayloadRef, ExecutorError> {
        let slot = self.slot_of(place, range.segment, range.generation, segments)?;
        let ArenaRange {
            segment,
            offset,
            length,
            ..
        } = range;
        segments
            .lease(slot, offset, length)
            .ok_or(ExecutorError::Range {
                segment,
                offset,
                length,
            })
    }

    /// Where an output lies, if it breaks no limit, its segment is known, and it is read there.
    #[inline]
    pub(super) fn plain_output(&self, own: ArenaRange, segments: &Segments) -> Option<PayloadRef> {
        if own.length == 0 || own.length > self.terms.payload_bytes_max {
            return None;
        }
        if self.started.trust == Trust::Other {
            return None;
        }
        let slot = find(&self.arena, own.segment, own.generation)?;
        segments.name(slot, own.offset, own.length)
    }

    #[inline]
    pub(crate) fn push(&mut self, message: &Message) -> Result<(), ExecutorError> {
        self.started.channel.push(message).map_err(unpushed)
    }

    #[inline]
    fn push_outgoing(&mut self) -> Result<(), ExecutorError> {
        self.started.channel.push(&self.outgoing).map_err(unpushed)
    }
}

fn unpushed(error: PushError) -> ExecutorError {
    match error {
        PushError::Full => ExecutorError::RingFull,
        PushError::Corrupt(error) => ExecutorError::Ring(error),
    }
}

/// The slot in the lane's table of a segment of an executor's arena.
#[inline]
fn find(arena: &[(u32, u32, u32)], index: u32, generation: u32) -> Option<u32> {
    arena
        .iter()
        .find(|known| known.0 == index && known.1 == generation)
        .map(|known| known.2)
}

/// Why an activation could not be handed to its executor.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The executor is to be ended.
    Executor(ExecutorError),
    /// The lane has no memory for the table of its inputs. Nothing of it is kept.
    Arena(ArenaError),
}

impl<E: Into<ExecutorError>> From<E> for StartError {
    fn from(error: E) -> Self {
        Self::Executor(error.into())
    }
}

/// Writes the request for an activation and rings the executor's bell.
#[inline]
pub(crate) fn start(
    executor: &mut Executor,
    order: &Start,
    core: &Core,
    segments: &mut Segments,
    arena: &mut Arena,
) -> Result<(), StartError> {
    if executor.has_backlog() {
        executor.flush_released(false)?;
    }
    let place = order.executor.0;
    let (node, invocation) = core.started_node(order);
    let mut inputs = [PayloadRef::ABSENT; INPUTS_IN_PLACE_MAX];
    let mut count = 0;
    // Lists and inputs beyond those that fit in place need tables, which are the exception.
    let mut plain = true;
    core.inputs(order, |input| {
        match input {
            Input::One(range) if count < INPUTS_IN_PLACE_MAX => inputs[count] = range,
            Input::One(_) | Input::List(_) | Input::Windowed(..) => plain = false,
        }
        count += 1;
    });
    let activate = Activate {
        node,
        attempt: order.attempt,
        invocation,
        activation: order.activation,
        item: order.item,
        deadline_ns: order.deadline_ns,
        measure: core.measures(order),
    };
    if plain {
        for range in &inputs[..count] {
            executor.tell(place, range, segments);
        }
        executor.announce(segments)?;
        descriptor::encode_activate(&mut executor.outgoing, &activate, &inputs[..count], false);
    } else {
        let tabled = tabulate(executor, order, core, segments, arena);
        executor.announce(segments)?;
        let (inputs, table) = match tabled {
            Ok(tabled) => tabled,
            Err(error) => {
                executor.drop_tables(arena);
                return Err(error);
            }
        };
        descriptor::encode_activate(&mut executor.outgoing, &activate, &inputs, table);
    }
    if executor.has_backlog() {
        executor.defer();
        return Ok(());
    }
    executor.push_outgoing()?;
    executor.started.channel.ring_bell();
    Ok(())
}

/// Answers an activation that waits for an item of a list, and rings its executor's bell.
pub(crate) fn give_item(
    executor: &mut Executor,
    given: &ItemGiven,
    segments: &mut Segments,
) -> Result<(), ExecutorError> {
    if let ItemAnswer::Here(place) = &given.answer {
        executor.tell(given.executor.0, place, segments);
        executor.announce(segments)?;
    }
    let ItemGiven {
        activation,
        name,
        answer,
        ..
    } = *given;
    descriptor::encode_item(&mut executor.outgoing, activation, name, answer);
    executor.push_outgoing()?;
    executor.started.channel.ring_bell();
    Ok(())
}

/// Answers an activation that waits for room in its arena: behind all that has come back.
pub(crate) fn give_room(executor: &mut Executor, given: &RoomGiven) -> Result<(), ExecutorError> {
    executor.waits_for_room = false;
    executor.flush_all_released()?;
    descriptor::encode_room(&mut executor.outgoing, given.activation, given.answer);
    if executor.has_unsent_ranges() {
        executor.defer();
        return Ok(());
    }
    executor.push_outgoing()?;
    executor.started.channel.ring_bell();
    Ok(())
}

/// What the tables take that an activation is given, as [`tabulate`] makes them.
pub(crate) fn table_bytes(order: &Start, core: &Core) -> u64 {
    let (mut entries, mut inputs) = (0, 0);
    core.inputs(order, |input| {
        inputs += 1;
        entries += match input {
            Input::One(_) => 0,
            Input::List(items) | Input::Windowed(items, _) => items.len(),
        };
    });
    if inputs > INPUTS_IN_PLACE_MAX {
        entries += inputs;
    }
    entries as u64 * TABLE_ENTRY_BYTES
}

/// Inputs with lists: each list becomes a table of its items, and too many inputs become a table themselves.
fn tabulate(
    executor: &mut Executor,
    order: &Start,
    core: &Core,
    segments: &mut Segments,
    arena: &mut Arena,
) -> Result<(Vec<PayloadRef>, bool), StartError> {
    let mut inputs = Vec::new();
    let mut failure = None;
    let mut entries = Vec::new();
    core.inputs(order, |input| {
        if failure.is_some() {
            return;
        }
        let range = match input {
            Input::One(range) => Ok(range),
            Input::List(items) => {
                entries.clear();
                entries.extend(items.iter().map(|item| core.locate(*item)));
                write_table(executor, order.executor.0, &entries, segments, arena)
            }
            Input::Windowed(items, account) => {
                entries.clear();
                let located = items.iter().map(|item| core.locate_or_away(*item, account));
                entries.extend(located);
                write_table(executor, order.executor.0, &entries, segments, arena)
            }
        };
        match range {
            Ok(range) => inputs.push(range),
            Err(error) => failure = Some(error),
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    for range in &inputs {
        executor.tell(order.executor.0, range, segments);
    }
    if inputs.len() <= INPUTS_IN_PLACE_MAX {
        return Ok((inputs, false));
    }
    let table = write_table(executor, order.executor.0, &inputs, segments, arena)?;
    executor.tell(order.executor.0, &table, segments);
    Ok((vec![table], true))
}

fn write_table(
    executor: &mut Executor,
    place: u32,
    entries: &[PayloadRef],
    segments: &mut Segments,
    arena: &mut Arena,
) -> Result<PayloadRef, StartError> {
    if entries.is_empty() {
        return Ok(PayloadRef::EMPTY);
    }
    let bytes = entries.len() as u64 * TABLE_ENTRY_BYTES;
    let reservation = arena
        .reserve_in(executor.terms.compartment, bytes)
        .map_err(StartError::Arena)?;
    adopt_own_segments(segments, arena);
    let table = arena.bytes_mut(&reservation);
    for (entry, place) in entries
        .iter()
        .zip(table.chunks_exact_mut(TABLE_ENTRY_BYTES as usize))
    {
        for (word, bytes) in entry.to_words().into_iter().zip(place.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    let range = arena.commit(reservation, bytes);
    executor.tables.push(range);
    for entry in entries {
        executor.tell(place, entry, segments);
    }
    let slot = segments.slot_of_own(range.segment, range.generation);
    Ok(slot
        .and_then(|slot| segments.name(slot, range.offset, range.length))
        .unwrap_or(PayloadRef::EMPTY))
}

/// A range of the lane's own arena, counted as leased.
pub(crate) fn lease_own(range: ArenaRange, segments: &mut Segments) -> PayloadRef {
    if range.length == 0 {
        return PayloadRef::EMPTY;
    }
    let slot = segments.slot_of_own(range.segment, range.generation);
    slot.and_then(|slot| segments.lease(slot, range.offset, range.length))
        .unwrap_or(PayloadRef::EMPTY)
}

/// Takes the segments that the lane's own arena has made since into the table.
pub(crate) fn adopt_own_segments(segments: &mut Segments, arena: &mut Arena) {
    for made in arena.new_segments() {
        segments.add(
            Mapping::Own(made.segment),
            Owner::Lane,
            made.compartment,
            made.index,
            made.generation,
        );
    }
}

/// Takes segments that the lane's own arena has retired out of the table.
pub(crate) fn retire_own_segments(
    segments: &mut Segments,
    retired: Vec<(u32, u32)>,
    gone: &mut Vec<Gone>,
) {
    for (index, generation) in retired {
        let slot = segments.slot_of_own(index, generation);
        let left = slot.and_then(|slot| segments.retire(slot));
        debug_assert!(
            left.is_some(),
            "the arena retires what it has told of and nobody holds"
        );
        gone.extend(left);
    }
}

/// What a lane reads completions into, again and again.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) message: Message,
    /// Where the outputs of a plain completion lie.
    pub(crate) ranges: Ranges,
    refs: Vec<OutputRef>,
    /// The outputs of the last [`Event::Done`].
    pub(crate) outputs: Vec<Output>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            message: Message::default(),
            ranges: [PayloadRef::ABSENT; OUTPUTS_IN_PLACE_MAX],
            refs: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

/// Reads the message that was popped into `scratch`, and its outputs; none if it is about memory alone.
#[inline]
pub(crate) fn read_event(
    executor: &mut Executor,
    id: ExecutorId,
    core: &Core,
    segments: &mut Segments,
    arena: &mut Arena,
    scratch: &mut Scratch,
    gone: &mut Vec<Gone>,
) -> Result<Option<Event>, ExecutorError> {
    let Scratch {
        message,
        refs,
        outputs,
        ..
    } = scratch;
    match descriptor::decode_completion(message, refs)? {
        Completion::Done {
            activation,
            table,
            cpu,
        } => {
            let read = read_outputs(executor, id, core, segments, refs, table, outputs);
            if !matches!(read, Ok(None)) {
                return_outputs(executor, segments, outputs);
            }
            executor.activation_ended(arena);
            Ok(Some(match read? {
                None => Event::Done { activation, cpu },
                Some(cause) => Event::Failed {
                    activation,
                    class: ErrorClass::Output,
                    cause,
                },
            }))
        }
        Completion::Failed {
            activation,
            code,
            message,
        } => {
            let text = read_text(executor, id.0, segments, message)?;
            executor.activation_ended(arena);
            let cause = super::failure_text(code, &text);
            let class = super::failure_class(code);
            Ok(Some(Event::Failed {
                activation,
                class,
                cause,
            }))
        }
        Completion::Want(want) => Ok(Some(Event::Want(want))),
        Completion::Full(full) => {
            executor.waits_for_room = true;
            Ok(Some(Event::Full(full)))
        }
        Completion::Retire {
            segment,
            generation,
        } => {
            gone.push(executor.retire(id.0, segment, generation, segments)?);
            Ok(None)
        }
    }
}

/// Takes in an activation that has ended well, with these outputs, found by [`Executor::plain_output`].
#[inline]
pub(crate) fn read_plain(
    executor: &mut Executor,
    ranges: &[PayloadRef],
    segments: &mut Segments,
    arena: &mut Arena,
    outputs: &mut Vec<Output>,
) {
    outputs.clear();
    for range in ranges {
        segments.count_lease(range.segment);
        outputs.push(Output::One(Piece::Own(*range)));
    }
    executor.activation_ended(arena);
}

impl Executor {
    /// The activation that it runs is to stop. Should it have ended meanwhile, its completion is still to be read, which
    /// takes the word back.
    pub(crate) fn tell_to_stop(&mut self, activation: u32, why: Cancelled) {
        self.told = true;
        self.started.channel.tell(activation, why);
    }

    /// Whether what it runs was told to stop.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    #[inline]
    pub(crate) fn activation_ended(&mut self, arena: &mut Arena) {
        self.pinned.answered();
        if self.told {
            self.told = false;
            self.started.channel.take_back();
        }
        self.drop_tables(arena);
    }

    #[inline]
    fn drop_tables(&mut self, arena: &mut Arena) {
        for table in self.tables.drain(..) {
            // The lane's own range, committed once: its return cannot be refused.
            let returned = arena.release(table);
            debug_assert!(returned.is_ok());
        }
    }

    /// The process has gone: its tables come back, and its segments with their last ranges.
    pub(crate) fn gone(
        &mut self,
        place: u32,
        segments: &mut Segments,
        arena: &mut Arena,
    ) -> Vec<Gone> {
        self.activation_ended(arena);
        segments.executor_gone(place)
    }
}

/// Opens a descriptor of the executor's process once more, for watching it.
pub(crate) fn second_descriptor(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

impl Terms {
    /// For an executor whose deployment has gone: nothing may be returned any more, and it is asked for nothing.
    pub(crate) const NONE: Self = Self {
        compartment: Compartment::FIRST,
        payload_bytes_max: 0,
        items_max: 0,
    };
}

#[cfg(test)]
pub(super) mod tests;
