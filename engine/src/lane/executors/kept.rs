//! What activations pass on of their inputs, where the worst case of a workflow is proven.
//!
//! A part of an input that is passed on keeps the whole range in which it lies, which may be far more than the output
//! declares, and depends on where the input came from. So that an output never keeps more than it declares, what would is
//! copied into memory of the lane's ([`copies`](crate::lane::copies)).

use super::outputs::length;
use crate::core::{Core, ExecutorId, Output, Piece};
use faasstore::binding::{Kind, Maximum};
use faasstore::descriptor::PayloadRef;

/// Where a piece stands among outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    pub(crate) output: usize,
    pub(crate) piece: usize,
}

/// What these outputs pass on of the activation's inputs and would keep more by than is declared: where it stands among them, and
/// where it lies.
pub(crate) fn kept_beyond(
    id: ExecutorId,
    core: &Core,
    outputs: &[Output],
) -> Vec<(At, PayloadRef)> {
    let mut beyond = Vec::new();
    let Some(declared) = core.declared_outputs(id) else {
        return beyond;
    };
    for (output, (one, (kind, maximum))) in outputs.iter().zip(declared).enumerate() {
        let pieces = one.pieces();
        if !keeps_too_much(core, id, pieces, kind, maximum) {
            continue;
        }
        for (piece, one) in pieces.iter().enumerate() {
            if let Some((part, _)) = core.passed_on(id, *one)
                && part.length > 0
            {
                beyond.push((At { output, piece }, part));
            }
        }
    }
    beyond
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
