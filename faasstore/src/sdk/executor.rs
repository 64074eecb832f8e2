//! The executor's loop: requests in, completions out.
//!
//! Once warm it makes no system call while it polls, allocates nothing and reads no clock, unless it is asked to measure
//! an activation: vectors are kept, nodes and segments are found by index, and inputs and outputs stay where they are.

use super::Function;
use super::call::Call;
use super::context::Context;
use super::error::Error;
use super::function::Archived;
use super::input::{InputBuffer, Inputs};
use super::limits::Limits;
use super::line::{Late, Line};
use super::mappings::{MappingError, Mappings};
use super::meter::Meter;
use super::output::Outputs;
use crate::arena::{Arena, ArenaError};
use crate::binding::{Announce, Announced, NodeBinding};
use crate::channel::ExecutorChannel;
use crate::descriptor::{
    Activate, DescriptorError, FailureCode, ItemName, Message, OUTPUTS_IN_PLACE_MAX, OutputRef,
    PayloadRef, Request, add_cpu_use, decode_request, encode_done, encode_failed, encode_retire,
};
use crate::ring::{PushError, RingError};
use crate::socket::{DESCRIPTORS_MAX, Socket, SocketError};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error as ThisError;

/// How long an executor is idle before it gives memory back: long against the pauses of a busy workflow.
const IDLE_BEFORE_TRIM: Duration = Duration::from_secs(1);
/// How long an idle executor sleeps, at most, while payloads of its own are held: they come back without a bell.
const PAUSE_MAX: Duration = Duration::from_secs(64);
/// How long the engine may leave an announcement unread.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an executor ends before it is told to: the engine broke a promise.
#[derive(Debug, ThisError)]
pub(super) enum ExecutorError {
    #[error("the engine's ring is broken: {0}")]
    Ring(#[from] RingError),
    #[error("the engine sent {0}")]
    Request(#[from] DescriptorError),
    #[error("the engine asks for node {0}, which it has not named in its welcome")]
    Node(u32),
    #[error("the engine returned what it did not have: {0}")]
    Release(#[from] ArenaError),
    #[error("the engine announced wrongly: {0}")]
    Mapping(#[from] MappingError),
    #[error("the engine asks for an activation while another one runs")]
    Busy,
    #[error("the engine brings item {} of input {}, which nobody has asked for", .0.item, .0.input)]
    Unasked(ItemName),
    #[error("the engine has room for activation {0}, which waits for none")]
    NotWaiting(u32),
    #[error("the engine brings an item that lies nowhere: {0:?}")]
    Nowhere(PayloadRef),
    #[error("a segment could not be announced: {0}")]
    Announce(#[from] SocketError),
}

/// A node that may be asked for.
#[derive(Debug)]
pub(super) struct Node {
    binding: NodeBinding,
    context: Context,
    /// Place of its function.
    function: usize,
    /// What that declares of the node's inputs and outputs.
    archived: (Vec<Archived>, Vec<Archived>),
    /// What its outputs may have at most, if anything is declared.
    limits: Option<Arc<Limits>>,
}

impl Node {
    pub(super) fn new(
        binding: NodeBinding,
        context: Context,
        functions: &[Function],
        function: usize,
    ) -> Self {
        Self {
            archived: functions[function].archived(&binding),
            limits: Limits::of(&binding).map(Arc::new),
            binding,
            context,
            function,
        }
    }
}

#[derive(Debug)]
pub(super) struct Executor {
    line: Line,
    functions: Vec<Function>,
    nodes: Vec<Node>,
    /// By node number: place in `nodes` plus one, or 0.
    by_number: Vec<u32>,
    mappings: Mappings,
    inputs: InputBuffer,
    outputs: Outputs,
    meter: Meter,
    encoded: Vec<OutputRef>,
    /// What the activation that runs will answer.
    completion: Message,
    arena_bytes_kept: u64,
    /// Whether it was told to end while a function waited for an item.
    stopped: bool,
}

impl Executor {
    /// `arena_bytes_kept` is what an idle executor keeps of its arena.
    pub(super) fn new(
        channel: ExecutorChannel,
        socket: Socket,
        functions: Vec<Function>,
        nodes: Vec<Node>,
        arena: Arena,
        arena_bytes_kept: u64,
    ) -> Self {
        let highest = nodes.iter().map(|node| node.binding.node as usize).max();
        let mut by_number = vec![0; highest.map_or(0, |highest| highest + 1)];
        for (place, node) in (1..).zip(&nodes) {
            by_number[node.binding.node as usize] = place;
        }
        Self {
            line: Line::new(channel, socket),
            functions,
            nodes,
            by_number,
            mappings: Mappings::default(),
            inputs: InputBuffer::default(),
            outputs: Outputs::new(arena),
            meter: Meter::default(),
            encoded: Vec::new(),
            completion: Message::default(),
            arena_bytes_kept,
            stopped: false,
        }
    }

    /// Serves requests until the engine says stop.
    pub(super) fn run(&mut self) -> Result<(), ExecutorError> {
        self.tell_news()?;
        let mut message = Message::default();
        let mut inputs = Vec::new();
        loop {
            if !self.line.ends().channel.pop(&mut message)? {
                self.wait()?;
                continue;
            }
            match decode_request(&message, &mut inputs)? {
                Request::Activate { activate, table } => {
                    self.activate(&activate, &inputs, table)?;
                    if self.stopped {
                        return Ok(());
                    }
                }
                Request::Release { ranges, count } => {
                    for range in &ranges[..count] {
                        self.outputs.arena.release(*range)?;
                    }
                    // A segment that goes back to the kernel is there until the engine has let go of it, too.
                    if self.outputs.arena.has_news() {
                        self.tell_news()?;
                    }
                }
                Request::Unmap {
                    segment,
                    generation,
                } => self
                    .mappings
                    .unmap(segment, generation, &self.line.ends().socket)?,
                Request::Item { name, .. } => return Err(ExecutorError::Unasked(name)),
                Request::Room { activation, .. } => {
                    return Err(ExecutorError::NotWaiting(activation));
                }
                Request::Stop => return Ok(()),
            }
        }
    }

    fn wait(&mut self) -> Result<(), ExecutorError> {
        let mut pause = IDLE_BEFORE_TRIM;
        while !self.line.ends().channel.wait(Some(pause)) {
            for (segment, generation) in self.outputs.arena.trim(self.arena_bytes_kept) {
                self.retire(segment, generation)?;
            }
            if self.outputs.arena.bytes_leased() == 0 {
                self.line.ends().channel.wait(None);
                break;
            }
            // What is still held comes back without a bell: this side looks for it, ever more seldom.
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    #[inline]
    fn activate(
        &mut self,
        activate: &Activate,
        inputs: &[PayloadRef],
        table: bool,
    ) -> Result<(), ExecutorError> {
        let place = self
            .by_number
            .get(activate.node as usize)
            .copied()
            .unwrap_or(0);
        let Some(place) = (place as usize).checked_sub(1) else {
            return Err(ExecutorError::Node(activate.node));
        };
        let result = if activate.measure {
            self.call_measured(place, activate, inputs, table)
        } else {
            self.call(place, activate, inputs, table)
                .and_then(|()| self.done(activate.activation))
        };
        if let Err(error) = result {
            self.failed(activate.activation, &error);
        }
        if self.inputs.is_windowed() || self.outputs.has_waited() {
            self.settle_waits()?;
        }
        if self.outputs.arena.has_news() {
            self.tell_news()?;
        }
        send(&mut self.line.ends().channel, &self.completion)
    }

    /// Sees to what has come while a function waited for items, or for room.
    #[cold]
    fn settle_waits(&mut self) -> Result<(), ExecutorError> {
        self.inputs.let_go();
        let Late {
            released,
            unmapped,
            fresh,
            stop,
            broken,
        } = self.line.ends().settle();
        if let Some(broken) = broken {
            return Err(broken);
        }
        for range in released {
            self.outputs.arena.release(range)?;
        }
        for (segment, generation) in unmapped {
            let socket = &self.line.ends().socket;
            self.mappings.unmap(segment, generation, socket)?;
        }
        self.mappings.adopt(fresh);
        self.stopped |= stop;
        Ok(())
    }

    /// Says in the completion what was taken of CPUs, too.
    #[cold]
    fn call_measured(
        &mut self,
        place: usize,
        activate: &Activate,
        inputs: &[PayloadRef],
        table: bool,
    ) -> Result<(), Error> {
        let began = self.meter.read();
        self.call(place, activate, inputs, table)?;
        let cpu = began.and_then(|began| Some(self.meter.read()?.since(&began)));
        self.done(activate.activation)?;
        if let Some(cpu) = cpu {
            add_cpu_use(&mut self.completion, cpu);
        }
        Ok(())
    }

    #[inline]
    fn call(
        &mut self,
        place: usize,
        activate: &Activate,
        inputs: &[PayloadRef],
        table: bool,
    ) -> Result<(), Error> {
        let node = &mut self.nodes[place];
        node.context.begin(activate);
        self.outputs
            .begin(node.binding.outputs.len(), node.limits.as_ref());
        self.inputs.resolve(
            &node.binding.inputs,
            inputs,
            table,
            &mut self.mappings,
            &self.line.ends().socket,
        )?;
        self.line.ends().begin(activate.activation);
        let (reads, writes) = &node.archived;
        let inputs = Inputs::new(
            &node.binding.inputs,
            reads,
            &self.inputs,
            &self.mappings,
            &self.line,
        );
        let mut call = Call::new(
            &node.context,
            inputs,
            (&node.binding.outputs, writes),
            &mut self.outputs,
            &self.line,
        );
        let function = &mut self.functions[node.function];
        // What a panic leaves behind is the function's own; ours is rolled back.
        let ran = catch_unwind(AssertUnwindSafe(|| function.run(&mut call)));
        if let Some(refused) = self.inputs.take_refused() {
            return Err(refused);
        }
        match ran {
            Ok(Ok(())) => {
                self.outputs
                    .finish(&node.binding.outputs, &mut self.encoded, Some(&self.line))
            }
            // What a stream ran into says more than its writer could.
            Ok(Err(error)) => Err(match self.outputs.take_exceeded() {
                Some(exceeded) if error.code() == FailureCode::Error => exceeded,
                _ => error,
            }),
            Err(panic) => Err(Error::of(FailureCode::Panic, panic_text(&*panic))),
        }
    }

    #[inline]
    fn done(&mut self, activation: u32) -> Result<(), Error> {
        if self.encoded.len() <= OUTPUTS_IN_PLACE_MAX {
            encode_done(&mut self.completion, activation, &self.encoded, false);
        } else {
            let line = Some(&self.line);
            let table = self.outputs.write_table(&self.encoded, line)?;
            encode_done(&mut self.completion, activation, &[table], true);
        }
        Ok(())
    }

    #[cold]
    fn failed(&mut self, activation: u32, error: &Error) {
        self.outputs.roll_back();
        // Without room for its text the failure is still told.
        let text = self
            .outputs
            .copy(error.text().as_bytes(), None)
            .unwrap_or(OutputRef::Empty);
        encode_failed(&mut self.completion, activation, error.code(), text);
    }

    /// Tells the engine of segments before a completion names them, and of those that are gone before their index
    /// is used again.
    #[cold]
    fn tell_news(&mut self) -> Result<(), ExecutorError> {
        for (segment, generation) in self.outputs.arena.retired_segments() {
            self.retire(segment, generation)?;
        }
        let fresh = self.outputs.arena.new_segments();
        for fresh in fresh.chunks(DESCRIPTORS_MAX) {
            let announced = fresh.iter().map(|new| Announced {
                segment: new.index,
                generation: new.generation,
            });
            let announce = Announce {
                segments: announced.collect(),
            };
            let descriptors: Vec<_> = fresh.iter().map(|new| new.segment.fd()).collect();
            let socket = &self.line.ends().socket;
            socket.send(&announce, &descriptors, ANNOUNCE_TIMEOUT)?;
        }
        Ok(())
    }

    fn retire(&mut self, segment: u32, generation: u32) -> Result<(), ExecutorError> {
        let message = Message::written(|message| encode_retire(message, segment, generation));
        send(&mut self.line.ends().channel, &message)
    }
}

/// Pushes a completion and rings.
#[inline]
pub(super) fn send(channel: &mut ExecutorChannel, message: &Message) -> Result<(), ExecutorError> {
    loop {
        match channel.push(message) {
            Ok(()) => {
                channel.ring_lane();
                return Ok(());
            }
            // The lane is behind by a whole ring. It takes completions before it does anything else, and if it has
            // died this process dies with it; there is no event to wait for but its progress.
            Err(PushError::Full) => {
                channel.ring_lane();
                std::thread::yield_now();
            }
            Err(PushError::Corrupt(error)) => return Err(error.into()),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "panicked: {}",
        text.unwrap_or("with a payload that is no text")
    )
}
