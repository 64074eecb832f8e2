//! Requests that are written before they are ordered.
//!
//! While an activation runs, the lane asks the core what its end will start ([`Core::foresee`]) and writes that request
//! into private memory, all but where the awaited outputs lie. When the completion is there and is what was expected,
//! these are filled in and the request is pushed at once: between the two stand a comparison and a copy. The core is
//! told after, and must then order just that start; anything unusual takes the ordinary way, which does the same, later.

use super::Lane;
use super::executors::{Executor, ExecutorError};
use super::segments::Segments;
use crate::core::{Core, ExecutorId, ForeseenInput, Start};
use faasstore::binding::VALUE_BYTES_MAX;
use faasstore::descriptor::{
    self, Activate, INPUTS_IN_PLACE_MAX, Message, OUTPUTS_IN_PLACE_MAX, OutputRef, PayloadRef,
};

/// Where the outputs of a completion lie.
pub(super) type Ranges = [PayloadRef; OUTPUTS_IN_PLACE_MAX];

/// What is prepared for the end of one executor's current activation. Kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Of the core, when this was prepared; void at any other.
    revision: u64,
    awaited: Option<Awaited>,
    start: Option<Start>,
    request: Message,
    /// By input of the request: which awaited output goes there.
    inputs: [Option<u8>; INPUTS_IN_PLACE_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    activation: u32,
    outputs: usize,
    /// A bit for each output that is a value, which must be small.
    values: u8,
}

const _: () = assert!(
    OUTPUTS_IN_PLACE_MAX <= u8::BITS as usize,
    "outputs in place have a bit each"
);

impl Ahead {
    /// Whether this says what is known at this revision of the core, be it nothing.
    #[inline]
    pub(super) fn is_current(&self, revision: u64) -> bool {
        self.revision == revision
    }

    /// Prepares for the end of the activation that this executor runs. A request is prepared only if all that it names is
    /// known to its executor already: announcing is left to the ordinary way.
    pub(super) fn prepare(
        &mut self,
        id: ExecutorId,
        executors: &[Option<Executor>],
        core: &Core,
        segments: &Segments,
    ) {
        self.revision = core.revision();
        (self.awaited, self.start) = (None, None);
        self.inputs = [None; INPUTS_IN_PLACE_MAX];
        let mut inputs = [PayloadRef::ABSENT; INPUTS_IN_PLACE_MAX];
        let mut count = 0;
        let foreseen = core.foresee(id, |input| {
            if let Some(place) = inputs.get_mut(count) {
                match input {
                    ForeseenInput::Known(range) => *place = range,
                    ForeseenInput::Output(output) => self.inputs[count] = Some(output),
                }
            }
            count += 1;
        });
        let Some(foreseen) = foreseen.filter(|f| f.outputs <= OUTPUTS_IN_PLACE_MAX) else {
            return;
        };
        self.awaited = Some(Awaited {
            activation: foreseen.activation,
            outputs: foreseen.outputs,
            values: foreseen.values,
        });
        let (Some(start), Some(inputs)) = (foreseen.start, inputs.get(..count)) else {
            return;
        };
        let target = start.executor.0;
        let told =
            |range: &PayloadRef| !range.is_range() || segments.is_told(range.segment, target);
        let alive = executors[target as usize]
            .as_ref()
            .is_some_and(|executor| executor.ended.is_none());
        if !alive || !inputs.iter().all(told) {
            return;
        }
        let (node, invocation) = core.started_node(&start);
        let activate = Activate {
            node,
            attempt: start.attempt,
            invocation,
            activation: start.activation,
            item: start.item,
            deadline_ns: start.deadline_ns,
        };
        descriptor::encode_activate(&mut self.request, &activate, inputs, false);
        self.start = Some(start);
    }

    /// Whether the completion is the awaited one and nothing about it is out of the ordinary: then its activation, and
    /// where its outputs lie, as many as are said, in `ranges`.
    #[inline]
    pub(super) fn read(
        &self,
        revision: u64,
        completion: &Message,
        executor: &Executor,
        segments: &Segments,
        ranges: &mut Ranges,
    ) -> Option<(u32, usize)> {
        let Awaited {
            activation,
            outputs,
            values,
        } = self.awaited?;
        if self.revision != revision || !descriptor::is_plain_done(completion, activation, outputs)
        {
            return None;
        }
        for (index, range) in ranges[..outputs].iter_mut().enumerate() {
            let Ok(OutputRef::Own(own)) = descriptor::done_output(completion, index) else {
                return None;
            };
            if values >> index & 1 == 1 && own.length > VALUE_BYTES_MAX as u64 {
                return None;
            }
            *range = executor.plain_output(own, segments)?;
        }
        Some((activation, outputs))
    }

    /// The request that [`Ahead::read`] has found due, complete: the core, told of the completion, orders just this start.
    #[inline]
    pub(super) fn take(
        &mut self,
        ranges: &[PayloadRef],
        segments: &Segments,
    ) -> Option<(Start, &Message)> {
        let start = self.start.take()?;
        for (input, output) in self.inputs.iter().enumerate() {
            if let Some(output) = output {
                let range = ranges.get(usize::from(*output))?;
                if !segments.is_told(range.segment, start.executor.0) {
                    return None;
                }
                descriptor::set_input(&mut self.request, input, *range);
            }
        }
        Some((start, &self.request))
    }
}

impl Lane {
    /// Prepares what the end of one activation that runs will start.
    #[inline]
    pub(super) fn prepare(&mut self) {
        let revision = self.core.revision();
        for place in &self.polled {
            let ahead = &mut self.ahead[*place as usize];
            if !ahead.is_current(revision) {
                ahead.prepare(
                    ExecutorId(*place),
                    &self.executors,
                    &self.core,
                    &self.segments,
                );
                return;
            }
        }
        self.prepared_revision = revision;
    }

    /// Hands over what was prepared for the completion in `scratch`, whose outputs lie there.
    #[inline]
    pub(super) fn start_ahead(&mut self, place: u32, outputs: usize) -> Result<(), ExecutorError> {
        let ranges = &self.scratch.ranges[..outputs];
        let taken = self.ahead[place as usize].take(ranges, &self.segments);
        let Some((start, request)) = taken else {
            return Ok(());
        };
        let Some(target) = self.executors[start.executor.0 as usize].as_mut() else {
            return Ok(());
        };
        // What it is to have back comes before what may need it.
        if target.has_backlog() {
            return Ok(());
        }
        match target.push(request) {
            Ok(()) => {
                target.started.channel.ring_bell();
                self.started_ahead = Some(start);
            }
            Err(error) if start.executor.0 == place => return Err(error),
            Err(error) => self.end_executor(start.executor.0, &error.to_string()),
        }
        Ok(())
    }
}
