//! The way to the engine, and how items of a list come by it while a function runs.
//!
//! Between two activations the executor's loop reads the ring. While a function waits for an item it is read here: what
//! comes before the answer is kept, in order, and is seen to when the activation has ended. Only segments that were
//! mapped since it began are unmapped at once, so that a long list does not keep the memory of all of its items: whoever
//! reads there holds the mapping, and others cannot.
//!
//! While an output waits for room in the arena it is read here too, and ranges that have come back go into the arena at once: who
//! waits may need them.
//!
//! Items are counted by who reads them. The engine is told that one is done with when nobody here reads it any more, and
//! not before.

use super::executor::{ExecutorError, send};
use super::mappings::Mappings;
use crate::arena::Arena;
use crate::channel::ExecutorChannel;
use crate::descriptor::{
    ArenaRange, Full, ItemAnswer, ItemName, Message, PayloadRef, Request, RoomAnswer, Want,
    decode_request, encode_full, encode_want,
};
use crate::segment::SegmentReader;
use crate::socket::Socket;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An item that the engine has granted: it stays where it is as long as it is not told otherwise.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    segment: Arc<SegmentReader>,
    payload: PayloadRef,
}

impl Granted {
    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // Checked when it was granted.
        let bytes = self.segment.read(self.payload.offset, self.payload.length);
        bytes.unwrap_or_default()
    }
}

/// Why an item does not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// There is no memory for it, beside so many others that the function keeps.
    NoRoom { kept: usize },
    /// The activation is to stop.
    Stopped,
    /// The engine broke a promise, for which this executor ends.
    Broken,
}

/// Why no room comes for an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoRoom {
    /// Nothing can leave memory, and nothing that runs will let go of anything.
    Never,
    /// Nothing has come back for as long as anybody waits, or not enough.
    Late,
    /// The activation is to stop.
    Stopped,
    /// The engine broke a promise, for which this executor ends.
    Broken,
}

/// What was heard by who waits for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    /// Nothing yet.
    Nothing,
    /// Some of the arena has come back.
    Back,
    /// What has nothing to do with it.
    Other,
    Answer(RoomAnswer),
}

/// For what an item is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// To be read until its reader lets go of it.
    Passing,
    /// As [`Use::Passing`], and those after it come next.
    Walking,
    /// To stay until the activation ends.
    Kept,
}

/// An item that somebody here reads.
#[derive(Debug)]
struct Held {
    granted: Granted,
    /// Those who have still to let go of it.
    readers: usize,
    kept: bool,
}

/// Channel and socket, shared by the loop and by what a function reads.
#[derive(Debug)]
pub(super) struct Line(Mutex<Ends>);

/// What is behind a [`Line`].
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) channel: ExecutorChannel,
    pub(super) socket: Socket,
    activation: u32,
    held: BTreeMap<ItemName, Held>,
    /// What nobody reads any more and the engine still has to be told of.
    done: Vec<ItemName>,
    message: Message,
    late: Late,
}

/// What has come while a function ran.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Ranges of this executor's arena that are free again.
    pub(super) released: Vec<ArenaRange>,
    /// Segments that have gone, and that were mapped before the activation began.
    pub(super) unmapped: Vec<(u32, u32)>,
    /// What was mapped since.
    pub(super) fresh: Mappings,
    /// Whether the executor is to end.
    pub(super) stop: bool,
    /// Why it has to.
    pub(super) broken: Option<ExecutorError>,
}

impl Line {
    pub(super) fn new(channel: ExecutorChannel, socket: Socket) -> Self {
        Self(Mutex::new(Ends {
            channel,
            socket,
            activation: 0,
            held: BTreeMap::new(),
            done: Vec::new(),
            message: Message::default(),
            late: Late::default(),
        }))
    }

    /// For the loop, which shares it with nobody.
    #[inline]
    pub(super) fn ends(&mut self) -> &mut Ends {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an item, unless somebody here reads it already. [`Line::let_go`] is to follow, but of what is kept.
    pub(super) fn take(
        &self,
        name: ItemName,
        usage: Use,
        mappings: &Mappings,
    ) -> Result<Granted, Refused> {
        let mut ends = self.lock();
        let kept = usage == Use::Kept;
        if let Some(held) = ends.held.get_mut(&name)
            && (held.kept || !kept)
        {
            held.readers += usize::from(!kept);
            return Ok(held.granted.clone());
        }
        // It may have been let go of just now, which must not be told behind this.
        ends.done.retain(|done| *done != name);
        let granted = ends.ask(name, usage, mappings)?;
        match ends.held.entry(name) {
            Entry::Occupied(mut held) => held.get_mut().kept = true,
            Entry::Vacant(place) => {
                place.insert(Held {
                    granted: granted.clone(),
                    readers: usize::from(!kept),
                    kept,
                });
            }
        }
        Ok(granted)
    }

    /// Waits until something has come back to the arena, in which there is no room for so many bytes; `again`, if the same has
    /// waited before, and what came back was not enough.
    pub(super) fn wait_for_room(
        &self,
        arena: &mut Arena,
        bytes: u64,
        again: bool,
    ) -> Result<(), NoRoom> {
        self.lock().wait_for_room(arena, bytes, again)
    }

    /// A reader is done with an item that it has taken. Whoever calls this proves that it does not read there any more.
    pub(super) fn let_go(&self, name: ItemName) {
        let mut ends = self.lock();
        let Some(held) = ends.held.get_mut(&name) else {
            return;
        };
        held.readers = held.readers.saturating_sub(1);
        if held.readers == 0 && !held.kept {
            ends.held.remove(&name);
            ends.done.push(name);
        }
    }
}

impl Ends {
    /// An activation begins.
    #[inline]
    pub(super) fn begin(&mut self, activation: u32) {
        self.activation = activation;
    }

    /// An activation has ended, and nothing is read for it any more; what has come meanwhile.
    #[cold]
    pub(super) fn settle(&mut self) -> Late {
        self.held.clear();
        self.done.clear();
        std::mem::take(&mut self.late)
    }

    fn ask(&mut self, name: ItemName, usage: Use, mappings: &Mappings) -> Result<Granted, Refused> {
        if self.late.broken.is_some() {
            return Err(Refused::Broken);
        }
        if self.late.stop {
            return Err(Refused::Stopped);
        }
        let answer = self.ask_engine(name, usage, mappings);
        match answer {
            Ok(Ok(granted)) => Ok(granted),
            Ok(Err(refused)) => Err(refused),
            Err(error) => {
                self.late.broken = Some(error);
                Err(Refused::Broken)
            }
        }
    }

    fn ask_engine(
        &mut self,
        name: ItemName,
        usage: Use,
        mappings: &Mappings,
    ) -> Result<Result<Granted, Refused>, ExecutorError> {
        let mut want = Want::new(self.activation, Some(name));
        want.keep = usage == Use::Kept;
        want.walks = usage == Use::Walking;
        while let Some(done) = self.done.pop() {
            if !want.add_done(done) {
                let mut only = Want::new(self.activation, None);
                // One always has room in a message of its own.
                let _ = only.add_done(done);
                self.say(&only)?;
            }
        }
        self.say(&want)?;
        let mut inputs = Vec::new();
        loop {
            if !self.channel.pop(&mut self.message)? {
                self.channel.wait(None);
                continue;
            }
            match decode_request(&self.message, &mut inputs)? {
                Request::Item {
                    activation,
                    name: named,
                    answer,
                } if (activation, named) == (self.activation, name) => {
                    return match answer {
                        ItemAnswer::Here(payload) => self.reach(payload, mappings).map(Ok),
                        ItemAnswer::NoRoom => Ok(Err(Refused::NoRoom {
                            kept: self.held.len(),
                        })),
                        ItemAnswer::Stopped => Ok(Err(Refused::Stopped)),
                    };
                }
                Request::Item { name, .. } => return Err(ExecutorError::Unasked(name)),
                Request::Room { activation, .. } => {
                    return Err(ExecutorError::NotWaiting(activation));
                }
                Request::Activate { .. } => return Err(ExecutorError::Busy),
                Request::Release { ranges, count } => {
                    self.late.released.extend_from_slice(&ranges[..count]);
                }
                Request::Unmap {
                    segment,
                    generation,
                } => {
                    if mappings.has(segment, generation) {
                        self.late.unmapped.push((segment, generation));
                    } else {
                        self.late.fresh.unmap(segment, generation, &self.socket)?;
                    }
                }
                Request::Stop => {
                    // It is the last that the engine says.
                    self.late.stop = true;
                    return Ok(Err(Refused::Stopped));
                }
            }
        }
    }

    fn say(&mut self, want: &Want) -> Result<(), ExecutorError> {
        let message = Message::written(|message| encode_want(message, want));
        send(&mut self.channel, &message)
    }

    fn wait_for_room(&mut self, arena: &mut Arena, bytes: u64, again: bool) -> Result<(), NoRoom> {
        if self.late.broken.is_some() {
            return Err(NoRoom::Broken);
        }
        let answer = self.room_answer(arena, bytes, again);
        match answer {
            Ok(RoomAnswer::Back) => Ok(()),
            Ok(RoomAnswer::Never) => Err(NoRoom::Never),
            Ok(RoomAnswer::Late) => Err(NoRoom::Late),
            Ok(RoomAnswer::Stopped) => Err(NoRoom::Stopped),
            Err(error) => {
                self.late.broken = Some(error);
                Err(NoRoom::Broken)
            }
        }
    }

    /// What has come back already is enough of an answer; else the engine is asked for one.
    fn room_answer(
        &mut self,
        arena: &mut Arena,
        bytes: u64,
        again: bool,
    ) -> Result<RoomAnswer, ExecutorError> {
        let mut back = !self.late.released.is_empty();
        for range in self.late.released.drain(..) {
            arena.release(range)?;
        }
        loop {
            match self.hear(arena)? {
                Heard::Nothing => break,
                Heard::Back => back = true,
                Heard::Other => {}
                Heard::Answer(answer) => return Ok(answer),
            }
        }
        if self.late.stop {
            return Ok(RoomAnswer::Stopped);
        }
        if back {
            return Ok(RoomAnswer::Back);
        }
        let full = Full {
            activation: self.activation,
            bytes,
            again,
        };
        let message = Message::written(|message| encode_full(message, &full));
        send(&mut self.channel, &message)?;
        loop {
            match self.hear(arena)? {
                Heard::Nothing => {
                    self.channel.wait(None);
                }
                Heard::Back | Heard::Other => {}
                Heard::Answer(answer) => return Ok(answer),
            }
        }
    }

    /// Reads one message for who waits for room.
    fn hear(&mut self, arena: &mut Arena) -> Result<Heard, ExecutorError> {
        if !self.channel.pop(&mut self.message)? {
            return Ok(Heard::Nothing);
        }
        match decode_request(&self.message, &mut Vec::new())? {
            Request::Release { ranges, count } => {
                for range in &ranges[..count] {
                    arena.release(*range)?;
                }
                Ok(Heard::Back)
            }
            Request::Room { activation, answer } if activation == self.activation => {
                Ok(Heard::Answer(answer))
            }
            Request::Room { activation, .. } => Err(ExecutorError::NotWaiting(activation)),
            Request::Unmap {
                segment,
                generation,
            } => {
                // What was mapped before the activation began is still read.
                if self.late.fresh.has(segment, generation) {
                    self.late.fresh.unmap(segment, generation, &self.socket)?;
                } else {
                    self.late.unmapped.push((segment, generation));
                }
                Ok(Heard::Other)
            }
            Request::Item { name, .. } => Err(ExecutorError::Unasked(name)),
            Request::Activate { .. } => Err(ExecutorError::Busy),
            Request::Stop => {
                self.late.stop = true;
                Ok(Heard::Answer(RoomAnswer::Stopped))
            }
        }
    }

    fn reach(
        &mut self,
        payload: PayloadRef,
        mappings: &Mappings,
    ) -> Result<Granted, ExecutorError> {
        let segment = match mappings.segment_of(&payload) {
            Some(segment) => segment,
            None => {
                self.late.fresh.resolve(&payload, &self.socket)?;
                let segment = self.late.fresh.segment_of(&payload);
                segment.ok_or(ExecutorError::Nowhere(payload))?
            }
        };
        Ok(Granted {
            segment: Arc::clone(segment),
            payload,
        })
    }
}
