//! What activations pass on of their inputs, where the worst case of a workflow is proven.
//!
//! A part of an input that is passed on keeps the whole range in which it lies, which may be far more than the output
//! declares, and depends on where the input came from. So that an output never keeps more than it declares, what would is
//! copied into the lane's own arena.

use super::outputs::length;
use super::{Executor, adopt_own_segments, lease_own};
use crate::core::{Core, ExecutorId, Output, Piece};
use crate::lane::segments::Segments;
use faasstore::arena::{Arena, ArenaError};
use faasstore::binding::{Kind, Maximum};
use faasstore::descriptor::PayloadRef;

/// Copies what of these outputs would keep more than is declared.
///
/// # Errors
/// If the lane has no memory for a copy. What was copied before stands among the outputs.
pub(super) fn copy_kept(
    executor: &Executor,
    id: ExecutorId,
    core: &Core,
    segments: &mut Segments,
    arena: &mut Arena,
    outputs: &mut [Output],
) -> Result<(), ArenaError> {
    let Some(declared) = core.declared_outputs(id) else {
        return Ok(());
    };
    for (output, (kind, maximum)) in outputs.iter_mut().zip(declared) {
        let pieces = match output {
            Output::One(piece) => std::slice::from_mut(piece),
            Output::List(pieces) => pieces,
        };
        if !keeps_too_much(core, id, pieces, kind, maximum) {
            continue;
        }
        for piece in pieces {
            if let Some((part, _)) = core.passed_on(id, *piece) {
                *piece = copy(executor, part, segments, arena)?;
            }
        }
    }
    Ok(())
}

/// Whether an output would keep more in memory than it declares, by what it passes on.
fn keeps_too_much(
    core: &Core,
    id: ExecutorId,
    pieces: &[Piece],
    kind: Kind,
    maximum: Maximum,
) -> bool {
    let passed_on = pieces.iter().filter_map(|piece| core.passed_on(id, *piece));
    let mut kept: Vec<PayloadRef> = passed_on.map(|(_, kept)| kept).collect();
    if kept.is_empty() {
        return false;
    }
    // Parts of one range keep it once.
    kept.sort_unstable_by_key(|range| (range.segment, range.generation, range.offset));
    kept.dedup();
    let own = pieces.iter().filter(|piece| matches!(piece, Piece::Own(_)));
    let own = own.map(|piece| length(*piece));
    let bytes = own.chain(kept.iter().map(|range| range.length));
    let bytes = bytes.map(|bytes| bytes.div_ceil(64) * 64).sum::<u64>();
    maximum.held_bytes(kind).is_some_and(|most| bytes > most)
}

fn copy(
    executor: &Executor,
    part: PayloadRef,
    segments: &mut Segments,
    arena: &mut Arena,
) -> Result<Piece, ArenaError> {
    if part.length == 0 {
        return Ok(Piece::Empty);
    }
    let reservation = arena.reserve_in(executor.terms.compartment, part.length)?;
    adopt_own_segments(segments, arena);
    let bytes = segments.mapping(part.segment);
    let bytes = bytes.and_then(|mapping| mapping.read(part.offset, part.length));
    let Some(bytes) = bytes else {
        unreachable!("what is leased lies in a segment that is mapped");
    };
    arena.bytes_mut(&reservation)[..bytes.len()].copy_from_slice(bytes);
    let range = arena.commit(reservation, part.length);
    Ok(Piece::Own(lease_own(range, segments)))
}
