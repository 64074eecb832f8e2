//! Copies of what activations have returned, made before the core hears of it: of executables that are somebody else's
//! (`trust: other`), and of what is passed on and would keep more than is declared.
//!
//! An executor can write its arena for as long as it lives, and so change what it has committed. Of one that is not trusted
//! nothing is read where it lies: a completion's own outputs are copied into memory of the lane's, each byte read once, and
//! go back to it; whoever reads them reads the copy. Aliases name what its inputs lie in, which it cannot write. Tables and
//! texts are copied out of all executors' arenas alike. Where memory is proven, a part of an input that keeps too much of it
//! is copied as well, whoever has passed it on ([`kept_beyond`]).
//!
//! ```text
//!   completion ─► outputs leased ─┬─ little ─► the workflow's compartment of the lane's arena ──────────┐
//!                                 └─ much ───► a segment of its own: set aside, then filled, both a step  ├─► core
//!                                              for each turn of the lane ───────────────────────────────┘
//! ```
//!
//! While that is under way the executor's activation runs, as the core sees it: it holds its inputs, it can exceed its timeout, and
//! nothing more is read from its ring. Where there is no room for the copy it waits for some ([`short`](super::short)). A segment of
//! copies goes with the last range of it, and counts in what the lane's arena may have.

use super::Lane;
use super::executors::{self, At, ExecutorError, kept_beyond};
use super::segments::{Mapping, Owner, Segments};
use crate::core::{CompletionError, ExecutorId, Output, Piece};
use crate::plan::{ErrorClass, Trust};
use faasstore::arena::{Arena, ArenaError, Compartment, GRANULE_BYTES};
use faasstore::descriptor::{CpuUse, PayloadRef};
use faasstore::segment::{SegmentError, SegmentWriter};
use std::sync::Arc;
use thiserror::Error;

/// What is copied at once, between two looks at the rings: some hundred microseconds.
const AT_ONCE_BYTES_MAX: u64 = 1 << 20;
const AT_ONCE_PIECES_MAX: usize = 1024;
/// What is set aside, or copied, in a turn of the lane: some ten microseconds.
const STEP_BYTES: u64 = 128 << 10;
/// What a piece costs, however small it is, as if it had so many bytes.
const PIECE_COST_BYTES: u64 = 256;

/// Why a copy cannot be made: the attempt fails.
#[derive(Debug, Error)]
pub(super) enum CopyError {
    #[error("{0}")]
    Arena(#[from] ArenaError),
    #[error("{0}")]
    Segment(#[from] SegmentError),
    #[error("what it has returned lies in no segment that is here")]
    Place,
}

impl CopyError {
    fn cause(&self) -> String {
        format!(
            "its outputs are to be copied, since its executable is somebody else's (`trust: other`) or they pass on parts of \
             inputs that keep more than is declared, and are not: {self}; let it return less at once, or give the worker more \
             --memory"
        )
    }
}

/// What is to be copied: where it stands among the outputs, and where it lies.
type Original = (At, PayloadRef);

/// A copy that takes several turns.
#[derive(Debug)]
pub(crate) struct Copying {
    activation: u32,
    cpu: Option<CpuUse>,
    /// As the executor has named them; leased.
    outputs: Vec<Output>,
    /// What is to be copied of them, and where each begins in the copy.
    pieces: Vec<(Original, u64)>,
    progress: Option<Progress>,
    /// Pieces that are copied, and bytes of the next one.
    next: usize,
    copied_bytes: u64,
    /// What it counts for in the lane's arena.
    set_aside_bytes: u64,
    /// The process has ended since: its exit is seen to when this is done.
    exit: Option<u64>,
}

#[derive(Debug)]
enum Progress {
    /// There is no room yet for so many bytes.
    Wanted(u64),
    /// It has been made after all, at once, range by range.
    Made(Vec<Original>),
    /// It cannot be made.
    Fails(CopyError),
    /// So many bytes of it have pages.
    SetAside(SegmentWriter, u64),
    Copy(Arc<SegmentWriter>),
}

/// The ranges that outputs hold by themselves.
pub(super) fn own(outputs: &[Output]) -> impl Iterator<Item = PayloadRef> + '_ {
    let pieces = outputs.iter().flat_map(Output::pieces);
    pieces.filter_map(|piece| match piece {
        Piece::Own(range) => Some(*range),
        Piece::Empty | Piece::Alias { .. } => None,
    })
}

/// Of [`own`], what it says of where each stands.
fn theirs(outputs: &[Output]) -> impl Iterator<Item = Original> + '_ {
    outputs.iter().enumerate().flat_map(|(output, one)| {
        let pieces = one.pieces().iter().enumerate();
        pieces.filter_map(move |(piece, one)| match one {
            Piece::Own(range) => Some((At { output, piece }, *range)),
            Piece::Empty | Piece::Alias { .. } => None,
        })
    })
}

/// Copies bytes of a segment of the lane's table into one that is to be written; false if they do not lie in both.
fn copy_bytes(segments: &Segments, from: PayloadRef, into: &SegmentWriter, at: u64) -> bool {
    match segments.mapping(from.segment) {
        // Its writer may not have ended writing.
        Some(Mapping::Foreign(segment)) => into.copy_from(at, segment, from.offset, from.length),
        Some(Mapping::Own(segment)) => {
            let bytes = segment.read(from.offset, from.length);
            bytes.is_some_and(|bytes| into.write(at, bytes))
        }
        None => false,
    }
}

/// Copies a range into the lane's arena; leased.
fn copy_one(
    range: PayloadRef,
    compartment: Compartment,
    segments: &mut Segments,
    arena: &mut Arena,
) -> Result<PayloadRef, CopyError> {
    let reservation = arena.reserve_in(compartment, range.length)?;
    executors::adopt_own_segments(segments, arena);
    let into = arena.segment(reservation.segment(), reservation.generation());
    let copied = into.is_some_and(|into| copy_bytes(segments, range, into, reservation.offset()));
    if !copied {
        arena.abandon(reservation);
        return Err(CopyError::Place);
    }
    let committed = arena.commit(reservation, range.length);
    Ok(executors::lease_own(committed, segments))
}

impl Copying {
    /// Takes `outputs`.
    fn new(
        activation: u32,
        cpu: Option<CpuUse>,
        outputs: &mut Vec<Output>,
        (originals, bytes): (Vec<Original>, u64),
    ) -> Self {
        let mut begins = 0;
        let pieces = originals.into_iter().map(|original| {
            let at = begins;
            begins += original.1.length.next_multiple_of(GRANULE_BYTES);
            (original, at)
        });
        Self {
            activation,
            cpu,
            pieces: pieces.collect(),
            outputs: std::mem::take(outputs),
            progress: Some(Progress::Wanted(bytes)),
            next: 0,
            copied_bytes: 0,
            set_aside_bytes: 0,
            exit: None,
        }
    }

    /// Has room set aside for the copy, unless it has some.
    fn set_aside(&mut self, arena: &mut Arena, compartment: Compartment) -> Result<(), CopyError> {
        if let Some(Progress::Wanted(bytes)) = self.progress {
            let into = SegmentWriter::create_gradually("lane-copies", bytes)?;
            arena.set_aside(compartment, into.length())?;
            self.set_aside_bytes = into.length();
            self.progress = Some(Progress::SetAside(into, 0));
        }
        Ok(())
    }

    /// Its bytes, if it waits for room and is copied at once where there is some.
    fn little_bytes(&self) -> Option<u64> {
        match self.progress {
            Some(Progress::Wanted(bytes)) if is_little(self.pieces.len(), bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Goes on for a while; the copy, once all of it lies there.
    fn step(&mut self, segments: &Segments) -> Result<Option<Made>, CopyError> {
        let into = match self.progress.take() {
            waits @ (None | Some(Progress::Wanted(_))) => {
                self.progress = waits;
                return Ok(None);
            }
            Some(Progress::Made(copies)) => return Ok(Some(Made::Ranges(copies))),
            Some(Progress::Fails(error)) => return Err(error),
            Some(Progress::SetAside(into, present)) => {
                let upto = present + STEP_BYTES;
                into.add_pages(present, upto)?;
                self.progress = Some(if upto < into.length() {
                    Progress::SetAside(into, upto)
                } else {
                    Progress::Copy(Arc::new(into))
                });
                return Ok(None);
            }
            Some(Progress::Copy(into)) => into,
        };
        let mut left = STEP_BYTES;
        while let Some(((_, range), at)) = self.pieces.get(self.next) {
            if left == 0 {
                self.progress = Some(Progress::Copy(into));
                return Ok(None);
            }
            let length = (range.length - self.copied_bytes).min(left);
            let from = PayloadRef {
                offset: range.offset + self.copied_bytes,
                length,
                ..*range
            };
            if !copy_bytes(segments, from, &into, at + self.copied_bytes) {
                return Err(CopyError::Place);
            }
            left = left.saturating_sub(length.max(PIECE_COST_BYTES));
            self.copied_bytes += length;
            if self.copied_bytes == range.length {
                (self.next, self.copied_bytes) = (self.next + 1, 0);
            }
        }
        Ok(Some(Made::Segment(into)))
    }
}

/// Whether so many ranges of so many bytes together are copied at once.
const fn is_little(ranges: usize, bytes: u64) -> bool {
    ranges <= AT_ONCE_PIECES_MAX && bytes <= AT_ONCE_BYTES_MAX
}

/// What there was no room for was one of ranges that have so many bytes together.
pub(super) fn of_all(error: ArenaError, all_bytes: u64) -> ArenaError {
    match error {
        ArenaError::Full {
            held, leased, max, ..
        } => ArenaError::Full {
            bytes: all_bytes,
            held,
            leased,
            max,
        },
        other => other,
    }
}

/// Copies that lie there.
enum Made {
    /// In a segment of their own, in their order.
    Segment(Arc<SegmentWriter>),
    /// In the lane's arena, each leased.
    Ranges(Vec<Original>),
}

impl Lane {
    /// An activation has ended well, whose outputs are in `scratch`. Of an executable that is somebody else's they are copied
    /// before the core hears of it, and so is what keeps more of inputs than is declared; unless `told`: what was told to stop
    /// returns nothing.
    #[inline]
    pub(super) fn done(
        &mut self,
        id: ExecutorId,
        activation: u32,
        cpu: Option<CpuUse>,
        told: bool,
    ) -> Result<(), ExecutorError> {
        if told {
            return self.completed(id, activation, cpu);
        }
        let outputs = &self.scratch.outputs;
        let mut originals = kept_beyond(id, &self.core, outputs);
        let executor = self.executors[id.0 as usize].as_ref();
        if executor.is_some_and(|executor| executor.started.trust == Trust::Other) {
            originals.extend(theirs(outputs));
        }
        if originals.is_empty() {
            return self.completed(id, activation, cpu);
        }
        self.copy(id, activation, cpu, originals)
    }

    #[cold]
    fn copy(
        &mut self,
        id: ExecutorId,
        activation: u32,
        cpu: Option<CpuUse>,
        originals: Vec<Original>,
    ) -> Result<(), ExecutorError> {
        if self.core.running(id) != Some(activation) {
            self.return_outputs();
            return Err(CompletionError::Activation.into());
        }
        let Some(executor) = self.executors[id.0 as usize].as_mut() else {
            return Ok(());
        };
        let bytes = originals.iter().fold(0u64, |bytes, (_, range)| {
            bytes.saturating_add(range.length.next_multiple_of(GRANULE_BYTES))
        });
        let compartment = executor.compartment();
        let waited_for = self.is_short_for(id);
        if !waited_for && is_little(originals.len(), bytes) {
            match self.copy_at_once(originals.iter(), compartment) {
                Ok(copies) => return self.copied(id, activation, cpu, copies),
                Err(CopyError::Arena(_)) => {}
                Err(error) => return self.copy_failed(id, activation, &error),
            }
        }
        let (outputs, what) = (&mut self.scratch.outputs, (originals, bytes));
        let copying = Copying::new(activation, cpu, outputs, what);
        if let Some(executor) = self.executors[id.0 as usize].as_mut() {
            executor.copying = Some(Box::new(copying));
        }
        if waited_for {
            self.copy_behind(id, activation, bytes);
        } else if let Err(error) = self.copy_again(id.0)
            && let Err(error) = self.copy_short(id, activation, error)
        {
            self.copy_fails(id.0, error.into());
        }
        Ok(())
    }

    /// Copies ranges into the lane's arena, each leased; all of them, or none.
    fn copy_at_once<'a>(
        &mut self,
        mut originals: impl Iterator<Item = &'a Original>,
        compartment: Compartment,
    ) -> Result<Vec<Original>, CopyError> {
        let mut copies = Vec::new();
        let copied = originals.try_for_each(|(at, range)| {
            let copy = copy_one(*range, compartment, &mut self.segments, &mut self.arena)?;
            copies.push((*at, copy));
            Ok(())
        });
        match copied {
            Ok(()) => Ok(copies),
            Err(error) => {
                copies.into_iter().for_each(|(_, copy)| self.release(copy));
                Err(error)
            }
        }
    }

    /// Begins with a copy, if there is room for it now: its turn comes. So it does if what it is for was told to stop.
    pub(super) fn copy_again(&mut self, place: u32) -> Result<(), ArenaError> {
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return Ok(());
        };
        let (told, compartment) = (executor.is_told(), executor.compartment());
        let Some(copying) = executor.copying.as_mut().filter(|_| !told) else {
            self.copies.push_back(place);
            return Ok(());
        };
        if let Some(bytes) = copying.little_bytes() {
            let originals: Vec<Original> = copying.pieces.iter().map(|(one, _)| *one).collect();
            match self.copy_at_once(originals.iter(), compartment) {
                Ok(copies) => self.progress(place, Progress::Made(copies)),
                Err(CopyError::Arena(error)) => return Err(of_all(error, bytes)),
                Err(error) => self.copy_fails(place, error),
            }
            return Ok(());
        }
        match copying.set_aside(&mut self.arena, compartment) {
            Ok(()) => self.copies.push_back(place),
            Err(CopyError::Arena(error)) => return Err(error),
            Err(error) => self.copy_fails(place, error),
        }
        Ok(())
    }

    /// A copy cannot be made: its turn to say so comes.
    pub(super) fn copy_fails(&mut self, place: u32, error: CopyError) {
        self.progress(place, Progress::Fails(error));
    }

    fn progress(&mut self, place: u32, progress: Progress) {
        let executor = self.executors[place as usize].as_mut();
        if let Some(copying) = executor.and_then(|executor| executor.copying.as_mut()) {
            copying.progress = Some(progress);
            self.copies.push_back(place);
        }
    }

    /// Copies lie there of what is in `scratch`, each of what stands at that place, and are leased: the core may know.
    fn copied(
        &mut self,
        id: ExecutorId,
        activation: u32,
        cpu: Option<CpuUse>,
        copies: Vec<Original>,
    ) -> Result<(), ExecutorError> {
        for (At { output, piece }, copy) in copies {
            let outputs = self.scratch.outputs.get_mut(output);
            let stands = outputs.and_then(|output| output.pieces_mut().get_mut(piece));
            let Some(stands) = stands else {
                unreachable!("what is copied stands among the outputs");
            };
            if let Piece::Own(original) = std::mem::replace(stands, Piece::Own(copy)) {
                self.release(original);
            }
        }
        self.completed(id, activation, cpu)
    }

    fn copy_failed(
        &mut self,
        id: ExecutorId,
        activation: u32,
        error: &CopyError,
    ) -> Result<(), ExecutorError> {
        self.return_outputs();
        self.now_ns = super::monotonic_ns();
        let (class, cause) = (ErrorClass::Memory, error.cause());
        self.core
            .failed(self.now_ns, id, activation, class, cause)?;
        Ok(())
    }

    /// Goes on with a copy, if any is under way, each in its turn; or with an exit that was put off for one. True if there was any.
    #[inline]
    pub(super) fn copy_on(&mut self) -> bool {
        if let Some(token) = self.exits.pop() {
            self.executor_exited(token);
            return true;
        }
        let Some(place) = self.copies.pop_front() else {
            return false;
        };
        self.copy_step(place);
        true
    }

    #[cold]
    fn copy_step(&mut self, place: u32) {
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        let told = executor.is_told();
        let Some(copying) = executor.copying.as_mut() else {
            return;
        };
        // What was told to stop meanwhile is dropped whatever it is.
        let step = if told {
            Ok(None)
        } else {
            copying.step(&self.segments)
        };
        if matches!(step, Ok(None)) && !told {
            // What waits for room has its turn again when there is some.
            if !matches!(copying.progress, Some(Progress::Wanted(_))) {
                self.copies.push_back(place);
            }
            return;
        }
        let compartment = executor.compartment();
        executor.activation_ended(&mut self.arena);
        let Some(copying) = executor.copying.take() else {
            return;
        };
        let Copying {
            activation,
            cpu,
            outputs,
            pieces,
            progress,
            set_aside_bytes,
            exit,
            ..
        } = *copying;
        self.scratch.outputs = outputs;
        let id = ExecutorId(place);
        let ended = match step {
            Ok(Some(Made::Ranges(copies))) => self.copied(id, activation, cpu, copies),
            Ok(Some(Made::Segment(made))) => {
                let copy = Mapping::Own(made);
                let slot = self.segments.add(copy, Owner::Copies, compartment, 0, 0);
                let lease = |((place, range), at): (Original, u64)| {
                    let lease = self.segments.lease(slot, at, range.length);
                    (place, lease.unwrap_or(PayloadRef::EMPTY))
                };
                let copies = pieces.into_iter().map(lease).collect();
                self.copied(id, activation, cpu, copies)
            }
            Ok(None) => {
                self.arena.bring_back(compartment, set_aside_bytes);
                self.release_made(progress);
                self.completed(id, activation, cpu)
            }
            Err(error) => {
                self.arena.bring_back(compartment, set_aside_bytes);
                self.copy_failed(id, activation, &error)
            }
        };
        if let Err(error) = ended {
            self.setup.counters.corrupt_messages.add(1);
            self.end_executor(place, &error.to_string());
        }
        self.act();
        self.unmap_gone();
        if let Some(token) = exit {
            self.executor_exited(token);
        }
    }

    /// The executor is ended, or what it has returned is of no use any more: nothing of it is copied on.
    pub(super) fn drop_copy(&mut self, place: u32) {
        let Some(executor) = self.executors[place as usize].as_mut() else {
            return;
        };
        let Some(copying) = executor.copying.take() else {
            return;
        };
        let compartment = executor.compartment();
        self.arena.bring_back(compartment, copying.set_aside_bytes);
        own(&copying.outputs).for_each(|range| self.release(range));
        self.release_made(copying.progress);
        self.exits.extend(copying.exit);
    }

    /// Copies that were made are of no use any more.
    fn release_made(&mut self, progress: Option<Progress>) {
        if let Some(Progress::Made(copies)) = progress {
            copies.into_iter().for_each(|(_, copy)| self.release(copy));
        }
    }

    /// Puts off what follows from the end of an executor's process until what it has returned is copied; false if nothing
    /// is.
    pub(super) fn exits_after_copy(&mut self, place: u32, token: u64) -> bool {
        let executor = self.executors[place as usize].as_mut();
        let copying = executor.and_then(|executor| executor.copying.as_mut());
        copying.map(|copying| copying.exit = Some(token)).is_some()
    }
}

#[cfg(test)]
pub(super) mod tests;
