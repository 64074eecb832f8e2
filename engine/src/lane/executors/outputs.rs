//! What executors return, copied out of shared memory once, checked, and leased.

use super::{Executor, ExecutorError, Terms};
use crate::core::{Core, ExecutorId, Output, Piece};
use crate::lane::segments::{Released, Segments};
use faasstore::binding::{Exceeded, Kind, Maximum, PAYLOAD_BYTES_MAX, VALUE_BYTES_MAX};
use faasstore::descriptor::{ArenaRange, DescriptorError, OutputRef, TABLE_ENTRY_BYTES};

/// Reads the outputs of a completion. `Some` names a limit that they exceed: then, as after an error, those read so far are
/// to be returned.
#[inline]
pub(super) fn read_outputs(
    executor: &mut Executor,
    id: ExecutorId,
    core: &Core,
    segments: &mut Segments,
    refs: &[OutputRef],
    table: bool,
    outputs: &mut Vec<Output>,
) -> Result<Option<String>, ExecutorError> {
    outputs.clear();
    let terms = executor.terms;
    let ports = core
        .declared_outputs(id)
        .ok_or(crate::core::CompletionError::Activation)?;
    let declared = ports.len();
    let tabled;
    let refs = if table {
        let OutputRef::Own(range) = refs[0] else {
            return Err(crate::core::CompletionError::Outputs { got: 1, declared }.into());
        };
        tabled = read_table(executor, id.0, segments, range, declared as u64)?;
        &tabled[..]
    } else {
        refs
    };
    if refs.len() != declared {
        return Err(crate::core::CompletionError::Outputs {
            got: refs.len(),
            declared,
        }
        .into());
    }
    let mut excess = None;
    for (place, (output, (kind, maximum))) in refs.iter().zip(ports).enumerate() {
        let output = match (kind, *output) {
            (Kind::List, OutputRef::Own(range))
                if items(range) > maximum.items && items(range) <= terms.items_max =>
            {
                let exceeded = Exceeded::Items {
                    items: items(range),
                    max: maximum.items,
                };
                excess.get_or_insert_with(|| above(core, id, place, exceeded));
                give_back_list(executor, id.0, segments, range)?;
                Output::List(Vec::new())
            }
            (Kind::List, OutputRef::Own(range)) if items(range) > terms.items_max => {
                excess.get_or_insert_with(|| {
                    format!(
                        "it returned a list of {} items, above the limit of {}: raise items_max, or batch the items",
                        items(range),
                        terms.items_max
                    )
                });
                give_back_list(executor, id.0, segments, range)?;
                Output::List(Vec::new())
            }
            (Kind::List, OutputRef::Own(range)) => {
                let items = read_table(executor, id.0, segments, range, terms.items_max)?;
                let mut pieces = Vec::with_capacity(items.len());
                let read = items.into_iter().try_for_each(|item| {
                    pieces.push(piece(executor, id.0, segments, item)?);
                    Ok(())
                });
                if read.is_err() {
                    outputs.push(Output::List(pieces));
                    return read.map(|()| None);
                }
                Output::List(pieces)
            }
            (Kind::List, OutputRef::Empty) => Output::List(Vec::new()),
            (Kind::List, OutputRef::Alias { .. }) => {
                return Err(crate::core::CompletionError::Kind.into());
            }
            (Kind::Bytes | Kind::Value, one) => Output::One(piece(executor, id.0, segments, one)?),
        };
        excess = excess.or_else(|| too_large(kind, &output, terms));
        excess = excess.or_else(|| {
            let exceeded = exceeded(maximum, &output)?;
            Some(above(core, id, place, exceeded))
        });
        outputs.push(output);
    }
    Ok(excess)
}

/// What an output exceeds of what is declared.
fn exceeded(maximum: Maximum, output: &Output) -> Option<Exceeded> {
    if !maximum.is_declared() {
        return None;
    }
    match output {
        Output::One(piece) => maximum.exceeded(0, 0, length(*piece)),
        Output::List(pieces) => {
            let mut before = 0;
            (0..).zip(pieces).find_map(|(items, piece)| {
                let bytes = length(*piece);
                let exceeded = maximum.exceeded(items, before, bytes);
                before = before.saturating_add(bytes);
                exceeded
            })
        }
    }
}

#[cold]
fn above(core: &Core, id: ExecutorId, output: usize, exceeded: Exceeded) -> String {
    let name = core.output_name(id, output).unwrap_or_default();
    format!("output {name} {exceeded}; declare more, or return less")
}

/// Bytes of what an activation returned.
pub(super) fn length(piece: Piece) -> u64 {
    match piece {
        Piece::Empty => 0,
        Piece::Own(range) => range.length,
        Piece::Alias { length, .. } => length,
    }
}

/// Items of the list that this table holds.
fn items(table: ArenaRange) -> u64 {
    table.length / TABLE_ENTRY_BYTES
}

fn too_large(kind: Kind, output: &Output, terms: Terms) -> Option<String> {
    let largest = output.pieces().iter().map(|piece| length(*piece));
    let largest = largest.max().unwrap_or(0);
    if kind == Kind::Value && largest > VALUE_BYTES_MAX as u64 {
        return Some(format!(
            "it returned a value of {largest} bytes, above the limit of {VALUE_BYTES_MAX}: declare it as bytes"
        ));
    }
    (largest > terms.payload_bytes_max).then(|| {
        format!(
            "it returned a payload of {largest} bytes, above the limit of {}: raise payload_bytes_max and --max-payload, up to \
             {PAYLOAD_BYTES_MAX}, or part it into a list",
            terms.payload_bytes_max
        )
    })
}

#[inline]
fn piece(
    executor: &mut Executor,
    place: u32,
    segments: &mut Segments,
    output: OutputRef,
) -> Result<Piece, ExecutorError> {
    Ok(match output {
        OutputRef::Empty => Piece::Empty,
        OutputRef::Own(range) if range.length == 0 => Piece::Empty,
        OutputRef::Own(range) => Piece::Own(executor.lease(place, range, segments)?),
        OutputRef::Alias {
            input,
            item,
            offset,
            length,
        } => Piece::Alias {
            input,
            item,
            offset,
            length,
        },
    })
}

/// Copies a table of outputs out of the executor's arena, at most `entries_max` long, and gives the table back.
fn read_table(
    executor: &mut Executor,
    place: u32,
    segments: &mut Segments,
    range: ArenaRange,
    entries_max: u64,
) -> Result<Vec<OutputRef>, ExecutorError> {
    if items(range) > entries_max {
        return Err(beyond(range));
    }
    let entries = entries(executor, place, segments, range)?;
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    executor.give_back(range);
    Ok(entries)
}

/// Gives back a list of more items than the lane takes in: its table, and what the items have of their own.
#[cold]
fn give_back_list(
    executor: &mut Executor,
    place: u32,
    segments: &mut Segments,
    range: ArenaRange,
) -> Result<(), ExecutorError> {
    for entry in entries(executor, place, segments, range)? {
        match entry? {
            OutputRef::Own(item) if item.length > 0 => executor.give_back(item),
            OutputRef::Own(_) | OutputRef::Empty | OutputRef::Alias { .. } => {}
        }
    }
    executor.give_back(range);
    Ok(())
}

/// The entries of a table of outputs, each copied once.
fn entries<'s>(
    executor: &mut Executor,
    place: u32,
    segments: &'s mut Segments,
    range: ArenaRange,
) -> Result<impl Iterator<Item = Result<OutputRef, DescriptorError>> + use<'s>, ExecutorError> {
    if !range.length.is_multiple_of(TABLE_ENTRY_BYTES) {
        return Err(beyond(range));
    }
    let slot = executor.slot_of(place, range.segment, range.generation, segments)?;
    let bytes = segments
        .mapping(slot)
        .and_then(|mapping| mapping.read(range.offset, range.length))
        .ok_or(beyond(range))?;
    let entries = bytes.chunks_exact(TABLE_ENTRY_BYTES as usize);
    Ok(entries.map(|entry| {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(entry.chunks_exact(8)) {
            let mut copy = [0; 8];
            copy.copy_from_slice(bytes);
            *word = u64::from_le_bytes(copy);
        }
        OutputRef::from_words(words)
    }))
}

fn beyond(range: ArenaRange) -> ExecutorError {
    ExecutorError::Range {
        segment: range.segment,
        offset: range.offset,
        length: range.length,
    }
}

/// Longest text of a failure that is passed on.
const TEXT_BYTES_MAX: u64 = 4096;

pub(super) fn read_text(
    executor: &mut Executor,
    place: u32,
    segments: &mut Segments,
    text: OutputRef,
) -> Result<String, ExecutorError> {
    let OutputRef::Own(range) = text else {
        return Ok(String::new());
    };
    let ArenaRange {
        segment,
        offset,
        length,
        ..
    } = range;
    let slot = executor.slot_of(place, segment, range.generation, segments)?;
    let bytes = segments
        .mapping(slot)
        .and_then(|mapping| mapping.read(offset, length.min(TEXT_BYTES_MAX)))
        .ok_or(ExecutorError::Range {
            segment,
            offset,
            length,
        })?;
    let text = String::from_utf8_lossy(bytes).into_owned();
    executor.give_back(range);
    Ok(text)
}

/// Gives back outputs that the core does not take charge of.
pub(crate) fn return_outputs(
    executor: &mut Executor,
    segments: &mut Segments,
    outputs: &mut Vec<Output>,
) {
    for output in outputs.drain(..) {
        for piece in output.pieces() {
            let Piece::Own(range) = *piece else {
                continue;
            };
            // It lies in the executor's arena.
            if let Released::ToExecutor(_, range) = segments.release(range) {
                executor.give_back(range);
            }
        }
    }
}
